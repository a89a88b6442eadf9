//! The threads of a read against a real server: every row once, bounded queue,
//! bounded requests, stop within a moment, faults told once.

mod geonature_support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use geonature_support::*;
use gn_harvest_pure::fetch::{
    Event, Fetcher, KeyRange, Order, Parse, Part, Request, Slice, plain_spawn,
};
use gn_harvest_pure::geonature::{Client, Endpoint, FetchError, Limits, Page, Stop, Traffic};

const ROWS: i64 = 3000;

/// An export of `ROWS` rows whose keys are multiples of 7.
fn export_page(asked: &Asked, cap: i64) -> Reply {
    let from = asked.number("filter_n_up_id").unwrap_or(i64::MIN);
    let to = asked.number("filter_n_lo_id").unwrap_or(i64::MAX);
    let keys: Vec<i64> = (0..ROWS)
        .map(|n| n * 7)
        .filter(|key| (from..=to).contains(key))
        .collect();
    let limit = match asked.number("limit").unwrap_or(1000) {
        0 => i64::MAX,
        limit => limit.min(cap),
    };
    let offset = asked.number("offset").unwrap_or(0);
    let items: Vec<String> = keys
        .iter()
        .skip(usize::try_from(offset.saturating_mul(limit)).expect("offset"))
        .take(usize::try_from(limit).expect("limit"))
        .map(|key| format!(r#"{{"id": {key}}}"#))
        .collect();
    let said = if limit == i64::MAX { 0 } else { limit };
    json(
        200,
        format!(
            r#"{{"items": [{}], "limit": {said}, "page": {offset}, "total": {ROWS}, "total_filtered": {}}}"#,
            items.join(", "),
            keys.len()
        ),
    )
}

fn keys_of(page: &Page) -> Vec<i64> {
    page.items()
        .map(|item| {
            serde_json::from_str::<serde_json::Value>(item).expect("json")["id"]
                .as_i64()
                .expect("id")
        })
        .collect()
}

fn parse() -> Parse<Vec<i64>> {
    Arc::new(|page: &Page| {
        let keys = keys_of(page);
        let range = KeyRange::of(keys.iter().copied());
        (keys, range)
    })
}

fn request(order: Order) -> Request {
    Request {
        page_size: 200,
        connections: 3,
        ..Request::new(3, order)
    }
}

fn by_windows() -> Order {
    Order::Windows {
        key: "id".into(),
        width: Some(100),
    }
}

fn start(client: &Client, request: Request) -> Fetcher<Vec<i64>> {
    Fetcher::start(client.clone(), request, parse(), plain_spawn).expect("start")
}

/// Feeds slices and takes parts until the end.
fn read_all(
    fetcher: &Fetcher<Vec<i64>>,
    mut slices: Vec<Slice>,
) -> Result<Vec<Part<Vec<i64>>>, FetchError> {
    slices.reverse();
    let mut parts: Vec<Part<Vec<i64>>> = Vec::new();
    let mut done = BTreeSet::new();
    loop {
        while fetcher.hungry() {
            match slices.pop() {
                Some(slice) => fetcher.add_slice(slice),
                None => fetcher.no_more_slices(),
            }
        }
        match fetcher
            .recv_timeout(Duration::from_secs(10))
            .expect("an event")
        {
            Event::Part(part) => {
                assert!(
                    !done.contains(&part.slice),
                    "a part after its slice was done"
                );
                parts.push(part);
            }
            Event::SliceDone(no) => assert!(done.insert(no)),
            Event::Failed(error) => return Err(error),
            Event::Restarted { .. } => panic!("only a file begins anew"),
            Event::Finished => return Ok(parts),
        }
    }
}

fn slices() -> Vec<Slice> {
    (0..3)
        .map(|no| {
            let from = i64::from(no) * 10_000;
            Slice {
                no,
                remaining: vec![(from, from + 9_999)],
            }
        })
        .collect()
}

fn all_keys(parts: &[Part<Vec<i64>>]) -> Vec<i64> {
    let mut keys: Vec<i64> = parts
        .iter()
        .flat_map(|part| part.value.iter().copied())
        .collect();
    keys.sort_unstable();
    keys
}

fn expected() -> Vec<i64> {
    (0..ROWS).map(|n| n * 7).collect()
}

#[test]
fn every_row_comes_once_by_windows_by_keyset_and_by_pages() {
    for cap in [150, 1000] {
        let server = Server::start(move |asked, _| export_page(asked, cap));
        let keyset = Order::Windows {
            key: "id".into(),
            width: None,
        };
        for order in [by_windows(), keyset] {
            let client = client(&server, token());
            let fetcher = start(&client, request(order.clone()));
            let parts = read_all(&fetcher, slices()).expect("read");
            assert_eq!(all_keys(&parts), expected(), "{order:?}");
            assert!(
                parts
                    .iter()
                    .all(|part| part.rows == part.value.len() && part.total == Some(3000))
            );
            assert!(fetcher.stop(Duration::from_secs(2)));
            assert!(
                !client.stop().is_set(),
                "the client may go on after a read to the end"
            );
        }
        let client = client(&server, token());
        let fetcher = start(
            &client,
            request(Order::Pages {
                order_by: Some("id".into()),
            }),
        );
        let parts = read_all(
            &fetcher,
            vec![Slice {
                no: 0,
                remaining: vec![(0, i64::MAX)],
            }],
        )
        .expect("read");
        assert_eq!(all_keys(&parts), expected());
    }
}

#[test]
fn windows_ask_for_the_same_page_with_both_bounds() {
    let server = Server::start(move |asked, _| export_page(asked, 1000));
    let client = client(&server, token());
    let mut request = request(by_windows());
    request.filters = vec![("filter_d_up_derniere_action".into(), "2026-01-01".into())];
    read_all(&start(&client, request), slices()).expect("read");
    for asked in server.asked() {
        assert_eq!(asked.parameter("orderby"), Some("id"));
        assert_eq!(asked.parameter("offset"), Some("0"));
        assert!(asked.number("filter_n_up_id") <= asked.number("filter_n_lo_id"));
        assert_eq!(
            asked.parameter("filter_d_up_derniere_action"),
            Some("2026-01-01")
        );
    }
    assert!(
        server.count() < 40,
        "{} requests for 3000 rows",
        server.count()
    );
}

#[test]
fn an_uncapped_read_lifts_the_limit_only_inside_windows() {
    let server = Server::start(move |asked, _| export_page(asked, 50));
    let client = client(&server, token());
    let mut request = request(by_windows());
    request.uncapped = true;
    let parts = read_all(&start(&client, request), slices()).expect("read");
    assert_eq!(all_keys(&parts), expected());
    let windows = server.asked();
    let lifted = windows
        .iter()
        .filter(|asked| asked.parameter("limit") == Some("0"));
    assert!(lifted.clone().count() > 10);
    assert!(
        lifted
            .into_iter()
            .all(|asked| asked.number("filter_n_lo_id").is_some())
    );
}

#[test]
fn never_more_requests_at_once_than_connections() {
    let server = Server::start(|asked, _| {
        std::thread::sleep(Duration::from_millis(10));
        export_page(asked, 100)
    });
    let client = client(&server, token());
    read_all(&start(&client, request(by_windows())), slices()).expect("read");
    let most = server.most_at_once.load(Ordering::SeqCst);
    assert!((2..=3).contains(&most), "{most} requests at once");
    assert!(client.traffic().most_in_flight.load(Ordering::SeqCst) <= 3);
}

#[test]
fn a_main_thread_that_does_not_take_holds_the_others_back() {
    let server = Server::start(|asked, _| export_page(asked, 100));
    let client = client(&server, token());
    let mut request = request(by_windows());
    request.queue = 2;
    let fetcher = start(&client, request);
    for slice in slices() {
        fetcher.add_slice(slice);
    }
    let end = Instant::now() + Duration::from_millis(600);
    let mut before = 0;
    while Instant::now() < end {
        before = server.count();
        std::thread::sleep(Duration::from_millis(50));
    }
    // Two parts queued and one in the hands of each thread.
    assert!(before <= 5, "{before} requests ahead of the main thread");
    assert!(fetcher.stop(Duration::from_secs(2)));
}

#[test]
fn a_hung_server_does_not_delay_the_stop() {
    let server = Server::start(|_, _| Reply::Hang);
    let limits = Limits {
        request_timeout: Duration::from_secs(60),
        ..quick()
    };
    let client = client_at(&server.url(), token(), limits);
    let fetcher = start(&client, request(by_windows()));
    fetcher.add_slice(Slice {
        no: 0,
        remaining: vec![(0, 10_000)],
    });
    while server.count() < 3 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let start = Instant::now();
    assert!(
        fetcher.stop(Duration::from_secs(2)),
        "a thread was left behind"
    );
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_stop_from_elsewhere_is_told() {
    let server = Server::start(|_, _| Reply::Hang);
    let client = client(&server, token());
    let fetcher = start(&client, request(by_windows()));
    fetcher.add_slice(Slice {
        no: 0,
        remaining: vec![(0, 10_000)],
    });
    client.stop().set();
    let event = fetcher.recv_timeout(Duration::from_secs(2));
    assert!(
        matches!(event, Some(Event::Failed(FetchError::Stopped))),
        "{event:?}"
    );
}

#[test]
fn windows_get_smaller_after_gateway_time_outs_and_large_bodies() {
    let server = Server::start(|asked, _| {
        let span = asked.number("filter_n_lo_id").unwrap_or(i64::MAX)
            - asked.number("filter_n_up_id").unwrap_or(0);
        match span {
            2000.. => html(504),
            1000.. => Reply::Announce(1 << 40),
            _ => export_page(asked, 1000),
        }
    });
    let client = client_at(
        &server.url(),
        token(),
        Limits {
            retry_budget: 100,
            ..quick()
        },
    );
    let mut request = request(Order::Windows {
        key: "id".into(),
        width: Some(5_000),
    });
    request.connections = 1;
    let parts = read_all(&start(&client, request), slices()).expect("read");
    assert_eq!(all_keys(&parts), expected());
}

#[test]
fn a_failure_is_told_once_and_ends_the_read() {
    let server = Server::start(|_, number| if number < 3 { html(403) } else { Reply::Hang });
    let client = client(&server, token());
    let fetcher = start(&client, request(by_windows()));
    let error = read_all(&fetcher, slices()).expect_err("403");
    assert!(
        matches!(error, FetchError::ExportForbidden { .. }),
        "{error}"
    );
    assert!(fetcher.recv_timeout(Duration::from_millis(300)).is_none());
    assert!(fetcher.stop(Duration::from_secs(2)));
}

#[test]
fn a_parser_that_panics_fails_the_read_not_the_process() {
    let server = Server::start(|asked, _| export_page(asked, 100));
    let client = client(&server, token());
    let parse: Parse<Vec<i64>> = Arc::new(|_| panic!("bad parser"));
    let fetcher = Fetcher::start(client, request(by_windows()), parse, plain_spawn).expect("start");
    let error = read_all(&fetcher, slices()).expect_err("panic");
    assert!(
        matches!(&error, FetchError::Internal(text) if text.contains("bad parser")),
        "{error}"
    );
}

#[test]
fn slices_without_keys_are_done_at_once() {
    let server = Server::start(|asked, _| export_page(asked, 100));
    let client = client(&server, token());
    let fetcher = start(&client, request(by_windows()));
    let parts = read_all(
        &fetcher,
        vec![Slice {
            no: 5,
            remaining: vec![],
        }],
    )
    .expect("read");
    assert!(parts.is_empty());
    let none = start(&client, request(by_windows()));
    assert!(read_all(&none, Vec::new()).expect("read").is_empty());
    assert_eq!(server.count(), 0);
}

static LIVE: AtomicUsize = AtomicUsize::new(0);

fn counted_spawn(
    name: String,
    work: Box<dyn FnOnce() + Send>,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    LIVE.fetch_add(1, Ordering::SeqCst);
    plain_spawn(
        name,
        Box::new(move || {
            work();
            LIVE.fetch_sub(1, Ordering::SeqCst);
        }),
    )
}

#[test]
fn every_thread_is_started_by_the_caller_and_none_is_left() {
    let server = Server::start(|asked, _| export_page(asked, 100));
    let endpoint = Endpoint::new(&server.url(), token()).expect("url");
    let client = Client::with_spawn(
        endpoint,
        quick(),
        Arc::new(Traffic::new()),
        Arc::new(Stop::new()),
        counted_spawn,
    )
    .expect("client");
    assert_eq!(LIVE.load(Ordering::SeqCst), 1);
    let fetcher = Fetcher::start(
        client.clone(),
        request(by_windows()),
        parse(),
        counted_spawn,
    )
    .expect("start");
    assert_eq!(LIVE.load(Ordering::SeqCst), 4);
    fetcher.add_slice(Slice {
        no: 0,
        remaining: vec![(0, 100_000)],
    });
    drop(fetcher);
    assert_eq!(LIVE.load(Ordering::SeqCst), 1);
    drop(client);
    assert_eq!(LIVE.load(Ordering::SeqCst), 0);
}
