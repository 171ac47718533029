//! Stores on this machine that lack a chunk, or have a damaged one: what of the file can be read nevertheless.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use rustix::io::Errno;

use crate::common::Sandbox;
use crate::common::mounted::{Mounted, is_fuse_here};
use crate::common::system::Mount;
use crate::{Placed, chunk_file, chunks, forget, read_at, scene, some_chunk};

const PAGE: usize = 4096;

/// Checks each page of the file: those that need the chunk are refused, all others are as they should be.
#[track_caller]
pub(crate) fn only_its_pages_are_refused(mounted: &Mounted, content: &[u8], chunk: &Placed) {
    let path = mounted.path("image.raw");
    let file = File::open(&path).unwrap();
    let mut buffer = [0; PAGE];
    let mut refused = 0;
    for at in (0..content.len()).step_by(PAGE) {
        let end = content.len().min(at + PAGE);
        let needs_it = at < chunk.start + chunk.len && end > chunk.start;
        match file.read_exact_at(&mut buffer[..end - at], at as u64) {
            Ok(()) => {
                assert!(!needs_it, "{at} is of {chunk:?}");
                assert!(buffer[..end - at] == content[at..end], "{at}");
            }
            Err(e) => {
                assert!(needs_it, "{at} is not of {chunk:?}: {e}");
                assert_eq!(Errno::from_io_error(&e), Some(Errno::IO));
                refused += 1;
            }
        }
    }
    assert!(refused > 0);
}

/// The lines that say something of a chunk.
fn lines_of(printed: &str, chunk: &Placed) -> usize {
    printed.lines().filter(|line| line.contains(&chunk.id)).count()
}

#[test]
fn without_a_chunk_all_but_its_pages_can_be_read() {
    if !is_fuse_here("without_a_chunk_all_but_its_pages_can_be_read") {
        return;
    }
    let (sandbox, content) = scene();
    let chunk = some_chunk(&sandbox, 8);
    let lost = chunk_file("store", &chunk.id);
    fs::rename(sandbox.path(&lost), sandbox.path("kept")).unwrap();
    let mounted = Mounted::start(&sandbox, "mount-index -s store image.raw.caibx");
    for _ in 0..3 {
        only_its_pages_are_refused(&mounted, &content, &chunk);
        forget(&mounted.path("image.raw"));
    }
    // Whatever was tried, one line says so.
    let printed = mounted.prints(&chunk.id);
    assert_eq!(lines_of(&printed, &chunk), 1, "{printed}");
    assert_eq!(printed.lines().count(), 1, "{printed}");
    assert!(printed.contains("WARN") && printed.contains("is missing from store"), "{printed}");
    // As soon as it is back, nothing is wrong any more.
    fs::rename(sandbox.path("kept"), sandbox.path(&lost)).unwrap();
    assert!(fs::read(mounted.path("image.raw")).unwrap() == content);
    mounted.stop();
}

#[test]
fn a_damaged_chunk_is_never_given_out() {
    if !is_fuse_here("a_damaged_chunk_is_never_given_out") {
        return;
    }
    let (sandbox, content) = scene();
    let chunk = some_chunk(&sandbox, 5);
    let file = chunk_file("store", &chunk.id);
    let good = sandbox.read(&file);
    sandbox.patch(&file, good.len() as u64 / 2, b"damage");
    let mounted = Mounted::start(&sandbox, "mount-index -s store image.raw.caibx");
    for _ in 0..3 {
        only_its_pages_are_refused(&mounted, &content, &chunk);
    }
    // One line is of the chunk in the store, the other of the file that needs it.
    let printed = mounted.prints("cannot be read");
    assert_eq!(printed.matches("chunk is damaged").count(), 1, "{printed}");
    assert_eq!(printed.lines().count(), 2, "{printed}");
    assert_eq!(lines_of(&printed, &chunk), 2, "{printed}");
    // It is repaired.
    sandbox.write(&file, &good);
    assert!(fs::read(mounted.path("image.raw")).unwrap() == content);
    mounted.stop();
}

#[test]
fn another_store_has_what_the_first_lacks_or_has_damaged() {
    if !is_fuse_here("another_store_has_what_the_first_lacks_or_has_damaged") {
        return;
    }
    let (sandbox, content) = scene();
    sandbox.cairn("make other.caibx image.raw -s other").succeeds();
    let (lost, damaged) = (some_chunk(&sandbox, 2), some_chunk(&sandbox, 12));
    fs::remove_file(sandbox.path(&chunk_file("store", &lost.id))).unwrap();
    for (words, harm) in [("-s store -s other", false), ("-s store|other", true)] {
        if harm {
            sandbox.patch(&chunk_file("store", &damaged.id), 20, b"damage");
        }
        let mounted = Mounted::start(&sandbox, &format!("mount-index {words} image.raw.caibx"));
        assert!(fs::read(mounted.path("image.raw")).unwrap() == content, "{words}");
        mounted.stop();
    }
}

#[test]
fn a_cache_is_filled_by_reading_and_then_serves_alone() {
    if !is_fuse_here("a_cache_is_filled_by_reading_and_then_serves_alone") {
        return;
    }
    let (sandbox, content) = scene();
    let mounted = Mounted::start(&sandbox, "mount-index -s store -c cache image.raw.caibx");
    let chunk = some_chunk(&sandbox, 8);
    read_at(&mounted.path("image.raw"), chunk.start, chunk.len).unwrap();
    assert!(sandbox.path(&chunk_file("cache", &chunk.id)).exists());
    assert!(fs::read(mounted.path("image.raw")).unwrap() == content);
    mounted.stop();
    fs::create_dir(sandbox.path("empty")).unwrap();
    let mounted = Mounted::start(&sandbox, "mount-index -s empty -c cache image.raw.caibx");
    assert!(fs::read(mounted.path("image.raw")).unwrap() == content);
    mounted.stop();
}

#[test]
fn prefetching_fills_a_cache_unasked() {
    if !is_fuse_here("prefetching_fills_a_cache_unasked") {
        return;
    }
    let (sandbox, content) = scene();
    // Memory has not room for all of it.
    let words = "mount-index -s store -c cache image.raw.caibx --prefetch --memory 1M";
    let mounted = Mounted::start(&sandbox, words);
    let mut ids: Vec<String> = chunks(&sandbox).into_iter().map(|chunk| chunk.id).collect();
    ids.sort();
    ids.dedup();
    let has = |sandbox: &Sandbox| {
        ids.iter().filter(|id| sandbox.path(&chunk_file("cache", id)).exists()).count()
    };
    crate::common::mounted::wait_until("the last chunk", || has(&sandbox) + 1 >= ids.len());
    mounted.stop();
    fs::remove_dir_all(sandbox.path("store")).unwrap();
    fs::create_dir(sandbox.path("store")).unwrap();
    let mounted = Mounted::start(&sandbox, "mount-index -s store -c cache image.raw.caibx");
    assert!(fs::read(mounted.path("image.raw")).unwrap() == content);
    mounted.stop();
}

#[test]
fn a_cache_on_a_full_disk_only_costs_time() {
    if !is_fuse_here("a_cache_on_a_full_disk_only_costs_time") {
        return;
    }
    let (sandbox, content) = scene();
    let small = Mount::new(&sandbox, "small", 512);
    let words = "mount-index -s store -c small/cache image.raw.caibx --memory 1M";
    let mounted = Mounted::start(&sandbox, words);
    for _ in 0..2 {
        assert!(fs::read(mounted.path("image.raw")).unwrap() == content);
        forget(&mounted.path("image.raw"));
    }
    let printed = mounted.printed();
    assert!(printed.lines().count() <= 1, "{printed}");
    mounted.stop();
    drop(small);
}
