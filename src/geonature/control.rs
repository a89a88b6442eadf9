//! What the main thread and the network threads share: the stop flag, the
//! traffic counters, and the way threads are started.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How a thread is started. The extension gives a function that masks signals
/// first, so that no PostgreSQL handler ever runs outside the main thread.
pub type Spawn = fn(String, Box<dyn FnOnce() + Send>) -> std::io::Result<JoinHandle<()>>;

/// The plain way: `std::thread`, nothing masked.
pub fn plain_spawn(
    name: String,
    work: Box<dyn FnOnce() + Send>,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name).spawn(work)
}

/// A flag that is set once and wakes whoever sleeps on it.
#[derive(Debug, Default)]
pub struct Stop {
    flag: AtomicBool,
    lock: Mutex<()>,
    wake: Condvar,
}

impl Stop {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn set(&self) {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.flag.store(true, Ordering::SeqCst);
        drop(guard);
        self.wake.notify_all();
    }

    pub fn is_set(&self) -> bool {
        self.flag.load(Ordering::SeqCst)
    }

    /// Sleeps; `true` when the whole time has passed, `false` when the stop came first.
    pub fn sleep(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if self.is_set() {
                return false;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            guard = self
                .wake
                .wait_timeout(guard, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

/// Counters of one run, written by the network threads, read by anyone.
#[derive(Debug, Default)]
pub struct Traffic {
    /// HTTP requests sent, retries, redirects and logins included.
    pub requests: AtomicU64,
    /// Requests that were sent again after a fault.
    pub retries: AtomicU64,
    /// Bytes of bodies received, after decompression.
    pub bytes: AtomicU64,
    /// Logins that succeeded.
    pub logins: AtomicU64,
    /// The last HTTP status seen; 0 before the first answer.
    pub last_status: AtomicU32,
    /// Requests that wait for their answer now.
    pub in_flight: AtomicU32,
    /// The most requests that were ever in flight at once.
    pub most_in_flight: AtomicU32,
}

impl Traffic {
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a request in; it is counted out when the guard is dropped.
    pub(super) fn enter(&self) -> InFlight<'_> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let now = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_in_flight.fetch_max(now, Ordering::SeqCst);
        InFlight(self)
    }
}

pub(super) struct InFlight<'a>(&'a Traffic);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}
