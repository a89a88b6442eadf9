-- Last: grant_reader, grant_operator, and nothing to PUBLIC.

CREATE FUNCTION gn_harvest.grant_views(role name) RETURNS void
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
COMMENT ON FUNCTION gn_harvest.grant_views(name) IS 'What readers and operators have in common.';

CREATE FUNCTION gn_harvest.grant_reader(role name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM gn_harvest.grant_views(role);
    INSERT INTO gn_harvest.reader VALUES (role) ON CONFLICT DO NOTHING;
END
$$;
COMMENT ON FUNCTION gn_harvest.grant_reader(name) IS 'Lets a role read the views, every source of them. Secrets are in none.';

CREATE FUNCTION gn_harvest.grant_operator(role name) RETURNS void
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
COMMENT ON FUNCTION gn_harvest.grant_operator(name) IS 'Lets a role connect sources, run and manage those that it owns, and read the views of them. Its runs write with its own rights: grant it what the target needs.';

COMMENT ON SCHEMA gn_harvest IS 'Harvests partner GeoNature instances: functions to call, views to look at. See the README of the extension gn_harvest.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA gn_harvest FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA gn_harvest FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA gn_harvest FROM PUBLIC;

-- Settings, history and lineage survive pg_dump; counts of them are made anew as they are restored.
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
