-- Brings the publications ($1) up to date.
UPDATE gn_meta.sinp_datatype_publications k
SET publication_reference = p.reference, publication_url = p.url
FROM jsonb_to_recordset($1::jsonb) AS p(uuid uuid, reference text, url text)
WHERE k.unique_publication_id = p.uuid
  AND (k.publication_reference, k.publication_url) IS DISTINCT FROM (p.reference, p.url)
