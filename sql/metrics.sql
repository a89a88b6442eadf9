-- Measures for monitoring: a row for each source and measure, and for each measure of the whole.

CREATE VIEW gn_harvest.metrics WITH (security_barrier) AS
WITH visible AS MATERIALIZED (
    SELECT v.id FROM gn_harvest.visible_source(current_user) v(id)),
taxa AS MATERIALIZED (
    SELECT valid.source_id, count(*) AS taxa
    FROM (SELECT held.source_id
          FROM (SELECT n.source_id, n.cd_nom FROM gn_harvest.taxon_tally n WHERE n.source_id IN (SELECT v.id FROM visible v)
                GROUP BY n.source_id, n.cd_nom HAVING sum(n.observations) > 0) held
          LEFT JOIN gn_harvest.taxon t ON t.cd_nom = held.cd_nom
          GROUP BY held.source_id, coalesce(t.cd_ref, held.cd_nom)) valid
    GROUP BY valid.source_id),
datasets AS MATERIALIZED (
    SELECT held.source_id, count(*) AS datasets
    FROM (SELECT n.source_id FROM gn_harvest.dataset_tally n WHERE n.source_id IN (SELECT v.id FROM visible v)
          GROUP BY n.source_id, n.id_dataset HAVING sum(n.observations) > 0) held
    GROUP BY held.source_id),
progress AS MATERIALIZED (
    SELECT p.source FROM gn_harvest.run_progress p)
SELECT s.source, m.metric, m.value::double precision AS value, m.unit, m.help
FROM gn_harvest.source_status s
JOIN gn_harvest.source o ON o.name = s.source
LEFT JOIN taxa h ON h.source_id = o.id
LEFT JOIN datasets d ON d.source_id = o.id
LEFT JOIN gn_harvest.all_run r ON r.run = s.last_run,
LATERAL (VALUES
    ('gn_harvest_observations', s.observations::numeric, 'observations', 'Observations that it holds in the target.'),
    ('gn_harvest_taxa', coalesce(h.taxa, 0), 'taxa', 'Taxa of these observations.'),
    ('gn_harvest_datasets', coalesce(d.datasets, 0), 'datasets', 'Datasets of the target that hold them.'),
    ('gn_harvest_rejected_records', s.rejected, 'records', 'Rejected records that wait.'),
    ('gn_harvest_open_alerts', s.alerts, 'alerts', 'Its open alerts.'),
    ('gn_harvest_enabled', s.enabled::integer, 'boolean', '1 unless it is paused.'),
    ('gn_harvest_running', (s.source IN (SELECT p.source FROM progress p))::integer, 'boolean', '1 while it is harvested.'),
    ('gn_harvest_consecutive_failures', s.consecutive_failures, 'runs', 'Runs that have failed in a row.'),
    ('gn_harvest_last_success_timestamp_seconds', extract(epoch FROM s.last_import), 'seconds', 'End of its last run that succeeded, since 1970.'),
    ('gn_harvest_next_run_timestamp_seconds', extract(epoch FROM s.next_run), 'seconds', 'When it runs next by itself, since 1970; not there when nothing will run it.'),
    ('gn_harvest_last_run_timestamp_seconds', extract(epoch FROM r.started_at), 'seconds', 'Beginning of its last run, since 1970.'),
    ('gn_harvest_last_run_duration_seconds', extract(epoch FROM r.duration), 'seconds', 'How long its last run took, or has taken so far.'),
    ('gn_harvest_last_run_succeeded', CASE WHEN r.status <> 'running' THEN (r.status = 'succeeded')::integer END, 'boolean', '1 if its last run succeeded; not there while it works.'),
    ('gn_harvest_last_run_fetched_records', r.fetched, 'records', 'Records that its last run read.'),
    ('gn_harvest_last_run_inserted_observations', r.inserted, 'observations', 'Observations that its last run inserted.'),
    ('gn_harvest_last_run_updated_observations', r.updated, 'observations', 'Observations that its last run updated.'),
    ('gn_harvest_last_run_deleted_observations', r.deleted, 'observations', 'Observations that its last run deleted.'),
    ('gn_harvest_last_run_rejected_records', r.rejected, 'records', 'Records that its last run rejected.'),
    ('gn_harvest_last_run_requests', r.requests, 'requests', 'HTTP requests of its last run.'),
    ('gn_harvest_last_run_retries', r.retries, 'requests', 'Of which repeated after an error.'),
    ('gn_harvest_last_run_received_bytes', r.bytes, 'bytes', 'Bytes that its last run received.')
) m(metric, value, unit, help)
WHERE m.value IS NOT NULL
UNION ALL
SELECT NULL, m.metric, m.value::double precision, m.unit, m.help
FROM gn_harvest.dashboard d,
LATERAL (VALUES
    ('gn_harvest_platform_observations', d.observations, 'observations', 'Observations that came from all sources.'),
    ('gn_harvest_platform_taxa', d.taxa, 'taxa', 'Taxa of these observations.'),
    ('gn_harvest_platform_organisms', d.organisms, 'organisms', 'Organisms that are connected.'),
    ('gn_harvest_platform_datasets', d.datasets, 'datasets', 'Datasets that hold these observations.'),
    ('gn_harvest_platform_sources', d.sources, 'sources', 'Sources.'),
    ('gn_harvest_platform_running', d.running, 'runs', 'Runs in progress.'),
    ('gn_harvest_platform_rejected_records', d.rejected, 'records', 'Rejected records that wait.'),
    ('gn_harvest_platform_open_alerts', d.open_alerts, 'alerts', 'Open alerts, those of no source too.')
) m(metric, value, unit, help);
COMMENT ON VIEW gn_harvest.metrics IS 'Measures for monitoring, of the sources that one may see: a row for each source and measure, and those of the whole without source. All are gauges. examples/ has a configuration of prometheus-sql-exporter that reads it.';
COMMENT ON COLUMN gn_harvest.metrics.source IS 'Name of the source; null for measures of the whole.';
COMMENT ON COLUMN gn_harvest.metrics.metric IS 'Name of the measure, in the manner of Prometheus.';
COMMENT ON COLUMN gn_harvest.metrics.value IS 'Its value now.';
COMMENT ON COLUMN gn_harvest.metrics.unit IS 'What it counts; boolean: 0 or 1.';
COMMENT ON COLUMN gn_harvest.metrics.help IS 'What it says.';
