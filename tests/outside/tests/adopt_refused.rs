//! adopt_gn2pg says clearly what it can not take over, and reads nothing that its caller may not read.

use geonature_simulator::Simulator;
use gn_harvest_outside::Database;

use crate::adopt::{NAME, adopt, by_token, figures, harvested_by_gn2pg};
use crate::people::{error_as, role};
use crate::support::*;
use gn_harvest_outside::gn2pg::V1_10;

/// SQLSTATE, a part of the message, a part of the hint.
fn assert_refused(database: &Database, call: &str, [sqlstate, message, hint]: [&str; 3]) {
    let error = database.error(&format!("SELECT * FROM gn_harvest.adopt_gn2pg({call})"));
    let (said, hinted) = error.split_once("\nHINT: ").unwrap_or((&error, ""));
    assert!(
        said.starts_with(&format!("{sqlstate}: "))
            && said.contains(message)
            && hinted.contains(hint),
        "{call}: {error}"
    );
    assert!(!error.contains("SecretJeton"), "{error}");
}

#[test]
fn a_schema_that_is_not_gn2pgs_is_refused_with_what_is_wrong() {
    let database = cluster().database();
    let partner = partner(20);
    assert_refused(
        &database,
        "NULL",
        ["22004", "needs the schema", "db_schema_import"],
    );
    assert_refused(
        &database,
        "'absent'",
        [
            "3F000",
            "schema \"absent\" does not exist",
            "imports into another database",
        ],
    );
    assert_refused(&database, "'pub\"l''ic'", ["3F000", "does not exist", ""]);
    assert_refused(
        &database,
        "'public'",
        ["55000", "has not the layout", "db --json-tables-create"],
    );

    harvested_by_gn2pg(V1_10, &database, &partner);
    assert_refused(
        &database,
        "'gn2pg'",
        ["3F000", "does not exist", "'gn2pg_import'"],
    );
    assert_refused(
        &database,
        "'gn2pg_import', 'LPO Isère'",
        ["42704", "no source \"LPO Isère\"", "{lpo_isere}"],
    );
    assert_refused(
        &database,
        "'gn2pg_import', 'lpo_isere', 'nulle part', 3, token => 'SecretJeton'",
        ["22023", "", "https://"],
    );
    assert_refused(
        &database,
        "'gn2pg_import', 'lpo_isere', 'https://g.example.org', 0",
        ["22023", "export_id must be", ""],
    );
    assert_refused(
        &database,
        "'gn2pg_import', 'lpo_isere', 'https://g.example.org', 3, login => 'jean'",
        ["22023", "a login needs its password", ""],
    );
    assert_refused(
        &database,
        "'gn2pg_import', 'lpo_isere', 'https://g.example.org', 3, owner => 'no one'",
        ["42704", "role \"no one\"", ""],
    );
    assert_eq!(database.number("SELECT count(*) FROM gn_harvest.source"), 0);

    for change in [
        "ALTER TABLE data_json DROP COLUMN uuid CASCADE",
        "ALTER TABLE data_json ALTER item TYPE text",
        "ALTER TABLE import_log RENAME TO old_log",
        "ALTER TABLE import_log RENAME xfer_start_ts TO started",
        "DROP TABLE metadata_json",
        "ALTER TABLE data_json RENAME TO d; CREATE VIEW data_json AS SELECT * FROM d",
        "CREATE DOMAIN odd AS text CHECK (VALUE <> ''); ALTER TABLE data_json DISABLE TRIGGER USER; DROP TRIGGER tri_c_delete_data_from_geonature ON data_json; ALTER TABLE data_json ALTER source TYPE odd",
    ] {
        let error = database.error(&format!(
            "BEGIN; SET LOCAL search_path = gn2pg_import, public; {change}; SELECT * FROM gn_harvest.adopt_gn2pg('gn2pg_import')"
        ));
        let table = if change.contains("data_json") && !change.starts_with("DROP") {
            "data_json"
        } else {
            ""
        };
        assert!(
            error.starts_with("55000: schema \"gn2pg_import\" has not the layout")
                && error.contains(&format!("DETAIL: Missing, not of the type that GN2PG gives, or not of a table: gn2pg_import.{table}")),
            "{change}: {error}"
        );
    }
    let error = database.error("BEGIN; DROP SCHEMA gn_synthese CASCADE; SELECT * FROM gn_harvest.adopt_gn2pg('gn2pg_import')");
    assert!(
        error.starts_with("55000: this database is not a GeoNature database"),
        "{error}"
    );
}

#[test]
fn names_and_contents_may_be_anything() {
    let database = cluster().database();
    let partner = partner(40);
    harvested_by_gn2pg(V1_10, &database, &partner);
    database.run(
        r#"SET session_replication_role = replica;
           ALTER SCHEMA gn2pg_import RENAME TO "l'""import; --";
           SET search_path = "l'""import; --", public;
           UPDATE data_json SET source = E'l''aulne "%I" \\';
           UPDATE metadata_json SET source = E'l''aulne "%I" \\';
           UPDATE import_log SET source = E'l''aulne "%I" \\', comment = 'url: https://jean:secret@g.example.org/api/x/api/1 url: x/api/2';
           UPDATE gn_synthese.t_sources SET name_source = E'l''aulne "%I" \\' WHERE name_source = 'lpo_isere';
           UPDATE import_log SET xfer_filters = '["{\"token\": \"SecretJeton\", \"Limit\": 3, \"a\": [1], \"b\": null, \"c\": {}}"]';
           INSERT INTO import_log (source, controler, xfer_start_ts, xfer_status, xfer_filters) VALUES ('', 'data', 'infinity', 'success', '5'), (repeat('é', 300), 'data', '-infinity', 'success', 'null');
           INSERT INTO data_json (source, controler, type, id_data, uuid, item, import_id)
           SELECT E'l''aulne "%I" \\', 'data', '', id, NULL, item::jsonb, 1
           FROM (VALUES (-2147483648, '[]'), (0, '"x"'), (2147483647, 'null'), (-1, '{"id_synthese": {}, "derniere_action": [1]}')) v(id, item)"#,
    );
    let list = "SELECT * FROM gn_harvest.adopt_gn2pg('l''\"import; --')";
    let rows = database.rows(list);
    assert_eq!(rows.len(), 3, "{rows:#?}");
    assert!(
        !format!("{rows:?}").to_lowercase().contains("secret"),
        "{rows:#?}"
    );
    let aulne = rows
        .iter()
        .find(|row| text(row, "gn2pg_source").contains("aulne"))
        .expect("it");
    assert_eq!(
        (text(aulne, "filters"), text(aulne, "partner_url")),
        ("{}", "")
    );
    assert_eq!(
        number(aulne, "to_come"),
        number(aulne, "downloaded") - number(aulne, "held")
    );
    // The call that is proposed is one, once its blanks are filled.
    let call = text(aulne, "next_step")
        .replace("https://…", partner.url())
        .replace("export_id => …", "export_id => 3")
        .replace('…', "jeton-export-3");
    database.run(&call);
    run_well(&database, r#"l''aulne "%I" \"#, "auto");
    assert_complete(&database, r#"l''aulne "%I" \"#, &partner);
    // A name that gn_harvest can not have asks for another one.
    let empty = rows
        .iter()
        .find(|row| text(row, "gn2pg_source").is_empty())
        .expect("it");
    assert!(
        text(empty, "next_step").contains("name => '…'"),
        "{empty:#?}"
    );
}

#[test]
fn several_sources_have_to_be_named() {
    let database = cluster().database();
    let partner = partner(20);
    harvested_by_gn2pg(V1_10, &database, &partner);
    let with = format!("'gn2pg_import', url => '{}', export_id => 3", partner.url());
    database.run("INSERT INTO gn2pg_import.import_log (source, controler, xfer_start_ts) VALUES ('autre', 'data', now())");
    assert_refused(
        &database,
        &with,
        ["22004", "not named", "{autre,lpo_isere}"],
    );
    database.run("DELETE FROM gn2pg_import.import_log WHERE source = 'autre'");
    let row = database.row(&format!("SELECT * FROM gn_harvest.adopt_gn2pg({with})"));
    assert_eq!(text(&row, "state"), "adopted", "the only one need not be");
}

/// A source of gn_harvest has the name, or the observations, already.
fn known(database: &Database, partner: &Simulator, name: &str) {
    add_source(database, name, partner, 3, "");
}

#[test]
fn a_source_of_that_name_is_taken_when_it_is_the_same_and_refused_when_not() {
    let database = cluster().database();
    let partner = partner(40);
    harvested_by_gn2pg(V1_10, &database, &partner);
    known(&database, &partner, NAME);
    let listed = database.row("SELECT * FROM gn_harvest.adopt_gn2pg('gn2pg_import')");
    assert_eq!(
        (text(&listed, "state"), text(&listed, "partner_url")),
        ("ready", partner.url())
    );
    assert_refused(
        &database,
        &format!("'gn2pg_import', '{NAME}', '{}', 2", partner.url()),
        [
            "42710",
            "exists already and reads another export",
            "name => ",
        ],
    );
    database.run(text(&listed, "next_step"));
    assert_eq!(
        database.number("SELECT observations FROM gn_harvest.source_state"),
        database.number("SELECT count(*) FROM gn_synthese.synthese")
    );
    assert_refused(
        &database,
        &format!("'gn2pg_import', '{NAME}', name => 'autre'"),
        [
            "42710",
            "are those of source \"lpo_isere\" already",
            "new_name => 'autre'",
        ],
    );
    run_well(&database, NAME, "auto");
    assert_complete(&database, NAME, &partner);
    // One that writes elsewhere, or knows records otherwise.
    known(&database, &partner, "autre");
    database.run("SELECT gn_harvest.alter_source('autre', key_column => 'id_perm_sinp'); SELECT gn_harvest.drop_source('lpo_isere')");
    assert_refused(
        &database,
        &format!("'gn2pg_import', '{NAME}', name => 'autre'"),
        ["55000", "can not adopt", "another name"],
    );
}

#[test]
fn a_source_that_is_being_harvested_is_left_alone() {
    let database = cluster().database();
    let partner = partner(60);
    harvested_by_gn2pg(V1_10, &database, &partner);
    known(&database, &partner, NAME);
    hang_after(&partner, 0);
    let run = start(&database, NAME, "full");
    database.wait_until(60, &format!("SELECT gn_harvest.is_running('{NAME}')"));
    assert_refused(
        &database,
        &format!("'gn2pg_import', '{NAME}'"),
        ["55006", "is being harvested", "gn_harvest.cancel"],
    );
    database.run(&format!("SELECT gn_harvest.cancel({run})"));
    ended(&database, run);
}

#[test]
fn an_operator_adopts_with_the_rights_that_it_has() {
    let database = cluster().database();
    let partner = partner(40);
    harvested_by_gn2pg(V1_10, &database, &partner);
    let operator = role(&database, "adopter");
    let list = "SELECT * FROM gn_harvest.adopt_gn2pg('gn2pg_import')";
    let error = error_as(&database, &operator, list);
    assert!(
        error.starts_with("42501: permission denied for schema"),
        "{error}"
    );
    database.run(&format!("SELECT gn_harvest.grant_operator('{operator}')"));
    let error = error_as(&database, &operator, list);
    assert!(
        error.starts_with("42501: role")
            && error.contains(&format!(
                "HINT: GRANT USAGE ON SCHEMA gn2pg_import TO {operator};"
            )),
        "{error}"
    );
    // The hint is what is needed.
    let (_, hint) = error.split_once("\nHINT: ").expect("a hint");
    database.run(hint);
    let call = format!(
        "SELECT * FROM gn_harvest.adopt_gn2pg('gn2pg_import', '{NAME}'{})",
        by_token(&partner)
    );
    crate::people::as_role(&database, &operator, &call);
    let owner = database.value("SELECT owner FROM gn_harvest.source");
    assert_eq!(owner, operator);

    // Nobody adopts for the source of another, or learns of it what its list does not tell.
    let other = role(&database, "other");
    database.run(&format!(
        "SELECT gn_harvest.grant_operator('{other}'); {}",
        hint.replace(&operator, &other)
    ));
    for call in [
        format!("adopt_gn2pg('gn2pg_import', '{NAME}')"),
        format!("adopt_gn2pg('gn2pg_import', '{NAME}', 'https://g.example.org', 3)"),
        format!("begin_gn2pg('{NAME}', 1)"),
        format!("take_gn2pg_rows('{NAME}', '{{1}}', '{{NULL}}', '{{1}}', '{{NULL}}', '{{NULL}}')"),
        format!("end_gn2pg('{NAME}', '2020-01-01', NULL)"),
    ] {
        let error = error_as(&database, &other, &format!("SELECT gn_harvest.{call}"));
        assert!(
            error.starts_with("42501: ") && error.contains("may not manage"),
            "{call}: {error}"
        );
    }
    let rows = gn_harvest_outside::rows(&mut database.connect_as(&other), list);
    assert_eq!(
        (text(&rows[0], "state"), text(&rows[0], "partner_url")),
        ("adopted", "")
    );
    for role in [&operator, &other] {
        database.run(&format!("DROP OWNED BY {role}"));
    }
    database.run(&format!("SELECT gn_harvest.alter_source('{NAME}', owner => 'postgres'); DROP ROLE {operator}; DROP ROLE {other}"));
    let row = adopt(&database, "");
    assert_eq!(figures(&row)[3], 0);
}

#[test]
fn records_whose_uuid_is_anothers_are_told_apart() {
    let database = cluster().database();
    let partner = partner(40);
    harvested_by_gn2pg(V1_10, &database, &partner);
    // As when someone gave GN2PG's source another name in t_sources.
    database.run(
        "UPDATE gn_synthese.t_sources SET name_source = 'LPO' WHERE name_source = 'lpo_isere'",
    );
    let written = database.number("SELECT count(*) FROM gn_synthese.synthese");
    let elsewhere =
        |row: gn_harvest_outside::Row| (number(&row, "held"), number(&row, "elsewhere"));
    let list = "SELECT * FROM gn_harvest.adopt_gn2pg('gn2pg_import')";
    assert_eq!(elsewhere(database.row(list)), (0, written));
    database.run(
        "UPDATE gn_synthese.t_sources SET name_source = 'lpo_isere' WHERE name_source = 'LPO'",
    );
    assert_eq!(elsewhere(database.row(list)), (written, 0));
    // Some are another source's: they wait for a decision, as ever.
    database.run(
        "INSERT INTO gn_synthese.t_sources (name_source) VALUES ('locale');
         UPDATE gn_synthese.synthese SET id_source = (SELECT id_source FROM gn_synthese.t_sources WHERE name_source = 'locale')
         WHERE id_synthese IN (SELECT id_synthese FROM gn_synthese.synthese ORDER BY 1 LIMIT 3)",
    );
    let adopted = adopt(&database, &by_token(&partner));
    assert_eq!(elsewhere(adopted), (written - 3, 3));
    let first = run_well(&database, NAME, "auto");
    assert_eq!(number(&first, "rejected"), 3);
    let waiting = "SELECT count(*) FROM gn_harvest.uuid_conflict WHERE owner = 'locale'";
    assert_eq!(database.number(waiting), 3);
}
