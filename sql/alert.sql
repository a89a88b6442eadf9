-- Alerts: what needs a human. One open alert at a time for each rule and source.

CREATE TABLE gn_harvest.channel (
    id               integer     GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name             text        NOT NULL UNIQUE,
    kind             text        NOT NULL,
    settings         jsonb       NOT NULL DEFAULT '{}',
    minimum_severity text        NOT NULL DEFAULT 'info',
    source_ids       integer[],
    language         text        NOT NULL DEFAULT 'en',
    digest           interval    NOT NULL DEFAULT '10 minutes',
    owner            name        NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    last_sent_at     timestamptz,
    failures         integer     NOT NULL DEFAULT 0,
    next_try_at      timestamptz,
    last_error       text,
    last_hint        text,
    CONSTRAINT known_kind CHECK (kind IN ('notify', 'email', 'webhook', 'geonature')),
    CONSTRAINT known_severity CHECK (minimum_severity IN ('info', 'warning', 'critical')),
    CONSTRAINT known_language CHECK (language IN ('fr', 'en'))
);
COMMENT ON SEQUENCE gn_harvest.channel_id_seq IS 'Numbers of channels.';
COMMENT ON TABLE gn_harvest.channel IS 'Ways to tell people of alerts, and how each is doing. Written by add_channel. source_ids null: every source that the owner may see.';

CREATE TABLE gn_harvest.channel_secret (
    channel_id integer PRIMARY KEY REFERENCES gn_harvest.channel ON DELETE CASCADE,
    url        text,
    password   text,
    token      text
);
COMMENT ON TABLE gn_harvest.channel_secret IS 'Secrets of channels: addresses of webhooks, passwords, tokens. Granted to nobody: only deliveries read it.';

CREATE TABLE gn_harvest.alert (
    id               bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source_id        integer     REFERENCES gn_harvest.source ON DELETE SET NULL,
    source           text,
    channel_id       integer     REFERENCES gn_harvest.channel ON DELETE SET NULL,
    owner            name        NOT NULL,
    rule             text        NOT NULL,
    severity         text        NOT NULL,
    facts            jsonb       NOT NULL DEFAULT '{}',
    run_id           bigint,
    occurrences      bigint      NOT NULL DEFAULT 1,
    opened_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_seen_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    resolved_at      timestamptz,
    acknowledged_at  timestamptz,
    acknowledged_by  name,
    acknowledge_note text,
    CONSTRAINT known_severity CHECK (severity IN ('info', 'warning', 'critical'))
);
CREATE UNIQUE INDEX alert_open_idx ON gn_harvest.alert (rule, coalesce(source_id, 0), coalesce(channel_id, 0)) WHERE resolved_at IS NULL;
CREATE INDEX alert_source_idx ON gn_harvest.alert (source_id, id);
COMMENT ON SEQUENCE gn_harvest.alert_id_seq IS 'Numbers of alerts.';
COMMENT ON TABLE gn_harvest.alert IS 'One row an alert: open until its cause is gone. Facts are what its message is written from, in the reader''s language.';

-- What is dropped needs nobody's attention any more.
CREATE FUNCTION gn_harvest.close_alerts() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE gn_harvest.alert a SET resolved_at = clock_timestamp()
    WHERE a.resolved_at IS NULL
      AND CASE TG_RELID WHEN 'gn_harvest.source'::regclass THEN a.source_id = OLD.id ELSE a.channel_id = OLD.id END;
    RETURN OLD;
END
$$;
COMMENT ON FUNCTION gn_harvest.close_alerts() IS 'Trigger: resolves the alerts of a source or channel that is dropped.';
CREATE TRIGGER close_alerts BEFORE DELETE ON gn_harvest.source
    FOR EACH ROW EXECUTE FUNCTION gn_harvest.close_alerts();
CREATE TRIGGER close_alerts BEFORE DELETE ON gn_harvest.channel
    FOR EACH ROW EXECUTE FUNCTION gn_harvest.close_alerts();

CREATE VIEW gn_harvest.alert_history WITH (security_barrier) AS
SELECT a.id,
       coalesce(s.name, a.source) AS source,
       a.rule,
       a.severity,
       gn_harvest.alert_text(a.rule, a.facts::text, gn_harvest.in_french()) AS message,
       a.opened_at,
       a.last_seen_at,
       a.resolved_at,
       a.occurrences,
       a.run_id AS run,
       a.acknowledged_at,
       a.acknowledged_by,
       a.acknowledge_note
FROM gn_harvest.alert a
LEFT JOIN gn_harvest.source s ON s.id = a.source_id
WHERE a.source_id IN (SELECT gn_harvest.visible_source(current_user))
   OR a.source_id IS NULL AND (gn_harvest.sees_everything(current_user) OR gn_harvest.may_manage(current_user, a.owner));
COMMENT ON VIEW gn_harvest.alert_history IS 'Every alert of what one may see, open and resolved. Messages in the language of gn_harvest.language.';
COMMENT ON COLUMN gn_harvest.alert_history.id IS 'Number of the alert, for acknowledge_alert.';
COMMENT ON COLUMN gn_harvest.alert_history.source IS 'Name of the source; null when it is about a channel.';
COMMENT ON COLUMN gn_harvest.alert_history.rule IS 'Rule that raised it: see alert_rules().';
COMMENT ON COLUMN gn_harvest.alert_history.severity IS 'info, warning or critical.';
COMMENT ON COLUMN gn_harvest.alert_history.message IS 'What it is about, in words.';
COMMENT ON COLUMN gn_harvest.alert_history.opened_at IS 'When it was raised.';
COMMENT ON COLUMN gn_harvest.alert_history.last_seen_at IS 'When its cause was seen last.';
COMMENT ON COLUMN gn_harvest.alert_history.resolved_at IS 'When its cause was gone; null while it is open.';
COMMENT ON COLUMN gn_harvest.alert_history.occurrences IS 'How often its cause was seen.';
COMMENT ON COLUMN gn_harvest.alert_history.run IS 'Run that saw it last; null when no run did.';
COMMENT ON COLUMN gn_harvest.alert_history.acknowledged_at IS 'When someone took note of it; null: nobody has.';
COMMENT ON COLUMN gn_harvest.alert_history.acknowledged_by IS 'Who took note of it.';
COMMENT ON COLUMN gn_harvest.alert_history.acknowledge_note IS 'What they noted.';

CREATE VIEW gn_harvest.open_alert WITH (security_barrier) AS
SELECT h.id, h.source, h.rule, h.severity, h.message, h.opened_at, h.last_seen_at, h.occurrences, h.run,
       h.acknowledged_at, h.acknowledged_by, h.acknowledge_note
FROM gn_harvest.alert_history h
WHERE h.resolved_at IS NULL;
COMMENT ON VIEW gn_harvest.open_alert IS 'Alerts whose cause is still there, of what one may see. acknowledge_alert(id, note) says that someone is at it.';

-- The columns of open_alert are the same ones.
DO $$
DECLARE
    shared record;
BEGIN
    FOR shared IN
        SELECT a.attname, pg_catalog.col_description('gn_harvest.alert_history'::pg_catalog.regclass, h.attnum) AS words
        FROM pg_catalog.pg_attribute a
        JOIN pg_catalog.pg_attribute h ON h.attrelid = 'gn_harvest.alert_history'::pg_catalog.regclass AND h.attname = a.attname
        WHERE a.attrelid = 'gn_harvest.open_alert'::pg_catalog.regclass AND a.attnum > 0
    LOOP
        EXECUTE pg_catalog.format('COMMENT ON COLUMN gn_harvest.open_alert.%I IS %L', shared.attname, shared.words);
    END LOOP;
END
$$;
