//! Codes or labels: found out column by column from the values that come, then remembered with the source.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use super::referential::Referential;
use crate::mapping::{COLUMNS, Kind};
use crate::record::{Record, Value};
use crate::source::Format;

/// How each column of nomenclature of a source is written.
#[derive(Debug)]
pub struct Formats {
    /// The source's own word; `Auto`: found out.
    fixed: Format,
    found: HashMap<String, Format>,
    /// Columns of which this run has seen enough.
    settled: HashSet<&'static str>,
    pub changed: bool,
}

impl Formats {
    pub fn new(fixed: Format, found: HashMap<String, Format>) -> Self {
        Formats {
            fixed,
            found,
            settled: HashSet::new(),
            changed: false,
        }
    }

    /// The format of a column; that of most others while nothing is known of it.
    pub fn of(&self, column: &str) -> Format {
        if self.fixed != Format::Auto {
            return self.fixed;
        }
        self.found
            .get(column)
            .copied()
            .unwrap_or_else(|| self.usual())
    }

    pub fn is_known(&self, column: &str) -> bool {
        self.fixed != Format::Auto || self.found.contains_key(column)
    }

    pub fn found(&self) -> &HashMap<String, Format> {
        &self.found
    }

    /// Takes what another session has found.
    pub fn follow(&mut self, found: HashMap<String, Format>) {
        self.found = found;
    }

    fn usual(&self) -> Format {
        let labels = self
            .found
            .values()
            .filter(|format| **format == Format::Labels)
            .count();
        if labels * 2 > self.found.len() {
            Format::Labels
        } else {
            Format::Codes
        }
    }

    /// Looks at the values of the columns that this run has not settled yet: whichever referential, codes or labels,
    /// knows more of them is how the column is written. A draw stays open. What earlier runs found holds as long as it
    /// explains a single value: a partner that turns from codes to labels is noticed, one odd value changes nothing.
    pub fn learn<'a>(
        &mut self,
        records: impl Iterator<Item = &'a Record> + Clone,
        referential: &Referential,
    ) {
        if self.fixed != Format::Auto {
            return;
        }
        for (index, column) in COLUMNS.iter().enumerate() {
            let Kind::Nomenclature(type_code) = column.kind else {
                continue;
            };
            let Some(nomenclature) = referential.nomenclature(type_code) else {
                continue;
            };
            if self.settled.contains(column.target) {
                continue;
            }
            let (mut codes, mut labels) = (0, 0);
            for record in records.clone() {
                if let Some(Value::Text(text)) = record.values.get(index) {
                    codes += usize::from(nomenclature.code(text).is_some());
                    labels += usize::from(nomenclature.label(text).is_some());
                }
            }
            let before = self.found.get(column.target).copied();
            let format = match (before, codes.cmp(&labels)) {
                (Some(Format::Codes), _) if codes > 0 => Format::Codes,
                (Some(Format::Labels), _) if labels > 0 => Format::Labels,
                (_, Ordering::Greater) => Format::Codes,
                (_, Ordering::Less) => Format::Labels,
                (_, Ordering::Equal) => continue,
            };
            self.settled.insert(column.target);
            self.changed |= before != Some(format);
            self.found.insert(column.target.to_owned(), format);
        }
    }
}
