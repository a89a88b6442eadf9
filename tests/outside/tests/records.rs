//! target => 'records': any export, kept whole, in a database with neither GeoNature nor PostGIS.

use geonature_simulator::Simulator;
use gn_harvest_outside::{Database, Row, Stop};
use serde_json::{Value, json};

use crate::any_export::AnyExport;
use crate::people::*;
use crate::support::*;

const RECORDS: &str = "target => 'records'";

/// A database with the extension and nothing else.
pub fn plain() -> Database<'static> {
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

/// A source of an export of anything; `options` are further arguments of add_source.
pub fn add_any(database: &Database, name: &str, export: &AnyExport, options: &str) {
    database.run(&format!(
        "SELECT gn_harvest.add_source('{name}', '{}', 1, target => 'records'{options})",
        export.url
    ));
}

/// The items here by key, in the order of their keys.
fn items(database: &Database) -> Vec<String> {
    let rows = database.rows("SELECT source_key || ' ' || item::text AS line FROM gn_harvest.harvested_record ORDER BY source_key");
    rows.iter()
        .map(|row| text(row, "line").to_owned())
        .collect()
}

#[test]
fn exports_by_text_keys_of_metadata_and_in_geojson_are_mirrored() {
    let partner = partner(230);
    // Where the UUID is the key, a record without one waits.
    let with_uuid = partner
        .truth()
        .iter()
        .filter(|row| !row["id_perm_sinp"].is_null())
        .count() as i64;
    let frameworks = partner.metadata_truth().len() as i64;
    for (export, rows) in [(9, with_uuid), (6, 230), (4, frameworks)] {
        let refused = if export == 9 { 230 - rows } else { 0 };
        let database = plain();
        add_source(&database, "cen", &partner, export, RECORDS);
        let first = run_well(&database, "cen", "auto");
        assert_eq!(
            number(&first, "inserted"),
            rows,
            "export {export}: {first:#?}"
        );
        let before = writes(&database);
        let again = run_well(&database, "cen", "reconcile");
        assert_eq!(figures(&again), [0, 0, rows, 0, refused], "export {export}");
        assert_eq!(writes(&database), before, "export {export}");
        let with_geometry = database.number("SELECT count(wkb) FROM gn_harvest.harvested_record");
        assert_eq!(with_geometry > 0, export != 4, "export {export}");
        assert_eq!(
            database.number("SELECT count(*) FROM gn_harvest.record r JOIN gn_harvest.harvested h ON h.id_synthese = r.id AND h.source_id = r.source_id AND h.source_key = r.source_key AND h.uuid IS NOT DISTINCT FROM r.uuid"),
            rows
        );
    }
    let gone = partner.ids()[..5].to_vec();
    let database = plain();
    add_source(&database, "texte", &partner, 9, RECORDS);
    run_well(&database, "texte", "full");
    partner.delete(&gone);
    let next = run_well(&database, "texte", "reconcile");
    assert_eq!(
        figures(&next),
        [0, 0, with_uuid - 5, 5, 230 - with_uuid],
        "{next:#?}"
    );
    let buried = database.number("SELECT count(*) FROM gn_harvest.harvested WHERE deleted_run IS NOT NULL AND id_synthese IS NULL");
    assert_eq!(buried, 5, "the lineage says which run deleted them");
}

#[test]
fn the_order_of_members_and_white_space_are_no_change_and_digits_are() {
    let database = plain();
    let export = AnyExport::start(
        "id",
        &[r#"{"id": 1, "site": {"nom": "Mare", "alt": 12.50}, "vu": null}"#],
    );
    add_any(&database, "sites", &export, "");
    assert_eq!(
        figures(&run_well(&database, "sites", "auto")),
        [1, 0, 0, 0, 0]
    );
    let (before, changed_at) = (
        writes(&database),
        "SELECT changed_at FROM gn_harvest.harvested_record",
    );
    let written = database.value(changed_at);
    export.serve(&["{\"vu\":null,  \"site\":{\"alt\":12.50,\"nom\":\"Mare\"},\n\"id\":1}"]);
    assert_eq!(
        figures(&run_well(&database, "sites", "auto")),
        [0, 0, 1, 0, 0]
    );
    assert_eq!(writes(&database), before);
    export.serve(&[r#"{"id": 1, "site": {"nom": "Mare", "alt": 12.5}, "vu": null}"#]);
    assert_eq!(
        figures(&run_well(&database, "sites", "auto")),
        [0, 1, 0, 0, 0]
    );
    assert!(database.value(changed_at) > written);
    assert_eq!(
        items(&database),
        [r#"1 {"id": 1, "vu": null, "site": {"alt": 12.5, "nom": "Mare"}}"#]
    );
    // Only the geometry.
    export.serve(&[r#"{"id": 1, "wkt": "POINT (5 45)"}"#]);
    run_well(&database, "sites", "auto");
    assert_eq!(
        database.value("SELECT wkb FROM gn_harvest.harvested_record"),
        "\\x010100000000000000000014400000000000804640"
    );
}

#[test]
fn a_bad_record_waits_whole_and_harms_no_other_and_is_tried_again() {
    let database = plain();
    let deep = format!(
        r#"{{"id": 5, "d": {}{}}}"#,
        "[".repeat(110),
        "]".repeat(110)
    );
    let export = AnyExport::start(
        "id",
        &[
            r#"{"id": 1, "nom": "un"}"#,
            r#"{"id": 2, "nom": "nul\u0000"}"#,
            r#"{"id": 3, "nom": "trois"}"#,
            r#"{"id": 3, "nom": "encore trois"}"#,
            r#"{"id": 3, "nom": "trois"}"#,
            r#"{"id": 4, "nom": "quatre", "wkt": "POINT (949500 6540000)"}"#,
            &deep,
        ],
    );
    add_any(&database, "sites", &export, ", max_loss => 100");
    let first = run_well(&database, "sites", "auto");
    assert_eq!(figures(&first), [3, 0, 0, 0, 3], "{first:#?}");
    assert_eq!(
        number(&first, "repeated"),
        1,
        "what comes twice the same counts once"
    );
    assert!(
        text(&first, "warnings").contains("1 records are here without geometry"),
        "{first:#?}"
    );
    let reasons = "SELECT string_agg(reason || ' ' || source_key, ', ' ORDER BY reason, source_key) FROM gn_harvest.rejected_record";
    assert_eq!(
        database.value(reasons),
        "bad_json 2, bad_json 5, duplicate_key 3"
    );
    let kept =
        database.value("SELECT payload FROM gn_harvest.rejected_record WHERE source_key = '2'");
    assert_eq!(kept, r#"{"id": 2, "nom": "nul\u0000"}"#);

    // Nothing has changed: they are refused again, and what is here stays.
    let again = database.row("SELECT * FROM gn_harvest.retry_rejected('sites')");
    assert_eq!(figures(&again), [0, 0, 0, 0, 3], "{again:#?}");
    assert_eq!(
        database
            .value("SELECT item ->> 'nom' FROM gn_harvest.harvested_record WHERE source_key = '3'"),
        "trois"
    );
    assert_eq!(
        database.value(reasons),
        "bad_json 2, bad_json 5, duplicate_key 3"
    );

    // The partner mends two, and the key that was taken twice is taken once.
    export.serve(&[
        r#"{"id": 1, "nom": "un"}"#,
        r#"{"id": 2, "nom": "deux"}"#,
        r#"{"id": 3, "nom": "encore trois"}"#,
        r#"{"id": 5}"#,
    ]);
    let mended = run_well(&database, "sites", "reconcile");
    assert_eq!(database.value(reasons), "");
    assert_eq!(text(&mended, "status"), "succeeded");
}

#[test]
fn a_rejected_record_is_written_once_what_refused_it_is_gone() {
    let database = plain();
    let export = AnyExport::start("id", &[r#"{"id": 1, "n": 1}"#, r#"{"id": 2, "n": 2}"#]);
    add_any(&database, "sites", &export, "");
    // Something in the database refuses one record of the batch: it is found among the others.
    database.run("ALTER TABLE gn_harvest.record ADD CONSTRAINT no_two CHECK (item ->> 'n' <> '2')");
    let first = run_well(&database, "sites", "auto");
    assert_eq!(figures(&first), [1, 0, 0, 0, 1], "{first:#?}");
    let letter = database.row("SELECT * FROM gn_harvest.rejected_record");
    assert_eq!(
        (
            text(&letter, "reason"),
            text(&letter, "sqlstate"),
            text(&letter, "source_key")
        ),
        ("target_error", "23514", "2")
    );
    database.run("ALTER TABLE gn_harvest.record DROP CONSTRAINT no_two");
    let retried = database.row("SELECT * FROM gn_harvest.retry_rejected('sites')");
    assert_eq!(figures(&retried), [1, 0, 0, 0, 0], "{retried:#?}");
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.rejected_record"),
        0
    );
    assert_eq!(
        database.number("SELECT observations FROM gn_harvest.source_status"),
        2
    );
}

#[test]
fn a_geometry_that_only_geojson_has_and_that_can_not_be_read_keeps_its_record_waiting() {
    let database = plain();
    let partner = partner(40);
    partner.drop_column(6, "wkt_4326").expect("a column");
    let bad = partner.ids()[3];
    let lambert = r#"{"type": "Point", "coordinates": [949500, 6540000]}"#;
    partner.tamper(bad, "geometry", Some(lambert));
    add_source(&database, "cen", &partner, 6, RECORDS);
    let first = run_well(&database, "cen", "auto");
    assert_eq!(figures(&first), [39, 0, 0, 0, 1], "{first:#?}");
    let letter = database.row("SELECT * FROM gn_harvest.rejected_record");
    assert_eq!(
        (text(&letter, "reason"), text(&letter, "source_key")),
        ("invalid_geometry", bad.to_string().as_str())
    );
    assert!(text(&letter, "payload").contains("949500"));
    let again = database.row("SELECT * FROM gn_harvest.retry_rejected('cen')");
    assert_eq!(figures(&again), [0, 0, 0, 0, 1], "{again:#?}");
    partner.mend_all();
    let mended = run_well(&database, "cen", "full");
    assert_eq!(figures(&mended), [1, 0, 39, 0, 0], "{mended:#?}");
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.rejected_record"),
        0
    );
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.record WHERE wkb IS NULL OR item ? 'geometry' OR item ? 'properties'"),
        0,
        "the item has the columns, the geometry its own place"
    );
}

fn with_uuid(id: i64, uuid: u8, note: &str) -> String {
    format!(
        r#"{{"id": {id}, "uuid": "3f0c2b1a-0000-4000-8000-0000000000{uuid:02x}", "note": "{note}"}}"#
    )
}

fn serve(export: &AnyExport, items: &[String]) {
    export.serve(&items.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a_record_that_changed_its_key_and_not_its_uuid_is_the_same() {
    let database = plain();
    let export = AnyExport::start("id", &[]);
    serve(
        &export,
        &[
            with_uuid(1, 1, "a"),
            with_uuid(2, 2, "b"),
            with_uuid(3, 3, "c"),
        ],
    );
    add_any(&database, "sites", &export, ", max_loss => 100");
    run_well(&database, "sites", "auto");
    let id_of = |uuid: u8| {
        database.number(&format!("SELECT record_id FROM gn_harvest.harvested_record WHERE uuid = '3f0c2b1a-0000-4000-8000-0000000000{uuid:02x}'"))
    };
    let before = [id_of(1), id_of(2), id_of(3)];
    // Numbered anew; one goes to the key of one that is gone.
    serve(&export, &[with_uuid(11, 1, "a"), with_uuid(3, 2, "b")]);
    let moved = run_well(&database, "sites", "reconcile");
    assert_eq!(figures(&moved), [0, 2, 0, 1, 0], "{moved:#?}");
    assert_eq!([id_of(1), id_of(2)], before[..2]);
    assert_eq!(items(&database).len(), 2);
    assert_eq!(
        database.number("SELECT observations FROM gn_harvest.source_status"),
        2
    );
    let again = run_well(&database, "sites", "reconcile");
    assert_eq!(figures(&again), [0, 0, 2, 0, 0], "{again:#?}");
    // Keys that change hands: what is here is what the export says.
    serve(
        &export,
        &[
            with_uuid(3, 1, "a"),
            with_uuid(11, 2, "b"),
            with_uuid(12, 4, "d"),
        ],
    );
    run_well(&database, "sites", "reconcile");
    let here = "SELECT string_agg(source_key || (item ->> 'note'), ' ' ORDER BY source_key) FROM gn_harvest.harvested_record";
    assert_eq!(database.value(here), "11b 12d 3a");
    let again = run_well(&database, "sites", "reconcile");
    assert_eq!(figures(&again), [0, 0, 3, 0, 0], "{again:#?}");
    // Two records with one UUID are two.
    serve(
        &export,
        &[
            with_uuid(3, 1, "a"),
            with_uuid(11, 2, "b"),
            with_uuid(12, 2, "d"),
            with_uuid(13, 2, "e"),
        ],
    );
    run_well(&database, "sites", "reconcile");
    assert_eq!(database.value(here), "11b 12d 13e 3a");
    assert_eq!(
        figures(&run_well(&database, "sites", "reconcile")),
        [0, 0, 4, 0, 0]
    );
}

#[test]
fn a_key_that_was_named_is_all_that_identifies_a_record() {
    let database = plain();
    let export = AnyExport::start("id", &[]);
    serve(&export, &[with_uuid(1, 1, "first visit")]);
    add_any(&database, "visites", &export, ", key_column => 'id'");
    run_well(&database, "visites", "auto");
    // The UUID is that of the site: another visit of it is another record, also when the first is not read again.
    serve(&export, &[with_uuid(2, 1, "second visit")]);
    assert_eq!(
        figures(&run_well(&database, "visites", "full")),
        [1, 0, 0, 0, 0]
    );
    assert_eq!(items(&database).len(), 2);
}

#[test]
fn two_sources_may_have_records_with_the_same_uuid() {
    let database = plain();
    let partner = partner(40);
    add_source(&database, "one", &partner, 3, RECORDS);
    add_source(&database, "two", &partner, 2, RECORDS);
    for source in ["one", "two"] {
        assert_eq!(figures(&run_well(&database, source, "auto"))[0], 40);
        assert_eq!(
            figures(&run_well(&database, source, "full")),
            [0, 0, 40, 0, 0]
        );
    }
    assert_eq!(
        database
            .number("SELECT count(DISTINCT uuid) FROM gn_harvest.record WHERE uuid IS NOT NULL"),
        database.number("SELECT count(uuid) / 2 FROM gn_harvest.record")
    );
    database.run("SELECT gn_harvest.drop_source('one', delete_data => true)");
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.record"),
        40
    );
    assert_eq!(
        figures(&run_well(&database, "two", "full")),
        [0, 0, 40, 0, 0]
    );
}

#[test]
fn the_log_of_observations_deletes_no_record_of_another_kind() {
    let database = plain();
    let partner = partner(60);
    partner
        .rename_column(3, "id_synthese", "numero")
        .expect("another name");
    database.run(&format!(
        "SELECT gn_harvest.add_source('cen', '{}', 3, login => 'moissonneur', password => 'moissonneur', target => 'records', key_column => 'numero')",
        partner.url()
    ));
    run_well(&database, "cen", "auto");
    let checks =
        database.rows("SELECT * FROM gn_harvest.check_source('cen') WHERE \"check\" = 'deletions'");
    assert!(
        text(&checks[0], "hint").contains("reconcile"),
        "{checks:#?}"
    );
    partner.delete(&partner.ids()[..3]);
    assert_eq!(figures(&run_well(&database, "cen", "auto"))[3], 0);
    assert_eq!(figures(&run_well(&database, "cen", "reconcile"))[3], 3);
}

#[test]
fn records_that_someone_has_taken_out_of_the_table_come_back() {
    let database = plain();
    let partner = partner(50);
    add_source(&database, "cen", &partner, 3, RECORDS);
    run_well(&database, "cen", "auto");
    database.run("DELETE FROM gn_harvest.record WHERE id <= 20");
    let next = run_well(&database, "cen", "full");
    assert_eq!(figures(&next), [20, 0, 30, 0, 0], "{next:#?}");
    assert_mirrors(&database, &partner);
}

#[test]
fn a_run_that_was_killed_goes_on_from_its_last_batch() {
    let cluster = fragile_cluster();
    let partner = partner(600);
    let options = "target => 'records', page_size => 50, connections => 1";
    for crash in [true, false] {
        let database = cluster.empty_database();
        database.run("CREATE EXTENSION gn_harvest");
        add_source(&database, "cen", &partner, 3, options);
        let broken = start_and_hang(&database, "cen", &partner, 5);
        if crash {
            cluster.stop(Stop::Immediate);
            partner.clear_faults();
            cluster.start();
        } else {
            database.run(&format!("SELECT gn_harvest.cancel({broken})"));
            ended(&database, broken);
            partner.clear_faults();
        }
        let written = database.number("SELECT count(*) FROM gn_harvest.record");
        assert!(written > 0 && written < 600, "{written}");
        let next = run_well(&database, "cen", "auto");
        assert_eq!(number(&next, "resumes"), broken);
        assert_eq!(figures(&next), [600 - written, 0, 0, 0, 0], "{next:#?}");
        assert_mirrors(&database, &partner);
    }
}

#[test]
fn a_dropped_source_leaves_its_records_to_its_owner_and_to_the_source_that_comes_back() {
    let database = plain();
    let partner = partner(80);
    let (owner, other) = (role(&database, "owner"), role(&database, "other"));
    for role in [&owner, &other] {
        database.run(&format!("SELECT gn_harvest.grant_operator('{role}')"));
    }
    let add = format!(
        "SELECT gn_harvest.add_source('cen', '{}', 3, token => 'jeton-export-3', target => 'records')",
        partner.url()
    );
    as_role(&database, &owner, &add);
    as_role(&database, &owner, "SELECT gn_harvest.run('cen')");
    as_role(&database, &owner, "SELECT gn_harvest.drop_source('cen')");
    let seen = |role: &str| {
        value_as(
            &database,
            role,
            "SELECT count(*) FROM gn_harvest.harvested_record WHERE source = 'cen'",
        )
    };
    assert_eq!(
        (seen(&owner), seen(&other)),
        ("80".to_owned(), "0".to_owned())
    );
    // The name alone gives nobody a right on them.
    as_role(&database, &other, &add);
    assert_eq!(seen(&other), "0");
    as_role(&database, &other, "SELECT gn_harvest.drop_source('cen')");
    assert_eq!(seen(&other), "0");
    as_role(&database, &owner, &add);
    assert_eq!(
        value_as(
            &database,
            &owner,
            "SELECT observations FROM gn_harvest.source_status"
        ),
        "80"
    );
    let run = value_as(
        &database,
        &owner,
        "SELECT concat_ws(' ', status, inserted, updated, unchanged) FROM gn_harvest.run('cen')",
    );
    assert_eq!(run, "succeeded 0 0 80");
    as_role(
        &database,
        &owner,
        "SELECT gn_harvest.drop_source('cen', delete_data => true)",
    );
    assert_eq!(database.number("SELECT count(*) FROM gn_harvest.record"), 0);
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.harvested"),
        0
    );
    database.run(&format!(
        "DROP OWNED BY {owner}, {other}; DROP ROLE {owner}, {other}"
    ));
}

#[test]
fn the_target_of_a_source_stays_once_something_is_in_it() {
    let database = cluster().database();
    let partner = partner(30);
    add_source(&database, "cen", &partner, 3, "");
    database.run("SELECT gn_harvest.alter_source('cen', target => 'records')");
    run_well(&database, "cen", "auto");
    assert_eq!(
        database.number("SELECT count(*) FROM gn_synthese.synthese"),
        0
    );
    let error = database.error("SELECT gn_harvest.alter_source('cen', target => 'synthese')");
    assert!(
        error.starts_with("55000: ")
            && error.contains("30 records")
            && error.contains("HINT: SELECT gn_harvest.drop_source('cen', delete_data => true)"),
        "{error}"
    );
    for (call, part) in [
        (
            "alter_source('cen', target => 'csv')",
            "target can not be \"csv\"",
        ),
        (
            "add_source('x', 'https://g.example.org', 1, target => 'csv')",
            "target can not be \"csv\"",
        ),
        (
            "add_source('x', 'https://g.example.org', 1, target => 'records', metadata_export_id => 4)",
            "setting \"metadata_export_id\" has no meaning",
        ),
        (
            "add_source('x', 'https://g.example.org', 1, target => 'records', data_type => 'synthese')",
            "setting \"format\" has no meaning",
        ),
        (
            "alter_source('cen', protected_columns => '{validator}')",
            "setting \"protected_columns\" has no meaning",
        ),
        (
            "map_value('cen', 'cd_nom', '1', '2')",
            "nothing can be mapped for source \"cen\"",
        ),
        (
            "map_field('cen', 'nom_cite', constant => 'x')",
            "nothing can be mapped",
        ),
        (
            "map_dataset('cen', gen_random_uuid(), gen_random_uuid())",
            "nothing can be mapped",
        ),
    ] {
        let error = database.error(&format!("SELECT gn_harvest.{call}"));
        assert!(
            error.starts_with("22023: ") && error.contains(part) && error.contains("HINT: "),
            "{call}: {error}"
        );
    }
    // Emptied, it may go elsewhere.
    partner.delete_silently(&partner.ids());
    partner.insert(&json!({})).expect("one is left");
    database.row("SELECT * FROM gn_harvest.run('cen', 'reconcile', allow_loss => true)");
    let left = database.value("SELECT source_key FROM gn_harvest.record");
    assert_ne!(left, "");
    database.run("SELECT gn_harvest.drop_source('cen', delete_data => true)");
    add_source(&database, "cen", &partner, 3, "");
    assert_eq!(figures(&run_well(&database, "cen", "auto"))[0], 1);
    assert_eq!(
        database.number("SELECT count(*) FROM gn_synthese.synthese"),
        1
    );
}

#[test]
fn check_source_shows_the_item_and_says_when_nothing_tells_records_apart() {
    let database = plain();
    let export = AnyExport::start(
        "id",
        &[r#"{"id": 1, "nom": "Mare", "wkt": "POINT (5 45)"}"#],
    );
    add_any(&database, "sites", &export, "");
    let detail = |check: &str| {
        let rows = database.rows(&format!(
            "SELECT * FROM gn_harvest.check_source('sites') WHERE \"check\" = '{check}'"
        ));
        assert_eq!(rows.len(), 1, "{check}");
        format!("{}: {}", text(&rows[0], "status"), text(&rows[0], "detail"))
    };
    assert_eq!(
        detail("columns"),
        "ok: 3 columns, each kept as it is: id, nom, wkt"
    );
    assert!(detail("sample").contains("\"nom\": \"Mare\""));
    assert!(detail("target").starts_with("ok: gn_harvest.record; without PostGIS"));
    assert!(detail("records").starts_with("ok: of 1 records"));
    let checks = database.rows("SELECT \"check\" FROM gn_harvest.check_source('sites')");
    for absent in [
        "codes_or_labels",
        "metadata",
        "silent_columns",
        "unknown_columns",
    ] {
        assert!(
            !checks.iter().any(|row| text(row, "check") == absent),
            "{absent}"
        );
    }
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.record"),
        0,
        "nothing stays"
    );
    export.serve(&[r#"{"nom": "Mare"}"#]);
    let failed = run(&database, "sites", "auto");
    assert_eq!(
        (text(&failed, "status"), text(&failed, "error_sqlstate")),
        ("failed", "42703")
    );
    assert!(
        text(&failed, "error_hint").contains("key_column"),
        "{failed:#?}"
    );
    database.run("SELECT gn_harvest.alter_source('sites', key_column => 'nom')");
    run_well(&database, "sites", "auto");
    assert_eq!(items(&database), [r#"Mare {"nom": "Mare"}"#]);
}
