-- The life of an alert: raised and cleared by rules, told to channels, acknowledged by people; and what rules are set to.

CREATE FUNCTION gn_harvest.effective_rule(concerned integer)
RETURNS TABLE (rule text, enabled boolean, severity text, threshold double precision, own_threshold boolean)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT d.rule,
           coalesce(own.enabled, every.enabled, true),
           coalesce(own.severity, every.severity, d.severity),
           coalesce(own.threshold::double precision, every.threshold::double precision, d.threshold),
           own.threshold IS NOT NULL
    FROM gn_harvest.rule_definitions() d
    LEFT JOIN gn_harvest.alert_rule own ON own.source_id = concerned AND own.rule = d.rule
    LEFT JOIN gn_harvest.alert_rule every ON every.source_id IS NULL AND every.rule = d.rule
$$;
COMMENT ON FUNCTION gn_harvest.effective_rule(integer) IS 'What each rule is set to for a source: its own decisions, those for all, the defaults.';

-- A channel is told of what its filters let through and its owner may see.
CREATE FUNCTION gn_harvest.may_tell(teller gn_harvest.channel, told gn_harvest.alert) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN told.channel_id IS NOT NULL THEN told.channel_id <> teller.id AND gn_harvest.may_manage(teller.owner, told.owner)
                WHEN told.source_id IS NULL THEN gn_harvest.may_manage(teller.owner, told.owner)
                ELSE (teller.source_ids IS NULL OR told.source_id = ANY (teller.source_ids))
                     AND told.source_id IN (SELECT gn_harvest.visible_source(teller.owner)) END
$$;
COMMENT ON FUNCTION gn_harvest.may_tell(gn_harvest.channel, gn_harvest.alert) IS 'Whether a channel may tell of an alert: its owner may see what it is about, and its list of sources has it.';

CREATE FUNCTION gn_harvest.raise_alert(about_source integer, about_channel integer, raised_rule text, known jsonb, seen_by bigint) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    setting  record;
    raised   gn_harvest.alert;
    is_new   boolean;
BEGIN
    SELECT * INTO setting FROM gn_harvest.effective_rule(about_source) r WHERE r.rule = raised_rule;
    IF NOT setting.enabled THEN
        RETURN NULL;
    END IF;
    INSERT INTO gn_harvest.alert AS a (source_id, source, channel_id, owner, rule, severity, facts, run_id)
    SELECT about_source, s.name, about_channel, coalesce(s.owner, c.owner), raised_rule, setting.severity, known, seen_by
    FROM (SELECT) one
    LEFT JOIN gn_harvest.source s ON s.id = about_source
    LEFT JOIN gn_harvest.channel c ON c.id = about_channel
    WHERE coalesce(s.id, c.id) IS NOT NULL
    ON CONFLICT (rule, coalesce(source_id, 0), coalesce(channel_id, 0)) WHERE resolved_at IS NULL
    DO UPDATE SET facts = EXCLUDED.facts, severity = EXCLUDED.severity, run_id = coalesce(EXCLUDED.run_id, a.run_id), source = EXCLUDED.source,
                  last_seen_at = clock_timestamp(), occurrences = a.occurrences + 1
    RETURNING a.* INTO raised;
    -- Also to a channel for which it was not grave enough before.
    INSERT INTO gn_harvest.outbox (channel_id, alert_id, event)
    SELECT c.id, raised.id, 'opened'
    FROM gn_harvest.channel c
    WHERE gn_harvest.severity_rank(raised.severity) >= gn_harvest.severity_rank(c.minimum_severity)
      AND c.created_at <= raised.opened_at
      AND gn_harvest.may_tell(c, raised)
    ON CONFLICT DO NOTHING;
    RETURN raised.id;
END
$$;
COMMENT ON FUNCTION gn_harvest.raise_alert(integer, integer, text, jsonb, bigint) IS 'Opens an alert, or sees an open one again, unless its rule is off; and gives it to the channels.';

CREATE FUNCTION gn_harvest.severity_rank(severity text) RETURNS integer
LANGUAGE sql IMMUTABLE
AS $$
    SELECT pg_catalog.array_position('{info,warning,critical}'::text[], severity)
$$;
COMMENT ON FUNCTION gn_harvest.severity_rank(text) IS 'Severities in ascending order.';

CREATE FUNCTION gn_harvest.clear_alert(about_source integer, about_channel integer, cleared_rules text[], told boolean) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    WITH cleared AS (
        UPDATE gn_harvest.alert a SET resolved_at = clock_timestamp()
        WHERE a.resolved_at IS NULL AND a.rule = ANY (cleared_rules)
          AND a.source_id IS NOT DISTINCT FROM about_source AND a.channel_id IS NOT DISTINCT FROM about_channel
        RETURNING a.id)
    -- Who heard of the fault hears of its end.
    INSERT INTO gn_harvest.outbox (channel_id, alert_id, event)
    SELECT o.channel_id, c.id, 'resolved'
    FROM cleared c JOIN gn_harvest.outbox o ON o.alert_id = c.id AND o.event = 'opened'
    WHERE told
    ON CONFLICT DO NOTHING
$$;
COMMENT ON FUNCTION gn_harvest.clear_alert(integer, integer, text[], boolean) IS 'Resolves open alerts; told: the channels that told of them tell of that as well.';

CREATE FUNCTION gn_harvest.alert_rules(source text DEFAULT NULL)
RETURNS TABLE (rule text, enabled boolean, severity text, threshold numeric, unit text, meaning text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    concerned integer;
BEGIN
    IF alert_rules.source IS NOT NULL THEN
        concerned := (gn_harvest.managed_source(alert_rules.source)).id;
    END IF;
    RETURN QUERY
        SELECT d.rule, e.enabled, e.severity, e.threshold::numeric, d.unit,
               CASE WHEN gn_harvest.in_french() THEN d.french ELSE d.english END
        FROM gn_harvest.rule_definitions() WITH ORDINALITY d(rule, severity, threshold, unit, english, french, place)
        JOIN gn_harvest.effective_rule(concerned) e ON e.rule = d.rule
        ORDER BY d.place;
END
$$;
COMMENT ON FUNCTION gn_harvest.alert_rules(text) IS 'The rules of alerts and what they are set to: for a source, or without one for all. Meanings in the language of gn_harvest.language.';

CREATE FUNCTION gn_harvest.set_alert_rule(source text, rule text, enabled boolean DEFAULT NULL, severity text DEFAULT NULL, threshold numeric DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    concerned integer;
    given     record;
BEGIN
    SELECT d.* INTO given FROM gn_harvest.rule_definitions() d WHERE d.rule = set_alert_rule.rule;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'rule "%" does not exist', set_alert_rule.rule
            USING ERRCODE = 'invalid_parameter_value', HINT = 'SELECT rule, meaning FROM gn_harvest.alert_rules() lists the rules.';
    END IF;
    IF set_alert_rule.source IS NOT NULL THEN
        concerned := (gn_harvest.managed_source(set_alert_rule.source)).id;
    ELSIF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = gn_harvest.caller() AND r.rolsuper) THEN
        RAISE EXCEPTION 'role "%" may not set a rule for every source', gn_harvest.caller()
            USING ERRCODE = 'insufficient_privilege', HINT = 'Name a source, or ask a superuser.';
    END IF;
    IF set_alert_rule.severity IS NOT NULL THEN
        PERFORM gn_harvest.check_choice('severity', set_alert_rule.severity, '{info,warning,critical}');
    END IF;
    IF set_alert_rule.threshold IS NOT NULL AND given.unit IS NULL THEN
        RAISE EXCEPTION 'rule "%" has no threshold', set_alert_rule.rule
            USING ERRCODE = 'invalid_parameter_value', HINT = 'SELECT rule, threshold, unit FROM gn_harvest.alert_rules() WHERE unit IS NOT NULL; lists those that have one.';
    END IF;
    IF set_alert_rule.threshold NOT BETWEEN 0 AND 1000000 THEN
        RAISE EXCEPTION 'threshold must be between 0 and 1000000'
            USING ERRCODE = 'invalid_parameter_value', DETAIL = format('Value given: %s.', set_alert_rule.threshold),
                  HINT = format('It counts %s.', given.unit);
    END IF;
    IF num_nonnulls(set_alert_rule.enabled, set_alert_rule.severity, set_alert_rule.threshold) = 0 THEN
        DELETE FROM gn_harvest.alert_rule r WHERE r.source_id IS NOT DISTINCT FROM concerned AND r.rule = set_alert_rule.rule;
    ELSE
        INSERT INTO gn_harvest.alert_rule AS r (source_id, rule, enabled, severity, threshold, set_by)
        VALUES (concerned, set_alert_rule.rule, set_alert_rule.enabled, set_alert_rule.severity, set_alert_rule.threshold, gn_harvest.caller())
        ON CONFLICT (coalesce(source_id, 0), rule)
        DO UPDATE SET enabled = coalesce(EXCLUDED.enabled, r.enabled), severity = coalesce(EXCLUDED.severity, r.severity),
                      threshold = coalesce(EXCLUDED.threshold, r.threshold), set_by = EXCLUDED.set_by, set_at = now();
    END IF;
    -- Nobody has to be told that a rule was switched off.
    UPDATE gn_harvest.alert a SET resolved_at = clock_timestamp()
    WHERE a.resolved_at IS NULL AND a.rule = set_alert_rule.rule
      AND (concerned IS NULL OR a.source_id = concerned)
      AND NOT (SELECT e.enabled FROM gn_harvest.effective_rule(a.source_id) e WHERE e.rule = a.rule);
END
$$;
COMMENT ON FUNCTION gn_harvest.set_alert_rule(text, text, boolean, text, numeric) IS 'Sets a rule of alerts for a source (source null: for all; superusers): whether it is on, how grave it is, from when on it is raised. What is not given stays; nothing given: as it was in the beginning.';

CREATE FUNCTION gn_harvest.acknowledge_alert(id bigint, note text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    noted gn_harvest.alert;
BEGIN
    SELECT * INTO noted FROM gn_harvest.alert a WHERE a.id = acknowledge_alert.id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'alert % does not exist', acknowledge_alert.id
            USING ERRCODE = 'undefined_object', HINT = 'SELECT id, source, message FROM gn_harvest.open_alert; lists those that are open.';
    END IF;
    IF noted.source_id IS NOT NULL THEN
        PERFORM gn_harvest.managed_source(s.name) FROM gn_harvest.source s WHERE s.id = noted.source_id;
    ELSIF NOT gn_harvest.may_manage(gn_harvest.caller(), noted.owner) THEN
        RAISE EXCEPTION 'role "%" may not acknowledge alert %', gn_harvest.caller(), noted.id
            USING ERRCODE = 'insufficient_privilege', DETAIL = format('It concerns role "%s".', noted.owner),
                  HINT = format('GRANT %I TO %I;', noted.owner, gn_harvest.caller());
    END IF;
    UPDATE gn_harvest.alert a
    SET acknowledged_at = clock_timestamp(), acknowledged_by = gn_harvest.caller(), acknowledge_note = acknowledge_alert.note,
        -- Columns that have changed once, and are remembered as they are now, will not change back: that is all there is to it.
        resolved_at = CASE WHEN a.rule = 'columns_changed' AND NOT coalesce((a.facts ->> 'frozen')::boolean, false)
                           THEN coalesce(a.resolved_at, clock_timestamp()) ELSE a.resolved_at END
    WHERE a.id = noted.id;
END
$$;
COMMENT ON FUNCTION gn_harvest.acknowledge_alert(bigint, text) IS 'Says that someone has taken note of an alert, with who, when and what they note. It stays open until its cause is gone; one about changed columns, which are remembered already, ends with that.';
