//! A real mail server for the tests: the protocol of the crate mailin on sockets of our own, so that it can be stopped
//! and started again, with STARTTLS or TLS from the first byte by a certificate of an authority of our own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use mailin::{Action, AuthMechanism, Handler, Response, SessionBuilder, response};
use mailparse::MailHeaderMap;

/// How the server takes a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Security {
    None,
    StartTls,
    Implicit,
}

pub const LOGIN: (&str, &str) = ("robot", "mot de passe é&<'\"");

/// A mail as it came.
#[derive(Clone, Debug, Default)]
pub struct Mail {
    pub sender: String,
    pub recipients: Vec<String>,
    pub login: Option<String>,
    raw: Vec<u8>,
}

impl Mail {
    pub fn header(&self, name: &str) -> String {
        self.parsed()
            .headers
            .get_first_value(name)
            .unwrap_or_default()
    }

    /// The headers as they were sent.
    pub fn headers(&self) -> Vec<String> {
        let parsed = self.parsed();
        parsed.headers.iter().map(|h| h.get_key()).collect()
    }

    pub fn text(&self) -> String {
        self.parsed()
            .get_body()
            .expect("a text")
            .replace("\r\n", "\n")
    }

    fn parsed(&self) -> mailparse::ParsedMail<'_> {
        mailparse::parse_mail(&self.raw).expect("a mail")
    }
}

pub struct MailServer {
    pub port: u16,
    /// PEM of the authority that its certificate is from.
    pub authority: String,
    security: Security,
    tls: Arc<rustls::ServerConfig>,
    mails: Arc<Mutex<Vec<Mail>>>,
    running: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

impl MailServer {
    pub fn start(security: Security) -> MailServer {
        let (tls, authority) = certificates();
        let mut server = MailServer {
            port: 0,
            authority,
            security,
            tls,
            mails: Arc::default(),
            running: None,
        };
        server.go_on();
        server
    }

    pub fn mails(&self) -> Vec<Mail> {
        self.mails.lock().expect("the mails").clone()
    }

    /// Refuses connections until it goes on.
    pub fn stop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            stop.store(true, Ordering::SeqCst);
            thread.join().expect("the mail server");
        }
    }

    /// Takes connections, on the port that it had.
    pub fn go_on(&mut self) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).expect("a port");
        listener.set_nonblocking(true).expect("a listener");
        self.port = listener.local_addr().expect("an address").port();
        let stop = Arc::new(AtomicBool::new(false));
        let (security, tls, mails) = (
            self.security,
            Arc::clone(&self.tls),
            Arc::clone(&self.mails),
        );
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        let (tls, mails) = (Arc::clone(&tls), Arc::clone(&mails));
                        // A client that leaves in the middle is no failure of the server.
                        std::thread::spawn(move || drop(serve(stream, security, tls, mails)));
                    }
                    Err(_) => std::thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        self.running = Some((stop, thread));
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// An authority and a certificate of it for localhost.
fn certificates() -> (Arc<rustls::ServerConfig>, String) {
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().expect("a key");
    let authority = parameters.self_signed(&key).expect("an authority");
    let pem = authority.pem();
    let issuer = rcgen::Issuer::new(parameters, key);
    let own_key = rcgen::KeyPair::generate().expect("a key");
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()])
        .expect("parameters")
        .signed_by(&own_key, &issuer)
        .expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            own_key.serialize_der().try_into().expect("a key"),
        )
        .expect("a configuration");
    (Arc::new(config), pem)
}

#[derive(Clone)]
struct Desk {
    mail: Mail,
    mails: Arc<Mutex<Vec<Mail>>>,
}

impl Handler for Desk {
    fn mail(&mut self, _ip: IpAddr, _domain: &str, from: &str) -> Response {
        self.mail.sender = from.to_owned();
        response::OK
    }

    fn rcpt(&mut self, to: &str) -> Response {
        if to.starts_with("nobody@") {
            return response::NO_MAILBOX;
        }
        self.mail.recipients.push(to.to_owned());
        response::OK
    }

    fn data(&mut self, buf: &[u8]) -> std::io::Result<()> {
        self.mail.raw.extend_from_slice(buf);
        Ok(())
    }

    fn data_end(&mut self) -> Response {
        self.mails
            .lock()
            .expect("the mails")
            .push(self.mail.clone());
        response::OK
    }

    fn auth_plain(&mut self, _: &str, login: &str, password: &str) -> Response {
        if (login, password) == LOGIN {
            self.mail.login = Some(login.to_owned());
            return response::AUTH_OK;
        }
        response::INVALID_CREDENTIALS
    }
}

fn serve(
    stream: TcpStream,
    security: Security,
    tls: Arc<rustls::ServerConfig>,
    mails: Arc<Mutex<Vec<Mail>>>,
) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut builder = SessionBuilder::new("mail.example.org");
    // Where there is a way to log in, it takes mail from those who have.
    if security != Security::None {
        builder.enable_auth(AuthMechanism::Plain);
    }
    if security == Security::StartTls {
        builder.enable_start_tls();
    }
    if security == Security::Implicit {
        builder.insecure_enable_plaintext_auth();
    }
    let desk = Desk {
        mail: Mail::default(),
        mails,
    };
    let mut session = builder.build(IpAddr::V4(Ipv4Addr::LOCALHOST), desk);
    let wrap = |stream: TcpStream| -> std::io::Result<Box<dyn Stream>> {
        let connection = rustls::ServerConnection::new(Arc::clone(&tls))
            .map_err(|error| std::io::Error::other(error.to_string()))?;
        Ok(Box::new(rustls::StreamOwned::new(connection, stream)))
    };
    let plain = stream.try_clone()?;
    let mut line_end = match security {
        Security::Implicit => BufReader::new(wrap(stream)?),
        _ => BufReader::new(Box::new(stream) as Box<dyn Stream>),
    };
    say(&mut line_end, &session.greeting())?;
    loop {
        let mut line = Vec::new();
        if line_end.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let answer = session.process(&line);
        if answer.action != Action::NoReply {
            say(&mut line_end, &answer)?;
        }
        match answer.action {
            Action::Close => return Ok(()),
            Action::UpgradeTls => {
                line_end = BufReader::new(wrap(plain.try_clone()?)?);
                session.tls_active();
            }
            _ => {}
        }
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

fn say(stream: &mut BufReader<Box<dyn Stream>>, answer: &Response) -> std::io::Result<()> {
    let mut text = Vec::new();
    answer.write_to(&mut text)?;
    stream.get_mut().write_all(&text)?;
    stream.get_mut().flush()
}

/// A port that takes connections and never says a word.
pub fn silent_port() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}
