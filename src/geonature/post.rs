//! One POST of JSON to an address that is a secret itself, such as a webhook: the same client as for partners (no
//! redirects, no link-local addresses, bounded time and size), and no error that shows more than the host.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use url::Url;

use super::address::refuse_literal;
use super::control::{Spawn, Stop, Traffic};
use super::endpoint::{Credentials, Endpoint, Limits};
use super::error::{FetchError, Seen, excerpt};
use super::exchange::{Answer, Transport};
use super::mask::Mask;
use super::retry::retry_after;

/// The part of an answer that is read.
const MAX_ANSWER: u64 = 64 * 1024;

pub struct Post {
    pub url: String,
    /// Sent in the header `Authorization`.
    pub bearer: Option<String>,
    pub body: String,
    pub ca_pem: Option<Vec<u8>>,
    pub user_agent: String,
    pub timeout: Duration,
}

impl Post {
    /// Sends it; anything but a 2xx is an error.
    pub fn send(&self, spawn: Spawn) -> Result<(), FetchError> {
        let url = parse_secret_url(&self.url)?;
        let shown = format!("{}/***", url.origin().ascii_serialization());
        let limits = Limits {
            connect_timeout: self.timeout,
            request_timeout: self.timeout,
            max_body_bytes: MAX_ANSWER,
            user_agent: self.user_agent.clone(),
            ca_pem: self.ca_pem.clone(),
            ..Limits::default()
        };
        let endpoint = Endpoint {
            url: url.clone(),
            credentials: Credentials::Public,
            module_path: None,
        };
        let (traffic, stop) = (Arc::new(Traffic::new()), Arc::new(Stop::new()));
        let transport = Transport::new(&endpoint, &limits, traffic, stop, spawn)?;
        let mut request = transport
            .request(reqwest::Method::POST, url.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(self.body.clone());
        if let Some(bearer) = &self.bearer {
            let mut value = HeaderValue::from_str(&format!("Bearer {bearer}"))
                .map_err(|_| FetchError::InvalidToken)?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let answer = transport.exchange(request, &shown)?;
        match answer.status {
            200..=299 => Ok(()),
            _ => Err(self.refusal(&answer, &url, shown)),
        }
    }

    fn refusal(&self, answer: &Answer, url: &Url, shown: String) -> FetchError {
        let mut secrets: Vec<String> = url
            .path_segments()
            .into_iter()
            .flatten()
            .map(str::to_owned)
            .collect();
        secrets.extend(url.query().map(str::to_owned));
        secrets.extend(self.bearer.clone());
        secrets.push(url.path().to_owned());
        // A word such as "hooks" is no secret.
        secrets.retain(|secret| secret.len() >= 8);
        let mask = Mask::of(secrets);
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let seen = Box::new(Seen {
            url: shown,
            status: Some(answer.status),
            request_id: None,
            content_type: answer.content_type(),
            excerpt: mask.apply(&text).as_deref().and_then(excerpt),
        });
        FetchError::Status {
            status: answer.status,
            retry_after: answer
                .header(RETRY_AFTER)
                .and_then(|value| retry_after(&value, None)),
            seen,
        }
    }
}

/// Reads an address that may hold a secret anywhere behind its host. No error repeats it.
pub fn parse_secret_url(text: &str) -> Result<Url, FetchError> {
    let refuse = |reason: &str| FetchError::InvalidUrl {
        reason: reason.to_owned(),
    };
    let url = Url::parse(text.trim()).map_err(|error| refuse(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(refuse("it must begin with https:// or http:// and a host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("it contains a user name or a password"));
    }
    refuse_literal(&url)?;
    Ok(url)
}
