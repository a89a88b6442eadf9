-- For partners: publish_export makes three exports of the export module that collectors read at little cost;
-- unpublish_export takes them away. The views are made with the rights of the caller, and read with them.

-- The three exports of a publication: what it is called, its view and its key.
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

-- What makes and registers the exports, in order: statements that the caller may run.
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
