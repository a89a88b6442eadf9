//! Where everything is measured: a private cluster set up as one that a DBA would run, a simulated partner, and a
//! database from which equal copies are made: metadata is there, the observations wait in a typed table, gn_synthese
//! is empty.

use std::sync::atomic::{AtomicU32, Ordering};

use geonature_simulator::{Config, Simulator};
use gn_harvest_outside::{Cluster, Database};

use crate::say;

/// Settings of the cluster; the README says them.
pub const SETTINGS: [(&str, &str); 12] = [
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("full_page_writes", "on"),
    ("shared_buffers", "1GB"),
    ("effective_cache_size", "4GB"),
    ("work_mem", "32MB"),
    ("maintenance_work_mem", "256MB"),
    ("max_wal_size", "4GB"),
    ("checkpoint_timeout", "15min"),
    ("random_page_cost", "1.1"),
    ("shared_preload_libraries", "auto_explain"),
    ("gn_harvest.lock_timeout", "10min"),
];

/// The export that is harvested: codes, with metadata in each record.
pub const EXPORT: u32 = 3;
pub const SOURCE: &str = "bench";
/// The observations as typed rows, in each copy.
pub const ROWS: &str = "public.bench_row";
const READY: &str = "bench_ready";

pub struct Stage {
    pub cluster: Cluster,
    pub partner: Simulator,
    /// Columns of gn_synthese.synthese that an insert fills; empty without typed rows.
    pub columns: String,
    made: AtomicU32,
}

impl Stage {
    /// `typed`: the observations wait as typed rows too.
    pub fn set(size: u32, typed: bool) -> Stage {
        say("a cluster and a partner");
        let cluster = Cluster::temporary(&SETTINGS);
        let partner = Simulator::start(Config {
            observations: size,
            ..Config::default()
        })
        .expect("a simulated GeoNature");
        cluster.prepare_target();
        let columns = make_ready(&cluster, &partner, typed);
        Stage {
            cluster,
            partner,
            columns,
            made: AtomicU32::new(0),
        }
    }

    pub fn server(&self) -> Database<'_> {
        Database::existing(&self.cluster, "postgres")
    }

    /// A copy of the database in which everything waits.
    pub fn ready(&self) -> Database<'_> {
        self.copy(READY)
    }

    /// An equal copy of a database to which nobody is connected; dropped with the value.
    pub fn copy(&self, of: &str) -> Database<'_> {
        let name = format!("bench_{}", self.made.fetch_add(1, Ordering::Relaxed));
        self.server()
            .run(&format!("CREATE DATABASE {name} TEMPLATE {of}"));
        Database::own(&self.cluster, name)
    }

    /// Caches are warm and no checkpoint of what went before falls into what comes.
    pub fn settle(&self, database: &Database) {
        database.run("CHECKPOINT");
        let rows = (!self.columns.is_empty()).then_some(ROWS);
        let tables = [
            "ref_geo.l_areas",
            "taxonomie.taxref",
            "ref_nomenclatures.t_nomenclatures",
            "gn_sensitivity.t_sensitivity_rules",
            "gn_synthese.synthese",
            "gn_synthese.cor_area_synthese",
            "gn_harvest.harvested",
        ];
        for table in tables.into_iter().chain(rows) {
            database.run(&format!("SELECT count(t.*) FROM {table} t"));
        }
    }

    /// Bytes of WAL written by the cluster so far.
    pub fn wal(&self) -> f64 {
        let bytes = self
            .server()
            .value("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn");
        bytes.parse().expect("a number of bytes")
    }
}

/// Adds the source. `typed`: harvests once, keeps the observations as typed rows, and takes away everything but the
/// metadata. Returns the columns of gn_synthese.synthese that an insert fills; none without typed rows.
fn make_ready(cluster: &Cluster, partner: &Simulator, typed: bool) -> String {
    Database::existing(cluster, "postgres")
        .run(&format!("CREATE DATABASE {READY} TEMPLATE geonature"));
    let ready = Database::existing(cluster, READY);
    let token = partner.token(EXPORT).expect("a token");
    ready.run(&format!(
        "SELECT gn_harvest.add_source('{SOURCE}', '{}', {EXPORT}, token => '{token}', load => 'fast', writers => 2)",
        partner.url()
    ));
    if !typed {
        ready.run("VACUUM ANALYZE");
        return String::new();
    }
    say("one harvest to make the typed rows of");
    let row = ready.row(&format!("SELECT * FROM gn_harvest.run('{SOURCE}', 'full')"));
    assert_eq!(row["status"].as_deref(), Some("succeeded"), "{row:#?}");
    let columns = ready.value(
        "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
         WHERE attrelid = 'gn_synthese.synthese'::regclass AND attnum > 0 AND NOT attisdropped
           AND attname NOT IN ('id_synthese', 'meta_create_date', 'meta_update_date')",
    );
    for statement in [
        format!("CREATE TABLE {ROWS} AS SELECT {columns} FROM gn_synthese.synthese ORDER BY id_synthese"),
        "TRUNCATE gn_synthese.synthese CASCADE".to_owned(),
        "TRUNCATE gn_harvest.run, gn_harvest.harvested, gn_harvest.rejected CASCADE".to_owned(),
        format!("SELECT gn_harvest.alter_source('{SOURCE}', load => 'standard', writers => 1)"),
        "UPDATE gn_harvest.source_state SET watermark = NULL, observations = 0, last_full_at = NULL".to_owned(),
        "VACUUM ANALYZE".to_owned(),
    ] {
        ready.run(&statement);
    }
    columns
}
