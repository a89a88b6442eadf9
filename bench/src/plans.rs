//! The plan of each statement that a run sends to the target and to the lineage, as auto_explain writes it, kept as text
//! in bench/plans: a plan that turns bad shows in its history.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::harvest;
use crate::say;
use crate::stage::Stage;
use crate::table::{Row, Table};

/// Statements that are kept: the name of the file, what their text begins with and contains.
const KEPT: [(&str, &str, &str); 8] = [
    ("insert", "INSERT INTO gn_synthese.synthese", ""),
    ("update", "UPDATE gn_synthese.synthese", ""),
    ("compare", "SELECT n.ord::int", "gn_synthese.synthese s"),
    ("lineage_read", "SELECT source_id, key_number", ""),
    ("held", "SELECT s.id_synthese, s.unique_id_sinp", ""),
    ("lineage_write", "INSERT INTO gn_harvest.harvested", ""),
    ("checkpoint", "UPDATE gn_harvest.slice SET done", ""),
    ("run", "UPDATE gn_harvest.run", "pages = pages"),
];
/// Lines hold whole arrays of keys, where a plan has them as constants.
const WIDEST: usize = 240;

/// One statement as auto_explain told it.
struct Told {
    query: String,
    milliseconds: f64,
    plan: String,
    trigger_calls: u64,
}

pub fn keep(stage: &Stage, table: &mut Table) {
    say("plans");
    let database = stage.ready();
    for (name, value) in [
        ("auto_explain.log_min_duration", "0"),
        ("auto_explain.log_analyze", "on"),
        ("auto_explain.log_buffers", "on"),
        ("auto_explain.log_triggers", "on"),
        ("auto_explain.log_nested_statements", "off"),
    ] {
        database.run(&format!(
            "ALTER DATABASE {} SET {name} = '{value}'",
            database.name
        ));
    }
    stage.settle(&database);
    let before = stage.cluster.log().len();
    let run = harvest::run(stage, &database, "full");
    let ids: Vec<i64> = stage.partner.ids().into_iter().step_by(10).collect();
    let ahead = 7 * 24 * 3600;
    stage.partner.set_clock(ahead, 0);
    let values = serde_json::json!({"comment_occurrence": "revu", "nom_lieu": "Col du Lautaret"});
    stage.partner.update_many(&ids, &values).expect("a change");
    let loaded = stage.cluster.log().len();
    harvest::run(stage, &database, "incremental");
    let log = stage.cluster.log();
    let first: Vec<Told> = told(&log[before..loaded]);
    let all: Vec<Told> = told(&log[before..]);
    write(&all);
    let batches = first
        .iter()
        .filter(|told| told.query.starts_with(KEPT[0].1))
        .count();
    assert!(
        batches > 0,
        "auto_explain told of no insert: no plan of a first load can be kept"
    );
    let calls: u64 = first.iter().map(|told| told.trigger_calls).sum();
    table.section("Statements of a first load");
    table.add(Row::new("per batch").note(format!(
        "{} batches of {:.0}: {:.1} statements, {:.0} trigger calls, {:.2} MB of WAL each",
        batches,
        run.number("fetched") / batches as f64,
        first.len() as f64 / batches as f64,
        calls as f64 / batches as f64,
        run.wal / batches as f64 / 1e6,
    )));
}

fn write(all: &[Told]) {
    let directory = directory();
    fs::create_dir_all(&directory).expect("bench/plans");
    for (name, begins, contains) in KEPT {
        let slowest = all
            .iter()
            .filter(|told| told.query.starts_with(begins) && told.query.contains(contains))
            .max_by(|a, b| a.milliseconds.total_cmp(&b.milliseconds));
        let Some(told) = slowest else { continue };
        let text: String = told
            .plan
            .lines()
            .map(|line| {
                let cut: String = line.trim_end().chars().take(WIDEST).collect();
                format!(
                    "{}{}\n",
                    cut,
                    if cut.len() < line.trim_end().len() {
                        "…"
                    } else {
                        ""
                    }
                )
            })
            .collect();
        fs::write(directory.join(format!("{name}.txt")), text).expect("a plan");
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("plans")
}

/// Reads what auto_explain wrote: `LOG:  duration: … ms  plan:`, then lines that begin with a tab.
fn told(log: &str) -> Vec<Told> {
    let mut found: Vec<Told> = Vec::new();
    let mut plan: Option<(f64, Vec<&str>)> = None;
    let mut end = |plan: &mut Option<(f64, Vec<&str>)>| {
        let Some((milliseconds, lines)) = plan.take() else {
            return;
        };
        let text: Vec<&str> = lines.iter().map(|line| line.trim_start()).collect();
        let query = text.first().copied().unwrap_or_default();
        let calls: BTreeMap<&str, u64> = text
            .iter()
            .filter(|line| line.starts_with("Trigger "))
            .filter_map(|line| Some((*line, line.rsplit_once("calls=")?.1.parse().ok()?)))
            .collect();
        found.push(Told {
            query: query.trim_start_matches("Query Text: ").to_owned()
                + &text[1.min(text.len())..].join(" "),
            milliseconds,
            plan: lines.join("\n"),
            trigger_calls: calls.values().sum(),
        });
    };
    for line in log.lines() {
        if let Some((_, after)) = line.split_once("LOG:  duration: ")
            && let Some((time, "plan:")) = after.split_once(" ms  ")
        {
            end(&mut plan);
            plan = Some((time.parse().unwrap_or(0.0), Vec::new()));
        } else if let (Some(rest), Some((_, lines))) = (line.strip_prefix('\t'), &mut plan) {
            lines.push(rest);
        } else {
            end(&mut plan);
        }
    }
    end(&mut plan);
    found
}
