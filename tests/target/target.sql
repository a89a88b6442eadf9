-- A GeoNature-shaped database to harvest into: our own SQL, written from the recorded
-- model (spec/) and from what its triggers were observed to do. Run it in an empty
-- database, as a superuser, from this directory:
--   psql -X -v ON_ERROR_STOP=1 -d DB -f target.sql
-- check.sql says whether the result has the recorded shape, behaviour.sql whether it
-- behaves; both can be run on it at any time and leave no trace.

\set QUIET on
\encoding UTF8
SET client_min_messages = warning;

BEGIN;
\ir schema/common.sql
\ir schema/utilisateurs.sql
\ir schema/taxonomie.sql
\ir schema/ref_nomenclatures.sql
\ir schema/ref_geo.sql
\ir schema/ref_habitats.sql
\ir schema/gn_commons.sql
\ir schema/gn_meta.sql
\ir schema/gn_imports.sql
\ir schema/gn_sensitivity.sql
\ir schema/gn_synthese.sql
\ir schema/synthese_triggers.sql
\ir schema/gn_notifications.sql
\ir data/referentials.sql
\ir data/areas.sql
\ir data/sensitivity_rules.sql
COMMIT;

VACUUM ANALYZE;
