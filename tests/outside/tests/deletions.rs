//! What disappears at the source disappears here, safely.

use geonature_simulator::Simulator;
use gn_harvest_outside::Database;

use crate::support::*;

/// Connects a source by login, which opens the log of deletions.
fn add_source_by_login(
    database: &Database,
    name: &str,
    partner: &Simulator,
    export: u32,
    options: &str,
) {
    let options = if options.is_empty() {
        String::new()
    } else {
        format!(", {options}")
    };
    database.run(&format!(
        "SELECT gn_harvest.add_source('{name}', '{}', {export}, login => 'moissonneur', password => 'moissonneur'{options})",
        partner.url()
    ));
}

fn held(database: &Database) -> i64 {
    database.number("SELECT count(*) FROM gn_synthese.synthese")
}

#[test]
fn the_log_of_deletions_is_applied_by_an_incremental_run_even_when_all_share_one_date() {
    let database = cluster().database();
    let partner = partner(4000);
    add_source_by_login(&database, "cen", &partner, 2, "max_loss => 80");
    run_well(&database, "cen", "auto");
    let gone: Vec<i64> = partner.ids().into_iter().take(3000).collect();
    assert_eq!(partner.delete(&gone), 3000);

    let second = run_well(&database, "cen", "auto");
    assert_eq!(
        (text(&second, "mode"), number(&second, "deleted")),
        ("incremental", 3000)
    );
    assert_eq!(held(&database), 1000);
    let run = text(&second, "run");
    let buried = format!(
        "SELECT count(*) FROM gn_harvest.harvested WHERE deleted_run = {run} AND deleted_at IS NOT NULL AND id_synthese IS NULL"
    );
    assert_eq!(database.number(&buried), 3000);
    assert_eq!(
        database.number("SELECT count(*) FROM gn_synthese.t_log_synthese WHERE last_action = 'D'"),
        3000
    );
    assert_eq!(
        database.number("SELECT observations FROM gn_harvest.source_status"),
        1000
    );

    let third = run_well(&database, "cen", "auto");
    assert_eq!(
        number(&third, "deleted"),
        0,
        "what is gone is not deleted twice"
    );
}

#[test]
fn a_full_run_applies_the_log_and_leaves_what_only_left_the_view() {
    let database = cluster().database();
    let partner = partner(600);
    add_source_by_login(&database, "cen", &partner, 2, "");
    run_well(&database, "cen", "full");
    let ids = partner.ids();
    partner.delete(&ids[..5]);
    partner.hide(2, &ids[10..13]).expect("hidden");
    let full = run_well(&database, "cen", "full");
    assert_eq!(number(&full, "deleted"), 5);
    assert_eq!(held(&database), 595);

    let reconcile = run_well(&database, "cen", "reconcile");
    assert_eq!(
        (text(&reconcile, "mode"), number(&reconcile, "deleted")),
        ("reconcile", 3)
    );
    assert_eq!(held(&database), 592);
}

#[test]
fn reconcile_finds_what_a_token_is_not_told_also_at_both_ends() {
    let database = cluster().database();
    let partner = partner(1200);
    add_source(&database, "cen", &partner, 3, "page_size => 100");
    run_well(&database, "cen", "auto");
    let ids = partner.ids();
    let gone = [&ids[..10], &ids[500..520], &ids[1190..]].concat();
    partner.delete(&gone);
    let incremental = run_well(&database, "cen", "auto");
    assert_eq!(
        (number(&incremental, "deleted"), held(&database)),
        (0, 1200)
    );

    let reconcile = run_well(&database, "cen", "reconcile");
    assert_eq!((number(&reconcile, "deleted"), held(&database)), (40, 1160));
    let left = database.number(&format!(
        "SELECT count(*) FROM gn_synthese.synthese WHERE entity_source_pk_value IN ({})",
        gone.iter()
            .map(|id| format!("'{id}'"))
            .collect::<Vec<_>>()
            .join(",")
    ));
    assert_eq!(left, 0);
}

#[test]
fn reconcile_works_without_numeric_keys() {
    let database = cluster().database();
    let partner = partner(500);
    partner.add_column(9, "cd_nom", None).expect("a column");
    add_source(&database, "cen", &partner, 9, "page_size => 100");
    let first = run_well(&database, "cen", "full");
    let before = held(&database);
    assert_eq!(number(&first, "inserted"), before);
    let with_uuid: Vec<i64> = partner
        .truth()
        .iter()
        .filter(|row| row["id_perm_sinp"].is_string())
        .filter_map(|row| row["id_synthese"].as_i64())
        .collect();
    partner.delete(&with_uuid[100..120]);
    let reconcile = run_well(&database, "cen", "reconcile");
    assert_eq!(
        (number(&reconcile, "deleted"), held(&database)),
        (20, before - 20)
    );
    assert_eq!(database.number("SELECT count(*) FROM gn_harvest.seen"), 0);
}

#[test]
fn a_source_that_serves_half_of_its_records_is_blocked_and_nothing_is_deleted() {
    let database = cluster().database();
    let partner = partner(800);
    add_source(&database, "cen", &partner, 2, "");
    run_well(&database, "cen", "auto");
    let ids = partner.ids();
    partner.hide(2, &ids[..400]).expect("hidden");
    partner
        .update(
            ids[700],
            &serde_json::json!({"nombre_min": 5, "nombre_max": 9}),
        )
        .expect("a change");

    let blocked = run(&database, "cen", "reconcile");
    assert_eq!(text(&blocked, "status"), "blocked");
    assert!(
        text(&blocked, "error_message").contains("400 of the 800"),
        "{blocked:#?}"
    );
    assert!(
        text(&blocked, "error_hint").contains("allow_loss => true"),
        "{blocked:#?}"
    );
    assert_eq!((held(&database), number(&blocked, "deleted")), (800, 0));
    assert_eq!(
        number(&blocked, "updated"),
        1,
        "what has changed is written all the same"
    );

    // The partner mends its view: nothing remembered of the bad day may delete.
    partner.show(2, &ids[..400]).expect("shown");
    let mended = run_well(&database, "cen", "reconcile");
    assert_eq!((number(&mended, "deleted"), held(&database)), (0, 800));

    partner.hide(2, &ids[..400]).expect("hidden");
    let allowed =
        database.row("SELECT * FROM gn_harvest.run('cen', 'reconcile', allow_loss => true)");
    assert_eq!(
        (text(&allowed, "status"), number(&allowed, "deleted")),
        ("succeeded", 400)
    );
    assert_eq!(held(&database), 400);
    assert_eq!(
        run(&database, "cen", "reconcile")["status"].as_deref(),
        Some("succeeded"),
        "allow_loss is for once"
    );
}

#[test]
fn growth_by_ten_times_passes() {
    let database = cluster().database();
    let partner = partner(100);
    add_source(&database, "cen", &partner, 2, "");
    run_well(&database, "cen", "auto");
    for _ in 0..900 {
        partner
            .insert(&serde_json::json!({}))
            .expect("an observation");
    }
    let second = run_well(&database, "cen", "reconcile");
    assert_eq!((number(&second, "inserted"), held(&database)), (900, 1000));
}

#[test]
fn an_observation_that_comes_back_is_inserted_again() {
    let database = cluster().database();
    let partner = partner(300);
    add_source(&database, "cen", &partner, 2, "");
    run_well(&database, "cen", "auto");
    let ids = partner.ids();
    partner.hide(2, &ids[5..10]).expect("hidden");
    run_well(&database, "cen", "reconcile");
    assert_eq!(held(&database), 295);
    partner.show(2, &ids[5..10]).expect("shown");
    let back = run_well(&database, "cen", "full");
    assert_eq!((number(&back, "inserted"), held(&database)), (5, 300));
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.harvested WHERE deleted_at IS NOT NULL"),
        0
    );
}

#[test]
fn a_record_that_is_rejected_is_not_taken_for_missing() {
    let database = cluster().database();
    let partner = partner(200);
    add_source(&database, "cen", &partner, 2, "");
    run_well(&database, "cen", "auto");
    let id = partner.ids()[50];
    partner.tamper(id, "date_debut", Some("\"not a date\""));
    let reconcile = run_well(&database, "cen", "reconcile");
    assert_eq!(
        (
            number(&reconcile, "deleted"),
            number(&reconcile, "rejected")
        ),
        (0, 1)
    );
    assert_eq!(held(&database), 200);
}

#[test]
fn a_row_that_something_local_needs_stays_and_is_said() {
    let database = cluster().database();
    let partner = partner(120);
    add_source(&database, "cen", &partner, 2, "");
    run_well(&database, "cen", "auto");
    let ids = partner.ids();
    database.run(&format!(
        "CREATE TABLE public.local_note (id_synthese integer REFERENCES gn_synthese.synthese);
         INSERT INTO public.local_note SELECT id_synthese FROM gn_synthese.synthese WHERE entity_source_pk_value = '{}'",
        ids[3]
    ));
    partner.delete(&ids[..5]);
    let reconcile = run_well(&database, "cen", "reconcile");
    assert_eq!((number(&reconcile, "deleted"), held(&database)), (4, 116));
    assert!(
        text(&reconcile, "warnings").contains("could not be deleted"),
        "{reconcile:#?}"
    );
}

#[test]
fn drop_source_with_its_data_removes_all_of_it_and_nothing_else() {
    let database = cluster().database();
    let (one, other) = (
        partner(700),
        partner_with(geonature_simulator::Config {
            observations: 300,
            seed: 9,
            ..Default::default()
        }),
    );
    add_source(&database, "one", &one, 2, "");
    add_source(&database, "other", &other, 2, "");
    run_well(&database, "one", "auto");
    run_well(&database, "other", "auto");
    database.run("SELECT gn_harvest.drop_source('one', delete_data => true)");
    assert_eq!(held(&database), 300);
    assert_eq!(database.value("SELECT string_agg(name_source, ',') FROM gn_synthese.t_sources WHERE desc_source LIKE 'gn_harvest%'"), "other");
    assert_eq!(
        database.value("SELECT string_agg(source, ',') FROM gn_harvest.source_status"),
        "other"
    );
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.harvested"),
        300
    );
    let trace = database
        .row("SELECT mode, status, deleted FROM gn_harvest.run_history ORDER BY run DESC LIMIT 1");
    assert_eq!(
        (
            text(&trace, "mode"),
            text(&trace, "status"),
            number(&trace, "deleted")
        ),
        ("drop", "succeeded", 700)
    );
}

#[test]
fn drop_source_stays_when_a_row_can_not_go() {
    let database = cluster().database();
    let partner = partner(50);
    add_source(&database, "cen", &partner, 2, "");
    run_well(&database, "cen", "auto");
    database.run(
        "CREATE TABLE public.local_note (id_synthese integer REFERENCES gn_synthese.synthese);
         INSERT INTO public.local_note SELECT min(id_synthese) FROM gn_synthese.synthese",
    );
    let error = database.error("SELECT gn_harvest.drop_source('cen', delete_data => true)");
    assert!(
        error.contains("49 observations were deleted, 1 are left"),
        "{error}"
    );
    database.run("DROP TABLE public.local_note");
    database.run("SELECT gn_harvest.drop_source('cen', delete_data => true)");
    assert_eq!(
        (
            held(&database),
            database.number("SELECT count(*) FROM gn_harvest.source")
        ),
        (0, 0)
    );
}
