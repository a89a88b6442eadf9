-- Figures of the whole: the top of the screen, and what is rejected. Counted, not scanned (tally.sql): they answer at once
-- however much was harvested.

CREATE VIEW gn_harvest.dashboard WITH (security_barrier) AS
WITH visible AS MATERIALIZED (
    SELECT s.id, s.organism, s.organism_uuid, s.url FROM gn_harvest.source s
    WHERE s.id IN (SELECT gn_harvest.visible_source(current_user)))
SELECT (SELECT coalesce(sum(st.observations), 0)::bigint FROM gn_harvest.source_state st
        WHERE st.source_id IN (SELECT v.id FROM visible v)) AS observations,
       (SELECT count(*) FROM (
            SELECT FROM (SELECT n.cd_nom FROM gn_harvest.taxon_tally n
                         WHERE n.source_id IN (SELECT v.id FROM visible v)
                         GROUP BY n.cd_nom HAVING sum(n.observations) > 0) held
            LEFT JOIN gn_harvest.taxon t ON t.cd_nom = held.cd_nom
            GROUP BY coalesce(t.cd_ref, held.cd_nom)) valid) AS taxa,
       (SELECT count(DISTINCT coalesce(v.organism_uuid::text, named.uuid::text, lower(v.organism), split_part(v.url, '/', 3)))
        FROM visible v
        LEFT JOIN (SELECT lower(o.organism) AS name, min(o.organism_uuid::text) AS uuid FROM visible o GROUP BY 1) named
               ON named.name = lower(v.organism)) AS organisms,
       (SELECT count(*) FROM (
            SELECT FROM gn_harvest.dataset_tally n WHERE n.source_id IN (SELECT v.id FROM visible v)
            GROUP BY n.id_dataset HAVING sum(n.observations) > 0) held) AS datasets,
       (SELECT count(*) FROM visible) AS sources,
       (SELECT count(*) FROM gn_harvest.run_progress) AS running,
       (SELECT coalesce(sum(n.records), 0)::bigint FROM gn_harvest.rejected_tally n
        WHERE n.source_id IN (SELECT v.id FROM visible v)) AS rejected,
       (SELECT count(*) FROM gn_harvest.open_alert) AS open_alerts,
       last.source AS last_run_source,
       last.status AS last_run_status,
       last.started_at AS last_run
FROM (SELECT) one_row
LEFT JOIN LATERAL (
    SELECT h.source, h.status, h.started_at
    FROM visible v, LATERAL (
        SELECT r.* FROM gn_harvest.all_run r WHERE r.source_id = v.id AND r.mode NOT IN ('check', 'plan') ORDER BY r.run DESC LIMIT 1) h
    ORDER BY h.run DESC LIMIT 1) last ON true;
COMMENT ON VIEW gn_harvest.dashboard IS 'One row: the figures at the top of the screen, of the sources that one may see.';
COMMENT ON COLUMN gn_harvest.dashboard.observations IS 'Observations that came from the sources and are in the target.';
COMMENT ON COLUMN gn_harvest.dashboard.taxa IS 'Taxa of these observations: valid names (cd_ref), so that synonyms count once; a cd_nom counts for itself until a run has found its valid name in taxonomie.taxref.';
COMMENT ON COLUMN gn_harvest.dashboard.organisms IS 'Organisms that are connected: by organism_uuid of their sources, else by organism, else by the host of url.';
COMMENT ON COLUMN gn_harvest.dashboard.datasets IS 'Datasets of the target that hold these observations.';
COMMENT ON COLUMN gn_harvest.dashboard.sources IS 'Sources, paused ones too.';
COMMENT ON COLUMN gn_harvest.dashboard.running IS 'Runs in progress.';
COMMENT ON COLUMN gn_harvest.dashboard.rejected IS 'Rejected records that wait.';
COMMENT ON COLUMN gn_harvest.dashboard.open_alerts IS 'Alerts whose cause is still there.';
COMMENT ON COLUMN gn_harvest.dashboard.last_run_source IS 'Source of the run that began last.';
COMMENT ON COLUMN gn_harvest.dashboard.last_run_status IS 'How it ended, or running.';
COMMENT ON COLUMN gn_harvest.dashboard.last_run IS 'When it began.';

CREATE VIEW gn_harvest.rejected_by_reason WITH (security_barrier) AS
SELECT s.name AS source,
       n.reason,
       sum(n.records)::bigint AS records
FROM gn_harvest.rejected_tally n
JOIN gn_harvest.source s ON s.id = n.source_id
WHERE n.source_id IN (SELECT gn_harvest.visible_source(current_user))
GROUP BY s.name, n.reason
HAVING sum(n.records) > 0
ORDER BY s.name, sum(n.records) DESC, n.reason;
COMMENT ON VIEW gn_harvest.rejected_by_reason IS 'Rejected records that wait, by source and reason: counted, so that it answers at once. rejection_summary goes into the values.';
COMMENT ON COLUMN gn_harvest.rejected_by_reason.source IS 'Name of the source.';
COMMENT ON COLUMN gn_harvest.rejected_by_reason.reason IS 'Reason code (listed in the README).';
COMMENT ON COLUMN gn_harvest.rejected_by_reason.records IS 'How many records wait.';
