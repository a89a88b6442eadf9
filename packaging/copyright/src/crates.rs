//! The crates that are linked into the library, with what their own files say of licences and holders.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::Path;

use serde_json::Value;

pub struct Crate {
    pub name: String,
    pub version: String,
    /// As its Cargo.toml says.
    pub licence: String,
    pub holders: Vec<String>,
    /// Its files of licences and notices.
    pub texts: Vec<String>,
}

/// The crate `root` and what it depends on at run time; procedural macros and build scripts leave nothing in it.
pub fn linked(metadata: &Value, root: &str) -> Result<Vec<Crate>, Box<dyn Error>> {
    let packages = by_id(&metadata["packages"])?;
    let nodes = by_id(&metadata["resolve"]["nodes"])?;
    let root = packages
        .iter()
        .find(|(_, package)| package["name"] == root)
        .ok_or_else(|| format!("no crate {root}"))?;
    let (mut seen, mut waiting) = (BTreeSet::new(), vec![*root.0]);
    while let Some(id) = waiting.pop() {
        let (Some(package), Some(node)) = (packages.get(id), nodes.get(id)) else {
            return Err(format!("cargo says nothing of {id}").into());
        };
        if is_macro(package) || !seen.insert(id) {
            continue;
        }
        for dependency in list(&node["deps"]) {
            if list(&dependency["dep_kinds"])
                .iter()
                .any(|how| how["kind"].is_null())
            {
                waiting.push(
                    dependency["pkg"]
                        .as_str()
                        .ok_or("a dependency without id")?,
                );
            }
        }
    }
    let mut crates: Vec<Crate> = seen
        .iter()
        .map(|id| describe(packages[id]))
        .collect::<Result<_, _>>()?;
    crates.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    Ok(crates)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn by_id(items: &Value) -> Result<BTreeMap<&str, &Value>, &'static str> {
    list(items)
        .iter()
        .map(|item| Ok((item["id"].as_str().ok_or("a package without id")?, item)))
        .collect()
}

fn is_macro(package: &Value) -> bool {
    list(&package["targets"]).iter().any(|target| {
        list(&target["kind"])
            .iter()
            .any(|kind| kind == "proc-macro")
    })
}

fn describe(package: &Value) -> Result<Crate, Box<dyn Error>> {
    let text = |name: &str| package[name].as_str().unwrap_or_default().to_owned();
    let directory = Path::new(package["manifest_path"].as_str().unwrap_or_default())
        .parent()
        .ok_or("a package without directory")?
        .to_owned();
    let texts = notices(&directory)?;
    let mut holders: Vec<String> = Vec::new();
    for stated in texts
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(holder)
    {
        if !holders.contains(&stated) {
            holders.push(stated);
        }
    }
    if holders.is_empty() {
        holders = list(&package["authors"])
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
    }
    if holders.is_empty() {
        holders.push(format!(
            "the authors of {}, {}",
            text("name"),
            text("repository")
        ));
    }
    Ok(Crate {
        name: text("name"),
        version: text("version"),
        licence: text("license"),
        holders,
        texts,
    })
}

/// The texts of the files about licences in a crate's directory, and in one of that name in it.
fn notices(directory: &Path) -> std::io::Result<Vec<String>> {
    let mut paths: Vec<_> = fs::read_dir(directory)?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()?;
    paths.sort();
    let mut texts = Vec::new();
    for path in paths {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .to_uppercase();
        if ![
            "LICENSE",
            "LICENCE",
            "COPYING",
            "COPYRIGHT",
            "NOTICE",
            "UNLICENSE",
        ]
        .iter()
        .any(|word| name.starts_with(word))
        {
            continue;
        }
        let files = if path.is_dir() {
            let mut files: Vec<_> = fs::read_dir(&path)?
                .map(|entry| Ok(entry?.path()))
                .collect::<std::io::Result<_>>()?;
            files.sort();
            files
        } else {
            vec![path]
        };
        for file in files {
            texts.push(String::from_utf8_lossy(&fs::read(file)?).into_owned());
        }
    }
    Ok(texts)
}

/// Whose copyright a line states, if it does: not the words of a licence about copyright.
fn holder(line: &str) -> Option<String> {
    let line = line
        .trim_start_matches(|c: char| !c.is_alphanumeric() && c != '©')
        .trim_end_matches("*/")
        .trim();
    let rest = line
        .strip_prefix("Copyright")
        .or_else(|| line.strip_prefix('©'))?;
    let rest = rest.trim_start_matches([' ', ':', ',']);
    let rest = ["(c)", "(C)", "©", "&copy;"]
        .iter()
        .find_map(|sign| rest.strip_prefix(sign))
        .unwrap_or(rest)
        .trim();
    let stated = rest.starts_with(|c: char| c.is_ascii_digit() || c == '[')
        && !rest.starts_with("[yyyy]")
        || rest.starts_with("The ")
        || line.contains("(c)") && rest.starts_with(char::is_alphabetic);
    (stated && rest.contains(char::is_alphabetic)).then(|| rest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::holder;

    #[test]
    fn holders_are_told_from_the_words_of_licences() {
        for (line, expected) in [
            (
                "Copyright (c) 2014 The Rust Project",
                Some("2014 The Rust Project"),
            ),
            (
                "// Copyright 2015-2016 Brian Smith.",
                Some("2015-2016 Brian Smith."),
            ),
            (
                "   Copyright © 2020 Unicode, Inc.",
                Some("2020 Unicode, Inc."),
            ),
            (
                "Copyright The Someone Developers",
                Some("The Someone Developers"),
            ),
            ("   Copyright [yyyy] [name of copyright owner]", None),
            ("Copyright (c) <year> <copyright holders>", None),
            ("Copyright (c) 2016--2017", None),
            ("Copyright License. Subject to the terms", None),
            ("copyright notice and this permission notice", None),
        ] {
            assert_eq!(holder(line).as_deref(), expected, "{line}");
        }
    }
}
