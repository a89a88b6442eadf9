//! The figures, the table of sources, the measures and the status page: what they say, to whom, and at what cost.

use geonature_simulator::Config;
use gn_harvest_outside::{Database, rows};
use quick_xml::Reader;
use quick_xml::events::Event;

use crate::people::*;
use crate::support::*;

/// Two partners, of different organisms, with a few rejects and deletions behind them.
fn two_sources(database: &Database) -> [geonature_simulator::Simulator; 2] {
    let partners = [1, 2].map(|seed| {
        partner_with(Config {
            observations: 120,
            seed,
            id_offset: 1_000_000 * i64::try_from(seed).expect("small"),
            datasets: 3,
            ..Config::default()
        })
    });
    add_source(
        database,
        "cen",
        &partners[0],
        3,
        "organism => 'CEN', schedule => 'weekly monday 03:00'",
    );
    add_source(database, "lpo", &partners[1], 3, "organism => 'LPO'");
    for id in &partners[0].ids()[..4] {
        partners[0].tamper(*id, "cd_nom", Some("999999"));
    }
    run_well(database, "cen", "auto");
    run_well(database, "lpo", "auto");
    // What the taxa that are missing raised: each test has alerts of its own.
    database.run("DELETE FROM gn_harvest.alert");
    partners
}

fn metric(database: &Database, source: &str, metric: &str) -> String {
    database.value(&format!(
        "SELECT max(value) FROM gn_harvest.metrics WHERE source IS NOT DISTINCT FROM {source} AND metric = 'gn_harvest_{metric}'"
    ))
}

#[test]
fn the_dashboard_and_the_metrics_say_what_there_is() {
    let database = cluster().database();
    let empty = database.row("SELECT * FROM gn_harvest.dashboard");
    for figure in [
        "observations",
        "taxa",
        "organisms",
        "datasets",
        "sources",
        "running",
        "rejected",
        "open_alerts",
    ] {
        assert_eq!(text(&empty, figure), "0", "{figure}");
    }
    assert_eq!(text(&empty, "last_run"), "");
    let _partners = two_sources(&database);
    database.run("SELECT gn_harvest.add_source('sans organisme', 'https://gn.example.org/a', 3), gn_harvest.add_source('du même', 'https://gn.example.org/b', 3)");
    database.run(
        "INSERT INTO gn_harvest.alert (source_id, source, owner, rule, severity, facts) SELECT id, name, owner, 'run_failed', v.severity, json_build_object('error', v.severity)
         FROM gn_harvest.source, (VALUES ('info'), ('critical')) v(severity) WHERE name = 'cen' AND v.severity = 'critical'
         UNION ALL SELECT id, name, owner, 'missing_taxa', 'info', '{}' FROM gn_harvest.source WHERE name = 'cen'",
    );
    let found = database.row(
        "SELECT d.*, (SELECT count(*) FROM gn_synthese.synthese) AS held,
                (SELECT count(DISTINCT cd_ref) FROM gn_synthese.synthese JOIN taxonomie.taxref USING (cd_nom)) AS held_taxa,
                (SELECT count(DISTINCT id_dataset) FROM gn_synthese.synthese) AS held_datasets,
                (SELECT max(started_at) FROM gn_harvest.run_history) AS began
         FROM gn_harvest.dashboard d",
    );
    assert_eq!(number(&found, "observations"), 236);
    for (figure, held) in [
        ("observations", "held"),
        ("taxa", "held_taxa"),
        ("datasets", "held_datasets"),
        ("last_run", "began"),
    ] {
        assert_eq!(
            text(&found, figure),
            text(&found, held),
            "{figure}: {found:#?}"
        );
    }
    assert_eq!(
        ["organisms", "sources", "running", "rejected", "open_alerts"]
            .map(|figure| number(&found, figure)),
        [3, 4, 0, 4, 2],
        "the two without organism are of one host"
    );
    assert_eq!(
        (
            text(&found, "last_run_source"),
            text(&found, "last_run_status")
        ),
        ("lpo", "succeeded")
    );

    let status = database.row("SELECT * FROM gn_harvest.source_status WHERE source = 'cen'");
    assert_eq!(
        (
            number(&status, "observations"),
            number(&status, "rejected"),
            number(&status, "alerts")
        ),
        (116, 4, 2)
    );
    assert_eq!(
        (
            text(&status, "frequency"),
            text(&status, "state"),
            text(&status, "alert_severity")
        ),
        ("Weekly – Monday", "Succeeded", "critical")
    );
    assert!(
        text(&status, "alert").contains("critical"),
        "the gravest one: {status:#?}"
    );
    assert!(!text(&status, "last_import").is_empty());
    let french = database.row(
        "SELECT s.* FROM (SELECT set_config('gn_harvest.language', 'fr', false)) l, gn_harvest.source_status s WHERE s.source = 'cen'",
    );
    assert_eq!(
        (text(&french, "frequency"), text(&french, "state")),
        ("Hebdomadaire – Lundi", "Réussie")
    );
    // In the order of the drawing: any client shows it as it is.
    let columns = database.value(
        "SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'gn_harvest.source_status'::regclass AND attnum BETWEEN 1 AND 6",
    );
    assert_eq!(
        columns,
        "source organism frequency last_import observations alert"
    );

    assert_eq!(metric(&database, "'cen'", "observations"), "116");
    assert_eq!(metric(&database, "'cen'", "rejected_records"), "4");
    assert_eq!(metric(&database, "'cen'", "open_alerts"), "2");
    assert_eq!(metric(&database, "'cen'", "last_run_succeeded"), "1");
    assert_eq!(
        metric(&database, "'cen'", "last_run_inserted_observations"),
        "116"
    );
    assert_eq!(metric(&database, "'du même'", "observations"), "0");
    assert_eq!(metric(&database, "NULL", "platform_observations"), "236");
    assert_eq!(metric(&database, "NULL", "platform_sources"), "4");
    let taxa = database.number(
        "SELECT count(DISTINCT cd_ref) FROM gn_synthese.synthese JOIN gn_synthese.t_sources USING (id_source) JOIN taxonomie.taxref USING (cd_nom) WHERE name_source = 'cen'",
    );
    assert_eq!(metric(&database, "'cen'", "taxa"), taxa.to_string());
    let doubled = database.number(
        "SELECT count(*) FROM (SELECT FROM gn_harvest.metrics GROUP BY source, metric HAVING count(*) > 1 OR count(value) = 0) d",
    );
    assert_eq!(doubled, 0, "one row for each source and measure");
    let names = database.rows("SELECT DISTINCT metric FROM gn_harvest.metrics WHERE metric !~ '^gn_harvest_[a-z]+(_[a-z]+)*$' OR help !~ '\\.$'");
    assert!(names.is_empty(), "{names:?}");
    let by_reason = database.row("SELECT * FROM gn_harvest.rejected_by_reason");
    assert_eq!(
        (
            text(&by_reason, "source"),
            text(&by_reason, "reason"),
            number(&by_reason, "records")
        ),
        ("cen", "unknown_cd_nom", 4)
    );
}

#[test]
fn no_view_of_the_dashboard_scans_what_was_harvested() {
    let database = cluster().database();
    let _partners = two_sources(&database);
    // Planned as for a million rows, whatever the tables are now.
    database.run("UPDATE pg_class SET reltuples = 1e6, relpages = 20000 WHERE oid IN ('gn_harvest.harvested'::regclass, 'gn_synthese.synthese'::regclass)");
    let mut session = database.connect();
    let looks = [
        "SELECT * FROM gn_harvest.dashboard",
        "SELECT * FROM gn_harvest.source_status",
        "SELECT * FROM gn_harvest.metrics",
        "SELECT * FROM gn_harvest.rejected_by_reason",
        "SELECT * FROM gn_harvest.run_progress",
        "SELECT * FROM gn_harvest.open_alert",
        "SELECT gn_harvest.status_page('fr')",
    ];
    for look in looks {
        let plan = rows(
            &mut session,
            &format!("EXPLAIN (VERBOSE, COSTS OFF) {look}"),
        );
        for line in plan.iter().filter_map(|row| row["QUERY PLAN"].as_deref()) {
            for scanned in [
                "gn_harvest.harvested",
                "gn_harvest.rejected ",
                "gn_synthese.",
            ] {
                assert!(!line.contains(&format!("on {scanned}")), "{look}: {line}");
            }
        }
    }
    // Nor do the functions that they call, of which a plan says nothing.
    let touched = "SELECT string_agg(relname, ' ') AS tables FROM pg_stat_xact_user_tables
                   WHERE (schemaname = 'gn_synthese' OR relname IN ('harvested', 'rejected')) AND coalesce(seq_scan, 0) + coalesce(idx_scan, 0) > 0";
    session.batch_execute("BEGIN").expect("a transaction");
    for look in looks {
        rows(&mut session, look);
        assert_eq!(
            text(&rows(&mut session, touched)[0], "tables"),
            "",
            "{look}"
        );
    }
    rows(&mut session, "SELECT count(*) FROM gn_harvest.harvested");
    assert_eq!(
        text(&rows(&mut session, touched)[0], "tables"),
        "harvested",
        "this is how it is noticed"
    );
}

#[test]
fn each_role_sees_its_own_sources_in_every_view_of_the_dashboard() {
    let database = cluster().database();
    let _partners = two_sources(&database);
    let [owner, reader, stranger] =
        ["owner", "reader", "stranger"].map(|name| role(&database, name));
    database.run(&format!(
        "SELECT gn_harvest.grant_operator('{owner}'), gn_harvest.grant_reader('{reader}'), gn_harvest.grant_operator('{stranger}');
         SELECT gn_harvest.alter_source('cen', owner => '{owner}');
         INSERT INTO gn_harvest.alert (source_id, source, owner, rule, severity) SELECT id, name, owner, 'run_failed', 'warning' FROM gn_harvest.source"
    ));
    for (asking, sources, observations, rejected, alerts) in [
        (&owner, "cen", "116", "4", "1"),
        (&reader, "cen lpo", "236", "4", "2"),
        (&stranger, "", "0", "0", "0"),
    ] {
        let asked = |sql: &str| value_as(&database, asking, sql);
        assert_eq!(
            asked("SELECT observations FROM gn_harvest.dashboard"),
            observations
        );
        assert_eq!(asked("SELECT rejected FROM gn_harvest.dashboard"), rejected);
        assert_eq!(
            asked("SELECT open_alerts FROM gn_harvest.dashboard"),
            alerts
        );
        assert_eq!(
            asked("SELECT sources FROM gn_harvest.dashboard"),
            sources.split_whitespace().count().to_string()
        );
        assert_eq!(
            asked("SELECT string_agg(source, ' ' ORDER BY source) FROM gn_harvest.source_status"),
            sources
        );
        assert_eq!(
            asked(
                "SELECT string_agg(DISTINCT source, ' ' ORDER BY source) FROM gn_harvest.metrics"
            ),
            sources
        );
        assert_eq!(
            asked("SELECT coalesce(sum(records), 0) FROM gn_harvest.rejected_by_reason"),
            rejected
        );
        assert_eq!(
            asked(
                "SELECT max(value) FROM gn_harvest.metrics WHERE metric = 'gn_harvest_platform_observations'"
            ),
            observations
        );
        let page = asked("SELECT gn_harvest.status_page('en')");
        assert_eq!(
            page.contains("<bdi>cen</bdi>"),
            sources.contains("cen"),
            "{asking}"
        );
        assert_eq!(
            page.contains("<bdi>lpo</bdi>"),
            sources.contains("lpo"),
            "{asking}"
        );
        assert_eq!(
            page.contains("No source to show."),
            sources.is_empty(),
            "{asking}"
        );
        for hidden in ["taxon_tally", "dataset_tally", "rejected_tally", "taxon"] {
            let error = error_as(
                &database,
                asking,
                &format!("SELECT * FROM gn_harvest.{hidden}"),
            );
            assert!(error.starts_with("42501: "), "{error}");
        }
    }
    let nobody = role(&database, "nobody");
    for refused in [
        "SELECT * FROM gn_harvest.dashboard",
        "SELECT gn_harvest.status_page()",
    ] {
        let error = error_as(&database, &nobody, refused);
        assert!(error.starts_with("42501: "), "{error}");
    }
    let error = error_as(&database, &owner, "SELECT gn_harvest.recount()");
    assert!(error.starts_with("42501: "), "{error}");
    database.run(&format!("SELECT gn_harvest.drop_source('cen'); DROP OWNED BY {owner}, {reader}, {stranger}; DROP ROLE {owner}, {reader}, {stranger}, {nobody}"));
}

/// Names of the elements of a page, and its texts; panics unless it is well-formed.
fn parse(html: &str) -> (Vec<String>, String) {
    let mut reader = Reader::from_str(html);
    let (mut elements, mut texts) = (Vec::new(), String::new());
    loop {
        match reader
            .read_event()
            .unwrap_or_else(|error| panic!("{error} in {html}"))
        {
            Event::Start(tag) | Event::Empty(tag) => {
                elements.push(String::from_utf8_lossy(tag.name().as_ref()).into_owned());
                for attribute in tag.attributes() {
                    attribute.expect("a well-formed attribute");
                }
            }
            Event::Text(text) => texts.push_str(&text.decode().expect("UTF-8")),
            Event::GeneralRef(name) => {
                let name = name.decode().expect("UTF-8").into_owned();
                texts.push_str(match name.as_str() {
                    "#39" => "'",
                    name => {
                        quick_xml::escape::resolve_predefined_entity(name).expect("one of ours")
                    }
                });
            }
            Event::Eof => return (elements, texts),
            _ => {}
        }
    }
}

#[test]
fn the_status_page_shows_hostile_names_as_they_are() {
    let database = cluster().database();
    let partner = partner(30);
    const NAME: &str = "<script>alert(\"x\")</script> & 'co'";
    let token = partner.token(3).expect("a token");
    let mut session = database.connect();
    session
        .execute(
            "SELECT gn_harvest.add_source($1, $2, 3, token => $3, organism => $4)",
            &[
                &NAME,
                &partner.url(),
                &token,
                &"</td></table>\u{202e}\"><img src=x>",
            ],
        )
        .expect("a source");
    partner.tamper(partner.ids()[0], "cd_nom", Some("999999"));
    session
        .execute("SELECT gn_harvest.run($1)", &[&NAME])
        .expect("a run");
    session
        .execute(
            "SELECT gn_harvest.pause_source($1, $2)",
            &[&NAME, &"<b>en panne</b>"],
        )
        .expect("a pause");
    session
        .execute(
            "INSERT INTO gn_harvest.alert (source_id, source, owner, rule, severity, facts, acknowledged_at, acknowledged_by, acknowledge_note)
             SELECT id, name, owner, 'run_failed', 'critical', '{\"error\": \"<i>502</i>\"}', now(), 'marie', '<u>vu</u>' FROM gn_harvest.source",
            &[],
        )
        .expect("an alert");
    for (language, said) in [
        ("fr", "taxon absent du Taxref local"),
        ("en", "taxon not in the local Taxref"),
    ] {
        let html = database.value(&format!("SELECT gn_harvest.status_page('{language}')"));
        assert!(
            html.starts_with(&format!("<!DOCTYPE html>\n<html lang=\"{language}\">")),
            "{html}"
        );
        let (elements, texts) = parse(&html);
        for injected in ["script", "img", "b", "i", "u"] {
            assert!(
                !elements.iter().any(|element| element == injected),
                "<{injected}>"
            );
        }
        for shown in [
            NAME,
            "</td></table>\u{202e}\"><img src=x>",
            "<b>en panne</b>",
            "<i>502</i>",
            "<u>vu</u>",
            said,
            "unknown_cd_nom",
        ] {
            assert!(texts.contains(shown), "{shown} in {texts}");
        }
        assert!(
            elements.iter().any(|element| element == "svg"),
            "a chart of its days"
        );
    }
    // The language is that of the call, and of the session again after it.
    let asked = rows(
        &mut session,
        "SELECT gn_harvest.status_page('fr') LIKE '%lang=\"fr\"%' AS french, gn_harvest.word('failed') AS word, gn_harvest.status_page() LIKE '%lang=\"en\"%' AS english",
    );
    assert_eq!(
        [
            text(&asked[0], "french"),
            text(&asked[0], "word"),
            text(&asked[0], "english")
        ],
        ["t", "Failed", "t"]
    );
    let error = database.error("SELECT gn_harvest.status_page('de')");
    assert!(
        error.starts_with("22023: ") && error.contains("HINT: It is one of: fr, en"),
        "{error}"
    );
}

#[test]
fn a_run_in_progress_is_on_the_page_in_the_figures_and_in_the_metrics() {
    let cluster = fragile_cluster();
    let database = cluster.database();
    let partner = partner(1000);
    add_source(
        &database,
        "cen",
        &partner,
        3,
        "page_size => 100, connections => 1",
    );
    let run = start_and_hang(&database, "cen", &partner, 3);
    let progress = database.row("SELECT *, eta > started_at AS has_eta, percent BETWEEN 0 AND 100 AS has_percent FROM gn_harvest.run_progress");
    assert_eq!(
        (text(&progress, "has_eta"), text(&progress, "has_percent")),
        ("t", "t"),
        "{progress:#?}"
    );
    assert_eq!(
        database.value("SELECT running || ' ' || last_run_status FROM gn_harvest.dashboard"),
        "1 running"
    );
    assert_eq!(metric(&database, "'cen'", "running"), "1");
    assert_eq!(
        metric(&database, "'cen'", "last_run_succeeded"),
        "",
        "not known yet"
    );
    let html = database.value("SELECT gn_harvest.status_page('fr')");
    let bar = format!(
        "<progress max=\"100\" aria-label=\"cen\" value=\"{}",
        text(&progress, "percent").trim_end_matches(".0")
    );
    assert!(html.contains(&bar), "{bar}: {html}");
    assert!(
        html.contains("moissonnage</p>") && html.contains("fin vers"),
        "{html}"
    );
    database.run(&format!("SELECT gn_harvest.cancel({run})"));
    ended(&database, run);
    assert_eq!(
        database.value("SELECT running || ' ' || last_run_status FROM gn_harvest.dashboard"),
        "0 cancelled"
    );
}
