//! Several workers that write for one run. The worker of the run reads the source for all of them, so that the partner
//! sees one client, and hands out batches; each writes its own. One that fails does not stop the others: what it has not
//! written stays uncovered in its slices and is read again.

use std::time::{Duration, Instant};

use pgrx::bgworkers::{BackgroundWorkerBuilder, BackgroundWorkerStatus, DynamicBackgroundWorker};

use crate::error::Failure;
use crate::fetch::Order;
use crate::harvest::Session;
use crate::postgres;
use crate::postgres::queue::{self, Queue, Sent};
use crate::reading::Reading;
use crate::run;
use crate::settings;
use crate::source::TargetKind;
use crate::worker::MAX_EXTRA;
use crate::writer::{Post, WRITER_TYPE};

/// Batches that a writer may have: the one that it writes and the next.
const AHEAD: u64 = 2;
/// How long a hand-over waits before it looks again whether there is room.
const GLANCE: Duration = Duration::from_millis(5);
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long writers may take to end when the run is over before its time.
const PATIENCE: Duration = Duration::from_secs(2);

/// One of them, as the worker of the run sees it.
struct Writer {
    worker: DynamicBackgroundWorker,
    pid: Option<i32>,
    /// None when no more is handed to it.
    queue: Option<Queue>,
    /// What has not gone into the queue whole yet.
    sending: Option<Vec<u8>>,
    /// Messages, the first of which only says what is read.
    sent: u64,
}

pub struct Writers {
    run_id: i64,
    all: Vec<Writer>,
    beat: Instant,
}

impl Writers {
    /// Starts the writers of a run, where several can share it and there is enough to do; none: its worker writes itself.
    pub fn muster(session: &Session, reading: &Reading) -> Result<Option<Writers>, Failure> {
        let usual = settings::WRITERS.get() as usize;
        let wanted = session.source.writers.unwrap_or(usual);
        let shareable = reading.full && matches!(reading.order, Order::Windows { .. });
        // Records are written at once as they come, and their flaws are told by the one that reads them.
        let observations = session.source.target == TargetKind::Synthese;
        if wanted < 2 || !shareable || !observations || session.task.planned().is_some() {
            return Ok(None);
        }
        let run_id = session.task.run_id;
        let expected = postgres::transaction(|| run::expected(run_id))?;
        if expected.is_some_and(|rows| rows <= i64::from(settings::BATCH_SIZE.get())) {
            return Ok(None);
        }
        let setup = serde_json::to_vec(&(reading.records_layout(), reading.compares()))
            .map_err(|error| Failure::new("XX000", error.to_string()))?;
        let mut writers = Writers {
            run_id,
            all: Vec::with_capacity(wanted),
            beat: Instant::now(),
        };
        while writers.all.len() < wanted && writers.start(session, &setup) {}
        let started = writers.all.len();
        if started < wanted {
            let text = format!(
                "{started} of {wanted} writers could be started: no background worker slot is free (max_worker_processes)"
            );
            postgres::transaction(|| run::warn(run_id, &text))?;
        }
        if started > 1 {
            // What they touch stays with them.
            session.findings.touched.borrow_mut().lose_track();
        }
        // One writer and a worker that reads for it are no faster than a worker that does both.
        Ok((started > 1).then_some(writers))
    }

    /// Whether something has not gone whole to its writer yet.
    pub fn is_sending(&self) -> bool {
        self.all.iter().any(|writer| writer.sending.is_some())
    }

    pub fn count(&self) -> usize {
        self.all.len()
    }

    fn start(&mut self, session: &Session, setup: &[u8]) -> bool {
        let Some(queue) = queue::create() else {
            return false;
        };
        let extra = Post {
            run_id: self.run_id,
            source_id: session.source.id,
            leader: postgres::own_pid(),
            address: queue.address(),
        }
        .encode();
        if extra.len() > MAX_EXTRA {
            return false;
        }
        // The handle lives longer than any transaction.
        let started = postgres::for_life(|| {
            BackgroundWorkerBuilder::new(WRITER_TYPE)
                .set_type(WRITER_TYPE)
                .set_library("gn_harvest")
                .set_function("gn_harvest_writer")
                .set_extra(&extra)
                .set_notify_pid(postgres::own_pid())
                .enable_spi_access()
                .load_dynamic()
        });
        let Ok(worker) = started else { return false };
        let mut writer = Writer {
            worker,
            pid: None,
            queue: Some(queue),
            sending: None,
            sent: 0,
        };
        writer.hand(setup.to_vec());
        self.all.push(writer);
        true
    }

    /// Hands a batch to the writer that has least to do, as soon as there is one; gives it back when none is left.
    pub fn hand_over(
        &mut self,
        session: &Session,
        message: Vec<u8>,
    ) -> Result<Option<Vec<u8>>, Failure> {
        loop {
            self.look_after(session)?;
            let working = self.all.iter_mut().filter(|writer| writer.is_working());
            let Some(writer) = working.min_by_key(|writer| writer.ahead()) else {
                return Ok(Some(message));
            };
            if writer.sending.is_none() && writer.ahead() < AHEAD {
                writer.hand(message);
                return Ok(None);
            }
            postgres::wait_latch(GLANCE);
        }
    }

    /// Waits until those that are left have written what they have.
    pub fn settle(&mut self, session: &Session) -> Result<(), Failure> {
        loop {
            self.look_after(session)?;
            let mut working = self.all.iter().filter(|writer| writer.is_working());
            if working.all(|writer| writer.sending.is_none() && writer.ahead() == 0) {
                return Ok(());
            }
            postgres::wait_latch(GLANCE);
        }
    }

    /// Sends on what waits, notes who is there, writes the figures of the network.
    pub fn look_after(&mut self, session: &Session) -> Result<(), Failure> {
        let before: Vec<i32> = self.pids();
        self.all.iter_mut().for_each(Writer::look_after);
        let now = self.pids();
        if now != before {
            postgres::lead(&now);
            postgres::transaction(|| run::set_writers(self.run_id, &now))?;
        }
        if self.beat.elapsed() > HEARTBEAT {
            postgres::transaction(|| run::set_traffic(self.run_id, &session.traffic))?;
            self.beat = Instant::now();
        }
        Ok(())
    }

    fn pids(&self) -> Vec<i32> {
        self.all.iter().filter_map(|writer| writer.pid).collect()
    }

    /// Nothing more comes: waits until all is written, or its writer gone.
    pub fn finish(mut self, session: &Session) -> Result<(), Failure> {
        loop {
            self.look_after(session)?;
            for writer in &mut self.all {
                if writer.sending.is_none() {
                    writer.queue = None;
                }
            }
            if self.all.iter_mut().all(Writer::is_over) {
                return Ok(());
            }
            postgres::wait_latch(GLANCE);
        }
    }
}

impl Writer {
    /// Whether batches can be handed to it.
    fn is_working(&self) -> bool {
        self.queue.is_some()
    }

    /// Batches that it has and has not written.
    fn ahead(&self) -> u64 {
        let dealt_with = self.queue.as_ref().map_or(0, Queue::dealt_with);
        (self.sent - 1).saturating_sub(dealt_with)
    }

    fn hand(&mut self, message: Vec<u8>) {
        self.sending = Some(message);
        self.sent += 1;
        self.push();
    }

    fn push(&mut self) {
        let (Some(queue), Some(message)) = (&mut self.queue, &self.sending) else {
            return;
        };
        match queue.send(message) {
            Sent::Whole => self.sending = None,
            Sent::Later => {}
            Sent::Gone => self.give_up(),
        }
    }

    fn give_up(&mut self) {
        self.queue = None;
        self.sending = None;
    }

    fn look_after(&mut self) {
        match self.worker.pid() {
            Ok(pid) => self.pid = Some(pid),
            Err(BackgroundWorkerStatus::Stopped) => {
                self.pid = None;
                self.give_up();
            }
            Err(_) => {}
        }
        self.push();
    }

    fn is_over(&mut self) -> bool {
        matches!(self.worker.pid(), Err(BackgroundWorkerStatus::Stopped))
    }
}

/// Those that are still there when the run ends before its time end with it.
impl Drop for Writers {
    fn drop(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        self.all.iter_mut().for_each(Writer::give_up);
        while !self.all.iter_mut().all(Writer::is_over) && Instant::now() < deadline {
            for writer in &self.all {
                if let Ok(pid) = writer.worker.pid() {
                    postgres::terminate(pid);
                }
            }
            std::thread::sleep(GLANCE);
        }
        postgres::lead(&[]);
    }
}
