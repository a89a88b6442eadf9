//! The partner's clock. GeoNature keeps local time without zone, so the simulator has an
//! offset (a clock that is wrong) and a zone (a clock that is elsewhere), and moments are
//! microseconds of local time since 1970.

use std::time::{SystemTime, UNIX_EPOCH};

pub const SECOND: i64 = 1_000_000;
pub const DAY: i64 = 86_400 * SECOND;

#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    /// Seconds that the partner's clock is ahead of the true time.
    pub offset_seconds: i64,
    /// Seconds that its time zone is east of UTC.
    pub timezone_seconds: i64,
}

impl Clock {
    /// UTC by the partner's clock, in microseconds.
    pub fn utc(&self) -> i64 {
        true_micros() + self.offset_seconds * SECOND
    }

    /// Local time by the partner's clock, in microseconds.
    pub fn local(&self) -> i64 {
        self.utc() + self.timezone_seconds * SECOND
    }
}

fn true_micros() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_micros() as i64)
}

/// Year, month and day of a count of days since 1970-01-01 (proleptic Gregorian).
pub fn civil(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u32;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    } as u32;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// Days since 1970-01-01 of a date.
pub fn days(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = i64::from(if month > 2 { month - 3 } else { month + 9 });
    let day_of_year = (153 * shifted_month + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn push_number(out: &mut Vec<u8>, value: u64, width: u32) {
    for position in (0..width).rev() {
        out.push(b'0' + (value / 10u64.pow(position) % 10) as u8);
    }
}

/// `2026-11-23 16:58:18.692943`; without the fraction when it is zero, as Python writes it.
pub fn write_timestamp(out: &mut Vec<u8>, micros: i64, separator: u8) {
    let (year, month, day) = civil(micros.div_euclid(DAY));
    let in_day = micros.rem_euclid(DAY);
    let seconds = (in_day / SECOND) as u64;
    push_number(out, year.unsigned_abs(), 4);
    out.push(b'-');
    push_number(out, u64::from(month), 2);
    out.push(b'-');
    push_number(out, u64::from(day), 2);
    out.push(separator);
    push_number(out, seconds / 3600, 2);
    out.push(b':');
    push_number(out, seconds / 60 % 60, 2);
    out.push(b':');
    push_number(out, seconds % 60, 2);
    if in_day % SECOND != 0 {
        out.push(b'.');
        push_number(out, (in_day % SECOND) as u64, 6);
    }
}

pub fn timestamp(micros: i64) -> String {
    let mut out = Vec::with_capacity(26);
    write_timestamp(&mut out, micros, b' ');
    String::from_utf8_lossy(&out).into_owned()
}

/// Reads `2026-09-01`, `2026-09-01 10:00`, `2026-09-01T10:00:00.5+02:00`… The zone is read
/// and ignored, as the real server does.
pub fn parse_timestamp(text: &str) -> Option<i64> {
    let text = text.trim();
    let (date, time) = match text.find(['T', ' ']) {
        Some(at) => (&text[..at], text[at + 1..].trim()),
        None => (text, ""),
    };
    let mut parts = date.split('-');
    let year = number(parts.next()?, 4)?;
    let month = number(parts.next()?, 2)?;
    let day = number(parts.next()?, 2)?;
    if parts.next().is_some() || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let days = days(year as i64, month as u32, day as u32);
    if civil(days) != (year as i64, month as u32, day as u32) {
        return None;
    }
    Some(days * DAY + time_of_day(without_zone(time)?)?)
}

fn number(text: &str, width: usize) -> Option<u64> {
    (text.len() == width && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

fn without_zone(time: &str) -> Option<&str> {
    let time = time.strip_suffix(['Z', 'z']).unwrap_or(time);
    let Some(at) = time.find(['+', '-']) else {
        return Some(time);
    };
    let zone = &time[at + 1..];
    let well_formed = zone.len() >= 2 && zone.bytes().all(|b| b.is_ascii_digit() || b == b':');
    well_formed.then(|| time[..at].trim_end())
}

fn time_of_day(time: &str) -> Option<i64> {
    if time.is_empty() {
        return Some(0);
    }
    let mut parts = time.split(':');
    let hours = number(parts.next()?, 2)? as i64;
    let minutes = parts.next().map_or(Some(0), |m| number(m, 2))? as i64;
    let (seconds, fraction) = match parts.next() {
        None => ("00", ""),
        Some(seconds) => seconds.split_once(['.', ',']).unwrap_or((seconds, "")),
    };
    let seconds = number(seconds, 2)? as i64;
    if parts.next().is_some() || hours > 23 || minutes > 59 || seconds > 59 || fraction.len() > 9 {
        return None;
    }
    let micros = match fraction {
        "" => 0,
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{digits:0<6}")[..6].parse::<i64>().ok()?
        }
        _ => return None,
    };
    Some((hours * 3600 + minutes * 60 + seconds) * SECOND + micros)
}

/// `Mon, 23 Nov 2026 16:11:16 GMT`, from UTC microseconds.
pub fn http_date(utc_micros: i64) -> String {
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let days = utc_micros.div_euclid(DAY);
    let (year, month, day) = civil(days);
    let seconds = utc_micros.rem_euclid(DAY) / SECOND;
    format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        WEEKDAYS[days.rem_euclid(7) as usize],
        MONTHS[month as usize - 1],
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_read_as_it_is_written() {
        for text in [
            "2026-11-23 16:58:18.692943",
            "1969-12-31 23:59:59",
            "2024-02-29 00:00:00",
        ] {
            assert_eq!(timestamp(parse_timestamp(text).unwrap()), text);
        }
    }

    #[test]
    fn the_zone_of_a_value_is_ignored() {
        let plain = parse_timestamp("2026-09-01 10:00:00");
        for text in [
            "2026-09-01T10:00:00Z",
            "2026-09-01T10:00:00+02:00",
            "2026-09-01 10:00",
        ] {
            assert_eq!(parse_timestamp(text), plain, "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "hier",
            "",
            "2026-02-30",
            "2026-13-01",
            "2026-01-01 25:00:00",
            "2026-1-1",
        ] {
            assert_eq!(parse_timestamp(text), None, "{text}");
        }
    }

    #[test]
    fn the_date_header_has_its_usual_form() {
        let moment = parse_timestamp("2026-11-23 16:11:16").unwrap();
        assert_eq!(http_date(moment), "Mon, 23 Nov 2026 16:11:16 GMT");
    }
}
