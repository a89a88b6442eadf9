//! An upgrade from the version before gives what a fresh installation gives, and keeps what was there.
//!
//! tests/outside/upgrade holds the installation script of each former version as it was: its file is put beside the
//! installed ones for the time of the test.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use gn_harvest_outside::Database;

use crate::support::*;

const FORMER: &str = "0.1.0";

/// The installation script of a former version, where PostgreSQL looks for it; taken away when dropped.
struct FormerScript(PathBuf);

impl FormerScript {
    fn put() -> Self {
        let pg_config = std::env::var("PG_CONFIG")
            .unwrap_or_else(|_| "/usr/lib/postgresql/15/bin/pg_config".to_owned());
        let output = Command::new(pg_config)
            .arg("--sharedir")
            .output()
            .expect("pg_config");
        let share = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let name = format!("gn_harvest--{FORMER}.sql");
        let from = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("upgrade")
            .join(&name);
        let to = Path::new(&share).join("extension").join(&name);
        std::fs::copy(from, &to).expect("the former version's script");
        FormerScript(to)
    }
}

impl Drop for FormerScript {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A database with the extension as its former version made it.
fn former_database() -> Database<'static> {
    let database = cluster().database();
    let script = FormerScript::put();
    database.run(&format!(
        "DROP EXTENSION gn_harvest CASCADE; CREATE EXTENSION gn_harvest VERSION '{FORMER}'"
    ));
    drop(script);
    database
}

/// Everything that the catalogues say of the extension, a line for each thing.
fn catalogue(database: &Database) -> BTreeSet<String> {
    let rows = database.rows(
        "WITH ours AS (
             SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
             WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'gn_harvest'),
         relation AS (SELECT c.* FROM pg_class c JOIN ours o ON o.classid = 'pg_class'::regclass AND o.objid = c.oid)
         SELECT concat_ws(' | ', 'function', p.oid::regprocedure, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid),
                          p.prosrc, p.probin, l.lanname, p.provolatile, p.proparallel, p.prosecdef, p.proisstrict, p.proretset, p.proconfig,
                          coalesce(p.proacl, acldefault('f', p.proowner)), obj_description(p.oid, 'pg_proc')) AS line
         FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
         WHERE p.oid IN (SELECT objid FROM ours WHERE classid = 'pg_proc'::regclass)
         UNION ALL
         SELECT concat_ws(' | ', 'relation', c.relname, c.relkind, c.relpersistence, c.reloptions, c.relrowsecurity, c.relacl,
                          obj_description(c.oid, 'pg_class'), CASE c.relkind WHEN 'v' THEN pg_get_viewdef(c.oid) END)
         FROM relation c
         UNION ALL
         SELECT concat_ws(' | ', 'column', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
                          a.attgenerated, a.attacl, pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum))
         FROM relation c JOIN pg_attribute a ON a.attrelid = c.oid LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
         WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'v')
         UNION ALL
         SELECT concat_ws(' | ', 'constraint', c.relname, k.conname, pg_get_constraintdef(k.oid))
         FROM pg_constraint k JOIN relation c ON c.oid = k.conrelid
         UNION ALL
         SELECT concat_ws(' | ', 'index', pg_get_indexdef(i.indexrelid), obj_description(i.indexrelid, 'pg_class'))
         FROM pg_index i JOIN relation c ON c.oid = i.indrelid
         UNION ALL
         SELECT concat_ws(' | ', 'trigger', pg_get_triggerdef(t.oid))
         FROM pg_trigger t JOIN relation c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal
         UNION ALL
         SELECT concat_ws(' | ', 'policy', c.relname, p.polname, p.polcmd, pg_get_expr(p.polqual, p.polrelid))
         FROM pg_policy p JOIN relation c ON c.oid = p.polrelid
         UNION ALL
         SELECT concat_ws(' | ', 'dumped', t.config::regclass, t.condition)
         FROM pg_extension e, unnest(e.extconfig, e.extcondition) t(config, condition) WHERE e.extname = 'gn_harvest'
         UNION ALL
         SELECT concat_ws(' | ', 'schema', n.nspname, n.nspacl, obj_description(n.oid, 'pg_namespace'))
         FROM pg_namespace n WHERE n.nspname = 'gn_harvest'
         UNION ALL
         SELECT concat_ws(' | ', 'other member', o.classid::regclass, pg_describe_object(o.classid, o.objid, 0))
         FROM ours o WHERE o.classid NOT IN ('pg_proc'::regclass, 'pg_class'::regclass)",
    );
    rows.iter()
        .map(|row| text(row, "line").to_owned())
        .collect()
}

#[test]
fn an_upgraded_database_is_as_a_fresh_one() {
    let (fresh, former) = (cluster().database(), former_database());
    former.run("ALTER EXTENSION gn_harvest UPDATE");
    let (expected, found) = (catalogue(&fresh), catalogue(&former));
    assert!(expected.len() > 300, "{}", expected.len());
    let missing: Vec<&String> = expected.difference(&found).collect();
    let left_over: Vec<&String> = found.difference(&expected).collect();
    assert!(
        missing.is_empty() && left_over.is_empty(),
        "only in a fresh one: {missing:#?}\nonly in an upgraded one: {left_over:#?}"
    );
}

#[test]
fn sources_lineage_history_and_grants_survive_an_upgrade() {
    let database = former_database();
    let partner = partner(120);
    database.run(
        "CREATE ROLE upgrade_operator LOGIN; CREATE ROLE upgrade_reader LOGIN;
         SELECT gn_harvest.grant_operator('upgrade_operator'), gn_harvest.grant_reader('upgrade_reader');
         CREATE ROLE upgrade_guest; GRANT SELECT ON gn_harvest.source_status TO upgrade_guest",
    );
    add_source(&database, "cen", &partner, 2, "max_loss => 33");
    database.run(
        "INSERT INTO gn_harvest.run (id, source_id, source, mode, status, started_by, finished_at, inserted)
         VALUES (nextval('gn_harvest.run_id_seq'), 1, 'cen', 'full', 'succeeded', 'someone', now(), 7);
         INSERT INTO gn_harvest.rejected (source_id, identity, source_key, reason, message, payload, payload_hash, first_run, last_run)
         VALUES (1, '999999', '999999', 'bad_date', 'no date', '{}', '00000000-0000-0000-0000-000000000001', 1, 1);
         INSERT INTO gn_harvest.former_source (source_id, name, id_source, dropped_by) VALUES (77, 'gone', 77, 'someone')",
    );
    let refused = database.error("SELECT gn_harvest.run('cen')");
    assert!(
        refused.contains("version 0.1.0") && refused.contains("ALTER EXTENSION gn_harvest UPDATE"),
        "{refused}"
    );

    database.run("ALTER EXTENSION gn_harvest UPDATE");
    let run = run_well(&database, "cen", "auto");
    assert_eq!(number(&run, "inserted"), partner.count() as i64);
    assert_complete(&database, "cen", &partner);
    assert_eq!(
        database.value("SELECT string_agg(concat_ws(' ', run, status, inserted), ', ' ORDER BY run) FROM gn_harvest.run_history WHERE started_by = 'someone'"),
        "1 succeeded 7"
    );
    assert_eq!(
        database.value("SELECT max_loss FROM gn_harvest.source WHERE name = 'cen'"),
        "33"
    );
    assert_eq!(
        database.value("SELECT reason FROM gn_harvest.rejected_record WHERE source_key = '999999'"),
        "bad_date"
    );
    for (role, may_run) in [("upgrade_operator", "t"), ("upgrade_reader", "f")] {
        let granted = database.row(&format!(
            "SELECT has_function_privilege('{role}', 'gn_harvest.run(text, text, boolean, boolean)', 'EXECUTE') AS runs,
                    (SELECT bool_and(has_function_privilege('{role}', p.oid, 'EXECUTE')) FROM pg_proc p
                     WHERE p.pronamespace = 'gn_harvest'::regnamespace AND p.proname IN ('add_source', 'alter_source', 'plan')) AS connects,
                    bool_and(has_table_privilege('{role}', c.oid, 'SELECT')) AS reads
             FROM pg_class c WHERE c.relnamespace = 'gn_harvest'::regnamespace AND c.relkind = 'v'
               AND c.relname IN ('run_history', 'run_progress', 'source_status', 'rejected_record', 'open_alert')"
        ));
        assert_eq!(
            ["runs", "connects", "reads"].map(|what| text(&granted, what)),
            [may_run, may_run, "t"],
            "{role}"
        );
    }
    assert_eq!(
        database.value(
            "SELECT string_agg(c.relname, ' ') FROM pg_class c
             WHERE c.relnamespace = 'gn_harvest'::regnamespace AND has_table_privilege('upgrade_guest', c.oid, 'SELECT')"
        ),
        "source_status",
        "what was granted by hand is kept, and nothing more"
    );
    database.run("DROP OWNED BY upgrade_guest; DROP ROLE upgrade_guest; DROP OWNED BY upgrade_operator, upgrade_reader; DROP ROLE upgrade_operator; DROP ROLE upgrade_reader");
}
