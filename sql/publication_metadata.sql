-- The view of metadata that a publication gives: one row a framework with all that hangs on it, its datasets nested.
-- Its columns and members are those of the exports that GeoNature's partners know (ca_data, jdd_data).

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

-- Which datasets: those of the filter; where it is not on datasets, those of which something is published.
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

-- Which frameworks: those of the datasets, with their parents. Without a filter: all.
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
