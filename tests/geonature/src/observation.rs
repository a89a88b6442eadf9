//! An observation of the partner's synthesis, with every value that an export can show,
//! and the setting of any of them from JSON. It knows nothing of views or of HTTP.

use std::borrow::Cow;

use serde_json::Value;

use crate::clock::parse_timestamp;
use crate::geometry::Geometry;
use crate::nomenclature::{self, Nomenclatures};
use crate::random::parse_uuid;

pub type Text = Option<Cow<'static, str>>;

/// Columns of free text, in the order of [`Observation::texts`].
pub const TEXT_COLUMNS: [&str; 14] = [
    "id_source",
    "nom_cite",
    "version_taxref",
    "observateurs",
    "determinateur",
    "validateur",
    "numero_preuve",
    "preuve_numerique",
    "preuve_non_numerique",
    "comment_releve",
    "comment_occurrence",
    "reference_biblio",
    "nom_lieu",
    "methode_regroupement",
];

/// Columns of whole numbers, in the order of [`Observation::integers`].
pub const INTEGER_COLUMNS: [&str; 9] = [
    "cd_nom",
    "nombre_min",
    "nombre_max",
    "altitude_min",
    "altitude_max",
    "profondeur_min",
    "profondeur_max",
    "precision",
    "code_habitat",
];

pub const CD_NOM: usize = 0;
pub const CODE_HABITAT: usize = 8;

/// An observation known only by its area.
#[derive(Clone, Debug, PartialEq)]
pub struct AreaAttachment {
    pub type_code: Cow<'static, str>,
    pub area_code: Cow<'static, str>,
}

#[derive(Clone, Debug)]
pub struct Observation {
    /// `id_synthese`, the source's key.
    pub id: i64,
    pub uuid: Option<u128>,
    pub group_uuid: Option<u128>,
    /// Position of the dataset in the partner's metadata.
    pub dataset: usize,
    pub texts: [Text; TEXT_COLUMNS.len()],
    pub integers: [Option<i32>; INTEGER_COLUMNS.len()],
    /// Positions of terms, in the order of [`nomenclature::COLUMNS`].
    pub terms: [u16; nomenclature::COUNT],
    /// Local moments in microseconds, with the time of day.
    pub date_min: Option<i64>,
    pub date_max: Option<i64>,
    pub created: i64,
    pub modified: Option<i64>,
    pub geometry: Option<Geometry>,
    pub area: Option<AreaAttachment>,
    /// A JSON text.
    pub additional_data: Text,
}

impl Observation {
    /// `derniere_action`.
    pub fn last_action(&self) -> i64 {
        self.modified.unwrap_or(self.created)
    }

    /// Sets one value, by the name that it has in the exports with codes. The dataset is set
    /// by whoever knows the metadata. Errors say what was expected.
    pub fn set(
        &mut self,
        column: &str,
        value: &Value,
        nomenclatures: &mut Nomenclatures,
    ) -> Result<(), String> {
        let refused = |expected: &str| Err(format!("{column}: expected {expected}, got {value}"));
        if let Some(at) = TEXT_COLUMNS.iter().position(|name| *name == column) {
            self.texts[at] = match value {
                Value::Null => None,
                Value::String(text) => Some(Cow::Owned(text.clone())),
                _ => return refused("a text or null"),
            };
            return Ok(());
        }
        if let Some(at) = INTEGER_COLUMNS.iter().position(|name| *name == column) {
            let number = value.as_i64().and_then(|number| i32::try_from(number).ok());
            if number.is_none() && !value.is_null() {
                return refused("a 32-bit integer or null");
            }
            self.integers[at] = number;
            return Ok(());
        }
        if let Some(at) = nomenclature::column(column) {
            self.terms[at] = match value {
                Value::Null => nomenclature::NULL,
                Value::String(code) => nomenclatures.find_or_invent(at, code),
                _ => return refused("a nomenclature code or null"),
            };
            return Ok(());
        }
        let moment = || match value {
            Value::Null => Some(None),
            Value::String(text) => parse_timestamp(text).map(Some),
            _ => None,
        };
        let uuid = || match value {
            Value::Null => Some(None),
            Value::String(text) => parse_uuid(text).map(Some),
            _ => None,
        };
        const MOMENT: &str = "a timestamp or null";
        const UUID: &str = "a UUID or null";
        match column {
            "id_perm_sinp" => match uuid() {
                Some(uuid) => self.uuid = uuid,
                None => return refused(UUID),
            },
            "id_perm_grp_sinp" => match uuid() {
                Some(uuid) => self.group_uuid = uuid,
                None => return refused(UUID),
            },
            "date_debut" => match moment() {
                Some(moment) => self.date_min = moment,
                None => return refused(MOMENT),
            },
            "date_fin" => match moment() {
                Some(moment) => self.date_max = moment,
                None => return refused(MOMENT),
            },
            "date_creation" => match moment() {
                Some(Some(moment)) => self.created = moment,
                _ => return refused("a timestamp"),
            },
            "derniere_action" => match moment() {
                Some(moment) => self.modified = moment,
                None => return refused(MOMENT),
            },
            "wkt_4326" | "geometry" => {
                self.geometry = match value {
                    Value::Null => None,
                    Value::String(wkt) => match Geometry::parse_wkt(wkt) {
                        Some(geometry) => Some(geometry),
                        None => return refused("a WKT or null"),
                    },
                    _ => return refused("a WKT or null"),
                }
            }
            "donnees_additionnelles" => {
                self.additional_data =
                    (!value.is_null()).then(|| Cow::Owned(crate::json::text(value)));
            }
            "area_attachment" => {
                let member = |name: &str| Some(Cow::Owned(value.get(name)?.as_str()?.to_owned()));
                self.area = match (value, member("type_code"), member("area_code")) {
                    (Value::Null, _, _) => None,
                    (_, Some(type_code), Some(area_code)) => Some(AreaAttachment {
                        type_code,
                        area_code,
                    }),
                    _ => return refused("{type_code, area_code} or null"),
                }
            }
            _ => return Err(format!("{column}: no such value in an observation")),
        }
        Ok(())
    }
}

/// The name of a habitat, from 1 to 40 as the target database has them.
pub fn habitat(cd_hab: i32) -> Option<String> {
    const KINDS: [&str; 8] = [
        "Eaux courantes",
        "Tourbières",
        "Pelouses",
        "Landes",
        "Forêts",
        "Éboulis",
        "Cultures",
        "Bâti",
    ];
    const PLACES: [&str; 5] = [
        "",
        " de plaine",
        " montagnardes",
        " subalpines",
        " d'altitude",
    ];
    let number = usize::try_from(cd_hab - 1)
        .ok()
        .filter(|number| *number < 40)?;
    Some(format!("{}{}", KINDS[number % 8], PLACES[number / 8]))
}
