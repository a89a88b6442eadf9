//! A proxy named in the server's environment is used, but for loopback.

mod geonature_support;
use geonature_support::*;

use gn_harvest_pure::geonature::PageQuery;

/// The environment is the whole process's: the questions are asked by one of their own.
#[test]
#[ignore = "run by the other test, with a proxy in its environment"]
fn ask_through_the_environment() {
    let url = std::env::var("TEST_URL").expect("where to ask");
    let page = client_at(&url, token(), quick()).page(1, &PageQuery::default());
    page.expect("an answer");
}

fn ask(url: &str, proxy: &Server) -> bool {
    let proxy = proxy.url().replace("/geonature", "");
    let asked = std::process::Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "ask_through_the_environment", "--ignored"])
        .env("TEST_URL", url)
        .env("HTTP_PROXY", &proxy)
        .env("http_proxy", &proxy)
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .output()
        .expect("a process");
    asked.status.success()
}

#[test]
fn a_proxy_of_the_environment_is_used_but_for_loopback() {
    let proxy = Server::start(|_, _| empty_page());
    assert!(
        ask("http://gn.example.org", &proxy),
        "through the proxy, which alone knows the host"
    );
    let through = proxy.asked();
    assert!(!through.is_empty());
    for asked in &through {
        assert_eq!(asked.header("host"), Some("gn.example.org"), "{asked:?}");
    }
    let partner = Server::start(|_, _| empty_page());
    assert!(ask(&partner.url(), &proxy));
    assert!(!partner.asked().is_empty());
    assert_eq!(
        proxy.asked().len(),
        through.len(),
        "loopback does not go through it"
    );
}
