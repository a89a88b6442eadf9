//! Which hosts a list of allowed hosts allows.

use gn_harvest_pure::geonature::{AllowedHosts, FetchError};
use proptest::prelude::*;
use url::Url;

mod geonature_support;
use geonature_support::*;

fn permits(list: &str, url: &str) -> bool {
    AllowedHosts::parse(list).permits(&Url::parse(url).expect("url"))
}

#[test]
fn an_empty_list_allows_every_host_and_one_that_is_not_understood_none() {
    for empty in ["", "  ", ", ,"] {
        assert!(permits(empty, "https://gn.example.org/"), "{empty:?}");
    }
    for wrong in [
        "*",
        "https://gn.example.org",
        "gn.example.org/x",
        "a b",
        "gn.example.org:99999",
        "*.",
        "*.*.org",
    ] {
        assert_eq!(AllowedHosts::misread(wrong), Some(wrong));
        assert!(!permits(wrong, "https://gn.example.org/"), "{wrong:?}");
    }
    assert_eq!(
        AllowedHosts::misread("gn.example.org, *.example.fr, 10.0.0.1:8000, [::1]:80, ::1"),
        None
    );
}

#[test]
fn names_suffixes_ports_and_addresses_are_told_apart() {
    let cases = [
        ("gn.example.org", "https://GN.example.ORG./x", true),
        ("GN.Example.org", "http://gn.example.org:8080/", true),
        ("gn.example.org", "https://gn.example.org.evil.net/", false),
        ("gn.example.org", "https://evil-gn.example.org/", false),
        ("*.example.org", "https://gn.example.org/", true),
        ("*.example.org", "https://a.b.example.org/", true),
        ("*.example.org", "https://example.org/", false),
        ("*.example.org", "https://evilexample.org/", false),
        ("gn.example.org:8443", "https://gn.example.org:8443/", true),
        ("gn.example.org:8443", "https://gn.example.org/", false),
        ("gn.example.org:443", "https://gn.example.org/", true),
        ("gn.example.org:443", "http://gn.example.org/", false),
        ("*.example.org:80", "http://gn.example.org/", true),
        (
            "other.org , gn.example.org",
            "https://gn.example.org/",
            true,
        ),
        ("géonature.fr", "https://xn--gonature-b1a.fr/", true),
        ("10.0.0.1", "http://10.0.0.1:8000/", true),
        ("10.0.0.1", "http://10.0.0.10/", false),
        ("*.0.0.1", "http://10.0.0.1/", false),
        ("[2001:db8::1]:8443", "https://[2001:db8:0::1]:8443/", true),
        ("2001:db8::1", "https://[2001:db8::1]/", true),
        ("[2001:db8::1]:8443", "https://[2001:db8::1]/", false),
    ];
    for (list, url, expected) in cases {
        assert_eq!(permits(list, url), expected, "{list} {url}");
    }
}

#[test]
fn a_host_that_is_not_allowed_is_not_asked_and_neither_is_where_it_redirects_to() {
    let server = Server::start(|_, _| empty_page());
    let ask = |list: &str| {
        let limits = gn_harvest_pure::geonature::Limits {
            allowed_hosts: AllowedHosts::parse(list),
            ..quick()
        };
        client_at(&server.url(), token(), limits).page(1, &Default::default())
    };
    let refused = ask("gn.example.org").expect_err("not listed");
    assert!(
        matches!(&refused, FetchError::HostNotAllowed { .. }),
        "{refused:?}"
    );
    assert!(
        refused
            .hint()
            .is_some_and(|hint| hint.contains("gn_harvest.allowed_hosts"))
    );
    assert_eq!(refused.sqlstate(), "42501");
    assert!(!refused.retryable());
    assert_eq!(server.asked().len(), 0);
    ask("gn.example.org, 127.0.0.1").expect("listed");

    // The only redirect to another port that is followed at all: to https on the same host.
    let upgrading = Server::start(|_, _| redirect(301, "https://127.0.0.1/api/exports/api/1"));
    let url = Url::parse(&upgrading.url()).expect("url");
    let port = url.port().expect("a port");
    let limits = gn_harvest_pure::geonature::Limits {
        allowed_hosts: AllowedHosts::parse(&format!("127.0.0.1:{port}")),
        ..quick()
    };
    let refused = client_at(&upgrading.url(), token(), limits).page(1, &Default::default());
    assert!(
        matches!(&refused, Err(FetchError::HostNotAllowed { host }) if host == "127.0.0.1:443"),
        "{refused:?}"
    );
}

proptest! {
    /// Whatever stands in the list, a host that is not in it in so many letters is not let through.
    #[test]
    fn nothing_else_gets_through(name in "[a-z]{1,8}(\\.[a-z]{1,8}){1,2}", noise in "[a-z.*:0-9 /]{0,20}") {
        let list = format!("gn.example.org,{noise}");
        if !noise.contains('*') && !noise.contains(&name) && name != "gn.example.org" {
            let url = format!("https://{name}/");
            prop_assert!(!permits(&list, &url), "{list} {url}");
        }
    }
}
