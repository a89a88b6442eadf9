//! An export kept whole, as records, beside the least that this can cost: COPY of the same JSON lines into a table.

use std::time::Instant;

use crate::harvest;
use crate::say;
use crate::stage::{SOURCE, Stage};
use crate::table::{Row, Table};

pub fn measure(stage: &Stage, table: &mut Table) {
    say("records");
    let database = stage.ready();
    database.run(&format!(
        "SELECT gn_harvest.alter_source('{SOURCE}', target => 'records')"
    ));
    stage.settle(&database);
    let run = harvest::run_by(stage, &database, "full", 1);
    let file = format!("{}/lines", stage.cluster.host());
    database.run(&format!(
        "COPY (SELECT item FROM gn_harvest.record ORDER BY id) TO '{file}'"
    ));
    database.run("CREATE TABLE public.bench_line (item jsonb)");
    stage.settle(&database);
    let wal = stage.wal();
    let start = Instant::now();
    database.run(&format!("COPY public.bench_line FROM '{file}'"));
    let (copy, copied) = (start.elapsed().as_secs_f64(), stage.wal() - wal);
    let lines = database.number("SELECT count(*) FROM public.bench_line");
    let rows = run.number("inserted");
    assert_eq!(lines as f64, rows, "both have the same lines");
    table.section("Records instead of observations");
    table.add(
        Row::new("first load with `target => 'records'`, 1 writer")
            .ratio_to(run.seconds / copy, "COPY of the same lines")
            .seconds(run.seconds)
            .rate(rows / run.seconds)
            .note(format!(
                "COPY {copy:.2} s; WAL {:.0} MB, of COPY {:.0} MB",
                run.wal / 1e6,
                copied / 1e6
            )),
    );
}
