//! Each row of the table on the page about mounts names the test that it was written after.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All that is written in the tests.
fn tests(directory: &Path, text: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests(&path, text);
        } else if path.extension().is_some_and(|suffix| suffix == "rs") {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn each_row_names_a_test() {
    let mut text = String::new();
    tests(&root().join("tests"), &mut text);
    let page = fs::read_to_string(root().join("docs/mount.md")).unwrap();
    let section = page.split("\n## What programs see\n").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with('|')).skip(2).collect();
    assert!(rows.len() >= 27, "{}", rows.len());
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        assert_eq!(cells.len(), 3, "{row}");
        let names: Vec<&str> = cells[2].split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{row}");
        for name in names {
            let is_test = text
                .split("#[test]")
                .skip(1)
                .any(|test| test.trim_start().starts_with(&format!("fn {name}(")));
            assert!(is_test, "no test is called {name}");
        }
    }
}
