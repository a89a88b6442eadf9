//! Which observation of the target a record is: by UUID first, then by the source's key; and what that asks for.

use std::collections::{HashMap, HashSet};

use pgrx::prelude::*;

use super::rejects::{are_two, same_key};
use super::resolve::Observation;
use crate::error::Failure;
use crate::record::{Reason, Rejection};
use crate::source::OnUuidConflict;

/// The first run of rows that adopt_gn2pg has made a source's.
const ADOPTED: i64 = 0;

/// A row of gn_harvest.harvested.
#[derive(Debug, Clone)]
pub struct Lineage {
    pub source_id: i32,
    pub source_key: Option<String>,
    pub uuid: Option<[u8; 16]>,
    pub id_synthese: Option<i64>,
    pub attributes_hash: Option<u128>,
    pub geometry_hash: Option<u128>,
    pub last_run: i64,
    /// No run of ours has written the row yet.
    pub foreign: bool,
}

/// A row of gn_synthese.synthese, as far as identity goes.
#[derive(Debug, Clone)]
pub struct Held {
    pub id_synthese: i64,
    pub uuid: Option<[u8; 16]>,
    pub id_source: i32,
    pub owner: String,
}

/// What becomes of an observation.
#[derive(Debug)]
pub enum Decision {
    Insert,
    /// Compare with the row and write what differs. `adopt`: the row was not this source's so far.
    Update {
        id_synthese: i64,
        displaced: Option<String>,
        adopt: bool,
        fills: bool,
    },
    Unchanged,
    /// Left to the source that owns its UUID.
    Skip,
    Reject(Box<Rejection>),
}

/// What is known of the records of a batch, here and in the target.
pub struct Known {
    by_key: HashMap<String, Lineage>,
    by_uuid: HashMap<[u8; 16], Vec<Lineage>>,
    held_ids: HashSet<i64>,
    held_by_uuid: HashMap<[u8; 16], Held>,
    /// Rows whose UUID came under another key, with that key: no other record of the batch is that row by its own.
    claimed: HashMap<i64, String>,
    /// Keys of dead letters that came with the UUID of another key of the source, with the UUID.
    duplicates: HashMap<String, [u8; 16]>,
}

/// The source, as far as identity goes.
pub struct Claimant<'a> {
    pub source_id: i32,
    pub id_source: i32,
    pub run_id: i64,
    pub on_conflict: OnUuidConflict,
    pub priority: i32,
    /// Priorities of the other sources, by their id_source in the target.
    pub priorities: &'a HashMap<i32, i32>,
    /// Why these records were refused before, when they are replayed.
    pub replayed: Option<Reason>,
}

/// Reads the lineage of a batch: rows of this source by key, rows of any source by UUID.
pub fn lineage(source_id: i32, observations: &[Observation]) -> Result<Vec<Lineage>, Failure> {
    let numbers: Vec<i64> = observations.iter().filter_map(|o| o.key_number).collect();
    let texts: Vec<String> = observations
        .iter()
        .filter(|o| o.key_number.is_none())
        .map(|o| o.key.clone())
        .collect();
    let uuids: Vec<pgrx::Uuid> = observations
        .iter()
        .filter_map(|o| o.uuid)
        .map(pgrx::Uuid::from_bytes)
        .collect();
    Spi::connect(|client| {
        let rows = client.select(
            "SELECT source_id, key_number, source_key, uuid, id_synthese, attributes_hash, geometry_hash, last_run, first_run
             FROM gn_harvest.harvested WHERE source_id = $1 AND key_number = ANY ($2)
             UNION ALL
             SELECT source_id, key_number, source_key, uuid, id_synthese, attributes_hash, geometry_hash, last_run, first_run
             FROM gn_harvest.harvested WHERE source_id = $1 AND key_number IS NULL AND source_key = ANY ($3)
             UNION ALL
             SELECT source_id, key_number, source_key, uuid, id_synthese, attributes_hash, geometry_hash, last_run, first_run
             FROM gn_harvest.harvested WHERE uuid = ANY ($4) AND id_synthese IS NOT NULL",
            None,
            &[source_id.into(), numbers.into(), texts.into(), uuids.into()],
        )?;
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            found.push(Lineage {
                source_id: row.get::<i32>(1)?.unwrap_or_default(),
                source_key: row.get::<String>(3)?,
                uuid: row.get::<pgrx::Uuid>(4)?.map(|uuid| *uuid.as_bytes()),
                id_synthese: row.get::<i64>(5)?,
                attributes_hash: row
                    .get::<pgrx::Uuid>(6)?
                    .map(|uuid| u128::from_be_bytes(*uuid.as_bytes())),
                geometry_hash: row
                    .get::<pgrx::Uuid>(7)?
                    .map(|uuid| u128::from_be_bytes(*uuid.as_bytes())),
                last_run: row.get::<i64>(8)?.unwrap_or_default(),
                foreign: row.get::<i64>(9)? == Some(ADOPTED) && row.get::<pgrx::Uuid>(6)?.is_none(),
            });
        }
        Ok(found)
    })
}

/// Keeps the lineage of rows that are to be changed as it was found, until the end of the transaction: another writer of
/// the run may be about to change them. Fails as a serialization failure when one has. In the order of their rows, so
/// that two never wait for each other.
pub fn hold(
    source_id: i32,
    run_id: i64,
    known: &[(Observation, i64, bool)],
) -> Result<(), Failure> {
    let own = || known.iter().filter(|(.., adopt)| !adopt);
    let ids: Vec<i64> = own().map(|(_, id, _)| *id).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let expected = ids.len() as i64;
    let keys: Vec<String> = own().map(|(o, ..)| o.key.clone()).collect();
    let uuids: Vec<Option<pgrx::Uuid>> = own()
        .map(|(o, ..)| o.uuid.map(pgrx::Uuid::from_bytes))
        .collect();
    let held = Spi::get_one_with_args::<i64>(
        "WITH held AS (
             SELECT h.id_synthese
             FROM unnest($3::bigint[], $4::text[], $5::uuid[]) n(id_synthese, source_key, uuid)
             JOIN gn_harvest.harvested h ON h.id_synthese = n.id_synthese
             WHERE h.source_id = $1 AND (h.source_key = n.source_key OR h.uuid = n.uuid AND h.last_run <> $2)
             ORDER BY h.id_synthese FOR NO KEY UPDATE OF h)
         SELECT count(*) FROM held",
        &[
            source_id.into(),
            run_id.into(),
            ids.into(),
            keys.into(),
            uuids.into(),
        ],
    )?;
    if held == Some(expected) {
        return Ok(());
    }
    Err(Failure::new(
        "40001",
        "another session has changed what is known of these observations",
    ))
}

/// Asks the target for the rows that the lineage names and for those that have a UUID of the batch.
/// As the source's owner.
pub fn held(lineage: &[Lineage], observations: &[Observation]) -> Result<Vec<Held>, Failure> {
    let ids: Vec<i32> = lineage
        .iter()
        .filter_map(|row| row.id_synthese)
        .map(|id| id as i32)
        .collect();
    let uuids: Vec<pgrx::Uuid> = observations
        .iter()
        .filter_map(|o| o.uuid)
        .map(pgrx::Uuid::from_bytes)
        .collect();
    Spi::connect(|client| {
        let rows = client.select(
            "SELECT s.id_synthese, s.unique_id_sinp, s.id_source, t.name_source::text
             FROM (SELECT id_synthese, unique_id_sinp, id_source FROM gn_synthese.synthese WHERE id_synthese = ANY ($1)
                   UNION ALL
                   SELECT id_synthese, unique_id_sinp, id_source FROM gn_synthese.synthese WHERE unique_id_sinp = ANY ($2)) s
             JOIN gn_synthese.t_sources t USING (id_source)",
            None,
            &[ids.into(), uuids.into()],
        )?;
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            found.push(Held {
                id_synthese: i64::from(row.get::<i32>(1)?.unwrap_or_default()),
                uuid: row.get::<pgrx::Uuid>(2)?.map(|uuid| *uuid.as_bytes()),
                id_source: row.get::<i32>(3)?.unwrap_or_default(),
                owner: row.get::<String>(4)?.unwrap_or_default(),
            });
        }
        Ok(found)
    })
}

impl Known {
    pub fn new(source_id: i32, lineage: Vec<Lineage>, held: Vec<Held>) -> Self {
        let mut by_key = HashMap::with_capacity(lineage.len());
        let mut by_uuid: HashMap<[u8; 16], Vec<Lineage>> = HashMap::with_capacity(lineage.len());
        for row in lineage {
            if row.source_id == source_id
                && let Some(key) = &row.source_key
            {
                by_key.insert(key.clone(), row.clone());
            }
            if let Some(uuid) = row.uuid {
                by_uuid.entry(uuid).or_default().push(row);
            }
        }
        let held_ids = held.iter().map(|row| row.id_synthese).collect();
        let held_by_uuid = held
            .into_iter()
            .filter_map(|row| row.uuid.map(|uuid| (uuid, row)))
            .collect();
        Known {
            by_key,
            by_uuid,
            held_ids,
            held_by_uuid,
            claimed: HashMap::new(),
            duplicates: HashMap::new(),
        }
    }

    /// Records whose UUID is here under another key of the source: (key of the record, row).
    pub fn moved(&self, observations: &[Observation], source_id: i32) -> HashMap<String, i64> {
        observations
            .iter()
            .filter_map(|observation| {
                let (row, id_synthese) = self.own(observation, source_id)?;
                (row.source_key.as_ref() != Some(&observation.key))
                    .then(|| (observation.key.clone(), id_synthese))
            })
            .collect()
    }

    /// Gives the rows of records that moved to their new keys, but for those of which `duplicates` says that the UUID
    /// was that of another key before: both keys had come then, so nothing moved.
    pub fn claim(&mut self, moved: HashMap<String, i64>, duplicates: HashMap<String, [u8; 16]>) {
        self.claimed = moved
            .into_iter()
            .filter(|(key, _)| !duplicates.contains_key(key))
            .map(|(key, id_synthese)| (id_synthese, key))
            .collect();
        self.duplicates = duplicates;
    }

    /// Whether a record was rejected before because its UUID was that of another one, whatever key that one has now.
    fn is_copy(&self, observation: &Observation) -> bool {
        let uuid = self.duplicates.get(&observation.key);
        uuid.is_some() && uuid == observation.uuid.as_ref()
    }

    /// The row of this source that has the UUID of an observation.
    fn own(&self, observation: &Observation, source_id: i32) -> Option<(&Lineage, i64)> {
        self.by_uuid
            .get(&observation.uuid?)?
            .iter()
            .filter(|row| row.source_id == source_id)
            .find_map(|row| self.alive(row))
    }

    /// Whether the lineage's row is in the target still; someone may have deleted it there.
    fn alive<'a>(&self, row: &'a Lineage) -> Option<(&'a Lineage, i64)> {
        row.id_synthese
            .filter(|id| self.held_ids.contains(id))
            .map(|id| (row, id))
    }

    /// Rows of the target that this source's lineage has under the key or the UUID of an observation and that someone
    /// has deleted: the observation takes their place.
    pub fn lost(&self, observation: &Observation, source_id: i32) -> impl Iterator<Item = i64> {
        let by_key = self.by_key.get(&observation.key);
        let by_uuid = observation.uuid.and_then(|uuid| self.by_uuid.get(&uuid));
        let own = by_uuid
            .into_iter()
            .flatten()
            .filter(move |row| row.source_id == source_id);
        by_key
            .into_iter()
            .chain(own)
            .filter(|row| self.alive(row).is_none())
            .filter_map(|row| row.id_synthese)
    }

    /// Decides for one observation.
    pub fn decide(&self, observation: &Observation, claimant: &Claimant) -> Decision {
        let by_key = self
            .by_key
            .get(&observation.key)
            .and_then(|row| self.alive(row))
            .filter(|(_, id)| {
                self.claimed
                    .get(id)
                    .is_none_or(|key| *key == observation.key)
            });
        let own = self.own(observation, claimant.source_id);
        if let Some(rejection) = still_duplicate(observation, own, by_key, claimant) {
            return Decision::Reject(Box::new(rejection));
        }
        if let Some((row, id_synthese)) = own {
            return self.decide_known(observation, row, id_synthese, claimant);
        }
        let holder = observation
            .uuid
            .and_then(|uuid| self.held_by_uuid.get(&uuid));
        match (by_key, holder) {
            (Some((row, id)), None) => self.decide_known(observation, row, id, claimant),
            (Some((row, id)), Some(holder)) if holder.id_synthese == id => {
                self.decide_known(observation, row, id, claimant)
            }
            (Some(_), Some(holder)) => reject(
                observation,
                Reason::IdentityConflict,
                &holder.owner,
                format!(
                    "its key names one observation here, its UUID another one, of source \"{}\"",
                    holder.owner
                ),
            ),
            (None, Some(holder)) => decide_held(observation, holder, claimant),
            (None, None) => Decision::Insert,
        }
    }

    fn decide_known(
        &self,
        observation: &Observation,
        row: &Lineage,
        id_synthese: i64,
        claimant: &Claimant,
    ) -> Decision {
        let same_key = row.source_key.as_deref() == Some(observation.key.as_str());
        if !same_key
            && let Some(other) = &row.source_key
            && (row.last_run == claimant.run_id || self.is_copy(observation))
        {
            // The other may come under a new key of its own.
            let other = self.claimed.get(&id_synthese).unwrap_or(other);
            return Decision::Reject(Box::new(duplicate(observation, other)));
        }
        if same_key && row.last_run == claimant.run_id && are_two(row.uuid, observation.uuid) {
            return Decision::Reject(Box::new(same_key_as(observation)));
        }
        if same_key
            && row.uuid == observation.uuid
            && row.attributes_hash == Some(observation.attributes_hash)
            && row.geometry_hash == Some(observation.geometry_hash)
        {
            return Decision::Unchanged;
        }
        let displaced = self
            .by_key
            .get(&observation.key)
            .filter(|other| other.id_synthese != row.id_synthese && self.alive(other).is_some());
        Decision::Update {
            id_synthese,
            displaced: displaced.and_then(|other| other.source_key.clone()),
            adopt: false,
            fills: row.foreign,
        }
    }
}

/// No lineage, but the target has the UUID: ours by id_source (an earlier installation), or another source's.
fn decide_held(observation: &Observation, holder: &Held, claimant: &Claimant) -> Decision {
    let adopt = Decision::Update {
        id_synthese: holder.id_synthese,
        displaced: None,
        adopt: true,
        fills: false,
    };
    if holder.id_source == claimant.id_source {
        return adopt;
    }
    match claimant.on_conflict {
        OnUuidConflict::TakeOver => adopt,
        OnUuidConflict::Skip => Decision::Skip,
        // Data that no source of ours brought is local: it is never taken over by priority.
        OnUuidConflict::Priority => match claimant.priorities.get(&holder.id_source) {
            Some(other) if claimant.priority < *other => adopt,
            _ => Decision::Skip,
        },
        OnUuidConflict::Reject => reject(
            observation,
            Reason::UuidOwnedByOtherSource,
            &holder.owner,
            format!(
                "its UUID is that of an observation of source \"{}\" (id_synthese {})",
                holder.owner, holder.id_synthese
            ),
        ),
    }
}

/// A record that was a duplicate of another one must not, when it is replayed without it, pass for that one.
fn still_duplicate(
    observation: &Observation,
    own: Option<(&Lineage, i64)>,
    by_key: Option<(&Lineage, i64)>,
    claimant: &Claimant,
) -> Option<Rejection> {
    match claimant.replayed? {
        Reason::DuplicateUuid => own
            .and_then(|(row, _)| row.source_key.as_deref())
            .filter(|key| *key != observation.key)
            .map(|key| duplicate(observation, key)),
        Reason::DuplicateKey => by_key
            .filter(|(row, _)| are_two(row.uuid, observation.uuid))
            .map(|_| same_key_as(observation)),
        _ => None,
    }
}

fn same_key_as(observation: &Observation) -> Rejection {
    same_key(&observation.key, observation.uuid)
}

/// Another record of the same source came with the same UUID.
pub fn duplicate(observation: &Observation, other: &str) -> Rejection {
    let message = format!("the record with key {other} of the same source came with the same UUID");
    rejection(observation, Reason::DuplicateUuid, other, message)
}

fn reject(observation: &Observation, reason: Reason, value: &str, message: String) -> Decision {
    Decision::Reject(Box::new(rejection(observation, reason, value, message)))
}

fn rejection(observation: &Observation, reason: Reason, value: &str, message: String) -> Rejection {
    Rejection {
        reason,
        key: Some(observation.key.clone()),
        uuid: observation.uuid,
        column: Some("unique_id_sinp".to_owned()),
        value: Some(value.to_owned()),
        message,
    }
}

/// Priorities of the sources of this database, by their row in gn_synthese.t_sources.
pub fn priorities() -> Result<HashMap<i32, i32>, Failure> {
    Spi::connect(|client| {
        let mut found = HashMap::new();
        let query = "SELECT st.id_source, s.priority FROM gn_harvest.source s JOIN gn_harvest.source_state st ON st.source_id = s.id
                     WHERE st.id_source IS NOT NULL";
        for row in client.select(query, None, &[])? {
            found.extend(row.get::<i32>(1)?.zip(row.get::<i32>(2)?));
        }
        Ok(found)
    })
}
