//! A server of a few lines that answers as a test says and keeps what it was sent:
//! another host, or a partner gone bad in ways that a simulated GeoNature does not know.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Answers one request a connection, for as long as the process lives.
pub struct BareServer {
    pub url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl BareServer {
    /// `answer` makes the whole answer, head included, of the whole request.
    pub fn start(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (Arc::clone(&requests), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                thread::spawn(move || serve(stream, &seen, &*answer));
            }
        });
        BareServer { url, requests }
    }

    /// What it was sent, one text a request; a connection without a word is an empty one.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("the requests").clone()
    }
}

fn serve(mut stream: TcpStream, seen: &Mutex<Vec<String>>, answer: &dyn Fn(&str) -> String) {
    let request = read_request(&mut stream);
    seen.lock().expect("the requests").push(request.clone());
    let _ = stream.write_all(answer(&request).as_bytes());
}

fn read_request(stream: &mut TcpStream) -> String {
    let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&received).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let promised = head
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .and_then(|(_, length)| length.trim().parse().ok())
                .unwrap_or(0);
            if body.len() >= promised {
                return text;
            }
        }
        match stream.read(&mut buffer) {
            Ok(count) if count > 0 => received.extend_from_slice(&buffer[..count]),
            _ => return text,
        }
    }
}

/// A whole answer: its status line, further headers (each ended by `\r\n`), and its body.
pub fn answer(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n{body}",
        body.len()
    )
}
