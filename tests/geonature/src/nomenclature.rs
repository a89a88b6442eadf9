//! The SINP nomenclatures: the codes and labels that the exports are written with.

use crate::{csv, json};

const NOMENCLATURES: &str = include_str!("../../target/data/nomenclatures.csv");

/// Export column and nomenclature type (the table in GeoNature's description of exports).
pub const COLUMNS: [(&str, &str); 21] = [
    ("nature_objet_geo", "NAT_OBJ_GEO"),
    ("type_regroupement", "TYP_GRP"),
    ("technique_obs", "METH_OBS"),
    ("statut_biologique", "STATUT_BIO"),
    ("etat_biologique", "ETA_BIO"),
    ("naturalite", "NATURALITE"),
    ("preuve_existante", "PREUVE_EXIST"),
    ("statut_validation", "STATUT_VALID"),
    ("precision_diffusion", "NIV_PRECIS"),
    ("stade_vie", "STADE_VIE"),
    ("sexe", "SEXE"),
    ("objet_denombrement", "OBJ_DENBR"),
    ("type_denombrement", "TYP_DENBR"),
    ("niveau_sensibilite", "SENSIBILITE"),
    ("statut_observation", "STATUT_OBS"),
    ("floutage_dee", "DEE_FLOU"),
    ("statut_source", "STATUT_SOURCE"),
    ("type_info_geo", "TYP_INF_GEO"),
    ("comportement", "OCC_COMPORTEMENT"),
    ("statut_biogeo", "STAT_BIOGEO"),
    ("methode_determination", "METH_DETERMIN"),
];

pub const COUNT: usize = COLUMNS.len();

/// Stands for a null in an observation's list of terms.
pub const NULL: u16 = u16::MAX;

pub struct Term {
    pub code: String,
    pub label: String,
    /// Both as JSON strings, ready to be copied into a row.
    pub code_json: Vec<u8>,
    pub label_json: Vec<u8>,
}

impl Term {
    fn new(code: &str, label: &str) -> Self {
        let as_json = |text| {
            let mut out = Vec::new();
            json::write_string(&mut out, text);
            out
        };
        Self {
            code: code.to_owned(),
            label: label.to_owned(),
            code_json: as_json(code),
            label_json: as_json(label),
        }
    }
}

/// The terms of each column, in the order of [`COLUMNS`].
pub struct Nomenclatures {
    terms: Vec<Vec<Term>>,
    /// How many terms of each column come from the table; the rest were made up by a test.
    known: Vec<usize>,
}

impl Nomenclatures {
    pub fn load() -> Self {
        let records = csv::records(NOMENCLATURES);
        let terms: Vec<Vec<Term>> = COLUMNS
            .iter()
            .map(|(_, nomenclature_type)| {
                records
                    .iter()
                    .filter(|record| record[0] == *nomenclature_type && record[6] == "t")
                    .map(|record| Term::new(&record[2], &record[4]))
                    .collect()
            })
            .collect();
        let known = terms.iter().map(Vec::len).collect();
        Self { terms, known }
    }

    pub fn term(&self, column: usize, term: u16) -> Option<&Term> {
        self.terms[column].get(usize::from(term))
    }

    /// How many terms observations can be generated with, by column.
    pub fn known(&self) -> Vec<u16> {
        self.known.iter().map(|known| *known as u16).collect()
    }

    /// The term with this code or, when there is none, a new one: partners do use codes
    /// that nobody else knows.
    pub fn find_or_invent(&mut self, column: usize, code: &str) -> u16 {
        let terms = &mut self.terms[column];
        let found = terms.iter().position(|term| term.code == code);
        let at = found.unwrap_or_else(|| {
            terms.push(Term::new(code, code));
            terms.len() - 1
        });
        at as u16
    }

    /// The position of a code that is surely there.
    pub fn position(&self, column: usize, code: &str) -> u16 {
        self.terms[column]
            .iter()
            .position(|term| term.code == code)
            .map_or(NULL, |at| at as u16)
    }
}

/// The position in [`COLUMNS`] of an export column.
pub fn column(name: &str) -> Option<usize> {
    COLUMNS.iter().position(|(column, _)| *column == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_has_terms() {
        let nomenclatures = Nomenclatures::load();
        for (column, known) in nomenclatures.known().into_iter().enumerate() {
            assert!(known >= 2, "{}", COLUMNS[column].0);
        }
    }
}
