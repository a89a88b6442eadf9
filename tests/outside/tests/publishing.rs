//! The partner's side: publish_export in a GeoNature, its exports served by the query classes of the export module, and
//! a collector that is given a token.

use std::collections::BTreeSet;

use gn_harvest_outside::{describe, rows};

use crate::people::*;
use crate::published::*;
use crate::support::*;

const VIEW: &str = "gn_exports.v_cen_observations";

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

/// A filter, and the observations that it lets through by another way of saying it.
const FILTERS: &[(&str, &str)] = &[
    (
        "datasets => ARRAY(SELECT unique_dataset_id FROM gn_meta.t_datasets WHERE id_dataset % 2 = 0)",
        "s.id_dataset % 2 = 0",
    ),
    (
        "frameworks => ARRAY(SELECT unique_acquisition_framework_id FROM gn_meta.t_acquisition_frameworks WHERE id_acquisition_framework % 2 = 1)",
        "(SELECT id_acquisition_framework FROM gn_meta.t_datasets d WHERE d.id_dataset = s.id_dataset) % 2 = 1",
    ),
    (
        "organisms => ARRAY(SELECT uuid_organisme FROM utilisateurs.bib_organismes JOIN gn_meta.cor_dataset_actor ON id_organism = id_organisme ORDER BY id_cda LIMIT 1)",
        "s.id_dataset IN (SELECT id_dataset FROM gn_meta.cor_dataset_actor WHERE id_organism = (SELECT id_organism FROM gn_meta.cor_dataset_actor WHERE id_organism IS NOT NULL ORDER BY id_cda LIMIT 1))",
    ),
    (
        "areas => '{DEP/05}'",
        "EXISTS (SELECT FROM ref_geo.l_areas a JOIN ref_geo.bib_areas_types t USING (id_type) WHERE type_code = 'DEP' AND area_code = '05' AND ST_Intersects(a.geom, s.the_geom_local))",
    ),
    (
        "taxa => ARRAY(SELECT cd_sup FROM taxonomie.taxref WHERE cd_sup IS NOT NULL)",
        "(SELECT cd_ref FROM taxonomie.taxref t WHERE t.cd_nom = s.cd_nom) IN (SELECT u.cd_ref FROM taxonomie.taxref u JOIN taxonomie.taxref v ON v.cd_sup = u.cd_nom UNION SELECT v.cd_ref FROM taxonomie.taxref v WHERE v.cd_sup IS NOT NULL)",
    ),
    (
        "date_min => '2012-01-01', date_max => '2016-06-30'",
        "s.date_min >= '2012-01-01' AND s.date_max::date <= '2016-06-30'",
    ),
    (
        "sensitivity_max => '0'",
        "ref_nomenclatures.get_cd_nomenclature(s.id_nomenclature_sensitivity) = '0'",
    ),
    (
        "diffusion_levels => '{5,NULL}'",
        "coalesce(ref_nomenclatures.get_cd_nomenclature(s.id_nomenclature_diffusion_level), '5') = '5'",
    ),
    (
        "diffusion_levels => '{0,5}'",
        "ref_nomenclatures.get_cd_nomenclature(s.id_nomenclature_diffusion_level) IN ('0', '5')",
    ),
    (
        "sensitivity_max => '2', date_min => '2010-01-01', datasets => ARRAY(SELECT unique_dataset_id FROM gn_meta.t_datasets WHERE id_dataset % 2 = 1)",
        "s.id_dataset % 2 = 1 AND s.date_min >= '2010-01-01' AND ref_nomenclatures.get_cd_nomenclature(s.id_nomenclature_sensitivity) <= '2'",
    ),
];

#[test]
fn a_filter_shows_what_it_says_and_nothing_beyond_neither_there_nor_gone() {
    let partner = Partner::new(600);
    let database = &partner.database;
    database.run(
        "UPDATE gn_synthese.synthese SET id_nomenclature_sensitivity = ref_nomenclatures.get_id_nomenclature('SENSIBILITE', (id_synthese % 5)::text),
                id_nomenclature_diffusion_level = ref_nomenclatures.get_id_nomenclature('NIV_PRECIS', nullif(id_synthese % 7, 6)::text)",
    );
    let found: Vec<BTreeSet<String>> = FILTERS
        .iter()
        .enumerate()
        .map(|(n, (options, condition))| {
            partner.publish(&format!("f{n}"), options);
            let shown: BTreeSet<String> = partner.keys(&format!("gn_exports.v_f{n}_observations")).into_iter().collect();
            let expected: BTreeSet<String> = database
                .rows(&format!("SELECT id_synthese::text AS key FROM gn_synthese.synthese s WHERE {condition}"))
                .iter()
                .map(|row| text(row, "key").to_owned())
                .collect();
            assert_eq!(shown, expected, "{options}");
            assert!(!shown.is_empty() && shown.len() < 600, "{options} tells {} apart", shown.len());
            // Metadata: of what is shown, and the parents of its frameworks.
            let told = |what: &str| database.value(&format!("SELECT string_agg(x, ' ' ORDER BY x) FROM ({what}) t(x)"));
            assert_eq!(
                told(&format!("SELECT DISTINCT d ->> 'uuid' FROM gn_exports.v_f{n}_metadata, json_array_elements(datasets) d")),
                told(&format!("SELECT DISTINCT jdd_uuid::text FROM gn_exports.v_f{n}_observations")),
                "{options}"
            );
            shown
        })
        .collect();
    database.run("DELETE FROM gn_synthese.synthese");
    for (n, (options, _)) in FILTERS.iter().enumerate() {
        let gone: BTreeSet<String> = partner
            .keys(&format!("gn_exports.v_f{n}_deletions"))
            .into_iter()
            .collect();
        assert_eq!(gone, found[n], "{options}");
    }
}

#[test]
fn what_leaves_an_area_is_told_whether_it_or_the_area_moves() {
    let partner = Partner::new(400);
    let database = &partner.database;
    partner.publish("cen", "areas => '{DEP/05}'");
    let shown = partner.keys(VIEW);
    let one = &shown[0];
    database.run(&format!(
        "UPDATE gn_synthese.synthese SET the_geom_local = ST_SetSRID(ST_MakePoint(0, 0), 2154), the_geom_4326 = ST_Transform(ST_SetSRID(ST_MakePoint(0, 0), 2154), 4326) WHERE id_synthese = {one}"
    ));
    assert_eq!(partner.keys("gn_exports.v_cen_deletions"), [one.as_str()]);
    let selection = "SELECT split_part(marker, 'selection=', 2) FROM gn_harvest.publication";
    let before = database.value(selection);
    database.run("UPDATE ref_geo.l_areas SET geom = ST_Multi(ST_MakeEnvelope(0, 0, 1, 1, 2154)) WHERE area_code = '05'");
    assert_eq!(
        partner.keys(VIEW),
        [one.as_str()],
        "the area is where it went"
    );
    assert_eq!(
        partner.keys("gn_exports.v_cen_deletions").len(),
        shown.len() - 1
    );
    assert_ne!(database.value(selection), before);
}

#[test]
fn sensitive_observations_are_blurred_and_names_left_out() {
    let partner = Partner::new(500);
    let database = &partner.database;
    // Each level, and none that was computed.
    database.run(
        "UPDATE gn_synthese.synthese SET id_nomenclature_sensitivity = ref_nomenclatures.get_id_nomenclature('SENSIBILITE', nullif(id_synthese % 6, 5)::text), place_name = 'Ici'",
    );
    partner.publish("cen", "blurred => true, personal_data => false");
    let level = "(SELECT s.id_nomenclature_sensitivity FROM gn_synthese.synthese s WHERE s.id_synthese = v.id_synthese)";
    let of = |what: &str| database.number(&format!("SELECT count(*) FROM {VIEW} v WHERE {what}"));
    let exact = "wkt_4326 IS NOT DISTINCT FROM (SELECT ST_AsText(s.the_geom_4326, 25) FROM gn_synthese.synthese s WHERE s.id_synthese = v.id_synthese)";
    let code = format!("ref_nomenclatures.get_cd_nomenclature({level})");
    assert!(of(&format!("{code} = '0' AND wkt_4326 IS NOT NULL")) > 10);
    assert_eq!(
        of(&format!("{code} = '0' AND NOT ({exact})")),
        0,
        "what is not sensitive is exact"
    );
    assert_eq!(
        of(&format!("{code} = '4' AND wkt_4326 IS NOT NULL")),
        0,
        "no area for it: no geometry"
    );
    assert_eq!(
        of(&format!("{level} IS NULL AND wkt_4326 IS NOT NULL")),
        0,
        "not known not to be sensitive"
    );
    for level in ["1", "2", "3"] {
        assert!(
            of(&format!("{code} = '{level}' AND wkt_4326 IS NOT NULL")) > 10,
            "{level}"
        );
        assert_eq!(
            of(&format!(
                "{code} = '{level}' AND wkt_4326 IS NOT NULL AND NOT EXISTS (
                   SELECT FROM ref_geo.l_areas a JOIN gn_sensitivity.cor_sensitivity_area_type c ON c.id_area_type = a.id_type
                   JOIN gn_synthese.cor_area_synthese l USING (id_area)
                   WHERE l.id_synthese = v.id_synthese AND c.id_nomenclature_sensitivity = {} AND ST_AsText(a.geom_4326, 25) = v.wkt_4326)",
                "(SELECT s.id_nomenclature_sensitivity FROM gn_synthese.synthese s WHERE s.id_synthese = v.id_synthese)"
            )),
            0,
            "the geometry of an area of its level"
        );
    }
    let located = "num_nonnulls(altitude_min, altitude_max, profondeur_min, profondeur_max, nom_lieu, precision, area_attachment)";
    assert_eq!(
        of(&format!("{code} IS DISTINCT FROM '0' AND {located} > 0")),
        0
    );
    assert!(of(&format!("{code} = '0' AND {located} > 0")) > 10);
    assert_eq!(
        of(
            "num_nonnulls(observateurs, observateurs_uuid, determinateur, numerisateur, validateur) > 0"
        ),
        0
    );
    let metadata =
        database.value("SELECT string_agg(m::text, '') FROM gn_exports.v_cen_metadata m");
    let persons = database.rows("SELECT nom_role AS name, uuid_role::text AS uuid FROM utilisateurs.t_roles WHERE NOT groupe");
    for person in &persons {
        assert!(!metadata.contains(text(person, "uuid")), "{person:?}");
    }
    assert!(metadata.contains("organism_name") && !metadata.contains("last_name"));
    partner.publish("cen", "");
    assert!(of("num_nonnulls(observateurs, determinateur, numerisateur, validateur) > 0") > 10);
    assert!(
        database
            .value("SELECT string_agg(m::text, '') FROM gn_exports.v_cen_metadata m")
            .contains("last_name")
    );
}

/// Changes of metadata, each of which dates the framework of the first dataset, and no other.
const CHANGES: &[&str] = &[
    "UPDATE gn_meta.t_acquisition_frameworks SET keywords = 'autres' WHERE id_acquisition_framework = {f}",
    "UPDATE gn_meta.t_datasets SET dataset_desc = 'autre' WHERE id_dataset = {d}",
    "INSERT INTO gn_meta.cor_acquisition_framework_actor (id_acquisition_framework, id_organism, id_nomenclature_actor_role) VALUES ({f}, 1, ref_nomenclatures.get_id_nomenclature('ROLE_ACTEUR', '5'))",
    "UPDATE gn_meta.cor_acquisition_framework_actor SET id_organism = 3 WHERE id_acquisition_framework = {f} AND id_organism = 1",
    "UPDATE utilisateurs.bib_organismes SET nom_organisme = 'Renommé' WHERE id_organisme = 3",
    "DELETE FROM gn_meta.cor_acquisition_framework_actor WHERE id_cafa = (SELECT min(id_cafa) FROM gn_meta.cor_acquisition_framework_actor WHERE id_acquisition_framework = {f})",
    "DELETE FROM gn_meta.cor_acquisition_framework_objectif WHERE id_acquisition_framework = {f}",
    "DELETE FROM gn_meta.cor_acquisition_framework_publication WHERE id_acquisition_framework = {f}",
    "DELETE FROM gn_meta.cor_acquisition_framework_territory WHERE id_acquisition_framework = {f}",
    "DELETE FROM gn_meta.cor_acquisition_framework_voletsinp WHERE id_acquisition_framework = {f}",
    "INSERT INTO gn_meta.t_bibliographical_references (id_acquisition_framework, publication_reference) VALUES ({f}, 'Flore')",
    "UPDATE gn_meta.t_bibliographical_references SET publication_url = 'https://flore.example.org' WHERE id_acquisition_framework = {f}",
    "DELETE FROM gn_meta.cor_dataset_actor WHERE id_cda = (SELECT min(id_cda) FROM gn_meta.cor_dataset_actor WHERE id_dataset = {d})",
    "UPDATE gn_meta.cor_dataset_actor SET id_nomenclature_actor_role = ref_nomenclatures.get_id_nomenclature('ROLE_ACTEUR', '8') WHERE id_cda = (SELECT min(id_cda) FROM gn_meta.cor_dataset_actor WHERE id_dataset = {d})",
    "DELETE FROM gn_meta.cor_dataset_territory WHERE id_dataset = {d}",
    "UPDATE gn_meta.sinp_datatype_protocols SET protocol_desc = 'autre' WHERE protocol_name = 'Protocole 1'",
    "DELETE FROM gn_meta.cor_dataset_protocol WHERE id_dataset = {d}",
    "INSERT INTO gn_meta.t_datasets (id_acquisition_framework, dataset_name, dataset_shortname, dataset_desc, marine_domain, terrestrial_domain) VALUES ({f}, 'Neuf', 'Neuf', 'Neuf', false, true)",
    "DELETE FROM gn_meta.t_datasets WHERE dataset_name = 'Neuf'",
];

#[test]
fn the_date_of_a_framework_moves_when_any_part_of_it_changes() {
    let partner = Partner::new(100);
    let database = &partner.database;
    partner.publish("cen", "");
    let d = database.value("SELECT min(id_dataset) FROM gn_synthese.synthese");
    let f = database.value(&format!(
        "SELECT id_acquisition_framework FROM gn_meta.t_datasets WHERE id_dataset = {d}"
    ));
    let dates = || {
        database.rows("SELECT id_acquisition_framework::text AS id, derniere_action::text AS date FROM gn_exports.v_cen_metadata ORDER BY 1")
    };
    for change in CHANGES {
        let before = dates();
        database.run(&change.replace("{f}", &f).replace("{d}", &d));
        for (was, is) in before.iter().zip(&dates()) {
            assert_eq!(was == is, text(is, "id") != f, "{change}: {was:?} {is:?}");
        }
    }
    // An actor of several, and a parent.
    let role = database.value("SELECT max(id_role) FROM gn_meta.cor_dataset_actor");
    let before = dates();
    database.run(&format!(
        "UPDATE utilisateurs.t_roles SET nom_role = 'Autre' WHERE id_role = {role}"
    ));
    assert_ne!(before, dates());
    let child = database.value("SELECT id_acquisition_framework FROM gn_meta.t_acquisition_frameworks WHERE acquisition_framework_parent_id IS NOT NULL");
    let date = format!(
        "SELECT derniere_action FROM gn_exports.v_cen_metadata WHERE id_acquisition_framework = {child}"
    );
    let before = database.value(&date);
    database.run(&format!("UPDATE gn_meta.t_acquisition_frameworks SET unique_acquisition_framework_id = gen_random_uuid() WHERE id_acquisition_framework = (SELECT acquisition_framework_parent_id FROM gn_meta.t_acquisition_frameworks WHERE id_acquisition_framework = {child})"));
    assert_ne!(before, database.value(&date), "its parent has another UUID");
}

#[test]
fn an_operator_publishes_what_it_may_read_and_sees_no_other_publication() {
    let partner = Partner::new(60);
    let database = &partner.database;
    let call = "SELECT * FROM gn_harvest.publish_export('cen', roles => '{admin}')";
    let none = role(database, "stranger");
    assert!(error_as(database, &none, call).starts_with("42501: "));
    // An operator without rights on the data, then without those on the exports.
    let other = role(database, "other");
    database.run(&format!("SELECT gn_harvest.grant_operator('{other}')"));
    assert!(error_as(database, &other, call).starts_with("42501: "));
    database.run(&GRANTS.replace("{operator}", &other));
    database.run(&format!(
        "REVOKE SELECT ON gn_synthese.synthese FROM {other}"
    ));
    assert!(error_as(database, &other, call).starts_with("42501: "));
    database.run(&format!("GRANT SELECT ON gn_synthese.synthese TO {other}; REVOKE SELECT ON utilisateurs.t_roles FROM {other}"));
    assert!(error_as(database, &other, call).starts_with("42501: "));
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.publication"),
        0,
        "nothing is left of it"
    );
    assert_eq!(
        database.number("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'zz_gn_harvest%'"),
        0
    );
    database.run(&format!("GRANT SELECT ON utilisateurs.t_roles TO {other}"));

    partner.publish("cen", "roles => '{admin}'");
    assert_eq!(database.number("SELECT rolsuper::integer FROM pg_class c JOIN pg_roles r ON r.oid = relowner WHERE relname = 'v_cen_observations'"), 0);
    as_role(
        database,
        &other,
        "SELECT * FROM gn_harvest.publish_export('theirs')",
    );
    for call in [
        "publish_export('cen')",
        "publish_export('cen', dry_run => true)",
        "unpublish_export('cen')",
    ] {
        let error = error_as(database, &other, &format!("SELECT gn_harvest.{call}"));
        assert!(
            error.starts_with("42501: ")
                && error.contains("may not manage publication")
                && error.contains("HINT: GRANT "),
            "{call}: {error}"
        );
    }
    database.run("DELETE FROM gn_synthese.synthese");
    let seen = |role: &str| {
        value_as(
            database,
            role,
            "SELECT string_agg(DISTINCT slug, ' ') FROM gn_harvest.departure",
        )
    };
    assert_eq!(
        (seen(&partner.operator), seen(&other)),
        ("cen".into(), "theirs".into())
    );
    let labels = |role: &str| {
        value_as(
            database,
            role,
            "SELECT string_agg(label, ' ' ORDER BY label) FROM gn_harvest.published_export",
        )
    };
    assert_eq!(
        (labels(&partner.operator), labels(&other)),
        ("cen".into(), "theirs".into())
    );
    // Who serves reads the views, and nothing behind them.
    assert_eq!(partner.keys("gn_exports.v_cen_deletions").len(), 60);
    for table in [
        "gn_synthese.synthese",
        "gn_harvest.departure",
        "gn_harvest.publication",
    ] {
        assert!(
            error_as(
                database,
                &partner.application,
                &format!("SELECT * FROM {table}")
            )
            .starts_with("42501: ")
        );
    }
    for view in ["observations", "metadata", "deletions"] {
        assert!(
            error_as(
                database,
                &none,
                &format!("SELECT * FROM gn_exports.v_cen_{view}")
            )
            .starts_with("42501: ")
        );
    }
}

#[test]
fn a_dry_run_does_nothing_and_shows_what_would_be_run() {
    let partner = Partner::new(60);
    let database = &partner.database;
    let catalog = "SELECT md5(string_agg(x, ' ' ORDER BY x)) FROM (
        SELECT oid::regclass::text || relacl::text FROM pg_class WHERE relnamespace::regnamespace::text ~ '^(gn_|utilis)' UNION ALL SELECT tgrelid::text || tgname FROM pg_trigger
        UNION ALL SELECT oid::regprocedure::text FROM pg_proc UNION ALL SELECT polname FROM pg_policy UNION ALL SELECT x::text FROM gn_exports.t_exports x
        UNION ALL SELECT p::text FROM gn_harvest.publication p) t(x)";
    let before = database.value(catalog);
    let shown = partner
        .publish(
            "Données d''été",
            "areas => '{DEP/05}', sensitivity_max => '1', roles => '{admin}', dry_run => true",
        )
        .remove(0);
    assert_eq!(database.value(catalog), before);
    assert_eq!(
        (
            text(&shown, "observations_export"),
            text(&shown, "token"),
            text(&shown, "add_source")
        ),
        ("", "", "")
    );
    let statements = text(&shown, "statements");
    for part in [
        "CREATE OR REPLACE VIEW gn_exports.v_donnees_d_ete_observations",
        "_metadata AS",
        "_deletions AS",
        "CREATE TRIGGER zz_gn_harvest_donnees_d_ete_update",
        "CREATE INDEX IF NOT EXISTS gn_harvest_derniere_action",
    ] {
        assert!(statements.contains(part), "{part} is not in {statements}");
    }
    // What was shown can be run, and is what the call itself does.
    database.run("BEGIN; CREATE TABLE public.made (definition text)");
    let definition = "SELECT pg_get_viewdef('gn_exports.v_donnees_d_ete_observations'::regclass) || pg_get_viewdef('gn_exports.v_donnees_d_ete_metadata'::regclass)";
    let mut session = database.connect();
    let mut transaction = session.transaction().expect("a transaction");
    if let Err(error) = transaction.batch_execute(statements) {
        panic!("{}: {statements}", describe(&error));
    }
    let by_hand: String = transaction
        .query_one(definition, &[])
        .expect("the views")
        .get(0);
    transaction.rollback().expect("a rollback");
    partner.publish(
        "Données d''été",
        "areas => '{DEP/05}', sensitivity_max => '1', roles => '{admin}'",
    );
    assert_eq!(database.value(definition), by_hand);
}

#[test]
fn the_index_is_left_to_the_operator_on_request() {
    let partner = Partner::new(60);
    let database = &partner.database;
    let index = "SELECT to_regclass('gn_synthese.gn_harvest_derniere_action')";
    let row = partner.publish("cen", "concurrently => true").remove(0);
    assert_eq!(database.value(index), "");
    let statement = text(&row, "statements");
    assert!(
        statement.starts_with("CREATE INDEX CONCURRENTLY "),
        "{statement}"
    );
    database.run(statement);
    assert_eq!(
        database.value(index),
        "gn_synthese.gn_harvest_derniere_action"
    );
    assert_eq!(
        text(
            &partner.publish("cen", "concurrently => true")[0],
            "statements"
        ),
        ""
    );
    let plan = database.rows(&format!("SET enable_seqscan = off; EXPLAIN SELECT * FROM {VIEW} WHERE derniere_action >= '2024-01-01' ORDER BY id_synthese LIMIT 1000"));
    assert!(
        format!("{plan:?}").contains("gn_harvest_derniere_action"),
        "{plan:#?}"
    );
}

#[test]
fn a_count_of_the_whole_view_is_an_index_only_scan_and_a_window_reads_the_primary_key() {
    let partner = Partner::new(600);
    let database = &partner.database;
    partner.publish("cen", "");
    // As the query classes ask it; the bench has as many rows as make the planner choose by itself.
    database.run("VACUUM ANALYZE gn_synthese.synthese");
    let plan = |query: &str| -> String {
        let mut session = database.connect();
        session
            .batch_execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
            .expect("settings");
        rows(&mut session, &format!("EXPLAIN {query}"))
            .iter()
            .map(|row| text(row, "QUERY PLAN").to_owned() + "\n")
            .collect()
    };
    let all = plan(&format!("SELECT count(*) FROM (SELECT * FROM {VIEW}) a"));
    assert!(
        all.contains("Index Only Scan") && !all.contains("SubPlan") && !all.contains("Join"),
        "{all}"
    );
    let window = "WHERE id_synthese >= '10' AND id_synthese <= '20' ORDER BY id_synthese";
    let counted = plan(&format!(
        "SELECT count(*) FROM (SELECT * FROM {VIEW} {window}) a"
    ));
    assert!(
        counted.contains("using pk_synthese") && !counted.contains("SubPlan"),
        "{counted}"
    );
    let read = plan(&format!(
        "SELECT * FROM {VIEW} {window} LIMIT 1000 OFFSET 0"
    ));
    assert!(
        read.contains("Index Cond: ((id_synthese >= 10) AND (id_synthese <= 20))")
            && !read.contains("Sort"),
        "{read}"
    );
}

#[test]
fn unpublishing_leaves_nothing() {
    let partner = Partner::new(60);
    let database = &partner.database;
    let left = "SELECT string_agg(x, ' ' ORDER BY x) FROM (
        SELECT oid::regclass::text FROM pg_class WHERE relnamespace::regnamespace::text IN ('gn_exports', 'gn_synthese', 'gn_harvest')
        UNION ALL SELECT tgrelid::regclass || '.' || tgname FROM pg_trigger WHERE NOT tgisinternal UNION ALL SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace::regnamespace::text ~ '^gn_'
        UNION ALL SELECT polname FROM pg_policy UNION ALL SELECT x::text FROM gn_exports.t_exports x UNION ALL SELECT x::text FROM gn_exports.cor_exports_roles x
        UNION ALL SELECT 'publication' FROM gn_harvest.publication UNION ALL SELECT 'scope' FROM gn_harvest.publication_scope
        UNION ALL SELECT 'departure' FROM gn_harvest.departure UNION ALL SELECT 'change' FROM gn_harvest.metadata_change) t(x)";
    let before = database.value(left);
    partner.publish("cen", "areas => '{DEP/05}', taxa => ARRAY(SELECT cd_nom FROM taxonomie.taxref LIMIT 3), roles => '{admin}'");
    partner.publish("autre", "public => true");
    database.run("DELETE FROM gn_synthese.synthese WHERE id_synthese % 2 = 0");
    as_role(
        database,
        &partner.operator,
        "SELECT gn_harvest.unpublish_export('cen')",
    );
    // The other goes on.
    database.run("DELETE FROM gn_synthese.synthese WHERE id_synthese % 3 = 0");
    assert!(partner.keys("gn_exports.v_autre_deletions").len() > 30);
    as_role(
        database,
        &partner.operator,
        "SELECT gn_harvest.unpublish_export('autre')",
    );
    assert_eq!(database.value(left), before);
    database.run("DROP EXTENSION gn_harvest");
}

#[test]
fn geonature_goes_on_writing_when_it_has_become_another() {
    let partner = Partner::new(60);
    let database = &partner.database;
    partner.publish("cen", "datasets => ARRAY(SELECT unique_dataset_id FROM gn_meta.t_datasets WHERE id_dataset % 2 = 0)");
    // A column that the view reads can not be dropped unsaid …
    let error = database.error("ALTER TABLE gn_synthese.synthese DROP COLUMN place_name");
    assert!(
        error.starts_with("2BP01: ") && error.contains("v_cen_observations"),
        "{error}"
    );
    // … but it can be renamed, which views follow and functions do not.
    let selection = "SELECT selection FROM gn_harvest.publication";
    let before = database.number(selection);
    database.run("ALTER TABLE gn_synthese.synthese RENAME COLUMN id_dataset TO id_jdd; ALTER TABLE gn_meta.cor_dataset_actor RENAME COLUMN id_organism TO id_structure");
    database.run("DELETE FROM gn_synthese.synthese WHERE id_synthese = (SELECT min(id_synthese) FROM gn_synthese.synthese)");
    database.run("DELETE FROM gn_meta.cor_dataset_actor WHERE id_cda = (SELECT min(id_cda) FROM gn_meta.cor_dataset_actor); UPDATE utilisateurs.t_roles SET nom_role = 'x'");
    assert!(database.number(selection) > before, "collectors compare");
    database.run("TRUNCATE gn_synthese.synthese CASCADE");
}

/// A call that is refused, with the SQLSTATE and a part of what it says.
const REFUSED: &[(&str, &str, &str)] = &[
    (
        "publish_export(NULL)",
        "22023",
        "a publication needs a label",
    ),
    (
        "publish_export(' x')",
        "22023",
        "a publication needs a label",
    ),
    (
        "publish_export('x', public => NULL)",
        "22023",
        "a publication needs a label",
    ),
    (
        "publish_export('pris')",
        "42710",
        "has an export \"pris\" already",
    ),
    (
        "publish_export('x', datasets => '{}')",
        "22023",
        "datasets is an empty list",
    ),
    (
        "publish_export('x', datasets => '{6f0a2d3c-0001-4d51-8a6f-2e1c6b1f0001}')",
        "22023",
        "datasets: \"6f0a2d3c",
    ),
    (
        "publish_export('x', frameworks => '{NULL}')",
        "22023",
        "frameworks: \"null\"",
    ),
    (
        "publish_export('x', organisms => '{7f0a2d3c-0001-4d51-8a6f-2e1c6b1f0001}')",
        "22023",
        "organisms: ",
    ),
    (
        "publish_export('x', areas => '{05}')",
        "22023",
        "areas: \"05\"",
    ),
    (
        "publish_export('x', taxa => '{-1}')",
        "22023",
        "taxa: \"-1\"",
    ),
    (
        "publish_export('x', sensitivity_max => '9')",
        "22023",
        "sensitivity_max: \"9\"",
    ),
    (
        "publish_export('x', diffusion_levels => '{0,9}')",
        "22023",
        "diffusion_levels: \"9\"",
    ),
    (
        "publish_export('x', date_min => '2020-01-01', date_max => '2019-01-01')",
        "22023",
        "date_min is after date_max",
    ),
    (
        "publish_export('x', licence => 'WTF')",
        "22023",
        "licence \"WTF\"",
    ),
    (
        "publish_export('x', roles => '{admin,personne}')",
        "22023",
        "role \"personne\"",
    ),
    (
        "unpublish_export('absente')",
        "42704",
        "publication \"absente\" does not exist",
    ),
    ("unpublish_export(NULL)", "42704", "does not exist"),
];

#[test]
fn every_option_is_checked_and_the_refusal_says_what_would_be_right() {
    let database = cluster().source_database();
    database.run("INSERT INTO gn_exports.t_exports (label, schema_name, view_name, view_pk_column, id_licence) VALUES ('pris', 'x', 'x', 'x', 1)");
    for (call, sqlstate, message) in REFUSED {
        let error = database.error(&format!("SELECT gn_harvest.{call}"));
        assert!(
            error.starts_with(&format!("{sqlstate}: "))
                && error.contains(message)
                && error.contains("\nHINT: "),
            "{call}: {error}"
        );
    }
    let bare = cluster().database();
    let error = bare.error("SELECT gn_harvest.publish_export('x')");
    assert!(
        error.starts_with("42P01: ") && error.contains("HINT: "),
        "{error}"
    );
    // Labels that read alike have views of their own; quotes hurt nobody.
    for label in [
        "Été",
        "ete",
        "L''Aulne \"d''été\"; DROP SCHEMA gn_harvest",
        "☃",
    ] {
        database.run(&format!(
            "SELECT gn_harvest.publish_export('{label}', public => true)"
        ));
    }
    assert_eq!(
        database.number("SELECT count(DISTINCT slug) FROM gn_harvest.publication"),
        4
    );
    let handed_over = database.row("SELECT * FROM gn_harvest.publish_export('L''Aulne \"d''été\"; DROP SCHEMA gn_harvest', public => true)");
    let collector = cluster().database();
    collector.run(text(&handed_over, "add_source"));
}
