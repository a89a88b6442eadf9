//! What a source has said of metadata, in gn_harvest.source_metadata: names to show and map, and the key of one record
//! of each dataset, by which it can be asked for. Not the owner's to write.

use std::collections::BTreeMap;

use pgrx::prelude::*;
use serde_json::Value;

use super::form::{Uuid, identifier, written};
use super::reading::{Metadata, Object};
use crate::error::Failure;
use crate::record::DatasetReference;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Framework,
    Dataset,
    Organism,
}

impl Kind {
    fn code(self) -> &'static str {
        match self {
            Kind::Framework => "framework",
            Kind::Dataset => "dataset",
            Kind::Organism => "organism",
        }
    }
}

/// A framework, dataset or organism of a source.
#[derive(Debug, Clone)]
pub struct Entry {
    kind: Kind,
    uuid: Uuid,
    name: Option<String>,
    framework: Option<Uuid>,
    sample_key: Option<String>,
}

impl Entry {
    pub fn of(kind: Kind, uuid: Uuid, object: &Object) -> Self {
        let text = |member| object.get(member).and_then(Value::as_str);
        Entry {
            kind,
            uuid,
            name: text("name").map(str::to_owned),
            framework: text("framework_uuid").and_then(identifier),
            sample_key: None,
        }
    }

    /// Kind, UUID and name, to show.
    pub fn described(&self) -> (&'static str, String, Option<&str>) {
        (self.kind.code(), written(&self.uuid), self.name.as_deref())
    }

    pub fn organism(uuid: Uuid, name: String) -> Self {
        Entry {
            kind: Kind::Organism,
            uuid,
            name: Some(name),
            framework: None,
            sample_key: None,
        }
    }

    /// The dataset and the framework that a record names; `sample_key` is that record's.
    pub fn named_by(reference: &DatasetReference, sample_key: Option<String>) -> Vec<Self> {
        let plain = |text: &Option<String>| text.as_ref().map(|text| text.replace('\0', ""));
        let dataset = reference.uuid.map(|uuid| Entry {
            kind: Kind::Dataset,
            uuid,
            name: plain(&reference.name),
            framework: reference.framework_uuid,
            sample_key,
        });
        let framework = reference.framework_uuid.map(|uuid| Entry {
            kind: Kind::Framework,
            uuid,
            name: plain(&reference.framework_name),
            framework: None,
            sample_key: None,
        });
        dataset.into_iter().chain(framework).collect()
    }

    pub fn all(metadata: &Metadata) -> Vec<Self> {
        let frameworks = metadata
            .frameworks
            .iter()
            .map(|(uuid, object)| Entry::of(Kind::Framework, *uuid, object));
        let datasets = metadata
            .datasets
            .iter()
            .map(|(uuid, object)| Entry::of(Kind::Dataset, *uuid, object));
        frameworks.chain(datasets).collect()
    }
}

/// Notes what came, and what a run created. Writes only what differs or has not come in this run yet.
pub fn note(
    source_id: i32,
    run_id: i64,
    entries: Vec<Entry>,
    created: bool,
) -> Result<(), Failure> {
    let entries: BTreeMap<(Kind, Uuid), Entry> = entries
        .into_iter()
        .map(|entry| ((entry.kind, entry.uuid), entry))
        .collect();
    if entries.is_empty() {
        return Ok(());
    }
    let texts = |f: fn(&Entry) -> Option<String>| entries.values().map(f).collect::<Vec<_>>();
    let uuids = |f: fn(&Entry) -> Option<Uuid>| {
        let uuids = entries
            .values()
            .map(|entry| f(entry).map(pgrx::Uuid::from_bytes));
        uuids.collect::<Vec<Option<pgrx::Uuid>>>()
    };
    Spi::run_with_args(
        "INSERT INTO gn_harvest.source_metadata AS m (source_id, kind, uuid, name, framework_uuid, sample_key, created, first_run, last_run, looked_at)
         SELECT $1, n.kind, n.uuid, n.name, n.framework_uuid, n.sample_key, $8, $2, $2, now()
         FROM unnest($3::text[], $4::uuid[], $5::text[], $6::uuid[], $7::text[]) n(kind, uuid, name, framework_uuid, sample_key)
         ORDER BY n.kind, n.uuid
         ON CONFLICT (source_id, kind, uuid) DO UPDATE
         SET name = coalesce(EXCLUDED.name, m.name), framework_uuid = coalesce(EXCLUDED.framework_uuid, m.framework_uuid),
             sample_key = coalesce(EXCLUDED.sample_key, m.sample_key), created = m.created OR EXCLUDED.created,
             last_run = EXCLUDED.last_run, looked_at = EXCLUDED.looked_at
         WHERE m.last_run < EXCLUDED.last_run OR EXCLUDED.created AND NOT m.created
            OR (m.name, m.framework_uuid) IS DISTINCT FROM (coalesce(EXCLUDED.name, m.name), coalesce(EXCLUDED.framework_uuid, m.framework_uuid))
            OR m.sample_key IS NULL AND EXCLUDED.sample_key IS NOT NULL",
        &[
            source_id.into(),
            run_id.into(),
            entries.values().map(|entry| entry.kind.code().to_owned()).collect::<Vec<String>>().into(),
            uuids(|entry| Some(entry.uuid)).into(),
            texts(|entry| entry.name.clone()).into(),
            uuids(|entry| entry.framework).into(),
            texts(|entry| entry.sample_key.clone()).into(),
            created.into(),
        ],
    )?;
    Ok(())
}

/// A dataset of which no record has come in a run, and the key of one of its records.
pub struct Unseen {
    pub uuid: Uuid,
    pub sample_key: String,
}

/// The datasets to ask for: those that did not come in this run and whose metadata is the source's, least recently
/// looked at first. `heard`: those of which this run has been told without noting it.
pub fn unseen(
    source_id: i32,
    run_id: i64,
    heard: Vec<Uuid>,
    most: i64,
) -> Result<Vec<Unseen>, Failure> {
    Spi::connect(|client| {
        let rows = client.select(
            "SELECT m.uuid, m.sample_key FROM gn_harvest.source_metadata m
             WHERE m.source_id = $1 AND m.kind = 'dataset' AND m.last_run < $2 AND m.sample_key IS NOT NULL AND NOT m.uuid = ANY ($4)
               AND NOT EXISTS (SELECT FROM gn_harvest.metadata_mapping p
                               WHERE p.source_id = m.source_id AND p.kind = m.kind AND p.uuid = m.uuid)
             ORDER BY m.looked_at NULLS FIRST, m.uuid LIMIT $3",
            None,
            &[
                source_id.into(),
                run_id.into(),
                most.into(),
                heard.into_iter().map(pgrx::Uuid::from_bytes).collect::<Vec<_>>().into(),
            ],
        )?;
        let mut unseen = Vec::with_capacity(rows.len());
        for row in rows {
            if let (Some(uuid), Some(sample_key)) =
                (row.get::<pgrx::Uuid>(1)?, row.get::<String>(2)?)
            {
                unseen.push(Unseen {
                    uuid: *uuid.as_bytes(),
                    sample_key,
                });
            }
        }
        Ok(unseen)
    })
}

/// The record by which a dataset was known does not lead to it any more: another does, or none.
pub fn replace_sample(source_id: i32, uuid: &Uuid, key: Option<String>) -> Result<(), Failure> {
    Spi::run_with_args(
        "UPDATE gn_harvest.source_metadata SET sample_key = $3, looked_at = NULL
         WHERE source_id = $1 AND kind = 'dataset' AND uuid = $2",
        &[
            source_id.into(),
            pgrx::Uuid::from_bytes(*uuid).into(),
            key.into(),
        ],
    )?;
    Ok(())
}
