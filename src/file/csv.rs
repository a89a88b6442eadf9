//! The lines of a CSV file as JSON objects. The separator is found in the line of names; quotation marks are doubled
//! inside quoted values, which may hold line breaks; lines end with LF, CR LF or CR.

use super::kinds::{Kind, Kinds, write_cell, write_text};
use super::{Broken, refused, too_long};

const SEPARATORS: [u8; 4] = [b';', b',', b'\t', b'|'];
/// No table has so many columns.
const MOST_CELLS: usize = 10_000;

pub(super) struct Rows {
    separator: u8,
    longest: usize,
    /// Each name as JSON with what comes before its value, and the kind of its values.
    columns: Vec<(Vec<u8>, Kind)>,
    row: Row,
}

/// A line that is being read: its cells one after the other.
struct Row {
    cells: Vec<u8>,
    ends: Vec<usize>,
    at: At,
    /// Something of it has come.
    begun: bool,
    overlong: bool,
    after_return: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    CellStart,
    Bare,
    Quoted,
    /// After a quotation mark in a quoted cell: its end, or the first of two.
    Quote,
}

enum Step {
    Inside,
    RowEnd,
}

impl Rows {
    /// Reads the line of names; none if it is not whole yet. Also how many bytes it takes.
    pub fn after_header(bytes: &[u8], longest: usize, kinds: &Kinds) -> Option<(Self, usize)> {
        let (mut quoted, mut end) = (false, None);
        for (position, byte) in bytes.iter().enumerate() {
            match byte {
                b'"' => quoted = !quoted,
                b'\n' | b'\r' if !quoted => {
                    end = Some(position);
                    break;
                }
                _ => {}
            }
        }
        let head = &bytes[..end?];
        let count = |separator: &u8| {
            let mut quoted = false;
            let outside = head.iter().filter(|byte| {
                quoted ^= **byte == b'"';
                !quoted && *byte == separator
            });
            outside.count()
        };
        // The first of those that come most often.
        let mut separator = SEPARATORS[0];
        for candidate in SEPARATORS {
            if count(&candidate) > count(&separator) {
                separator = candidate;
            }
        }
        let mut rows = Self {
            separator,
            longest,
            columns: Vec::new(),
            row: Row::new(),
        };
        rows.row.take(head, separator, head.len());
        rows.row.end_cell();
        let mut before = &b"{"[..];
        for cell in rows.row.split() {
            let name = String::from_utf8_lossy(cell);
            let name = name.trim();
            let mut key = before.to_vec();
            write_text(name, &mut key);
            key.push(b':');
            rows.columns.push((key, kinds.get(name)));
            before = b",";
        }
        rows.row.clear();
        Some((rows, head.len()))
    }

    pub fn names(&self) -> usize {
        self.columns.len()
    }

    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<String>) -> Result<(), Broken> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (length, step) = self.row.take(rest, self.separator, self.longest);
            rest = &rest[length..];
            if let Step::RowEnd = step {
                self.give(out);
            }
        }
        Ok(())
    }

    pub fn finish(&mut self, complete: bool, out: &mut Vec<String>) -> Result<(), Broken> {
        if !self.row.begun {
            return Ok(());
        }
        if !complete || self.row.at == At::Quoted {
            return Err(Broken::CutShort);
        }
        self.give(out);
        Ok(())
    }

    /// Gives out the line that has come to its end; one with nothing in it is none.
    fn give(&mut self, out: &mut Vec<String>) {
        if self.row.begun {
            self.row.end_cell();
            out.push(self.object());
        }
        self.row.clear();
    }

    fn object(&self) -> String {
        let row = &self.row;
        if row.overlong {
            return too_long(self.longest, &row.cells);
        }
        let Ok(text) = str::from_utf8(&row.cells) else {
            return refused("not UTF-8", &row.cells);
        };
        if row.ends.len() != self.columns.len() {
            let (values, names) = (row.ends.len(), self.columns.len());
            let why = format!("a line of {values} values under {names} names");
            return refused(&why, &row.cells);
        }
        let mut json = Vec::with_capacity(row.cells.len() * 2 + self.columns.len() * 24);
        let mut start = 0;
        for ((key, kind), end) in self.columns.iter().zip(&row.ends) {
            json.extend_from_slice(key);
            // A cell ends between characters: separators and quotation marks are ASCII.
            write_cell(*kind, text.get(start..*end).unwrap_or_default(), &mut json);
            start = *end;
        }
        json.push(b'}');
        String::from_utf8(json).unwrap_or_else(|_| refused("not UTF-8", &row.cells))
    }
}

impl Row {
    fn new() -> Self {
        Self {
            cells: Vec::new(),
            ends: Vec::new(),
            at: At::CellStart,
            begun: false,
            overlong: false,
            after_return: false,
        }
    }

    fn clear(&mut self) {
        self.cells.clear();
        self.cells.shrink_to(64 * 1024);
        self.ends.clear();
        self.at = At::CellStart;
        self.begun = false;
        self.overlong = false;
    }

    fn split(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, end)| &self.cells[start..*end])
    }

    fn end_cell(&mut self) {
        self.ends.push(self.cells.len());
        self.at = At::CellStart;
    }

    fn put(&mut self, bytes: &[u8], longest: usize) {
        let room = longest.saturating_sub(self.cells.len());
        self.overlong |= bytes.len() > room;
        self.cells
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Takes bytes up to the end of a part of the line; how many.
    fn take(&mut self, bytes: &[u8], separator: u8, longest: usize) -> (usize, Step) {
        let mut position = 0;
        while let Some(&byte) = bytes.get(position) {
            if std::mem::take(&mut self.after_return) && byte == b'\n' {
                position += 1;
                continue;
            }
            match (self.at, byte) {
                (At::Quoted, b'"') => self.at = At::Quote,
                (At::Quoted, _) => {
                    let rest = &bytes[position..];
                    let length = rest.iter().position(|b| *b == b'"').unwrap_or(rest.len());
                    self.put(&rest[..length], longest);
                    position += length;
                    continue;
                }
                (At::Quote, b'"') => {
                    self.put(b"\"", longest);
                    self.at = At::Quoted;
                }
                (_, b'\n' | b'\r') => {
                    self.after_return = byte == b'\r';
                    return (position + 1, Step::RowEnd);
                }
                (_, byte) if byte == separator => {
                    if self.ends.len() < MOST_CELLS {
                        self.end_cell();
                    } else {
                        self.overlong = true;
                    }
                }
                (At::CellStart, b'"') => self.at = At::Quoted,
                _ => {
                    let rest = &bytes[position..];
                    let ends = |b: &u8| *b == separator || matches!(b, b'\n' | b'\r');
                    let length = rest.iter().position(ends).unwrap_or(rest.len());
                    self.put(&rest[..length], longest);
                    self.at = At::Bare;
                    self.begun = true;
                    position += length;
                    continue;
                }
            }
            self.begun = true;
            position += 1;
        }
        (position, Step::Inside)
    }
}
