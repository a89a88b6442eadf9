//! The document: its head, and its sections from top to bottom.

use chrono::NaiveDate;

use super::chart::chart;
use super::html::Html;
use super::words::Language;
use super::{Alert, DAYS, Day, Page, Progress, Rejected, Source};

/// The only style that the page's own policy lets in.
pub const STYLE: &str = include_str!("style.css");
/// Its digest, as the policy names it.
pub const STYLE_HASH: &str = "sha256-c4Hea6qzxjjP5wQxxmR8cctSOQf32mMwawyuzvrjqY8=";

/// The whole document.
pub fn render(page: &Page, language: Language) -> String {
    let mut html = Html::default();
    head(&mut html, page, language);
    html.element(
        "<body><a class=\"skip\" href=\"#sources\">",
        language.choose("Aller aux sources", "Skip to the sources"),
        "</a><header>",
    );
    html.element("<h1>", title(language), "</h1><p>");
    html.isolated(&page.database).raw(" · ");
    moment(&mut html, language, &page.now);
    html.raw(" (")
        .text(&page.time_zone)
        .raw(")</p></header><main>");
    figures(&mut html, page, language);
    alerts(&mut html, &page.alerts, language);
    progress(&mut html, &page.progress, language);
    sources(&mut html, &page.sources, language);
    history(&mut html, page, language);
    rejected(&mut html, &page.rejected, language);
    html.raw("</main><footer><p>gn_harvest ")
        .text(&page.version)
        .raw("</p></footer></body></html>\n");
    html.finish()
}

fn title(language: Language) -> &'static str {
    language.choose("Moissonnage", "Harvests")
}

fn head(html: &mut Html, page: &Page, language: Language) {
    html.raw("<!DOCTYPE html>\n<html lang=\"")
        .raw(language.code())
        .raw("\"><head><meta charset=\"utf-8\"/>")
        .raw("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src '")
        .raw(STYLE_HASH)
        .raw("'; base-uri 'none'; form-action 'none'\"/>")
        .raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>")
        .raw("<meta name=\"color-scheme\" content=\"light dark\"/>")
        .raw("<meta name=\"referrer\" content=\"no-referrer\"/><title>")
        .raw(title(language))
        .raw(" – ")
        .text(&page.database)
        .raw("</title><style>")
        .raw(STYLE)
        .raw("</style></head>");
}

/// `<time>`, or a dash.
fn moment(html: &mut Html, language: Language, text: &str) {
    html.raw("<time datetime=\"")
        .text(text)
        .raw("\">")
        .text(&language.moment(text))
        .raw("</time>");
}

fn optional_moment(html: &mut Html, language: Language, text: Option<&String>) {
    match text {
        Some(text) => moment(html, language, text),
        None => {
            html.raw("–");
        }
    }
}

fn section(html: &mut Html, open: &'static str, heading: &str) {
    html.element(open, heading, "</h2>");
}

fn figures(html: &mut Html, page: &Page, language: Language) {
    let d = &page.dashboard;
    section(
        html,
        "<section aria-labelledby=\"h-figures\"><h2 id=\"h-figures\" class=\"hidden\">",
        language.choose("Chiffres", "Figures"),
    );
    html.raw("<dl class=\"figures\">");
    for (word, number) in [
        (
            language.choose("Observations", "Observations"),
            d.observations,
        ),
        (language.choose("Taxons", "Taxa"), d.taxa),
        (language.choose("Organismes", "Organisms"), d.organisms),
        (language.choose("Jeux de données", "Datasets"), d.datasets),
    ] {
        html.element("<div><dt>", word, "</dt>");
        html.element("<dd>", &language.count(number), "</dd></div>");
    }
    html.raw("</dl><ul class=\"facts\">");
    for (word, number) in [
        (language.choose("Sources", "Sources"), d.sources),
        (
            language.choose("Moissonnages en cours", "Runs in progress"),
            d.running,
        ),
        (
            language.choose("Alertes ouvertes", "Open alerts"),
            d.open_alerts,
        ),
        (
            language.choose("Rejets en attente", "Rejected records that wait"),
            d.rejected,
        ),
    ] {
        html.element("<li>", word, " ");
        html.element("<strong>", &language.count(number), "</strong></li>");
    }
    html.raw("</ul></section>");
}

fn badge(html: &mut Html, language: Language, severity: &str) {
    let class = match severity {
        "critical" => "<span class=\"badge critical\">▲ ",
        "warning" => "<span class=\"badge warning\">● ",
        _ => "<span class=\"badge info\">■ ",
    };
    html.element(class, language.severity(severity), "</span>");
}

fn alerts(html: &mut Html, alerts: &[Alert], language: Language) {
    section(
        html,
        "<section aria-labelledby=\"h-alerts\"><h2 id=\"h-alerts\">",
        language.choose("Alertes", "Alerts"),
    );
    if alerts.is_empty() {
        html.element(
            "<p class=\"good\">✓ ",
            language.choose("Aucune alerte ouverte.", "No alert is open."),
            "</p>",
        );
    } else {
        html.raw("<ul class=\"alerts\">");
        for alert in alerts {
            html.raw("<li>");
            badge(html, language, &alert.severity);
            if let Some(source) = &alert.source {
                html.raw(" <strong>").isolated(source).raw("</strong>");
            }
            html.raw(" ").isolated(&alert.message).raw(" <small>");
            if let Some(opened_at) = &alert.opened_at {
                html.raw(language.choose("depuis le ", "since "));
                moment(html, language, opened_at);
            }
            if let Some(person) = &alert.acknowledged_by {
                html.raw(language.choose(" · vue par ", " · acknowledged by "))
                    .isolated(person);
            }
            if let Some(note) = alert.acknowledge_note.as_ref().filter(|n| !n.is_empty()) {
                html.raw(" · ").isolated(note);
            }
            html.raw("</small></li>");
        }
        html.raw("</ul>");
    }
    html.raw("</section>");
}

fn progress(html: &mut Html, runs: &[Progress], language: Language) {
    section(
        html,
        "<section aria-labelledby=\"h-progress\"><h2 id=\"h-progress\">",
        language.choose("Moissonnages en cours", "Runs in progress"),
    );
    if runs.is_empty() {
        html.element("<p>", language.choose("Aucun.", "None."), "</p>");
    } else {
        html.raw("<ul class=\"progress\">");
        for run in runs {
            progress_of(html, run, language);
        }
        html.raw("</ul>");
    }
    html.raw("</section>");
}

fn progress_of(html: &mut Html, run: &Progress, language: Language) {
    html.raw("<li><p><strong>")
        .isolated(&run.source)
        .raw("</strong> – ")
        .text(language.phase(&run.phase))
        .raw("</p>");
    html.raw("<progress max=\"100\" aria-label=\"")
        .text(&run.source);
    match run.percent {
        Some(percent) => html.raw("\" value=\"").number(percent).raw("\">"),
        None => html.raw("\">"),
    };
    html.raw("</progress><p><small>")
        .text(&language.count(run.done));
    if let Some(total) = run.total {
        html.raw(" / ").text(&language.count(total));
    }
    if let Some(percent) = run.percent {
        html.raw(" · ")
            .text(&language.decimal(percent))
            .raw("\u{a0}%");
    }
    if let Some(rate) = run.rate {
        html.raw(" · ")
            .text(&language.decimal(rate))
            .raw("\u{a0}/\u{a0}s");
    }
    if let Some(eta) = &run.eta {
        html.raw(language.choose(" · fin vers ", " · ends about "));
        moment(html, language, eta);
    }
    html.raw("</small></p></li>");
}

/// A cell whose heading is said again where the table is shown as cards.
fn cell(html: &mut Html, class: &'static str, heading: &'static str) {
    html.raw("<td role=\"cell\" class=\"")
        .raw(class)
        .raw("\" data-heading=\"")
        .raw(heading)
        .raw("\">");
}

fn sources(html: &mut Html, sources: &[Source], language: Language) {
    section(
        html,
        "<section aria-labelledby=\"h-sources\" id=\"sources\" tabindex=\"-1\"><h2 id=\"h-sources\">",
        language.choose("Sources", "Sources"),
    );
    if sources.is_empty() {
        html.element(
            "<p>",
            language.choose("Aucune source à montrer.", "No source to show."),
            "</p></section>",
        );
        return;
    }
    let headings = [
        ("", language.choose("Source", "Source")),
        ("", language.choose("Organisme", "Organism")),
        ("", language.choose("Fréquence", "Frequency")),
        ("", language.choose("Dernier import", "Last import")),
        ("", language.choose("Prochain", "Next")),
        ("n", language.choose("Observations", "Observations")),
        ("n", language.choose("Rejets", "Rejected")),
        ("", language.choose("État", "State")),
        ("", language.choose("Alerte", "Alert")),
    ];
    html.raw("<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-labelledby=\"h-sources\"><table class=\"cards\" role=\"table\"><thead role=\"rowgroup\"><tr role=\"row\">");
    for (class, heading) in headings {
        html.raw("<th scope=\"col\" role=\"columnheader\" class=\"")
            .raw(class)
            .raw("\">")
            .raw(heading)
            .raw("</th>");
    }
    html.raw("</tr></thead><tbody role=\"rowgroup\">");
    for source in sources {
        row_of(html, source, headings.map(|(_, heading)| heading), language);
    }
    html.raw("</tbody></table></div></section>");
}

fn row_of(html: &mut Html, source: &Source, headings: [&'static str; 9], language: Language) {
    html.raw("<tr role=\"row\"><th scope=\"row\" role=\"rowheader\">")
        .isolated(&source.source)
        .raw("</th>");
    cell(html, "wide", headings[1]);
    html.isolated(source.organism.as_deref().unwrap_or("–"))
        .raw("</td>");
    cell(html, "", headings[2]);
    html.text(source.frequency.as_deref().unwrap_or("–"))
        .raw("</td>");
    cell(html, "when", headings[3]);
    optional_moment(html, language, source.last_import.as_ref());
    html.raw("</td>");
    cell(html, "when", headings[4]);
    optional_moment(html, language, source.next_run.as_ref());
    html.raw("</td>");
    cell(html, "n", headings[5]);
    html.text(&language.count(source.observations)).raw("</td>");
    cell(html, "n", headings[6]);
    html.text(&language.count(source.rejected)).raw("</td>");
    cell(html, "wide", headings[7]);
    html.text(&source.state);
    if let Some(reason) = source.paused_reason.as_ref().filter(|_| !source.enabled) {
        html.raw("<br/><small>").isolated(reason).raw("</small>");
    }
    if let Some(error) = &source.last_error {
        html.raw("<br/><small>").isolated(error).raw("</small>");
    }
    html.raw("</td>");
    cell(html, "widest", headings[8]);
    match &source.alert {
        None => html.raw("–"),
        Some(alert) => {
            badge(
                html,
                language,
                source.alert_severity.as_deref().unwrap_or_default(),
            );
            html.raw(" ").isolated(alert)
        }
    };
    if source.alerts > 1 {
        html.raw(" <small>(+\u{a0}")
            .text(&language.count(source.alerts - 1))
            .raw(")</small>");
    }
    html.raw("</td></tr>");
}

fn history(html: &mut Html, page: &Page, language: Language) {
    let Ok(today) = page.today.parse::<NaiveDate>() else {
        return;
    };
    section(
        html,
        "<section aria-labelledby=\"h-history\"><h2 id=\"h-history\">",
        language.choose("Trente jours d’historique", "Thirty days of history"),
    );
    html.element(
        "<p><small>",
        language.choose(
            "Observations par jour ; chaque ligne a sa propre échelle. Une marque signale un jour avec un échec.",
            "Observations a day; each line has its own scale. A mark stands for a day with a failure.",
        ),
        "</small></p><div class=\"charts\">",
    );
    for source in &page.sources {
        let mut days: Vec<&Day> = page
            .days
            .iter()
            .filter(|day| day.source == source.source && day.ago < DAYS)
            .collect();
        days.sort_by_key(|day| std::cmp::Reverse(day.ago));
        html.raw("<article><h3>")
            .isolated(&source.source)
            .raw("</h3>");
        if days.is_empty() {
            html.element(
                "<p>",
                language.choose("Aucun moissonnage.", "No run."),
                "</p>",
            );
        } else {
            chart(html, language, &source.source, &days, today);
        }
        html.raw("</article>");
    }
    html.raw("</div></section>");
}

fn rejected(html: &mut Html, rejected: &[Rejected], language: Language) {
    section(
        html,
        "<section aria-labelledby=\"h-rejected\"><h2 id=\"h-rejected\">",
        language.choose("Enregistrements rejetés", "Rejected records"),
    );
    if rejected.is_empty() {
        html.element("<p>", language.choose("Aucun.", "None."), "</p></section>");
        return;
    }
    html.raw("<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-labelledby=\"h-rejected\"><table><thead><tr>");
    html.element(
        "<th scope=\"col\">",
        language.choose("Source", "Source"),
        "</th>",
    );
    html.element(
        "<th scope=\"col\">",
        language.choose("Motif", "Reason"),
        "</th>",
    );
    html.element(
        "<th scope=\"col\" class=\"n\">",
        language.choose("Enregistrements", "Records"),
        "</th></tr></thead><tbody>",
    );
    for row in rejected {
        html.raw("<tr><th scope=\"row\">")
            .isolated(&row.source)
            .raw("</th><td>");
        html.text(language.reason(&row.reason));
        html.element(" <code>", &row.reason, "</code></td>");
        html.element(
            "<td class=\"n\">",
            &language.count(row.records),
            "</td></tr>",
        );
    }
    html.raw("</tbody></table></div></section>");
}
