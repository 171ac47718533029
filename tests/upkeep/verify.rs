use std::fs;

use super::common::{Sandbox, desync_is_here, joined, random, text};
use super::stores::place;

#[test]
fn a_good_store_is_verified_without_a_word() {
    let blob = joined(&[&random(1, 3_000_000), &text(1_000_000)]);
    for options in ["", "--uncompressed", "--digest sha256", "-m 1:2:4"] {
        let sandbox = Sandbox::with_blob(&blob);
        sandbox.cairn(&format!("make blob.caibx blob -s store {options}")).succeeds();
        // Plain chunks are of another form, and not looked at.
        let digest = if options.starts_with("--digest") { options } else { "" };
        for more in ["", "-n 1", "-r"] {
            let before = sandbox.snapshot();
            sandbox.cairn(&format!("verify -s store {digest} {more}")).succeeds_silently();
            sandbox.is_as(&before, "verify");
        }
    }
}

#[test]
fn chunks_longer_than_any_by_default_are_verified() {
    let sandbox = Sandbox::with_blob(&joined(&[&random(1, 3_000_000), &vec![0; 5_000_000]]));
    sandbox.cairn("make blob.caibx blob -s store -m 1024:2048:4096").succeeds();
    sandbox.cairn("verify -s store").succeeds_silently();
    assert!(sandbox.ids("blob.caibx").len() <= 8);
    // As casync compresses them.
    sandbox.casync("make --compression=xz --store=theirs theirs.caibx blob").succeeds();
    sandbox.cairn("verify -s theirs").succeeds_silently();
}

/// A store with a chunk of another name, one that is cut off, an empty one, one of no compression.
/// Returns what is to be said about them, in their order.
fn damage(sandbox: &Sandbox, ids: &[String]) -> Vec<String> {
    let copy = |from: &str, to: &str| {
        sandbox.write(&place("store", to), &sandbox.read(&place("store", from)));
    };
    copy(&ids[1], &ids[0]);
    let cut = sandbox.read(&place("store", &ids[2]));
    sandbox.write(&place("store", &ids[2]), &cut[..cut.len() / 2]);
    sandbox.write(&place("store", &ids[3]), b"");
    sandbox.write(&place("store", &ids[4]), b"garbage");
    let mut lines = vec![
        format!("chunk id {} does not match its hash {}", ids[0], ids[1]),
        format!("invalid chunk {}: invalid zstd data: Src size is incorrect", ids[2]),
        format!("invalid chunk {}: invalid zstd data: the file is empty", ids[3]),
        format!(
            "invalid chunk {}: invalid zstd data: it begins with no known compression's magic",
            ids[4]
        ),
    ];
    lines.sort();
    lines
}

fn sorted_lines(stderr: &str) -> (Vec<String>, String) {
    let mut lines: Vec<String> = stderr.lines().map(str::to_owned).collect();
    let last = lines.pop().unwrap();
    lines.sort();
    (lines, last)
}

#[test]
fn bad_chunks_are_named_and_the_exit_code_says_so() {
    let sandbox = Sandbox::with_store(&random(1, 3_000_000));
    let ids = sandbox.ids("blob.caibx");
    let expected = damage(&sandbox, &ids);
    let before = sandbox.snapshot();
    let done = sandbox.cairn("verify -s store");
    assert_eq!((done.code, done.text()), (Some(1), ""));
    let (lines, last) = sorted_lines(&done.stderr);
    assert_eq!(lines, expected);
    assert_eq!(last, format!("error: store: 4 of {} chunks are bad, 0 removed", ids.len()));
    sandbox.is_as(&before, "verify");
}

#[test]
fn repair_removes_bad_chunks_and_nothing_else() {
    let sandbox = Sandbox::with_store(&random(1, 3_000_000));
    let ids = sandbox.ids("blob.caibx");
    let expected: Vec<String> =
        damage(&sandbox, &ids).iter().map(|line| format!("{line}: removed")).collect();
    let mut after = sandbox.snapshot();
    let done = sandbox.cairn("verify -s store --repair");
    assert_eq!((done.code, done.text()), (Some(1), ""));
    let (lines, last) = sorted_lines(&done.stderr);
    assert_eq!(lines, expected);
    assert_eq!(last, format!("error: store: 4 of {} chunks are bad, 4 removed", ids.len()));
    for id in [0, 2, 3, 4] {
        after.remove(&place("store", &ids[id])).unwrap();
    }
    sandbox.is_as(&after, "verify -r");
    sandbox.cairn("verify -s store").succeeds_silently();
    // What is gone is made again.
    sandbox.cairn("make blob.caibx blob -s store").succeeds();
    sandbox.cairn("extract blob.caibx out -s store").succeeds();
}

#[test]
fn the_bad_chunks_are_those_that_desync_names() {
    let sandbox = Sandbox::with_store(&random(1, 3_000_000));
    let ids = sandbox.ids("blob.caibx");
    damage(&sandbox, &ids);
    if !desync_is_here("the_bad_chunks_are_those_that_desync_names") {
        return;
    }
    let theirs = sandbox.desync("verify -s store");
    let ours = sandbox.cairn("verify -s store");
    let names = |stderr: &str| {
        let lines = stderr.lines().filter(|line| !line.starts_with("error: "));
        // The causes are in the decoders' own words.
        let mut names: Vec<String> =
            lines.map(|line| line.split(": ").next().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&ours.stderr), names(&theirs.stderr));
    assert_eq!(names(&ours.stderr).len(), 4);
}

#[test]
fn a_chunk_in_the_wrong_directory_is_a_stray() {
    let sandbox = Sandbox::with_store(&random(1, 1_000_000));
    let id = sandbox.ids("blob.caibx").remove(0);
    // The good one of this name, where it belongs, must stay.
    sandbox.write(&format!("store/0000/{id}.cacnk"), b"garbage");
    sandbox.write(&format!("store/{id}.cacnk"), b"garbage");
    sandbox.write(&format!("store/{}/README", &id[..4]), b"stray");
    fs::create_dir(sandbox.path(&format!("store/{}/{}.cacnk", &id[..4], "0".repeat(64)))).unwrap();
    let before = sandbox.snapshot();
    sandbox.cairn("verify -s store -r").succeeds_silently();
    sandbox.is_as(&before, "verify -r");
}

#[test]
fn the_other_digest_finds_all_chunks_bad() {
    let sandbox = Sandbox::with_store(&random(1, 500_000));
    let count = sandbox.ids("blob.caibx").len();
    let done = sandbox.cairn("verify -s store --digest sha256");
    assert_eq!(done.code, Some(1));
    let last = format!("error: store: {count} of {count} chunks are bad, 0 removed\n");
    assert!(done.stderr.ends_with(&last), "{}", done.stderr);
}

#[test]
fn a_forgotten_digest_does_not_empty_a_store() {
    let sandbox = Sandbox::with_blob(&random(1, 500_000));
    sandbox.cairn("--digest sha256 make blob.caibx blob -s store").succeeds();
    let damaged = sandbox.files("store").remove(0);
    sandbox.write(&format!("store/{damaged}"), b"garbage");
    let mut after = sandbox.snapshot();
    let done = sandbox.cairn("verify -s store -r");
    assert_eq!(done.code, Some(1));
    let count = sandbox.files("store").len() + 1;
    let (lines, last) = sorted_lines(&done.stderr);
    assert_eq!(last, format!("error: store: {count} of {count} chunks are bad, 1 removed"));
    let named = ": it is named by its sha256, see --digest";
    assert_eq!(lines.iter().filter(|line| line.ends_with(named)).count(), count - 1);
    after.remove(&format!("store/{damaged}")).unwrap();
    sandbox.is_as(&after, "verify -r");
}

#[test]
fn a_bomb_is_a_bad_chunk() {
    let sandbox = Sandbox::new();
    // 200 MiB, which is more than any chunk has.
    let bomb = zstd_zeros(200 << 20);
    let id = "ab".repeat(32);
    sandbox.write(&place("store", &id), &bomb);
    let done = sandbox.cairn_with_memory(2_000_000, "verify -s store");
    assert_eq!(done.code, Some(1));
    let line = format!("invalid chunk {id}: it has more than 134217728 bytes\n");
    assert_eq!(done.stderr, line + "error: store: 1 of 1 chunks are bad, 0 removed\n");
}

/// A frame of blocks of one repeated byte each.
fn zstd_zeros(len: usize) -> Vec<u8> {
    const BLOCK: usize = 128 << 10;
    // Magic, a window of 128 KiB, no content size.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 7 << 3];
    for number in 1..=len / BLOCK {
        let is_last = usize::from(number == len / BLOCK);
        let header = (BLOCK << 3 | 1 << 1 | is_last) as u32;
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}

#[test]
fn places_that_are_no_store_are_refused() {
    let sandbox = Sandbox::with_blob(b"no store");
    sandbox.refuses("verify -s nowhere", &["cannot open store nowhere"]);
    sandbox.refuses("verify -s blob", &["blob: the store is not a directory"]);
    sandbox.refuses("verify -s http://host/", &["http://host/: not a store on this machine"]);
    sandbox.refuses("verify -s http://host/ -r", &["http://host/"]);
    sandbox.cairn("verify").misused(&["--store"]);
    sandbox.cairn("verify -s a -n 0").misused(&["0"]);
    fs::create_dir(sandbox.path("empty")).unwrap();
    sandbox.cairn("verify -s empty").succeeds_silently();
}

#[test]
fn repair_waits_for_nobody() {
    let sandbox = Sandbox::with_store(&random(1, 500_000));
    let writer = super::prune::Writer::start(&sandbox);
    sandbox.cairn("verify -s store").succeeds_silently();
    let why = ["store: another process is writing to the store"];
    let refused = sandbox.cairn("verify -s store -r").fails(&why);
    assert!(refused.stderr.contains("hint: wait until it is done"), "{}", refused.stderr);
    writer.finish();
    sandbox.cairn("verify -s store -r").succeeds_silently();
}
