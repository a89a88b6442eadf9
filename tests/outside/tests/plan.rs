//! A plan says what a run would do, writes nothing, and is what the run then does.

use std::collections::BTreeMap;

use geonature_simulator::{Fault, Route, Rule, Simulator};
use gn_harvest_outside::{Database, Row};
use serde_json::json;

use crate::support::*;

fn plan(database: &Database, name: &str, mode: &str) -> Vec<Row> {
    database.rows(&format!(
        "SELECT * FROM gn_harvest.plan('{name}', '{mode}')"
    ))
}

/// How many records the lines of an action and an object speak of.
fn planned(plan: &[Row], action: &str, object: &str) -> i64 {
    plan.iter()
        .filter(|row| text(row, "action") == action && text(row, "object") == object)
        .map(|row| number(row, "records"))
        .sum()
}

fn warnings(plan: &[Row]) -> Vec<&str> {
    let warned = plan.iter().filter(|row| text(row, "action") == "warn");
    warned.map(|row| text(row, "detail")).collect()
}

/// Every row of every table of the target and of the extension, but for the runs and the answers of plans.
fn everything(database: &Database) -> BTreeMap<String, String> {
    let tables = database.rows(
        "SELECT c.oid::regclass::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind = 'r' AND n.nspname IN ('gn_synthese', 'gn_meta', 'utilisateurs', 'gn_commons', 'gn_notifications', 'gn_harvest')
           AND c.relname NOT IN ('run', 'plan_result', 'check_result')",
    );
    assert!(tables.len() > 30, "{tables:?}");
    tables
        .iter()
        .map(|row| {
            let name = text(row, "name");
            let content = database.value(&format!(
                "SELECT concat(count(*), ' ', md5(string_agg(md5(t::text), '' ORDER BY md5(t::text)))) FROM {name} t"
            ));
            (name.to_owned(), content)
        })
        .collect()
}

/// Action, object (none: what the plan is about), column of the history.
const COUNTS: [(&str, &str, &str); 12] = [
    ("read", "", "fetched"),
    ("insert", "", "inserted"),
    ("update", "", "updated"),
    ("unchanged", "", "unchanged"),
    ("skip", "", "skipped"),
    ("delete", "", "deleted"),
    ("reject", "", "rejected"),
    ("create", "framework", "frameworks_created"),
    ("create", "dataset", "datasets_created"),
    ("create", "actor", "actors_created"),
    ("update", "framework", "frameworks_updated"),
    ("update", "dataset", "datasets_updated"),
];

/// Plans a run, checks that this wrote nothing, runs it and compares. Returns both.
pub fn plan_and_run(database: &Database, name: &str, mode: &str) -> (Vec<Row>, Row) {
    let before = everything(database);
    let plan = plan(database, name, mode);
    for (table, content) in everything(database) {
        assert_eq!(content, before[&table], "{table}: a plan writes nothing");
    }
    let run = run_well(database, name, mode);
    let about = text(&plan[0], "object").to_owned();
    for (action, object, column) in COUNTS {
        let object = if object.is_empty() { &about } else { object };
        assert_eq!(
            planned(&plan, action, object),
            number(&run, column),
            "{action} {object}\n{plan:#?}\n{run:#?}"
        );
    }
    let rejected = database.rows(&format!(
        "SELECT reason, count(*) AS records FROM gn_harvest.rejected_record WHERE last_run = {} AND discarded_at IS NULL GROUP BY reason",
        text(&run, "run")
    ));
    for row in rejected {
        let of_reason = plan
            .iter()
            .find(|line| text(line, "reason") == text(&row, "reason"))
            .unwrap_or_else(|| panic!("{row:?} was not planned: {plan:#?}"));
        assert_eq!(number(of_reason, "records"), number(&row, "records"));
    }
    (plan, run)
}

/// Changes of every kind at the partner.
fn change(partner: &Simulator) {
    let ids = partner.ids();
    partner
        .update_many(&ids[10..40], &json!({"nombre_min": 3, "nombre_max": 77}))
        .expect("changes");
    partner
        .update(ids[50], &json!({"wkt_4326": "POINT(5.5 45.5)"}))
        .expect("another place");
    partner
        .update(ids[60], &json!({"cd_nom": 999_998}))
        .expect("an unknown taxon");
    for _ in 0..7 {
        partner.insert(&json!({})).expect("an observation");
    }
    partner.delete(&ids[100..105]);
    let dataset = &partner.metadata_truth()[0]["datasets"][0];
    let uuid = dataset["uuid"].as_str().expect("a dataset").to_owned();
    partner
        .patch_dataset(&uuid, &json!({"name": "Renommé depuis"}))
        .expect("a dataset");
}

#[test]
fn of_a_first_run_and_of_all_that_changes_afterwards_it_is_what_the_run_does() {
    let database = cluster().database();
    let partner = partner(900);
    partner.tamper(partner.ids()[5], "date_debut", Some("\"0000-00-00\""));
    add_source_by_login(
        &database,
        "cen",
        &partner,
        2,
        ("moissonneur", "moissonneur"),
        "",
    );

    let (first, _) = plan_and_run(&database, "cen", "auto");
    assert!(planned(&first, "create", "dataset") > 0, "{first:#?}");
    let read = &first[0];
    assert_eq!(
        (text(read, "action"), text(read, "detail")),
        ("read", "full: everything")
    );
    let inserted = first
        .iter()
        .find(|row| text(row, "action") == "insert")
        .expect("inserts");
    assert!(
        text(inserted, "samples").contains("nom_cite"),
        "{inserted:?}"
    );

    change(&partner);
    let (second, run) = plan_and_run(&database, "cen", "auto");
    assert_eq!(text(&run, "mode"), "incremental");
    assert!(
        text(&second[0], "detail").starts_with("incremental"),
        "{second:#?}"
    );
    assert_eq!((number(&run, "deleted"), number(&run, "inserted")), (5, 7));
    let updated = second
        .iter()
        .find(|row| text(row, "action") == "update" && text(row, "object") == "observation")
        .expect("updates");
    assert!(
        text(updated, "detail").contains("count_max (30)"),
        "{updated:?}"
    );
    assert!(
        text(updated, "samples").contains("\"count_max\": ["),
        "{updated:?}"
    );

    // Nothing has changed any more.
    let (third, _) = plan_and_run(&database, "cen", "full");
    assert_eq!(
        planned(&third, "insert", "observation") + planned(&third, "update", "observation"),
        0,
        "{third:#?}"
    );
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.slice")
            + database.number("SELECT count(*) FROM gn_harvest.missing"),
        0
    );
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.run_history WHERE mode = 'plan'"),
        0
    );
}

#[test]
fn of_a_reconciliation_it_counts_what_has_left_and_says_when_that_would_be_blocked() {
    let database = cluster().database();
    let partner = partner(400);
    add_source(&database, "cen", &partner, 3, "page_size => 100");
    run_well(&database, "cen", "auto");
    let ids = partner.ids();
    partner.hide(3, &ids[20..30]).expect("hidden");
    partner.delete(&ids[390..]);
    let (plan_of_few, _) = plan_and_run(&database, "cen", "reconcile");
    assert_eq!(planned(&plan_of_few, "delete", "observation"), 20);
    assert!(warnings(&plan_of_few).is_empty(), "{plan_of_few:#?}");

    partner.hide(3, &ids[..200]).expect("hidden");
    let before = everything(&database);
    let plan = plan(&database, "cen", "reconcile");
    assert_eq!(before, everything(&database));
    assert_eq!(planned(&plan, "delete", "observation"), 190);
    assert!(
        warnings(&plan)[0].starts_with(
            "the run would end as blocked: source \"cen\" no longer has 190 of the 380"
        ),
        "{plan:#?}"
    );
    assert_eq!(
        text(&run(&database, "cen", "reconcile"), "status"),
        "blocked"
    );
}

#[test]
fn records_that_meet_in_one_run_are_planned_as_they_are_written() {
    let cluster = fragile_cluster();
    let database = cluster.database();
    let partner = partner(500);
    // Which of two records is here in the end depends on which comes first: the same one in plan and run.
    add_source(
        &database,
        "cen",
        &partner,
        2,
        "page_size => 50, connections => 1",
    );
    run_well(&database, "cen", "auto");
    let ids = partner.ids();
    let uuid = |id: i64| partner.observation(id).expect("there")["id_perm_sinp"].clone();
    let with_uuid: Vec<i64> = ids
        .iter()
        .copied()
        .filter(|id| uuid(*id).is_string())
        .collect();
    let (first, last) = (with_uuid[3], with_uuid[with_uuid.len() - 3]);
    // Two new records of one UUID, far from each other; two known ones that exchange theirs; one that takes another's.
    let new = partner
        .insert(&json!({"id_perm_sinp": "6f2a1f9e-0000-4000-8000-000000000001"}))
        .expect("one");
    for _ in 0..200 {
        partner.insert(&json!({})).expect("some between");
    }
    partner
        .insert(&json!({"id_perm_sinp": "6f2a1f9e-0000-4000-8000-000000000001"}))
        .expect("another");
    let (a, b) = (with_uuid[10], with_uuid[with_uuid.len() - 10]);
    let (uuid_a, uuid_b) = (uuid(a), uuid(b));
    partner
        .update(a, &json!({"id_perm_sinp": uuid_b}))
        .expect("exchanged");
    partner
        .update(b, &json!({"id_perm_sinp": uuid_a}))
        .expect("exchanged");
    let taken = uuid(last);
    partner
        .update(first, &json!({"id_perm_sinp": taken}))
        .expect("taken");
    assert!(new > 0);
    plan_and_run(&database, "cen", "full");
    plan_and_run(&database, "cen", "reconcile");
}

#[test]
fn of_metadata_it_counts_what_a_separate_export_says_and_what_nobody_observed() {
    let database = cluster().database();
    let partner = partner(200);
    add_source_by_login(
        &database,
        "cen",
        &partner,
        1,
        ("moissonneur", "moissonneur"),
        "metadata_export_id => 4",
    );
    plan_and_run(&database, "cen", "auto");
    let framework = partner.metadata_truth()[1].clone();
    let uuid = framework["uuid"].as_str().expect("a framework").to_owned();
    partner
        .patch_framework(&uuid, &json!({"name": "Un cadre renommé"}))
        .expect("changed");
    let (plan, run) = plan_and_run(&database, "cen", "auto");
    assert_eq!(planned(&plan, "update", "framework"), 1, "{plan:#?}");
    assert_eq!(number(&run, "updated"), 0);
}

#[test]
fn what_was_mapped_moves_in_the_plan_and_what_waited_is_replayed() {
    let database = cluster().database();
    let partner = partner(300);
    let other = partner_with(geonature_simulator::Config {
        observations: 60,
        seed: 7,
        ..Default::default()
    });
    add_source(&database, "other", &other, 2, "");
    run_well(&database, "other", "auto");
    let local = database.value("SELECT min(unique_dataset_id::text) FROM gn_meta.t_datasets");

    add_source(&database, "cen", &partner, 2, "metadata_mode => 'mapped'");
    let (first, run) = plan_and_run(&database, "cen", "auto");
    assert_eq!(number(&run, "inserted"), 0, "{first:#?}");
    let mapped = database.value(
        "SELECT value FROM gn_harvest.rejected_record WHERE reason = 'unmapped_dataset' GROUP BY value ORDER BY count(*) DESC, value LIMIT 1",
    );
    database.run(&format!(
        "SELECT gn_harvest.map_dataset('cen', '{mapped}', '{local}')"
    ));
    let (_, run) = plan_and_run(&database, "cen", "auto");
    assert!(number(&run, "inserted") > 0, "what waited: {run:#?}");
    let another = database.value("SELECT max(unique_dataset_id::text) FROM gn_meta.t_datasets");
    assert_ne!(local, another);
    database.run(&format!(
        "SELECT gn_harvest.map_dataset('cen', '{mapped}', '{another}')"
    ));
    let (moving, run) = plan_and_run(&database, "cen", "auto");
    assert!(number(&run, "updated") > 0, "what moved: {moving:#?}");
    plan_and_run(&database, "cen", "full");
}

#[test]
fn an_interrupted_run_is_planned_as_it_would_go_on_and_can_still_be_taken_up() {
    let cluster = fragile_cluster();
    let database = cluster.database();
    let partner = partner(1500);
    add_source(
        &database,
        "cen",
        &partner,
        2,
        "page_size => 100, connections => 1",
    );
    let broken = start_and_hang(&database, "cen", &partner, 6);
    database.run(&format!("SELECT gn_harvest.cancel({broken})"));
    ended(&database, broken);
    partner.clear_faults();
    let (plan, run) = plan_and_run(&database, "cen", "auto");
    assert_eq!(
        text(&plan[0], "detail"),
        "full: what an interrupted run has left to read"
    );
    assert_eq!(number(&run, "resumes"), broken);
    assert_complete(&database, "cen", &partner);
}

#[test]
fn a_source_that_comes_back_is_planned_with_the_rows_that_it_left() {
    let database = cluster().database();
    let partner = partner(150);
    add_source(&database, "cen", &partner, 2, "");
    run_well(&database, "cen", "auto");
    database.run("SELECT gn_harvest.drop_source('cen')");
    add_source(&database, "cen", &partner, 2, "");
    let ids = partner.ids();
    partner.delete(&ids[..3]);
    let (plan, _) = plan_and_run(&database, "cen", "reconcile");
    assert_eq!(
        (
            planned(&plan, "insert", "observation"),
            planned(&plan, "delete", "observation")
        ),
        (0, 3),
        "{plan:#?}"
    );
}

#[test]
fn a_plan_that_fails_says_why_and_leaves_nothing() {
    let database = cluster().database();
    let partner = partner(50);
    add_source(&database, "cen", &partner, 2, "retry_budget => 0");
    let refused = database.error("SELECT * FROM gn_harvest.plan('cen', 'never')");
    assert!(
        refused.starts_with("22023") && refused.contains("HINT"),
        "{refused}"
    );
    let unknown = database.error("SELECT * FROM gn_harvest.plan('nobody')");
    assert!(unknown.starts_with("42704"), "{unknown}");
    let early = database.error("SELECT * FROM gn_harvest.plan('cen', 'incremental')");
    assert!(
        early.starts_with("55000") && early.contains("has no watermark"),
        "{early}"
    );

    partner.add_fault(Rule::always(
        Route::Export,
        Fault::Status {
            status: 500,
            retry_after: None,
            retry_after_date: None,
            json: true,
        },
    ));
    let before = everything(&database);
    let failed = database.error("SELECT * FROM gn_harvest.plan('cen')");
    assert!(
        failed.starts_with("38000") && failed.contains("could not be planned"),
        "{failed}"
    );
    assert_eq!(before, everything(&database));
    assert_eq!(
        database.number("SELECT consecutive_failures FROM gn_harvest.source_status"),
        0
    );

    partner.clear_faults();
    database.run("SELECT gn_harvest.pause_source('cen')");
    assert_eq!(
        planned(&plan(&database, "cen", "auto"), "insert", "observation"),
        50,
        "a paused source can be planned"
    );
}

#[test]
fn of_records_it_is_what_the_run_does_in_a_database_without_geonature() {
    let database = crate::records::plain();
    let partner = partner(700);
    add_source_by_login(
        &database,
        "cen",
        &partner,
        2,
        ("moissonneur", "moissonneur"),
        "target => 'records', page_size => 100",
    );
    let before = stored(&database);
    let first = plan(&database, "cen", "auto");
    assert_eq!(before, stored(&database), "a plan writes nothing");
    assert_eq!(planned(&first, "insert", "record"), 700, "{first:#?}");
    run_well(&database, "cen", "auto");

    change(&partner);
    let ids = partner.ids();
    partner.tamper(ids[3], "id_synthese", Some("null"));
    for mode in ["auto", "reconcile", "full"] {
        let before = stored(&database);
        let plan = plan(&database, "cen", mode);
        assert_eq!(before, stored(&database), "a plan writes nothing");
        let run = run_well(&database, "cen", mode);
        for (action, _, column) in COUNTS.iter().filter(|(_, object, _)| object.is_empty()) {
            assert_eq!(
                planned(&plan, action, "record"),
                number(&run, column),
                "{mode} {action}\n{plan:#?}\n{run:#?}"
            );
        }
    }
}

fn stored(database: &Database) -> String {
    database.value(
        "SELECT md5(string_agg(t, '' ORDER BY t)) FROM (
             SELECT r::text FROM gn_harvest.record r UNION ALL SELECT h::text FROM gn_harvest.harvested h
             UNION ALL SELECT j::text FROM gn_harvest.rejected j UNION ALL SELECT st::text FROM gn_harvest.source_state st
             UNION ALL SELECT m::text FROM gn_harvest.missing m UNION ALL SELECT sl::text FROM gn_harvest.slice sl) all_rows(t)",
    )
}
