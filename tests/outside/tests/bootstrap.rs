//! The first load from the file that a partner writes of its export each night: it leaves what the API would have left,
//! goes on where it broke, loses nothing that happened since the file was written, and is used once only.

use geonature_simulator::{Fault, Route, Rule, SeenRequest, Simulator};
use gn_harvest_outside::{Cluster, Database, Row};
use serde_json::json;

use crate::any_export::AnyExport;
use crate::resume::kill;
use crate::support::*;
use crate::writers::{small_batches, transactions};

const OBSERVATIONS: u32 = 600;
const JSON: &str = "GN2PG_metadonnees.json";

fn file(partner: &Simulator, name: &str) -> String {
    format!("{}/api/media/exports/schedules/{name}", partner.url())
}

/// Connects a source that begins with a file.
fn add_source_with_file(
    database: &Database,
    partner: &Simulator,
    (export, name): (u32, &str),
    options: &str,
) {
    let file = format!("bootstrap_url => '{}'", file(partner, name));
    let options = match options {
        "" => file,
        options => format!("{file}, {options}"),
    };
    add_source(database, "cen", partner, export, &options);
}

/// What a harvest leaves, but for where increments go on from: a file is older than the API's answers.
fn left(database: &Database) -> Vec<Row> {
    let mut rows = image(database);
    for row in &mut rows {
        row.remove("watermark");
    }
    rows
}

fn assert_same(found: &Database, expected: &Database) {
    let (found, expected) = (left(found), left(expected));
    for (f, e) in found.iter().zip(&expected) {
        assert_eq!(f, e);
    }
    assert_eq!(found.len(), expected.len(), "rows");
}

fn rejects(database: &Database) -> Vec<Row> {
    database.rows(
        "SELECT reason, column_name, value, source_key, message FROM gn_harvest.rejected_record ORDER BY source_key, reason",
    )
}

/// A database into which the API has brought everything.
fn by_the_api<'c>(
    cluster: &'c Cluster,
    partner: &Simulator,
    export: u32,
    options: &str,
) -> Database<'c> {
    let database = cluster.database();
    add_source(&database, "cen", partner, export, options);
    run_well(&database, "cen", "full");
    database
}

fn asked(partner: &Simulator, is_it: impl Fn(&SeenRequest) -> bool) -> Vec<SeenRequest> {
    let seen = partner.figures().last;
    seen.into_iter().filter(|request| is_it(request)).collect()
}

fn of_file(request: &SeenRequest) -> bool {
    request.path.starts_with("/api/media/")
}

/// Some observations that are refused, for several reasons, and some that are peculiar.
fn spoil(partner: &Simulator) {
    let ids = partner.ids();
    for (id, values) in ids.iter().step_by(37).zip([
        json!({"cd_nom": 999_999}),
        json!({"nombre_min": 9, "nombre_max": 2}),
        json!({"wkt_4326": "POLYGON((0 0,1 1,1 0,0 1,0 0))"}),
        json!({"nom_cite": null}),
        json!({"date_debut": null}),
        json!({"comment_releve": "une virgule, un ; point-virgule\n\"guillemets\" et \\ é 🦋"}),
        json!({"donnees_additionnelles": {"nul": null, "liste": [1, 2.5, "é'\""]}}),
        json!({"id_perm_sinp": null}),
    ]) {
        partner.update(*id, &values).expect("an observation");
    }
}

#[test]
fn each_format_of_the_file_leaves_what_the_api_leaves() {
    let partner = partner(OBSERVATIONS);
    spoil(&partner);
    for (export, name) in [
        (3, "GN2PG_metadonnees.json"),
        (3, "GN2PG_metadonnees.csv"),
        (2, "GN2PG_cd_nomenclature.json"),
        (2, "GN2PG_cd_nomenclature.csv"),
        (5, "SINP_sans_geometrie.json"),
        (1, "Synthese_SINP.geojson"),
    ] {
        let expected = by_the_api(cluster(), &partner, export, "");
        partner.clear_figures();
        let database = cluster().database();
        add_source_with_file(&database, &partner, (export, name), "page_size => 50");
        let row = run_well(&database, "cen", "auto");
        assert_eq!(text(&row, "mode"), "full");
        assert!(text(&row, "read_from").contains(name), "{row:?}");
        assert!(number(&row, "bytes") > 100_000 && number(&row, "requests") > 2);
        assert_eq!(text(&row, "warnings"), "{}", "{name}");
        assert_same(&database, &expected);
        assert_eq!(rejects(&database), rejects(&expected), "{name}");
        assert!(rejects(&database).len() >= 4);
        assert_eq!(asked(&partner, of_file).len(), 2, "a look and a reading");
        assert!(windows_asked(&partner).is_empty());
    }
}

#[test]
fn records_of_any_kind_begin_with_a_file_too() {
    let partner = partner(120);
    partner.tamper(partner.ids()[7], "id_synthese", Some("null"));
    let items =
        "SELECT source_key, item::text, wkb::text AS geom FROM gn_harvest.record ORDER BY 1";
    for (export, name) in [
        (3, "GN2PG_metadonnees.json"),
        (2, "GN2PG_cd_nomenclature.csv"),
        (1, "Synthese_SINP.geojson"),
        (9, "Cle_textuelle.json"),
    ] {
        let expected = by_the_api(cluster(), &partner, export, "target => 'records'");
        let database = cluster().database();
        add_source_with_file(&database, &partner, (export, name), "target => 'records'");
        let row = run_well(&database, "cen", "full");
        assert!(text(&row, "read_from").contains(name));
        let (found, expected_items) = (database.rows(items), expected.rows(items));
        assert!(found.len() >= 119, "{name}");
        for (found, expected) in found.iter().zip(&expected_items) {
            assert_eq!(
                serde_json::from_str::<serde_json::Value>(text(found, "item")).expect("JSON"),
                serde_json::from_str::<serde_json::Value>(text(expected, "item")).expect("JSON")
            );
            assert_eq!(text(found, "geom"), text(expected, "geom"));
        }
        assert_eq!(found.len(), expected_items.len());
        assert_eq!(rejects(&database), rejects(&expected), "{name}");
        // What the API gives next is what the file gave: nothing is written.
        let next = run_well(&database, "cen", "full");
        assert_eq!(text(&next, "read_from"), "");
        assert_eq!(
            (number(&next, "updated"), number(&next, "inserted")),
            (0, 0),
            "{name}: {next:?}"
        );
    }
}

/// The file is written; then observations change, come and go; then the file is read.
#[test]
fn what_happened_since_the_file_was_written_is_not_lost() {
    for (login, zone) in [(true, 3600), (false, -8 * 3600), (true, 13 * 3600)] {
        let partner = partner(300);
        partner.set_clock(0, zone);
        // One has a date of change that no file can know of.
        let ids = partner.ids();
        partner.tamper(ids[3], "derniere_action", Some("\"2999-01-01 00:00:00\""));
        // Another has changed just before, by clocks of all zones.
        partner
            .update(ids[4], &json!({"nom_lieu": "Ici"}))
            .expect("a change");
        let head = ask_for_head(&file(&partner, JSON));
        assert!(head.contains("last-modified"), "{head}");
        partner
            .update_many(&ids[10..20], &json!({"nom_lieu": "Ailleurs"}))
            .expect("a change");
        partner.insert(&json!({})).expect("a new one");
        partner.delete(&ids[50..57]);
        let database = cluster().database();
        let option = format!("bootstrap_url => '{}'", file(&partner, JSON));
        match login {
            true => {
                let account = ("moissonneur", "moissonneur");
                add_source_by_login(&database, "cen", &partner, 3, account, &option);
            }
            false => add_source(&database, "cen", &partner, 3, &option),
        }
        let first = run_well(&database, "cen", "auto");
        assert_eq!(number(&first, "fetched"), 300);
        let deleted = if login { 7 } else { 0 };
        assert_eq!(number(&first, "deleted"), deleted, "{first:?}");
        let watermark = database.value(
            "SELECT watermark::timestamp <= clock_timestamp() AT TIME ZONE 'UTC' - interval '1 day' FROM gn_harvest.source_state",
        );
        assert_eq!(watermark, "t");
        partner.mend_all();
        partner.delete(&ids[60..62]);
        let next = run_well(&database, "cen", "auto");
        assert_eq!(text(&next, "mode"), "incremental");
        assert_eq!(text(&next, "read_from"), "");
        assert_eq!(number(&next, "inserted"), 1, "{next:?}");
        assert_eq!(number(&next, "updated"), 10, "{next:?}");
        assert_eq!(asked(&partner, of_file).len(), 3);
        if login {
            assert_eq!(number(&next, "deleted"), 2, "{next:?}");
            assert_complete(&database, "cen", &partner);
        } else {
            assert_nothing_lost(&database, &partner);
            let whole = run_well(&database, "cen", "reconcile");
            assert_eq!(number(&whole, "deleted"), 9, "{whole:?}");
            assert_complete(&database, "cen", &partner);
        }
    }
}

/// What is said of the file, which is written by then.
fn ask_for_head(url: &str) -> String {
    let (address, path) = url
        .strip_prefix("http://")
        .and_then(|rest| rest.split_once('/'))
        .expect("an address");
    let mut stream = std::net::TcpStream::connect(address).expect("the partner");
    let request = format!("HEAD /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    std::io::Write::write_all(&mut stream, request.as_bytes()).expect("a request");
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).expect("an answer");
    answer.to_lowercase()
}

/// The partner gives a part of the file and is silent then, until its faults are cleared.
fn hang_in_file(partner: &Simulator, after_bytes: usize) {
    let hang = Fault::HangInBody { after_bytes };
    // The look takes the beginning, which is enough.
    partner.add_fault(Rule::always(Route::File, hang).after(1));
}

/// A run that has written a part of the file and hangs.
fn broken_off<'c>(cluster: &'c Cluster, partner: &Simulator, options: &str) -> (Database<'c>, i64) {
    let database = cluster.database();
    add_source_with_file(&database, partner, (3, JSON), options);
    hang_in_file(partner, 2_000_000);
    let run = start(&database, "cen", "auto");
    database.wait_until(
        60,
        "SELECT done > 300 AND total = 600 AND percent > 50 AND phase ~ '^reading the file: 2.0 MB of [0-9.]+ MB$'
         FROM gn_harvest.run_progress",
    );
    (database, run)
}

/// The run after a broken one: it writes what the other has left, and both leave what the API leaves.
fn goes_on(database: &Database, partner: &Simulator, broken: i64) {
    let before = history(database, broken);
    partner.clear_faults();
    let next = run_well(database, "cen", "auto");
    assert_eq!(number(&next, "resumes"), broken);
    assert!(text(&next, "read_from").contains(JSON));
    assert_eq!(
        number(&before, "fetched") + number(&next, "fetched"),
        i64::from(OBSERVATIONS),
        "{before:?} {next:?}"
    );
    assert_eq!(
        (number(&next, "unchanged"), text(&next, "warnings")),
        (0, "{}"),
        "{next:?}"
    );
    let expected = by_the_api(database.cluster, partner, 3, "");
    assert_same(database, &expected);
    assert_eq!(database.rows("SELECT * FROM gn_harvest.slice"), []);
    let third = run_well(database, "cen", "auto");
    assert_eq!(text(&third, "mode"), "incremental");
}

#[test]
fn a_killed_worker_leaves_what_it_has_written_and_the_next_run_goes_on() {
    let cluster = fragile_cluster();
    let partner = partner(OBSERVATIONS);
    let (database, broken) = broken_off(&cluster, &partner, "page_size => 50");
    let mut waiting = database.connect();
    kill(database.number("SELECT pid FROM gn_harvest.run_progress"));
    assert!(waiting.batch_execute("SELECT pg_sleep(120)").is_err());
    cluster.wait_until_up(60);
    goes_on(&database, &partner, broken);
    let status = history(&database, broken);
    assert_eq!(text(&status, "status"), "interrupted");
}

#[test]
fn a_cancelled_run_of_several_writers_goes_on() {
    let partner = partner(OBSERVATIONS);
    let options = "page_size => 50, writers => 2";
    let (database, broken) = broken_off(small_batches(), &partner, options);
    assert_eq!(
        database.value(&format!("SELECT gn_harvest.cancel({broken})")),
        "t"
    );
    assert_eq!(text(&ended(&database, broken), "status"), "cancelled");
    goes_on(&database, &partner, broken);
}

/// What is read but not concluded is read again for its dates, and nothing of it is written.
#[test]
fn a_run_that_breaks_after_the_last_record_keeps_its_watermark() {
    let partner = partner(300);
    let database = cluster().database();
    let account = ("moissonneur", "moissonneur");
    let option = format!(
        "bootstrap_url => '{}', retry_budget => 0",
        file(&partner, JSON)
    );
    add_source_by_login(&database, "cen", &partner, 3, account, &option);
    partner.add_fault(Rule::always(Route::Log, Fault::Hang));
    let run = start(&database, "cen", "auto");
    database.wait_until(
        60,
        "SELECT done = 300 AND phase = 'asking for deletions' FROM gn_harvest.run_progress",
    );
    database.run(&format!("SELECT gn_harvest.cancel({run})"));
    assert_eq!(text(&ended(&database, run), "status"), "cancelled");
    partner.clear_faults();
    let next = run_well(&database, "cen", "auto");
    assert_eq!(
        (number(&next, "resumes"), number(&next, "fetched")),
        (run, 0)
    );
    assert_ne!(
        database.value("SELECT coalesce(watermark, '') FROM gn_harvest.source_state"),
        ""
    );
    assert_complete(&database, "cen", &partner);
    assert_eq!(
        text(&run_well(&database, "cen", "auto"), "mode"),
        "incremental"
    );
}

#[test]
fn a_file_that_is_replaced_in_the_middle_is_read_from_its_beginning() {
    for writers in [1, 3] {
        let partner = partner(OBSERVATIONS);
        let options = format!("page_size => 50, writers => {writers}");
        let database = small_batches().database();
        add_source_with_file(&database, &partner, (3, JSON), &options);
        // The connection breaks, and the night's file is another one when the run comes back.
        let cut = Fault::TruncatedBody { keep: 0.7 };
        partner.add_fault(Rule::times(Route::File, 1, cut).after(1));
        let hold = Fault::Status {
            status: 503,
            retry_after: None,
            retry_after_date: None,
            json: false,
        };
        partner.add_fault(Rule::always(Route::File, hold).after(2));
        let run = start(&database, "cen", "auto");
        database.wait_until(60, "SELECT done > 250 FROM gn_harvest.run_progress");
        let ids = partner.ids();
        partner
            .update_many(&ids[..100], &json!({"nom_lieu": "Ailleurs"}))
            .expect("a change");
        partner.insert(&json!({})).expect("a new one");
        partner.publish_files();
        partner.clear_faults();
        let row = ended(&database, run);
        assert_eq!(text(&row, "status"), "succeeded", "{row:?}");
        assert!(text(&row, "warnings").contains("was replaced"), "{row:?}");
        assert!(number(&row, "fetched") > 601 && number(&row, "unchanged") > 100);
        assert_eq!(number(&row, "updated"), 100, "{row:?}");
        assert_complete(&database, "cen", &partner);
    }
}

#[test]
fn another_file_than_the_one_that_was_begun_is_read_whole() {
    let partner = partner(OBSERVATIONS);
    let (database, broken) = broken_off(small_batches(), &partner, "page_size => 50");
    database.run(&format!("SELECT gn_harvest.cancel({broken})"));
    ended(&database, broken);
    partner.clear_faults();
    partner
        .update_many(&partner.ids()[..100], &json!({"nom_lieu": "Ailleurs"}))
        .expect("a change");
    partner.publish_files();
    let next = run_well(&database, "cen", "auto");
    assert_eq!(
        (text(&next, "resumes"), number(&next, "fetched")),
        ("", 600)
    );
    assert_eq!(number(&next, "updated"), 100, "{next:?}");
    assert!(number(&next, "unchanged") > 100);
    assert_complete(&database, "cen", &partner);
}

#[test]
fn an_unfinished_run_by_the_api_goes_on_by_the_api() {
    let partner = partner(OBSERVATIONS);
    let database = cluster().database();
    add_source(
        &database,
        "cen",
        &partner,
        3,
        "page_size => 50, connections => 1",
    );
    let broken = start_and_hang(&database, "cen", &partner, 5);
    database.run(&format!("SELECT gn_harvest.cancel({broken})"));
    ended(&database, broken);
    partner.clear_faults();
    database.run(&format!(
        "SELECT gn_harvest.alter_source('cen', bootstrap_url => '{}')",
        file(&partner, JSON)
    ));
    let next = run_well(&database, "cen", "auto");
    assert_eq!(
        (number(&next, "resumes"), text(&next, "read_from")),
        (broken, "")
    );
    assert_eq!(asked(&partner, of_file).len(), 0);
    // Nor is it ever read by a run that is not the first full one.
    for mode in ["full", "reconcile", "incremental"] {
        run_well(&database, "cen", mode);
    }
    assert_eq!(asked(&partner, of_file).len(), 0);
}

#[test]
fn a_first_run_that_reconciles_reads_the_export() {
    let partner = partner(60);
    let database = cluster().database();
    add_source_with_file(&database, &partner, (3, JSON), "");
    let row = run_well(&database, "cen", "reconcile");
    assert_eq!(
        (text(&row, "read_from"), number(&row, "inserted")),
        ("", 60)
    );
    assert_eq!(asked(&partner, of_file).len(), 0);
}

/// Fails with a clear error, keeps what came, and can be told to do without the file.
#[test]
fn a_file_that_can_not_be_used_is_said_to_be_so() {
    let not_there = Fault::Status {
        status: 404,
        retry_after: None,
        retry_after_date: None,
        json: true,
    };
    let short = |bytes: u64| Fault::HugeBody { bytes };
    for (fault, sqlstate, message) in [
        (not_there, "58P01", "is not there"),
        (Fault::Html, "22032", "it is a page for people"),
        (Fault::EmptyBody, "22032", "it is empty"),
        (Fault::InvalidJson, "22032", "can not be used"),
        (short(3 * 1024 * 1024 * 1024), "54000", "is larger than"),
        (Fault::EndlessBody, "54000", "is larger than"),
        (
            Fault::Redirect {
                status: 302,
                location: "https://elsewhere.example.org/f.json".to_owned(),
            },
            "38000",
            "could not be read",
        ),
    ] {
        let partner = partner(60);
        let database = small_files().database();
        add_source_with_file(&database, &partner, (3, JSON), "retry_budget => 0");
        partner.add_fault(Rule::always(Route::File, fault.clone()));
        let row = run(&database, "cen", "auto");
        assert_eq!(text(&row, "status"), "failed", "{row:?}");
        assert_eq!(text(&row, "error_sqlstate"), sqlstate, "{row:?}");
        assert!(text(&row, "error_message").contains(message), "{row:?}");
        assert!(text(&row, "error_message").contains("the file to begin with"));
        let hint = text(&row, "error_hint");
        assert!(
            hint.contains("{bootstrap_url}") || hint.contains("gn_harvest.max_file"),
            "{row:?}"
        );
        let check = database.row(
            "SELECT status, detail FROM gn_harvest.check_source('cen') WHERE \"check\" = 'file'",
        );
        assert_eq!(text(&check, "status"), "error");
        assert!(text(&check, "detail").contains(message), "{check:?}");
        database.run("SELECT gn_harvest.alter_source('cen', clear => '{bootstrap_url}')");
        run_well(&database, "cen", "auto");
        assert_complete(&database, "cen", &partner);
    }
}

/// A cluster where a file may have 5 MB.
fn small_files() -> &'static Cluster {
    static CLUSTER: std::sync::OnceLock<Cluster> = std::sync::OnceLock::new();
    CLUSTER.get_or_init(|| {
        let cluster = Cluster::temporary(&[("gn_harvest.max_file", "5MB")]);
        cluster.stop_at_exit();
        cluster
    })
}

#[test]
fn a_file_that_ends_in_the_middle_keeps_what_came_and_says_so() {
    let partner = partner(OBSERVATIONS);
    let database = small_batches().database();
    add_source_with_file(&database, &partner, (3, JSON), "page_size => 50");
    partner.add_fault(Rule::always(Route::File, Fault::TruncatedJson));
    let row = run(&database, "cen", "auto");
    assert_eq!(text(&row, "error_sqlstate"), "22032", "{row:?}");
    assert!(text(&row, "error_message").contains("ends before its last record does"));
    assert!(number(&row, "inserted") >= 250, "{row:?}");
    assert_eq!(
        database.value("SELECT coalesce(watermark, 'none') FROM gn_harvest.source_state"),
        "none"
    );
    partner.clear_faults();
    run_well(&database, "cen", "auto");
    assert_complete(&database, "cen", &partner);
}

#[test]
fn a_file_of_another_export_or_of_another_time_is_told() {
    let partner = partner(100);
    let database = cluster().database();
    add_source_with_file(&database, &partner, (3, "GN2PG_cd_nomenclature.json"), "");
    let row = run(&database, "cen", "auto");
    assert_eq!(text(&row, "error_sqlstate"), "42703", "{row:?}");
    assert!(text(&row, "error_detail").contains("jdd_data"), "{row:?}");

    // Its view has shrunk to a half since: the file is not followed in that, nothing is deleted.
    let database = cluster().database();
    add_source_with_file(&database, &partner, (3, JSON), "");
    ask_for_head(&file(&partner, JSON));
    for _ in 0..100 {
        partner.insert(&json!({})).expect("a new one");
    }
    let row = run_well(&database, "cen", "auto");
    assert!(
        text(&row, "warnings").contains("the file has 100 records, the export announces 200"),
        "{row:?}"
    );
    assert_eq!(number(&row, "source_total"), 200);
    run_well(&database, "cen", "auto");
    assert_complete(&database, "cen", &partner);
}

#[test]
fn another_host_is_asked_for_the_file_without_secrets() {
    let (partner, mirror) = (partner(60), partner(60));
    for account in [true, false] {
        mirror.clear_figures();
        let database = cluster().database();
        let option = format!("bootstrap_url => '{}'", file(&mirror, JSON));
        match account {
            true => {
                let account = ("moissonneur", "moissonneur");
                add_source_by_login(&database, "cen", &partner, 3, account, &option);
            }
            false => add_source(&database, "cen", &partner, 3, &option),
        }
        database.rows("SELECT * FROM gn_harvest.check_source('cen')");
        run_well(&database, "cen", "auto");
        assert_complete(&database, "cen", &partner);
        let seen = asked(&mirror, |_| true);
        assert_eq!(seen.len(), 3, "{seen:?}");
        for request in seen {
            assert!(of_file(&request) && request.query.is_empty());
            assert!(
                !request.api_key && !request.cookie && !request.authorization,
                "{request:?}"
            );
        }
        // Nor does the partner's own server get them for a file that is open to everyone.
        database.run(&format!(
            "SELECT gn_harvest.drop_source('cen', delete_data => true);
             SELECT gn_harvest.add_source('own', '{}', 3, token => 'jeton-export-3', bootstrap_url => '{}')",
            partner.url(),
            file(&partner, JSON)
        ));
        partner.clear_figures();
        run_well(&database, "own", "auto");
        let of_files = asked(&partner, of_file);
        assert_eq!(of_files.len(), 2);
        assert!(
            of_files
                .iter()
                .all(|r| !r.api_key && !r.cookie && !r.authorization)
        );
    }
}

#[test]
fn several_writers_leave_what_one_leaves() {
    let partner = partner(1500);
    spoil(&partner);
    partner
        .duplicate(3, partner.ids()[500])
        .expect("a duplicate");
    let expected = by_the_api(small_batches(), &partner, 3, "");
    let database = small_batches().database();
    add_source_with_file(
        &database,
        &partner,
        (3, JSON),
        "page_size => 50, writers => 3",
    );
    let row = run_well(&database, "cen", "auto");
    assert!(text(&row, "warnings").contains("more than once"), "{row:?}");
    assert!(transactions(&database) >= 12);
    assert_same(&database, &expected);
    assert_eq!(rejects(&database), rejects(&expected));
}

#[test]
fn a_file_is_loaded_fast_too() {
    let partner = partner(300);
    let expected = by_the_api(cluster(), &partner, 3, "");
    let database = cluster().database();
    add_source_with_file(&database, &partner, (3, JSON), "load => 'fast'");
    let row = run_well(&database, "cen", "auto");
    assert_eq!(text(&row, "warnings"), "{}");
    assert_same(&database, &expected);
}

#[test]
fn a_plan_reads_the_file_and_writes_nothing() {
    let partner = partner(100);
    let database = cluster().database();
    add_source_with_file(&database, &partner, (3, JSON), "");
    ask_for_head(&file(&partner, JSON));
    partner.insert(&json!({})).expect("a new one");
    let plan = database.rows("SELECT * FROM gn_harvest.plan('cen')");
    let read = &plan[0];
    assert_eq!(
        (text(read, "action"), number(read, "records")),
        ("read", 100)
    );
    assert!(text(read, "detail").contains(JSON), "{read:?}");
    assert_eq!(
        database.number("SELECT count(*) FROM gn_synthese.synthese"),
        0
    );
    assert_eq!(database.rows("SELECT * FROM gn_harvest.slice"), []);
    assert!(text(&run_well(&database, "cen", "auto"), "read_from").contains(JSON));
}

#[test]
fn what_a_file_can_not_be_is_refused_at_once() {
    let partner = partner(10);
    let database = cluster().database();
    add_source(&database, "cen", &partner, 3, "");
    let set =
        |value: &str| format!("SELECT gn_harvest.alter_source('cen', bootstrap_url => '{value}')");
    for (value, error) in [
        ("ftp://gn.example.org/f.json", "it must begin with https://"),
        ("f.json", "it must begin with https://"),
        (
            "https://u:p@gn.example.org/f.json",
            "a user name or a password",
        ),
        ("https://gn.example.org/f.json?token=1", "a query"),
        ("https://gn.example.org/", "it names no file"),
        ("http://169.254.169.254/latest/f.json", "link-local"),
        ("", "it must begin with https://"),
    ] {
        let said = database.error(&set(value));
        assert!(said.contains(error), "{value}: {said}");
        let added = database.error(&format!(
            "SELECT gn_harvest.add_source('other', '{}', 3, bootstrap_url => '{value}')",
            partner.url()
        ));
        assert!(added.contains(error), "{value}: {added}");
    }
    database.run("SELECT gn_harvest.alter_source('cen', filters => '{\"cd_nom\": 1}')");
    for call in [
        set("https://gn.example.org/f.json"),
        format!(
            "SELECT gn_harvest.add_source('other', '{}', 3, filters => '{{\"cd_nom\": 1}}', bootstrap_url => 'https://gn.example.org/f.json')",
            partner.url()
        ),
    ] {
        let said = database.error(&call);
        assert!(
            said.contains("bootstrap_url and filters do not go together"),
            "{said}"
        );
    }
    database.run("SELECT gn_harvest.alter_source('cen', filters => '{}')");
    database.run(&set(" https://gn.example.org/é x.json "));
    assert_eq!(
        database.value("SELECT bootstrap_url FROM gn_harvest.source"),
        "https://gn.example.org/%C3%A9%20x.json"
    );
    let said =
        database.error("SELECT gn_harvest.alter_source('cen', filters => '{\"cd_nom\": 1}')");
    assert!(said.contains("do not go together"), "{said}");
    database.run("SELECT gn_harvest.alter_source('cen', clear => '{bootstrap_url}')");
    assert_eq!(
        database.value("SELECT bootstrap_url IS NULL FROM gn_harvest.source"),
        "t"
    );
}

#[test]
fn a_check_looks_at_the_file_and_finds_one_that_nobody_named() {
    let partner = partner(100);
    let database = cluster().database();
    let account = ("moissonneur", "moissonneur");
    add_source_by_login(&database, "cen", &partner, 3, account, "");
    let check =
        "SELECT status, detail, hint FROM gn_harvest.check_source('cen') WHERE \"check\" = 'file'";
    let found = database.row(check);
    assert_eq!(text(&found, "status"), "ok");
    let address = file(&partner, JSON);
    assert!(text(&found, "detail").contains(&address), "{found:?}");
    let hint = text(&found, "hint");
    assert!(
        hint.contains(&format!("bootstrap_url => '{address}'")),
        "{found:?}"
    );
    database.run(hint.split_once(';').expect("a call").0);
    let looked = database.row(check);
    assert_eq!(text(&looked, "status"), "ok");
    for part in [
        &address,
        "JSON",
        " MB, written ",
        "the first 100 records are understood",
    ] {
        assert!(text(&looked, "detail").contains(part), "{part}: {looked:?}");
    }
    partner.tamper(partner.ids()[0], "cd_nom", Some("\"beaucoup\""));
    partner.publish_files();
    let looked = database.row(check);
    assert_eq!(text(&looked, "status"), "warning");
    assert!(
        text(&looked, "detail").contains("1 of the first 100"),
        "{looked:?}"
    );
    run_well(&database, "cen", "auto");
    let done = database.row(check);
    assert!(text(&done, "detail").contains("no more read"), "{done:?}");
    // Once everything was read, a file is of no use any more; a partner without one says nothing.
    database.run("SELECT gn_harvest.alter_source('cen', clear => '{bootstrap_url}')");
    assert_eq!(database.rows(check), []);
    let other = cluster().database();
    add_source(&other, "cen", &partner, 3, "");
    assert_eq!(
        other.rows(check),
        [],
        "a token does not tell the label of the export"
    );
}

/// A server of one file of `count` records, each of some 5 000 bytes, made while it is sent.
fn large_file(count: usize) -> (String, u64) {
    use std::io::{BufWriter, Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/large.json", listener.local_addr().expect("it"));
    let filler = "x".repeat(5000);
    // The same keys come again and again: most records are there already, and the test is short.
    let record = move |n: usize| {
        format!(
            "{{\"id\": {:06}, \"filler\": \"{filler}\"}}",
            100_000 + n % 2000
        )
    };
    let length = (count * (record(0).len() + 1) + 1) as u64;
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let record = record.clone();
            std::thread::spawn(move || -> std::io::Result<()> {
                let mut stream = stream?;
                let mut request = [0; 4096];
                let _ = stream.read(&mut request)?;
                let mut out = BufWriter::with_capacity(1 << 20, stream);
                write!(
                    out,
                    "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nETag: \"large\"\r\nLast-Modified: Mon, 23 Nov 2026 02:00:00 GMT\r\nConnection: close\r\n\r\n"
                )?;
                for n in 0..count {
                    out.write_all(if n == 0 { b"[" } else { b"," })?;
                    out.write_all(record(n).as_bytes())?;
                }
                out.write_all(b"]")?;
                out.flush()
            });
        }
    });
    (url, length)
}

/// What a process has in memory for itself, in MB. The buffers that all share are not in it: as private pages they would
/// be, as long as no other process has touched them.
fn own_memory(pid: i64) -> i64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Anonymous:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<i64>().ok());
    kilobytes.unwrap_or(0) / 1024
}

#[test]
fn memory_does_not_grow_with_the_file() {
    let (url, length) = large_file(60_000);
    assert!(length > 300_000_000);
    let export = AnyExport::start("id", &["{\"id\": 100000, \"filler\": \"x\"}"]);
    let database = cluster().empty_database();
    database.run(&format!(
        "CREATE EXTENSION gn_harvest;
         SELECT gn_harvest.add_source('cen', '{}', 1, target => 'records', bootstrap_url => '{url}')",
        export.url
    ));
    let run = start(&database, "cen", "auto");
    let (mut most, mut looks) = (0, 0);
    let working = "SELECT pid FROM gn_harvest.run_progress WHERE done > 0";
    while text(&history(&database, run), "status") == "running" {
        for row in database.rows(working) {
            most = most.max(own_memory(number(&row, "pid")));
            looks += 1;
        }
    }
    let row = ended(&database, run);
    assert_eq!(text(&row, "status"), "succeeded", "{row:?}");
    assert_eq!(
        (number(&row, "fetched"), number(&row, "inserted")),
        (60_000, 2000)
    );
    assert!(number(&row, "bytes") >= length as i64);
    assert!(
        looks > 5 && most > 0 && most < 200,
        "{most} MB in {looks} looks"
    );
}

/// Where the API's page would be no JSON at all, one record of a file is refused, and the others are written.
#[test]
fn a_record_that_is_no_json_or_too_long_is_refused_and_no_other() {
    for writers in [1, 2] {
        let partner = partner(600);
        let database = small_records().database();
        let ids = partner.ids();
        partner.tamper(ids[200], "nom_cite", Some("tru"));
        partner.tamper(ids[300], "nom_cite", Some("\"a\\u0000b\""));
        partner.tamper(
            ids[400],
            "comment_releve",
            Some(&format!("\"{}\"", "x".repeat(2_000_000))),
        );
        partner.tamper(
            ids[500],
            "comment_releve",
            Some(&format!("{}{}", "[".repeat(1000), "]".repeat(1000))),
        );
        partner.tamper(ids[500], "nom_cite", None);
        let options = format!("page_size => 50, writers => {writers}");
        add_source_with_file(&database, &partner, (3, JSON), &options);
        let row = run_well(&database, "cen", "auto");
        assert_eq!(number(&row, "fetched"), 600);
        let refused = database.rows(
            "SELECT reason, left(payload::text, 60) AS payload FROM gn_harvest.rejected_record ORDER BY 2",
        );
        let reasons: Vec<&str> = refused.iter().map(|row| text(row, "reason")).collect();
        assert_eq!(
            reasons,
            ["bad_json", "bad_json", "missing_field"],
            "{refused:#?}"
        );
        assert_eq!(number(&row, "inserted"), 597, "{row:?}");
    }
}

/// A cluster where a record, as an answer, may have 1 MB, and batches are small.
fn small_records() -> &'static Cluster {
    static CLUSTER: std::sync::OnceLock<Cluster> = std::sync::OnceLock::new();
    CLUSTER.get_or_init(|| {
        let settings = [
            ("gn_harvest.max_body", "1MB"),
            ("gn_harvest.batch_size", "100"),
        ];
        let cluster = Cluster::temporary(&settings);
        cluster.stop_at_exit();
        cluster
    })
}
