//! The client of one GeoNature: which URL, with which credentials, and what its
//! answers mean. Cheap to clone, used by several threads at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER,
};
use serde::Deserialize;
use url::Url;

use super::address::refuse_literal;
use super::ask::{Ask, Auth, export_ask, shown};
use super::control::{Spawn, Stop, Traffic, plain_spawn};
use super::endpoint::{Credentials, Endpoint, Limits, Secret};
use super::error::{FetchError, Seen, excerpt};
use super::exchange::{Answer, Transport};
use super::mask::Mask;
use super::page::{Page, PageQuery, Shape};
use super::redirect::{self, Verdict};
use super::retry::{Retry, Tries, http_date, retry_after};
use super::session::Session;

/// Bytes of a body in which an excerpt is looked for.
pub(super) const EXCERPT_OF: usize = 8 * 1024;

/// A GeoNature as we talk to it. Clones share the session, the budget and the connections.
#[derive(Clone)]
pub struct Client(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub endpoint: Endpoint,
    pub limits: Limits,
    pub stop: Arc<Stop>,
    pub traffic: Arc<Traffic>,
    pub transport: Transport,
    pub retry: Retry,
    pub session: Mutex<Session>,
    /// Secrets that the server has given us: they are masked as our own.
    pub given: Mutex<Vec<Secret>>,
    /// The endpoint's URL, in https once the server has asked for it.
    base: Mutex<Url>,
}

/// What to do with an error that a smaller request may cure.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Try the same again, as for any passing fault.
    SameAgain,
    /// Give it back at once: the caller asks for less.
    AskLess,
}

/// A GeoNature module that the account may see.
#[derive(Clone, Debug, Deserialize)]
pub struct Module {
    #[serde(rename = "module_code")]
    pub code: String,
    #[serde(rename = "module_path", default)]
    pub path: Option<String>,
    #[serde(rename = "module_label", default)]
    pub label: Option<String>,
    #[serde(default)]
    pub version: Option<String>,
}

/// What a first contact without credentials shows.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The URL that answered in the end.
    pub url: String,
    /// Whether the connection is encrypted.
    pub https: bool,
    pub status: u16,
    /// Whether the answer is the one that a GeoNature gives.
    pub geonature: bool,
    pub server_date: Option<DateTime<Utc>>,
    pub request_id: Option<String>,
    pub elapsed: Duration,
}

impl Client {
    /// A client whose threads are plain ones.
    pub fn new(
        endpoint: Endpoint,
        limits: Limits,
        traffic: Arc<Traffic>,
        stop: Arc<Stop>,
    ) -> Result<Self, FetchError> {
        Self::with_spawn(endpoint, limits, traffic, stop, plain_spawn)
    }

    /// A client whose threads are started by `spawn`. Nothing is sent yet.
    pub fn with_spawn(
        endpoint: Endpoint,
        limits: Limits,
        traffic: Arc<Traffic>,
        stop: Arc<Stop>,
        spawn: Spawn,
    ) -> Result<Self, FetchError> {
        let transport = Transport::new(
            &endpoint,
            &limits,
            Arc::clone(&traffic),
            Arc::clone(&stop),
            spawn,
        )?;
        let retry = Retry::new(&limits, Arc::clone(&stop), Arc::clone(&traffic));
        let base = Mutex::new(endpoint.url.clone());
        Ok(Self(Arc::new(Inner {
            endpoint,
            limits,
            stop,
            traffic,
            transport,
            retry,
            session: Mutex::default(),
            given: Mutex::default(),
            base,
        })))
    }

    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.0.traffic
    }

    pub fn stop(&self) -> &Arc<Stop> {
        &self.0.stop
    }

    /// Ends the threads that wait for requests; more requests start others.
    pub(crate) fn rest(&self) {
        self.0.transport.rest();
    }

    /// Logs in again, whatever the state of the session.
    pub fn login(&self) -> Result<(), FetchError> {
        self.0.log_in_afresh()
    }

    /// The modules that the account may see.
    pub fn modules(&self) -> Result<Vec<Module>, FetchError> {
        self.0.modules()
    }

    /// One page of an export; passing faults are retried.
    pub fn page(&self, export_id: i32, query: &PageQuery) -> Result<Page, FetchError> {
        self.page_with(export_id, query, Patience::SameAgain)
    }

    /// One page; faults that a smaller request may cure are retried or not.
    pub(crate) fn page_with(
        &self,
        export_id: i32,
        query: &PageQuery,
        patience: Patience,
    ) -> Result<Page, FetchError> {
        let module = self.0.module_path()?;
        let ask = export_ask(&module, export_id, query);
        let (mut page, tries) = self
            .0
            .call(&ask, patience, |answer, url| self.0.read_page(answer, url))?;
        page.strained = tries.strained;
        Ok(page)
    }

    /// Counts a fault against the budget and sleeps before a smaller request.
    pub(crate) fn back_off(&self, error: FetchError) -> Result<(), FetchError> {
        if matches!(error, FetchError::BodyTooLarge { .. }) {
            return Ok(()); // The server is well: no reason to wait.
        }
        self.0.retry.wait(error, &mut Tries::default())
    }

    /// A first contact, without credentials and without retries.
    pub fn probe(&self) -> Result<Probe, FetchError> {
        let ask = Ask::get(&["api", "gn_commons", "modules"], Auth::Nothing);
        let (answer, url) = match self.0.travel(&ask) {
            Ok(found) => found,
            Err(FetchError::CredentialsRefused { seen }) => return Ok(probe_of_login_page(&seen)),
            Err(error) => return Err(error),
        };
        let json = serde_json::from_slice::<serde_json::Value>(&answer.body);
        let known = match json {
            Ok(serde_json::Value::Object(body)) => body.contains_key("description"),
            Ok(serde_json::Value::Array(_)) => true,
            _ => false,
        };
        Ok(Probe {
            https: url.scheme() == "https",
            status: answer.status,
            geonature: known && matches!(answer.status, 200 | 401 | 403),
            server_date: answer.header(DATE).as_deref().and_then(http_date),
            request_id: answer.request_id(),
            elapsed: answer.elapsed,
            url: shown(&url),
        })
    }
}

fn probe_of_login_page(seen: &Seen) -> Probe {
    Probe {
        https: seen.url.starts_with("https:"),
        status: seen.status.unwrap_or(302),
        geonature: true,
        server_date: None,
        request_id: seen.request_id.clone(),
        elapsed: Duration::ZERO,
        url: seen.url.clone(),
    }
}

impl Inner {
    /// Sends a request until it succeeds or must be given up: logs in when needed,
    /// logs in again once when the session has expired, retries what may pass.
    pub fn call<T>(
        &self,
        ask: &Ask,
        patience: Patience,
        read: impl Fn(Answer, &Url) -> Result<T, FetchError>,
    ) -> Result<(T, Tries), FetchError> {
        let mut tries = Tries::default();
        let mut logged_in_again = false;
        loop {
            let session = self.session_for(ask.auth)?;
            let result = self.travel(ask).and_then(|(answer, url)| {
                self.accept(ask, &answer, &url)?;
                read(answer, &url)
            });
            match result {
                Ok(value) => return Ok((value, tries)),
                Err(error) if !logged_in_again && self.may_have_expired(ask, &error) => {
                    logged_in_again = true;
                    self.renew_session(session)?;
                }
                Err(error) if patience == Patience::AskLess && error.narrower() => {
                    return Err(error);
                }
                Err(error) => self.retry.wait(error, &mut tries)?,
            }
        }
    }

    /// Sends a request and follows the redirects that may be followed.
    pub fn travel(&self, ask: &Ask) -> Result<(Answer, Url), FetchError> {
        let base = self.base();
        let mut url = ask.url(&base);
        for _ in 0..=redirect::MOST {
            self.retry.respect_pause()?;
            self.refuse_forbidden(&url)?;
            let mut request = self
                .transport
                .request(ask.method.clone(), url.clone())
                .headers(self.headers(ask.auth)?);
            if let Some(body) = &ask.body {
                request = request
                    .header(CONTENT_TYPE, "application/json")
                    .body(body.clone());
            }
            let answer = self.transport.exchange(request, &self.shown(&url))?;
            if !redirect::is_redirect(answer.status) {
                return Ok((answer, url));
            }
            let seen = Box::new(self.seen(&answer, &url));
            match redirect::judge(&url, answer.header(LOCATION).as_deref()) {
                Verdict::Follow(to) => {
                    self.remember_upgrade(&base, &to, ask);
                    url = to;
                }
                Verdict::LoginPage => return Err(FetchError::CredentialsRefused { seen }),
                Verdict::Refuse(to_host) => {
                    let to_host = self.mask(&url).apply_to_url(&to_host);
                    return Err(FetchError::Redirected { seen, to_host });
                }
            }
        }
        let seen = Box::new(Seen {
            url: self.shown(&url),
            ..Seen::default()
        });
        Err(FetchError::TooManyRedirects { seen })
    }

    /// Refuses to ask where we may not; at each step of a redirect too.
    pub(super) fn refuse_forbidden(&self, url: &Url) -> Result<(), FetchError> {
        self.limits.allowed_hosts.check(url)?;
        match self.limits.allow_link_local {
            true => Ok(()),
            false => refuse_literal(url),
        }
    }

    fn base(&self) -> Url {
        let base = self.base.lock().unwrap_or_else(PoisonError::into_inner);
        base.clone()
    }

    /// After `http://host/x` → `https://host/x` the next requests go to https at once.
    fn remember_upgrade(&self, base: &Url, to: &Url, ask: &Ask) {
        let mut https = base.clone();
        let upgraded = base.scheme() == "http"
            && to.scheme() == "https"
            && https.set_scheme("https").is_ok()
            && https.set_port(to.port()).is_ok()
            && ask.url(&https).path() == to.path();
        if upgraded {
            *self.base.lock().unwrap_or_else(PoisonError::into_inner) = https;
        }
    }

    fn headers(&self, auth: Auth) -> Result<HeaderMap, FetchError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let secret = |text: &str| {
            let mut value = HeaderValue::from_str(text).map_err(|_| FetchError::InvalidToken)?;
            value.set_sensitive(true);
            Ok::<_, FetchError>(value)
        };
        match (&self.endpoint.credentials, auth) {
            (Credentials::Token(token), Auth::Export) => {
                headers.insert("api-key", secret(token.expose())?);
            }
            (Credentials::Login { .. }, Auth::Account) => {
                if let Some(jwt) = self.jwt() {
                    headers.insert(AUTHORIZATION, secret(&format!("Bearer {}", jwt.expose()))?);
                }
            }
            _ => {}
        }
        Ok(headers)
    }

    /// Whether the status lets the body be read; what it means otherwise.
    fn accept(&self, ask: &Ask, answer: &Answer, url: &Url) -> Result<(), FetchError> {
        let status = answer.status;
        if (200..300).contains(&status) {
            return Ok(());
        }
        let seen = Box::new(self.seen(answer, url));
        Err(match (status, ask.export_id) {
            (401, _) => FetchError::CredentialsRefused { seen },
            (403, Some(export_id)) => FetchError::ExportForbidden { export_id, seen },
            (404, Some(export_id)) => FetchError::ExportNotFound { export_id, seen },
            _ => FetchError::Status {
                status,
                seen,
                retry_after: answer.header(RETRY_AFTER).and_then(|value| {
                    let now = answer.header(DATE).as_deref().and_then(http_date);
                    retry_after(&value, now)
                }),
            },
        })
    }

    fn may_have_expired(&self, ask: &Ask, error: &FetchError) -> bool {
        matches!(self.endpoint.credentials, Credentials::Login { .. })
            && ask.auth != Auth::Nothing
            && matches!(
                error,
                FetchError::CredentialsRefused { .. } | FetchError::ExportForbidden { .. }
            )
    }

    fn read_page(&self, answer: Answer, url: &Url) -> Result<Page, FetchError> {
        let seen = |answer: &Answer| Box::new(self.seen(answer, url));
        let Ok(text) = str::from_utf8(&answer.body) else {
            return Err(FetchError::NotJson {
                seen: seen(&answer),
            });
        };
        if text.trim_start().starts_with('<') {
            return Err(FetchError::NotJson {
                seen: seen(&answer),
            });
        }
        let server_date = answer.header(DATE).as_deref().and_then(http_date);
        let request_id = answer.request_id();
        let elapsed = answer.elapsed;
        let excerpt = self.seen(&answer, url);
        let body = String::from_utf8(answer.body).unwrap_or_default();
        let mut page = Page::from_body(body).map_err(|shape| {
            let seen = Box::new(excerpt);
            match shape {
                Shape::NotJson => FetchError::NotJson { seen },
                Shape::Unexpected(expected) => FetchError::BadShape { seen, expected },
            }
        })?;
        page.server_date = server_date;
        page.request_id = request_id;
        page.elapsed = elapsed;
        page.url = self.shown(url);
        Ok(page)
    }

    /// What was seen of an answer, secrets masked.
    pub fn seen(&self, answer: &Answer, url: &Url) -> Seen {
        let mask = self.mask(url);
        let masked = |text: String| mask.apply(&text);
        let beginning = &answer.body[..answer.body.len().min(EXCERPT_OF)];
        Seen {
            url: self.shown(url),
            status: Some(answer.status),
            request_id: answer.request_id().and_then(masked),
            content_type: answer.content_type().and_then(masked),
            // Before it is unpacked and cut, and after.
            excerpt: masked(String::from_utf8_lossy(beginning).into_owned())
                .and_then(|text| excerpt(&text))
                .and_then(masked),
        }
    }

    /// A URL as it may be shown. What follows the configured address may be a redirect's, hence the server's word.
    pub fn shown(&self, url: &Url) -> String {
        let (shown, base) = (shown(url), shown(&self.base()));
        let mask = self.mask(url);
        match shown.strip_prefix(&base) {
            Some(rest) => base.clone() + &mask.apply_to_url(rest),
            None => mask.apply_to_url(&shown),
        }
    }

    /// Our own secrets, and those that the server has given us.
    pub(super) fn mask(&self, url: &Url) -> Mask {
        let own = match &self.endpoint.credentials {
            Credentials::Public => None,
            Credentials::Token(secret)
            | Credentials::Login {
                password: secret, ..
            } => Some(secret.expose().to_owned()),
        };
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let given = given.iter().map(|secret| secret.expose().to_owned());
        Mask::of(
            own.into_iter()
                .chain(given)
                .chain(self.transport.cookies(url)),
        )
    }
}
