//! What is due -> launch -> reap; nothing else. Done by a visitor, in one database.
//!
//! State of a source's tick: due (later than what is settled) -> a worker is started -> the worker settles it, in the
//! transaction that writes its run. What is not settled is due at the next visit again, whatever happened in between;
//! a worker that comes second finds the ticks settled and goes.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use pgrx::bgworkers::{BackgroundWorkerStatus, DynamicBackgroundWorker};
use pgrx::prelude::*;

use crate::error::Failure;
use crate::schedule::{Due, Hours, Schedule, Standing};
use crate::worker::{self, Settled, Task};
use crate::{clock, postgres, run, settings, visitor};

/// started_by of its runs.
const SCHEDULER: &str = "scheduler";
/// A worker that was started is counted once pg_stat_activity shows it.
const APPEARANCE: Duration = Duration::from_secs(3);

/// A source that is due.
struct Waiting {
    source_id: i32,
    priority: i32,
    settled: Settled,
    due: Due,
}

/// Closes runs whose workers are gone, and starts what is due.
pub fn run_due() -> Result<(), Failure> {
    postgres::transaction(run::close_abandoned)?;
    if postgres::transaction(obstacle)? {
        return Ok(());
    }
    let (now, zone) = (clock::now(), clock::zone());
    let mut waiting = postgres::transaction(|| waiting(now, &zone))?;
    if waiting.is_empty() {
        return Ok(());
    }
    waiting.sort_by_key(|source| (source.priority, source.due.at));
    let mut started = Vec::new();
    let launched = launch(waiting, &mut started);
    wait_until_counted(&started)?;
    launched
}

fn launch(
    waiting: Vec<Waiting>,
    started: &mut Vec<DynamicBackgroundWorker>,
) -> Result<(), Failure> {
    let mut free = settings::MAX_CONCURRENT_RUNS.get() as i64 - postgres::transaction(live_runs)?;
    for source in waiting {
        if free <= 0 {
            break;
        }
        let run_id = postgres::transaction(|| {
            Ok(Spi::get_one::<i64>("SELECT nextval('gn_harvest.run_id_seq')")?.unwrap_or_default())
        })?;
        let task = Task {
            run_id,
            source_id: source.source_id,
            mode: source.due.mode.name().to_owned(),
            started_by: SCHEDULER.to_owned(),
            allow_loss: false,
            settled: Some(source.settled),
        };
        match worker::start(&task) {
            Ok(worker) => {
                postgres::note_slot(postgres::Slot::Run, false);
                started.push(worker);
                free -= 1;
            }
            Err(no_slot) => {
                if postgres::note_slot(postgres::Slot::Run, true) {
                    visitor::tell_no_slot(&no_slot);
                }
                break;
            }
        }
    }
    Ok(())
}

/// Whether schedules of this database do not run.
fn obstacle() -> Result<bool, Failure> {
    Spi::connect(|client| {
        let row = client
            .select(
                "SELECT gn_harvest.schedule_obstacle() IS NOT NULL",
                Some(1),
                &[],
            )?
            .first();
        Ok(row.get::<bool>(1)?.unwrap_or(true))
    })
}

/// Runs that go on in this server, whoever started them.
fn live_runs() -> Result<i64, Failure> {
    Spi::connect(|client| {
        let row = client
            .select(
                "SELECT count(*) FROM pg_stat_get_activity(NULL) WHERE backend_type = $1",
                Some(1),
                &[worker::WORKER_TYPE.into()],
            )?
            .first();
        Ok(row.get::<i64>(1)?.unwrap_or_default())
    })
}

/// Sources that are due and that nobody works on.
fn waiting(now: Timestamp, zone: &TimeZone) -> Result<Vec<Waiting>, Failure> {
    Spi::connect(|client| {
        let rows = client.select(
            "SELECT source_id, priority, schedule, reconcile_schedule, jitter, allowed_hours,
                    ticks_settled_at, reconciles_settled_at, broken_off_mode, broken_off_at
             FROM gn_harvest.standing
             WHERE enabled AND (schedule <> 'manual' OR reconcile_schedule IS NOT NULL)
               AND source_id NOT IN (SELECT gn_harvest.working_source())",
            None,
            &[],
        )?;
        let mut found = Vec::new();
        for row in rows {
            let settled = Settled {
                ticks: row.get::<TimestampWithTimeZone>(7)?.map_or(0, Into::into),
                reconciles: row.get::<TimestampWithTimeZone>(8)?.map_or(0, Into::into),
            };
            let source_id = row.get::<i32>(1)?.unwrap_or_default();
            let schedule = row.get::<String>(3)?.unwrap_or_default();
            // Checked when they were set; one that an older version took and this one does not is nobody else's fault.
            let Ok(schedule) = Schedule::parse(&schedule) else {
                continue;
            };
            let moment = |column| -> Result<Option<Timestamp>, Failure> {
                Ok(row
                    .get::<TimestampWithTimeZone>(column)?
                    .and_then(clock::moment))
            };
            let standing = Standing {
                source_id,
                schedule,
                reconcile: row
                    .get::<String>(4)?
                    .and_then(|text| Schedule::parse(&text).ok()),
                jitter: Duration::try_from_secs_f64(row.get::<f64>(5)?.unwrap_or_default())
                    .unwrap_or_default(),
                hours: row.get::<String>(6)?.and_then(|text| Hours::parse(&text)),
                settled: moment(7)?.unwrap_or(now),
                reconciled: moment(8)?.unwrap_or(now),
                broken_off: row.get::<String>(9)?.zip(moment(10)?),
            };
            if let Some(due) = standing.due(now, zone) {
                found.push(Waiting {
                    source_id,
                    priority: row.get::<i32>(2)?.unwrap_or_default(),
                    settled,
                    due,
                });
            }
        }
        Ok(found)
    })
}

/// Waits until the workers are counted among the live runs, or gone: the next visitor, of any database, counts them.
fn wait_until_counted(started: &[DynamicBackgroundWorker]) -> Result<(), Failure> {
    let deadline = Instant::now() + APPEARANCE;
    for worker in started {
        while Instant::now() < deadline {
            let counted = match worker.pid() {
                Ok(pid) => postgres::transaction(|| is_shown(pid))?,
                Err(BackgroundWorkerStatus::NotYetStarted | BackgroundWorkerStatus::Started) => {
                    false
                }
                Err(_) => true,
            };
            if counted {
                break;
            }
            postgres::wait_latch(Duration::from_millis(20));
        }
    }
    Ok(())
}

fn is_shown(pid: i32) -> Result<bool, Failure> {
    Spi::connect(|client| {
        let rows = client.select(
            "SELECT FROM pg_stat_get_activity($1) WHERE backend_type = $2",
            Some(1),
            &[pid.into(), worker::WORKER_TYPE.into()],
        )?;
        Ok(!rows.is_empty())
    })
}
