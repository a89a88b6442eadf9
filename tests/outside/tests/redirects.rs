//! Where a source may lead us: secrets stay with the host that they were given for, and some addresses are never asked.

use geonature_simulator::{Config, Fault, Route, Rule, Simulator};
use gn_harvest_outside::Database;

use crate::bare_server::{BareServer, answer};
use crate::support::*;

const PASSWORD: &str = "sésame, ouvre-toi";
const TOKEN: &str = "jeton-que-personne-ne-lit";

fn partner() -> Simulator {
    partner_with(Config {
        observations: 50,
        password: Some(PASSWORD.to_owned()),
        tokens: [(3, TOKEN.to_owned())].into(),
        ..Config::default()
    })
}

/// Another host, which says yes to everything.
fn other_host() -> BareServer {
    BareServer::start(|_| {
        answer(
            "200 OK",
            "Content-Type: application/json\r\n",
            "{\"items\": []}",
        )
    })
}

fn redirect(status: u16, location: &str) -> Fault {
    Fault::Redirect {
        status,
        location: location.to_owned(),
    }
}

fn connect(database: &Database, name: &str, partner: &Simulator, by_login: bool) {
    if by_login {
        add_source_by_login(database, name, partner, 3, ("moissonneur", PASSWORD), "");
    } else {
        add_source(database, name, partner, 3, "");
    }
}

#[test]
fn another_host_is_never_asked_with_or_without_secrets() {
    let database = cluster().database();
    let other = other_host();
    let same_machine = other.url.replace("127.0.0.1", "localhost");
    let cases = [
        (
            Route::Export,
            301,
            format!("{}/api/exports/api/3", other.url),
            false,
        ),
        (
            Route::Export,
            302,
            format!("{same_machine}/api/exports/api/3"),
            false,
        ),
        (
            Route::Export,
            307,
            format!("{}/api", other.url.replace("http:", "")),
            false,
        ),
        (
            Route::Export,
            308,
            format!("{}/api/exports/api/3", other.url),
            true,
        ),
        (
            Route::Modules,
            302,
            format!("{}/api/gn_commons/modules", other.url),
            true,
        ),
        (
            Route::Login,
            307,
            format!("{}/api/auth/login", other.url),
            true,
        ),
        (
            Route::Login,
            308,
            format!("{}/api/auth/login", other.url),
            true,
        ),
    ];
    for (number, (route, status, location, by_login)) in cases.into_iter().enumerate() {
        let (partner, name) = (partner(), format!("source {number}"));
        connect(&database, &name, &partner, by_login);
        partner.add_fault(Rule::always(route, redirect(status, &location)));
        let row = run(&database, &name, "auto");
        assert_eq!(text(&row, "status"), "failed", "{location}: {row:?}");
        assert_eq!(text(&row, "error_sqlstate"), "38000", "{location}: {row:?}");
        assert!(
            text(&row, "error_message").starts_with("the server redirects to http://"),
            "{row:?}"
        );
        assert!(
            text(&row, "error_detail").contains(&format!("HTTP {status}")),
            "{row:?}"
        );
        assert!(
            text(&row, "error_hint").contains("gn_harvest.alter_source(name, url => "),
            "{row:?}"
        );
        assert_eq!(
            number_of_retries(&row),
            0,
            "to ask again would change nothing"
        );
        let check = database.rows(&format!("SELECT * FROM gn_harvest.check_source('{name}')"));
        assert!(
            check.iter().any(|row| text(row, "status") == "error"
                && text(row, "detail").contains("redirects to")),
            "{check:?}"
        );
    }
    assert_eq!(other.requests(), [""; 0], "the other host hears nothing");
}

fn number_of_retries(row: &gn_harvest_outside::Row) -> i64 {
    number(row, "retries")
}

#[test]
fn a_redirect_within_the_same_host_is_followed_with_the_secrets() {
    let database = cluster().database();
    for by_login in [false, true] {
        let (partner, name) = (partner(), format!("by login: {by_login}"));
        connect(&database, &name, &partner, by_login);
        // As a proxy does: to the same thing under its full address, or to a path. (The query goes along or not.)
        for status in [301, 302, 307, 308] {
            let location = format!(
                "{}/api/exports/api/3?limit=10&orderby=id_synthese",
                partner.url()
            );
            partner.add_fault(Rule::times(Route::Export, 1, redirect(status, &location)));
        }
        let row = run_well(&database, &name, "auto");
        assert_eq!(number(&row, "inserted"), 50, "{row:?}");
        assert_complete(&database, &name, &partner);
        let figures = partner.figures();
        let redirected = figures
            .last
            .iter()
            .filter(|seen| (301..309).contains(&seen.status));
        assert_eq!(redirected.count(), 4);
        database.run("TRUNCATE gn_synthese.synthese CASCADE; TRUNCATE gn_harvest.harvested");
    }
}

#[test]
fn redirects_in_circles_end() {
    let database = cluster().database();
    let partner = partner();
    connect(&database, "cen", &partner, false);
    partner.add_fault(Rule::always(
        Route::Export,
        redirect(302, "/api/exports/api/3"),
    ));
    let row = run(&database, "cen", "auto");
    assert_eq!(text(&row, "status"), "failed");
    assert!(
        text(&row, "error_message").contains("in circles"),
        "{row:?}"
    );
    assert!(partner.figures().requests < 10);
}

#[test]
fn the_login_page_of_the_front_end_is_a_refusal_not_a_page() {
    let database = cluster().database();
    let partner = partner();
    connect(&database, "cen", &partner, false);
    let page = format!("{}/#/login?next=x", partner.url());
    partner.add_fault(Rule::always(Route::Export, redirect(302, &page)));
    let row = run(&database, "cen", "auto");
    assert_eq!(
        (text(&row, "status"), text(&row, "error_sqlstate")),
        ("failed", "28000"),
        "{row:?}"
    );
}

#[test]
fn link_local_and_metadata_addresses_are_refused_when_they_are_given() {
    let database = cluster().database();
    for host in [
        "169.254.169.254",
        "169.254.1.1:8000",
        "[fe80::1]",
        "[::ffff:169.254.169.254]",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "0xA9FEA9FE",
        "2852039166",
    ] {
        let error = database.error(&format!(
            "SELECT gn_harvest.add_source('interdit', 'http://{host}/geonature', 1)"
        ));
        assert!(error.starts_with("08004: "), "{host}: {error}");
        assert!(
            error.contains("link-local or metadata address"),
            "{host}: {error}"
        );
        assert!(
            error.contains("HINT: Give the public address of the GeoNature"),
            "{host}: {error}"
        );
    }
    let partner = partner();
    connect(&database, "cen", &partner, false);
    let error = database
        .error("SELECT gn_harvest.alter_source('cen', url => 'http://169.254.169.254/geonature')");
    assert!(error.starts_with("08004: "), "{error}");
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.source_status WHERE url LIKE '%169.254%'"),
        0
    );
}

#[test]
fn a_link_local_address_is_refused_by_the_run_itself() {
    let database = cluster().database();
    let partner = partner();
    connect(&database, "cen", &partner, false);
    // As when a name leads there only later: past what add_source checks.
    database.run(
        "SET session_replication_role = replica; UPDATE gn_harvest.source SET url = 'http://169.254.169.254/geonature'",
    );
    let row = run(&database, "cen", "auto");
    assert_eq!(
        (text(&row, "status"), text(&row, "error_sqlstate")),
        ("failed", "08004"),
        "{row:?}"
    );
    assert!(
        text(&row, "error_message")
            .contains("169.254.169.254, a link-local or metadata address, which is refused"),
        "{row:?}"
    );
    assert!(
        text(&row, "error_hint").contains("gn_harvest.alter_source("),
        "{row:?}"
    );
    assert_eq!(number(&row, "requests"), 0);
}

#[test]
fn credentials_do_not_follow_a_source_to_another_host() {
    let database = cluster().database();
    let (partner, other) = (partner(), other_host());
    connect(&database, "cen", &partner, false);
    run_well(&database, "cen", "auto");
    let kept = "SELECT count(*) FROM gn_harvest.credential";
    // The same host, another path or spelling: it is still whom they were given for.
    database.run(&format!(
        "SELECT gn_harvest.alter_source('cen', url => '{}/api/')",
        partner.url()
    ));
    assert_eq!(database.number(kept), 1);
    database.run(&format!(
        "SELECT gn_harvest.alter_source('cen', url => '{}')",
        other.url
    ));
    assert_eq!(database.number(kept), 0);
    run(&database, "cen", "auto");
    let requests = other.requests();
    assert!(!requests.is_empty());
    for request in requests {
        let head = request.to_lowercase();
        for header in ["api-key:", "authorization:", "cookie:"] {
            assert!(!head.contains(header), "{request}");
        }
        assert!(!request.contains(TOKEN), "{request}");
    }
    // Nor do they come back with the old address.
    database.run(&format!(
        "SELECT gn_harvest.alter_source('cen', url => '{}')",
        partner.url()
    ));
    assert_eq!(database.number(kept), 0);
    let row = run(&database, "cen", "auto");
    assert_eq!(text(&row, "error_sqlstate"), "42501", "{row:?}");
}
