//! The modules that an account sees; the one of the exports says where they are.

use axum::response::Response;
use serde_json::{Value, json};

use crate::answer;
use crate::caller::Caller;
use crate::sessions::User;

const CREATED: &str = "2024-01-15 16:43:34.397131";

pub async fn modules(caller: Caller) -> Response {
    let Some(user) = caller.user else {
        return answer::login_needed(&caller);
    };
    let mut list = Vec::new();
    if user.may_export() {
        list.push(exports(user));
    }
    list.push(geonature());
    answer::json(format!("{}\n", Value::Array(list)))
}

fn rights(read: u8) -> Value {
    json!({"C": 0, "D": 0, "E": 0, "R": read, "U": 0, "V": 0})
}

fn exports(user: User) -> Value {
    json!({
        "active_backend": true,
        "active_frontend": true,
        "cruved": rights(if user == User::Admin { 3 } else { 1 }),
        "destination": [],
        "id_module": 6,
        "meta_create_date": CREATED,
        "meta_update_date": null,
        "module_code": "EXPORTS",
        "module_comment": null,
        "module_desc": null,
        "module_doc_url": null,
        "module_external_url": "",
        "module_group": null,
        "module_label": "Exports",
        "module_objects": {},
        "module_order": null,
        "module_path": "exports",
        "module_picto": "fa-download",
        "module_target": "_self",
        "module_url": "exports",
        "ng_module": "exports",
        "objects": [],
        "type": "base",
        "version": "1.8.2",
    })
}

fn geonature() -> Value {
    let organisms = json!({
        "code_object": "ORGANISM",
        "cruved": rights(0),
        "description_object": "Gestion des organismes",
        "id_object": 14,
    });
    json!({
        "active_backend": false,
        "active_frontend": false,
        "cruved": rights(0),
        "destination": [],
        "id_module": 0,
        "meta_create_date": CREATED,
        "meta_update_date": CREATED,
        "module_code": "GEONATURE",
        "module_comment": "",
        "module_desc": "Module parent",
        "module_doc_url": "https://example.org/manuel",
        "module_external_url": null,
        "module_group": null,
        "module_label": "GeoNature",
        "module_objects": {"ORGANISM": organisms},
        "module_order": null,
        "module_path": "/geonature",
        "module_picto": "",
        "module_target": "",
        "module_url": "",
        "ng_module": null,
        "objects": [organisms],
        "type": "base",
    })
}
