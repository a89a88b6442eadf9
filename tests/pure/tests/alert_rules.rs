//! What a run that has ended means for the rules.

use std::collections::HashSet;

use gn_harvest_pure::alert::findings::Touched;
use gn_harvest_pure::alert::judge::{ColumnChange, RunFacts, Verdict, Waiting, judge};
use gn_harvest_pure::alert::rule::{RULES, Rule, Severity};

fn defaults(rule: Rule) -> Option<f64> {
    rule.definition().threshold
}

fn run(mode: &str, status: &str) -> RunFacts {
    RunFacts {
        mode: mode.to_owned(),
        status: status.to_owned(),
        enabled: true,
        pause_after: 5,
        ..RunFacts::default()
    }
}

fn raised(facts: &RunFacts) -> Vec<Rule> {
    let verdicts = judge(facts, &defaults);
    let rules = verdicts.iter().filter_map(|verdict| match verdict {
        Verdict::Raise(rule, _) => Some(*rule),
        _ => None,
    });
    rules.collect()
}

fn cleared(facts: &RunFacts) -> Vec<Rule> {
    let verdicts = judge(facts, &defaults);
    let rules = verdicts.iter().filter_map(|verdict| match verdict {
        Verdict::Clear(rule) => Some(*rule),
        _ => None,
    });
    rules.collect()
}

#[test]
fn every_rule_is_in_the_table_once_and_is_found_by_its_code() {
    let codes: HashSet<&str> = RULES.iter().map(|d| d.code).collect();
    assert_eq!(codes.len(), RULES.len());
    for definition in RULES {
        assert_eq!(Rule::of(definition.code), Some(definition.rule));
        assert_eq!(definition.rule.code(), definition.code);
        assert_eq!(
            definition.threshold.is_some(),
            !definition.unit.is_empty(),
            "{}",
            definition.code
        );
    }
    assert_eq!(Rule::of("nothing"), None);
    assert!(Severity::Critical > Severity::Warning && Severity::Warning > Severity::Info);
}

#[test]
fn no_run_raises_and_clears_the_same_rule() {
    let changes = [
        None,
        Some(ColumnChange {
            gone: vec!["a".into()],
            ..ColumnChange::default()
        }),
    ];
    for mode in [
        "auto",
        "full",
        "incremental",
        "reconcile",
        "retry",
        "drop",
        "plan",
    ] {
        for status in ["succeeded", "failed", "blocked", "cancelled", "interrupted"] {
            for sqlstate in ["28000", "42501", "42703", "42704", "08001"] {
                for (columns, empty, fetched) in [
                    (&changes[0], true, 0),
                    (&changes[1], false, 100),
                    (&changes[0], false, 3),
                ] {
                    let facts = RunFacts {
                        sqlstate: Some(sqlstate.to_owned()),
                        at_partner: fetched == 0,
                        empty,
                        fetched,
                        rejected: 3,
                        failures: 5,
                        enabled: empty,
                        columns: columns.clone(),
                        volume: Some(fetched),
                        usual_volume: Some(1_000.0),
                        waiting: Waiting {
                            values: 1,
                            rejected: 3,
                            ..Waiting::default()
                        },
                        ..run(mode, status)
                    };
                    let (up, down) = (raised(&facts), cleared(&facts));
                    assert!(up.iter().all(|rule| !down.contains(rule)), "{facts:?}");
                    assert_eq!(
                        up.iter().collect::<HashSet<_>>().len(),
                        up.len(),
                        "{facts:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_failure_is_named_by_one_rule() {
    let failed = |sqlstate: &str, at_partner: bool| RunFacts {
        sqlstate: Some(sqlstate.to_owned()),
        at_partner,
        failures: 1,
        ..run("incremental", "failed")
    };
    assert_eq!(raised(&failed("08001", true)), [Rule::RunFailed]);
    assert_eq!(raised(&failed("28000", true)), [Rule::CredentialsRefused]);
    assert_eq!(raised(&failed("42501", true)), [Rule::CredentialsRefused]);
    assert_eq!(
        raised(&failed("42501", false)),
        [Rule::RunFailed],
        "a right that the owner lacks here"
    );
    assert_eq!(raised(&failed("42704", true)), [Rule::ExportGone]);
    assert_eq!(raised(&failed("42704", false)), [Rule::RunFailed]);
    assert_eq!(
        raised(&failed("42703", false)),
        [Rule::RunFailed],
        "no change of columns was seen"
    );
    let frozen = RunFacts {
        columns: Some(ColumnChange {
            frozen: true,
            ..ColumnChange::default()
        }),
        ..failed("42703", false)
    };
    assert_eq!(raised(&frozen), [Rule::ColumnsChanged]);
    assert!(judge(&frozen, &defaults).contains(&Verdict::Replace(Rule::RunFailed)));
    // One that was cancelled, or broken off, says nothing.
    for status in ["cancelled", "interrupted"] {
        assert_eq!(raised(&run("full", status)), []);
        assert_eq!(
            cleared(&run("full", status)),
            [Rule::UnknownValues, Rule::MissingTaxa]
        );
    }
}

#[test]
fn failures_in_a_row_and_the_pause_have_their_numbers() {
    let after = |failures: i64, enabled: bool| {
        let facts = RunFacts {
            failures,
            enabled,
            ..run("full", "failed")
        };
        raised(&facts)
    };
    assert_eq!(after(2, true), [Rule::RunFailed]);
    assert_eq!(after(3, true), [Rule::RunFailed, Rule::Failing]);
    assert_eq!(
        after(5, false),
        [Rule::RunFailed, Rule::SourcePaused, Rule::Failing]
    );
    assert_eq!(after(2, false), [Rule::RunFailed], "a person has paused it");
    let off = judge(
        &RunFacts {
            failures: 50,
            ..run("full", "failed")
        },
        &|_| None,
    );
    assert!(
        !off.iter()
            .any(|v| matches!(v, Verdict::Raise(Rule::Failing, _)))
    );
}

#[test]
fn a_drop_in_volume_is_one_of_what_is_comparable() {
    let read = |volume: Option<i64>, usual: Option<f64>| RunFacts {
        volume,
        usual_volume: usual,
        ..run("full", "succeeded")
    };
    assert_eq!(raised(&read(Some(49), Some(100.0))), [Rule::VolumeDrop]);
    assert_eq!(
        raised(&read(Some(50), Some(100.0))),
        [Rule::VolumeDrop],
        "from the threshold on"
    );
    assert_eq!(raised(&read(Some(51), Some(100.0))), []);
    assert_eq!(raised(&read(Some(500), Some(100.0))), []);
    for nothing in [
        read(None, Some(100.0)),
        read(Some(1), None),
        read(Some(1), Some(0.0)),
    ] {
        assert!(!raised(&nothing).contains(&Rule::VolumeDrop));
        assert!(
            !cleared(&nothing).contains(&Rule::VolumeDrop),
            "what is not known changes nothing"
        );
    }
}

#[test]
fn rejects_count_in_runs_that_read_enough() {
    let read = |fetched: i64, rejected: i64, waiting: i64| RunFacts {
        fetched,
        rejected,
        waiting: Waiting {
            rejected: waiting,
            ..Waiting::default()
        },
        ..run("full", "succeeded")
    };
    assert_eq!(raised(&read(100, 6, 6)), [Rule::Rejects]);
    assert_eq!(raised(&read(100, 5, 5)), []);
    assert!(cleared(&read(100, 5, 5)).contains(&Rule::Rejects));
    let few = read(10, 9, 9);
    assert!(!raised(&few).contains(&Rule::Rejects) && !cleared(&few).contains(&Rule::Rejects));
    assert!(
        cleared(&read(0, 0, 0)).contains(&Rule::Rejects),
        "none waits any more"
    );
}

#[test]
fn what_was_touched_is_named_until_it_is_too_much() {
    let mut touched = Touched::default();
    assert_eq!(touched.taxa(), Some(vec![]));
    for cd_nom in [5, 3, 5] {
        touched.note(Some(cd_nom), Some(1));
    }
    touched.note(None, None);
    assert_eq!(
        (touched.taxa(), touched.datasets()),
        (Some(vec![3, 5]), Some(vec![1]))
    );
    (0..10_000).for_each(|cd_nom| touched.note(Some(cd_nom), Some(1)));
    assert_eq!(touched.taxa().map(|taxa| taxa.len()), Some(10_000));
    touched.note(Some(10_000), Some(1));
    assert_eq!((touched.taxa(), touched.datasets()), (None, Some(vec![1])));
    touched.note(Some(1), Some(1));
    assert_eq!(touched.taxa(), None, "many stay many");
}
