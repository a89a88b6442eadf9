//! GeoJSON geometries to WKB.
//!
//! Coordinates are read as the shape requires, so nesting is bounded by the shape; numbers
//! are parsed from their digits, so they are the nearest doubles.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::geometry::{Flaw, Geometry, MAX_DEPTH, Shape, Writer};
use super::scalar::decimal;

/// Reads a GeoJSON geometry object. The error is what is wrong with it.
pub(super) fn geometry(text: &str) -> Result<Geometry, Flaw> {
    let mut out = Writer::default();
    write(text, 0, &mut out)?;
    Ok(out.finish())
}

#[derive(serde::Deserialize)]
struct Object<'a> {
    #[serde(borrow, rename = "type")]
    shape: Cow<'a, str>,
    #[serde(borrow)]
    coordinates: Option<&'a RawValue>,
    #[serde(borrow)]
    geometries: Option<Vec<&'a RawValue>>,
}

struct Position(f64, f64);

type Line = Vec<Position>;

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Flaw> {
    serde_json::from_str(text).map_err(|error| format!("its GeoJSON cannot be read: {error}"))
}

fn write(text: &str, depth: usize, out: &mut Writer) -> Result<(), Flaw> {
    if depth > MAX_DEPTH {
        return Err(format!(
            "collections are nested more than {MAX_DEPTH} levels deep"
        ));
    }
    let object: Object = read(text)?;
    let Some(shape) = Shape::named(&object.shape) else {
        let named: String = object.shape.chars().take(40).collect();
        return Err(format!("\"{named}\" is no geometry that can be read"));
    };
    out.shape(shape);
    if shape == Shape::GeometryCollection {
        let parts = object.geometries.unwrap_or_default();
        return list(
            out,
            &parts,
            |out, part| write(part.get(), depth + 1, out),
            Writer::end,
        );
    }
    let coordinates = object.coordinates.ok_or("it has no coordinates")?.get();
    if coordinates == "[]" {
        return Err("it is empty".to_owned());
    }
    match shape {
        Shape::Point => position(out, &read(coordinates)?),
        Shape::LineString => line(out, &read(coordinates)?),
        Shape::Polygon => polygon(out, &read::<Vec<Line>>(coordinates)?),
        Shape::MultiPoint => {
            let point = |out: &mut Writer, at: &Position| out.point(at.0, at.1);
            list(out, &read::<Line>(coordinates)?, point, Writer::end)
        }
        Shape::MultiLineString => {
            let part = |out: &mut Writer, part: &Line| {
                out.shape(Shape::LineString);
                line(out, part)
            };
            list(out, &read::<Vec<Line>>(coordinates)?, part, Writer::end)
        }
        _ => {
            let part = |out: &mut Writer, part: &Vec<Line>| {
                out.shape(Shape::Polygon);
                polygon(out, part)
            };
            list(
                out,
                &read::<Vec<Vec<Line>>>(coordinates)?,
                part,
                Writer::end,
            )
        }
    }
}

fn list<T>(
    out: &mut Writer,
    parts: &[T],
    write: impl Fn(&mut Writer, &T) -> Result<(), Flaw>,
    end: fn(&mut Writer, &super::geometry::Count) -> Result<(), Flaw>,
) -> Result<(), Flaw> {
    let mut count = out.begin();
    for part in parts {
        write(out, part)?;
        out.part(&mut count);
    }
    end(out, &count)
}

fn position(out: &mut Writer, at: &Position) -> Result<(), Flaw> {
    out.position(at.0, at.1)
}

fn line(out: &mut Writer, points: &Line) -> Result<(), Flaw> {
    list(out, points, position, Writer::end_line)
}

fn polygon(out: &mut Writer, rings: &[Line]) -> Result<(), Flaw> {
    list(
        out,
        rings,
        |out, ring| list(out, ring, position, Writer::end_ring),
        Writer::end,
    )
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Numbers;
        impl<'de> Visitor<'de> for Numbers {
            type Value = Position;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("a position of two numbers or more")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Position, A::Error> {
                let mut number = || {
                    let raw: Option<&RawValue> = numbers.next_element()?;
                    let number = raw.and_then(|raw| decimal(raw.get()));
                    number.ok_or_else(|| serde::de::Error::custom("a coordinate is no number"))
                };
                let position = Position(number()?, number()?);
                while numbers.next_element::<IgnoredAny>()?.is_some() {}
                Ok(position)
            }
        }
        deserializer.deserialize_seq(Numbers)
    }
}
