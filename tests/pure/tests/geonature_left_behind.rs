//! What a caller leaves behind when it walks away from a server that hangs: a
//! thread that ends by itself. Alone in its process, since it counts threads.

mod geonature_support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use geonature_support::*;
use gn_harvest_pure::geonature::{FetchError, Limits, PageQuery};

/// Threads of the client and of its HTTP library, by the names that the kernel knows.
fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("tasks");
    tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| name.starts_with("gn_harvest") || name.starts_with("reqwest"))
        .collect()
}

fn gone_within(time: Duration) -> bool {
    let end = Instant::now() + time;
    while !threads().is_empty() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

/// Stops a request in the middle; how long its caller and the end of the client took.
fn walk_away(script: fn() -> Reply, request_timeout: Duration) -> (Duration, Duration) {
    let server = Server::start(move |_, _| script());
    let limits = Limits {
        request_timeout,
        max_body_bytes: 1 << 40,
        ..quick()
    };
    let client = client_at(&server.url(), token(), limits);
    let stop = Arc::clone(client.stop());
    let asker = {
        let client = client.clone();
        std::thread::spawn(move || client.page(3, &PageQuery::default()).expect_err("stop"))
    };
    while server.count() == 0 {
        std::thread::sleep(Duration::from_millis(2));
    }
    std::thread::sleep(Duration::from_millis(50));
    let start = Instant::now();
    stop.set();
    assert!(matches!(asker.join().expect("thread"), FetchError::Stopped));
    let left = start.elapsed();
    let start = Instant::now();
    drop(client);
    let dropped = start.elapsed();
    // The server outlives the request: it is not what ends it.
    assert!(gone_within(Duration::from_secs(3)), "{:?}", threads());
    (left, dropped)
}

#[test]
fn a_thread_left_behind_ends_with_its_request() {
    let soon = Duration::from_millis(250);
    let minute = Duration::from_secs(60);
    let cases: [(fn() -> Reply, Duration); 3] = [
        (|| Reply::Hang, Duration::from_secs(1)), // Ends at its time-out.
        (|| Reply::Drip, minute),                 // Ends at the next byte.
        (|| Reply::Endless, minute),
    ];
    for (script, timeout) in cases {
        let (left, dropped) = walk_away(script, timeout);
        println!("left after {left:?}, client dropped in {dropped:?}");
        assert!(left < soon && dropped < soon);
    }

    // Names are looked up in a thread too, and threads are used again.
    let server = Server::start(|_, _| empty_page());
    let url = server.url().replace("127.0.0.1", "localhost");
    let client = client_at(&url, token(), quick());
    for _ in 0..5 {
        client.page(3, &PageQuery::default()).expect("page");
    }
    let io = threads().iter().filter(|name| name.ends_with("io")).count();
    assert_eq!(io, 1, "{:?}", threads());
    drop(client);
    assert!(gone_within(Duration::from_secs(2)), "{:?}", threads());
}
