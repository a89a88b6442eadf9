//! Allowed hours, such as 20:00-06:00.

use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;

/// Hours of the day, from the first (included) to the last (excluded); over midnight when the last comes first. The
/// same twice: always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    first: Time,
    last: Time,
}

impl Hours {
    pub fn parse(text: &str) -> Option<Hours> {
        let (first, last) = text.split_once('-')?;
        Some(Hours {
            first: time(first)?,
            last: time(last)?,
        })
    }

    pub fn contains(&self, at: Time) -> bool {
        if self.first < self.last {
            at >= self.first && at < self.last
        } else {
            at >= self.first || at < self.last
        }
    }

    /// The first moment from `from` on that lies within. An opening that does not exist, when clocks go forward, is
    /// as much later.
    pub fn opening(&self, from: Timestamp, zone: &TimeZone) -> Timestamp {
        let local = from.to_zoned(zone.clone());
        if self.contains(local.time()) {
            return from;
        }
        let opening_on =
            |day: jiff::civil::Date| zone.to_timestamp(day.to_datetime(self.first)).ok();
        let today = opening_on(local.date()).filter(|opening| *opening >= from);
        today
            .or_else(|| local.date().tomorrow().ok().and_then(opening_on))
            .unwrap_or(from)
    }
}

/// A time of day such as "6:00", "06:00", "6h" or "6h30".
pub fn time(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once([':', 'h'])?;
    let number = |digits: &str, most: usize| -> Option<i8> {
        let plain =
            (1..=most).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| digits.parse().ok()).flatten()
    };
    let minute = match minute {
        "" if text.ends_with('h') => 0,
        minute if minute.len() == 2 => number(minute, 2)?,
        _ => return None,
    };
    Time::new(number(hour, 2)?, minute, 0, 0).ok()
}
