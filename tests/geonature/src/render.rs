//! From observations to JSON text: one row after the other, straight into the body.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use crate::clock::write_timestamp;
use crate::json::{write_float, write_integer, write_string};
use crate::metadata::Metadata;
use crate::nomenclature::Nomenclatures;
use crate::observation::{CD_NOM, CODE_HABITAT, Observation, habitat};
use crate::random::write_uuid;
use crate::taxon::Taxa;
use crate::views::{Column, Export, Field, Wording};

/// JSON texts that replace what a row would say, by key and column; `None` leaves the column out.
pub type Tampered = HashMap<i64, BTreeMap<String, Option<String>>>;

pub struct Renderer<'a> {
    pub export: &'a Export,
    pub nomenclatures: &'a Nomenclatures,
    pub metadata: &'a Metadata,
    pub taxa: &'a Taxa,
    pub tampered: &'a Tampered,
    /// Between date and time: a space in the API, a T in the scheduled files.
    pub separator: u8,
}

impl Renderer<'_> {
    /// The item of a row, as the API answers it.
    pub fn item(&self, out: &mut Vec<u8>, row: &Observation) {
        let columns = self
            .export
            .by_name
            .iter()
            .map(|at| &self.export.columns[*at]);
        if self.export.geometry {
            self.feature(out, row, columns);
        } else {
            self.object(out, row, columns);
        }
    }

    /// The item of a row in the order of the view, as the scheduled files have it.
    pub fn file_item(&self, out: &mut Vec<u8>, row: &Observation, feature: bool) {
        if feature {
            self.feature(out, row, self.export.columns.iter());
        } else {
            self.object(out, row, self.export.columns.iter());
        }
    }

    /// Whether a GeoJSON answer shows the row at all.
    pub fn is_shown(&self, row: &Observation) -> bool {
        row.geometry.is_some() || !self.export.geometry || self.tampering(row, "geometry").is_some()
    }

    fn tampering(&self, row: &Observation, column: &str) -> Option<&Option<String>> {
        self.tampered.get(&row.id)?.get(column)
    }

    fn feature<'c>(
        &self,
        out: &mut Vec<u8>,
        row: &Observation,
        columns: impl Iterator<Item = &'c Column>,
    ) {
        out.extend_from_slice(b"{\"geometry\": ");
        match (self.tampering(row, "geometry"), &row.geometry) {
            (Some(tampered), _) => {
                out.extend_from_slice(tampered.as_deref().unwrap_or("null").as_bytes());
            }
            (None, Some(geometry)) => geometry.write_geojson(out),
            (None, None) => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b", \"properties\": ");
        self.object(out, row, columns);
        out.extend_from_slice(b", \"type\": \"Feature\"}");
    }

    fn object<'c>(
        &self,
        out: &mut Vec<u8>,
        row: &Observation,
        columns: impl Iterator<Item = &'c Column>,
    ) {
        let tampered = if self.tampered.is_empty() {
            None
        } else {
            self.tampered.get(&row.id)
        };
        out.push(b'{');
        let mut first = true;
        for column in columns {
            let replaced = tampered.and_then(|columns| columns.get(&column.name));
            if let Some(None) = replaced {
                continue;
            }
            if !first {
                out.extend_from_slice(b", ");
            }
            first = false;
            out.extend_from_slice(&column.key_json);
            match replaced {
                Some(Some(json)) => out.extend_from_slice(json.as_bytes()),
                _ => self.value(out, row, &column.field),
            }
        }
        out.push(b'}');
    }

    pub fn value(&self, out: &mut Vec<u8>, row: &Observation, field: &Field) {
        let dataset = &self.metadata.datasets[row.dataset];
        let labels = self.export.wording == Wording::Labels;
        match field {
            Field::Key => write_integer(out, row.id),
            Field::Uuid => uuid(out, row.uuid),
            Field::GroupUuid => uuid(out, row.group_uuid),
            Field::Text(at) => text(out, row.texts[*at].as_deref()),
            Field::Integer(at) => integer(out, row.integers[*at]),
            Field::Term(at) => match self.nomenclatures.term(*at, row.terms[*at]) {
                None => null(out),
                Some(term) if labels => out.extend_from_slice(&term.label_json),
                Some(term) => out.extend_from_slice(&term.code_json),
            },
            Field::DateMin => self.moment(out, row.date_min),
            Field::DateMax => self.moment(out, row.date_max),
            Field::LastAction => self.moment(out, Some(row.last_action())),
            Field::Created => self.moment(out, Some(row.created)),
            Field::Modified => self.moment(out, row.modified),
            Field::AdditionalData => match row.additional_data.as_deref() {
                None => null(out),
                Some(json) if labels => write_string(out, json),
                Some(json) => out.extend_from_slice(json.as_bytes()),
            },
            Field::Wkt => match &row.geometry {
                None => null(out),
                Some(geometry) => {
                    out.push(b'"');
                    geometry.write_wkt(out);
                    out.push(b'"');
                }
            },
            Field::CentroidX => centroid(out, row, 0),
            Field::CentroidY => centroid(out, row, 1),
            Field::DatasetUuid => write_string(out, &dataset.uuid),
            Field::DatasetName => write_string(out, dataset.name()),
            Field::DatasetActors if labels => write_string(out, dataset.actors_in_words()),
            Field::DatasetActors => write_string(out, dataset.actors_in_codes()),
            Field::DatasetData => out.extend_from_slice(dataset.json().as_bytes()),
            Field::FrameworkUuid => {
                write_string(out, &self.metadata.framework_of(row.dataset).uuid);
            }
            Field::FrameworkName => {
                write_string(out, self.metadata.framework_of(row.dataset).name());
            }
            Field::FrameworkData => {
                out.extend_from_slice(self.metadata.framework_of(row.dataset).json().as_bytes());
            }
            Field::AreaAttachment => match &row.area {
                None => null(out),
                Some(area) => {
                    out.extend_from_slice(b"{\"area_code\": ");
                    write_string(out, &area.area_code);
                    out.extend_from_slice(b", \"type_code\": ");
                    write_string(out, &area.type_code);
                    out.push(b'}');
                }
            },
            Field::Habitat => text(out, row.integers[CODE_HABITAT].and_then(habitat).as_deref()),
            Field::Constant(json, _) => out.extend_from_slice(json.as_bytes()),
            _ => self.taxon(out, row, field),
        }
    }

    fn taxon(&self, out: &mut Vec<u8>, row: &Observation, field: &Field) {
        let taxon = row.integers[CD_NOM].and_then(|cd_nom| self.taxa.find(i64::from(cd_nom)));
        let Some(taxon) = taxon else {
            return null(out);
        };
        let name = match field {
            Field::CdRef => return write_integer(out, taxon.cd_ref),
            Field::ValidName => &taxon.nom_valide,
            Field::Kingdom => &taxon.regne,
            Field::Group1 => &taxon.group1_inpn,
            Field::Group2 => &taxon.group2_inpn,
            Field::Class => &taxon.classe,
            Field::Order => &taxon.ordre,
            Field::Family => &taxon.famille,
            _ => &taxon.id_rang,
        };
        write_string(out, name);
    }

    fn moment(&self, out: &mut Vec<u8>, moment: Option<i64>) {
        match moment {
            None => null(out),
            Some(moment) => {
                out.push(b'"');
                write_timestamp(out, moment, self.separator);
                out.push(b'"');
            }
        }
    }

    /// The JSON of a value, for filters and orders on columns that have no short cut.
    pub fn value_text(&self, row: &Observation, field: &Field) -> String {
        let mut out = Vec::new();
        self.value(&mut out, row, field);
        match String::from_utf8_lossy(&out) {
            Cow::Borrowed(text) => text.to_owned(),
            Cow::Owned(text) => text,
        }
    }
}

fn null(out: &mut Vec<u8>) {
    out.extend_from_slice(b"null");
}

fn text(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        None => null(out),
        Some(text) => write_string(out, text),
    }
}

fn integer(out: &mut Vec<u8>, value: Option<i32>) {
    match value {
        None => null(out),
        Some(value) => write_integer(out, i64::from(value)),
    }
}

fn uuid(out: &mut Vec<u8>, uuid: Option<u128>) {
    match uuid {
        None => null(out),
        Some(uuid) => {
            out.push(b'"');
            write_uuid(out, uuid);
            out.push(b'"');
        }
    }
}

fn centroid(out: &mut Vec<u8>, row: &Observation, axis: usize) {
    match &row.geometry {
        None => null(out),
        Some(geometry) => write_float(out, geometry.centroid()[axis]),
    }
}
