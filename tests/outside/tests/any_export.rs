//! A server of one export of anything: the items that a test puts into it, by windows and by pages.

use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::bare_server::{BareServer, answer};

/// Items as raw JSON; windows are of the key, for items that have it as a number.
pub struct AnyExport {
    pub url: String,
    items: Arc<Mutex<Vec<String>>>,
}

impl AnyExport {
    pub fn start(key: &'static str, items: &[&str]) -> Self {
        let items: Vec<String> = items.iter().map(|item| (*item).to_owned()).collect();
        let items = Arc::new(Mutex::new(items));
        let served = Arc::clone(&items);
        let server = BareServer::start(move |request| {
            let body = match request.contains("/api/exports/") {
                true => page(request, key, &served.lock().expect("the items")),
                // Whoever asks for the modules wants to know whether this is a GeoNature.
                false => "[]".to_owned(),
            };
            answer("200 OK", "Content-Type: application/json\r\n", &body)
        });
        AnyExport {
            url: server.url,
            items,
        }
    }

    pub fn serve(&self, items: &[&str]) {
        *self.items.lock().expect("the items") = items.iter().map(|i| (*i).to_owned()).collect();
    }
}

fn key_of(item: &str, key: &str) -> Option<i64> {
    serde_json::from_str::<Value>(item).ok()?.get(key)?.as_i64()
}

fn page(request: &str, key: &str, items: &[String]) -> String {
    let line = request.lines().next().unwrap_or_default();
    let path = line.split(' ').nth(1).unwrap_or_default();
    let query = path.split_once('?').map_or("", |(_, query)| query);
    let parameter = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(n, _)| *n == name).map(|(_, value)| value)
    };
    let number = |name: &str| parameter(name).and_then(|value| value.parse::<i64>().ok());
    let (from, to) = (
        number(&format!("filter_n_up_{key}")),
        number(&format!("filter_n_lo_{key}")),
    );
    let mut chosen: Vec<&String> = items
        .iter()
        .filter(|item| match key_of(item, key) {
            Some(at) => from.is_none_or(|from| at >= from) && to.is_none_or(|to| at <= to),
            // What has no key is in no window.
            None => from.is_none() && to.is_none(),
        })
        .collect();
    chosen.sort_by_key(|item| key_of(item, key));
    if parameter("orderby").is_some_and(|order| order.ends_with("desc")) {
        chosen.retain(|item| key_of(item, key).is_some());
        chosen.reverse();
    }
    let filtered = chosen.len();
    let limit = number("limit").unwrap_or(100).max(1) as usize;
    let offset = number("offset").unwrap_or(0) as usize;
    let shown: Vec<&str> = (chosen.iter().skip(offset * limit).take(limit))
        .map(|item| item.as_str())
        .collect();
    format!(
        r#"{{"total": {}, "total_filtered": {filtered}, "limit": {limit}, "page": {offset}, "license": {{}}, "items": [{}]}}"#,
        items.len(),
        shown.join(",")
    )
}
