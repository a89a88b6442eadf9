//! Items that are kept whole: whatever their columns are, as long as a key tells them apart.
//!
//! Nothing is lost on the way: what `jsonb` cannot hold is refused, not changed, and a geometry that cannot be read is
//! left out only where the item still has it in a column.

use super::geometry::Geometry;
use super::hash;
use super::json::canonical;
use super::plan::GeometrySlots;
use super::reading::{Key, Page};
use super::rejection::{Fault, Reason};
use super::scalar::Stripped;
use super::{Item, Record, Value};

/// Bytes of an item; `jsonb` holds less than 256 MB.
const LONGEST: usize = 200_000_000;

impl Page<'_, '_> {
    /// The item as it is, with what identifies it.
    pub(super) fn whole(
        &self,
        key: Key,
        action_date: Option<String>,
        item: &str,
    ) -> Result<Record, Fault> {
        let text = kept(self.row.properties.map_or(item, |columns| columns.get()))?;
        let uuid = match self.value(self.plan.uuid) {
            Ok(Value::Uuid(uuid)) => Some(uuid),
            _ => None,
        };
        let (geometry, flaw) = self.whole_geometry()?;
        Ok(Record {
            key: Some(key.0),
            key_number: key.1,
            values: Vec::new(),
            geometry,
            dataset: None,
            area: None,
            action_date,
            item: Some(Item {
                hash: hash::item(&text),
                text,
                uuid,
                flaw,
            }),
        })
    }

    /// The geometry, or why there is none although a column has one. That of a Feature has no other place.
    fn whole_geometry(&self) -> Result<(Option<Geometry>, Option<String>), Fault> {
        match self.geometry() {
            Ok(geometry) => Ok((geometry, None)),
            Err(fault) if matches!(self.plan.geometry, GeometrySlots::Feature) => Err(fault),
            Err(fault) => match self.feature()? {
                Some(geometry) => Ok((Some(geometry), None)),
                None => Ok((None, Some(fault.message))),
            },
        }
    }
}

/// The canonical text of an object, if `jsonb` can hold it with nothing left out.
fn kept(columns: &str) -> Result<String, Fault> {
    let stripped = Stripped::default();
    let text = canonical(columns, &stripped)?;
    if stripped.0.get() > 0 {
        let message = "a text has the character U+0000, which PostgreSQL cannot hold";
        return Err(Fault::new(Reason::BadJson, message));
    }
    if text.len() > LONGEST {
        let message = format!("the item has {} bytes, jsonb holds {LONGEST}", text.len());
        return Err(Fault::new(Reason::ValueTooLong, message));
    }
    Ok(text)
}
