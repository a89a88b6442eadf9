//! The fast load leaves what the standard one leaves; what it does not know it leaves to the standard one, and says so.

use geonature_simulator::Simulator;
use gn_harvest_outside::{Database, rows};
use serde_json::json;

use crate::roles::{add_as, harvester};
use crate::support::*;
use crate::writers::{small_batches, transactions};

const FAST: &str = "load => 'fast'";
const OWN_TRIGGER: &str = "CREATE FUNCTION public.own() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.place_name := ''ici''; RETURN NEW; END';
     CREATE TRIGGER a_own BEFORE INSERT ON gn_synthese.synthese FOR EACH ROW EXECUTE FUNCTION public.own()";
/// Shares an edge with one area, lies across another, and within a third.
const SQUARE: &str = "POLYGON((5.6 44.9,5.61 44.9,5.61 44.91,5.6 44.91,5.6 44.9))";

/// What runs leave, by the source's keys; ids and the clock are left out.
const LEFT: &[(&str, &str)] = &[
    (
        "synthese",
        "SELECT to_jsonb(s) - '{id_synthese,id_dataset,id_source,meta_create_date,meta_update_date}'::text[] AS row,
                d.unique_dataset_id, s.meta_create_date = s.meta_update_date AS dates,
                s.meta_create_date > localtimestamp - interval '1 hour' AS now, encode(ST_AsEWKB(s.the_geom_local), 'hex') AS geometry
         FROM gn_synthese.synthese s JOIN gn_meta.t_datasets d USING (id_dataset) ORDER BY entity_source_pk_value",
    ),
    (
        "cor_area_synthese",
        "SELECT s.entity_source_pk_value AS key, a.area_code, a.id_type
         FROM gn_synthese.cor_area_synthese c JOIN gn_synthese.synthese s USING (id_synthese) JOIN ref_geo.l_areas a USING (id_area)
         ORDER BY 1, 2, 3",
    ),
    (
        "t_log_synthese",
        "SELECT count(*) FROM gn_synthese.t_log_synthese",
    ),
    (
        "lineage",
        "SELECT h.source_key, h.uuid, h.attributes_hash, h.geometry_hash, h.cd_nom, h.id_synthese = s.id_synthese AS there,
                h.id_dataset = s.id_dataset AS same, h.deleted_at IS NULL AS lives
         FROM gn_harvest.harvested h LEFT JOIN gn_synthese.synthese s ON s.entity_source_pk_value = h.source_key ORDER BY 1",
    ),
    (
        "tallies",
        "SELECT cd_nom, sum(observations) FROM gn_harvest.taxon_tally GROUP BY 1 HAVING sum(observations) <> 0 ORDER BY 1",
    ),
    (
        "state",
        "SELECT observations, watermark FROM gn_harvest.source_state",
    ),
    (
        "rejects",
        "SELECT identity, reason, column_name, value, message, sqlstate FROM gn_harvest.rejected ORDER BY 1, 2",
    ),
];

#[track_caller]
fn assert_same(standard: &Database, fast: &Database) {
    for (table, query) in LEFT {
        let (here, there) = (standard.rows(query), fast.rows(query));
        assert_eq!(here.len(), there.len(), "{table}");
        for (here, there) in here.iter().zip(&there) {
            assert_eq!(here, there, "{table}");
        }
    }
}

fn warnings(row: &gn_harvest_outside::Row) -> String {
    text(row, "warnings").to_owned()
}

/// Areas that are disabled, and three squares: beside, across and around `SQUARE`.
fn prepare(database: &Database) {
    database.run(
        "UPDATE ref_geo.l_areas SET enable = false WHERE id_area % 5 = 0;
         INSERT INTO ref_geo.l_areas (id_type, area_code, area_name, geom)
         SELECT (SELECT id_type FROM ref_geo.bib_areas_types WHERE type_code = 'ZNIEFF1'), code, code,
                ST_Multi(ST_Transform(ST_GeomFromText(wkt, 4326), 2154))
         FROM (VALUES ('beside', 'POLYGON((5.61 44.9,5.62 44.9,5.62 44.91,5.61 44.91,5.61 44.9))'),
                      ('across', 'POLYGON((5.605 44.9,5.62 44.9,5.62 44.91,5.605 44.91,5.605 44.9))'),
                      ('around', 'POLYGON((5.59 44.89,5.62 44.89,5.62 44.92,5.59 44.92,5.59 44.89))')) a(code, wkt)",
    );
}

fn add_hard_cases(partner: &Simulator) {
    add_cases_that_stand_alone(partner);
    let uuid = partner
        .ids()
        .into_iter()
        .map(|id| partner.observation(id).expect("it")["id_perm_sinp"].clone())
        .find(|uuid| !uuid.is_null())
        .expect("one with a UUID");
    partner
        .insert(&json!({"id_perm_sinp": uuid}))
        .expect("a duplicate");
}

/// Those of which nothing depends on what is written first.
fn add_cases_that_stand_alone(partner: &Simulator) {
    for values in [
        json!({"wkt_4326": SQUARE}),
        json!({"wkt_4326": "POINT(5.61 44.9)"}),
        json!({"wkt_4326": "LINESTRING(5.61 44.9,5.61 44.91)"}),
        json!({"wkt_4326": null}),
        json!({"id_perm_sinp": null}),
        json!({"nombre_min": 5, "nombre_max": 2}),
        json!({"cd_nom": 99_999_999}),
    ] {
        partner.insert(&values).expect("an observation");
    }
}

/// Fails unless new rows were written once: no trigger wrote them a second time.
#[track_caller]
fn assert_written_once(database: &Database) {
    let writes =
        "n_tup_ins > 0 FROM pg_stat_user_tables WHERE relid = 'gn_synthese.synthese'::regclass";
    database.wait_until(60, &format!("SELECT {writes}"));
    assert_eq!(
        database.value(&format!("SELECT n_tup_upd = 0 AND {writes}")),
        "t"
    );
}

#[test]
fn leaves_what_the_standard_load_leaves() {
    let (standard, fast) = (cluster().database(), cluster().database());
    let partner = partner(900);
    add_hard_cases(&partner);
    for (database, options) in [(&standard, ""), (&fast, FAST)] {
        prepare(database);
        add_source(database, "cen", &partner, 3, options);
        run_well(database, "cen", "full");
    }
    assert_same(&standard, &fast);
    // The cases are there.
    assert!(
        fast.number("SELECT count(DISTINCT id_nomenclature_sensitivity) FROM gn_synthese.synthese")
            > 2
    );
    let areas = |geometry: &str| {
        fast.value(&format!(
            "SELECT string_agg(area_code, ' ' ORDER BY area_code) FROM gn_synthese.synthese s
             JOIN gn_synthese.cor_area_synthese USING (id_synthese) JOIN ref_geo.l_areas USING (id_area)
             WHERE s.the_geom_4326::text = ST_GeomFromText('{geometry}', 4326)::text AND area_code IN ('beside', 'across', 'around')"
        ))
    };
    assert_eq!(areas(SQUARE), "across around");
    assert_eq!(areas("POINT(5.61 44.9)"), "around beside");
    assert!(fast.number("SELECT count(*) FROM gn_harvest.rejected") >= 3);
    assert_eq!(
        fast.value(
            "SELECT count(*) FROM gn_synthese.cor_area_synthese JOIN ref_geo.l_areas USING (id_area) WHERE NOT enable"
        ),
        "0"
    );
    // It was the fast one.
    assert_written_once(&fast);
    standard.wait_until(
        60,
        "SELECT n_tup_upd > 0 FROM pg_stat_user_tables WHERE relid = 'gn_synthese.synthese'::regclass",
    );

    // Changes and deletions fire what they always fire.
    let ids = partner.ids();
    partner
        .update(ids[3], &json!({"wkt_4326": SQUARE}))
        .expect("a change");
    partner
        .update(ids[4], &json!({"comment_releve": "autre"}))
        .expect("a change");
    partner.delete(&ids[5..6]);
    for database in [&standard, &fast] {
        run_well(database, "cen", "reconcile");
    }
    assert_same(&standard, &fast);
}

#[test]
fn several_writers_leave_what_the_standard_load_of_one_leaves() {
    let (standard, fast) = (small_batches().database(), small_batches().database());
    let partner = partner(900);
    add_cases_that_stand_alone(&partner);
    for (database, options) in [
        (&standard, "writers => 1, page_size => 50"),
        (&fast, "load => 'fast', writers => 2, page_size => 50"),
    ] {
        prepare(database);
        add_source(database, "cen", &partner, 3, options);
    }
    run_well(&standard, "cen", "full");
    let row = shared_run(&fast, "");
    assert!(!warnings(&row).contains("load"), "{row:#?}");
    assert_written_once(&fast);
    assert!(transactions(&fast) >= 9);
    assert_same(&standard, &fast);
    assert_same_image(&fast, &standard);

    // Written a second time, and with changes.
    let some: Vec<i64> = partner.ids().iter().step_by(9).copied().collect();
    partner
        .update_many(&some, &json!({"wkt_4326": SQUARE}))
        .expect("changes");
    partner.insert(&json!({})).expect("a new one");
    partner.delete_silently(&partner.ids()[20..30]);
    for database in [&standard, &fast] {
        let row = run_well(database, "cen", "reconcile");
        assert_eq!(number(&row, "deleted"), 10, "{row:#?}");
    }
    assert_same(&standard, &fast);
    assert_same_image(&fast, &standard);
}

/// A full run that two writers wrote for: each waits for a lock, in whose transaction something is done, before it is let go.
fn shared_run(database: &Database, meanwhile: &str) -> gn_harvest_outside::Row {
    let mut lock = database.connect();
    lock.batch_execute("BEGIN; LOCK TABLE gn_synthese.synthese IN SHARE MODE")
        .expect("a lock");
    let run = start(database, "cen", "full");
    database.wait_until(
        60,
        "SELECT count(*) = 2 FROM pg_stat_activity
         WHERE backend_type = 'gn_harvest writer' AND datname = current_database() AND wait_event_type = 'Lock'",
    );
    lock.batch_execute(&format!("{meanwhile}; COMMIT"))
        .expect("the lock let go");
    let row = ended(database, run);
    assert_eq!(text(&row, "status"), "succeeded", "{row:#?}");
    row
}

#[test]
fn several_writers_say_once_that_the_load_is_the_standard_one() {
    let database = small_batches().database();
    let partner = partner(600);
    add_source(
        &database,
        "cen",
        &partner,
        3,
        "load => 'fast', writers => 2, page_size => 50",
    );
    database.run(OWN_TRIGGER);
    let row = shared_run(&database, "");
    assert_eq!(
        warnings(&row).matches("the standard load was used").count(),
        1,
        "{row:#?}"
    );
    assert_eq!(
        database.value("SELECT count(*) FILTER (WHERE place_name IS DISTINCT FROM 'ici') FROM gn_synthese.synthese"),
        "0"
    );
}

#[test]
fn a_trigger_that_comes_during_a_run_is_obeyed() {
    let database = small_batches().database();
    let partner = partner(600);
    let shared = "load => 'fast', writers => 2, page_size => 50";
    add_source(&database, "cen", &partner, 3, shared);
    let row = shared_run(&database, OWN_TRIGGER);
    assert_eq!(number(&row, "inserted"), 600, "{row:#?}");
    assert_eq!(
        database.value("SELECT count(*) FILTER (WHERE place_name IS DISTINCT FROM 'ici') FROM gn_synthese.synthese"),
        "0"
    );
}

#[test]
fn a_foreign_key_refuses_in_the_same_words() {
    let (standard, fast) = (cluster().database(), cluster().database());
    let partner = partner(60);
    for (database, options) in [(&standard, ""), (&fast, FAST)] {
        database.run("ALTER TABLE gn_synthese.synthese ALTER COLUMN id_module SET DEFAULT 424242");
        add_source(database, "cen", &partner, 3, options);
        run(database, "cen", "full");
    }
    assert_eq!(
        fast.number("SELECT count(*) FROM gn_harvest.rejected WHERE sqlstate = '23503'"),
        60
    );
    assert_same(&standard, &fast);
}

#[test]
fn what_it_does_not_know_is_left_to_the_standard_load() {
    let partner = partner(40);
    for (change, why) in [
        (
            OWN_TRIGGER,
            "trigger a_own on gn_synthese.synthese is not one",
        ),
        (
            "ALTER TABLE gn_synthese.synthese DISABLE TRIGGER tri_insert_cor_area_synthese",
            "trigger tri_insert_cor_area_synthese on gn_synthese.synthese is disabled or altered",
        ),
        (
            "DROP TRIGGER tri_insert_calculate_sensitivity ON gn_synthese.synthese",
            "trigger tri_insert_calculate_sensitivity on gn_synthese.synthese is missing",
        ),
        (
            "CREATE OR REPLACE FUNCTION public.fct_trg_meta_dates_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
            "function public.fct_trg_meta_dates_change is not as",
        ),
        (
            "CREATE RULE own AS ON INSERT TO gn_synthese.cor_area_synthese DO ALSO NOTHING",
            "rule own is on",
        ),
        (
            "CREATE TABLE public.own (id integer PRIMARY KEY);
             ALTER TABLE gn_synthese.synthese ADD CONSTRAINT own_key FOREIGN KEY (count_min) REFERENCES public.own NOT VALID",
            "foreign key own_key of gn_synthese.synthese is not one",
        ),
    ] {
        let database = cluster().database();
        add_source(&database, "cen", &partner, 3, FAST);
        database.run(change);
        let check = database.row(
            "SELECT * FROM gn_harvest.check_source('cen') WHERE \"check\" = 'load'",
        );
        assert_eq!(text(&check, "status"), "warning", "{check:?}");
        assert!(text(&check, "detail").contains(why), "{check:?}");
        let row = run(&database, "cen", "full");
        assert!(
            warnings(&row).contains("the standard load was used instead of the fast one")
                && warnings(&row).contains(why),
            "{row:#?}"
        );
        if change.contains("a_own") {
            assert_eq!(
                database.number("SELECT count(*) FROM gn_synthese.synthese WHERE place_name = 'ici'"),
                database.number("SELECT count(*) FROM gn_synthese.synthese")
            );
        }
    }
    let database = cluster().database();
    add_source(&database, "cen", &partner, 3, FAST);
    let check =
        database.row("SELECT * FROM gn_harvest.check_source('cen') WHERE \"check\" = 'load'");
    assert_eq!(text(&check, "status"), "ok", "{check:?}");
    assert!(!warnings(&run_well(&database, "cen", "full")).contains("load"));
}

#[test]
fn the_right_to_leave_triggers_aside_is_asked_for() {
    let database = cluster().database();
    let partner = partner(50);
    let role = harvester(&database, "fast");
    add_as(&database, &role, "cen", partner.url());
    let alter = "SELECT name FROM gn_harvest.alter_source('cen', load => 'fast')";
    let refused = match database.connect_as(&role).batch_execute(alter) {
        Ok(()) => panic!("allowed"),
        Err(error) => gn_harvest_outside::describe(&error),
    };
    let grant = format!("GRANT SET ON PARAMETER session_replication_role TO {role}");
    assert!(
        refused.contains("42501") && refused.contains(&grant),
        "{refused}"
    );
    database.run(&grant);
    assert_eq!(rows(&mut database.connect_as(&role), alter).len(), 1);
    database.run(&grant.replace("GRANT", "REVOKE").replace(" TO ", " FROM "));
    let check =
        database.row("SELECT * FROM gn_harvest.check_source('cen') WHERE \"check\" = 'load'");
    assert_eq!(text(&check, "status"), "error", "{check:?}");
    let failed = run(&database, "cen", "full");
    assert_eq!(text(&failed, "status"), "failed", "{failed:#?}");
    assert_eq!(text(&failed, "error_sqlstate"), "42501", "{failed:#?}");
    assert_eq!(
        database.number("SELECT count(*) FROM gn_synthese.synthese"),
        0
    );
    database.run(&grant);
    run_well(&database, "cen", "full");
    assert_complete(&database, "cen", &partner);
    database.run(&grant.replace("GRANT", "REVOKE").replace(" TO ", " FROM "));
}

#[test]
fn a_parent_row_stays_while_observations_refer_to_it() {
    let database = cluster().database();
    let partner = partner(60);
    add_source(&database, "cen", &partner, 3, FAST);
    // The worker waits in its transaction, after the observations and their parents, for its own lineage.
    let mut holder = database.connect();
    holder
        .batch_execute("BEGIN; LOCK TABLE gn_harvest.harvested IN SHARE MODE")
        .expect("a lock");
    let run = start(&database, "cen", "full");
    database.wait_until(
        60,
        "SELECT EXISTS (SELECT FROM pg_locks l WHERE l.relation = 'gn_harvest.harvested'::regclass AND NOT l.granted)",
    );
    let cd_nom = partner.observation(partner.ids()[0]).expect("it")["cd_nom"].clone();
    let mut other = database.connect();
    let refused = other
        .batch_execute(&format!(
            "SET lock_timeout = '300ms'; DELETE FROM taxonomie.taxref WHERE cd_nom = {cd_nom}"
        ))
        .expect_err("the row is held");
    assert_eq!(refused.code().expect("a code").code(), "55P03");
    // Other sessions have their triggers.
    assert_eq!(database.value("SHOW session_replication_role"), "origin");
    holder.batch_execute("COMMIT").expect("the lock let go");
    assert_eq!(text(&ended(&database, run), "status"), "succeeded");
    assert_complete(&database, "cen", &partner);
}
