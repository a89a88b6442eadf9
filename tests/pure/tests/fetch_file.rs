//! Reading a file into parts: whole, resumed, changed under way, and by a simulated partner in its three formats.

mod geonature_support;

use std::sync::Arc;
use std::time::Duration;

use geonature_support::*;
use gn_harvest_pure::fetch::file::{FileReader, FileRequest, LAST_PLACE, ReadItems, look};
use gn_harvest_pure::fetch::{Event, FetchError, Slice, plain_spawn};
use gn_harvest_pure::file::{Format, Kinds};
use gn_harvest_pure::geonature::{Client, parse_file_url};
use gn_harvest_pure::record;

const MOST: u64 = 1 << 30;
const DATE: &str = "Mon, 23 Nov 2026 16:29:08 GMT";

/// A file of so many records, with a date each.
fn records(count: usize, year: u32) -> Vec<u8> {
    let one = |n: usize| {
        format!(
            "{{\"id\": {n}, \"at\": \"{year}-11-{:02}T10:00:00\", \"filler\": \"{}\"}}",
            1 + n % 20,
            "x".repeat(200)
        )
    };
    format!("[{}]", (0..count).map(one).collect::<Vec<_>>().join(", ")).into_bytes()
}

fn served(etag: &str, body: Vec<u8>) -> Reply {
    let headers = vec![
        ("ETag", etag.to_owned()),
        ("Last-Modified", DATE.to_owned()),
    ];
    Reply::Full(200, headers, body)
}

fn request(
    server: &Server,
    rows: usize,
    remaining: Vec<(i64, i64)>,
    mark: Option<&str>,
) -> FileRequest {
    FileRequest {
        url: parse_file_url(&format!("{}/f.json", server.url())).expect("url"),
        most: MOST,
        longest: 100_000,
        kinds: Kinds::default(),
        geojson: false,
        whole: false,
        rows,
        queue: 2,
        slice: Slice { no: 0, remaining },
        mark: mark.map(str::to_owned),
    }
}

/// Keys as they come, and the latest date.
fn read() -> ReadItems<Vec<i64>> {
    Arc::new(|items, horizon| {
        let values = items
            .iter()
            .map(|item| serde_json::from_str::<serde_json::Value>(item).expect("JSON"));
        let (mut keys, mut latest) = (Vec::new(), None);
        for value in values {
            keys.push(value["id"].as_i64().expect("a key"));
            let text = value["at"].as_str().expect("a date");
            let date = record::parse_date(text).expect("a date");
            if date <= horizon && latest.as_ref().is_none_or(|(before, _)| *before < date) {
                latest = Some((date, text.to_owned()));
            }
        }
        (keys, latest)
    })
}

#[derive(Debug, Default)]
struct Outcome {
    keys: Vec<i64>,
    covered: Vec<(i32, (i64, i64))>,
    restarts: Vec<(i32, Option<String>)>,
    failed: Option<FetchError>,
    latest: Option<String>,
}

fn outcome(client: &Client, request: FileRequest) -> Outcome {
    let reader = FileReader::start(client.clone(), request, read(), plain_spawn).expect("a reader");
    let mut outcome = Outcome::default();
    loop {
        match reader
            .recv_timeout(Duration::from_secs(30))
            .expect("an event")
        {
            Event::Part(part) => {
                assert_eq!(part.rows, part.value.len());
                outcome.covered.push((part.slice, part.covered));
                outcome.keys.extend(part.value);
            }
            Event::Restarted { slice, mark } => outcome.restarts.push((slice, mark)),
            Event::Finished => break,
            Event::Failed(error) => {
                outcome.failed = Some(error);
                break;
            }
            Event::SliceDone(_) => panic!("no slice of a file ends by itself"),
        }
    }
    outcome.latest = reader.latest();
    let whole = outcome.failed.is_none();
    if let (read, Some(length)) = reader.progress()
        && whole
    {
        assert_eq!(read, length);
    }
    assert!(reader.stop(Duration::from_secs(10)));
    outcome
}

fn mark_of(client: &Client, server: &Server) -> String {
    let url = parse_file_url(&format!("{}/f.json", server.url())).expect("url");
    client
        .file_head(&url)
        .expect("a head")
        .expect("a file")
        .mark()
        .expect("a mark")
}

#[test]
fn a_file_is_read_in_parts_that_cover_it_whole() {
    let server = Server::start(|_, _| served("\"one\"", records(250, 2026)));
    let client = client(&server, token());
    let mark = mark_of(&client, &server);
    let all = vec![(0, LAST_PLACE)];
    let read = outcome(&client, request(&server, 100, all, Some(&mark)));
    assert!(read.failed.is_none(), "{read:?}");
    assert_eq!(read.keys, (0..250).collect::<Vec<i64>>());
    assert_eq!(
        read.covered,
        [
            (0, (0, 99)),
            (0, (100, 199)),
            (0, (200, 249)),
            (0, (250, LAST_PLACE))
        ]
    );
    assert!(read.restarts.is_empty());
    assert_eq!(read.latest.as_deref(), Some("2026-11-20T10:00:00"));
}

#[test]
fn what_was_covered_is_read_over_but_its_dates_count() {
    let server = Server::start(|_, _| served("\"one\"", records(250, 2026)));
    let client = client(&server, token());
    let mark = mark_of(&client, &server);
    let left = vec![(150, 159), (230, LAST_PLACE)];
    let read = outcome(&client, request(&server, 100, left, Some(&mark)));
    assert!(
        read.failed.is_none() && read.restarts.is_empty(),
        "{read:?}"
    );
    assert_eq!(read.keys, (150..160).chain(230..250).collect::<Vec<i64>>());
    assert_eq!(read.latest.as_deref(), Some("2026-11-20T10:00:00"));
}

#[test]
fn another_file_than_the_one_that_was_covered_is_read_from_its_beginning() {
    for mark in [Some("\"zero\" 12"), None] {
        let server = Server::start(|_, _| served("\"one\"", records(20, 2026)));
        let client = client(&server, token());
        let read = outcome(&client, request(&server, 100, vec![(15, LAST_PLACE)], mark));
        assert_eq!(read.keys, (0..20).collect::<Vec<i64>>());
        assert_eq!(read.restarts, [(1, Some(mark_of(&client, &server)))]);
        assert!(read.covered.iter().all(|(slice, _)| *slice == 1));
    }
}

#[test]
fn a_file_that_is_replaced_under_way_is_read_anew() {
    let server = Server::start(|_, number| match number {
        0 | 1 => {
            let body = records(20_000, 2026);
            let headers = vec![
                ("ETag", "\"one\"".to_owned()),
                ("Last-Modified", DATE.to_owned()),
            ];
            Reply::CutAfter(3_000_000, 200, headers, body)
        }
        _ => served("\"two\"", records(300, 2025)),
    });
    let client = client(&server, token());
    let mark = mark_of(&client, &server);
    let read = outcome(
        &client,
        request(&server, 1000, vec![(0, LAST_PLACE)], Some(&mark)),
    );
    assert!(read.failed.is_none(), "{read:?}");
    let [(1, Some(_))] = &read.restarts[..] else {
        panic!("{:?}", read.restarts);
    };
    let second = read
        .covered
        .iter()
        .position(|(slice, _)| *slice == 1)
        .expect("a second");
    assert!(read.covered[..second].iter().all(|(slice, _)| *slice == 0) && second > 3);
    assert_eq!(
        read.keys[read.keys.len() - 300..],
        (0..300).collect::<Vec<i64>>()
    );
    assert_eq!(read.latest.as_deref(), Some("2025-11-20T10:00:00"));
}

#[test]
fn a_file_that_is_not_closed_fails_after_what_came_whole() {
    for (body, why) in [
        (
            &b"[{\"id\": 1, \"at\": \"2026-01-01\"}, {\"id\": 2, \"at"[..],
            "ends before",
        ),
        (b"[{\"id\": 1, \"at\": \"2026-01-01\"}", "ends before"),
        (b"[{\"id\": 1, \"at\": \"2026-01-01\"}] []", "stands where"),
        (b"<html>", "for people"),
        (b"", "empty"),
    ] {
        let server = Server::start(|_, _| served("\"one\"", body.to_vec()));
        let client = client(&server, token());
        let mark = mark_of(&client, &server);
        let read = outcome(
            &client,
            request(&server, 1, vec![(0, LAST_PLACE)], Some(&mark)),
        );
        let error = read.failed.expect(why);
        assert!(error.message().contains(why), "{}", error.message());
        assert_eq!(error.sqlstate(), "22032");
        assert!(
            read.covered.iter().all(|(_, (_, last))| *last < 2),
            "{:?}",
            read.covered
        );
    }
}

#[test]
fn dates_of_the_future_are_no_latest_change() {
    let server = Server::start(|_, _| {
        let body = br#"[{"id": 1, "at": "2026-11-23T15:00:00"}, {"id": 2, "at": "2026-11-25T15:00:00"}, {"id": 3, "at": "2026-11-24T15:00:00"}]"#;
        served("\"one\"", body.to_vec())
    });
    let client = client(&server, token());
    let mark = mark_of(&client, &server);
    let read = outcome(
        &client,
        request(&server, 10, vec![(0, LAST_PLACE)], Some(&mark)),
    );
    assert_eq!(read.latest.as_deref(), Some("2026-11-24T15:00:00"));
}

#[test]
fn a_reader_that_nobody_listens_to_ends() {
    let server = Server::start(|_, _| served("\"one\"", records(20_000, 2026)));
    let client = client(&server, token());
    let reader = FileReader::start(
        client.clone(),
        request(&server, 10, vec![(0, LAST_PLACE)], None),
        read(),
        plain_spawn,
    )
    .expect("a reader");
    assert!(matches!(
        reader.recv_timeout(Duration::from_secs(30)),
        Some(Event::Restarted { slice: 1, .. })
    ));
    assert!(reader.stop(Duration::from_secs(10)));
    assert!(client.stop().is_set());
}

#[test]
fn a_look_takes_the_beginning_only() {
    let server = Server::start(|_, _| served("\"one\"", records(50_000, 2026)));
    let client = client(&server, token());
    let url = parse_file_url(&format!("{}/f.json", server.url())).expect("url");
    let seen = look(&client, &url, (MOST, 100_000), 100, &Kinds::default()).expect("a look");
    assert_eq!((seen.items.len(), seen.format), (100, Format::Json));
    assert_eq!(seen.head.etag.as_deref(), Some("\"one\""));
    assert!(
        client
            .traffic()
            .bytes
            .load(std::sync::atomic::Ordering::Relaxed)
            < 6_000_000
    );

    let small = Server::start(|_, _| served("\"one\"", b"a;b\n1;2\n".to_vec()));
    let client = client_at(&small.url(), token(), quick());
    let url = parse_file_url(&format!("{}/f.csv", small.url())).expect("url");
    let seen = look(&client, &url, (MOST, 100_000), 100, &Kinds::default()).expect("a look");
    assert_eq!((seen.items.len(), seen.format), (1, Format::Csv));
}
