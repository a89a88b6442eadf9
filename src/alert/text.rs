//! What an alert says, in French and in English, from the facts that are kept of it. Without PostgreSQL.

use serde_json::{Map, Value};

use super::rule::Rule;

/// In which language people are spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    French,
    English,
}

impl Language {
    pub fn of(code: &str) -> Language {
        match code {
            "fr" => Language::French,
            _ => Language::English,
        }
    }

    /// One of two texts.
    pub fn choose<T>(self, french: T, english: T) -> T {
        match self {
            Language::French => french,
            Language::English => english,
        }
    }
}

/// What is known of an alert, by name; what is missing reads as nothing.
pub struct Facts<'f>(pub &'f Map<String, Value>);

impl Facts<'_> {
    fn text(&self, name: &str) -> String {
        match self.0.get(name) {
            Some(Value::String(text)) => one_line(text),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        }
    }

    fn number(&self, name: &str) -> f64 {
        self.0.get(name).and_then(Value::as_f64).unwrap_or(0.0)
    }

    /// A number with what it counts: of one, and of several.
    fn counted(
        &self,
        name: &str,
        language: Language,
        french: [&str; 2],
        english: [&str; 2],
    ) -> String {
        let number = self.number(name);
        // None is singular in French, and plural in English.
        let several = language.choose(number >= 2.0, number != 1.0);
        let words = language.choose(french, english);
        format!(
            "{} {}",
            count(number, language),
            words[usize::from(several)]
        )
    }

    fn list(&self, name: &str) -> Vec<String> {
        let items = self.0.get(name).and_then(Value::as_array);
        let texts = items.into_iter().flatten().filter_map(Value::as_str);
        texts.map(one_line).collect()
    }

    fn is(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or(false)
    }
}

/// The text of an alert in one line, without the name of its source.
pub fn message(rule: Rule, facts: &Facts, language: Language) -> String {
    let (error, n) = (facts.text("error"), |name: &str| {
        count(facts.number(name), language)
    });
    match rule {
        Rule::RunFailed => language.choose(
            format!("La dernière moisson a échoué : {error}"),
            format!("The last run failed: {error}"),
        ),
        Rule::Failing => language.choose(
            format!("{} moissons de suite ont échoué. Dernière erreur : {error}", n("failures")),
            format!("{} runs in a row have failed. Last error: {error}", n("failures")),
        ),
        Rule::SourcePaused => language.choose(
            format!("La source est en pause après {} échecs de suite ; resume_source la relance. Dernière erreur : {error}", n("failures")),
            format!("The source is paused after {} failed runs in a row; resume_source takes it up again. Last error: {error}", n("failures")),
        ),
        Rule::DataLate => late(facts, language),
        Rule::EmptyExport => language.choose(
            format!("L'export est vide. Les {} observations qui en venaient sont gardées.", n("held")),
            format!("The export is empty. The {} observations that came from it are kept.", n("held")),
        ),
        Rule::VolumeDrop => language.choose(
            format!("L'export a donné {} données ; d'habitude, il en donne {}.", n("read"), n("usual")),
            format!("The export gave {} records; usually it gives {}.", n("read"), n("usual")),
        ),
        Rule::LossGuard => language.choose(
            format!("La source n'a plus {} des {} observations qui en venaient : rien n'a été supprimé. Demandez au partenaire ; allow_loss => true laisse passer une fois.", n("missing"), n("held")),
            format!("The source no longer has {} of the {} observations that came from it: nothing was deleted. Ask the partner; allow_loss => true lets it pass once.", n("missing"), n("held")),
        ),
        Rule::Rejects => language.choose(
            format!("{} données sur {} n'ont pas pu être écrites ({} %).", n("rejected"), n("fetched"), tenth(facts.number("percent"), language)),
            format!("{} of {} records could not be written ({} %).", n("rejected"), n("fetched"), tenth(facts.number("percent"), language)),
        ),
        Rule::UnknownValues => unknown_values(facts, language),
        Rule::MissingTaxa => missing_taxa(facts, language),
        Rule::ColumnsChanged => columns(facts, language),
        Rule::CredentialsRefused => language.choose(
            format!("Le partenaire refuse l'identifiant ou le jeton : {error}"),
            format!("The partner refuses the login or the token: {error}"),
        ),
        Rule::ExportGone => language.choose(
            format!("L'export n'existe plus chez le partenaire : {error}"),
            format!("The partner no longer has the export: {error}"),
        ),
        Rule::HookFailed => language.choose(
            format!("La fonction {} de la source a échoué : {error}", facts.text("hook")),
            format!("The function {} of the source failed: {error}", facts.text("hook")),
        ),
        Rule::ChannelFailing => language.choose(
            format!("Le canal « {} » ne distribue plus ses messages : {error}", facts.text("channel")),
            format!("Channel \"{}\" does not deliver its messages: {error}", facts.text("channel")),
        ),
    }
}

fn late(facts: &Facts, language: Language) -> String {
    let since = facts.text("since");
    if since.is_empty() {
        return language
            .choose(
                "Aucune moisson n'a encore réussi.",
                "No run has succeeded yet.",
            )
            .to_owned();
    }
    language.choose(
        format!(
            "Aucune moisson n'a réussi depuis le {}.",
            french_date(&since)
        ),
        format!("No run has succeeded since {since}."),
    )
}

fn unknown_values(facts: &Facts, language: Language) -> String {
    let values = facts.counted(
        "values",
        language,
        [
            "valeur inconnue des référentiels locaux attend",
            "valeurs inconnues des référentiels locaux attendent",
        ],
        [
            "value that the local referentials do not know waits",
            "values that the local referentials do not know wait",
        ],
    );
    let examples = examples(facts);
    language.choose(
        format!("{values} une décision : {examples}."),
        format!("{values} for a decision: {examples}."),
    )
}

fn missing_taxa(facts: &Facts, language: Language) -> String {
    let taxa = facts.counted(
        "values",
        language,
        ["taxon manque", "taxons manquent"],
        ["taxon is", "taxa are"],
    );
    let records = facts.counted(
        "records",
        language,
        ["donnée attend", "données attendent"],
        ["record waits", "records wait"],
    );
    let examples = examples(facts);
    language.choose(
        format!("{taxa} au Taxref local ({records}) : {examples}."),
        format!("{taxa} not in the local Taxref ({records}): {examples}."),
    )
}

fn columns(facts: &Facts, language: Language) -> String {
    let (gone, new) = (facts.list("gone"), facts.list("new"));
    let mut text = language
        .choose(
            "Les colonnes de l'export ont changé.",
            "The columns of the export have changed.",
        )
        .to_owned();
    for (names, word) in [
        (gone, language.choose("Disparues : ", "Gone: ")),
        (new, language.choose("Nouvelles : ", "New: ")),
    ] {
        if !names.is_empty() {
            text.push_str(&format!(" {word}{}.", names.join(", ")));
        }
    }
    if facts.is("frozen") {
        text.push_str(language.choose(
            " Les moissons échouent jusqu'à accept_columns.",
            " Runs fail until accept_columns.",
        ));
    }
    text
}

fn examples(facts: &Facts) -> String {
    let shown = facts.list("examples");
    let more = facts.number("values") > shown.len() as f64;
    shown.join(", ") + if more { ", …" } else { "" }
}

/// `2026-03-29 14:05` as the French write it.
fn french_date(date: &str) -> String {
    let parts: Vec<&str> = date.splitn(3, '-').collect();
    match parts.as_slice() {
        [year, month, rest] => match rest.split_once(' ') {
            Some((day, time)) => format!("{day}/{month}/{year} à {time}"),
            None => format!("{rest}/{month}/{year}"),
        },
        _ => date.to_owned(),
    }
}

/// A count with its thousands apart: a thin space in French, a comma in English.
pub fn count(number: f64, language: Language) -> String {
    let digits = format!("{:.0}", number.abs());
    let separator = language.choose('\u{202f}', ',');
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(separator);
        }
        text.push(digit);
    }
    if number < 0.0 {
        format!("-{text}")
    } else {
        text
    }
}

fn tenth(number: f64, language: Language) -> String {
    let text = format!("{number:.1}");
    language.choose(text.replace('.', ","), text)
}

/// Without line breaks and other control characters, which would end a header or forge a line, and without those that
/// turn the direction of what follows.
pub fn one_line(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let text: String = text.chars().filter(|c| !turns(*c)).collect();
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join(" ")
}
