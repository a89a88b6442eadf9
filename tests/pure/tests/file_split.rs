//! Cutting a file into records, whatever the chunks that it comes in, and whatever is in it.

use gn_harvest_pure::file::{Broken, Format, Kinds, Splitter, stem, storable};
use proptest::prelude::*;
use serde_json::{Value, json};

const LONGEST: usize = 1_000_000;

/// The records of a file that comes in chunks of so many bytes.
fn split_in(
    chunk: usize,
    bytes: &[u8],
    kinds: &Kinds,
    longest: usize,
) -> (Vec<String>, Result<(), Broken>) {
    let mut splitter = Splitter::new(longest, kinds.clone());
    let mut out = Vec::new();
    for part in bytes.chunks(chunk.max(1)) {
        if let Err(broken) = splitter.feed(part, &mut out) {
            return (out, Err(broken));
        }
    }
    assert_eq!(splitter.read(), bytes.len() as u64);
    let end = splitter.finish(true, &mut out);
    (out, end)
}

/// The same whatever the chunks.
fn split_with(bytes: &[u8], kinds: &Kinds, longest: usize) -> (Vec<String>, Result<(), Broken>) {
    let whole = split_in(bytes.len(), bytes, kinds, longest);
    for chunk in [1, 2, 3, 7, 64] {
        assert_eq!(split_in(chunk, bytes, kinds, longest), whole, "by {chunk}");
    }
    whole
}

fn split(bytes: impl AsRef<[u8]>) -> Result<Vec<String>, Broken> {
    let (out, end) = split_with(bytes.as_ref(), &Kinds::default(), LONGEST);
    end.map(|()| out)
}

fn values(bytes: impl AsRef<[u8]>) -> Vec<Value> {
    let items = split(bytes).expect("a whole file");
    items
        .iter()
        .map(|item| serde_json::from_str(item).expect(item))
        .collect()
}

#[test]
fn an_array_of_objects_is_cut_into_its_objects_as_they_are_written() {
    let items = split(r#" [ {"a": "}],\"" , "b": [1, {"c": null}]} ,{"a":2}] "#).expect("whole");
    assert_eq!(
        items,
        [r#"{"a": "}],\"" , "b": [1, {"c": null}]}"#, r#"{"a":2}"#]
    );
    assert_eq!(split("[]").expect("whole"), Vec::<String>::new());
    assert_eq!(split("\u{feff}[{}]\r\n").expect("whole"), ["{}"]);
}

#[test]
fn the_features_of_a_collection_are_its_records_wherever_they_stand() {
    let file = r#"{"type": "FeatureCollection", "crs": {"features": [0]}, "n": -1.5e3, "features": [{"type":"Feature"}, {}], "last": [1]}"#;
    assert_eq!(split(file).expect("whole"), [r#"{"type":"Feature"}"#, "{}"]);
    assert_eq!(
        split(r#"{"items": [1, "a", null]}"#).expect("whole"),
        ["1", "\"a\"", "null"]
    );
}

#[test]
fn a_file_that_ends_too_soon_is_told() {
    for file in [
        "[",
        "[{}",
        "[{},",
        "[{\"a\": \"",
        "[{\"a\": \"\\",
        "{\"features\": [{}]",
        "{\"features\"",
        "[12",
        "a;b",
        "a;b\n1;\"2",
        "\u{feff}[{\"a\":1",
    ] {
        assert_eq!(split(file), Err(Broken::CutShort), "{file}");
    }
    for file in ["", "  \n ", "\u{feff}", "\u{feff}\n"] {
        assert_eq!(split(file), Err(Broken::Empty), "{file:?}");
    }
}

#[test]
fn what_is_no_file_of_records_is_told_with_its_place() {
    assert_eq!(split("\n<!doctype html>"), Err(Broken::Html));
    for (file, at) in [
        ("[{} {}]", 4),
        ("[{},]", 4),
        ("[{}]]", 4),
        ("[{}] [", 5),
        ("[;]", 1),
        ("{\"a\" 1}", 5),
        ("{\"features\": {}}", 13),
        ("{\"error\": 404}", 13),
        ("{}", 1),
        ("\u{feff} [{}x]", 7),
        ("Not found\nreally\n", 0),
    ] {
        match split(file) {
            Err(Broken::Unexpected { at: told, .. }) => assert_eq!(told, at, "{file}"),
            other => panic!("{file}: {other:?}"),
        }
    }
}

#[test]
fn a_record_that_is_no_text_or_too_long_is_refused_and_the_others_are_not() {
    let items = values(b"[{\"a\":1},{\"a\":\"\xff\xfe\"},{\"a\":3}]");
    assert_eq!(items[0], json!({"a": 1}));
    assert!(
        items[1]
            .as_str()
            .expect("a string")
            .starts_with("not UTF-8: {\"a\":"),
        "{items:?}"
    );
    assert_eq!(items[2], json!({"a": 3}));

    let long = format!(
        "[{{\"a\":1}},{{\"a\":\"{}\"}},{{\"a\":3}}]",
        "x".repeat(5000)
    );
    let (out, end) = split_with(long.as_bytes(), &Kinds::default(), 1000);
    assert_eq!((out.len(), end), (3, Ok(())));
    assert!(
        out[1].starts_with("\"a record of more than 1000 bytes: {"),
        "{}",
        out[1]
    );
    assert!(out[1].len() < 2000);
    assert_eq!(out[2], "{\"a\":3}");

    let csv = format!("a;b\n1;2\n3;\"{}\"\n5;6\n", "y".repeat(5000));
    let (out, end) = split_with(csv.as_bytes(), &Kinds::default(), 1000);
    assert_eq!((out.len(), end), (3, Ok(())));
    assert!(
        out[1].starts_with("\"a record of more than 1000 bytes"),
        "{}",
        out[1]
    );
    assert_eq!(out[2], r#"{"a":"5","b":"6"}"#);

    let items = values(b"a;b\n1;\xe9t\xe9\n3;4\n");
    assert!(items[0].is_string(), "{items:?}");
    assert_eq!(items[1], json!({"a": "3", "b": "4"}));
}

#[test]
fn memory_does_not_grow_with_what_is_passed_over() {
    // A value without end, between the first two records.
    let mut splitter = Splitter::new(1000, Kinds::default());
    let mut out = Vec::new();
    splitter
        .feed(b"[{\"a\": \"", &mut out)
        .expect("a beginning");
    let chunk = vec![b'z'; 1 << 20];
    for _ in 0..200 {
        splitter.feed(&chunk, &mut out).expect("more");
    }
    splitter.feed(b"\"}, {}]", &mut out).expect("the end");
    splitter.finish(true, &mut out).expect("whole");
    assert_eq!(out.len(), 2);
    assert!(resident() < 150_000, "{} kB", resident());
}

/// Resident memory of this process in kB, at its highest.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .expect("VmHWM");
    line.split_whitespace()
        .nth(1)
        .expect("a number")
        .parse()
        .expect("a number")
}

#[test]
fn lines_are_records_under_the_names_of_the_first() {
    for file in [
        "\"a\";\"b c\"\n\"1\";\"x\"\n\"2\";\"\"\n",
        "a;b c\r\n1;x\r\n2;\r\n",
        "a;b c\r1;x\r2;\r",
        "\u{feff}a,b c\n1,x\n2,\n",
        "a\tb c\n\n1\tx\n\n\n2\t\n",
        "a|b c\n1|x\n2|",
    ] {
        assert_eq!(
            values(file),
            [
                json!({"a": "1", "b c": "x"}),
                json!({"a": "2", "b c": null})
            ],
            "{file:?}"
        );
    }
}

#[test]
fn quoted_values_hold_separators_quotes_and_line_breaks() {
    let file = "a;b\r\n\"x;\"\"y\"\"\r\nz\";\"\"\"\"\n\"\";\"é\"\n";
    assert_eq!(
        values(file),
        [
            json!({"a": "x;\"y\"\r\nz", "b": "\""}),
            json!({"a": null, "b": "é"})
        ]
    );
}

#[test]
fn a_line_of_another_length_is_refused_alone() {
    let items = values("a;b\n1;2;3\n4\n5;6\n");
    let why = |item: &Value| item.as_str().expect("refused").to_owned();
    assert_eq!(why(&items[0]), "a line of 3 values under 2 names: 123");
    assert_eq!(why(&items[1]), "a line of 1 values under 2 names: 4");
    assert_eq!(items[2], json!({"a": "5", "b": "6"}));
}

#[test]
fn a_last_line_without_its_end_counts_only_where_all_has_come() {
    let cut = |complete| {
        let mut splitter = Splitter::new(LONGEST, Kinds::default());
        let mut out = Vec::new();
        splitter.feed(b"a;b\n1;2\n3;4", &mut out).expect("fed");
        splitter.finish(complete, &mut out).map(|()| out.len())
    };
    assert_eq!(cut(true), Ok(2));
    assert_eq!(cut(false), Err(Broken::CutShort));
}

#[test]
fn values_of_lines_become_what_the_api_gives() {
    let sample = json!({
        "n": 1, "x": 6.5, "b": true, "t": "12", "o": {"a": 1}, "l": ["x"], "at": "2016-02-17 11:50:00",
        "null": null, "num": "3.50", "mixed": 1,
    })
    .to_string();
    let other = json!({"mixed": "text", "null": null, "n": null}).to_string();
    let kinds = Kinds::of(&[&sample, &other], false);
    let file = concat!(
        "n;x;b;t;o;l;at;null;num;mixed;new\n",
        "12;-6.25e2;True;34;\"{'a': None, 'b': \"\"it's\"\", 'c': [True, 1.5, '\\n\\xe9\\u2014']}\";\"[\"\"x\"\"]\";2016-02-17T11:50:00.5;;0;7;{}\n",
        "01;nan;maybe;;{broken;'x';2016-02-17;{'a': 1};1.10;8;[not so\n",
    );
    let (out, end) = split_with(file.as_bytes(), &kinds, LONGEST);
    assert_eq!(end, Ok(()));
    let read = |at: usize| serde_json::from_str::<Value>(&out[at]).expect("JSON");
    assert_eq!(
        read(0),
        json!({
            "n": 12, "x": -625.0, "b": true, "t": "34", "o": {"a": null, "b": "it's", "c": [true, 1.5, "\né—"]},
            "l": ["x"], "at": "2016-02-17 11:50:00.5", "null": null, "num": "0", "mixed": "7", "new": {},
        })
    );
    assert_eq!(
        read(1),
        json!({
            "n": "01", "x": "nan", "b": "maybe", "t": null, "o": "{broken", "l": "'x'", "at": "2016-02-17",
            "null": {"a": 1}, "num": "1.10", "mixed": "8", "new": "[not so",
        })
    );
}

#[test]
fn dates_of_a_json_file_are_written_as_the_api_writes_them() {
    let sample = r#"{"at": "2016-02-17 11:50:00", "said": "2016-02-17T11:50:00"}"#;
    let kinds = Kinds::of(&[sample], false);
    let item = r#"{"said": "2016-02-17T11:50:00", "at": "2020-01-02T03:04:05.678901", "é": 1}"#;
    let expected = r#"{"said": "2016-02-17T11:50:00", "at": "2020-01-02 03:04:05.678901", "é": 1}"#;
    assert_eq!(kinds.with_dates(item, false), expected);
    let feature = r#"{"type": "Feature", "at": "2020-01-02T03:04:05", "properties": {"at": "2020-01-02T03:04:05"}}"#;
    let expected = r#"{"type": "Feature", "at": "2020-01-02T03:04:05", "properties": {"at": "2020-01-02 03:04:05"}}"#;
    assert_eq!(kinds.with_dates(feature, true), expected);
    for same in [
        "[1]",
        "{\"at\": 2020}",
        "{\"at\": null}",
        "{\"at\": \"2020-13-02T\"}",
        "no",
    ] {
        assert_eq!(kinds.with_dates(same, false), same);
    }
}

#[test]
fn the_format_is_known_once_it_has_begun() {
    let mut splitter = Splitter::new(LONGEST, Kinds::default());
    let mut out = Vec::new();
    splitter.feed(b"\xef\xbb", &mut out).expect("fed");
    assert_eq!(splitter.format(), None);
    splitter.feed(b"\xbf \n", &mut out).expect("fed");
    assert_eq!(splitter.format(), None);
    splitter.feed(b"{", &mut out).expect("fed");
    assert_eq!(splitter.format(), Some(Format::Json));
    let mut splitter = Splitter::new(LONGEST, Kinds::default());
    splitter.feed(b"a;b\n", &mut out).expect("fed");
    assert_eq!(splitter.format(), Some(Format::Csv));
}

#[test]
fn a_file_is_named_by_the_label_of_its_export() {
    assert_eq!(stem("GN2PG métadonnées"), "GN2PG_metadonnees");
    assert_eq!(stem("Synthese SINP"), "Synthese_SINP");
    assert_eq!(
        stem("L’été à l'Île (n°2) — Œuvre/x"),
        "Lete_a_lIle_(n2)__uvrex"
    );
}

#[test]
fn what_is_no_json_is_stored_as_a_string() {
    assert_eq!(storable("{\"a\": 1}".to_owned()), "{\"a\": 1}");
    assert_eq!(storable("{\"a\": 1]".to_owned()), "\"{\\\"a\\\": 1]\"");
    assert_eq!(storable("{\"a\0".to_owned()), "\"{\\\"a\"");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "(\\PC|[\"\\\\{}\\[\\],:\n])*".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-z\"\\\\\\]}]{0,4}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_values_come_out_as_they_were_put_in(
        put in prop::collection::vec(any_json(), 0..8),
        chunk in 1_usize..50,
        pretty in any::<bool>(),
        within in any::<bool>(),
    ) {
        let file = match within {
            true => json!({"a": [put.first()], "features": put.clone(), "z": null}),
            false => Value::from(put.clone()),
        };
        let text = match pretty {
            true => serde_json::to_string_pretty(&file),
            false => serde_json::to_string(&file),
        }.expect("JSON");
        let (out, end) = split_in(chunk, text.as_bytes(), &Kinds::default(), LONGEST);
        prop_assert_eq!(end, Ok(()));
        let found: Vec<Value> = out.iter().map(|item| serde_json::from_str(item).expect("JSON")).collect();
        prop_assert_eq!(found, put);
        // However it is cut short, it is not taken for whole.
        let cut = text.floor_char_boundary(text.len() * chunk / 51);
        let (_, end) = split_in(chunk, &text.as_bytes()[..cut], &Kinds::default(), LONGEST);
        prop_assert!(end.is_err());
    }

    #[test]
    fn any_cells_come_out_as_they_were_put_in(
        put in prop::collection::vec(prop::collection::vec("(\\PC|[\";,\r\n\t])*", 3), 0..6),
        chunk in 1_usize..50,
        windows in any::<bool>(),
    ) {
        let end_of_line = if windows { "\r\n" } else { "\n" };
        let mut text = format!("\"a\";\"b\";\"c\"{end_of_line}");
        for line in &put {
            let cells: Vec<String> = line.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect();
            text.push_str(&cells.join(";"));
            text.push_str(end_of_line);
        }
        let sample = json!({"a": "x", "b": "x", "c": "x"}).to_string();
        let kinds = Kinds::of(&[&sample], false);
        let (out, end) = split_in(chunk, text.as_bytes(), &kinds, LONGEST);
        prop_assert_eq!(end, Ok(()));
        let found: Vec<Value> = out.iter().map(|item| serde_json::from_str(item).expect("JSON")).collect();
        let value = |cell: &String| if cell.is_empty() { Value::Null } else { Value::from(cell.clone()) };
        let expected: Vec<Value> = put.iter()
            .map(|line| json!({"a": value(&line[0]), "b": value(&line[1]), "c": value(&line[2])}))
            .collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn any_bytes_are_cut_alike_in_whatever_chunks(
        bytes in prop::collection::vec(prop_oneof![
            Just(b'"'), Just(b'\\'), Just(b'{'), Just(b'}'), Just(b'['), Just(b']'), Just(b','), Just(b':'),
            Just(b';'), Just(b'\n'), Just(b'\r'), Just(b'a'), Just(b'1'), Just(b' '), any::<u8>(),
        ], 0..200),
        chunk in 1_usize..20,
        start in prop_oneof![Just(&b""[..]), Just(&b"["[..]), Just(&b"{\"items\":["[..]), Just(&b"a;b\n"[..])],
    ) {
        let bytes = [start, &bytes].concat();
        let whole = split_in(bytes.len(), &bytes, &Kinds::default(), 40);
        let parts = split_in(chunk, &bytes, &Kinds::default(), 40);
        prop_assert_eq!(&whole, &parts);
        for item in whole.0 {
            let stored = storable(item);
            prop_assert!(serde_json::from_str::<Value>(&stored).is_ok(), "{}", stored);
        }
    }
}
