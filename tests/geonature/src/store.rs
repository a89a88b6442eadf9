//! The partner's synthesis as it is now: which observations there are, in order of their
//! key, and what was changed since they were generated; and the log of deletions.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::generate::Generator;
use crate::observation::Observation;

/// Marks a row that is kept in memory and no longer generated.
const KEPT: u32 = u32::MAX;

/// Rank of the first observation that is added later: no generated one has it.
const FIRST_INSERTED: u32 = 1 << 31;

#[derive(Clone, Copy)]
struct Row {
    id: i64,
    last_action: i64,
    rank: u32,
    modified: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Deletion {
    pub id: i64,
    /// Local moment of the statement that deleted it.
    pub at: i64,
}

pub struct Store {
    generator: Generator,
    /// Ordered by key.
    rows: Vec<Row>,
    kept: HashMap<i64, Arc<Observation>>,
    deletions: Vec<Deletion>,
    /// How many observations were made for insertion.
    inserted: u32,
}

impl Store {
    pub fn new(generator: Generator, observations: u32) -> Self {
        let rows = (0..observations)
            .map(|rank| {
                let (created, modified) = generator.moments(rank);
                Row {
                    id: generator.id(rank),
                    last_action: modified.unwrap_or(created),
                    rank,
                    modified: modified.is_some(),
                }
            })
            .collect();
        Self {
            generator,
            rows,
            kept: HashMap::new(),
            deletions: Vec::new(),
            inserted: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn id(&self, position: usize) -> i64 {
        self.rows[position].id
    }

    pub fn last_action(&self, position: usize) -> i64 {
        self.rows[position].last_action
    }

    /// Whether the row says U, and not I, in the log.
    pub fn is_modified(&self, position: usize) -> bool {
        self.rows[position].modified
    }

    pub fn uuid(&self, position: usize) -> Option<u128> {
        let row = &self.rows[position];
        match row.rank {
            KEPT => self.kept[&row.id].uuid,
            rank => self.generator.uuid(rank),
        }
    }

    pub fn observation(&self, position: usize) -> Cow<'_, Observation> {
        let row = &self.rows[position];
        match row.rank {
            KEPT => Cow::Borrowed(&self.kept[&row.id]),
            rank => Cow::Owned(self.generator.observation(rank)),
        }
    }

    pub fn deletions(&self) -> &[Deletion] {
        &self.deletions
    }

    pub fn position(&self, id: i64) -> Option<usize> {
        self.rows.binary_search_by_key(&id, |row| row.id).ok()
    }

    /// The positions of the keys from `low` to `high`, both included.
    pub fn window(&self, low: i64, high: i64) -> Range<usize> {
        let start = self.rows.partition_point(|row| row.id < low);
        let end = self.rows.partition_point(|row| row.id <= high);
        start..end.max(start)
    }

    pub fn find(&self, id: i64) -> Option<Observation> {
        Some(self.observation(self.position(id)?).into_owned())
    }

    /// A key that no observation has, greater than all.
    pub fn next_id(&self) -> i64 {
        let last_deleted = self.deletions.iter().map(|deletion| deletion.id).max();
        self.rows
            .last()
            .map(|row| row.id)
            .max(last_deleted)
            .unwrap_or(self.generator.id_offset)
            + 1
    }

    /// An observation as the generated ones are, that is none of them.
    pub fn plausible(&mut self, id: i64, now: i64) -> Observation {
        let rank = FIRST_INSERTED + self.inserted;
        self.inserted += 1;
        let mut observation = self.generator.observation(rank);
        observation.id = id;
        observation.texts[0] = Some(format!("OCC-{id}").into());
        observation.created = now;
        observation.modified = None;
        observation
    }

    /// Adds an observation, or replaces the one that has its key.
    pub fn put(&mut self, observation: Observation) {
        let row = Row {
            id: observation.id,
            last_action: observation.last_action(),
            rank: KEPT,
            modified: observation.modified.is_some(),
        };
        match self.rows.binary_search_by_key(&row.id, |row| row.id) {
            Ok(position) => self.rows[position] = row,
            Err(position) => self.rows.insert(position, row),
        }
        self.kept.insert(row.id, Arc::new(observation));
    }

    /// Takes an observation away without a trace in the log.
    pub fn remove_silently(&mut self, id: i64) -> bool {
        let Some(position) = self.position(id) else {
            return false;
        };
        self.rows.remove(position);
        self.kept.remove(&id);
        true
    }

    /// Deletes observations as one statement does: all at the same moment. Returns how many
    /// there were.
    pub fn delete(&mut self, ids: &[i64], at: i64) -> usize {
        let wanted: std::collections::HashSet<i64> = ids.iter().copied().collect();
        let before = self.rows.len();
        let deletions = &mut self.deletions;
        self.rows.retain(|row| {
            let deleted = wanted.contains(&row.id);
            if deleted {
                deletions.push(Deletion { id: row.id, at });
            }
            !deleted
        });
        for id in ids {
            self.kept.remove(id);
        }
        before - self.rows.len()
    }
}
