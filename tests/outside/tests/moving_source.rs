//! A source that changes while it is read: once an incremental run has followed, nothing is lost.

use std::collections::BTreeSet;

use geonature_simulator::Simulator;
use gn_harvest_outside::Database;
use serde_json::json;

use crate::support::*;

const PAGE: &str = "page_size => 50, connections => 1";

/// Changes of every kind, in what has been read and in what has not.
fn stir(partner: &Simulator, round: i64) {
    let ids = partner.ids();
    let (read, unread) = (&ids[2..ids.len() / 6], &ids[ids.len() / 2..]);
    for (at, part) in [read, unread].into_iter().enumerate() {
        let place = json!({"nom_lieu": format!("Déplacé {round} {at}"), "nombre_min": round, "nombre_max": round});
        partner
            .update_many(&part[..part.len() / 4], &place)
            .expect("a change");
        partner
            .update(part[part.len() / 2], &json!({"id_perm_sinp": null}))
            .expect("a UUID taken away");
        assert_eq!(partner.delete(&part[part.len() - 3..]), 3);
    }
    // New ones: among the keys that were read, and after the last one.
    let gap = (read[0]..)
        .find(|id| !ids.contains(id))
        .expect("a key that is free");
    partner
        .insert(&json!({"id_synthese": gap, "nom_lieu": "Dans un trou"}))
        .expect("an insertion");
    for _ in 0..5 {
        partner
            .insert(&json!({"nom_lieu": "À la fin"}))
            .expect("an insertion");
    }
    // One that changes its key, from what has not been read to what has.
    let free = (gap + 1..)
        .find(|id| !partner.ids().contains(id))
        .expect("a key that is free");
    partner
        .update(unread[unread.len() / 2 + 1], &json!({"id_synthese": free}))
        .expect("another key");
}

#[test]
fn nothing_is_lost_of_a_source_that_changes_while_it_is_read() {
    for export in [3, 1] {
        let partner = partner(700);
        let database = cluster().database();
        add_source(&database, "cen", &partner, export, PAGE);
        partner.set_cost(0.1, 0.0);
        let run = start(&database, "cen", "full");
        for (round, windows) in [(1, 3), (2, 6), (3, 9)] {
            wait_until_asked(&partner, "filter_n_up_", windows);
            stir(&partner, round);
        }
        assert_eq!(text(&history(&database, run), "status"), "running");
        partner.set_cost(0.0, 0.0);
        let row = ended(&database, run);
        assert_eq!(text(&row, "status"), "succeeded", "{row:?}");
        run_well(&database, "cen", "incremental");
        assert_nothing_lost(&database, &partner);
        assert_eq!(
            database.number(
                "SELECT count(*) - count(DISTINCT entity_source_pk_value) FROM gn_synthese.synthese"
            ),
            0
        );
    }
}

#[test]
fn nothing_is_lost_of_a_source_that_changes_during_an_incremental_run() {
    let partner = partner(700);
    let database = cluster().database();
    add_source(&database, "cen", &partner, 3, PAGE);
    run_well(&database, "cen", "full");
    partner
        .update_many(
            &partner.ids(),
            &json!({"comment_occurrence": "Tout a changé"}),
        )
        .expect("a change");
    partner.clear_figures();
    partner.set_cost(0.1, 0.0);
    let run = start(&database, "cen", "incremental");
    for (round, windows) in [(1, 3), (2, 7)] {
        wait_until_asked(&partner, "orderby=id_synthese", windows);
        stir(&partner, round);
    }
    assert_eq!(text(&history(&database, run), "status"), "running");
    partner.set_cost(0.0, 0.0);
    let row = ended(&database, run);
    assert_eq!(text(&row, "status"), "succeeded", "{row:?}");
    run_well(&database, "cen", "incremental");
    assert_nothing_lost(&database, &partner);
}

/// A source whose export has no numeric key: it is read by page numbers.
fn textual(database: &Database, partner: &Simulator) {
    add_source(
        database,
        "cen",
        partner,
        9,
        &format!("{PAGE}, key_column => 'id_perm_sinp'"),
    );
    let taxon = database.value("SELECT min(cd_nom) FROM taxonomie.taxref");
    database.run(&format!(
        "SELECT gn_harvest.map_field('cen', 'cd_nom', constant => '{taxon}')"
    ));
}

/// The UUIDs of a partner's observations, in the order of the pages, with their keys.
fn by_uuid(partner: &Simulator) -> Vec<(String, i64)> {
    let mut list: Vec<(String, i64)> = partner
        .truth()
        .iter()
        .filter_map(|o| {
            Some((
                o["id_perm_sinp"].as_str()?.to_owned(),
                o["id_synthese"].as_i64()?,
            ))
        })
        .collect();
    list.sort();
    list
}

fn assert_no_uuid_lost(database: &Database, partner: &Simulator) {
    let here: BTreeSet<String> = database
        .rows("SELECT unique_id_sinp::text AS uuid, nom_cite FROM gn_synthese.synthese")
        .iter()
        .map(|row| format!("{} {}", text(row, "uuid"), text(row, "nom_cite")))
        .collect();
    for truth in partner.truth() {
        if let (Some(uuid), Some(name)) =
            (truth["id_perm_sinp"].as_str(), truth["nom_cite"].as_str())
        {
            assert!(here.contains(&format!("{uuid} {name}")), "{truth} is lost");
        }
    }
}

#[test]
fn an_export_without_numeric_key_that_grows_or_shrinks_meanwhile_is_read_again() {
    let partner = partner(500);
    let database = cluster().database();
    textual(&database, &partner);
    partner.set_cost(0.15, 0.0);
    let run = start(&database, "cen", "full");
    wait_until_asked(&partner, "offset=3", 1);
    // The pages behind shift: as many as were deleted would be passed over.
    let first: Vec<i64> = by_uuid(&partner)[..7].iter().map(|(_, id)| *id).collect();
    assert_eq!(partner.delete(&first), 7);
    partner.set_cost(0.0, 0.0);
    let row = ended(&database, run);
    assert_eq!(text(&row, "status"), "succeeded", "{row:?}");
    assert!(
        text(&row, "warnings").contains("it was read 2 times"),
        "{row:?}"
    );
    assert_no_uuid_lost(&database, &partner);
}

#[test]
fn an_export_without_numeric_key_in_which_one_comes_and_another_goes_is_read_again() {
    let partner = partner(500);
    let database = cluster().database();
    textual(&database, &partner);
    partner.set_cost(0.15, 0.0);
    let run = start(&database, "cen", "full");
    wait_until_asked(&partner, "offset=3", 1);
    // The count stays as it was.
    let first: Vec<i64> = by_uuid(&partner)[..7].iter().map(|(_, id)| *id).collect();
    assert_eq!(partner.delete(&first), 7);
    for last in 0..7 {
        partner
            .insert(&json!({"id_perm_sinp": format!("ffffffff-ffff-4fff-bfff-00000000000{last}")}))
            .expect("an insertion");
    }
    partner.set_cost(0.0, 0.0);
    let row = ended(&database, run);
    assert_eq!(text(&row, "status"), "succeeded", "{row:?}");
    assert_no_uuid_lost(&database, &partner);
    run_well(&database, "cen", "incremental");
    assert_no_uuid_lost(&database, &partner);
}

#[test]
fn an_incremental_run_by_page_numbers_loses_nothing_when_more_changes_meanwhile() {
    let partner = partner(500);
    let database = cluster().database();
    textual(&database, &partner);
    run_well(&database, "cen", "full");
    // Long before what changes during the run, so that a later run does not read them again for its look-back.
    let all = by_uuid(&partner);
    let (early, later): (Vec<_>, Vec<_>) = all.iter().enumerate().partition(|(at, _)| at % 2 == 0);
    for (_, (_, id)) in &early {
        partner
            .update(
                *id,
                &json!({"nom_cite": "Changé d'abord", "derniere_action": "2025-07-15 12:00:00"}),
            )
            .expect("a change");
    }
    partner
        .update(later[100].1.1, &json!({"nom_cite": "Changé la veille"}))
        .expect("a change");
    partner.clear_figures();
    partner.set_cost(0.15, 0.0);
    let run = start(&database, "cen", "incremental");
    wait_until_asked(&partner, "offset=2", 1);
    // Deletions pull the rest of the changed ones forward.
    let first: Vec<i64> = early[..7].iter().map(|(_, (_, id))| *id).collect();
    assert_eq!(partner.delete(&first), 7);
    partner.set_cost(0.0, 0.0);
    let row = ended(&database, run);
    assert_eq!(text(&row, "status"), "succeeded", "{row:?}");
    run_well(&database, "cen", "incremental");
    assert_no_uuid_lost(&database, &partner);
}
