//! What the tests share: the cluster, partners, sources, and comparisons.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use geonature_simulator::{Config, Fault, Route, Rule, Simulator};
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

/// Waits until the partner has answered so many requests whose query contains a text, since its figures were cleared.
pub fn wait_until_asked(partner: &Simulator, part: &str, times: usize) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let asked = || {
        let seen = partner.figures().last;
        seen.iter().filter(|r| r.query.contains(part)).count()
    };
    while asked() < times {
        assert!(
            std::time::Instant::now() < deadline,
            "{} requests with {part}",
            asked()
        );
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// Panics unless every observation that the partner has is here as it is there, by some of its columns. Those that it
/// has no longer may be here still.
pub fn assert_nothing_lost(database: &Database, partner: &Simulator) {
    let found: BTreeMap<String, Row> = database
        .rows(
            "SELECT entity_source_pk_value AS key, unique_id_sinp::text AS id_perm_sinp, nom_cite, place_name AS nom_lieu,
                    count_min::text AS nombre_min, comment_description AS comment_occurrence
             FROM gn_synthese.synthese",
        )
        .into_iter()
        .map(|row| (text(&row, "key").to_owned(), row))
        .collect();
    for truth in partner.truth() {
        let key = truth["id_synthese"].to_string();
        let row = found
            .get(&key)
            .unwrap_or_else(|| panic!("observation {key} is lost: {truth}"));
        for (column, value) in row.iter().filter(|(column, _)| *column != "key") {
            let expected = match &truth[column] {
                serde_json::Value::Null => None,
                serde_json::Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            };
            assert_eq!(*value, expected, "{column} of observation {key}");
        }
    }
}

/// pg_dump of a database into an empty one.
pub fn pour(database: &Database, copy: &Database) {
    let cluster = database.cluster;
    let mut dump = std::process::Command::new(cluster.program("pg_dump"))
        .env("PGHOST", cluster.host())
        .env("PGPORT", cluster.port())
        .env("PGUSER", "postgres")
        .arg(&database.name)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("pg_dump");
    let output = dump.stdout.take().expect("the dump");
    let restored = cluster
        .psql_command(&copy.name)
        .current_dir(std::path::Path::new("/"))
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1"])
        .stdin(output)
        .stdout(std::process::Stdio::null())
        .output()
        .expect("psql");
    assert!(dump.wait().expect("pg_dump").success());
    assert!(
        restored.status.success(),
        "{}",
        String::from_utf8_lossy(&restored.stderr)
    );
}

/// The partner answers every question about its exports with HTTP 500, until its faults are cleared.
pub fn breakdown(partner: &Simulator) {
    let fault = Fault::Status {
        status: 500,
        retry_after: None,
        retry_after_date: None,
        json: false,
    };
    partner.add_fault(Rule::always(Route::Export, fault));
}
