//! `docs/casync.md` says of every verb and option of casync how cairn stands to it. It is held against the help
//! of both programs.

#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// What can be said of a verb or option.
const STATES: [&str; 3] = ["same", "better", "in part"];

/// The first two cells of the rows of the table under a heading: names in backquotes, and states.
fn table(heading: &str) -> BTreeMap<String, String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/casync.md");
    let page = std::fs::read_to_string(path).unwrap();
    let section = page.split(&format!("\n## {heading}\n")).nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let mut table = BTreeMap::new();
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 5, "{row}");
        assert!(STATES.contains(&cells[2]), "{row}");
        assert!(cells[2] == "same" || !cells[3].is_empty(), "{row}");
        let old = table.insert(cells[1].trim_matches('`').to_owned(), cells[2].to_owned());
        assert_eq!(old, None, "{row}");
    }
    table
}

fn all(table: &BTreeMap<String, String>) -> BTreeSet<String> {
    table.keys().cloned().collect()
}

fn help(program: &str, words: &[&str]) -> String {
    let run = Command::new(program).args(words).output();
    let run = run.unwrap_or_else(|e| panic!("{program} does not start ({e}): package casync"));
    String::from_utf8(run.stdout).unwrap()
}

fn ours() -> String {
    help(env!("CARGO_BIN_EXE_cairn"), &["casync", "--help"])
}

fn theirs() -> String {
    help("casync", &["--help"])
}

/// The long options that a help text has a line for.
fn options(help: &str) -> BTreeSet<String> {
    let lines = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let long = lines.filter_map(|line| {
        line.split([' ', ',', '=']).find(|word| word.starts_with("--")).map(str::to_owned)
    });
    long.collect()
}

/// The verbs that a help text has a line for.
fn verbs(help: &str) -> BTreeSet<String> {
    let lines = help.lines().map(|line| line.trim_start().trim_start_matches("Usage: "));
    let words = lines.filter_map(|line| line.strip_prefix("casync "));
    let verbs = words.filter_map(|words| words.split(' ').find(|word| !word.starts_with('[')));
    verbs.map(str::to_owned).collect()
}

#[test]
fn every_verb_and_option_of_casync_is_on_the_page() {
    assert_eq!(all(&table("Options")), options(&theirs()));
    let mut verbs = verbs(&theirs());
    // It has it, and does not say so.
    verbs.insert("help".to_owned());
    assert_eq!(all(&table("Verbs")), verbs);
}

#[test]
fn what_the_page_promises_is_in_the_help_and_nothing_else() {
    assert_eq!(all(&table("Options")), options(&ours()));
    assert_eq!(all(&table("Verbs")), verbs(&ours()));
}
