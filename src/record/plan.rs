//! A [`Layout`] made ready for reading: each column that is wanted gets a slot, so that
//! reading an item is one look-up per member, and a converted value per target column.

use std::collections::HashMap;

use super::rejection::{Fault, Reason};
use super::scalar::Stripped;
use super::value::convert;
use super::{Lengths, Value};
use crate::mapping::{COLUMNS, DatasetOrigin, GeometryOrigin, Layout, Origin, column_index};

/// A pair of columns of which the first must not be the greater.
const ORDERED: [(&str, &str, Reason); 3] = [
    ("count_min", "count_max", Reason::CountMinGtMax),
    ("altitude_min", "altitude_max", Reason::AltitudeMinGtMax),
    ("depth_min", "depth_max", Reason::DepthMinGtMax),
];

/// Where a value comes from.
pub(super) enum Source<'l> {
    Absent,
    Slot {
        slot: usize,
        path: &'l [String],
    },
    /// Converted once; a constant that does not fit fails each record.
    Constant(Result<Value, Fault>),
}

pub(super) enum GeometrySlots {
    Text(usize),
    Feature,
    Xy(usize, usize),
    None,
}

pub(super) enum DatasetSlots {
    Embedded {
        dataset: usize,
        framework: Option<usize>,
    },
    Names([Option<usize>; 5]),
    None,
}

pub(super) struct Plan<'l> {
    slots: HashMap<&'l str, usize>,
    /// The export's column of each slot.
    pub names: Vec<&'l str>,
    /// Parallel to [`COLUMNS`].
    pub sources: Vec<Source<'l>>,
    pub limits: Vec<Option<usize>>,
    pub ordered: Vec<(usize, usize, Reason)>,
    pub date_min: usize,
    pub date_max: usize,
    pub time_min: Option<usize>,
    pub time_max: Option<usize>,
    pub uuid: usize,
    pub key: Option<usize>,
    pub key_is_number: bool,
    pub geometry: GeometrySlots,
    pub action_date: Option<usize>,
    pub dataset: DatasetSlots,
    pub area: Option<usize>,
    pub geojson: bool,
    pub whole: bool,
}

/// Gives out slots by name.
#[derive(Default)]
struct Slots<'l> {
    by_name: HashMap<&'l str, usize>,
    names: Vec<&'l str>,
}

impl<'l> Slots<'l> {
    fn of(&mut self, name: &'l str) -> usize {
        *self.by_name.entry(name).or_insert_with(|| {
            self.names.push(name);
            self.names.len() - 1
        })
    }

    fn optional(&mut self, name: &'l Option<String>) -> Option<usize> {
        name.as_ref().map(|name| self.of(name))
    }
}

impl<'l> Plan<'l> {
    pub fn new(layout: &'l Layout, lengths: &Lengths) -> Self {
        let mut slots = Slots::default();
        let limits: Vec<_> = (0..COLUMNS.len())
            .map(|index| lengths.limit(index))
            .collect();
        let origins = layout
            .columns
            .iter()
            .chain(std::iter::repeat(&Origin::Absent));
        let sources = (COLUMNS.iter().zip(origins).zip(&limits))
            .map(|((column, origin), limit)| match origin {
                Origin::Absent => Source::Absent,
                Origin::Export(name) => Source::Slot {
                    slot: slots.of(name),
                    path: &[],
                },
                Origin::Nested { column, path } => Source::Slot {
                    slot: slots.of(column),
                    path,
                },
                Origin::Constant(text) => {
                    let text = super::scalar::Raw::Text(text.as_str().into());
                    let value = convert(column.kind, *limit, text, &Stripped::default());
                    Source::Constant(value.map_err(|fault| fault.at(column.target, "")))
                }
            })
            .collect();
        let index = |target| column_index(target).unwrap_or_default();
        Self {
            sources,
            limits,
            ordered: ORDERED
                .map(|(min, max, reason)| (index(min), index(max), reason))
                .to_vec(),
            date_min: index("date_min"),
            date_max: index("date_max"),
            uuid: index("unique_id_sinp"),
            time_min: slots.optional(&layout.time_min),
            time_max: slots.optional(&layout.time_max),
            key: slots.optional(&layout.key),
            key_is_number: layout.key_is_number,
            geometry: match &layout.geometry {
                GeometryOrigin::Wkt(name) => GeometrySlots::Text(slots.of(name)),
                GeometryOrigin::Feature => GeometrySlots::Feature,
                GeometryOrigin::Xy(x, y) => GeometrySlots::Xy(slots.of(x), slots.of(y)),
                GeometryOrigin::None => GeometrySlots::None,
            },
            action_date: slots.optional(&layout.action_date),
            dataset: dataset_slots(&layout.dataset, &mut slots),
            area: slots.optional(&layout.area_attachment),
            geojson: layout.geojson,
            whole: layout.whole,
            slots: slots.by_name,
            names: slots.names,
        }
    }

    pub fn slot(&self, name: &str) -> Option<usize> {
        self.slots.get(name).copied()
    }

    /// The export's column that feeds a target, or the one that usually does.
    pub fn fed_by(&self, index: usize) -> &str {
        match self.sources[index] {
            Source::Slot { slot, .. } => self.names[slot],
            _ => COLUMNS[index].export[0],
        }
    }
}

fn dataset_slots<'l>(origin: &'l DatasetOrigin, slots: &mut Slots<'l>) -> DatasetSlots {
    match origin {
        DatasetOrigin::Embedded { jdd_data, ca_data } => DatasetSlots::Embedded {
            dataset: slots.of(jdd_data),
            framework: slots.optional(ca_data),
        },
        DatasetOrigin::Names {
            jdd_uuid,
            jdd_nom,
            ca_uuid,
            ca_nom,
            jdd_acteurs,
        } => {
            let names = [jdd_uuid, jdd_nom, ca_uuid, ca_nom, jdd_acteurs];
            DatasetSlots::Names(names.map(|name| slots.optional(name)))
        }
        DatasetOrigin::None => DatasetSlots::None,
    }
}
