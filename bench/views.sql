-- How fast the dashboard's views answer with a million harvested observations, and what counting costs while they are written.
-- psql -f bench/views.sql in a scratch database with the extension, as a superuser.
\set ON_ERROR_STOP on
\timing off
-- Ten sources, the lineage of a hundred thousand observations each, of 12 000 taxa and 40 datasets, in batches as runs write them.
SELECT gn_harvest.add_source('Partenaire ' || n, 'https://gn' || n || '.example.org', n, organism => 'Organisme ' || n) FROM generate_series(1, 10) n \g /dev/null
CREATE PROCEDURE pg_temp.harvest_all(batch integer) LANGUAGE plpgsql AS $$
DECLARE
    source_of record;
BEGIN
    FOR source_of IN SELECT id FROM gn_harvest.source LOOP
        FOR n IN 0 .. 100000 / batch - 1 LOOP
            INSERT INTO gn_harvest.harvested (source_id, key_number, source_key, uuid, id_synthese, attributes_hash, geometry_hash,
                                              first_run, last_run, cd_nom, id_dataset)
            SELECT source_of.id, k, k::text, gen_random_uuid(), source_of.id * 1000000 + k, gen_random_uuid(), gen_random_uuid(), 1, 1,
                   (12000 * random() ^ 3)::integer, (40 * random())::integer
            FROM generate_series(n * batch + 1, (n + 1) * batch) k;
            IF n % 16 = 15 THEN
                PERFORM gn_harvest.fold_tally(source_of.id);
            END IF;
            COMMIT;
        END LOOP;
        PERFORM gn_harvest.fold_tally(source_of.id);
        UPDATE gn_harvest.source_state SET observations = 100000 WHERE source_id = source_of.id;
    END LOOP;
END
$$;
ALTER TABLE gn_harvest.harvested DISABLE TRIGGER USER;
\echo A million rows of lineage, not counted:
\timing on
CALL pg_temp.harvest_all(5000);
\timing off
TRUNCATE gn_harvest.harvested;
ALTER TABLE gn_harvest.harvested ENABLE TRIGGER USER;
\echo A million rows of lineage, counted:
\timing on
CALL pg_temp.harvest_all(5000);
\timing off
INSERT INTO gn_harvest.taxon SELECT n, n - n % 3 FROM generate_series(0, 12000) n;
INSERT INTO gn_harvest.run (id, source_id, source, mode, status, started_by, created_at, finished_at, inserted, updated, fetched)
SELECT nextval('gn_harvest.run_id_seq'), s.id, s.name, 'incremental', CASE WHEN random() < 0.05 THEN 'failed' ELSE 'succeeded' END, 'bench',
       now() - h * interval '1 hour', now() - h * interval '1 hour' + interval '1 minute', random() * 500, random() * 900, random() * 2000
FROM gn_harvest.source s, generate_series(1, 8760, 4) h ORDER BY h DESC;
INSERT INTO gn_harvest.rejected (source_id, identity, reason, message, payload, payload_hash, first_run, last_run)
SELECT s.id, k, 'unknown_cd_nom', 'unknown', '{}', gen_random_uuid(), 1, 1 FROM gn_harvest.source s, generate_series(1, 20000) k;
VACUUM ANALYZE;
\echo What of it there is:
SELECT pg_size_pretty(pg_relation_size('gn_harvest.harvested')) AS lineage,
       pg_relation_size('gn_harvest.harvested') / (SELECT count(*) FROM gn_harvest.harvested) AS bytes_a_row,
       (SELECT count(*) FROM gn_harvest.taxon_tally) AS counts,
       pg_size_pretty(pg_total_relation_size('gn_harvest.taxon_tally')) AS of_counts;
\echo Warm, the third time of each:
SELECT count(*) FROM gn_harvest.dashboard \g /dev/null
TABLE gn_harvest.dashboard \g /dev/null
TABLE gn_harvest.source_status \g /dev/null
TABLE gn_harvest.metrics \g /dev/null
TABLE gn_harvest.dashboard \g /dev/null
TABLE gn_harvest.source_status \g /dev/null
TABLE gn_harvest.metrics \g /dev/null
\echo dashboard, source_status, metrics:
\timing on
TABLE gn_harvest.dashboard \g /dev/null
TABLE gn_harvest.source_status \g /dev/null
TABLE gn_harvest.metrics \g /dev/null
