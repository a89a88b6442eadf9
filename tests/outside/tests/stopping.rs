//! A run can be stopped at any moment, by anyone who may, within two seconds, whatever the partner does.

use geonature_simulator::{Fault, Route, Rule, Simulator};
use gn_harvest_outside::{Cluster, Database, describe};
use postgres::NoTls;

use crate::support::*;

const NO_WORKER: &str = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity
    WHERE backend_type = 'gn_harvest run' AND datname = current_database())";

/// The partner's answer to an export is under way.
fn is_asked(partner: &Simulator, times: u64) {
    until(60, "the partner is asked", || {
        let figures = partner.figures();
        figures.requests >= times
    });
}

/// The run ended as cancelled within the two seconds that are promised, and its worker is gone.
fn assert_cancelled(database: &Database, run: i64, asked_at: &str) {
    let row = ended(database, run);
    assert_eq!(
        (text(&row, "status"), text(&row, "error_sqlstate")),
        ("cancelled", "57014"),
        "{row:?}"
    );
    assert_eq!(
        database.value(&format!("SELECT finished_at - '{asked_at}' < interval '2 seconds' FROM gn_harvest.run_history WHERE run = {run}")),
        "t",
        "{row:?}, asked at {asked_at}"
    );
    database.wait_until(2, NO_WORKER);
}

fn now(database: &Database) -> String {
    database.value("SELECT clock_timestamp()")
}

fn hang() -> Rule {
    Rule::always(Route::Export, Fault::Hang)
}

#[test]
fn a_hung_partner_is_left_within_two_seconds_of_a_cancel() {
    let wait_long = Fault::Status {
        status: 503,
        retry_after: Some("200".to_owned()),
        retry_after_date: None,
        json: true,
    };
    let cases = [
        ("at its first answer", hang(), 1),
        ("while it reads", hang().after(5), 6),
        (
            "in a body",
            Rule::always(Route::Export, Fault::HangInBody { after_bytes: 3000 }).after(5),
            6,
        ),
        (
            "in an endless body",
            Rule::always(Route::Export, Fault::SlowBody { seconds: 600.0 }),
            1,
        ),
        (
            "while it waits for Retry-After",
            Rule::always(Route::Export, wait_long),
            1,
        ),
    ];
    let database = cluster().database();
    for (number, (what, rule, requests)) in cases.into_iter().enumerate() {
        let partner = partner(400);
        let name = format!("source {number}");
        add_source(&database, &name, &partner, 3, "page_size => 50");
        partner.add_fault(rule);
        let run = start(&database, &name, "auto");
        is_asked(&partner, requests);
        let asked_at = now(&database);
        assert_eq!(
            database.value(&format!("SELECT gn_harvest.cancel({run})")),
            "t",
            "{what}"
        );
        assert_cancelled(&database, run, &asked_at);
        assert_eq!(
            database.value(&format!("SELECT gn_harvest.cancel({run})")),
            "f",
            "{what}"
        );
    }
}

#[test]
fn a_hung_login_is_left_within_two_seconds_of_a_cancel() {
    let database = cluster().database();
    let partner = partner(10);
    add_source_by_login(
        &database,
        "cen",
        &partner,
        3,
        ("moissonneur", "moissonneur"),
        "",
    );
    partner.add_fault(Rule::always(Route::Login, Fault::Hang));
    let run = start(&database, "cen", "auto");
    is_asked(&partner, 1);
    let asked_at = now(&database);
    database.run(&format!("SELECT gn_harvest.cancel({run})"));
    assert_cancelled(&database, run, &asked_at);
}

#[test]
fn a_run_that_waits_for_a_lock_in_the_target_is_cancelled_within_two_seconds() {
    let database = cluster().database();
    let partner = partner(100);
    add_source(&database, "cen", &partner, 3, "");
    let mut session = database.connect();
    let mut holding = session.transaction().expect("a transaction");
    holding
        .batch_execute("LOCK TABLE gn_synthese.synthese IN ACCESS EXCLUSIVE MODE")
        .expect("the lock");
    let run = start(&database, "cen", "auto");
    database.wait_until(
        60,
        "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'gn_synthese.synthese'::regclass)",
    );
    let asked_at = now(&database);
    database.run(&format!("SELECT gn_harvest.cancel({run})"));
    assert_cancelled(&database, run, &asked_at);
    holding.rollback().expect("a rollback");
    run_well(&database, "cen", "auto");
    assert_complete(&database, "cen", &partner);
}

#[test]
fn a_run_cancelled_many_times_over_is_still_closed_as_cancelled() {
    let database = cluster().database();
    let partner = partner(10);
    add_source(&database, "cen", &partner, 3, "");
    partner.add_fault(hang());
    for round in 1..=5 {
        let run = start(&database, "cen", "auto");
        is_asked(&partner, round);
        // Until nothing is left to cancel: some of these reach a worker that is writing how it ended.
        database.run(&format!(
            "DO $$ BEGIN WHILE gn_harvest.cancel({run}) LOOP PERFORM pg_stat_clear_snapshot(); END LOOP; END $$"
        ));
        let row = ended(&database, run);
        assert_eq!(text(&row, "status"), "cancelled", "{row:?}");
        database.wait_until(2, NO_WORKER);
    }
}

#[test]
fn the_callers_statement_timeout_stops_the_run() {
    let database = cluster().database();
    let partner = partner(400);
    add_source(&database, "cen", &partner, 3, "page_size => 50");
    partner.add_fault(hang().after(5));
    let mut caller = database.connect();
    caller
        .batch_execute("SET statement_timeout = '3s'")
        .expect("a setting");
    let error = caller
        .batch_execute("SELECT gn_harvest.run('cen')")
        .expect_err("a time-out");
    let asked_at = now(&database);
    assert!(describe(&error).starts_with("57014: canceling statement due to statement timeout"));
    let run = database.number("SELECT max(run) FROM gn_harvest.run_history");
    assert_cancelled(&database, run, &asked_at);
    partner.clear_faults();
    run_well(&database, "cen", "auto");
    assert_complete(&database, "cen", &partner);
}

#[test]
fn the_callers_own_cancel_stops_the_run_or_the_check() {
    let database = cluster().database();
    let partner = partner(400);
    add_source(&database, "cen", &partner, 3, "page_size => 50");
    let calls = [
        ("SELECT gn_harvest.run('cen')", 6),
        ("SELECT gn_harvest.run_all()", 6),
        ("SELECT * FROM gn_harvest.check_source('cen')", 2),
    ];
    for (call, requests) in calls {
        for by_backend in [true, false] {
            partner.set_faults(vec![hang().after(requests - 1)]);
            partner.clear_figures();
            database.run("SELECT gn_harvest.alter_source('cen', export_id => 2); SELECT gn_harvest.alter_source('cen', export_id => 3)");
            let mut caller = database.connect();
            let pid = caller
                .query_one("SELECT pg_backend_pid()", &[])
                .expect("a pid")
                .get::<_, i32>(0);
            let token = caller.cancel_token();
            let waiting = std::thread::spawn(move || caller.batch_execute(call));
            is_asked(&partner, requests);
            let asked_at = now(&database);
            if by_backend {
                database.run(&format!("SELECT pg_cancel_backend({pid})"));
            } else {
                token.cancel_query(NoTls).expect("a cancel");
            }
            let error = waiting.join().expect("a thread").expect_err("a cancel");
            assert!(
                describe(&error).starts_with("57014: canceling statement due to user request"),
                "{call}: {}",
                describe(&error)
            );
            if call.contains("check") {
                database.wait_until(2, NO_WORKER);
            } else {
                let run = database.number("SELECT max(run) FROM gn_harvest.run_history");
                assert_cancelled(&database, run, &asked_at);
            }
        }
    }
}

#[test]
fn no_worker_goes_on_after_a_caller_who_gave_up_at_once() {
    let database = cluster().database();
    let partner = partner(10);
    add_source(&database, "cen", &partner, 3, "");
    partner.add_fault(hang());
    let mut caller = database.connect();
    for round in 0..30 {
        // From before the worker is started until it has begun.
        let patience = 1 + round % 10 * 3;
        caller
            .batch_execute(&format!("SET statement_timeout = '{patience}ms'"))
            .expect("a setting");
        let error = caller
            .batch_execute("SELECT gn_harvest.run('cen')")
            .expect_err("a time-out");
        assert!(
            describe(&error).starts_with("57014"),
            "{}",
            describe(&error)
        );
        database.wait_until(5, NO_WORKER);
    }
    assert_eq!(
        database.value("SELECT count(*) FROM gn_harvest.run_history WHERE status NOT IN ('cancelled', 'interrupted')"),
        "0"
    );
}

#[test]
fn a_caller_who_stops_waiting_for_a_run_does_not_stop_it() {
    let database = cluster().database();
    let partner = partner(100);
    add_source(&database, "cen", &partner, 3, "");
    partner.set_cost(0.3, 0.0);
    let run = start(&database, "cen", "auto");
    let error = database.error(&format!(
        "SET statement_timeout = '100ms'; SELECT gn_harvest.wait_for({run})"
    ));
    assert!(error.starts_with("57014"), "{error}");
    let row = database.row(&format!("SELECT * FROM gn_harvest.wait_for({run})"));
    assert_eq!(text(&row, "status"), "succeeded", "{row:?}");
    // A wait that has its own limit says how it stands when that is over.
    partner.set_faults(vec![hang()]);
    let run = start(&database, "cen", "auto");
    let row = database.row(&format!(
        "SELECT * FROM gn_harvest.wait_for({run}, timeout => interval '300 milliseconds')"
    ));
    assert_eq!(text(&row, "status"), "running", "{row:?}");
    database.run(&format!("SELECT gn_harvest.cancel({run})"));
    assert_eq!(text(&ended(&database, run), "status"), "cancelled");
}

#[test]
fn a_worker_that_was_not_started_yet_when_its_caller_gave_up_never_works() {
    // A cluster of its own: its postmaster is held, so that it starts nobody for a while.
    let cluster = Cluster::temporary(&[]);
    let database = cluster.empty_database();
    database.run("CREATE EXTENSION gn_harvest");
    let partner = partner(10);
    add_source(&database, "cen", &partner, 3, "");
    let postmaster: i32 = database
        .value("SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)")
        .parse()
        .expect("a pid");
    let mut caller = database.connect();
    caller
        .batch_execute("SET statement_timeout = '300ms'")
        .expect("a setting");
    // SAFETY: signals to a process of this test's own.
    let signal = |signal| unsafe { libc::kill(postmaster, signal) };
    signal(libc::SIGSTOP);
    let error = caller
        .batch_execute("SELECT gn_harvest.run('cen')")
        .expect_err("a time-out");
    signal(libc::SIGCONT);
    assert!(
        describe(&error).starts_with("57014"),
        "{}",
        describe(&error)
    );
    // The next worker comes after whatever the postmaster still had to start.
    let row = run(&database, "cen", "auto");
    assert_eq!(number(&row, "run"), 2, "{row:?}");
    database.wait_until(5, NO_WORKER);
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.run_history"),
        1
    );
    assert!(!cluster.log().contains("run 1"), "{}", cluster.log());
}
