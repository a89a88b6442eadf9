//! The dataset that a record belongs to, as its source describes it.
//!
//! An export repeats the same metadata in each record; each distinct one of a page is read
//! once and shared.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::value::RawValue;
use xxhash_rust::xxh3::xxh3_128;

use super::json::canonical;
use super::rejection::{Fault, Reason};
use super::scalar::{Raw, Stripped, uuid};

/// What a record says about its dataset and that dataset's acquisition framework.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DatasetReference {
    pub uuid: Option<[u8; 16]>,
    pub name: Option<String>,
    pub framework_uuid: Option<[u8; 16]>,
    pub framework_name: Option<String>,
    /// `jdd_acteurs` as written: JSON, or a sentence in the stock view.
    pub actors: Option<String>,
    /// `jdd_data` and `ca_data` as canonical JSON objects.
    pub dataset: Option<String>,
    pub framework: Option<String>,
}

/// A column of the export and its raw value in one record.
pub(super) type Cell<'a> = (&'a str, Option<&'a str>);

/// The cells that describe a record's dataset.
#[derive(Clone, Copy)]
pub(super) enum Cells<'a> {
    Embedded {
        dataset: Cell<'a>,
        framework: Cell<'a>,
    },
    /// UUID, name, framework UUID, framework name, actors.
    Names([Cell<'a>; 5]),
}

type Found = Result<Option<Arc<DatasetReference>>, Fault>;

/// The datasets of one page, each read once.
#[derive(Default)]
pub(super) struct Datasets {
    known: HashMap<u128, Found>,
    pub distinct: Vec<Arc<DatasetReference>>,
}

impl Datasets {
    /// The record's dataset; `None` when all its cells are null or absent.
    pub fn find(&mut self, cells: Cells, stripped: &Stripped) -> Found {
        let mark = match cells {
            Cells::Embedded { dataset, framework } => fingerprint(&[dataset, framework]),
            Cells::Names(cells) => fingerprint(&cells),
        };
        if let Some(found) = self.known.get(&mark) {
            return found.clone();
        }
        let found = match cells {
            Cells::Embedded { dataset, framework } => embedded(dataset, framework, stripped),
            Cells::Names(cells) => named(cells, stripped),
        };
        let found = found.map(|found| {
            let found = Some(found).filter(|found| *found != DatasetReference::default())?;
            let same = self
                .distinct
                .iter()
                .find(|known| ***known == found)
                .cloned();
            Some(same.unwrap_or_else(|| {
                self.distinct.push(Arc::new(found));
                Arc::clone(&self.distinct[self.distinct.len() - 1])
            }))
        });
        self.known.insert(mark, found.clone());
        found
    }
}

/// 128 bits of the raw texts: two that differ will not be taken for each other.
fn fingerprint(cells: &[Cell]) -> u128 {
    cells.iter().fold(0, |mark, (_, value)| {
        let mark =
            u128::rotate_left(mark, 31).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
        mark ^ value.map_or(1, |value| xxh3_128(value.as_bytes()))
    })
}

fn fault(cell: Cell, message: impl Into<String>) -> Fault {
    Fault::new(Reason::UnmappedDataset, message).at(cell.0, cell.1.unwrap_or_default())
}

fn embedded(
    dataset: Cell,
    framework: Cell,
    stripped: &Stripped,
) -> Result<DatasetReference, Fault> {
    let mut found = DatasetReference::default();
    if let Some(text) = object(dataset, stripped)? {
        (found.uuid, found.name) = identity(dataset, &text, stripped)?;
        found.dataset = Some(text);
    }
    if let Some(text) = object(framework, stripped)? {
        (found.framework_uuid, found.framework_name) = identity(framework, &text, stripped)?;
        found.framework = Some(text);
    }
    Ok(found)
}

/// A cell's JSON object, or the object that its text holds, in canonical form.
fn object(cell: Cell, stripped: &Stripped) -> Result<Option<String>, Fault> {
    let raw = decode(cell, stripped)?;
    let text: &str = match &raw {
        Raw::Null => return Ok(None),
        Raw::Text(text) if text.trim().is_empty() => return Ok(None),
        Raw::Text(text) => text.trim(),
        Raw::Bare(text) | Raw::Nested(text) => text,
    };
    if !text.starts_with('{') {
        return Err(fault(cell, "the metadata is not a JSON object"));
    }
    let valid: Result<&RawValue, _> = serde_json::from_str(text);
    valid.map_err(|error| fault(cell, format!("the metadata cannot be read: {error}")))?;
    let whole = canonical(text, stripped);
    whole.map(Some).map_err(|flaw| fault(cell, flaw.message))
}

type Identity = (Option<[u8; 16]>, Option<String>);

fn identity(cell: Cell, object: &str, stripped: &Stripped) -> Result<Identity, Fault> {
    let members: HashMap<String, &RawValue> = serde_json::from_str(object)
        .map_err(|error| fault(cell, format!("the metadata cannot be read: {error}")))?;
    let member = |name: &str| (cell.0, members.get(name).map(|value| value.get()));
    Ok((
        identifier(member("uuid"), stripped)?,
        name(member("name"), stripped)?,
    ))
}

fn named(cells: [Cell; 5], stripped: &Stripped) -> Result<DatasetReference, Fault> {
    let [dataset, dataset_name, framework, framework_name, actors] = cells;
    Ok(DatasetReference {
        uuid: identifier(dataset, stripped)?,
        name: name(dataset_name, stripped)?,
        framework_uuid: identifier(framework, stripped)?,
        framework_name: name(framework_name, stripped)?,
        actors: match decode(actors, stripped)? {
            Raw::Null => None,
            Raw::Text(text) => Some(text.into_owned()),
            Raw::Bare(text) => Some(text.to_owned()),
            Raw::Nested(text) => {
                Some(canonical(text, stripped).map_err(|flaw| fault(actors, flaw.message))?)
            }
        },
        dataset: None,
        framework: None,
    })
}

fn decode<'a>(cell: Cell<'a>, stripped: &Stripped) -> Result<Raw<'a>, Fault> {
    let value = cell.1.unwrap_or("null");
    Raw::decode(value, stripped).map_err(|flaw| fault(cell, flaw.message))
}

fn identifier(cell: Cell, stripped: &Stripped) -> Result<Option<[u8; 16]>, Fault> {
    match decode(cell, stripped)? {
        Raw::Null => Ok(None),
        Raw::Text(text) if text.trim().is_empty() => Ok(None),
        Raw::Text(text) => match uuid(text.trim()) {
            Some(uuid) => Ok(Some(uuid)),
            None => Err(fault(cell, "its identifier is not a UUID")),
        },
        _ => Err(fault(cell, "its identifier is not a UUID")),
    }
}

fn name(cell: Cell, stripped: &Stripped) -> Result<Option<String>, Fault> {
    match decode(cell, stripped)? {
        Raw::Null => Ok(None),
        Raw::Nested(_) => Err(fault(cell, "its name is not a text")),
        Raw::Bare(text) => Ok(Some(text.to_owned())),
        Raw::Text(text) => Ok(Some(text.into_owned())),
    }
}
