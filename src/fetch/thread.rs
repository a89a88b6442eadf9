//! One thread of a read: takes a step, asks for it, parses it, delivers it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::plan::Plan;
use super::step::{Answer, Kind, Next, Step};
use super::{Event, FetchError, Order, Parse, Part, Request};
use crate::geonature::{Client, Page, PageQuery, Patience};

/// How long a thread without work may miss a stop that was not notified.
const GLANCE: Duration = Duration::from_millis(100);

/// What the threads of a read share.
pub(super) struct Shared {
    pub plan: Mutex<Plan>,
    /// The plan has changed: there may be work.
    pub changed: Condvar,
    /// Nobody wants the rest.
    pub cancelled: AtomicBool,
    /// Everything was read and told.
    pub finished: AtomicBool,
    /// `Finished` or `Failed` was told.
    pub ended: AtomicBool,
}

impl Shared {
    pub fn new(plan: Plan) -> Self {
        Self {
            plan: Mutex::new(plan),
            changed: Condvar::new(),
            cancelled: AtomicBool::new(false),
            finished: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        }
    }

    pub fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reader is to end: it was cancelled, or nobody listens any more.
struct Ended;

pub(super) struct Reader<T> {
    pub client: Client,
    pub request: Request,
    pub parse: Parse<T>,
    pub shared: Arc<Shared>,
    pub events: SyncSender<Event<T>>,
}

impl<T> Reader<T> {
    /// Works until everything is read, something fails, or nobody listens.
    pub fn run(self) {
        let work = catch_unwind(AssertUnwindSafe(|| while self.turn().is_ok() {}));
        if let Err(panic) = work {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("panic");
            let _ = self.fail(FetchError::Internal(text.to_owned()));
        }
    }

    fn turn(&self) -> Result<(), Ended> {
        match self.next()? {
            Next::Ask(step) => self.read(&step),
            Next::SliceDone(no) => {
                self.send(Event::SliceDone(no))?;
                self.shared.plan().announced(no);
                self.shared.changed.notify_all();
                Ok(())
            }
            Next::Finished => {
                self.shared.finished.store(true, Ordering::SeqCst);
                self.shared.ended.store(true, Ordering::SeqCst);
                self.shared.changed.notify_all();
                let _ = self.send(Event::Finished);
                Err(Ended)
            }
            Next::Over | Next::Wait => Err(Ended),
        }
    }

    /// Waits for something to do.
    fn next(&self) -> Result<Next, Ended> {
        let mut plan = self.shared.plan();
        loop {
            if self.shared.cancelled.load(Ordering::SeqCst) {
                return Err(Ended);
            }
            if self.client.stop().is_set() {
                drop(plan);
                return self.fail(FetchError::Stopped).map(|()| Next::Over);
            }
            match plan.advance() {
                Next::Wait => {}
                next => return Ok(next),
            }
            plan = self
                .shared
                .changed
                .wait_timeout(plan, GLANCE)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn read(&self, step: &Step) -> Result<(), Ended> {
        let patience = if step.patient {
            Patience::SameAgain
        } else {
            Patience::AskLess
        };
        let query = self.query(step);
        let export_id = self.request.export_id;
        match self.client.page_with(export_id, &query, patience) {
            Ok(page) => self.deliver(step, &page),
            Err(error) if patience == Patience::AskLess && error.narrower() => {
                if error.strained() {
                    self.shared.plan().crowd().trouble();
                }
                if let Err(error) = self.client.back_off(error) {
                    return self.fail(error);
                }
                self.shared.plan().too_large(step);
                self.shared.changed.notify_all();
                Ok(())
            }
            Err(error) => self.fail(error),
        }
    }

    fn deliver(&self, step: &Step, page: &Page) -> Result<(), Ended> {
        let (value, keys) = (self.parse)(page);
        let answer = Answer {
            rows: page.len() as u64,
            first: keys.first,
            last: keys.last,
            sorted: !keys.unsorted,
            keys: keys.keys,
            limit: page.limit,
            total: page.total,
            total_filtered: page.total_filtered,
            geojson: page.geojson,
            bytes: page.bytes,
            time: page.elapsed,
        };
        let covered = {
            let mut plan = self.shared.plan();
            if page.strained {
                plan.crowd().trouble();
            } else {
                plan.crowd().well();
            }
            plan.answered(step, &answer)
        };
        let covered = match covered {
            Ok(covered) => covered,
            Err(error) => return self.fail(error),
        };
        self.shared.changed.notify_all();
        if let Some(covered) = covered {
            self.send(Event::Part(Part {
                slice: step.slice,
                covered: covered.range,
                value,
                rows: page.len(),
                hidden: covered.hidden,
                total: page.total,
                bytes: page.bytes,
                elapsed: page.elapsed,
                server_date: page.server_date,
            }))?;
        }
        self.shared.plan().delivered(step);
        self.shared.changed.notify_all();
        Ok(())
    }

    fn query(&self, step: &Step) -> PageQuery {
        let mut query = PageQuery {
            limit: Some(step.limit),
            filters: self.request.filters.clone(),
            ..PageQuery::default()
        };
        match &self.request.order {
            Order::Pages { order_by } => {
                query.offset = u32::try_from(step.from).unwrap_or(u32::MAX);
                query.order_by.clone_from(order_by);
            }
            Order::Windows { key, .. } => {
                query.order_by = Some(key.clone());
                // The ends of the world need no filter.
                if step.from > i64::MIN {
                    query
                        .filters
                        .push((format!("filter_n_up_{key}"), step.from.to_string()));
                }
                if step.to < i64::MAX {
                    query
                        .filters
                        .push((format!("filter_n_lo_{key}"), step.to.to_string()));
                }
            }
        }
        debug_assert!(step.kind != Kind::Page || step.from == step.to);
        query
    }

    /// Tells the first failure, and ends every thread of the read.
    fn fail(&self, error: FetchError) -> Result<(), Ended> {
        let told = self.shared.ended.swap(true, Ordering::SeqCst);
        self.shared.cancelled.store(true, Ordering::SeqCst);
        self.shared.changed.notify_all();
        if !told {
            let _ = self.send(Event::Failed(error));
        }
        Err(Ended)
    }

    fn send(&self, event: Event<T>) -> Result<(), Ended> {
        self.events.send(event).map_err(|_| Ended)
    }
}
