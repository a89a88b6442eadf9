//! An answer whose body is taken piece by piece, however long it is. A thread of its own blocks on it; when nobody takes
//! the pieces it waits, and so does the server.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use reqwest::blocking::RequestBuilder;
use reqwest::header::HeaderMap;

use super::control::{Stop, Traffic};
use super::error::{FetchError, Seen};
use super::exchange::{Cut, Transport, cut_of};

/// How long a stop may go unnoticed.
const GLANCE: Duration = Duration::from_millis(25);
/// Read at a time, and how many such pieces wait to be taken.
const PIECE: usize = 128 * 1024;
const AHEAD: usize = 8;
/// The library wants a limit on the whole: this one is none. Silence is what is limited.
const NO_LIMIT: Duration = Duration::from_secs(30 * 24 * 3600);

/// What has to come, at least, in the time that a request may take.
const LEAST: u64 = 64 * 1024;

enum Event {
    Head(u16, HeaderMap),
    Piece(Vec<u8>),
    End,
    Cut(Cut),
}

/// An answer that is coming in.
pub(super) struct Stream {
    pub status: u16,
    pub headers: HeaderMap,
    events: Receiver<Event>,
    stop: Arc<Stop>,
    patience: Duration,
    /// For how long pieces were waited for, and what came, since this was last looked at.
    waited: Duration,
    came: u64,
    shown_url: String,
}

impl Transport {
    /// Sends a request and waits for the head of its answer.
    pub fn stream(&self, request: RequestBuilder, shown_url: &str) -> Result<Stream, FetchError> {
        if self.stop.is_set() {
            return Err(FetchError::Stopped);
        }
        let (sender, events) = sync_channel(AHEAD);
        let (traffic, stop) = (Arc::clone(&self.traffic), Arc::clone(&self.stop));
        let request = request.timeout(NO_LIMIT);
        (self.spawn)(
            "gn_harvest file".to_owned(),
            Box::new(move || bring(request, &traffic, &stop, &sender)),
        )
        .map_err(|error| FetchError::Internal(error.to_string()))?;
        let mut stream = Stream {
            status: 0,
            headers: HeaderMap::new(),
            events,
            stop: Arc::clone(&self.stop),
            patience: self.request_timeout,
            waited: Duration::ZERO,
            came: 0,
            shown_url: shown_url.to_owned(),
        };
        match stream.event()? {
            Event::Head(status, headers) => (stream.status, stream.headers) = (status, headers),
            Event::Cut(cut) => return Err(self.cut(cut, shown_url)),
            Event::Piece(_) | Event::End => return Err(stream.lost()),
        }
        Ok(stream)
    }

    /// The next piece of an answer; none at its end.
    pub fn next_piece(&self, stream: &mut Stream) -> Result<Option<Vec<u8>>, FetchError> {
        match stream.event()? {
            Event::Piece(piece) => {
                stream.note(piece.len())?;
                Ok(Some(piece))
            }
            Event::End => Ok(None),
            Event::Cut(cut) => Err(self.cut(cut, &stream.shown_url)),
            Event::Head(..) => Err(stream.lost()),
        }
    }
}

impl Stream {
    /// Waits for what comes next, as long as one request may take, or for the stop.
    fn event(&mut self) -> Result<Event, FetchError> {
        let begun = Instant::now();
        let deadline = begun + self.patience;
        loop {
            match self.events.recv_timeout(GLANCE) {
                Ok(event) => {
                    self.waited += begun.elapsed();
                    return Ok(event);
                }
                Err(RecvTimeoutError::Disconnected) if self.stop.is_set() => {
                    return Err(FetchError::Stopped);
                }
                Err(RecvTimeoutError::Disconnected) => return Err(self.lost()),
                Err(RecvTimeoutError::Timeout) if self.stop.is_set() => {
                    return Err(FetchError::Stopped);
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() > deadline => {
                    return Err(self.late());
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// A server that drips is as good as silent.
    fn note(&mut self, size: usize) -> Result<(), FetchError> {
        self.came += size as u64;
        if self.waited <= self.patience {
            return Ok(());
        }
        if self.came < LEAST {
            return Err(self.late());
        }
        (self.waited, self.came) = (Duration::ZERO, 0);
        Ok(())
    }

    fn late(&self) -> FetchError {
        let seen = Box::new(Seen {
            url: self.shown_url.clone(),
            ..Seen::default()
        });
        let after = self.patience;
        FetchError::Timeout { seen, after }
    }

    fn lost(&self) -> FetchError {
        FetchError::Internal("a network thread has ended in a panic".to_owned())
    }
}

/// What the thread does. It ends with the answer, with the stop, or when nobody takes the pieces any more.
fn bring(request: RequestBuilder, traffic: &Traffic, stop: &Stop, sender: &SyncSender<Event>) {
    let _in_flight = traffic.enter();
    let mut response = match request.send() {
        Ok(response) => response,
        Err(error) => return drop(sender.send(Event::Cut(Cut::Http(error)))),
    };
    let status = response.status().as_u16();
    traffic.last_status.store(u32::from(status), Relaxed);
    let headers = std::mem::take(response.headers_mut());
    if sender.send(Event::Head(status, headers)).is_err() {
        return;
    }
    loop {
        let mut piece = vec![0; PIECE];
        let event = match response.read(&mut piece) {
            Ok(0) => Event::End,
            Ok(size) => {
                traffic.bytes.fetch_add(size as u64, Relaxed);
                piece.truncate(size);
                Event::Piece(piece)
            }
            Err(error) => Event::Cut(cut_of(error)),
        };
        let last = !matches!(event, Event::Piece(_));
        if stop.is_set() || sender.send(event).is_err() || last {
            return;
        }
    }
}
