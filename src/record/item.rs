//! One item of a page, read into the slots of a [`Plan`] in one pass, nothing copied.
//!
//! Of a member that comes twice the last counts, as in `jsonb`.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::plan::Plan;

/// The raw cells of one item; `None` where the item has no such member.
pub(super) struct Row<'a> {
    pub cells: Vec<Option<&'a RawValue>>,
    /// The geometry of a GeoJSON Feature.
    pub geometry: Option<&'a RawValue>,
    /// All columns of a Feature, where items are kept whole.
    pub properties: Option<&'a RawValue>,
}

impl<'a> Row<'a> {
    pub fn new(plan: &Plan) -> Self {
        Self {
            cells: vec![None; plan.names.len()],
            geometry: None,
            properties: None,
        }
    }

    /// Reads an item in place of the one before.
    pub fn read(&mut self, item: &'a str, plan: &Plan) -> Result<(), serde_json::Error> {
        self.cells.fill(None);
        self.geometry = None;
        self.properties = None;
        let mut json = serde_json::Deserializer::from_str(item);
        if plan.geojson {
            json.deserialize_map(Feature { row: self, plan })?;
        } else {
            Properties { row: self, plan }.deserialize(&mut json)?;
        }
        json.end()
    }

    pub fn cell(&self, slot: usize) -> Option<&'a str> {
        self.cells[slot].map(|raw| raw.get())
    }
}

/// Reads the members of a flat item, or of a Feature's `properties`.
struct Properties<'r, 'a, 'p> {
    row: &'r mut Row<'a>,
    plan: &'r Plan<'p>,
}

impl<'a> DeserializeSeed<'a> for Properties<'_, 'a, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for Properties<'_, 'a, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a record as a JSON object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(slot) = members.next_key_seed(Slot(self.plan))? {
            match slot {
                Some(slot) => self.row.cells[slot] = Some(members.next_value()?),
                None => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// A member's name as the slot that wants it.
struct Slot<'r, 'p>(&'r Plan<'p>);

impl<'a> DeserializeSeed<'a> for Slot<'_, '_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Slot<'_, '_> {
    type Value = Option<usize>;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("the name of a column")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(self.0.slot(name))
    }
}

/// Reads a GeoJSON Feature, whatever the order of its members.
struct Feature<'r, 'a, 'p> {
    row: &'r mut Row<'a>,
    plan: &'r Plan<'p>,
}

impl<'a> Visitor<'a> for Feature<'_, 'a, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a GeoJSON Feature")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut members: A) -> Result<(), A::Error> {
        let mut has_properties = false;
        while let Some(name) = members.next_key::<std::borrow::Cow<str>>()? {
            match &*name {
                "properties" if self.plan.whole => {
                    has_properties = true;
                    let properties: &'a RawValue = members.next_value()?;
                    self.row.properties = Some(properties);
                    let mut json = serde_json::Deserializer::from_str(properties.get());
                    Properties {
                        row: self.row,
                        plan: self.plan,
                    }
                    .deserialize(&mut json)
                    .map_err(A::Error::custom)?;
                }
                "properties" => {
                    has_properties = true;
                    members.next_value_seed(Properties {
                        row: self.row,
                        plan: self.plan,
                    })?;
                }
                "geometry" => self.row.geometry = Some(members.next_value()?),
                _ => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        if has_properties {
            Ok(())
        } else {
            Err(A::Error::missing_field("properties"))
        }
    }
}
