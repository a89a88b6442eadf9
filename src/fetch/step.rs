//! What the plan of a read is made of: the requests to make, what came back of
//! them, and the ranges of keys still to read.

use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// From a key to a key, expected to fit into a page.
    Window,
    /// From a key on, the page's length decides how far it goes.
    Keyset,
    /// One row, to find where the keys go on after a gap.
    Jump,
    /// A page number.
    Page,
}

/// A request to make: the keys (or page number) from `from` to `to`, inclusive.
#[derive(Clone, Debug)]
pub struct Step {
    pub slice: i32,
    pub kind: Kind,
    pub from: i64,
    pub to: i64,
    /// Rows to ask for; 0 asks for all of them.
    pub limit: u32,
    /// It can't be made smaller: faults of size are retried as they are.
    pub patient: bool,
    pub(super) entry: Entry,
}

#[derive(Debug)]
pub enum Next {
    Ask(Step),
    /// Everything of that slice has been delivered.
    SliceDone(i32),
    /// Every slice is done and no more will come; said once.
    Finished,
    /// `Finished` has been said.
    Over,
    /// Nothing to do for this thread for now.
    Wait,
}

/// What came back, without its rows.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub rows: u64,
    pub first: Option<i64>,
    pub last: Option<i64>,
    pub sorted: bool,
    /// The key of each row.
    pub keys: Vec<i64>,
    /// Rows that the server allowed; 0 when it does not say.
    pub limit: u32,
    pub total: Option<u64>,
    pub total_filtered: Option<u64>,
    pub geojson: bool,
    pub bytes: u64,
    pub time: Duration,
}

/// The keys that a slice need not read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Covered {
    pub range: (i64, i64),
    /// Rows that the server counted and did not serve.
    pub hidden: u64,
}

/// A range of keys still to read.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub from: i64,
    pub to: i64,
    /// No key is below this one: windows are measured from here.
    pub data_from: i64,
    /// Rows counted here by the answer that left this rest; fewer now means that
    /// the difference was hidden in what that answer covered.
    pub owed: Option<u64>,
    /// Rows known to be hidden, not reported yet.
    pub debt: u64,
    /// Up to where that was counted.
    pub owed_to: i64,
    /// What follows may be asked for together with this rest.
    pub extends: bool,
    pub jump: bool,
    pub may_jump: bool,
    pub patient: bool,
}

impl Entry {
    pub fn new(from: i64, to: i64) -> Self {
        Self {
            from,
            to,
            data_from: from,
            owed: None,
            debt: 0,
            owed_to: to,
            extends: false,
            jump: false,
            may_jump: true,
            patient: false,
        }
    }

    /// Nothing is known of it but that it is to be read.
    pub fn is_plain(&self) -> bool {
        self.owed.is_none() && self.debt == 0 && !self.jump && !self.patient
    }

    pub fn span(&self) -> i64 {
        span(self.from, self.to)
    }
}

/// Number of keys from one to another, both included, at most `i64::MAX`.
pub(super) fn span(from: i64, to: i64) -> i64 {
    to.saturating_sub(from).saturating_add(1)
}
