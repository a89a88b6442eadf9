//! Takes secrets out of what a partner says: servers repeat requests in their errors,
//! as they came or written for HTML, JSON or a URL, and answers are cut anywhere.

/// In place of a secret.
const MASK: &str = "***";
/// Shorter secrets would blank out everything: a text that holds one is not shown at all.
const SHORTEST: usize = 4;

/// Secrets in every spelling in which a server may repeat them.
pub struct Mask {
    /// The longest first: one may be a part of another.
    spellings: Vec<String>,
    short: Vec<String>,
}

impl Mask {
    pub fn of(secrets: impl IntoIterator<Item = String>) -> Self {
        let (mut spellings, mut short) = (Vec::new(), Vec::new());
        for secret in secrets.into_iter().filter(|secret| !secret.is_empty()) {
            if secret.chars().count() < SHORTEST {
                short.push(secret);
            } else {
                spellings.extend(spellings_of(&secret));
            }
        }
        spellings.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        spellings.dedup();
        Self { spellings, short }
    }

    /// The text without secrets; none when it can't be shown.
    pub fn apply(&self, text: &str) -> Option<String> {
        if self
            .short
            .iter()
            .any(|secret| text.contains(secret.as_str()))
        {
            return None;
        }
        let mut text = text.to_owned();
        self.mask_cut_end(&mut text);
        for spelling in &self.spellings {
            if text.contains(spelling.as_str()) {
                text = text.replace(spelling.as_str(), MASK);
            }
        }
        Some(text)
    }

    /// A part of a URL without secrets, which may be in it with any of their characters percent-encoded.
    pub fn apply_to_url(&self, part: &str) -> String {
        let decoded = percent_decoded(part);
        let shown = match self.apply(&decoded) {
            Some(masked) if masked == decoded => self.apply(part),
            masked => masked,
        };
        shown.unwrap_or_else(|| MASK.to_owned())
    }

    /// A text that was cut may end with the beginning of a secret.
    fn mask_cut_end(&self, text: &mut String) {
        for spelling in &self.spellings {
            let ends = spelling.char_indices().map(|(at, _)| at).skip(SHORTEST);
            let longest = ends.filter(|end| text.ends_with(&spelling[..*end])).last();
            if let Some(length) = longest {
                text.truncate(text.len() - length);
                text.push_str(MASK);
            }
        }
    }
}

fn spellings_of(secret: &str) -> Vec<String> {
    let words: Vec<&str> = secret.split_whitespace().collect();
    let json = serde_json::Value::from(secret).to_string();
    let json = json.trim_matches('"').to_owned();
    let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let html = |quote: &str, apostrophe: &str| {
        secret
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', quote)
            .replace('\'', apostrophe)
    };
    vec![
        secret.to_owned(),
        words.join(" "),
        ascii(&json),
        json,
        // As the name of a host.
        secret.to_ascii_lowercase(),
        form.replace('+', "%20"),
        lower_hex(&form),
        form,
        html("&quot;", "&#39;"),
        html("&quot;", "&#x27;"),
        html("&#34;", "&#39;"),
        html("\"", "'"),
    ]
}

fn percent_decoded(text: &str) -> String {
    let hex = |at: usize| {
        let digits = text.as_bytes().get(at + 1..at + 3)?;
        u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
    };
    let (mut out, mut at) = (Vec::with_capacity(text.len()), 0);
    while let Some(byte) = text.as_bytes().get(at) {
        let decoded = (*byte == b'%').then(|| hex(at)).flatten();
        out.push(decoded.unwrap_or(*byte));
        at += if decoded.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// `%C3` as `%c3`.
fn lower_hex(form: &str) -> String {
    let mut out = String::with_capacity(form.len());
    let mut hex = 0;
    for c in form.chars() {
        out.push(if hex > 0 { c.to_ascii_lowercase() } else { c });
        hex = if c == '%' { 2 } else { hex - hex.min(1) };
    }
    out
}

/// JSON in ASCII only, as Python writes it.
fn ascii(json: &str) -> String {
    let mut out = String::new();
    let mut units = [0; 2];
    for c in json.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(secret: &str, text: &str) -> Option<String> {
        Mask::of([secret.to_owned()]).apply(text)
    }

    #[test]
    fn every_spelling_of_a_secret_is_masked() {
        let secret = "été & <b>\"l'hiver\"</b>  +1";
        for text in [
            secret,
            "été & <b>\"l'hiver\"</b> +1",
            r#"été & <b>\"l'hiver\"</b>  +1"#,
            r#"\u00e9t\u00e9 & <b>\"l'hiver\"</b>  +1"#,
            "%C3%A9t%C3%A9+%26+%3Cb%3E%22l%27hiver%22%3C%2Fb%3E++%2B1",
            "%c3%a9t%c3%a9+%26+%3cb%3e%22l%27hiver%22%3c%2fb%3e++%2b1",
            "%C3%A9t%C3%A9%20%26%20%3Cb%3E%22l%27hiver%22%3C%2Fb%3E%20%20%2B1",
            "été &amp; &lt;b&gt;&quot;l&#39;hiver&quot;&lt;/b&gt;  +1",
            "été &amp; &lt;b&gt;&#34;l&#39;hiver&#34;&lt;/b&gt;  +1",
        ] {
            let said = masked(secret, &format!("bad password {text}, try again"));
            assert_eq!(
                said.as_deref(),
                Some("bad password ***, try again"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_secret_in_a_url_is_masked_however_it_is_encoded() {
        let mask = Mask::of(["a+b/é<c>".to_owned()]);
        for part in [
            "x/a+b/%C3%A9%3Cc%3E?n=1",
            "x/a%2Bb/é<c>?n=1",
            "x/a%2Bb%2F%c3%a9%3Cc%3E?n=1",
        ] {
            assert_eq!(mask.apply_to_url(part), "x/***?n=1", "{part}");
        }
        let other = "x/%C3%A9%2?n=%";
        assert_eq!(mask.apply_to_url(other), other);
    }

    #[test]
    fn the_beginning_of_a_secret_at_the_end_of_a_cut_text_is_masked() {
        let mask = Mask::of([
            "jeton-secret".to_owned(),
            "jeton-secret-plus-long".to_owned(),
        ]);
        let apply = |text: &str| mask.apply(text).unwrap();
        assert_eq!(apply("token jeton-secr"), "token ***");
        assert_eq!(apply("token jeton-secret-plus"), "token ***");
        assert_eq!(apply("token jeton-secret-plus-long"), "token ***");
        assert_eq!(apply("a je"), "a je");
    }

    #[test]
    fn a_text_that_holds_a_very_short_secret_is_not_shown() {
        assert_eq!(masked("abc", "no abc here"), None);
        assert_eq!(masked("abc", "nothing").as_deref(), Some("nothing"));
        assert_eq!(masked("", "nothing").as_deref(), Some("nothing"));
    }
}
