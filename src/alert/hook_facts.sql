-- The function to be called after a run, and what it is told; no row: nothing has changed, or there is none.
WITH counted AS (
    SELECT o.id, o.inserted + o.updated + o.deleted + o.frameworks_created + o.frameworks_updated
                 + o.datasets_created + o.datasets_updated + o.actors_created AS changes
    FROM gn_harvest.run o
    JOIN gn_harvest.source_state st ON st.source_id = o.source_id
    WHERE o.source_id = $1 AND o.id > least(coalesce(st.hook_run, 0), $2 - 1) AND o.id <= $2)
SELECT s.after_run,
       jsonb_build_object(
           'source', s.name, 'run', r.id, 'mode', r.mode, 'status', r.status,
           'inserted', r.inserted, 'updated', r.updated, 'deleted', r.deleted,
           'frameworks_created', r.frameworks_created, 'frameworks_updated', r.frameworks_updated,
           'datasets_created', r.datasets_created, 'datasets_updated', r.datasets_updated,
           'actors_created', r.actors_created)::text,
       EXISTS (SELECT FROM counted c WHERE c.id < r.id AND c.changes > 0)
FROM gn_harvest.source s
JOIN gn_harvest.run r ON r.id = $2
WHERE s.id = $1 AND s.after_run IS NOT NULL
  AND EXISTS (SELECT FROM counted c WHERE c.changes > 0)
