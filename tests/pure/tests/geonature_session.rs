//! Who is let in: logins, expired sessions, refusals; and where credentials never go.

mod geonature_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use geonature_support::*;
use gn_harvest_pure::geonature::{Client, FetchError, Page, PageQuery};

const PAGE: &str =
    r#"{"items": [{"id": 1}, {"id": 2}], "limit": 2, "page": 0, "total": 9, "total_filtered": 4}"#;

fn page_of(client: &Client) -> Result<Page, FetchError> {
    client.page(3, &PageQuery::default())
}

fn failure(client: &Client) -> FetchError {
    page_of(client).expect_err("a failure")
}

/// A GeoNature with sessions: `wants_session` says which cookie is good now.
fn with_sessions(current: Arc<AtomicUsize>, refusal: u16) -> Server {
    Server::start(move |asked, _| {
        let good = format!("session=number{}", current.load(Ordering::SeqCst));
        let in_session = asked
            .header("cookie")
            .is_some_and(|cookie| cookie.contains(&good));
        match asked.path.as_str() {
            "/geonature/api/auth/login" if asked.body.contains("s3cret-word") => {
                std::thread::sleep(Duration::from_millis(50));
                let headers = vec![(
                    "Set-Cookie",
                    format!("{good}; HttpOnly; Path=/geonature/api"),
                )];
                let body = format!(r#"{{"token":"jwt-{good}","expires":"x"}}"#);
                Reply::Full(200, headers, body.into_bytes())
            }
            "/geonature/api/auth/login" => {
                json(401, r#"{"description":"Incorrect login s3cret-word"}"#)
            }
            _ if !in_session && refusal == 302 => redirect(
                302,
                "http://127.0.0.1:4200/#/login?next=http%3A%2F%2F127.0.0.1",
            ),
            _ if !in_session => json(refusal, r#"{"description":"no"}"#),
            "/geonature/api/gn_commons/modules" => json(
                200,
                r#"[{"module_code":"EXPORTS","module_path":"my/exports"}]"#,
            ),
            _ => json(200, PAGE),
        }
    })
}

#[test]
fn an_account_logs_in_once_and_finds_where_the_exports_are() {
    let server = with_sessions(Arc::new(AtomicUsize::new(1)), 401);
    let client = client(&server, account());
    for _ in 0..3 {
        page_of(&client).expect("page");
    }
    let asked = server.asked();
    let paths: Vec<&str> = asked.iter().map(|asked| asked.path.as_str()).collect();
    assert_eq!(
        paths[..2],
        [
            "/geonature/api/auth/login",
            "/geonature/api/gn_commons/modules"
        ]
    );
    assert!(
        paths[2..]
            .iter()
            .all(|path| *path == "/geonature/api/my/exports/api/3")
    );
    assert_eq!(asked.len(), 5);
    assert_eq!(
        asked[0].body,
        r#"{"login":"moissonneur","password":"s3cret-word"}"#
    );
    assert_eq!(
        asked[1].header("authorization"),
        Some("Bearer jwt-session=number1")
    );
    assert_eq!(
        asked[2].header("authorization"),
        None,
        "the JWT is not for exports"
    );
    assert_eq!(client.modules().expect("modules")[0].code, "EXPORTS");
}

#[test]
fn an_expired_session_logs_in_again_once_for_all_threads() {
    for refusal in [401, 403, 302] {
        let current = Arc::new(AtomicUsize::new(1));
        let server = with_sessions(Arc::clone(&current), refusal);
        let client = client(&server, account());
        page_of(&client).expect("page");
        current.store(2, Ordering::SeqCst);
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let client = client.clone();
                std::thread::spawn(move || page_of(&client).map(|page| page.len()))
            })
            .collect();
        for thread in threads {
            assert_eq!(thread.join().expect("thread").expect("page"), 2);
        }
        assert_eq!(
            client.traffic().logins.load(Ordering::Relaxed),
            2,
            "after {refusal}"
        );
    }
}

#[test]
fn a_session_refused_again_after_login_is_an_error() {
    let server = Server::start(|asked, _| match asked.path.as_str() {
        "/geonature/api/auth/login" => json(200, r#"{"token":"x"}"#),
        "/geonature/api/gn_commons/modules" => json(200, "[]"),
        _ => json(403, "{}"),
    });
    let error = failure(&client(&server, account()));
    assert!(
        matches!(error, FetchError::ExportForbidden { export_id: 3, .. }),
        "{error}"
    );
    assert_eq!(server.count(), 5, "login, modules, 403, login, 403");
}

#[test]
fn a_wrong_password_is_sent_once_and_never_shown() {
    let server = Server::start(|_, _| json(401, r#"{"description":"Incorrect s3cret-word"}"#));
    let client = client(&server, account());
    for _ in 0..2 {
        let error = failure(&client);
        assert!(
            matches!(error, FetchError::CredentialsRefused { .. }),
            "{error}"
        );
        let all = format!(
            "{error:?} {} {:?} {:?}",
            error.message(),
            error.detail(),
            error.hint()
        );
        assert!(!all.contains("s3cret"), "{all}");
        assert!(all.contains("Incorrect ***"), "{all}");
    }
    assert_eq!(server.count(), 1);
}

#[test]
fn a_redirect_to_another_host_carries_nothing_away() {
    let thief_asked = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&thief_asked);
    let thief = Server::start(move |_, _| {
        seen.store(true, Ordering::SeqCst);
        json(200, PAGE)
    });
    for host in [
        format!("http://127.0.0.1:{}", thief.port),
        format!("http://localhost:{}", thief.port),
    ] {
        for credentials in [token(), account()] {
            let to = format!("{host}/geonature/api/exports/api/3");
            let server = Server::start(move |_, _| redirect(307, to.clone()));
            let error = failure(&client(&server, credentials));
            let FetchError::Redirected { to_host, .. } = &error else {
                panic!("{error}")
            };
            assert_eq!(*to_host, host);
            assert_eq!((server.count(), error.sqlstate()), (1, "38000"));
        }
    }
    assert!(!thief_asked.load(Ordering::SeqCst));
}

#[test]
fn a_redirect_within_the_server_is_followed_but_not_for_ever() {
    let server = Server::start(|asked, _| match asked.path.as_str() {
        "/other/3" => json(200, PAGE),
        "/geonature/api/exports/api/3" => redirect(301, "/other/3"),
        _ => redirect(302, asked.path.clone()),
    });
    let client = client(&server, token());
    page_of(&client).expect("page");
    assert_eq!(server.asked()[1].header("api-key"), Some("t0ken-of-export"));
    let error = client.page(4, &PageQuery::default()).expect_err("circle");
    assert!(
        matches!(error, FetchError::TooManyRedirects { .. }),
        "{error}"
    );
    assert_eq!(server.count(), 2 + 6);
}
