//! The function of the source's owner that is called after a run: with what changed, only when something did, and
//! without harm to the run when it fails.

use gn_harvest_outside::Database;
use serde_json::{Value, json};

use crate::people::*;
use crate::support::*;

/// A function that keeps what it is told, as `name` in a schema with a name of its own.
fn listener(database: &Database, body: &str) {
    database.run(&format!(
        "CREATE SCHEMA IF NOT EXISTS \"Mon atlas\"; CREATE TABLE IF NOT EXISTS \"Mon atlas\".heard (id serial, event jsonb, who name DEFAULT current_user);
         CREATE OR REPLACE FUNCTION \"Mon atlas\".\"à jour\"(event jsonb) RETURNS void LANGUAGE plpgsql AS $f$
         BEGIN INSERT INTO \"Mon atlas\".heard (event) VALUES (event); {body} END $f$"
    ));
}

fn heard(database: &Database) -> Vec<Value> {
    let rows = database.rows("SELECT event::text FROM \"Mon atlas\".heard ORDER BY id");
    rows.iter()
        .map(|row| serde_json::from_str(text(row, "event")).expect("JSON"))
        .collect()
}

const NAMED: &str = "after_run => '\"Mon atlas\".\"à jour\"'";

fn numbers(value: &Value) -> Vec<i64> {
    let list = value
        .as_array()
        .unwrap_or_else(|| panic!("a list: {value}"));
    list.iter().map(|n| n.as_i64().expect("a number")).collect()
}

#[test]
fn it_is_told_what_changed_and_only_when_something_did() {
    let database = cluster().database();
    let partner = partner(60);
    listener(&database, "");
    add_source(&database, "cen", &partner, 3, NAMED);
    let first = run_well(&database, "cen", "auto");
    let told = heard(&database);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["source"], "cen");
    assert_eq!(told[0]["run"], number(&first, "run"));
    assert_eq!(
        (told[0]["mode"].as_str(), told[0]["status"].as_str()),
        (Some("full"), Some("succeeded"))
    );
    assert_eq!(told[0]["inserted"], 60);
    assert_eq!(
        told[0]["datasets_created"],
        number(&first, "datasets_created")
    );
    let every = |column: &str| {
        let list = database.value(&format!("SELECT json_agg(DISTINCT {column} ORDER BY {column}) FROM gn_synthese.synthese JOIN gn_meta.t_datasets USING (id_dataset)"));
        serde_json::from_str::<Value>(&list).expect("JSON")
    };
    assert_eq!(told[0]["cd_nom"], every("cd_nom"));
    assert_eq!(told[0]["id_dataset"], every("id_dataset"));
    let mut uuids: Vec<&str> = told[0]["datasets"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    uuids.sort_unstable();
    assert_eq!(json!(uuids), every("unique_dataset_id"));
    // Nothing new: it is left alone.
    run_well(&database, "cen", "auto");
    run_well(&database, "cen", "full");
    assert_eq!(heard(&database).len(), 1);
    // A taxon that changes is told as it was and as it is.
    let id = partner.ids()[7];
    let before = database.number(&format!(
        "SELECT cd_nom FROM gn_synthese.synthese WHERE entity_source_pk_value = '{id}'"
    ));
    let other = numbers(&told[0]["cd_nom"])
        .into_iter()
        .find(|n| *n != before)
        .expect("another taxon");
    partner
        .update(id, &json!({"cd_nom": other}))
        .expect("a change");
    run_well(&database, "cen", "auto");
    let told = heard(&database);
    assert_eq!(
        (told[1]["updated"].as_i64(), told[1]["inserted"].as_i64()),
        (Some(1), Some(0))
    );
    let mut both = vec![before, other];
    both.sort_unstable();
    assert_eq!(numbers(&told[1]["cd_nom"]), both);
    assert_eq!(numbers(&told[1]["id_dataset"]).len(), 1);
    // So is what is deleted.
    let gone = partner.ids()[11];
    let was = database.number(&format!(
        "SELECT cd_nom FROM gn_synthese.synthese WHERE entity_source_pk_value = '{gone}'"
    ));
    partner.delete(&[gone]);
    run_well(&database, "cen", "reconcile");
    let told = heard(&database);
    assert_eq!(told[2]["deleted"], 1);
    assert_eq!(numbers(&told[2]["cd_nom"]), [was]);
    database.run("SELECT gn_harvest.drop_source('cen', delete_data => true)");
    assert_eq!(heard(&database)[3]["deleted"], 59);
}

#[test]
fn its_failure_is_said_and_does_not_fail_the_run_and_it_hears_later_of_what_it_missed() {
    let database = cluster().database();
    let partner = partner(30);
    listener(
        &database,
        "RAISE EXCEPTION 'l''atlas est en travaux' USING ERRCODE = '55000';",
    );
    add_source(&database, "cen", &partner, 3, NAMED);
    let run = run_well(&database, "cen", "auto");
    let warnings = database.value(&format!(
        "SELECT warnings FROM gn_harvest.run_history WHERE run = {}",
        number(&run, "run")
    ));
    assert!(warnings.contains("\\\"Mon atlas\\\".\\\"à jour\\\" that was to be called after the run failed (55000): l'atlas est en travaux"), "{warnings}");
    assert_eq!(
        text(&run, "warnings"),
        warnings,
        "who waited sees it at once"
    );
    assert_eq!(
        database.number("SELECT count(*) FROM gn_synthese.synthese"),
        30
    );
    let alert = database.row("SELECT rule, message, run FROM gn_harvest.open_alert");
    assert_eq!(text(&alert, "rule"), "hook_failed");
    assert!(
        text(&alert, "message").ends_with("failed: l'atlas est en travaux"),
        "{alert:?}"
    );
    assert_eq!(heard(&database).len(), 0, "what it did was rolled back");
    // Nothing changes any more: it is still owed.
    run_well(&database, "cen", "auto");
    assert_eq!(
        database.number("SELECT occurrences FROM gn_harvest.open_alert"),
        2
    );
    listener(&database, "");
    run_well(&database, "cen", "auto");
    let told = heard(&database);
    assert_eq!(told.len(), 1);
    assert_eq!(
        (&told[0]["cd_nom"], &told[0]["datasets"]),
        (&Value::Null, &Value::Null),
        "too much to be named"
    );
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.open_alert"),
        0
    );
    run_well(&database, "cen", "auto");
    assert_eq!(heard(&database).len(), 1);
    // Gone: said, with what to do.
    database.run("DROP FUNCTION \"Mon atlas\".\"à jour\"");
    partner.insert(&json!({})).expect("an observation");
    let run = run_well(&database, "cen", "auto");
    assert!(text(&run, "warnings").contains("does not exist"), "{run:?}");
    // Other settings can still be changed; and without it nothing is wrong.
    database.run("SELECT gn_harvest.alter_source('cen', page_size => 500)");
    database.run("SELECT gn_harvest.alter_source('cen', clear => '{after_run}')");
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.open_alert"),
        0
    );
    partner.insert(&json!({})).expect("an observation");
    assert_eq!(text(&run_well(&database, "cen", "auto"), "warnings"), "{}");
}

#[test]
fn it_works_as_the_owner_who_gains_no_right_by_it() {
    let database = cluster().database();
    let partner = partner(10);
    let owner = role(&database, "owner");
    listener(&database, "");
    database.run(&format!("SELECT gn_harvest.grant_operator('{owner}')"));
    database.run(&format!("GRANT ALL ON ALL TABLES IN SCHEMA gn_synthese, gn_meta, utilisateurs, ref_nomenclatures, taxonomie, ref_geo, ref_habitats, gn_commons, gn_sensitivity TO {owner};
        GRANT USAGE ON SCHEMA gn_synthese, gn_meta, utilisateurs, ref_nomenclatures, taxonomie, ref_geo, ref_habitats, gn_commons, gn_sensitivity TO {owner};
        GRANT USAGE ON ALL SEQUENCES IN SCHEMA gn_synthese, gn_meta, utilisateurs TO {owner};
        REVOKE ALL ON FUNCTION \"Mon atlas\".\"à jour\" FROM PUBLIC"));
    let add = format!(
        "SELECT gn_harvest.add_source('cen', '{}', 3, token => '{}', {NAMED})",
        partner.url(),
        partner.token(3).expect("a token")
    );
    let error = error_as(&database, &owner, &add);
    assert!(
        error.starts_with("42501: ") && error.contains("HINT: GRANT EXECUTE"),
        "{error}"
    );
    database.run(&format!("GRANT EXECUTE ON FUNCTION \"Mon atlas\".\"à jour\" TO {owner}; GRANT USAGE ON SCHEMA \"Mon atlas\" TO {owner}; GRANT INSERT ON \"Mon atlas\".heard TO {owner}; GRANT USAGE ON SEQUENCE \"Mon atlas\".heard_id_seq TO {owner}"));
    as_role(&database, &owner, &add);
    as_role(&database, &owner, "SELECT gn_harvest.run('cen')");
    assert_eq!(database.value("SELECT who FROM \"Mon atlas\".heard"), owner);
    // What waits for the commit would have the worker's own rights: it is refused.
    database.run(&format!(
        "GRANT CREATE ON SCHEMA \"Mon atlas\" TO {owner}; SET ROLE {owner};
         CREATE TABLE \"Mon atlas\".trap (id int);
         CREATE FUNCTION \"Mon atlas\".climb() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN EXECUTE 'ALTER ROLE {owner} SUPERUSER'; RETURN NULL; END $f$;
         CREATE CONSTRAINT TRIGGER climb AFTER INSERT ON \"Mon atlas\".trap DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION \"Mon atlas\".climb();
         CREATE FUNCTION \"Mon atlas\".attempt(event jsonb) RETURNS void LANGUAGE plpgsql AS $f$ BEGIN INSERT INTO \"Mon atlas\".trap VALUES (1); SET CONSTRAINTS ALL DEFERRED; END $f$"
    ));
    as_role(
        &database,
        &owner,
        "SELECT gn_harvest.alter_source('cen', after_run => '\"Mon atlas\".attempt')",
    );
    partner.insert(&json!({})).expect("an observation");
    let warnings = value_as(
        &database,
        &owner,
        "SELECT warnings FROM gn_harvest.run('cen')",
    );
    assert!(warnings.contains("after the run failed"), "{warnings}");
    assert_eq!(
        database.value(&format!(
            "SELECT rolsuper FROM pg_roles WHERE rolname = '{owner}'"
        )),
        "f"
    );
    database.run(&format!(
        "SELECT gn_harvest.drop_source('cen'); DROP OWNED BY {owner}; DROP ROLE {owner}"
    ));
}

#[test]
fn it_has_its_time_and_no_more() {
    let cluster = gn_harvest_outside::Cluster::temporary(&[("gn_harvest.after_run_timeout", "1s")]);
    let database = cluster.database();
    let partner = partner(10);
    listener(&database, "PERFORM pg_sleep(600);");
    add_source(&database, "cen", &partner, 3, NAMED);
    let begun = std::time::Instant::now();
    let run = run_well(&database, "cen", "auto");
    assert!(begun.elapsed().as_secs() < 120, "{:?}", begun.elapsed());
    assert!(
        text(&run, "warnings").contains("statement timeout"),
        "{run:?}"
    );
    listener(&database, "");
    let run = run_well(&database, "cen", "auto");
    assert_eq!(text(&run, "warnings"), "{}");
    assert_eq!(heard(&database).len(), 1);
}

#[test]
fn a_function_that_is_none_is_refused_when_it_is_named() {
    let database = cluster().database();
    database.run("CREATE FUNCTION public.other(x json) RETURNS void LANGUAGE sql AS ''; CREATE PROCEDURE public.proc(x jsonb) LANGUAGE sql AS ''; CREATE FUNCTION public.fine(x jsonb) RETURNS int LANGUAGE sql AS 'SELECT 1'");
    for name in [
        "public.absent",
        "public.other",
        "public.proc",
        "fine",
        "",
        "a b",
        "public.fine(jsonb), pg_sleep",
        "public.\"fine",
        "x.y.z.fine",
        "public.fine(jsonb); DROP TABLE x; --",
    ] {
        let error = database.error(&format!("SELECT gn_harvest.add_source('cen', 'https://geonature.example.org', 3, after_run => '{name}')"));
        assert!(
            error.starts_with("42883: ") && error.contains("HINT: Give the schema and name"),
            "{name}: {error}"
        );
    }
    let added = "SELECT after_run FROM gn_harvest.add_source('cen', 'https://geonature.example.org', 3, after_run => 'Public.FINE')";
    assert_eq!(database.value(added), "public.fine");
}

#[test]
fn a_view_is_refreshed_by_it() {
    let database = cluster().database();
    let partner = partner(25);
    database.run(
        "CREATE MATERIALIZED VIEW public.atlas AS SELECT cd_nom, count(*) AS observations FROM gn_synthese.synthese GROUP BY cd_nom;
         CREATE UNIQUE INDEX ON public.atlas (cd_nom);
         CREATE FUNCTION public.refresh_atlas(event jsonb) RETURNS void LANGUAGE sql AS 'REFRESH MATERIALIZED VIEW CONCURRENTLY public.atlas'",
    );
    add_source(
        &database,
        "cen",
        &partner,
        3,
        "after_run => 'public.refresh_atlas'",
    );
    let run = run_well(&database, "cen", "auto");
    assert_eq!(text(&run, "warnings"), "{}");
    assert_eq!(
        database.number("SELECT sum(observations) FROM public.atlas"),
        25
    );
}

#[test]
fn of_records_it_hears_the_counts_and_an_export_of_them_that_is_emptied_loses_nothing() {
    let database = cluster().empty_database();
    let partner = partner(30);
    database.run("CREATE EXTENSION gn_harvest");
    listener(&database, "");
    let options = format!("target => 'records', {NAMED}");
    add_source(&database, "cen", &partner, 3, &options);
    run_well(&database, "cen", "auto");
    let told = heard(&database);
    assert_eq!(told.len(), 1);
    assert_eq!(
        (&told[0]["inserted"], &told[0]["cd_nom"]),
        (&json!(30), &Value::Null)
    );
    assert_eq!(
        (&told[0]["id_dataset"], &told[0]["datasets"]),
        (&Value::Null, &Value::Null)
    );
    partner.delete_silently(&partner.ids());
    run_well(&database, "cen", "auto");
    assert_eq!(
        text(&run(&database, "cen", "reconcile"), "status"),
        "blocked"
    );
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.record"),
        30
    );
    assert_eq!(heard(&database).len(), 1);
    let allowed =
        database.row("SELECT * FROM gn_harvest.run('cen', 'reconcile', allow_loss => true)");
    assert_eq!(number(&allowed, "deleted"), 30, "{allowed:#?}");
    assert_eq!(heard(&database)[1]["deleted"], 30);
}
