//! The records of some pages side by side, each once: what a view gives twice, and what comes under another's key.

use std::collections::HashMap;
use std::sync::Arc;

use super::rejects::{self, DeadLetter};
use crate::record::{Batch, DatasetReference, Record};
use crate::run::Counts;

/// Records, items, those rejected already, and what came of datasets: that of repeated records too.
pub type Gathered<'p> = (
    Vec<(usize, Record)>,
    Vec<&'p str>,
    Vec<DeadLetter<'p>>,
    Vec<Arc<DatasetReference>>,
);

/// The records of some pages, their items side by side, and those rejected already. What a view gives twice counts
/// once; a record that comes under the key of another one is not lost in that: it is rejected.
pub fn gather<'p>(
    texts: &'p [Vec<String>],
    batches: Vec<Batch>,
    counts: &mut Counts,
) -> Gathered<'p> {
    let (mut items, mut records, mut letters) = (Vec::new(), Vec::new(), Vec::new());
    let (mut references, mut rejected) = (Vec::new(), Vec::new());
    let mut seen: HashMap<String, Option<[u8; 16]>> = HashMap::new();
    for (texts, batch) in texts.iter().zip(batches) {
        let first = items.len();
        items.extend(texts.iter().map(String::as_str));
        counts.pages += 1;
        counts.fetched += texts.len() as i64;
        references.extend(batch.datasets);
        for (position, record) in batch.records {
            let (key, uuid) = (record.key.as_deref().unwrap_or_default(), record.uuid());
            match seen.get(key) {
                None => {
                    seen.insert(key.to_owned(), uuid);
                    records.push((first + position, record));
                }
                Some(other) if rejects::are_two(*other, uuid) => letters.push(DeadLetter {
                    rejection: rejects::same_key(key, uuid),
                    sqlstate: None,
                    payload: items[first + position],
                }),
                Some(_) => counts.repeated += 1,
            }
        }
        rejected.extend(
            batch
                .rejected
                .into_iter()
                .map(|(position, rejection)| (first + position, rejection)),
        );
    }
    // Good ones first: of a key that comes twice, the record that can be written is.
    for (item, rejection) in rejected {
        let key = rejection.key.clone().filter(|key| !key.is_empty());
        let before = key.and_then(|key| {
            seen.insert(key.clone(), rejection.uuid)
                .map(|uuid| (key, uuid))
        });
        let rejection = match before {
            None => rejection,
            Some((key, uuid)) if rejects::are_two(uuid, rejection.uuid) => {
                rejects::same_key(&key, rejection.uuid)
            }
            Some(_) => {
                counts.repeated += 1;
                continue;
            }
        };
        letters.push(DeadLetter {
            rejection,
            sqlstate: None,
            payload: items[item],
        });
    }
    (records, items, letters, references)
}
