//! The SQL surface as a DBA meets it: documented, granted to nobody, checked argument by argument, restored from a dump.

use serde_json::json;

use crate::people::*;
use crate::support::*;

#[test]
fn every_object_is_described() {
    let database = cluster().database();
    let silent = database.rows(
        "SELECT 'function' AS kind, p.oid::regprocedure::text AS name FROM pg_proc p
         WHERE pronamespace = 'gn_harvest'::regnamespace AND obj_description(oid, 'pg_proc') IS NULL
         UNION ALL
         SELECT 'relation', oid::regclass::text FROM pg_class
         WHERE relnamespace = 'gn_harvest'::regnamespace AND relkind IN ('r', 'v', 'S') AND obj_description(oid, 'pg_class') IS NULL
         UNION ALL
         SELECT 'column', attrelid::regclass || '.' || attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
         WHERE relnamespace = 'gn_harvest'::regnamespace AND relkind = 'v' AND attnum > 0 AND col_description(attrelid, attnum) IS NULL
         UNION ALL
         SELECT 'schema', nspname FROM pg_namespace WHERE nspname = 'gn_harvest' AND obj_description(oid, 'pg_namespace') IS NULL
         UNION ALL
         SELECT 'extension', extname FROM pg_extension WHERE extname = 'gn_harvest' AND obj_description(oid, 'pg_extension') IS NULL
         UNION ALL
         SELECT 'setting', name FROM pg_settings WHERE name LIKE 'gn_harvest.%' AND coalesce(short_desc, '') = ''",
    );
    assert!(silent.is_empty(), "without a comment: {silent:#?}");
    let described = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'gn_harvest'::regnamespace AND prorettype = 'trigger'::regtype";
    assert!(
        database.number(described) > 0,
        "the trigger functions are among them"
    );
}

#[test]
fn nothing_is_granted_to_public() {
    let database = cluster().database();
    let granted = database.rows(
        "SELECT p.oid::regprocedure::text AS name, acl.privilege_type FROM pg_proc p, aclexplode(coalesce(proacl, acldefault('f', proowner))) acl
         WHERE pronamespace = 'gn_harvest'::regnamespace AND acl.grantee = 0
         UNION ALL
         SELECT c.oid::regclass::text, acl.privilege_type FROM pg_class c,
                aclexplode(coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::\"char\", relowner))) acl
         WHERE relnamespace = 'gn_harvest'::regnamespace AND relkind IN ('r', 'v', 'S') AND acl.grantee = 0
         UNION ALL
         SELECT attrelid::regclass || '.' || attname, acl.privilege_type FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid, aclexplode(attacl) acl
         WHERE relnamespace = 'gn_harvest'::regnamespace AND acl.grantee = 0
         UNION ALL
         SELECT nspname, acl.privilege_type FROM pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner))) acl
         WHERE nspname = 'gn_harvest' AND acl.grantee = 0",
    );
    assert!(granted.is_empty(), "granted to PUBLIC: {granted:#?}");

    let stranger = role(&database, "stranger");
    for call in [
        "SELECT * FROM gn_harvest.source_status",
        "SELECT gn_harvest.add_source('x', 'https://geonature.example.org', 1)",
        "SELECT * FROM gn_harvest.credential",
    ] {
        let error = error_as(&database, &stranger, call);
        assert!(error.starts_with("42501: "), "{call}: {error}");
    }
    database.run(&format!("DROP ROLE {stranger}"));
}

/// A call that is refused, with the SQLSTATE and a part of what it says.
struct Refused(&'static str, &'static str, &'static str);

#[rustfmt::skip]
const REFUSED: &[Refused] = &[
    Refused("add_source(NULL, 'https://g.example.org', 1)", "22004", "a source needs a name, a url and an export_id"),
    Refused("add_source('x', NULL, 1)", "22004", "a source needs a name"),
    Refused("add_source('x', 'https://g.example.org', NULL)", "22004", "a source needs a name"),
    Refused("add_source('L''Aulne – été', 'https://g.example.org', 1)", "42710", "source \"L'Aulne – été\" exists already"),
    Refused("add_source('', 'https://g.example.org', 1)", "22023", "1 to 63 characters"),
    Refused("add_source(' x', 'https://g.example.org', 1)", "22023", "1 to 63 characters"),
    Refused("add_source(repeat('é', 64), 'https://g.example.org', 1)", "22023", "1 to 63 characters"),
    Refused("add_source('x', 'g.example.org', 1)", "22023", "must begin with https://"),
    Refused("add_source('x', '', 1)", "22023", ""),
    Refused("add_source('x', 'ftp://g.example.org', 1)", "22023", "http"),
    Refused("add_source('x', 'https://jean:secret@g.example.org', 1)", "22023", ""),
    Refused("add_source('x', 'https://g.example.org', 0)", "22023", "export_id must be between 1 and 2147483647"),
    Refused("add_source('x', 'https://g.example.org', 1, metadata_export_id => -1)", "22023", "metadata_export_id must be"),
    Refused("add_source('x', 'https://g.example.org', 1, connections => 0)", "22023", "connections must be between 1 and 16"),
    Refused("add_source('x', 'https://g.example.org', 1, page_size => 0)", "22023", "page_size must be"),
    Refused("add_source('x', 'https://g.example.org', 1, retry_budget => -1)", "22023", "retry_budget must be"),
    Refused("add_source('x', 'https://g.example.org', 1, pause_after_failures => 0)", "22023", "pause_after_failures must be"),
    Refused("add_source('x', 'https://g.example.org', 1, max_loss => 101)", "22023", "max_loss must be between 0 and 100"),
    Refused("add_source('x', 'https://g.example.org', 1, look_back => '-1 hour')", "22023", "look_back must be"),
    Refused("add_source('x', 'https://g.example.org', 1, look_back => '2 years')", "22023", "look_back must be"),
    Refused("add_source('x', 'https://g.example.org', 1, allowed_hours => '20h-6h')", "22023", "allowed_hours is not understood"),
    Refused("add_source('x', 'https://g.example.org', 1, allowed_hours => '25:00-06:00')", "22023", "allowed_hours is not understood"),
    Refused("add_source('x', 'https://g.example.org', 1, schedule => 'sometimes')", "22023", "schedule is not understood"),
    Refused("add_source('x', 'https://g.example.org', 1, schedule => '')", "22023", "schedule is not understood"),
    Refused("add_source('x', 'https://g.example.org', 1, reconcile_schedule => 'monthly 31 03:00')", "22023", "reconcile_schedule is not understood"),
    Refused("add_source('x', 'https://g.example.org', 1, schedule_jitter => '-1 minute')", "22023", "schedule_jitter must be between 0 and 1 day"),
    Refused("next_tick('sometimes', now())", "22023", "schedule is not understood"),
    Refused("alter_source('other', schedule => '0 3 31 2 *')", "22023", "schedule is not understood"),
    Refused("alter_source('other', clear => '{schedule}')", "22023", "setting \"schedule\" can not be cleared"),
    Refused("add_source('x', 'https://g.example.org', 1, format => 'csv')", "22023", "format can not be \"csv\""),
    Refused("add_source('x', 'https://g.example.org', 1, data_type => 'releve')", "22023", "data_type can not be \"releve\""),
    Refused("add_source('x', 'https://g.example.org', 1, on_unknown_value => 'keep')", "22023", "on_unknown_value can not be"),
    Refused("add_source('x', 'https://g.example.org', 1, on_uuid_conflict => 'keep')", "22023", "on_uuid_conflict can not be"),
    Refused("add_source('x', 'https://g.example.org', 1, contract => 'keep')", "22023", "contract can not be"),
    Refused("add_source('x', 'https://g.example.org', 1, filters => '[1]')", "22023", "filters must be a JSON object"),
    Refused("add_source('x', 'https://g.example.org', 1, filters => '{\"a\": [1]}')", "22023", "filters must be a JSON object"),
    Refused("add_source('x', 'https://g.example.org', 1, filters => '{\"jdd_uuid\": null}')", "22023", "filters must be a JSON object"),
    Refused("add_source('x', 'https://g.example.org', 1, filters => '{\"Limit\": 10}')", "22023", "filter \"Limit\" is not allowed"),
    Refused("add_source('x', 'https://g.example.org', 1, filters => '{\"token\": \"secret\"}')", "22023", "filter \"token\" is not allowed"),
    Refused("add_source('x', 'https://g.example.org', 1, protected_columns => '{id_synthese}')", "22023", "column \"id_synthese\" can not be protected"),
    Refused("add_source('x', 'https://g.example.org', 1, login => 'jean')", "22023", "a login needs its password"),
    Refused("add_source('x', 'https://g.example.org', 1, password => 'secret')", "22023", "a login needs its password"),
    Refused("add_source('x', 'https://g.example.org', 1, login => 'jean', password => 'secret', token => 'secret')", "22023", "not both"),
    Refused("add_source('x', 'https://g.example.org', 1, owner => 'no one')", "42704", "role \"no one\" does not exist"),
    Refused("alter_source('absent')", "42704", "source \"absent\" does not exist"),
    Refused("alter_source(NULL)", "42704", "does not exist"),
    Refused("alter_source('L''Aulne – été', new_name => 'other')", "42710", "source \"other\" exists already"),
    Refused("alter_source('other', clear => '{format}')", "22023", "setting \"format\" can not be cleared"),
    Refused("alter_source('other', clear => '{organism,NULL}')", "22023", "can not be cleared"),
    Refused("alter_source('other', format => 'csv')", "22023", "format can not be"),
    Refused("alter_source('other', filters => '{\"jdd_uuid\": null}')", "22023", "filters must be a JSON object"),
    Refused("alter_source('other', owner => 'no one')", "42704", "role \"no one\" does not exist"),
    Refused("set_credentials('absent', token => 'secret')", "42704", "does not exist"),
    Refused("set_credentials('other', login => 'jean')", "22023", "a login needs its password"),
    Refused("set_credentials('other', login => 'jean', password => 'secret', token => 'secret')", "22023", "not both"),
    Refused("pause_source('absent')", "42704", "does not exist"),
    Refused("resume_source('absent')", "42704", "does not exist"),
    Refused("accept_columns('absent')", "42704", "does not exist"),
    Refused("drop_source('absent')", "42704", "does not exist"),
    Refused("check_source('absent')", "42704", "does not exist"),
    Refused("run('absent')", "42704", "does not exist"),
    Refused("run('other', mode => 'quick')", "22023", "mode can not be \"quick\""),
    Refused("run('other', mode => NULL)", "22023", "mode can not be"),
    Refused("retry_rejected('absent')", "42704", "does not exist"),
    Refused("discard_rejected('absent')", "42704", "does not exist"),
    Refused("discard_rejected('other', reason => 'bad')", "22023", "reason can not be \"bad\""),
    Refused("cancel(987654)", "42704", "run 987654 does not exist"),
    Refused("wait_for(987654)", "42704", "run 987654 does not exist"),
    Refused("is_running('absent')", "42704", "does not exist"),
    Refused("map_value('absent', 'cd_nom', '1', '2')", "42704", "does not exist"),
    Refused("map_value('other', NULL, '1', '2')", "22004", "map_value needs a column and a value"),
    Refused("map_value('other', 'cd_nom', NULL, '2')", "22004", "map_value needs a column and a value"),
    Refused("map_value('other', 'nom_cite', 'a', 'b')", "22023", "values of column \"nom_cite\" can not be mapped"),
    Refused("map_value('other', 'cd_nom', '1', NULL)", "22023", "can not be without cd_nom"),
    Refused("map_value('other', 'cd_nom', '1', 'Loutre')", "22023", "\"Loutre\" is not a cd_nom"),
    Refused("map_value('other', 'cd_hab', '1', '1.5')", "22023", "\"1.5\" is not a cd_hab"),
    Refused("map_value('other', 'id_area_attachment', 'COM/1', '38185')", "22023", "\"38185\" is not an area"),
    Refused("map_value('other', 'id_nomenclature_sex', 'F', ' ')", "22023", "can not be blank"),
    Refused("unmap_value('absent', 'cd_nom', '1')", "42704", "does not exist"),
    Refused("map_field('absent', 'nom_cite', constant => 'x')", "42704", "does not exist"),
    Refused("map_field('other', 'id_synthese', constant => '1')", "22023", "column \"id_synthese\" can not be mapped"),
    Refused("map_field('other', 'nom_cite', source_column => 'a', constant => 'b')", "22023", "not both"),
    Refused("map_field('other', 'count_min', constant => 'douze')", "22023", "\"douze\" can not be a value of column \"count_min\""),
    Refused("map_field('other', 'id_dataset', constant => '12')", "22023", "can not be filled with a constant"),
    Refused("adopt_gn2pg(NULL)", "22004", "needs the schema into which GN2PG imports"),
    Refused("adopt_gn2pg('absent', token => 'secret')", "3F000", "schema \"absent\" does not exist"),
    Refused("adopt_gn2pg('gn_harvest', 'x', 'https://g.example.org', 3)", "55000", "has not the layout of GN2PG"),
    Refused("grant_reader('no one')", "42704", "role \"no one\" does not exist"),
    Refused("grant_operator('no one')", "42704", "role \"no one\" does not exist"),
];

#[test]
fn every_argument_is_checked_and_the_refusal_says_what_would_be_right() {
    let database = cluster().database();
    for name in ["L''Aulne – été", "other"] {
        database.run(&format!(
            "SELECT gn_harvest.add_source('{name}', 'https://geonature.example.org', 3)"
        ));
    }
    let mut wrong = Vec::new();
    for Refused(call, sqlstate, message) in REFUSED {
        let error = database.error(&format!("SELECT gn_harvest.{call}"));
        let right = error.starts_with(&format!("{sqlstate}: "))
            && error.contains(message)
            && error.contains("\nHINT: ")
            && !error.contains("secret");
        if !right {
            wrong.push(format!(
                "{call}\n  wanted {sqlstate} … {message} … HINT, got {error}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(database.number("SELECT count(*) FROM gn_harvest.source"), 2);
}

#[test]
fn a_source_is_altered_setting_by_setting() {
    let database = cluster().database();
    database.run("SELECT gn_harvest.add_source('cen', 'https://geonature.example.org/', 3, organism => 'CEN', organism_uuid => '3f0c2b1a-0000-4000-8000-000000000001', allowed_hours => '20:00-06:00', filters => '{\"jdd_uuid\": \"a\"}', protected_columns => '{validator}', page_size => 500)");
    let source = |columns: &str| database.row(&format!("SELECT {columns} FROM gn_harvest.source"));
    assert_eq!(
        text(&source("url"), "url"),
        "https://geonature.example.org",
        "in its canonical form"
    );
    // What is not given stays.
    database.run("SELECT gn_harvest.alter_source('cen', page_size => 200)");
    let row = source("page_size, organism, allowed_hours, filters, protected_columns");
    assert_eq!(
        (
            number(&row, "page_size"),
            text(&row, "organism"),
            text(&row, "allowed_hours")
        ),
        (200, "CEN", "20:00-06:00")
    );
    assert_eq!(
        (text(&row, "filters"), text(&row, "protected_columns")),
        ("{\"jdd_uuid\": \"a\"}", "{validator}")
    );
    // What is cleared is empty, what is emptied is too.
    database.run("SELECT gn_harvest.alter_source('cen', clear => '{organism,organism_uuid,allowed_hours}', filters => '{}', protected_columns => '{}')");
    let row = source("organism, organism_uuid, allowed_hours, filters, protected_columns");
    assert_eq!(
        (
            text(&row, "organism"),
            text(&row, "organism_uuid"),
            text(&row, "allowed_hours"),
            text(&row, "filters"),
            text(&row, "protected_columns")
        ),
        ("", "", "", "{}", "{}")
    );
    // GN2PG's names for the kinds of export.
    for (data_type, format) in [
        ("synthese", "labels"),
        ("synthese_with_metadata", "codes"),
        ("synthese_with_cd_nomenclature", "codes"),
    ] {
        let added = format!(
            "SELECT format FROM gn_harvest.add_source('{data_type}', 'https://geonature.example.org', 3, data_type => '{data_type}')"
        );
        assert_eq!(database.value(&added), format);
    }
}

#[test]
fn another_export_is_read_from_its_beginning_and_gets_no_secret_of_another_host() {
    let database = cluster().database();
    let partner = partner(60);
    add_source(&database, "cen", &partner, 3, "");
    let fresh = "SELECT watermark IS NULL AND watermark_column IS NULL AND export_columns IS NULL FROM gn_harvest.source_state";
    let moved = partner.url().replace("127.0.0.1", "localhost");
    for change in [
        "filters => '{\"filter_n_up_id_synthese\": 1}'".to_owned(),
        "key_column => 'id_synthese'".to_owned(),
        "date_column => 'derniere_action'".to_owned(),
        "export_id => 2".to_owned(),
        format!("url => '{moved}'"),
    ] {
        database.run("SELECT gn_harvest.set_credentials('cen', login => 'moissonneur', password => 'moissonneur')");
        run_well(&database, "cen", "full");
        assert_eq!(database.value(fresh), "f");
        database.run("SELECT gn_harvest.alter_source('cen', organism => 'CEN', page_size => 900)");
        assert_eq!(database.value(fresh), "f", "other settings leave it");
        database.run(&format!("SELECT gn_harvest.alter_source('cen', {change})"));
        assert_eq!(database.value(fresh), "t", "{change}");
        let credentials = database.number("SELECT count(*) FROM gn_harvest.credential");
        assert_eq!(credentials == 0, change.starts_with("url"), "{change}");
        if credentials == 1 {
            let next = run_well(&database, "cen", "auto");
            assert_eq!(text(&next, "mode"), "full", "{change}");
        }
    }
}

#[test]
fn credentials_are_replaced_whole() {
    let database = cluster().database();
    database.run(
        "SELECT gn_harvest.add_source('cen', 'https://geonature.example.org', 3, token => 'jeton')",
    );
    let now = || {
        let rows = database.rows("SELECT login, password, token FROM gn_harvest.credential");
        let first = rows.first().map(|row| {
            format!(
                "{} {} {}",
                text(row, "login"),
                text(row, "password"),
                text(row, "token")
            )
        });
        (rows.len(), first.unwrap_or_default())
    };
    assert_eq!(now(), (1, "  jeton".to_owned()));
    database.run("SELECT gn_harvest.set_credentials('cen', login => 'jean', password => 'l''été')");
    assert_eq!(now(), (1, "jean l'été ".to_owned()));
    database.run("SELECT gn_harvest.set_credentials('cen')");
    assert_eq!(now(), (0, String::new()));
}

#[test]
fn the_extension_lives_in_any_database_and_a_run_says_what_is_missing() {
    let database = cluster().empty_database();
    database.run("CREATE EXTENSION gn_harvest");
    let partner = partner(20);
    add_source(&database, "cen", &partner, 3, "");
    let run = run(&database, "cen", "auto");
    assert_eq!(
        (text(&run, "status"), text(&run, "error_sqlstate")),
        ("failed", "55000"),
        "{run:#?}"
    );
    assert_eq!(
        text(&run, "error_message"),
        "this database is not a GeoNature database"
    );
    assert!(text(&run, "error_detail").contains("gn_synthese.synthese"));
    assert!(text(&run, "error_hint").contains("Create the extension"));
    let checks = database.rows("SELECT * FROM gn_harvest.check_source('cen')");
    let target = checks
        .iter()
        .find(|row| text(row, "detail").contains("not a GeoNature database"));
    assert_eq!(
        target.map(|row| text(row, "status")),
        Some("error"),
        "{checks:#?}"
    );
    assert!(
        checks.iter().any(|row| text(row, "status") == "ok"),
        "the partner is asked all the same"
    );

    database.run("DROP EXTENSION gn_harvest");
    let left = "SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = n.oid) + (SELECT count(*) FROM pg_proc WHERE pronamespace = n.oid)
                FROM pg_namespace n WHERE nspname = 'gn_harvest'";
    assert_eq!(database.number(left), 0);
    database.run("CREATE EXTENSION gn_harvest");
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.source_status"),
        0
    );
}

#[test]
fn words_are_in_the_language_of_who_reads() {
    let database = cluster().database();
    database.run("SELECT gn_harvest.add_source('cen', 'https://geonature.example.org', 3)");
    let shown = |setting: &str| {
        let mut client = database.connect();
        client
            .batch_execute(setting)
            .unwrap_or_else(|error| panic!("{setting}: {error}"));
        let rows = gn_harvest_outside::rows(
            &mut client,
            "SELECT frequency, state FROM gn_harvest.source_status",
        );
        format!(
            "{} {}",
            text(&rows[0], "frequency"),
            text(&rows[0], "state")
        )
    };
    assert_eq!(
        shown("SET gn_harvest.language = 'fr'"),
        "Manuelle Jamais lancée"
    );
    assert_eq!(shown("SET gn_harvest.language = 'en'"), "Manual Never run");
    assert_eq!(
        shown(""),
        "Manual Never run",
        "lc_messages of the cluster is C"
    );
    database.run("SELECT gn_harvest.pause_source('cen', reason => 'l''export est en travaux')");
    assert_eq!(shown("SET gn_harvest.language = 'fr'"), "Manuelle En pause");
    assert_eq!(
        database.value("SELECT paused_reason FROM gn_harvest.source_status"),
        "l'export est en travaux"
    );
}

#[test]
fn names_of_any_kind_work_everywhere_and_hints_can_be_pasted() {
    let database = cluster().database();
    let partner = partner(40);
    let long = "é".repeat(63);
    for name in [
        "L'Aulne – \"été\" %s $1 \\ ;",
        long.as_str(),
        "日本 🦦",
        "x",
    ] {
        let quoted = name.replace('\'', "''");
        add_source(
            &database,
            &quoted,
            &partner,
            3,
            "on_uuid_conflict => 'take_over'",
        );
        partner.tamper(partner.ids()[3], "cd_nom", Some("999999"));
        let run = run_well(&database, &quoted, "auto");
        assert_eq!(text(&run, "source"), name);
        assert_eq!(
            number(&run, "inserted") + number(&run, "updated"),
            39,
            "{run:#?}"
        );
        assert_eq!(
            database.number(&format!(
                "SELECT count(*) FROM gn_synthese.t_sources WHERE name_source = '{quoted}'"
            )),
            1
        );
        let checks = database.rows(&format!(
            "SELECT * FROM gn_harvest.check_source('{quoted}')"
        ));
        assert!(
            checks.iter().all(|row| text(row, "status") != "error"),
            "{checks:#?}"
        );
        // Paused: the hint is the call that resumes.
        database.run(&format!("SELECT gn_harvest.pause_source('{quoted}')"));
        let error = database.error(&format!("SELECT gn_harvest.run('{quoted}')"));
        assert!(error.starts_with("55000: "), "{error}");
        database.run(hint(&error));
        run_well(&database, &quoted, "auto");
        let call = database.value(&format!(
            "SELECT call FROM gn_harvest.unmapped_value WHERE source = '{quoted}'"
        ));
        database.run(&call.replace('…', "60577"));
        assert_eq!(
            database.number(&format!("SELECT gn_harvest.discard_rejected('{quoted}')")),
            1
        );
        database.run(&format!(
            "SELECT gn_harvest.alter_source('{quoted}', new_name => 'provisoire')"
        ));
        database.run(&format!(
            "SELECT gn_harvest.alter_source('provisoire', new_name => '{quoted}')"
        ));
        database.run(&format!("SELECT gn_harvest.drop_source('{quoted}')"));
    }
}

/// The HINT of an error.
fn hint(error: &str) -> &str {
    error
        .split_once("\nHINT: ")
        .map(|(_, hint)| hint)
        .unwrap_or_else(|| panic!("no hint: {error}"))
}

#[test]
fn an_operator_manages_its_own_sources_and_a_reader_sees_all() {
    let database = cluster().database();
    let (operator, other, reader) = (
        role(&database, "operator"),
        role(&database, "other"),
        role(&database, "reader"),
    );
    database.run(&format!(
        "SELECT gn_harvest.grant_operator('{operator}'); SELECT gn_harvest.grant_operator('{other}'); SELECT gn_harvest.grant_reader('{reader}')"
    ));
    let add = |name: &str| {
        format!(
            "SELECT gn_harvest.add_source('{name}', 'https://geonature.example.org', 3, token => 'jeton')"
        )
    };
    as_role(&database, &operator, &add("mine"));
    as_role(&database, &other, &add("theirs"));
    let seen = |role: &str| {
        value_as(
            &database,
            role,
            "SELECT string_agg(source, ' ' ORDER BY source) FROM gn_harvest.source_status",
        )
    };
    assert_eq!(
        (seen(&operator), seen(&other), seen(&reader)),
        ("mine".into(), "theirs".into(), "mine theirs".into())
    );
    for call in [
        "alter_source('theirs', page_size => 10)",
        "set_credentials('theirs')",
        "pause_source('theirs')",
        "drop_source('theirs')",
        "run('theirs')",
        "check_source('theirs')",
        "discard_rejected('theirs')",
        "map_value('theirs', 'cd_nom', '1', '2')",
        "map_field('theirs', 'nom_cite', constant => 'x')",
        "is_running('theirs')",
    ] {
        let error = error_as(&database, &operator, &format!("SELECT gn_harvest.{call}"));
        assert!(
            error.starts_with("42501: ") && error.contains("may not manage source \"theirs\""),
            "{call}: {error}"
        );
        assert!(error.contains("HINT: GRANT "), "{error}");
    }
    let error = error_as(
        &database,
        &operator,
        "SELECT gn_harvest.map_value(NULL, 'cd_nom', '1', '2')",
    );
    assert!(
        error.starts_with("42501: ") && error.contains("HINT: "),
        "{error}"
    );
    let error = error_as(
        &database,
        &operator,
        &format!("SELECT gn_harvest.alter_source('mine', owner => '{other}')"),
    );
    assert!(
        error.starts_with("42501: ") && error.contains("HINT: GRANT "),
        "{error}"
    );
    // The hint of a refusal, followed by a superuser, opens the way.
    let error = error_as(
        &database,
        &operator,
        "SELECT gn_harvest.pause_source('theirs')",
    );
    database.run(hint(&error).trim_end_matches(", or ask the owner."));
    as_role(
        &database,
        &operator,
        "SELECT gn_harvest.pause_source('theirs')",
    );
    for table in ["source", "credential", "rejected", "harvested", "run"] {
        for role in [&operator, &reader] {
            let error = error_as(
                &database,
                role,
                &format!("SELECT * FROM gn_harvest.{table}"),
            );
            assert!(error.starts_with("42501: "), "{table}: {error}");
        }
    }
    database.run(&format!(
        "DROP OWNED BY {operator}, {other}, {reader}; DROP ROLE {operator}, {other}, {reader}"
    ));
}

#[test]
fn a_dump_restores_sources_history_lineage_and_decisions_and_the_next_run_finds_nothing_to_do() {
    let database = cluster().database();
    let partner = partner(400);
    partner.tamper(partner.ids()[33], "cd_nom", Some("999999"));
    partner
        .update(partner.ids()[44], &json!({"sexe": "Z'9"}))
        .expect("a change");
    database.run(&format!(
        "SELECT gn_harvest.add_source('L''Aulne – été', '{}', 3, login => 'moissonneur', password => 'moissonneur', filters => '{{\"filter_n_up_id_synthese\": 0}}')",
        partner.url()
    ));
    database.run("SELECT gn_harvest.map_value('L''Aulne – été', 'id_nomenclature_sex', 'Z''9', '3'); SELECT gn_harvest.map_field('L''Aulne – été', 'validation_comment', constant => 'reçu')");
    run_well(&database, "L''Aulne – été", "auto");
    run_well(&database, "L''Aulne – été", "auto");

    database.run("SELECT gn_harvest.add_channel('mail', 'email', host => 'smtp.example.org', login => 'sinp', password => 'l''été', sender => 'sinp@example.org', recipients => '{a@example.org}', sources => '{L''Aulne – été}')");
    database.run("SELECT gn_harvest.set_alert_rule('L''Aulne – été', 'failing', threshold => 7); SELECT gn_harvest.raise_alert(id, NULL, 'failing', '{\"failures\": 8}', 1) FROM gn_harvest.source; SELECT gn_harvest.acknowledge_alert(max(id), 'vu') FROM gn_harvest.open_alert");

    let copy = cluster().empty_database();
    pour(&database, &copy);
    let same = [
        "SELECT string_agg(c::text, ' ') FROM gn_harvest.channel c",
        "SELECT string_agg(c::text, ' ') FROM gn_harvest.channel_secret c",
        "SELECT string_agg(r::text, ' ') FROM gn_harvest.alert_rule r",
        "SELECT string_agg(a::text, ' ' ORDER BY id) FROM gn_harvest.alert a",
        "SELECT string_agg(o::text, ' ' ORDER BY id) FROM gn_harvest.outbox o",
        "SELECT string_agg(message || acknowledge_note, ' ') FROM gn_harvest.open_alert",
        "SELECT last_value FROM gn_harvest.alert_id_seq",
        "SELECT last_value FROM gn_harvest.outbox_id_seq",
        "SELECT last_value FROM gn_harvest.channel_id_seq",
        "SELECT count(*) FROM gn_synthese.synthese",
        "SELECT md5(string_agg(h::text, ' ' ORDER BY key_number)) FROM gn_harvest.harvested h",
        "SELECT string_agg(r::text, ' ' ORDER BY id) FROM gn_harvest.run r",
        "SELECT string_agg(s::text, ' ') FROM gn_harvest.source s",
        "SELECT string_agg(s::text, ' ') FROM gn_harvest.source_state s",
        "SELECT string_agg(c::text, ' ') FROM gn_harvest.credential c",
        "SELECT string_agg(m::text, ' ') FROM gn_harvest.value_mapping m",
        "SELECT string_agg(m::text, ' ') FROM gn_harvest.field_mapping m",
        "SELECT string_agg(j::text, ' ') FROM gn_harvest.rejected j",
        "SELECT string_agg(source || mode || status, ' ' ORDER BY run) FROM gn_harvest.run_history",
        "SELECT last_value FROM gn_harvest.run_id_seq",
        "SELECT last_value FROM gn_harvest.source_id_seq",
        "SELECT last_value FROM gn_harvest.rejected_id_seq",
        "SELECT last_value FROM gn_harvest.value_mapping_id_seq",
    ];
    for query in same {
        let before = database.value(query);
        assert!(!before.is_empty(), "{query}: nothing to compare");
        assert_eq!(copy.value(query), before, "{query}");
    }
    let before = copy.value("SELECT n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables WHERE relid = 'gn_synthese.synthese'::regclass");
    let again = run_well(&copy, "L''Aulne – été", "full");
    assert_eq!(
        (number(&again, "unchanged"), number(&again, "rejected")),
        (399, 1),
        "{again:#?}"
    );
    assert_eq!(
        (number(&again, "inserted"), number(&again, "updated")),
        (0, 0)
    );
    let after = copy.value("SELECT n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables WHERE relid = 'gn_synthese.synthese'::regclass");
    assert_eq!(before, after);
    // Numbers go on where they were.
    copy.run("SELECT gn_harvest.add_source('second', 'https://geonature.example.org', 3)");
    assert_eq!(
        copy.number("SELECT id FROM gn_harvest.source WHERE name = 'second'"),
        database.number("SELECT max(id) + 1 FROM gn_harvest.source")
    );
    assert_eq!(copy.value("SELECT string_agg(tgname, ' ' ORDER BY tgname) FROM pg_trigger WHERE tgrelid = 'gn_harvest.source'::regclass AND NOT tgisinternal"), "check_source_settings close_alerts");
}
