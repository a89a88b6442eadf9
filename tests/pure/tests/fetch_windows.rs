//! The walk over an export's keys, without network: whatever the keys, the cap,
//! the hidden rows, the order in which answers come and the faults of size,
//! every key is covered exactly once and nothing is asked by two threads at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gn_harvest_pure::fetch::pace::Aim;
use gn_harvest_pure::fetch::plan::Plan;
use gn_harvest_pure::fetch::step::{Answer, Covered, Kind, Next, Step};
use gn_harvest_pure::fetch::{KeyRange, Order, Slice};
use gn_harvest_pure::geonature::FetchError;
use proptest::prelude::*;

/// An export: keys, each with its number of rows and whether they have a geometry.
#[derive(Clone, Debug)]
struct Export {
    rows: BTreeMap<i64, (u8, bool)>,
    cap: u32,
    geojson: bool,
    says_total: bool,
}

impl Export {
    /// What the server would answer, and the keys of the rows served.
    fn answer(&self, step: &Step) -> (Answer, Vec<i64>) {
        let limit = match step.limit {
            0 => u32::MAX,
            limit => limit.min(self.cap),
        };
        let all: Vec<(i64, bool)> = self
            .rows
            .range(step.from..=step.to)
            .flat_map(|(key, (times, seen))| (0..*times).map(|_| (*key, *seen)))
            .collect();
        let served: Vec<i64> = all
            .iter()
            .take(limit as usize)
            .filter(|(_, seen)| *seen || !self.geojson)
            .map(|(key, _)| *key)
            .collect();
        let keys = KeyRange::of(served.iter().copied());
        let answer = Answer {
            rows: served.len() as u64,
            first: keys.first,
            last: keys.last,
            sorted: !keys.unsorted,
            keys: served.clone(),
            limit: if step.limit == 0 { 0 } else { limit },
            total: Some(self.total()),
            total_filtered: self.says_total.then_some(all.len() as u64),
            geojson: self.geojson,
            bytes: 100 * served.len() as u64,
            time: Duration::from_millis(10),
        };
        (answer, served)
    }

    fn total(&self) -> u64 {
        self.counted(i64::MIN, i64::MAX)
    }

    fn counted(&self, from: i64, to: i64) -> u64 {
        let rows = self.rows.range(from..=to);
        rows.map(|(_, (times, _))| u64::from(*times)).sum()
    }
}

struct Outcome {
    read: Vec<i64>,
    hidden: u64,
    requests: usize,
}

/// Drives a plan with up to `threads` steps in flight, answered in a random order.
fn drive(
    export: &Export,
    order: Order,
    slices: &[Slice],
    threads: usize,
    fail_above: Option<u64>,
    mut dice: u64,
) -> Outcome {
    let aim = Aim {
        rows: 10,
        // A page and a half: full pages are no reason to ask for less.
        bytes: 1_500,
        time: Duration::from_secs(10),
    };
    let mut plan = Plan::new(order, aim, threads, false);
    let mut slices_left = slices.iter().cloned();
    let mut covered: Vec<(i32, (i64, i64))> = Vec::new();
    let mut outcome = Outcome {
        read: Vec::new(),
        hidden: 0,
        requests: 0,
    };
    let mut in_flight: Vec<Step> = Vec::new();
    let mut done = BTreeSet::new();
    loop {
        while plan.hungry() {
            match slices_left.next() {
                Some(slice) => plan.add(slice),
                None => plan.close(),
            }
        }
        match plan.advance() {
            Next::Ask(step) => {
                assert!(in_flight.len() < threads, "too many requests at once");
                for other in &in_flight {
                    assert!(
                        step.to < other.from || other.to < step.from,
                        "two on the same keys"
                    );
                }
                in_flight.push(step);
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                if (dice >> 33).is_multiple_of(2) {
                    continue;
                }
            }
            Next::SliceDone(no) => {
                assert!(done.insert(no), "slice {no} done twice");
                plan.announced(no);
                continue;
            }
            Next::Finished => break,
            Next::Over => panic!("over before it is finished"),
            Next::Wait => assert!(!in_flight.is_empty(), "stuck"),
        }
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let index = (dice >> 33) as usize % in_flight.len();
        let step = in_flight.swap_remove(index);
        outcome.requests += 1;
        assert!(outcome.requests < 20_000, "no progress");
        let heavy = || export.counted(step.from, step.to);
        if !step.patient
            && step.kind == Kind::Window
            && fail_above.is_some_and(|most| heavy() > most)
        {
            plan.too_large(&step);
            continue;
        }
        let (answer, served) = export.answer(&step);
        if let Some(Covered { range, hidden }) = plan.answered(&step, &answer).expect("answer") {
            assert!(step.from <= range.0 && range.1 <= step.to && range.0 <= range.1);
            covered.push((step.slice, range));
            outcome.read.extend(served);
            outcome.hidden += hidden;
        }
        plan.delivered(&step);
    }
    assert!(in_flight.is_empty());
    assert_eq!(done.len(), slices.len());
    for slice in slices {
        let ranges = covered.iter().filter(|(no, _)| *no == slice.no);
        let ranges: Vec<(i64, i64)> = ranges.map(|(_, range)| *range).collect();
        assert_eq!(
            joined(&ranges),
            joined(&slice.remaining),
            "slice {}",
            slice.no
        );
    }
    outcome
}

/// Ranges joined where they touch; they must not overlap.
fn joined(ranges: &[(i64, i64)]) -> Vec<(i64, i64)> {
    let mut ranges = ranges.to_vec();
    ranges.sort_unstable();
    let mut joined: Vec<(i64, i64)> = Vec::new();
    for (from, to) in ranges {
        match joined.last_mut() {
            Some(last) if from <= last.1 => panic!("{from} was covered twice"),
            Some(last) if last.1.checked_add(1) == Some(from) => last.1 = to,
            _ => joined.push((from, to)),
        }
    }
    joined
}

fn export() -> impl Strategy<Value = Export> {
    let key = prop_oneof![0..300_i64, 100_000..100_200_i64, 5_000_000..5_000_050_i64];
    let row = (
        prop_oneof![9 => Just(1_u8), 1 => 2..4_u8],
        prop::bool::weighted(0.8),
    );
    let rows = prop::collection::btree_map(key, row, 0..250);
    (rows, 1..15_u32, any::<bool>(), prop::bool::weighted(0.9)).prop_map(
        |(rows, cap, geojson, says_total)| Export {
            rows,
            cap,
            geojson: geojson && says_total,
            says_total,
        },
    )
}

fn slices(ends: &[i64]) -> Vec<Slice> {
    let mut from = 0;
    let mut slices = Vec::new();
    for (no, to) in (0..).zip(ends.iter().copied().chain([6_000_000])) {
        if to >= from {
            slices.push(Slice {
                no,
                remaining: vec![(from, to)],
            });
            from = to + 1;
        }
    }
    slices
}

fn visible(export: &Export) -> BTreeSet<i64> {
    let rows = export.rows.iter();
    rows.filter(|(_, (_, seen))| *seen || !export.geojson)
        .map(|(key, _)| *key)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn windows_read_every_key_exactly_once(
        export in export(),
        mut ends in prop::collection::vec(0..6_000_000_i64, 0..4),
        threads in 1..5_usize,
        width in prop_oneof![Just(1_i64), Just(50), Just(1_000_000)],
        fail_above in prop::option::of(1..20_u64),
        dice in any::<u64>(),
    ) {
        ends.sort_unstable();
        let order = Order::Windows { key: "id".into(), width: Some(width) };
        let outcome = drive(&export, order, &slices(&ends), threads, fail_above, dice);
        let read: BTreeSet<i64> = outcome.read.iter().copied().collect();
        prop_assert_eq!(&read, &visible(&export));
        let total = export.total();
        let counted = outcome.read.len() as u64 + outcome.hidden;
        if export.says_total && fail_above.is_none() {
            prop_assert_eq!(counted, total);
        } else {
            prop_assert!(counted <= total);
        }
    }

    #[test]
    fn keyset_reads_every_key_exactly_once(
        export in export(),
        mut ends in prop::collection::vec(0..6_000_000_i64, 0..4),
        threads in 1..5_usize,
        dice in any::<u64>(),
    ) {
        ends.sort_unstable();
        let order = Order::Windows { key: "id".into(), width: None };
        let outcome = drive(&export, order, &slices(&ends), threads, None, dice);
        let read: BTreeSet<i64> = outcome.read.iter().copied().collect();
        prop_assert_eq!(&read, &visible(&export));
        if export.says_total {
            prop_assert_eq!(outcome.read.len() as u64 + outcome.hidden, export.total());
        }
    }
}

fn dense(keys: impl IntoIterator<Item = i64>) -> Export {
    Export {
        rows: keys.into_iter().map(|key| (key, (1, true))).collect(),
        cap: 1000,
        geojson: false,
        says_total: true,
    }
}

fn windows(width: i64) -> Order {
    Order::Windows {
        key: "id".into(),
        width: Some(width),
    }
}

fn one(from: i64, to: i64) -> Vec<Slice> {
    vec![Slice {
        no: 1,
        remaining: vec![(from, to)],
    }]
}

#[test]
fn a_gap_is_jumped_over_whatever_its_width() {
    const FAR: i64 = 4_000_000_000_000_000_000;
    let export = dense((0..10).chain(FAR..FAR + 10));
    let outcome = drive(&export, windows(10), &one(0, FAR + 1000), 1, None, 7);
    assert_eq!(outcome.read.len(), 20);
    assert!(outcome.requests < 12, "{} requests", outcome.requests);
}

#[test]
fn dense_keys_cost_about_a_page_each() {
    for threads in [1, 2, 5] {
        let export = dense(0..5000);
        let outcome = drive(&export, windows(10), &one(0, 4999), threads, None, 7);
        assert_eq!(outcome.read.len(), 5000);
        assert!(outcome.requests < 510, "{} requests", outcome.requests);
    }
}

#[test]
fn uneven_keys_cost_about_a_page_each() {
    // Runs of keys side by side, and between them every third or every seventh.
    let keys = (0..20_000).filter(|key| match key / 500 % 3 {
        0 => true,
        1 => key % 3 == 0,
        _ => key % 7 == 0,
    });
    let export = dense(keys);
    let pages = export.rows.len() / 10;
    for threads in [1, 2, 5] {
        let outcome = drive(&export, windows(20), &one(0, 19_999), threads, None, 11);
        assert_eq!(outcome.read.len(), export.rows.len());
        assert!(
            outcome.requests < pages + pages / 20,
            "{} requests for {pages} pages by {threads}",
            outcome.requests
        );
    }
}

#[test]
fn the_whole_range_of_numbers_can_be_read() {
    let export = dense([i64::MIN, -5, 0, i64::MAX]);
    for order in [
        windows(1000),
        Order::Windows {
            key: "id".into(),
            width: None,
        },
    ] {
        let outcome = drive(&export, order, &one(i64::MIN, i64::MAX), 3, None, 3);
        assert_eq!(outcome.read.len(), 4);
        assert!(outcome.requests < 60, "{} requests", outcome.requests);
    }
}

fn first_step(plan: &mut Plan) -> Step {
    match plan.advance() {
        Next::Ask(step) => step,
        other => panic!("{other:?}"),
    }
}

fn plan(order: Order) -> Plan {
    let aim = Aim {
        rows: 10,
        bytes: 1_000_000,
        time: Duration::from_secs(10),
    };
    let mut plan = Plan::new(order, aim, 1, false);
    plan.add(Slice {
        no: 1,
        remaining: vec![(100, 199)],
    });
    plan
}

#[test]
fn a_server_that_ignores_the_filter_or_the_order_is_found_out() {
    let mut ignored = plan(windows(10));
    let step = first_step(&mut ignored);
    let answer = Answer {
        rows: 2,
        first: Some(1),
        last: Some(105),
        sorted: true,
        limit: 10,
        total_filtered: Some(2),
        ..Answer::default()
    };
    let error = ignored.answered(&step, &answer).expect_err("filter");
    assert!(matches!(
        error,
        FetchError::FilterIgnored {
            found: 1,
            from: 100,
            to: 109,
            ..
        }
    ));

    let mut unsorted = plan(windows(10));
    let step = first_step(&mut unsorted);
    let answer = Answer {
        rows: 5,
        first: Some(101),
        last: Some(105),
        sorted: false,
        limit: 5,
        total_filtered: Some(9),
        ..Answer::default()
    };
    let error = unsorted.answered(&step, &answer).expect_err("order");
    assert!(matches!(error, FetchError::OrderIgnored { .. }));
}

#[test]
fn a_window_that_fails_by_its_size_ends_at_one_key_with_patience() {
    let mut plan = plan(windows(100));
    let mut spans = Vec::new();
    loop {
        let step = first_step(&mut plan);
        spans.push(step.to - step.from + 1);
        if step.patient {
            break;
        }
        plan.too_large(&step);
    }
    assert_eq!(spans, [100, 50, 25, 12, 6, 3, 1, 1]);
}

#[test]
fn pages_end_at_the_first_empty_one() {
    let mut plan = {
        let aim = Aim {
            rows: 10,
            bytes: 1_000_000,
            time: Duration::from_secs(10),
        };
        Plan::new(Order::Pages { order_by: None }, aim, 2, false)
    };
    plan.add(Slice {
        no: 4,
        remaining: vec![(2, i64::MAX)],
    });
    plan.close();
    let mut asked = Vec::new();
    loop {
        match plan.advance() {
            Next::Ask(step) => {
                asked.push(step.from);
                let rows = if step.from < 5 { 10 } else { 0 };
                let answer = Answer {
                    rows,
                    limit: 10,
                    total: Some(50),
                    ..Answer::default()
                };
                let covered = plan
                    .answered(&step, &answer)
                    .expect("page")
                    .expect("covered");
                assert_eq!(covered.range, (step.from, step.from));
                plan.delivered(&step);
            }
            Next::SliceDone(no) => plan.announced(no),
            Next::Finished => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(asked, [2, 3, 4, 5]);
}

#[test]
fn a_page_size_that_changes_under_way_is_an_error() {
    let aim = Aim {
        rows: 10,
        bytes: 1_000_000,
        time: Duration::from_secs(10),
    };
    let mut plan = Plan::new(Order::Pages { order_by: None }, aim, 1, false);
    plan.add(Slice {
        no: 1,
        remaining: vec![(0, 9)],
    });
    for (limit, good) in [(10, true), (5, false)] {
        let step = first_step(&mut plan);
        let answer = Answer {
            rows: 5,
            limit,
            ..Answer::default()
        };
        assert_eq!(plan.answered(&step, &answer).is_ok(), good);
        plan.delivered(&step);
    }
}
