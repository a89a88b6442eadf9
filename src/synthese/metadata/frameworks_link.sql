-- Links the frameworks that wait for a parent with those of them ($1, ids) that have just come.
UPDATE gn_meta.t_acquisition_frameworks k
SET acquisition_framework_parent_id = coalesce(k.acquisition_framework_parent_id, parent.id_acquisition_framework),
    additional_data = k.additional_data - 'gn_harvest_parent_uuid'
FROM gn_meta.t_acquisition_frameworks parent
WHERE parent.id_acquisition_framework = ANY ($1)
  AND k.additional_data ->> 'gn_harvest_parent_uuid' = parent.unique_acquisition_framework_id::text
  AND k.id_acquisition_framework <> parent.id_acquisition_framework
RETURNING k.id_acquisition_framework
