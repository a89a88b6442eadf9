//! Hashes that say whether a harvested row changed: 128 bits of XXH3, seed 0.
//!
//! They are stored, so the layout of what is hashed is fixed for good. For each value that
//! is not absent, in the order given: the name (length as u64, UTF-8 bytes), a tag byte,
//! then: 1 null, nothing; 2 text and 6 JSON, length as u64 and UTF-8 bytes; 3 integer, i32;
//! 4 timestamp, microseconds since 1970-01-01 00:00 as i64; 5 UUID, its 16 bytes. All
//! numbers little endian. Names make it independent of columns added to the table later.

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::Value;

/// The hash of a row's values under their `synthese` names, resolved (codes as the numbers
/// that will be written), in the order of the table of columns.
pub fn attributes<'a>(values: impl IntoIterator<Item = (&'a str, &'a Value)>) -> u128 {
    let mut hash = Xxh3::new();
    let mut bytes = Vec::with_capacity(1024);
    for (name, value) in values {
        if *value == Value::Absent {
            continue;
        }
        text(name, &mut bytes);
        append(value, &mut bytes);
        if bytes.len() > 64 * 1024 {
            hash.update(&bytes);
            bytes.clear();
        }
    }
    hash.update(&bytes);
    hash.digest128()
}

/// The hash of a geometry's WKB; a null geometry is an empty one.
pub fn geometry(wkb: Option<&[u8]>) -> u128 {
    xxh3_128(wkb.unwrap_or_default())
}

/// The hash of an item that is kept whole: of the UTF-8 bytes of its canonical text. Stored too, so fixed for good.
pub fn item(text: &str) -> u128 {
    xxh3_128(text.as_bytes())
}

fn append(value: &Value, bytes: &mut Vec<u8>) {
    match value {
        Value::Absent => {}
        Value::Null => bytes.push(1),
        Value::Text(string) => {
            bytes.push(2);
            text(string, bytes);
        }
        Value::Integer(number) => {
            bytes.push(3);
            bytes.extend(number.to_le_bytes());
        }
        Value::Timestamp(at) => {
            bytes.push(4);
            bytes.extend(at.and_utc().timestamp_micros().to_le_bytes());
        }
        Value::Uuid(uuid) => {
            bytes.push(5);
            bytes.extend(uuid);
        }
        Value::Json(string) => {
            bytes.push(6);
            text(string, bytes);
        }
    }
}

fn text(string: &str, bytes: &mut Vec<u8>) {
    bytes.extend((string.len() as u64).to_le_bytes());
    bytes.extend(string.as_bytes());
}
