//! The licences that may be linked into a work under GPL-3+, read by a person before they were added here.

/// In the order of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Licence {
    Gpl3OrLater,
    Apache2,
    Boost1,
    Bsd0,
    Bsd3,
    CdlaPermissive2,
    Expat,
    Isc,
    Mpl2,
    Unicode3,
    Unlicense,
    Zlib,
}

struct Known {
    licence: Licence,
    /// Of SPDX, as Cargo.toml has it.
    spdx: &'static str,
    /// Of Debian's machine-readable format.
    debian: &'static str,
    /// Where Debian keeps the text, or what the text begins with in the files of crates.
    text: Text,
}

enum Text {
    Pointer(&'static str),
    Beginning(&'static str),
}
use Text::{Beginning, Pointer};

const KNOWN: [Known; 12] = [
    known(
        Licence::Gpl3OrLater,
        "GPL-3.0-or-later",
        "GPL-3+",
        Pointer(
            "This program is free software: you can redistribute it and/or modify it under the terms of the GNU General\n\
             Public License as published by the Free Software Foundation, either version 3 of the License, or (at your\n\
             option) any later version. It comes without any warranty.\n\n\
             On Debian systems, its text is in /usr/share/common-licenses/GPL-3.",
        ),
    ),
    known(
        Licence::Apache2,
        "Apache-2.0",
        "Apache-2.0",
        Pointer(
            "On Debian systems, the text of the Apache License 2.0 is in /usr/share/common-licenses/Apache-2.0.",
        ),
    ),
    known(
        Licence::Boost1,
        "BSL-1.0",
        "BSL-1.0",
        Beginning("Boost Software License"),
    ),
    known(
        Licence::Bsd0,
        "0BSD",
        "0BSD",
        Beginning("Permission to use, copy, modify, and/or distribute"),
    ),
    known(
        Licence::Bsd3,
        "BSD-3-Clause",
        "BSD-3-clause",
        Beginning("Redistribution and use in source and binary"),
    ),
    known(
        Licence::CdlaPermissive2,
        "CDLA-Permissive-2.0",
        "CDLA-Permissive-2.0",
        Beginning("Community Data License Agreement"),
    ),
    known(
        Licence::Expat,
        "MIT",
        "Expat",
        Beginning("Permission is hereby granted, free of charge, to"),
    ),
    known(
        Licence::Isc,
        "ISC",
        "ISC",
        Beginning("Permission to use, copy, modify, and/or distribute"),
    ),
    known(
        Licence::Mpl2,
        "MPL-2.0",
        "MPL-2.0",
        Pointer(
            "On Debian systems, the text of the Mozilla Public License 2.0 is in /usr/share/common-licenses/MPL-2.0.",
        ),
    ),
    known(
        Licence::Unicode3,
        "Unicode-3.0",
        "Unicode-3.0",
        Beginning(
            "Permission is hereby granted, free of charge, to any person obtaining a\ncopy of data files",
        ),
    ),
    known(
        Licence::Unlicense,
        "Unlicense",
        "Unlicense",
        Beginning("This is free and unencumbered software"),
    ),
    known(
        Licence::Zlib,
        "Zlib",
        "Zlib",
        Beginning("This software is provided"),
    ),
];

const fn known(licence: Licence, spdx: &'static str, debian: &'static str, text: Text) -> Known {
    Known {
        licence,
        spdx,
        debian,
        text,
    }
}

impl Licence {
    fn known(self) -> &'static Known {
        // Every licence is in the table: a test looks.
        KNOWN
            .iter()
            .find(|known| known.licence == self)
            .unwrap_or(&KNOWN[0])
    }

    pub fn debian(self) -> &'static str {
        self.known().debian
    }

    /// Where the text is on a Debian system, if Debian has it.
    pub fn pointer(self) -> Option<&'static str> {
        match self.known().text {
            Pointer(text) => Some(text),
            Beginning(_) => None,
        }
    }

    /// The text of this licence in a crate's file, without the statements of copyright before it.
    pub fn text_in(self, file: &str) -> Option<String> {
        let Beginning(beginning) = self.known().text else {
            return None;
        };
        // Lines are broken, and commented out, as each author liked.
        let plain: String = file
            .lines()
            .map(|line| line.trim_start_matches("//").trim())
            .collect::<Vec<_>>()
            .join("\n");
        let from = find_words(&plain, beginning)?;
        let text = plain[from..].trim();
        let belongs = match self {
            Licence::Bsd0 => !text.contains("appear in all copies"),
            Licence::Isc => text.contains("appear in all copies"),
            Licence::Expat => !text.contains("data files"),
            _ => true,
        };
        belongs.then(|| text.to_owned())
    }
}

/// Where words follow each other in a text, however its lines are broken.
fn find_words(text: &str, words: &str) -> Option<usize> {
    let words: Vec<&str> = words.split_whitespace().collect();
    let first = words.first()?;
    text.match_indices(first).map(|(at, _)| at).find(|at| {
        text[*at..]
            .split_whitespace()
            .take(words.len())
            .eq(words.iter().copied())
    })
}

/// Licences joined by "and" and "or", as Cargo.toml writes them; "/" is its old "or".
pub struct Expression(Vec<Part>);

enum Part {
    Licence(Licence),
    Word(&'static str),
}

pub fn expression(text: &str) -> Result<Expression, String> {
    let text = text
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let parts = text
        .split_whitespace()
        .map(|word| match word {
            "OR" => Ok(Part::Word("or")),
            "AND" => Ok(Part::Word("and")),
            "(" => Ok(Part::Word("(")),
            ")" => Ok(Part::Word(")")),
            _ => KNOWN
                .iter()
                .find(|known| known.spdx == word)
                .map(|known| Part::Licence(known.licence))
                .ok_or_else(|| format!("the licence {word} is not known: read it, and if the package may hold it, add it to packaging/copyright")),
        })
        .collect::<Result<Vec<_>, _>>()?;
    if parts.is_empty() {
        return Err("no licence".to_owned());
    }
    Ok(Expression(parts))
}

impl Expression {
    pub fn licences(&self) -> impl Iterator<Item = Licence> + '_ {
        self.0.iter().filter_map(|part| match part {
            Part::Licence(licence) => Some(*licence),
            Part::Word(_) => None,
        })
    }

    /// In Debian's words; "(a or b) and c" has a comma there instead of brackets.
    pub fn debian(&self) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Word("(") => {}
                Part::Word(")") => text.push(','),
                Part::Word(word) => text.push_str(&format!(" {word} ")),
                Part::Licence(licence) => text.push_str(licence.debian()),
            }
        }
        text.trim_end_matches(',').replace("  ", " ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_licence_is_in_the_table_once() {
        for known in &KNOWN {
            assert_eq!(known.licence.known().spdx, known.spdx);
        }
    }

    #[test]
    fn expressions_are_said_as_debian_says_them() {
        for (cargo, debian) in [
            ("MIT", "Expat"),
            ("MIT/Apache-2.0", "Expat or Apache-2.0"),
            ("Apache-2.0 AND ISC", "Apache-2.0 and ISC"),
            (
                "(MIT OR Apache-2.0) AND Unicode-3.0",
                "Expat or Apache-2.0, and Unicode-3.0",
            ),
        ] {
            assert_eq!(expression(cargo).unwrap().debian(), debian);
        }
    }

    #[test]
    fn licences_that_begin_alike_are_told_apart() {
        let isc = "// Copyright 2015 X.\n//\n// Permission to use, copy, modify, and/or distribute this\n// software, provided that the notice appear in all copies.";
        assert!(
            Licence::Isc
                .text_in(isc)
                .unwrap()
                .starts_with("Permission to use")
        );
        assert!(Licence::Bsd0.text_in(isc).is_none());
        let unicode = "UNICODE LICENSE V3\n\nPermission is hereby granted, free of charge, to any person obtaining a\ncopy of data files and any associated documentation";
        assert!(Licence::Unicode3.text_in(unicode).is_some());
        assert!(Licence::Expat.text_in(unicode).is_none());
    }
}
