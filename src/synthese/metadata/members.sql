-- Makes one list of what hangs on frameworks or datasets ($1) equal to what was said; of those only whose id is in $2
-- and that said something of it. The braces are filled in by links.rs.
, said AS (
    SELECT k.{parent} AS parent, i.item -> '{list}' AS members
    FROM jsonb_array_elements($1::jsonb) i(item)
    JOIN gn_meta.{parents} k ON k.{parent_uuid} = (i.item ->> 'uuid')::uuid
    WHERE k.{parent} = ANY ($2) AND i.item ? '{list}'
), wanted AS (
    SELECT DISTINCT s.parent, t.id
    FROM said s
    CROSS JOIN LATERAL jsonb_array_elements(s.members) m(member)
    JOIN ({target}) t ON {matches}
), removed AS (
    DELETE FROM gn_meta.{table} l
    USING said s
    WHERE l.{parent} = s.parent
      AND NOT EXISTS (SELECT FROM wanted w WHERE w.parent = l.{parent} AND w.id = l.{column})
    RETURNING l.{parent} AS parent
), added AS (
    INSERT INTO gn_meta.{table} ({parent}, {column})
    SELECT w.parent, w.id
    FROM wanted w
    WHERE NOT EXISTS (SELECT FROM gn_meta.{table} l WHERE l.{parent} = w.parent AND l.{column} = w.id)
    ORDER BY 1, 2
    ON CONFLICT DO NOTHING
    RETURNING {parent} AS parent
)
SELECT parent FROM removed UNION SELECT parent FROM added
