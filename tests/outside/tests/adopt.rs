//! The real GN2PG harvests, adopt_gn2pg takes its installation over, and gn_harvest goes on: nothing twice, nothing lost,
//! every column as if gn_harvest had harvested it from the beginning.

use geonature_simulator::Simulator;
use gn_harvest_outside::{Database, Row};
use serde_json::json;

use crate::plan::plan_and_run;
use crate::support::*;
use crate::truth::assert_equal;
use gn_harvest_outside::gn2pg::{Gn2pg, Settings, V1_9, V1_10, Version};

/// GN2PG's own form of "LPO Isère".
pub const NAME: &str = "lpo_isere";

pub fn settings(partner: &Simulator) -> Settings<'_> {
    Settings {
        name: "LPO Isère",
        partner,
        export: 3,
        data_type: "synthese_with_metadata",
        query: "",
        tuning: "max_page_length = 1000\nmax_retry = 0\nretry_delay = 0",
    }
}

/// GN2PG has harvested a partner.
pub fn harvested_by_gn2pg<'d>(
    version: Version,
    database: &'d Database<'d>,
    partner: &Simulator,
) -> Gn2pg<'d> {
    let gn2pg = Gn2pg::set_up(version, database, &settings(partner));
    let said = gn2pg.download();
    let downloads = "SELECT count(*) FROM gn2pg_import.import_log WHERE xfer_status = 'success' AND data_count_errors = 0";
    assert_eq!(database.number(downloads), 1, "{said}");
    gn2pg
}

/// The row that adopt_gn2pg gives; `arguments` beside the schema and the source.
pub fn adopt(database: &Database, arguments: &str) -> Row {
    database.row(&format!(
        "SELECT * FROM gn_harvest.adopt_gn2pg('gn2pg_import', '{NAME}'{arguments})"
    ))
}

/// Arguments that connect the source to its export.
pub fn by_token(partner: &Simulator) -> String {
    format!(", '{}', 3, token => 'jeton-export-3'", partner.url())
}

pub fn figures(row: &Row) -> [i64; 4] {
    ["downloaded", "held", "to_come", "unexplained"].map(|column| number(row, column))
}

/// What a harvest leaves, whoever wrote it: without the last action, and without hashes, in which local numbers are.
fn image_of_values(database: &Database) -> Vec<Row> {
    let mut image = image(database);
    for row in &mut image {
        if let Some(Some(text)) = row.get_mut("observation") {
            *text = text.replace("\"last_action\": \"U\"", "\"last_action\": \"I\"");
        }
        if let Some(Some(text)) = row.get_mut("lineage") {
            *text = text.split(' ').take(2).collect::<Vec<&str>>().join(" ");
        }
    }
    image
}

/// Observations of GN2PG are all here once, and as gn_harvest alone would have written them.
fn assert_as_from_the_beginning(database: &Database, partner: &Simulator) {
    let fresh = cluster().database();
    add_source(&fresh, NAME, partner, 3, "");
    run_well(&fresh, NAME, "full");
    let (found, expected) = (image_of_values(database), image_of_values(&fresh));
    for (f, e) in found.iter().zip(&expected) {
        assert_eq!(f, e);
    }
    assert_eq!(found.len(), expected.len(), "rows");
}

/// GN2PG 1.10 asks for what changed up to the second in which it starts, and never again for what changed later in it.
fn wait_for_the_next_second() {
    let second = || {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("a time")
            .as_secs()
    };
    let now = second();
    until(10, "the next second", || second() > now);
}

fn taken_over(version: Version) {
    let database = cluster().database();
    let partner = partner(300);
    let gn2pg = harvested_by_gn2pg(version, &database, &partner);
    let ids = partner.ids();
    let with_uuid = |id: &&i64| !partner.observation(**id).expect("it")["id_perm_sinp"].is_null();
    let mut next = ids.iter().filter(with_uuid).copied();
    let mut some = |count: usize| next.by_ref().take(count).collect::<Vec<i64>>();

    // GN2PG follows some changes, and its triggers do.
    partner
        .update_many(&some(3), &json!({"nom_lieu": "Suivi"}))
        .expect("a change");
    partner.delete(&some(2));
    partner.insert(&json!({})).expect("a new one");
    wait_for_the_next_second();
    gn2pg.update();
    let followed = "SELECT count(*) FROM gn_synthese.synthese WHERE place_name = 'Suivi'";
    assert_eq!(database.number(followed), 3);

    // Others come after it: values, UUIDs and keys that change, deletions, news; and a row that someone deletes here.
    partner.update_many(&some(3), &json!({"nom_lieu": "Nouveau", "date_debut": "2020-02-03 04:05:06", "date_fin": "2020-02-03 04:05:06"})).expect("a change");
    partner
        .update(
            some(1)[0],
            &json!({"id_perm_sinp": "0f6d1c1e-5a51-4c7b-9d0f-3e1f6b1c0001"}),
        )
        .expect("another UUID");
    partner
        .update(some(1)[0], &json!({"id_synthese": 900_001}))
        .expect("another key");
    let deleted = some(4);
    partner.delete(&deleted);
    partner.insert(&json!({})).expect("a new one");
    let removed = some(1)[0];
    database.run(&format!(
        "DELETE FROM gn_synthese.synthese WHERE entity_source_pk_value = '{removed}'"
    ));

    let kept = "SELECT md5(string_agg(d::text, '' ORDER BY d::text)) || (SELECT count(*) FROM pg_trigger WHERE tgrelid = 'gn2pg_import.data_json'::regclass AND tgenabled = 'O')
                FROM gn2pg_import.data_json d";
    let before = database.value(kept);
    let records = database.number("SELECT count(*) FROM gn2pg_import.data_json");
    let rows = database.number("SELECT count(*) FROM gn_synthese.synthese");
    let without_uuid =
        database.number("SELECT count(*) FROM gn2pg_import.data_json WHERE uuid IS NULL");
    assert!(without_uuid > 0, "some are never written by GN2PG");

    let arguments = format!(
        ", url => '{}/', export_id => 3, login => 'moissonneur', password => 'moissonneur'",
        partner.url()
    );
    let adopted = adopt(&database, &arguments);
    // What is adopted counts at once, by taxon and dataset too.
    let uncounted = database.number(
        "SELECT count(*) FROM gn_harvest.harvested h JOIN gn_synthese.synthese s USING (id_synthese)
         WHERE (h.cd_nom, h.id_dataset) IS DISTINCT FROM (s.cd_nom, s.id_dataset)",
    );
    assert_eq!(uncounted, 0);
    assert_eq!(
        (text(&adopted, "state"), text(&adopted, "adopted_as")),
        ("adopted", NAME)
    );
    assert_eq!(
        figures(&adopted),
        [records, rows, without_uuid + 1, 0],
        "{adopted:#?}"
    );
    assert_eq!(text(&adopted, "missing"), "{}");
    assert_eq!(
        database.value(kept),
        before,
        "GN2PG's tables and triggers are as they were"
    );
    let state = database.row("SELECT observations, id_source, (SELECT count(*) FROM gn_harvest.harvested WHERE attributes_hash IS NULL AND id_synthese IS NOT NULL) AS lineage FROM gn_harvest.source_state");
    assert_eq!(
        (number(&state, "observations"), number(&state, "lineage")),
        (rows, rows)
    );

    let (_, first) = plan_and_run(&database, NAME, "auto");
    assert_eq!(text(&first, "mode"), "full", "whatever the watermark");
    // New: those without UUID, the one removed here, the one that came since. Deleted: by the log.
    assert_eq!(
        ["inserted", "deleted", "rejected"].map(|column| number(&first, column)),
        [without_uuid + 2, 4, 0],
        "{first:#?}"
    );
    assert_complete(&database, NAME, &partner);
    assert_equal(&database, NAME, &partner, 3);
    assert_as_from_the_beginning(&database, &partner);

    let second = run_well(&database, NAME, "auto");
    assert_eq!(text(&second, "mode"), "incremental");
    let third = run_well(&database, NAME, "full");
    for run in [second, third] {
        let written = ["inserted", "updated", "deleted"].map(|column| number(&run, column));
        assert_eq!(written, [0, 0, 0], "{run:#?}");
    }
}

#[test]
fn an_installation_of_gn2pg_1_9_is_taken_over_and_repaired() {
    taken_over(V1_9);
}

#[test]
fn an_installation_of_gn2pg_1_10_is_taken_over_and_repaired() {
    taken_over(V1_10);
}

#[test]
fn the_sources_are_listed_with_what_is_missing_and_the_call_to_make() {
    let database = cluster().database();
    let partner = partner(60);
    let gn2pg = harvested_by_gn2pg(V1_10, &database, &partner);
    let list = || database.rows("SELECT * FROM gn_harvest.adopt_gn2pg('gn2pg_import')");
    let [row] = &list()[..] else {
        panic!("{:#?}", list())
    };
    let told = [
        "gn2pg_source",
        "state",
        "data_type",
        "partner_url",
        "missing",
    ]
    .map(|column| text(row, column).to_owned());
    assert_eq!(
        told,
        [
            NAME,
            "incomplete",
            "synthese_with_metadata",
            "",
            "{url,export_id,credentials}"
        ]
    );
    assert_eq!(
        text(row, "next_step"),
        "SELECT * FROM gn_harvest.adopt_gn2pg('gn2pg_import', 'lpo_isere', url => 'https://…', export_id => …, token => '…');"
    );
    let started = database.value("SELECT xfer_start_ts FROM gn2pg_import.import_log");
    assert_eq!(text(row, "last_import"), started);
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.source"),
        0,
        "nothing is connected by half"
    );

    // A download that failed says where it asked.
    partner.add_fault(geonature_simulator::Rule::always(
        geonature_simulator::Route::Export,
        geonature_simulator::Fault::Status {
            status: 404,
            json: true,
            retry_after: None,
            retry_after_date: None,
        },
    ));
    gn2pg.download();
    partner.clear_faults();
    let row = &list()[0];
    assert_eq!(
        (text(row, "partner_url"), text(row, "partner_export")),
        (partner.url(), "3"),
        "{row:#?}"
    );
    assert!(
        text(row, "next_step").contains(&format!(
            "url => '{}', export_id => 3, token",
            partner.url()
        )),
        "{row:#?}"
    );
    assert_eq!(text(row, "state"), "incomplete", "it is only a proposal");

    // Without credentials the row says how to give them; once given it says how to go on.
    let adopted = adopt(&database, &format!(", '{}', 3", partner.url()));
    assert_eq!(
        (text(&adopted, "state"), text(&adopted, "missing")),
        ("adopted", "{credentials}")
    );
    assert!(
        text(&adopted, "next_step")
            .starts_with("SELECT gn_harvest.set_credentials('lpo_isere', token => '…');"),
        "{adopted:#?}"
    );
    database.run("SELECT gn_harvest.set_credentials('lpo_isere', token => 'jeton-export-3')");
    let row = &list()[0];
    assert_eq!(
        (
            text(row, "state"),
            text(row, "adopted_as"),
            text(row, "missing")
        ),
        ("adopted", NAME, "{}")
    );
    database.run(text(row, "next_step"));
    assert_complete(&database, NAME, &partner);
}

#[test]
fn a_dry_run_tells_the_same_and_writes_nothing() {
    let database = cluster().database();
    let partner = partner(60);
    harvested_by_gn2pg(V1_9, &database, &partner);
    let dry = adopt(
        &database,
        &format!("{}, dry_run => true", by_token(&partner)),
    );
    assert_eq!(
        (text(&dry, "state"), text(&dry, "missing")),
        ("ready", "{}")
    );
    let left = "SELECT (SELECT count(*) FROM gn_harvest.source) + (SELECT count(*) FROM gn_harvest.harvested) + (SELECT count(*) FROM gn_harvest.credential)";
    assert_eq!(database.number(left), 0);
    let error = database.error(&format!("SELECT * FROM gn_harvest.adopt_gn2pg('gn2pg_import', '{NAME}', 'nulle part', 3, dry_run => true)"));
    assert!(error.starts_with("22023: "), "{error}");
    let adopted = adopt(&database, &by_token(&partner));
    assert_eq!(
        (figures(&dry), text(&dry, "watermark")),
        (figures(&adopted), text(&adopted, "watermark"))
    );
}

#[test]
fn filters_of_gn2pg_are_those_of_the_source() {
    let database = cluster().database();
    let partner = partner(120);
    let taxon = partner.truth()[0]["cd_nom"].clone();
    let query = format!("cd_nom = {taxon}\ntoken = \"jeton-export-3\"");
    let gn2pg = Gn2pg::set_up(
        V1_10,
        &database,
        &Settings {
            query: &query,
            ..settings(&partner)
        },
    );
    gn2pg.download();
    let adopted = adopt(&database, &by_token(&partner));
    assert_eq!(
        text(&adopted, "filters"),
        json!({"cd_nom": taxon}).to_string().replace("\":", "\": ")
    );
    assert_eq!(
        database.value("SELECT filters FROM gn_harvest.source"),
        text(&adopted, "filters")
    );
    let held = number(&adopted, "held");
    assert!(held > 0);
    let first = run_well(&database, NAME, "auto");
    assert_eq!(number(&first, "inserted"), number(&adopted, "to_come"));
    let others = format!("SELECT count(*) FROM gn_synthese.synthese WHERE cd_nom <> {taxon}");
    assert_eq!(database.number(&others), 0);
}

/// What the watermark would be, had GN2PG's tables been otherwise.
fn watermark_after(database: &Database, change: &str) -> String {
    let mut session = database.connect();
    session
        .batch_execute(&format!(
            "BEGIN; SET LOCAL session_replication_role = replica; {change}"
        ))
        .expect(change);
    let list = "SELECT watermark FROM gn_harvest.adopt_gn2pg('gn2pg_import')";
    let rows = gn_harvest_outside::rows(&mut session, list);
    text(&rows[0], "watermark").to_owned()
}

#[test]
fn the_watermark_is_never_later_than_what_was_imported() {
    let database = cluster().database();
    let partner = partner(80);
    let gn2pg = harvested_by_gn2pg(V1_10, &database, &partner);
    let greatest = "SELECT max(item ->> 'derniere_action') FROM gn2pg_import.data_json";
    let as_written = database.value(greatest);
    let watermark = |change: &str| watermark_after(&database, change);
    assert_eq!(
        watermark(""),
        as_written,
        "the greatest date that came, as the source wrote it"
    );

    // What changed while it downloaded may have been missed: a day before it began, by the other's clock.
    partner
        .update(partner.ids()[0], &json!({"nom_lieu": "Maintenant"}))
        .expect("a change");
    wait_for_the_next_second();
    gn2pg.update();
    assert!(database.value(greatest) > as_written);
    let day_before = |import: i64| {
        database.value(&format!(
            "SELECT to_char(xfer_start_ts - interval '1 day', 'YYYY-MM-DD HH24:MI:SS.US') FROM gn2pg_import.import_log WHERE id = {import}"
        ))
    };
    assert_eq!(watermark(""), day_before(2));
    let separator = "UPDATE gn2pg_import.data_json SET item = jsonb_set(item, '{derniere_action}', to_jsonb(replace(item ->> 'derniere_action', ' ', 'T')))";
    assert_eq!(watermark(separator), day_before(2).replace(' ', "T"));

    // Where the chain of clean downloads breaks, it ends.
    let update = "UPDATE gn2pg_import.import_log SET";
    for broken in [
        "xfer_status = 'failed' WHERE id = 2",
        "data_count_errors = 1 WHERE id = 2",
        "api_count_errors = 1 WHERE id = 2",
        // --since: what came in between was never asked for.
        "xfer_filters = '[\"{\\\"filter_d_up_derniere_action\\\": \\\"2090-01-01\\\"}\"]' WHERE id = 2",
        "xfer_filters = '[\"not JSON\"]' WHERE id = 2",
        "xfer_filters = NULL WHERE id = 2",
    ] {
        let found = watermark(&format!("{update} {broken}"));
        // What the second import brought is of no account: it rewrote one record.
        assert!(
            !found.is_empty() && found <= as_written,
            "{broken}: {found}"
        );
    }
    // In doubt there is none.
    for doubtful in [
        format!("{update} xfer_status = 'failed'"),
        format!("{update} xfer_type = 'update'"),
        format!("{update} data_count_errors = 3 WHERE id = 1"),
        "DELETE FROM gn2pg_import.import_log".to_owned(),
        "UPDATE gn2pg_import.data_json SET item = item - 'derniere_action'".to_owned(),
        "UPDATE gn2pg_import.data_json SET item = item || '{\"derniere_action\": \"2020-01-01 10:00:00+02:00\"}' WHERE id_data = (SELECT min(id_data) FROM gn2pg_import.data_json)".to_owned(),
        "UPDATE gn2pg_import.data_json SET item = item || '{\"derniere_action\": \"2020-02-31 10:00:00\"}'".to_owned(),
        "UPDATE gn2pg_import.data_json SET item = '[1]'".to_owned(),
    ] {
        assert_eq!(watermark(&doubtful), "", "{doubtful}");
    }

    // It is where an incremental run starts from, for who asks for one; the next run of its own is the full one.
    adopt(&database, &by_token(&partner));
    let incremental = run_well(&database, NAME, "incremental");
    assert!(
        text(&incremental, "watermark_from") < day_before(2).as_str(),
        "{incremental:#?}"
    );
    assert_eq!(text(&run_well(&database, NAME, "auto"), "mode"), "full");
    assert_complete(&database, NAME, &partner);
    assert_eq!(
        text(&run_well(&database, NAME, "auto"), "mode"),
        "incremental"
    );
}

#[test]
fn adopting_again_adds_what_gn2pg_wrote_meanwhile_and_nothing_twice() {
    let database = cluster().database();
    let partner = partner(80);
    let gn2pg = harvested_by_gn2pg(V1_10, &database, &partner);
    adopt(&database, &by_token(&partner));
    let lineage = "SELECT count(*) || ' ' || count(DISTINCT id_synthese) || ' ' || (SELECT observations FROM gn_harvest.source_state) FROM gn_harvest.harvested";
    let before = database.value(lineage);
    let again = adopt(&database, "");
    assert_eq!(
        (text(&again, "state"), database.value(lineage)),
        ("adopted", before.clone())
    );
    let same = adopt(&database, &by_token(&partner));
    assert_eq!(
        (text(&same, "missing"), database.value(lineage)),
        ("{}", before)
    );

    // GN2PG has gone on: another record, which gn_harvest has not seen.
    let new = partner.insert(&json!({})).expect("a new one");
    wait_for_the_next_second();
    gn2pg.update();
    let written = "SELECT count(*) FROM gn2pg_import.data_json WHERE import_id = 2";
    assert_eq!(database.number(written), 1);
    adopt(&database, "");
    run_well(&database, NAME, "auto");
    assert_complete(&database, NAME, &partner);
    // A record under another key than GN2PG knows is not taken for a second one.
    partner
        .update(new, &json!({"id_synthese": 900_001}))
        .expect("another key");
    run_well(&database, NAME, "incremental");
    let held = database.value(lineage);
    adopt(&database, "");
    assert_eq!(database.value(lineage), held);
    let reconciled = run_well(&database, NAME, "reconcile");
    assert_eq!(number(&reconciled, "deleted"), 0, "{reconciled:#?}");
    assert_complete(&database, NAME, &partner);

    // Dropped without its data and adopted once more, under another name: what it knew is still known.
    database.run("SELECT gn_harvest.drop_source('lpo_isere')");
    let adopted = adopt(
        &database,
        &format!("{}, name => 'L''Isère'", by_token(&partner)),
    );
    assert_eq!(
        (text(&adopted, "adopted_as"), database.value(lineage)),
        ("L'Isère", held)
    );
    let back = run_well(&database, "L''Isère", "auto");
    assert_eq!(
        ["inserted", "updated", "deleted"].map(|c| number(&back, c)),
        [0, 0, 0],
        "{back:#?}"
    );
    assert_eq!(database.value("SELECT string_agg(name_source, ',') FROM gn_synthese.t_sources JOIN gn_harvest.source_state USING (id_source)"), "L'Isère");
}

#[test]
fn rows_that_gn2pg_no_longer_knows_are_told_and_found_again_by_their_uuid() {
    let database = cluster().database();
    let partner = partner(60);
    harvested_by_gn2pg(V1_9, &database, &partner);
    // As after TRUNCATE and half a download: the triggers did not see it.
    database.run("SET session_replication_role = replica; DELETE FROM gn2pg_import.data_json WHERE id_data % 2 = 0");
    let written = database.number("SELECT count(*) FROM gn_synthese.synthese");
    let adopted = adopt(&database, &by_token(&partner));
    assert_eq!(
        number(&adopted, "held") + number(&adopted, "unexplained"),
        written
    );
    assert!(number(&adopted, "unexplained") > 10);
    run_well(&database, NAME, "auto");
    assert_complete(&database, NAME, &partner);
}

#[test]
fn local_decisions_on_rows_that_gn2pg_wrote_are_kept() {
    let database = cluster().database();
    let partner = partner(40);
    partner
        .drop_column(3, "statut_validation")
        .expect("a column");
    partner.drop_column(3, "sexe").expect("a column");
    harvested_by_gn2pg(V1_10, &database, &partner);
    let decided = "SELECT count(*) FROM gn_synthese.synthese WHERE id_nomenclature_valid_status = ref_nomenclatures.get_id_nomenclature('STATUT_VALID', '1')";
    database.run("UPDATE gn_synthese.synthese SET id_nomenclature_valid_status = ref_nomenclatures.get_id_nomenclature('STATUT_VALID', '1'), id_nomenclature_sex = NULL");
    let rows = database.number(decided);
    adopt(&database, &by_token(&partner));
    run_well(&database, NAME, "auto");
    assert_eq!(
        database.number(decided),
        rows,
        "the export says nothing of it"
    );
    let default = "SELECT count(*) FROM gn_synthese.synthese WHERE id_nomenclature_sex IS DISTINCT FROM gn_synthese.get_default_nomenclature_value('SEXE')";
    assert_eq!(
        database.number(default),
        0,
        "what GN2PG left empty takes the target's default, as in an insert"
    );
}

#[test]
fn a_row_is_known_by_its_uuid_and_only_then_by_its_key() {
    let database = cluster().database();
    let partner = partner(40);
    harvested_by_gn2pg(V1_9, &database, &partner);
    let ids = database.rows("SELECT entity_source_pk_value AS key FROM gn_synthese.synthese ORDER BY id_synthese LIMIT 4");
    let [changed, moved, removed, twice] = [0, 1, 2, 3].map(|i| text(&ids[i], "key").to_owned());
    let written = database.number("SELECT count(*) FROM gn_synthese.synthese");
    database.run(&format!(
        "UPDATE gn_synthese.synthese SET unique_id_sinp = gen_random_uuid() WHERE entity_source_pk_value = '{changed}';
         DELETE FROM gn_synthese.synthese WHERE entity_source_pk_value = '{removed}';
         UPDATE gn_synthese.synthese SET entity_source_pk_value = '{removed}' WHERE entity_source_pk_value = '{moved}'"
    ));
    // 1.9 can hold a record once more, under another type.
    database.run(&format!(
        "SET session_replication_role = replica;
         INSERT INTO gn2pg_import.data_json SELECT source, controler, 'synthese_with_label', id_data, NULL, item, update_ts, import_id
         FROM gn2pg_import.data_json WHERE id_data = {twice}"
    ));
    let adopted = adopt(&database, &by_token(&partner));
    let without_uuid = partner.count() as i64 - written;
    assert_eq!(
        figures(&adopted),
        [written + without_uuid, written - 1, without_uuid + 1, 0]
    );
    let row_of = |key: &str| {
        database.value(&format!(
            "SELECT coalesce(max(s.entity_source_pk_value), '-') FROM gn_harvest.harvested h JOIN gn_synthese.synthese s USING (id_synthese) WHERE h.source_key = '{key}'"
        ))
    };
    assert_eq!(
        [&changed, &moved, &removed].map(|key| row_of(key)),
        [changed.clone(), removed, "-".to_owned()]
    );
    run_well(&database, NAME, "auto");
    assert_complete(&database, NAME, &partner);
    assert_eq!(
        database.number("SELECT count(*) FROM gn_synthese.synthese"),
        partner.count() as i64
    );
}
