//! The source's own function, called after a run that has changed something, with what has changed: to refresh
//! materialised views and atlases. As the source's owner, in a transaction of its own, and for a time only.

use pgrx::prelude::*;
use serde_json::json;

use super::rule::Rule;
use super::{Ended, book};
use crate::error::Failure;
use crate::source::Source;
use crate::{harvest, postgres, run, settings};

/// What is known before the call.
struct Call {
    source: Source,
    function: String,
    /// Counts and the like; what was touched is added.
    event: serde_json::Map<String, serde_json::Value>,
    /// Earlier runs changed something of which the function has not heard.
    missed: bool,
}

/// Calls the function when the run, or an earlier one that it has not heard of, has changed something.
pub fn call(ended: &Ended) -> Result<(), Failure> {
    let Some(call) = postgres::transaction(|| prepare(ended))? else {
        return Ok(());
    };
    postgres::report_activity(&format!(
        "gn_harvest: run {} of source {}: calling {}",
        ended.task.run_id, call.source.name, call.function
    ));
    let outcome = postgres::within(settings::hook_timeout(), || {
        postgres::transaction(|| {
            let owner = harvest::owner(&call.source)?;
            postgres::as_role(owner, ended.search_path, || perform(ended, &call))
        })
    });
    let outcome =
        outcome.map_err(|failure| failure.explained(&call.source.owner, settings::lock_timeout()));
    postgres::transaction(|| record(ended, &call.function, &outcome))
}

const FACTS: &str = include_str!("hook_facts.sql");

fn prepare(ended: &Ended) -> Result<Option<Call>, Failure> {
    let (source_id, run_id) = (ended.task.source_id, ended.task.run_id);
    let found = Spi::connect(
        |client| -> Result<Option<(String, String, bool)>, Failure> {
            let rows = client.select(FACTS, Some(1), &[source_id.into(), run_id.into()])?;
            let Some(row) = rows.into_iter().next() else {
                return Ok(None);
            };
            let (function, event) = (row.get::<String>(1)?, row.get::<String>(2)?);
            let missed = row.get::<bool>(3)?.unwrap_or(false);
            Ok(function
                .zip(event)
                .map(|(function, event)| (function, event, missed)))
        },
    )?;
    let Some((function, event, missed)) = found else {
        return Ok(None);
    };
    let Some(source) = Source::load(source_id)? else {
        return Ok(None);
    };
    let event = serde_json::from_str(&event)
        .map_err(|error| Failure::new("XX000", format!("counts of a run: {error}")))?;
    Ok(Some(Call {
        source,
        function,
        event,
        missed,
    }))
}

/// As the owner.
fn perform(ended: &Ended, call: &Call) -> Result<(), Failure> {
    let touched = ended.findings.touched.borrow();
    let (taxa, datasets) = match call.missed {
        true => (None, None),
        false => (touched.taxa(), touched.datasets()),
    };
    let uuids = match &datasets {
        Some(ids) if ids.is_empty() => Some(Vec::new()),
        Some(ids) => Spi::get_one_with_args::<Vec<String>>(
            "SELECT coalesce(array_agg(unique_dataset_id::text ORDER BY id_dataset), '{}')
             FROM gn_meta.t_datasets WHERE id_dataset = ANY ($1)",
            &[ids.clone().into()],
        )?,
        None => None,
    };
    let mut event = call.event.clone();
    event.insert("cd_nom".to_owned(), json!(taxa));
    event.insert("id_dataset".to_owned(), json!(datasets));
    event.insert("datasets".to_owned(), json!(uuids));
    let event = serde_json::Value::Object(event).to_string();
    let function = Spi::get_one_with_args::<String>(
        "SELECT max(quote_ident(n.nspname) || '.' || quote_ident(p.proname))
         FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
         WHERE p.oid = to_regprocedure($1 || '(jsonb)') AND p.prokind = 'f'",
        &[call.function.as_str().into()],
    )?
    .ok_or_else(|| {
        Failure::new("42883", format!("function {}(jsonb) does not exist", call.function))
            .hint("Create it, name another with gn_harvest.alter_source(name, after_run => '...'), or clear => '{after_run}'.")
    })?;
    Spi::run_with_args(
        &format!("SELECT {function}($1::jsonb)"),
        &[event.as_str().into()],
    )?;
    Ok(())
}

fn record(ended: &Ended, function: &str, outcome: &Result<(), Failure>) -> Result<(), Failure> {
    let (source_id, run_id) = (ended.task.source_id, ended.task.run_id);
    match outcome {
        Ok(()) => {
            Spi::run_with_args(
                "UPDATE gn_harvest.source_state SET hook_run = $2 WHERE source_id = $1",
                &[source_id.into(), run_id.into()],
            )?;
            book::clear(source_id, vec![Rule::HookFailed.code().to_owned()], true)
        }
        Err(failure) => {
            run::warn(
                run_id,
                &format!(
                    "the function {function} that was to be called after the run failed ({}): {}",
                    failure.sqlstate, failure.message
                ),
            )?;
            let facts =
                json!({"hook": function, "error": failure.message, "sqlstate": failure.sqlstate});
            book::raise(
                Some(source_id),
                None,
                Rule::HookFailed,
                &facts,
                Some(run_id),
            )
        }
    }
}
