//! Time zones by name, and moments as settings write them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The time zone of a name: that of the system's database, as PostgreSQL reads it, else of the one built in; or a rule
/// in the manner of POSIX, such as "CET-1CEST,M3.5.0,M10.5.0/3".
pub fn zone(name: &str) -> Option<TimeZone> {
    TimeZone::get(name)
        .or_else(|_| TimeZone::posix(name))
        .ok()
        .filter(|_| !name.is_empty())
}

/// A moment with its offset, such as "2026-03-29 03:00:00+02".
pub fn parse_time(text: &str) -> Option<Timestamp> {
    text.trim().parse().ok()
}
