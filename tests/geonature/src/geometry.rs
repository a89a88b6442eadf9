//! Where observations are: points, lines and polygons in WGS84, written as WKT at full
//! precision and as GeoJSON rounded to six decimals, as the real server does.

use crate::json;

pub type Position = [f64; 2];

#[derive(Clone, Debug, PartialEq)]
pub enum Geometry {
    Point(Position),
    LineString(Vec<Position>),
    Polygon(Vec<Vec<Position>>),
    MultiPoint(Vec<Position>),
    MultiLineString(Vec<Vec<Position>>),
    MultiPolygon(Vec<Vec<Vec<Position>>>),
}

/// West, south, east, north.
pub type Envelope = [f64; 4];

impl Geometry {
    pub fn write_wkt(&self, out: &mut Vec<u8>) {
        match self {
            Self::Point(position) => {
                out.extend_from_slice(b"POINT(");
                wkt_position(out, position);
                out.push(b')');
            }
            Self::LineString(positions) => {
                out.extend_from_slice(b"LINESTRING");
                wkt_list(out, positions, wkt_position);
            }
            Self::Polygon(rings) => {
                out.extend_from_slice(b"POLYGON");
                wkt_list(out, rings, |out, ring| wkt_list(out, ring, wkt_position));
            }
            Self::MultiPoint(positions) => {
                out.extend_from_slice(b"MULTIPOINT");
                wkt_list(out, positions, wkt_position);
            }
            Self::MultiLineString(lines) => {
                out.extend_from_slice(b"MULTILINESTRING");
                wkt_list(out, lines, |out, line| wkt_list(out, line, wkt_position));
            }
            Self::MultiPolygon(polygons) => {
                out.extend_from_slice(b"MULTIPOLYGON");
                wkt_list(out, polygons, |out, rings| {
                    wkt_list(out, rings, |out, ring| wkt_list(out, ring, wkt_position));
                });
            }
        }
    }

    pub fn wkt(&self) -> String {
        let mut out = Vec::new();
        self.write_wkt(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    pub fn write_geojson(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"coordinates\": ");
        let kind = match self {
            Self::Point(position) => {
                json_position(out, position);
                "Point"
            }
            Self::LineString(positions) => {
                json_list(out, positions, json_position);
                "LineString"
            }
            Self::Polygon(rings) => {
                json_list(out, rings, |out, ring| json_list(out, ring, json_position));
                "Polygon"
            }
            Self::MultiPoint(positions) => {
                json_list(out, positions, json_position);
                "MultiPoint"
            }
            Self::MultiLineString(lines) => {
                json_list(out, lines, |out, line| json_list(out, line, json_position));
                "MultiLineString"
            }
            Self::MultiPolygon(polygons) => {
                json_list(out, polygons, |out, rings| {
                    json_list(out, rings, |out, ring| json_list(out, ring, json_position));
                });
                "MultiPolygon"
            }
        };
        out.extend_from_slice(b", \"type\": \"");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\"}");
    }

    fn positions(&self) -> Vec<Position> {
        match self {
            Self::Point(position) => vec![*position],
            Self::LineString(positions) | Self::MultiPoint(positions) => positions.clone(),
            Self::Polygon(lines) | Self::MultiLineString(lines) => lines.concat(),
            Self::MultiPolygon(polygons) => polygons.concat().concat(),
        }
    }

    pub fn envelope(&self) -> Envelope {
        let mut envelope = [
            f64::INFINITY,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NEG_INFINITY,
        ];
        for [x, y] in self.positions() {
            envelope[0] = envelope[0].min(x);
            envelope[1] = envelope[1].min(y);
            envelope[2] = envelope[2].max(x);
            envelope[3] = envelope[3].max(y);
        }
        envelope
    }

    /// The centre of gravity, weighted by length or area as PostGIS does.
    pub fn centroid(&self) -> Position {
        let mut sum = WeightedSum::default();
        match self {
            Self::Point(position) => return *position,
            Self::MultiPoint(positions) => positions.iter().for_each(|p| sum.add(*p, 1.0)),
            Self::LineString(line) => sum.add_line(line),
            Self::MultiLineString(lines) => lines.iter().for_each(|line| sum.add_line(line)),
            Self::Polygon(rings) => sum.add_polygon(rings),
            Self::MultiPolygon(polygons) => {
                polygons.iter().for_each(|rings| sum.add_polygon(rings))
            }
        }
        sum.mean()
    }

    /// Reads the six kinds of WKT, with or without `SRID=4326;`.
    pub fn parse_wkt(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix("SRID=4326;").unwrap_or(text);
        let open = text.find('(')?;
        let kind = text[..open].trim().to_ascii_uppercase();
        let body = text[open..].strip_prefix('(')?.strip_suffix(')')?;
        Some(match kind.as_str() {
            "POINT" => Self::Point(read_position(body)?),
            "LINESTRING" => Self::LineString(read_line(body, 2)?),
            "POLYGON" => Self::Polygon(read_polygon(body)?),
            "MULTIPOINT" => Self::MultiPoint(
                split(body)
                    .map(|part| read_position(inner(part).unwrap_or(part)))
                    .collect::<Option<_>>()?,
            ),
            "MULTILINESTRING" => Self::MultiLineString(
                split(body)
                    .map(|part| read_line(inner(part)?, 2))
                    .collect::<Option<_>>()?,
            ),
            "MULTIPOLYGON" => Self::MultiPolygon(
                split(body)
                    .map(|part| read_polygon(inner(part)?))
                    .collect::<Option<_>>()?,
            ),
            _ => return None,
        })
    }
}

pub fn overlap(a: &Envelope, b: &Envelope) -> bool {
    a[0] <= b[2] && b[0] <= a[2] && a[1] <= b[3] && b[1] <= a[3]
}

#[derive(Default)]
struct WeightedSum {
    weight: f64,
    x: f64,
    y: f64,
    /// What is said when nothing has any length or area.
    first: Option<Position>,
}

impl WeightedSum {
    fn add(&mut self, [x, y]: Position, weight: f64) {
        self.first.get_or_insert([x, y]);
        self.weight += weight;
        self.x += x * weight;
        self.y += y * weight;
    }

    fn add_line(&mut self, line: &[Position]) {
        for pair in line.windows(2) {
            let ([ax, ay], [bx, by]) = (pair[0], pair[1]);
            self.add([(ax + bx) / 2.0, (ay + by) / 2.0], (bx - ax).hypot(by - ay));
        }
    }

    /// The first ring counts as plus, its holes as minus, whatever way they turn.
    fn add_polygon(&mut self, rings: &[Vec<Position>]) {
        for (number, ring) in rings.iter().enumerate() {
            let Some([ox, oy]) = ring.first().copied() else {
                continue;
            };
            let (mut area, mut x, mut y) = (0.0, 0.0, 0.0);
            for pair in ring.windows(2) {
                let (ax, ay) = (pair[0][0] - ox, pair[0][1] - oy);
                let (bx, by) = (pair[1][0] - ox, pair[1][1] - oy);
                let cross = ax * by - bx * ay;
                area += cross;
                x += (ax + bx) * cross;
                y += (ay + by) * cross;
            }
            if area == 0.0 {
                continue;
            }
            let sign = if number == 0 { 1.0 } else { -1.0 };
            self.add(
                [ox + x / (3.0 * area), oy + y / (3.0 * area)],
                sign * area.abs(),
            );
        }
    }

    fn mean(&self) -> Position {
        if self.weight == 0.0 {
            return self.first.unwrap_or([0.0, 0.0]);
        }
        [self.x / self.weight, self.y / self.weight]
    }
}

fn wkt_position(out: &mut Vec<u8>, [x, y]: &Position) {
    json::write_float(out, *x);
    out.push(b' ');
    json::write_float(out, *y);
}

fn wkt_list<T>(out: &mut Vec<u8>, items: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    out.push(b'(');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b')');
}

fn json_position(out: &mut Vec<u8>, position: &Position) {
    json_list(out, position, |out, value| {
        json::write_float(out, (value * 1e6).round() / 1e6);
    });
}

fn json_list<T>(out: &mut Vec<u8>, items: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.extend_from_slice(b", ");
        }
        write(out, item);
    }
    out.push(b']');
}

/// The parts of a list, at commas that no parenthesis holds.
fn split(body: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    body.split(move |character| {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        character == ',' && depth == 0
    })
}

fn inner(part: &str) -> Option<&str> {
    part.trim().strip_prefix('(')?.strip_suffix(')')
}

fn read_position(text: &str) -> Option<Position> {
    let mut numbers = text
        .split_whitespace()
        .map(|number| number.parse::<f64>().ok());
    let position = [numbers.next()??, numbers.next()??];
    numbers.next().is_none().then_some(position)
}

fn read_line(body: &str, least: usize) -> Option<Vec<Position>> {
    let line: Vec<Position> = split(body).map(read_position).collect::<Option<_>>()?;
    (line.len() >= least).then_some(line)
}

fn read_polygon(body: &str) -> Option<Vec<Vec<Position>>> {
    split(body).map(|ring| read_line(inner(ring)?, 4)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wkt_reads_back() {
        for wkt in [
            "POINT(5.741320411965376 44.94756125709901)",
            "LINESTRING(5.8 44.9,5.9 44.95,6 45)",
            "POLYGON((5 45,6 45,6 46,5 45),(5.5 45.1,5.6 45.1,5.6 45.2,5.5 45.1))",
            "MULTIPOINT(5 45,6 45)",
            "MULTILINESTRING((5 45,6 45),(5 44,6 44))",
            "MULTIPOLYGON(((5 45,6 45,6 46,5 45)),((1 1,2 1,2 2,1 1)))",
        ] {
            assert_eq!(Geometry::parse_wkt(wkt).unwrap().wkt(), wkt);
        }
        assert_eq!(Geometry::parse_wkt("POINT(5)"), None);
        assert_eq!(Geometry::parse_wkt("n'importe quoi"), None);
    }

    #[test]
    fn the_centroid_of_a_square_is_its_middle() {
        let square = Geometry::parse_wkt("POLYGON((4 4,6 4,6 6,4 6,4 4))").unwrap();
        assert_eq!(square.centroid(), [5.0, 5.0]);
        let line = Geometry::parse_wkt("LINESTRING(0 0,2 0,2 2)").unwrap();
        assert_eq!(line.centroid(), [1.5, 0.5]);
    }

    #[test]
    fn geojson_is_rounded_to_six_decimals() {
        let mut out = Vec::new();
        Geometry::Point([5.741320411965376, 44.94756125709901]).write_geojson(&mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"coordinates": [5.74132, 44.947561], "type": "Point"}"#
        );
    }
}
