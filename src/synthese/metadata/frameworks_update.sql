-- Brings the frameworks ($1) whose id is in $2 up to date: what was said, and nothing else. A null where the column
-- needs a value changes nothing. Only rows that differ are written.
, wanted AS (
    SELECT k.id_acquisition_framework AS id,
           coalesce(f.name, k.acquisition_framework_name) AS name,
           coalesce(f."desc", k.acquisition_framework_desc) AS description,
           CASE WHEN i.item ? 'territorial_level' THEN level.id
                ELSE k.id_nomenclature_territorial_level END AS territorial_level,
           CASE WHEN i.item ? 'territory_desc' THEN f.territory_desc ELSE k.territory_desc END AS territory_desc,
           CASE WHEN i.item ? 'keywords' THEN f.keywords ELSE k.keywords END AS keywords,
           CASE WHEN i.item ? 'financing_type' THEN financing.id
                ELSE k.id_nomenclature_financing_type END AS financing_type,
           CASE WHEN i.item ? 'target_description' THEN f.target_description
                ELSE k.target_description END AS target_description,
           CASE WHEN i.item ? 'ecologic_or_geologic_target' THEN f.ecologic_or_geologic_target
                ELSE k.ecologic_or_geologic_target END AS ecologic_or_geologic_target,
           CASE WHEN i.item ? 'is_parent' THEN f.is_parent ELSE k.is_parent END AS is_parent,
           CASE WHEN i.item ? 'parent_uuid' THEN parent.id_acquisition_framework
                ELSE k.acquisition_framework_parent_id END AS parent,
           coalesce(f.start_date, k.acquisition_framework_start_date) AS start_date,
           CASE WHEN i.item ? 'end_date' THEN f.end_date ELSE k.acquisition_framework_end_date END AS end_date,
           CASE WHEN i.item ? 'initial_closing_date' THEN f.initial_closing_date
                ELSE k.initial_closing_date END AS initial_closing_date,
           CASE WHEN NOT i.item ? 'parent_uuid' THEN said.data
                WHEN f.parent_uuid IS NOT NULL AND parent.id_acquisition_framework IS NULL
                THEN coalesce(said.data, '{}') || jsonb_build_object('gn_harvest_parent_uuid', f.parent_uuid)
                ELSE said.data - 'gn_harvest_parent_uuid' END AS additional_data
    FROM jsonb_array_elements($1::jsonb) i(item)
    CROSS JOIN LATERAL jsonb_to_record(i.item) AS f(
         uuid uuid, name text, "desc" text, territorial_level text, territory_desc text, keywords text, financing_type text,
         target_description text, ecologic_or_geologic_target text, is_parent boolean, parent_uuid uuid,
         start_date date, end_date date, initial_closing_date timestamp, additional_data jsonb)
    JOIN gn_meta.t_acquisition_frameworks k ON k.unique_acquisition_framework_id = f.uuid
    -- The parent that is awaited is ours to note, not the source's.
    CROSS JOIN LATERAL (
         SELECT CASE WHEN i.item ? 'additional_data'
                     THEN coalesce(f.additional_data, '{}') - 'gn_harvest_parent_uuid'
                          || coalesce((SELECT jsonb_build_object(e.key, e.value) FROM jsonb_each(k.additional_data) e WHERE e.key = 'gn_harvest_parent_uuid'), '{}')
                     ELSE k.additional_data END AS data) said
    LEFT JOIN nomenclature level ON level.type = 'NIVEAU_TERRITORIAL' AND level.code = f.territorial_level
    LEFT JOIN nomenclature financing ON financing.type = 'TYPE_FINANCEMENT' AND financing.code = f.financing_type
    LEFT JOIN gn_meta.t_acquisition_frameworks parent ON parent.unique_acquisition_framework_id = f.parent_uuid
    WHERE k.id_acquisition_framework = ANY ($2)
)
UPDATE gn_meta.t_acquisition_frameworks k
SET acquisition_framework_name = w.name, acquisition_framework_desc = w.description,
    id_nomenclature_territorial_level = w.territorial_level, territory_desc = w.territory_desc, keywords = w.keywords,
    id_nomenclature_financing_type = w.financing_type, target_description = w.target_description,
    ecologic_or_geologic_target = w.ecologic_or_geologic_target, is_parent = w.is_parent,
    acquisition_framework_parent_id = w.parent, acquisition_framework_start_date = w.start_date,
    acquisition_framework_end_date = w.end_date, initial_closing_date = w.initial_closing_date,
    additional_data = w.additional_data
FROM wanted w
WHERE k.id_acquisition_framework = w.id
  AND (k.acquisition_framework_name, k.acquisition_framework_desc, k.id_nomenclature_territorial_level, k.territory_desc,
       k.keywords, k.id_nomenclature_financing_type, k.target_description, k.ecologic_or_geologic_target, k.is_parent,
       k.acquisition_framework_parent_id, k.acquisition_framework_start_date, k.acquisition_framework_end_date,
       k.initial_closing_date, k.additional_data)
      IS DISTINCT FROM
      (w.name, w.description, w.territorial_level, w.territory_desc,
       w.keywords, w.financing_type, w.target_description, w.ecologic_or_geologic_target, w.is_parent,
       w.parent, w.start_date, w.end_date,
       w.initial_closing_date, w.additional_data)
RETURNING k.id_acquisition_framework
