-- Harvests by pg_cron, in a database where it is installed:
--   psql -d geonature2db -f pg_cron.sql
-- The role that runs this owns the jobs: they run the sources that it may run.

\set ON_ERROR_STOP on

-- Every night: what has changed at every enabled source, one after the other.
SELECT cron.schedule('gn_harvest nightly', '0 3 * * *', $$SELECT gn_harvest.run_all()$$);

-- On the first of the month: what the partners have no longer.
SELECT cron.schedule('gn_harvest monthly', '0 4 1 * *', $$SELECT gn_harvest.run(source, 'reconcile') FROM gn_harvest.source_status WHERE enabled$$);
