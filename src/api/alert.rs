//! What sql/alert.sql needs to know of rules and of what alerts say.

use pgrx::prelude::*;

use crate::alert::rule::{RULES, Rule};
use crate::alert::text::{Facts, Language, message};

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

extension_sql!(
    "COMMENT ON FUNCTION gn_harvest.rule_definitions() IS 'The rules of alerts, with their severity and threshold by default.';
     COMMENT ON FUNCTION gn_harvest.alert_text(text, text, boolean) IS 'What an alert says, from its rule and the facts that are kept of it.';",
    name = "alert_functions",
    requires = [rule_definitions, alert_text]
);
