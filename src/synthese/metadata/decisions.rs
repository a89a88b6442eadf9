//! Decisions of `map_dataset`: what comes of datasets, frameworks and organisms is made to speak of the local ones.

use std::collections::{HashMap, HashSet};

use pgrx::prelude::*;
use serde_json::Value;

use super::form::{Uuid, identifier, written};
use super::reading::{Metadata, Object};
use super::write::ONLY_IF_HERE;
use crate::error::Failure;

/// For each kind, UUID at the source to local UUID.
#[derive(Debug, Default)]
pub struct Decisions {
    datasets: HashMap<Uuid, Uuid>,
    frameworks: HashMap<Uuid, Uuid>,
    organisms: HashMap<Uuid, Uuid>,
}

impl Decisions {
    pub fn load(source_id: i32) -> Result<Self, Failure> {
        let mut decisions = Decisions::default();
        Spi::connect(|client| -> Result<(), Failure> {
            let query = "SELECT kind, uuid, local_uuid FROM gn_harvest.metadata_mapping WHERE source_id = $1";
            for row in client.select(query, None, &[source_id.into()])? {
                let kind = row.get::<String>(1)?.unwrap_or_default();
                let of_kind = match kind.as_str() {
                    "dataset" => &mut decisions.datasets,
                    "framework" => &mut decisions.frameworks,
                    _ => &mut decisions.organisms,
                };
                if let (Some(uuid), Some(local)) =
                    (row.get::<pgrx::Uuid>(2)?, row.get::<pgrx::Uuid>(3)?)
                {
                    of_kind.insert(*uuid.as_bytes(), *local.as_bytes());
                }
            }
            Ok(())
        })?;
        Ok(decisions)
    }

    /// The local dataset for one of the source.
    pub fn dataset(&self, uuid: &Uuid) -> Option<Uuid> {
        self.datasets.get(uuid).copied()
    }

    /// Datasets of the source with the local ones that they are.
    pub fn datasets(&self) -> impl Iterator<Item = (&Uuid, &Uuid)> {
        self.datasets.iter()
    }

    /// What is local and was mapped to: not to be changed, should the source describe it as well.
    pub fn frozen(&self) -> HashSet<Uuid> {
        let local = self.datasets.values().chain(self.frameworks.values());
        local.copied().collect()
    }

    /// Leaves out mapped datasets and frameworks and lets what remains refer to the local frameworks and organisms.
    /// A framework all of whose datasets are mapped is not created for nothing.
    pub fn follow(&self, mut metadata: Metadata) -> Metadata {
        let mut emptied: HashSet<Uuid> = HashSet::new();
        metadata.datasets.retain(|uuid, dataset| {
            let mapped = self.datasets.contains_key(uuid);
            if mapped {
                emptied.extend(uuid_in(dataset, "framework_uuid"));
            }
            !mapped
        });
        let held = metadata.datasets.values();
        let held = held.filter_map(|dataset| uuid_in(dataset, "framework_uuid"));
        let parents = metadata.frameworks.values();
        let parents = parents.filter_map(|framework| uuid_in(framework, "parent_uuid"));
        let needed: HashSet<Uuid> = held.chain(parents).collect();
        metadata
            .frameworks
            .retain(|uuid, _| !self.frameworks.contains_key(uuid));
        for (uuid, framework) in &mut metadata.frameworks {
            if emptied.contains(uuid) && !needed.contains(uuid) {
                framework.insert(ONLY_IF_HERE.to_owned(), true.into());
            }
            translate(framework, "parent_uuid", &self.frameworks);
            self.translate_actors(framework);
        }
        for dataset in metadata.datasets.values_mut() {
            translate(dataset, "framework_uuid", &self.frameworks);
            self.translate_actors(dataset);
        }
        metadata
    }

    fn translate_actors(&self, holder: &mut Object) {
        if self.organisms.is_empty() {
            return;
        }
        let actors = holder.get_mut("actors").and_then(Value::as_array_mut);
        for actor in actors
            .into_iter()
            .flatten()
            .filter_map(Value::as_object_mut)
        {
            if translate(actor, "organism_uuid", &self.organisms) {
                // It is known by its UUID now, whatever its name.
                actor.insert("named".to_owned(), false.into());
                actor.remove("organism_name");
                actor.remove("organism_email");
            }
        }
    }
}

fn uuid_in(object: &Object, member: &str) -> Option<Uuid> {
    object.get(member)?.as_str().and_then(identifier)
}

/// Whether the member was one of those mapped.
fn translate(object: &mut Object, member: &str, to: &HashMap<Uuid, Uuid>) -> bool {
    let local = uuid_in(object, member).and_then(|uuid| to.get(&uuid));
    if let Some(local) = local {
        object.insert(member.to_owned(), written(local).into());
    }
    local.is_some()
}
