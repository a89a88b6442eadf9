//! Thirty days of a source as bars: a row for each measure, each on its own scale, because a first import would hide
//! all that comes after it; and a mark under each day on which a run failed.

use chrono::{Days, NaiveDate};

use super::html::Html;
use super::words::Language;
use super::{DAYS, Day};

/// Height of a row of bars, and of the row of marks.
const ROW: f64 = 28.0;
const MARKS: f64 = 18.0;
/// Width of a day; the drawing is stretched to the place that there is.
const WIDTH: f64 = 10.0;
/// What is not nothing is seen.
const LEAST: f64 = 1.5;

struct Measure {
    class: &'static str,
    french: &'static str,
    english: &'static str,
    of: fn(&Day) -> i64,
}

const MEASURES: [Measure; 4] = [
    Measure {
        class: "inserted",
        french: "Insérées",
        english: "Inserted",
        of: |day| day.inserted,
    },
    Measure {
        class: "updated",
        french: "Modifiées",
        english: "Updated",
        of: |day| day.updated,
    },
    Measure {
        class: "deleted",
        french: "Supprimées",
        english: "Deleted",
        of: |day| day.deleted,
    },
    Measure {
        class: "rejected",
        french: "Rejetées",
        english: "Rejected",
        of: |day| day.rejected,
    },
];

/// The chart of one source, with the table of the same figures for whoever does not see it.
pub fn chart(html: &mut Html, language: Language, source: &str, days: &[&Day], today: NaiveDate) {
    html.raw("<div class=\"chart\"><div class=\"labels\" aria-hidden=\"true\">");
    for measure in &MEASURES {
        let most = days.iter().map(|day| (measure.of)(day)).max().unwrap_or(0);
        html.element("<p>", language.choose(measure.french, measure.english), "");
        html.element("<span> ≤ ", &language.count(most), "</span></p>");
    }
    html.element("<p>", language.choose("Échecs", "Failures"), "</p></div>");
    drawing(html, language, source, days, today);
    let first = today.checked_sub_days(Days::new(DAYS - 1)).unwrap_or(today);
    html.raw("<p class=\"axis\" aria-hidden=\"true\"><span>")
        .text(&language.day(first))
        .raw("</span><span>")
        .text(&language.day(today))
        .raw("</span></p></div>");
    table(html, language, source, days, today);
}

fn drawing(html: &mut Html, language: Language, source: &str, days: &[&Day], today: NaiveDate) {
    let height = MEASURES.len() as f64 * ROW + MARKS;
    html.raw("<svg role=\"img\" preserveAspectRatio=\"none\" viewBox=\"0 0 ")
        .number(DAYS as f64 * WIDTH)
        .raw(" ")
        .number(height)
        .raw("\" aria-label=\"")
        .text(&summary(language, source, days))
        .raw("\">");
    for (row, measure) in MEASURES.iter().enumerate() {
        let base = (row + 1) as f64 * ROW;
        let most = days.iter().map(|day| (measure.of)(day)).max().unwrap_or(0);
        html.raw("<line class=\"base\" x1=\"0\" x2=\"")
            .number(DAYS as f64 * WIDTH)
            .raw("\" y1=\"")
            .number(base)
            .raw("\" y2=\"")
            .number(base)
            .raw("\"/>");
        for day in days.iter().filter(|day| (measure.of)(day) > 0) {
            let share = (measure.of)(day) as f64 / most as f64;
            let bar = (share * (ROW - 6.0)).max(LEAST);
            rectangle(
                html,
                measure.class,
                left(day) + 1.0,
                base - bar,
                (WIDTH - 2.0, bar),
            );
        }
    }
    for day in days.iter().filter(|day| day.failures > 0) {
        let y = height - 10.0;
        rectangle(html, "failure", left(day) + 1.0, y, (WIDTH - 2.0, 8.0));
    }
    for day in days {
        html.raw("<rect class=\"day\" x=\"")
            .number(left(day))
            .raw("\" y=\"0\" width=\"")
            .number(WIDTH)
            .raw("\" height=\"")
            .number(height)
            .raw("\"><title>")
            .text(&told(language, day, today))
            .raw("</title></rect>");
    }
    html.raw("</svg>");
}

fn rectangle(html: &mut Html, class: &'static str, x: f64, y: f64, (width, height): (f64, f64)) {
    html.raw("<rect class=\"")
        .raw(class)
        .raw("\" x=\"")
        .number(x)
        .raw("\" y=\"")
        .number(y)
        .raw("\" width=\"")
        .number(width)
        .raw("\" height=\"")
        .number(height)
        .raw("\"/>");
}

fn left(day: &Day) -> f64 {
    (DAYS as f64 - 1.0 - day.ago as f64) * WIDTH
}

fn date(day: &Day, today: NaiveDate) -> NaiveDate {
    today.checked_sub_days(Days::new(day.ago)).unwrap_or(today)
}

/// A day in one line.
fn told(language: Language, day: &Day, today: NaiveDate) -> String {
    let mut parts = vec![language.day(date(day, today))];
    for measure in &MEASURES {
        parts.push(format!(
            "{}\u{a0}{}",
            language
                .choose(measure.french, measure.english)
                .to_lowercase(),
            language.count((measure.of)(day))
        ));
    }
    if day.failures > 0 {
        let words = language.choose("échecs", "failures");
        parts.push(format!("{words}\u{a0}{}", language.count(day.failures)));
    }
    parts.join(", ")
}

/// What the drawing shows, for whoever does not see it.
fn summary(language: Language, source: &str, days: &[&Day]) -> String {
    let mut parts = Vec::new();
    for measure in &MEASURES {
        let sum = total(days, measure.of);
        let word = language
            .choose(measure.french, measure.english)
            .to_lowercase();
        parts.push(format!("{word} {}", language.count(sum)));
    }
    let failures = total(days, |day| day.failures);
    let words = language.choose("échecs", "failures");
    parts.push(format!("{words} {}", language.count(failures)));
    let title = language.choose("Trente jours de", "Thirty days of");
    format!("{title} {source}: {}", parts.join(", "))
}

fn total(days: &[&Day], of: fn(&Day) -> i64) -> i64 {
    days.iter()
        .fold(0, |sum: i64, day| sum.saturating_add(of(day)))
}

fn table(html: &mut Html, language: Language, source: &str, days: &[&Day], today: NaiveDate) {
    html.element(
        "<details><summary>",
        language.choose("Jour par jour", "Day by day"),
        "</summary><div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"",
    );
    html.text(language.choose("Jour par jour", "Day by day"))
        .raw(" – ")
        .text(source)
        .raw("\"><table><thead><tr>");
    html.element(
        "<th scope=\"col\">",
        language.choose("Jour", "Day"),
        "</th>",
    );
    html.element(
        "<th scope=\"col\" class=\"n\">",
        language.choose("Moissonnages", "Runs"),
        "</th>",
    );
    html.element(
        "<th scope=\"col\" class=\"n\">",
        language.choose("Échecs", "Failures"),
        "</th>",
    );
    for measure in &MEASURES {
        let word = language.choose(measure.french, measure.english);
        html.element("<th scope=\"col\" class=\"n\">", word, "</th>");
    }
    html.raw("</tr></thead><tbody>");
    for day in days {
        html.element(
            "<tr><th scope=\"row\">",
            &language.day(date(day, today)),
            "</th>",
        );
        let counts = MEASURES.iter().map(|measure| (measure.of)(day));
        for count in [day.runs, day.failures].into_iter().chain(counts) {
            html.element("<td class=\"n\">", &language.count(count), "</td>");
        }
        html.raw("</tr>");
    }
    html.raw("</tbody></table></div></details>");
}
