//! A batch: pages of a run, written with their lineage, what is missing in them and their checkpoints in one transaction.

use pgrx::prelude::*;

use crate::deletion;
use crate::error::Failure;
use crate::geonature::Traffic;
use crate::handover::{Pages, Span};
use crate::harvest::within_hours;
use crate::mapping::Layout;
use crate::postgres;
use crate::record::Batch;
use crate::run::{self, Counts};
use crate::slices;
use crate::source::Source;
use crate::target::{self, Target};

/// For which run batches are written, and of what.
pub struct Place<'r> {
    pub run_id: i64,
    pub source: &'r Source,
    /// How the items are read.
    pub layout: &'r Layout,
    pub compare: Compare,
    /// The worker of the run, when that is another one: nothing is written any more once it is gone.
    pub leader: Option<i32>,
}

/// How what is missing at the source is found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// Not by comparison.
    Nothing,
    Keys,
    /// Keys that are no numbers.
    Texts,
}

impl Place<'_> {
    /// Writes a batch; again when it deadlocked with another session, from what is in the database by then.
    pub fn write(
        &self,
        pages: &Pages,
        batches: Vec<Batch>,
        target: &mut dyn Target,
        traffic: Option<&Traffic>,
    ) -> Result<(), Failure> {
        let mut read = Some(batches);
        let written = target::patiently(target, self.source, |target| {
            let batches = read.take().unwrap_or_else(|| self.parse(pages, target));
            self.write_once(pages, batches, target, traffic)
        });
        postgres::give_memory_back();
        written
    }

    /// Reads the items of pages.
    pub fn parse(&self, pages: &Pages, target: &dyn Target) -> Vec<Batch> {
        let reader = target.reader();
        let read = |items: &Vec<String>| {
            let items: Vec<&str> = items.iter().map(String::as_str).collect();
            reader(&items, self.layout)
        };
        pages.texts.iter().map(read).collect()
    }

    /// The rows that writers of a run share come last, in the same order for each.
    fn write_once(
        &self,
        pages: &Pages,
        batches: Vec<Batch>,
        target: &mut dyn Target,
        traffic: Option<&Traffic>,
    ) -> Result<(), Failure> {
        if self.leader.is_none() {
            within_hours(self.source)?;
        }
        hurry_commit()?;
        let mut checkpoints: Vec<(i32, (i64, i64))> = pages
            .spans
            .iter()
            .map(|span| (span.slice, span.covered))
            .collect();
        checkpoints.sort_unstable();
        let mut counts = Counts {
            hidden: pages.spans.iter().map(|span| span.hidden).sum::<u64>() as i64,
            ..Counts::default()
        };
        let (reads, seen) = match self.compare {
            Compare::Nothing => (Vec::new(), Vec::new()),
            Compare::Keys => (reads(&pages.spans, &batches), Vec::new()),
            Compare::Texts => (Vec::new(), keys(&batches)),
        };
        target.write(&pages.texts, batches, &mut counts)?;
        if !reads.is_empty() {
            deletion::note_missing(self.run_id, self.source.id, &reads)?;
        }
        if !seen.is_empty() {
            deletion::note_seen(self.run_id, seen)?;
        }
        for (slice, (first, last)) in &checkpoints {
            slices::checkpoint(self.run_id, *slice, *first, *last)?;
        }
        run::add(self.run_id, &counts, traffic)?;
        match self.leader {
            Some(leader) => run::require_worker(self.source.id, leader),
            None => Ok(()),
        }
    }
}

/// The commit of the batch need not wait for the disk: its rows, lineage and checkpoint are kept or lost together, and the
/// commit that ends the run, which waits, keeps all that went before.
fn hurry_commit() -> Result<(), Failure> {
    Spi::connect(|client| {
        let setting = "SELECT set_config('synchronous_commit', 'off', true)";
        client.select(setting, Some(1), &[])?;
        Ok(())
    })
}

/// The ranges of key that were read whole, with what came; a window in which the source hides records tells nothing.
fn reads(spans: &[Span], batches: &[Batch]) -> Vec<deletion::Read> {
    spans
        .iter()
        .zip(batches)
        .filter(|(span, _)| span.hidden == 0)
        .map(|(span, batch)| deletion::Read {
            first: span.covered.0,
            last: span.covered.1,
            came: numbers(batch).collect(),
        })
        .collect()
}

/// Keys of the records of a page, those that were rejected too: they are there.
pub fn numbers(batch: &Batch) -> impl Iterator<Item = i64> {
    let rejected = batch
        .rejected
        .iter()
        .filter_map(|(_, rejection)| rejection.key.as_deref()?.trim().parse().ok());
    batch
        .records
        .iter()
        .filter_map(|(_, record)| record.key_number)
        .chain(rejected)
}

fn keys(batches: &[Batch]) -> Vec<String> {
    let keys = |batch: &Batch| -> Vec<String> {
        let rejected = batch
            .rejected
            .iter()
            .filter_map(|(_, rejection)| rejection.key.clone());
        batch
            .records
            .iter()
            .filter_map(|(_, record)| record.key.clone())
            .chain(rejected)
            .collect()
    };
    batches.iter().flat_map(keys).collect()
}
