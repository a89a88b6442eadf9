//! The levers that other tests pull: data, metadata, views, files, figures, and the same over
//! HTTP.

mod exchange;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use exchange::{ask, connect, export, get, page, partner};
use geonature_simulator::{Config, Simulator};
use serde_json::{Value, json};

#[test]
fn a_change_moves_the_last_action_to_the_clock_of_the_partner() {
    let partner = partner(10);
    let id = partner.ids()[0];
    partner.set_clock(3 * 3600, 2 * 3600);
    let before = partner.now();
    partner
        .update(
            id,
            &json!({"nombre_max": 40, "sexe": "3", "nom_lieu": null}),
        )
        .unwrap();
    let row = partner.observation(id).unwrap();
    assert!(row["derniere_action"].as_str().unwrap() >= before.as_str());
    assert_eq!(
        (&row["nombre_max"], &row["sexe_label"]),
        (&json!(40), &json!("Mâle"))
    );
    let shown = page(&partner, "limit=1").items()[0].clone();
    for column in ["nombre_max", "sexe", "nom_lieu", "derniere_action"] {
        assert_eq!(shown[column], row[column], "{column}");
    }
    partner
        .update(id, &json!({"nombre_max": 41, "_silent": true}))
        .unwrap();
    assert_eq!(
        partner.observation(id).unwrap()["derniere_action"],
        row["derniere_action"]
    );
    partner
        .update(id, &json!({"derniere_action": "2020-01-01 00:00:00"}))
        .unwrap();
    assert_eq!(
        partner.observation(id).unwrap()["derniere_action"],
        "2020-01-01 00:00:00"
    );
    assert!(partner.update(id, &json!({"nexiste": 1})).is_err());
}

#[test]
fn observations_come_go_and_change_their_key() {
    let partner = partner(10);
    let added = partner
        .insert(&json!({"nom_cite": "Loutre", "wkt_4326": "POINT(5.7 45)"}))
        .unwrap();
    let row = partner.observation(added).unwrap();
    assert_eq!(
        (&row["nom_cite"], &row["last_action"]),
        (&json!("Loutre"), &json!("I"))
    );
    partner
        .update(added, &json!({"id_synthese": added + 10}))
        .unwrap();
    assert!(partner.observation(added).is_none());
    assert_eq!(
        partner.observation(added + 10).unwrap()["id_perm_sinp"],
        row["id_perm_sinp"]
    );
    assert_eq!(partner.count(), 11);
    assert_eq!(partner.delete(&[added + 10, 999_999]), 1);
    assert_eq!(page(&partner, "").json()["total"], 10);
    partner.reset();
    assert_eq!(partner.count(), 10);
}

#[test]
fn seeds_decide_what_two_partners_share() {
    let start = |seed, uuid_seed, id_offset| {
        let config = Config {
            observations: 50,
            seed,
            uuid_seed,
            id_offset,
            ..Config::default()
        };
        Simulator::start(config).expect("a partner")
    };
    let uuids = |partner: &Simulator| -> BTreeSet<String> {
        let rows = partner.truth();
        rows.iter()
            .filter_map(|row| row["id_perm_sinp"].as_str().map(str::to_owned))
            .collect()
    };
    let (one, same, other) = (start(1, None, 0), start(1, None, 0), start(2, None, 0));
    assert_eq!(one.truth(), same.truth());
    assert!(uuids(&one).is_disjoint(&uuids(&other)));
    let sharing = start(2, Some(1), 100_000);
    assert!(uuids(&one).intersection(&uuids(&sharing)).count() > 40);
    assert!(sharing.ids()[0] > 100_000);
}

#[test]
fn metadata_can_be_changed_and_views_double_actors_of_two_territories() {
    let partner = partner(200);
    let truth = partner.metadata_truth();
    assert_eq!(truth.len(), 3);
    assert_eq!(truth[2]["parent_uuid"], truth[0]["uuid"]);
    let dataset = &truth[0]["datasets"][0];
    let uuid = dataset["uuid"].as_str().unwrap();
    partner
        .patch_dataset(uuid, &json!({"name": "Renommé", "keywords": null}))
        .unwrap();
    let shown = export(&partner, 3, "").items();
    let of_it = shown
        .iter()
        .find(|row| row["jdd_data"]["uuid"] == uuid)
        .unwrap();
    assert_eq!(of_it["jdd_data"]["name"], "Renommé");
    let doubled = shown.iter().find(|row| {
        row["jdd_data"]["territories"]
            .as_array()
            .is_some_and(|list| list.len() == 2)
    });
    let doubled = &doubled.unwrap()["jdd_data"];
    let held = partner.metadata_truth();
    let held = held
        .iter()
        .flat_map(|framework| framework["datasets"].as_array().unwrap().clone());
    let held = held
        .into_iter()
        .find(|held| held["uuid"] == doubled["uuid"])
        .unwrap();
    let actors = |dataset: &Value| dataset["actors"].as_array().unwrap().len();
    assert_eq!(actors(doubled), 2 * actors(&held));
    let actor = held["actors"][0]["uuid_actor"].as_str().unwrap();
    assert_eq!(
        partner
            .remove_actor(held["uuid"].as_str().unwrap(), actor)
            .unwrap(),
        1
    );
}

#[test]
fn views_change_and_records_are_tampered_with() {
    let partner = partner(20);
    let ids = partner.ids();
    partner.rename_column(2, "sexe", "genre").unwrap();
    partner.drop_column(2, "stade_vie").unwrap();
    partner.tamper(ids[0], "nombre_min", Some("1e400"));
    partner.tamper(ids[1], "nombre_min", None);
    let body = String::from_utf8(page(&partner, "").body).unwrap();
    assert!(body.contains("\"genre\": ") && !body.contains("\"sexe\": "));
    assert!(!body.contains("stade_vie") && body.contains("\"nombre_min\": 1e400"));
    partner.mend(ids[0]);
    let rows = page(&partner, "").items();
    assert!(rows[1].get("nombre_min").is_none() && rows[2].get("nombre_min").is_some());

    partner.duplicate(2, ids[5]).unwrap();
    partner.hide(2, &[ids[7]]).unwrap();
    let answer = page(&partner, "");
    assert_eq!(answer.json()["total"], 20);
    assert_eq!(answer.ids().iter().filter(|id| **id == ids[5]).count(), 2);
    assert!(!answer.ids().contains(&ids[7]));
    assert_eq!(export(&partner, 5, "").ids(), ids);
}

#[test]
fn a_scheduled_file_is_yesterday_s_and_can_be_resumed() {
    let partner = partner(50);
    let target = "/api/media/exports/schedules/GN2PG_cd_nomenclature.json";
    let whole = get(partner.url(), target);
    partner.delete(&partner.ids()[..10]);
    assert_eq!(get(partner.url(), target).body, whole.body);
    assert_eq!(whole.json().as_array().unwrap().len(), 50);
    assert!(whole.body.is_ascii());
    let etag = whole.header("etag").unwrap();
    let part = |range: &str, tag: &str| {
        ask(
            partner.url(),
            "GET",
            target,
            &[("Range", range), ("If-Range", tag)],
            "",
        )
        .unwrap()
    };
    let resumed = part("bytes=1000-", etag);
    assert_eq!(
        (resumed.status, &resumed.body[..]),
        (206, &whole.body[1000..])
    );
    partner.publish_files();
    let renewed = part("bytes=1000-", etag);
    assert_eq!(
        (renewed.status, renewed.json().as_array().unwrap().len()),
        (200, 40)
    );
}

#[test]
fn the_partner_says_how_it_was_treated() {
    let partner = partner(100);
    partner.set_cost(0.2, 0.0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| page(&partner, "limit=10"));
        }
    });
    let figures = partner.figures();
    let export = &figures.routes["export"];
    assert_eq!(
        (export.requests, export.rows, export.max_concurrent),
        (3, 30, 3)
    );
    assert_eq!(export.statuses[&200], 3);
    let headers = [("api-key", "jeton-export-2"), ("User-Agent", "essai/1")];
    ask(
        partner.url(),
        "GET",
        "/api/exports/api/2?limit=1",
        &headers,
        "",
    )
    .unwrap();
    let figures = partner.figures();
    let last = figures.last.back().unwrap();
    assert!(last.api_key && !last.cookie && last.user_agent == "essai/1");
    assert_eq!(
        (last.path.as_str(), last.query.as_str()),
        ("/api/exports/api/2", "limit=1")
    );
}

#[test]
fn the_control_works_over_http_too() {
    let partner = partner(20);
    let control = |method: &str, path: &str, body: &str| {
        let answer = ask(
            partner.url(),
            method,
            &format!("/_simulator/{path}"),
            &[],
            body,
        )
        .unwrap();
        assert_eq!(
            answer.status,
            200,
            "{path}: {}",
            String::from_utf8_lossy(&answer.body)
        );
        answer
    };
    let id = partner.ids()[0];
    control(
        "PATCH",
        &format!("observations/{id}"),
        "{\"nom_lieu\": \"Ici\"}",
    );
    assert_eq!(
        control("GET", &format!("observations/{id}"), "").json()["nom_lieu"],
        "Ici"
    );
    let added = control("POST", "observations", "[{}, {\"nom_cite\": \"Lynx\"}]").json();
    assert_eq!(added["ids"].as_array().unwrap().len(), 2);
    assert_eq!(
        control(
            "POST",
            "observations/delete",
            "{\"from\": 1, \"to\": 1000000}"
        )
        .json()["deleted"],
        22
    );
    control(
        "PUT",
        "settings",
        "{\"cap\": 7, \"clock_offset_seconds\": 10, \"tokens\": {\"2\": \"secret\"}}",
    );
    control(
        "POST",
        "exports/2/columns",
        "{\"rename\": \"sexe\", \"to\": \"genre\"}",
    );
    control("POST", "exports/2/columns", "{\"add\": \"cd_ref\"}");
    control(
        "PUT",
        "tampered",
        "{\"id\": 4, \"column\": \"cd_nom\", \"json\": \"\\\"x\\\"\"}",
    );
    control(
        "PUT",
        "faults",
        "[{\"route\": \"export\", \"kind\": \"slow\", \"seconds\": 0.1, \"times\": 1}]",
    );
    assert_eq!(control("GET", "faults", "").json()[0]["kind"], "slow");
    assert_eq!(partner.token(2).as_deref(), Some("secret"));
    control("POST", "reset", "");
    let lines = control("GET", "truth/observations?from=1&to=1000000", "").body;
    assert_eq!(lines.iter().filter(|byte| **byte == b'\n').count(), 20);
    assert_eq!(
        control("GET", "truth/metadata", "")
            .json()
            .as_array()
            .unwrap()
            .len(),
        3
    );
    assert!(control("GET", "statistics", "").json()["routes"].is_object());
}

#[test]
fn a_dropped_partner_no_longer_answers() {
    let partner = partner(10);
    let url = partner.url().to_owned();
    drop(partner);
    let deadline = Instant::now() + Duration::from_secs(5);
    while connect(&url).is_ok() {
        assert!(Instant::now() < deadline, "still listening");
        std::thread::sleep(Duration::from_millis(10));
    }
}
