-- Creates the frameworks ($1) that are not here; one that is made for a dataset without framework (only_for), only
-- when that dataset is not here either. A parent that is not here either is noted in additional_data:
-- frameworks_link.sql makes the link when it comes, in this run or a later one.
INSERT INTO gn_meta.t_acquisition_frameworks (
    unique_acquisition_framework_id, acquisition_framework_name, acquisition_framework_desc,
    id_nomenclature_territorial_level, territory_desc, keywords, id_nomenclature_financing_type,
    target_description, ecologic_or_geologic_target, is_parent, acquisition_framework_parent_id,
    acquisition_framework_start_date, acquisition_framework_end_date, initial_closing_date, additional_data, meta_create_date)
SELECT f.uuid, w.name, coalesce(f."desc", w.name),
       level.id, f.territory_desc, f.keywords, financing.id,
       f.target_description, f.ecologic_or_geologic_target, f.is_parent, parent.id_acquisition_framework,
       coalesce(f.start_date, current_date), f.end_date, f.initial_closing_date,
       coalesce(f.additional_data, '{}') - 'gn_harvest_parent_uuid'
       || CASE WHEN f.parent_uuid IS NOT NULL AND parent.id_acquisition_framework IS NULL
               THEN jsonb_build_object('gn_harvest_parent_uuid', f.parent_uuid) ELSE '{}' END,
       now()
FROM jsonb_to_recordset($1::jsonb) AS f(
         uuid uuid, name text, "desc" text, territorial_level text, territory_desc text, keywords text, financing_type text,
         target_description text, ecologic_or_geologic_target text, is_parent boolean, parent_uuid uuid,
         only_for uuid, start_date date, end_date date, initial_closing_date timestamp, additional_data jsonb)
CROSS JOIN LATERAL (SELECT coalesce(f.name, format('Cadre d''acquisition %s', f.uuid)) AS name) w
LEFT JOIN nomenclature level ON level.type = 'NIVEAU_TERRITORIAL' AND level.code = f.territorial_level
LEFT JOIN nomenclature financing ON financing.type = 'TYPE_FINANCEMENT' AND financing.code = f.financing_type
LEFT JOIN gn_meta.t_acquisition_frameworks parent ON parent.unique_acquisition_framework_id = f.parent_uuid
WHERE NOT EXISTS (SELECT FROM gn_meta.t_acquisition_frameworks k WHERE k.unique_acquisition_framework_id = f.uuid)
  AND NOT EXISTS (SELECT FROM gn_meta.t_datasets d WHERE d.unique_dataset_id = f.only_for)
ORDER BY f.uuid
ON CONFLICT DO NOTHING
RETURNING id_acquisition_framework
