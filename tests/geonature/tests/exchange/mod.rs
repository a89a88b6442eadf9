//! The smallest HTTP client that shows what is on the wire: one request a connection, the
//! whole answer or what came of it.

#![allow(dead_code)]

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use geonature_simulator::{Config, Simulator};
use serde_json::Value;

pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(header, _)| header.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn headers_named(&self, name: &str) -> Vec<&str> {
        let named = self
            .headers
            .iter()
            .filter(|(header, _)| header.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The items of a page of an export.
    pub fn items(&self) -> Vec<Value> {
        let page = self.json();
        let items = if page["items"].is_array() {
            &page["items"]
        } else {
            &page["items"]["features"]
        };
        items.as_array().expect("items").clone()
    }

    /// The keys of the items.
    pub fn ids(&self) -> Vec<i64> {
        let id = |item: &Value| {
            let row = item.get("properties").unwrap_or(item);
            row["id_synthese"].as_i64().expect("id_synthese")
        };
        self.items().iter().map(id).collect()
    }
}

pub fn get(url: &str, target: &str) -> Answer {
    ask(url, "GET", target, &[("Accept", "application/json")], "").expect("an answer")
}

pub fn ask(
    url: &str,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<Answer> {
    let mut stream = connect(url)?;
    send(&mut stream, method, target, headers, body)?;
    read_answer(&mut stream)
}

pub fn connect(url: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(url.trim_start_matches("http://"))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    Ok(stream)
}

pub fn send(
    stream: &mut TcpStream,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<()> {
    let mut head =
        format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes())
}

/// Reads an answer to its end. A body shorter than promised is an error.
pub fn read_answer(stream: &mut TcpStream) -> io::Result<Answer> {
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw)?;
    let end = raw.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
    let head = String::from_utf8_lossy(&raw[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|s| s.parse().ok());
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut answer = Answer {
        status: status.ok_or(io::ErrorKind::InvalidData)?,
        headers,
        body: raw[end + 4..].to_vec(),
    };
    if answer.header("transfer-encoding") == Some("chunked") {
        answer.body = unchunked(&answer.body)?;
    }
    let promised = answer
        .header("content-length")
        .and_then(|length| length.parse().ok());
    let short = promised.is_some_and(|promised: usize| answer.body.len() < promised);
    if short && !answer.body.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer)
}

fn unchunked(mut body: &[u8]) -> io::Result<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let line = body.windows(2).position(|window| window == b"\r\n");
        let line = line.ok_or(io::ErrorKind::UnexpectedEof)?;
        let size = std::str::from_utf8(&body[..line]).ok();
        let size = size.and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.ok_or(io::ErrorKind::InvalidData)?;
        if size == 0 {
            return Ok(whole);
        }
        let chunk = body
            .get(line + 2..line + 2 + size)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        whole.extend_from_slice(chunk);
        body = body
            .get(line + 4 + size..)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
    }
}

/// Logs in and returns the header Cookie to send.
pub fn log_in(url: &str, login: &str) -> String {
    let body = format!("{{\"login\": \"{login}\", \"password\": \"{login}\"}}");
    let headers = [
        ("Accept", "application/json"),
        ("Content-Type", "application/json"),
    ];
    let answer = ask(url, "POST", "/api/auth/login", &headers, &body).expect("an answer");
    assert_eq!(answer.status, 200);
    let cookies = answer.headers_named("set-cookie");
    let pairs: Vec<&str> = cookies
        .iter()
        .filter_map(|cookie| cookie.split(';').next())
        .collect();
    pairs.join("; ")
}

/// A partner with so many observations and nothing else special.
pub fn partner(observations: u32) -> Simulator {
    Simulator::start(Config {
        observations,
        ..Config::default()
    })
    .expect("a partner")
}

/// A page of the export with codes.
pub fn page(partner: &Simulator, query: &str) -> Answer {
    get(
        partner.url(),
        &format!("/api/exports/api/2?token=jeton-export-2&{query}"),
    )
}

pub fn export(partner: &Simulator, id: u32, query: &str) -> Answer {
    get(
        partner.url(),
        &format!("/api/exports/api/{id}?token=jeton-export-{id}&{query}"),
    )
}
