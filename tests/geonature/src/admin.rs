//! The same control over HTTP, under `/_simulator/`, for tests that are not in Rust and for
//! people who play with a partner. Bodies and answers are JSON; a refusal is a 422 with `error`.
//!
//! | method and path | body | what it does |
//! |---|---|---|
//! | GET `status` | | name, count, local time, exports with their tokens |
//! | POST `reset` | | back to the first day |
//! | POST `observations` | `{column: value…}` or an array of them | inserts; answers `ids` |
//! | GET, PATCH, DELETE `observations/<id>` | `{column: value…, "_silent": true}` | one observation |
//! | PATCH `observations` | `{ids or from/to, set: {…}}` | changes many at one moment |
//! | POST `observations/delete` | `{ids or from/to, silently}` | deletes many at one moment |
//! | GET `truth/observations?from=&to=` | | full state, one JSON a line |
//! | GET `truth/metadata` | | frameworks with their datasets |
//! | POST `frameworks`, PATCH `frameworks/<uuid>` | members of `ca_data` | |
//! | POST `datasets`, PATCH `datasets/<uuid>` | members of `jdd_data`, `ca_uuid` | |
//! | POST `actors/<uuid>`, DELETE `actors/<uuid>/<uuid_actor>` | an actor | of a framework or dataset |
//! | PUT `settings` | `clock_offset_seconds`, `timezone_seconds`, `cap`, `seconds_per_request`, `seconds_per_row`, `passwords`, `tokens` | |
//! | POST `exports/<id>/columns` | `{drop}`, `{rename, to}`, `{add}` or `{add, value, kind}` | |
//! | POST, DELETE `exports/<id>/duplicates` | `{ids}` | rows that come twice |
//! | POST, DELETE `exports/<id>/hidden` | `{ids}` | rows that left the view |
//! | PUT `tampered`, DELETE `tampered`, `tampered/<id>` | `{id, column, json}` | JSON that replaces a value |
//! | GET, PUT, POST, DELETE `faults` | a list of rules, or one | see `faults` |
//! | GET, DELETE `statistics` | | how the partner was treated |
//! | DELETE `sessions` | | every session expires |
//! | DELETE `files` | | scheduled files are written afresh |

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use axum::routing::{delete, get, patch, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer;
use crate::control::Outcome;
use crate::faults::Rule;
use crate::state::Shared;
use crate::truth;

type Partner = State<Arc<Shared>>;

pub fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/status", get(status))
        .route("/reset", post(reset))
        .route("/observations", post(insert).patch(update_many))
        .route("/observations/delete", post(delete_many))
        .route(
            "/observations/{id}",
            get(observation).patch(update).delete(delete_one),
        )
        .route("/truth/observations", get(truth_of_observations))
        .route("/truth/metadata", get(truth_of_metadata))
        .route("/frameworks", post(add_framework))
        .route("/frameworks/{uuid}", patch(patch_framework))
        .route("/datasets", post(add_dataset))
        .route("/datasets/{uuid}", patch(patch_dataset))
        .route("/actors/{of}", post(add_actor))
        .route("/actors/{of}/{actor}", delete(remove_actor))
        .route("/settings", put(settings))
        .route("/exports/{id}/columns", post(change_column))
        .route(
            "/exports/{id}/duplicates",
            post(duplicate).delete(remove_duplicates),
        )
        .route("/exports/{id}/hidden", post(hide).delete(show))
        .route("/tampered", put(tamper).delete(mend_all))
        .route("/tampered/{id}", delete(mend))
        .route(
            "/faults",
            get(faults)
                .put(set_faults)
                .post(add_fault)
                .delete(clear_faults),
        )
        .route("/statistics", get(statistics).delete(clear_statistics))
        .route("/sessions", delete(forget_sessions))
        .route("/files", delete(publish_files))
}

fn said(outcome: Outcome<Value>) -> Response {
    match outcome {
        Ok(value) => answer::json(value.to_string()),
        Err(error) => {
            let body = json!({"error": error}).to_string();
            answer::with_body(StatusCode::UNPROCESSABLE_ENTITY, answer::JSON, body)
        }
    }
}

fn done(outcome: Outcome<()>) -> Response {
    said(outcome.map(|()| json!({"done": true})))
}

/// Bodies are read whatever content type a hurried curl gives them.
fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Outcome<T> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

async fn status(State(shared): Partner) -> Response {
    let exports: Value = {
        let partner = shared.partner();
        let entry = |export: &crate::views::Export| json!({"id": export.id, "label": export.label, "token": partner.tokens.get(&export.id)});
        partner.exports.values().map(entry).collect()
    };
    said(Ok(json!({
        "name": shared.config.name,
        "observations": shared.count(),
        "now": shared.now(),
        "exports": exports,
    })))
}

async fn reset(State(shared): Partner) -> Response {
    shared.reset();
    done(Ok(()))
}

async fn insert(State(shared): Partner, body: Bytes) -> Response {
    said(read::<Value>(&body).and_then(|values| match values {
        Value::Array(list) => {
            let ids: Outcome<Vec<i64>> = list.iter().map(|values| shared.insert(values)).collect();
            Ok(json!({"ids": ids?}))
        }
        one => Ok(json!({"ids": [shared.insert(&one)?]})),
    }))
}

async fn observation(State(shared): Partner, Path(id): Path<i64>) -> Response {
    said(
        shared
            .observation(id)
            .ok_or_else(|| format!("no observation {id}")),
    )
}

async fn update(State(shared): Partner, Path(id): Path<i64>, body: Bytes) -> Response {
    done(read(&body).and_then(|values| shared.update(id, &values)))
}

async fn delete_one(State(shared): Partner, Path(id): Path<i64>) -> Response {
    said(Ok(json!({"deleted": shared.delete(&[id])})))
}

/// Observations by their keys, or those from one key to another.
#[derive(Deserialize)]
struct Which {
    #[serde(default)]
    ids: Vec<i64>,
    from: Option<i64>,
    to: Option<i64>,
    #[serde(default)]
    set: Value,
    /// Without a trace in the log.
    #[serde(default)]
    silently: bool,
}

impl Which {
    fn ids(&self, shared: &Shared) -> Vec<i64> {
        if self.from.is_none() && self.to.is_none() {
            return self.ids.clone();
        }
        let partner = shared.partner();
        let window = partner
            .store
            .window(self.from.unwrap_or(i64::MIN), self.to.unwrap_or(i64::MAX));
        window.map(|position| partner.store.id(position)).collect()
    }
}

async fn update_many(State(shared): Partner, body: Bytes) -> Response {
    said(read::<Which>(&body).and_then(|which| {
        let ids = which.ids(&shared);
        shared.update_many(&ids, &which.set)?;
        Ok(json!({"updated": ids.len()}))
    }))
}

async fn delete_many(State(shared): Partner, body: Bytes) -> Response {
    said(read::<Which>(&body).map(|which| {
        let ids = which.ids(&shared);
        let deleted = if which.silently {
            shared.delete_silently(&ids)
        } else {
            shared.delete(&ids)
        };
        json!({"deleted": deleted})
    }))
}

async fn truth_of_observations(State(shared): Partner, uri: Uri) -> Response {
    let query = uri.query().unwrap_or_default();
    let bound = |wanted: &str| {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs
            .find(|(name, _)| name == wanted)
            .and_then(|(_, value)| value.parse::<i64>().ok())
    };
    let (low, high) = (
        bound("from").unwrap_or(i64::MIN),
        bound("to").unwrap_or(i64::MAX),
    );
    let lines = tokio::task::spawn_blocking(move || {
        let partner = shared.partner();
        let mut lines = String::new();
        for position in partner.store.window(low, high) {
            lines += &truth::of(&partner, &partner.store.observation(position)).to_string();
            lines.push('\n');
        }
        lines
    });
    answer::with_body(
        StatusCode::OK,
        "application/x-ndjson",
        lines.await.unwrap_or_default(),
    )
}

async fn truth_of_metadata(State(shared): Partner) -> Response {
    said(Ok(Value::Array(shared.metadata_truth())))
}

async fn add_framework(State(shared): Partner, body: Bytes) -> Response {
    done(read(&body).and_then(|values| shared.add_framework(&values)))
}

async fn patch_framework(
    State(shared): Partner,
    Path(uuid): Path<String>,
    body: Bytes,
) -> Response {
    done(read(&body).and_then(|values| shared.patch_framework(&uuid, &values)))
}

async fn add_dataset(State(shared): Partner, body: Bytes) -> Response {
    done(read(&body).and_then(|values| shared.add_dataset(&values)))
}

async fn patch_dataset(State(shared): Partner, Path(uuid): Path<String>, body: Bytes) -> Response {
    done(read(&body).and_then(|values| shared.patch_dataset(&uuid, &values)))
}

async fn add_actor(State(shared): Partner, Path(of): Path<String>, body: Bytes) -> Response {
    done(read(&body).and_then(|actor| shared.add_actor(&of, &actor)))
}

async fn remove_actor(
    State(shared): Partner,
    Path((of, actor)): Path<(String, String)>,
) -> Response {
    said(
        shared
            .remove_actor(&of, &actor)
            .map(|removed| json!({"removed": removed})),
    )
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    clock_offset_seconds: Option<i64>,
    timezone_seconds: Option<i64>,
    cap: Option<usize>,
    seconds_per_request: Option<f64>,
    seconds_per_row: Option<f64>,
    #[serde(default)]
    passwords: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    tokens: std::collections::BTreeMap<u32, String>,
}

async fn settings(State(shared): Partner, body: Bytes) -> Response {
    done(read::<Settings>(&body).map(|settings| {
        let mut partner = shared.partner_mut();
        let clock = &mut partner.clock;
        clock.offset_seconds = settings
            .clock_offset_seconds
            .unwrap_or(clock.offset_seconds);
        clock.timezone_seconds = settings.timezone_seconds.unwrap_or(clock.timezone_seconds);
        partner.cap = settings.cap.unwrap_or(partner.cap);
        let cost = &mut partner.cost;
        cost.seconds_per_request = settings
            .seconds_per_request
            .unwrap_or(cost.seconds_per_request);
        cost.seconds_per_row = settings.seconds_per_row.unwrap_or(cost.seconds_per_row);
        partner.passwords.extend(settings.passwords);
        partner.tokens.extend(settings.tokens);
    }))
}

/// One change of a view's columns.
#[derive(Deserialize)]
#[serde(untagged)]
enum ColumnChange {
    Drop {
        drop: String,
    },
    Rename {
        rename: String,
        to: String,
    },
    Constant {
        add: String,
        value: Value,
        kind: String,
    },
    Usual {
        add: String,
    },
}

async fn change_column(State(shared): Partner, Path(id): Path<u32>, body: Bytes) -> Response {
    done(read::<ColumnChange>(&body).and_then(|change| match change {
        ColumnChange::Drop { drop } => shared.drop_column(id, &drop),
        ColumnChange::Rename { rename, to } => shared.rename_column(id, &rename, &to),
        ColumnChange::Constant { add, value, kind } => {
            shared.add_column(id, &add, Some((&value, &kind)))
        }
        ColumnChange::Usual { add } => shared.add_column(id, &add, None),
    }))
}

async fn duplicate(State(shared): Partner, Path(id): Path<u32>, body: Bytes) -> Response {
    done(read::<Which>(&body).and_then(|which| {
        which
            .ids(&shared)
            .into_iter()
            .try_for_each(|key| shared.duplicate(id, key))
    }))
}

async fn remove_duplicates(State(shared): Partner, Path(id): Path<u32>) -> Response {
    done(shared.remove_duplicates(id))
}

async fn hide(State(shared): Partner, Path(id): Path<u32>, body: Bytes) -> Response {
    done(read::<Which>(&body).and_then(|which| shared.hide(id, &which.ids(&shared))))
}

async fn show(State(shared): Partner, Path(id): Path<u32>, body: Bytes) -> Response {
    done(read::<Which>(&body).and_then(|which| shared.show(id, &which.ids(&shared))))
}

/// A value to replace: `json` is a text that goes into the record as it is; without it the
/// column is left out.
#[derive(Deserialize)]
struct Tampering {
    id: i64,
    column: String,
    json: Option<String>,
}

async fn tamper(State(shared): Partner, body: Bytes) -> Response {
    done(read::<Tampering>(&body).map(|tampering| {
        shared.tamper(tampering.id, &tampering.column, tampering.json.as_deref());
    }))
}

async fn mend(State(shared): Partner, Path(id): Path<i64>) -> Response {
    shared.mend(id);
    done(Ok(()))
}

async fn mend_all(State(shared): Partner) -> Response {
    shared.mend_all();
    done(Ok(()))
}

async fn faults(State(shared): Partner) -> Json<Vec<Rule>> {
    Json(shared.faults().clone())
}

async fn set_faults(State(shared): Partner, body: Bytes) -> Response {
    done(read::<Vec<Rule>>(&body).map(|rules| shared.set_faults(rules)))
}

async fn add_fault(State(shared): Partner, body: Bytes) -> Response {
    done(read::<Rule>(&body).map(|rule| shared.add_fault(rule)))
}

async fn clear_faults(State(shared): Partner) -> Response {
    shared.clear_faults();
    done(Ok(()))
}

async fn statistics(State(shared): Partner) -> Json<crate::statistics::Statistics> {
    Json(shared.figures())
}

async fn clear_statistics(State(shared): Partner) -> Response {
    shared.clear_figures();
    done(Ok(()))
}

async fn forget_sessions(State(shared): Partner) -> Response {
    shared.forget_sessions();
    done(Ok(()))
}

async fn publish_files(State(shared): Partner) -> Response {
    shared.publish_files();
    done(Ok(()))
}
