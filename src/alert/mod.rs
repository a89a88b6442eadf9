//! Alerts: rules that watch the sources, and channels that tell people.
//!
//! `judge` says what a run that has ended means, `watch` what time and people's decisions mean; `book` keeps alerts and
//! gives their events to the channels' outbox. `sender`, a worker of its own, empties it: no run, no scheduler and no
//! session ever waits for a mail server. `hook` calls the source's own function when something has changed.

mod bell;
mod book;
mod channel;
mod email;
mod findings;
mod hook;
mod outbox;
mod sender;
mod watch;
mod webhook;

// Without PostgreSQL: compiled by tests/pure as well.
pub mod judge;
pub mod letter;
pub mod payload;
pub mod rule;
pub mod text;

use crate::error::Failure;
use crate::postgres;
use crate::worker::Task;
pub use email::mailbox;
pub use findings::{Findings, Touched};
pub use judge::ColumnChange;
pub use sender::{send, test};

/// A run whose end is written.
pub struct Ended<'a> {
    pub task: &'a Task,
    /// The search path that the target's code expects.
    pub search_path: &'a str,
    pub failure: Option<&'a Failure>,
    pub findings: &'a Findings,
}

/// At the very end of a run: calls the source's own function, judges the run, and has told what is to be told.
/// Never fails the run: what goes wrong here goes to the log.
pub fn after_run(ended: &Ended) {
    if ended.task.is_check() || ended.task.planned().is_some() {
        return;
    }
    let run_id = ended.task.run_id;
    if let Err(failure) = postgres::guarded(|| hook::call(ended)) {
        pgrx::log!("gn_harvest: after run {run_id}, its function was not called: {failure}");
    }
    if let Err(failure) = postgres::transaction(|| book::judge_run(ended)) {
        pgrx::log!("gn_harvest: run {run_id} could not be judged: {failure}");
    }
    have_sent();
}

/// What time alone changes: for whoever comes by now and then, such as the scheduler. Quick; sends nothing itself.
pub fn tick() -> Result<(), Failure> {
    postgres::transaction(watch::look)?;
    have_sent();
    Ok(())
}

/// Starts the sender when there is something to send. Without a free slot it waits for the next to come by.
fn have_sent() {
    match postgres::transaction(outbox::is_due) {
        Ok(true) => sender::start_alone(),
        Ok(false) => {}
        Err(failure) => pgrx::log!("gn_harvest: alerts could not be sent: {failure}"),
    }
}
