-- Fills a source-shaped database with observations and their metadata, fast: no trigger runs. psql -v rows=100000.
-- 40 frameworks and 200 datasets, each with actors, some with two protocols or territories; values as varied as those
-- of a regional platform, a tenth of the geometries polygons.

SET session_replication_role = replica;
SET synchronous_commit = off;
SELECT setseed(0.42) \g /dev/null

INSERT INTO utilisateurs.bib_organismes (nom_organisme, email_organisme)
SELECT format('Organisme n° %s', n), format('contact%s@example.org', n) FROM generate_series(1, 20) n;
INSERT INTO utilisateurs.t_roles (groupe, identifiant, nom_role, prenom_role, email)
SELECT false, format('obs%s', n), format('Lefèvre%s', n), 'Jean-René', format('obs%s@example.org', n) FROM generate_series(1, 100) n;
INSERT INTO gn_meta.t_acquisition_frameworks (acquisition_framework_name, acquisition_framework_desc, keywords, territory_desc,
    target_description, acquisition_framework_start_date, meta_create_date, meta_update_date, acquisition_framework_parent_id)
SELECT format('Cadre d''acquisition n° %s', n), repeat(format('Description détaillée du cadre n° %s. ', n), 4), 'faune, flore', 'Massif des Écrins',
       'Tous taxons', '2012-01-01', '2020-01-01', '2021-01-01', CASE WHEN n > 5 THEN 1 + n % 5 END
FROM generate_series(1, 40) n;
INSERT INTO gn_meta.t_datasets (id_acquisition_framework, dataset_name, dataset_shortname, dataset_desc, keywords, marine_domain, terrestrial_domain,
    meta_create_date, meta_update_date)
SELECT 1 + n % 40, format('Jeu de données n° %s', n), format('JDD %s', n), repeat(format('Description du jeu n° %s. ', n), 4), 'oiseaux, forêt', false, true,
       '2020-01-01', '2021-01-01'
FROM generate_series(1, 200) n;
INSERT INTO gn_meta.cor_acquisition_framework_actor (id_acquisition_framework, id_organism, id_nomenclature_actor_role)
SELECT f, (SELECT min(id_organisme) FROM utilisateurs.bib_organismes) + (f + k) % 20, ref_nomenclatures.get_id_nomenclature('ROLE_ACTEUR', (1 + k)::text)
FROM generate_series(1, 40) f, generate_series(0, 2) k ON CONFLICT DO NOTHING;
INSERT INTO gn_meta.cor_dataset_actor (id_dataset, id_organism, id_role, id_nomenclature_actor_role)
SELECT d, CASE WHEN k < 2 THEN (SELECT min(id_organisme) FROM utilisateurs.bib_organismes) + (d + k) % 20 END,
       CASE WHEN k >= 2 THEN (SELECT min(id_role) FROM utilisateurs.t_roles WHERE identifiant LIKE 'obs%') + (d + k) % 100 END,
       ref_nomenclatures.get_id_nomenclature('ROLE_ACTEUR', (1 + k)::text)
FROM generate_series(1, 200) d, generate_series(0, 3) k ON CONFLICT DO NOTHING;
INSERT INTO gn_meta.cor_acquisition_framework_voletsinp
SELECT f, ref_nomenclatures.get_id_nomenclature('VOLET_SINP', '1') FROM generate_series(1, 40) f;
INSERT INTO gn_meta.cor_acquisition_framework_territory
SELECT f, ref_nomenclatures.get_id_nomenclature('TERRITOIRE', 'METROP') FROM generate_series(1, 40) f;
INSERT INTO gn_meta.cor_dataset_territory (id_dataset, id_nomenclature_territory)
SELECT d, ref_nomenclatures.get_id_nomenclature('TERRITOIRE', 'METROP') FROM generate_series(1, 200) d;
INSERT INTO gn_meta.sinp_datatype_protocols (protocol_name, protocol_desc, id_nomenclature_protocol_type)
SELECT format('Protocole %s', n), 'Points d''écoute', (SELECT id_nomenclature FROM ref_nomenclatures.t_nomenclatures
    WHERE id_type = ref_nomenclatures.get_id_nomenclature_type('TYPE_PROTOCOLE') LIMIT 1) FROM generate_series(1, 3) n;
INSERT INTO gn_meta.cor_dataset_protocol SELECT d, 1 + d % 3 FROM generate_series(1, 60) d;
INSERT INTO gn_synthese.t_sources (name_source) VALUES ('Occtax') ON CONFLICT DO NOTHING;

CREATE TEMPORARY TABLE codes AS
SELECT t.mnemonique AS type, array_agg(n.id_nomenclature ORDER BY n.id_nomenclature) AS ids
FROM ref_nomenclatures.t_nomenclatures n JOIN ref_nomenclatures.bib_nomenclatures_types t USING (id_type) GROUP BY 1;
CREATE FUNCTION pg_temp.code(type_code text, n integer) RETURNS integer LANGUAGE plpgsql STABLE AS $$
DECLARE ids integer[];
BEGIN
    SELECT c.ids INTO ids FROM codes c WHERE c.type = type_code;
    RETURN ids[1 + n % cardinality(ids)];
END $$;
CREATE TEMPORARY TABLE coded AS
SELECT n, pg_temp.code('NAT_OBJ_GEO', n) AS c1, pg_temp.code('TYP_GRP', n) AS c2, pg_temp.code('METH_OBS', n) AS c3, pg_temp.code('STATUT_BIO', n) AS c4,
       pg_temp.code('ETA_BIO', n) AS c5, pg_temp.code('NATURALITE', n) AS c6, pg_temp.code('PREUVE_EXIST', n) AS c7, pg_temp.code('STATUT_VALID', n) AS c8,
       CASE WHEN n % 3 = 0 THEN pg_temp.code('NIV_PRECIS', n) END AS c9, pg_temp.code('STADE_VIE', n) AS c10, pg_temp.code('SEXE', n) AS c11,
       pg_temp.code('OBJ_DENBR', n) AS c12, pg_temp.code('TYP_DENBR', n) AS c13,
       CASE WHEN n % 20 = 0 THEN pg_temp.code('SENSIBILITE', n / 20) ELSE ref_nomenclatures.get_id_nomenclature('SENSIBILITE', '0') END AS c14,
       pg_temp.code('STATUT_OBS', n) AS c15, pg_temp.code('DEE_FLOU', n) AS c16, pg_temp.code('STATUT_SOURCE', n) AS c17,
       ref_nomenclatures.get_id_nomenclature('TYP_INF_GEO', '1') AS c18, pg_temp.code('OCC_COMPORTEMENT', n) AS c19,
       pg_temp.code('STAT_BIOGEO', n) AS c20, pg_temp.code('METH_DETERMIN', n) AS c21
FROM generate_series(0, 419) n;
CREATE TEMPORARY TABLE taxa AS
SELECT row_number() OVER (ORDER BY cd_nom) - 1 AS n, cd_nom, nom_complet, count(*) OVER () AS total FROM taxonomie.taxref;
ANALYZE coded; ANALYZE taxa;

-- The checks of nomenclatures are what an insert costs: they are made again afterwards, as they were.
CREATE TEMPORARY TABLE checks AS
SELECT conname, pg_get_constraintdef(oid) AS definition FROM pg_constraint
WHERE conrelid = 'gn_synthese.synthese'::regclass AND contype = 'c' AND conname LIKE 'check_synthese%';
SELECT format('ALTER TABLE gn_synthese.synthese DROP CONSTRAINT %I', conname) FROM checks \gexec

INSERT INTO gn_synthese.synthese (unique_id_sinp, unique_id_sinp_grp, id_source, entity_source_pk_value, id_dataset,
    id_nomenclature_geo_object_nature, id_nomenclature_grp_typ, id_nomenclature_obs_technique, id_nomenclature_bio_status,
    id_nomenclature_bio_condition, id_nomenclature_naturalness, id_nomenclature_exist_proof, id_nomenclature_valid_status,
    id_nomenclature_diffusion_level, id_nomenclature_life_stage, id_nomenclature_sex, id_nomenclature_obj_count,
    id_nomenclature_type_count, id_nomenclature_sensitivity, id_nomenclature_observation_status, id_nomenclature_blurring,
    id_nomenclature_source_status, id_nomenclature_info_geo_type, id_nomenclature_behaviour, id_nomenclature_biogeo_status,
    id_nomenclature_determination_method, count_min, count_max, cd_nom, nom_cite, meta_v_taxref, altitude_min, altitude_max, place_name,
    the_geom_4326, the_geom_point, the_geom_local, precision, date_min, date_max, validator, validation_comment, observers, determiner,
    id_digitiser, comment_context, comment_description, additional_data, meta_validation_date, meta_create_date, meta_update_date, last_action)
SELECT gen_random_uuid(), CASE WHEN i % 4 = 0 THEN gen_random_uuid() END, (SELECT min(id_source) FROM gn_synthese.t_sources), i::text, 1 + i % 200,
       c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14, c15, c16, c17, c18, c19, c20, c21,
       i % 12, i % 12 + i % 3, t.cd_nom, t.nom_complet, 'Taxref V18.0', 400 + i % 2000, 420 + i % 2000, format('Rive d''Arve %s', i % 500),
       g.geom, ST_Centroid(g.geom), ST_Transform(g.geom, 2154), i % 100,
       timestamp '2005-01-01' + (i % 7000) * interval '1 day 7 minutes', timestamp '2005-01-01' + (i % 7000) * interval '1 day 7 minutes' + interval '1 hour',
       CASE WHEN i % 3 = 0 THEN 'Maïté Lefèvre' END, CASE WHEN i % 9 = 0 THEN 'Vu en photo' END, format('Lefèvre%s Jean-René', i % 100), NULL,
       (SELECT min(id_role) FROM utilisateurs.t_roles WHERE identifiant LIKE 'obs%') + i % 100,
       CASE WHEN i % 5 = 0 THEN 'Temps couvert, vent faible' END, CASE WHEN i % 4 = 0 THEN 'En vol au-dessus de la forêt' END,
       CASE WHEN i % 3 = 0 THEN jsonb_build_object('meteo', 'couvert', 'vent', i % 5) END, CASE WHEN i % 3 = 0 THEN timestamp '2023-05-01' END,
       timestamp '2023-01-01' + i * interval '10 seconds', timestamp '2023-01-01' + i * interval '10 seconds', 'I'
FROM generate_series(1, :rows) i
JOIN coded c ON c.n = i % 420
JOIN taxa t ON t.n = (i * 7) % t.total
CROSS JOIN LATERAL (SELECT ST_SetSRID(ST_MakePoint(5.4 + 0.8 * random() + 0 * i, 44.75 + 0.5 * random()), 4326) AS point) p
CROSS JOIN LATERAL (SELECT CASE WHEN i % 10 = 0 THEN ST_Envelope(ST_Expand(p.point, 0.001)) ELSE p.point END AS geom) g;
SELECT format('ALTER TABLE gn_synthese.synthese ADD CONSTRAINT %I %s', conname, replace(definition, ' NOT VALID', '') || ' NOT VALID') FROM checks \gexec
INSERT INTO gn_synthese.cor_observer_synthese
SELECT s.id_synthese, s.id_digitiser FROM gn_synthese.synthese s;
-- Squares of 10 km: the areas that blur.
INSERT INTO gn_synthese.cor_area_synthese
SELECT s.id_synthese, a.id_area
FROM ref_geo.l_areas a
JOIN gn_synthese.synthese s ON s.the_geom_local && a.geom
WHERE a.id_type = (SELECT id_type FROM ref_geo.bib_areas_types WHERE type_code = 'M10')
ON CONFLICT DO NOTHING;
RESET session_replication_role;
VACUUM ANALYZE;
