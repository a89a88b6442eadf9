//! Scheduled files: no login, ranges, and the headers that let a client resume.

use std::io::SeekFrom;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, EXPIRES, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use std::io::{Read, Seek};

use crate::answer;
use crate::caller::Caller;
use crate::clock::http_date;
use crate::files::{Format, PublishedFile};
use crate::state::Shared;

const CHUNK: usize = 256 * 1024;

/// The part of a file that is asked for.
#[derive(Debug, PartialEq)]
enum Part {
    Whole,
    Bytes { first: u64, last: u64 },
    PastEnd,
}

pub async fn file(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    method: Method,
    headers: HeaderMap,
    caller: Caller,
) -> Response {
    let wanted = name.clone();
    let holder = shared.clone();
    let found = tokio::task::spawn_blocking(move || holder.files.get(&wanted, &holder.partner()));
    let file = match found.await {
        Ok(Ok(Some(file))) => file,
        Ok(Ok(None)) => return answer::error(&caller, StatusCode::NOT_FOUND),
        _ => return answer::error(&caller, StatusCode::INTERNAL_SERVER_ERROR),
    };
    let header = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let unchanged = header(IF_RANGE).is_none_or(|tag| tag == file.etag);
    let part = match header(RANGE).filter(|_| unchanged) {
        Some(range) => read_range(range, file.length),
        None => Part::Whole,
    };
    if header(IF_NONE_MATCH) == Some(&file.etag) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    let (status, first, length) = match part {
        Part::Whole => (StatusCode::OK, 0, file.length),
        Part::Bytes { first, last } => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
        Part::PastEnd => {
            let mut response = answer::error(&caller, StatusCode::RANGE_NOT_SATISFIABLE);
            set(
                &mut response,
                CONTENT_RANGE,
                &format!("bytes */{}", file.length),
            );
            return response;
        }
    };
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        contents(file.clone(), first, length)
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    describe(&mut response, &shared, &name, &file);
    set(&mut response, CONTENT_LENGTH, &length.to_string());
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {first}-{}/{}", first + length - 1, file.length);
        set(&mut response, CONTENT_RANGE, &range);
    }
    response
}

fn describe(response: &mut Response, shared: &Shared, name: &str, file: &PublishedFile) {
    let extension = name.rsplit('.').next().unwrap_or_default();
    let content_type = Format::named(extension).map_or("text/plain", Format::content_type);
    set(response, CONTENT_TYPE, content_type);
    set(
        response,
        CONTENT_DISPOSITION,
        &format!("inline; filename={name}"),
    );
    set(response, LAST_MODIFIED, &http_date(file.published));
    set(response, CACHE_CONTROL, "no-cache, max-age=0");
    set(response, EXPIRES, &http_date(shared.partner().clock.utc()));
    set(response, ETAG, &file.etag);
    set(response, ACCEPT_RANGES, "bytes");
}

fn set(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// `bytes=0-99`, `bytes=100-`, `bytes=-100`; anything else is the whole file.
fn read_range(range: &str, length: u64) -> Part {
    let Some((first, last)) = range
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'))
    else {
        return Part::Whole;
    };
    let (first, last) = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if last >= first => (first, last),
        (Ok(first), Err(_)) if last.is_empty() => (first, u64::MAX),
        (Err(_), Ok(count)) if first.is_empty() => (length.saturating_sub(count), u64::MAX),
        _ => return Part::Whole,
    };
    if first >= length {
        return Part::PastEnd;
    }
    Part::Bytes {
        first,
        last: last.min(length - 1),
    }
}

fn contents(file: Arc<PublishedFile>, first: u64, length: u64) -> Body {
    let opened = std::fs::File::open(&file.path).and_then(|mut opened| {
        opened.seek(SeekFrom::Start(first))?;
        Ok(opened)
    });
    let Ok(opened) = opened else {
        return Body::empty();
    };
    // The published file is held, so that a new publication does not take it away.
    let state = (opened, file, length);
    Body::from_stream(stream::unfold(state, async |(mut opened, file, left)| {
        if left == 0 {
            return None;
        }
        let mut chunk = vec![0; CHUNK.min(usize::try_from(left).unwrap_or(CHUNK))];
        let read = opened.read_exact(&mut chunk).map(|()| Bytes::from(chunk));
        let sent = read.as_ref().map_or(left, |chunk| chunk.len() as u64);
        Some((read, (opened, file, left - sent)))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_says() {
        assert_eq!(
            read_range("bytes=0-9", 100),
            Part::Bytes { first: 0, last: 9 }
        );
        assert_eq!(
            read_range("bytes=90-", 100),
            Part::Bytes {
                first: 90,
                last: 99
            }
        );
        assert_eq!(
            read_range("bytes=-10", 100),
            Part::Bytes {
                first: 90,
                last: 99
            }
        );
        assert_eq!(
            read_range("bytes=0-999", 100),
            Part::Bytes { first: 0, last: 99 }
        );
        assert_eq!(read_range("bytes=100-", 100), Part::PastEnd);
        assert_eq!(read_range("pages=1-2", 100), Part::Whole);
    }
}
