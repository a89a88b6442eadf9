//! Passwords and tokens are read by runs and by nobody else: not by any role, not in what runs say, not in
//! pg_stat_activity, not in the server's log, even when the partner repeats them.

use gn_harvest_outside::{Cluster, Database, Row, describe};

use crate::bare_server::{BareServer, answer};
use crate::support::*;

/// Every character that HTML, JSON, URLs or headers write in another way, and SQL too.
const PASSWORD: &str = "mot \"de\" pâsse & <b>l'été</b>  +100%\\";
const TOKEN: &str = "jeton+tr3s/secret==&<i>\"x'y\"";

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Parts of the secrets that nothing else says.
const TRACES: [&str; 8] = [
    "pâsse",
    "p\\u00e2sse",
    "p%C3%A2sse",
    "mot \"de",
    "+100%",
    "jeton+",
    "tr3s",
    "jeton%2B",
];

fn assert_silent(what: &str, said: &str) {
    for trace in TRACES {
        assert!(!said.contains(trace), "{what} says {trace}: {said}");
    }
}

/// Everything that the extension keeps and shows, but the table of the secrets itself, and what the server says.
fn assert_told_nowhere(database: &Database) {
    let mut client = database.connect();
    for relation in relations(database) {
        if relation != "gn_harvest.credential" {
            let told =
                gn_harvest_outside::rows(&mut client, &format!("SELECT t.* FROM {relation} t"));
            assert_silent(&relation, &format!("{told:?}"));
        }
    }
    let told = database.rows("SELECT a::text FROM pg_stat_activity a");
    assert_silent("pg_stat_activity", &format!("{told:?}"));
    assert_silent("the server's log", &database.cluster.log());
}

fn relations(database: &Database) -> Vec<String> {
    let rows = database.rows(
        "SELECT c.oid::regclass AS name FROM pg_class c
         WHERE relnamespace = 'gn_harvest'::regnamespace AND relkind IN ('r', 'v', 'm', 'S', 'p', 'f') ORDER BY 1",
    );
    rows.iter()
        .map(|row| text(row, "name").to_owned())
        .collect()
}

/// A cluster that says more in its log than is usual.
fn talkative_cluster() -> &'static Cluster {
    use std::sync::OnceLock;
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let cluster = Cluster::temporary(&[
            ("log_statement", "none"),
            ("log_min_messages", "debug1"),
            ("log_min_error_statement", "debug1"),
            ("log_error_verbosity", "verbose"),
        ]);
        cluster.stop_at_exit();
        cluster
    })
}

#[test]
fn nothing_of_the_extension_is_granted_to_public() {
    let database = cluster().database();
    let granted = database.rows(
        "SELECT 'function ' || p.oid::regprocedure AS what
         FROM pg_proc p, aclexplode(coalesce(proacl, acldefault('f', proowner))) a
         WHERE pronamespace = 'gn_harvest'::regnamespace AND a.grantee = 0
         UNION ALL
         SELECT 'relation ' || c.oid::regclass
         FROM pg_class c, aclexplode(relacl) a
         WHERE relnamespace = 'gn_harvest'::regnamespace AND a.grantee = 0
         UNION ALL
         SELECT 'column ' || attrelid::regclass || '.' || attname
         FROM pg_attribute JOIN pg_class c ON c.oid = attrelid, aclexplode(attacl) a
         WHERE relnamespace = 'gn_harvest'::regnamespace AND a.grantee = 0
         UNION ALL
         SELECT 'schema' FROM pg_namespace, aclexplode(nspacl) a WHERE nspname = 'gn_harvest' AND a.grantee = 0",
    );
    assert_eq!(granted, []);
}

#[test]
fn no_role_reads_a_secret_through_any_table_view_or_function() {
    let database = cluster().database();
    let (by_token, by_login) = (partner(20), partner(20));
    by_token.set_token(3, TOKEN);
    by_login.set_password("moissonneur", PASSWORD);
    database.run(&format!(
        "CREATE ROLE {db}_reader LOGIN; CREATE ROLE {db}_operator LOGIN; CREATE ROLE {db}_nobody LOGIN;
         SELECT gn_harvest.grant_reader('{db}_reader'), gn_harvest.grant_operator('{db}_operator');
         ANALYZE gn_harvest.credential",
        db = database.name
    ));
    // The operator's own sources: nobody is closer to the secrets than their owner.
    let mut operator = database.connect_as(&format!("{}_operator", database.name));
    let added = operator
        .simple_query(&format!(
            "SELECT * FROM gn_harvest.add_source('cen', '{}', 3, token => {})",
            by_token.url(),
            quoted(TOKEN)
        ))
        .expect("a source");
    assert_silent("add_source", &format!("{added:?}"));
    operator
        .simple_query(&format!(
            "SELECT * FROM gn_harvest.add_source('lpo', '{}', 3, login => 'moissonneur', password => {})",
            by_login.url(),
            quoted(PASSWORD)
        ))
        .expect("a source");
    for name in ["cen", "lpo"] {
        // The operator has no right in the target: a run with an error to look at.
        assert_eq!(text(&run(&database, name, "auto"), "status"), "failed");
    }
    let calls = calls(&database);
    for role in ["reader", "operator", "nobody"] {
        let role = format!("{}_{role}", database.name);
        let mut session = database.connect_as(&role);
        let mut reached = 0;
        let mut ask = |sql: &str| {
            session.batch_execute("BEGIN").expect("a transaction");
            match session.simple_query(sql) {
                Ok(told) => {
                    reached += 1;
                    assert_silent(&format!("{sql} as {role}"), &format!("{told:?}"));
                }
                Err(error) => assert_silent(&format!("{sql} as {role}"), &describe(&error)),
            }
            session.batch_execute("ROLLBACK").expect("a rollback");
        };
        for relation in relations(&database) {
            ask(&format!("SELECT t.* FROM {relation} t"));
            ask(&format!("COPY {relation} TO STDOUT"));
        }
        ask("SELECT * FROM pg_stats WHERE schemaname = 'gn_harvest'");
        ask("SELECT * FROM pg_stat_activity");
        for call in &calls {
            ask(call);
        }
        ask("EXPLAIN (ANALYZE, VERBOSE) SELECT * FROM gn_harvest.source_status");
        let refused = database
            .connect_as(&role)
            .simple_query("SELECT * FROM gn_harvest.credential");
        assert_eq!(
            refused
                .expect_err("no right")
                .code()
                .map(|code| code.code().to_owned())
                .as_deref(),
            Some("42501")
        );
        assert!(
            reached > 2 || role.ends_with("nobody"),
            "{role} reaches something at all"
        );
    }
    assert_told_nowhere(&database);
}

/// A call of each function of the schema, with plausible arguments.
fn calls(database: &Database) -> Vec<String> {
    let functions = database.rows(
        "SELECT p.oid::regproc AS name, p.proname,
                array_to_string(ARRAY(SELECT CASE t::regtype::text
                    WHEN 'text' THEN quote_literal('cen') WHEN 'name' THEN 'current_user' WHEN 'integer' THEN '1'
                    WHEN 'bigint' THEN '1' WHEN 'boolean' THEN 'true' WHEN 'text[]' THEN quote_literal('{}')
                    WHEN 'jsonb' THEN quote_literal('{}')
                    ELSE 'NULL' END || '::' || t::regtype FROM unnest(p.proargtypes) WITH ORDINALITY a (t, n)
                    WHERE n <= p.pronargs - p.pronargdefaults ORDER BY n), ', ') AS arguments
         FROM pg_proc p
         WHERE pronamespace = 'gn_harvest'::regnamespace AND prorettype <> 'trigger'::regtype ORDER BY 1",
    );
    assert!(functions.len() > 30);
    let call = |row: &Row| {
        format!(
            "SELECT f::text FROM {}({}) f",
            text(row, "name"),
            text(row, "arguments")
        )
    };
    functions.iter().map(call).collect()
}

#[test]
fn only_the_owner_of_a_source_replaces_its_secrets() {
    let database = cluster().database();
    let partner = partner(10);
    add_source(&database, "cen", &partner, 3, "");
    database.run(&format!(
        "CREATE ROLE {db}_other LOGIN; SELECT gn_harvest.grant_operator('{db}_other')",
        db = database.name
    ));
    let mut other = database.connect_as(&format!("{}_other", database.name));
    for call in [
        "SELECT gn_harvest.set_credentials('cen', token => 'autre')",
        "SELECT gn_harvest.alter_source('cen', url => 'http://127.0.0.1:9')",
        "SELECT gn_harvest.check_source('cen')",
        "SELECT gn_harvest.run('cen')",
    ] {
        let error = other.batch_execute(call).expect_err("no right");
        assert!(
            describe(&error).starts_with("42501: role "),
            "{call}: {}",
            describe(&error)
        );
    }
    run_well(&database, "cen", "auto");
}

#[test]
fn other_sessions_do_not_see_the_secrets_in_pg_stat_activity() {
    let database = cluster().database();
    let partner = partner(10);
    let mut session = database.connect();
    let pid: i32 = session
        .query_one("SELECT pg_backend_pid()", &[])
        .expect("a pid")
        .get(0);
    let seen = || {
        database.value(&format!(
            "SELECT query FROM pg_stat_activity WHERE pid = {pid}"
        ))
    };
    // After the call, while the session is idle.
    let calls = [
        format!(
            "SELECT gn_harvest.add_source('cen', '{}', 3, token => {})",
            partner.url(),
            quoted(TOKEN)
        ),
        format!(
            "SELECT gn_harvest.set_credentials('cen', login => 'moissonneur', password => {})",
            quoted(PASSWORD)
        ),
        format!(
            "DO $$ BEGIN PERFORM gn_harvest.set_credentials('cen', token => {}); END $$",
            quoted(TOKEN)
        ),
        format!(
            "WITH s AS (SELECT {} AS t) SELECT gn_harvest.set_credentials('cen', token => t) FROM s",
            quoted(TOKEN)
        ),
    ];
    for call in &calls {
        session.batch_execute(call).expect("the call");
        let seen = seen();
        assert!(
            seen.contains("gn_harvest.") && seen.contains("(***)"),
            "{seen}"
        );
        assert_silent("pg_stat_activity", &seen);
    }
    // As a failed call.
    session.batch_execute(&calls[0]).expect_err("a duplicate");
    assert_silent("pg_stat_activity", &seen());
    // While the call waits for someone.
    let mut holding = database.connect();
    holding
        .batch_execute("BEGIN; LOCK TABLE gn_harvest.credential IN ACCESS EXCLUSIVE MODE")
        .expect("the lock");
    let call = calls[1].clone();
    let waiting = std::thread::spawn(move || session.batch_execute(&call));
    database.wait_until(
        30,
        &format!("SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = {pid}"),
    );
    assert_eq!(seen(), "SELECT gn_harvest.set_credentials(***)");
    holding.batch_execute("ROLLBACK").expect("a rollback");
    waiting.join().expect("a thread").expect("the call");
}

#[test]
fn a_call_that_fails_leaves_no_secret_in_the_servers_log() {
    let cluster = talkative_cluster();
    let database = cluster.empty_database();
    database.run("CREATE EXTENSION gn_harvest");
    let (password, token) = (quoted(PASSWORD), quoted(TOKEN));
    let add = |options: &str| {
        format!(
            "SELECT gn_harvest.add_source('cen', 'https://gn.example.org', 3, login => 'moi', password => {password}, {options})"
        )
    };
    let mistakes = [
        add("format => 'n''importe quoi'"),
        add("connections => 0"),
        add("look_back => '-1 day'"),
        add("owner => 'personne'"),
        add("filters => '[1]'"),
        add("protected_columns => '{rien}'"),
        add(&format!("token => {token}")),
        format!("SELECT gn_harvest.add_source('cen', 'nulle part', 3, token => {token})"),
        format!("SELECT gn_harvest.add_source('cen', 'http://169.254.169.254', 3, token => {token})"),
        format!("SELECT gn_harvest.add_source(NULL, 'https://gn.example.org', 3, token => {token})"),
        format!("SELECT gn_harvest.set_credentials('inconnue', token => {token})"),
        format!("SELECT * FROM gn_harvest.adopt_gn2pg('absent', 'cen', 'https://gn.example.org', 3, token => {token})"),
        format!("SELECT * FROM gn_harvest.adopt_gn2pg(NULL, login => 'moi', password => {password})"),
        format!("SELECT gn_harvest.set_credentials('inconnue', password => {password})"),
        format!("DO $$ BEGIN PERFORM gn_harvest.add_source('cen', 'nulle part', 3, token => {token}); END $$"),
        format!("DO $$ BEGIN PERFORM gn_harvest.add_source('cen', 'https://gn.example.org', 3, token => {token}); RAISE EXCEPTION 'plus tard'; END $$"),
        format!("SELECT gn_harvest.add_source('cen', 'https://gn.example.org', 3, token => {token}); SELECT 1/0"),
        format!("CREATE FUNCTION pg_temp.branche() RETURNS void LANGUAGE sql AS $f$
                 SELECT gn_harvest.add_source('cen', 'nulle part', 3, token => {token}) $f$; SELECT pg_temp.branche()"),
    ];
    for mistake in &mistakes {
        let error = database.error(mistake);
        // What a caller's own statement says to the caller is theirs.
        let own_words = error.lines().filter(|line| !line.starts_with("CONTEXT"));
        assert_silent(mistake, &own_words.collect::<String>());
    }
    let mut session = database.connect();
    let statement = session
        .prepare("SELECT gn_harvest.set_credentials('inconnue', token => $1)")
        .expect("a statement");
    session
        .execute(&statement, &[&TOKEN])
        .expect_err("no source");
    let log = cluster.log();
    assert!(
        log.matches("STATEMENT:  SELECT gn_harvest.add_source(***)")
            .count()
            >= 10
            && log.contains("STATEMENT:  SELECT gn_harvest.set_credentials(***)")
            && log.contains("STATEMENT:  SELECT gn_harvest.adopt_gn2pg(***)"),
        "{log}"
    );
    for trace in TRACES {
        let line = log.lines().find(|line| line.contains(trace));
        assert_eq!(line, None, "the log says {trace}");
    }
    // What others do afterwards in the same session is logged as ever.
    session
        .batch_execute("SELECT 1/0 AS autre_chose")
        .expect_err("a division");
    assert!(
        cluster
            .log()
            .contains("STATEMENT:  SELECT 1/0 AS autre_chose")
    );
}

/// A partner that lets everybody in and repeats the whole request in what it says of the rest.
fn parrot(how: fn(&str) -> String) -> BareServer {
    BareServer::start(move |request| {
        let cookies = "Set-Cookie: session=.eJsession-tr3s-secr; Path=/api\r\nContent-Type: application/json\r\n";
        if request.starts_with("POST /api/auth/login") && !request.contains("refuse-moi") {
            return answer(
                "200 OK",
                cookies,
                "{\"token\": \"eyJ.jwt-tr3s-secret.x\", \"user\": {}}",
            );
        }
        if request.starts_with("GET /api/gn_commons/modules") {
            return answer(
                "200 OK",
                cookies,
                "[{\"module_code\": \"EXPORTS\", \"module_path\": \"exports\"}]",
            );
        }
        how(request)
    })
}

fn as_json(request: &str) -> String {
    serde_json::Value::from(request).to_string()
}

#[test]
fn a_partner_that_repeats_the_secrets_makes_nobody_tell_them() {
    let ways: [fn(&str) -> String; 9] = [
        |request| answer("500 Oops", "", request),
        |request| {
            let body = format!("{{\"code\": 400, \"description\": {}}}", as_json(request));
            answer(
                "400 Bad Request",
                "Content-Type: application/json\r\n",
                &body,
            )
        },
        |request| {
            let escaped = request
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;")
                .replace('"', "&quot;")
                .replace('\'', "&#39;");
            answer(
                "403 Forbidden",
                "Content-Type: text/html\r\n",
                &format!("<html><p>{escaped}</p></html>"),
            )
        },
        |request| {
            answer(
                "200 OK",
                "Content-Type: application/json\r\n",
                &format!("{{\"request\": {}}}", as_json(request)),
            )
        },
        |request| {
            answer(
                "200 OK",
                "Content-Type: text/html\r\n",
                &format!("<p>{request}"),
            )
        },
        // In the head, where there is one line only.
        |request| {
            let line = request.replace(['\r', '\n'], " ");
            answer(
                "404 Not Found",
                &format!("X-Request-ID: {line}\r\nContent-Type: {line}\r\n"),
                "",
            )
        },
        // As a path of another host, or of this one.
        |request| {
            let secret = request
                .lines()
                .find_map(|line| line.strip_prefix("api-key: "))
                .unwrap_or("rien");
            answer(
                "302 Found",
                &format!("Location: http://ailleurs.example.org/{secret}\r\n"),
                "",
            )
        },
        |request| {
            let secret = request
                .lines()
                .find_map(|line| line.strip_prefix("api-key: "))
                .unwrap_or("rien");
            if request.starts_with("GET /api/encore") {
                return answer("500 Oops", "", "");
            }
            answer(
                "302 Found",
                &format!("Location: /api/encore/{secret}?x={secret}\r\n"),
                "",
            )
        },
        // Cut in the middle of the secret, by us after so many characters or by the partner.
        |request| {
            let at = request
                .find("tr3s")
                .or_else(|| request.find("pâsse"))
                .unwrap_or(0);
            answer("500 Oops", "", &request[at.saturating_sub(12)..at + 4])
        },
    ];
    let database = talkative_cluster().empty_database();
    database.run("CREATE EXTENSION gn_harvest");
    for (number, how) in ways.into_iter().enumerate() {
        let partner = parrot(how);
        let credentials = [
            format!("token => {}", quoted(TOKEN)),
            format!("login => 'refuse-moi', password => {}", quoted(PASSWORD)),
            format!("login => 'moissonneur', password => {}", quoted(PASSWORD)),
        ];
        for (kind, credentials) in credentials.iter().enumerate() {
            let name = format!("source {number}.{kind}");
            database.run(&format!(
                "SELECT gn_harvest.add_source('{name}', '{}', 3, {credentials}, retry_budget => 0)",
                partner.url
            ));
            let mut session = database.connect();
            let row = run(&database, &name, "auto");
            assert_eq!(text(&row, "status"), "failed", "{row:?}");
            assert_silent(&format!("the run of {name}"), &format!("{row:?}"));
            let check = database.rows(&format!("SELECT * FROM gn_harvest.check_source('{name}')"));
            assert_silent(&format!("the check of {name}"), &format!("{check:?}"));
            let error = session.batch_execute(&format!(
                "DO $$ BEGIN PERFORM gn_harvest.run('{name}'); END $$"
            ));
            error.expect("a run that fails is a row, not an error");
        }
        assert!(
            partner
                .requests()
                .iter()
                .any(|request| request.contains("tr3s")),
            "the secret was sent"
        );
    }
    assert_told_nowhere(&database);
}

#[test]
fn a_partner_that_redirects_to_a_host_named_after_the_token_makes_nobody_tell_it() {
    let database = cluster().empty_database();
    database.run("CREATE EXTENSION gn_harvest");
    let partner = BareServer::start(|_| {
        answer(
            "302 Found",
            "Location: http://JetonSecret.example.org/\r\n",
            "",
        )
    });
    database.run(&format!(
        "SELECT gn_harvest.add_source('cen', '{}', 3, token => 'JetonSecret')",
        partner.url
    ));
    let row = run(&database, "cen", "auto");
    assert_eq!(
        text(&row, "error_message"),
        "the server redirects to http://***.example.org, which is not followed"
    );
}

#[test]
fn a_long_answer_is_cut_without_leaving_half_a_secret() {
    let database = cluster().empty_database();
    database.run("CREATE EXTENSION gn_harvest");
    for before in (150..=200).step_by(7) {
        let partner = BareServer::start(move |_| {
            let body = format!("{} {TOKEN} {}", "x".repeat(before), "y".repeat(100));
            answer("400 Bad Request", "", &body)
        });
        database.run(&format!(
            "SELECT gn_harvest.add_source('source {before}', '{}', 3, token => {})",
            partner.url,
            quoted(TOKEN)
        ));
        let row = run(&database, &format!("source {before}"), "auto");
        let detail = text(&row, "error_detail");
        assert!(detail.contains("xxxx"), "{row:?}");
        assert!(!detail.contains("jet"), "{before}: {detail}");
    }
}

#[test]
fn a_run_shows_no_secret_while_it_works() {
    let database = cluster().database();
    let partner = partner(50);
    partner.set_password("moissonneur", PASSWORD);
    database.run(&format!(
        "SELECT gn_harvest.add_source('cen', '{}', 3, login => 'moissonneur', password => {})",
        partner.url(),
        quoted(PASSWORD)
    ));
    partner.set_cost(0.3, 0.0);
    let run = start(&database, "cen", "auto");
    until(60, "it asks", || partner.figures().requests > 3);
    assert_told_nowhere(&database);
    assert_eq!(text(&ended(&database, run), "status"), "succeeded");
    assert_told_nowhere(&database);
    assert!(
        partner
            .figures()
            .last
            .iter()
            .all(|seen| !seen.query.contains("token")),
        "no secret in a URL: proxies and logs keep those"
    );
}
