//! Everything that can go wrong between us and a GeoNature, said so that the
//! reader knows what happened, what was seen and which call mends it.
//! No text here ever holds a token, a password or a cookie.

use std::net::IpAddr;
use std::time::Duration;

/// What was seen of the request and of its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The URL asked, secrets masked.
    pub url: String,
    /// HTTP status, when an answer came.
    pub status: Option<u16>,
    /// `X-Request-ID` of the answer: the partner finds it in their own log.
    pub request_id: Option<String>,
    pub content_type: Option<String>,
    /// The beginning of the body in one line, or GeoNature's own description.
    pub excerpt: Option<String>,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum FetchError {
    #[error("the address of the GeoNature is not usable: {reason}")]
    InvalidUrl { reason: String },
    #[error("the token contains characters that no token has")]
    InvalidToken,
    #[error("no connection to {host}: {reason}")]
    Connect { host: String, reason: String },
    #[error("the connection was lost: {reason}")]
    Network { seen: Box<Seen>, reason: String },
    #[error("no complete answer within {} s", after.as_secs_f32())]
    Timeout { seen: Box<Seen>, after: Duration },
    #[error("no secure connection to {host}: {reason}")]
    Tls { host: String, reason: String },
    #[error("{host} leads to {address}, a link-local or metadata address, which is refused")]
    AddressRefused { host: String, address: IpAddr },
    #[error("{host} is not among the hosts that this server may ask")]
    HostNotAllowed { host: String },
    #[error("the server redirects to {to_host}, which is not followed")]
    Redirected { seen: Box<Seen>, to_host: String },
    #[error("the server redirects in circles")]
    TooManyRedirects { seen: Box<Seen> },
    #[error("the server answered HTTP {status}")]
    Status {
        status: u16,
        seen: Box<Seen>,
        /// The wait that the server asked for (`Retry-After`).
        retry_after: Option<Duration>,
    },
    #[error("the answer is not JSON")]
    NotJson { seen: Box<Seen> },
    #[error("the answer does not have the expected form: {expected}")]
    BadShape { seen: Box<Seen>, expected: String },
    #[error("the answer is larger than {limit} bytes")]
    BodyTooLarge { seen: Box<Seen>, limit: u64 },
    #[error("the address of the file is not usable: {reason}")]
    InvalidFileUrl { reason: String },
    #[error("the file to begin with is not there")]
    FileMissing { seen: Box<Seen> },
    #[error("the file to begin with can not be used: {reason}")]
    FileBroken { seen: Box<Seen>, reason: String },
    #[error("the file to begin with is larger than {limit} bytes")]
    FileTooLarge { seen: Box<Seen>, limit: u64 },
    #[error("the server refuses the login or the token")]
    CredentialsRefused { seen: Box<Seen> },
    #[error("{what} needs a login and password, a token does not open it")]
    LoginNeeded { what: &'static str },
    #[error("access to export {export_id} is refused")]
    ExportForbidden { export_id: i32, seen: Box<Seen> },
    #[error("there is no export {export_id} at this address")]
    ExportNotFound { export_id: i32, seen: Box<Seen> },
    #[error("the server ignores the filter on {key}: {found} came, {from} to {to} was asked")]
    FilterIgnored {
        key: String,
        from: i64,
        to: i64,
        found: i64,
    },
    #[error("the server does not sort by {key}, so that pages cannot be told apart")]
    OrderIgnored { key: String },
    #[error("the page size changed from {before} to {after} rows while pages were being read")]
    PageSizeChanged { before: u32, after: u32 },
    #[error("the deletion log could not be read whole: {read} of {total} entries")]
    LogIncomplete { read: u64, total: u64 },
    #[error("gave up after {retries} retries in this run: {last}")]
    RetryBudgetExhausted { retries: u32, last: Box<FetchError> },
    #[error("stopped on request")]
    Stopped,
    #[error("internal error of the network threads: {0}")]
    Internal(String),
}

impl FetchError {
    pub(crate) fn host_not_allowed(url: &url::Url) -> Self {
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default();
        let host = match port {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        Self::HostNotAllowed { host }
    }

    /// What happened, in one line.
    pub fn message(&self) -> String {
        self.to_string()
    }

    /// What was seen: URL without secrets, status, request id, excerpt.
    pub fn detail(&self) -> Option<String> {
        if let Self::RetryBudgetExhausted { last, .. } = self {
            return last.detail();
        }
        if let Self::HostNotAllowed { .. } = self {
            return Some(
                "The setting gn_harvest.allowed_hosts lists those that it may.".to_owned(),
            );
        }
        let seen = self.seen()?;
        let mut parts = Vec::new();
        if !seen.url.is_empty() {
            parts.push(format!("URL {}", seen.url));
        }
        if let Some(status) = seen.status {
            parts.push(format!("HTTP {status}"));
        }
        if let Self::Status {
            retry_after: Some(wait),
            ..
        } = self
        {
            parts.push(format!("Retry-After {} s", wait.as_secs()));
        }
        if let Some(kind) = &seen.content_type {
            parts.push(format!("Content-Type {kind}"));
        }
        if let Some(id) = &seen.request_id {
            parts.push(format!("X-Request-ID {id}"));
        }
        if let Some(excerpt) = &seen.excerpt {
            parts.push(format!("answer: {excerpt}"));
        }
        Some(parts.join(", "))
    }

    /// The call to make, when there is one.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::RetryBudgetExhausted { last, .. } => return last.hint(),
            Self::InvalidUrl { .. } => {
                "Give the base of the instance, for example https://gn.example.org/geonature."
            }
            Self::Connect { .. } => {
                "Check the address with gn_harvest.check_source(name); correct it with gn_harvest.alter_source(name, url => '…')."
            }
            Self::Tls { .. } => {
                "Check the host name and the date of its certificate; install the certificate of a private authority on this machine."
            }
            Self::AddressRefused { .. } => {
                "Give the public address of the GeoNature with gn_harvest.alter_source(name, url => '…')."
            }
            Self::HostNotAllowed { .. } => {
                "A superuser adds it: ALTER SYSTEM SET gn_harvest.allowed_hosts = '…'; SELECT pg_reload_conf();"
            }
            Self::Redirected { .. } => {
                "If the GeoNature has moved, give its new address with gn_harvest.alter_source(name, url => '…'): credentials never follow a redirect to another host."
            }
            Self::InvalidToken => {
                "Give it again, without line breaks, with gn_harvest.set_credentials(name, token => '…')."
            }
            Self::CredentialsRefused { .. } => {
                "Give the right ones with gn_harvest.set_credentials(name, login => '…', password => '…') or gn_harvest.set_credentials(name, token => '…')."
            }
            Self::LoginNeeded { .. } => {
                "Give an account with gn_harvest.set_credentials(name, login => '…', password => '…')."
            }
            Self::ExportForbidden { .. } => {
                "Ask the partner to open the export to this account or token, or give other ones with gn_harvest.set_credentials(name, …)."
            }
            Self::ExportNotFound { .. } => {
                "Check the address and the number of the export; correct them with gn_harvest.alter_source(name, url => '…', export_id => …)."
            }
            Self::Status { status, .. } => return status_hint(*status),
            Self::NotJson { .. } | Self::BadShape { .. } | Self::TooManyRedirects { .. } => {
                "Check the address with gn_harvest.check_source(name): what answers there may not be a GeoNature's API."
            }
            Self::BodyTooLarge { .. } => {
                "Ask for smaller pages with gn_harvest.alter_source(name, page_size => …)."
            }
            Self::InvalidFileUrl { .. } => {
                "Give the whole address of the file, for example https://gn.example.org/geonature/api/media/exports/schedules/Synthese.json."
            }
            Self::FileMissing { .. } | Self::FileBroken { .. } => {
                "Check it with gn_harvest.check_source(name). Give another with gn_harvest.alter_source(name, bootstrap_url => '…'), or read everything through the API: alter_source(name, clear => '{bootstrap_url}')."
            }
            Self::FileTooLarge { .. } => {
                "A superuser raises the limit: ALTER SYSTEM SET gn_harvest.max_file = '…'; SELECT pg_reload_conf();"
            }
            Self::Timeout { .. } => {
                "Ask for smaller pages with gn_harvest.alter_source(name, page_size => …), or allow more time."
            }
            Self::FilterIgnored { .. } | Self::OrderIgnored { .. } => {
                "See gn_harvest.check_source(name): the export needs another key, or offset pages."
            }
            Self::PageSizeChanged { .. } => {
                "Run again: the pages are then counted with the new size."
            }
            Self::Network { .. } => {
                "Run it again with gn_harvest.run(name): it goes on where it stopped. If that comes back, ask for smaller pages with gn_harvest.alter_source(name, page_size => …)."
            }
            Self::LogIncomplete { .. } | Self::Stopped | Self::Internal(_) => {
                return None;
            }
        };
        Some(hint.to_owned())
    }

    /// The SQLSTATE that a PostgreSQL error made of this one carries.
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Self::RetryBudgetExhausted { last, .. } => last.sqlstate(),
            Self::InvalidUrl { .. } | Self::InvalidFileUrl { .. } | Self::InvalidToken => "22023",
            Self::Connect { .. } | Self::Tls { .. } => "08001",
            Self::AddressRefused { .. } => "08004",
            Self::Network { .. } | Self::Timeout { .. } => "08006",
            Self::NotJson { .. } | Self::BadShape { .. } | Self::FileBroken { .. } => "22032",
            Self::BodyTooLarge { .. } | Self::FileTooLarge { .. } => "54000",
            Self::FileMissing { .. } => "58P01",
            Self::CredentialsRefused { .. } | Self::LoginNeeded { .. } => "28000",
            Self::ExportForbidden { .. } | Self::HostNotAllowed { .. } => "42501",
            Self::ExportNotFound { .. } => "42704",
            Self::Redirected { .. }
            | Self::TooManyRedirects { .. }
            | Self::Status { .. }
            | Self::FilterIgnored { .. }
            | Self::OrderIgnored { .. }
            | Self::PageSizeChanged { .. }
            | Self::LogIncomplete { .. } => "38000",
            Self::Stopped => "57014",
            Self::Internal(_) => "XX000",
        }
    }

    /// Whether the same request may succeed a little later.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::Network { .. }
            | Self::Timeout { .. }
            | Self::NotJson { .. }
            | Self::BadShape { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..=599),
            _ => false,
        }
    }

    /// Whether a smaller request may succeed where this one failed.
    pub fn narrower(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::BodyTooLarge { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 413 | 502 | 504),
            _ => false,
        }
    }

    /// Whether the server shows that it is at its limit.
    pub fn strained(&self) -> bool {
        match self {
            Self::Timeout { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 429 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// The request and the answer behind the error, when there were any.
    pub fn seen(&self) -> Option<&Seen> {
        match self {
            Self::Network { seen, .. }
            | Self::Timeout { seen, .. }
            | Self::Redirected { seen, .. }
            | Self::TooManyRedirects { seen }
            | Self::Status { seen, .. }
            | Self::NotJson { seen }
            | Self::BadShape { seen, .. }
            | Self::BodyTooLarge { seen, .. }
            | Self::FileMissing { seen }
            | Self::FileBroken { seen, .. }
            | Self::FileTooLarge { seen, .. }
            | Self::CredentialsRefused { seen }
            | Self::ExportForbidden { seen, .. }
            | Self::ExportNotFound { seen, .. } => Some(seen),
            Self::RetryBudgetExhausted { last, .. } => last.seen(),
            _ => None,
        }
    }
}

fn status_hint(status: u16) -> Option<String> {
    let hint = match status {
        429 => {
            "The partner's server asks to slow down: fewer connections with gn_harvest.alter_source(name, connections => 1), or another hour."
        }
        400 => {
            "The export does not know one of the columns asked: see gn_harvest.check_source(name)."
        }
        404 => "Check the address with gn_harvest.check_source(name).",
        500 => {
            "The export's view or a filter fails at the partner's: give them the X-Request-ID, and see gn_harvest.check_source(name)."
        }
        502..=504 => {
            "The partner's server is overloaded or stopped: try again later, or ask for smaller pages with gn_harvest.alter_source(name, page_size => …)."
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

/// One line of at most 200 characters from a body: the `description` of
/// GeoNature's JSON errors, the text of an HTML page, or the text itself.
pub(super) fn excerpt(text: &str) -> Option<String> {
    const LONGEST: usize = 200;
    let described = serde_json::from_str::<serde_json::Value>(text)
        .ok()
        .and_then(|value| {
            let text = value.get("description").or_else(|| value.get("msg"))?;
            text.as_str().map(str::to_owned)
        });
    let text = described.unwrap_or_else(|| without_tags(text));
    let mut line = String::new();
    for word in text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
    {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if line.chars().count() > LONGEST {
            line = line.chars().take(LONGEST - 1).collect();
            line.push('…');
            break;
        }
    }
    (!line.is_empty()).then_some(line)
}

/// The text of an HTML page; other texts come back as they are.
fn without_tags(text: &str) -> String {
    if !text.trim_start().starts_with('<') {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for c in text.chars() {
        match c {
            '<' => inside = true,
            '>' if inside => {
                inside = false;
                out.push(' ');
            }
            _ if !inside => out.push(c),
            _ => {}
        }
    }
    out
}
