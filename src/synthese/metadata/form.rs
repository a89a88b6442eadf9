//! The values of metadata: what an export writes, in the form that the SQL of this module reads. Pure.

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_128;

/// The bytes of a UUID.
pub type Uuid = [u8; 16];

/// What a member of a framework or dataset holds.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    Text,
    Boolean,
    Date,
    /// A date and time on the source's clock.
    Timestamp,
    Identifier,
    /// A code of this type of nomenclature.
    Code(&'static str),
    /// A list of codes of this type of nomenclature.
    Codes(&'static str),
    /// A number, not a code.
    Number,
    /// An object, as it is or as text.
    Object,
}

impl Form {
    /// The value in its one form, JSON null for null; `None` when it cannot be read.
    pub fn read(self, value: &Value) -> Option<Value> {
        match (self, value) {
            (Form::Codes(_), _) => Some(Value::Array(codes(value))),
            // As it is: an empty text is not null, and outer spaces are the source's.
            (Form::Text, Value::String(text)) => Some(text.replace('\0', "").into()),
            (Form::Text, _) => Some(text(value).into()),
            (Form::Boolean, Value::Bool(_)) => Some(value.clone()),
            (Form::Number, Value::Number(_)) => Some(value.clone()),
            (Form::Object, Value::Object(_)) => Some(without_nul(value)),
            (_, Value::Object(_) | Value::Array(_) | Value::Bool(_)) => None,
            _ => text(value).map_or(Some(Value::Null), |text| self.parsed(text.trim())),
        }
    }

    fn parsed(self, text: &str) -> Option<Value> {
        let parsed = match self {
            Form::Text | Form::Code(_) | Form::Codes(_) => text.to_owned(),
            Form::Boolean => return boolean(text).map(Value::Bool),
            Form::Number => {
                let number = serde_json::Number::from_f64(text.parse().ok()?)?;
                return Some(Value::Number(number));
            }
            Form::Object => {
                let object = serde_json::from_str(text).ok().filter(Value::is_object)?;
                return Some(without_nul(&object));
            }
            Form::Date => date(text)?.format("%Y-%m-%d").to_string(),
            Form::Timestamp => timestamp(text)?.format("%Y-%m-%dT%H:%M:%S%.6f").to_string(),
            Form::Identifier => written(&identifier(text)?),
        };
        Some(parsed.into())
    }
}

/// A value as text without U+0000, lists joined; `None` when it is null or blank.
pub fn text(value: &Value) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::String(text) => text.replace('\0', ""),
        Value::Array(values) => values
            .iter()
            .filter_map(text)
            .collect::<Vec<_>>()
            .join(", "),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    };
    Some(text).filter(|text| !text.trim().is_empty())
}

/// A value without U+0000 in its texts, which jsonb can not hold.
fn without_nul(value: &Value) -> Value {
    match value {
        Value::String(text) => text.replace('\0', "").into(),
        Value::Array(values) => values.iter().map(without_nul).collect(),
        Value::Object(object) => object
            .iter()
            .map(|(key, value)| (key.replace('\0', ""), without_nul(value)))
            .collect(),
        other => other.clone(),
    }
}

/// A code of a nomenclature, which some exports write as a number.
pub fn code(value: &Value) -> Option<String> {
    match value {
        Value::String(_) | Value::Number(_) => text(value).map(|code| code.trim().to_owned()),
        _ => None,
    }
}

/// Each code once. PostgreSQL's aggregates write "none" as null or as a list that holds null.
fn codes(value: &Value) -> Vec<Value> {
    let mut codes: Vec<Value> = members(value)
        .iter()
        .filter_map(code)
        .map(Value::String)
        .collect();
    codes.sort_unstable_by(|a, b| a.as_str().cmp(&b.as_str()));
    codes.dedup();
    codes
}

/// The members of a list; a value that stands alone is a list of one, null an empty one.
/// A list or an object may come as text.
pub fn members(value: &Value) -> Vec<Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(values) => values.clone(),
        Value::String(text) if text.trim_start().starts_with(['[', '{']) => {
            match serde_json::from_str::<Value>(text) {
                Ok(nested @ (Value::Array(_) | Value::Object(_))) => members(&nested),
                _ => vec![value.clone()],
            }
        }
        alone => vec![alone.clone()],
    }
}

/// The objects of a list.
pub fn objects(value: &Value) -> Vec<Map<String, Value>> {
    members(value)
        .into_iter()
        .filter_map(|member| match member {
            Value::Object(object) => Some(object),
            _ => None,
        })
        .collect()
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "true" | "t" | "1" | "oui" | "yes" => Some(true),
        "false" | "f" | "0" | "non" | "no" => Some(false),
        _ => None,
    }
}

/// A date, or the day of a date and time.
fn date(text: &str) -> Option<NaiveDate> {
    let (day, time) = text.split_at_checked(10)?;
    let date = NaiveDate::parse_from_str(day, "%Y-%m-%d").ok();
    date.filter(|_| time.is_empty() || time.starts_with(['T', ' ']))
}

fn timestamp(text: &str) -> Option<NaiveDateTime> {
    let zoned = DateTime::parse_from_rfc3339(text).map(|zoned| zoned.naive_local());
    let plain = |time: &str| {
        NaiveDateTime::parse_from_str(&text.replacen(' ', "T", 1), &format!("%Y-%m-%dT{time}"))
    };
    zoned
        .or_else(|_| plain("%H:%M:%S%.f"))
        .or_else(|_| plain("%H:%M"))
        .ok()
        .or_else(|| {
            date(text)
                .filter(|_| text.len() == 10)?
                .and_hms_opt(0, 0, 0)
        })
}

/// A UUID in any of the ways to write it that PostgreSQL reads.
pub fn identifier(text: &str) -> Option<Uuid> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !matches!(c, '-' | '{' | '}'))
        .map(|c| c.to_digit(16).map(|digit| digit as u8))
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits
        .chunks_exact(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect();
    if digits.len() == 32 {
        bytes.try_into().ok()
    } else {
        None
    }
}

pub fn written(uuid: &Uuid) -> String {
    let hex: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

/// A UUID (version 8 of RFC 9562) for what came without one: the same for the same text, always and everywhere.
pub fn derived(what: &str, text: &str) -> Uuid {
    let mut uuid = xxh3_128(format!("gn_harvest {what} {text}").as_bytes()).to_be_bytes();
    uuid[6] = 0x80 | uuid[6] & 0x0f;
    uuid[8] = 0x80 | uuid[8] & 0x3f;
    uuid
}

/// A name in the room that its column has, in characters.
pub fn fitted(name: &str, room: usize) -> String {
    if name.chars().count() <= room {
        return name.to_owned();
    }
    let kept: String = name.chars().take(room - 1).collect();
    format!("{}…", kept.trim_end())
}
