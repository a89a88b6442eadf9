//! What the published views show: by their filters, of sensitive data, of metadata; and how they are read.

use std::collections::BTreeSet;

use gn_harvest_outside::rows;

use crate::published::*;
use crate::support::*;

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
