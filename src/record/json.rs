//! JSON data kept whole: one canonical text for equal data, digits of numbers as written.
//!
//! Canonical: keys sorted, no white space, the last of duplicate keys kept (as `jsonb`
//! does), U+0000 taken out of texts. The same data thus has the same hash whether an
//! export gives it as an object or as text, and whatever the order of its keys.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::rejection::{Fault, Reason};
use super::scalar::{Raw, Stripped};

/// Deeper nesting is refused: the reader's own limit, far below PostgreSQL's.
const MAX_DEPTH: usize = 100;

/// PostgreSQL's limits on a `numeric`, which holds the numbers of a `jsonb`.
const MAX_WHOLE_DIGITS: i64 = 131_072;
const MAX_FRACTION_DIGITS: i64 = 16_383;

/// The value of a JSON column: an object as it is, or JSON written as text.
///
/// A text that is no JSON is kept as a JSON string, unless it starts like an object or an
/// array: then it is broken JSON. A blank text, and the text `null`, are null.
pub(super) fn json(raw: &Raw, stripped: &Stripped) -> Result<Option<String>, Fault> {
    let text: &str = match raw {
        Raw::Null => return Ok(None),
        Raw::Bare(text) | Raw::Nested(text) => text,
        Raw::Text(text) => text.trim(),
    };
    if text.is_empty() || text == "null" {
        return Ok(None);
    }
    if let Raw::Text(whole) = raw {
        let looks_nested = text.starts_with(['{', '[']);
        if let Err(error) = serde_json::from_str::<&RawValue>(text) {
            if looks_nested {
                return Err(Fault::new(
                    Reason::BadJson,
                    format!("the text is no JSON: {error}"),
                ));
            }
            let mut out = String::with_capacity(whole.len() + 2);
            write_string(whole, &mut out);
            return Ok(Some(out));
        }
    }
    canonical(text, stripped).map(Some)
}

/// The canonical text of one valid JSON value.
pub(super) fn canonical(text: &str, stripped: &Stripped) -> Result<String, Fault> {
    let mut out = String::with_capacity(text.len());
    write(text, stripped, 0, &mut out)?;
    Ok(out)
}

/// A member's name, borrowed where it has no escape.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

fn write(text: &str, stripped: &Stripped, depth: usize, out: &mut String) -> Result<(), Fault> {
    let broken = |error: serde_json::Error| Fault::new(Reason::BadJson, error.to_string());
    if depth > MAX_DEPTH {
        let message = format!("the JSON is nested more than {MAX_DEPTH} levels deep");
        return Err(Fault::new(Reason::BadJson, message));
    }
    let mut separator = "";
    match text.as_bytes().first() {
        Some(b'{') => {
            let members: BTreeMap<Name, &RawValue> = serde_json::from_str(text).map_err(broken)?;
            // Two names may become one when NULs are taken out, so they are sorted again.
            let members = members
                .into_iter()
                .map(|(name, value)| (stripped.text(name.0), value));
            out.push('{');
            for (name, value) in members.collect::<BTreeMap<_, _>>() {
                out.push_str(separator);
                write_string(&name, out);
                out.push(':');
                write(value.get(), stripped, depth + 1, out)?;
                separator = ",";
            }
            out.push('}');
        }
        Some(b'[') => {
            let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(broken)?;
            out.push('[');
            for element in elements {
                out.push_str(separator);
                write(element.get(), stripped, depth + 1, out)?;
                separator = ",";
            }
            out.push(']');
        }
        Some(b'"') => match Raw::decode(text, stripped)? {
            Raw::Text(text) => write_string(&text, out),
            _ => out.push_str("null"),
        },
        Some(b'-' | b'0'..=b'9') if !numeric_can_hold(text) => {
            let message = "a number is beyond what PostgreSQL's numeric can hold";
            return Err(Fault::new(Reason::BadJson, message));
        }
        _ => out.push_str(text),
    }
    Ok(())
}

/// Whether a JSON number fits PostgreSQL's `numeric` with all its digits.
fn numeric_can_hold(number: &str) -> bool {
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        None => (number, 0),
        Some((mantissa, exponent)) => match exponent.parse::<i64>() {
            Ok(exponent) if exponent.abs() < 1_000_000 => (mantissa, exponent),
            _ => return false,
        },
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |part: &str| i64::try_from(part.len()).unwrap_or(i64::MAX / 2);
    digits(whole) + exponent <= MAX_WHOLE_DIGITS
        && digits(fraction) - exponent <= MAX_FRACTION_DIGITS
}

/// Escapes what JSON requires to be escaped, and nothing else.
fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => out.push_str(&format!("\\u{:04x}", control as u32)),
            other => out.push(other),
        }
    }
    out.push('"');
}
