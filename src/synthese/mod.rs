//! A batch of records into gn_synthese: resolve, recognise, write what changed, keep lineage and dead letters.
//! All of it in the caller's transaction; the target is read and written as the source's owner.

mod columns;
mod formats;
mod gather;
mod identity;
mod lineage;
mod metadata;
mod place;
mod referential;
mod rejects;
mod resolve;
mod upkeep;
mod write;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::alert::Touched;
use crate::error::Failure;
use crate::mapping::{COLUMNS, Kind, column_index};
use crate::postgres;
use crate::record::{Batch, Lengths, Reason, Record, Value};
use crate::run::Counts;
use crate::source::{MetadataMode, Source};
use formats::Formats;
use identity::{Claimant, Decision, Known};
use lineage::Placed;
pub use metadata::Metadata;
pub use metadata::ledger::Unseen;
use metadata::{Decisions, Heard, Options, Outcome};
use referential::Referential;
use rejects::DeadLetter;
pub use rejects::{forget_awaited_taxa, forget_known, forget_vanished, from_json};
use resolve::{Observation, Rules, Unknown, ValueMappings};
use write::Change;

/// A page as it was parsed, with the text of its items.
pub struct Parsed {
    pub items: Vec<String>,
    pub batch: Batch,
}

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
    metadata_mode: MetadataMode,
    options: Options,
    decisions: Decisions,
    heard: Heard,
    /// What a run should say, gathered while working as the owner.
    warnings: Vec<String>,
    /// Why the dead letters that are written now were refused before, where that decides what they may replace.
    pub replayed: Option<Reason>,
    /// Taxa and datasets of what was written.
    pub touched: Rc<RefCell<Touched>>,
}

impl Synthese {
    /// Reads what the target is and finds, or makes, the source's row in gn_synthese.t_sources. In a transaction.
    pub fn open(
        source: &Source,
        run_id: i64,
        owner: pg_sys::Oid,
        search_path: &str,
    ) -> Result<Self, Failure> {
        let mappings = value_mappings(source.id)?;
        let priorities = identity::priorities()?;
        let former = place::former_source(&source.name)?;
        let decisions = Decisions::load(source.id)?;
        let (referential, id_source, datasets, warnings) =
            postgres::as_role(owner, search_path, || {
                let mut referential = Referential::load()?;
                let datasets = upkeep::dataset_rule(source)?;
                let warnings = upkeep::learn_mapped(&mut referential, &decisions)?;
                Ok((
                    referential,
                    place::ensure_t_source(source)?,
                    datasets,
                    warnings,
                ))
            })?;
        if let Some(former) = former.filter(|former| former.id_source == id_source) {
            place::take_lineage_over(source.id, former.source_id)?;
        }
        Spi::run_with_args(
            "UPDATE gn_harvest.source_state SET id_source = $2 WHERE source_id = $1 AND id_source IS DISTINCT FROM $2",
            &[source.id.into(), id_source.into()],
        )?;
        Ok(Synthese {
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
            metadata_mode: source.metadata_mode,
            options: upkeep::options(source, &decisions),
            decisions,
            heard: Heard::default(),
            warnings,
            replayed: None,
            touched: Rc::default(),
        })
    }

    pub fn lengths(&self) -> Lengths {
        self.referential.lengths.clone()
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

    /// Writes a batch; what it did is added to `counts`.
    pub fn write(&mut self, pages: Vec<Parsed>, counts: &mut Counts) -> Result<(), Failure> {
        let (texts, batches): (Vec<Vec<String>>, Vec<Batch>) = pages
            .into_iter()
            .map(|page| (page.items, page.batch))
            .unzip();
        let (records, items, mut letters, references) = gather::gather(&texts, batches, counts);
        self.learn_formats(&records)?;
        self.hear(references, &records)?;
        let mut unknown = Unknown::new();
        let (observations, created) = self
            .as_owner(|synthese| synthese.resolve(records, &items, &mut letters, &mut unknown))?;
        self.tell(created, counts)?;
        let sorted = self.sort(observations, &items, &mut letters, counts)?;
        let (placed, refused) = self.as_owner(|synthese| synthese.write_sorted(&sorted, counts))?;
        for (item, rejection, sqlstate) in refused {
            letters.push(DeadLetter {
                rejection,
                sqlstate: Some(sqlstate),
                payload: items[item],
            });
        }
        let placed_items: HashSet<usize> = placed.iter().map(|p| p.observation.item).collect();
        lineage::record(
            self.source_id,
            self.run_id,
            &placed,
            sorted.displaced.clone(),
        )?;
        self.settle(&sorted, &placed, letters.is_empty())?;
        let kept = rejects::keep(self.source_id, self.run_id, &letters)?;
        counts.rejected += kept.waiting;
        counts.skipped += kept.discarded;
        self.has_rejects |= !letters.is_empty();
        rejects::tell_unknown(self.source_id, self.run_id, &unknown)?;
        // Rows that were not this source's before: those inserted, which no update placed, and those adopted; less
        // those that it counted and that someone had deleted here.
        let kept = sorted
            .known
            .iter()
            .filter(|(observation, _, adopt)| !adopt && placed_items.contains(&observation.item))
            .count();
        let lost = sorted
            .lost
            .values()
            .filter(|item| placed_items.contains(*item))
            .count();
        let gained = (placed.len() - kept) as i64 - lost as i64;
        Spi::run_with_args(
            "UPDATE gn_harvest.source_state SET observations = observations + $2 WHERE source_id = $1 AND $2 <> 0",
            &[self.source_id.into(), gained.into()],
        )?;
        Ok(())
    }

    /// Deletes rows of this source, in the target and in the lineage. Returns how many went, and why one did not.
    pub fn delete(&mut self, ids: &[i64]) -> Result<(usize, Option<String>), Failure> {
        let id_source = self.id_source;
        let (deleted, refused) = self.as_owner(|synthese| {
            write::delete(id_source, ids, &mut synthese.touched.borrow_mut())
        })?;
        lineage::bury(self.source_id, self.run_id, &deleted)?;
        Ok((
            deleted.len(),
            refused
                .first()
                .map(|refused| refused.failure.message.clone()),
        ))
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

    fn learn_formats(&mut self, records: &[(usize, Record)]) -> Result<(), Failure> {
        self.formats
            .learn(records.iter().map(|(_, record)| record), &self.referential);
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

    /// Decides what becomes of each observation.
    fn sort<'i>(
        &mut self,
        observations: Vec<Observation>,
        items: &[&'i str],
        letters: &mut Vec<DeadLetter<'i>>,
        counts: &mut Counts,
    ) -> Result<Sorted, Failure> {
        let lineage = identity::lineage(self.source_id, &observations)?;
        let held = self.as_owner(|_| identity::held(&lineage, &observations))?;
        let mut known = Known::new(self.source_id, lineage, held);
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
        for observation in observations {
            if let Some(uuid) = observation.uuid
                && let Some(other) = uuids.insert(uuid, observation.key.clone())
            {
                letters.push(DeadLetter {
                    rejection: identity::duplicate(&observation, &other),
                    sqlstate: None,
                    payload: items[observation.item],
                });
                continue;
            }
            for id_synthese in known.lost(&observation, self.source_id) {
                sorted.lost.insert(id_synthese, observation.item);
            }
            match known.decide(&observation, &claimant) {
                Decision::Insert => sorted.new.push(observation),
                Decision::Update {
                    id_synthese,
                    displaced,
                    adopt,
                } => {
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
            &mut self.touched.borrow_mut(),
        )?;
        let new: Vec<&Observation> = sorted.new.iter().collect();
        let (inserted, refused_new) = write::insert(&self.referential, self.id_source, &new)?;
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
        let placed_new = inserted.iter().map(|(position, id)| Placed {
            observation: new[*position],
            id_synthese: *id,
            adopted: false,
        });
        let placed_known = sorted
            .known
            .iter()
            .filter(|(observation, ..)| !refused_items.contains(&observation.item))
            .map(|(observation, id, adopt)| Placed {
                observation,
                id_synthese: *id,
                adopted: *adopt,
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
        placed: &[Placed],
        none_rejected: bool,
    ) -> Result<(), Failure> {
        if !self.has_rejects && none_rejected {
            return Ok(());
        }
        let placed = placed
            .iter()
            .map(|p| (p.observation.key.clone(), p.observation.uuid));
        let written = sorted.settled.iter().cloned().chain(placed);
        rejects::settle(self.source_id, written)
    }
}

/// Item, why, SQLSTATE.
type Refusal = (usize, crate::record::Rejection, String);

/// Observations by what becomes of them.
#[derive(Default)]
struct Sorted {
    new: Vec<Observation>,
    /// With their row, and whether it has to be adopted.
    known: Vec<(Observation, i64, bool)>,
    /// Keys that name another record now.
    displaced: Vec<String>,
    /// Keys and UUIDs of those that need no write.
    settled: Vec<(String, Option<[u8; 16]>)>,
    /// Rows of the target that are gone, with the item that takes their place.
    lost: HashMap<i64, usize>,
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
