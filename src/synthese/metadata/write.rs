//! Metadata that was read, into the tables: actors, publications and protocols first, then frameworks with their
//! parents, then datasets, then what hangs on them. Two runs may create the same at the same time: rows go in in the
//! order of their UUIDs, the second waits for the first and takes what it made.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;
use pgrx::spi::SpiClient;

use super::form::{Uuid, written};
use super::ledger::{self, Entry};
use super::reading::{DATASET, FRAMEWORK, Metadata, Object};
use super::{Mode, Options, Outcome, links};
use crate::error::Failure;

pub const NOMENCLATURE: &str = include_str!("nomenclature.sql");
const UNKNOWN_CODES: &str = include_str!("unknown_codes.sql");
const COLUMN_DEFAULTS: &str = include_str!("column_defaults.sql");
const ORGANISMS: &str = include_str!("organisms.sql");
const PERSONS: &str = include_str!("persons.sql");
const PUBLICATIONS_CREATE: &str = include_str!("publications_create.sql");
const PUBLICATIONS_UPDATE: &str = include_str!("publications_update.sql");
const PROTOCOLS_CREATE: &str = include_str!("protocols_create.sql");
const PROTOCOLS_UPDATE: &str = include_str!("protocols_update.sql");
const FRAMEWORKS_CREATE: &str = include_str!("frameworks_create.sql");
const FRAMEWORKS_UPDATE: &str = include_str!("frameworks_update.sql");
const FRAMEWORKS_LINK: &str = include_str!("frameworks_link.sql");
const DATASETS_CREATE: &str = include_str!("datasets_create.sql");
const DATASETS_UPDATE: &str = include_str!("datasets_update.sql");

/// Member of a framework that is brought up to date but not created.
pub const ONLY_IF_HERE: &str = "only_if_here";

/// Frameworks or datasets: the names that they have in gn_meta.
pub struct Kind {
    kind: ledger::Kind,
    pub parents: &'static str,
    parent: &'static str,
    parent_uuid: &'static str,
    pub actors: &'static str,
}

pub const FRAMEWORKS: Kind = Kind {
    kind: ledger::Kind::Framework,
    parents: "t_acquisition_frameworks",
    parent: "id_acquisition_framework",
    parent_uuid: "unique_acquisition_framework_id",
    actors: "cor_acquisition_framework_actor",
};

pub const DATASETS: Kind = Kind {
    kind: ledger::Kind::Dataset,
    parents: "t_datasets",
    parent: "id_dataset",
    parent_uuid: "unique_dataset_id",
    actors: "cor_dataset_actor",
};

impl Kind {
    pub fn fill(&self, statement: &str) -> String {
        statement
            .replace("{parents}", self.parents)
            .replace("{parent_uuid}", self.parent_uuid)
            .replace("{parent}", self.parent)
    }
}

/// Writes all of it or fails.
pub fn write(metadata: &Metadata, options: &Options) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::default();
    Spi::connect_mut(|client| {
        let metadata = &unsettled(client, metadata, options)?;
        tell_unknown_codes(client, metadata, &mut outcome)?;
        write_actors(client, metadata, options, &mut outcome)?;
        write_works(client, metadata, options)?;
        let frameworks = write_kind(client, &FRAMEWORKS, &metadata.frameworks, options)?;
        outcome.frameworks_created += frameworks.created;
        outcome.frameworks_updated += frameworks.updated;
        outcome.created.extend(frameworks.entries);
        let datasets = write_kind(client, &DATASETS, &metadata.datasets, options)?;
        outcome.datasets_created += datasets.created;
        outcome.datasets_updated += datasets.updated;
        outcome.created.extend(datasets.entries);
        outcome.warnings.extend(datasets.missing.iter().map(|uuid| {
            format!(
                "dataset {} could not be created: its framework is not here",
                written(uuid)
            )
        }));
        Ok(outcome)
    })
}

/// Leaves out what is here and must not be changed: its actors, too, would be created for nobody. And frameworks that
/// are not here and have nothing to hold.
fn unsettled(
    client: &mut SpiClient,
    metadata: &Metadata,
    options: &Options,
) -> Result<Metadata, Failure> {
    let mut unsettled = metadata.clone();
    for (kind, items) in [
        (&FRAMEWORKS, &mut unsettled.frameworks),
        (&DATASETS, &mut unsettled.datasets),
    ] {
        let wanted_if_here = items.values().any(|item| item.contains_key(ONLY_IF_HERE));
        if options.mode == Mode::Create || !options.frozen.is_empty() || wanted_if_here {
            let here = find(client, kind, items.keys())?;
            let settled =
                |uuid: &Uuid| options.mode == Mode::Create || options.frozen.contains(uuid);
            items.retain(|uuid, item| match here.contains_key(uuid) {
                true => !settled(uuid),
                false => !item.contains_key(ONLY_IF_HERE),
            });
        }
    }
    Ok(unsettled)
}

/// The ids of those that are here.
pub fn ids<'u>(
    kind: &Kind,
    uuids: impl Iterator<Item = &'u Uuid>,
) -> Result<BTreeMap<Uuid, i32>, Failure> {
    Spi::connect_mut(|client| find(client, kind, uuids))
}

#[derive(Default)]
struct Written {
    created: i64,
    updated: i64,
    missing: Vec<Uuid>,
    /// What was created.
    entries: Vec<Entry>,
}

/// Frameworks, or datasets, with their lists and actors.
fn write_kind(
    client: &mut SpiClient,
    kind: &Kind,
    items: &BTreeMap<Uuid, Object>,
    options: &Options,
) -> Result<Written, Failure> {
    if items.is_empty() {
        return Ok(Written::default());
    }
    let json = listed(items.values())?;
    let (created, linked) = create(client, kind, &json)?;
    let created: HashSet<i32> = created.into_iter().collect();
    let here = find(client, kind, items.keys())?;
    // Another run may just have created some; they are its own.
    let update = options.mode == Mode::CreateAndUpdate;
    let known = here
        .values()
        .copied()
        .filter(|id| update && !created.contains(id));
    let known: Vec<i32> = known.collect();
    let mut updated: HashSet<i32> = linked.into_iter().collect();
    if !known.is_empty() {
        let statement = if kind.parents == DATASETS.parents {
            DATASETS_UPDATE
        } else {
            FRAMEWORKS_UPDATE
        };
        let statement = format!("{NOMENCLATURE}{statement}");
        updated.extend(numbers(
            client,
            &statement,
            &[json.as_str().into(), known.clone().into()],
        )?);
    }
    let written: Vec<i32> = created.iter().copied().chain(known).collect();
    updated.extend(links::write(client, kind, &json, &written, options)?);
    let entries = here
        .iter()
        .filter(|(_, id)| created.contains(id))
        .filter_map(|(uuid, _)| Some(Entry::of(kind.kind, *uuid, items.get(uuid)?)));
    Ok(Written {
        entries: entries.collect(),
        created: created.len() as i64,
        updated: updated.difference(&created).count() as i64,
        missing: items
            .keys()
            .filter(|uuid| !here.contains_key(*uuid))
            .copied()
            .collect(),
    })
}

/// Creates what is not here, and links frameworks to the parents that have come. Returns the ids of both.
fn create(
    client: &mut SpiClient,
    kind: &Kind,
    json: &str,
) -> Result<(Vec<i32>, Vec<i32>), Failure> {
    if kind.parents == DATASETS.parents {
        let statement = format!("{NOMENCLATURE}{DATASETS_CREATE}");
        let defaults = column_defaults(client)?;
        return Ok((
            numbers(client, &statement, &[json.into(), defaults.into()])?,
            Vec::new(),
        ));
    }
    let statement = format!("{NOMENCLATURE}{FRAMEWORKS_CREATE}");
    let created = numbers(client, &statement, &[json.into()])?;
    let linked = match created.is_empty() {
        true => Vec::new(),
        false => numbers(client, FRAMEWORKS_LINK, &[created.clone().into()])?,
    };
    Ok((created, linked))
}

fn find<'u>(
    client: &mut SpiClient,
    kind: &Kind,
    uuids: impl Iterator<Item = &'u Uuid>,
) -> Result<BTreeMap<Uuid, i32>, Failure> {
    let uuids: Vec<pgrx::Uuid> = uuids.copied().map(pgrx::Uuid::from_bytes).collect();
    let statement = kind.fill(
        "SELECT {parent_uuid}, {parent} FROM gn_meta.{parents} WHERE {parent_uuid} = ANY ($1)",
    );
    let mut found = BTreeMap::new();
    for row in client.update(&statement, None, &[uuids.into()])? {
        if let (Some(uuid), Some(id)) = (row.get::<pgrx::Uuid>(1)?, row.get::<i32>(2)?) {
            found.insert(*uuid.as_bytes(), id);
        }
    }
    Ok(found)
}

/// The local numbers of the defaults, by column, as JSON. The column's own expression is what an INSERT would use.
fn column_defaults(client: &mut SpiClient) -> Result<String, Failure> {
    let mut pairs = Vec::new();
    for row in client.update(COLUMN_DEFAULTS, None, &[])? {
        if let (Some(column), Some(expression)) = (row.get::<String>(1)?, row.get::<String>(2)?) {
            pairs.push(format!("'{column}', ({expression})"));
        }
    }
    let statement = format!("SELECT jsonb_build_object({})::text", pairs.join(", "));
    let defaults = client
        .update(&statement, None, &[])?
        .first()
        .get::<String>(1)?;
    Ok(defaults.unwrap_or_else(|| "{}".to_owned()))
}

fn write_actors(
    client: &mut SpiClient,
    metadata: &Metadata,
    options: &Options,
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    let organisms = metadata.nested(
        "actors",
        "organism_uuid",
        &["organism_name", "organism_email", "named"],
    );
    let names: BTreeSet<&str> = organisms
        .values()
        .filter_map(|o| o.get("name")?.as_str())
        .collect();
    if !organisms.is_empty() {
        let arguments = [
            listed(organisms.values())?.into(),
            options.organisms_by_name.into(),
        ];
        for row in client.update(ORGANISMS, None, &arguments)? {
            let name = row.get::<String>(1)?.unwrap_or_default();
            outcome.actors_created += 1;
            if let Some(uuid) = row.get::<pgrx::Uuid>(2)? {
                outcome
                    .created
                    .push(Entry::organism(*uuid.as_bytes(), name.clone()));
            }
            if name.ends_with(')') && !names.contains(name.as_str()) {
                outcome.warnings.push(format!(
                    "organism \"{name}\": another organism has the same name here"
                ));
            }
        }
    }
    let persons = metadata.nested(
        "actors",
        "person_uuid",
        &["person_name", "person_first_name", "person_email"],
    );
    if options.create_persons && !persons.is_empty() {
        let created = client.update(PERSONS, None, &[listed(persons.values())?.into()])?;
        outcome.actors_created += created.len() as i64;
    }
    Ok(())
}

/// Publications and protocols.
fn write_works(
    client: &mut SpiClient,
    metadata: &Metadata,
    options: &Options,
) -> Result<(), Failure> {
    let protocols = [
        format!("{NOMENCLATURE}{PROTOCOLS_CREATE}"),
        format!("{NOMENCLATURE}{PROTOCOLS_UPDATE}"),
    ];
    let works = [
        (
            metadata.nested("publications", "uuid", &["reference", "url"]),
            PUBLICATIONS_CREATE,
            PUBLICATIONS_UPDATE,
        ),
        (
            metadata.nested("protocols", "uuid", &["name", "desc", "type", "url"]),
            &protocols[0],
            &protocols[1],
        ),
    ];
    for (items, creation, update) in works {
        if items.is_empty() {
            continue;
        }
        let json = listed(items.values())?;
        client.update(creation, None, &[json.as_str().into()])?;
        if options.mode == Mode::CreateAndUpdate {
            client.update(update, None, &[json.as_str().into()])?;
        }
    }
    Ok(())
}

/// Warns of codes that this database does not have.
fn tell_unknown_codes(
    client: &mut SpiClient,
    metadata: &Metadata,
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    let mut said: BTreeSet<(&str, &str)> = BTreeSet::new();
    metadata
        .frameworks
        .values()
        .for_each(|framework| said.extend(super::reading::codes(framework, &FRAMEWORK)));
    metadata
        .datasets
        .values()
        .for_each(|dataset| said.extend(super::reading::codes(dataset, &DATASET)));
    let (types, codes): (Vec<String>, Vec<String>) = said
        .iter()
        .map(|(t, c)| ((*t).to_owned(), (*c).to_owned()))
        .unzip();
    if types.is_empty() {
        return Ok(());
    }
    for row in client.update(
        &format!("{NOMENCLATURE}{UNKNOWN_CODES}"),
        None,
        &[types.into(), codes.into()],
    )? {
        let (nomenclature, code) = (
            row.get::<String>(1)?.unwrap_or_default(),
            row.get::<String>(2)?.unwrap_or_default(),
        );
        outcome.warnings.push(format!(
            "metadata: nomenclature {nomenclature} has no code \"{code}\" here"
        ));
    }
    Ok(())
}

/// The first column of what a statement returns.
pub fn numbers(
    client: &mut SpiClient,
    statement: &str,
    arguments: &[DatumWithOid],
) -> Result<Vec<i32>, Failure> {
    let mut numbers = Vec::new();
    for row in client.update(statement, None, arguments)? {
        numbers.extend(row.get::<i32>(1)?);
    }
    Ok(numbers)
}

fn listed<'o>(objects: impl Iterator<Item = &'o Object>) -> Result<String, Failure> {
    let list: Vec<&Object> = objects.collect();
    serde_json::to_string(&list).map_err(|error| {
        Failure::new(
            "XX000",
            format!("metadata could not be written as JSON: {error}"),
        )
    })
}
