-- Creates the datasets ($1) that are not here and whose framework is. A code that is missing or unknown gives way to
-- the column's own default ($2, ids by column).
INSERT INTO gn_meta.t_datasets (
    unique_dataset_id, id_acquisition_framework, dataset_name, dataset_shortname, dataset_desc, keywords,
    marine_domain, terrestrial_domain,
    id_nomenclature_data_type, id_nomenclature_dataset_objectif, id_nomenclature_collecting_method,
    id_nomenclature_data_origin, id_nomenclature_source_status, id_nomenclature_resource_type,
    bbox_west, bbox_east, bbox_south, bbox_north, additional_data, meta_create_date)
SELECT d.uuid, f.id_acquisition_framework, w.name, coalesce(d.shortname, w.name), coalesce(d."desc", w.name), d.keywords,
       coalesce(d.marine_domain, false), coalesce(d.terrestrial_domain, NOT coalesce(d.marine_domain, false)),
       coalesce(type.id, def.id_nomenclature_data_type), coalesce(objective.id, def.id_nomenclature_dataset_objectif),
       coalesce(method.id, def.id_nomenclature_collecting_method), coalesce(origin.id, def.id_nomenclature_data_origin),
       coalesce(status.id, def.id_nomenclature_source_status), coalesce(resource.id, def.id_nomenclature_resource_type),
       d.bbox_west, d.bbox_east, d.bbox_south, d.bbox_north, coalesce(d.additional_data, '{}'), now()
FROM jsonb_to_recordset($1::jsonb) AS d(
         uuid uuid, framework_uuid uuid, name text, shortname text, "desc" text, keywords text,
         marine_domain boolean, terrestrial_domain boolean, data_type text, dataset_objectif text, collecting_method text,
         data_origin text, source_status text, resource_type text,
         bbox_west real, bbox_east real, bbox_south real, bbox_north real, additional_data jsonb)
CROSS JOIN LATERAL (SELECT coalesce(d.name, format('Jeu de données %s', d.uuid)) AS name) w
CROSS JOIN jsonb_to_record($2::jsonb) AS def(
         id_nomenclature_data_type integer, id_nomenclature_dataset_objectif integer, id_nomenclature_collecting_method integer,
         id_nomenclature_data_origin integer, id_nomenclature_source_status integer, id_nomenclature_resource_type integer)
JOIN gn_meta.t_acquisition_frameworks f ON f.unique_acquisition_framework_id = d.framework_uuid
LEFT JOIN nomenclature type ON type.type = 'DATA_TYP' AND type.code = d.data_type
LEFT JOIN nomenclature objective ON objective.type = 'JDD_OBJECTIFS' AND objective.code = d.dataset_objectif
LEFT JOIN nomenclature method ON method.type = 'METHO_RECUEIL' AND method.code = d.collecting_method
LEFT JOIN nomenclature origin ON origin.type = 'DS_PUBLIQUE' AND origin.code = d.data_origin
LEFT JOIN nomenclature status ON status.type = 'STATUT_SOURCE' AND status.code = d.source_status
LEFT JOIN nomenclature resource ON resource.type = 'RESOURCE_TYP' AND resource.code = d.resource_type
WHERE NOT EXISTS (SELECT FROM gn_meta.t_datasets k WHERE k.unique_dataset_id = d.uuid)
ORDER BY d.uuid
ON CONFLICT DO NOTHING
RETURNING id_dataset
