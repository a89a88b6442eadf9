//! Dead letters: a record that cannot be written waits, whole and explained, while the others go in; it arrives once
//! its cause is mended, here or at the partner.

use geonature_simulator::{Config, Simulator};
use gn_harvest_outside::Database;
use serde_json::json;

use crate::support::*;

/// What is wrong with a record, and what the dead letter says of it.
struct Flaw {
    reason: &'static str,
    column: Option<&'static str>,
    value: Option<&'static str>,
    sqlstate: Option<&'static str>,
    /// Values that replace those of the record, as raw JSON.
    tampered: &'static [(&'static str, &'static str)],
    cure: Cure,
}

#[derive(Clone, Copy, PartialEq)]
enum Cure {
    /// The partner corrects its record.
    Partner,
    /// Something that is done in this database.
    Here(&'static str),
}

const fn flaw(
    reason: &'static str,
    column: &'static str,
    value: &'static str,
    tampered: &'static [(&'static str, &'static str)],
) -> Flaw {
    Flaw {
        reason,
        column: Some(column),
        value: Some(value),
        sqlstate: None,
        tampered,
        cure: Cure::Partner,
    }
}

const fn cured(flaw: Flaw, sql: &'static str) -> Flaw {
    Flaw {
        cure: Cure::Here(sql),
        ..flaw
    }
}

/// One a way in which a record can be bad by itself, and two that only the target sees.
#[rustfmt::skip]
const FLAWS: &[Flaw] = &[
    flaw("bad_json", "donnees_additionnelles", "[1, 2", &[("donnees_additionnelles", "\"[1, 2\"")]),
    Flaw { value: None, ..flaw("missing_field", "nom_cite", "", &[("nom_cite", "null")]) },
    flaw("bad_number", "nombre_min", "douze", &[("nombre_min", "\"douze\"")]),
    flaw("bad_date", "date_debut", "0000-00-00", &[("date_debut", "\"0000-00-00\"")]),
    flaw("bad_uuid", "id_perm_sinp", "l'inconnu", &[("id_perm_sinp", "\"l'inconnu\"")]),
    flaw("invalid_geometry", "wkt_4326", "POINT (181 45)", &[("wkt_4326", "\"POINT (181 45)\"")]),
    flaw("date_min_gt_max", "date_debut", "2020-05-02 10:00:00",
         &[("date_debut", "\"2020-05-02 10:00:00\""), ("date_fin", "\"2020-05-01 09:00:00\"")]),
    flaw("count_min_gt_max", "nombre_min", "9", &[("nombre_min", "9"), ("nombre_max", "2")]),
    flaw("altitude_min_gt_max", "altitude_min", "900", &[("altitude_min", "900"), ("altitude_max", "100")]),
    flaw("depth_min_gt_max", "profondeur_min", "20", &[("profondeur_min", "20"), ("profondeur_max", "10")]),
    Flaw { value: None, ..flaw("unmapped_dataset", "id_dataset", "", &[("jdd_data", "null")]) },
    cured(flaw("unknown_cd_nom", "cd_nom", "999999", &[("cd_nom", "999999")]),
          "INSERT INTO taxonomie.taxref (cd_nom, cd_ref, id_rang, regne, group2_inpn, lb_nom, nom_complet, nom_valide)
           SELECT 999999, 999999, id_rang, regne, group2_inpn, lb_nom, nom_complet, nom_valide FROM taxonomie.taxref LIMIT 1"),
    cured(flaw("unknown_cd_nom", "cd_nom", "999998", &[("cd_nom", "999998")]),
          "SELECT gn_harvest.map_value('cen', 'cd_nom', '999998', (SELECT min(cd_nom)::text FROM taxonomie.taxref))"),
    cured(flaw("unknown_habitat", "cd_hab", "99999", &[("code_habitat", "99999")]),
          "SELECT gn_harvest.map_value('cen', 'cd_hab', '99999', NULL)"),
    cured(flaw("unknown_area", "id_area_attachment", "COM/99999",
               &[("area_attachment", "{\"type_code\": \"COM\", \"area_code\": \"99999\"}")]),
          "SELECT gn_harvest.map_value('cen', 'id_area_attachment', 'COM/99999', (SELECT 'COM/' || area_code FROM ref_geo.l_areas a
           JOIN ref_geo.bib_areas_types t USING (id_type) WHERE type_code = 'COM' ORDER BY id_area LIMIT 1))"),
    cured(flaw("unknown_value", "id_nomenclature_sex", "Z'9", &[("sexe", "\"Z'9\"")]),
          "SELECT gn_harvest.map_value('cen', 'id_nomenclature_sex', 'Z''9', '3')"),
    Flaw { sqlstate: Some("23514"), value: None,
           ..cured(flaw("target_error", "place_name", "", &[("nom_lieu", "\"Terra incognita\"")]),
                   "ALTER TABLE gn_synthese.synthese DROP CONSTRAINT check_place_is_known") },
    Flaw { sqlstate: Some("P0001"), column: None, value: None,
           ..cured(flaw("target_error", "", "", &[("comment_releve", "\"à ne pas écrire\"")]),
                   "DROP TRIGGER tri_refuse ON gn_synthese.synthese") },
];

/// What only the target knows to refuse.
const TARGET_REFUSES: &str = "
    ALTER TABLE gn_synthese.synthese ADD CONSTRAINT check_place_is_known CHECK (place_name <> 'Terra incognita');
    CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.comment_context = 'à ne pas écrire' THEN
            RAISE EXCEPTION 'refused by a local rule' USING DETAIL = 'comment_context', ERRCODE = 'P0001';
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER tri_refuse BEFORE INSERT ON gn_synthese.synthese FOR EACH ROW EXECUTE FUNCTION public.refuse();";

/// The records that are at fault, by their true keys.
struct BadRecords {
    by_flaw: Vec<(&'static Flaw, Vec<i64>)>,
    too_long: Vec<i64>,
    duplicate_uuid: Vec<i64>,
    duplicate_key: Vec<i64>,
    owned_elsewhere: Vec<i64>,
}

impl BadRecords {
    fn count(&self) -> i64 {
        let flawed: usize = self.by_flaw.iter().map(|(_, ids)| ids.len()).sum();
        let others = [
            &self.too_long,
            &self.duplicate_uuid,
            &self.duplicate_key,
            &self.owned_elsewhere,
        ];
        (flawed + others.iter().map(|ids| ids.len()).sum::<usize>()) as i64
    }

    fn mended_by_the_partner(&self) -> Vec<i64> {
        let flawed = self
            .by_flaw
            .iter()
            .filter(|(flaw, _)| flaw.cure == Cure::Partner);
        flawed
            .flat_map(|(_, ids)| ids.iter().copied())
            .chain(self.too_long.iter().copied())
            .chain(self.duplicate_uuid.iter().copied())
            .chain(self.duplicate_key.iter().copied())
            .collect()
    }
}

fn uuid_of(partner: &Simulator, id: i64) -> Option<String> {
    let observation = partner.observation(id).expect("an observation");
    observation["id_perm_sinp"].as_str().map(str::to_owned)
}

fn tamper_text(partner: &Simulator, id: i64, column: &str, text: &str) {
    partner.tamper(id, column, Some(&json!(text).to_string()));
}

/// Spoils `each` records in every way, far from each other.
fn spoil(partner: &Simulator, neighbour: &Simulator, each: usize) -> BadRecords {
    let shared: Vec<String> = neighbour
        .ids()
        .iter()
        .filter_map(|id| uuid_of(neighbour, *id))
        .collect();
    let (owned, free): (Vec<i64>, Vec<i64>) = partner
        .ids()
        .into_iter()
        .filter(|id| uuid_of(partner, *id).is_some())
        .partition(|id| shared.contains(&uuid_of(partner, *id).unwrap_or_default()));
    let kinds = FLAWS.len() + 3;
    // One of each pair is spoilt, the one before it stays good: duplicates need it.
    let step = free.len() / (kinds * each);
    let mut chosen = (0..kinds * each).map(|n| (free[n * step], free[n * step + 1]));
    let mut take = || -> Vec<(i64, i64)> { chosen.by_ref().take(each).collect() };
    let mut by_flaw = Vec::new();
    for flaw in FLAWS {
        let ids: Vec<i64> = take().into_iter().map(|(_, id)| id).collect();
        for id in &ids {
            for (column, value) in flaw.tampered {
                partner.tamper(*id, column, Some(value));
            }
        }
        by_flaw.push((flaw, ids));
    }
    let too_long = take();
    for (_, id) in &too_long {
        tamper_text(partner, *id, "nom_lieu", &"é".repeat(501));
    }
    let duplicate_uuid = take();
    for (good, id) in &duplicate_uuid {
        let uuid = uuid_of(partner, *good).expect("a UUID");
        tamper_text(partner, *id, "id_perm_sinp", &uuid);
    }
    let duplicate_key = take();
    for (good, id) in &duplicate_key {
        partner.tamper(*id, "id_synthese", Some(&good.to_string()));
    }
    let spoilt = |pairs: Vec<(i64, i64)>| pairs.into_iter().map(|(_, id)| id).collect();
    BadRecords {
        by_flaw,
        too_long: spoilt(too_long),
        duplicate_uuid: spoilt(duplicate_uuid),
        duplicate_key: spoilt(duplicate_key),
        owned_elsewhere: owned,
    }
}

/// A partner of `observations`, of which `each` are bad in every way, and a neighbour that owns some of its UUIDs.
fn harvest_with_bad_records(observations: u32, each: usize) {
    let database = cluster().database();
    database.run(TARGET_REFUSES);
    let partner = partner(observations);
    let neighbour = partner_with(Config {
        observations: each as u32,
        seed: 7,
        uuid_seed: Some(1),
        id_offset: 1_000_000,
        ..Config::default()
    });
    add_source(&database, "voisin", &neighbour, 3, "");
    run_well(&database, "voisin", "auto");
    let others = neighbour.count() as i64;
    let bad = spoil(&partner, &neighbour, each);
    add_source(
        &database,
        "cen",
        &partner,
        3,
        "on_unknown_value => 'reject'",
    );

    let began = std::time::Instant::now();
    let first = run_well(&database, "cen", "auto");
    println!(
        "{observations} observations, {} bad: {:?}",
        bad.count(),
        began.elapsed()
    );
    assert_eq!(
        number(&first, "fetched"),
        i64::from(observations),
        "{first:#?}"
    );
    assert_eq!(number(&first, "rejected"), bad.count(), "{first:#?}");
    assert_eq!(
        number(&first, "inserted"),
        i64::from(observations) - bad.count()
    );
    let written = "SELECT count(*) FROM gn_synthese.synthese";
    assert_eq!(
        database.number(written),
        others + i64::from(observations) - bad.count()
    );
    each_is_explained(&database, &partner, &bad);
    identity_conflicts_are_rejected_too(&database, &partner, &neighbour);
    mended_here_they_arrive_by_retry(&database, &bad);
    mended_there_they_arrive_by_the_next_run(&database, &partner, &bad);

    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.rejected_record"),
        0
    );
    // Those whose UUID was the neighbour's have been taken over from it.
    assert_eq!(
        database.number(written),
        i64::from(observations) + others - bad.owned_elsewhere.len() as i64
    );
    let held = "SELECT observations FROM gn_harvest.source_status WHERE source = 'cen'";
    assert_eq!(database.number(held), i64::from(observations));
    let again = run_well(&database, "cen", "full");
    assert_eq!(
        number(&again, "unchanged"),
        i64::from(observations),
        "{again:#?}"
    );
}

fn each_is_explained(database: &Database, partner: &Simulator, bad: &BadRecords) {
    for (flaw, ids) in &bad.by_flaw {
        for id in ids {
            let letter = database.row(&format!(
                "SELECT reason, column_name, value, sqlstate, message, attempts, payload ->> 'nom_cite' AS nom_cite, payload ->> 'id_synthese' AS key
                 FROM gn_harvest.rejected_record WHERE source = 'cen' AND source_key = '{id}'"
            ));
            assert_eq!(text(&letter, "reason"), flaw.reason, "{letter:#?}");
            assert_eq!(letter["column_name"].as_deref(), flaw.column, "{letter:#?}");
            assert_eq!(letter["value"].as_deref(), flaw.value, "{letter:#?}");
            assert_eq!(letter["sqlstate"].as_deref(), flaw.sqlstate, "{letter:#?}");
            assert_eq!(text(&letter, "attempts"), "1");
            assert!(!text(&letter, "message").is_empty());
            assert_eq!(
                text(&letter, "key"),
                id.to_string(),
                "the payload is the record"
            );
            if flaw.reason != "missing_field" {
                let truth = partner.observation(*id).expect("an observation");
                assert_eq!(letter["nom_cite"].as_deref(), truth["nom_cite"].as_str());
            }
        }
    }
    let count = |condition: &str| {
        database.number(&format!(
            "SELECT count(*) FROM gn_harvest.rejected_record WHERE source = 'cen' AND {condition}"
        ))
    };
    assert_eq!(
        count(
            "reason = 'value_too_long' AND column_name = 'nom_lieu' AND length(value) = 500 AND length(payload ->> 'nom_lieu') = 501"
        ),
        bad.too_long.len() as i64
    );
    assert_eq!(
        count("reason = 'duplicate_uuid' AND column_name = 'unique_id_sinp' AND uuid IS NOT NULL"),
        bad.duplicate_uuid.len() as i64
    );
    assert_eq!(
        count(
            "reason = 'duplicate_key' AND column_name = 'entity_source_pk_value' AND value = source_key"
        ),
        bad.duplicate_key.len() as i64
    );
    assert_eq!(
        count("reason = 'uuid_owned_by_other_source' AND value = 'voisin'"),
        bad.owned_elsewhere.len() as i64
    );
    // What waits for a decision about UUIDs, in its own view.
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.uuid_conflict WHERE source = 'cen' AND reason = 'uuid_owned_by_other_source' AND owner = 'voisin'"),
        bad.owned_elsewhere.len() as i64
    );
    // The missing taxa come first in the summary.
    let first =
        database.rows("SELECT reason, value, records FROM gn_harvest.rejection_summary LIMIT 2");
    let each = bad.too_long.len().to_string();
    for row in &first {
        assert_eq!(text(row, "reason"), "unknown_cd_nom");
        assert_eq!(text(row, "records"), each);
    }
}

/// A good record gets, at the partner, the UUID of an observation of another source.
fn identity_conflicts_are_rejected_too(
    database: &Database,
    partner: &Simulator,
    neighbour: &Simulator,
) {
    let foreign = "0f1e2d3c-4b5a-4697-8877-665544332211";
    neighbour
        .insert(&json!({"id_perm_sinp": foreign}))
        .expect("an observation");
    run_well(database, "voisin", "auto");
    let id = partner.ids()[partner.count() - 1];
    let truth = uuid_of(partner, id);
    partner
        .update(id, &json!({"id_perm_sinp": foreign}))
        .expect("a change");
    run_well(database, "cen", "auto");
    let letter = database.row("SELECT source_key, uuid, value FROM gn_harvest.rejected_record WHERE reason = 'identity_conflict'");
    assert_eq!(text(&letter, "source_key"), id.to_string());
    assert_eq!(
        (text(&letter, "uuid"), text(&letter, "value")),
        (foreign, "voisin")
    );
    partner
        .update(id, &json!({"id_perm_sinp": truth}))
        .expect("a change");
    run_well(database, "cen", "auto");
    assert_eq!(
        database.number(
            "SELECT count(*) FROM gn_harvest.rejected_record WHERE reason = 'identity_conflict'"
        ),
        0,
        "mended at the partner, it is written by the next run"
    );
    // The neighbour's copy goes, so that the counts at the end are simple.
    database.run(&format!(
        "DELETE FROM gn_synthese.synthese WHERE unique_id_sinp = '{foreign}'"
    ));
}

fn mended_here_they_arrive_by_retry(database: &Database, bad: &BadRecords) {
    let waiting =
        database.number("SELECT count(*) FROM gn_harvest.rejected_record WHERE source = 'cen'");
    assert_eq!(waiting, bad.count());
    // The cause is still there: every attempt is counted, nothing moves.
    let before = database.value("SELECT string_agg(id || reason, ' ' ORDER BY id) FROM gn_harvest.rejected_record WHERE source = 'cen'");
    let vain = database.row("SELECT * FROM gn_harvest.retry_rejected('cen')");
    assert_eq!(
        (text(&vain, "status"), text(&vain, "mode")),
        ("succeeded", "retry"),
        "{vain:#?}"
    );
    assert_eq!(
        (number(&vain, "fetched"), number(&vain, "rejected")),
        (waiting, waiting),
        "{vain:#?}"
    );
    assert_eq!(
        database.value("SELECT string_agg(id || reason, ' ' ORDER BY id) FROM gn_harvest.rejected_record WHERE source = 'cen'"),
        before
    );
    assert_eq!(
        database.number(
            "SELECT count(*) FROM gn_harvest.rejected_record WHERE source = 'cen' AND attempts <> 2"
        ),
        0
    );
    let mut arriving = bad.owned_elsewhere.len() as i64;
    for (flaw, ids) in &bad.by_flaw {
        if let Cure::Here(sql) = flaw.cure {
            database.run(sql);
            arriving += ids.len() as i64;
        }
    }
    database.run("SELECT gn_harvest.alter_source('cen', on_uuid_conflict => 'take_over')");
    let retried = database.row("SELECT * FROM gn_harvest.retry_rejected('cen')");
    assert_eq!(text(&retried, "status"), "succeeded", "{retried:#?}");
    assert_eq!(
        number(&retried, "inserted") + number(&retried, "updated"),
        arriving,
        "{retried:#?}"
    );
    assert_eq!(number(&retried, "rejected"), waiting - arriving);
    for (flaw, ids) in &bad.by_flaw {
        for id in ids {
            let arrived = database.number(&format!(
                "SELECT count(*) FROM gn_synthese.synthese s JOIN gn_synthese.t_sources t USING (id_source)
                 WHERE name_source = 'cen' AND entity_source_pk_value = '{id}'"
            ));
            assert_eq!(
                arrived == 1,
                flaw.cure != Cure::Partner,
                "{} {id}",
                flaw.reason
            );
        }
    }
}

fn mended_there_they_arrive_by_the_next_run(
    database: &Database,
    partner: &Simulator,
    bad: &BadRecords,
) {
    let ids = bad.mended_by_the_partner();
    for id in &ids {
        partner.mend(*id);
    }
    partner.update_many(&ids, &json!({})).expect("a change");
    let next = run_well(database, "cen", "auto");
    assert_eq!(text(&next, "mode"), "incremental");
    assert_eq!(number(&next, "inserted"), ids.len() as i64, "{next:#?}");
    assert_eq!(number(&next, "rejected"), 0, "{next:#?}");
}

#[test]
fn bad_records_wait_with_their_reason_while_the_others_go_in_and_arrive_once_mended() {
    harvest_with_bad_records(2200, 1);
}

/// The figures of the issue; by hand: cargo test -p gn_harvest_outside -- --ignored twenty_thousand
#[test]
#[ignore = "minutes long"]
fn of_twenty_thousand_records_two_hundred_are_bad() {
    harvest_with_bad_records(20_000, 9);
}

#[test]
fn a_discarded_record_stays_given_up_until_the_source_changes_it() {
    let database = cluster().database();
    let partner = partner(300);
    let ids = partner.ids();
    for (id, cd_nom) in [
        (ids[10], "999999"),
        (ids[20], "999999"),
        (ids[30], "999998"),
    ] {
        partner.tamper(id, "cd_nom", Some(cd_nom));
    }
    partner.tamper(ids[40], "date_debut", Some("\"0000-00-00\""));
    partner.tamper(ids[50], "nombre_min", Some("\"douze\""));
    add_source(&database, "cen", &partner, 3, "");
    let first = run_well(&database, "cen", "auto");
    assert_eq!(number(&first, "rejected"), 5);
    let summary = database.rows("SELECT reason, value, records FROM gn_harvest.rejection_summary");
    let lines: Vec<String> = summary
        .iter()
        .map(|row| {
            format!(
                "{} {} {}",
                text(row, "reason"),
                text(row, "value"),
                text(row, "records")
            )
        })
        .collect();
    assert_eq!(
        lines,
        [
            "unknown_cd_nom 999999 2",
            "unknown_cd_nom 999998 1",
            "bad_date 0000-00-00 1",
            "bad_number douze 1"
        ]
    );

    // By reason, with a note; by number; by age: nothing is that old.
    let discard = |arguments: &str| {
        database.number(&format!(
            "SELECT gn_harvest.discard_rejected('cen', {arguments})"
        ))
    };
    assert_eq!(
        discard("reason => 'unknown_cd_nom', note => 'taxons d''une autre île'"),
        3
    );
    let bad_date =
        database.value("SELECT id FROM gn_harvest.rejected_record WHERE reason = 'bad_date'");
    assert_eq!(discard(&format!("ids => '{{{bad_date}}}'")), 1);
    assert_eq!(discard("before => now() - interval '1 day'"), 0);
    let error =
        database.error("SELECT gn_harvest.discard_rejected('cen', reason => 'unknown_cdnom')");
    assert!(error.starts_with("22023: "), "{error}");
    assert!(
        error.contains("HINT: It is one of: ") && error.contains("unknown_cd_nom"),
        "{error}"
    );
    let trace = database.row(
        "SELECT count(*) AS records, min(discarded_by) AS by, min(discard_note) AS note, bool_and(discarded_at IS NOT NULL AND payload IS NOT NULL) AS dated
         FROM gn_harvest.rejected_record WHERE reason = 'unknown_cd_nom'",
    );
    assert_eq!(
        (
            text(&trace, "records"),
            text(&trace, "by"),
            text(&trace, "note"),
            text(&trace, "dated")
        ),
        ("3", "postgres", "taxons d'une autre île", "t")
    );
    let waiting = "SELECT rejected FROM gn_harvest.source_status WHERE source = 'cen'";
    assert_eq!(database.number(waiting), 1);
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.rejection_summary"),
        1
    );

    // Neither a retry nor another run brings them back: they are left out, and counted as such.
    let retried = database.row("SELECT * FROM gn_harvest.retry_rejected('cen')");
    assert_eq!(
        (number(&retried, "fetched"), number(&retried, "rejected")),
        (1, 1)
    );
    let again = run_well(&database, "cen", "full");
    assert_eq!(
        (number(&again, "rejected"), number(&again, "skipped")),
        (1, 4),
        "{again:#?}"
    );
    assert_eq!(database.number(waiting), 1);

    // The partner changes one, and it is still wrong: it waits again, as new.
    partner
        .update(ids[10], &json!({"nom_lieu": "Combe changée"}))
        .expect("a change");
    let changed = run_well(&database, "cen", "auto");
    assert_eq!(number(&changed, "rejected"), 1, "{changed:#?}");
    let back = database.row(&format!(
        "SELECT discarded_at, discarded_by, discard_note, payload ->> 'nom_lieu' AS place FROM gn_harvest.rejected_record WHERE source_key = '{}'",
        ids[10]
    ));
    assert_eq!(
        (
            text(&back, "discarded_at"),
            text(&back, "discarded_by"),
            text(&back, "discard_note")
        ),
        ("", "", "")
    );
    assert_eq!(text(&back, "place"), "Combe changée");
    assert_eq!(database.number(waiting), 2);
}

#[test]
fn a_record_without_a_key_waits_and_leaves_when_it_arrives() {
    let database = cluster().database();
    let partner = partner(200);
    let ids: Vec<i64> = partner
        .ids()
        .into_iter()
        .filter(|id| uuid_of(&partner, *id).is_some())
        .collect();
    let (with_uuid, without) = (ids[60], ids[120]);
    partner.tamper(with_uuid, "id_synthese", Some("null"));
    partner.tamper(without, "id_synthese", Some("null"));
    partner.tamper(without, "id_perm_sinp", Some("null"));
    add_source(&database, "cen", &partner, 3, "");
    for attempts in 1..=2 {
        let run = run_well(&database, "cen", "full");
        assert_eq!(
            (number(&run, "fetched"), number(&run, "rejected")),
            (200, 2),
            "{run:#?}"
        );
        let letters = database.rows(
            "SELECT reason, column_name, source_key, attempts FROM gn_harvest.rejected_record",
        );
        assert_eq!(letters.len(), 2);
        for letter in &letters {
            assert_eq!(
                (text(letter, "reason"), text(letter, "column_name")),
                ("missing_field", "id_synthese")
            );
            assert_eq!(letter["source_key"], None);
            assert_eq!(
                number(letter, "attempts"),
                attempts,
                "known again by its text"
            );
        }
    }
    partner.mend_all();
    partner
        .update_many(&[with_uuid, without], &json!({}))
        .expect("a change");
    let next = run_well(&database, "cen", "auto");
    assert_eq!(
        (text(&next, "mode"), number(&next, "inserted")),
        ("incremental", 2)
    );
    // One is known by its UUID; of the other only a full run can say that it is gone.
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.rejected_record"),
        1
    );
    run_well(&database, "cen", "full");
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.rejected_record"),
        0
    );
    assert_eq!(
        database.number("SELECT count(*) FROM gn_synthese.synthese"),
        200
    );
}

#[test]
fn a_retry_reads_a_geojson_record_and_its_mapped_fields_as_the_run_did() {
    let database = cluster().database();
    let partner = partner(150);
    let id = partner.ids()[77];
    partner
        .update(
            id,
            &json!({"donnees_additionnelles": {"releve": {"carre": "K12"}}}),
        )
        .expect("a change");
    partner.tamper(id, "cd_nom", Some("999999"));
    add_source(&database, "stock", &partner, 1, "");
    database.run("SELECT gn_harvest.map_field('stock', 'reference_biblio', source_column => 'donnees_additionnelles.releve.carre')");
    let first = run_well(&database, "stock", "auto");
    assert_eq!(number(&first, "rejected"), 1, "{first:#?}");
    // A mapping looks into a column: it does not make the export have another one.
    let second = run_well(&database, "stock", "full");
    assert_eq!(text(&second, "warnings"), text(&first, "warnings"));
    database.run("SELECT gn_harvest.map_value('stock', 'cd_nom', '999999', (SELECT min(cd_nom)::text FROM taxonomie.taxref))");
    let retried = database.row("SELECT * FROM gn_harvest.retry_rejected('stock')");
    assert_eq!(
        (text(&retried, "status"), number(&retried, "inserted")),
        ("succeeded", 1),
        "{retried:#?}"
    );
    let row = database.row(&format!(
        "SELECT reference_biblio, the_geom_4326 IS NOT NULL AS placed FROM gn_synthese.synthese WHERE entity_source_pk_value = '{id}'"
    ));
    assert_eq!(
        (text(&row, "reference_biblio"), text(&row, "placed")),
        ("K12", "t")
    );
    // It is the same record for the next run.
    let again = run_well(&database, "stock", "full");
    assert_eq!(
        number(&again, "unchanged"),
        number(&again, "fetched"),
        "{again:#?}"
    );
}

#[test]
fn what_only_the_target_refuses_is_found_with_few_statements() {
    let database = cluster().database();
    database.run(
        "CREATE SEQUENCE public.attempt;
         GRANT USAGE ON SEQUENCE public.attempt TO PUBLIC;
         CREATE FUNCTION public.count_attempt() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM nextval(''public.attempt''); RETURN NULL; END';
         CREATE TRIGGER tri_count BEFORE INSERT ON gn_synthese.synthese FOR EACH STATEMENT EXECUTE FUNCTION public.count_attempt();",
    );
    database.run(TARGET_REFUSES);
    let (observations, bad) = figures("GN_HARVEST_REFUSED", 1000, 10);
    let partner = partner(observations);
    let ids = partner.ids();
    for n in 0..bad as usize {
        let id = ids[n * ids.len() / bad as usize + 3];
        tamper_text(&partner, id, "comment_releve", "à ne pas écrire");
    }
    add_source(&database, "cen", &partner, 3, "");
    let began = std::time::Instant::now();
    let run = run_well(&database, "cen", "auto");
    let attempts = database.number("SELECT last_value FROM public.attempt");
    println!(
        "{observations} observations, {bad} refused by a trigger: {attempts} statements, {:?}",
        began.elapsed()
    );
    assert_eq!(
        (number(&run, "inserted"), number(&run, "rejected")),
        (i64::from(observations - bad), i64::from(bad))
    );
    // Each is found by halving: twice the depth at most.
    let depth = f64::from(observations).log2().ceil() as i64;
    assert!(
        attempts <= 2 * i64::from(bad) * depth,
        "{attempts} statements for {bad} refused records"
    );
}

/// Two numbers from the environment (`N/M`), for measures by hand.
fn figures(name: &str, first: u32, second: u32) -> (u32, u32) {
    let told = std::env::var(name).ok();
    let pair = told.as_deref().and_then(|told| told.split_once('/'));
    pair.and_then(|(one, other)| one.parse().ok().zip(other.parse().ok()))
        .unwrap_or((first, second))
}

#[test]
fn unmapped_values_come_with_the_call_that_maps_them() {
    let database = cluster().database();
    let partner = partner(120);
    let ids = partner.ids();
    for id in &ids[5..8] {
        partner
            .update(*id, &json!({"sexe": "Z'9"}))
            .expect("a change");
    }
    partner
        .update(
            ids[9],
            &json!({"area_attachment": {"type_code": "COM", "area_code": "99999"}}),
        )
        .expect("a change");
    let name = "L'Aulne – été";
    add_source(&database, "L''Aulne – été", &partner, 3, "");
    run_well(&database, "L''Aulne – été", "auto");
    let waiting = database.rows("SELECT * FROM gn_harvest.unmapped_value ORDER BY column_name");
    assert_eq!(waiting.len(), 2, "{waiting:#?}");
    assert_eq!(
        (text(&waiting[0], "column_name"), text(&waiting[0], "value")),
        ("id_area_attachment", "COM/99999")
    );
    let sex = &waiting[1];
    assert_eq!(
        (text(sex, "source"), text(sex, "column_name")),
        (name, "id_nomenclature_sex")
    );
    assert_eq!((text(sex, "value"), number(sex, "occurrences")), ("Z'9", 3));
    let call = text(sex, "call").to_owned();
    assert_eq!(
        call,
        "SELECT gn_harvest.map_value('L''Aulne – été', 'id_nomenclature_sex', 'Z''9', '…');"
    );

    // Pasted as it is, it maps to nothing that is here: the value goes on waiting after the next run.
    database.run(&call);
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.unmapped_value"),
        1
    );
    run_well(&database, "L''Aulne – été", "full");
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.unmapped_value"),
        2
    );
    // Filled in, it does.
    database.run(&call.replace('…', "3"));
    let next = run_well(&database, "L''Aulne – été", "full");
    assert_eq!(number(&next, "updated"), 3);
    assert_eq!(
        database.value("SELECT string_agg(column_name, ' ') FROM gn_harvest.unmapped_value"),
        "id_area_attachment"
    );
    let mapped = "SELECT count(*) FROM gn_synthese.synthese s
                  JOIN ref_nomenclatures.t_nomenclatures n ON n.id_nomenclature = s.id_nomenclature_sex
                  JOIN gn_harvest.harvested h USING (id_synthese)
                  WHERE h.key_number = ANY ('{KEYS}') AND n.cd_nomenclature = '3'";
    let keys = format!("{},{},{}", ids[5], ids[6], ids[7]);
    assert_eq!(database.number(&mapped.replace("KEYS", &keys)), 3);
}

#[test]
fn a_monstrous_record_waits_as_any_other() {
    let database = cluster().database();
    let partner = partner(60);
    let ids = partner.ids();
    // Deeper than PostgreSQL's json reads; beyond any number; a text with NUL and half a character.
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    partner.tamper(ids[3], "donnees_additionnelles", Some(&deep));
    partner.tamper(ids[5], "donnees_additionnelles", Some("{\"n\": 1e999999}"));
    partner.tamper(ids[7], "nom_cite", Some("\"\\ud800\""));
    partner.tamper(ids[9], "nombre_min", Some("1e400"));
    partner.tamper(ids[11], "cd_nom", Some("{\"nom\": [null, \"\\u0000\"]}"));
    add_source(&database, "cen", &partner, 3, "");
    let run = run_well(&database, "cen", "auto");
    assert_eq!(
        (number(&run, "inserted"), number(&run, "rejected")),
        (55, 5),
        "{run:#?}"
    );
    let reasons = "SELECT string_agg(reason, ' ' ORDER BY source_key::bigint) FROM gn_harvest.rejected_record";
    assert_eq!(
        database.value(reasons),
        "bad_json bad_json bad_json bad_number bad_number"
    );
    let again = database.row("SELECT * FROM gn_harvest.retry_rejected('cen')");
    assert_eq!(
        (text(&again, "status"), number(&again, "rejected")),
        ("succeeded", 5),
        "{again:#?}"
    );
    // What was too deep to be kept as it came is known again when it comes mended.
    partner.mend_all();
    partner
        .update_many(&[ids[3], ids[5], ids[7], ids[9], ids[11]], &json!({}))
        .expect("a change");
    let mended = run_well(&database, "cen", "auto");
    assert_eq!(
        (number(&mended, "inserted"), number(&mended, "rejected")),
        (5, 0)
    );
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.rejected_record"),
        0
    );
}
