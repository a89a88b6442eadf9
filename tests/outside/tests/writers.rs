//! Several writers share a full run: what it leaves is what one writer leaves, whoever fails or is in the way.

use std::sync::OnceLock;

use geonature_simulator::{Config, Simulator};
use gn_harvest_outside::{Cluster, Database, Row};
use serde_json::json;

use crate::support::*;

const WRITERS: &str = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'gn_harvest writer' AND datname = current_database()";
const NO_WORKER: &str = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity
    WHERE backend_type LIKE 'gn_harvest%' AND datname = current_database())";
const SHARED: &str = "writers => 3, page_size => 50, connections => 2";
const ALONE: &str = "writers => 1, page_size => 50, connections => 2";

/// Batches are small there, so that there are some for each writer.
pub fn small_batches() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let cluster = Cluster::temporary(&[("gn_harvest.batch_size", "100")]);
        cluster.stop_at_exit();
        cluster
    })
}

fn partner_of(observations: u32, seed: u64) -> Simulator {
    partner_with(Config {
        observations,
        seed,
        ..Config::default()
    })
}

/// The same partner harvested by one writer.
fn by_one<'c>(partner: &Simulator) -> Database<'c> {
    let database = small_batches().database();
    add_source(&database, "cen", partner, 3, ALONE);
    run_well(&database, "cen", "full");
    database
}

fn reasons(database: &Database) -> Vec<Row> {
    database.rows("SELECT reason, count(*) FROM gn_harvest.rejected GROUP BY 1 ORDER BY 1")
}

/// How many writers have written for the last run: rows of one transaction have its number.
pub fn transactions(database: &Database) -> i64 {
    database.number("SELECT count(DISTINCT xmin::text) FROM gn_harvest.harvested")
}

/// Makes the writers of a run wait for a table; the session that holds it is returned.
fn hold(database: &Database) -> postgres::Client {
    let mut session = database.connect();
    session
        .batch_execute("BEGIN; LOCK TABLE gn_synthese.synthese IN SHARE MODE")
        .expect("a lock");
    session
}

/// Starts a run whose writers all wait for a lock; returns it, their processes and the lock.
fn start_and_hold(database: &Database) -> (i64, Vec<i64>, postgres::Client) {
    let lock = hold(database);
    let run = start(database, "cen", "full");
    database.wait_until(
        60,
        "SELECT count(*) = 3 FROM pg_stat_activity
         WHERE backend_type = 'gn_harvest writer' AND datname = current_database() AND wait_event_type = 'Lock'",
    );
    let pids = database.rows(WRITERS);
    let pids = pids.iter().map(|row| number(row, "pid")).collect();
    (run, pids, lock)
}

#[test]
fn what_several_writers_leave_is_what_one_leaves() {
    let partner = partner_of(1500, 71);
    let ids = partner.ids();
    for id in ids.iter().step_by(97) {
        let wrong = json!({"cd_nom": 999_999});
        partner.update(*id, &wrong).expect("a change");
    }
    partner.tamper(ids[333], "date_debut", Some("\"0000-00-00\""));
    partner.tamper(ids[777], "sexe", Some("\"inconnu au bataillon\""));
    partner.duplicate(3, ids[500]).expect("a duplicate");
    let one = by_one(&partner);
    let database = small_batches().database();
    add_source(&database, "cen", &partner, 3, SHARED);
    partner.clear_figures();
    let row = run_well(&database, "cen", "full");
    assert_eq!(
        text(&row, "warnings"),
        "{\"the export's view gave 1 records more than once\"}"
    );
    let figures = partner.figures();
    assert!(figures.max_concurrent <= 2, "{}", figures.max_concurrent);
    assert_eq!(number(&row, "requests"), figures.requests as i64);
    assert!(number(&row, "bytes") > 1_000_000);
    assert!(transactions(&database) >= 12);
    assert_eq!(reasons(&database), reasons(&one));
    assert_same_image(&database, &one);
    let unmapped =
        "SELECT column_name, source_value, occurrences FROM gn_harvest.unmapped ORDER BY 1, 2";
    assert_eq!(database.rows(unmapped), one.rows(unmapped));
    let heard = "SELECT kind, uuid FROM gn_harvest.source_metadata ORDER BY 1, 2";
    assert_eq!(database.rows(heard), one.rows(heard));
    assert_eq!(database.rows("SELECT * FROM gn_harvest.slice"), []);

    // Nothing has changed; then some have, some are gone.
    let again = run_well(&database, "cen", "full");
    assert_eq!(number(&again, "updated") + number(&again, "inserted"), 0);
    let some: Vec<i64> = ids.iter().step_by(7).copied().collect();
    partner
        .update_many(&some, &json!({"nom_lieu": "Ailleurs"}))
        .expect("a change");
    partner.delete_silently(&ids[40..50]);
    for database in [&database, &one] {
        let row = run_well(database, "cen", "reconcile");
        assert_eq!(number(&row, "deleted"), 10, "{row:?}");
    }
    assert_same_image(&database, &one);
}

#[test]
fn several_writers_write_each_observation_once_by_no_more_connections() {
    for (writers, connections, load) in [
        (2, 2, "standard"),
        (3, 1, "standard"),
        (3, 3, "standard"),
        (2, 2, "fast"),
    ] {
        let partner = partner_of(1500, 81);
        partner.set_cost(0.03, 0.0);
        let database = small_batches().database();
        let options = format!(
            "writers => {writers}, page_size => 50, connections => {connections}, load => '{load}'"
        );
        add_source(&database, "cen", &partner, 3, &options);
        run_well(&database, "cen", "full");
        assert_complete(&database, "cen", &partner);
        assert!(transactions(&database) >= 12, "{options}");
        let most = partner.figures().max_concurrent;
        assert!(most <= connections, "{most} at once: {options}");
        // A row that was written and taken back counts here; workers tell it as they end.
        database.wait_until(60, NO_WORKER);
        let written = database.row(
            "SELECT n_tup_ins, n_tup_del FROM pg_stat_user_tables WHERE relid = 'gn_synthese.synthese'::regclass",
        );
        assert_eq!(number(&written, "n_tup_ins"), 1500, "{options}");
        assert_eq!(number(&written, "n_tup_del"), 0, "{options}");
    }
}

#[test]
fn a_uuid_that_comes_twice_is_written_once_whoever_comes_first() {
    let partner = partner_of(1200, 72);
    let ids = partner.ids();
    let uuid = |n: usize| format!("7d3c9f5e-0000-4000-8000-{n:012}");
    // Each pair lies apart: its records are in batches of different writers.
    for (n, pair) in ids[..600].iter().zip(&ids[600..]).enumerate().step_by(10) {
        for id in [pair.0, pair.1] {
            let value = json!({"id_perm_sinp": uuid(n)});
            partner.update(*id, &value).expect("a UUID");
        }
    }
    let database = small_batches().database();
    add_source(
        &database,
        "cen",
        &partner,
        3,
        "writers => 4, page_size => 50",
    );
    for _ in 0..2 {
        run_well(&database, "cen", "full");
        assert_eq!(
            database
                .number("SELECT count(*) FROM gn_harvest.rejected WHERE reason = 'duplicate_uuid'"),
            60,
            "{:?}",
            reasons(&database)
        );
        assert_eq!(
            database.number("SELECT count(*) FROM gn_harvest.rejected"),
            60
        );
        assert_eq!(
            database.number("SELECT count(*) FROM gn_synthese.synthese"),
            1140
        );
        assert_eq!(
            database.number("SELECT count(*) FROM gn_synthese.synthese WHERE unique_id_sinp::text LIKE '7d3c9f5e-%'"),
            60
        );
        assert_eq!(
            database.number("SELECT observations FROM gn_harvest.source_state"),
            1140
        );
    }
}

#[test]
fn a_uuid_that_another_session_brings_meanwhile_is_recognised() {
    for (writers, load, name) in [
        (1, "standard", "alone"),
        (3, "standard", "shared"),
        (1, "fast", "alone and fast"),
        (3, "fast", "shared and fast"),
    ] {
        let partner = partner_of(600, 73);
        let wanted = partner.ids().into_iter().find_map(|id| {
            let uuid = partner.observation(id)?["id_perm_sinp"]
                .as_str()?
                .to_owned();
            Some((id, uuid))
        });
        let (id, uuid) = wanted.expect("a UUID");
        let database = small_batches().database();
        // A row to copy, and a dataset for it.
        let first = partner_of(3, 900);
        add_source(&database, "first", &first, 3, "");
        run_well(&database, "first", "full");
        let options = format!("writers => {writers}, page_size => 50, load => '{load}'");
        add_source(&database, "cen", &partner, 3, &options);
        let mut local = database.connect();
        local
            .batch_execute(&format!(
                "BEGIN;
                 INSERT INTO gn_synthese.t_sources (name_source) VALUES ('Saisie locale');
                 INSERT INTO gn_synthese.synthese (unique_id_sinp, id_source, id_dataset, cd_nom, nom_cite, date_min, date_max, the_geom_4326, the_geom_point, the_geom_local)
                 SELECT '{uuid}', (SELECT id_source FROM gn_synthese.t_sources WHERE name_source = 'Saisie locale'),
                        id_dataset, cd_nom, nom_cite, date_min, date_max, the_geom_4326, the_geom_point, the_geom_local
                 FROM gn_synthese.synthese LIMIT 1"
            ))
            .expect("a local observation");
        let run = start(&database, "cen", "full");
        database.wait_until(
            60,
            "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted",
        );
        local.batch_execute("COMMIT").expect("committed");
        let row = ended(&database, run);
        assert_eq!(text(&row, "status"), "succeeded", "{name}: {row:?}");
        let rejected = database.row("SELECT source_key, reason, value FROM gn_harvest.rejected");
        assert_eq!(text(&rejected, "source_key"), id.to_string());
        assert_eq!(
            text(&rejected, "reason"),
            "uuid_owned_by_other_source",
            "{name}"
        );
        assert_eq!(text(&rejected, "value"), "Saisie locale");
        assert_eq!(number(&row, "inserted"), 599, "{row:?}");
    }
}

#[test]
fn records_that_exchange_their_keys_stay_what_they_are() {
    let partner = partner_of(1000, 74);
    let database = small_batches().database();
    add_source(
        &database,
        "cen",
        &partner,
        3,
        "writers => 4, page_size => 50",
    );
    run_well(&database, "cen", "full");
    let ids = partner.ids();
    // Far apart, so that two writers have them at once.
    for (low, high) in ids[..500].iter().zip(&ids[500..]).step_by(9) {
        let free = ids[999] + 1000;
        for (from, to) in [(*low, free), (*high, *low), (free, *high)] {
            partner
                .update(from, &json!({"id_synthese": to}))
                .expect("another key");
        }
    }
    // What stands in the way of the other's new key is in place after the run that follows.
    for _ in 0..2 {
        run_well(&database, "cen", "full");
    }
    assert_complete(&database, "cen", &partner);
    assert_eq!(
        database.number("SELECT observations FROM gn_harvest.source_state"),
        1000
    );
}

#[test]
fn a_writer_that_is_killed_loses_nothing() {
    let partner = partner_of(1500, 75);
    let database = small_batches().database();
    add_source(&database, "cen", &partner, 3, SHARED);
    let (run, pids, mut lock) = start_and_hold(&database);
    let progress = database.row("SELECT pid, writers FROM gn_harvest.run_progress");
    let mut shown: Vec<i64> = text(&progress, "writers")
        .trim_matches(['{', '}'])
        .split(',')
        .map(|pid| pid.parse().expect("a pid"))
        .collect();
    shown.sort_unstable();
    let mut known = pids.clone();
    known.sort_unstable();
    assert_eq!(shown, known);
    database.run(&format!("SELECT pg_terminate_backend({})", pids[0]));
    database.wait_until(
        30,
        &format!(
            "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {})",
            pids[0]
        ),
    );
    lock.batch_execute("ROLLBACK").expect("free");
    let row = ended(&database, run);
    assert_eq!(text(&row, "status"), "succeeded", "{row:?}");
    assert_eq!(number(&row, "fetched"), 1500, "{row:?}");
    assert!(
        text(&row, "warnings").contains("ended before its work was done"),
        "{row:?}"
    );
    assert_complete(&database, "cen", &partner);
    assert_same_image(&database, &by_one(&partner));
}

#[test]
fn when_every_writer_is_killed_the_worker_of_the_run_goes_on_alone() {
    let partner = partner_of(1000, 76);
    let database = small_batches().database();
    add_source(&database, "cen", &partner, 3, SHARED);
    let (run, pids, mut lock) = start_and_hold(&database);
    for pid in pids {
        database.run(&format!("SELECT pg_terminate_backend({pid})"));
    }
    lock.batch_execute("ROLLBACK").expect("free");
    let row = ended(&database, run);
    assert_eq!(text(&row, "status"), "succeeded", "{row:?}");
    assert_complete(&database, "cen", &partner);
}

#[test]
fn writers_end_with_the_worker_of_the_run_and_the_next_run_goes_on() {
    let partner = partner_of(1500, 77);
    let database = small_batches().database();
    add_source(&database, "cen", &partner, 3, SHARED);
    // Some batches are written first.
    partner.set_cost(0.02, 0.0);
    let run = start(&database, "cen", "full");
    database.wait_until(
        60,
        &format!("SELECT fetched >= 300 FROM gn_harvest.run_history WHERE run = {run}"),
    );
    let lock = hold(&database);
    database.run("SELECT pg_terminate_backend(pid) FROM gn_harvest.run_progress");
    // Writers wait for the lock, and do not wait for it to go.
    database.wait_until(5, NO_WORKER);
    drop(lock);
    let broken = history(&database, run);
    assert_eq!(text(&broken, "status"), "interrupted");
    let next = run_well(&database, "cen", "auto");
    assert_eq!(number(&next, "resumes"), run);
    assert_eq!(
        number(&broken, "fetched") + number(&next, "fetched"),
        1500,
        "{broken:?} {next:?}"
    );
    assert_complete(&database, "cen", &partner);
    assert_same_image(&database, &by_one(&partner));
}

#[test]
fn a_cancel_stops_every_writer() {
    let partner = partner_of(1000, 78);
    let database = small_batches().database();
    add_source(&database, "cen", &partner, 3, SHARED);
    let (run, _, lock) = start_and_hold(&database);
    database.run(&format!("SELECT gn_harvest.cancel({run})"));
    let row = ended(&database, run);
    assert_eq!(text(&row, "status"), "cancelled", "{row:?}");
    database.wait_until(3, NO_WORKER);
    drop(lock);
    let next = run_well(&database, "cen", "auto");
    assert_eq!(number(&next, "resumes"), run);
    assert_complete(&database, "cen", &partner);
}

#[test]
fn where_worker_slots_are_taken_fewer_writers_do() {
    let cluster = Cluster::temporary(&[
        ("gn_harvest.batch_size", "100"),
        ("gn_harvest.writers", "16"),
        ("max_worker_processes", "5"),
        ("max_logical_replication_workers", "0"),
    ]);
    let partner = partner_of(700, 79);
    let database = cluster.database();
    add_source(&database, "cen", &partner, 3, "page_size => 50");
    let row = run_well(&database, "cen", "full");
    assert!(
        text(&row, "warnings").contains("4 of 16 writers could be started"),
        "{row:?}"
    );
    assert_complete(&database, "cen", &partner);
    // A source's own word goes before.
    database.run("SELECT gn_harvest.alter_source('cen', writers => 1)");
    let row = run_well(&database, "cen", "full");
    assert_eq!(text(&row, "warnings"), "{}");
    database.run("SELECT gn_harvest.alter_source('cen', clear => '{writers}')");
    let row = run_well(&database, "cen", "full");
    assert!(text(&row, "warnings").contains("of 16 writers"), "{row:?}");
    // Records are not shared: no other worker is even asked for.
    let options = "page_size => 50, target => 'records'";
    add_source(&database, "whole", &partner, 3, options);
    let row = run_well(&database, "whole", "full");
    assert_eq!(text(&row, "warnings"), "{}");
    assert_eq!(number(&row, "inserted"), 700);
}

#[test]
fn an_error_that_every_writer_meets_is_that_of_the_run() {
    let partner = partner_of(600, 80);
    let database = small_batches().database();
    add_source(&database, "cen", &partner, 3, SHARED);
    database.run(
        "CREATE FUNCTION public.full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = 'disk_full'; END $$;
         CREATE TRIGGER full_disk BEFORE INSERT ON gn_synthese.synthese FOR EACH STATEMENT EXECUTE FUNCTION public.full_disk()",
    );
    let row = run(&database, "cen", "full");
    assert_eq!(
        (text(&row, "status"), text(&row, "error_sqlstate")),
        ("failed", "53100"),
        "{row:?}"
    );
    database.run("DROP TRIGGER full_disk ON gn_synthese.synthese");
    run_well(&database, "cen", "auto");
    assert_complete(&database, "cen", &partner);
}
