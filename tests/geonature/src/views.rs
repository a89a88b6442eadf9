//! The exports that the partner offers: which view is behind each, with which columns, key,
//! geometry and licence. The columns can be dropped, renamed and added, as partners do.

use std::collections::{BTreeMap, BTreeSet};

use crate::json;
use crate::nomenclature;
use crate::observation::{INTEGER_COLUMNS, TEXT_COLUMNS};

/// What a column of a view shows.
#[derive(Clone, Debug, PartialEq)]
pub enum Field {
    Key,
    Uuid,
    GroupUuid,
    Text(usize),
    Integer(usize),
    Term(usize),
    DateMin,
    DateMax,
    LastAction,
    Created,
    Modified,
    AdditionalData,
    Wkt,
    CentroidX,
    CentroidY,
    DatasetUuid,
    DatasetName,
    DatasetActors,
    DatasetData,
    FrameworkUuid,
    FrameworkName,
    FrameworkData,
    AreaAttachment,
    Habitat,
    CdRef,
    ValidName,
    Kingdom,
    Group1,
    Group2,
    Class,
    Order,
    Family,
    Rank,
    /// The same JSON in every row: a column that a test added.
    Constant(String, Kind),
}

/// The type of a column, which decides what a filter does with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Integer,
    Float,
    Timestamp,
    Date,
    Text,
    Uuid,
    Json,
}

impl Kind {
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "integer" => Self::Integer,
            "float" => Self::Float,
            "timestamp" => Self::Timestamp,
            "date" => Self::Date,
            "text" => Self::Text,
            "uuid" => Self::Uuid,
            "json" => Self::Json,
            _ => return None,
        })
    }
}

impl Field {
    /// What the stock name of an export column stands for.
    pub fn named(name: &str) -> Option<Self> {
        if let Some(at) = TEXT_COLUMNS.iter().position(|column| *column == name) {
            return Some(Self::Text(at));
        }
        if let Some(at) = INTEGER_COLUMNS.iter().position(|column| *column == name) {
            return Some(Self::Integer(at));
        }
        if let Some(at) = nomenclature::column(name) {
            return Some(Self::Term(at));
        }
        Some(match name {
            "id_synthese" => Self::Key,
            "id_perm_sinp" => Self::Uuid,
            "id_perm_grp_sinp" => Self::GroupUuid,
            "date_debut" => Self::DateMin,
            "date_fin" => Self::DateMax,
            "derniere_action" => Self::LastAction,
            "date_creation" => Self::Created,
            "date_modification" => Self::Modified,
            "donnees_additionnelles" => Self::AdditionalData,
            "wkt_4326" => Self::Wkt,
            "x_centroid_4326" => Self::CentroidX,
            "y_centroid_4326" => Self::CentroidY,
            "jdd_uuid" => Self::DatasetUuid,
            "jdd_nom" => Self::DatasetName,
            "jdd_acteurs" => Self::DatasetActors,
            "jdd_data" => Self::DatasetData,
            "ca_uuid" => Self::FrameworkUuid,
            "ca_nom" => Self::FrameworkName,
            "ca_data" => Self::FrameworkData,
            "area_attachment" => Self::AreaAttachment,
            "habitat" => Self::Habitat,
            "cd_ref" => Self::CdRef,
            "nom_valide" => Self::ValidName,
            "regne" => Self::Kingdom,
            "group1_inpn" => Self::Group1,
            "group2_inpn" => Self::Group2,
            "classe" => Self::Class,
            "ordre" => Self::Order,
            "famille" => Self::Family,
            "rang_taxo" => Self::Rank,
            _ => return None,
        })
    }

    pub fn kind(&self) -> Kind {
        match self {
            Self::Key | Self::Integer(_) | Self::CdRef => Kind::Integer,
            Self::CentroidX | Self::CentroidY => Kind::Float,
            Self::DateMin | Self::DateMax | Self::LastAction | Self::Created | Self::Modified => {
                Kind::Timestamp
            }
            Self::Uuid | Self::GroupUuid | Self::DatasetUuid | Self::FrameworkUuid => Kind::Uuid,
            Self::DatasetData | Self::FrameworkData | Self::AreaAttachment => Kind::Json,
            Self::Constant(_, kind) => *kind,
            _ => Kind::Text,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    pub field: Field,
    /// `"name": `, ready to be copied into a row.
    pub key_json: Vec<u8>,
}

impl Column {
    pub fn new(name: &str, field: Field) -> Self {
        let mut key_json = Vec::new();
        json::write_string(&mut key_json, name);
        key_json.extend_from_slice(b": ");
        Self {
            name: name.to_owned(),
            field,
            key_json,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wording {
    Codes,
    Labels,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rows {
    Observations,
    Frameworks,
    /// The view was dropped: every request fails.
    Missing,
}

#[derive(Clone, Debug)]
pub struct Export {
    pub id: u32,
    pub label: String,
    pub description: String,
    pub view_name: String,
    pub key: String,
    pub rows: Rows,
    pub wording: Wording,
    pub geometry: bool,
    pub public: bool,
    /// Nobody but the administrator may read it.
    pub forbidden: bool,
    pub licence: usize,
    /// In the order of the view.
    pub columns: Vec<Column>,
    /// The columns by name, the order of the JSON answers.
    pub by_name: Vec<usize>,
    /// Keys that the view shows more than once, and how many times more.
    pub duplicates: BTreeMap<i64, usize>,
    /// Keys that the view does not show.
    pub hidden: BTreeSet<i64>,
}

pub struct Licence {
    pub id: u32,
    pub name: &'static str,
    pub href: &'static str,
}

pub const LICENCES: [Licence; 3] = [
    Licence {
        id: 1,
        name: "Creative Commons Attribution 1.0 Generic",
        href: "https://spdx.org/licenses/CC-BY-1.0.html",
    },
    Licence {
        id: 2,
        name: "ODC Open Database License v1.0",
        href: "https://spdx.org/licenses/ODbL-1.0.html#licenseText",
    },
    Licence {
        id: 3,
        name: "Licence Ouverte/Open Licence Version 2.0",
        href: "https://www.etalab.gouv.fr/wp-content/uploads/2017/04/ETALAB-Licence-Ouverte-v2.0.pdf",
    },
];

/// The columns that the three usual views share, in the order of the views.
const COMMON: &str = "id_synthese id_source id_perm_sinp id_perm_grp_sinp date_debut date_fin cd_nom \
    version_taxref nom_cite nombre_min nombre_max altitude_min altitude_max profondeur_min \
    profondeur_max observateurs determinateur validateur numero_preuve preuve_numerique \
    preuve_non_numerique comment_releve comment_occurrence derniere_action reference_biblio \
    code_habitat habitat nom_lieu precision donnees_additionnelles wkt_4326 nature_objet_geo \
    type_regroupement methode_regroupement comportement technique_obs statut_biologique \
    etat_biologique naturalite preuve_existante precision_diffusion stade_vie sexe \
    objet_denombrement type_denombrement niveau_sensibilite statut_observation floutage_dee \
    statut_source type_info_geo methode_determination";
const NAMED_METADATA: &str = "jdd_uuid jdd_nom jdd_acteurs ca_uuid ca_nom";
const STOCK_ONLY: &str = "cd_ref nom_valide regne group1_inpn group2_inpn classe ordre famille rang_taxo \
    date_creation date_modification x_centroid_4326 y_centroid_4326";
const FEW: &str = "id_synthese id_perm_sinp cd_nom nom_cite date_debut date_fin x_centroid_4326 \
    y_centroid_4326 jdd_uuid jdd_nom ca_uuid ca_nom derniere_action sexe";
const WITHOUT_KEY: &str = "id_perm_sinp nom_cite observateurs date_debut date_fin derniere_action \
    wkt_4326 jdd_uuid jdd_nom ca_uuid ca_nom sexe technique_obs";
const FRAMEWORK: &str = "uuid name desc territorial_level territories territory_desc objectives \
    sinp_theme financing_type target_description ecologic_or_geologic_target is_parent parent_uuid \
    publications start_date end_date initial_closing_date actors datasets";

impl Export {
    fn new(id: u32, label: &str, view_name: &str, wording: Wording, columns: &[&str]) -> Self {
        let columns = columns
            .iter()
            .flat_map(|names| names.split_whitespace())
            .map(|name| {
                let constant = || Field::Constant("null".into(), Kind::Text);
                Column::new(name, Field::named(name).unwrap_or_else(constant))
            })
            .collect();
        let mut export = Self {
            id,
            label: label.to_owned(),
            description: format!("Export {label}"),
            view_name: view_name.to_owned(),
            key: "id_synthese".to_owned(),
            rows: Rows::Observations,
            wording,
            geometry: false,
            public: false,
            forbidden: false,
            licence: 2,
            columns,
            by_name: Vec::new(),
            duplicates: BTreeMap::new(),
            hidden: BTreeSet::new(),
        };
        export.sort_names();
        export
    }

    fn sort_names(&mut self) {
        let mut by_name: Vec<usize> = (0..self.columns.len()).collect();
        by_name.sort_by(|a, b| self.columns[*a].name.cmp(&self.columns[*b].name));
        self.by_name = by_name;
    }

    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The name of the scheduled file, without its extension.
    pub fn file_stem(&self) -> String {
        let plain = |character| match character {
            'é' | 'è' | 'ê' => 'e',
            'à' | 'â' => 'a',
            'ç' => 'c',
            ' ' => '_',
            other => other,
        };
        self.label
            .chars()
            .map(plain)
            .filter(char::is_ascii)
            .collect()
    }

    pub fn drop_column(&mut self, name: &str) -> Result<(), String> {
        let at = self.columns.iter().position(|column| column.name == name);
        self.columns
            .remove(at.ok_or_else(|| format!("no column {name} in export {}", self.id))?);
        self.sort_names();
        Ok(())
    }

    pub fn rename_column(&mut self, from: &str, to: &str) -> Result<(), String> {
        let column = self.columns.iter_mut().find(|column| column.name == from);
        let column = column.ok_or_else(|| format!("no column {from} in export {}", self.id))?;
        *column = Column::new(to, column.field.clone());
        if self.key == from {
            self.key = to.to_owned();
        }
        self.sort_names();
        Ok(())
    }

    /// Adds a column: the one that the stock views call so, or a constant of some kind.
    pub fn add_column(
        &mut self,
        name: &str,
        constant: Option<(String, Kind)>,
    ) -> Result<(), String> {
        let field = match constant {
            Some((json, kind)) => Field::Constant(json, kind),
            None => Field::named(name).ok_or_else(|| format!("{name} needs a value"))?,
        };
        self.columns.push(Column::new(name, field));
        self.sort_names();
        Ok(())
    }

    /// The members of an item that the view has columns for, with those that a test added.
    pub fn restricted(&self, item: &serde_json::Value) -> serde_json::Value {
        let member = |column: &Column| match &column.field {
            Field::Constant(json, kind) if *kind != Kind::Text || json != "null" => {
                serde_json::from_str(json).unwrap_or_default()
            }
            _ => item.get(&column.name).cloned().unwrap_or_default(),
        };
        let members = self
            .columns
            .iter()
            .map(|column| (column.name.clone(), member(column)));
        serde_json::Value::Object(members.collect())
    }

    /// Whether the view shows exactly the rows of the synthesis.
    pub fn shows_all_once(&self) -> bool {
        self.duplicates.is_empty() && self.hidden.is_empty()
    }
}

/// The exports, by their constant numbers.
pub fn exports() -> BTreeMap<u32, Export> {
    use Wording::{Codes, Labels};
    let stock = [COMMON, NAMED_METADATA, STOCK_ONLY];
    let list = [
        Export {
            geometry: true,
            licence: 0,
            ..Export::new(1, "Synthese SINP", "v_synthese_sinp", Labels, &stock)
        },
        Export::new(
            2,
            "GN2PG cd_nomenclature",
            "v_synthese_sinp_with_cd_nomenclature_for_gn2pg",
            Codes,
            &[COMMON, NAMED_METADATA, "statut_validation"],
        ),
        Export::new(
            3,
            "GN2PG métadonnées",
            "v_synthese_sinp_with_metadata_for_gn2pg",
            Codes,
            &[COMMON, "jdd_data ca_data area_attachment statut_validation"],
        ),
        Export {
            rows: Rows::Frameworks,
            key: "uuid".to_owned(),
            ..Export::new(
                4,
                "Métadonnées",
                "v_metadata_for_gn2pg",
                Codes,
                &[FRAMEWORK],
            )
        },
        Export::new(5, "SINP sans géométrie", "v_synthese_sinp", Labels, &stock),
        Export {
            geometry: true,
            public: true,
            licence: 1,
            ..Export::new(6, "SINP public", "v_synthese_sinp", Labels, &stock)
        },
        Export {
            forbidden: true,
            ..Export::new(7, "Export réservé", "v_synthese_sinp", Labels, &stock)
        },
        Export {
            rows: Rows::Missing,
            public: true,
            licence: 0,
            ..Export::new(8, "Vue absente", "v_absente", Labels, &["id_synthese"])
        },
        Export {
            key: "id_perm_sinp".to_owned(),
            ..Export::new(9, "Clé textuelle", "v_cle_textuelle", Codes, &[WITHOUT_KEY])
        },
        Export::new(10, "Peu de colonnes", "v_peu_de_colonnes", Codes, &[FEW]),
    ];
    list.into_iter().map(|export| (export.id, export)).collect()
}
