-- The nomenclatures that metadata use, each code once. Opens the statements that resolve codes.
WITH nomenclature AS MATERIALIZED (
    SELECT t.mnemonique::text AS type, n.cd_nomenclature::text AS code, min(n.id_nomenclature) AS id
    FROM ref_nomenclatures.t_nomenclatures n
    JOIN ref_nomenclatures.bib_nomenclatures_types t USING (id_type)
    WHERE t.mnemonique IN ('NIVEAU_TERRITORIAL', 'TYPE_FINANCEMENT', 'CA_OBJECTIFS', 'VOLET_SINP', 'TERRITOIRE', 'DATA_TYP',
                           'JDD_OBJECTIFS', 'METHO_RECUEIL', 'DS_PUBLIQUE', 'STATUT_SOURCE', 'RESOURCE_TYP', 'ROLE_ACTEUR',
                           'TYPE_PROTOCOLE')
    GROUP BY 1, 2
)
