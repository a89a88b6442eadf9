//! The history forgets what is older than the settings say, in small steps, and never what is still needed.

use gn_harvest_outside::Database;

use crate::people::*;
use crate::support::*;

/// Runs of 500 to 401 days ago, one a day, oldest first; numbers are returned in that order.
fn old_runs(database: &Database, source: &str, status: &str) -> Vec<i64> {
    let made = database.rows(&format!(
        "INSERT INTO gn_harvest.run (id, source_id, source, mode, status, started_by, created_at, finished_at)
         SELECT nextval('gn_harvest.run_id_seq'), s.id, s.name, 'incremental', '{status}', 'test', now() - d * interval '1 day', now() - d * interval '1 day'
         FROM gn_harvest.source s, generate_series(500, 401, -1) d WHERE s.name = '{source}' ORDER BY d DESC
         RETURNING id"
    ));
    made.iter().map(|row| number(row, "id")).collect()
}

fn left(database: &Database, ids: &[i64]) -> Vec<i64> {
    let list: Vec<String> = ids.iter().map(i64::to_string).collect();
    let rows = database.rows(&format!(
        "SELECT id FROM gn_harvest.run WHERE id IN ({}) ORDER BY id",
        list.join(", ")
    ));
    rows.iter().map(|row| number(row, "id")).collect()
}

fn connected(database: &Database) {
    for name in ["cen", "lpo"] {
        database.run(&format!(
            "SELECT gn_harvest.add_source('{name}', 'https://gn.example.org', 3)"
        ));
    }
}

#[test]
fn old_runs_go_and_those_that_something_needs_stay() {
    let database = cluster().database();
    connected(&database);
    let failed = old_runs(&database, "cen", "failed");
    let other = old_runs(&database, "lpo", "succeeded");
    // What success the source has had, and what a run left unfinished, stays; so does what an alert or an unknown value is about.
    database.run(&format!(
        "UPDATE gn_harvest.run SET status = 'succeeded' WHERE id IN ({first}, {second});
         UPDATE gn_harvest.run SET mode = 'full' WHERE id = {first};
         INSERT INTO gn_harvest.slice (run_id, no, whole, cut_by) VALUES ({sliced}, 1, '[1,9)', {sliced});
         INSERT INTO gn_harvest.missing (run_id, id_synthese) VALUES ({missing}, 1);
         INSERT INTO gn_harvest.unmapped SELECT id, 'cd_nom', '1', 1, {unknown}, {unknown} FROM gn_harvest.source WHERE name = 'cen';
         INSERT INTO gn_harvest.alert (source_id, owner, rule, severity, run_id)
         SELECT id, owner, 'run_failed', 'warning', {alerted} FROM gn_harvest.source WHERE name = 'cen';
         INSERT INTO gn_harvest.alert (source_id, owner, rule, severity, run_id, resolved_at)
         SELECT id, owner, 'run_failed', 'warning', {resolved}, now() FROM gn_harvest.source WHERE name = 'cen';
         UPDATE gn_harvest.run SET status = 'running' WHERE id = {running}",
        first = failed[0], second = failed[1], sliced = failed[10], missing = failed[11], unknown = failed[12],
        alerted = failed[13], resolved = failed[14], running = failed[15],
    ));
    // Of a dropped source: nobody needs them.
    database.run("INSERT INTO gn_harvest.run (id, source, mode, status, started_by, created_at)
                  SELECT nextval('gn_harvest.run_id_seq'), 'gone', 'full', 'running', 'test', now() - interval '401 days'");
    let removed = database.row("SELECT * FROM gn_harvest.prune_history()");
    let mut kept = vec![
        failed[0], failed[1], failed[10], failed[11], failed[12], failed[13], failed[15],
    ];
    kept.extend(&failed[80..]);
    assert_eq!(left(&database, &failed), kept);
    assert_eq!(
        left(&database, &other),
        other[80..],
        "the last twenty of each source"
    );
    assert_eq!(number(&removed, "runs"), (100 - 27) + 80 + 1);
    assert_eq!(database.number("SELECT count(*) FROM gn_harvest.slice"), 1);
    let again = database.row("SELECT * FROM gn_harvest.prune_history()");
    assert_eq!(number(&again, "runs"), 0);
}

#[test]
fn a_run_of_yesterday_is_old_only_when_the_settings_say_so_and_a_step_is_small() {
    let database = cluster().database();
    connected(&database);
    let runs = old_runs(&database, "cen", "succeeded");
    let step = |most: i32, days: i32| {
        database.number(&format!(
            "SELECT runs FROM gn_harvest.prune_some({most}, {days}, {days}, {days})"
        ))
    };
    assert_eq!(step(1000, 0), 0, "0: for ever");
    assert_eq!(step(1000, 501), 0);
    assert_eq!(step(7, 400), 7);
    assert_eq!(left(&database, &runs), runs[7..], "the oldest first");
    assert_eq!(step(1000, 450), 44);
    // Answers of check_source are of no use the next day, whatever the settings.
    database.run(
        "INSERT INTO gn_harvest.run (id, source_id, source, mode, started_by, created_at)
         SELECT nextval('gn_harvest.run_id_seq'), id, name, 'check', 'test', now() - interval '25 hours' FROM gn_harvest.source",
    );
    assert_eq!(step(1000, 0), 2);
}

#[test]
fn resolved_alerts_and_discarded_records_go_and_what_waits_never_does() {
    let database = cluster().database();
    connected(&database);
    database.run(
        "INSERT INTO gn_harvest.alert (source_id, owner, rule, severity, opened_at, resolved_at)
         SELECT s.id, s.owner, v.rule, 'warning', now() - interval '900 days', v.resolved_at
         FROM gn_harvest.source s, (VALUES ('open', NULL), ('old', now() - interval '401 days'), ('new', now() - interval '399 days')) v(rule, resolved_at)
         WHERE s.name = 'cen';
         INSERT INTO gn_harvest.rejected (source_id, identity, reason, message, payload, payload_hash, first_run, last_run, first_seen, last_seen, discarded_at)
         SELECT s.id, v.identity, 'bad_date', 'no', '{}', gen_random_uuid(), 1, 1, now() - interval '900 days', v.last_seen, v.discarded_at
         FROM gn_harvest.source s, (VALUES
             ('waits', now() - interval '800 days', NULL::timestamptz),
             ('old', now() - interval '500 days', now() - interval '401 days'),
             ('still comes', now(), now() - interval '500 days'),
             ('new', now() - interval '500 days', now() - interval '399 days')) v(identity, last_seen, discarded_at)
         WHERE s.name = 'cen'",
    );
    let removed = database.row("SELECT * FROM gn_harvest.prune_history()");
    assert_eq!(
        (number(&removed, "alerts"), number(&removed, "rejected")),
        (1, 1),
        "{removed:?}"
    );
    assert_eq!(
        database.value("SELECT string_agg(rule, ' ' ORDER BY rule) FROM gn_harvest.alert"),
        "new open"
    );
    assert_eq!(
        database
            .value("SELECT string_agg(identity, ', ' ORDER BY identity) FROM gn_harvest.rejected"),
        "new, still comes, waits"
    );
    let operator = role(&database, "operator");
    database.run(&format!("SELECT gn_harvest.grant_operator('{operator}')"));
    let error = error_as(&database, &operator, "SELECT gn_harvest.prune_history()");
    assert!(error.starts_with("42501: "), "{error}");
    database.run(&format!("DROP OWNED BY {operator}; DROP ROLE {operator}"));
}
