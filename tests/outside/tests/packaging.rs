//! What goes with the packages: one version everywhere, and examples that run.

use std::path::Path;

use crate::document::{file, project};
use crate::support::*;

/// The version in Cargo.toml, which is that of the extension.
fn version() -> String {
    file("Cargo.toml")
        .lines()
        .find_map(|line| line.strip_prefix("version = "))
        .expect("a version")
        .trim_matches('"')
        .to_owned()
}

#[test]
fn the_changelog_and_pgxn_know_the_version() {
    let version = version();
    assert!(
        file("CHANGELOG.md").contains(&format!("\n## [{version}] - ")),
        "CHANGELOG.md says nothing of {version}"
    );
    let pgxn: serde_json::Value = serde_json::from_str(&file("META.json")).expect("JSON");
    assert_eq!(pgxn["version"], version.as_str());
    assert_eq!(pgxn["provides"]["gn_harvest"]["version"], version.as_str());
    for named in ["file", "docfile"] {
        let path = pgxn["provides"]["gn_harvest"][named]
            .as_str()
            .expect("a file");
        assert!(project().join(path).exists(), "{path}");
    }
}

#[test]
fn the_versions_of_postgresql_that_can_be_built_are_those_that_are_tested() {
    let cargo = file("Cargo.toml");
    let built: Vec<&str> = cargo
        .lines()
        .filter_map(|line| line.strip_prefix("pg")?.split_once(" = [\"pgrx/"))
        .map(|(major, _)| major)
        .collect();
    assert_eq!(built, ["15", "17"]);
    let make = file("Makefile") + &file("packaging/packages.mk");
    assert!(make.contains("PG_MAJOR   := 15") && make.contains("make test PG_MAJOR=17"));
}

#[test]
fn the_jobs_of_the_pg_cron_example_run() {
    let database = cluster().database();
    let partner = partner(150);
    // As pg_cron has it; what it would run at the hour is run now.
    database.run(
        "CREATE SCHEMA cron;
         CREATE TABLE cron.job (jobid bigserial, jobname text, schedule text, command text);
         CREATE FUNCTION cron.schedule(job_name text, schedule text, command text) RETURNS bigint
         LANGUAGE sql AS 'INSERT INTO cron.job (jobname, schedule, command) VALUES ($1, $2, $3) RETURNING jobid'",
    );
    let path = project().join("examples/pg_cron.sql").display().to_string();
    database
        .cluster
        .psql(&database.name, Path::new("."), &["-q", "-f", &path]);
    add_source(&database, "cen", &partner, 3, "");
    let jobs = database.rows("SELECT command FROM cron.job ORDER BY jobid");
    assert_eq!(jobs.len(), 2);
    for job in &jobs {
        database.run(text(job, "command"));
    }
    assert_eq!(
        database.value("SELECT string_agg(concat_ws(' ', mode, status, inserted, unchanged), ', ' ORDER BY run) FROM gn_harvest.run_history"),
        "full succeeded 150 0, reconcile succeeded 0 150"
    );
}

#[test]
fn the_example_for_geonature_makes_an_operator_who_harvests() {
    let database = cluster().database();
    let partner = partner(100);
    let path = project()
        .join("examples/geonature.sql")
        .display()
        .to_string();
    // Twice, as one would after a change; the name is nobody's idea of a good one.
    for _ in 0..2 {
        let arguments = ["-q", "-v", "operator=example's \"operator\"", "-f", &path];
        database
            .cluster
            .psql(&database.name, Path::new("."), &arguments);
    }
    let mut session = database.connect_as("example's \"operator\"");
    let run = |session: &mut postgres::Client, sql: &str| gn_harvest_outside::rows(session, sql);
    run(
        &mut session,
        &format!(
            "SELECT gn_harvest.add_source('cen', '{}', 3, token => 'jeton-export-3')",
            partner.url()
        ),
    );
    let ended = run(
        &mut session,
        "SELECT status, inserted FROM gn_harvest.run('cen')",
    );
    assert_eq!(
        (text(&ended[0], "status"), number(&ended[0], "inserted")),
        ("succeeded", 100),
        "{ended:?}"
    );
    drop(session);
    database.run(
        "DROP OWNED BY \"example's \"\"operator\"\"\"; DROP ROLE \"example's \"\"operator\"\"\"",
    );
}
