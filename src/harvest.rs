//! One run from beginning to end. It decides what is read and where transactions end:
//! the network never holds one, each batch with its lineage and checkpoint is one.

use std::sync::Arc;

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::deletion::{self, Means};
use crate::error::Failure;
use crate::fetch::Order;
use crate::gather::{self, Seen};
use crate::geonature::{Client, Deletion, Stop, Traffic};
use crate::reading::{self, Reading};
use crate::run;
use crate::source::Source;
use crate::synthese::{self, Synthese};
use crate::target::Target;
use crate::worker::Task;
use crate::{check, plan, postgres, probe, retry, settings, upkeep};

/// What a worker has in hand.
pub struct Session<'a> {
    pub task: &'a Task,
    pub source: Source,
    pub owner: pg_sys::Oid,
    pub search_path: &'a str,
    pub client: Client,
    pub traffic: Arc<Traffic>,
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
    let outcome = postgres::guarded(|| begin_and_do(task, source, search_path, &traffic))
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
}

fn begin_and_do(
    task: &Task,
    source: Source,
    search_path: &str,
    traffic: &Arc<Traffic>,
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

/// The role as which a source writes.
pub fn owner(source: &Source) -> Result<pg_sys::Oid, Failure> {
    Spi::get_one_with_args::<pg_sys::Oid>(
        "SELECT max(oid) FROM pg_roles WHERE rolname = $1",
        &[source.owner.as_str().into()],
    )?
    .ok_or_else(|| {
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
    if Spi::get_one_with_args::<bool>(
        "SELECT gn_harvest.within_hours($1, localtime)",
        &[hours.as_str().into()],
    )?
    .unwrap_or(true)
    {
        return Ok(());
    }
    Err(Failure::new(run::OUT_OF_HOURS, format!("source \"{}\" may only be harvested from {}", source.name, hours.replace('-', " to ")))
        .detail("What has been written stays; a run within these hours goes on from there.")
        .hint("alter_source(name, allowed_hours => '...') changes them; clear => '{allowed_hours}' lifts them."))
}

fn harvest(session: &Session) -> Result<(), Failure> {
    phase(session, "asking the source", None)?;
    let reading = reading::prepare(session)?;
    let mut synthese = postgres::transaction(|| {
        reading::contract(session, &reading.layout)?;
        Synthese::open(
            &session.source,
            session.task.run_id,
            session.owner,
            session.search_path,
        )
    })?;
    upkeep::begin(session, &mut synthese)?;
    let (seen, passes) = read(session, &reading, &mut synthese)?;
    upkeep::finish(session, &reading, &mut synthese)?;
    let deletion_watermark = delete(session, &reading, &seen, &mut synthese)?;
    postgres::transaction(|| conclude(session, &reading, &seen, passes, deletion_watermark))
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
        return Ok(before);
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
    let deletions = match reading.means {
        Means::None => return Ok(None),
        Means::Comparison => None,
        Means::Log => deletion::read_log(session)?,
    };
    postgres::transaction(|| match (&deletions, reading.full) {
        (None, _) if reading.means == Means::Log => Ok(()),
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
    Ok(match reading.means {
        Means::Log => deletions,
        _ => Some(Vec::new()),
    })
}

/// Removes what came from the source, and its row in gn_synthese.t_sources.
fn drop_data(session: &Session) -> Result<(), Failure> {
    let total = postgres::transaction(|| deletion::note_all(session))?;
    phase(session, "deleting", Some(total))?;
    let mut synthese = postgres::transaction(|| {
        Synthese::open(
            &session.source,
            session.task.run_id,
            session.owner,
            session.search_path,
        )
    })?;
    deletion::apply(session, &mut synthese)?;
    postgres::transaction(|| synthese.leave())
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
    Spi::run_with_args(
        "UPDATE gn_harvest.run SET source_total = $2 WHERE id = $1",
        &[
            run_id.into(),
            seen.greatest_total.map(|total| total as i64).into(),
        ],
    )?;
    for warning in what_does_not_add_up(session, reading, seen, passes)? {
        run::warn(run_id, &warning)?;
    }
    if reading.full && !reading.resumed {
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
         SET watermark = $2, watermark_column = $3, deletion_watermark = $5, last_full_at = CASE WHEN $4 THEN clock_timestamp() ELSE last_full_at END
         WHERE source_id = $1",
        &[source.id.into(), reading.watermark.clone().into(), reading.layout.action_date.clone().into(), reading.full.into(), deletion_watermark.into()],
    )?;
    if reading.full {
        run::forget_slices(source.id)
    } else {
        run::forget_passing_slices(source.id)
    }
}

/// Fails when what was read is not what the source says now; waits for an alter_source that is under way.
fn require_same_source(source: &Source) -> Result<(), Failure> {
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
