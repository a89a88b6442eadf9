//! A request before it knows its base and its credentials, and how its URL is shown.

use reqwest::Method;
use url::Url;

use super::endpoint::join;
use super::page::PageQuery;

/// Parameters whose values are never shown.
const SECRET_PARAMETERS: [&str; 6] = ["token", "api-key", "api_key", "apikey", "password", "key"];
/// With what a request is let in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Auth {
    Nothing,
    /// Session cookie or token, as the endpoint says.
    Export,
    /// Session cookie and JWT: routes that need an account.
    Account,
}

/// A request, before it knows its base and its credentials.
pub(super) struct Ask {
    pub method: Method,
    /// Path after the base, unencoded.
    pub path: Vec<String>,
    pub query: Vec<(String, String)>,
    pub auth: Auth,
    pub body: Option<String>,
    pub export_id: Option<i32>,
}

impl Ask {
    pub fn get(path: &[&str], auth: Auth) -> Self {
        Self {
            method: Method::GET,
            path: path.iter().map(|part| (*part).to_owned()).collect(),
            query: Vec::new(),
            auth,
            body: None,
            export_id: None,
        }
    }

    pub fn url(&self, base: &Url) -> Url {
        let mut url = join(base, self.path.iter().map(String::as_str));
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        url
    }
}

/// The request of a page of an export.
pub(super) fn export_ask(module: &str, export_id: i32, query: &PageQuery) -> Ask {
    let mut ask = Ask::get(&["api"], Auth::Export);
    let parts = module.split('/').filter(|part| !part.is_empty());
    ask.path.extend(parts.map(str::to_owned));
    ask.path.push("api".to_owned());
    ask.path.push(export_id.to_string());
    if let Some(limit) = query.limit {
        ask.query.push(("limit".to_owned(), limit.to_string()));
    }
    ask.query
        .push(("offset".to_owned(), query.offset.to_string()));
    if let Some(column) = &query.order_by {
        ask.query.push(("orderby".to_owned(), column.clone()));
    }
    ask.query.extend(query.filters.iter().cloned());
    ask.export_id = Some(export_id);
    ask
}

/// A URL as it may be shown: without fragment, secrets masked.
pub(super) fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    shown.set_fragment(None);
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let secret = |name: &str| {
        SECRET_PARAMETERS
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
    };
    if pairs.iter().any(|(name, _)| secret(name)) {
        shown
            .query_pairs_mut()
            .clear()
            .extend_pairs(pairs.iter().map(|(name, value)| {
                let value = if secret(name) { "***" } else { value.as_str() };
                (name.as_str(), value)
            }));
    }
    shown.into()
}
