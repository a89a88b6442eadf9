//! The one table that says which column of a GeoNature export feeds which column
//! of `gn_synthese.synthese`, and what is found of it in one export.
//!
//! Everything else that needs the fact (parsing, resolving codes, writing, hashing,
//! `check_source`) reads it from here. Pure: no PostgreSQL, no network.

#[path = "mapping/recognition.rs"]
mod recognition;

pub use recognition::{PARTS, column_names};
use serde::{Deserialize, Serialize};

/// What a value of a `synthese` column is, and how the text of an export becomes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Integer,
    Timestamp,
    Uuid,
    Json,
    /// A code or label of the nomenclature type with this mnemonique; stays text until resolved.
    Nomenclature(&'static str),
    /// A `cd_nom` of `taxonomie.taxref`.
    Taxon,
    /// A `cd_hab` of `ref_habitats.habref`.
    Habitat,
}

/// What naming the column in the SET list of an UPDATE sets off in the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    None,
    /// `tri_update_calculate_sensitivity` computes the sensitivity again.
    Sensitivity,
}

/// One column of `gn_synthese.synthese` that a harvest fills from a value of the export.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    pub target: &'static str,
    pub kind: Kind,
    /// Accepted names in an export, best first.
    pub export: &'static [&'static str],
    /// A record without it is rejected (`date_max` is first filled from `date_min`).
    pub required: bool,
    pub fires: Trigger,
    /// Written when the row is inserted, then left to the target, which recomputes it.
    pub insert_only: bool,
}

/// Names, best first.
type Names = &'static [&'static str];

impl Column {
    const fn new(target: &'static str, kind: Kind, export: Names) -> Self {
        let (required, fires, insert_only) = (false, Trigger::None, false);
        Self {
            target,
            kind,
            export,
            required,
            fires,
            insert_only,
        }
    }

    const fn required(self) -> Self {
        Self {
            required: true,
            ..self
        }
    }

    const fn fires_sensitivity(self) -> Self {
        Self {
            fires: Trigger::Sensitivity,
            ..self
        }
    }

    const fn insert_only(self) -> Self {
        Self {
            insert_only: true,
            ..self
        }
    }

    /// Whether an export may also carry it under the target's own name. Not so for
    /// nomenclatures: `id_nomenclature_…` in an export is the source's local number.
    const fn known_by_target_name(&self) -> bool {
        !matches!(self.kind, Kind::Nomenclature(_))
    }
}

const fn text(target: &'static str, export: Names) -> Column {
    Column::new(target, Kind::Text, export)
}

const fn integer(target: &'static str, export: Names) -> Column {
    Column::new(target, Kind::Integer, export)
}

const fn coded(target: &'static str, mnemonique: &'static str, export: Names) -> Column {
    Column::new(target, Kind::Nomenclature(mnemonique), export)
}

/// The table. Names: GeoNature's export views (`v_synthese_sinp`, GN2PG's samples), then
/// `v_synthese_for_export`, then the SINP RDF view. The key, geometry, dataset, area
/// attachment and watermark are not plain values and have their own fields in [`Layout`].
#[rustfmt::skip]
pub const COLUMNS: &[Column] = &[
    Column::new("unique_id_sinp", Kind::Uuid, &["id_perm_sinp", "uuid_perm_sinp", "permId"]),
    Column::new("unique_id_sinp_grp", Kind::Uuid, &["id_perm_grp_sinp", "uuid_perm_grp_sinp", "permIdGrp"]),
    Column::new("date_min", Kind::Timestamp, &["date_debut"]).required().fires_sensitivity(),
    Column::new("date_max", Kind::Timestamp, &["date_fin"]).required().fires_sensitivity(),
    Column::new("cd_nom", Kind::Taxon, &["cd_nom"]).required().fires_sensitivity(),
    text("nom_cite", &["nom_cite"]).required(),
    text("meta_v_taxref", &["version_taxref", "vTAXREF"]),
    integer("count_min", &["nombre_min", "denbrMin"]),
    integer("count_max", &["nombre_max", "denbrMax"]),
    integer("altitude_min", &["altitude_min", "alti_min", "altMin"]),
    integer("altitude_max", &["altitude_max", "alti_max", "altMax"]),
    integer("depth_min", &["profondeur_min", "prof_min"]),
    integer("depth_max", &["profondeur_max", "prof_max"]),
    text("observers", &["observateurs", "observer"]),
    text("determiner", &["determinateur"]),
    text("validator", &["validateur"]),
    Column::new("meta_validation_date", Kind::Timestamp, &["date_validation", "validation_date"]),
    text("validation_comment", &["comment_validation", "commentaire_validation"]),
    text("sample_number_proof", &["numero_preuve", "sampleNumb"]),
    text("digital_proof", &["preuve_numerique", "preuve_numerique_url", "preuvNum"]),
    text("non_digital_proof", &["preuve_non_numerique", "preuvNoNum"]),
    text("comment_context", &["comment_releve", "obsCtx"]),
    text("comment_description", &["comment_occurrence", "obsDescr"]),
    text("reference_biblio", &["reference_biblio"]),
    text("place_name", &["nom_lieu"]),
    integer("precision", &["precision", "precision_geographique"]),
    text("grp_method", &["methode_regroupement", "methGrp"]),
    Column::new("cd_hab", Kind::Habitat, &["code_habitat", "cd_habref"]),
    Column::new("additional_data", Kind::Json, &["donnees_additionnelles", "champs_additionnels"]),
    coded("id_nomenclature_geo_object_nature", "NAT_OBJ_GEO", &["nature_objet_geo", "ObjGeoTyp"]),
    coded("id_nomenclature_grp_typ", "TYP_GRP", &["type_regroupement"]),
    coded("id_nomenclature_obs_technique", "METH_OBS", &["technique_obs", "technique_observation", "obsTech"]),
    coded("id_nomenclature_bio_status", "STATUT_BIO", &["statut_biologique", "biologique_statut", "ocStatBio"]).fires_sensitivity(),
    coded("id_nomenclature_bio_condition", "ETA_BIO", &["etat_biologique", "ocEtatBio"]),
    coded("id_nomenclature_naturalness", "NATURALITE", &["naturalite", "ocNat"]),
    coded("id_nomenclature_exist_proof", "PREUVE_EXIST", &["preuve_existante", "preuveOui"]),
    coded("id_nomenclature_valid_status", "STATUT_VALID", &["statut_validation", "niveau_validation"]),
    coded("id_nomenclature_diffusion_level", "NIV_PRECIS", &["precision_diffusion", "niveau_precision_diffusion", "difNivPrec"]),
    coded("id_nomenclature_life_stage", "STADE_VIE", &["stade_vie", "ocStade"]),
    coded("id_nomenclature_sex", "SEXE", &["sexe", "ocSex"]),
    coded("id_nomenclature_obj_count", "OBJ_DENBR", &["objet_denombrement", "objDenbr"]),
    coded("id_nomenclature_type_count", "TYP_DENBR", &["type_denombrement", "denbrTyp"]),
    coded("id_nomenclature_sensitivity", "SENSIBILITE", &["niveau_sensibilite", "sensiNiv"]).insert_only(),
    coded("id_nomenclature_observation_status", "STATUT_OBS", &["statut_observation", "statObs"]),
    coded("id_nomenclature_blurring", "DEE_FLOU", &["floutage_dee"]),
    coded("id_nomenclature_source_status", "STATUT_SOURCE", &["statut_source"]),
    coded("id_nomenclature_info_geo_type", "TYP_INF_GEO", &["type_info_geo", "typInfGeo"]),
    coded("id_nomenclature_behaviour", "OCC_COMPORTEMENT", &["comportement", "occComport"]).fires_sensitivity(),
    coded("id_nomenclature_biogeo_status", "STAT_BIOGEO", &["statut_biogeo", "statut_biogeographique", "biogeographique_statut"]),
    coded("id_nomenclature_determination_method", "METH_DETERMIN", &["methode_determination", "ocMethDet"]),
];

/// The position of a `synthese` column in [`COLUMNS`].
pub fn column_index(target: &str) -> Option<usize> {
    COLUMNS.iter().position(|column| column.target == target)
}

/// A decision of the data manager: what feeds a `synthese` column of this source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldMapping {
    /// A target of [`COLUMNS`], or `entity_source_pk_value`, `the_geom_4326`, `id_dataset`,
    /// `id_area_attachment` (these four only from a column of the export).
    pub target: String,
    pub source: FieldSource,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldSource {
    /// A column of the export, or a dotted path into an object that a column holds
    /// (`donnees_additionnelles.protocole.code`; a number picks an element of an array).
    Export(String),
    Constant(String),
}

/// Where the value of one target column comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    Absent,
    Export(String),
    /// Inside the JSON object (or JSON text) of a column.
    Nested {
        column: String,
        path: Vec<String>,
    },
    Constant(String),
}

/// Where a record's geometry comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum GeometryOrigin {
    /// A column with WKT, EWKT or GeoJSON text; where it is null, the Feature's geometry.
    Wkt(String),
    /// The geometry of the GeoJSON Feature (GeoNature rounds it to 6 decimals).
    Feature,
    /// Two columns, longitude and latitude.
    Xy(String, String),
    None,
}

/// Where a record's dataset comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DatasetOrigin {
    /// The whole dataset (and framework) as JSON in each record.
    Embedded {
        jdd_data: String,
        ca_data: Option<String>,
    },
    /// Identifiers and names only.
    Names {
        jdd_uuid: Option<String>,
        jdd_nom: Option<String>,
        ca_uuid: Option<String>,
        ca_nom: Option<String>,
        jdd_acteurs: Option<String>,
    },
    None,
}

/// How the items of one export are read: found once, then the same for each page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// The column that identifies a record at the source.
    pub key: Option<String>,
    /// Every key of the sample was a whole number: slices by key can be asked for.
    pub key_is_number: bool,
    /// Parallel to [`COLUMNS`].
    pub columns: Vec<Origin>,
    pub geometry: GeometryOrigin,
    /// The watermark: when the record last changed at the source.
    pub action_date: Option<String>,
    pub dataset: DatasetOrigin,
    pub area_attachment: Option<String>,
    /// Times of day that go with dates written without one (`heure_debut`, `heure_fin`).
    pub time_min: Option<String>,
    pub time_max: Option<String>,
    /// (column of the export, what it feeds), in the order of the targets. Beside `synthese`
    /// columns: `watermark`, `dataset` (its names and actors).
    pub recognised: Vec<(String, String)>,
    /// Known, and not needed (derivable by the target, or a worse copy of a recognised column).
    pub ignored: Vec<String>,
    pub unknown: Vec<String>,
    /// The items are GeoJSON Features; the columns are their properties.
    pub geojson: bool,
    /// The items are kept whole, whatever their columns: for the target `records`.
    pub whole: bool,
}

impl Layout {
    /// The columns that the export has, sorted.
    pub fn export_columns(&self) -> Vec<String> {
        let recognised = self.recognised.iter().map(|(name, _)| name);
        // What a mapping finds inside a column is reported under its path.
        let whole = |name: &&String| {
            !self.columns.iter().any(|origin| match origin {
                Origin::Nested { column, path } => **name == format!("{column}.{}", path.join(".")),
                _ => false,
            })
        };
        let searched = self.columns.iter().filter_map(|origin| match origin {
            Origin::Nested { column, .. } => Some(column),
            _ => None,
        });
        let names = recognised.filter(whole).chain(searched);
        let mut names: Vec<String> = names
            .chain(&self.ignored)
            .chain(&self.unknown)
            .cloned()
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// Why a source's own mappings do not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    #[error("\"{0}\" is not a synthese column that a field can be mapped to")]
    UnknownTarget(String),
    #[error("the synthese column \"{0}\" is mapped twice")]
    TargetTwice(String),
    #[error("the export has no column \"{0}\"")]
    NoSuchColumn(String),
    #[error("\"{0}\" can only be fed by a column of the export, not by a constant or a path")]
    ColumnOnly(String),
    #[error("the constant for \"{target}\" cannot be used: {why}")]
    BadConstant { target: String, why: String },
}
