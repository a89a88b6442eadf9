//! How much a run asks of a partner: less at a time as the partner slows down, one at a time and with pauses while it is in
//! trouble, and hardly more requests than full pages, whatever gaps there are between keys.

use std::sync::OnceLock;

use geonature_simulator::{Config, Fault, Route, Rule, SeenRequest, Simulator};
use gn_harvest_outside::Cluster;
use serde_json::json;

use crate::politeness::window;
use crate::support::*;

/// A request may take nine seconds there: a page aims at a third of it.
fn hurried_cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let cluster = Cluster::temporary(&[("gn_harvest.request_timeout", "9")]);
        cluster.stop_at_exit();
        cluster
    })
}

/// Requests that ask for a window of keys, in the order of their answers.
fn windows(partner: &Simulator) -> Vec<SeenRequest> {
    let seen = partner.figures().last.into_iter();
    seen.filter(|seen| window(seen).is_some()).collect()
}

fn first_key(seen: &SeenRequest) -> Option<i64> {
    window(seen).map(|(from, _)| from)
}

#[test]
fn a_partner_that_slows_down_is_asked_for_less_at_a_time() {
    const PAGE: usize = 100;
    const QUICK: u64 = 5;
    let database = hurried_cluster().database();
    let partner = partner(1000);
    add_source(
        &database,
        "cen",
        &partner,
        3,
        "page_size => 100, connections => 2",
    );
    // A full page takes five seconds then: it would come in time, and is too much all the same.
    let slow = Rule::always(Route::Export, Fault::SlowRows { seconds: 0.05 });
    partner.add_fault(slow.with_query("filter_n_up_").after(QUICK));
    let row = run_well(&database, "cen", "full");
    assert_complete(&database, "cen", &partner);
    assert_eq!(number(&row, "retries"), 0, "{row:?}");
    let figures = partner.figures();
    assert!(figures.max_concurrent <= 2, "{}", figures.max_concurrent);
    let ids = partner.ids();
    let mut seen = windows(&partner);
    seen.sort_by_key(|seen| seen.at);
    let served: Vec<usize> = seen
        .iter()
        .filter_map(window)
        .map(|(from, to)| {
            let rows = ids.iter().filter(|id| (from..=to).contains(*id)).count();
            rows.min(PAGE)
        })
        .collect();
    let (quick, slow) = served.split_at(QUICK as usize);
    assert!(
        quick.iter().filter(|rows| **rows == PAGE).count() >= 3,
        "{served:?}"
    );
    // Each connection learns by one full page, or by two where both were asked for at once.
    let (learning, learnt) = slow.split_at(4);
    assert!(
        !learnt.is_empty() && learnt.iter().all(|rows| *rows <= PAGE * 3 / 4),
        "{served:?}"
    );
    // Less, and not next to nothing.
    let left: usize = learnt.iter().sum();
    assert!(learnt.len() <= left / 20 + 3, "{learning:?} {learnt:?}");
}

#[test]
fn a_partner_in_trouble_is_asked_one_thing_at_a_time_with_pauses_and_more_once_it_is_well() {
    const CONNECTIONS: usize = 4;
    const TROUBLES: u64 = 6;
    let database = cluster().database();
    for status in [503, 504] {
        let partner = partner_with(Config {
            observations: 1200,
            seed: u64::from(status),
            ..Config::default()
        });
        let name = format!("source {status}");
        add_source(
            &database,
            &name,
            &partner,
            3,
            &format!("page_size => 20, connections => {CONNECTIONS}"),
        );
        partner.set_cost(0.15, 0.0);
        let fault = Fault::Status {
            status,
            retry_after: None,
            retry_after_date: None,
            json: false,
        };
        let rule = Rule::times(Route::Export, TROUBLES, fault);
        partner.add_fault(rule.with_query("filter_n_up_").after(10));
        let row = run_well(&database, &name, "full");
        assert_complete(&database, &name, &partner);
        assert_eq!(number(&row, "retries"), TROUBLES as i64, "{row:?}");
        let seen = windows(&partner);
        let refused: Vec<&SeenRequest> = seen.iter().filter(|s| s.status == status).collect();
        assert_eq!(refused.len() as u64, TROUBLES);
        for refused in &refused {
            let again = seen.iter().filter(|s| first_key(s) == first_key(refused));
            let again = again.map(|s| s.at).filter(|at| *at > refused.at).min();
            let pause = (again.expect("it is asked again") - refused.at) as f64 / 1e6;
            assert!(pause >= 0.4, "{status}: asked again after {pause} s");
        }
        let last = seen.iter().rposition(|s| s.status == status).unwrap_or(0);
        let at_once: Vec<u64> = seen[last + 1..].iter().map(|s| s.at_once).collect();
        // What was on its way is answered; then nine of ten answers come one by one.
        assert!(
            at_once.iter().skip(CONNECTIONS).take(5).all(|n| *n == 1),
            "{status}: {at_once:?}"
        );
        let most = at_once.iter().skip(CONNECTIONS + 15).max();
        assert!(most > Some(&1), "{status}: {at_once:?}");
        assert!(
            at_once.iter().all(|n| *n <= CONNECTIONS as u64),
            "{status}: {at_once:?}"
        );
    }
}

/// Requests of a first run whose keys have gaps, beyond those for full pages.
fn requests_beyond_pages(seed: u64, page_size: usize, gaps: impl Fn(&Simulator)) -> i64 {
    const CAP: usize = 50;
    let database = cluster().database();
    let partner = partner_with(Config {
        observations: 4200,
        cap: CAP,
        seed,
        ..Config::default()
    });
    gaps(&partner);
    let options = format!("page_size => {page_size}");
    add_source(&database, "cen", &partner, 3, &options);
    run_well(&database, "cen", "full");
    assert_complete(&database, "cen", &partner);
    let pages = partner.count() / CAP;
    partner.figures().requests as i64 - pages as i64
}

/// A third is missing here and there, and a wide range as a whole.
fn delete_some(partner: &Simulator) {
    let ids = partner.ids();
    let here_and_there = ids.iter().skip(1000).step_by(3).copied();
    let gone: Vec<i64> = here_and_there.chain(ids[1800..2200].to_vec()).collect();
    partner.delete_silently(&gone);
}

/// The last ones have keys far away.
fn number_anew(partner: &Simulator) {
    let ids = partner.ids();
    for id in ids.iter().rev().take(200) {
        let far = json!({"id_synthese": id + 100_000});
        partner.update(*id, &far).expect("another key");
    }
}

#[test]
fn gaps_between_keys_cost_hardly_a_request() {
    for page_size in [50, 1000] {
        let beyond = requests_beyond_pages(300, page_size, delete_some);
        assert!(beyond <= 10, "{beyond} by {page_size}");
    }
}

#[test]
fn a_gap_far_wider_than_the_rest_costs_a_few_requests() {
    for page_size in [50, 1000] {
        let beyond = requests_beyond_pages(301, page_size, |partner| {
            delete_some(partner);
            number_anew(partner);
        });
        assert!(beyond <= 10 + 7, "{beyond} by {page_size}");
    }
}
