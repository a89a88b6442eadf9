//! Writes of gn_harvest.harvested: what was inserted, updated, or goes under another key.

use pgrx::prelude::*;

use super::resolve::Observation;
use super::write::Place;
use crate::error::Failure;

/// An observation and its row in the target.
pub struct Placed<'a> {
    pub observation: &'a Observation,
    pub place: Place,
    /// The row was another source's, or unknown to the lineage.
    pub adopted: bool,
}

/// Records under their keys and UUIDs where these observations now are, and what they looked like.
pub fn record(
    source_id: i32,
    run_id: i64,
    placed: &[Placed],
    displaced: Vec<String>,
) -> Result<(), Failure> {
    if !displaced.is_empty() {
        // Their key names another record now; their UUID will bring them their new one.
        Spi::run_with_args(
            "UPDATE gn_harvest.harvested SET key_number = NULL, source_key = NULL WHERE source_id = $1 AND source_key = ANY ($2)
             AND NOT id_synthese = ANY ($3)",
            &[source_id.into(), displaced.into(), placed.iter().map(|p| p.place.id_synthese).collect::<Vec<i64>>().into()],
        )?;
    }
    if placed.is_empty() {
        return Ok(());
    }
    disown_adopted(source_id, run_id, placed)?;
    forget_former_places(source_id, placed)?;
    let keys = |f: fn(&Observation) -> String| {
        placed
            .iter()
            .map(|p| f(p.observation))
            .collect::<Vec<String>>()
    };
    let uuids = |f: fn(&Observation) -> u128| -> Vec<pgrx::Uuid> {
        placed
            .iter()
            .map(|p| pgrx::Uuid::from_bytes(f(p.observation).to_be_bytes()))
            .collect()
    };
    Spi::run_with_args(
        "INSERT INTO gn_harvest.harvested (source_id, key_number, source_key, uuid, id_synthese, attributes_hash, geometry_hash, first_run, last_run, cd_nom, id_dataset)
         SELECT $1, n.key_number, n.source_key, n.uuid, n.id_synthese, n.attributes_hash, n.geometry_hash, $2, $2, n.cd_nom, n.id_dataset
         FROM unnest($3::bigint[], $4::text[], $5::uuid[], $6::bigint[], $7::uuid[], $8::uuid[], $9::int[], $10::int[])
              n(key_number, source_key, uuid, id_synthese, attributes_hash, geometry_hash, cd_nom, id_dataset)
         WHERE n.key_number IS NOT NULL
         ON CONFLICT (source_id, key_number) DO UPDATE
         SET source_key = EXCLUDED.source_key, uuid = EXCLUDED.uuid, id_synthese = EXCLUDED.id_synthese,
             attributes_hash = EXCLUDED.attributes_hash, geometry_hash = EXCLUDED.geometry_hash,
             last_run = EXCLUDED.last_run, deleted_run = NULL, deleted_at = NULL,
             cd_nom = EXCLUDED.cd_nom, id_dataset = EXCLUDED.id_dataset",
        &[
            source_id.into(),
            run_id.into(),
            placed.iter().map(|p| p.observation.key_number).collect::<Vec<Option<i64>>>().into(),
            keys(|o| o.key.clone()).into(),
            placed.iter().map(|p| p.observation.uuid.map(pgrx::Uuid::from_bytes)).collect::<Vec<Option<pgrx::Uuid>>>().into(),
            placed.iter().map(|p| p.place.id_synthese).collect::<Vec<i64>>().into(),
            uuids(|o| o.attributes_hash).into(),
            uuids(|o| o.geometry_hash).into(),
            placed.iter().map(|p| p.place.cd_nom).collect::<Vec<Option<i32>>>().into(),
            placed.iter().map(|p| p.place.id_dataset).collect::<Vec<Option<i32>>>().into(),
        ],
    )?;
    record_textual(source_id, run_id, placed)
}

/// Sources whose keys are not numbers.
fn record_textual(source_id: i32, run_id: i64, placed: &[Placed]) -> Result<(), Failure> {
    let textual: Vec<&Placed> = placed
        .iter()
        .filter(|p| p.observation.key_number.is_none())
        .collect();
    if textual.is_empty() {
        return Ok(());
    }
    let hashes = |f: fn(&Observation) -> u128| -> Vec<pgrx::Uuid> {
        textual
            .iter()
            .map(|p| pgrx::Uuid::from_bytes(f(p.observation).to_be_bytes()))
            .collect()
    };
    Spi::run_with_args(
        "INSERT INTO gn_harvest.harvested (source_id, source_key, uuid, id_synthese, attributes_hash, geometry_hash, first_run, last_run, cd_nom, id_dataset)
         SELECT $1, n.source_key, n.uuid, n.id_synthese, n.attributes_hash, n.geometry_hash, $2, $2, n.cd_nom, n.id_dataset
         FROM unnest($3::text[], $4::uuid[], $5::bigint[], $6::uuid[], $7::uuid[], $8::int[], $9::int[])
              n(source_key, uuid, id_synthese, attributes_hash, geometry_hash, cd_nom, id_dataset)
         ON CONFLICT (source_id, source_key) WHERE key_number IS NULL DO UPDATE
         SET uuid = EXCLUDED.uuid, id_synthese = EXCLUDED.id_synthese,
             attributes_hash = EXCLUDED.attributes_hash, geometry_hash = EXCLUDED.geometry_hash,
             last_run = EXCLUDED.last_run, deleted_run = NULL, deleted_at = NULL,
             cd_nom = EXCLUDED.cd_nom, id_dataset = EXCLUDED.id_dataset",
        &[
            source_id.into(),
            run_id.into(),
            textual.iter().map(|p| p.observation.key.clone()).collect::<Vec<String>>().into(),
            textual.iter().map(|p| p.observation.uuid.map(pgrx::Uuid::from_bytes)).collect::<Vec<Option<pgrx::Uuid>>>().into(),
            textual.iter().map(|p| p.place.id_synthese).collect::<Vec<i64>>().into(),
            hashes(|o| o.attributes_hash).into(),
            hashes(|o| o.geometry_hash).into(),
            textual.iter().map(|p| p.place.cd_nom).collect::<Vec<Option<i32>>>().into(),
            textual.iter().map(|p| p.place.id_dataset).collect::<Vec<Option<i32>>>().into(),
        ],
    )?;
    Ok(())
}

/// Rows taken over are no longer those of the source that had them.
fn disown_adopted(source_id: i32, run_id: i64, placed: &[Placed]) -> Result<(), Failure> {
    let uuids: Vec<pgrx::Uuid> = placed
        .iter()
        .filter(|p| p.adopted)
        .filter_map(|p| p.observation.uuid)
        .map(pgrx::Uuid::from_bytes)
        .collect();
    if uuids.is_empty() {
        return Ok(());
    }
    Spi::run_with_args(
        "WITH lost AS (
             UPDATE gn_harvest.harvested SET id_synthese = NULL, deleted_run = $2, deleted_at = now()
             WHERE uuid = ANY ($3) AND source_id <> $1 AND id_synthese IS NOT NULL
             RETURNING source_id)
         UPDATE gn_harvest.source_state st SET observations = st.observations - n.lost
         FROM (SELECT source_id, count(*) AS lost FROM lost GROUP BY 1) n
         WHERE st.source_id = n.source_id",
        &[source_id.into(), run_id.into(), uuids.into()],
    )?;
    Ok(())
}

/// A record that came under another key leaves its row of lineage under the old one, whatever became of that one's row
/// in the target.
fn forget_former_places(source_id: i32, placed: &[Placed]) -> Result<(), Failure> {
    let (keys, uuids): (Vec<String>, Vec<pgrx::Uuid>) = placed
        .iter()
        .filter_map(|p| {
            let uuid = pgrx::Uuid::from_bytes(p.observation.uuid?);
            Some((p.observation.key.clone(), uuid))
        })
        .unzip();
    if keys.is_empty() {
        return Ok(());
    }
    Spi::run_with_args(
        "DELETE FROM gn_harvest.harvested h
         USING unnest($2::text[], $3::uuid[]) n(source_key, uuid)
         WHERE h.source_id = $1 AND h.uuid = n.uuid AND h.source_key IS DISTINCT FROM n.source_key",
        &[source_id.into(), keys.into(), uuids.into()],
    )?;
    Ok(())
}

/// Notes that rows are no longer in the target, since when and by which run; what waited for them is moot.
pub fn bury(source_id: i32, run_id: i64, ids: &[i64]) -> Result<(), Failure> {
    Spi::run_with_args(
        "WITH buried AS (
             UPDATE gn_harvest.harvested
             SET id_synthese = NULL, attributes_hash = NULL, geometry_hash = NULL, deleted_run = $2, deleted_at = now(), last_run = $2
             WHERE source_id = $1 AND id_synthese = ANY ($3)
             RETURNING source_key),
         settled AS (
             DELETE FROM gn_harvest.rejected r USING buried b WHERE r.source_id = $1 AND r.identity = b.source_key)
         UPDATE gn_harvest.source_state SET observations = observations - (SELECT count(*) FROM buried) WHERE source_id = $1",
        &[source_id.into(), run_id.into(), ids.to_vec().into()],
    )?;
    Ok(())
}

/// Rows are in another dataset: what they look like is no longer what was harvested, so that they are compared the next
/// time that they come.
pub fn moved(source_id: i32, ids: &[i32], id_dataset: Option<i32>) -> Result<(), Failure> {
    if ids.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = ids.iter().copied().map(i64::from).collect();
    Spi::run_with_args(
        "UPDATE gn_harvest.harvested SET attributes_hash = NULL, id_dataset = $3 WHERE source_id = $1 AND id_synthese = ANY ($2)",
        &[source_id.into(), ids.into(), id_dataset.into()],
    )?;
    Ok(())
}
