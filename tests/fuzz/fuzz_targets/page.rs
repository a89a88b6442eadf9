//! The body of an export's answer, taken apart and read: whatever comes, each item is a
//! record or a rejection, and a record holds what the target can hold.
#![no_main]

use gn_harvest_fuzz::mapping::{COLUMNS, FieldMapping, FieldSource, Layout};
use gn_harvest_fuzz::record::{Lengths, Record, Value, hash, parse_page};
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

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

fuzz_target!(|body: &str| {
    // A body that is no answer is read as a single item.
    let items = serde_json::from_str::<Body>(body).map_or(body, |body| body.items.get());
    if let Ok(collection) = serde_json::from_str::<Collection>(items) {
        read(
            collection.features.iter().map(|item| item.get()).collect(),
            true,
        );
    } else if let Ok(list) = serde_json::from_str::<Vec<&RawValue>>(items) {
        read(list.iter().map(|item| item.get()).collect(), false);
    }
    read(vec![body], body.len() % 2 == 0);
});

fn read(items: Vec<&str>, geojson: bool) {
    let path = FieldSource::Export("donnees_additionnelles.protocole.code".to_owned());
    let mapping = FieldMapping {
        target: "grp_method".to_owned(),
        source: path,
    };
    let mapped = Layout::recognise(&[], &items, geojson, &[mapping], None, None);
    let plain = Layout::recognise(&[], &items, geojson, &[], None, None);
    let lengths = Lengths::new([("place_name", 50)]);
    for layout in mapped.into_iter().chain(plain) {
        let batch = parse_page(items.iter().copied(), &layout, &lengths);
        assert_eq!(batch.records.len() + batch.rejected.len(), items.len());
        for (_, record) in &batch.records {
            check(record);
        }
        for (_, rejection) in &batch.rejected {
            assert!(!rejection.message.is_empty());
            let shown = rejection.value.iter().map(|value| value.chars().count());
            assert!(shown.max().unwrap_or_default() <= 500);
        }
    }
}

fn check(record: &Record) {
    assert!(record.key.is_some());
    let named = || {
        COLUMNS
            .iter()
            .map(|column| column.target)
            .zip(&record.values)
    };
    hash::attributes(named());
    for (column, (target, value)) in COLUMNS.iter().zip(named()) {
        assert!(
            !column.required || !matches!(value, Value::Absent | Value::Null),
            "{target}"
        );
        match value {
            Value::Text(text) => assert!(!text.contains('\0'), "{target}"),
            Value::Json(text) => {
                assert!(
                    !text.contains("\\u0000") || text.contains("\\\\u0000"),
                    "{target}"
                );
                assert!(serde_json::from_str::<&RawValue>(text).is_ok(), "{target}");
            }
            _ => {}
        }
    }
}
