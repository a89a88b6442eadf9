//! The taxa that observations are of, valid names and synonyms.

use std::collections::HashMap;

use crate::csv;

const TAXA: &str = include_str!("../../target/data/taxa.csv");

pub struct Taxon {
    pub cd_nom: i64,
    pub cd_ref: i64,
    pub regne: String,
    pub group1_inpn: String,
    pub group2_inpn: String,
    pub classe: String,
    pub ordre: String,
    pub famille: String,
    pub id_rang: String,
    pub nom_complet: String,
    pub nom_valide: String,
}

pub struct Taxa {
    list: Vec<Taxon>,
    by_cd_nom: HashMap<i64, usize>,
}

impl Taxa {
    pub fn load() -> Self {
        let list: Vec<Taxon> = csv::records(TAXA)
            .into_iter()
            .filter_map(|mut record| {
                let mut take = |at: usize| std::mem::take(&mut record[at]);
                Some(Taxon {
                    cd_nom: take(0).parse().ok()?,
                    cd_ref: take(1).parse().ok()?,
                    regne: take(2),
                    group1_inpn: take(3),
                    group2_inpn: take(4),
                    classe: take(5),
                    ordre: take(6),
                    famille: take(7),
                    id_rang: take(8),
                    nom_complet: take(11),
                    nom_valide: take(12),
                })
            })
            .collect();
        let by_cd_nom = list
            .iter()
            .enumerate()
            .map(|(at, taxon)| (taxon.cd_nom, at))
            .collect();
        Self { list, by_cd_nom }
    }

    pub fn list(&self) -> &[Taxon] {
        &self.list
    }

    pub fn find(&self, cd_nom: i64) -> Option<&Taxon> {
        self.by_cd_nom.get(&cd_nom).map(|at| &self.list[*at])
    }
}
