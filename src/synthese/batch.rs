//! One batch on its way into gn_synthese: resolved, sorted by what becomes of each record, written, with its lineage and
//! dead letters.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use pgrx::prelude::*;

use super::fast::Load;
use super::identity::{self, Claimant, Decision, Known};
use super::lineage::{self, Placed};
use super::rejects::{self, DeadLetter};
use super::resolve::{Observation, Unknown};
use super::write::{self, Change};
use super::{Synthese, gather};
use crate::error::Failure;
use crate::mapping::column_index;
use crate::postgres;
use crate::record::{self, Batch, Reason, Rejection, Value};
use crate::run::Counts;
use crate::source::Source;
use crate::target::{Parsed, Reader, Target};

/// Item, why, SQLSTATE.
type Refusal = (usize, Rejection, String);

/// How often a batch is decided anew because another session was faster.
const ATTEMPTS: usize = 5;

/// What became of what was to be written.
struct Written {
    /// Item, key, UUID.
    placed: Vec<(usize, String, Option<[u8; 16]>)>,
    refused: Vec<Refusal>,
    counts: Counts,
}

/// Observations by what becomes of them.
#[derive(Default)]
pub(super) struct Sorted {
    pub new: Vec<Observation>,
    /// With their row, and whether it has to be adopted.
    pub known: Vec<(Observation, i64, bool)>,
    /// Keys that name another record now.
    pub displaced: Vec<String>,
    /// Keys and UUIDs of those that need no write.
    settled: Vec<(String, Option<[u8; 16]>)>,
    /// Rows of the target that are gone, with the item that takes their place.
    lost: HashMap<i64, usize>,
}

impl Sorted {
    /// What is to be written: items, and the rows that they are to change.
    fn wanted(&self) -> Vec<(usize, Option<i64>)> {
        let known = self.known.iter().map(|(o, id, _)| (o.item, Some(*id)));
        let new = self.new.iter().map(|o| (o.item, None));
        new.chain(known).collect()
    }

    /// The observations that are to be written.
    fn pending(self) -> Vec<Observation> {
        let known = self.known.into_iter().map(|(observation, ..)| observation);
        let mut pending: Vec<Observation> = self.new.into_iter().chain(known).collect();
        pending.sort_unstable_by_key(|observation| observation.item);
        pending
    }

    /// By how much the source holds more once these items are written. Rows that were not its own before: those
    /// inserted, which no update placed, and those adopted; less those that it counted and that someone had deleted here.
    pub fn gained(&self, written: &HashSet<usize>) -> i64 {
        let kept = self
            .known
            .iter()
            .filter(|(observation, _, adopt)| !adopt && written.contains(&observation.item))
            .count();
        let lost = self
            .lost
            .values()
            .filter(|item| written.contains(*item))
            .count();
        written.len() as i64 - kept as i64 - lost as i64
    }
}

impl Target for Synthese {
    fn reader(&self) -> Reader {
        let lengths = self.lengths();
        Arc::new(move |items, layout| record::parse_page(items.iter().copied(), layout, &lengths))
    }

    fn prepare(&mut self, pages: &[&Parsed], counts: &mut Counts) -> Result<String, Failure> {
        let records = pages
            .iter()
            .flat_map(|page| &page.batch.records)
            .map(|(_, record)| record);
        let references = pages.iter().flat_map(|page| &page.batch.datasets).cloned();
        self.learn_formats(records.clone())?;
        self.hear(references.collect(), records.clone())?;
        let datasets = records.filter_map(|record| record.dataset.as_deref());
        let created = self.as_owner(|synthese| {
            let uuids: HashSet<[u8; 16]> = datasets
                .clone()
                .filter_map(|dataset| dataset.uuid)
                .collect();
            synthese.learn_datasets(uuids.into_iter())?;
            synthese.ensure_datasets(datasets)
        })?;
        self.tell(created, counts)?;
        // Those of the others.
        self.has_rejects = true;
        Ok(serde_json::to_string(self.formats.found()).unwrap_or_default())
    }

    fn follow(&mut self, findings: &str) {
        self.follows = true;
        self.shared = true;
        self.has_rejects = true;
        if let Ok(found) = serde_json::from_str(findings) {
            self.formats.follow(found);
        }
    }

    fn write(
        &mut self,
        texts: &[Vec<String>],
        batches: Vec<Batch>,
        counts: &mut Counts,
    ) -> Result<(), Failure> {
        let (records, items, mut letters, references) = gather::gather(texts, batches, counts);
        if !self.follows {
            let said = records.iter().map(|(_, record)| record);
            self.learn_formats(said.clone())?;
            self.hear(references, said)?;
        }
        let mut unknown = Unknown::new();
        let (observations, created) = self
            .as_owner(|synthese| synthese.resolve(records, &items, &mut letters, &mut unknown))?;
        self.tell(created, counts)?;
        let gained = self.place(observations, &items, &mut letters, counts)?;
        let kept = rejects::keep(self.source_id, self.run_id, &letters)?;
        counts.rejected += kept.waiting;
        counts.skipped += kept.discarded;
        self.has_rejects |= !letters.is_empty();
        rejects::tell_unknown(self.source_id, self.run_id, &unknown)?;
        Spi::run_with_args(
            "UPDATE gn_harvest.source_state SET observations = observations + $2 WHERE source_id = $1 AND $2 <> 0",
            &[self.source_id.into(), gained.into()],
        )?;
        self.tally.written(self.source_id)
    }

    fn delete(&mut self, ids: &[i64]) -> Result<(usize, Option<String>), Failure> {
        let id_source = self.id_source;
        let (deleted, refused) = self.as_owner(|synthese| {
            write::delete(id_source, ids, &mut synthese.touched.borrow_mut())
        })?;
        lineage::bury(self.source_id, self.run_id, &deleted)?;
        self.tally.written(self.source_id)?;
        Ok((
            deleted.len(),
            refused
                .first()
                .map(|refused| refused.failure.message.clone()),
        ))
    }

    fn datasets_here(&mut self, batch: Batch) -> Result<HashSet<String>, Failure> {
        self.find_datasets(batch)
    }

    fn renew(&mut self, source: &Source) -> Result<bool, Failure> {
        self.look_again(source)?;
        Ok(true)
    }

    fn replaying(&mut self, refused_as: Option<Reason>) {
        self.replayed = refused_as;
    }
}

impl Synthese {
    /// Writes observations with their lineage; by how much the source holds more then. Another session may bring a UUID
    /// at the same time, or change a row that was recognised: then what is still to be written is recognised again.
    fn place<'i>(
        &mut self,
        observations: Vec<Observation>,
        items: &[&'i str],
        letters: &mut Vec<DeadLetter<'i>>,
        counts: &mut Counts,
    ) -> Result<i64, Failure> {
        let (mut pending, mut settled, mut before) = (observations, Vec::new(), None);
        for attempt in 1.. {
            let known = self.recognise(&pending)?;
            let mut sorted = self.sort(known, pending, items, letters, counts)?;
            sorted.settled.append(&mut settled);
            let wanted = sorted.wanted();
            // Decided the same again, a violation is not that of another session.
            let strict = attempt < ATTEMPTS && before.as_ref() != Some(&wanted);
            let written = self.attempt(&sorted, strict);
            match written {
                Err(failure) if attempt < ATTEMPTS && failure.is_overtaken() => {
                    before = failure.is_duplicate().then_some(wanted);
                    settled = std::mem::take(&mut sorted.settled);
                    pending = sorted.pending();
                }
                Err(failure) => return Err(failure),
                Ok(written) => return self.close(&sorted, written, items, letters, counts),
            }
        }
        Ok(0)
    }

    /// Writes what was decided, with the lineage, all or nothing.
    fn attempt(&mut self, sorted: &Sorted, strict: bool) -> Result<Written, Failure> {
        postgres::subtransaction(|| {
            if self.shared {
                identity::hold(self.source_id, self.run_id, &sorted.known)?;
            }
            let mut counts = Counts::default();
            let (placed, refused) =
                self.as_owner(|synthese| synthese.write_sorted(sorted, strict, &mut counts))?;
            let displaced = sorted.displaced.clone();
            lineage::record(self.source_id, self.run_id, &placed, displaced)?;
            let placed = placed.iter().map(|p| p.observation);
            Ok(Written {
                placed: placed.map(|o| (o.item, o.key.clone(), o.uuid)).collect(),
                refused,
                counts,
            })
        })
    }

    /// What is to be noted of a batch that is written.
    fn close<'i>(
        &mut self,
        sorted: &Sorted,
        written: Written,
        items: &[&'i str],
        letters: &mut Vec<DeadLetter<'i>>,
        counts: &mut Counts,
    ) -> Result<i64, Failure> {
        counts.inserted += written.counts.inserted;
        counts.updated += written.counts.updated;
        counts.unchanged += written.counts.unchanged;
        for (item, rejection, sqlstate) in written.refused {
            letters.push(DeadLetter {
                rejection,
                sqlstate: Some(sqlstate),
                payload: items[item],
            });
        }
        let placed_items: HashSet<usize> = written.placed.iter().map(|(item, ..)| *item).collect();
        let placed = written.placed.into_iter().map(|(_, key, uuid)| (key, uuid));
        self.settle(sorted, placed, letters.is_empty())?;
        Ok(sorted.gained(&placed_items))
    }

    /// What is known of some observations, here and in the target.
    fn recognise(&mut self, observations: &[Observation]) -> Result<Known, Failure> {
        let lineage = identity::lineage(self.source_id, observations)?;
        let held = self.as_owner(|_| identity::held(&lineage, observations))?;
        Ok(Known::new(self.source_id, lineage, held))
    }

    /// Decides what becomes of each observation.
    pub(super) fn sort<'i>(
        &self,
        mut known: Known,
        observations: Vec<Observation>,
        items: &[&'i str],
        letters: &mut Vec<DeadLetter<'i>>,
        counts: &mut Counts,
    ) -> Result<Sorted, Failure> {
        let moved = known.moved(&observations, self.source_id);
        if !moved.is_empty() {
            let duplicates = rejects::duplicates(self.source_id, moved.keys())?;
            known.claim(moved, duplicates);
        }
        let claimant = Claimant {
            source_id: self.source_id,
            id_source: self.id_source,
            run_id: self.run_id,
            on_conflict: self.on_conflict,
            priority: self.priority,
            priorities: &self.priorities,
            replayed: self.replayed,
        };
        let mut sorted = Sorted::default();
        let mut uuids: HashMap<[u8; 16], String> = HashMap::new();
        for mut observation in observations {
            if let Some(uuid) = observation.uuid
                && let Some(other) = uuids.get(&uuid)
            {
                letters.push(DeadLetter {
                    rejection: identity::duplicate(&observation, other),
                    sqlstate: None,
                    payload: items[observation.item],
                });
                continue;
            }
            for id_synthese in known.lost(&observation, self.source_id) {
                sorted.lost.insert(id_synthese, observation.item);
            }
            let decision = known.decide(&observation, &claimant);
            // One that is rejected stands in nobody's way, whichever comes first.
            if let Some(uuid) = observation.uuid
                && !matches!(decision, Decision::Reject(_))
            {
                uuids.insert(uuid, observation.key.clone());
            }
            match decision {
                Decision::Insert => sorted.new.push(observation),
                Decision::Update {
                    id_synthese,
                    displaced,
                    adopt,
                    fills,
                } => {
                    observation.fills = fills;
                    sorted.displaced.extend(displaced);
                    sorted.known.push((observation, id_synthese, adopt));
                }
                Decision::Unchanged => {
                    counts.unchanged += 1;
                    sorted.settled.push((observation.key, observation.uuid));
                }
                Decision::Skip => {
                    counts.skipped += 1;
                    sorted.settled.push((observation.key, observation.uuid));
                }
                Decision::Reject(rejection) => {
                    letters.push(DeadLetter {
                        rejection: *rejection,
                        sqlstate: None,
                        payload: items[observation.item],
                    });
                }
            }
        }
        Ok(sorted)
    }

    fn write_sorted<'s>(
        &mut self,
        sorted: &'s Sorted,
        strict: bool,
        counts: &mut Counts,
    ) -> Result<(Vec<Placed<'s>>, Vec<Refusal>), Failure> {
        let changes: Vec<Change> = sorted
            .known
            .iter()
            .map(|(observation, id_synthese, _)| Change {
                observation,
                id_synthese: *id_synthese,
            })
            .collect();
        let (updated, mut refused) = write::update(
            &self.referential,
            self.id_source,
            &self.rules.protected,
            &changes,
            strict,
            &mut self.touched.borrow_mut(),
        )?;
        let new: Vec<&Observation> = sorted.new.iter().collect();
        let (inserted, refused_new) = match &self.load {
            Load::Fast(fast) => fast.insert(&self.referential, self.id_source, &new, strict)?,
            _ => write::insert(&self.referential, self.id_source, &new, strict)?,
        };
        refused.extend(refused_new);
        let refused_items: HashSet<usize> = refused.iter().map(|refused| refused.item).collect();
        counts.inserted += inserted.len() as i64;
        counts.updated += updated.len() as i64;
        counts.unchanged += (changes
            .iter()
            .filter(|c| !refused_items.contains(&c.observation.item))
            .count()
            - updated.len()) as i64;
        self.note_touched(
            updated
                .iter()
                .map(|position| changes[*position].observation)
                .chain(inserted.iter().map(|(position, _)| new[*position])),
        );
        let placed_new = inserted.iter().map(|(position, place)| Placed {
            observation: new[*position],
            place: *place,
            adopted: false,
        });
        let known: Vec<&(Observation, i64, bool)> = sorted
            .known
            .iter()
            .filter(|(observation, ..)| !refused_items.contains(&observation.item))
            .collect();
        let ids: Vec<i64> = known.iter().map(|(_, id, _)| *id).collect();
        let places = write::places(&ids)?;
        let placed_known = known.into_iter().filter_map(|(observation, id, adopt)| {
            Some(Placed {
                observation,
                place: *places.get(id)?,
                adopted: *adopt,
            })
        });
        let placed = placed_known.chain(placed_new).collect();
        let by_item: HashMap<usize, &Observation> = sorted
            .new
            .iter()
            .chain(sorted.known.iter().map(|(o, ..)| o))
            .map(|o| (o.item, o))
            .collect();
        let refusals = refused.into_iter().filter_map(|refused| {
            let observation = by_item.get(&refused.item)?;
            let column = write::column_of(&refused.failure.message, &self.referential.constraints);
            let rejection = rejects::refused(
                observation.key.clone(),
                observation.uuid,
                column,
                &refused.failure,
            );
            Some((refused.item, rejection, refused.failure.sqlstate))
        });
        Ok((placed, refusals.collect()))
    }

    fn note_touched<'o>(&self, observations: impl Iterator<Item = &'o Observation>) {
        let taxon = column_index("cd_nom");
        let mut touched = self.touched.borrow_mut();
        for observation in observations {
            let cd_nom = match taxon.and_then(|index| observation.values.get(index)) {
                Some(Value::Integer(number)) => Some(*number),
                _ => None,
            };
            touched.note(cd_nom, Some(observation.id_dataset));
        }
    }

    fn settle(
        &self,
        sorted: &Sorted,
        placed: impl Iterator<Item = (String, Option<[u8; 16]>)>,
        none_rejected: bool,
    ) -> Result<(), Failure> {
        if !self.has_rejects && none_rejected {
            return Ok(());
        }
        let written = sorted.settled.iter().cloned().chain(placed);
        rejects::settle(self.source_id, written)
    }
}
