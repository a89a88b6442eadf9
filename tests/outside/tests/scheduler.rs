//! What is due runs by itself: schedules, their order and limits, on a real server whose clock is set.

use geonature_simulator::{Fault, Route, Rule};
use gn_harvest_outside::Database;

use crate::clockwork::*;
use crate::support::*;

fn hang() -> Rule {
    Rule::always(Route::Export, Fault::Hang)
}

/// Sources with a run that goes on, in order of name.
fn working(database: &Database) -> String {
    database.value(
        "SELECT coalesce(string_agg(source, ' ' ORDER BY source), '') FROM gn_harvest.run_progress",
    )
}

#[test]
fn what_is_due_runs_by_itself_in_every_database_without_a_list_or_a_restart() {
    let cluster = scheduling(&[]);
    let partner = partner(40);
    set_clock(&cluster, "2026-03-10T12:00:00Z");
    let first = cluster.database();
    let second = cluster.database();
    for database in [&first, &second] {
        add_source(database, "cen", &partner, 3, "schedule => 'daily 03:00'");
    }
    let next = "SELECT next_run AT TIME ZONE 'Europe/Paris' FROM gn_harvest.source_status";
    wait_for_visits(&first, 2);
    assert_eq!(runs(&first, "cen") + runs(&second, "cen"), 0, "not due yet");
    assert_eq!(first.value(next), "2026-03-11 03:00:00");
    set_clock(&cluster, "2026-03-11T02:00:30Z");
    for database in [&first, &second] {
        wait_for_runs(database, "cen", "succeeded", 1);
        let run = database.row("SELECT * FROM gn_harvest.run_history");
        assert_eq!(
            (text(&run, "started_by"), text(&run, "mode")),
            ("scheduler", "full")
        );
        assert_complete(database, "cen", &partner);
    }
    // A database, and the extension in it, made while the launcher lives.
    let third = cluster.database();
    add_source(&third, "cen", &partner, 3, "schedule => 'every 30 minutes'");
    set_clock(&cluster, "2026-03-15T12:00:00Z");
    wait_for_runs(&third, "cen", "succeeded", 1);
    wait_for_runs(&first, "cen", "succeeded", 2);
    wait_for_visits(&first, 2);
    assert_eq!(
        (runs(&first, "cen"), runs(&third, "cen")),
        (2, 1),
        "ticks that were missed are one"
    );
    assert_eq!(first.value(next), "2026-03-16 03:00:00");
}

#[test]
fn over_a_change_of_clocks_each_day_has_one_run() {
    let cluster = scheduling(&[]);
    let partner = partner(5);
    // 02:30 does not exist on 29 March 2026, and comes twice on 25 October.
    for (moments, expected) in [
        (
            [
                "2026-03-28T01:31:00Z",
                "2026-03-29T00:59:00Z",
                "2026-03-29T01:00:10Z",
                "2026-03-29T01:31:00Z",
                "2026-03-30T00:31:00Z",
            ],
            [1, 1, 2, 2, 3],
        ),
        (
            [
                "2026-10-24T00:31:00Z",
                "2026-10-25T00:29:00Z",
                "2026-10-25T00:31:00Z",
                "2026-10-25T01:31:00Z",
                "2026-10-26T01:31:00Z",
            ],
            [1, 1, 2, 2, 3],
        ),
    ] {
        let day_before = moments[0].replace("T0", "T00:00:00Z ");
        set_clock(&cluster, day_before.split(' ').next().expect("a moment"));
        let database = cluster.database();
        add_source(&database, "cen", &partner, 3, "schedule => 'daily 02:30'");
        for (moment, count) in moments.iter().zip(expected) {
            set_clock(&cluster, moment);
            wait_for_visits(&database, 1);
            wait_for_runs(&database, "cen", "succeeded", count);
        }
    }
}

#[test]
fn a_reconciliation_that_is_due_goes_first_and_settles_both() {
    let cluster = scheduling(&[]);
    let database = cluster.database();
    let partner = partner(100);
    set_clock(&cluster, "2026-03-31T12:00:00Z");
    add_source(
        &database,
        "cen",
        &partner,
        3,
        "schedule => 'daily 03:00', reconcile_schedule => 'monthly 1 03:00'",
    );
    run_well(&database, "cen", "full");
    partner.delete(&partner.ids()[..5]);
    set_clock(&cluster, "2026-04-01T01:05:00Z");
    wait_for_runs(&database, "cen", "succeeded", 2);
    wait_for_visits(&database, 2);
    let last =
        "SELECT mode, deleted, started_by FROM gn_harvest.run_history ORDER BY run DESC LIMIT 1";
    let run = database.row(last);
    assert_eq!(
        (
            text(&run, "mode"),
            number(&run, "deleted"),
            text(&run, "started_by")
        ),
        ("reconcile", 5, "scheduler")
    );
    assert_eq!(runs(&database, "cen"), 2, "once for both");
    set_clock(&cluster, "2026-04-02T01:05:00Z");
    wait_for_runs(&database, "cen", "succeeded", 3);
    assert_eq!(text(&database.row(last), "mode"), "incremental");
}

#[test]
fn runs_start_up_to_the_limit_by_priority_and_a_change_of_it_counts_at_once() {
    let cluster = scheduling(&[("gn_harvest.max_concurrent_runs", "1")]);
    let database = cluster.database();
    let partner = partner(20);
    partner.add_fault(hang());
    set_clock(&cluster, "2026-03-10T12:00:00Z");
    for (name, options) in [
        ("later", "schedule => 'daily 03:10'"),
        ("earlier", "schedule => 'daily 03:00'"),
        ("last", "schedule => 'daily 03:00', priority => 200"),
        ("first", "schedule => 'daily 03:30', priority => 1"),
    ] {
        add_source(&database, name, &partner, 3, options);
    }
    set_clock(&cluster, "2026-03-11T02:35:00Z");
    database.wait_until(60, "SELECT count(*) = 1 FROM gn_harvest.run_progress");
    wait_for_visits(&database, 2);
    assert_eq!(working(&database), "first");
    set(&cluster, "gn_harvest.max_concurrent_runs", "3");
    database.wait_until(60, "SELECT count(*) = 3 FROM gn_harvest.run_progress");
    wait_for_visits(&database, 2);
    assert_eq!(working(&database), "earlier first later");
    assert_eq!(
        database.value(
            "SELECT runs_going_on || ' of ' || max_concurrent_runs FROM gn_harvest.scheduler_status"
        ),
        "3 of 3"
    );
    assert_eq!(
        database.value(
            "SELECT next_run AT TIME ZONE 'UTC' FROM gn_harvest.source_status WHERE source = 'last'"
        ),
        "2026-03-11 02:00:00",
        "it waits since then"
    );
    set(&cluster, "gn_harvest.max_concurrent_runs", "0");
    partner.clear_faults();
    database.run("SELECT gn_harvest.cancel(run) FROM gn_harvest.run_progress");
    database.wait_until(60, "SELECT count(*) = 0 FROM gn_harvest.run_progress");
    wait_for_visits(&database, 2);
    assert_eq!(runs(&database, "last"), 0, "none starts");
    set(&cluster, "gn_harvest.max_concurrent_runs", "1");
    wait_for_runs(&database, "last", "succeeded", 1);
    assert_eq!(
        runs(&database, "first"),
        1,
        "cancelled by a person: not taken up"
    );
}

#[test]
fn a_source_has_one_run_at_a_time_and_what_became_due_meanwhile_runs_after_it() {
    let cluster = scheduling(&[]);
    let database = cluster.database();
    let partner = partner(20);
    add_source(&database, "cen", &partner, 3, "schedule => 'daily 03:00'");
    partner.add_fault(hang());
    let manual = start(&database, "cen", "full");
    make_due(&database, "cen");
    wait_for_visits(&database, 3);
    assert_eq!(runs(&database, "cen"), 1);
    partner.clear_faults();
    database.run(&format!("SELECT gn_harvest.cancel({manual})"));
    wait_for_runs(&database, "cen", "succeeded", 1);
    wait_for_visits(&database, 2);
    assert_eq!(runs(&database, "cen"), 2);
}

#[test]
fn two_workers_for_one_tick_make_one_run() {
    let cluster = scheduling(&[]);
    let database = cluster.database();
    let partner = partner(20);
    add_source(&database, "cen", &partner, 3, "schedule => 'daily 03:00'");
    // Workers stand before this table, before they have taken the source; the visitor does not need it.
    let mut session = database.connect();
    session
        .batch_execute("BEGIN; LOCK TABLE gn_harvest.credential IN ACCESS EXCLUSIVE MODE")
        .expect("a lock");
    make_due(&database, "cen");
    database.wait_until(60, "SELECT count(*) = 2 FROM pg_stat_activity WHERE backend_type = 'gn_harvest run' AND wait_event_type = 'Lock'");
    session.batch_execute("COMMIT").expect("the end of it");
    wait_for_runs(&database, "cen", "succeeded", 1);
    wait_for_visits(&database, 3);
    assert_eq!(runs(&database, "cen"), 1);
}

#[test]
fn paused_sources_and_allowed_hours_are_respected() {
    let cluster = scheduling(&[]);
    let database = cluster.database();
    let partner = partner(200);
    set_clock(&cluster, "2026-03-10T12:00:00Z");
    add_source(
        &database,
        "paused",
        &partner,
        3,
        "schedule => 'daily 03:00'",
    );
    add_source(
        &database,
        "nightly",
        &partner,
        3,
        "schedule => 'daily 12:30', allowed_hours => '20:00-06:00', page_size => 20, connections => 1",
    );
    database.run("SELECT gn_harvest.pause_source('paused')");
    let next = |source: &str| {
        database.value(&format!("SELECT next_run AT TIME ZONE 'Europe/Paris' FROM gn_harvest.source_status WHERE source = '{source}'"))
    };
    assert_eq!(
        (next("paused").as_str(), next("nightly").as_str()),
        ("", "2026-03-11 20:00:00")
    );
    set_clock(&cluster, "2026-03-11T12:00:00Z");
    wait_for_visits(&database, 2);
    assert_eq!(runs(&database, "paused") + runs(&database, "nightly"), 0);
    // The hours begin, in the middle of the run they end, and in the evening it goes on.
    let five = Rule::always(Route::Export, Fault::Slow { seconds: 1.0 });
    partner.add_fault(five.with_query("filter_n_up_").after(2));
    set_clock(&cluster, "2026-03-11T19:00:10Z");
    database.wait_until(
        60,
        "SELECT pages > 0 FROM gn_harvest.run_history WHERE source = 'nightly'",
    );
    set_clock(&cluster, "2026-03-12T05:00:10Z");
    wait_for_runs(&database, "nightly", "interrupted", 1);
    partner.clear_faults();
    wait_for_visits(&database, 2);
    assert_eq!(runs(&database, "nightly"), 1, "not before the evening");
    assert_eq!(next("nightly"), "2026-03-12 20:00:00");
    set_clock(&cluster, "2026-03-12T19:00:10Z");
    wait_for_runs(&database, "nightly", "succeeded", 1);
    assert_complete(&database, "nightly", &partner);
    let resumed =
        database.row("SELECT resumes, mode FROM gn_harvest.run_history ORDER BY run DESC LIMIT 1");
    assert!(number(&resumed, "resumes") > 0, "{resumed:?}");
    // Resumed: what its schedule wanted while it was paused is not made up for.
    database.run("SELECT gn_harvest.resume_source('paused')");
    wait_for_visits(&database, 2);
    assert_eq!(runs(&database, "paused"), 0);
    assert_eq!(next("paused"), "2026-03-13 03:00:00");
}

/// A month of the planner on real rows, an hour at a time: each schedule with what it is to have had.
#[test]
fn a_month_passes_in_a_moment() {
    let cluster = scheduling(&[("gn_harvest.naptime", "1h")]);
    let database = cluster.database();
    let schedules: [(&str, i64, i64); 8] = [
        ("daily 02:30", 31, 31),
        ("daily 03:00", 31, 31),
        ("weekly sunday 02:30", 5, 4),
        ("weekly monday 03:00", 5, 4),
        ("monthly 1 03:00", 1, 1),
        ("monthly last 23:00", 1, 1),
        ("0 3 * * 1-5", 22, 22),
        ("every 6 hours", 124, 124),
    ];
    for (number, (schedule, ..)) in schedules.iter().enumerate() {
        database.run(&format!("SELECT gn_harvest.add_source('s{number}', 'https://geonature.example.org', 3, schedule => '{schedule}')"));
    }
    for (from, to, march) in [
        (
            "2026-03-01 00:00 Europe/Paris",
            "2026-04-01 00:00 Europe/Paris",
            true,
        ),
        (
            "2026-10-01 00:00 Europe/Paris",
            "2026-11-01 00:00 Europe/Paris",
            false,
        ),
    ] {
        let mut session = database.connect();
        session
            .batch_execute(&format!(
                "SELECT set_config('gn_harvest.clock', to_char('{from}'::timestamptz AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), false);
                 UPDATE gn_harvest.source_state SET ticks_settled_at = gn_harvest.clock(), reconciles_settled_at = gn_harvest.clock();
                 CREATE TEMP TABLE IF NOT EXISTS ticked (source_id integer, at timestamptz);
                 TRUNCATE ticked;
                 DO $$ DECLARE t timestamptz; BEGIN
                     FOR t IN SELECT generate_series('{from}'::timestamptz, '{to}'::timestamptz - interval '1 minute', interval '30 minutes') LOOP
                         PERFORM set_config('gn_harvest.clock', to_char(t AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), false);
                         WITH due AS (
                             UPDATE gn_harvest.source_state st SET ticks_settled_at = gn_harvest.clock()
                             FROM gn_harvest.standing g
                             WHERE g.source_id = st.source_id
                               AND gn_harvest.next_run(g.source_id, g.schedule, g.reconcile_schedule, g.jitter, g.allowed_hours,
                                   g.ticks_settled_at, g.reconciles_settled_at, g.broken_off_mode, g.broken_off_at) <= gn_harvest.clock()
                             RETURNING st.source_id)
                         INSERT INTO ticked SELECT source_id, t FROM due;
                     END LOOP;
                 END $$"
            ))
            .expect("a month");
        let counted = gn_harvest_outside::rows(
            &mut session,
            "SELECT s.schedule, count(k.at) AS ticks FROM gn_harvest.source s LEFT JOIN ticked k ON k.source_id = s.id GROUP BY s.id ORDER BY s.id",
        );
        for ((schedule, in_march, in_october), row) in schedules.iter().zip(&counted) {
            // From the first moment of the month on: "every 6 hours" ticked at it.
            let expected = if march { *in_march } else { *in_october };
            let found = number(row, "ticks");
            let whole = *schedule == "every 6 hours";
            assert!(
                found == expected || whole && (found - expected).abs() <= 1,
                "{schedule}, from {from}: {found}, not {expected}"
            );
        }
    }
}

#[test]
fn the_time_zone_is_that_of_the_server_whatever_a_session_or_a_database_has_set() {
    let cluster = scheduling(&[
        ("gn_harvest.timezone", ""),
        ("timezone", "Indian/Reunion"),
        ("log_timezone", "UTC"),
    ]);
    let database = cluster.database();
    database.run(&format!(
        "ALTER DATABASE {} SET timezone = 'America/Martinique'",
        database.name
    ));
    wait_for_visits(&database, 0);
    let next =
        "SELECT gn_harvest.next_tick('daily 03:00', '2026-03-01 00:00+00') AT TIME ZONE 'UTC'";
    assert_eq!(database.value(next), "2026-03-01 23:00:00");
    set(&cluster, "gn_harvest.timezone", "Europe/Paris");
    until(60, "the other time zone", || {
        database.value(next) == "2026-03-01 02:00:00"
    });
    let error = database.error("ALTER SYSTEM SET gn_harvest.timezone = 'Europe/Pari'");
    assert!(
        error.starts_with("22023: ") && error.contains("HINT: Give a name such as 'Europe/Paris'"),
        "{error}"
    );
    let error = database.error("SET gn_harvest.clock = 'noon'");
    assert!(
        error.starts_with("22023: ") && error.contains("HINT: "),
        "{error}"
    );
}
