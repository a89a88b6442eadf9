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
use crate::run;
use crate::source::MetadataMode;
use crate::synthese::{Metadata, Synthese, Unseen};
use crate::{postgres, probe, record, retry};

/// Datasets that a run asks for at its end.
const LOOKED_AT: i64 = 25;
/// Rows that the usual views make of one record: one for each protocol.
const ROWS_OF_A_RECORD: u32 = 10;

/// Before the records are read.
pub fn begin(session: &Session, reading: &Reading, synthese: &mut Synthese) -> Result<(), Failure> {
    move_observations(session, synthese)?;
    let Some(export) = reading.exports.metadata else {
        return Ok(());
    };
    if session.source.metadata_mode == MetadataMode::SingleDataset {
        return Ok(());
    }
    let metadata = read_export(session, export)?;
    synthese.set_embedded_aside();
    postgres::transaction(|| synthese.describe(metadata))
}

/// When the records have been read and written.
pub fn finish(
    session: &Session,
    reading: &Reading,
    synthese: &mut Synthese,
) -> Result<(), Failure> {
    let source = &session.source;
    let whole = reading.full && !reading.resumed;
    if source.metadata_mode == MetadataMode::Full && reading.exports.metadata.is_none() && !whole {
        look_at_unseen(session, reading, synthese)?;
    }
    postgres::transaction(|| synthese.write_heard())?;
    retry::run_resolvable(session, synthese)?;
    postgres::transaction(|| synthese.tell_closed())
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
fn read_export(session: &Session, export: i32) -> Result<Metadata, Failure> {
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
    let (Some(key), false) = (&reading.layout.key, unseen.is_empty()) else {
        return Ok(());
    };
    phase(session, "looking at datasets", None)?;
    for dataset in &unseen {
        if let Err(failure) = look_at(session, reading, synthese, key, dataset) {
            if failure.is_cancel() {
                return Err(failure);
            }
            let text = format!(
                "whether datasets have changed could not be asked for: {}",
                failure.message
            );
            return postgres::transaction(|| run::warn(session.task.run_id, &text));
        }
    }
    Ok(())
}

fn look_at(
    session: &Session,
    reading: &Reading,
    synthese: &mut Synthese,
    key: &str,
    dataset: &Unseen,
) -> Result<(), Failure> {
    let mut filters = session.source.filters();
    filters.push((key.to_owned(), dataset.sample_key.clone()));
    let query = PageQuery {
        limit: Some(ROWS_OF_A_RECORD),
        filters,
        ..PageQuery::default()
    };
    let page = probe::page(&session.client, session.source.export_id, query)?;
    let batch = record::parse_page(page.items(), &reading.layout, &synthese.lengths());
    let found = batch
        .datasets
        .iter()
        .any(|reference| reference.uuid == Some(dataset.uuid));
    postgres::transaction(|| {
        synthese.hear_page(batch)?;
        match found {
            true => Ok(()),
            false => synthese.replace_sample(dataset),
        }
    })
}
