//! The status page: one HTML document for people, from what the views show to whoever asks. Without PostgreSQL.

mod chart;
mod html;
mod page;
mod words;

use serde::Deserialize;

pub use page::{STYLE, STYLE_HASH, render};
pub use words::Language;

/// Days of history that are drawn.
pub const DAYS: u64 = 30;

/// What the page shows, as gn_harvest.status_page_data() gives it. Moments are texts as PostgreSQL's JSON has them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Page {
    pub database: String,
    pub version: String,
    pub now: String,
    pub time_zone: String,
    /// The last of the days that are drawn, such as 2026-11-25.
    pub today: String,
    pub dashboard: Dashboard,
    pub sources: Vec<Source>,
    pub alerts: Vec<Alert>,
    pub progress: Vec<Progress>,
    pub days: Vec<Day>,
    pub rejected: Vec<Rejected>,
}

/// gn_harvest.dashboard.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Dashboard {
    pub observations: i64,
    pub taxa: i64,
    pub organisms: i64,
    pub datasets: i64,
    pub sources: i64,
    pub running: i64,
    pub rejected: i64,
    pub open_alerts: i64,
}

/// gn_harvest.source_status.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Source {
    pub source: String,
    pub organism: Option<String>,
    pub frequency: Option<String>,
    pub last_import: Option<String>,
    pub next_run: Option<String>,
    pub observations: i64,
    pub state: String,
    pub enabled: bool,
    pub paused_reason: Option<String>,
    pub rejected: i64,
    pub last_error: Option<String>,
    pub alert: Option<String>,
    pub alert_severity: Option<String>,
    pub alerts: i64,
}

/// gn_harvest.open_alert.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Alert {
    pub source: Option<String>,
    pub severity: String,
    pub message: String,
    pub opened_at: Option<String>,
    pub acknowledged_by: Option<String>,
    pub acknowledge_note: Option<String>,
}

/// gn_harvest.run_progress.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Progress {
    pub source: String,
    pub phase: String,
    pub done: i64,
    pub total: Option<i64>,
    pub percent: Option<f64>,
    pub rate: Option<f64>,
    pub eta: Option<String>,
}

/// What the runs of a source did on one day.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Day {
    pub source: String,
    /// Days before today.
    pub ago: u64,
    pub runs: i64,
    pub failures: i64,
    pub inserted: i64,
    pub updated: i64,
    pub deleted: i64,
    pub rejected: i64,
}

/// gn_harvest.rejected_by_reason.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Rejected {
    pub source: String,
    pub reason: String,
    pub records: i64,
}
