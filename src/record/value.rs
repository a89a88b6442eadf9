//! One cell of an export as the typed value of its `synthese` column.

use super::date::moment;
use super::json::json;
use super::rejection::{Fault, Reason};
use super::scalar::{Raw, Stripped, integral, uuid};
use crate::mapping::Kind;

/// The value of a `synthese` column, as a record gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// The export has no such column: the target's own default applies.
    Absent,
    /// The source says nothing: it stays null.
    Null,
    /// A text, or the code or label of a nomenclature until it is resolved.
    Text(String),
    Integer(i32),
    /// The source's wall clock.
    Timestamp(chrono::NaiveDateTime),
    Uuid([u8; 16]),
    /// Canonical JSON text: keys sorted, digits of numbers as written.
    Json(String),
}

/// Converts a cell. Blank texts are null, but for columns of text, which keep them.
pub(super) fn convert(
    kind: Kind,
    limit: Option<usize>,
    raw: Raw,
    stripped: &Stripped,
) -> Result<Value, Fault> {
    match kind {
        Kind::Text => text(raw, limit),
        Kind::Json => Ok(json(&raw, stripped)?.map_or(Value::Null, Value::Json)),
        _ => {
            let Some(text) = scalar(&raw, kind)? else {
                return Ok(Value::Null);
            };
            match kind {
                Kind::Integer | Kind::Taxon | Kind::Habitat => integer(text),
                Kind::Timestamp => match moment(text) {
                    Some(moment) => Ok(Value::Timestamp(moment.at)),
                    None => Err(Fault::new(
                        Reason::BadDate,
                        "this is not a date that exists",
                    )),
                },
                Kind::Uuid => match uuid(text) {
                    Some(uuid) => Ok(Value::Uuid(uuid)),
                    None => Err(Fault::new(Reason::BadUuid, "this is not a UUID")),
                },
                _ => Ok(Value::Text(text.to_owned())),
            }
        }
    }
}

/// The trimmed text of a scalar; `None` when null or blank.
pub(super) fn scalar<'r>(raw: &'r Raw, kind: Kind) -> Result<Option<&'r str>, Fault> {
    if let Raw::Nested(_) = raw {
        let reason = match kind {
            Kind::Integer | Kind::Taxon | Kind::Habitat => Reason::BadNumber,
            Kind::Timestamp => Reason::BadDate,
            Kind::Uuid => Reason::BadUuid,
            _ => Reason::BadJson,
        };
        return Err(Fault::new(
            reason,
            "a single value is needed, not an object or a list",
        ));
    }
    Ok(raw.scalar().map(str::trim).filter(|text| !text.is_empty()))
}

fn text(raw: Raw, limit: Option<usize>) -> Result<Value, Fault> {
    let text = match raw {
        Raw::Null => return Ok(Value::Null),
        Raw::Nested(_) => scalar(&raw, Kind::Text)?.unwrap_or_default().to_owned(),
        Raw::Bare(text) => text.to_owned(),
        Raw::Text(text) => text.into_owned(),
    };
    if let Some(limit) = limit.filter(|limit| text.len() > *limit) {
        let length = text.chars().count();
        if length > limit {
            let message = format!("the text has {length} characters, the column holds {limit}");
            return Err(Fault::new(Reason::ValueTooLong, message));
        }
    }
    Ok(Value::Text(text))
}

fn integer(text: &str) -> Result<Value, Fault> {
    match integral(text).map(i32::try_from) {
        Some(Ok(number)) => Ok(Value::Integer(number)),
        Some(Err(_)) => Err(Fault::new(
            Reason::BadNumber,
            "the number is beyond 32 bits",
        )),
        None => Err(Fault::new(
            Reason::BadNumber,
            "this is not a whole number of 32 bits",
        )),
    }
}
