//! The log of deletions is read whole, whatever the ties, the order of its pages
//! and the cap of the server.

mod geonature_support;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use geonature_support::*;
use gn_harvest_pure::geonature::{Credentials, Deletion, FetchError};

#[derive(Clone, Copy, PartialEq)]
enum Sort {
    NewestFirst,
    OldestFirst,
    None,
}

/// A log whose rows of a same date come in another order at each request.
fn server(log: Vec<(String, i64)>, cap: usize, sort: Sort) -> Server {
    let dice = AtomicU64::new(1);
    Server::start(move |asked, _| {
        if asked.path.ends_with("/auth/login") {
            return json(200, r#"{"token":"jwt"}"#);
        }
        assert_eq!(asked.path, "/geonature/api/synthese/log");
        assert_eq!(asked.header("authorization"), Some("Bearer jwt"));
        assert_eq!(asked.parameter("last_action"), Some("D"));
        let mut rows = log.clone();
        for (_, value) in asked
            .query
            .iter()
            .filter(|(name, _)| name == "meta_last_action_date")
        {
            let (operator, date) = value.split_once(':').expect("operator");
            rows.retain(|(of_row, _)| match operator {
                "gte" => of_row.as_str() >= date,
                "gt" => of_row.as_str() > date,
                "lte" => of_row.as_str() <= date,
                "lt" => of_row.as_str() < date,
                other => panic!("{other}"),
            });
        }
        shuffle(&mut rows, &dice);
        match sort {
            Sort::NewestFirst => rows.sort_by(|a, b| b.0.cmp(&a.0)),
            Sort::OldestFirst => rows.sort_by(|a, b| a.0.cmp(&b.0)),
            Sort::None => {}
        }
        let limit = (asked.number("limit").expect("limit") as usize).min(cap);
        let page = asked.number("page").expect("page") as usize;
        let items: Vec<String> = rows
            .iter()
            .skip((page - 1) * limit)
            .take(limit)
            .map(|(date, id)| {
                format!(
                    r#"{{"id_synthese":{id},"last_action":"D","meta_last_action_date":"{date}"}}"#
                )
            })
            .collect();
        let (items, total) = (items.join(","), rows.len());
        json(
            200,
            format!(r#"{{"items":[{items}],"limit":{limit},"page":{page},"total":{total}}}"#),
        )
    })
}

fn shuffle(rows: &mut [(String, i64)], dice: &AtomicU64) {
    for index in (1..rows.len()).rev() {
        let next = |x: u64| x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let drawn = dice.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |x| Some(next(x)));
        rows.swap(index, (drawn.expect("dice") >> 33) as usize % (index + 1));
    }
}

/// Statements that deleted 1, 40 and 5 observations at a time.
fn log() -> Vec<(String, i64)> {
    let mut rows = Vec::new();
    let mut id = 0;
    for (day, deleted) in (1..).zip([1, 40, 5, 1, 1, 40, 3]) {
        for _ in 0..deleted {
            id += 1;
            rows.push((format!("2026-11-{day:02} 10:00:00.000001"), id));
        }
    }
    rows
}

fn expected(log: &[(String, i64)], since: &str) -> BTreeSet<Deletion> {
    let rows = log.iter().filter(|(date, _)| date.as_str() >= since);
    rows.map(|(date, id)| Deletion {
        date: date.clone(),
        id_synthese: *id,
    })
    .collect()
}

#[test]
fn a_log_without_cap_is_read_in_one_request() {
    let server = server(log(), usize::MAX, Sort::NewestFirst);
    let found = client(&server, account())
        .deletions("2026-11-02 10:00:00")
        .expect("log");
    let set: BTreeSet<Deletion> = found.iter().cloned().collect();
    assert_eq!(set, expected(&log(), "2026-11-02 10:00:00"));
    assert!(found.is_sorted());
    assert_eq!(server.count(), 2, "login and log");
}

#[test]
fn deletions_that_share_a_date_are_all_found_exactly_once() {
    for sort in [Sort::NewestFirst, Sort::OldestFirst, Sort::None] {
        for cap in [1, 7, 40, 41, 60] {
            let server = server(log(), cap, sort);
            if cap == 1 && sort != Sort::None {
                continue; // Forty rows of one date, one at a time in a random order: hopeless.
            }
            if sort == Sort::None && cap < 40 {
                continue;
            }
            let found = client(&server, account())
                .deletions("2026-11-02")
                .expect("log");
            let set: BTreeSet<Deletion> = found.iter().cloned().collect();
            assert_eq!(set.len(), found.len(), "given twice");
            assert_eq!(set, expected(&log(), "2026-11-02"));
        }
    }
}

#[test]
fn a_log_that_never_shows_an_entry_is_not_taken_for_whole() {
    let server = Server::start(|asked, _| {
        if asked.path.ends_with("/auth/login") {
            return json(200, r#"{"token":"jwt"}"#);
        }
        let item =
            r#"{"id_synthese":1,"last_action":"D","meta_last_action_date":"2026-11-01 10:00:00"}"#;
        let items = if asked.parameter("page") == Some("1") {
            item
        } else {
            ""
        };
        json(
            200,
            format!(r#"{{"items":[{items}],"limit":50,"page":1,"total":3}}"#),
        )
    });
    let error = client(&server, account())
        .deletions("")
        .expect_err("incomplete");
    assert!(
        matches!(error, FetchError::LogIncomplete { read: 1, total: 3 }),
        "{error}"
    );
}

#[test]
fn the_log_needs_an_account() {
    let server = server(log(), 50, Sort::NewestFirst);
    for credentials in [token(), Credentials::Public] {
        let error = client(&server, credentials)
            .deletions("")
            .expect_err("account");
        assert!(matches!(error, FetchError::LoginNeeded { .. }));
        assert!(error.hint().expect("hint").contains("set_credentials"));
    }
    assert_eq!(server.count(), 0);
}
