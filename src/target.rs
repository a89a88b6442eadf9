//! Where the records of a run go, as the reading of an export, its deletions and its dead letters see it.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use crate::error::Failure;
use crate::harvest::Session;
use crate::mapping::Layout;
use crate::postgres;
use crate::record::{Batch, Reason};
use crate::records::Records;
use crate::run::Counts;
use crate::source::{Source, TargetKind};
use crate::synthese::Synthese;

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

    /// Writes a batch, of which `texts` are the items page by page, with its lineage and its dead letters; what it did is
    /// added to `counts`. In a transaction.
    fn write(
        &mut self,
        texts: &[Vec<String>],
        batches: Vec<Batch>,
        counts: &mut Counts,
    ) -> Result<(), Failure>;

    /// Looks again at what it may have learnt in a transaction that was rolled back; false when it can't do again
    /// what it did there. In a transaction.
    fn renew(&mut self, _source: &Source) -> Result<bool, Failure> {
        Ok(false)
    }

    /// Deletes rows of the source, in the target and in the lineage. Returns how many went, and why one did not.
    fn delete(&mut self, ids: &[i64]) -> Result<(usize, Option<String>), Failure>;

    /// Of the datasets that some records name, those to which records can go now, as text. In a transaction.
    fn datasets_here(&mut self, _batch: Batch) -> Result<HashSet<String>, Failure> {
        Ok(HashSet::new())
    }

    /// What is written from now on are dead letters, refused before for a reason that decides what they may replace.
    fn replaying(&mut self, refused_as: Option<Reason>);
}

/// How often a transaction is tried that deadlocked with others.
const ATTEMPTS: usize = 5;

/// Does something in a transaction; again when it deadlocked with another session, from what is in the database by then.
pub fn patiently<R>(
    target: &mut dyn Target,
    source: &Source,
    mut work: impl FnMut(&mut dyn Target) -> Result<R, Failure>,
) -> Result<R, Failure> {
    let mut attempt = 1;
    loop {
        match postgres::transaction(|| work(target)) {
            Err(failure)
                if failure.is_conflict()
                    && attempt < ATTEMPTS
                    && postgres::transaction(|| target.renew(source))? =>
            {
                attempt += 1;
            }
            result => return result,
        }
    }
}

/// The target of a source, opened for a run.
pub enum Opened {
    Synthese(Box<Synthese>),
    Records(Records),
}

impl Opened {
    /// In a transaction.
    pub fn open(session: &Session) -> Result<Self, Failure> {
        let (source, run_id) = (&session.source, session.task.run_id);
        match source.target {
            TargetKind::Synthese => {
                let mut synthese =
                    Synthese::open(source, run_id, session.owner, session.search_path)?;
                synthese.touched = Rc::clone(&session.findings.touched);
                Ok(Opened::Synthese(Box::new(synthese)))
            }
            TargetKind::Records => {
                session.findings.touched.borrow_mut().lose_track();
                Ok(Opened::Records(Records::open(source, run_id)?))
            }
        }
    }

    pub fn target(&mut self) -> &mut dyn Target {
        match self {
            Opened::Synthese(synthese) => &mut **synthese,
            Opened::Records(records) => records,
        }
    }

    /// For what only observations have: their metadata.
    pub fn synthese(&mut self) -> Option<&mut Synthese> {
        match self {
            Opened::Synthese(synthese) => Some(synthese),
            Opened::Records(_) => None,
        }
    }

    /// Says what a reader of the run should know. In a transaction, when everything is written.
    pub fn tell(&mut self) -> Result<(), Failure> {
        match self {
            Opened::Synthese(_) => Ok(()),
            Opened::Records(records) => records.tell_flaws(),
        }
    }

    /// Leaves nothing of the source behind, when its rows are gone. In a transaction.
    pub fn leave(&mut self) -> Result<(), Failure> {
        match self {
            Opened::Synthese(synthese) => synthese.leave(),
            Opened::Records(_) => Ok(()),
        }
    }
}

/// The texts and the batches of pages, each side by side.
pub fn apart(pages: Vec<Parsed>) -> (Vec<Vec<String>>, Vec<Batch>) {
    let pages = pages.into_iter();
    pages.map(|page| (page.items, page.batch)).unzip()
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
