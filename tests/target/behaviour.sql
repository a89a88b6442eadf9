-- Proves that the target behaves as a real GeoNature was observed to: what its triggers
-- overwrite, recompute and log, and what its constraints refuse or let through. Each block
-- is one behaviour; the first that fails stops the script. All is rolled back.
--   psql -X -v ON_ERROR_STOP=1 -d DB -f behaviour.sql
-- ends with "behaviour: ok".

\set QUIET on
\set ON_ERROR_STOP on
\encoding UTF8
BEGIN;
SET LOCAL client_min_messages = warning;
SET LOCAL plpgsql.check_asserts = on;

-- ---------------------------------------------------------------- what the blocks need

INSERT INTO gn_meta.t_acquisition_frameworks (acquisition_framework_name, acquisition_framework_desc, acquisition_framework_start_date)
VALUES ('behaviour', 'behaviour', '2020-01-01');
INSERT INTO gn_meta.t_datasets (id_acquisition_framework, dataset_name, dataset_shortname, dataset_desc, marine_domain, terrestrial_domain)
SELECT id_acquisition_framework, 'behaviour', 'behaviour', 'behaviour', false, true
  FROM gn_meta.t_acquisition_frameworks
 WHERE acquisition_framework_name = 'behaviour';
INSERT INTO gn_synthese.t_sources (name_source) VALUES ('behaviour');

CREATE FUNCTION pg_temp.nom(type text, code text) RETURNS integer
LANGUAGE sql AS $$ SELECT ref_nomenclatures.get_id_nomenclature(type, code) $$;

CREATE FUNCTION pg_temp.taxon(name text) RETURNS integer
LANGUAGE sql AS $$ SELECT cd_nom FROM taxonomie.taxref WHERE lb_nom = name AND cd_nom = cd_ref $$;

-- Writes one observation, with extra columns as SQL text, and returns its key.
CREATE FUNCTION pg_temp.observe(taxon text, wkt text, extra_columns text DEFAULT '', extra_values text DEFAULT '')
RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    id integer;
BEGIN
    EXECUTE format($sql$
        INSERT INTO gn_synthese.synthese (id_source, id_dataset, cd_nom, nom_cite, the_geom_4326, the_geom_point,
                                          the_geom_local, date_min, date_max %s)
        SELECT s.id_source, d.id_dataset, %L::integer, 'cité', ST_Transform(g, 4326), ST_Centroid(ST_Transform(g, 4326)),
               g, '2024-06-15 10:30', '2024-06-15 11:00' %s
          FROM gn_synthese.t_sources AS s, gn_meta.t_datasets AS d, ST_GeomFromText(%L, 2154) AS g
         WHERE s.name_source = 'behaviour' AND d.dataset_name = 'behaviour'
        RETURNING id_synthese $sql$,
        CASE WHEN extra_columns <> '' THEN ', ' || extra_columns END,
        pg_temp.taxon(taxon),
        CASE WHEN extra_values <> '' THEN ', ' || extra_values END,
        wkt) INTO id;
    RETURN id;
END
$$;

CREATE FUNCTION pg_temp.sensitivity_of(id integer) RETURNS varchar
LANGUAGE sql AS $$
    SELECT ref_nomenclatures.get_cd_nomenclature(id_nomenclature_sensitivity) FROM gn_synthese.synthese WHERE id_synthese = id
$$;

-- Codes of the linked areas of the given types, in order
CREATE FUNCTION pg_temp.areas_of(id integer, VARIADIC types text[]) RETURNS text
LANGUAGE sql AS $$
    SELECT string_agg(a.area_code, ' ' ORDER BY a.area_code)
      FROM gn_synthese.cor_area_synthese AS c
      JOIN ref_geo.l_areas AS a USING (id_area)
      JOIN ref_geo.bib_areas_types AS t USING (id_type)
     WHERE c.id_synthese = id AND t.type_code = ANY (types)
$$;

-- The SQLSTATE that a statement meets, '00000' when it passes (and is then undone).
CREATE FUNCTION pg_temp.outcome(statement text) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RAISE EXCEPTION USING ERRCODE = 'XXPAS';
EXCEPTION
    WHEN SQLSTATE 'XXPAS' THEN RETURN '00000';
    WHEN OTHERS THEN RETURN SQLSTATE;
END
$$;

CREATE FUNCTION pg_temp.outcome_of_observation(extra_columns text, extra_values text) RETURNS text
LANGUAGE sql AS $$
    SELECT pg_temp.outcome(format('SELECT pg_temp.observe(%L, %L, %L, %L)',
                                  'Parus major', 'POINT(901500 6421500)', extra_columns, extra_values))
$$;

-- ---------------------------------------------------------------- dates

DO $$ -- the dates that a client sends with an observation are lost
DECLARE
    id integer := pg_temp.observe('Parus major', 'POINT(901500 6421500)',
                                  'meta_create_date, meta_update_date', $v$'2001-01-01', '2002-01-01'$v$);
    o  gn_synthese.synthese;
BEGIN
    SELECT * INTO o FROM gn_synthese.synthese WHERE id_synthese = id;
    ASSERT o.meta_create_date = now()::timestamp, 'meta_create_date of an insert is now()';
    ASSERT o.meta_update_date = now()::timestamp, 'meta_update_date too, because of the UPDATE by the sensitivity trigger';

    UPDATE gn_synthese.synthese SET meta_create_date = '2001-01-01', meta_update_date = '2002-01-01'
     WHERE id_synthese = o.id_synthese RETURNING * INTO o;
    ASSERT o.meta_create_date = '2001-01-01', 'an update may set meta_create_date';
    ASSERT o.meta_update_date = now()::timestamp, 'but never meta_update_date';

    UPDATE gn_synthese.synthese SET meta_create_date = NULL WHERE id_synthese = o.id_synthese RETURNING * INTO o;
    ASSERT o.meta_create_date = now()::timestamp, 'a null meta_create_date is filled';

    SET LOCAL session_replication_role = replica;
    UPDATE gn_synthese.synthese SET meta_update_date = '2002-01-01' WHERE id_synthese = o.id_synthese RETURNING * INTO o;
    SET LOCAL session_replication_role = origin;
    ASSERT o.meta_update_date = '2002-01-01', 'replica mode keeps what is sent';
END $$;

DO $$ -- metadata: the date of update sent with an insert is kept, and only the row's own update moves it
DECLARE
    d gn_meta.t_datasets;
BEGIN
    INSERT INTO gn_meta.t_datasets (id_acquisition_framework, dataset_name, dataset_shortname, dataset_desc, marine_domain,
                                    terrestrial_domain, meta_create_date, meta_update_date)
    SELECT id_acquisition_framework, 'dated', 'dated', 'dated', false, true, '2001-01-01', '2002-01-01'
      FROM gn_meta.t_acquisition_frameworks WHERE acquisition_framework_name = 'behaviour'
    RETURNING * INTO d;
    ASSERT d.meta_create_date = now()::timestamp AND d.meta_update_date = '2002-01-01', 'dates of an inserted dataset';

    INSERT INTO gn_meta.cor_dataset_actor (id_dataset, id_organism, id_nomenclature_actor_role)
    VALUES (d.id_dataset, 3, pg_temp.nom('ROLE_ACTEUR', '1'));
    UPDATE gn_meta.cor_dataset_actor SET id_organism = 1 WHERE id_dataset = d.id_dataset;
    ASSERT (SELECT meta_update_date FROM gn_meta.t_datasets WHERE id_dataset = d.id_dataset) = '2002-01-01',
           'a change of actor does not date the dataset';

    UPDATE gn_meta.t_datasets SET dataset_desc = 'renamed' WHERE id_dataset = d.id_dataset RETURNING * INTO d;
    ASSERT d.meta_update_date = now()::timestamp, 'an update does';
END $$;

DO $$ -- sources, roles and organisms are dated too
DECLARE
    s gn_synthese.t_sources;
    r utilisateurs.t_roles;
    o utilisateurs.bib_organismes;
BEGIN
    INSERT INTO gn_synthese.t_sources (name_source, meta_create_date) VALUES ('dated', '2001-01-01') RETURNING * INTO s;
    ASSERT s.meta_create_date = now()::timestamp, 'date of an inserted source';
    INSERT INTO utilisateurs.t_roles (nom_role, date_insert) VALUES ('dated', '2001-01-01') RETURNING * INTO r;
    ASSERT r.date_insert = now()::timestamp AND r.date_update = now()::timestamp, 'dates of an inserted role';
    UPDATE utilisateurs.t_roles SET date_update = '2001-01-01' WHERE id_role = r.id_role RETURNING * INTO r;
    ASSERT r.date_update = now()::timestamp, 'date of an updated role';
    INSERT INTO utilisateurs.bib_organismes (nom_organisme, meta_create_date) VALUES ('dated', '2001-01-01') RETURNING * INTO o;
    ASSERT o.meta_create_date = now()::timestamp, 'date of an inserted organism';
END $$;

-- ---------------------------------------------------------------- areas

DO $$ -- a point is linked to each enabled area that it meets, borders included
DECLARE
    inside integer := pg_temp.observe('Parus major', 'POINT(901500 6421500)');
    border integer := pg_temp.observe('Parus major', 'POINT(902000 6421500)');
    no_m1  integer := pg_temp.observe('Parus major', 'POINT(901500 6445500)');
    away   integer := pg_temp.observe('Parus major', 'POINT(700000 6600000)');
BEGIN
    ASSERT pg_temp.areas_of(inside, 'REG', 'DEP', 'COM', 'M10', 'M5', 'M1')
           = (SELECT string_agg(code, ' ' ORDER BY code)
                FROM unnest('{84,26,90410,10kmL93E900N6420,5kmL93E900N6420,1kmL93E901N6421}'::varchar[]) AS code),
           'one area of each type';
    ASSERT pg_temp.areas_of(border, 'COM') = '90410 90450', 'a point on a border belongs to both';
    ASSERT pg_temp.areas_of(no_m1, 'M1') IS NULL, 'a disabled area is never linked';
    ASSERT NOT EXISTS (SELECT FROM gn_synthese.cor_area_synthese WHERE id_synthese = away), 'no area far away';
END $$;

DO $$ -- lines and polygons are linked where they cross, not where they only touch
DECLARE
    polygon integer := pg_temp.observe('Parus major', 'POLYGON((900000 6420000,902000 6420000,902000 6422000,900000 6422000,900000 6420000))');
    line    integer := pg_temp.observe('Parus major', 'LINESTRING(901500 6421500,903500 6421500)');
    touches integer := pg_temp.observe('Parus major', 'LINESTRING(901500 6421500,902000 6421500)');
BEGIN
    ASSERT pg_temp.areas_of(polygon, 'COM') = '90410', 'the eight neighbours share only a border or a corner';
    ASSERT pg_temp.areas_of(line, 'COM') = '90410 90450', 'the line crosses both';
    ASSERT pg_temp.areas_of(touches, 'COM') = '90410', 'the line ends on the border of the second';
END $$;

DO $$ -- an update recomputes the links when, and only when, a geometry is named in SET
DECLARE
    id  integer := pg_temp.observe('Parus major', 'POINT(901500 6421500)');
    del bigint;
BEGIN
    DELETE FROM gn_synthese.cor_area_synthese WHERE id_synthese = id;
    del := pg_stat_get_xact_tuples_deleted('gn_synthese.cor_area_synthese'::regclass);
    UPDATE gn_synthese.synthese SET place_name = 'ailleurs', id_nomenclature_sex = NULL WHERE id_synthese = id;
    ASSERT pg_temp.areas_of(id, 'COM') IS NULL, 'an attribute does not fire the area trigger';

    UPDATE gn_synthese.synthese SET the_geom_4326 = the_geom_4326 WHERE id_synthese = id;
    ASSERT pg_temp.areas_of(id, 'COM') = '90410', 'an unchanged geometry does';
    UPDATE gn_synthese.synthese SET the_geom_local = the_geom_local WHERE id_synthese = id;
    ASSERT pg_stat_get_xact_tuples_deleted('gn_synthese.cor_area_synthese'::regclass) - del
           = (SELECT count(*) FROM gn_synthese.cor_area_synthese WHERE id_synthese = id), 'links are deleted and written again';

    UPDATE gn_synthese.synthese SET the_geom_local = ST_Translate(the_geom_local, 2000, 0) WHERE id_synthese = id;
    ASSERT pg_temp.areas_of(id, 'COM') = '90450', 'a moved geometry moves the links';
END $$;

DO $$ -- new, moved and disabled areas follow the observations; each geometry makes the other
DECLARE
    id   integer := pg_temp.observe('Parus major', 'POINT(700000 6600000)');
    area ref_geo.l_areas;
BEGIN
    INSERT INTO ref_geo.l_areas (id_type, area_code, geom)
    SELECT id_type, 'TEST', ST_Multi(ST_MakeEnvelope(699000, 6599000, 701000, 6601000, 2154))
      FROM ref_geo.bib_areas_types WHERE type_code = 'ZNIEFF1' RETURNING * INTO area;
    ASSERT pg_temp.areas_of(id, 'ZNIEFF1') = 'TEST', 'a new area is linked to what is there';
    ASSERT ST_SRID(area.geom_4326) = 4326 AND ST_Intersects(area.geom_4326, ST_Transform(ST_Centroid(area.geom), 4326)), 'geom makes geom_4326';
    ASSERT area.meta_create_date = now()::timestamp, 'an area is dated';

    UPDATE ref_geo.l_areas SET geom = ST_Translate(geom, 5000, 0) WHERE id_area = area.id_area;
    ASSERT pg_temp.areas_of(id, 'ZNIEFF1') IS NULL, 'a moved area loses its links';
    UPDATE ref_geo.l_areas SET geom_4326 = area.geom_4326 WHERE id_area = area.id_area RETURNING * INTO area;
    ASSERT abs(ST_XMin(area.geom) - 699000) < 1, 'geom_4326 makes geom';
    ASSERT pg_temp.areas_of(id, 'ZNIEFF1') = 'TEST', 'and gets links where it went';
    UPDATE ref_geo.l_areas SET enable = false WHERE id_area = area.id_area;
    ASSERT pg_temp.areas_of(id, 'ZNIEFF1') IS NULL, 'a disabled area has no link';

    INSERT INTO ref_geo.l_areas (id_type, area_code, geom_4326) VALUES (area.id_type, 'TEST2', area.geom_4326) RETURNING * INTO area;
    ASSERT ST_SRID(area.geom) = 2154, 'geom_4326 alone makes geom';
END $$;

-- ---------------------------------------------------------------- sensitivity

DO $$ -- the level sent is overwritten by the local rules, with one UPDATE of each inserted row
DECLARE
    upd bigint := pg_stat_get_xact_tuples_updated('gn_synthese.synthese'::regclass);
    id  integer := pg_temp.observe('Parus major', 'POINT(901500 6421500)', 'id_nomenclature_sensitivity', pg_temp.nom('SENSIBILITE', '4')::text);
    right_one integer := pg_temp.observe('Parus major', 'POINT(901500 6421500)', 'id_nomenclature_sensitivity', pg_temp.nom('SENSIBILITE', '0')::text);
BEGIN
    ASSERT pg_temp.sensitivity_of(id) = '0', 'no rule: not sensitive';
    ASSERT pg_temp.sensitivity_of(right_one) = '0';
    ASSERT pg_stat_get_xact_tuples_updated('gn_synthese.synthese'::regclass) - upd = 2, 'also when the level was right';
END $$;

DO $$ -- rules: taxon, names and taxa below, area, criteria, season, age, out of use
DECLARE
    here text := 'POINT(901500 6421500)';
BEGIN
    ASSERT pg_temp.sensitivity_of(pg_temp.observe('Cypripedium calceolus', here)) = '4', 'by taxon';
    ASSERT pg_temp.sensitivity_of(pg_temp.observe('Parnassius apollo', here)) = '0', 'an inactive rule';

    ASSERT pg_temp.sensitivity_of(pg_temp.observe('Vipera ursinii', here)) = '3', 'in the area of the rule';
    ASSERT pg_temp.sensitivity_of(pg_temp.observe('Vipera ursinii', 'POINT(941500 6461500)')) = '0', 'out of it';

    ASSERT pg_temp.sensitivity_of(pg_temp.observe('Canis lupus', here)) = '0', 'the default status is not the criterion';
    ASSERT pg_temp.sensitivity_of(pg_temp.observe('Canis lupus', here, 'id_nomenclature_bio_status', pg_temp.nom('STATUT_BIO', '3')::text)) = '3', 'biological status';
    ASSERT pg_temp.sensitivity_of(pg_temp.observe('Myotis myotis', here)) = '0', 'the default behaviour is not the criterion';
    ASSERT pg_temp.sensitivity_of(pg_temp.observe('Myotis myotis', here, 'id_nomenclature_behaviour', pg_temp.nom('OCC_COMPORTEMENT', '9')::text)) = '2', 'behaviour';

    ASSERT pg_temp.sensitivity_of(pg_temp.observe('Aquila chrysaetos', here)) = '2', 'in season';
END $$;

DO $$ -- an update recomputes it when, and only when, one of six columns is named in SET
DECLARE
    id      integer := pg_temp.observe('Aquila chrysaetos', 'POINT(901500 6421500)');
    vulture integer := pg_temp.observe('Gypaetus barbatus', 'POINT(901500 6421500)');
    synonym integer;
    column_name text;
BEGIN
    UPDATE gn_synthese.synthese SET id_nomenclature_sensitivity = pg_temp.nom('SENSIBILITE', '4') WHERE id_synthese = id;
    UPDATE gn_synthese.synthese SET place_name = 'ailleurs' WHERE id_synthese = id;
    ASSERT pg_temp.sensitivity_of(id) = '4', 'other columns leave it';
    FOREACH column_name IN ARRAY '{date_min,date_max,cd_nom,the_geom_local,id_nomenclature_bio_status,id_nomenclature_behaviour}'::text[] LOOP
        UPDATE gn_synthese.synthese SET id_nomenclature_sensitivity = pg_temp.nom('SENSIBILITE', '4') WHERE id_synthese = id;
        EXECUTE format('UPDATE gn_synthese.synthese SET %I = %1$I WHERE id_synthese = %s', column_name, id);
        ASSERT pg_temp.sensitivity_of(id) = '2', column_name || ' recomputes it, even unchanged';
    END LOOP;

    UPDATE gn_synthese.synthese SET date_min = '2023-10-15', date_max = '2023-10-15' WHERE id_synthese IN (id, vulture);
    ASSERT pg_temp.sensitivity_of(id) = '0', 'out of season';
    ASSERT pg_temp.sensitivity_of(vulture) = '0', 'out of a season over the new year';
    UPDATE gn_synthese.synthese SET date_min = '2023-12-15', date_max = '2023-12-15' WHERE id_synthese IN (id, vulture);
    ASSERT pg_temp.sensitivity_of(id) = '0' AND pg_temp.sensitivity_of(vulture) = '3', 'in a season over the new year';

    -- the strictest of the rules in force, and age counted in years
    id := pg_temp.observe('Potentilla delphinensis', 'POINT(901500 6451500)');
    UPDATE gn_synthese.synthese SET date_min = now(), date_max = now() WHERE id_synthese = id;
    ASSERT pg_temp.sensitivity_of(id) = '2', 'two rules: the strictest';
    UPDATE gn_synthese.synthese SET date_min = now() - interval '10 years' WHERE id_synthese = id;
    ASSERT pg_temp.sensitivity_of(id) = '1', 'the strictest is too old';
    UPDATE gn_synthese.synthese SET date_min = now() - interval '30 years' WHERE id_synthese = id;
    ASSERT pg_temp.sensitivity_of(id) = '0', 'both are';

    -- a rule holds for the synonyms of its taxon
    INSERT INTO taxonomie.taxref (cd_nom, cd_ref, lb_nom) VALUES (-1, pg_temp.taxon('Cypripedium calceolus'), 'synonym');
    UPDATE gn_synthese.synthese SET cd_nom = -1 WHERE id_synthese = id;
    ASSERT pg_temp.sensitivity_of(id) = '4', 'a synonym';
END $$;

-- ---------------------------------------------------------------- deletions

DO $$ -- deletions are logged by key with one date; replica mode does not log
DECLARE
    ids integer[] := ARRAY[pg_temp.observe('Parus major', 'POINT(901500 6421500)'),
                           pg_temp.observe('Parus major', 'POINT(901500 6421500)'),
                           pg_temp.observe('Parus major', 'POINT(901500 6421500)')];
BEGIN
    INSERT INTO gn_synthese.t_log_synthese (id_synthese, last_action, meta_last_action_date) VALUES (ids[1], 'I', '2001-01-01');
    DELETE FROM gn_synthese.synthese WHERE id_synthese = ANY (ids[1:2]);
    ASSERT (SELECT count(*) FROM gn_synthese.t_log_synthese
             WHERE id_synthese = ANY (ids[1:2]) AND last_action = 'D' AND meta_last_action_date = now()::timestamp) = 2,
           'both logged at the same date, the key that was there replaced';
    ASSERT NOT EXISTS (SELECT FROM gn_synthese.cor_area_synthese WHERE id_synthese = ANY (ids[1:2])), 'links go with the observation';

    SET LOCAL session_replication_role = replica;
    DELETE FROM gn_synthese.synthese WHERE id_synthese = ids[3];
    SET LOCAL session_replication_role = origin;
    ASSERT NOT EXISTS (SELECT FROM gn_synthese.t_log_synthese WHERE id_synthese = ids[3]), 'not logged in replica mode';
    DELETE FROM gn_synthese.cor_area_synthese WHERE id_synthese = ids[3];
END $$;

-- ---------------------------------------------------------------- what constraints refuse, and what they miss

DO $$
DECLARE
    wrong text := pg_temp.nom('TYPE_PROTOCOLE', '1')::text;
    c     text;
BEGIN
    ASSERT pg_temp.outcome_of_observation('place_name', $v$'ici'$v$) = '00000', 'a good one passes';

    -- 18 typed columns raise from the CHECK's function
    FOREACH c IN ARRAY '{bio_condition,bio_status,biogeo_status,blurring,diffusion_level,exist_proof,geo_object_nature,life_stage,
                         naturalness,obj_count,obs_technique,observation_status,sensitivity,sex,source_status,grp_typ,type_count,
                         valid_status}'::text[] LOOP
        ASSERT pg_temp.outcome_of_observation('id_nomenclature_' || c, wrong) = 'P0001', 'wrong type in ' || c;
        ASSERT pg_temp.outcome_of_observation('id_nomenclature_' || c, 'NULL') = '00000', 'null in ' || c;
    END LOOP;

    -- the holes of the model
    ASSERT pg_temp.outcome_of_observation('id_nomenclature_behaviour', '-1') = '00000', 'behaviour: neither type nor key';
    ASSERT pg_temp.outcome_of_observation('id_nomenclature_determination_method', wrong) = '00000', 'determination method: no type';
    ASSERT pg_temp.outcome_of_observation('id_nomenclature_determination_method', '-1') = '23503', 'determination method: key';
    ASSERT pg_temp.outcome_of_observation('id_nomenclature_info_geo_type', wrong) = '00000', 'type of geography: no type';
    ASSERT NOT EXISTS (SELECT FROM pg_constraint
                        WHERE conrelid = 'gn_synthese.synthese'::regclass AND contype = 'f'
                          AND pg_get_constraintdef(oid) LIKE '%(id_nomenclature_naturalness)%'), 'naturalness: no key';

    ASSERT pg_temp.outcome_of_observation('id_nomenclature_info_geo_type', pg_temp.nom('TYP_INF_GEO', '2')::text) = '23514',
           'attached to no area';
    ASSERT pg_temp.outcome_of_observation('id_nomenclature_info_geo_type, id_area_attachment',
               pg_temp.nom('TYP_INF_GEO', '2') || ', ' || (SELECT min(id_area) FROM ref_geo.l_areas)) = '00000', 'attached to an area';

    ASSERT pg_temp.outcome_of_observation('count_min, count_max', '3, 2') = '23514', 'counts';
    ASSERT pg_temp.outcome_of_observation('altitude_min, altitude_max', '3, 2') = '23514', 'altitudes';
    ASSERT pg_temp.outcome_of_observation('depth_min, depth_max', '3, 2') = '23514', 'depths';
    ASSERT pg_temp.outcome_of_observation('cd_hab', '4000') = '23503', 'unknown habitat';
    ASSERT pg_temp.outcome_of_observation('id_digitiser', '-1') = '23503', 'unknown digitiser';
    ASSERT pg_temp.outcome_of_observation('observers', $v$repeat('x', 1001)$v$) = '22001', 'too long a text';
    ASSERT pg_temp.outcome_of_observation('unique_id_sinp', $v$(SELECT 'a0000000-0000-4000-8000-000000000001'::uuid)$v$) = '00000', 'a UUID';
    PERFORM pg_temp.observe('Parus major', 'POINT(901500 6421500)', 'unique_id_sinp', $v$'a0000000-0000-4000-8000-000000000001'$v$);
    ASSERT pg_temp.outcome_of_observation('unique_id_sinp', $v$'a0000000-0000-4000-8000-000000000001'$v$) = '23505', 'the same UUID';

    ASSERT pg_temp.outcome($q$UPDATE gn_synthese.synthese SET cd_nom = -99$q$) = '23503', 'unknown taxon';
    ASSERT pg_temp.outcome($q$UPDATE gn_synthese.synthese SET date_max = date_min - interval '1 s'$q$) = '23514', 'dates';
    ASSERT pg_temp.outcome($q$UPDATE gn_synthese.synthese SET the_geom_4326 = ST_Force3D(the_geom_4326)$q$) IN ('22023', '23514'), '3D';
    ASSERT pg_temp.outcome($q$UPDATE gn_synthese.synthese SET the_geom_local = ST_SetSRID(the_geom_local, 4326)$q$) = '22023', 'SRID';
END $$;

DO $$ -- actors: a role or an organism, not a group, not twice in the same part
DECLARE
    d      integer := (SELECT id_dataset FROM gn_meta.t_datasets WHERE dataset_name = 'behaviour');
    part   integer := pg_temp.nom('ROLE_ACTEUR', '1');
    insert_actor text := 'INSERT INTO gn_meta.cor_dataset_actor (id_dataset, id_role, id_organism, id_nomenclature_actor_role) VALUES (%s, %L, %L, %s)';
BEGIN
    ASSERT pg_temp.outcome(format(insert_actor, d, NULL, NULL, part)) = '23514', 'nobody';
    ASSERT pg_temp.outcome(format(insert_actor, d, 1, NULL, part)) = '23514', 'a group';
    ASSERT pg_temp.outcome(format(insert_actor, d, 2, NULL, part)) = '00000', 'a person';
    ASSERT pg_temp.outcome(format(insert_actor, d, NULL, 3, pg_temp.nom('SEXE', '1'))) = 'P0001', 'not a part that an actor plays';
    EXECUTE format(insert_actor, d, NULL, 3, part);
    ASSERT pg_temp.outcome(format(insert_actor, d, NULL, 3, part)) = '23505', 'twice';
    ASSERT pg_temp.outcome(format(insert_actor, d, NULL, 3, pg_temp.nom('ROLE_ACTEUR', '5'))) = '00000', 'in another part';
END $$;

-- ---------------------------------------------------------------- observers, validation, defaults

DO $$ -- linked observers overwrite the text
DECLARE
    id integer := pg_temp.observe('Parus major', 'POINT(901500 6421500)', 'observers', $v$'texte moissonné'$v$);
BEGIN
    INSERT INTO gn_synthese.cor_observer_synthese VALUES (id, 2);
    ASSERT (SELECT observers FROM gn_synthese.synthese WHERE id_synthese = id) = 'Administrateur Zoé', 'one';
    INSERT INTO gn_synthese.cor_observer_synthese VALUES (id, 3);
    ASSERT (SELECT observers FROM gn_synthese.synthese WHERE id_synthese = id) = 'Administrateur Zoé, Lefèvre Maïté', 'two';
    DELETE FROM gn_synthese.cor_observer_synthese WHERE id_synthese = id AND id_role = 2;
    ASSERT (SELECT observers FROM gn_synthese.synthese WHERE id_synthese = id) = 'Lefèvre Maïté', 'one left';
END $$;

DO $$ -- a validation is copied to the observation of that UUID
DECLARE
    id integer := pg_temp.observe('Parus major', 'POINT(901500 6421500)', 'unique_id_sinp', $v$'a0000000-0000-4000-8000-000000000002'$v$);
    o  gn_synthese.synthese;
BEGIN
    INSERT INTO gn_commons.t_validations (uuid_attached_row, id_nomenclature_valid_status, validation_auto, id_validator, validation_comment, validation_date)
    VALUES ('a0000000-0000-4000-8000-000000000002', pg_temp.nom('STATUT_VALID', '2'), false, 3, 'vu', '2024-07-01');
    SELECT * INTO o FROM gn_synthese.synthese WHERE id_synthese = id;
    ASSERT o.id_nomenclature_valid_status = pg_temp.nom('STATUT_VALID', '2') AND o.validation_comment = 'vu'
           AND o.validator = 'Lefèvre Maïté' AND o.meta_validation_date = '2024-07-01', 'status, comment, validator and date';
END $$;

-- A statement of its own: functions declared immutable do not see what their own statement wrote.
INSERT INTO gn_synthese.defaults_nomenclatures_value VALUES
    ('SEXE', 2, 'Animalia', '0',       pg_temp.nom('SEXE', '1')),
    ('SEXE', 2, 'Animalia', 'Oiseaux', pg_temp.nom('SEXE', '2')),
    ('SEXE', 3, '0',        '0',       pg_temp.nom('SEXE', '3'));

DO $$ -- defaults: the most specific; columns left out of an INSERT get them, nulls stay null
DECLARE
    id integer := pg_temp.observe('Parus major', 'POINT(901500 6421500)', 'id_nomenclature_valid_status', 'NULL');
    o  gn_synthese.synthese;
BEGIN
    SELECT * INTO o FROM gn_synthese.synthese WHERE id_synthese = id;
    ASSERT o.id_nomenclature_valid_status IS NULL, 'a null stays null';
    ASSERT o.id_nomenclature_observation_status = pg_temp.nom('STATUT_OBS', 'Pr'), 'a default';
    ASSERT o.meta_v_taxref = 'Taxref V18.0', 'the version of the taxa';
    ASSERT o.unique_id_sinp IS NULL AND o.id_nomenclature_diffusion_level IS NULL AND o.additional_data IS NULL, 'no default';

    ASSERT gn_synthese.get_default_nomenclature_value('SEXE') = pg_temp.nom('SEXE', '6'), 'for all';
    ASSERT gn_synthese.get_default_nomenclature_value('SEXE', NULL, 'Animalia') = pg_temp.nom('SEXE', '1'), 'for a kingdom';
    ASSERT gn_synthese.get_default_nomenclature_value('SEXE', NULL, 'Animalia', 'Oiseaux') = pg_temp.nom('SEXE', '2'), 'for a group';
    ASSERT gn_synthese.get_default_nomenclature_value('SEXE', 3, 'Animalia') = pg_temp.nom('SEXE', '3'), 'for an organism';
    ASSERT ref_nomenclatures.get_default_nomenclature_value('JDD_OBJECTIFS') = pg_temp.nom('JDD_OBJECTIFS', '1.1'), 'for metadata';
    ASSERT pg_temp.outcome($q$INSERT INTO gn_synthese.defaults_nomenclatures_value VALUES
        ('ETA_BIO', 2, 'Martiens', '0', pg_temp.nom('ETA_BIO', '1'))$q$) = '23514', 'an unknown kingdom';
END $$;

DO $$ -- a notification needs its status and date given
DECLARE
    n gn_notifications.t_notifications;
BEGIN
    INSERT INTO gn_notifications.t_notifications (id_role, title, content) VALUES (2, 'Moisson', '<b>ok</b>') RETURNING * INTO n;
    ASSERT n.code_status IS NULL AND n.creation_date IS NULL, 'nothing fills them';
    ASSERT pg_temp.outcome($q$INSERT INTO gn_notifications.t_notifications (id_role, title) VALUES (-1, 'x')$q$) = '23503', 'an unknown role';
END $$;

DO $$ -- TRUNCATE empties without logging (last: it empties)
DECLARE
    logged bigint := (SELECT count(*) FROM gn_synthese.t_log_synthese);
BEGIN
    TRUNCATE gn_synthese.synthese CASCADE;
    ASSERT (SELECT count(*) FROM gn_synthese.t_log_synthese) = logged, 'TRUNCATE is not logged';
END $$;

ROLLBACK;
SELECT 'behaviour: ok';
