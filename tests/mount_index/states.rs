//! What a copy-on-read file and its state are worth at the next mount.

use std::fs;
use std::os::unix::fs::FileExt;

use rustix::process::Signal;

use crate::common::Sandbox;
use crate::common::mounted::{Mounted, is_fuse_here, wait_until};
use crate::stores::only_its_pages_are_refused;
use crate::{Placed, chunks, read_at, scene, some_chunk};

/// A mount that keeps what it reads, and remembers that.
fn kept(store: &str) -> String {
    format!("mount-index -s {store} image.raw.caibx --cor-file copy --cor-state-save state")
}

fn read_chunk(mounted: &Mounted, chunk: &Placed) -> std::io::Result<Vec<u8>> {
    read_at(&mounted.path("image.raw"), chunk.start, chunk.len)
}

/// As [`scene`], with an empty store besides the one that has all chunks.
fn scene_with_empty() -> (Sandbox, Vec<u8>) {
    let (sandbox, content) = scene();
    fs::create_dir(sandbox.path("empty")).unwrap();
    (sandbox, content)
}

#[test]
fn the_next_mount_needs_no_store_for_what_was_read() {
    if !is_fuse_here("the_next_mount_needs_no_store_for_what_was_read") {
        return;
    }
    let (sandbox, content) = scene_with_empty();
    let (read, unread) = (some_chunk(&sandbox, 3), chunks(&sandbox).last().unwrap().clone());
    let mounted = Mounted::start(&sandbox, &kept("store"));
    read_chunk(&mounted, &read).unwrap();
    mounted.stop();
    let mounted = Mounted::start(&sandbox, &kept("empty"));
    assert!(read_chunk(&mounted, &read).unwrap() == content[read.start..][..read.len]);
    assert!(read_chunk(&mounted, &unread).is_err());
    mounted.stop();
    // Unmounted from outside, it remembers as well.
    let mut mounted = Mounted::start(&sandbox, &kept("store"));
    assert!(fs::read(mounted.path("image.raw")).unwrap() == content);
    mounted.unmount();
    assert_eq!(mounted.ends(), Some(0));
    let mounted = Mounted::start(&sandbox, &kept("empty"));
    assert!(fs::read(mounted.path("image.raw")).unwrap() == content);
    mounted.stop();
}

#[test]
fn without_a_state_all_is_fetched_again() {
    if !is_fuse_here("without_a_state_all_is_fetched_again") {
        return;
    }
    let (sandbox, content) = scene_with_empty();
    let words = "image.raw.caibx --cor-file copy";
    let mounted = Mounted::start(&sandbox, &format!("mount-index -s store {words}"));
    assert!(fs::read(mounted.path("image.raw")).unwrap() == content);
    assert!(sandbox.read("copy") == content);
    mounted.stop();
    let mounted = Mounted::start(&sandbox, &format!("mount-index -s empty {words}"));
    assert!(read_chunk(&mounted, &some_chunk(&sandbox, 0)).is_err());
    mounted.stop();
}

#[test]
fn the_state_is_saved_at_sighup_and_outlives_a_kill() {
    if !is_fuse_here("the_state_is_saved_at_sighup_and_outlives_a_kill") {
        return;
    }
    let (sandbox, content) = scene_with_empty();
    let (early, late) = (some_chunk(&sandbox, 2), some_chunk(&sandbox, 20));
    let mut mounted = Mounted::start(&sandbox, &kept("store"));
    read_chunk(&mounted, &early).unwrap();
    assert!(!sandbox.path("state").exists());
    mounted.reload();
    assert!(sandbox.path("state").exists());
    read_chunk(&mounted, &late).unwrap();
    mounted.signal(Signal::KILL);
    assert_eq!(mounted.ends(), None);
    drop(mounted);
    // What came later may be in the file, but nobody vouches for it.
    let mounted = Mounted::start(&sandbox, &kept("empty"));
    assert!(read_chunk(&mounted, &early).unwrap() == content[early.start..][..early.len]);
    assert!(read_chunk(&mounted, &late).is_err());
    mounted.stop();
}

#[test]
fn the_state_of_another_index_is_refused() {
    if !is_fuse_here("the_state_of_another_index_is_refused") {
        return;
    }
    let (sandbox, content) = scene();
    let mounted = Mounted::start(&sandbox, &kept("store"));
    assert!(fs::read(mounted.path("image.raw")).unwrap() == content);
    mounted.stop();
    // As long, and with as many chunks.
    let mut other = content;
    other[1_000_000] ^= 1;
    sandbox.write("image.raw", &other);
    sandbox.cairn("make image.raw.caibx image.raw -s store").succeeds();
    sandbox.refuses(
        &format!("{} mnt", kept("store")),
        &["state: this state was saved for another index", "remove it"],
    );
    fs::remove_file(sandbox.path("state")).unwrap();
    let mounted = Mounted::start(&sandbox, &kept("store"));
    assert!(fs::read(mounted.path("image.raw")).unwrap() == other);
    mounted.stop();
}

#[test]
fn what_somebody_wrote_into_the_file_is_found_out() {
    if !is_fuse_here("what_somebody_wrote_into_the_file_is_found_out") {
        return;
    }
    let (sandbox, content) = scene_with_empty();
    let harmed = some_chunk(&sandbox, 6);
    let mounted = Mounted::start(&sandbox, &kept("store"));
    assert!(fs::read(mounted.path("image.raw")).unwrap() == content);
    mounted.stop();
    sandbox.patch("copy", harmed.start as u64 + 10, b"something else");
    let mounted = Mounted::start(&sandbox, &kept("empty"));
    mounted.prints("are not what they should be");
    only_its_pages_are_refused(&mounted, &content, &harmed);
    mounted.stop();
    let mounted = Mounted::start(&sandbox, &kept("store"));
    assert!(fs::read(mounted.path("image.raw")).unwrap() == content);
    mounted.stop();
    assert!(sandbox.read("copy") == content);
}

#[test]
fn a_damaged_or_foreign_state_file_is_no_obstacle() {
    if !is_fuse_here("a_damaged_or_foreign_state_file_is_no_obstacle") {
        return;
    }
    let (sandbox, content) = scene();
    for state in [&b""[..], b"CAIRNCOR", b"anything else that is no state"] {
        sandbox.write("state", state);
        let mounted = Mounted::start(&sandbox, &kept("store"));
        mounted.prints("is ignored");
        assert!(fs::read(mounted.path("image.raw")).unwrap() == content);
        mounted.stop();
        fs::remove_file(sandbox.path("copy")).unwrap();
    }
}

#[test]
fn a_state_of_elsewhere_has_its_chunks_fetched_unasked() {
    if !is_fuse_here("a_state_of_elsewhere_has_its_chunks_fetched_unasked") {
        return;
    }
    let (sandbox, content) = scene();
    let (wanted, other) = (some_chunk(&sandbox, 5), some_chunk(&sandbox, 20));
    let mounted = Mounted::start(&sandbox, &kept("store"));
    let file = fs::File::open(mounted.path("image.raw")).unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random).unwrap();
    file.read_exact_at(&mut [0; 10], wanted.start as u64 + 5000).unwrap();
    drop(file);
    mounted.stop();
    let words = "image.raw.caibx --cor-file new --cor-state-init state";
    let mounted = Mounted::start(&sandbox, &format!("mount-index -s store {words}"));
    let has = |chunk: &Placed| {
        let new = sandbox.read("new");
        new[chunk.start..][..chunk.len] == content[chunk.start..][..chunk.len]
    };
    wait_until("the chunk", || has(&wanted));
    assert!(!has(&other));
    mounted.stop();
}
