//! The rows of runs: begun, counted, ended; and slices claimed, so that a broken run goes on where it stopped.
//!
//! A run is 'running' from `begin` until `end` writes how it ended. A run whose worker died stays 'running' in its row;
//! views show it as interrupted at once, and the next run of the source closes it.

use std::sync::atomic::Ordering;

use pgrx::prelude::*;

use crate::deletion::LOSS_GUARD;
use crate::error::Failure;
use crate::geonature::Traffic;
use crate::worker::Task;
use crate::{postgres, slices, synthese};

/// What a run counts; the names are those of the columns of gn_harvest.run.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Counts {
    pub pages: i64,
    pub fetched: i64,
    pub inserted: i64,
    pub updated: i64,
    pub unchanged: i64,
    pub deleted: i64,
    pub rejected: i64,
    pub skipped: i64,
    pub repeated: i64,
    pub hidden: i64,
    pub frameworks_created: i64,
    pub frameworks_updated: i64,
    pub datasets_created: i64,
    pub datasets_updated: i64,
    pub actors_created: i64,
}

impl Counts {
    pub fn is_nothing(&self) -> bool {
        *self == Counts::default()
    }
}

/// What a caller has to know before it starts a worker.
pub struct Readiness {
    pub name: String,
    pub enabled: bool,
    pub paused_reason: Option<String>,
    pub working: bool,
    /// Transactions that wrote the rows that a worker reads first.
    pub xmins: Vec<u32>,
}

pub fn readiness(source_id: i32) -> Result<Readiness, Failure> {
    Spi::connect_mut(|client| {
        let row = client
            .update(
                "SELECT s.name, s.enabled, st.paused_reason, gn_harvest.is_working(s.id),
                        ARRAY[s.xmin::text::bigint, st.xmin::text::bigint, coalesce(c.xmin::text::bigint, 0)]
                 FROM gn_harvest.source s
                 JOIN gn_harvest.source_state st ON st.source_id = s.id
                 LEFT JOIN gn_harvest.credential c ON c.source_id = s.id
                 WHERE s.id = $1",
                None,
                &[source_id.into()],
            )?
            .first();
        Ok(Readiness {
            name: row.get::<String>(1)?.unwrap_or_default(),
            enabled: row.get::<bool>(2)?.unwrap_or(false),
            paused_reason: row.get::<String>(3)?,
            working: row.get::<bool>(4)?.unwrap_or(false),
            xmins: row
                .get::<Vec<i64>>(5)?
                .unwrap_or_default()
                .into_iter()
                .map(|xid| xid as u32)
                .collect(),
        })
    })
}

/// Fails when the SQL of the extension here is not of the version of this library.
pub fn require_same_version() -> Result<(), Failure> {
    let library = env!("CARGO_PKG_VERSION");
    let installed = Spi::get_one::<String>(
        "SELECT max(extversion) FROM pg_extension WHERE extname = 'gn_harvest'",
    )?
    .unwrap_or_default();
    if installed == library {
        return Ok(());
    }
    Err(Failure::new(
        "55000",
        format!(
            "gn_harvest is version {installed} in this database, its library is version {library}"
        ),
    )
    .detail("A new version of the package has been installed, or an old one is still loaded.")
    .hint("ALTER EXTENSION gn_harvest UPDATE; if they still differ, restart PostgreSQL."))
}

pub fn already_running(source: &str) -> Failure {
    let quoted = source.replace('\'', "''");
    Failure::new("55P03", format!("source \"{source}\" is being harvested already"))
        .detail("One run of a source goes on at a time.")
        .hint(format!("SELECT * FROM gn_harvest.run_progress WHERE source = '{quoted}'; wait_for(run) waits for it, cancel(run) stops it."))
}

pub fn exists(run_id: i64) -> Result<bool, Failure> {
    Ok(Spi::get_one_with_args::<bool>(
        "SELECT EXISTS (SELECT FROM gn_harvest.run WHERE id = $1)",
        &[run_id.into()],
    )?
    .unwrap_or(false))
}

/// Takes the source for this worker, closes runs of it that died, settles the ticks that it was started for, and writes
/// the run's row. False when another worker has the source, or has done what this one was started for.
pub fn begin(task: &Task, source: &str) -> Result<bool, Failure> {
    if task.is_check() || task.planned().is_some() {
        forget_old_answers(task.source_id)?;
    }
    if !task.is_check() {
        let table = Spi::get_one::<pg_sys::Oid>("SELECT 'gn_harvest.source'::regclass::oid")?
            .unwrap_or(pg_sys::Oid::INVALID);
        if !postgres::lock_source(table, task.source_id) {
            return Ok(false);
        }
        close_orphans(Some(task.source_id))?;
    }
    if !settle(task)? {
        return Ok(false);
    }
    Spi::run_with_args(
        "INSERT INTO gn_harvest.run (id, source_id, source, mode, started_by, allow_loss, pid) VALUES ($1, $2, $3, $4, $5, $6, pg_backend_pid())",
        &[
            task.run_id.into(),
            task.source_id.into(),
            source.into(),
            task.kind().into(),
            task.started_by.as_str().into(),
            task.allow_loss.into(),
        ],
    )?;
    Ok(true)
}

/// Settles the ticks for which the scheduler started this run. False when they are settled already, or the source has
/// been paused or altered since.
fn settle(task: &Task) -> Result<bool, Failure> {
    let Some(settled) = task.settled else {
        return Ok(true);
    };
    let moment = |micros| TimestampWithTimeZone::try_from(micros).ok();
    Spi::connect_mut(|client| {
        let rows = client.update(
            "UPDATE gn_harvest.source_state st
             SET ticks_settled_at = gn_harvest.clock(),
                 reconciles_settled_at = CASE WHEN $4 THEN gn_harvest.clock() ELSE reconciles_settled_at END
             FROM gn_harvest.source s
             WHERE st.source_id = $1 AND s.id = st.source_id AND s.enabled
               AND st.ticks_settled_at = $2 AND st.reconciles_settled_at = $3
             RETURNING st.source_id",
            None,
            &[
                task.source_id.into(),
                moment(settled.ticks).into(),
                moment(settled.reconciles).into(),
                (task.mode == "reconcile").into(),
            ],
        )?;
        Ok(!rows.is_empty())
    })
}

/// Closes the runs of this database whose worker is gone, for the scheduler.
pub fn close_abandoned() -> Result<(), Failure> {
    let any = Spi::connect(|client| -> Result<bool, Failure> {
        let rows = client.select(
            "SELECT FROM gn_harvest.run r
             WHERE r.status = 'running' AND r.mode <> 'check'
               AND (r.source_id IN (SELECT gn_harvest.working_source())) IS NOT TRUE",
            Some(1),
            &[],
        )?;
        Ok(!rows.is_empty())
    })?;
    if any { close_orphans(None) } else { Ok(()) }
}

/// Runs whose worker died: those of a source, of which this worker has the lock so that none of them lives, or all of
/// those that nobody works on.
fn close_orphans(source_id: Option<i32>) -> Result<(), Failure> {
    Spi::run_with_args(
        "UPDATE gn_harvest.run
         SET status = 'interrupted', finished_at = now(), error_sqlstate = '57P02',
             error_message = 'the worker of this run is gone',
             error_detail = 'It was ended from outside, or the server went down.',
             error_hint = CASE WHEN mode IN ('full', 'reconcile') THEN 'The next run goes on where it stopped.' ELSE 'The next run reads the same changes again.' END
         WHERE status = 'running' AND mode <> 'check'
           AND CASE WHEN $1 IS NULL THEN (source_id IN (SELECT gn_harvest.working_source())) IS NOT TRUE
                    ELSE source_id = $1 END",
        &[source_id.into()],
    )?;
    Spi::run_with_args(
        "DELETE FROM gn_harvest.seen s USING gn_harvest.run r WHERE r.id = s.run_id AND r.source_id = $1",
        &[source_id.into()],
    )?;
    Ok(())
}

/// Answers that nobody will read any more.
fn forget_old_answers(source_id: i32) -> Result<(), Failure> {
    Spi::run_with_args(
        "DELETE FROM gn_harvest.run WHERE source_id = $1 AND mode IN ('check', 'plan') AND status <> 'running' AND created_at < now() - interval '1 hour'",
        &[source_id.into()],
    )?;
    Ok(())
}

/// Says what the run is doing now; also in pg_stat_activity.
pub fn phase(run_id: i64, source: &str, phase: &str, total: Option<i64>) -> Result<(), Failure> {
    postgres::report_activity(&format!(
        "gn_harvest: run {run_id} of source {source}: {phase}"
    ));
    postgres::transaction(|| {
        Spi::run_with_args(
            "UPDATE gn_harvest.run SET phase = $2, total = coalesce($3, total) WHERE id = $1",
            &[run_id.into(), phase.into(), total.into()],
        )?;
        Ok(())
    })
}

/// Adds what a batch did, in the transaction of the batch.
pub fn add(run_id: i64, counts: &Counts, traffic: Option<&Traffic>) -> Result<(), Failure> {
    let counters = counts;
    Spi::run_with_args(
        "UPDATE gn_harvest.run
         SET pages = pages + $2, fetched = fetched + $3, inserted = inserted + $4, updated = updated + $5,
             unchanged = unchanged + $6, rejected = rejected + $7, skipped = skipped + $8, repeated = repeated + $9,
             hidden = hidden + $10, frameworks_created = frameworks_created + $11, datasets_created = datasets_created + $12,
             actors_created = actors_created + $13, deleted = deleted + $14, frameworks_updated = frameworks_updated + $15,
             datasets_updated = datasets_updated + $16, done = done + $3 + $14
         WHERE id = $1",
        &[
            run_id.into(),
            counters.pages.into(),
            counters.fetched.into(),
            counters.inserted.into(),
            counters.updated.into(),
            counters.unchanged.into(),
            counters.rejected.into(),
            counters.skipped.into(),
            counters.repeated.into(),
            counters.hidden.into(),
            counters.frameworks_created.into(),
            counters.datasets_created.into(),
            counters.actors_created.into(),
            counters.deleted.into(),
            counters.frameworks_updated.into(),
            counters.datasets_updated.into(),
        ],
    )?;
    traffic.map_or(Ok(()), |traffic| set_traffic(run_id, traffic))
}

/// Writes what the threads have counted so far.
pub fn set_traffic(run_id: i64, traffic: &Traffic) -> Result<(), Failure> {
    let status = match traffic.last_status.load(Ordering::Relaxed) {
        0 => None,
        status => Some(status as i32),
    };
    Spi::run_with_args(
        "UPDATE gn_harvest.run SET requests = $2, retries = $3, bytes = $4, http_status = $5 WHERE id = $1",
        &[
            run_id.into(),
            (traffic.requests.load(Ordering::Relaxed) as i64).into(),
            (traffic.retries.load(Ordering::Relaxed) as i64).into(),
            (traffic.bytes.load(Ordering::Relaxed) as i64).into(),
            status.into(),
        ],
    )?;
    Ok(())
}

pub fn warn(run_id: i64, text: &str) -> Result<(), Failure> {
    Spi::run_with_args(
        "UPDATE gn_harvest.run SET warnings = warnings || $2 WHERE id = $1 AND NOT $2 = ANY (warnings)",
        &[run_id.into(), text.into()],
    )?;
    Ok(())
}

/// What a run has warned of so far.
pub fn warnings(run_id: i64) -> Result<Vec<String>, Failure> {
    let warnings = Spi::get_one_with_args::<Vec<String>>(
        "SELECT warnings FROM gn_harvest.run WHERE id = $1",
        &[run_id.into()],
    )?;
    Ok(warnings.unwrap_or_default())
}

/// How many records a run has read, and how many of them were as they are here.
pub fn fetched(run_id: i64) -> Result<(i64, i64), Failure> {
    Spi::connect(|client| {
        let row = client
            .select(
                "SELECT fetched, unchanged FROM gn_harvest.run WHERE id = $1",
                Some(1),
                &[run_id.into()],
            )?
            .first();
        Ok((
            row.get::<i64>(1)?.unwrap_or(0),
            row.get::<i64>(2)?.unwrap_or(0),
        ))
    })
}

/// Writes how a run ended, and what that means for its source.
pub fn end(
    task: &Task,
    outcome: &Result<(), Failure>,
    traffic: Option<&Traffic>,
) -> Result<(), Failure> {
    let status = match outcome {
        Ok(()) => "succeeded",
        Err(failure) if failure.is_cancel() => "cancelled",
        Err(failure) if failure.sqlstate == OUT_OF_HOURS => "interrupted",
        Err(failure) if failure.sqlstate == LOSS_GUARD => "blocked",
        Err(_) => "failed",
    };
    if let Some(traffic) = traffic {
        set_traffic(task.run_id, traffic)?;
    }
    let failure = outcome.as_ref().err();
    Spi::run_with_args(
        "UPDATE gn_harvest.run
         SET status = $2, finished_at = clock_timestamp(), phase = 'ended',
             error_sqlstate = $3, error_message = $4, error_detail = $5, error_hint = $6
         WHERE id = $1",
        &[
            task.run_id.into(),
            status.into(),
            failure.map(|f| f.sqlstate.clone()).into(),
            failure
                .map(|f| {
                    if f.is_cancel() {
                        "the run was cancelled".to_owned()
                    } else {
                        f.message.clone()
                    }
                })
                .into(),
            failure.and_then(|f| f.detail.clone()).into(),
            failure.and_then(|f| f.hint.clone()).into(),
        ],
    )?;
    if !matches!(task.kind(), "check" | "plan") {
        synthese::fold(task.source_id)?;
    }
    if matches!(task.kind(), "check" | "plan" | "retry" | "drop") {
        return Ok(());
    }
    match status {
        "succeeded" => Spi::run_with_args(
            "UPDATE gn_harvest.source_state SET consecutive_failures = 0, last_success_at = clock_timestamp() WHERE source_id = $1",
            &[task.source_id.into()],
        )?,
        "failed" => count_failure(task.source_id)?,
        // What was found missing then says nothing of tomorrow.
        "blocked" => slices::forget(task.source_id)?,
        _ => {}
    }
    Ok(())
}

/// SQLSTATE of a run that stopped because its allowed hours were over.
pub const OUT_OF_HOURS: &str = "57P05";

/// After too many failures in a row a source is paused.
fn count_failure(source_id: i32) -> Result<(), Failure> {
    Spi::run_with_args(
        "WITH failing AS (
             UPDATE gn_harvest.source_state SET consecutive_failures = consecutive_failures + 1
             WHERE source_id = $1 RETURNING source_id, consecutive_failures)
         UPDATE gn_harvest.source s SET enabled = false FROM failing f
         WHERE s.id = f.source_id AND s.enabled AND f.consecutive_failures >= s.pause_after_failures",
        &[source_id.into()],
    )?;
    Spi::run_with_args(
        "UPDATE gn_harvest.source_state st SET paused_reason = format('%s runs failed in a row', st.consecutive_failures)
         FROM gn_harvest.source s
         WHERE st.source_id = $1 AND s.id = st.source_id AND NOT s.enabled AND st.paused_reason IS NULL",
        &[source_id.into()],
    )?;
    Ok(())
}

/// Writes what another run has to share to go on with this one; none: nobody can.
pub fn set_settings(run_id: i64, settings: Option<&str>) -> Result<(), Failure> {
    Spi::run_with_args(
        "UPDATE gn_harvest.run SET settings = $2 WHERE id = $1",
        &[run_id.into(), settings.into()],
    )?;
    Ok(())
}

/// Writes where increments go on from, when it was not known at the beginning.
pub fn set_watermark(run_id: i64, watermark: Option<&str>) -> Result<(), Failure> {
    Spi::run_with_args(
        "UPDATE gn_harvest.run SET watermark = $2 WHERE id = $1",
        &[run_id.into(), watermark.into()],
    )?;
    Ok(())
}

/// Says which file is read in place of the export.
pub fn set_read_from(run_id: i64, file: &str) -> Result<(), Failure> {
    Spi::run_with_args(
        "UPDATE gn_harvest.run SET read_from = $2 WHERE id = $1",
        &[run_id.into(), file.into()],
    )?;
    Ok(())
}

/// Fails when a process does not hold the lock of the worker of a source.
pub fn require_worker(source_id: i32, pid: i32) -> Result<(), Failure> {
    let works = Spi::get_one_with_args::<bool>(
        "SELECT EXISTS (SELECT FROM pg_locks l
                        WHERE l.pid = $2 AND l.locktype = 'object' AND l.granted AND l.objid = $1::bigint::oid AND l.objsubid = 1
                          AND l.classid = 'gn_harvest.source'::regclass)",
        &[source_id.into(), pid.into()],
    )?;
    match works {
        Some(true) => Ok(()),
        _ => Err(Failure::new("57P02", "the worker of the run is gone")),
    }
}

/// Notes which processes write for a run.
pub fn set_writers(run_id: i64, pids: &[i32]) -> Result<(), Failure> {
    Spi::run_with_args(
        "UPDATE gn_harvest.run SET writers = $2 WHERE id = $1",
        &[run_id.into(), pids.to_vec().into()],
    )?;
    Ok(())
}

/// Records that a run expects, as far as it knows.
pub fn expected(run_id: i64) -> Result<Option<i64>, Failure> {
    Ok(Spi::get_one_with_args::<i64>(
        "SELECT max(total) FROM gn_harvest.run WHERE id = $1",
        &[run_id.into()],
    )?)
}

/// Someone changed what the source reads: its slices are gone, and what is left of the run would pass for the whole.
pub fn changed_under_way() -> Failure {
    Failure::new(
        "55000",
        "the source was changed while it was being harvested",
    )
    .detail(
        "Its address, export, filters, key or date of change is no longer what the run began with.",
    )
    .hint("Run it again.")
}
