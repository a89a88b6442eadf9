//! Faults on demand: which requests go wrong, and how. The doing is in `misbehave`.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    Login,
    Modules,
    Export,
    ExportList,
    Log,
    File,
    Other,
    #[default]
    Any,
}

impl Route {
    pub fn of(path: &str) -> Self {
        match path {
            "/api/auth/login" => Self::Login,
            "/api/gn_commons/modules" => Self::Modules,
            "/api/synthese/log" => Self::Log,
            _ if path.starts_with("/api/media/exports/") => Self::File,
            _ if export_of(path).is_some() => Self::Export,
            "/api/exports/" => Self::ExportList,
            _ => Self::Other,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Modules => "modules",
            Self::Export => "export",
            Self::ExportList => "export_list",
            Self::Log => "log",
            Self::File => "file",
            Self::Other => "other",
            Self::Any => "any",
        }
    }
}

/// The export that a path is about.
pub fn export_of(path: &str) -> Option<u32> {
    path.strip_prefix("/api/exports/api/")?.parse().ok()
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fault {
    /// The right answer, late.
    Slow {
        seconds: f64,
    },
    /// The right answer, late by so many seconds for each row beside what it costs anyway.
    SlowRows {
        seconds: f64,
    },
    /// The right answer, its body in ten pieces over so many seconds.
    SlowBody {
        seconds: f64,
    },
    /// No answer, ever; the connection stays.
    Hang,
    /// Head and a part of the body, then nothing; the connection stays.
    HangInBody {
        after_bytes: usize,
    },
    /// The connection is reset after so many bytes, by default in the middle of the head.
    Reset {
        #[serde(default = "in_the_head")]
        after_bytes: usize,
    },
    /// The connection closes after a part of what Content-Length promised.
    TruncatedBody {
        #[serde(default = "half")]
        keep: f64,
    },
    /// A whole HTTP answer whose JSON stops in the middle.
    TruncatedJson,
    /// Another status, with an HTML body (or GeoNature's JSON).
    Status {
        status: u16,
        /// The header Retry-After as it is.
        #[serde(default)]
        retry_after: Option<String>,
        /// Retry-After as a date so many seconds from now.
        #[serde(default)]
        retry_after_date: Option<i64>,
        #[serde(default)]
        json: bool,
    },
    /// 200, JSON content type, and what is no JSON.
    InvalidJson,
    /// 200 with a page for people.
    Html,
    /// 200, JSON content type, no body.
    EmptyBody,
    /// A body that begins well and never ends.
    EndlessBody,
    /// A body of so many bytes, promised by Content-Length.
    HugeBody {
        bytes: u64,
    },
    /// A small gzip body that grows to so many bytes.
    GzipBomb {
        bytes: u64,
    },
    /// Every session expires just before the request.
    ExpiredSession,
    Redirect {
        status: u16,
        location: String,
    },
    /// The right answer under a smaller cap.
    LowerCap {
        cap: usize,
    },
    /// The right body under another content type.
    ContentType {
        value: String,
    },
    /// The right items with another `total`.
    WrongTotal {
        total: i64,
    },
    /// The right answer with another header Date: so many seconds away, or a text.
    WrongDate {
        #[serde(default)]
        offset_seconds: i64,
        #[serde(default)]
        value: Option<String>,
    },
}

fn in_the_head() -> usize {
    30
}

fn half() -> f64 {
    0.5
}

/// Which requests a fault is for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rule {
    #[serde(default)]
    pub route: Route,
    /// Only this export.
    #[serde(default)]
    pub export: Option<u32>,
    /// Only requests whose query contains it.
    #[serde(default)]
    pub query: Option<String>,
    /// How many matching requests pass before the first fault.
    #[serde(default)]
    pub after: u64,
    /// How many faults; without it, for ever.
    #[serde(default)]
    pub times: Option<u64>,
    #[serde(flatten)]
    pub fault: Fault,
    #[serde(default)]
    pub seen: u64,
    #[serde(default)]
    pub applied: u64,
}

impl Rule {
    /// A fault of every request of a route.
    pub fn always(route: Route, fault: Fault) -> Self {
        Self {
            route,
            export: None,
            query: None,
            after: 0,
            times: None,
            fault,
            seen: 0,
            applied: 0,
        }
    }

    /// A fault of the first requests of a route.
    pub fn times(route: Route, times: u64, fault: Fault) -> Self {
        Self {
            times: Some(times),
            ..Self::always(route, fault)
        }
    }

    /// Lets so many matching requests pass first.
    pub fn after(self, after: u64) -> Self {
        Self { after, ..self }
    }

    /// Only requests whose query contains the text.
    pub fn with_query(self, query: &str) -> Self {
        Self {
            query: Some(query.to_owned()),
            ..self
        }
    }

    fn matches(&self, route: Route, path: &str, query: &str) -> bool {
        (self.route == Route::Any || self.route == route)
            && self
                .export
                .is_none_or(|export| export_of(path) == Some(export))
            && self
                .query
                .as_deref()
                .is_none_or(|part| query.contains(part))
    }
}

/// Counts the request in every rule that matches it; the first rule that is due decides.
pub fn fault_for(rules: &mut [Rule], path: &str, query: &str) -> Option<Fault> {
    let route = Route::of(path);
    let mut decided = None;
    for rule in rules
        .iter_mut()
        .filter(|rule| rule.matches(route, path, query))
    {
        rule.seen += 1;
        let due = rule.seen > rule.after && rule.times.is_none_or(|times| rule.applied < times);
        if due && decided.is_none() {
            rule.applied += 1;
            decided = Some(rule.fault.clone());
        }
    }
    decided
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_counts_before_and_after() {
        let mut rules = vec![Rule::times(Route::Export, 2, Fault::Hang).after(1)];
        let mut ask = || fault_for(&mut rules, "/api/exports/api/2", "limit=1").is_some();
        assert_eq!([ask(), ask(), ask(), ask()], [false, true, true, false]);
    }

    #[test]
    fn a_rule_is_for_its_route_and_query() {
        let mut rules = vec![Rule::always(Route::Export, Fault::Hang).with_query("offset=1")];
        let mut ask = |path, query| fault_for(&mut rules, path, query).is_some();
        assert!(!ask("/api/synthese/log", "offset=1"));
        assert!(!ask("/api/exports/api/2", "offset=0"));
        assert!(ask("/api/exports/api/2", "offset=1"));
    }

    #[test]
    fn rules_are_read_from_json() {
        let rule: Rule = serde_json::from_str(
            r#"{"route": "export", "kind": "status", "status": 429, "retry_after": "2", "times": 1}"#,
        )
        .unwrap();
        assert_eq!(rule.route, Route::Export);
        assert!(matches!(rule.fault, Fault::Status { status: 429, .. }));
    }
}
