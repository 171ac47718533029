//! Blobs that change while they are read, and users who change their mind.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::process::{Pid, Signal, kill_process};

use super::common::halted::{Halted, wait_for_read};
use super::common::{Outcome, Sandbox, random};

/// Makes of `blob` what `change` has left of it while the command stood still.
fn make_while(words: &str, change: impl FnOnce(&Path)) -> (Sandbox, Outcome) {
    let sandbox = Sandbox::with_blob(&random(1, 5_000_000));
    sandbox.write("new.caibx", b"what was there before");
    // Whatever the grain of the clock of files: a change is at another time.
    let blob = File::options().write(true).open(sandbox.path("blob")).unwrap();
    blob.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    let halted = Halted::start(&sandbox, words, "blob");
    change(&sandbox.path("blob"));
    let outcome = halted.resume();
    (sandbox, outcome)
}

fn set_len(path: &Path, len: u64) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(len).unwrap();
}

#[test]
fn a_blob_that_shrinks_while_it_is_read_is_refused() {
    for len in [0, 1, 3_000_000, 4_999_999] {
        let words = "make new.caibx blob -s store";
        let (sandbox, outcome) = make_while(words, |blob| set_len(blob, len));
        outcome.fails(&["blob", "shrank from 5000000 to", &len.to_string()]);
        assert_eq!(sandbox.read("new.caibx"), b"what was there before");
        let files = sandbox.files(".");
        assert!(files.iter().all(|name| !name.contains("tmp")), "{files:?}");
    }
}

#[test]
fn a_blob_that_grows_while_it_is_read_is_refused() {
    for len in [5_000_001, 50_000_000] {
        let words = "make new.caibx blob";
        let (sandbox, outcome) = make_while(words, |blob| set_len(blob, len));
        outcome.fails(&["blob", "grew from 5000000 to", &len.to_string()]);
        assert_eq!(sandbox.files("."), ["blob", "new.caibx"]);
        assert_eq!(sandbox.read("new.caibx"), b"what was there before");
    }
}

#[test]
fn a_blob_modified_while_it_is_read_is_refused() {
    for (at, options) in [(0, ""), (2_500_000, "-n 1"), (4_999_999, "-s store")] {
        let words = format!("make new.caibx blob {options}");
        let (sandbox, outcome) = make_while(&words, |blob| {
            let file = File::options().write(true).open(blob).unwrap();
            file.write_all_at(b"!", at).unwrap();
        });
        outcome.fails(&["blob", "was modified while it was read"]);
        assert_eq!(sandbox.read("new.caibx"), b"what was there before");
        let files = sandbox.files(".");
        assert!(files.iter().all(|name| !name.contains("tmp")), "{files:?}");
    }
}

#[test]
fn a_blob_replaced_while_it_is_read_is_read_as_it_was() {
    let (sandbox, outcome) = make_while("make new.caibx blob -s store", |blob| {
        fs::rename(blob, blob.with_file_name("old")).unwrap();
        fs::write(blob, b"another blob").unwrap();
    });
    outcome.succeeds();
    sandbox.cairn("verify-index new.caibx old").succeeds_silently();
}

#[test]
fn a_blob_cut_short_under_verify_index_ends_nothing_by_a_signal() {
    let blob = random(6, 20_000_000);
    let sandbox = Sandbox::with_store(&blob);
    let file = File::options().write(true).open(sandbox.path("blob")).unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                file.set_len(1_000_000).unwrap();
                file.write_all_at(&blob[1_000_000..], 1_000_000).unwrap();
                thread::sleep(Duration::from_millis(5));
            }
        });
        for _ in 0..40 {
            let outcome = sandbox.cairn("verify-index blob.caibx blob");
            // Whole, of another size, or torn in the middle: but looked at to an end.
            assert!(matches!(outcome.code, Some(0 | 1)), "{outcome:?}");
        }
        over.store(true, Ordering::Relaxed);
    });
    sandbox.cairn("verify-index blob.caibx blob").succeeds_silently();
}

#[test]
fn a_signal_ends_make_without_an_index() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let sandbox = Sandbox::with_blob(&random(2, 5_000_000));
        let halted = Halted::start(&sandbox, "make new.caibx blob -s store", "blob");
        halted.signal(signal);
        let outcome = halted.resume();
        assert_eq!(outcome.code, Some(code));
        assert_eq!(outcome.stderr, "error: interrupted");
        assert_eq!(sandbox.files("."), ["blob"]);
    }
}

#[test]
fn a_signal_ends_extract_and_leaves_the_output() {
    let sandbox = Sandbox::with_store(&random(3, 5_000_000));
    sandbox.write("out", b"what was there before");
    let before = sandbox.snapshot();
    let words = "extract blob.caibx out -s store";
    let halted = Halted::start(&sandbox, words, ".out.");
    halted.signal(Signal::INT);
    let outcome = halted.resume();
    assert_eq!(outcome.code, Some(130));
    assert_eq!(outcome.stderr.lines().last(), Some("error: interrupted"));
    sandbox.is_as(&before, "an interrupted extract");
}

#[test]
fn a_signal_that_was_ignored_from_the_start_ends_nothing() {
    // As `nohup` and shells that start a job in the background do it.
    for (name, signal) in [("HUP", Signal::HUP), ("INT", Signal::INT)] {
        let sandbox = Sandbox::with_blob(&random(4, 5_000_000));
        let ignoring = format!("trap '' {name}");
        let command = sandbox.command_after(&ignoring, "make new.caibx blob -s store");
        let halted = Halted::of(&sandbox, command, "blob");
        halted.signal(signal);
        halted.signal(signal);
        halted.resume().succeeds_silently();
        sandbox.cairn("verify-index new.caibx blob").succeeds_silently();
    }
}

#[test]
fn the_first_signal_ends_what_waits_for_an_index() {
    let sandbox = Sandbox::with_store(&random(5, 100_000));
    let made = Command::new("mkfifo").arg(sandbox.path("fifo")).status();
    assert!(made.unwrap().success());
    for words in ["list-chunks fifo", "verify-index fifo blob", "extract fifo out -s store"] {
        let mut child = sandbox.command(words).stderr(Stdio::piped()).spawn().unwrap();
        // That succeeds as soon as the other end is open, and the index never comes.
        let writer = File::options().write(true).open(sandbox.path("fifo")).unwrap();
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(15), "{words}");
        drop(writer);
    }
    let mut command = sandbox.command("list-chunks -");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let writer = child.stdin.take();
    wait_for_read(&child);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(15));
    drop(writer);
}

#[test]
fn two_extracts_in_place_do_not_meet() {
    let sandbox = Sandbox::with_store(&random(6, 5_000_000));
    sandbox.write("out", &random(7, 5_000_000));
    let words = "extract -k blob.caibx out -s store";
    let first = Halted::start(&sandbox, words, "out");
    sandbox.refuses(words, &["out", "another process is writing to it"]);
    first.resume().succeeds_silently();
    assert!(sandbox.read("out") == sandbox.read("blob"));
}

#[test]
fn what_replaces_a_private_file_is_private_from_the_start() {
    let sandbox = Sandbox::with_store(&random(8, 5_000_000));
    sandbox.write("out", b"what was there before");
    let private = fs::Permissions::from_mode(0o600);
    fs::set_permissions(sandbox.path("out"), private).unwrap();
    let words = "extract blob.caibx out -s store";
    let halted = Halted::of(&sandbox, sandbox.command_after("umask 0", words), ".out.");
    let mode = |name: &str| fs::metadata(sandbox.path(name)).unwrap().mode() & 0o7777;
    let files = sandbox.files(".");
    let temporary = files.iter().find(|name| name.starts_with(".out.")).unwrap();
    assert_eq!(mode(temporary), 0o600);
    halted.resume().succeeds_silently();
    assert_eq!(mode("out"), 0o600);
    assert!(sandbox.read("out") == sandbox.read("blob"));
}
