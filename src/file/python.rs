//! GeoNature writes the JSON of a cell of a CSV file as Python prints it: `{'a': None, 'b': True}`. Read back as JSON.

use std::iter::Peekable;
use std::str::Chars;

/// Deeper nesting is left as the text that it is.
const DEEPEST: usize = 64;

/// The JSON text of what Python printed; none if it is something else.
pub(super) fn as_json(text: &str) -> Option<String> {
    let mut reader = Reader {
        rest: text.chars().peekable(),
        out: String::with_capacity(text.len()),
    };
    reader.value(0)?;
    reader.skip_blanks();
    reader.rest.next().is_none().then_some(reader.out)
}

struct Reader<'t> {
    rest: Peekable<Chars<'t>>,
    out: String,
}

impl Reader<'_> {
    fn skip_blanks(&mut self) {
        while self.rest.next_if(|c| c.is_ascii_whitespace()).is_some() {}
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        if depth > DEEPEST {
            return None;
        }
        self.skip_blanks();
        match self.rest.peek()? {
            '{' => self.nested(depth, ('{', '}')),
            '[' => self.nested(depth, ('[', ']')),
            '\'' | '"' => self.text(),
            _ => self.bare(),
        }
    }

    fn nested(&mut self, depth: usize, (open, close): (char, char)) -> Option<()> {
        self.rest.next();
        self.out.push(open);
        self.skip_blanks();
        if self.rest.next_if_eq(&close).is_some() {
            self.out.push(close);
            return Some(());
        }
        loop {
            if open == '{' {
                self.skip_blanks();
                self.text()?;
                self.skip_blanks();
                self.rest.next_if_eq(&':')?;
                self.out.push(':');
            }
            self.value(depth + 1)?;
            self.skip_blanks();
            match self.rest.next()? {
                ',' => self.out.push(','),
                end if end == close => {
                    self.out.push(close);
                    return Some(());
                }
                _ => return None,
            }
        }
    }

    /// `None`, `True`, `False` and finite numbers.
    fn bare(&mut self) -> Option<()> {
        let mut word = String::new();
        let part = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        while let Some(c) = self.rest.next_if(part) {
            word.push(c);
        }
        let json = match word.as_str() {
            "None" => "null",
            "True" => "true",
            "False" => "false",
            number if is_number(number) => number,
            _ => return None,
        };
        self.out.push_str(json);
        Some(())
    }

    fn text(&mut self) -> Option<()> {
        let quote = self.rest.next_if(|c| matches!(c, '\'' | '"'))?;
        let mut text = String::new();
        loop {
            match self.rest.next()? {
                c if c == quote => break,
                '\\' => text.push(self.escaped()?),
                c => text.push(c),
            }
        }
        self.out.push_str(&serde_json::to_string(&text).ok()?);
        Some(())
    }

    fn escaped(&mut self) -> Option<char> {
        let digits = match self.rest.next()? {
            'n' => return Some('\n'),
            'r' => return Some('\r'),
            't' => return Some('\t'),
            c @ ('\\' | '\'' | '"') => return Some(c),
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => return None,
        };
        let mut code = 0;
        for _ in 0..digits {
            code = code * 16 + self.rest.next()?.to_digit(16)?;
        }
        char::from_u32(code)
    }
}

/// Whether a text is a number as JSON writes it.
pub(super) fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.starts_with(|c: char| c.is_ascii_digit())
        && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}
