//! The hosts that the server's administrator allows: asked when a source is added or altered, and whenever one is connected to.

use geonature_simulator::{Fault, Route, Rule};
use gn_harvest_outside::describe;

use crate::support::*;

#[test]
fn only_allowed_hosts_are_given_to_sources_and_asked() {
    let cluster = fragile_cluster();
    let database = cluster.database();
    let partner = partner(40);
    let elsewhere = partner_with(Default::default());
    add_source(&database, "ici", &partner, 3, "");
    add_source(&database, "ailleurs", &elsewhere, 3, "");
    run_well(&database, "ici", "auto");
    let set = |value: &str| {
        let mut session = database.connect();
        for statement in [
            "LOAD 'gn_harvest'".to_owned(),
            format!("ALTER SYSTEM SET gn_harvest.allowed_hosts = {value}"),
            "SELECT pg_reload_conf()".to_owned(),
        ] {
            session.batch_execute(&statement).expect("a superuser may");
        }
        // A session that has the library shows it as it is now.
        database.wait_until(
            30,
            &format!("SELECT current_setting('gn_harvest.allowed_hosts') = {value} FROM (SELECT gn_harvest.rejection_reasons()) loaded"),
        );
    };
    let allowed = format!(
        "*.example.org, 169.254.169.254, 127.0.0.1:{}",
        partner.port()
    );
    set(&format!("'{allowed}'"));

    // Nor do channels lead elsewhere.
    for (name, channel) in [
        ("crochet", "'webhook', url => 'http://127.0.0.1:9/hook'"),
        (
            "courriel",
            "'email', host => '127.0.0.1', port => 9, tls => 'none', sender => 'a@example.org', recipients => '{b@example.org}'",
        ),
    ] {
        database.run(&format!(
            "SELECT gn_harvest.add_channel('{name}', {channel})"
        ));
        let tested = database.row(&format!("SELECT * FROM gn_harvest.test_channel('{name}')"));
        assert_eq!(text(&tested, "worked"), "f");
        assert!(text(&tested, "error").contains("127.0.0.1:9"), "{tested:?}");
        assert!(
            text(&tested, "hint").contains("allowed_hosts"),
            "{tested:?}"
        );
        database.run(&format!("SELECT gn_harvest.drop_channel('{name}')"));
    }

    // Only the superuser's file, and only what can be understood.
    for (statement, sqlstate) in [
        ("SET gn_harvest.allowed_hosts = ''", "55P02"),
        (
            "ALTER SYSTEM SET gn_harvest.allowed_hosts = 'https://gn.example.org'",
            "22023",
        ),
    ] {
        let mut session = database.connect();
        session
            .batch_execute("LOAD 'gn_harvest'")
            .expect("the library");
        let error = session.batch_execute(statement).expect_err(statement);
        assert!(
            describe(&error).starts_with(sqlstate),
            "{}",
            describe(&error)
        );
    }

    let add = |name: &str, url: &str| format!("SELECT gn_harvest.add_source('{name}', '{url}', 3)");
    for refused in [
        database.error(&add("non", "https://gn.elsewhere.net")),
        database.error(&add("non", &elsewhere.url().replace("http", "https"))),
        database.error(&format!(
            "SELECT gn_harvest.alter_source('ici', url => '{}')",
            elsewhere.url()
        )),
    ] {
        assert!(refused.starts_with("42501: "), "{refused}");
        assert!(
            refused.contains("is not among the hosts that this server may ask"),
            "{refused}"
        );
        assert!(
            refused
                .contains("HINT: A superuser adds it: ALTER SYSTEM SET gn_harvest.allowed_hosts"),
            "{refused}"
        );
    }
    database.run(&add("oui", "https://gn.example.org"));
    let link_local = database.error(&add("non", "http://169.254.169.254"));
    assert!(link_local.contains("link-local"), "{link_local}");

    // A source of before is neither run nor checked: nothing is asked of it.
    elsewhere.clear_figures();
    let row = run(&database, "ailleurs", "auto");
    assert_eq!(
        (text(&row, "status"), text(&row, "error_sqlstate")),
        ("failed", "42501"),
        "{row:#?}"
    );
    assert!(
        text(&row, "error_hint").contains("gn_harvest.allowed_hosts"),
        "{row:#?}"
    );
    let checks = database.rows("SELECT * FROM gn_harvest.check_source('ailleurs')");
    assert!(
        checks.iter().any(|c| text(c, "status") == "error"
            && text(c, "hint").contains("gn_harvest.allowed_hosts")),
        "{checks:#?}"
    );
    assert_eq!(elsewhere.figures().requests, 0);
    // Other settings of it can be changed still.
    database.run("SELECT gn_harvest.alter_source('ailleurs', connections => 1)");

    // A redirect leads no further: https on the same host is another port.
    run_well(&database, "ici", "full");
    partner.add_fault(Rule::always(
        Route::Export,
        Fault::Redirect {
            status: 302,
            location: "https://127.0.0.1/api/exports/api/3".to_owned(),
        },
    ));
    let row = run(&database, "ici", "full");
    assert_eq!(text(&row, "status"), "failed", "{row:#?}");
    assert!(
        text(&row, "error_message").starts_with("127.0.0.1:443 is not among"),
        "{row:#?}"
    );

    // A dump of it can be restored where other hosts are allowed: the trigger lets it in.
    set("'gn.example.org'");
    database.run("UPDATE gn_harvest.source SET url = url");
    set("''");
}
