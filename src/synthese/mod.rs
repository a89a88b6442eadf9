//! A batch of records into gn_synthese: resolve, recognise, write what changed, keep lineage and dead letters.
//! All of it in the caller's transaction; the target is read and written as the source's owner.

mod batch;
mod columns;
mod fast;
mod formats;
mod gather;
mod identity;
pub mod lineage;
mod metadata;
mod place;
pub mod planned;
mod planner;
mod referential;
pub mod rejects;
mod resolve;
mod tally;
mod upkeep;
pub mod write;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::alert::Touched;
use crate::error::Failure;
use crate::mapping::{COLUMNS, Kind};
use crate::postgres;
use crate::record::{Lengths, Reason, Record, Value};
use crate::source::{MetadataMode, Source};
use fast::Load;
use formats::Formats;
pub use metadata::Metadata;
pub use metadata::ledger::Unseen;
use metadata::{Decisions, Heard, Options, Outcome};
pub use planner::Planner;
use referential::Referential;
use rejects::DeadLetter;
pub use rejects::{forget_awaited_taxa, forget_known, forget_vanished, from_json};
use resolve::{Observation, Rules, Unknown, ValueMappings};
use tally::Tally;
pub use tally::fold;

/// The target of a run.
pub struct Synthese {
    source_id: i32,
    run_id: i64,
    owner: pg_sys::Oid,
    search_path: String,
    id_source: i32,
    on_conflict: crate::source::OnUuidConflict,
    priority: i32,
    priorities: HashMap<i32, i32>,
    rules: Rules,
    formats: Formats,
    referential: Referential,
    has_rejects: bool,
    load: Load,
    /// Another session of the run finds out how columns are written and what is said of metadata.
    follows: bool,
    /// Other sessions write for the run.
    shared: bool,
    metadata_mode: MetadataMode,
    options: Options,
    decisions: Decisions,
    heard: Heard,
    /// What a run should say, gathered while working as the owner.
    warnings: Vec<String>,
    tally: Tally,
    /// Why the dead letters that are written now were refused before, where that decides what they may replace.
    replayed: Option<Reason>,
    /// Taxa and datasets of what was written.
    pub touched: Rc<RefCell<Touched>>,
}

impl Synthese {
    /// Reads what the target is and finds, or makes, the source's row in gn_synthese.t_sources; takes up the lineage of
    /// a source of the same name that was dropped. In a transaction.
    pub fn open(
        source: &Source,
        run_id: i64,
        owner: pg_sys::Oid,
        search_path: &str,
    ) -> Result<Self, Failure> {
        let (synthese, former) = Self::look(source, run_id, owner, search_path)?;
        if let Some(former) = former {
            place::take_lineage_over(source.id, former)?;
            tally::fold(former)?;
        }
        Spi::run_with_args(
            "UPDATE gn_harvest.source_state SET id_source = $2 WHERE source_id = $1 AND id_source IS DISTINCT FROM $2",
            &[source.id.into(), synthese.id_source.into()],
        )?;
        Ok(synthese)
    }

    /// The same without noting anything: with the former source whose lineage it would take up.
    fn look(
        source: &Source,
        run_id: i64,
        owner: pg_sys::Oid,
        search_path: &str,
    ) -> Result<(Self, Option<i32>), Failure> {
        let mappings = value_mappings(source.id)?;
        let priorities = identity::priorities()?;
        let former = place::former_source(&source.name)?;
        let decisions = Decisions::load(source.id)?;
        let (referential, id_source, datasets, warnings, load) =
            postgres::as_role(owner, search_path, || {
                let mut referential = Referential::load()?;
                let datasets = upkeep::dataset_rule(source)?;
                let warnings = upkeep::learn_mapped(&mut referential, &decisions)?;
                let load = fast::choose(source.load, &source.owner, search_path, &referential)?;
                Ok((
                    referential,
                    place::ensure_t_source(source)?,
                    datasets,
                    warnings,
                    load,
                ))
            })?;
        let former = former
            .filter(|former| former.id_source == id_source)
            .map(|former| former.source_id);
        let synthese = Synthese {
            source_id: source.id,
            run_id,
            owner,
            search_path: search_path.to_owned(),
            id_source,
            on_conflict: source.on_uuid_conflict,
            priority: source.priority,
            priorities,
            rules: Rules {
                on_unknown_value: source.on_unknown_value,
                value_mappings: mappings,
                protected: COLUMNS
                    .iter()
                    .map(|column| source.protected_columns.iter().any(|c| c == column.target))
                    .collect(),
                datasets,
            },
            formats: Formats::new(source.format, source.column_formats.clone()),
            referential,
            has_rejects: rejects::any(source.id)?,
            load,
            follows: false,
            shared: false,
            metadata_mode: source.metadata_mode,
            options: upkeep::options(source, &decisions),
            decisions,
            heard: Heard::default(),
            warnings,
            tally: Tally::default(),
            replayed: None,
            touched: Rc::default(),
        };
        Ok((synthese, former))
    }

    /// Reads once more what the target is, after a transaction that was rolled back; what this run has found out of the
    /// source stays. In a transaction.
    fn look_again(&mut self, source: &Source) -> Result<(), Failure> {
        let path = self.search_path.clone();
        let fresh = Self::open(source, self.run_id, self.owner, &path)?;
        // Those that it was to say are still to be said, its own included.
        let mut before = std::mem::replace(self, fresh);
        self.warnings.append(&mut before.warnings);
        before.formats.changed = !before.follows;
        before.heard.forget_marks();
        self.has_rejects |= before.has_rejects;
        self.formats = before.formats;
        self.heard = before.heard;
        self.follows = before.follows;
        self.shared = before.shared;
        self.replayed = before.replayed;
        self.touched = before.touched;
        match before.load {
            // What goes on without the right of the fast load did so before: a replay, a deletion.
            Load::Forbidden(_) => Ok(()),
            _ => self.load().map(|_| ()),
        }
    }

    pub fn lengths(&self) -> Lengths {
        self.referential.lengths.clone()
    }

    /// Fails when the load that was asked for is not allowed; why another one is used, if so.
    pub fn load(&self) -> Result<Option<&str>, Failure> {
        match &self.load {
            Load::Standard(why) => Ok(why.as_deref()),
            Load::Fast(_) => Ok(None),
            Load::Forbidden(failure) => Err(failure.clone()),
        }
    }

    /// How each column of nomenclature is written, as far as it has been found out.
    pub fn formats(&self) -> Vec<(&'static str, crate::source::Format)> {
        let coded = COLUMNS
            .iter()
            .filter(|column| matches!(column.kind, Kind::Nomenclature(_)));
        coded
            .filter(|column| self.formats.is_known(column.target))
            .map(|column| (column.target, self.formats.of(column.target)))
            .collect()
    }

    /// Takes the source's row out of gn_synthese.t_sources, if nothing refers to it any more.
    pub fn leave(&mut self) -> Result<(), Failure> {
        let id_source = self.id_source;
        self.as_owner(|_| {
            Ok(Spi::run_with_args(
                "DELETE FROM gn_synthese.t_sources t WHERE t.id_source = $1
                 AND NOT EXISTS (SELECT FROM gn_synthese.synthese s WHERE s.id_source = t.id_source)",
                &[id_source.into()],
            )?)
        })
    }

    fn as_owner<R>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        let (owner, path) = (self.owner, self.search_path.clone());
        postgres::as_role(owner, &path, || work(self))
    }

    fn learn_formats<'r>(
        &mut self,
        records: impl Iterator<Item = &'r Record> + Clone,
    ) -> Result<(), Failure> {
        self.formats.learn(records, &self.referential);
        if self.formats.changed {
            let found = serde_json::to_string(self.formats.found()).unwrap_or_default();
            Spi::run_with_args(
                "UPDATE gn_harvest.source_state SET column_formats = $2::jsonb WHERE source_id = $1",
                &[self.source_id.into(), found.into()],
            )?;
            self.formats.changed = false;
        }
        Ok(())
    }

    /// Asks the referentials for what has not come up yet, makes missing datasets, and resolves every record.
    fn resolve<'i>(
        &mut self,
        records: Vec<(usize, Record)>,
        items: &[&'i str],
        letters: &mut Vec<DeadLetter<'i>>,
        unknown: &mut Unknown,
    ) -> Result<(Vec<Observation>, Outcome), Failure> {
        self.learn(&records)?;
        let references = records
            .iter()
            .filter_map(|(_, record)| record.dataset.as_deref());
        let created = self.ensure_datasets(references)?;
        let mut observations = Vec::with_capacity(records.len());
        for (item, record) in records {
            match resolve::resolve(
                item,
                record,
                &self.referential,
                &self.formats,
                &self.rules,
                unknown,
            ) {
                Ok(observation) => observations.push(observation),
                Err(rejection) => letters.push(DeadLetter {
                    rejection,
                    sqlstate: None,
                    payload: items[item],
                }),
            }
        }
        Ok((observations, created))
    }

    fn learn(&mut self, records: &[(usize, Record)]) -> Result<(), Failure> {
        let mapped = |column: &str| -> Vec<String> {
            self.rules
                .value_mappings
                .iter()
                .filter(|((c, _), _)| c == column)
                .filter_map(|(_, local)| local.clone())
                .collect()
        };
        let numbers = |kind: Kind| -> Vec<i32> {
            let index = COLUMNS.iter().position(|column| column.kind == kind);
            let value = |record: &Record| match record.values.get(index?) {
                Some(Value::Integer(number)) => Some(*number),
                _ => None,
            };
            records
                .iter()
                .filter_map(|(_, record)| value(record))
                .collect()
        };
        let local_taxa = mapped("cd_nom")
            .into_iter()
            .filter_map(|local| local.trim().parse().ok());
        let local_habitats = mapped("cd_hab")
            .into_iter()
            .filter_map(|local| local.trim().parse().ok());
        let local_areas = mapped(resolve::AREA_COLUMN)
            .into_iter()
            .filter_map(|local| {
                local
                    .split_once('/')
                    .map(|(t, c)| (t.to_owned(), c.to_owned()))
            });
        let (taxa, habitats) = (numbers(Kind::Taxon), numbers(Kind::Habitat));
        self.referential
            .learn_taxa(taxa.into_iter().chain(local_taxa))?;
        self.referential
            .learn_habitats(habitats.into_iter().chain(local_habitats))?;
        self.referential.learn_areas(
            records
                .iter()
                .filter_map(|(_, record)| record.area.clone())
                .chain(local_areas),
        )?;
        let uuids: HashSet<[u8; 16]> = records
            .iter()
            .filter_map(|(_, r)| r.dataset.as_deref().and_then(|d| d.uuid))
            .collect();
        self.learn_datasets(uuids.into_iter())
    }
}

/// Decisions of `map_value`: those of the source win over those for every source.
fn value_mappings(source_id: i32) -> Result<ValueMappings, Failure> {
    Spi::connect(|client| {
        let mut mappings = ValueMappings::new();
        let query = "SELECT column_name, source_value, local_value FROM gn_harvest.value_mapping
                     WHERE source_id = $1 OR source_id IS NULL ORDER BY source_id NULLS FIRST";
        for row in client.select(query, None, &[source_id.into()])? {
            if let (Some(column), Some(value)) = (row.get::<String>(1)?, row.get::<String>(2)?) {
                mappings.insert((column, value), row.get::<String>(3)?);
            }
        }
        Ok(mappings)
    })
}
