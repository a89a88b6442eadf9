//! `make bench`: what a harvest costs beside what it can cost at least, side by side in one run on a private cluster.
//! SIZE=20000 observations, REPEATS=3, ONLY=limit,gn2pg,changes,records,slow,plans (all by default). The table is printed;
//! that of a whole run is written to bench/README.md too. ONLY=ours: our first loads by themselves, of as many as one likes;
//! ONLY=choices: what was chosen beside what could have been. These tables are written too.

mod changes;
mod choices;
mod gn2pg;
mod harvest;
mod load;
mod machine;
mod plans;
mod records;
mod slow;
mod stage;
mod table;

use std::collections::BTreeSet;

use stage::Stage;
use table::Table;

/// What can be measured by itself.
const PARTS: [&str; 6] = ["limit", "gn2pg", "changes", "records", "slow", "plans"];
/// Our first loads without anything beside them, as all takes too long for a million; and what we chose. Only by name.
const OURS: &str = "ours";
const CHOICES: &str = "choices";

/// What was asked for, from the environment.
pub struct Asked {
    pub size: u32,
    pub repeats: usize,
    only: BTreeSet<String>,
}

impl Asked {
    fn read() -> Asked {
        let text = |name: &str| {
            std::env::var(name)
                .ok()
                .filter(|value| !value.trim().is_empty())
        };
        let number = |name: &str| {
            text(name).map(|value| {
                let digits = value.replace(['_', ' '], "");
                digits
                    .parse::<u32>()
                    .unwrap_or_else(|_| panic!("{name}={value} is not a number"))
            })
        };
        let size = number("SIZE").unwrap_or(20_000).max(1_000);
        let repeats = number("REPEATS").unwrap_or(if size > 20_000 { 1 } else { 3 });
        let only: BTreeSet<String> = text("ONLY")
            .map(|list| list.split(',').map(|part| part.trim().to_owned()).collect())
            .unwrap_or_default();
        for part in &only {
            assert!(
                [&PARTS[..], &[OURS, CHOICES]]
                    .concat()
                    .contains(&part.as_str()),
                "ONLY={part}: there are {PARTS:?}, {OURS} and {CHOICES}"
            );
        }
        Asked {
            size,
            repeats: repeats.max(1) as usize,
            only,
        }
    }

    fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.contains(part)
    }
}

fn main() {
    let asked = Asked::read();
    let mut table = Table::new(asked.size, asked.repeats);
    // Nothing else needs the typed rows, which take a harvest to make.
    let alone = asked.only.iter().eq([OURS]);
    let stage = Stage::set(asked.size, !alone);
    if asked.only.contains(OURS) {
        load::measure_ours(&stage, &asked, &mut table);
    }
    if asked.only.contains(CHOICES) {
        choices::measure(&stage, &asked, &mut table);
    }
    let loads = asked
        .wants("limit")
        .then(|| load::measure(&stage, &asked, &mut table));
    if asked.wants("gn2pg") {
        gn2pg::measure(&stage, &asked, loads.as_ref(), &mut table);
    }
    if asked.wants("changes") {
        changes::measure(&stage, &asked, &mut table);
    }
    if asked.wants("records") {
        records::measure(&stage, &mut table);
    }
    if asked.wants("slow") {
        slow::measure(&stage, &mut table);
    }
    if asked.wants("plans") {
        plans::keep(&stage, &mut table);
    }
    let text = table.finish();
    println!("{text}");
    let kept = match asked.only.first().map(String::as_str) {
        None => Some(asked.size.to_string()),
        Some(part @ (OURS | CHOICES)) if asked.only.len() == 1 => {
            Some(format!("{part} {}", asked.size))
        }
        _ => None,
    };
    if let Some(name) = kept {
        table::write(&name, &text);
    }
}

/// Says what is going on; the table comes at the end.
pub fn say(text: &str) {
    eprintln!("{text}");
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
