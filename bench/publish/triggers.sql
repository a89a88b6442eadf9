-- What watching costs GeoNature's own writes: 20 000 observations inserted, then updated, with GeoNature's triggers and checks
-- on. psql -v what=bare|index|watched ; prints milliseconds. Everything is rolled back, and the table vacuumed before.
--   bare     no publication
--   index    the index of increments alone
--   watched  a publication that filters by dataset, taxon, date, sensitivity and diffusion level, and the index
\set QUIET on
\pset tuples_only on
BEGIN;
CREATE TEMPORARY TABLE taken AS SELECT * FROM gn_synthese.synthese WHERE id_synthese <= 20000;
UPDATE taken SET id_synthese = id_synthese + 100000000, unique_id_sinp = gen_random_uuid(), unique_id_sinp_grp = NULL;
\o /dev/null
SELECT CASE :'what' WHEN 'bare' THEN gn_harvest.unpublish_export('banc')::text END;
SELECT CASE :'what' WHEN 'watched' THEN (SELECT observations_export FROM gn_harvest.publish_export('banc', sensitivity_max => '4', date_min => '1900-01-01',
    diffusion_levels => '{0,1,2,3,4,5,NULL}', taxa => (SELECT array_agg(cd_nom) FROM taxonomie.taxref),
    datasets => (SELECT array_agg(unique_dataset_id) FROM gn_meta.t_datasets))) END;
SELECT CASE :'what' WHEN 'bare' THEN NULL END;
\o
SELECT clock_timestamp() AS begun \gset
INSERT INTO gn_synthese.synthese SELECT * FROM taken;
SELECT 'insert ' || round(extract(epoch FROM clock_timestamp() - :'begun') * 1000);
SELECT clock_timestamp() AS begun \gset
UPDATE gn_synthese.synthese SET comment_context = 'relu', observers = 'Personne' WHERE id_synthese BETWEEN 20001 AND 40000;
SELECT 'update ' || round(extract(epoch FROM clock_timestamp() - :'begun') * 1000);
ROLLBACK;
