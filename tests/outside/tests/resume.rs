//! A full run that was broken, whatever broke it, is said to be so at once, and the next run goes on from its last batch.

use geonature_simulator::{Fault, Route, Rule, Simulator};
use gn_harvest_outside::{Cluster, Database, Stop};

use crate::support::*;

const OBSERVATIONS: u32 = 600;
const PAGE: &str = "page_size => 50, connections => 1";

/// A source in a database of its own, and a full run of it that has written some pages and hangs.
fn broken_off<'c>(cluster: &'c Cluster, partner: &Simulator) -> (Database<'c>, i64) {
    let database = cluster.database();
    add_source(&database, "cen", partner, 3, PAGE);
    let run = start_and_hang(&database, "cen", partner, 5);
    (database, run)
}

fn status(database: &Database, run: i64) -> String {
    text(&history(database, run), "status").to_owned()
}

/// What of the slices of a source is read and written, up to which key.
fn covered_to(database: &Database) -> i64 {
    database.number("SELECT max(upper(r)) - 1 FROM gn_harvest.slice, unnest(done) r")
}

/// The run after a broken one: it resumes it, asks for nothing again, and leaves what an undisturbed run leaves.
fn goes_on(database: &Database, partner: &Simulator, broken: i64) {
    let before = history(database, broken);
    let covered = covered_to(database);
    partner.clear_faults();
    partner.clear_figures();
    let next = run_well(database, "cen", "auto");
    assert_eq!(text(&next, "mode"), "full");
    assert_eq!(number(&next, "resumes"), broken);
    assert_eq!(
        number(&before, "fetched") + number(&next, "fetched"),
        i64::from(OBSERVATIONS),
        "records that were read before are read again, or some not at all"
    );
    assert!(number(&before, "fetched") > 0 && number(&next, "fetched") > 0);
    let asked = windows_asked(partner);
    assert!(asked.first() > Some(&covered), "{asked:?} after {covered}");
    assert_eq!(
        database.number(
            "SELECT count(*) - count(DISTINCT entity_source_pk_value) FROM gn_synthese.synthese"
        ),
        0
    );
    let undisturbed = database.cluster.database();
    add_source(&undisturbed, "cen", partner, 3, PAGE);
    let whole = run_well(&undisturbed, "cen", "full");
    assert!(number(&next, "requests") < number(&whole, "requests"));
    assert_same_image(database, &undisturbed);
    let third = run_well(database, "cen", "auto");
    assert_eq!(text(&third, "mode"), "incremental");
}

/// A run whose worker is gone says so before anything else has run, and keeps saying so.
fn is_interrupted(database: &Database, run: i64) {
    assert_eq!(status(database, run), "interrupted");
    assert_eq!(
        database.value("SELECT state FROM gn_harvest.source_status"),
        "Interrupted"
    );
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.run_progress"),
        0
    );
    assert_eq!(database.value("SELECT gn_harvest.is_running('cen')"), "f");
    let awaited = ended(database, run);
    assert_eq!(text(&awaited, "status"), "interrupted", "{awaited:?}");
}

fn is_closed(database: &Database, run: i64) {
    let row = history(database, run);
    assert_eq!(text(&row, "status"), "interrupted");
    assert_eq!(text(&row, "error_sqlstate"), "57P02");
    assert_ne!(text(&row, "finished_at"), "");
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.run WHERE status = 'running'"),
        0
    );
}

#[test]
fn a_run_broken_by_a_crash_of_the_server_goes_on_from_its_last_batch() {
    let cluster = fragile_cluster();
    let partner = partner(OBSERVATIONS);
    let (database, broken) = broken_off(&cluster, &partner);
    assert_eq!(status(&database, broken), "running");
    cluster.stop(Stop::Immediate);
    cluster.start();
    is_interrupted(&database, broken);
    goes_on(&database, &partner, broken);
    is_closed(&database, broken);
}

#[test]
fn a_run_whose_worker_is_killed_goes_on_after_the_server_has_recovered() {
    let cluster = fragile_cluster();
    let partner = partner(OBSERVATIONS);
    let (database, broken) = broken_off(&cluster, &partner);
    let mut waiting = database.connect();
    let worker = database.number("SELECT pid FROM gn_harvest.run_progress");
    kill(worker);
    // PostgreSQL restarts itself: every session breaks.
    let broken_session = waiting.batch_execute("SELECT pg_sleep(120)");
    assert!(broken_session.is_err());
    cluster.wait_until_up(60);
    is_interrupted(&database, broken);
    goes_on(&database, &partner, broken);
    is_closed(&database, broken);
}

#[test]
fn a_terminated_worker_leaves_a_run_that_the_next_one_resumes() {
    let partner = partner(OBSERVATIONS);
    let (database, broken) = broken_off(cluster(), &partner);
    database.run("SELECT pg_terminate_backend(pid) FROM gn_harvest.run_progress");
    database.wait_until(30, "SELECT NOT gn_harvest.is_running('cen')");
    is_interrupted(&database, broken);
    goes_on(&database, &partner, broken);
    is_closed(&database, broken);
}

#[test]
fn a_cancelled_run_keeps_what_it_has_written_and_is_resumed() {
    let partner = partner(OBSERVATIONS);
    let (database, broken) = broken_off(cluster(), &partner);
    assert_eq!(
        database.value(&format!("SELECT gn_harvest.cancel({broken})")),
        "t"
    );
    let row = ended(&database, broken);
    assert_eq!(text(&row, "status"), "cancelled");
    assert_eq!(text(&row, "error_sqlstate"), "57014");
    assert_eq!(
        database.number("SELECT count(*) FROM gn_synthese.synthese"),
        number(&row, "fetched")
    );
    goes_on(&database, &partner, broken);
    assert_eq!(status(&database, broken), "cancelled");
}

#[test]
fn a_run_that_the_partner_fails_is_resumed() {
    let partner = partner(OBSERVATIONS);
    let database = cluster().database();
    add_source(&database, "cen", &partner, 3, PAGE);
    let refused = Fault::Status {
        status: 403,
        retry_after: None,
        retry_after_date: None,
        json: true,
    };
    partner.add_fault(
        Rule::always(Route::Export, refused)
            .with_query("filter_n_up_")
            .after(5),
    );
    let failed = run(&database, "cen", "auto");
    assert_eq!(text(&failed, "status"), "failed", "{failed:?}");
    goes_on(&database, &partner, number(&failed, "run"));
    assert_eq!(status(&database, number(&failed, "run")), "failed");
}

#[test]
fn a_run_is_resumed_as_often_as_it_breaks() {
    let partner = partner(OBSERVATIONS);
    let database = cluster().database();
    add_source(&database, "cen", &partner, 3, PAGE);
    let mut runs = Vec::new();
    for _ in 0..3 {
        let run = start_and_hang(&database, "cen", &partner, 3);
        database.run(&format!("SELECT gn_harvest.cancel({run})"));
        ended(&database, run);
        partner.clear_faults();
        runs.push(run);
    }
    let last = run_well(&database, "cen", "auto");
    assert_eq!(number(&last, "resumes"), runs[2]);
    assert_eq!(
        database.value(
            "SELECT sum(fetched) || ' ' || count(DISTINCT watermark) FROM gn_harvest.run_history"
        ),
        format!("{OBSERVATIONS} 1")
    );
    assert_eq!(
        database.number("SELECT count(*) FROM gn_synthese.synthese"),
        i64::from(OBSERVATIONS)
    );
}

#[test]
fn an_interrupted_incremental_run_moves_nothing_and_is_done_again() {
    let partner = partner(OBSERVATIONS);
    let database = cluster().database();
    add_source(&database, "cen", &partner, 3, PAGE);
    run_well(&database, "cen", "full");
    let watermark = "SELECT watermark FROM gn_harvest.source_status";
    let before = database.value(watermark);
    let changed: Vec<i64> = partner.ids().into_iter().step_by(4).collect();
    partner
        .update_many(&changed, &serde_json::json!({"nom_lieu": "Étang changé"}))
        .expect("a change");
    hang_after(&partner, 2);
    let broken = start(&database, "cen", "incremental");
    database.wait_until(
        60,
        &format!("SELECT fetched > 0 FROM gn_harvest.run_history WHERE run = {broken}"),
    );
    database.run("SELECT pg_terminate_backend(pid) FROM gn_harvest.run_progress");
    database.wait_until(30, "SELECT NOT gn_harvest.is_running('cen')");
    assert_eq!(status(&database, broken), "interrupted");
    assert_eq!(database.value(watermark), before);
    partner.clear_faults();
    let next = run_well(&database, "cen", "auto");
    assert_eq!(text(&next, "mode"), "incremental");
    assert!(number(&next, "fetched") >= changed.len() as i64, "{next:?}");
    assert_eq!(
        database
            .number("SELECT count(*) FROM gn_synthese.synthese WHERE place_name = 'Étang changé'"),
        changed.len() as i64
    );
}

#[test]
fn an_incremental_run_in_between_leaves_the_unfinished_full_one_to_be_resumed() {
    let partner = partner(OBSERVATIONS);
    let database = cluster().database();
    add_source(&database, "cen", &partner, 3, PAGE);
    run_well(&database, "cen", "full");
    // What only a full run can bring: a change without a date.
    let last = *partner.ids().last().expect("observations");
    partner
        .update(
            last,
            &serde_json::json!({"_silent": true, "nom_lieu": "Sans date"}),
        )
        .expect("a change");
    let broken = start_and_hang(&database, "cen", &partner, 3);
    database.run(&format!("SELECT gn_harvest.cancel({broken})"));
    ended(&database, broken);
    partner.clear_faults();
    run_well(&database, "cen", "incremental");
    let next = run_well(&database, "cen", "auto");
    assert_eq!(
        (text(&next, "mode"), number(&next, "resumes")),
        ("full", broken)
    );
    assert_eq!(number(&next, "updated"), 1);
}

#[test]
fn a_run_of_other_settings_does_not_go_on_with_what_an_earlier_one_left() {
    let partner = partner(OBSERVATIONS);
    let female = "{\"sexe\": \"2\"}";
    for change in [
        format!("SELECT gn_harvest.alter_source('cen', filters => '{female}')"),
        "SELECT gn_harvest.alter_source('cen', format => 'codes')".to_owned(),
        "SELECT gn_harvest.map_field('cen', 'place_name', constant => 'ici')".to_owned(),
    ] {
        let (database, broken) = broken_off(cluster(), &partner);
        database.run(&format!("SELECT gn_harvest.cancel({broken})"));
        ended(&database, broken);
        partner.clear_faults();
        database.run(&change);
        let next = run_well(&database, "cen", "auto");
        assert_eq!(text(&next, "resumes"), "", "{change}");
        assert_eq!(text(&next, "mode"), "full", "{change}");
        let expected = match change.contains("filters") {
            true => partner.truth().iter().filter(|o| o["sexe"] == "2").count() as i64,
            false => i64::from(OBSERVATIONS),
        };
        assert_eq!(number(&next, "fetched"), expected, "{change}");
    }
}

#[test]
fn what_a_run_reads_can_not_be_changed_under_it() {
    let partner = partner(OBSERVATIONS);
    let (database, run) = broken_off(cluster(), &partner);
    for change in [
        "export_id => 2",
        "filters => '{\"sexe\": \"2\"}'",
        "date_column => 'date_debut'",
        "url => 'https://example.org'",
    ] {
        let error = database.error(&format!("SELECT gn_harvest.alter_source('cen', {change})"));
        assert!(
            error.starts_with("55006: ") && error.contains("HINT: "),
            "{error}"
        );
    }
    database.run("SELECT gn_harvest.alter_source('cen', organism => 'CEN', page_size => 40)");
    database.run(&format!("SELECT gn_harvest.cancel({run})"));
    ended(&database, run);
    goes_on(&database, &partner, run);
}

#[test]
fn a_run_that_lost_its_slices_does_not_pass_for_a_whole_one() {
    let partner = partner(OBSERVATIONS);
    let database = cluster().database();
    add_source(&database, "cen", &partner, 3, PAGE);
    partner.set_cost(0.3, 0.0);
    let run = start(&database, "cen", "full");
    database.wait_until(
        60,
        "SELECT EXISTS (SELECT FROM gn_harvest.slice WHERE claimed_by IS NOT NULL)",
    );
    // What an alter_source does that began before the run.
    database.run(
        "DELETE FROM gn_harvest.slice; UPDATE gn_harvest.source SET filters = '{\"sexe\": \"2\"}'",
    );
    partner.set_cost(0.0, 0.0);
    let row = ended(&database, run);
    assert_eq!(text(&row, "status"), "failed", "{row:?}");
    assert!(
        text(&row, "error_message").contains("changed while"),
        "{row:?}"
    );
    assert_eq!(
        database.value("SELECT watermark FROM gn_harvest.source_status"),
        ""
    );
}

#[test]
fn progress_of_a_resumed_run_counts_what_is_left() {
    let partner = partner(OBSERVATIONS);
    let (database, broken) = broken_off(cluster(), &partner);
    database.run(&format!("SELECT gn_harvest.cancel({broken})"));
    let left = i64::from(OBSERVATIONS) - number(&ended(&database, broken), "fetched");
    partner.clear_faults();
    let next = start_and_hang(&database, "cen", &partner, 2);
    let progress = database.row("SELECT *, percent < 100 AS partly FROM gn_harvest.run_progress");
    assert_eq!(number(&progress, "run"), next);
    assert_eq!(number(&progress, "total"), left);
    assert_eq!(text(&progress, "partly"), "t");
}

#[test]
fn a_shutdown_does_not_wait_for_a_partner_that_hangs() {
    let cluster = fragile_cluster();
    let partner = partner(OBSERVATIONS);
    let (database, broken) = broken_off(&cluster, &partner);
    // pg_ctl gives up after a minute.
    cluster.stop(Stop::Fast);
    cluster.start();
    is_interrupted(&database, broken);
    assert!(
        !cluster.log().contains("was terminated by signal 11"),
        "{}",
        cluster.log()
    );
    goes_on(&database, &partner, broken);
}

pub fn kill(pid: i64) {
    // SAFETY: a signal to a worker of a cluster of ours.
    let result = unsafe { libc::kill(pid as i32, libc::SIGKILL) };
    assert_eq!(result, 0, "kill {pid}");
}
