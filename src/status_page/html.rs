//! HTML that can only be written safely: what comes from data is escaped, what is not is in the source code.
//! Every element is closed, so that the page is well-formed XML as well.

use std::fmt::Write as _;

/// A page under construction.
#[derive(Default)]
pub struct Html(String);

impl Html {
    /// Markup of this program; data can not get here, it does not live that long.
    pub fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Text, in an element or in a quoted attribute.
    pub fn text(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // Neither HTML nor XML can hold them.
                '\u{fffe}' | '\u{ffff}' => self.0.push('\u{fffd}'),
                c if c.is_control() && !matches!(c, '\n' | '\t') => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
        self
    }

    /// A number in a quoted attribute, as SVG and `progress` want it.
    pub fn number(&mut self, number: f64) -> &mut Self {
        let number = if number.is_finite() { number } else { 0.0 };
        // Two decimals are more than a screen shows; writing to a String can not fail.
        let _ = write!(self.0, "{}", (number * 100.0).round() / 100.0);
        self
    }

    /// Text that may run from right to left, or say that what follows does: it ends where it ends.
    pub fn isolated(&mut self, text: &str) -> &mut Self {
        self.raw("<bdi>").text(text).raw("</bdi>")
    }

    /// `<tag>text</tag>`.
    pub fn element(&mut self, open: &'static str, text: &str, close: &'static str) -> &mut Self {
        self.raw(open).text(text).raw(close)
    }

    pub fn finish(self) -> String {
        self.0
    }
}
