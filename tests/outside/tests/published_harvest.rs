//! A collector that is given a token of a published export has all that it shows, and follows it.

use std::collections::BTreeSet;

use serde_json::json;

use crate::published::*;
use crate::support::*;

#[test]
fn a_collector_with_a_token_only_has_every_column_and_all_metadata_of_the_source() {
    let partner = Partner::new(400);
    let handed_over = partner.publish("cen", "roles => '{admin}'").remove(0);
    let server = partner.serve();
    let collector = cluster().database();
    connect(&collector, &handed_over, &server);
    let checks = collector.rows("SELECT * FROM gn_harvest.check_source('cen')");
    assert!(
        checks
            .iter()
            .all(|row| text(row, "status") == "ok" || text(row, "check") == "tls"),
        "{checks:#?}"
    );
    let first = run_well(&collector, "cen", "auto");
    assert_eq!(
        (
            number(&first, "inserted"),
            number(&first, "rejected"),
            text(&first, "warnings")
        ),
        (400, 0, "{}"),
        "{first:#?}"
    );
    assert_observations_equal(&partner, VIEW, &collector, "cen");
    assert_metadata_equal(&partner, &collector);
    // Said in so many words it is the same.
    let call = text(&handed_over, "add_source").replace(
        "'https://geonature.example.org'",
        &format!("'{}'", server.url()),
    );
    let other = cluster().database();
    other.run(&call);
    run_well(&other, "cen", "full");
    assert_observations_equal(&partner, VIEW, &other, "cen");
    assert_metadata_equal(&partner, &other);
}

#[test]
fn changes_deletions_and_what_leaves_reach_a_collector_by_increments() {
    let partner = Partner::new(400);
    let database = &partner.database;
    let datasets = database.value("SELECT array_agg(unique_dataset_id) FROM gn_meta.t_datasets WHERE id_dataset <> (SELECT max(id_dataset) FROM gn_synthese.synthese)");
    let handed_over = partner
        .publish("cen", &format!("datasets => '{datasets}', sensitivity_max => '2', date_min => '1990-01-01', roles => '{{admin}}'"))
        .remove(0);
    let server = partner.serve();
    let collector = cluster().database();
    connect(&collector, &handed_over, &server);
    run_well(&collector, "cen", "auto");
    assert_observations_equal(&partner, VIEW, &collector, "cen");

    let shown = partner.keys(VIEW);
    let hidden = database.value(&format!(
        "SELECT min(id_synthese) FROM gn_synthese.synthese WHERE id_synthese NOT IN ({})",
        shown.join(",")
    ));
    let [changed, deleted, moved, sensitive, aged, there_and_back] =
        [0, 1, 2, 3, 4, 5].map(|n| shown[n].as_str());
    let other = "(SELECT max(id_dataset) FROM gn_meta.t_datasets)";
    let entering = database.value(&format!("SELECT min(id_synthese) FROM gn_synthese.synthese WHERE id_dataset = {other} AND id_synthese <> {hidden} AND id_nomenclature_sensitivity = ref_nomenclatures.get_id_nomenclature('SENSIBILITE', '0')"));
    database.run(&format!(
        "UPDATE gn_synthese.synthese SET comment_description = 'Modifiée' WHERE id_synthese = {changed};
         DELETE FROM gn_synthese.synthese WHERE id_synthese IN ({deleted}, {hidden});
         UPDATE gn_synthese.synthese SET id_dataset = {other} WHERE id_synthese = {moved};
         UPDATE gn_synthese.synthese SET id_nomenclature_sensitivity = ref_nomenclatures.get_id_nomenclature('SENSIBILITE', '4') WHERE id_synthese = {sensitive};
         UPDATE gn_synthese.synthese SET date_min = '1980-01-01' WHERE id_synthese = {aged};
         UPDATE gn_synthese.synthese SET id_dataset = {other} WHERE id_synthese = {there_and_back}"
    ));
    database.run(&format!(
        "UPDATE gn_synthese.synthese SET id_dataset = (SELECT min(id_dataset) FROM gn_meta.t_datasets) WHERE id_synthese IN ({there_and_back}, {entering})"
    ));
    // What was not published is not told to be gone, nor what came back.
    let expected: BTreeSet<&str> = [deleted, moved, sensitive, aged].into();
    let told = partner.keys("gn_exports.v_cen_deletions");
    assert_eq!(
        told.iter().map(String::as_str).collect::<BTreeSet<_>>(),
        expected
    );

    let second = run_well(&collector, "cen", "auto");
    assert_eq!(
        (
            text(&second, "mode"),
            number(&second, "deleted"),
            number(&second, "inserted")
        ),
        ("incremental", 4, 1),
        "{second:#?}"
    );
    assert_observations_equal(&partner, VIEW, &collector, "cen");
    // It comes back: it is there again, and no longer told.
    database.run(&format!(
        "UPDATE gn_synthese.synthese SET date_min = '1995-01-01' WHERE id_synthese = {aged}"
    ));
    assert!(
        !partner
            .keys("gn_exports.v_cen_deletions")
            .contains(&aged.to_owned())
    );
    let third = run_well(&collector, "cen", "auto");
    assert_eq!(
        (number(&third, "deleted"), number(&third, "inserted")),
        (0, 1),
        "{third:#?}"
    );
    assert_observations_equal(&partner, VIEW, &collector, "cen");
    // Many at once: the loss guard holds for them as well.
    database.run(&format!(
        "UPDATE gn_synthese.synthese SET id_dataset = {other} WHERE id_synthese <> {changed}"
    ));
    let blocked = run(&collector, "cen", "auto");
    assert_eq!(
        (text(&blocked, "status"), number(&blocked, "deleted")),
        ("blocked", 0),
        "{blocked:#?}"
    );
    collector.run("SELECT gn_harvest.alter_source('cen', max_loss => 100)");
    run_well(&collector, "cen", "auto");
    assert_observations_equal(&partner, VIEW, &collector, "cen");
    assert_eq!(
        collector.number("SELECT count(*) FROM gn_synthese.synthese"),
        1
    );
}

#[test]
fn a_dataset_that_goes_to_another_framework_takes_its_observations_with_it() {
    let partner = Partner::new(300);
    let database = &partner.database;
    let framework = "(SELECT id_acquisition_framework FROM gn_meta.t_datasets WHERE id_dataset = (SELECT min(id_dataset) FROM gn_synthese.synthese))";
    let uuid = database.value(&format!("SELECT unique_acquisition_framework_id FROM gn_meta.t_acquisition_frameworks WHERE id_acquisition_framework = {framework}"));
    let handed_over = partner
        .publish(
            "cen",
            &format!("frameworks => '{{{uuid}}}', roles => '{{admin}}'"),
        )
        .remove(0);
    let server = partner.serve();
    let collector = cluster().database();
    connect(&collector, &handed_over, &server);
    run_well(&collector, "cen", "auto");
    assert_observations_equal(&partner, VIEW, &collector, "cen");
    let (inside, outside) = (
        database.value(&format!("SELECT max(id_dataset) FROM gn_meta.t_datasets WHERE id_acquisition_framework = {framework}")),
        database.value(&format!("SELECT max(id_dataset) FROM gn_meta.t_datasets WHERE id_acquisition_framework <> {framework} AND id_dataset IN (SELECT id_dataset FROM gn_synthese.synthese)")),
    );
    let before = partner.keys(VIEW).len();
    let away = database.value(&format!(
        "SELECT id_acquisition_framework FROM gn_meta.t_datasets WHERE id_dataset = {outside}"
    ));
    let here = database.value(&format!("SELECT {framework}"));
    database.run(&format!("UPDATE gn_meta.t_datasets SET id_acquisition_framework = {away} WHERE id_dataset = {inside}"));
    assert!(partner.keys(VIEW).len() < before);
    let gone = partner.keys("gn_exports.v_cen_deletions").len();
    assert_eq!(gone, before - partner.keys(VIEW).len());
    collector.run("SELECT gn_harvest.alter_source('cen', max_loss => 90)");
    let second = run_well(&collector, "cen", "auto");
    assert_eq!(
        (text(&second, "mode"), number(&second, "deleted")),
        ("incremental", gone as i64),
        "{second:#?}"
    );
    assert_observations_equal(&partner, VIEW, &collector, "cen");
    // What comes in bears no new date: the collector is told to read everything, once.
    database.run(&format!("UPDATE gn_meta.t_datasets SET id_acquisition_framework = {here} WHERE id_dataset = {outside}"));
    let third = run_well(&collector, "cen", "auto");
    assert_eq!(text(&third, "mode"), "reconcile", "{third:#?}");
    assert!(
        text(&third, "warnings").contains("changed what it publishes"),
        "{third:#?}"
    );
    assert!(number(&third, "inserted") > 0);
    assert_observations_equal(&partner, VIEW, &collector, "cen");
    assert_eq!(
        text(&run_well(&collector, "cen", "auto"), "mode"),
        "incremental"
    );
    // A dataset without observations comes in unnoticed, and what is then entered in it is an increment.
    database.run(&format!(
        "INSERT INTO gn_meta.t_datasets (id_acquisition_framework, dataset_name, dataset_shortname, dataset_desc, marine_domain, terrestrial_domain) VALUES ({here}, 'Neuf', 'Neuf', 'Neuf', false, true);
         UPDATE gn_synthese.synthese SET id_dataset = (SELECT max(id_dataset) FROM gn_meta.t_datasets) WHERE id_synthese = (SELECT max(id_synthese) FROM gn_synthese.synthese)"
    ));
    assert_eq!(
        text(&run_well(&collector, "cen", "auto"), "mode"),
        "incremental"
    );
    assert_observations_equal(&partner, VIEW, &collector, "cen");
}

#[test]
fn options_can_change_and_exports_tokens_and_collectors_stay() {
    let partner = Partner::new(300);
    let database = &partner.database;
    let first = partner.publish("cen", "roles => '{admin,valide}'");
    assert_eq!(first.len(), 2);
    let server = partner.serve();
    let collector = cluster().database();
    connect(&collector, &first[0], &server);
    run_well(&collector, "cen", "auto");
    // The same again changes nothing for anybody.
    assert_eq!(partner.publish("cen", ""), first);
    assert_eq!(
        text(&run_well(&collector, "cen", "auto"), "mode"),
        "incremental"
    );
    let dataset = database.value("SELECT unique_dataset_id FROM gn_meta.t_datasets WHERE id_dataset = (SELECT max(id_dataset) FROM gn_synthese.synthese)");
    let second = partner.publish("cen", &format!("datasets => ARRAY(SELECT unique_dataset_id FROM gn_meta.t_datasets WHERE unique_dataset_id <> '{dataset}'), personal_data => false"));
    assert_eq!(second, first);
    let gone = database.number(&format!("SELECT count(*) FROM gn_synthese.synthese WHERE id_dataset = (SELECT id_dataset FROM gn_meta.t_datasets WHERE unique_dataset_id = '{dataset}')"));
    assert!(gone > 0);
    assert_eq!(
        partner.keys("gn_exports.v_cen_deletions").len() as i64,
        gone
    );
    collector.run("SELECT gn_harvest.alter_source('cen', max_loss => 90)");
    let run = run_well(&collector, "cen", "auto");
    assert_eq!(
        (text(&run, "mode"), number(&run, "deleted")),
        ("reconcile", gone),
        "{run:#?}"
    );
    assert_eq!(collector.number("SELECT count(observers) + count(determiner) + count(validator) FROM gn_synthese.synthese"), 0, "names are gone");
    // Everything again, and one role less.
    let third = partner.publish("cen", "roles => '{admin}'");
    assert_eq!(third, first[..1]);
    run_well(&collector, "cen", "auto");
    assert_observations_equal(&partner, VIEW, &collector, "cen");
    assert!(partner.keys("gn_exports.v_cen_deletions").is_empty());
}

#[test]
fn what_could_not_be_asked_for_is_asked_for_again() {
    let partner = Partner::new(200);
    let database = &partner.database;
    let handed_over = partner.publish("cen", "roles => '{admin}'").remove(0);
    let server = partner.serve();
    let collector = cluster().database();
    connect(&collector, &handed_over, &server);
    run_well(&collector, "cen", "auto");
    // The token no longer opens the third export, while an observation is deleted.
    let deletions = text(&handed_over, "deletions_export");
    database.run(&format!(
        "CREATE TABLE public.kept AS SELECT * FROM gn_exports.cor_exports_roles WHERE id_export = {deletions};
         DELETE FROM gn_exports.cor_exports_roles WHERE id_export = {deletions};
         DELETE FROM gn_synthese.synthese WHERE id_synthese = (SELECT min(id_synthese) FROM gn_synthese.synthese)"
    ));
    let second = run_well(&collector, "cen", "auto");
    assert_eq!(number(&second, "deleted"), 0);
    assert!(
        text(&second, "warnings").contains("deletions could not be asked for"),
        "{second:#?}"
    );
    database.run("INSERT INTO gn_exports.cor_exports_roles SELECT * FROM public.kept");
    let third = run_well(&collector, "cen", "auto");
    assert_eq!(
        (number(&third, "deleted"), text(&third, "warnings")),
        (1, "{}"),
        "{third:#?}"
    );
    assert_observations_equal(&partner, VIEW, &collector, "cen");
    // An export of something else is none of deletions.
    collector.run(&format!(
        "SELECT gn_harvest.alter_source('cen', deletion_export_id => {})",
        text(&handed_over, "metadata_export")
    ));
    let checks = collector
        .rows("SELECT * FROM gn_harvest.check_source('cen') WHERE \"check\" = 'deletions'");
    assert_eq!(text(&checks[0], "status"), "error", "{checks:#?}");
    collector.run("SELECT gn_harvest.alter_source('cen', clear => '{deletion_export_id}')");
    let checks = collector
        .rows("SELECT * FROM gn_harvest.check_source('cen') WHERE \"check\" = 'deletions'");
    assert_eq!(text(&checks[0], "status"), "ok", "{checks:#?}");
}

#[test]
fn a_column_that_only_looks_like_the_marker_harms_nothing() {
    let database = cluster().database();
    for (n, value) in [
        json!("metadata=0;deletions=-3;selection=x;;="),
        json!("n'importe quoi"),
        json!("deletions=99999999999"),
        json!(""),
    ]
    .into_iter()
    .enumerate()
    {
        let partner = partner(20);
        partner
            .add_column(3, "gn_harvest", Some((&value, "text")))
            .expect("a column");
        add_source(
            &database,
            &format!("s{n}"),
            &partner,
            3,
            "on_uuid_conflict => 'take_over'",
        );
        for mode in ["full", "auto"] {
            let run = run_well(&database, &format!("s{n}"), mode);
            assert_eq!(text(&run, "warnings"), "{}", "{value}: {run:#?}");
        }
    }
}
