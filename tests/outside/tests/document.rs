//! What the tests of documents share: their examples, run by psql as a reader would, and the tables that they hold.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use gn_harvest_outside::Database;

/// A block of SQL of a document.
#[derive(Debug)]
pub struct Example<'d> {
    /// What its fence says after "sql": who runs it.
    pub by: &'d str,
    pub sql: String,
    /// What psql answers, when the block after it says so.
    pub answer: Option<String>,
}

/// The examples of a document, in order. A block of `text` right after one is its answer.
pub fn examples(document: &str) -> Vec<Example<'_>> {
    let mut examples: Vec<Example> = Vec::new();
    let mut lines = document.lines();
    let mut answers = false;
    while let Some(line) = lines.next() {
        let Some(fence) = line.strip_prefix("```") else {
            answers &= line.is_empty();
            continue;
        };
        let block: String = lines
            .by_ref()
            .take_while(|line| *line != "```")
            .flat_map(|line| [line, "\n"])
            .collect();
        let (language, by) = fence.split_once(' ').unwrap_or((fence, ""));
        match (language, examples.last_mut()) {
            ("text", Some(asked)) if answers => asked.answer = Some(block),
            ("sql", _) => examples.push(Example {
                by,
                sql: block,
                answer: None,
            }),
            _ => {}
        }
        answers = language == "sql";
    }
    examples
}

/// Runs an example as a role, a statement a transaction; what is replaced in it is what a reader has to fill in. Where
/// the document shows an answer, that has to come.
pub fn run(database: &Database, role: &str, example: &Example, filled_in: &[(&str, &str)]) {
    let sql = fill_in(&example.sql, filled_in);
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    std::io::Write::write_all(&mut file, sql.as_bytes()).expect("the file");
    let path = file.path().display().to_string();
    let options = ["-q", "-b", "-P", "footer=off", "-U", role, "-f", &path];
    let answer = database
        .cluster
        .psql(&database.name, Path::new("/"), &options);
    if let Some(expected) = &example.answer {
        let expected = fill_in(expected, filled_in);
        assert!(
            answers(&lines(&answer), &lines(&expected)),
            "{sql}\nanswers\n{answer}\nand not\n{expected}"
        );
    }
}

fn fill_in(text: &str, filled_in: &[(&str, &str)]) -> String {
    filled_in
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

fn lines(text: &str) -> Vec<&str> {
    let lines = text.lines().map(str::trim_end);
    lines.filter(|line| !line.is_empty()).collect()
}

/// Whether lines are those expected; "…" stands for any number of them.
fn answers(found: &[&str], expected: &[&str]) -> bool {
    match expected.split_first() {
        None => found.is_empty(),
        Some((&"…", rest)) => (0..=found.len()).any(|skipped| answers(&found[skipped..], rest)),
        Some((line, rest)) => found.first() == Some(line) && answers(&found[1..], rest),
    }
}

/// The part of a document under a title, up to the next title.
pub fn part<'d>(document: &'d str, title: &str) -> &'d str {
    let part = document
        .split_once(&format!("\n{title}\n"))
        .unwrap_or_else(|| panic!("no part {title}"))
        .1;
    part.split_once("\n#").map_or(part, |(part, _)| part)
}

/// Words in back quotes.
pub fn quoted(part: &str) -> BTreeSet<&str> {
    part.split('`').skip(1).step_by(2).collect()
}

/// The rows of the tables of a part whose first cell is in back quotes, as their cells.
pub fn quoted_rows(part: &str) -> Vec<Vec<&str>> {
    part.lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells = line.trim_matches('|').split(" | ");
            cells.map(str::trim).collect()
        })
        .collect()
}

/// The directory of the project.
pub fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A file of the project, by its path in it.
pub fn file(name: &str) -> String {
    std::fs::read_to_string(project().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn examples_are_told_from_their_answers_and_from_other_blocks() {
    let document = "```sql\nSELECT 1;\n```\n\n```text\n 1\n```\n```sh\nls\n```\n```sql a role\nSELECT 2;\n```\nwords\n```text\n no answer\n```\n";
    let found: Vec<_> = examples(document)
        .into_iter()
        .map(|example| (example.by, example.sql, example.answer))
        .collect();
    assert_eq!(
        found,
        [
            ("", "SELECT 1;\n".to_owned(), Some(" 1\n".to_owned())),
            ("a role", "SELECT 2;\n".to_owned(), None)
        ]
    );
}

#[test]
fn an_answer_may_leave_lines_out_where_it_says_so_only() {
    assert!(answers(&["a", "b", "c"], &["a", "…", "c"]));
    assert!(answers(&["a", "c"], &["a", "…", "c"]));
    assert!(!answers(&["a", "b", "c"], &["a", "c"]));
    assert!(!answers(&["a", "b", "c"], &["a", "b"]));
    assert!(!answers(&["a"], &["a", "b"]));
}
