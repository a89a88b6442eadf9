//! When a request is sent again: a budget for the whole run, exponential
//! back-off with jitter, and the server's own wish (`Retry-After`) first.

use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::control::{Stop, Traffic};
use super::endpoint::Limits;
use super::error::FetchError;

/// Retries of one request, by the kind of fault.
const TRANSIENT: u32 = 6;
const CONTENT: u32 = 3;
const SERVER_ERROR: u32 = 2;

/// The faults that one request has met so far.
#[derive(Debug, Default)]
pub(super) struct Tries {
    transient: u32,
    content: u32,
    server_error: u32,
    /// Whether the server showed that it was at its limit.
    pub strained: bool,
}

impl Tries {
    /// Counts a fault; `None` when it has come too often, else how many retries in all.
    fn count(&mut self, error: &FetchError) -> Option<u32> {
        let (count, most) = match error {
            FetchError::NotJson { .. } | FetchError::BadShape { .. } => {
                (&mut self.content, CONTENT)
            }
            FetchError::Status { status: 500, .. } => (&mut self.server_error, SERVER_ERROR),
            _ => (&mut self.transient, TRANSIENT),
        };
        *count += 1;
        (*count <= most).then_some(self.transient + self.content + self.server_error)
    }
}

/// The retries of a run, shared by its threads.
pub(super) struct Retry {
    budget: u32,
    left: AtomicU32,
    first: Duration,
    cap: Duration,
    longest_wish: Duration,
    /// Nothing is sent before this instant: the server has asked for a pause.
    pause_until: Mutex<Option<Instant>>,
    stop: Arc<Stop>,
    traffic: Arc<Traffic>,
}

impl Retry {
    pub fn new(limits: &Limits, stop: Arc<Stop>, traffic: Arc<Traffic>) -> Self {
        Self {
            budget: limits.retry_budget,
            left: AtomicU32::new(limits.retry_budget),
            first: limits.backoff_first,
            cap: limits.backoff_cap,
            longest_wish: limits.max_retry_after,
            pause_until: Mutex::new(None),
            stop,
            traffic,
        }
    }

    /// Waits until the request may be sent again; the error itself when it may not.
    pub fn wait(&self, error: FetchError, tries: &mut Tries) -> Result<(), FetchError> {
        tries.strained |= error.strained();
        if !error.retryable() {
            return Err(error);
        }
        let wish = match &error {
            FetchError::Status { retry_after, .. } => *retry_after,
            _ => None,
        };
        if wish.is_some_and(|wish| wish > self.longest_wish) {
            return Err(error);
        }
        let Some(retries) = tries.count(&error) else {
            return Err(error);
        };
        self.draw(error)?;
        // The wish is the least that the server wants: a server that wishes for nothing is not asked without end.
        let delay = wish
            .unwrap_or_default()
            .max(jitter(backoff(self.first, self.cap, retries)));
        if wish.is_some() {
            self.pause(delay);
        }
        if self.stop.sleep(delay) {
            self.traffic.retries.fetch_add(1, Ordering::Relaxed);
            Ok(())
        } else {
            Err(FetchError::Stopped)
        }
    }

    /// Takes one retry from the budget.
    fn draw(&self, error: FetchError) -> Result<(), FetchError> {
        self.left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            })
            .map(drop)
            .map_err(|_| FetchError::RetryBudgetExhausted {
                retries: self.budget,
                last: Box::new(error),
            })
    }

    fn pause(&self, time: Duration) {
        let until = Instant::now() + time;
        let mut pause = self
            .pause_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *pause = Some(pause.map_or(until, |before| before.max(until)));
    }

    /// Sleeps through a pause that the server has asked for, by whichever thread.
    pub fn respect_pause(&self) -> Result<(), FetchError> {
        let until = *self
            .pause_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let left = until.map_or(Duration::ZERO, |until| {
            until.saturating_duration_since(Instant::now())
        });
        if left.is_zero() || self.stop.sleep(left) {
            Ok(())
        } else {
            Err(FetchError::Stopped)
        }
    }
}

/// `first`, doubled at each retry, up to `cap`. `retries` counts from 1.
fn backoff(first: Duration, cap: Duration, retries: u32) -> Duration {
    let doublings = retries.saturating_sub(1).min(20);
    first.saturating_mul(1 << doublings).min(cap)
}

/// Between half of the delay and the whole of it, at random, so that clients
/// which failed together do not come back together.
fn jitter(delay: Duration) -> Duration {
    let random = std::hash::RandomState::new().build_hasher().finish() % 1000;
    delay / 2 + (delay / 2).mul_f64(random as f64 / 1000.0)
}

/// `Retry-After`: seconds, or a date set against the server's own clock.
pub(super) fn retry_after(value: &str, server_now: Option<DateTime<Utc>>) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = http_date(value)?;
    let wait = date - server_now.unwrap_or_else(Utc::now);
    Some(wait.to_std().unwrap_or(Duration::ZERO))
}

/// A date of an HTTP header.
pub(super) fn http_date(value: &str) -> Option<DateTime<Utc>> {
    let date = DateTime::parse_from_rfc2822(value.trim()).ok()?;
    Some(date.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_may_be_given_in_seconds_or_as_a_date() {
        let now = http_date("Mon, 23 Nov 2026 16:11:18 GMT");
        assert_eq!(retry_after("7", now), Some(Duration::from_secs(7)));
        assert_eq!(
            retry_after("Mon, 23 Nov 2026 16:12:18 GMT", now),
            Some(Duration::from_secs(60))
        );
        assert_eq!(
            retry_after("Mon, 23 Nov 2026 16:00:00 GMT", now),
            Some(Duration::ZERO)
        );
        assert_eq!(retry_after("soon", now), None);
    }

    #[test]
    fn the_delay_doubles_up_to_its_cap_and_jitter_only_shortens_it() {
        let (first, cap) = (Duration::from_secs(1), Duration::from_secs(10));
        let delays: Vec<u64> = (1..7).map(|n| backoff(first, cap, n).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 10, 10]);
        for _ in 0..100 {
            let delay = jitter(cap);
            assert!(delay >= cap / 2 && delay <= cap);
        }
    }
}
