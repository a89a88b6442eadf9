//! A first load: the least that it can cost in this target, and ours, alternated.

use std::time::Instant;

use crate::harvest::{self, Harvest};
use crate::stage::{ROWS, Stage};
use crate::table::{Row, Table};
use crate::{Asked, median, say};

/// What is compared with the limit.
const LOADS: [(&str, &str, usize); 4] = [
    ("ours, 1 writer", "standard", 1),
    ("ours, 2 writers", "standard", 2),
    ("ours, fast load, 1 writer", "fast", 1),
    ("ours, fast load, 2 writers", "fast", 2),
];

pub fn measure(stage: &Stage, asked: &Asked, table: &mut Table) {
    let mut limits = Vec::new();
    let mut ours: [Vec<Harvest>; LOADS.len()] = Default::default();
    let mut limit_wal = 0.0;
    for round in 1..=asked.repeats {
        say(&format!("limit, round {round} of {}", asked.repeats));
        let (seconds, wal) = limit(stage);
        say(&format!("  {seconds:.1} s"));
        limits.push(seconds);
        limit_wal = wal;
        for ((what, load, writers), runs) in LOADS.iter().zip(&mut ours) {
            say(&format!("{what}, round {round}"));
            runs.push(first_load(stage, load, *writers));
        }
    }
    let size = f64::from(asked.size);
    let limit = median(limits.clone());
    table.section("First load");
    table.add(
        Row::new("limit: one INSERT … SELECT, all triggers on")
            .ratio(1.0)
            .seconds(limit)
            .rate(size / limit)
            .note(format!(
                "{}; WAL {:.0} MB",
                spread(&limits),
                limit_wal / 1e6
            )),
    );
    for ((what, _, writers), runs) in LOADS.iter().zip(&ours) {
        // What fits into one batch is not shared.
        if *writers > 1 && !runs.iter().all(|run| run.memory.len() > 1) {
            add(
                table,
                &format!("{what} allowed, one did it all"),
                runs,
                limit,
                size,
            );
        } else {
            add(table, what, runs, limit, size);
        }
    }
}

fn add(table: &mut Table, what: &str, runs: &[Harvest], limit: f64, size: f64) {
    let times: Vec<f64> = runs.iter().map(|run| run.seconds).collect();
    let seconds = median(times.clone());
    let Some(last) = runs.last() else { return };
    let memory: Vec<String> = last.memory.iter().map(|mb| format!("{mb:.0}")).collect();
    let slices = match last.first_and_last() {
        Some((first, end)) => format!(
            "; a thousand: {first:.2} s at first, {end:.2} s at last ({:.2} ×)",
            end / first
        ),
        None => String::new(),
    };
    table.add(
        Row::new(what)
            .ratio(seconds / limit)
            .seconds(seconds)
            .rate(size / seconds)
            .note(format!(
                "{}; WAL {:.0} MB; private memory of workers {} MB{slices}",
                spread(&times),
                last.wal / 1e6,
                memory.join(" + ")
            )),
    );
    let served = &last.served;
    table.add(Row::new(format!("{what}: the source's side")).note(format!(
        "{} requests ({:.2} a thousand observations), {:.0} bytes and {:.2} rows an observation, {} at once",
        served.requests,
        served.requests as f64 / size * 1000.0,
        served.bytes as f64 / size,
        served.rows as f64 / size,
        served.max_concurrent
    )));
}

/// The times of the rounds, when there were some.
pub fn spread(times: &[f64]) -> String {
    let shown: Vec<String> = times.iter().map(|time| format!("{time:.1}")).collect();
    match times.len() {
        1 => "once".to_owned(),
        _ => format!("rounds {}", shown.join(", ")),
    }
}

/// Seconds and WAL of the one statement.
fn limit(stage: &Stage) -> (f64, f64) {
    let database = stage.ready();
    stage.settle(&database);
    let wal = stage.wal();
    let start = Instant::now();
    database.run(&format!(
        "INSERT INTO gn_synthese.synthese ({0}) SELECT {0} FROM {ROWS}",
        stage.columns
    ));
    (start.elapsed().as_secs_f64(), stage.wal() - wal)
}

fn first_load(stage: &Stage, load: &str, writers: usize) -> Harvest {
    let database = stage.ready();
    stage.settle(&database);
    harvest::load_by(&database, load);
    let harvest = harvest::run_by(stage, &database, "full", writers);
    let warnings = harvest.row["warnings"].as_deref().unwrap_or_default();
    assert!(!warnings.contains("load was used"), "{warnings}");
    say(&format!("  {:.1} s", harvest.seconds));
    harvest
}
