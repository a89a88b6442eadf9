//! What a run would do: it is read like a run and nothing is written but the answer, in gn_harvest.plan_result, and the
//! bookkeeping of the reading, which is taken away at the end.

pub mod tally;

use pgrx::prelude::*;
use serde_json::json;

use crate::deletion::{self, Means};
use crate::error::Failure;
use crate::harvest::{self, Session, phase};
use crate::reading::{self, Prepared, Reading};
use crate::records::RecordsPlanner;
use crate::run;
use crate::source::TargetKind;
use crate::synthese::{Planner, planned};
use crate::target::Target;
use crate::{postgres, retry, slices, upkeep};
use tally::{Action, Line, OBSERVATION, RECORD, Tally};

/// Plans a run of a mode and keeps the answer for the caller.
pub fn run(session: Session, mode: &str) -> Result<(), Failure> {
    let run_id = session.task.run_id;
    let planned = postgres::guarded(|| plan(session, mode));
    postgres::transaction(|| slices::forget_plan(run_id)).and(planned)
}

fn plan(mut session: Session, mode: &str) -> Result<(), Failure> {
    phase(&session, "asking the source", None)?;
    let reading = match reading::prepare(&session)? {
        Prepared::Reading(reading) => *reading,
        Prepared::Empty { reconcile } => {
            return postgres::transaction(|| plan_nothing(&session, reconcile, mode));
        }
    };
    let warning = reading::changed_columns(&session, &reading.layout)?;
    let mut planning = Planning::open(&mut session, &reading)?;
    warning
        .into_iter()
        .for_each(|text| planning.tally().warn(text));
    let (seen, passes) = harvest::read(&session, &reading, planning.target())?;
    if let Planning::Synthese(planner) = &mut planning {
        look_at_unseen(&session, &reading, planner)?;
        retry::run_resolvable(&session, &mut **planner)?;
        postgres::transaction(|| planner.plan_metadata())?;
    }
    harvest::find_deleted(&session, &reading, &seen)?;
    postgres::transaction(|| {
        plan_deletions(&session, &reading, &mut planning, mode)?;
        let object = planning.object();
        let tally = planning.tally();
        count_read(&session, &reading, tally, object)?;
        for warning in harvest::what_does_not_add_up(&session, &reading, &seen, passes)? {
            tally.warn(warning);
        }
        for warning in run::warnings(session.task.run_id)? {
            tally.warn(warning);
        }
        keep(session.task.run_id, std::mem::take(tally).lines())
    })
}

/// Plans by target.
enum Planning {
    Synthese(Box<Planner>),
    Records(RecordsPlanner),
}

impl Planning {
    /// Makes ready what comes before the records; from then on all that is asked about the session's source is its lineage.
    fn open(session: &mut Session, reading: &Reading) -> Result<Self, Failure> {
        let (source, run_id) = (&session.source, session.task.run_id);
        if source.target == TargetKind::Records {
            return Ok(Planning::Records(RecordsPlanner::open(source, run_id)?));
        }
        let (mut planner, lineage) =
            Planner::open(source, run_id, session.owner, session.search_path)?;
        if let Some(export) = upkeep::metadata_export(source, reading) {
            let metadata = upkeep::read_export(session, export)?;
            postgres::transaction(|| planner.describe(metadata))?;
        }
        postgres::transaction(|| planner.count_moves())?;
        session.source.id = lineage;
        Ok(Planning::Synthese(Box::new(planner)))
    }

    fn target(&mut self) -> &mut dyn Target {
        match self {
            Planning::Synthese(planner) => &mut **planner,
            Planning::Records(planner) => planner,
        }
    }

    fn object(&self) -> &'static str {
        match self {
            Planning::Synthese(_) => OBSERVATION,
            Planning::Records(_) => RECORD,
        }
    }

    fn tally(&mut self) -> &mut Tally {
        match self {
            Planning::Synthese(planner) => &mut planner.tally,
            Planning::Records(planner) => {
                planner.tell_flaws();
                &mut planner.tally
            }
        }
    }

    fn gained(&self) -> i64 {
        match self {
            Planning::Synthese(planner) => planner.gained,
            Planning::Records(planner) => planner.gained,
        }
    }
}

/// The export is empty: nothing would be read, and nothing deleted but by someone's word.
fn plan_nothing(session: &Session, reconcile: bool, mode: &str) -> Result<(), Failure> {
    session.findings.empty.set(true);
    let object = match session.source.target {
        TargetKind::Synthese => OBSERVATION,
        TargetKind::Records => RECORD,
    };
    let mut tally = Tally::default();
    tally.add(Action::Read, object, 0);
    tally.warn(harvest::EMPTY.to_owned());
    let (_, held) = deletion::figures(session)?;
    if reconcile && held > 0 {
        tally.add(Action::Delete, object, held);
        if let Err(failure) = deletion::guard(session, held, held, mode) {
            tally.warn(format!("the run would end as blocked: {}", failure.message));
        }
    }
    keep(session.task.run_id, tally.lines())
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
    planning: &mut Planning,
    mode: &str,
) -> Result<(), Failure> {
    let run_id = session.task.run_id;
    planned::correct_missing(run_id, reading.full && reading.means == Means::Comparison)?;
    let (missing, held) = deletion::figures(session)?;
    let (object, gained) = (planning.object(), planning.gained());
    let tally = planning.tally();
    tally.add(Action::Delete, object, missing);
    for (key, id_synthese) in deletion::examples(session, 5)? {
        tally.sample(
            Action::Delete,
            object,
            None,
            json!({"key": key, "id": id_synthese}),
        );
    }
    if missing > 0
        && let Err(failure) = deletion::guard(session, missing, held + gained, mode)
    {
        tally.warn(format!("the run would end as blocked: {}", failure.message));
    }
    Ok(())
}

fn count_read(
    session: &Session,
    reading: &Reading,
    tally: &mut Tally,
    object: &'static str,
) -> Result<(), Failure> {
    let (fetched, unchanged) = run::fetched(session.task.run_id)?;
    tally.add(Action::Read, object, fetched);
    tally.add(Action::Unchanged, object, unchanged);
    let detail = match (&reading.since, reading.means, reading.resumed) {
        (Some(since), ..) => format!("incremental: what has changed since {since}"),
        (None, Means::Comparison, _) => {
            "reconcile: everything, compared with what is here".to_owned()
        }
        (None, _, resumed) if let Some(file) = &reading.file => {
            let part = if resumed {
                "what is left of"
            } else {
                "everything in"
            };
            format!("full: {part} the file {}", file.described)
        }
        (None, _, true) => "full: what an interrupted run has left to read".to_owned(),
        (None, _, false) => "full: everything".to_owned(),
    };
    tally.explain(Action::Read, object, detail);
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
