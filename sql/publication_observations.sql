-- The view of observations that a publication gives. One row an observation, and no join at all: what other tables say is
-- looked up by their keys, for the rows that are served only. A left join that PostgreSQL 15 takes out of a count still
-- keeps it from being an index-only scan, and twenty of them cost more to plan than to run. Codes are looked up in one
-- object for each type of nomenclature, made once a query: an index probe for each code of each row costs five times as
-- much (bench/publish.md). Each column of each table is named: a later GeoNature that drops one is told so by PostgreSQL,
-- with the name of the view.

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

-- Columns in their order: name, expression, comment. The order and the types are the same whatever the options, so that
-- the view can be replaced.
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
