//! Observations as column vectors: one array a column, so that a statement writes thousands of rows.

use pgrx::datum::DatumWithOid;

use super::referential::Referential;
use super::resolve::{AREA_COLUMN, Observation};
use crate::mapping::{COLUMNS, Kind, Trigger};
use crate::record::Value;

/// A column of gn_synthese.synthese that a statement reads or writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// entity_source_pk_value
    Key,
    IdSource,
    IdDataset,
    IdArea,
    /// The n-th of `COLUMNS`.
    Mapped(usize),
    /// The n-th of `COLUMNS`, of which the export says nothing: written where the row has none.
    Filled(usize),
}

impl Written {
    pub fn name(self) -> &'static str {
        match self {
            Written::Key => "entity_source_pk_value",
            Written::IdSource => "id_source",
            Written::IdDataset => "id_dataset",
            Written::IdArea => AREA_COLUMN,
            Written::Mapped(index) | Written::Filled(index) => COLUMNS[index].target,
        }
    }

    /// Naming it in an UPDATE makes the target compute the sensitivity again.
    pub fn fires_sensitivity(self) -> bool {
        matches!(self, Written::Mapped(index) | Written::Filled(index) if COLUMNS[index].fires == Trigger::Sensitivity)
    }

    fn array_type(self) -> &'static str {
        match self {
            Written::Key => "text[]",
            Written::IdSource | Written::IdDataset | Written::IdArea => "int[]",
            Written::Mapped(index) | Written::Filled(index) => match COLUMNS[index].kind {
                Kind::Integer | Kind::Nomenclature(_) | Kind::Taxon | Kind::Habitat => "int[]",
                Kind::Uuid => "uuid[]",
                Kind::Text | Kind::Timestamp | Kind::Json => "text[]",
            },
        }
    }

    /// The value in row `n` of the vectors, cast to the column's type; `s` is the row of the target.
    pub fn expression(self, position: usize) -> String {
        match self {
            Written::Filled(index) => {
                let value = Written::Mapped(index).expression(position);
                format!("coalesce(s.{}, {value})", self.name())
            }
            Written::Mapped(index) if COLUMNS[index].kind == Kind::Timestamp => {
                format!("n.c{position}::timestamp")
            }
            Written::Mapped(index) if COLUMNS[index].kind == Kind::Json => {
                format!("n.c{position}::jsonb")
            }
            _ => format!("n.c{position}"),
        }
    }

    fn array<'a>(self, observations: &[&'a Observation], id_source: i32) -> DatumWithOid<'a> {
        match self {
            Written::Key => observations
                .iter()
                .map(|o| o.key.clone())
                .collect::<Vec<String>>()
                .into(),
            Written::IdSource => vec![id_source; observations.len()].into(),
            Written::IdDataset => observations
                .iter()
                .map(|o| o.id_dataset)
                .collect::<Vec<i32>>()
                .into(),
            Written::IdArea => observations
                .iter()
                .map(|o| o.id_area)
                .collect::<Vec<Option<i32>>>()
                .into(),
            Written::Mapped(index) | Written::Filled(index) => mapped_array(index, observations),
        }
    }
}

fn mapped_array<'a>(index: usize, observations: &[&'a Observation]) -> DatumWithOid<'a> {
    let values = observations.iter().map(|o| &o.values[index]);
    match COLUMNS[index].kind {
        Kind::Integer | Kind::Nomenclature(_) | Kind::Taxon | Kind::Habitat => values
            .map(|value| {
                if let Value::Integer(number) = value {
                    Some(*number)
                } else {
                    None
                }
            })
            .collect::<Vec<Option<i32>>>()
            .into(),
        Kind::Uuid => values
            .map(|value| {
                if let Value::Uuid(uuid) = value {
                    Some(pgrx::Uuid::from_bytes(*uuid))
                } else {
                    None
                }
            })
            .collect::<Vec<Option<pgrx::Uuid>>>()
            .into(),
        Kind::Text | Kind::Timestamp | Kind::Json => values
            .map(|value| match value {
                Value::Text(text) | Value::Json(text) => Some(text.clone()),
                Value::Timestamp(at) => Some(at.format("%Y-%m-%d %H:%M:%S%.f").to_string()),
                _ => None,
            })
            .collect::<Vec<Option<String>>>()
            .into(),
    }
}

/// The columns that a statement on these observations concerns: those of the target that the export speaks of and, if
/// the rows are to be filled, the others.
pub fn written(
    referential: &Referential,
    absent: u128,
    fills: bool,
    keep: impl Fn(usize) -> bool,
) -> Vec<Written> {
    let mapped = (0..COLUMNS.len())
        .filter(|index| referential.present[*index] && keep(*index))
        .filter_map(|index| match absent & (1 << index) == 0 {
            true => Some(Written::Mapped(index)),
            false => fills.then_some(Written::Filled(index)),
        });
    [
        Written::IdSource,
        Written::Key,
        Written::IdDataset,
        Written::IdArea,
    ]
    .into_iter()
    .chain(mapped)
    .collect()
}

/// `unnest($first::type[], …) WITH ORDINALITY AS n(c0, …, wkb, id, ord)`: the vectors as rows.
pub fn rows_sql(columns: &[Written], first: usize) -> String {
    let types: Vec<&str> = columns
        .iter()
        .map(|column| column.array_type())
        .chain(["bytea[]", "int[]"])
        .collect();
    let arrays: Vec<String> = types
        .iter()
        .enumerate()
        .map(|(i, array_type)| format!("${}::{array_type}", first + i))
        .collect();
    // There may be no column at all: only the geometry changed.
    let names: Vec<String> = (0..columns.len())
        .map(|i| format!("c{i}"))
        .chain(["wkb", "id", "ord"].map(str::to_owned))
        .collect();
    format!(
        "unnest({}) WITH ORDINALITY AS n({})",
        arrays.join(", "),
        names.join(", ")
    )
}

/// The arguments of `rows_sql`. `ids` are id_synthese, for rows that exist.
pub fn arguments<'a>(
    columns: &[Written],
    observations: &[&'a Observation],
    ids: Option<&[i64]>,
    id_source: i32,
) -> Vec<DatumWithOid<'a>> {
    let mut arguments: Vec<DatumWithOid<'a>> = columns
        .iter()
        .map(|column| column.array(observations, id_source))
        .collect();
    arguments.push(
        observations
            .iter()
            .map(|o| o.wkb.clone())
            .collect::<Vec<Option<Vec<u8>>>>()
            .into(),
    );
    let ids: Vec<Option<i32>> = match ids {
        Some(ids) => ids.iter().map(|id| Some(*id as i32)).collect(),
        None => vec![None; observations.len()],
    };
    arguments.push(ids.into());
    arguments
}
