//! WKT and EWKT to WKB, in one pass over the text.
//!
//! Z and M are read and dropped: `synthese` is two-dimensional.

use super::geometry::{Flaw, Geometry, MAX_DEPTH, Shape, Writer};
use super::scalar::decimal;

/// Reads a geometry in longitude and latitude. The error is what is wrong with it.
pub(super) fn geometry(text: &str) -> Result<Geometry, Flaw> {
    let mut reader = Reader {
        text,
        at: 0,
        out: Writer::default(),
    };
    reader.srid()?;
    reader.geometry(0)?;
    if reader.peek().is_some() {
        return Err(reader.expected("the end"));
    }
    Ok(reader.out.finish())
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    out: Writer,
}

type Step = Result<(), Flaw>;

impl<'t> Reader<'t> {
    /// The next byte after white space.
    fn peek(&mut self) -> Option<u8> {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace())
            .count();
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn need(&mut self, wanted: u8) -> Step {
        if self.eat(wanted) {
            Ok(())
        } else {
            Err(self.expected(&char::from(wanted).to_string()))
        }
    }

    fn expected(&self, what: &str) -> Flaw {
        format!(
            "\"{what}\" was expected at position {} of its WKT",
            self.at + 1
        )
    }

    /// The longest run of bytes that `belongs`, after white space.
    fn run(&mut self, belongs: fn(&u8) -> bool) -> &'t str {
        self.peek();
        let text: &'t str = self.text;
        let length = text.as_bytes()[self.at..]
            .iter()
            .take_while(|byte| belongs(byte))
            .count();
        let start = self.at;
        self.at += length;
        // Only ASCII bytes belong, so this is always a boundary.
        text.get(start..self.at).unwrap_or_default()
    }

    fn word(&mut self) -> &'t str {
        self.run(u8::is_ascii_alphabetic)
    }

    fn srid(&mut self) -> Step {
        let start = self.at;
        if !self.word().eq_ignore_ascii_case("SRID") {
            self.at = start;
            return Ok(());
        }
        self.need(b'=')?;
        let srid = self.run(u8::is_ascii_digit);
        if srid != "4326" {
            return Err(format!("its SRID is {srid}, 4326 is needed"));
        }
        self.need(b';')
    }

    fn geometry(&mut self, depth: usize) -> Step {
        if depth > MAX_DEPTH {
            return Err(format!(
                "collections are nested more than {MAX_DEPTH} levels deep"
            ));
        }
        let word = self.word();
        let named = || {
            let bare = word.trim_end_matches(['Z', 'z', 'M', 'm']);
            Shape::named(word).or_else(|| Shape::named(bare))
        };
        let Some(shape) = named() else {
            return Err(format!(
                "\"{}\" is no geometry that can be read",
                first(word)
            ));
        };
        let mut word = self.word();
        if ["Z", "M", "ZM"]
            .iter()
            .any(|dimensions| dimensions.eq_ignore_ascii_case(word))
        {
            word = self.word();
        }
        if word.eq_ignore_ascii_case("EMPTY") {
            return Err("it is empty".to_owned());
        }
        if !word.is_empty() {
            return Err(format!("\"{}\" was not expected in its WKT", first(word)));
        }
        self.out.shape(shape);
        match shape {
            Shape::Point => self.bracketed_position(),
            Shape::LineString => self.line(),
            Shape::Polygon => self.polygon(),
            Shape::MultiPoint => self.list(Self::point_part, Writer::end),
            Shape::MultiLineString => self.list(Self::line_part, Writer::end),
            Shape::MultiPolygon => self.list(Self::polygon_part, Writer::end),
            Shape::GeometryCollection => {
                self.list(move |reader| reader.geometry(depth + 1), Writer::end)
            }
        }
    }

    /// `(part, part…)`, each read by `part`, the whole checked by `end`.
    fn list(
        &mut self,
        part: impl Fn(&mut Self) -> Step,
        end: fn(&mut Writer, &super::geometry::Count) -> Step,
    ) -> Step {
        self.need(b'(')?;
        let mut count = self.out.begin();
        loop {
            part(self)?;
            self.out.part(&mut count);
            if !self.eat(b',') {
                break;
            }
        }
        self.need(b')')?;
        end(&mut self.out, &count)
    }

    fn line(&mut self) -> Step {
        self.list(Self::position, Writer::end_line)
    }

    fn polygon(&mut self) -> Step {
        self.list(
            |reader| reader.list(Self::position, Writer::end_ring),
            Writer::end,
        )
    }

    fn point_part(&mut self) -> Step {
        self.out.shape(Shape::Point);
        if self.peek() == Some(b'(') {
            self.bracketed_position()
        } else {
            self.position()
        }
    }

    fn line_part(&mut self) -> Step {
        self.out.shape(Shape::LineString);
        self.line()
    }

    fn polygon_part(&mut self) -> Step {
        self.out.shape(Shape::Polygon);
        self.polygon()
    }

    fn bracketed_position(&mut self) -> Step {
        self.need(b'(')?;
        self.position()?;
        self.need(b')')
    }

    /// Two numbers, and up to two more that are dropped.
    fn position(&mut self) -> Step {
        let (x, y) = (self.number()?, self.number()?);
        for _ in 0..2 {
            // Whatever they are: PostGIS writes NaN for an M that it has not.
            self.token();
        }
        self.out.position(x, y)
    }

    fn token(&mut self) -> &'t str {
        self.run(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte))
    }

    fn number(&mut self) -> Result<f64, Flaw> {
        let start = self.at;
        let token = self.token();
        decimal(token).ok_or_else(|| {
            self.at = start;
            if token.is_empty() {
                return self.expected("a coordinate");
            }
            format!("\"{}\" is not a finite number", first(token))
        })
    }
}

/// Enough of a word to recognise it in a message.
fn first(word: &str) -> &str {
    &word[..word.len().min(40)]
}
