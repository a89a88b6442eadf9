//! The scheduler on a real server: what is due runs by itself, and nothing that databases and servers go through stops it.

use std::collections::BTreeSet;

use geonature_simulator::{Fault, Route, Rule, Simulator};
use gn_harvest_outside::{Cluster, Database, Stop};

use crate::support::*;

/// A server with the launcher, which looks at databases every second.
fn scheduling(settings: &[(&str, &str)]) -> Cluster {
    let mut all = vec![
        ("shared_preload_libraries", "gn_harvest"),
        ("gn_harvest.naptime", "1s"),
        ("gn_harvest.timezone", "Europe/Paris"),
        ("gn_harvest.lock_timeout", "5s"),
    ];
    all.extend(settings);
    Cluster::temporary(&all)
}

/// Sets the time that the scheduler takes it to be, of the whole server.
fn set_clock(cluster: &Cluster, moment: &str) {
    let postgres = Database::existing(cluster, "postgres");
    let mut session = postgres.connect();
    session
        .batch_execute(&format!("ALTER SYSTEM SET gn_harvest.clock = '{moment}'"))
        .expect("the clock");
    session
        .batch_execute("SELECT pg_reload_conf()")
        .expect("a reload");
}

fn runs(database: &Database, source: &str) -> i64 {
    database.number(&format!(
        "SELECT count(*) FROM gn_harvest.run_history WHERE source = '{source}'"
    ))
}

/// Waits until the scheduler has looked at a database again, from beginning to end.
fn wait_for_visits(database: &Database, visits: usize) {
    for _ in 0..visits {
        let before = database.value("SELECT last_visit FROM gn_harvest.scheduler_status");
        database.wait_until(
            60,
            &format!("SELECT last_visit::text IS DISTINCT FROM nullif('{before}', '') FROM gn_harvest.scheduler_status"),
        );
    }
}

fn wait_for_runs(database: &Database, source: &str, status: &str, count: i64) {
    database.wait_until(
        120,
        &format!("SELECT count(*) = {count} FROM gn_harvest.run_history WHERE source = '{source}' AND status = '{status}'"),
    );
}

/// Makes a source due: its schedule wanted a run in the past.
fn make_due(database: &Database, source: &str) {
    database.run(&format!(
        "UPDATE gn_harvest.source_state SET ticks_settled_at = ticks_settled_at - interval '2 days'
         WHERE source_id = (SELECT id FROM gn_harvest.source WHERE name = '{source}')"
    ));
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
    wait_for_visits(&first, 2);
    assert_eq!(
        runs(&first, "cen") + runs(&second, "cen"),
        0,
        "nothing is due"
    );
    assert_eq!(
        first.value("SELECT next_run AT TIME ZONE 'Europe/Paris' FROM gn_harvest.source_status"),
        "2026-03-11 03:00:00"
    );
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
    // Extension and database made while the launcher lives.
    let third = cluster.database();
    add_source(&third, "cen", &partner, 3, "schedule => 'every 30 minutes'");
    // Ticks missed are one.
    set_clock(&cluster, "2026-03-15T12:00:00Z");
    wait_for_runs(&third, "cen", "succeeded", 1);
    wait_for_runs(&first, "cen", "succeeded", 2);
    wait_for_visits(&first, 3);
    assert_eq!((runs(&first, "cen"), runs(&third, "cen")), (2, 1));
    assert_eq!(
        first.value("SELECT next_run AT TIME ZONE 'Europe/Paris' FROM gn_harvest.source_status"),
        "2026-03-16 03:00:00"
    );
}
