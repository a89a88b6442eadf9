//! How often a source runs, in words: « Mensuelle – Jour 01 », "Weekly – Monday".

use croner::Cron;
use croner::describe::English;

use super::Schedule;
use super::french::French;
use super::words::DAYS;

/// The schedules of a source in words.
pub fn frequency(schedule: &Schedule, reconcile: Option<&Schedule>, french: bool) -> String {
    match reconcile {
        None => words(schedule, french),
        Some(reconcile) => {
            let (colon, label) = if french {
                (" : ", "réconciliation")
            } else {
                (": ", "reconciliation")
            };
            let separator = if french { " ; " } else { "; " };
            format!(
                "{}{separator}{label}{colon}{}",
                words(schedule, french),
                uncapitalised(&words(reconcile, french))
            )
        }
    }
}

fn words(schedule: &Schedule, french: bool) -> String {
    let say = |english: &str, in_french: &str| if french { in_french } else { english }.to_owned();
    match schedule {
        Schedule::Manual => say("Manual", "Manuelle"),
        Schedule::Every(minutes) => interval(*minutes, french),
        Schedule::Cron(cron) => of_cron(cron, french),
    }
}

fn interval(minutes: i64, french: bool) -> String {
    let (every, minute, hour) = if french {
        ("Toutes les", "minute", "heure")
    } else {
        ("Every", "minute", "hour")
    };
    match (minutes, minutes / 60) {
        (1, _) if french => format!("{every} {minute}s"),
        (60, _) if french => format!("{every} {hour}s"),
        (1, _) => format!("{every} {minute}"),
        (60, _) => format!("{every} {hour}"),
        (_, hours) if minutes % 60 == 0 => format!("{every} {hours} {hour}s"),
        _ => format!("{every} {minutes} {minute}s"),
    }
}

/// The usual ones in the words of a dashboard, the others as the crate describes them.
fn of_cron(cron: &Cron, french: bool) -> String {
    let pattern = &cron.pattern;
    let (minutes, hours) = (pattern.minutes.values(), pattern.hours.values());
    let fields: Vec<&str> = cron.as_str().split(' ').collect();
    let usual = match (fields.as_slice(), minutes.as_slice(), hours.as_slice()) {
        ([_, "*", "*", "*", "*"], [0], _) => Some(interval(60, french)),
        ([each, "*", "*", "*", "*"], ..) if step(each).is_some_and(|step| 60 % step == 0) => {
            step(each).map(|minutes| interval(minutes, french))
        }
        ([_, each, "*", "*", "*"], [0], _) if step(each).is_some_and(|step| 24 % step == 0) => {
            step(each).map(|hours| interval(60 * hours, french))
        }
        ([_, _, "*", "*", "*"], [minute], [hour]) => Some(format!(
            "{} – {hour:02}:{minute:02}",
            say(french, "Daily", "Quotidienne")
        )),
        ([_, _, "*", "*", on], [_], [_]) => day_names(on, french)
            .map(|names| format!("{} – {names}", say(french, "Weekly", "Hebdomadaire"))),
        ([_, _, "L", "*", "*"], [_], [_]) => Some(say(
            french,
            "Monthly – Last day",
            "Mensuelle – Dernier jour",
        )),
        ([_, _, on, "*", "*"], [_], [_]) => on.parse::<u8>().ok().map(|day| {
            format!(
                "{} {day:02}",
                say(french, "Monthly – Day", "Mensuelle – Jour")
            )
        }),
        _ => None,
    };
    usual.unwrap_or_else(|| {
        let described = if french {
            // The crate sets a comma before the last of a list, which French does not.
            cron.describe_lang(French).replace(", et ", " et ")
        } else {
            cron.describe_lang(English)
        };
        described.trim_end_matches('.').to_owned()
    })
}

/// "*/20" is 20: a step that divides what it steps through is the same distance everywhere.
fn step(field: &str) -> Option<i64> {
    field
        .strip_prefix("*/")?
        .parse()
        .ok()
        .filter(|step| *step > 0)
}

fn say(french: bool, english: &str, in_french: &str) -> String {
    if french { in_french } else { english }.to_owned()
}

/// "1,4" is "Monday, Thursday".
fn day_names(on: &str, french: bool) -> Option<String> {
    let names: Option<Vec<String>> = on
        .split(',')
        .map(|number| {
            let number = number.parse::<usize>().ok().filter(|number| *number <= 7)?;
            let (english, in_french) = DAYS[number % 7];
            Some(capitalised(if french { in_french } else { english }))
        })
        .collect();
    names.map(|names| names.join(", "))
}

fn capitalised(word: &str) -> String {
    with_first(word, |c| c.to_uppercase().collect())
}

fn uncapitalised(word: &str) -> String {
    with_first(word, |c| c.to_lowercase().collect())
}

fn with_first(word: &str, change: impl Fn(char) -> String) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(change).unwrap_or_default();
    first + letters.as_str()
}
