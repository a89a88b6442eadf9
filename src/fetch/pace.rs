//! How much to ask for at a time: learnt from what came back. One estimate is
//! shared by the threads of a run. Pure: no clock, no network.

use std::time::Duration;

/// The bounds within which a window should stay.
#[derive(Clone, Copy, Debug)]
pub struct Aim {
    /// Rows of a page, before the server's cap is known.
    pub rows: u32,
    pub bytes: u64,
    pub time: Duration,
}

/// What an answer cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Rows of the whole window, also of the part that did not fit into the page.
    pub rows: u64,
    /// Bytes and time of the whole window, estimated when only a part came.
    pub bytes: u64,
    pub time: Duration,
}

#[derive(Clone, Debug)]
pub struct Pace {
    aim: Aim,
    /// Keys of the next window, at least 1.
    width: i64,
    /// Rows that the server gives at most, as its answers say.
    cap: Option<u32>,
    /// Rows to ask for, when the width of a window can't be chosen (keyset).
    limit: u32,
    /// Rows to find in a window, in pages.
    fill: f64,
    /// The shortest answer so far: what a request costs before its first row.
    fixed: Option<Duration>,
    /// Rows that came, and those to come where the server counts them.
    served: u64,
    to_come: Option<u64>,
}

/// A window grows and shrinks by this factor at most from one to the next.
const STEP: i64 = 4;
/// Windows aim over the page, so that each is cut and every page is full: the rest comes with the next window.
const OVER: f64 = 1.25;
/// Where a rest has to be asked for by itself they aim a little under it, so that few are cut.
const UNDER: f64 = 0.9;

impl Pace {
    pub fn new(aim: Aim, width: i64) -> Self {
        Self {
            aim,
            width: width.max(1),
            cap: None,
            limit: aim.rows.max(1),
            fill: OVER,
            fixed: None,
            served: 0,
            to_come: None,
        }
    }

    pub fn width(&self) -> i64 {
        self.width
    }

    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// The server gives fewer rows than were asked.
    pub fn learn_cap(&mut self, cap: u32) {
        self.cap = Some(cap);
    }

    /// Rests of this export can't be asked for together with what follows them.
    pub fn aim_under(&mut self) {
        self.fill = UNDER;
    }

    fn page(&self) -> u32 {
        let rows = self.cap.map_or(self.aim.rows, |cap| cap.min(self.aim.rows));
        rows.max(1)
    }

    /// Whether some rows leave room for others in a page.
    pub fn leaves_room(&self, rows: u64) -> bool {
        rows < u64::from(self.page())
    }

    /// Keys to ask for beyond a rest of so many rows.
    pub fn beyond(&self, owed: u64) -> i64 {
        let missing = 1.0 - owed as f64 / (f64::from(self.page()) * self.fill);
        ((self.width as f64 * missing) as i64).max(1)
    }

    /// So many rows have come; the server says how many there are in all.
    pub fn count(&mut self, rows: u64, total: Option<u64>) {
        self.served += rows;
        self.to_come = total.and_then(|total| total.checked_sub(self.served));
    }

    /// Keys among which the rows to come are, if they lie as close as those that came: beyond may be nothing. None is
    /// known of before the first answer.
    pub fn reach(&self) -> i64 {
        if self.fixed.is_none() {
            return 0;
        }
        let Some(rows) = self.to_come else {
            return i64::MAX;
        };
        let windows = rows as f64 / (f64::from(self.page()) * self.fill);
        (self.width as f64 * windows) as i64 // saturates
    }

    /// After a window of `asked` keys.
    pub fn after_window(&mut self, asked: i64, cost: Cost) {
        let fixed = self.fixed.map_or(cost.time, |fixed| fixed.min(cost.time));
        self.fixed = Some(fixed);
        // A window may be short because its range ended: it says little about wider ones.
        let short = asked < self.width / STEP;
        let factor = self.factor(cost, fixed);
        if short && factor >= 1.0 {
            return;
        }
        let ideal = (asked as f64 * factor) as i64; // saturates
        let narrowest = (self.width / STEP).max(1);
        let widest = self.width.saturating_mul(STEP);
        self.width = ideal.clamp(narrowest, widest);
    }

    /// By how much the window could grow (or must shrink) to meet every aim.
    fn factor(&self, cost: Cost, fixed: Duration) -> f64 {
        let by_rows = f64::from(self.page()) * self.fill / cost.rows.max(1) as f64;
        let by_bytes = self.aim.bytes as f64 / cost.bytes.max(1) as f64;
        // Only the time that grows with the window can be gained by narrowing it.
        let spent = (cost.time - fixed).as_secs_f64();
        let room = self.aim.time.saturating_sub(fixed).max(self.aim.time / 4);
        let by_time = room.as_secs_f64() / spent.max(1e-3);
        by_rows.min(by_bytes).min(by_time)
    }

    /// The window was empty: wider, as there is nothing to overflow.
    pub fn widen(&mut self) {
        self.width = self.width.saturating_mul(STEP);
    }

    /// A window of `asked` keys failed by its size: half of it.
    pub fn narrow(&mut self, asked: i64) {
        self.width = self.width.min(asked / 2).max(1);
    }

    /// A page without bounds failed by its size: half the rows; `false` when it had only one.
    pub fn narrow_limit(&mut self, asked: u32) -> bool {
        self.limit = self.limit.min(asked / 2).max(1);
        asked > 1
    }

    /// A page without bounds came well: the rows asked may grow back.
    pub fn widen_limit(&mut self) {
        self.limit = self.limit.saturating_mul(2).min(self.aim.rows.max(1));
    }
}

/// How many threads may ask at once: fewer while the server is at its limit.
#[derive(Clone, Debug)]
pub struct Crowd {
    most: usize,
    allowed: usize,
    calm: u32,
}

/// Answers without trouble before one more thread is let in.
const CALM: u32 = 10;

impl Crowd {
    pub fn new(most: usize) -> Self {
        let most = most.max(1);
        Self {
            most,
            allowed: most,
            calm: 0,
        }
    }

    pub fn allowed(&self) -> usize {
        self.allowed
    }

    pub fn trouble(&mut self) {
        self.allowed = (self.allowed / 2).max(1);
        self.calm = 0;
    }

    pub fn well(&mut self) {
        self.calm += 1;
        if self.calm >= CALM && self.allowed < self.most {
            self.allowed += 1;
            self.calm = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(width: i64) -> Pace {
        let aim = Aim {
            rows: 1000,
            bytes: 8_000_000,
            time: Duration::from_secs(10),
        };
        Pace::new(aim, width)
    }

    fn cost(rows: u64, bytes: u64, millis: u64) -> Cost {
        Cost {
            rows,
            bytes,
            time: Duration::from_millis(millis),
        }
    }

    #[test]
    fn a_window_grows_by_four_at_most_to_a_page_and_a_quarter() {
        let mut pace = pace(100);
        pace.after_window(100, cost(10, 20_000, 300));
        assert_eq!(pace.width(), 400);
        pace.after_window(400, cost(400, 800_000, 300));
        assert_eq!(pace.width(), 1250);
    }

    #[test]
    fn where_rests_are_asked_for_by_themselves_a_window_stays_under_the_page() {
        let mut pace = pace(400);
        pace.aim_under();
        pace.after_window(400, cost(400, 800_000, 300));
        assert_eq!(pace.width(), 900);
    }

    #[test]
    fn a_window_shrinks_for_rows_bytes_and_time() {
        let mut rows = pace(1000);
        rows.after_window(1000, cost(2000, 1, 1));
        assert_eq!(rows.width(), 625);
        let mut bytes = pace(1000);
        bytes.after_window(1000, cost(900, 16_000_000, 1));
        assert_eq!(bytes.width(), 500);
        let mut time = pace(1000);
        time.after_window(100, cost(1, 1, 1_000));
        time.after_window(1000, cost(900, 1, 19_000));
        assert_eq!(time.width(), 500);
    }

    #[test]
    fn a_cost_that_does_not_depend_on_the_window_does_not_shrink_it() {
        let mut pace = pace(1000);
        for _ in 0..10 {
            pace.after_window(1000, cost(1250, 1, 22_000));
        }
        assert_eq!(pace.width(), 1000);
    }

    #[test]
    fn the_cap_of_the_server_is_the_aim() {
        let mut pace = pace(1000);
        pace.learn_cap(100);
        pace.after_window(1000, cost(1000, 1, 1));
        assert_eq!(pace.width(), 250);
    }

    #[test]
    fn what_is_to_come_lies_as_close_as_what_came() {
        let mut pace = pace(1250);
        assert_eq!(pace.reach(), 0);
        pace.after_window(1250, cost(1250, 1, 1));
        assert_eq!(pace.reach(), i64::MAX);
        pace.count(500, Some(5_500));
        assert_eq!(pace.reach(), 5_000);
        pace.count(5_000, Some(5_500));
        assert_eq!(pace.reach(), 0);
        // A count that can't be is none.
        pace.count(1, Some(5_500));
        assert_eq!(pace.reach(), i64::MAX);
    }

    #[test]
    fn fewer_threads_while_there_is_trouble() {
        let mut crowd = Crowd::new(4);
        crowd.trouble();
        crowd.trouble();
        crowd.trouble();
        assert_eq!(crowd.allowed(), 1);
        for _ in 0..30 {
            crowd.well();
        }
        assert_eq!(crowd.allowed(), 4);
    }
}
