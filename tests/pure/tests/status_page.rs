//! The status page: whatever the data, it is one well-formed document of which nothing but our own markup is markup.

use gn_harvest_pure::record::Reason;
use gn_harvest_pure::status_page::{
    Alert, DAYS, Dashboard, Day, Language, Page, Progress, Rejected, STYLE, STYLE_HASH, Source,
    render,
};
use proptest::prelude::*;
use quick_xml::Reader;
use quick_xml::events::Event;

/// Every text of a page is this one.
fn page(text: &str) -> Page {
    let some = Some(text.to_owned());
    let text = text.to_owned();
    Page {
        database: text.clone(),
        version: text.clone(),
        now: text.clone(),
        time_zone: text.clone(),
        today: "2026-11-25".to_owned(),
        dashboard: Dashboard {
            observations: 1_234_567,
            taxa: 3203,
            organisms: 5,
            datasets: 37,
            sources: 1,
            running: 1,
            rejected: 2777,
            open_alerts: 2,
        },
        sources: vec![Source {
            source: text.clone(),
            organism: some.clone(),
            frequency: some.clone(),
            last_import: some.clone(),
            next_run: some.clone(),
            observations: i64::MIN,
            state: text.clone(),
            enabled: false,
            paused_reason: some.clone(),
            rejected: i64::MAX,
            last_error: some.clone(),
            alert: some.clone(),
            alert_severity: some.clone(),
            alerts: 3,
        }],
        alerts: vec![Alert {
            source: some.clone(),
            severity: text.clone(),
            message: text.clone(),
            opened_at: some.clone(),
            acknowledged_by: some.clone(),
            acknowledge_note: some.clone(),
        }],
        progress: vec![
            Progress {
                source: text.clone(),
                phase: text.clone(),
                done: 450,
                total: Some(1000),
                percent: Some(45.0),
                rate: Some(12.54),
                eta: some.clone(),
            },
            Progress {
                source: text.clone(),
                percent: Some(f64::NAN),
                ..Progress::default()
            },
        ],
        days: vec![Day {
            source: text.clone(),
            ago: 3,
            runs: 2,
            failures: 1,
            inserted: 250_000,
            updated: 10,
            deleted: 0,
            rejected: 1,
        }],
        rejected: vec![Rejected {
            source: text.clone(),
            reason: text,
            records: 12,
        }],
    }
}

/// Names of elements and attributes, and the texts of both, as an XML parser reads them.
fn parse(html: &str) -> (Vec<String>, Vec<String>) {
    let mut reader = Reader::from_str(html);
    reader.config_mut().check_end_names = true;
    let (mut markup, mut texts, mut run) = (Vec::new(), Vec::new(), String::new());
    loop {
        let event = reader
            .read_event()
            .unwrap_or_else(|error| panic!("{error} in {html}"));
        if !matches!(event, Event::Text(_) | Event::GeneralRef(_)) && !run.is_empty() {
            texts.push(std::mem::take(&mut run));
        }
        match event {
            Event::Start(tag) | Event::Empty(tag) => {
                markup.push(String::from_utf8_lossy(tag.name().as_ref()).into_owned());
                for attribute in tag.attributes() {
                    let attribute = attribute.expect("a well-formed attribute");
                    markup.push(format!(
                        "@{}",
                        String::from_utf8_lossy(attribute.key.as_ref())
                    ));
                    texts.push(attribute.unescape_value().expect("escaped").into_owned());
                }
            }
            Event::Text(text) => run.push_str(&text.decode().expect("UTF-8")),
            Event::GeneralRef(name) => {
                let name = name.decode().expect("UTF-8");
                let resolved = match name.as_ref() {
                    "#39" => "'",
                    name => quick_xml::escape::resolve_predefined_entity(name)
                        .unwrap_or_else(|| panic!("&{name};")),
                };
                run.push_str(resolved);
            }
            Event::Eof => return (markup, texts),
            _ => {}
        }
    }
}

const HOSTILE: [&str; 8] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "&lt;b&gt; &amp; </style></title></bdi></svg>",
    "\u{202e}txet\u{2066}",
    "]]> <!-- --> <![CDATA[",
    "javascript:alert(1)",
    "tab\tline\nbell\u{7}escape\u{1b}[31m\u{85}\u{ffff}",
];

#[test]
fn hostile_texts_are_shown_and_nothing_else() {
    for language in [Language::French, Language::English] {
        let (harmless, _) = parse(&render(&page("plain"), language));
        for hostile in HOSTILE {
            let html = render(&page(hostile), language);
            let (markup, texts) = parse(&html);
            assert_eq!(markup, harmless, "{hostile:?} changes the document");
            let shown: String = hostile
                .chars()
                .map(|c| match c {
                    '\u{ffff}' => '\u{fffd}',
                    c if c.is_control() && c != '\n' && c != '\t' => '\u{fffd}',
                    c => c,
                })
                .collect();
            let times = texts.iter().filter(|text| **text == shown).count();
            assert!(times >= 15, "{hostile:?} is shown {times} times as it is");
        }
    }
}

proptest! {
    #[test]
    fn no_text_gets_out_of_its_place(text in "\\PC{1,30}|[<>&\"'/=a-z \\x00-\\x20]{1,30}") {
        let (harmless, _) = parse(&render(&page("plain"), Language::French));
        let (markup, _) = parse(&render(&page(&text), Language::French));
        prop_assert_eq!(markup, harmless);
    }

    #[test]
    fn no_figure_breaks_the_page(inserted in any::<i64>(), ago in any::<u64>(), percent in any::<f64>(), today in "\\d{4}-\\d{2}-\\d{2}|.{0,9}") {
        let mut page = page("plain");
        page.days[0].inserted = inserted;
        page.days[0].ago = ago;
        page.progress[0].percent = Some(percent);
        page.today = today;
        parse(&render(&page, Language::English));
    }
}

#[test]
fn it_asks_for_nothing_from_outside_and_its_policy_lets_nothing_else_in() {
    let html = render(&page("plain"), Language::English);
    for outside in [
        "http:", "https:", "//", "src=", "@import", "url(", "<script", "<link", "style=\"", " on",
    ] {
        let found = html.match_indices(outside).filter(|(at, _)| {
            // English of ours: " on " between words.
            outside != " on"
                || html[*at..].starts_with(" on") && html[*at..].chars().take(20).any(|c| c == '=')
        });
        assert_eq!(found.count(), 0, "{outside}");
    }
    use base64::Engine;
    use sha2::Digest;
    let digest = base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(STYLE));
    assert_eq!(
        STYLE_HASH,
        format!("sha256-{digest}"),
        "the style has changed: so does its digest"
    );
    assert!(html.contains(&format!("content=\"default-src 'none'; style-src '{STYLE_HASH}'; base-uri 'none'; form-action 'none'\"")));
}

#[test]
fn it_can_be_read_without_eyes_and_by_keyboard() {
    let html = render(&page("plain"), Language::French);
    assert!(html.starts_with("<!DOCTYPE html>\n<html lang=\"fr\">"));
    for needed in [
        "<header>",
        "<main>",
        "<footer>",
        "class=\"skip\" href=\"#sources\"",
        "id=\"sources\"",
        "<progress max=\"100\" aria-label=\"plain\" value=\"45\">",
        "<svg role=\"img\"",
        "aria-label=\"Trente jours de plain: insérées 250\u{202f}000, modifiées 10, supprimées 0, rejetées 1, échecs 1\"",
        "<title>22/11, insérées\u{a0}250\u{202f}000",
    ] {
        assert!(html.contains(needed), "{needed}");
    }
    assert_eq!(
        html.matches("<th ").count(),
        html.matches("<th scope=\"").count(),
        "every heading says of what"
    );
    assert_eq!(
        html.matches("<section ").count(),
        html.matches("<section aria-labelledby=").count()
    );
    assert!(
        !html.contains("tabindex=\"1"),
        "the order of the keyboard is that of the page"
    );
}

#[test]
fn figures_and_dates_are_written_as_people_write_them() {
    let mut page = page("plain");
    page.now = "2026-11-05T03:05:59.123+01:00".to_owned();
    let french = render(&page, Language::French);
    let english = render(&page, Language::English);
    assert!(
        french.contains("<dd>1\u{202f}234\u{202f}567</dd>")
            && english.contains("<dd>1,234,567</dd>")
    );
    assert!(
        french.contains(">05/11/2026 03:05</time>") && english.contains(">2026-11-05 03:05</time>")
    );
    assert!(french.contains("12,5\u{a0}/\u{a0}s") && english.contains("12.5\u{a0}/\u{a0}s"));
    assert!(
        french.contains("<small>(+\u{a0}2)</small>"),
        "of three alerts one is shown"
    );
}

#[test]
fn every_reason_has_its_words_in_both_languages() {
    for reason in Reason::ALL {
        let (french, english) = (
            Language::French.reason(reason.code()),
            Language::English.reason(reason.code()),
        );
        assert!(
            french != reason.code() && english != reason.code() && french != english,
            "{}",
            reason.code()
        );
    }
    assert_eq!(
        Language::French.reason("of_a_later_version"),
        "of_a_later_version"
    );
}

#[test]
fn days_that_are_not_drawn_are_left_out_and_sources_without_runs_say_so() {
    let mut page = page("plain");
    page.days[0].ago = DAYS;
    assert!(render(&page, Language::English).contains("No run."));
    page.sources.clear();
    page.alerts.clear();
    page.rejected.clear();
    page.progress.clear();
    let html = render(&page, Language::English);
    for said in ["No source to show.", "No alert is open.", "<p>None.</p>"] {
        assert!(html.contains(said), "{said}");
    }
    parse(&html);
}
