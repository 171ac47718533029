//! The file that `extract` leaves: holes, mode, owner, links.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use super::common::{Sandbox, joined, random};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn zeros_become_holes_in_a_new_file() {
    let content = joined(&[&random(1, 300_000), &vec![0; 8 << 20], &random(2, 300_000)]);
    let sandbox = Sandbox::with_store(&content);
    for before in [None, Some(random(3, 1 << 20))] {
        if let Some(before) = before {
            sandbox.write("out", &before);
        }
        sandbox.cairn("extract blob.caibx out -s store").succeeds();
        assert!(sandbox.read("out") == content);
        let used = fs::metadata(sandbox.path("out")).unwrap().blocks() * 512;
        assert!(used < 3 << 20, "{used} bytes on the disk");
    }
}

#[test]
fn holes_of_any_length_are_not_read() {
    const LEN: u64 = 50 << 30;
    const ZEROS: u64 = 256 << 10;
    let sandbox = Sandbox::new();
    sandbox.sparse("zeros", ZEROS, &[]);
    sandbox.cairn("make zeros.caibx zeros").succeeds();
    sandbox.sparse("blob", LEN, &[]);
    let start = Instant::now();
    sandbox.cairn("make blob.caibx blob -s store").succeeds_silently();
    sandbox.cairn("extract blob.caibx out -s store").succeeds_silently();
    assert!(start.elapsed() < Duration::from_secs(20));
    let out = fs::metadata(sandbox.path("out")).unwrap();
    assert_eq!((out.len(), out.blocks()), (LEN, 0));

    let short = sandbox.read("zeros.caibx");
    let mut expected = short[..64].to_vec();
    for end in (1..=LEN / ZEROS).map(|number| number * ZEROS) {
        expected.extend(end.to_le_bytes());
        expected.extend(&short[72..104]);
    }
    for word in [0, 0, 48, 16 + 40 * (LEN / ZEROS + 1)] {
        expected.extend(u64::to_le_bytes(word));
    }
    expected.extend(&short[short.len() - 8..]);
    assert!(sandbox.read("blob.caibx") == expected);
    assert_eq!(sandbox.files("store").len(), 1);
}

#[test]
fn a_little_data_in_huge_holes_comes_back() {
    let data = random(4, 700_000);
    let sandbox = Sandbox::new();
    let places = [(3 << 30, &data[..]), ((7 << 30) + 12_345, &data[..1])];
    sandbox.sparse("blob", 8 << 30, &places);
    sandbox.cairn("make blob.caibx blob -s store").succeeds();
    sandbox.cairn("extract blob.caibx out -s store").succeeds();
    let out = fs::File::open(sandbox.path("out")).unwrap();
    assert_eq!(out.metadata().unwrap().len(), 8 << 30);
    assert!(out.metadata().unwrap().blocks() * 512 < 4 << 20);
    for (at, bytes) in places {
        let mut there = vec![0; bytes.len() + 2];
        std::os::unix::fs::FileExt::read_exact_at(&out, &mut there, at - 1).unwrap();
        assert!(there == joined(&[&[0], bytes, &[0]]), "at {at}");
    }
}

#[test]
fn a_new_file_has_the_mode_that_the_umask_leaves() {
    let sandbox = Sandbox::with_store(&random(5, 100_000));
    for (mask, expected) in [("022", 0o644), ("077", 0o600), ("000", 0o666)] {
        let mut command = std::process::Command::new("sh");
        let script = format!("umask {mask} && exec \"$0\" extract blob.caibx new -s store");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_cairn")]).current_dir(sandbox.path(""));
        assert!(command.status().unwrap().success());
        assert_eq!(mode(&sandbox.path("new")), expected);
        fs::remove_file(sandbox.path("new")).unwrap();
    }
}

#[test]
fn a_replaced_file_keeps_its_mode_and_owner() {
    let sandbox = Sandbox::with_store(&random(6, 100_000));
    let out = sandbox.path("out");
    for bits in [0o600, 0o444, 0o4755, 0o2750] {
        sandbox.write("out", b"what was there before");
        if rustix::process::geteuid().is_root() {
            chown(&out, Some(1234), Some(5678)).unwrap();
        }
        fs::set_permissions(&out, fs::Permissions::from_mode(bits)).unwrap();
        let before = fs::metadata(&out).unwrap();
        sandbox.cairn("extract blob.caibx out -s store").succeeds_silently();
        let after = fs::metadata(&out).unwrap();
        assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
        assert_eq!(mode(&out), bits);
        assert_ne!(after.ino(), before.ino());
        assert!(sandbox.read("out") == sandbox.read("blob"));
        fs::remove_file(&out).unwrap();
    }
}

#[test]
fn a_link_as_the_output_is_replaced_and_its_target_stays() {
    let sandbox = Sandbox::with_store(&random(7, 100_000));
    sandbox.write("target", b"what was there before");
    for target in ["target", "nowhere"] {
        symlink(target, sandbox.path("out")).unwrap();
        sandbox.cairn("extract blob.caibx out -s store").succeeds_silently();
        assert!(!sandbox.path("out").is_symlink());
        assert!(sandbox.read("out") == sandbox.read("blob"));
        fs::remove_file(sandbox.path("out")).unwrap();
    }
    assert_eq!(sandbox.read("target"), b"what was there before");
    assert!(!sandbox.path("nowhere").exists());
}

#[test]
fn other_names_of_a_replaced_file_stay_as_they_were() {
    let sandbox = Sandbox::with_store(&random(8, 100_000));
    sandbox.write("other", b"what was there before");
    fs::hard_link(sandbox.path("other"), sandbox.path("out")).unwrap();
    sandbox.cairn("extract blob.caibx out -s store").succeeds();
    assert_eq!(sandbox.read("other"), b"what was there before");
}

#[test]
fn the_output_may_have_any_name() {
    let sandbox = Sandbox::with_store(&random(9, 100_000));
    fs::create_dir(sandbox.path("below")).unwrap();
    let long = "n".repeat(230);
    for name in ["below/out", "./out", "below/../second", ".hidden", &long] {
        sandbox.cairn(&format!("extract blob.caibx {name} -s store")).succeeds_silently();
        assert!(sandbox.read(name) == sandbox.read("blob"), "{name}");
        sandbox.cairn(&format!("make {name} blob")).succeeds_silently();
    }
}

#[test]
fn the_output_may_have_the_longest_name() {
    let sandbox = Sandbox::with_store(&random(11, 100_000));
    let name = "n".repeat(255);
    sandbox.cairn(&format!("extract blob.caibx {name} -s store")).succeeds_silently();
}

#[test]
fn a_pipe_by_the_name_of_a_temporary_file_does_no_harm() {
    let sandbox = Sandbox::with_store(&random(12, 100_000));
    let pipe = sandbox.path(".out.cairn-tmp-1");
    let made = std::process::Command::new("mkfifo").arg(pipe).status();
    assert!(made.unwrap().success());
    sandbox.cairn("extract blob.caibx out -s store").succeeds_silently();
}

#[test]
fn zeros_in_place_are_not_read() {
    let sandbox = Sandbox::new();
    sandbox.sparse("blob", 20 << 30, &[(1 << 30, &random(13, 100_000))]);
    sandbox.cairn("make blob.caibx blob -s store").succeeds();
    let start = Instant::now();
    sandbox.cairn("extract -k blob.caibx blob -s store").succeeds_silently();
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn what_a_killed_run_left_is_removed_by_the_next() {
    let sandbox = Sandbox::with_store(&random(10, 100_000));
    sandbox.write(".out.cairn-tmp-12345", b"left by a killed run");
    sandbox.cairn("extract blob.caibx out -s store").succeeds();
    let files = sandbox.files(".");
    assert!(files.iter().all(|name| !name.contains("tmp")), "{files:?}");
}
