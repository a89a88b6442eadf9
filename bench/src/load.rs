//! A first load: the least that it can cost in this target, and ours, alternated.

use std::time::Instant;

use crate::harvest::{self, Harvest};
use crate::stage::{ROWS, Stage};
use crate::table::{Row, Table};
use crate::{Asked, median, say};

pub fn measure(stage: &Stage, asked: &Asked, table: &mut Table) {
    let (mut limits, mut ours, mut shared) = (Vec::new(), Vec::new(), Vec::new());
    let mut limit_wal = 0.0;
    for round in 1..=asked.repeats {
        say(&format!("limit, round {round} of {}", asked.repeats));
        let (seconds, wal) = limit(stage);
        say(&format!("  {seconds:.1} s"));
        limits.push(seconds);
        limit_wal = wal;
        say(&format!("ours, 1 writer, round {round}"));
        ours.push(first_load(stage, 1));
        say(&format!("ours, 2 writers, round {round}"));
        shared.push(first_load(stage, 2));
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
    add(table, "ours, 1 writer", &ours, limit, size);
    add(table, "ours, 2 writers", &shared, limit, size);
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

fn first_load(stage: &Stage, writers: usize) -> Harvest {
    let database = stage.ready();
    stage.settle(&database);
    let harvest = harvest::run_by(stage, &database, "full", writers);
    say(&format!("  {:.1} s", harvest.seconds));
    harvest
}
