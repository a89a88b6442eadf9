//! Rules of alerts: each opens one alert for its source, sees it again, and resolves it when the cause is gone.

use gn_harvest_outside::Database;
use serde_json::json;

use crate::people::*;
use crate::support::*;

/// Rules with an open alert, with how often each was seen: `failing:1 run_failed:3`.
fn open(database: &Database) -> String {
    database.value(
        "SELECT string_agg(rule || ':' || occurrences, ' ' ORDER BY rule) FROM gn_harvest.open_alert",
    )
}

fn message(database: &Database, rule: &str, language: &str) -> String {
    let mut session = database.connect();
    session
        .batch_execute(&format!("SET gn_harvest.language = '{language}'"))
        .expect("a language");
    let rows = gn_harvest_outside::rows(
        &mut session,
        &format!("SELECT message FROM gn_harvest.open_alert WHERE rule = '{rule}'"),
    );
    assert_eq!(rows.len(), 1, "{rule}: {rows:?}");
    text(&rows[0], "message").to_owned()
}

/// What the scheduler would do when it comes by.
fn look(database: &Database) {
    database.run("SELECT gn_harvest.send_alerts()");
}

#[test]
fn failures_open_one_alert_each_that_the_next_success_resolves() {
    let database = cluster().database();
    let partner = partner(30);
    add_source(
        &database,
        "cen",
        &partner,
        3,
        "retry_budget => 0, pause_after_failures => 4",
    );
    breakdown(&partner);
    let expected = [
        "run_failed:1",
        "run_failed:2",
        "failing:1 run_failed:3",
        "failing:2 run_failed:4 source_paused:1",
    ];
    for open_now in expected {
        assert_eq!(text(&run(&database, "cen", "auto"), "status"), "failed");
        assert_eq!(open(&database), open_now);
    }
    let row = database.row("SELECT a.*, h.error_message FROM gn_harvest.open_alert a JOIN gn_harvest.run_history h USING (run) WHERE rule = 'run_failed'");
    assert_eq!(text(&row, "severity"), "warning");
    assert_eq!(text(&row, "source"), "cen");
    assert_eq!(
        number(&row, "run"),
        database.number("SELECT max(run) FROM gn_harvest.run_history")
    );
    assert!(text(&row, "last_seen_at") > text(&row, "opened_at"));
    let error = text(&row, "error_message");
    assert_eq!(
        message(&database, "run_failed", "fr"),
        format!("La dernière moisson a échoué : {error}")
    );
    assert_eq!(
        message(&database, "failing", "en"),
        format!("4 runs in a row have failed. Last error: {error}")
    );
    assert_eq!(
        database.value("SELECT severity FROM gn_harvest.open_alert WHERE rule = 'source_paused'"),
        "critical"
    );
    // Resumed: it is no longer paused, and still failing.
    partner.clear_faults();
    database.run("SELECT gn_harvest.resume_source('cen')");
    assert_eq!(open(&database), "failing:2 run_failed:4");
    run_well(&database, "cen", "auto");
    assert_eq!(open(&database), "");
    assert_eq!(
        database
            .number("SELECT count(*) FROM gn_harvest.alert_history WHERE resolved_at >= opened_at"),
        3
    );
    // The next time it is another alert.
    breakdown(&partner);
    run(&database, "cen", "auto");
    assert_eq!(open(&database), "run_failed:1");
}

#[test]
fn refused_credentials_and_a_lost_export_are_named_instead_of_a_mere_failure() {
    let database = cluster().database();
    let partner = partner(30);
    add_source(&database, "cen", &partner, 3, "");
    run_well(&database, "cen", "auto");
    breakdown(&partner);
    database.run("SELECT gn_harvest.alter_source('cen', retry_budget => 0)");
    let failed = run(&database, "cen", "auto");
    assert_eq!(open(&database), "run_failed:1", "{failed:#?}");
    partner.clear_faults();
    database.run("SELECT gn_harvest.set_credentials('cen', token => 'not-the-token')");
    run(&database, "cen", "auto");
    assert_eq!(open(&database), "credentials_refused:1");
    let told = message(&database, "credentials_refused", "fr");
    assert!(
        told.starts_with("Le partenaire refuse l'identifiant ou le jeton : "),
        "{told}"
    );
    database.run(&format!(
        "SELECT gn_harvest.set_credentials('cen', token => '{}')",
        partner.token(3).expect("a token")
    ));
    run_well(&database, "cen", "auto");
    assert_eq!(open(&database), "");
    database.run("SELECT gn_harvest.alter_source('cen', export_id => 99)");
    let failed = run(&database, "cen", "auto");
    assert_eq!(text(&failed, "error_sqlstate"), "42704", "{failed:?}");
    assert_eq!(open(&database), "export_gone:1");
    database.run("SELECT gn_harvest.alter_source('cen', export_id => 3)");
    run_well(&database, "cen", "auto");
    assert_eq!(open(&database), "");
    // The same SQLSTATE from this side is none of the partner's.
    let owner = role(&database, "owner");
    database.run(&format!(
        "SELECT gn_harvest.alter_source('cen', owner => '{owner}'); DROP ROLE {owner}"
    ));
    let failed = run(&database, "cen", "auto");
    assert_eq!(text(&failed, "error_sqlstate"), "42704", "{failed:?}");
    assert_eq!(open(&database), "run_failed:1");
}

#[test]
fn an_empty_export_succeeds_deletes_nothing_and_keeps_the_watermark() {
    let database = cluster().database();
    let partner = partner(40);
    add_source(&database, "cen", &partner, 3, "max_loss => 100");
    run_well(&database, "cen", "auto");
    let state = "SELECT concat_ws(' ', watermark, watermark_column, deletion_watermark, export_columns, observations, last_full_at) FROM gn_harvest.source_state";
    let before = database.value(state);
    partner.delete_silently(&partner.ids());
    for mode in ["auto", "full"] {
        let emptied = run_well(&database, "cen", mode);
        assert_eq!(
            (
                number(&emptied, "fetched"),
                number(&emptied, "deleted"),
                number(&emptied, "source_total")
            ),
            (0, 0, 0)
        );
        assert!(
            text(&emptied, "warnings").contains("the export is empty"),
            "{emptied:?}"
        );
        assert_eq!(database.value(state), before);
    }
    assert_eq!(open(&database), "empty_export:2");
    assert_eq!(
        message(&database, "empty_export", "fr"),
        "L'export est vide. Les 40 observations qui en venaient sont gardées."
    );
    // Not even a source that lets everything be deleted loses it by that.
    let blocked = run(&database, "cen", "reconcile");
    assert_eq!(
        (text(&blocked, "status"), text(&blocked, "error_sqlstate")),
        ("blocked", "GH001"),
        "{blocked:#?}"
    );
    assert_eq!(
        database.number("SELECT count(*) FROM gn_synthese.synthese"),
        40
    );
    assert_eq!(database.value(state), before);
    assert_eq!(open(&database), "empty_export:3 loss_guard:1");
    let allowed =
        database.row("SELECT * FROM gn_harvest.run('cen', 'reconcile', allow_loss => true)");
    assert_eq!(
        (text(&allowed, "status"), number(&allowed, "deleted")),
        ("succeeded", 40),
        "{allowed:#?}"
    );
    assert_eq!(open(&database), "empty_export:4");
    partner.insert(&json!({})).expect("an observation");
    run_well(&database, "cen", "auto");
    assert_eq!(
        open(&database),
        "volume_drop:1",
        "no longer empty, far from what it was"
    );
    assert_eq!(
        database.number("SELECT count(*) FROM gn_synthese.synthese"),
        1
    );
}

#[test]
fn an_export_that_was_always_empty_is_said_and_a_reconciliation_of_it_is_not_blocked() {
    let database = cluster().database();
    let partner = partner(0);
    add_source(&database, "cen", &partner, 3, "");
    run_well(&database, "cen", "auto");
    let again = run_well(&database, "cen", "reconcile");
    assert!(
        text(&again, "warnings").contains("the export is empty"),
        "{again:?}"
    );
    assert_eq!(open(&database), "empty_export:2");
}

#[test]
fn far_fewer_records_than_usual_are_said() {
    let database = cluster().database();
    let partner = partner(100);
    add_source(&database, "cen", &partner, 3, "");
    for _ in 0..3 {
        run_well(&database, "cen", "full");
    }
    partner.delete_silently(&partner.ids()[..60]);
    run_well(&database, "cen", "full");
    assert_eq!(
        message(&database, "volume_drop", "en"),
        "The export gave 40 records; usually it gives 100."
    );
    // What an incremental run is told counts too.
    run_well(&database, "cen", "incremental");
    assert_eq!(open(&database), "volume_drop:2");
    database.run("SELECT gn_harvest.set_alert_rule('cen', 'volume_drop', threshold => 70)");
    run_well(&database, "cen", "full");
    assert_eq!(open(&database), "");
}

#[test]
fn a_blocked_run_is_an_alert_until_one_that_compares_goes_through() {
    let database = cluster().database();
    let partner = partner(50);
    add_source(&database, "cen", &partner, 3, "");
    run_well(&database, "cen", "auto");
    partner.delete_silently(&partner.ids()[..10]);
    assert_eq!(
        text(&run(&database, "cen", "reconcile"), "status"),
        "blocked"
    );
    assert_eq!(open(&database), "loss_guard:1");
    let told = message(&database, "loss_guard", "fr");
    assert!(
        told.starts_with("La source n'a plus 10 des 50 observations"),
        "{told}"
    );
    assert_eq!(
        database.value("SELECT severity FROM gn_harvest.open_alert"),
        "critical"
    );
    run_well(&database, "cen", "incremental");
    assert_eq!(open(&database), "loss_guard:1", "the cause is still there");
    database.run("SELECT gn_harvest.run('cen', 'reconcile', allow_loss => true)");
    assert_eq!(open(&database), "");
}

#[test]
fn rejects_missing_taxa_and_unknown_values_wait_for_a_decision() {
    let database = cluster().database();
    let partner = partner(100);
    for id in &partner.ids()[..10] {
        partner.tamper(*id, "cd_nom", Some("999999"));
    }
    partner
        .update(partner.ids()[20], &json!({"sexe": "Z'9\n<b>"}))
        .expect("a change");
    add_source(&database, "cen", &partner, 3, "");
    run_well(&database, "cen", "auto");
    assert_eq!(open(&database), "missing_taxa:1 rejects:1 unknown_values:1");
    assert_eq!(
        message(&database, "rejects", "fr"),
        "10 données sur 100 n'ont pas pu être écrites (10,0 %)."
    );
    assert_eq!(
        message(&database, "missing_taxa", "en"),
        "1 taxon is not in the local Taxref (10 records wait): 999999."
    );
    let told = message(&database, "unknown_values", "en");
    assert_eq!(
        told,
        "1 value that the local referentials do not know waits for a decision: id_nomenclature_sex = Z'9 <b>."
    );
    // A decision ends it without a run, at the next look.
    database.run("SELECT gn_harvest.map_value('cen', 'id_nomenclature_sex', E'Z''9\\n<b>', '3')");
    look(&database);
    assert_eq!(open(&database), "missing_taxa:1 rejects:1");
    database.run("SELECT gn_harvest.map_value('cen', 'cd_nom', '999999', '60577')");
    let retried = database.row("SELECT * FROM gn_harvest.retry_rejected('cen')");
    assert_eq!(number(&retried, "inserted"), 10, "{retried:?}");
    assert_eq!(open(&database), "");
    // Few of many are no alert.
    partner.tamper(partner.ids()[30], "cd_nom", Some("999998"));
    database.run("SELECT gn_harvest.set_alert_rule('cen', 'missing_taxa', enabled => false)");
    run_well(&database, "cen", "full");
    assert_eq!(open(&database), "");
}

#[test]
fn changed_columns_are_an_alert_until_someone_takes_note_and_frozen_ones_until_someone_agrees() {
    let database = cluster().database();
    let partner = partner(40);
    add_source(&database, "warned", &partner, 2, "");
    add_source(
        &database,
        "frozen",
        &partner,
        2,
        "contract => 'freeze', on_uuid_conflict => 'skip'",
    );
    run_well(&database, "warned", "auto");
    run_well(&database, "frozen", "auto");
    partner.drop_column(2, "sexe").expect("dropped");
    run_well(&database, "warned", "auto");
    assert_eq!(
        message(&database, "columns_changed", "fr"),
        "Les colonnes de l'export ont changé. Disparues : sexe."
    );
    run_well(&database, "warned", "auto");
    assert_eq!(
        open(&database),
        "columns_changed:1",
        "it stays until someone takes note"
    );
    partner.drop_column(2, "nom_lieu").expect("dropped");
    run_well(&database, "warned", "auto");
    assert_eq!(
        message(&database, "columns_changed", "en"),
        "The columns of the export have changed. Gone: nom_lieu."
    );
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.alert_history"),
        2,
        "another change is another alert"
    );
    database
        .run("SELECT gn_harvest.acknowledge_alert(id, 'vu avec eux') FROM gn_harvest.open_alert");
    assert_eq!(open(&database), "");
    let frozen = run(&database, "frozen", "auto");
    assert_eq!(text(&frozen, "error_sqlstate"), "42703");
    run(&database, "frozen", "auto");
    assert_eq!(open(&database), "columns_changed:2");
    let told = message(&database, "columns_changed", "en");
    assert!(
        told.ends_with("Gone: nom_lieu, sexe. Runs fail until accept_columns."),
        "{told}"
    );
    database.run("SELECT gn_harvest.acknowledge_alert(id) FROM gn_harvest.open_alert");
    assert_eq!(
        open(&database),
        "columns_changed:2",
        "taking note does not mend it"
    );
    database.run("SELECT gn_harvest.accept_columns('frozen')");
    run_well(&database, "frozen", "auto");
    assert_eq!(open(&database), "");
}

#[test]
fn late_data_are_said_of_a_source_that_has_a_threshold() {
    let database = cluster().database();
    let partner = partner(20);
    add_source(&database, "cen", &partner, 3, "");
    add_source(
        &database,
        "by hand",
        &partner,
        3,
        "on_uuid_conflict => 'skip'",
    );
    run_well(&database, "cen", "auto");
    run_well(&database, "by hand", "auto");
    database.run("UPDATE gn_harvest.source_state SET last_success_at = '2026-03-01 08:05'");
    database.run("SELECT gn_harvest.send_alerts()");
    assert_eq!(open(&database), "", "no schedule, no threshold of its own");
    database.run("SELECT gn_harvest.set_alert_rule('cen', 'data_late', threshold => 48)");
    look(&database);
    assert_eq!(open(&database), "data_late:1");
    assert_eq!(
        message(&database, "data_late", "fr"),
        "Aucune moisson n'a réussi depuis le 01/03/2026 à 08:05."
    );
    assert_eq!(
        message(&database, "data_late", "en"),
        "No run has succeeded since 2026-03-01 08:05."
    );
    assert_eq!(
        text(
            &database.row("SELECT run FROM gn_harvest.open_alert"),
            "run"
        ),
        ""
    );
    database.run("SELECT gn_harvest.set_alert_rule('cen', 'data_late', threshold => 1000000)");
    look(&database);
    assert_eq!(open(&database), "", "no longer late");
    database.run("SELECT gn_harvest.set_alert_rule('cen', 'data_late', threshold => 1)");
    look(&database);
    assert_eq!(open(&database), "data_late:1");
    run_well(&database, "cen", "auto");
    assert_eq!(open(&database), "");
}

#[test]
fn a_rule_is_set_for_all_and_for_one_and_switched_off() {
    let database = cluster().database();
    let partner = partner(30);
    for name in ["a", "b"] {
        add_source(
            &database,
            name,
            &partner,
            3,
            "retry_budget => 0, pause_after_failures => 100",
        );
    }
    breakdown(&partner);
    database.run("SELECT gn_harvest.set_alert_rule(NULL, 'failing', threshold => 1, severity => 'info'); SELECT gn_harvest.set_alert_rule('b', 'failing', threshold => 2)");
    run(&database, "a", "auto");
    run(&database, "b", "auto");
    let failing = "SELECT string_agg(source || ' ' || severity, ', ' ORDER BY source) FROM gn_harvest.open_alert WHERE rule = 'failing'";
    assert_eq!(database.value(failing), "a info");
    run(&database, "b", "auto");
    assert_eq!(database.value(failing), "a info, b info");
    let rule = |source: &str| {
        let row = database.row(&format!(
            "SELECT * FROM gn_harvest.alert_rules({source}) WHERE rule = 'failing'"
        ));
        format!(
            "{} {} {} {}",
            text(&row, "enabled"),
            text(&row, "severity"),
            text(&row, "threshold"),
            text(&row, "unit")
        )
    };
    assert_eq!(rule("'b'"), "t info 2 failed runs in a row");
    assert_eq!(rule("NULL"), "t info 1 failed runs in a row");
    // Off for one: its alert ends, the other's stays.
    database.run("SELECT gn_harvest.set_alert_rule('a', 'failing', enabled => false)");
    assert_eq!(database.value(failing), "b info");
    run(&database, "a", "auto");
    assert_eq!(database.value(failing), "b info");
    // As it was in the beginning.
    database.run("SELECT gn_harvest.set_alert_rule('a', 'failing'); SELECT gn_harvest.set_alert_rule('b', 'failing'); SELECT gn_harvest.set_alert_rule(NULL, 'failing')");
    assert_eq!(rule("'b'"), "t critical 3 failed runs in a row");
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.alert_rule"),
        0
    );
}

#[test]
fn an_alert_is_acknowledged_by_who_may_manage_its_source_and_seen_by_who_may_see_it() {
    let database = cluster().database();
    let partner = partner(20);
    let (mine, other, reader) = (
        role(&database, "mine"),
        role(&database, "other"),
        role(&database, "reader"),
    );
    database.run(&format!("SELECT gn_harvest.grant_operator('{mine}'); SELECT gn_harvest.grant_operator('{other}'); SELECT gn_harvest.grant_reader('{reader}')"));
    breakdown(&partner);
    as_role(
        &database,
        &mine,
        &format!(
            "SELECT gn_harvest.add_source('mine', '{}', 3, token => 'x', retry_budget => 0)",
            partner.url()
        ),
    );
    as_role(&database, &mine, "SELECT gn_harvest.run('mine')");
    let seen = |role: &str| {
        value_as(
            &database,
            role,
            "SELECT count(*) FROM gn_harvest.open_alert",
        )
    };
    assert_eq!(
        (seen(&mine), seen(&other), seen(&reader)),
        ("1".into(), "0".into(), "1".into())
    );
    let id = database.number("SELECT id FROM gn_harvest.open_alert");
    let error = error_as(
        &database,
        &other,
        &format!("SELECT gn_harvest.acknowledge_alert({id})"),
    );
    assert!(
        error.starts_with("42501: ") && error.contains("HINT: GRANT"),
        "{error}"
    );
    error_as(
        &database,
        &reader,
        &format!("SELECT gn_harvest.acknowledge_alert({id})"),
    );
    let error = error_as(
        &database,
        &mine,
        "SELECT gn_harvest.set_alert_rule(NULL, 'failing', enabled => false)",
    );
    assert!(error.starts_with("42501: "), "{error}");
    as_role(
        &database,
        &mine,
        &format!("SELECT gn_harvest.acknowledge_alert({id}, 'j''appelle l''équipe')"),
    );
    let row = database.row("SELECT * FROM gn_harvest.open_alert");
    assert_eq!(
        (
            text(&row, "acknowledged_by"),
            text(&row, "acknowledge_note")
        ),
        (mine.as_str(), "j'appelle l'équipe")
    );
    assert!(!text(&row, "acknowledged_at").is_empty());
    // Of a source that is dropped nothing is open; the history stays, for its owner too.
    database.run("SELECT gn_harvest.drop_source('mine')");
    assert_eq!(seen(&mine), "0");
    let kept = "SELECT source FROM gn_harvest.alert_history";
    assert_eq!(value_as(&database, &mine, kept), "mine");
    assert_eq!(value_as(&database, &reader, kept), "mine");
    assert_eq!(
        value_as(
            &database,
            &other,
            "SELECT count(*) FROM gn_harvest.alert_history"
        ),
        "0"
    );
    database.run(&format!(
        "DROP OWNED BY {mine}, {other}, {reader}; DROP ROLE {mine}, {other}, {reader}"
    ));
}

#[test]
fn two_sessions_that_raise_the_same_alert_open_one() {
    let database = cluster().database();
    database.run("SELECT gn_harvest.add_source('cen', 'https://geonature.example.org', 3)");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut session = database.connect();
                for _ in 0..20 {
                    session
                        .batch_execute("SELECT gn_harvest.raise_alert(id, NULL, 'run_failed', '{\"error\": \"x\"}', NULL) FROM gn_harvest.source")
                        .expect("raised");
                }
            });
        }
    });
    assert_eq!(open(&database), "run_failed:160");
}

#[test]
fn late_data_are_said_by_the_schedule_and_its_grace() {
    let cluster = gn_harvest_outside::Cluster::temporary(&[("gn_harvest.clock", "")]);
    let database = cluster.database();
    let partner = partner(20);
    add_source(
        &database,
        "cen",
        &partner,
        3,
        "schedule => 'daily 03:00', reconcile_schedule => 'monthly 1 03:00'",
    );
    run_well(&database, "cen", "auto");
    database.run("UPDATE gn_harvest.source_state SET last_success_at = '2026-11-24 03:10'");
    database.run("ALTER TABLE gn_harvest.source DISABLE TRIGGER USER; UPDATE gn_harvest.source SET altered_at = '2026-01-01'; ALTER TABLE gn_harvest.source ENABLE TRIGGER USER");
    let look_at = |time: &str| {
        database.run(&format!("ALTER SYSTEM SET gn_harvest.clock = '{time}'"));
        database.run("SELECT pg_reload_conf()");
        database.wait_until(
            60,
            &format!("SELECT gn_harvest.clock() = '{time}'::timestamptz"),
        );
        look(&database);
        open(&database)
    };
    // Promised for the 25th at three; the grace is a day.
    assert_eq!(look_at("2026-11-26 02:59:00+00"), "");
    assert_eq!(look_at("2026-11-26 03:01:00+00"), "data_late:1");
    database.run("SELECT gn_harvest.set_alert_rule('cen', 'data_late', threshold => 30)");
    assert_eq!(look_at("2026-11-26 03:01:00+00"), "");
    // What was altered lately has promised nothing yet.
    database.run("UPDATE gn_harvest.source SET altered_at = now()");
    database.run("SELECT gn_harvest.set_alert_rule('cen', 'data_late', threshold => 0)");
    assert_eq!(look_at("2026-11-25 00:00:00+00"), "");
}

#[test]
fn a_copy_of_a_database_tells_nobody_until_its_schedules_are_resumed() {
    let database = cluster().database();
    database.run("SELECT gn_harvest.add_source('cen', 'https://geonature.example.org', 3, schedule => 'daily 03:00')");
    database.run("SELECT gn_harvest.add_channel('x', 'notify', listen => 'x')");
    database.run(
        "SELECT gn_harvest.raise_alert(id, NULL, 'run_failed', '{}', NULL) FROM gn_harvest.source",
    );
    database.run("UPDATE gn_harvest.home SET place = '{\"elsewhere\": true}'");
    let sent = "SELECT sent FROM gn_harvest.send_alerts()";
    assert_eq!(database.number(sent), 0);
    database.run("SELECT gn_harvest.resume_schedules()");
    assert_eq!(database.number(sent), 1);
}
