//! What the tests share: the cluster, partners, sources, and comparisons.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use geonature_simulator::{Config, Simulator};
use gn_harvest_outside::{Cluster, Database, Row};

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

/// Connects a source to an export of a partner by an account.
pub fn add_source_by_login(
    database: &Database,
    name: &str,
    partner: &Simulator,
    export: u32,
    (login, password): (&str, &str),
    options: &str,
) {
    let options = if options.is_empty() {
        String::new()
    } else {
        format!(", {options}")
    };
    database.run(&format!(
        "SELECT gn_harvest.add_source('{name}', '{}', {export}, login => '{login}', password => '{password}'{options})",
        partner.url()
    ));
}

/// The target has each observation of a partner once, with the partner's values, and no other of that source.
/// A few columns tell it, and several sources of a database can be looked at side by side; `truth` compares them all.
pub fn assert_complete(database: &Database, source: &str, partner: &Simulator) {
    const COLUMNS: [&str; 8] = [
        "id_synthese",
        "id_perm_sinp",
        "cd_nom",
        "nombre_min",
        "nombre_max",
        "date_debut",
        "nom_cite",
        "comment_occurrence",
    ];
    let truth: Vec<serde_json::Value> = partner
        .truth()
        .iter()
        .map(|row| {
            COLUMNS
                .iter()
                .map(|name| (*name, row[name].clone()))
                .collect()
        })
        .collect();
    let difference = database.row(&format!(
        "WITH truth AS MATERIALIZED (
             SELECT * FROM json_to_recordset($json${}$json$) AS t (id_synthese text, id_perm_sinp uuid, cd_nom integer,
                 nombre_min integer, nombre_max integer, date_debut timestamp, nom_cite text, comment_occurrence text)),
         here AS MATERIALIZED (
             SELECT o.entity_source_pk_value, o.unique_id_sinp, o.cd_nom, o.count_min, o.count_max, o.date_min, o.nom_cite,
                    o.comment_description
             FROM gn_synthese.synthese o
             JOIN gn_harvest.source_state st USING (id_source)
             JOIN gn_harvest.source s ON s.id = st.source_id AND s.name = '{source}')
         SELECT (SELECT count(*) FROM truth) AS told, (SELECT count(*) FROM here) AS written,
                (SELECT count(*) FROM (TABLE truth EXCEPT ALL TABLE here) lost) AS lost,
                (SELECT count(*) FROM (TABLE here EXCEPT ALL TABLE truth) invented) AS invented",
        serde_json::Value::Array(truth)
    ));
    assert_eq!(
        (number(&difference, "lost"), number(&difference, "invented")),
        (0, 0),
        "{source}: {difference:?}"
    );
    assert_eq!(number(&difference, "written"), partner.count() as i64);
}

/// Starts a run without waiting and returns its number.
pub fn start(database: &Database, name: &str) -> i64 {
    database.number(&format!(
        "SELECT run FROM gn_harvest.run('{name}', wait => false)"
    ))
}

/// Waits until a run has ended and returns its row.
pub fn ended(database: &Database, run: i64) -> Row {
    database.wait_until(
        120,
        &format!("SELECT status <> 'running' FROM gn_harvest.run_history WHERE run = {run}"),
    );
    database.row(&format!(
        "SELECT * FROM gn_harvest.run_history WHERE run = {run}"
    ))
}

/// Does the work of each case, a few at a time; the first failure fails the test.
pub fn for_each_case<T: Sync>(cases: &[T], work: impl Fn(usize, &T) + Sync) {
    const AT_ONCE: usize = 5;
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((number, case)) = {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    cases.get(number).map(|case| (number, case))
                } {
                    work(number, case);
                }
            });
        }
    });
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
