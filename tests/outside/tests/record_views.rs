//! create_record_view: a typed view of the records of a source, the caller's own, that no value can break.

use gn_harvest_outside::Database;

use crate::any_export::AnyExport;
use crate::people::*;
use crate::records::{add_any, plain};
use crate::support::*;

/// name type, in the order of the view.
fn columns(database: &Database, view: &str) -> Vec<String> {
    let rows = database.rows(&format!(
        "SELECT attname || ' ' || format_type(atttypid, atttypmod) AS line FROM pg_attribute WHERE attrelid = '{view}'::regclass AND attnum > 0 ORDER BY attnum"
    ));
    rows.iter()
        .map(|row| text(row, "line").to_owned())
        .collect()
}

/// A source of these items, harvested.
fn harvested(database: &Database, name: &str, items: &[&str]) -> AnyExport {
    let export = AnyExport::start("id", items);
    add_any(database, name, &export, ", max_loss => 100");
    run_well(database, name, "auto");
    export
}

fn create(database: &Database, name: &str, view: &str) -> String {
    database.value(&format!(
        "SELECT gn_harvest.create_record_view('{name}', '{view}')"
    ))
}

const FIXED: [&str; 3] = [
    "record_id bigint",
    "source_key text",
    "changed_at timestamp with time zone",
];

#[test]
fn each_column_has_the_type_that_all_its_values_have() {
    let database = plain();
    let _export = harvested(
        &database,
        "sites",
        &[
            r#"{"id": 1, "petit": 12, "grand": 12345678901, "reel": 1.50, "oui": true, "jour": "2024-02-29", "instant": "2024-01-02 03:04:05.678901",
            "zone": "2024-01-02T03:04:05+02:00", "mixte": "2024-01-02", "uid": "3F0C2B1A-0000-4000-8000-000000000001", "code": "05", "nom": "l'été",
            "objet": {"a": [1]}, "rien": null, "nombres": 1, "tout": 1}"#,
            r#"{"id": 2, "petit": -3, "grand": 5, "reel": 10, "oui": false, "jour": "1999-12-31", "instant": "2024-01-02T03:04", "zone": "2024-01-02 03:04:05Z",
            "mixte": "2024-01-02 10:00:00", "uid": null, "code": "38", "nom": "2024-01-02", "objet": null, "nombres": 99999999999, "tout": "x", "neuf": [1]}"#,
            r#"{"id": 3, "nombres": 1.5, "tout": {"a": 1}}"#,
        ],
    );
    let described = database.rows("SELECT * FROM gn_harvest.record_columns('sites')");
    assert_eq!(described.len(), 17);
    assert_eq!(
        described
            .iter()
            .filter(|row| text(row, "column") == "petit")
            .map(|row| (text(row, "type"), number(row, "records")))
            .collect::<Vec<_>>(),
        [("integer", 2)]
    );
    assert_eq!(create(&database, "sites", "public.sites"), "sites");
    assert_eq!(columns(&database, "public.sites")[..3], FIXED);
    assert_eq!(
        columns(&database, "public.sites")[3..],
        [
            "code text",
            "grand bigint",
            "id integer",
            "instant timestamp without time zone",
            "jour date",
            "mixte timestamp without time zone",
            "neuf jsonb",
            "nom text",
            "nombres numeric",
            "objet jsonb",
            "oui boolean",
            "petit integer",
            "reel numeric",
            "rien text",
            "tout jsonb",
            "uid uuid",
            "zone timestamp with time zone",
        ]
    );
    let row = database.row("SELECT *, zone AT TIME ZONE 'UTC' AS utc FROM public.sites WHERE id = 1 AND petit + reel > 13");
    for (column, value) in [
        ("code", "05"),
        ("grand", "12345678901"),
        ("instant", "2024-01-02 03:04:05.678901"),
        ("jour", "2024-02-29"),
        ("mixte", "2024-01-02 00:00:00"),
        ("nom", "l'été"),
        ("oui", "t"),
        ("petit", "12"),
        ("reel", "1.50"),
        ("uid", "3f0c2b1a-0000-4000-8000-000000000001"),
        ("objet", "{\"a\": [1]}"),
        ("utc", "2024-01-02 01:04:05"),
        ("rien", ""),
    ] {
        assert_eq!(text(&row, column), value, "{column}");
    }
    assert_eq!(
        database.number("SELECT count(objet) FROM public.sites"),
        1,
        "a null of JSON is null"
    );
    assert!(
        database
            .value("SELECT obj_description('public.sites'::regclass)")
            .contains("sites")
    );
}

#[test]
fn values_that_do_not_fit_are_null_and_break_no_query() {
    let database = plain();
    let export = harvested(
        &database,
        "sites",
        &[
            r#"{"id": 1, "n": 1, "b": true, "g": 12345678901, "r": 1.5, "d": "2024-01-02", "t": "2024-01-02 03:04:05", "z": "2024-01-02 03:04:05Z", "u": "3f0c2b1a-0000-4000-8000-000000000001", "j": {}}"#,
        ],
    );
    create(&database, "sites", "public.sites");
    let long = format!("\"{}\"", "9".repeat(400));
    let bad = [
        "\"x\"",
        "1.5",
        "123456789012",
        "true",
        "{}",
        "[]",
        "\"\"",
        "null",
        "\"2024-02-30\"",
        "\"2023-02-29\"",
        "\"1900-02-29\"",
        "\"0000-01-01\"",
        "\"2024-13-01\"",
        "\"2024-01-02 24:00:00\"",
        "\"2024-01-02 03:04:61\"",
        "\"2024-01-02 03:04:05+99:00\"",
        "\"infinity\"",
        "\"3f0c2b1a-0000-4000-8000-00000000000\"",
        "1e300",
        long.as_str(),
        "\"2024-01-02\\n\"",
        "\"-\"",
        "\"NaN\"",
    ];
    let items: Vec<String> = bad
        .iter()
        .enumerate()
        .map(|(i, v)| format!(r#"{{"id": {}, "n": {v}, "b": {v}, "g": {v}, "r": {v}, "d": {v}, "t": {v}, "z": {v}, "u": {v}, "j": {v}}}"#, i + 2))
        .collect();
    export.serve(&items.iter().map(String::as_str).collect::<Vec<_>>());
    let read = run_well(&database, "sites", "full");
    assert_eq!(number(&read, "inserted"), bad.len() as i64, "{read:#?}");
    let sums = "SELECT count(*) AS rows, sum(n) AS n, bool_or(b) AS b, sum(g) AS g, max(d) AS d, max(t) AS t, count(z) AS z, count(u) AS u, count(j) AS j, count(r) AS r FROM public.sites";
    let row = database.row(sums);
    assert_eq!(number(&row, "rows"), 1 + bad.len() as i64);
    assert_eq!(
        (number(&row, "n"), number(&row, "g"), text(&row, "d")),
        (1, 123456789012 + 12345678901, "2024-01-02")
    );
    assert_eq!((number(&row, "z"), number(&row, "u")), (1, 1));
    assert_eq!(
        number(&row, "j"),
        bad.len() as i64,
        "all but the null are JSON"
    );
    // The text is there for whoever wants it; the whole view can be read.
    assert_eq!(
        database.rows("SELECT * FROM public.sites").len(),
        1 + bad.len()
    );
}

#[test]
fn called_again_it_takes_up_new_columns_and_says_what_to_do_when_it_can_not() {
    let database = plain();
    let export = harvested(&database, "l''été", &[r#"{"id": 1, "b": 1, "z": "x"}"#]);
    create(&database, "l''été", "public.sites");
    database.run("CREATE VIEW public.on_it AS SELECT record_id, b FROM public.sites");
    export.serve(&[r#"{"id": 1, "a": 2, "b": 3}"#]);
    run_well(&database, "l''été", "full");
    create(&database, "l''été", "public.sites");
    let now = columns(&database, "public.sites");
    assert_eq!(now[..3], FIXED);
    assert_eq!(
        now[3..],
        ["b integer", "id integer", "z text", "a integer"],
        "what no record has any more stays"
    );
    let row = database.row("SELECT b, id, z, a FROM public.sites");
    assert_eq!(
        (
            text(&row, "b"),
            text(&row, "id"),
            text(&row, "z"),
            text(&row, "a")
        ),
        ("3", "1", "", "2")
    );
    assert_eq!(database.value("SELECT b FROM public.on_it"), "3");

    export.serve(&[r#"{"id": 1, "a": 2, "b": "trois"}"#]);
    run_well(&database, "l''été", "full");
    let call = "SELECT gn_harvest.create_record_view('l''été', 'public.sites')";
    let error = database.error(call);
    assert!(
        error.starts_with("42P16: ") && error.contains("\nDETAIL: ") && error.contains("\"b\""),
        "{error}"
    );
    assert_eq!(
        database.value("SELECT b FROM public.on_it"),
        "",
        "the view still answers"
    );
    database.run("DROP VIEW public.on_it");
    database.run(hint(&error));
    assert_eq!(database.value("SELECT b FROM public.sites"), "trois");
}

/// The HINT of an error, as a statement.
fn hint(error: &str) -> &str {
    error
        .split_once("\nHINT: ")
        .unwrap_or_else(|| panic!("no hint in {error}"))
        .1
}

#[test]
fn names_of_any_kind_become_columns() {
    let database = plain();
    let long = "é".repeat(100);
    let twin = format!("{long}2");
    let item = format!(
        r#"{{"id": 1, "Nom \"x\"; DROP TABLE a; --": 1, "l'été": 2, "%s %I $1": 3, "": 4, "{long}": 5, "{twin}": 6, "record_id": 7, "geometry": 8, "select": 9, "back\\slash": 10, "ID": 11}}"#
    );
    let _export = harvested(&database, "sites", &[item.as_str()]);
    create(&database, "sites", r#"public."Vue ""é"" %I""#);
    let row = database.row(r#"SELECT * FROM public."Vue ""é"" %I""#);
    assert_eq!(row.len(), 3 + 12, "{row:#?}");
    for (column, value) in [
        ("Nom \"x\"; DROP TABLE a; --", "1"),
        ("l'été", "2"),
        ("%s %I $1", "3"),
        ("select", "9"),
        ("back\\slash", "10"),
        ("ID", "11"),
        ("id", "1"),
    ] {
        assert_eq!(text(&row, column), value, "{column}");
    }
    let renamed = database.rows("SELECT \"column\", member FROM gn_harvest.record_columns('sites') WHERE \"column\" <> member");
    assert_eq!(renamed.len(), 5);
    for renamed in renamed {
        let (column, member) = (text(&renamed, "column"), text(&renamed, "member"));
        assert!(column.len() <= 63, "{column}");
        let expected = match member {
            "" => "4",
            "record_id" => "7",
            "geometry" => "8",
            member if member == long => "5",
            _ => "6",
        };
        assert_eq!(text(&row, column), expected, "{member}");
    }
    create(&database, "sites", r#"public."Vue ""é"" %I""#);
}

#[test]
fn what_can_not_be_a_view_is_refused_with_what_would_be_right() {
    let database = plain();
    let _export = harvested(&database, "sites", &[r#"{"id": 1}"#]);
    database.run("CREATE TABLE public.a_table (a int); CREATE VIEW public.a_view AS SELECT 1 AS a; CREATE MATERIALIZED VIEW public.kept AS SELECT 1 AS a");
    database.run("SELECT gn_harvest.add_source('empty', 'https://g.example.org', 1, target => 'records'); SELECT gn_harvest.add_source('obs', 'https://g.example.org', 1)");
    let long = "x".repeat(64);
    for (source, view, sqlstate, part) in [
        (
            "'sites'",
            "NULL".to_owned(),
            "42602",
            "named by its schema and its name",
        ),
        ("'sites'", "''".to_owned(), "42602", "named by"),
        ("'sites'", "'sites'".to_owned(), "42602", "named by"),
        ("'sites'", "'a.b.c'".to_owned(), "42602", "named by"),
        ("'sites'", "'public.a b'".to_owned(), "42602", "named by"),
        ("'sites'", format!("'public.{long}'"), "42602", "63 bytes"),
        (
            "'sites'",
            "'absent.v'".to_owned(),
            "3F000",
            "schema \"absent\" does not exist",
        ),
        (
            "'sites'",
            "'gn_harvest.v'".to_owned(),
            "22023",
            "the extension's own",
        ),
        (
            "'sites'",
            "'public.a_table'".to_owned(),
            "42809",
            "is no view of harvested records",
        ),
        (
            "'sites'",
            "'public.a_view'".to_owned(),
            "42809",
            "is no view of harvested records",
        ),
        (
            "'sites'",
            "'public.kept'".to_owned(),
            "42809",
            "is no view of harvested records",
        ),
        (
            "'empty'",
            "'public.v'".to_owned(),
            "P0002",
            "has no record yet",
        ),
        (
            "'obs'",
            "'public.v'".to_owned(),
            "42809",
            "the target of source \"obs\" is synthese",
        ),
        (
            "'absent'",
            "'public.v'".to_owned(),
            "42704",
            "there is no source \"absent\"",
        ),
        (
            "NULL",
            "'public.v'".to_owned(),
            "42704",
            "there is no source",
        ),
    ] {
        let error = database.error(&format!(
            "SELECT gn_harvest.create_record_view({source}, {view})"
        ));
        assert!(
            error.starts_with(&format!("{sqlstate}: "))
                && error.contains(part)
                && error.contains("\nHINT: "),
            "{source}, {view}: {error}"
        );
    }
    assert_eq!(database.value("SELECT a FROM public.a_view"), "1");
}

#[test]
fn the_view_is_the_callers_and_shows_what_who_reads_it_may_see() {
    let database = plain();
    let (owner, other, reader, stranger) = (
        role(&database, "owner"),
        role(&database, "other"),
        role(&database, "reader"),
        role(&database, "stranger"),
    );
    database.run(&format!("SELECT gn_harvest.grant_operator('{owner}'); SELECT gn_harvest.grant_operator('{other}'); SELECT gn_harvest.grant_reader('{reader}');
        CREATE SCHEMA shop; GRANT USAGE ON SCHEMA shop TO PUBLIC; GRANT CREATE ON SCHEMA shop TO {owner}, {other}"));
    let export = AnyExport::start("id", &[r#"{"id": 1, "nom": "Mare"}"#]);
    as_role(
        &database,
        &owner,
        &format!(
            "SELECT gn_harvest.add_source('sites', '{}', 1, target => 'records')",
            export.url
        ),
    );
    as_role(&database, &owner, "SELECT gn_harvest.run('sites')");
    for role in [&owner, &other, &reader] {
        for table in ["record", "harvested"] {
            let error = error_as(
                &database,
                role,
                &format!("SELECT * FROM gn_harvest.{table}"),
            );
            assert!(error.starts_with("42501: "), "{error}");
        }
    }
    let call = "SELECT gn_harvest.create_record_view('sites', 'shop.sites')";
    as_role(&database, &owner, call);
    assert_eq!(
        database.value("SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'sites'"),
        owner
    );
    as_role(
        &database,
        &owner,
        &format!("GRANT SELECT ON shop.sites TO {other}, {reader}, {stranger}"),
    );
    let seen = |role: &str| {
        value_as(
            &database,
            role,
            "SELECT string_agg(nom, ' ') FROM shop.sites",
        )
    };
    assert_eq!(
        (seen(&owner), seen(&reader), seen(&other)),
        ("Mare".into(), "Mare".into(), String::new())
    );
    assert!(error_as(&database, &stranger, "SELECT * FROM shop.sites").starts_with("42501: "));
    // Not theirs: neither the source, nor the view, nor the schema.
    let error = error_as(
        &database,
        &other,
        &call.replace("shop.sites", "shop.others"),
    );
    assert!(error.starts_with("42704: "), "{error}");
    let error = error_as(&database, &reader, call);
    assert!(
        error.starts_with("42501: ")
            && error.contains("may not create a view in schema \"shop\"")
            && error.contains("HINT: GRANT "),
        "{error}"
    );
    database.run(&format!("GRANT CREATE ON SCHEMA shop TO {reader}"));
    let error = error_as(&database, &reader, call);
    assert!(
        error.starts_with("42501: ") && error.contains(&owner) && error.contains("HINT: "),
        "{error}"
    );
    as_role(
        &database,
        &reader,
        "SELECT gn_harvest.create_record_view('sites', 'shop.mine')",
    );
    assert!(error_as(&database, &stranger, call).starts_with("42501: "));
    // Whoever is to read without seeing the source gets a copy.
    as_role(
        &database,
        &owner,
        &format!(
            "CREATE MATERIALIZED VIEW shop.copy AS SELECT * FROM shop.sites; GRANT SELECT ON shop.copy TO {stranger}"
        ),
    );
    assert_eq!(
        value_as(&database, &stranger, "SELECT nom FROM shop.copy"),
        "Mare"
    );
    // No function that a reader slips into a query sees the rows of others.
    as_role(
        &database,
        &other,
        "CREATE FUNCTION shop.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN RAISE EXCEPTION 'leaked %', $1; END $$",
    );
    let leak = "SELECT count(*) FROM gn_harvest.harvested_record WHERE shop.leak(item::text)";
    assert_eq!(value_as(&database, &other, leak), "0");
    database.run(&format!("DROP SCHEMA shop CASCADE; DROP OWNED BY {owner}, {other}, {reader}, {stranger}; DROP ROLE {owner}, {other}, {reader}, {stranger}"));
}

#[test]
fn with_postgis_a_view_has_the_geometry_and_a_copy_of_it_an_index() {
    let database = plain();
    let partner = partner(120);
    add_source(&database, "cen", &partner, 3, "target => 'records'");
    run_well(&database, "cen", "auto");
    create(&database, "cen", "public.cen");
    let without = columns(&database, "public.cen");
    assert!(!without.iter().any(|column| column.starts_with("geometry")));
    database.run("CREATE SCHEMA \"Géo\"; CREATE EXTENSION postgis SCHEMA \"Géo\"");
    create(&database, "cen", "public.cen");
    let with = columns(&database, "public.cen");
    assert_eq!(with.len(), without.len() + 1);
    assert_eq!(
        with.last().map(String::as_str),
        Some("geometry \"Géo\".geometry(Geometry,4326)")
    );
    let differing = database.number("SELECT count(*) FROM public.cen WHERE geometry ::text IS DISTINCT FROM \"Géo\".ST_GeomFromText(wkt_4326, 4326)::text");
    assert_eq!(differing, 0);
    assert!(database.number("SELECT count(geometry) FROM public.cen") > 100);
    database.run("CREATE MATERIALIZED VIEW public.copy AS SELECT * FROM public.cen; CREATE INDEX ON public.copy USING gist (geometry)");
    let checks = database
        .value("SELECT detail FROM gn_harvest.check_source('cen') WHERE \"check\" = 'target'");
    assert!(checks.contains("PostGIS is here"), "{checks}");
}

#[test]
fn a_dump_restores_records_and_views_and_the_next_run_finds_nothing_to_do() {
    let database = plain();
    database.run("CREATE EXTENSION postgis");
    let partner = partner(150);
    add_source(&database, "cen", &partner, 3, "target => 'records'");
    run_well(&database, "cen", "auto");
    create(&database, "cen", "public.cen");
    let copy = cluster().empty_database();
    pour(&database, &copy);
    for query in [
        "SELECT md5(string_agg(r::text, ' ' ORDER BY id)) FROM gn_harvest.record r",
        "SELECT md5(string_agg(v::text, ' ' ORDER BY record_id)) FROM public.cen v",
        "SELECT last_value FROM gn_harvest.record_id_seq",
    ] {
        let before = database.value(query);
        assert!(!before.is_empty(), "{query}: nothing to compare");
        assert_eq!(copy.value(query), before, "{query}");
    }
    let again = run_well(&copy, "cen", "full");
    assert_eq!(
        (number(&again, "unchanged"), number(&again, "inserted")),
        (150, 0),
        "{again:#?}"
    );
    partner.insert(&serde_json::json!({})).expect("a new one");
    assert_eq!(number(&run_well(&copy, "cen", "full"), "inserted"), 1);
    create(&copy, "cen", "public.cen");
}
