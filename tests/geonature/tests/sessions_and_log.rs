//! Who may read what, and the log of the synthesis with its ties.

mod exchange;

use std::collections::BTreeSet;

use exchange::{ask, log_in, partner};
use geonature_simulator::Simulator;
use serde_json::Value;

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
