//! What a source is due for, and when.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Hours, Schedule, delay};

/// What is known of a source.
#[derive(Debug, Clone)]
pub struct Standing {
    pub source_id: i32,
    pub schedule: Schedule,
    pub reconcile: Option<Schedule>,
    pub jitter: Duration,
    pub hours: Option<Hours>,
    /// Ticks of `schedule` up to here are settled.
    pub settled: Timestamp,
    /// Ticks of `reconcile` up to here are settled.
    pub reconciled: Timestamp,
    /// A run that broke off, and is to be taken up: its mode, and when that was.
    pub broken_off: Option<(String, Timestamp)>,
}

/// How a run is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    Scheduled,
    Reconcile,
    /// That of the run that is taken up.
    TakeUp(String),
}

impl Mode {
    /// The mode of the run.
    pub fn name(&self) -> &str {
        match self {
            Mode::Scheduled => "auto",
            Mode::Reconcile => "reconcile",
            Mode::TakeUp(mode) => mode,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    pub at: Timestamp,
    pub mode: Mode,
}

impl Standing {
    /// What comes next, due already or not; none when nothing is scheduled. Of what is due at `now`, a reconciliation
    /// goes first: it reads everything, the others are settled with it.
    pub fn next(&self, now: Timestamp, zone: &TimeZone) -> Option<Due> {
        let scheduled = self
            .tick(&self.schedule, self.settled, now, zone)
            .map(|at| Due {
                at,
                mode: Mode::Scheduled,
            });
        let reconcile = self
            .reconcile
            .as_ref()
            .and_then(|schedule| self.tick(schedule, self.reconciled, now, zone))
            .map(|at| Due {
                at,
                mode: Mode::Reconcile,
            });
        let taken_up = self.broken_off.as_ref().map(|(mode, since)| Due {
            at: self.within_hours(*since, now, zone),
            mode: Mode::TakeUp(mode.clone()),
        });
        if let Some(reconcile) = reconcile.clone().filter(|due| due.at <= now) {
            return Some(reconcile);
        }
        [taken_up, scheduled, reconcile]
            .into_iter()
            .flatten()
            .min_by_key(|due| due.at)
    }

    /// What is to be started now.
    pub fn due(&self, now: Timestamp, zone: &TimeZone) -> Option<Due> {
        self.next(now, zone).filter(|due| due.at <= now)
    }

    fn tick(
        &self,
        schedule: &Schedule,
        settled: Timestamp,
        now: Timestamp,
        zone: &TimeZone,
    ) -> Option<Timestamp> {
        let tick = schedule.next(settled, zone)?;
        let at = tick
            .checked_add(delay(self.source_id, tick, self.jitter))
            .unwrap_or(tick);
        Some(self.within_hours(at, now, zone))
    }

    /// What falls outside the allowed hours, or has been passed over and would, waits until they begin.
    fn within_hours(&self, at: Timestamp, now: Timestamp, zone: &TimeZone) -> Timestamp {
        let Some(hours) = &self.hours else { return at };
        let opens = hours.opening(at.max(now), zone);
        if opens > now { opens } else { at }
    }
}
