//! What servers go through: restarts, crashes, a standby that is promoted, files that are copied, a dump that is
//! restored. What is due goes on by itself where it should, and waits for someone to say so where it should not.

use geonature_simulator::Simulator;
use gn_harvest_outside::{Database, Stop};

use crate::clockwork::*;
use crate::support::*;

/// A source that the scheduler has begun to harvest, in the middle of its pages.
fn in_the_middle(database: &Database, partner: &Simulator) {
    add_source(
        database,
        "cen",
        partner,
        3,
        "schedule => 'daily 03:00', page_size => 50, connections => 1",
    );
    hang_after(partner, 3);
    make_due(database, "cen");
    database.wait_until(
        60,
        "SELECT pages >= 3 FROM gn_harvest.run_history WHERE status = 'running'",
    );
}

#[test]
fn a_run_that_a_restart_or_a_crash_broke_off_is_closed_and_taken_up() {
    let cluster = scheduling(&[]);
    for how in [Stop::Fast, Stop::Immediate] {
        let database = cluster.database();
        let partner = partner(400);
        in_the_middle(&database, &partner);
        cluster.stop(how);
        partner.clear_faults();
        cluster.start();
        wait_for_runs(&database, "cen", "succeeded", 1);
        let rows = database.rows("SELECT status, error_sqlstate, resumes, started_by, mode FROM gn_harvest.run_history ORDER BY run");
        assert_eq!(rows.len(), 2, "{rows:#?}");
        assert_eq!(
            (text(&rows[0], "status"), text(&rows[0], "error_sqlstate")),
            ("interrupted", "57P02")
        );
        assert!(
            number(&rows[1], "resumes") > 0,
            "it goes on where the other stopped: {rows:#?}"
        );
        assert_eq!(
            (text(&rows[1], "started_by"), text(&rows[1], "mode")),
            ("scheduler", "full")
        );
        assert_complete(&database, "cen", &partner);
    }
}

#[test]
fn a_run_that_crashes_the_server_again_and_again_is_not_taken_up_for_ever() {
    let cluster = scheduling(&[]);
    let database = cluster.database();
    let partner = partner(400);
    in_the_middle(&database, &partner);
    for crash in 1..=4 {
        database.wait_until(60, "SELECT count(*) = 1 FROM gn_harvest.run_progress");
        let pid = database.value("SELECT pid FROM gn_harvest.run_progress");
        kill(&pid);
        until(60, "the crash", || {
            lines(&cluster, "was terminated by signal 9").len() == crash
        });
        cluster.wait_until_up(60);
    }
    wait_for_runs(&database, "cen", "interrupted", 4);
    wait_for_visits(&database, 3);
    assert_eq!(runs(&database, "cen"), 4);
    // At its next tick it has another try.
    partner.clear_faults();
    make_due(&database, "cen");
    wait_for_runs(&database, "cen", "succeeded", 1);
    assert_complete(&database, "cen", &partner);
}

#[test]
fn runs_of_manual_sources_are_closed_and_left_to_people() {
    let cluster = scheduling(&[]);
    let database = cluster.database();
    let partner = partner(400);
    add_source(
        &database,
        "cen",
        &partner,
        3,
        "page_size => 50, connections => 1",
    );
    start_and_hang(&database, "cen", &partner, 3);
    cluster.stop(Stop::Immediate);
    cluster.start();
    database.wait_until(
        60,
        "SELECT count(*) = 1 FROM gn_harvest.run WHERE status = 'interrupted'",
    );
    wait_for_visits(&database, 2);
    assert_eq!(runs(&database, "cen"), 1);
}

#[test]
fn the_launcher_comes_back_when_it_is_ended() {
    let cluster = scheduling(&[]);
    let database = cluster.database();
    wait_for_visits(&database, 0);
    let before = launcher(&cluster);
    database.run(&format!("SELECT pg_terminate_backend({before})"));
    until(60, "another launcher", || {
        let now = launcher(&cluster);
        !now.is_empty() && now != before
    });
    wait_for_visits(&database, 1);
    assert_eq!(state(&database), "Active");
}

#[test]
fn pg_stat_activity_names_each_process_and_what_it_waits_for() {
    let cluster = scheduling(&[]);
    let database = cluster.database();
    let partner = partner(400);
    in_the_middle(&database, &partner);
    let seen = "SELECT string_agg(backend_type || ' ' || coalesce(datname, '-') || ' ' || coalesce(wait_event_type, '-'), ', ' ORDER BY backend_type)
                FROM pg_stat_activity WHERE backend_type IN ('gn_harvest launcher', 'gn_harvest run')";
    let expected = format!(
        "gn_harvest launcher - Extension, gn_harvest run {} Extension",
        database.name
    );
    until(60, "both wait", || database.value(seen) == expected);
    let query =
        database.value("SELECT query FROM pg_stat_activity WHERE backend_type = 'gn_harvest run'");
    assert!(query.contains("source cen: harvesting"), "{query}");
    until(60, "a visitor is seen", || {
        let visitor =
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'gn_harvest visitor'";
        database.number(visitor) > 0
    });
}

#[test]
fn the_memory_of_the_launcher_stays_as_it_is() {
    let cluster = scheduling(&[]);
    let databases: Vec<Database> = (0..6).map(|_| cluster.empty_database()).collect();
    let database = cluster.database();
    let pid = || launcher(&cluster);
    until(60, "the launcher", || !pid().is_empty());
    let total = |nth: usize| {
        database.run(&format!("SELECT pg_log_backend_memory_contexts({})", pid()));
        until(60, "its memory in the log", || {
            lines(&cluster, "Grand total").len() == nth
        });
        let line = lines(&cluster, "Grand total").pop().expect("a line");
        let used = line
            .rsplit("; ")
            .next()
            .and_then(|rest| rest.split(' ').next());
        used.and_then(|bytes| bytes.parse::<i64>().ok())
            .expect("bytes")
    };
    wait_for_visits(&database, 5);
    let before = total(1);
    wait_for_visits(&database, 20);
    let after = total(2);
    let visits = 20 * (databases.len() as i64 + 2);
    assert!(
        after - before < 2 * visits,
        "{before} bytes, {after} after {visits} visits"
    );
}

#[test]
fn a_standby_runs_nothing_and_goes_on_by_itself_once_it_is_promoted() {
    let primary = scheduling(&[]);
    let partner = partner(40);
    let database = primary.database();
    add_source(&database, "cen", &partner, 3, "schedule => 'daily 03:00'");
    let clone = "a_clone";
    Database::existing(&primary, "postgres").run(&format!(
        "CREATE DATABASE {clone} TEMPLATE {}",
        database.name
    ));
    // Nothing starts on the primary: what runs has been started by the standby.
    set(&primary, "gn_harvest.max_concurrent_runs", "0");
    wait_for_visits(&database, 1);
    make_due(&database, "cen");
    make_due(&Database::existing(&primary, clone), "cen");
    let standby = primary.standby();
    let there = Database::existing(&standby, &database.name);
    until(60, "the launcher of the standby", || {
        !launcher(&standby).is_empty()
    });
    assert_eq!(state(&there), "Standby");
    assert_eq!(
        there.value("SELECT next_run FROM gn_harvest.source_status"),
        ""
    );
    wait_for_visits(&database, 2);
    assert_eq!(
        there.value("SELECT gn_harvest.last_visit()"),
        "",
        "nobody looks at it"
    );
    let error = there.error("SELECT gn_harvest.resume_schedules()");
    assert!(
        error.starts_with("25006: ") && error.contains("HINT: "),
        "{error}"
    );

    primary.stop(Stop::Immediate);
    standby.promote();
    set(&standby, "gn_harvest.max_concurrent_runs", "2");
    wait_for_runs(&there, "cen", "succeeded", 1);
    assert_eq!(state(&there), "Active");
    assert_eq!(lines(&standby, "has been promoted").len(), 1);
    // A clone that was paused there is paused here.
    let clone = Database::existing(&standby, clone);
    wait_for_visits(&clone, 1);
    assert_eq!((state(&clone).as_str(), runs(&clone, "cen")), ("Paused", 0));
    // And a restart changes nothing any more.
    standby.stop(Stop::Fast);
    standby.start();
    make_due(&there, "cen");
    wait_for_runs(&there, "cen", "succeeded", 2);
    // Its server is gone: there is nothing to drop.
    std::mem::forget(database);
}

#[test]
fn a_copy_of_the_files_of_a_server_runs_nothing_until_someone_says_so() {
    let original = scheduling(&[]);
    let partner = partner(40);
    let database = original.database();
    add_source(&database, "cen", &partner, 3, "schedule => 'daily 03:00'");
    set(&original, "gn_harvest.max_concurrent_runs", "0");
    wait_for_visits(&database, 1);
    make_due(&database, "cen");
    original.stop(Stop::Fast);
    let copy = original.copy_of_files();
    set(&copy, "gn_harvest.max_concurrent_runs", "2");
    let there = Database::existing(&copy, &database.name);
    wait_for_visits(&there, 2);
    assert_eq!((state(&there).as_str(), runs(&there, "cen")), ("Paused", 0));
    there.run("SELECT gn_harvest.resume_schedules()");
    make_due(&there, "cen");
    wait_for_runs(&there, "cen", "succeeded", 1);
    // The original, started again, is still itself.
    original.start();
    set(&original, "gn_harvest.max_concurrent_runs", "2");
    wait_for_runs(&database, "cen", "succeeded", 1);
}

#[test]
fn a_recovery_from_an_archive_into_the_files_of_the_original_is_a_copy() {
    let cluster = scheduling(&[]);
    let partner = partner(40);
    let database = cluster.database();
    add_source(&database, "cen", &partner, 3, "schedule => 'daily 03:00'");
    set(&cluster, "gn_harvest.max_concurrent_runs", "0");
    set(&cluster, "restore_command", "/bin/false");
    wait_for_visits(&database, 1);
    make_due(&database, "cen");
    cluster.stop(Stop::Fast);
    cluster.write_file("recovery.signal", "");
    cluster.start();
    database.wait_until(60, "SELECT NOT pg_is_in_recovery()");
    set(&cluster, "gn_harvest.max_concurrent_runs", "2");
    wait_for_visits(&database, 2);
    assert_eq!(
        (state(&database).as_str(), runs(&database, "cen")),
        ("Paused", 0)
    );
    // Also after another start.
    cluster.stop(Stop::Fast);
    cluster.start();
    wait_for_visits(&database, 1);
    assert_eq!(
        (state(&database).as_str(), runs(&database, "cen")),
        ("Paused", 0)
    );
    database.run("SELECT gn_harvest.resume_schedules()");
    make_due(&database, "cen");
    wait_for_runs(&database, "cen", "succeeded", 1);
}

#[test]
fn a_restored_dump_has_its_schedules_paused_and_everything_else() {
    let cluster = scheduling(&[]);
    let partner = partner(40);
    let database = cluster.database();
    add_source(
        &database,
        "cen",
        &partner,
        3,
        "schedule => 'daily 03:00', reconcile_schedule => 'monthly 1 04:00'",
    );
    make_due(&database, "cen");
    wait_for_runs(&database, "cen", "succeeded", 1);
    let copy = cluster.empty_database();
    pour(&database, &copy);
    make_due(&copy, "cen");
    wait_for_visits(&copy, 2);
    assert_eq!((state(&copy).as_str(), runs(&copy, "cen")), ("Paused", 1));
    assert_eq!(
        copy.value("SELECT frequency FROM gn_harvest.source_status"),
        "Daily – 03:00; reconciliation: monthly – Day 01"
    );
    copy.run("SELECT gn_harvest.resume_schedules()");
    make_due(&copy, "cen");
    wait_for_runs(&copy, "cen", "succeeded", 2);
    assert_complete(&copy, "cen", &partner);
}
