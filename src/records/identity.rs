//! Which record of the table one that comes is. Its key says so; a key that is not here, or that another UUID has here,
//! may be the new one of the record that has its UUID, as when the partner has numbered its data anew.

use std::collections::{HashMap, HashSet};

use pgrx::prelude::*;

use super::gather::Kept;
use super::write::Change;
use crate::error::Failure;
use crate::record::Reason;
use crate::synthese::planned;
use crate::synthese::rejects::are_two;

/// What becomes of a record.
pub enum Decision<'k> {
    Insert,
    Update(Change<'k>),
    Unchanged,
    /// Its key is that of another record of the export.
    Duplicate,
}

/// A row of gn_harvest.harvested whose record is in the table.
#[derive(Clone)]
struct Line {
    id: i64,
    key: Option<String>,
    uuid: Option<[u8; 16]>,
    item_hash: Option<u128>,
    geometry_hash: Option<u128>,
    last_run: i64,
}

/// What is known of the records of a batch.
pub struct Known {
    run_id: i64,
    by_key: HashMap<String, Line>,
    by_uuid: HashMap<[u8; 16], Vec<Line>>,
    /// Keys of the batch: what has one of them has not moved.
    here: HashSet<String>,
    /// Rows that a record of the batch has moved to another key.
    claimed: HashSet<i64>,
    /// Keys whose record is gone from the table, though the lineage has it.
    pub lost: HashSet<String>,
}

// The record is looked for as well: a superuser may have emptied the table. Each is looked up by itself, whatever
// statistics say of a table that a first load makes grow.
const LINEAGE: &str = "
    SELECT h.source_key, h.uuid, h.id_synthese, h.attributes_hash, h.geometry_hash, h.last_run, r.id IS NOT NULL
    FROM (SELECT h.* FROM unnest($2::bigint[]) n(v), LATERAL (
              SELECT * FROM gn_harvest.harvested WHERE source_id = $1 AND key_number = n.v OFFSET 0) h
          UNION ALL
          SELECT h.* FROM unnest($3::text[]) n(v), LATERAL (
              SELECT * FROM gn_harvest.harvested WHERE source_id = $1 AND key_number IS NULL AND source_key = n.v OFFSET 0) h
          UNION ALL
          SELECT h.* FROM unnest($4::uuid[]) n(v), LATERAL (
              SELECT * FROM gn_harvest.harvested WHERE source_id = $1 AND uuid = n.v OFFSET 0) h) h
    LEFT JOIN LATERAL (SELECT id FROM gn_harvest.record WHERE source_id = $1 AND id = h.id_synthese OFFSET 0) r ON true
    WHERE h.id_synthese IS NOT NULL";

impl Known {
    pub fn read(
        source_id: i32,
        run_id: i64,
        by_uuid: bool,
        plans: bool,
        kept: &[Kept],
    ) -> Result<Self, Failure> {
        let numbers: Vec<i64> = kept.iter().filter_map(|k| k.key_number).collect();
        let texts: Vec<String> = kept
            .iter()
            .filter(|k| k.key_number.is_none())
            .map(|k| k.key.clone())
            .collect();
        let uuids = kept.iter().filter(|_| by_uuid).filter_map(Kept::uuid);
        let uuids: Vec<pgrx::Uuid> = uuids.map(pgrx::Uuid::from_bytes).collect();
        let mut known = Known {
            run_id,
            by_key: HashMap::with_capacity(kept.len()),
            by_uuid: HashMap::new(),
            here: kept.iter().map(|k| k.key.clone()).collect(),
            claimed: HashSet::new(),
            lost: HashSet::new(),
        };
        Spi::connect(|client| {
            for row in client.select(
                LINEAGE,
                None,
                &[source_id.into(), numbers.into(), texts.into(), uuids.into()],
            )? {
                let is_here = row.get::<bool>(7)?.unwrap_or(false);
                let line = Line {
                    id: row.get::<i64>(3)?.unwrap_or_default(),
                    key: row.get::<String>(1)?,
                    uuid: row.get::<pgrx::Uuid>(2)?.map(|uuid| *uuid.as_bytes()),
                    item_hash: row.get::<pgrx::Uuid>(4)?.map(number),
                    geometry_hash: row.get::<pgrx::Uuid>(5)?.map(number),
                    last_run: row.get::<i64>(6)?.unwrap_or_default(),
                };
                match is_here {
                    true => known.note(line),
                    false => known.lost.extend(line.key),
                }
            }
            Ok::<(), Failure>(())
        })?;
        if plans {
            known.correct(by_uuid, kept)?;
        }
        Ok(known)
    }

    /// Puts what a plan would have changed so far in the place of what is here.
    fn correct(&mut self, by_uuid: bool, kept: &[Kept]) -> Result<(), Failure> {
        let keys = kept.iter().map(|k| k.key.clone()).collect();
        let uuids = kept.iter().filter(|_| by_uuid).filter_map(Kept::uuid);
        let lines = self.by_key.values().chain(self.by_uuid.values().flatten());
        let ids = lines.map(|line| line.id).collect();
        for row in planned::rows(keys, uuids.collect(), ids)? {
            self.by_key.retain(|_, line| line.id != row.id);
            for lines in self.by_uuid.values_mut() {
                lines.retain(|line| line.id != row.id);
            }
            if let Some(key) = &row.key {
                self.lost.remove(key);
            }
            self.note(Line {
                id: row.id,
                key: row.key,
                uuid: row.uuid,
                item_hash: row.attributes_hash,
                geometry_hash: row.geometry_hash,
                last_run: self.run_id,
            });
        }
        Ok(())
    }

    fn note(&mut self, line: Line) {
        if let Some(uuid) = line.uuid {
            let same = self.by_uuid.entry(uuid).or_default();
            if !same.iter().any(|other| other.id == line.id) {
                same.push(line.clone());
            }
        }
        if let Some(key) = &line.key {
            self.by_key.insert(key.clone(), line);
        }
    }

    pub fn decide<'k>(&mut self, kept: &'k Kept<'k>, replayed: Option<Reason>) -> Decision<'k> {
        let by_key = self.by_key.get(&kept.key).cloned();
        if let Some(line) = &by_key
            && !are_two(line.uuid, kept.uuid())
        {
            return self.compare(kept, line, replayed);
        }
        if let Some(line) = self.moved(kept) {
            self.claimed.insert(line.id);
            return update(kept, &line, true);
        }
        match by_key {
            Some(line) if line.last_run == self.run_id => Decision::Duplicate,
            Some(line) => self.compare(kept, &line, replayed),
            None => Decision::Insert,
        }
    }

    fn compare<'k>(
        &self,
        kept: &'k Kept<'k>,
        line: &Line,
        replayed: Option<Reason>,
    ) -> Decision<'k> {
        match update(kept, line, false) {
            Decision::Update(change) if !change.item && !change.geometry => Decision::Unchanged,
            // It was another record than the one that is here, and still is.
            Decision::Update(_) if replayed == Some(Reason::DuplicateKey) => Decision::Duplicate,
            decision => decision,
        }
    }

    /// The one record of the source with the same UUID, if its own key has not come in this run.
    fn moved(&self, kept: &Kept) -> Option<Line> {
        let [line] = self.by_uuid.get(&kept.uuid()?)?.as_slice() else {
            return None;
        };
        let key_is_gone = match &line.key {
            None => true,
            Some(key) => line.last_run != self.run_id && !self.here.contains(key),
        };
        (key_is_gone && !self.claimed.contains(&line.id)).then(|| line.clone())
    }
}

fn update<'k>(kept: &'k Kept<'k>, line: &Line, moved: bool) -> Decision<'k> {
    Decision::Update(Change {
        kept,
        id: line.id,
        item: line.item_hash != Some(kept.record.hash),
        geometry: line.geometry_hash != Some(kept.geometry_hash),
        moved,
    })
}

fn number(uuid: pgrx::Uuid) -> u128 {
    u128::from_be_bytes(*uuid.as_bytes())
}
