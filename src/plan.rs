//! What a run would do: it is read like a run and nothing is written but the answer, in gn_harvest.plan_result, and the
//! bookkeeping of the reading, which is taken away at the end.

pub mod tally;

use pgrx::prelude::*;
use serde_json::json;

use crate::deletion::{self, Means};
use crate::error::Failure;
use crate::harvest::{self, Session, phase};
use crate::reading::{self, Reading};
use crate::run;
use crate::synthese::{Planner, planned};
use crate::target::Target;
use crate::{postgres, retry, upkeep};
use tally::{Action, Line, OBSERVATION};

/// Plans a run of a mode and keeps the answer for the caller.
pub fn run(session: Session, mode: &str) -> Result<(), Failure> {
    let run_id = session.task.run_id;
    let planned = postgres::guarded(|| plan(session, mode));
    postgres::transaction(|| run::forget_plan(run_id)).and(planned)
}

fn plan(mut session: Session, mode: &str) -> Result<(), Failure> {
    phase(&session, "asking the source", None)?;
    let reading = reading::prepare(&session)?;
    let warning = reading::changed_columns(&session, &reading.layout)?;
    let (mut planner, lineage) = Planner::open(
        &session.source,
        session.task.run_id,
        session.owner,
        session.search_path,
    )?;
    warning
        .into_iter()
        .for_each(|text| planner.tally.warn(text));
    if let Some(export) = upkeep::metadata_export(&session.source) {
        let metadata = upkeep::read_export(&session, export)?;
        postgres::transaction(|| planner.describe(metadata))?;
    }
    postgres::transaction(|| planner.count_moves())?;
    // From here on all that is asked about the source is its lineage.
    session.source.id = lineage;
    let (seen, passes) = harvest::read(&session, &reading, &mut planner)?;
    look_at_unseen(&session, &reading, &mut planner)?;
    retry::run_resolvable(&session, &mut planner)?;
    postgres::transaction(|| planner.plan_metadata())?;
    harvest::find_deleted(&session, &reading, &seen)?;
    postgres::transaction(|| {
        plan_deletions(&session, &reading, &mut planner, mode)?;
        count_read(&session, &reading, &mut planner)?;
        for warning in harvest::what_does_not_add_up(&session, &reading, &seen, passes)? {
            planner.tally.warn(warning);
        }
        for warning in run::warnings(session.task.run_id)? {
            planner.tally.warn(warning);
        }
        keep(session.task.run_id, planner.tally.lines())
    })
}

fn look_at_unseen(
    session: &Session,
    reading: &Reading,
    planner: &mut Planner,
) -> Result<(), Failure> {
    if !upkeep::looks_at_unseen(&session.source, reading) {
        return Ok(());
    }
    let unseen = postgres::transaction(|| planner.unseen(upkeep::LOOKED_AT))?;
    let reader = planner.reader();
    let warning = upkeep::ask_for_samples(session, reading, &reader, &unseen, &mut |_, batch| {
        planner.hear(batch.datasets);
        Ok(())
    })?;
    warning
        .into_iter()
        .for_each(|text| planner.tally.warn(text));
    Ok(())
}

/// What would be deleted, unless the loss guard objects.
fn plan_deletions(
    session: &Session,
    reading: &Reading,
    planner: &mut Planner,
    mode: &str,
) -> Result<(), Failure> {
    let run_id = session.task.run_id;
    planned::correct_missing(run_id, reading.full && reading.means == Means::Comparison)?;
    let (missing, held) = deletion::figures(session)?;
    let tally = &mut planner.tally;
    tally.add(Action::Delete, OBSERVATION, missing);
    for (key, id_synthese) in deletion::examples(session, 5)? {
        tally.sample(
            Action::Delete,
            OBSERVATION,
            None,
            json!({"key": key, "id_synthese": id_synthese}),
        );
    }
    if missing > 0
        && let Err(failure) = deletion::guard(session, missing, held + planner.gained, mode)
    {
        tally.warn(format!("the run would end as blocked: {}", failure.message));
    }
    Ok(())
}

fn count_read(session: &Session, reading: &Reading, planner: &mut Planner) -> Result<(), Failure> {
    let (fetched, unchanged) = run::fetched(session.task.run_id)?;
    let tally = &mut planner.tally;
    tally.add(Action::Read, OBSERVATION, fetched);
    tally.add(Action::Unchanged, OBSERVATION, unchanged);
    let detail = match (&reading.since, reading.means, reading.resumed) {
        (Some(since), ..) => format!("incremental: what has changed since {since}"),
        (None, Means::Comparison, _) => {
            "reconcile: everything, compared with what is here".to_owned()
        }
        (None, _, true) => "full: what an interrupted run has left to read".to_owned(),
        (None, _, false) => "full: everything".to_owned(),
    };
    tally.explain(Action::Read, OBSERVATION, detail);
    Ok(())
}

fn keep(run_id: i64, lines: Vec<Line>) -> Result<(), Failure> {
    for (no, line) in lines.into_iter().enumerate() {
        Spi::run_with_args(
            "INSERT INTO gn_harvest.plan_result (run_id, no, action, object, reason, records, detail, samples)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8::jsonb)",
            &[
                run_id.into(),
                (no as i32 + 1).into(),
                line.action.code().into(),
                line.object.into(),
                line.reason.into(),
                line.records.into(),
                line.detail.map(|text| text.replace('\0', "")).into(),
                serde_json::Value::Array(line.samples).to_string().into(),
            ],
        )?;
    }
    Ok(())
}
