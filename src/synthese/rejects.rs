//! Dead letters and unknown values: kept with the record whole, taken away when it is written.

use std::collections::{HashMap, HashSet};

use pgrx::prelude::*;
use xxhash_rust::xxh3::xxh3_128;

use super::resolve::Unknown;
use super::write::value_of;
use crate::error::Failure;
use crate::record::{Reason, Rejection, quoted};

/// A rejection with the item that it is about.
pub struct DeadLetter<'a> {
    pub rejection: Rejection,
    pub sqlstate: Option<String>,
    pub payload: &'a str,
}

impl DeadLetter<'_> {
    /// What makes it the same record when it comes again: its key, if that is its own; else its text.
    pub fn identity(&self) -> String {
        let key = self.rejection.key.clone();
        key.filter(|key| !key.is_empty() && self.rejection.reason != Reason::DuplicateKey)
            .unwrap_or_else(|| identity_by_payload(self.payload))
    }

    fn hash(&self) -> u128 {
        xxh3_128(self.payload.as_bytes())
    }
}

/// What makes a record that no key of its own names the same one when it comes again: its text.
pub fn identity_by_payload(payload: &str) -> String {
    format!("payload {:032x}", xxh3_128(payload.as_bytes()))
}

/// PostgreSQL's json type reads by recursion: deeper than this, and far below its limit, an item is kept as a JSON string.
const MAX_DEPTH: usize = 1000;

/// An item as a value of PostgreSQL's json type.
fn as_json(item: &str) -> String {
    if depth(item) <= MAX_DEPTH {
        return item.to_owned();
    }
    serde_json::to_string(item).unwrap_or_else(|_| "null".to_owned())
}

/// The item that a kept payload is.
pub fn from_json(payload: String) -> String {
    if !payload.starts_with('"') {
        return payload;
    }
    let text = serde_json::from_str::<String>(&payload).ok();
    text.filter(|text| depth(text) > MAX_DEPTH)
        .unwrap_or(payload)
}

/// How deep objects and arrays are nested in a valid JSON text.
fn depth(item: &str) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in item.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Whether two UUIDs under one key are those of two records, not of one that came twice.
pub fn are_two(one: Option<[u8; 16]>, other: Option<[u8; 16]>) -> bool {
    one.zip(other).is_some_and(|(one, other)| one != other)
}

/// Another record of the same source came with the same key.
pub fn same_key(key: &str, uuid: Option<[u8; 16]>) -> Rejection {
    Rejection {
        reason: Reason::DuplicateKey,
        key: Some(key.to_owned()),
        uuid,
        column: Some("entity_source_pk_value".to_owned()),
        value: Some(key.to_owned()),
        message: format!(
            "another record of the same source, with another UUID, came with the key {key}"
        ),
    }
}

/// How many rejected records wait, and how many were given up before and have not changed since.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kept {
    pub waiting: i64,
    pub discarded: i64,
}

/// Keeps rejected records. One that was discarded stays so until the source changes it.
pub fn keep(source_id: i32, run_id: i64, letters: &[DeadLetter]) -> Result<Kept, Failure> {
    if letters.is_empty() {
        return Ok(Kept::default());
    }
    let column = |f: &dyn Fn(&DeadLetter) -> Option<String>| {
        letters.iter().map(f).collect::<Vec<Option<String>>>()
    };
    let discarded = Spi::get_one_with_args::<i64>(
        "WITH kept AS (
         INSERT INTO gn_harvest.rejected AS r (source_id, identity, source_key, uuid, reason, column_name, value, message, sqlstate,
                                               payload, payload_hash, first_run, last_run)
         SELECT DISTINCT ON (n.identity) $1, n.identity, n.source_key, n.uuid, n.reason, n.column_name, n.value, n.message, n.sqlstate,
                n.payload::json, n.payload_hash, $2, $2
         FROM unnest($3::text[], $4::text[], $5::uuid[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::uuid[])
              WITH ORDINALITY n(identity, source_key, uuid, reason, column_name, value, message, sqlstate, payload, payload_hash, ord)
         ORDER BY n.identity, n.ord
         ON CONFLICT (source_id, identity) DO UPDATE
         SET uuid = EXCLUDED.uuid, reason = EXCLUDED.reason, column_name = EXCLUDED.column_name, value = EXCLUDED.value,
             message = EXCLUDED.message, sqlstate = EXCLUDED.sqlstate, payload = EXCLUDED.payload, payload_hash = EXCLUDED.payload_hash,
             last_run = EXCLUDED.last_run, last_seen = now(), attempts = r.attempts + 1,
             discarded_at = CASE WHEN r.payload_hash = EXCLUDED.payload_hash THEN r.discarded_at END,
             discarded_by = CASE WHEN r.payload_hash = EXCLUDED.payload_hash THEN r.discarded_by END,
             discard_note = CASE WHEN r.payload_hash = EXCLUDED.payload_hash THEN r.discard_note END
         RETURNING r.discarded_at)
         SELECT count(discarded_at) FROM kept",
        &[
            source_id.into(),
            run_id.into(),
            letters.iter().map(DeadLetter::identity).collect::<Vec<String>>().into(),
            column(&|l| l.rejection.key.clone()).into(),
            letters.iter().map(|l| l.rejection.uuid.map(pgrx::Uuid::from_bytes)).collect::<Vec<Option<pgrx::Uuid>>>().into(),
            letters.iter().map(|l| l.rejection.reason.code().to_owned()).collect::<Vec<String>>().into(),
            column(&|l| l.rejection.column.as_deref().map(quoted)).into(),
            column(&|l| l.rejection.value.as_deref().map(quoted)).into(),
            letters.iter().map(|l| l.rejection.message.replace('\0', "")).collect::<Vec<String>>().into(),
            column(&|l| l.sqlstate.clone()).into(),
            letters.iter().map(|l| as_json(l.payload)).collect::<Vec<String>>().into(),
            hashes(letters).into(),
        ],
    )?
    .unwrap_or(0);
    Ok(Kept {
        waiting: letters.len() as i64 - discarded,
        discarded,
    })
}

/// Of these letters, the positions of those that were discarded and have not changed since.
pub fn discarded(source_id: i32, letters: &[DeadLetter]) -> Result<HashSet<usize>, Failure> {
    if letters.is_empty() {
        return Ok(HashSet::new());
    }
    let found = Spi::get_one_with_args::<Vec<i64>>(
        "SELECT array_agg(n.ord) FROM unnest($2::text[], $3::uuid[]) WITH ORDINALITY n(identity, payload_hash, ord)
         JOIN gn_harvest.rejected r ON r.source_id = $1 AND r.identity = n.identity AND r.payload_hash = n.payload_hash
         WHERE r.discarded_at IS NOT NULL",
        &[
            source_id.into(),
            letters.iter().map(DeadLetter::identity).collect::<Vec<String>>().into(),
            hashes(letters).into(),
        ],
    )?;
    Ok(found
        .into_iter()
        .flatten()
        .map(|ord| ord as usize - 1)
        .collect())
}

fn hashes(letters: &[DeadLetter]) -> Vec<pgrx::Uuid> {
    letters
        .iter()
        .map(|letter| pgrx::Uuid::from_bytes(letter.hash().to_be_bytes()))
        .collect()
}

/// A record that the target refused.
pub fn refused(
    key: String,
    uuid: Option<[u8; 16]>,
    column: Option<String>,
    failure: &Failure,
) -> Rejection {
    let message = match &failure.detail {
        Some(detail) => format!("{} ({detail})", failure.message),
        None => failure.message.clone(),
    };
    Rejection {
        reason: Reason::TargetError,
        key: Some(key),
        uuid,
        column,
        value: failure.detail.as_deref().and_then(value_of).map(quoted),
        message,
    }
}

/// Whether the source has dead letters at all: if not, nothing has to be taken away batch by batch.
pub fn any(source_id: i32) -> Result<bool, Failure> {
    Ok(Spi::get_one_with_args::<bool>(
        "SELECT EXISTS (SELECT FROM gn_harvest.rejected WHERE source_id = $1)",
        &[source_id.into()],
    )?
    .unwrap_or(false))
}

/// Of some keys, those that wait because their UUID was that of another record of the source, with the UUID.
pub fn duplicates<'k>(
    source_id: i32,
    keys: impl Iterator<Item = &'k String>,
) -> Result<HashMap<String, [u8; 16]>, Failure> {
    Spi::connect(|client| {
        let rows = client.select(
            "SELECT identity, uuid FROM gn_harvest.rejected WHERE source_id = $1 AND identity = ANY ($2) AND reason = $3",
            None,
            &[
                source_id.into(),
                keys.cloned().collect::<Vec<String>>().into(),
                Reason::DuplicateUuid.code().into(),
            ],
        )?;
        let mut found = HashMap::new();
        for row in rows {
            let uuid = row.get::<pgrx::Uuid>(2)?.map(|uuid| *uuid.as_bytes());
            found.extend(row.get::<String>(1)?.zip(uuid));
        }
        Ok(found)
    })
}

/// These records, by key and UUID, are in the target now. A letter that no key of its own names is known by its UUID.
pub fn settle(
    source_id: i32,
    written: impl Iterator<Item = (String, Option<[u8; 16]>)>,
) -> Result<(), Failure> {
    let (keys, uuids): (Vec<String>, Vec<Option<[u8; 16]>>) = written.unzip();
    let uuids = uuids.into_iter().flatten().map(pgrx::Uuid::from_bytes);
    Spi::run_with_args(
        "DELETE FROM gn_harvest.rejected WHERE source_id = $1 AND identity = ANY ($2)",
        &[source_id.into(), keys.into()],
    )?;
    Spi::run_with_args(
        "DELETE FROM gn_harvest.rejected
         WHERE source_id = $1 AND uuid = ANY ($2) AND starts_with(identity, 'payload ') AND discarded_at IS NULL",
        &[source_id.into(), uuids.collect::<Vec<pgrx::Uuid>>().into()],
    )?;
    Ok(())
}

/// A full run has read everything: letters without a key of their own that it did not meet are of records that the
/// source has mended or no longer has.
pub fn forget_vanished(source_id: i32, run_id: i64) -> Result<(), Failure> {
    Spi::run_with_args(
        "DELETE FROM gn_harvest.rejected
         WHERE source_id = $1 AND last_run < $2 AND starts_with(identity, 'payload ') AND discarded_at IS NULL",
        &[source_id.into(), run_id.into()],
    )?;
    Ok(())
}

/// Counts values that the local referentials do not know.
pub fn tell_unknown(source_id: i32, run_id: i64, unknown: &Unknown) -> Result<(), Failure> {
    if unknown.is_empty() {
        return Ok(());
    }
    // In one order, so that two writers of a run never wait for each other.
    let mut told: Vec<(&(&str, String), i64)> = unknown.iter().map(|(at, n)| (at, *n)).collect();
    told.sort_unstable();
    Spi::run_with_args(
        "INSERT INTO gn_harvest.unmapped AS u (source_id, column_name, source_value, occurrences, first_run, last_run)
         SELECT $1, n.column_name, n.source_value, n.occurrences, $2, $2
         FROM unnest($3::text[], $4::text[], $5::bigint[]) n(column_name, source_value, occurrences)
         ON CONFLICT (source_id, column_name, source_value) DO UPDATE
         SET occurrences = CASE WHEN u.last_run = EXCLUDED.last_run THEN u.occurrences ELSE 0 END + EXCLUDED.occurrences,
             last_run = EXCLUDED.last_run, last_seen = now()",
        &[
            source_id.into(),
            run_id.into(),
            told.iter().map(|((column, _), _)| (*column).to_owned()).collect::<Vec<String>>().into(),
            told.iter().map(|((_, value), _)| value.clone()).collect::<Vec<String>>().into(),
            told.iter().map(|(_, n)| *n).collect::<Vec<i64>>().into(),
        ],
    )?;
    Ok(())
}

/// Forgets unknown taxa that no record waits for any more: an unknown cd_nom always rejects its record.
pub fn forget_awaited_taxa(source_id: i32) -> Result<(), Failure> {
    Spi::run_with_args(
        "DELETE FROM gn_harvest.unmapped u
         WHERE u.source_id = $1 AND u.column_name = 'cd_nom'
           AND NOT EXISTS (SELECT FROM gn_harvest.rejected r
                           WHERE r.source_id = $1 AND r.reason = $2 AND r.value = u.source_value AND r.discarded_at IS NULL)",
        &[source_id.into(), Reason::UnknownCdNom.code().into()],
    )?;
    Ok(())
}

/// Forgets what a full run, which meets every value of the source, has not met as unknown.
pub fn forget_known(source_id: i32, run_id: i64) -> Result<(), Failure> {
    Spi::run_with_args(
        "DELETE FROM gn_harvest.unmapped WHERE source_id = $1 AND last_run < $2",
        &[source_id.into(), run_id.into()],
    )?;
    Ok(())
}
