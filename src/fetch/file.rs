//! Reads a file with one thread, into a bounded channel, as [`super::Fetcher`] reads an export. A place in the file is
//! the number of a record; what earlier readings of the same file have covered is read over.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chrono::{NaiveDateTime, TimeDelta};
use url::Url;

use super::{Event, FetchError, Part, Slice, Spawn};
use crate::file::{Broken, Format, Kinds, Splitter};
use crate::geonature::{Chunk, Client, Download, FileHead};

/// The place after which a file has no record.
pub const LAST_PLACE: i64 = 1 << 53;
/// Bytes after which a part is full, whatever its records are.
const FULL: u64 = 8 * 1024 * 1024;
/// Dates further ahead of the file's own than this are no dates of change.
const AHEAD: TimeDelta = TimeDelta::days(1);

/// A date of change, and as the source wrote it.
pub type Latest = (NaiveDateTime, String);

/// Makes a batch of the texts of some records, and says which was changed last, up to a date.
pub type ReadItems<T> =
    Arc<dyn Fn(Vec<String>, NaiveDateTime) -> (T, Option<Latest>) + Send + Sync>;

#[derive(Clone, Debug)]
pub struct FileRequest {
    pub url: Url,
    /// Bytes of a file, and of a record, at most.
    pub most: u64,
    pub longest: usize,
    /// What the values of its columns are in the export's own answers.
    pub kinds: Kinds,
    pub geojson: bool,
    /// Records are kept as they come: their dates have to be written as the API writes them.
    pub whole: bool,
    /// Records of a part, and parts that wait for the main thread, at most.
    pub rows: usize,
    pub queue: usize,
    /// What is left to read, of which file.
    pub slice: Slice,
    pub mark: Option<String>,
}

/// How far a reading has come.
#[derive(Debug, Default)]
struct Gauge {
    bytes: AtomicU64,
    /// 0: not known.
    length: AtomicU64,
    latest: Mutex<Option<Latest>>,
    head: Mutex<FileHead>,
    finished: AtomicBool,
    ended: AtomicBool,
}

/// The thread that reads a file.
pub struct FileReader<T> {
    gauge: Arc<Gauge>,
    client: Client,
    events: Option<Receiver<Event<T>>>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> FileReader<T> {
    pub fn start(
        client: Client,
        request: FileRequest,
        read: ReadItems<T>,
        spawn: Spawn,
    ) -> Result<Self, FetchError> {
        let (sender, events) = sync_channel(request.queue.max(1));
        let gauge = Arc::new(Gauge::default());
        let reading = Reading {
            splitter: Splitter::new(request.longest, request.kinds.clone()),
            client: client.clone(),
            gauge: Arc::clone(&gauge),
            sender,
            read,
            place: 0,
            part: Gathered::default(),
            horizon: NaiveDateTime::MAX,
            request,
        };
        let thread = spawn(
            "gn_harvest reader".to_owned(),
            Box::new(move || reading.run()),
        )
        .map_err(|error| FetchError::Internal(error.to_string()))?;
        Ok(Self {
            gauge,
            client,
            events: Some(events),
            thread: Some(thread),
        })
    }

    /// The next event, if one comes in time.
    pub fn recv_timeout(&self, time: Duration) -> Option<Event<T>> {
        match self.events.as_ref()?.recv_timeout(time) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                let ended = self.gauge.ended.swap(true, Ordering::SeqCst);
                (!ended).then(|| {
                    Event::Failed(FetchError::Internal("the network thread has ended".into()))
                })
            }
        }
    }
}

impl<T> FileReader<T> {
    /// Bytes that have come, and how many there are.
    pub fn progress(&self) -> (u64, Option<u64>) {
        let length = self.gauge.length.load(Ordering::Relaxed);
        let bytes = self.gauge.bytes.load(Ordering::Relaxed);
        (bytes, (length > 0).then_some(length))
    }

    /// The latest change that any record of the file tells of, as the source wrote it.
    pub fn latest(&self) -> Option<String> {
        let latest = self.gauge.latest.lock();
        let latest = latest.unwrap_or_else(PoisonError::into_inner);
        latest.as_ref().map(|(_, text)| text.clone())
    }

    /// What is said of the file that is being read.
    pub fn head(&self) -> FileHead {
        let head = self.gauge.head.lock();
        head.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the thread; `true` when it ended within `patience`. Unless everything was read, the client's requests end
    /// for good.
    pub fn stop(mut self, patience: Duration) -> bool {
        self.halt(patience)
    }

    fn halt(&mut self, patience: Duration) -> bool {
        if !self.gauge.finished.load(Ordering::SeqCst) {
            self.client.stop().set();
        }
        drop(self.events.take());
        let Some(thread) = self.thread.take() else {
            return true;
        };
        let end = Instant::now() + patience;
        while !thread.is_finished() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
        if !thread.is_finished() {
            return false;
        }
        // A panic has been told as an event already.
        let _ = thread.join();
        true
    }
}

impl<T> Drop for FileReader<T> {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.halt(Duration::from_secs(2));
        }
    }
}

/// Why the thread ends before the file does.
enum Cut {
    Failed(FetchError),
    /// Nobody listens any more.
    Unheard,
}

impl From<FetchError> for Cut {
    fn from(error: FetchError) -> Self {
        Cut::Failed(error)
    }
}

/// What has been gathered for the next part.
#[derive(Default)]
struct Gathered {
    first: i64,
    items: Vec<String>,
    /// Of which the texts are needed no more: only their dates are.
    covered: Vec<String>,
    bytes: u64,
}

/// What the thread holds.
struct Reading<T> {
    client: Client,
    request: FileRequest,
    read: ReadItems<T>,
    gauge: Arc<Gauge>,
    sender: SyncSender<Event<T>>,
    splitter: Splitter,
    /// Of the next record.
    place: i64,
    part: Gathered,
    horizon: NaiveDateTime,
}

impl<T> Reading<T> {
    fn run(mut self) {
        let work = catch_unwind(AssertUnwindSafe(|| self.read_file()));
        let error = match work {
            Ok(Ok(())) => {
                self.gauge.finished.store(true, Ordering::SeqCst);
                self.gauge.ended.store(true, Ordering::SeqCst);
                return drop(self.sender.send(Event::Finished));
            }
            Ok(Err(Cut::Unheard)) => return,
            Ok(Err(Cut::Failed(error))) => error,
            Err(_) => FetchError::Internal("panic".to_owned()),
        };
        self.gauge.ended.store(true, Ordering::SeqCst);
        let _ = self.sender.send(Event::Failed(error));
    }

    fn read_file(&mut self) -> Result<(), Cut> {
        let mut download = self.client.file(&self.request.url, self.request.most)?;
        self.note_head(download.head());
        if download.head().mark() != self.request.mark || self.request.mark.is_none() {
            self.begin_anew(download.head())?;
        }
        let mut records = Vec::new();
        loop {
            let result = match download.next_chunk()? {
                Chunk::Bytes(bytes) => self.splitter.feed(&bytes, &mut records),
                Chunk::Restarted => {
                    records.clear();
                    self.note_head(download.head());
                    self.begin_anew(download.head())?;
                    continue;
                }
                Chunk::End { complete } => {
                    let end = self.splitter.finish(complete, &mut records);
                    self.take(&mut records)?;
                    end.map_err(|broken| wrong(&download, &broken))?;
                    return self.finish();
                }
            };
            self.gauge.bytes.store(download.at(), Ordering::Relaxed);
            self.take(&mut records)?;
            result.map_err(|broken| wrong(&download, &broken))?;
        }
    }

    fn note_head(&mut self, head: &FileHead) {
        let length = head.length.unwrap_or(0);
        self.gauge.length.store(length, Ordering::Relaxed);
        self.horizon = (head.as_of() + AHEAD).naive_utc();
        let known = self.gauge.head.lock();
        *known.unwrap_or_else(PoisonError::into_inner) = head.clone();
    }

    /// It is another file: places in it are others, and what was covered before is not.
    fn begin_anew(&mut self, head: &FileHead) -> Result<(), Cut> {
        let request = &mut self.request;
        request.slice = Slice {
            no: request.slice.no + 1,
            remaining: vec![(0, LAST_PLACE)],
        };
        request.mark = head.mark();
        self.splitter = Splitter::new(request.longest, request.kinds.clone());
        self.place = 0;
        self.part = Gathered::default();
        *self.latest() = None;
        let (slice, mark) = (self.request.slice.no, self.request.mark.clone());
        self.send(Event::Restarted { slice, mark })
    }

    fn latest(&self) -> std::sync::MutexGuard<'_, Option<Latest>> {
        let latest = self.gauge.latest.lock();
        latest.unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes records up, and gives them out when there are enough.
    fn take(&mut self, records: &mut Vec<String>) -> Result<(), Cut> {
        for record in records.drain(..) {
            let record = match self.splitter.format() {
                Some(Format::Json) if self.request.whole => {
                    let kinds = &self.request.kinds;
                    kinds.with_dates(&record, self.request.geojson).into_owned()
                }
                _ => record,
            };
            self.part.bytes += record.len() as u64;
            let left = |(first, last): &(i64, i64)| (*first..=*last).contains(&self.place);
            match self.request.slice.remaining.iter().any(left) {
                true => self.part.items.push(record),
                false => self.part.covered.push(record),
            }
            self.place += 1;
            let rows = self.part.items.len() + self.part.covered.len();
            if rows >= self.request.rows.max(1) || self.part.bytes >= FULL {
                self.give()?;
            }
        }
        Ok(())
    }

    fn give(&mut self) -> Result<(), Cut> {
        let next = Gathered {
            first: self.place,
            ..Gathered::default()
        };
        let part = std::mem::replace(&mut self.part, next);
        if !part.covered.is_empty() {
            let (_, latest) = (self.read)(part.covered, self.horizon);
            self.note(latest);
        }
        if part.items.is_empty() {
            return Ok(());
        }
        self.send_part((part.first, self.place - 1), part.items, part.bytes)
    }

    /// Everything after the last record is covered, too: the file is read whole.
    fn finish(&mut self) -> Result<(), Cut> {
        self.give()?;
        self.send_part((self.place, LAST_PLACE), Vec::new(), 0)
    }

    fn send_part(
        &mut self,
        covered: (i64, i64),
        items: Vec<String>,
        bytes: u64,
    ) -> Result<(), Cut> {
        let rows = items.len();
        let (value, latest) = (self.read)(items, self.horizon);
        self.note(latest);
        self.send(Event::Part(Part {
            slice: self.request.slice.no,
            covered,
            value,
            rows,
            hidden: 0,
            total: None,
            bytes,
            elapsed: Duration::ZERO,
            server_date: None,
        }))
    }

    fn note(&self, latest: Option<Latest>) {
        let mut known = self.latest();
        // By the date alone: which text stands for it does not matter.
        if let Some((date, _)) = &latest
            && known.as_ref().is_none_or(|(before, _)| before < date)
        {
            *known = latest;
        }
    }

    fn send(&self, event: Event<T>) -> Result<(), Cut> {
        self.sender.send(event).map_err(|_| Cut::Unheard)
    }
}

fn wrong(download: &Download, broken: &Broken) -> Cut {
    Cut::Failed(download.wrong(broken.to_string()))
}

/// What a look at the beginning of a file shows.
#[derive(Clone, Debug)]
pub struct Beginning {
    pub head: FileHead,
    pub format: Format,
    /// Its first records, at least one, or it has none.
    pub items: Vec<String>,
}

/// Looks at the first records of a file.
pub fn look(
    client: &Client,
    url: &Url,
    (most, longest): (u64, usize),
    records: usize,
    kinds: &Kinds,
) -> Result<Beginning, FetchError> {
    /// As far as is looked for more than one record.
    const ENOUGH: u64 = 1024 * 1024;
    let mut download = client.file(url, most)?;
    let mut splitter = Splitter::new(longest, kinds.clone());
    let mut items = Vec::new();
    loop {
        let (result, over) = match download.next_chunk()? {
            Chunk::Bytes(bytes) => (splitter.feed(&bytes, &mut items), false),
            Chunk::Restarted => {
                splitter = Splitter::new(longest, kinds.clone());
                items.clear();
                continue;
            }
            Chunk::End { complete } => (splitter.finish(complete, &mut items), true),
        };
        result.map_err(|broken| download.wrong(broken.to_string()))?;
        let enough = items.len() >= records || (!items.is_empty() && download.at() > ENOUGH);
        if let Some(format) = splitter.format()
            && (over || enough)
        {
            items.truncate(records);
            let head = download.head().clone();
            return Ok(Beginning {
                head,
                format,
                items,
            });
        }
    }
}
