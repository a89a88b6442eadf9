-- The defaults of the columns of datasets that must have a nomenclature, as expressions.
SELECT a.attname::text, pg_get_expr(d.adbin, d.adrelid)
FROM pg_attribute a
JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = 'gn_meta.t_datasets'::regclass AND NOT a.attisdropped
  AND a.attname IN ('id_nomenclature_data_type', 'id_nomenclature_dataset_objectif', 'id_nomenclature_collecting_method',
                    'id_nomenclature_data_origin', 'id_nomenclature_source_status', 'id_nomenclature_resource_type')
