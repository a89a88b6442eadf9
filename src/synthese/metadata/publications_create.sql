-- Creates the publications ($1) that are not here.
INSERT INTO gn_meta.sinp_datatype_publications (unique_publication_id, publication_reference, publication_url)
SELECT p.uuid, p.reference, p.url
FROM jsonb_to_recordset($1::jsonb) AS p(uuid uuid, reference text, url text)
WHERE NOT EXISTS (SELECT FROM gn_meta.sinp_datatype_publications k WHERE k.unique_publication_id = p.uuid)
ORDER BY p.uuid
ON CONFLICT DO NOTHING
