//! The lineage as it would be after what a plan has gone through so far, in a table of the session: what the next batch
//! finds of it goes before gn_harvest.harvested. Rows that would be inserted have numbers below zero.

use std::collections::{HashMap, HashSet};

use pgrx::prelude::*;
use serde_json::json;

use super::identity::{Held, Lineage};
use super::rejects::{self, DeadLetter};
use super::resolve::Observation;
use crate::error::Failure;
use crate::plan::tally::{Action, Tally};
use crate::record::quoted;
use crate::run::Counts;

pub fn create() -> Result<(), Failure> {
    for statement in [
        "CREATE TEMPORARY TABLE planned (id_synthese bigint PRIMARY KEY, key_number bigint, source_key text, uuid uuid,
             attributes_hash uuid, geometry_hash uuid)",
        "CREATE INDEX ON pg_temp.planned (source_key)",
        "CREATE INDEX ON pg_temp.planned (uuid)",
        "CREATE TEMPORARY TABLE planned_letter (identity text PRIMARY KEY)",
    ] {
        Spi::run(statement)?;
    }
    Ok(())
}

/// Whose plan it is.
pub struct Planning<'a> {
    pub source_id: i32,
    pub id_source: i32,
    pub run_id: i64,
    pub name: &'a str,
}

/// Corrects what is known of some observations by what is planned.
pub fn correct(
    planning: &Planning,
    observations: &[Observation],
    lineage: &mut Vec<Lineage>,
    held: &mut Vec<Held>,
) -> Result<(), Failure> {
    let ids = lineage
        .iter()
        .filter_map(|row| row.id_synthese)
        .chain(held.iter().map(|row| row.id_synthese));
    let keys = observations.iter().map(|o| o.key.clone()).collect();
    let uuids = observations.iter().filter_map(|o| o.uuid).collect();
    let planned: Vec<Lineage> = rows(keys, uuids, ids.collect())?
        .into_iter()
        .map(|row| Lineage {
            source_id: planning.source_id,
            id_synthese: Some(row.id),
            source_key: row.key,
            uuid: row.uuid,
            attributes_hash: row.attributes_hash,
            geometry_hash: row.geometry_hash,
            last_run: planning.run_id,
            foreign: false,
        })
        .collect();
    let by_id: HashMap<i64, &Lineage> = planned
        .iter()
        .filter_map(|row| Some((row.id_synthese?, row)))
        .collect();
    let keys: HashSet<&str> = planned
        .iter()
        .filter_map(|row| row.source_key.as_deref())
        .collect();
    let is_superseded = |row: &Lineage| {
        row.id_synthese.is_some_and(|id| by_id.contains_key(&id))
            || row.source_id == planning.source_id
                && row
                    .source_key
                    .as_deref()
                    .is_some_and(|key| keys.contains(key))
    };
    lineage.retain(|row| !is_superseded(row));
    held.retain(|row| !by_id.contains_key(&row.id_synthese));
    held.extend(by_id.iter().map(|(id_synthese, row)| Held {
        id_synthese: *id_synthese,
        uuid: row.uuid,
        id_source: planning.id_source,
        owner: planning.name.to_owned(),
    }));
    lineage.extend(planned);
    Ok(())
}

/// A row of the table: what of the lineage would be changed.
#[derive(Debug, Clone)]
pub struct Row {
    pub id: i64,
    pub key_number: Option<i64>,
    pub key: Option<String>,
    pub uuid: Option<[u8; 16]>,
    pub attributes_hash: Option<u128>,
    pub geometry_hash: Option<u128>,
}

/// The rows of some keys, UUIDs and numbers.
pub fn rows(keys: Vec<String>, uuids: Vec<[u8; 16]>, ids: Vec<i64>) -> Result<Vec<Row>, Failure> {
    let uuids: Vec<pgrx::Uuid> = uuids.into_iter().map(pgrx::Uuid::from_bytes).collect();
    Spi::connect(|client| {
        let rows = client.select(
            "SELECT id_synthese, key_number, source_key, uuid, attributes_hash, geometry_hash FROM pg_temp.planned
             WHERE source_key = ANY ($1) OR uuid = ANY ($2) OR id_synthese = ANY ($3)",
            None,
            &[keys.into(), uuids.into(), ids.into()],
        )?;
        let mut planned = Vec::with_capacity(rows.len());
        for row in rows {
            let bytes = |column: usize| -> Result<Option<[u8; 16]>, Failure> {
                Ok(row.get::<pgrx::Uuid>(column)?.map(|uuid| *uuid.as_bytes()))
            };
            planned.push(Row {
                id: row.get::<i64>(1)?.unwrap_or_default(),
                key_number: row.get::<i64>(2)?,
                key: row.get::<String>(3)?,
                uuid: bytes(4)?,
                attributes_hash: bytes(5)?.map(u128::from_be_bytes),
                geometry_hash: bytes(6)?.map(u128::from_be_bytes),
            });
        }
        Ok(planned)
    })
}

/// Notes where what comes would be; `displaced`: keys that name another record now.
pub fn note(source_id: i32, placed: &[Row], displaced: &[String]) -> Result<(), Failure> {
    let ids: Vec<i64> = placed.iter().map(|row| row.id).collect();
    if !displaced.is_empty() {
        Spi::run_with_args(
            "INSERT INTO pg_temp.planned AS p (id_synthese, uuid)
             SELECT h.id_synthese, h.uuid FROM gn_harvest.harvested h
             WHERE h.source_id = $1 AND h.source_key = ANY ($2) AND NOT h.id_synthese = ANY ($3)
             ON CONFLICT DO NOTHING",
            &[
                source_id.into(),
                displaced.to_vec().into(),
                ids.clone().into(),
            ],
        )?;
        Spi::run_with_args(
            "UPDATE pg_temp.planned SET key_number = NULL, source_key = NULL
             WHERE source_key = ANY ($1) AND NOT id_synthese = ANY ($2)",
            &[displaced.to_vec().into(), ids.clone().into()],
        )?;
    }
    if placed.is_empty() {
        return Ok(());
    }
    let bytes = |f: fn(&Row) -> Option<[u8; 16]>| -> Vec<Option<pgrx::Uuid>> {
        let all = placed.iter().map(f);
        all.map(|bytes| bytes.map(pgrx::Uuid::from_bytes)).collect()
    };
    Spi::run_with_args(
        "INSERT INTO pg_temp.planned AS p (id_synthese, key_number, source_key, uuid, attributes_hash, geometry_hash)
         SELECT n.* FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::uuid[], $5::uuid[], $6::uuid[]) n
         ON CONFLICT (id_synthese) DO UPDATE
         SET key_number = EXCLUDED.key_number, source_key = EXCLUDED.source_key, uuid = EXCLUDED.uuid,
             attributes_hash = EXCLUDED.attributes_hash, geometry_hash = EXCLUDED.geometry_hash",
        &[
            ids.into(),
            placed.iter().map(|row| row.key_number).collect::<Vec<_>>().into(),
            placed.iter().map(|row| row.key.clone()).collect::<Vec<_>>().into(),
            bytes(|row| row.uuid).into(),
            bytes(|row| row.attributes_hash.map(u128::to_be_bytes)).into(),
            bytes(|row| row.geometry_hash.map(u128::to_be_bytes)).into(),
        ],
    )?;
    Ok(())
}

/// Counts dead letters, and keeps in mind that they would be kept: they are not to be tried again at the end.
pub fn refuse(
    tally: &mut Tally,
    object: &'static str,
    source_id: i32,
    letters: &[DeadLetter],
    counts: &mut Counts,
) -> Result<(), Failure> {
    let discarded = rejects::discarded(source_id, letters)?;
    for (position, letter) in letters.iter().enumerate() {
        if discarded.contains(&position) {
            tally.because(Action::Skip, object, "discarded", None);
            counts.skipped += 1;
            continue;
        }
        let rejection = &letter.rejection;
        let reason = rejection.reason.code();
        let column = rejection.column.as_deref();
        let detail = column.map(|column| match &rejection.value {
            Some(value) => format!("{column} {value}"),
            None => column.to_owned(),
        });
        tally.because(Action::Reject, object, reason, detail);
        counts.rejected += 1;
        let sample = json!({"key": rejection.key, "column": column, "value": rejection.value.as_deref().map(quoted), "message": quoted(&rejection.message)});
        tally.sample(Action::Reject, object, Some(reason), sample);
    }
    note_letters(letters.iter().map(DeadLetter::identity).collect())
}

fn note_letters(identities: Vec<String>) -> Result<(), Failure> {
    Spi::run_with_args(
        "INSERT INTO pg_temp.planned_letter SELECT DISTINCT unnest($1::text[]) ON CONFLICT DO NOTHING",
        &[identities.into()],
    )?;
    Ok(())
}

/// Of some keys, those that the plan has met.
pub fn met(keys: Vec<String>) -> Result<HashSet<String>, Failure> {
    let found = Spi::get_one_with_args::<Vec<String>>(
        "SELECT array_agg(m.key) FROM (
             SELECT source_key AS key FROM pg_temp.planned WHERE source_key = ANY ($1)
             UNION SELECT identity FROM pg_temp.planned_letter WHERE identity = ANY ($1)) m",
        &[keys.into()],
    )?;
    Ok(found.into_iter().flatten().collect())
}

/// What is noted as missing in a run, corrected by what is planned: a row that came under another key is not missing,
/// one whose key went to another record is, when everything was read.
pub fn correct_missing(run_id: i64, whole: bool) -> Result<(), Failure> {
    Spi::run_with_args(
        "DELETE FROM gn_harvest.missing m USING pg_temp.planned p
         WHERE m.run_id = $1 AND p.id_synthese = m.id_synthese",
        &[run_id.into()],
    )?;
    if whole {
        Spi::run_with_args(
            "INSERT INTO gn_harvest.missing (run_id, id_synthese)
             SELECT $1, id_synthese FROM pg_temp.planned WHERE source_key IS NULL AND id_synthese > 0
             ON CONFLICT DO NOTHING",
            &[run_id.into()],
        )?;
    }
    Ok(())
}
