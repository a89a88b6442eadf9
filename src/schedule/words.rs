//! Schedules as people write them, in English and in French; all but intervals become a cron expression.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;

use super::hours::time;
use super::{NotUnderstood, Schedule};

/// Hour of a schedule that names none: when partners sleep.
const BY_DEFAULT: Time = Time::constant(3, 0, 0, 0);
/// Least and greatest interval, in minutes.
const INTERVALS: std::ops::RangeInclusive<i64> = 1..=7 * 24 * 60;

/// Names of the days as cron counts them, from Sunday.
pub const DAYS: [(&str, &str); 7] = [
    ("sunday", "dimanche"),
    ("monday", "lundi"),
    ("tuesday", "mardi"),
    ("wednesday", "mercredi"),
    ("thursday", "jeudi"),
    ("friday", "vendredi"),
    ("saturday", "samedi"),
];

const FILLERS: [&str; 8] = ["at", "on", "the", "à", "a", "le", "day", "jour"];

pub fn parse(text: &str) -> Result<Schedule, NotUnderstood> {
    let lower = text.trim().to_lowercase();
    let words: Vec<&str> = lower.split_whitespace().collect();
    let Some(first) = words.first() else {
        return Err(NotUnderstood("It is empty.".to_owned()));
    };
    if first.starts_with(|c: char| c.is_ascii_digit() || c == '*' || c == '@') {
        return cron(&words.join(" "));
    }
    let rest: Vec<&str> = words[1..]
        .iter()
        .copied()
        .filter(|word| !FILLERS.contains(word))
        .collect();
    match *first {
        "manual" | "manuel" | "manuelle" if rest.is_empty() => Ok(Schedule::Manual),
        "hourly" | "horaire" if rest.is_empty() => cron("0 * * * *"),
        "daily" | "quotidien" | "quotidienne" => daily(&rest),
        "weekly" | "hebdomadaire" => weekly(&rest),
        "monthly" | "mensuel" | "mensuelle" => monthly(&rest),
        "every" | "toutes" | "tous" | "chaque" => every(&words[1..]),
        _ => Err(NotUnderstood(format!("\"{first}\" begins no schedule."))),
    }
}

/// "every 30 minutes", "toutes les 2 heures", "every day 03:00", "chaque lundi 03:00", "tous les mois".
fn every(words: &[&str]) -> Result<Schedule, NotUnderstood> {
    let words: Vec<&str> = words
        .iter()
        .copied()
        .filter(|word| *word != "les")
        .collect();
    let (count, unit, rest) = match words.as_slice() {
        [count, unit, rest @ ..] if count.starts_with(|c: char| c.is_ascii_digit()) => {
            let count = count
                .parse::<i64>()
                .map_err(|_| NotUnderstood(format!("\"{count}\" is no whole number.")))?;
            (Some(count), *unit, rest)
        }
        [unit, rest @ ..] => (None, *unit, rest),
        [] => return Err(NotUnderstood("It does not say every what.".to_owned())),
    };
    let rest: Vec<&str> = rest
        .iter()
        .copied()
        .filter(|word| !FILLERS.contains(word))
        .collect();
    match (unit, count) {
        ("minute" | "minutes" | "min", count) if rest.is_empty() => interval(count.unwrap_or(1)),
        ("hour" | "heure" | "hours" | "heures" | "h", None) if rest.is_empty() => cron("0 * * * *"),
        ("hour" | "heure" | "hours" | "heures" | "h", Some(count)) if rest.is_empty() => {
            interval(count.saturating_mul(60))
        }
        ("day" | "days" | "jour" | "jours", None) => daily(&rest),
        ("week" | "semaine" | "semaines", None) => weekly(&rest),
        ("month" | "mois", None) => monthly(&rest),
        (day, None) if days(day).is_some() => {
            let mut with_day = vec![day];
            with_day.extend(rest);
            weekly(&with_day)
        }
        _ => Err(NotUnderstood(format!(
            "\"every\" goes with minutes, hours, day, week, month or a day of the week; \"{}\" was given.",
            words.join(" ")
        ))),
    }
}

fn interval(minutes: i64) -> Result<Schedule, NotUnderstood> {
    if INTERVALS.contains(&minutes) {
        Ok(Schedule::Every(minutes))
    } else {
        Err(NotUnderstood(
            "An interval is of 1 minute to 7 days.".to_owned(),
        ))
    }
}

fn daily(rest: &[&str]) -> Result<Schedule, NotUnderstood> {
    let at = only_time(rest)?;
    cron(&format!("{} {} * * *", at.minute(), at.hour()))
}

fn weekly(rest: &[&str]) -> Result<Schedule, NotUnderstood> {
    let (on, rest) = match rest {
        [first, rest @ ..] if time(first).is_none() => {
            let on = days(first)
                .ok_or_else(|| NotUnderstood(format!("\"{first}\" is no day of the week.")))?;
            (on, rest)
        }
        _ => ("1".to_owned(), rest),
    };
    let at = only_time(rest)?;
    cron(&format!("{} {} * * {on}", at.minute(), at.hour()))
}

fn monthly(rest: &[&str]) -> Result<Schedule, NotUnderstood> {
    let (on, rest) = match rest {
        ["last" | "dernier", rest @ ..] => ("L".to_owned(), rest),
        ["1er" | "1st", rest @ ..] => ("1".to_owned(), rest),
        [first, rest @ ..] if time(first).is_none() => match first.parse::<u8>() {
            Ok(day @ 1..=28) => (day.to_string(), rest),
            Ok(29..=31) => {
                return Err(NotUnderstood(format!(
                    "Not every month has a day {first}; 'monthly last 03:00' is its last one."
                )));
            }
            _ => {
                return Err(NotUnderstood(format!(
                    "\"{first}\" is no day of the month, 1 to 28 or last."
                )));
            }
        },
        _ => ("1".to_owned(), rest),
    };
    let at = only_time(rest)?;
    cron(&format!("{} {} {on} * *", at.minute(), at.hour()))
}

/// The time, which is all that may be left.
fn only_time(rest: &[&str]) -> Result<Time, NotUnderstood> {
    match rest {
        [] => Ok(BY_DEFAULT),
        [one] => time(one)
            .ok_or_else(|| NotUnderstood(format!("\"{one}\" is no time of day such as 03:00."))),
        _ => Err(NotUnderstood(format!(
            "\"{}\" is too much after it.",
            rest.join(" ")
        ))),
    }
}

/// One day of the week or several, as cron writes them: "monday,thursday" is "1,4".
fn days(text: &str) -> Option<String> {
    let numbers: Option<Vec<String>> = text
        .split(',')
        .map(|name| {
            let name = match name.strip_suffix('s') {
                Some(one) if one.len() > 3 => one,
                _ => name,
            };
            let known =
                |day: &(&str, &str)| [day.0, day.1, &day.0[..3], &day.1[..3]].contains(&name);
            DAYS.iter().position(known).map(|n| n.to_string())
        })
        .collect();
    numbers.map(|numbers| numbers.join(","))
}

fn cron(text: &str) -> Result<Schedule, NotUnderstood> {
    if !text.starts_with('@') && text.split(' ').count() != 5 {
        return Err(NotUnderstood(
            "A cron expression has five fields: minute, hour, day of the month, month, day of the week.".to_owned(),
        ));
    }
    let cron: Cron = CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed)
        .build()
        .parse(text)
        .map_err(|error| NotUnderstood(format!("As a cron expression: {error}")))?;
    let schedule = Schedule::Cron(Box::new(cron));
    match schedule.next(Timestamp::UNIX_EPOCH, &TimeZone::UTC) {
        Some(_) => Ok(schedule),
        None => Err(NotUnderstood("There is no such date.".to_owned())),
    }
}
