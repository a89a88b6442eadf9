//! The export of what was deleted or left, which a partner's publish_export makes: one record a key, with the date on
//! which it went. A token opens it, and it tells what the log of deletions can not.

use serde::Deserialize;

use crate::error::Failure;
use crate::geonature::{Deletion, PageQuery};
use crate::harvest::Session;
use crate::probe;

const KEY: &str = "id_synthese";
const DATE: &str = "derniere_action";

#[derive(Deserialize)]
struct Departure {
    id_synthese: i64,
    derniere_action: String,
}

/// What went since a date, on the source's clock. Read by key: what goes meanwhile moves no page.
pub fn read(session: &Session, export: i32, since: &str) -> Result<Vec<Deletion>, Failure> {
    let mut told: Vec<Deletion> = Vec::new();
    let mut next = None;
    loop {
        let mut filters = vec![(format!("filter_d_up_{DATE}"), since.to_owned())];
        filters.extend(next.map(|next: i64| (format!("filter_n_up_{KEY}"), next.to_string())));
        let query = PageQuery {
            limit: Some(session.source.page_size),
            order_by: Some(KEY.to_owned()),
            filters,
            ..PageQuery::default()
        };
        let page = probe::page(&session.client, export, query)?;
        let before = told.len();
        for item in page.items() {
            let departure: Departure =
                serde_json::from_str(item).map_err(|_| not_of_deletions(export))?;
            next = next.max(departure.id_synthese.checked_add(1));
            told.push(Deletion {
                date: departure.derniere_action,
                id_synthese: departure.id_synthese,
            });
        }
        let came = told.len() - before;
        let whole = page.total_filtered.is_none_or(|total| came as u64 >= total);
        if came == 0 || whole {
            told.sort_unstable();
            return Ok(told);
        }
    }
}

fn not_of_deletions(export: i32) -> Failure {
    Failure::new("42703", format!("export {export} is not an export of deletions"))
        .detail("Its items have an id_synthese and a derniere_action.")
        .hint("alter_source(name, deletion_export_id => ...) names the right one; clear => '{deletion_export_id}' leaves it to what the export of observations says.")
}
