//! What sql/alert.sql needs to know of rules and of what alerts say.

use pgrx::prelude::*;

use crate::alert;
use crate::alert::rule::{RULES, Rule};
use crate::alert::text::{Facts, Language, message};
use crate::error::Failure;
use crate::geonature;

/// The rules and their defaults.
#[pg_extern(immutable, parallel_safe)]
#[allow(clippy::type_complexity)]
fn rule_definitions() -> TableIterator<
    'static,
    (
        name!(rule, String),
        name!(severity, String),
        name!(threshold, Option<f64>),
        name!(unit, Option<String>),
        name!(english, String),
        name!(french, String),
    ),
> {
    let rows: Vec<_> = RULES
        .iter()
        .map(|definition| {
            (
                definition.code.to_owned(),
                definition.severity.code().to_owned(),
                definition.threshold,
                (!definition.unit.is_empty()).then(|| definition.unit.to_owned()),
                definition.english.to_owned(),
                definition.french.to_owned(),
            )
        })
        .collect();
    TableIterator::new(rows)
}

/// What an alert says.
#[pg_extern(immutable, parallel_safe, strict)]
fn alert_text(rule: &str, facts: &str, in_french: bool) -> String {
    let language = if in_french {
        Language::French
    } else {
        Language::English
    };
    let facts: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(facts).unwrap_or_default();
    match Rule::of(rule) {
        Some(rule) => message(rule, &Facts(&facts), language),
        // Of a later version.
        None => rule.to_owned(),
    }
}

/// Refuses what is not an e-mail address.
#[pg_extern(immutable, strict)]
fn check_email_address(address: &str) {
    if let Err(failure) = alert::mailbox(address) {
        failure.raise()
    }
}

/// Scheme, host and port of the address of a webhook; what follows may be a secret.
#[pg_extern(immutable, strict)]
fn webhook_origin(url: &str) -> String {
    match geonature::parse_secret_url(url) {
        Ok(url) => url.origin().ascii_serialization(),
        Err(error) => Failure::new("22023", "the address is not usable")
            .detail(format!("{error}."))
            .hint("Give the whole address, such as https://chat.example.org/hooks/...")
            .raise(),
    }
}

/// Sends a test by a channel in a worker; the number of its delivery.
#[pg_extern(strict)]
fn start_test(channel_id: i32) -> i64 {
    alert::test(channel_id).unwrap_or_else(|failure| failure.raise())
}

/// Has a worker look at the rules that depend on time and send what waits.
#[pg_extern]
fn start_sending() {
    alert::send().unwrap_or_else(|failure| failure.raise())
}

extension_sql!(
    "COMMENT ON FUNCTION gn_harvest.rule_definitions() IS 'The rules of alerts, with their severity and threshold by default.';
     COMMENT ON FUNCTION gn_harvest.alert_text(text, text, boolean) IS 'What an alert says, from its rule and the facts that are kept of it.';
     COMMENT ON FUNCTION gn_harvest.check_email_address(text) IS 'Refuses what is not an e-mail address.';
     COMMENT ON FUNCTION gn_harvest.webhook_origin(text) IS 'Scheme, host and port of the address of a webhook, or an error that does not repeat it.';
     COMMENT ON FUNCTION gn_harvest.start_test(integer) IS 'Sends a test by a channel in a background worker; returns the number of its delivery.';
     COMMENT ON FUNCTION gn_harvest.start_sending() IS 'Has a background worker look at the rules that depend on time and send what waits.';",
    name = "alert_functions",
    requires = [rule_definitions, alert_text, check_email_address, webhook_origin, start_test, start_sending]
);
