//! What a run would do to gn_synthese and gn_meta, found out by the code that would do it, without doing it.
//!
//! Observations are resolved, recognised and compared, and not written; what later records of the same run would find of
//! them is in `planned`. Metadata is written for real in subtransactions that are rolled back. What only the target's own
//! triggers and constraints refuse is not seen.

use std::collections::HashSet;
use std::sync::Arc;

use pgrx::pg_sys;
use serde_json::json;

use super::batch::Sorted;
use super::identity::{self, Known};
use super::metadata::{self, Metadata, Outcome};
use super::planned::{self, Planning, Row};
use super::resolve::{Observation, Unknown};
use super::write::{self, Change, Difference};
use super::{Synthese, gather};
use crate::alert::Touched;
use crate::error::Failure;
use crate::plan::tally::{Action, OBSERVATION, Tally};
use crate::postgres;
use crate::record::{Batch, DatasetReference, Reason, Record};
use crate::run::Counts;
use crate::source::Source;
use crate::target::{Reader, Target};

pub struct Planner {
    synthese: Synthese,
    name: String,
    /// What a separate metadata export says.
    described: Metadata,
    /// What records say of their datasets, each distinct description once.
    told: Vec<Arc<DatasetReference>>,
    /// Local datasets to which observations move at the beginning of the run.
    moved_to: HashSet<i32>,
    inserted: i64,
    replays: bool,
    /// By how many observations the source would hold more.
    pub gained: i64,
    pub tally: Tally,
}

impl Planner {
    /// Like `Synthese::open`, without a trace. Returns the source whose lineage counts as well: its own, or that of the
    /// dropped source of the same name that it would take up. Outside of a transaction.
    pub fn open(
        source: &Source,
        run_id: i64,
        owner: pg_sys::Oid,
        search_path: &str,
    ) -> Result<(Self, i32), Failure> {
        let (mut synthese, former) =
            postgres::rehearsal(|| Synthese::look(source, run_id, owner, search_path))?;
        postgres::transaction(planned::create)?;
        let lineage = former.unwrap_or(source.id);
        synthese.source_id = lineage;
        let planner = Planner {
            synthese,
            name: source.name.clone(),
            described: Metadata::default(),
            told: Vec::new(),
            moved_to: HashSet::new(),
            inserted: 0,
            replays: false,
            gained: 0,
            tally: Tally::default(),
        };
        Ok((planner, lineage))
    }

    /// Takes what a separate metadata export says, and learns the datasets that it would create. In a transaction.
    pub fn describe(&mut self, metadata: Metadata) -> Result<(), Failure> {
        self.synthese.set_embedded_aside();
        let uuids: Vec<metadata::Uuid> = metadata.datasets.keys().copied().collect();
        self.described = metadata;
        let described = self.described.clone();
        postgres::subrehearsal(|| {
            self.synthese.as_owner(|synthese| {
                if synthese.metadata_mode.writes() {
                    metadata::apply(&synthese.decisions.follow(described), &synthese.options)?;
                }
                synthese.learn_datasets(uuids.into_iter())
            })
        })
    }

    /// Counts the observations that would move to the datasets that theirs were mapped to. In a transaction.
    pub fn count_moves(&mut self) -> Result<(), Failure> {
        for wanted in self.synthese.moves()? {
            let (rows, to) = self.synthese.would_move(&wanted)?;
            self.moved_to.extend(to.filter(|_| rows > 0));
            if rows > 0 {
                let detail = format!("{rows} move to dataset {}", wanted.destination());
                self.tally.add(Action::Update, OBSERVATION, rows);
                self.tally.detail(Action::Update, OBSERVATION, detail);
            }
        }
        Ok(())
    }

    /// Datasets of which no record has come.
    pub fn unseen(&self, most: i64) -> Result<Vec<super::Unseen>, Failure> {
        let heard = self.told.iter().filter_map(|reference| reference.uuid);
        let (source_id, run_id) = (self.synthese.source_id, self.synthese.run_id);
        metadata::ledger::unseen(source_id, run_id, heard.collect(), most)
    }

    pub fn hear(&mut self, references: Vec<Arc<DatasetReference>>) {
        self.told.extend(self.synthese.heard.hear(references));
    }

    /// What would be created and changed of metadata, all together. In a transaction.
    pub fn plan_metadata(&mut self) -> Result<(), Failure> {
        if !self.synthese.metadata_mode.writes() {
            return Ok(());
        }
        let (described, told) = (std::mem::take(&mut self.described), self.told.clone());
        let outcomes = postgres::subrehearsal(|| {
            self.synthese.as_owner(|synthese| {
                let heard = synthese.heard.take();
                let mut outcomes = Vec::new();
                for (part, creates) in [
                    (described, false),
                    (missing(synthese, &told)?, true),
                    (heard, false),
                ] {
                    let mut options = synthese.options.clone();
                    if creates {
                        options.mode = metadata::Mode::Create;
                    }
                    outcomes.push(metadata::apply(&synthese.decisions.follow(part), &options)?);
                }
                Ok(outcomes)
            })
        })?;
        for outcome in outcomes {
            self.tell(outcome);
        }
        Ok(())
    }

    fn tell(&mut self, outcome: Outcome) {
        let tally = &mut self.tally;
        for (action, object, records) in [
            (Action::Create, "framework", outcome.frameworks_created),
            (Action::Create, "dataset", outcome.datasets_created),
            (Action::Create, "actor", outcome.actors_created),
            (Action::Update, "framework", outcome.frameworks_updated),
            (Action::Update, "dataset", outcome.datasets_updated),
        ] {
            tally.add(action, object, records);
        }
        for entry in &outcome.created {
            let (kind, uuid, name) = entry.described();
            let object = if kind == "organism" { "actor" } else { kind };
            tally.sample(
                Action::Create,
                object,
                None,
                json!({"uuid": uuid, "name": name}),
            );
        }
        for warning in outcome.warnings {
            tally.warn(warning);
        }
    }

    fn recognise(&mut self, observations: &[Observation]) -> Result<Known, Failure> {
        let synthese = &mut self.synthese;
        let source_id = synthese.source_id;
        let mut lineage = identity::lineage(source_id, observations)?;
        let mut held = synthese.as_owner(|_| identity::held(&lineage, observations))?;
        let planning = Planning {
            source_id,
            id_source: synthese.id_source,
            run_id: synthese.run_id,
            name: &self.name,
        };
        planned::correct(&planning, observations, &mut lineage, &mut held)?;
        Ok(Known::new(source_id, lineage, held))
    }

    /// Counts what would be written of a batch, and keeps it in mind for the next ones.
    fn place(&mut self, sorted: &Sorted, counts: &mut Counts) -> Result<(), Failure> {
        let mut placed = Vec::with_capacity(sorted.new.len() + sorted.known.len());
        for observation in &sorted.new {
            self.inserted += 1;
            placed.push(placed_at(observation, -self.inserted));
            self.tally.add(Action::Insert, OBSERVATION, 1);
            if self.tally.wants_sample(Action::Insert, OBSERVATION, None) {
                let sample = json!({"key": observation.key, "uuid": observation.uuid.map(|uuid| metadata::written(&uuid)),
                                    "cd_nom": observation.shown("cd_nom"), "nom_cite": observation.shown("nom_cite")});
                self.tally.sample(Action::Insert, OBSERVATION, None, sample);
            }
        }
        counts.inserted += sorted.new.len() as i64;
        // What this plan would have inserted can not be compared: it came again because it changed.
        let again = sorted.known.iter().filter(|(_, id, _)| *id < 0).count();
        let updated = again + self.compare(sorted)?;
        self.tally.add(Action::Update, OBSERVATION, updated as i64);
        counts.updated += updated as i64;
        counts.unchanged += (sorted.known.len() - updated) as i64;
        let known = sorted.known.iter();
        placed.extend(known.map(|(observation, id, _)| placed_at(observation, *id)));
        planned::note(self.synthese.source_id, &placed, &sorted.displaced)?;
        let all = sorted
            .new
            .iter()
            .chain(sorted.known.iter().map(|(observation, ..)| observation));
        let items = all.map(|observation| observation.item).collect();
        self.gained += sorted.gained(&items);
        Ok(())
    }

    /// How many rows differ from what came.
    fn compare(&mut self, sorted: &Sorted) -> Result<usize, Failure> {
        let changes: Vec<Change> = sorted
            .known
            .iter()
            .filter(|(_, id, _)| *id > 0)
            .map(|(observation, id_synthese, _)| Change {
                observation,
                id_synthese: *id_synthese,
            })
            .collect();
        let (tally, moved_to) = (&mut self.tally, &self.moved_to);
        self.synthese.as_owner(|synthese| {
            let (referential, id_source) = (&synthese.referential, synthese.id_source);
            let protected = &synthese.rules.protected;
            let mut changed = 0;
            for (position, mut difference) in write::differences(
                referential,
                id_source,
                protected,
                &changes,
                &mut Touched::default(),
            )?
            .concat()
            {
                let change = &changes[position];
                // It has moved before it is read, and was counted then.
                if moved_to.contains(&change.observation.id_dataset) {
                    difference.forget_dataset();
                }
                if difference.is_none() {
                    continue;
                }
                changed += 1;
                for name in difference.names() {
                    tally.detail(Action::Update, OBSERVATION, name.to_owned());
                }
                if tally.wants_sample(Action::Update, OBSERVATION, None) {
                    let changes = write::example(referential, id_source, &difference, change)?;
                    let changes = changes
                        .and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
                    let sample = json!({"key": change.observation.key, "changes": changes});
                    tally.sample(Action::Update, OBSERVATION, None, sample);
                }
            }
            Ok(changed)
        })
    }

    /// Of dead letters that are replayed, those that the plan has not met otherwise.
    fn unmet(
        &self,
        records: Vec<(usize, Record)>,
        counts: &mut Counts,
    ) -> Result<Vec<(usize, Record)>, Failure> {
        if !self.replays {
            return Ok(records);
        }
        let keys = records.iter().filter_map(|(_, record)| record.key.clone());
        let met = planned::met(keys.collect())?;
        let before = records.len();
        let unmet: Vec<(usize, Record)> = records
            .into_iter()
            .filter(|(_, record)| record.key.as_ref().is_none_or(|key| !met.contains(key)))
            .collect();
        counts.fetched -= (before - unmet.len()) as i64;
        Ok(unmet)
    }
}

fn placed_at(observation: &Observation, id: i64) -> Row {
    Row {
        id,
        key_number: observation.key_number,
        key: Some(observation.key.clone()),
        uuid: observation.uuid,
        attributes_hash: Some(observation.attributes_hash),
        geometry_hash: Some(observation.geometry_hash),
    }
}

/// What records say of datasets that are not here.
fn missing(synthese: &Synthese, told: &[Arc<DatasetReference>]) -> Result<Metadata, Failure> {
    let uuids: Vec<metadata::Uuid> = told.iter().filter_map(|reference| reference.uuid).collect();
    let here = metadata::ids(&metadata::DATASETS, uuids.iter())?;
    let mut metadata = Metadata::default();
    for reference in told {
        if reference.uuid.is_some_and(|uuid| {
            !here.contains_key(&uuid) && synthese.decisions.dataset(&uuid).is_none()
        }) {
            metadata.add_reference(reference);
        }
    }
    Ok(metadata)
}

impl Target for Planner {
    fn reader(&self) -> Reader {
        self.synthese.reader()
    }

    /// Counts what would be written, and writes nothing.
    fn write(
        &mut self,
        texts: &[Vec<String>],
        batches: Vec<Batch>,
        counts: &mut Counts,
    ) -> Result<(), Failure> {
        let (records, items, mut letters, references) = gather::gather(texts, batches, counts);
        let records = self.unmet(records, counts)?;
        self.hear(references);
        let synthese = &mut self.synthese;
        let said = records.iter().map(|(_, record)| record);
        synthese.formats.learn(said, &synthese.referential);
        let mut unknown = Unknown::new();
        let (observations, _) = postgres::subrehearsal(|| {
            synthese.as_owner(|s| s.resolve(records, &items, &mut letters, &mut unknown))
        })?;
        let known = self.recognise(&observations)?;
        let skipped = counts.skipped;
        let sorted = self
            .synthese
            .sort(known, observations, &items, &mut letters, counts)?;
        if counts.skipped > skipped {
            self.tally
                .add(Action::Skip, OBSERVATION, counts.skipped - skipped);
        }
        self.place(&sorted, counts)?;
        let source_id = self.synthese.source_id;
        planned::refuse(&mut self.tally, OBSERVATION, source_id, &letters, counts)
    }

    /// Nothing is ever deleted: what would be is counted elsewhere.
    fn delete(&mut self, _ids: &[i64]) -> Result<(usize, Option<String>), Failure> {
        Ok((0, None))
    }

    fn datasets_here(&mut self, batch: Batch) -> Result<HashSet<String>, Failure> {
        self.hear(batch.datasets.clone());
        postgres::subrehearsal(|| self.synthese.find_datasets(batch))
    }

    fn replaying(&mut self, refused_as: Option<Reason>) {
        self.replays = true;
        self.synthese.replaying(refused_as);
    }
}

impl Difference {
    fn forget_dataset(&mut self) {
        self.columns
            .retain(|column| *column != super::columns::Written::IdDataset);
    }

    fn is_none(&self) -> bool {
        self.columns.is_empty() && !self.geometry
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        let columns = self.columns.iter().map(|column| column.name());
        columns.chain(self.geometry.then_some("the_geom_4326"))
    }
}
