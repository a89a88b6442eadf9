//! Secure connections: a private authority is trusted when it is given, and
//! nothing else is.

mod geonature_support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use geonature_support::*;
use gn_harvest_pure::geonature::{FetchError, Limits, PageQuery};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A server on `localhost` that answers one empty page to everything; the PEM of its authority.
fn secure_server(host: &str) -> (u16, Vec<u8>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut params = CertificateParams::new(Vec::new()).expect("params");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("key"));
    let authority = authority.expect("authority");
    let key = KeyPair::generate().expect("key");
    let params = CertificateParams::new(vec![host.to_owned()]).expect("params");
    let certificate = params.signed_by(&key, &authority).expect("certificate");
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .expect("config");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&config)).expect("connection");
            let mut stream = StreamOwned::new(connection, stream);
            let mut request = [0; 4096];
            if stream.read(&mut request).is_err() {
                continue;
            }
            let body = r#"{"items":[],"limit":1000,"page":0,"total":0,"total_filtered":0}"#;
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}");
            let _ = write!(stream, "{head}\r\n\r\n{body}");
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    (port, authority.pem().into_bytes())
}

#[test]
fn a_private_authority_is_trusted_only_when_it_is_given() {
    let (port, authority) = secure_server("localhost");
    let url = format!("https://localhost:{port}/geonature");
    let trusting = Limits {
        ca_pem: Some(authority),
        ..quick()
    };
    let page = client_at(&url, token(), trusting).page(1, &PageQuery::default());
    assert!(page.expect("page").is_empty());

    let error = client_at(&url, token(), quick())
        .page(1, &PageQuery::default())
        .expect_err("unknown authority");
    assert!(matches!(error, FetchError::Tls { .. }), "{error:?}");
    assert_eq!(error.sqlstate(), "08001");
    assert!(!error.retryable());
    assert!(error.message().contains("localhost"), "{error}");
}

#[test]
fn a_certificate_of_another_host_is_refused() {
    let (port, authority) = secure_server("gn.example.org");
    let limits = Limits {
        ca_pem: Some(authority),
        ..quick()
    };
    let error = client_at(&format!("https://localhost:{port}"), token(), limits)
        .page(1, &PageQuery::default())
        .expect_err("another host");
    assert!(matches!(error, FetchError::Tls { .. }), "{error:?}");
}

#[test]
fn an_unreadable_authority_is_said_at_once() {
    let limits = Limits {
        ca_pem: Some(
            b"-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n".to_vec(),
        ),
        ..quick()
    };
    let endpoint = gn_harvest_pure::geonature::Endpoint::new("https://localhost:1", token());
    let made = gn_harvest_pure::geonature::Client::new(
        endpoint.expect("url"),
        limits,
        Arc::default(),
        Arc::default(),
    );
    assert!(matches!(made, Err(FetchError::Tls { .. })));
}
