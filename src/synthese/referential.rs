//! What of the target a run needs to know: its columns, nomenclatures, defaults, taxa, habitats, areas, datasets.
//! Small tables are read once; taxa, habitats, areas and datasets as they come up, and kept.
//! Reads the target as the source's owner.

use std::collections::HashMap;

use pgrx::prelude::*;

use crate::error::Failure;
use crate::mapping::{COLUMNS, Kind};
use crate::record::{Lengths, Value};

type Area = (String, String);

/// Codes and labels of one type of nomenclature.
#[derive(Debug, Default)]
pub struct Nomenclature {
    by_code: HashMap<String, i32>,
    by_label: HashMap<String, i32>,
}

impl Nomenclature {
    pub fn code(&self, code: &str) -> Option<i32> {
        self.by_code.get(code.trim()).copied()
    }

    pub fn label(&self, label: &str) -> Option<i32> {
        self.by_label.get(&fold(label)).copied()
    }
}

/// The local referentials, as far as this run has met them.
pub struct Referential {
    /// Parallel to `COLUMNS`: whether the target has the column.
    pub present: Vec<bool>,
    /// Parallel to `COLUMNS`: the target's own default.
    pub defaults: Vec<Value>,
    pub lengths: Lengths,
    /// SRID of the_geom_local; none when the target has no such column.
    pub local_srid: Option<i32>,
    /// Schema of PostGIS, quoted.
    pub postgis: String,
    /// The constraints of the target by their names, with the (first) column that each is on.
    pub constraints: HashMap<String, String>,
    nomenclatures: HashMap<String, Nomenclature>,
    taxa: HashMap<i32, bool>,
    habitats: HashMap<i32, bool>,
    areas: HashMap<Area, Option<i32>>,
    datasets: HashMap<[u8; 16], i32>,
}

impl Referential {
    /// Reads the small tables. Fails with what is missing when the database is not a GeoNature.
    pub fn load() -> Result<Self, Failure> {
        let postgis = require_geonature()?;
        let (present, expressions, limits) = synthese_columns()?;
        Ok(Referential {
            defaults: evaluate_defaults(&expressions)?,
            present,
            lengths: Lengths::new(limits.iter().map(|(name, limit)| (name.as_str(), *limit))),
            local_srid: local_srid(&postgis)?,
            postgis,
            constraints: constraints()?,
            nomenclatures: nomenclatures()?,
            taxa: HashMap::new(),
            habitats: HashMap::new(),
            areas: HashMap::new(),
            datasets: HashMap::new(),
        })
    }

    pub fn nomenclature(&self, type_code: &str) -> Option<&Nomenclature> {
        self.nomenclatures.get(type_code)
    }

    pub fn has_taxon(&self, cd_nom: i32) -> bool {
        self.taxa.get(&cd_nom).copied().unwrap_or(false)
    }

    pub fn has_habitat(&self, cd_hab: i32) -> bool {
        self.habitats.get(&cd_hab).copied().unwrap_or(false)
    }

    pub fn area(&self, type_code: &str, area_code: &str) -> Option<i32> {
        self.areas
            .get(&(type_code.to_owned(), area_code.to_owned()))
            .copied()
            .flatten()
    }

    pub fn dataset(&self, uuid: &[u8; 16]) -> Option<i32> {
        self.datasets.get(uuid).copied()
    }

    pub fn learn_dataset(&mut self, uuid: [u8; 16], id_dataset: i32) {
        self.datasets.insert(uuid, id_dataset);
    }

    /// Local numbers of the datasets that have come up.
    pub fn dataset_ids(&self) -> Vec<i32> {
        let mut ids: Vec<i32> = self.datasets.values().copied().collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Looks up the taxa that have not come up yet. What is not found is asked again in the next batch:
    /// it may have been added since.
    pub fn learn_taxa(&mut self, cd_noms: impl Iterator<Item = i32>) -> Result<(), Failure> {
        learn_numbers(
            &mut self.taxa,
            cd_noms,
            "SELECT cd_nom FROM taxonomie.taxref WHERE cd_nom = ANY ($1)",
        )
    }

    pub fn learn_habitats(&mut self, cd_habs: impl Iterator<Item = i32>) -> Result<(), Failure> {
        learn_numbers(
            &mut self.habitats,
            cd_habs,
            "SELECT cd_hab FROM ref_habitats.habref WHERE cd_hab = ANY ($1)",
        )
    }

    pub fn learn_areas(&mut self, areas: impl Iterator<Item = Area>) -> Result<(), Failure> {
        let mut wanted: Vec<Area> = areas
            .filter(|area| !matches!(self.areas.get(area), Some(Some(_))))
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        if wanted.is_empty() {
            return Ok(());
        }
        let (types, codes): (Vec<String>, Vec<String>) = wanted.into_iter().unzip();
        let found = Spi::connect(|client| -> Result<Vec<(Area, i32)>, Failure> {
            let rows = client.select(
                "SELECT n.type_code, n.area_code, min(a.id_area)
                 FROM unnest($1::text[], $2::text[]) n(type_code, area_code)
                 JOIN ref_geo.bib_areas_types t ON t.type_code = n.type_code
                 JOIN ref_geo.l_areas a ON a.id_type = t.id_type AND a.area_code = n.area_code
                 GROUP BY 1, 2",
                None,
                &[types.into(), codes.into()],
            )?;
            let mut found = Vec::with_capacity(rows.len());
            for row in rows {
                let area = (
                    row.get::<String>(1)?.unwrap_or_default(),
                    row.get::<String>(2)?.unwrap_or_default(),
                );
                found.extend(row.get::<i32>(3)?.map(|id| (area, id)));
            }
            Ok(found)
        })?;
        self.areas
            .extend(found.into_iter().map(|(area, id)| (area, Some(id))));
        Ok(())
    }

    /// Looks up datasets by UUID; those that are not here stay unknown.
    pub fn learn_datasets(&mut self, uuids: impl Iterator<Item = [u8; 16]>) -> Result<(), Failure> {
        let wanted: Vec<pgrx::Uuid> = uuids
            .filter(|uuid| !self.datasets.contains_key(uuid))
            .map(pgrx::Uuid::from_bytes)
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let found = Spi::connect(|client| -> Result<Vec<([u8; 16], i32)>, Failure> {
            let rows = client.select(
                "SELECT unique_dataset_id, id_dataset FROM gn_meta.t_datasets WHERE unique_dataset_id = ANY ($1)",
                None,
                &[wanted.into()],
            )?;
            let mut found = Vec::with_capacity(rows.len());
            for row in rows {
                if let (Some(uuid), Some(id)) = (row.get::<pgrx::Uuid>(1)?, row.get::<i32>(2)?) {
                    found.push((*uuid.as_bytes(), id));
                }
            }
            Ok(found)
        })?;
        self.datasets.extend(found);
        Ok(())
    }
}

fn learn_numbers(
    known: &mut HashMap<i32, bool>,
    numbers: impl Iterator<Item = i32>,
    query: &str,
) -> Result<(), Failure> {
    let mut wanted: Vec<i32> = numbers
        .filter(|number| known.get(number) != Some(&true))
        .collect();
    wanted.sort_unstable();
    wanted.dedup();
    if wanted.is_empty() {
        return Ok(());
    }
    let found = Spi::connect(|client| -> Result<Vec<i32>, Failure> {
        let mut found = Vec::new();
        for row in client.select(query, None, &[wanted.into()])? {
            found.extend(row.get::<i32>(1)?);
        }
        Ok(found)
    })?;
    known.extend(found.into_iter().map(|number| (number, true)));
    Ok(())
}

/// PostGIS's schema, quoted; or what the database lacks to be a target.
fn require_geonature() -> Result<String, Failure> {
    let missing = Spi::get_one::<Vec<String>>(
        "SELECT coalesce(array_agg(t), '{}')
         FROM unnest(ARRAY['gn_synthese.synthese', 'gn_synthese.t_sources', 'gn_meta.t_datasets', 'gn_meta.t_acquisition_frameworks',
                           'ref_nomenclatures.t_nomenclatures', 'ref_nomenclatures.bib_nomenclatures_types', 'taxonomie.taxref',
                           'ref_geo.l_areas', 'ref_geo.bib_areas_types', 'ref_habitats.habref']) t
         WHERE to_regclass(t) IS NULL",
    )?
    .unwrap_or_default();
    if !missing.is_empty() {
        return Err(Failure::new("55000", "this database is not a GeoNature database")
            .detail(format!("Tables that are missing, or whose schema the role may not use: {}.", missing.join(", ")))
            .hint("Create the extension and the source in the GeoNature database, and grant the source's owner USAGE on its schemas."));
    }
    let schema = Spi::get_one::<String>(
        "SELECT (SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'postgis')",
    )?;
    schema.ok_or_else(|| {
        Failure::new("55000", "PostGIS is not installed in this database")
            .hint("CREATE EXTENSION postgis;")
    })
}

type ColumnFacts = (Vec<bool>, Vec<Option<String>>, HashMap<String, usize>);

/// Parallel to `COLUMNS`: present or not, default expression; and the lengths of its varchars.
fn synthese_columns() -> Result<ColumnFacts, Failure> {
    let mut present = vec![false; COLUMNS.len()];
    let mut expressions = vec![None; COLUMNS.len()];
    let mut limits = HashMap::new();
    Spi::connect(|client| -> Result<(), Failure> {
        let rows = client.select(
            "SELECT a.attname::text, pg_get_expr(d.adbin, d.adrelid), CASE WHEN a.atttypid = 'varchar'::regtype AND a.atttypmod > 4 THEN a.atttypmod - 4 END
             FROM pg_attribute a
             LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
             WHERE a.attrelid = 'gn_synthese.synthese'::regclass AND a.attnum > 0 AND NOT a.attisdropped",
            None,
            &[],
        )?;
        for row in rows {
            let name = row.get::<String>(1)?.unwrap_or_default();
            if let Some(index) = crate::mapping::column_index(&name) {
                present[index] = true;
                expressions[index] = row.get::<String>(2)?;
            }
            if let Some(limit) = row.get::<i32>(3)? {
                limits.insert(name, limit as usize);
            }
        }
        Ok(())
    })?;
    Ok((present, expressions, limits))
}

fn constraints() -> Result<HashMap<String, String>, Failure> {
    Spi::connect(|client| {
        let rows = client.select(
            "SELECT c.conname::text, a.attname::text
             FROM pg_constraint c
             JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
             WHERE c.conrelid = 'gn_synthese.synthese'::regclass",
            None,
            &[],
        )?;
        let mut constraints = HashMap::with_capacity(rows.len());
        for row in rows {
            constraints.extend(row.get::<String>(1)?.zip(row.get::<String>(2)?));
        }
        Ok(constraints)
    })
}

fn evaluate_defaults(expressions: &[Option<String>]) -> Result<Vec<Value>, Failure> {
    let list: Vec<String> = expressions
        .iter()
        .map(|expression| {
            expression
                .as_ref()
                .map_or("NULL".to_owned(), |e| format!("({e})::text"))
        })
        .collect();
    Spi::connect(|client| {
        let row = client
            .select(
                &format!("SELECT ARRAY[{}]::text[]", list.join(", ")),
                Some(1),
                &[],
            )?
            .first();
        let values = row.get::<Vec<Option<String>>>(1)?.unwrap_or_default();
        Ok(values
            .into_iter()
            .zip(COLUMNS)
            .map(|(value, column)| match (value, column.kind) {
                (None, _) => Value::Null,
                (
                    Some(text),
                    Kind::Integer | Kind::Nomenclature(_) | Kind::Taxon | Kind::Habitat,
                ) => text.parse().map_or(Value::Null, Value::Integer),
                (Some(text), Kind::Text) => Value::Text(text),
                (Some(_), _) => Value::Null,
            })
            .collect())
    })
}

fn local_srid(postgis: &str) -> Result<Option<i32>, Failure> {
    Ok(Spi::get_one::<i32>(&format!(
        "SELECT (SELECT {postgis}.postgis_typmod_srid(atttypmod) FROM pg_attribute
                 WHERE attrelid = 'gn_synthese.synthese'::regclass AND attname = 'the_geom_local' AND NOT attisdropped)"
    ))?
    .filter(|srid| *srid > 0))
}

fn nomenclatures() -> Result<HashMap<String, Nomenclature>, Failure> {
    let mut all: HashMap<String, Nomenclature> = HashMap::new();
    Spi::connect(|client| -> Result<(), Failure> {
        // Where two entries share a label, the active and lower one has it.
        let rows = client.select(
            "SELECT t.mnemonique::text, n.id_nomenclature, n.cd_nomenclature::text, n.label_default::text, to_jsonb(n) ->> 'label_fr'
             FROM ref_nomenclatures.t_nomenclatures n
             JOIN ref_nomenclatures.bib_nomenclatures_types t USING (id_type)
             ORDER BY n.active DESC NULLS LAST, n.id_nomenclature",
            None,
            &[],
        )?;
        for row in rows {
            let (Some(type_code), Some(id)) = (row.get::<String>(1)?, row.get::<i32>(2)?) else {
                continue;
            };
            let nomenclature = all.entry(type_code).or_default();
            if let Some(code) = row.get::<String>(3)? {
                nomenclature.by_code.entry(code).or_insert(id);
            }
            for label in [row.get::<String>(4)?, row.get::<String>(5)?]
                .into_iter()
                .flatten()
            {
                nomenclature.by_label.entry(fold(&label)).or_insert(id);
            }
        }
        Ok(())
    })?;
    Ok(all)
}

/// A label without what people and tools change in it: case, outer spaces, the kind of apostrophe.
fn fold(label: &str) -> String {
    label.trim().replace('\u{2019}', "'").to_lowercase()
}
