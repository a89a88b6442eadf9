//! The hashes are stored: the same row must have the same one on every machine, for good.

mod record_support;

use gn_harvest_pure::record::{Value, hash};
use record_support::*;

fn row() -> Vec<(&'static str, Value)> {
    vec![
        (
            "unique_id_sinp",
            Value::Uuid(uuid("e67991fc-10bc-50b7-88d7-ce64816ca783")),
        ),
        ("date_min", date("2016-02-17T11:50:00.000001")),
        ("cd_nom", Value::Integer(1464)),
        ("nom_cite", text("Vipère")),
        ("validator", Value::Null),
        ("additional_data", Value::Json("{\"a\":1}".to_owned())),
    ]
}

fn hashed(row: &[(&'static str, Value)]) -> u128 {
    hash::attributes(row.iter().map(|(name, value)| (*name, value)))
}

#[test]
fn the_hash_of_a_row_never_changes() {
    // Computed from the documented layout by another implementation of XXH3.
    assert_eq!(hashed(&row()), 0x3029_3fd1_9c92_3c67_a553_7fc6_b26a_8d9d);
    let geometry = hash::geometry(Some(&[1, 2, 3]));
    assert_eq!(geometry, 0xac77_eb88_cbc4_b8d4_ebce_9b76_32ae_733b);
}

#[test]
fn every_change_of_a_value_changes_the_hash() {
    let mut seen = vec![hashed(&row())];
    for (at, value) in [
        (0, Value::Null),
        (1, date("2016-02-17T11:50:00.000002")),
        (2, Value::Integer(1465)),
        (3, text("Vipere")),
        (3, text("")),
        (3, Value::Null),
        (4, text("")),
        (5, text("{\"a\":1}")),
    ] {
        let mut changed = row();
        changed[at].1 = value;
        seen.push(hashed(&changed));
    }
    let different: std::collections::HashSet<_> = seen.iter().collect();
    assert_eq!(different.len(), seen.len());
    assert_ne!(hash::geometry(None), hash::geometry(Some(&[0])));
}

#[test]
fn an_absent_column_is_as_if_it_were_not_in_the_table() {
    let mut longer = row();
    longer.insert(3, ("place_name", Value::Absent));
    assert_eq!(hashed(&longer), hashed(&row()));
    longer[3].1 = Value::Null;
    assert_ne!(hashed(&longer), hashed(&row()));
}

#[test]
fn a_text_cannot_run_into_the_next() {
    let pair = |a: &str, b: &str| hashed(&[("observers", text(a)), ("validator", text(b))]);
    assert_ne!(pair("ab", "c"), pair("a", "bc"));
}
