//! Commands that stand still at a known moment, while a test does its mischief.
//!
//! Deterministic, by the first line of progress: cairn prints it when it has opened its input and
//! has read nothing yet. It goes to a pipe that is full, so cairn waits there until the test has
//! made room.

use std::fs;
use std::io::{PipeReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::pipe::fcntl_setpipe_size;
use rustix::process::{Pid, Signal, kill_process};

use super::{Outcome, Sandbox};

/// The least a pipe can hold.
const FILLER: usize = 4096;

/// How lines of progress begin; some phases have no name.
const PROGRESS: [&str; 4] = ["Chunking ", "Storing ", "Attempt 1: ", "  "];

const STEP: Duration = Duration::from_millis(5);

/// A command that stands still.
pub struct Halted {
    child: Child,
    /// The other end of its standard error, which is full.
    stderr: PipeReader,
}

impl Halted {
    /// Starts a command of cairn and waits until it has this file open and stands still.
    pub fn start(sandbox: &Sandbox, words: &str, file: &str) -> Self {
        Self::of(sandbox, sandbox.command(words), file)
    }

    /// The same for a command that is cairn, or becomes it.
    pub fn of(sandbox: &Sandbox, mut command: Command, file: &str) -> Self {
        let (stderr, mut writer) = std::io::pipe().unwrap();
        assert_eq!(fcntl_setpipe_size(&writer, FILLER).unwrap(), FILLER);
        writer.write_all(&[b'#'; FILLER]).unwrap();
        command
            .env("DESYNC_ENABLE_PARSABLE_PROGRESS", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(writer);
        let child = command.spawn().unwrap();
        // The child has the only writing end, so that its end is seen.
        drop(command);
        wait_until(|| has_open(&child, &sandbox.path(file)) && is_in(&child, &WRITE, 2));
        Self { child, stderr }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Makes room in the pipe, and waits for the end.
    pub fn resume(mut self) -> Outcome {
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

/// The numbers of `read` and `write` on x86-64 and on arm64.
const READ: [&str; 2] = ["0", "63"];
const WRITE: [&str; 2] = ["1", "64"];

/// Waits until a command reads from its standard input.
pub fn wait_for_read(child: &Child) {
    wait_until(|| is_in(child, &READ, 0));
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

/// Whether its main thread is inside a system call of these numbers, on this descriptor.
fn is_in(child: &Child, calls: &[&str], descriptor: u32) -> bool {
    let call = fs::read_to_string(format!("/proc/{}/syscall", child.id())).unwrap();
    let mut words = call.split_whitespace();
    words.next().is_some_and(|number| calls.contains(&number))
        && words.next() == Some(&format!("{descriptor:#x}"))
}
