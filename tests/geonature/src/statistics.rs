//! What the partner saw of its clients: the tests ask it how they were treated.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

const REMEMBERED: usize = 1000;

#[derive(Clone, Debug, Default, Serialize)]
pub struct RouteFigures {
    pub requests: u64,
    pub rows: u64,
    pub bytes: u64,
    /// The most requests that were under way at once.
    pub max_concurrent: u64,
    /// Answers by HTTP status.
    pub statuses: BTreeMap<u16, u64>,
    #[serde(skip)]
    under_way: u64,
}

/// A request as it arrived. Secrets are said to be there, and what they were is not kept,
/// but for the query, which is kept whole.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SeenRequest {
    /// Microseconds of true UTC.
    pub at: i64,
    pub method: String,
    pub path: String,
    pub query: String,
    pub status: u16,
    pub api_key: bool,
    pub cookie: bool,
    pub authorization: bool,
    pub user_agent: String,
    pub accept: String,
    pub range: String,
    pub accept_encoding: String,
    pub request_id: String,
    /// Requests that were under way when it arrived, itself among them.
    pub at_once: u64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Statistics {
    pub routes: BTreeMap<String, RouteFigures>,
    pub requests: u64,
    pub rows: u64,
    pub bytes: u64,
    pub max_concurrent: u64,
    pub logins: u64,
    pub last: VecDeque<SeenRequest>,
    #[serde(skip)]
    under_way: u64,
}

impl Statistics {
    /// A request has arrived; returns how many are under way with it.
    pub fn begin(&mut self, route: &str) -> u64 {
        self.requests += 1;
        self.under_way += 1;
        self.max_concurrent = self.max_concurrent.max(self.under_way);
        let figures = self.routes.entry(route.to_owned()).or_default();
        figures.requests += 1;
        figures.under_way += 1;
        figures.max_concurrent = figures.max_concurrent.max(figures.under_way);
        self.under_way
    }

    /// The request is over, answered or given up by the client.
    pub fn end(&mut self, route: &str) {
        self.under_way = self.under_way.saturating_sub(1);
        let figures = self.routes.entry(route.to_owned()).or_default();
        figures.under_way = figures.under_way.saturating_sub(1);
    }

    pub fn answered(&mut self, route: &str, seen: SeenRequest) {
        let figures = self.routes.entry(route.to_owned()).or_default();
        *figures.statuses.entry(seen.status).or_default() += 1;
        if self.last.len() == REMEMBERED {
            self.last.pop_front();
        }
        self.last.push_back(seen);
    }

    pub fn sent(&mut self, route: &str, bytes: u64) {
        self.bytes += bytes;
        self.routes.entry(route.to_owned()).or_default().bytes += bytes;
    }

    pub fn served(&mut self, route: &str, rows: u64) {
        self.rows += rows;
        self.routes.entry(route.to_owned()).or_default().rows += rows;
    }

    /// Forgets all figures but the requests under way.
    pub fn clear(&mut self) {
        let under_way = self.under_way;
        let routes = self.routes.iter().map(|(route, figures)| {
            let kept = RouteFigures {
                under_way: figures.under_way,
                ..RouteFigures::default()
            };
            (route.clone(), kept)
        });
        *self = Self {
            routes: routes.collect(),
            under_way,
            ..Self::default()
        };
    }
}
