//! What time and people's decisions mean for the rules: data that are late, decisions that have been taken. In the
//! caller's transaction, which costs nothing when there is nothing to note: it comes by often.

use pgrx::prelude::*;
use serde_json::json;

use super::judge::{Verdict, waiting};
use super::rule::Rule;
use super::{book, outbox};
use crate::error::Failure;

/// Looks at every source, unless this is a copy of the database.
pub fn look() -> Result<(), Failure> {
    let here = Spi::connect(|client| -> Result<bool, Failure> {
        let row = client
            .select("SELECT gn_harvest.is_at_home()", Some(1), &[])?
            .first();
        Ok(row.get::<bool>(1)?.unwrap_or(false))
    })?;
    if !here {
        return Ok(());
    }
    look_for_late_data()?;
    look_at_decisions()?;
    outbox::give_up_old()
}

const LATE: &str = include_str!("late.sql");

fn look_for_late_data() -> Result<(), Failure> {
    let found = Spi::connect(
        |client| -> Result<Vec<(i32, bool, Option<String>)>, Failure> {
            let mut found = Vec::new();
            for row in client.select(LATE, None, &[])? {
                found.push((
                    row.get::<i32>(1)?.unwrap_or_default(),
                    row.get::<bool>(2)?.unwrap_or(false),
                    row.get::<String>(3)?,
                ));
            }
            Ok(found)
        },
    )?;
    for (source_id, is_late, since) in found {
        let facts = json!({ "since": since });
        let verdict = match (is_late, facts) {
            (true, serde_json::Value::Object(facts)) => Verdict::Raise(Rule::DataLate, facts),
            _ => Verdict::Clear(Rule::DataLate),
        };
        book::execute(source_id, None, vec![verdict])?;
    }
    Ok(())
}

/// Sources with an alert about something that people mend without a run.
fn look_at_decisions() -> Result<(), Failure> {
    let open = Spi::connect(|client| -> Result<Vec<i32>, Failure> {
        let row = client
            .select(
                "SELECT coalesce(array_agg(DISTINCT source_id), '{}') FROM gn_harvest.alert
                 WHERE resolved_at IS NULL AND source_id IS NOT NULL AND rule = ANY ($1)",
                Some(1),
                &[vec![Rule::UnknownValues.code(), Rule::MissingTaxa.code()].into()],
            )?
            .first();
        Ok(row.get::<Vec<i32>>(1)?.unwrap_or_default())
    })?;
    for source_id in open {
        let settings = book::Settings::load(Some(source_id))?;
        let verdicts = waiting(&book::waiting(source_id)?, &|rule| settings.threshold(rule));
        let ended = verdicts
            .into_iter()
            .filter(|verdict| matches!(verdict, Verdict::Clear(_)));
        book::execute(source_id, None, ended.collect())?;
    }
    Ok(())
}
