WITH waiting AS MATERIALIZED (
    SELECT u.column_name = 'cd_nom' AS is_taxon, u.column_name, left(u.value, 60) AS value, u.occurrences
    FROM gn_harvest.unmapped_value u
    JOIN gn_harvest.source s ON s.name = u.source
    WHERE s.id = $1)
SELECT jsonb_build_object(
           'values', (SELECT count(*) FROM waiting WHERE NOT is_taxon),
           'value_examples', (SELECT coalesce(jsonb_agg(e.text), '[]')
                              FROM (SELECT column_name || ' = ' || value AS text FROM waiting WHERE NOT is_taxon
                                    ORDER BY occurrences DESC, column_name, value LIMIT 5) e),
           'taxa', (SELECT count(*) FROM waiting WHERE is_taxon),
           'taxon_examples', (SELECT coalesce(jsonb_agg(e.value), '[]')
                              FROM (SELECT value FROM waiting WHERE is_taxon ORDER BY occurrences DESC, value LIMIT 5) e),
           'records', (SELECT count(*) FROM gn_harvest.rejected j
                       WHERE j.source_id = $1 AND j.discarded_at IS NULL AND j.reason = 'unknown_cd_nom'),
           'rejected', (SELECT count(*) FROM gn_harvest.rejected j WHERE j.source_id = $1 AND j.discarded_at IS NULL))::text
