//! Answers recorded on a real GeoNature 2.17.4 are read as what they are.

mod geonature_support;

use geonature_support::*;
use gn_harvest_pure::geonature::{Credentials, PageQuery};

#[test]
fn recorded_pages_are_read() {
    let server = Server::start(|_, number| {
        json(
            200,
            match number {
                0 => include_str!("geonature_support/recorded/geo_public.json"),
                1 => include_str!("geonature_support/recorded/geo_empty.json"),
                _ => include_str!("geonature_support/recorded/meta_beyond_last.json"),
            },
        )
    });
    let client = client(&server, Credentials::Public);
    let page = || client.page(5, &PageQuery::default()).expect("page");
    let public = page();
    assert_eq!((public.len(), public.limit, public.page), (5, 5, 0));
    assert!(
        public
            .items()
            .all(|item| item.starts_with('{') && item.ends_with('}'))
    );
    let empty = page();
    assert!(empty.geojson && empty.is_empty());
    assert_eq!(
        (empty.total, empty.total_filtered, empty.limit),
        (Some(99951), Some(0), 30)
    );
    let name = empty.license.and_then(|license| license.name);
    assert_eq!(
        name.as_deref(),
        Some("Creative Commons Attribution 1.0 Generic")
    );
    let beyond = page();
    assert_eq!(
        (beyond.page, beyond.total_filtered, beyond.len()),
        (2500, Some(0), 0)
    );
}

#[test]
fn recorded_modules_and_deletions_are_read() {
    let server = Server::start(|asked, number| match asked.path.as_str() {
        "/geonature/api/auth/login" => json(200, r#"{"token":"jwt"}"#),
        "/geonature/api/gn_commons/modules" => json(
            200,
            include_str!("geonature_support/recorded/modules_moissonneur.json"),
        ),
        _ if number < 3 => {
            let page = include_str!("geonature_support/recorded/log_deletes_page1.json");
            json(200, page.replace("\"total\":49", "\"total\":20"))
        }
        _ => json(
            200,
            include_str!("geonature_support/recorded/log_empty.json"),
        ),
    });
    let client = client(&server, account());
    let modules = client.modules().expect("modules");
    let exports = modules
        .iter()
        .find(|module| module.code == "EXPORTS")
        .expect("exports");
    assert_eq!(exports.path.as_deref(), Some("exports"));
    assert_eq!(exports.version.as_deref(), Some("1.8.2"));
    let deletions = client.deletions("2026-11-01 00:00:00").expect("deletions");
    assert_eq!(deletions.len(), 20);
    assert_eq!(deletions[0].date, "2026-11-23 16:58:18.692943");
    assert!(
        client
            .deletions("2030-01-01")
            .expect("deletions")
            .is_empty()
    );
}
