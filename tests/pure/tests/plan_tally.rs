//! What a plan says of what it counted.

use gn_harvest_pure::tally::{Action, OBSERVATION, Tally};
use proptest::prelude::*;
use serde_json::json;

#[test]
fn lines_come_in_order_with_the_commonest_details_and_few_examples() {
    let mut tally = Tally::default();
    tally.warn("said once".to_owned());
    tally.warn("said once".to_owned());
    for (position, column) in ["b", "a", "b"].into_iter().enumerate() {
        tally.because(
            Action::Reject,
            OBSERVATION,
            "bad_date",
            Some(column.to_owned()),
        );
        tally.sample(
            Action::Reject,
            OBSERVATION,
            Some("bad_date"),
            json!(position),
        );
    }
    tally.add(Action::Insert, OBSERVATION, 2);
    tally.add(Action::Delete, OBSERVATION, 0);
    let lines = tally.lines();
    let told: Vec<(&str, i64, Option<&str>)> = lines
        .iter()
        .map(|line| (line.action.code(), line.records, line.detail.as_deref()))
        .collect();
    assert_eq!(
        told,
        [
            ("insert", 2, None),
            ("reject", 3, Some("b (2), a (1)")),
            ("warn", 1, Some("said once")),
        ],
        "what counts nothing is left out"
    );
    assert_eq!(lines[1].samples, [json!(0), json!(1), json!(2)]);
}

proptest! {
    #[test]
    fn nothing_counted_is_lost_and_answers_stay_short(reasons in proptest::collection::vec((0..40_u8, any::<u16>()), 0..3000)) {
        let mut tally = Tally::default();
        for (reason, detail) in &reasons {
            tally.because(Action::Reject, OBSERVATION, &reason.to_string(), Some(detail.to_string()));
            tally.sample(Action::Reject, OBSERVATION, Some(&reason.to_string()), json!(detail));
        }
        let lines = tally.lines();
        prop_assert_eq!(lines.iter().map(|line| line.records).sum::<i64>(), reasons.len() as i64);
        for line in &lines {
            prop_assert!(line.samples.len() <= 5);
            prop_assert!(line.detail.as_ref().is_some_and(|detail| detail.len() < 200));
        }
    }
}
