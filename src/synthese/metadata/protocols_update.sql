-- Brings the protocols ($1) up to date; a type that is not known here changes nothing.
UPDATE gn_meta.sinp_datatype_protocols k
SET protocol_name = w.name, protocol_desc = w."desc", id_nomenclature_protocol_type = w.type, protocol_url = w.url
FROM (SELECT here.id_protocol AS id, p.name, p."desc", coalesce(said.id, here.id_nomenclature_protocol_type) AS type, p.url
      FROM jsonb_to_recordset($1::jsonb) AS p(uuid uuid, name text, "desc" text, type text, url text)
      JOIN gn_meta.sinp_datatype_protocols here ON here.unique_protocol_id = p.uuid
      LEFT JOIN nomenclature said ON said.type = 'TYPE_PROTOCOLE' AND said.code = p.type) w
WHERE k.id_protocol = w.id
  AND (k.protocol_name, k.protocol_desc, k.id_nomenclature_protocol_type, k.protocol_url)
      IS DISTINCT FROM (w.name, w."desc", w.type, w.url)
