//! Texts, numbers, UUIDs and JSON reach the record whole, or the record is refused.

mod record_support;

use gn_harvest_pure::record::{Reason, Value};
use proptest::prelude::*;
use record_support::*;

#[test]
fn null_absent_and_empty_are_three_different_things() {
    assert_eq!(value_of("place_name", "nom_lieu", "null"), Ok(Value::Null));
    assert_eq!(value_of("place_name", "nom_lieu", "\"\""), Ok(text("")));
    let record = read(&without("nom_lieu")).unwrap();
    assert_eq!(*value(&record, "place_name"), Value::Absent);
    assert_eq!(*value(&record, "observers"), Value::Absent);
}

#[test]
fn blank_codes_numbers_and_uuids_are_null() {
    for blank in ["\"\"", "\"  \"", "null"] {
        let sex = value_of("id_nomenclature_sex", "sexe", blank);
        assert_eq!(sex, Ok(Value::Null));
        assert_eq!(value_of("count_min", "nombre_min", blank), Ok(Value::Null));
        assert_eq!(
            value_of("unique_id_sinp", "id_perm_sinp", blank),
            Ok(Value::Null)
        );
        assert_eq!(
            value_of("additional_data", "donnees_additionnelles", blank),
            Ok(Value::Null)
        );
    }
}

#[test]
fn a_text_is_kept_as_it_is() {
    let kept = " Rive\u{a0}d'Arve,\n\t« été » ☀️ \\ \" ";
    assert_eq!(
        value_of("place_name", "nom_lieu", &quoted(kept)),
        Ok(text(kept))
    );
    assert_eq!(
        value_of("place_name", "nom_lieu", r#""\u00e9t\u00e9""#),
        Ok(text("été"))
    );
    assert_eq!(
        value_of("place_name", "nom_lieu", "12.50"),
        Ok(text("12.50"))
    );
    assert_eq!(value_of("place_name", "nom_lieu", "true"), Ok(text("true")));
    assert_eq!(value_of("id_nomenclature_sex", "sexe", "1"), Ok(text("1")));
    assert_eq!(
        value_of("id_nomenclature_sex", "sexe", "\" Mâle \""),
        Ok(text("Mâle"))
    );
}

#[test]
fn nuls_are_taken_out_and_counted() {
    let batch = page(&[&item(&[("nom_lieu", r#""a\u0000b""#)])]);
    assert_eq!(*value(&batch.records[0].1, "place_name"), text("ab"));
    assert_eq!(batch.stripped, 1);
    let nested = r#"{"a\u0000": ["\u0000x"], "a": 1}"#;
    let data = value_of("additional_data", "donnees_additionnelles", nested);
    assert!(matches!(data, Ok(Value::Json(json)) if !json.contains("\\u0000")));
    assert_eq!(page(&[&item(&[])]).stripped, 0);
}

#[test]
fn a_text_longer_than_its_column_is_refused_and_characters_count() {
    let fits = "é".repeat(500);
    assert_eq!(
        value_of("place_name", "nom_lieu", &quoted(&fits)),
        Ok(text(&fits))
    );
    let rejection = with("nom_lieu", &quoted(&"é".repeat(501))).unwrap_err();
    assert_eq!(rejection.reason, Reason::ValueTooLong);
    assert_eq!(rejection.column.as_deref(), Some("nom_lieu"));
    assert_eq!(rejection.value.unwrap().chars().count(), 500);
}

#[test]
fn whole_numbers_are_read_in_every_writing() {
    for (raw, number) in [
        ("12", 12),
        ("\"12\"", 12),
        ("12.0", 12),
        ("\"12.00\"", 12),
        ("1.2e1", 12),
        ("-3", -3),
        ("\" 7 \"", 7),
        ("\"+7\"", 7),
        ("2147483647", i32::MAX),
        ("-2147483648", i32::MIN),
        ("0", 0),
        ("-0", 0),
        ("2.5e9", 0),
    ] {
        let expected = if raw == "2.5e9" {
            Err(Reason::BadNumber)
        } else {
            Ok(Value::Integer(number))
        };
        assert_eq!(value_of("cd_hab", "code_habitat", raw), expected, "{raw}");
    }
}

#[test]
fn what_is_no_whole_number_of_the_target_is_refused() {
    for raw in [
        "12.5",
        "\"abc\"",
        "1e30",
        "2147483648",
        "-2147483649",
        "99999999999999999999",
        "true",
        "{}",
        "[1]",
        "\"NaN\"",
        "\"inf\"",
        "\"1e\"",
        "\"0x10\"",
        "\"1 2\"",
        "1e999999999",
        "\".\"",
        "12.0000000000000000001",
    ] {
        let rejection = with("code_habitat", raw).unwrap_err();
        assert_eq!(rejection.reason, Reason::BadNumber, "{raw}");
        assert_eq!(rejection.column.as_deref(), Some("code_habitat"));
        assert_eq!(rejection.value.as_deref(), Some(raw.trim_matches('"')));
    }
}

#[test]
fn uuids_are_read_in_any_case_and_dress() {
    let meant = Ok(Value::Uuid(uuid("e67991fc-10bc-50b7-88d7-ce64816ca783")));
    for written in [
        "e67991fc-10bc-50b7-88d7-ce64816ca783",
        "E67991FC-10BC-50B7-88D7-CE64816CA783",
        "{e67991fc-10bc-50b7-88d7-ce64816ca783}",
        "e67991fc10bc50b788d7ce64816ca783",
        "urn:uuid:e67991fc-10bc-50b7-88d7-ce64816ca783",
    ] {
        let raw = quoted(written);
        assert_eq!(
            value_of("unique_id_sinp", "id_perm_sinp", &raw),
            meant,
            "{written}"
        );
    }
    for raw in [
        "\"e67991fc\"",
        "12",
        "{}",
        "\"g67991fc-10bc-50b7-88d7-ce64816ca783\"",
        "\"e67991fc110bc-50b7-88d7-ce64816ca783\"",
        "\"é67991fc-10bc-50b7-88d7-ce64816ca78\"",
    ] {
        let read = value_of("unique_id_sinp", "id_perm_sinp", raw);
        assert_eq!(read, Err(Reason::BadUuid), "{raw}");
    }
}

fn data(raw: &str) -> Result<Value, Reason> {
    value_of("additional_data", "donnees_additionnelles", raw)
}

fn json(text: &str) -> Result<Value, Reason> {
    Ok(Value::Json(text.to_owned()))
}

#[test]
fn additional_data_is_the_same_as_an_object_and_as_text() {
    let object = r#"{"b": [1, 2.50, 1e3], "a": {"z": null, "y": "é\n"}, "b2": true}"#;
    let same = r#"{"a":{"y":"é\n","z":null},"b":[1,2.50,1e3],"b2":true}"#;
    assert_eq!(data(object), json(same));
    assert_eq!(data(&quoted(object)), json(same));
    assert_eq!(data("{}"), json("{}"));
    assert_eq!(data("\"{}\""), json("{}"));
    assert_eq!(data("\"null\""), Ok(Value::Null));
}

#[test]
fn additional_data_keeps_the_digits_of_numbers() {
    let digits = "[0.1000,123456789012345678901234567890,1e-300,-0.0]";
    assert_eq!(data(digits), json(digits));
    assert_eq!(data("[1e200000]"), Err(Reason::BadJson));
    assert_eq!(data("[1e-20000]"), Err(Reason::BadJson));
    assert_eq!(data("[1e99999999999999999999]"), Err(Reason::BadJson));
}

#[test]
fn additional_data_that_is_plain_text_stays_a_text() {
    assert_eq!(data("\"vu de loin\""), json("\"vu de loin\""));
    assert_eq!(data(&quoted("{cassé")), Err(Reason::BadJson));
    assert_eq!(data(&quoted("[1,")), Err(Reason::BadJson));
}

#[test]
fn the_last_of_duplicate_members_counts() {
    assert_eq!(data(r#"{"a": 1, "a": 2}"#), json(r#"{"a":2}"#));
    let twice = item(&[]).replacen('{', "{\"nom_lieu\": \"premier\", ", 1);
    assert_eq!(
        *value(&read(&twice).unwrap(), "place_name"),
        text("Rive d'Arve")
    );
}

#[test]
fn deep_nesting_is_refused_and_does_not_overflow() {
    let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(data(&deep(90)), json(&deep(90)));
    for depth in [150, 100_000] {
        assert_eq!(data(&deep(depth)), Err(Reason::BadJson));
        assert_eq!(data(&quoted(&deep(depth))), Err(Reason::BadJson));
        // Where nobody asks for the column it does no harm.
        let ignored = item(&[("inconnue", &deep(depth))]);
        assert!(read(&ignored).is_ok());
    }
}

#[test]
fn a_value_of_the_wrong_json_type_is_refused() {
    for raw in ["{\"a\": 1}", "[\"a\"]"] {
        let rejection = with("nom_lieu", raw).unwrap_err();
        assert_eq!(rejection.reason, Reason::BadJson);
        assert_eq!(rejection.column.as_deref(), Some("nom_lieu"));
        assert_eq!(rejection.value.as_deref(), Some(raw));
        assert_eq!(
            value_of("id_nomenclature_sex", "sexe", raw),
            Err(Reason::BadJson)
        );
    }
    assert_eq!(
        value_of("place_name", "nom_lieu", r#""\ud800""#),
        Err(Reason::BadJson)
    );
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        "[^\u{0}]{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::hash_map("[^\u{0}]{0,6}", inner, 0..6)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_text_survives(written in "[^\u{0}]{0,500}") {
        prop_assert_eq!(value_of("place_name", "nom_lieu", &quoted(&written)), Ok(text(&written)));
    }

    #[test]
    fn any_integer_survives(number in any::<i32>()) {
        let expected = Ok(Value::Integer(number));
        prop_assert_eq!(value_of("cd_nom", "cd_nom", &number.to_string()), expected.clone());
        prop_assert_eq!(value_of("cd_nom", "cd_nom", &format!("\"{number}.0\"")), expected);
    }

    #[test]
    fn any_uuid_survives(bytes in any::<u128>()) {
        let digits = format!("{bytes:032X}");
        let written = format!("{}-{}-{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]);
        let expected = Ok(Value::Uuid(bytes.to_be_bytes()));
        prop_assert_eq!(value_of("unique_id_sinp", "id_perm_sinp", &quoted(&written)), expected);
    }

    #[test]
    fn any_data_survives_and_its_form_is_canonical(written in any_json()) {
        let raw = written.to_string();
        let read = data(&raw);
        if written.is_null() || written.as_str().is_some() {
            return Ok(());
        }
        let Ok(Value::Json(canonical)) = read else { panic!("{raw} gave {read:?}") };
        let back: serde_json::Value = serde_json::from_str(&canonical).unwrap();
        prop_assert_eq!(&back, &written);
        prop_assert_eq!(data(&canonical), json(&canonical));
        prop_assert_eq!(data(&quoted(&raw)), json(&canonical));
    }
}
