//! The partner's clock: ahead, behind, in another zone, set back or corrected. The watermark is the source's own.

use geonature_simulator::Simulator;
use gn_harvest_outside::{Database, Row};
use serde_json::json;

use crate::support::*;

const HOUR: i64 = 3600;

fn connected(observations: u32) -> (Database<'static>, Simulator) {
    let partner = partner(observations);
    let database = cluster().database();
    add_source(&database, "cen", &partner, 3, "");
    (database, partner)
}

fn watermark(database: &Database) -> String {
    database.value("SELECT watermark FROM gn_harvest.source_status")
}

/// Changes an observation by the partner's clock, and returns the date that this left.
fn change(partner: &Simulator, at: usize, place: &str) -> String {
    let id = partner.ids()[at];
    partner
        .update(id, &json!({"nom_lieu": place}))
        .expect("a change");
    let truth = partner.observation(id).expect("an observation");
    truth["derniere_action"]
        .as_str()
        .expect("a date")
        .to_owned()
}

/// An incremental run that has to bring so many changes.
fn brings(database: &Database, partner: &Simulator, changes: i64) -> Row {
    let row = run_well(database, "cen", "auto");
    assert_eq!(text(&row, "mode"), "incremental");
    assert_eq!(
        number(&row, "updated") + number(&row, "inserted"),
        changes,
        "{row:?}"
    );
    assert_nothing_lost(database, partner);
    row
}

#[test]
fn a_wrong_clock_or_another_zone_at_the_partner_loses_nothing() {
    for (offset, zone) in [(3, 0), (-3, 0), (0, 11), (0, -10), (3, 11), (-3, -10)] {
        let (database, partner) = connected(40);
        partner.set_clock(offset * HOUR, zone * HOUR);
        let first = change(&partner, 3, "Avant");
        run_well(&database, "cen", "auto");
        // As the source wrote it, to the last digit.
        assert_eq!(watermark(&database), first, "{offset} {zone}");
        let second = change(&partner, 4, "Après");
        brings(&database, &partner, 1);
        assert_eq!(watermark(&database), second, "{offset} {zone}");
        partner.insert(&json!({})).expect("an insertion");
        let third = change(&partner, 3, "Encore");
        brings(&database, &partner, 2);
        assert_eq!(watermark(&database), third, "{offset} {zone}");
        // Read again for the look-back, and nothing to do.
        let row = brings(&database, &partner, 0);
        assert!(number(&row, "unchanged") >= 3, "{row:?}");
    }
}

#[test]
fn a_clock_that_was_ahead_and_is_corrected_loses_nothing() {
    let (database, partner) = connected(40);
    partner.set_clock(3 * HOUR, 0);
    change(&partner, 3, "Avant");
    run_well(&database, "cen", "auto");
    let ahead = change(&partner, 4, "En avance");
    brings(&database, &partner, 1);
    partner.set_clock(0, 0);
    let corrected = change(&partner, 5, "À l'heure");
    assert!(corrected < ahead);
    brings(&database, &partner, 1);
    // It does not go back: what is dated after it would be asked for again and again.
    assert_eq!(watermark(&database), ahead);
    partner.insert(&json!({})).expect("an insertion");
    brings(&database, &partner, 1);
}

#[test]
fn the_night_when_clocks_are_set_back_loses_nothing() {
    let (database, partner) = connected(40);
    // 02:59 in summer time, a minute later it is 02:00 in winter time.
    partner.set_clock(0, 2 * HOUR);
    change(&partner, 3, "Heure d'été");
    run_well(&database, "cen", "auto");
    let summer = change(&partner, 4, "02:59");
    brings(&database, &partner, 1);
    partner.set_clock(0, HOUR);
    let winter = change(&partner, 5, "02:00");
    assert!(winter < summer);
    brings(&database, &partner, 1);
    change(&partner, 6, "02:01");
    brings(&database, &partner, 1);
}

#[test]
fn a_correction_larger_than_the_usual_look_back_is_a_matter_of_settings() {
    let (database, partner) = connected(40);
    database.run("SELECT gn_harvest.alter_source('cen', look_back => '8 hours')");
    partner.set_clock(7 * HOUR, 0);
    change(&partner, 3, "Avant");
    run_well(&database, "cen", "auto");
    partner.set_clock(0, 0);
    change(&partner, 5, "À l'heure");
    let row = brings(&database, &partner, 1);
    assert_ne!(text(&row, "watermark_from"), text(&row, "watermark"));
}

#[test]
fn a_date_in_a_distant_future_never_moves_the_watermark() {
    let (database, partner) = connected(40);
    let usual = change(&partner, 3, "Aujourd'hui");
    let dated = |at: usize, date: &str, place: &str| {
        let id = partner.ids()[at];
        partner
            .update(id, &json!({"nom_lieu": place, "derniere_action": date}))
            .expect("a change");
    };
    dated(7, "2099-12-31 23:59:59", "Un autre siècle");
    run_well(&database, "cen", "auto");
    assert_eq!(watermark(&database), usual);
    assert_nothing_lost(&database, &partner);
    // Not in an incremental run either, and what is dated then comes all the same.
    dated(8, "2099-06-01 00:00:00", "Un autre encore");
    brings(&database, &partner, 1);
    assert_eq!(watermark(&database), usual);
    let next = change(&partner, 9, "Demain");
    brings(&database, &partner, 1);
    assert_eq!(watermark(&database), next);
    dated(7, "2099-12-31 23:59:59", "Toujours là-bas");
    brings(&database, &partner, 1);
}

#[test]
fn what_is_read_again_for_the_look_back_costs_nothing_in_the_target() {
    let (database, partner) = connected(200);
    run_well(&database, "cen", "auto");
    partner
        .update_many(&partner.ids()[..150], &json!({"nom_lieu": "Récent"}))
        .expect("a change");
    brings(&database, &partner, 150);
    let written = "SELECT string_agg(concat_ws(' ', relid::regclass, n_tup_ins, n_tup_upd, n_tup_del), E'\\n' ORDER BY relid::regclass::text)
                   FROM pg_stat_user_tables WHERE schemaname IN ('gn_synthese', 'gn_meta', 'utilisateurs', 'gn_sensitivity') OR relid = 'gn_harvest.harvested'::regclass";
    let before = database.value(written);
    assert!(before.contains("synthese 200 350 0"), "{before}");
    for _ in 0..2 {
        let row = brings(&database, &partner, 0);
        assert_eq!(number(&row, "unchanged"), number(&row, "fetched"));
        assert!(number(&row, "fetched") >= 150, "{row:?}");
    }
    assert_eq!(database.value(written), before);
}
