//! docs/operations.md and docs/design.md: examples run, lists are complete, messages that are quoted exist, links lead
//! somewhere.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use gn_harvest_outside::{Cluster, rows};

use crate::document::{self, file, part, project, quoted, quoted_rows};
use crate::published::{Partner, VIEW};
use crate::support::*;

const OPERATIONS: &str = include_str!("../../../docs/operations.md");
const DESIGN: &str = include_str!("../../../docs/design.md");

#[test]
fn every_example_of_operations_runs() {
    // A server of its own, as the document speaks of settings and of the scheduler.
    let cluster = Cluster::temporary(&[("shared_preload_libraries", "gn_harvest")]);
    let database = cluster.database();
    let partner = partner(60);
    add_source(&database, "CEN Alpes", &partner, 3, "");
    run_well(&database, "CEN Alpes", "auto");
    for example in document::examples(OPERATIONS) {
        document::run(&database, "postgres", &example, &[]);
    }
    assert_eq!(
        database.value("SELECT enabled FROM gn_harvest.source"),
        "t",
        "paused and resumed"
    );
    let roles = "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'harvest\\_%'";
    assert_eq!(database.number(roles), 0, "what was granted is taken back");
}

#[test]
fn a_dump_made_as_operations_says_holds_all_but_the_secrets() {
    let database = cluster().database();
    let partner = partner(20);
    add_source(&database, "CEN Alpes", &partner, 3, "");
    database.run("SELECT gn_harvest.add_channel('team', 'webhook', template => 'slack', url => 'https://chat.example.org/hooks/of-the-team')");
    let call = OPERATIONS
        .lines()
        .find_map(|line| line.strip_prefix("pg_dump "))
        .and_then(|call| call.split_once(" geonature2db >"))
        .expect("the call")
        .0;
    let dump = |arguments: &[&str]| {
        let output = std::process::Command::new(database.cluster.program("pg_dump"))
            .env("PGHOST", database.cluster.host())
            .env("PGPORT", database.cluster.port())
            .env("PGUSER", "postgres")
            .args(arguments)
            .arg(&database.name)
            .output()
            .expect("pg_dump");
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let secrets = ["jeton-export-3", "of-the-team"];
    let (whole, without) = (dump(&[]), dump(&call.split(' ').collect::<Vec<_>>()));
    for secret in secrets {
        assert!(whole.contains(secret) && !without.contains(secret));
    }
    assert!(without.contains("CEN Alpes") && without.contains("COPY gn_harvest.source_state"));
}

#[test]
fn a_restored_dump_of_a_partner_publishes_on() {
    let partner = Partner::new(60);
    partner.publish("cen", "roles => '{admin}'");
    let copy = cluster().empty_database();
    pour(&partner.database, &copy);
    let published =
        format!("SELECT md5(string_agg(v::text, ' ' ORDER BY id_synthese)) FROM {VIEW} v");
    assert_eq!(copy.value(&published), partner.database.value(&published));
    copy.run("DELETE FROM gn_synthese.synthese WHERE id_synthese = (SELECT min(id_synthese) FROM gn_synthese.synthese)");
    let told = "SELECT count(*) FROM gn_exports.v_cen_deletions";
    assert_eq!((copy.number(told), partner.database.number(told)), (1, 0));
    copy.run("SELECT gn_harvest.unpublish_export('cen')");
}

#[test]
fn operations_lists_every_setting_of_the_server_as_it_is() {
    let database = cluster().database();
    let mut session = database.connect();
    session
        .batch_execute("LOAD 'gn_harvest'")
        .expect("the library");
    let settings = rows(
        &mut session,
        "SELECT name, coalesce(nullif(concat_ws(' ', nullif(boot_val, ''), unit), ''), 'empty') AS value,
                coalesce(min_val || ' to ' || max_val, 'text') AS range,
                CASE context WHEN 'sighup' THEN 'reload' WHEN 'user' THEN 'session' ELSE context END AS context
         FROM pg_settings WHERE name LIKE 'gn\\_harvest.%'",
    );
    let expected: BTreeSet<Vec<String>> = settings
        .iter()
        .map(|row| {
            let name = format!("`{}`", text(row, "name"));
            let words = ["value", "range", "context"].map(|column| text(row, column).to_owned());
            [name].into_iter().chain(words).collect()
        })
        .collect();
    let listed = quoted_rows(part(OPERATIONS, "## Settings of the server"));
    assert!(listed.iter().all(|cells| cells.len() == 6), "{listed:#?}");
    let listed: BTreeSet<Vec<String>> = listed
        .iter()
        .map(|cells| cells[..4].iter().map(|cell| (*cell).to_owned()).collect())
        .collect();
    assert_eq!(listed, expected);
}

/// Source files below a directory of the project.
fn sources(directory: &str, extension: &str) -> Vec<PathBuf> {
    let (mut found, mut waiting) = (Vec::new(), vec![project().join(directory)]);
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found
}

/// A text with what is filled in, in Rust (`{name}`) or SQL (`%`, `%1$I`), as "…"; quotes as they are shown.
fn as_shown(text: &str) -> String {
    let text = text.replace("\\\"", "\"").replace("''", "'");
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find(['{', '%']) {
        shown.push_str(&rest[..at]);
        let from = &rest[at..];
        let length = if from.starts_with('{') {
            let end = from.find(['}', '\n']).unwrap_or(from.len() - 1);
            from[end..].starts_with('}').then_some(end + 1)
        } else {
            let place = from[1..].trim_start_matches(|c: char| c.is_ascii_digit() || c == '$');
            let verb = place.starts_with(['s', 'I', 'L']);
            Some(from.len() - place.len() + usize::from(verb))
        };
        match length {
            Some(length) => {
                shown.push('…');
                rest = &from[length..];
            }
            None => {
                shown.push('{');
                rest = &from[1..];
            }
        }
    }
    shown + rest
}

#[test]
fn what_is_filled_in_is_told_from_the_words() {
    for (written, shown) in [
        ("run {} of \\\"{name:?}\\\"", "run … of \"…\""),
        ("source \"%\" of %", "source \"…\" of …"),
        ("GRANT %I TO %2$I, a%s b", "GRANT … TO …, a… b"),
        ("a {\nb", "a {\nb"),
        ("l''été", "l'été"),
    ] {
        assert_eq!(as_shown(written), shown);
    }
}

#[test]
fn every_message_that_operations_quotes_is_one_of_the_sources() {
    // Installed SQL and the library's own; not the scripts of upgrades, which hold former texts.
    let said: String = sources("src", "rs")
        .into_iter()
        .chain(sources("src", "sql"))
        .chain(sources("sql", "sql"))
        .filter(|path| !path.display().to_string().contains("--"))
        .map(|path| as_shown(&std::fs::read_to_string(path).expect("a source")))
        .collect();
    let mut quoted_messages = 0;
    for (title, messages) in [
        ("## Monitoring", 1),
        ("### A call is refused", 2),
        ("### The partner, or the way to it", 2),
        ("### This database", 2),
        ("### Warnings of a run that succeeded", 1),
    ] {
        for cells in quoted_rows(part(OPERATIONS, title)) {
            for cell in &cells[..messages] {
                let message = as_shown(cell.trim_matches('`'));
                if title == "## Monitoring" && !message.contains(": ") {
                    continue; // a view of the table before
                }
                let words = message.chars().filter(|c| c.is_alphabetic()).count();
                assert!(words >= 8, "too little to find: {message}");
                assert!(said.contains(&message), "nobody says: {message}");
                quoted_messages += 1;
            }
        }
    }
    assert!(quoted_messages > 80, "{quoted_messages}");
}

#[test]
fn the_processes_that_operations_names_are_those_of_the_sources() {
    let kinds: Vec<String> = ["launcher", "visitor", "worker", "writer", "alert/sender"]
        .iter()
        .map(|module| {
            let source = file(&format!("src/{module}.rs"));
            let (_, rest) = source.split_once("_TYPE: &str = \"").expect("a type");
            rest.split('"').next().expect("its name").to_owned()
        })
        .collect();
    let listed = quoted(part(OPERATIONS, "## Monitoring"));
    for kind in kinds {
        assert!(listed.contains(kind.as_str()), "{kind}");
    }
}

fn names(rows: &[Vec<&str>]) -> BTreeSet<String> {
    rows.iter()
        .map(|cells| cells[0].trim_matches('`').to_owned())
        .collect()
}

#[test]
fn the_design_says_what_each_table_is_for() {
    let database = cluster().database();
    let tables = database.rows(
        "SELECT relname FROM pg_class WHERE relnamespace = 'gn_harvest'::regnamespace AND relkind = 'r'",
    );
    let tables: BTreeSet<String> = tables
        .iter()
        .map(|row| text(row, "relname").to_owned())
        .collect();
    assert_eq!(names(&quoted_rows(part(DESIGN, "## Tables"))), tables);
}

#[test]
fn the_design_says_what_each_module_is_for() {
    let modules: BTreeSet<String> = file("src/lib.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect();
    assert_eq!(names(&quoted_rows(part(DESIGN, "## Modules"))), modules);
}

#[test]
fn the_design_shows_every_status_of_a_run() {
    let database = cluster().database();
    let constraint = database.value(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'known_status' AND conrelid = 'gn_harvest.run'::regclass",
    );
    let shown = part(DESIGN, "### A run (`run.status`)");
    let statuses: Vec<&str> = constraint.split('\'').skip(1).step_by(2).collect();
    assert!(statuses.len() > 5, "{constraint}");
    for status in statuses {
        let ways = [format!("▶ {status}"), format!("{status} ──▶")];
        assert!(ways.iter().any(|way| shown.contains(way)), "{status}");
    }
}

/// The name that a title has in links, as GitHub makes it.
fn anchor(title: &str) -> String {
    title
        .chars()
        .filter(|c| c.is_alphanumeric() || "-_ ".contains(*c))
        .flat_map(char::to_lowercase)
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// The titles of a document, outside of its blocks.
fn anchors(document: &str) -> BTreeSet<String> {
    let outside = document.split("```").step_by(2);
    outside
        .flat_map(str::lines)
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches('#').trim()))
        .collect()
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    let documents = sources("docs", "md")
        .into_iter()
        .chain(["README.md", "CHANGELOG.md"].map(|name| project().join(name)));
    let mut links = 0;
    for path in documents {
        let text = std::fs::read_to_string(&path).expect("a document");
        for link in text.split("](").skip(1) {
            let link = link.split(')').next().unwrap_or_default();
            if link.contains("://") {
                continue;
            }
            let (to, title) = link.split_once('#').unwrap_or((link, ""));
            let directory = path.parent().unwrap_or(Path::new("/"));
            let target = match to {
                "" => path.clone(),
                to => directory.join(to),
            };
            assert!(target.exists(), "{}: {link}", path.display());
            if !title.is_empty() {
                let target = std::fs::read_to_string(&target).expect("a document");
                assert!(
                    anchors(&target).contains(title),
                    "{}: {link}",
                    path.display()
                );
            }
            links += 1;
        }
    }
    assert!(links > 40, "{links}");
}
