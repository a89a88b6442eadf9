//! `make demo`: a partner's observations arrive in gn_synthese, seen as a user sees it, in psql.

use std::path::Path;

use geonature_simulator::{Config, Simulator};
use gn_harvest_outside::{Cluster, Database};

const OBSERVATIONS: u32 = 3000;

fn main() {
    say("A private PostgreSQL cluster with a GeoNature-shaped database…");
    let cluster = Cluster::temporary(&[]);
    let database = cluster.database();

    say(&format!(
        "A simulated partner with {OBSERVATIONS} observations, two of them at fault…"
    ));
    let partner = Simulator::start(Config {
        observations: OBSERVATIONS,
        ..Config::default()
    })
    .expect("a simulated GeoNature");
    let ids = partner.ids();
    partner
        .update(ids[10], &serde_json::json!({"cd_nom": 999_999}))
        .expect("a change");
    partner.tamper(ids[20], "date_debut", Some("\"0000-00-00\""));
    let token = partner.token(3).expect("a token");

    let url = partner.url();
    show(
        &database,
        "Connect the partner",
        &format!(
            "SELECT name, url, export_id, owner FROM gn_harvest.add_source('CEN Alpes', '{url}', 3, token => '{token}', organism => 'Conservatoire d''espaces naturels');"
        ),
    );
    show(
        &database,
        "Pre-flight: does everything answer?",
        "SELECT \"check\", status, left(detail, 100) AS detail FROM gn_harvest.check_source('CEN Alpes');",
    );
    expanded(
        &database,
        "Harvest",
        "SELECT run, mode, status, duration, fetched, inserted, updated, unchanged, rejected, datasets_created, actors_created, requests, pages, watermark FROM gn_harvest.run('CEN Alpes');",
    );

    partner
        .update(
            ids[30],
            &serde_json::json!({"nombre_min": 7, "nombre_max": 8}),
        )
        .expect("a change");
    expanded(
        &database,
        "An observation has changed at the partner: harvest again",
        "SELECT run, mode, status, duration, fetched, inserted, updated, unchanged, rejected, requests, watermark_from FROM gn_harvest.run('CEN Alpes');",
    );

    show(
        &database,
        "Observations by source",
        "SELECT t.name_source, count(*) AS observations, count(DISTINCT s.cd_nom) AS taxa, count(DISTINCT s.id_dataset) AS datasets, (SELECT count(*) FROM gn_synthese.cor_area_synthese) AS area_links FROM gn_synthese.synthese s JOIN gn_synthese.t_sources t USING (id_source) GROUP BY 1;",
    );
    show(
        &database,
        "Five harvested observations",
        "SELECT s.entity_source_pk_value AS source_key, left(s.nom_cite, 30) AS nom_cite, s.date_min, s.count_min AS min, s.count_max AS max, left(d.dataset_name, 30) AS dataset, left(st_astext(s.the_geom_4326), 30) AS geometry FROM gn_synthese.synthese s JOIN gn_meta.t_datasets d USING (id_dataset) ORDER BY s.entity_source_pk_value::bigint LIMIT 5;",
    );
    show(
        &database,
        "Rejected records",
        "SELECT source_key, reason, column_name, value, message, attempts FROM gn_harvest.rejected_record ORDER BY reason;",
    );
    show(
        &database,
        "Every source at a glance",
        "SELECT source, organism, frequency, last_import::timestamp(0), observations, state, rejected FROM gn_harvest.source_status;",
    );

    let written = database.number("SELECT count(*) FROM gn_synthese.synthese");
    assert_eq!(
        written,
        i64::from(OBSERVATIONS) - 2,
        "the demonstration did not harvest what it should"
    );
    say(&format!(
        "{written} of {OBSERVATIONS} observations are in gn_synthese.synthese; the other two wait in gn_harvest.rejected_record.\n   To play with it yourself: make up"
    ));
}

fn say(text: &str) {
    println!("\n== {text}");
}

fn show(database: &Database, title: &str, sql: &str) {
    psql(database, title, sql, &[]);
}

fn expanded(database: &Database, title: &str, sql: &str) {
    psql(database, title, sql, &["-x"]);
}

fn psql(database: &Database, title: &str, sql: &str, options: &[&str]) {
    say(title);
    println!("{}=# {sql}", database.name);
    let arguments: Vec<&str> = options
        .iter()
        .copied()
        .chain(["-P", "pager=off", "-c", sql])
        .collect();
    print!(
        "{}",
        database
            .cluster
            .psql(&database.name, Path::new("."), &arguments)
    );
}
