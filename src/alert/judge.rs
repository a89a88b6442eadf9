//! What a run that has ended means for the rules: which alerts it raises, and which it clears. Without PostgreSQL.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::rule::Rule;

/// A share of rejected records says nothing of a run that read fewer.
const FEWEST_READ: i64 = 20;

/// What is known of a run that has ended, and of its source.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct RunFacts {
    pub mode: String,
    pub status: String,
    pub sqlstate: Option<String>,
    pub error: Option<String>,
    /// The error is one of the partner's server, not of this one.
    pub at_partner: bool,
    pub fetched: i64,
    pub rejected: i64,
    /// It went on with the slices of another: its counts are not those of the whole.
    pub resumed: bool,
    pub empty: bool,
    /// Observations of the source that are held here.
    pub held: i64,
    /// What it read of the export, and what earlier runs of the same kind read.
    pub volume: Option<i64>,
    pub usual_volume: Option<f64>,
    pub columns: Option<ColumnChange>,
    /// Observations that would have been deleted, when the loss guard objected.
    pub missing: Option<i64>,
    /// Mode of the run of which the loss guard objected before, if nothing has cleared that yet.
    pub guarded_mode: Option<String>,
    /// An alert is open that says that the columns are frozen.
    pub frozen_before: bool,
    pub enabled: bool,
    pub failures: i64,
    pub pause_after: i64,
    pub waiting: Waiting,
}

/// What waits for a decision.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Waiting {
    pub values: i64,
    pub value_examples: Vec<String>,
    pub taxa: i64,
    pub taxon_examples: Vec<String>,
    /// Records that wait for those taxa.
    pub records: i64,
    /// Rejected records that wait, for whatever reason.
    pub rejected: i64,
}

/// How the columns of an export differ from those that were remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct ColumnChange {
    pub gone: Vec<String>,
    pub new: Vec<String>,
    /// Runs fail until someone agrees.
    pub frozen: bool,
}

/// What becomes of an alert.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    Raise(Rule, Map<String, Value>),
    /// The cause is gone, which is told.
    Clear(Rule),
    /// Another alert says it better.
    Replace(Rule),
}

/// From when on a rule is raised, for the source.
pub type Thresholds<'t> = &'t dyn Fn(Rule) -> Option<f64>;

/// The verdicts of a run of any mode.
pub fn judge(run: &RunFacts, threshold: Thresholds) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    // One that fails early has not decided what it is: auto.
    if matches!(
        run.mode.as_str(),
        "auto" | "full" | "incremental" | "reconcile"
    ) {
        match run.status.as_str() {
            "succeeded" => succeeded(run, threshold, &mut verdicts),
            "failed" => failed(run, threshold, &mut verdicts),
            "blocked" => blocked(run, &mut verdicts),
            _ => {}
        }
    }
    if matches!(run.status.as_str(), "succeeded" | "blocked") {
        rejects(run, threshold, &mut verdicts);
    }
    verdicts.extend(waiting(&run.waiting, threshold));
    verdicts
}

/// Of what waits for a decision; may be asked at any time.
pub fn waiting(waiting: &Waiting, threshold: Thresholds) -> Vec<Verdict> {
    let from = |rule| threshold(rule).unwrap_or(1.0).max(1.0);
    let values = if waiting.values as f64 >= from(Rule::UnknownValues) {
        raise(
            Rule::UnknownValues,
            json!({"values": waiting.values, "examples": waiting.value_examples}),
        )
    } else {
        Verdict::Clear(Rule::UnknownValues)
    };
    let taxa = if waiting.taxa as f64 >= from(Rule::MissingTaxa) {
        raise(
            Rule::MissingTaxa,
            json!({"values": waiting.taxa, "records": waiting.records, "examples": waiting.taxon_examples}),
        )
    } else {
        Verdict::Clear(Rule::MissingTaxa)
    };
    vec![values, taxa]
}

fn succeeded(run: &RunFacts, threshold: Thresholds, verdicts: &mut Vec<Verdict>) {
    verdicts.extend(
        [
            Rule::RunFailed,
            Rule::Failing,
            Rule::SourcePaused,
            Rule::DataLate,
            Rule::CredentialsRefused,
            Rule::ExportGone,
        ]
        .map(Verdict::Clear),
    );
    // Only a run that compares finds again what a comparison found missing.
    if run.guarded_mode.as_deref() != Some("reconcile") || run.mode == "reconcile" {
        verdicts.push(Verdict::Clear(Rule::LossGuard));
    }
    if run.empty {
        verdicts.push(raise(Rule::EmptyExport, json!({"held": run.held})));
        verdicts.push(Verdict::Replace(Rule::VolumeDrop));
        return;
    }
    verdicts.push(Verdict::Clear(Rule::EmptyExport));
    verdicts.extend(volume(run, threshold));
    verdicts.extend(columns(run).or_else(|| {
        // Someone has agreed to the columns. Those that were merely said stay until someone takes note.
        run.frozen_before
            .then_some(Verdict::Clear(Rule::ColumnsChanged))
    }));
}

fn failed(run: &RunFacts, threshold: Thresholds, verdicts: &mut Vec<Verdict>) {
    let error = run.error.clone().unwrap_or_default();
    let facts = json!({"error": error, "sqlstate": run.sqlstate});
    let named = match run.sqlstate.as_deref().unwrap_or_default() {
        "28000" | "42501" if run.at_partner => Some(raise(Rule::CredentialsRefused, facts.clone())),
        "42704" if run.at_partner => Some(raise(Rule::ExportGone, facts.clone())),
        "42703" => columns(run).filter(|verdict| matches!(verdict, Verdict::Raise(..))),
        _ => None,
    };
    match named {
        Some(verdict) => verdicts.extend([verdict, Verdict::Replace(Rule::RunFailed)]),
        None => verdicts.push(raise(Rule::RunFailed, facts)),
    }
    let counted = json!({"error": error, "failures": run.failures});
    if !run.enabled && run.failures >= run.pause_after {
        verdicts.push(raise(Rule::SourcePaused, counted.clone()));
    }
    if run.failures as f64 >= threshold(Rule::Failing).unwrap_or(f64::INFINITY) {
        verdicts.push(raise(Rule::Failing, counted));
    }
}

/// It has read everything, and would not delete.
fn blocked(run: &RunFacts, verdicts: &mut Vec<Verdict>) {
    verdicts
        .extend([Rule::RunFailed, Rule::CredentialsRefused, Rule::ExportGone].map(Verdict::Clear));
    let facts = json!({"missing": run.missing, "held": run.held, "mode": run.mode});
    verdicts.push(raise(Rule::LossGuard, facts));
    if run.empty {
        verdicts.push(raise(Rule::EmptyExport, json!({"held": run.held})));
    } else {
        verdicts.push(Verdict::Clear(Rule::EmptyExport));
        verdicts.extend(columns(run));
    }
}

fn volume(run: &RunFacts, threshold: Thresholds) -> Option<Verdict> {
    let (read, usual) = run
        .volume
        .zip(run.usual_volume.filter(|usual| *usual > 0.0))?;
    let drop = (usual - read as f64) * 100.0 / usual;
    Some(if drop >= threshold(Rule::VolumeDrop)? {
        raise(
            Rule::VolumeDrop,
            json!({"read": read, "usual": usual.round()}),
        )
    } else {
        Verdict::Clear(Rule::VolumeDrop)
    })
}

fn columns(run: &RunFacts) -> Option<Verdict> {
    let change = run.columns.as_ref()?;
    Some(raise(
        Rule::ColumnsChanged,
        json!({"gone": change.gone, "new": change.new, "frozen": change.frozen}),
    ))
}

fn rejects(run: &RunFacts, threshold: Thresholds, verdicts: &mut Vec<Verdict>) {
    if run.waiting.rejected == 0 {
        verdicts.push(Verdict::Clear(Rule::Rejects));
        return;
    }
    let Some(most) = threshold(Rule::Rejects).filter(|_| run.fetched >= FEWEST_READ) else {
        return;
    };
    let percent = run.rejected as f64 * 100.0 / run.fetched as f64;
    verdicts.push(if percent > most {
        raise(
            Rule::Rejects,
            json!({"rejected": run.rejected, "fetched": run.fetched, "percent": percent}),
        )
    } else {
        Verdict::Clear(Rule::Rejects)
    });
}

fn raise(rule: Rule, facts: Value) -> Verdict {
    match facts {
        Value::Object(facts) => Verdict::Raise(rule, facts),
        _ => Verdict::Raise(rule, Map::new()),
    }
}
