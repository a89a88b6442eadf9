//! What a run would do to gn_harvest.record, found out by the code that would do it, without doing it. What later records
//! of the same run would find is in `synthese::planned`.

use serde_json::json;

use super::gather::{self, Gathered, Kept};
use super::{Records, write::Change};
use crate::error::Failure;
use crate::plan::tally::{Action, RECORD, Tally};
use crate::postgres;
use crate::record::{Batch, Reason};
use crate::run::Counts;
use crate::source::Source;
use crate::synthese::planned::{self, Row};
use crate::target::{Reader, Target};

pub struct RecordsPlanner {
    records: Records,
    inserted: i64,
    /// By how many records the source would hold more.
    pub gained: i64,
    pub tally: Tally,
}

impl RecordsPlanner {
    /// Outside of a transaction.
    pub fn open(source: &Source, run_id: i64) -> Result<Self, Failure> {
        let mut records = postgres::transaction(|| {
            planned::create()?;
            Records::open(source, run_id)
        })?;
        records.plans = true;
        Ok(RecordsPlanner {
            records,
            inserted: 0,
            gained: 0,
            tally: Tally::default(),
        })
    }

    /// Records that would be without the geometry that their item has.
    pub fn tell_flaws(&mut self) {
        let flaws = self.records.flaws_in_words();
        flaws.into_iter().for_each(|text| self.tally.warn(text));
    }

    fn count_new(&mut self, new: &[&Kept], placed: &mut Vec<Row>) {
        for kept in new {
            self.inserted += 1;
            placed.push(row(kept, -self.inserted));
            self.tally.add(Action::Insert, RECORD, 1);
            if self.tally.wants_sample(Action::Insert, RECORD, None) {
                self.tally
                    .sample(Action::Insert, RECORD, None, json!({"key": kept.key}));
            }
        }
    }

    fn count_changed(&mut self, changed: &[Change], placed: &mut Vec<Row>) {
        for change in changed {
            placed.push(row(change.kept, change.id));
            let parts = [
                (change.item, "item"),
                (change.geometry, "geometry"),
                (change.moved, "source_key"),
            ];
            let parts: Vec<&str> = parts
                .iter()
                .filter(|(is_so, _)| *is_so)
                .map(|(_, part)| *part)
                .collect();
            self.tally.add(Action::Update, RECORD, 1);
            for part in &parts {
                self.tally
                    .detail(Action::Update, RECORD, (*part).to_owned());
            }
            let sample = json!({"key": change.kept.key, "changes": parts});
            self.tally.sample(Action::Update, RECORD, None, sample);
        }
    }
}

fn row(kept: &Kept, id: i64) -> Row {
    Row {
        id,
        key_number: kept.key_number,
        key: Some(kept.key.clone()),
        uuid: kept.uuid(),
        attributes_hash: Some(kept.record.hash),
        geometry_hash: Some(kept.geometry_hash),
    }
}

impl Target for RecordsPlanner {
    fn reader(&self) -> Reader {
        self.records.reader()
    }

    /// Counts what would be written, and writes nothing.
    fn write(
        &mut self,
        texts: &[Vec<String>],
        batches: Vec<Batch>,
        counts: &mut Counts,
    ) -> Result<(), Failure> {
        let Gathered { kept, mut letters } = gather::gather(texts, batches, counts);
        self.records.note_flaws(&kept);
        let sorted = self.records.sort(&kept, &mut letters, counts)?;
        counts.inserted += sorted.new.len() as i64;
        counts.updated += sorted.changed.len() as i64;
        let gained = sorted
            .new
            .iter()
            .filter(|kept| !sorted.lost.contains(&kept.key));
        self.gained += gained.count() as i64;
        let mut placed = Vec::with_capacity(sorted.new.len() + sorted.changed.len());
        self.count_new(&sorted.new, &mut placed);
        self.count_changed(&sorted.changed, &mut placed);
        let source_id = self.records.source_id;
        planned::note(source_id, &placed, &[])?;
        planned::refuse(&mut self.tally, RECORD, source_id, &letters, counts)
    }

    /// Nothing is ever deleted: what would be is counted elsewhere.
    fn delete(&mut self, _ids: &[i64]) -> Result<(usize, Option<String>), Failure> {
        Ok((0, None))
    }

    fn replaying(&mut self, refused_as: Option<Reason>) {
        self.records.replaying(refused_as);
    }
}
