//! A page of an export: the body as it came, and where each item lies in it.
//! Items are ranges into the body, so that a page costs no copy.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// What to ask of an export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageQuery {
    /// Rows; the server's default when absent, its cap is silent, 0 lifts the cap.
    pub limit: Option<u32>,
    /// Page number, from 0.
    pub offset: u32,
    /// A column, or `column:desc`.
    pub order_by: Option<String>,
    /// Names and values as GeoNature wants them: `("filter_n_up_id_synthese", "1000")`.
    pub filters: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct License {
    pub name: Option<String>,
    pub href: Option<String>,
}

/// An answer of an export.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Rows of the whole view.
    pub total: Option<u64>,
    /// Rows that pass the filters; right only on the first page (offset 0).
    pub total_filtered: Option<u64>,
    /// Rows that the server allowed in this answer; 0 when it does not say.
    pub limit: u32,
    /// Page number, from 0.
    pub page: u32,
    pub license: Option<License>,
    /// Whether the items are GeoJSON features.
    pub geojson: bool,
    /// The server's own clock (header `Date`).
    pub server_date: Option<DateTime<Utc>>,
    pub request_id: Option<String>,
    /// Size of the body, in bytes after decompression.
    pub bytes: u64,
    /// From the first byte sent to the last received, of the request that succeeded.
    pub elapsed: Duration,
    /// Whether the server was at its limit before it answered (429, 503, time-out…).
    pub strained: bool,
    /// The URL asked, secrets masked.
    pub url: String,
    body: String,
    items: Vec<Range<usize>>,
}

/// Why a body is not a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Not JSON at all, or cut.
    NotJson,
    /// JSON, but not an export's answer; what was expected.
    Unexpected(String),
}

impl Page {
    /// Reads the body of an answer; what comes from the headers is left empty.
    pub fn from_body(body: String) -> Result<Self, Shape> {
        let envelope: Envelope<'_> =
            serde_json::from_str(&body).map_err(|error| match error.classify() {
                serde_json::error::Category::Data => Shape::Unexpected(
                    "an object whose items are a list or a FeatureCollection".to_owned(),
                ),
                _ => Shape::NotJson,
            })?;
        let base = body.as_ptr() as usize;
        let items = envelope
            .items
            .rows
            .iter()
            .map(|raw| {
                let start = raw.get().as_ptr() as usize - base;
                start..start + raw.get().len()
            })
            .collect();
        Ok(Self {
            total: envelope.total.and_then(count),
            total_filtered: envelope.total_filtered.and_then(count),
            limit: envelope.limit.and_then(count).map_or(0, narrow),
            page: envelope.page.and_then(count).map_or(0, narrow),
            license: envelope
                .license
                .and_then(|raw| serde_json::from_str(raw.get()).ok()),
            geojson: envelope.items.geojson,
            bytes: body.len() as u64,
            items,
            body,
            ..Self::default()
        })
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The JSON text of an item (of the whole Feature when it is GeoJSON).
    ///
    /// # Panics
    /// When there is no such item.
    pub fn item(&self, index: usize) -> &str {
        &self.body[self.items[index].clone()]
    }

    /// The JSON text of every item.
    pub fn items(&self) -> impl ExactSizeIterator<Item = &str> {
        self.items.iter().map(|range| &self.body[range.clone()])
    }
}

/// A count; negative ones are 0, anything else is unknown.
fn count(raw: &RawValue) -> Option<u64> {
    let number: i64 = raw.get().parse().ok()?;
    Some(u64::try_from(number).unwrap_or(0))
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    items: Items<'a>,
    #[serde(borrow, default)]
    license: Option<&'a RawValue>,
    #[serde(borrow, default)]
    limit: Option<&'a RawValue>,
    #[serde(borrow, default)]
    page: Option<&'a RawValue>,
    #[serde(borrow, default)]
    total: Option<&'a RawValue>,
    #[serde(borrow, default)]
    total_filtered: Option<&'a RawValue>,
}

struct Items<'a> {
    geojson: bool,
    rows: Vec<&'a RawValue>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Items<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ItemsVisitor)
    }
}

struct ItemsVisitor;

impl<'de> Visitor<'de> for ItemsVisitor {
    type Value = Items<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list or a FeatureCollection")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Items<'de>, A::Error> {
        let mut rows = Vec::new();
        while let Some(row) = seq.next_element()? {
            rows.push(row);
        }
        Ok(Items {
            geojson: false,
            rows,
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Items<'de>, A::Error> {
        let mut rows = None;
        while let Some(key) = map.next_key::<String>()? {
            if key == "features" {
                rows = Some(map.next_value::<Vec<&'de RawValue>>()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        let rows = rows.ok_or_else(|| serde::de::Error::missing_field("features"))?;
        Ok(Items {
            geojson: true,
            rows,
        })
    }
}
