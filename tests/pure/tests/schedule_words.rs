//! Schedules as people write them, refused or understood, and said again in words.

use gn_harvest_pure::schedule::{Schedule, frequency, zone};
use jiff::Timestamp;
use proptest::prelude::*;

fn in_words(text: &str, french: bool) -> String {
    let schedule = Schedule::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
    frequency(&schedule, None, french)
}

#[rustfmt::skip]
const UNDERSTOOD: &[(&str, &str, &str)] = &[
    ("manual", "Manual", "Manuelle"),
    (" Manuelle ", "Manual", "Manuelle"),
    ("every 30 minutes", "Every 30 minutes", "Toutes les 30 minutes"),
    ("toutes les 45 minutes", "Every 45 minutes", "Toutes les 45 minutes"),
    ("every minute", "Every minute", "Toutes les minutes"),
    ("every 6 hours", "Every 6 hours", "Toutes les 6 heures"),
    ("toutes les heures", "Every hour", "Toutes les heures"),
    ("hourly", "Every hour", "Toutes les heures"),
    ("daily 03:00", "Daily – 03:00", "Quotidienne – 03:00"),
    ("DAILY  at 3:05", "Daily – 03:05", "Quotidienne – 03:05"),
    ("quotidienne 3h05", "Daily – 03:05", "Quotidienne – 03:05"),
    ("tous les jours à 23h", "Daily – 23:00", "Quotidienne – 23:00"),
    ("chaque jour", "Daily – 03:00", "Quotidienne – 03:00"),
    ("weekly monday 03:00", "Weekly – Monday", "Hebdomadaire – Lundi"),
    ("hebdomadaire le dimanche à 02:30", "Weekly – Sunday", "Hebdomadaire – Dimanche"),
    ("weekly mon,thu 04:00", "Weekly – Monday, Thursday", "Hebdomadaire – Lundi, Jeudi"),
    ("every friday at 22:00", "Weekly – Friday", "Hebdomadaire – Vendredi"),
    ("tous les mardis 03:00", "Weekly – Tuesday", "Hebdomadaire – Mardi"),
    ("monthly 1 03:00", "Monthly – Day 01", "Mensuelle – Jour 01"),
    ("mensuelle le 15 à 04:00", "Monthly – Day 15", "Mensuelle – Jour 15"),
    ("mensuelle jour 1er", "Monthly – Day 01", "Mensuelle – Jour 01"),
    ("monthly last 03:00", "Monthly – Last day", "Mensuelle – Dernier jour"),
    ("0 3 * * *", "Daily – 03:00", "Quotidienne – 03:00"),
    ("0 3 1 * *", "Monthly – Day 01", "Mensuelle – Jour 01"),
    ("0 3 * * 7", "Weekly – Sunday", "Hebdomadaire – Dimanche"),
    ("0 3 * * 1-5", "At 03:00, on Monday, Tuesday, Wednesday, Thursday, and Friday", "À 03:00, le lundi, mardi, mercredi, jeudi et vendredi"),
    ("*/20 * * * *", "Every 20 minutes", "Toutes les 20 minutes"),
    ("0 */6 * * *", "Every 6 hours", "Toutes les 6 heures"),
    ("*/7 * * * *", "At every 7 minutes", "Toutes les 7 minutes"),
    ("*/20 8-9 * * *", "At every 20 minutes, of hour 8 and 9", "Toutes les 20 minutes, des heures 8 et 9"),
    ("0 3 1 1,7 *", "At 03:00, on day 1, in January and July", "À 03:00, le jour 1, en janvier et juillet"),
    ("@daily", "Daily – 00:00", "Quotidienne – 00:00"),
];

#[test]
fn words_and_cron_expressions_are_understood_and_said_again_in_both_languages() {
    for (text, english, french) in UNDERSTOOD.iter() {
        assert_eq!(
            (
                in_words(text, false).as_str(),
                in_words(text, true).as_str()
            ),
            (*english, *french),
            "{text}"
        );
    }
}

#[test]
fn two_schedules_of_a_source_are_said_together() {
    let daily = Schedule::parse("daily 03:00").expect("a schedule");
    let monthly = Schedule::parse("monthly 1 04:00").expect("a schedule");
    assert_eq!(
        frequency(&daily, Some(&monthly), true),
        "Quotidienne – 03:00 ; réconciliation : mensuelle – Jour 01"
    );
    assert_eq!(
        frequency(&daily, Some(&monthly), false),
        "Daily – 03:00; reconciliation: monthly – Day 01"
    );
}

#[test]
fn what_is_not_understood_is_refused_and_says_why() {
    for (text, why) in [
        ("", "empty"),
        ("   ", "empty"),
        ("sometimes", "begins no schedule"),
        ("manual 03:00", "begins no schedule"),
        ("every", "every what"),
        ("every 0 minutes", "1 minute to 7 days"),
        ("every 8 fortnights", "goes with minutes"),
        ("every -5 minutes", "goes with minutes"),
        ("every 99999999999999999999 minutes", "no whole number"),
        ("every 9223372036854775807 hours", "1 minute to 7 days"),
        ("every 30 minutes 03:00", "goes with minutes"),
        ("daily 24:00", "no time of day"),
        ("daily 3", "no time of day"),
        ("daily 03:00 04:00", "too much"),
        ("daily 03:0", "no time of day"),
        ("weekly someday 03:00", "no day of the week"),
        ("monthly 0 03:00", "no day of the month"),
        ("monthly 31 03:00", "monthly last"),
        ("0 3 * *", "five fields"),
        ("0 0 3 * * *", "five fields"),
        ("61 3 * * *", "cron expression"),
        ("0 3 31 2 *", "no such date"),
        ("0 3 ? * funday", "cron expression"),
        ("@never", "cron expression"),
    ] {
        let refused = Schedule::parse(text).expect_err(text);
        assert!(refused.0.contains(why), "{text}: {refused}");
    }
}

proptest! {
    #[test]
    fn no_text_whatever_breaks_the_parser(text in "\\PC{0,60}") {
        let _ = Schedule::parse(&text);
    }

    #[test]
    fn what_looks_like_a_schedule_never_breaks_it(text in "(every|toutes les|daily|weekly|monthly|[0-9*/,-]{1,5}) [a-z0-9:é*/,L#-]{0,8} ?[0-9:h*]{0,6} ?[*0-9L]{0,2} ?[*0-9]{0,2}") {
        if let Ok(schedule) = Schedule::parse(&text) {
            let paris = zone("Europe/Paris").expect("a time zone");
            let now = Timestamp::from_second(1_800_000_000).expect("a moment");
            prop_assert!(!frequency(&schedule, Some(&schedule), true).is_empty());
            if let Some(next) = schedule.next(now, &paris) {
                prop_assert!(next > now);
            }
        }
    }
}
