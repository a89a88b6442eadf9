-- What people look at: any SQL client shows these views as they are. Those that show each role its own sources are
-- barriers: a function in a reader's WHERE never sees the rows of others.

CREATE VIEW gn_harvest.all_run AS
SELECT r.id AS run,
       r.source,
       r.mode,
       CASE WHEN r.status = 'running' AND r.mode <> 'check' AND NOT r.source_id IN (SELECT gn_harvest.working_source())
            THEN 'interrupted' ELSE r.status END AS status,
       r.started_by,
       r.created_at AS started_at,
       r.finished_at,
       greatest(coalesce(r.finished_at, statement_timestamp()) - r.created_at, interval '0') AS duration,
       r.fetched,
       r.inserted,
       r.updated,
       r.unchanged,
       r.deleted,
       r.rejected,
       r.skipped,
       r.repeated,
       r.hidden,
       r.frameworks_created,
       r.frameworks_updated,
       r.datasets_created,
       r.datasets_updated,
       r.actors_created,
       r.source_total,
       r.pages,
       r.bytes,
       r.requests,
       r.retries,
       r.watermark_from,
       r.watermark,
       r.resumes,
       r.warnings,
       r.error_sqlstate,
       r.error_message,
       r.error_detail,
       r.error_hint,
       r.source_id,
       r.read_from
FROM gn_harvest.run r;
COMMENT ON VIEW gn_harvest.all_run IS 'Every run, checks too, whoever asks. A run whose worker is gone shows as interrupted at once. For the extension''s own functions.';

CREATE VIEW gn_harvest.run_history WITH (security_barrier) AS
SELECT h.*
FROM gn_harvest.all_run h
WHERE h.mode NOT IN ('check', 'plan')
  AND (h.source_id IN (SELECT gn_harvest.visible_source(current_user))
       OR h.source_id IS NULL AND gn_harvest.sees_everything(current_user));
COMMENT ON VIEW gn_harvest.run_history IS 'Every run of the sources that one may see: who started it, how it ended, what it read and wrote.';
COMMENT ON COLUMN gn_harvest.run_history.run IS 'Number of the run.';
COMMENT ON COLUMN gn_harvest.run_history.source IS 'Name of the source, as it was at the time.';
COMMENT ON COLUMN gn_harvest.run_history.mode IS 'What it did: full, incremental, reconcile, retry or drop.';
COMMENT ON COLUMN gn_harvest.run_history.status IS 'running, succeeded, failed, cancelled, interrupted (its worker is gone: crash, shutdown), or blocked (it would have deleted too much).';
COMMENT ON COLUMN gn_harvest.run_history.started_by IS 'Role that started it.';
COMMENT ON COLUMN gn_harvest.run_history.started_at IS 'When it began.';
COMMENT ON COLUMN gn_harvest.run_history.finished_at IS 'When it ended; null while it works.';
COMMENT ON COLUMN gn_harvest.run_history.duration IS 'How long it took, or has taken so far.';
COMMENT ON COLUMN gn_harvest.run_history.fetched IS 'Records read from the source (or taken from the rejected ones).';
COMMENT ON COLUMN gn_harvest.run_history.inserted IS 'Observations that were new here.';
COMMENT ON COLUMN gn_harvest.run_history.updated IS 'Observations of which something has changed.';
COMMENT ON COLUMN gn_harvest.run_history.unchanged IS 'Observations that were here already as they came: nothing was written.';
COMMENT ON COLUMN gn_harvest.run_history.deleted IS 'Observations removed because the source no longer has them.';
COMMENT ON COLUMN gn_harvest.run_history.rejected IS 'Records that could not be written; they wait in rejected_record.';
COMMENT ON COLUMN gn_harvest.run_history.skipped IS 'Records left out by a decision: left to the source that owns their UUID (on_uuid_conflict), or discarded before and unchanged since.';
COMMENT ON COLUMN gn_harvest.run_history.repeated IS 'Records that the export''s view gave more than once; counted once elsewhere.';
COMMENT ON COLUMN gn_harvest.run_history.hidden IS 'Records that the source counts but does not serve (a GeoJSON export leaves out those without geometry).';
COMMENT ON COLUMN gn_harvest.run_history.frameworks_created IS 'Acquisition frameworks created.';
COMMENT ON COLUMN gn_harvest.run_history.frameworks_updated IS 'Acquisition frameworks of which something has changed, their actors and lists included.';
COMMENT ON COLUMN gn_harvest.run_history.datasets_created IS 'Datasets created.';
COMMENT ON COLUMN gn_harvest.run_history.datasets_updated IS 'Datasets of which something has changed, their actors and lists included.';
COMMENT ON COLUMN gn_harvest.run_history.actors_created IS 'Organisms and persons created.';
COMMENT ON COLUMN gn_harvest.run_history.source_total IS 'How many records the export said that it has.';
COMMENT ON COLUMN gn_harvest.run_history.pages IS 'Pages read and written.';
COMMENT ON COLUMN gn_harvest.run_history.bytes IS 'Bytes received.';
COMMENT ON COLUMN gn_harvest.run_history.requests IS 'HTTP requests made.';
COMMENT ON COLUMN gn_harvest.run_history.retries IS 'Of which repeated after an error.';
COMMENT ON COLUMN gn_harvest.run_history.watermark_from IS 'Date of change, as the source wrote it, from which it asked for changes (look-back taken off); null for a full run.';
COMMENT ON COLUMN gn_harvest.run_history.watermark IS 'Greatest date of change of the source when it began: where the next incremental run takes up.';
COMMENT ON COLUMN gn_harvest.run_history.resumes IS 'The interrupted run that it went on with.';
COMMENT ON COLUMN gn_harvest.run_history.warnings IS 'What someone should know although it went well.';
COMMENT ON COLUMN gn_harvest.run_history.error_sqlstate IS 'SQLSTATE of the error that ended it.';
COMMENT ON COLUMN gn_harvest.run_history.error_message IS 'What happened.';
COMMENT ON COLUMN gn_harvest.run_history.error_detail IS 'What was seen.';
COMMENT ON COLUMN gn_harvest.run_history.error_hint IS 'What to do.';
COMMENT ON COLUMN gn_harvest.run_history.source_id IS 'Number of the source; null once it has been dropped.';
COMMENT ON COLUMN gn_harvest.run_history.read_from IS 'The file that it read in place of the export, and when that was written (bootstrap_url); null: the export.';

-- The columns of all_run are the same ones.
DO $$
DECLARE
    shared record;
BEGIN
    FOR shared IN
        SELECT a.attname, pg_catalog.col_description(a.attrelid, a.attnum) AS words
        FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = 'gn_harvest.run_history'::pg_catalog.regclass AND a.attnum > 0
    LOOP
        EXECUTE pg_catalog.format('COMMENT ON COLUMN gn_harvest.all_run.%I IS %L', shared.attname, shared.words);
    END LOOP;
END
$$;

CREATE VIEW gn_harvest.run_progress WITH (security_barrier) AS
SELECT r.id AS run,
       r.source,
       r.mode,
       r.phase,
       r.done,
       r.total,
       CASE WHEN r.total > 0 THEN least(100, round(100.0 * r.done / r.total, 1)) END AS percent,
       round(r.done / greatest(extract(epoch FROM clock_timestamp() - r.created_at), 0.001), 1) AS rate,
       CASE WHEN r.done > 0 AND r.total >= r.done
            THEN date_trunc('second', (clock_timestamp() - r.created_at) * ((r.total - r.done)::double precision / r.done)) END AS remaining,
       CASE WHEN r.done > 0 AND r.total >= r.done
            THEN date_trunc('second', clock_timestamp() + (clock_timestamp() - r.created_at) * ((r.total - r.done)::double precision / r.done)) END AS eta,
       r.requests,
       r.retries,
       r.http_status,
       r.pid,
       ARRAY(SELECT a.pid FROM pg_catalog.pg_stat_activity a WHERE a.pid = ANY (r.writers) ORDER BY a.pid) AS writers,
       r.created_at AS started_at
FROM gn_harvest.run r
WHERE r.status = 'running'
  AND r.mode <> 'check'
  AND r.source_id IN (SELECT gn_harvest.working_source())
  AND r.source_id IN (SELECT gn_harvest.visible_source(current_user));
COMMENT ON VIEW gn_harvest.run_progress IS 'Runs that are working now, visible to every session as they go on.';
COMMENT ON COLUMN gn_harvest.run_progress.run IS 'Number of the run: cancel(run) stops it, wait_for(run) waits for it.';
COMMENT ON COLUMN gn_harvest.run_progress.source IS 'Name of the source.';
COMMENT ON COLUMN gn_harvest.run_progress.mode IS 'full, incremental, reconcile, retry, drop or plan.';
COMMENT ON COLUMN gn_harvest.run_progress.phase IS 'What it is doing.';
COMMENT ON COLUMN gn_harvest.run_progress.done IS 'Records treated so far.';
COMMENT ON COLUMN gn_harvest.run_progress.total IS 'Records that it expects; null while unknown.';
COMMENT ON COLUMN gn_harvest.run_progress.percent IS 'done / total, in percent.';
COMMENT ON COLUMN gn_harvest.run_progress.rate IS 'Records a second since it began.';
COMMENT ON COLUMN gn_harvest.run_progress.remaining IS 'Time left at that rate.';
COMMENT ON COLUMN gn_harvest.run_progress.eta IS 'When it will have read all, at that rate.';
COMMENT ON COLUMN gn_harvest.run_progress.requests IS 'HTTP requests so far.';
COMMENT ON COLUMN gn_harvest.run_progress.retries IS 'Of which repeated after an error.';
COMMENT ON COLUMN gn_harvest.run_progress.http_status IS 'HTTP status of the last answer.';
COMMENT ON COLUMN gn_harvest.run_progress.pid IS 'Process of its worker, as in pg_stat_activity.';
COMMENT ON COLUMN gn_harvest.run_progress.writers IS 'Processes that write for that worker, when several share the run; empty: it writes itself.';
COMMENT ON COLUMN gn_harvest.run_progress.started_at IS 'When it began.';

CREATE VIEW gn_harvest.source_status WITH (security_barrier) AS
SELECT s.name AS source,
       s.organism,
       gn_harvest.frequency(s.schedule, s.reconcile_schedule) AS frequency,
       st.last_success_at AS last_import,
       st.observations,
       worst.message AS alert,
       CASE WHEN s.enabled AND (SELECT gn_harvest.schedule_obstacle()) IS NULL
            THEN gn_harvest.next_run(g.source_id, g.schedule, g.reconcile_schedule, g.jitter, g.allowed_hours,
                                     g.ticks_settled_at, g.reconciles_settled_at, g.broken_off_mode, g.broken_off_at)
       END AS next_run,
       CASE WHEN s.id IN (SELECT gn_harvest.working_source()) THEN gn_harvest.word('running')
            WHEN NOT s.enabled THEN gn_harvest.word('paused')
            WHEN last.status IS NULL THEN gn_harvest.word('never run')
            ELSE gn_harvest.word(last.status) END AS state,
       s.enabled,
       st.paused_reason,
       (SELECT coalesce(sum(n.records), 0)::bigint FROM gn_harvest.rejected_tally n WHERE n.source_id = s.id) AS rejected,
       st.consecutive_failures,
       last.error_message AS last_error,
       last.run AS last_run,
       st.watermark,
       s.url,
       s.export_id,
       s.owner,
       s.organism_uuid,
       worst.severity AS alert_severity,
       coalesce(worst.alerts, 0) AS alerts
FROM gn_harvest.source s
JOIN gn_harvest.source_state st ON st.source_id = s.id
JOIN gn_harvest.standing g ON g.source_id = s.id
LEFT JOIN LATERAL (SELECT h.* FROM gn_harvest.all_run h
                   WHERE h.source_id = s.id AND h.mode NOT IN ('check', 'plan')
                   ORDER BY h.run DESC LIMIT 1) last ON true
LEFT JOIN LATERAL (SELECT a.severity, gn_harvest.alert_text(a.rule, a.facts::text, gn_harvest.in_french()) AS message,
                          count(*) OVER () AS alerts
                   FROM gn_harvest.alert a
                   WHERE a.source_id = s.id AND a.resolved_at IS NULL
                   ORDER BY array_position('{critical,warning,info}'::text[], a.severity), a.opened_at DESC LIMIT 1) worst ON true
WHERE s.id IN (SELECT gn_harvest.visible_source(current_user));
COMMENT ON VIEW gn_harvest.source_status IS 'One row a source: how it is doing. Words in the language of gn_harvest.language.';
COMMENT ON COLUMN gn_harvest.source_status.source IS 'Name of the source.';
COMMENT ON COLUMN gn_harvest.source_status.organism IS 'Organism that the data come from.';
COMMENT ON COLUMN gn_harvest.source_status.frequency IS 'How often it runs, in words.';
COMMENT ON COLUMN gn_harvest.source_status.last_import IS 'End of its last run that succeeded.';
COMMENT ON COLUMN gn_harvest.source_status.next_run IS 'When it runs next by itself: a time past is that of a run that waits for its turn; null when nothing will run it (manual, paused, or as scheduler_status says).';
COMMENT ON COLUMN gn_harvest.source_status.observations IS 'Observations that it holds in the target.';
COMMENT ON COLUMN gn_harvest.source_status.state IS 'running, paused, never run, or how its last run ended, in words.';
COMMENT ON COLUMN gn_harvest.source_status.enabled IS 'False after pause_source, or after too many failures.';
COMMENT ON COLUMN gn_harvest.source_status.paused_reason IS 'Why it is paused.';
COMMENT ON COLUMN gn_harvest.source_status.rejected IS 'Rejected records that wait.';
COMMENT ON COLUMN gn_harvest.source_status.consecutive_failures IS 'Runs that have failed in a row.';
COMMENT ON COLUMN gn_harvest.source_status.last_error IS 'Error of its last run; null when that went well.';
COMMENT ON COLUMN gn_harvest.source_status.last_run IS 'Number of its last run.';
COMMENT ON COLUMN gn_harvest.source_status.watermark IS 'Greatest date of change seen, as the source wrote it.';
COMMENT ON COLUMN gn_harvest.source_status.url IS 'Address of the partner''s GeoNature.';
COMMENT ON COLUMN gn_harvest.source_status.export_id IS 'Number of the export there.';
COMMENT ON COLUMN gn_harvest.source_status.owner IS 'Role as which its runs write.';
COMMENT ON COLUMN gn_harvest.source_status.alert IS 'Message of its gravest open alert; null when all is well.';
COMMENT ON COLUMN gn_harvest.source_status.alert_severity IS 'info, warning or critical.';
COMMENT ON COLUMN gn_harvest.source_status.alerts IS 'How many of its alerts are open; open_alert lists them.';
COMMENT ON COLUMN gn_harvest.source_status.organism_uuid IS 'UUID of the organism in the national register.';

CREATE VIEW gn_harvest.rejected_record WITH (security_barrier) AS
SELECT j.id,
       s.name AS source,
       j.source_key,
       j.uuid,
       j.reason,
       j.column_name,
       j.value,
       j.message,
       j.sqlstate,
       j.attempts,
       j.first_seen,
       j.last_seen,
       j.last_run,
       j.discarded_at,
       j.discarded_by,
       j.discard_note,
       j.payload
FROM gn_harvest.rejected j
JOIN gn_harvest.source s ON s.id = j.source_id
WHERE j.source_id IN (SELECT gn_harvest.visible_source(current_user));
COMMENT ON VIEW gn_harvest.rejected_record IS 'Records that could not be written, whole, with the reason. retry_rejected tries them again, discard_rejected gives them up.';
COMMENT ON COLUMN gn_harvest.rejected_record.id IS 'Number of the rejected record.';
COMMENT ON COLUMN gn_harvest.rejected_record.source IS 'Name of the source.';
COMMENT ON COLUMN gn_harvest.rejected_record.source_key IS 'Its key at the source; null when that is what it lacks.';
COMMENT ON COLUMN gn_harvest.rejected_record.uuid IS 'Its UUID.';
COMMENT ON COLUMN gn_harvest.rejected_record.reason IS 'Reason code (listed in the README).';
COMMENT ON COLUMN gn_harvest.rejected_record.column_name IS 'Column at fault: of the export when its value can not be read, of gn_synthese.synthese when the value does not fit there (map_value takes it).';
COMMENT ON COLUMN gn_harvest.rejected_record.value IS 'Value at fault, cut at 500 characters.';
COMMENT ON COLUMN gn_harvest.rejected_record.message IS 'What is wrong, in words.';
COMMENT ON COLUMN gn_harvest.rejected_record.sqlstate IS 'SQLSTATE, when a trigger or constraint of the target refused it.';
COMMENT ON COLUMN gn_harvest.rejected_record.attempts IS 'How often it has been tried.';
COMMENT ON COLUMN gn_harvest.rejected_record.first_seen IS 'When it was rejected first.';
COMMENT ON COLUMN gn_harvest.rejected_record.last_seen IS 'When it was rejected last.';
COMMENT ON COLUMN gn_harvest.rejected_record.last_run IS 'Run that rejected it last.';
COMMENT ON COLUMN gn_harvest.rejected_record.discarded_at IS 'When it was given up; null while it waits.';
COMMENT ON COLUMN gn_harvest.rejected_record.discarded_by IS 'Who gave it up.';
COMMENT ON COLUMN gn_harvest.rejected_record.discard_note IS 'Why.';
COMMENT ON COLUMN gn_harvest.rejected_record.payload IS 'The item as the source gave it.';

CREATE VIEW gn_harvest.rejection_summary WITH (security_barrier) AS
SELECT s.name AS source,
       j.reason,
       j.column_name,
       j.value,
       count(*) AS records,
       min(j.first_seen) AS first_seen,
       max(j.last_seen) AS last_seen,
       min(j.message) AS example
FROM gn_harvest.rejected j
JOIN gn_harvest.source s ON s.id = j.source_id
WHERE j.discarded_at IS NULL
  AND j.source_id IN (SELECT gn_harvest.visible_source(current_user))
GROUP BY s.name, j.reason, j.column_name, j.value
ORDER BY j.reason = 'unknown_cd_nom' DESC, count(*) DESC, s.name, j.reason, j.value;
COMMENT ON VIEW gn_harvest.rejection_summary IS 'Rejected records that wait, counted by reason and value, missing taxa first.';
COMMENT ON COLUMN gn_harvest.rejection_summary.source IS 'Name of the source.';
COMMENT ON COLUMN gn_harvest.rejection_summary.reason IS 'Reason code.';
COMMENT ON COLUMN gn_harvest.rejection_summary.column_name IS 'Column at fault, as in rejected_record.';
COMMENT ON COLUMN gn_harvest.rejection_summary.value IS 'Value at fault.';
COMMENT ON COLUMN gn_harvest.rejection_summary.records IS 'How many records wait for it.';
COMMENT ON COLUMN gn_harvest.rejection_summary.first_seen IS 'Since when.';
COMMENT ON COLUMN gn_harvest.rejection_summary.last_seen IS 'Until when.';
COMMENT ON COLUMN gn_harvest.rejection_summary.example IS 'One of their messages.';

CREATE VIEW gn_harvest.unmapped_value WITH (security_barrier) AS
SELECT s.name AS source,
       u.column_name,
       u.source_value AS value,
       u.occurrences,
       u.first_seen,
       u.last_seen,
       format('SELECT gn_harvest.map_value(%L, %L, %L, %L);', s.name, u.column_name, u.source_value, '…') AS call
FROM gn_harvest.unmapped u
JOIN gn_harvest.source s ON s.id = u.source_id
LEFT JOIN gn_harvest.run r ON r.id = u.last_run
WHERE u.source_id IN (SELECT gn_harvest.visible_source(current_user))
  -- A decision that was there already when the value was met again did not help: the local value is unknown too.
  AND NOT EXISTS (SELECT FROM gn_harvest.value_mapping m
                  WHERE (m.source_id = u.source_id OR m.source_id IS NULL)
                    AND m.column_name = u.column_name AND m.source_value = u.source_value
                    AND m.set_at >= coalesce(r.created_at, '-infinity'));
COMMENT ON VIEW gn_harvest.unmapped_value IS 'Values that the local referentials do not know and that nobody has mapped, or mapped to a local value that is unknown as well: what waits for a decision of the data manager.';
COMMENT ON COLUMN gn_harvest.unmapped_value.source IS 'Name of the source.';
COMMENT ON COLUMN gn_harvest.unmapped_value.column_name IS 'Column of gn_synthese.synthese that it was for.';
COMMENT ON COLUMN gn_harvest.unmapped_value.value IS 'The value, as the source gave it.';
COMMENT ON COLUMN gn_harvest.unmapped_value.occurrences IS 'In how many records that were read it came.';
COMMENT ON COLUMN gn_harvest.unmapped_value.first_seen IS 'When it came first.';
COMMENT ON COLUMN gn_harvest.unmapped_value.last_seen IS 'When it came last.';
COMMENT ON COLUMN gn_harvest.unmapped_value.call IS 'The call that maps it: fill in the local value.';

CREATE VIEW gn_harvest.uuid_conflict WITH (security_barrier) AS
SELECT s.name AS source,
       j.source_key,
       j.uuid,
       j.reason,
       j.value AS owner,
       j.first_seen,
       j.last_seen
FROM gn_harvest.rejected j
JOIN gn_harvest.source s ON s.id = j.source_id
WHERE j.reason IN ('uuid_owned_by_other_source', 'duplicate_uuid', 'identity_conflict')
  AND j.discarded_at IS NULL
  AND j.source_id IN (SELECT gn_harvest.visible_source(current_user));
COMMENT ON VIEW gn_harvest.uuid_conflict IS 'Records that wait because their UUID is that of another observation here. on_uuid_conflict of the source says what to do with them.';
COMMENT ON COLUMN gn_harvest.uuid_conflict.source IS 'Name of the source.';
COMMENT ON COLUMN gn_harvest.uuid_conflict.source_key IS 'Key of the record at the source.';
COMMENT ON COLUMN gn_harvest.uuid_conflict.uuid IS 'The UUID.';
COMMENT ON COLUMN gn_harvest.uuid_conflict.reason IS 'Reason code.';
COMMENT ON COLUMN gn_harvest.uuid_conflict.owner IS 'Who has it: the name in gn_synthese.t_sources, or the other key of the same source.';
COMMENT ON COLUMN gn_harvest.uuid_conflict.first_seen IS 'When it was met first.';
COMMENT ON COLUMN gn_harvest.uuid_conflict.last_seen IS 'When it was met last.';
