//! Raw JSON values as text, whole numbers and UUIDs, without a `serde_json::Value` between.

use std::borrow::Cow;
use std::cell::Cell;

use serde_json::value::RawValue;

use super::rejection::{Fault, Reason};

/// A JSON value seen as an export means it: a scalar, or something nested left as it is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Raw<'a> {
    Null,
    /// A number or boolean as written.
    Bare(&'a str),
    Text(Cow<'a, str>),
    /// An object or array as written.
    Nested(&'a str),
}

/// Counts the values from which U+0000, which PostgreSQL cannot hold, was taken away.
#[derive(Debug, Default)]
pub(super) struct Stripped(pub Cell<usize>);

impl Stripped {
    pub fn text<'a>(&self, text: Cow<'a, str>) -> Cow<'a, str> {
        if !text.contains('\0') {
            return text;
        }
        self.0.set(self.0.get() + 1);
        Cow::Owned(text.replace('\0', ""))
    }
}

impl<'a> Raw<'a> {
    /// `value` must be one valid JSON value, as [`RawValue`] guarantees. Fails only on a
    /// string with half a surrogate pair, which is no text.
    pub fn decode(value: &'a str, stripped: &Stripped) -> Result<Self, Fault> {
        match value.as_bytes().first() {
            Some(b'n') | None => Ok(Raw::Null),
            Some(b'"') => string(value, stripped).map(Raw::Text),
            Some(b'{' | b'[') => Ok(Raw::Nested(value)),
            Some(_) => Ok(Raw::Bare(value)),
        }
    }

    /// The scalar as text; `None` for null and for what is nested.
    pub fn scalar(&self) -> Option<&str> {
        match self {
            Raw::Bare(text) => Some(text),
            Raw::Text(text) => Some(text),
            Raw::Null | Raw::Nested(_) => None,
        }
    }
}

/// A JSON string's text. Only strings with escapes are copied, and only they can hold a NUL.
fn string<'a>(value: &'a str, stripped: &Stripped) -> Result<Cow<'a, str>, Fault> {
    if !value.as_bytes().contains(&b'\\') {
        return Ok(Cow::Borrowed(&value[1..value.len() - 1]));
    }
    match serde_json::from_str::<String>(value) {
        Ok(text) => Ok(stripped.text(Cow::Owned(text))),
        Err(error) => Err(Fault::new(
            Reason::BadJson,
            format!("the text has an escape that is not a character: {error}"),
        )),
    }
}

/// A whole number in its shortest form (no plus sign, no leading zero), as keys are.
pub fn whole_number(text: &str) -> Option<i64> {
    let number: i64 = text.parse().ok()?;
    let digits = text.strip_prefix('-').unwrap_or(text);
    let shortest = digits.as_bytes()[0] != b'0' || text == "0";
    (shortest && !text.starts_with('+')).then_some(number)
}

/// A whole number written as a number: `12`, `12.0`, `1.2e1`. Beyond 64 bits, or with a
/// fraction, it is none.
pub(super) fn integral(text: &str) -> Option<i64> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    if text.contains(['e', 'E']) {
        let number = decimal(text)?;
        // Every whole number below 2^53 is exact as a double.
        return (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64);
    }
    let (whole, fraction) = text.split_once('.')?;
    if whole.is_empty() || fraction.is_empty() || fraction.bytes().any(|digit| digit != b'0') {
        return None;
    }
    whole.parse().ok()
}

/// A finite double written in digits (`inf`, `nan` and the like are refused).
pub(super) fn decimal(text: &str) -> Option<f64> {
    if text
        .bytes()
        .any(|byte| !matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
    {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// A UUID in any case, with or without hyphens, braces or `urn:uuid:`.
pub(super) fn uuid(text: &str) -> Option<[u8; 16]> {
    let mut text = text.as_bytes();
    if text.len() >= 9 && text[..9].eq_ignore_ascii_case(b"urn:uuid:") {
        text = &text[9..];
    }
    if let [b'{', inner @ .., b'}'] = text {
        text = inner;
    }
    let hyphens: &[usize] = match text.len() {
        36 => &[8, 13, 18, 23],
        32 => &[],
        _ => return None,
    };
    let mut bytes = [0; 16];
    let mut digits = 0;
    for (position, byte) in text.iter().enumerate() {
        if hyphens.contains(&position) {
            if *byte != b'-' {
                return None;
            }
            continue;
        }
        let digit = char::from(*byte).to_digit(16)? as u8;
        bytes[digits / 2] = bytes[digits / 2] << 4 | digit;
        digits += 1;
    }
    Some(bytes)
}

/// The value that a path leads to inside an object, an array, or a text that holds JSON.
pub(super) fn descend(value: &RawValue, path: &[String]) -> Option<Box<RawValue>> {
    let Some((step, rest)) = path.split_first() else {
        return Some(value.to_owned());
    };
    let text = value.get();
    let inner: Box<RawValue> = match text.as_bytes().first()? {
        b'{' => {
            let mut members: std::collections::HashMap<String, &RawValue> =
                serde_json::from_str(text).ok()?;
            members.remove(step)?.to_owned()
        }
        b'[' => {
            let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            (*elements.get(step.parse::<usize>().ok()?)?).to_owned()
        }
        b'"' => {
            let held = RawValue::from_string(serde_json::from_str(text).ok()?).ok()?;
            // A text that holds a text leads nowhere; this also ends the recursion.
            return matches!(held.get().as_bytes().first(), Some(b'{' | b'['))
                .then(|| descend(&held, path))?;
        }
        _ => return None,
    };
    descend(&inner, rest)
}
