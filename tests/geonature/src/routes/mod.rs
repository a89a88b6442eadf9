//! The part of GeoNature's API that a harvester meets, one file a subject.

pub mod export;
pub mod export_list;
pub mod file;
pub mod log;
pub mod login;
pub mod modules;

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};

use crate::answer;
use crate::caller::Caller;
use crate::state::Shared;

pub fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/api/auth/login", post(login::login))
        .route("/api/gn_commons/modules", get(modules::modules))
        .route("/api/exports/", get(export_list::export_list))
        .route("/api/exports/api/{export}", get(export::export))
        .route("/api/exports/{export}/{format}", get(export::queue_file))
        .route("/api/synthese/log", get(log::log))
        .route("/api/media/exports/schedules/{name}", get(file::file))
        .fallback(not_found)
}

async fn not_found(caller: Caller) -> Response {
    answer::error(&caller, StatusCode::NOT_FOUND)
}
