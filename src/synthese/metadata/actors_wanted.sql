-- The actors that the frameworks or datasets ($1) shall have; of those only whose id is in $2 and that said something
-- of actors. An organism is known by its UUID, or by its name when names decide ($3) or it came without UUID; a group
-- of roles is nobody. Opens actors_removed.sql and actors_added.sql; the braces are filled in by links.rs.
, said AS (
    SELECT k.{parent} AS parent, i.item -> 'actors' AS actors
    FROM jsonb_array_elements($1::jsonb) i(item)
    JOIN gn_meta.{parents} k ON k.{parent_uuid} = (i.item ->> 'uuid')::uuid
    WHERE k.{parent} = ANY ($2) AND i.item ? 'actors'
), wanted AS (
    SELECT DISTINCT s.parent, r.id_role, coalesce(o.id_organisme, named.id_organisme) AS id_organism, n.id AS role
    FROM said s
    CROSS JOIN LATERAL jsonb_to_recordset(s.actors) AS a(
         role text, organism_uuid uuid, organism_name text, named boolean, person_uuid uuid)
    JOIN nomenclature n ON n.type = 'ROLE_ACTEUR' AND n.code = a.role
    LEFT JOIN utilisateurs.bib_organismes o ON o.uuid_organisme = a.organism_uuid
    LEFT JOIN utilisateurs.bib_organismes named
         ON o.id_organisme IS NULL AND ($3 OR a.named) AND named.nom_organisme = a.organism_name
    LEFT JOIN utilisateurs.t_roles r ON r.uuid_role = a.person_uuid AND NOT r.groupe
    WHERE coalesce(r.id_role, o.id_organisme, named.id_organisme) IS NOT NULL
)
