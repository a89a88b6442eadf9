//! What the partner does with its data, its filters and its limits: each test is a fact of
//! GeoNature that a harvester relies on, or a lever that other tests pull.

mod exchange;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use exchange::{ask, get, log_in};
use geonature_simulator::{Config, Simulator};
use serde_json::{Value, json};

fn partner(observations: u32) -> Simulator {
    Simulator::start(Config {
        observations,
        ..Config::default()
    })
    .expect("a partner")
}

/// A page of the export with codes.
fn page(partner: &Simulator, query: &str) -> exchange::Answer {
    get(
        partner.url(),
        &format!("/api/exports/api/2?token=jeton-export-2&{query}"),
    )
}

fn export(partner: &Simulator, id: u32, query: &str) -> exchange::Answer {
    get(
        partner.url(),
        &format!("/api/exports/api/{id}?token=jeton-export-{id}&{query}"),
    )
}

#[test]
fn windows_of_the_key_cover_everything_once() {
    let partner = partner(5000);
    let ids = partner.ids();
    let last = *ids.last().unwrap();
    let mut read = Vec::new();
    let mut low = 0;
    while low <= last {
        let high = low + 499;
        let window = format!("filter_n_up_id_synthese={low}&filter_n_lo_id_synthese={high}");
        read.extend(page(&partner, &window).ids());
        low = high + 1;
    }
    assert_eq!(read, ids);
}

#[test]
fn the_cap_is_silent_and_zero_lifts_it() {
    let partner = partner(1500);
    for (asked, got) in [
        ("limit=5000", 1000),
        ("limit=dix", 1000),
        ("limit=10", 10),
        ("", 1000),
    ] {
        let answer = page(&partner, asked);
        assert_eq!(answer.json()["limit"], got, "{asked}");
        assert_eq!(answer.items().len(), got, "{asked}");
    }
    assert_eq!(page(&partner, "limit=0").items().len(), 1500);
    partner.set_cap(100);
    assert_eq!(page(&partner, "limit=1000").json()["limit"], 100);
    assert_eq!(page(&partner, "").items().len(), 100);
}

#[test]
fn everything_at_once_is_the_same_when_it_is_streamed() {
    let partner = partner(21_000);
    let answer = page(&partner, "limit=0");
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    assert_eq!(answer.ids(), partner.ids());
}

#[test]
fn mistakes_are_refused_or_break_the_server_as_the_real_one() {
    let partner = partner(50);
    for (query, status) in [
        ("limit=-1", 500),
        ("offset=-1", 500),
        ("orderby=nexiste", 400),
        ("orderby=cd_nom,id_synthese", 400),
        ("filter_n_up_id_synthese=dix", 500),
        ("filter_n_up_nexiste=1", 500),
        ("filter_d_up_derniere_action=hier", 500),
        ("geometry=POINT(5.7%2045)", 500),
        ("nexiste=1", 200),
        ("offset=1000", 200),
    ] {
        assert_eq!(page(&partner, query).status, status, "{query}");
    }
    let broken = page(&partner, "limit=-1");
    assert_eq!(
        broken.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(
        broken.json()["request_id"],
        broken.header("x-request-id").unwrap()
    );
}

#[test]
fn filters_are_inclusive_and_add_up() {
    let partner = partner(500);
    let ids = partner.ids();
    let (low, high) = (ids[100], ids[109]);
    let query = format!("filter_n_up_id_synthese={low}&filter_n_lo_id_synthese={high}");
    assert_eq!(page(&partner, &query).ids(), ids[100..110]);

    let truth = partner.truth();
    let moment = truth[7]["derniere_action"]
        .as_str()
        .unwrap()
        .replace(' ', "T");
    let expected = |keep: &dyn Fn(&str) -> bool| -> Vec<i64> {
        let kept = truth
            .iter()
            .filter(|row| keep(&row["derniere_action"].as_str().unwrap().replace(' ', "T")));
        kept.map(|row| row["id_synthese"].as_i64().unwrap())
            .collect()
    };
    let since = format!("filter_d_up_derniere_action={moment}%2B09:00");
    assert_eq!(
        page(&partner, &since).ids(),
        expected(&|at| at >= moment.as_str())
    );
    let until = format!("filter_d_lo_derniere_action={moment}");
    assert_eq!(
        page(&partner, &until).ids(),
        expected(&|at| at <= moment.as_str())
    );
    let exactly = format!("filter_d_eq_derniere_action={moment}");
    assert_eq!(page(&partner, &exactly).ids(), [ids[7]]);

    let cd_nom = truth[7]["cd_nom"].as_i64().unwrap();
    let of_taxon = page(&partner, &format!("cd_nom={cd_nom}")).items();
    assert!(!of_taxon.is_empty() && of_taxon.iter().all(|row| row["cd_nom"] == cd_nom));
    let of_sex = page(&partner, "sexe=2").items();
    assert!(!of_sex.is_empty() && of_sex.iter().all(|row| row["sexe"] == "2"));
}

#[test]
fn date_columns_are_silently_not_filtered() {
    let partner = partner(20);
    partner
        .add_column(2, "jour", Some((&json!("2020-01-01"), "date")))
        .unwrap();
    assert_eq!(
        page(&partner, "filter_d_up_jour=2024-01-01").items().len(),
        20
    );
}

#[test]
fn rows_come_in_the_order_that_is_asked_for() {
    let partner = partner(300);
    let ids = partner.ids();
    let reversed: Vec<i64> = ids.iter().rev().copied().collect();
    assert_eq!(page(&partner, "orderby=id_synthese:desc").ids(), reversed);
    let dates = |query: &str| -> Vec<String> {
        let items = page(&partner, query).items();
        items
            .iter()
            .map(|row| row["derniere_action"].as_str().unwrap().to_owned())
            .collect()
    };
    assert!(dates("orderby=derniere_action").is_sorted());
    assert!(
        dates("orderby=derniere_action:desc")
            .iter()
            .rev()
            .is_sorted()
    );
    let pages: Vec<i64> = (0..3)
        .flat_map(|number| {
            page(
                &partner,
                &format!("orderby=cd_nom&limit=100&offset={number}"),
            )
            .ids()
        })
        .collect();
    assert_eq!(pages.iter().collect::<BTreeSet<_>>().len(), 300);
}

#[test]
fn the_export_without_numeric_key_pages_by_its_uuid() {
    let partner = partner(250);
    let mut keys = Vec::new();
    for number in 0..3 {
        let items = export(&partner, 9, &format!("limit=100&offset={number}")).items();
        keys.extend(items.into_iter().map(|row| row["id_perm_sinp"].clone()));
    }
    let known: Vec<&str> = keys.iter().filter_map(Value::as_str).collect();
    assert_eq!(keys.len(), 250);
    assert!(known.is_sorted() && known.len() > 230);
}

#[test]
fn the_filtered_total_is_right_on_the_first_page_only() {
    let partner = partner(100);
    let figures = |offset: u32| {
        let body = page(
            &partner,
            &format!("limit=10&offset={offset}&filter_n_up_id_synthese=0"),
        )
        .json();
        (body["total"].as_i64(), body["total_filtered"].as_i64())
    };
    assert_eq!(figures(0), (Some(100), Some(100)));
    assert_eq!(figures(3), (Some(100), Some(70)));
    assert_eq!(figures(30), (Some(100), Some(0)));
}

#[test]
fn a_row_without_geometry_is_counted_and_not_shown() {
    let partner = partner(20);
    let id = partner.ids()[3];
    partner.update(id, &json!({"wkt_4326": null})).unwrap();
    let answer = export(&partner, 1, "");
    assert_eq!(answer.json()["total"], 20);
    assert_eq!(answer.json()["total_filtered"], 20);
    assert!(!answer.ids().contains(&id) && answer.ids().len() == 19);
    assert!(page(&partner, "").ids().contains(&id));
}

#[test]
fn a_geometry_filters_by_its_envelope() {
    let partner = partner(400);
    let west = "geometry=POLYGON((5 44,5.8 44,5.8 46,5 46,5 44))".replace(' ', "%20");
    let answer = export(&partner, 6, &west);
    assert_eq!(answer.status, 200);
    let rows = answer.items();
    assert!(!rows.is_empty() && rows.len() < 400);
}

#[test]
fn who_may_read_what() {
    let partner = partner(10);
    let harvester = log_in(partner.url(), "moissonneur");
    let stranger = log_in(partner.url(), "sansdroit");
    let administrator = log_in(partner.url(), "admin");
    let status = |target: &str, headers: &[(&str, &str)]| {
        ask(
            partner.url(),
            "GET",
            &format!("/api/exports/api/{target}"),
            headers,
            "",
        )
        .unwrap()
        .status
    };
    assert_eq!(status("2", &[]), 403);
    assert_eq!(status("6", &[]), 200);
    assert_eq!(status("2", &[("Cookie", &harvester)]), 200);
    assert_eq!(status("2", &[("Cookie", &stranger)]), 403);
    assert_eq!(status("2?token=bad", &[("Cookie", &harvester)]), 403);
    assert_eq!(status("2?token=jeton-export-3", &[]), 403);
    assert_eq!(status("2", &[("api-key", "jeton-export-2")]), 200);
    assert_eq!(
        status("2", &[("Authorization", "Bearer jeton-export-2")]),
        403
    );
    assert_eq!(status("7", &[("api-key", "jeton-export-7")]), 403);
    assert_eq!(status("7", &[("Cookie", &harvester)]), 403);
    assert_eq!(status("7", &[("Cookie", &administrator)]), 200);
    partner.forget_sessions();
    assert_eq!(status("2", &[("Cookie", &harvester)]), 403);
}

#[test]
fn the_jwt_opens_the_log_and_nothing_else_does() {
    let partner = partner(10);
    let headers = [
        ("Accept", "application/json"),
        ("Content-Type", "application/json"),
    ];
    let body = "{\"login\": \"moissonneur\", \"password\": \"moissonneur\"}";
    let login = ask(partner.url(), "POST", "/api/auth/login", &headers, body)
        .unwrap()
        .json();
    let log = |bearer: &str| {
        let headers = [("Accept", "application/json"), ("Authorization", bearer)];
        ask(partner.url(), "GET", "/api/synthese/log", &headers, "")
            .unwrap()
            .status
    };
    assert_eq!(
        log(&format!("Bearer {}", login["token"].as_str().unwrap())),
        200
    );
    assert_eq!(log("Bearer jeton-export-2"), 401);
    let extra = "{\"login\": \"admin\", \"password\": \"admin\", \"id_application\": 3}";
    assert_eq!(
        ask(partner.url(), "POST", "/api/auth/login", &headers, extra)
            .unwrap()
            .status,
        400
    );
}

fn log(partner: &Simulator, cookie: &str, query: &str) -> Vec<(i64, String, String)> {
    let headers = [("Accept", "application/json"), ("Cookie", cookie)];
    let target = format!("/api/synthese/log?{query}");
    let answer = ask(partner.url(), "GET", &target, &headers, "").unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let entry = |item: &Value| {
        let (action, at) = (&item["last_action"], &item["meta_last_action_date"]);
        (
            item["id_synthese"].as_i64().unwrap(),
            text(action),
            text(at),
        )
    };
    answer.items().iter().map(entry).collect()
}

#[test]
fn deletions_of_one_statement_come_in_an_unstable_order() {
    let partner = partner(500);
    let cookie = log_in(partner.url(), "moissonneur");
    let deleted: Vec<i64> = partner.ids()[100..200].to_vec();
    assert_eq!(partner.delete(&deleted), 100);
    let whole = log(&partner, &cookie, "last_action=D&limit=1000");
    assert_eq!(
        whole
            .iter()
            .map(|(_, _, at)| at)
            .collect::<BTreeSet<_>>()
            .len(),
        1
    );
    let ids: BTreeSet<i64> = whole.iter().map(|(id, _, _)| *id).collect();
    assert_eq!(ids, deleted.iter().copied().collect());
    let paged: BTreeSet<i64> = (1..=5)
        .flat_map(|number| {
            log(
                &partner,
                &cookie,
                &format!("last_action=D&limit=20&page={number}"),
            )
        })
        .map(|(id, _, _)| id)
        .collect();
    assert!(
        paged.len() < 100,
        "pages of ties repeat some and miss others"
    );
}

#[test]
fn the_log_is_cut_by_dates() {
    let partner = partner(300);
    let cookie = log_in(partner.url(), "moissonneur");
    let all = log(&partner, &cookie, "limit=1000");
    assert_eq!(all.len(), 300);
    assert!(all.iter().map(|(_, _, at)| at).is_sorted());
    let middle = all[150].2.replace(' ', "%20");
    let from = log(
        &partner,
        &cookie,
        &format!("limit=1000&meta_last_action_date=gte:{middle}"),
    );
    let after = log(
        &partner,
        &cookie,
        &format!("limit=1000&meta_last_action_date=gt:{middle}"),
    );
    assert_eq!((from.len(), after.len()), (150, 149));
    let both = format!("meta_last_action_date=gte:{middle}&meta_last_action_date=lte:{middle}");
    assert_eq!(log(&partner, &cookie, &both).len(), 1);
    assert_eq!(log(&partner, &cookie, "").len(), 50);
}

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
    while exchange::connect(&url).is_ok() {
        assert!(Instant::now() < deadline, "still listening");
        std::thread::sleep(Duration::from_millis(10));
    }
}
