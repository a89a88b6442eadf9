//! When a source is due: schedules in plain words or as cron expressions, hours, time zones. Pure: no pgrx here, the
//! time it is comes as an argument.
//!
//! Nothing is kept but the moment up to which ticks are settled: what is due is always computed anew, so that missed
//! ticks are one, and a change of schedule, time zone or hours counts at once.

mod french;
mod frequency;
mod hours;
mod plan;
mod words;
mod zone;

use std::time::Duration;

use croner::Cron;
use jiff::Timestamp;
use jiff::tz::TimeZone;

pub use frequency::frequency;
pub use hours::Hours;
pub use plan::{Due, Mode, Standing};
pub use zone::{parse_time, zone};

/// Schedules that are shown to whoever gave one that is not understood.
pub const GOOD_ONES: &str = "'manual', 'every 30 minutes', 'every 6 hours', 'hourly', 'daily 03:00', 'weekly monday 03:00', 'monthly 1 03:00', 'monthly last 03:00', or a cron expression such as '0 3 * * 1-5'";

/// When ticks come.
#[derive(Debug, Clone)]
pub enum Schedule {
    /// Never: runs are started by people.
    Manual,
    /// At the multiples of so many minutes since 1970: at the same distance, whatever clocks do.
    Every(i64),
    /// At times of the wall clock. A time that does not exist, when clocks go forward, is the first one that does; one
    /// that comes twice, when they go back, is the first of them.
    Cron(Box<Cron>),
}

/// Why a schedule is refused, for the DETAIL of an error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotUnderstood(pub String);

impl Schedule {
    pub fn parse(text: &str) -> Result<Schedule, NotUnderstood> {
        words::parse(text)
    }

    /// The first tick after a moment; none when there is none.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Schedule::Manual => None,
            Schedule::Every(minutes) => {
                let step = minutes * 60;
                let next = (after.as_second().div_euclid(step) + 1) * step;
                Timestamp::from_second(next).ok()
            }
            Schedule::Cron(cron) => cron
                .find_next_occurrence(&after.to_zoned(zone.clone()), false)
                .ok()
                .map(|zoned| zoned.timestamp()),
        }
    }
}

/// How much later than its tick a source runs: the same for a source and a tick, different for others.
pub fn delay(source_id: i32, tick: Timestamp, jitter: Duration) -> Duration {
    let mut seed = source_id.to_le_bytes().to_vec();
    seed.extend(tick.as_second().to_le_bytes());
    let share = xxhash_rust::xxh3::xxh3_64(&seed) as f64 / u64::MAX as f64;
    Duration::from_secs((jitter.as_secs_f64() * share) as u64)
}
