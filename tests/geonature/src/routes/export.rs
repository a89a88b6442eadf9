//! The route that a harvest lives on: the pages of an export.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::stream;
use serde_json::Value;

use crate::answer;
use crate::caller::Caller;
use crate::faults::Route;
use crate::json::write_string;
use crate::misbehave::Adjustment;
use crate::query::{self, PageRequest, Refusal};
use crate::sessions::User;
use crate::state::{Partner, Shared};
use crate::views::{Export, LICENCES, Rows};

/// Above it, a body is made while it is sent.
const ROWS_IN_MEMORY: usize = 20_000;
const ROWS_A_CHUNK: usize = 1000;

/// A page before it is written: the rows, and what is said around them.
struct Page {
    keys: Keys,
    limit: usize,
    page: usize,
    total: i64,
    total_filtered: usize,
}

enum Keys {
    /// Positions in the store, good as long as the lock is held.
    Positions(Vec<usize>),
    Items(Vec<Value>),
}

pub async fn export(
    State(shared): State<Arc<Shared>>,
    Path(export): Path<String>,
    adjustment: Option<Extension<Adjustment>>,
    caller: Caller,
) -> Response {
    let adjustment = adjustment
        .map(|Extension(adjustment)| adjustment)
        .unwrap_or_default();
    let id = export.parse::<u32>().ok();
    let work = tokio::task::spawn_blocking(move || {
        let (response, rows) = answer_page(&shared, id, &caller, adjustment);
        let cost = shared.partner().cost;
        shared
            .statistics()
            .served(Route::Export.name(), rows as u64);
        (
            response,
            cost.seconds_per_request
                + (cost.seconds_per_row + adjustment.seconds_per_row) * rows as f64,
        )
    });
    match work.await {
        Ok((response, seconds)) => {
            if let Ok(pause) = Duration::try_from_secs_f64(seconds)
                && !pause.is_zero()
            {
                tokio::time::sleep(pause).await;
            }
            response
        }
        Err(_) => answer::with_body(StatusCode::INTERNAL_SERVER_ERROR, answer::HTML, ""),
    }
}

fn answer_page(
    shared: &Arc<Shared>,
    id: Option<u32>,
    caller: &Caller,
    adjustment: Adjustment,
) -> (Response, usize) {
    let refuse = |status| (answer::error(caller, status), 0);
    let partner = shared.partner();
    let Some(export) = id.and_then(|id| partner.exports.get(&id)) else {
        return refuse(StatusCode::NOT_FOUND);
    };
    if !may_read(&partner, export, caller) {
        return refuse(StatusCode::FORBIDDEN);
    }
    if export.rows == Rows::Missing {
        return refuse(StatusCode::INTERNAL_SERVER_ERROR);
    }
    let cap = adjustment.cap.unwrap_or(partner.cap);
    let mut page = match find_page(&partner, export, &caller.parameters, cap) {
        Ok(page) => page,
        Err(Refusal::Broken) => return refuse(StatusCode::INTERNAL_SERVER_ERROR),
        Err(Refusal::BadRequest(description)) => {
            let refused = answer::error_saying(caller, StatusCode::BAD_REQUEST, &description);
            return (refused, 0);
        }
    };
    page.total = adjustment.total.unwrap_or(page.total);
    let rows = match &page.keys {
        Keys::Positions(positions) => positions.len(),
        Keys::Items(items) => items.len(),
    };
    let body = match &page.keys {
        Keys::Positions(positions) if rows > ROWS_IN_MEMORY => {
            let ids = positions
                .iter()
                .map(|position| partner.store.id(*position))
                .collect();
            streamed(
                shared.clone(),
                export.id,
                ids,
                opening(export),
                closing(export, &page),
            )
        }
        _ => Body::from(written(&partner, export, &page)),
    };
    (answer::json(body), rows)
}

/// A token decides alone when there is one; otherwise the session does.
fn may_read(partner: &Partner, export: &Export, caller: &Caller) -> bool {
    if let Some(token) = &caller.token {
        return !export.forbidden && partner.tokens.get(&export.id) == Some(token)
            || *token == administrator_token(export.id);
    }
    match caller.user {
        _ if export.public => true,
        Some(User::Admin) => true,
        Some(User::Harvester) => !export.forbidden,
        Some(User::WithoutRight) | None => false,
    }
}

pub fn administrator_token(export: u32) -> String {
    format!("jeton-admin-{export}")
}

fn find_page(
    partner: &Partner,
    export: &Export,
    parameters: &[(String, String)],
    cap: usize,
) -> Result<Page, Refusal> {
    let request = PageRequest::read(parameters, export, cap)?;
    let start = request.start();
    let (keys, total, filtered) = if export.rows == Rows::Frameworks {
        let items = partner.metadata.export_items();
        let total = items.len();
        let items: Vec<Value> = items
            .into_iter()
            .filter(|item| request.wants_item(item))
            .collect();
        let filtered = items.len();
        let limit = request.limit.unwrap_or(usize::MAX);
        let items = items.into_iter().skip(start).take(limit).collect();
        (Keys::Items(items), total, filtered)
    } else {
        let renderer = partner.renderer(export);
        let selection = query::select(&partner.store, &renderer, &request);
        let positions = selection.page(start, request.limit);
        (
            Keys::Positions(positions),
            query::total(&partner.store, export),
            selection.len(),
        )
    };
    Ok(Page {
        keys,
        limit: request.limit.unwrap_or(0),
        page: request.page,
        total: total as i64,
        // Right on the first page only, as the real server has it.
        total_filtered: filtered.saturating_sub(start),
    })
}

fn opening(export: &Export) -> &'static [u8] {
    if export.geometry {
        b"{\"items\": {\"features\": ["
    } else {
        b"{\"items\": ["
    }
}

fn closing(export: &Export, page: &Page) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(if export.geometry {
        b"], \"type\": \"FeatureCollection\"}"
    } else {
        b"]"
    });
    let licence = &LICENCES[export.licence];
    out.extend_from_slice(b", \"license\": {\"href\": ");
    write_string(&mut out, licence.href);
    out.extend_from_slice(b", \"name\": ");
    write_string(&mut out, licence.name);
    let Page {
        limit,
        page,
        total,
        total_filtered,
        ..
    } = page;
    out.extend_from_slice(
        format!(
            "}}, \"limit\": {limit}, \"page\": {page}, \"total\": {total}, \"total_filtered\": {total_filtered}}}"
        )
        .as_bytes(),
    );
    out
}

fn written(partner: &Partner, export: &Export, page: &Page) -> Vec<u8> {
    let mut out = opening(export).to_vec();
    match &page.keys {
        Keys::Positions(positions) => {
            write_rows(
                partner,
                export,
                positions.iter().copied(),
                &mut true,
                &mut out,
            );
        }
        Keys::Items(items) => {
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.extend_from_slice(b", ");
                }
                crate::json::write_value(&mut out, &export.restricted(item));
            }
        }
    }
    out.extend_from_slice(&closing(export, page));
    out
}

fn write_rows(
    partner: &Partner,
    export: &Export,
    positions: impl Iterator<Item = usize>,
    first: &mut bool,
    out: &mut Vec<u8>,
) {
    let renderer = partner.renderer(export);
    for position in positions {
        let row = partner.store.observation(position);
        if !renderer.is_shown(&row) {
            continue;
        }
        if !std::mem::take(first) {
            out.extend_from_slice(b", ");
        }
        renderer.item(out, &row);
    }
}

/// A large body, made a thousand rows at a time. A row deleted meanwhile is left out.
fn streamed(
    shared: Arc<Shared>,
    export: u32,
    ids: Vec<i64>,
    opening: &'static [u8],
    closing: Vec<u8>,
) -> Body {
    let state = (ids.into_iter(), opening.to_vec(), true, Some(closing));
    Body::from_stream(stream::unfold(
        state,
        move |(mut ids, mut out, mut first, closing)| {
            let shared = shared.clone();
            async move {
                let mut closing = closing;
                closing.as_ref()?;
                let chunk: Vec<i64> = ids.by_ref().take(ROWS_A_CHUNK).collect();
                {
                    let partner = shared.partner();
                    if let Some(export) = partner.exports.get(&export) {
                        let positions = chunk.iter().filter_map(|id| partner.store.position(*id));
                        write_rows(&partner, export, positions, &mut first, &mut out);
                    }
                }
                if chunk.len() < ROWS_A_CHUNK {
                    out.extend(closing.take()?);
                }
                Some((
                    Ok::<_, std::io::Error>(out),
                    (ids, Vec::new(), first, closing),
                ))
            }
        },
    ))
}

/// The real route queues a file for a worker that most partners do not run.
pub async fn queue_file(
    Path((export, format)): Path<(String, String)>,
    caller: Caller,
) -> Response {
    let known =
        export.parse::<u32>().is_ok() && ["csv", "json", "geojson", "gpkg"].contains(&&*format);
    match caller.user {
        _ if !known => answer::error(&caller, StatusCode::NOT_FOUND),
        None => answer::login_needed(&caller),
        Some(user) if !user.may_export() => answer::error(&caller, StatusCode::FORBIDDEN),
        Some(_) => answer::json("{\"api_success\": \"in_progress\"}"),
    }
}
