//! Alerts as they are kept: raised, seen again, cleared, as the verdicts say. In the caller's transaction.

use std::collections::HashMap;

use pgrx::prelude::*;

use super::findings::Findings;
use super::judge::{RunFacts, Verdict, Waiting};
use super::rule::Rule;
use super::{Ended, judge};
use crate::error::Failure;

const RUN_FACTS: &str = include_str!("run_facts.sql");
const WAITING: &str = include_str!("waiting.sql");

/// What the rules are set to for a source.
pub struct Settings(HashMap<&'static str, Option<f64>>);

impl Settings {
    pub fn load(source_id: Option<i32>) -> Result<Settings, Failure> {
        Spi::connect(|client| {
            let mut thresholds = HashMap::new();
            let query = "SELECT rule, threshold FROM gn_harvest.effective_rule($1) WHERE enabled";
            for row in client.select(query, None, &[source_id.into()])? {
                if let Some(rule) = row.get::<String>(1)?.as_deref().and_then(Rule::of) {
                    thresholds.insert(rule.code(), row.get::<f64>(2)?);
                }
            }
            Ok(Settings(thresholds))
        })
    }

    pub fn threshold(&self, rule: Rule) -> Option<f64> {
        self.0.get(rule.code()).copied().flatten()
    }
}

/// What the end of a run says of its source.
pub fn judge_run(ended: &Ended) -> Result<(), Failure> {
    let (source_id, run_id) = (ended.task.source_id, ended.task.run_id);
    let Some(facts) = run_facts(ended)? else {
        return Ok(());
    };
    let settings = Settings::load(Some(source_id))?;
    let verdicts = judge::judge(&facts, &|rule| settings.threshold(rule));
    execute(source_id, Some(run_id), verdicts)
}

fn run_facts(ended: &Ended) -> Result<Option<RunFacts>, Failure> {
    let (source_id, run_id) = (ended.task.source_id, ended.task.run_id);
    let text = Spi::connect(|client| -> Result<Option<String>, Failure> {
        let rows = client.select(RUN_FACTS, Some(1), &[run_id.into()])?;
        let row = rows.into_iter().next();
        Ok(row.map(|row| row.get::<String>(1)).transpose()?.flatten())
    })?;
    let Some(text) = text else { return Ok(None) };
    let facts: RunFacts = read(&text)?;
    let findings: &Findings = ended.findings;
    Ok(Some(RunFacts {
        at_partner: ended.failure.is_some_and(|failure| failure.at_partner),
        empty: findings.empty.get(),
        columns: findings.columns.borrow().clone(),
        missing: findings.missing.get(),
        waiting: waiting(source_id)?,
        ..facts
    }))
}

/// What of a source waits for a decision.
pub fn waiting(source_id: i32) -> Result<Waiting, Failure> {
    let text = Spi::get_one_with_args::<String>(WAITING, &[source_id.into()])?;
    read(text.as_deref().unwrap_or("{}"))
}

fn read<'t, T: serde::Deserialize<'t>>(text: &'t str) -> Result<T, Failure> {
    serde_json::from_str(text)
        .map_err(|error| Failure::new("XX000", format!("facts of a run can not be read: {error}")))
}

/// Does what verdicts about a source say.
pub fn execute(source_id: i32, run_id: Option<i64>, verdicts: Vec<Verdict>) -> Result<(), Failure> {
    let (mut cleared, mut replaced, mut raised) = (Vec::new(), Vec::new(), Vec::new());
    for verdict in verdicts {
        match verdict {
            Verdict::Clear(rule) => cleared.push(rule.code().to_owned()),
            Verdict::Replace(rule) => replaced.push(rule.code().to_owned()),
            Verdict::Raise(rule, facts) => raised.push((rule, serde_json::Value::Object(facts))),
        }
    }
    clear(source_id, cleared, true)?;
    clear(source_id, replaced, false)?;
    for (rule, facts) in raised {
        if rule == Rule::ColumnsChanged {
            forget_other_columns(source_id, &facts)?;
        }
        raise(Some(source_id), None, rule, &facts, run_id)?;
    }
    Ok(())
}

pub fn raise(
    source_id: Option<i32>,
    channel_id: Option<i32>,
    rule: Rule,
    facts: &serde_json::Value,
    run_id: Option<i64>,
) -> Result<(), Failure> {
    Spi::run_with_args(
        "SELECT gn_harvest.raise_alert($1, $2, $3, $4::jsonb, $5)",
        &[
            source_id.into(),
            channel_id.into(),
            rule.code().into(),
            // PostgreSQL's jsonb holds no NUL.
            facts.to_string().replace("\\u0000", "").into(),
            run_id.into(),
        ],
    )?;
    Ok(())
}

pub fn clear(source_id: i32, rules: Vec<String>, told: bool) -> Result<(), Failure> {
    if rules.is_empty() {
        return Ok(());
    }
    Spi::run_with_args(
        "SELECT gn_harvest.clear_alert($1, NULL, $2, $3)",
        &[source_id.into(), rules.into(), told.into()],
    )?;
    Ok(())
}

pub fn clear_channel(channel_id: i32, rule: Rule) -> Result<(), Failure> {
    Spi::run_with_args(
        "SELECT gn_harvest.clear_alert(NULL, $1, ARRAY[$2], true)",
        &[channel_id.into(), rule.code().into()],
    )?;
    Ok(())
}

/// Another change of columns is news of its own.
fn forget_other_columns(source_id: i32, facts: &serde_json::Value) -> Result<(), Failure> {
    Spi::run_with_args(
        "SELECT gn_harvest.clear_alert($1, NULL, ARRAY[rule], false) FROM gn_harvest.alert
         WHERE source_id = $1 AND rule = $2 AND resolved_at IS NULL AND facts <> $3::jsonb",
        &[
            source_id.into(),
            Rule::ColumnsChanged.code().into(),
            facts.to_string().replace("\\u0000", "").into(),
        ],
    )?;
    Ok(())
}
