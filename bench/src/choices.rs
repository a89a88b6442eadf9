//! What was chosen beside what could have been: how many records a batch has, whether its commit waits for the disk, and
//! by which way its rows come into a statement.

use std::time::Instant;

use gn_harvest_outside::Database;

use crate::harvest;
use crate::stage::{ROWS, Stage};
use crate::table::{Row, Table};
use crate::{Asked, say};

/// Records of a batch that are tried; what is more than 16 MB of JSON is cut before.
const BATCHES: [u32; 4] = [500, 1_000, 2_000, 4_000];
/// Rows of a batch whose way into a statement is measured, and how often.
const STAGED: u32 = 4_000;
const TIMES: u32 = 5;

pub fn measure(stage: &Stage, asked: &Asked, table: &mut Table) {
    batches(stage, table);
    commits(stage, table);
    staging(stage, asked.size.min(STAGED), table);
}

fn batches(stage: &Stage, table: &mut Table) {
    table.section("Records of a batch");
    for size in BATCHES {
        say(&format!("batches of {size}"));
        set(stage, "gn_harvest.batch_size", Some(&size.to_string()));
        load(
            stage,
            table,
            &format!("standard load, 1 writer, batches of {size}"),
            "standard",
        );
        load(
            stage,
            table,
            &format!("fast load, 1 writer, batches of {size}"),
            "fast",
        );
    }
    set(stage, "gn_harvest.batch_size", None);
}

fn commits(stage: &Stage, table: &mut Table) {
    table.section("Commits");
    for value in ["on", "off"] {
        say(&format!("synchronous_commit {value}"));
        set(stage, "synchronous_commit", Some(value));
        load(
            stage,
            table,
            &format!("fast load, 1 writer, synchronous_commit {value}"),
            "fast",
        );
    }
    set(stage, "synchronous_commit", Some("on"));
}

fn load(stage: &Stage, table: &mut Table, what: &str, load: &str) {
    let database = stage.ready();
    stage.settle(&database);
    harvest::load_by(&database, load);
    let run = harvest::run_by(stage, &database, "full", 1);
    let memory = run.memory.iter().copied().fold(0.0, f64::max);
    table.add(
        Row::new(what)
            .seconds(run.seconds)
            .rate(run.number("fetched") / run.seconds)
            .note(format!(
                "WAL {:.0} MB; private memory {memory:.0} MB",
                run.wal / 1e6
            )),
    );
}

fn set(stage: &Stage, name: &str, value: Option<&str>) {
    let server = stage.server();
    let mut client = server.connect();
    let change = match value {
        Some(value) => format!("SET {name} = '{value}'"),
        None => format!("RESET {name}"),
    };
    // A session knows the settings of what it has loaded.
    for statement in [
        "LOAD 'gn_harvest'",
        &format!("ALTER SYSTEM {change}"),
        "SELECT pg_reload_conf()",
    ] {
        client.batch_execute(statement).expect(statement);
    }
}

/// The same rows into a table without triggers, by each way; geometries and the table that they go to are left aside.
fn staging(stage: &Stage, rows: u32, table: &mut Table) {
    say("ways of rows into a statement");
    let database = stage.ready();
    let source = format!("(SELECT * FROM {ROWS} LIMIT {rows})");
    let (names, types) = columns(&database);
    let list = names.join(", ");
    database.run(&format!(
        "CREATE UNLOGGED TABLE public.bench_to AS SELECT {list} FROM {source} r WITH NO DATA"
    ));
    table.section("Ways of a batch into a statement");
    let direct = typed(&database, &list, &source);
    let file = format!("{}/batch", stage.cluster.host());
    let ways = [
        ("the rows of a table that is there", direct),
        (
            "unnest of arrays, a column each (ours)",
            arrays(&database, &names, &types, &source),
        ),
        ("jsonb_populate_recordset", json(&database, &list, &source)),
        (
            "COPY into a table, and from there",
            copied(&database, &list, &source, &file),
        ),
    ];
    for (what, seconds) in ways {
        table.add(
            Row::new(format!("{rows} rows by {what}"))
                .ratio_to(seconds / direct, "a table that is there")
                .seconds(seconds)
                .rate(f64::from(rows) / seconds),
        );
    }
}

/// Columns of the observations but for geometries, with their types.
fn columns(database: &Database) -> (Vec<String>, Vec<String>) {
    let of = |what: &str| -> Vec<String> {
        let text = database.value(&format!(
            "SELECT string_agg({what}, '|' ORDER BY attnum) FROM pg_attribute
             WHERE attrelid = '{ROWS}'::regclass AND attnum > 0 AND NOT attisdropped AND format_type(atttypid, NULL) NOT LIKE '%geometry%'"
        ));
        text.split('|').map(str::to_owned).collect()
    };
    (
        of("quote_ident(attname)"),
        of("format_type(atttypid, NULL)"),
    )
}

/// Seconds that a statement takes, at best: it is the same work each time.
fn best(mut once: impl FnMut() -> f64) -> f64 {
    (0..TIMES).map(|_| once()).fold(f64::INFINITY, f64::min)
}

fn timed(database: &Database, statement: &str) -> f64 {
    let start = Instant::now();
    database.run(statement);
    start.elapsed().as_secs_f64()
}

fn typed(database: &Database, list: &str, source: &str) -> f64 {
    best(|| {
        database.run("TRUNCATE public.bench_to");
        timed(
            database,
            &format!("INSERT INTO public.bench_to SELECT {list} FROM {source} r"),
        )
    })
}

/// A block that makes something of the rows, and leaves in a table how long the statement took that inserts it.
fn block(database: &Database, declared: &str, made: &str, inserted: &str) -> f64 {
    database.run("CREATE TABLE IF NOT EXISTS public.bench_time (seconds float8)");
    best(|| {
        database.run("TRUNCATE public.bench_to, public.bench_time");
        database.run(&format!(
            "DO $block$
             DECLARE {declared} began timestamptz;
             BEGIN
                 {made};
                 began := clock_timestamp();
                 {inserted};
                 INSERT INTO public.bench_time SELECT extract(epoch FROM clock_timestamp() - began);
             END $block$"
        ));
        let seconds = database.value("SELECT seconds FROM public.bench_time");
        seconds.parse().expect("seconds")
    })
}

fn arrays(database: &Database, names: &[String], types: &[String], source: &str) -> f64 {
    let numbered =
        |f: &dyn Fn(usize) -> String| -> Vec<String> { (0..names.len()).map(f).collect() };
    let declared = numbered(&|i| format!("a{i} {}[];", types[i])).join(" ");
    let made = format!(
        "SELECT {} INTO {} FROM {source} r",
        numbered(&|i| format!("array_agg(r.{})", names[i])).join(", "),
        numbered(&|i| format!("a{i}")).join(", ")
    );
    let inserted = format!(
        "INSERT INTO public.bench_to SELECT * FROM unnest({})",
        numbered(&|i| format!("a{i}")).join(", ")
    );
    block(database, &declared, &made, &inserted)
}

fn json(database: &Database, list: &str, source: &str) -> f64 {
    block(
        database,
        "items jsonb;",
        &format!("SELECT jsonb_agg(to_jsonb(r)) INTO items FROM (SELECT {list} FROM {source} i) r"),
        "INSERT INTO public.bench_to SELECT * FROM jsonb_populate_recordset(NULL::public.bench_to, items)",
    )
}

fn copied(database: &Database, list: &str, source: &str, file: &str) -> f64 {
    database.run("CREATE UNLOGGED TABLE public.bench_from (LIKE public.bench_to)");
    database.run(&format!("COPY (SELECT {list} FROM {source} r) TO '{file}'"));
    best(|| {
        database.run("TRUNCATE public.bench_to, public.bench_from");
        timed(database, &format!("COPY public.bench_from FROM '{file}'"))
            + timed(
                database,
                "INSERT INTO public.bench_to SELECT * FROM public.bench_from",
            )
    })
}
