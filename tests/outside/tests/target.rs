//! The target that everything is measured against is shaped, and behaves, as the recorded GeoNature.

use std::path::Path;

use crate::support::*;

fn script(name: &str) -> String {
    let database = cluster().database();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    database
        .cluster
        .psql(&database.name, &directory, &["-qAt", "-f", name])
}

#[test]
fn the_target_has_the_tables_columns_constraints_and_triggers_of_the_recorded_one() {
    assert_eq!(
        script("check.sql").trim(),
        "",
        "differences with the recorded model"
    );
}

#[test]
fn the_triggers_of_the_target_behave_as_recorded() {
    assert!(script("behaviour.sql").trim().ends_with("behaviour: ok"));
}
