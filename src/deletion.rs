//! What disappeared at the source disappears here: told by its log of deletions, or found missing while its whole
//! export was read. Candidates are noted slice by slice in gn_harvest.missing, in the transaction of the slice; they
//! are applied at the end, once the loss guard has seen them all.

pub mod departures;

use pgrx::prelude::*;

use crate::error::Failure;
use crate::geonature::{Credentials, Deletion};
use crate::harvest::{Session, phase};
use crate::mapping::Layout;
use crate::publication::Exports;
use crate::run::{self, Counts};
use crate::target::{self, Target};
use crate::{postgres, probe, record};

/// Rows removed in one transaction.
const BATCH: i64 = 5_000;
/// SQLSTATE of a run that would have deleted too much.
pub const LOSS_GUARD: &str = "GH001";

/// How a run learns what has disappeared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// The source tells nothing, and the run does not read everything to compare.
    None,
    /// The log of deletions.
    Log,
    /// An export of what was deleted or left (see `departures`).
    Export(i32),
    /// Whatever the whole export no longer has.
    Comparison,
}

impl Means {
    /// Whether the source tells what has disappeared.
    pub fn tells(self) -> bool {
        matches!(self, Means::Log | Means::Export(_))
    }
}

/// How this run can learn of deletions. An export tells more than the log: also what left it.
pub fn means(session: &Session, layout: &Layout, exports: &Exports, compares: bool) -> Means {
    match (compares, exports.deletions, session.source.credentials()) {
        (true, ..) => Means::Comparison,
        (false, Some(export), _) => Means::Export(export),
        // The log speaks of observations; records of any kind may be numbered otherwise.
        (false, None, _) if layout.whole && !layout.key_is_id_synthese() => Means::None,
        (false, None, Credentials::Login { .. }) => Means::Log,
        (false, None, _) => Means::None,
    }
}

/// Keys from `first` to `last` were read, and `came` is what was there: of what we hold, the others are missing.
pub struct Read {
    pub first: i64,
    pub last: i64,
    pub came: Vec<i64>,
}

/// Notes what is missing of the ranges that were read; in the transaction that writes them.
pub fn note_missing(run_id: i64, source_id: i32, reads: &[Read]) -> Result<(), Failure> {
    let (mut first, mut last, mut came) = (Vec::new(), Vec::new(), Vec::new());
    for read in reads {
        first.push(read.first);
        last.push(read.last);
        came.extend_from_slice(&read.came);
    }
    Spi::run_with_args(
        "INSERT INTO gn_harvest.missing (run_id, id_synthese, key_number)
         SELECT $1, h.id_synthese, h.key_number
         FROM unnest($3::bigint[], $4::bigint[]) r(first, last)
         JOIN gn_harvest.harvested h ON h.source_id = $2 AND h.key_number BETWEEN r.first AND r.last
         WHERE h.id_synthese IS NOT NULL AND NOT h.key_number = ANY ($5)
         ON CONFLICT DO NOTHING",
        &[
            run_id.into(),
            source_id.into(),
            first.into(),
            last.into(),
            came.into(),
        ],
    )?;
    Ok(())
}

/// Notes keys that are no numbers as seen: what is not, is missing at the end.
pub fn note_seen(run_id: i64, keys: Vec<String>) -> Result<(), Failure> {
    Spi::run_with_args(
        "INSERT INTO gn_harvest.seen (run_id, source_key) SELECT $1, unnest($2::text[]) ON CONFLICT DO NOTHING",
        &[run_id.into(), keys.into()],
    )?;
    Ok(())
}

/// The whole export has been read: what lies outside of its keys is missing too. What came after the slices were cut
/// (by another run, in between) is not: nobody has looked for it.
pub fn note_outside(session: &Session, numeric: bool) -> Result<(), Failure> {
    let (run_id, source_id) = (session.task.run_id, session.source.id);
    let query = if numeric {
        "INSERT INTO gn_harvest.missing (run_id, id_synthese, key_number)
         SELECT $1, h.id_synthese, h.key_number
         FROM gn_harvest.harvested h,
              (SELECT range_agg(whole) AS read, min(cut_by) AS cut_by FROM gn_harvest.slice WHERE run_id = $1) s
         WHERE h.source_id = $2 AND h.id_synthese IS NOT NULL AND h.first_run < s.cut_by
           AND (h.source_key IS NULL OR NOT h.key_number <@ s.read)
         ON CONFLICT DO NOTHING"
    } else {
        "INSERT INTO gn_harvest.missing (run_id, id_synthese, source_key)
         SELECT $1, h.id_synthese, h.source_key
         FROM gn_harvest.harvested h
         WHERE h.source_id = $2 AND h.id_synthese IS NOT NULL
           AND NOT EXISTS (SELECT FROM gn_harvest.seen s WHERE s.run_id = $1 AND s.source_key = h.source_key)
         ON CONFLICT DO NOTHING"
    };
    Spi::run_with_args(query, &[run_id.into(), source_id.into()])?;
    Spi::run_with_args(
        "DELETE FROM gn_harvest.seen WHERE run_id = $1",
        &[run_id.into()],
    )?;
    Ok(())
}

/// Notes everything that came from the source; returns how much it is.
pub fn note_all(session: &Session) -> Result<i64, Failure> {
    let noted = Spi::get_one_with_args::<i64>(
        "WITH noted AS (
             INSERT INTO gn_harvest.missing (run_id, id_synthese, key_number, source_key)
             SELECT $1, id_synthese, key_number, source_key FROM gn_harvest.harvested WHERE source_id = $2 AND id_synthese IS NOT NULL
             ON CONFLICT DO NOTHING RETURNING 1)
         SELECT count(*) FROM noted",
        &[session.task.run_id.into(), session.source.id.into()],
    )?;
    Ok(noted.unwrap_or(0))
}

/// Asks the source what has disappeared. None when that could not be read, which is said: it is asked for next time.
pub fn read_told(session: &Session, means: Means) -> Result<Option<Vec<Deletion>>, Failure> {
    read_told_since(session, means, session.source.deletion_watermark.as_deref())
}

/// The same from a date on, the look-back taken off.
pub fn read_told_since(
    session: &Session,
    means: Means,
    date: Option<&str>,
) -> Result<Option<Vec<Deletion>>, Failure> {
    let look_back = session.source.look_back_seconds;
    let Some(since) = date.and_then(|date| probe::since(date, look_back)) else {
        // Nothing was held before this run: nothing of it can have been deleted.
        return Ok(Some(Vec::new()));
    };
    phase(session, "asking for deletions", None)?;
    let told = match means {
        Means::Export(export) => departures::read(session, export, &since),
        _ => {
            let client = session.client.clone();
            postgres::in_background(move || client.deletions(&since.replace(' ', "T")))?
                .map_err(Failure::from)
        }
    };
    match told {
        Ok(deletions) => Ok(Some(deletions)),
        Err(failure) if failure.is_cancel() => Err(failure),
        Err(failure) => {
            postgres::transaction(|| {
                run::warn(
                    session.task.run_id,
                    &format!("deletions could not be asked for: {}", failure.message),
                )
            })?;
            Ok(None)
        }
    }
}

/// Keeps, of what is noted missing, only what the log says was deleted. For a run that read everything.
pub fn confirm(run_id: i64, deletions: &[Deletion]) -> Result<(), Failure> {
    let ids: Vec<i64> = deletions
        .iter()
        .map(|deletion| deletion.id_synthese)
        .collect();
    Spi::run_with_args(
        "DELETE FROM gn_harvest.missing WHERE run_id = $1 AND (key_number IS NULL OR NOT key_number = ANY ($2))",
        &[run_id.into(), ids.into()],
    )?;
    Ok(())
}

/// Notes what the log says, but for what this run has read: that is there again.
pub fn note_deleted(
    session: &Session,
    deletions: &[Deletion],
    seen: &[i64],
) -> Result<(), Failure> {
    let ids: Vec<i64> = deletions
        .iter()
        .map(|deletion| deletion.id_synthese)
        .collect();
    Spi::run_with_args(
        "INSERT INTO gn_harvest.missing (run_id, id_synthese, key_number)
         SELECT $1, h.id_synthese, h.key_number
         FROM gn_harvest.harvested h
         WHERE h.source_id = $2 AND h.key_number = ANY ($3) AND h.id_synthese IS NOT NULL AND NOT h.key_number = ANY ($4)
         ON CONFLICT DO NOTHING",
        &[session.task.run_id.into(), session.source.id.into(), ids.into(), seen.to_vec().into()],
    )?;
    Ok(())
}

/// The earliest of some dates, as it was written.
pub fn earliest<'a>(dates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let dates = dates.filter_map(|date| Some((record::parse_date(date)?, date)));
    dates.min().map(|(_, date)| date)
}

/// The latest of some dates, as it was written: from where the log is asked next time.
pub fn latest<'a>(dates: impl Iterator<Item = &'a str>) -> Option<String> {
    dates
        .filter_map(|date| Some((record::parse_date(date)?, date)))
        .max()
        .map(|(_, date)| date.to_owned())
}

/// Deletes what is noted, unless that would be too much of what we hold.
pub fn apply(session: &Session, target: &mut dyn Target) -> Result<(), Failure> {
    let (missing, held) = postgres::transaction(|| figures(session))?;
    if missing == 0 {
        return Ok(());
    }
    guard(session, missing, held, &session.task.mode)?;
    phase(session, "deleting", None)?;
    let mut refused = 0;
    loop {
        check_for_interrupts!();
        let (taken, deleted, why) = target::patiently(target, &session.source, |target| {
            delete_some(session, target)
        })?;
        refused += taken - deleted;
        if let Some(why) = why {
            postgres::transaction(|| {
                run::warn(
                    session.task.run_id,
                    &format!("the target keeps an observation that the source has deleted: {why}"),
                )
            })?;
        }
        if taken == 0 {
            break;
        }
    }
    if refused > 0 {
        let text =
            format!("{refused} observations that the source has deleted could not be deleted here");
        postgres::transaction(|| run::warn(session.task.run_id, &text))?;
    }
    Ok(())
}

/// How many rows would go, and how many we hold. What has come back under another key meanwhile is no longer missing.
pub fn figures(session: &Session) -> Result<(i64, i64), Failure> {
    Spi::run_with_args(
        "DELETE FROM gn_harvest.missing m
         WHERE m.run_id = $1
           AND NOT EXISTS (SELECT FROM gn_harvest.harvested h
                           WHERE h.source_id = $2 AND h.id_synthese = m.id_synthese
                             AND h.key_number IS NOT DISTINCT FROM m.key_number
                             AND (m.source_key IS NULL OR h.source_key = m.source_key))",
        &[session.task.run_id.into(), session.source.id.into()],
    )?;
    Spi::connect(|client| {
        let row = client
            .select(
                "SELECT (SELECT count(*) FROM gn_harvest.missing WHERE run_id = $1),
                        coalesce((SELECT observations FROM gn_harvest.source_state WHERE source_id = $2),
                                 (SELECT count(*) FROM gn_harvest.harvested WHERE source_id = $2 AND id_synthese IS NOT NULL))",
                Some(1),
                &[session.task.run_id.into(), session.source.id.into()],
            )?
            .first();
        Ok((
            row.get::<i64>(1)?.unwrap_or(0),
            row.get::<i64>(2)?.unwrap_or(0),
        ))
    })
}

/// Fails when that would be too much; `mode` is that of the run that was asked for.
pub fn guard(session: &Session, missing: i64, held: i64, mode: &str) -> Result<(), Failure> {
    let source = &session.source;
    let share = missing as f64 * 100.0 / held.max(1) as f64;
    // All that is held, because the export is empty, is never little.
    let bearable = share <= source.max_loss && !session.findings.empty.get();
    if session.task.allow_loss || bearable {
        return Ok(());
    }
    session.findings.missing.set(Some(missing));
    let name = source.name.replace('\'', "''");
    Err(Failure::new(LOSS_GUARD, format!("source \"{}\" no longer has {missing} of the {held} observations that came from it: nothing was deleted", source.name))
        .detail(format!("That is {share:.1} %, and max_loss of the source is {} %. What is new or changed has been written.", source.max_loss))
        .hint(format!(
            "Ask the partner. If it is right: SELECT gn_harvest.run('{name}', '{}', allow_loss => true); lets it pass once, alter_source('{name}', max_loss => ...) moves the limit.",
            mode
        )))
}

/// Some of what is noted, by key and row.
pub fn examples(session: &Session, most: i64) -> Result<Vec<(Option<String>, i64)>, Failure> {
    Spi::connect(|client| {
        let rows = client.select(
            "SELECT h.source_key, m.id_synthese FROM gn_harvest.missing m
             LEFT JOIN gn_harvest.harvested h ON h.source_id = $2 AND h.id_synthese = m.id_synthese
             WHERE m.run_id = $1 LIMIT $3",
            None,
            &[
                session.task.run_id.into(),
                session.source.id.into(),
                most.into(),
            ],
        )?;
        let mut examples = Vec::with_capacity(rows.len());
        for row in rows {
            examples.push((
                row.get::<String>(1)?,
                row.get::<i64>(2)?.unwrap_or_default(),
            ));
        }
        Ok(examples)
    })
}

/// Deletes a batch in the target and in the lineage; how many were taken, how many went, and why one did not.
fn delete_some(
    session: &Session,
    target: &mut dyn Target,
) -> Result<(i64, i64, Option<String>), Failure> {
    let run_id = session.task.run_id;
    let ids = Spi::get_one_with_args::<Vec<i64>>(
        "WITH taken AS (
             DELETE FROM gn_harvest.missing WHERE ctid = ANY (ARRAY(SELECT ctid FROM gn_harvest.missing WHERE run_id = $1 LIMIT $2))
             RETURNING id_synthese)
         SELECT coalesce(array_agg(id_synthese), '{}') FROM taken",
        &[run_id.into(), BATCH.into()],
    )?
    .unwrap_or_default();
    if ids.is_empty() {
        return Ok((0, 0, None));
    }
    let (deleted, why) = target.delete(&ids)?;
    let counts = Counts {
        deleted: deleted as i64,
        ..Counts::default()
    };
    run::add(run_id, &counts, None)?;
    Ok((ids.len() as i64, deleted as i64, why))
}
