//! PostgreSQL ends a deadlock by rolling one of its transactions back: a run whose batch that was writes it again.

use geonature_simulator::{Config, Simulator};
use gn_harvest_outside::Database;
use serde_json::json;

use crate::support::*;
use crate::writers::small_batches;

fn partner_of(observations: u32, seed: u64) -> Simulator {
    partner_with(Config {
        observations,
        seed,
        ..Config::default()
    })
}

/// The next statements of a kind on a table fail as if they had deadlocked.
fn fail(database: &Database, table: &str, event: &str, times: u32) {
    let name = counter(table, event);
    // A sequence counts on although its transaction is rolled back.
    database.run(&format!(
        "CREATE SEQUENCE public.{name};
         CREATE FUNCTION public.fail_{name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
         BEGIN
             IF nextval('public.{name}') <= {times} THEN
                 RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01';
             END IF;
             RETURN NULL;
         END $$;
         CREATE TRIGGER zz_{name} AFTER {event} ON {table} FOR EACH STATEMENT EXECUTE FUNCTION public.fail_{name}()"
    ));
}

fn counter(table: &str, event: &str) -> String {
    format!("{}_{event}", table.replace('.', "_")).to_lowercase()
}

fn tries(database: &Database, table: &str, event: &str) -> i64 {
    let name = counter(table, event);
    database.number(&format!("SELECT last_value FROM public.{name}"))
}

#[test]
fn a_batch_that_deadlocked_is_written_again() {
    let partner = partner_of(600, 81);
    for writers in [1, 3] {
        let database = small_batches().database();
        let options = format!("writers => {writers}, page_size => 50");
        add_source(&database, "cen", &partner, 3, &options);
        fail(&database, "gn_synthese.synthese", "INSERT", 2);
        // What the same transaction has made before is gone too: datasets, and what was noted of them.
        fail(&database, "gn_meta.t_datasets", "INSERT", 1);
        let run = run_well(&database, "cen", "full");
        assert!(
            tries(&database, "gn_synthese.synthese", "INSERT") > 2,
            "{writers}"
        );
        assert!(
            tries(&database, "gn_meta.t_datasets", "INSERT") > 1,
            "{writers}"
        );
        assert_eq!(number(&run, "fetched"), 600, "{run:?}");
        assert_eq!(number(&run, "inserted"), 600, "{run:?}");
        assert_eq!(text(&run, "warnings"), "{}", "{run:?}");
        assert_complete(&database, "cen", &partner);

        let undisturbed = small_batches().database();
        add_source(&undisturbed, "cen", &partner, 3, &options);
        run_well(&undisturbed, "cen", "full");
        for noted in [
            "SELECT string_agg(format('%s %s %s', kind, uuid, name), ',' ORDER BY kind, uuid) FROM gn_harvest.source_metadata",
            "SELECT column_formats FROM gn_harvest.source_state",
            "SELECT observations FROM gn_harvest.source_state",
            "SELECT count(*) FROM gn_synthese.cor_area_synthese",
            "SELECT string_agg(format('%s %s', d.unique_dataset_id, d.dataset_name), ',' ORDER BY d.unique_dataset_id) FROM gn_meta.t_datasets d",
        ] {
            assert_eq!(database.value(noted), undisturbed.value(noted), "{noted}");
        }
    }
}

#[test]
fn a_batch_that_deadlocks_again_and_again_fails_the_run_and_the_next_goes_on() {
    let partner = partner_of(300, 82);
    let database = small_batches().database();
    add_source(&database, "cen", &partner, 3, "page_size => 50");
    fail(&database, "gn_synthese.synthese", "INSERT", 1000);
    let failed = run(&database, "cen", "full");
    assert_eq!(text(&failed, "status"), "failed", "{failed:?}");
    assert_eq!(text(&failed, "error_sqlstate"), "40P01", "{failed:?}");
    assert_eq!(number(&failed, "fetched"), 0, "{failed:?}");
    database.run("DROP TRIGGER zz_gn_synthese_synthese_insert ON gn_synthese.synthese");
    run_well(&database, "cen", "full");
    assert_complete(&database, "cen", &partner);
}

#[test]
fn records_deletions_and_dead_letters_that_deadlocked_are_tried_again() {
    let partner = partner_of(300, 83);
    let database = cluster().database();
    add_source(&database, "records", &partner, 3, "target => 'records'");
    fail(&database, "gn_harvest.record", "INSERT", 1);
    let run = run_well(&database, "records", "full");
    assert_eq!(number(&run, "inserted"), 300, "{run:?}");
    assert_eq!(tries(&database, "gn_harvest.record", "INSERT"), 2);

    let ids = partner.ids();
    add_source(&database, "cen", &partner, 3, "");
    run_well(&database, "cen", "full");
    partner.delete(&ids[..5]);
    fail(&database, "gn_synthese.synthese", "DELETE", 1);
    let run = run_well(&database, "cen", "reconcile");
    assert_eq!(number(&run, "deleted"), 5, "{run:?}");
    assert_eq!(tries(&database, "gn_synthese.synthese", "DELETE"), 2);
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.missing"),
        0
    );

    let broken = ids[10];
    partner
        .update(broken, &json!({"cd_nom": 999_999_999}))
        .expect("an unknown taxon");
    run_well(&database, "cen", "full");
    const WAITING: &str = "SELECT count(*) FROM gn_harvest.rejected WHERE discarded_at IS NULL";
    assert_eq!(database.number(WAITING), 1);
    database.run(
        "INSERT INTO taxonomie.taxref (cd_nom, cd_ref, lb_nom, nom_complet, nom_valide, regne, group2_inpn)
         VALUES (999999999, 999999999, 'Exempli gratia', 'Exempli gratia', 'Exempli gratia', 'Animalia', 'Autres')",
    );
    fail(&database, "gn_synthese.synthese", "UPDATE", 1);
    let run = database.row("SELECT * FROM gn_harvest.retry_rejected('cen')");
    assert_eq!(number(&run, "fetched"), 1, "{run:?}");
    assert_eq!(number(&run, "updated"), 1, "{run:?}");
    assert_eq!(tries(&database, "gn_synthese.synthese", "UPDATE"), 2);
    assert_eq!(database.number(WAITING), 0);
}

#[test]
fn a_run_that_deadlocks_with_another_session_gives_way_and_goes_on() {
    let partner = partner_of(600, 84);
    let wanted = |position: usize| {
        let ids = partner.ids();
        let mut uuids = ids.into_iter().filter_map(|id| {
            Some(
                partner.observation(id)?["id_perm_sinp"]
                    .as_str()?
                    .to_owned(),
            )
        });
        uuids.nth(position).expect("a UUID")
    };
    let (early, late) = (wanted(0), wanted(20));
    for (writers, load) in [(1, "standard"), (3, "standard"), (1, "fast")] {
        let database = small_batches().database();
        // A row to copy, and a dataset for it.
        let first = partner_of(3, 900);
        add_source(&database, "first", &first, 3, "");
        run_well(&database, "first", "full");
        // The run looks for a deadlock once, this long after it began to wait; the other session much later.
        let name = database.value("SELECT quote_ident(current_database())");
        database.run(&format!(
            "ALTER DATABASE {name} SET deadlock_timeout = '8s'"
        ));
        let options = format!("writers => {writers}, page_size => 50, load => '{load}'");
        add_source(&database, "cen", &partner, 3, &options);
        let bring = |uuid: &str| {
            format!(
                "INSERT INTO gn_synthese.synthese (unique_id_sinp, id_source, id_dataset, cd_nom, nom_cite, date_min, date_max, the_geom_4326, the_geom_point, the_geom_local)
                 SELECT '{uuid}', id_source, id_dataset, cd_nom, nom_cite, date_min, date_max, the_geom_4326, the_geom_point, the_geom_local
                 FROM gn_synthese.synthese ORDER BY id_synthese LIMIT 1"
            )
        };
        let mut local = database.connect();
        local
            .batch_execute(&format!(
                "SET deadlock_timeout = '60s'; BEGIN; {}",
                bring(&late)
            ))
            .expect("a local observation");
        let run = start(&database, "cen", "full");
        database.wait_until(
            60,
            "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted",
        );
        local
            .batch_execute(&bring(&early))
            .expect("the run gave way");
        local.batch_execute("COMMIT").expect("committed");
        let row = ended(&database, run);
        assert_eq!(
            text(&row, "status"),
            "succeeded",
            "{writers} {load}: {row:?}"
        );
        assert_eq!(number(&row, "fetched"), 600, "{row:?}");
        assert_eq!(number(&row, "inserted"), 598, "{row:?}");
        assert_eq!(
            database.number("SELECT count(*) FROM gn_harvest.rejected WHERE reason = 'uuid_owned_by_other_source'"),
            2
        );
    }
}
