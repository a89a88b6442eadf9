-- Runs and the slices of their work.

CREATE TABLE gn_harvest.run (
    id              bigint      PRIMARY KEY,
    source_id       integer     REFERENCES gn_harvest.source ON DELETE SET NULL,
    source          text        NOT NULL,
    mode            text        NOT NULL,
    status          text        NOT NULL DEFAULT 'running',
    started_by      text        NOT NULL,
    resumes         bigint,
    created_at      timestamptz NOT NULL DEFAULT now(),
    finished_at     timestamptz,
    pid             integer,
    phase           text        NOT NULL DEFAULT 'starting',
    done            bigint      NOT NULL DEFAULT 0,
    total           bigint,
    source_total    bigint,
    pages           bigint      NOT NULL DEFAULT 0,
    bytes           bigint      NOT NULL DEFAULT 0,
    requests        bigint      NOT NULL DEFAULT 0,
    retries         bigint      NOT NULL DEFAULT 0,
    http_status     integer,
    fetched         bigint      NOT NULL DEFAULT 0,
    inserted        bigint      NOT NULL DEFAULT 0,
    updated         bigint      NOT NULL DEFAULT 0,
    unchanged       bigint      NOT NULL DEFAULT 0,
    deleted         bigint      NOT NULL DEFAULT 0,
    rejected        bigint      NOT NULL DEFAULT 0,
    skipped         bigint      NOT NULL DEFAULT 0,
    repeated        bigint      NOT NULL DEFAULT 0,
    hidden          bigint      NOT NULL DEFAULT 0,
    frameworks_created bigint   NOT NULL DEFAULT 0,
    frameworks_updated bigint   NOT NULL DEFAULT 0,
    datasets_created   bigint   NOT NULL DEFAULT 0,
    datasets_updated   bigint   NOT NULL DEFAULT 0,
    actors_created     bigint   NOT NULL DEFAULT 0,
    allow_loss      boolean     NOT NULL DEFAULT false,
    watermark_from  text,
    watermark       text,
    settings        text,
    warnings        text[]      NOT NULL DEFAULT '{}',
    error_sqlstate  text,
    error_message   text,
    error_detail    text,
    error_hint      text,
    CONSTRAINT known_status CHECK (status IN ('running', 'succeeded', 'failed', 'cancelled', 'interrupted', 'blocked')),
    writers         integer[],
    read_from       text
) WITH (fillfactor = 50);
CREATE INDEX run_source_idx ON gn_harvest.run (source_id, id);
CREATE INDEX run_running_idx ON gn_harvest.run (source_id) WHERE status = 'running';
CREATE INDEX run_created_idx ON gn_harvest.run (created_at);
CREATE SEQUENCE gn_harvest.run_id_seq OWNED BY gn_harvest.run.id;
COMMENT ON TABLE gn_harvest.run IS 'One row a run, written by its worker. running -> succeeded | failed | cancelled | interrupted | blocked (by the loss guard); a run whose worker is gone is closed as interrupted.';
COMMENT ON SEQUENCE gn_harvest.run_id_seq IS 'Numbers of runs, drawn by the session that starts one.';

-- A range of the export's key. Workers claim one at a time and add to "done" in the
-- transaction that writes the rows: what is not in "done" is still to be read.
CREATE TABLE gn_harvest.slice (
    run_id  bigint          NOT NULL REFERENCES gn_harvest.run ON DELETE CASCADE,
    no      integer         NOT NULL,
    whole   int8range       NOT NULL,
    done    int8multirange  NOT NULL DEFAULT '{}',
    claimed_by integer,
    cut_by  bigint          NOT NULL,
    PRIMARY KEY (run_id, no)
) WITH (fillfactor = 70);
COMMENT ON TABLE gn_harvest.slice IS 'Ranges of key that a run reads, and what of each is read and written. Kept while a full run is unfinished, so that it can be resumed.';

CREATE TABLE gn_harvest.check_result (
    run_id  bigint   NOT NULL REFERENCES gn_harvest.run ON DELETE CASCADE,
    no      integer  NOT NULL,
    "check" text     NOT NULL,
    status  text     NOT NULL,
    detail  text,
    hint    text,
    PRIMARY KEY (run_id, no)
);
COMMENT ON TABLE gn_harvest.check_result IS 'Answers of check_source, one row a check.';

CREATE TABLE gn_harvest.plan_result (
    run_id  bigint   NOT NULL REFERENCES gn_harvest.run ON DELETE CASCADE,
    no      integer  NOT NULL,
    action  text     NOT NULL,
    object  text     NOT NULL,
    records bigint   NOT NULL,
    reason  text,
    detail  text,
    samples jsonb    NOT NULL,
    PRIMARY KEY (run_id, no)
);
COMMENT ON TABLE gn_harvest.plan_result IS 'Answers of plan, one row for each thing that a run would do.';

-- A worker holds a lock of its own on its source as long as it lives: it says which runs are really running.
CREATE FUNCTION gn_harvest.working_source() RETURNS SETOF integer
LANGUAGE sql STABLE
AS $$
    SELECT l.objid::integer
    FROM pg_catalog.pg_locks l
    WHERE l.locktype = 'object' AND l.granted
      AND l.classid = 'gn_harvest.source'::pg_catalog.regclass
      AND l.objsubid = 1
      AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
$$;
COMMENT ON FUNCTION gn_harvest.working_source() IS 'Sources for which a worker is alive now.';

-- The worker of a run that has ended takes a moment to go: nobody should stumble over it.
CREATE FUNCTION gn_harvest.is_working(asked_source integer) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    give_up timestamptz := clock_timestamp() + interval '2 seconds';
BEGIN
    WHILE asked_source IN (SELECT gn_harvest.working_source()) LOOP
        IF clock_timestamp() > give_up OR EXISTS (
            SELECT FROM gn_harvest.run r WHERE r.source_id = asked_source AND r.status = 'running' AND r.mode <> 'check') THEN
            RETURN true;
        END IF;
        PERFORM pg_sleep(0.02);
    END LOOP;
    RETURN false;
END
$$;
COMMENT ON FUNCTION gn_harvest.is_working(integer) IS 'Whether a run of a source is going on; waits for a worker that has ended its run to be gone.';
