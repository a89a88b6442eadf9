//! What sql/schedule.sql and the scheduler need to know of schedules, the time, and this place.

use std::time::Duration;

use pgrx::JsonB;
use pgrx::prelude::*;

use crate::error::Failure;
use crate::schedule::{self, Hours, Schedule, Standing};
use crate::{clock as time, postgres};

/// A schedule as it is kept; refuses one that is not understood, and shows good ones.
#[pg_extern(immutable, strict)]
fn normalise_schedule(setting: &str, given: &str) -> String {
    match understand(setting, given) {
        Schedule::Manual => "manual".to_owned(),
        _ => given.split_whitespace().collect::<Vec<_>>().join(" "),
    }
}

fn understand(setting: &str, given: &str) -> Schedule {
    Schedule::parse(given).unwrap_or_else(|why| {
        Failure::new("22023", format!("{setting} is not understood"))
            .detail(format!("Value given: \"{given}\". {why}"))
            .hint(format!("Good ones are: {}.", schedule::GOOD_ONES))
            .raise()
    })
}

/// The first tick of a schedule after a moment, in gn_harvest.timezone.
#[pg_extern(stable, strict)]
fn next_tick(schedule: &str, after: TimestampWithTimeZone) -> Option<TimestampWithTimeZone> {
    let next = understand("schedule", schedule).next(time::moment(after)?, &time::zone())?;
    time::timestamp(next)
}

/// Schedules in words.
#[pg_extern(immutable)]
fn frequency_in(schedule: Option<&str>, reconcile: Option<&str>, french: bool) -> Option<String> {
    let schedule = Schedule::parse(schedule?).ok()?;
    let reconcile = reconcile.and_then(|text| Schedule::parse(text).ok());
    Some(schedule::frequency(&schedule, reconcile.as_ref(), french))
}

/// When a source is due next, of what the view `standing` says of it.
#[pg_extern(stable)]
#[allow(clippy::too_many_arguments)]
fn next_run(
    source_id: i32,
    schedule: &str,
    reconcile: Option<&str>,
    jitter: f64,
    allowed_hours: Option<&str>,
    settled: TimestampWithTimeZone,
    reconciled: TimestampWithTimeZone,
    broken_off_mode: Option<&str>,
    broken_off_at: Option<TimestampWithTimeZone>,
) -> Option<TimestampWithTimeZone> {
    let standing = Standing {
        source_id,
        schedule: Schedule::parse(schedule).ok()?,
        reconcile: reconcile.and_then(|text| Schedule::parse(text).ok()),
        jitter: Duration::try_from_secs_f64(jitter).unwrap_or_default(),
        hours: allowed_hours.and_then(Hours::parse),
        settled: time::moment(settled)?,
        reconciled: time::moment(reconciled)?,
        broken_off: broken_off_mode
            .map(str::to_owned)
            .zip(broken_off_at.and_then(time::moment)),
    };
    let due = standing.next(time::now(), &time::zone())?;
    time::timestamp(due.at)
}

/// The time that the scheduler goes by: that of the clock, or of gn_harvest.clock in tests.
#[pg_extern(volatile)]
fn clock() -> Option<TimestampWithTimeZone> {
    time::timestamp(time::now())
}

/// Whether the library was loaded by shared_preload_libraries.
#[pg_extern(stable)]
fn is_preloaded() -> bool {
    postgres::is_preloaded()
}

/// Whether this server was started by a recovery from an archive (recovery.signal), and no standby.
#[pg_extern(stable)]
fn is_recovered() -> bool {
    postgres::began_by_recovery()
}

/// What tells this place from a copy of it.
#[pg_extern(stable)]
fn place() -> JsonB {
    JsonB(postgres::place())
}

/// The version of the library, which is newer than the SQL between the installation of a new one and ALTER EXTENSION.
#[pg_extern(immutable)]
fn library_version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// When the scheduler looked at this database last, since the server was started.
#[pg_extern(volatile)]
fn last_visit() -> Option<TimestampWithTimeZone> {
    let visit = postgres::last_visit(postgres::database())?;
    TimestampWithTimeZone::try_from(visit.at).ok()
}

/// The time zone that schedules go by.
#[pg_extern(stable)]
fn schedule_timezone() -> String {
    time::zone_name()
}

extension_sql!(
    "COMMENT ON FUNCTION gn_harvest.normalise_schedule(text, text) IS 'A schedule as it is kept, or an error that shows good ones.';
     COMMENT ON FUNCTION gn_harvest.next_tick(text, timestamptz) IS 'The first time after a moment at which a schedule wants a run, in gn_harvest.timezone; null when it wants none.';
     COMMENT ON FUNCTION gn_harvest.frequency_in(text, text, boolean) IS 'Schedules in words, in French or in English.';
     COMMENT ON FUNCTION gn_harvest.next_run(integer, text, text, double precision, text, timestamptz, timestamptz, text, timestamptz) IS 'When a source is due next, of what the view standing says of it.';
     COMMENT ON FUNCTION gn_harvest.clock() IS 'The time that the scheduler goes by.';
     COMMENT ON FUNCTION gn_harvest.place() IS 'What tells this place from a copy of it: the system, the database, the directory and its files, the machine.';
     COMMENT ON FUNCTION gn_harvest.library_version() IS 'The version of the library.';
     COMMENT ON FUNCTION gn_harvest.last_visit() IS 'When the scheduler looked at this database last, since the server was started.';
     COMMENT ON FUNCTION gn_harvest.schedule_timezone() IS 'The time zone that schedules go by.';
     COMMENT ON FUNCTION gn_harvest.is_recovered() IS 'Whether this server, since it was started, has been recovered from an archive.';
     COMMENT ON FUNCTION gn_harvest.is_preloaded() IS 'Whether the library was loaded by shared_preload_libraries: without it nothing is run on schedule.';",
    name = "schedule_functions",
    requires = [normalise_schedule, is_recovered, next_tick, frequency_in, next_run, clock, is_preloaded, place, library_version, last_visit, schedule_timezone]
);
