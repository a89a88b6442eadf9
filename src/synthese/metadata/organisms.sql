-- Creates the organisms ($1) that are not here. The name of an organism is unique: one whose name belongs to another
-- UUID is taken to be that one when names decide ($2, or it came without UUID), else its UUID is told in its name.
-- Those that are here are never changed: they are shared by all sources and by local people.
INSERT INTO utilisateurs.bib_organismes (uuid_organisme, nom_organisme, email_organisme)
SELECT w.uuid, CASE WHEN w.taken THEN format('%s (%s)', left(w.name, 480), left(w.uuid::text, 8)) ELSE w.name END, w.email
FROM (SELECT o.uuid, o.named, o.email, coalesce(o.name, format('Organisme %s', o.uuid)) AS name,
             row_number() OVER (PARTITION BY o.name ORDER BY o.uuid) > 1 AND o.name IS NOT NULL
             OR EXISTS (SELECT FROM utilisateurs.bib_organismes b WHERE b.nom_organisme = o.name) AS taken
      FROM jsonb_to_recordset($1::jsonb) AS o(uuid uuid, name text, email text, named boolean)
      WHERE NOT EXISTS (SELECT FROM utilisateurs.bib_organismes b WHERE b.uuid_organisme = o.uuid)) w
WHERE NOT (w.taken AND ($2 OR w.named))
ORDER BY w.uuid
ON CONFLICT DO NOTHING
RETURNING nom_organisme::text, uuid_organisme
