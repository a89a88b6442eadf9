//! Where a GeoNature is, how we are let in, and the limits that we keep.

use std::fmt;
use std::time::Duration;

use url::{Host, Url};

use super::allowed::AllowedHosts;
use super::error::FetchError;

/// A password or a token: it prints as `***` and leaves only by [`Secret::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self(value)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[derive(Clone, Debug)]
pub enum Credentials {
    /// The export is public.
    Public,
    /// The export's own token, sent in the header `api-key`.
    Token(Secret),
    /// A GeoNature account: session cookie for the exports, JWT for the log.
    Login { login: String, password: Secret },
}

/// A partner's GeoNature.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Base of the instance, as [`parse_url`] gives it; the API is at `<url>/api`.
    pub url: Url,
    pub credentials: Credentials,
    /// Path of the export module; asked of the instance (or `exports`) when absent.
    pub module_path: Option<String>,
}

impl Endpoint {
    /// An endpoint from what a user typed.
    pub fn new(url: &str, credentials: Credentials) -> Result<Self, FetchError> {
        Ok(Self {
            url: parse_url(url)?,
            credentials,
            module_path: None,
        })
    }
}

/// Reads the address of a GeoNature: `http` or `https`, a host, no user, no
/// query, no fragment. A final slash or `/api` is dropped: what comes back is
/// the base of the instance.
pub fn parse_url(text: &str) -> Result<Url, FetchError> {
    let refuse = |reason: &str| {
        Err(FetchError::InvalidUrl {
            reason: reason.to_owned(),
        })
    };
    let mut url = match Url::parse(text.trim()) {
        Ok(url) => url,
        Err(url::ParseError::RelativeUrlWithoutBase) => {
            return refuse("it must begin with https:// or http://");
        }
        Err(error) => return refuse(&error.to_string()),
    };
    if !matches!(url.scheme(), "http" | "https") {
        return refuse("it must begin with https:// or http://");
    }
    match url.host() {
        None => return refuse("it has no host"),
        Some(Host::Domain("")) => return refuse("it has no host"),
        Some(_) => {}
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("it contains a user name or a password; give them apart");
    }
    if url.query().is_some() {
        return refuse("it contains a query (what follows '?'); give the base of the instance");
    }
    if url.fragment().is_some() {
        return refuse("it contains a fragment (what follows '#'); give the base of the instance");
    }
    let path = url.path().trim_end_matches('/');
    let path = path.strip_suffix("/api").unwrap_or(path);
    let path = path.trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// `base` followed by path segments, each percent-encoded as needed.
pub(super) fn join<'a>(base: &Url, segments: impl IntoIterator<Item = &'a str>) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

/// What a run allows itself.
#[derive(Clone, Debug)]
pub struct Limits {
    pub connect_timeout: Duration,
    /// From the first byte sent to the last byte received.
    pub request_timeout: Duration,
    /// Greatest body read, in bytes after decompression.
    pub max_body_bytes: u64,
    /// Retries that the whole run may use.
    pub retry_budget: u32,
    pub backoff_first: Duration,
    pub backoff_cap: Duration,
    /// A server that asks for a longer wait than this is left alone: the request fails.
    pub max_retry_after: Duration,
    pub user_agent: String,
    /// Certificates of private authorities, PEM, added to those of the system.
    pub ca_pem: Option<Vec<u8>>,
    /// Hosts that may be asked at all.
    pub allowed_hosts: AllowedHosts,
    /// Link-local and cloud metadata addresses are refused unless this is set.
    pub allow_link_local: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(120),
            max_body_bytes: 256 * 1024 * 1024,
            retry_budget: 50,
            backoff_first: Duration::from_secs(1),
            backoff_cap: Duration::from_secs(60),
            max_retry_after: Duration::from_secs(300),
            user_agent: concat!("gn_harvest/", env!("CARGO_PKG_VERSION")).to_owned(),
            ca_pem: None,
            allowed_hosts: AllowedHosts::default(),
            allow_link_local: false,
        }
    }
}
