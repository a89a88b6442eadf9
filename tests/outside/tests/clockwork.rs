//! Servers with the launcher, the time it takes it to be, and what it has done so far.

use std::process::Command;

use gn_harvest_outside::{Cluster, Database};

/// A server with the launcher, which looks at databases every second.
pub fn scheduling(settings: &[(&str, &str)]) -> Cluster {
    let mut all = vec![
        ("shared_preload_libraries", "gn_harvest"),
        ("gn_harvest.naptime", "1s"),
        ("gn_harvest.timezone", "Europe/Paris"),
        ("gn_harvest.lock_timeout", "5s"),
        ("gn_harvest.batch_size", "100"),
        ("autovacuum", "off"),
    ];
    all.extend(settings);
    Cluster::temporary(&all)
}

/// Changes a setting of a whole server, by reload.
pub fn set(cluster: &Cluster, setting: &str, value: &str) {
    let mut session = Database::existing(cluster, "postgres").connect();
    session
        .batch_execute(&format!("ALTER SYSTEM SET {setting} = '{value}'"))
        .expect("the setting");
    session
        .batch_execute("SELECT pg_reload_conf()")
        .expect("a reload");
}

/// Sets the time that the scheduler of a server takes it to be.
pub fn set_clock(cluster: &Cluster, moment: &str) {
    set(cluster, "gn_harvest.clock", moment);
}

/// Runs of a source, however they ended.
pub fn runs(database: &Database, source: &str) -> i64 {
    database.number(&format!(
        "SELECT count(*) FROM gn_harvest.run_history WHERE source = '{source}'"
    ))
}

pub fn wait_for_runs(database: &Database, source: &str, status: &str, count: i64) {
    database.wait_until(
        120,
        &format!("SELECT count(*) = {count} FROM gn_harvest.run_history WHERE source = '{source}' AND status = '{status}'"),
    );
}

/// Waits until the scheduler has looked at a database so many times, from beginning to end.
pub fn wait_for_visits(database: &Database, visits: usize) {
    // One more: that under way may have begun before what the test did.
    for _ in 0..=visits {
        let before = database.value("SELECT gn_harvest.last_visit()");
        database.wait_until(
            90,
            &format!(
                "SELECT gn_harvest.last_visit()::text IS DISTINCT FROM nullif('{before}', '')"
            ),
        );
    }
}

/// Makes a source due: its schedule has wanted a run.
pub fn make_due(database: &Database, source: &str) {
    database.run(&format!(
        "UPDATE gn_harvest.source_state SET ticks_settled_at = ticks_settled_at - interval '2 days'
         WHERE source_id = (SELECT id FROM gn_harvest.source WHERE name = '{source}')"
    ));
}

pub fn state(database: &Database) -> String {
    database.value("SELECT state FROM gn_harvest.scheduler_status")
}

/// Process of the launcher; empty when there is none.
pub fn launcher(cluster: &Cluster) -> String {
    Database::existing(cluster, "postgres")
        .value("SELECT max(pid) FROM pg_stat_activity WHERE backend_type = 'gn_harvest launcher'")
}

/// Kills a process as the kernel does when memory runs out: the server takes it for a crash.
pub fn kill(pid: &str) {
    let status = Command::new("kill").args(["-9", pid]).status();
    assert!(status.expect("kill").success());
}

/// Lines of a server's log that hold a text.
pub fn lines(cluster: &Cluster, text: &str) -> Vec<String> {
    let log = cluster.log();
    log.lines()
        .filter(|line| line.contains(text))
        .map(str::to_owned)
        .collect()
}
