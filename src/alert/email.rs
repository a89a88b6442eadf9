//! One message by SMTP, in bounded time. Touches no PostgreSQL: it may be called in any thread.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate, SmtpConnection, TlsParameters};
use lettre::transport::smtp::extension::ClientId;

use super::channel::{Email, Tls};
use super::letter::Letter;
use crate::error::Failure;
use crate::geonature::{Mask, forbidden_address};

/// The text of a message, in UTF-16 units.
const LONGEST: usize = 200_000;

/// Reads an address as people write it, with or without a name.
pub fn mailbox(text: &str) -> Result<Mailbox, Failure> {
    let refused = |why: String| {
        Failure::new("22023", format!("\"{text}\" is not an e-mail address"))
            .detail(why)
            .hint("Give an address such as sinp@example.org or 'Plateforme <sinp@example.org>'.")
    };
    if text.contains(char::is_control) {
        return Err(refused("It holds a control character.".to_owned()));
    }
    text.parse()
        .map_err(|error: lettre::address::AddressError| refused(format!("{error}.")))
}

/// Sends a letter. `number` tells it from others: a message that comes twice is known as the same.
pub fn deliver(
    email: &Email,
    letter: &Letter,
    number: i64,
    timeout: Duration,
) -> Result<(), Failure> {
    let message = compose(email, letter, number)?;
    let mask = Mask::of(email.password.clone());
    send(email, &message, timeout).map_err(|failure| {
        let shown = |text: String| mask.apply(&text).unwrap_or_else(|| "***".to_owned());
        Failure {
            message: shown(failure.message),
            detail: failure.detail.map(shown),
            ..failure
        }
    })
}

fn compose(email: &Email, letter: &Letter, number: i64) -> Result<Message, Failure> {
    let sender = mailbox(&email.sender)?;
    let host = sender.email.domain().to_owned();
    let mut builder = Message::builder()
        .from(sender)
        .subject(letter.title())
        .message_id(Some(format!(
            "<gn_harvest.{}.{number}@{host}>",
            identifier(letter.database)
        )))
        .header(ContentType::TEXT_PLAIN);
    for recipient in &email.recipients {
        builder = builder.to(mailbox(recipient)?);
    }
    let mut message = builder
        .body(letter.text(LONGEST, str::to_owned) + "\n")
        .map_err(|error| {
            Failure::new("22023", format!("the message can not be written: {error}"))
        })?;
    // Answering machines leave it alone.
    message.headers_mut().insert_raw(HeaderValue::new(
        HeaderName::new_from_ascii_str("Auto-Submitted"),
        "auto-generated".to_owned(),
    ));
    Ok(message)
}

/// What may stand in a Message-ID.
fn identifier(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect()
}

fn send(email: &Email, message: &Message, timeout: Duration) -> Result<(), Failure> {
    let explain = |error: Error| explain(email, &error);
    let addresses = resolve(email)?;
    let hello = ClientId::default();
    let tls = match email.tls {
        Tls::None => None,
        _ => Some(tls_parameters(email)?),
    };
    let wrapped = tls.as_ref().filter(|_| email.tls == Tls::Implicit);
    let mut connection =
        SmtpConnection::connect(addresses.as_slice(), Some(timeout), &hello, wrapped, None)
            .map_err(explain)?;
    if let (Tls::Starttls, Some(tls)) = (email.tls, &tls) {
        if !connection.can_starttls() {
            connection.abort();
            return Err(Failure::new("08001", format!("{} does not offer STARTTLS", email.host))
                .hint("Add the channel again with tls => 'implicit', or 'none' if the network is trusted."));
        }
        connection.starttls(tls, &hello).map_err(explain)?;
    }
    if let (Some(login), Some(password)) = (&email.login, &email.password) {
        let credentials = Credentials::new(login.clone(), password.clone());
        connection
            .auth(&[Mechanism::Plain, Mechanism::Login], &credentials)
            .map_err(explain)?;
    }
    connection
        .send(message.envelope(), &message.formatted())
        .map_err(explain)?;
    // It is sent: how the server says good-bye changes nothing.
    let _ = connection.quit();
    Ok(())
}

fn tls_parameters(email: &Email) -> Result<TlsParameters, Failure> {
    let refused = |error: Error| {
        Failure::new(
            "08001",
            format!("no secure connection to {} can be set up", email.host),
        )
        .detail(format!("{error}."))
        .hint("Add the channel again with the PEM of its authority: ca_certificate => '...'.")
    };
    let mut builder = TlsParameters::builder(email.host.clone());
    if let Some(pem) = &email.ca_certificate {
        let certificate = Certificate::from_pem(pem.as_bytes()).map_err(refused)?;
        builder = builder.add_root_certificate(certificate);
    }
    builder.build_rustls().map_err(refused)
}

/// The addresses of the server; link-local ones and metadata services are refused, as for partners.
fn resolve(email: &Email) -> Result<Vec<SocketAddr>, Failure> {
    let host = email.host.trim_matches(['[', ']']);
    let addresses: Vec<SocketAddr> = (host, email.port)
        .to_socket_addrs()
        .map_err(|error| {
            Failure::new("08001", format!("no connection to {host}: {error}"))
                .hint("Check the name of the mail server.")
        })?
        .collect();
    match addresses
        .iter()
        .find(|address| forbidden_address(address.ip()))
    {
        Some(address) => Err(Failure::new(
            "08004",
            format!(
                "{host} leads to {}, a link-local or metadata address, which is refused",
                address.ip()
            ),
        )
        .hint("Give the address of the mail server.")),
        None => Ok(addresses),
    }
}

fn explain(email: &Email, error: &Error) -> Failure {
    let server = format!("{}:{}", email.host, email.port);
    let cause = innermost(error);
    let failure = |sqlstate, message: String| Failure::new(sqlstate, message);
    match error.status().map(u16::from) {
        Some(534 | 535 | 538 | 530) => failure(
            "28000",
            format!("the mail server {server} refuses the login"),
        )
        .detail(format!("It answered: {error}."))
        .hint("Add the channel again with the right login and password."),
        Some(_) => failure(
            "38000",
            format!("the mail server {server} refuses the message"),
        )
        .detail(format!("It answered: {error}."))
        .hint("Check sender and recipients, and whether the server relays for this machine."),
        None if error.is_tls() || cause.contains("certificate") => failure(
            "08001",
            format!("no secure connection to {server}: {cause}"),
        )
        .hint(
            "Check the host name and tls; a private authority goes into ca_certificate => '...'.",
        ),
        None if error.is_timeout() || ran_out_of_time(error) => {
            failure("08006", format!("no answer from {server} in time")).hint(
                "Check host, port and tls; gn_harvest.alert_timeout says how long it may take.",
            )
        }
        None if error.is_client() => failure("38000", format!("{server} does not suit: {cause}"))
            .hint("Check login, password and tls with the mail server's administrator."),
        None => failure("08001", format!("no connection to {server}: {cause}"))
            .hint("Check host, port and tls; what waits goes out when the server answers again."),
    }
}

/// A read that takes too long is a refusal of the system's, not yet of the library's.
fn ran_out_of_time(error: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::ErrorKind::{TimedOut, WouldBlock};
    let late = |error: &std::io::Error| matches!(error.kind(), TimedOut | WouldBlock);
    error.downcast_ref().is_some_and(late) || error.source().is_some_and(ran_out_of_time)
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(next) = last.source() {
        last = next;
    }
    last.to_string()
}
