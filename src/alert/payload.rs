//! Messages in the form that each receiver reads: JSON for NOTIFY and for webhooks, HTML for GeoNature's bell. What is
//! text stays text: no receiver is made to see markup, mentions or links in a name. Without PostgreSQL.

use serde::Deserialize;
use serde_json::{Value, json};

use super::letter::{Event, Letter, shortened};
use super::text::Language;

/// PostgreSQL takes a payload of fewer bytes than this.
const NOTIFY_LIMIT: usize = 8_000;
/// What receivers take of a text, in UTF-16 units, with room to spare.
const MATTERMOST_LIMIT: usize = 15_000;
const SLACK_LIMIT: usize = 30_000;
const TEAMS_LIMIT: usize = 8_000;
const TELEGRAM_LIMIT: usize = 4_000;
const BELL_LIMIT: usize = 20_000;

/// Whose webhook it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Template {
    Generic,
    Mattermost,
    Slack,
    Teams,
    Telegram,
}

/// The body of a request to a webhook.
pub fn webhook(template: Template, letter: &Letter, chat_id: Option<&str>) -> Value {
    match template {
        Template::Generic => generic(letter),
        Template::Mattermost => json!({
            "text": format!("**{}**\n{}", markdown(&letter.title()), letter.text(MATTERMOST_LIMIT, markdown)),
        }),
        Template::Slack => json!({
            "text": format!("{}\n{}", slack(&letter.title()), letter.text(SLACK_LIMIT, slack)),
            "mrkdwn": false,
        }),
        Template::Teams => teams(letter),
        Template::Telegram => json!({
            "chat_id": chat_id,
            "text": letter.text(TELEGRAM_LIMIT, plain),
            "disable_web_page_preview": true,
        }),
    }
}

fn generic(letter: &Letter) -> Value {
    let alerts: Vec<Value> = letter
        .events
        .iter()
        .map(|event| described(event, letter.language))
        .collect();
    json!({
        "generator": concat!("gn_harvest ", env!("CARGO_PKG_VERSION")),
        "database": letter.database,
        "channel": letter.channel,
        "test": letter.is_test(),
        "title": letter.title(),
        "alerts": alerts,
    })
}

fn described(event: &Event, language: Language) -> Value {
    json!({
        "event": event.kind.code(),
        "alert": event.alert,
        "rule": event.rule,
        "severity": event.severity,
        "source": event.source,
        "message": event.message(language),
        "run": event.run,
        "occurrences": event.occurrences,
        "opened_at": event.opened_at,
        "resolved_at": event.resolved_at,
    })
}

/// An adaptive card of runs of plain text: nothing in it is read as markdown.
fn teams(letter: &Letter) -> Value {
    let paragraph = |text: &str, weight: &str| json!({"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, "weight": weight}]});
    let text = letter.text(TEAMS_LIMIT, plain);
    let body: Vec<Value> = std::iter::once(paragraph(&letter.title(), "Bolder"))
        .chain(text.lines().map(|line| paragraph(line, "Default")))
        .collect();
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": body,
            },
        }],
    })
}

/// The payload of a NOTIFY about one event; without one it is a test. Cut to what PostgreSQL takes.
pub fn notification(letter: &Letter, event: Option<&Event>) -> String {
    let Some(event) = event else {
        return json!({"event": "test", "channel": letter.channel, "message": letter.frame().0})
            .to_string();
    };
    let mut value = described(event, letter.language);
    let mut room = NOTIFY_LIMIT;
    loop {
        let text = value.to_string();
        if text.len() < NOTIFY_LIMIT || room == 0 {
            return text;
        }
        room /= 2;
        value["message"] = json!(shortened(&event.message(letter.language), room));
    }
}

/// Title and content of a message in GeoNature's bell. The content is HTML; the title may be shown as either.
pub fn bell(letter: &Letter) -> (String, String) {
    let title = letter.title().replace('<', "‹").replace('>', "›");
    let content = letter.text(BELL_LIMIT, html).replace('\n', "<br>");
    (title, content)
}

fn plain(text: &str) -> String {
    text.to_owned()
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

/// Slack reads these three; a mention is written with them.
fn slack(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\`*_{}[]()#|<>~!".contains(c) {
            out.push('\\');
        }
        out.push(c);
        if c == '@' {
            // No mention.
            out.push('\u{200b}');
        }
    }
    out
}
