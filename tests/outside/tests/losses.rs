//! What the usual client loses, one test a line: GN2PG 1.10.1 against a GeoNature 2.17.4, measured column by column.

use std::sync::OnceLock;

use gn_harvest_outside::Database;
use serde_json::json;

use crate::support::*;
use crate::truth;

/// A partner's 1000 observations, harvested through the view with codes and metadata, beside the truth of them. Only to be read.
fn harvested() -> &'static Database<'static> {
    static HARVESTED: OnceLock<Database> = OnceLock::new();
    HARVESTED.get_or_init(|| {
        let database = cluster().database();
        let partner = partner(1000);
        add_source(&database, "cen", &partner, 3, "");
        run_well(&database, "cen", "full");
        truth::load(&database, &partner);
        database
    })
}

/// How many records have something at the partner, and in how many of them it came as `same` says (j: there, s: here).
fn kept(has: &str, same: &str) {
    let row = harvested().row(&format!(
        "SELECT count(*) AS there, count(*) FILTER (WHERE {same}) AS here
         FROM public.truth t JOIN gn_synthese.synthese s ON s.entity_source_pk_value = t.j ->> 'id_synthese'
         WHERE {has}"
    ));
    assert!(number(&row, "there") > 0, "nothing to lose: {has}");
    assert_eq!(number(&row, "here"), number(&row, "there"), "{has}: {same}");
}

#[test]
fn the_method_of_determination_is_looked_up_in_its_own_nomenclature() {
    kept(
        "j ->> 'methode_determination' IS NOT NULL",
        "code_of(s.id_nomenclature_determination_method) = 'METH_DETERMIN ' || (j ->> 'methode_determination')",
    );
}

#[test]
fn dates_keep_their_time_of_day() {
    kept(
        "(j ->> 'date_debut')::timestamp::time <> '00:00'",
        "s.date_min = (j ->> 'date_debut')::timestamp",
    );
    kept(
        "(j ->> 'date_fin')::timestamp::time <> '00:00'",
        "s.date_max = (j ->> 'date_fin')::timestamp",
    );
}

#[test]
fn habitats_are_kept() {
    kept(
        "j ->> 'code_habitat' IS NOT NULL",
        "s.cd_hab = (j ->> 'code_habitat')::int",
    );
}

#[test]
fn additional_data_that_are_null_do_not_become_an_empty_object() {
    kept(
        "j -> 'donnees_additionnelles' = 'null'",
        "s.additional_data IS NULL",
    );
    kept(
        "j -> 'donnees_additionnelles' = '{}'",
        "s.additional_data = '{}'",
    );
}

#[test]
fn a_null_code_stays_null_instead_of_becoming_a_statement() {
    for (column, _, end) in truth::NOMENCLATURES {
        // The generator leaves none of these two out: an observation has or has not an area.
        if !["type_info_geo", "statut_biogeo"].contains(column) {
            kept(
                &format!("j ->> '{column}' IS NULL"),
                &format!("s.id_nomenclature_{end} IS NULL"),
            );
        }
    }
}

#[test]
fn area_attachments_are_kept() {
    kept(
        "j -> 'area_attachment' <> 'null'",
        "area_of(s.id_area_attachment) = (j -> 'area_attachment' ->> 'type_code') || '/' || (j -> 'area_attachment' ->> 'area_code')
         AND code_of(s.id_nomenclature_info_geo_type) = 'TYP_INF_GEO 2'",
    );
}

#[test]
fn records_without_uuid_reach_the_synthese() {
    kept("j ->> 'id_perm_sinp' IS NULL", "s.unique_id_sinp IS NULL");
}

#[test]
fn a_uuid_that_changed_or_came_later_is_followed() {
    let database = cluster().database();
    let partner = partner(200);
    add_source(&database, "cen", &partner, 3, "");
    run_well(&database, "cen", "full");
    truth::load(&database, &partner);
    let of = |sql: &str| {
        database.number(&format!(
            "SELECT (j ->> 'id_synthese')::int FROM public.truth WHERE {sql} LIMIT 1"
        ))
    };
    let with = of("j ->> 'id_perm_sinp' IS NOT NULL");
    let without = of("j ->> 'id_perm_sinp' IS NULL");
    for (id, uuid) in [
        (with, "0f6d1c1e-5a51-4c7b-9d0f-3e1f6b1c0001"),
        (without, "0f6d1c1e-5a51-4c7b-9d0f-3e1f6b1c0002"),
    ] {
        partner
            .update(id, &json!({"id_perm_sinp": uuid}))
            .expect("a UUID");
        let row = run_well(&database, "cen", "incremental");
        assert_eq!((number(&row, "updated"), number(&row, "inserted")), (1, 0));
        let here = database.value(&format!(
            "SELECT unique_id_sinp FROM gn_synthese.synthese WHERE entity_source_pk_value = '{id}'"
        ));
        assert_eq!(here, uuid);
    }
}

#[test]
fn a_source_that_changes_during_a_full_run_loses_nothing() {
    let database = cluster().database();
    let partner = partner(600);
    add_source(
        &database,
        "cen",
        &partner,
        3,
        "page_size => 50, connections => 1",
    );
    partner.set_cost(0.15, 0.0);
    let run = database.number("SELECT run FROM gn_harvest.run('cen', 'full', wait => false)");
    until(60, "some pages are served", || partner.figures().rows > 150);
    // Every page after these would begin five records further, were pages counted.
    let first: Vec<i64> = partner.ids().into_iter().take(5).collect();
    assert_eq!(partner.delete(&first), 5);
    let row = database.row(&format!(
        "SELECT * FROM gn_harvest.wait_for({run}, '2 minutes')"
    ));
    assert_eq!(text(&row, "status"), "succeeded", "{row:#?}");
    assert!(number(&row, "pages") > 5, "{row:#?}");
    truth::assert_equal(&database, "cen", &partner, 3);
}

#[test]
fn a_partner_whose_clock_is_two_hours_behind_ours_loses_no_change() {
    let database = cluster().database();
    let partner = partner(100);
    partner.set_clock(-7200, 0);
    add_source(&database, "cen", &partner, 3, "");
    run_well(&database, "cen", "full");
    for (at, id) in partner.ids().into_iter().take(3).enumerate() {
        partner
            .update(id, &json!({"nom_lieu": format!("déplacé {at}")}))
            .expect("a change");
        let row = run_well(&database, "cen", "auto");
        assert_eq!(
            (text(&row, "mode"), number(&row, "updated")),
            ("incremental", 1)
        );
    }
    truth::assert_equal(&database, "cen", &partner, 3);
}

#[test]
fn a_taxon_that_is_added_later_brings_the_records_that_waited_for_it() {
    let database = cluster().database();
    let partner = partner(100);
    let ids: Vec<i64> = partner.ids().into_iter().take(8).collect();
    for id in &ids {
        partner
            .update(*id, &json!({"cd_nom": 999_999}))
            .expect("an unknown taxon");
    }
    add_source(&database, "cen", &partner, 3, "");
    let row = run_well(&database, "cen", "full");
    assert_eq!(
        (number(&row, "inserted"), number(&row, "rejected")),
        (92, 8)
    );
    let summary = database.row("SELECT reason, value, records FROM gn_harvest.rejection_summary");
    assert_eq!(text(&summary, "reason"), "unknown_cd_nom");
    assert_eq!(text(&summary, "value"), "999999");
    assert_eq!(number(&summary, "records"), 8);
    database.run(
        "INSERT INTO taxonomie.taxref (cd_nom, cd_ref, lb_nom, nom_complet, nom_valide, regne, group2_inpn)
         SELECT 999999, 999999, 'Novus taxon', 'Novus taxon', 'Novus taxon', regne, group2_inpn FROM taxonomie.taxref LIMIT 1",
    );
    let row = database.row("SELECT * FROM gn_harvest.retry_rejected('cen')");
    assert_eq!(
        (text(&row, "status"), number(&row, "inserted")),
        ("succeeded", 8)
    );
    truth::assert_equal(&database, "cen", &partner, 3);
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.rejected_record"),
        0
    );
    // Nothing waits for a decision any more.
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.unmapped_value"),
        0
    );
}

#[test]
fn every_slice_is_read_whatever_the_planner_thinks_of_the_table_of_slices() {
    let database = cluster().database();
    let partner = partner(600);
    add_source(&database, "cen", &partner, 3, "page_size => 10");
    assert_eq!(number(&run_well(&database, "cen", "full"), "fetched"), 600);
    // As autovacuum leaves it between two runs: pages, and nothing in them.
    database.run("VACUUM (ANALYZE, TRUNCATE false) gn_harvest.slice");
    let seen = "SELECT relpages > 0 AND reltuples = 0 FROM pg_class WHERE oid = 'gn_harvest.slice'::regclass";
    assert_eq!(database.value(seen), "t");
    assert_eq!(number(&run_well(&database, "cen", "full"), "fetched"), 600);
}
