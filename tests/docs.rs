//! The tables of the documentation say what is so.

#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The first words in backquotes of the rows of the table under a heading.
fn table(document: &str, heading: &str) -> BTreeSet<String> {
    let section = document.split(&format!("\n## {heading}\n")).nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split(['`', ' ']).next().unwrap().to_owned()).collect()
}

/// The keys of all dependency sections of a manifest, our own crates left out.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut inside = false;
    let mut names = BTreeSet::new();
    for line in read(manifest).lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]") && !line.contains("workspace");
        } else if let (true, Some((name, _))) = (inside, line.split_once(['.', ' '])) {
            names.insert(name.to_owned());
        }
    }
    names.retain(|name| !name.starts_with("cairn-") && name != "#");
    names
}

#[test]
fn the_readme_names_every_dependency() {
    let manifests = ["Cargo.toml", "formats/Cargo.toml", "store/Cargo.toml", "fuse/Cargo.toml"];
    let used: BTreeSet<String> = manifests.into_iter().flat_map(dependencies).collect();
    assert_eq!(table(&read("README.md"), "Dependencies"), used);
}

#[test]
fn the_readme_names_every_command() {
    let help = Command::new(env!("CARGO_BIN_EXE_cairn")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let commands = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let commands = commands.lines().filter_map(|line| line.split_whitespace().next());
    let commands = commands.filter(|&name| name != "help").map(str::to_owned).collect();
    assert_eq!(table(&read("README.md"), "Commands"), commands);
}

#[test]
fn the_readme_names_every_folder() {
    let folders = table(&read("README.md"), "Where things are");
    for folder in &folders {
        assert!(Path::new(&root()).join(folder).is_dir(), "{folder}");
    }
    let sources = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    for folder in sources.filter(|path| path.is_dir()) {
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let known = name == "target";
        assert!(name.starts_with('.') || known || folders.contains(&format!("{name}/")), "{name}");
    }
}

#[test]
fn golden_files_are_as_they_were_made() {
    let readme = read("testdata/README.md");
    for row in readme.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let bytes = fs::read(root().join("testdata").join(cells[1])).unwrap();
        assert_eq!(cairn_formats::Digest::Sha256.hash(&bytes).to_hex(), cells[4], "{}", cells[1]);
    }
}
