-- Sources: a partner's GeoNature export, how to read it and what to do with what it gives.

CREATE TABLE gn_harvest.source (
    id                   integer     GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name                 text        NOT NULL UNIQUE,
    url                  text        NOT NULL,
    export_id            integer     NOT NULL,
    metadata_export_id   integer,
    target               text        NOT NULL DEFAULT 'synthese',
    deletion_export_id   integer,
    organism             text,
    organism_uuid        uuid,
    format               text        NOT NULL DEFAULT 'auto',
    filters              jsonb       NOT NULL DEFAULT '{}',
    key_column           text,
    date_column          text,
    connections          integer     NOT NULL DEFAULT 2,
    writers              integer,
    page_size            integer     NOT NULL DEFAULT 1000,
    uncapped_pages       boolean     NOT NULL DEFAULT false,
    load                 text        NOT NULL DEFAULT 'standard',
    retry_budget         integer     NOT NULL DEFAULT 20,
    look_back            interval    NOT NULL DEFAULT '3 hours',
    allowed_hours        text,
    pause_after_failures integer     NOT NULL DEFAULT 5,
    protected_columns    text[]      NOT NULL DEFAULT '{}',
    on_unknown_value     text        NOT NULL DEFAULT 'default',
    on_uuid_conflict     text        NOT NULL DEFAULT 'reject',
    max_loss             numeric     NOT NULL DEFAULT 10,
    priority             integer     NOT NULL DEFAULT 100,
    contract             text        NOT NULL DEFAULT 'warn',
    ca_certificate       text,
    metadata_mode        text        NOT NULL DEFAULT 'full',
    target_dataset       uuid,
    create_persons       boolean     NOT NULL DEFAULT true,
    organisms_by_name    boolean     NOT NULL DEFAULT false,
    after_run            text,
    schedule             text        NOT NULL DEFAULT 'manual',
    reconcile_schedule   text,
    schedule_jitter      interval    NOT NULL DEFAULT '0',
    enabled              boolean     NOT NULL DEFAULT true,
    owner                name        NOT NULL,
    created_at           timestamptz NOT NULL DEFAULT now(),
    altered_at           timestamptz NOT NULL DEFAULT now(),
    bootstrap_url        text
);
COMMENT ON SEQUENCE gn_harvest.source_id_seq IS 'Numbers of sources.';
COMMENT ON TABLE gn_harvest.source IS 'One row a source: where it is, how it is read, what is done with what it gives. Written by add_source and alter_source.';
COMMENT ON COLUMN gn_harvest.source.bootstrap_url IS 'Address of the file that the partner''s GeoNature writes of this export on a schedule: the first full run reads it in place of the export.';
COMMENT ON COLUMN gn_harvest.source.metadata_mode IS 'full: frameworks, datasets and actors are created and kept up to date; create_only: created, then left to local people; mapped: only what map_dataset names; single_dataset: everything goes into target_dataset. Rows already written follow a change at the next full run.';
COMMENT ON COLUMN gn_harvest.source.target_dataset IS 'unique_dataset_id of the local dataset that takes everything, in mode single_dataset.';
COMMENT ON COLUMN gn_harvest.source.create_persons IS 'Whether persons that are not here are created; if not, they are left out of the actors.';
COMMENT ON COLUMN gn_harvest.source.organisms_by_name IS 'Whether an organism whose UUID is unknown is the one that has exactly its name here.';
COMMENT ON COLUMN gn_harvest.source.schedule IS 'When it runs by itself, in plain words or as a cron expression; manual: only when someone runs it.';
COMMENT ON COLUMN gn_harvest.source.reconcile_schedule IS 'When it is reconciled by itself, written likewise; null: only when someone does.';
COMMENT ON COLUMN gn_harvest.source.schedule_jitter IS 'Greatest time by which its scheduled runs begin later than their schedule says, another time each tick, so that sources do not all begin at once.';
COMMENT ON COLUMN gn_harvest.source.id IS 'Number of the source.';
COMMENT ON COLUMN gn_harvest.source.name IS 'Name, 1 to 63 characters; also that of its row in gn_synthese.t_sources.';
COMMENT ON COLUMN gn_harvest.source.url IS 'Base address of the partner''s GeoNature. Credentials are for its host and are removed when it changes.';
COMMENT ON COLUMN gn_harvest.source.export_id IS 'Number of the export there.';
COMMENT ON COLUMN gn_harvest.source.metadata_export_id IS 'Number of a second export that gives one record per acquisition framework, with its datasets.';
COMMENT ON COLUMN gn_harvest.source.target IS 'synthese: observations, into gn_synthese.synthese; records: whatever the export has, into gn_harvest.record, which needs no GeoNature.';
COMMENT ON COLUMN gn_harvest.source.deletion_export_id IS 'Number of an export that tells what was deleted or left, as publish_export makes it; found by itself when the export of observations names it.';
COMMENT ON COLUMN gn_harvest.source.organism IS 'Organism that the data come from, for people.';
COMMENT ON COLUMN gn_harvest.source.organism_uuid IS 'UUID of that organism in the national register, for people.';
COMMENT ON COLUMN gn_harvest.source.format IS 'How the export writes nomenclatures: codes, labels, or auto (told apart column by column).';
COMMENT ON COLUMN gn_harvest.source.filters IS 'Further filters of the export, as a JSON object, such as {"jdd_uuid": "…"}: only what they let through is harvested.';
COMMENT ON COLUMN gn_harvest.source.key_column IS 'Column of the export that identifies a record; by default id_synthese, else the UUID.';
COMMENT ON COLUMN gn_harvest.source.date_column IS 'Column of the export with the date of a record''s last change; by default derniere_action.';
COMMENT ON COLUMN gn_harvest.source.connections IS 'Requests to the partner at once, 1 to 16.';
COMMENT ON COLUMN gn_harvest.source.writers IS 'Workers that write for one full run, 1 to 16; null: as many as gn_harvest.writers says.';
COMMENT ON COLUMN gn_harvest.source.page_size IS 'Records asked for in one request, 1 to 100000; the partner may allow fewer.';
COMMENT ON COLUMN gn_harvest.source.uncapped_pages IS 'Asks with limit=0, which goes round the partner''s cap on pages: only if its administrator agrees.';
COMMENT ON COLUMN gn_harvest.source.load IS 'How new observations are written: "standard" with every trigger of the target, "fast" with the work of GeoNature''s own triggers done for whole batches.';
COMMENT ON COLUMN gn_harvest.source.retry_budget IS 'Requests that a run may repeat after errors before it fails.';
COMMENT ON COLUMN gn_harvest.source.look_back IS 'How far before the last change an incremental run asks again: more than a clock''s step and a long transaction of the partner.';
COMMENT ON COLUMN gn_harvest.source.allowed_hours IS 'Hours of the day, in gn_harvest.timezone, in which runs may work, such as 20:00-06:00; null: always.';
COMMENT ON COLUMN gn_harvest.source.pause_after_failures IS 'Failed runs in a row after which the source is paused.';
COMMENT ON COLUMN gn_harvest.source.protected_columns IS 'Columns of gn_synthese.synthese that are written when an observation is new and never again.';
COMMENT ON COLUMN gn_harvest.source.on_unknown_value IS 'What a code or label that is not in the local nomenclature becomes: default (that of the target), null, or reject (the record waits).';
COMMENT ON COLUMN gn_harvest.source.on_uuid_conflict IS 'What becomes of a record whose UUID is that of an observation of another source: reject, skip, take_over, or priority (the source with the lower number has it).';
COMMENT ON COLUMN gn_harvest.source.max_loss IS 'Deletions, in percent of the observations held, above which a run deletes nothing and ends as blocked.';
COMMENT ON COLUMN gn_harvest.source.priority IS 'Rank among sources, for run_all and for on_uuid_conflict priority; the lower number comes first.';
COMMENT ON COLUMN gn_harvest.source.contract IS 'What a change of the export''s columns does: warn (the run says it), freeze (the run fails), evolve (nothing).';
COMMENT ON COLUMN gn_harvest.source.ca_certificate IS 'Certificate in PEM of an authority to trust besides those of the system.';
COMMENT ON COLUMN gn_harvest.source.after_run IS 'Function of the owner''s, taking jsonb, that is called after a run that has changed something: schema and name.';
COMMENT ON COLUMN gn_harvest.source.enabled IS 'Whether it may be run; pause_source and resume_source.';
COMMENT ON COLUMN gn_harvest.source.created_at IS 'When it was added.';
COMMENT ON COLUMN gn_harvest.source.altered_at IS 'When it was last altered.';
COMMENT ON COLUMN gn_harvest.source.owner IS 'Role as which its runs write into the target. A name, so that it survives a dump.';

-- Facts that runs learn; apart from the settings so that a run never waits for an alter_source.
CREATE TABLE gn_harvest.source_state (
    source_id            integer     PRIMARY KEY REFERENCES gn_harvest.source ON DELETE CASCADE,
    id_source            integer,
    watermark            text,
    watermark_column     text,
    deletion_watermark   text,
    export_columns       text[],
    column_formats       jsonb       NOT NULL DEFAULT '{}',
    observations         bigint      NOT NULL DEFAULT 0,
    consecutive_failures integer     NOT NULL DEFAULT 0,
    paused_reason        text,
    last_success_at      timestamptz,
    hook_run             bigint,
    last_full_at         timestamptz,
    ticks_settled_at      timestamptz NOT NULL DEFAULT now(),
    reconciles_settled_at timestamptz NOT NULL DEFAULT now(),
    selection            bigint
);
COMMENT ON COLUMN gn_harvest.source_state.selection IS 'Number of the selection that the partner publishes: when it has moved, everything is read and compared.';
COMMENT ON TABLE gn_harvest.source_state IS 'What runs have learnt of a source: its row in gn_synthese.t_sources, its watermark (as the source wrote it), its columns, counts.';
COMMENT ON COLUMN gn_harvest.source_state.ticks_settled_at IS 'Ticks of its schedule up to here are settled: run, or from before it had the schedule.';
COMMENT ON COLUMN gn_harvest.source_state.reconciles_settled_at IS 'The same for its reconcile_schedule.';

CREATE TABLE gn_harvest.credential (
    source_id integer PRIMARY KEY REFERENCES gn_harvest.source ON DELETE CASCADE,
    login     text,
    password  text,
    token     text,
    set_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT one_way_in CHECK (num_nonnulls(login, token) = 1 AND (login IS NULL) = (password IS NULL))
);
COMMENT ON TABLE gn_harvest.credential IS 'Secrets of sources. Granted to nobody: only runs read it.';

CREATE TABLE gn_harvest.reader (
    role name PRIMARY KEY
);
COMMENT ON TABLE gn_harvest.reader IS 'Roles that see every source in the views (grant_reader); other roles see the sources whose owner they are.';

-- Who is asking, also inside SECURITY DEFINER functions.
CREATE FUNCTION gn_harvest.caller() RETURNS name
LANGUAGE sql STABLE PARALLEL RESTRICTED
AS $$
    SELECT CASE WHEN pg_catalog.current_setting('role') = 'none'
                THEN session_user
                ELSE pg_catalog.current_setting('role')::name END
$$;
COMMENT ON FUNCTION gn_harvest.caller() IS 'The role that called, as SET ROLE left it.';

CREATE FUNCTION gn_harvest.may_manage(asking name, owner name) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = asking AND rolsuper)
        OR EXISTS (SELECT FROM pg_catalog.pg_roles o, pg_catalog.pg_roles a
                   WHERE o.rolname = owner AND a.rolname = asking
                     AND pg_catalog.pg_has_role(a.oid, o.oid, 'MEMBER'))
$$;
COMMENT ON FUNCTION gn_harvest.may_manage(name, name) IS 'Whether a role may manage the sources of an owner: a superuser, or a member of the owner.';

CREATE FUNCTION gn_harvest.visible_source(asking name) RETURNS SETOF integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT s.id
    FROM gn_harvest.source s
    WHERE EXISTS (SELECT FROM gn_harvest.reader r JOIN pg_roles o ON o.rolname = r.role
                                                  JOIN pg_roles a ON a.rolname = asking
                  WHERE pg_has_role(a.oid, o.oid, 'MEMBER'))
       OR gn_harvest.may_manage(asking, s.owner)
$$;
COMMENT ON FUNCTION gn_harvest.visible_source(name) IS 'Sources that a role may see: all for a reader and a superuser, its own for the others.';

-- The only place that reads a source for a caller: unknown and forbidden look different on purpose,
-- the caller already has EXECUTE on the management functions.
CREATE FUNCTION gn_harvest.managed_source(source_name text) RETURNS gn_harvest.source
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found_source gn_harvest.source;
BEGIN
    SELECT * INTO found_source FROM gn_harvest.source s WHERE s.name = source_name;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'source "%" does not exist', source_name
            USING ERRCODE = 'undefined_object',
                  HINT = 'SELECT source FROM gn_harvest.source_status lists the sources; gn_harvest.add_source(...) adds one.';
    END IF;
    IF NOT gn_harvest.may_manage(gn_harvest.caller(), found_source.owner) THEN
        RAISE EXCEPTION 'role "%" may not manage source "%"', gn_harvest.caller(), source_name
            USING ERRCODE = 'insufficient_privilege',
                  DETAIL = format('It belongs to role "%s".', found_source.owner),
                  HINT = format('GRANT %I TO %I, or ask the owner.', found_source.owner, gn_harvest.caller());
    END IF;
    RETURN found_source;
END
$$;
COMMENT ON FUNCTION gn_harvest.managed_source(text) IS 'A source that the caller may manage, or an error.';

-- Every setting of a source is checked here, whoever writes it.
CREATE FUNCTION gn_harvest.check_source_settings() RETURNS trigger
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
COMMENT ON FUNCTION gn_harvest.check_source_settings() IS 'Trigger: checks every setting of a source and says what would be right.';

-- Not in the trigger either: a dump may bring the function after the source. Returns schema and name.
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

-- Not in the trigger: a dump is restored also where its roles do not exist yet.
CREATE FUNCTION gn_harvest.check_owner(owner name) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF owner IS NULL THEN
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = owner) THEN
        RAISE EXCEPTION 'role "%" does not exist', owner
            USING ERRCODE = 'undefined_object', HINT = format('The owner is the role as which the source writes. CREATE ROLE %I;', owner);
    END IF;
    IF NOT gn_harvest.may_manage(gn_harvest.caller(), owner) THEN
        RAISE EXCEPTION 'role "%" may not make "%" the owner of a source', gn_harvest.caller(), owner
            USING ERRCODE = 'insufficient_privilege', HINT = format('GRANT %I TO %I;', owner, gn_harvest.caller());
    END IF;
END
$$;
COMMENT ON FUNCTION gn_harvest.check_owner(name) IS 'Refuses an owner that does not exist, or of which the caller is not a member.';

-- map_value, map_field and map_dataset speak of gn_synthese.
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

CREATE FUNCTION gn_harvest.check_range(setting text, given integer, minimum integer, maximum integer) RETURNS void
LANGUAGE plpgsql IMMUTABLE
AS $$
BEGIN
    IF given NOT BETWEEN minimum AND maximum THEN
        RAISE EXCEPTION '% must be between % and %', setting, minimum, maximum
            USING ERRCODE = 'invalid_parameter_value', DETAIL = pg_catalog.format('Value given: %s.', given),
                  HINT = pg_catalog.format('Give %s => a number of that range, or leave it out.', setting);
    END IF;
END
$$;
COMMENT ON FUNCTION gn_harvest.check_range(text, integer, integer, integer) IS 'Refuses a number out of its range.';

CREATE FUNCTION gn_harvest.check_choice(setting text, given text, choices text[]) RETURNS void
LANGUAGE plpgsql IMMUTABLE
AS $$
BEGIN
    IF given = ANY (choices) IS NOT TRUE THEN
        RAISE EXCEPTION '% can not be "%"', setting, given
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = pg_catalog.format('It is one of: %s.', pg_catalog.array_to_string(choices, ', '));
    END IF;
END
$$;
COMMENT ON FUNCTION gn_harvest.check_choice(text, text, text[]) IS 'Refuses a word that is not one of the choices.';

CREATE TRIGGER check_source_settings BEFORE INSERT OR UPDATE ON gn_harvest.source
    FOR EACH ROW EXECUTE FUNCTION gn_harvest.check_source_settings();
