//! History is kept for as long as the settings say, then removed in small steps.

use pgrx::prelude::*;

use crate::error::Failure;
use crate::settings;

/// Rows of each kind that are removed in one step: some milliseconds.
const STEP: i32 = 1_000;

/// How many rows were removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    pub runs: i64,
    pub alerts: i64,
    pub rejected: i64,
}

impl Removed {
    pub fn is_nothing(self) -> bool {
        self == Removed::default()
    }
}

impl std::ops::AddAssign for Removed {
    fn add_assign(&mut self, other: Removed) {
        self.runs += other.runs;
        self.alerts += other.alerts;
        self.rejected += other.rejected;
    }
}

/// Removes a little of what is too old. In a transaction, as a superuser.
pub fn tick() -> Result<Removed, Failure> {
    // Not as an update: that would take a transaction number at each visit, also when nothing is old.
    Spi::connect(|client| {
        let row = client
            .select(
                "SELECT runs, alerts, rejected FROM gn_harvest.prune_some($1, $2, $3, $4)",
                Some(1),
                &[
                    STEP.into(),
                    settings::RUN_RETENTION.get().into(),
                    settings::ALERT_RETENTION.get().into(),
                    settings::REJECTED_RETENTION.get().into(),
                ],
            )?
            .first();
        Ok(Removed {
            runs: row.get::<i64>(1)?.unwrap_or(0),
            alerts: row.get::<i64>(2)?.unwrap_or(0),
            rejected: row.get::<i64>(3)?.unwrap_or(0),
        })
    })
}

/// Removes all that is too old.
pub fn prune() -> Result<Removed, Failure> {
    let mut removed = Removed::default();
    loop {
        check_for_interrupts!();
        let step = tick()?;
        if step.is_nothing() {
            return Ok(removed);
        }
        removed += step;
    }
}
