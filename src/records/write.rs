//! Set-based writes into gn_harvest.record and its lineage: arrays in, rows in the order of their keys, and nothing
//! read back. What jsonb refuses all the same is isolated by halving the set.

use std::collections::HashSet;

use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;

use super::gather::Kept;
use crate::error::Failure;
use crate::synthese::write::{Item, Refused, halve};

/// Bytes of items written in one statement, about: a parameter holds less than 1 GB.
const PORTION: usize = 64 * 1024 * 1024;

/// A record that is here and not as it came.
#[derive(Clone, Copy)]
pub struct Change<'k> {
    pub kept: &'k Kept<'k>,
    pub id: i64,
    pub item: bool,
    pub geometry: bool,
    /// It is here under another key.
    pub moved: bool,
}

/// A record by its position in the set, for what is refused.
#[derive(Clone, Copy)]
struct Numbered<T>(usize, T);

impl<T> Item for Numbered<T> {
    fn item(&self) -> usize {
        self.0
    }
}

/// What was refused, and why.
type Refusals<'k> = Vec<(&'k Kept<'k>, Failure)>;

/// Writes new records; returns how many were, and how many more than before the source has here: `lost` are keys of
/// records that were counted although they were gone.
pub fn insert<'k>(
    source_id: i32,
    run_id: i64,
    new: &[&'k Kept<'k>],
    lost: &HashSet<String>,
    refused: &mut Refusals<'k>,
) -> Result<(i64, i64), Failure> {
    let (mut inserted, mut gained) = (0, 0);
    for portion in portions(new, |kept| kept.record.text.len()) {
        each(portion, |kept| kept, refused, &mut |part| {
            insert_part(source_id, run_id, part)?;
            inserted += part.len() as i64;
            gained += part.iter().filter(|kept| !lost.contains(&kept.key)).count() as i64;
            Ok(())
        })?;
    }
    Ok((inserted, gained))
}

/// Brings records in step; returns how many were written.
pub fn update<'k>(
    source_id: i32,
    run_id: i64,
    changed: &[Change<'k>],
    refused: &mut Refusals<'k>,
) -> Result<i64, Failure> {
    let mut updated = 0;
    for portion in portions(changed, |change| change.kept.record.text.len()) {
        each(portion, |change| change.kept, refused, &mut |part| {
            update_part(source_id, run_id, part)?;
            updated += part.len() as i64;
            Ok(())
        })?;
    }
    Ok(updated)
}

/// Cuts a set so that no part has much more than a portion of bytes.
fn portions<T>(set: &[T], bytes: impl Fn(&T) -> usize) -> Vec<&[T]> {
    let (mut parts, mut from, mut sum) = (Vec::new(), 0, 0);
    for (position, one) in set.iter().enumerate() {
        sum += bytes(one);
        if sum > PORTION {
            parts.push(&set[from..=position]);
            (from, sum) = (position + 1, 0);
        }
    }
    parts.push(&set[from..]);
    parts
}

fn each<'k, T: Copy>(
    set: &[T],
    kept: impl Fn(T) -> &'k Kept<'k>,
    refused: &mut Refusals<'k>,
    write: &mut dyn FnMut(&[T]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let numbered: Vec<Numbered<T>> = set
        .iter()
        .copied()
        .enumerate()
        .map(|(i, t)| Numbered(i, t))
        .collect();
    let mut out: Vec<Refused> = Vec::new();
    halve(0, &numbered, false, &mut out, &mut |_, part| {
        let part: Vec<T> = part.iter().map(|numbered| numbered.1).collect();
        write(&part)
    })?;
    refused.extend(out.into_iter().map(|r| (kept(set[r.item]), r.failure)));
    Ok(())
}

fn insert_part(source_id: i32, run_id: i64, part: &[&Kept]) -> Result<(), Failure> {
    Spi::connect_mut(|client| {
        let ids = client
            .update(
                "SELECT array_agg(nextval('gn_harvest.record_id_seq')) FROM generate_series(1, $1)",
                None,
                &[(part.len() as i64).into()],
            )?
            .first()
            .get::<Vec<i64>>(1)?
            .unwrap_or_default();
        client.update(
            "INSERT INTO gn_harvest.record (source_id, id, source_key, uuid, item, wkb)
             SELECT $1, n.id, n.source_key, n.uuid, n.item::jsonb, n.wkb
             FROM unnest($2::bigint[], $3::text[], $4::uuid[], $5::text[], $6::bytea[]) n(id, source_key, uuid, item, wkb)",
            None,
            &[
                source_id.into(),
                ids.clone().into(),
                keys(part),
                uuids(part),
                part.iter().map(|k| k.record.text.clone()).collect::<Vec<String>>().into(),
                part.iter().map(|k| k.wkb.clone()).collect::<Vec<Option<Vec<u8>>>>().into(),
            ],
        )?;
        note_inserted(client, source_id, run_id, part, ids)
    })
}

/// Lineage of new records. A row of it may be there: of a record that was deleted, here or at the source.
fn note_inserted(
    client: &mut pgrx::spi::SpiClient,
    source_id: i32,
    run_id: i64,
    part: &[&Kept],
    ids: Vec<i64>,
) -> Result<(), Failure> {
    for (numeric, conflict) in [
        (true, "(source_id, key_number)"),
        (false, "(source_id, source_key) WHERE key_number IS NULL"),
    ] {
        let (rows, ids): (Vec<&Kept>, Vec<i64>) = part
            .iter()
            .zip(&ids)
            .filter(|(kept, _)| kept.key_number.is_some() == numeric)
            .map(|(kept, id)| (*kept, *id))
            .unzip();
        if rows.is_empty() {
            continue;
        }
        client.update(
            &format!(
                "INSERT INTO gn_harvest.harvested (source_id, key_number, source_key, uuid, id_synthese, attributes_hash, geometry_hash, first_run, last_run)
                 SELECT $1, n.key_number, n.source_key, n.uuid, n.id, n.attributes_hash, n.geometry_hash, $2, $2
                 FROM unnest($3::bigint[], $4::bigint[], $5::text[], $6::uuid[], $7::uuid[], $8::uuid[])
                      n(id, key_number, source_key, uuid, attributes_hash, geometry_hash)
                 ON CONFLICT {conflict} DO UPDATE
                 SET source_key = EXCLUDED.source_key, uuid = EXCLUDED.uuid, id_synthese = EXCLUDED.id_synthese,
                     attributes_hash = EXCLUDED.attributes_hash, geometry_hash = EXCLUDED.geometry_hash,
                     last_run = EXCLUDED.last_run, deleted_run = NULL, deleted_at = NULL"
            ),
            None,
            &[
                source_id.into(),
                run_id.into(),
                ids.into(),
                numbers(&rows),
                keys(&rows),
                uuids(&rows),
                hashes(&rows, |k| k.record.hash),
                hashes(&rows, |k| k.geometry_hash),
            ],
        )?;
    }
    Ok(())
}

fn update_part(source_id: i32, run_id: i64, part: &[Change]) -> Result<(), Failure> {
    let kept: Vec<&Kept> = part.iter().map(|change| change.kept).collect();
    let ids: Vec<i64> = part.iter().map(|change| change.id).collect();
    let moved: Vec<&Kept> = part.iter().filter(|c| c.moved).map(|c| c.kept).collect();
    Spi::connect_mut(|client| {
        if !moved.is_empty() {
            free_keys(client, source_id, &moved)?;
        }
        // What has not changed of a row keeps the place that it has out of line.
        client.update(
            "UPDATE gn_harvest.record r
             SET source_key = n.source_key, uuid = n.uuid, item = coalesce(n.item::jsonb, r.item),
                 wkb = CASE WHEN n.geometry THEN n.wkb ELSE r.wkb END, changed_at = now()
             FROM unnest($2::bigint[], $3::text[], $4::uuid[], $5::text[], $6::boolean[], $7::bytea[]) n(id, source_key, uuid, item, geometry, wkb)
             WHERE r.source_id = $1 AND r.id = n.id",
            None,
            &[
                source_id.into(),
                ids.clone().into(),
                keys(&kept),
                uuids(&kept),
                part.iter().map(|c| c.item.then(|| c.kept.record.text.clone())).collect::<Vec<Option<String>>>().into(),
                part.iter().map(|c| c.geometry).collect::<Vec<bool>>().into(),
                part.iter().map(|c| c.kept.wkb.clone().filter(|_| c.geometry)).collect::<Vec<Option<Vec<u8>>>>().into(),
            ],
        )?;
        client.update(
            "UPDATE gn_harvest.harvested h
             SET key_number = n.key_number, source_key = n.source_key, uuid = n.uuid, attributes_hash = n.attributes_hash,
                 geometry_hash = n.geometry_hash, last_run = $2
             FROM unnest($3::bigint[], $4::bigint[], $5::text[], $6::uuid[], $7::uuid[], $8::uuid[])
                  n(id, key_number, source_key, uuid, attributes_hash, geometry_hash)
             WHERE h.source_id = $1 AND h.id_synthese = n.id",
            None,
            &[
                source_id.into(),
                run_id.into(),
                ids.into(),
                numbers(&kept),
                keys(&kept),
                uuids(&kept),
                hashes(&kept, |k| k.record.hash),
                hashes(&kept, |k| k.geometry_hash),
            ],
        )?;
        Ok(())
    })
}

/// Takes keys from the rows of lineage that have them: those of deleted records go; a record that is here still will
/// come under its own new key, or be missing at the end.
fn free_keys(
    client: &mut pgrx::spi::SpiClient,
    source_id: i32,
    moved: &[&Kept],
) -> Result<(), Failure> {
    for statement in [
        "DELETE FROM gn_harvest.harvested h
         WHERE h.source_id = $1 AND h.id_synthese IS NULL
           AND (h.key_number = ANY ($2) OR h.key_number IS NULL AND h.source_key = ANY ($3))",
        "UPDATE gn_harvest.harvested h SET key_number = NULL, source_key = NULL
         WHERE h.source_id = $1 AND (h.key_number = ANY ($2) OR h.key_number IS NULL AND h.source_key = ANY ($3))",
    ] {
        client.update(
            statement,
            None,
            &[source_id.into(), numbers(moved), keys(moved)],
        )?;
    }
    Ok(())
}

fn keys<'a>(rows: &[&Kept]) -> DatumWithOid<'a> {
    rows.iter()
        .map(|k| k.key.clone())
        .collect::<Vec<String>>()
        .into()
}

fn numbers<'a>(rows: &[&Kept]) -> DatumWithOid<'a> {
    rows.iter()
        .map(|k| k.key_number)
        .collect::<Vec<Option<i64>>>()
        .into()
}

fn uuids<'a>(rows: &[&Kept]) -> DatumWithOid<'a> {
    let uuids = rows.iter().map(|k| k.uuid().map(pgrx::Uuid::from_bytes));
    uuids.collect::<Vec<Option<pgrx::Uuid>>>().into()
}

fn hashes<'a>(rows: &[&Kept], hash: fn(&Kept) -> u128) -> DatumWithOid<'a> {
    let hashes = rows
        .iter()
        .map(|k| pgrx::Uuid::from_bytes(hash(k).to_be_bytes()));
    hashes.collect::<Vec<pgrx::Uuid>>().into()
}
