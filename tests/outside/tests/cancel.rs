//! A run is stopped cleanly: by cancel from any session, and with the caller that waits for it.

use std::time::{Duration, Instant};

use geonature_simulator::{Fault, Route, Rule};
use gn_harvest_outside::describe;
use postgres::NoTls;

use crate::support::*;

#[test]
fn a_caller_whose_time_is_up_stops_its_run() {
    let partner = partner(300);
    let database = cluster().database();
    add_source(&database, "cen", &partner, 3, "page_size => 50");
    hang_after(&partner, 2);
    let error = database.error("SET statement_timeout = '3s'; SELECT gn_harvest.run('cen')");
    assert!(error.starts_with("57014: "), "{error}");
    database.wait_until(30, "SELECT NOT gn_harvest.is_running('cen')");
    let row = database.row("SELECT * FROM gn_harvest.run_history");
    assert_eq!(text(&row, "status"), "cancelled", "{row:?}");
    assert_eq!(
        database.number("SELECT count(*) FROM gn_synthese.synthese"),
        number(&row, "fetched")
    );
}

#[test]
fn a_caller_who_gives_up_stops_its_run_even_before_it_has_begun() {
    let partner = partner(300);
    let database = cluster().database();
    add_source(&database, "cen", &partner, 3, "page_size => 50");
    hang_after(&partner, 0);
    for milliseconds in [1, 3, 10, 30, 100] {
        let error = database.error(&format!(
            "SET statement_timeout = {milliseconds}; SELECT gn_harvest.run('cen')"
        ));
        assert!(error.starts_with("57014: "), "{error}");
        // Whether it had begun or not, nobody waits for it: it must not go on.
        database.wait_until(
            30,
            "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'gn_harvest run' AND datname = current_database())",
        );
    }
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.run_history WHERE status NOT IN ('cancelled', 'interrupted')"),
        0
    );
}

#[test]
fn an_interrupt_from_the_keyboard_stops_the_run() {
    let partner = partner(300);
    let database = cluster().database();
    add_source(&database, "cen", &partner, 3, "page_size => 50");
    hang_after(&partner, 2);
    let mut session = database.connect();
    let token = session.cancel_token();
    let error = std::thread::scope(|scope| {
        let caller = scope.spawn(move || session.batch_execute("SELECT gn_harvest.run('cen')"));
        // Its lock is held before its row can be seen.
        database.wait_until(30, "SELECT EXISTS (SELECT FROM gn_harvest.run_progress)");
        token.cancel_query(NoTls).expect("a cancel request");
        caller.join().expect("the caller").expect_err("a cancel")
    });
    assert!(describe(&error).starts_with("57014: "), "{error}");
    database.wait_until(30, "SELECT NOT gn_harvest.is_running('cen')");
    assert_eq!(
        database.value("SELECT status FROM gn_harvest.run_history"),
        "cancelled"
    );
}

#[test]
fn cancel_works_in_every_phase_of_a_run() {
    let partner = partner(300);
    let database = cluster().database();
    add_source(&database, "cen", &partner, 3, "page_size => 50");
    // While it asks for its first page; for keys; for a window.
    for query in ["limit=50", "orderby", "filter_n_up_"] {
        partner.clear_faults();
        partner.add_fault(Rule::always(Route::Export, Fault::Hang).with_query(query));
        let run = start(&database, "cen", "full");
        database.wait_until(
            30,
            &format!("SELECT requests > 0 OR phase = 'asking the source' FROM gn_harvest.run_progress WHERE run = {run}"),
        );
        assert_eq!(
            database.value(&format!("SELECT gn_harvest.cancel({run})")),
            "t"
        );
        let row = ended(&database, run);
        assert_eq!(text(&row, "status"), "cancelled", "{query}: {row:?}");
        assert_eq!(text(&row, "error_message"), "the run was cancelled");
    }
}

#[test]
fn cancel_works_while_the_target_is_written() {
    let partner = partner(100);
    let database = cluster().database();
    add_source(&database, "cen", &partner, 3, "");
    database.run(
        "CREATE FUNCTION public.take_long() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(600); RETURN NULL; END $$;
         CREATE TRIGGER take_long AFTER INSERT ON gn_synthese.synthese FOR EACH STATEMENT EXECUTE FUNCTION public.take_long()",
    );
    let run = start(&database, "cen", "full");
    database.wait_until(
        60,
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND backend_type = 'gn_harvest run' AND datname = current_database())",
    );
    database.run(&format!("SELECT gn_harvest.cancel({run})"));
    let row = ended(&database, run);
    assert_eq!(text(&row, "status"), "cancelled", "{row:?}");
    assert_eq!(
        database.value("SELECT count(*) || ' ' || (SELECT count(*) FROM gn_harvest.harvested) FROM gn_synthese.synthese"),
        "0 0"
    );
    database.run("DROP TRIGGER take_long ON gn_synthese.synthese");
    assert_eq!(number(&run_well(&database, "cen", "auto"), "inserted"), 100);
}

#[test]
fn a_run_that_is_cancelled_again_and_again_ends_as_cancelled() {
    let cluster = fragile_cluster();
    let partner = partner(3000);
    let database = cluster.database();
    add_source(&database, "cen", &partner, 3, "page_size => 50");
    let run = start(&database, "cen", "full");
    database.wait_until(
        60,
        &format!("SELECT inserted > 200 FROM gn_harvest.run_history WHERE run = {run}"),
    );
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut session = database.connect();
                let deadline = Instant::now() + Duration::from_secs(60);
                let cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type = 'gn_harvest run' AND datname = current_database()";
                while gn_harvest_outside::rows(&mut session, cancel).len() == 1 {
                    assert!(Instant::now() < deadline, "the run goes on");
                }
            });
        }
    });
    let row = ended(&database, run);
    assert_eq!(text(&row, "status"), "cancelled", "{row:?}");
    assert_eq!(
        database.number("SELECT count(*) FROM gn_synthese.synthese"),
        number(&row, "inserted")
    );
    assert!(number(&row, "inserted") < 3000);
    let next = run_well(&database, "cen", "auto");
    assert_eq!(number(&next, "resumes"), run);
    assert_eq!(
        database.number("SELECT count(*) FROM gn_synthese.synthese"),
        3000
    );
}

#[test]
fn cancel_says_whether_there_was_something_to_stop() {
    let partner = partner(50);
    let database = cluster().database();
    add_source(&database, "cen", &partner, 3, "");
    let run = number(&run_well(&database, "cen", "full"), "run");
    assert_eq!(
        database.value(&format!("SELECT gn_harvest.cancel({run})")),
        "f"
    );
    let error = database.error("SELECT gn_harvest.cancel(4711)");
    assert!(
        error.starts_with("42704: run 4711 does not exist") && error.contains("HINT: "),
        "{error}"
    );
}
