-- Creates the persons ($1) that are not here, without login. An e-mail address that a role has already is left out:
-- GeoNature finds accounts by it. Those that are here are never changed: they may be accounts of local people.
INSERT INTO utilisateurs.t_roles (groupe, uuid_role, nom_role, prenom_role, email)
SELECT false, w.uuid, w.name, w.first_name,
       CASE WHEN w.rank = 1
             AND NOT EXISTS (SELECT FROM utilisateurs.t_roles r WHERE lower(r.email) = lower(w.email))
            THEN w.email END
FROM (SELECT p.*, row_number() OVER (PARTITION BY lower(p.email) ORDER BY p.uuid) AS rank
      FROM jsonb_to_recordset($1::jsonb) AS p(uuid uuid, name text, first_name text, email text)
      WHERE NOT EXISTS (SELECT FROM utilisateurs.t_roles r WHERE r.uuid_role = p.uuid)) w
ORDER BY w.uuid
ON CONFLICT DO NOTHING
RETURNING uuid_role
