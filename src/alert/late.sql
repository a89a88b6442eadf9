-- Sources that are late, and those that were said to be and are no longer. What a source promises counts from its last
-- success, and anew from when it was altered: a schedule that was just given has promised nothing yet.
SELECT s.id,
       late.is_late,
       to_char(st.last_success_at, 'YYYY-MM-DD HH24:MI')
FROM gn_harvest.source s
JOIN gn_harvest.source_state st ON st.source_id = s.id
JOIN LATERAL gn_harvest.effective_rule(s.id) r ON r.rule = 'data_late' AND r.enabled,
LATERAL (SELECT greatest(coalesce(st.last_success_at, s.created_at), s.altered_at) AS at) since,
LATERAL (SELECT CASE WHEN s.schedule <> 'manual' OR s.reconcile_schedule IS NOT NULL
                     THEN least(gn_harvest.next_tick(s.schedule, since.at), gn_harvest.next_tick(s.reconcile_schedule, since.at)) + s.schedule_jitter
                     WHEN r.own_threshold THEN coalesce(st.last_success_at, s.created_at) END AS at) promised,
LATERAL (SELECT coalesce(gn_harvest.clock() > promised.at + r.threshold * interval '1 hour', false)) late(is_late)
WHERE late.is_late
   OR EXISTS (SELECT FROM gn_harvest.alert a WHERE a.source_id = s.id AND a.rule = 'data_late' AND a.resolved_at IS NULL)
ORDER BY s.id
