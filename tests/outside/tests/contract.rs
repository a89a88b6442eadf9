//! The columns of an export are remembered: a change is said, or stops the run, or passes, as the source wants it.

use crate::support::*;

#[test]
fn a_column_that_goes_or_comes_is_said() {
    let database = cluster().database();
    let partner = partner(60);
    add_source(&database, "cen", &partner, 2, "");
    run_well(&database, "cen", "auto");
    partner.drop_column(2, "sexe").expect("dropped");
    partner
        .rename_column(2, "nom_lieu", "lieu_dit")
        .expect("renamed");
    let second = run_well(&database, "cen", "auto");
    let warnings = text(&second, "warnings");
    assert!(
        warnings.contains("gone: nom_lieu, sexe; new: lieu_dit"),
        "{warnings}"
    );
    let third = run_well(&database, "cen", "auto");
    assert_eq!(text(&third, "warnings"), "{}", "it is said once");
}

#[test]
fn a_frozen_contract_stops_the_run_until_someone_agrees() {
    let database = cluster().database();
    let partner = partner(60);
    add_source(&database, "cen", &partner, 2, "contract => 'freeze'");
    run_well(&database, "cen", "auto");
    partner.drop_column(2, "sexe").expect("dropped");
    let frozen = run(&database, "cen", "auto");
    assert_eq!(
        (text(&frozen, "status"), text(&frozen, "error_sqlstate")),
        ("failed", "42703")
    );
    assert!(
        text(&frozen, "error_detail").contains("gone: sexe"),
        "{frozen:#?}"
    );
    assert_eq!(
        run(&database, "cen", "auto")["status"].as_deref(),
        Some("failed"),
        "asking twice does not help"
    );
    database.run("SELECT gn_harvest.accept_columns('cen')");
    run_well(&database, "cen", "auto");
}

#[test]
fn an_evolving_contract_says_nothing() {
    let database = cluster().database();
    let partner = partner(60);
    add_source(&database, "cen", &partner, 2, "contract => 'evolve'");
    run_well(&database, "cen", "auto");
    partner.drop_column(2, "sexe").expect("dropped");
    assert_eq!(text(&run_well(&database, "cen", "auto"), "warnings"), "{}");
}

#[test]
fn a_partner_that_turns_from_codes_to_labels_under_the_same_names_is_noticed() {
    let database = cluster().database();
    let partner = partner(300);
    add_source(&database, "cen", &partner, 2, "");
    run_well(&database, "cen", "auto");
    let sexes = "SELECT string_agg(entity_source_pk_value || ':' || coalesce(id_nomenclature_sex::text, '-'), ',' ORDER BY entity_source_pk_value) FROM gn_synthese.synthese";
    let before = database.value(sexes);
    for row in partner.truth() {
        let id = row["id_synthese"].as_i64().expect("a key");
        partner.tamper(id, "sexe", Some(&row["sexe_label"].to_string()));
    }
    let second = run_well(&database, "cen", "full");
    assert_eq!(number(&second, "unchanged"), 300);
    assert_eq!(database.value(sexes), before);
    assert_eq!(
        database.number("SELECT count(*) FROM gn_harvest.unmapped_value"),
        0
    );
}
