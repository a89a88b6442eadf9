//! One run of ours, and what was seen of it meanwhile: memory of its workers, progress, WAL, what the partner served.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use geonature_simulator::Statistics;
use gn_harvest_outside::{Database, Row, rows};

use crate::machine;
use crate::stage::{SOURCE, Stage};

pub struct Harvest {
    pub seconds: f64,
    /// Of all cores, the partner's and everybody else's on this machine too.
    pub busy: f64,
    pub wal: f64,
    pub row: Row,
    /// Peak private memory of each worker, in MB.
    pub memory: Vec<f64>,
    /// Seconds since the start, records treated.
    pub progress: Vec<(f64, f64)>,
    pub served: Statistics,
}

impl Harvest {
    pub fn number(&self, column: &str) -> f64 {
        let value = self.row.get(column).cloned().flatten();
        value
            .and_then(|value| value.parse().ok())
            .unwrap_or(f64::NAN)
    }

    /// Seconds for a thousand records in the first and in the last tenth of the run, as far as its batches tell.
    pub fn first_and_last(&self) -> Option<(f64, f64)> {
        let (began, all) = (self.progress.first()?, self.progress.last()?.1);
        let reached = |least: f64| self.progress.iter().find(|(_, done)| *done >= least);
        let pace = |from: &(f64, f64), to: &(f64, f64)| (to.0 - from.0) / (to.1 - from.1) * 1000.0;
        // The first batch began before anything was seen of it.
        let second = reached(began.1 + all / 10.0)?;
        let late = self
            .progress
            .iter()
            .rev()
            .find(|(_, done)| *done <= all * 0.9)?;
        let last = self.progress.last()?;
        (second.1 > began.1 && last.1 > late.1 && late.1 > began.1)
            .then(|| (pace(began, second), pace(late, last)))
    }
}

/// Which load the source of a copy uses.
pub fn load_by(database: &Database, load: &str) {
    database.run(&format!(
        "SELECT gn_harvest.alter_source('{SOURCE}', load => '{load}')"
    ));
}

/// Runs the source of a copy by some writers; the caller has settled it.
pub fn run_by(stage: &Stage, database: &Database, mode: &str, writers: usize) -> Harvest {
    database.run(&format!(
        "SELECT gn_harvest.alter_source('{SOURCE}', writers => {writers})"
    ));
    run(stage, database, mode)
}

/// Runs the source of a copy; the caller has settled it.
pub fn run(stage: &Stage, database: &Database, mode: &str) -> Harvest {
    stage.partner.clear_figures();
    let (wal, busy) = (stage.wal(), machine::busy());
    let over = AtomicBool::new(false);
    let start = Instant::now();
    let (row, seconds, seen) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(database, &over, start));
        let row = database.row(&format!(
            "SELECT * FROM gn_harvest.run('{SOURCE}', '{mode}')"
        ));
        let seconds = start.elapsed().as_secs_f64();
        over.store(true, Ordering::Relaxed);
        (row, seconds, watcher.join().expect("the watcher"))
    });
    assert_eq!(row["status"].as_deref(), Some("succeeded"), "{row:#?}");
    Harvest {
        seconds,
        busy: machine::busy() - busy,
        wal: stage.wal() - wal,
        row,
        memory: seen.memory.into_values().collect(),
        progress: seen.progress,
        served: stage.partner.figures(),
    }
}

#[derive(Default)]
struct Seen {
    memory: BTreeMap<String, f64>,
    progress: Vec<(f64, f64)>,
}

const WORKERS: &str = "SELECT a.pid::text, (SELECT max(done) FROM gn_harvest.run WHERE status = 'running')::text AS done
    FROM pg_stat_activity a WHERE a.datname = current_database() AND a.backend_type LIKE 'gn_harvest%'";

fn watch(database: &Database, over: &AtomicBool, start: Instant) -> Seen {
    let mut seen = Seen::default();
    let mut client = database.connect();
    while !over.load(Ordering::Relaxed) {
        for row in rows(&mut client, WORKERS) {
            let (Some(Some(pid)), Some(done)) = (row.get("pid"), row.get("done")) else {
                continue;
            };
            let memory = seen.memory.entry(pid.clone()).or_default();
            *memory = memory.max(private_megabytes(pid));
            let done: f64 = done
                .as_deref()
                .and_then(|done| done.parse().ok())
                .unwrap_or(0.0);
            if done > seen.progress.last().map_or(0.0, |last| last.1) {
                seen.progress.push((start.elapsed().as_secs_f64(), done));
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    seen
}

/// What only this process has in memory; 0 where the kernel does not tell. Of the server's shared buffers, those that it
/// alone has touched so far are not its own, though the kernel's `Private_` lines count them.
fn private_megabytes(pid: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let own = text.lines().find(|line| line.starts_with("RssAnon:"));
    let kilobytes = own.and_then(|line| line.split_whitespace().nth(1));
    kilobytes.and_then(|n| n.parse().ok()).unwrap_or(0.0) / 1024.0
}
