//! A full run brings everything; a second one finds nothing to do.

use crate::support::*;

#[test]
fn a_full_run_brings_every_observation_and_an_incremental_one_what_changed() {
    let database = cluster().database();
    let partner = partner(1500);
    add_source(&database, "cen", &partner, 3, "");
    let first = run_well(&database, "cen", "auto");
    assert_eq!(
        (text(&first, "mode"), number(&first, "inserted")),
        ("full", 1500)
    );
    assert_eq!(
        database.number("SELECT count(*) FROM gn_synthese.synthese"),
        1500
    );

    let id = partner.ids()[700];
    partner
        .update(id, &serde_json::json!({"nombre_min": 41, "nombre_max": 43}))
        .expect("a change");
    let second = run_well(&database, "cen", "auto");
    assert_eq!(
        (text(&second, "mode"), number(&second, "updated")),
        ("incremental", 1)
    );
    let counts = database.value(&format!("SELECT count_min || '-' || count_max FROM gn_synthese.synthese WHERE entity_source_pk_value = '{id}'"));
    assert_eq!(counts, "41-43");
}
