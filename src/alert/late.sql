-- Sources that are late, and those that were said to be and are no longer.
SELECT s.id,
       late.is_late,
       to_char(st.last_success_at, 'YYYY-MM-DD HH24:MI')
FROM gn_harvest.source s
JOIN gn_harvest.source_state st ON st.source_id = s.id
JOIN LATERAL gn_harvest.effective_rule(s.id) r ON r.rule = 'data_late' AND r.enabled,
LATERAL (SELECT coalesce(clock_timestamp() > coalesce(st.last_success_at, s.created_at) + r.threshold * interval '1 hour', false) AND r.own_threshold) late(is_late)
WHERE late.is_late
   OR EXISTS (SELECT FROM gn_harvest.alert a WHERE a.source_id = s.id AND a.rule = 'data_late' AND a.resolved_at IS NULL)
ORDER BY s.id
