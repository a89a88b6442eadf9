-- An operator of the harvest in a GeoNature database: a role that is no superuser, connects partners and runs them.
-- As a superuser, in the GeoNature database:
--   psql -d geonature2db -v operator=harvest_operator -f geonature.sql

\set ON_ERROR_STOP on
BEGIN;

SELECT format('CREATE ROLE %I LOGIN', :'operator')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'operator') \gexec

CREATE EXTENSION IF NOT EXISTS gn_harvest;
SELECT gn_harvest.grant_operator(:'operator');

-- Runs write with the rights of the source's owner, and GeoNature's triggers run with them too.
GRANT USAGE ON SCHEMA gn_synthese, gn_meta, utilisateurs, ref_nomenclatures, taxonomie, ref_geo, ref_habitats,
    gn_commons, gn_sensitivity TO :"operator";
GRANT SELECT ON ALL TABLES IN SCHEMA gn_synthese, gn_meta, utilisateurs, ref_nomenclatures, taxonomie, ref_geo,
    ref_habitats, gn_commons, gn_sensitivity TO :"operator";
GRANT INSERT, UPDATE, DELETE ON gn_synthese.synthese, gn_synthese.t_sources, gn_synthese.cor_area_synthese,
    gn_synthese.t_log_synthese TO :"operator";
GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA gn_meta TO :"operator";
GRANT INSERT ON utilisateurs.t_roles, utilisateurs.bib_organismes TO :"operator";
GRANT USAGE ON ALL SEQUENCES IN SCHEMA gn_synthese, gn_meta, utilisateurs TO :"operator";
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA gn_synthese, gn_meta, utilisateurs, ref_nomenclatures, taxonomie, ref_geo,
    gn_commons, gn_sensitivity TO :"operator";

COMMIT;
