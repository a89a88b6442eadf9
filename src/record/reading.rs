//! One page being read: an item's cells to a record, in a fixed order of checks.

use chrono::NaiveDateTime;
use serde_json::value::RawValue;

use super::dataset::{Cell, Cells, DatasetReference, Datasets};
use super::date::{Moment, moment, time_of_day};
use super::geometry::{Geometry, Writer};
use super::item::Row;
use super::plan::{DatasetSlots, GeometrySlots, Plan, Source};
use super::rejection::{Fault, Reason, quoted};
use super::scalar::{Raw, Stripped, decimal, descend, integral, whole_number};
use super::value::{convert, scalar};
use super::{Batch, Record, Value, parse_geometry};
use crate::mapping::{COLUMNS, Kind};

/// Keys are indexed, and an index holds no longer entries than a third of a page.
const LONGEST_KEY: usize = 1000;

pub(super) struct Page<'p, 'a> {
    pub(super) plan: &'p Plan<'p>,
    pub(super) row: Row<'a>,
    stripped: Stripped,
    datasets: Datasets,
    latest: Option<(NaiveDateTime, String)>,
    batch: Batch,
}

/// A record's own key, as text and, where the export's keys are numbers, as a number.
pub(super) type Key = (String, Option<i64>);

impl<'p, 'a> Page<'p, 'a> {
    pub fn new(plan: &'p Plan<'p>) -> Self {
        Self {
            plan,
            row: Row::new(plan),
            stripped: Stripped::default(),
            datasets: Datasets::default(),
            latest: None,
            batch: Batch::default(),
        }
    }

    pub fn finish(mut self) -> Batch {
        self.batch.greatest_action = self.latest.map(|(_, text)| text);
        self.batch.datasets = self.datasets.distinct;
        self.batch.stripped = self.stripped.0.get();
        self.batch
    }

    /// Reads one item into a record or a rejection.
    pub fn read(&mut self, position: usize, item: &'a str) {
        if let Err(error) = self.row.read(item, self.plan) {
            let message = format!("the item is not a record that can be read: {error}");
            let mut fault = Fault::new(Reason::BadJson, message);
            fault.value = Some(quoted(item));
            self.batch.rejected.push((position, fault.of(None, None)));
            return;
        }
        let action_date = self.action_date();
        let key = self.key();
        if let Ok((_, Some(number))) = key {
            let batch = &mut self.batch;
            batch.first_key = Some(batch.first_key.map_or(number, |first| first.min(number)));
            batch.last_key = Some(batch.last_key.map_or(number, |last| last.max(number)));
        }
        let known = key.as_ref().ok().map(|(text, _)| text.clone());
        let record = key.and_then(|key| match self.plan.whole {
            true => self.whole(key, action_date, item),
            false => self.record(key, action_date),
        });
        match record {
            Ok(record) => self.batch.records.push((position, record)),
            Err(fault) => {
                let uuid = match self.value(self.plan.uuid) {
                    Ok(Value::Uuid(uuid)) => Some(uuid),
                    _ => None,
                };
                self.batch.rejected.push((position, fault.of(known, uuid)));
            }
        }
    }

    fn record(&mut self, key: Key, action_date: Option<String>) -> Result<Record, Fault> {
        let mut values = Vec::with_capacity(COLUMNS.len());
        for (index, column) in COLUMNS.iter().enumerate() {
            // The two dates depend on each other and come next.
            let dated = index == self.plan.date_min || index == self.plan.date_max;
            let value = if dated {
                Value::Absent
            } else {
                self.value(index)?
            };
            if column.required && !dated && matches!(value, Value::Absent | Value::Null) {
                return Err(self.missing(index));
            }
            values.push(value);
        }
        self.dates(&mut values)?;
        self.check_order(&values)?;
        Ok(Record {
            key: Some(key.0),
            key_number: key.1,
            values,
            geometry: self.geometry()?,
            dataset: self.dataset()?,
            area: self.area()?,
            action_date,
            item: None,
        })
    }

    fn decode(&self, slot: usize) -> Result<Raw<'a>, Fault> {
        let cell = self.row.cell(slot).unwrap_or("null");
        Raw::decode(cell, &self.stripped).map_err(|fault| self.at(fault, slot))
    }

    /// Names the cell that a fault is about.
    fn at(&self, fault: Fault, slot: usize) -> Fault {
        fault.at(
            self.plan.names[slot],
            unquoted(self.row.cell(slot).unwrap_or("null")),
        )
    }

    fn missing(&self, index: usize) -> Fault {
        let mut fault = Fault::new(Reason::MissingField, "a value is required, there is none");
        fault.column = Some(self.plan.fed_by(index).to_owned());
        fault
    }

    pub(super) fn value(&self, index: usize) -> Result<Value, Fault> {
        let (slot, path) = match &self.plan.sources[index] {
            Source::Absent => return Ok(Value::Absent),
            Source::Constant(value) => return value.clone(),
            Source::Slot { slot, path } => (*slot, *path),
        };
        let Some(cell) = self.row.cells[slot] else {
            return Ok(Value::Absent);
        };
        let inner: Option<Box<RawValue>>;
        let cell = if path.is_empty() {
            cell.get()
        } else {
            inner = descend(cell, path);
            inner.as_ref().map_or("null", |inner| inner.get())
        };
        let limit = self.plan.limits[index];
        Raw::decode(cell, &self.stripped)
            .and_then(|raw| convert(COLUMNS[index].kind, limit, raw, &self.stripped))
            .map_err(|fault| fault.at(self.plan.names[slot], unquoted(cell)))
    }

    fn key(&self) -> Result<Key, Fault> {
        let Some(slot) = self.plan.key else {
            return Err(Fault::new(
                Reason::MissingField,
                "the export has no key column",
            ));
        };
        let raw = self.decode(slot)?;
        let text = scalar(&raw, Kind::Text).map_err(|fault| self.at(fault, slot))?;
        let Some(text) = text else {
            let fault = Fault::new(Reason::MissingField, "a record must have a key");
            return Err(self.at(fault, slot));
        };
        if let Some(number) = whole_number(text).filter(|_| self.plan.key_is_number) {
            return Ok((text.to_owned(), Some(number)));
        }
        match integral(text) {
            Some(number) if self.plan.key_is_number => Ok((number.to_string(), Some(number))),
            None if self.plan.key_is_number => {
                let fault = Fault::new(Reason::BadNumber, "the key is not a whole number");
                Err(self.at(fault, slot))
            }
            _ if text.len() > LONGEST_KEY => {
                let message = format!("a key has at most {LONGEST_KEY} bytes");
                Err(self.at(Fault::new(Reason::ValueTooLong, message), slot))
            }
            _ => Ok((text.to_owned(), None)),
        }
    }

    /// The record's own date of change; the latest of the page is remembered.
    fn action_date(&mut self) -> Option<String> {
        let raw = self.decode(self.plan.action_date?).ok()?;
        let text = raw.scalar()?.trim();
        if let Some(moment) = moment(text)
            && self
                .latest
                .as_ref()
                .is_none_or(|(latest, _)| *latest < moment.at)
        {
            self.latest = Some((moment.at, text.to_owned()));
        }
        Some(text.to_owned())
    }

    /// `date_min` and `date_max`. An end without a date is the beginning, and an end without
    /// a time of day on the day of the beginning is no earlier than it.
    fn dates(&self, values: &mut [Value]) -> Result<(), Fault> {
        let (min, max) = (self.plan.date_min, self.plan.date_max);
        let begin = self
            .moment(min, self.plan.time_min)?
            .ok_or_else(|| self.missing(min))?;
        let end = match self.moment(max, self.plan.time_max)? {
            None => begin,
            Some(end) if !end.timed && end.at.date() == begin.at.date() => begin,
            Some(end) => end,
        };
        if begin.at > end.at {
            let message = format!(
                "{} ({}) is after {} ({})",
                self.plan.fed_by(min),
                begin.at,
                self.plan.fed_by(max),
                end.at
            );
            let fault = Fault::new(Reason::DateMinGtMax, message);
            return Err(fault.at(self.plan.fed_by(min), &begin.at.to_string()));
        }
        values[min] = Value::Timestamp(begin.at);
        values[max] = Value::Timestamp(end.at);
        Ok(())
    }

    /// A date, with the time of day of a second column where the first has none.
    fn moment(&self, index: usize, time: Option<usize>) -> Result<Option<Moment>, Fault> {
        let bad = |message| Fault::new(Reason::BadDate, message);
        let Value::Timestamp(at) = self.value(index)? else {
            return Ok(None);
        };
        let timed = match self.plan.sources[index] {
            Source::Slot { slot, path: [] } => {
                let raw = self.decode(slot)?;
                raw.scalar()
                    .and_then(|text| moment(text.trim()))
                    .is_some_and(|read| read.timed)
            }
            _ => true,
        };
        let Some(slot) = time.filter(|_| !timed) else {
            return Ok(Some(Moment { at, timed }));
        };
        let raw = self.decode(slot)?;
        let text = scalar(&raw, Kind::Timestamp).map_err(|fault| self.at(fault, slot))?;
        let Some(text) = text else {
            return Ok(Some(Moment { at, timed }));
        };
        let after = time_of_day(text).and_then(|time| at.checked_add_signed(time));
        match after {
            Some(at) => Ok(Some(Moment { at, timed: true })),
            None => Err(self.at(bad("this is not a time of day"), slot)),
        }
    }

    fn check_order(&self, values: &[Value]) -> Result<(), Fault> {
        for &(min, max, reason) in &self.plan.ordered {
            let (Value::Integer(low), Value::Integer(high)) = (&values[min], &values[max]) else {
                continue;
            };
            if low > high {
                let (low_name, high_name) = (self.plan.fed_by(min), self.plan.fed_by(max));
                let message = format!("{low_name} ({low}) is greater than {high_name} ({high})");
                return Err(Fault::new(reason, message).at(low_name, &low.to_string()));
            }
        }
        Ok(())
    }

    pub(super) fn geometry(&self) -> Result<Option<Geometry>, Fault> {
        match self.plan.geometry {
            GeometrySlots::None => Ok(None),
            GeometrySlots::Feature => self.feature(),
            GeometrySlots::Text(slot) => {
                let raw = self.decode(slot)?;
                let text = match &raw {
                    Raw::Nested(text) => text.trim(),
                    raw => raw.scalar().unwrap_or_default().trim(),
                };
                if text.is_empty() {
                    return self.feature();
                }
                parse_geometry(text)
                    .map(Some)
                    .map_err(|flaw| self.at(invalid(&flaw), slot))
            }
            GeometrySlots::Xy(x, y) => self.centroid(x, y),
        }
    }

    /// The geometry of the GeoJSON Feature, if there is one.
    pub(super) fn feature(&self) -> Result<Option<Geometry>, Fault> {
        let Some(text) = self
            .row
            .geometry
            .map(|raw| raw.get())
            .filter(|raw| *raw != "null")
        else {
            return Ok(None);
        };
        let read = super::geojson::geometry(text);
        read.map(Some)
            .map_err(|flaw| invalid(&flaw).at("geometry", text))
    }

    fn centroid(&self, x: usize, y: usize) -> Result<Option<Geometry>, Fault> {
        let (raw_x, raw_y) = (self.decode(x)?, self.decode(y)?);
        if raw_x == Raw::Null && raw_y == Raw::Null {
            return Ok(None);
        }
        let number = |raw: &Raw, slot| {
            let number = raw.scalar().and_then(|text| decimal(text.trim()));
            number.ok_or_else(|| self.at(invalid("a coordinate is not a finite number"), slot))
        };
        let mut out = Writer::default();
        let written = out.point(number(&raw_x, x)?, number(&raw_y, y)?);
        written.map_err(|flaw| self.at(invalid(&flaw), x))?;
        Ok(Some(out.finish()))
    }

    fn dataset(&mut self) -> Result<Option<std::sync::Arc<DatasetReference>>, Fault> {
        let plan = self.plan;
        let row = &self.row;
        let cell = |slot: Option<usize>| -> Cell {
            slot.map_or(("", None), |slot| (plan.names[slot], row.cell(slot)))
        };
        let cells = match plan.dataset {
            DatasetSlots::None => return Ok(None),
            DatasetSlots::Embedded { dataset, framework } => Cells::Embedded {
                dataset: cell(Some(dataset)),
                framework: cell(framework),
            },
            DatasetSlots::Names(slots) => Cells::Names(slots.map(cell)),
        };
        self.datasets.find(cells, &self.stripped)
    }

    /// `{"area_code": …, "type_code": …}`, as an object or as text; null when it names no area.
    fn area(&self) -> Result<Option<(String, String)>, Fault> {
        #[derive(serde::Deserialize)]
        struct Area {
            area_code: Option<String>,
            type_code: Option<String>,
        }
        let Some(slot) = self.plan.area else {
            return Ok(None);
        };
        let raw = self.decode(slot)?;
        let text = match &raw {
            Raw::Nested(text) => text.trim(),
            raw => raw.scalar().unwrap_or_default().trim(),
        };
        if text.is_empty() || text == "null" {
            return Ok(None);
        }
        let wrong = |message: String| self.at(Fault::new(Reason::UnknownArea, message), slot);
        let area: Area = serde_json::from_str(text)
            .map_err(|error| wrong(format!("the area attachment cannot be read: {error}")))?;
        match (area.type_code, area.area_code) {
            (_, None) => Ok(None),
            (None, Some(_)) => Err(wrong("the area attachment has no type of area".to_owned())),
            (Some(area_type), Some(code)) => {
                let clean = |text: String| self.stripped.text(text.into()).into_owned();
                Ok(Some((clean(area_type), clean(code))))
            }
        }
    }
}

fn invalid(flaw: &str) -> Fault {
    Fault::new(
        Reason::InvalidGeometry,
        format!("the geometry cannot be used: {flaw}"),
    )
}

/// A raw cell as a rejection quotes it: a plain string without its quotation marks.
fn unquoted(raw: &str) -> &str {
    let inner = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"'));
    inner.filter(|inner| !inner.contains('\\')).unwrap_or(raw)
}
