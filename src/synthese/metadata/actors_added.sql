-- Adds the actors that are not here. A person and an organism can each have a role once: where one actor is both,
-- and one of them has the role already, nothing is added.
INSERT INTO gn_meta.{table} ({parent}, id_role, id_organism, id_nomenclature_actor_role)
SELECT w.parent, w.id_role, w.id_organism, w.role
FROM wanted w
WHERE NOT EXISTS (SELECT FROM gn_meta.{table} l
                  WHERE l.{parent} = w.parent AND l.id_nomenclature_actor_role = w.role
                    AND (l.id_role = w.id_role OR l.id_organism = w.id_organism))
ORDER BY w.parent, w.id_role, w.id_organism, w.role
ON CONFLICT DO NOTHING
RETURNING {parent}
