//! Dates as exports write them, with the time of day to the microsecond.

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta};

/// A date of an export: the wall clock of the source, whatever zone was written after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub at: NaiveDateTime,
    /// A time of day was written; else `at` is midnight.
    pub timed: bool,
}

/// `2016-02-17`, `2016-02-17 11:50`, `2016-02-17T11:50:00.123456+02:00`…
///
/// Years 1 to 9999, four digits. Fractions are rounded to the microsecond as PostgreSQL does.
pub(super) fn moment(text: &str) -> Option<Moment> {
    let mut rest = text.as_bytes();
    let day = date(&mut rest)?;
    let (at, timed) = match rest {
        [b'T' | b't' | b' ', b'0'..=b'9', ..] => {
            rest = &rest[1..];
            let (time, carry) = time(&mut rest)?;
            (day.and_time(time).checked_add_signed(carry)?, true)
        }
        _ => (day.and_time(NaiveTime::MIN), false),
    };
    (zone(rest) && at.year() <= 9999).then_some(Moment { at, timed })
}

/// A time of day alone (`11:50:00`), as an offset from midnight.
pub(super) fn time_of_day(text: &str) -> Option<TimeDelta> {
    let mut rest = text.as_bytes();
    let (time, carry) = time(&mut rest)?;
    zone(rest).then(|| time.signed_duration_since(NaiveTime::MIN) + carry)
}

fn digits(rest: &mut &[u8], count: usize) -> Option<u32> {
    let (taken, after) = rest.split_at_checked(count)?;
    let number = taken.iter().try_fold(0, |number, byte| {
        byte.is_ascii_digit()
            .then(|| number * 10 + u32::from(byte - b'0'))
    })?;
    *rest = after;
    Some(number)
}

fn literal(rest: &mut &[u8], expected: u8) -> Option<()> {
    let (first, after) = rest.split_first()?;
    (*first == expected).then(|| *rest = after)
}

fn date(rest: &mut &[u8]) -> Option<NaiveDate> {
    let year = digits(rest, 4)?;
    literal(rest, b'-')?;
    let month = digits(rest, 2)?;
    literal(rest, b'-')?;
    let day = digits(rest, 2)?;
    NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day).filter(|_| year > 0)
}

/// The time to the microsecond, and what rounding carries over.
fn time(rest: &mut &[u8]) -> Option<(NaiveTime, TimeDelta)> {
    let hour = digits(rest, 2)?;
    literal(rest, b':')?;
    let minute = digits(rest, 2)?;
    let mut second = 0;
    let mut nanoseconds = 0;
    if literal(rest, b':').is_some() {
        second = digits(rest, 2)?;
        if let [b'.' | b',', b'0'..=b'9', ..] = rest {
            *rest = &rest[1..];
            nanoseconds = fraction(rest);
        }
    }
    let time = NaiveTime::from_hms_opt(hour, minute, second)?;
    Some((time, TimeDelta::microseconds((nanoseconds + 500) / 1000)))
}

/// Nanoseconds; further digits are too small to matter.
fn fraction(rest: &mut &[u8]) -> i64 {
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, after) = rest.split_at(length);
    *rest = after;
    let padded = digits
        .iter()
        .copied()
        .chain(std::iter::repeat(b'0'))
        .take(9);
    padded.fold(0, |number, byte| number * 10 + i64::from(byte - b'0'))
}

/// Whether the rest is nothing, `Z`, `UTC`, `GMT` or an offset such as `+02`, `+0200`, `-04:30`.
fn zone(rest: &[u8]) -> bool {
    match rest.trim_ascii() {
        [] | [b'Z' | b'z'] | b"UTC" | b"GMT" => true,
        [b'+' | b'-', offset @ ..] => match offset {
            [h, i] => all_digits(&[*h, *i]),
            [h, i, m, n] | [h, i, b':', m, n] => all_digits(&[*h, *i, *m, *n]),
            [h, i, b':', m, n, b':', s, t] => all_digits(&[*h, *i, *m, *n, *s, *t]),
            _ => false,
        },
        _ => false,
    }
}

fn all_digits(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_digit)
}
