//! How runs start, are followed and waited for; what refuses to start says why and what to do.

use std::sync::Barrier;

use gn_harvest_outside::{Cluster, Database, describe};

use crate::support::*;

/// What an error says: its SQLSTATE and something to do.
fn assert_refused(error: &str, sqlstate: &str, words: &str) {
    assert!(
        error.starts_with(&format!("{sqlstate}: "))
            && error.contains(words)
            && error.contains("HINT: "),
        "{error}"
    );
}

#[test]
fn a_run_without_waiting_is_followed_and_waited_for_from_other_sessions() {
    let partner = partner(400);
    let database = cluster().database();
    add_source(
        &database,
        "cen",
        &partner,
        3,
        "page_size => 50, connections => 1",
    );
    hang_after(&partner, 3);
    let row = database.row("SELECT * FROM gn_harvest.run('cen', wait => false)");
    assert_eq!(text(&row, "status"), "running");
    assert_eq!(text(&row, "finished_at"), "");
    let run = number(&row, "run");
    database.wait_until(
        60,
        &format!("SELECT done > 0 FROM gn_harvest.run_progress WHERE run = {run}"),
    );
    let progress = database.row("SELECT p.*, a.backend_type, a.query FROM gn_harvest.run_progress p JOIN pg_stat_activity a USING (pid)");
    assert_eq!(text(&progress, "source"), "cen");
    assert_eq!(text(&progress, "mode"), "full");
    assert_eq!(text(&progress, "phase"), "harvesting");
    assert_eq!(number(&progress, "total"), 400);
    assert!((1..400).contains(&number(&progress, "done")));
    assert_eq!(number(&progress, "http_status"), 200);
    assert_ne!(text(&progress, "percent"), "");
    assert_eq!(text(&progress, "backend_type"), "gn_harvest run");
    assert!(
        text(&progress, "query").contains(&format!("run {run}")),
        "{progress:?}"
    );
    assert_eq!(database.value("SELECT gn_harvest.is_running('cen')"), "t");
    assert_eq!(
        database.value("SELECT state FROM gn_harvest.source_status"),
        "Running"
    );
    let still = database.row(&format!(
        "SELECT * FROM gn_harvest.wait_for({run}, interval '50 ms')"
    ));
    assert_eq!(text(&still, "status"), "running");
    let waited = std::thread::scope(|scope| {
        let waiting =
            scope.spawn(|| database.row(&format!("SELECT * FROM gn_harvest.wait_for({run})")));
        database.wait_until(
            30,
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'SELECT * FROM gn_harvest.wait_for%' AND state = 'active' AND datname = current_database())",
        );
        database.run(&format!("SELECT gn_harvest.cancel({run})"));
        waiting.join().expect("the one who waits")
    });
    assert_eq!(text(&waited, "status"), "cancelled");
    // Who has waited can go on at once: nothing of the run is left.
    assert_eq!(database.value("SELECT gn_harvest.is_running('cen')"), "f");
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.run_progress"),
        0
    );
    database.run("SELECT gn_harvest.drop_source('cen')");
}

#[test]
fn runs_follow_one_another_without_a_pause() {
    let partner = partner(20);
    let database = cluster().database();
    add_source(&database, "cen", &partner, 3, "");
    for _ in 0..8 {
        let run = start(&database, "cen", "auto");
        database.wait_until(
            30,
            &format!("SELECT status <> 'running' FROM gn_harvest.run_history WHERE run = {run}"),
        );
        assert_eq!(text(&history(&database, run), "status"), "succeeded");
    }
}

#[test]
fn a_source_that_is_being_harvested_is_left_alone() {
    let partner = partner(200);
    let database = cluster().database();
    add_source(&database, "cen", &partner, 3, "page_size => 50");
    hang_after(&partner, 1);
    let run = start(&database, "cen", "full");
    for call in [
        "SELECT gn_harvest.run('cen')",
        "SELECT gn_harvest.run('cen', wait => false)",
        "SELECT gn_harvest.retry_rejected('cen')",
    ] {
        assert_refused(
            &database.error(call),
            "55P03",
            "\"cen\" is being harvested already",
        );
    }
    assert_refused(
        &database.error("SELECT gn_harvest.drop_source('cen')"),
        "55006",
        "\"cen\" is being harvested",
    );
    // Others may look and ask.
    assert_eq!(
        database
            .number("SELECT count(*) FROM gn_harvest.check_source('cen') WHERE status = 'error'"),
        0
    );
    assert_eq!(text(&history(&database, run), "status"), "running");
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.run_history"),
        1
    );
}

#[test]
fn of_two_who_start_a_source_at_the_same_moment_one_runs_it() {
    let partner = partner(200);
    let database = cluster().database();
    add_source(&database, "cen", &partner, 3, "page_size => 50");
    for round in 1..=4 {
        hang_after(&partner, 1);
        let barrier = Barrier::new(5);
        let outcomes: Vec<Result<(), String>> = std::thread::scope(|scope| {
            let callers: Vec<_> = (0..5)
                .map(|_| {
                    scope.spawn(|| {
                        let mut session = database.connect();
                        barrier.wait();
                        session
                            .batch_execute("SELECT gn_harvest.run('cen', wait => false)")
                            .map_err(|error| describe(&error))
                    })
                })
                .collect();
            callers
                .into_iter()
                .map(|caller| caller.join().expect("a caller"))
                .collect()
        });
        let refused: Vec<&String> = outcomes
            .iter()
            .filter_map(|outcome| outcome.as_ref().err())
            .collect();
        assert_eq!(refused.len(), 4, "{outcomes:?}");
        for error in refused {
            assert_refused(error, "55P03", "is being harvested already");
        }
        assert_eq!(
            database.number("SELECT count(*) FROM gn_harvest.run_history"),
            round
        );
        let run = database.number("SELECT run FROM gn_harvest.run_progress");
        database.run(&format!("SELECT gn_harvest.cancel({run})"));
        ended(&database, run);
        partner.clear_faults();
    }
}

#[test]
fn without_a_free_worker_slot_a_run_says_so() {
    // PostgreSQL itself takes one.
    let cluster = Cluster::temporary(&[("max_worker_processes", "3")]);
    let database = cluster.database();
    let partner = partner(200);
    for name in ["a", "b", "c"] {
        add_source(&database, name, &partner, 3, "page_size => 50");
    }
    hang_after(&partner, 0);
    let runs = [start(&database, "a", "full"), start(&database, "b", "full")];
    for call in [
        "SELECT gn_harvest.run('c')",
        "SELECT gn_harvest.run('c', wait => false)",
        "SELECT * FROM gn_harvest.check_source('c')",
    ] {
        assert_refused(&database.error(call), "53000", "no background worker slot");
    }
    // Neither the busy ones nor the one without a slot stop the statement.
    assert_eq!(database.rows("SELECT * FROM gn_harvest.run_all()").len(), 0);
    for run in runs {
        database.run(&format!("SELECT gn_harvest.cancel({run})"));
        ended(&database, run);
    }
    partner.clear_faults();
    run_well(&database, "c", "full");
}

#[test]
fn a_transaction_that_would_not_see_the_run_is_refused() {
    let partner = partner(20);
    let database = cluster().database();
    add_source(&database, "cen", &partner, 3, "");
    let run = number(&run_well(&database, "cen", "auto"), "run");
    for isolation in ["REPEATABLE READ", "SERIALIZABLE"] {
        for call in [
            "SELECT gn_harvest.run('cen')".to_owned(),
            format!("SELECT gn_harvest.wait_for({run})"),
            "SELECT * FROM gn_harvest.check_source('cen')".to_owned(),
        ] {
            let error = database.error(&format!("BEGIN ISOLATION LEVEL {isolation}; {call}"));
            assert_refused(&error, "25001", "");
        }
    }
    run_well(&database, "cen", "auto");
}

#[test]
fn what_is_not_committed_can_not_be_run() {
    let partner = partner(20);
    let database = cluster().database();
    let url = partner.url();
    let add = format!("SELECT gn_harvest.add_source('new', '{url}', 3, token => 'jeton-export-3')");
    let error = database.error(&format!("BEGIN; {add}; SELECT gn_harvest.run('new')"));
    assert_refused(&error, "55000", "not committed");
    // One statement is one transaction, and a savepoint is part of it.
    let error = database.error(&format!(
        "BEGIN; SAVEPOINT s; {add}; RELEASE s; SELECT gn_harvest.run('new')"
    ));
    assert_refused(&error, "55000", "not committed");
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.source_status"),
        0
    );
    database.run(&add);
    for change in [
        "SELECT gn_harvest.alter_source('new', page_size => 10)",
        "SELECT gn_harvest.set_credentials('new', token => 'jeton-export-3')",
    ] {
        let error = database.error(&format!("BEGIN; {change}; SELECT gn_harvest.run('new')"));
        assert_refused(&error, "55000", "not committed");
    }
    run_well(&database, "new", "auto");
    // Other work of the transaction is no hindrance.
    database.run("BEGIN; CREATE TABLE public.mine (); SELECT gn_harvest.run('new'); COMMIT");
}

#[test]
fn a_paused_source_does_not_run_until_it_is_resumed() {
    let partner = partner(20);
    let database = cluster().database();
    add_source(&database, "cen", &partner, 3, "");
    add_source(&database, "lpo", &partner, 2, "");
    database.run("SELECT gn_harvest.pause_source('cen', 'maintenance at the partner')");
    let error = database.error("SELECT gn_harvest.run('cen')");
    assert_refused(&error, "55000", "\"cen\" is paused");
    assert!(
        error.contains("maintenance at the partner")
            && error.contains("gn_harvest.resume_source('cen')"),
        "{error}"
    );
    let all = database.rows("SELECT * FROM gn_harvest.run_all()");
    assert_eq!(
        all.iter()
            .map(|row| text(row, "source"))
            .collect::<Vec<_>>(),
        ["lpo"]
    );
    database.run("SELECT gn_harvest.resume_source('cen')");
    run_well(&database, "cen", "auto");
}

#[test]
fn a_source_that_fails_does_not_stop_the_others() {
    let (good, bad) = (partner(30), partner(30));
    let database = cluster().database();
    add_source(&database, "1 refused", &bad, 2, "");
    add_source(&database, "2 good", &good, 3, "");
    database
        .run("SELECT gn_harvest.add_source('3 away', 'http://127.0.0.1:9', 1, retry_budget => 0)");
    add_source(&database, "4 good", &bad, 3, "on_uuid_conflict => 'skip'");
    database.run("SELECT gn_harvest.set_credentials('1 refused', token => 'wrong')");
    let rows = database.rows("SELECT * FROM gn_harvest.run_all()");
    let outcome: Vec<(&str, &str)> = rows
        .iter()
        .map(|row| (text(row, "source"), text(row, "status")))
        .collect();
    assert_eq!(
        outcome,
        [
            ("1 refused", "failed"),
            ("2 good", "succeeded"),
            ("3 away", "failed"),
            ("4 good", "succeeded")
        ]
    );
    assert!(rows.iter().all(|row| text(row, "status") == "succeeded" || !text(row, "error_message").is_empty()));
}

#[test]
fn a_source_dropped_and_added_again_takes_its_rows_back() {
    let partner = partner(300);
    let database = cluster().database();
    add_source(&database, "cen", &partner, 3, "");
    run_well(&database, "cen", "full");
    let rows =
        "SELECT md5(string_agg(s::text, ',' ORDER BY id_synthese)) FROM gn_synthese.synthese s";
    let before = database.value(rows);
    database.run("SELECT gn_harvest.drop_source('cen')");
    assert_eq!(database.value(rows), before);
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.source_status"),
        0
    );
    add_source(&database, "cen", &partner, 3, "");
    let changed = partner.ids()[7];
    partner
        .update(changed, &serde_json::json!({"nom_lieu": "Ailleurs"}))
        .expect("a change");
    let again = run_well(&database, "cen", "auto");
    assert_eq!(
        (
            text(&again, "mode"),
            number(&again, "inserted"),
            number(&again, "updated"),
            number(&again, "unchanged")
        ),
        ("full", 0, 1, 299)
    );
    assert_eq!(
        database.value("SELECT count(*) || ' ' || count(DISTINCT entity_source_pk_value) || ' ' || count(DISTINCT id_source) FROM gn_synthese.synthese"),
        "300 300 1"
    );
    assert_eq!(
        database.number("SELECT observations FROM gn_harvest.source_status"),
        300
    );
    // The history of the first one stays.
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.run_history"),
        2
    );
}

#[test]
#[ignore = "a minute long; DROP EXTENSION may be told of a deadlock on a loaded machine"]
fn dropping_the_extension_ends_a_run_and_leaves_the_server_well() {
    let cluster = fragile_cluster();
    let crashes = || {
        cluster
            .log()
            .matches("terminating any other active server processes")
            .count()
    };
    let before = crashes();
    for wait in [false, true] {
        let database = cluster.database();
        let partner = partner(600);
        add_source(&database, "cen", &partner, 3, "page_size => 50");
        partner.set_cost(0.1, 0.0);
        let mut caller = database.connect();
        std::thread::scope(|scope| {
            // One who waits has what it called in use: then the run has to give way to DROP EXTENSION.
            scope.spawn(move || {
                caller.batch_execute(&format!("SELECT gn_harvest.run('cen', wait => {wait})"))
            });
            database.wait_until(
                60,
                "SELECT EXISTS (SELECT FROM gn_harvest.run_progress WHERE done > 0)",
            );
            drop_extension(&database);
        });
        database.wait_until(
            30,
            "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'gn_harvest run' AND datname = current_database())",
        );
        // And it can come back.
        database.run("CREATE EXTENSION gn_harvest");
        add_source(&database, "cen", &partner, 3, "");
        partner.set_cost(0.0, 0.0);
        run_well(&database, "cen", "full");
        assert_eq!(
            database.value("SELECT count(*) || ' ' || count(DISTINCT entity_source_pk_value) FROM gn_synthese.synthese"),
            "600 600"
        );
    }
    assert_eq!(crashes(), before, "{}", cluster.log());
}

/// Of a session that takes every lock and a run that needs some, PostgreSQL may choose either to end a deadlock.
fn drop_extension(database: &Database) {
    for _ in 0..10 {
        match database
            .connect()
            .batch_execute("DROP EXTENSION gn_harvest")
        {
            Ok(()) => return,
            Err(error) => assert!(
                describe(&error).starts_with("40P01: "),
                "{}",
                describe(&error)
            ),
        }
    }
    panic!("the extension could not be dropped");
}
