//! Frameworks, datasets and all that hangs on them, from what exports say of them into gn_meta and utilisateurs.
//!
//! What comes is read into one form (`reading`, `actor`, `form`: pure) and written set-wise (`write`, `links` and their
//! SQL): the same metadata a second time writes nothing, an update only rows that differ. What a source does not say
//! stays as it is. Organisms and persons are created when they are missing and never changed: they belong to all
//! sources and to the accounts of local people. Rights: those of the source's owner, on gn_meta,
//! utilisateurs.t_roles, utilisateurs.bib_organismes and (SELECT) ref_nomenclatures.

mod actor;
mod decisions;
mod form;
mod heard;
pub mod ledger;
mod links;
mod reading;
mod write;

use std::collections::HashSet;

use super::referential::Referential;
use crate::error::Failure;
use crate::postgres;
use crate::record::DatasetReference;
use crate::run::Counts;
pub use decisions::Decisions;
pub use form::{Uuid, identifier, written};
pub use heard::Heard;
use ledger::Entry;
pub use reading::Metadata;
pub use write::{DATASETS, ids};

/// What may be written of frameworks and datasets that are here already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing: only what is missing is created.
    Create,
    /// Everything that the source says otherwise; what it has no longer is removed from its lists.
    CreateAndUpdate,
}

/// How metadata is written.
#[derive(Debug, Clone)]
pub struct Options {
    pub mode: Mode,
    /// Whether persons that are not here are created; if not, they are left out.
    pub create_persons: bool,
    /// Whether an organism whose UUID is unknown is the one that has exactly its name here.
    pub organisms_by_name: bool,
    /// Frameworks and datasets that are not changed, even when the mode is to update.
    pub frozen: HashSet<Uuid>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            mode: Mode::Create,
            create_persons: true,
            organisms_by_name: false,
            frozen: HashSet::new(),
        }
    }
}

/// What was written.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    pub frameworks_created: i64,
    /// Of those that were here: changed themselves, or in one of their lists.
    pub frameworks_updated: i64,
    pub datasets_created: i64,
    pub datasets_updated: i64,
    /// Organisms and persons.
    pub actors_created: i64,
    /// Frameworks, datasets and organisms that were created.
    pub created: Vec<Entry>,
    /// What could not be read or written, and why.
    pub warnings: Vec<String>,
}

impl Outcome {
    fn add(&mut self, other: Outcome) {
        self.frameworks_created += other.frameworks_created;
        self.frameworks_updated += other.frameworks_updated;
        self.datasets_created += other.datasets_created;
        self.datasets_updated += other.datasets_updated;
        self.actors_created += other.actors_created;
        self.created.extend(other.created);
        for warning in other.warnings {
            if !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
        }
    }

    /// Adds what was created and changed to the counts of a run.
    pub fn count(&self, counts: &mut Counts) {
        counts.frameworks_created += self.frameworks_created;
        counts.frameworks_updated += self.frameworks_updated;
        counts.datasets_updated += self.datasets_updated;
        counts.datasets_created += self.datasets_created;
        counts.actors_created += self.actors_created;
    }
}

/// Creates the datasets that are not here yet, with all that came about them, and learns their id_dataset. What cannot
/// be created stays unknown to the referential; the warnings say why. What is mapped is not created. Costs nothing when
/// every dataset is known. In a transaction, with the rights of the source's owner.
pub fn ensure<'r>(
    referential: &mut Referential,
    references: impl Iterator<Item = &'r DatasetReference>,
    decisions: &Decisions,
    options: &Options,
) -> Result<Outcome, Failure> {
    let mut metadata = Metadata::default();
    let mut seen = HashSet::new();
    for reference in references {
        let missing = reference.uuid.is_some_and(|uuid| {
            referential.dataset(&uuid).is_none() && decisions.dataset(&uuid).is_none()
        });
        // Records of a page share their references.
        if missing && seen.insert(std::ptr::from_ref(reference)) {
            metadata.add_reference(reference);
        }
    }
    if metadata.is_empty() {
        return Ok(Outcome::default());
    }
    let options = Options {
        mode: Mode::Create,
        ..options.clone()
    };
    let outcome = apply(&decisions.follow(metadata.clone()), &options)?;
    for (uuid, id_dataset) in ids(&DATASETS, metadata.datasets.keys())? {
        referential.learn_dataset(uuid, id_dataset);
    }
    Ok(outcome)
}

/// Writes frameworks and datasets. One that a constraint or trigger refuses does not stop the others: it is left out
/// with a warning. Fails when the fault is nobody's: rights, locks, resources.
pub fn apply(metadata: &Metadata, options: &Options) -> Result<Outcome, Failure> {
    let mut outcome = Outcome {
        warnings: metadata.warnings.iter().cloned().collect(),
        ..Outcome::default()
    };
    match attempt(metadata, options)? {
        Ok(written) => outcome.add(written),
        Err(_) => isolate(metadata, options, &mut outcome)?,
    }
    Ok(outcome)
}

/// In a subtransaction; the inner error is one that may concern a part of the metadata only.
fn attempt(metadata: &Metadata, options: &Options) -> Result<Result<Outcome, Failure>, Failure> {
    match postgres::subtransaction(|| write::write(metadata, options)) {
        Err(failure) if !failure.concerns_records() => Err(failure),
        result => Ok(result),
    }
}

/// Writes each framework with its datasets; where that fails, the framework and each dataset on its own.
fn isolate(metadata: &Metadata, options: &Options, outcome: &mut Outcome) -> Result<(), Failure> {
    for group in metadata.by_framework() {
        if let Ok(written) = attempt(&group, options)? {
            outcome.add(written);
            continue;
        }
        for part in group.parts() {
            match attempt(&part, options)? {
                Ok(written) => outcome.add(written),
                Err(failure) => outcome.warnings.push(refusal(&part, &failure)),
            }
        }
    }
    Ok(())
}

fn refusal(part: &Metadata, failure: &Failure) -> String {
    // Of a CHECK or NOT NULL it is the row, which tells no more and differs each time.
    let detail = failure
        .detail
        .as_deref()
        .filter(|_| !matches!(failure.sqlstate.as_str(), "23502" | "23514"));
    let detail = detail
        .map(|detail| format!(" ({detail})"))
        .unwrap_or_default();
    format!(
        "{} could not be written: {}{detail}",
        part.title(),
        failure.message
    )
}
