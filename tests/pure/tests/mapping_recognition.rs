//! The columns of an export are recognised by the one table, and the data manager's
//! mappings win over it.

mod record_support;

use std::collections::HashSet;

use gn_harvest_pure::mapping::*;
use gn_harvest_pure::record::{Lengths, Record, Value, parse_page};
use record_support::*;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn recognise(columns: &[&str], mappings: &[FieldMapping]) -> Result<Layout, MappingError> {
    Layout::recognise(&names(columns), &[], false, mappings, None, None)
}

fn map(target: &str, source: &str) -> FieldMapping {
    let source = FieldSource::Export(source.to_owned());
    FieldMapping {
        target: target.to_owned(),
        source,
    }
}

fn constant(target: &str, value: &str) -> FieldMapping {
    let source = FieldSource::Constant(value.to_owned());
    FieldMapping {
        target: target.to_owned(),
        source,
    }
}

fn origin<'l>(layout: &'l Layout, target: &str) -> &'l Origin {
    &layout.columns[column_index(target).unwrap()]
}

fn export(name: &str) -> Origin {
    Origin::Export(name.to_owned())
}

#[test]
fn the_table_names_each_column_once() {
    let targets: HashSet<_> = COLUMNS.iter().map(|column| column.target).collect();
    assert_eq!(targets.len(), COLUMNS.len());
    let exports: Vec<_> = COLUMNS.iter().flat_map(|column| column.export).collect();
    let distinct: HashSet<_> = exports.iter().collect();
    assert_eq!(distinct.len(), exports.len());
    let nomenclatures = COLUMNS
        .iter()
        .filter(|column| matches!(column.kind, Kind::Nomenclature(_)));
    assert_eq!(nomenclatures.count(), 21);
    let firing = COLUMNS
        .iter()
        .filter(|column| column.fires == Trigger::Sensitivity);
    assert_eq!(
        firing.map(|column| column.target).collect::<Vec<_>>(),
        [
            "date_min",
            "date_max",
            "cd_nom",
            "id_nomenclature_bio_status",
            "id_nomenclature_behaviour",
        ]
    );
}

#[test]
fn the_usual_views_are_recognised_without_a_rest() {
    for body in [
        include_str!("../fixtures/records_cd.json"),
        include_str!("../fixtures/records_meta.json"),
        include_str!("../fixtures/records_geo.json"),
        include_str!("../fixtures/records_nogeo.json"),
    ] {
        let (items, geojson) = items(body);
        let sample: Vec<&str> = items.iter().map(String::as_str).collect();
        let layout = Layout::recognise(&[], &sample, geojson, &[], None, None).unwrap();
        assert_eq!(layout.unknown, Vec::<String>::new());
        assert_eq!(layout.key.as_deref(), Some("id_synthese"));
        assert!(layout.key_is_number);
        assert_eq!(layout.action_date.as_deref(), Some("derniere_action"));
        assert_eq!(layout.geometry, GeometryOrigin::Wkt("wkt_4326".to_owned()));
        assert_eq!(
            *origin(&layout, "id_nomenclature_determination_method"),
            export("methode_determination")
        );
        assert_eq!(*origin(&layout, "cd_hab"), export("code_habitat"));
        let columns = column_names(&sample, geojson).len();
        assert_eq!(layout.recognised.len() + layout.ignored.len(), columns);
    }
}

#[test]
fn the_stock_views_other_than_the_usual_are_recognised() {
    let web = recognise(
        &[
            "id_synthese",
            "uuid_perm_sinp",
            "date_debut",
            "heure_debut",
            "alti_min",
            "cd_habref",
            "technique_observation",
            "biologique_statut",
            "geojson_4326",
            "champs_additionnels",
            "niveau_validation",
            "date_validation",
            "comment_validation",
            "cd_habitat",
        ],
        &[],
    )
    .unwrap();
    assert_eq!(web.unknown, Vec::<String>::new());
    assert_eq!(web.ignored, ["cd_habitat"]);
    assert_eq!(
        *origin(&web, "meta_validation_date"),
        export("date_validation")
    );
    assert_eq!(
        *origin(&web, "validation_comment"),
        export("comment_validation")
    );
    assert_eq!(web.geometry, GeometryOrigin::Wkt("geojson_4326".to_owned()));
    assert_eq!(web.time_min.as_deref(), Some("heure_debut"));

    let rdf = recognise(
        &[
            "idSynthese",
            "permId",
            "dateDebut",
            "cdNom",
            "nomCite",
            "ocSex",
            "lastact",
        ],
        &[],
    )
    .unwrap();
    assert_eq!(rdf.unknown, Vec::<String>::new());
    assert_eq!(rdf.key.as_deref(), Some("idSynthese"));
    assert_eq!(*origin(&rdf, "date_min"), export("dateDebut"));
}

#[test]
fn the_names_of_the_target_are_understood_but_not_its_numbers() {
    let layout = recognise(&["count_min", "observers", "id_nomenclature_sex"], &[]).unwrap();
    assert_eq!(*origin(&layout, "count_min"), export("count_min"));
    assert_eq!(*origin(&layout, "observers"), export("observers"));
    assert_eq!(*origin(&layout, "id_nomenclature_sex"), Origin::Absent);
    assert_eq!(layout.unknown, ["id_nomenclature_sex"]);
}

#[test]
fn what_is_recognised_ignored_and_unknown_is_told() {
    let layout = recognise(&["id_synthese", "cd_nom", "cd_ref", "météo"], &[]).unwrap();
    let recognised = |name: &str, target: &str| (name.to_owned(), target.to_owned());
    assert_eq!(
        layout.recognised,
        [
            recognised("id_synthese", "entity_source_pk_value"),
            recognised("cd_nom", "cd_nom"),
        ]
    );
    assert_eq!(layout.ignored, ["cd_ref"]);
    assert_eq!(layout.unknown, ["météo"]);
}

#[test]
fn without_a_key_the_uuid_identifies_and_an_override_wins() {
    let columns = [
        "id_perm_sinp",
        "gid",
        "modifie_le",
        "derniere_action",
        "id_synthese",
    ];
    let layout = recognise(&columns[..3], &[]).unwrap();
    assert_eq!(layout.key.as_deref(), Some("id_perm_sinp"));
    let sample = [r#"{"gid": "12"}"#, r#"{"gid": 13}"#, r#"{"gid": null}"#];
    let chosen = |key, date| Layout::recognise(&names(&columns), &sample, false, &[], key, date);
    let layout = chosen(Some("gid"), Some("modifie_le")).unwrap();
    assert_eq!(layout.key.as_deref(), Some("gid"));
    assert!(layout.key_is_number);
    assert_eq!(layout.action_date.as_deref(), Some("modifie_le"));
    assert_eq!(layout.ignored, ["derniere_action", "id_synthese"]);
    assert_eq!(
        chosen(Some("pas_là"), None),
        Err(MappingError::NoSuchColumn("pas_là".to_owned()))
    );
}

#[test]
fn keys_are_numbers_only_when_all_of_the_sample_are() {
    for (sample, number) in [
        (
            vec![r#"{"id_synthese": 1}"#, r#"{"id_synthese": "2"}"#],
            true,
        ),
        (
            vec![r#"{"id_synthese": 1}"#, r#"{"id_synthese": "A2"}"#],
            false,
        ),
        (vec![r#"{"id_synthese": "007"}"#], false),
        (vec![r#"{"id_synthese": 1.5}"#], false),
        (vec![], false),
    ] {
        let layout =
            Layout::recognise(&names(&["id_synthese"]), &sample, false, &[], None, None).unwrap();
        assert_eq!(layout.key_is_number, number, "{sample:?}");
    }
}

fn record(layout: &Layout, item: &str) -> Record {
    let batch = parse_page([item].into_iter(), layout, &Lengths::default());
    assert_eq!(batch.rejected, []);
    batch.records[0].1.clone()
}

#[test]
fn mappings_take_columns_paths_and_constants() {
    let item = item(&[
        (
            "donnees_additionnelles",
            r#"{"protocole": {"code": "P3"}, "liste": [1, 22]}"#,
        ),
        ("remarque", "\"vu\""),
    ]);
    let mappings = [
        map("comment_context", "remarque"),
        map("grp_method", "donnees_additionnelles.protocole.code"),
        map("precision", "donnees_additionnelles.liste.1"),
        map("observers", "donnees_additionnelles.rien.du.tout"),
        map("place_name", "nom_cite"),
        constant("id_nomenclature_source_status", "Te"),
        constant("count_max", "99"),
    ];
    // `nom_cite` is taken, so the mapping that keeps it where it was is said too.
    let mut mappings = mappings.to_vec();
    mappings.push(map("nom_cite", "nom_cite"));
    let layout = Layout::recognise(&[], &[&item], false, &mappings, None, None).unwrap();
    let read = record(&layout, &item);
    assert_eq!(*value(&read, "comment_context"), text("vu"));
    assert_eq!(*value(&read, "grp_method"), text("P3"));
    assert_eq!(*value(&read, "precision"), Value::Integer(22));
    assert_eq!(*value(&read, "observers"), Value::Null);
    assert_eq!(*value(&read, "place_name"), text("Vipera ambigua"));
    assert_eq!(*value(&read, "nom_cite"), text("Vipera ambigua"));
    assert_eq!(*value(&read, "id_nomenclature_source_status"), text("Te"));
    assert_eq!(*value(&read, "count_max"), Value::Integer(99));
    assert!(layout.unknown.is_empty() || layout.unknown == ["nom_lieu"]);
    let as_text = item.replace(
        r#"{"protocole": {"code": "P3"}, "liste": [1, 22]}"#,
        &quoted(r#"{"protocole": {"code": "P3"}, "liste": [1, 22]}"#),
    );
    assert_eq!(*value(&record(&layout, &as_text), "grp_method"), text("P3"));
}

#[test]
fn a_column_that_a_mapping_takes_feeds_nothing_else() {
    let columns = ["nom_lieu", "nombre_min"];
    let layout = recognise(&columns, &[map("comment_context", "nom_lieu")]).unwrap();
    assert_eq!(*origin(&layout, "comment_context"), export("nom_lieu"));
    assert_eq!(*origin(&layout, "place_name"), Origin::Absent);
    assert_eq!(*origin(&layout, "count_min"), export("nombre_min"));
}

#[test]
fn a_column_that_a_path_goes_into_is_not_unknown() {
    let layout = recognise(
        &["attributs", "autre"],
        &[map("observers", "attributs.vu_par")],
    )
    .unwrap();
    assert_eq!(
        layout.recognised,
        [("attributs.vu_par".to_owned(), "observers".to_owned())]
    );
    assert_eq!(layout.unknown, ["autre"]);
}

#[test]
fn parts_of_a_record_can_be_mapped_too() {
    let columns = ["gid", "geom_texte", "jeu", "secteur", "jdd_data"];
    let mappings = [
        map("entity_source_pk_value", "gid"),
        map("the_geom_4326", "geom_texte"),
        map("id_dataset", "jeu"),
        map("id_area_attachment", "secteur"),
    ];
    let layout = recognise(&columns, &mappings).unwrap();
    assert_eq!(layout.key.as_deref(), Some("gid"));
    assert_eq!(
        layout.geometry,
        GeometryOrigin::Wkt("geom_texte".to_owned())
    );
    assert!(
        matches!(&layout.dataset, DatasetOrigin::Names { jdd_uuid: Some(name), .. } if name == "jeu")
    );
    assert_eq!(layout.area_attachment.as_deref(), Some("secteur"));
    assert_eq!(layout.unknown, Vec::<String>::new());
}

#[test]
fn a_mapping_that_does_not_fit_is_an_error() {
    let refused = |mapping: FieldMapping| recognise(&["a", "b"], &[mapping]).unwrap_err();
    let name = |name: &str| name.to_owned();
    assert_eq!(
        refused(map("id_synthese", "a")),
        MappingError::UnknownTarget(name("id_synthese"))
    );
    assert_eq!(
        refused(map("observers", "c")),
        MappingError::NoSuchColumn(name("c"))
    );
    assert_eq!(
        refused(map("observers", "c.d")),
        MappingError::NoSuchColumn(name("c"))
    );
    assert_eq!(
        refused(constant("id_dataset", "1")),
        MappingError::ColumnOnly(name("id_dataset"))
    );
    assert!(matches!(
        refused(constant("count_min", "x")),
        MappingError::BadConstant { .. }
    ));
    let twice = recognise(&["a", "b"], &[map("observers", "a"), map("observers", "b")]);
    assert_eq!(twice, Err(MappingError::TargetTwice(name("observers"))));
}

#[test]
fn nothing_recognised_is_a_layout_all_the_same() {
    for sample in [vec![], vec!["rien"], vec!["[]"], vec!["{}"]] {
        let layout = Layout::recognise(&[], &sample, true, &[], None, None).unwrap();
        assert_eq!(layout.key, None);
        let batch = parse_page(sample.into_iter(), &layout, &Lengths::default());
        assert!(batch.records.is_empty());
    }
}
