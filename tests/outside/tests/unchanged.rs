//! Only what changed is written: nothing of what is the same, and no column that is the same, because GeoNature's
//! triggers fire on the columns that are named.

use std::collections::BTreeSet;

use gn_harvest_outside::{Database, Row};
use serde_json::json;

use crate::support::*;
use crate::truth;

/// Rows inserted, updated and deleted so far in each table of the target, once every session that wrote has said so.
fn writes(database: &Database) -> Vec<Row> {
    database.wait_until(
        60,
        "SELECT count(*) = 0 FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type IN ('client backend', 'gn_harvest run')",
    );
    database.rows(
        "SELECT schemaname || '.' || relname AS of, n_tup_ins || ' ' || n_tup_upd || ' ' || n_tup_del AS writes
         FROM pg_stat_user_tables
         WHERE schemaname IN ('gn_synthese', 'gn_meta', 'utilisateurs') ORDER BY 1",
    )
}

/// A column of the row of an observation, by its key at the source.
fn of(database: &Database, id: i64, expression: &str) -> String {
    database.value(&format!(
        "SELECT {expression} FROM gn_synthese.synthese s WHERE s.entity_source_pk_value = '{id}'"
    ))
}

fn links(database: &Database, id: i64) -> i64 {
    of(
        database,
        id,
        "(SELECT count(*) FROM gn_synthese.cor_area_synthese c WHERE c.id_synthese = s.id_synthese)",
    )
    .parse()
    .expect("a count")
}

/// Notes in public.named which columns the SET list of an update names.
fn note_named_columns(database: &Database) {
    database.run(
        "CREATE TABLE public.named (name text, id integer);
         CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN INSERT INTO public.named VALUES (TG_ARGV[0], NEW.id_synthese); RETURN NEW; END $$;
         DO $$
         DECLARE c name;
         BEGIN
             FOR c IN SELECT attname FROM pg_attribute
                      WHERE attrelid = 'gn_synthese.synthese'::regclass AND attnum > 0 AND NOT attisdropped
             LOOP
                 EXECUTE format('CREATE TRIGGER note_%1$s BEFORE UPDATE OF %1$I ON gn_synthese.synthese
                                 FOR EACH ROW EXECUTE FUNCTION public.note(%1$L)', c);
             END LOOP;
         END $$",
    );
}

fn named(database: &Database) -> BTreeSet<String> {
    database
        .rows("SELECT DISTINCT name FROM public.named")
        .iter()
        .map(|row| text(row, "name").to_owned())
        .collect()
}

fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

#[test]
fn a_second_full_run_of_an_unchanged_source_writes_nothing_and_says_so() {
    for export in [1, 3] {
        let database = cluster().database();
        let partner = partner(700);
        add_source(&database, "cen", &partner, export, "page_size => 100");
        run_well(&database, "cen", "full");
        let before = writes(&database);
        let lineage =
            "SELECT md5(string_agg(h::text, ',' ORDER BY key_number)) FROM gn_harvest.harvested h";
        let lineage_before = database.value(lineage);
        let row = run_well(&database, "cen", "full");
        assert_eq!(text(&row, "mode"), "full");
        assert_eq!(writes(&database), before);
        for (column, expected) in [
            ("fetched", 700),
            ("unchanged", 700),
            ("source_total", 700),
            ("inserted", 0),
            ("updated", 0),
            ("deleted", 0),
            ("rejected", 0),
            ("repeated", 0),
            ("datasets_created", 0),
        ] {
            assert_eq!(number(&row, column), expected, "{column}: {row:#?}");
        }
        assert_eq!(text(&row, "warnings"), "{}");
        // Nor are 700 rows of lineage marked as seen.
        assert_eq!(database.value(lineage), lineage_before);
        // Incremental runs read the look-back again, and write as little.
        let last = *partner.ids().last().expect("an observation");
        partner
            .update(last, &json!({}))
            .expect("a new date of change");
        for _ in 0..2 {
            let row = run_well(&database, "cen", "incremental");
            assert!(number(&row, "fetched") > 0, "{row:#?}");
            assert_eq!(number(&row, "unchanged"), number(&row, "fetched"));
        }
        assert_eq!(writes(&database), before);
    }
}

#[test]
fn an_attribute_that_changed_updates_its_row_without_the_area_trigger() {
    let database = cluster().database();
    let partner = partner(200);
    add_source(&database, "cen", &partner, 3, "");
    run_well(&database, "cen", "full");
    let id = partner.ids()[50];
    let here = of(&database, id, "s.id_synthese");
    assert!(links(&database, id) > 0);
    // A marker: the trigger would put the links back.
    database.run(&format!(
        "DELETE FROM gn_synthese.cor_area_synthese WHERE id_synthese = {here}"
    ));
    let before = writes(&database);
    partner
        .update(id, &json!({"nom_lieu": "Combe Noire, en haut", "nombre_min": 7, "nombre_max": 8, "sexe": "3"}))
        .expect("a change");
    let row = run_well(&database, "cen", "auto");
    assert_eq!(number(&row, "updated"), 1);
    truth::assert_equal(&database, "cen", &partner, 3);
    assert_eq!(of(&database, id, "s.id_synthese"), here);
    assert_eq!(of(&database, id, "s.last_action"), "U");
    assert_eq!(links(&database, id), 0);
    let after = writes(&database);
    let changed: Vec<&Row> = before
        .iter()
        .zip(&after)
        .filter(|(b, a)| b != a)
        .map(|(_, a)| a)
        .collect();
    assert_eq!(changed.len(), 1, "{changed:#?}");
    assert_eq!(text(changed[0], "of"), "gn_synthese.synthese");
    // 200 inserted, then 200 updated by the sensitivity's own trigger: one update is ours.
    assert_eq!(text(changed[0], "writes"), "200 201 0");
}

#[test]
fn a_geometry_that_moved_gets_its_areas_anew() {
    let database = cluster().database();
    let partner = partner(100);
    add_source(&database, "cen", &partner, 3, "");
    run_well(&database, "cen", "full");
    let (id, still) = (partner.ids()[50], partner.ids()[51]);
    for id in [id, still] {
        let here = of(&database, id, "s.id_synthese");
        database.run(&format!(
            "DELETE FROM gn_synthese.cor_area_synthese WHERE id_synthese = {here}"
        ));
    }
    partner
        .update(
            id,
            &json!({"wkt_4326": "POINT(5.654321098765432 44.98765432109876)"}),
        )
        .expect("a move");
    partner
        .update(still, &json!({"nom_lieu": "ici"}))
        .expect("a change");
    let row = run_well(&database, "cen", "auto");
    assert_eq!(number(&row, "updated"), 2);
    truth::assert_equal(&database, "cen", &partner, 3);
    let expected = of(
        &database,
        id,
        "(SELECT string_agg(a.id_area::text, ' ' ORDER BY a.id_area) FROM ref_geo.l_areas a
          WHERE a.enable AND ST_Intersects(a.geom, ST_Transform(ST_GeomFromText('POINT(5.654321098765432 44.98765432109876)', 4326), 2154)))",
    );
    let found = of(
        &database,
        id,
        "(SELECT string_agg(c.id_area::text, ' ' ORDER BY c.id_area) FROM gn_synthese.cor_area_synthese c WHERE c.id_synthese = s.id_synthese)",
    );
    assert!(!expected.is_empty());
    assert_eq!(found, expected);
    // Written by the same run, in the same batch, and not moved.
    assert_eq!(links(&database, still), 0);
}

#[test]
fn a_biological_status_that_changed_computes_the_sensitivity_again() {
    let database = cluster().database();
    let partner = partner(50);
    // The wolf is sensitive where it breeds, in the target's rules.
    let id = partner
        .insert(&json!({"cd_nom": 60577, "nom_cite": "Canis lupus", "statut_biologique": "1"}))
        .expect("a wolf");
    add_source(&database, "cen", &partner, 3, "");
    run_well(&database, "cen", "full");
    let level = "ref_nomenclatures.get_cd_nomenclature(s.id_nomenclature_sensitivity)";
    assert_eq!(of(&database, id, level), "0");
    note_named_columns(&database);
    partner
        .update(id, &json!({"statut_biologique": "3"}))
        .expect("it breeds");
    let row = run_well(&database, "cen", "auto");
    assert_eq!(number(&row, "updated"), 1);
    assert_eq!(of(&database, id, level), "3");
    assert_eq!(
        named(&database),
        names(["id_nomenclature_bio_status", "last_action"])
    );
}

#[test]
fn what_the_partner_says_of_the_sensitivity_is_left_to_the_target() {
    let database = cluster().database();
    let partner = partner(50);
    add_source(&database, "cen", &partner, 3, "");
    run_well(&database, "cen", "full");
    let id = partner.ids()[10];
    let level = "ref_nomenclatures.get_cd_nomenclature(s.id_nomenclature_sensitivity)";
    let before = of(&database, id, level);
    let other = if before == "4" { "0" } else { "4" };
    partner
        .update(id, &json!({"niveau_sensibilite": other}))
        .expect("a change");
    let row = run_well(&database, "cen", "auto");
    assert_eq!(number(&row, "updated"), 0);
    assert_eq!(of(&database, id, level), before);
}

#[test]
fn columns_that_did_not_change_are_not_named() {
    let database = cluster().database();
    let partner = partner(300);
    add_source(&database, "cen", &partner, 3, "");
    run_well(&database, "cen", "full");
    note_named_columns(&database);
    let ids = partner.ids();
    partner
        .update(ids[0], &json!({"nom_lieu": "ici"}))
        .expect("a change");
    partner
        .update(ids[1], &json!({"comment_releve": "là"}))
        .expect("a change");
    partner
        .update(ids[2], &json!({"wkt_4326": "POINT(5.6 45)"}))
        .expect("a move");
    let row = run_well(&database, "cen", "auto");
    assert_eq!(number(&row, "updated"), 3);
    assert_eq!(
        named(&database),
        names([
            "place_name",
            "comment_context",
            "the_geom_4326",
            "the_geom_point",
            "the_geom_local",
            "last_action"
        ])
    );
    // Those whose triggers cost go to the row that needs them only.
    let moved = of(&database, ids[2], "s.id_synthese");
    let others = database.value(&format!(
        "SELECT coalesce(string_agg(DISTINCT name, ' '), 'none') FROM public.named WHERE name ~ '^the_geom' AND id <> {moved}"
    ));
    assert_eq!(others, "none");
}

#[test]
fn protected_columns_are_written_at_insert_and_never_again() {
    let database = cluster().database();
    let partner = partner(100);
    add_source(
        &database,
        "cen",
        &partner,
        3,
        "protected_columns => '{id_nomenclature_valid_status,validator,meta_validation_date}'",
    );
    let (id, other) = (partner.ids()[10], partner.ids()[11]);
    partner
        .update(
            id,
            &json!({"statut_validation": "1", "validateur": "Partenaire"}),
        )
        .expect("a validation");
    run_well(&database, "cen", "full");
    let status = "ref_nomenclatures.get_cd_nomenclature(s.id_nomenclature_valid_status)";
    assert_eq!(of(&database, id, status), "1");
    assert_eq!(of(&database, id, "s.validator"), "Partenaire");

    database.run(&format!(
        "UPDATE gn_synthese.synthese
         SET id_nomenclature_valid_status = ref_nomenclatures.get_id_nomenclature('STATUT_VALID', '4'), validator = 'Comité régional'
         WHERE entity_source_pk_value = '{id}'"
    ));
    note_named_columns(&database);
    partner
        .update(
            id,
            &json!({"statut_validation": "2", "validateur": "Autre", "nom_lieu": "ailleurs"}),
        )
        .expect("another validation");
    partner
        .update(other, &json!({"validateur": "Autre"}))
        .expect("another validator");
    let row = run_well(&database, "cen", "auto");
    // Of the other row only what is protected changed: nothing is written.
    assert_eq!(number(&row, "updated"), 1);
    assert_eq!(of(&database, id, "s.place_name"), "ailleurs");
    assert_eq!(of(&database, id, status), "4");
    assert_eq!(of(&database, id, "s.validator"), "Comité régional");
    assert_eq!(named(&database), names(["place_name", "last_action"]));
    run_well(&database, "cen", "full");
    assert_eq!(of(&database, id, "s.validator"), "Comité régional");
    assert_ne!(of(&database, other, "s.validator"), "Autre");

    // Given back to the partner, they follow it again at the next full run.
    database.run("SELECT gn_harvest.alter_source('cen', protected_columns => '{}')");
    run_well(&database, "cen", "full");
    assert_eq!(of(&database, id, status), "2");
    truth::assert_equal(&database, "cen", &partner, 3);
}

#[test]
fn a_row_that_was_deleted_here_comes_back_with_the_next_full_run() {
    let database = cluster().database();
    let partner = partner(100);
    add_source(&database, "cen", &partner, 3, "");
    run_well(&database, "cen", "full");
    database.run("DELETE FROM gn_synthese.synthese WHERE id_synthese <= 10");
    let row = run_well(&database, "cen", "full");
    assert_eq!(
        (number(&row, "inserted"), number(&row, "unchanged")),
        (10, 90)
    );
    truth::assert_equal(&database, "cen", &partner, 3);
    assert_eq!(
        database.number("SELECT observations FROM gn_harvest.source_status"),
        100
    );
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.harvested"),
        100
    );
    let row = run_well(&database, "cen", "full");
    assert_eq!(number(&row, "unchanged"), 100);
}

#[test]
fn what_was_changed_here_stays_until_the_partner_changes_the_record() {
    let database = cluster().database();
    let partner = partner(100);
    add_source(&database, "cen", &partner, 3, "");
    run_well(&database, "cen", "full");
    let id = partner.ids()[10];
    database.run(&format!(
        "UPDATE gn_synthese.synthese SET place_name = 'corrigé ici' WHERE entity_source_pk_value = '{id}'"
    ));
    run_well(&database, "cen", "full");
    assert_eq!(of(&database, id, "s.place_name"), "corrigé ici");
    partner
        .update(id, &json!({"nombre_min": 3, "nombre_max": 3}))
        .expect("a change");
    run_well(&database, "cen", "auto");
    truth::assert_equal(&database, "cen", &partner, 3);
}
