//! The time and the time zone that schedules go by, and moments as PostgreSQL counts them.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::{postgres, schedule, settings};

/// Seconds from 1970 to 2000, from where PostgreSQL counts.
const EPOCH: i64 = 946_684_800;

/// The time it is: that of the clock, or of gn_harvest.clock in tests.
pub fn now() -> Timestamp {
    settings::text(&settings::CLOCK)
        .and_then(|text| schedule::parse_time(&text))
        .unwrap_or_else(Timestamp::now)
}

/// gn_harvest.timezone, by default that of the server. What a session has set for itself counts only where no launcher
/// says better.
pub fn zone() -> TimeZone {
    schedule::zone(&zone_name()).unwrap_or(TimeZone::UTC)
}

pub fn zone_name() -> String {
    settings::text(&settings::TIMEZONE)
        .or_else(postgres::server_zone)
        .or_else(|| postgres::setting(c"TimeZone"))
        .filter(|name| schedule::zone(name).is_some())
        .unwrap_or_else(|| "UTC".to_owned())
}

/// A moment of PostgreSQL's; none for infinity.
pub fn moment(at: TimestampWithTimeZone) -> Option<Timestamp> {
    let micros = pg_sys::TimestampTz::from(at).checked_add(EPOCH * 1_000_000)?;
    Timestamp::from_microsecond(micros).ok()
}

/// The same for PostgreSQL; none when it is out of its range.
pub fn timestamp(at: Timestamp) -> Option<TimestampWithTimeZone> {
    TimestampWithTimeZone::try_from(at.as_microsecond() - EPOCH * 1_000_000).ok()
}
