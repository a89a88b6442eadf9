//! Geometries as well-known binary: two dimensions, little endian, checked while written.
//!
//! WKT and GeoJSON are both turned into this while they are read, without a tree between:
//! what an export sends is bounded in points and nesting before it takes memory.

/// A geometry in longitude and latitude (EPSG:4326).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Geometry {
    /// ISO WKB, XY, little endian, without SRID: `ST_GeomFromWKB(wkb, 4326)`.
    pub wkb: Vec<u8>,
}

/// More points than this in one geometry are refused.
pub(super) const MAX_POINTS: usize = 1_000_000;
/// Deeper collections of collections are refused.
pub(super) const MAX_DEPTH: usize = 16;

/// What is wrong with a geometry, as the end of a sentence.
pub(super) type Flaw = String;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Point = 1,
    LineString = 2,
    Polygon = 3,
    MultiPoint = 4,
    MultiLineString = 5,
    MultiPolygon = 6,
    GeometryCollection = 7,
}

impl Shape {
    /// By its name in WKT or GeoJSON, in any case.
    pub fn named(name: &str) -> Option<Self> {
        let shapes = [
            (Shape::Point, "Point"),
            (Shape::LineString, "LineString"),
            (Shape::Polygon, "Polygon"),
            (Shape::MultiPoint, "MultiPoint"),
            (Shape::MultiLineString, "MultiLineString"),
            (Shape::MultiPolygon, "MultiPolygon"),
            (Shape::GeometryCollection, "GeometryCollection"),
        ];
        shapes
            .into_iter()
            .find(|(_, known)| known.eq_ignore_ascii_case(name))
            .map(|(shape, _)| shape)
    }
}

/// Where the number of parts goes once it is known.
pub(super) struct Count {
    at: usize,
    parts: u32,
}

/// Writes WKB part by part and refuses what PostGIS could not hold as longitude and latitude.
#[derive(Default)]
pub(super) struct Writer {
    wkb: Vec<u8>,
    points: usize,
}

impl Writer {
    pub fn shape(&mut self, shape: Shape) {
        self.wkb.push(1);
        self.wkb.extend((shape as u32).to_le_bytes());
    }

    pub fn begin(&mut self) -> Count {
        let at = self.wkb.len();
        self.wkb.extend([0; 4]);
        Count { at, parts: 0 }
    }

    pub fn part(&mut self, count: &mut Count) {
        count.parts += 1;
    }

    /// Ends a list of parts of any kind; an empty one is refused.
    pub fn end(&mut self, count: &Count) -> Result<(), Flaw> {
        if count.parts == 0 {
            return Err("it is empty, or a part of it is".to_owned());
        }
        self.wkb[count.at..count.at + 4].copy_from_slice(&count.parts.to_le_bytes());
        Ok(())
    }

    pub fn end_line(&mut self, count: &Count) -> Result<(), Flaw> {
        if count.parts == 1 {
            return Err("a line has a single point".to_owned());
        }
        self.end(count)
    }

    /// Ends a ring of a polygon: at least four points, the last equal to the first.
    pub fn end_ring(&mut self, count: &Count) -> Result<(), Flaw> {
        self.end(count)?;
        if count.parts < 4 {
            return Err(format!("a ring has {} points, it takes 4", count.parts));
        }
        let first = self.position_at(count.at + 4);
        let last = self.position_at(self.wkb.len() - 16);
        if first != last {
            return Err(format!("a ring is not closed ({first:?} to {last:?})"));
        }
        Ok(())
    }

    pub fn position(&mut self, x: f64, y: f64) -> Result<(), Flaw> {
        if !x.is_finite() || !y.is_finite() {
            return Err("a coordinate is not a finite number".to_owned());
        }
        if x.abs() > 180.0 || y.abs() > 90.0 {
            return Err(format!("{x} {y} is no longitude and latitude in degrees"));
        }
        self.points += 1;
        if self.points > MAX_POINTS {
            return Err(format!("it has more than {MAX_POINTS} points"));
        }
        self.wkb.extend(x.to_le_bytes());
        self.wkb.extend(y.to_le_bytes());
        Ok(())
    }

    pub fn point(&mut self, x: f64, y: f64) -> Result<(), Flaw> {
        self.shape(Shape::Point);
        self.position(x, y)
    }

    pub fn finish(mut self) -> Geometry {
        self.wkb.shrink_to_fit();
        Geometry { wkb: self.wkb }
    }

    fn position_at(&self, at: usize) -> (f64, f64) {
        let double = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&self.wkb[at..at + 8]);
            f64::from_le_bytes(bytes)
        };
        (double(at), double(at + 8))
    }
}
