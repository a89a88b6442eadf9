//! Set-based writes into gn_synthese.synthese: one INSERT for what is new, few UPDATEs that name only the columns that
//! changed, because GeoNature's triggers fire on the columns that are named. What a trigger or constraint refuses is
//! isolated by halving the set in subtransactions. As the source's owner.

use std::collections::{BTreeMap, HashMap};

use pgrx::prelude::*;

use super::columns::{Written, arguments, rows_sql, written};
use super::referential::Referential;
use super::resolve::Observation;
use crate::alert::Touched;
use crate::error::Failure;
use crate::mapping::{COLUMNS, column_index};
use crate::postgres;

/// What the target refused, alone in its set.
pub struct Refused {
    pub item: usize,
    pub failure: Failure,
}

/// Position among the observations, and where it is.
pub type Inserted = (usize, Place);

/// A row of the target: its taxon and dataset as the target has them, whatever came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub id_synthese: i64,
    pub cd_nom: Option<i32>,
    pub id_dataset: Option<i32>,
}

/// Writes a part of a set; the number is the part's position in the whole.
pub type WritePart<'w, T> = dyn FnMut(usize, &[T]) -> Result<(), Failure> + 'w;

/// Inserts; returns those that went in.
pub fn insert(
    referential: &Referential,
    id_source: i32,
    observations: &[&Observation],
    strict: bool,
) -> Result<(Vec<Inserted>, Vec<Refused>), Failure> {
    let columns = written(referential, 0, false, |_| true);
    let statement = insert_sql(referential, &columns);
    let mut inserted = Vec::with_capacity(observations.len());
    let mut refused = Vec::new();
    halve(
        0,
        observations,
        strict,
        &mut refused,
        &mut |offset, part| {
            let places = insert_part(&statement, &columns, id_source, part)?;
            let by_key: HashMap<&str, usize> = part
                .iter()
                .enumerate()
                .map(|(i, o)| (o.key.as_str(), offset + i))
                .collect();
            inserted.extend(places.into_iter().filter_map(|(place, key)| {
                by_key.get(key.as_str()).map(|position| (*position, place))
            }));
            Ok(())
        },
    )?;
    Ok((inserted, refused))
}

fn insert_sql(referential: &Referential, columns: &[Written]) -> String {
    let names: Vec<&str> = columns.iter().map(|column| column.name()).collect();
    let values: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(i, column)| column.expression(i))
        .collect();
    let (geometry_names, geometry_values) = geometry_columns(referential);
    format!(
        "INSERT INTO gn_synthese.synthese ({}, {}, last_action)
         SELECT {}, {}, 'I'
         FROM {}, LATERAL (SELECT {}.ST_GeomFromWKB(n.wkb, 4326)) g(geom)
         ORDER BY n.ord
         RETURNING id_synthese, cd_nom, id_dataset, entity_source_pk_value::text",
        names.join(", "),
        geometry_names.join(", "),
        values.join(", "),
        geometry_values.join(", "),
        rows_sql(columns, 1),
        referential.postgis,
    )
}

/// The geometry columns of the target and what fills them from `g.geom`.
pub fn geometry_columns(referential: &Referential) -> (Vec<&'static str>, Vec<String>) {
    let postgis = &referential.postgis;
    let mut names = vec!["the_geom_4326", "the_geom_point"];
    let mut values = vec![
        "g.geom".to_owned(),
        format!("{postgis}.ST_Centroid(g.geom)"),
    ];
    if let Some(srid) = referential.local_srid {
        names.push("the_geom_local");
        values.push(format!("{postgis}.ST_Transform(g.geom, {srid})"));
    }
    (names, values)
}

fn insert_part(
    statement: &str,
    columns: &[Written],
    id_source: i32,
    part: &[&Observation],
) -> Result<Vec<(Place, String)>, Failure> {
    Spi::connect_mut(|client| {
        let rows = client.update(statement, None, &arguments(columns, part, None, id_source))?;
        let mut places = Vec::with_capacity(rows.len());
        for row in rows {
            places.push((
                Place::read(&row)?,
                row.get::<String>(4)?.unwrap_or_default(),
            ));
        }
        Ok(places)
    })
}

impl Place {
    /// From the first three columns of a row.
    pub fn read(row: &pgrx::spi::SpiHeapTupleData) -> Result<Self, Failure> {
        Ok(Place {
            id_synthese: i64::from(row.get::<i32>(1)?.unwrap_or_default()),
            cd_nom: row.get::<i32>(2)?,
            id_dataset: row.get::<i32>(3)?,
        })
    }
}

/// Where rows are now, by their id_synthese.
pub fn places(ids: &[i64]) -> Result<HashMap<i64, Place>, Failure> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let numbers: Vec<i32> = ids.iter().map(|id| *id as i32).collect();
    Spi::connect(|client| {
        let rows = client.select(
            "SELECT id_synthese, cd_nom, id_dataset FROM gn_synthese.synthese WHERE id_synthese = ANY ($1)",
            None,
            &[numbers.into()],
        )?;
        let mut places = HashMap::with_capacity(rows.len());
        for row in rows {
            let place = Place::read(&row)?;
            places.insert(place.id_synthese, place);
        }
        Ok(places)
    })
}

/// An observation that is in the target, to be compared and brought in step.
#[derive(Clone, Copy)]
pub struct Change<'a> {
    pub observation: &'a Observation,
    pub id_synthese: i64,
}

/// What of a row differs from what came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub columns: Vec<Written>,
    pub geometry: bool,
}

/// Writes what differs. Returns the positions of the rows in which something did.
pub fn update(
    referential: &Referential,
    id_source: i32,
    protected: &[bool],
    changes: &[Change],
    strict: bool,
    touched: &mut Touched,
) -> Result<(Vec<usize>, Vec<Refused>), Failure> {
    let mut updated = Vec::new();
    let mut refused = Vec::new();
    for differences in differences(referential, id_source, protected, changes, touched)? {
        for (difference, group) in group_by_cost(differences) {
            let set: Vec<Change> = group.iter().map(|position| changes[*position]).collect();
            let statement = update_sql(referential, &difference);
            halve(0, &set, strict, &mut refused, &mut |offset, part| {
                update_part(&statement, &difference, id_source, part)?;
                updated.extend(group[offset..offset + part.len()].iter().copied());
                Ok(())
            })?;
        }
    }
    Ok((updated, refused))
}

/// What differs, row by row. An export that leaves columns out says nothing of them: rows are treated by what they speak
/// of (in practice, all the same), each group on its own.
pub fn differences(
    referential: &Referential,
    id_source: i32,
    protected: &[bool],
    changes: &[Change],
    touched: &mut Touched,
) -> Result<Vec<Vec<(usize, Difference)>>, Failure> {
    let mut by_absent: BTreeMap<(u128, bool), Vec<usize>> = BTreeMap::new();
    for (position, change) in changes.iter().enumerate() {
        by_absent
            .entry((change.observation.absent, change.observation.fills))
            .or_default()
            .push(position);
    }
    let groups = by_absent.into_iter().map(|((absent, fills), positions)| {
        let columns = written(referential, absent, fills, |index| {
            !COLUMNS[index].insert_only && !protected[index]
        });
        compare(
            referential,
            &columns,
            id_source,
            changes,
            &positions,
            touched,
        )
    });
    groups.collect()
}

/// Which columns of each row differ. The geometry is compared byte by byte: the target may have been edited.
fn compare(
    referential: &Referential,
    columns: &[Written],
    id_source: i32,
    changes: &[Change],
    positions: &[usize],
    touched: &mut Touched,
) -> Result<Vec<(usize, Difference)>, Failure> {
    let tests: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(i, column)| {
            format!(
                "CASE WHEN s.{} IS DISTINCT FROM {} THEN {i} END",
                column.name(),
                column.expression(i)
            )
        })
        .collect();
    let statement = format!(
        "SELECT n.ord::int, array_remove(ARRAY[{}]::int[], NULL), s.the_geom_4326::bytea IS DISTINCT FROM g.geom::bytea,
                s.cd_nom, s.id_dataset
         FROM {}
         JOIN gn_synthese.synthese s ON s.id_synthese = n.id, LATERAL (SELECT {}.ST_GeomFromWKB(n.wkb, 4326)) g(geom)",
        tests.join(", "),
        rows_sql(columns, 1),
        referential.postgis,
    );
    let observations: Vec<&Observation> = positions
        .iter()
        .map(|position| changes[*position].observation)
        .collect();
    let ids: Vec<i64> = positions
        .iter()
        .map(|position| changes[*position].id_synthese)
        .collect();
    Spi::connect(|client| {
        let mut differences = Vec::new();
        for row in client.select(
            &statement,
            None,
            &arguments(columns, &observations, Some(&ids), id_source),
        )? {
            let position = positions[row.get::<i32>(1)?.unwrap_or(1) as usize - 1];
            let changed = row.get::<Vec<i32>>(2)?.unwrap_or_default();
            let difference = Difference {
                columns: changed.into_iter().map(|i| columns[i as usize]).collect(),
                geometry: row.get::<bool>(3)?.unwrap_or(false),
            };
            if difference.geometry || !difference.columns.is_empty() {
                // What they were: an atlas has to forget them there.
                touched.note(row.get::<i32>(4)?, row.get::<i32>(5)?);
                differences.push((position, difference));
            }
        }
        Ok(differences)
    })
}

/// What a change would do, as JSON: for each column what is there and what comes.
pub fn example(
    referential: &Referential,
    id_source: i32,
    difference: &Difference,
    change: &Change,
) -> Result<Option<String>, Failure> {
    let mut pairs: Vec<String> = difference
        .columns
        .iter()
        .enumerate()
        .map(|(i, column)| {
            let (name, comes) = (column.name(), column.expression(i));
            format!("jsonb_build_object('{name}', jsonb_build_array(s.{name}, {comes}))")
        })
        .collect();
    let postgis = &referential.postgis;
    if difference.geometry {
        pairs.push(format!(
            "jsonb_build_object('the_geom_4326', jsonb_build_array({postgis}.ST_AsText(s.the_geom_4326), {postgis}.ST_AsText(g.geom)))"
        ));
    }
    let statement = format!(
        "SELECT max(({})::text) FROM {}
         JOIN gn_synthese.synthese s ON s.id_synthese = n.id, LATERAL (SELECT {postgis}.ST_GeomFromWKB(n.wkb, 4326)) g(geom)",
        pairs.join(" || "),
        rows_sql(&difference.columns, 1),
    );
    let arguments = arguments(
        &difference.columns,
        &[change.observation],
        Some(&[change.id_synthese]),
        id_source,
    );
    Ok(Spi::get_one_with_args::<String>(&statement, &arguments)?)
}

/// Rows whose update costs the same go together, with the union of their columns: naming one more column that no
/// trigger looks at costs nothing (it is given the value that it has), another statement does.
fn group_by_cost(differences: Vec<(usize, Difference)>) -> Vec<(Difference, Vec<usize>)> {
    let mut groups: BTreeMap<(bool, bool), (Difference, Vec<usize>)> = BTreeMap::new();
    for (position, difference) in differences {
        let cost = (
            difference.geometry,
            difference
                .columns
                .iter()
                .any(|column| column.fires_sensitivity()),
        );
        let (union, rows) = groups.entry(cost).or_insert_with(|| {
            (
                Difference {
                    columns: Vec::new(),
                    geometry: cost.0,
                },
                Vec::new(),
            )
        });
        for column in difference.columns {
            if !union.columns.contains(&column) {
                union.columns.push(column);
            }
        }
        rows.push(position);
    }
    groups.into_values().collect()
}

fn update_sql(referential: &Referential, difference: &Difference) -> String {
    let mut set: Vec<String> = difference
        .columns
        .iter()
        .enumerate()
        .map(|(i, column)| format!("{} = {}", column.name(), column.expression(i)))
        .collect();
    if difference.geometry {
        let (names, values) = geometry_columns(referential);
        set.extend(
            names
                .iter()
                .zip(values)
                .map(|(name, value)| format!("{name} = {value}")),
        );
    }
    set.push("last_action = 'U'".to_owned());
    format!(
        "UPDATE gn_synthese.synthese s SET {}
         FROM {}, LATERAL (SELECT {}.ST_GeomFromWKB(n.wkb, 4326)) g(geom)
         WHERE s.id_synthese = n.id",
        set.join(", "),
        rows_sql(&difference.columns, 1),
        referential.postgis,
    )
}

fn update_part(
    statement: &str,
    difference: &Difference,
    id_source: i32,
    part: &[Change],
) -> Result<(), Failure> {
    let observations: Vec<&Observation> = part.iter().map(|change| change.observation).collect();
    let ids: Vec<i64> = part.iter().map(|change| change.id_synthese).collect();
    Spi::connect_mut(|client| {
        client.update(
            statement,
            None,
            &arguments(&difference.columns, &observations, Some(&ids), id_source),
        )?;
        Ok(())
    })
}

/// Deletes rows of a source; returns those that are gone, those that someone else had deleted before included.
pub fn delete(
    id_source: i32,
    ids: &[i64],
    touched: &mut Touched,
) -> Result<(Vec<i64>, Vec<Refused>), Failure> {
    let mut deleted = Vec::with_capacity(ids.len());
    let mut refused = Vec::new();
    halve(0, ids, false, &mut refused, &mut |_, part| {
        let numbers: Vec<i32> = part.iter().map(|id| *id as i32).collect();
        Spi::connect_mut(|client| -> Result<(), Failure> {
            for row in client.update(
                "DELETE FROM gn_synthese.synthese WHERE id_synthese = ANY ($1) AND id_source = $2
                 RETURNING cd_nom, id_dataset",
                None,
                &[numbers.into(), id_source.into()],
            )? {
                touched.note(row.get::<i32>(1)?, row.get::<i32>(2)?);
            }
            Ok(())
        })?;
        deleted.extend_from_slice(part);
        Ok(())
    })?;
    Ok((deleted, refused))
}

/// Something that is written and, when the target refuses it, named.
pub trait Item {
    fn item(&self) -> usize;
}

impl Item for &Observation {
    fn item(&self) -> usize {
        self.item
    }
}

impl Item for i64 {
    fn item(&self) -> usize {
        *self as usize
    }
}

impl Item for Change<'_> {
    fn item(&self) -> usize {
        self.observation.item
    }
}

/// Writes a set in a subtransaction; what fails is tried again in halves, until what is refused stands alone.
/// A failure that is nobody's record (rights, locks, disk) ends it all; `strict`, so does a value that is there already.
pub fn halve<T: Item>(
    offset: usize,
    set: &[T],
    strict: bool,
    refused: &mut Vec<Refused>,
    write: &mut WritePart<T>,
) -> Result<(), Failure> {
    if set.is_empty() {
        return Ok(());
    }
    match postgres::subtransaction(|| write(offset, set)) {
        Ok(()) => Ok(()),
        Err(failure) if !failure.concerns_records() => Err(failure),
        Err(failure) if strict && failure.is_duplicate() => Err(failure),
        Err(failure) if set.len() == 1 => {
            refused.push(Refused {
                item: set[0].item(),
                failure,
            });
            Ok(())
        }
        Err(_) => {
            let (left, right) = set.split_at(set.len() / 2);
            halve(offset, left, strict, refused, write)?;
            halve(offset + left.len(), right, strict, refused, write)
        }
    }
}

/// The column of the target that a refusal is about: its message names it, or a constraint on it.
pub fn column_of(message: &str, constraints: &HashMap<String, String>) -> Option<String> {
    let mut words = message.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    words.find_map(|word| match column_index(word) {
        Some(index) => Some(COLUMNS[index].target.to_owned()),
        None => constraints.get(word).cloned(),
    })
}

/// The value that a refusal quotes, in the form `(column)=(value)` of PostgreSQL's DETAIL.
pub fn value_of(detail: &str) -> Option<&str> {
    let (_, after) = detail.split_once(")=(")?;
    after.split_once(')').map(|(value, _)| value)
}
