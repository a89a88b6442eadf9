//! Reads an export in slices, with several threads, into a bounded channel.
//! The main thread of a run feeds slices in and takes parts out; the threads
//! here never touch PostgreSQL, so one that hangs can be left behind.

#[path = "fetch/file.rs"]
pub mod file;
#[path = "fetch/pace.rs"]
pub mod pace;
#[path = "fetch/plan.rs"]
pub mod plan;
#[path = "fetch/step.rs"]
pub mod step;
#[path = "fetch/thread.rs"]
mod thread;

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::geonature::{Client, Page};
pub use crate::geonature::{FetchError, Spawn, plain_spawn};
use pace::Aim;
use plan::Plan;
use thread::Shared;

/// A part of an export, as the checkpoint knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    pub no: i32,
    /// Inclusive ranges of keys (or of page numbers) still to read.
    pub remaining: Vec<(i64, i64)>,
}

/// How an export is walked through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// By a numeric key. `width`: keys of the first window; `None` reads on from a
    /// key up to the slice's end, page after page, for reads that find few rows.
    Windows { key: String, width: Option<i64> },
    /// By page numbers, for exports without a numeric key. The checkpoint counts
    /// pages of `page_size` rows; a slice ends at the first empty page, and the
    /// pages past it are never reported as covered.
    Pages { order_by: Option<String> },
}

#[derive(Clone, Debug)]
pub struct Request {
    pub export_id: i32,
    pub order: Order,
    /// Filters besides those of the windows, as GeoNature wants them.
    pub filters: Vec<(String, String)>,
    /// Rows of a page, at least 1.
    pub page_size: u32,
    /// Requests in flight at most, at least 1.
    pub connections: usize,
    /// Parts that wait for the main thread, at most.
    pub queue: usize,
    /// Asks for `limit=0` inside windows, which goes round the server's cap: only
    /// with the agreement of the source's owner.
    pub uncapped: bool,
}

impl Request {
    /// A request with 1000 rows a page, 2 connections, 2 parts queued.
    pub fn new(export_id: i32, order: Order) -> Self {
        Self {
            export_id,
            order,
            filters: Vec::new(),
            page_size: 1000,
            connections: 2,
            queue: 2,
            uncapped: false,
        }
    }
}

/// The keys of a page, as its parser saw them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRange {
    /// The smallest key; `None` when no item has a readable one.
    pub first: Option<i64>,
    /// The greatest key.
    pub last: Option<i64>,
    /// Whether the keys came out of order.
    pub unsorted: bool,
    /// All of them.
    pub keys: Vec<i64>,
}

impl KeyRange {
    /// The range of keys given in the order of the page.
    pub fn of(keys: impl IntoIterator<Item = i64>) -> Self {
        let mut range = Self::default();
        for key in keys {
            range.unsorted |= range.last.is_some_and(|last| key < last);
            range.first = Some(range.first.map_or(key, |first| first.min(key)));
            range.last = Some(range.last.map_or(key, |last| last.max(key)));
            range.keys.push(key);
        }
        range
    }
}

/// What one answer brought.
#[derive(Clone, Debug)]
pub struct Part<T> {
    pub slice: i32,
    /// Inclusive range of keys (or the page number) that need not be read again.
    pub covered: (i64, i64),
    pub value: T,
    /// Items of the page.
    pub rows: usize,
    /// Rows that the server counted but did not serve: those without geometry in
    /// GeoJSON, and those of a same key that a page's end cut off.
    pub hidden: u64,
    /// Rows of the whole view, as counted by this answer.
    pub total: Option<u64>,
    /// Size of the body.
    pub bytes: u64,
    /// Duration of the request.
    pub elapsed: Duration,
    /// The server's clock when it answered.
    pub server_date: Option<chrono::DateTime<chrono::Utc>>,
}

#[derive(Debug)]
pub enum Event<T> {
    Part(Part<T>),
    /// Every part of that slice has been given out.
    SliceDone(i32),
    /// Of a file only: it is another than before, and is read from its beginning as that slice; what tells it from
    /// others. Earlier slices count no more.
    Restarted {
        slice: i32,
        mark: Option<String>,
    },
    /// The read has failed; what comes after this may be ignored.
    Failed(FetchError),
    /// Every slice is done, and no more will come.
    Finished,
}

/// Makes a batch of a page, and says which keys it held.
pub type Parse<T> = Arc<dyn Fn(&Page) -> (T, KeyRange) + Send + Sync>;

/// The threads that read an export.
pub struct Fetcher<T> {
    shared: Arc<Shared>,
    client: Client,
    events: Option<Receiver<Event<T>>>,
    threads: Vec<JoinHandle<()>>,
}

impl<T: Send + 'static> Fetcher<T> {
    /// Starts the threads; they wait for slices.
    pub fn start(
        client: Client,
        request: Request,
        parse: Parse<T>,
        spawn: Spawn,
    ) -> Result<Self, FetchError> {
        let (sender, events) = sync_channel(request.queue.max(1));
        let limits = client.limits();
        let aim = Aim {
            rows: request.page_size.max(1),
            bytes: (limits.max_body_bytes / 4).clamp(1, 8 * 1024 * 1024),
            time: (limits.request_timeout / 3).min(Duration::from_secs(10)),
        };
        let connections = request.connections.max(1);
        let plan = Plan::new(request.order.clone(), aim, connections, request.uncapped);
        let shared = Arc::new(Shared::new(plan));
        let mut fetcher = Self {
            shared: Arc::clone(&shared),
            client: client.clone(),
            events: Some(events),
            threads: Vec::with_capacity(connections),
        };
        for number in 1..=connections {
            let reader = thread::Reader {
                client: client.clone(),
                request: request.clone(),
                parse: Arc::clone(&parse),
                shared: Arc::clone(&shared),
                events: sender.clone(),
            };
            let name = format!("gn_harvest {number}");
            let thread = spawn(name, Box::new(move || reader.run()))
                .map_err(|error| FetchError::Internal(error.to_string()))?;
            fetcher.threads.push(thread);
        }
        Ok(fetcher)
    }

    pub fn add_slice(&self, slice: Slice) {
        self.shared.plan().add(slice);
        self.shared.changed.notify_all();
    }

    pub fn no_more_slices(&self) {
        self.shared.plan().close();
        self.shared.changed.notify_all();
    }

    /// Whether another slice would be welcome.
    pub fn hungry(&self) -> bool {
        self.shared.plan().hungry()
    }

    /// Keys of the next window, as learnt so far: how large a slice is worth its while.
    pub fn width(&self) -> i64 {
        self.shared.plan().width()
    }

    /// The next event, if one comes in time.
    pub fn recv_timeout(&self, time: Duration) -> Option<Event<T>> {
        let events = self.events.as_ref()?;
        match events.recv_timeout(time) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                let ended = self.shared.ended.swap(true, Ordering::SeqCst);
                (!ended).then(|| {
                    Event::Failed(FetchError::Internal(
                        "every network thread has ended".into(),
                    ))
                })
            }
        }
    }

    /// Ends the threads. Unless everything was read, this sets the client's stop
    /// flag, which ends its requests for good. `true` when every thread ended
    /// within `patience`; the others are left behind.
    pub fn stop(mut self, patience: Duration) -> bool {
        self.halt(patience)
    }
}

impl<T> Fetcher<T> {
    fn halt(&mut self, patience: Duration) -> bool {
        if !self.shared.finished.load(Ordering::SeqCst) {
            self.client.stop().set();
        }
        self.shared.cancelled.store(true, Ordering::SeqCst);
        // Whoever waits for room in the channel is told that nobody reads it.
        drop(self.events.take());
        drop(
            self.shared
                .plan
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        self.shared.changed.notify_all();
        let end = Instant::now() + patience;
        let mut joined = true;
        for thread in self.threads.drain(..) {
            while !thread.is_finished() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(2));
            }
            if thread.is_finished() {
                // A panic has been told as an event already.
                let _ = thread.join();
            } else {
                joined = false;
            }
        }
        self.client.rest();
        joined
    }
}

impl<T> Drop for Fetcher<T> {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.halt(Duration::from_secs(2));
        }
    }
}
