-- The usual "with metadata" view that partners are given, in its documented shape: each record carries its dataset and its
-- framework whole, gathered with their actors, territories and protocols; codes, habitat and areas joined; the whole sorted
-- by key. Written from that shape (its keys, what it joins and gathers, its order), for comparison.

CREATE VIEW gn_exports.v_usual AS
WITH jdd_actors AS (
    SELECT a.id_dataset, json_build_object(
               'type_role', CASE WHEN a.id_organism IS NOT NULL THEN 'organism' ELSE 'role' END,
               'uuid_actor', coalesce(o.uuid_organisme, r.uuid_role), 'email', coalesce(o.email_organisme, r.email),
               'cd_nomenclature_actor_role', n.cd_nomenclature,
               'identity', CASE WHEN a.id_organism IS NOT NULL THEN json_build_object('organism_name', o.nom_organisme)
                                ELSE json_build_object('first_name', r.nom_role, 'last_name', r.prenom_role) END) AS actor
    FROM gn_meta.cor_dataset_actor a
    LEFT JOIN utilisateurs.bib_organismes o ON o.id_organisme = a.id_organism
    LEFT JOIN utilisateurs.t_roles r ON r.id_role = a.id_role
    JOIN ref_nomenclatures.t_nomenclatures n ON n.id_nomenclature = a.id_nomenclature_actor_role
), ca_actors AS (
    SELECT a.id_acquisition_framework, json_build_object(
               'type_role', CASE WHEN a.id_organism IS NOT NULL THEN 'organism' ELSE 'role' END,
               'uuid_actor', coalesce(o.uuid_organisme, r.uuid_role), 'email', coalesce(o.email_organisme, r.email),
               'cd_nomenclature_actor_role', n.cd_nomenclature,
               'identity', CASE WHEN a.id_organism IS NOT NULL THEN json_build_object('organism_name', o.nom_organisme)
                                ELSE json_build_object('first_name', r.nom_role, 'last_name', r.prenom_role) END) AS actor
    FROM gn_meta.cor_acquisition_framework_actor a
    LEFT JOIN utilisateurs.bib_organismes o ON o.id_organisme = a.id_organism
    LEFT JOIN utilisateurs.t_roles r ON r.id_role = a.id_role
    JOIN ref_nomenclatures.t_nomenclatures n ON n.id_nomenclature = a.id_nomenclature_actor_role
), ca_territories AS (
    SELECT l.id_acquisition_framework, array_agg(DISTINCT n.cd_nomenclature) AS codes
    FROM gn_meta.cor_acquisition_framework_territory l LEFT JOIN ref_nomenclatures.t_nomenclatures n ON n.id_nomenclature = l.id_nomenclature_territory
    GROUP BY l.id_acquisition_framework
), ca_objectives AS (
    SELECT l.id_acquisition_framework, array_agg(DISTINCT n.cd_nomenclature) AS codes
    FROM gn_meta.cor_acquisition_framework_objectif l LEFT JOIN ref_nomenclatures.t_nomenclatures n ON n.id_nomenclature = l.id_nomenclature_objectif
    GROUP BY l.id_acquisition_framework
), ca_themes AS (
    SELECT l.id_acquisition_framework, array_agg(DISTINCT n.cd_nomenclature) AS codes
    FROM gn_meta.cor_acquisition_framework_voletsinp l LEFT JOIN ref_nomenclatures.t_nomenclatures n ON n.id_nomenclature = l.id_nomenclature_voletsinp
    GROUP BY l.id_acquisition_framework
), jdd_protocols AS (
    SELECT l.id_dataset, jsonb_build_object('uuid', p.unique_protocol_id, 'name', p.protocol_name, 'desc', p.protocol_desc, 'url', p.protocol_url,
                                            'type', n.cd_nomenclature) AS protocol
    FROM gn_meta.cor_dataset_protocol l
    JOIN gn_meta.sinp_datatype_protocols p ON p.id_protocol = l.id_protocol
    LEFT JOIN ref_nomenclatures.t_nomenclatures n ON n.id_nomenclature = p.id_nomenclature_protocol_type
), jdd AS (
    SELECT d.id_dataset, d.id_acquisition_framework, jsonb_build_object(
               'uuid', d.unique_dataset_id, 'name', d.dataset_name, 'shortname', d.dataset_shortname, 'desc', d.dataset_desc,
               'keywords', d.keywords, 'marine_domain', d.marine_domain, 'terrestrial_domain', d.terrestrial_domain,
               'data_type', t1.cd_nomenclature, 'dataset_objectif', t2.cd_nomenclature, 'collecting_method', t3.cd_nomenclature,
               'data_origin', t4.cd_nomenclature, 'source_status', t5.cd_nomenclature, 'resource_type', t6.cd_nomenclature,
               'territories', array_agg(DISTINCT ref_nomenclatures.get_cd_nomenclature(ct.id_nomenclature_territory)),
               'protocols', p.protocol, 'actors', json_agg(a.actor)) AS jdd_data
    FROM gn_meta.t_datasets d
    JOIN jdd_actors a ON a.id_dataset = d.id_dataset
    LEFT JOIN gn_meta.cor_dataset_territory ct ON ct.id_dataset = d.id_dataset
    LEFT JOIN jdd_protocols p ON p.id_dataset = d.id_dataset
    LEFT JOIN ref_nomenclatures.t_nomenclatures t1 ON t1.id_nomenclature = d.id_nomenclature_data_type
    LEFT JOIN ref_nomenclatures.t_nomenclatures t2 ON t2.id_nomenclature = d.id_nomenclature_dataset_objectif
    LEFT JOIN ref_nomenclatures.t_nomenclatures t3 ON t3.id_nomenclature = d.id_nomenclature_collecting_method
    LEFT JOIN ref_nomenclatures.t_nomenclatures t4 ON t4.id_nomenclature = d.id_nomenclature_data_origin
    LEFT JOIN ref_nomenclatures.t_nomenclatures t5 ON t5.id_nomenclature = d.id_nomenclature_source_status
    LEFT JOIN ref_nomenclatures.t_nomenclatures t6 ON t6.id_nomenclature = d.id_nomenclature_resource_type
    GROUP BY d.id_dataset, d.id_acquisition_framework, d.dataset_name, t1.cd_nomenclature, t2.cd_nomenclature, t3.cd_nomenclature,
             t4.cd_nomenclature, t5.cd_nomenclature, t6.cd_nomenclature, p.protocol
), ca AS (
    SELECT f.id_acquisition_framework, jsonb_build_object(
               'uuid', f.unique_acquisition_framework_id, 'name', f.acquisition_framework_name, 'desc', f.acquisition_framework_desc,
               'start_date', f.acquisition_framework_start_date, 'end_date', f.acquisition_framework_end_date,
               'initial_closing_date', f.initial_closing_date, 'territorial_level', t1.cd_nomenclature, 'territory_desc', f.territory_desc,
               'financing_type', t2.cd_nomenclature, 'target_description', f.target_description,
               'ecologic_or_geologic_target', f.ecologic_or_geologic_target, 'is_parent', f.is_parent,
               'parent_uuid', parent.unique_acquisition_framework_id, 'objectives', o.codes, 'sinp_theme', v.codes,
               'territories', tt.codes, 'publications', NULL, 'actors', json_agg(a.actor)) AS ca_data
    FROM gn_meta.t_acquisition_frameworks f
    LEFT JOIN gn_meta.t_acquisition_frameworks parent ON parent.id_acquisition_framework = f.acquisition_framework_parent_id
    JOIN ca_actors a ON a.id_acquisition_framework = f.id_acquisition_framework
    LEFT JOIN ca_objectives o ON o.id_acquisition_framework = f.id_acquisition_framework
    LEFT JOIN ca_themes v ON v.id_acquisition_framework = f.id_acquisition_framework
    LEFT JOIN ca_territories tt ON tt.id_acquisition_framework = f.id_acquisition_framework
    LEFT JOIN ref_nomenclatures.t_nomenclatures t1 ON t1.id_nomenclature = f.id_nomenclature_territorial_level
    LEFT JOIN ref_nomenclatures.t_nomenclatures t2 ON t2.id_nomenclature = f.id_nomenclature_financing_type
    GROUP BY f.id_acquisition_framework, f.acquisition_framework_name, t1.cd_nomenclature, t2.cd_nomenclature, o.codes, v.codes, tt.codes,
             parent.unique_acquisition_framework_id
)
SELECT s.id_synthese, s.entity_source_pk_value AS id_source, s.unique_id_sinp AS id_perm_sinp, s.unique_id_sinp_grp AS id_perm_grp_sinp,
       s.date_min AS date_debut, s.date_max AS date_fin, s.cd_nom, s.meta_v_taxref AS version_taxref, s.nom_cite, s.count_min AS nombre_min,
       s.count_max AS nombre_max, s.altitude_min, s.altitude_max, s.depth_min AS profondeur_min, s.depth_max AS profondeur_max,
       s.observers AS observateurs, s.determiner AS determinateur, s.validator AS validateur, s.sample_number_proof AS numero_preuve,
       s.digital_proof AS preuve_numerique, s.non_digital_proof AS preuve_non_numerique, s.comment_context AS comment_releve,
       s.comment_description AS comment_occurrence, jdd.jdd_data, ca.ca_data, s.reference_biblio, s.cd_hab AS code_habitat,
       h.lb_hab_fr AS habitat, s.place_name AS nom_lieu, s."precision", s.additional_data::text AS donnees_additionnelles,
       st_astext(s.the_geom_4326) AS wkt_4326, s.grp_method AS methode_regroupement,
       CASE WHEN g.id_area IS NOT NULL THEN json_build_object('area_code', g.area_code, 'type_code', y.type_code) END AS area_attachment,
       n1.cd_nomenclature AS nature_objet_geo, n2.cd_nomenclature AS type_regroupement, n3.cd_nomenclature AS technique_obs,
       n4.cd_nomenclature AS statut_biologique, n5.cd_nomenclature AS etat_biologique, n6.cd_nomenclature AS naturalite,
       n7.cd_nomenclature AS preuve_existante, n8.cd_nomenclature AS precision_diffusion, n9.cd_nomenclature AS stade_vie,
       n10.cd_nomenclature AS sexe, n11.cd_nomenclature AS objet_denombrement, n12.cd_nomenclature AS type_denombrement,
       n13.cd_nomenclature AS niveau_sensibilite, n14.cd_nomenclature AS statut_observation, n15.cd_nomenclature AS floutage_dee,
       n16.cd_nomenclature AS statut_source, n17.cd_nomenclature AS type_info_geo, n18.cd_nomenclature AS methode_determination,
       n19.cd_nomenclature AS comportement, n20.cd_nomenclature AS statut_validation,
       coalesce(s.meta_update_date, s.meta_create_date) AS derniere_action
FROM gn_synthese.synthese s
JOIN jdd ON jdd.id_dataset = s.id_dataset
JOIN ca ON ca.id_acquisition_framework = jdd.id_acquisition_framework
LEFT JOIN ref_habitats.habref h ON h.cd_hab = s.cd_hab
LEFT JOIN (ref_geo.l_areas g JOIN ref_geo.bib_areas_types y ON y.id_type = g.id_type) ON g.id_area = s.id_area_attachment
LEFT JOIN ref_nomenclatures.t_nomenclatures n1 ON n1.id_nomenclature = s.id_nomenclature_geo_object_nature
LEFT JOIN ref_nomenclatures.t_nomenclatures n2 ON n2.id_nomenclature = s.id_nomenclature_grp_typ
LEFT JOIN ref_nomenclatures.t_nomenclatures n3 ON n3.id_nomenclature = s.id_nomenclature_obs_technique
LEFT JOIN ref_nomenclatures.t_nomenclatures n4 ON n4.id_nomenclature = s.id_nomenclature_bio_status
LEFT JOIN ref_nomenclatures.t_nomenclatures n5 ON n5.id_nomenclature = s.id_nomenclature_bio_condition
LEFT JOIN ref_nomenclatures.t_nomenclatures n6 ON n6.id_nomenclature = s.id_nomenclature_naturalness
LEFT JOIN ref_nomenclatures.t_nomenclatures n7 ON n7.id_nomenclature = s.id_nomenclature_exist_proof
LEFT JOIN ref_nomenclatures.t_nomenclatures n8 ON n8.id_nomenclature = s.id_nomenclature_diffusion_level
LEFT JOIN ref_nomenclatures.t_nomenclatures n9 ON n9.id_nomenclature = s.id_nomenclature_life_stage
LEFT JOIN ref_nomenclatures.t_nomenclatures n10 ON n10.id_nomenclature = s.id_nomenclature_sex
LEFT JOIN ref_nomenclatures.t_nomenclatures n11 ON n11.id_nomenclature = s.id_nomenclature_obj_count
LEFT JOIN ref_nomenclatures.t_nomenclatures n12 ON n12.id_nomenclature = s.id_nomenclature_type_count
LEFT JOIN ref_nomenclatures.t_nomenclatures n13 ON n13.id_nomenclature = s.id_nomenclature_sensitivity
LEFT JOIN ref_nomenclatures.t_nomenclatures n14 ON n14.id_nomenclature = s.id_nomenclature_observation_status
LEFT JOIN ref_nomenclatures.t_nomenclatures n15 ON n15.id_nomenclature = s.id_nomenclature_blurring
LEFT JOIN ref_nomenclatures.t_nomenclatures n16 ON n16.id_nomenclature = s.id_nomenclature_source_status
LEFT JOIN ref_nomenclatures.t_nomenclatures n17 ON n17.id_nomenclature = s.id_nomenclature_info_geo_type
LEFT JOIN ref_nomenclatures.t_nomenclatures n18 ON n18.id_nomenclature = s.id_nomenclature_determination_method
LEFT JOIN ref_nomenclatures.t_nomenclatures n19 ON n19.id_nomenclature = s.id_nomenclature_behaviour
LEFT JOIN ref_nomenclatures.t_nomenclatures n20 ON n20.id_nomenclature = s.id_nomenclature_valid_status
ORDER BY s.id_synthese;

INSERT INTO gn_exports.t_exports (label, schema_name, view_name, view_pk_column, public, id_licence)
VALUES ('Vue usuelle', 'gn_exports', 'v_usual', 'id_synthese', true, 1);
