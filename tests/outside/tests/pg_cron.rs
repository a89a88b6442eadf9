//! Without shared_preload_libraries everything but the schedule works, says how to enable it, and the real pg_cron of
//! Debian drives it.

use gn_harvest_outside::{Cluster, Database};

use crate::support::*;

#[test]
fn without_preload_a_schedule_is_kept_and_every_check_says_how_to_enable_it() {
    let database = cluster().database();
    let partner = partner(20);
    let said = database
        .cluster
        .psql_command(&database.name)
        .args(["-X", "-c"])
        .arg(format!(
            "SELECT gn_harvest.add_source('cen', '{}', 3, token => 'jeton-export-3', schedule => 'daily 03:00')",
            partner.url()
        ))
        .output()
        .expect("psql");
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(
        said.contains("NOTICE:  The library is not in shared_preload_libraries"),
        "{said}"
    );
    let status = database.row("SELECT * FROM gn_harvest.scheduler_status");
    assert_eq!(text(&status, "state"), "Not enabled");
    let enable =
        "shared_preload_libraries = 'gn_harvest' in postgresql.conf and restart PostgreSQL";
    assert!(text(&status, "hint").contains(enable), "{status:?}");
    assert_eq!(text(&status, "launcher_pid"), "");
    let check = |sql: &str| {
        database.run(sql);
        database.row("SELECT status, detail, hint FROM gn_harvest.check_source('cen') WHERE \"check\" = 'schedule'")
    };
    let row = check("SELECT 1");
    assert_eq!(text(&row, "status"), "warning", "{row:?}");
    assert!(
        text(&row, "detail").starts_with("Daily – 03:00. "),
        "{row:?}"
    );
    assert!(text(&row, "hint").contains(enable), "{row:?}");
    let row = check("SELECT gn_harvest.alter_source('cen', schedule => 'manual')");
    assert_eq!(text(&row, "status"), "ok", "{row:?}");
    assert!(text(&row, "hint").contains(enable), "{row:?}");
    assert_eq!(
        database.value("SELECT next_run FROM gn_harvest.source_status"),
        ""
    );
    run_well(&database, "cen", "auto");
    assert_complete(&database, "cen", &partner);
}

#[test]
fn pg_cron_drives_it() {
    let cluster = Cluster::temporary(&[
        ("shared_preload_libraries", "pg_cron"),
        ("cron.use_background_workers", "on"),
    ]);
    let partner = partner(20);
    let database = cluster.database();
    add_source(&database, "cen", &partner, 3, "");
    let postgres = Database::existing(&cluster, "postgres");
    postgres.run("CREATE EXTENSION pg_cron");
    postgres.run(&format!(
        "SELECT cron.schedule_in_database('harvest', '* * * * *', 'SELECT gn_harvest.run_all()', '{}')",
        database.name
    ));
    database.wait_until(
        180,
        "SELECT count(*) > 0 FROM gn_harvest.run_history WHERE status = 'succeeded'",
    );
    assert_complete(&database, "cen", &partner);
    // A job that is unscheduled too early leaves no trace.
    postgres.wait_until(
        60,
        "SELECT count(*) > 0 FROM cron.job_run_details WHERE status = 'succeeded'",
    );
    postgres.run("SELECT cron.unschedule('harvest')");
}
