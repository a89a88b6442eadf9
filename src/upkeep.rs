//! What a run does about metadata around the reading of the records: before it, observations move to the datasets that
//! were mapped and a separate metadata export is read; after it, what was heard is written, datasets of which no record
//! came are asked for, and records that waited for a dataset are tried again.

use std::collections::HashSet;

use pgrx::prelude::*;
use xxhash_rust::xxh3::xxh3_128;

use crate::error::Failure;
use crate::geonature::PageQuery;
use crate::harvest::{Session, phase};
use crate::reading::Reading;
use crate::record::Batch;
use crate::run;
use crate::source::{MetadataMode, Source};
use crate::synthese::{Metadata, Synthese, Unseen};
use crate::target::{Reader, Target};
use crate::{postgres, probe, retry};

/// Datasets that a run asks for at its end.
pub const LOOKED_AT: i64 = 25;
/// Rows that the usual views make of one record: one for each protocol.
const ROWS_OF_A_RECORD: u32 = 10;

/// Before the records are read.
pub fn begin(session: &Session, reading: &Reading, synthese: &mut Synthese) -> Result<(), Failure> {
    move_observations(session, synthese)?;
    let Some(export) = metadata_export(&session.source, reading) else {
        return Ok(());
    };
    let metadata = read_export(session, export)?;
    synthese.set_embedded_aside();
    postgres::transaction(|| synthese.describe(metadata))
}

/// The separate metadata export that is read.
pub fn metadata_export(source: &Source, reading: &Reading) -> Option<i32> {
    let single = source.metadata_mode == MetadataMode::SingleDataset;
    reading.exports.metadata.filter(|_| !single)
}

/// When the records have been read and written.
pub fn finish(
    session: &Session,
    reading: &Reading,
    synthese: &mut Synthese,
) -> Result<(), Failure> {
    if looks_at_unseen(&session.source, reading) {
        look_at_unseen(session, reading, synthese)?;
    }
    postgres::transaction(|| synthese.write_heard())?;
    retry::run_resolvable(session, synthese)?;
    postgres::transaction(|| synthese.learn_valid_names(reading.full))?;
    postgres::transaction(|| synthese.tell_closed())
}

/// Whether metadata may have changed without this reading having met it.
pub fn looks_at_unseen(source: &Source, reading: &Reading) -> bool {
    let whole = reading.full && !reading.resumed;
    source.metadata_mode == MetadataMode::Full && reading.exports.metadata.is_none() && !whole
}

fn move_observations(session: &Session, synthese: &mut Synthese) -> Result<(), Failure> {
    let moves = postgres::transaction(|| synthese.moves())?;
    if moves.is_empty() {
        return Ok(());
    }
    phase(session, "moving observations to mapped datasets", None)?;
    for wanted in &moves {
        let mut after = 0;
        loop {
            check_for_interrupts!();
            let moved = postgres::transaction(|| {
                let moved = synthese.move_some(wanted, after)?;
                if moved.rows == 0 {
                    synthese.settle_move(wanted)?;
                }
                Ok(moved)
            })?;
            match moved.last {
                Some(last) => after = last,
                None => break,
            }
        }
    }
    Ok(())
}

/// The whole of a metadata export.
pub fn read_export(session: &Session, export: i32) -> Result<Metadata, Failure> {
    phase(session, "reading the metadata export", None)?;
    let source = &session.source;
    let mut metadata = Metadata::default();
    let mut seen: HashSet<u128> = HashSet::new();
    let (mut read, mut total) = (0, None);
    for offset in 0.. {
        let query = PageQuery {
            limit: Some(source.page_size),
            offset,
            ..PageQuery::default()
        };
        let page = probe::page(&session.client, export, query)
            .map_err(|failure| unreadable(export, failure))?;
        total = total.or(page.total);
        let mut new = false;
        for item in page.items() {
            require_framework(export, item)?;
            // A server that leaves the offset out gives the first page for ever.
            if seen.insert(xxh3_128(item.as_bytes())) {
                new = true;
                metadata.add_item(item);
            }
        }
        read += page.len() as u64;
        if !new || total.is_some_and(|total| read >= total) {
            break;
        }
    }
    if total.is_some_and(|total| (seen.len() as u64) < total) {
        let text = format!(
            "the metadata export announces {} items and gave {}",
            total.unwrap_or_default(),
            seen.len()
        );
        postgres::transaction(|| run::warn(session.task.run_id, &text))?;
    }
    Ok(metadata)
}

fn unreadable(export: i32, failure: Failure) -> Failure {
    Failure {
        message: format!(
            "the metadata export {export} could not be read: {}",
            failure.message
        ),
        ..failure
    }
}

/// Items of a metadata export are frameworks with their datasets; an export of observations would make nothing of sense.
fn require_framework(export: i32, item: &str) -> Result<(), Failure> {
    let item: Option<serde_json::Map<String, serde_json::Value>> = serde_json::from_str(item).ok();
    if item.is_some_and(|item| item.contains_key("datasets")) {
        return Ok(());
    }
    Err(Failure::new("42703", format!("export {export} is not a metadata export"))
        .detail("Its items are frameworks with a member \"datasets\", a list of datasets.")
        .hint("alter_source(name, metadata_export_id => ...) names the right one; clear => '{metadata_export_id}' does without."))
}

/// Asks for one record of each dataset of which none came: its metadata may have changed all the same.
fn look_at_unseen(
    session: &Session,
    reading: &Reading,
    synthese: &mut Synthese,
) -> Result<(), Failure> {
    let unseen = postgres::transaction(|| synthese.unseen(LOOKED_AT))?;
    let warning = ask_for_samples(
        session,
        reading,
        &synthese.reader(),
        &unseen,
        &mut |dataset, batch| {
            let found = leads_to(&batch, dataset);
            postgres::transaction(|| {
                synthese.hear_page(batch)?;
                match found {
                    true => Ok(()),
                    false => synthese.replace_sample(dataset),
                }
            })
        },
    )?;
    warning.map_or(Ok(()), |text| {
        postgres::transaction(|| run::warn(session.task.run_id, &text))
    })
}

fn leads_to(batch: &Batch, dataset: &Unseen) -> bool {
    let mut references = batch.datasets.iter();
    references.any(|reference| reference.uuid == Some(dataset.uuid))
}

/// Asks for the sample record of some datasets and gives each answer to `heard`. Returns why it had to stop, if it had.
pub fn ask_for_samples(
    session: &Session,
    reading: &Reading,
    reader: &Reader,
    unseen: &[Unseen],
    heard: &mut dyn FnMut(&Unseen, Batch) -> Result<(), Failure>,
) -> Result<Option<String>, Failure> {
    let (Some(key), false) = (&reading.layout.key, unseen.is_empty()) else {
        return Ok(None);
    };
    phase(session, "looking at datasets", None)?;
    for dataset in unseen {
        let asked = ask_for_sample(session, reading, reader, key, dataset);
        if let Err(failure) = asked.and_then(|batch| heard(dataset, batch)) {
            if failure.is_cancel() {
                return Err(failure);
            }
            return Ok(Some(format!(
                "whether datasets have changed could not be asked for: {}",
                failure.message
            )));
        }
    }
    Ok(None)
}

fn ask_for_sample(
    session: &Session,
    reading: &Reading,
    reader: &Reader,
    key: &str,
    dataset: &Unseen,
) -> Result<Batch, Failure> {
    let mut filters = session.source.filters();
    filters.push((key.to_owned(), dataset.sample_key.clone()));
    let query = PageQuery {
        limit: Some(ROWS_OF_A_RECORD),
        filters,
        ..PageQuery::default()
    };
    let page = probe::page(&session.client, session.source.export_id, query)?;
    let items: Vec<&str> = page.items().collect();
    Ok(reader(&items, &reading.layout))
}
