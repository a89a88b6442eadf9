//! What a message says of one event or of many, as plain text in French or in English. Names and values come from
//! others: whatever they hold, a line stays a line. Without PostgreSQL.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::rule::{Rule, Severity};
use super::text::{Facts, Language, message, one_line};

/// A line is cut after so many characters.
const LONGEST_LINE: usize = 1_000;

/// What has happened to an alert.
#[derive(Debug, Clone, Deserialize)]
pub struct Event {
    pub kind: Kind,
    pub alert: i64,
    pub rule: String,
    pub severity: String,
    /// None: it is not about a source.
    pub source: Option<String>,
    pub facts: Map<String, Value>,
    pub run: Option<i64>,
    pub occurrences: i64,
    pub opened_at: String,
    pub resolved_at: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Opened,
    Resolved,
}

impl Kind {
    pub fn code(self) -> &'static str {
        match self {
            Kind::Opened => "opened",
            Kind::Resolved => "resolved",
        }
    }
}

impl Event {
    /// What its alert says, without the source.
    pub fn message(&self, language: Language) -> String {
        let text = match Rule::of(&self.rule) {
            Some(rule) => message(rule, &Facts(&self.facts), language),
            None => self.rule.clone(),
        };
        shortened(&text, LONGEST_LINE)
    }

    /// The source, or what else it is about.
    pub fn subject(&self) -> String {
        one_line(self.source.as_deref().unwrap_or("gn_harvest"))
    }

    /// `CRITIQUE – CEN Alpes : …`
    fn line(&self, language: Language) -> String {
        let word = match self.kind {
            Kind::Resolved => language.choose("RÉTABLI", "RESOLVED"),
            Kind::Opened => match Severity::of(&self.severity) {
                Severity::Info => "INFO",
                Severity::Warning => language.choose("AVERTISSEMENT", "WARNING"),
                Severity::Critical => language.choose("CRITIQUE", "CRITICAL"),
            },
        };
        let colon = language.choose(" :", ":");
        format!(
            "{word} – {}{colon} {}",
            self.subject(),
            self.message(language)
        )
    }
}

/// One message.
pub struct Letter<'l> {
    pub channel: &'l str,
    pub database: &'l str,
    pub language: Language,
    /// None: it is a test.
    pub events: &'l [Event],
}

impl Letter<'_> {
    pub fn is_test(&self) -> bool {
        self.events.is_empty()
    }

    /// In one line.
    pub fn title(&self) -> String {
        let language = self.language;
        let text = match self.events {
            [] => language.choose(
                format!("essai du canal « {} »", self.channel),
                format!("test of channel \"{}\"", self.channel),
            ),
            [event] => {
                let what = match (event.kind, Severity::of(&event.severity)) {
                    (Kind::Resolved, _) => language.choose("rétabli", "resolved"),
                    (_, Severity::Critical) => language.choose("alerte critique", "critical alert"),
                    (_, Severity::Warning) => language.choose("avertissement", "warning"),
                    (_, Severity::Info) => "information",
                };
                let colon = language.choose(" :", ":");
                format!("{}{colon} {what}", event.subject())
            }
            events => counted(events, language),
        };
        one_line(&format!("[gn_harvest] {text}"))
    }

    /// The gravest first, what is resolved last.
    pub fn lines(&self) -> Vec<String> {
        let mut events: Vec<&Event> = self.events.iter().collect();
        events.sort_by_key(|event| {
            let severity = std::cmp::Reverse(Severity::of(&event.severity));
            (event.kind, severity, event.alert)
        });
        events
            .into_iter()
            .map(|event| event.line(self.language))
            .collect()
    }

    /// What it says first, and last.
    pub fn frame(&self) -> (String, String) {
        let (database, language) = (one_line(self.database), self.language);
        if self.is_test() {
            let channel = one_line(self.channel);
            return language.choose(
                (
                    format!("Ceci est un essai du canal « {channel} » de gn_harvest, dans la base {database}."),
                    "Les alertes arriveront ainsi.".to_owned(),
                ),
                (
                    format!("This is a test of channel \"{channel}\" of gn_harvest, in database {database}."),
                    "Alerts will come like this.".to_owned(),
                ),
            );
        }
        language.choose(
            (
                format!("Moissons de la base {database} :"),
                "SELECT * FROM gn_harvest.open_alert; montre ce qui reste ouvert.".to_owned(),
            ),
            (
                format!("Harvests of database {database}:"),
                "SELECT * FROM gn_harvest.open_alert; shows what is still open.".to_owned(),
            ),
        )
    }

    /// The whole text, each line passed through `escape`, at most `longest` UTF-16 units of it; how many lines were
    /// left out is said.
    pub fn text(&self, longest: usize, escape: fn(&str) -> String) -> String {
        let lines = self.lines();
        let (first, last) = self.frame();
        let (first, last) = (escape(&first), escape(&last));
        let mut text = first;
        let room = longest.saturating_sub(last.encode_utf16().count() + 40);
        let mut length = text.encode_utf16().count();
        let mut left_out = lines.len();
        for line in &lines {
            let line = format!("\n{}", escape(line));
            length += line.encode_utf16().count();
            if length > room {
                break;
            }
            text.push_str(&line);
            left_out -= 1;
        }
        if left_out > 0 {
            text.push_str(&self.language.choose(
                format!("\n… et {left_out} autres"),
                format!("\n… and {left_out} more"),
            ));
        }
        text.push('\n');
        text.push_str(&last);
        text
    }
}

/// `3 alertes, 1 rétablissement`
fn counted(events: &[Event], language: Language) -> String {
    let opened = events.iter().filter(|e| e.kind == Kind::Opened).count();
    let resolved = events.len() - opened;
    let alerts = match opened {
        1 => language.choose("1 alerte", "1 alert").to_owned(),
        n => language.choose(format!("{n} alertes"), format!("{n} alerts")),
    };
    let recoveries = match resolved {
        1 => language.choose("1 rétablissement", "1 recovery").to_owned(),
        n => language.choose(format!("{n} rétablissements"), format!("{n} recoveries")),
    };
    match (opened, resolved) {
        (_, 0) => alerts,
        (0, _) => recoveries,
        _ => format!("{alerts}, {recoveries}"),
    }
}

/// At most so many characters.
pub fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars()
        .take(most.saturating_sub(1))
        .chain(['…'])
        .collect()
}
