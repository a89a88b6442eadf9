//! A partner that is slower than the target: a harvest should take little longer than the partner needs to serve it.

use crate::harvest;
use crate::say;
use crate::stage::Stage;
use crate::table::{Row, Table};

/// What a page costs the partner, in seconds.
const PER_REQUEST: f64 = 0.25;
const PER_ROW: f64 = 0.016;
/// Requests at once that are agreed with it.
const CONNECTIONS: u32 = 2;

pub fn measure(stage: &Stage, table: &mut Table) {
    say("a slow partner");
    let database = stage.ready();
    stage.settle(&database);
    // A part of the export, by a filter on its key.
    let ids = stage.partner.ids();
    let last = ids[ids.len().min(4_000) - 1];
    database.run(&format!(
        "SELECT gn_harvest.alter_source('bench', connections => {CONNECTIONS}, page_size => 200,
                                        filters => '{{\"filter_n_lo_id_synthese\": {last}}}')"
    ));
    stage.partner.set_cost(PER_REQUEST, PER_ROW);
    let run = harvest::run_by(stage, &database, "full", 1);
    stage.partner.set_cost(0.0, 0.0);
    let served = &run.served;
    let work = served.requests as f64 * PER_REQUEST + served.rows as f64 * PER_ROW;
    let own = work / f64::from(CONNECTIONS);
    table.section("A partner that is slower than the target");
    table.add(
        Row::new(format!(
            "first load of {:.0}; a page costs it {PER_REQUEST} s and {PER_ROW} s a row",
            run.number("fetched")
        ))
        .ratio_to(run.seconds / own, "the partner's own time")
        .seconds(run.seconds)
        .rate(run.number("fetched") / run.seconds)
        .note(format!(
            "{} requests, {} rows: {own:.1} s of {CONNECTIONS} at once",
            served.requests, served.rows
        )),
    );
}
