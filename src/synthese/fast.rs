//! The fast load: new observations are written with GeoNature's own triggers left aside, and their work is done for the
//! whole set: sensitivity, dates, links to areas, foreign keys. Only where the target is exactly one that is known; what
//! can not be written so goes the standard way, which says why. As the source's owner.

mod known;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::columns::{Written, arguments, rows_sql, written};
use super::referential::Referential;
use super::resolve::Observation;
use super::write::{self, Inserted, Place, Refused};
use crate::error::Failure;
use crate::mapping::column_index;
use crate::{postgres, source};
use known::Reference;

const SENSITIVITY: &str = "id_nomenclature_sensitivity";
/// Sets of this size go the standard way when something of them is refused.
const SMALL: usize = 32;

/// How new observations are written.
pub enum Load {
    /// With every trigger; why, when the fast load was asked for.
    Standard(Option<String>),
    Fast(Fast),
    /// The owner of the source may not.
    Forbidden(Failure),
}

/// What the fast load has to know of the target.
pub struct Fast {
    references: Vec<Reference>,
    areas_owner: pg_sys::Oid,
    search_path: String,
}

/// Finds out which load is to be used. As the source's owner.
pub fn choose(
    wanted: source::Load,
    owner: &str,
    search_path: &str,
    referential: &Referential,
) -> Result<Load, Failure> {
    if wanted == source::Load::Standard {
        return Ok(Load::Standard(None));
    }
    let allowed = Spi::get_one::<bool>(
        "SELECT pg_catalog.has_parameter_privilege(current_user, 'session_replication_role', 'SET')",
    )?;
    if allowed != Some(true) {
        let failure = Failure::new("42501", format!("role \"{owner}\", which owns the source, may not set session_replication_role"))
            .detail("The fast load leaves the triggers of the target aside while it does their work, as that role.")
            .hint(format!("As a superuser: GRANT SET ON PARAMETER session_replication_role TO \"{}\"; or gn_harvest.alter_source(name, load => 'standard').", owner.replace('"', "\"\"")));
        return Ok(Load::Forbidden(failure));
    }
    let needed = [
        SENSITIVITY,
        "id_nomenclature_bio_status",
        "id_nomenclature_behaviour",
    ];
    let lacks = |name: &&str| column_index(name).is_none_or(|index| !referential.present[index]);
    if let Some(column) = needed.iter().find(|name| lacks(name)) {
        return Ok(Load::Standard(Some(format!(
            "gn_synthese.synthese has no column {column}"
        ))));
    }
    if referential.local_srid.is_none() {
        let why = "gn_synthese.synthese has no column the_geom_local";
        return Ok(Load::Standard(Some(why.to_owned())));
    }
    if let Some(why) = known::stranger()? {
        return Ok(Load::Standard(Some(why)));
    }
    Ok(Load::Fast(Fast {
        references: known::references()?,
        areas_owner: known::owner_of_areas()?,
        search_path: search_path.to_owned(),
    }))
}

impl Fast {
    /// Inserts; returns those that went in. `strict`, a value that is there already ends it.
    pub fn insert(
        &self,
        referential: &Referential,
        id_source: i32,
        observations: &[&Observation],
        strict: bool,
    ) -> Result<(Vec<Inserted>, Vec<Refused>), Failure> {
        // A trigger can't come while the lock is held. One that came since the run began is obeyed; the next run says it.
        Spi::run(
            "LOCK TABLE gn_synthese.synthese, gn_synthese.cor_area_synthese IN ROW EXCLUSIVE MODE",
        )?;
        if known::stranger()?.is_some() {
            return write::insert(referential, id_source, observations, strict);
        }
        let sensitivity = column_index(SENSITIVITY);
        let columns = written(referential, 0, false, |index| Some(index) != sensitivity);
        let statement = self.insert_sql(referential, &columns);
        let (mut inserted, mut refused) = (Vec::new(), Vec::new());
        let mut pending = vec![(0, observations)];
        while let Some((offset, part)) = pending.pop() {
            if part.is_empty() {
                continue;
            }
            let written = postgres::subtransaction(|| {
                self.insert_part(referential, &statement, &columns, id_source, part)
            });
            match written {
                Ok(places) => inserted.extend(places.into_iter().map(|(i, p)| (offset + i, p))),
                Err(failure) if !failure.concerns_records() => return Err(failure),
                Err(failure) if strict && failure.is_duplicate() => return Err(failure),
                // The target itself says what it refuses, and why.
                Err(_) if part.len() <= SMALL => {
                    let (some, others) = write::insert(referential, id_source, part, strict)?;
                    inserted.extend(some.into_iter().map(|(i, place)| (offset + i, place)));
                    refused.extend(others);
                }
                Err(_) => {
                    let middle = part.len() / 2;
                    pending.push((offset + middle, &part[middle..]));
                    pending.push((offset, &part[..middle]));
                }
            }
        }
        Ok((inserted, refused))
    }

    fn insert_sql(&self, referential: &Referential, columns: &[Written]) -> String {
        let names: Vec<&str> = columns.iter().map(|column| column.name()).collect();
        let values: Vec<String> = columns
            .iter()
            .enumerate()
            .map(|(i, column)| column.expression(i))
            .collect();
        let value = |name: &str| {
            let found = columns.iter().position(|column| column.name() == name);
            found.map_or("NULL".to_owned(), |i| columns[i].expression(i))
        };
        let (geometry_names, geometry_values) = write::geometry_columns(referential);
        let local = geometry_values.last().map_or("NULL", String::as_str);
        let references: Vec<String> = self
            .references
            .iter()
            .map(|reference| format!("synthese.{}", reference.column))
            .collect();
        format!(
            "INSERT INTO gn_synthese.synthese ({}, {}, last_action, meta_create_date, meta_update_date, {SENSITIVITY})
             SELECT {}, {}, 'I', pg_catalog.now(), pg_catalog.now(),
                    CASE WHEN t.cd_ref IN (SELECT r.cd_ref FROM gn_sensitivity.t_sensitivity_rules_cd_ref r)
                         THEN gn_sensitivity.get_id_nomenclature_sensitivity({}::date, t.cd_ref, {local},
                                  pg_catalog.jsonb_build_object('STATUT_BIO', {}, 'OCC_COMPORTEMENT', {}))
                         ELSE (SELECT gn_sensitivity.get_id_nomenclature_sensitivity(NULL, NULL, NULL, '{{}}'::jsonb)) END
             FROM {}
             LEFT JOIN taxonomie.taxref t ON t.cd_nom = n.c{},
             LATERAL (SELECT {}.ST_GeomFromWKB(n.wkb, 4326)) g(geom)
             ORDER BY n.ord
             RETURNING id_synthese, cd_nom, id_dataset, entity_source_pk_value::text, ARRAY[{}]::int[]",
            names.join(", "),
            geometry_names.join(", "),
            values.join(", "),
            geometry_values.join(", "),
            value("date_min"),
            value("id_nomenclature_bio_status"),
            value("id_nomenclature_behaviour"),
            rows_sql(columns, 1),
            columns
                .iter()
                .position(|column| column.name() == "cd_nom")
                .unwrap_or_default(),
            referential.postgis,
            references.join(", "),
        )
    }

    /// Writes a set, with what the triggers would have done. Its parents are locked until the end of the transaction.
    fn insert_part(
        &self,
        referential: &Referential,
        statement: &str,
        columns: &[Written],
        id_source: i32,
        part: &[&Observation],
    ) -> Result<Vec<Inserted>, Failure> {
        let by_key: HashMap<&str, usize> = part
            .iter()
            .enumerate()
            .map(|(i, o)| (o.key.as_str(), i))
            .collect();
        let mut parents: Vec<BTreeSet<i32>> = vec![BTreeSet::new(); self.references.len()];
        let places = without_triggers(|| {
            Spi::connect_mut(|client| {
                let rows =
                    client.update(statement, None, &arguments(columns, part, None, id_source))?;
                let mut places = Vec::with_capacity(rows.len());
                for row in rows {
                    let key = row.get::<String>(4)?.unwrap_or_default();
                    if let Some(position) = by_key.get(key.as_str()) {
                        places.push((*position, Place::read(&row)?));
                    }
                    let numbers = row.get::<Vec<Option<i32>>>(5)?.unwrap_or_default();
                    for (set, number) in parents.iter_mut().zip(numbers) {
                        set.extend(number);
                    }
                }
                Ok(places)
            })
        })?;
        self.hold_parents(&parents)?;
        let ids = places.iter().map(|(_, place)| place.id_synthese as i32);
        self.link_areas(referential, ids.collect())?;
        Ok(places)
    }

    /// The foreign keys: every row that is referred to is there, and stays.
    fn hold_parents(&self, parents: &[BTreeSet<i32>]) -> Result<(), Failure> {
        let mut by_table: BTreeMap<(&str, &str), (pg_sys::Oid, BTreeSet<i32>)> = BTreeMap::new();
        for (reference, numbers) in self.references.iter().zip(parents) {
            by_table
                .entry((reference.table, reference.key))
                .or_insert_with(|| (reference.owner, BTreeSet::new()))
                .1
                .extend(numbers);
        }
        for ((table, key), (owner, numbers)) in by_table {
            let wanted = numbers.len();
            let held = self.hold(table, key, owner, numbers.into_iter().collect())?;
            if held.len() < wanted {
                return Err(Failure::new(
                    "23503",
                    format!("rows of {table} that observations refer to are not there"),
                ));
            }
        }
        Ok(())
    }

    /// Locks rows of a table as a foreign key does: as its owner.
    fn hold(
        &self,
        table: &str,
        key: &str,
        owner: pg_sys::Oid,
        numbers: Vec<i32>,
    ) -> Result<BTreeSet<i32>, Failure> {
        if numbers.is_empty() {
            return Ok(BTreeSet::new());
        }
        postgres::as_role(owner, &self.search_path, || {
            let statement = format!(
                "SELECT p.{key} FROM ONLY {table} p WHERE p.{key} OPERATOR(pg_catalog.=) ANY ($1) ORDER BY p.{key} FOR KEY SHARE"
            );
            Spi::connect_mut(|client| {
                let mut held = BTreeSet::new();
                for row in client.update(&statement, None, &[numbers.into()])? {
                    held.extend(row.get::<i32>(1)?);
                }
                Ok(held)
            })
        })
    }

    /// Links to the areas. Pairs are looked at area by area, so that PostGIS prepares each area once. What lies within an
    /// area does not merely touch it; that is told from the prepared area, whether it touches is not.
    fn link_areas(&self, referential: &Referential, ids: Vec<i32>) -> Result<(), Failure> {
        let postgis = &referential.postgis;
        let statement = format!(
            "INSERT INTO gn_synthese.cor_area_synthese (id_synthese, id_area)
             SELECT p.id_synthese, p.id_area
             FROM (SELECT s.id_synthese, s.the_geom_local AS geom, a.id_area, a.geom AS area
                   FROM gn_synthese.synthese s
                   JOIN ref_geo.l_areas a ON a.enable AND a.geom OPERATOR({postgis}.&&) s.the_geom_local
                   WHERE s.id_synthese = ANY ($1)
                   ORDER BY a.id_area OFFSET 0) p
             WHERE {postgis}.ST_Intersects(p.area, p.geom)
               AND CASE WHEN {postgis}.GeometryType(p.geom) = 'POINT' THEN true
                        WHEN {postgis}.ST_IsValid(p.geom) AND {postgis}.ST_ContainsProperly(p.area, p.geom) THEN true
                        ELSE NOT {postgis}.ST_Touches(p.geom, p.area) END
             RETURNING id_area"
        );
        let mut areas = BTreeSet::new();
        without_triggers(|| {
            Spi::connect_mut(|client| {
                for row in client.update(&statement, None, &[ids.clone().into()])? {
                    areas.extend(row.get::<i32>(1)?);
                }
                Ok(())
            })
        })?;
        let numbers = areas.iter().copied().collect();
        let held = self.hold("ref_geo.l_areas", "id_area", self.areas_owner, numbers)?;
        let gone: Vec<i32> = areas.difference(&held).copied().collect();
        if !gone.is_empty() {
            // Deleted in between: their links go with them.
            Spi::run_with_args(
                "DELETE FROM gn_synthese.cor_area_synthese WHERE id_synthese = ANY ($1) AND id_area = ANY ($2)",
                &[ids.into(), gone.into()],
            )?;
        }
        Ok(())
    }
}

/// Runs `work` with triggers left aside, in this transaction alone. An error leaves the setting to the abort.
fn without_triggers<R>(work: impl FnOnce() -> Result<R, Failure>) -> Result<R, Failure> {
    Spi::run("SET LOCAL session_replication_role = replica")?;
    let result = work()?;
    Spi::run("SET LOCAL session_replication_role = origin")?;
    Ok(result)
}
