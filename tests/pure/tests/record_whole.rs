//! Items that are kept whole: any export with a key, nothing lost, nothing changed.

use gn_harvest_pure::mapping::{GeometryOrigin, Layout, MappingError};
use gn_harvest_pure::record::{Batch, Lengths, Reason, Record, parse_page};

fn layout(items: &[&str], geojson: bool) -> Layout {
    Layout::recognise_whole(&[], items, geojson, None, None).expect("a layout")
}

fn parse(items: &[&str], layout: &Layout) -> Batch {
    parse_page(items.iter().copied(), layout, &Lengths::default())
}

fn only(item: &str, geojson: bool) -> Record {
    let batch = parse(&[item], &layout(&[item], geojson));
    assert_eq!(batch.rejected, []);
    batch.records[0].1.clone()
}

fn kept(item: &str) -> String {
    only(item, false).item.expect("an item").text
}

/// Why an item is refused, where another one is not.
fn refused(item: &str) -> (Reason, Option<String>) {
    let good = r#"{"id": 1}"#;
    let batch = parse(&[item, good], &layout(&[good], false));
    assert_eq!(batch.records.len(), 1, "{item}");
    assert_eq!(batch.records[0].0, 1, "the good one stays");
    (batch.rejected[0].1.reason, batch.rejected[0].1.key.clone())
}

#[test]
fn an_export_of_anything_is_read_as_long_as_it_has_a_key() {
    let site = r#"{"id": 12, "base_site_name": "Mare", "altitude": null, "uuid": "3F0C2B1A-0000-4000-8000-000000000001"}"#;
    let record = only(site, false);
    assert_eq!(
        (record.key.as_deref(), record.key_number),
        (Some("12"), Some(12))
    );
    assert_eq!(record.uuid().map(|uuid| uuid[0]), Some(0x3f));
    assert!(record.values.is_empty());
    for (item, key) in [
        (r#"{"id": "7", "id_synthese": 8}"#, "8"),
        (
            r#"{"uuid": "3f0c2b1a-0000-4000-8000-000000000001", "nom": "x"}"#,
            "3f0c2b1a-0000-4000-8000-000000000001",
        ),
        (
            r#"{"id_perm_sinp": "3f0c2b1a-0000-4000-8000-000000000002"}"#,
            "3f0c2b1a-0000-4000-8000-000000000002",
        ),
    ] {
        assert_eq!(only(item, false).key.as_deref(), Some(key), "{item}");
    }
    assert_eq!(layout(&[r#"{"nom": "x"}"#], false).key, None);
}

#[test]
fn the_key_and_the_date_of_change_can_be_named() {
    let item = r#"{"id_synthese": 1, "code": "A-2", "vu": "2024-01-02 03:04:05", "derniere_action": "2020-01-01"}"#;
    let named = Layout::recognise_whole(&[], &[item], false, Some("code"), Some("vu"));
    let layout = named.expect("a layout");
    assert!(!layout.key_is_number && !layout.key_is_id_synthese());
    let batch = parse(&[item], &layout);
    assert_eq!(batch.records[0].1.key.as_deref(), Some("A-2"));
    assert_eq!(
        batch.greatest_action.as_deref(),
        Some("2024-01-02 03:04:05")
    );
    let absent = Layout::recognise_whole(&[], &[item], false, Some("autre"), None);
    assert_eq!(absent, Err(MappingError::NoSuchColumn("autre".to_owned())));
}

#[test]
fn only_id_synthese_is_what_the_log_of_deletions_speaks_of() {
    assert!(layout(&[r#"{"id_synthese": 1}"#], false).key_is_id_synthese());
    assert!(layout(&[r#"{"idSynthese": "1"}"#], false).key_is_id_synthese());
    assert!(!layout(&[r#"{"id": 1}"#], false).key_is_id_synthese());
    assert!(!layout(&[r#"{"id_synthese": "A1"}"#], false).key_is_id_synthese());
}

#[test]
fn every_column_is_one_of_the_export() {
    let item = r#"{"id": 1, "uuid": null, "nom": "x", "wkt": null, "jdd_data": {}, "date_debut": "pas une date"}"#;
    let layout = layout(&[item], false);
    assert_eq!(
        layout.export_columns(),
        ["date_debut", "id", "jdd_data", "nom", "uuid", "wkt"]
    );
    assert_eq!(parse(&[item], &layout).records.len(), 1);
}

#[test]
fn the_same_data_is_the_same_whatever_its_order_and_white_space() {
    let one = only(
        r#"{"id": 1, "b": {"y": 1.10, "x": "é"}, "a": [1, null]}"#,
        false,
    );
    let other = only(
        "{ \"a\":[1,null],\n \"b\":{\"x\":\"\\u00e9\",\"y\":1.10},\"id\" :1}",
        false,
    );
    assert_eq!(one.item, other.item);
    let changed = only(
        r#"{"id": 1, "b": {"y": 1.1, "x": "é"}, "a": [1, null]}"#,
        false,
    );
    assert_ne!(
        one.item.map(|i| i.hash),
        changed.item.map(|i| i.hash),
        "digits are as written"
    );
}

#[test]
fn an_item_is_kept_as_it_is() {
    assert_eq!(
        kept(r#"{"id": 1, "": "", "n": 12345678901234567890.10, "t": " a\n\"b\\ "}"#),
        r#"{"":"","id":1,"n":12345678901234567890.10,"t":" a\n\"b\\ "}"#
    );
    assert_eq!(
        kept(r#"{"id": 1, "x": 1, "x": 2}"#),
        r#"{"id":1,"x":2}"#,
        "as in jsonb"
    );
}

#[test]
fn what_jsonb_can_not_hold_is_refused_and_harms_no_other() {
    let deep = format!(
        "{{\"id\": 2, \"d\": {}{}}}",
        "[".repeat(120),
        "]".repeat(120)
    );
    for (item, reason, key) in [
        ("[1]", Reason::BadJson, None),
        (r#"{"id": 2, "t": "a\u0000b"}"#, Reason::BadJson, Some("2")),
        (r#"{"id": 2, "a\u0000b": 1}"#, Reason::BadJson, Some("2")),
        (r#"{"id": 2, "t": "\ud83d"}"#, Reason::BadJson, Some("2")),
        (r#"{"id": 2, "n": 1e999999}"#, Reason::BadJson, Some("2")),
        (deep.as_str(), Reason::BadJson, Some("2")),
        (r#"{"id": null}"#, Reason::MissingField, None),
        (r#"{"nom": "x"}"#, Reason::MissingField, None),
        (r#"{"id": "douze"}"#, Reason::BadNumber, None),
        (r#"{"id": {"n": 1}}"#, Reason::BadJson, None),
    ] {
        assert_eq!(refused(item), (reason, key.map(str::to_owned)), "{item}");
    }
}

#[test]
fn a_feature_gives_its_properties_and_its_geometry() {
    let feature = r#"{"type": "Feature", "geometry": {"type": "Point", "coordinates": [5.1, 45.2]}, "properties": {"nom": "x", "id": 3}}"#;
    let record = only(feature, true);
    assert_eq!(record.key_number, Some(3));
    assert_eq!(
        record.item.map(|item| item.text).as_deref(),
        Some(r#"{"id":3,"nom":"x"}"#)
    );
    assert_eq!(record.geometry.map(|geometry| geometry.wkb.len()), Some(21));
    // The members of a Feature come in any order.
    let turned = r#"{"properties": {"id": 3, "nom": "x"}, "geometry": null, "type": "Feature"}"#;
    assert_eq!(only(turned, true).geometry, None);
}

#[test]
fn a_geometry_that_can_not_be_read_is_left_out_only_where_the_item_still_has_it() {
    let flat = r#"{"id": 1, "wkt": "POINT (949500 6540000)"}"#;
    let record = only(flat, false);
    assert_eq!(record.geometry, None);
    let item = record.item.expect("an item");
    assert!(item.text.contains("949500"));
    assert!(
        item.flaw
            .is_some_and(|flaw| flaw.contains("longitude and latitude"))
    );
    let good = only(r#"{"id": 1, "wkt": "POINT (5 45)"}"#, false);
    assert!(good.geometry.is_some() && good.item.is_some_and(|item| item.flaw.is_none()));

    let feature = r#"{"type": "Feature", "geometry": {"type": "Point", "coordinates": [949500, 6540000]}, "properties": {"id": 1}}"#;
    let batch = parse(&[feature], &layout(&[feature], true));
    assert_eq!(batch.rejected[0].1.reason, Reason::InvalidGeometry);
    // A bad column beside a good Feature: the Feature's.
    let both = r#"{"type": "Feature", "geometry": {"type": "Point", "coordinates": [5, 45]}, "properties": {"id": 1, "wkt": "POINT"}}"#;
    assert_eq!(
        layout(&[both], true).geometry,
        GeometryOrigin::Wkt("wkt".to_owned())
    );
    assert!(only(both, true).geometry.is_some());
}

#[test]
fn a_uuid_that_is_none_is_only_a_text() {
    let record = only(r#"{"id": 1, "uuid": "néant"}"#, false);
    assert_eq!(record.uuid(), None);
}
