//! The contract: every request recorded on a real GeoNature is replayed against the
//! simulator, whose answer must have the same status, content type, headers, keys and types.

mod exchange;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use exchange::{Answer, ask, log_in};
use geonature_simulator::{Config, Simulator};
use serde::Deserialize;
use serde_json::{Value, json};

/// 2026-11-23 16:58:18 UTC, when the answers were recorded.
const RECORDED_AT: i64 = 1_795_453_098;

#[derive(Deserialize)]
struct Recorded {
    request: RecordedRequest,
    status: u16,
    headers: Vec<(String, String)>,
    body_file: String,
}

#[derive(Deserialize)]
struct RecordedRequest {
    method: String,
    url: String,
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Option<String>,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn recorded(name: &str) -> Recorded {
    let text = fs::read_to_string(fixtures().join(format!("{name}.headers.json"))).expect(name);
    serde_json::from_str(&text).expect(name)
}

fn recorded_body(recorded: &Recorded) -> Vec<u8> {
    fs::read(fixtures().join(&recorded.body_file)).expect("a recorded body")
}

fn names(wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(fixtures())
        .expect("the recorded answers")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|file| file.strip_suffix(".headers.json").map(str::to_owned))
        .filter(|name| wanted(name))
        .collect();
    names.sort();
    names
}

/// As many observations as the real server had, with what the recorded requests ask for:
/// deletions of one date, and changes in the autumn of 2026.
fn partner() -> Simulator {
    let partner = Simulator::start(Config {
        observations: 100_000,
        keep_alive: false,
        password: Some("moisson".to_owned()),
        ..Config::default()
    })
    .expect("a partner");
    let elapsed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock")
        .as_secs();
    partner.set_clock(RECORDED_AT - elapsed as i64, 0);
    let ids = partner.ids();
    assert_eq!(partner.delete(&ids[ids.len() - 49..]), 49);
    for (id, day) in ids.iter().zip(1..=30) {
        let moment = format!("2026-10-{day:02} 10:00:00.123456");
        partner
            .update(*id, &json!({"derniere_action": moment}))
            .expect("an update");
    }
    partner
}

/// The simulator's number of an export, by the recorded one.
fn export(recorded: &str) -> &str {
    match recorded {
        "3" => "2",
        "4" => "3",
        "5" => "6",
        "6" => "5",
        "7" => "8",
        other => other,
    }
}

/// The path and query of a recorded request, with the simulator's exports and tokens.
fn target(url: &str) -> String {
    let at = url.find("/api").expect("a path");
    let (path, query) = url[at..].split_once('?').unwrap_or((&url[at..], ""));
    let Some(number) = path.strip_prefix("/api/exports/api/") else {
        return url[at..].to_owned();
    };
    let number = export(number);
    let query: Vec<String> = query
        .split('&')
        .map(|parameter| match parameter.strip_prefix("token=") {
            Some(token) if token != "bad" => format!("token=jeton-export-{number}"),
            _ => parameter.to_owned(),
        })
        .collect();
    format!("/api/exports/api/{number}?{}", query.join("&"))
}

/// Sends a recorded request, with sessions and tokens of the simulator.
fn replay(partner: &Simulator, name: &str, request: &RecordedRequest) -> Answer {
    let cookie = match name {
        "modules_without_exports" => log_in(partner.url(), "sansdroit"),
        "modules_moissonneur" => harvester(partner),
        _ => log_in(partner.url(), "admin"),
    };
    let target = target(&request.url);
    let number = target
        .trim_start_matches("/api/exports/api/")
        .chars()
        .next()
        .unwrap_or('0');
    let key = format!("jeton-export-{number}");
    let mut headers = Vec::new();
    for (name, value) in &request.headers {
        let value = match name.as_str() {
            // A cookie that begins with a dot holds a login; the others are nobody's.
            "Cookie" if !value.contains("session=.") => continue,
            "Cookie" => &cookie,
            "api-key" => &key,
            _ => value,
        };
        headers.push((name.as_str(), value.as_str()));
    }
    let body = request.body.as_deref().unwrap_or_default();
    ask(partner.url(), &request.method, &target, &headers, body).expect(name)
}

fn harvester(partner: &Simulator) -> String {
    let headers = [
        ("Accept", "application/json"),
        ("Content-Type", "application/json"),
    ];
    let body = "{\"login\": \"moissonneur\", \"password\": \"moisson\"}";
    let answer = ask(partner.url(), "POST", "/api/auth/login", &headers, body).expect("a login");
    let cookies = answer.headers_named("set-cookie");
    cookies
        .iter()
        .filter_map(|cookie| cookie.split(';').next())
        .collect::<Vec<_>>()
        .join("; ")
}

/// Every recorded header is there; those whose value is a fact of the protocol are equal.
fn same_head(name: &str, recorded: &Recorded, answer: &Answer) {
    assert_eq!(answer.status, recorded.status, "{name}");
    for (header, value) in &recorded.headers {
        // The real server renews a session cookie on the way; a client need not care.
        if header == "Set-Cookie" && !name.starts_with("login") {
            continue;
        }
        let answered = answer.header(header);
        assert!(answered.is_some(), "{name}: no header {header}");
        if [
            "Content-Type",
            "Vary",
            "Accept-Ranges",
            "Cache-Control",
            "Connection",
            "Server",
        ]
        .contains(&header.as_str())
        {
            assert_eq!(answered, Some(value.as_str()), "{name}: {header}");
        }
    }
    let cookies = |list: Vec<&str>| {
        let parts = list.iter().map(|cookie| {
            let name = cookie.split('=').next().unwrap_or_default();
            let path = cookie
                .split("; ")
                .find(|part| part.starts_with("Path="))
                .unwrap_or_default();
            format!("{name} {path}")
        });
        parts.collect::<Vec<String>>()
    };
    if name.starts_with("login") {
        let sent = recorded
            .headers
            .iter()
            .filter(|(header, _)| header == "Set-Cookie");
        let sent: Vec<&str> = sent.map(|(_, value)| value.as_str()).collect();
        assert_eq!(
            cookies(answer.headers_named("set-cookie")),
            cookies(sent),
            "{name}"
        );
    }
}

/// The keys and types of a JSON value. The items of an array are taken together; null and an
/// empty object say nothing.
#[derive(Debug, PartialEq)]
enum Shape {
    Unknown,
    Scalar(&'static str),
    Array(Box<Shape>),
    Object(BTreeMap<String, Shape>),
}

fn shape(value: &Value) -> Shape {
    match value {
        Value::Null => Shape::Unknown,
        Value::Bool(_) => Shape::Scalar("boolean"),
        Value::Number(_) => Shape::Scalar("number"),
        Value::String(_) => Shape::Scalar("string"),
        Value::Array(items) => {
            let merged = items.iter().map(shape).fold(Shape::Unknown, merge);
            Shape::Array(Box::new(merged))
        }
        Value::Object(members) if members.is_empty() => Shape::Unknown,
        Value::Object(members) => Shape::Object(
            members
                .iter()
                .map(|(key, value)| (key.clone(), shape(value)))
                .collect(),
        ),
    }
}

fn merge(a: Shape, b: Shape) -> Shape {
    match (a, b) {
        (Shape::Unknown, other) | (other, Shape::Unknown) => other,
        (Shape::Array(a), Shape::Array(b)) => Shape::Array(Box::new(merge(*a, *b))),
        (Shape::Object(mut a), Shape::Object(b)) => {
            for (key, shape) in b {
                let known = a.remove(&key).unwrap_or(Shape::Unknown);
                a.insert(key, merge(known, shape));
            }
            Shape::Object(a)
        }
        (a, _) => a,
    }
}

fn compare(at: &str, recorded: &Shape, answered: &Shape, faults: &mut Vec<String>) {
    match (recorded, answered) {
        (Shape::Unknown, _) | (_, Shape::Unknown) => {}
        // A coordinate is a number in a point, a list elsewhere.
        _ if at.ends_with("geometry.coordinates") => {}
        (Shape::Array(recorded), Shape::Array(answered)) => {
            compare(&format!("{at}[]"), recorded, answered, faults);
        }
        (Shape::Object(recorded), Shape::Object(answered)) => {
            for (key, shape) in recorded {
                match answered.get(key) {
                    Some(answered) => compare(&format!("{at}.{key}"), shape, answered, faults),
                    None => faults.push(format!("{at}.{key} is missing")),
                }
            }
            for key in answered.keys().filter(|key| !recorded.contains_key(*key)) {
                faults.push(format!("{at}.{key} is not in the recorded answer"));
            }
        }
        (recorded, answered) if recorded != answered => {
            faults.push(format!(
                "{at}: recorded {recorded:?}, answered {answered:?}"
            ));
        }
        _ => {}
    }
}

fn same_shape(name: &str, recorded: &Value, answered: &Value) {
    let mut faults = Vec::new();
    compare("", &shape(recorded), &shape(answered), &mut faults);
    assert!(faults.is_empty(), "{name}: {faults:#?}");
}

#[test]
fn every_recorded_request_is_answered_as_it_was() {
    let partner = partner();
    let names = names(|name| !name.starts_with("file_"));
    assert!(names.len() >= 35, "the recorded answers are incomplete");
    for name in names {
        let recorded = recorded(&name);
        let answer = replay(&partner, &name, &recorded.request);
        same_head(&name, &recorded, &answer);
        let body = recorded_body(&recorded);
        match serde_json::from_slice::<Value>(&body) {
            Ok(body) => same_shape(&name, &body, &answer.json()),
            Err(_) => same_html(&name, &body, &answer.body),
        }
    }
}

/// Pages for people are the same text, but for the address of the front end.
fn same_html(name: &str, recorded: &[u8], answered: &[u8]) {
    let text = |body: &[u8]| {
        let text = String::from_utf8_lossy(body).into_owned();
        text.split("<a href").next().unwrap_or_default().to_owned()
    };
    assert_eq!(text(answered), text(recorded), "{name}");
}

#[test]
fn figures_of_a_page_are_those_of_the_real_server() {
    let partner = partner();
    for name in [
        "meta_page0",
        "meta_page1",
        "meta_last_page",
        "meta_beyond_last",
        "geo_empty",
    ] {
        let recorded = recorded(name);
        let answer = replay(&partner, name, &recorded.request).json();
        let body: Value = serde_json::from_slice(&recorded_body(&recorded)).expect(name);
        for figure in ["limit", "page", "total", "total_filtered"] {
            assert_eq!(answer[figure], body[figure], "{name}: {figure}");
        }
    }
}

#[test]
fn scheduled_files_are_served_as_they_were() {
    let config = Config {
        observations: 300,
        keep_alive: false,
        ..Config::default()
    };
    let partner = Simulator::start(config).expect("a partner");
    for name in names(|name| name.starts_with("file_")) {
        let recorded = recorded(&name);
        let request = &recorded.request;
        let headers: Vec<(&str, &str)> = request
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let target = target(&request.url);
        let answer = ask(partner.url(), &request.method, &target, &headers, "").expect(&name);
        same_head(&name, &recorded, &answer);
        let body = recorded_body(&recorded);
        match recorded.status {
            206 => {
                assert_eq!(answer.header("content-length"), Some("65536"), "{name}");
                assert_eq!(answer.body.len(), 65_536, "{name}");
                same_shape(&name, &first_record(&body), &first_record(&answer.body));
            }
            200 => assert!(answer.body.is_empty(), "{name}"),
            _ => same_html(&name, &body, &answer.body),
        }
    }
}

/// The first object of the outermost array.
fn first_record(part: &[u8]) -> Value {
    let start = part
        .iter()
        .position(|byte| *byte == b'[')
        .expect("an array")
        + 1;
    let mut records = serde_json::Deserializer::from_slice(&part[start..]).into_iter();
    records.next().expect("a record").expect("JSON")
}
