//! Schedules as people give and read them; nothing runs here.

use crate::support::*;

#[test]
fn a_schedule_is_given_in_words_and_read_in_words_and_a_bad_one_shows_good_ones() {
    let database = cluster().database();
    database.run("SELECT gn_harvest.add_source('cen', 'https://geonature.example.org', 3, schedule => 'mensuelle le 1 à 03:00', reconcile_schedule => 'weekly sunday 04:00', schedule_jitter => '10 minutes')");
    let shown = |language: &str| {
        let row = database.rows(&format!(
            "SET gn_harvest.language = '{language}'; SELECT frequency FROM gn_harvest.source_status"
        ));
        text(row.last().expect("a row"), "frequency").to_owned()
    };
    assert_eq!(
        shown("fr"),
        "Mensuelle – Jour 01 ; réconciliation : hebdomadaire – Dimanche"
    );
    assert_eq!(
        shown("en"),
        "Monthly – Day 01; reconciliation: weekly – Sunday"
    );
    database.run("SELECT gn_harvest.alter_source('cen', schedule => 'manual', clear => '{reconcile_schedule}')");
    assert_eq!(shown("fr"), "Manuelle");
    for (setting, value) in [
        ("schedule", "'sometimes'"),
        ("reconcile_schedule", "'0 3 31 2 *'"),
        ("schedule", "''"),
    ] {
        let error = database.error(&format!(
            "SELECT gn_harvest.alter_source('cen', {setting} => {value})"
        ));
        assert!(
            error.starts_with(&format!("22023: {setting} is not understood"))
                && error.contains("HINT: Good ones are: 'manual', 'every 30 minutes'")
                && error.contains("monthly 1 03:00"),
            "{error}"
        );
    }
    let error =
        database.error("SELECT gn_harvest.alter_source('cen', schedule_jitter => '2 days')");
    assert!(error.contains("schedule_jitter must be"), "{error}");
    assert_eq!(
        database.value("SELECT gn_harvest.next_tick('daily 03:00', '2026-01-01 12:00+00') > '2026-01-01 12:00+00'"),
        "t"
    );
    // However it is written, manual is manual; a reconciliation that is manual is none.
    database.run("SELECT gn_harvest.alter_source('cen', schedule => ' Manuelle ', reconcile_schedule => 'manual')");
    let kept = "SELECT schedule || ' ' || (reconcile_schedule IS NULL) FROM gn_harvest.source";
    assert_eq!(database.value(kept), "manual true");
    database.run("SELECT gn_harvest.alter_source('cen', schedule => ' daily   03:00')");
    assert_eq!(database.value(kept), "daily 03:00 true");
}
