//! What the tests share: the cluster, partners, sources, and comparisons.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use geonature_simulator::{Config, Fault, Route, Rule, Simulator};
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

/// A cluster for tests that crash or stop it: one test at a time. Batches are small there, and waits for locks short.
pub struct Fragile(MutexGuard<'static, Cluster>);

impl Deref for Fragile {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.0
    }
}

pub fn fragile_cluster() -> Fragile {
    static CLUSTER: OnceLock<Mutex<Cluster>> = OnceLock::new();
    let cluster = CLUSTER.get_or_init(|| {
        let cluster = Cluster::temporary(&[
            ("gn_harvest.batch_size", "100"),
            ("gn_harvest.lock_timeout", "2s"),
        ]);
        cluster.stop_at_exit();
        Mutex::new(cluster)
    });
    Fragile(cluster.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Starts a run and returns its number at once.
pub fn start(database: &Database, name: &str, mode: &str) -> i64 {
    database.number(&format!(
        "SELECT run FROM gn_harvest.run('{name}', '{mode}', wait => false)"
    ))
}

/// The row of a run in the history.
pub fn history(database: &Database, run: i64) -> Row {
    database.row(&format!(
        "SELECT * FROM gn_harvest.run_history WHERE run = {run}"
    ))
}

/// Waits until a run has ended and returns its row.
pub fn ended(database: &Database, run: i64) -> Row {
    database.row(&format!(
        "SELECT * FROM gn_harvest.wait_for({run}, interval '2 minutes')"
    ))
}

/// The partner answers so many windows of a read by key, then no more until its faults are cleared.
pub fn hang_after(partner: &Simulator, windows: u64) {
    let hang = Rule::always(Route::Export, Fault::Hang).with_query("filter_n_up_");
    partner.add_fault(hang.after(windows));
}

/// Starts a full run of a source that is read by key, and returns when the partner hangs and the pages that it gave
/// before are written.
pub fn start_and_hang(database: &Database, name: &str, partner: &Simulator, pages: u64) -> i64 {
    hang_after(partner, pages);
    let run = start(database, name, "full");
    database.wait_until(
        60,
        &format!("SELECT pages = {pages} FROM gn_harvest.run_history WHERE run = {run}"),
    );
    run
}

/// The keys from which windows were asked of the partner since its figures were cleared.
pub fn windows_asked(partner: &Simulator) -> BTreeSet<i64> {
    let from = |query: &str| {
        let mut parameters = query.split('&');
        let value = parameters.find_map(|p| p.strip_prefix("filter_n_up_id_synthese="))?;
        value.parse().ok()
    };
    let seen = partner.figures().last;
    seen.iter()
        .filter_map(|request| from(&request.query))
        .collect()
}

/// Everything that a harvest leaves, without the numbers and dates that the database gives by itself: to compare two.
pub fn image(database: &Database) -> Vec<Row> {
    let queries = [
        "SELECT s.entity_source_pk_value AS key,
                (to_jsonb(s) - 'id_synthese' - 'id_source' - 'id_dataset' - 'meta_create_date' - 'meta_update_date')::text AS observation,
                t.name_source, d.unique_dataset_id::text AS dataset,
                (SELECT count(*) FROM gn_synthese.cor_area_synthese c WHERE c.id_synthese = s.id_synthese)::text AS areas,
                (SELECT concat_ws(' ', count(*), min(h.source_key), min(h.uuid::text), min(h.attributes_hash::text), min(h.geometry_hash::text))
                 FROM gn_harvest.harvested h WHERE h.id_synthese = s.id_synthese) AS lineage
         FROM gn_synthese.synthese s
         JOIN gn_synthese.t_sources t USING (id_source)
         JOIN gn_meta.t_datasets d USING (id_dataset)
         ORDER BY t.name_source, s.entity_source_pk_value, s.unique_id_sinp",
        "SELECT d.unique_dataset_id::text AS dataset, d.dataset_name, f.unique_acquisition_framework_id::text AS framework,
                (SELECT string_agg(concat_ws(' ', o.uuid_organisme, r.uuid_role, a.id_nomenclature_actor_role), ',' ORDER BY o.uuid_organisme, r.uuid_role, a.id_nomenclature_actor_role)
                 FROM gn_meta.cor_dataset_actor a
                 LEFT JOIN utilisateurs.bib_organismes o ON o.id_organisme = a.id_organism
                 LEFT JOIN utilisateurs.t_roles r USING (id_role)
                 WHERE a.id_dataset = d.id_dataset) AS actors
         FROM gn_meta.t_datasets d
         JOIN gn_meta.t_acquisition_frameworks f USING (id_acquisition_framework)
         ORDER BY d.unique_dataset_id",
        "SELECT s.name, st.watermark, st.watermark_column, st.observations::text,
                (SELECT count(*) FROM gn_harvest.rejected j WHERE j.source_id = s.id)::text AS rejected
         FROM gn_harvest.source s JOIN gn_harvest.source_state st ON st.source_id = s.id ORDER BY s.name",
    ];
    queries.iter().flat_map(|sql| database.rows(sql)).collect()
}

/// Panics with the first difference between two images.
pub fn assert_same_image(found: &Database, expected: &Database) {
    let (found, expected) = (image(found), image(expected));
    for (f, e) in found.iter().zip(&expected) {
        assert_eq!(f, e);
    }
    assert_eq!(found.len(), expected.len(), "rows");
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
