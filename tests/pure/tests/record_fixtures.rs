//! Recorded answers of a GeoNature 2.17.4, read to the last value.

mod record_support;

use gn_harvest_pure::mapping::{COLUMNS, Layout};
use gn_harvest_pure::record::{Batch, Lengths, Record, Value, parse_geometry, parse_page};
use record_support::*;

fn batch(body: &str) -> Batch {
    let (items, geojson) = items(body);
    let items: Vec<&str> = items.iter().map(String::as_str).collect();
    let layout = Layout::recognise(&[], &items, geojson, &[], None, None).unwrap();
    let batch = parse_page(items.iter().copied(), &layout, &Lengths::default());
    assert_eq!(batch.rejected, []);
    assert_eq!(batch.records.len(), items.len());
    batch
}

/// Compares every value: the columns named, the rest null but for the absent ones.
fn assert_values(record: &Record, expected: &[(&str, Value)], absent: &[&str]) {
    for (column, found) in COLUMNS.iter().zip(&record.values) {
        let target = column.target;
        let named = expected.iter().find(|(name, _)| *name == target);
        let value = match named {
            Some((_, value)) => value.clone(),
            None if absent.contains(&target) => Value::Absent,
            None => Value::Null,
        };
        assert_eq!(*found, value, "{target}");
    }
}

fn integer(number: i32) -> Value {
    Value::Integer(number)
}

const LINE: &str = "LINESTRING(6.498971278172955 44.83373326277219,6.499576118015419 \
    44.83416478478716,6.499987110754758 44.83334072173981,6.50279414005416 44.83410607245333)";

#[test]
fn the_view_with_codes() {
    let batch = batch(include_str!("../fixtures/records_cd.json"));
    let record = &batch.records[1].1;
    assert_eq!(record.key.as_deref(), Some("10"));
    assert_eq!(record.key_number, Some(10));
    assert_eq!(
        record.action_date.as_deref(),
        Some("2021-07-06 19:20:25.654652")
    );
    assert_eq!(record.geometry, Some(parse_geometry(LINE).unwrap()));
    let relevé =
        "Temps ensoleillé, vent faible.\n2ᵉ passage \"rapide\"\tle long du sentier; été ☀️";
    let data = r#"{"effectif_détail":[1,2,3],"météo":"brouillard","protocole":{"code":"P0","valide":true},"température":1.1}"#;
    assert_values(
        record,
        &[
            (
                "unique_id_sinp",
                Value::Uuid(uuid("3b9bc90f-209b-5b63-95dd-b7172c6cfe67")),
            ),
            (
                "unique_id_sinp_grp",
                Value::Uuid(uuid("771ef6da-c9f4-5150-9fec-3e36e187ec5b")),
            ),
            ("date_min", date("2019-06-16T10:03:00")),
            ("date_max", date("2019-06-16T10:03:00")),
            ("cd_nom", integer(1247)),
            ("nom_cite", text("Myotis gallica L., 1753")),
            ("meta_v_taxref", text("Taxref V18.0")),
            ("count_min", integer(10)),
            ("count_max", integer(12)),
            ("altitude_min", integer(766)),
            ("altitude_max", integer(786)),
            ("observers", text("Châtelain Éloïse (CEN fictif)")),
            ("comment_context", text(relevé)),
            ("precision", integer(25)),
            ("cd_hab", integer(1180)),
            ("additional_data", Value::Json(data.to_owned())),
            ("id_nomenclature_geo_object_nature", text("St")),
            ("id_nomenclature_obs_technique", text("25")),
            ("id_nomenclature_bio_condition", text("3")),
            ("id_nomenclature_naturalness", text("1")),
            ("id_nomenclature_exist_proof", text("0")),
            ("id_nomenclature_valid_status", text("2")),
            ("id_nomenclature_diffusion_level", text("3")),
            ("id_nomenclature_obj_count", text("IND")),
            ("id_nomenclature_type_count", text("NSP")),
            ("id_nomenclature_sensitivity", text("0")),
            ("id_nomenclature_observation_status", text("NSP")),
            ("id_nomenclature_blurring", text("NON")),
            ("id_nomenclature_source_status", text("Co")),
            ("id_nomenclature_info_geo_type", text("1")),
            ("id_nomenclature_behaviour", text("1")),
        ],
        &[
            "meta_validation_date",
            "validation_comment",
            "id_nomenclature_biogeo_status",
        ],
    );
    let dataset = record.dataset.as_ref().unwrap();
    assert_eq!(
        dataset.uuid,
        Some(uuid("1aea7f84-d914-5eab-a814-ad23421e6935"))
    );
    assert_eq!(
        dataset.name.as_deref(),
        Some("Jeu de données n°1 — suivis d'été")
    );
    assert_eq!(
        dataset.framework_uuid,
        Some(uuid("6ec6a2dc-7f75-5a35-997b-3d35ae552131"))
    );
    assert!(dataset.actors.as_ref().unwrap().contains("LPO fictive"));
    assert_eq!(dataset.dataset, None);
    assert_eq!((batch.first_key, batch.last_key), (Some(1), Some(12)));
    assert_eq!(
        batch.greatest_action.as_deref(),
        Some("2023-10-06 15:54:51.737840")
    );
}

#[test]
fn the_view_with_embedded_metadata() {
    let batch = batch(include_str!("../fixtures/records_meta.json"));
    let record = &batch.records[1].1;
    assert_eq!(record.area, Some(("COM".to_owned(), "02118".to_owned())));
    assert_eq!(batch.records[0].1.area, None);
    assert_eq!(*value(record, "date_min"), date("2018-07-08T00:00:00"));
    assert_eq!(*value(record, "date_max"), date("2018-07-14T03:15:00"));
    assert_eq!(*value(record, "id_nomenclature_info_geo_type"), text("2"));
    assert_eq!(*value(record, "additional_data"), Value::Null);
    let dataset = batch.records[0].1.dataset.as_ref().unwrap();
    assert_eq!(
        dataset.uuid,
        Some(uuid("1aea7f84-d914-5eab-a814-ad23421e6935"))
    );
    assert_eq!(
        dataset.framework_uuid,
        Some(uuid("6ec6a2dc-7f75-5a35-997b-3d35ae552131"))
    );
    let whole: serde_json::Value = serde_json::from_str(dataset.dataset.as_ref().unwrap()).unwrap();
    assert_eq!(
        whole["desc"],
        "Description du jeu n°1\nSur plusieurs lignes."
    );
    assert_eq!(whole["actors"].as_array().unwrap().len(), 4);
    let whole: serde_json::Value =
        serde_json::from_str(dataset.framework.as_ref().unwrap()).unwrap();
    assert_eq!(whole["territory_desc"], "Massif des Éléments");
}

#[test]
fn the_stock_view_as_geojson() {
    let batch = batch(include_str!("../fixtures/records_geo.json"));
    let record = &batch.records[1].1;
    assert_eq!(*value(record, "unique_id_sinp"), Value::Null);
    // At full precision, where the Feature's own geometry has six decimals.
    let point = parse_geometry("POINT(5.029757364908956 45.138260532245)").unwrap();
    assert_eq!(record.geometry, Some(point));
    assert_eq!(
        *value(record, "id_nomenclature_behaviour"),
        text("Cœur copulatoire")
    );
    assert_eq!(
        *value(record, "id_nomenclature_valid_status"),
        Value::Absent
    );
    let data = r#"{"effectif_détail":[1,2,0],"météo":"brouillard","protocole":{"code":"P2","valide":false},"température":25.9}"#;
    assert_eq!(
        *value(record, "additional_data"),
        Value::Json(data.to_owned())
    );
}

#[test]
fn the_stock_view_gives_the_same_values_as_the_view_with_codes() {
    let codes = batch(include_str!("../fixtures/records_cd.json"));
    let stock = batch(include_str!("../fixtures/records_nogeo.json"));
    let (codes, stock) = (&codes.records[1].1, &stock.records[1].1);
    assert_eq!(codes.key, stock.key);
    assert_eq!(codes.geometry, stock.geometry);
    for (column, (by_code, by_label)) in COLUMNS.iter().zip(codes.values.iter().zip(&stock.values))
    {
        if !column.target.starts_with("id_nomenclature_") {
            assert_eq!(by_code, by_label, "{}", column.target);
        }
    }
}
