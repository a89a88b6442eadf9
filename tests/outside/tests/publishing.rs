//! publish_export and unpublish_export as a partner's operator meets them: rights, dry runs, refusals, undoing.

use gn_harvest_outside::describe;

use crate::people::*;
use crate::published::*;
use crate::support::*;

#[test]
fn an_operator_publishes_what_it_may_read_and_sees_no_other_publication() {
    let partner = Partner::new(60);
    let database = &partner.database;
    let call = "SELECT * FROM gn_harvest.publish_export('cen', roles => '{admin}')";
    let none = role(database, "stranger");
    assert!(error_as(database, &none, call).starts_with("42501: "));
    // An operator without rights on the data, then without those on the exports.
    let other = role(database, "other");
    database.run(&format!("SELECT gn_harvest.grant_operator('{other}')"));
    assert!(error_as(database, &other, call).starts_with("42501: "));
    database.run(&GRANTS.replace("{operator}", &other));
    database.run(&format!(
        "REVOKE SELECT ON gn_synthese.synthese FROM {other}"
    ));
    assert!(error_as(database, &other, call).starts_with("42501: "));
    database.run(&format!("GRANT SELECT ON gn_synthese.synthese TO {other}; REVOKE SELECT ON utilisateurs.t_roles FROM {other}"));
    assert!(error_as(database, &other, call).starts_with("42501: "));
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.publication"),
        0,
        "nothing is left of it"
    );
    assert_eq!(
        database.number("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'zz_gn_harvest%'"),
        0
    );
    database.run(&format!("GRANT SELECT ON utilisateurs.t_roles TO {other}"));

    partner.publish("cen", "roles => '{admin}'");
    assert_eq!(database.number("SELECT rolsuper::integer FROM pg_class c JOIN pg_roles r ON r.oid = relowner WHERE relname = 'v_cen_observations'"), 0);
    as_role(
        database,
        &other,
        "SELECT * FROM gn_harvest.publish_export('theirs')",
    );
    for call in [
        "publish_export('cen')",
        "publish_export('cen', dry_run => true)",
        "unpublish_export('cen')",
    ] {
        let error = error_as(database, &other, &format!("SELECT gn_harvest.{call}"));
        assert!(
            error.starts_with("42501: ")
                && error.contains("may not manage publication")
                && error.contains("HINT: GRANT "),
            "{call}: {error}"
        );
    }
    database.run("DELETE FROM gn_synthese.synthese");
    let seen = |role: &str| {
        value_as(
            database,
            role,
            "SELECT string_agg(DISTINCT slug, ' ') FROM gn_harvest.departure",
        )
    };
    assert_eq!(
        (seen(&partner.operator), seen(&other)),
        ("cen".into(), "theirs".into())
    );
    let labels = |role: &str| {
        value_as(
            database,
            role,
            "SELECT string_agg(label, ' ' ORDER BY label) FROM gn_harvest.published_export",
        )
    };
    assert_eq!(
        (labels(&partner.operator), labels(&other)),
        ("cen".into(), "theirs".into())
    );
    // Who serves reads the views, and nothing behind them.
    assert_eq!(partner.keys("gn_exports.v_cen_deletions").len(), 60);
    for table in [
        "gn_synthese.synthese",
        "gn_harvest.departure",
        "gn_harvest.publication",
    ] {
        assert!(
            error_as(
                database,
                &partner.application,
                &format!("SELECT * FROM {table}")
            )
            .starts_with("42501: ")
        );
    }
    for view in ["observations", "metadata", "deletions"] {
        assert!(
            error_as(
                database,
                &none,
                &format!("SELECT * FROM gn_exports.v_cen_{view}")
            )
            .starts_with("42501: ")
        );
    }
}

#[test]
fn a_dry_run_does_nothing_and_shows_what_would_be_run() {
    let partner = Partner::new(60);
    let database = &partner.database;
    let catalog = "SELECT md5(string_agg(x, ' ' ORDER BY x)) FROM (
        SELECT oid::regclass::text || relacl::text FROM pg_class WHERE relnamespace::regnamespace::text ~ '^(gn_|utilis)' UNION ALL SELECT tgrelid::text || tgname FROM pg_trigger
        UNION ALL SELECT oid::regprocedure::text FROM pg_proc UNION ALL SELECT polname FROM pg_policy UNION ALL SELECT x::text FROM gn_exports.t_exports x
        UNION ALL SELECT p::text FROM gn_harvest.publication p) t(x)";
    let before = database.value(catalog);
    let shown = partner
        .publish(
            "Données d''été",
            "areas => '{DEP/05}', sensitivity_max => '1', roles => '{admin}', dry_run => true",
        )
        .remove(0);
    assert_eq!(database.value(catalog), before);
    assert_eq!(
        (
            text(&shown, "observations_export"),
            text(&shown, "token"),
            text(&shown, "add_source")
        ),
        ("", "", "")
    );
    let statements = text(&shown, "statements");
    for part in [
        "CREATE OR REPLACE VIEW gn_exports.v_donnees_d_ete_observations",
        "_metadata AS",
        "_deletions AS",
        "CREATE TRIGGER zz_gn_harvest_donnees_d_ete_update",
        "CREATE INDEX IF NOT EXISTS gn_harvest_derniere_action",
    ] {
        assert!(statements.contains(part), "{part} is not in {statements}");
    }
    // What was shown can be run, and is what the call itself does.
    database.run("BEGIN; CREATE TABLE public.made (definition text)");
    let definition = "SELECT pg_get_viewdef('gn_exports.v_donnees_d_ete_observations'::regclass) || pg_get_viewdef('gn_exports.v_donnees_d_ete_metadata'::regclass)";
    let mut session = database.connect();
    let mut transaction = session.transaction().expect("a transaction");
    if let Err(error) = transaction.batch_execute(statements) {
        panic!("{}: {statements}", describe(&error));
    }
    let by_hand: String = transaction
        .query_one(definition, &[])
        .expect("the views")
        .get(0);
    transaction.rollback().expect("a rollback");
    partner.publish(
        "Données d''été",
        "areas => '{DEP/05}', sensitivity_max => '1', roles => '{admin}'",
    );
    assert_eq!(database.value(definition), by_hand);
}

#[test]
fn the_index_is_left_to_the_operator_on_request() {
    let partner = Partner::new(60);
    let database = &partner.database;
    let index = "SELECT to_regclass('gn_synthese.gn_harvest_derniere_action')";
    let row = partner.publish("cen", "concurrently => true").remove(0);
    assert_eq!(database.value(index), "");
    let statement = text(&row, "statements");
    assert!(
        statement.starts_with("CREATE INDEX CONCURRENTLY "),
        "{statement}"
    );
    database.run(statement);
    assert_eq!(
        database.value(index),
        "gn_synthese.gn_harvest_derniere_action"
    );
    assert_eq!(
        text(
            &partner.publish("cen", "concurrently => true")[0],
            "statements"
        ),
        ""
    );
    let plan = database.rows(&format!("SET enable_seqscan = off; EXPLAIN SELECT * FROM {VIEW} WHERE derniere_action >= '2024-01-01' ORDER BY id_synthese LIMIT 1000"));
    assert!(
        format!("{plan:?}").contains("gn_harvest_derniere_action"),
        "{plan:#?}"
    );
}

#[test]
fn unpublishing_leaves_nothing() {
    let partner = Partner::new(60);
    let database = &partner.database;
    let left = "SELECT string_agg(x, ' ' ORDER BY x) FROM (
        SELECT oid::regclass::text FROM pg_class WHERE relnamespace::regnamespace::text IN ('gn_exports', 'gn_synthese', 'gn_harvest')
        UNION ALL SELECT tgrelid::regclass || '.' || tgname FROM pg_trigger WHERE NOT tgisinternal UNION ALL SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace::regnamespace::text ~ '^gn_'
        UNION ALL SELECT polname FROM pg_policy UNION ALL SELECT x::text FROM gn_exports.t_exports x UNION ALL SELECT x::text FROM gn_exports.cor_exports_roles x
        UNION ALL SELECT 'publication' FROM gn_harvest.publication UNION ALL SELECT 'scope' FROM gn_harvest.publication_scope
        UNION ALL SELECT 'departure' FROM gn_harvest.departure UNION ALL SELECT 'change' FROM gn_harvest.metadata_change) t(x)";
    let before = database.value(left);
    partner.publish("cen", "areas => '{DEP/05}', taxa => ARRAY(SELECT cd_nom FROM taxonomie.taxref LIMIT 3), roles => '{admin}'");
    partner.publish("autre", "public => true");
    database.run("DELETE FROM gn_synthese.synthese WHERE id_synthese % 2 = 0");
    as_role(
        database,
        &partner.operator,
        "SELECT gn_harvest.unpublish_export('cen')",
    );
    // The other goes on.
    database.run("DELETE FROM gn_synthese.synthese WHERE id_synthese % 3 = 0");
    assert!(partner.keys("gn_exports.v_autre_deletions").len() > 30);
    as_role(
        database,
        &partner.operator,
        "SELECT gn_harvest.unpublish_export('autre')",
    );
    assert_eq!(database.value(left), before);
    database.run("DROP EXTENSION gn_harvest");
}

#[test]
fn geonature_goes_on_writing_when_it_has_become_another() {
    let partner = Partner::new(60);
    let database = &partner.database;
    partner.publish("cen", "datasets => ARRAY(SELECT unique_dataset_id FROM gn_meta.t_datasets WHERE id_dataset % 2 = 0)");
    // A column that the view reads can not be dropped unsaid …
    let error = database.error("ALTER TABLE gn_synthese.synthese DROP COLUMN place_name");
    assert!(
        error.starts_with("2BP01: ") && error.contains("v_cen_observations"),
        "{error}"
    );
    // … but it can be renamed, which views follow and functions do not.
    let selection = "SELECT selection FROM gn_harvest.publication";
    let before = database.number(selection);
    database.run("ALTER TABLE gn_synthese.synthese RENAME COLUMN id_dataset TO id_jdd; ALTER TABLE gn_meta.cor_dataset_actor RENAME COLUMN id_organism TO id_structure");
    database.run("DELETE FROM gn_synthese.synthese WHERE id_synthese = (SELECT min(id_synthese) FROM gn_synthese.synthese)");
    database.run("DELETE FROM gn_meta.cor_dataset_actor WHERE id_cda = (SELECT min(id_cda) FROM gn_meta.cor_dataset_actor); UPDATE utilisateurs.t_roles SET nom_role = 'x'");
    assert!(database.number(selection) > before, "collectors compare");
    database.run("TRUNCATE gn_synthese.synthese CASCADE");
}

/// A call that is refused, with the SQLSTATE and a part of what it says.
const REFUSED: &[(&str, &str, &str)] = &[
    (
        "publish_export(NULL)",
        "22023",
        "a publication needs a label",
    ),
    (
        "publish_export(' x')",
        "22023",
        "a publication needs a label",
    ),
    (
        "publish_export('x', public => NULL)",
        "22023",
        "a publication needs a label",
    ),
    (
        "publish_export('pris')",
        "42710",
        "has an export \"pris\" already",
    ),
    (
        "publish_export('x', datasets => '{}')",
        "22023",
        "datasets is an empty list",
    ),
    (
        "publish_export('x', datasets => '{6f0a2d3c-0001-4d51-8a6f-2e1c6b1f0001}')",
        "22023",
        "datasets: \"6f0a2d3c",
    ),
    (
        "publish_export('x', frameworks => '{NULL}')",
        "22023",
        "frameworks: \"null\"",
    ),
    (
        "publish_export('x', organisms => '{7f0a2d3c-0001-4d51-8a6f-2e1c6b1f0001}')",
        "22023",
        "organisms: ",
    ),
    (
        "publish_export('x', areas => '{05}')",
        "22023",
        "areas: \"05\"",
    ),
    (
        "publish_export('x', taxa => '{-1}')",
        "22023",
        "taxa: \"-1\"",
    ),
    (
        "publish_export('x', sensitivity_max => '9')",
        "22023",
        "sensitivity_max: \"9\"",
    ),
    (
        "publish_export('x', diffusion_levels => '{0,9}')",
        "22023",
        "diffusion_levels: \"9\"",
    ),
    (
        "publish_export('x', date_min => '2020-01-01', date_max => '2019-01-01')",
        "22023",
        "date_min is after date_max",
    ),
    (
        "publish_export('x', licence => 'WTF')",
        "22023",
        "licence \"WTF\"",
    ),
    (
        "publish_export('x', roles => '{admin,personne}')",
        "22023",
        "role \"personne\"",
    ),
    (
        "unpublish_export('absente')",
        "42704",
        "publication \"absente\" does not exist",
    ),
    ("unpublish_export(NULL)", "42704", "does not exist"),
];

#[test]
fn every_option_is_checked_and_the_refusal_says_what_would_be_right() {
    let database = cluster().source_database();
    database.run("INSERT INTO gn_exports.t_exports (label, schema_name, view_name, view_pk_column, id_licence) VALUES ('pris', 'x', 'x', 'x', 1)");
    for (call, sqlstate, message) in REFUSED {
        let error = database.error(&format!("SELECT gn_harvest.{call}"));
        assert!(
            error.starts_with(&format!("{sqlstate}: "))
                && error.contains(message)
                && error.contains("\nHINT: "),
            "{call}: {error}"
        );
    }
    let bare = cluster().database();
    let error = bare.error("SELECT gn_harvest.publish_export('x')");
    assert!(
        error.starts_with("42P01: ") && error.contains("HINT: "),
        "{error}"
    );
    // Labels that read alike have views of their own; quotes hurt nobody.
    for label in [
        "Été",
        "ete",
        "L''Aulne \"d''été\"; DROP SCHEMA gn_harvest",
        "☃",
    ] {
        database.run(&format!(
            "SELECT gn_harvest.publish_export('{label}', public => true)"
        ));
    }
    assert_eq!(
        database.number("SELECT count(DISTINCT slug) FROM gn_harvest.publication"),
        4
    );
    let handed_over = database.row("SELECT * FROM gn_harvest.publish_export('L''Aulne \"d''été\"; DROP SCHEMA gn_harvest', public => true)");
    let collector = cluster().database();
    collector.run(text(&handed_over, "add_source"));
}
