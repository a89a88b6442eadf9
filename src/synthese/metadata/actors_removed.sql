-- Removes the actors that are no longer said.
DELETE FROM gn_meta.{table} l
USING said s
WHERE l.{parent} = s.parent
  AND NOT EXISTS (SELECT FROM wanted w
                  WHERE w.parent = l.{parent} AND w.role = l.id_nomenclature_actor_role
                    AND (w.id_role, w.id_organism) IS NOT DISTINCT FROM (l.id_role, l.id_organism))
RETURNING l.{parent}
