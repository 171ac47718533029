//! An interrupt or a kill at any moment leaves old data whole, and the exit code is honest.
//!
//! Each test runs the program many times and ends it at a different moment: the moments are spread
//! over the time that a whole run takes, so that all phases are hit.

#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use cairn_formats::coding::Decoder;
use cairn_formats::{CodedChunk, Digest, Form};
use rustix::fs::{FlockOperation, flock};

/// How many moments are tried.
const MOMENTS: u32 = 16;

/// Large enough that a run takes a while and many chunks are in flight.
const BLOB_LEN: usize = 12 << 20;

const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

struct Sandbox {
    directory: tempfile::TempDir,
}

impl Sandbox {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut x = 88_172_645_463_325_252_u64;
        let word = || {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            // Half the bytes are zero, so that compression has something to do.
            (x & 0xffff_ffff).to_le_bytes()
        };
        let blob: Vec<u8> = std::iter::repeat_with(word).take(BLOB_LEN / 8).flatten().collect();
        fs::write(directory.path().join("blob"), blob).unwrap();
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn cairn(&self, arguments: &[&str]) -> Child {
        // Whoever runs the tests may have signals ignored, as `nohup` does, and cairn heeds that.
        let mut command = Command::new("env");
        command.args(["--default-signal=HUP,INT,TERM", env!("CARGO_BIN_EXE_cairn")]);
        command.current_dir(&self.directory).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs to the end, which must be a good one; returns how long that took.
    fn run(&self, arguments: &[&str]) -> Duration {
        let began = Instant::now();
        assert!(self.cairn(arguments).wait().unwrap().success(), "{arguments:?}");
        began.elapsed()
    }

    /// Starts the program, ends it after a while, and returns its status and what it said.
    fn end(&self, arguments: &[&str], signal: i32, after: Duration) -> (ExitStatus, String) {
        let child = self.cairn(arguments);
        std::thread::sleep(after);
        // That it has ended by itself already is no failure.
        let mut kill = Command::new("kill");
        kill.arg(format!("-{signal}")).arg(child.id().to_string()).stderr(Stdio::null());
        kill.status().unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status, String::from_utf8(output.stderr).unwrap())
    }

    /// Names in the directory that are not among those expected.
    fn strays(&self, expected: &[&str]) -> Vec<String> {
        let names = fs::read_dir(&self.directory).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !expected.contains(&name.as_str())).collect()
    }
}

/// All files in a store: chunks, which must be whole, and temporary files, which are counted.
fn temporaries_in_store(store: &Path) -> usize {
    let mut temporaries = 0;
    let mut decoder = Decoder::new();
    for directory in fs::read_dir(store).into_iter().flatten() {
        for file in fs::read_dir(directory.unwrap().path()).unwrap() {
            let file = file.unwrap();
            let Some((id, _)) = Form::default().parse(file.file_name().to_str().unwrap()) else {
                temporaries += 1;
                continue;
            };
            let coded = CodedChunk::from_compressed(id, fs::read(file.path()).unwrap()).unwrap();
            coded.open(Digest::default(), &mut decoder, 256 << 10).unwrap();
        }
    }
    temporaries
}

/// A status after a signal that the program catches: it either had ended before, or says so.
fn was_interrupted(status: ExitStatus, said: &str, signal: i32) -> bool {
    if status.success() {
        return false;
    }
    // Before the handlers stand, the system ends the program in its own way.
    if status.signal() != Some(signal) {
        assert_eq!(status.code(), Some(128 + signal), "{said}");
        assert_eq!(said, "error: interrupted\n");
    }
    true
}

#[test]
fn an_interrupted_make_leaves_no_index_and_no_temporary_files() {
    let sandbox = Sandbox::new();
    let make = ["make", "-s", "store", "index.caibx", "blob"];
    let mut whole = sandbox.run(&make);
    let expected = fs::read(sandbox.path("index.caibx")).unwrap();
    let mut interrupted = 0;
    for moment in 0..MOMENTS {
        fs::remove_dir_all(sandbox.path("store")).unwrap();
        fs::write(sandbox.path("index.caibx"), "old").unwrap();
        let signal = if moment % 2 == 0 { SIGINT } else { SIGTERM };
        let (status, said) = sandbox.end(&make, signal, whole * moment / MOMENTS);
        let index = fs::read(sandbox.path("index.caibx")).unwrap();
        if was_interrupted(status, &said, signal) {
            interrupted += 1;
            assert_eq!(index, b"old");
        } else {
            assert_eq!(index, expected);
            // The first run was slower than this one, which had ended: aim earlier.
            whole = whole * 3 / 4;
        }
        assert_eq!(sandbox.strays(&["blob", "store", "index.caibx"]), [""; 0]);
        assert_eq!(temporaries_in_store(&sandbox.path("store")), 0);
        fs::create_dir_all(sandbox.path("store")).unwrap();
    }
    assert!(interrupted > MOMENTS / 3, "only {interrupted} of {MOMENTS} were in time");
    sandbox.run(&make);
    assert_eq!(fs::read(sandbox.path("index.caibx")).unwrap(), expected);
}

#[test]
fn an_interrupted_extract_leaves_the_old_output() {
    let sandbox = Sandbox::new();
    sandbox.run(&["make", "-s", "store", "index.caibx", "blob"]);
    let extract = ["extract", "-s", "store", "index.caibx", "output"];
    let mut whole = sandbox.run(&extract);
    let blob = fs::read(sandbox.path("blob")).unwrap();
    let mut interrupted = 0;
    for moment in 0..MOMENTS {
        fs::write(sandbox.path("output"), "old").unwrap();
        let signal = if moment % 2 == 0 { SIGTERM } else { SIGINT };
        let (status, said) = sandbox.end(&extract, signal, whole * moment / MOMENTS);
        let output = fs::read(sandbox.path("output")).unwrap();
        if was_interrupted(status, &said, signal) {
            interrupted += 1;
            assert_eq!(output, b"old");
        } else {
            assert!(output == blob, "a run that ended well wrote something else");
            whole = whole * 3 / 4;
        }
        assert_eq!(sandbox.strays(&["blob", "store", "index.caibx", "output"]), [""; 0]);
    }
    assert!(interrupted > MOMENTS / 3, "only {interrupted} of {MOMENTS} were in time");
}

#[test]
fn after_a_kill_the_next_run_works_and_clears_what_was_left() {
    let sandbox = Sandbox::new();
    let make = ["make", "-s", "store", "index.caibx", "blob"];
    let extract = ["extract", "-s", "store", "index.caibx", "output"];
    let making = sandbox.run(&make);
    let expected = fs::read(sandbox.path("index.caibx")).unwrap();
    let extracting = sandbox.run(&extract);
    let blob = fs::read(sandbox.path("blob")).unwrap();
    for moment in 0..MOMENTS {
        fs::remove_dir_all(sandbox.path("store")).unwrap();
        fs::remove_file(sandbox.path("index.caibx")).unwrap();
        let (status, _) = sandbox.end(&make, SIGKILL, making * moment / MOMENTS);
        // A process can be killed on its way out, too: what is there must be whole.
        match fs::read(sandbox.path("index.caibx")) {
            Ok(index) => assert!(index == expected),
            Err(_) => assert!(!status.success()),
        }
        // Chunks that have their name are whole; at most one a worker was still without.
        let workers = std::thread::available_parallelism().unwrap().get();
        assert!(temporaries_in_store(&sandbox.path("store")) <= workers);
        sandbox.run(&make);

        fs::write(sandbox.path("output"), "old").unwrap();
        let (status, _) = sandbox.end(&extract, SIGKILL, extracting * moment / MOMENTS);
        let output = fs::read(sandbox.path("output")).unwrap();
        assert!(output == blob || !status.success() && output == b"old");
        sandbox.run(&extract);
        assert!(fs::read(sandbox.path("output")).unwrap() == blob);
        assert_eq!(sandbox.strays(&["blob", "store", "index.caibx", "output"]), [""; 0]);
    }
}

#[test]
fn a_killed_extract_in_place_goes_on_where_it_was() {
    let sandbox = Sandbox::new();
    sandbox.run(&["make", "-s", "store", "index.caibx", "blob"]);
    let extract = ["extract", "-k", "-s", "store", "index.caibx", "output"];
    let whole = sandbox.run(&extract);
    let blob = fs::read(sandbox.path("blob")).unwrap();
    for moment in 0..MOMENTS / 2 {
        let _ = fs::remove_file(sandbox.path("output"));
        sandbox.end(&extract, SIGKILL, whole * moment / (MOMENTS / 2));
        sandbox.run(&extract);
        assert!(fs::read(sandbox.path("output")).unwrap() == blob);
    }
}

#[test]
fn waiting_for_a_pipe_can_be_interrupted() {
    let sandbox = Sandbox::new();
    let fifo = sandbox.path("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // Nobody ever writes to it.
    let make = ["make", "-s", "store", "index.caibx", "fifo"];
    let (status, said) = sandbox.end(&make, SIGINT, Duration::from_millis(300));
    assert!(was_interrupted(status, &said, SIGINT));
    assert!(!sandbox.path("index.caibx").exists());
}

#[test]
fn waiting_for_a_store_can_be_interrupted() {
    let sandbox = Sandbox::new();
    for store in ["store", "full"] {
        fs::create_dir(sandbox.path(store)).unwrap();
    }
    fs::write(sandbox.path("small"), b"a short blob").unwrap();
    for words in ["make small.caibx small", "make -s full small.caibx small"] {
        let words: Vec<&str> = words.split(' ').collect();
        assert!(sandbox.cairn(&words).wait().unwrap().success());
    }
    let store = fs::File::open(sandbox.path("store")).unwrap();
    // As whoever clears up the store holds it.
    flock(&store, FlockOperation::LockExclusive).unwrap();
    for words in [
        "make --log-format text -s store index.caibx blob",
        "chop --log-format text -s store small.caibx small",
        "cache --log-format text -s full -c store small.caibx",
    ] {
        let mut child = sandbox.cairn(&words.split(' ').collect::<Vec<_>>());
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(child.try_wait().unwrap(), None, "{words} did not wait");
        let mut kill = Command::new("kill");
        kill.arg("-INT").arg(child.id().to_string()).status().unwrap();
        let began = Instant::now();
        while child.try_wait().unwrap().is_none() && began.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(50));
        }
        let was_running = child.try_wait().unwrap().is_none();
        if was_running {
            child.kill().unwrap();
        }
        let output = child.wait_with_output().unwrap();
        assert!(!was_running, "{words} went on waiting");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("waiting for another process to clear up the store"), "{said}");
        assert!(!sandbox.path("index.caibx").exists());
    }
}

#[test]
fn nobody_waits_for_a_silent_server_after_an_interrupt() {
    let sandbox = Sandbox::new();
    sandbox.run(&["make", "-s", "store", "blob.caibx", "blob"]);
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let store = format!("http://{}/", server.local_addr().unwrap());
    // A store that never answers, and one that is not there and so is asked again after minutes.
    for (store, is_silent) in [(store.as_str(), true), ("http://127.0.0.1:1/", false)] {
        let words = ["extract", "-b", "10m", "-s", store, "blob.caibx", "out"];
        let child = sandbox.cairn(&words);
        if is_silent {
            let (mut connection, _) = server.accept().unwrap();
            connection.read_exact(&mut [0; 4]).unwrap();
        } else {
            std::thread::sleep(Duration::from_millis(1500));
        }
        let began = Instant::now();
        Command::new("kill").arg("-2").arg(child.id().to_string()).status().unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{output:?}");
        assert_eq!(output.stderr, b"error: interrupted\n");
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        assert_eq!(sandbox.strays(&["blob", "blob.caibx", "store"]), Vec::<String>::new());
    }
}

#[test]
fn nobody_waits_for_a_server_that_takes_an_index_in_silence() {
    let sandbox = Sandbox::new();
    sandbox.run(&["make", "-s", "store", "blob.caibx", "blob"]);
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let index = format!("http://{}/blob.caibx", server.local_addr().unwrap());
    for words in
        [&["make", "-s", "store", &index, "blob"][..], &["extract", "-s", "store", &index, "out"]]
    {
        let child = sandbox.cairn(words);
        let (mut connection, _) = server.accept().unwrap();
        connection.read_exact(&mut [0; 4]).unwrap();
        let began = Instant::now();
        Command::new("kill").arg("-2").arg(child.id().to_string()).status().unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(was_interrupted(output.status, &said, SIGINT), "{words:?}");
        assert!(began.elapsed() < Duration::from_secs(10), "{words:?}: {:?}", began.elapsed());
        assert_eq!(sandbox.strays(&["blob", "blob.caibx", "store"]), Vec::<String>::new());
    }
}
