//! What the values of each column are in the export's own answers, so that those of a file become the same.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::python;

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// A text that is a date with a time of day, as the API writes it.
    Moment,
    Number,
    Boolean,
    /// An object or an array.
    Nested,
    /// Nothing was seen of it but nulls.
    Unknown,
}

/// By column. A column of which nothing is known is of kind [`Kind::Unknown`].
#[derive(Clone, Debug, Default)]
pub struct Kinds(HashMap<String, Kind>);

type Members<'a> = HashMap<Cow<'a, str>, &'a RawValue>;

#[derive(Deserialize)]
struct Feature<'a> {
    #[serde(borrow)]
    properties: Members<'a>,
}

impl Kinds {
    /// Learnt from some items of the export's own answers (their properties, where they are Features).
    pub fn of(items: &[&str], geojson: bool) -> Self {
        let mut kinds = HashMap::new();
        for item in items {
            for (name, value) in members(item, geojson).unwrap_or_default() {
                let found = kind_of(value.get());
                let known = kinds.entry(name.into_owned()).or_insert(found);
                if found != Kind::Unknown && *known != found {
                    *known = match *known {
                        Kind::Unknown => found,
                        _ => Kind::Text,
                    };
                }
            }
        }
        Self(kinds)
    }

    pub fn get(&self, name: &str) -> Kind {
        self.0.get(name).copied().unwrap_or(Kind::Unknown)
    }

    /// The item with its dates as the API writes them: a file has a T between date and time.
    pub fn with_dates<'i>(&self, item: &'i str, geojson: bool) -> Cow<'i, str> {
        let Some(members) = members(item, geojson) else {
            return Cow::Borrowed(item);
        };
        let base = item.as_ptr() as usize;
        let places: Vec<usize> = members
            .iter()
            .filter(|(name, value)| {
                self.get(name) == Kind::Moment && separator(unquoted(value.get())) == Some(b'T')
            })
            // The quotation mark, and the ten characters of the date.
            .map(|(_, value)| value.get().as_ptr() as usize - base + 11)
            .collect();
        if places.is_empty() {
            return Cow::Borrowed(item);
        }
        let mut text = item.to_owned();
        for place in places {
            text.replace_range(place..=place, " ");
        }
        Cow::Owned(text)
    }
}

fn members(item: &str, geojson: bool) -> Option<Members<'_>> {
    match geojson {
        true => Some(serde_json::from_str::<Feature>(item).ok()?.properties),
        false => serde_json::from_str(item).ok(),
    }
}

fn unquoted(value: &str) -> &str {
    let inner = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    inner.unwrap_or_default()
}

fn kind_of(value: &str) -> Kind {
    match value.as_bytes().first() {
        Some(b'n') | None => Kind::Unknown,
        Some(b't' | b'f') => Kind::Boolean,
        Some(b'{' | b'[') => Kind::Nested,
        Some(b'"') if separator(unquoted(value)) == Some(b' ') => Kind::Moment,
        Some(b'"') => Kind::Text,
        Some(_) => Kind::Number,
    }
}

/// What stands between the date and the time of a text that is both.
fn separator(text: &str) -> Option<u8> {
    let bytes = text.as_bytes();
    if bytes.len() < 19 {
        return None;
    }
    let shape = b"0000-00-00?00:00:00";
    let fits = shape.iter().zip(bytes).all(|(wanted, byte)| match wanted {
        b'0' => byte.is_ascii_digit(),
        b'?' => matches!(byte, b' ' | b'T'),
        wanted => byte == wanted,
    });
    let rest = &bytes[19..];
    let plain = rest.is_empty() || (rest[0] == b'.' && rest[1..].iter().all(u8::is_ascii_digit));
    (fits && plain).then(|| bytes[10])
}

/// Writes a cell of a CSV file as the JSON value that the API gives for it.
pub(super) fn write_cell(kind: Kind, cell: &str, out: &mut Vec<u8>) {
    if cell.is_empty() {
        return out.extend_from_slice(b"null");
    }
    match kind {
        Kind::Number if python::is_number(cell) => return out.extend_from_slice(cell.as_bytes()),
        Kind::Boolean => match cell {
            "True" | "true" | "t" => return out.extend_from_slice(b"true"),
            "False" | "false" | "f" => return out.extend_from_slice(b"false"),
            _ => {}
        },
        Kind::Nested | Kind::Unknown if cell.starts_with(['{', '[']) => {
            if serde_json::from_str::<&RawValue>(cell).is_ok() {
                return out.extend_from_slice(cell.as_bytes());
            }
            if let Some(json) = python::as_json(cell) {
                return out.extend_from_slice(json.as_bytes());
            }
        }
        Kind::Moment if separator(cell) == Some(b'T') => {
            return write_text(&cell.replacen('T', " ", 1), out);
        }
        _ => {}
    }
    write_text(cell, out);
}

pub(super) fn write_text(text: &str, out: &mut Vec<u8>) {
    // Writing into a vector can not fail.
    let _ = serde_json::to_writer(out, text);
}
