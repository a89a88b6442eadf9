//! Finds what each column of an export feeds, by the table of columns and by the mappings
//! that the data manager made for the source.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    COLUMNS, Column, DatasetOrigin, FieldMapping, FieldSource, GeometryOrigin, Layout,
    MappingError, Names, Origin, column_index,
};
use crate::record;

const KEY_TARGET: &str = "entity_source_pk_value";
const GEOMETRY_TARGET: &str = "the_geom_4326";
const DATASET_TARGET: &str = "id_dataset";
const AREA_TARGET: &str = "id_area_attachment";
const UUID_TARGET: &str = "unique_id_sinp";
const WATERMARK: &str = "watermark";

/// Names of the parts of a record that are not plain values, best first.
const KEY: Names = &["id_synthese"];
const GEOMETRY_TEXT: Names = &["wkt_4326", "geometrie_wkt_4326", "geom_wkt", "wkt"];
const GEOMETRY_JSON: Names = &["geojson_4326"];
const CENTROID_X: Names = &["x_centroid_4326", "x_centroid", "longitude"];
const CENTROID_Y: Names = &["y_centroid_4326", "y_centroid", "latitude"];
const ACTION_DATE: Names = &["derniere_action", "meta_last_action_date", "lastact"];
const DATASET_DATA: Names = &["jdd_data"];
const FRAMEWORK_DATA: Names = &["ca_data"];
const DATASET_UUID: Names = &["jdd_uuid", "jddId"];
const DATASET_NAME: Names = &["jdd_nom", "jddCode"];
const DATASET_ACTORS: Names = &["jdd_acteurs"];
const FRAMEWORK_UUID: Names = &["ca_uuid"];
const FRAMEWORK_NAME: Names = &["ca_nom"];
/// Of items that are kept whole: what else than an observation's key identifies a record, or is its UUID.
const WHOLE_KEY: Names = &["id_synthese", "id"];
const WHOLE_UUID: Names = &["uuid"];
const AREA_ATTACHMENT: Names = &["area_attachment"];
const TIME_MIN: Names = &["heure_debut"];
const TIME_MAX: Names = &["heure_fin"];

const PART_NAMES: &[Names] = &[
    KEY,
    GEOMETRY_TEXT,
    GEOMETRY_JSON,
    CENTROID_X,
    CENTROID_Y,
    ACTION_DATE,
    DATASET_DATA,
    FRAMEWORK_DATA,
    DATASET_UUID,
    DATASET_NAME,
    DATASET_ACTORS,
    FRAMEWORK_UUID,
    FRAMEWORK_NAME,
    AREA_ATTACHMENT,
    TIME_MIN,
    TIME_MAX,
];

/// Known columns that a harvest need not read: numbers local to the source, and what
/// the target derives by itself from the taxon, the habitat, the geometry or a write.
#[rustfmt::skip]
const DERIVABLE: Names = &[
    "cd_ref", "nom_valide", "nom_complet", "nom_vernaculaire", "regne", "group1_inpn", "group2_inpn",
    "group3_inpn", "classe", "ordre", "famille", "rang_taxo", "habitat", "nom_habitat", "cd_habitat",
    "id_source", "id_origine", "id_digitiser", "id_module", "jdd_id", "ca_id", "id_acquisition_framework",
    "date_creation", "date_modification", "meta_create_date", "meta_update_date", "communes",
    "departements", "geojson_local", "geom", "the_geom_point", "the_geom_local", "ownerInstitutionID",
    "ownerInstitutionCode",
    // Of published exports: the marker is read apart, and accounts of another GeoNature are not those here.
    "gn_harvest", "numerisateur", "observateurs_uuid",
];

impl Layout {
    /// Finds what each column of an export feeds.
    ///
    /// `names` are the export's columns (of a Feature: its properties; empty: taken from the
    /// sample), `sample` some raw items. `mappings` win over the names of the table; a column
    /// that a mapping takes whole feeds only what mappings say.
    pub fn recognise(
        names: &[String],
        sample: &[&str],
        geojson: bool,
        mappings: &[FieldMapping],
        key_override: Option<&str>,
        date_override: Option<&str>,
    ) -> Result<Layout, MappingError> {
        let names = or_found(names, sample, geojson);
        let mut finder = Finder::new(&names);
        let mapped = Mapped::read(&mut finder, mappings)?;
        let layout = finder.layout(geojson, mapped);
        finder.finish(layout, sample, key_override, date_override)
    }

    /// Finds, in an export of anything, what tells its records apart; every column stays in the item.
    pub fn recognise_whole(
        names: &[String],
        sample: &[&str],
        geojson: bool,
        key_override: Option<&str>,
        date_override: Option<&str>,
    ) -> Result<Layout, MappingError> {
        let names = or_found(names, sample, geojson);
        let mut finder = Finder::new(&names);
        let layout = finder.whole_layout(geojson);
        finder.finish(layout, sample, key_override, date_override)
    }

    /// Whether the key is the number that GeoNature's log of deletions speaks of.
    pub fn key_is_id_synthese(&self) -> bool {
        let is_id = |key: &String| folded(key) == folded(KEY[0]);
        self.key_is_number && self.key.as_ref().is_some_and(is_id)
    }
}

/// What the mappings of a source say about the parts of a record.
struct Mapped {
    columns: Vec<Option<Origin>>,
    /// By the targets of [`PARTS`].
    parts: HashMap<&'static str, String>,
}

/// Parts of a record that a mapping can only take whole from a column of the export.
pub const PARTS: Names = &[KEY_TARGET, GEOMETRY_TARGET, DATASET_TARGET, AREA_TARGET];

impl Mapped {
    fn read(finder: &mut Finder, mappings: &[FieldMapping]) -> Result<Self, MappingError> {
        let mut mapped = Self {
            columns: vec![None; COLUMNS.len()],
            parts: HashMap::new(),
        };
        for mapping in mappings {
            let target = mapping.target.as_str();
            if let Some(part) = PARTS.iter().copied().find(|part| *part == target) {
                let FieldSource::Export(name) = &mapping.source else {
                    return Err(MappingError::ColumnOnly(target.to_owned()));
                };
                let name = finder.existing(name)?;
                finder.take(&name, part);
                if mapped.parts.insert(part, name).is_some() {
                    return Err(MappingError::TargetTwice(target.to_owned()));
                }
                continue;
            }
            let index = column_index(target)
                .ok_or_else(|| MappingError::UnknownTarget(target.to_owned()))?;
            let origin = finder.origin(index, &mapping.source)?;
            if mapped.columns[index].replace(origin).is_some() {
                return Err(MappingError::TargetTwice(target.to_owned()));
            }
        }
        Ok(mapped)
    }
}

/// The names of an export, and which of them already feed something.
struct Finder<'n> {
    names: &'n [String],
    taken: HashSet<String>,
    recognised: Vec<(String, String)>,
}

impl<'n> Finder<'n> {
    fn new(names: &'n [String]) -> Self {
        Self {
            names,
            taken: HashSet::new(),
            recognised: Vec::new(),
        }
    }

    fn existing(&self, name: &str) -> Result<String, MappingError> {
        let known = self.names.iter().find(|known| *known == name);
        known
            .cloned()
            .ok_or_else(|| MappingError::NoSuchColumn(name.to_owned()))
    }

    /// A column that was named outright for a part, in place of what was found for it.
    fn instead(&mut self, name: &str, feeds: &str) -> Result<String, MappingError> {
        let name = self.existing(name)?;
        self.recognised.retain(|(_, fed)| fed != feeds);
        self.take(&name, feeds);
        Ok(name)
    }

    fn take(&mut self, name: &str, feeds: &str) {
        self.taken.insert(name.to_owned());
        self.recognised.push((name.to_owned(), feeds.to_owned()));
    }

    /// The first accepted name that the export has and that feeds nothing yet: as written,
    /// else without regard to case and punctuation (`dateDebut` for `date_debut`).
    fn find(&self, accepted: &[&str]) -> Option<String> {
        let free = || self.names.iter().filter(|name| !self.taken.contains(*name));
        let same = |wanted: &&str| free().find(|name| name == wanted);
        let alike = |wanted: &&str| free().find(|name| folded(name) == folded(wanted));
        accepted
            .iter()
            .find_map(same)
            .or_else(|| accepted.iter().find_map(alike))
            .cloned()
    }

    fn find_and_take(&mut self, accepted: &[&str], feeds: &str) -> Option<String> {
        let name = self.find(accepted)?;
        self.take(&name, feeds);
        Some(name)
    }

    /// A mapping's source, checked against the export's columns and the target's kind.
    fn origin(&mut self, index: usize, source: &FieldSource) -> Result<Origin, MappingError> {
        let target = COLUMNS[index].target;
        let wanted = match source {
            FieldSource::Export(name) => name,
            FieldSource::Constant(constant) => {
                return match record::constant(COLUMNS[index].kind, constant) {
                    Ok(_) => Ok(Origin::Constant(constant.clone())),
                    Err(why) => Err(MappingError::BadConstant {
                        target: target.to_owned(),
                        why,
                    }),
                };
            }
        };
        if self.names.contains(wanted) {
            self.take(wanted, target);
            return Ok(Origin::Export(wanted.clone()));
        }
        let Some((column, path)) = wanted.split_once('.') else {
            return Err(MappingError::NoSuchColumn(wanted.clone()));
        };
        let column = self.existing(column)?;
        self.recognised.push((wanted.clone(), target.to_owned()));
        Ok(Origin::Nested {
            column,
            path: path.split('.').map(str::to_owned).collect(),
        })
    }

    fn layout(&mut self, geojson: bool, mut mapped: Mapped) -> Layout {
        let mut part = |name: &str| mapped.parts.remove(name);
        let (key, geometry) = (part(KEY_TARGET), part(GEOMETRY_TARGET));
        let (dataset, area) = (part(DATASET_TARGET), part(AREA_TARGET));
        let key = key.or_else(|| self.find_and_take(KEY, KEY_TARGET));
        let columns: Vec<Origin> = (COLUMNS.iter().zip(mapped.columns))
            .map(|(column, origin)| origin.unwrap_or_else(|| self.column(column)))
            .collect();
        Layout {
            // Without a key of its own an export can still be told apart by the UUID.
            key: key.or_else(|| match &columns[column_index(UUID_TARGET)?] {
                Origin::Export(name) => Some(name.clone()),
                _ => None,
            }),
            key_is_number: false,
            columns,
            geometry: self.geometry(geojson, geometry),
            action_date: self.find_and_take(ACTION_DATE, WATERMARK),
            dataset: self.dataset(dataset),
            area_attachment: area.or_else(|| self.find_and_take(AREA_ATTACHMENT, AREA_TARGET)),
            time_min: self.find_and_take(TIME_MIN, "date_min"),
            time_max: self.find_and_take(TIME_MAX, "date_max"),
            recognised: Vec::new(),
            ignored: Vec::new(),
            unknown: Vec::new(),
            geojson,
            whole: false,
        }
    }

    fn whole_layout(&mut self, geojson: bool) -> Layout {
        let key = self.find_and_take(WHOLE_KEY, KEY_TARGET);
        let mut columns = vec![Origin::Absent; COLUMNS.len()];
        let mut uuid = None;
        if let Some(index) = column_index(UUID_TARGET) {
            columns[index] = self.column(&COLUMNS[index]);
            if columns[index] == Origin::Absent {
                let other = self.find_and_take(WHOLE_UUID, UUID_TARGET);
                columns[index] = other.map_or(Origin::Absent, Origin::Export);
            }
            if let Origin::Export(name) = &columns[index] {
                uuid = Some(name.clone());
            }
        }
        Layout {
            key: key.or(uuid),
            key_is_number: false,
            columns,
            geometry: self.geometry(geojson, None),
            action_date: self.find_and_take(ACTION_DATE, WATERMARK),
            dataset: DatasetOrigin::None,
            area_attachment: None,
            time_min: None,
            time_max: None,
            recognised: Vec::new(),
            ignored: Vec::new(),
            unknown: Vec::new(),
            geojson,
            whole: true,
        }
    }

    fn column(&mut self, column: &Column) -> Origin {
        let by_export = self.find_and_take(column.export, column.target);
        by_export
            .or_else(|| {
                let target = column.known_by_target_name().then_some(column.target)?;
                self.find_and_take(&[target], target)
            })
            .map_or(Origin::Absent, Origin::Export)
    }

    fn geometry(&mut self, geojson: bool, mapped: Option<String>) -> GeometryOrigin {
        if let Some(name) = mapped.or_else(|| self.find_and_take(GEOMETRY_TEXT, GEOMETRY_TARGET)) {
            return GeometryOrigin::Wkt(name);
        }
        if geojson {
            return GeometryOrigin::Feature;
        }
        if let Some(name) = self.find_and_take(GEOMETRY_JSON, GEOMETRY_TARGET) {
            return GeometryOrigin::Wkt(name);
        }
        match (self.find(CENTROID_X), self.find(CENTROID_Y)) {
            (Some(x), Some(y)) => {
                self.take(&x, GEOMETRY_TARGET);
                self.take(&y, GEOMETRY_TARGET);
                GeometryOrigin::Xy(x, y)
            }
            _ => GeometryOrigin::None,
        }
    }

    fn dataset(&mut self, mapped: Option<String>) -> DatasetOrigin {
        if mapped.is_none()
            && let Some(jdd_data) = self.find_and_take(DATASET_DATA, DATASET_TARGET)
        {
            let ca_data = self.find_and_take(FRAMEWORK_DATA, "dataset");
            return DatasetOrigin::Embedded { jdd_data, ca_data };
        }
        let jdd_uuid = mapped.or_else(|| self.find_and_take(DATASET_UUID, DATASET_TARGET));
        let jdd_nom = self.find_and_take(DATASET_NAME, "dataset");
        if jdd_uuid.is_none() && jdd_nom.is_none() {
            return DatasetOrigin::None;
        }
        DatasetOrigin::Names {
            jdd_uuid,
            jdd_nom,
            ca_uuid: self.find_and_take(FRAMEWORK_UUID, "dataset"),
            ca_nom: self.find_and_take(FRAMEWORK_NAME, "dataset"),
            jdd_acteurs: self.find_and_take(DATASET_ACTORS, "dataset"),
        }
    }

    /// What was named outright wins over what was found.
    fn finish(
        mut self,
        mut layout: Layout,
        sample: &[&str],
        key_override: Option<&str>,
        date_override: Option<&str>,
    ) -> Result<Layout, MappingError> {
        if let Some(key) = key_override {
            layout.key = Some(self.instead(key, KEY_TARGET)?);
        }
        if let Some(date) = date_override {
            layout.action_date = Some(self.instead(date, WATERMARK)?);
        }
        layout.key_is_number = layout
            .key
            .as_ref()
            .is_some_and(|key| all_whole(key, sample, layout.geojson));
        self.report(&mut layout);
        Ok(layout)
    }

    /// Sorts the export's columns into recognised, ignored and unknown.
    fn report(self, layout: &mut Layout) {
        let known: HashSet<String> = (PART_NAMES.iter().chain([&DERIVABLE]))
            .copied()
            .chain(COLUMNS.iter().map(|column| column.export))
            .flatten()
            .map(|name| folded(name))
            .collect();
        let searched = layout.columns.iter().filter_map(|origin| match origin {
            Origin::Nested { column, .. } => Some(column),
            _ => None,
        });
        let used: HashSet<&String> = (self.recognised.iter().map(|(name, _)| name))
            .chain(searched)
            .collect();
        let rest = self
            .names
            .iter()
            .filter(|name| !used.contains(name))
            .cloned();
        (layout.ignored, layout.unknown) = rest.partition(|name| known.contains(&folded(name)));
        layout.recognised = self.recognised;
    }
}

/// A name without what views spell differently: case, underscores, spaces.
fn folded(name: &str) -> String {
    name.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

#[derive(Deserialize)]
struct Feature<'a> {
    #[serde(borrow)]
    properties: HashMap<String, &'a RawValue>,
}

fn columns_of(item: &str, geojson: bool) -> HashMap<String, &RawValue> {
    if geojson {
        serde_json::from_str::<Feature>(item)
            .map(|feature| feature.properties)
            .unwrap_or_default()
    } else {
        serde_json::from_str(item).unwrap_or_default()
    }
}

/// The names that were given, else those of the sample.
fn or_found<'n>(names: &'n [String], sample: &[&str], geojson: bool) -> Cow<'n, [String]> {
    match names.is_empty() {
        true => Cow::Owned(column_names(sample, geojson)),
        false => Cow::Borrowed(names),
    }
}

/// The columns that any of some raw items has, sorted.
pub fn column_names(items: &[&str], geojson: bool) -> Vec<String> {
    let names = items
        .iter()
        .flat_map(|item| columns_of(item, geojson).into_keys());
    names.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Whether a column holds whole numbers, and at least one (NUMERIC ones come as strings).
fn all_whole(name: &str, sample: &[&str], geojson: bool) -> bool {
    let mut some = false;
    sample.iter().all(|item| {
        let columns = columns_of(item, geojson);
        match columns.get(name).map(|value| value.get()) {
            None | Some("null") => true,
            Some(value) => {
                some = true;
                record::whole_number(value.trim_matches('"')).is_some()
            }
        }
    }) && some
}
