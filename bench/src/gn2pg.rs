//! The usual client beside ours: GN2PG as people install it, from the same partner into the same target. It harvests a
//! part of the observations, and its time is scaled to all of them.

use std::time::Instant;

use geonature_simulator::Statistics;
use gn_harvest_outside::Database;
use gn_harvest_outside::gn2pg::{Gn2pg, Settings, V1_10};

use crate::load::{self, FirstLoads};
use crate::stage::{EXPORT, Stage};
use crate::table::{Row, Table};
use crate::{Asked, machine, say};

const WHAT: &str = "GN2PG 1.10.1, 4 threads";
/// Its defaults otherwise: pages of 1000 rows among them.
const TUNING: &str = "nb_threads = 4";
/// Observations that it harvests at most.
const ROWS: u32 = 10_000;

/// A full download of GN2PG's.
struct Download {
    seconds: f64,
    /// Of all cores.
    busy: f64,
    /// Of which its import, by its own log.
    import: f64,
    /// Rows of the target that it left.
    arrived: i64,
    served: Statistics,
}

pub fn measure(stage: &Stage, asked: &Asked, loads: Option<&FirstLoads>, table: &mut Table) {
    let rows = asked.size.min(ROWS);
    let share = f64::from(rows) / f64::from(asked.size);
    let limit = loads.map_or_else(
        || {
            say("limit, for the rows that GN2PG takes");
            load::limit(stage, rows).0
        },
        |loads| loads.limit * share,
    );
    say(&format!("GN2PG, {rows} rows"));
    let download = download(stage, rows);
    say(&format!("  {:.1} s", download.seconds));
    table.section("First load by GN2PG");
    table.add(
        Row::new(format!("{WHAT}, scaled from {rows} rows"))
            .ratio(download.seconds / limit)
            .seconds(download.seconds / share)
            .rate(f64::from(rows) / download.seconds)
            .note(format!(
                "once: {:.1} s, of which its import {:.1} s; {:.2} cores busy; {} of {rows} rows arrived in gn_synthese.synthese",
                download.seconds,
                download.import,
                download.busy / download.seconds,
                download.arrived
            )),
    );
    load::add_source_side(table, WHAT, &download.served, f64::from(rows));
    for (what, seconds, busy) in loads.iter().flat_map(|loads| &loads.ours) {
        let faster = download.seconds / share / seconds;
        let less = download.busy / share / busy;
        table.add(
            Row::new(format!("{what}, beside it"))
                .ratio_to(faster, "as fast as GN2PG")
                .note(format!("{less:.2} × less time of cores")),
        );
    }
}

fn download(stage: &Stage, rows: u32) -> Download {
    let database = stage.ready();
    let ids = stage.partner.ids();
    // A part of the export, by a filter on its key.
    let last = ids[rows as usize - 1];
    let gn2pg = Gn2pg::set_up(
        V1_10,
        &database,
        &Settings {
            name: "bench",
            partner: &stage.partner,
            export: EXPORT,
            data_type: "synthese_with_metadata",
            query: &format!("filter_n_lo_id_synthese = {last}"),
            tuning: TUNING,
        },
    );
    stage.settle(&database);
    stage.partner.clear_figures();
    let (start, busy) = (Instant::now(), machine::busy());
    let said = gn2pg.download();
    let seconds = start.elapsed().as_secs_f64();
    let busy = machine::busy() - busy;
    let served = stage.partner.figures();
    check(&database, rows, &said);
    let import = database.value(
        "SELECT round(extract(epoch FROM xfer_end_ts - xfer_start_ts), 3) FROM gn2pg_import.import_log",
    );
    Download {
        seconds,
        busy,
        import: import.parse().expect("seconds"),
        arrived: database.number("SELECT count(*) FROM gn_synthese.synthese"),
        served,
    }
}

/// Its exit status tells nothing: what it wrote does.
fn check(database: &Database, rows: u32, said: &str) {
    let kept = database.number("SELECT count(*) FROM gn2pg_import.data_json");
    assert_eq!(kept, i64::from(rows), "{said}");
    let well = "SELECT count(*) FROM gn2pg_import.import_log WHERE xfer_status = 'success' AND data_count_errors = 0";
    assert_eq!(database.number(well), 1, "{said}");
}
