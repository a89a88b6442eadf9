//! Partners fail in every way that the simulator knows: what passes is retried and nothing is missing, what lasts
//! ends the run within bounds, and nothing partial is ever taken for complete.

use std::sync::OnceLock;

use geonature_simulator::{Config, Fault, Route, Rule, Simulator};
use gn_harvest_outside::{Cluster, Database};

use crate::support::*;

/// A cluster that gives partners a few seconds and eight megabytes.
pub fn impatient_cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let cluster = Cluster::temporary(&[
            ("gn_harvest.request_timeout", "4"),
            ("gn_harvest.connect_timeout", "4"),
            ("gn_harvest.max_body", "8"),
        ]);
        cluster.stop_at_exit();
        cluster
    })
}

const OBSERVATIONS: u32 = 400;
/// Requests that a full run makes before it reads: a sample, the last change, the least and the greatest key.
const QUESTIONS: u64 = 4;

/// Partners that share no UUID with one another.
fn distinct_partner(number: usize) -> Simulator {
    partner_with(Config {
        observations: OBSERVATIONS,
        seed: 1000 + number as u64,
        ..Config::default()
    })
}

fn status(status: u16) -> Fault {
    Fault::Status {
        status,
        retry_after: None,
        retry_after_date: None,
        json: status.is_multiple_of(2),
    }
}

#[test]
fn a_fault_that_passes_is_retried_and_nothing_is_missing() {
    const RETRIED: bool = true;
    let cases = [
        (Fault::Slow { seconds: 0.3 }, !RETRIED),
        (Fault::SlowBody { seconds: 0.3 }, !RETRIED),
        (Fault::Hang, RETRIED),
        (Fault::HangInBody { after_bytes: 2000 }, RETRIED),
        (Fault::Reset { after_bytes: 0 }, RETRIED),
        (Fault::Reset { after_bytes: 30 }, RETRIED),
        (Fault::Reset { after_bytes: 5000 }, RETRIED),
        (Fault::TruncatedBody { keep: 0.7 }, RETRIED),
        (Fault::TruncatedJson, RETRIED),
        (Fault::InvalidJson, RETRIED),
        (Fault::EmptyBody, RETRIED),
        (Fault::Html, RETRIED),
        (status(408), RETRIED),
        (status(429), RETRIED),
        (status(500), RETRIED),
        (status(502), RETRIED),
        (status(503), RETRIED),
        (status(504), RETRIED),
        (Fault::LowerCap { cap: 30 }, !RETRIED),
        (
            Fault::ContentType {
                value: "text/plain".to_owned(),
            },
            !RETRIED,
        ),
        (Fault::WrongTotal { total: 12 }, !RETRIED),
        (
            Fault::WrongDate {
                offset_seconds: 7200,
                value: None,
            },
            !RETRIED,
        ),
        (
            Fault::WrongDate {
                offset_seconds: 0,
                value: Some("hier".to_owned()),
            },
            !RETRIED,
        ),
    ];
    let database = impatient_cluster().database();
    for_each_case(&cases, |number, (fault, retried)| {
        let (partner, name) = (distinct_partner(number), format!("source {number}"));
        add_source(&database, &name, &partner, 3, "page_size => 100");
        // Once at the first question, once while it reads.
        partner.set_faults(vec![
            Rule::times(Route::Export, 1, fault.clone()),
            Rule::times(Route::Export, 1, fault.clone()).after(QUESTIONS + 3),
        ]);
        let run = run_well(&database, &name, "auto");
        let hits: u64 = partner.faults_applied().iter().sum();
        assert_eq!(hits, 2, "{fault:?}");
        let retries = if *retried { 2 } else { 0 };
        assert_eq!(number_of(&run, "retries"), retries, "{fault:?}: {run:?}");
        assert_eq!(
            (number_of(&run, "fetched"), number_of(&run, "inserted")),
            (OBSERVATIONS.into(), OBSERVATIONS.into()),
            "{fault:?}"
        );
        assert_complete(&database, &name, &partner);
    });
}

/// `number` without the clash of names in closures.
fn number_of(row: &gn_harvest_outside::Row, column: &str) -> i64 {
    crate::support::number(row, column)
}

#[test]
fn an_answer_too_large_for_a_window_is_asked_again_in_smaller_ones() {
    let cases = [
        Fault::EndlessBody,
        Fault::HugeBody {
            bytes: 2_000_000_000,
        },
        Fault::GzipBomb { bytes: 20_000_000 },
    ];
    let database = impatient_cluster().database();
    for_each_case(&cases, |number, fault| {
        let (partner, name) = (distinct_partner(number), format!("source {number}"));
        add_source(&database, &name, &partner, 3, "page_size => 100");
        partner.add_fault(Rule::times(Route::Export, 1, fault.clone()).after(QUESTIONS + 1));
        run_well(&database, &name, "auto");
        assert_eq!(partner.faults_applied()[0], 1);
        assert_complete(&database, &name, &partner);
    });
}

#[test]
fn a_fault_that_lasts_fails_the_run_and_the_next_one_goes_on_from_there() {
    let too_large = "the answer is larger than 8388608 bytes";
    let smaller = "page_size";
    // Fault, SQLSTATE, what happened, what was seen, the call to make.
    let cases: [(Fault, &str, &str, &str, &str); 21] = [
        (
            Fault::Hang,
            "08006",
            "no complete answer within 4 s",
            "/api/exports/api/3?",
            smaller,
        ),
        (
            Fault::HangInBody { after_bytes: 2000 },
            "08006",
            "no complete answer within 4 s",
            "/api/exports/api/3?",
            smaller,
        ),
        (
            Fault::Reset { after_bytes: 30 },
            "08006",
            "the connection was lost",
            "/api/exports/api/3?",
            "gn_harvest.run(",
        ),
        (
            Fault::Reset { after_bytes: 5000 },
            "08006",
            "the connection was lost",
            "/api/exports/api/3?",
            "gn_harvest.run(",
        ),
        (
            Fault::TruncatedBody { keep: 0.5 },
            "08006",
            "the answer stopped before its end",
            "/api/exports/api/3?",
            "gn_harvest.run(",
        ),
        (
            Fault::TruncatedJson,
            "22032",
            "the answer is not JSON",
            "HTTP 200",
            "gn_harvest.check_source(",
        ),
        (
            Fault::InvalidJson,
            "22032",
            "the answer is not JSON",
            "HTTP 200",
            "gn_harvest.check_source(",
        ),
        (
            Fault::EmptyBody,
            "22032",
            "the answer is not JSON",
            "HTTP 200",
            "gn_harvest.check_source(",
        ),
        (
            Fault::Html,
            "22032",
            "the answer is not JSON",
            "answer: GeoNature",
            "gn_harvest.check_source(",
        ),
        (
            status(400),
            "38000",
            "the server answered HTTP 400",
            "HTTP 400",
            "gn_harvest.check_source(",
        ),
        (
            status(401),
            "28000",
            "the server refuses the login or the token",
            "HTTP 401",
            "gn_harvest.set_credentials(",
        ),
        (
            status(403),
            "42501",
            "access to export 3 is refused",
            "HTTP 403",
            "gn_harvest.set_credentials(",
        ),
        (
            status(404),
            "42704",
            "there is no export 3 at this address",
            "HTTP 404",
            "gn_harvest.alter_source(",
        ),
        (
            status(429),
            "38000",
            "the server answered HTTP 429",
            "HTTP 429",
            "connections => 1",
        ),
        (
            status(500),
            "38000",
            "the server answered HTTP 500",
            "HTTP 500",
            "X-Request-ID",
        ),
        (
            status(502),
            "38000",
            "the server answered HTTP 502",
            "HTTP 502",
            smaller,
        ),
        (
            status(503),
            "38000",
            "the server answered HTTP 503",
            "HTTP 503",
            "try again later",
        ),
        (
            status(504),
            "38000",
            "the server answered HTTP 504",
            "HTTP 504",
            smaller,
        ),
        (
            Fault::EndlessBody,
            "54000",
            too_large,
            "/api/exports/api/3?",
            smaller,
        ),
        (
            Fault::HugeBody {
                bytes: 2_000_000_000,
            },
            "54000",
            too_large,
            "/api/exports/api/3?",
            smaller,
        ),
        (
            Fault::GzipBomb { bytes: 20_000_000 },
            "54000",
            too_large,
            "/api/exports/api/3?",
            smaller,
        ),
    ];
    let database = impatient_cluster().database();
    for_each_case(
        &cases,
        |number, (fault, sqlstate, message, detail, hint)| {
            let (partner, name) = (distinct_partner(number), format!("source {number}"));
            add_source(
                &database,
                &name,
                &partner,
                3,
                "page_size => 50, retry_budget => 2",
            );
            partner.add_fault(Rule::always(Route::Export, fault.clone()).after(QUESTIONS + 3));
            let first = run(&database, &name, "auto");
            let says = |column: &str, wanted: &str| {
                let said = text(&first, column);
                assert!(
                    said.contains(wanted),
                    "{fault:?}: {column} is \"{said}\", not {wanted}"
                );
            };
            says("status", "failed");
            says("error_sqlstate", sqlstate);
            says("error_message", message);
            says("error_detail", detail);
            says("error_detail", partner.url());
            says("error_hint", hint);
            if matches!(fault, Fault::Status { .. }) {
                says("error_detail", "X-Request-ID");
            }
            assert!(number_of(&first, "retries") <= 2, "{first:?}");
            assert_eq!(
            database.value(&format!("SELECT coalesce(watermark, 'none') || ', ' || (last_import IS NULL) FROM gn_harvest.source_status WHERE source = '{name}'")),
            "none, true",
            "{fault:?}: what failed is no success"
        );
            // What came whole is written, and only that.
            let written = number_of(&first, "inserted");
            assert!(
                written > 0 && written < OBSERVATIONS.into(),
                "{fault:?}: {first:?}"
            );
            assert_eq!(
                database.number(&format!(
                    "SELECT observations FROM gn_harvest.source_status WHERE source = '{name}'"
                )),
                written
            );
            partner.clear_faults();
            let second = run_well(&database, &name, "auto");
            assert_eq!(text(&second, "resumes"), text(&first, "run"), "{fault:?}");
            assert_eq!(
                number_of(&second, "inserted"),
                i64::from(OBSERVATIONS) - written,
                "{fault:?}: what was written is not read again: {second:?}"
            );
            assert_complete(&database, &name, &partner);
            assert_ne!(
                database.value(&format!(
                    "SELECT watermark FROM gn_harvest.source_status WHERE source = '{name}'"
                )),
                ""
            );
        },
    );
}

#[test]
fn a_partner_that_is_stopped_fails_the_run_and_the_next_one_goes_on() {
    let database = impatient_cluster().database();
    let partner = distinct_partner(0);
    add_source(&database, "cen", &partner, 3, "retry_budget => 1");
    let port = partner.port();
    drop(partner);
    let row = run(&database, "cen", "auto");
    assert_eq!(text(&row, "status"), "failed");
    assert_eq!(text(&row, "error_sqlstate"), "08001");
    assert!(
        text(&row, "error_message").contains(&format!("no connection to 127.0.0.1:{port}")),
        "{row:?}"
    );
    assert!(text(&row, "error_hint").contains("gn_harvest.check_source("));
    let partner = partner_with(Config {
        observations: OBSERVATIONS,
        seed: 1000,
        port,
        ..Config::default()
    });
    run_well(&database, "cen", "auto");
    assert_complete(&database, "cen", &partner);
}

#[test]
fn an_expired_session_is_renewed_once_and_nothing_is_missing() {
    let database = cluster().database();
    for (number, connections) in [1, 4].into_iter().enumerate() {
        let (partner, name) = (distinct_partner(number), format!("source {number}"));
        let options = format!("page_size => 25, connections => {connections}");
        add_source_by_login(&database, &name, &partner, 3, MOISSONNEUR, &options);
        partner
            .add_fault(Rule::times(Route::Export, 1, Fault::ExpiredSession).after(QUESTIONS + 3));
        let row = run_well(&database, &name, "auto");
        assert_eq!(partner.figures().logins, 2, "{row:?}");
        assert_complete(&database, &name, &partner);
    }
}

#[test]
fn a_session_that_expires_at_once_is_not_renewed_for_ever() {
    let database = cluster().database();
    let partner = distinct_partner(0);
    add_source_by_login(&database, "cen", &partner, 3, MOISSONNEUR, "");
    partner.add_fault(Rule::always(Route::Export, Fault::ExpiredSession));
    let row = run(&database, "cen", "auto");
    assert_eq!(
        (text(&row, "status"), text(&row, "error_sqlstate")),
        ("failed", "42501"),
        "{row:?}"
    );
    assert_eq!(partner.figures().logins, 2);
}

const MOISSONNEUR: (&str, &str) = ("moissonneur", "moissonneur");

fn logins_tried(partner: &Simulator) -> u64 {
    let figures = partner.figures();
    figures
        .routes
        .get("login")
        .map_or(0, |login| login.requests)
}

#[test]
fn a_wrong_password_is_tried_once_so_that_no_account_is_locked() {
    let database = cluster().database();
    let partner = distinct_partner(0);
    add_source_by_login(
        &database,
        "cen",
        &partner,
        3,
        ("moissonneur", "périmé"),
        "connections => 4",
    );
    let row = run(&database, "cen", "auto");
    assert_eq!(
        (text(&row, "status"), text(&row, "error_sqlstate")),
        ("failed", "28000"),
        "{row:?}"
    );
    assert_eq!(
        text(&row, "error_message"),
        "the server refuses the login or the token"
    );
    assert!(
        text(&row, "error_detail").contains("/api/auth/login, HTTP 401"),
        "{row:?}"
    );
    assert!(
        text(&row, "error_detail").contains("Incorrect login"),
        "{row:?}"
    );
    assert!(
        text(&row, "error_hint").contains("gn_harvest.set_credentials(name, login"),
        "{row:?}"
    );
    assert_eq!(logins_tried(&partner), 1);
    database.rows("SELECT * FROM gn_harvest.check_source('cen')");
    assert_eq!(logins_tried(&partner), 2, "a check tries once, too");
    database.run("SELECT gn_harvest.set_credentials('cen', login => 'moissonneur', password => 'moissonneur')");
    run_well(&database, "cen", "auto");
    assert_complete(&database, "cen", &partner);
}

#[test]
fn a_password_changed_while_it_runs_is_tried_once_by_all_connections_together() {
    let database = cluster().database();
    let partner = distinct_partner(0);
    add_source_by_login(
        &database,
        "cen",
        &partner,
        3,
        MOISSONNEUR,
        "page_size => 20, connections => 4",
    );
    partner.set_cost(0.1, 0.0);
    let run = start(&database, "cen", "auto");
    until(60, "it reads", || partner.figures().requests > 8);
    partner.set_password("moissonneur", "nouveau");
    partner.forget_sessions();
    let row = ended(&database, run);
    assert_eq!(text(&row, "error_sqlstate"), "28000", "{row:?}");
    assert_eq!(logins_tried(&partner), 2);
}

#[test]
fn what_the_partner_does_not_open_is_said_with_the_call_to_make() {
    let database = cluster().database();
    let partner = distinct_partner(0);
    let url = partner.url().to_owned();
    // Arguments of add_source, SQLSTATE, message, detail, hint.
    let cases = [
        (
            "1, token => E'jeton\\nCookie: session=x'",
            "22023",
            "the token contains characters that no token has",
            "",
            "set_credentials",
        ),
        (
            "1, token => 'jeton-perime'",
            "42501",
            "access to export 1 is refused",
            "HTTP 403",
            "set_credentials",
        ),
        (
            "1",
            "42501",
            "access to export 1 is refused",
            "HTTP 403",
            "set_credentials",
        ),
        (
            "7, token => 'jeton-export-7'",
            "42501",
            "access to export 7 is refused",
            "HTTP 403",
            "Ask the partner",
        ),
        (
            "7, login => 'moissonneur', password => 'moissonneur'",
            "42501",
            "access to export 7 is refused",
            "HTTP 403",
            "Ask the partner",
        ),
        (
            "3, login => 'sansdroit', password => 'sansdroit'",
            "42501",
            "access to export 3 is refused",
            "HTTP 403",
            "Ask the partner",
        ),
        (
            "99, login => 'moissonneur', password => 'moissonneur'",
            "42704",
            "there is no export 99 at this address",
            "HTTP 404",
            "export_id => ",
        ),
        (
            "8",
            "38000",
            "the server answered HTTP 500",
            "X-Request-ID",
            "give them the X-Request-ID",
        ),
    ];
    for (number, (arguments, sqlstate, message, detail, hint)) in cases.into_iter().enumerate() {
        let name = format!("source {number}");
        database.run(&format!(
            "SELECT gn_harvest.add_source('{name}', '{url}', {arguments})"
        ));
        let row = run(&database, &name, "auto");
        let said = [
            ("status", "failed"),
            ("error_sqlstate", sqlstate),
            ("error_message", message),
            ("error_detail", detail),
            ("error_hint", hint),
        ];
        for (column, wanted) in said {
            assert!(
                text(&row, column).contains(wanted),
                "{arguments}: {column} is not {wanted}: {row:?}"
            );
        }
        assert!(number_of(&row, "requests") <= 5, "{arguments}: {row:?}");
    }
    assert_eq!(
        database.number("SELECT count(*) FROM gn_synthese.synthese"),
        0
    );
}

#[test]
fn bodies_without_end_do_not_grow_the_memory_of_the_worker() {
    const MOST_ABOVE_BASELINE: u64 = 200 * 1024;
    // With the usual limit of 64 MB an answer.
    let database = cluster().database();
    let cases = [
        Rule::always(Route::Export, Fault::EndlessBody),
        Rule::always(
            Route::Export,
            Fault::HugeBody {
                bytes: 2_000_000_000,
            },
        ),
        Rule::times(Route::Export, 2, Fault::GzipBomb { bytes: 200_000_000 }),
    ];
    for (number, rule) in cases.into_iter().enumerate() {
        let (partner, name) = (distinct_partner(number), format!("source {number}"));
        add_source(&database, &name, &partner, 3, "page_size => 8");
        let fault = rule.fault.clone();
        let lasts = rule.times.is_none();
        partner.set_faults(vec![
            Rule::times(Route::Export, 1, Fault::Slow { seconds: 1.0 }),
            rule.after(QUESTIONS),
        ]);
        let run = start(&database, &name, "auto");
        let pid = database.number(&format!("SELECT pid FROM gn_harvest.run WHERE id = {run}"));
        until(30, "it asks", || partner.figures().requests > 0);
        let baseline = peak_kilobytes(pid).expect("a worker");
        let mut peak = baseline;
        while let Some(now) = peak_kilobytes(pid) {
            peak = peak.max(now);
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(
            peak - baseline < MOST_ABOVE_BASELINE,
            "{fault:?}: from {baseline} kB to {peak} kB"
        );
        let row = ended(&database, run);
        if lasts {
            assert_eq!(
                (
                    text(&row, "status"),
                    text(&row, "error_sqlstate"),
                    text(&row, "error_message")
                ),
                (
                    "failed",
                    "54000",
                    "the answer is larger than 67108864 bytes"
                ),
                "{fault:?}: {row:?}"
            );
            assert!(
                text(&row, "error_hint").contains("page_size => "),
                "{row:?}"
            );
        } else {
            assert_eq!(text(&row, "status"), "succeeded", "{fault:?}: {row:?}");
            assert_complete(&database, &name, &partner);
        }
    }
}

/// The most memory that a process ever had; none once it is gone.
fn peak_kilobytes(pid: i64) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn watermarks(database: &Database, name: &str) -> String {
    database.value(&format!(
        "SELECT concat_ws(', ', st.watermark, st.deletion_watermark)
         FROM gn_harvest.source_state st JOIN gn_harvest.source s ON s.id = st.source_id WHERE s.name = '{name}'"
    ))
}

#[test]
fn what_changed_is_not_missed_when_the_incremental_run_that_should_bring_it_fails() {
    let database = impatient_cluster().database();
    let cases = [
        Rule::always(Route::Export, Fault::TruncatedJson),
        Rule::always(Route::Export, Fault::Html).after(1),
        Rule::always(Route::Export, status(503)).after(2),
        Rule::always(Route::Export, Fault::Reset { after_bytes: 2000 }).after(3),
        Rule::always(Route::Export, Fault::EndlessBody).after(3),
    ];
    for_each_case(&cases, |number, rule| {
        let (partner, name) = (distinct_partner(number), format!("source {number}"));
        add_source(
            &database,
            &name,
            &partner,
            3,
            "page_size => 30, retry_budget => 1",
        );
        run_well(&database, &name, "auto");
        let before = watermarks(&database, &name);
        let ids = partner.ids();
        let change = serde_json::json!({"nombre_min": 61, "nombre_max": 67});
        partner
            .update_many(&ids[10..150], &change)
            .expect("changes");
        partner.insert(&serde_json::json!({})).expect("a new one");
        partner.set_faults(vec![rule.clone()]);
        let row = run(&database, &name, "incremental");
        assert_eq!(text(&row, "status"), "failed", "{rule:?}: {row:?}");
        assert_eq!(watermarks(&database, &name), before, "{rule:?}");
        partner.clear_faults();
        run_well(&database, &name, "incremental");
        assert_complete(&database, &name, &partner);
        assert_ne!(watermarks(&database, &name), before, "{rule:?}");
    });
}

#[test]
fn a_log_of_deletions_that_can_not_be_read_is_asked_for_again() {
    let database = impatient_cluster().database();
    let cases = [
        status(500),
        status(403),
        Fault::TruncatedJson,
        Fault::Html,
        Fault::Hang,
        Fault::EndlessBody,
        Fault::Reset { after_bytes: 200 },
    ];
    for_each_case(&cases, |number, fault| {
        let (partner, name) = (distinct_partner(number), format!("source {number}"));
        add_source_by_login(
            &database,
            &name,
            &partner,
            3,
            MOISSONNEUR,
            "retry_budget => 0",
        );
        run_well(&database, &name, "auto");
        let ids = partner.ids();
        partner.delete(&ids[20..30]);
        partner.add_fault(Rule::always(Route::Log, fault.clone()));
        let row = run_well(&database, &name, "incremental");
        assert_eq!(number_of(&row, "deleted"), 0);
        assert!(
            text(&row, "warnings").contains("deletions could not be asked for"),
            "{fault:?}: {row:?}"
        );
        partner.clear_faults();
        let row = run_well(&database, &name, "incremental");
        assert_eq!(number_of(&row, "deleted"), 10, "{fault:?}: {row:?}");
        assert_complete(&database, &name, &partner);
    });
}

#[test]
fn a_reconcile_under_faults_deletes_what_is_gone_and_nothing_else() {
    let database = impatient_cluster().database();
    let (lasts, passes) = (true, false);
    let cases = [
        (Fault::LowerCap { cap: 7 }, lasts),
        (Fault::WrongTotal { total: 12 }, lasts),
        (Fault::TruncatedBody { keep: 0.9 }, passes),
        (Fault::InvalidJson, passes),
        (status(504), passes),
        (Fault::EndlessBody, passes),
    ];
    for_each_case(&cases, |number, (fault, lasts)| {
        let (partner, name) = (distinct_partner(number), format!("source {number}"));
        add_source(&database, &name, &partner, 3, "page_size => 60");
        run_well(&database, &name, "auto");
        let ids = partner.ids();
        partner.delete_silently(&ids[20..30]);
        let rule = if *lasts {
            Rule::always(Route::Export, fault.clone())
        } else {
            Rule::times(Route::Export, 1, fault.clone())
        };
        partner.set_faults(vec![rule.after(QUESTIONS + 1)]);
        let row = run_well(&database, &name, "reconcile");
        assert_eq!(number_of(&row, "deleted"), 10, "{fault:?}: {row:?}");
        assert!(partner.faults_applied()[0] > 0);
        assert_complete(&database, &name, &partner);
    });
}

#[test]
fn a_reconcile_that_fails_deletes_nothing() {
    let database = impatient_cluster().database();
    let partner = distinct_partner(0);
    add_source(
        &database,
        "cen",
        &partner,
        3,
        "page_size => 60, retry_budget => 1",
    );
    run_well(&database, "cen", "auto");
    let ids = partner.ids();
    partner.delete_silently(&ids[20..30]);
    partner.add_fault(Rule::always(Route::Export, Fault::TruncatedJson).after(QUESTIONS + 4));
    let row = run(&database, "cen", "reconcile");
    assert_eq!(text(&row, "status"), "failed", "{row:?}");
    assert_eq!(number_of(&row, "deleted"), 0, "{row:?}");
    assert_eq!(
        database.number("SELECT count(*) FROM gn_synthese.synthese"),
        i64::from(OBSERVATIONS)
    );
    partner.clear_faults();
    run_well(&database, "cen", "reconcile");
    assert_complete(&database, "cen", &partner);
}
