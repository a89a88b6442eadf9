//! Who may do what: operators work with their own rights on their own sources, readers look, and code of the target
//! never gets more rights than the owner of the source has.

use gn_harvest_outside::{Database, describe, rows};
use serde_json::json;

use crate::support::*;

/// What a role needs in the target for its sources to be harvested, and nothing more. As in the README.
const TARGET_RIGHTS: &str = "
GRANT USAGE ON SCHEMA gn_synthese, gn_meta, utilisateurs, ref_nomenclatures, taxonomie, ref_geo, ref_habitats, gn_commons, gn_sensitivity TO {role};
GRANT SELECT ON ref_nomenclatures.t_nomenclatures, ref_nomenclatures.bib_nomenclatures_types, ref_nomenclatures.defaults_nomenclatures_value,
    taxonomie.taxref, ref_habitats.habref, ref_geo.l_areas, ref_geo.bib_areas_types, gn_commons.t_parameters,
    gn_synthese.defaults_nomenclatures_value, gn_sensitivity.t_sensitivity_rules_cd_ref, gn_sensitivity.cor_sensitivity_area,
    gn_sensitivity.cor_sensitivity_criteria TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON gn_synthese.synthese, gn_synthese.t_sources TO {role};
GRANT SELECT, INSERT, UPDATE ON gn_synthese.t_log_synthese, gn_meta.t_acquisition_frameworks, gn_meta.t_datasets,
    gn_meta.sinp_datatype_publications, gn_meta.sinp_datatype_protocols TO {role};
GRANT SELECT, INSERT, DELETE ON gn_synthese.cor_area_synthese, gn_meta.cor_acquisition_framework_objectif,
    gn_meta.cor_acquisition_framework_voletsinp, gn_meta.cor_acquisition_framework_territory,
    gn_meta.cor_acquisition_framework_publication, gn_meta.cor_acquisition_framework_actor,
    gn_meta.cor_dataset_territory, gn_meta.cor_dataset_protocol, gn_meta.cor_dataset_actor TO {role};
GRANT SELECT, INSERT ON utilisateurs.bib_organismes, utilisateurs.t_roles TO {role};
GRANT USAGE ON SEQUENCE gn_synthese.synthese_id_synthese_seq, gn_synthese.t_sources_id_source_seq, gn_meta.t_datasets_id_dataset_seq,
    gn_meta.t_acquisition_frameworks_id_acquisition_framework_seq, gn_meta.cor_acquisition_framework_actor_id_cafa_seq,
    gn_meta.cor_dataset_actor_id_cda_seq, gn_meta.sinp_datatype_publications_id_publication_seq,
    gn_meta.sinp_datatype_protocols_id_protocol_seq, utilisateurs.bib_organismes_id_organisme_seq, utilisateurs.t_roles_id_role_seq TO {role}";

/// A role of this database's test; roles belong to the whole cluster.
fn role(database: &Database, name: &str) -> String {
    let role = format!("{name}_{}", database.name);
    database.run(&format!("CREATE ROLE {role} LOGIN"));
    role
}

fn operator(database: &Database, name: &str) -> String {
    let role = role(database, name);
    database.run(&format!("SELECT gn_harvest.grant_operator('{role}')"));
    role
}

pub fn harvester(database: &Database, name: &str) -> String {
    let role = operator(database, name);
    database.run(&TARGET_RIGHTS.replace("{role}", &role));
    role
}

/// What a role gets to see of a query.
fn seen_by(database: &Database, role: &str, sql: &str) -> Vec<gn_harvest_outside::Row> {
    rows(&mut database.connect_as(role), sql)
}

fn refused_to(database: &Database, role: &str, sql: &str) -> String {
    match database.connect_as(role).batch_execute(sql) {
        Ok(()) => panic!("{role} may: {sql}"),
        Err(error) => describe(&error),
    }
}

pub fn add_as(database: &Database, role: &str, source: &str, url: &str) {
    let added =
        format!("SELECT gn_harvest.add_source('{source}', '{url}', 3, token => 'jeton-export-3')");
    assert_eq!(seen_by(database, role, &added).len(), 1);
}

#[test]
fn an_operator_harvests_its_own_source_without_being_a_superuser() {
    let database = cluster().database();
    let partner = partner(120);
    let role = harvester(&database, "op");
    let as_operator = |sql: &str| seen_by(&database, &role, sql);
    // By a login, which opens the log of deletions.
    as_operator(&format!(
        "SELECT gn_harvest.add_source('cen', '{}', 3, login => 'moissonneur', password => 'moissonneur')",
        partner.url()
    ));
    let checks = as_operator("SELECT * FROM gn_harvest.check_source('cen')");
    assert!(
        checks.iter().any(|row| text(row, "check") == "sample"),
        "{checks:?}"
    );
    assert!(
        checks.iter().all(|row| text(row, "status") != "error"),
        "{checks:?}"
    );
    let first = as_operator("SELECT * FROM gn_harvest.run('cen')").remove(0);
    assert_eq!(text(&first, "status"), "succeeded", "{first:?}");
    assert_eq!(
        (
            number(&first, "inserted"),
            number(&first, "rejected"),
            text(&first, "started_by")
        ),
        (120, 0, role.as_str())
    );
    assert!(number(&first, "datasets_created") > 0 && number(&first, "actors_created") > 0);
    // Every kind of update: attributes, what sensitivity depends on, the geometry.
    let changes = [
        json!({"nom_lieu": "Ailleurs"}),
        json!({"date_debut": "2020-02-02 10:00:00", "date_fin": "2020-02-02 11:00:00"}),
        json!({"wkt_4326": "POINT(5.5 45.1)"}),
    ];
    for (id, change) in partner.ids().into_iter().zip(&changes) {
        partner.update(id, change).expect("a change");
    }
    partner.tamper(partner.ids()[50], "cd_nom", Some("999999999"));
    partner
        .update(partner.ids()[50], &json!({}))
        .expect("a change");
    let second = as_operator("SELECT * FROM gn_harvest.run('cen')").remove(0);
    assert_eq!(
        (
            text(&second, "status"),
            number(&second, "updated"),
            number(&second, "rejected")
        ),
        ("succeeded", 3, 1),
        "{second:?}"
    );
    assert_eq!(
        as_operator("SELECT * FROM gn_harvest.rejected_record").len(),
        1
    );
    as_operator(
        "SELECT gn_harvest.map_value('cen', 'cd_nom', '999999999', (SELECT min(cd_nom)::text FROM taxonomie.taxref))",
    );
    let retried = as_operator("SELECT * FROM gn_harvest.retry_rejected('cen')").remove(0);
    assert_eq!(
        (text(&retried, "status"), number(&retried, "updated")),
        ("succeeded", 1),
        "{retried:?}"
    );
    partner.delete(&partner.ids()[10..12]);
    partner.delete_silently(&partner.ids()[20..21]);
    for (mode, deleted) in [("incremental", 2), ("reconcile", 1)] {
        let row = as_operator(&format!("SELECT * FROM gn_harvest.run('cen', '{mode}')")).remove(0);
        assert_eq!(
            (text(&row, "status"), number(&row, "deleted")),
            ("succeeded", deleted),
            "{row:?}"
        );
    }
    for call in [
        "SELECT * FROM gn_harvest.alter_source('cen', organism => 'CEN')",
        "SELECT gn_harvest.pause_source('cen')",
        "SELECT gn_harvest.resume_source('cen')",
        "SELECT gn_harvest.set_credentials('cen', token => 'jeton-export-3')",
        "SELECT * FROM gn_harvest.run_all()",
        "SELECT gn_harvest.discard_rejected('cen')",
        "SELECT gn_harvest.drop_source('cen', delete_data => true)",
    ] {
        assert_eq!(as_operator(call).len(), 1, "{call}");
    }
    assert_eq!(
        database.value("SELECT (SELECT count(*) FROM gn_synthese.synthese) || ' ' || (SELECT count(*) FROM gn_synthese.t_sources WHERE name_source = 'cen')"),
        "0 0"
    );
}

#[test]
fn a_role_without_the_right_to_write_gets_a_failed_run_that_says_so() {
    let database = cluster().database();
    let partner = partner(40);
    let role = harvester(&database, "op");
    database.run(&format!(
        "REVOKE INSERT ON gn_synthese.synthese FROM {role}"
    ));
    add_as(&database, &role, "cen", partner.url());
    let failed = seen_by(&database, &role, "SELECT * FROM gn_harvest.run('cen')").remove(0);
    assert_eq!(
        (
            text(&failed, "status"),
            text(&failed, "error_sqlstate"),
            text(&failed, "error_message")
        ),
        ("failed", "42501", "permission denied for table synthese")
    );
    assert!(
        text(&failed, "error_detail").contains(&format!("as role \"{role}\"")),
        "{failed:?}"
    );
    assert_ne!(text(&failed, "error_hint"), "");
    assert_ne!(text(&failed, "finished_at"), "");
    let status = database.row("SELECT * FROM gn_harvest.source_status");
    assert_eq!(
        (
            number(&status, "consecutive_failures"),
            text(&status, "last_error"),
            text(&status, "last_import")
        ),
        (1, "permission denied for table synthese", "")
    );
    assert_eq!(
        database.value("SELECT (SELECT count(*) FROM gn_synthese.synthese) || ' ' || (SELECT count(*) FROM gn_harvest.rejected)"),
        "0 0"
    );
    let check = database.row("SELECT * FROM gn_harvest.check_source('cen') WHERE status = 'error'");
    assert_eq!(text(&check, "check"), "target", "{check:?}");
    database.run(&format!("GRANT INSERT ON gn_synthese.synthese TO {role}"));
    assert_eq!(number(&run_well(&database, "cen", "auto"), "inserted"), 40);
}

#[test]
fn a_role_that_may_not_even_look_is_told_what_it_lacks() {
    let database = cluster().database();
    let partner = partner(10);
    let role = operator(&database, "op");
    add_as(&database, &role, "cen", partner.url());
    let failed = seen_by(&database, &role, "SELECT * FROM gn_harvest.run('cen')").remove(0);
    assert_eq!(
        (text(&failed, "status"), text(&failed, "error_sqlstate")),
        ("failed", "42501"),
        "{failed:?}"
    );
    assert!(
        text(&failed, "error_message").contains("gn_synthese"),
        "{failed:?}"
    );
}

#[test]
fn a_source_whose_owner_is_gone_fails_until_it_has_another() {
    let database = cluster().database();
    let partner = partner(20);
    let role = operator(&database, "op");
    add_as(&database, &role, "cen", partner.url());
    database.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
    let failed = run(&database, "cen", "auto");
    assert_eq!(
        (text(&failed, "status"), text(&failed, "error_sqlstate")),
        ("failed", "42704"),
        "{failed:?}"
    );
    assert!(
        text(&failed, "error_message").contains(&format!(
            "role \"{role}\", which owns the source, does not exist"
        )),
        "{failed:?}"
    );
    assert!(text(&failed, "error_hint").contains("alter_source"));
    database.run("SELECT gn_harvest.alter_source('cen', owner => 'postgres')");
    run_well(&database, "cen", "auto");
}

/// Two operators with a source each, of which the first has something in every view.
fn two_operators(database: &Database) -> (String, String, geonature_simulator::Simulator) {
    let partner = partner(60);
    let (first, second) = (harvester(database, "first"), harvester(database, "second"));
    let ids = partner.ids();
    partner.tamper(ids[1], "cd_nom", Some("999999999"));
    partner.tamper(ids[2], "sexe", Some("\"?\""));
    let twin = partner.observation(ids[3]).expect("an observation")["id_perm_sinp"].clone();
    partner
        .update(ids[4], &json!({ "id_perm_sinp": twin }))
        .expect("a change");
    add_as(database, &first, "cen", partner.url());
    let row = seen_by(database, &first, "SELECT * FROM gn_harvest.run('cen')").remove(0);
    assert_eq!(
        (text(&row, "status"), number(&row, "rejected")),
        ("succeeded", 2),
        "{row:?}"
    );
    (first, second, partner)
}

const VIEWS: [&str; 7] = [
    "source_status",
    "run_history",
    "rejected_record",
    "rejection_summary",
    "unmapped_value",
    "uuid_conflict",
    "metadata_review",
];

#[test]
fn an_operator_sees_and_touches_only_its_own_sources() {
    let database = cluster().database();
    let (first, second, partner) = two_operators(&database);
    for view in VIEWS {
        let query = format!("SELECT * FROM gn_harvest.{view}");
        assert!(!seen_by(&database, &first, &query).is_empty(), "{view}");
        assert!(seen_by(&database, &second, &query).is_empty(), "{view}");
    }
    hang_after(&partner, 0);
    let run = seen_by(
        &database,
        &first,
        "SELECT run FROM gn_harvest.run('cen', 'full', wait => false)",
    )
    .remove(0);
    let run = number(&run, "run");
    let progress = "SELECT * FROM gn_harvest.run_progress";
    assert_eq!(seen_by(&database, &first, progress).len(), 1);
    assert!(seen_by(&database, &second, progress).is_empty());
    for call in [
        "run('cen')".to_owned(),
        "retry_rejected('cen')".to_owned(),
        "check_source('cen')".to_owned(),
        "alter_source('cen', organism => 'mine')".to_owned(),
        "set_credentials('cen', token => 'x')".to_owned(),
        "pause_source('cen')".to_owned(),
        "resume_source('cen')".to_owned(),
        "drop_source('cen')".to_owned(),
        "discard_rejected('cen')".to_owned(),
        "map_value('cen', 'cd_nom', '999999999', '1')".to_owned(),
        "map_field('cen', 'place_name', constant => 'ici')".to_owned(),
        "unmap_value('cen', 'cd_nom', '999999999')".to_owned(),
        "is_running('cen')".to_owned(),
        format!("cancel({run})"),
        format!("wait_for({run})"),
    ] {
        let error = refused_to(&database, &second, &format!("SELECT gn_harvest.{call}"));
        assert!(
            error.starts_with(&format!(
                "42501: role \"{second}\" may not manage source \"cen\""
            )),
            "{call}: {error}"
        );
        assert!(error.contains("HINT: "), "{call}: {error}");
    }
    let error = refused_to(
        &database,
        &second,
        "SELECT gn_harvest.map_value(NULL, 'cd_nom', '1', '2')",
    );
    assert!(error.starts_with("42501: "), "{error}");
    assert!(seen_by(&database, &second, "SELECT * FROM gn_harvest.run_all()").is_empty());
    // Nor does it give a source to someone else, or take one.
    for owner in [first.as_str(), "postgres"] {
        let error = refused_to(
            &database,
            &second,
            &format!(
                "SELECT gn_harvest.add_source('mine', 'http://127.0.0.1:1', 3, owner => '{owner}')"
            ),
        );
        assert!(error.starts_with("42501: "), "{error}");
    }
    for table in [
        "source",
        "source_state",
        "credential",
        "run",
        "slice",
        "rejected",
        "harvested",
        "reader",
        "all_run",
    ] {
        let error = refused_to(
            &database,
            &second,
            &format!("SELECT * FROM gn_harvest.{table}"),
        );
        assert!(error.starts_with("42501: "), "{table}: {error}");
    }
    for function in [
        "start_worker(1, 'full', 'postgres', true, true)",
        "store_credentials(1, NULL, NULL, 'x')",
        "managed_run(1)",
    ] {
        let error = refused_to(&database, &second, &format!("SELECT gn_harvest.{function}"));
        assert!(error.starts_with("42501: "), "{function}: {error}");
    }
    assert_eq!(text(&history(&database, run), "status"), "running");
    // A member of the owner is as good as the owner.
    database.run(&format!("GRANT {first} TO {second}"));
    let cancelled = seen_by(
        &database,
        &second,
        &format!("SELECT gn_harvest.cancel({run}) AS done"),
    );
    assert_eq!(text(&cancelled[0], "done"), "t");
    assert_eq!(text(&ended(&database, run), "status"), "cancelled");
}

#[test]
fn a_function_in_a_query_never_sees_what_its_caller_may_not() {
    let database = cluster().database();
    let (_, second, _) = two_operators(&database);
    let mut session = database.connect_as(&second);
    session
        .batch_execute(
            "CREATE TEMP TABLE seen (what text);
             CREATE FUNCTION pg_temp.spy(what text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001
             AS $$ BEGIN INSERT INTO pg_temp.seen VALUES (what); RETURN true; END $$",
        )
        .expect("a function of one's own");
    for view in VIEWS {
        let query = format!("SELECT * FROM gn_harvest.{view} v WHERE pg_temp.spy(v::text)");
        assert!(rows(&mut session, &query).is_empty(), "{view}");
    }
    for (view, column) in [
        ("rejected_record", "message"),
        ("rejected_record", "value"),
        ("run_history", "error_message"),
        ("source_status", "url"),
    ] {
        let query =
            format!("SELECT * FROM gn_harvest.{view} WHERE pg_temp.spy(coalesce({column}, ''))");
        assert!(rows(&mut session, &query).is_empty(), "{view}");
    }
    assert_eq!(rows(&mut session, "SELECT * FROM pg_temp.seen"), []);
}

#[test]
fn a_reader_sees_every_source_and_changes_nothing() {
    let database = cluster().database();
    let (_, _, _partner) = two_operators(&database);
    let reader = role(&database, "reader");
    let error = refused_to(&database, &reader, "SELECT * FROM gn_harvest.run_history");
    assert!(error.starts_with("42501: "), "{error}");
    database.run(&format!("SELECT gn_harvest.grant_reader('{reader}')"));
    for view in VIEWS {
        let query = format!("SELECT * FROM gn_harvest.{view}");
        assert!(!seen_by(&database, &reader, &query).is_empty(), "{view}");
    }
    for call in [
        "run('cen')",
        "drop_source('cen')",
        "cancel(1)",
        "retry_rejected('cen')",
        "add_source('x', 'http://127.0.0.1:1', 1)",
    ] {
        let error = refused_to(&database, &reader, &format!("SELECT gn_harvest.{call}"));
        assert!(
            error.starts_with("42501: permission denied for function"),
            "{call}: {error}"
        );
    }
    let error = refused_to(&database, &reader, "SELECT * FROM gn_harvest.credential");
    assert!(error.starts_with("42501: "), "{error}");
    let error = database.error("SELECT gn_harvest.grant_operator('nobody at all')");
    assert!(
        error.starts_with("42704: ") && error.contains("HINT: "),
        "{error}"
    );
}

#[test]
fn triggers_of_the_target_run_as_the_owner_of_the_source() {
    let database = cluster().database();
    let partner = partner(30);
    let role = harvester(&database, "op");
    database.run(&format!(
        "CREATE TABLE public.trace (who name, super boolean, path text);
         GRANT INSERT ON public.trace TO {role};
         CREATE FUNCTION public.trace() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             INSERT INTO public.trace
             SELECT current_user, rolsuper, current_setting('search_path') FROM pg_roles WHERE rolname = current_user;
             RETURN NULL;
         END $$;
         CREATE TRIGGER trace AFTER INSERT OR UPDATE ON gn_synthese.synthese FOR EACH STATEMENT EXECUTE FUNCTION public.trace();
         CREATE TRIGGER trace AFTER INSERT ON gn_synthese.t_sources FOR EACH STATEMENT EXECUTE FUNCTION public.trace();
         CREATE CONSTRAINT TRIGGER trace_late AFTER INSERT ON gn_meta.t_datasets DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.trace()"
    ));
    add_as(&database, &role, "cen", partner.url());
    run_well(&database, "cen", "auto");
    let traces = database.rows("SELECT DISTINCT who, super, path FROM public.trace");
    assert_eq!(traces.len(), 1, "{traces:?}");
    assert_eq!(
        (
            text(&traces[0], "who"),
            text(&traces[0], "super"),
            text(&traces[0], "path")
        ),
        (role.as_str(), "f", "\"$user\", public")
    );
}

#[test]
fn code_of_the_target_gains_no_rights_from_a_run() {
    let database = cluster().database();
    let partner = partner(30);
    let role = harvester(&database, "op");
    database.run(&format!(
        "GRANT TRIGGER ON gn_synthese.synthese TO {role}; GRANT CREATE ON SCHEMA public TO {role}"
    ));
    let mut session = database.connect_as(&role);
    session
        .batch_execute(
            "CREATE TABLE public.evidence (attack text, who name, super boolean);
             CREATE FUNCTION public.note(attack text) RETURNS boolean LANGUAGE plpgsql AS $$
             BEGIN
                 INSERT INTO public.evidence SELECT attack, rolname, rolsuper FROM pg_roles WHERE rolname = current_user;
                 RETURN true;
             END $$;
             CREATE TABLE public.trap (attack text);
             CREATE FUNCTION public.late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM public.note(NEW.attack); RETURN NULL; END $$;
             CREATE CONSTRAINT TRIGGER late AFTER INSERT ON public.trap DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.late();
             CREATE TABLE public.outer_trap (attack text);
             CREATE FUNCTION public.later() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 SET CONSTRAINTS ALL DEFERRED;
                 INSERT INTO public.trap VALUES (NEW.attack);
                 RETURN NULL;
             END $$;
             CREATE CONSTRAINT TRIGGER later AFTER INSERT ON public.outer_trap DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.later();
             CREATE FUNCTION public.attack() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
             CREATE TRIGGER attack AFTER INSERT OR UPDATE ON gn_synthese.synthese FOR EACH STATEMENT EXECUTE FUNCTION public.attack()",
        )
        .expect("a trigger");
    add_as(&database, &role, "cen", partner.url());
    run_well(&database, "cen", "auto");
    let attacks = [
        "SET ROLE postgres; PERFORM public.note('set role');",
        "SET SESSION AUTHORIZATION postgres; PERFORM public.note('set session authorization');",
        "RESET ROLE; PERFORM public.note('reset role');",
        "RESET SESSION AUTHORIZATION; PERFORM public.note('reset session authorization');",
        "PERFORM set_config('role', 'postgres', false); PERFORM public.note('set_config');",
        "PERFORM set_config('session_authorization', session_user, true); PERFORM public.note('set_config');",
        "INSERT INTO public.trap VALUES ('deferred');",
        "SET CONSTRAINTS ALL DEFERRED; INSERT INTO public.trap VALUES ('deferred again');",
        "SET CONSTRAINTS public.late DEFERRED; INSERT INTO public.trap VALUES ('deferred by name');",
        "INSERT INTO public.outer_trap VALUES ('deferred by the deferred');",
        "EXECUTE 'DECLARE c CURSOR WITH HOLD FOR SELECT public.note(''cursor'')';",
        "EXECUTE format('ALTER ROLE %I SUPERUSER', current_user);",
        "EXECUTE 'COPY public.evidence TO PROGRAM ''true''';",
    ];
    for attack in attacks {
        // Once as it is, once with its errors swallowed.
        for (before, after) in [("", ""), ("BEGIN", "EXCEPTION WHEN OTHERS THEN NULL; END;")] {
            session
                .batch_execute(&format!(
                    "CREATE OR REPLACE FUNCTION public.attack() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {before} {attack} {after} RETURN NULL; END $$"
                ))
                .expect("another trigger");
            partner
                .update(
                    partner.ids()[0],
                    &json!({"nom_lieu": format!("{attack}{before}")}),
                )
                .expect("a change");
            run(&database, "cen", "incremental");
        }
    }
    let gained = database.rows("SELECT * FROM public.evidence WHERE super");
    assert_eq!(gained, []);
    assert_eq!(
        database.value(&format!(
            "SELECT rolsuper FROM pg_roles WHERE rolname = '{role}'"
        )),
        "f"
    );
    // The test is one: what a trigger may do it did, as the owner.
    assert_eq!(
        database.value(&format!("SELECT string_agg(DISTINCT attack, ',' ORDER BY attack) FROM public.evidence WHERE who = '{role}'")),
        "deferred"
    );
}

#[test]
fn a_lock_in_the_target_fails_a_run_in_time_and_the_next_one_goes_on() {
    let cluster = fragile_cluster();
    let database = cluster.database();
    let partner = partner(600);
    add_source(
        &database,
        "cen",
        &partner,
        3,
        "page_size => 50, connections => 1",
    );
    partner.set_cost(0.2, 0.0);
    let run = start(&database, "cen", "full");
    database.wait_until(
        60,
        &format!("SELECT inserted > 0 FROM gn_harvest.run_history WHERE run = {run}"),
    );
    let mut other = database.connect();
    other
        .batch_execute("BEGIN; LOCK TABLE gn_synthese.synthese IN ACCESS EXCLUSIVE MODE")
        .expect("a lock");
    let row = ended(&database, run);
    assert_eq!(
        (text(&row, "status"), text(&row, "error_sqlstate")),
        ("failed", "55P03"),
        "{row:?}"
    );
    assert!(
        text(&row, "error_detail").contains("gn_harvest.lock_timeout (2 s)")
            && !text(&row, "error_hint").is_empty(),
        "{row:?}"
    );
    other.batch_execute("COMMIT").expect("the end of the lock");
    partner.set_cost(0.0, 0.0);
    let next = run_well(&database, "cen", "auto");
    assert_eq!(number(&next, "resumes"), run);
    assert_eq!(number(&row, "fetched") + number(&next, "fetched"), 600);
    assert_eq!(
        database.number("SELECT count(*) FROM gn_synthese.synthese"),
        600
    );
}
