//! One message to a webhook: a POST of JSON, no redirect followed, in bounded time. Without PostgreSQL, in any thread.

use std::time::Duration;

use super::channel::Webhook;
use super::letter::Letter;
use super::payload::{self, Template};
use crate::geonature::{FetchError, Post, Spawn};

/// Sends a letter.
pub fn deliver(
    webhook: &Webhook,
    letter: &Letter,
    user_agent: String,
    timeout: Duration,
    spawn: Spawn,
) -> Result<(), FetchError> {
    let body = payload::webhook(webhook.template, letter, webhook.chat_id.as_deref());
    let token = webhook.token.clone();
    let (url, bearer) = match (webhook.template, token) {
        (Template::Telegram, Some(token)) => {
            let base = webhook.url.trim_end_matches('/');
            (format!("{base}/bot{token}/sendMessage"), None)
        }
        (_, token) => (webhook.url.clone(), token),
    };
    Post {
        url,
        bearer,
        body: body.to_string(),
        ca_pem: webhook.ca_certificate.clone().map(String::into_bytes),
        user_agent,
        timeout,
    }
    .send(spawn)
}
