//! The results as a Markdown table, and where it is kept: bench/README.md, between markers, one table a size.

use std::fs;
use std::path::Path;

use crate::machine;
use crate::stage::SETTINGS;

pub struct Table {
    size: u32,
    repeats: usize,
    load: String,
    lines: Vec<String>,
}

#[derive(Default)]
pub struct Row {
    what: String,
    ratio: String,
    seconds: String,
    rate: String,
    note: String,
}

impl Row {
    pub fn new(what: impl Into<String>) -> Row {
        Row {
            what: what.into(),
            ..Row::default()
        }
    }

    /// Times the limit.
    pub fn ratio(mut self, ratio: f64) -> Row {
        self.ratio = format!("**{ratio:.2}** × limit");
        self
    }

    pub fn ratio_to(mut self, ratio: f64, what: &str) -> Row {
        self.ratio = format!("**{ratio:.2}** × {what}");
        self
    }

    pub fn seconds(mut self, seconds: f64) -> Row {
        self.seconds = format!("{seconds:.2}");
        self
    }

    pub fn rate(mut self, rows_a_second: f64) -> Row {
        self.rate = format!("{rows_a_second:.0}");
        self
    }

    pub fn note(mut self, note: impl Into<String>) -> Row {
        self.note = note.into();
        self
    }
}

impl Table {
    pub fn new(size: u32, repeats: usize) -> Table {
        Table {
            size,
            repeats,
            load: machine::load(),
            lines: Vec::new(),
        }
    }

    pub fn section(&mut self, title: &str) {
        self.lines.push(format!("| **{title}** | | | | |"));
    }

    pub fn add(&mut self, row: Row) {
        self.lines.push(format!(
            "| {} | {} | {} | {} | {} |",
            row.what, row.ratio, row.seconds, row.rate, row.note
        ));
    }

    pub fn finish(&self) -> String {
        let settings: Vec<String> = SETTINGS
            .iter()
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        format!(
            "{} observations, {} round(s). Machine: {}; load before {}, after {} (1, 5, 15 minutes). \
             PostgreSQL settings: {}.\n\n\
             | what | ratio | seconds | rows/s | beside |\n|---|---|--:|--:|---|\n{}\n",
            self.size,
            self.repeats,
            machine::describe(),
            self.load,
            machine::load(),
            settings.join(", "),
            self.lines.join("\n")
        )
    }
}

/// Puts a table in the place of the one of that name before.
pub fn write(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let before = fs::read_to_string(&path).expect("bench/README.md");
    let (begin, end) = (
        format!("<!-- results {name} -->\n"),
        format!("<!-- end {name} -->\n"),
    );
    let part = format!("{begin}### {name} observations\n\n{text}{end}");
    let after = match (before.find(&begin), before.find(&end)) {
        (Some(from), Some(to)) if from < to => {
            format!("{}{part}{}", &before[..from], &before[to + end.len()..])
        }
        _ => format!(
            "{}\n{part}",
            before.trim_end_matches('\n').to_owned() + "\n"
        ),
    };
    fs::write(&path, after).expect("bench/README.md");
}
