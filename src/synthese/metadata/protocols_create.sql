-- Creates the protocols ($1) that are not here; one of an unknown type is of the type '0', "unknown".
INSERT INTO gn_meta.sinp_datatype_protocols (
    unique_protocol_id, protocol_name, protocol_desc, id_nomenclature_protocol_type, protocol_url)
SELECT p.uuid, p.name, p."desc", coalesce(said.id, unknown.id), p.url
FROM jsonb_to_recordset($1::jsonb) AS p(uuid uuid, name text, "desc" text, type text, url text)
LEFT JOIN nomenclature said ON said.type = 'TYPE_PROTOCOLE' AND said.code = p.type
LEFT JOIN nomenclature unknown ON unknown.type = 'TYPE_PROTOCOLE' AND unknown.code = '0'
WHERE NOT EXISTS (SELECT FROM gn_meta.sinp_datatype_protocols k WHERE k.unique_protocol_id = p.uuid)
ORDER BY p.uuid
ON CONFLICT DO NOTHING
