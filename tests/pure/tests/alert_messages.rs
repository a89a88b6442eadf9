//! What messages say, and the forms in which they go.

use gn_harvest_pure::alert::letter::{Event, Kind, Letter, shortened};
use gn_harvest_pure::alert::payload::{self, Template};
use gn_harvest_pure::alert::rule::{RULES, Rule};
use gn_harvest_pure::alert::text::{Facts, Language, count, message, one_line};
use proptest::prelude::*;
use serde_json::{Value, json};

fn event(number: i64, rule: &str, severity: &str, source: &str, facts: Value) -> Event {
    Event {
        kind: Kind::Opened,
        alert: number,
        rule: rule.to_owned(),
        severity: severity.to_owned(),
        source: Some(source.to_owned()),
        facts: facts.as_object().cloned().unwrap_or_default(),
        run: Some(7),
        occurrences: 1,
        opened_at: "2026-03-29T14:05:00+00".to_owned(),
        resolved_at: None,
    }
}

fn letter<'l>(language: Language, events: &'l [Event]) -> Letter<'l> {
    Letter {
        channel: "mail",
        database: "sinp",
        language,
        events,
    }
}

fn said(rule: Rule, facts: Value, language: Language) -> String {
    message(rule, &Facts(facts.as_object().expect("facts")), language)
}

#[test]
fn every_rule_says_something_in_both_languages_whatever_is_known() {
    for definition in RULES {
        for language in [Language::French, Language::English] {
            let text = said(definition.rule, json!({}), language);
            assert!(text.len() > 15, "{}: {text}", definition.code);
        }
        let (french, english) = (
            said(definition.rule, json!({}), Language::French),
            said(definition.rule, json!({}), Language::English),
        );
        assert_ne!(french, english);
    }
}

#[test]
fn numbers_and_dates_are_written_as_each_language_does() {
    assert_eq!(
        count(1_234_567.0, Language::French),
        "1\u{202f}234\u{202f}567"
    );
    assert_eq!(count(1_234_567.0, Language::English), "1,234,567");
    assert_eq!(
        (
            count(0.0, Language::English),
            count(999.0, Language::French)
        ),
        ("0".into(), "999".into())
    );
    assert_eq!(
        said(
            Rule::Rejects,
            json!({"rejected": 1500, "fetched": 10000, "percent": 15.04}),
            Language::French
        ),
        "1\u{202f}500 données sur 10\u{202f}000 n'ont pas pu être écrites (15,0 %)."
    );
    assert_eq!(
        said(
            Rule::DataLate,
            json!({"since": "2026-03-29 02:30"}),
            Language::French
        ),
        "Aucune moisson n'a réussi depuis le 29/03/2026 à 02:30."
    );
    assert_eq!(
        said(Rule::DataLate, json!({"since": null}), Language::English),
        "No run has succeeded yet."
    );
    assert_eq!(
        said(
            Rule::UnknownValues,
            json!({"values": 7, "examples": ["sexe = X", "b"]}),
            Language::English
        ),
        "7 values that the local referentials do not know wait for a decision: sexe = X, b, …."
    );
}

#[test]
fn one_thing_that_waits_is_not_said_as_several() {
    let one = json!({"values": 1, "records": 1, "examples": ["999999"]});
    for (rule, language, words) in [
        (
            Rule::MissingTaxa,
            Language::French,
            "1 taxon manque au Taxref local (1 donnée attend) : 999999.",
        ),
        (
            Rule::MissingTaxa,
            Language::English,
            "1 taxon is not in the local Taxref (1 record waits): 999999.",
        ),
        (
            Rule::UnknownValues,
            Language::French,
            "1 valeur inconnue des référentiels locaux attend une décision : 999999.",
        ),
        (
            Rule::UnknownValues,
            Language::English,
            "1 value that the local referentials do not know waits for a decision: 999999.",
        ),
    ] {
        assert_eq!(said(rule, one.clone(), language), words);
    }
    let many = json!({"values": 2, "records": 0, "examples": ["a", "b"]});
    assert_eq!(
        said(Rule::MissingTaxa, many.clone(), Language::French),
        "2 taxons manquent au Taxref local (0 donnée attend) : a, b."
    );
    assert_eq!(
        said(Rule::MissingTaxa, many, Language::English),
        "2 taxa are not in the local Taxref (0 records wait): a, b."
    );
}

#[test]
fn a_letter_of_one_and_of_many() {
    let one = [event(
        1,
        "export_gone",
        "critical",
        "L'Aulne – été",
        json!({"error": "plus là"}),
    )];
    let french = letter(Language::French, &one);
    assert_eq!(
        french.title(),
        "[gn_harvest] L'Aulne – été : alerte critique"
    );
    assert_eq!(
        french.text(10_000, str::to_owned),
        "Moissons de la base sinp :\nCRITIQUE – L'Aulne – été : L'export n'existe plus chez le partenaire : plus là\nSELECT * FROM gn_harvest.open_alert; montre ce qui reste ouvert."
    );
    let mut many = vec![
        event(1, "run_failed", "warning", "a", json!({"error": "x"})),
        event(
            2,
            "failing",
            "critical",
            "b",
            json!({"error": "x", "failures": 3}),
        ),
        event(3, "run_failed", "warning", "c", json!({"error": "x"})),
    ];
    many[0].kind = Kind::Resolved;
    let english = letter(Language::English, &many);
    assert_eq!(english.title(), "[gn_harvest] 2 alerts, 1 recovery");
    let lines = english.lines();
    assert!(
        lines[0].starts_with("CRITICAL – b: 3 runs in a row"),
        "{lines:?}"
    );
    assert!(
        lines[1].starts_with("WARNING – c: ") && lines[2].starts_with("RESOLVED – a: "),
        "{lines:?}"
    );
    assert_eq!(
        letter(Language::French, &[]).title(),
        "[gn_harvest] essai du canal « mail »"
    );
}

#[test]
fn a_text_that_would_be_too_long_says_how_much_is_left_out() {
    let events: Vec<Event> = (0..500)
        .map(|n| {
            event(
                n,
                "run_failed",
                "warning",
                &format!("source {n}"),
                json!({"error": "é".repeat(300)}),
            )
        })
        .collect();
    let letter = letter(Language::French, &events);
    for longest in [500, 4_000, 15_000] {
        let text = letter.text(longest, str::to_owned);
        assert!(text.encode_utf16().count() <= longest, "{longest}");
        let shown = text.matches("AVERTISSEMENT").count();
        assert!(
            text.contains(&format!("… et {} autres", 500 - shown)),
            "{text}"
        );
    }
    let telegram = payload::webhook(Template::Telegram, &letter, Some("1"));
    assert!(
        telegram["text"]
            .as_str()
            .expect("a text")
            .encode_utf16()
            .count()
            <= 4_096
    );
    assert!(
        payload::webhook(Template::Teams, &letter, None)
            .to_string()
            .len()
            < 28_000
    );
    assert!(payload::bell(&letter).1.len() < 60_000);
}

#[test]
fn a_notification_fits_into_what_postgresql_takes() {
    for error in [
        "é".repeat(20_000),
        "\u{1}".repeat(20_000),
        "\"".repeat(20_000),
        "🦦".repeat(20_000),
        "x".to_owned(),
    ] {
        let events = [event(
            1,
            "run_failed",
            "warning",
            &"\u{1}é🦦".repeat(21),
            json!({"error": error}),
        )];
        let text = payload::notification(&letter(Language::French, &events), events.first());
        assert!(text.len() < 8_000, "{}", text.len());
        let value: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["rule"], "run_failed");
    }
    let test: Value = serde_json::from_str(&payload::notification(
        &letter(Language::English, &[]),
        None,
    ))
    .expect("JSON");
    assert_eq!(test["event"], "test");
}

#[test]
fn a_line_is_one_line() {
    assert_eq!(
        one_line("a\r\nBcc: b\u{0}\u{85}c\u{2028}d\t e"),
        "a Bcc: b c d e"
    );
    assert_eq!(one_line("\u{202e}abc\u{2066}"), "abc");
    assert_eq!(
        (shortened("été", 3), shortened("étés", 3)),
        ("été".to_owned(), "ét…".to_owned())
    );
}

proptest! {
    /// Whatever a name and an error hold, no form of a message has markup, a header or a mention of theirs.
    #[test]
    fn nothing_that_comes_from_others_is_markup(name in "\\PC{1,63}|[<>&\"'@*_`\\[\\]()\\r\\n #!]{1,63}", error in ".{0,200}") {
        let events = [event(1, "run_failed", "warning", &name, json!({"error": error}))];
        for language in [Language::French, Language::English] {
            let letter = letter(language, &events);
            prop_assert!(!letter.title().contains(char::is_control));
            prop_assert_eq!(letter.lines().len(), letter.lines().iter().map(|l| l.lines().count()).sum::<usize>());
            let (title, content) = payload::bell(&letter);
            prop_assert!(!title.contains('<') && !content.replace("<br>", "").contains('<'));
            let slack = payload::webhook(Template::Slack, &letter, None);
            prop_assert!(!slack["text"].as_str().unwrap().contains(['<', '>']));
            let mattermost = payload::webhook(Template::Mattermost, &letter, None);
            let text = mattermost["text"].as_str().unwrap().replace("**", "");
            prop_assert!(!text.contains("@channel") && !text.contains("@all") && !text.contains("@here"));
            let bare = text.replace("\\\\", "");
            for mark in ['`', '[', '<', '#', '|', '~'] {
                prop_assert!(bare.matches(mark).count() == bare.matches(&format!("\\{mark}")).count(), "{bare}");
            }
            let generic = payload::webhook(Template::Generic, &letter, None);
            prop_assert_eq!(generic["alerts"][0]["source"].as_str().unwrap(), name.as_str());
        }
    }
}
