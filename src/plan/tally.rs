//! What a plan counts: one line for each thing that would be done, with its reasons and some examples. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

/// Examples shown of a line.
const SAMPLES: usize = 5;
/// Details counted of a line, and shown.
const COUNTED: usize = 1000;
const SHOWN: usize = 10;

/// What would be done, in the order in which it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    Read,
    Insert,
    Update,
    Unchanged,
    Skip,
    Delete,
    Reject,
    Create,
    Warn,
}

impl Action {
    pub fn code(self) -> &'static str {
        match self {
            Action::Read => "read",
            Action::Insert => "insert",
            Action::Update => "update",
            Action::Unchanged => "unchanged",
            Action::Skip => "skip",
            Action::Delete => "delete",
            Action::Reject => "reject",
            Action::Create => "create",
            Action::Warn => "warn",
        }
    }
}

/// What a plan is about.
pub const OBSERVATION: &str = "observation";
pub const RECORD: &str = "record";

#[derive(Debug, Default)]
struct Entry {
    records: i64,
    text: Option<String>,
    details: BTreeMap<String, i64>,
    samples: Vec<Value>,
}

/// A line of the answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub action: Action,
    pub object: &'static str,
    pub reason: Option<String>,
    pub records: i64,
    pub detail: Option<String>,
    pub samples: Vec<Value>,
}

#[derive(Debug, Default)]
pub struct Tally {
    entries: BTreeMap<(Action, &'static str, Option<String>), Entry>,
    warnings: Vec<String>,
}

impl Tally {
    pub fn add(&mut self, action: Action, object: &'static str, records: i64) {
        self.entry(action, object, None).records += records;
    }

    /// One record more for a reason.
    pub fn because(
        &mut self,
        action: Action,
        object: &'static str,
        reason: &str,
        detail: Option<String>,
    ) {
        let entry = self.entry(action, object, Some(reason.to_owned()));
        entry.records += 1;
        note(entry, detail);
    }

    /// Counts a detail of what was added.
    pub fn detail(&mut self, action: Action, object: &'static str, detail: String) {
        note(self.entry(action, object, None), Some(detail));
    }

    /// Says what a line is about, whatever its details.
    pub fn explain(&mut self, action: Action, object: &'static str, text: String) {
        self.entry(action, object, None).text = Some(text);
    }

    /// Whether a line still wants examples.
    pub fn wants_sample(&self, action: Action, object: &'static str, reason: Option<&str>) -> bool {
        let key = (action, object, reason.map(str::to_owned));
        self.entries
            .get(&key)
            .is_none_or(|entry| entry.samples.len() < SAMPLES)
    }

    pub fn sample(
        &mut self,
        action: Action,
        object: &'static str,
        reason: Option<&str>,
        sample: Value,
    ) {
        let entry = self.entry(action, object, reason.map(str::to_owned));
        if entry.samples.len() < SAMPLES {
            entry.samples.push(sample);
        }
    }

    pub fn warn(&mut self, text: String) {
        if !self.warnings.contains(&text) {
            self.warnings.push(text);
        }
    }

    /// What was counted, in order.
    pub fn lines(self) -> Vec<Line> {
        let counted = self
            .entries
            .into_iter()
            .filter(|(_, entry)| entry.records > 0)
            .map(|((action, object, reason), entry)| Line {
                action,
                object,
                reason,
                records: entry.records,
                detail: entry.text.or_else(|| shown(entry.details)),
                samples: entry.samples,
            });
        let warned = self.warnings.into_iter().map(|text| Line {
            action: Action::Warn,
            object: "run",
            reason: None,
            records: 1,
            detail: Some(text),
            samples: Vec::new(),
        });
        counted.chain(warned).collect()
    }

    fn entry(
        &mut self,
        action: Action,
        object: &'static str,
        reason: Option<String>,
    ) -> &mut Entry {
        self.entries.entry((action, object, reason)).or_default()
    }
}

fn note(entry: &mut Entry, detail: Option<String>) {
    let Some(detail) = detail else { return };
    if entry.details.len() < COUNTED || entry.details.contains_key(&detail) {
        *entry.details.entry(detail).or_default() += 1;
    }
}

/// The commonest details, with how often each came.
fn shown(details: BTreeMap<String, i64>) -> Option<String> {
    let mut details: Vec<(String, i64)> = details.into_iter().collect();
    details.sort_by_key(|(_, times)| -times);
    let more = details.len().saturating_sub(SHOWN);
    let mut texts: Vec<String> = details
        .into_iter()
        .take(SHOWN)
        .map(|(detail, times)| format!("{detail} ({times})"))
        .collect();
    if more > 0 {
        texts.push(format!("and {more} more"));
    }
    (!texts.is_empty()).then(|| texts.join(", "))
}
