//! What an export made by a partner's publish_export says of itself: a column `gn_harvest` in each record names the
//! exports of metadata and of deletions that go with it, and numbers the selection.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::source::Source;

/// The exports beside that of observations: as the source is set, else as the partner's marker says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exports {
    pub metadata: Option<i32>,
    pub deletions: Option<i32>,
    /// Moves when records have come in that do not bear a new date of change.
    pub selection: Option<i64>,
}

#[derive(Deserialize)]
struct Marked<'a> {
    #[serde(borrow, default)]
    gn_harvest: Option<&'a RawValue>,
}

impl Exports {
    /// From some records of the export of observations.
    pub fn of(source: &Source, items: &[&str]) -> Exports {
        let marked = items
            .first()
            .and_then(|item| serde_json::from_str::<Marked>(item).ok()?.gn_harvest)
            .and_then(|marker| serde_json::from_str::<String>(marker.get()).ok())
            .map(|marker| Exports::marked(&marker))
            .unwrap_or_default();
        Exports {
            metadata: source.metadata_export_id.or(marked.metadata),
            deletions: source.deletion_export_id.or(marked.deletions),
            selection: marked.selection,
        }
    }

    /// `metadata=2;deletions=3;selection=1`; what is not understood is left out.
    fn marked(marker: &str) -> Exports {
        let mut exports = Exports::default();
        for (name, value) in marker.split(';').filter_map(|part| part.split_once('=')) {
            let number = value.parse().ok();
            let export = number
                .and_then(|number: i64| i32::try_from(number).ok())
                .filter(|export| *export > 0);
            match name {
                "metadata" => exports.metadata = export,
                "deletions" => exports.deletions = export,
                "selection" => exports.selection = number,
                _ => {}
            }
        }
        exports
    }
}
