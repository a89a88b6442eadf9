//! The lineage as it would be after what a plan has gone through so far, in a table of the session: what the next batch
//! finds of it goes before gn_harvest.harvested. Rows that would be inserted have numbers below zero.

use std::collections::{HashMap, HashSet};

use pgrx::prelude::*;

use super::identity::{Held, Lineage};
use super::lineage::Placed;
use super::resolve::Observation;
use crate::error::Failure;

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
    let planned = load(planning, observations, ids.collect())?;
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

fn load(
    planning: &Planning,
    observations: &[Observation],
    ids: Vec<i64>,
) -> Result<Vec<Lineage>, Failure> {
    let keys: Vec<String> = observations.iter().map(|o| o.key.clone()).collect();
    let uuids: Vec<pgrx::Uuid> = observations
        .iter()
        .filter_map(|o| o.uuid)
        .map(pgrx::Uuid::from_bytes)
        .collect();
    Spi::connect(|client| {
        let rows = client.select(
            "SELECT id_synthese, source_key, uuid, attributes_hash, geometry_hash FROM pg_temp.planned
             WHERE source_key = ANY ($1) OR uuid = ANY ($2) OR id_synthese = ANY ($3)",
            None,
            &[keys.into(), uuids.into(), ids.into()],
        )?;
        let mut planned = Vec::with_capacity(rows.len());
        for row in rows {
            let hash = |column: usize| -> Result<Option<u128>, Failure> {
                let hash = row.get::<pgrx::Uuid>(column)?;
                Ok(hash.map(|hash| u128::from_be_bytes(*hash.as_bytes())))
            };
            planned.push(Lineage {
                source_id: planning.source_id,
                id_synthese: row.get::<i64>(1)?,
                source_key: row.get::<String>(2)?,
                uuid: row.get::<pgrx::Uuid>(3)?.map(|uuid| *uuid.as_bytes()),
                attributes_hash: hash(4)?,
                geometry_hash: hash(5)?,
                last_run: planning.run_id,
                foreign: false,
            });
        }
        Ok(planned)
    })
}

/// Notes where these observations would be; `displaced`: keys that name another record now.
pub fn note(source_id: i32, placed: &[Placed], displaced: &[String]) -> Result<(), Failure> {
    let ids: Vec<i64> = placed.iter().map(|p| p.id_synthese).collect();
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
    let hashes = |f: fn(&Observation) -> u128| -> Vec<pgrx::Uuid> {
        placed
            .iter()
            .map(|p| pgrx::Uuid::from_bytes(f(p.observation).to_be_bytes()))
            .collect()
    };
    Spi::run_with_args(
        "INSERT INTO pg_temp.planned AS p (id_synthese, key_number, source_key, uuid, attributes_hash, geometry_hash)
         SELECT n.* FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::uuid[], $5::uuid[], $6::uuid[]) n
         ON CONFLICT (id_synthese) DO UPDATE
         SET key_number = EXCLUDED.key_number, source_key = EXCLUDED.source_key, uuid = EXCLUDED.uuid,
             attributes_hash = EXCLUDED.attributes_hash, geometry_hash = EXCLUDED.geometry_hash",
        &[
            ids.into(),
            placed.iter().map(|p| p.observation.key_number).collect::<Vec<_>>().into(),
            placed.iter().map(|p| p.observation.key.clone()).collect::<Vec<_>>().into(),
            placed.iter().map(|p| p.observation.uuid.map(pgrx::Uuid::from_bytes)).collect::<Vec<_>>().into(),
            hashes(|o| o.attributes_hash).into(),
            hashes(|o| o.geometry_hash).into(),
        ],
    )?;
    Ok(())
}

/// Notes that these dead letters would be written or kept: they are not to be tried again at the end.
pub fn note_letters(identities: Vec<String>) -> Result<(), Failure> {
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
