-- Brings the datasets ($1) whose id is in $2 up to date: what was said, and nothing else. A null or unknown value where
-- the column needs one changes nothing. A dataset follows its source to another framework, but not to the one that
-- was made for want of any. Only rows that differ are written.
, wanted AS (
    SELECT k.id_dataset AS id,
           CASE WHEN d.framework_stated THEN coalesce(f.id_acquisition_framework, k.id_acquisition_framework)
                ELSE k.id_acquisition_framework END AS framework,
           coalesce(d.name, k.dataset_name) AS name,
           coalesce(d.shortname, k.dataset_shortname) AS shortname,
           coalesce(d."desc", k.dataset_desc) AS description,
           CASE WHEN i.item ? 'keywords' THEN d.keywords ELSE k.keywords END AS keywords,
           coalesce(d.marine_domain, k.marine_domain) AS marine_domain,
           coalesce(d.terrestrial_domain, k.terrestrial_domain) AS terrestrial_domain,
           coalesce(type.id, k.id_nomenclature_data_type) AS data_type,
           coalesce(objective.id, k.id_nomenclature_dataset_objectif) AS objective,
           coalesce(method.id, k.id_nomenclature_collecting_method) AS collecting_method,
           coalesce(origin.id, k.id_nomenclature_data_origin) AS data_origin,
           coalesce(status.id, k.id_nomenclature_source_status) AS source_status,
           coalesce(resource.id, k.id_nomenclature_resource_type) AS resource_type,
           CASE WHEN i.item ? 'bbox_west' THEN d.bbox_west ELSE k.bbox_west END AS bbox_west,
           CASE WHEN i.item ? 'bbox_east' THEN d.bbox_east ELSE k.bbox_east END AS bbox_east,
           CASE WHEN i.item ? 'bbox_south' THEN d.bbox_south ELSE k.bbox_south END AS bbox_south,
           CASE WHEN i.item ? 'bbox_north' THEN d.bbox_north ELSE k.bbox_north END AS bbox_north,
           CASE WHEN i.item ? 'additional_data' THEN coalesce(d.additional_data, '{}')
                ELSE k.additional_data END AS additional_data
    FROM jsonb_array_elements($1::jsonb) i(item)
    CROSS JOIN LATERAL jsonb_to_record(i.item) AS d(
         uuid uuid, framework_uuid uuid, framework_stated boolean, name text, shortname text, "desc" text, keywords text,
         marine_domain boolean, terrestrial_domain boolean, data_type text, dataset_objectif text, collecting_method text,
         data_origin text, source_status text, resource_type text,
         bbox_west real, bbox_east real, bbox_south real, bbox_north real, additional_data jsonb)
    JOIN gn_meta.t_datasets k ON k.unique_dataset_id = d.uuid
    LEFT JOIN gn_meta.t_acquisition_frameworks f ON f.unique_acquisition_framework_id = d.framework_uuid
    LEFT JOIN nomenclature type ON type.type = 'DATA_TYP' AND type.code = d.data_type
    LEFT JOIN nomenclature objective ON objective.type = 'JDD_OBJECTIFS' AND objective.code = d.dataset_objectif
    LEFT JOIN nomenclature method ON method.type = 'METHO_RECUEIL' AND method.code = d.collecting_method
    LEFT JOIN nomenclature origin ON origin.type = 'DS_PUBLIQUE' AND origin.code = d.data_origin
    LEFT JOIN nomenclature status ON status.type = 'STATUT_SOURCE' AND status.code = d.source_status
    LEFT JOIN nomenclature resource ON resource.type = 'RESOURCE_TYP' AND resource.code = d.resource_type
    WHERE k.id_dataset = ANY ($2)
)
UPDATE gn_meta.t_datasets k
SET id_acquisition_framework = w.framework, dataset_name = w.name, dataset_shortname = w.shortname,
    dataset_desc = w.description, keywords = w.keywords, marine_domain = w.marine_domain,
    terrestrial_domain = w.terrestrial_domain, id_nomenclature_data_type = w.data_type,
    id_nomenclature_dataset_objectif = w.objective, id_nomenclature_collecting_method = w.collecting_method,
    id_nomenclature_data_origin = w.data_origin, id_nomenclature_source_status = w.source_status,
    id_nomenclature_resource_type = w.resource_type, bbox_west = w.bbox_west, bbox_east = w.bbox_east,
    bbox_south = w.bbox_south, bbox_north = w.bbox_north, additional_data = w.additional_data
FROM wanted w
WHERE k.id_dataset = w.id
  AND (k.id_acquisition_framework, k.dataset_name, k.dataset_shortname, k.dataset_desc, k.keywords, k.marine_domain,
       k.terrestrial_domain, k.id_nomenclature_data_type, k.id_nomenclature_dataset_objectif,
       k.id_nomenclature_collecting_method, k.id_nomenclature_data_origin, k.id_nomenclature_source_status,
       k.id_nomenclature_resource_type, k.bbox_west, k.bbox_east, k.bbox_south, k.bbox_north, k.additional_data)
      IS DISTINCT FROM
      (w.framework, w.name, w.shortname, w.description, w.keywords, w.marine_domain,
       w.terrestrial_domain, w.data_type, w.objective,
       w.collecting_method, w.data_origin, w.source_status,
       w.resource_type, w.bbox_west, w.bbox_east, w.bbox_south, w.bbox_north, w.additional_data)
RETURNING k.id_dataset
