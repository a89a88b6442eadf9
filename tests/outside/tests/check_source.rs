//! check_source says what works and what does not, one row a check, and leaves no trace in the target.

use geonature_simulator::{Config, Fault, Route, Rule, Simulator};
use gn_harvest_outside::{Database, Row};

use crate::bare_server::{BareServer, answer};
use crate::support::*;

const MOISSONNEUR: (&str, &str) = ("moissonneur", "moissonneur");

/// The answer: each check once, each with a detail, whatever is not well with a hint.
struct Check(Vec<Row>);

impl Check {
    fn of(database: &Database, name: &str) -> Self {
        let rows = database.rows(&format!("SELECT * FROM gn_harvest.check_source('{name}')"));
        assert!(!rows.is_empty());
        let mut names: Vec<&str> = rows.iter().map(|row| text(row, "check")).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), rows.len(), "a row a check: {rows:#?}");
        for row in &rows {
            assert!(
                ["ok", "warning", "error"].contains(&text(row, "status")),
                "{row:?}"
            );
            assert_ne!(text(row, "detail"), "", "{row:?}");
            assert!(
                text(row, "status") != "error" || !text(row, "hint").is_empty(),
                "an error without a hint: {row:?}"
            );
        }
        Check(rows)
    }

    fn names(&self) -> Vec<&str> {
        self.0.iter().map(|row| text(row, "check")).collect()
    }

    /// The names of the checks that did not go well.
    fn ill(&self) -> Vec<String> {
        self.0
            .iter()
            .filter(|row| text(row, "status") != "ok")
            .map(|row| format!("{} {}", text(row, "status"), text(row, "check")))
            .collect()
    }

    #[track_caller]
    fn says(&self, check: &str, status: &str, detail: &str) {
        let row = self.0.iter().find(|row| text(row, "check") == check);
        let row = row.unwrap_or_else(|| panic!("no check {check} in {:?}", self.names()));
        assert_eq!(text(row, "status"), status, "{row:?}");
        assert!(
            text(row, "detail").contains(detail),
            "no \"{detail}\" in {row:?}"
        );
    }

    #[track_caller]
    fn advises(&self, check: &str, hint: &str) {
        let row = self
            .0
            .iter()
            .find(|row| text(row, "check") == check)
            .expect("the check");
        assert!(text(row, "hint").contains(hint), "no \"{hint}\" in {row:?}");
    }
}

/// How much of everything the target and the extension hold.
fn contents(database: &Database) -> String {
    let tables = database.rows(
        "SELECT c.oid::regclass AS name, coalesce((
             SELECT quote_ident(a.attname) FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
             WHERE i.indrelid = c.oid AND i.indisprimary AND a.atttypid IN ('int'::regtype, 'bigint'::regtype)), '0') AS key
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE relkind = 'r' AND nspname IN ('gn_synthese', 'gn_meta', 'utilisateurs', 'gn_harvest', 'gn_commons', 'ref_nomenclatures')
           AND relname NOT IN ('run', 'check_result') ORDER BY 1",
    );
    assert!(tables.len() > 20);
    let counts: Vec<String> = tables
        .iter()
        .map(|row| {
            let (name, key) = (text(row, "name"), text(row, "key"));
            format!(
                "{name}: {}",
                database.value(&format!(
                    "SELECT count(*) || ' up to ' || coalesce(max({key})::text, '-') FROM {name}"
                ))
            )
        })
        .collect();
    counts.join("\n") + &database.value("SELECT st::text FROM gn_harvest.source_state st")
}

#[test]
fn a_good_source_is_well_in_every_respect_and_the_target_stays_as_it_was() {
    let database = cluster().database();
    let partner = partner(300);
    add_source_by_login(
        &database,
        "cen",
        &partner,
        3,
        MOISSONNEUR,
        "page_size => 100",
    );
    let before = contents(&database);
    let check = Check::of(&database, "cen");
    assert_eq!(contents(&database), before);
    assert_eq!(
        check.names(),
        [
            "reachable",
            "tls",
            "credentials",
            "export",
            "total",
            "page_cap",
            "key",
            "increments",
            "deletions",
            "columns",
            "silent_columns",
            "geometry",
            "metadata",
            "file",
            "target",
            "codes_or_labels",
            "records",
            "sample",
            "schedule"
        ]
    );
    // The simulated partner speaks plain HTTP.
    assert_eq!(check.ill(), ["warning tls"]);
    check.says("reachable", "ok", partner.url());
    check.says("credentials", "ok", "logged in as moissonneur");
    check.says(
        "export",
        "ok",
        "export 3 gives a list of records; licence: Licence Ouverte",
    );
    check.says("total", "ok", "300 records; 300 with the source's filters");
    check.says("page_cap", "ok", "100");
    check.says("key", "ok", "\"id_synthese\", a number");
    check.says(
        "increments",
        "ok",
        "\"derniere_action\" can be asked for; latest change: 20",
    );
    check.says("deletions", "ok", "can be read");
    check.says("columns", "ok", "cd_nom -> cd_nom");
    check.says("columns", "ok", "date_debut -> date_min");
    check.says("geometry", "ok", "WKT in \"wkt_4326\"");
    check.says("metadata", "ok", "come whole in each record");
    check.says("target", "ok", "open to role \"postgres\"");
    check.says("codes_or_labels", "ok", "codes in ");
    check.says(
        "records",
        "ok",
        "of 100 records of the first page 100 would be there afterwards (100 new), 0 rejected",
    );
    let first = partner.ids()[0];
    check.says(
        "sample",
        "ok",
        &format!("\"entity_source_pk_value\": \"{first}\""),
    );
    let truth = partner.observation(first).expect("the first");
    check.says("sample", "ok", &format!("\"cd_nom\": {}", truth["cd_nom"]));
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.run_history"),
        0,
        "a check is no run"
    );
    // And what it promised comes true; afterwards it finds nothing new, and still writes nothing.
    run_well(&database, "cen", "auto");
    let before = contents(&database);
    Check::of(&database, "cen").says("records", "ok", "100 would be there afterwards (0 new)");
    assert_eq!(contents(&database), before);
    assert_complete(&database, "cen", &partner);
}

#[test]
fn labels_hidden_records_and_names_only_are_told() {
    let database = cluster().database();
    let partner = partner(300);
    add_source(&database, "cen", &partner, 1, "");
    let check = Check::of(&database, "cen");
    check.says("credentials", "ok", "a token");
    check.says("export", "ok", "a GeoJSON FeatureCollection");
    check.says("codes_or_labels", "ok", "labels in ");
    check.says("metadata", "warning", "by UUID and name only");
    check.says("deletions", "warning", "wants a login");
    check.advises("deletions", "gn_harvest.set_credentials(");
    if partner.truth().iter().any(|row| row["wkt_4326"].is_null()) {
        check.says("hidden", "warning", "are not served");
    }
}

#[test]
fn what_keeps_us_out_is_named_and_the_target_is_still_looked_at() {
    let database = cluster().database();
    let partner = partner(50);
    let add = |name: &str, export: u32, (login, password): (&str, &str)| {
        add_source_by_login(
            &database,
            name,
            &partner,
            export,
            (login, password),
            "retry_budget => 0",
        );
        Check::of(&database, name)
    };
    let check = add("mot de passe", 3, ("moissonneur", "périmé"));
    assert_eq!(
        check.names(),
        ["reachable", "tls", "credentials", "target", "schedule"]
    );
    check.says(
        "credentials",
        "error",
        "the server refuses the login or the token",
    );
    check.says("credentials", "error", "Incorrect login");
    check.advises("credentials", "gn_harvest.set_credentials(");
    check.says("target", "ok", "gn_synthese.synthese is here");
    let check = add("export absent", 99, MOISSONNEUR);
    assert_eq!(
        check.names(),
        [
            "reachable",
            "tls",
            "credentials",
            "export",
            "target",
            "schedule"
        ]
    );
    check.says("export", "error", "there is no export 99");
    check.advises("export", "export_id => ");
    let check = add("export réservé", 7, MOISSONNEUR);
    check.says("export", "error", "access to export 7 is refused");
    check.advises("export", "Ask the partner");
    let check = add("vue absente", 8, MOISSONNEUR);
    check.says("export", "error", "HTTP 500");
    check.says("export", "error", "X-Request-ID");
    let check = add("sans droit", 3, ("sansdroit", "sansdroit"));
    check.says(
        "credentials",
        "warning",
        "has no right on the module of exports",
    );
    check.advises("credentials", "EXPORTS");
    check.says("export", "error", "access to export 3 is refused");
    database.run(&format!(
        "SELECT gn_harvest.add_source('jeton', '{}', 3, token => 'jeton-perime')",
        partner.url()
    ));
    let check = Check::of(&database, "jeton");
    check.says("export", "error", "access to export 3 is refused");
}

#[test]
fn an_address_that_is_no_geonature_is_told_apart_from_a_server_that_is_down() {
    let database = cluster().database();
    let pages: [fn() -> String; 4] = [
        || {
            answer(
                "200 OK",
                "Content-Type: text/html\r\n",
                "<html><title>Bienvenue</title></html>",
            )
        },
        || {
            answer(
                "404 Not Found",
                "Content-Type: text/html\r\n",
                "<h1>Not Found</h1>",
            )
        },
        || {
            answer(
                "200 OK",
                "Content-Type: application/json\r\n",
                "{\"status\": \"up\"}",
            )
        },
        || answer("500 Oops", "", ""),
    ];
    for (number, page) in pages.into_iter().enumerate() {
        let server = BareServer::start(move |_| page());
        let name = format!("source {number}");
        database.run(&format!(
            "SELECT gn_harvest.add_source('{name}', '{}', 3, login => 'moi', password => 'secret')",
            server.url
        ));
        let check = Check::of(&database, &name);
        assert_eq!(check.names(), ["reachable", "target", "schedule"]);
        check.says("reachable", "error", "but not as a GeoNature");
        check.advises("reachable", "https://host/geonature");
        assert!(
            server
                .requests()
                .iter()
                .all(|request| !request.contains("secret")),
            "who is no GeoNature is told no password"
        );
    }
    database.run("SELECT gn_harvest.add_source('éteint', 'http://127.0.0.1:9', 3)");
    let check = Check::of(&database, "éteint");
    check.says("reachable", "error", "no connection to 127.0.0.1:9");
    check.advises("reachable", "gn_harvest.alter_source(");
    database
        .run("SELECT gn_harvest.add_source('inconnu', 'http://n-existe-pas.invalid/geonature', 3)");
    let check = Check::of(&database, "inconnu");
    check.says(
        "reachable",
        "error",
        "no connection to n-existe-pas.invalid",
    );
}

#[test]
fn a_right_address_with_a_wrong_path_is_no_geonature() {
    let database = cluster().database();
    let partner = partner(10);
    database.run(&format!(
        "SELECT gn_harvest.add_source('cen', '{}/geonature', 3)",
        partner.url()
    ));
    Check::of(&database, "cen").says(
        "reachable",
        "error",
        "/geonature/api/gn_commons/modules answers with status 404",
    );
}

#[test]
fn an_export_without_a_date_of_change_has_full_runs_only() {
    let database = cluster().database();
    let partner = partner(50);
    partner
        .drop_column(3, "derniere_action")
        .expect("the column");
    add_source(&database, "cen", &partner, 3, "");
    let check = Check::of(&database, "cen");
    check.says("increments", "warning", "every run is a full one");
    check.advises("increments", "date_column => ");
    // A date that the server does not filter on is none either.
    partner
        .add_column(
            3,
            "derniere_action",
            Some((&serde_json::json!("2024-01-01"), "date")),
        )
        .expect("a column");
    Check::of(&database, "cen").says(
        "increments",
        "warning",
        "does not filter on \"derniere_action\"",
    );
}

#[test]
fn an_export_without_a_numeric_key_is_read_by_pages_and_one_that_repeats_rows_is_told() {
    let database = cluster().database();
    let partner = partner(50);
    add_source(&database, "sans clé", &partner, 9, "");
    let check = Check::of(&database, "sans clé");
    check.says("key", "warning", "\"id_perm_sinp\" is not a number");
    check.advises("key", "key_column => ");
    let ids = partner.ids();
    for id in &ids[3..6] {
        partner.duplicate(3, *id).expect("a duplicate");
    }
    add_source(&database, "doubles", &partner, 3, "");
    Check::of(&database, "doubles").says("key", "warning", "comes twice for 3 of 53 records");
}

#[test]
fn a_cap_below_the_page_size_is_told() {
    let database = cluster().database();
    let partner = partner_with(Config {
        observations: 50,
        cap: 20,
        ..Config::default()
    });
    add_source(&database, "cen", &partner, 3, "page_size => 500");
    let check = Check::of(&database, "cen");
    check.says(
        "page_cap",
        "ok",
        "at most 20 records a page, not the 500 asked for",
    );
    check.says("records", "ok", "of 20 records of the first page");
}

#[test]
fn columns_that_are_unknown_or_missing_are_listed() {
    let database = cluster().database();
    let partner = partner(50);
    partner
        .add_column(10, "champ_maison", Some((&serde_json::json!("x"), "text")))
        .expect("a column");
    add_source(&database, "cen", &partner, 10, "");
    let check = Check::of(&database, "cen");
    check.says("unknown_columns", "warning", "champ_maison");
    check.advises("unknown_columns", "gn_harvest.map_field(");
    check.says("silent_columns", "ok", "observers");
    check.says(
        "geometry",
        "warning",
        "points only, from \"x_centroid_4326\" and \"y_centroid_4326\"",
    );
    database
        .run("SELECT gn_harvest.map_field('cen', 'observers', source_column => 'champ_maison')");
    let check = Check::of(&database, "cen");
    check.says("columns", "ok", "champ_maison -> observers");
    // A column that no observation does without.
    partner.drop_column(10, "cd_nom").expect("the column");
    let check = Check::of(&database, "cen");
    check.says(
        "records",
        "error",
        "lacks columns that an observation can not do without",
    );
    check.says("records", "error", "cd_nom");
    check.says("target", "ok", "gn_synthese.synthese is here");
    partner.drop_column(3, "jdd_data").expect("the column");
    add_source(&database, "sans jeu", &partner, 3, "");
    let check = Check::of(&database, "sans jeu");
    check.says("metadata", "error", "does not say to which dataset");
}

#[test]
fn records_that_would_be_rejected_and_values_that_are_unknown_are_counted_and_not_kept() {
    let database = cluster().database();
    let partner = partner(50);
    let ids = partner.ids();
    partner.tamper(ids[0], "cd_nom", Some("999999999"));
    partner.tamper(ids[1], "cd_nom", Some("999999999"));
    partner.tamper(ids[2], "date_debut", Some("\"n'importe\""));
    partner.tamper(ids[3], "sexe", Some("\"inconnu au bataillon\""));
    add_source(&database, "cen", &partner, 3, "");
    let check = Check::of(&database, "cen");
    check.says(
        "records",
        "warning",
        "47 would be there afterwards (47 new), 3 rejected",
    );
    check.says("records", "warning", "2 × unknown_cd_nom");
    check.says("records", "warning", "1 × bad_date");
    check.says("unknown_values", "warning", "\"inconnu au bataillon\"");
    check.advises("unknown_values", "gn_harvest.map_value(");
    for kept in ["rejected_record", "unmapped_value"] {
        assert_eq!(
            database.number(&format!("SELECT count(*) FROM gn_harvest.{kept}")),
            0
        );
    }
}

#[test]
fn an_empty_export_is_an_error() {
    let database = cluster().database();
    let partner = partner(10);
    let ids = partner.ids();
    partner.hide(3, &ids).expect("hidden");
    add_source(&database, "cen", &partner, 3, "");
    let check = Check::of(&database, "cen");
    check.says("records", "error", "the export has no record");
    check.says("target", "ok", "gn_synthese.synthese is here");
}

#[test]
fn a_database_that_is_no_geonature_is_told_what_it_lacks() {
    let database = cluster().empty_database();
    database.run("CREATE EXTENSION gn_harvest");
    let partner = partner(50);
    add_source(&database, "cen", &partner, 3, "");
    let check = Check::of(&database, "cen");
    check.says("columns", "ok", "recognised");
    check.says("target", "error", "gn_synthese");
    assert!(!check.names().contains(&"sample"));
    let row = run(&database, "cen", "auto");
    assert_eq!(text(&row, "status"), "failed", "{row:?}");
    assert!(!text(&row, "error_hint").is_empty(), "{row:?}");
}

#[test]
fn an_owner_without_rights_in_the_target_is_told_which() {
    let database = cluster().database();
    let partner = partner(50);
    let role = format!("{}_owner", database.name);
    database.run(&format!(
        "CREATE ROLE {role} LOGIN; SELECT gn_harvest.grant_operator('{role}')"
    ));
    add_source(&database, "cen", &partner, 3, &format!("owner => '{role}'"));
    let before = contents(&database);
    let check = Check::of(&database, "cen");
    check.says("target", "error", "permission denied");
    check.advises("target", "GRANT");
    // Rights to look, and none to write.
    database.run(&format!(
        "GRANT USAGE ON SCHEMA gn_synthese, gn_meta, utilisateurs, ref_nomenclatures, taxonomie, ref_geo, ref_habitats, gn_commons TO {role};
         GRANT SELECT ON ALL TABLES IN SCHEMA gn_synthese, gn_meta, utilisateurs, ref_nomenclatures, taxonomie, ref_geo, ref_habitats, gn_commons TO {role}"
    ));
    let check = Check::of(&database, "cen");
    check.says("target", "error", "permission denied");
    assert_eq!(contents(&database), before);
    assert!(!check.names().contains(&"sample"));
}

#[test]
fn a_paused_source_and_one_that_is_being_harvested_can_be_checked() {
    let database = cluster().database();
    let partner = partner(100);
    add_source(&database, "cen", &partner, 3, "page_size => 20");
    database.run("SELECT gn_harvest.pause_source('cen')");
    Check::of(&database, "cen").says("records", "ok", "of 20 records");
    database.run("SELECT gn_harvest.resume_source('cen')");
    partner.add_fault(Rule::times(Route::Export, 1, Fault::Slow { seconds: 3.0 }).after(5));
    let run = start(&database, "cen", "auto");
    until(60, "it reads", || partner.figures().requests > 5);
    Check::of(&database, "cen").says("export", "ok", "export 3 gives");
    assert_eq!(text(&ended(&database, run), "status"), "succeeded");
    assert_complete(&database, "cen", &partner);
}

#[test]
fn a_check_of_a_hung_partner_ends_with_the_error() {
    let database = crate::faults::impatient_cluster().database();
    let partner: Simulator = partner(10);
    add_source(&database, "cen", &partner, 3, "retry_budget => 0");
    partner.add_fault(Rule::always(Route::Any, Fault::Hang));
    let check = Check::of(&database, "cen");
    check.says("reachable", "error", "no complete answer within 4 s");
    partner.set_faults(vec![Rule::always(Route::Export, Fault::Hang)]);
    let check = Check::of(&database, "cen");
    check.says("export", "error", "no complete answer within 4 s");
    check.says("target", "ok", "gn_synthese.synthese is here");
}
