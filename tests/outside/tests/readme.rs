//! The README: every SQL example runs, and what its tables list is what there is.

use std::collections::BTreeSet;

use geonature_simulator::Config;

use crate::document::{self, part, quoted};
use crate::support::*;
use gn_harvest_outside::gn2pg::{Gn2pg, V1_10};

const README: &str = include_str!("../../../README.md");

/// Words in back quotes in the part of the README under a title.
fn quoted_in(title: &str) -> BTreeSet<&'static str> {
    quoted(part(README, title))
}

fn set(database: &gn_harvest_outside::Database, sql: &str) -> BTreeSet<String> {
    database
        .rows(sql)
        .into_iter()
        .filter_map(|row| row.into_values().next().flatten())
        .collect()
}

#[test]
fn every_example_of_the_readme_runs() {
    let database = cluster().source_database();
    database.run(
        "DROP EXTENSION gn_harvest; DROP ROLE IF EXISTS harvest_operator, harvest_reader, publisher",
    );
    let partner = partner(300);
    let other = partner_with(Config {
        observations: 30,
        seed: 7,
        ..Config::default()
    });
    let settings = crate::adopt::settings(&other);
    Gn2pg::set_up(V1_10, &database, &settings).download();
    let filled_in = [
        ("https://geonature.example.org", partner.url()),
        ("https://geonature.lpo.example.org", other.url()),
        ("the-token", "jeton-export-3"),
        ("{collecteur}", "{admin}"),
    ];
    for example in document::examples(README) {
        document::run(&database, "postgres", &example, &filled_in);
    }
    assert_eq!(
        database.number("SELECT count(*) FROM gn_synthese.synthese"),
        330
    );
    database.run("DROP OWNED BY harvest_operator, harvest_reader, publisher; DROP ROLE harvest_operator, harvest_reader, publisher");
}

/// The call that writes the status page into a file, as a shell runs it.
#[test]
fn the_status_page_is_written_by_the_call_of_the_readme() {
    let database = cluster().database();
    let call = README
        .lines()
        .find(|line| line.starts_with("psql -Atc"))
        .expect("the call");
    let directory = tempfile::tempdir().expect("a directory");
    let psql = database.cluster.psql_command(&database.name);
    let programs = database.cluster.program("psql");
    let programs = programs.parent().expect("a directory").display();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut shell = std::process::Command::new("sh");
    let environment = psql
        .get_envs()
        .filter_map(|(name, value)| Some((name, value?)));
    let status = shell
        .args(["-c", call])
        .envs(environment)
        .env("PATH", format!("{programs}:{path}"))
        .current_dir(directory.path())
        .status();
    assert!(status.expect("a shell").success());
    let page = std::fs::read_to_string(directory.path().join("status.html")).expect("the page");
    assert!(
        page.starts_with("<!DOCTYPE html>\n<html lang=\"fr\">"),
        "{page}"
    );
}

#[test]
fn an_owner_with_the_grants_of_the_readme_harvests() {
    let database = cluster().database();
    let partner = partner(150);
    database.run("DROP ROLE IF EXISTS readme_owner; CREATE ROLE readme_owner LOGIN; SELECT gn_harvest.grant_operator('readme_owner')");
    let grants = document::examples(README)
        .into_iter()
        .find(|example| example.sql.contains("GRANT USAGE ON SCHEMA gn_synthese"))
        .expect("the grants");
    database.run(&grants.sql.replace("harvest_operator", "readme_owner"));
    let mut session = database.connect_as("readme_owner");
    session
        .batch_execute(&format!(
            "SELECT gn_harvest.add_source('own', '{}', 3, token => 'jeton-export-3')",
            partner.url()
        ))
        .expect("a source");
    let rows = gn_harvest_outside::rows(&mut session, "SELECT * FROM gn_harvest.run('own')");
    assert_eq!(
        (text(&rows[0], "status"), number(&rows[0], "inserted")),
        ("succeeded", 150),
        "{rows:#?}"
    );
    partner.delete(&partner.ids()[..5]);
    let rows = gn_harvest_outside::rows(
        &mut session,
        "SELECT * FROM gn_harvest.run('own', 'reconcile')",
    );
    assert_eq!(
        (text(&rows[0], "status"), number(&rows[0], "deleted")),
        ("succeeded", 5),
        "{rows:#?}"
    );
    drop(session);
    database.run("DROP OWNED BY readme_owner; DROP ROLE readme_owner");
}

#[test]
fn the_readme_lists_every_reason_code() {
    let database = cluster().database();
    let codes = set(&database, "SELECT unnest(gn_harvest.rejection_reasons())");
    let listed = quoted_in("### Reason codes");
    let missing: Vec<&String> = codes
        .iter()
        .filter(|code| !listed.contains(code.as_str()))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_readme_lists_every_rule_and_argument_of_channels() {
    let database = cluster().database();
    let row = |rule: &gn_harvest_outside::Row| {
        let threshold = text(rule, "threshold");
        let threshold = match text(rule, "unit").split(' ').next() {
            Some("") | None => String::new(),
            Some("percent") => format!("{threshold} %"),
            Some(_) => threshold.to_owned(),
        };
        format!(
            "| `{}` | {} | {threshold}",
            text(rule, "rule"),
            text(rule, "severity")
        )
    };
    let rules = database.rows("SELECT * FROM gn_harvest.alert_rules()");
    let listed = document::quoted_rows(part(README, "### Rules of alerts"));
    assert_eq!(rules.len(), listed.len());
    for rule in &rules {
        assert!(README.contains(&row(rule)), "{}", row(rule));
    }
    let listed = quoted_in("### Channels");
    let arguments =
        "SELECT unnest(proargnames) FROM pg_proc WHERE oid = 'gn_harvest.add_channel'::regproc";
    for argument in set(&database, arguments) {
        let known = ["name", "kind"].contains(&argument.as_str());
        assert!(
            known || listed.contains(argument.as_str()),
            "add_channel({argument})"
        );
    }
}

#[test]
fn the_readme_lists_every_setting_of_a_source() {
    let database = cluster().database();
    let columns = set(
        &database,
        "SELECT unnest(proargnames) FROM pg_proc WHERE oid = 'gn_harvest.add_source'::regproc",
    );
    let listed = quoted_in("### Settings of a source");
    for column in columns {
        let known = ["name", "url", "export_id"].contains(&column.as_str());
        assert!(
            known || listed.contains(column.as_str()),
            "add_source({column})"
        );
    }
}

#[test]
fn the_readme_lists_every_function_and_view_that_people_are_granted() {
    let database = cluster().database();
    database.run("DROP ROLE IF EXISTS readme_lister; CREATE ROLE readme_lister; SELECT gn_harvest.grant_operator('readme_lister')");
    let functions: Vec<&str> = quoted_in("### Functions")
        .into_iter()
        .filter_map(|call| call.split('(').next())
        .collect();
    let internal = [
        "alert_text",
        "begin_gn2pg",
        "caller",
        "channel_target",
        "check_gn2pg",
        "check_gn2pg_known",
        "check_publication",
        "connect_gn2pg",
        "derniere_action_index",
        "end_gn2pg",
        "forget_publication",
        "frequency_in",
        "gn2pg_filters",
        "gn2pg_known",
        "gn2pg_layout",
        "gn2pg_names",
        "gn2pg_next_step",
        "gn2pg_page",
        "gn2pg_parameters",
        "gn2pg_sources",
        "gn2pg_watermark",
        "hide_statement",
        "in_french",
        "installed_version",
        "is_local",
        "keep_publication",
        "licence_named",
        "likely_match",
        "local_metadata",
        "local_table",
        "may_manage",
        "metadata_watch_sql",
        "next_run",
        "nomenclature_codes",
        "obstacle_advice",
        "record_view_query",
        "register_exports",
        "render_status_page",
        "replaceable_view",
        "require_free_labels",
        "require_geonature_exports",
        "roles_named",
        "schedule_obstacle",
        "scheduler_facts",
        "sees_everything",
        "set_publication_exports",
        "slug_of",
        "status_page_data",
        "take_gn2pg",
        "take_gn2pg_rows",
        "visible_record_source",
        "visible_source",
        "watched_tables",
        "word",
        "working_source",
    ];
    for name in set(
        &database,
        "SELECT proname FROM pg_proc WHERE pronamespace = 'gn_harvest'::regnamespace AND has_function_privilege('readme_lister', oid, 'EXECUTE')",
    ) {
        assert!(
            internal.contains(&name.as_str())
                || name.starts_with("publication_")
                || functions.contains(&name.as_str()),
            "{name}()"
        );
    }
    let views = quoted_in("### Views");
    for name in set(
        &database,
        "SELECT relname FROM pg_class WHERE relnamespace = 'gn_harvest'::regnamespace AND relkind = 'v' AND has_table_privilege('readme_lister', oid, 'SELECT')",
    ) {
        assert!(views.contains(name.as_str()), "{name}");
    }
    database.run("DROP OWNED BY readme_lister; DROP ROLE readme_lister");
}
