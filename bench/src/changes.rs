//! After the first load: nothing changed, some attributes, some geometries, an everyday increment; each beside the bare
//! UPDATE of the same columns in an equal copy.

use std::time::Instant;

use gn_harvest_outside::Database;
use serde_json::{Value, json};

use crate::harvest::{self, Harvest};
use crate::stage::Stage;
use crate::table::{Row, Table};
use crate::{Asked, say};

const INCREMENT: usize = 1_000;

pub fn measure(stage: &Stage, asked: &Asked, table: &mut Table) {
    let loaded = stage.ready();
    say("a first load, to change something of");
    harvest::run(stage, &loaded, "full");
    loaded.run("VACUUM ANALYZE");
    table.section("Afterwards");
    unchanged(stage, asked, table, &loaded);
    let ids = stage.partner.ids();
    let tenth: Vec<i64> = ids.iter().step_by(10).copied().collect();
    attributes(stage, table, &loaded, &tenth);
    geometries(stage, table, &loaded, &tenth);
    increment(stage, table, &loaded, &ids);
}

fn unchanged(stage: &Stage, asked: &Asked, table: &mut Table, loaded: &Database) {
    say("a second full run, nothing changed");
    stage.settle(loaded);
    let run = harvest::run(stage, loaded, "full");
    assert_eq!(run.number("unchanged"), f64::from(asked.size));
    table.add(
        Row::new("second full run, nothing changed")
            .seconds(run.seconds)
            .rate(f64::from(asked.size) / run.seconds)
            .note(format!("WAL {:.2} MB", run.wal / 1e6)),
    );
}

/// Two texts that no trigger looks at.
fn attributes(stage: &Stage, table: &mut Table, loaded: &Database, ids: &[i64]) {
    say("attributes of a tenth");
    let bare = bare(
        stage,
        loaded,
        ids,
        "comment_description = 'revu', place_name = 'Col du Lautaret', last_action = 'U'",
    );
    let values = json!({"comment_occurrence": "revu", "nom_lieu": "Col du Lautaret"});
    let run = change(stage, loaded, ids, &values);
    let fired = loaded.number(
        "SELECT count(*) FROM gn_synthese.cor_area_synthese c JOIN gn_synthese.synthese s USING (id_synthese)
         WHERE s.place_name = 'Col du Lautaret' AND c.xmin = s.xmin",
    );
    add(
        table,
        "attributes of 10 % changed",
        &run,
        bare,
        ids.len(),
        format!("{fired} area links written"),
    );
}

fn geometries(stage: &Stage, table: &mut Table, loaded: &Database, ids: &[i64]) {
    say("geometries of a tenth");
    let point = "ST_SetSRID(ST_MakePoint(5.7245, 45.1885), 4326)";
    let local = loaded.value("SELECT Find_SRID('gn_synthese', 'synthese', 'the_geom_local')");
    let bare = bare(
        stage,
        loaded,
        ids,
        &format!(
            "the_geom_4326 = {point}, the_geom_point = {point}, the_geom_local = ST_Transform({point}, {local}), last_action = 'U'"
        ),
    );
    let run = change(
        stage,
        loaded,
        ids,
        &json!({"wkt_4326": "POINT(5.7245 45.1885)"}),
    );
    add(
        table,
        "geometries of 10 % moved",
        &run,
        bare,
        ids.len(),
        "all to one place".to_owned(),
    );
}

fn increment(stage: &Stage, table: &mut Table, loaded: &Database, ids: &[i64]) {
    let some: Vec<i64> = ids.iter().rev().take(INCREMENT).copied().collect();
    say("an increment");
    let bare = bare(
        stage,
        loaded,
        &some,
        "comment_description = 'du jour', last_action = 'U'",
    );
    let run = change(
        stage,
        loaded,
        &some,
        &json!({"comment_occurrence": "du jour"}),
    );
    let what = format!("incremental run, {} changed", some.len());
    add(table, &what, &run, bare, some.len(), String::new());
}

/// The partner changes some observations, and an incremental run follows. What changed before is out of its look-back.
fn change(stage: &Stage, loaded: &Database, ids: &[i64], values: &Value) -> Harvest {
    let ahead = loaded.number("SELECT count(*) * 6 * 3600 FROM gn_harvest.run");
    stage.partner.set_clock(ahead, 0);
    stage.partner.update_many(ids, values).expect("a change");
    stage.settle(loaded);
    let run = harvest::run(stage, loaded, "incremental");
    assert_eq!(run.number("updated"), ids.len() as f64, "{:#?}", run.row);
    run
}

/// Seconds of a bare UPDATE of the rows of these keys, in an equal copy.
fn bare(stage: &Stage, loaded: &Database, ids: &[i64], set: &str) -> f64 {
    let copy = stage.copy(&loaded.name);
    let keys: Vec<String> = ids.iter().map(|id| format!("'{id}'")).collect();
    copy.run(&format!(
        "CREATE TABLE public.bench_changed AS SELECT id_synthese FROM gn_synthese.synthese
         WHERE entity_source_pk_value = ANY (ARRAY[{}])",
        keys.join(", ")
    ));
    copy.run("ANALYZE public.bench_changed");
    stage.settle(&copy);
    let start = Instant::now();
    copy.run(&format!(
        "UPDATE gn_synthese.synthese s SET {set} FROM public.bench_changed c WHERE s.id_synthese = c.id_synthese"
    ));
    start.elapsed().as_secs_f64()
}

fn add(table: &mut Table, what: &str, run: &Harvest, bare: f64, rows: usize, note: String) {
    let mut said = vec![
        format!("bare UPDATE {bare:.2} s"),
        format!(
            "{} rows served in {} requests",
            run.served.rows, run.served.requests
        ),
        format!("WAL {:.1} MB", run.wal / 1e6),
    ];
    said.extend((!note.is_empty()).then_some(note));
    table.add(
        Row::new(what)
            .ratio_to(run.seconds / bare, "bare UPDATE")
            .seconds(run.seconds)
            .rate(rows as f64 / run.seconds)
            .note(said.join("; ")),
    );
}
