//! The hosts that this server may ask, as its administrator has listed them: `gn_harvest.allowed_hosts`.

use url::{Host, Url};

use super::error::FetchError;

/// A list of hosts; the empty list allows all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedHosts {
    /// None: nothing is listed, so every host is allowed.
    listed: Option<Vec<Pattern>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    name: Name,
    /// None: whatever the port.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Exactly(String),
    /// What comes after `*`, beginning with a dot.
    EndsWith(String),
}

impl AllowedHosts {
    /// Reads `host, *.suffix, host:port, [::1]:8080`. What is not understood allows nothing: a list of which
    /// nothing is understood is not an empty one.
    pub fn parse(text: &str) -> Self {
        let mut items = items(text).peekable();
        let listed = items.peek().is_some();
        let patterns = items.filter_map(Pattern::parse).collect();
        Self {
            listed: listed.then_some(patterns),
        }
    }

    /// The first item of a list that is not understood.
    pub fn misread(text: &str) -> Option<&str> {
        items(text).find(|item| Pattern::parse(item).is_none())
    }

    /// An error when a URL may not be asked.
    pub fn check(&self, url: &Url) -> Result<(), FetchError> {
        match self.permits(url) {
            true => Ok(()),
            false => Err(FetchError::host_not_allowed(url)),
        }
    }

    /// Whether a URL may be asked.
    pub fn permits(&self, url: &Url) -> bool {
        let Some(patterns) = &self.listed else {
            return true;
        };
        let Some(host) = url.host_str().map(normal) else {
            return false;
        };
        let port = url.port_or_known_default();
        patterns.iter().any(|pattern| {
            let named = match &pattern.name {
                Name::Exactly(name) => *name == host,
                // A suffix is of names: no address ends with a domain.
                Name::EndsWith(suffix) => {
                    matches!(url.host(), Some(Host::Domain(_)))
                        && host.len() > suffix.len()
                        && host.ends_with(suffix.as_str())
                }
            };
            named && pattern.port.is_none_or(|wanted| port == Some(wanted))
        })
    }
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

impl Pattern {
    fn parse(item: &str) -> Option<Self> {
        let (name, port) = match item.rsplit_once(':') {
            // An IPv6 address has colons of its own; with a port it stands in brackets.
            Some((name, port)) if !name.contains(':') || name.ends_with(']') => {
                (name, Some(port.parse::<u16>().ok()?))
            }
            _ => (item, None),
        };
        let name = match name.strip_prefix("*.") {
            Some(suffix) => Name::EndsWith(format!(".{}", canonical(suffix)?)),
            None => Name::Exactly(canonical(name)?),
        };
        Some(Self { name, port })
    }
}

/// A host as a URL has it: lower case, Punycode, no final dot.
fn canonical(name: &str) -> Option<String> {
    if name.contains('*') {
        return None;
    }
    let bracketed = match name.contains(':') && !name.starts_with('[') {
        true => format!("[{name}]"),
        false => name.to_owned(),
    };
    let host = Host::parse(&bracketed).ok()?;
    let text = normal(&host.to_string());
    (!text.is_empty()).then_some(text)
}

fn normal(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}
