-- Written by packaging/upgrade/script: `make upgrade-script`.
\echo Use "ALTER EXTENSION gn_harvest UPDATE" to load this file. \quit

-- Whom the functions and views that are made anew below were granted to.
SELECT pg_catalog.set_config('gn_harvest_upgrade.grants', coalesce(pg_catalog.jsonb_agg(g), '[]')::text, true)
FROM (
    SELECT 'FUNCTION' AS kind, p.proname AS name, a.grantee::pg_catalog.regrole AS role, a.privilege_type AS privilege
    FROM pg_catalog.pg_proc p, pg_catalog.aclexplode(p.proacl) a
    WHERE p.pronamespace = 'gn_harvest'::pg_catalog.regnamespace AND a.grantee NOT IN (0, p.proowner)
    UNION ALL
    SELECT 'VIEW', c.relname, a.grantee::pg_catalog.regrole, a.privilege_type
    FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a
    WHERE c.relnamespace = 'gn_harvest'::pg_catalog.regnamespace AND c.relkind = 'v' AND a.grantee NOT IN (0, c.relowner)
) g;

-- Their columns are not in the order of before: a view of yours on them has to be dropped and made again.
DROP VIEW gn_harvest.run_progress;
DROP VIEW gn_harvest.source_status;

DROP FUNCTION gn_harvest.within_hours;

DROP FUNCTION gn_harvest.add_source;

DROP FUNCTION gn_harvest.alter_source;

CREATE OR REPLACE FUNCTION gn_harvest.word(english text) RETURNS text
LANGUAGE sql STABLE
AS $$
    SELECT CASE WHEN NOT gn_harvest.in_french() THEN pg_catalog.initcap(pg_catalog.left(english, 1)) || pg_catalog.substr(english, 2)
                ELSE CASE english
                    WHEN 'manual' THEN 'Manuelle'
                    WHEN 'active' THEN 'Actif'
                    WHEN 'not enabled' THEN 'Non activé'
                    WHEN 'not running' THEN 'Arrêté'
                    WHEN 'standby' THEN 'Serveur secondaire'
                    WHEN 'to be updated' THEN 'À mettre à jour'
                    WHEN 'template' THEN 'Modèle'
                    WHEN 'running' THEN 'En cours'
                    WHEN 'paused' THEN 'En pause'
                    WHEN 'never run' THEN 'Jamais lancée'
                    WHEN 'succeeded' THEN 'Réussie'
                    WHEN 'failed' THEN 'En échec'
                    WHEN 'cancelled' THEN 'Annulée'
                    WHEN 'interrupted' THEN 'Interrompue'
                    WHEN 'blocked' THEN 'Bloquée'
                    ELSE english END END
$$;

CREATE  FUNCTION "alert_text"(
	"rule" TEXT, /* & str */
	"facts" TEXT, /* & str */
	"in_french" bool /* bool */
) RETURNS TEXT /* String */
IMMUTABLE STRICT PARALLEL SAFE
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'alert_text_wrapper';

CREATE  FUNCTION "check_allowed_host"(
	"url" TEXT /* & str */
) RETURNS void
STRICT STABLE
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'check_allowed_host_wrapper';

CREATE  FUNCTION "check_email_address"(
	"address" TEXT /* & str */
) RETURNS void
IMMUTABLE STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'check_email_address_wrapper';

CREATE  FUNCTION "clock"() RETURNS timestamp with time zone /* Option < TimestampWithTimeZone > */
STRICT VOLATILE
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'clock_wrapper';

CREATE  FUNCTION "frequency_in"(
	"schedule" TEXT, /* Option < & str > */
	"reconcile" TEXT, /* Option < & str > */
	"french" bool /* bool */
) RETURNS TEXT /* Option < String > */
IMMUTABLE
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'frequency_in_wrapper';

CREATE  FUNCTION "is_preloaded"() RETURNS bool /* bool */
STRICT STABLE
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'is_preloaded_wrapper';

CREATE  FUNCTION "is_recovered"() RETURNS bool /* bool */
STRICT STABLE
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'is_recovered_wrapper';

CREATE  FUNCTION "last_visit"() RETURNS timestamp with time zone /* Option < TimestampWithTimeZone > */
STRICT VOLATILE
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'last_visit_wrapper';

CREATE  FUNCTION "library_version"() RETURNS TEXT /* & '_ str */
IMMUTABLE STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'library_version_wrapper';

CREATE  FUNCTION "next_run"(
	"source_id" INT, /* i32 */
	"schedule" TEXT, /* & str */
	"reconcile" TEXT, /* Option < & str > */
	"jitter" double precision, /* f64 */
	"allowed_hours" TEXT, /* Option < & str > */
	"settled" timestamp with time zone, /* TimestampWithTimeZone */
	"reconciled" timestamp with time zone, /* TimestampWithTimeZone */
	"broken_off_mode" TEXT, /* Option < & str > */
	"broken_off_at" timestamp with time zone /* Option < TimestampWithTimeZone > */
) RETURNS timestamp with time zone /* Option < TimestampWithTimeZone > */
STABLE
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'next_run_wrapper';

CREATE  FUNCTION "next_tick"(
	"schedule" TEXT, /* & str */
	"after" timestamp with time zone /* TimestampWithTimeZone */
) RETURNS timestamp with time zone /* Option < TimestampWithTimeZone > */
STRICT STABLE
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'next_tick_wrapper';

CREATE  FUNCTION "normalise_file_url"(
	"url" TEXT /* & str */
) RETURNS TEXT /* String */
IMMUTABLE STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'normalise_file_url_wrapper';

CREATE  FUNCTION "normalise_schedule"(
	"setting" TEXT, /* & str */
	"given" TEXT /* & str */
) RETURNS TEXT /* String */
IMMUTABLE STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'normalise_schedule_wrapper';

CREATE  FUNCTION "place"() RETURNS jsonb /* JsonB */
STRICT STABLE
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'place_wrapper';

CREATE  FUNCTION "render_status_page"(
	"data" TEXT, /* & str */
	"in_french" bool /* bool */
) RETURNS TEXT /* String */
IMMUTABLE STRICT PARALLEL SAFE
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'render_status_page_wrapper';
COMMENT ON FUNCTION gn_harvest.render_status_page(text, boolean) IS 'The HTML of the status page, from what status_page_data() gives.';

CREATE  FUNCTION "rule_definitions"() RETURNS TABLE (
	"rule" TEXT,  /* String */
	"severity" TEXT,  /* String */
	"threshold" double precision,  /* Option < f64 > */
	"unit" TEXT,  /* Option < String > */
	"english" TEXT,  /* String */
	"french" TEXT  /* String */
)
IMMUTABLE STRICT PARALLEL SAFE
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'rule_definitions_wrapper';

CREATE  FUNCTION "schedule_timezone"() RETURNS TEXT /* String */
STRICT STABLE
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'schedule_timezone_wrapper';
COMMENT ON FUNCTION gn_harvest.normalise_schedule(text, text) IS 'A schedule as it is kept, or an error that shows good ones.';
COMMENT ON FUNCTION gn_harvest.next_tick(text, timestamptz) IS 'The first time after a moment at which a schedule wants a run, in gn_harvest.timezone; null when it wants none.';
COMMENT ON FUNCTION gn_harvest.frequency_in(text, text, boolean) IS 'Schedules in words, in French or in English.';
COMMENT ON FUNCTION gn_harvest.next_run(integer, text, text, double precision, text, timestamptz, timestamptz, text, timestamptz) IS 'When a source is due next, of what the view standing says of it.';
COMMENT ON FUNCTION gn_harvest.clock() IS 'The time that the scheduler goes by.';
COMMENT ON FUNCTION gn_harvest.place() IS 'What tells this place from a copy of it: the system, the database, the directory and its files, the machine.';
COMMENT ON FUNCTION gn_harvest.library_version() IS 'The version of the library.';
COMMENT ON FUNCTION gn_harvest.last_visit() IS 'When the scheduler looked at this database last, since the server was started.';
COMMENT ON FUNCTION gn_harvest.schedule_timezone() IS 'The time zone that schedules go by.';
COMMENT ON FUNCTION gn_harvest.is_recovered() IS 'Whether this server, since it was started, has been recovered from an archive.';
COMMENT ON FUNCTION gn_harvest.is_preloaded() IS 'Whether the library was loaded by shared_preload_libraries: without it nothing is run on schedule.';

CREATE  FUNCTION "start_sending"() RETURNS void
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'start_sending_wrapper';

CREATE  FUNCTION "start_test"(
	"channel_id" INT /* i32 */
) RETURNS bigint /* i64 */
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'start_test_wrapper';
COMMENT ON FUNCTION gn_harvest.normalise_file_url(text) IS 'The address of a file in its canonical form, or an error that says what is wrong with it.';
COMMENT ON FUNCTION gn_harvest.check_allowed_host(text) IS 'Refuses an address whose host is not among gn_harvest.allowed_hosts.';

ALTER TABLE gn_harvest.source
    ADD COLUMN target             text     NOT NULL DEFAULT 'synthese',
    ADD COLUMN deletion_export_id integer,
    ADD COLUMN after_run          text,
    ADD COLUMN schedule           text     NOT NULL DEFAULT 'manual',
    ADD COLUMN reconcile_schedule text,
    ADD COLUMN schedule_jitter    interval NOT NULL DEFAULT '0',
    ADD COLUMN writers            integer,
    ADD COLUMN load               text     NOT NULL DEFAULT 'standard',
    ADD COLUMN bootstrap_url      text;
COMMENT ON COLUMN gn_harvest.source.bootstrap_url IS 'Address of the file that the partner''s GeoNature writes of this export on a schedule: the first full run reads it in place of the export.';
COMMENT ON COLUMN gn_harvest.source.schedule IS 'When it runs by itself, in plain words or as a cron expression; manual: only when someone runs it.';
COMMENT ON COLUMN gn_harvest.source.reconcile_schedule IS 'When it is reconciled by itself, written likewise; null: only when someone does.';
COMMENT ON COLUMN gn_harvest.source.schedule_jitter IS 'Greatest time by which its scheduled runs begin later than their schedule says, another time each tick, so that sources do not all begin at once.';
COMMENT ON COLUMN gn_harvest.source.target IS 'synthese: observations, into gn_synthese.synthese; records: whatever the export has, into gn_harvest.record, which needs no GeoNature.';
COMMENT ON COLUMN gn_harvest.source.deletion_export_id IS 'Number of an export that tells what was deleted or left, as publish_export makes it; found by itself when the export of observations names it.';
COMMENT ON COLUMN gn_harvest.source.writers IS 'Workers that write for one full run, 1 to 16; null: as many as gn_harvest.writers says.';
COMMENT ON COLUMN gn_harvest.source.load IS 'How new observations are written: "standard" with every trigger of the target, "fast" with the work of GeoNature''s own triggers done for whole batches.';
COMMENT ON COLUMN gn_harvest.source.allowed_hours IS 'Hours of the day, in gn_harvest.timezone, in which runs may work, such as 20:00-06:00; null: always.';
COMMENT ON COLUMN gn_harvest.source.after_run IS 'Function of the owner''s, taking jsonb, that is called after a run that has changed something: schema and name.';

ALTER TABLE gn_harvest.source_state
    ADD COLUMN hook_run              bigint,
    ADD COLUMN ticks_settled_at      timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN reconciles_settled_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN selection             bigint;
COMMENT ON COLUMN gn_harvest.source_state.selection IS 'Number of the selection that the partner publishes: when it has moved, everything is read and compared.';
COMMENT ON COLUMN gn_harvest.source_state.ticks_settled_at IS 'Ticks of its schedule up to here are settled: run, or from before it had the schedule.';
COMMENT ON COLUMN gn_harvest.source_state.reconciles_settled_at IS 'The same for its reconcile_schedule.';

CREATE OR REPLACE FUNCTION gn_harvest.check_source_settings() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    refused text;
BEGIN
    IF NEW.name !~ '^\S(.{0,61}\S)?$' THEN
        RAISE EXCEPTION 'the name of a source has 1 to 63 characters and neither begins nor ends with a space'
            USING ERRCODE = 'invalid_parameter_value', DETAIL = format('Name given: "%s".', NEW.name),
                  HINT = 'Give a name such as ''CEN Alpes'': accents, quotes and spaces within are welcome.';
    END IF;
    NEW.url := gn_harvest.normalise_url(NEW.url);
    NEW.bootstrap_url := gn_harvest.normalise_file_url(NEW.bootstrap_url);
    PERFORM gn_harvest.check_range('export_id', NEW.export_id, 1, 2147483647);
    PERFORM gn_harvest.check_range('metadata_export_id', NEW.metadata_export_id, 1, 2147483647);
    PERFORM gn_harvest.check_range('deletion_export_id', NEW.deletion_export_id, 1, 2147483647);
    PERFORM gn_harvest.check_range('connections', NEW.connections, 1, 16);
    PERFORM gn_harvest.check_range('writers', NEW.writers, 1, 16);
    PERFORM gn_harvest.check_range('page_size', NEW.page_size, 1, 100000);
    PERFORM gn_harvest.check_range('retry_budget', NEW.retry_budget, 0, 10000);
    PERFORM gn_harvest.check_range('pause_after_failures', NEW.pause_after_failures, 1, 1000);
    PERFORM gn_harvest.check_choice('target', NEW.target, '{synthese,records}');
    PERFORM gn_harvest.check_choice('load', NEW.load, '{standard,fast}');
    PERFORM gn_harvest.check_choice('format', NEW.format, '{auto,codes,labels}');
    PERFORM gn_harvest.check_choice('on_unknown_value', NEW.on_unknown_value, '{default,"null",reject}');
    PERFORM gn_harvest.check_choice('contract', NEW.contract, '{warn,freeze,evolve}');
    PERFORM gn_harvest.check_choice('on_uuid_conflict', NEW.on_uuid_conflict, '{reject,skip,take_over,priority}');
    PERFORM gn_harvest.check_choice('metadata_mode', NEW.metadata_mode, '{full,create_only,mapped,single_dataset}');
    IF NEW.metadata_mode = 'single_dataset' AND NEW.target_dataset IS NULL THEN
        RAISE EXCEPTION 'metadata_mode single_dataset needs a target_dataset'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Give the unique_dataset_id of the local dataset: target_dataset => (SELECT unique_dataset_id FROM gn_meta.t_datasets WHERE dataset_name = ''...'').';
    END IF;
    SELECT s.setting INTO refused
    FROM (VALUES ('metadata_export_id', NEW.metadata_export_id IS NOT NULL), ('format', NEW.format <> 'auto'),
                 ('protected_columns', NEW.protected_columns <> '{}'), ('on_unknown_value', NEW.on_unknown_value <> 'default'),
                 ('on_uuid_conflict', NEW.on_uuid_conflict <> 'reject'), ('metadata_mode', NEW.metadata_mode <> 'full'),
                 ('target_dataset', NEW.target_dataset IS NOT NULL), ('create_persons', NOT NEW.create_persons),
                 ('organisms_by_name', NEW.organisms_by_name), ('load', NEW.load <> 'standard')) s(setting, given)
    WHERE NEW.target = 'records' AND s.given LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'setting "%" has no meaning for the target records', refused
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'Records are kept as they come; only observations that go into gn_synthese have codes, metadata and columns of their own.',
                  HINT = 'Leave it out, or take target => ''synthese''.';
    END IF;
    IF NEW.max_loss NOT BETWEEN 0 AND 100 THEN
        RAISE EXCEPTION 'max_loss must be between 0 and 100'
            USING ERRCODE = 'invalid_parameter_value', DETAIL = format('Value given: %s.', NEW.max_loss),
                  HINT = 'It is a percentage of the observations held; the default is 10.';
    END IF;
    IF NEW.look_back < interval '0' OR NEW.look_back > interval '366 days' THEN
        RAISE EXCEPTION 'look_back must be between 0 and 366 days'
            USING ERRCODE = 'invalid_parameter_value', DETAIL = format('Value given: %s.', NEW.look_back),
                  HINT = 'The default is interval ''3 hours'': more than a daylight-saving step and a long transaction.';
    END IF;
    NEW.schedule := gn_harvest.normalise_schedule('schedule', NEW.schedule);
    NEW.reconcile_schedule := nullif(gn_harvest.normalise_schedule('reconcile_schedule', NEW.reconcile_schedule), 'manual');
    IF NEW.schedule_jitter NOT BETWEEN interval '0' AND interval '1 day' THEN
        RAISE EXCEPTION 'schedule_jitter must be between 0 and 1 day'
            USING ERRCODE = 'invalid_parameter_value', DETAIL = format('Value given: %s.', NEW.schedule_jitter),
                  HINT = 'Example: schedule_jitter => interval ''20 minutes''.';
    END IF;
    IF NEW.allowed_hours !~ '^([01]?\d|2[0-3]):[0-5]\d-([01]?\d|2[0-3]):[0-5]\d$' THEN
        RAISE EXCEPTION 'allowed_hours is not understood'
            USING ERRCODE = 'invalid_parameter_value', DETAIL = format('Value given: "%s".', NEW.allowed_hours),
                  HINT = 'Give a range of local hours such as ''20:00-06:00''.';
    END IF;
    IF jsonb_typeof(NEW.filters) <> 'object'
       OR EXISTS (SELECT FROM jsonb_each(NEW.filters) f WHERE jsonb_typeof(f.value) NOT IN ('string', 'number', 'boolean')) THEN
        RAISE EXCEPTION 'filters must be a JSON object of names and plain values'
            USING ERRCODE = 'invalid_parameter_value', DETAIL = format('Value given: %s.', NEW.filters),
                  HINT = 'Example: filters => ''{"jdd_uuid": "1aea7f84-d914-5eab-a814-ad23421e6935"}''.';
    END IF;
    SELECT key INTO refused FROM jsonb_object_keys(NEW.filters) key
    WHERE lower(key) IN ('limit', 'offset', 'orderby', 'token') LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'filter "%" is not allowed', refused
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Paging is the harvester''s; a token goes into add_source(token => ...) or set_credentials.';
    END IF;
    IF NEW.bootstrap_url IS NOT NULL AND NEW.filters <> '{}' THEN
        RAISE EXCEPTION 'bootstrap_url and filters do not go together'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'The file holds everything that the export has: no filter was applied when it was written.',
                  HINT = 'Leave bootstrap_url out, or empty it with clear => ''{bootstrap_url}''; or do without filters: filters => ''{}''.';
    END IF;
    SELECT c INTO refused FROM unnest(NEW.protected_columns) c
    WHERE c IS NULL OR NOT c = ANY (gn_harvest.target_columns()) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'column "%" can not be protected', refused
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'It is not a column of gn_synthese.synthese that a harvest writes.',
                  HINT = 'SELECT unnest(gn_harvest.target_columns()) lists them.';
    END IF;
    IF TG_OP = 'UPDATE' THEN
        NEW.altered_at := now();
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION gn_harvest.check_after_run(after_run text, owner name) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    called    regprocedure;
    schema    oid;
    full_name text;
BEGIN
    IF after_run IS NULL THEN
        RETURN NULL;
    END IF;
    BEGIN
        SELECT p.oid, n.oid, format('%I.%I', n.nspname, p.proname) INTO called, schema, full_name
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE p.oid = to_regprocedure(after_run || '(jsonb)') AND p.prokind = 'f';
    EXCEPTION WHEN syntax_error OR invalid_name OR invalid_text_representation THEN
        called := NULL;
    END;
    IF called IS NULL THEN
        RAISE EXCEPTION 'there is no function %(jsonb)', after_run
            USING ERRCODE = 'undefined_function',
                  HINT = 'Give the schema and name of a function of one argument: after_run => ''public.refresh_atlas'' for CREATE FUNCTION public.refresh_atlas(event jsonb) RETURNS void ...';
    END IF;
    IF EXISTS (SELECT FROM pg_roles r WHERE r.rolname = owner)
       AND NOT (has_function_privilege(owner, called, 'EXECUTE') AND has_schema_privilege(owner, schema, 'USAGE')) THEN
        RAISE EXCEPTION 'role "%", which owns the source, may not call %', owner, full_name
            USING ERRCODE = 'insufficient_privilege', HINT = format('GRANT EXECUTE ON FUNCTION %s(jsonb) TO %I; and USAGE of its schema.', full_name, owner);
    END IF;
    RETURN full_name;
END
$$;
COMMENT ON FUNCTION gn_harvest.check_after_run(text, name) IS 'The function of that name, with its schema, or an error: there must be one that takes jsonb, and the owner must be allowed to call it.';

CREATE FUNCTION gn_harvest.require_observations(concerned gn_harvest.source) RETURNS void
LANGUAGE plpgsql IMMUTABLE
AS $$
BEGIN
    IF concerned.target = 'records' THEN
        RAISE EXCEPTION 'nothing can be mapped for source "%"', concerned.name
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'Its target is records: they are kept as they come.',
                  HINT = pg_catalog.format('Map it where you read them: SELECT gn_harvest.create_record_view(%L, ''schema.name''); makes a view of them.', concerned.name);
    END IF;
END
$$;
COMMENT ON FUNCTION gn_harvest.require_observations(gn_harvest.source) IS 'Refuses a mapping for a source whose records are kept as they come.';

ALTER TABLE gn_harvest.run
    ADD COLUMN writers   integer[],
    ADD COLUMN read_from text;

CREATE INDEX run_running_idx ON gn_harvest.run (source_id) WHERE status = 'running';

CREATE INDEX run_created_idx ON gn_harvest.run (created_at);

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

CREATE VIEW gn_harvest.standing AS
SELECT s.id AS source_id,
       s.name AS source,
       s.priority,
       s.enabled,
       s.schedule,
       s.reconcile_schedule,
       extract(epoch FROM s.schedule_jitter)::double precision AS jitter,
       s.allowed_hours,
       st.ticks_settled_at,
       st.reconciles_settled_at,
       CASE WHEN broken.mode = 'reconcile' THEN 'reconcile' WHEN broken.mode IS NOT NULL THEN 'auto' END AS broken_off_mode,
       broken.finished_at AS broken_off_at
FROM gn_harvest.source s
JOIN gn_harvest.source_state st ON st.source_id = s.id
LEFT JOIN LATERAL (
    SELECT (array_agg(r.mode ORDER BY r.id DESC))[1] AS mode,
           (array_agg(r.status ORDER BY r.id DESC))[1] AS status,
           (array_agg(r.finished_at ORDER BY r.id DESC))[1] AS finished_at,
           count(*) FILTER (WHERE r.status = 'interrupted' AND r.error_sqlstate = '57P02'
                              AND r.created_at > now() - interval '1 day') AS broken_off_in_a_row
    FROM (SELECT * FROM gn_harvest.run h
          WHERE h.source_id = s.id AND h.mode IN ('auto', 'full', 'incremental', 'reconcile')
          ORDER BY h.id DESC LIMIT 4) r
) broken ON (s.schedule <> 'manual' OR s.reconcile_schedule IS NOT NULL)
        AND broken.status = 'interrupted' AND broken.broken_off_in_a_row < 4;
COMMENT ON VIEW gn_harvest.standing IS 'What the scheduler reads of each source.';
COMMENT ON COLUMN gn_harvest.standing.source_id IS 'Number of the source.';
COMMENT ON COLUMN gn_harvest.standing.source IS 'Name of the source.';
COMMENT ON COLUMN gn_harvest.standing.priority IS 'Rank among what is due: the lower number comes first.';
COMMENT ON COLUMN gn_harvest.standing.enabled IS 'Whether it may be run.';
COMMENT ON COLUMN gn_harvest.standing.schedule IS 'When it runs.';
COMMENT ON COLUMN gn_harvest.standing.reconcile_schedule IS 'When it is reconciled.';
COMMENT ON COLUMN gn_harvest.standing.jitter IS 'Greatest time by which its runs begin later, in seconds.';
COMMENT ON COLUMN gn_harvest.standing.allowed_hours IS 'Hours in which its runs may work.';
COMMENT ON COLUMN gn_harvest.standing.ticks_settled_at IS 'Ticks of its schedule up to here are settled.';
COMMENT ON COLUMN gn_harvest.standing.reconciles_settled_at IS 'The same for reconcile_schedule.';
COMMENT ON COLUMN gn_harvest.standing.broken_off_mode IS 'Mode in which a run that broke off is taken up; null when there is none.';
COMMENT ON COLUMN gn_harvest.standing.broken_off_at IS 'When it broke off.';

CREATE FUNCTION gn_harvest.frequency(schedule text, reconcile_schedule text DEFAULT NULL) RETURNS text
LANGUAGE sql STABLE
AS $$
    SELECT gn_harvest.frequency_in(schedule, reconcile_schedule, gn_harvest.in_french())
$$;
COMMENT ON FUNCTION gn_harvest.frequency(text, text) IS 'A schedule in words, in the language of gn_harvest.language: « Mensuelle – Jour 01 », « Weekly – Monday ».';

CREATE TABLE gn_harvest.home (
    place      jsonb       NOT NULL,
    settled_by name        NOT NULL,
    settled_at timestamptz NOT NULL DEFAULT now()
);

CREATE UNIQUE INDEX home_is_one ON gn_harvest.home ((true));
COMMENT ON TABLE gn_harvest.home IS 'The place where schedules of this database run: in a copy of it (a dump restored, a clone, copied files) they do not, until resume_schedules().';

CREATE FUNCTION gn_harvest.is_at_home() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN EXISTS (SELECT FROM gn_harvest.home)
                -- A recovery from an archive is a copy too, even one into the files of the original.
                THEN EXISTS (SELECT FROM gn_harvest.home h
                             WHERE h.place = gn_harvest.place()
                               AND NOT (gn_harvest.is_recovered() AND h.settled_at < pg_postmaster_start_time()))
                ELSE NOT EXISTS (SELECT FROM gn_harvest.source s WHERE s.schedule <> 'manual' OR s.reconcile_schedule IS NOT NULL) END
$$;
COMMENT ON FUNCTION gn_harvest.is_at_home() IS 'Whether this database is where its schedules were given, and no copy of it.';

CREATE FUNCTION gn_harvest.schedule_obstacle() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN NOT gn_harvest.is_preloaded() THEN 'not_preloaded'
                WHEN pg_is_in_recovery() THEN 'standby'
                WHEN (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'gn_harvest') <> gn_harvest.library_version() THEN 'version'
                WHEN (SELECT d.datistemplate FROM pg_database d WHERE d.datname = current_database()) THEN 'template'
                WHEN NOT gn_harvest.is_at_home() THEN 'copy' END
$$;
COMMENT ON FUNCTION gn_harvest.schedule_obstacle() IS 'Why schedules of this database do not run; null when they do.';

CREATE FUNCTION gn_harvest.obstacle_advice(obstacle text, french boolean, OUT detail text, OUT hint text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    library_line text := format('shared_preload_libraries = ''%s''',
                                concat_ws(', ', CASE WHEN pg_has_role(gn_harvest.caller(), 'pg_read_all_settings', 'USAGE')
                                                     THEN nullif(current_setting('shared_preload_libraries'), '') ELSE '...' END,
                                          'gn_harvest'));
BEGIN
    SELECT a.detail, a.hint INTO detail, hint
    FROM (VALUES
        ('not_preloaded', false, 'The library is not in shared_preload_libraries: nothing runs by itself.',
         format('Write %s in postgresql.conf and restart PostgreSQL; or let pg_cron call gn_harvest.run().', library_line)),
        ('not_preloaded', true, 'La bibliothèque n''est pas dans shared_preload_libraries : rien ne se lance de soi-même.',
         format('Écrire %s dans postgresql.conf et redémarrer PostgreSQL ; ou faire appeler gn_harvest.run() par pg_cron.', library_line)),
        ('no_launcher', false, 'The process gn_harvest launcher is not there.',
         'It is started again within seconds. If not, raise max_worker_processes and restart PostgreSQL; the server''s log says why.'),
        ('no_launcher', true, 'Le processus gn_harvest launcher n''est pas là.',
         'Il redémarre en quelques secondes. Sinon, augmenter max_worker_processes et redémarrer PostgreSQL ; le journal du serveur dit pourquoi.'),
        ('standby', false, 'This server is a standby: the primary runs the schedules.', NULL),
        ('standby', true, 'Ce serveur est un serveur secondaire : le primaire suit les planifications.', NULL),
        ('version', false, format('The library is of version %s, the extension in this database is not.', gn_harvest.library_version()),
         'ALTER EXTENSION gn_harvest UPDATE; or restart PostgreSQL if the library is the older one.'),
        ('version', true, format('La bibliothèque est de version %s, l''extension de cette base ne l''est pas.', gn_harvest.library_version()),
         'ALTER EXTENSION gn_harvest UPDATE; ou redémarrer PostgreSQL si la bibliothèque est la plus ancienne.'),
        ('template', false, 'This database is a template.', 'ALTER DATABASE ... IS_TEMPLATE false lets it run.'),
        ('template', true, 'Cette base est un modèle.', 'ALTER DATABASE ... IS_TEMPLATE false la laisse travailler.'),
        ('copy', false, 'This database is a copy (restored, cloned, or its files copied or moved): its schedules are paused.',
         'SELECT gn_harvest.resume_schedules(); lets them run here, if the original does not go on as well.'),
        ('copy', true, 'Cette base est une copie (restaurée, clonée, ou ses fichiers copiés ou déplacés) : ses planifications sont en pause.',
         'SELECT gn_harvest.resume_schedules(); les relance ici, si l''originale ne continue pas de son côté.')
    ) a (obstacle, french, detail, hint)
    WHERE a.obstacle = obstacle_advice.obstacle AND a.french = obstacle_advice.french;
END
$$;
COMMENT ON FUNCTION gn_harvest.obstacle_advice(text, boolean) IS 'What an obstacle to schedules is and what to do, in words.';

CREATE FUNCTION gn_harvest.resume_schedules() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'this server is a standby'
            USING ERRCODE = 'read_only_sql_transaction', HINT = 'It goes on by itself once it is promoted.';
    END IF;
    IF NOT gn_harvest.is_at_home() THEN
        DELETE FROM gn_harvest.home;
        INSERT INTO gn_harvest.home (place, settled_by) VALUES (gn_harvest.place(), gn_harvest.caller());
        -- What was missed in the meantime is not made up for.
        UPDATE gn_harvest.source_state SET ticks_settled_at = gn_harvest.clock(), reconciles_settled_at = gn_harvest.clock();
    END IF;
    RETURN (SELECT count(*) FROM gn_harvest.source s
            WHERE s.enabled AND (s.schedule <> 'manual' OR s.reconcile_schedule IS NOT NULL));
END
$$;
COMMENT ON FUNCTION gn_harvest.resume_schedules() IS 'Lets the schedules run in a database that was restored, cloned or copied, from now on. Returns how many sources have one. For superusers and whom they grant it to.';

CREATE FUNCTION gn_harvest.begin_schedules(before gn_harvest.source, after gn_harvest.source) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    advice record;
BEGIN
    IF (before.schedule, before.reconcile_schedule) IS NOT DISTINCT FROM (after.schedule, after.reconcile_schedule) THEN
        RETURN;
    END IF;
    UPDATE gn_harvest.source_state st
    SET ticks_settled_at = CASE WHEN before.schedule = after.schedule THEN st.ticks_settled_at ELSE gn_harvest.clock() END,
        reconciles_settled_at = CASE WHEN before.reconcile_schedule = after.reconcile_schedule
                                     THEN st.reconciles_settled_at ELSE gn_harvest.clock() END
    WHERE st.source_id = after.id;
    -- The first schedule says where this database is at home.
    INSERT INTO gn_harvest.home (place, settled_by)
    SELECT gn_harvest.place(), gn_harvest.caller()
    WHERE NOT EXISTS (SELECT FROM gn_harvest.home)
      AND NOT EXISTS (SELECT FROM gn_harvest.source s
                      WHERE s.id <> after.id AND (s.schedule <> 'manual' OR s.reconcile_schedule IS NOT NULL))
      AND (after.schedule <> 'manual' OR after.reconcile_schedule IS NOT NULL)
    ON CONFLICT DO NOTHING;
    IF after.schedule <> 'manual' OR after.reconcile_schedule IS NOT NULL THEN
        SELECT * INTO advice FROM gn_harvest.obstacle_advice(gn_harvest.schedule_obstacle(), gn_harvest.in_french());
        IF advice.detail IS NOT NULL THEN
            RAISE NOTICE '%', advice.detail USING HINT = coalesce(advice.hint, '');
        END IF;
    END IF;
END
$$;
COMMENT ON FUNCTION gn_harvest.begin_schedules(gn_harvest.source, gn_harvest.source) IS 'Begins the schedules of a source that have changed.';

CREATE FUNCTION gn_harvest.schedule_check(source_id integer) RETURNS TABLE (status text, detail text, hint text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN NOT scheduled OR obstacle IS NULL AND s.enabled THEN 'ok' ELSE 'warning' END,
           concat_ws(' ', gn_harvest.frequency_in(s.schedule, s.reconcile_schedule, false) || '.', coalesce(a.detail,
               CASE WHEN NOT s.enabled THEN 'The source is paused.'
                    WHEN scheduled THEN 'Next run: ' || to_char(gn_harvest.next_run(g.source_id, g.schedule, g.reconcile_schedule,
                         g.jitter, g.allowed_hours, g.ticks_settled_at, g.reconciles_settled_at, g.broken_off_mode, g.broken_off_at)
                         AT TIME ZONE gn_harvest.schedule_timezone(), 'YYYY-MM-DD HH24:MI') || ', time of '
                         || gn_harvest.schedule_timezone() || '.' END)),
           coalesce(a.hint, CASE WHEN NOT s.enabled THEN format('SELECT gn_harvest.resume_source(%L);', s.name)
                                 WHEN NOT scheduled THEN format('SELECT gn_harvest.alter_source(%L, schedule => ''daily 03:00''); lets it run by itself.', s.name) END)
    FROM gn_harvest.source s
    JOIN gn_harvest.standing g ON g.source_id = s.id,
         gn_harvest.schedule_obstacle() obstacle,
         LATERAL (SELECT s.schedule <> 'manual' OR s.reconcile_schedule IS NOT NULL AS scheduled) has,
         LATERAL gn_harvest.obstacle_advice(obstacle, false) a
    WHERE s.id = schedule_check.source_id
$$;
COMMENT ON FUNCTION gn_harvest.schedule_check(integer) IS 'The row about its schedule in check_source.';

CREATE FUNCTION gn_harvest.scheduler_facts() RETURNS TABLE (
    obstacle text, launcher_pid integer, last_visit timestamptz, runs integer, scheduled integer, timezone text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(gn_harvest.schedule_obstacle(), CASE WHEN launcher.pid IS NULL THEN 'no_launcher' END),
           launcher.pid, gn_harvest.last_visit(),
           (SELECT count(*)::integer FROM pg_stat_get_activity(NULL) a WHERE a.backend_type = 'gn_harvest run'),
           (SELECT count(*)::integer FROM gn_harvest.source s
            WHERE s.enabled AND (s.schedule <> 'manual' OR s.reconcile_schedule IS NOT NULL)),
           gn_harvest.schedule_timezone()
    FROM (SELECT max(a.pid) AS pid FROM pg_stat_get_activity(NULL) a WHERE a.backend_type = 'gn_harvest launcher') launcher
$$;
COMMENT ON FUNCTION gn_harvest.scheduler_facts() IS 'What scheduler_status shows that not everybody may see in pg_stat_activity.';

CREATE VIEW gn_harvest.scheduler_status AS
SELECT gn_harvest.word(CASE f.obstacle WHEN 'not_preloaded' THEN 'not enabled' WHEN 'no_launcher' THEN 'not running'
                                       WHEN 'standby' THEN 'standby' WHEN 'copy' THEN 'paused' WHEN 'version' THEN 'to be updated'
                                       WHEN 'template' THEN 'template' ELSE 'active' END) AS state,
       a.detail,
       a.hint,
       f.launcher_pid,
       f.last_visit,
       f.scheduled AS scheduled_sources,
       f.runs AS runs_going_on,
       pg_catalog.current_setting('gn_harvest.max_concurrent_runs', true)::integer AS max_concurrent_runs,
       f.timezone
FROM gn_harvest.scheduler_facts() f, LATERAL gn_harvest.obstacle_advice(f.obstacle, gn_harvest.in_french()) a;
COMMENT ON VIEW gn_harvest.scheduler_status IS 'One row: whether schedules of this database run, and what to do if not. Words in the language of gn_harvest.language.';
COMMENT ON COLUMN gn_harvest.scheduler_status.state IS 'active, not enabled, not running, standby, paused (a copy), to be updated, or template, in words.';
COMMENT ON COLUMN gn_harvest.scheduler_status.detail IS 'Why schedules do not run; null when they do.';
COMMENT ON COLUMN gn_harvest.scheduler_status.hint IS 'What to do about it.';
COMMENT ON COLUMN gn_harvest.scheduler_status.launcher_pid IS 'Process of the launcher, as in pg_stat_activity.';
COMMENT ON COLUMN gn_harvest.scheduler_status.last_visit IS 'When the scheduler looked at this database last, since the server was started.';
COMMENT ON COLUMN gn_harvest.scheduler_status.scheduled_sources IS 'Sources of this database that have a schedule and are not paused.';
COMMENT ON COLUMN gn_harvest.scheduler_status.runs_going_on IS 'Runs that go on in this server, whoever started them.';
COMMENT ON COLUMN gn_harvest.scheduler_status.max_concurrent_runs IS 'Runs above which the scheduler starts no other.';
COMMENT ON COLUMN gn_harvest.scheduler_status.timezone IS 'Time zone of schedules and allowed hours.';

-- Filled at the end, where they are counted.
ALTER TABLE gn_harvest.harvested
    ADD COLUMN cd_nom     integer,
    ADD COLUMN id_dataset integer;
COMMENT ON TABLE gn_harvest.harvested IS 'Lineage, one row a harvested record: its key and UUID at the source, its row in the target (id_synthese of gn_synthese.synthese; id of gn_harvest.record for a source whose target is records), hashes of what was written, the runs that wrote it first and last (0: adopted from GN2PG), its taxon and dataset in gn_synthese (for the counts). A null key: its key now names another record and its own new key has not come yet.';

ALTER TABLE gn_harvest.former_source
    ALTER COLUMN id_source DROP NOT NULL,
    ADD COLUMN target text NOT NULL DEFAULT 'synthese',
    ADD COLUMN owner  name;
ALTER TABLE gn_harvest.former_source ALTER COLUMN target DROP DEFAULT;
-- The version before does not say whose they were.
UPDATE gn_harvest.former_source SET owner = dropped_by;
ALTER TABLE gn_harvest.former_source ALTER COLUMN owner SET NOT NULL;
COMMENT ON TABLE gn_harvest.former_source IS 'Sources that were dropped and whose rows stayed: name and owner, and row in gn_synthese.t_sources, so that one connected again takes its rows back.';

CREATE OR REPLACE FUNCTION gn_harvest.map_value(source text, "column" text, value text, local_value text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    mapped_source integer;
BEGIN
    IF "column" IS NULL OR value IS NULL THEN
        RAISE EXCEPTION 'map_value needs a column and a value' USING ERRCODE = 'null_value_not_allowed',
            HINT = 'SELECT * FROM gn_harvest.unmapped_value; shows those that wait.';
    END IF;
    IF source IS NOT NULL THEN
        PERFORM gn_harvest.require_observations(gn_harvest.managed_source(source));
        mapped_source := (gn_harvest.managed_source(source)).id;
    ELSIF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = gn_harvest.caller() AND rolsuper) THEN
        RAISE EXCEPTION 'only a superuser maps a value for every source' USING ERRCODE = 'insufficient_privilege',
            HINT = 'Name the source.';
    END IF;
    IF NOT "column" = ANY (gn_harvest.mappable_columns()) THEN
        RAISE EXCEPTION 'values of column "%" can not be mapped', "column" USING ERRCODE = 'invalid_parameter_value',
            HINT = format('Columns with a referential: %s.', array_to_string(gn_harvest.mappable_columns(), ', '));
    END IF;
    PERFORM gn_harvest.check_local_value("column", map_value.local_value);
    INSERT INTO gn_harvest.value_mapping AS m (source_id, column_name, source_value, local_value, set_by)
    VALUES (mapped_source, "column", value, map_value.local_value, gn_harvest.caller())
    ON CONFLICT (coalesce(source_id, 0), column_name, source_value)
    DO UPDATE SET local_value = EXCLUDED.local_value, set_by = EXCLUDED.set_by, set_at = now();
END
$$;

CREATE OR REPLACE FUNCTION gn_harvest.map_field(source text, "column" text, source_column text DEFAULT NULL, constant text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    mapped_source gn_harvest.source := gn_harvest.managed_source(source);
BEGIN
    PERFORM gn_harvest.require_observations(mapped_source);
    IF num_nonnulls(source_column, constant) > 1 THEN
        RAISE EXCEPTION 'give a source_column or a constant, not both' USING ERRCODE = 'invalid_parameter_value',
            HINT = 'source_column => a column of the export, or constant => a value for every record; neither takes the decision back.';
    END IF;
    IF "column" IS NULL OR NOT "column" = ANY (gn_harvest.field_columns()) THEN
        RAISE EXCEPTION 'column "%" can not be mapped', "column" USING ERRCODE = 'invalid_parameter_value',
            DETAIL = 'It is not a column of gn_synthese.synthese that a harvest writes.',
            HINT = 'SELECT unnest(gn_harvest.field_columns()) lists them.';
    END IF;
    PERFORM gn_harvest.check_constant("column", constant);
    DELETE FROM gn_harvest.field_mapping m WHERE m.source_id = mapped_source.id AND m.target_column = "column";
    IF num_nonnulls(source_column, constant) = 1 THEN
        INSERT INTO gn_harvest.field_mapping (source_id, target_column, source_column, constant, set_by)
        VALUES (mapped_source.id, "column", map_field.source_column, map_field.constant, gn_harvest.caller());
    END IF;
END
$$;

CREATE TABLE gn_harvest.taxon_tally (
    source_id    integer NOT NULL,
    cd_nom       integer NOT NULL,
    observations integer NOT NULL
);

CREATE INDEX taxon_tally_idx ON gn_harvest.taxon_tally (source_id, cd_nom);
COMMENT ON TABLE gn_harvest.taxon_tally IS 'Observations of each source by taxon: the sum of the rows of a source and cd_nom.';

CREATE TABLE gn_harvest.dataset_tally (
    source_id    integer NOT NULL,
    id_dataset   integer NOT NULL,
    observations integer NOT NULL
);

CREATE INDEX dataset_tally_idx ON gn_harvest.dataset_tally (source_id, id_dataset);
COMMENT ON TABLE gn_harvest.dataset_tally IS 'Observations of each source by dataset of the target: the sum of the rows of a source and id_dataset.';

CREATE TABLE gn_harvest.rejected_tally (
    source_id integer NOT NULL,
    reason    text    NOT NULL,
    records   integer NOT NULL
);

CREATE INDEX rejected_tally_idx ON gn_harvest.rejected_tally (source_id, reason);
COMMENT ON TABLE gn_harvest.rejected_tally IS 'Rejected records that wait, of each source by reason: the sum of the rows of a source and reason.';

CREATE TABLE gn_harvest.taxon (
    cd_nom integer PRIMARY KEY,
    cd_ref integer NOT NULL
);
COMMENT ON TABLE gn_harvest.taxon IS 'The valid name (cd_ref) of each cd_nom that was harvested, as taxonomie.taxref had it at the end of the last run that met it.';

CREATE FUNCTION gn_harvest.changed_rows(operation text) RETURNS text
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE operation WHEN 'INSERT' THEN 'SELECT came.*, 1 AS n FROM came'
                          WHEN 'DELETE' THEN 'SELECT gone.*, -1 AS n FROM gone'
                          ELSE 'SELECT came.*, 1 AS n FROM came UNION ALL SELECT gone.*, -1 FROM gone' END
$$;
COMMENT ON FUNCTION gn_harvest.changed_rows(text) IS 'The query of the rows that a statement changed, for its triggers.';

CREATE FUNCTION gn_harvest.tally_observations() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM gn_harvest.taxon_tally;
        DELETE FROM gn_harvest.dataset_tally;
        RETURN NULL;
    END IF;
    EXECUTE format(
        'WITH changed AS MATERIALIZED (
             SELECT c.source_id, c.cd_nom, c.id_dataset, sum(c.n) AS n
             FROM (%s) c
             WHERE c.id_synthese IS NOT NULL
             GROUP BY c.source_id, c.cd_nom, c.id_dataset HAVING sum(c.n) <> 0),
         by_dataset AS (
             INSERT INTO gn_harvest.dataset_tally (source_id, id_dataset, observations)
             SELECT c.source_id, c.id_dataset, sum(c.n) FROM changed c WHERE c.id_dataset IS NOT NULL
             GROUP BY c.source_id, c.id_dataset HAVING sum(c.n) <> 0)
         INSERT INTO gn_harvest.taxon_tally (source_id, cd_nom, observations)
         SELECT c.source_id, c.cd_nom, sum(c.n) FROM changed c WHERE c.cd_nom IS NOT NULL
         GROUP BY c.source_id, c.cd_nom HAVING sum(c.n) <> 0',
        gn_harvest.changed_rows(TG_OP));
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION gn_harvest.tally_observations() IS 'Trigger: counts what a statement changed in the lineage.';

CREATE TRIGGER tally_inserted AFTER INSERT ON gn_harvest.harvested
    REFERENCING NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION gn_harvest.tally_observations();

CREATE TRIGGER tally_updated AFTER UPDATE ON gn_harvest.harvested
    REFERENCING OLD TABLE AS gone NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION gn_harvest.tally_observations();

CREATE TRIGGER tally_deleted AFTER DELETE ON gn_harvest.harvested
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION gn_harvest.tally_observations();

CREATE TRIGGER tally_truncated AFTER TRUNCATE ON gn_harvest.harvested
    FOR EACH STATEMENT EXECUTE FUNCTION gn_harvest.tally_observations();

CREATE FUNCTION gn_harvest.tally_rejected() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM gn_harvest.rejected_tally;
        RETURN NULL;
    END IF;
    EXECUTE format(
        'INSERT INTO gn_harvest.rejected_tally (source_id, reason, records)
         SELECT c.source_id, c.reason, sum(c.n)
         FROM (%s) c
         WHERE c.discarded_at IS NULL
         GROUP BY c.source_id, c.reason
         HAVING sum(c.n) <> 0',
        gn_harvest.changed_rows(TG_OP));
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION gn_harvest.tally_rejected() IS 'Trigger: counts what a statement changed among the rejected records.';

CREATE TRIGGER tally_inserted AFTER INSERT ON gn_harvest.rejected
    REFERENCING NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION gn_harvest.tally_rejected();

CREATE TRIGGER tally_updated AFTER UPDATE ON gn_harvest.rejected
    REFERENCING OLD TABLE AS gone NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION gn_harvest.tally_rejected();

CREATE TRIGGER tally_deleted AFTER DELETE ON gn_harvest.rejected
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION gn_harvest.tally_rejected();

CREATE TRIGGER tally_truncated AFTER TRUNCATE ON gn_harvest.rejected
    FOR EACH STATEMENT EXECUTE FUNCTION gn_harvest.tally_rejected();

CREATE FUNCTION gn_harvest.fold_tally(folded integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    tally record;
BEGIN
    IF NOT pg_try_advisory_xact_lock('gn_harvest.taxon_tally'::regclass::oid::integer, folded) THEN
        RETURN;
    END IF;
    FOR tally IN
        SELECT * FROM (VALUES ('taxon_tally', 'cd_nom', 'observations'), ('dataset_tally', 'id_dataset', 'observations'),
                              ('rejected_tally', 'reason', 'records')) t(name, counted, number)
    LOOP
        EXECUTE format(
            'WITH several AS (
                 SELECT t.%2$I, sum(t.%3$I) AS n FROM gn_harvest.%1$I t WHERE t.source_id = $1
                 GROUP BY t.%2$I HAVING count(*) > 1 OR sum(t.%3$I) = 0),
             removed AS (
                 DELETE FROM gn_harvest.%1$I t USING several s WHERE t.source_id = $1 AND t.%2$I = s.%2$I)
             INSERT INTO gn_harvest.%1$I (source_id, %2$I, %3$I)
             SELECT $1, s.%2$I, s.n FROM several s WHERE s.n <> 0',
            tally.name, tally.counted, tally.number)
        USING folded;
    END LOOP;
END
$$;
COMMENT ON FUNCTION gn_harvest.fold_tally(integer) IS 'Puts together what statements have added to the counts of a source, so that they stay short.';

CREATE FUNCTION gn_harvest.recount() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    LOCK TABLE gn_harvest.harvested, gn_harvest.rejected IN SHARE ROW EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = 'gn_synthese' AND c.relname = 'synthese' AND c.relkind = 'r') THEN
        UPDATE gn_harvest.harvested h SET cd_nom = s.cd_nom, id_dataset = s.id_dataset
        FROM ONLY gn_synthese.synthese s
        WHERE s.id_synthese = h.id_synthese
          -- Rows of sources whose target is records are numbers of another table.
          AND NOT h.source_id IN (SELECT r.id FROM gn_harvest.source r WHERE r.target = 'records'
                                  UNION ALL SELECT f.source_id FROM gn_harvest.former_source f WHERE f.target = 'records')
          AND (s.cd_nom, s.id_dataset) IS DISTINCT FROM (h.cd_nom, h.id_dataset);
    END IF;
    DELETE FROM gn_harvest.taxon_tally;
    INSERT INTO gn_harvest.taxon_tally (source_id, cd_nom, observations)
    SELECT h.source_id, h.cd_nom, count(*) FROM gn_harvest.harvested h
    WHERE h.id_synthese IS NOT NULL AND h.cd_nom IS NOT NULL GROUP BY h.source_id, h.cd_nom;
    DELETE FROM gn_harvest.dataset_tally;
    INSERT INTO gn_harvest.dataset_tally (source_id, id_dataset, observations)
    SELECT h.source_id, h.id_dataset, count(*) FROM gn_harvest.harvested h
    WHERE h.id_synthese IS NOT NULL AND h.id_dataset IS NOT NULL GROUP BY h.source_id, h.id_dataset;
    DELETE FROM gn_harvest.rejected_tally;
    INSERT INTO gn_harvest.rejected_tally (source_id, reason, records)
    SELECT r.source_id, r.reason, count(*) FROM gn_harvest.rejected r WHERE r.discarded_at IS NULL GROUP BY r.source_id, r.reason;
END
$$;
COMMENT ON FUNCTION gn_harvest.recount() IS 'Counts taxa, datasets and rejected records anew from what is held, for instance after an update of Taxref in the target. For superusers; runs wait for it.';

CREATE TABLE gn_harvest.record (
    source_id  integer     NOT NULL,
    id         bigint      NOT NULL,
    source_key text        NOT NULL,
    uuid       uuid,
    item       jsonb       NOT NULL,
    wkb        bytea,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source_id, id)
);

CREATE SEQUENCE gn_harvest.record_id_seq OWNED BY gn_harvest.record.id;
COMMENT ON SEQUENCE gn_harvest.record_id_seq IS 'Numbers of records.';
COMMENT ON TABLE gn_harvest.record IS 'Records of sources whose target is records, as they came: their columns as a JSON object, their geometry as WKB in longitude and latitude (EPSG:4326). Read through harvested_record and the views that create_record_view makes.';

CREATE FUNCTION gn_harvest.visible_record_source(asking name) RETURNS SETOF integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT gn_harvest.visible_source(asking)
    UNION ALL
    SELECT f.source_id
    FROM gn_harvest.former_source f
    WHERE f.target = 'records' AND (gn_harvest.sees_everything(asking) OR gn_harvest.may_manage(asking, f.owner))
$$;
COMMENT ON FUNCTION gn_harvest.visible_record_source(name) IS 'Sources of which a role may see the records: those that it sees, and those that were dropped and would be.';

CREATE VIEW gn_harvest.harvested_record WITH (security_barrier) AS
SELECT r.id AS record_id,
       coalesce(s.name, f.name) AS source,
       r.source_key,
       r.uuid,
       r.item,
       r.wkb,
       r.changed_at,
       r.source_id
FROM gn_harvest.record r
LEFT JOIN gn_harvest.source s ON s.id = r.source_id
LEFT JOIN gn_harvest.former_source f ON f.source_id = r.source_id
WHERE r.source_id IN (SELECT gn_harvest.visible_record_source(current_user));
COMMENT ON VIEW gn_harvest.harvested_record IS 'Records of sources whose target is records, as they came. create_record_view makes a view with a column for each of theirs.';
COMMENT ON COLUMN gn_harvest.harvested_record.record_id IS 'Number of the record here; it stays when the record changes.';
COMMENT ON COLUMN gn_harvest.harvested_record.source IS 'Name of the source, also when it has been dropped and its records have stayed.';
COMMENT ON COLUMN gn_harvest.harvested_record.source_key IS 'Its key at the source.';
COMMENT ON COLUMN gn_harvest.harvested_record.uuid IS 'Its UUID, where the export has one.';
COMMENT ON COLUMN gn_harvest.harvested_record.item IS 'Its columns, as the source gives them.';
COMMENT ON COLUMN gn_harvest.harvested_record.wkb IS 'Its geometry in longitude and latitude, as WKB: ST_GeomFromWKB(wkb, 4326).';
COMMENT ON COLUMN gn_harvest.harvested_record.changed_at IS 'When it was last written here.';
COMMENT ON COLUMN gn_harvest.harvested_record.source_id IS 'Number of the source.';

CREATE FUNCTION gn_harvest.record_pattern(type text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE type
        WHEN 'boolean' THEN '^(true|false)$'
        WHEN 'integer' THEN '^-?[0-9]{1,9}$'
        WHEN 'bigint' THEN '^-?[0-9]{1,18}$'
        WHEN 'numeric' THEN '^-?[0-9]{1,255}([.][0-9]{1,255})?$'
        WHEN 'uuid' THEN '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$'
        ELSE '^(?!0000)([0-9]{4}-(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|[0-9]{4}-(0[469]|11)-(0[1-9]|[12][0-9]|30)'
             || '|[0-9]{4}-02-(0[1-9]|1[0-9]|2[0-8])|([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)'
             || CASE type WHEN 'date' THEN '$'
                          ELSE '([ T]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,9})?)?'
                               || CASE type WHEN 'timestamp without time zone' THEN ')?$'
                                            ELSE '(Z|[+-](0[0-9]|1[0-4])(:?[0-5][0-9])?))$' END END
        END
$$;
COMMENT ON FUNCTION gn_harvest.record_pattern(text) IS 'What a text that can be cast to a type of record_columns looks like, as a regular expression.';

CREATE FUNCTION gn_harvest.record_type(kind text, value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE
        WHEN kind = 'string' AND value LIKE '____-__-__%' THEN
            CASE WHEN value ~ gn_harvest.record_pattern('date') THEN 'date'
                 WHEN value ~ gn_harvest.record_pattern('timestamp without time zone') THEN 'timestamp without time zone'
                 WHEN value ~ gn_harvest.record_pattern('timestamp with time zone') THEN 'timestamp with time zone'
                 ELSE 'text' END
        WHEN kind = 'string' AND value LIKE '________-____-____-____-____________' AND value ~ gn_harvest.record_pattern('uuid') THEN 'uuid'
        WHEN kind = 'number' THEN
            CASE WHEN value ~ gn_harvest.record_pattern('integer') THEN 'integer'
                 WHEN value ~ gn_harvest.record_pattern('bigint') THEN 'bigint'
                 WHEN value ~ gn_harvest.record_pattern('numeric') THEN 'numeric'
                 ELSE 'text' END
        WHEN kind = 'string' THEN 'text'
        WHEN kind IN ('object', 'array') THEN 'jsonb'
        ELSE kind END
$$;
COMMENT ON FUNCTION gn_harvest.record_type(text, text) IS 'The type of a value of an item, by its kind in JSON and its text; null stays null.';

CREATE FUNCTION gn_harvest.record_column_name(member text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    beginning text := member;
BEGIN
    IF octet_length(member) BETWEEN 1 AND 63 AND member NOT IN ('record_id', 'source_key', 'changed_at', 'geometry') THEN
        RETURN member;
    END IF;
    WHILE octet_length(beginning) > 54 LOOP
        beginning := left(beginning, -1);
    END LOOP;
    RETURN beginning || '_' || left(md5(member), 8);
END
$$;
COMMENT ON FUNCTION gn_harvest.record_column_name(text) IS 'The name of a column of create_record_view for a member of the items.';

CREATE FUNCTION gn_harvest.visible_records(source text) RETURNS integer
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    found_id     integer;
    found_target text;
BEGIN
    SELECT k.id, k.target INTO found_id, found_target
    FROM (SELECT s.id, s.name, s.target, 1 AS rank, s.created_at AS since FROM gn_harvest.source s
          UNION ALL
          SELECT f.source_id, f.name, f.target, 2, f.dropped_at FROM gn_harvest.former_source f) k
    WHERE k.name = source AND k.id IN (SELECT gn_harvest.visible_record_source(gn_harvest.caller()))
    ORDER BY k.rank, k.since DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no source "%" of which role "%" may see the records', source, gn_harvest.caller()
            USING ERRCODE = 'undefined_object', HINT = 'SELECT DISTINCT source FROM gn_harvest.harvested_record; lists those that have some.';
    END IF;
    IF found_target <> 'records' THEN
        RAISE EXCEPTION 'the target of source "%" is %', source, found_target
            USING ERRCODE = 'wrong_object_type', DETAIL = 'Its observations are in gn_synthese.synthese.',
                  HINT = 'Add a source with the same export and target => ''records'' to have them as they come.';
    END IF;
    RETURN found_id;
END
$$;
COMMENT ON FUNCTION gn_harvest.visible_records(text) IS 'Number of a source of which the caller may see the records, or an error.';

CREATE FUNCTION gn_harvest.record_columns(source text) RETURNS TABLE ("column" text, type text, member text, records bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    concerned integer := gn_harvest.visible_records(source);
BEGIN
    RETURN QUERY
        SELECT gn_harvest.record_column_name(m.key),
               CASE WHEN m.types = '{}' THEN 'text'
                    WHEN cardinality(m.types) = 1 THEN m.types[1]
                    WHEN m.types <@ '{integer,bigint}' THEN 'bigint'
                    WHEN m.types <@ '{integer,bigint,numeric}' THEN 'numeric'
                    WHEN m.types <@ '{date,timestamp without time zone}' THEN 'timestamp without time zone'
                    WHEN 'jsonb' = ANY (m.types) THEN 'jsonb'
                    ELSE 'text' END,
               m.key,
               m.filled::bigint
        FROM (SELECT t.key, coalesce(array_agg(t.type) FILTER (WHERE t.type <> 'null'), '{}') AS types,
                     coalesce(sum(t.times) FILTER (WHERE t.type <> 'null'), 0) AS filled
              FROM (SELECT v.key, gn_harvest.record_type(v.kind, v.value) AS type, count(*) AS times
                    FROM (SELECT e.key, jsonb_typeof(e.value) AS kind,
                                 CASE WHEN jsonb_typeof(e.value) IN ('string', 'number') THEN e.value #>> '{}' END AS value
                          FROM gn_harvest.record r, jsonb_each(r.item) e
                          WHERE r.source_id = concerned
                          OFFSET 0) v -- each text is made once
                    GROUP BY 1, 2) t
              GROUP BY t.key) m
        ORDER BY m.key;
END
$$;
COMMENT ON FUNCTION gn_harvest.record_columns(text) IS 'Columns of the records of a source: the name that they have in a view of create_record_view, the type that all their values have, the member of the items, in how many records it is filled. Reads all records.';

CREATE FUNCTION gn_harvest.record_view_query(source text, replaced oid) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    concerned integer := gn_harvest.visible_records(source);
    members   integer;
    postgis   text := (SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'postgis');
    listed    text;
BEGIN
    -- In the order that the view has, what is new at its end: so it can be replaced. What no record has any more stays.
    WITH item AS (
        SELECT c."column" AS name, c.type, c.member FROM gn_harvest.record_columns(source) c),
    existing AS (
        SELECT a.attname::text AS name, a.attnum, format_type(a.atttypid, a.atttypmod) AS type
        FROM pg_attribute a WHERE a.attrelid = replaced AND a.attnum > 0 AND NOT a.attisdropped),
    wanted AS (
        SELECT 1 AS rank, 'record_id' AS name, 'r.record_id' AS expression
        UNION ALL SELECT 2, 'source_key', 'r.source_key'
        UNION ALL SELECT 3, 'changed_at', 'r.changed_at'
        UNION ALL SELECT 4, 'geometry', format('%1$s.ST_GeomFromWKB(r.wkb, 4326)::%1$s.geometry(Geometry, 4326)', postgis) WHERE postgis IS NOT NULL
        UNION ALL SELECT 5, i.name, gn_harvest.record_expression(i.member, i.type) FROM item i
        UNION ALL SELECT 6, e.name, gn_harvest.record_expression(e.name, e.type) FROM existing e
                  WHERE e.name NOT IN ('record_id', 'source_key', 'changed_at', 'geometry') AND e.name NOT IN (SELECT i.name FROM item i))
    SELECT (SELECT count(*) FROM item),
           string_agg(format('%s AS %I', w.expression, w.name), E',\n    ' ORDER BY e.attnum, w.rank, w.name)
    INTO members, listed
    FROM wanted w LEFT JOIN existing e USING (name);
    IF members = 0 THEN
        RAISE EXCEPTION 'source "%" has no record yet', source
            USING ERRCODE = 'no_data_found', DETAIL = 'The columns of the view are those of its records.',
                  HINT = format('SELECT * FROM gn_harvest.run(%L);', source);
    END IF;
    IF members > 1500 THEN
        RAISE EXCEPTION 'the records of source "%" have % columns, a view holds fewer', source, members
            USING ERRCODE = 'too_many_columns', HINT = 'Make a view of those that you need: SELECT item ->> ''...'' FROM gn_harvest.harvested_record.';
    END IF;
    RETURN format(E'SELECT\n    %s\nFROM gn_harvest.harvested_record r\nWHERE r.source_id = %s', listed, concerned);
END
$$;
COMMENT ON FUNCTION gn_harvest.record_view_query(text, oid) IS 'The query of a view of create_record_view; replaced: the view whose columns it has to keep.';

CREATE FUNCTION gn_harvest.record_expression(member text, type text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN type = 'jsonb' THEN format('nullif(r.item -> %L, ''null''::pg_catalog.jsonb)', member)
                WHEN type IN ('boolean', 'integer', 'bigint', 'numeric', 'uuid', 'date', 'timestamp without time zone', 'timestamp with time zone')
                THEN format('CASE WHEN (r.item ->> %1$L) ~ %2$L THEN (r.item ->> %1$L)::%3$s END', member, gn_harvest.record_pattern(type), type)
                ELSE format('(r.item ->> %L)', member) END
$$;
COMMENT ON FUNCTION gn_harvest.record_expression(text, text) IS 'A member of r.item as a value of a type, in SQL.';

CREATE FUNCTION gn_harvest.replaceable_view(schema_name text, view_name text) RETURNS oid
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    existing pg_class;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_namespace n WHERE n.nspname = schema_name) THEN
        RAISE EXCEPTION 'schema "%" does not exist', schema_name
            USING ERRCODE = 'invalid_schema_name', HINT = format('CREATE SCHEMA %I;', schema_name);
    END IF;
    IF schema_name = 'gn_harvest' THEN
        RAISE EXCEPTION 'schema "gn_harvest" is the extension''s own'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Name another schema, of yours.';
    END IF;
    IF NOT has_schema_privilege(schema_name, 'CREATE') THEN
        RAISE EXCEPTION 'role "%" may not create a view in schema "%"', current_user, schema_name
            USING ERRCODE = 'insufficient_privilege', HINT = format('GRANT USAGE, CREATE ON SCHEMA %I TO %I;', schema_name, current_user);
    END IF;
    SELECT c.* INTO existing FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = schema_name AND c.relname = view_name;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF existing.relkind <> 'v' OR NOT EXISTS (
        SELECT FROM pg_depend d JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
        WHERE w.ev_class = existing.oid AND d.refclassid = 'pg_class'::regclass AND d.refobjid = 'gn_harvest.harvested_record'::regclass) THEN
        RAISE EXCEPTION '%.% exists and is no view of harvested records', quote_ident(schema_name), quote_ident(view_name)
            USING ERRCODE = 'wrong_object_type', HINT = 'Give the view another name.';
    END IF;
    IF NOT pg_has_role(existing.relowner, 'USAGE') THEN
        RAISE EXCEPTION 'view %.% belongs to role "%"', quote_ident(schema_name), quote_ident(view_name), pg_get_userbyid(existing.relowner)
            USING ERRCODE = 'insufficient_privilege', HINT = 'Ask its owner to call it, or give the view another name.';
    END IF;
    RETURN existing.oid;
END
$$;
COMMENT ON FUNCTION gn_harvest.replaceable_view(text, text) IS 'The view that create_record_view may replace, null when there is none, or an error.';

CREATE FUNCTION gn_harvest.create_record_view(source text, view_name text) RETURNS regclass
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    parts    text[];
    full_name text;
BEGIN
    BEGIN
        parts := parse_ident(view_name);
    EXCEPTION WHEN invalid_parameter_value THEN
        parts := NULL;
    END;
    IF cardinality(parts) IS DISTINCT FROM 2 OR octet_length(parts[1]) > 63 OR octet_length(parts[2]) > 63 THEN
        RAISE EXCEPTION 'a view is named by its schema and its name, each of 63 bytes at most'
            USING ERRCODE = 'invalid_name', DETAIL = format('Name given: %s.', coalesce(quote_literal(view_name), 'null')),
                  HINT = 'SELECT gn_harvest.create_record_view(''CEN Alpes'', ''public.cen_alpes''); quote a name with capitals: ''public."CEN"''.';
    END IF;
    full_name := format('%I.%I', parts[1], parts[2]);
    BEGIN
        EXECUTE format(E'CREATE OR REPLACE VIEW %s AS\n%s', full_name,
                       gn_harvest.record_view_query(source, gn_harvest.replaceable_view(parts[1], parts[2])));
    EXCEPTION WHEN invalid_table_definition THEN
        RAISE EXCEPTION 'view % can not be replaced: its columns have other types now', full_name
            USING ERRCODE = 'invalid_table_definition', DETAIL = SQLERRM,
                  HINT = format('DROP VIEW %s; SELECT gn_harvest.create_record_view(%L, %L);', full_name, source, view_name);
    END;
    EXECUTE format('COMMENT ON VIEW %s IS %L', full_name, format('Records of source %s, by gn_harvest.create_record_view.', source));
    RETURN full_name::regclass;
END
$$;
COMMENT ON FUNCTION gn_harvest.create_record_view(text, text) IS 'Makes a view (schema.name, the caller''s own) of the records of a source, with a column of its type for each of theirs, and their geometry where PostGIS is. Called again, it takes up new columns. A later value that does not fit its column''s type is null there.';

CREATE TABLE gn_harvest.publication (
    slug                text        PRIMARY KEY,
    label               text        NOT NULL UNIQUE,
    owner               name        NOT NULL,
    datasets            uuid[],
    frameworks          uuid[],
    organisms           uuid[],
    areas               text[],
    taxa                integer[],
    date_min            date,
    date_max            date,
    sensitivity_max     text,
    diffusion_levels    text[],
    blurred             boolean     NOT NULL DEFAULT false,
    personal_data       boolean     NOT NULL DEFAULT true,
    observations_export integer,
    metadata_export     integer,
    deletions_export    integer,
    edition             integer     NOT NULL DEFAULT 1,
    selection           bigint      NOT NULL DEFAULT 1,
    marker              text        GENERATED ALWAYS AS
        ('metadata=' || metadata_export::text || ';deletions=' || deletions_export::text || ';selection=' || selection::text) STORED,
    published_at        timestamptz NOT NULL DEFAULT now(),
    -- It is part of the names of views, triggers and functions.
    CONSTRAINT slug_is_plain CHECK (slug ~ '^[a-z0-9_]{1,28}$'),
    CONSTRAINT label_is_plain CHECK (label ~ '^\S(.{0,198}\S)?$')
);
COMMENT ON TABLE gn_harvest.publication IS 'One row a publication: its options, its exports. Written by publish_export; the published views read its marker.';
COMMENT ON COLUMN gn_harvest.publication.slug IS 'The label in the names of the views.';
COMMENT ON COLUMN gn_harvest.publication.edition IS 'Number of the options: rows of publication_scope are those of one edition.';
COMMENT ON COLUMN gn_harvest.publication.selection IS 'Moves when rows have come in that do not bear a new date: collectors then read everything and compare.';
COMMENT ON COLUMN gn_harvest.publication.marker IS 'What the column gn_harvest of the observations view says: the other two exports and the selection.';

CREATE TABLE gn_harvest.publication_scope (
    slug    text    NOT NULL REFERENCES gn_harvest.publication ON DELETE CASCADE,
    edition integer NOT NULL,
    kind    text    NOT NULL CHECK (kind IN ('dataset', 'taxon', 'area')),
    id      integer NOT NULL,
    PRIMARY KEY (slug, edition, kind, id)
);
COMMENT ON TABLE gn_harvest.publication_scope IS 'What the filters of a publication let through: id_dataset, cd_nom with those below, id_area.';

CREATE TABLE gn_harvest.departure (
    slug        text      NOT NULL REFERENCES gn_harvest.publication ON DELETE CASCADE,
    id_synthese integer   NOT NULL,
    uuid        uuid,
    left_at     timestamp NOT NULL,
    PRIMARY KEY (slug, id_synthese)
);

CREATE INDEX departure_left_at ON gn_harvest.departure (slug, left_at);
COMMENT ON TABLE gn_harvest.departure IS 'Observations that were published and then deleted, or changed so that they may have left. The published view tells those that are not there any more.';
COMMENT ON COLUMN gn_harvest.departure.left_at IS 'On the clock of the database''s sessions, without zone, as GeoNature writes its dates.';

ALTER TABLE gn_harvest.departure ENABLE ROW LEVEL SECURITY;

CREATE TABLE gn_harvest.metadata_change (
    id_acquisition_framework integer   PRIMARY KEY,
    changed_at               timestamp NOT NULL
);
COMMENT ON TABLE gn_harvest.metadata_change IS 'When something of a framework last changed that does not move its own date: its lists, its datasets, their lists, its actors.';

CREATE VIEW gn_harvest.published_export AS
SELECT p.label, p.owner, p.observations_export, p.metadata_export, p.deletions_export,
       format('gn_exports.v_%s_observations', p.slug) AS observations_view,
       array_remove(ARRAY[CASE WHEN p.datasets IS NOT NULL THEN 'datasets' END, CASE WHEN p.frameworks IS NOT NULL THEN 'frameworks' END,
                          CASE WHEN p.organisms IS NOT NULL THEN 'organisms' END, CASE WHEN p.areas IS NOT NULL THEN 'areas' END,
                          CASE WHEN p.taxa IS NOT NULL THEN 'taxa' END, CASE WHEN p.date_min IS NOT NULL THEN 'date_min' END,
                          CASE WHEN p.date_max IS NOT NULL THEN 'date_max' END,
                          CASE WHEN p.sensitivity_max IS NOT NULL THEN 'sensitivity_max' END,
                          CASE WHEN p.diffusion_levels IS NOT NULL THEN 'diffusion_levels' END], NULL) AS filters,
       p.blurred, p.personal_data, p.published_at
FROM gn_harvest.publication p
WHERE gn_harvest.sees_everything(current_user) OR gn_harvest.may_manage(current_user, p.owner);
COMMENT ON VIEW gn_harvest.published_export IS 'What this GeoNature publishes for collectors (publish_export).';
COMMENT ON COLUMN gn_harvest.published_export.label IS 'Label, also that of the export in the export module.';
COMMENT ON COLUMN gn_harvest.published_export.owner IS 'Role that owns the views: they read with its rights.';
COMMENT ON COLUMN gn_harvest.published_export.observations_export IS 'Number of the export of observations.';
COMMENT ON COLUMN gn_harvest.published_export.metadata_export IS 'Number of the export of metadata.';
COMMENT ON COLUMN gn_harvest.published_export.deletions_export IS 'Number of the export of what was deleted or left.';
COMMENT ON COLUMN gn_harvest.published_export.observations_view IS 'The view of observations.';
COMMENT ON COLUMN gn_harvest.published_export.filters IS 'Options that leave something out.';
COMMENT ON COLUMN gn_harvest.published_export.blurred IS 'Whether sensitive observations have the geometry of an area.';
COMMENT ON COLUMN gn_harvest.published_export.personal_data IS 'Whether names of persons are published.';
COMMENT ON COLUMN gn_harvest.published_export.published_at IS 'When publish_export last ran for it.';

CREATE FUNCTION gn_harvest.publication_plain_filter(p gn_harvest.publication, a_row text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    conditions text[] := '{}';
BEGIN
    IF p.date_min IS NOT NULL THEN
        conditions := conditions || format('%s.date_min >= %L::timestamp', a_row, p.date_min);
    END IF;
    IF p.date_max IS NOT NULL THEN
        conditions := conditions || format('%s.date_max < %L::timestamp', a_row, p.date_max + 1);
    END IF;
    -- A level that was not computed or not said is let through by no limit.
    IF p.sensitivity_max IS NOT NULL THEN
        conditions := conditions || format('%s.id_nomenclature_sensitivity = ANY (%L::integer[])', a_row,
            ARRAY(SELECT n.id FROM gn_harvest.nomenclature_codes('SENSIBILITE') n WHERE n.code <= p.sensitivity_max ORDER BY 1));
    END IF;
    IF p.diffusion_levels IS NOT NULL THEN
        conditions := conditions || format('(%1$s.id_nomenclature_diffusion_level = ANY (%2$L::integer[])%3$s)', a_row,
            ARRAY(SELECT n.id FROM gn_harvest.nomenclature_codes('NIV_PRECIS') n WHERE n.code = ANY (p.diffusion_levels) ORDER BY 1),
            CASE WHEN array_position(p.diffusion_levels, NULL) IS NOT NULL
                 THEN format(' OR %s.id_nomenclature_diffusion_level IS NULL', a_row) ELSE '' END);
    END IF;
    RETURN nullif(array_to_string(conditions, E'\n  AND '), '');
END
$$;
COMMENT ON FUNCTION gn_harvest.publication_plain_filter(gn_harvest.publication, text) IS 'The conditions of a publication that a row of the synthese answers by itself; null: none.';

CREATE FUNCTION gn_harvest.publication_filter(p gn_harvest.publication, a_row text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    conditions text[] := '{}';
    scope      text   := format('SELECT c.id FROM gn_harvest.publication_scope c WHERE c.slug = %L AND c.edition = %s AND c.kind', p.slug, p.edition);
BEGIN
    IF num_nonnulls(p.datasets, p.frameworks, p.organisms) > 0 THEN
        conditions := conditions || format('%s.id_dataset IN (%s = ''dataset'')', a_row, scope);
    END IF;
    IF p.taxa IS NOT NULL THEN
        conditions := conditions || format('%s.cd_nom IN (%s = ''taxon'')', a_row, scope);
    END IF;
    IF p.areas IS NOT NULL THEN
        conditions := conditions || format(
            'EXISTS (SELECT FROM gn_synthese.cor_area_synthese l WHERE l.id_synthese = %s.id_synthese AND l.id_area IN (%s = ''area''))',
            a_row, scope);
    END IF;
    RETURN nullif(array_to_string(conditions || gn_harvest.publication_plain_filter(p, a_row), E'\n  AND '), '');
END
$$;
COMMENT ON FUNCTION gn_harvest.publication_filter(gn_harvest.publication, text) IS 'The conditions of a publication on a row of the synthese under a name; null: every row.';

CREATE FUNCTION gn_harvest.publication_lookups(p gn_harvest.publication) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT array_remove(ARRAY[
        CASE WHEN num_nonnulls(p.datasets, p.frameworks, p.organisms) > 0 THEN 'id_dataset' END,
        CASE WHEN p.taxa IS NOT NULL THEN 'cd_nom' END,
        CASE WHEN p.areas IS NOT NULL THEN 'the_geom_local' END], NULL)
$$;
COMMENT ON FUNCTION gn_harvest.publication_lookups(gn_harvest.publication) IS 'Columns of the synthese by which a publication looks elsewhere whether a row is in it.';

CREATE FUNCTION gn_harvest.nomenclature_codes(type text) RETURNS TABLE (id integer, code text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY SELECT n.id_nomenclature, n.cd_nomenclature::text
    FROM ref_nomenclatures.t_nomenclatures n
    JOIN ref_nomenclatures.bib_nomenclatures_types t ON t.id_type = n.id_type
    WHERE t.mnemonique = nomenclature_codes.type;
END
$$;
COMMENT ON FUNCTION gn_harvest.nomenclature_codes(text) IS 'Codes of a type of nomenclature of this GeoNature.';

CREATE FUNCTION gn_harvest.publication_datasets(p gn_harvest.publication) RETURNS SETOF integer
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY SELECT d.id_dataset
    FROM gn_meta.t_datasets d
    JOIN gn_meta.t_acquisition_frameworks f ON f.id_acquisition_framework = d.id_acquisition_framework
    WHERE (p.datasets IS NULL OR d.unique_dataset_id = ANY (p.datasets))
      AND (p.frameworks IS NULL OR f.unique_acquisition_framework_id = ANY (p.frameworks))
      AND (p.organisms IS NULL OR EXISTS (
               SELECT FROM gn_meta.cor_dataset_actor a
               JOIN utilisateurs.bib_organismes o ON o.id_organisme = a.id_organism
               WHERE a.id_dataset = d.id_dataset AND o.uuid_organisme = ANY (p.organisms)));
END
$$;
COMMENT ON FUNCTION gn_harvest.publication_datasets(gn_harvest.publication) IS 'The datasets that the options of a publication name.';

CREATE FUNCTION gn_harvest.publication_members(p gn_harvest.publication) RETURNS TABLE (kind text, id integer)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF num_nonnulls(p.datasets, p.frameworks, p.organisms) > 0 THEN
        RETURN QUERY SELECT 'dataset', d FROM gn_harvest.publication_datasets(p) d;
    END IF;
    IF p.taxa IS NOT NULL THEN
        RETURN QUERY
        WITH RECURSIVE below AS (
            SELECT t.cd_ref FROM taxonomie.taxref t WHERE t.cd_nom = ANY (p.taxa)
            UNION
            -- Versions of Taxref name the superior in one column or the other.
            SELECT t.cd_ref FROM below b JOIN taxonomie.taxref t ON b.cd_ref IN (t.cd_sup, t.cd_taxsup) AND t.cd_nom = t.cd_ref
        )
        SELECT DISTINCT 'taxon', t.cd_nom FROM below b JOIN taxonomie.taxref t ON t.cd_ref = b.cd_ref;
    END IF;
    IF p.areas IS NOT NULL THEN
        RETURN QUERY SELECT 'area', a.id_area
        FROM ref_geo.l_areas a JOIN ref_geo.bib_areas_types t ON t.id_type = a.id_type
        WHERE t.type_code || '/' || a.area_code = ANY (p.areas);
    END IF;
END
$$;
COMMENT ON FUNCTION gn_harvest.publication_members(gn_harvest.publication) IS 'What the options of a publication name, by its number here.';

CREATE FUNCTION gn_harvest.check_publication(p gn_harvest.publication) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    option text;
    absent text;
BEGIN
    FOR option, absent IN
        SELECT 'datasets', g::text FROM unnest(p.datasets) g WHERE NOT EXISTS (SELECT FROM gn_meta.t_datasets d WHERE d.unique_dataset_id = g)
        UNION ALL
        SELECT 'frameworks', g::text FROM unnest(p.frameworks) g
        WHERE NOT EXISTS (SELECT FROM gn_meta.t_acquisition_frameworks f WHERE f.unique_acquisition_framework_id = g)
        UNION ALL
        SELECT 'organisms', g::text FROM unnest(p.organisms) g WHERE NOT EXISTS (SELECT FROM utilisateurs.bib_organismes o WHERE o.uuid_organisme = g)
        UNION ALL
        SELECT 'areas', g FROM unnest(p.areas) g
        WHERE NOT EXISTS (SELECT FROM ref_geo.l_areas a JOIN ref_geo.bib_areas_types t ON t.id_type = a.id_type
                          WHERE t.type_code || '/' || a.area_code = g)
        UNION ALL
        SELECT 'taxa', g::text FROM unnest(p.taxa) g WHERE NOT EXISTS (SELECT FROM taxonomie.taxref t WHERE t.cd_nom = g)
        UNION ALL
        SELECT 'sensitivity_max', p.sensitivity_max
        WHERE p.sensitivity_max NOT IN (SELECT n.code FROM gn_harvest.nomenclature_codes('SENSIBILITE') n)
        UNION ALL
        SELECT 'diffusion_levels', g FROM unnest(p.diffusion_levels) g
        WHERE g NOT IN (SELECT n.code FROM gn_harvest.nomenclature_codes('NIV_PRECIS') n)
        LIMIT 1
    LOOP
        RAISE EXCEPTION '%: "%" is not known to this GeoNature', option, coalesce(absent, 'null')
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = CASE option
                      WHEN 'areas' THEN 'Areas are written type/code, such as ''DEP/05'': see ref_geo.l_areas and ref_geo.bib_areas_types.'
                      WHEN 'taxa' THEN 'They are cd_nom of taxonomie.taxref.'
                      WHEN 'sensitivity_max' THEN 'It is a code of the nomenclature SENSIBILITE, such as ''0'' or ''2''.'
                      WHEN 'diffusion_levels' THEN 'They are codes of the nomenclature NIV_PRECIS, and NULL for observations without one: ''{0,5,NULL}''.'
                      ELSE 'They are UUIDs of gn_meta.t_datasets, gn_meta.t_acquisition_frameworks and utilisateurs.bib_organismes.' END;
    END LOOP;
    SELECT o INTO option FROM unnest(ARRAY['datasets', 'frameworks', 'organisms', 'areas', 'taxa', 'diffusion_levels']) o
    WHERE to_jsonb(p) -> o = '[]' LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% is an empty list: nothing would be published', option
            USING ERRCODE = 'invalid_parameter_value', HINT = format('Leave %s out to publish all of them.', option);
    END IF;
    IF p.date_min > p.date_max THEN
        RAISE EXCEPTION 'date_min is after date_max' USING ERRCODE = 'invalid_parameter_value', HINT = 'Exchange the two.';
    END IF;
END
$$;
COMMENT ON FUNCTION gn_harvest.check_publication(gn_harvest.publication) IS 'Refuses options that name what this GeoNature does not have.';

CREATE FUNCTION gn_harvest.publication_view_sql(view text, about text, names text[], expressions text[], meanings text[], source text) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ARRAY[format(E'CREATE OR REPLACE VIEW %s AS\nSELECT %s\n%s', view, string_agg(format('%s AS %I', c.expression, c.name), E',\n       ' ORDER BY c.n), source),
                 format('COMMENT ON VIEW %s IS %L', view, about)]
        || array_agg(format('COMMENT ON COLUMN %s.%I IS %L', view, c.name, c.meaning) ORDER BY c.n)
    FROM unnest(names, expressions, meanings) WITH ORDINALITY c(name, expression, meaning, n)
$$;
COMMENT ON FUNCTION gn_harvest.publication_view_sql(text, text, text[], text[], text[], text) IS 'The statements that make a view with its comments.';

CREATE FUNCTION gn_harvest.publication_actors(links text, parent text, id text, personal boolean) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    -- Who is both a person and an organism is written in the other of the two known ways, which has room for both.
    SELECT format('(SELECT json_agg(
              CASE WHEN a.id_role IS NULL OR NOT %4$s THEN json_build_object(
                       ''type_role'', ''organism'', ''uuid_actor'', o.uuid_organisme, ''email'', o.email_organisme,
                       ''cd_nomenclature_actor_role'', n.cd_nomenclature,
                       ''identity'', json_build_object(''organism_name'', o.nom_organisme))
                   WHEN a.id_organism IS NULL THEN json_build_object(
                       ''type_role'', ''role'', ''uuid_actor'', r.uuid_role, ''email'', r.email,
                       ''cd_nomenclature_actor_role'', n.cd_nomenclature,
                       ''identity'', json_build_object(''first_name'', r.nom_role, ''last_name'', r.prenom_role))
                   ELSE json_build_object(
                       ''type_role'', n.cd_nomenclature, ''uuid_organism'', o.uuid_organisme, ''nom_organisme'', o.nom_organisme,
                       ''uuid_role'', r.uuid_role, ''nom_role'', r.nom_role, ''prenom_role'', r.prenom_role, ''email'', r.email)
              END ORDER BY n.cd_nomenclature, o.uuid_organisme, r.uuid_role)
            FROM gn_meta.%1$s a
            JOIN ref_nomenclatures.t_nomenclatures n ON n.id_nomenclature = a.id_nomenclature_actor_role
            LEFT JOIN utilisateurs.bib_organismes o ON o.id_organisme = a.id_organism
            LEFT JOIN utilisateurs.t_roles r ON r.id_role = a.id_role
           WHERE a.%2$s = %3$s AND (%4$s OR a.id_organism IS NOT NULL))', links, parent, id, CASE WHEN personal THEN 'true' ELSE 'false' END)
$$;
COMMENT ON FUNCTION gn_harvest.publication_actors(text, text, text, boolean) IS 'The list of actors of a framework or dataset, as an expression.';

CREATE FUNCTION gn_harvest.publication_codes(links text, parent text, id text, code text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('(SELECT json_agg(n.cd_nomenclature ORDER BY n.cd_nomenclature)
            FROM gn_meta.%s l JOIN ref_nomenclatures.t_nomenclatures n ON n.id_nomenclature = l.%s
           WHERE l.%s = %s)', links, code, parent, id)
$$;
COMMENT ON FUNCTION gn_harvest.publication_codes(text, text, text, text) IS 'A list of codes of a framework or dataset, as an expression.';

CREATE FUNCTION gn_harvest.publication_dataset_member(p gn_harvest.publication) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT 'json_build_object(
              ''uuid'', d.unique_dataset_id, ''name'', d.dataset_name, ''shortname'', d.dataset_shortname, ''desc'', d.dataset_desc,
              ''keywords'', d.keywords, ''marine_domain'', d.marine_domain, ''terrestrial_domain'', d.terrestrial_domain,
              ''active'', d.active, ''validable'', d.validable,
              ''bbox_west'', d.bbox_west, ''bbox_east'', d.bbox_east, ''bbox_south'', d.bbox_south, ''bbox_north'', d.bbox_north,
              ''data_type'', n1.cd_nomenclature, ''dataset_objectif'', n2.cd_nomenclature, ''collecting_method'', n3.cd_nomenclature,
              ''data_origin'', n4.cd_nomenclature, ''source_status'', n5.cd_nomenclature, ''resource_type'', n6.cd_nomenclature,
              ''additional_data'', d.additional_data,
              ''territories'', ' || gn_harvest.publication_codes('cor_dataset_territory', 'id_dataset', 'd.id_dataset', 'id_nomenclature_territory') || ',
              ''protocols'', (SELECT json_agg(json_build_object(''uuid'', k.unique_protocol_id, ''name'', k.protocol_name,
                                  ''desc'', k.protocol_desc, ''type'', n.cd_nomenclature, ''url'', k.protocol_url) ORDER BY k.unique_protocol_id)
                 FROM gn_meta.cor_dataset_protocol l
                 JOIN gn_meta.sinp_datatype_protocols k ON k.id_protocol = l.id_protocol
                 LEFT JOIN ref_nomenclatures.t_nomenclatures n ON n.id_nomenclature = k.id_nomenclature_protocol_type
                WHERE l.id_dataset = d.id_dataset),
              ''actors'', ' || gn_harvest.publication_actors('cor_dataset_actor', 'id_dataset', 'd.id_dataset', p.personal_data) || ')'
$$;
COMMENT ON FUNCTION gn_harvest.publication_dataset_member(gn_harvest.publication) IS 'A dataset as a member of its framework, as an expression.';

CREATE FUNCTION gn_harvest.publication_dataset_condition(p gn_harvest.publication) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN gn_harvest.publication_lookups(p) = '{id_dataset}' AND gn_harvest.publication_plain_filter(p, 's') IS NULL
                THEN gn_harvest.publication_filter(p, 'd')
                ELSE 'EXISTS (SELECT FROM gn_synthese.synthese s WHERE s.id_dataset = d.id_dataset AND '
                     || gn_harvest.publication_filter(p, 's') || ')' END
$$;
COMMENT ON FUNCTION gn_harvest.publication_dataset_condition(gn_harvest.publication) IS 'The condition on the datasets of the metadata view; null: all.';

CREATE FUNCTION gn_harvest.publication_metadata_columns(p gn_harvest.publication) RETURNS TABLE (name text, expression text, meaning text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT c.name, c.expression, c.meaning
    FROM (SELECT 'f.id_acquisition_framework' AS id, 'id_acquisition_framework' AS parent,
                 coalesce(' AND ' || gn_harvest.publication_dataset_condition(p), '') AS dataset_condition) k,
    LATERAL (VALUES
        ('id_acquisition_framework', k.id, 'Key of the framework here.'),
        ('uuid', 'f.unique_acquisition_framework_id', 'UUID of the framework.'),
        ('name', 'f.acquisition_framework_name', 'Name.'),
        ('desc', 'f.acquisition_framework_desc', 'Description.'),
        ('start_date', 'f.acquisition_framework_start_date', 'Beginning.'),
        ('end_date', 'f.acquisition_framework_end_date', 'End.'),
        ('initial_closing_date', 'f.initial_closing_date', 'When it was first closed.'),
        ('territorial_level', 'level.cd_nomenclature', 'Code of NIVEAU_TERRITORIAL.'),
        ('territory_desc', 'f.territory_desc', 'Territory, in words.'),
        ('keywords', 'f.keywords', 'Keywords.'),
        ('target_description', 'f.target_description', 'Target, in words.'),
        ('ecologic_or_geologic_target', 'f.ecologic_or_geologic_target', 'Ecologic or geologic target.'),
        ('financing_type', 'financing.cd_nomenclature', 'Code of TYPE_FINANCEMENT.'),
        ('is_parent', 'f.is_parent', 'Whether it is a parent of others.'),
        ('parent_uuid', 'parent.unique_acquisition_framework_id', 'UUID of its parent.'),
        ('opened', 'f.opened', 'Whether it is open.'),
        ('additional_data', 'f.additional_data', 'Further data.'),
        ('objectives', gn_harvest.publication_codes('cor_acquisition_framework_objectif', k.parent, k.id, 'id_nomenclature_objectif'), 'Codes of CA_OBJECTIFS.'),
        ('sinp_theme', gn_harvest.publication_codes('cor_acquisition_framework_voletsinp', k.parent, k.id, 'id_nomenclature_voletsinp'), 'Codes of VOLET_SINP.'),
        ('territories', gn_harvest.publication_codes('cor_acquisition_framework_territory', k.parent, k.id, 'id_nomenclature_territory'), 'Codes of TERRITOIRE.'),
        ('publications', '(SELECT json_agg(w.publication ORDER BY w.uuid, w.id) FROM (
              SELECT b.unique_publication_id AS uuid, b.id_publication AS id, json_build_object(''uuid'', b.unique_publication_id,
                         ''reference'', b.publication_reference, ''url'', b.publication_url) AS publication
                FROM gn_meta.cor_acquisition_framework_publication l
                JOIN gn_meta.sinp_datatype_publications b ON b.id_publication = l.id_publication
               WHERE l.id_acquisition_framework = f.id_acquisition_framework
              UNION ALL
              SELECT NULL, b.id_bibliographic_reference, json_build_object(''reference'', b.publication_reference, ''url'', b.publication_url)
                FROM gn_meta.t_bibliographical_references b
               WHERE b.id_acquisition_framework = f.id_acquisition_framework) w)', 'Publications.'),
        ('actors', gn_harvest.publication_actors('cor_acquisition_framework_actor', k.parent, k.id, p.personal_data), 'Actors, organisms and persons.'),
        ('datasets', '(SELECT coalesce(json_agg(' || gn_harvest.publication_dataset_member(p) || ' ORDER BY d.unique_dataset_id), ''[]'')
            FROM gn_meta.t_datasets d
            LEFT JOIN ref_nomenclatures.t_nomenclatures n1 ON n1.id_nomenclature = d.id_nomenclature_data_type
            LEFT JOIN ref_nomenclatures.t_nomenclatures n2 ON n2.id_nomenclature = d.id_nomenclature_dataset_objectif
            LEFT JOIN ref_nomenclatures.t_nomenclatures n3 ON n3.id_nomenclature = d.id_nomenclature_collecting_method
            LEFT JOIN ref_nomenclatures.t_nomenclatures n4 ON n4.id_nomenclature = d.id_nomenclature_data_origin
            LEFT JOIN ref_nomenclatures.t_nomenclatures n5 ON n5.id_nomenclature = d.id_nomenclature_source_status
            LEFT JOIN ref_nomenclatures.t_nomenclatures n6 ON n6.id_nomenclature = d.id_nomenclature_resource_type
           WHERE d.id_acquisition_framework = f.id_acquisition_framework' || k.dataset_condition || ')', 'Its datasets, with protocols, actors and territories.'),
        ('derniere_action', 'greatest(f.meta_update_date, f.meta_create_date, m.changed_at)', 'When the framework or anything of it last changed.')
    ) c(name, expression, meaning)
$$;
COMMENT ON FUNCTION gn_harvest.publication_metadata_columns(gn_harvest.publication) IS 'Columns of the metadata view of a publication.';

CREATE FUNCTION gn_harvest.publication_framework_condition(p gn_harvest.publication) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT '
WHERE f.id_acquisition_framework IN (
    WITH RECURSIVE named(id) AS (
        SELECT d.id_acquisition_framework FROM gn_meta.t_datasets d WHERE ' || gn_harvest.publication_dataset_condition(p) || '
        UNION
        SELECT above.acquisition_framework_parent_id
        FROM named JOIN gn_meta.t_acquisition_frameworks above ON above.id_acquisition_framework = named.id
        WHERE above.acquisition_framework_parent_id IS NOT NULL
    )
    SELECT named.id FROM named)'
$$;
COMMENT ON FUNCTION gn_harvest.publication_framework_condition(gn_harvest.publication) IS 'The condition on the frameworks of the metadata view; null: all.';

CREATE FUNCTION gn_harvest.publication_metadata_sql(p gn_harvest.publication) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT gn_harvest.publication_view_sql(format('gn_exports.v_%s_metadata', p.slug),
        format('Metadata of the publication "%s", one row a framework. Made by gn_harvest.publish_export.', p.label),
        array_agg(c.name ORDER BY c.ordinality), array_agg(c.expression ORDER BY c.ordinality), array_agg(c.meaning ORDER BY c.ordinality),
        'FROM gn_meta.t_acquisition_frameworks f
LEFT JOIN gn_meta.t_acquisition_frameworks parent ON parent.id_acquisition_framework = f.acquisition_framework_parent_id
LEFT JOIN ref_nomenclatures.t_nomenclatures level ON level.id_nomenclature = f.id_nomenclature_territorial_level
LEFT JOIN ref_nomenclatures.t_nomenclatures financing ON financing.id_nomenclature = f.id_nomenclature_financing_type
LEFT JOIN gn_harvest.metadata_change m ON m.id_acquisition_framework = f.id_acquisition_framework'
            || coalesce(gn_harvest.publication_framework_condition(p), ''))
    FROM gn_harvest.publication_metadata_columns(p) WITH ORDINALITY c
$$;
COMMENT ON FUNCTION gn_harvest.publication_metadata_sql(gn_harvest.publication) IS 'The statements that make the metadata view of a publication.';

CREATE FUNCTION gn_harvest.publication_nomenclatures() RETURNS TABLE (export text, type text, target text)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    VALUES ('nature_objet_geo', 'NAT_OBJ_GEO', 'geo_object_nature'), ('type_regroupement', 'TYP_GRP', 'grp_typ'),
           ('technique_obs', 'METH_OBS', 'obs_technique'), ('statut_biologique', 'STATUT_BIO', 'bio_status'),
           ('etat_biologique', 'ETA_BIO', 'bio_condition'), ('naturalite', 'NATURALITE', 'naturalness'),
           ('preuve_existante', 'PREUVE_EXIST', 'exist_proof'), ('statut_validation', 'STATUT_VALID', 'valid_status'),
           ('precision_diffusion', 'NIV_PRECIS', 'diffusion_level'), ('stade_vie', 'STADE_VIE', 'life_stage'),
           ('sexe', 'SEXE', 'sex'), ('objet_denombrement', 'OBJ_DENBR', 'obj_count'), ('type_denombrement', 'TYP_DENBR', 'type_count'),
           ('niveau_sensibilite', 'SENSIBILITE', 'sensitivity'), ('statut_observation', 'STATUT_OBS', 'observation_status'),
           ('floutage_dee', 'DEE_FLOU', 'blurring'), ('statut_source', 'STATUT_SOURCE', 'source_status'),
           ('type_info_geo', 'TYP_INF_GEO', 'info_geo_type'), ('comportement', 'OCC_COMPORTEMENT', 'behaviour'),
           ('statut_biogeo', 'STAT_BIOGEO', 'biogeo_status'), ('methode_determination', 'METH_DETERMIN', 'determination_method')
$$;
COMMENT ON FUNCTION gn_harvest.publication_nomenclatures() IS 'Columns of the observations view that are codes, their types, and the end of the name of the synthese''s column.';

CREATE FUNCTION gn_harvest.publication_observation_columns(p gn_harvest.publication) RETURNS TABLE (name text, expression text, meaning text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    postgis text := (SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'postgis');
    -- 25 digits: what comes back is what was there, to the last bit.
    precise text := format('%I.st_astext(s.the_geom_4326, 25)', postgis);
    blurred text := format(
        '(SELECT %I.st_astext(a.geom_4326, 25)
            FROM gn_sensitivity.cor_sensitivity_area_type b
            JOIN ref_geo.l_areas a ON a.id_type = b.id_area_type
            JOIN gn_synthese.cor_area_synthese l ON l.id_area = a.id_area
            JOIN ref_geo.bib_areas_types t ON t.id_type = a.id_type
           WHERE b.id_nomenclature_sensitivity = s.id_nomenclature_sensitivity AND l.id_synthese = s.id_synthese
           ORDER BY t.size_hierarchy DESC NULLS LAST, a.id_area LIMIT 1)', postgis);
    -- Sensitive, or not known not to be.
    hidden  text := 's.id_nomenclature_sensitivity IS DISTINCT FROM (SELECT n.id_nomenclature FROM ref_nomenclatures.t_nomenclatures n
            JOIN ref_nomenclatures.bib_nomenclatures_types t ON t.id_type = n.id_type WHERE t.mnemonique = ''SENSIBILITE'' AND n.cd_nomenclature = ''0'')';
BEGIN
    RETURN QUERY
    SELECT c.name,
           CASE WHEN c.guard = '' THEN c.expression
                WHEN c.guard = 'person' AND NOT p.personal_data THEN format('NULL::%s', c.type)
                WHEN c.guard = 'place' AND p.blurred THEN format('(CASE WHEN NOT (%s) THEN %s END)::%s', hidden, c.expression, c.type)
                ELSE format('(%s)::%s', c.expression, c.type) END,
           c.meaning
    FROM (VALUES
        ('id_synthese', 's.id_synthese', 'integer', '', 'Key of the observation here.'),
        ('id_source', 's.entity_source_pk_value', 'varchar', '', 'Key of the observation where it was entered.'),
        ('id_perm_sinp', 's.unique_id_sinp', 'uuid', '', 'UUID of the observation.'),
        ('id_perm_grp_sinp', 's.unique_id_sinp_grp', 'uuid', '', 'UUID of its group.'),
        ('jdd_uuid', '(SELECT d.unique_dataset_id FROM gn_meta.t_datasets d WHERE d.id_dataset = s.id_dataset)', 'uuid', '', 'UUID of the dataset; the metadata export tells the rest.'),
        ('date_debut', 's.date_min', 'timestamp', '', 'Beginning, with the time of day.'),
        ('date_fin', 's.date_max', 'timestamp', '', 'End, with the time of day.'),
        ('cd_nom', 's.cd_nom', 'integer', '', 'Taxon, by its cd_nom of Taxref.'),
        ('nom_cite', 's.nom_cite', 'varchar', '', 'Name of the taxon as it was written.'),
        ('version_taxref', 's.meta_v_taxref', 'varchar', '', 'Version of Taxref.'),
        ('nombre_min', 's.count_min', 'integer', '', 'Least count.'),
        ('nombre_max', 's.count_max', 'integer', '', 'Greatest count.'),
        ('altitude_min', 's.altitude_min', 'integer', 'place', 'Least altitude.'),
        ('altitude_max', 's.altitude_max', 'integer', 'place', 'Greatest altitude.'),
        ('profondeur_min', 's.depth_min', 'integer', 'place', 'Least depth.'),
        ('profondeur_max', 's.depth_max', 'integer', 'place', 'Greatest depth.'),
        ('observateurs', 's.observers', 'varchar', 'person', 'Observers, by name.'),
        ('observateurs_uuid', '(SELECT array_agg(r.uuid_role::text ORDER BY r.id_role)
            FROM gn_synthese.cor_observer_synthese o JOIN utilisateurs.t_roles r ON r.id_role = o.id_role
           WHERE o.id_synthese = s.id_synthese)', 'text[]', 'person', 'Observers that have an account, by UUID.'),
        ('determinateur', 's.determiner', 'varchar', 'person', 'Who determined.'),
        ('numerisateur', '(SELECT nullif(concat_ws('' '', u.nom_role, u.prenom_role), '''') FROM utilisateurs.t_roles u WHERE u.id_role = s.id_digitiser)', 'text', 'person', 'Who entered it.'),
        ('validateur', 's.validator', 'varchar', 'person', 'Who validated.'),
        ('date_validation', 's.meta_validation_date', 'timestamp', '', 'When it was validated.'),
        ('comment_validation', 's.validation_comment', 'text', '', 'Comment of the validation.'),
        ('numero_preuve', 's.sample_number_proof', 'text', '', 'Number of the proof.'),
        ('preuve_numerique', 's.digital_proof', 'text', '', 'Address of the proof.'),
        ('preuve_non_numerique', 's.non_digital_proof', 'text', '', 'Proof that is no file.'),
        ('comment_releve', 's.comment_context', 'text', '', 'Comment of the visit.'),
        ('comment_occurrence', 's.comment_description', 'text', '', 'Comment of the observation.'),
        ('reference_biblio', 's.reference_biblio', 'varchar', '', 'Where it was published.'),
        ('nom_lieu', 's.place_name', 'varchar', 'place', 'Name of the place.'),
        ('precision', 's."precision"', 'integer', 'place', 'Precision of the geometry, in metres.'),
        ('methode_regroupement', 's.grp_method', 'varchar', '', 'How observations were grouped.'),
        ('code_habitat', 's.cd_hab', 'integer', '', 'Habitat, by its cd_hab of Habref.'),
        ('donnees_additionnelles', 's.additional_data::text', 'text', '', 'Further data, JSON as text.'),
        ('area_attachment', '(SELECT json_build_object(''area_code'', g.area_code, ''type_code'', y.type_code)
            FROM ref_geo.l_areas g JOIN ref_geo.bib_areas_types y ON y.id_type = g.id_type
           WHERE g.id_area = s.id_area_attachment)',
            'json', 'place', 'Area to which it is attached for want of a geometry of its own.'),
        ('wkt_4326', CASE WHEN p.blurred THEN format('CASE WHEN %s THEN %s ELSE %s END', hidden, blurred, precise) ELSE precise END,
            'text', '', CASE WHEN p.blurred THEN 'Geometry, WKT in longitude and latitude; of a sensitive observation that of an area, or none.'
                             ELSE 'Geometry, WKT in longitude and latitude, exact.' END),
        ('derniere_action', 'coalesce(s.meta_update_date, s.meta_create_date)', 'timestamp', '', 'When it last changed here.'),
        ('gn_harvest', format('(SELECT p.marker FROM gn_harvest.publication p WHERE p.slug = %L)', p.slug), 'text', '',
            'Exports of metadata and of deletions, and number of the selection: collectors read everything once when it moves.')
    ) c(name, expression, type, guard, meaning)
    UNION ALL
    SELECT n.export,
           format('(SELECT jsonb_object_agg(n.id_nomenclature, n.cd_nomenclature) FROM ref_nomenclatures.t_nomenclatures n
            JOIN ref_nomenclatures.bib_nomenclatures_types t ON t.id_type = n.id_type WHERE t.mnemonique = %L) ->> s.id_nomenclature_%s::text',
                  n.type, n.target),
           format('Code of %s; in the synthese id_nomenclature_%s.', n.type, n.target)
    FROM gn_harvest.publication_nomenclatures() n;
END
$$;
COMMENT ON FUNCTION gn_harvest.publication_observation_columns(gn_harvest.publication) IS 'Columns of the observations view of a publication.';

CREATE FUNCTION gn_harvest.publication_observations_sql(p gn_harvest.publication) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT gn_harvest.publication_view_sql(format('gn_exports.v_%s_observations', p.slug),
        format('Observations of the publication "%s", one row each. Made by gn_harvest.publish_export.', p.label),
        array_agg(c.name ORDER BY c.ordinality), array_agg(c.expression ORDER BY c.ordinality), array_agg(c.meaning ORDER BY c.ordinality),
        'FROM gn_synthese.synthese s' || coalesce(E'\nWHERE ' || gn_harvest.publication_filter(p, 's'), ''))
    FROM gn_harvest.publication_observation_columns(p) WITH ORDINALITY c
$$;
COMMENT ON FUNCTION gn_harvest.publication_observations_sql(gn_harvest.publication) IS 'The statements that make the observations view of a publication.';

CREATE FUNCTION gn_harvest.publication_deletions_sql(p gn_harvest.publication) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT gn_harvest.publication_view_sql(format('gn_exports.v_%s_deletions', p.slug),
        format('What was deleted or left the publication "%s". Made by gn_harvest.publish_export.', p.label),
        ARRAY['id_synthese', 'id_perm_sinp', 'derniere_action'], ARRAY['d.id_synthese', 'd.uuid', 'd.left_at'],
        ARRAY['Key of the observation, as it was published.', 'Its UUID.', 'When it was deleted or left.'],
        format('FROM gn_harvest.departure d
WHERE d.slug = %L
  AND NOT EXISTS (SELECT FROM gn_synthese.synthese s WHERE s.id_synthese = d.id_synthese%s)',
            p.slug, coalesce(E'\n  AND ' || gn_harvest.publication_filter(p, 's'), '')))
$$;
COMMENT ON FUNCTION gn_harvest.publication_deletions_sql(gn_harvest.publication) IS 'The statements that make the deletions view of a publication.';

CREATE FUNCTION gn_harvest.selection_changed(a_slug text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE gn_harvest.publication SET selection = selection + 1 WHERE slug = a_slug
$$;
COMMENT ON FUNCTION gn_harvest.selection_changed(text) IS 'Tells collectors to read a publication whole and to compare.';

CREATE FUNCTION gn_harvest.note_truncation() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM gn_harvest.selection_changed(p.slug) FROM gn_harvest.publication p;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION gn_harvest.note_truncation() IS 'Trigger: all observations are gone at once.';

CREATE FUNCTION gn_harvest.publication_watch_sql(p gn_harvest.publication) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    conditions text   := coalesce(gn_harvest.publication_filter(p, 'OLD'), 'true');
    leaves     text;
    statements text[] := ARRAY[
        format('CREATE OR REPLACE FUNCTION gn_harvest.left_%1$s() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $watch$
DECLARE
    was_published boolean := false;
BEGIN
    -- Apart: a later GeoNature that has not these columns keeps working, and collectors compare.
    BEGIN
        was_published := (%2$s);
    EXCEPTION WHEN OTHERS THEN
        PERFORM gn_harvest.selection_changed(%1$L);
        RAISE WARNING ''gn_harvest: what leaves publication %1$s can not be told: %%'', SQLERRM;
    END;
    IF was_published THEN
        INSERT INTO gn_harvest.departure (slug, id_synthese, uuid, left_at)
        VALUES (%1$L, OLD.id_synthese, OLD.unique_id_sinp, localtimestamp)
        ON CONFLICT (slug, id_synthese) DO UPDATE SET uuid = excluded.uuid, left_at = excluded.left_at;
    END IF;
    IF TG_OP = ''DELETE'' THEN
        RETURN OLD;
    END IF;
    RETURN NEW;
END
$watch$', p.slug, conditions),
        format('COMMENT ON FUNCTION gn_harvest.left_%s() IS %L', p.slug, format('Trigger: notes what may leave the publication "%s".', p.label)),
        format('REVOKE ALL ON FUNCTION gn_harvest.left_%s() FROM PUBLIC', p.slug),
        format('CREATE TRIGGER zz_gn_harvest_%1$s_delete BEFORE DELETE ON gn_synthese.synthese
    FOR EACH ROW EXECUTE FUNCTION gn_harvest.left_%1$s()', p.slug)];
BEGIN
    -- Geometries by their bytes: their own operators are not on the search path.
    SELECT string_agg(c.leaves, E'\n     OR ') INTO leaves
    FROM (SELECT format('OLD.%1$I%2$s IS DISTINCT FROM NEW.%1$I%2$s', l, CASE l WHEN 'the_geom_local' THEN '::bytea' ELSE '' END)
          FROM unnest(gn_harvest.publication_lookups(p)) l
          UNION ALL
          SELECT format('(%s) IS NOT TRUE', gn_harvest.publication_plain_filter(p, 'NEW'))
          WHERE gn_harvest.publication_plain_filter(p, 'NEW') IS NOT NULL) c(leaves);
    IF leaves IS NOT NULL THEN
        statements := statements || format('CREATE TRIGGER zz_gn_harvest_%1$s_update BEFORE UPDATE ON gn_synthese.synthese
    FOR EACH ROW WHEN ((%2$s)
    AND (%3$s))
    EXECUTE FUNCTION gn_harvest.left_%1$s()', p.slug, coalesce(gn_harvest.publication_plain_filter(p, 'OLD'), 'true'), leaves);
    END IF;
    RETURN statements;
END
$$;
COMMENT ON FUNCTION gn_harvest.publication_watch_sql(gn_harvest.publication) IS 'The statements by which what leaves a publication is noted.';

CREATE FUNCTION gn_harvest.publication_unwatch_sql(a_slug text) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ARRAY[format('DROP TRIGGER IF EXISTS zz_gn_harvest_%s_update ON gn_synthese.synthese', a_slug),
                 format('DROP TRIGGER IF EXISTS zz_gn_harvest_%s_delete ON gn_synthese.synthese', a_slug)]
$$;
COMMENT ON FUNCTION gn_harvest.publication_unwatch_sql(text) IS 'The statements that remove the triggers of a publication.';

CREATE FUNCTION gn_harvest.note_area_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    p gn_harvest.publication;
BEGIN
    FOR p IN SELECT o.* FROM gn_harvest.publication o
             WHERE EXISTS (SELECT FROM gn_harvest.publication_scope c
                           WHERE c.slug = o.slug AND c.edition = o.edition AND c.kind = 'area' AND c.id = OLD.id_area)
    LOOP
        PERFORM gn_harvest.note_departures(p, format('EXISTS (SELECT FROM gn_synthese.cor_area_synthese k WHERE k.id_synthese = s.id_synthese AND k.id_area = %s)', OLD.id_area));
        PERFORM gn_harvest.selection_changed(p.slug);
    END LOOP;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    RETURN NEW;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'gn_harvest: a change of area % could not be followed: %', OLD.id_area, SQLERRM;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION gn_harvest.note_area_change() IS 'Trigger: an area that a publication filters by changes or goes.';

CREATE FUNCTION gn_harvest.note_departures(p gn_harvest.publication, condition text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    EXECUTE format('INSERT INTO gn_harvest.departure (slug, id_synthese, uuid, left_at)
                    SELECT %L, s.id_synthese, s.unique_id_sinp, localtimestamp
                    FROM gn_synthese.synthese s WHERE (%s) AND (%s)
                    ON CONFLICT (slug, id_synthese) DO UPDATE SET uuid = excluded.uuid, left_at = excluded.left_at',
                   p.slug, coalesce(gn_harvest.publication_filter(p, 's'), 'true'), condition);
END
$$;
COMMENT ON FUNCTION gn_harvest.note_departures(gn_harvest.publication, text) IS 'Notes observations of a publication that may leave it, all at once.';

CREATE FUNCTION gn_harvest.settle_datasets() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    p    gn_harvest.publication;
    gone integer[];
    come integer[];
BEGIN
    FOR p IN SELECT o.* FROM gn_harvest.publication o WHERE num_nonnulls(o.datasets, o.frameworks, o.organisms) > 0 ORDER BY o.slug LOOP
        SELECT array_agg(was.id) FILTER (WHERE now.id IS NULL), array_agg(now.id) FILTER (WHERE was.id IS NULL)
        INTO gone, come
        FROM (SELECT c.id FROM gn_harvest.publication_scope c WHERE c.slug = p.slug AND c.edition = p.edition AND c.kind = 'dataset') was
        FULL JOIN gn_harvest.publication_datasets(p) now(id) ON now.id = was.id;
        IF gone IS NOT NULL THEN
            PERFORM gn_harvest.note_departures(p, format('s.id_dataset = ANY (%L::integer[])', gone));
            DELETE FROM gn_harvest.publication_scope c
            WHERE c.slug = p.slug AND c.edition = p.edition AND c.kind = 'dataset' AND c.id = ANY (gone);
        END IF;
        IF come IS NOT NULL THEN
            INSERT INTO gn_harvest.publication_scope SELECT p.slug, p.edition, 'dataset', d FROM unnest(come) d ON CONFLICT DO NOTHING;
            IF EXISTS (SELECT FROM gn_synthese.synthese s WHERE s.id_dataset = ANY (come)) THEN
                PERFORM gn_harvest.selection_changed(p.slug);
            END IF;
        END IF;
    END LOOP;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'gn_harvest: datasets of publications could not be followed: %', SQLERRM;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION gn_harvest.settle_datasets() IS 'Trigger: datasets come into and go out of publications by their framework and actors.';

CREATE FUNCTION gn_harvest.note_metadata_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    ids integer[] := array_remove(ARRAY[(to_jsonb(OLD) ->> TG_ARGV[1])::integer, (to_jsonb(NEW) ->> TG_ARGV[1])::integer], NULL);
BEGIN
    INSERT INTO gn_harvest.metadata_change
    SELECT DISTINCT c.id, localtimestamp
    FROM (SELECT d.id_acquisition_framework AS id FROM gn_meta.t_datasets d
          WHERE TG_ARGV[0] = 'dataset' AND d.id_dataset = ANY (ids)
          UNION ALL
          SELECT unnest(ids) WHERE TG_ARGV[0] = 'framework'
          UNION ALL
          SELECT f.id_acquisition_framework FROM gn_meta.t_acquisition_frameworks f
          WHERE TG_TABLE_NAME = 't_acquisition_frameworks' AND f.acquisition_framework_parent_id = ANY (ids)
            AND to_jsonb(OLD) -> 'unique_acquisition_framework_id' IS DISTINCT FROM to_jsonb(NEW) -> 'unique_acquisition_framework_id'
          UNION ALL
          SELECT d.id_acquisition_framework FROM gn_meta.cor_dataset_protocol l JOIN gn_meta.t_datasets d ON d.id_dataset = l.id_dataset
          WHERE TG_ARGV[0] = 'protocol' AND l.id_protocol = ANY (ids)
          UNION ALL
          SELECT l.id_acquisition_framework FROM gn_meta.cor_acquisition_framework_publication l
          WHERE TG_ARGV[0] = 'publication' AND l.id_publication = ANY (ids)
          UNION ALL
          SELECT a.id_acquisition_framework FROM gn_meta.cor_acquisition_framework_actor a
          WHERE TG_ARGV[0] = 'organism' AND a.id_organism = ANY (ids) OR TG_ARGV[0] = 'role' AND a.id_role = ANY (ids)
          UNION ALL
          SELECT d.id_acquisition_framework FROM gn_meta.cor_dataset_actor a JOIN gn_meta.t_datasets d ON d.id_dataset = a.id_dataset
          WHERE TG_ARGV[0] = 'organism' AND a.id_organism = ANY (ids) OR TG_ARGV[0] = 'role' AND a.id_role = ANY (ids)) c
    WHERE c.id IS NOT NULL
    ORDER BY c.id
    ON CONFLICT (id_acquisition_framework) DO UPDATE SET changed_at = excluded.changed_at;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'gn_harvest: a change of metadata could not be dated: %', SQLERRM;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION gn_harvest.note_metadata_change() IS 'Trigger: dates the frameworks that a change of metadata concerns.';

CREATE FUNCTION gn_harvest.watched_tables() RETURNS TABLE (watched text, what text, by_column text)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    VALUES ('gn_meta.t_acquisition_frameworks', 'framework', 'id_acquisition_framework'),
           ('gn_meta.cor_acquisition_framework_actor', 'framework', 'id_acquisition_framework'),
           ('gn_meta.cor_acquisition_framework_objectif', 'framework', 'id_acquisition_framework'),
           ('gn_meta.cor_acquisition_framework_publication', 'framework', 'id_acquisition_framework'),
           ('gn_meta.cor_acquisition_framework_territory', 'framework', 'id_acquisition_framework'),
           ('gn_meta.cor_acquisition_framework_voletsinp', 'framework', 'id_acquisition_framework'),
           ('gn_meta.t_bibliographical_references', 'framework', 'id_acquisition_framework'),
           ('gn_meta.t_datasets', 'framework', 'id_acquisition_framework'),
           ('gn_meta.cor_dataset_actor', 'dataset', 'id_dataset'),
           ('gn_meta.cor_dataset_protocol', 'dataset', 'id_dataset'),
           ('gn_meta.cor_dataset_territory', 'dataset', 'id_dataset'),
           ('gn_meta.sinp_datatype_protocols', 'protocol', 'id_protocol'),
           ('gn_meta.sinp_datatype_publications', 'publication', 'id_publication'),
           ('utilisateurs.bib_organismes', 'organism', 'id_organisme'),
           ('utilisateurs.t_roles', 'role', 'id_role')
$$;
COMMENT ON FUNCTION gn_harvest.watched_tables() IS 'Tables of which every change dates a framework.';

CREATE FUNCTION gn_harvest.metadata_watch_sql() RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT array_agg(s.statement ORDER BY s.statement)
    FROM (SELECT format('CREATE OR REPLACE TRIGGER zz_gn_harvest_metadata_update AFTER UPDATE ON %s
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION gn_harvest.note_metadata_change(%L, %L)', w.watched, w.what, w.by_column)
          FROM gn_harvest.watched_tables() w
          UNION ALL
          SELECT format('CREATE OR REPLACE TRIGGER zz_gn_harvest_metadata AFTER INSERT OR DELETE ON %s
    FOR EACH ROW EXECUTE FUNCTION gn_harvest.note_metadata_change(%L, %L)', w.watched, w.what, w.by_column)
          FROM gn_harvest.watched_tables() w WHERE w.watched NOT LIKE 'utilisateurs.%'
          UNION ALL
          SELECT format('CREATE OR REPLACE TRIGGER zz_gn_harvest_settle AFTER INSERT OR UPDATE OR DELETE ON %s
    FOR EACH STATEMENT EXECUTE FUNCTION gn_harvest.settle_datasets()', w)
          FROM unnest(ARRAY['gn_meta.t_datasets', 'gn_meta.cor_dataset_actor']) w
          UNION ALL
          SELECT 'CREATE OR REPLACE TRIGGER zz_gn_harvest_area BEFORE UPDATE OF geom, geom_4326, enable OR DELETE ON ref_geo.l_areas
    FOR EACH ROW EXECUTE FUNCTION gn_harvest.note_area_change()'
          UNION ALL
          SELECT 'CREATE OR REPLACE TRIGGER zz_gn_harvest_truncate BEFORE TRUNCATE ON gn_synthese.synthese
    FOR EACH STATEMENT EXECUTE FUNCTION gn_harvest.note_truncation()') s(statement)
$$;
COMMENT ON FUNCTION gn_harvest.metadata_watch_sql() IS 'The statements by which changes of metadata are dated and followed.';

CREATE FUNCTION gn_harvest.metadata_unwatch_sql() RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT array_agg(format('DROP TRIGGER %I ON %s', t.tgname, t.tgrelid::regclass))
    FROM pg_trigger t
    WHERE NOT t.tgisinternal
      AND t.tgfoid = ANY (ARRAY['gn_harvest.note_metadata_change', 'gn_harvest.settle_datasets', 'gn_harvest.note_area_change',
                                'gn_harvest.note_truncation']::regproc[])
$$;
COMMENT ON FUNCTION gn_harvest.metadata_unwatch_sql() IS 'The statements that remove the triggers on metadata.';

CREATE FUNCTION gn_harvest.publication_named(a_label text) RETURNS gn_harvest.publication
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found_publication gn_harvest.publication;
BEGIN
    SELECT * INTO found_publication FROM gn_harvest.publication p WHERE p.label = a_label;
    IF FOUND AND NOT gn_harvest.may_manage(gn_harvest.caller(), found_publication.owner) THEN
        RAISE EXCEPTION 'role "%" may not manage publication "%"', gn_harvest.caller(), a_label
            USING ERRCODE = 'insufficient_privilege', DETAIL = format('It belongs to role "%s".', found_publication.owner),
                  HINT = format('GRANT %I TO %I, or ask the owner.', found_publication.owner, gn_harvest.caller());
    END IF;
    RETURN found_publication;
END
$$;
COMMENT ON FUNCTION gn_harvest.publication_named(text) IS 'A publication that the caller may manage; empty when there is none, an error when it is another''s.';

CREATE FUNCTION gn_harvest.slug_of(a_label text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH plain AS (
        SELECT coalesce(nullif(trim(BOTH '_' FROM left(regexp_replace(translate(lower(a_label),
                   'àâäáãåçéèêëíìîïñóòôöõúùûüÿœæ', 'aaaaaaceeeeiiiinooooouuuuyoa'), '[^a-z0-9]+', '_', 'g'), 24)), ''), 'export') AS slug)
    SELECT p.slug || CASE n WHEN 1 THEN '' ELSE '_' || n END
    FROM plain p, generate_series(1, 99) n
    WHERE NOT EXISTS (SELECT FROM gn_harvest.publication o WHERE o.slug = p.slug || CASE n WHEN 1 THEN '' ELSE '_' || n END)
    ORDER BY n LIMIT 1
$$;
COMMENT ON FUNCTION gn_harvest.slug_of(text) IS 'A label as a part of names of views, not yet taken.';

CREATE FUNCTION gn_harvest.derniere_action_index() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT 'CREATE INDEX IF NOT EXISTS gn_harvest_derniere_action ON gn_synthese.synthese ((coalesce(meta_update_date, meta_create_date)))'
    WHERE to_regclass('gn_synthese.gn_harvest_derniere_action') IS NULL
$$;
COMMENT ON FUNCTION gn_harvest.derniere_action_index() IS 'The statement that makes the index of increments; null: it is there.';

CREATE FUNCTION gn_harvest.keep_publication(wanted gn_harvest.publication, make_index boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '30s' SET client_min_messages = warning
AS $$
DECLARE
    before    gn_harvest.publication := gn_harvest.publication_named(wanted.label);
    statement text;
BEGIN
    IF NOT has_table_privilege(gn_harvest.caller(), 'gn_synthese.synthese', 'SELECT') THEN
        RAISE EXCEPTION 'permission denied for table synthese' USING ERRCODE = 'insufficient_privilege',
            HINT = format('GRANT SELECT ON gn_synthese.synthese TO %I;', gn_harvest.caller());
    END IF;
    wanted.owner := coalesce(before.owner, gn_harvest.caller());
    wanted.slug := coalesce(before.slug, wanted.slug);
    wanted.edition := coalesce(before.edition, 0) + 1;
    INSERT INTO gn_harvest.publication AS p
        (slug, label, owner, datasets, frameworks, organisms, areas, taxa, date_min, date_max, sensitivity_max, diffusion_levels,
         blurred, personal_data, edition)
    VALUES (wanted.slug, wanted.label, wanted.owner, wanted.datasets, wanted.frameworks, wanted.organisms, wanted.areas, wanted.taxa,
            wanted.date_min, wanted.date_max, wanted.sensitivity_max, wanted.diffusion_levels,
            wanted.blurred, wanted.personal_data, wanted.edition)
    ON CONFLICT (slug) DO UPDATE
    SET (datasets, frameworks, organisms, areas, taxa, date_min, date_max, sensitivity_max, diffusion_levels,
         blurred, personal_data, edition, published_at)
      = (excluded.datasets, excluded.frameworks, excluded.organisms, excluded.areas, excluded.taxa, excluded.date_min, excluded.date_max,
         excluded.sensitivity_max, excluded.diffusion_levels, excluded.blurred, excluded.personal_data, excluded.edition, now());
    INSERT INTO gn_harvest.publication_scope SELECT wanted.slug, wanted.edition, m.kind, m.id FROM gn_harvest.publication_members(wanted) m;
    IF before.slug IS NOT NULL THEN
        PERFORM gn_harvest.settle_options(before, wanted);
    END IF;
    DELETE FROM gn_harvest.publication_scope c WHERE c.slug = wanted.slug AND c.edition <> wanted.edition;
    FOREACH statement IN ARRAY gn_harvest.publication_unwatch_sql(wanted.slug) || gn_harvest.publication_watch_sql(wanted)
        || gn_harvest.metadata_watch_sql()
        || CASE WHEN make_index THEN ARRAY[gn_harvest.derniere_action_index()] ELSE '{}' END
    LOOP
        IF statement IS NOT NULL THEN
            EXECUTE statement;
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION gn_harvest.keep_publication(gn_harvest.publication, boolean) IS 'The part of publish_export that takes the rights of the extension.';

CREATE FUNCTION gn_harvest.settle_options(before gn_harvest.publication, wanted gn_harvest.publication) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    untold text[] := '{owner,edition,selection,marker,observations_export,metadata_export,deletions_export,published_at}';
    members_changed boolean := EXISTS (
        SELECT FROM (SELECT c.kind, c.id FROM gn_harvest.publication_scope c WHERE c.slug = wanted.slug AND c.edition = before.edition) was
        FULL JOIN (SELECT c.kind, c.id FROM gn_harvest.publication_scope c WHERE c.slug = wanted.slug AND c.edition = wanted.edition) now USING (kind, id)
        WHERE was.id IS NULL OR now.id IS NULL);
BEGIN
    IF to_jsonb(before) - untold = to_jsonb(wanted) - untold AND NOT members_changed THEN
        RETURN;
    END IF;
    IF gn_harvest.publication_filter(wanted, 's') IS NOT NULL THEN
        PERFORM gn_harvest.note_departures(before, format('(%s) IS NOT TRUE', gn_harvest.publication_filter(wanted, 's')));
    END IF;
    PERFORM gn_harvest.selection_changed(wanted.slug);
END
$$;
COMMENT ON FUNCTION gn_harvest.settle_options(gn_harvest.publication, gn_harvest.publication) IS 'What other options of a publication mean for its collectors.';

CREATE FUNCTION gn_harvest.publication_grants_sql(p gn_harvest.publication) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ARRAY[
        format('GRANT SELECT ON gn_harvest.publication, gn_harvest.publication_scope, gn_harvest.departure, gn_harvest.metadata_change TO %I', p.owner),
        format('DROP POLICY IF EXISTS %I ON gn_harvest.departure', p.slug),
        format('CREATE POLICY %I ON gn_harvest.departure FOR SELECT TO %I USING (slug = %L)', p.slug, p.owner, p.slug)]
$$;
COMMENT ON FUNCTION gn_harvest.publication_grants_sql(gn_harvest.publication) IS 'The statements that let the owner of the views read what they need.';

CREATE FUNCTION gn_harvest.grant_publication() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET client_min_messages = warning
AS $$
DECLARE
    statement text;
BEGIN
    IF EXISTS (SELECT FROM pg_roles r WHERE r.rolname = NEW.owner) THEN
        FOREACH statement IN ARRAY gn_harvest.publication_grants_sql(NEW) LOOP
            EXECUTE statement;
        END LOOP;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION gn_harvest.grant_publication() IS 'Trigger: lets the owner of a publication read what its views need, also after a restore.';

CREATE TRIGGER grant_publication AFTER INSERT OR UPDATE OF published_at ON gn_harvest.publication
    FOR EACH ROW EXECUTE FUNCTION gn_harvest.grant_publication();

CREATE FUNCTION gn_harvest.set_publication_exports(a_label text, observations integer, metadata integer, deletions integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    kept gn_harvest.publication := gn_harvest.publication_named(a_label);
BEGIN
    UPDATE gn_harvest.publication p
    SET observations_export = observations, metadata_export = metadata, deletions_export = deletions
    WHERE p.slug = kept.slug;
END
$$;
COMMENT ON FUNCTION gn_harvest.set_publication_exports(text, integer, integer, integer) IS 'Keeps the numbers of the exports of a publication: its marker tells them.';

CREATE FUNCTION gn_harvest.forget_publication(a_label text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '30s' SET client_min_messages = warning
AS $$
DECLARE
    gone      gn_harvest.publication := gn_harvest.publication_named(a_label);
    statement text;
BEGIN
    FOREACH statement IN ARRAY gn_harvest.publication_unwatch_sql(gone.slug)
        || ARRAY[format('DROP FUNCTION IF EXISTS gn_harvest.left_%s()', gone.slug), format('DROP POLICY IF EXISTS %I ON gn_harvest.departure', gone.slug)]
    LOOP
        EXECUTE statement;
    END LOOP;
    DELETE FROM gn_harvest.publication p WHERE p.slug = gone.slug;
    IF NOT EXISTS (SELECT FROM gn_harvest.publication p WHERE p.owner = gone.owner)
       AND EXISTS (SELECT FROM pg_roles r WHERE r.rolname = gone.owner AND NOT r.rolsuper) THEN
        EXECUTE format('REVOKE SELECT ON gn_harvest.publication, gn_harvest.publication_scope, gn_harvest.departure, gn_harvest.metadata_change FROM %I', gone.owner);
    END IF;
    IF NOT EXISTS (SELECT FROM gn_harvest.publication) THEN
        FOREACH statement IN ARRAY coalesce(gn_harvest.metadata_unwatch_sql(), '{}') || 'DROP INDEX IF EXISTS gn_synthese.gn_harvest_derniere_action'::text LOOP
            EXECUTE statement;
        END LOOP;
        DELETE FROM gn_harvest.metadata_change;
    END IF;
END
$$;
COMMENT ON FUNCTION gn_harvest.forget_publication(text) IS 'The part of unpublish_export that takes the rights of the extension.';

CREATE FUNCTION gn_harvest.publication_exports(p gn_harvest.publication)
RETURNS TABLE (kind text, label text, view text, key text, known integer, about text)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    VALUES ('observations', p.label, format('v_%s_observations', p.slug), 'id_synthese', p.observations_export,
            'Observations, pour la moisson par gn_harvest.'),
           ('metadata', p.label || ' – métadonnées', format('v_%s_metadata', p.slug), 'id_acquisition_framework', p.metadata_export,
            'Cadres d''acquisition et jeux de données, pour la moisson par gn_harvest.'),
           ('deletions', p.label || ' – suppressions', format('v_%s_deletions', p.slug), 'id_synthese', p.deletions_export,
            'Observations supprimées ou sorties de l''export, pour la moisson par gn_harvest.')
$$;
COMMENT ON FUNCTION gn_harvest.publication_exports(gn_harvest.publication) IS 'The exports that a publication is made of.';

CREATE FUNCTION gn_harvest.require_geonature_exports() RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    absent text;
BEGIN
    SELECT t INTO absent
    FROM unnest(ARRAY['gn_synthese.synthese', 'gn_synthese.cor_area_synthese', 'gn_meta.t_datasets', 'utilisateurs.t_roles', 'ref_geo.l_areas',
                      'gn_exports.t_exports', 'gn_exports.cor_exports_roles', 'gn_exports.t_licences']) t
    WHERE to_regclass(t) IS NULL LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'this database has no table %', absent
            USING ERRCODE = 'undefined_table',
                  HINT = 'publish_export is for the database of a GeoNature that has the export module (gn_module_export 1.5 or later).';
    END IF;
END
$$;
COMMENT ON FUNCTION gn_harvest.require_geonature_exports() IS 'Fails where there is no GeoNature with the export module.';

CREATE FUNCTION gn_harvest.licence_named(licence text) RETURNS integer
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found_licence integer;
BEGIN
    SELECT l.id_licence INTO found_licence FROM gn_exports.t_licences l
    WHERE licence IS NULL OR l.id_licence::text = licence OR lower(l.name_licence) = lower(licence)
    -- Without a wish: the open licence of the French State if it is there.
    ORDER BY l.name_licence ILIKE 'licence ouverte%' DESC, l.id_licence LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'licence "%" is not known to the export module', licence
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'SELECT id_licence, name_licence FROM gn_exports.t_licences lists them; either is accepted.';
    END IF;
    RETURN found_licence;
END
$$;
COMMENT ON FUNCTION gn_harvest.licence_named(text) IS 'A licence of the export module by its name or number.';

CREATE FUNCTION gn_harvest.roles_named(roles text[]) RETURNS integer[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found_roles integer[];
    absent      text;
BEGIN
    SELECT array_agg(r.id_role ORDER BY r.id_role), min(coalesce(g, 'null')) FILTER (WHERE r.id_role IS NULL)
    INTO found_roles, absent
    FROM unnest(roles) g
    LEFT JOIN utilisateurs.t_roles r ON r.identifiant = g OR r.id_role::text = g OR r.groupe AND r.nom_role = g;
    IF absent IS NOT NULL THEN
        RAISE EXCEPTION 'role "%" is not known to this GeoNature', absent
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Roles are those of utilisateurs.t_roles: an identifiant, the name of a group, or an id_role.';
    END IF;
    RETURN found_roles;
END
$$;
COMMENT ON FUNCTION gn_harvest.roles_named(text[]) IS 'Roles of this GeoNature by identifiant, name of group or number.';

CREATE FUNCTION gn_harvest.publication_views_sql(p gn_harvest.publication) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT gn_harvest.publication_observations_sql(p) || gn_harvest.publication_metadata_sql(p) || gn_harvest.publication_deletions_sql(p)
        -- The role of GeoNature's application: whoever owns the module's tables.
        || ARRAY(SELECT format('GRANT SELECT ON gn_exports.%I TO %I', e.view, c.relowner::regrole)
                 FROM gn_harvest.publication_exports(p) e, pg_class c
                 WHERE c.oid = 'gn_exports.t_exports'::regclass)
$$;
COMMENT ON FUNCTION gn_harvest.publication_views_sql(gn_harvest.publication) IS 'The statements that make the views of a publication.';

CREATE FUNCTION gn_harvest.register_exports(p gn_harvest.publication, public boolean, id_licence integer, id_roles integer[]) RETURNS integer[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    e     record;
    id    integer;
    ids   integer[] := '{}';
BEGIN
    FOR e IN SELECT * FROM gn_harvest.publication_exports(p) LOOP
        UPDATE gn_exports.t_exports x
        SET label = e.label, schema_name = 'gn_exports', view_name = e.view, view_pk_column = e.key, "desc" = e.about,
            geometry_field = NULL, geometry_srid = NULL, public = register_exports.public, id_licence = register_exports.id_licence
        WHERE x.id = e.known RETURNING x.id INTO id;
        IF NOT FOUND THEN
            INSERT INTO gn_exports.t_exports (label, schema_name, view_name, view_pk_column, "desc", public, id_licence)
            VALUES (e.label, 'gn_exports', e.view, e.key, e.about, register_exports.public, register_exports.id_licence)
            RETURNING t_exports.id INTO id;
        END IF;
        ids := ids || id;
    END LOOP;
    -- A role has one token for the three: that of before, if it has one.
    IF id_roles IS NOT NULL THEN
        DELETE FROM gn_exports.cor_exports_roles c WHERE c.id_export = ANY (ids) AND NOT c.id_role = ANY (id_roles);
    END IF;
    INSERT INTO gn_exports.cor_exports_roles (id_export, id_role, token)
    SELECT x, r.id_role, r.token
    FROM unnest(ids) x,
         (SELECT g AS id_role, coalesce((SELECT min(c.token) FROM gn_exports.cor_exports_roles c WHERE c.id_role = g AND c.id_export = ids[1]),
                                        replace(gen_random_uuid()::text, '-', '')) AS token
          FROM unnest(id_roles) g) r
    ON CONFLICT (id_export, id_role) DO UPDATE SET token = excluded.token;
    RETURN ids;
END
$$;
COMMENT ON FUNCTION gn_harvest.register_exports(gn_harvest.publication, boolean, integer, integer[]) IS 'Registers the views of a publication with the export module, and who may read them; returns the numbers of the exports.';

CREATE FUNCTION gn_harvest.publish_export(
    label            text,
    datasets         uuid[]    DEFAULT NULL,
    frameworks       uuid[]    DEFAULT NULL,
    organisms        uuid[]    DEFAULT NULL,
    areas            text[]    DEFAULT NULL,
    taxa             integer[] DEFAULT NULL,
    date_min         date      DEFAULT NULL,
    date_max         date      DEFAULT NULL,
    sensitivity_max  text      DEFAULT NULL,
    diffusion_levels text[]    DEFAULT NULL,
    blurred          boolean   DEFAULT false,
    personal_data    boolean   DEFAULT true,
    public           boolean   DEFAULT false,
    licence          text      DEFAULT NULL,
    roles            text[]    DEFAULT NULL,
    url              text      DEFAULT NULL,
    concurrently     boolean   DEFAULT false,
    dry_run          boolean   DEFAULT false
) RETURNS TABLE (role text, token text, observations_export integer, metadata_export integer, deletions_export integer,
                 observations_view text, metadata_view text, deletions_view text, add_source text, statements text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '30s'
AS $$
#variable_conflict use_column
DECLARE
    before     gn_harvest.publication;
    wanted     gn_harvest.publication;
    id_licence integer;
    id_roles   integer[];
    index_sql  text;
    statement  text;
BEGIN
    PERFORM gn_harvest.require_geonature_exports();
    IF coalesce(publish_export.label, '') !~ '^\S(.{0,198}\S)?$' OR num_nulls(blurred, personal_data, public, publish_export.concurrently, dry_run) > 0 THEN
        RAISE EXCEPTION 'a publication needs a label of 1 to 200 characters that neither begins nor ends with a space, and yes or no for blurred, personal_data, public, concurrently and dry_run'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'SELECT * FROM gn_harvest.publish_export(''Données du CEN'', roles => ''{collecteur}'');';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('gn_harvest.publish_export', 0));
    before := gn_harvest.publication_named(publish_export.label);
    wanted := jsonb_populate_record(before, jsonb_build_object(
        'slug', coalesce(before.slug, gn_harvest.slug_of(publish_export.label)), 'label', publish_export.label,
        'owner', coalesce(before.owner, gn_harvest.caller()), 'edition', coalesce(before.edition, 0) + 1,
        'datasets', datasets, 'frameworks', frameworks, 'organisms', organisms, 'areas', areas, 'taxa', taxa, 'date_min', date_min,
        'date_max', date_max, 'sensitivity_max', sensitivity_max, 'diffusion_levels', diffusion_levels,
        'blurred', blurred, 'personal_data', personal_data));
    PERFORM gn_harvest.check_publication(wanted);
    id_licence := gn_harvest.licence_named(licence);
    id_roles := gn_harvest.roles_named(roles);
    PERFORM gn_harvest.require_free_labels(wanted);
    index_sql := gn_harvest.derniere_action_index();
    IF dry_run THEN
        RETURN QUERY SELECT NULL::text, NULL::text, wanted.observations_export, wanted.metadata_export, wanted.deletions_export,
            v.views[1], v.views[2], v.views[3], NULL::text,
            array_to_string(CASE WHEN before.slug IS NULL THEN '{}' ELSE gn_harvest.publication_unwatch_sql(wanted.slug) END
                || gn_harvest.publication_watch_sql(wanted) || gn_harvest.metadata_watch_sql() || gn_harvest.publication_grants_sql(wanted)
                || index_sql || gn_harvest.publication_views_sql(wanted), E';\n') || E';\n'
            || '-- Then the three exports are registered in gn_exports.t_exports, and the roles in gn_exports.cor_exports_roles.'
        FROM (SELECT array_agg('gn_exports.' || e.view) AS views FROM gn_harvest.publication_exports(wanted) e) v;
        RETURN;
    END IF;
    PERFORM gn_harvest.keep_publication(wanted, NOT publish_export.concurrently);
    FOREACH statement IN ARRAY gn_harvest.publication_views_sql(wanted) LOOP
        EXECUTE statement;
    END LOOP;
    PERFORM gn_harvest.set_publication_exports(wanted.label, i.ids[1], i.ids[2], i.ids[3])
    FROM gn_harvest.register_exports(wanted, public, id_licence, id_roles) i(ids);
    RETURN QUERY SELECT * FROM gn_harvest.publication_summary(wanted.label, coalesce(url, 'https://geonature.example.org'),
        CASE WHEN publish_export.concurrently THEN replace(index_sql, 'CREATE INDEX', 'CREATE INDEX CONCURRENTLY') END);
END
$$;
COMMENT ON FUNCTION gn_harvest.publish_export IS 'In the database of a GeoNature: makes three exports (observations, metadata, deletions) for collectors, and says what to hand to them, a row a role. Called again with other options it changes them; exports and tokens stay. dry_run => true only shows the statements; concurrently => true leaves the index to you, as a statement to run.';

CREATE FUNCTION gn_harvest.require_free_labels(p gn_harvest.publication) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    taken text;
BEGIN
    SELECT x.label INTO taken
    FROM gn_harvest.publication_exports(p) e JOIN gn_exports.t_exports x ON x.label = e.label
    WHERE x.id IS DISTINCT FROM e.known LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the export module has an export "%" already', taken
            USING ERRCODE = 'duplicate_object', HINT = 'Choose another label; SELECT id, label FROM gn_exports.t_exports lists those taken.';
    END IF;
    SELECT e.view INTO taken FROM gn_harvest.publication_exports(p) e WHERE p.published_at IS NULL AND to_regclass('gn_exports.' || e.view) IS NOT NULL LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'view gn_exports.% exists already', taken
            USING ERRCODE = 'duplicate_object', HINT = format('Choose another label, or DROP VIEW gn_exports.%I; if nothing needs it.', taken);
    END IF;
END
$$;
COMMENT ON FUNCTION gn_harvest.require_free_labels(gn_harvest.publication) IS 'Fails when a label or view of a publication is another''s.';

CREATE FUNCTION gn_harvest.publication_summary(a_label text, url text, statements text)
RETURNS TABLE (role text, token text, observations_export integer, metadata_export integer, deletions_export integer,
               observations_view text, metadata_view text, deletions_view text, add_source text, statement text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    p gn_harvest.publication := gn_harvest.publication_named(a_label);
BEGIN
    RETURN QUERY
    SELECT coalesce(r.identifiant, r.nom_role)::text, c.token::text, p.observations_export, p.metadata_export, p.deletions_export,
           format('gn_exports.v_%s_observations', p.slug), format('gn_exports.v_%s_metadata', p.slug), format('gn_exports.v_%s_deletions', p.slug),
           format('SELECT gn_harvest.add_source(%L, %L, %s, metadata_export_id => %s, deletion_export_id => %s%s);',
                  trim(left(p.label, 63)), publication_summary.url, p.observations_export, p.metadata_export, p.deletions_export,
                  coalesce(format(', token => %L', c.token), '')),
           publication_summary.statements
    FROM (SELECT 1) one
    LEFT JOIN gn_exports.cor_exports_roles c ON c.id_export = p.observations_export
    LEFT JOIN utilisateurs.t_roles r ON r.id_role = c.id_role
    ORDER BY r.id_role;
END
$$;
COMMENT ON FUNCTION gn_harvest.publication_summary(text, text, text) IS 'What there is to know of a publication, a row a role.';

CREATE FUNCTION gn_harvest.unpublish_export(label text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '30s'
AS $$
DECLARE
    gone gn_harvest.publication;
    e    record;
BEGIN
    PERFORM gn_harvest.require_geonature_exports();
    PERFORM pg_advisory_xact_lock(hashtextextended('gn_harvest.publish_export', 0));
    gone := gn_harvest.publication_named(unpublish_export.label);
    IF gone.slug IS NULL THEN
        RAISE EXCEPTION 'publication "%" does not exist', unpublish_export.label
            USING ERRCODE = 'undefined_object', HINT = 'SELECT label FROM gn_harvest.published_export lists them.';
    END IF;
    FOR e IN SELECT * FROM gn_harvest.publication_exports(gone) LOOP
        DELETE FROM gn_exports.t_exports x WHERE x.id = e.known;
        EXECUTE format('DROP VIEW IF EXISTS gn_exports.%I', e.view);
    END LOOP;
    PERFORM gn_harvest.forget_publication(gone.label);
END
$$;
COMMENT ON FUNCTION gn_harvest.unpublish_export(text) IS 'Takes away what publish_export made: exports, tokens, views, triggers; with the last one the index as well.';

CREATE  FUNCTION "webhook_origin"(
	"url" TEXT /* & str */
) RETURNS TEXT /* String */
IMMUTABLE STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'webhook_origin_wrapper';
COMMENT ON FUNCTION gn_harvest.rule_definitions() IS 'The rules of alerts, with their severity and threshold by default.';
COMMENT ON FUNCTION gn_harvest.alert_text(text, text, boolean) IS 'What an alert says, from its rule and the facts that are kept of it.';
COMMENT ON FUNCTION gn_harvest.check_email_address(text) IS 'Refuses what is not an e-mail address.';
COMMENT ON FUNCTION gn_harvest.webhook_origin(text) IS 'Scheme, host and port of the address of a webhook, or an error that does not repeat it.';
COMMENT ON FUNCTION gn_harvest.start_test(integer) IS 'Sends a test by a channel in a background worker; returns the number of its delivery.';
COMMENT ON FUNCTION gn_harvest.start_sending() IS 'Has a background worker look at the rules that depend on time and send what waits.';

CREATE TABLE gn_harvest.channel (
    id               integer     GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name             text        NOT NULL UNIQUE,
    kind             text        NOT NULL,
    settings         jsonb       NOT NULL DEFAULT '{}',
    minimum_severity text        NOT NULL DEFAULT 'warning',
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

CREATE TABLE gn_harvest.alert_rule (
    source_id integer REFERENCES gn_harvest.source ON DELETE CASCADE,
    rule      text    NOT NULL,
    enabled   boolean,
    severity  text,
    threshold numeric,
    set_by    name    NOT NULL,
    set_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT known_severity CHECK (severity IN ('info', 'warning', 'critical'))
);

CREATE UNIQUE INDEX alert_rule_key ON gn_harvest.alert_rule (coalesce(source_id, 0), rule);
COMMENT ON TABLE gn_harvest.alert_rule IS 'Decisions of set_alert_rule, of one source or (source_id null) of all; what is null stays as it was.';

CREATE TABLE gn_harvest.outbox (
    id          bigint      GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    channel_id  integer     NOT NULL REFERENCES gn_harvest.channel ON DELETE CASCADE,
    alert_id    bigint      REFERENCES gn_harvest.alert ON DELETE CASCADE,
    event       text        NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts    integer     NOT NULL DEFAULT 0,
    tried_at    timestamptz,
    sent_at     timestamptz,
    given_up_at timestamptz,
    last_error  text,
    last_hint   text,
    CONSTRAINT known_event CHECK (event IN ('opened', 'resolved', 'test') AND (event = 'test') = (alert_id IS NULL))
);

CREATE UNIQUE INDEX outbox_event_idx ON gn_harvest.outbox (channel_id, alert_id, event);

CREATE INDEX outbox_alert_idx ON gn_harvest.outbox (alert_id);

CREATE INDEX outbox_waiting_idx ON gn_harvest.outbox (channel_id, id) WHERE sent_at IS NULL AND given_up_at IS NULL;
COMMENT ON SEQUENCE gn_harvest.outbox_id_seq IS 'Numbers of deliveries.';
COMMENT ON TABLE gn_harvest.outbox IS 'What channels have to say and have said: an event of an alert for a channel, once. Waits until it is sent or given up.';

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

CREATE FUNCTION gn_harvest.channel_target(kind text, settings jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE kind
        WHEN 'notify' THEN settings ->> 'listen'
        WHEN 'email' THEN (SELECT pg_catalog.string_agg(r, ', ') FROM pg_catalog.jsonb_array_elements_text(settings -> 'recipients') r)
        WHEN 'geonature' THEN (SELECT pg_catalog.string_agg(r, ', ') FROM pg_catalog.jsonb_array_elements_text(settings -> 'roles') r)
        ELSE pg_catalog.concat_ws(' ', settings ->> 'template', settings ->> 'origin') END
$$;
COMMENT ON FUNCTION gn_harvest.channel_target(text, jsonb) IS 'Whom a channel tells, without secrets.';

CREATE VIEW gn_harvest.channel_status WITH (security_barrier) AS
SELECT c.name AS channel,
       c.kind,
       gn_harvest.channel_target(c.kind, c.settings) AS target,
       c.minimum_severity,
       (SELECT array_agg(s.name ORDER BY s.name) FROM gn_harvest.source s WHERE s.id = ANY (c.source_ids)) AS sources,
       c.language,
       c.digest,
       c.owner,
       (SELECT count(*) FROM gn_harvest.outbox o WHERE o.channel_id = c.id AND o.sent_at IS NULL AND o.given_up_at IS NULL) AS waiting,
       c.last_sent_at,
       c.failures,
       c.next_try_at,
       c.last_error,
       c.last_hint
FROM gn_harvest.channel c
WHERE gn_harvest.may_manage(current_user, c.owner);
COMMENT ON VIEW gn_harvest.channel_status IS 'One row a channel of those that one may manage: what it tells, to whom, and how it is doing. Without its secrets.';
COMMENT ON COLUMN gn_harvest.channel_status.channel IS 'Name of the channel.';
COMMENT ON COLUMN gn_harvest.channel_status.kind IS 'notify, email, webhook or geonature.';
COMMENT ON COLUMN gn_harvest.channel_status.target IS 'Whom it tells: addresses, host of the webhook, roles, name to LISTEN to.';
COMMENT ON COLUMN gn_harvest.channel_status.minimum_severity IS 'Severity from which on it tells.';
COMMENT ON COLUMN gn_harvest.channel_status.sources IS 'Sources that it is limited to; null: all that its owner may see.';
COMMENT ON COLUMN gn_harvest.channel_status.language IS 'fr or en.';
COMMENT ON COLUMN gn_harvest.channel_status.digest IS 'After a message, what comes within this time waits and goes in one.';
COMMENT ON COLUMN gn_harvest.channel_status.owner IS 'Role whose channel it is: it tells only of what that role may see.';
COMMENT ON COLUMN gn_harvest.channel_status.waiting IS 'Events that it has still to tell.';
COMMENT ON COLUMN gn_harvest.channel_status.last_sent_at IS 'When its last message went out.';
COMMENT ON COLUMN gn_harvest.channel_status.failures IS 'Deliveries that have failed in a row.';
COMMENT ON COLUMN gn_harvest.channel_status.next_try_at IS 'When it is tried again, after failures.';
COMMENT ON COLUMN gn_harvest.channel_status.last_error IS 'Why the last delivery failed; null when it did not.';
COMMENT ON COLUMN gn_harvest.channel_status.last_hint IS 'What to do about it.';

CREATE VIEW gn_harvest.alert_delivery WITH (security_barrier) AS
SELECT o.id,
       c.name AS channel,
       o.alert_id AS alert,
       o.event,
       o.created_at,
       o.attempts,
       o.tried_at,
       o.sent_at,
       o.given_up_at,
       o.last_error
FROM gn_harvest.outbox o
JOIN gn_harvest.channel c ON c.id = o.channel_id
WHERE gn_harvest.may_manage(current_user, c.owner);
COMMENT ON VIEW gn_harvest.alert_delivery IS 'What channels have told and have still to tell, one row an event.';
COMMENT ON COLUMN gn_harvest.alert_delivery.id IS 'Number of the delivery.';
COMMENT ON COLUMN gn_harvest.alert_delivery.channel IS 'Name of the channel.';
COMMENT ON COLUMN gn_harvest.alert_delivery.alert IS 'Number of the alert; null: a test.';
COMMENT ON COLUMN gn_harvest.alert_delivery.event IS 'opened, resolved or test.';
COMMENT ON COLUMN gn_harvest.alert_delivery.created_at IS 'When it happened.';
COMMENT ON COLUMN gn_harvest.alert_delivery.attempts IS 'How often it has been tried.';
COMMENT ON COLUMN gn_harvest.alert_delivery.tried_at IS 'When it was tried last.';
COMMENT ON COLUMN gn_harvest.alert_delivery.sent_at IS 'When it went out; null while it waits.';
COMMENT ON COLUMN gn_harvest.alert_delivery.given_up_at IS 'When it was given up.';
COMMENT ON COLUMN gn_harvest.alert_delivery.last_error IS 'Why it did not go out.';

CREATE INDEX alert_resolved_idx ON gn_harvest.alert (resolved_at) WHERE resolved_at IS NOT NULL;

CREATE INDEX rejected_discarded_idx ON gn_harvest.rejected (discarded_at) WHERE discarded_at IS NOT NULL;

CREATE FUNCTION gn_harvest.lasting_run() RETURNS SETOF bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT last.id
    FROM gn_harvest.source s,
         LATERAL (SELECT r.id FROM gn_harvest.run r WHERE r.source_id = s.id AND r.mode NOT IN ('check', 'plan') ORDER BY r.id DESC LIMIT 20) last
    UNION
    SELECT last.id
    FROM gn_harvest.source s, (VALUES ('{full,reconcile}'::text[]), ('{full,reconcile,incremental}')) m(modes),
         LATERAL (SELECT r.id FROM gn_harvest.run r
                  WHERE r.source_id = s.id AND r.status = 'succeeded' AND r.mode = ANY (m.modes) ORDER BY r.id DESC LIMIT 1) last
    UNION
    -- Whether a decision on an unknown value came before or after the run that met it last.
    SELECT u.last_run FROM gn_harvest.unmapped u
    UNION
    SELECT a.run_id FROM gn_harvest.alert a WHERE a.resolved_at IS NULL AND a.run_id IS NOT NULL
$$;
COMMENT ON FUNCTION gn_harvest.lasting_run() IS 'Runs that stay in the history however old they are.';

CREATE FUNCTION gn_harvest.prune_some(most integer, run_days integer, alert_days integer, rejected_days integer,
                                      OUT runs bigint, OUT alerts bigint, OUT rejected bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM gn_harvest.run r
    WHERE r.id IN (
        SELECT o.id FROM gn_harvest.run o
        WHERE (run_days > 0 AND o.mode NOT IN ('check', 'plan') AND o.created_at < now() - make_interval(days => run_days)
               OR o.mode IN ('check', 'plan') AND o.created_at < now() - interval '1 day')
          AND (o.status <> 'running' OR o.source_id IS NULL OR o.mode IN ('check', 'plan'))
          AND NOT o.id IN (SELECT gn_harvest.lasting_run())
          AND NOT EXISTS (SELECT FROM gn_harvest.slice sl WHERE sl.run_id = o.id)
          AND NOT EXISTS (SELECT FROM gn_harvest.missing m WHERE m.run_id = o.id)
        ORDER BY o.created_at LIMIT most
        FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS runs = ROW_COUNT;
    DELETE FROM gn_harvest.alert a
    WHERE a.id IN (
        SELECT o.id FROM gn_harvest.alert o
        WHERE alert_days > 0 AND o.resolved_at < now() - make_interval(days => alert_days)
        ORDER BY o.resolved_at LIMIT most
        FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS alerts = ROW_COUNT;
    -- One that still comes is remembered: else it would wait again for somebody to discard it.
    DELETE FROM gn_harvest.rejected j
    WHERE j.id IN (
        SELECT o.id FROM gn_harvest.rejected o
        WHERE rejected_days > 0 AND o.discarded_at < now() - make_interval(days => rejected_days)
          AND o.last_seen < now() - make_interval(days => rejected_days)
        ORDER BY o.discarded_at LIMIT most
        FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS rejected = ROW_COUNT;
END
$$;
COMMENT ON FUNCTION gn_harvest.prune_some(integer, integer, integer, integer) IS 'Removes at most so many runs, alerts and discarded records that are older than so many days; 0 days: none.';

CREATE  FUNCTION "prune_history"() RETURNS TABLE (
	"runs" bigint,  /* i64 */
	"alerts" bigint,  /* i64 */
	"rejected" bigint  /* i64 */
)
STRICT 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'prune_history_wrapper';
COMMENT ON FUNCTION gn_harvest.prune_history() IS 'Removes now what is older than gn_harvest.run_retention, alert_retention and rejected_retention say; returns how many runs, alerts and discarded records. For superusers; the scheduler does the same by itself, in small steps.';

CREATE OR REPLACE VIEW gn_harvest.all_run AS
SELECT r.id AS run,
       r.source,
       r.mode,
       CASE WHEN r.status = 'running' AND r.mode <> 'check' AND NOT r.source_id IN (SELECT gn_harvest.working_source())
            THEN 'interrupted' ELSE r.status END AS status,
       r.started_by,
       r.created_at AS started_at,
       r.finished_at,
       greatest(coalesce(r.finished_at, statement_timestamp()) - r.created_at, interval '0') AS duration,
       r.fetched,
       r.inserted,
       r.updated,
       r.unchanged,
       r.deleted,
       r.rejected,
       r.skipped,
       r.repeated,
       r.hidden,
       r.frameworks_created,
       r.frameworks_updated,
       r.datasets_created,
       r.datasets_updated,
       r.actors_created,
       r.source_total,
       r.pages,
       r.bytes,
       r.requests,
       r.retries,
       r.watermark_from,
       r.watermark,
       r.resumes,
       r.warnings,
       r.error_sqlstate,
       r.error_message,
       r.error_detail,
       r.error_hint,
       r.source_id,
       r.read_from
FROM gn_harvest.run r;

CREATE OR REPLACE VIEW gn_harvest.run_history WITH (security_barrier) AS
SELECT h.*
FROM gn_harvest.all_run h
WHERE h.mode NOT IN ('check', 'plan')
  AND (h.source_id IN (SELECT gn_harvest.visible_source(current_user))
       OR h.source_id IS NULL AND gn_harvest.sees_everything(current_user));
COMMENT ON COLUMN gn_harvest.run_history.read_from IS 'The file that it read in place of the export, and when that was written (bootstrap_url); null: the export.';

DO $$
DECLARE
    shared record;
BEGIN
    FOR shared IN
        SELECT a.attname, pg_catalog.col_description(a.attrelid, a.attnum) AS words
        FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = 'gn_harvest.run_history'::pg_catalog.regclass AND a.attnum > 0
    LOOP
        EXECUTE pg_catalog.format('COMMENT ON COLUMN gn_harvest.all_run.%I IS %L', shared.attname, shared.words);
    END LOOP;
END
$$;

CREATE VIEW gn_harvest.run_progress WITH (security_barrier) AS
SELECT r.id AS run,
       r.source,
       r.mode,
       r.phase,
       r.done,
       r.total,
       CASE WHEN r.total > 0 THEN least(100, round(100.0 * r.done / r.total, 1)) END AS percent,
       round(r.done / greatest(extract(epoch FROM clock_timestamp() - r.created_at), 0.001), 1) AS rate,
       CASE WHEN r.done > 0 AND r.total >= r.done
            THEN date_trunc('second', (clock_timestamp() - r.created_at) * ((r.total - r.done)::double precision / r.done)) END AS remaining,
       CASE WHEN r.done > 0 AND r.total >= r.done
            THEN date_trunc('second', clock_timestamp() + (clock_timestamp() - r.created_at) * ((r.total - r.done)::double precision / r.done)) END AS eta,
       r.requests,
       r.retries,
       r.http_status,
       r.pid,
       ARRAY(SELECT a.pid FROM pg_catalog.pg_stat_activity a WHERE a.pid = ANY (r.writers) ORDER BY a.pid) AS writers,
       r.created_at AS started_at
FROM gn_harvest.run r
WHERE r.status = 'running'
  AND r.mode <> 'check'
  AND r.source_id IN (SELECT gn_harvest.working_source())
  AND r.source_id IN (SELECT gn_harvest.visible_source(current_user));
COMMENT ON VIEW gn_harvest.run_progress IS 'Runs that are working now, visible to every session as they go on.';
COMMENT ON COLUMN gn_harvest.run_progress.run IS 'Number of the run: cancel(run) stops it, wait_for(run) waits for it.';
COMMENT ON COLUMN gn_harvest.run_progress.source IS 'Name of the source.';
COMMENT ON COLUMN gn_harvest.run_progress.mode IS 'full, incremental, reconcile, retry, drop or plan.';
COMMENT ON COLUMN gn_harvest.run_progress.phase IS 'What it is doing.';
COMMENT ON COLUMN gn_harvest.run_progress.done IS 'Records treated so far.';
COMMENT ON COLUMN gn_harvest.run_progress.total IS 'Records that it expects; null while unknown.';
COMMENT ON COLUMN gn_harvest.run_progress.percent IS 'done / total, in percent.';
COMMENT ON COLUMN gn_harvest.run_progress.rate IS 'Records a second since it began.';
COMMENT ON COLUMN gn_harvest.run_progress.remaining IS 'Time left at that rate.';
COMMENT ON COLUMN gn_harvest.run_progress.eta IS 'When it will have read all, at that rate.';
COMMENT ON COLUMN gn_harvest.run_progress.requests IS 'HTTP requests so far.';
COMMENT ON COLUMN gn_harvest.run_progress.retries IS 'Of which repeated after an error.';
COMMENT ON COLUMN gn_harvest.run_progress.http_status IS 'HTTP status of the last answer.';
COMMENT ON COLUMN gn_harvest.run_progress.pid IS 'Process of its worker, as in pg_stat_activity.';
COMMENT ON COLUMN gn_harvest.run_progress.writers IS 'Processes that write for that worker, when several share the run; empty: it writes itself.';
COMMENT ON COLUMN gn_harvest.run_progress.started_at IS 'When it began.';

CREATE VIEW gn_harvest.source_status WITH (security_barrier) AS
SELECT s.name AS source,
       s.organism,
       gn_harvest.frequency(s.schedule, s.reconcile_schedule) AS frequency,
       st.last_success_at AS last_import,
       st.observations,
       worst.message AS alert,
       CASE WHEN s.enabled AND (SELECT gn_harvest.schedule_obstacle()) IS NULL
            THEN gn_harvest.next_run(g.source_id, g.schedule, g.reconcile_schedule, g.jitter, g.allowed_hours,
                                     g.ticks_settled_at, g.reconciles_settled_at, g.broken_off_mode, g.broken_off_at)
       END AS next_run,
       CASE WHEN s.id IN (SELECT gn_harvest.working_source()) THEN gn_harvest.word('running')
            WHEN NOT s.enabled THEN gn_harvest.word('paused')
            WHEN last.status IS NULL THEN gn_harvest.word('never run')
            ELSE gn_harvest.word(last.status) END AS state,
       s.enabled,
       st.paused_reason,
       (SELECT coalesce(sum(n.records), 0)::bigint FROM gn_harvest.rejected_tally n WHERE n.source_id = s.id) AS rejected,
       st.consecutive_failures,
       last.error_message AS last_error,
       last.run AS last_run,
       st.watermark,
       s.url,
       s.export_id,
       s.owner,
       s.organism_uuid,
       worst.severity AS alert_severity,
       coalesce(worst.alerts, 0) AS alerts
FROM gn_harvest.source s
JOIN gn_harvest.source_state st ON st.source_id = s.id
JOIN gn_harvest.standing g ON g.source_id = s.id
LEFT JOIN LATERAL (SELECT h.* FROM gn_harvest.all_run h
                   WHERE h.source_id = s.id AND h.mode NOT IN ('check', 'plan')
                   ORDER BY h.run DESC LIMIT 1) last ON true
LEFT JOIN LATERAL (SELECT a.severity, gn_harvest.alert_text(a.rule, a.facts::text, gn_harvest.in_french()) AS message,
                          count(*) OVER () AS alerts
                   FROM gn_harvest.alert a
                   WHERE a.source_id = s.id AND a.resolved_at IS NULL
                   ORDER BY array_position('{critical,warning,info}'::text[], a.severity), a.opened_at DESC LIMIT 1) worst ON true
WHERE s.id IN (SELECT gn_harvest.visible_source(current_user));
COMMENT ON VIEW gn_harvest.source_status IS 'One row a source: how it is doing. Words in the language of gn_harvest.language.';
COMMENT ON COLUMN gn_harvest.source_status.source IS 'Name of the source.';
COMMENT ON COLUMN gn_harvest.source_status.organism IS 'Organism that the data come from.';
COMMENT ON COLUMN gn_harvest.source_status.frequency IS 'How often it runs, in words.';
COMMENT ON COLUMN gn_harvest.source_status.last_import IS 'End of its last run that succeeded.';
COMMENT ON COLUMN gn_harvest.source_status.next_run IS 'When it runs next by itself: a time past is that of a run that waits for its turn; null when nothing will run it (manual, paused, or as scheduler_status says).';
COMMENT ON COLUMN gn_harvest.source_status.observations IS 'Observations that it holds in the target.';
COMMENT ON COLUMN gn_harvest.source_status.state IS 'running, paused, never run, or how its last run ended, in words.';
COMMENT ON COLUMN gn_harvest.source_status.enabled IS 'False after pause_source, or after too many failures.';
COMMENT ON COLUMN gn_harvest.source_status.paused_reason IS 'Why it is paused.';
COMMENT ON COLUMN gn_harvest.source_status.rejected IS 'Rejected records that wait.';
COMMENT ON COLUMN gn_harvest.source_status.consecutive_failures IS 'Runs that have failed in a row.';
COMMENT ON COLUMN gn_harvest.source_status.last_error IS 'Error of its last run; null when that went well.';
COMMENT ON COLUMN gn_harvest.source_status.last_run IS 'Number of its last run.';
COMMENT ON COLUMN gn_harvest.source_status.watermark IS 'Greatest date of change seen, as the source wrote it.';
COMMENT ON COLUMN gn_harvest.source_status.url IS 'Address of the partner''s GeoNature.';
COMMENT ON COLUMN gn_harvest.source_status.export_id IS 'Number of the export there.';
COMMENT ON COLUMN gn_harvest.source_status.owner IS 'Role as which its runs write.';
COMMENT ON COLUMN gn_harvest.source_status.alert IS 'Message of its gravest open alert; null when all is well.';
COMMENT ON COLUMN gn_harvest.source_status.alert_severity IS 'info, warning or critical.';
COMMENT ON COLUMN gn_harvest.source_status.alerts IS 'How many of its alerts are open; open_alert lists them.';
COMMENT ON COLUMN gn_harvest.source_status.organism_uuid IS 'UUID of the organism in the national register.';

CREATE VIEW gn_harvest.dashboard WITH (security_barrier) AS
WITH visible AS MATERIALIZED (
    SELECT s.id, s.organism, s.organism_uuid, s.url FROM gn_harvest.source s
    WHERE s.id IN (SELECT gn_harvest.visible_source(current_user)))
SELECT (SELECT coalesce(sum(st.observations), 0)::bigint FROM gn_harvest.source_state st
        WHERE st.source_id IN (SELECT v.id FROM visible v)) AS observations,
       (SELECT count(*) FROM (
            SELECT FROM (SELECT n.cd_nom FROM gn_harvest.taxon_tally n
                         WHERE n.source_id IN (SELECT v.id FROM visible v)
                         GROUP BY n.cd_nom HAVING sum(n.observations) > 0) held
            LEFT JOIN gn_harvest.taxon t ON t.cd_nom = held.cd_nom
            GROUP BY coalesce(t.cd_ref, held.cd_nom)) valid) AS taxa,
       (SELECT count(DISTINCT coalesce(v.organism_uuid::text, named.uuid::text, lower(v.organism), split_part(v.url, '/', 3)))
        FROM visible v
        LEFT JOIN (SELECT lower(o.organism) AS name, min(o.organism_uuid::text) AS uuid FROM visible o GROUP BY 1) named
               ON named.name = lower(v.organism)) AS organisms,
       (SELECT count(*) FROM (
            SELECT FROM gn_harvest.dataset_tally n WHERE n.source_id IN (SELECT v.id FROM visible v)
            GROUP BY n.id_dataset HAVING sum(n.observations) > 0) held) AS datasets,
       (SELECT count(*) FROM visible) AS sources,
       (SELECT count(*) FROM gn_harvest.run_progress) AS running,
       (SELECT coalesce(sum(n.records), 0)::bigint FROM gn_harvest.rejected_tally n
        WHERE n.source_id IN (SELECT v.id FROM visible v)) AS rejected,
       (SELECT count(*) FROM gn_harvest.open_alert) AS open_alerts,
       last.source AS last_run_source,
       last.status AS last_run_status,
       last.started_at AS last_run
FROM (SELECT) one_row
LEFT JOIN LATERAL (
    SELECT h.source, h.status, h.started_at
    FROM visible v, LATERAL (
        SELECT r.* FROM gn_harvest.all_run r WHERE r.source_id = v.id AND r.mode NOT IN ('check', 'plan') ORDER BY r.run DESC LIMIT 1) h
    ORDER BY h.run DESC LIMIT 1) last ON true;
COMMENT ON VIEW gn_harvest.dashboard IS 'One row: the figures at the top of the screen, of the sources that one may see.';
COMMENT ON COLUMN gn_harvest.dashboard.observations IS 'Observations that came from the sources and are in the target.';
COMMENT ON COLUMN gn_harvest.dashboard.taxa IS 'Taxa of these observations: valid names (cd_ref), so that synonyms count once; a cd_nom counts for itself until a run has found its valid name in taxonomie.taxref.';
COMMENT ON COLUMN gn_harvest.dashboard.organisms IS 'Organisms that are connected: by organism_uuid of their sources, else by organism, else by the host of url.';
COMMENT ON COLUMN gn_harvest.dashboard.datasets IS 'Datasets of the target that hold these observations.';
COMMENT ON COLUMN gn_harvest.dashboard.sources IS 'Sources, paused ones too.';
COMMENT ON COLUMN gn_harvest.dashboard.running IS 'Runs in progress.';
COMMENT ON COLUMN gn_harvest.dashboard.rejected IS 'Rejected records that wait.';
COMMENT ON COLUMN gn_harvest.dashboard.open_alerts IS 'Alerts whose cause is still there.';
COMMENT ON COLUMN gn_harvest.dashboard.last_run_source IS 'Source of the run that began last.';
COMMENT ON COLUMN gn_harvest.dashboard.last_run_status IS 'How it ended, or running.';
COMMENT ON COLUMN gn_harvest.dashboard.last_run IS 'When it began.';

CREATE VIEW gn_harvest.rejected_by_reason WITH (security_barrier) AS
SELECT s.name AS source,
       n.reason,
       sum(n.records)::bigint AS records
FROM gn_harvest.rejected_tally n
JOIN gn_harvest.source s ON s.id = n.source_id
WHERE n.source_id IN (SELECT gn_harvest.visible_source(current_user))
GROUP BY s.name, n.reason
HAVING sum(n.records) > 0
ORDER BY s.name, sum(n.records) DESC, n.reason;
COMMENT ON VIEW gn_harvest.rejected_by_reason IS 'Rejected records that wait, by source and reason: counted, so that it answers at once. rejection_summary goes into the values.';
COMMENT ON COLUMN gn_harvest.rejected_by_reason.source IS 'Name of the source.';
COMMENT ON COLUMN gn_harvest.rejected_by_reason.reason IS 'Reason code (listed in the README).';
COMMENT ON COLUMN gn_harvest.rejected_by_reason.records IS 'How many records wait.';

CREATE FUNCTION gn_harvest.status_page_data() RETURNS json
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT json_build_object(
        'database', current_database(),
        'version', gn_harvest.installed_version(),
        'now', now(),
        'time_zone', current_setting('TimeZone'),
        'today', current_date,
        'dashboard', (SELECT to_json(d) FROM gn_harvest.dashboard d),
        'sources', (SELECT coalesce(json_agg(s ORDER BY s.source), '[]') FROM gn_harvest.source_status s),
        'alerts', (SELECT coalesce(json_agg(a ORDER BY array_position('{critical,warning,info}'::text[], a.severity), a.opened_at DESC), '[]')
                   FROM gn_harvest.open_alert a),
        'progress', (SELECT coalesce(json_agg(p ORDER BY p.run), '[]') FROM gn_harvest.run_progress p),
        'rejected', (SELECT coalesce(json_agg(r), '[]') FROM gn_harvest.rejected_by_reason r),
        'days', (SELECT coalesce(json_agg(d), '[]') FROM (
            -- Under the name that the source has now.
            SELECT s.source,
                   current_date - h.started_at::date AS ago,
                   count(*) AS runs,
                   count(*) FILTER (WHERE h.status IN ('failed', 'blocked', 'interrupted')) AS failures,
                   sum(h.inserted) AS inserted,
                   sum(h.updated) AS updated,
                   sum(h.deleted) AS deleted,
                   sum(h.rejected) AS rejected
            FROM gn_harvest.source_status s
            JOIN gn_harvest.run_history l ON l.run = s.last_run
            JOIN gn_harvest.run_history h ON h.source_id = l.source_id AND h.started_at >= (current_date - 29)::timestamptz
            GROUP BY s.source, h.started_at::date) d))
$$;
COMMENT ON FUNCTION gn_harvest.status_page_data() IS 'What the status page shows, as JSON: the views, as whoever asks may see them, and what runs did in each of the last thirty days.';

CREATE FUNCTION gn_harvest.installed_version() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT extversion FROM pg_extension WHERE extname = 'gn_harvest'
$$;
COMMENT ON FUNCTION gn_harvest.installed_version() IS 'Version of the extension in this database.';

CREATE FUNCTION gn_harvest.status_page(language text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    before  text := coalesce(current_setting('gn_harvest.language', true), '');
    page    text;
BEGIN
    IF language NOT IN ('fr', 'en') THEN
        RAISE EXCEPTION 'language can not be "%"', language
            USING ERRCODE = 'invalid_parameter_value', HINT = 'It is one of: fr, en; without it, that of gn_harvest.language.';
    END IF;
    IF language IS NOT NULL THEN
        PERFORM set_config('gn_harvest.language', language, true);
    END IF;
    page := gn_harvest.render_status_page(gn_harvest.status_page_data()::text, gn_harvest.in_french());
    PERFORM set_config('gn_harvest.language', before, true);
    RETURN page;
END
$$;
COMMENT ON FUNCTION gn_harvest.status_page(text) IS 'One self-contained HTML page that says how the sources are doing, of those that the caller may see; language fr or en, by default that of gn_harvest.language.';

CREATE VIEW gn_harvest.metrics WITH (security_barrier) AS
WITH visible AS MATERIALIZED (
    SELECT v.id FROM gn_harvest.visible_source(current_user) v(id)),
taxa AS MATERIALIZED (
    SELECT valid.source_id, count(*) AS taxa
    FROM (SELECT held.source_id
          FROM (SELECT n.source_id, n.cd_nom FROM gn_harvest.taxon_tally n WHERE n.source_id IN (SELECT v.id FROM visible v)
                GROUP BY n.source_id, n.cd_nom HAVING sum(n.observations) > 0) held
          LEFT JOIN gn_harvest.taxon t ON t.cd_nom = held.cd_nom
          GROUP BY held.source_id, coalesce(t.cd_ref, held.cd_nom)) valid
    GROUP BY valid.source_id),
datasets AS MATERIALIZED (
    SELECT held.source_id, count(*) AS datasets
    FROM (SELECT n.source_id FROM gn_harvest.dataset_tally n WHERE n.source_id IN (SELECT v.id FROM visible v)
          GROUP BY n.source_id, n.id_dataset HAVING sum(n.observations) > 0) held
    GROUP BY held.source_id),
progress AS MATERIALIZED (
    SELECT p.source FROM gn_harvest.run_progress p)
SELECT s.source, m.metric, m.value::double precision AS value, m.unit, m.help
FROM gn_harvest.source_status s
JOIN gn_harvest.source o ON o.name = s.source
LEFT JOIN taxa h ON h.source_id = o.id
LEFT JOIN datasets d ON d.source_id = o.id
LEFT JOIN gn_harvest.all_run r ON r.run = s.last_run,
LATERAL (VALUES
    ('gn_harvest_observations', s.observations::numeric, 'observations', 'Observations that it holds in the target.'),
    ('gn_harvest_taxa', coalesce(h.taxa, 0), 'taxa', 'Taxa of these observations.'),
    ('gn_harvest_datasets', coalesce(d.datasets, 0), 'datasets', 'Datasets of the target that hold them.'),
    ('gn_harvest_rejected_records', s.rejected, 'records', 'Rejected records that wait.'),
    ('gn_harvest_open_alerts', s.alerts, 'alerts', 'Its open alerts.'),
    ('gn_harvest_enabled', s.enabled::integer, 'boolean', '1 unless it is paused.'),
    ('gn_harvest_running', (s.source IN (SELECT p.source FROM progress p))::integer, 'boolean', '1 while it is harvested.'),
    ('gn_harvest_consecutive_failures', s.consecutive_failures, 'runs', 'Runs that have failed in a row.'),
    ('gn_harvest_last_success_timestamp_seconds', extract(epoch FROM s.last_import), 'seconds', 'End of its last run that succeeded, since 1970.'),
    ('gn_harvest_next_run_timestamp_seconds', extract(epoch FROM s.next_run), 'seconds', 'When it runs next by itself, since 1970; not there when nothing will run it.'),
    ('gn_harvest_last_run_timestamp_seconds', extract(epoch FROM r.started_at), 'seconds', 'Beginning of its last run, since 1970.'),
    ('gn_harvest_last_run_duration_seconds', extract(epoch FROM r.duration), 'seconds', 'How long its last run took, or has taken so far.'),
    ('gn_harvest_last_run_succeeded', CASE WHEN r.status <> 'running' THEN (r.status = 'succeeded')::integer END, 'boolean', '1 if its last run succeeded; not there while it works.'),
    ('gn_harvest_last_run_fetched_records', r.fetched, 'records', 'Records that its last run read.'),
    ('gn_harvest_last_run_inserted_observations', r.inserted, 'observations', 'Observations that its last run inserted.'),
    ('gn_harvest_last_run_updated_observations', r.updated, 'observations', 'Observations that its last run updated.'),
    ('gn_harvest_last_run_deleted_observations', r.deleted, 'observations', 'Observations that its last run deleted.'),
    ('gn_harvest_last_run_rejected_records', r.rejected, 'records', 'Records that its last run rejected.'),
    ('gn_harvest_last_run_requests', r.requests, 'requests', 'HTTP requests of its last run.'),
    ('gn_harvest_last_run_retries', r.retries, 'requests', 'Of which repeated after an error.'),
    ('gn_harvest_last_run_received_bytes', r.bytes, 'bytes', 'Bytes that its last run received.')
) m(metric, value, unit, help)
WHERE m.value IS NOT NULL
UNION ALL
SELECT NULL, m.metric, m.value::double precision, m.unit, m.help
FROM gn_harvest.dashboard d,
LATERAL (VALUES
    ('gn_harvest_platform_observations', d.observations, 'observations', 'Observations that came from all sources.'),
    ('gn_harvest_platform_taxa', d.taxa, 'taxa', 'Taxa of these observations.'),
    ('gn_harvest_platform_organisms', d.organisms, 'organisms', 'Organisms that are connected.'),
    ('gn_harvest_platform_datasets', d.datasets, 'datasets', 'Datasets that hold these observations.'),
    ('gn_harvest_platform_sources', d.sources, 'sources', 'Sources.'),
    ('gn_harvest_platform_running', d.running, 'runs', 'Runs in progress.'),
    ('gn_harvest_platform_rejected_records', d.rejected, 'records', 'Rejected records that wait.'),
    ('gn_harvest_platform_open_alerts', d.open_alerts, 'alerts', 'Open alerts, those of no source too.')
) m(metric, value, unit, help);
COMMENT ON VIEW gn_harvest.metrics IS 'Measures for monitoring, of the sources that one may see: a row for each source and measure, and those of the whole without source. All are gauges. examples/ has a configuration of prometheus-sql-exporter that reads it.';
COMMENT ON COLUMN gn_harvest.metrics.source IS 'Name of the source; null for measures of the whole.';
COMMENT ON COLUMN gn_harvest.metrics.metric IS 'Name of the measure, in the manner of Prometheus.';
COMMENT ON COLUMN gn_harvest.metrics.value IS 'Its value now.';
COMMENT ON COLUMN gn_harvest.metrics.unit IS 'What it counts; boolean: 0 or 1.';
COMMENT ON COLUMN gn_harvest.metrics.help IS 'What it says.';

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

CREATE FUNCTION gn_harvest.managed_channel(channel_name text) RETURNS gn_harvest.channel
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found_channel gn_harvest.channel;
BEGIN
    SELECT * INTO found_channel FROM gn_harvest.channel c WHERE c.name = channel_name;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'channel "%" does not exist', channel_name
            USING ERRCODE = 'undefined_object',
                  HINT = 'SELECT channel FROM gn_harvest.channel_status lists the channels; gn_harvest.add_channel(...) adds one.';
    END IF;
    IF NOT gn_harvest.may_manage(gn_harvest.caller(), found_channel.owner) THEN
        RAISE EXCEPTION 'role "%" may not manage channel "%"', gn_harvest.caller(), channel_name
            USING ERRCODE = 'insufficient_privilege', DETAIL = format('It belongs to role "%s".', found_channel.owner),
                  HINT = format('GRANT %I TO %I;', found_channel.owner, gn_harvest.caller());
    END IF;
    RETURN found_channel;
END
$$;
COMMENT ON FUNCTION gn_harvest.managed_channel(text) IS 'A channel that the caller may manage, or an error.';

CREATE FUNCTION gn_harvest.check_channel_arguments(kind text, template text, given text[]) RETURNS void
LANGUAGE plpgsql IMMUTABLE
AS $$
#variable_conflict use_variable
DECLARE
    takes   text[];
    needs   text[];
    example text;
    refused text;
BEGIN
    CASE kind
        WHEN 'notify' THEN
            takes := '{listen}';
            needs := '{listen}';
            example := 'SELECT gn_harvest.add_channel(''supervision'', ''notify'', listen => ''gn_harvest_alert'');';
        WHEN 'email' THEN
            takes := '{host,port,tls,login,password,sender,recipients,ca_certificate}';
            needs := '{host,sender,recipients}';
            example := 'SELECT gn_harvest.add_channel(''mail'', ''email'', host => ''smtp.example.org'', login => ''...'', password => ''...'', sender => ''sinp@example.org'', recipients => ''{geomatique@example.org}'');';
        WHEN 'geonature' THEN
            takes := '{roles,url}';
            needs := '{roles}';
            example := 'SELECT gn_harvest.add_channel(''cloche'', ''geonature'', roles => ''{admin}'');';
        ELSE
            takes := CASE template WHEN 'telegram' THEN '{template,url,token,chat_id,ca_certificate}'::text[]
                                   WHEN 'generic' THEN '{template,url,token,ca_certificate}' ELSE '{template,url,ca_certificate}' END;
            needs := CASE template WHEN 'telegram' THEN '{token,chat_id}'::text[] ELSE '{url}' END;
            example := CASE template WHEN 'telegram' THEN 'SELECT gn_harvest.add_channel(''telegram'', ''webhook'', template => ''telegram'', token => ''...'', chat_id => ''...'');'
                                     ELSE 'SELECT gn_harvest.add_channel(''equipe'', ''webhook'', template => ''mattermost'', url => ''https://...'');' END;
    END CASE;
    SELECT g INTO refused FROM pg_catalog.unnest(given) g WHERE g <> ALL (takes) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'a channel of kind % takes no %', pg_catalog.concat_ws(' ', kind, template), refused
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = pg_catalog.format('It takes: %s.', pg_catalog.array_to_string(takes, ', '));
    END IF;
    SELECT n INTO refused FROM pg_catalog.unnest(needs) n WHERE n <> ALL (given) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'a channel of kind % needs %', pg_catalog.concat_ws(' ', kind, template), refused
            USING ERRCODE = 'invalid_parameter_value', HINT = example;
    END IF;
END
$$;
COMMENT ON FUNCTION gn_harvest.check_channel_arguments(text, text, text[]) IS 'Refuses arguments that a kind of channel does not take, or lacks.';

CREATE FUNCTION gn_harvest.email_settings(host text, port integer, tls text, login text, password text, sender text, recipients text[], ca_certificate text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    is_here boolean := host IN ('localhost', '::1') OR host ~ '^127(\.\d{1,3}){3}$';
    means   text := coalesce(tls, CASE WHEN port = 465 THEN 'implicit' WHEN is_here THEN 'none' ELSE 'starttls' END);
BEGIN
    PERFORM gn_harvest.check_choice('tls', means, '{none,starttls,implicit}');
    PERFORM gn_harvest.check_range('port', port, 1, 65535);
    IF host !~ '^[A-Za-z0-9._:-]{1,253}$' THEN
        RAISE EXCEPTION 'host "%" is not the name of a server', host
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give a name such as ''smtp.example.org''; the port goes into port => ...';
    END IF;
    IF (login IS NULL) <> (password IS NULL) THEN
        RAISE EXCEPTION 'a login needs its password, and a password its login'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give both, or neither when the mail server asks for none.';
    END IF;
    IF means = 'none' AND login IS NOT NULL AND NOT is_here THEN
        RAISE EXCEPTION 'a password does not go to another host in the clear'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give tls => ''starttls'' or ''implicit'', or no login.';
    END IF;
    IF cardinality(recipients) = 0 OR array_position(recipients, NULL) IS NOT NULL THEN
        RAISE EXCEPTION 'recipients must name at least one address, and none that is null'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'recipients => ''{geomatique@example.org,sinp@example.org}''';
    END IF;
    PERFORM gn_harvest.check_email_address(a) FROM unnest(recipients || sender) a;
    RETURN jsonb_build_object(
        'host', host, 'tls', means, 'login', login, 'sender', sender, 'recipients', to_jsonb(recipients), 'ca_certificate', ca_certificate,
        'port', coalesce(port, CASE means WHEN 'implicit' THEN 465 WHEN 'starttls' THEN 587 ELSE 25 END));
END
$$;
COMMENT ON FUNCTION gn_harvest.email_settings(text, integer, text, text, text, text, text[], text) IS 'Settings of a channel of e-mail, checked and with what is usual.';

CREATE FUNCTION gn_harvest.add_channel(
    name             text,
    kind             text,
    listen           text     DEFAULT NULL,
    host             text     DEFAULT NULL,
    port             integer  DEFAULT NULL,
    tls              text     DEFAULT NULL,
    login            text     DEFAULT NULL,
    password         text     DEFAULT NULL,
    sender           text     DEFAULT NULL,
    recipients       text[]   DEFAULT NULL,
    url              text     DEFAULT NULL,
    template         text     DEFAULT NULL,
    token            text     DEFAULT NULL,
    chat_id          text     DEFAULT NULL,
    roles            text[]   DEFAULT NULL,
    ca_certificate   text     DEFAULT NULL,
    minimum_severity text     DEFAULT 'warning',
    sources          text[]   DEFAULT NULL,
    language         text     DEFAULT NULL,
    digest           interval DEFAULT NULL,
    owner            name     DEFAULT NULL
) RETURNS gn_harvest.channel_status
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    settings jsonb;
    ids      integer[];
    added    integer;
    result   gn_harvest.channel_status;
BEGIN
    PERFORM gn_harvest.hide_statement('add_channel');
    IF add_channel.name IS NULL OR add_channel.name !~ '^\S(.{0,61}\S)?$' THEN
        RAISE EXCEPTION 'the name of a channel has 1 to 63 characters and neither begins nor ends with a space'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give a name such as ''mail''.';
    END IF;
    PERFORM gn_harvest.check_choice('kind', add_channel.kind, '{notify,email,webhook,geonature}');
    IF EXISTS (SELECT FROM gn_harvest.channel c WHERE c.name = add_channel.name) THEN
        RAISE EXCEPTION 'channel "%" exists already', add_channel.name
            USING ERRCODE = 'duplicate_object', HINT = format('SELECT gn_harvest.drop_channel(%L); drops it, or choose another name.', add_channel.name);
    END IF;
    IF add_channel.kind = 'webhook' THEN
        add_channel.template := coalesce(add_channel.template, 'generic');
        PERFORM gn_harvest.check_choice('template', add_channel.template, '{generic,mattermost,slack,teams,telegram}');
    END IF;
    PERFORM gn_harvest.check_choice('minimum_severity', add_channel.minimum_severity, '{info,warning,critical}');
    add_channel.language := coalesce(add_channel.language, CASE WHEN gn_harvest.in_french() THEN 'fr' ELSE 'en' END);
    PERFORM gn_harvest.check_choice('language', add_channel.language, '{fr,en}');
    add_channel.digest := coalesce(add_channel.digest, CASE add_channel.kind WHEN 'notify' THEN interval '0' ELSE interval '10 minutes' END);
    IF add_channel.digest NOT BETWEEN interval '0' AND interval '7 days' THEN
        RAISE EXCEPTION 'digest must be between 0 and 7 days'
            USING ERRCODE = 'invalid_parameter_value', DETAIL = format('Value given: %s.', add_channel.digest),
                  HINT = 'After a message, what comes within this time goes in one. The default is interval ''10 minutes''.';
    END IF;
    PERFORM gn_harvest.check_owner(add_channel.owner);
    PERFORM gn_harvest.check_channel_arguments(add_channel.kind, add_channel.template, ARRAY(
        SELECT g.argument FROM (VALUES ('listen', add_channel.listen), ('host', add_channel.host), ('port', add_channel.port::text), ('tls', add_channel.tls),
            ('login', add_channel.login), ('password', add_channel.password), ('sender', add_channel.sender), ('recipients', add_channel.recipients::text),
            ('url', add_channel.url), ('template', add_channel.template), ('token', add_channel.token), ('chat_id', add_channel.chat_id),
            ('roles', add_channel.roles::text), ('ca_certificate', add_channel.ca_certificate)) g(argument, given)
        WHERE g.given IS NOT NULL));
    CASE add_channel.kind
        WHEN 'notify' THEN
            IF octet_length(add_channel.listen) NOT BETWEEN 1 AND 63 THEN
                RAISE EXCEPTION 'listen must have 1 to 63 bytes'
                    USING ERRCODE = 'invalid_parameter_value', HINT = 'It is the name that others LISTEN to, such as ''gn_harvest_alert''.';
            END IF;
            settings := jsonb_build_object('listen', add_channel.listen);
        WHEN 'email' THEN
            settings := gn_harvest.email_settings(add_channel.host, add_channel.port, add_channel.tls, add_channel.login, add_channel.password,
                                                  add_channel.sender, add_channel.recipients, add_channel.ca_certificate);
        WHEN 'geonature' THEN
            IF cardinality(add_channel.roles) = 0 OR array_position(add_channel.roles, NULL) IS NOT NULL THEN
                RAISE EXCEPTION 'roles must name at least one role, and none that is null'
                    USING ERRCODE = 'invalid_parameter_value', HINT = 'Give identifiant or id_role of utilisateurs.t_roles: roles => ''{admin,12}''. A group stands for its members.';
            END IF;
            PERFORM gn_harvest.webhook_origin(add_channel.url) WHERE add_channel.url IS NOT NULL;
            settings := jsonb_build_object('roles', to_jsonb(add_channel.roles), 'link', add_channel.url);
            add_channel.url := NULL;
        ELSE
            IF add_channel.template = 'telegram' THEN
                add_channel.url := coalesce(add_channel.url, 'https://api.telegram.org');
                IF add_channel.token !~ '^[A-Za-z0-9:_-]{1,200}$' THEN
                    RAISE EXCEPTION 'the token is not that of a bot'
                        USING ERRCODE = 'invalid_parameter_value', HINT = 'It has digits, a colon and letters, as BotFather gave it.';
                END IF;
            END IF;
            settings := jsonb_build_object('template', add_channel.template, 'origin', gn_harvest.webhook_origin(add_channel.url),
                                           'chat_id', add_channel.chat_id, 'ca_certificate', add_channel.ca_certificate);
    END CASE;
    IF cardinality(add_channel.sources) = 0 THEN
        RAISE EXCEPTION 'sources must name at least one source'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave it out for all that the owner may see.';
    END IF;
    ids := ARRAY(SELECT (gn_harvest.managed_source(s)).id FROM unnest(add_channel.sources) s);
    INSERT INTO gn_harvest.channel AS c (name, kind, settings, minimum_severity, source_ids, language, digest, owner)
    VALUES (add_channel.name, add_channel.kind, jsonb_strip_nulls(settings), add_channel.minimum_severity,
            CASE WHEN add_channel.sources IS NOT NULL THEN ids END, add_channel.language, add_channel.digest, coalesce(add_channel.owner, gn_harvest.caller()))
    RETURNING c.id INTO added;
    INSERT INTO gn_harvest.channel_secret (channel_id, url, password, token) VALUES (added, add_channel.url, add_channel.password, add_channel.token);
    SELECT s.* INTO result FROM gn_harvest.channel_status s WHERE s.channel = add_channel.name;
    RETURN result;
END
$$;
COMMENT ON FUNCTION gn_harvest.add_channel IS 'Adds a way to tell people of alerts: notify (NOTIFY with JSON), email (SMTP), webhook (generic, mattermost, slack, teams, telegram) or geonature (the bell of GeoNature). It tells of what its owner may see. test_channel tries it.';

CREATE FUNCTION gn_harvest.drop_channel(name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    dropped gn_harvest.channel := gn_harvest.managed_channel(name);
BEGIN
    DELETE FROM gn_harvest.channel c WHERE c.id = dropped.id;
END
$$;
COMMENT ON FUNCTION gn_harvest.drop_channel(text) IS 'Removes a channel, its secrets and what it had still to tell.';

CREATE FUNCTION gn_harvest.test_channel(name text) RETURNS TABLE (worked boolean, error text, hint text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    tried  gn_harvest.channel := gn_harvest.managed_channel(name);
    number bigint := gn_harvest.start_test(tried.id);
BEGIN
    RETURN QUERY
        SELECT o.sent_at IS NOT NULL, o.last_error, o.last_hint FROM gn_harvest.outbox o WHERE o.id = number;
    IF NOT FOUND THEN
        RETURN QUERY SELECT false, 'the test left no trace', 'The server''s log says why its worker could not work.';
    END IF;
END
$$;
COMMENT ON FUNCTION gn_harvest.test_channel(text) IS 'Sends a test message by a channel, in a background worker, and says whether that worked and if not, why. After one that worked, what waited goes out.';

CREATE FUNCTION gn_harvest.send_alerts(OUT sent bigint, OUT waiting bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    since timestamptz := clock_timestamp();
BEGIN
    PERFORM gn_harvest.start_sending();
    SELECT count(*) FILTER (WHERE o.sent_at >= since), count(*) FILTER (WHERE o.sent_at IS NULL AND o.given_up_at IS NULL)
    INTO sent, waiting
    FROM gn_harvest.outbox o;
END
$$;
COMMENT ON FUNCTION gn_harvest.send_alerts() IS 'Looks at the rules that depend on time and sends what waits, in a background worker; returns how many events were sent, and how many wait still. For databases where no scheduler does it: call it by hand or by pg_cron.';
COMMENT ON FUNCTION gn_harvest.run(text, text, boolean, boolean) IS 'Harvests a source now, in a background worker. auto: incremental if there is a watermark, else full (as after adopt_gn2pg), and an interrupted full goes on where it stopped. reconcile: full, and what the source no longer has is deleted here. allow_loss lets it delete more than max_loss, once. wait => false returns at once. Returns the run''s row; a run that failed says why there.';

CREATE FUNCTION gn_harvest.plan(name text, mode text DEFAULT 'auto') RETURNS TABLE (action text, object text, records bigint, reason text, detail text, samples jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wanted  gn_harvest.source := gn_harvest.managed_source(name);
    planned bigint;
    ended   gn_harvest.run;
BEGIN
    PERFORM gn_harvest.check_choice('mode', mode, '{auto,full,incremental,reconcile}');
    planned := gn_harvest.start_worker(wanted.id, 'plan ' || mode, gn_harvest.caller(), true, false);
    SELECT * INTO ended FROM gn_harvest.run r WHERE r.id = planned;
    IF ended.status <> 'succeeded' THEN
        RAISE EXCEPTION 'the run of source "%" could not be planned: %', name, coalesce(ended.error_message, 'its worker is gone')
            USING ERRCODE = coalesce(ended.error_sqlstate, '57P02'), DETAIL = coalesce(ended.error_detail, ''), HINT = coalesce(ended.error_hint, '');
    END IF;
    RETURN QUERY
        SELECT p.action, p.object, p.records, p.reason, p.detail, p.samples
        FROM gn_harvest.plan_result p WHERE p.run_id = planned ORDER BY p.no;
END
$$;
COMMENT ON FUNCTION gn_harvest.plan(text, text) IS 'What a run would do now, without doing it: how many observations would be inserted, updated (in which columns), deleted, rejected (why), what would be created or changed of metadata, with examples. Reads the partner like a run. What only triggers and constraints of the target refuse is not foreseen.';

CREATE FUNCTION gn_harvest.add_source(
    name                 text,
    url                  text,
    export_id            integer,
    login                text     DEFAULT NULL,
    password             text     DEFAULT NULL,
    token                text     DEFAULT NULL,
    organism             text     DEFAULT NULL,
    organism_uuid        uuid     DEFAULT NULL,
    metadata_export_id   integer  DEFAULT NULL,
    target               text     DEFAULT NULL,
    deletion_export_id   integer  DEFAULT NULL,
    data_type            text     DEFAULT NULL,
    format               text     DEFAULT NULL,
    filters              jsonb    DEFAULT NULL,
    key_column           text     DEFAULT NULL,
    date_column          text     DEFAULT NULL,
    connections          integer  DEFAULT NULL,
    writers              integer  DEFAULT NULL,
    page_size            integer  DEFAULT NULL,
    uncapped_pages       boolean  DEFAULT NULL,
    load                 text     DEFAULT NULL,
    retry_budget         integer  DEFAULT NULL,
    look_back            interval DEFAULT NULL,
    allowed_hours        text     DEFAULT NULL,
    pause_after_failures integer  DEFAULT NULL,
    protected_columns    text[]   DEFAULT NULL,
    on_unknown_value     text     DEFAULT NULL,
    on_uuid_conflict     text     DEFAULT NULL,
    max_loss             numeric  DEFAULT NULL,
    priority             integer  DEFAULT NULL,
    contract             text     DEFAULT NULL,
    ca_certificate       text     DEFAULT NULL,
    metadata_mode        text     DEFAULT NULL,
    target_dataset       uuid     DEFAULT NULL,
    create_persons       boolean  DEFAULT NULL,
    organisms_by_name    boolean  DEFAULT NULL,
    after_run            text     DEFAULT NULL,
    schedule             text     DEFAULT NULL,
    reconcile_schedule   text     DEFAULT NULL,
    schedule_jitter      interval DEFAULT NULL,
    bootstrap_url        text     DEFAULT NULL,
    owner                name     DEFAULT NULL
) RETURNS gn_harvest.source
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    settings jsonb;
    former   integer;
    added    gn_harvest.source;
BEGIN
    PERFORM gn_harvest.hide_statement('add_source');
    IF add_source.name IS NULL OR add_source.url IS NULL OR add_source.export_id IS NULL THEN
        RAISE EXCEPTION 'a source needs a name, a url and an export_id'
            USING ERRCODE = 'null_value_not_allowed',
                  HINT = 'SELECT gn_harvest.add_source(''CEN Alpes'', ''https://geonature.example.org'', 3, token => ''...'');';
    END IF;
    IF EXISTS (SELECT FROM gn_harvest.source s WHERE s.name = add_source.name) THEN
        RAISE EXCEPTION 'source "%" exists already', add_source.name
            USING ERRCODE = 'duplicate_object', HINT = 'Change it with gn_harvest.alter_source(...), or choose another name.';
    END IF;
    IF add_source.data_type IS NOT NULL THEN
        PERFORM gn_harvest.check_choice('data_type', add_source.data_type, '{synthese,synthese_with_cd_nomenclature,synthese_with_metadata}');
        -- GN2PG's names say what the export gives; the stock view is the one with labels.
        add_source.format := coalesce(add_source.format, CASE add_source.data_type WHEN 'synthese' THEN 'labels' ELSE 'codes' END);
    END IF;
    PERFORM gn_harvest.check_owner(add_source.owner);
    settings := jsonb_strip_nulls(jsonb_build_object(
        'organism', organism, 'organism_uuid', organism_uuid, 'metadata_export_id', metadata_export_id, 'target', target, 'deletion_export_id', deletion_export_id,
        'format', format, 'key_column', key_column, 'date_column', date_column,
        'connections', connections, 'writers', writers, 'page_size', page_size, 'uncapped_pages', uncapped_pages, 'load', load,
        'retry_budget', retry_budget, 'look_back', look_back, 'allowed_hours', allowed_hours,
        'pause_after_failures', pause_after_failures, 'protected_columns', to_jsonb(protected_columns),
        'on_unknown_value', on_unknown_value, 'on_uuid_conflict', on_uuid_conflict, 'max_loss', max_loss, 'priority', priority,
        'contract', contract, 'ca_certificate', ca_certificate,
        'metadata_mode', metadata_mode, 'target_dataset', target_dataset, 'create_persons', create_persons,
        'organisms_by_name', organisms_by_name,
        'schedule', schedule, 'reconcile_schedule', reconcile_schedule, 'schedule_jitter', schedule_jitter, 'after_run', after_run, 'bootstrap_url', bootstrap_url))
        -- Apart: a filter that is null is a mistake to be told, not one to be left out.
        || CASE WHEN filters IS NULL THEN '{}' ELSE jsonb_build_object('filters', filters) END;
    PERFORM gn_harvest.check_allowed_host(add_source.url);
    PERFORM gn_harvest.check_allowed_host(gn_harvest.normalise_file_url(add_source.bootstrap_url));
    -- Records that stayed when a source of this name was dropped are under its number: the source takes it again.
    DELETE FROM gn_harvest.former_source f
    WHERE f.source_id = (SELECT k.source_id FROM gn_harvest.former_source k
                         WHERE add_source.target = 'records' AND k.target = 'records' AND k.name = add_source.name
                           AND gn_harvest.may_manage(gn_harvest.caller(), k.owner)
                         ORDER BY k.dropped_at DESC LIMIT 1)
    RETURNING f.source_id INTO former;
    INSERT INTO gn_harvest.source AS s (id, name, url, export_id, owner)
    OVERRIDING SYSTEM VALUE
    VALUES (coalesce(former, nextval('gn_harvest.source_id_seq')), add_source.name, add_source.url, add_source.export_id,
            coalesce(add_source.owner, gn_harvest.caller()))
    RETURNING s.* INTO added;
    INSERT INTO gn_harvest.source_state (source_id, observations)
    SELECT added.id, count(h.id_synthese) FROM gn_harvest.harvested h WHERE h.source_id = former;
    PERFORM gn_harvest.store_credentials(added.id, login, password, token);
    RETURN gn_harvest.apply_settings(added, settings);
END
$$;
COMMENT ON FUNCTION gn_harvest.add_source IS 'Connects a source: a partner''s GeoNature export. Nothing is fetched yet: check_source tries it, run harvests it. Returns the source.';

CREATE FUNCTION gn_harvest.check_fast_load(owner name) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT has_parameter_privilege(owner, 'session_replication_role', 'SET') THEN
        RAISE EXCEPTION 'role "%" may not set session_replication_role', owner
            USING ERRCODE = 'insufficient_privilege',
                  DETAIL = 'The fast load leaves the triggers of the target aside while it does their work, as the role that owns the source.',
                  HINT = format('As a superuser: GRANT SET ON PARAMETER session_replication_role TO %I;', owner);
    END IF;
END
$$;
COMMENT ON FUNCTION gn_harvest.check_fast_load(name) IS 'Fails unless a role has the right that the fast load needs.';

CREATE OR REPLACE FUNCTION gn_harvest.apply_settings(base gn_harvest.source, settings jsonb) RETURNS gn_harvest.source
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wanted gn_harvest.source := jsonb_populate_record(base, settings);
    result gn_harvest.source;
BEGIN
    IF (wanted.after_run, wanted.owner) IS DISTINCT FROM (base.after_run, base.owner) THEN
        wanted.after_run := gn_harvest.check_after_run(wanted.after_run, wanted.owner);
    END IF;
    IF wanted.load = 'fast' AND (wanted.load, wanted.owner) IS DISTINCT FROM (base.load, base.owner) THEN
        PERFORM gn_harvest.check_fast_load(wanted.owner);
    END IF;
    UPDATE gn_harvest.source s
    SET (name, url, export_id, metadata_export_id, deletion_export_id, target, organism, organism_uuid, format, filters, key_column, date_column,
         connections, writers, page_size, uncapped_pages, load, retry_budget, look_back, allowed_hours, pause_after_failures,
         protected_columns, on_unknown_value, on_uuid_conflict, max_loss, priority, contract, ca_certificate, metadata_mode, target_dataset,
         create_persons, organisms_by_name, after_run, schedule, reconcile_schedule, schedule_jitter, bootstrap_url, owner)
      = (wanted.name, wanted.url, wanted.export_id, wanted.metadata_export_id, wanted.deletion_export_id, wanted.target, wanted.organism, wanted.organism_uuid, wanted.format,
         wanted.filters, wanted.key_column, wanted.date_column, wanted.connections, wanted.writers, wanted.page_size, wanted.uncapped_pages, wanted.load,
         wanted.retry_budget, wanted.look_back, wanted.allowed_hours, wanted.pause_after_failures, wanted.protected_columns,
         wanted.on_unknown_value, wanted.on_uuid_conflict, wanted.max_loss, wanted.priority, wanted.contract, wanted.ca_certificate,
         wanted.metadata_mode, wanted.target_dataset, wanted.create_persons, wanted.organisms_by_name, wanted.after_run,
         wanted.schedule, wanted.reconcile_schedule, wanted.schedule_jitter, wanted.bootstrap_url, wanted.owner)
    WHERE s.id = base.id
    RETURNING s.* INTO result;
    -- A function is told of what comes after it was named.
    IF wanted.after_run IS DISTINCT FROM base.after_run THEN
        UPDATE gn_harvest.source_state st SET hook_run = (SELECT max(r.id) FROM gn_harvest.run r WHERE r.source_id = base.id)
        WHERE st.source_id = base.id;
        PERFORM gn_harvest.clear_alert(base.id, NULL, '{hook_failed}', false);
    END IF;
    PERFORM gn_harvest.begin_schedules(base, result);
    RETURN result;
END
$$;

CREATE FUNCTION gn_harvest.alter_source(
    name                 text,
    new_name             text     DEFAULT NULL,
    url                  text     DEFAULT NULL,
    export_id            integer  DEFAULT NULL,
    organism             text     DEFAULT NULL,
    organism_uuid        uuid     DEFAULT NULL,
    metadata_export_id   integer  DEFAULT NULL,
    target               text     DEFAULT NULL,
    deletion_export_id   integer  DEFAULT NULL,
    format               text     DEFAULT NULL,
    filters              jsonb    DEFAULT NULL,
    key_column           text     DEFAULT NULL,
    date_column          text     DEFAULT NULL,
    connections          integer  DEFAULT NULL,
    writers              integer  DEFAULT NULL,
    page_size            integer  DEFAULT NULL,
    uncapped_pages       boolean  DEFAULT NULL,
    load                 text     DEFAULT NULL,
    retry_budget         integer  DEFAULT NULL,
    look_back            interval DEFAULT NULL,
    allowed_hours        text     DEFAULT NULL,
    pause_after_failures integer  DEFAULT NULL,
    protected_columns    text[]   DEFAULT NULL,
    on_unknown_value     text     DEFAULT NULL,
    on_uuid_conflict     text     DEFAULT NULL,
    max_loss             numeric  DEFAULT NULL,
    priority             integer  DEFAULT NULL,
    contract             text     DEFAULT NULL,
    ca_certificate       text     DEFAULT NULL,
    metadata_mode        text     DEFAULT NULL,
    target_dataset       uuid     DEFAULT NULL,
    create_persons       boolean  DEFAULT NULL,
    organisms_by_name    boolean  DEFAULT NULL,
    after_run            text     DEFAULT NULL,
    schedule             text     DEFAULT NULL,
    reconcile_schedule   text     DEFAULT NULL,
    schedule_jitter      interval DEFAULT NULL,
    bootstrap_url        text     DEFAULT NULL,
    owner                name     DEFAULT NULL,
    clear                text[]   DEFAULT '{}'
) RETURNS gn_harvest.source
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    before   gn_harvest.source := gn_harvest.managed_source(name);
    settings jsonb;
    result   gn_harvest.source;
    refused  text;
BEGIN
    SELECT c INTO refused FROM unnest(clear) c
    WHERE c = ANY ('{organism,organism_uuid,metadata_export_id,deletion_export_id,key_column,date_column,writers,allowed_hours,reconcile_schedule,ca_certificate,target_dataset,after_run,bootstrap_url}'::text[]) IS NOT TRUE LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'setting "%" can not be cleared', refused
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Those that may be empty: organism, organism_uuid, metadata_export_id, deletion_export_id, key_column, date_column, writers, allowed_hours, reconcile_schedule, ca_certificate, target_dataset, after_run, bootstrap_url.';
    END IF;
    PERFORM gn_harvest.check_owner(alter_source.owner);
    settings := coalesce((SELECT jsonb_object_agg(c, 'null'::jsonb) FROM unnest(clear) c), '{}')
        || jsonb_strip_nulls(jsonb_build_object(
        'name', new_name, 'url', url, 'export_id', export_id, 'owner', owner,
        'organism', organism, 'organism_uuid', organism_uuid, 'metadata_export_id', metadata_export_id, 'target', target, 'deletion_export_id', deletion_export_id,
        'format', format, 'key_column', key_column, 'date_column', date_column,
        'connections', connections, 'writers', writers, 'page_size', page_size, 'uncapped_pages', uncapped_pages, 'load', load,
        'retry_budget', retry_budget, 'look_back', look_back, 'allowed_hours', allowed_hours,
        'pause_after_failures', pause_after_failures, 'protected_columns', to_jsonb(protected_columns),
        'on_unknown_value', on_unknown_value, 'on_uuid_conflict', on_uuid_conflict, 'max_loss', max_loss, 'priority', priority,
        'contract', contract, 'ca_certificate', ca_certificate,
        'metadata_mode', metadata_mode, 'target_dataset', target_dataset, 'create_persons', create_persons,
        'organisms_by_name', organisms_by_name,
        'schedule', schedule, 'reconcile_schedule', reconcile_schedule, 'schedule_jitter', schedule_jitter, 'after_run', after_run, 'bootstrap_url', bootstrap_url))
        -- Apart: a filter that is null is a mistake to be told, not one to be left out.
        || CASE WHEN filters IS NULL THEN '{}' ELSE jsonb_build_object('filters', filters) END;
    IF new_name <> before.name AND EXISTS (SELECT FROM gn_harvest.source s WHERE s.name = new_name) THEN
        RAISE EXCEPTION 'source "%" exists already', new_name
            USING ERRCODE = 'duplicate_object', HINT = 'Choose another name; SELECT source FROM gn_harvest.source_status lists those taken.';
    END IF;
    PERFORM gn_harvest.check_allowed_host(alter_source.url);
    PERFORM gn_harvest.check_allowed_host(gn_harvest.normalise_file_url(alter_source.bootstrap_url));
    result := gn_harvest.apply_settings(before, settings);
    -- A secret was given for one host: it does not follow the source to another.
    IF gn_harvest.url_host(result.url) <> gn_harvest.url_host(before.url)
       AND EXISTS (SELECT FROM gn_harvest.credential c WHERE c.source_id = result.id) THEN
        DELETE FROM gn_harvest.credential c WHERE c.source_id = result.id;
        RAISE NOTICE 'the credentials of source "%" were for another host and have been removed', result.name
            USING HINT = 'Give those of the new host with gn_harvest.set_credentials(...).';
    END IF;
    -- Another export, or another part of it: what was read before says nothing of it.
    IF (result.url, result.export_id, result.filters, result.date_column, result.key_column, result.target)
       IS DISTINCT FROM (before.url, before.export_id, before.filters, before.date_column, before.key_column, before.target) THEN
        IF gn_harvest.is_working(result.id) THEN
            RAISE EXCEPTION 'source "%" is being harvested', before.name
                USING ERRCODE = 'object_in_use', DETAIL = 'What it reads can not be changed under a run.',
                      HINT = format('SELECT gn_harvest.cancel(run) FROM gn_harvest.run_progress WHERE source = %L;', before.name);
        END IF;
        IF result.target <> before.target THEN
            PERFORM gn_harvest.forget_target(before);
        END IF;
        UPDATE gn_harvest.source_state st
        SET watermark = NULL, watermark_column = NULL, deletion_watermark = NULL, selection = NULL, export_columns = NULL, column_formats = '{}'
        WHERE st.source_id = result.id;
        DELETE FROM gn_harvest.slice sl USING gn_harvest.run r WHERE r.id = sl.run_id AND r.source_id = result.id;
    END IF;
    IF result.format <> before.format THEN
        UPDATE gn_harvest.source_state st SET column_formats = '{}' WHERE st.source_id = result.id;
    END IF;
    RETURN result;
END
$$;
COMMENT ON FUNCTION gn_harvest.alter_source IS 'Changes settings of a source; those not given stay. clear => ARRAY[...] empties settings. After a change of url, export or filters the next run is a full one.';

CREATE FUNCTION gn_harvest.forget_target(concerned gn_harvest.source) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    held bigint;
BEGIN
    SELECT count(*) INTO held FROM gn_harvest.harvested h WHERE h.source_id = concerned.id AND h.id_synthese IS NOT NULL;
    IF held > 0 THEN
        RAISE EXCEPTION 'the target of source "%" can not be changed any more', concerned.name
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = format('%s records of it are in its target, %s.', held, concerned.target),
                  HINT = format('SELECT gn_harvest.drop_source(%L, delete_data => true); and add it again with the other target, or add a second source with the same export.', concerned.name);
    END IF;
    DELETE FROM gn_harvest.harvested h WHERE h.source_id = concerned.id;
    UPDATE gn_harvest.source_state st SET id_source = NULL WHERE st.source_id = concerned.id;
END
$$;
COMMENT ON FUNCTION gn_harvest.forget_target(gn_harvest.source) IS 'Lets a source have another target, unless something of it is in the one that it has.';

CREATE OR REPLACE FUNCTION gn_harvest.resume_source(name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    resumed gn_harvest.source := gn_harvest.managed_source(name);
BEGIN
    UPDATE gn_harvest.source s SET enabled = true WHERE s.id = resumed.id;
    -- What its schedules wanted in the meantime is not made up for.
    UPDATE gn_harvest.source_state st
    SET paused_reason = NULL, consecutive_failures = 0,
        ticks_settled_at = gn_harvest.clock(), reconciles_settled_at = gn_harvest.clock()
    WHERE st.source_id = resumed.id;
    PERFORM gn_harvest.clear_alert(resumed.id, NULL, '{source_paused}', true);
END
$$;

CREATE OR REPLACE FUNCTION gn_harvest.drop_source(name text, delete_data boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    dropped gn_harvest.source := gn_harvest.managed_source(name);
    removal gn_harvest.run_history;
    left_here bigint;
BEGIN
    IF gn_harvest.is_working(dropped.id) THEN
        RAISE EXCEPTION 'source "%" is being harvested', dropped.name
            USING ERRCODE = 'object_in_use',
                  HINT = format('SELECT gn_harvest.cancel(run) FROM gn_harvest.run_progress WHERE source = %L;', dropped.name);
    END IF;
    IF delete_data THEN
        removal := gn_harvest.outcome(gn_harvest.start_worker(dropped.id, 'drop', gn_harvest.caller(), true, true), true);
        SELECT count(*) INTO left_here FROM gn_harvest.harvested h WHERE h.source_id = dropped.id AND h.id_synthese IS NOT NULL;
        IF removal.status <> 'succeeded' OR left_here > 0 THEN
            RAISE EXCEPTION 'the data of source "%" could not all be deleted: the source stays', dropped.name
                USING ERRCODE = 'dependent_objects_still_exist',
                      DETAIL = format('%s observations were deleted, %s are left.', removal.deleted, left_here),
                      HINT = format('SELECT warnings, error_message FROM gn_harvest.run_history WHERE run = %s; says why. Call it again when the cause is mended.', removal.run);
        END IF;
        DELETE FROM gn_harvest.harvested h WHERE h.source_id = dropped.id;
    ELSE
        INSERT INTO gn_harvest.former_source (source_id, name, target, id_source, owner, dropped_by)
        SELECT dropped.id, dropped.name, dropped.target, st.id_source, dropped.owner, gn_harvest.caller()
        FROM gn_harvest.source_state st
        WHERE st.source_id = dropped.id AND (st.id_source IS NOT NULL OR dropped.target = 'records');
    END IF;
    DELETE FROM gn_harvest.source s WHERE s.id = dropped.id;
    PERFORM gn_harvest.fold_tally(dropped.id);
END
$$;

CREATE FUNCTION gn_harvest.check_gn2pg(import_schema text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wrong text;
BEGIN
    IF import_schema IS NULL THEN
        RAISE EXCEPTION 'adopt_gn2pg needs the schema into which GN2PG imports' USING ERRCODE = 'null_value_not_allowed',
            HINT = 'It is db_schema_import in GN2PG''s settings: SELECT * FROM gn_harvest.adopt_gn2pg(''gn2pg_import'');';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_namespace n WHERE n.nspname = import_schema) THEN
        SELECT string_agg(quote_literal(n.nspname), ', ' ORDER BY n.nspname) INTO wrong
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relname = 'data_json';
        RAISE EXCEPTION 'schema "%" does not exist', import_schema USING ERRCODE = 'invalid_schema_name',
            HINT = coalesce('Schemas that have a table data_json: ' || wrong || '.',
                            'No schema of this database has a table data_json: GN2PG imports into another database.');
    END IF;
    IF (SELECT count(*) < 2 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'gn_synthese' AND c.relname IN ('synthese', 't_sources')) THEN
        RAISE EXCEPTION 'this database is not a GeoNature database' USING ERRCODE = 'object_not_in_prerequisite_state',
            DETAIL = 'It has no gn_synthese.synthese or no gn_synthese.t_sources.',
            HINT = 'Call it in the database into which GN2PG writes the observations.';
    END IF;
    SELECT string_agg(format('%I.%I.%I', n.schema_name, n.table_name, n.column_name), ', ' ORDER BY n.schema_name, n.table_name, n.column_name)
    INTO wrong
    FROM gn_harvest.gn2pg_layout(import_schema) n
    WHERE NOT EXISTS (
        SELECT FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE s.nspname = n.schema_name AND c.relname = n.table_name AND c.relkind IN ('r', 'p')
          AND a.attname = n.column_name AND NOT a.attisdropped AND a.atttypid = ANY (n.types));
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'schema "%" has not the layout of GN2PG 1.9 or 1.10', import_schema
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = format('Missing, not of the type that GN2PG gives, or not of a table: %s.', wrong),
                  HINT = 'Bring an older GN2PG up to date first: install gn2pg-client 1.9 or 1.10 and run its db --json-tables-create.';
    END IF;
    SELECT string_agg(DISTINCT format('GRANT USAGE ON SCHEMA %I TO %I; GRANT SELECT ON %I.%I TO %I;',
                                      n.schema_name, current_user, n.schema_name, n.table_name, current_user), ' ')
    INTO wrong
    FROM gn_harvest.gn2pg_layout(import_schema) n
    WHERE NOT has_schema_privilege(n.schema_name, 'USAGE')
       OR NOT has_table_privilege(format('%I.%I', n.schema_name, n.table_name), 'SELECT');
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'role "%" may not read what GN2PG imported and wrote', current_user
            USING ERRCODE = 'insufficient_privilege', HINT = wrong;
    END IF;
END
$$;
COMMENT ON FUNCTION gn_harvest.check_gn2pg(text) IS 'Refuses a schema that has not GN2PG''s layout, or that the caller may not read.';

CREATE FUNCTION gn_harvest.gn2pg_layout(import_schema text)
RETURNS TABLE (schema_name text, table_name text, column_name text, types oid[])
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(l.schema_name, import_schema), l.table_name, c.column_name, l.types::regtype[]::oid[]
    FROM (VALUES (NULL, 'data_json', 'source controler type', '{varchar,text}'),
                 (NULL, 'data_json', 'id_data import_id', '{int4,int8}'),
                 (NULL, 'data_json', 'uuid', '{uuid}'),
                 (NULL, 'data_json', 'item', '{jsonb}'),
                 (NULL, 'data_json', 'update_ts', '{timestamp}'),
                 (NULL, 'metadata_json', 'source type', '{varchar,text}'),
                 (NULL, 'import_log', 'source controler xfer_type xfer_status comment', '{varchar,text}'),
                 (NULL, 'import_log', 'id api_count_errors data_count_errors', '{int4,int8}'),
                 (NULL, 'import_log', 'xfer_start_ts', '{timestamp}'),
                 (NULL, 'import_log', 'xfer_filters', '{jsonb}'),
                 ('gn_synthese', 'synthese', 'id_synthese id_source', '{int4,int8}'),
                 ('gn_synthese', 'synthese', 'unique_id_sinp', '{uuid}'),
                 ('gn_synthese', 'synthese', 'entity_source_pk_value', '{varchar,text}'),
                 ('gn_synthese', 't_sources', 'id_source', '{int4,int8}'),
                 ('gn_synthese', 't_sources', 'name_source', '{varchar,text}'))
         l(schema_name, table_name, column_names, types),
         unnest(string_to_array(l.column_names, ' ')) c(column_name)
$$;
COMMENT ON FUNCTION gn_harvest.gn2pg_layout(text) IS 'The tables and columns of GN2PG and GeoNature that an adoption reads.';

CREATE FUNCTION gn_harvest.gn2pg_parameters(xfer_filters jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    parameters jsonb := CASE jsonb_typeof(xfer_filters) WHEN 'array' THEN xfer_filters -> 0 ELSE xfer_filters END;
BEGIN
    IF jsonb_typeof(parameters) = 'string' THEN
        parameters := (parameters #>> '{}')::jsonb;
    END IF;
    RETURN CASE jsonb_typeof(parameters) WHEN 'object' THEN parameters ELSE '{}' END;
EXCEPTION WHEN data_exception THEN
    RETURN '{}';
END
$$;
COMMENT ON FUNCTION gn_harvest.gn2pg_parameters(jsonb) IS 'The parameters of a download as GN2PG''s import_log keeps them; an empty object when they are not to be understood.';

CREATE FUNCTION gn_harvest.gn2pg_filters(parameters jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(jsonb_object_agg(f.key, f.value), '{}')
    FROM jsonb_each(parameters) f
    WHERE jsonb_typeof(f.value) IN ('string', 'number', 'boolean')
      AND NOT lower(f.key) IN ('limit', 'offset', 'orderby', 'token', 'action', 'filter_d_up_derniere_action', 'filter_d_lo_derniere_action')
$$;
COMMENT ON FUNCTION gn_harvest.gn2pg_filters(jsonb) IS 'Of the parameters of a download, those that say which records are wanted. A token is none of them.';

CREATE FUNCTION gn_harvest.gn2pg_names(import_schema text) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    names text[];
BEGIN
    EXECUTE format($query$
        SELECT coalesce(array_agg(n.source ORDER BY n.source), '{}')
        FROM (SELECT source::text FROM %1$I.data_json UNION SELECT source::text FROM %1$I.metadata_json
              UNION SELECT source::text FROM %1$I.import_log) n$query$, import_schema) INTO names;
    RETURN names;
END
$$;
COMMENT ON FUNCTION gn_harvest.gn2pg_names(text) IS 'Names of GN2PG''s sources, as its tables have them.';

CREATE FUNCTION gn_harvest.gn2pg_sources(import_schema text, wanted text)
RETURNS TABLE (name text, id_source integer, data_type text, downloaded bigint, began timestamp, last_import timestamp, filters jsonb,
               seen_url text, seen_export text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY EXECUTE format($query$
        WITH data AS (
            SELECT d.source::text AS name, d.type::text AS type, min(d.update_ts) AS began, max(d.update_ts) AS ended
            FROM %1$I.data_json d WHERE d.controler = 'data' GROUP BY 1, 2),
        kinds AS (
            SELECT name, type, began, ended FROM data
            UNION ALL
            SELECT DISTINCT m.source::text, m.type::text, NULL::timestamp, NULL::timestamp FROM %1$I.metadata_json m
            UNION ALL
            SELECT l.source::text, NULL, min(l.xfer_start_ts), NULL::timestamp FROM %1$I.import_log l GROUP BY 1)
        SELECT k.name, min(t.id_source)::integer, (array_agg(k.type ORDER BY k.ended DESC NULLS LAST, k.type))[1],
               (SELECT count(DISTINCT d.id_data) FROM %1$I.data_json d WHERE d.source = k.name AND d.controler = 'data'),
               min(k.began), min(l.xfer_start_ts), gn_harvest.gn2pg_filters(gn_harvest.gn2pg_parameters((array_agg(l.xfer_filters))[1])),
               min(s.url), min(s.export)
        FROM kinds k
        LEFT JOIN gn_synthese.t_sources t ON t.name_source = k.name
        LEFT JOIN LATERAL (
            SELECT l.xfer_start_ts, l.xfer_filters FROM %1$I.import_log l
            WHERE l.source = k.name AND l.controler = 'data' AND l.xfer_status = 'success' ORDER BY l.id DESC LIMIT 1) l ON true
        LEFT JOIN LATERAL (
            SELECT a.found[1] AS url, a.found[2] AS export
            FROM %1$I.import_log l, regexp_match(l.comment, 'url: (https?://[^\s?@]+)/api/[^/\s?]+/api/(\d{1,9})(?:\?|\s|$)') a(found)
            WHERE l.source = k.name AND a.found IS NOT NULL ORDER BY l.id DESC LIMIT 1) s ON true
        WHERE $1 IS NULL OR k.name = $1
        GROUP BY k.name
        ORDER BY k.name$query$, import_schema) USING wanted;
END
$$;
COMMENT ON FUNCTION gn_harvest.gn2pg_sources(text, text) IS 'What GN2PG''s tables tell of its sources. The address is seen only in the message of a download that failed.';

CREATE FUNCTION gn_harvest.gn2pg_page(import_schema text, gn2pg_source text, id_source integer, after bigint, size integer)
RETURNS TABLE (upto bigint, keys bigint[], uuids uuid[], ids bigint[], taxa integer[], datasets integer[], elsewhere bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY EXECUTE format($query$
        WITH page AS MATERIALIZED (
            SELECT d.id_data, d.uuid FROM %1$I.data_json d
            WHERE d.source = $1 AND d.controler = 'data' AND d.id_data > $3
              AND d.id_data <= (SELECT max(p.id_data) FROM (
                      SELECT e.id_data FROM %1$I.data_json e
                      WHERE e.source = $1 AND e.controler = 'data' AND e.id_data > $3 ORDER BY e.id_data LIMIT $4) p)),
        with_uuid AS MATERIALIZED (
            SELECT p.id_data, s.id_synthese, s.unique_id_sinp, s.cd_nom, s.id_dataset, coalesce(s.id_source = $2, false) AS is_own
            FROM page p JOIN gn_synthese.synthese s ON s.unique_id_sinp = p.uuid),
        by_uuid AS (SELECT id_data, id_synthese, unique_id_sinp, cd_nom, id_dataset FROM with_uuid WHERE is_own),
        by_key AS (
            SELECT p.id_data, s.id_synthese, s.unique_id_sinp, s.cd_nom, s.id_dataset
            FROM (SELECT id_data FROM page EXCEPT SELECT id_data FROM by_uuid) p
            JOIN gn_synthese.synthese s ON s.entity_source_pk_value = p.id_data::text
            WHERE s.id_source = $2
              AND NOT EXISTS (SELECT FROM %1$I.data_json o WHERE o.uuid = s.unique_id_sinp AND o.source = $1 AND o.controler = 'data')),
        matched AS (
            SELECT DISTINCT ON (m.id_data) m.id_data::bigint AS id_data, m.unique_id_sinp, m.id_synthese::bigint AS id_synthese, m.cd_nom, m.id_dataset
            FROM (TABLE by_uuid UNION ALL TABLE by_key) m ORDER BY m.id_data, m.id_synthese DESC)
        SELECT (SELECT max(id_data)::bigint FROM page),
               coalesce(array_agg(id_data), '{}'), coalesce(array_agg(unique_id_sinp), '{}'), coalesce(array_agg(id_synthese), '{}'),
               coalesce(array_agg(cd_nom), '{}'), coalesce(array_agg(id_dataset), '{}'),
               (SELECT count(*) FROM with_uuid WHERE NOT is_own AND NOT id_data IN (SELECT id_data FROM matched))
        FROM matched$query$, import_schema)
    USING gn2pg_source, id_source, after, size;
END
$$;
COMMENT ON FUNCTION gn_harvest.gn2pg_page(text, text, integer, bigint, integer) IS 'Records of GN2PG that are in gn_synthese.synthese, with their rows; the next ones after a key.';

CREATE FUNCTION gn_harvest.gn2pg_watermark(import_schema text, gn2pg_source text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    last_good   bigint;
    latest_safe text;
    greatest    text;
BEGIN
    EXECUTE format($query$
        WITH clean AS (
            SELECT l.id, l.xfer_type = 'full' AS whole, l.xfer_start_ts,
                   replace(gn_harvest.gn2pg_parameters(l.xfer_filters) ->> 'filter_d_up_derniere_action', 'T', ' ') AS since
            FROM %1$I.import_log l
            WHERE l.source = $1 AND l.controler = 'data' AND l.xfer_status = 'success'
              AND l.api_count_errors = 0 AND l.data_count_errors = 0),
        chain AS (
            SELECT c.id, c.xfer_start_ts, c.whole, c.since,
                   to_char(lag(c.xfer_start_ts) OVER (ORDER BY c.id), 'YYYY-MM-DD HH24:MI:SS.US') AS before
            FROM clean c WHERE c.id >= (SELECT max(id) FROM clean WHERE whole)),
        broken AS (SELECT min(id) AS id FROM chain WHERE NOT whole AND (since IS NULL OR since COLLATE "C" > before))
        SELECT c.id, to_char(c.xfer_start_ts - interval '1 day', 'YYYY-MM-DD HH24:MI:SS.US')
        FROM chain c, broken b WHERE b.id IS NULL OR c.id < b.id ORDER BY c.id DESC LIMIT 1$query$, import_schema)
    INTO last_good, latest_safe USING gn2pg_source;
    IF last_good IS NULL THEN
        RETURN NULL;
    END IF;
    -- A date with a zone, or none at all, is no date that the source can be asked from.
    EXECUTE format($query$
        SELECT d.item ->> 'derniere_action'
        FROM %1$I.data_json d
        WHERE d.source = $1 AND d.controler = 'data' AND d.import_id <= $2 AND d.item ->> 'derniere_action' IS NOT NULL
        ORDER BY d.item ->> 'derniere_action' !~ '^\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,6})?$' DESC,
                 replace(d.item ->> 'derniere_action', 'T', ' ') COLLATE "C" DESC
        LIMIT 1$query$, import_schema)
    INTO greatest USING gn2pg_source, last_good;
    IF greatest !~ '^\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,6})?$' THEN
        RETURN NULL;
    END IF;
    PERFORM greatest::timestamp;
    IF replace(greatest, 'T', ' ') COLLATE "C" > latest_safe THEN
        RETURN CASE WHEN greatest LIKE '%T%' THEN replace(latest_safe, ' ', 'T') ELSE latest_safe END;
    END IF;
    RETURN greatest;
EXCEPTION WHEN datetime_field_overflow OR invalid_datetime_format THEN
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION gn_harvest.gn2pg_watermark(text, text) IS 'Up to which date of change GN2PG has surely downloaded a source, as the source writes it; null when in doubt.';

CREATE FUNCTION gn_harvest.take_gn2pg(import_schema text, gn2pg_source text, id_source integer, adopted_as text, OUT held bigint, OUT elsewhere bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    page record;
    after bigint := -9223372036854775808;
BEGIN
    held := 0;
    elsewhere := 0;
    LOOP
        SELECT * INTO page FROM gn_harvest.gn2pg_page(import_schema, gn2pg_source, id_source, after, 50000);
        EXIT WHEN page.upto IS NULL;
        held := held + cardinality(page.ids);
        elsewhere := elsewhere + page.elsewhere;
        IF adopted_as IS NOT NULL AND cardinality(page.ids) > 0 THEN
            PERFORM gn_harvest.take_gn2pg_rows(adopted_as, page.keys, page.uuids, page.ids, page.taxa, page.datasets);
        END IF;
        after := page.upto;
    END LOOP;
END
$$;
COMMENT ON FUNCTION gn_harvest.take_gn2pg(text, text, integer, text) IS 'Counts the records of GN2PG that are in the target and, for a source, makes them its lineage.';

CREATE FUNCTION gn_harvest.gn2pg_next_step(import_schema text, gn2pg_source text, state text, adopted_as text, url text, export_id text,
                                           data_type text, missing text[]) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT concat_ws(' ',
        CASE WHEN data_type = 'metadata_only' AND state <> 'adopted'
             THEN '-- metadata only: give its export as metadata_export_id to the source of the observations, or:' || chr(10) END,
        CASE WHEN state = 'incomplete' OR state = 'ready' AND adopted_as IS NULL THEN
            format('SELECT * FROM gn_harvest.adopt_gn2pg(%L, %L, url => %L, export_id => %s%s%s, token => %L);', import_schema, gn2pg_source,
                   coalesce(url, 'https://…'), coalesce(export_id, '…'),
                   CASE WHEN 'metadata_export_id' = ANY (missing) THEN ', metadata_export_id => …' END,
                   CASE WHEN gn2pg_source !~ '^\S(.{0,61}\S)?$' THEN ', name => ''…''' END, '…')
             WHEN state = 'ready' THEN
            format('SELECT * FROM gn_harvest.adopt_gn2pg(%L, %L);', import_schema, gn2pg_source) END,
        CASE WHEN state = 'adopted' AND 'credentials' = ANY (missing) THEN
            format('SELECT gn_harvest.set_credentials(%L, token => %L); -- or login => …, password => …; none for a public export' || chr(10), adopted_as, '…') END,
        CASE WHEN state = 'adopted' AND 'metadata_export_id' = ANY (missing) THEN
            format('SELECT gn_harvest.alter_source(%L, metadata_export_id => …);' || chr(10), adopted_as) END,
        CASE WHEN state = 'adopted' THEN
            format('SELECT * FROM gn_harvest.check_source(%1$L); SELECT * FROM gn_harvest.run(%1$L);', adopted_as) END)
$$;
COMMENT ON FUNCTION gn_harvest.gn2pg_next_step(text, text, text, text, text, text, text, text[]) IS 'The call to make next for a source of GN2PG.';

CREATE FUNCTION gn_harvest.connect_gn2pg(name text, url text, export_id integer, metadata_export_id integer, filters jsonb,
                                         login text, password text, token text, owner name, dry_run boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM gn_harvest.add_source(name, url, export_id, login => login, password => password, token => token,
                                  metadata_export_id => metadata_export_id, filters => filters, owner => owner);
    IF dry_run THEN
        RAISE EXCEPTION 'dry run' USING ERRCODE = 'GN000';
    END IF;
EXCEPTION WHEN SQLSTATE 'GN000' THEN
    RETURN;
END
$$;
COMMENT ON FUNCTION gn_harvest.connect_gn2pg IS 'Adds the source that takes over one of GN2PG, or only tries to.';

CREATE FUNCTION gn_harvest.adopt_gn2pg(
    import_schema      text,
    source             text    DEFAULT NULL,
    url                text    DEFAULT NULL,
    export_id          integer DEFAULT NULL,
    name               text    DEFAULT NULL,
    metadata_export_id integer DEFAULT NULL,
    login              text    DEFAULT NULL,
    password           text    DEFAULT NULL,
    token              text    DEFAULT NULL,
    owner              name    DEFAULT NULL,
    dry_run            boolean DEFAULT false
) RETURNS TABLE (gn2pg_source text, state text, adopted_as text, partner_url text, partner_export text, data_type text, filters jsonb,
                 downloaded bigint, held bigint, to_come bigint, elsewhere bigint, unexplained bigint, last_import timestamp, watermark text,
                 missing text[], next_step text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    names text[];
    each_source record;
    known record;
    does  boolean;
BEGIN
    IF num_nonnulls(login, password, token) > 0 THEN
        PERFORM gn_harvest.hide_statement('adopt_gn2pg');
    END IF;
    PERFORM gn_harvest.check_gn2pg(import_schema);
    names := gn_harvest.gn2pg_names(import_schema);
    IF source IS NULL AND num_nonnulls(url, export_id, name, metadata_export_id, login, password, token, owner) > 0 THEN
        IF cardinality(names) <> 1 THEN
            RAISE EXCEPTION 'the source to adopt is not named' USING ERRCODE = 'null_value_not_allowed',
                HINT = format('GN2PG has these: %s. SELECT * FROM gn_harvest.adopt_gn2pg(%L, source => ''...'', ...);', names, import_schema);
        END IF;
        source := names[1];
    END IF;
    IF source IS NOT NULL AND NOT source = ANY (names) THEN
        RAISE EXCEPTION 'GN2PG has no source "%" in schema "%"', source, import_schema USING ERRCODE = 'undefined_object',
            HINT = format('It has these: %s. It writes names in small letters without accents or spaces.', names);
    END IF;
    FOR each_source IN SELECT s.* FROM gn_harvest.gn2pg_sources(import_schema, source) s LOOP
        SELECT * INTO known FROM gn_harvest.gn2pg_known(each_source.id_source, coalesce(name, each_source.name));
        IF source IS NOT NULL THEN
            PERFORM gn_harvest.check_gn2pg_known(each_source.name, known.name, name, url, export_id);
        END IF;
        does := source IS NOT NULL AND NOT coalesce(dry_run, false) AND (known.name IS NOT NULL OR num_nonnulls(url, export_id) = 2);
        IF source IS NOT NULL AND known.name IS NULL AND num_nonnulls(url, export_id) = 2 THEN
            PERFORM gn_harvest.connect_gn2pg(coalesce(name, each_source.name), url, export_id, metadata_export_id, each_source.filters,
                                             login, password, token, owner, NOT does);
        ELSIF does AND num_nonnulls(login, password, token) > 0 THEN
            PERFORM gn_harvest.set_credentials(known.name, login, password, token);
        END IF;
        adopted_as := CASE WHEN does THEN coalesce(known.name, name, each_source.name) ELSE known.name END;
        watermark := gn_harvest.gn2pg_watermark(import_schema, each_source.name);
        IF does THEN
            PERFORM gn_harvest.begin_gn2pg(adopted_as, each_source.id_source);
        END IF;
        SELECT t.held, t.elsewhere INTO held, elsewhere
        FROM gn_harvest.take_gn2pg(import_schema, each_source.name, each_source.id_source, CASE WHEN does THEN adopted_as END) t;
        IF does THEN
            PERFORM gn_harvest.end_gn2pg(adopted_as, watermark, to_char(each_source.began - interval '1 day', 'YYYY-MM-DD HH24:MI:SS'));
            SELECT * INTO known FROM gn_harvest.gn2pg_known(each_source.id_source, adopted_as);
        END IF;
        gn2pg_source := each_source.name;
        partner_url := coalesce(known.url, url, each_source.seen_url);
        partner_export := coalesce(known.export_id::text, export_id::text, each_source.seen_export);
        state := CASE WHEN does OR known.adopted THEN 'adopted'
                      WHEN known.name IS NOT NULL OR source IS NOT NULL AND num_nonnulls(url, export_id) = 2 THEN 'ready'
                      ELSE 'incomplete' END;
        data_type := each_source.data_type;
        filters := each_source.filters;
        downloaded := each_source.downloaded;
        to_come := downloaded - held - elsewhere;
        SELECT count(*) - held INTO unexplained FROM gn_synthese.synthese o WHERE o.id_source = each_source.id_source;
        last_import := each_source.last_import;
        missing := array_remove(ARRAY[
            CASE WHEN state = 'incomplete' AND (source IS NULL OR url IS NULL) THEN 'url' END,
            CASE WHEN state = 'incomplete' AND (source IS NULL OR export_id IS NULL) THEN 'export_id' END,
            CASE WHEN data_type = 'synthese_with_metadata_separated' AND coalesce(known.metadata_export_id, metadata_export_id) IS NULL
                 THEN 'metadata_export_id' END,
            CASE WHEN NOT coalesce(known.has_credentials, false) AND num_nonnulls(login, token) = 0 THEN 'credentials' END], NULL);
        next_step := gn_harvest.gn2pg_next_step(import_schema, gn2pg_source, state, adopted_as, partner_url, partner_export, data_type, missing);
        RETURN NEXT;
        IF does THEN
            RAISE NOTICE 'GN2PG stays as it is: stop its scheduled downloads of "%" before the first run', gn2pg_source
                USING DETAIL = format('The triggers on %I.data_json write and delete observations whenever GN2PG downloads, and when rows are deleted there.', import_schema),
                      HINT = format('When all its sources are adopted, DROP SCHEMA %I CASCADE; removes it; DELETE FROM %I.data_json would delete the observations.', import_schema, import_schema);
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION gn_harvest.adopt_gn2pg IS 'Takes over what GN2PG (1.9, 1.10) has harvested into a schema of this database. Without source: lists its sources, what they hold and the call to make. With one, its url and its export_id: connects it and makes the observations that GN2PG wrote its lineage, so that the first run, a full one, updates them instead of adding them again. dry_run writes nothing. GN2PG''s own tables and triggers are left as they are.';

CREATE FUNCTION gn_harvest.gn2pg_known(id_source integer, wanted_name text)
RETURNS TABLE (name text, url text, export_id integer, metadata_export_id integer, has_credentials boolean, adopted boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT s.name, m.url, m.export_id, m.metadata_export_id,
           EXISTS (SELECT FROM gn_harvest.credential c WHERE c.source_id = s.id),
           coalesce(st.id_source = gn2pg_known.id_source, false)
    FROM gn_harvest.source s
    JOIN gn_harvest.source_state st ON st.source_id = s.id
    LEFT JOIN gn_harvest.source m ON m.id = s.id AND gn_harvest.may_manage(gn_harvest.caller(), s.owner)
    WHERE st.id_source = gn2pg_known.id_source OR s.name = wanted_name
    ORDER BY st.id_source = gn2pg_known.id_source DESC NULLS LAST
    LIMIT 1
$$;
COMMENT ON FUNCTION gn_harvest.gn2pg_known(integer, text) IS 'The source that has a row of gn_synthese.t_sources, or else a name.';

CREATE FUNCTION gn_harvest.check_gn2pg_known(gn2pg_source text, known_name text, name text, url text, export_id integer) RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    known gn_harvest.source;
BEGIN
    IF known_name IS NULL THEN
        RETURN;
    END IF;
    known := gn_harvest.managed_source(known_name);
    IF name <> known.name THEN
        RAISE EXCEPTION 'the observations of GN2PG''s source "%" are those of source "%" already', gn2pg_source, known.name
            USING ERRCODE = 'duplicate_object',
                  HINT = format('SELECT gn_harvest.alter_source(%L, new_name => %L); gives it that name.', known.name, name);
    END IF;
    IF gn_harvest.normalise_url(url) <> known.url OR export_id <> known.export_id THEN
        RAISE EXCEPTION 'source "%" exists already and reads another export', known.name
            USING ERRCODE = 'duplicate_object', DETAIL = format('It reads export %s of %s.', known.export_id, known.url),
                  HINT = 'Leave url and export_id out to adopt for that source, change it with gn_harvest.alter_source(...), or adopt under another name with name => ''...''.';
    END IF;
END
$$;
COMMENT ON FUNCTION gn_harvest.check_gn2pg_known(text, text, text, text, integer) IS 'Refuses to adopt for a source that exists and is another, or another''s.';

CREATE FUNCTION gn_harvest.begin_gn2pg(name text, id_source integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    adopting gn_harvest.source := gn_harvest.managed_source(name);
    state    gn_harvest.source_state;
    former   integer;
BEGIN
    PERFORM FROM gn_harvest.source s WHERE s.id = adopting.id FOR UPDATE;
    IF gn_harvest.is_working(adopting.id) THEN
        RAISE EXCEPTION 'source "%" is being harvested', adopting.name USING ERRCODE = 'object_in_use',
            HINT = format('SELECT gn_harvest.cancel(run) FROM gn_harvest.run_progress WHERE source = %L;', adopting.name);
    END IF;
    SELECT * INTO state FROM gn_harvest.source_state st WHERE st.source_id = adopting.id FOR UPDATE;
    IF state.id_source <> begin_gn2pg.id_source OR coalesce(adopting.key_column, 'id_synthese') <> 'id_synthese'
       OR to_jsonb(adopting) ->> 'target' <> 'synthese' THEN
        RAISE EXCEPTION 'source "%" can not adopt what GN2PG wrote', adopting.name USING ERRCODE = 'object_not_in_prerequisite_state',
            DETAIL = 'It writes elsewhere, or knows records by another key than id_synthese.',
            HINT = 'Adopt under another name with name => ''...'', url => ''...'', export_id => ....';
    END IF;
    UPDATE gn_harvest.source_state st SET id_source = begin_gn2pg.id_source
    WHERE st.source_id = adopting.id AND st.id_source IS NULL;
    -- A source that had these observations and was dropped: its lineage knows more of them.
    FOR former IN SELECT f.source_id FROM gn_harvest.former_source f WHERE f.id_source = begin_gn2pg.id_source ORDER BY f.dropped_at DESC LOOP
        UPDATE gn_harvest.harvested h SET source_id = adopting.id
        WHERE h.source_id = former
          AND NOT EXISTS (SELECT FROM gn_harvest.harvested m WHERE m.source_id = adopting.id AND m.key_number = h.key_number)
          AND NOT EXISTS (SELECT FROM gn_harvest.harvested m WHERE m.source_id = adopting.id AND m.key_number IS NULL AND m.source_key = h.source_key);
        DELETE FROM gn_harvest.harvested h WHERE h.source_id = former;
        DELETE FROM gn_harvest.former_source f WHERE f.source_id = former;
    END LOOP;
END
$$;
COMMENT ON FUNCTION gn_harvest.begin_gn2pg(text, integer) IS 'Gives a source the row of gn_synthese.t_sources that GN2PG made.';

CREATE FUNCTION gn_harvest.take_gn2pg_rows(name text, keys bigint[], uuids uuid[], ids bigint[], taxa integer[], datasets integer[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    adopting gn_harvest.source := gn_harvest.managed_source(name);
BEGIN
    INSERT INTO gn_harvest.harvested AS h (source_id, key_number, source_key, uuid, id_synthese, first_run, last_run, cd_nom, id_dataset)
    SELECT DISTINCT ON (n.id) adopting.id, n.key, n.key::text, n.uuid, n.id, 0, 0, n.cd_nom, n.id_dataset
    FROM unnest(keys, uuids, ids, taxa, datasets) n(key, uuid, id, cd_nom, id_dataset)
    -- A row that has its record already keeps it: the record may have another key by now. Found by the row: without
    -- statistics the index on the source looks as good, and holds all of them.
    WHERE NOT EXISTS (SELECT FROM gn_harvest.harvested o WHERE o.id_synthese = n.id AND o.source_id + 0 = adopting.id)
    ORDER BY n.id, n.key
    ON CONFLICT (source_id, key_number) DO UPDATE
    SET uuid = EXCLUDED.uuid, id_synthese = EXCLUDED.id_synthese, attributes_hash = NULL, geometry_hash = NULL,
        deleted_run = NULL, deleted_at = NULL, cd_nom = EXCLUDED.cd_nom, id_dataset = EXCLUDED.id_dataset
    WHERE h.id_synthese IS NULL;
    IF FOUND THEN
        UPDATE gn_harvest.source_state st SET last_full_at = NULL WHERE st.source_id = adopting.id;
    END IF;
END
$$;
COMMENT ON FUNCTION gn_harvest.take_gn2pg_rows(text, bigint[], uuid[], bigint[], integer[], integer[]) IS 'Makes rows that GN2PG wrote the lineage of a source, to be compared by its next run.';

CREATE FUNCTION gn_harvest.end_gn2pg(name text, watermark text, began text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    adopting gn_harvest.source := gn_harvest.managed_source(name);
BEGIN
    UPDATE gn_harvest.source_state st
    SET observations = (SELECT count(*) FROM gn_harvest.harvested h WHERE h.source_id = adopting.id AND h.id_synthese IS NOT NULL)
    WHERE st.source_id = adopting.id;
    -- The log of deletions is asked from the beginning: GN2PG misses some.
    UPDATE gn_harvest.source_state st
    SET watermark = coalesce(st.watermark, end_gn2pg.watermark),
        watermark_column = coalesce(st.watermark_column, CASE WHEN end_gn2pg.watermark IS NOT NULL THEN 'derniere_action' END),
        deletion_watermark = coalesce(began, st.deletion_watermark)
    WHERE st.source_id = adopting.id AND st.last_full_at IS NULL;
END
$$;
COMMENT ON FUNCTION gn_harvest.end_gn2pg(text, text, text) IS 'Says from where a source goes on after GN2PG.';

CREATE OR REPLACE FUNCTION gn_harvest.map_dataset(source text, uuid uuid, local_uuid uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    mapped_source integer := (gn_harvest.managed_source(source)).id;
    found_kind    text;
BEGIN
    PERFORM gn_harvest.require_observations(gn_harvest.managed_source(source));
    IF uuid IS NULL OR local_uuid IS NULL THEN
        RAISE EXCEPTION 'map_dataset needs two UUIDs, that of the source and the local one' USING ERRCODE = 'null_value_not_allowed',
            HINT = 'SELECT * FROM gn_harvest.metadata_review; shows those that wait. unmap_dataset takes a decision back.';
    END IF;
    found_kind := CASE WHEN gn_harvest.is_local('gn_meta', 't_datasets', 'unique_dataset_id', local_uuid) THEN 'dataset'
                       WHEN gn_harvest.is_local('gn_meta', 't_acquisition_frameworks', 'unique_acquisition_framework_id', local_uuid) THEN 'framework'
                       WHEN gn_harvest.is_local('utilisateurs', 'bib_organismes', 'uuid_organisme', local_uuid) THEN 'organism' END;
    IF found_kind IS NULL THEN
        RAISE EXCEPTION 'nothing here has the UUID %', local_uuid USING ERRCODE = 'no_data_found',
            DETAIL = 'It is neither a dataset, nor an acquisition framework, nor an organism of this database.',
            HINT = 'SELECT unique_dataset_id, dataset_name FROM gn_meta.t_datasets; the local one comes last: map_dataset(source, uuid, local_uuid).';
    END IF;
    IF EXISTS (SELECT FROM gn_harvest.source_metadata m
               WHERE m.source_id = mapped_source AND m.uuid = map_dataset.uuid
               HAVING bool_and(m.kind <> found_kind) AND count(*) > 0) THEN
        RAISE EXCEPTION '% is no % at the source', uuid, found_kind USING ERRCODE = 'invalid_parameter_value',
            DETAIL = format('%s is a local %s.', local_uuid, found_kind),
            HINT = 'Map a dataset to a dataset, a framework to a framework, an organism to an organism.';
    END IF;
    INSERT INTO gn_harvest.metadata_mapping AS p (source_id, kind, uuid, local_uuid, set_by)
    VALUES (mapped_source, found_kind, uuid, local_uuid, gn_harvest.caller())
    ON CONFLICT ON CONSTRAINT metadata_mapping_pkey
    DO UPDATE SET local_uuid = EXCLUDED.local_uuid, set_by = EXCLUDED.set_by, set_at = now();
END
$$;

CREATE OR REPLACE FUNCTION gn_harvest.grant_views(role name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role) THEN
        RAISE EXCEPTION 'role "%" does not exist', role
            USING ERRCODE = 'undefined_object', HINT = format('CREATE ROLE %I;', role);
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA gn_harvest TO %I', role);
    EXECUTE format('GRANT SELECT ON gn_harvest.run_history, gn_harvest.run_progress, gn_harvest.source_status,
        gn_harvest.scheduler_status, gn_harvest.rejected_record, gn_harvest.rejection_summary, gn_harvest.unmapped_value, gn_harvest.uuid_conflict,
        gn_harvest.metadata_review, gn_harvest.harvested_record, gn_harvest.open_alert, gn_harvest.alert_history,
        gn_harvest.channel_status, gn_harvest.alert_delivery, gn_harvest.published_export TO %I', role);
    EXECUTE format('GRANT SELECT ON gn_harvest.dashboard, gn_harvest.rejected_by_reason, gn_harvest.metrics TO %I', role);
    EXECUTE format('GRANT EXECUTE ON FUNCTION gn_harvest.status_page(text), gn_harvest.status_page_data(),
        gn_harvest.render_status_page(text, boolean), gn_harvest.installed_version() TO %I', role);
    -- Views check the functions that they call against who reads them.
    EXECUTE format('GRANT EXECUTE ON FUNCTION gn_harvest.visible_source(name), gn_harvest.sees_everything(name),
        gn_harvest.working_source(), gn_harvest.may_manage(name, name), gn_harvest.in_french(), gn_harvest.word(text),
        gn_harvest.frequency(text, text), gn_harvest.frequency_in(text, text, boolean), gn_harvest.schedule_obstacle(),
        gn_harvest.next_tick(text, timestamptz), gn_harvest.scheduler_facts(), gn_harvest.obstacle_advice(text, boolean),
        gn_harvest.next_run(integer, text, text, double precision, text, timestamptz, timestamptz, text, timestamptz),
        gn_harvest.alert_text(text, text, boolean), gn_harvest.channel_target(text, jsonb),
        gn_harvest.local_table(), gn_harvest.local_metadata(), gn_harvest.likely_match(text, text, uuid[]),
        gn_harvest.visible_record_source(name), gn_harvest.record_columns,
        gn_harvest.record_view_query, gn_harvest.replaceable_view, gn_harvest.create_record_view TO %I', role);
END
$$;

CREATE OR REPLACE FUNCTION gn_harvest.grant_operator(role name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM gn_harvest.grant_views(role);
    EXECUTE format('GRANT EXECUTE ON FUNCTION gn_harvest.add_source, gn_harvest.alter_source, gn_harvest.set_credentials,
        gn_harvest.pause_source, gn_harvest.resume_source, gn_harvest.drop_source, gn_harvest.accept_columns, gn_harvest.check_source, gn_harvest.plan,
        gn_harvest.run, gn_harvest.run_all, gn_harvest.retry_rejected, gn_harvest.discard_rejected,
        gn_harvest.cancel, gn_harvest.is_running, gn_harvest.wait_for,
        gn_harvest.map_value, gn_harvest.unmap_value, gn_harvest.map_field,
        gn_harvest.map_dataset, gn_harvest.unmap_dataset,
        gn_harvest.target_columns, gn_harvest.field_columns, gn_harvest.mappable_columns, gn_harvest.rejection_reasons,
        gn_harvest.alert_rules, gn_harvest.set_alert_rule, gn_harvest.acknowledge_alert,
        gn_harvest.add_channel, gn_harvest.drop_channel, gn_harvest.test_channel, gn_harvest.send_alerts TO %I', role);
    -- adopt_gn2pg reads as its caller: what it is made of is the caller's to call.
    EXECUTE format('GRANT EXECUTE ON FUNCTION gn_harvest.adopt_gn2pg, gn_harvest.hide_statement, gn_harvest.check_gn2pg, gn_harvest.gn2pg_layout,
        gn_harvest.gn2pg_parameters, gn_harvest.gn2pg_filters, gn_harvest.gn2pg_names, gn_harvest.gn2pg_sources, gn_harvest.gn2pg_page,
        gn_harvest.gn2pg_watermark, gn_harvest.gn2pg_next_step, gn_harvest.gn2pg_known, gn_harvest.check_gn2pg_known,
        gn_harvest.connect_gn2pg, gn_harvest.take_gn2pg, gn_harvest.begin_gn2pg, gn_harvest.take_gn2pg_rows, gn_harvest.end_gn2pg TO %I', role);
    -- What publish_export is made of: its own statements run with the rights of the caller.
    EXECUTE format('GRANT EXECUTE ON FUNCTION gn_harvest.publish_export, gn_harvest.unpublish_export,
        gn_harvest.require_geonature_exports, gn_harvest.require_free_labels, gn_harvest.caller, gn_harvest.publication_named,
        gn_harvest.slug_of, gn_harvest.check_publication, gn_harvest.nomenclature_codes, gn_harvest.licence_named, gn_harvest.roles_named,
        gn_harvest.derniere_action_index, gn_harvest.publication_exports, gn_harvest.publication_filter, gn_harvest.publication_plain_filter, gn_harvest.publication_lookups,
        gn_harvest.publication_nomenclatures, gn_harvest.publication_view_sql, gn_harvest.publication_observation_columns, gn_harvest.publication_observations_sql,
        gn_harvest.publication_deletions_sql, gn_harvest.publication_actors, gn_harvest.publication_codes,
        gn_harvest.publication_dataset_member, gn_harvest.publication_dataset_condition, gn_harvest.publication_metadata_columns,
        gn_harvest.publication_framework_condition, gn_harvest.publication_metadata_sql, gn_harvest.publication_views_sql,
        gn_harvest.publication_watch_sql, gn_harvest.publication_unwatch_sql, gn_harvest.watched_tables, gn_harvest.metadata_watch_sql,
        gn_harvest.publication_grants_sql, gn_harvest.keep_publication, gn_harvest.register_exports, gn_harvest.set_publication_exports,
        gn_harvest.publication_summary, gn_harvest.forget_publication TO %I', role);
END
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA gn_harvest FROM PUBLIC;

REVOKE ALL ON ALL TABLES IN SCHEMA gn_harvest FROM PUBLIC;

REVOKE ALL ON ALL SEQUENCES IN SCHEMA gn_harvest FROM PUBLIC;

DO $$
DECLARE
    kept pg_catalog.regclass;
BEGIN
    FOR kept IN
        SELECT c.oid FROM pg_catalog.pg_class c
        WHERE c.relnamespace = 'gn_harvest'::pg_catalog.regnamespace AND c.relkind IN ('r', 'S')
          AND c.relname NOT IN ('taxon_tally', 'dataset_tally', 'rejected_tally')
    LOOP
        PERFORM pg_catalog.pg_extension_config_dump(kept, '');
    END LOOP;
END
$$;

-- Operators and readers get what this version gives them; others keep what they had.
DO $$
DECLARE
    had   jsonb := current_setting('gn_harvest_upgrade.grants')::jsonb;
    given record;
BEGIN
    FOR given IN
        SELECT r.rolname AS role, true AS operates
        FROM jsonb_to_recordset(had) h(kind text, name text, role text)
        JOIN pg_roles r ON r.oid = h.role::regrole
        WHERE h.kind = 'FUNCTION' AND h.name = 'run'
        UNION
        SELECT r.rolname, false
        FROM gn_harvest.reader known JOIN pg_roles r ON r.rolname = known.role
    LOOP
        IF given.operates THEN
            PERFORM gn_harvest.grant_operator(given.role);
        ELSE
            PERFORM gn_harvest.grant_reader(given.role);
        END IF;
    END LOOP;
    FOR given IN
        SELECT format('GRANT %s ON %s TO %s', h.privilege,
                      CASE h.kind WHEN 'VIEW' THEN format('gn_harvest.%I', h.name) ELSE 'FUNCTION ' || p.oid::regprocedure END, h.role) AS command
        FROM jsonb_to_recordset(had) h(kind text, name text, role text, privilege text)
        LEFT JOIN pg_proc p ON h.kind = 'FUNCTION' AND p.pronamespace = 'gn_harvest'::regnamespace AND p.proname = h.name
        WHERE h.kind = 'VIEW' OR p.oid IS NOT NULL
    LOOP
        EXECUTE given.command;
    END LOOP;
END
$$;

-- Figures that are counted from now on.
SELECT gn_harvest.recount();
