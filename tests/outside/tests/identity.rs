//! Which observation of the target a record is: by UUID first, then by its source and key; and what becomes of a UUID
//! that another source owns.

use geonature_simulator::{Config, Simulator};
use gn_harvest_outside::{Database, Row};
use serde_json::json;

use crate::support::*;
use crate::truth;
use crate::writers::small_batches;

const ONE: &str = "0f6d1c1e-5a51-4c7b-9d0f-3e1f6b1c0001";
const TWO: &str = "0f6d1c1e-5a51-4c7b-9d0f-3e1f6b1c0002";
const THREE: &str = "0f6d1c1e-5a51-4c7b-9d0f-3e1f6b1c0003";

fn harvested(observations: u32) -> (Database<'static>, Simulator) {
    let database = cluster().database();
    let partner = partner(observations);
    add_source(&database, "cen", &partner, 3, "");
    run_well(&database, "cen", "full");
    (database, partner)
}

fn counts(row: &Row) -> [i64; 4] {
    ["inserted", "updated", "rejected", "skipped"].map(|column| number(row, column))
}

/// id_synthese of a record, by its key at the source.
fn here(database: &Database, id: i64) -> String {
    database.value(&format!(
        "SELECT max(id_synthese) FROM gn_synthese.synthese WHERE entity_source_pk_value = '{id}'"
    ))
}

fn set(partner: &Simulator, id: i64, values: serde_json::Value) {
    partner.update(id, &values).expect("a change");
}

/// Lineage and target tell the same story: a row each way, and as many as the source's status says.
fn assert_lineage_is_whole(database: &Database) {
    let broken = database.rows(
        "SELECT h.*, s.entity_source_pk_value, s.unique_id_sinp
         FROM gn_harvest.harvested h FULL JOIN gn_synthese.synthese s ON s.id_synthese = h.id_synthese
         WHERE s.id_synthese IS NULL OR h.id_synthese IS NULL
            OR h.source_key IS DISTINCT FROM s.entity_source_pk_value OR h.uuid IS DISTINCT FROM s.unique_id_sinp",
    );
    assert!(broken.is_empty(), "{broken:#?}");
    let counted = database.rows(
        "SELECT source, observations, (SELECT count(*) FROM gn_synthese.synthese s JOIN gn_synthese.t_sources t USING (id_source)
                                       WHERE t.name_source = source) AS held
         FROM gn_harvest.source_status",
    );
    for row in counted {
        assert_eq!(
            number(&row, "observations"),
            number(&row, "held"),
            "{row:?}"
        );
    }
}

#[test]
fn records_without_uuid_are_kept_and_matched_on_their_key() {
    let (database, partner) = harvested(60);
    let id = partner
        .insert(&json!({"id_perm_sinp": null, "nom_lieu": "avant"}))
        .expect("one without UUID");
    assert_eq!(counts(&run_well(&database, "cen", "auto")), [1, 0, 0, 0]);
    let row = here(&database, id);
    set(&partner, id, json!({"nom_lieu": "après"}));
    assert_eq!(counts(&run_well(&database, "cen", "auto")), [0, 1, 0, 0]);
    assert_eq!(counts(&run_well(&database, "cen", "full")), [0, 0, 0, 0]);
    assert_eq!(here(&database, id), row);
    truth::assert_equal(&database, "cen", &partner, 3);
    assert_lineage_is_whole(&database);
}

#[test]
fn a_uuid_that_is_given_later_changed_or_taken_away_stays_the_same_observation() {
    let (database, partner) = harvested(60);
    let id = partner
        .insert(&json!({"id_perm_sinp": null}))
        .expect("one without UUID");
    run_well(&database, "cen", "auto");
    let row = here(&database, id);
    for uuid in [json!(ONE), json!(TWO), json!(null), json!(ONE)] {
        set(&partner, id, json!({"id_perm_sinp": uuid}));
        assert_eq!(counts(&run_well(&database, "cen", "auto")), [0, 1, 0, 0]);
        truth::assert_equal(&database, "cen", &partner, 3);
        assert_eq!(here(&database, id), row);
    }
    assert_lineage_is_whole(&database);
}

#[test]
fn a_key_that_changed_with_the_same_uuid_is_the_same_observation() {
    let (database, partner) = harvested(60);
    let id = partner.insert(&json!({"id_perm_sinp": ONE})).expect("one");
    run_well(&database, "cen", "auto");
    let row = here(&database, id);
    set(&partner, id, json!({"id_synthese": 500_000}));
    assert_eq!(counts(&run_well(&database, "cen", "auto")), [0, 1, 0, 0]);
    assert_eq!(here(&database, 500_000), row);
    assert_eq!(here(&database, id), "");
    // The old key is free for another.
    partner
        .insert(&json!({"id_synthese": id, "id_perm_sinp": TWO}))
        .expect("another under the old key");
    assert_eq!(counts(&run_well(&database, "cen", "auto")), [1, 0, 0, 0]);
    truth::assert_equal(&database, "cen", &partner, 3);
    assert_lineage_is_whole(&database);
}

#[test]
fn two_records_that_swap_their_uuids_or_pass_them_on_keep_their_rows() {
    let (database, partner) = harvested(60);
    let first = partner.insert(&json!({"id_perm_sinp": ONE})).expect("one");
    let second = partner.insert(&json!({"id_perm_sinp": TWO})).expect("two");
    run_well(&database, "cen", "auto");
    let (row_one, row_two) = (here(&database, first), here(&database, second));
    set(&partner, first, json!({"id_perm_sinp": TWO}));
    set(&partner, second, json!({"id_perm_sinp": ONE}));
    assert_eq!(counts(&run_well(&database, "cen", "auto")), [0, 2, 0, 0]);
    truth::assert_equal(&database, "cen", &partner, 3);
    assert_eq!(
        (here(&database, second), here(&database, first)),
        (row_one.clone(), row_two)
    );
    assert_lineage_is_whole(&database);

    // ONE goes from the second to the first, whose own TWO is given up; the second gets a new one.
    set(
        &partner,
        first,
        json!({"id_perm_sinp": ONE, "nom_lieu": "un"}),
    );
    set(
        &partner,
        second,
        json!({"id_perm_sinp": THREE, "nom_lieu": "deux"}),
    );
    assert_eq!(counts(&run_well(&database, "cen", "auto")), [1, 1, 0, 0]);
    let written = |uuid: &str| {
        database.value(&format!(
            "SELECT entity_source_pk_value || ' ' || place_name FROM gn_synthese.synthese WHERE unique_id_sinp = '{uuid}'"
        ))
    };
    assert_eq!(written(ONE), format!("{first} un"));
    assert_eq!(written(THREE), format!("{second} deux"));
    let row = run_well(&database, "cen", "full");
    assert_eq!(counts(&row), [0, 0, 0, 0], "{row:#?}");
    // What had TWO is no record any more; nobody has said that it was deleted.
    assert_eq!(
        database.number("SELECT count(*) FROM gn_synthese.synthese"),
        63
    );
}

#[test]
fn two_records_of_a_source_with_the_same_uuid_are_one_observation_and_one_conflict() {
    let (database, partner) = harvested(60);
    let first = *partner
        .ids()
        .iter()
        .find(|id| !partner.observation(**id).expect("it")["id_perm_sinp"].is_null())
        .expect("one with a UUID");
    let uuid = partner.observation(first).expect("it")["id_perm_sinp"].clone();
    let second = partner
        .insert(&json!({"id_perm_sinp": uuid}))
        .expect("a copy of it");
    assert_eq!(counts(&run_well(&database, "cen", "full")), [0, 0, 1, 0]);
    let conflict = database.row("SELECT * FROM gn_harvest.uuid_conflict");
    assert_eq!(text(&conflict, "source_key"), second.to_string());
    assert_eq!(text(&conflict, "uuid"), uuid);
    assert_eq!(text(&conflict, "reason"), "duplicate_uuid");
    assert_eq!(text(&conflict, "owner"), first.to_string());
    // It is still so when only the copy comes: the row does not go from one record to the other.
    set(&partner, second, json!({"nom_lieu": "copie"}));
    let row = run_well(&database, "cen", "incremental");
    assert_eq!(counts(&row), [0, 0, 1, 0]);
    let row = database.row("SELECT * FROM gn_harvest.retry_rejected('cen')");
    assert_eq!(counts(&row), [0, 0, 1, 0]);
    assert_ne!(here(&database, first), "");
    assert_eq!(here(&database, second), "");
    assert_eq!(counts(&run_well(&database, "cen", "full")), [0, 0, 1, 0]);
    assert_lineage_is_whole(&database);
    // The partner gives it one of its own.
    set(&partner, second, json!({"id_perm_sinp": TWO}));
    assert_eq!(counts(&run_well(&database, "cen", "auto")), [1, 0, 0, 0]);
    truth::assert_equal(&database, "cen", &partner, 3);
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.uuid_conflict"),
        0
    );
}

/// A record is here, and a copy with its UUID was rejected; then the partner numbers the record anew, behind the copy and
/// `between` others, so that the copy comes first: it takes nothing from the record, now or later.
fn numbered_anew_behind_its_copy(database: &Database, partner: &Simulator, between: usize) {
    let first = *partner
        .ids()
        .iter()
        .find(|id| !partner.observation(**id).expect("it")["id_perm_sinp"].is_null())
        .expect("one with a UUID");
    let uuid = partner.observation(first).expect("it")["id_perm_sinp"].clone();
    let copy = partner
        .insert(&json!({"id_perm_sinp": uuid}))
        .expect("a copy of it");
    for _ in 0..between {
        partner.insert(&json!({})).expect("another one");
    }
    let row = run_well(database, "cen", "full");
    assert_eq!(counts(&row), [between as i64, 0, 1, 0]);
    let anew = copy + 1000;
    set(partner, first, json!({"id_synthese": anew}));
    for updated in [1, 0] {
        let row = run_well(database, "cen", "full");
        assert_eq!(counts(&row), [0, updated, 1, 0]);
        let conflict = database.row("SELECT * FROM gn_harvest.uuid_conflict");
        assert_eq!(text(&conflict, "source_key"), copy.to_string());
        assert_eq!(text(&conflict, "uuid"), uuid);
        if between == 0 || updated == 0 {
            assert_eq!(text(&conflict, "owner"), anew.to_string());
        }
        assert_ne!(here(database, anew), "");
        assert_eq!(here(database, copy), "");
        assert_lineage_is_whole(database);
    }
}

#[test]
fn a_copy_that_is_rejected_takes_nothing_from_a_record_of_its_batch_that_comes_after_it() {
    let (database, partner) = harvested(60);
    numbered_anew_behind_its_copy(&database, &partner, 0);
}

#[test]
fn a_copy_that_is_rejected_takes_nothing_from_a_record_of_a_later_batch() {
    let database = small_batches().database();
    let partner = partner(60);
    add_source(
        &database,
        "cen",
        &partner,
        3,
        "connections => 1, page_size => 50",
    );
    run_well(&database, "cen", "full");
    numbered_anew_behind_its_copy(&database, &partner, 150);
}

/// Two partners that hold the same 80 observations, and some of their own: 10 and 5.
fn two_partners(second_options: &str) -> (Database<'static>, Simulator, Simulator) {
    let database = cluster().database();
    let partner = |seed, id_offset, own| {
        let partner = partner_with(Config {
            observations: 80,
            seed,
            uuid_seed: Some(1),
            id_offset,
            ..Config::default()
        });
        for _ in 0..own {
            partner
                .insert(&json!({"id_perm_sinp": null}))
                .expect("one of its own");
        }
        partner
    };
    let (first, second) = (partner(1, 0, 10), partner(2, 10_000, 5));
    add_source(&database, "premier", &first, 3, "priority => 50");
    add_source(&database, "second", &second, 3, second_options);
    run_well(&database, "premier", "full");
    (database, first, second)
}

/// How many UUIDs of a partner are in the target already.
fn in_common(database: &Database, partner: &Simulator) -> i64 {
    truth::load(database, partner);
    let common = database.number(
        "SELECT count(*) FROM public.truth t JOIN gn_synthese.synthese s ON s.unique_id_sinp = (t.j ->> 'id_perm_sinp')::uuid",
    );
    assert!(common > 70);
    common
}

fn held_by(database: &Database, source: &str) -> i64 {
    database.number(&format!(
        "SELECT count(*) FROM gn_synthese.synthese JOIN gn_synthese.t_sources USING (id_source) WHERE name_source = '{source}'"
    ))
}

#[test]
fn a_uuid_of_another_source_is_rejected_by_default_and_shown() {
    let (database, first, second) = two_partners("priority => 100");
    let common = in_common(&database, &second);
    let row = run_well(&database, "second", "full");
    assert_eq!(counts(&row), [85 - common, 0, common, 0]);
    truth::assert_equal(&database, "premier", &first, 3);
    assert_eq!(held_by(&database, "premier"), 90);
    let conflicts = database.rows("SELECT * FROM gn_harvest.uuid_conflict");
    assert_eq!(conflicts.len() as i64, common);
    for conflict in &conflicts {
        assert_eq!(text(conflict, "source"), "second");
        assert_eq!(text(conflict, "owner"), "premier");
        assert_eq!(text(conflict, "reason"), "uuid_owned_by_other_source");
    }
    assert_lineage_is_whole(&database);
    // The collector decides otherwise: what waited is taken over without asking the partner.
    database.run("SELECT gn_harvest.alter_source('second', on_uuid_conflict => 'take_over')");
    second.clear_figures();
    let row = database.row("SELECT * FROM gn_harvest.retry_rejected('second')");
    assert_eq!(counts(&row), [0, common, 0, 0]);
    assert_eq!(second.figures().requests, 0);
    truth::assert_equal(&database, "second", &second, 3);
    assert_eq!(held_by(&database, "premier"), 90 - common);
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.uuid_conflict"),
        0
    );
}

#[test]
fn a_uuid_of_another_source_can_be_skipped_and_is_counted() {
    let (database, first, second) = two_partners("on_uuid_conflict => 'skip'");
    let common = in_common(&database, &second);
    for _ in 0..2 {
        let row = run_well(&database, "second", "full");
        assert_eq!(number(&row, "skipped"), common, "{row:#?}");
        assert_eq!(number(&row, "rejected"), 0);
    }
    truth::assert_equal(&database, "premier", &first, 3);
    assert_eq!(held_by(&database, "second"), 85 - common);
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.uuid_conflict"),
        0
    );
    assert_lineage_is_whole(&database);
}

#[test]
fn a_uuid_of_another_source_can_be_taken_over() {
    let (database, first, second) = two_partners("on_uuid_conflict => 'take_over'");
    let before = database.value("SELECT string_agg(id_synthese::text, ' ' ORDER BY id_synthese) FROM gn_synthese.synthese WHERE id_synthese <= 90 AND unique_id_sinp IS NOT NULL");
    let common = in_common(&database, &second);
    let row = run_well(&database, "second", "full");
    assert_eq!(counts(&row), [85 - common, common, 0, 0]);
    truth::assert_equal(&database, "second", &second, 3);
    // The same rows, of another source now.
    let after = database.value("SELECT string_agg(id_synthese::text, ' ' ORDER BY id_synthese) FROM gn_synthese.synthese WHERE id_synthese <= 90 AND unique_id_sinp IS NOT NULL");
    assert_eq!(after, before);
    assert_eq!(held_by(&database, "premier"), 90 - common);
    let of = |source: &str| {
        database.number(&format!(
            "SELECT observations FROM gn_harvest.source_status WHERE source = '{source}'"
        ))
    };
    assert_eq!((of("premier"), of("second")), (90 - common, 85));
    // The first, which rejects, does not take them back.
    let row = run_well(&database, "premier", "full");
    assert_eq!(counts(&row), [0, 0, common, 0]);
    truth::assert_equal(&database, "second", &second, 3);
    let row = run_well(&database, "second", "full");
    assert_eq!(number(&row, "unchanged"), 85, "{row:#?}");
    drop(first);
}

#[test]
fn a_uuid_of_another_source_goes_to_the_one_of_higher_priority() {
    for (priority, wins) in [(10, true), (90, false), (50, false)] {
        let (database, first, second) = two_partners(&format!(
            "on_uuid_conflict => 'priority', priority => {priority}"
        ));
        let common = in_common(&database, &second);
        let row = run_well(&database, "second", "full");
        let expected = if wins { (common, 0) } else { (0, common) };
        assert_eq!(
            (number(&row, "updated"), number(&row, "skipped")),
            expected,
            "{priority}"
        );
        if wins {
            truth::assert_equal(&database, "second", &second, 3);
        } else {
            truth::assert_equal(&database, "premier", &first, 3);
        }
    }
}

#[test]
fn what_is_local_is_never_taken_by_priority() {
    let database = cluster().database();
    let partner = partner(20);
    let uuid = partner.observation(partner.ids()[5]).expect("it")["id_perm_sinp"].clone();
    let uuid = uuid.as_str().expect("a UUID").to_owned();
    database.run(&format!(
        "INSERT INTO gn_synthese.synthese (unique_id_sinp, id_source, cd_nom, nom_cite, date_min, date_max, the_geom_4326)
         SELECT '{uuid}', id_source, 60577, 'locale', '2020-01-01', '2020-01-01', 'SRID=4326;POINT(5.6 45)'
         FROM gn_synthese.t_sources WHERE name_source = 'Occtax'"
    ));
    add_source(
        &database,
        "cen",
        &partner,
        3,
        "on_uuid_conflict => 'priority', priority => 1",
    );
    let row = run_well(&database, "cen", "full");
    assert_eq!((number(&row, "inserted"), number(&row, "skipped")), (19, 1));
    let cited = database.value(&format!(
        "SELECT nom_cite FROM gn_synthese.synthese WHERE unique_id_sinp = '{uuid}'"
    ));
    assert_eq!(cited, "locale");
}

#[test]
fn a_uuid_that_becomes_that_of_another_source_is_a_conflict_and_both_rows_stay() {
    let (database, first, second) = two_partners("on_uuid_conflict => 'skip'");
    run_well(&database, "second", "full");
    let uuid = first.observation(first.ids()[0]).expect("it")["id_perm_sinp"].clone();
    let own = *second.ids().last().expect("one without UUID");
    set(&second, own, json!({"id_perm_sinp": uuid}));
    let row = run_well(&database, "second", "auto");
    assert_eq!(number(&row, "rejected"), 1, "{row:#?}");
    let conflict = database.row("SELECT * FROM gn_harvest.uuid_conflict");
    assert_eq!(text(&conflict, "reason"), "identity_conflict");
    assert_eq!(text(&conflict, "source_key"), own.to_string());
    truth::assert_equal(&database, "premier", &first, 3);
    assert_ne!(here(&database, own), "");
}

#[test]
fn rows_of_an_earlier_installation_are_recognised_by_source_and_uuid() {
    let (database, partner) = harvested(60);
    // The lineage is lost: the extension was dropped, or the database restored without it.
    database.run(
        "DELETE FROM gn_harvest.harvested; UPDATE gn_harvest.source_state SET observations = 0",
    );
    let without =
        database.number("SELECT count(*) FROM gn_synthese.synthese WHERE unique_id_sinp IS NULL");
    let row = run_well(&database, "cen", "full");
    assert_eq!(
        (number(&row, "unchanged"), number(&row, "inserted")),
        (60 - without, without)
    );
    truth::assert_equal(&database, "cen", &partner, 3);
}
