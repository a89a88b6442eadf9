//! Where the records of a run go, as the reading of an export, its deletions and its dead letters see it.

use std::collections::HashSet;
use std::sync::Arc;

use crate::error::Failure;
use crate::mapping::Layout;
use crate::record::{Batch, Reason};
use crate::run::Counts;

/// A page as it was parsed, with the text of its items.
pub struct Parsed {
    pub items: Vec<String>,
    pub batch: Batch,
}

/// Makes a batch of the items of a page; called by threads, so it knows nothing of PostgreSQL.
pub type Reader = Arc<dyn Fn(&[&str], &Layout) -> Batch + Send + Sync>;

pub trait Target {
    /// Reads items as this target wants them.
    fn reader(&self) -> Reader;

    /// Finds out, and does, what only one session may when several write for a run: how columns are written, metadata
    /// that is missing. Returns what the others have to know, as text. In a transaction.
    fn prepare(&mut self, _pages: &[&Parsed], _counts: &mut Counts) -> Result<String, Failure> {
        Ok(String::new())
    }

    /// Takes what `prepare` found in the session that leads: from now on this one finds out nothing by itself.
    fn follow(&mut self, _findings: &str) {}

    /// Writes a batch, with its lineage and its dead letters; what it did is added to `counts`. In a transaction.
    fn write(&mut self, pages: Vec<Parsed>, counts: &mut Counts) -> Result<(), Failure>;

    /// Deletes rows of the source, in the target and in the lineage. Returns how many went, and why one did not.
    fn delete(&mut self, ids: &[i64]) -> Result<(usize, Option<String>), Failure>;

    /// Of the datasets that some records name, those to which records can go now, as text. In a transaction.
    fn datasets_here(&mut self, batch: Batch) -> Result<HashSet<String>, Failure>;

    /// What is written from now on are dead letters, refused before for a reason that decides what they may replace.
    fn replaying(&mut self, refused_as: Option<Reason>);
}

/// Reads items and keeps their texts.
pub fn parse<'t>(
    reader: &Reader,
    layout: &Layout,
    items: impl IntoIterator<Item = &'t str>,
) -> Parsed {
    let items: Vec<&str> = items.into_iter().collect();
    let batch = reader(&items, layout);
    Parsed {
        items: items.into_iter().map(str::to_owned).collect(),
        batch,
    }
}
