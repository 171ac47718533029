//! `docs/desync.md` says of every command and flag of desync how cairn stands to it. It is held
//! against the help of both programs.

#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

#[path = "common/mod.rs"]
mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use common::desync_is_here;

/// Commands of desync without the flags for stores.
const WITHOUT_STORE_FLAGS: [&str; 7] =
    ["chunk", "completion", "config", "help", "manpage", "pull", "verify"];

/// Long flags by command. One without flags is here too.
type Flags = BTreeMap<String, BTreeSet<String>>;

fn page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/desync.md");
    std::fs::read_to_string(path).unwrap()
}

/// The rows of the table under a heading, as cells without backquotes.
fn rows(page: &str, heading: &str) -> Vec<Vec<String>> {
    let section = page.split(&format!("\n## {heading}\n")).nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let lines = section.lines().filter(|line| line.starts_with('|')).skip(2);
    lines
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            cells.map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
        })
        .collect()
}

fn first(mut cells: Vec<String>) -> String {
    cells.swap_remove(0)
}

fn help(program: &str, words: &[&str]) -> String {
    let run = Command::new(program).args(words).arg("--help").output().unwrap();
    String::from_utf8(run.stdout).unwrap()
}

/// The long flags that a help text lists.
fn flags(help: &str) -> BTreeSet<String> {
    let lines = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let long = lines.filter_map(|line| {
        line.split([' ', ',', '=', '[']).find(|word| word.starts_with("--")).map(str::to_owned)
    });
    long.collect()
}

/// The names in the list of commands of a help text.
fn commands(help: &str, heading: &str) -> BTreeSet<String> {
    let list = help.split(heading).nth(1).unwrap().trim_start_matches('\n');
    let list = list.split("\n\n").next().unwrap();
    list.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

fn flags_of(program: &str, heading: &str) -> Flags {
    let names = commands(&help(program, &[]), heading);
    names
        .into_iter()
        .map(|name| {
            // The flags behind it are casync's, and on a page of their own.
            let is_casync = name == "casync";
            let flags = if is_casync { BTreeSet::new() } else { flags(&help(program, &[&name])) };
            (name, flags)
        })
        .collect()
}

fn of_cairn() -> Flags {
    flags_of(env!("CARGO_BIN_EXE_cairn"), "Commands:")
}

/// The rows of the page: command, flag or nothing, and state.
fn listed(page: &str) -> Vec<(String, String, String)> {
    let row = |cells: &Vec<String>| (cells[0].clone(), cells[1].clone(), cells[2].clone());
    let mut listed: Vec<_> = rows(page, "Commands").iter().map(row).collect();
    let names: BTreeSet<String> = listed.iter().map(|(name, ..)| name.clone()).collect();
    for name in names {
        let with_stores = !WITHOUT_STORE_FLAGS.contains(&&name[..]);
        let shared = rows(page, "Flags of every command").into_iter();
        let stores = rows(page, "Flags for stores").into_iter().filter(|_| with_stores);
        for cells in shared.chain(stores) {
            listed.push((name.clone(), cells[0].clone(), cells[1].clone()));
        }
    }
    listed
}

#[test]
fn what_the_page_promises_is_in_the_help() {
    let cairn = of_cairn();
    for (command, flag, state) in listed(&page()) {
        assert!(["same", "better"].contains(&&state[..]), "{command} {flag}: {state}");
        let flags = cairn.get(&command).unwrap_or_else(|| panic!("cairn has no command {command}"));
        // `help` has no flags of its own here.
        let is_there = flag.is_empty() || command == "help" || flags.contains(&flag);
        assert!(is_there, "cairn {command} has no {flag}");
    }
}

#[test]
fn what_only_cairn_has_is_on_the_page() {
    let page = page();
    let mut listed: BTreeSet<(String, String)> =
        listed(&page).into_iter().map(|(command, flag, _)| (command, flag)).collect();
    let own = rows(&page, "Only in cairn");
    let every = rows(&page, "Flags of every command").into_iter().map(first);
    listed.extend(every.map(|flag| ("every".to_owned(), flag)));
    for cells in &own {
        let flags = match &cells[1][..] {
            "flags for stores" => rows(&page, "Flags for stores").into_iter().map(first).collect(),
            flag => vec![flag.to_owned()],
        };
        listed.extend(flags.into_iter().map(|flag| (cells[0].clone(), flag)));
    }
    let is_listed = |command: &str, flag: &str| {
        let every = || ("every".to_owned(), flag.to_owned());
        listed.contains(&(command.to_owned(), flag.to_owned())) || listed.contains(&every())
    };
    let cairn = of_cairn();
    for (command, flags) in &cairn {
        assert!(is_listed(command, ""), "{command} is not on the page");
        for flag in flags {
            assert!(is_listed(command, flag), "{command} {flag} is not on the page");
        }
    }
    for cells in own.iter().filter(|cells| cells[0] != "every") {
        let is_there = cairn
            .get(&cells[0])
            .is_some_and(|flags| !cells[1].starts_with('-') || flags.contains(&cells[1]));
        assert!(is_there, "cairn has no {} {}", cells[0], cells[1]);
    }
}

#[test]
fn every_command_and_flag_of_desync_is_on_the_page() {
    if !desync_is_here("every_command_and_flag_of_desync_is_on_the_page") {
        return;
    }
    let page = page();
    let mut listed_flags = Flags::new();
    for (command, flag, _) in listed(&page) {
        let flags = listed_flags.entry(command).or_default();
        flags.extend(Some(flag).filter(|flag| !flag.is_empty()));
    }
    assert_eq!(flags_of("desync", "Available Commands:"), listed_flags);
}
