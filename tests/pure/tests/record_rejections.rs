//! Each way in which a record can be bad has its own reason, and harms no other record.

mod record_support;

use gn_harvest_pure::mapping::{Layout, column_names};
use gn_harvest_pure::record::{Lengths, Reason, Value, parse_page};
use proptest::prelude::*;
use record_support::*;

#[test]
fn the_valid_record_is_valid() {
    let record = read(&item(&[])).unwrap();
    assert_eq!(record.key.as_deref(), Some("1"));
    assert_eq!(record.key_number, Some(1));
    assert_eq!(
        record.action_date.as_deref(),
        Some("2023-10-06 15:54:51.737840")
    );
}

#[test]
fn codes_are_stable_and_come_back() {
    for reason in Reason::ALL {
        assert_eq!(Reason::from_code(reason.code()), Some(*reason));
    }
    assert_eq!(Reason::UnknownCdNom.code(), "unknown_cd_nom");
    assert_eq!(
        Reason::UuidOwnedByOtherSource.code(),
        "uuid_owned_by_other_source"
    );
    assert_eq!(Reason::from_code("no_such_code"), None);
}

#[test]
fn each_fault_has_its_reason_and_its_column() {
    for (column, raw, reason) in [
        ("cd_nom", "null", Reason::MissingField),
        ("nom_cite", "null", Reason::MissingField),
        ("date_debut", "null", Reason::MissingField),
        ("id_synthese", "null", Reason::MissingField),
        ("id_synthese", "\"abc\"", Reason::BadNumber),
        ("id_synthese", "{}", Reason::BadJson),
        ("cd_nom", "\"vipère\"", Reason::BadNumber),
        ("date_debut", "\"0000-00-00\"", Reason::BadDate),
        ("id_perm_sinp", "\"abc\"", Reason::BadUuid),
        ("nombre_min", "14", Reason::CountMinGtMax),
        ("altitude_min", "2169", Reason::AltitudeMinGtMax),
        ("profondeur_min", "3", Reason::DepthMinGtMax),
        ("wkt_4326", "\"POINT EMPTY\"", Reason::InvalidGeometry),
        ("jdd_data", "{\"uuid\": \"abc\"}", Reason::UnmappedDataset),
        ("jdd_data", "[]", Reason::UnmappedDataset),
        ("jdd_data", "\"{cassé\"", Reason::UnmappedDataset),
        (
            "area_attachment",
            "{\"area_code\": \"02118\"}",
            Reason::UnknownArea,
        ),
        ("area_attachment", "[]", Reason::UnknownArea),
    ] {
        let rejection = with(column, raw).unwrap_err();
        assert_eq!(rejection.reason, reason, "{column} = {raw}");
        assert_eq!(
            rejection.column.as_deref(),
            Some(column),
            "{column} = {raw}"
        );
        assert!(!rejection.message.is_empty());
        if column != "id_synthese" {
            assert_eq!(rejection.key.as_deref(), Some("1"));
        }
        if column != "id_perm_sinp" {
            assert_eq!(
                rejection.uuid,
                Some(uuid("e67991fc-10bc-50b7-88d7-ce64816ca783"))
            );
        }
    }
}

#[test]
fn a_required_column_may_not_be_absent() {
    for column in ["cd_nom", "nom_cite", "date_debut", "id_synthese"] {
        let rejection = read(&without(column)).unwrap_err();
        assert_eq!(rejection.reason, Reason::MissingField, "{column}");
        assert_eq!(rejection.column.as_deref(), Some(column));
    }
}

#[test]
fn a_maximum_alone_or_a_minimum_alone_is_fine() {
    for column in ["nombre_min", "nombre_max", "altitude_min", "profondeur_max"] {
        assert!(with(column, "null").is_ok(), "{column}");
    }
    assert!(with("nombre_min", "13").is_ok());
}

#[test]
fn an_item_that_is_no_record_is_bad_json() {
    let long = format!("\"{}\"", "é".repeat(2000));
    for bad in [
        "",
        "null",
        "12",
        "[]",
        "\"texte\"",
        "{",
        "{\"a\": }",
        "{} {}",
        "{\"a\": NaN}",
        &long,
    ] {
        let rejection = read(bad).unwrap_err();
        assert_eq!(rejection.reason, Reason::BadJson, "{bad}");
        assert!(rejection.value.unwrap().chars().count() <= 500);
    }
}

#[test]
fn a_bad_record_harms_no_other_and_counts_in_what_the_page_covers() {
    let good = item(&[("id_synthese", "5")]);
    let bad = item(&[
        ("id_synthese", "9"),
        ("cd_nom", "null"),
        ("derniere_action", "\"2024-01-01 00:00:00\""),
    ]);
    let older = item(&[
        ("id_synthese", "\"3\""),
        ("derniere_action", "\"2023-12-31T23:00:00\""),
    ]);
    let batch = page(&[&good, &bad, "rien", &older]);
    let positions = |items: Vec<usize>| items;
    assert_eq!(
        positions(batch.records.iter().map(|(at, _)| *at).collect()),
        [0, 3]
    );
    assert_eq!(
        positions(batch.rejected.iter().map(|(at, _)| *at).collect()),
        [1, 2]
    );
    assert_eq!((batch.first_key, batch.last_key), (Some(3), Some(9)));
    assert_eq!(
        batch.greatest_action.as_deref(),
        Some("2024-01-01 00:00:00")
    );
}

#[test]
fn nothing_of_an_item_is_left_for_the_next() {
    let batch = page(&[&item(&[]), &without("nom_lieu"), &without("cd_nom")]);
    assert_eq!(*value(&batch.records[1].1, "place_name"), Value::Absent);
    assert_eq!(batch.rejected[0].1.reason, Reason::MissingField);
    let point = r#"{"geometry": {"type": "Point", "coordinates": [6.5, 45.5]}, "properties": {
        "id_synthese": 1, "cd_nom": 1, "nom_cite": "a", "date_debut": "2016-02-17"}}"#;
    let bare = point.replace("geometry", "autre");
    let layout = Layout::recognise(&[], &[point], true, &[], None, None).unwrap();
    let batch = parse_page([point, &bare].into_iter(), &layout, &Lengths::default());
    let located: Vec<bool> = batch
        .records
        .iter()
        .map(|(_, r)| r.geometry.is_some())
        .collect();
    assert_eq!(located, [true, false]);
}

#[test]
fn a_date_of_change_that_is_no_date_moves_nothing() {
    let record = item(&[("derniere_action", "\"zzzz\"")]);
    let batch = page(&[&record]);
    assert_eq!(batch.records.len(), 1);
    assert_eq!(batch.greatest_action, None);
}

#[test]
fn the_same_metadata_is_read_once_and_shared() {
    let other = r#"{"uuid": "52dc6ef7-268f-51b1-983c-b512cf784619", "name": "Autre"}"#;
    // Equal but for the order and the spaces.
    let same = r#""{\"name\":\"Suivis\",\"uuid\":\"1aea7f84-d914-5eab-a814-ad23421e6935\"}""#;
    let items = [
        item(&[]),
        item(&[("jdd_data", other)]),
        item(&[]),
        item(&[("jdd_data", same)]),
    ];
    let items: Vec<&str> = items.iter().map(String::as_str).collect();
    let batch = page(&items);
    assert_eq!(batch.datasets.len(), 2);
    let dataset = |at: usize| batch.records[at].1.dataset.clone().unwrap();
    assert_eq!(dataset(0), dataset(3));
    assert_eq!(
        dataset(0).uuid,
        Some(uuid("1aea7f84-d914-5eab-a814-ad23421e6935"))
    );
    assert_eq!(dataset(0).name.as_deref(), Some("Suivis"));
    assert_eq!(
        dataset(1)
            .dataset
            .as_deref()
            .map(|json| json.contains("Autre")),
        Some(true)
    );
    assert_eq!(with("jdd_data", "null").unwrap().dataset, None);
}

#[test]
fn an_area_attachment_is_read_as_object_and_as_text() {
    let area = Some(("COM".to_owned(), "02118".to_owned()));
    let object = r#"{"area_code": "02118", "type_code": "COM"}"#;
    assert_eq!(with("area_attachment", object).unwrap().area, area);
    assert_eq!(with("area_attachment", &quoted(object)).unwrap().area, area);
    for none in [
        "null",
        "\"\"",
        "\"null\"",
        r#"{"area_code": null, "type_code": null}"#,
    ] {
        assert_eq!(with("area_attachment", none).unwrap().area, None);
    }
}

fn any_raw() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<f64>()
            .prop_filter("JSON has finite numbers", |n| n.is_finite())
            .prop_map(|n| n.to_string()),
        "-?[1-9][0-9]{0,40}([.][0-9]{1,40})?(e[+-]?[0-9]{1,9})?",
        ".{0,30}".prop_map(|text| quoted(&text)),
        r#""(\\u[0-9a-f]{4}|[a-z]){0,8}""#,
        Just("{\"a\": [1, {}]}".to_owned()),
        Just("[[], \"x\"]".to_owned()),
        "[A-Z]{1,10} ?[(][0-9 .,()-]{0,40}".prop_map(|text| quoted(&text)),
    ]
}

proptest! {
    #[test]
    fn any_value_in_any_column_is_read_or_refused(raw in any_raw(), at in 0usize..20) {
        let columns: Vec<String> = column_names(&[&item(&[])], false);
        if let Err(rejection) = with(&columns[at % columns.len()], &raw) {
            prop_assert!(!rejection.message.is_empty());
        }
    }

    #[test]
    fn any_item_is_read_or_refused(bytes in ".{0,200}") {
        let _ = read(&bytes);
    }

    #[test]
    fn a_valid_item_cut_anywhere_is_refused(cut in 0usize..400) {
        let whole = item(&[]);
        if let Some(part) = whole.get(..cut.min(whole.len() - 1)) {
            prop_assert_eq!(read(part).unwrap_err().reason, Reason::BadJson);
        }
    }

    #[test]
    fn a_damaged_feature_is_read_or_refused(at in 0usize..2000, with in any::<char>()) {
        let (features, _) = items(include_str!("../fixtures/records_geo.json"));
        let layout = Layout::recognise(&[], &[&features[0]], true, &[], None, None).unwrap();
        let damaged: String = features[0].chars().enumerate().map(|(i, c)| if i == at { with } else { c }).collect();
        let batch = parse_page([damaged.as_str()].into_iter(), &layout, &Lengths::default());
        prop_assert_eq!(batch.records.len() + batch.rejected.len(), 1);
    }
}
