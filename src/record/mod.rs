//! From the raw JSON items of an export to typed records, or rejections with their reason.
//!
//! Pure: no PostgreSQL, no network, no panic whatever comes. What it promises: absent, null
//! and unknown stay three different things; nothing is cut, rounded or guessed, and what
//! cannot be kept whole is refused with the column and the value.

mod dataset;
mod date;
mod geojson;
mod geometry;
pub mod hash;
mod item;
mod json;
mod plan;
mod reading;
mod rejection;
mod scalar;
mod value;
mod whole;
mod wkt;

use std::sync::Arc;

pub use dataset::DatasetReference;
pub use geometry::Geometry;
pub use rejection::{Reason, Rejection, quoted};
pub use scalar::whole_number;
pub use value::Value;

use crate::mapping::{COLUMNS, Kind, Layout, column_index};
use plan::Plan;
use reading::Page;

/// An observation of a source, each value of the type of its `synthese` column.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The source's own identifier, as text; never `None` in a batch.
    pub key: Option<String>,
    /// The same as a number, where the export's keys are numbers.
    pub key_number: Option<i64>,
    /// Parallel to [`COLUMNS`].
    pub values: Vec<Value>,
    pub geometry: Option<Geometry>,
    /// `None` when the record says nothing of its dataset.
    pub dataset: Option<Arc<DatasetReference>>,
    /// The type and code of the area that it is attached to.
    pub area: Option<(String, String)>,
    /// When it last changed, as the source wrote it.
    pub action_date: Option<String>,
    /// The whole of it, where the layout says that items are kept; then `values` is empty.
    pub item: Option<Item>,
}

/// An item that is kept whole: its columns, without the geometry of a GeoJSON Feature.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Canonical JSON text of an object that `jsonb` can hold: the same data has the same text.
    pub text: String,
    pub hash: u128,
    pub uuid: Option<[u8; 16]>,
    /// Why the geometry that it has in a column could not be read.
    pub flaw: Option<String>,
}

impl Record {
    /// Its UUID, if it has one.
    pub fn uuid(&self) -> Option<[u8; 16]> {
        if let Some(item) = &self.item {
            return item.uuid;
        }
        match self.values.get(column_index("unique_id_sinp")?) {
            Some(Value::Uuid(uuid)) => Some(*uuid),
            _ => None,
        }
    }
}

/// What one page gave.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// Each with the position of its item in the page.
    pub records: Vec<(usize, Record)>,
    pub rejected: Vec<(usize, Rejection)>,
    /// The smallest and the greatest numeric key, rejected records included.
    pub first_key: Option<i64>,
    pub last_key: Option<i64>,
    /// The latest change, as the source wrote it, rejected records included.
    pub greatest_action: Option<String>,
    /// Each distinct dataset of the page once, in order of appearance.
    pub datasets: Vec<Arc<DatasetReference>>,
    /// Values from which U+0000, which PostgreSQL cannot hold, was taken away.
    pub stripped: usize,
}

/// The target's limits on texts, in characters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lengths(Vec<Option<usize>>);

impl Lengths {
    /// From (`synthese` column, length of its `varchar`); other columns have no limit.
    pub fn new<'a>(limits: impl IntoIterator<Item = (&'a str, usize)>) -> Self {
        let mut lengths = vec![None; COLUMNS.len()];
        for (target, limit) in limits {
            if let Some(index) = column_index(target) {
                lengths[index] = Some(limit);
            }
        }
        Self(lengths)
    }

    fn limit(&self, index: usize) -> Option<usize> {
        self.0.get(index).copied().flatten()
    }
}

/// Reads the items of a page. Each item ends up in `records` or in `rejected`.
pub fn parse_page<'a>(
    items: impl Iterator<Item = &'a str>,
    layout: &Layout,
    lengths: &Lengths,
) -> Batch {
    let plan = Plan::new(layout, lengths);
    let mut page = Page::new(&plan);
    for (position, item) in items.enumerate() {
        page.read(position, item);
    }
    page.finish()
}

/// A constant as a value of a kind of column; the error says why it is none.
pub fn constant(kind: Kind, text: &str) -> Result<Value, String> {
    let raw = scalar::Raw::Text(text.into());
    value::convert(kind, None, raw, &scalar::Stripped::default()).map_err(|fault| fault.message)
}

/// A geometry from WKT, EWKT (SRID 4326) or GeoJSON; the error says what is wrong with it.
pub fn parse_geometry(text: &str) -> Result<Geometry, String> {
    let text = text.trim();
    if text.starts_with('{') {
        geojson::geometry(text)
    } else {
        wkt::geometry(text)
    }
}

/// A date of an export as its source's wall clock.
pub fn parse_date(text: &str) -> Option<chrono::NaiveDateTime> {
    date::moment(text.trim()).map(|moment| moment.at)
}
