//! The log of the synthesis: what was created, changed and deleted, sorted by date only, so
//! that rows with the same date come in another order at every request.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::answer;
use crate::caller::Caller;
use crate::clock::{parse_timestamp, timestamp};
use crate::faults::Route;
use crate::query::first;
use crate::random::mix;
use crate::state::{Partner, Shared};

const DEFAULT_LIMIT: usize = 50;

struct Entry {
    id: i64,
    action: char,
    at: i64,
}

#[derive(Clone, Copy)]
enum Bound {
    From,
    After,
    Until,
    Before,
    At,
}

impl Bound {
    fn holds(self, at: i64, limit: i64) -> bool {
        match self {
            Self::From => at >= limit,
            Self::After => at > limit,
            Self::Until => at <= limit,
            Self::Before => at < limit,
            Self::At => at == limit,
        }
    }
}

pub async fn log(State(shared): State<Arc<Shared>>, caller: Caller) -> Response {
    if caller.user.is_none() {
        return answer::login_needed(&caller);
    }
    let bounds = match bounds(&caller.parameters) {
        Ok(bounds) => bounds,
        Err(value) => {
            let description = format!("Invalid isoformat string: '{value}'");
            return answer::error_saying(&caller, StatusCode::BAD_REQUEST, &description);
        }
    };
    let work = tokio::task::spawn_blocking(move || {
        let (body, rows) = page(&shared, &caller, &bounds);
        shared.statistics().served(Route::Log.name(), rows as u64);
        body
    });
    answer::json(work.await.unwrap_or_default())
}

fn bounds(parameters: &[(String, String)]) -> Result<Vec<(Bound, i64)>, String> {
    const OPERATORS: [(&str, Bound); 4] = [
        ("gte:", Bound::From),
        ("gt:", Bound::After),
        ("lte:", Bound::Until),
        ("lt:", Bound::Before),
    ];
    let values = parameters
        .iter()
        .filter(|(name, _)| name == "meta_last_action_date");
    values
        .map(|(_, value)| {
            let operator = OPERATORS
                .iter()
                .find(|(prefix, _)| value.starts_with(prefix));
            let (bound, date) = match operator {
                Some((prefix, bound)) => (*bound, &value[prefix.len()..]),
                None => (Bound::At, value.as_str()),
            };
            parse_timestamp(date)
                .map(|at| (bound, at))
                .ok_or_else(|| date.to_owned())
        })
        .collect()
}

fn page(shared: &Shared, caller: &Caller, bounds: &[(Bound, i64)]) -> (String, usize) {
    let number = |name: &str, default: usize| {
        let value = first(&caller.parameters, name).and_then(|value| value.parse().ok());
        value.filter(|value| *value > 0).unwrap_or(default)
    };
    let (limit, page) = (number("limit", DEFAULT_LIMIT), number("page", 1));
    let wanted = first(&caller.parameters, "last_action");
    let mut entries = entries(&shared.partner(), wanted, bounds);
    let salt = shared.fresh();
    entries.sort_unstable_by_key(|entry| (entry.at, mix(entry.id as u64 ^ salt)));
    if first(&caller.parameters, "sort").is_some_and(|sort| sort.ends_with(":desc")) {
        entries.reverse();
    }
    let total = entries.len();
    let start = (page - 1).saturating_mul(limit);
    let items: Vec<String> = entries
        .iter()
        .skip(start)
        .take(limit)
        .map(|entry| {
            format!(
                "{{\"id_synthese\":{},\"last_action\":\"{}\",\"meta_last_action_date\":\"{}\"}}",
                entry.id,
                entry.action,
                timestamp(entry.at)
            )
        })
        .collect();
    let body = format!(
        "{{\"items\":[{}],\"limit\":{limit},\"page\":{page},\"total\":{total}}}\n",
        items.join(",")
    );
    (body, items.len())
}

fn entries(partner: &Partner, wanted: Option<&str>, bounds: &[(Bound, i64)]) -> Vec<Entry> {
    let inside = |at: i64| bounds.iter().all(|(bound, limit)| bound.holds(at, *limit));
    let asked = |action: &str| wanted.is_none_or(|wanted| wanted == action);
    let mut entries = Vec::new();
    if asked("D") {
        let deletions = partner
            .store
            .deletions()
            .iter()
            .filter(|deletion| inside(deletion.at));
        entries.extend(deletions.map(|deletion| Entry {
            id: deletion.id,
            action: 'D',
            at: deletion.at,
        }));
    }
    if asked("I") || asked("U") {
        for position in 0..partner.store.len() {
            let action = if partner.store.is_modified(position) {
                'U'
            } else {
                'I'
            };
            let at = partner.store.last_action(position);
            if asked(if action == 'U' { "U" } else { "I" }) && inside(at) {
                entries.push(Entry {
                    id: partner.store.id(position),
                    action,
                    at,
                });
            }
        }
    }
    entries
}
