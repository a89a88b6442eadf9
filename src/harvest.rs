//! One run from beginning to end. It decides what is read and where transactions end:
//! the network never holds one, each batch with its lineage and checkpoint is one.

use std::sync::Arc;

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::alert::{self, Findings};
use crate::bootstrap::FileToRead;
use crate::deletion::{self, Means};
use crate::error::Failure;
use crate::fetch::Order;
use crate::gather::{self, Seen};
use crate::geonature::{Client, Deletion, Stop, Traffic};
use crate::reading::{self, Prepared, Reading};
use crate::run;
use crate::schedule::Hours;
use crate::source::Source;
use crate::synthese;
use crate::target::{Opened, Target};
use crate::worker::Task;
use crate::{check, clock, plan, postgres, probe, retry, settings, slices, upkeep};

/// What a worker has in hand.
pub struct Session<'a> {
    pub task: &'a Task,
    pub source: Source,
    pub owner: pg_sys::Oid,
    pub search_path: &'a str,
    pub client: Client,
    pub traffic: Arc<Traffic>,
    /// What its end has to know besides its row.
    pub findings: &'a Findings,
}

/// Does a task and writes how it ended. Never fails: what can't be written goes to the log.
pub fn work(task: &Task, search_path: &str) {
    let begun = postgres::transaction(|| {
        let Some(source) = Source::load(task.source_id)? else {
            return Ok(None);
        };
        Ok(run::begin(task, &source.name)?.then_some(source))
    });
    let source = match begun {
        Ok(Some(source)) => source,
        Ok(None) => return,
        Err(failure) => {
            log!("gn_harvest: run {} could not begin: {failure}", task.run_id);
            return;
        }
    };
    let (name, owner) = (source.name.clone(), source.owner.clone());
    let traffic = Arc::new(Traffic::new());
    let findings = Findings::default();
    let outcome =
        postgres::guarded(|| begin_and_do(task, source, search_path, &traffic, &findings))
            .map_err(|failure| failure.explained(&owner, settings::lock_timeout()));
    let mut written = postgres::transaction(|| run::end(task, &outcome, Some(&traffic)));
    if written.as_ref().is_err_and(Failure::is_cancel) {
        // Cancelled once more: there is nothing left to cancel.
        written = postgres::uncancelled(|| {
            postgres::transaction(|| run::end(task, &outcome, Some(&traffic)))
        });
    }
    if let Err(failure) = written {
        log!(
            "gn_harvest: the end of run {} of source \"{name}\" could not be written: {failure}",
            task.run_id
        );
    }
    alert::after_run(&alert::Ended {
        task,
        search_path,
        failure: outcome.as_ref().err(),
        findings: &findings,
    });
}

fn begin_and_do(
    task: &Task,
    source: Source,
    search_path: &str,
    traffic: &Arc<Traffic>,
    findings: &Findings,
) -> Result<(), Failure> {
    let stop = Arc::new(Stop::new());
    let client = probe::client(&source, traffic, &stop)?;
    let owner = postgres::transaction(|| owner(&source))?;
    let session = Session {
        task,
        source,
        owner,
        search_path,
        client,
        traffic: Arc::clone(traffic),
        findings,
    };
    let result = match task.mode.as_str() {
        "check" => check::run(&session),
        "retry" => retry::run(&session),
        "drop" => drop_data(&session),
        _ => postgres::transaction(|| within_hours(&session.source)).and_then(|()| {
            match task.planned() {
                Some(mode) => plan::run(session, mode),
                None => harvest(&session),
            }
        }),
    };
    stop.set();
    result
}

/// A role by its name.
pub fn role(name: &str) -> Result<Option<pg_sys::Oid>, Failure> {
    Ok(Spi::get_one_with_args::<pg_sys::Oid>(
        "SELECT max(oid) FROM pg_roles WHERE rolname = $1",
        &[name.into()],
    )?)
}

/// The role as which a source writes.
pub fn owner(source: &Source) -> Result<pg_sys::Oid, Failure> {
    role(&source.owner)?.ok_or_else(|| {
        Failure::new(
            "42704",
            format!(
                "role \"{}\", which owns the source, does not exist",
                source.owner
            ),
        )
        .hint("Name another with gn_harvest.alter_source(name, owner => '...').")
    })
}

pub fn within_hours(source: &Source) -> Result<(), Failure> {
    let Some(hours) = &source.allowed_hours else {
        return Ok(());
    };
    let local = clock::now().to_zoned(clock::zone()).time();
    if Hours::parse(hours).is_none_or(|hours| hours.contains(local)) {
        return Ok(());
    }
    Err(Failure::new(run::OUT_OF_HOURS, format!("source \"{}\" may only be harvested from {}", source.name, hours.replace('-', " to ")))
        .detail("What has been written stays; a run within these hours goes on from there.")
        .hint("alter_source(name, allowed_hours => '...') changes them; clear => '{allowed_hours}' lifts them."))
}

fn harvest(session: &Session) -> Result<(), Failure> {
    phase(session, "asking the source", None)?;
    let mut reading = match reading::prepare(session)? {
        Prepared::Reading(reading) => *reading,
        Prepared::Empty { reconcile } => return empty_export(session, reconcile),
    };
    let mut opened = postgres::transaction(|| {
        // Its target can not be changed any more: alter_source sees that the source is being harvested.
        require_same_source(&session.source)?;
        reading::contract(session, &reading.layout)?;
        Opened::open(session)
    })?;
    if let Some(synthese) = opened.synthese() {
        say_load(session, synthese)?;
        upkeep::begin(session, &reading, synthese)?;
    }
    let (seen, passes) = read(session, &reading, opened.target())?;
    if let Some(file) = &reading.file {
        // Only now is it known what the file tells.
        let watermark = file.watermark();
        postgres::transaction(|| run::set_watermark(session.task.run_id, watermark.as_deref()))?;
        reading.watermark = watermark;
    }
    if let Some(synthese) = opened.synthese() {
        upkeep::finish(session, &reading, synthese)?;
    }
    postgres::transaction(|| opened.tell())?;
    let deletion_watermark = delete(session, &reading, &seen, opened.target())?;
    postgres::transaction(|| conclude(session, &reading, &seen, passes, deletion_watermark))
}

/// Says when the load is not the one that was asked for.
fn say_load(session: &Session, synthese: &synthese::Synthese) -> Result<(), Failure> {
    let Some(why) = synthese.load()? else {
        return Ok(());
    };
    let text = format!("the standard load was used instead of the fast one: {why}");
    postgres::transaction(|| run::warn(session.task.run_id, &text))
}

/// What is said of an export without a record.
pub const EMPTY: &str = "the export is empty: there is nothing to read; ask the partner whether its view and its filters are right";

/// The export has no record at all, not even to tell its columns by. That is said, and the watermark stays where it is;
/// nothing is deleted unless the run was to compare, and then only by someone's word.
fn empty_export(session: &Session, reconcile: bool) -> Result<(), Failure> {
    session.findings.empty.set(true);
    let run_id = session.task.run_id;
    let held = postgres::transaction(|| {
        require_same_source(&session.source)?;
        Spi::run_with_args(
            "UPDATE gn_harvest.run SET source_total = 0, total = 0 WHERE id = $1",
            &[run_id.into()],
        )?;
        run::warn(run_id, EMPTY)?;
        match reconcile {
            true => deletion::note_all(session),
            false => Ok(0),
        }
    })?;
    if held == 0 {
        return Ok(());
    }
    let mut opened = postgres::transaction(|| Opened::open(session))?;
    deletion::apply(session, opened.target())
}

/// Reads the records and writes them; how often it took to read them all.
pub fn read(
    session: &Session,
    reading: &Reading,
    target: &mut dyn Target,
) -> Result<(Seen, usize), Failure> {
    phase(session, "harvesting", None)?;
    match reading.order {
        Order::Windows { .. } => Ok((gather::read(session, reading, target)?, 1)),
        Order::Pages { .. } => gather::read_until_still(session, reading, target),
    }
}

/// Deletes here what the source has deleted; returns from when its log is asked next time.
fn delete(
    session: &Session,
    reading: &Reading,
    seen: &Seen,
    target: &mut dyn Target,
) -> Result<Option<String>, Failure> {
    postgres::transaction(|| require_same_source(&session.source))?;
    let before = session.source.deletion_watermark.clone();
    let Some(deletions) = find_deleted(session, reading, seen)? else {
        // Who held nothing before has to ask from when the file was written, as soon as it can.
        let since = reading.file.as_ref().map(FileToRead::deletions_since);
        return Ok(before.or(since));
    };
    deletion::apply(session, target)?;
    let told = deletions.iter().map(|deletion| deletion.date.as_str());
    Ok(deletion::latest(
        told.chain(reading.watermark.as_deref())
            .chain(before.as_deref()),
    ))
}

/// Notes what the source has deleted, with what its log says; none when it tells nothing, or could not be asked.
pub fn find_deleted(
    session: &Session,
    reading: &Reading,
    seen: &Seen,
) -> Result<Option<Vec<Deletion>>, Failure> {
    let run_id = session.task.run_id;
    if let Some(file) = &reading.file {
        return find_deleted_since(session, reading.means, file);
    }
    let deletions = match reading.means {
        Means::None => return Ok(None),
        Means::Comparison => None,
        means => deletion::read_told(session, means)?,
    };
    postgres::transaction(|| match (&deletions, reading.full) {
        (None, _) if reading.means.tells() => Ok(()),
        (None, _) if seen.unsteady => run::warn(
            run_id,
            "the export changed each time it was read: what is missing can not be told from what was passed over",
        ),
        (None, _) if seen.hidden > 0 && !reading.is_numeric() => run::warn(
            run_id,
            "the source hides records and its keys are no numbers: what is missing can not be told from what is hidden",
        ),
        (None, _) => deletion::note_outside(session, reading.is_numeric()),
        (Some(deletions), true) => {
            deletion::note_outside(session, reading.is_numeric())?;
            deletion::confirm(run_id, deletions)
        }
        (Some(deletions), false) => deletion::note_deleted(session, deletions, &seen.keys),
    })?;
    Ok(match reading.means.tells() {
        true => deletions,
        false => Some(Vec::new()),
    })
}

/// Notes what the source has deleted since a file was written; records that are not in the file are not looked at. The
/// log is asked from where increments go on: what is there again although it tells otherwise is read again by the next.
fn find_deleted_since(
    session: &Session,
    means: Means,
    file: &FileToRead,
) -> Result<Option<Vec<Deletion>>, Failure> {
    if !means.tells() {
        return Ok(None);
    }
    let since = file.deletions_since();
    let before = session.source.deletion_watermark.as_deref();
    let since = deletion::earliest(before.into_iter().chain([since.as_str()]));
    let deletions = deletion::read_told_since(session, means, since)?;
    if let Some(deletions) = &deletions {
        postgres::transaction(|| deletion::note_deleted(session, deletions, &[]))?;
    }
    Ok(deletions)
}

/// Removes what came from the source; of gn_synthese its row in t_sources too.
fn drop_data(session: &Session) -> Result<(), Failure> {
    let mut opened = postgres::transaction(|| {
        require_same_source(&session.source)?;
        Opened::open(session)
    })?;
    // Only now: a source that came back has taken its lineage back.
    let total = postgres::transaction(|| deletion::note_all(session))?;
    phase(session, "deleting", Some(total))?;
    deletion::apply(session, opened.target())?;
    postgres::transaction(|| opened.leave())
}

pub fn phase(session: &Session, text: &str, total: Option<i64>) -> Result<(), Failure> {
    run::phase(session.task.run_id, &session.source.name, text, total)
}

/// The run has read all: says what does not add up, moves the watermark.
fn conclude(
    session: &Session,
    reading: &Reading,
    seen: &Seen,
    passes: usize,
    deletion_watermark: Option<String>,
) -> Result<(), Failure> {
    let (run_id, source) = (session.task.run_id, &session.source);
    require_same_source(source)?;
    if reading.is_numeric() {
        slices::require_all_read(run_id)?;
    }
    Spi::run_with_args(
        "UPDATE gn_harvest.run SET source_total = $2 WHERE id = $1",
        &[
            run_id.into(),
            seen.greatest_total
                .map(|total| total as i64)
                .or(reading.file.as_ref().and_then(|file| file.announced))
                .into(),
        ],
    )?;
    for warning in what_does_not_add_up(session, reading, seen, passes)? {
        run::warn(run_id, &warning)?;
    }
    if reading.full && !reading.resumed && reading.file.is_none() {
        synthese::forget_known(source.id, run_id)?;
        synthese::forget_vanished(source.id, run_id)?;
    }
    synthese::forget_awaited_taxa(source.id)?;
    if reading.full && reading.watermark.is_none() {
        run::warn(
            run_id,
            "the export has no usable date of change: every run is a full one",
        )?;
    }
    Spi::run_with_args(
        "UPDATE gn_harvest.source_state
         SET watermark = $2, watermark_column = $3, deletion_watermark = $5, selection = $6, last_full_at = CASE WHEN $4 THEN clock_timestamp() ELSE last_full_at END
         WHERE source_id = $1",
        &[source.id.into(), reading.watermark.clone().into(), reading.layout.action_date.clone().into(), reading.full.into(), deletion_watermark.into(), reading.exports.selection.into()],
    )?;
    if reading.full {
        slices::forget(source.id)
    } else {
        slices::forget_passing(source.id)
    }
}

/// Fails when what was read is not what the source says now; waits for an alter_source that is under way.
pub fn require_same_source(source: &Source) -> Result<(), Failure> {
    Spi::run_with_args(
        "SELECT 1 FROM gn_harvest.source WHERE id = $1 FOR SHARE",
        &[source.id.into()],
    )?;
    match Source::load(source.id)? {
        Some(now) if now.reading() == source.reading() => Ok(()),
        _ => Err(run::changed_under_way()),
    }
}

/// What of a whole reading does not add up, in words.
pub fn what_does_not_add_up(
    session: &Session,
    reading: &Reading,
    seen: &Seen,
    passes: usize,
) -> Result<Vec<String>, Failure> {
    let mut said = Vec::new();
    if !reading.full {
        return Ok(said);
    }
    said.extend(reading.file.as_ref().and_then(FileToRead::shortage));
    let (fetched, repeated, hidden) = Spi::connect(|client| -> Result<(i64, i64, i64), Failure> {
        let row = client
            .select(
                "SELECT fetched, repeated, hidden FROM gn_harvest.run WHERE id = $1",
                Some(1),
                &[session.task.run_id.into()],
            )?
            .first();
        Ok((
            row.get::<i64>(1)?.unwrap_or(0),
            row.get::<i64>(2)?.unwrap_or(0),
            row.get::<i64>(3)?.unwrap_or(0),
        ))
    })?;
    if hidden > 0 {
        said.push(format!(
            "the source counts {hidden} records that it does not serve; a GeoJSON export leaves out those without geometry"
        ));
    }
    if repeated > 0 {
        said.push(format!(
            "the export's view gave {repeated} records more than once"
        ));
    }
    if passes > 1 {
        said.push(format!(
            "the export has no numeric key and changed while it was read: it was read {passes} times"
        ));
    }
    // The announced total is that of the whole export, whatever the source's filters leave of it.
    let least = match reading.filters.is_empty() {
        true => seen.least_total.unwrap_or(0) as i64,
        false => 0,
    };
    if !reading.resumed && passes == 1 && fetched + hidden < least {
        said.push(format!(
            "the source announces {least} records and gave {}",
            fetched + hidden
        ));
    }
    Ok(said)
}
