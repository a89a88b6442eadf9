//! The target equals what the partner holds, column by column, through every usual view, after a full run and after
//! an incremental one.

use std::collections::BTreeSet;

use geonature_simulator::Simulator;
use serde_json::{Map, Value, json};

use crate::support::*;
use crate::truth::{assert_equal, differences, left_over};

/// Columns that an observation can not have alone.
const TOGETHER: &[&[&str]] = &[
    &["nombre_min", "nombre_max"],
    &["altitude_min", "altitude_max"],
    &["profondeur_min", "profondeur_max"],
    &["date_debut", "date_fin"],
    &["area_attachment", "type_info_geo"],
    &["cd_nom", "nom_cite"],
];

const ALONE: &[&str] = &[
    "id_perm_grp_sinp",
    "version_taxref",
    "observateurs",
    "determinateur",
    "validateur",
    "numero_preuve",
    "preuve_numerique",
    "preuve_non_numerique",
    "comment_releve",
    "comment_occurrence",
    "reference_biblio",
    "nom_lieu",
    "methode_regroupement",
    "precision",
    "code_habitat",
    "donnees_additionnelles",
    "wkt_4326",
    "jdd_uuid",
    "nature_objet_geo",
    "type_regroupement",
    "technique_obs",
    "statut_biologique",
    "etat_biologique",
    "naturalite",
    "preuve_existante",
    "statut_validation",
    "precision_diffusion",
    "stade_vie",
    "sexe",
    "objet_denombrement",
    "type_denombrement",
    "statut_observation",
    "floutage_dee",
    "statut_source",
    "comportement",
    "statut_biogeo",
    "methode_determination",
];

/// An observation of which the partner says nothing that it need not say.
fn almost_nothing() -> Value {
    let silent = ALONE.iter().chain(TOGETHER.iter().copied().flatten());
    let mut values: Map<String, Value> = silent
        .filter(|column| {
            !["jdd_uuid", "cd_nom", "nom_cite", "date_debut", "date_fin"].contains(column)
        })
        .map(|column| ((*column).to_owned(), Value::Null))
        .collect();
    values.insert("wkt_4326".to_owned(), json!("POINT(5.7 45.1)"));
    Value::Object(values)
}

/// What generated observations are not.
fn add_hard_cases(partner: &Simulator) {
    for values in [
        almost_nothing(),
        json!({"id_perm_sinp": null}),
        json!({"wkt_4326": null}),
        json!({"wkt_4326": "POLYGON((5.5 44.9,5.6 44.9,5.6 45,5.5 45,5.5 44.9),(5.52 44.92,5.54 44.92,5.54 44.94,5.52 44.92))"}),
        json!({"wkt_4326": "MULTIPOINT(5.5 44.9,5.512345678901234 44.912345678901234)"}),
        json!({"area_attachment": {"type_code": "M10", "area_code": "10kmL93E890N6410"}, "type_info_geo": "2"}),
        json!({"date_debut": "1899-12-31 23:59:59.999999", "date_fin": "1900-01-01 00:00:00"}),
        json!({"date_debut": "2024-03-31 02:30:00", "date_fin": "2024-03-31 02:30:00"}),
        json!({"nombre_min": 0, "nombre_max": 2147483647, "altitude_min": -2147483648, "altitude_max": 0, "precision": 0}),
        json!({"comment_releve": "", "observateurs": "  ", "nom_lieu": "L'«É\u{2019}»\\\"\t\n\u{1F98B}"}),
        json!({"donnees_additionnelles": {}}),
        json!({"donnees_additionnelles": {"nul": null, "liste": [1, 2.50, 1e3, "a\u{0301}"], "é": {"\"": "\\"}}}),
        json!({"donnees_additionnelles": [[], {}, true]}),
    ] {
        partner.insert(&values).expect("an observation");
    }
}

/// Changes every column of an observation or another, UUIDs and keys too; adds and deletes. Returns the keys deleted.
fn change_everything(partner: &Simulator) -> Vec<i64> {
    let ids = partner.ids();
    let mut next = ids.iter().copied();
    let groups = ALONE
        .iter()
        .map(std::slice::from_ref)
        .chain(TOGETHER.iter().copied());
    for columns in groups {
        let id = next.next().expect("an observation to change");
        let before = partner.observation(id).expect("it");
        let other = ids
            .iter()
            .rev()
            .map(|other| partner.observation(*other).expect("it"))
            .find(|other| columns.iter().all(|column| other[column] != before[column]));
        let other = other.unwrap_or_else(|| panic!("no other value of {columns:?}"));
        let values: Map<String, Value> = columns
            .iter()
            .map(|column| ((*column).to_owned(), other[*column].clone()))
            .collect();
        partner
            .update(id, &Value::Object(values))
            .expect("a change");
    }
    let with = next.next().expect("one more");
    partner
        .update(
            with,
            &json!({"id_perm_sinp": "0f6d1c1e-5a51-4c7b-9d0f-3e1f6b1c0001"}),
        )
        .expect("another UUID");
    let without = ids
        .iter()
        .copied()
        .find(|id| partner.observation(*id).expect("it")["id_perm_sinp"].is_null())
        .expect("one without UUID");
    partner
        .update(
            without,
            &json!({"id_perm_sinp": "0f6d1c1e-5a51-4c7b-9d0f-3e1f6b1c0002"}),
        )
        .expect("a UUID, late");
    let keyed = next
        .by_ref()
        .find(|id| !partner.observation(*id).expect("it")["id_perm_sinp"].is_null())
        .expect("one with a UUID");
    partner
        .update(keyed, &json!({"id_synthese": 900_001}))
        .expect("another key");
    partner.insert(&json!({})).expect("a new one");
    partner
        .insert(&json!({"id_perm_sinp": null}))
        .expect("a new one without UUID");
    partner.insert(&almost_nothing()).expect("a silent one");
    let deleted: Vec<i64> = next.filter(|id| *id != without).take(5).collect();
    assert_eq!(partner.delete(&deleted), 5);
    deleted
}

/// The whole way of one export.
fn full_then_incremental(export: u32, prepare: impl Fn(&Simulator)) {
    let database = cluster().database();
    let partner = partner(500);
    prepare(&partner);
    add_hard_cases(&partner);
    add_source(&database, "cen", &partner, export, "");

    let first = run_well(&database, "cen", "auto");
    assert_eq!(text(&first, "mode"), "full");
    assert_equal(&database, "cen", &partner, export);
    let held = database.number("SELECT count(*) FROM gn_synthese.synthese");
    assert!(held > 480, "{held} observations arrived");
    assert_eq!(number(&first, "inserted"), held);
    assert_eq!(
        number(&first, "fetched"),
        held + number(&first, "rejected"),
        "{first:#?}"
    );
    let actions = "SELECT string_agg(DISTINCT last_action, '') FROM gn_synthese.synthese";
    assert_eq!(database.value(actions), "I");

    let key = if export == 9 {
        "id_perm_sinp"
    } else {
        "id_synthese"
    };
    let before: BTreeSet<String> = keys(&database);
    change_everything(&partner);
    let expected: BTreeSet<String> = differences(&database, "cen", &partner, export)
        .iter()
        .map(|row| text(row, "key").to_owned())
        .collect();
    let second = run_well(&database, "cen", "auto");
    assert_eq!(text(&second, "mode"), "incremental");
    assert_equal(&database, "cen", &partner, export);

    // Written: what differed and nothing else; and U is what was here already, under whatever key.
    let written: BTreeSet<String> = database
        .rows(&format!(
            "SELECT s.entity_source_pk_value AS key FROM gn_synthese.synthese s
               WHERE last_action = 'U' OR s.id_synthese > {held}"
        ))
        .iter()
        .map(|row| text(row, "key").to_owned())
        .collect();
    assert_eq!(written, expected);
    assert_eq!(
        number(&second, "updated"),
        database.number("SELECT count(*) FROM gn_synthese.synthese WHERE last_action = 'U'")
    );
    assert_eq!(
        number(&second, "inserted"),
        database.number("SELECT count(*) FROM gn_synthese.synthese") - held
    );
    // Deletions are not this run's: nothing of what was here is gone, but for the key that changed.
    let after = keys(&database);
    let gone: Vec<&String> = before.difference(&after).collect();
    assert_eq!(gone.len(), usize::from(export != 9), "{gone:?}");
    let stale = left_over(&database, "cen", key).len();
    assert_eq!(
        stale,
        if export == 9 { 6 } else { 5 },
        "deleted, or of another UUID"
    );
}

fn keys(database: &gn_harvest_outside::Database) -> BTreeSet<String> {
    database
        .rows("SELECT entity_source_pk_value AS key FROM gn_synthese.synthese")
        .iter()
        .map(|row| text(row, "key").to_owned())
        .collect()
}

#[test]
fn labels_as_geojson_equal_the_truth_after_a_full_and_an_incremental_run() {
    full_then_incremental(1, |_| {});
}

#[test]
fn codes_equal_the_truth_after_a_full_and_an_incremental_run() {
    full_then_incremental(2, |_| {});
}

#[test]
fn codes_with_metadata_equal_the_truth_after_a_full_and_an_incremental_run() {
    full_then_incremental(3, |_| {});
}

#[test]
fn labels_without_geometry_column_equal_the_truth_after_a_full_and_an_incremental_run() {
    full_then_incremental(5, |_| {});
}

#[test]
fn an_export_whose_key_is_no_number_equals_the_truth_after_a_full_and_an_incremental_run() {
    full_then_incremental(9, |partner| {
        partner.add_column(9, "cd_nom", None).expect("a column");
    });
}

#[test]
fn an_export_of_few_columns_equals_the_truth_after_a_full_and_an_incremental_run() {
    full_then_incremental(10, |_| {});
}

#[test]
fn every_column_that_there_is_equals_the_truth_in_codes() {
    full_then_incremental(3, |partner| {
        partner
            .add_column(3, "statut_biogeo", None)
            .expect("a column");
    });
}

#[test]
fn every_column_that_there_is_equals_the_truth_in_labels() {
    full_then_incremental(5, |partner| {
        for column in ["statut_biogeo", "statut_validation", "area_attachment"] {
            partner.add_column(5, column, None).expect("a column");
        }
    });
}

#[test]
fn the_comparison_itself_sees_a_difference_in_every_column() {
    let database = cluster().database();
    let partner = partner(500);
    partner
        .add_column(3, "statut_biogeo", None)
        .expect("a column");
    add_hard_cases(&partner);
    add_source(&database, "cen", &partner, 3, "");
    run_well(&database, "cen", "full");
    assert_equal(&database, "cen", &partner, 3);
    // Each row under the key of the next one.
    database.run(
        "UPDATE gn_synthese.synthese s SET entity_source_pk_value = n.key
         FROM (SELECT id_synthese, coalesce(lead(entity_source_pk_value) OVER w, first_value(entity_source_pk_value) OVER w) AS key
               FROM gn_synthese.synthese WINDOW w AS (ORDER BY id_synthese)) n
         WHERE n.id_synthese = s.id_synthese",
    );
    let found = differences(&database, "cen", &partner, 3);
    let seen: BTreeSet<&str> = found.iter().map(|row| text(row, "name")).collect();
    // Values, nomenclatures, area, dataset, geometries.
    assert_eq!(seen.len(), 27 + 20 + 1 + 1 + 3, "{seen:#?}");
}
