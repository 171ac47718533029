//! Stores behind a real sshd, with casync, desync and cairn on either side.

#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::sshd::Sshd;
use common::{Outcome, Sandbox, desync_is_here, joined, random, run, text};

const CAIRN: &str = env!("CARGO_BIN_EXE_cairn");

fn content() -> Vec<u8> {
    joined(&[&random(1, 1_500_000), &text(1_000_000), &vec![0; 600_000], &random(1, 300_000)])
}

/// A sandbox, a way to it by ssh, and what runs there.
struct There<'a> {
    sandbox: &'a Sandbox,
    sshd: &'a Sshd,
    remote: &'a str,
}

impl There<'_> {
    /// The URL of something in the sandbox.
    fn url(&self, name: &str) -> String {
        format!("ssh://there{}", self.sandbox.path(name).display())
    }

    /// The same in casync's words.
    fn casync_url(&self, name: &str) -> String {
        format!("there:{}", self.sandbox.path(name).display())
    }

    fn run(&self, mut command: Command) -> Outcome {
        command.env("CASYNC_SSH_PATH", self.sshd.client()).env("CASYNC_REMOTE_PATH", self.remote);
        run(command, None)
    }

    fn cairn(&self, words: &str) -> Outcome {
        self.run(self.sandbox.command(words))
    }

    fn peer(&self, program: &str, words: &str) -> Outcome {
        let mut command = Command::new(program);
        command.args(words.split_whitespace()).current_dir(self.sandbox.path("."));
        command.env("HOME", self.sandbox.path("home")).env_remove("CASYNC_COMPRESSED_CHUNK_SUFFIX");
        self.run(command)
    }
}

#[track_caller]
fn is_the_blob(sandbox: &Sandbox, name: &str) {
    assert!(sandbox.read(name) == sandbox.read("blob"), "{name}");
    fs::remove_file(sandbox.path(name)).unwrap();
}

/// Programs that serve a store.
fn servers(test: &str) -> Vec<&'static str> {
    let mut servers = vec!["casync", CAIRN];
    servers.extend(desync_is_here(test).then_some("desync"));
    servers
}

#[test]
fn stores_are_read_whoever_serves_them() {
    let (sandbox, sshd) = (Sandbox::with_store(&content()), Sshd::start());
    for remote in servers("stores_are_read_whoever_serves_them") {
        let there = There { sandbox: &sandbox, sshd: &sshd, remote };
        let url = there.url("store");
        there.cairn(&format!("extract -s {url} blob.caibx out")).succeeds_silently();
        is_the_blob(&sandbox, "out");
        there.cairn(&format!("cat -n 3 -s {url} blob.caibx out")).succeeds_silently();
        is_the_blob(&sandbox, "out");
        let told = there.cairn(&format!("info -s {url} blob.caibx")).succeeds();
        let all = sandbox.cairn("info -s store blob.caibx").succeeds();
        assert_eq!(told.text(), all.text());
    }
}

#[test]
fn missing_chunks_are_missing_and_no_failure() {
    let (sandbox, sshd) = (Sandbox::with_store(&content()), Sshd::start());
    let ids = sandbox.ids("blob.caibx");
    let gone = format!("store/{}/{}.cacnk", &ids[3][..4], ids[3]);
    fs::create_dir_all(sandbox.path("rest").join(&ids[3][..4])).unwrap();
    let moved = sandbox.path("rest").join(&gone["store/".len()..]);
    fs::rename(sandbox.path(&gone), moved).unwrap();
    for remote in servers("missing_chunks_are_missing_and_no_failure") {
        let there = There { sandbox: &sandbox, sshd: &sshd, remote };
        let (url, rest) = (there.url("store"), there.url("rest"));
        there
            .cairn(&format!("extract -s {url} blob.caibx out"))
            .fails(&[&format!("chunk {} is missing from store {url}", ids[3])]);
        // A store that does not have it does not hide the one behind.
        there.cairn(&format!("extract -s {url} -s {rest} blob.caibx out")).succeeds_silently();
        is_the_blob(&sandbox, "out");
        let told = there.cairn(&format!("info -s {url} -s {rest} blob.caibx")).succeeds();
        let all = sandbox.cairn("info -s store -s rest blob.caibx").succeeds();
        assert_eq!(told.text(), all.text());
    }
}

#[test]
fn stores_are_written_whoever_keeps_them() {
    let (sandbox, sshd) = (Sandbox::with_store(&content()), Sshd::start());
    sandbox.write("more", &joined(&[&content(), &random(7, 500_000)]));
    for (remote, store) in [("casync", "at casync's"), (CAIRN, "at cairn's")] {
        let there = There { sandbox: &sandbox, sshd: &sshd, remote };
        let url = there.url(store).replace(' ', "%20");
        there.cairn(&format!("make -s {url} theirs.caibx blob")).succeeds_silently();
        assert_eq!(sandbox.read("theirs.caibx"), sandbox.read("blob.caibx"));
        assert_eq!(sandbox.files(store), sandbox.files("store"), "{remote}");
        for name in sandbox.files("store") {
            let (here, there) = (format!("store/{name}"), format!("{store}/{name}"));
            assert!(sandbox.read(&here) == sandbox.read(&there), "{name}");
        }
        // Only what is new is brought.
        let stats = there.cairn(&format!("make -s {url} more.caibx more")).succeeds();
        assert_eq!((stats.text(), &stats.stderr[..]), ("", ""));
        let fresh = sandbox.files(store).len() - sandbox.files("store").len();
        assert!((1..20).contains(&fresh), "{fresh} new chunks");
        // The other way round, and chunks from one far store into another.
        let copy = there.url("copy");
        there.cairn(&format!("cache -s {url} -c {copy} more.caibx")).succeeds();
        there.cairn(&format!("extract -s {copy} more.caibx out")).succeeds_silently();
        assert!(sandbox.read("out") == sandbox.read("more"));
        fs::remove_dir_all(sandbox.path("copy")).unwrap();
        fs::remove_file(sandbox.path("out")).unwrap();
    }
}

#[test]
fn nothing_but_chunks_is_left_where_a_store_is_written() {
    let (sandbox, sshd) = (Sandbox::with_store(&content()), Sshd::start());
    let begun = Instant::now();
    for remote in ["casync", CAIRN] {
        let there = There { sandbox: &sandbox, sshd: &sshd, remote };
        let url = there.url("new");
        there.cairn(&format!("make -s {url} new.caibx blob")).succeeds_silently();
        fs::remove_dir_all(sandbox.path("new")).unwrap();
        // Those of other tests that run beside this one go, too. The other side may need a moment
        // to see that we have gone.
        let mut unfinished: Vec<PathBuf> = unfinished_indexes();
        while !unfinished.is_empty() && begun.elapsed() < Duration::from_secs(20) {
            sleep(Duration::from_millis(10));
            unfinished.retain(|path| path.exists());
        }
        assert_eq!(unfinished, Vec::<PathBuf>::new());
    }
}

fn unfinished_indexes() -> Vec<PathBuf> {
    let paths = fs::read_dir("/tmp").unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.to_string_lossy().contains(".cairn-")).collect()
}

#[test]
fn ids_of_the_other_digest_are_written_too() {
    let (sandbox, sshd) = (Sandbox::with_blob(&content()), Sshd::start());
    for (remote, store) in [("casync", "a"), (CAIRN, "b")] {
        let there = There { sandbox: &sandbox, sshd: &sshd, remote };
        let url = there.url(store);
        let make = format!("make --digest sha256 -s {url} blob.caibx blob");
        there.cairn(&make).succeeds_silently();
        let verify = format!("verify --digest sha256 -s {store}");
        sandbox.cairn(&verify).succeeds();
        there
            .cairn(&format!("extract --digest sha256 -s {url} blob.caibx out"))
            .succeeds_silently();
        is_the_blob(&sandbox, "out");
    }
}

#[test]
fn casync_pulls_from_us() {
    let (sandbox, sshd) = (Sandbox::with_store(&content()), Sshd::start());
    let there = There { sandbox: &sandbox, sshd: &sshd, remote: CAIRN };
    let (store, index) = (there.casync_url("store"), there.casync_url("blob.caibx"));
    for index in [&index[..], "blob.caibx"] {
        let done = there.peer("casync", &format!("extract --store={store} {index} out")).succeeds();
        assert_eq!(done.stderr, "");
        is_the_blob(&sandbox, "out");
    }
    // The index alone.
    there.peer("casync", &format!("extract --store=store {index} out")).succeeds();
    is_the_blob(&sandbox, "out");
}

#[test]
fn casync_pushes_to_us() {
    let (sandbox, sshd) = (Sandbox::with_store(&content()), Sshd::start());
    let there = There { sandbox: &sandbox, sshd: &sshd, remote: CAIRN };
    let (store, index) = (there.casync_url("theirs"), there.casync_url("theirs.caibx"));
    for _ in 0..2 {
        let make = format!("make --store={store} {index} blob");
        let done = there.peer("casync", &make).succeeds();
        assert_eq!(done.stderr, "");
        assert_eq!(sandbox.read("theirs.caibx").len(), sandbox.read("blob.caibx").len());
        assert_eq!(sandbox.files("theirs"), sandbox.files("store"));
        sandbox.cairn("extract -s theirs theirs.caibx out").succeeds_silently();
        is_the_blob(&sandbox, "out");
    }
    assert!(!sandbox.files(".").iter().any(|name| name.contains("tmp")), "something is left");
}

#[test]
fn desync_pulls_from_us() {
    if !desync_is_here("desync_pulls_from_us") {
        return;
    }
    let (sandbox, sshd) = (Sandbox::with_store(&content()), Sshd::start());
    let there = There { sandbox: &sandbox, sshd: &sshd, remote: CAIRN };
    sandbox.cairn("make plain.caibx blob --uncompressed -s plain").succeeds();
    for store in ["store", "plain"] {
        let url = there.url(store);
        there.peer("desync", &format!("extract -n 2 -s {url} blob.caibx out")).succeeds();
        is_the_blob(&sandbox, "out");
    }
}

#[test]
fn the_configuration_there_says_what_the_store_is() {
    let (sandbox, sshd) = (Sandbox::with_blob(&content()), Sshd::start());
    let there = There { sandbox: &sandbox, sshd: &sshd, remote: CAIRN };
    let options = "\"encryption\": true, \"encryption-key\": \"".to_owned() + &"ab".repeat(32);
    let pattern = sandbox.path("sealed").display().to_string();
    let config = format!("{{\"store-options\": {{\"{pattern}\": {{{options}\"}}}}}}");
    let directory = sshd.home().join(".config/cairn");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("config.json"), config).unwrap();
    let url = there.url("sealed");
    there.cairn(&format!("make -s {url} blob.caibx blob")).succeeds_silently();
    let files = sandbox.files("sealed");
    assert!(!files.is_empty() && files.iter().all(|name| name.contains("xchacha20")), "{files:?}");
    there.cairn(&format!("extract -s {url} blob.caibx out")).succeeds_silently();
    is_the_blob(&sandbox, "out");
}

#[test]
fn unknown_hosts_and_commands_are_said() {
    let (sandbox, sshd) = (Sandbox::with_store(&content()), Sshd::start());
    let there = There { sandbox: &sandbox, sshd: &sshd, remote: "casync" };
    let nowhere = "extract -e 0 -s ssh://host.invalid/store blob.caibx out";
    let failed = there.cairn(nowhere);
    assert_eq!(failed.code, Some(1));
    let error = "error: ssh://host.invalid/store: ssh exited with status 255 before it answered";
    assert!(failed.stderr.contains(error), "{}", failed.stderr);
    // ssh's own words come through.
    assert!(failed.stderr.contains("Could not resolve hostname"), "{}", failed.stderr);

    let there = There { remote: "no-such-program", ..there };
    let url = there.url("store");
    let failed = there.cairn(&format!("extract -s {url} blob.caibx out"));
    assert_eq!(failed.code, Some(1));
    let error = "was not found or cannot be run (CASYNC_REMOTE_PATH names it)";
    assert!(failed.stderr.contains(error), "{}", failed.stderr);
    // Nothing of use to try again.
    assert_eq!(failed.stderr.matches("no-such-program").count(), 1, "{}", failed.stderr);
}
