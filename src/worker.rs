//! The background worker of one task: how it is started, waited for, and where it begins.

use std::time::{Duration, Instant};

use pgrx::bgworkers::{
    BackgroundWorker, BackgroundWorkerBuilder, BackgroundWorkerStatus, DynamicBackgroundWorker,
};
use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::error::Failure;
use crate::{harvest, postgres, settings};

/// backend_type in pg_stat_activity; `cancel` recognises workers by it.
pub const WORKER_TYPE: &str = "gn_harvest run";
/// PostgreSQL hands a worker 128 bytes.
pub const MAX_EXTRA: usize = 127;
pub const SEPARATOR: char = '\u{1f}';
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// What a worker is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    pub run_id: i64,
    pub source_id: i32,
    /// 'auto', 'full', 'incremental', 'reconcile', 'retry', 'drop' or 'check'; 'plan' and one of the first four.
    pub mode: String,
    pub started_by: String,
    /// Lets the run delete more than the source's max_loss.
    pub allow_loss: bool,
    /// What was settled of its schedules when the scheduler found it due: if it is not so any more, there is nothing to do.
    pub settled: Option<Settled>,
}

/// Up to when the ticks of a source's schedules are settled, in microseconds as PostgreSQL counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    pub ticks: i64,
    pub reconciles: i64,
}

impl Task {
    fn encode(&self) -> String {
        let Task {
            run_id,
            source_id,
            mode,
            started_by,
            allow_loss,
            settled,
        } = self;
        let settled = settled
            .map(|settled| format!("{} {}", settled.ticks, settled.reconciles))
            .unwrap_or_default();
        format!(
            "{}{SEPARATOR}{run_id}{SEPARATOR}{source_id}{SEPARATOR}{mode}{SEPARATOR}{allow_loss}{SEPARATOR}{settled}{SEPARATOR}{started_by}",
            postgres::database().to_u32()
        )
    }

    fn decode(text: &str) -> Option<(pg_sys::Oid, Task)> {
        let mut parts = text.splitn(7, SEPARATOR);
        let database = parts.next()?.parse::<u32>().ok()?;
        let task = Task {
            run_id: parts.next()?.parse().ok()?,
            source_id: parts.next()?.parse().ok()?,
            mode: parts.next()?.to_owned(),
            allow_loss: parts.next()? == "true",
            settled: parts
                .next()?
                .split_once(' ')
                .and_then(|(ticks, reconciles)| {
                    Some(Settled {
                        ticks: ticks.parse().ok()?,
                        reconciles: reconciles.parse().ok()?,
                    })
                }),
            started_by: parts.next()?.to_owned(),
        };
        Some((database.into(), task))
    }

    pub fn is_check(&self) -> bool {
        self.mode == "check"
    }

    /// The mode of the run that is planned, if this only plans one.
    pub fn planned(&self) -> Option<&str> {
        self.mode.strip_prefix("plan ")
    }

    /// What it does, in the history.
    pub fn kind(&self) -> &str {
        self.planned().map_or(self.mode.as_str(), |_| "plan")
    }
}

/// A worker that is cancelled when its caller gives up waiting (Ctrl-C, statement_timeout).
struct Running(Option<DynamicBackgroundWorker>);

impl Drop for Running {
    fn drop(&mut self) {
        let Some(worker) = self.0.take() else { return };
        match worker.pid() {
            Ok(pid) => postgres::interrupt(pid),
            Err(BackgroundWorkerStatus::Stopped) => {}
            // It is not started yet, and is not to be.
            Err(_) => drop(worker.terminate()),
        }
    }
}

/// Starts a worker for `task`. With `wait`, returns when it has ended, else when its run is visible.
pub fn run(task: &Task, wait: bool) -> Result<(), Failure> {
    let mut running = Running(Some(start(task)?));
    let mut told = Instant::now();
    while let Some(worker) = &running.0 {
        match worker.pid() {
            Err(BackgroundWorkerStatus::Stopped) => running.0 = None,
            Ok(_) if !wait && is_begun(task.run_id)? => running.0 = None,
            Ok(_) | Err(BackgroundWorkerStatus::NotYetStarted) => {
                if told.elapsed() > PROGRESS_EVERY {
                    tell_progress(task.run_id)?;
                    told = Instant::now();
                }
                postgres::wait_latch(if wait {
                    Duration::from_secs(1)
                } else {
                    Duration::from_millis(20)
                });
            }
            Err(_) => return Err(Failure::new("57P02", "the server is going down")),
        }
    }
    Ok(())
}

/// Starts a worker that is told `extra`.
pub fn launch(kind: &str, function: &str, extra: &str) -> Result<DynamicBackgroundWorker, Failure> {
    BackgroundWorkerBuilder::new("gn_harvest")
        .set_type(kind)
        .set_library("gn_harvest")
        .set_function(function)
        .set_extra(extra)
        .set_notify_pid(postgres::own_pid())
        .enable_spi_access()
        .load_dynamic()
        .map_err(|_| no_slot())
}

/// Waits until a worker has ended; gives it up when the caller gives up waiting.
pub fn follow(worker: DynamicBackgroundWorker) -> Result<(), Failure> {
    let mut running = Running(Some(worker));
    while let Some(worker) = &running.0 {
        match worker.pid() {
            Err(BackgroundWorkerStatus::Stopped) => running.0 = None,
            Ok(_) | Err(BackgroundWorkerStatus::NotYetStarted) => {
                postgres::wait_latch(Duration::from_secs(1));
            }
            Err(_) => return Err(Failure::new("57P02", "the server is going down")),
        }
    }
    Ok(())
}

/// Why a worker can't be started.
pub fn no_slot() -> Failure {
    Failure::new("53000", "no background worker slot is free")
        .detail("Every slot of max_worker_processes is taken.")
        .hint("Wait until a run has ended, or raise max_worker_processes and restart PostgreSQL.")
}

/// Starts a worker for `task`, and leaves it to itself.
pub fn start(task: &Task) -> Result<DynamicBackgroundWorker, Failure> {
    let extra = task.encode();
    if extra.len() > MAX_EXTRA {
        return Err(Failure::new(
            "54000",
            "the name of the role is too long for a worker",
        ));
    }
    launch(WORKER_TYPE, "gn_harvest_worker", &extra)
}

fn is_begun(run_id: i64) -> Result<bool, Failure> {
    Ok(Spi::get_one_with_args::<bool>(
        "SELECT EXISTS (SELECT FROM gn_harvest.run WHERE id = $1)",
        &[run_id.into()],
    )?
    .unwrap_or(false))
}

fn tell_progress(run_id: i64) -> Result<(), Failure> {
    let line = Spi::get_one_with_args::<String>(
        "SELECT format('run %s of source \"%s\": %s, %s%s records', id, source, phase, done, ' of ' || total)
         FROM gn_harvest.run WHERE id = $1 AND status = 'running'",
        &[run_id.into()],
    );
    if let Ok(Some(line)) = line {
        notice!("{line}");
    }
    Ok(())
}

/// Where a worker begins.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn gn_harvest_worker(_argument: pg_sys::Datum) {
    postgres::attach_signals();
    postgres::keep_little_memory();
    let Some((database, task)) = Task::decode(BackgroundWorker::get_extra()) else {
        log!("gn_harvest: a worker was started without a task");
        return;
    };
    BackgroundWorker::connect_worker_to_spi_by_oid(Some(database), None);
    let begun =
        postgres::transaction(|| prepare_session(&settings::LOCK_TIMEOUT.get().to_string()));
    match begun {
        Ok(search_path) => harvest::work(&task, &search_path),
        Err(failure) => log!(
            "gn_harvest: run {} could not begin: {}",
            task.run_id,
            failure
        ),
    }
}

/// Sets the session up for the worker's own statements; returns the search path that the target's code expects.
pub fn prepare_session(lock_timeout: &str) -> Result<String, Failure> {
    // By SELECTs: a transaction that only looks is to cost none.
    Spi::connect(|client| {
        let row = client
            .select("SELECT current_setting('search_path')", Some(1), &[])?
            .first();
        let search_path = row.get::<String>(1)?.unwrap_or_default();
        for (name, value) in [
            ("search_path", "pg_catalog, pg_temp"),
            ("lock_timeout", lock_timeout),
            ("statement_timeout", "0"),
            ("idle_in_transaction_session_timeout", "0"),
            ("default_transaction_isolation", "read committed"),
            ("default_transaction_read_only", "off"),
            ("jit", "off"),
            ("DateStyle", "ISO, YMD"),
            ("IntervalStyle", "postgres"),
        ] {
            client.select(
                "SELECT set_config($1, $2, false)",
                Some(1),
                &[name.into(), value.into()],
            )?;
        }
        Ok(search_path)
    })
}
