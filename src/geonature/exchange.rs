//! One HTTP request and its answer. A request blocks a thread beside the caller's,
//! so that the caller can walk away from a hung server as soon as the stop flag is
//! set: that thread then ends by itself, at the latest at the request's time-out.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use reqwest::blocking::{self, RequestBuilder};
use reqwest::cookie::{CookieStore, Jar};
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use url::Url;

use super::address::{Refused, Resolver};
use super::control::{Spawn, Stop, Traffic};
use super::courier::{Couriers, GRACE};
use super::endpoint::{Credentials, Endpoint, Limits};
use super::error::{FetchError, Seen};

/// No session has a shorter name.
const SHORTEST_SESSION: usize = 8;
/// The part of an error's body that is read.
const ERROR_BODY: u64 = 64 * 1024;
/// How much of a body is read at a time.
const CHUNK: usize = 16 * 1024;

/// An answer, whatever its status.
pub(super) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub elapsed: Duration,
}

impl Answer {
    pub fn header(&self, name: impl reqwest::header::AsHeaderName) -> Option<String> {
        let value = self.headers.get(name)?.to_str().ok()?;
        let clean: String = value
            .chars()
            .filter(|c| !c.is_control())
            .take(200)
            .collect();
        (!clean.is_empty()).then_some(clean)
    }

    pub fn request_id(&self) -> Option<String> {
        self.header("x-request-id")
    }

    pub fn content_type(&self) -> Option<String> {
        self.header(CONTENT_TYPE)
    }
}

/// What cut an exchange short; the URL is added by the caller.
pub(super) enum Cut {
    Http(reqwest::Error),
    Broken(std::io::Error),
    TooLarge,
    Late,
    Stopped,
}

/// The HTTP client, and how its requests are run.
pub(super) struct Transport {
    // Dropped before its keeper: what is left of it then ends on the keeper's thread.
    http: blocking::Client,
    _keeper: Keeper,
    couriers: Couriers,
    jar: Arc<Jar>,
    pub(super) stop: Arc<Stop>,
    pub(super) traffic: Arc<Traffic>,
    pub(super) spawn: Spawn,
    connect_timeout: Duration,
    pub(super) request_timeout: Duration,
    max_body: u64,
}

impl Transport {
    pub fn new(
        endpoint: &Endpoint,
        limits: &Limits,
        traffic: Arc<Traffic>,
        stop: Arc<Stop>,
        spawn: Spawn,
    ) -> Result<Self, FetchError> {
        let jar = Arc::new(Jar::default());
        let (http, keeper) =
            Keeper::start(endpoint.clone(), limits.clone(), Arc::clone(&jar), spawn)?;
        Ok(Self {
            http,
            _keeper: keeper,
            couriers: Couriers::new(spawn),
            jar,
            stop,
            traffic,
            spawn,
            connect_timeout: limits.connect_timeout,
            request_timeout: limits.request_timeout,
            max_body: limits.max_body_bytes,
        })
    }

    pub fn request(&self, method: reqwest::Method, url: Url) -> RequestBuilder {
        self.http.request(method, url)
    }

    /// The values of the cookies that a URL is asked with, short ones (a language, a consent) left out.
    pub fn cookies(&self, url: &Url) -> Vec<String> {
        let header = self.jar.cookies(url);
        let text = header.as_ref().and_then(|header| header.to_str().ok());
        text.unwrap_or_default()
            .split("; ")
            .filter_map(|cookie| cookie.split_once('='))
            .map(|(_, value)| value.to_owned())
            .filter(|value| value.len() >= SHORTEST_SESSION)
            .collect()
    }

    /// Sends a request and waits for the whole answer, up to the limits, or for the stop.
    pub fn exchange(&self, request: RequestBuilder, shown_url: &str) -> Result<Answer, FetchError> {
        if self.stop.is_set() {
            return Err(FetchError::Stopped);
        }
        let _in_flight = self.traffic.enter();
        let started = Instant::now();
        let errand = Errand {
            // Of this one request: the library counts it from here to the body's end.
            request: request.timeout(self.request_timeout),
            deadline: started.checked_add(self.request_timeout),
            cap: self.max_body,
            traffic: Arc::clone(&self.traffic),
            stop: Arc::clone(&self.stop),
        };
        match self.couriers.run(&self.stop, move || errand.perform())? {
            Ok(answer) => Ok(Answer {
                elapsed: started.elapsed(),
                ..answer
            }),
            Err(cut) => Err(self.cut(cut, shown_url)),
        }
    }

    /// What a cut means.
    pub(super) fn cut(&self, cut: Cut, shown_url: &str) -> FetchError {
        let seen = Box::new(Seen {
            url: shown_url.to_owned(),
            ..Seen::default()
        });
        match cut {
            Cut::TooLarge => FetchError::BodyTooLarge {
                seen,
                limit: self.max_body,
            },
            Cut::Http(error) => self.explain(error, shown_url, seen),
            Cut::Broken(error) => FetchError::Network {
                seen,
                reason: error.to_string(),
            },
            Cut::Late => FetchError::Timeout {
                seen,
                after: self.request_timeout,
            },
            Cut::Stopped => FetchError::Stopped,
        }
    }

    /// Ends the threads that no request needs now; the next requests start others.
    pub fn rest(&self) {
        self.couriers.dismiss();
    }

    /// What a reqwest error means, without its URL.
    fn explain(&self, error: reqwest::Error, shown_url: &str, seen: Box<Seen>) -> FetchError {
        let host = host_of(shown_url);
        let error = error.without_url();
        let chain = Chain::of(&error);
        if let Some(address) = chain.refused {
            return FetchError::AddressRefused { host, address };
        }
        if let Some(reason) = chain.tls {
            return FetchError::Tls { host, reason };
        }
        if error.is_timeout() {
            let after = if error.is_connect() {
                self.connect_timeout
            } else {
                self.request_timeout
            };
            return FetchError::Timeout { seen, after };
        }
        if error.is_connect() {
            let reason = chain.last;
            return FetchError::Connect { host, reason };
        }
        let reason = if error.is_body() || error.is_decode() {
            format!("the answer stopped before its end ({})", chain.last)
        } else {
            chain.last
        };
        FetchError::Network { seen, reason }
    }
}

/// The thread on which the HTTP client is built, so that the library's own thread
/// descends from one that `Spawn` has started, and on which its last handle is
/// dropped, so that the caller need not wait for the library's thread to end.
struct Keeper {
    quit: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    fn start(
        endpoint: Endpoint,
        limits: Limits,
        jar: Arc<Jar>,
        spawn: Spawn,
    ) -> Result<(blocking::Client, Self), FetchError> {
        let (sender, built) = sync_channel(1);
        let (quit, quitting) = sync_channel::<()>(0);
        let keep = move || match build_client(&endpoint, &limits, &jar, spawn) {
            Ok(http) => {
                let _ = sender.send(Ok(http.clone()));
                // Ends when the other side is gone.
                let _ = quitting.recv();
            }
            Err(error) => drop(sender.send(Err(error))),
        };
        let thread = spawn("gn_harvest http".to_owned(), Box::new(keep))
            .map_err(|error| FetchError::Internal(error.to_string()))?;
        let keeper = Self {
            quit: Some(quit),
            thread: Some(thread),
        };
        let http = built
            .recv()
            .map_err(|_| FetchError::Internal("the HTTP client could not be built".into()))??;
        Ok((http, keeper))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.quit.take());
        let Some(thread) = self.thread.take() else {
            return;
        };
        let end = Instant::now() + GRACE;
        while !thread.is_finished() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
        if thread.is_finished() {
            let _ = thread.join();
        }
    }
}

/// One request, as the thread that blocks on it sees it.
struct Errand {
    request: RequestBuilder,
    deadline: Option<Instant>,
    cap: u64,
    traffic: Arc<Traffic>,
    stop: Arc<Stop>,
}

impl Errand {
    /// Sends, then reads the body through the cap into a buffer that grows as bytes come.
    fn perform(self) -> Result<Answer, Cut> {
        let response = self.request.send();
        if self.stop.is_set() {
            return Err(Cut::Stopped); // The caller may have left: nothing is counted any more.
        }
        let mut response = response.map_err(Cut::Http)?;
        let status = response.status();
        self.traffic
            .last_status
            .store(u32::from(status.as_u16()), Relaxed);
        let ok = status.is_success();
        let cap = if ok {
            self.cap
        } else {
            self.cap.min(ERROR_BODY)
        };
        if ok && response.content_length().is_some_and(|size| size > cap) {
            return Err(Cut::TooLarge);
        }
        let mut body = Vec::new();
        let mut chunk = [0; CHUNK];
        loop {
            let read = response.read(&mut chunk);
            if self.stop.is_set() {
                return Err(Cut::Stopped);
            }
            if self.deadline.is_some_and(|end| Instant::now() > end) {
                return Err(Cut::Late);
            }
            let size = match read {
                Ok(0) => break,
                Ok(size) => size,
                // An error's status says more than its broken body.
                Err(_) if !ok => break,
                Err(error) => return Err(cut_of(error)),
            };
            self.traffic.bytes.fetch_add(size as u64, Relaxed);
            if body.len() as u64 + size as u64 > cap {
                if ok {
                    return Err(Cut::TooLarge);
                }
                break;
            }
            body.extend_from_slice(&chunk[..size]);
        }
        Ok(Answer {
            status: status.as_u16(),
            headers: std::mem::take(response.headers_mut()),
            body,
            elapsed: Duration::ZERO,
        })
    }
}

/// The HTTP library's own error, out of the envelope that reading puts it in.
pub(super) fn cut_of(error: std::io::Error) -> Cut {
    match error.downcast::<reqwest::Error>() {
        Ok(error) => Cut::Http(error),
        Err(error) => Cut::Broken(error),
    }
}

/// The causes of a reqwest error that we tell apart.
struct Chain {
    refused: Option<std::net::IpAddr>,
    tls: Option<String>,
    /// The innermost cause: the only one that says something.
    last: String,
}

impl Chain {
    fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut chain = Self {
            refused: None,
            tls: None,
            last: error.to_string(),
        };
        let mut next = Some(error);
        while let Some(error) = next {
            chain.last = error.to_string();
            chain.look(error);
            // An io::Error passes over its own cause when asked for its source.
            if let Some(inner) = error
                .downcast_ref::<std::io::Error>()
                .and_then(std::io::Error::get_ref)
            {
                chain.look(inner);
                next = Some(inner);
                continue;
            }
            next = error.source();
        }
        chain
    }

    fn look(&mut self, error: &(dyn std::error::Error + 'static)) {
        if let Some(Refused(address)) = error.downcast_ref::<Refused>() {
            self.refused = Some(*address);
        }
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            self.tls = Some(error.to_string());
        }
    }
}

fn host_of(url: &str) -> String {
    let url = Url::parse(url).ok();
    let host = url.as_ref().and_then(Url::host_str).unwrap_or("the server");
    match url.as_ref().and_then(Url::port) {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

fn build_client(
    endpoint: &Endpoint,
    limits: &Limits,
    jar: &Arc<Jar>,
    spawn: Spawn,
) -> Result<blocking::Client, FetchError> {
    // Fails when a provider is there already, which is just as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let tls = |reason: String| FetchError::Tls {
        host: host_of(endpoint.url.as_str()),
        reason,
    };
    let mut extra = Vec::new();
    if let Some(pem) = &limits.ca_pem {
        extra = reqwest::Certificate::from_pem_bundle(pem)
            .map_err(|error| tls(format!("unreadable certificate authority: {error}")))?;
    }
    let builder = || {
        let mut builder = blocking::Client::builder()
            .user_agent(&limits.user_agent)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(limits.connect_timeout)
            .pool_max_idle_per_host(16)
            .pool_idle_timeout(Duration::from_secs(30))
            .dns_resolver(Arc::new(Resolver::system(spawn, !limits.allow_link_local)));
        if matches!(endpoint.credentials, Credentials::Login { .. }) {
            builder = builder.cookie_provider(Arc::clone(jar));
        }
        if is_loopback(&endpoint.url) {
            builder = builder.no_proxy();
        }
        builder
    };
    match builder().tls_certs_merge(extra).build() {
        Ok(client) => Ok(client),
        // Without any authority on this machine, plain HTTP must still work.
        Err(_) if endpoint.url.scheme() == "http" => builder()
            .tls_certs_only([])
            .build()
            .map_err(|error| FetchError::Internal(Chain::of(&error).last)),
        Err(error) => Err(tls(Chain::of(&error).last)),
    }
}

/// Loopback never goes through a proxy.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(v4)) => v4.is_loopback(),
        Some(url::Host::Ipv6(v6)) => v6.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
