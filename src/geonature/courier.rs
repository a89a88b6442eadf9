//! Threads that block on requests in the place of those who ask. One that hangs
//! when the stop comes is left behind: it keeps nothing of the caller's, and ends
//! with its request. The others are used again: starting a thread costs more than
//! a small request does.

use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::control::{Spawn, Stop};
use super::error::FetchError;

/// How long a stop may go unnoticed by a thread that waits for an answer.
const GLANCE: Duration = Duration::from_millis(25);
/// How long a thread that is about to end is waited for before it is left behind.
pub(super) const GRACE: Duration = Duration::from_millis(50);

type Job = Box<dyn FnOnce() + Send>;

/// A thread that waits for a job; it ends when this side of the channel does.
struct Courier {
    jobs: SyncSender<Job>,
    thread: JoinHandle<()>,
}

pub(super) struct Couriers {
    spawn: Spawn,
    idle: Mutex<Vec<Courier>>,
}

impl Couriers {
    pub fn new(spawn: Spawn) -> Self {
        Self {
            spawn,
            idle: Mutex::default(),
        }
    }

    /// Runs `work` in a thread and waits for what it gives, or for the stop.
    pub fn run<T: Send + 'static>(
        &self,
        stop: &Stop,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, FetchError> {
        let lost = || FetchError::Internal("a network thread has ended in a panic".to_owned());
        let (sender, receiver) = sync_channel(1);
        let job = move || {
            // An error means that the caller has left.
            let _ = sender.send(work());
        };
        let idle = self.idle().pop();
        let courier = match idle {
            Some(courier) => courier,
            None => self.hire()?,
        };
        courier.jobs.send(Box::new(job)).map_err(|_| lost())?;
        let result = loop {
            match receiver.recv_timeout(GLANCE) {
                Err(RecvTimeoutError::Timeout) if !stop.is_set() => {}
                Err(RecvTimeoutError::Timeout) => break receiver.recv_timeout(GRACE),
                result => break result,
            }
        };
        match result {
            Ok(value) => {
                self.idle().push(courier);
                Ok(value)
            }
            Err(RecvTimeoutError::Timeout) => Err(FetchError::Stopped),
            Err(RecvTimeoutError::Disconnected) => Err(lost()),
        }
    }

    /// Ends the threads that have nothing to do.
    pub fn dismiss(&self) {
        let idle = std::mem::take(&mut *self.idle());
        let threads: Vec<_> = idle.into_iter().map(|courier| courier.thread).collect();
        for thread in threads {
            let _ = thread.join();
        }
    }

    fn hire(&self) -> Result<Courier, FetchError> {
        let (jobs, todo) = sync_channel::<Job>(1);
        let serve = move || todo.into_iter().for_each(|job| job());
        let thread = (self.spawn)("gn_harvest io".to_owned(), Box::new(serve))
            .map_err(|error| FetchError::Internal(error.to_string()))?;
        Ok(Courier { jobs, thread })
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Courier>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Couriers {
    fn drop(&mut self) {
        self.dismiss();
    }
}

#[cfg(test)]
mod tests {
    use super::super::control::plain_spawn;
    use super::*;

    #[test]
    fn a_panic_is_told_and_the_next_request_gets_another_thread() {
        let (couriers, stop) = (Couriers::new(plain_spawn), Stop::new());
        let me = || std::thread::current().id();
        let first = couriers.run(&stop, me).expect("first");
        assert_eq!(couriers.run(&stop, me).expect("again"), first);
        let error = couriers.run(&stop, || -> u8 { panic!("on purpose") });
        assert!(matches!(error, Err(FetchError::Internal(_))), "{error:?}");
        assert_ne!(couriers.run(&stop, me).expect("another"), first);
        couriers.dismiss();
        assert!(couriers.idle().is_empty());
    }
}
