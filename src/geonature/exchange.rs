//! One HTTP request and its answer. Requests run on a thread of our own, so that
//! the caller can walk away from a hung server as soon as the stop flag is set,
//! and so that every thread the HTTP library starts descends from a masked one.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use reqwest::cookie::{CookieStore, Jar};
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use tokio::sync::oneshot;
use url::Url;

use super::address::{Refused, Resolver};
use super::control::{Spawn, Stop, Traffic};
use super::endpoint::{Credentials, Endpoint, Limits};
use super::error::{FetchError, Seen};

/// How long a stop may go unnoticed by a thread that waits for an answer.
const GLANCE: Duration = Duration::from_millis(25);
/// No session has a shorter name.
const SHORTEST_SESSION: usize = 8;
/// The part of an error's body that is read.
const ERROR_BODY: u64 = 64 * 1024;

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
enum Cut {
    Http(reqwest::Error),
    TooLarge,
}

/// The HTTP client and the thread that it runs on.
pub(super) struct Transport {
    http: reqwest::Client,
    jar: Arc<Jar>,
    runtime: tokio::runtime::Handle,
    quit: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    stop: Arc<Stop>,
    traffic: Arc<Traffic>,
    connect_timeout: Duration,
    request_timeout: Duration,
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
        let http = build_client(endpoint, limits, &jar)?;
        let internal = |error: std::io::Error| FetchError::Internal(error.to_string());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(4)
            .build()
            .map_err(internal)?;
        let handle = runtime.handle().clone();
        let (quit, quitting) = oneshot::channel::<()>();
        let drive = move || {
            // An error means that the sender is gone: time to end as well.
            let _ = runtime.block_on(quitting);
            runtime.shutdown_background();
        };
        let thread = spawn("gn_harvest http".to_owned(), Box::new(drive)).map_err(internal)?;
        Ok(Self {
            http,
            jar,
            runtime: handle,
            quit: Some(quit),
            thread: Some(thread),
            stop,
            traffic,
            connect_timeout: limits.connect_timeout,
            request_timeout: limits.request_timeout,
            max_body: limits.max_body_bytes,
        })
    }

    pub fn request(&self, method: reqwest::Method, url: Url) -> reqwest::RequestBuilder {
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
    pub fn exchange(
        &self,
        request: reqwest::RequestBuilder,
        shown_url: &str,
    ) -> Result<Answer, FetchError> {
        if self.stop.is_set() {
            return Err(FetchError::Stopped);
        }
        let seen = || Seen {
            url: shown_url.to_owned(),
            ..Seen::default()
        };
        let _in_flight = self.traffic.enter();
        let started = Instant::now();
        let (sender, receiver) = sync_channel(1);
        let traffic = Arc::clone(&self.traffic);
        let (cap, timeout) = (self.max_body, self.request_timeout);
        let task = self.runtime.spawn(async move {
            let result = tokio::time::timeout(timeout, perform(request, cap, traffic)).await;
            let _ = sender.send(result);
        });
        let result = loop {
            match receiver.recv_timeout(GLANCE) {
                Ok(result) => break result,
                Err(RecvTimeoutError::Timeout) if !self.stop.is_set() => {}
                Err(RecvTimeoutError::Timeout) => {
                    task.abort();
                    return Err(FetchError::Stopped);
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(FetchError::Internal("the network thread has ended".into()));
                }
            }
        };
        match result {
            Ok(Ok(answer)) => Ok(Answer {
                elapsed: started.elapsed(),
                ..answer
            }),
            Ok(Err(Cut::TooLarge)) => Err(FetchError::BodyTooLarge {
                seen: Box::new(seen()),
                limit: self.max_body,
            }),
            Ok(Err(Cut::Http(error))) => Err(self.explain(error, shown_url, seen())),
            Err(_) => Err(FetchError::Timeout {
                seen: Box::new(seen()),
                after: self.request_timeout,
            }),
        }
    }

    /// What a reqwest error means, without its URL.
    fn explain(&self, error: reqwest::Error, shown_url: &str, seen: Seen) -> FetchError {
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
            let seen = Box::new(seen);
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
        let seen = Box::new(seen);
        FetchError::Network { seen, reason }
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        drop(self.quit.take());
        if let Some(thread) = self.thread.take() {
            // It ends at once: requests that still run are dropped, not waited for.
            let _ = thread.join();
        }
    }
}

/// Sends, then reads the body through the cap into a buffer that grows as bytes come.
async fn perform(
    request: reqwest::RequestBuilder,
    cap: u64,
    traffic: Arc<Traffic>,
) -> Result<Answer, Cut> {
    use std::sync::atomic::Ordering::Relaxed;
    let mut response = request.send().await.map_err(Cut::Http)?;
    let status = response.status();
    traffic
        .last_status
        .store(u32::from(status.as_u16()), Relaxed);
    let ok = status.is_success();
    let cap = if ok { cap } else { cap.min(ERROR_BODY) };
    if ok && response.content_length().is_some_and(|size| size > cap) {
        return Err(Cut::TooLarge);
    }
    let mut body = Vec::new();
    loop {
        let chunk = match response.chunk().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => break,
            // An error's status says more than its broken body.
            Err(_) if !ok => break,
            Err(error) => return Err(Cut::Http(error)),
        };
        traffic.bytes.fetch_add(chunk.len() as u64, Relaxed);
        if body.len() as u64 + chunk.len() as u64 > cap {
            if ok {
                return Err(Cut::TooLarge);
            }
            break;
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer {
        status: status.as_u16(),
        headers: std::mem::take(response.headers_mut()),
        body,
        elapsed: Duration::ZERO,
    })
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
) -> Result<reqwest::Client, FetchError> {
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
        let mut builder = reqwest::Client::builder()
            .user_agent(&limits.user_agent)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(limits.connect_timeout)
            .pool_max_idle_per_host(16)
            .pool_idle_timeout(Duration::from_secs(30));
        if matches!(endpoint.credentials, Credentials::Login { .. }) {
            builder = builder.cookie_provider(Arc::clone(jar));
        }
        if !limits.allow_link_local {
            builder = builder.dns_resolver(Arc::new(Resolver::system()));
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
