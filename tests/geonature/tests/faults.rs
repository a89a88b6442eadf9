//! Each fault does on the wire what it says.

mod exchange;

use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

use exchange::{Answer, ask, connect, get, log_in, read_answer, send};
use geonature_simulator::{Config, Fault, Route, Rule, Simulator};

const TARGET: &str = "/api/exports/api/2?token=jeton-export-2&limit=50";

fn partner_with(fault: Fault) -> Simulator {
    let config = Config {
        observations: 100,
        ..Config::default()
    };
    let partner = Simulator::start(config).expect("a partner");
    partner.add_fault(Rule::times(Route::Export, 1, fault));
    partner
}

fn page(partner: &Simulator) -> std::io::Result<Answer> {
    ask(
        partner.url(),
        "GET",
        TARGET,
        &[("Accept", "application/json")],
        "",
    )
}

/// After its fault the partner answers well again.
fn recovers(partner: &Simulator) {
    assert_eq!(page(partner).unwrap().items().len(), 50);
}

#[test]
fn slow_answers_are_late_and_right() {
    for fault in [
        Fault::Slow { seconds: 0.3 },
        Fault::SlowBody { seconds: 0.3 },
    ] {
        let partner = partner_with(fault);
        let start = Instant::now();
        recovers(&partner);
        assert!(start.elapsed() >= Duration::from_millis(280));
    }
}

#[test]
fn hung_answers_never_end() {
    for (fault, some) in [
        (Fault::Hang, false),
        (Fault::HangInBody { after_bytes: 100 }, true),
    ] {
        let partner = partner_with(fault);
        let mut stream = connect(partner.url()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        send(&mut stream, "GET", TARGET, &[], "").unwrap();
        let mut received = Vec::new();
        let ended = stream.read_to_end(&mut received).unwrap_err().kind();
        assert!(matches!(ended, ErrorKind::WouldBlock | ErrorKind::TimedOut));
        assert_eq!(!received.is_empty(), some);
        recovers(&partner);
    }
}

#[test]
fn a_connection_is_reset_in_the_head_or_in_the_body() {
    for after_bytes in [0, 30, 5000] {
        let partner = partner_with(Fault::Reset { after_bytes });
        assert!(page(&partner).is_err(), "after {after_bytes} bytes");
        recovers(&partner);
    }
}

#[test]
fn a_truncated_body_is_shorter_than_its_promise() {
    let partner = partner_with(Fault::TruncatedBody { keep: 0.5 });
    assert_eq!(
        page(&partner).err().map(|error| error.kind()),
        Some(ErrorKind::UnexpectedEof)
    );
    recovers(&partner);
}

#[test]
fn bodies_that_are_no_page_come_with_200() {
    for fault in [
        Fault::TruncatedJson,
        Fault::InvalidJson,
        Fault::EmptyBody,
        Fault::Html,
    ] {
        let html = fault == Fault::Html;
        let partner = partner_with(fault);
        let answer = page(&partner).unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer
                .header("content-type")
                .unwrap()
                .starts_with("text/html"),
            html
        );
        assert!(serde_json::from_slice::<serde_json::Value>(&answer.body).is_err());
        recovers(&partner);
    }
}

#[test]
fn statuses_come_with_html_and_retry_after() {
    for status in [401, 403, 429, 500, 502, 503, 504] {
        let fault = Fault::Status {
            status,
            retry_after: (status == 429).then(|| "7".to_owned()),
            retry_after_date: (status == 503).then_some(5),
            json: false,
        };
        let partner = partner_with(fault);
        let answer = page(&partner).unwrap();
        assert_eq!(answer.status, status);
        assert_eq!(
            answer.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        match status {
            429 => assert_eq!(answer.header("retry-after"), Some("7")),
            503 => assert!(answer.header("retry-after").unwrap().ends_with("GMT")),
            _ => assert_eq!(answer.header("retry-after"), None),
        }
        recovers(&partner);
    }
}

#[test]
fn an_endless_body_goes_on_as_long_as_one_reads() {
    let partner = partner_with(Fault::EndlessBody);
    let mut stream = connect(partner.url()).unwrap();
    send(&mut stream, "GET", TARGET, &[], "").unwrap();
    let mut received = vec![0; 20_000_000];
    stream.read_exact(&mut received).unwrap();
    drop(stream);
    recovers(&partner);
}

#[test]
fn large_bodies_are_as_large_as_asked() {
    let partner = partner_with(Fault::HugeBody { bytes: 3_000_000 });
    let answer = page(&partner).unwrap();
    assert_eq!(answer.header("content-length"), Some("3000000"));
    assert_eq!(answer.body.len(), 3_000_000);
    recovers(&partner);

    let partner = partner_with(Fault::GzipBomb { bytes: 10_000_000 });
    let answer = page(&partner).unwrap();
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert!(answer.body.len() < 200_000);
    let mut grown = Vec::new();
    flate2::read::GzDecoder::new(&answer.body[..])
        .read_to_end(&mut grown)
        .unwrap();
    assert_eq!(grown.len(), 10_000_000);
}

#[test]
fn a_redirect_goes_where_it_is_told() {
    for status in [301, 302, 307, 308] {
        let location = "http://ailleurs.example.org/api".to_owned();
        let partner = partner_with(Fault::Redirect {
            status,
            location: location.clone(),
        });
        let answer = page(&partner).unwrap();
        assert_eq!(
            (answer.status, answer.header("location")),
            (status, Some(location.as_str()))
        );
        recovers(&partner);
    }
}

#[test]
fn a_session_expires_between_two_pages() {
    let partner = partner_with(Fault::ExpiredSession);
    let status = |cookie: &str| {
        let headers = [("Accept", "application/json"), ("Cookie", cookie)];
        ask(partner.url(), "GET", "/api/exports/api/2", &headers, "")
            .unwrap()
            .status
    };
    let cookie = log_in(partner.url(), "moissonneur");
    assert_eq!(status(&cookie), 403);
    assert_eq!(status(&log_in(partner.url(), "moissonneur")), 200);
}

#[test]
fn pages_lie_about_what_surrounds_their_rows() {
    let partner = partner_with(Fault::LowerCap { cap: 7 });
    let answer = page(&partner).unwrap();
    assert_eq!(
        (answer.json()["limit"].as_i64(), answer.items().len()),
        (Some(7), 7)
    );
    let partner = partner_with(Fault::WrongTotal { total: 12 });
    assert_eq!(page(&partner).unwrap().json()["total"], 12);
    let partner = partner_with(Fault::ContentType {
        value: "text/plain".to_owned(),
    });
    assert_eq!(
        page(&partner).unwrap().header("content-type"),
        Some("text/plain")
    );
    let date = |fault| {
        page(&partner_with(fault))
            .unwrap()
            .header("date")
            .unwrap()
            .to_owned()
    };
    let offset_seconds = -40 * 365 * 86_400;
    let old = date(Fault::WrongDate {
        offset_seconds,
        value: None,
    });
    assert!(old.contains(" 19"), "{old}");
    let value = Some("hier".to_owned());
    assert_eq!(
        date(Fault::WrongDate {
            offset_seconds: 0,
            value
        }),
        "hier"
    );
}

#[test]
fn faults_are_for_their_route() {
    let partner = Simulator::start(Config::default()).expect("a partner");
    let fault = Fault::Status {
        status: 503,
        retry_after: None,
        retry_after_date: None,
        json: true,
    };
    partner.set_faults(vec![Rule::always(Route::Log, fault).after(1)]);
    let cookie = log_in(partner.url(), "admin");
    let headers = [("Cookie", cookie.as_str())];
    let log = || {
        ask(partner.url(), "GET", "/api/synthese/log", &headers, "")
            .unwrap()
            .status
    };
    assert_eq!([log(), log(), log()], [200, 503, 503]);
    assert_eq!(get(partner.url(), TARGET).status, 200);
    partner.clear_faults();
    assert_eq!(log(), 200);
}

#[test]
fn one_connection_serves_several_requests() {
    let partner = Simulator::start(Config::default()).expect("a partner");
    let mut stream = connect(partner.url()).unwrap();
    use std::io::Write;
    stream
        .write_all(b"GET /api/exports/api/6?limit=1 HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    send(&mut stream, "GET", "/api/exports/api/6?limit=1", &[], "").unwrap();
    let answer = read_answer(&mut stream).unwrap();
    let both = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(
        both.contains("HTTP/1.1 200 OK"),
        "the second answer follows the first"
    );
}
