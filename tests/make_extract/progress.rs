//! Lines of progress for programs, as desync prints them and RAUC reads them.

use super::common::{Outcome, Sandbox, joined, random};

fn lines(sandbox: &Sandbox, words: &str) -> Outcome {
    let name = "DESYNC_ENABLE_PARSABLE_PROGRESS";
    sandbox.cairn_with_env(words, name, "1").succeeds()
}

/// Checks that there are lines `<prefix>  p%[ time]` with growing percentages, from 0 to 100.
#[track_caller]
fn is_phase(lines: &[&str], prefix: &str) {
    let percentages: Vec<f64> = lines
        .iter()
        .map(|line| {
            let rest = line.strip_prefix(prefix).unwrap_or_else(|| panic!("{line}"));
            let (percentage, _) = rest.split_once('%').unwrap();
            assert_eq!(percentage.len(), 7, "{line}");
            percentage.trim_start().parse().unwrap()
        })
        .collect();
    assert!(percentages.is_sorted(), "{lines:?}");
    assert_eq!(lines[0], format!("{prefix}   0.00%"));
    let last = lines.last().unwrap();
    let time = last.strip_prefix(&format!("{prefix} 100.00% ")[..]).unwrap();
    let seconds = time.strip_suffix('s').unwrap();
    assert!(seconds.parse::<u64>().is_ok(), "{last}");
}

fn of_phase<'a>(outcome: &'a Outcome, prefix: &str) -> Vec<&'a str> {
    let lines = outcome.stderr.lines();
    lines.filter(|line| line.starts_with(prefix)).collect()
}

#[test]
fn make_prints_how_far_it_is() {
    let sandbox = Sandbox::with_blob(&joined(&[&random(1, 5_000_000), &vec![0; 5 << 20]]));
    let made = lines(&sandbox, "make blob.caibx blob -s store");
    assert_eq!(made.text(), "");
    let (chunking, storing) = (of_phase(&made, "Chunking "), of_phase(&made, "Storing "));
    is_phase(&chunking, "Chunking ");
    is_phase(&storing, "Storing ");
    assert_eq!(chunking.len() + storing.len(), made.stderr.lines().count());
    assert_eq!(chunking[0], "Chunking    0.00%");
    // Without a store nothing is stored.
    let made = lines(&sandbox, "make blob.caibx blob");
    is_phase(&made.stderr.lines().collect::<Vec<_>>(), "Chunking ");
}

#[test]
fn progress_does_not_touch_an_index_on_standard_output() {
    let sandbox = Sandbox::with_store(&random(2, 2_000_000));
    let made = lines(&sandbox, "make - blob -s store");
    assert!(made.stdout == sandbox.read("blob.caibx"));
    assert!(made.stderr.starts_with("Chunking    0.00%\n"));
}

#[test]
fn a_blob_of_unknown_length_has_no_percentage() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command("make blob.caibx -");
    command.env("DESYNC_ENABLE_PARSABLE_PROGRESS", "0");
    let made = super::common::run(command, Some(random(3, 1_000_000))).succeeds();
    assert_eq!(made.stderr, "Chunking \nChunking  0s\n");
}

#[test]
fn extract_prints_how_far_it_is() {
    let sandbox = Sandbox::with_store(&random(4, 3_000_000));
    let new = lines(&sandbox, "extract blob.caibx out -s store");
    let validating = of_phase(&new, "Attempt 1: Validating ");
    assert_eq!(validating, ["Attempt 1: Validating ", "Attempt 1: Validating  0s"]);
    is_phase(&of_phase(&new, "Attempt 1: Assembling "), "Attempt 1: Assembling ");
    let again = lines(&sandbox, "extract -k blob.caibx out -s store");
    is_phase(&of_phase(&again, "Attempt 1: Validating "), "Attempt 1: Validating ");
    is_phase(&of_phase(&again, "Attempt 1: Assembling "), "Attempt 1: Assembling ");
    assert_eq!((new.text(), again.text()), ("", ""));
}

#[test]
fn verify_index_prints_bare_percentages() {
    let sandbox = Sandbox::with_store(&random(5, 3_000_000));
    let checked = lines(&sandbox, "verify-index blob.caibx blob");
    is_phase(&checked.stderr.lines().collect::<Vec<_>>(), "");
    assert_eq!(checked.text(), "");
}

#[test]
fn a_failed_phase_ends_where_it_came_to() {
    let sandbox = Sandbox::with_store(&random(6, 3_000_000));
    sandbox.write("other", &random(7, 3_000_000));
    let name = "DESYNC_ENABLE_PARSABLE_PROGRESS";
    let failed = sandbox.cairn_with_env("verify-index blob.caibx other -n 1", name, "1");
    assert_eq!(failed.code, Some(1));
    let lines: Vec<&str> = failed.stderr.lines().collect();
    assert!(lines.last().unwrap().starts_with("error: other"), "{lines:?}");
    assert!(!failed.stderr.contains("100.00%"), "{lines:?}");
}

#[test]
fn an_empty_blob_has_no_progress() {
    let sandbox = Sandbox::with_store(b"");
    let extracted = lines(&sandbox, "extract blob.caibx out -s store");
    assert_eq!(extracted.stderr, "");
    let checked = lines(&sandbox, "verify-index blob.caibx blob");
    assert_eq!(checked.stderr, "");
}

#[test]
fn without_a_terminal_nothing_is_printed() {
    let sandbox = Sandbox::with_blob(&random(8, 1_000_000));
    let name = "DESYNC_ENABLE_PARSABLE_PROGRESS";
    // An empty value is as good as none.
    let made = sandbox.cairn_with_env("make blob.caibx blob -s store", name, "");
    made.succeeds_silently();
}
