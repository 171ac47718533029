//! Blobs that change while they are read, and users who change their mind.
//!
//! Deterministic, by the first line of progress: cairn prints it when it has opened its input and
//! has read nothing yet. It goes to a pipe that is full, so cairn waits there until the test has
//! done its mischief.

use std::fs::{self, File};
use std::io::{PipeReader, Read, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::pipe::fcntl_setpipe_size;
use rustix::process::{Pid, Signal, kill_process};

use super::common::{Outcome, Sandbox, random};

/// The least a pipe can hold.
const FILLER: usize = 4096;

/// How lines of progress begin.
const PROGRESS: [&str; 3] = ["Chunking ", "Storing ", "Attempt 1: "];

const STEP: Duration = Duration::from_millis(5);

/// A command that stands still.
struct Halted {
    child: Child,
    /// The other end of its standard error, which is full.
    stderr: PipeReader,
}

impl Halted {
    /// Starts a command and waits until it has this file open and stands still.
    fn start(sandbox: &Sandbox, words: &str, file: &str) -> Self {
        let (stderr, mut writer) = std::io::pipe().unwrap();
        assert_eq!(fcntl_setpipe_size(&writer, FILLER).unwrap(), FILLER);
        writer.write_all(&[b'#'; FILLER]).unwrap();
        let mut command = sandbox.command(words);
        command
            .env("DESYNC_ENABLE_PARSABLE_PROGRESS", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(writer);
        let child = command.spawn().unwrap();
        // The child has the only writing end, so that its end is seen.
        drop(command);
        wait_until(|| has_open(&child, &sandbox.path(file)) && is_writing_to_stderr(&child));
        Self { child, stderr }
    }

    /// Makes room in the pipe, and waits for the end.
    fn resume(mut self) -> Outcome {
        let mut output = Vec::new();
        self.stderr.read_exact(&mut [0; FILLER]).unwrap();
        self.stderr.read_to_end(&mut output).unwrap();
        let mut done = self.child.wait_with_output().unwrap();
        done.stderr = output;
        let mut outcome = Outcome::new("the halted command".to_owned(), done);
        // Only what is no progress.
        let lines = outcome.stderr.lines();
        let lines: Vec<&str> =
            lines.filter(|line| !PROGRESS.iter().any(|word| line.starts_with(word))).collect();
        outcome.stderr = lines.join("\n");
        outcome
    }
}

fn wait_until(mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(30), "it never came");
        sleep(STEP);
    }
}

/// Whether it has a file open whose path begins like this.
fn has_open(child: &Child, file: &Path) -> bool {
    let file = file.parent().unwrap().canonicalize().unwrap().join(file.file_name().unwrap());
    let file = file.to_str().unwrap();
    let open = fs::read_dir(format!("/proc/{}/fd", child.id())).unwrap();
    open.flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|target| target.to_str().unwrap().starts_with(file))
}

/// Whether its main thread is inside `write(2, …)`.
fn is_writing_to_stderr(child: &Child) -> bool {
    let call = fs::read_to_string(format!("/proc/{}/syscall", child.id())).unwrap();
    let mut words = call.split(' ');
    // By the numbers of x86-64 and of arm64.
    matches!(words.next(), Some("1" | "64")) && words.next() == Some("0x2")
}

/// Makes of `blob` what `change` has left of it while the command stood still.
fn make_while(words: &str, change: impl FnOnce(&Path)) -> (Sandbox, Outcome) {
    let sandbox = Sandbox::with_blob(&random(1, 5_000_000));
    sandbox.write("new.caibx", b"what was there before");
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
fn a_blob_replaced_while_it_is_read_is_read_as_it_was() {
    let (sandbox, outcome) = make_while("make new.caibx blob -s store", |blob| {
        fs::rename(blob, blob.with_file_name("old")).unwrap();
        fs::write(blob, b"another blob").unwrap();
    });
    outcome.succeeds();
    sandbox.cairn("verify-index new.caibx old").succeeds_silently();
}

#[test]
fn a_signal_ends_make_without_an_index() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let sandbox = Sandbox::with_blob(&random(2, 5_000_000));
        let halted = Halted::start(&sandbox, "make new.caibx blob -s store", "blob");
        kill_process(Pid::from_child(&halted.child), signal).unwrap();
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
    kill_process(Pid::from_child(&halted.child), Signal::INT).unwrap();
    let outcome = halted.resume();
    assert_eq!(outcome.code, Some(130));
    assert_eq!(outcome.stderr.lines().last(), Some("error: interrupted"));
    sandbox.is_as(&before, "an interrupted extract");
}
