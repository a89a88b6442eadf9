//! The HTTP server around the partner: its life in a runtime of its own, what every answer
//! has in its head, and what is counted of every request.

use std::io;
use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, COOKIE, DATE, RANGE, SERVER, USER_AGENT,
};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use futures_util::StreamExt;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::caller::RequestId;
use crate::clock::http_date;
use crate::connection::{BreakableListener, Wire};
use crate::faults::Route;
use crate::random::uuid_text;
use crate::state::{Config, Shared};
use crate::statistics::SeenRequest;
use crate::{admin, misbehave, routes};

/// A simulated partner that answers on loopback until it is dropped. Everything that can be
/// done to it is on [`Shared`], which it dereferences to.
pub struct Simulator {
    shared: Arc<Shared>,
    url: String,
    runtime: Option<Runtime>,
}

impl Simulator {
    /// Starts a partner on `127.0.0.1`, in threads of this process.
    pub fn start(config: Config) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(4)
            .thread_name("geonature")
            .enable_all()
            .build()?;
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", config.port)))?;
        let url = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Shared::new(config));
        let service = router(shared.clone()).into_make_service_with_connect_info::<Wire>();
        runtime.spawn(async move { axum::serve(BreakableListener(listener), service).await });
        Ok(Self {
            shared,
            url,
            runtime: Some(runtime),
        })
    }

    /// `http://127.0.0.1:port`, what `add_source` is given.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn port(&self) -> u16 {
        self.url
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok())
            .unwrap_or_default()
    }
}

impl Deref for Simulator {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn router(shared: Arc<Shared>) -> Router {
    let geonature = routes::router()
        .layer(from_fn_with_state(shared.clone(), misbehave::faults))
        .layer(from_fn_with_state(shared.clone(), observe));
    Router::new()
        .nest("/_simulator", admin::router())
        .merge(geonature)
        .with_state(shared)
}

/// Leaves the count of requests under way when the request does, answered or not.
struct UnderWay {
    shared: Arc<Shared>,
    route: &'static str,
}

impl UnderWay {
    /// And how many there are with this one.
    fn new(shared: Arc<Shared>, route: &'static str) -> (Self, u64) {
        let at_once = shared.statistics().begin(route);
        (Self { shared, route }, at_once)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.shared.statistics().end(self.route);
    }
}

async fn observe(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    let route = Route::of(request.uri().path()).name();
    let (under_way, at_once) = UnderWay::new(shared.clone(), route);
    let id = uuid_text(u128::from(shared.fresh()) << 64 | u128::from(shared.fresh()));
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut seen = as_seen(&request, &id);
    seen.at_once = at_once;
    let mut response = next.run(request).await;
    seen.status = response.status().as_u16();
    shared.statistics().answered(route, seen);
    let headers = response.headers_mut();
    headers.insert(SERVER, HeaderValue::from_static("gunicorn"));
    if !headers.contains_key(DATE)
        && let Ok(date) = HeaderValue::from_str(&http_date(shared.partner().clock.utc()))
    {
        headers.insert(DATE, date);
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert("x-request-id", id);
    }
    if !shared.config.keep_alive {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    counted(response, under_way)
}

/// Counts the bytes of the body; the request is under way until the last one.
fn counted(response: Response, under_way: UnderWay) -> Response {
    if let Some(bytes) = response.body().size_hint().exact() {
        under_way.shared.statistics().sent(under_way.route, bytes);
        return response;
    }
    let (parts, body) = response.into_parts();
    let stream = body.into_data_stream().inspect(move |chunk| {
        if let Ok(chunk) = chunk {
            under_way
                .shared
                .statistics()
                .sent(under_way.route, chunk.len() as u64);
        }
    });
    Response::from_parts(parts, Body::from_stream(stream))
}

fn as_seen(request: &Request, id: &str) -> SeenRequest {
    let headers = request.headers();
    let text = |name: HeaderName| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned()
    };
    SeenRequest {
        at: crate::clock::Clock::default().utc(),
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        status: 0,
        api_key: headers.contains_key("api-key"),
        cookie: headers.contains_key(COOKIE),
        authorization: headers.contains_key(AUTHORIZATION),
        user_agent: text(USER_AGENT),
        accept: text(ACCEPT),
        range: text(RANGE),
        accept_encoding: text(ACCEPT_ENCODING),
        request_id: id.to_owned(),
        at_once: 0,
    }
}
