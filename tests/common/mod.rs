//! A place to run cairn and its peers in, and bytes that look random but never change.
//!
//! ```no_run
//! let sandbox = Sandbox::with_blob(&random(1, 1 << 20));
//! sandbox.cairn("make blob.caibx blob -s store").succeeds();
//! sandbox.cairn("extract blob.caibx out -s store").succeeds();
//! ```

#![allow(dead_code, reason = "each test crate uses a part of this")]

pub mod announced;
pub mod azurite;
pub mod environment;
pub mod fault_proxy;
pub mod halted;
pub mod moto;
pub mod mounted;
pub mod nginx;
pub mod rclone;
pub mod registry;
pub mod server;
pub mod sshd;
pub mod stand_in;
pub mod starved;
pub mod system;
pub mod things;
pub mod vector_tree;
pub mod web;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use tempfile::TempDir;

/// No command of a test takes nearly as long: what does hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory of its own in which commands are run, removed in the end.
pub struct Sandbox {
    directory: TempDir,
}

impl Sandbox {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory }
    }

    /// With a file `blob` of these bytes.
    pub fn with_blob(content: &[u8]) -> Self {
        let sandbox = Self::new();
        sandbox.write("blob", content);
        sandbox
    }

    /// With a file `blob` that was made into `blob.caibx` and `store`.
    pub fn with_store(content: &[u8]) -> Self {
        let sandbox = Self::with_blob(content);
        sandbox.cairn("make blob.caibx blob -s store").succeeds();
        sandbox
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, content: &[u8]) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), content).unwrap();
    }

    /// Writes some bytes into a file that is there.
    pub fn patch(&self, name: &str, at: u64, bytes: &[u8]) {
        let file = File::options().write(true).open(self.path(name)).unwrap();
        file.write_all_at(bytes, at).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// A sparse file: so many bytes, all zero but for the data at the given places.
    pub fn sparse(&self, name: &str, len: u64, data: &[(u64, &[u8])]) {
        let file = File::create(self.path(name)).unwrap();
        file.set_len(len).unwrap();
        for (at, bytes) in data {
            file.write_all_at(bytes, *at).unwrap();
        }
    }

    /// The names of all files below a directory, in order; `.` is the sandbox itself.
    pub fn files(&self, directory: &str) -> Vec<String> {
        let root = self.path(directory);
        let mut found = Vec::new();
        walk(&root, &mut |path| found.push(path.to_owned()));
        let mut names: Vec<String> = found
            .iter()
            .map(|path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    }

    /// Everything in the sandbox: names and contents.
    pub fn snapshot(&self) -> BTreeMap<String, Vec<u8>> {
        let names = self.files(".").into_iter();
        names
            .map(|name| {
                let content = fs::read(self.path(&name)).unwrap_or_default();
                (name, content)
            })
            .collect()
    }

    /// The ids of an index, as cairn lists them.
    pub fn ids(&self, index: &str) -> Vec<String> {
        let listed = self.cairn(&format!("list-chunks {index}")).succeeds();
        listed.text().lines().map(str::to_owned).collect()
    }

    /// A command of cairn, its words separated by blanks, not yet started.
    pub fn command(&self, words: &str) -> Command {
        // Whoever runs the tests may have signals ignored, as `nohup` does, and cairn heeds that.
        let mut command = Command::new("env");
        command
            .args(["--default-signal=HUP,INT,TERM", env!("CARGO_BIN_EXE_cairn")])
            .args(words.split_whitespace())
            .current_dir(self.directory.path())
            .env_remove("CASYNC_COMPRESSED_CHUNK_SUFFIX")
            .env("HOME", self.directory.path())
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("DESYNC_ENCRYPTION_KEY")
            .env_remove("DESYNC_HTTP_AUTH")
            .env_remove("DESYNC_ENABLE_PARSABLE_PROGRESS")
            .env_remove("DESYNC_PROGRESSBAR_ENABLED");
        // Servers of the tests are on this machine.
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
            command.env_remove(name).env_remove(name.to_lowercase());
        }
        command
    }

    /// Runs cairn.
    pub fn cairn(&self, words: &str) -> Outcome {
        run(self.command(words), None)
    }

    /// Runs cairn with these bytes on a pipe as its standard input.
    pub fn cairn_with_input(&self, words: &str, input: impl Into<Vec<u8>>) -> Outcome {
        run(self.command(words), Some(input.into()))
    }

    /// Runs cairn with an environment variable.
    pub fn cairn_with_env(&self, words: &str, name: &str, value: &str) -> Outcome {
        let mut command = self.command(words);
        command.env(name, value);
        run(command, None)
    }

    /// Runs cairn with so many KiB of address space, which covers two workers and no more than one
    /// largest chunk each.
    pub fn cairn_with_memory(&self, kib: u64, words: &str) -> Outcome {
        let limit = format!("ulimit -v {kib}");
        run(self.command_after(&limit, &format!("{words} -n 2")), None)
    }

    /// A command that runs some shell script and then becomes cairn.
    pub fn command_after(&self, script: &str, words: &str) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{script} && exec \"$0\" \"$@\"")])
            .arg(env!("CARGO_BIN_EXE_cairn"))
            .args(words.split_whitespace())
            .current_dir(self.directory.path())
            .env("HOME", self.directory.path())
            .env_remove("XDG_CONFIG_HOME");
        command
    }

    /// Runs the real casync.
    pub fn casync(&self, words: &str) -> Outcome {
        run(self.casync_command(words), None)
    }

    /// Runs the real casync with an environment variable.
    pub fn casync_with_env(&self, words: &str, name: &str, value: &str) -> Outcome {
        let mut command = self.casync_command(words);
        command.env(name, value);
        run(command, None)
    }

    fn casync_command(&self, words: &str) -> Command {
        let mut command = Command::new("casync");
        command
            .args(words.split_whitespace())
            .current_dir(self.directory.path())
            .env_remove("CASYNC_COMPRESSED_CHUNK_SUFFIX")
            .env_remove("CASYNC_STORE");
        if let Err(e) = Command::new("casync").arg("--version").output() {
            panic!(
                "these tests run the real casync, and it does not start ({e}): run scripts/test"
            );
        }
        command
    }

    /// Writes the configuration file.
    pub fn configure(&self, content: &str) {
        self.write(".config/desync/config.json", content.as_bytes());
    }

    /// Runs the real desync, which [`desync_is_here`] has found.
    pub fn desync(&self, words: &str) -> Outcome {
        let mut command = Command::new("desync");
        command
            .args(words.split_whitespace())
            .current_dir(self.directory.path())
            .env("HOME", self.path("home"));
        run(command, None)
    }

    /// Runs a command that must fail, and checks that it says so properly and changes nothing:
    /// no file is touched, made or left behind.
    #[track_caller]
    pub fn refuses(&self, words: &str, parts: &[&str]) {
        let before = self.snapshot();
        self.cairn(words).fails(parts);
        self.is_as(&before, words);
    }

    #[track_caller]
    pub fn is_as(&self, before: &BTreeMap<String, Vec<u8>>, words: &str) {
        let after = self.snapshot();
        let names = |snapshot: &BTreeMap<String, Vec<u8>>| -> Vec<String> {
            snapshot.keys().cloned().collect()
        };
        assert_eq!(names(&after), names(before), "files after {words}");
        for (name, content) in before {
            assert!(after[name] == *content, "{words} has changed {name}");
        }
    }
}

/// Whether the real desync is installed. If not, says which test is left out.
#[allow(clippy::print_stderr, reason = "a test that was left out must be seen")]
pub fn desync_is_here(test: &str) -> bool {
    let is_here = Command::new("desync").arg("--help").output().is_ok();
    if !is_here {
        eprintln!("NOT RUN: {test} needs desync, which scripts/install-desync installs");
    }
    is_here
}

fn walk(path: &Path, found: &mut dyn FnMut(&Path)) {
    let entries = fs::read_dir(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    for entry in entries {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), found);
        } else {
            found(&entry.path());
        }
    }
}

/// Runs a command to its end, without input unless some is given.
pub fn run(command: Command, input: Option<Vec<u8>>) -> Outcome {
    let what = format!("{command:?}");
    let mut command = assert_cmd::Command::from_std(command);
    let command = command.timeout(PATIENCE).write_stdin(input.unwrap_or_default());
    let output = command.output().unwrap_or_else(|e| panic!("{what} does not run: {e}"));
    Outcome::new(what, output)
}

/// How a command ended.
#[derive(Debug)]
pub struct Outcome {
    what: String,
    /// `None` if a signal ended it, as is done to one that hangs.
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Outcome {
    pub fn new(what: String, output: Output) -> Self {
        Self {
            what,
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Standard output as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// What a command that failed says of it, without the hint.
    #[track_caller]
    pub fn error(&self) -> &str {
        let first = self.stderr.lines().next();
        first.and_then(|line| line.strip_prefix("error: ")).unwrap()
    }

    #[track_caller]
    pub fn succeeds(self) -> Self {
        assert_eq!(self.code, Some(0), "{}\n{}", self.what, self.stderr);
        self
    }

    /// Checks that it succeeded without a word.
    #[track_caller]
    pub fn succeeds_silently(self) {
        let done = self.succeeds();
        assert_eq!((done.text(), &done.stderr[..]), ("", ""), "{}", done.what);
    }

    /// Checks that it failed in good order: exit code 1, nothing on standard output, one line
    /// `error: …` that has all the parts, and at most one `hint: …` after it.
    #[track_caller]
    pub fn fails(self, parts: &[&str]) -> Self {
        assert_eq!(self.code, Some(1), "{}\n{}", self.what, self.stderr);
        assert!(self.stdout.is_empty(), "{} printed", self.what);
        let lines: Vec<&str> = self.stderr.lines().collect();
        let (error, hints) = lines.split_first().unwrap_or((&"", &[]));
        assert!(error.starts_with("error: "), "{}\n{error}", self.what);
        assert!(
            hints.len() <= 1 && hints.iter().all(|hint| hint.starts_with("hint: ")),
            "{}\n{}",
            self.what,
            self.stderr
        );
        self.has_parts(error, parts);
        self
    }

    /// Checks that it was refused as typed: exit code 2, and one line `error: …` with the parts.
    #[track_caller]
    pub fn misused(self, parts: &[&str]) {
        assert_eq!(self.code, Some(2), "{}\n{}", self.what, self.stderr);
        let errors = self.stderr.lines().filter(|line| line.starts_with("error:"));
        assert_eq!(errors.count(), 1, "{}\n{}", self.what, self.stderr);
        self.has_parts(&self.stderr, parts);
    }

    #[track_caller]
    fn has_parts(&self, text: &str, parts: &[&str]) {
        for part in parts {
            assert!(text.contains(part), "no `{part}` from {}\n{text}", self.what);
        }
    }
}

/// Bytes that do not compress and never repeat, the same for the same seed.
pub fn random(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| next()).collect();
    bytes.truncate(len);
    bytes
}

/// Bytes that compress well: lines of numbered text.
pub fn text(len: usize) -> Vec<u8> {
    let lines = (0_u64..).map(|n| format!("line {n}, of which {} is the square\n", n * n));
    let mut bytes: Vec<u8> = lines.flat_map(String::into_bytes).take(len).collect();
    bytes.truncate(len);
    bytes
}

/// Several parts behind each other.
pub fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}
