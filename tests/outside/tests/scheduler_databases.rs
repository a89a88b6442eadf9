//! What databases go through while the launcher lives: dropped, renamed, copied, without the extension or with another
//! one, locked, with sources that can't be run. None of it stops the others, nor fills the log.

use geonature_simulator::{Fault, Route, Rule};
use gn_harvest_outside::Database;

use crate::clockwork::*;
use crate::people::*;
use crate::support::*;

#[test]
fn databases_are_dropped_renamed_and_copied_while_the_launcher_lives() {
    let cluster = scheduling(&[]);
    let partner = partner(10);
    let postgres = Database::existing(&cluster, "postgres");
    let watched = cluster.database();
    for round in 0..5 {
        let name = format!("passing_{round}");
        postgres.run(&format!("CREATE DATABASE {name} TEMPLATE geonature"));
        let passing = Database::existing(&cluster, &name);
        add_source(&passing, "cen", &partner, 3, "schedule => 'daily 03:00'");
        wait_for_visits(&passing, 0);
        // A copy of a database that is visited every second, then another name, then none.
        postgres.run(&format!("CREATE DATABASE copy_{round} TEMPLATE {name}"));
        postgres.run(&format!("ALTER DATABASE {name} RENAME TO renamed_{round}"));
        postgres.run(&format!("DROP DATABASE renamed_{round}"));
        postgres.run(&format!("DROP DATABASE copy_{round}"));
    }
    wait_for_visits(&watched, 1);
    assert_eq!(lines(&cluster, "ERROR").len(), 0, "{}", cluster.log());
}

#[test]
fn a_renamed_database_goes_on_and_a_clone_waits_for_someone_to_say_so() {
    let cluster = scheduling(&[]);
    let partner = partner(10);
    let postgres = Database::existing(&cluster, "postgres");
    cluster.prepare_target();
    postgres.run("CREATE DATABASE original TEMPLATE geonature");
    let original = Database::existing(&cluster, "original");
    add_source(&original, "cen", &partner, 3, "schedule => 'daily 03:00'");
    assert_eq!(state(&original), "Active");
    postgres.run("CREATE DATABASE clone TEMPLATE original");
    postgres.run("ALTER DATABASE original RENAME TO \"other \"\"name\"\"\"");
    let renamed = Database::existing(&cluster, "other \"name\"");
    make_due(&renamed, "cen");
    wait_for_runs(&renamed, "cen", "succeeded", 1);

    let clone = Database::existing(&cluster, "clone");
    make_due(&clone, "cen");
    wait_for_visits(&clone, 2);
    assert_eq!(runs(&clone, "cen"), 0);
    let status = clone.row("SELECT state, detail, hint FROM gn_harvest.scheduler_status");
    assert_eq!(text(&status, "state"), "Paused");
    assert!(text(&status, "detail").contains("is a copy"), "{status:?}");
    assert!(text(&status, "hint").contains("SELECT gn_harvest.resume_schedules();"));
    assert_eq!(
        clone.value("SELECT next_run FROM gn_harvest.source_status"),
        ""
    );
    // By hand it runs, and a schedule can be given, with a word about it.
    run_well(&clone, "cen", "full");
    clone.run("SELECT gn_harvest.alter_source('cen', schedule => 'daily 04:00')");
    assert_eq!(state(&clone), "Paused");
    assert_eq!(clone.number("SELECT gn_harvest.resume_schedules()"), 1);
    assert_eq!(state(&clone), "Active");
    wait_for_visits(&clone, 2);
    assert_eq!(runs(&clone, "cen"), 1, "what was missed is not made up for");
    make_due(&clone, "cen");
    wait_for_runs(&clone, "cen", "succeeded", 2);
}

#[test]
fn who_may_resume_schedules_is_who_was_granted_it() {
    let cluster = scheduling(&[("gn_harvest.naptime", "1h")]);
    let database = cluster.database();
    let operator = role(&database, "operator");
    database.run(&format!("SELECT gn_harvest.grant_operator('{operator}')"));
    let call = "SELECT gn_harvest.resume_schedules()";
    let error = error_as(&database, &operator, call);
    assert!(error.starts_with("42501: "), "{error}");
    database.run(&format!(
        "GRANT EXECUTE ON FUNCTION gn_harvest.resume_schedules() TO {operator}"
    ));
    as_role(&database, &operator, call);
    assert_eq!(
        value_as(
            &database,
            &operator,
            "SELECT state FROM gn_harvest.scheduler_status"
        ),
        "Active"
    );
    let reader = role(&database, "reader");
    database.run(&format!("SELECT gn_harvest.grant_reader('{reader}'); SELECT gn_harvest.add_source('cen', 'https://geonature.example.org', 3, schedule => 'daily 03:00')"));
    let seen = "SELECT frequency || ' ' || (next_run > now()) FROM gn_harvest.source_status";
    assert_eq!(value_as(&database, &reader, seen), "Daily – 03:00 true");
}

#[test]
fn databases_without_the_extension_or_with_another_one_are_left_alone_in_silence() {
    let cluster = scheduling(&[]);
    let partner = partner(10);
    let well = cluster.database();
    let postgres = Database::existing(&cluster, "postgres");
    add_source(&well, "cen", &partner, 3, "schedule => 'daily 03:00'");
    let spoilt = [
        // Half upgraded: the extension has lost a part.
        "ALTER TABLE gn_harvest.home RENAME TO no_home",
        // The library is newer than the SQL.
        "UPDATE pg_extension SET extversion = '0.0.1' WHERE extname = 'gn_harvest'",
    ]
    .map(|spoil| {
        let database = cluster.database();
        add_source(&database, "cen", &partner, 3, "schedule => 'daily 03:00'");
        database.run(spoil);
        database
    });
    // Visits are made one after the other: none that began before this is left.
    wait_for_visits(&well, 1);
    for database in &spoilt {
        make_due(database, "cen");
    }
    // Somebody else's schema, and nothing at all.
    let foreign = cluster.empty_database();
    foreign.run("CREATE SCHEMA gn_harvest; CREATE TABLE gn_harvest.source (id integer); CREATE TABLE gn_harvest.run (id integer)");
    let empty = cluster.empty_database();
    // A template, and one that takes no connection.
    let template = cluster.database();
    add_source(&template, "cen", &partner, 3, "schedule => 'daily 03:00'");
    postgres.run(&format!(
        "ALTER DATABASE {} IS_TEMPLATE true",
        template.name
    ));
    wait_for_visits(&well, 1);
    make_due(&template, "cen");
    let closed = cluster.database();
    postgres.run(&format!(
        "ALTER DATABASE {} ALLOW_CONNECTIONS false",
        closed.name
    ));
    let said = cluster.log().len();
    wait_for_visits(&well, 3);
    make_due(&well, "cen");
    wait_for_runs(&well, "cen", "succeeded", 1);
    let log = cluster.log();
    for word in ["ERROR", "FATAL", "gn_harvest"] {
        let lines: Vec<&str> = log[said..]
            .lines()
            .filter(|line| line.contains(word))
            .collect();
        assert!(lines.is_empty(), "{lines:#?}");
    }
    for database in &spoilt {
        assert_eq!(
            database.number("SELECT count(*) FROM gn_harvest.run WHERE started_by = 'scheduler'"),
            0
        );
    }
    assert_eq!(runs(&template, "cen"), 0);
    assert_eq!(state(&template), "Template");
    assert_eq!(state(&spoilt[1]), "To be updated");
    drop((foreign, empty));
    // Mended, they go on.
    spoilt[1].run("UPDATE pg_extension SET extversion = gn_harvest.library_version() WHERE extname = 'gn_harvest'");
    wait_for_runs(&spoilt[1], "cen", "succeeded", 1);
    postgres.run(&format!(
        "ALTER DATABASE {} IS_TEMPLATE false; ALTER DATABASE {} ALLOW_CONNECTIONS true",
        template.name, closed.name
    ));
    wait_for_runs(&template, "cen", "succeeded", 1);
}

#[test]
fn one_source_without_its_owner_and_one_locked_database_stop_nobody() {
    let cluster = scheduling(&[]);
    let partner = partner(10);
    let (locked, other) = (cluster.database(), cluster.database());
    let owner = role(&other, "leaving");
    add_source(
        &other,
        "orphan",
        &partner,
        3,
        &format!("schedule => 'daily 03:00', priority => 1, owner => '{owner}'"),
    );
    other.run(&format!("DROP ROLE {owner}"));
    for database in [&locked, &other] {
        add_source(database, "well", &partner, 3, "schedule => 'daily 03:00'");
    }
    let mut session = locked.connect();
    session
        .batch_execute("BEGIN; LOCK TABLE gn_harvest.source_state IN ACCESS EXCLUSIVE MODE")
        .expect("a lock");
    for source in ["orphan", "well"] {
        make_due(&other, source);
    }
    wait_for_runs(&other, "well", "succeeded", 1);
    wait_for_runs(&other, "orphan", "failed", 1);
    let error =
        other.value("SELECT error_message FROM gn_harvest.run_history WHERE source = 'orphan'");
    assert!(
        error.contains(&owner) && error.contains("does not exist"),
        "{error}"
    );
    wait_for_visits(&other, 4);
    let said = lines(&cluster, &format!("in database \"{}\"", locked.name));
    assert_eq!(said.len(), 1, "the same trouble is told once: {said:#?}");
    assert!(said[0].contains("lock timeout"), "{said:#?}");
    session.batch_execute("ROLLBACK").expect("the end of it");
    make_due(&locked, "well");
    wait_for_runs(&locked, "well", "succeeded", 1);
}

#[test]
fn without_worker_slots_it_waits_says_so_once_and_goes_on() {
    // The launcher and PostgreSQL's own for logical replication take two of them.
    let cluster = scheduling(&[("max_worker_processes", "4")]);
    let database = cluster.database();
    let partner = partner(10);
    for name in ["a", "b", "due"] {
        add_source(&database, name, &partner, 3, "schedule => 'daily 03:00'");
    }
    wait_for_visits(&database, 0);
    partner.add_fault(Rule::always(Route::Export, Fault::Hang));
    // Between two visits both slots are free.
    for name in ["a", "b"] {
        until(60, "a slot", || {
            let call = format!("SELECT run FROM gn_harvest.run('{name}', wait => false)");
            database.connect().batch_execute(&call).is_ok()
        });
    }
    until(60, "the line about slots", || {
        !lines(&cluster, "no background worker slot is free").is_empty()
    });
    make_due(&database, "due");
    let seen = database.value("SELECT gn_harvest.last_visit()");
    // Long enough for several tries; that nothing happens has no sign to wait for.
    std::thread::sleep(std::time::Duration::from_secs(6));
    assert_eq!(database.value("SELECT gn_harvest.last_visit()"), seen);
    assert_eq!(
        lines(&cluster, "worker slot is free: what is due waits").len(),
        1
    );
    partner.clear_faults();
    database.run("SELECT gn_harvest.cancel(run) FROM gn_harvest.run_progress");
    wait_for_runs(&database, "due", "succeeded", 1);
}

#[test]
fn a_visit_that_finds_nothing_to_do_writes_nothing() {
    let cluster = scheduling(&[]);
    let database = cluster.database();
    let partner = partner(10);
    add_source(&database, "cen", &partner, 3, "schedule => 'daily 03:00'");
    run_well(&database, "cen", "auto");
    wait_for_visits(&database, 1);
    let transactions = "SELECT pg_snapshot_xmax(pg_current_snapshot())";
    let before = database.value(transactions);
    wait_for_visits(&database, 4);
    assert_eq!(database.value(transactions), before);
}
