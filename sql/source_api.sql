-- The life of a source: add_source, alter_source, set_credentials, pause_source, resume_source, drop_source.

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

CREATE FUNCTION gn_harvest.apply_settings(base gn_harvest.source, settings jsonb) RETURNS gn_harvest.source
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
COMMENT ON FUNCTION gn_harvest.apply_settings(gn_harvest.source, jsonb) IS 'Writes settings over those of a source.';

CREATE FUNCTION gn_harvest.store_credentials(source_id integer, login text, password text, token text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
    IF token IS NOT NULL AND (login IS NOT NULL OR password IS NOT NULL) THEN
        RAISE EXCEPTION 'give a login with its password, or a token, not both'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'A token opens one export; a login opens the deletion log as well.';
    END IF;
    IF (login IS NULL) <> (password IS NULL) THEN
        RAISE EXCEPTION 'a login needs its password, and a password its login'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Give login => ... and password => ..., or a token => ..., or nothing for a public export.';
    END IF;
    DELETE FROM gn_harvest.credential c WHERE c.source_id = store_credentials.source_id;
    IF num_nonnulls(login, token) > 0 THEN
        INSERT INTO gn_harvest.credential (source_id, login, password, token) VALUES (source_id, login, password, token);
    END IF;
END
$$;
COMMENT ON FUNCTION gn_harvest.store_credentials(integer, text, text, text) IS 'Replaces the secrets of a source; none: the export is public.';

CREATE FUNCTION gn_harvest.set_credentials(name text, login text DEFAULT NULL, password text DEFAULT NULL, token text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM gn_harvest.hide_statement('set_credentials');
    PERFORM gn_harvest.store_credentials((gn_harvest.managed_source(name)).id, login, password, token);
END
$$;
COMMENT ON FUNCTION gn_harvest.set_credentials(text, text, text, text) IS 'Replaces the login and password, or the token, of a source. Without any: the export is public.';

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

CREATE FUNCTION gn_harvest.pause_source(name text, reason text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    paused gn_harvest.source := gn_harvest.managed_source(name);
BEGIN
    UPDATE gn_harvest.source s SET enabled = false WHERE s.id = paused.id;
    UPDATE gn_harvest.source_state st
    SET paused_reason = coalesce(reason, format('paused by %s', gn_harvest.caller()))
    WHERE st.source_id = paused.id;
END
$$;
COMMENT ON FUNCTION gn_harvest.pause_source(text, text) IS 'Stops new runs of a source until resume_source. A run that is going on goes on: cancel stops it.';

CREATE FUNCTION gn_harvest.resume_source(name text) RETURNS void
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
COMMENT ON FUNCTION gn_harvest.resume_source(text) IS 'Lets a paused source run again, and forgets its failures in a row.';

CREATE FUNCTION gn_harvest.accept_columns(name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    accepted gn_harvest.source := gn_harvest.managed_source(name);
BEGIN
    UPDATE gn_harvest.source_state st SET export_columns = NULL WHERE st.source_id = accepted.id;
END
$$;
COMMENT ON FUNCTION gn_harvest.accept_columns(text) IS 'Agrees to the columns that the export has now: the next run remembers them. For a source whose contract is freeze.';

CREATE FUNCTION gn_harvest.drop_source(name text, delete_data boolean DEFAULT false) RETURNS void
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
COMMENT ON FUNCTION gn_harvest.drop_source(text, boolean) IS 'Disconnects a source: its settings, secrets, mappings and rejected records go. What it brought stays in the target, with its lineage, so that a source of the same name takes it back; delete_data => true removes it from the target, in batches.';
