//! Writes the package's copyright file (DEP-5) on standard output: the licence of gn_harvest, and the licence and
//! holders of every crate that is linked into its library. A licence that it does not know ends it with an error:
//! somebody has to read it first.
//!
//!   copyright SOURCE-TREE

mod crates;
mod licence;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::process::Command;

use crates::Crate;
use licence::Licence;

const EXTENSION: &str = "gn_harvest";

fn main() -> Result<(), Box<dyn Error>> {
    let tree = std::env::args().nth(1).ok_or("copyright SOURCE-TREE")?;
    let metadata = metadata(Path::new(&tree))?;
    print!("{}", copyright(&crates::linked(&metadata, EXTENSION)?)?);
    Ok(())
}

/// What cargo says of the crates of a source tree, for this platform.
fn metadata(tree: &Path) -> Result<serde_json::Value, Box<dyn Error>> {
    let version = Command::new("rustc").arg("-vV").output()?;
    let version = String::from_utf8(version.stdout)?;
    let platform = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .ok_or("rustc does not say its platform")?;
    let output = Command::new("cargo")
        .args([
            "metadata",
            "--locked",
            "--format-version=1",
            "--filter-platform",
            platform,
        ])
        .current_dir(tree)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The whole file, of the crates that the library holds.
fn copyright(crates: &[Crate]) -> Result<String, Box<dyn Error>> {
    let mut text = format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
         Upstream-Name: {EXTENSION}\n\
         Comment: The library {EXTENSION}.so holds, linked in, the crates that are listed below as crates/NAME-VERSION, and\n \
         the standard library of Rust.\n\n\
         Files: *\nCopyright: 2026, the {EXTENSION} authors\nLicense: GPL-3+\n\n\
         Files: rust/library/*\nCopyright: The Rust Project Developers (see https://thanks.rust-lang.org)\nLicense: Expat or Apache-2.0\n"
    );
    let mut used = BTreeMap::from([
        (Licence::Gpl3OrLater, None),
        (Licence::Expat, None),
        (Licence::Apache2, None),
    ]);
    for found in crates.iter().filter(|found| found.name != EXTENSION) {
        let expression = licence::expression(&found.licence)
            .map_err(|unknown| format!("{} {}: {unknown}", found.name, found.version))?;
        text.push_str(&format!(
            "\nFiles: crates/{}-{}/*\nCopyright: {}\nLicense: {}\n",
            found.name,
            found.version,
            found.holders.join("\n ").trim(),
            expression.debian()
        ));
        for licence in expression.licences() {
            let text = used.entry(licence).or_default();
            if text.is_none() {
                *text = found.texts.iter().find_map(|file| licence.text_in(file));
            }
        }
    }
    for (licence, from_crates) in &used {
        let body = licence
            .pointer()
            .map(str::to_owned)
            .or_else(|| from_crates.clone())
            .ok_or_else(|| format!("no crate has the text of {}", licence.debian()))?;
        text.push_str(&format!(
            "\nLicense: {}\n{}",
            licence.debian(),
            folded(&body)
        ));
    }
    Ok(text)
}

/// A text as the continuation of a field: indented, empty lines as dots.
fn folded(text: &str) -> String {
    text.lines()
        .map(|line| match line.trim() {
            "" => " .\n".to_owned(),
            line => format!(" {line}\n"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_crate(licence: &str, texts: &[&str]) -> Crate {
        Crate {
            name: "petit".to_owned(),
            version: "1.2.3".to_owned(),
            licence: licence.to_owned(),
            holders: vec!["2020 Someone".to_owned()],
            texts: texts.iter().map(|text| (*text).to_owned()).collect(),
        }
    }

    const MIT: &str = "MIT License\n\nCopyright (c) 2020 Someone\n\nPermission is hereby granted, free of charge, to\nany person\n\nTHE END";

    #[test]
    fn a_crate_is_listed_with_its_holders_and_the_text_of_its_licence() {
        let text = copyright(&[a_crate("MIT OR Apache-2.0", &[MIT])]).unwrap();
        assert!(text.contains("\nFiles: crates/petit-1.2.3/*\nCopyright: 2020 Someone\nLicense: Expat or Apache-2.0\n"), "{text}");
        assert!(
            text.contains("\nLicense: Expat\n Permission is hereby granted, free of charge, to\n any person\n .\n THE END\n"),
            "{text}"
        );
        assert!(text.contains("/usr/share/common-licenses/Apache-2.0"));
        assert!(text.contains("/usr/share/common-licenses/GPL-3"));
    }

    #[test]
    fn a_licence_that_nobody_has_read_is_an_error() {
        for licence in ["Business-1.1", "", "MIT OR Nonfree", "MIT WITH exception"] {
            let error = copyright(&[a_crate(licence, &[MIT])])
                .unwrap_err()
                .to_string();
            assert!(error.contains("petit 1.2.3"), "{licence}: {error}");
        }
    }

    #[test]
    fn a_licence_without_its_text_is_an_error() {
        let error = copyright(&[a_crate("MIT", &["Zlib, or so"])]).unwrap_err();
        assert!(error.to_string().contains("Expat"), "{error}");
    }

    #[test]
    fn this_project_has_a_copyright_file() {
        let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let crates = crates::linked(&metadata(&tree).unwrap(), EXTENSION).unwrap();
        let text = copyright(&crates).unwrap();
        for expected in [
            "Files: crates/pgrx-0.",
            "Files: crates/ring-0.",
            "\nLicense: ISC\n",
        ] {
            assert!(text.contains(expected), "no {expected}");
        }
        // Used by tests only, and at compile time only.
        for foreign in [
            "crates/proptest-",
            "crates/geozero-",
            "crates/bindgen-",
            "crates/serde_derive-",
        ] {
            assert!(!text.contains(foreign), "{foreign}");
        }
        let stanzas = text.matches("\nFiles: ").count();
        let held = text.matches("\nCopyright: ").count();
        assert_eq!(stanzas, held);
    }
}
