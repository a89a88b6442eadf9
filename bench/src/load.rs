//! A first load: the least that it can cost in this target, and ours, alternated.

use std::time::Instant;

use geonature_simulator::Statistics;

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

/// Seconds of the first loads of all observations.
pub struct FirstLoads {
    pub limit: f64,
    /// Each of ours, as the table calls it, with the seconds that cores were busy.
    pub ours: Vec<(String, f64, f64)>,
}

pub fn measure(stage: &Stage, asked: &Asked, table: &mut Table) -> FirstLoads {
    let mut limits = Vec::new();
    let mut ours: [Vec<Harvest>; LOADS.len()] = Default::default();
    let mut limit_wal = 0.0;
    for round in 1..=asked.repeats {
        say(&format!("limit, round {round} of {}", asked.repeats));
        let (seconds, wal) = limit(stage, asked.size);
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
    let mut loads = FirstLoads {
        limit,
        ours: Vec::new(),
    };
    for ((what, _, writers), runs) in LOADS.iter().zip(&ours) {
        // What fits into one batch is not shared.
        let shared = *writers == 1 || runs.iter().all(|run| run.memory.len() > 1);
        let alone = if shared {
            ""
        } else {
            " allowed, one did it all"
        };
        let what = format!("{what}{alone}");
        add(table, &what, runs, Some(limit), size);
        let busy = median(runs.iter().map(|run| run.busy).collect());
        loads.ours.push((what, seconds(runs), busy));
    }
    loads
}

/// Ours with two writers, without the limit.
pub fn measure_ours(stage: &Stage, asked: &Asked, table: &mut Table) {
    table.section("First load, the metadata included");
    for (what, load, writers) in LOADS.iter().filter(|(.., writers)| *writers > 1) {
        let runs: Vec<Harvest> = (1..=asked.repeats)
            .map(|round| {
                say(&format!("{what}, round {round}"));
                first_load(stage, load, *writers)
            })
            .collect();
        add(table, what, &runs, None, f64::from(asked.size));
    }
}

fn seconds(runs: &[Harvest]) -> f64 {
    median(runs.iter().map(|run| run.seconds).collect())
}

fn add(table: &mut Table, what: &str, runs: &[Harvest], limit: Option<f64>, size: f64) {
    let times: Vec<f64> = runs.iter().map(|run| run.seconds).collect();
    let seconds = seconds(runs);
    let Some(last) = runs.last() else { return };
    let memory: Vec<String> = last.memory.iter().map(|mb| format!("{mb:.0}")).collect();
    let slices = match last.first_and_last() {
        Some((first, end)) => format!(
            "; a thousand: {first:.2} s at first, {end:.2} s at last ({:.2} ×)",
            end / first
        ),
        None => String::new(),
    };
    let row = match limit {
        Some(limit) => Row::new(what).ratio(seconds / limit),
        None => Row::new(what),
    };
    table.add(row.seconds(seconds).rate(size / seconds).note(format!(
        "{}; {:.2} cores busy; WAL {:.0} MB; private memory of workers {} MB{slices}",
        spread(&times),
        last.busy / last.seconds,
        last.wal / 1e6,
        memory.join(" + ")
    )));
    add_source_side(table, what, &last.served, size);
}

/// What a harvest of so many observations asked of the partner.
pub fn add_source_side(table: &mut Table, what: &str, served: &Statistics, observations: f64) {
    table.add(Row::new(format!("{what}: the source's side")).note(format!(
        "{} requests ({:.2} a thousand observations), {:.0} bytes and {:.2} rows an observation, {} at once",
        served.requests,
        served.requests as f64 / observations * 1000.0,
        served.bytes as f64 / observations,
        served.rows as f64 / observations,
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

/// Seconds and WAL of the one statement, for so many of the observations.
pub fn limit(stage: &Stage, rows: u32) -> (f64, f64) {
    let database = stage.ready();
    stage.settle(&database);
    let wal = stage.wal();
    let start = Instant::now();
    database.run(&format!(
        "INSERT INTO gn_synthese.synthese ({0}) SELECT {0} FROM {ROWS} LIMIT {rows}",
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
