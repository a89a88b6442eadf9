//! The launcher: one process a server, connected to no database, that sends a visitor to each database in its turn.
//! It keeps no list: databases are read anew before each visit, and whether one has the extension is the visitor's to
//! find out. It survives everything but the end of the server.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use pgrx::bgworkers::{
    BackgroundWorker, BackgroundWorkerBuilder, BackgroundWorkerStatus, BgWorkerStartTime,
    DynamicBackgroundWorker,
};
use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::error::Failure;
use crate::{postgres, settings, visitor};

/// backend_type in pg_stat_activity; sql/schedule.sql knows it.
const LAUNCHER_TYPE: &str = "gn_harvest launcher";
/// A visit takes milliseconds; one that hangs would keep DROP DATABASE waiting, and other databases.
const LONGEST_VISIT: Duration = Duration::from_secs(30);
/// Between looks at whether a standby has become a primary.
const RECOVERY_LOOK: Duration = Duration::from_secs(2);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(300);
/// A database whose visits break off is visited less and less.
const RAREST_VISIT: Duration = Duration::from_secs(3600);

/// Registers the launcher; called while the library is preloaded.
pub fn register() {
    BackgroundWorkerBuilder::new(LAUNCHER_TYPE)
        .set_type(LAUNCHER_TYPE)
        .set_library("gn_harvest")
        .set_function("gn_harvest_launcher")
        .enable_spi_access()
        // On a standby too: it waits there for the promotion.
        .set_start_time(BgWorkerStartTime::ConsistentState)
        .set_restart_time(Some(Duration::from_secs(5)))
        .load();
}

#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn gn_harvest_launcher(_argument: pg_sys::Datum) {
    postgres::attach_signals();
    BackgroundWorker::connect_worker_to_spi(None, None);
    let mut launcher = Launcher {
        databases: HashMap::new(),
        misses: 0,
        memory: postgres::VisitMemory::new(),
    };
    loop {
        postgres::reload_if_asked();
        postgres::tell_zone(&postgres::setting(c"TimeZone").unwrap_or_default());
        let rest = launcher.step();
        if !rest.is_zero() {
            postgres::report_rest(c"gn_harvest launcher");
            postgres::wait_latch(rest);
        }
    }
}

struct Launcher {
    databases: HashMap<pg_sys::Oid, Turn>,
    /// Times in a row that no worker slot was free.
    misses: u32,
    memory: postgres::VisitMemory,
}

/// When a database is visited next.
struct Turn {
    next: Instant,
    /// Visits in a row that did not come to their end.
    broken_off: u32,
}

impl Launcher {
    /// Visits the database whose turn it is, if there is one; returns how long to rest.
    fn step(&mut self) -> Duration {
        if postgres::is_in_recovery() {
            return RECOVERY_LOOK;
        }
        let naptime = naptime();
        let databases = match postgres::visitable_databases() {
            Ok(databases) => databases,
            Err(failure) => {
                log!("gn_harvest launcher: the databases can not be read: {failure}");
                return naptime;
            }
        };
        let now = Instant::now();
        self.databases
            .retain(|oid, _| databases.iter().any(|database| database.oid == *oid));
        for database in &databases {
            let turn = self.databases.entry(database.oid).or_insert(Turn {
                next: now,
                broken_off: 0,
            });
            // A shorter naptime counts at once.
            if turn.broken_off == 0 {
                turn.next = turn.next.min(now + naptime);
            }
        }
        let first = databases
            .iter()
            .filter_map(|database| Some((database, self.databases.get(&database.oid)?.next)))
            .min_by_key(|(_, next)| *next);
        match first {
            Some((database, next)) if next <= now => self.visit(database, naptime),
            Some((_, next)) => (next - now).min(naptime),
            None => naptime,
        }
    }

    fn visit(&mut self, database: &postgres::Visitable, naptime: Duration) -> Duration {
        let begun = Instant::now();
        let seen_before = postgres::last_visit(database.oid).map(|visit| visit.at);
        let visited = self
            .memory
            .within(|| visitor::start(database).map(|worker| wait_for_end(worker, begun)));
        let ended = match visited {
            Ok(ended) => ended,
            Err(no_slot) => return self.back_off(&no_slot, naptime),
        };
        self.misses = 0;
        postgres::note_slot(postgres::Slot::Visitor, false);
        if !ended {
            log!(
                "gn_harvest launcher: a visit of database \"{}\" took longer than {} s and was ended",
                database.name,
                LONGEST_VISIT.as_secs()
            );
        }
        let came_to_its_end =
            postgres::last_visit(database.oid).map(|visit| visit.at) != seen_before;
        if let Some(turn) = self.databases.get_mut(&database.oid) {
            turn.broken_off = if came_to_its_end {
                0
            } else {
                turn.broken_off + 1
            };
            let rest = naptime
                .saturating_mul(1 << turn.broken_off.min(16))
                .min(RAREST_VISIT.max(naptime));
            turn.next = begun + rest;
        }
        Duration::ZERO
    }

    /// No worker slot is free: it is said once, and tried again less and less often.
    fn back_off(&mut self, no_slot: &Failure, naptime: Duration) -> Duration {
        if postgres::note_slot(postgres::Slot::Visitor, true) {
            visitor::tell_no_slot(no_slot);
        }
        self.misses = (self.misses + 1).min(16);
        let longest = LONGEST_BACK_OFF.max(naptime);
        let rest = naptime.saturating_mul(1 << (self.misses - 1)).min(longest);
        // Half of it by chance: what else wants slots does not come at the same moment again and again.
        let chance = RandomState::new().hash_one(0) as f64 / u64::MAX as f64;
        rest.mul_f64(0.5 + chance / 2.0)
    }
}

fn naptime() -> Duration {
    Duration::from_secs(settings::NAPTIME.get() as u64)
}

/// Waits for a visitor; false when it had to be ended.
fn wait_for_end(worker: DynamicBackgroundWorker, begun: Instant) -> bool {
    loop {
        match worker.pid() {
            Err(BackgroundWorkerStatus::Stopped | BackgroundWorkerStatus::PostmasterDied) => {
                return true;
            }
            _ if begun.elapsed() > LONGEST_VISIT => {
                let _ = worker.terminate();
                return false;
            }
            _ => postgres::wait_for(Duration::from_secs(1), postgres::UNTIL_WORKER_ENDS),
        }
    }
}
