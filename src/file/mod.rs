//! The file that a partner's GeoNature writes each night, cut into the JSON texts of its records while it comes in.
//! Pure: bytes in, texts out. It holds no more of a file than the record that is not whole yet.

mod csv;
mod json;
mod kinds;
mod name;
mod python;

use std::fmt;

pub use kinds::{Kind, Kinds};
pub use name::stem;

use csv::Rows;
use json::Elements;

/// What a file begins with may be this long before it is a record.
const LONGEST_HEAD: usize = 1024 * 1024;
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Why the bytes are no file of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// There is nothing in it.
    Empty,
    /// A page for people.
    Html,
    /// It ends before its records do.
    CutShort,
    /// Something else stands where a record should; after so many bytes.
    Unexpected { what: String, at: u64 },
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Empty => f.write_str("it is empty"),
            Broken::Html => f.write_str("it is a page for people"),
            Broken::CutShort => f.write_str("it ends before its last record does"),
            Broken::Unexpected { what, at } => write!(f, "after {at} bytes {what}"),
        }
    }
}

/// What a file turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An array of JSON values, or an object that holds one as `features` or `items`.
    Json,
    /// Lines of values, under a line of names.
    Csv,
}

/// Cuts a file into records. A record that is too long, or not UTF-8, comes out as a JSON string with its beginning: it
/// is no object, so whoever reads records refuses it with its reason.
pub struct Splitter {
    longest: usize,
    kinds: Kinds,
    state: State,
    read: u64,
}

enum State {
    /// Bytes before which it is not known what the file is.
    Head(Vec<u8>),
    Json(Elements),
    Csv(Box<Rows>),
}

impl Splitter {
    /// Records of more than `longest` bytes are not kept; `kinds` say what the values of a CSV file are.
    pub fn new(longest: usize, kinds: Kinds) -> Self {
        Self {
            longest,
            kinds,
            state: State::Head(Vec::new()),
            read: 0,
        }
    }

    pub fn format(&self) -> Option<Format> {
        match &self.state {
            State::Head(_) => None,
            State::Json(_) => Some(Format::Json),
            State::Csv(_) => Some(Format::Csv),
        }
    }

    /// Bytes taken in.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// Takes the next bytes, and gives out the records that are whole by now.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<String>) -> Result<(), Broken> {
        let before = self.read;
        self.read += bytes.len() as u64;
        match &mut self.state {
            State::Json(elements) => elements.feed(bytes, before, out),
            State::Csv(rows) => rows.feed(bytes, out),
            State::Head(head) => {
                head.extend_from_slice(bytes);
                let head = std::mem::take(head);
                self.begin(head, out)
            }
        }
    }

    /// Nothing comes any more. `complete`: as many bytes have come as were announced, so that a last line without its
    /// end is whole.
    pub fn finish(&mut self, complete: bool, out: &mut Vec<String>) -> Result<(), Broken> {
        match &mut self.state {
            State::Head(head) => {
                let start = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(head);
                match start.trim_ascii().is_empty() {
                    true => Err(Broken::Empty),
                    false => Err(Broken::CutShort),
                }
            }
            State::Json(elements) => elements.finish(),
            State::Csv(rows) => rows.finish(complete, out),
        }
    }

    /// Finds out what the file is by how it begins.
    fn begin(&mut self, head: Vec<u8>, out: &mut Vec<String>) -> Result<(), Broken> {
        let mark = usize::from(head.starts_with(BYTE_ORDER_MARK)) * BYTE_ORDER_MARK.len();
        let unmarked = &head[mark..];
        let marked_maybe = head.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(&head);
        let start = unmarked.iter().position(|byte| !byte.is_ascii_whitespace());
        let Some(start) = start.filter(|_| !marked_maybe) else {
            // White space, without end perhaps: none of it is needed.
            let kept = if marked_maybe { head.len() } else { mark };
            self.state = State::Head(head[..kept].to_vec());
            return Ok(());
        };
        let at = self.read - (unmarked.len() - start) as u64;
        let rest = &unmarked[start..];
        match rest[0] {
            b'<' => return Err(Broken::Html),
            b'[' | b'{' => {
                let mut elements = Elements::new(self.longest);
                let result = elements.feed(rest, at, out);
                self.state = State::Json(elements);
                return result;
            }
            _ => {}
        }
        match Rows::after_header(rest, self.longest, &self.kinds) {
            Some((mut rows, length)) => {
                if rows.names() < 2 {
                    let what = "neither a JSON array nor a CSV header begins".to_owned();
                    return Err(Broken::Unexpected { what, at });
                }
                let result = rows.feed(&rest[length..], out);
                self.state = State::Csv(Box::new(rows));
                result
            }
            None if rest.len() > LONGEST_HEAD => {
                let what = "neither a JSON array nor a CSV header begins".to_owned();
                Err(Broken::Unexpected { what, at })
            }
            None => {
                self.state = State::Head(head);
                Ok(())
            }
        }
    }
}

/// Bytes of a record that are shown when it is refused as a whole.
const SHOWN: usize = 1000;

/// The text of a record; a JSON string when its bytes are no text.
fn text_of(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => refused("not UTF-8", bytes),
    }
}

/// A JSON string in the place of a record that can not be kept.
fn refused(why: &str, bytes: &[u8]) -> String {
    let beginning = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]);
    let text = format!("{why}: {}", beginning.replace('\0', ""));
    serde_json::to_string(&text).unwrap_or_else(|_| "null".to_owned())
}

fn too_long(longest: usize, bytes: &[u8]) -> String {
    refused(&format!("a record of more than {longest} bytes"), bytes)
}

/// An item that PostgreSQL's json type can hold: one that is no JSON becomes a JSON string.
pub fn storable(item: String) -> String {
    match serde_json::from_str::<&serde_json::value::RawValue>(&item) {
        Ok(_) => item,
        Err(_) => serde_json::to_string(&item.replace('\0', "")).unwrap_or_default(),
    }
}
