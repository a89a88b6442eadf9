//! What the partner's server sees of a harvest: few requests, never more at once than agreed, who asks,
//! and that its wishes are heard.

use std::collections::BTreeSet;

use geonature_simulator::{Config, Fault, Route, Rule, SeenRequest, Simulator};

use crate::faults::impatient_cluster;
use crate::support::*;

const EXPORT: &str = "/api/exports/api/";

fn slow_down(retry_after: Option<&str>, date: Option<i64>) -> Fault {
    Fault::Status {
        status: 429,
        retry_after: retry_after.map(str::to_owned),
        retry_after_date: date,
        json: true,
    }
}

fn requests(partner: &Simulator) -> Vec<SeenRequest> {
    partner.figures().last.into_iter().collect()
}

#[test]
fn retry_after_is_honoured_in_seconds_and_as_a_date() {
    let database = cluster().database();
    // A date has no fractions: three seconds away may be little more than two.
    for (name, fault, least) in [
        ("seconds", slow_down(Some("2"), None), 2.0),
        ("date", slow_down(None, Some(3)), 1.9),
    ] {
        let partner = partner_with(Config {
            observations: 300,
            seed: name.len() as u64,
            ..Config::default()
        });
        add_source(
            &database,
            name,
            &partner,
            3,
            "page_size => 50, connections => 1",
        );
        partner.add_fault(Rule::times(Route::Export, 1, fault).after(6));
        let row = run_well(&database, name, "auto");
        assert_eq!(number(&row, "retries"), 1, "{row:?}");
        let seen = requests(&partner);
        let at = seen
            .iter()
            .position(|seen| seen.status == 429)
            .expect("a 429");
        let waited = (seen[at + 1].at - seen[at].at) as f64 / 1e6;
        assert!(waited >= least, "{name}: asked again after {waited} s");
        assert_eq!(
            seen[at + 1].query,
            seen[at].query,
            "{name}: the same page is asked again"
        );
        assert_complete(&database, name, &partner);
    }
}

#[test]
fn while_one_thread_was_asked_to_wait_no_other_asks() {
    let database = cluster().database();
    let partner = partner(600);
    add_source(
        &database,
        "cen",
        &partner,
        3,
        "page_size => 20, connections => 4",
    );
    partner.add_fault(Rule::times(Route::Export, 1, slow_down(Some("3"), None)).after(12));
    run_well(&database, "cen", "auto");
    let seen = requests(&partner);
    let refused = seen.iter().find(|seen| seen.status == 429).expect("a 429");
    // Those that were on their way when the answer came arrive at once; nobody else for three seconds.
    let meanwhile: Vec<_> = seen
        .iter()
        .filter(|seen| (refused.at + 1_000_000..refused.at + 2_900_000).contains(&seen.at))
        .collect();
    assert!(meanwhile.is_empty(), "{meanwhile:?}");
    assert_complete(&database, "cen", &partner);
}

#[test]
fn a_server_that_asks_for_an_hour_is_left_alone() {
    let database = cluster().database();
    let partner = partner(300);
    add_source(&database, "cen", &partner, 3, "");
    partner.add_fault(Rule::always(Route::Export, slow_down(Some("3600"), None)));
    let row = run(&database, "cen", "auto");
    assert_eq!(text(&row, "status"), "failed");
    assert!(
        text(&row, "error_detail").contains("Retry-After 3600 s"),
        "{row:?}"
    );
    assert!(text(&row, "error_hint").contains("slow down"), "{row:?}");
    assert_eq!(partner.figures().requests, 1);
}

#[test]
fn a_wish_that_is_no_number_or_a_past_date_does_not_hurry_or_hang_the_run() {
    let database = cluster().database();
    for (number, fault) in [
        slow_down(Some("soon"), None),
        slow_down(Some("-5"), None),
        slow_down(None, Some(-3600)),
        slow_down(Some("Wed, 21 Oct 2015 07:28:00 GMT"), None),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("source {number}");
        let partner = partner_with(Config {
            observations: 30,
            seed: 50 + number as u64,
            ..Config::default()
        });
        add_source(&database, &name, &partner, 3, "");
        partner.add_fault(Rule::times(Route::Export, 2, fault.clone()));
        let row = run_well(&database, &name, "auto");
        assert_eq!(crate::support::number(&row, "retries"), 2, "{row:?}");
        let seen = requests(&partner);
        let gap = (seen[1].at - seen[0].at) as f64 / 1e6;
        assert!(gap >= 0.4, "{fault:?}: asked again after {gap} s");
    }
}

#[test]
fn never_more_requests_at_once_than_connections() {
    let database = cluster().database();
    for connections in [1, 3] {
        let partner = partner_with(Config {
            observations: 1000,
            seed: connections,
            ..Config::default()
        });
        let name = format!("by {connections}");
        add_source(
            &database,
            &name,
            &partner,
            3,
            &format!("page_size => 40, connections => {connections}"),
        );
        partner.set_cost(0.05, 0.0);
        run_well(&database, &name, "auto");
        assert_eq!(partner.figures().max_concurrent, connections);
        assert_complete(&database, &name, &partner);
    }
}

#[test]
fn a_session_is_asked_for_once_and_shared_by_all_connections() {
    let database = cluster().database();
    let partner = partner(500);
    add_source_by_login(
        &database,
        "cen",
        &partner,
        3,
        ("moissonneur", "moissonneur"),
        "page_size => 40, connections => 4",
    );
    partner.set_cost(0.03, 0.0);
    run_well(&database, "cen", "auto");
    let figures = partner.figures();
    assert_eq!(figures.logins, 1);
    assert!(figures.max_concurrent <= 4);
    assert_complete(&database, "cen", &partner);
}

#[test]
fn a_full_run_makes_few_requests_each_with_our_name() {
    let database = cluster().database();
    for (number, (observations, cap, page_size, id_offset)) in [
        (1500, 1000, 1000, 0),
        (1500, 100, 1000, 0),
        (1500, 100, 100, 5_000_000),
        (10, 1000, 1000, 0),
        (6000, 60, 1000, 0),
    ]
    .into_iter()
    .enumerate()
    {
        let partner = partner_with(Config {
            observations,
            cap,
            id_offset,
            seed: 10 + number as u64,
            ..Config::default()
        });
        let name = format!("source {number}");
        add_source(
            &database,
            &name,
            &partner,
            3,
            &format!("page_size => {page_size}"),
        );
        let row = run_well(&database, &name, "auto");
        let figures = partner.figures();
        let most = u64::from(observations) / cap.min(page_size) as u64 + 10;
        assert!(
            figures.requests <= most,
            "{} requests for {observations} observations by {cap}, at most {most}: {:#?}",
            figures.requests,
            figures
                .last
                .iter()
                .map(|seen| &seen.query)
                .collect::<Vec<_>>()
        );
        assert_eq!(
            crate::support::number(&row, "requests"),
            figures.requests as i64
        );
        for seen in &figures.last {
            assert!(
                seen.user_agent.starts_with("gn_harvest/")
                    && seen.user_agent.contains("PostgreSQL"),
                "{seen:?}"
            );
            assert_eq!(seen.accept, "application/json");
            assert!(seen.accept_encoding.contains("gzip"), "{seen:?}");
        }
        assert_complete(&database, &name, &partner);
        // An incremental run that finds nothing new asks next to nothing.
        partner.set_clock(24 * 3600, 0);
        partner.clear_figures();
        run_well(&database, &name, "incremental");
        // A look at each of some datasets of which nothing came is for their metadata.
        let (looks, others): (Vec<_>, Vec<_>) = requests(&partner)
            .into_iter()
            .map(|seen| seen.query)
            .partition(|query| query.contains("&id_synthese="));
        assert!(others.len() <= 4, "{others:#?}");
        assert!(looks.len() <= 25, "{looks:#?}");
    }
}

#[test]
fn a_cap_below_the_page_size_is_learnt() {
    let database = cluster().database();
    let partner = partner_with(Config {
        observations: 1500,
        cap: 60,
        ..Config::default()
    });
    add_source(&database, "cen", &partner, 3, "page_size => 1000");
    let row = run_well(&database, "cen", "auto");
    assert_complete(&database, "cen", &partner);
    assert_eq!(number(&row, "fetched"), 1500);
    assert!(
        partner.figures().requests <= 1500 / 60 + 10,
        "{:?}",
        partner.figures().requests
    );
    let asked: Vec<_> = requests(&partner);
    assert!(
        asked.iter().all(|seen| !seen.query.contains("limit=0")),
        "the cap is the partner's to lift"
    );
}

#[test]
fn a_cap_lowered_in_the_middle_loses_nothing() {
    let database = cluster().database();
    let partner = partner(2000);
    add_source(&database, "cen", &partner, 3, "page_size => 200");
    partner.add_fault(Rule::always(Route::Export, Fault::LowerCap { cap: 30 }).after(8));
    run_well(&database, "cen", "auto");
    assert_complete(&database, "cen", &partner);
    assert_eq!(
        database.value("SELECT array_length(warnings, 1) FROM gn_harvest.run_history"),
        ""
    );
}

#[test]
fn a_cap_lowered_in_the_middle_of_numbered_pages_starts_them_over() {
    let database = cluster().database();
    let partner = partner(300);
    add_source(
        &database,
        "cen",
        &partner,
        9,
        "page_size => 50, key_column => 'id_perm_sinp'",
    );
    partner.add_column(9, "cd_nom", None).expect("a column");
    partner.add_fault(Rule::always(Route::Export, Fault::LowerCap { cap: 20 }).after(6));
    let row = run(&database, "cen", "auto");
    assert_eq!(text(&row, "status"), "failed", "{row:?}");
    assert!(
        text(&row, "error_message").contains("the page size changed from 50 to 20"),
        "{row:?}"
    );
    assert!(text(&row, "error_hint").contains("Run again"), "{row:?}");
    run_well(&database, "cen", "auto");
    assert_eq!(
        database.number("SELECT count(DISTINCT unique_id_sinp) FROM gn_synthese.synthese"),
        partner
            .truth()
            .iter()
            .filter_map(|row| row["id_perm_sinp"].as_str())
            .collect::<BTreeSet<_>>()
            .len() as i64
    );
}

#[test]
fn uncapped_pages_go_round_the_cap_only_when_it_is_agreed() {
    let database = cluster().database();
    let partner = partner_with(Config {
        observations: 1500,
        cap: 50,
        ..Config::default()
    });
    add_source(
        &database,
        "cen",
        &partner,
        3,
        "page_size => 500, uncapped_pages => true",
    );
    run_well(&database, "cen", "auto");
    let asked = requests(&partner);
    assert!(asked.len() <= 1500 / 500 + 10, "{} requests", asked.len());
    for seen in asked.iter().filter(|seen| seen.query.contains("limit=0")) {
        assert!(
            seen.query.contains("filter_n_lo_id_synthese=")
                && seen.query.contains("filter_n_up_id_synthese="),
            "everything at once is never asked: {}",
            seen.query
        );
    }
    assert!(asked.iter().any(|seen| seen.query.contains("limit=0")));
    assert_complete(&database, "cen", &partner);
}

#[test]
fn a_partner_at_its_limit_is_asked_for_less_at_a_time() {
    let database = cluster().database();
    let partner = partner(1000);
    add_source(&database, "cen", &partner, 3, "page_size => 200");
    let overloaded = Fault::Status {
        status: 504,
        retry_after: None,
        retry_after_date: None,
        json: false,
    };
    partner.add_fault(Rule::times(Route::Export, 2, overloaded).after(5));
    run_well(&database, "cen", "auto");
    assert_complete(&database, "cen", &partner);
    let windows: Vec<(i64, i64)> = requests(&partner)
        .iter()
        .filter(|seen| seen.path.starts_with(EXPORT) && seen.status == 504)
        .filter_map(window)
        .collect();
    let refused = windows
        .iter()
        .map(|(from, to)| to - from)
        .max()
        .expect("windows");
    let after: Vec<i64> = requests(&partner)
        .iter()
        .filter(|seen| seen.status == 200)
        .filter_map(window)
        .filter(|(from, _)| windows.iter().any(|(refused, _)| refused == from))
        .map(|(from, to)| to - from)
        .collect();
    assert!(
        !after.is_empty() && after.iter().all(|keys| *keys < refused),
        "{windows:?} then {after:?}"
    );
}

/// The keys that a request asks for.
pub fn window(seen: &SeenRequest) -> Option<(i64, i64)> {
    let parameter = |name: &str| {
        let (_, rest) = seen.query.split_once(name)?;
        rest.split('&').next()?.parse().ok()
    };
    Some((
        parameter("filter_n_up_id_synthese=")?,
        parameter("filter_n_lo_id_synthese=")?,
    ))
}

#[test]
fn the_budget_of_retries_is_the_runs_not_the_requests() {
    let database = cluster().database();
    let partner = partner(1000);
    add_source(
        &database,
        "cen",
        &partner,
        3,
        "page_size => 50, retry_budget => 3, connections => 1",
    );
    // Every second request fails: each of them alone would pass at its second try.
    let rules = (0..40).map(|n| Rule::times(Route::Export, 1, Fault::InvalidJson).after(2 * n));
    partner.set_faults(rules.collect());
    let row = run(&database, "cen", "auto");
    assert_eq!(text(&row, "status"), "failed", "{row:?}");
    assert!(
        text(&row, "error_message")
            .starts_with("gave up after 3 retries in this run: the answer is not JSON"),
        "{row:?}"
    );
    assert_eq!(number(&row, "retries"), 3);
}

#[test]
fn a_source_is_paused_after_failures_in_a_row_until_it_is_resumed() {
    let database = cluster().database();
    let partner = partner(50);
    add_source(&database, "cen", &partner, 3, "pause_after_failures => 2");
    let refuse = || {
        let status = 400;
        Rule::always(
            Route::Export,
            Fault::Status {
                status,
                retry_after: None,
                retry_after_date: None,
                json: true,
            },
        )
    };
    let standing = "SELECT enabled || ' ' || consecutive_failures || ' ' || coalesce(paused_reason, '-') || ' ' || state FROM gn_harvest.source_status";
    partner.add_fault(refuse());
    run(&database, "cen", "auto");
    assert_eq!(database.value(standing), "true 1 - Failed");
    // A success in between: the count starts again.
    partner.clear_faults();
    run_well(&database, "cen", "auto");
    assert_eq!(database.value(standing), "true 0 - Succeeded");
    partner.add_fault(refuse());
    run(&database, "cen", "auto");
    // A cancelled run is no failure of the partner's.
    partner.set_faults(vec![Rule::always(Route::Export, Fault::Hang)]);
    let hung = start(&database, "cen", "auto");
    database.run(&format!("SELECT gn_harvest.cancel({hung})"));
    ended(&database, hung);
    assert_eq!(database.value(standing), "true 1 - Cancelled");
    partner.set_faults(vec![refuse()]);
    run(&database, "cen", "auto");
    assert_eq!(
        database.value(standing),
        "false 2 2 runs failed in a row Paused"
    );
    let asked = partner.figures().requests;
    let error = database.error("SELECT gn_harvest.run('cen')");
    assert!(
        error.starts_with("55000: source \"cen\" is paused\nDETAIL: 2 runs failed in a row"),
        "{error}"
    );
    assert!(
        error.contains("HINT: SELECT gn_harvest.resume_source('cen');"),
        "{error}"
    );
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.run_all()"),
        0
    );
    assert_eq!(
        partner.figures().requests,
        asked,
        "a paused source is not asked"
    );
    partner.clear_faults();
    database.run("SELECT gn_harvest.resume_source('cen')");
    assert_eq!(database.value(standing), "true 0 - Failed");
    run_well(&database, "cen", "auto");
    assert_eq!(database.value(standing), "true 0 - Succeeded");
}

#[test]
fn pause_source_stops_new_runs_and_lets_the_one_that_goes_on_end() {
    let database = cluster().database();
    let partner = partner(100);
    add_source(&database, "cen", &partner, 3, "");
    partner.set_cost(0.2, 0.0);
    let run = start(&database, "cen", "auto");
    database.run("SELECT gn_harvest.pause_source('cen', 'maintenance du partenaire')");
    let row = ended(&database, run);
    assert_eq!(text(&row, "status"), "succeeded", "{row:?}");
    let error = database.error("SELECT gn_harvest.run('cen')");
    assert!(
        error.contains("DETAIL: maintenance du partenaire"),
        "{error}"
    );
    database.run("SELECT gn_harvest.resume_source('cen')");
    run_well(&database, "cen", "auto");
}

#[test]
fn outside_the_allowed_hours_the_partner_is_not_asked() {
    let database = cluster().database();
    let partner = partner(50);
    add_source(&database, "cen", &partner, 3, "pause_after_failures => 1");
    let hours = |from: i32, to: i32| {
        database.value(&format!(
            "SELECT to_char(localtime + interval '{from} hours', 'HH24:MI-') || to_char(localtime + interval '{to} hours', 'HH24:MI')"
        ))
    };
    database.run(&format!(
        "SELECT gn_harvest.alter_source('cen', allowed_hours => '{}')",
        hours(2, 4)
    ));
    let row = run(&database, "cen", "auto");
    assert_eq!(
        (text(&row, "status"), text(&row, "error_sqlstate")),
        ("interrupted", "57P05"),
        "{row:?}"
    );
    assert!(
        text(&row, "error_message").starts_with("source \"cen\" may only be harvested from "),
        "{row:?}"
    );
    assert!(
        text(&row, "error_hint").contains("alter_source(name, allowed_hours"),
        "{row:?}"
    );
    assert_eq!(partner.figures().requests, 0);
    assert_eq!(
        database
            .value("SELECT enabled || ' ' || consecutive_failures FROM gn_harvest.source_status"),
        "true 0",
        "that is no failure"
    );
    database.run(&format!(
        "SELECT gn_harvest.alter_source('cen', allowed_hours => '{}')",
        hours(-2, 2)
    ));
    run_well(&database, "cen", "auto");
    assert_complete(&database, "cen", &partner);
}

#[test]
fn a_run_stops_when_the_allowed_hours_end_and_goes_on_in_the_next_ones() {
    // A cluster whose clock another test does not read: its time zone is changed under the run.
    let cluster = impatient_cluster();
    let database = cluster.database();
    let partner = partner(600);
    let turn = |zone: &str| {
        database.run(&format!("ALTER SYSTEM SET timezone = '{zone}'"));
        database.run("SELECT pg_reload_conf()");
    };
    turn("UTC");
    database.wait_until(30, "SELECT current_setting('timezone') = 'UTC'");
    let hours = database.value("SELECT to_char(localtime - interval '2 hours', 'HH24:MI-') || to_char(localtime + interval '2 hours', 'HH24:MI')");
    add_source(
        &database,
        "cen",
        &partner,
        3,
        &format!("allowed_hours => '{hours}', page_size => 20, connections => 1"),
    );
    partner.set_cost(0.2, 0.0);
    let run = start(&database, "cen", "auto");
    until(60, "a few pages are read", || {
        partner.figures().requests > 8
    });
    // Six hours later, as far as the server is concerned.
    turn("<later>-06");
    let row = ended(&database, run);
    assert_eq!(
        (text(&row, "status"), text(&row, "error_sqlstate")),
        ("interrupted", "57P05"),
        "{row:?}"
    );
    assert!(number(&row, "inserted") < 600, "{row:?}");
    turn("UTC");
    database.run("SELECT gn_harvest.alter_source('cen', clear => '{allowed_hours}')");
    partner.set_cost(0.0, 0.0);
    let again = run_well(&database, "cen", "auto");
    assert_eq!(text(&again, "resumes"), text(&row, "run"), "{again:?}");
    assert_complete(&database, "cen", &partner);
}
