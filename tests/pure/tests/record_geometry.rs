//! Geometries reach the target as written, in two dimensions, or are refused.

mod record_support;

use geozero::ToWkt;
use geozero::wkb::Wkb;
use gn_harvest_pure::mapping::{GeometryOrigin, Layout};
use gn_harvest_pure::record::{Geometry, Lengths, Reason, parse_geometry, parse_page};
use proptest::prelude::*;
use record_support::*;

/// The geometry as WKT, decoded by another library than the one under test.
fn decoded(geometry: &Geometry) -> String {
    Wkb(geometry.wkb.clone())
        .to_wkt()
        .expect("a WKB that can be decoded")
}

fn written(text: &str) -> String {
    decoded(&parse_geometry(text).unwrap_or_else(|flaw| panic!("{text}: {flaw}")))
}

#[test]
fn a_point_is_little_endian_wkb_at_full_precision() {
    let geometry = parse_geometry("POINT(6.565378504589404 45.51760348843705)").unwrap();
    let mut expected = vec![1, 1, 0, 0, 0];
    expected.extend(6.565378504589404f64.to_le_bytes());
    expected.extend(45.51760348843705f64.to_le_bytes());
    assert_eq!(geometry.wkb, expected);
}

#[test]
fn every_writing_of_a_geometry_is_understood() {
    for (text, meant) in [
        ("point(1 2)", "POINT(1 2)"),
        (" SRID=4326; POINT ( 1   2 ) ", "POINT(1 2)"),
        ("POINT Z (1 2 3)", "POINT(1 2)"),
        ("POINTZM(1 2 3 NaN)", "POINT(1 2)"),
        ("POINT M (1 2 3)", "POINT(1 2)"),
        ("POINT(1 2 3)", "POINT(1 2)"),
        ("POINT(-1.5e1 +.5)", "POINT(-15 0.5)"),
        ("LINESTRING(0 0,1 1, 2 0)", "LINESTRING(0 0,1 1,2 0)"),
        ("MULTIPOINT(1 2,3 4)", "MULTIPOINT(1 2,3 4)"),
        ("MULTIPOINT((1 2),(3 4))", "MULTIPOINT(1 2,3 4)"),
        (
            "POLYGON((0 0,4 0,4 4,0 0),(1 1,2 1,2 2,1 1))",
            "POLYGON((0 0,4 0,4 4,0 0),(1 1,2 1,2 2,1 1))",
        ),
        (
            "GEOMETRYCOLLECTION(POINT(1 2),GEOMETRYCOLLECTION(LINESTRING(0 0,1 1)))",
            "GEOMETRYCOLLECTION(POINT(1 2),GEOMETRYCOLLECTION(LINESTRING(0 0,1 1)))",
        ),
        (
            r#"{"coordinates": [1, 2.5, 300], "type": "Point"}"#,
            "POINT(1 2.5)",
        ),
        (
            r#"{"type": "MultiPolygon", "coordinates": [[[[0,0],[1,0],[1,1],[0,0]]]]}"#,
            "MULTIPOLYGON(((0 0,1 0,1 1,0 0)))",
        ),
        (
            r#"{"type": "MultiLineString", "coordinates": [[[0,0],[1,0]],[[2,2],[3,3]]]}"#,
            "MULTILINESTRING((0 0,1 0),(2 2,3 3))",
        ),
        (
            r#"{"type": "GeometryCollection", "geometries": [{"type": "Point", "coordinates": [1,2]}]}"#,
            "GEOMETRYCOLLECTION(POINT(1 2))",
        ),
        ("POINT(180 -90)", "POINT(180 -90)"),
    ] {
        assert_eq!(written(text), meant, "{text}");
    }
}

#[test]
fn what_postgis_could_not_hold_as_longitude_and_latitude_is_refused_with_the_cause() {
    let ring = "0 0,1 0,1 1,0 1";
    for (text, cause) in [
        ("POINT EMPTY", "empty"),
        ("GEOMETRYCOLLECTION(POINT EMPTY)", "empty"),
        ("SRID=2154;POINT(1 2)", "SRID is 2154"),
        ("POINT(652000 6862000)", "longitude"),
        ("POINT(1 91)", "longitude"),
        ("POINT(NaN 1)", "finite"),
        ("POINT(inf 1)", "finite"),
        ("POINT(1e999 1)", "finite"),
        ("POINT(1)", "coordinate"),
        ("POINT(1 2", "expected"),
        ("POINT(1 2) x", "expected"),
        ("POINT FOO (1 2)", "FOO"),
        ("LINESTRING(1 2)", "single point"),
        (&format!("POLYGON(({ring}))"), "not closed"),
        ("POLYGON((0 0,1 1,0 0))", "takes 4"),
        ("CIRCULARSTRING(0 0,1 1,2 0)", "no geometry"),
        ("0101000000000000000000F03F0000000000000040", "no geometry"),
        ("é", "no geometry"),
        ("", "no geometry"),
        (r#"{"type": "Point", "coordinates": []}"#, "empty"),
        (r#"{"type": "Point"}"#, "no coordinates"),
        (
            r#"{"type": "Point", "coordinates": ["1", "2"]}"#,
            "no number",
        ),
        (
            r#"{"type": "Polygon", "coordinates": [[[0,0],[1,0],[1,1],[0,1]]]}"#,
            "not closed",
        ),
        (r#"{"type": "Feature"}"#, "no geometry"),
        ("{}", "type"),
    ] {
        let flaw = parse_geometry(text).expect_err(text);
        assert!(flaw.contains(cause), "{text}: {flaw}");
    }
}

#[test]
fn hostile_geometries_are_bounded() {
    let nested = format!(
        "{}POINT(1 2){}",
        "GEOMETRYCOLLECTION(".repeat(50_000),
        ")".repeat(50_000)
    );
    assert!(parse_geometry(&nested).unwrap_err().contains("nested"));
    let part = r#"{"type": "GeometryCollection", "geometries": ["#;
    let nested = format!("{}{}", part.repeat(50), "]}".repeat(50));
    assert!(parse_geometry(&nested).unwrap_err().contains("nested"));
    let points = format!("LINESTRING({}1 1)", "0 0,".repeat(1_000_001));
    assert!(parse_geometry(&points).unwrap_err().contains("points"));
}

#[test]
fn a_null_geometry_is_no_fault_and_a_bad_one_is_a_rejection() {
    for raw in ["null", "\"\""] {
        assert_eq!(with("wkt_4326", raw).unwrap().geometry, None);
    }
    let rejection = with("wkt_4326", "\"POINT(200 1)\"").unwrap_err();
    assert_eq!(rejection.reason, Reason::InvalidGeometry);
    assert_eq!(rejection.column.as_deref(), Some("wkt_4326"));
    assert_eq!(rejection.value.as_deref(), Some("POINT(200 1)"));
}

fn feature(geometry: &str, wkt: &str) -> String {
    format!(
        r#"{{"type": "Feature", "geometry": {geometry}, "properties": {{"id_synthese": 1, "cd_nom": 1,
        "nom_cite": "a", "date_debut": "2016-02-17"{wkt}}}}}"#
    )
}

fn geometry_of(item: &str, geojson: bool) -> Result<Option<String>, Reason> {
    let layout = Layout::recognise(&[], &[item], geojson, &[], None, None).unwrap();
    let mut batch = parse_page([item].into_iter(), &layout, &Lengths::default());
    match batch.rejected.pop() {
        Some((_, rejection)) => Err(rejection.reason),
        None => Ok(batch.records[0].1.geometry.as_ref().map(decoded)),
    }
}

#[test]
fn wkt_is_preferred_to_the_rounded_geometry_of_the_feature() {
    let point = r#"{"type": "Point", "coordinates": [6.5, 45.5]}"#;
    let both = feature(point, r#", "wkt_4326": "POINT(6.51 45.51)""#);
    assert_eq!(
        geometry_of(&both, true),
        Ok(Some("POINT(6.51 45.51)".to_owned()))
    );
    let null = feature(point, r#", "wkt_4326": null"#);
    assert_eq!(
        geometry_of(&null, true),
        Ok(Some("POINT(6.5 45.5)".to_owned()))
    );
    let only = feature(point, "");
    assert_eq!(
        geometry_of(&only, true),
        Ok(Some("POINT(6.5 45.5)".to_owned()))
    );
    assert_eq!(geometry_of(&feature("null", ""), true), Ok(None));
    let bad = feature(r#"{"type": "Point", "coordinates": [6.5]}"#, "");
    assert_eq!(geometry_of(&bad, true), Err(Reason::InvalidGeometry));
}

#[test]
fn a_centroid_is_used_when_there_is_nothing_better() {
    let flat = |x: &str, y: &str| {
        format!(
            r#"{{"id_synthese": 1, "cd_nom": 1, "nom_cite": "a", "date_debut": "2016-02-17",
            "x_centroid_4326": {x}, "y_centroid_4326": {y}}}"#
        )
    };
    let item = flat("6.5", "\"45.5\"");
    let layout = Layout::recognise(&[], &[&item], false, &[], None, None).unwrap();
    assert!(matches!(layout.geometry, GeometryOrigin::Xy(..)));
    assert_eq!(
        geometry_of(&item, false),
        Ok(Some("POINT(6.5 45.5)".to_owned()))
    );
    assert_eq!(geometry_of(&flat("null", "null"), false), Ok(None));
    assert_eq!(
        geometry_of(&flat("null", "45"), false),
        Err(Reason::InvalidGeometry)
    );
    assert_eq!(
        geometry_of(&flat("6.5", "450"), false),
        Err(Reason::InvalidGeometry)
    );
}

/// Positions as WKT and as GeoJSON.
type Written = (String, String);

fn position() -> impl Strategy<Value = Written> {
    (-180.0f64..=180.0, -90.0f64..=90.0)
        .prop_map(|(x, y)| (format!("{x} {y}"), format!("[{x},{y}]")))
}

fn joined(parts: &[Written]) -> Written {
    let (wkt, json): (Vec<_>, Vec<_>) = parts.iter().cloned().unzip();
    (
        format!("({})", wkt.join(",")),
        format!("[{}]", json.join(",")),
    )
}

fn line() -> impl Strategy<Value = Written> {
    prop::collection::vec(position(), 2..12).prop_map(|points| joined(&points))
}

fn polygon() -> impl Strategy<Value = Written> {
    let ring = prop::collection::vec(position(), 3..9).prop_map(|mut points| {
        points.push(points[0].clone());
        joined(&points)
    });
    prop::collection::vec(ring, 1..4).prop_map(|rings| joined(&rings))
}

fn many(part: impl Strategy<Value = Written>) -> impl Strategy<Value = Written> {
    prop::collection::vec(part, 1..5).prop_map(|parts| joined(&parts))
}

fn any_geometry() -> impl Strategy<Value = Written> {
    fn named(
        name: &'static str,
        part: impl Strategy<Value = Written>,
    ) -> impl Strategy<Value = Written> {
        part.prop_map(move |(wkt, json)| {
            let json = format!(r#"{{"coordinates":{json},"type":"{name}"}}"#);
            (format!("{}{wkt}", name.to_uppercase()), json)
        })
    }
    let point = position().prop_map(|(wkt, json)| (format!("({wkt})"), json));
    let leaf = prop_oneof![
        named("Point", point),
        named("LineString", line()),
        named("Polygon", polygon()),
        named("MultiPoint", many(position())),
        named("MultiLineString", many(line())),
        named("MultiPolygon", many(polygon())),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop::collection::vec(inner, 1..4).prop_map(|parts| {
            let (wkt, json) = joined(&parts);
            let wkt = format!("GEOMETRYCOLLECTION{wkt}");
            (
                wkt,
                format!(r#"{{"type":"GeometryCollection","geometries":{json}}}"#),
            )
        })
    })
}

proptest! {
    #[test]
    fn any_geometry_survives_from_wkt_and_from_geojson((wkt, json) in any_geometry()) {
        prop_assert_eq!(&written(&wkt), &wkt);
        prop_assert_eq!(&written(&json), &wkt);
        prop_assert_eq!(&written(&format!("SRID=4326;{wkt}")), &wkt);
    }

    #[test]
    fn no_text_makes_the_reader_of_geometries_panic(text in "[A-Za-z]{0,12}.{0,60}") {
        let _ = parse_geometry(&text);
    }

    #[test]
    fn a_damaged_geometry_is_read_or_refused((wkt, json) in any_geometry(), at in 0usize..300, with in any::<char>()) {
        for whole in [wkt, json] {
            let damaged: String = whole.chars().enumerate().map(|(i, c)| if i == at { with } else { c }).collect();
            if let Ok(geometry) = parse_geometry(&damaged) {
                decoded(&geometry);
            }
        }
    }
}
