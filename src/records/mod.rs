//! A batch of records into gn_harvest.record, whole, for databases that are no GeoNature: recognise, write what changed,
//! keep lineage and dead letters. All of it in the caller's transaction. The table is the extension's own: nobody else
//! writes it, so neither the rights of the source's owner nor triggers come in.

mod gather;
mod identity;
mod planner;
mod write;

use std::collections::HashSet;
use std::sync::Arc;

use pgrx::prelude::*;

use crate::error::Failure;
use crate::record::{self, Batch, Lengths, Reason};
use crate::run::{self, Counts};
use crate::source::Source;
use crate::synthese::lineage;
use crate::synthese::rejects::{self, DeadLetter};
use crate::target::{Reader, Target};
use gather::{Gathered, Kept};
use identity::{Decision, Known};
pub use planner::RecordsPlanner;
use write::Change;

/// The target of a run.
pub struct Records {
    source_id: i32,
    run_id: i64,
    /// Whether a record that comes with the UUID of another one, under another key, is that one.
    by_uuid: bool,
    has_rejects: bool,
    replayed: Option<Reason>,
    /// Nothing is written: what would be is kept in mind.
    plans: bool,
    flaws: Flaws,
}

/// Records by what becomes of them.
#[derive(Default)]
struct Sorted<'k, 'i> {
    new: Vec<&'k Kept<'i>>,
    changed: Vec<Change<'k>>,
    lost: HashSet<String>,
}

/// Geometries that could not be read.
#[derive(Default)]
struct Flaws {
    records: usize,
    first: Option<String>,
}

impl Records {
    /// In a transaction.
    pub fn open(source: &Source, run_id: i64) -> Result<Self, Failure> {
        Ok(Records {
            source_id: source.id,
            run_id,
            // Whoever names the key says that nothing else identifies a record: its UUID may be that of what it is about.
            by_uuid: source.key_column.is_none(),
            has_rejects: rejects::any(source.id)?,
            replayed: None,
            plans: false,
            flaws: Flaws::default(),
        })
    }

    /// Says how many records are here without the geometry that their item has.
    pub fn tell_flaws(&mut self) -> Result<(), Failure> {
        match self.flaws_in_words() {
            None => Ok(()),
            Some(text) => run::warn(self.run_id, &text),
        }
    }

    fn flaws_in_words(&mut self) -> Option<String> {
        let Flaws { records, first } = std::mem::take(&mut self.flaws);
        first.map(|first| {
            format!(
                "{records} records are here without geometry, theirs could not be read: {first}"
            )
        })
    }

    fn note_flaws(&mut self, kept: &[Kept]) {
        for kept in kept {
            if let Some(flaw) = &kept.record.flaw {
                self.flaws.records += 1;
                self.flaws
                    .first
                    .get_or_insert_with(|| format!("that of record {}, {flaw}", kept.key));
            }
        }
    }

    fn sort<'k, 'i>(
        &self,
        kept: &'k [Kept<'i>],
        letters: &mut Vec<DeadLetter<'i>>,
        counts: &mut Counts,
    ) -> Result<Sorted<'k, 'i>, Failure> {
        let mut known = Known::read(self.source_id, self.run_id, self.by_uuid, self.plans, kept)?;
        let mut sorted = Sorted::default();
        for kept in kept {
            match known.decide(kept, self.replayed) {
                Decision::Insert => sorted.new.push(kept),
                Decision::Unchanged => counts.unchanged += 1,
                Decision::Update(change) => sorted.changed.push(change),
                Decision::Duplicate => letters.push(DeadLetter {
                    rejection: gather::same_key(&kept.key, kept.uuid()),
                    sqlstate: None,
                    payload: kept.payload,
                }),
            }
        }
        sorted.lost = known.lost;
        Ok(sorted)
    }

    /// What waited for these records to be written is moot.
    fn settle(&self, kept: &[Kept], letters: &[DeadLetter]) -> Result<(), Failure> {
        if !self.has_rejects && letters.is_empty() {
            return Ok(());
        }
        let waiting: HashSet<*const u8> = letters.iter().map(|l| l.payload.as_ptr()).collect();
        let here = kept
            .iter()
            .filter(|kept| !waiting.contains(&kept.payload.as_ptr()));
        let identities =
            here.flat_map(|kept| [kept.key.clone(), rejects::identity_by_payload(kept.payload)]);
        rejects::settle(self.source_id, identities.map(|identity| (identity, None)))
    }
}

impl Target for Records {
    fn reader(&self) -> Reader {
        Arc::new(|items, layout| {
            record::parse_page(items.iter().copied(), layout, &Lengths::default())
        })
    }

    fn write(
        &mut self,
        texts: &[Vec<String>],
        batches: Vec<Batch>,
        counts: &mut Counts,
    ) -> Result<(), Failure> {
        let Gathered { kept, mut letters } = gather::gather(texts, batches, counts);
        let sorted = self.sort(&kept, &mut letters, counts)?;
        let (source_id, run_id) = (self.source_id, self.run_id);
        let mut refused = Vec::new();
        counts.updated += write::update(source_id, run_id, &sorted.changed, &mut refused)?;
        let (inserted, gained) =
            write::insert(source_id, run_id, &sorted.new, &sorted.lost, &mut refused)?;
        counts.inserted += inserted;
        for (kept, failure) in refused {
            letters.push(DeadLetter {
                rejection: rejects::refused(kept.key.clone(), kept.uuid(), None, &failure),
                sqlstate: Some(failure.sqlstate),
                payload: kept.payload,
            });
        }
        self.settle(&kept, &letters)?;
        let stored = rejects::keep(self.source_id, self.run_id, &letters)?;
        counts.rejected += stored.waiting;
        counts.skipped += stored.discarded;
        self.has_rejects |= !letters.is_empty();
        Spi::run_with_args(
            "UPDATE gn_harvest.source_state SET observations = observations + $2 WHERE source_id = $1 AND $2 <> 0",
            &[self.source_id.into(), gained.into()],
        )?;
        // Last: a batch that fails before it is written again.
        self.note_flaws(&kept);
        Ok(())
    }

    fn renew(&mut self, source: &Source) -> Result<bool, Failure> {
        self.has_rejects |= rejects::any(source.id)?;
        Ok(true)
    }

    fn replaying(&mut self, reason: Option<Reason>) {
        self.replayed = reason;
    }

    fn delete(&mut self, ids: &[i64]) -> Result<(usize, Option<String>), Failure> {
        Spi::run_with_args(
            "DELETE FROM gn_harvest.record WHERE source_id = $1 AND id = ANY ($2)",
            &[self.source_id.into(), ids.to_vec().into()],
        )?;
        lineage::bury(self.source_id, self.run_id, ids)?;
        Ok((ids.len(), None))
    }
}
