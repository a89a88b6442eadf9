//! Doing what the faults say: around the right answer, instead of it, or to its connection.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, DATE, LOCATION, RETRY_AFTER,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use tokio::time::sleep;

use crate::answer::{self, HTML, JSON};
use crate::clock::{SECOND, http_date};
use crate::connection::Wire;
use crate::faults::{Fault, fault_for};
use crate::state::Shared;

/// What a fault asks of the route that answers.
#[derive(Clone, Copy, Default)]
pub struct Adjustment {
    pub cap: Option<usize>,
    pub total: Option<i64>,
    /// Beside what a row costs anyway.
    pub seconds_per_row: f64,
}

const CHUNK: usize = 64 * 1024;

/// A beginning that any reader of pages takes for a good one.
const GOOD_START: &[u8] = b"{\"items\": [";

pub async fn faults(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    request: Request,
    next: Next,
) -> Response {
    let uri = request.uri();
    let fault = fault_for(
        &mut shared.faults(),
        uri.path(),
        uri.query().unwrap_or_default(),
    );
    match fault {
        None => next.run(request).await,
        Some(fault) => misbehave(&shared, &wire, fault, request, next).await,
    }
}

async fn misbehave(
    shared: &Shared,
    wire: &Wire,
    fault: Fault,
    mut request: Request,
    next: Next,
) -> Response {
    let mut adjust = |adjustment: Adjustment| request.extensions_mut().insert(adjustment);
    match fault {
        Fault::Slow { seconds } => {
            sleep(duration(seconds)).await;
            next.run(request).await
        }
        Fault::SlowBody { seconds } => slow_body(next.run(request).await, seconds).await,
        Fault::Hang => std::future::pending().await,
        Fault::HangInBody { after_bytes } => {
            let (response, body) = whole(next.run(request).await).await;
            let kept = body.slice(..after_bytes.min(body.len()));
            promise(response, body.len() as u64, hanging(kept))
        }
        Fault::Reset { after_bytes } => {
            wire.reset_after(after_bytes);
            next.run(request).await
        }
        Fault::TruncatedBody { keep } => {
            let (response, body) = whole(next.run(request).await).await;
            let kept = body.slice(..(body.len() as f64 * keep.clamp(0.0, 1.0)) as usize);
            promise(response, body.len() as u64, closing(kept))
        }
        Fault::TruncatedJson => {
            let (mut response, body) = whole(next.run(request).await).await;
            response.headers_mut().remove(CONTENT_LENGTH);
            *response.body_mut() = Body::from(body.slice(..body.len() / 2));
            response
        }
        Fault::Status {
            status,
            retry_after,
            retry_after_date,
            json,
        } => {
            let dated =
                || retry_after_date.map(|s| http_date(shared.partner().clock.utc() + s * SECOND));
            other_status(status, retry_after.or_else(dated), json)
        }
        Fault::InvalidJson => answer::json("{\"items\": [{\"id_synthese\": 1,, nan]"),
        Fault::Html => answer::with_body(
            StatusCode::OK,
            HTML,
            "<!doctype html>\n<title>GeoNature</title>\n",
        ),
        Fault::EmptyBody => answer::json(""),
        Fault::EndlessBody => answer::json(Body::from_stream(spaces(u64::MAX))),
        Fault::HugeBody { bytes } => promise(
            answer::json(Body::empty()),
            bytes,
            Body::from_stream(spaces(bytes)),
        ),
        Fault::GzipBomb { bytes } => gzip_bomb(bytes),
        Fault::ExpiredSession => {
            shared.sessions().forget();
            next.run(request).await
        }
        Fault::Redirect { status, location } => {
            let mut response = other_status(status, None, false);
            set(&mut response, LOCATION, &location);
            response
        }
        Fault::LowerCap { cap } => {
            adjust(Adjustment {
                cap: Some(cap),
                ..Adjustment::default()
            });
            next.run(request).await
        }
        Fault::SlowRows { seconds } => {
            adjust(Adjustment {
                seconds_per_row: seconds,
                ..Adjustment::default()
            });
            next.run(request).await
        }
        Fault::WrongTotal { total } => {
            adjust(Adjustment {
                total: Some(total),
                ..Adjustment::default()
            });
            next.run(request).await
        }
        Fault::ContentType { value } => {
            let mut response = next.run(request).await;
            set(&mut response, CONTENT_TYPE, &value);
            response
        }
        Fault::WrongDate {
            offset_seconds,
            value,
        } => {
            let mut response = next.run(request).await;
            let moment = shared.partner().clock.utc() + offset_seconds * SECOND;
            set(
                &mut response,
                DATE,
                &value.unwrap_or_else(|| http_date(moment)),
            );
            response
        }
    }
}

fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

fn set(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// The answer without its body, and its body.
async fn whole(response: Response) -> (Response, Bytes) {
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    (Response::from_parts(parts, Body::empty()), bytes)
}

/// An answer that promises a length, whatever its body has.
fn promise(mut response: Response, length: u64, body: Body) -> Response {
    response
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from(length));
    *response.body_mut() = body;
    response
}

fn hanging(kept: Bytes) -> Body {
    Body::from_stream(stream::unfold(Some(kept), async |kept| match kept {
        Some(bytes) => Some((Ok::<_, std::io::Error>(bytes), None)),
        None => std::future::pending().await,
    }))
}

/// Sends a part and then closes the connection. The pause lets the part leave.
fn closing(kept: Bytes) -> Body {
    Body::from_stream(stream::unfold(Some(kept), async |kept| match kept {
        Some(bytes) => Some((Ok(bytes), None)),
        None => {
            sleep(Duration::from_millis(50)).await;
            Some((
                Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)),
                None,
            ))
        }
    }))
}

async fn slow_body(response: Response, seconds: f64) -> Response {
    let (response, body) = whole(response).await;
    let length = body.len();
    let piece = length.div_ceil(10).max(1);
    let pieces = stream::unfold(body, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        sleep(duration(seconds / 10.0)).await;
        let sent = rest.split_to(piece.min(rest.len()));
        Some((Ok::<_, std::io::Error>(sent), rest))
    });
    promise(response, length as u64, Body::from_stream(pieces))
}

/// A good start, then blanks that JSON allows.
fn spaces(bytes: u64) -> impl stream::Stream<Item = Result<Bytes, std::io::Error>> {
    let blank = Bytes::from(vec![b' '; CHUNK]);
    stream::unfold((bytes, true), move |(left, start)| {
        let blank = blank.clone();
        async move {
            if left == 0 {
                return None;
            }
            let chunk = if start {
                Bytes::from_static(GOOD_START)
            } else {
                blank
            };
            let sent = chunk.slice(..chunk.len().min(usize::try_from(left).unwrap_or(CHUNK)));
            let left = left - sent.len() as u64;
            Some((Ok(sent), (left, false)))
        }
    })
}

fn gzip_bomb(bytes: u64) -> Response {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let _ = encoder.write_all(GOOD_START);
    let blank = vec![b' '; CHUNK];
    let mut left = bytes.saturating_sub(GOOD_START.len() as u64);
    while left > 0 {
        let size = left.min(CHUNK as u64);
        let _ = encoder.write_all(&blank[..size as usize]);
        left -= size;
    }
    let mut response = answer::json(encoder.finish().unwrap_or_default());
    set(&mut response, CONTENT_ENCODING, "gzip");
    response
}

fn other_status(status: u16, retry_after: Option<String>, json: bool) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let name = status.canonical_reason().unwrap_or("Error");
    let mut response = if json {
        let body =
            serde_json::json!({"code": status.as_u16(), "description": "injected", "name": name});
        answer::with_body(status, JSON, body.to_string())
    } else {
        answer::with_body(
            status,
            HTML,
            answer::html(status, "Réponse fautive, à la demande d'un essai."),
        )
    };
    if let Some(retry_after) = retry_after {
        set(&mut response, RETRY_AFTER, &retry_after);
    }
    response
}
