//! What the tests of records share: one valid record that each test changes, and how it reads.
#![allow(dead_code)]

use gn_harvest_pure::mapping::{Layout, column_index};
use gn_harvest_pure::record::{Batch, Lengths, Reason, Record, Rejection, Value, parse_page};
use serde_json::value::RawValue;

/// The raw members of the smallest record with one value of each kind.
const VALID: &[(&str, &str)] = &[
    ("id_synthese", "1"),
    ("id_perm_sinp", r#""e67991fc-10bc-50b7-88d7-ce64816ca783""#),
    ("date_debut", r#""2016-02-17 11:50:00""#),
    ("date_fin", r#""2016-02-18 11:50:00""#),
    ("cd_nom", "1464"),
    ("nom_cite", r#""Vipera ambigua""#),
    ("nombre_min", "11"),
    ("nombre_max", "13"),
    ("altitude_min", "2148"),
    ("altitude_max", "2168"),
    ("profondeur_min", "1"),
    ("profondeur_max", "2"),
    ("sexe", r#""5""#),
    ("code_habitat", "1180"),
    ("nom_lieu", r#""Rive d'Arve""#),
    ("donnees_additionnelles", "null"),
    ("wkt_4326", r#""POINT(6.5 45.5)""#),
    (
        "jdd_data",
        r#"{"uuid": "1aea7f84-d914-5eab-a814-ad23421e6935", "name": "Suivis"}"#,
    ),
    ("area_attachment", "null"),
    ("derniere_action", r#""2023-10-06 15:54:51.737840""#),
];

/// The valid record with some members given other raw values.
pub fn item(changes: &[(&str, &str)]) -> String {
    let changed = |name: &str| changes.iter().any(|(other, _)| *other == name);
    let kept = VALID.iter().filter(|(name, _)| !changed(name));
    let members = kept.chain(changes);
    let members: Vec<_> = members
        .map(|(name, raw)| format!("{name:?}: {raw}"))
        .collect();
    format!("{{{}}}", members.join(", "))
}

/// The valid record without one member.
pub fn without(name: &str) -> String {
    let kept = VALID.iter().filter(|(other, _)| *other != name);
    let members: Vec<_> = kept.map(|(name, raw)| format!("{name:?}: {raw}")).collect();
    format!("{{{}}}", members.join(", "))
}

/// The layout of an export with the columns of the valid record.
pub fn layout() -> Layout {
    let valid = item(&[]);
    Layout::recognise(&[], &[&valid], false, &[], None, None).expect("a layout")
}

/// The limits of GeoNature's own model that the tests need.
pub fn lengths() -> Lengths {
    Lengths::new([("nom_cite", 1000), ("place_name", 500)])
}

pub fn page(items: &[&str]) -> Batch {
    parse_page(items.iter().copied(), &layout(), &lengths())
}

pub fn read(item: &str) -> Result<Record, Rejection> {
    let mut batch = page(&[item]);
    assert_eq!(
        batch.records.len() + batch.rejected.len(),
        1,
        "an item is read or rejected"
    );
    match batch.records.pop() {
        Some((_, record)) => Ok(record),
        None => Err(batch.rejected.remove(0).1),
    }
}

/// The valid record with one change, read.
pub fn with(name: &str, raw: &str) -> Result<Record, Rejection> {
    read(&item(&[(name, raw)]))
}

/// The value of one target column when one member of the record is changed.
pub fn value_of(target: &str, name: &str, raw: &str) -> Result<Value, Reason> {
    match with(name, raw) {
        Ok(record) => Ok(value(&record, target).clone()),
        Err(rejection) => Err(rejection.reason),
    }
}

pub fn value<'r>(record: &'r Record, target: &str) -> &'r Value {
    &record.values[column_index(target).expect("a target column")]
}

pub fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

pub fn date(text: &str) -> Value {
    Value::Timestamp(text.parse().expect("a date with a T"))
}

pub fn uuid(text: &str) -> [u8; 16] {
    let digits = text.replace('-', "");
    u128::from_str_radix(&digits, 16)
        .expect("a UUID")
        .to_be_bytes()
}

/// A JSON string literal.
pub fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a JSON string")
}

/// The raw items of a recorded answer, and whether they are GeoJSON Features.
pub fn items(body: &str) -> (Vec<String>, bool) {
    #[derive(serde::Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        items: &'a RawValue,
    }
    #[derive(serde::Deserialize)]
    struct Collection<'a> {
        #[serde(borrow)]
        features: Vec<&'a RawValue>,
    }
    let items = serde_json::from_str::<Body>(body)
        .expect("an answer")
        .items
        .get();
    let geojson = items.starts_with('{');
    let raw: Vec<&RawValue> = if geojson {
        serde_json::from_str::<Collection>(items)
            .expect("features")
            .features
    } else {
        serde_json::from_str(items).expect("items")
    };
    (
        raw.iter().map(|raw| raw.get().to_owned()).collect(),
        geojson,
    )
}
