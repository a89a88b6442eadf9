//! From a record of the source to an observation of the target: codes and labels to local numbers, the dataset,
//! the area; what is absent takes the target's default, what is null stays null, what is unknown follows the
//! source's `on_unknown_value` and is told.

use std::collections::HashMap;

use super::formats::Formats;
use super::referential::{Nomenclature, Referential};
use crate::mapping::{COLUMNS, Kind, column_index};
use crate::record::{Reason, Record, Rejection, Value, hash};
use crate::source::{Format, OnUnknownValue};

/// Target column of an area attachment, as `map_value` names it.
pub const AREA_COLUMN: &str = "id_area_attachment";
const INFO_GEO_TYPE: &str = "id_nomenclature_info_geo_type";
/// TYP_INF_GEO: the observation is attached to an area, its geometry is that of the area.
const ATTACHED: &str = "2";
const GEOREFERENCED: &str = "1";

/// Decisions of `map_value` for a source: (column, value of the source) to a local one, or to none.
pub type ValueMappings = HashMap<(String, String), Option<String>>;

/// How a source wants its values resolved.
pub struct Rules {
    pub on_unknown_value: OnUnknownValue,
    pub value_mappings: ValueMappings,
    /// Parallel to `COLUMNS`: written when the row is inserted, then the target's.
    pub protected: Vec<bool>,
    pub datasets: DatasetRule,
}

/// To which dataset an observation goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatasetRule {
    /// The one of its UUID, or the one that this was mapped to.
    Any,
    /// Only one that was mapped to.
    Mapped,
    /// This one, whatever the record says.
    Single(i32),
}

/// A record ready to be written.
#[derive(Debug, Clone)]
pub struct Observation {
    /// Position of its item among those of the batch.
    pub item: usize,
    pub key: String,
    pub key_number: Option<i64>,
    pub uuid: Option<[u8; 16]>,
    /// Parallel to `COLUMNS`; nomenclatures are local numbers; none is absent.
    pub values: Vec<Value>,
    /// Bit n: the export says nothing of column n. An insert writes the target's default, an update leaves it.
    pub absent: u128,
    /// Its row was written by another tool, which knows of no such defaults: it is given those that it lacks.
    pub fills: bool,
    pub wkb: Option<Vec<u8>>,
    pub id_dataset: i32,
    pub id_area: Option<i32>,
    pub attributes_hash: u128,
    pub geometry_hash: u128,
}

impl Observation {
    /// The value of a column, to show.
    pub fn shown(&self, target: &str) -> Option<String> {
        match self.values.get(column_index(target)?)? {
            Value::Text(text) => Some(text.clone()),
            Value::Integer(number) => Some(number.to_string()),
            _ => None,
        }
    }
}

/// Values that the local referentials do not know, with how often they came.
pub type Unknown = HashMap<(&'static str, String), i64>;

/// Resolves one record. Values of which the referential has not been asked before must have been learnt.
pub fn resolve(
    item: usize,
    record: Record,
    referential: &Referential,
    formats: &Formats,
    rules: &Rules,
    unknown: &mut Unknown,
) -> Result<Observation, Rejection> {
    let key = record.key.clone().unwrap_or_default();
    let uuid = match record.values.first() {
        Some(Value::Uuid(uuid)) => Some(*uuid),
        _ => None,
    };
    let mut resolver = Resolver {
        referential,
        formats,
        rules,
        unknown,
        absent: 0,
    };
    resolver
        .observation(item, record)
        .map_err(|fault| Rejection {
            reason: fault.reason,
            key: Some(key),
            uuid,
            column: Some(fault.column.to_owned()),
            value: fault.value,
            message: fault.message,
        })
}

struct Fault {
    reason: Reason,
    column: &'static str,
    value: Option<String>,
    message: String,
}

struct Resolver<'a> {
    referential: &'a Referential,
    formats: &'a Formats,
    rules: &'a Rules,
    unknown: &'a mut Unknown,
    absent: u128,
}

impl Resolver<'_> {
    fn observation(&mut self, item: usize, record: Record) -> Result<Observation, Fault> {
        let mut values = Vec::with_capacity(COLUMNS.len());
        for (index, value) in record.values.into_iter().enumerate() {
            values.push(self.value(index, value)?);
        }
        let id_area = self.area(record.area.as_ref())?;
        self.settle_geo_type(&mut values, id_area);
        let id_dataset =
            self.dataset(record.dataset.as_deref().and_then(|dataset| dataset.uuid))?;
        let key = record.key.unwrap_or_default();
        let wkb = record.geometry.map(|geometry| geometry.wkb);
        let (dataset_value, area_value, key_value) = (
            Value::Integer(id_dataset),
            id_area.map_or(Value::Null, Value::Integer),
            Value::Text(key.clone()),
        );
        let named = COLUMNS
            .iter()
            .zip(&values)
            .enumerate()
            .filter(|(index, (column, _))| {
                // What an update would not write makes no difference; once it would, the hash says so.
                !column.insert_only
                    && !self.rules.protected[*index]
                    && self.absent & (1 << index) == 0
            })
            .map(|(_, (column, value))| (column.target, value));
        let others = [
            ("id_dataset", &dataset_value),
            (AREA_COLUMN, &area_value),
            ("entity_source_pk_value", &key_value),
        ];
        Ok(Observation {
            item,
            key_number: record.key_number,
            uuid: values.first().and_then(|value| {
                if let Value::Uuid(uuid) = value {
                    Some(*uuid)
                } else {
                    None
                }
            }),
            attributes_hash: hash::attributes(named.chain(others)),
            geometry_hash: hash::geometry(wkb.as_deref()),
            values,
            absent: self.absent,
            fills: false,
            wkb,
            id_dataset,
            id_area,
            key,
        })
    }

    fn value(&mut self, index: usize, value: Value) -> Result<Value, Fault> {
        let column = &COLUMNS[index];
        match (column.kind, value) {
            (_, Value::Absent) => {
                self.absent |= 1 << index;
                Ok(self.referential.defaults[index].clone())
            }
            (_, Value::Null) => Ok(Value::Null),
            (Kind::Nomenclature(type_code), value) => {
                self.nomenclature(index, type_code, &as_text(&value))
            }
            (Kind::Taxon, Value::Integer(cd_nom)) => self.taxon(cd_nom),
            (Kind::Habitat, Value::Integer(cd_hab)) => self.habitat(index, cd_hab),
            (_, value) => Ok(value),
        }
    }

    fn mapped(&self, column: &str, value: &str) -> Option<&Option<String>> {
        if self.rules.value_mappings.is_empty() {
            return None;
        }
        self.rules
            .value_mappings
            .get(&(column.to_owned(), value.to_owned()))
    }

    fn nomenclature(&mut self, index: usize, type_code: &str, text: &str) -> Result<Value, Fault> {
        let column = &COLUMNS[index];
        let empty = Nomenclature::default();
        let nomenclature = self.referential.nomenclature(type_code).unwrap_or(&empty);
        let found = match self.mapped(column.target, text) {
            Some(None) => return Ok(Value::Null),
            Some(Some(code)) => nomenclature.code(code),
            None => match self.formats.of(column.target) {
                Format::Labels => nomenclature.label(text),
                Format::Codes | Format::Auto => nomenclature.code(text),
            },
        };
        match found {
            Some(id) => Ok(Value::Integer(id)),
            None => self.unknown_value(
                index,
                column.target,
                text,
                Reason::UnknownValue,
                &format!("nomenclature {type_code}"),
            ),
        }
    }

    fn taxon(&mut self, cd_nom: i32) -> Result<Value, Fault> {
        let mapped = match self.mapped("cd_nom", &cd_nom.to_string()) {
            Some(Some(local)) => local.trim().parse().unwrap_or(cd_nom),
            _ => cd_nom,
        };
        if self.referential.has_taxon(mapped) {
            return Ok(Value::Integer(mapped));
        }
        self.tell("cd_nom", cd_nom.to_string());
        Err(Fault {
            reason: Reason::UnknownCdNom,
            column: "cd_nom",
            value: Some(cd_nom.to_string()),
            message: format!("cd_nom {mapped} is not in taxonomie.taxref"),
        })
    }

    fn habitat(&mut self, index: usize, cd_hab: i32) -> Result<Value, Fault> {
        let text = cd_hab.to_string();
        let mapped = match self.mapped("cd_hab", &text) {
            Some(None) => return Ok(Value::Null),
            Some(Some(local)) => local.trim().parse().unwrap_or(cd_hab),
            None => cd_hab,
        };
        if self.referential.has_habitat(mapped) {
            return Ok(Value::Integer(mapped));
        }
        self.unknown_value(
            index,
            "cd_hab",
            &text,
            Reason::UnknownHabitat,
            "ref_habitats.habref",
        )
    }

    fn area(&mut self, area: Option<&(String, String)>) -> Result<Option<i32>, Fault> {
        let Some((type_code, area_code)) = area else {
            return Ok(None);
        };
        let text = format!("{type_code}/{area_code}");
        let (type_code, area_code) = match self.mapped(AREA_COLUMN, &text) {
            Some(None) => return Ok(None),
            Some(Some(local)) => local.split_once('/').unwrap_or((type_code, area_code)),
            None => (type_code.as_str(), area_code.as_str()),
        };
        if let Some(id) = self.referential.area(type_code, area_code) {
            return Ok(Some(id));
        }
        self.tell(AREA_COLUMN, text.clone());
        match self.rules.on_unknown_value {
            OnUnknownValue::Default | OnUnknownValue::Null => Ok(None),
            OnUnknownValue::Reject => Err(Fault {
                reason: Reason::UnknownArea,
                column: AREA_COLUMN,
                message: format!("area {text} is not in ref_geo.l_areas"),
                value: Some(text),
            }),
        }
    }

    /// GeoNature refuses "attached to an area" without an area; an export without the area says so all the same,
    /// with the geometry: that is a georeferenced observation. And an area without the word is an attachment.
    fn settle_geo_type(&mut self, values: &mut [Value], id_area: Option<i32>) {
        let Some(index) = column_index(INFO_GEO_TYPE) else {
            return;
        };
        let Some(types) = self.referential.nomenclature("TYP_INF_GEO") else {
            return;
        };
        let absent = self.absent & (1 << index) != 0;
        let wanted = match (id_area, types.code(ATTACHED), types.code(GEOREFERENCED)) {
            (None, Some(attached), georeferenced) if values[index] == Value::Integer(attached) => {
                georeferenced
            }
            (Some(_), attached, _) if absent => attached,
            _ => return,
        };
        values[index] = wanted.map_or(Value::Null, Value::Integer);
        if id_area.is_some() {
            self.absent &= !(1 << index);
        }
    }

    fn dataset(&mut self, uuid: Option<[u8; 16]>) -> Result<i32, Fault> {
        let fault = |value: Option<String>, message: String| Fault {
            reason: Reason::UnmappedDataset,
            column: "id_dataset",
            value,
            message,
        };
        if let DatasetRule::Single(id_dataset) = self.rules.datasets {
            return Ok(id_dataset);
        }
        let Some(uuid) = uuid else {
            return Err(fault(
                None,
                "the record does not say to which dataset it belongs".to_owned(),
            ));
        };
        let text = pgrx::Uuid::from_bytes(uuid).to_string();
        self.referential.dataset(&uuid).ok_or_else(|| {
            fault(
                Some(text.clone()),
                match self.rules.datasets {
                    DatasetRule::Mapped => {
                        format!("dataset {text} is not mapped to a dataset of gn_meta.t_datasets")
                    }
                    _ => format!(
                        "dataset {text} is not in gn_meta.t_datasets and could not be created"
                    ),
                },
            )
        })
    }

    fn unknown_value(
        &mut self,
        index: usize,
        column: &'static str,
        text: &str,
        reason: Reason,
        referential: &str,
    ) -> Result<Value, Fault> {
        self.tell(column, text.to_owned());
        match self.rules.on_unknown_value {
            OnUnknownValue::Default => Ok(self.referential.defaults[index].clone()),
            OnUnknownValue::Null => Ok(Value::Null),
            OnUnknownValue::Reject => Err(Fault {
                reason,
                column,
                value: Some(text.to_owned()),
                message: format!("\"{text}\" is not in {referential}"),
            }),
        }
    }

    fn tell(&mut self, column: &'static str, value: String) {
        *self
            .unknown
            .entry((column, crate::record::quoted(&value)))
            .or_default() += 1;
    }
}

fn as_text(value: &Value) -> String {
    match value {
        Value::Text(text) | Value::Json(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        _ => String::new(),
    }
}
