//! The source's log of deletions, read whole. The log is sorted by date only,
//! and rows deleted by one statement share a date: pages may repeat some and miss
//! others. So a page is trusted only when it is the whole answer, or up to the
//! date where it ends; what shares that date is asked again, apart.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::ask::{Ask, Auth};
use super::client::{Client, Patience};
use super::endpoint::Credentials;
use super::error::FetchError;

/// Entries of a page, about 9 MB: the log has no cap, most are read in one go.
const PAGE: u32 = 100_000;
/// The page is made smaller after faults of size, down to this.
const SMALLEST_PAGE: u32 = 100;
/// Rounds over the pages of one date without any new entry, before it is given up.
const VAIN_ROUNDS: u32 = 5;

/// An observation that the source has deleted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deletion {
    /// When the deleting transaction began, on the source's own clock, as it wrote it.
    pub date: String,
    pub id_synthese: i64,
}

#[derive(Deserialize)]
struct LogPage {
    items: Vec<LogItem>,
    #[serde(default)]
    total: Option<u64>,
}

#[derive(Deserialize)]
struct LogItem {
    id_synthese: i64,
    meta_last_action_date: String,
}

/// The dates asked, as the log's filters write them: `gte:…` or `gt:…`, `lte:…` or `lt:…`.
#[derive(Clone, Default)]
struct Window {
    from: Option<String>,
    until: Option<String>,
}

impl Client {
    /// Every deletion since a date (the source's clock; empty: ever), oldest first.
    pub fn deletions(&self, since: &str) -> Result<Vec<Deletion>, FetchError> {
        let mut all = Vec::new();
        self.deletions_in_batches(since, |batch| {
            all.extend(batch);
            Ok::<_, FetchError>(())
        })?;
        all.sort_unstable();
        Ok(all)
    }

    /// The same in batches of bounded size, in no particular order. Once it has
    /// returned without error, every deletion has been given exactly once.
    pub fn deletions_in_batches<E: From<FetchError>>(
        &self,
        since: &str,
        mut on_batch: impl FnMut(Vec<Deletion>) -> Result<(), E>,
    ) -> Result<(), E> {
        if !matches!(self.0.endpoint.credentials, Credentials::Login { .. }) {
            let what = "the log of deletions";
            return Err(FetchError::LoginNeeded { what }.into());
        }
        let mut log = Log {
            client: self,
            limit: PAGE,
        };
        let mut left = vec![Window {
            from: (!since.is_empty()).then(|| format!("gte:{since}")),
            until: None,
        }];
        while let Some(window) = left.pop() {
            let page = log.page(&window, 1)?;
            let (batch, rest) = log.sort_out(page, window)?;
            if !batch.is_empty() {
                on_batch(batch)?;
            }
            left.extend(rest);
        }
        Ok(())
    }
}

struct Log<'a> {
    client: &'a Client,
    limit: u32,
}

/// A page of the log, as deletions.
struct Read {
    items: Vec<Deletion>,
    total: u64,
}

impl Read {
    fn whole(&self) -> bool {
        self.items.len() as u64 >= self.total
    }
}

impl Log<'_> {
    /// Asks for a page (from 1), smaller when it does not pass.
    fn page(&mut self, window: &Window, number: u32) -> Result<Read, FetchError> {
        loop {
            let patience = if self.limit > SMALLEST_PAGE && number == 1 {
                Patience::AskLess
            } else {
                Patience::SameAgain
            };
            match self.ask(window, number, patience) {
                Err(error) if patience == Patience::AskLess && error.narrower() => {
                    self.client.back_off(error)?;
                    self.limit = (self.limit / 4).max(SMALLEST_PAGE);
                }
                result => return result,
            }
        }
    }

    fn ask(&self, window: &Window, number: u32, patience: Patience) -> Result<Read, FetchError> {
        let mut ask = Ask::get(&["api", "synthese", "log"], Auth::Account);
        let mut parameter = |name: &str, value: String| ask.query.push((name.to_owned(), value));
        parameter("last_action", "D".to_owned());
        parameter("limit", self.limit.to_string());
        parameter("page", number.to_string());
        for bound in [&window.from, &window.until].into_iter().flatten() {
            parameter("meta_last_action_date", bound.clone());
        }
        let inner = &self.client.0;
        let (page, _) = inner.call(&ask, patience, |answer, url| {
            serde_json::from_slice::<LogPage>(&answer.body).map_err(|error| {
                let seen = Box::new(inner.seen(&answer, url));
                if error.is_data() {
                    let expected = "a page of the log".to_owned();
                    FetchError::BadShape { seen, expected }
                } else {
                    FetchError::NotJson { seen }
                }
            })
        })?;
        let items: Vec<Deletion> = page
            .items
            .into_iter()
            .map(|item| Deletion {
                date: item.meta_last_action_date,
                id_synthese: item.id_synthese,
            })
            .collect();
        let full = items.len() as u64 >= u64::from(self.limit);
        // Without a total, a full page leaves open whether there is more.
        let total = page.total.unwrap_or(items.len() as u64 + u64::from(full));
        Ok(Read { items, total })
    }

    /// What of a first page can be trusted, and the windows where the rest lies.
    fn sort_out(
        &mut self,
        page: Read,
        window: Window,
    ) -> Result<(Vec<Deletion>, Vec<Window>), FetchError> {
        if page.whole() {
            return Ok((page.items, Vec::new()));
        }
        let dates = || page.items.iter().map(|item| item.date.as_str());
        let (Some(oldest), Some(newest)) = (dates().min(), dates().max()) else {
            return Err(incomplete(0, page.total));
        };
        let (oldest, newest) = (oldest.to_owned(), newest.to_owned());
        if oldest == newest {
            return self.one_date(&oldest, window);
        }
        if dates().is_sorted_by(|a, b| a >= b) {
            let sure = page.items.into_iter().filter(|item| item.date > oldest);
            let rest = Window {
                until: Some(format!("lte:{oldest}")),
                ..window
            };
            return Ok((sure.collect(), vec![rest]));
        }
        if dates().is_sorted() {
            let sure = page.items.into_iter().filter(|item| item.date < newest);
            let rest = Window {
                from: Some(format!("gte:{newest}")),
                ..window
            };
            return Ok((sure.collect(), vec![rest]));
        }
        // In no order at all: only reading it again and again can tell.
        Ok((self.until_stable(&window)?, Vec::new()))
    }

    /// A page full of one date: that date apart, then what is on either side of it.
    fn one_date(
        &mut self,
        date: &str,
        window: Window,
    ) -> Result<(Vec<Deletion>, Vec<Window>), FetchError> {
        let only = Window {
            from: Some(format!("gte:{date}")),
            until: Some(format!("lte:{date}")),
        };
        let batch = self.until_stable(&only)?;
        let older = Window {
            from: window.from,
            until: Some(format!("lt:{date}")),
        };
        let newer = Window {
            from: Some(format!("gt:{date}")),
            until: window.until,
        };
        Ok((batch, vec![older, newer]))
    }

    /// Reads all pages of a window again and again until every entry has been seen.
    fn until_stable(&mut self, window: &Window) -> Result<Vec<Deletion>, FetchError> {
        let mut found = BTreeSet::new();
        let mut vain = 0;
        loop {
            let before = found.len();
            let mut number = 1;
            let total = loop {
                let page = self.page(window, number)?;
                let last = page.items.is_empty();
                found.extend(page.items);
                if last || found.len() as u64 >= page.total {
                    break page.total;
                }
                number += 1;
            };
            if found.len() as u64 >= total {
                return Ok(found.into_iter().collect());
            }
            vain = if found.len() > before { 0 } else { vain + 1 };
            if vain >= VAIN_ROUNDS {
                return Err(incomplete(found.len() as u64, total));
            }
        }
    }
}

fn incomplete(read: u64, total: u64) -> FetchError {
    FetchError::LogIncomplete { read, total }
}
