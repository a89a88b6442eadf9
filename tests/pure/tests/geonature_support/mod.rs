//! A tiny HTTP server that answers as a test's script says, faults included,
//! and remembers every request.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gn_harvest_pure::geonature::{Client, Credentials, Endpoint, Limits, Stop, Traffic};

#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub query: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn number(&self, name: &str) -> Option<i64> {
        self.parameter(name)?.parse().ok()
    }
}

pub enum Reply {
    /// Status, headers, body.
    Full(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// A Content-Length greater than what comes.
    Cut(Vec<u8>),
    /// As `Full`, but the connection closes after so many bytes of the body.
    CutAfter(usize, u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Nothing at all, until the server is dropped.
    Hang,
    /// One byte now and then, for ever.
    Drip,
    /// Bytes without end, as fast as they are read.
    Endless,
    /// Only headers that announce that many bytes.
    Announce(u64),
    /// The connection closes without a word.
    Close,
}

pub fn json(status: u16, body: impl Into<String>) -> Reply {
    let headers = vec![
        ("Content-Type", "application/json".to_owned()),
        ("X-Request-ID", "req-1".to_owned()),
        ("Date", "Mon, 23 Nov 2026 16:11:18 GMT".to_owned()),
    ];
    Reply::Full(status, headers, body.into().into_bytes())
}

pub fn html(status: u16) -> Reply {
    let body = "<!doctype html>\n<title>Welcome</title><h1>Hello</h1>\n".to_owned();
    Reply::Full(
        status,
        vec![("Content-Type", "text/html; charset=utf-8".to_owned())],
        body.into_bytes(),
    )
}

pub fn redirect(status: u16, to: impl Into<String>) -> Reply {
    Reply::Full(status, vec![("Location", to.into())], Vec::new())
}

pub fn empty_page() -> Reply {
    json(
        200,
        r#"{"items":[],"limit":1000,"page":0,"total":0,"total_filtered":0}"#,
    )
}

pub struct Server {
    pub port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    over: Arc<AtomicBool>,
    pub at_once: Arc<AtomicUsize>,
    pub most_at_once: Arc<AtomicUsize>,
}

impl Server {
    /// `script` gets the request and how many came before it.
    pub fn start(script: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let server = Self {
            port: listener.local_addr().expect("address").port(),
            asked: Arc::default(),
            over: Arc::default(),
            at_once: Arc::default(),
            most_at_once: Arc::default(),
        };
        let script = Arc::new(script);
        let (asked, over) = (Arc::clone(&server.asked), Arc::clone(&server.over));
        let (now, most) = (
            Arc::clone(&server.at_once),
            Arc::clone(&server.most_at_once),
        );
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let (script, asked) = (Arc::clone(&script), Arc::clone(&asked));
                let (now, most) = (Arc::clone(&now), Arc::clone(&most));
                let over = Arc::clone(&over);
                std::thread::spawn(move || {
                    let Some(request) = read_request(&stream) else {
                        return;
                    };
                    let number = {
                        let mut asked = asked.lock().expect("lock");
                        asked.push(request.clone());
                        asked.len() - 1
                    };
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let reply = script(&request, number);
                    now.fetch_sub(1, Ordering::SeqCst);
                    let _ = answer(stream, reply, &over);
                });
            }
        });
        server
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/geonature", self.port)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("lock").clone()
    }

    pub fn count(&self) -> usize {
        self.asked.lock().expect("lock").len()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn read_request(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, value)| value.parse().unwrap_or(0))];
    reader.read_exact(&mut body).ok()?;
    let url = url::Url::parse("http://x").ok()?.join(&target).ok()?;
    Some(Asked {
        method,
        path: url.path().to_owned(),
        query: url.query_pairs().into_owned().collect(),
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

fn answer(mut stream: TcpStream, reply: Reply, over: &AtomicBool) -> std::io::Result<()> {
    let pause = Duration::from_millis(20);
    let start = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
    match reply {
        Reply::Full(status, headers, body) => {
            let keep = body.len();
            answer(stream, Reply::CutAfter(keep, status, headers, body), over)
        }
        Reply::CutAfter(keep, status, headers, body) => {
            let mut head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\n");
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
            stream.write_all(head.as_bytes())?;
            stream.write_all(&body[..keep])
        }
        Reply::Cut(body) => {
            write!(
                stream,
                "{start}Content-Length: {}\r\n\r\n",
                body.len() + 100
            )?;
            stream.write_all(&body)
        }
        Reply::Hang => {
            while !over.load(Ordering::SeqCst) {
                std::thread::sleep(pause);
            }
            Ok(())
        }
        Reply::Drip => {
            write!(stream, "{start}\r\n")?;
            while !over.load(Ordering::SeqCst) {
                stream.write_all(b" ")?;
                stream.flush()?;
                std::thread::sleep(pause);
            }
            Ok(())
        }
        Reply::Endless => {
            write!(stream, "{start}\r\n{{\"items\":[\"")?;
            while !over.load(Ordering::SeqCst) {
                stream.write_all(&[b'x'; 64 * 1024])?;
            }
            Ok(())
        }
        Reply::Announce(size) => {
            write!(stream, "{start}Content-Length: {size}\r\n\r\n")?;
            while !over.load(Ordering::SeqCst) {
                stream.write_all(&[b' '; 1024])?;
                std::thread::sleep(pause);
            }
            Ok(())
        }
        Reply::Close => Ok(()),
    }
}

pub fn quick() -> Limits {
    Limits {
        connect_timeout: Duration::from_secs(2),
        request_timeout: Duration::from_secs(5),
        max_body_bytes: 1024 * 1024,
        retry_budget: 20,
        backoff_first: Duration::from_millis(2),
        backoff_cap: Duration::from_millis(10),
        max_retry_after: Duration::from_secs(3),
        user_agent: "gn_harvest/test".to_owned(),
        ca_pem: None,
        ..Limits::default()
    }
}

pub fn account() -> Credentials {
    Credentials::Login {
        login: "moissonneur".to_owned(),
        password: "s3cret-word".to_owned().into(),
    }
}

pub fn token() -> Credentials {
    Credentials::Token("t0ken-of-export".to_owned().into())
}

pub fn client_at(url: &str, credentials: Credentials, limits: Limits) -> Client {
    let endpoint = Endpoint::new(url, credentials).expect("url");
    Client::new(
        endpoint,
        limits,
        Arc::new(Traffic::new()),
        Arc::new(Stop::new()),
    )
    .expect("client")
}

pub fn client(server: &Server, credentials: Credentials) -> Client {
    client_at(&server.url(), credentials, quick())
}
