//! The list of the exports that an account may see, tokens of everybody included: the real
//! server gives them away.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use crate::answer;
use crate::caller::Caller;
use crate::routes::export::administrator_token;
use crate::sessions::User;
use crate::state::{Partner, Shared};
use crate::views::{Export, LICENCES};

pub async fn export_list(State(shared): State<Arc<Shared>>, caller: Caller) -> Response {
    let Some(user) = caller.user else {
        return answer::login_needed(&caller);
    };
    if !user.may_export() {
        return answer::error(&caller, StatusCode::FORBIDDEN);
    }
    let partner = shared.partner();
    let visible = |export: &&Export| user == User::Admin || !export.forbidden;
    let list: Value = partner
        .exports
        .values()
        .filter(visible)
        .map(|export| entry(&partner, export))
        .collect();
    answer::json(crate::json::text(&list))
}

fn entry(partner: &Partner, export: &Export) -> Value {
    let licence = &LICENCES[export.licence];
    let mut tokens = vec![json!({
        "id_role": User::Admin.id_role(),
        "token": administrator_token(export.id),
    })];
    if !export.public && !export.forbidden {
        tokens.push(json!({
            "id_role": User::Harvester.id_role(),
            "token": partner.tokens.get(&export.id),
        }));
    }
    json!({
        "cor_roles_exports": tokens,
        "desc": export.description,
        "geometry_field": export.geometry.then_some("geom"),
        "geometry_srid": export.geometry.then_some(4326),
        "id": export.id,
        "id_licence": licence.id,
        "label": export.label,
        "licence": {
            "id_licence": licence.id,
            "name_licence": licence.name,
            "url_licence": licence.href,
        },
        "public": export.public,
        "schema_name": "gn_exports",
        "view_name": export.view_name,
        "view_pk_column": export.key,
    })
}
