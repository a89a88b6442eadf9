//! JSON as GeoNature's Python writes it: `", "` and `": "` between things, accents as they
//! are (or `\u00e9` in the scheduled files). Rows are written by hand, straight to bytes,
//! because a benchmark reads them at full speed.

use serde_json::Value;

pub fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    write_escaped(out, text);
    out.push(b'"');
}

fn write_escaped(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut written = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[written..at]);
        written = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            other => out.extend_from_slice(format!("\\u{other:04x}").as_bytes()),
        }
    }
    out.extend_from_slice(&bytes[written..]);
}

pub fn write_integer(out: &mut Vec<u8>, value: i64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

/// The shortest text that reads back as the same number.
pub fn write_float(out: &mut Vec<u8>, value: f64) {
    use std::io::Write;
    let _ = write!(out, "{value}");
}

/// A value with Python's separators.
pub fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::String(text) => write_string(out, text),
        Value::Array(values) => {
            out.push(b'[');
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    out.extend_from_slice(b", ");
                }
                write_value(out, value);
            }
            out.push(b']');
        }
        Value::Object(members) => {
            out.push(b'{');
            for (at, (key, value)) in members.iter().enumerate() {
                if at > 0 {
                    out.extend_from_slice(b", ");
                }
                write_string(out, key);
                out.extend_from_slice(b": ");
                write_value(out, value);
            }
            out.push(b'}');
        }
        scalar => out.extend_from_slice(scalar.to_string().as_bytes()),
    }
}

pub fn text(value: &Value) -> String {
    let mut out = Vec::new();
    write_value(&mut out, value);
    String::from_utf8_lossy(&out).into_owned()
}

/// The same JSON with every character beyond ASCII written as `\uXXXX`.
pub fn in_ascii(json: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() + json.len() / 8);
    let mut units = [0u16; 2];
    for character in json.chars() {
        if character.is_ascii() {
            out.push(character as u8);
        } else {
            for unit in character.encode_utf16(&mut units) {
                out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let hard = "l'été \"vif\"\n\t\\ \u{1} ☀️ 🐦";
        let mut out = Vec::new();
        write_string(&mut out, hard);
        assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), hard);
        let ascii = in_ascii(std::str::from_utf8(&out).unwrap());
        assert!(ascii.is_ascii());
        assert_eq!(serde_json::from_slice::<String>(&ascii).unwrap(), hard);
    }

    #[test]
    fn separators_are_those_of_python() {
        let value = serde_json::json!({"a": [1, null, true], "b": "é"});
        assert_eq!(text(&value), r#"{"a": [1, null, true], "b": "é"}"#);
    }
}
