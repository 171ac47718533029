//! Copy on read: the file that has what was read, and the kernel that reads it itself once it has everything.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::common::mounted::{Mounted, is_fuse_here, wait_until};
use crate::common::system::Mount;
use crate::{chunks, forget, read_at, scene, some_chunk};

/// Where the chunks of a state are, as a set of bits, and what is behind them.
const HEAD: usize = 112;
const CHECKSUM: usize = 32;

#[test]
fn what_was_read_is_in_the_file_and_is_fetched_once() {
    if !is_fuse_here("what_was_read_is_in_the_file_and_is_fetched_once") {
        return;
    }
    let (sandbox, content) = scene();
    let words = "mount-index -s store image.raw.caibx --cor-file copy --memory 1M";
    let mounted = Mounted::start(&sandbox, words);
    let (chunk, file) = (some_chunk(&sandbox, 4), mounted.path("image.raw"));
    assert_eq!(sandbox.read("copy").len(), content.len());
    read_at(&file, chunk.start, chunk.len).unwrap();
    assert!(
        sandbox.read("copy")[chunk.start..][..chunk.len] == content[chunk.start..][..chunk.len]
    );
    assert!(fs::read(&file).unwrap() == content);
    assert!(sandbox.read("copy") == content);
    // Zeros take no room.
    let room = fs::metadata(sandbox.path("copy")).map(|found| {
        use std::os::unix::fs::MetadataExt;
        found.blocks() * 512
    });
    assert!(room.unwrap() < content.len() as u64 - 1_000_000);
    fs::remove_dir_all(sandbox.path("store")).unwrap();
    forget(&file);
    assert!(fs::read(&file).unwrap() == content);
    mounted.stop();
}

#[test]
fn the_kernel_reads_a_complete_file_itself() {
    let name = "the_kernel_reads_a_complete_file_itself";
    if !is_fuse_here(name) || !has_passthrough(name) {
        return;
    }
    let (sandbox, content) = scene();
    // The kernel does it on no file system that lies on another one, as those of containers do.
    let memory = Mount::new(&sandbox, "memory", 20 << 10);
    let mounted = Mounted::start(
        &sandbox,
        "mount-index -s store image.raw.caibx --cor-file memory/copy --cor-state-save state --prefetch",
    );
    let all = chunks(&sandbox).len() as u32;
    wait_until("the last chunk", || {
        mounted.reload();
        let state = sandbox.read("state");
        let marked = &state[HEAD..state.len() - CHECKSUM];
        marked.iter().map(|byte| byte.count_ones()).sum::<u32>() == all
    });
    let file = File::open(mounted.path("image.raw")).unwrap();
    let another = File::open(mounted.path("image.raw")).unwrap();
    // Nobody answers any more.
    mounted.signal(Signal::STOP);
    let (done, read) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = vec![0; content.len()];
        let outcome = file.read_exact_at(&mut bytes, 0).is_ok() && bytes == content;
        let _ = done.send(outcome && another.read_at(&mut bytes, 4_000_000).is_ok());
    });
    let outcome = read.recv_timeout(Duration::from_secs(10));
    mounted.signal(Signal::CONT);
    assert_eq!(outcome, Ok(true));
    mounted.stop();
    drop(memory);
}

/// Whether the kernel can read files of FUSE itself. If not, says which test is left out.
#[allow(clippy::print_stderr, reason = "a test that was left out must be seen")]
fn has_passthrough(test: &str) -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let numbers: Vec<u32> =
        release.split(['.', '-']).take(2).filter_map(|number| number.parse().ok()).collect();
    let has = numbers >= vec![6, 9];
    if !has {
        eprintln!("NOT RUN: {test} needs Linux 6.9");
    }
    has
}

#[test]
fn who_opened_it_before_it_was_complete_reads_on() {
    if !is_fuse_here("who_opened_it_before_it_was_complete_reads_on") {
        return;
    }
    let (sandbox, content) = scene();
    let memory = Mount::new(&sandbox, "memory", 20 << 10);
    let words = "mount-index -s store image.raw.caibx --cor-file memory/copy";
    let mounted = Mounted::start(&sandbox, words);
    let early = File::open(mounted.path("image.raw")).unwrap();
    early.read_exact_at(&mut [0; 10], 0).unwrap();
    assert!(fs::read(mounted.path("image.raw")).unwrap() == content);
    // Now it is complete: further ones come while the first is there, and stay when it is not.
    let late: Vec<File> = (0..10).map(|_| File::open(mounted.path("image.raw")).unwrap()).collect();
    let has_all = |file: &File| {
        let mut bytes = vec![0; content.len()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert!(bytes == content);
    };
    has_all(&early);
    drop(early);
    late.iter().for_each(has_all);
    drop(late);
    forget(&mounted.path("image.raw"));
    assert!(fs::read(mounted.path("image.raw")).unwrap() == content);
    mounted.stop();
    drop(memory);
}

#[test]
fn two_mounts_do_not_share_a_file() {
    if !is_fuse_here("two_mounts_do_not_share_a_file") {
        return;
    }
    let (sandbox, content) = scene();
    fs::create_dir(sandbox.path("other")).unwrap();
    let words = "mount-index -s store image.raw.caibx --cor-file copy";
    let mounted = Mounted::start(&sandbox, words);
    let refused = sandbox.cairn(&format!("{words} other"));
    refused.fails(&["copy: another mount is using this file; each needs one of its own"]);
    assert!(fs::read(mounted.path("image.raw")).unwrap() == content);
    mounted.stop();
    // When it is over the file is free.
    Mounted::at(&sandbox, words, "other").stop();
}

#[test]
fn a_full_disk_under_the_file_only_costs_time() {
    if !is_fuse_here("a_full_disk_under_the_file_only_costs_time") {
        return;
    }
    let (sandbox, content) = scene();
    let small = Mount::new(&sandbox, "small", 1 << 10);
    let words = "mount-index -s store image.raw.caibx --cor-file small/copy --memory 1M";
    let mounted = Mounted::start(&sandbox, words);
    for _ in 0..2 {
        assert!(fs::read(mounted.path("image.raw")).unwrap() == content);
        forget(&mounted.path("image.raw"));
    }
    let printed = mounted.prints("going on without keeping chunks");
    assert!(printed.lines().count() <= 3, "{printed}");
    mounted.stop();
    drop(small);
}
