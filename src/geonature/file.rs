//! A file, downloaded piece by piece. Where the connection breaks it goes on by a range, as long as the file is still the
//! same by its ETag or its date; otherwise from its beginning. No credentials are sent: the files that a GeoNature
//! writes each night are open to everyone.

use chrono::{DateTime, Utc};
use reqwest::Method;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, IF_RANGE,
    LAST_MODIFIED, LOCATION, RANGE, RETRY_AFTER,
};
use url::Url;

use super::client::{Client, EXCERPT_OF, Inner};
use super::error::{FetchError, Seen};
use super::exchange::Answer;
use super::redirect::{self, Verdict};
use super::retry::{Tries, http_date, retry_after};
use super::stream::Stream;

/// After so many bytes a connection that breaks has been of use: going on costs nothing of the budget.
const USEFUL: u64 = 1024 * 1024;
/// How often a file may be begun anew.
const MOST_RESTARTS: u32 = 3;
/// A header that is longer says nothing.
const LONGEST_HEADER: usize = 2000;

/// What the head of the answer says of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileHead {
    pub etag: Option<String>,
    pub modified: Option<DateTime<Utc>>,
    /// None when the server does not say, or compresses it.
    pub length: Option<u64>,
    /// The server's own clock.
    pub server_date: Option<DateTime<Utc>>,
}

impl FileHead {
    /// What tells this file from another at the same address; none when nothing does.
    pub fn mark(&self) -> Option<String> {
        let date = self.modified.map(|date| date.to_rfc3339());
        let mark = self.etag.clone().or(date)?;
        Some(format!("{mark} {}", self.length.unwrap_or_default()))
    }

    /// When it was written; not after the server gave it, where it does not say more.
    pub fn as_of(&self) -> DateTime<Utc> {
        self.modified.or(self.server_date).unwrap_or_else(Utc::now)
    }

    /// Whether another answer is about the same file.
    fn is_same(&self, other: &Self) -> bool {
        let plain = |etag: &Option<String>| {
            let etag = etag.as_deref()?;
            Some(etag.strip_prefix("W/").unwrap_or(etag).to_owned())
        };
        match (plain(&self.etag), plain(&other.etag)) {
            (Some(one), Some(other)) => one == other,
            _ => self.modified.is_some() && self.modified == other.modified,
        }
    }
}

/// What comes next of a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Chunk {
    Bytes(Vec<u8>),
    /// It is another file than before: it begins anew, what came before is void.
    Restarted,
    /// `complete`: the server had told how long it is, and it is that long.
    End {
        complete: bool,
    },
}

/// A file that is coming in.
pub struct Download {
    client: Client,
    url: Url,
    head: FileHead,
    /// None between two connections.
    stream: Option<Stream>,
    at: u64,
    /// Bytes since the connection was made.
    since: u64,
    /// It is asked for as it is, so that places in it are known.
    plain: bool,
    most: u64,
    tries: Tries,
    restarts: u32,
}

impl Client {
    /// Begins to download a file of at most `most` bytes.
    pub fn file(&self, url: &Url, most: u64) -> Result<Download, FetchError> {
        let mut download = Download {
            client: self.clone(),
            url: url.clone(),
            head: FileHead::default(),
            stream: None,
            at: 0,
            since: 0,
            plain: false,
            most,
            tries: Tries::default(),
            restarts: 0,
        };
        loop {
            match download.open(false) {
                Ok(_) => return Ok(download),
                Err(error) => download.client.0.retry.wait(error, &mut download.tries)?,
            }
        }
    }

    /// What a server says of a file, without taking it and without retries. None: there is no such file.
    pub fn file_head(&self, url: &Url) -> Result<Option<FileHead>, FetchError> {
        match self.0.ask_for_file(Method::HEAD, url, &[]) {
            Ok((stream, _)) => Ok(Some(head_of(&stream))),
            Err(FetchError::FileMissing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Download {
    pub fn head(&self) -> &FileHead {
        &self.head
    }

    /// Bytes that have come of it.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// What comes next; goes on after faults that may pass.
    pub fn next_chunk(&mut self) -> Result<Chunk, FetchError> {
        loop {
            let Some(stream) = &mut self.stream else {
                match self.open(true) {
                    Ok(true) => continue,
                    Ok(false) => return Ok(Chunk::Restarted),
                    Err(error) => self.client.0.retry.wait(error, &mut self.tries)?,
                }
                continue;
            };
            match self.client.0.transport.next_piece(stream) {
                Ok(Some(bytes)) => {
                    self.at += bytes.len() as u64;
                    self.since += bytes.len() as u64;
                    if self.at > self.most {
                        return Err(self.too_large());
                    }
                    return Ok(Chunk::Bytes(bytes));
                }
                Ok(None) if self.head.length.is_none_or(|length| length == self.at) => {
                    let complete = self.head.length.is_some();
                    return Ok(Chunk::End { complete });
                }
                Ok(None) => {
                    let reason = "the answer stopped before its end".to_owned();
                    let seen = Box::new(self.client.0.seen_url(&self.url));
                    self.broken(FetchError::Network { seen, reason })?;
                }
                Err(error) => self.broken(error)?,
            }
        }
    }

    /// The connection is gone: waits until another may be tried.
    fn broken(&mut self, error: FetchError) -> Result<(), FetchError> {
        self.stream = None;
        let inner = &self.client.0;
        let useful = self.since >= USEFUL && self.resumable() && error.retryable();
        self.since = 0;
        if !useful {
            return inner.retry.wait(error, &mut self.tries);
        }
        self.tries = Tries::default();
        match inner.stop.sleep(inner.limits.backoff_first) {
            true => Ok(()),
            false => Err(FetchError::Stopped),
        }
    }

    /// Whether it can go on where it is.
    fn resumable(&self) -> bool {
        (self.plain || self.head.length.is_some()) && self.head.mark().is_some()
    }

    /// Asks for the file, for what is left of it where that is possible. False: it begins anew.
    fn open(&mut self, again: bool) -> Result<bool, FetchError> {
        let resumed = again && self.at > 0 && self.resumable();
        // After a break no compression is wanted: the next one can then be mended.
        self.plain |= again;
        let mut headers = Vec::new();
        if self.plain {
            headers.push((ACCEPT_ENCODING, "identity".to_owned()));
        }
        if resumed {
            headers.push((RANGE, format!("bytes={}-", self.at)));
            let strong = self.head.etag.clone().filter(|tag| !tag.starts_with("W/"));
            headers.extend(strong.map(|tag| (IF_RANGE, tag)));
        }
        let inner = &self.client.0;
        let asked = inner.ask_for_file(Method::GET, &self.url, &headers);
        let (stream, url) = match asked {
            // It has become shorter than what came of it.
            Err(FetchError::Status { status: 416, .. }) if resumed => {
                inner.ask_for_file(Method::GET, &self.url, &headers[..1])?
            }
            asked => asked?,
        };
        let head = head_of(&stream);
        let first = stream.headers.get(CONTENT_RANGE);
        let first = first.and_then(|range| first_of(range.to_str().ok()?));
        if stream.status == 206 && !resumed {
            return Err(self.wrong("a part of it came where the whole was asked for".to_owned()));
        }
        if stream.status == 206 {
            if first != Some(self.at) || !self.head.is_same(&head) {
                // Not what was asked for: all of it then.
                self.stream = None;
                self.head = FileHead::default();
                return self.open(again);
            }
            self.stream = Some(stream);
            return Ok(true);
        }
        let anew = again && self.at > 0;
        if anew {
            self.restarts += 1;
            if self.restarts > MOST_RESTARTS {
                let seen = Box::new(inner.seen_url(&url));
                let reason = format!("it was begun {MOST_RESTARTS} times and never came whole");
                return Err(FetchError::FileBroken { seen, reason });
            }
        }
        (self.stream, self.head, self.at) = (Some(stream), head, 0);
        match self.head.length.is_some_and(|length| length > self.most) {
            true => Err(self.too_large()),
            false => Ok(!anew),
        }
    }

    fn too_large(&self) -> FetchError {
        let seen = Box::new(self.client.0.seen_url(&self.url));
        let limit = self.most;
        FetchError::FileTooLarge { seen, limit }
    }

    /// The error that what came of the file is not what a file should be.
    pub fn wrong(&self, reason: String) -> FetchError {
        let seen = Box::new(self.client.0.seen_url(&self.url));
        FetchError::FileBroken { seen, reason }
    }
}

impl Inner {
    fn seen_url(&self, url: &Url) -> Seen {
        Seen {
            url: self.shown(url),
            ..Seen::default()
        }
    }

    /// Sends a request for a file and follows the redirects that may be followed.
    fn ask_for_file(
        &self,
        method: Method,
        url: &Url,
        headers: &[(reqwest::header::HeaderName, String)],
    ) -> Result<(Stream, Url), FetchError> {
        let mut url = url.clone();
        for _ in 0..=redirect::MOST {
            self.retry.respect_pause()?;
            self.refuse_forbidden(&url)?;
            let mut request = self
                .transport
                .request(method.clone(), url.clone())
                .header(ACCEPT, "*/*");
            for (name, value) in headers {
                request = request.header(name, value);
            }
            let mut stream = self.transport.stream(request, &self.shown(&url))?;
            if matches!(stream.status, 200 | 206) {
                return Ok((stream, url));
            }
            let location = text(&stream, LOCATION);
            let to = redirect::is_redirect(stream.status)
                .then(|| redirect::judge(&url, location.as_deref()));
            let seen = Box::new(self.seen(&self.beginning(&mut stream), &url));
            match to {
                None => return Err(refusal(&stream, seen)),
                Some(Verdict::Follow(to)) => url = to,
                Some(Verdict::LoginPage) => return Err(FetchError::FileMissing { seen }),
                Some(Verdict::Refuse(to_host)) => {
                    let to_host = self.mask(&url).apply_to_url(&to_host);
                    return Err(FetchError::Redirected { seen, to_host });
                }
            }
        }
        let seen = Box::new(self.seen_url(&url));
        Err(FetchError::TooManyRedirects { seen })
    }

    /// The beginning of an answer that is no file, for its excerpt.
    fn beginning(&self, stream: &mut Stream) -> Answer {
        let mut body = Vec::new();
        while body.len() < EXCERPT_OF {
            match self.transport.next_piece(stream) {
                Ok(Some(piece)) => body.extend_from_slice(&piece),
                _ => break,
            }
        }
        Answer {
            status: stream.status,
            headers: stream.headers.clone(),
            body,
            elapsed: std::time::Duration::ZERO,
        }
    }
}

fn refusal(stream: &Stream, seen: Box<Seen>) -> FetchError {
    match stream.status {
        401 | 403 | 404 | 410 => FetchError::FileMissing { seen },
        status => FetchError::Status {
            status,
            seen,
            retry_after: text(stream, RETRY_AFTER)
                .and_then(|value| retry_after(&value, head_of(stream).server_date)),
        },
    }
}

fn text(stream: &Stream, name: reqwest::header::HeaderName) -> Option<String> {
    let text = stream.headers.get(name)?.to_str().ok()?.trim().to_owned();
    (!text.is_empty() && text.len() <= LONGEST_HEADER).then_some(text)
}

fn head_of(stream: &Stream) -> FileHead {
    let date = |name| text(stream, name).as_deref().and_then(http_date);
    let length = match text(stream, CONTENT_RANGE) {
        Some(range) => range
            .rsplit('/')
            .next()
            .and_then(|total| total.parse().ok()),
        // The library takes the length away with the compression; of a HEAD it has none to take away.
        None if stream.headers.contains_key(CONTENT_ENCODING) => None,
        None => text(stream, CONTENT_LENGTH).and_then(|length| length.parse().ok()),
    };
    FileHead {
        etag: text(stream, ETAG),
        modified: date(LAST_MODIFIED),
        length,
        server_date: date(DATE),
    }
}

/// The first byte of a header `Content-Range`.
fn first_of(range: &str) -> Option<u64> {
    let (first, _) = range.trim().strip_prefix("bytes ")?.split_once('-')?;
    first.parse().ok()
}

/// Reads the address of a file: `http` or `https`, a host and a path, no user, no query, no fragment.
pub fn parse_file_url(text: &str) -> Result<Url, FetchError> {
    let refuse = |reason: &str| FetchError::InvalidFileUrl {
        reason: reason.to_owned(),
    };
    let url = Url::parse(text.trim()).map_err(|error| match error {
        url::ParseError::RelativeUrlWithoutBase => refuse("it must begin with https:// or http://"),
        error => refuse(&error.to_string()),
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refuse("it must begin with https:// or http://"));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(refuse("it has no host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("it contains a user name or a password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse(
            "it contains a query or a fragment (what follows '?' or '#')",
        ));
    }
    if url.path().trim_matches('/').is_empty() {
        return Err(refuse("it names no file"));
    }
    super::address::refuse_literal(&url)?;
    Ok(url)
}
