//! The visitor: looks at one database, does its chores there and is gone. It keeps DROP DATABASE and the like waiting
//! for moments only, so a chore never waits: not for the network, not for a run, hardly for a lock.

use pgrx::bgworkers::{BackgroundWorker, BackgroundWorkerBuilder, DynamicBackgroundWorker};
use pgrx::pg_sys;
use pgrx::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::Failure;
use crate::{alert, home, postgres, retention, scheduler, worker};

const VISITOR_TYPE: &str = "gn_harvest visitor";
/// For a lock of ours that someone holds; the next visit tries again.
const LOCK_TIMEOUT: &str = "1s";

type Chore = fn() -> Result<(), Failure>;

/// What is done at each visit, in this order. One that fails does not stop the next.
const CHORES: &[(&str, Chore)] = &[
    ("home", home::settle),
    ("schedule", scheduler::run_due),
    ("alerts", alert::tick),
    ("retention", forget_old),
];

/// A little of what is too old, at each visit.
fn forget_old() -> Result<(), Failure> {
    postgres::transaction(retention::tick).map(|_| ())
}

/// Starts a visitor; the error is that no worker slot is free.
pub fn start(database: &postgres::Visitable) -> Result<DynamicBackgroundWorker, Failure> {
    BackgroundWorkerBuilder::new(VISITOR_TYPE)
        .set_type(VISITOR_TYPE)
        .set_library("gn_harvest")
        .set_function("gn_harvest_visitor")
        .set_extra(&format!("{} {}", database.oid.to_u32(), database.name))
        .set_notify_pid(postgres::own_pid())
        .enable_spi_access()
        .load_dynamic()
        .map_err(|_| worker::no_slot())
}

/// The one line about it: `postgres::note_slot` says when.
pub fn tell_no_slot(no_slot: &Failure) {
    log!(
        "gn_harvest: {no_slot}: what is due waits ({})",
        no_slot.hint.clone().unwrap_or_default()
    );
}

#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn gn_harvest_visitor(_argument: pg_sys::Datum) {
    postgres::attach_signals();
    let (number, name) = BackgroundWorker::get_extra()
        .split_once(' ')
        .unwrap_or_default();
    let Ok(database) = number.parse::<u32>() else {
        log!("gn_harvest: a visitor was started without a database");
        return;
    };
    BackgroundWorker::connect_worker_to_spi_by_oid(Some(database.into()), None);
    postgres::report_activity("gn_harvest: looking at what is due");
    let troubles = visit();
    let words = troubles.join("; ");
    let hash = if words.is_empty() {
        0
    } else {
        xxh3_64(words.as_bytes())
    };
    let before = postgres::note_visit(database.into(), hash);
    // The same again is not said again.
    if hash != 0 && before.map(|visit| visit.trouble) != Some(hash) {
        log!("gn_harvest, in database \"{name}\": {words}");
    }
}

/// Does the chores, if the extension is here and is this version; returns what went wrong.
fn visit() -> Vec<String> {
    let here = postgres::transaction(|| {
        worker::prepare_session(LOCK_TIMEOUT)?;
        is_installed()
    });
    match here {
        Ok(true) => {}
        Ok(false) => return Vec::new(),
        Err(failure) => return vec![failure.to_string()],
    }
    let failed = CHORES.iter().filter_map(|(name, chore)| {
        let failure = postgres::guarded(chore).err()?;
        Some(format!("{name}: {failure}"))
    });
    failed.collect()
}

/// Whether the extension is here, whole, and of the version of this library: neither half upgraded nor somebody else's
/// schema of the same name.
fn is_installed() -> Result<bool, Failure> {
    Spi::connect(|client| {
        let rows = client.select(
            "SELECT (SELECT count(*) FROM pg_class c
                     JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
                                     AND d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
                     WHERE c.relnamespace = to_regnamespace('gn_harvest')
                       AND c.relname IN ('source', 'source_state', 'run', 'home', 'standing')) = 5
             FROM pg_extension e WHERE e.extname = 'gn_harvest' AND e.extversion = $1",
            Some(1),
            &[env!("CARGO_PKG_VERSION").into()],
        )?;
        match rows.into_iter().next() {
            Some(row) => Ok(row.get::<bool>(1)?.unwrap_or(false)),
            None => Ok(false),
        }
    })
}
