//! Downloading a file: it comes whole or not at all, however often the connection breaks, and no secret goes with it.

mod geonature_support;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use geonature_support::*;
use gn_harvest_pure::geonature::{AllowedHosts, Chunk, Client, FetchError, Limits, parse_file_url};

const DATE: &str = "Mon, 23 Nov 2026 16:29:08 GMT";
const MOST: u64 = 100 * 1024 * 1024;

fn content(size: usize, seed: usize) -> Vec<u8> {
    (0..size)
        .map(|at| ((at * 31 + seed * 7) >> 3) as u8)
        .collect()
}

/// What a server says of a file, and the part of it that is asked for, as RFC 9110 wants it.
fn serve(asked: &Asked, body: &[u8], etag: &str) -> (u16, Vec<(&'static str, String)>, Vec<u8>) {
    let mut headers = vec![
        ("ETag", etag.to_owned()),
        ("Last-Modified", DATE.to_owned()),
        ("Date", "Mon, 23 Nov 2026 17:01:37 GMT".to_owned()),
    ];
    let same = asked.header("if-range").is_none_or(|tag| tag == etag);
    let first = asked.header("range").filter(|_| same).and_then(|range| {
        range
            .strip_prefix("bytes=")?
            .strip_suffix('-')?
            .parse::<usize>()
            .ok()
    });
    match first {
        None => (200, headers, body.to_vec()),
        Some(first) if first >= body.len() => (416, headers, Vec::new()),
        Some(first) => {
            let range = format!("bytes {first}-{}/{}", body.len() - 1, body.len());
            headers.push(("Content-Range", range));
            (206, headers, body[first..].to_vec())
        }
    }
}

fn cut_after(
    keep: usize,
    (status, headers, body): (u16, Vec<(&'static str, String)>, Vec<u8>),
) -> Reply {
    Reply::CutAfter(keep.min(body.len()), status, headers, body)
}

fn full((status, headers, body): (u16, Vec<(&'static str, String)>, Vec<u8>)) -> Reply {
    Reply::Full(status, headers, body)
}

/// The whole file, and how often it was begun anew.
fn take(client: &Client, server: &Server, most: u64) -> Result<(Vec<u8>, usize), FetchError> {
    let url = parse_file_url(&format!("{}/file.json", server.url())).expect("url");
    let mut download = client.file(&url, most)?;
    let (mut bytes, mut restarts) = (Vec::new(), 0);
    loop {
        match download.next_chunk()? {
            Chunk::Bytes(part) => bytes.extend_from_slice(&part),
            Chunk::Restarted => {
                bytes.clear();
                restarts += 1;
            }
            Chunk::End { complete } => {
                assert_eq!(complete, download.head().length.is_some());
                assert_eq!(download.at(), bytes.len() as u64);
                return Ok((bytes, restarts));
            }
        }
    }
}

#[test]
fn a_file_comes_whole_with_what_is_said_of_it_and_without_secrets() {
    let body = content(3_000_000, 1);
    let sent = body.clone();
    let server = Server::start(move |asked, _| full(serve(asked, &sent, "\"one\"")));
    let client = client(&server, token());
    let url = parse_file_url(&format!("{}/file.json", server.url())).expect("url");
    let download = client.file(&url, MOST).expect("a download");
    let head = download.head().clone();
    assert_eq!(head.etag.as_deref(), Some("\"one\""));
    assert_eq!(head.length, Some(3_000_000));
    assert_eq!(
        head.modified.expect("a date").to_rfc3339(),
        "2026-11-23T16:29:08+00:00"
    );
    drop(download);
    let (bytes, restarts) = take(&client, &server, MOST).expect("a file");
    assert!(bytes == body && restarts == 0);
    for asked in server.asked() {
        for name in ["api-key", "authorization", "cookie", "range", "if-range"] {
            assert_eq!(asked.header(name), None, "{name}");
        }
    }
}

#[test]
fn a_broken_connection_goes_on_where_it_broke() {
    let body = content(5_000_000, 2);
    let sent = body.clone();
    let server = Server::start(move |asked, number| {
        let answer = serve(asked, &sent, "\"one\"");
        match number {
            0..=2 => cut_after(1_500_000, answer),
            _ => full(answer),
        }
    });
    // Connections that were of use cost nothing of the budget.
    let limits = Limits {
        retry_budget: 0,
        ..quick()
    };
    let client = client_at(&server.url(), token(), limits);
    let (bytes, restarts) = take(&client, &server, MOST).expect("a file");
    assert!(bytes == body && restarts == 0);
    let ranges: Vec<String> = server
        .asked()
        .iter()
        .filter_map(|asked| asked.header("range").map(str::to_owned))
        .collect();
    assert_eq!(
        ranges,
        ["bytes=1500000-", "bytes=3000000-", "bytes=4500000-"]
    );
    assert!(
        server.asked()[1..]
            .iter()
            .all(|asked| asked.header("if-range") == Some("\"one\"")
                && asked.header("accept-encoding") == Some("identity"))
    );
}

#[test]
fn a_connection_that_is_of_no_use_costs_budget() {
    let sent = content(500_000, 3);
    let server = Server::start(move |asked, _| cut_after(10_000, serve(asked, &sent, "\"one\"")));
    let limits = Limits {
        retry_budget: 3,
        ..quick()
    };
    let client = client_at(&server.url(), token(), limits);
    let error = take(&client, &server, MOST).expect_err("no file");
    assert!(
        matches!(error, FetchError::RetryBudgetExhausted { retries: 3, .. }),
        "{error:?}"
    );
    assert_eq!(server.count(), 4);
}

#[test]
fn a_file_that_changed_meanwhile_begins_anew() {
    for validator in ["etag", "weak", "date only", "shorter", "no ranges"] {
        let (old, new) = (content(2_000_000, 4), content(1_900_000, 5));
        let new = if validator == "shorter" {
            content(1_000_000, 5)
        } else {
            new
        };
        let expected = new.clone();
        let server = Server::start(move |asked, number| {
            let weak = if validator == "weak" { "W/" } else { "" };
            let mut answer = match number {
                0 => serve(asked, &old, &format!("{weak}\"one\"")),
                _ => serve(asked, &new, &format!("{weak}\"two\"")),
            };
            if validator == "no ranges" && number > 0 {
                answer = (200, Vec::new(), new.clone());
            }
            if validator == "date only" {
                answer.1.retain(|(name, _)| *name != "ETag");
                if number > 0 {
                    answer.1[0].1 = "Tue, 24 Nov 2026 16:29:08 GMT".to_owned();
                }
            }
            match number {
                0 => cut_after(1_200_000, answer),
                _ => full(answer),
            }
        });
        let client = client(&server, token());
        let (bytes, restarts) = take(&client, &server, MOST).expect(validator);
        assert!(bytes == expected, "{validator}");
        assert_eq!(restarts, 1, "{validator}");
    }
}

#[test]
fn a_file_that_never_comes_whole_is_given_up() {
    let server = Server::start(move |asked, number| {
        let body = content(3_000_000, number);
        cut_after(2_000_000, serve(asked, &body, &format!("\"{number}\"")))
    });
    let client = client(&server, token());
    let error = take(&client, &server, MOST).expect_err("no file");
    assert!(matches!(error, FetchError::FileBroken { .. }), "{error:?}");
    assert!(server.count() <= 6, "{}", server.count());
}

#[test]
fn a_compressed_file_is_unpacked_and_asked_for_plain_when_it_breaks() {
    let body = content(1_500_000, 6);
    let sent = body.clone();
    let breaks = Arc::new(AtomicUsize::new(0));
    let broken = Arc::clone(&breaks);
    let server = Server::start(move |asked, number| {
        if asked.header("accept-encoding") != Some("gzip") {
            return full(serve(asked, &sent, "\"one\""));
        }
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&sent).expect("gzip");
        let gz = gz.finish().expect("gzip");
        let headers = vec![
            ("Content-Encoding", "gzip".to_owned()),
            ("ETag", "\"one\"".to_owned()),
        ];
        let keep = if number == 0 { gz.len() } else { gz.len() / 2 };
        broken.fetch_add(usize::from(number > 0), Ordering::SeqCst);
        Reply::CutAfter(keep, 200, headers, gz)
    });
    let client = client(&server, token());
    assert!(take(&client, &server, MOST).expect("unpacked") == (body.clone(), 0));
    let (bytes, restarts) = take(&client, &server, MOST).expect("plain");
    assert!(bytes == body && restarts == 1);
    assert_eq!(breaks.load(Ordering::SeqCst), 1);
}

#[test]
fn what_is_too_large_is_refused_announced_or_not() {
    let sent = content(200_000, 7);
    let announced = Server::start(move |asked, _| full(serve(asked, &sent, "\"one\"")));
    let endless = Server::start(|_, _| Reply::Endless);
    for server in [&announced, &endless] {
        let client = client(server, token());
        let error = take(&client, server, 100_000).expect_err("too large");
        assert!(
            matches!(error, FetchError::FileTooLarge { limit: 100_000, .. }),
            "{error:?}"
        );
        assert_eq!(error.sqlstate(), "54000");
        assert!(
            error
                .hint()
                .expect("a hint")
                .contains("gn_harvest.max_file")
        );
        assert_eq!(server.count(), 1);
    }
}

#[test]
fn silence_and_drips_end_at_the_time_out() {
    for dripping in [false, true] {
        let server = Server::start(move |_, _| if dripping { Reply::Drip } else { Reply::Hang });
        let limits = Limits {
            request_timeout: Duration::from_millis(300),
            retry_budget: 1,
            ..quick()
        };
        let client = client_at(&server.url(), token(), limits);
        let error = take(&client, &server, MOST).expect_err("nothing");
        let FetchError::RetryBudgetExhausted { last, .. } = error else {
            panic!("{error:?}");
        };
        assert!(matches!(*last, FetchError::Timeout { .. }), "{last:?}");
        assert_eq!(server.count(), 2);
    }
}

#[test]
fn a_stop_ends_a_download_at_once() {
    let server = Server::start(|_, _| Reply::Drip);
    let client = client(&server, token());
    let stop = Arc::clone(client.stop());
    let waiting = std::thread::spawn(move || take(&client, &server, MOST));
    std::thread::sleep(Duration::from_millis(100));
    stop.set();
    let error = waiting.join().expect("no panic").expect_err("stopped");
    assert!(matches!(error, FetchError::Stopped), "{error:?}");
}

#[test]
fn what_is_no_file_is_told_with_its_cure() {
    for status in [401, 403, 404, 410] {
        let server = Server::start(move |_, _| html(status));
        let client = client(&server, account());
        let error = take(&client, &server, MOST).expect_err("no file");
        assert!(matches!(error, FetchError::FileMissing { .. }), "{error:?}");
        assert_eq!(error.sqlstate(), "58P01");
        assert!(
            error
                .hint()
                .expect("a hint")
                .contains("clear => '{bootstrap_url}'")
        );
        assert!(
            error
                .detail()
                .expect("a detail")
                .contains(&format!("HTTP {status}"))
        );
        assert_eq!(server.count(), 1);
        let url = parse_file_url(&format!("{}/file.json", server.url())).expect("url");
        assert_eq!(client.file_head(&url).expect("asked"), None);
    }
    let server = Server::start(|_, number| {
        if number == 0 {
            html(503)
        } else {
            full((200, Vec::new(), vec![b'x']))
        }
    });
    let client = client(&server, token());
    assert_eq!(
        take(&client, &server, MOST).expect("after a retry"),
        (vec![b'x'], 0)
    );
}

#[test]
fn redirects_of_a_file_are_followed_as_those_of_the_api() {
    let elsewhere = Server::start(|_, _| full((200, Vec::new(), b"[]".to_vec())));
    let there = elsewhere.url();
    let server = Server::start(move |asked, _| match asked.path.as_str() {
        "/geonature/file.json" => redirect(302, "/moved/file.json"),
        "/moved/file.json" => full((200, Vec::new(), b"[1]".to_vec())),
        "/away/file.json" => redirect(302, format!("{there}/file.json")),
        _ => redirect(302, "/away/file.json"),
    });
    let client = client(&server, token());
    assert_eq!(
        take(&client, &server, MOST).expect("followed"),
        (b"[1]".to_vec(), 0)
    );
    let url =
        parse_file_url(&format!("http://127.0.0.1:{}/away/file.json", server.port)).expect("url");
    let error = client.file(&url, MOST).err().expect("refused");
    assert!(matches!(error, FetchError::Redirected { .. }), "{error:?}");
    assert_eq!(elsewhere.count(), 0);
}

#[test]
fn a_file_is_held_to_the_allowed_hosts() {
    let server = Server::start(|_, _| full((200, Vec::new(), b"[]".to_vec())));
    let limits = Limits {
        allowed_hosts: AllowedHosts::parse("gn.example.org"),
        ..quick()
    };
    let client = client_at(&server.url(), token(), limits);
    let error = take(&client, &server, MOST).expect_err("refused");
    assert!(
        matches!(error, FetchError::HostNotAllowed { .. }),
        "{error:?}"
    );
    assert_eq!(server.count(), 0);
}

#[test]
fn an_address_that_can_not_be_that_of_a_file_is_refused() {
    for (text, why) in [
        ("gn.example.org/x.json", "must begin with"),
        ("ftp://gn.example.org/x.json", "must begin with"),
        ("file:///etc/passwd", "must begin with"),
        (
            "https://user:secret@gn.example.org/x.json",
            "user name or a password",
        ),
        ("https://gn.example.org/x.json?token=secret", "query"),
        ("https://gn.example.org/x.json#a", "query or a fragment"),
        ("https://gn.example.org/", "names no file"),
        ("https://", "host"),
        ("http://169.254.169.254/latest/meta-data", "refused"),
        ("http://[fe80::1]/x", "refused"),
    ] {
        let error = parse_file_url(text).expect_err(text);
        assert!(error.message().contains(why), "{text}: {}", error.message());
        assert!(
            !error.message().contains("secret@") && !error.message().contains("=secret"),
            "{error}"
        );
    }
    let url = parse_file_url(" https://gn.example.org/api/media/é x.json ").expect("an address");
    assert_eq!(
        url.as_str(),
        "https://gn.example.org/api/media/%C3%A9%20x.json"
    );
}
