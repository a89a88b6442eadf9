//! Taxa, datasets, observations and rejected records are counted as they are written: after whatever happened, the counts
//! are what a scan finds.

use geonature_simulator::{Config, Draw, Simulator};
use gn_harvest_outside::Database;
use serde_json::json;

use crate::support::*;

/// What is counted, beside what a scan finds: by source, taxon and dataset in the lineage and in the target.
const DIFFERENCES: &str = "
    WITH counted AS (
        SELECT source_id, 'taxon' AS kind, cd_nom AS id, sum(observations) AS n FROM gn_harvest.taxon_tally GROUP BY 1, 3 HAVING sum(observations) <> 0
        UNION ALL
        SELECT source_id, 'dataset', id_dataset, sum(observations) FROM gn_harvest.dataset_tally GROUP BY 1, 3 HAVING sum(observations) <> 0),
    lineage AS (
        SELECT source_id, k.kind, k.id, count(*) AS n
        FROM gn_harvest.harvested h, LATERAL (VALUES ('taxon', h.cd_nom), ('dataset', h.id_dataset)) k(kind, id)
        WHERE h.id_synthese IS NOT NULL GROUP BY 1, 2, 3),
    target AS (
        SELECT st.source_id, k.kind, k.id, count(*) AS n
        FROM gn_synthese.synthese s JOIN gn_harvest.source_state st USING (id_source),
             LATERAL (VALUES ('taxon', s.cd_nom), ('dataset', s.id_dataset)) k(kind, id)
        GROUP BY 1, 2, 3),
    here AS (SELECT * FROM counted WHERE source_id IN (SELECT source_id FROM gn_harvest.source_state))
    SELECT 'counted, not in the lineage' AS what, d::text FROM (TABLE counted EXCEPT TABLE lineage) d
    UNION ALL SELECT 'in the lineage, not counted', d::text FROM (TABLE lineage EXCEPT TABLE counted) d
    UNION ALL SELECT 'counted, not in the target', d::text FROM (TABLE here EXCEPT TABLE target) d
    UNION ALL SELECT 'in the target, not counted', d::text FROM (TABLE target EXCEPT TABLE here) d
    UNION ALL
    SELECT 'observations', st.source_id || ': ' || st.observations
    FROM gn_harvest.source_state st
    WHERE st.observations <> (SELECT count(*) FROM gn_harvest.harvested h WHERE h.source_id = st.source_id AND h.id_synthese IS NOT NULL)
    UNION ALL
    SELECT 'rejected', coalesce(c.source_id, f.source_id) || ' ' || coalesce(c.reason, f.reason) || ': ' || concat_ws(' for ', c.n, f.n)
    FROM (SELECT source_id, reason, sum(records) AS n FROM gn_harvest.rejected_tally GROUP BY 1, 2 HAVING sum(records) <> 0) c
    FULL JOIN (SELECT source_id, reason, count(*) AS n FROM gn_harvest.rejected WHERE discarded_at IS NULL GROUP BY 1, 2) f
              USING (source_id, reason)
    WHERE c.n IS DISTINCT FROM f.n";

pub fn assert_counted(database: &Database, after: &str) {
    let differences = database.rows(DIFFERENCES);
    assert!(differences.is_empty(), "after {after}: {differences:#?}");
}

/// Two partners that have half of their observations in common, by UUID, connected as "un" and "deux".
fn two_sources(observations: u32) -> (Database<'static>, [Simulator; 2]) {
    let database = cluster().database();
    let partners = [1, 2].map(|seed| {
        partner_with(Config {
            observations,
            seed,
            uuid_seed: Some(7),
            id_offset: 1_000_000 * i64::try_from(seed).expect("small"),
            datasets: 4,
            ..Config::default()
        })
    });
    connect(&database, "un", &partners[0]);
    connect(&database, "deux", &partners[1]);
    (database, partners)
}

fn connect(database: &Database, name: &str, partner: &Simulator) {
    add_source(
        database,
        name,
        partner,
        3,
        "on_uuid_conflict => 'take_over', max_loss => 100",
    );
}

/// A series of changes, the same each time: what is chosen depends on the number of the step only.
struct Series<'d> {
    database: &'d Database<'static>,
    partners: &'d [Simulator; 2],
    taxa: Vec<i64>,
    draw: Draw,
}

const NAMES: [&str; 2] = ["un", "deux"];

impl Series<'_> {
    fn some_ids(&mut self, which: usize, most: u64) -> Vec<i64> {
        let ids = self.partners[which].ids();
        let count = 1 + self.draw.below(most);
        (0..count)
            .map(|_| ids[self.draw.below(ids.len() as u64) as usize])
            .collect()
    }

    fn taxon(&mut self) -> i64 {
        self.taxa[self.draw.below(self.taxa.len() as u64) as usize]
    }

    /// Changes something at a partner, here, or in what was decided.
    fn change(&mut self, which: usize) -> String {
        let (partner, name) = (&self.partners[which], NAMES[which]);
        match self.draw.below(9) {
            0 => {
                for _ in 0..self.draw.below(20) {
                    let taxon = self.taxon();
                    partner.insert(&json!({"cd_nom": taxon})).expect("one more");
                }
                "insertions".to_owned()
            }
            1 | 2 => {
                let (ids, taxon) = (self.some_ids(which, 40), self.taxon());
                partner
                    .update_many(&ids, &json!({"cd_nom": taxon}))
                    .expect("a change");
                "another taxon".to_owned()
            }
            3 => {
                let ids = self.some_ids(which, 15);
                partner.delete_silently(&ids);
                "deletions".to_owned()
            }
            4 => {
                let id = self.some_ids(which, 1)[0];
                let other = id + 500_000;
                if partner.observation(other).is_none() {
                    partner
                        .update(id, &json!({"id_synthese": other}))
                        .expect("another key");
                }
                "another key".to_owned()
            }
            5 => {
                let ids = self.some_ids(which, 15);
                for id in &ids {
                    partner.tamper(*id, "cd_nom", Some("999999"));
                }
                "unknown taxa".to_owned()
            }
            6 => {
                partner.mend_all();
                let discarded = self.draw.chance(300);
                if discarded {
                    self.database
                        .run(&format!("SELECT gn_harvest.discard_rejected('{name}')"));
                }
                "mended".to_owned()
            }
            7 => {
                self.database.run(
                    "DELETE FROM gn_synthese.synthese WHERE id_synthese IN (SELECT id_synthese FROM gn_synthese.synthese ORDER BY md5(id_synthese::text) LIMIT 9)",
                );
                "deleted here".to_owned()
            }
            _ => {
                self.database.run(&format!(
                    "SELECT gn_harvest.map_dataset('{name}', m.uuid, l.unique_dataset_id)
                     FROM (SELECT uuid FROM gn_harvest.source_metadata m JOIN gn_harvest.source s ON s.id = m.source_id
                           WHERE kind = 'dataset' AND s.name = '{name}' ORDER BY uuid LIMIT 1) m,
                          (SELECT unique_dataset_id FROM gn_meta.t_datasets ORDER BY id_dataset DESC LIMIT 1) l
                     WHERE m.uuid <> l.unique_dataset_id"
                ));
                "a mapped dataset".to_owned()
            }
        }
    }

    /// What is done about it. Rows deleted behind the lineage's back are found by a full run of both.
    fn act(&mut self, which: usize) -> String {
        let (partner, name) = (&self.partners[which], NAMES[which]);
        match self.draw.below(10) {
            0 => {
                self.database
                    .run(&format!("SELECT gn_harvest.drop_source('{name}')"));
                connect(self.database, name, partner);
                "drop_source and back".to_owned()
            }
            1 => {
                self.database.run(&format!(
                    "SELECT gn_harvest.drop_source('{name}', delete_data => true)"
                ));
                connect(self.database, name, partner);
                "drop_source with its data and back".to_owned()
            }
            2 => {
                self.database
                    .run(&format!("SELECT gn_harvest.retry_rejected('{name}')"));
                "retry_rejected".to_owned()
            }
            3..=5 => {
                run_well(self.database, name, "auto");
                "auto".to_owned()
            }
            6 => {
                run_well(self.database, name, "full");
                "full".to_owned()
            }
            _ => {
                run_well(self.database, name, "reconcile");
                "reconcile".to_owned()
            }
        }
    }
}

#[test]
fn after_whatever_happened_the_counts_are_what_a_scan_finds() {
    let (database, partners) = two_sources(260);
    let taxa = database
        .rows("SELECT cd_nom FROM taxonomie.taxref ORDER BY cd_nom LIMIT 40")
        .iter()
        .map(|row| number(row, "cd_nom"))
        .collect();
    run_well(&database, "un", "full");
    run_well(&database, "deux", "full");
    assert_counted(&database, "the first runs");
    assert_eq!(
        database.number(
            "SELECT count(*) - count(DISTINCT cd_nom) FROM gn_harvest.taxon_tally
             WHERE source_id = (SELECT id FROM gn_harvest.source WHERE name = 'deux')"
        ),
        0,
        "what a run adds is put together at its end"
    );
    let mut series = Series {
        database: &database,
        partners: &partners,
        taxa,
        draw: Draw::new(42, 1, 1),
    };
    let mut story = Vec::new();
    for step in 0..60_usize {
        let which = (step + step / 3) % 2;
        let deleted_here = {
            let what = series.change(which);
            let deleted_here = what == "deleted here";
            story.push(format!("{}: {what}", NAMES[which]));
            deleted_here
        };
        if deleted_here {
            for name in NAMES {
                run_well(&database, name, "reconcile");
            }
        } else {
            let what = series.act(which);
            story.push(format!("{}: {what}", NAMES[which]));
        }
        let from = story.len().saturating_sub(4);
        assert_counted(
            &database,
            &format!("step {step}: {}", story[from..].join(", ")),
        );
    }
    // What is shown is that.
    let found = database.row(
        "SELECT observations, taxa, datasets,
                (SELECT count(*) FROM gn_synthese.synthese JOIN gn_harvest.source_state USING (id_source)) AS held,
                (SELECT count(DISTINCT t.cd_ref) FROM gn_synthese.synthese JOIN gn_harvest.source_state USING (id_source)
                 JOIN taxonomie.taxref t USING (cd_nom)) AS held_taxa,
                (SELECT count(DISTINCT id_dataset) FROM gn_synthese.synthese JOIN gn_harvest.source_state USING (id_source)) AS held_datasets
         FROM gn_harvest.dashboard",
    );
    for what in ["observations", "taxa", "datasets"] {
        let held = format!(
            "held{}",
            if what == "observations" {
                String::new()
            } else {
                format!("_{what}")
            }
        );
        assert_eq!(
            number(&found, what),
            number(&found, &held),
            "{what}: {found:#?}"
        );
    }
    // And what was forgotten can be counted anew.
    database.run("DELETE FROM gn_harvest.taxon_tally; DELETE FROM gn_harvest.dataset_tally; UPDATE gn_harvest.harvested SET cd_nom = NULL, id_dataset = NULL; DELETE FROM gn_harvest.rejected_tally");
    database.run("SELECT gn_harvest.recount()");
    assert_counted(&database, "recount");
}

#[test]
fn a_source_that_came_back_can_be_dropped_with_its_data_at_once() {
    let database = cluster().database();
    let partner = partner(50);
    connect(&database, "un", &partner);
    run_well(&database, "un", "full");
    database.run("SELECT gn_harvest.drop_source('un')");
    connect(&database, "un", &partner);
    database.run("SELECT gn_harvest.drop_source('un', delete_data => true)");
    assert_eq!(
        database.number("SELECT count(*) FROM gn_synthese.synthese"),
        0
    );
    assert_eq!(
        database.number("SELECT (SELECT count(*) FROM gn_harvest.taxon_tally) + (SELECT count(*) FROM gn_harvest.dataset_tally)"),
        0
    );
}

#[test]
fn a_restored_dump_has_the_same_counts_and_so_has_one_that_was_counted_anew() {
    let (database, partners) = two_sources(150);
    partners[0].tamper(partners[0].ids()[3], "cd_nom", Some("999999"));
    run_well(&database, "un", "full");
    run_well(&database, "deux", "full");
    let copy = cluster().empty_database();
    pour(&database, &copy);
    assert_counted(&copy, "pg_dump and its restoration");
    let figures = "SELECT observations || ' ' || taxa || ' ' || datasets || ' ' || rejected FROM gn_harvest.dashboard";
    assert_eq!(copy.value(figures), database.value(figures));
    copy.run("SELECT gn_harvest.recount()");
    assert_eq!(copy.value(figures), database.value(figures));
    assert_counted(&copy, "recount");
}

#[test]
fn counts_are_right_while_sessions_write_fold_and_give_up_at_once() {
    let (database, _partners) = two_sources(150);
    run_well(&database, "un", "full");
    let source = database.number("SELECT id FROM gn_harvest.source WHERE name = 'un'");
    let fold = format!("SELECT gn_harvest.fold_tally({source})");
    let half = |what: &str| format!("{what} WHERE source_id = {source} AND key_number % 2 = 0");
    let mut writer = database.connect();
    let mut folder = database.connect();
    writer.batch_execute("BEGIN").expect("a transaction");
    writer
        .batch_execute(&half("DELETE FROM gn_harvest.harvested"))
        .expect("uncommitted changes");
    // Another folds what it sees, while a third, which does not wait for it, leaves that to it.
    folder
        .batch_execute(&format!("BEGIN; {fold}"))
        .expect("a fold");
    database.run(&format!("SET statement_timeout = '20s'; {fold}"));
    // Nor does a writer wait for one who folds.
    let mut other = database.connect();
    other
        .batch_execute(&format!(
            "SET lock_timeout = '20s'; BEGIN; UPDATE gn_harvest.harvested SET cd_nom = 1 WHERE source_id = {source} AND key_number % 2 = 1; ROLLBACK"
        ))
        .expect("no lock to wait for");
    folder.batch_execute("COMMIT").expect("folded");
    writer.batch_execute("COMMIT").expect("deleted");
    database.run(&format!(
        "UPDATE gn_harvest.source_state st SET observations = (SELECT count(*) FROM gn_harvest.harvested h WHERE h.source_id = st.source_id AND h.id_synthese IS NOT NULL);
         DELETE FROM gn_synthese.synthese s USING gn_harvest.source_state st WHERE st.source_id = {source} AND s.id_source = st.id_source
            AND NOT EXISTS (SELECT FROM gn_harvest.harvested h WHERE h.id_synthese = s.id_synthese)"
    ));
    assert_counted(&database, "a deletion beside a fold");
    database.run(&fold);
    assert_counted(&database, "a fold after it");
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.taxon_tally WHERE observations <= 0"),
        0
    );
}
