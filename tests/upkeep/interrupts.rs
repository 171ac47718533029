//! An interrupt never looks like success, and harms nothing.

use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use rustix::process::{Pid, Signal, kill_process};

use super::common::halted::Halted;
use super::common::{Sandbox, random};
use super::stores::{chunks, sorted};

/// How many moments are tried.
const MOMENTS: u32 = 8;

#[test]
fn an_interrupted_chop_or_cache_says_so() {
    for (words, open) in [
        ("chop blob.caibx blob -s target", "blob"),
        ("cache blob.caibx -s store -c target", "target"),
    ] {
        for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
            let sandbox = Sandbox::with_store(&random(1, 8_000_000));
            let halted = Halted::start(&sandbox, words, open);
            halted.signal(signal);
            let done = halted.resume();
            assert_eq!((done.code, done.text()), (Some(code), ""), "{words}");
            assert_eq!(done.stderr, "error: interrupted", "{words}");
            let files = sandbox.files("target");
            assert!(files.iter().all(|name| name.ends_with(".cacnk")), "{files:?}");
            sandbox.cairn("verify -s target").succeeds_silently();
            // And it goes on where it was.
            sandbox.cairn(words).succeeds_silently();
            assert_eq!(chunks(&sandbox, "target"), sorted(sandbox.ids("blob.caibx")));
        }
    }
}

#[test]
fn an_interrupted_verify_index_says_so() {
    let sandbox = Sandbox::with_store(&random(1, 8_000_000));
    // Its last bytes are wrong, so that only an interrupt can end it otherwise.
    sandbox.patch("blob", 7_999_990, b"wrong");
    let words = "verify-index blob.caibx blob";
    sandbox.cairn(words).fails(&["blob: does not match its index"]);
    let halted = Halted::start(&sandbox, words, "blob");
    halted.signal(Signal::INT);
    // It has nothing to clean up, so the system ends it, which shells show as 130.
    assert_eq!(halted.resume().code, None);
}

/// Runs a command, interrupts it after a while, and tells whether that was in time.
fn interrupt(command: &mut Command, after: Duration) -> bool {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = child.spawn().unwrap();
    std::thread::sleep(after);
    // It has not been waited for, so its number is its own even if it has ended.
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    match output.status.code() {
        Some(0) => assert_eq!(said, ""),
        Some(code) => assert_eq!((code, &said[..]), (130, "error: interrupted\n")),
        // Before it catches signals, the system ends it.
        None => assert_eq!(said, ""),
    }
    output.status.code() == Some(130)
}

/// A store with many chunks.
fn many_chunks() -> Sandbox {
    let sandbox = Sandbox::with_blob(&random(1, 16_000_000));
    sandbox.cairn("make blob.caibx blob -s store -m 1:2:4").succeeds();
    sandbox
}

/// Tries several moments in the course of a command. Returns how many were in time.
fn moments(sandbox: &Sandbox, words: &str, whole: Duration) -> usize {
    let in_time = (0..MOMENTS)
        .filter(|moment| interrupt(&mut sandbox.command(words), whole * *moment / MOMENTS));
    in_time.count()
}

#[test]
fn an_interrupted_verify_says_so() {
    let sandbox = many_chunks();
    let words = "verify -s store -r";
    let before = sandbox.snapshot();
    let began = SystemTime::now();
    sandbox.cairn(words).succeeds_silently();
    let whole = began.elapsed().unwrap();
    assert!(moments(&sandbox, words, whole) > 0);
    sandbox.is_as(&before, words);
}

#[test]
fn an_interrupted_prune_keeps_all_that_is_referred_to() {
    let sandbox = many_chunks();
    sandbox.write("part", &sandbox.read("blob")[..4_000_000]);
    sandbox.cairn("make part.caibx part -s store -m 1:2:4").succeeds();
    let part = sorted(sandbox.ids("part.caibx"));
    let words = "prune -y -s store part.caibx";
    let began = SystemTime::now();
    sandbox.cairn("prune --dry-run -s store part.caibx").succeeds();
    // Removing takes several times longer than looking; how many depends on the disk. After a prune that came
    // to its end there is nothing left to interrupt, so all is put back.
    let whole = 4 * began.elapsed().unwrap();
    let mut in_time = 0;
    for moment in (0..MOMENTS).cycle().take(100) {
        let was = interrupt(&mut sandbox.command(words), whole * moment / MOMENTS);
        in_time += usize::from(was);
        let left = chunks(&sandbox, "store");
        assert!(part.iter().all(|id| left.binary_search(id).is_ok()));
        if in_time == 3 {
            break;
        }
        if left == part {
            sandbox.cairn("make blob.caibx blob -s store -m 1:2:4").succeeds();
        }
    }
    assert!(in_time > 0);
    sandbox.cairn(words).succeeds_silently();
    assert_eq!(chunks(&sandbox, "store"), part);
}
