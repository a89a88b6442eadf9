//! What the tests share: the cluster, partners, sources, and comparisons.

use std::sync::OnceLock;

use geonature_simulator::{Config, Simulator};
use gn_harvest_outside::{Cluster, Database, Row, describe, rows};

/// The cluster that all tests share; those that crash or reconfigure the server make one of their own.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let cluster = Cluster::temporary(&[]);
        cluster.stop_at_exit();
        cluster
    })
}

pub fn partner(observations: u32) -> Simulator {
    partner_with(Config {
        observations,
        ..Config::default()
    })
}

pub fn partner_with(config: Config) -> Simulator {
    Simulator::start(config).expect("a simulated GeoNature")
}

/// Connects a source to an export of a partner by its token; `options` are further arguments of add_source.
pub fn add_source(
    database: &Database,
    name: &str,
    partner: &Simulator,
    export: u32,
    options: &str,
) {
    let token = partner
        .token(export)
        .map(|token| format!(", token => '{token}'"))
        .unwrap_or_default();
    let options = if options.is_empty() {
        String::new()
    } else {
        format!(", {options}")
    };
    database.run(&format!(
        "SELECT gn_harvest.add_source('{name}', '{}', {export}{token}{options})",
        partner.url()
    ));
}

/// Runs a source and returns the run's row.
pub fn run(database: &Database, name: &str, mode: &str) -> Row {
    database.row(&format!("SELECT * FROM gn_harvest.run('{name}', '{mode}')"))
}

/// Runs a source; panics unless it succeeds.
pub fn run_well(database: &Database, name: &str, mode: &str) -> Row {
    let row = run(database, name, mode);
    assert_eq!(text(&row, "status"), "succeeded", "{row:#?}");
    row
}

/// A value of a row; "" for null.
pub fn text<'r>(row: &'r Row, column: &str) -> &'r str {
    row.get(column)
        .unwrap_or_else(|| panic!("no column {column} in {row:?}"))
        .as_deref()
        .unwrap_or_default()
}

pub fn number(row: &Row, column: &str) -> i64 {
    text(row, column)
        .parse()
        .unwrap_or_else(|_| panic!("{column} is not a number in {row:?}"))
}

/// Waits until something is so; panics after the deadline.
pub fn until(seconds: u64, what: &str, is_so: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(seconds);
    while !is_so() {
        assert!(
            std::time::Instant::now() < deadline,
            "not so after {seconds} s: {what}"
        );
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// Makes a role of this test's own, that can connect; roles belong to the whole cluster.
pub fn role(database: &Database, name: &str) -> String {
    let role = format!("{name}_{}", database.name);
    database.run(&format!("CREATE ROLE {role} LOGIN"));
    role
}

/// Runs statements as a role; panics when one fails.
pub fn as_role(database: &Database, role: &str, sql: &str) {
    if let Err(error) = database.connect_as(role).batch_execute(sql) {
        panic!("{sql}, as {role}: {}", describe(&error));
    }
}

/// What a statement that fails for a role says.
pub fn error_as(database: &Database, role: &str, sql: &str) -> String {
    match database.connect_as(role).batch_execute(sql) {
        Ok(()) => panic!("{sql}, as {role}: no error"),
        Err(error) => describe(&error),
    }
}

/// The one value of a query of a role; "" for null.
pub fn value_as(database: &Database, role: &str, sql: &str) -> String {
    let mut rows = rows(&mut database.connect_as(role), sql);
    assert_eq!(rows.len(), 1, "{sql}: {} rows", rows.len());
    let row = rows.remove(0);
    row.into_values().next().flatten().unwrap_or_default()
}
