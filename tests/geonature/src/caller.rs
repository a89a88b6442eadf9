//! Who asks, what answer they like and with which parameters: read once from the head of a
//! request, for every route.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::{ACCEPT, AUTHORIZATION, COOKIE, HOST};
use axum::http::request::Parts;

use crate::random::uuid_text;
use crate::sessions::User;
use crate::state::Shared;

/// The number of a request, also in its header X-Request-ID.
#[derive(Clone)]
pub struct RequestId(pub String);

pub struct Caller {
    pub prefers_json: bool,
    pub request_id: String,
    pub user: Option<User>,
    /// Token of an export, from the query or from the header `api-key`.
    pub token: Option<String>,
    pub parameters: Vec<(String, String)>,
    /// `http://host:port`.
    pub origin: String,
    pub url: String,
}

impl FromRequestParts<Arc<Shared>> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        shared: &Arc<Shared>,
    ) -> Result<Self, Self::Rejection> {
        let header = |name: &str| {
            parts
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        let query = parts.uri.query().unwrap_or_default();
        let parameters: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        let token = crate::query::first(&parameters, "token")
            .or_else(|| header("api-key"))
            .map(str::to_owned);
        let cookie = header(COOKIE.as_str()).and_then(session_cookie);
        let jwt = header(AUTHORIZATION.as_str()).and_then(|value| value.strip_prefix("Bearer "));
        let sessions = shared.sessions();
        let user = cookie
            .and_then(|cookie| sessions.by_cookie(cookie))
            .or_else(|| sessions.by_jwt(jwt?.trim()));
        let origin = format!("http://{}", header(HOST.as_str()).unwrap_or("127.0.0.1"));
        let fresh = || uuid_text(u128::from(shared.fresh()) << 64 | u128::from(shared.fresh()));
        Ok(Self {
            prefers_json: prefers_json(header(ACCEPT.as_str()).unwrap_or("*/*")),
            request_id: parts
                .extensions
                .get::<RequestId>()
                .map_or_else(fresh, |id| id.0.clone()),
            user,
            token,
            parameters,
            url: format!("{origin}{}", parts.uri.path()),
            origin,
        })
    }
}

fn session_cookie(cookies: &str) -> Option<&str> {
    cookies
        .split(';')
        .find_map(|cookie| cookie.trim().strip_prefix("session="))
}

/// JSON comes before HTML in the client's Accept; anything at all means HTML.
fn prefers_json(accept: &str) -> bool {
    let quality = |wanted: &str| {
        accept
            .split(',')
            .filter_map(|range| {
                let mut parts = range.split(';').map(str::trim);
                (parts.next()? == wanted).then(|| {
                    parts
                        .find_map(|part| part.strip_prefix("q=")?.parse::<f64>().ok())
                        .unwrap_or(1.0)
                })
            })
            .fold(0.0, f64::max)
    };
    quality("application/json") > quality("text/html").max(0.0)
}

#[cfg(test)]
mod tests {
    use super::prefers_json;

    #[test]
    fn only_an_explicit_wish_gives_json() {
        assert!(prefers_json("application/json"));
        assert!(prefers_json("text/html;q=0.5, application/json"));
        assert!(!prefers_json("*/*"));
        assert!(!prefers_json("text/html, application/json;q=0.9"));
    }
}
