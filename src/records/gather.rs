//! The records of some pages side by side, each key once.

use std::collections::HashMap;

use crate::record::{Batch, Item, Reason, Rejection, hash};
use crate::run::Counts;
use crate::synthese::rejects::DeadLetter;

/// A record on its way into the table.
pub struct Kept<'i> {
    pub key: String,
    pub key_number: Option<i64>,
    pub record: Item,
    pub wkb: Option<Vec<u8>>,
    pub geometry_hash: u128,
    /// The item as it came.
    pub payload: &'i str,
}

impl Kept<'_> {
    pub fn uuid(&self) -> Option<[u8; 16]> {
        self.record.uuid
    }
}

/// Records in the order of their keys, and those that were rejected already.
#[derive(Default)]
pub struct Gathered<'i> {
    pub kept: Vec<Kept<'i>>,
    pub letters: Vec<DeadLetter<'i>>,
}

/// What a view gives twice counts once. Another record under a key that was taken is not lost in that: it is rejected.
pub fn gather<'i>(
    texts: &'i [Vec<String>],
    batches: Vec<Batch>,
    counts: &mut Counts,
) -> Gathered<'i> {
    let mut gathered = Gathered::default();
    let mut by_key: HashMap<String, (u128, u128)> = HashMap::new();
    let mut rejected = Vec::new();
    for (items, batch) in texts.iter().zip(batches) {
        counts.pages += 1;
        counts.fetched += items.len() as i64;
        for (position, record) in batch.records {
            let (Some(key), Some(item)) = (record.key, record.item) else {
                continue;
            };
            let wkb = record.geometry.map(|geometry| geometry.wkb);
            let geometry_hash = hash::geometry(wkb.as_deref());
            let looks = (item.hash, geometry_hash);
            let payload = items[position].as_str();
            match by_key.get(&key) {
                Some(other) if *other == looks => counts.repeated += 1,
                Some(_) => gathered
                    .letters
                    .push(letter(same_key(&key, item.uuid), payload)),
                None => {
                    by_key.insert(key.clone(), looks);
                    gathered.kept.push(Kept {
                        key,
                        key_number: record.key_number,
                        record: item,
                        wkb,
                        geometry_hash,
                        payload,
                    });
                }
            }
        }
        let refused = batch.rejected.into_iter();
        rejected.extend(refused.map(|(position, rejection)| (items[position].as_str(), rejection)));
    }
    // Good ones first: of a key that comes twice, the record that can be written is.
    for (payload, rejection) in rejected {
        let rejection = match rejection.key.clone().filter(|key| !key.is_empty()) {
            Some(key) if by_key.contains_key(&key) => same_key(&key, rejection.uuid),
            Some(key) => {
                by_key.insert(key, (0, 0));
                rejection
            }
            None => rejection,
        };
        gathered.letters.push(letter(rejection, payload));
    }
    gathered
        .kept
        .sort_by(|a, b| (a.key_number, &a.key).cmp(&(b.key_number, &b.key)));
    gathered
}

fn letter(rejection: Rejection, payload: &str) -> DeadLetter<'_> {
    DeadLetter {
        rejection,
        sqlstate: None,
        payload,
    }
}

/// Another record of the export came with the same key.
pub fn same_key(key: &str, uuid: Option<[u8; 16]>) -> Rejection {
    Rejection {
        reason: Reason::DuplicateKey,
        key: Some(key.to_owned()),
        uuid,
        column: None,
        value: Some(key.to_owned()),
        message: format!(
            "another record of the export came with the key {key}; key_column of the source can name another column"
        ),
    }
}
