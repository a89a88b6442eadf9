//! When ticks come: months of them over changes of clocks, allowed hours, jitter, and what is due after a pause.

use std::time::Duration;

use gn_harvest_pure::schedule::{Due, Hours, Mode, Schedule, Standing, delay, zone};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;

fn paris() -> TimeZone {
    zone("Europe/Paris").expect("a time zone")
}

fn at(text: &str) -> Timestamp {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn local(moment: Timestamp) -> String {
    moment
        .to_zoned(paris())
        .strftime("%Y-%m-%d %H:%M%:z")
        .to_string()
}

/// The ticks from one moment to another, as the scheduler meets them: each settles the next.
fn ticks(schedule: &str, from: &str, to: &str) -> Vec<String> {
    let schedule = Schedule::parse(schedule).expect("a schedule");
    let (mut last, to) = (at(from), at(to));
    let mut found = Vec::new();
    while let Some(next) = schedule.next(last, &paris()).filter(|next| *next <= to) {
        found.push(local(next));
        last = next;
    }
    found
}

#[test]
fn a_time_that_does_not_exist_runs_once_at_the_first_that_does() {
    // 29 March 2026: 02:00 becomes 03:00.
    assert_eq!(
        ticks(
            "daily 02:30",
            "2026-03-28T00:00:00Z",
            "2026-03-31T00:00:00Z"
        ),
        [
            "2026-03-28 02:30+01:00",
            "2026-03-29 03:00+02:00",
            "2026-03-30 02:30+02:00"
        ]
    );
    assert_eq!(
        ticks(
            "weekly sunday 02:30",
            "2026-03-28T00:00:00Z",
            "2026-04-06T00:00:00Z"
        ),
        ["2026-03-29 03:00+02:00", "2026-04-05 02:30+02:00"]
    );
    assert_eq!(
        ticks(
            "daily 02:00",
            "2026-03-28T12:00:00Z",
            "2026-03-29T22:00:00Z"
        ),
        ["2026-03-29 03:00+02:00"]
    );
}

#[test]
fn a_time_that_comes_twice_runs_once() {
    // 25 October 2026: 03:00 becomes 02:00.
    assert_eq!(
        ticks(
            "daily 02:30",
            "2026-10-24T00:00:00Z",
            "2026-10-27T00:00:00Z"
        ),
        [
            "2026-10-24 02:30+02:00",
            "2026-10-25 02:30+02:00",
            "2026-10-26 02:30+01:00"
        ]
    );
    // Settled between the two 02:30: the second is not another one.
    let daily = Schedule::parse("daily 02:30").expect("a schedule");
    assert_eq!(
        daily.next(at("2026-10-25T00:45:00Z"), &paris()).map(local),
        Some("2026-10-26 02:30+01:00".to_owned())
    );
}

#[test]
fn an_interval_keeps_its_distance_whatever_clocks_do() {
    for (from, to) in [
        ("2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z"),
        ("2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z"),
    ] {
        assert_eq!(ticks("every 30 minutes", from, to).len(), 48);
        assert_eq!(ticks("every 6 hours", from, to).len(), 4);
    }
}

#[test]
fn a_month_has_its_days_its_weeks_and_its_first() {
    for (from, to, days) in [
        ("2026-03-01T00:00:00+01:00", "2026-03-31T23:59:59+02:00", 31),
        ("2026-10-01T00:00:00+02:00", "2026-10-31T23:59:59+01:00", 31),
        ("2028-02-01T00:00:00+01:00", "2028-02-29T23:59:59+01:00", 29),
    ] {
        assert_eq!(ticks("daily 02:30", from, to).len(), days);
        assert_eq!(ticks("monthly 1 03:00", from, to).len(), 1);
        assert_eq!(ticks("monthly last 03:00", from, to).len(), 1);
        assert!((4..=5).contains(&ticks("weekly monday 02:30", from, to).len()));
    }
    assert_eq!(
        ticks(
            "0 3 * * 1-5",
            "2026-03-01T00:00:00Z",
            "2026-03-31T22:00:00Z"
        )
        .len(),
        22
    );
}

fn standing(schedule: &str, reconcile: Option<&str>, settled: &str) -> Standing {
    Standing {
        source_id: 7,
        schedule: Schedule::parse(schedule).expect("a schedule"),
        reconcile: reconcile.map(|text| Schedule::parse(text).expect("a schedule")),
        jitter: Duration::ZERO,
        hours: None,
        settled: at(settled),
        reconciled: at(settled),
        broken_off: None,
    }
}

#[test]
fn missed_ticks_are_one() {
    let source = standing("daily 03:00", None, "2026-03-01T12:00:00Z");
    let now = at("2026-03-20T12:00:00Z");
    let due = source.due(now, &paris()).expect("it is due");
    assert_eq!(
        local(due.at),
        "2026-03-02 03:00+01:00",
        "since the first missed one"
    );
    let settled = Standing {
        settled: now,
        ..source
    };
    assert_eq!(settled.due(now, &paris()), None);
    assert_eq!(
        settled.next(now, &paris()).map(|due| local(due.at)),
        Some("2026-03-21 03:00+01:00".to_owned())
    );
}

#[test]
fn a_reconciliation_wins_over_what_is_due_at_the_same_time() {
    let source = standing(
        "daily 03:00",
        Some("monthly 1 03:00"),
        "2026-03-31T12:00:00Z",
    );
    let due = source.due(at("2026-04-01T01:00:00Z"), &paris());
    assert_eq!(
        due,
        Some(Due {
            at: at("2026-04-01T01:00:00Z"),
            mode: Mode::Reconcile
        })
    );
    let ordinary = source
        .next(at("2026-03-31T12:00:00Z"), &paris())
        .expect("a next");
    assert_eq!(local(ordinary.at), "2026-04-01 03:00+02:00");
    // Reconciled only: the source is due without a schedule of its own.
    let only = standing(
        "manual",
        Some("weekly monday 03:00"),
        "2026-03-28T12:00:00Z",
    );
    assert_eq!(
        only.due(at("2026-03-30T01:00:00Z"), &paris())
            .map(|due| due.mode),
        Some(Mode::Reconcile)
    );
    assert_eq!(
        standing("manual", None, "2026-03-28T12:00:00Z").next(at("2030-01-01T00:00:00Z"), &paris()),
        None
    );
}

#[test]
fn a_tick_outside_the_allowed_hours_waits_for_them_and_runs_once() {
    let mut source = standing("every 6 hours", None, "2026-03-10T07:00:00Z");
    source.hours = Hours::parse("20:00-06:00");
    let noon = at("2026-03-10T12:30:00Z");
    assert_eq!(source.due(noon, &paris()), None, "13:30 there");
    assert_eq!(
        source.next(noon, &paris()).map(|due| local(due.at)),
        Some("2026-03-10 20:00+01:00".to_owned())
    );
    let evening = at("2026-03-10T19:00:00Z");
    assert!(source.due(evening, &paris()).is_some());
    // Passed over within the hours, met again outside: it waits too.
    source.settled = at("2026-03-10T19:10:00Z");
    let morning = at("2026-03-11T05:30:00Z");
    assert_eq!(source.due(morning, &paris()), None, "06:30 there");
    assert_eq!(
        source.next(morning, &paris()).map(|due| local(due.at)),
        Some("2026-03-11 20:00+01:00".to_owned())
    );
    // A run that the end of the hours broke off goes on when they begin again.
    source.settled = morning;
    source.broken_off = Some(("full".to_owned(), at("2026-03-11T05:00:00Z")));
    assert_eq!(source.due(noon, &paris()), None);
    assert_eq!(
        source
            .due(at("2026-03-11T19:00:00Z"), &paris())
            .map(|due| due.mode.name().to_owned()),
        Some("full".to_owned())
    );
}

#[test]
fn hours_over_a_change_of_clocks_open() {
    let hours = Hours::parse("02:15-02:45").expect("hours");
    let opening = hours.opening(at("2026-03-28T12:00:00Z"), &paris());
    assert_eq!(
        local(opening),
        "2026-03-29 03:15+02:00",
        "they do not exist that night"
    );
    let hours = Hours::parse("02:00-04:00").expect("hours");
    assert!(hours.contains("02:00".parse().expect("a time")));
    assert!(!hours.contains("04:00".parse().expect("a time")));
    for bad in [
        "",
        "20:00",
        "20h-6h:00",
        "25:00-06:00",
        "20:00-06:60",
        "a-b",
        "+1:00-02:00",
    ] {
        assert_eq!(Hours::parse(bad), None, "{bad}");
    }
}

#[test]
fn time_zones_are_those_of_the_world_and_rules_of_posix() {
    for name in [
        "Europe/Paris",
        "UTC",
        "America/Martinique",
        "Indian/Reunion",
        "CET-1CEST,M3.5.0,M10.5.0/3",
    ] {
        assert!(zone(name).is_some(), "{name}");
    }
    for name in ["", "Europe/Pari", "Nowhere", "../../etc/passwd", "3"] {
        assert!(zone(name).is_none(), "{name}");
    }
    let reunion = zone("Indian/Reunion").expect("a time zone");
    let daily = Schedule::parse("daily 03:00").expect("a schedule");
    assert_eq!(
        daily.next(at("2026-03-01T00:00:00Z"), &reunion),
        Some(at("2026-03-01T23:00:00Z"))
    );
}

const SCHEDULES: [&str; 12] = [
    "every 1 minutes",
    "every 45 minutes",
    "every 5 hours",
    "hourly",
    "daily 02:30",
    "daily 00:00",
    "weekly sunday 02:30",
    "monthly 25 02:30",
    "monthly last 02:30",
    "*/20 2,3 * * *",
    "30 2 29 3 *",
    "15 2 * 10 0",
];

proptest! {
    /// The next tick lies ahead, and nothing lies between: it is the next of every moment in between.
    #[test]
    fn the_next_tick_is_that_of_every_moment_before_it(which in 0..SCHEDULES.len(), second in 1_767_225_600i64..1_900_000_000, part in 0.0f64..1.0) {
        let schedule = Schedule::parse(SCHEDULES[which]).expect("a schedule");
        let now = Timestamp::from_second(second).expect("a moment");
        let next = schedule.next(now, &paris()).expect("a tick");
        prop_assert!(next > now);
        let between = now.as_second() + ((next.as_second() - now.as_second()) as f64 * part) as i64;
        let between = Timestamp::from_second(between.min(next.as_second() - 1)).expect("a moment");
        prop_assert_eq!(schedule.next(between, &paris()), Some(next));
    }

    /// No day without its tick and none with two, whatever clocks do.
    #[test]
    fn a_daily_schedule_ticks_once_a_day(hour in 0u8..24, minute in 0u8..60, second in 1_767_225_600i64..1_900_000_000) {
        let schedule = Schedule::parse(&format!("daily {hour:02}:{minute:02}")).expect("a schedule");
        let first = schedule.next(Timestamp::from_second(second).expect("a moment"), &paris()).expect("a tick");
        let second = schedule.next(first, &paris()).expect("a tick");
        let (first, second) = (first.to_zoned(paris()), second.to_zoned(paris()));
        prop_assert_eq!(first.date().tomorrow().expect("a day"), second.date());
    }

    #[test]
    fn jitter_is_bounded_and_the_same_for_the_same_tick(source in any::<i32>(), second in 0i64..2_000_000_000, jitter in 0u64..86_400) {
        let tick = Timestamp::from_second(second).expect("a moment");
        let jitter = Duration::from_secs(jitter);
        prop_assert!(delay(source, tick, jitter) <= jitter);
        prop_assert_eq!(delay(source, tick, jitter), delay(source, tick, jitter));
    }
}

#[test]
fn jitter_spreads_sources() {
    let tick = at("2026-03-01T02:00:00Z");
    let delays: std::collections::BTreeSet<u64> = (1..=100)
        .map(|source| delay(source, tick, Duration::from_secs(3600)).as_secs())
        .collect();
    assert!(delays.len() > 90, "{delays:?}");
    assert!(delays.iter().any(|d| *d < 600) && delays.iter().any(|d| *d > 3000));
}
