//! Which part of which slice to ask for next, and what an answer has covered.
//!
//! A slice is a set of key ranges. A step takes a part of one out, its answer
//! puts back what it did not cover; so no two steps ever overlap, and a slice is
//! done when nothing of it is left, neither waiting nor being asked. Pure: no
//! network, no clock, no threads; the tests drive it by themselves.

use std::collections::VecDeque;

use super::pace::{Aim, Cost, Crowd, Pace};
use super::step::{Answer, Covered, Entry, Kind, Next, Step, span};
use super::{Order, Slice};
use crate::geonature::FetchError;

/// A gap is jumped over when what is left is more than this many windows.
const GAP: i64 = 4;

#[derive(Debug)]
struct Work {
    no: i32,
    /// In order, and apart from each other.
    entries: VecDeque<Entry>,
    in_flight: usize,
    /// The last keys of the windows that are being asked for: what follows one waits for its rest.
    flying: Vec<i64>,
    announcing: bool,
}

impl Work {
    /// The first entry that waits for no answer.
    fn free(&self) -> Option<usize> {
        let waits = |entry: &Entry| {
            self.flying
                .iter()
                .any(|to| to.checked_add(1) == Some(entry.from))
        };
        self.entries.iter().position(|entry| !waits(entry))
    }

    fn insert(&mut self, entry: Entry) {
        let at = self
            .entries
            .partition_point(|other| other.from < entry.from);
        self.entries.insert(at, entry);
    }
}

#[derive(Debug)]
pub struct Plan {
    order: Order,
    page_size: u32,
    uncapped: bool,
    connections: usize,
    pace: Pace,
    crowd: Crowd,
    slices: VecDeque<Work>,
    in_flight: usize,
    page_limit: Option<u32>,
    closed: bool,
    finished: bool,
}

impl Plan {
    pub fn new(order: Order, aim: Aim, connections: usize, uncapped: bool) -> Self {
        let width = match &order {
            Order::Windows { width, .. } => width.unwrap_or(1),
            Order::Pages { .. } => 1,
        };
        Self {
            uncapped: uncapped && matches!(order, Order::Windows { width: Some(_), .. }),
            page_size: aim.rows.max(1),
            connections: connections.max(1),
            pace: Pace::new(aim, width),
            crowd: Crowd::new(connections),
            slices: VecDeque::new(),
            in_flight: 0,
            page_limit: None,
            closed: false,
            finished: false,
            order,
        }
    }

    pub fn crowd(&mut self) -> &mut Crowd {
        &mut self.crowd
    }

    /// Keys of the next window, as learnt so far.
    pub fn width(&self) -> i64 {
        self.pace.width()
    }

    pub fn add(&mut self, slice: Slice) {
        let ranges = slice.remaining.into_iter().filter(|(from, to)| from <= to);
        self.slices.push_back(Work {
            no: slice.no,
            entries: ranges.map(|(from, to)| Entry::new(from, to)).collect(),
            in_flight: 0,
            flying: Vec::new(),
            announcing: false,
        });
    }

    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Whether another slice would be welcome: one ahead of those in work.
    pub fn hungry(&self) -> bool {
        let waiting = self.slices.iter().filter(|s| !s.entries.is_empty()).count();
        !self.closed
            && match &self.order {
                // One for each connection: the windows of a slice come one after the other.
                Order::Windows { width: Some(_), .. } => waiting <= self.connections,
                Order::Windows { width: None, .. } => self.slices.len() <= self.connections,
                Order::Pages { .. } => waiting < 1,
            }
    }

    /// What a thread that asks now is to do.
    pub fn advance(&mut self) -> Next {
        let done = |s: &&mut Work| s.entries.is_empty() && s.in_flight == 0 && !s.announcing;
        if let Some(slice) = self.slices.iter_mut().find(done) {
            slice.announcing = true;
            return Next::SliceDone(slice.no);
        }
        if self.in_flight < self.crowd.allowed()
            && let Some(step) = self.take()
        {
            self.in_flight += 1;
            return Next::Ask(step);
        }
        match (self.finished, self.closed && self.slices.is_empty()) {
            (true, _) => Next::Over,
            (false, true) => {
                self.finished = true;
                Next::Finished
            }
            (false, false) => Next::Wait,
        }
    }

    /// Takes the next step out of the first slice that has one.
    fn take(&mut self) -> Option<Step> {
        let (at, mut entry) = self.next_entry()?;
        let pages = matches!(self.order, Order::Pages { .. });
        let keyset = matches!(self.order, Order::Windows { width: None, .. });
        let (kind, end, limit) = if pages {
            (Kind::Page, entry.from, self.page_size)
        } else if keyset {
            (Kind::Keyset, entry.to, self.pace.limit())
        } else if entry.jump {
            (Kind::Jump, entry.to, 1)
        } else {
            let limit = if self.uncapped { 0 } else { self.page_size };
            (Kind::Window, self.end_of_window(at, &mut entry), limit)
        };
        let slice = &mut self.slices[at];
        if end < entry.to {
            slice.insert(Entry {
                may_jump: entry.may_jump,
                ..Entry::new(end + 1, entry.to)
            });
            entry.to = end;
        }
        slice.in_flight += 1;
        if kind == Kind::Window {
            slice.flying.push(end);
        }
        Some(Step {
            slice: slice.no,
            kind,
            from: entry.from,
            to: end,
            limit,
            patient: entry.patient || kind == Kind::Page,
            entry,
        })
    }

    /// The next range to read, and the position of its slice. When each waits for an answer, the widest is cut in two,
    /// in the middle of where rows are likely.
    fn next_entry(&mut self) -> Option<(usize, Entry)> {
        if !matches!(self.order, Order::Windows { width: Some(_), .. }) {
            let at = self.slices.iter().position(|s| !s.entries.is_empty())?;
            return Some((at, self.slices[at].entries.pop_front()?));
        }
        for (at, slice) in self.slices.iter_mut().enumerate() {
            if let Some(entry) = slice.free().and_then(|index| slice.entries.remove(index)) {
                return Some((at, entry));
            }
        }
        let far = self.pace.width().saturating_mul(GAP);
        let entries = self.slices.iter_mut().enumerate().flat_map(|(at, slice)| {
            let plain = slice.entries.iter_mut().filter(|e| e.is_plain());
            plain.map(move |entry| (at, entry))
        });
        let reach = self.pace.reach();
        let (at, widest) = entries
            .filter(|(_, entry)| entry.span().min(reach) > far)
            .max_by_key(|(_, entry)| entry.span())?;
        let middle = widest.from + (widest.span().min(reach) - 1) / 2;
        let upper = Entry {
            may_jump: widest.may_jump,
            ..Entry::new(middle + 1, widest.to)
        };
        widest.to = middle;
        Some((at, upper))
    }

    /// Where a window that begins an entry ends. A rest is taken whole, its rows have been counted, with what follows it
    /// where that fits into the page too.
    fn end_of_window(&mut self, at: usize, entry: &mut Entry) -> i64 {
        let Some(owed) = entry.owed else {
            let start = entry.data_from.max(entry.from);
            return start.saturating_add(self.pace.width() - 1).min(entry.to);
        };
        let reach = entry.to.saturating_add(self.pace.beyond(owed));
        let wanted = entry.extends && self.pace.leaves_room(owed);
        let slice = &mut self.slices[at];
        let follows = |next: &Entry| entry.to.checked_add(1) == Some(next.from) && next.is_plain();
        let next = slice
            .entries
            .iter()
            .position(|next| wanted && follows(next));
        let Some(next) = next.and_then(|index| slice.entries.remove(index)) else {
            return entry.to;
        };
        entry.to = next.to;
        entry.may_jump = next.may_jump;
        reach.min(next.to)
    }

    /// Takes an answer in; gives what it covered, if anything. The step stays in
    /// flight until [`Plan::delivered`].
    pub fn answered(
        &mut self,
        step: &Step,
        answer: &Answer,
    ) -> Result<Option<Covered>, FetchError> {
        if step.kind == Kind::Page {
            return self.page_answered(step, answer).map(Some);
        }
        self.check_filter(step, answer)?;
        self.land(step);
        match step.kind {
            Kind::Jump => Ok(self.jump_answered(step, answer)),
            _ => self.window_answered(step, answer),
        }
    }

    /// The rows of a step are where they should be: it is out of flight.
    pub fn delivered(&mut self, step: &Step) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(slice) = self.slice(step.slice) {
            slice.in_flight = slice.in_flight.saturating_sub(1);
        }
    }

    /// The end of a slice has been told: it is forgotten.
    pub fn announced(&mut self, no: i32) {
        if let Some(index) = self.slices.iter().position(|s| s.no == no && s.announcing) {
            self.slices.remove(index);
        }
    }

    /// A step failed by its size: it comes back smaller, or is said to be as small as can be.
    pub fn too_large(&mut self, step: &Step) {
        let mut entry = step.entry.clone();
        let keys = span(entry.data_from.max(entry.from), entry.to);
        match step.kind {
            Kind::Jump => {
                entry.jump = false;
                entry.may_jump = false;
            }
            Kind::Keyset => entry.patient = !self.pace.narrow_limit(step.limit),
            Kind::Window if keys > 1 => {
                self.pace.narrow(keys);
                entry.owed = None;
            }
            Kind::Window | Kind::Page => entry.patient = true,
        }
        self.land(step);
        self.put_back(step.slice, entry);
        self.delivered(step);
    }

    fn slice(&mut self, no: i32) -> Option<&mut Work> {
        self.slices.iter_mut().find(|s| s.no == no && !s.announcing)
    }

    /// A window is answered, or too large: what follows it waits no longer.
    fn land(&mut self, step: &Step) {
        if step.kind == Kind::Window
            && let Some(slice) = self.slice(step.slice)
            && let Some(index) = slice.flying.iter().position(|to| *to == step.to)
        {
            slice.flying.swap_remove(index);
        }
    }

    /// Puts a range back, joined with the one that follows it when both are plain.
    fn put_back(&mut self, no: i32, mut entry: Entry) {
        let Some(slice) = self.slice(no) else { return };
        let next = slice
            .entries
            .partition_point(|other| other.from < entry.from);
        if let Some(other) = slice.entries.get(next)
            && entry.to.checked_add(1) == Some(other.from)
            && entry.owed.is_none()
            && !entry.patient
            && other.is_plain()
        {
            entry.to = other.to;
            slice.entries.remove(next);
        }
        slice.insert(entry);
    }

    fn check_filter(&self, step: &Step, answer: &Answer) -> Result<(), FetchError> {
        let outside = |key: &i64| !(step.from..=step.to).contains(key);
        match answer.first.into_iter().chain(answer.last).find(outside) {
            None => Ok(()),
            Some(found) => Err(FetchError::FilterIgnored {
                key: self.key().to_owned(),
                from: step.from,
                to: step.to,
                found,
            }),
        }
    }

    fn key(&self) -> &str {
        match &self.order {
            Order::Windows { key, .. } => key,
            Order::Pages { .. } => "",
        }
    }

    fn window_answered(
        &mut self,
        step: &Step,
        answer: &Answer,
    ) -> Result<Option<Covered>, FetchError> {
        let allowed = match (answer.limit, step.limit) {
            (0, 0) => u32::MAX,
            (0, asked) => asked,
            (given, _) => given,
        };
        if step.limit > 0 && allowed < step.limit {
            self.pace.learn_cap(allowed);
        }
        let counted = answer.total_filtered.unwrap_or(answer.rows);
        let cut = match answer.total_filtered {
            Some(counted) => counted > u64::from(allowed) && answer.rows < counted,
            None => answer.rows >= u64::from(allowed),
        };
        self.learn(step, answer, counted);
        let unserved = counted.saturating_sub(answer.rows);
        let debt = step.entry.debt + lost_of_rest(step, answer, unserved);
        let whole = Covered {
            range: (step.from, step.to),
            hidden: unserved + debt,
        };
        if !cut {
            if counted == 0 && step.kind == Kind::Window {
                self.jump_after(step);
            }
            return Ok(Some(whole));
        }
        match answer.last {
            Some(_) if !answer.sorted => Err(FetchError::OrderIgnored {
                key: self.key().to_owned(),
            }),
            Some(last) if last < step.to => {
                let rest = Entry {
                    owed: answer.total_filtered.map(|_| unserved),
                    extends: !answer.geojson && !answer.keys.is_empty(),
                    may_jump: step.entry.may_jump,
                    ..Entry::new(last + 1, step.to)
                };
                self.put_back(step.slice, rest);
                Ok(Some(Covered {
                    range: (step.from, last),
                    hidden: debt,
                }))
            }
            None if step.entry.span() > 1 => {
                self.halve(step, debt);
                Ok(None)
            }
            // One key only, or the last one was served: the rest can't be reached.
            _ => Ok(Some(whole)),
        }
    }

    fn learn(&mut self, step: &Step, answer: &Answer, counted: u64) {
        self.pace.count(answer.rows, answer.total);
        if step.kind == Kind::Keyset {
            self.pace.widen_limit();
            return;
        }
        if answer.geojson || self.uncapped {
            self.pace.aim_under();
        }
        let asked = span(step.entry.data_from.max(step.from), step.to);
        if counted == 0 {
            self.pace.widen();
            return;
        }
        let bytes = answer.bytes as f64 * (counted as f64 / answer.rows.max(1) as f64);
        self.pace.after_window(
            asked,
            Cost {
                rows: counted,
                bytes: bytes as u64, // saturates
                time: answer.time,
            },
        );
    }

    /// Rows were counted but none was served, so that there is no key to go on from.
    fn halve(&mut self, step: &Step, debt: u64) {
        let middle = step.from + (step.entry.span() - 1) / 2;
        let low = Entry {
            debt,
            ..Entry::new(step.from, middle)
        };
        let high = Entry::new(middle + 1, step.to);
        if let Some(slice) = self.slice(step.slice) {
            slice.insert(high);
            slice.insert(low);
        }
    }

    /// After an empty window: what follows it is looked over for its first key.
    fn jump_after(&mut self, step: &Step) {
        let far = self.pace.width().saturating_mul(GAP);
        if let Some(slice) = self.slice(step.slice)
            && let Some(next) = slice.entries.iter_mut().find(|next| next.from > step.to)
            && step.to.checked_add(1) == Some(next.from)
            && next.may_jump
            && next.owed.is_none()
            && !next.patient
            && next.span() > far
        {
            next.jump = true;
        }
    }

    fn jump_answered(&mut self, step: &Step, answer: &Answer) -> Option<Covered> {
        let counted = answer.total_filtered.unwrap_or(answer.rows);
        if counted == 0 && answer.rows == 0 {
            return Some(Covered {
                range: (step.from, step.to),
                hidden: step.entry.debt,
            });
        }
        let mut entry = step.entry.clone();
        entry.jump = false;
        match answer.first {
            Some(first) => entry.data_from = first,
            None => {
                // Its first row is hidden: on by growing windows.
                entry.may_jump = false;
                self.pace.widen();
            }
        }
        if let Some(slice) = self.slice(step.slice) {
            slice.insert(entry);
        }
        None
    }

    fn page_answered(&mut self, step: &Step, answer: &Answer) -> Result<Covered, FetchError> {
        let allowed = match answer.limit {
            0 => self.page_size,
            given => given,
        };
        let before = *self.page_limit.get_or_insert(allowed);
        if before != allowed {
            let after = allowed;
            return Err(FetchError::PageSizeChanged { before, after });
        }
        let mut hidden = 0;
        if answer.geojson {
            let counted = answer.total_filtered.unwrap_or(0).min(u64::from(allowed));
            hidden = counted.saturating_sub(answer.rows);
        }
        let start = u64::try_from(step.from)
            .unwrap_or(0)
            .saturating_mul(u64::from(allowed));
        let past_end = answer.total.is_none_or(|total| start >= total);
        if answer.rows == 0 && (hidden == 0 || past_end) {
            hidden = 0;
            if let Some(slice) = self.slice(step.slice) {
                slice.entries.clear();
            }
        }
        Ok(Covered {
            range: (step.from, step.to),
            hidden,
        })
    }
}

/// Rows of a rest that its first answer counted and this one, which asked for it and maybe for more, does not find there:
/// they were hidden in what that answer covered.
fn lost_of_rest(step: &Step, answer: &Answer, unserved: u64) -> u64 {
    let (Some(owed), Some(now)) = (step.entry.owed, answer.total_filtered) else {
        return 0;
    };
    let counted_to = step.entry.owed_to;
    if counted_to >= step.to {
        return owed.saturating_sub(now);
    }
    let found = answer.keys.iter().filter(|key| **key <= counted_to).count() as u64;
    match answer.last {
        // The page ended before the rest did: new rows have come, and nothing can be told.
        Some(last) if last < counted_to && unserved > 0 => 0,
        _ => owed.saturating_sub(found),
    }
}
