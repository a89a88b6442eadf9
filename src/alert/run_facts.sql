SELECT jsonb_build_object(
           'mode', r.mode, 'status', r.status, 'sqlstate', r.error_sqlstate, 'error', r.error_message,
           'fetched', r.fetched, 'rejected', r.rejected, 'resumed', r.resumes IS NOT NULL,
           'held', st.observations, 'enabled', s.enabled,
           'failures', st.consecutive_failures, 'pause_after', s.pause_after_failures,
           'guarded_mode', (SELECT a.facts ->> 'mode' FROM gn_harvest.alert a
                            WHERE a.source_id = s.id AND a.rule = 'loss_guard' AND a.resolved_at IS NULL),
           'frozen_before', EXISTS (SELECT FROM gn_harvest.alert a
                                    WHERE a.source_id = s.id AND a.rule = 'columns_changed' AND a.resolved_at IS NULL
                                      AND a.facts -> 'frozen' = 'true'),
           -- An incremental run reads a part, and is told how many there are.
           'volume', CASE WHEN r.mode = 'incremental' THEN r.source_total WHEN r.resumes IS NULL THEN r.fetched + r.hidden END,
           'usual_volume', (
               SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY earlier.volume)
               FROM (SELECT CASE WHEN r.mode = 'incremental' THEN o.source_total ELSE o.fetched + o.hidden END AS volume
                     FROM gn_harvest.run o
                     WHERE o.source_id = r.source_id AND o.id < r.id AND o.status = 'succeeded' AND o.resumes IS NULL
                       AND o.mode IN ('full', 'reconcile') AND o.fetched > 0
                       -- Of the same export, with the same filters.
                       AND o.settings IS NOT DISTINCT FROM CASE WHEN r.mode <> 'incremental' THEN r.settings
                           ELSE (SELECT l.settings FROM gn_harvest.run l
                                 WHERE l.source_id = r.source_id AND l.id < r.id AND l.status = 'succeeded' AND l.mode IN ('full', 'reconcile')
                                 ORDER BY l.id DESC LIMIT 1) END
                     ORDER BY o.id DESC LIMIT 5) earlier))::text
FROM gn_harvest.run r
JOIN gn_harvest.source s ON s.id = r.source_id
JOIN gn_harvest.source_state st ON st.source_id = s.id
WHERE r.id = $1
