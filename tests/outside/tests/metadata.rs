//! Frameworks, datasets and actors: mirrored field by field, kept up to date, or folded into the local ones.

use std::collections::BTreeMap;

use geonature_simulator::{Config, Simulator};
use gn_harvest_outside::{Database, Row};
use serde_json::{Value, json};

use crate::support::*;

/// All metadata of the database in the form of the exports, frameworks and datasets by UUID.
const LOCAL: &str = "
WITH code AS (SELECT id_nomenclature AS id, cd_nomenclature::text AS code FROM ref_nomenclatures.t_nomenclatures),
actor AS (
    SELECT a.framework, a.dataset, jsonb_build_object(
               'role', c.code, 'uuid', coalesce(r.uuid_role, o.uuid_organisme),
               'name', coalesce(r.nom_role || ' ' || r.prenom_role, o.nom_organisme),
               'email', coalesce(r.email, o.email_organisme)) AS actor
    FROM (SELECT id_acquisition_framework AS framework, NULL::int AS dataset, id_role, id_organism, id_nomenclature_actor_role
          FROM gn_meta.cor_acquisition_framework_actor
          UNION ALL
          SELECT NULL, id_dataset, id_role, id_organism, id_nomenclature_actor_role FROM gn_meta.cor_dataset_actor) a
    JOIN code c ON c.id = a.id_nomenclature_actor_role
    LEFT JOIN utilisateurs.t_roles r ON r.id_role = a.id_role
    LEFT JOIN utilisateurs.bib_organismes o ON o.id_organisme = a.id_organism)
SELECT jsonb_object_agg(uuid, item)::text FROM (
SELECT f.unique_acquisition_framework_id AS uuid, jsonb_build_object(
    'uuid', f.unique_acquisition_framework_id, 'name', f.acquisition_framework_name, 'desc', f.acquisition_framework_desc,
    'keywords', f.keywords, 'territory_desc', f.territory_desc, 'target_description', f.target_description,
    'ecologic_or_geologic_target', f.ecologic_or_geologic_target, 'is_parent', f.is_parent,
    'start_date', f.acquisition_framework_start_date, 'end_date', f.acquisition_framework_end_date,
    'initial_closing_date', f.initial_closing_date,
    'territorial_level', (SELECT code FROM code WHERE id = f.id_nomenclature_territorial_level),
    'financing_type', (SELECT code FROM code WHERE id = f.id_nomenclature_financing_type),
    'parent_uuid', (SELECT p.unique_acquisition_framework_id FROM gn_meta.t_acquisition_frameworks p
                    WHERE p.id_acquisition_framework = f.acquisition_framework_parent_id),
    'objectives', (SELECT jsonb_agg(c.code) FROM gn_meta.cor_acquisition_framework_objectif l
                   JOIN code c ON c.id = l.id_nomenclature_objectif WHERE l.id_acquisition_framework = f.id_acquisition_framework),
    'sinp_theme', (SELECT jsonb_agg(c.code) FROM gn_meta.cor_acquisition_framework_voletsinp l
                   JOIN code c ON c.id = l.id_nomenclature_voletsinp WHERE l.id_acquisition_framework = f.id_acquisition_framework),
    'territories', (SELECT jsonb_agg(c.code) FROM gn_meta.cor_acquisition_framework_territory l
                    JOIN code c ON c.id = l.id_nomenclature_territory WHERE l.id_acquisition_framework = f.id_acquisition_framework),
    'publications', (SELECT jsonb_agg(jsonb_build_object('uuid', p.unique_publication_id, 'reference', p.publication_reference, 'url', p.publication_url))
                     FROM gn_meta.cor_acquisition_framework_publication l JOIN gn_meta.sinp_datatype_publications p USING (id_publication)
                     WHERE l.id_acquisition_framework = f.id_acquisition_framework),
    'actors', (SELECT jsonb_agg(a.actor) FROM actor a WHERE a.framework = f.id_acquisition_framework)) AS item
FROM gn_meta.t_acquisition_frameworks f
UNION ALL
SELECT d.unique_dataset_id, jsonb_build_object(
    'uuid', d.unique_dataset_id, 'framework', f.unique_acquisition_framework_id, 'name', d.dataset_name,
    'shortname', d.dataset_shortname, 'desc', d.dataset_desc, 'keywords', d.keywords,
    'marine_domain', d.marine_domain, 'terrestrial_domain', d.terrestrial_domain,
    'data_type', (SELECT code FROM code WHERE id = d.id_nomenclature_data_type),
    'dataset_objectif', (SELECT code FROM code WHERE id = d.id_nomenclature_dataset_objectif),
    'collecting_method', (SELECT code FROM code WHERE id = d.id_nomenclature_collecting_method),
    'data_origin', (SELECT code FROM code WHERE id = d.id_nomenclature_data_origin),
    'source_status', (SELECT code FROM code WHERE id = d.id_nomenclature_source_status),
    'resource_type', (SELECT code FROM code WHERE id = d.id_nomenclature_resource_type),
    'territories', (SELECT jsonb_agg(c.code) FROM gn_meta.cor_dataset_territory l
                    JOIN code c ON c.id = l.id_nomenclature_territory WHERE l.id_dataset = d.id_dataset),
    'protocols', (SELECT jsonb_agg(jsonb_build_object('uuid', p.unique_protocol_id, 'name', p.protocol_name, 'desc', p.protocol_desc,
                         'type', (SELECT code FROM code WHERE id = p.id_nomenclature_protocol_type), 'url', p.protocol_url))
                  FROM gn_meta.cor_dataset_protocol l JOIN gn_meta.sinp_datatype_protocols p USING (id_protocol) WHERE l.id_dataset = d.id_dataset),
    'actors', (SELECT jsonb_agg(a.actor) FROM actor a WHERE a.dataset = d.id_dataset))
FROM gn_meta.t_datasets d JOIN gn_meta.t_acquisition_frameworks f USING (id_acquisition_framework)) all_items";

type Items = BTreeMap<String, Value>;

fn local(database: &Database) -> Items {
    let text = database.value(LOCAL);
    let items: Items = serde_json::from_str(&text).expect("JSON");
    items
        .into_iter()
        .map(|(uuid, item)| (uuid, in_order(item)))
        .collect()
}

/// Lists without an order of their own, "none" in one form.
fn in_order(mut item: Value) -> Value {
    for value in item.as_object_mut().expect("an object").values_mut() {
        if let Value::Array(list) = value {
            list.sort_by_key(Value::to_string);
            list.dedup();
            if list.is_empty() {
                *value = Value::Null;
            }
        }
    }
    item
}

/// What the partner holds, in the same form; `Frameworks` without a dataset only where they are expected.
fn expected(partner: &Simulator, empty_frameworks: bool) -> Items {
    let mut items = Items::new();
    for mut framework in partner.metadata_truth() {
        let members = framework.as_object_mut().expect("a framework");
        let datasets = members.remove("datasets").unwrap_or_default();
        let datasets = datasets.as_array().cloned().unwrap_or_default();
        if datasets.is_empty() && !empty_frameworks {
            continue;
        }
        members.entry("keywords").or_insert(Value::Null);
        for mut dataset in datasets {
            dataset["framework"] = members["uuid"].clone();
            put(&mut items, dataset);
        }
        put(&mut items, framework);
    }
    items
}

fn put(items: &mut Items, mut item: Value) {
    let actors = item["actors"].as_array().cloned().unwrap_or_default();
    let actors: Vec<Value> = actors.iter().map(actor).collect();
    item["actors"] = actors.into();
    // The usual views give a dataset's one protocol without a list.
    if let Some(alone) = item.get("protocols").filter(|value| value.is_object()) {
        item["protocols"] = json!([alone]);
    }
    let uuid = item["uuid"].as_str().expect("a uuid").to_owned();
    items.insert(uuid, in_order(item));
}

fn actor(actor: &Value) -> Value {
    let identity = &actor["identity"];
    let name = identity["organism_name"].as_str().map_or_else(
        || {
            let [family, given] =
                ["first_name", "last_name"].map(|part| identity[part].as_str().expect("a name"));
            format!("{family} {given}")
        },
        str::to_owned,
    );
    json!({"role": actor["cd_nomenclature_actor_role"], "uuid": actor["uuid_actor"], "name": name, "email": actor["email"]})
}

/// Fails with the first fields that differ.
fn assert_same(local: &Items, expected: &Items) {
    for (uuid, item) in expected {
        let here = local
            .get(uuid)
            .unwrap_or_else(|| panic!("{} is not here", item["name"]));
        for (field, value) in item.as_object().expect("an object") {
            assert_eq!(&here[field], value, "{field} of {}", item["name"]);
        }
    }
}

/// What writes count in gn_meta and utilisateurs: a row that is written anew, as it was or not, has another xmin.
fn versions(database: &Database) -> Vec<Row> {
    database.rows(
        "SELECT 'framework' AS what, xmin::text, ctid::text FROM gn_meta.t_acquisition_frameworks
         UNION ALL SELECT 'dataset', xmin::text, ctid::text FROM gn_meta.t_datasets
         UNION ALL SELECT 'framework actor', xmin::text, ctid::text FROM gn_meta.cor_acquisition_framework_actor
         UNION ALL SELECT 'dataset actor', xmin::text, ctid::text FROM gn_meta.cor_dataset_actor
         UNION ALL SELECT 'objective', xmin::text, ctid::text FROM gn_meta.cor_acquisition_framework_objectif
         UNION ALL SELECT 'theme', xmin::text, ctid::text FROM gn_meta.cor_acquisition_framework_voletsinp
         UNION ALL SELECT 'territory', xmin::text, ctid::text FROM gn_meta.cor_dataset_territory
         UNION ALL SELECT 'publication', xmin::text, ctid::text FROM gn_meta.sinp_datatype_publications
         UNION ALL SELECT 'protocol', xmin::text, ctid::text FROM gn_meta.sinp_datatype_protocols
         UNION ALL SELECT 'organism', xmin::text, ctid::text FROM utilisateurs.bib_organismes
         UNION ALL SELECT 'role', xmin::text, ctid::text FROM utilisateurs.t_roles
         ORDER BY 1, 2, 3",
    )
}

/// A partner whose organisms and persons are its own.
fn small_partner(datasets: usize) -> Simulator {
    partner_with(Config {
        observations: 300,
        datasets,
        ..Config::default()
    })
}

fn uuids(partner: &Simulator) -> (Vec<String>, Vec<String>) {
    let uuid = |value: &Value| value["uuid"].as_str().expect("a uuid").to_owned();
    let truth = partner.metadata_truth();
    let datasets = truth
        .iter()
        .filter_map(|framework| framework["datasets"].as_array())
        .flatten()
        .map(uuid);
    (truth.iter().map(uuid).collect(), datasets.collect())
}

fn add_with_metadata_export(database: &Database, partner: &Simulator, options: &str) {
    database.run(&format!(
        "SELECT gn_harvest.add_source('cen', '{}', 2, login => 'moissonneur', password => 'moissonneur', metadata_export_id => 4{options})",
        partner.url()
    ));
}

/// What a partner does to its metadata, and its name.
type Change = (&'static str, Box<dyn Fn(&Simulator)>);

/// Each kind of change.
fn changes(partner: &Simulator) -> Vec<Change> {
    let (frameworks, datasets) = uuids(partner);
    let (framework, dataset) = (frameworks[1].clone(), datasets[0].clone());
    let truth = partner.metadata_truth();
    let holder = truth.iter().find(|f| f["uuid"] == frameworks[1].as_str());
    let leaving = holder.expect("a framework")["actors"][0]["uuid_actor"]
        .as_str()
        .expect("an actor")
        .to_owned();
    let (same_framework, same_dataset, to) =
        (framework.clone(), dataset.clone(), frameworks[0].clone());
    let (its, of) = (framework.clone(), dataset.clone());
    vec![
        (
            "a renamed framework",
            Box::new(move |partner: &Simulator| {
                let patch = json!({"name": "Un cadre renommé", "desc": "Autre", "is_parent": true, "end_date": "2031-01-01",
                    "start_date": "2010-02-03", "initial_closing_date": "2024-03-04T05:06:07", "territory_desc": "Ailleurs",
                    "target_description": Value::Null, "ecologic_or_geologic_target": "Grottes"});
                partner
                    .patch_framework(&framework, &patch)
                    .expect("a change");
            }),
        ),
        (
            "other lists of a framework",
            Box::new(move |partner: &Simulator| {
                let patch = json!({"objectives": ["8", "9"], "sinp_theme": ["2"], "territories": ["GLP"], "territorial_level": "5",
                    "financing_type": "2", "publications": [{"uuid": "5d9f8a52-7c0b-4c3e-8f43-1a2b3c4d5e6f", "reference": "Une flore", "url": Value::Null}]});
                partner
                    .patch_framework(&same_framework, &patch)
                    .expect("a change");
            }),
        ),
        (
            "a renamed dataset with other keywords",
            Box::new(move |partner: &Simulator| {
                let patch = json!({"name": "Un jeu renommé", "shortname": "Court", "desc": "Autre", "keywords": "loutre",
                    "marine_domain": true, "terrestrial_domain": false, "dataset_objectif": "7.2", "collecting_method": "4",
                    "data_origin": "NSP", "source_status": "Co"});
                partner.patch_dataset(&dataset, &patch).expect("a change");
            }),
        ),
        (
            "another territory and protocol of a dataset",
            Box::new(move |partner: &Simulator| {
                let patch = json!({"territories": ["GLP"], "keywords": Value::Null,
                    "protocols": [{"uuid": "0b0f1f3e-3f3c-4a59-9d2e-6a5b4c3d2e1f", "name": "Filet", "desc": "Au crépuscule", "type": "1", "url": Value::Null}]});
                partner
                    .patch_dataset(&same_dataset, &patch)
                    .expect("a change");
            }),
        ),
        (
            "an actor more and one less",
            Box::new(move |partner: &Simulator| {
                let person = json!({"cd_nomenclature_actor_role": "7", "email": "nouvelle@example.org", "type_role": "role",
                    "identity": {"first_name": "Œillet", "last_name": "Zoé"}, "uuid_actor": "3b3d3f41-0c0d-4e4f-9a9b-8c8d8e8f9091"});
                partner.add_actor(&of, &person).expect("an actor");
                assert!(partner.remove_actor(&its, &leaving).expect("an actor") > 0);
            }),
        ),
        (
            "a dataset in another framework",
            Box::new(move |partner: &Simulator| {
                let dataset = uuids(partner).1.last().cloned().expect("a dataset");
                let patch = json!({"ca_uuid": to});
                partner.patch_dataset(&dataset, &patch).expect("a change");
            }),
        ),
    ]
}

#[test]
fn embedded_metadata_is_mirrored_field_by_field_and_each_change_follows_though_no_observation_changed()
 {
    let database = cluster().database();
    let partner = small_partner(7);
    add_source(
        &database,
        "cen",
        &partner,
        3,
        "look_back => interval '0 seconds'",
    );
    let first = run_well(&database, "cen", "auto");
    assert_eq!(
        (
            number(&first, "frameworks_created"),
            number(&first, "datasets_created")
        ),
        (3, 7)
    );
    assert_same(&local(&database), &expected(&partner, true));
    let before = versions(&database);
    for mode in ["auto", "full"] {
        let again = run_well(&database, "cen", mode);
        assert_eq!(
            (
                number(&again, "datasets_updated"),
                number(&again, "frameworks_updated")
            ),
            (0, 0)
        );
        assert_eq!(
            versions(&database),
            before,
            "a {mode} run of the same writes nothing"
        );
    }
    for (what, change) in changes(&partner) {
        change(&partner);
        let run = run_well(&database, "cen", "auto");
        assert_eq!(
            (text(&run, "mode"), number(&run, "updated")),
            ("incremental", 0)
        );
        let updated = number(&run, "datasets_updated") + number(&run, "frameworks_updated");
        assert!(updated > 0, "{what}: {run:#?}");
        assert_same(&local(&database), &expected(&partner, true));
    }
}

#[test]
fn a_separate_metadata_export_is_mirrored_before_the_observations_and_at_each_run() {
    let database = cluster().database();
    let partner = small_partner(7);
    let (frameworks, _) = uuids(&partner);
    let empty = json!({"uuid": "9b2d7a3e-5c55-4d6c-8d10-0123456789ab", "ca_uuid": frameworks[0], "name": "Sans observation"});
    partner.add_dataset(&empty).expect("a dataset");
    add_with_metadata_export(&database, &partner, "");
    let first = run_well(&database, "cen", "auto");
    assert_eq!(number(&first, "datasets_created"), 8);
    assert_same(&local(&database), &expected(&partner, true));
    let before = versions(&database);
    run_well(&database, "cen", "full");
    assert_eq!(versions(&database), before);
    for (what, change) in changes(&partner) {
        change(&partner);
        let run = run_well(&database, "cen", "auto");
        let updated = number(&run, "datasets_updated") + number(&run, "frameworks_updated");
        assert!(updated > 0, "{what}: {run:#?}");
        assert_same(&local(&database), &expected(&partner, true));
    }
}

#[test]
fn a_separate_metadata_export_is_read_page_by_page() {
    let database = cluster().database();
    let partner = small_partner(6);
    for number in 0..30 {
        let uuid = format!("00000000-0000-4000-8000-0000000000{number:02}");
        let framework = json!({"uuid": uuid, "name": format!("Cadre de plus {number}")});
        partner.add_framework(&framework).expect("a framework");
    }
    add_with_metadata_export(&database, &partner, ", page_size => 7");
    run_well(&database, "cen", "auto");
    assert_same(&local(&database), &expected(&partner, true));
}

#[test]
fn a_metadata_export_that_can_not_be_read_ends_the_run_with_what_to_do() {
    let database = cluster().database();
    let partner = small_partner(3);
    add_with_metadata_export(&database, &partner, "");
    database.run("SELECT gn_harvest.alter_source('cen', metadata_export_id => 7)");
    let refused = run(&database, "cen", "auto");
    assert_eq!(text(&refused, "status"), "failed");
    assert!(
        text(&refused, "error_message").contains("metadata export 7"),
        "{refused:#?}"
    );
    database.run("SELECT gn_harvest.alter_source('cen', metadata_export_id => 3)");
    let wrong = run(&database, "cen", "auto");
    assert!(
        text(&wrong, "error_message").contains("export 3 is not a metadata export"),
        "{wrong:#?}"
    );
    assert!(
        text(&wrong, "error_hint").contains("metadata_export_id"),
        "{wrong:#?}"
    );
    assert_eq!(
        database.number("SELECT count(*) FROM gn_synthese.synthese"),
        0
    );
}

#[test]
fn names_alone_make_frameworks_and_datasets_and_follow_a_renaming() {
    let database = cluster().database();
    let partner = small_partner(6);
    add_source(&database, "cen", &partner, 2, "");
    run_well(&database, "cen", "auto");
    let names = |database: &Database| -> Vec<(String, Value)> {
        let named = |(uuid, item): (String, Value)| (uuid, item["name"].clone());
        local(database).into_iter().map(named).collect()
    };
    let told = |partner: &Simulator| -> Vec<(String, Value)> {
        let named = |(uuid, item): (String, Value)| (uuid, item["name"].clone());
        expected(partner, false).into_iter().map(named).collect()
    };
    assert_eq!(names(&database), told(&partner));
    let before = versions(&database);
    run_well(&database, "cen", "full");
    assert_eq!(versions(&database), before);

    let (frameworks, datasets) = uuids(&partner);
    partner
        .patch_dataset(&datasets[1], &json!({"name": "Autre jeu"}))
        .expect("a change");
    partner
        .patch_framework(&frameworks[2], &json!({"name": "Autre cadre"}))
        .expect("a change");
    let run = run_well(&database, "cen", "auto");
    assert_eq!(text(&run, "mode"), "incremental");
    assert_eq!(names(&database), told(&partner));
}

#[test]
fn datasets_of_which_no_record_came_are_asked_for_in_turn() {
    let database = cluster().database();
    let partner = small_partner(40);
    add_source(
        &database,
        "cen",
        &partner,
        3,
        "look_back => interval '0 seconds'",
    );
    run_well(&database, "cen", "auto");
    let (_, datasets) = uuids(&partner);
    for uuid in &datasets {
        partner
            .patch_dataset(uuid, &json!({"keywords": "triton"}))
            .expect("a change");
    }
    let first = run_well(&database, "cen", "incremental");
    let second = run_well(&database, "cen", "incremental");
    let updated = [&first, &second].map(|run| number(run, "datasets_updated"));
    assert_eq!(updated[0] + updated[1], 40, "{updated:?}");
    assert!(
        number(&first, "requests") < 40,
        "few at a time, to spare the partner"
    );
    assert_eq!(
        database.number("SELECT count(*) FROM gn_meta.t_datasets WHERE keywords = 'triton'"),
        40
    );
}

#[test]
fn a_dataset_whose_sample_record_is_gone_is_found_by_another() {
    let database = cluster().database();
    let partner = small_partner(2);
    add_source(
        &database,
        "cen",
        &partner,
        3,
        "look_back => interval '0 seconds'",
    );
    run_well(&database, "cen", "auto");
    let sampled = database.rows("SELECT sample_key FROM gn_harvest.source_metadata WHERE kind = 'dataset' AND sample_key IS NOT NULL");
    let keys: Vec<i64> = sampled
        .iter()
        .map(|row| number(row, "sample_key"))
        .collect();
    partner.hide(3, &keys).expect("hidden");
    let (_, datasets) = uuids(&partner);
    for uuid in &datasets {
        partner
            .patch_dataset(uuid, &json!({"keywords": "triton"}))
            .expect("a change");
    }
    run_well(&database, "cen", "incremental");
    run_well(&database, "cen", "incremental");
    assert_eq!(
        database.number("SELECT count(*) FROM gn_meta.t_datasets WHERE keywords = 'triton'"),
        2
    );
}

#[test]
fn a_parent_framework_that_comes_after_its_child_becomes_its_parent() {
    let database = cluster().database();
    // Frameworks 2 and 3 have a dataset, framework 1, parent of the third, has none yet.
    let partner = small_partner(2);
    add_source(&database, "cen", &partner, 3, "");
    run_well(&database, "cen", "auto");
    let (frameworks, _) = uuids(&partner);
    let parent = format!(
        "SELECT p.unique_acquisition_framework_id FROM gn_meta.t_acquisition_frameworks f
         LEFT JOIN gn_meta.t_acquisition_frameworks p ON p.id_acquisition_framework = f.acquisition_framework_parent_id
         WHERE f.unique_acquisition_framework_id = '{}'",
        frameworks[2]
    );
    assert_eq!(database.value(&parent), "");
    let dataset = "77e52c51-4fbb-4a4a-9a59-b9f5e8d3c111";
    partner
        .add_dataset(&json!({"uuid": dataset, "name": "Du parent", "ca_uuid": frameworks[0]}))
        .expect("a dataset");
    partner
        .insert(&json!({"jdd_uuid": dataset}))
        .expect("an observation");
    run_well(&database, "cen", "auto");
    assert_eq!(database.value(&parent), frameworks[0]);
    assert_same(&local(&database), &expected(&partner, true));
}

#[test]
fn two_partners_share_organisms_and_a_framework() {
    let database = cluster().database();
    let partner = |seed, datasets| {
        partner_with(Config {
            observations: 200,
            seed,
            metadata_seed: Some(77),
            datasets,
            id_offset: seed as i64 * 100_000,
            ..Config::default()
        })
    };
    let (one, two) = (partner(1, 4), partner(2, 6));
    add_source(&database, "one", &one, 3, "");
    add_source(&database, "two", &two, 3, "");
    let first = run_well(&database, "one", "auto");
    let second = run_well(&database, "two", "auto");
    assert_eq!(
        (
            number(&first, "datasets_created"),
            number(&second, "datasets_created")
        ),
        (4, 2)
    );
    assert_eq!(number(&second, "frameworks_created"), 0);
    assert_same(&local(&database), &expected(&two, true));
    assert_eq!(
        database.number("SELECT count(*) FROM gn_synthese.synthese"),
        400
    );
    let double =
        "SELECT count(*) - count(DISTINCT uuid_organisme) FROM utilisateurs.bib_organismes";
    assert_eq!(database.number(double), 0);
    let before = versions(&database);
    run_well(&database, "one", "full");
    run_well(&database, "two", "full");
    assert_eq!(
        versions(&database),
        before,
        "what they share does not go back and forth"
    );
}

#[test]
fn create_only_leaves_what_local_people_edited() {
    let database = cluster().database();
    let partner = small_partner(5);
    add_source(
        &database,
        "cen",
        &partner,
        3,
        "metadata_mode => 'create_only'",
    );
    run_well(&database, "cen", "auto");
    assert_same(&local(&database), &expected(&partner, true));
    database.run("UPDATE gn_meta.t_datasets SET dataset_name = 'Nom local'");
    let (frameworks, datasets) = uuids(&partner);
    partner
        .patch_dataset(&datasets[0], &json!({"name": "Nom distant"}))
        .expect("a change");
    partner
        .patch_framework(&frameworks[0], &json!({"name": "Nom distant"}))
        .expect("a change");
    let new = "77e52c51-4fbb-4a4a-9a59-b9f5e8d3c222";
    partner
        .add_dataset(&json!({"uuid": new, "name": "Nouveau", "ca_uuid": frameworks[1]}))
        .expect("a dataset");
    partner
        .insert(&json!({"jdd_uuid": new}))
        .expect("an observation");
    let before = local(&database);
    for mode in ["auto", "full"] {
        let run = run_well(&database, "cen", mode);
        assert_eq!(number(&run, "datasets_updated"), 0);
    }
    let mut after = local(&database);
    assert_eq!(
        after.remove(new).expect("the new one")["name"],
        json!("Nouveau")
    );
    assert_eq!(after, before);
}

/// A local framework with a dataset, by its own name.
fn local_dataset(database: &Database, uuid: &str, name: &str) {
    database.run(&format!(
        "INSERT INTO gn_meta.t_acquisition_frameworks (acquisition_framework_name, acquisition_framework_desc, acquisition_framework_start_date, meta_create_date)
         SELECT 'Cadre local', 'Cadre local', current_date, now()
         WHERE NOT EXISTS (SELECT FROM gn_meta.t_acquisition_frameworks WHERE acquisition_framework_name = 'Cadre local');
         INSERT INTO gn_meta.t_datasets (unique_dataset_id, id_acquisition_framework, dataset_name, dataset_shortname, dataset_desc, marine_domain, terrestrial_domain, meta_create_date)
         SELECT '{uuid}', id_acquisition_framework, '{name}', '{name}', '{name}', false, true, now()
         FROM gn_meta.t_acquisition_frameworks WHERE acquisition_framework_name = 'Cadre local'"
    ));
}

fn held_in(database: &Database, dataset: &str) -> i64 {
    database.number(&format!(
        "SELECT count(*) FROM gn_synthese.synthese JOIN gn_meta.t_datasets USING (id_dataset) WHERE unique_dataset_id = '{dataset}'"
    ))
}

const HERE: &str = "11111111-1111-4111-8111-111111111111";
const THERE: &str = "22222222-2222-4222-8222-222222222222";

#[test]
fn single_dataset_puts_everything_into_one_local_dataset_and_writes_no_metadata() {
    let database = cluster().database();
    let partner = small_partner(5);
    let error = database.error(&format!(
        "SELECT gn_harvest.add_source('cen', '{}', 3, metadata_mode => 'single_dataset')",
        partner.url()
    ));
    assert!(error.contains("needs a target_dataset"), "{error}");
    let options = format!("metadata_mode => 'single_dataset', target_dataset => '{HERE}'");
    add_source(&database, "cen", &partner, 3, &options);
    let missing = run(&database, "cen", "auto");
    assert!(
        text(&missing, "error_message").contains("not in gn_meta.t_datasets"),
        "{missing:#?}"
    );
    local_dataset(&database, HERE, "Tout");
    let before = versions(&database);
    let run = run_well(&database, "cen", "auto");
    assert_eq!(
        (number(&run, "inserted"), number(&run, "rejected")),
        (300, 0)
    );
    assert_eq!(held_in(&database, HERE), 300);
    assert_eq!(versions(&database), before);
}

#[test]
fn single_dataset_takes_an_export_that_does_not_say_to_which_dataset_its_records_belong() {
    let database = cluster().database();
    let partner = small_partner(2);
    for column in ["jdd_uuid", "jdd_nom", "jdd_acteurs", "ca_uuid", "ca_nom"] {
        partner.drop_column(2, column).expect("a column");
    }
    local_dataset(&database, HERE, "Tout");
    let options = format!("metadata_mode => 'single_dataset', target_dataset => '{HERE}'");
    add_source(&database, "cen", &partner, 2, &options);
    run_well(&database, "cen", "auto");
    assert_eq!(held_in(&database, HERE), 300);
}

#[test]
fn mapped_lets_in_what_was_mapped_and_the_others_wait_until_they_are() {
    let database = cluster().database();
    let partner = small_partner(3);
    add_source(&database, "cen", &partner, 3, "metadata_mode => 'mapped'");
    local_dataset(&database, HERE, "jeu de données N°1 — Suivis d''été");
    local_dataset(&database, THERE, "Autre chose");
    let before = versions(&database);
    let (_, datasets) = uuids(&partner);
    let first = run_well(&database, "cen", "auto");
    assert_eq!(
        (number(&first, "inserted"), number(&first, "rejected")),
        (0, 300)
    );
    assert_eq!(versions(&database), before);
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.rejected_record WHERE reason = 'unmapped_dataset' AND message LIKE '%is not mapped%'"),
        300
    );
    let waiting = "SELECT count(*) FROM gn_harvest.metadata_review WHERE state = 'waiting' AND kind = 'dataset' AND rejected > 0";
    assert_eq!(database.number(waiting), 3);
    let likely = database
        .row("SELECT * FROM gn_harvest.metadata_review WHERE name LIKE 'Jeu de données n°1 %'");
    assert_eq!(text(&likely, "likely_uuid"), HERE, "{likely:#?}");
    let wanted = number(&likely, "rejected");

    // The ready-made call, then a run: what waited is in, nothing else.
    database.run(text(&likely, "call"));
    let second = run_well(&database, "cen", "auto");
    assert_eq!(held_in(&database, HERE), wanted, "{second:#?}");
    assert_eq!(
        database.number("SELECT count(*) FROM gn_synthese.synthese"),
        wanted
    );
    assert_eq!(database.number(waiting), 2);
    for uuid in &datasets {
        database.run(&format!(
            "SELECT gn_harvest.map_dataset('cen', '{uuid}', '{THERE}')"
        ));
    }
    run_well(&database, "cen", "auto");
    assert_eq!(held_in(&database, THERE), 300);
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.rejected_record"),
        0
    );
    assert_eq!(versions(&database), before, "no metadata was written");
}

#[test]
fn without_trigrams_a_local_dataset_of_the_same_name_is_found() {
    let database = cluster().database();
    database.run("DROP EXTENSION pg_trgm CASCADE");
    let partner = small_partner(1);
    add_source(&database, "cen", &partner, 2, "metadata_mode => 'mapped'");
    local_dataset(&database, HERE, "JEU DE DONNÉES N°1 — SUIVIS D''ÉTÉ");
    run_well(&database, "cen", "auto");
    let review = database.row("SELECT * FROM gn_harvest.metadata_review");
    assert_eq!(text(&review, "likely_uuid"), HERE, "{review:#?}");
}

#[test]
fn metadata_review_is_empty_in_a_database_without_geonature() {
    let database = cluster().empty_database();
    database.run("CREATE EXTENSION gn_harvest");
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.metadata_review"),
        0
    );
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.local_metadata()"),
        0
    );
}

#[test]
fn map_dataset_moves_what_is_written_and_a_full_run_writes_nothing_again() {
    let database = cluster().database();
    let partner = small_partner(3);
    add_source(&database, "cen", &partner, 3, "");
    run_well(&database, "cen", "auto");
    let (_, datasets) = uuids(&partner);
    let moving = held_in(&database, &datasets[0]);
    assert!(moving > 0);
    local_dataset(&database, HERE, "Local");
    database.run(&format!(
        "SELECT gn_harvest.map_dataset('cen', '{}', '{HERE}')",
        datasets[0]
    ));
    partner
        .patch_dataset(&datasets[0], &json!({"name": "Ne vient pas"}))
        .expect("a change");
    let run = run_well(&database, "cen", "auto");
    assert_eq!(
        (
            held_in(&database, HERE),
            held_in(&database, &datasets[0]),
            number(&run, "updated")
        ),
        (moving, 0, moving)
    );
    for _ in 0..2 {
        let full = run_well(&database, "cen", "full");
        assert_eq!(
            (number(&full, "updated"), number(&full, "unchanged")),
            (0, 300),
            "{full:#?}"
        );
    }
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.harvested WHERE attributes_hash IS NULL"),
        0
    );
    let names = database.number(&format!("SELECT count(*) FROM gn_meta.t_datasets WHERE dataset_name = 'Ne vient pas' OR unique_dataset_id = '{HERE}' AND dataset_name <> 'Local'"));
    assert_eq!(names, 0, "a mapped dataset is not written");

    // Another decision, then none.
    local_dataset(&database, THERE, "Autre");
    database.run(&format!(
        "SELECT gn_harvest.map_dataset('cen', '{}', '{THERE}')",
        datasets[0]
    ));
    run_well(&database, "cen", "auto");
    assert_eq!(
        (held_in(&database, HERE), held_in(&database, THERE)),
        (0, moving)
    );
    let undone = format!("SELECT gn_harvest.unmap_dataset('cen', '{}')", datasets[0]);
    assert_eq!(database.value(&undone), "t");
    assert_eq!(database.value(&undone), "f");
    run_well(&database, "cen", "full");
    assert_eq!(held_in(&database, &datasets[0]), moving);
}

#[test]
fn a_mapped_framework_takes_the_datasets_and_a_mapped_organism_the_roles() {
    let database = cluster().database();
    let partner = small_partner(3);
    local_dataset(&database, HERE, "Local");
    database.run(&format!(
        "INSERT INTO utilisateurs.bib_organismes (uuid_organisme, nom_organisme) VALUES ('{THERE}', 'Le nôtre')"
    ));
    let truth = partner.metadata_truth();
    let framework = truth[1]["uuid"].as_str().expect("a uuid").to_owned();
    let actors = truth[1]["datasets"][0]["actors"]
        .as_array()
        .expect("actors");
    let organism = actors
        .iter()
        .find(|actor| actor["type_role"] == "organism")
        .expect("an organism");
    let organism = organism["uuid_actor"].as_str().expect("a uuid").to_owned();
    add_source(&database, "cen", &partner, 3, "");
    database.run(&format!(
        "SELECT gn_harvest.map_dataset('cen', '{framework}', (SELECT unique_acquisition_framework_id FROM gn_meta.t_acquisition_frameworks WHERE acquisition_framework_name = 'Cadre local'));
         SELECT gn_harvest.map_dataset('cen', '{organism}', '{THERE}')"
    ));
    let run = run_well(&database, "cen", "auto");
    assert_eq!(
        (
            number(&run, "frameworks_created"),
            number(&run, "datasets_created")
        ),
        (2, 3)
    );
    let here = local(&database);
    assert!(!here.contains_key(&framework));
    let dataset = truth[1]["datasets"][0]["uuid"].as_str().expect("a uuid");
    let holder = here[dataset]["framework"].as_str().expect("a framework");
    assert_eq!(here[holder]["name"], json!("Cadre local"));
    assert_eq!(here[holder]["actors"], Value::Null);
    let actors = here[dataset]["actors"].as_array().expect("actors");
    assert!(
        actors.iter().any(|actor| actor["name"] == "Le nôtre"),
        "{actors:?}"
    );
    assert_eq!(
        database.number(&format!(
            "SELECT count(*) FROM utilisateurs.bib_organismes WHERE uuid_organisme = '{organism}'"
        )),
        0
    );
}

#[test]
fn map_dataset_says_what_is_wrong_with_a_decision() {
    let database = cluster().database();
    let partner = small_partner(2);
    add_source(&database, "cen", &partner, 3, "");
    run_well(&database, "cen", "auto");
    let (frameworks, datasets) = uuids(&partner);
    let unknown = database.error(&format!(
        "SELECT gn_harvest.map_dataset('cen', '{}', '{HERE}')",
        datasets[0]
    ));
    assert!(
        unknown.contains("nothing here has the UUID") && unknown.contains("map_dataset(source"),
        "{unknown}"
    );
    let crossed = database.error(&format!(
        "SELECT gn_harvest.map_dataset('cen', '{}', '{}')",
        frameworks[1], datasets[0]
    ));
    assert!(crossed.contains("is no dataset at the source"), "{crossed}");
}

#[test]
fn persons_are_left_out_where_the_source_says_so() {
    let database = cluster().database();
    let partner = small_partner(5);
    let before = database.number("SELECT count(*) FROM utilisateurs.t_roles");
    add_source(&database, "cen", &partner, 3, "create_persons => false");
    run_well(&database, "cen", "auto");
    assert_eq!(
        database.number("SELECT count(*) FROM utilisateurs.t_roles"),
        before
    );
    assert_eq!(
        database.number("SELECT count(*) FROM gn_meta.cor_dataset_actor WHERE id_role IS NOT NULL"),
        0
    );
    assert!(database.number("SELECT count(*) FROM gn_meta.cor_dataset_actor") > 0);
}

#[test]
fn an_organism_of_the_same_name_is_taken_for_it_where_the_source_says_so() {
    let database = cluster().database();
    let partner = small_partner(7);
    let names: Vec<String> = partner
        .metadata_truth()
        .iter()
        .filter_map(|framework| framework["actors"].as_array().cloned())
        .flatten()
        .filter_map(|actor| {
            actor["identity"]["organism_name"]
                .as_str()
                .map(str::to_owned)
        })
        .collect();
    let name = names[0].replace('\'', "''");
    database.run(&format!(
        "INSERT INTO utilisateurs.bib_organismes (nom_organisme) VALUES ('{name}')"
    ));
    add_source(&database, "cen", &partner, 3, "organisms_by_name => true");
    run_well(&database, "cen", "auto");
    let like = format!(
        "SELECT count(*) FROM utilisateurs.bib_organismes WHERE nom_organisme LIKE '{name}%'"
    );
    assert_eq!(database.number(&like), 1);
}

#[test]
fn what_a_run_created_or_is_closed_here_waits_in_metadata_review() {
    let database = cluster().database();
    let partner = small_partner(3);
    add_source(&database, "cen", &partner, 3, "");
    let first = run_well(&database, "cen", "auto");
    let new = |kind: &str| {
        database.number(&format!(
            "SELECT count(*) FROM gn_harvest.metadata_review WHERE state = 'new' AND kind = '{kind}'"
        ))
    };
    assert_eq!((new("dataset"), new("framework")), (3, 3));
    assert!(new("organism") > 0);
    assert_eq!(text(&first, "warnings"), "{}");
    let (frameworks, datasets) = uuids(&partner);
    database.run(&format!(
        "UPDATE gn_meta.t_datasets SET active = false WHERE unique_dataset_id = '{}';
         UPDATE gn_meta.t_acquisition_frameworks SET opened = false WHERE unique_acquisition_framework_id = '{}'",
        datasets[0], frameworks[0]
    ));
    let full = run_well(&database, "cen", "full");
    for said in ["is inactive here", "is closed here"] {
        assert!(text(&full, "warnings").contains(said), "{full:#?}");
    }
    let closed = database.rows(
        "SELECT kind, uuid, state FROM gn_harvest.metadata_review WHERE state <> 'new' ORDER BY 1",
    );
    let closed: Vec<(&str, &str, &str)> = closed
        .iter()
        .map(|row| (text(row, "kind"), text(row, "uuid"), text(row, "state")))
        .collect();
    assert_eq!(
        closed,
        [
            ("dataset", datasets[0].as_str(), "inactive"),
            ("framework", frameworks[0].as_str(), "closed")
        ]
    );
    database.run("CREATE ROLE reviewer_of_metadata");
    database.run(
        "SELECT gn_harvest.grant_reader('reviewer_of_metadata');
         GRANT reviewer_of_metadata TO postgres; SET ROLE reviewer_of_metadata;
         SELECT * FROM gn_harvest.metadata_review",
    );
}

#[test]
fn a_record_whose_dataset_can_not_be_created_waits_and_is_replayed_when_it_can() {
    let database = cluster().database();
    let partner = small_partner(3);
    let (_, datasets) = uuids(&partner);
    // A local rule refuses the dataset, for now.
    database.run(&format!(
        "ALTER TABLE gn_meta.t_datasets ADD CONSTRAINT not_that_one CHECK (unique_dataset_id <> '{}')",
        datasets[0]
    ));
    add_source(
        &database,
        "cen",
        &partner,
        3,
        "look_back => interval '0 seconds'",
    );
    let first = run_well(&database, "cen", "auto");
    let waiting = number(&first, "rejected");
    assert!(waiting > 0);
    assert!(
        text(&first, "warnings").contains("not_that_one"),
        "{first:#?}"
    );
    let second = run_well(&database, "cen", "auto");
    assert!(
        number(&second, "rejected") < waiting,
        "they are not tried in vain: {second:#?}"
    );
    database.run("ALTER TABLE gn_meta.t_datasets DROP CONSTRAINT not_that_one");
    run_well(&database, "cen", "auto");
    assert_eq!(held_in(&database, &datasets[0]), waiting);
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.rejected_record"),
        0
    );
}

#[test]
fn a_person_whose_e_mail_belongs_to_a_local_account_comes_without_it() {
    let database = cluster().database();
    let partner = small_partner(5);
    database.run(
        "INSERT INTO utilisateurs.t_roles (nom_role, prenom_role, email)
         SELECT 'Locale', n::text, 'OBS' || n || '@example.org' FROM generate_series(1, 20) n",
    );
    let before = database.value("SELECT max(id_role) FROM utilisateurs.t_roles");
    add_source(&database, "cen", &partner, 3, "");
    run_well(&database, "cen", "auto");
    let of_new = |what: &str| {
        database.number(&format!(
            "SELECT count({what}) FROM utilisateurs.t_roles WHERE id_role > {before}"
        ))
    };
    assert!(of_new("*") > 0);
    assert_eq!(of_new("email"), 0);
    assert_eq!(
        database.number("SELECT count(*) FROM utilisateurs.t_roles WHERE prenom_role ~ '^\\d+$' AND nom_role = 'Locale'"),
        20,
        "local accounts stay as they are"
    );
}

#[test]
fn an_operator_maps_reviews_and_moves_with_its_own_rights_only() {
    let database = cluster().database();
    let partner = small_partner(3);
    database.run(
        "CREATE ROLE operator_of_metadata LOGIN;
         CREATE ROLE other_operator_of_metadata LOGIN;
         SELECT gn_harvest.grant_operator(r) FROM unnest('{operator_of_metadata,other_operator_of_metadata}'::name[]) r;",
    );
    for schema in [
        "gn_synthese",
        "gn_meta",
        "utilisateurs",
        "ref_nomenclatures",
        "taxonomie",
        "ref_geo",
        "ref_habitats",
        "gn_commons",
        "gn_sensitivity",
    ] {
        database.run(&format!(
            "GRANT USAGE ON SCHEMA {schema} TO operator_of_metadata;
             GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO operator_of_metadata;
             GRANT ALL ON ALL SEQUENCES IN SCHEMA {schema} TO operator_of_metadata"
        ));
    }
    let (_, datasets) = uuids(&partner);
    local_dataset(&database, HERE, "Local");
    let mut operator = database.connect_as("operator_of_metadata");
    let token = partner.token(3).expect("a token");
    let add = format!(
        "SELECT gn_harvest.add_source('cen', '{}', 3, token => '{token}')",
        partner.url()
    );
    operator.batch_execute(&add).expect("a source");
    let run = "SELECT gn_harvest.run('cen', 'auto')";
    operator.batch_execute(run).expect("a run");
    assert_eq!(
        database.value("SELECT status FROM gn_harvest.run_history ORDER BY run DESC LIMIT 1"),
        "succeeded"
    );
    let moving = held_in(&database, &datasets[0]);
    let map = format!(
        "SELECT gn_harvest.map_dataset('cen', '{}', '{HERE}')",
        datasets[0]
    );
    operator.batch_execute(&map).expect("a decision");
    operator.batch_execute(run).expect("a run");
    assert_eq!(held_in(&database, HERE), moving);
    let seen = |role: &str| -> usize {
        let query = "SELECT source FROM gn_harvest.metadata_review WHERE kind = 'dataset'";
        let mut session = database.connect_as(role);
        session.query(query, &[]).expect("the view").len()
    };
    assert_eq!(seen("operator_of_metadata"), 2);
    assert_eq!(seen("other_operator_of_metadata"), 0);
    let mut other = database.connect_as("other_operator_of_metadata");
    let refused = other.batch_execute(&map).expect_err("not its source");
    let refused = refused
        .as_db_error()
        .expect("an error")
        .message()
        .to_owned();
    assert!(refused.contains("may not manage"), "{refused}");
}

#[test]
fn of_two_datasets_mapped_to_one_the_one_that_is_mapped_elsewhere_follows_at_the_next_full_run() {
    let database = cluster().database();
    let partner = small_partner(3);
    let (_, datasets) = uuids(&partner);
    local_dataset(&database, HERE, "Ensemble");
    local_dataset(&database, THERE, "Ailleurs");
    add_source(&database, "cen", &partner, 3, "");
    let map = |uuid: &str, to: &str| {
        database.run(&format!(
            "SELECT gn_harvest.map_dataset('cen', '{uuid}', '{to}')"
        ))
    };
    map(&datasets[0], HERE);
    run_well(&database, "cen", "auto");
    let of_first = held_in(&database, HERE);
    map(&datasets[1], HERE);
    run_well(&database, "cen", "auto");
    let both = held_in(&database, HERE);
    assert!(both > of_first && of_first > 0);

    map(&datasets[0], THERE);
    let run = run_well(&database, "cen", "auto");
    assert!(
        text(&run, "warnings").contains("they follow at the next full run"),
        "{run:#?}"
    );
    assert!(
        held_in(&database, HERE) >= both - of_first,
        "those of the other dataset stay"
    );
    run_well(&database, "cen", "full");
    assert_eq!(
        (held_in(&database, HERE), held_in(&database, THERE)),
        (both - of_first, of_first)
    );
}
