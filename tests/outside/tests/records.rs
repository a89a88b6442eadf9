//! target => 'records': any export, kept whole, in a database with neither GeoNature nor PostGIS.

use geonature_simulator::{Config, Simulator};
use gn_harvest_outside::{Database, Row, Stop};
use serde_json::{Value, json};

use crate::bare_server::{BareServer, answer};
use crate::people::*;
use crate::support::*;

const RECORDS: &str = "target => 'records'";

/// A database with the extension and nothing else.
fn plain() -> Database<'static> {
    let database = cluster().empty_database();
    database.run("CREATE EXTENSION gn_harvest");
    database
}

/// The items here are those of the partner's export, each once.
fn assert_mirrors(database: &Database, partner: &Simulator) {
    const COLUMNS: [&str; 5] = [
        "id_synthese",
        "id_perm_sinp",
        "cd_nom",
        "nom_cite",
        "comment_occurrence",
    ];
    let pick = |item: &Value| -> Value {
        COLUMNS
            .iter()
            .map(|name| {
                let text = match &item[name] {
                    Value::Number(number) => Value::String(number.to_string()),
                    other => other.clone(),
                };
                (*name, text)
            })
            .collect()
    };
    let here = database.rows("SELECT item FROM gn_harvest.harvested_record");
    let mut here: Vec<String> = here
        .iter()
        .map(|row| pick(&serde_json::from_str(text(row, "item")).expect("JSON")).to_string())
        .collect();
    let mut there: Vec<String> = partner
        .truth()
        .iter()
        .map(|row| pick(row).to_string())
        .collect();
    here.sort();
    there.sort();
    assert_eq!(here.len(), there.len());
    for (here, there) in here.iter().zip(&there) {
        assert_eq!(here, there);
    }
    assert_eq!(
        database.number("SELECT observations FROM gn_harvest.source_status"),
        there.len() as i64
    );
}

/// inserted, updated, unchanged, deleted, rejected.
fn figures(run: &Row) -> [i64; 5] {
    ["inserted", "updated", "unchanged", "deleted", "rejected"].map(|name| number(run, name))
}

/// What has been written to the table of records since the database was made.
fn writes(database: &Database) -> String {
    database.value("SELECT concat_ws(' ', xmin_max, count) FROM (SELECT max(xmin::text::bigint) AS xmin_max, count(*) FROM gn_harvest.record) r")
}

#[test]
fn a_database_with_neither_geonature_nor_postgis_mirrors_an_export_through_its_life() {
    let database = plain();
    let partner = partner(1200);
    database.run(&format!(
        "SELECT gn_harvest.add_source('cen', '{}', 3, login => 'moissonneur', password => 'moissonneur', target => 'records')",
        partner.url()
    ));
    let first = run_well(&database, "cen", "auto");
    assert_eq!(figures(&first), [1200, 0, 0, 0, 0], "{first:#?}");
    assert_eq!(text(&first, "mode"), "full");
    assert_mirrors(&database, &partner);

    let before = writes(&database);
    let again = run_well(&database, "cen", "full");
    assert_eq!(figures(&again), [0, 0, 1200, 0, 0], "{again:#?}");
    assert_eq!(writes(&database), before, "unchanged costs nothing");

    // An increment: changes, news, and deletions by the log.
    let ids = partner.ids();
    partner
        .update_many(&ids[10..40], &json!({"comment_occurrence": "revu"}))
        .expect("changes");
    partner.insert(&json!({})).expect("a new one");
    partner.delete(&ids[..7]);
    let next = run_well(&database, "cen", "auto");
    assert_eq!(text(&next, "mode"), "incremental");
    let [inserted, updated, _, deleted, rejected] = figures(&next);
    assert_eq!(
        (inserted, updated, deleted, rejected),
        (1, 30, 7, 0),
        "{next:#?}"
    );
    assert_mirrors(&database, &partner);

    // What left without a word, by reconcile; too much of it, never.
    partner.delete_silently(&ids[100..120]);
    let reconciled = run_well(&database, "cen", "reconcile");
    assert_eq!(number(&reconciled, "deleted"), 20, "{reconciled:#?}");
    assert_mirrors(&database, &partner);
    partner.delete_silently(&ids[200..800]);
    let blocked = run(&database, "cen", "reconcile");
    assert_eq!(text(&blocked, "status"), "blocked", "{blocked:#?}");
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.record"),
        1174
    );
    let allowed =
        database.row("SELECT * FROM gn_harvest.run('cen', 'reconcile', allow_loss => true)");
    assert_eq!(number(&allowed, "deleted"), 600, "{allowed:#?}");
    assert_mirrors(&database, &partner);
}
