//! Metadata over a run: what was told of it is kept in mind and written at the end, what was decided of it is obeyed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use pgrx::prelude::*;

use super::metadata::ledger::{self, Entry};
use super::metadata::{self, Decisions, Metadata, Mode, Options, Outcome, Uuid};
use super::referential::Referential;
use super::resolve::DatasetRule;
use super::{Synthese, lineage};
use crate::alert::Touched;
use crate::error::Failure;
use crate::postgres;
use crate::record::{Batch, DatasetReference, Record};
use crate::run::{self, Counts};
use crate::source::{MetadataMode, Source};

/// Observations moved to another dataset in one transaction.
const MOVED_AT_ONCE: i32 = 5_000;

/// A dataset of the source whose observations have to move to the local one.
pub struct Move {
    uuid: Uuid,
    to: Uuid,
    from: Uuid,
    /// Observations of other datasets of the source are there too: they would move along.
    unclear: bool,
}

impl Move {
    /// UUID of the local dataset, as text.
    pub fn destination(&self) -> String {
        metadata::written(&self.to)
    }
}

/// Where a batch of a move stopped.
pub struct Moved {
    pub rows: i64,
    pub last: Option<i32>,
}

pub fn options(source: &Source, decisions: &Decisions) -> Options {
    Options {
        mode: match source.metadata_mode {
            MetadataMode::Full => Mode::CreateAndUpdate,
            _ => Mode::Create,
        },
        create_persons: source.create_persons,
        organisms_by_name: source.organisms_by_name,
        frozen: decisions.frozen(),
    }
}

/// To which dataset observations go; fails when it is not here. As the source's owner.
pub fn dataset_rule(source: &Source) -> Result<DatasetRule, Failure> {
    match source.metadata_mode {
        MetadataMode::Full | MetadataMode::CreateOnly => Ok(DatasetRule::Any),
        MetadataMode::Mapped => Ok(DatasetRule::Mapped),
        MetadataMode::SingleDataset => {
            let wanted = source.target_dataset.as_deref().unwrap_or_default();
            let uuid = metadata::identifier(wanted);
            let found = metadata::ids(&metadata::DATASETS, uuid.iter())?;
            let id_dataset = found.values().next().copied();
            id_dataset.map(DatasetRule::Single).ok_or_else(|| {
                Failure::new("42704", format!("dataset {wanted} is not in gn_meta.t_datasets"))
                    .detail(format!("It is the target_dataset of source \"{}\".", source.name))
                    .hint("Name another: alter_source(name, target_dataset => ...). SELECT unique_dataset_id, dataset_name FROM gn_meta.t_datasets lists them.")
            })
        }
    }
}

/// Mapped datasets are known from the beginning, under the UUID of the source. Those that are gone are said.
pub fn learn_mapped(
    referential: &mut Referential,
    decisions: &Decisions,
) -> Result<Vec<String>, Failure> {
    let found = metadata::ids(
        &metadata::DATASETS,
        decisions.datasets().map(|(_, local)| local),
    )?;
    let mut warnings = Vec::new();
    for (uuid, local) in decisions.datasets() {
        match found.get(local) {
            Some(id_dataset) => referential.learn_dataset(*uuid, *id_dataset),
            None => warnings.push(format!(
                "dataset {} is mapped to {}, which is not in gn_meta.t_datasets: its records are rejected",
                metadata::written(uuid),
                metadata::written(local)
            )),
        }
    }
    Ok(warnings)
}

impl Synthese {
    /// A separate export says what there is to say: what records say only serves to create what it lacks.
    pub fn set_embedded_aside(&mut self) {
        self.heard.aside = true;
    }

    /// Keeps in mind what records say of their datasets.
    pub(super) fn hear<'r>(
        &mut self,
        references: Vec<Arc<DatasetReference>>,
        records: impl Iterator<Item = &'r Record>,
    ) -> Result<(), Failure> {
        let new = self.heard.hear(references);
        if new.is_empty() {
            return Ok(());
        }
        let mut samples: HashMap<Uuid, &str> = HashMap::new();
        for record in records {
            let uuid = record.dataset.as_ref().and_then(|dataset| dataset.uuid);
            if let Some((uuid, key)) = uuid.zip(record.key.as_deref()) {
                samples.entry(uuid).or_insert(key);
            }
        }
        let sample = |uuid: Option<Uuid>| samples.get(&uuid?).map(|key| (*key).to_owned());
        let entries = new
            .iter()
            .flat_map(|reference| Entry::named_by(reference, sample(reference.uuid)));
        ledger::note(self.source_id, self.run_id, entries.collect(), false)
    }

    /// The same for records that were asked for only to hear that. In a transaction.
    pub fn hear_page(&mut self, batch: Batch) -> Result<(), Failure> {
        self.hear(
            batch.datasets,
            batch.records.iter().map(|(_, record)| record),
        )
    }

    /// Notes what was created and says what went wrong.
    pub(super) fn tell(&mut self, outcome: Outcome, counts: &mut Counts) -> Result<(), Failure> {
        outcome.count(counts);
        for warning in std::mem::take(&mut self.warnings)
            .into_iter()
            .chain(outcome.warnings)
        {
            run::warn(self.run_id, &warning)?;
        }
        ledger::note(self.source_id, self.run_id, outcome.created, true)
    }

    /// Creates missing datasets, where the source may. As the owner.
    pub(super) fn ensure_datasets<'r>(
        &mut self,
        references: impl Iterator<Item = &'r DatasetReference>,
    ) -> Result<Outcome, Failure> {
        if !self.metadata_mode.writes() {
            return Ok(Outcome::default());
        }
        metadata::ensure(
            &mut self.referential,
            references,
            &self.decisions,
            &self.options,
        )
    }

    /// Looks datasets up; one that is mapped is only known as that. As the owner.
    pub(super) fn learn_datasets(
        &mut self,
        uuids: impl Iterator<Item = Uuid>,
    ) -> Result<(), Failure> {
        if !self.metadata_mode.writes() {
            return Ok(());
        }
        let decisions = &self.decisions;
        self.referential
            .learn_datasets(uuids.filter(|uuid| decisions.dataset(uuid).is_none()))
    }

    /// Writes what a separate export says. In a transaction.
    pub fn describe(&mut self, metadata: Metadata) -> Result<(), Failure> {
        ledger::note(self.source_id, self.run_id, Entry::all(&metadata), false)?;
        self.write_metadata(metadata)
    }

    /// Brings metadata in step with what records said since the last time. In a transaction.
    pub fn write_heard(&mut self) -> Result<(), Failure> {
        let metadata = self.heard.take();
        self.write_metadata(metadata)
    }

    fn write_metadata(&mut self, metadata: Metadata) -> Result<(), Failure> {
        if !self.metadata_mode.writes() || metadata.is_empty() && metadata.warnings.is_empty() {
            return Ok(());
        }
        let outcome = self.as_owner(|synthese| {
            let metadata = synthese.decisions.follow(metadata);
            metadata::apply(&metadata, &synthese.options)
        })?;
        let mut counts = Counts::default();
        self.tell(outcome, &mut counts)?;
        run::add(self.run_id, &counts, None)
    }

    /// Datasets whose metadata may have changed without a record of theirs.
    pub fn unseen(&self, most: i64) -> Result<Vec<ledger::Unseen>, Failure> {
        ledger::unseen(self.source_id, self.run_id, Vec::new(), most)
    }

    /// The sample record of a dataset does not lead to it any more: takes another, if there is one, for the next time.
    pub fn replace_sample(&mut self, unseen: &ledger::Unseen) -> Result<(), Failure> {
        let id_source = self.id_source;
        let key = self.as_owner(|_| {
            Ok(Spi::get_one_with_args::<String>(
                "SELECT max(k.key) FROM (
                     SELECT s.entity_source_pk_value::text AS key FROM gn_synthese.synthese s
                     JOIN gn_meta.t_datasets d USING (id_dataset)
                     WHERE d.unique_dataset_id = $1 AND s.id_source = $2 AND s.entity_source_pk_value <> $3 LIMIT 1) k",
                &[
                    pgrx::Uuid::from_bytes(unseen.uuid).into(),
                    id_source.into(),
                    unseen.sample_key.as_str().into(),
                ],
            )?)
        })?;
        ledger::replace_sample(self.source_id, &unseen.uuid, key)
    }

    /// Of the datasets that some records name, those to which records can go now, as text. In a transaction.
    pub(super) fn find_datasets(&mut self, batch: Batch) -> Result<HashSet<String>, Failure> {
        let references = batch.datasets;
        let uuids: HashSet<Uuid> = references.iter().filter_map(|r| r.uuid).collect();
        let created = self.as_owner(|synthese| {
            synthese.learn_datasets(uuids.iter().copied())?;
            synthese.ensure_datasets(references.iter().map(Arc::as_ref))
        })?;
        let mut counts = Counts::default();
        self.tell(created, &mut counts)?;
        run::add(self.run_id, &counts, None)?;
        let here = uuids
            .iter()
            .filter(|uuid| self.referential.dataset(uuid).is_some());
        Ok(here.map(metadata::written).collect())
    }

    /// Says which local datasets and frameworks of this run are inactive or closed. In a transaction.
    pub fn tell_closed(&mut self) -> Result<(), Failure> {
        let mut ids = self.referential.dataset_ids();
        if let DatasetRule::Single(id_dataset) = self.rules.datasets {
            ids.push(id_dataset);
        }
        let warnings = self.as_owner(|_| {
            let warnings = Spi::get_one_with_args::<Vec<String>>(
                "WITH met AS MATERIALIZED (SELECT * FROM gn_meta.t_datasets d WHERE d.id_dataset = ANY ($1))
                 SELECT array_agg(w.text ORDER BY w.text) FROM (
                     SELECT format('dataset \"%s\" is inactive here', d.dataset_name) AS text
                     FROM met d WHERE to_jsonb(d) ->> 'active' = 'false'
                     UNION
                     SELECT format('acquisition framework \"%s\" is closed here', f.acquisition_framework_name)
                     FROM gn_meta.t_acquisition_frameworks f
                     WHERE f.id_acquisition_framework IN (SELECT d.id_acquisition_framework FROM met d)
                       AND to_jsonb(f) ->> 'opened' = 'false') w",
                &[ids.into()],
            )?;
            Ok(warnings.unwrap_or_default())
        })?;
        for warning in warnings {
            run::warn(self.run_id, &warning)?;
        }
        Ok(())
    }

    /// The mapped datasets whose observations are elsewhere. In a transaction.
    pub fn moves(&self) -> Result<Vec<Move>, Failure> {
        Spi::connect(|client| {
            let rows = client.select(
                "SELECT p.uuid, p.local_uuid, p.placed_uuid,
                        EXISTS (SELECT FROM gn_harvest.metadata_mapping o
                                WHERE o.source_id = p.source_id AND o.kind = p.kind AND o.uuid <> p.uuid
                                  AND coalesce(p.placed_uuid, p.uuid) IN (o.local_uuid, o.placed_uuid))
                        OR EXISTS (SELECT FROM gn_harvest.source_metadata m
                                   WHERE m.source_id = p.source_id AND m.kind = p.kind AND m.uuid = p.placed_uuid)
                 FROM gn_harvest.metadata_mapping p
                 WHERE p.source_id = $1 AND p.kind = 'dataset' AND p.local_uuid <> coalesce(p.placed_uuid, p.uuid)
                 ORDER BY p.uuid",
                None,
                &[self.source_id.into()],
            )?;
            let mut moves = Vec::with_capacity(rows.len());
            for row in rows {
                let uuid = |column: usize| -> Result<Option<Uuid>, Failure> {
                    Ok(row.get::<pgrx::Uuid>(column)?.map(|uuid| *uuid.as_bytes()))
                };
                let (Some(own), Some(to)) = (uuid(1)?, uuid(2)?) else {
                    continue;
                };
                moves.push(Move {
                    uuid: own,
                    to,
                    from: uuid(3)?.unwrap_or(own),
                    unclear: row.get::<bool>(4)?.unwrap_or(false),
                });
            }
            Ok(moves)
        })
    }

    /// Moves the next observations to the mapped dataset; none are left when nothing was moved. In a transaction.
    pub fn move_some(&mut self, wanted: &Move, after: i32) -> Result<Moved, Failure> {
        let nothing = Moved {
            rows: 0,
            last: None,
        };
        if wanted.unclear {
            let text = format!(
                "observations of dataset {} are among those of other datasets in {}: they follow at the next full run",
                metadata::written(&wanted.uuid),
                metadata::written(&wanted.from)
            );
            run::warn(self.run_id, &text)?;
            return Ok(nothing);
        }
        let id_source = self.id_source;
        let moved = self.as_owner(|synthese| {
            postgres::subtransaction(|| {
                let places = [&wanted.from, &wanted.to].into_iter();
                let places = metadata::ids(&metadata::DATASETS, places)?;
                match (places.get(&wanted.from), places.get(&wanted.to)) {
                    (Some(from), Some(to)) => {
                        let mut touched = synthese.touched.borrow_mut();
                        Ok((
                            move_rows(id_source, *from, *to, after, &mut touched)?,
                            Some(*to),
                        ))
                    }
                    _ => Ok((Vec::new(), None)),
                }
            })
        });
        let (ids, id_dataset) = match moved {
            Ok(moved) => moved,
            Err(failure) if failure.concerns_records() => {
                let text = format!(
                    "observations of dataset {} could not be moved to the one that it is mapped to: {}",
                    metadata::written(&wanted.uuid),
                    failure.message
                );
                run::warn(self.run_id, &text)?;
                return Ok(nothing);
            }
            Err(failure) => return Err(failure),
        };
        lineage::moved(self.source_id, &ids, id_dataset)?;
        let counts = Counts {
            updated: ids.len() as i64,
            ..Counts::default()
        };
        run::add(self.run_id, &counts, None)?;
        Ok(Moved {
            rows: ids.len() as i64,
            last: ids.iter().max().copied(),
        })
    }

    /// How many observations would move, and to which local dataset. In a transaction.
    pub fn would_move(&mut self, wanted: &Move) -> Result<(i64, Option<i32>), Failure> {
        if wanted.unclear {
            return Ok((0, None));
        }
        let id_source = self.id_source;
        self.as_owner(|_| {
            let places = [&wanted.from, &wanted.to].into_iter();
            let places = metadata::ids(&metadata::DATASETS, places)?;
            let (Some(from), Some(to)) = (places.get(&wanted.from), places.get(&wanted.to)) else {
                return Ok((0, None));
            };
            let rows = Spi::get_one_with_args::<i64>(
                "SELECT count(*) FROM gn_synthese.synthese WHERE id_source = $1 AND id_dataset = $2",
                &[id_source.into(), (*from).into()],
            )?;
            Ok((rows.unwrap_or(0), Some(*to)))
        })
    }

    /// Notes that the observations are where the decision wants them. In a transaction.
    pub fn settle_move(&self, done: &Move) -> Result<(), Failure> {
        Spi::run_with_args(
            "UPDATE gn_harvest.metadata_mapping SET placed_uuid = $3
             WHERE source_id = $1 AND kind = 'dataset' AND uuid = $2",
            &[
                self.source_id.into(),
                pgrx::Uuid::from_bytes(done.uuid).into(),
                pgrx::Uuid::from_bytes(done.to).into(),
            ],
        )?;
        Ok(())
    }
}

fn move_rows(
    id_source: i32,
    from: i32,
    to: i32,
    after: i32,
    touched: &mut Touched,
) -> Result<Vec<i32>, Failure> {
    Spi::connect_mut(|client| {
        let rows = client.update(
            "UPDATE gn_synthese.synthese s SET id_dataset = $3, last_action = 'U'
             FROM (SELECT id_synthese FROM gn_synthese.synthese
                   WHERE id_source = $1 AND id_dataset = $2 AND id_synthese > $4
                   ORDER BY id_synthese LIMIT $5) next
             WHERE s.id_synthese = next.id_synthese
             RETURNING s.id_synthese, s.cd_nom",
            None,
            &[
                id_source.into(),
                from.into(),
                to.into(),
                after.into(),
                MOVED_AT_ONCE.into(),
            ],
        )?;
        let mut ids = Vec::with_capacity(rows.len());
        for row in rows {
            ids.extend(row.get::<i32>(1)?);
            touched.note(row.get::<i32>(2)?, Some(from));
            touched.note(None, Some(to));
        }
        Ok(ids)
    })
}
