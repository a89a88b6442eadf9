//! What the page says, in French and in English.

use chrono::{DateTime, NaiveDate};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    French,
    English,
}

impl Language {
    pub fn choose(self, french: &'static str, english: &'static str) -> &'static str {
        match self {
            Language::French => french,
            Language::English => english,
        }
    }

    /// Of the attribute `lang`.
    pub fn code(self) -> &'static str {
        self.choose("fr", "en")
    }

    /// 1 234 567, or 1,234,567.
    pub fn count(self, number: i64) -> String {
        let digits = number.unsigned_abs().to_string();
        let mut text = String::new();
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                // A narrow space that no line is broken at.
                text.push_str(self.choose("\u{202f}", ","));
            }
            text.push(digit);
        }
        match number < 0 {
            true => format!("-{text}"),
            false => text,
        }
    }

    /// 12,5 or 12.5.
    pub fn decimal(self, number: f64) -> String {
        let text = format!("{number:.1}");
        let short = text.strip_suffix(".0").unwrap_or(&text);
        short.replace('.', self.choose(",", "."))
    }

    /// A moment as PostgreSQL's JSON has it, in the zone that it is in.
    pub fn moment(self, text: &str) -> String {
        match DateTime::parse_from_rfc3339(text) {
            Ok(moment) => moment
                .format(self.choose("%d/%m/%Y %H:%M", "%Y-%m-%d %H:%M"))
                .to_string(),
            Err(_) => text.to_owned(),
        }
    }

    pub fn day(self, day: NaiveDate) -> String {
        day.format(self.choose("%d/%m", "%m-%d")).to_string()
    }

    pub fn severity(self, code: &str) -> &'static str {
        match code {
            "critical" => self.choose("Critique", "Critical"),
            "warning" => self.choose("Attention", "Warning"),
            _ => self.choose("Information", "Information"),
        }
    }

    /// What a run is doing; the run's own words where there are no others.
    pub fn phase(self, phase: &str) -> &str {
        const FRENCH: [(&str, &str); 10] = [
            ("starting", "démarrage"),
            ("asking the source", "interrogation de la source"),
            ("harvesting", "moissonnage"),
            ("asking for deletions", "lecture des suppressions"),
            ("deleting", "suppression"),
            ("looking at datasets", "examen des jeux de données"),
            (
                "moving observations to mapped datasets",
                "déplacement vers les jeux de données associés",
            ),
            (
                "reading the metadata export",
                "lecture de l’export des métadonnées",
            ),
            ("retrying", "nouvel essai des rejets"),
            ("ended", "terminé"),
        ];
        match self {
            Language::English => phase,
            Language::French => FRENCH
                .iter()
                .find(|(english, _)| *english == phase)
                .map_or(phase, |(_, french)| *french),
        }
    }

    /// Why records are rejected, in words; the code where there are none.
    pub fn reason(self, code: &str) -> &str {
        REASONS
            .iter()
            .find(|(known, ..)| *known == code)
            .map_or(code, |(_, french, english)| self.choose(french, english))
    }
}

const REASONS: &[(&str, &str, &str)] = &[
    ("bad_json", "valeur illisible", "value that can not be read"),
    (
        "missing_field",
        "champ obligatoire absent",
        "required field missing",
    ),
    ("bad_number", "nombre incorrect", "not a whole number"),
    ("bad_date", "date incorrecte", "not a date"),
    ("bad_uuid", "UUID incorrect", "not a UUID"),
    ("invalid_geometry", "géométrie invalide", "invalid geometry"),
    ("value_too_long", "valeur trop longue", "value too long"),
    (
        "date_min_gt_max",
        "date de fin avant la date de début",
        "end before beginning",
    ),
    (
        "count_min_gt_max",
        "dénombrement minimal supérieur au maximal",
        "least count above the greatest",
    ),
    (
        "altitude_min_gt_max",
        "altitude minimale supérieure à la maximale",
        "least altitude above the greatest",
    ),
    (
        "depth_min_gt_max",
        "profondeur minimale supérieure à la maximale",
        "least depth above the greatest",
    ),
    (
        "unknown_cd_nom",
        "taxon absent du Taxref local",
        "taxon not in the local Taxref",
    ),
    (
        "unknown_habitat",
        "habitat absent du Habref local",
        "habitat not in the local Habref",
    ),
    (
        "unknown_area",
        "zonage absent de ref_geo",
        "area not in ref_geo",
    ),
    (
        "unknown_value",
        "valeur absente de la nomenclature locale",
        "value not in the local nomenclature",
    ),
    (
        "unmapped_dataset",
        "jeu de données sans correspondance",
        "dataset without a local one",
    ),
    (
        "uuid_owned_by_other_source",
        "UUID d’une autre source",
        "UUID of another source",
    ),
    (
        "duplicate_uuid",
        "deux enregistrements de même UUID",
        "two records of one UUID",
    ),
    (
        "duplicate_key",
        "deux enregistrements de même clé",
        "two records of one key",
    ),
    (
        "identity_conflict",
        "clé et UUID de deux observations",
        "key and UUID of two observations",
    ),
    (
        "target_error",
        "refus de la base locale",
        "refused by the target",
    ),
];
