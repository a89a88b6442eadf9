//! What the client does with each answer of a server, faults included.

mod geonature_support;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use geonature_support::*;
use gn_harvest_pure::geonature::{
    Client, Credentials, Endpoint, FetchError, Limits, PageQuery, Secret, forbidden_address,
    parse_url,
};

const PAGE: &str = r#"{"items": [{"id": 1, "nom": "é"}, {"id": 2}], "limit": 2, "page": 0, "total": 9, "total_filtered": 4, "license": {"name": "LO", "href": null}}"#;

fn page_of(client: &Client) -> Result<gn_harvest_pure::geonature::Page, FetchError> {
    client.page(3, &PageQuery::default())
}

fn failure(client: &Client) -> FetchError {
    page_of(client).expect_err("a failure")
}

#[test]
fn a_page_is_asked_politely_and_read_without_copy() {
    let server = Server::start(|_, _| json(200, PAGE));
    let query = PageQuery {
        limit: Some(2),
        offset: 0,
        order_by: Some("id".into()),
        filters: vec![
            ("filter_n_up_id".into(), "1".into()),
            ("nom".into(), "a&b é".into()),
        ],
    };
    let page = client(&server, token()).page(3, &query).expect("page");
    assert_eq!(page.len(), 2);
    assert_eq!(page.item(0), r#"{"id": 1, "nom": "é"}"#);
    assert_eq!(page.items().last(), Some(r#"{"id": 2}"#));
    assert_eq!(
        (page.total, page.total_filtered, page.limit),
        (Some(9), Some(4), 2)
    );
    assert_eq!(
        page.license.as_ref().and_then(|l| l.name.as_deref()),
        Some("LO")
    );
    assert_eq!(page.request_id.as_deref(), Some("req-1"));
    assert_eq!(
        page.server_date.expect("date").to_rfc3339(),
        "2026-11-23T16:11:18+00:00"
    );
    assert!(!page.geojson);
    let asked = &server.asked()[0];
    assert_eq!(asked.path, "/geonature/api/exports/api/3");
    assert_eq!(asked.header("accept"), Some("application/json"));
    assert_eq!(asked.header("accept-encoding"), Some("gzip"));
    assert_eq!(asked.header("user-agent"), Some("gn_harvest/test"));
    assert_eq!(asked.header("api-key"), Some("t0ken-of-export"));
    assert_eq!(asked.parameter("nom"), Some("a&b é"));
    assert_eq!(asked.parameter("orderby"), Some("id"));
    assert_eq!(asked.parameter("token"), None);
}

#[test]
fn features_of_geojson_are_given_whole() {
    let body = r#"{"items": {"features": [{"type": "Feature", "properties": {"id": 1}}], "type": "FeatureCollection"}, "limit": 30, "page": 0, "total": -1, "total_filtered": 3}"#;
    let server = Server::start(move |_, _| json(200, body));
    let page = page_of(&client(&server, Credentials::Public)).expect("page");
    assert!(page.geojson);
    assert_eq!(
        page.item(0),
        r#"{"type": "Feature", "properties": {"id": 1}}"#
    );
    assert_eq!(page.total, Some(0));
}

#[test]
fn a_compressed_page_is_read() {
    use std::io::Write;
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(PAGE.as_bytes()).expect("gzip");
    let gz = gz.finish().expect("gzip");
    let server = Server::start(move |_, _| {
        Reply::Full(200, vec![("Content-Encoding", "gzip".into())], gz.clone())
    });
    assert_eq!(page_of(&client(&server, token())).expect("page").len(), 2);
}

#[test]
fn bodies_without_end_stop_at_the_cap() {
    use std::io::Write;
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..200 {
        gz.write_all(&vec![b' '; 1024 * 1024]).expect("gzip");
    }
    let bomb = gz.finish().expect("gzip");
    let server = Server::start(move |_, number| match number {
        0 => Reply::Endless,
        1 => Reply::Announce(2_000_000_000),
        _ => Reply::Full(200, vec![("Content-Encoding", "gzip".into())], bomb.clone()),
    });
    let client = client(&server, token());
    for _ in 0..3 {
        let error = failure(&client);
        assert!(
            matches!(
                error,
                FetchError::BodyTooLarge {
                    limit: 1_048_576,
                    ..
                }
            ),
            "{error}"
        );
        assert!(error.narrower() && !error.retryable());
        assert_eq!(error.sqlstate(), "54000");
    }
    assert_eq!(server.count(), 3);
    assert!(client.traffic().bytes.load(Ordering::Relaxed) < 8 * 1024 * 1024);
}

#[test]
fn passing_faults_are_retried() {
    let server = Server::start(|_, number| match number {
        0 => html(200),
        1 => Reply::Cut(PAGE.as_bytes()[..40].to_vec()),
        2 => json(200, &PAGE[..40]),
        3 => html(502),
        4 => html(503),
        5 => Reply::Close,
        6 => json(
            500,
            r#"{"code": 500, "description": "x", "name": "Internal Server Error"}"#,
        ),
        7 => json(200, r#"{"code": 200}"#),
        _ => json(200, PAGE),
    });
    let client = client(&server, token());
    let page = page_of(&client).expect("page");
    assert!(page.strained);
    assert_eq!(client.traffic().retries.load(Ordering::Relaxed), 8);
    assert_eq!(client.traffic().requests.load(Ordering::Relaxed), 9);
    assert_eq!(client.traffic().last_status.load(Ordering::Relaxed), 200);
    assert_eq!(client.traffic().in_flight.load(Ordering::Relaxed), 0);
}

#[test]
fn html_with_200_is_never_data() {
    let server = Server::start(|_, _| html(200));
    let error = failure(&client(&server, token()));
    assert!(matches!(error, FetchError::NotJson { .. }));
    assert_eq!(error.sqlstate(), "22032");
    let detail = error.detail().expect("detail");
    assert!(
        detail.contains("Welcome Hello") && detail.contains("text/html"),
        "{detail}"
    );
    assert_eq!(server.count(), 4);
}

#[test]
fn a_server_error_is_retried_twice_and_tells_the_request_id() {
    let server = Server::start(|_, _| {
        json(
            500,
            r#"{"code":500,"description":"The server encountered an internal error"}"#,
        )
    });
    let error = failure(&client(&server, token()));
    assert_eq!(server.count(), 3);
    let detail = error.detail().expect("detail");
    assert!(
        detail.contains("X-Request-ID req-1") && detail.contains("HTTP 500"),
        "{detail}"
    );
    assert!(
        detail.contains("answer: The server encountered"),
        "{detail}"
    );
    assert_eq!(error.sqlstate(), "38000");
}

#[test]
fn refusals_are_not_retried() {
    for (status, check) in [
        (400, "38000"),
        (401, "28000"),
        (403, "42501"),
        (404, "42704"),
    ] {
        let server = Server::start(move |_, _| json(status, r#"{"description":"no"}"#));
        let error = failure(&client(&server, token()));
        assert_eq!((server.count(), error.sqlstate()), (1, check), "{error}");
        assert!(
            error
                .hint()
                .is_some_and(|hint| hint.contains("gn_harvest.")),
            "{error}"
        );
    }
}

#[test]
fn the_retry_budget_is_shared_and_ends() {
    let server = Server::start(|_, _| html(503));
    let limits = Limits {
        retry_budget: 8,
        ..quick()
    };
    let client = client_at(&server.url(), token(), limits);
    assert!(matches!(
        failure(&client),
        FetchError::Status { status: 503, .. }
    ));
    let error = failure(&client);
    assert!(
        matches!(error, FetchError::RetryBudgetExhausted { retries: 8, .. }),
        "{error}"
    );
    assert_eq!(error.sqlstate(), "38000");
    assert!(error.detail().expect("detail").contains("HTTP 503"));
    assert_eq!(server.count(), 10);
}

#[test]
fn retry_after_is_honoured_by_every_thread_or_the_request_given_up() {
    let server = Server::start(|_, number| match number {
        0 => Reply::Full(429, vec![("Retry-After", "1".into())], Vec::new()),
        1 | 2 => json(200, PAGE),
        _ => Reply::Full(429, vec![("Retry-After", "3600".into())], Vec::new()),
    });
    let client = client(&server, token());
    let start = Instant::now();
    let other = {
        let client = client.clone();
        std::thread::spawn(move || {
            while client.traffic().last_status.load(Ordering::Relaxed) != 429 {
                std::thread::sleep(Duration::from_millis(2));
            }
            std::thread::sleep(Duration::from_millis(60));
            page_of(&client).expect("page");
            start.elapsed()
        })
    };
    page_of(&client).expect("page");
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert!(other.join().expect("thread") >= Duration::from_secs(1));
    let error = failure(&client);
    assert!(
        error
            .detail()
            .expect("detail")
            .contains("Retry-After 3600 s")
    );
    assert_eq!(server.count(), 4);
}

#[test]
fn a_hung_server_is_left_within_a_moment_of_the_stop() {
    for script in [|| Reply::Hang, || Reply::Drip] {
        let server = Server::start(move |_, _| script());
        let client = client_at(
            &server.url(),
            token(),
            Limits {
                request_timeout: Duration::from_secs(60),
                ..quick()
            },
        );
        let stop = Arc::clone(client.stop());
        let asker = std::thread::spawn(move || failure(&client));
        while server.count() == 0 {
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_millis(50));
        let start = Instant::now();
        stop.set();
        assert!(matches!(asker.join().expect("thread"), FetchError::Stopped));
        assert!(start.elapsed() < Duration::from_millis(500));
    }
}

#[test]
fn a_slow_body_ends_at_the_time_out() {
    let server = Server::start(|_, _| Reply::Drip);
    let limits = Limits {
        request_timeout: Duration::from_millis(200),
        retry_budget: 1,
        ..quick()
    };
    let error = failure(&client_at(&server.url(), token(), limits));
    let FetchError::RetryBudgetExhausted { last, .. } = error else {
        panic!("{error}")
    };
    assert!(matches!(*last, FetchError::Timeout { .. }));
    assert!(last.narrower());
}

#[test]
fn link_local_and_metadata_addresses_are_refused() {
    for text in [
        "169.254.169.254",
        "169.254.0.1",
        "fe80::1",
        "febf::1",
        "::ffff:169.254.169.254",
        "::169.254.1.1",
        "fd00:ec2::254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "100.100.100.200",
    ] {
        let address: IpAddr = text.parse().expect("address");
        assert!(forbidden_address(address), "{text}");
    }
    for text in [
        "127.0.0.1",
        "10.0.0.1",
        "169.253.1.1",
        "::1",
        "fec0::1",
        "2001:db8::1",
        "fd00::1",
    ] {
        let address: IpAddr = text.parse().expect("address");
        assert!(!forbidden_address(address), "{text}");
    }
    for url in [
        "http://169.254.169.254/gn",
        "http://0xA9FEA9FE/",
        "http://[fe80::1]/",
        "http://[::ffff:a9fe:a9fe]/",
    ] {
        let error = failure(&client_at(url, token(), quick()));
        assert!(
            matches!(error, FetchError::AddressRefused { .. }),
            "{url}: {error}"
        );
        assert_eq!(error.sqlstate(), "08004");
    }
}

#[test]
fn nobody_there_is_said_so() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .expect("bind")
        .local_addr()
        .expect("address");
    let limits = Limits {
        retry_budget: 1,
        ..quick()
    };
    let error = failure(&client_at(&format!("http://{free}"), token(), limits));
    assert_eq!(error.sqlstate(), "08001");
    assert!(error.message().contains("refused"), "{error}");
}

#[test]
fn plain_http_behind_https_is_a_tls_error_or_a_lost_connection() {
    let server = Server::start(|_, _| html(400));
    let url = server.url().replace("http:", "https:");
    let error = failure(&client_at(
        &url,
        token(),
        Limits {
            retry_budget: 1,
            ..quick()
        },
    ));
    assert!(matches!(error.sqlstate(), "08001" | "08006"), "{error:?}");
}

#[test]
fn urls_are_validated_and_brought_to_their_base() {
    for (text, base) in [
        ("https://gn.example.org", "https://gn.example.org/"),
        ("https://gn.example.org/", "https://gn.example.org/"),
        (
            " https://gn.example.org/geonature/ ",
            "https://gn.example.org/geonature",
        ),
        (
            "https://gn.example.org/geonature/api",
            "https://gn.example.org/geonature",
        ),
        (
            "https://gn.example.org/geonature/api/",
            "https://gn.example.org/geonature",
        ),
        ("http://127.0.0.1:8000/api", "http://127.0.0.1:8000/"),
    ] {
        assert_eq!(parse_url(text).expect(text).as_str(), base);
    }
    for text in [
        "",
        "gn.example.org",
        "ftp://gn.example.org",
        "http://",
        "https://me:pw@gn.example.org",
        "https://gn.example.org/?token=abc",
        "https://gn.example.org/#/login",
        "file:///etc/passwd",
    ] {
        let error = parse_url(text).expect_err(text);
        assert_eq!(error.sqlstate(), "22023");
        assert!(!error.message().contains("pw") && !error.message().contains("abc"));
    }
}

#[test]
fn secrets_do_not_print() {
    let secret = Secret::new("hush");
    assert_eq!(format!("{secret} {secret:?}"), "*** ***");
    let endpoint = Endpoint::new("https://gn.example.org", account()).expect("url");
    assert!(!format!("{endpoint:?}").contains("s3cret"));
    let server = Server::start(|_, _| json(400, r#"{"description":"bad t0ken-of-export"}"#));
    let query = PageQuery {
        filters: vec![("token".into(), "hidden".into())],
        ..PageQuery::default()
    };
    let error = client(&server, token()).page(1, &query).expect_err("400");
    let all = format!("{error:?} {:?}", error.detail());
    assert!(
        !all.contains("hidden") && !all.contains("t0ken-of"),
        "{all}"
    );
}

#[test]
fn a_probe_recognises_a_geonature_without_credentials() {
    let server = Server::start(|_, _| json(401, r#"{"code":401,"description":"x"}"#));
    let probe = client(&server, account()).probe().expect("probe");
    assert!(probe.geonature && !probe.https);
    assert_eq!(probe.status, 401);
    assert_eq!(server.asked()[0].header("authorization"), None);
    let other = Server::start(|_, _| html(200));
    assert!(!client(&other, token()).probe().expect("probe").geonature);
}
