//! Answers in the shape that GeoNature gives them: JSON as each of its parts writes it, and
//! errors in JSON or HTML according to what the client accepts.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, LOCATION, VARY};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

use crate::caller::Caller;
use crate::json;

pub const JSON: &str = "application/json";
pub const HTML: &str = "text/html; charset=utf-8";

pub fn with_body(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Body>,
) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("Cookie"));
    response
}

pub fn json(body: impl Into<Body>) -> Response {
    with_body(StatusCode::OK, JSON, body)
}

/// What the web framework says of a status when nobody says better.
fn usual_description(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => {
            "The server could not verify that you are authorized to access the URL requested. \
             You either supplied the wrong credentials (e.g. a bad password), or your browser \
             doesn't understand how to supply the credentials required."
        }
        StatusCode::FORBIDDEN => {
            "You don't have the permission to access the requested resource. It is either \
             read-protected or not readable by the server."
        }
        StatusCode::NOT_FOUND => {
            "The requested URL was not found on the server. If you entered the URL manually \
             please check your spelling and try again."
        }
        StatusCode::RANGE_NOT_SATISFIABLE => "The server cannot provide the requested range.",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            "Did not attempt to load JSON data because the request Content-Type was not \
             'application/json'."
        }
        StatusCode::INTERNAL_SERVER_ERROR => {
            "The server encountered an internal error and was unable to complete your request. \
             Either the server is overloaded or there is an error in the application."
        }
        StatusCode::TOO_MANY_REQUESTS => {
            "This user has exceeded an allotted request count. Try again later."
        }
        _ => "The server is temporarily unable to answer.",
    }
}

fn name(status: StatusCode) -> &'static str {
    match status {
        StatusCode::RANGE_NOT_SATISFIABLE => "Requested Range Not Satisfiable",
        other => other.canonical_reason().unwrap_or("Unknown Error"),
    }
}

/// An error with its usual description.
pub fn error(caller: &Caller, status: StatusCode) -> Response {
    error_saying(caller, status, usual_description(status))
}

pub fn error_saying(caller: &Caller, status: StatusCode, description: &str) -> Response {
    if !caller.prefers_json {
        return with_body(status, HTML, html(status, description));
    }
    let mut body = Vec::new();
    body.extend_from_slice(
        format!("{{\"code\": {}, \"description\": ", status.as_u16()).as_bytes(),
    );
    json::write_string(&mut body, description);
    body.extend_from_slice(b", \"name\": ");
    json::write_string(&mut body, name(status));
    if status != StatusCode::UNAUTHORIZED {
        body.extend_from_slice(b", \"request_id\": ");
        json::write_string(&mut body, &caller.request_id);
    }
    body.push(b'}');
    // The real server's 500 has a JSON body under an HTML content type.
    let content_type = if status == StatusCode::INTERNAL_SERVER_ERROR {
        HTML
    } else {
        JSON
    };
    with_body(status, content_type, body)
}

pub fn html(status: StatusCode, description: &str) -> String {
    let name = name(status);
    let description = description.replace('\'', "&#39;");
    format!(
        "<!doctype html>\n<html lang=en>\n<title>{} {name}</title>\n<h1>{name}</h1>\n<p>{description}</p>\n",
        status.as_u16()
    )
}

/// What a route that needs a login answers without one: 401, or a redirect to the page where
/// people log in.
pub fn login_needed(caller: &Caller) -> Response {
    unauthorized(caller, usual_description(StatusCode::UNAUTHORIZED))
}

pub fn unauthorized(caller: &Caller, description: &str) -> Response {
    if caller.prefers_json {
        return error_saying(caller, StatusCode::UNAUTHORIZED, description);
    }
    let next: String = form_urlencoded::byte_serialize(caller.url.as_bytes()).collect();
    let target = format!("{}/#/login?next={next}", caller.origin);
    let body = format!(
        "<!doctype html>\n<html lang=en>\n<title>Redirecting...</title>\n<h1>Redirecting...</h1>\n\
         <p>You should be redirected automatically to the target URL: <a href=\"{target}\">{target}</a>. \
         If not, click the link.\n"
    );
    let mut response = with_body(StatusCode::FOUND, HTML, body);
    if let Ok(location) = HeaderValue::from_str(&target) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}
