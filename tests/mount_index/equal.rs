//! The file has the bytes of the blob, however it is read.

#![allow(unsafe_code, reason = "memory that a file is mapped to is known to pointers alone")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::ptr;
use std::thread;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::common::mounted::{Mounted, is_fuse_here};
use crate::common::server::Server;
use crate::common::{self, Sandbox};
use crate::{content, scene, system};

const MOUNT: &str = "mount-index -s store image.raw.caibx";

#[test]
fn the_file_is_the_blob_and_is_called_as_the_index() {
    if !is_fuse_here("the_file_is_the_blob_and_is_called_as_the_index") {
        return;
    }
    let (sandbox, _) = scene();
    let mounted = Mounted::start(&sandbox, MOUNT);
    let entries = fs::read_dir(mounted.path("")).unwrap();
    let names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["image.raw"]);
    let (there, here) = (mounted.path("image.raw"), sandbox.path("image.raw"));
    let (there, here) = (there.to_str().unwrap(), here.to_str().unwrap());
    system("cmp", &[there, here]);
    // Past the cache of the kernel, from a block within on.
    let (from, to) = (format!("if={there}"), format!("of={}", sandbox.path("copy").display()));
    for (block, skip) in [(4096, 0), (128 << 10, 5), (1 << 20, 2)] {
        let (bs, skip_word) = (format!("bs={block}"), format!("skip={skip}"));
        system("dd", &[&from, &to, &bs, &skip_word, "iflag=direct", "status=none"]);
        assert!(sandbox.read("copy") == content()[block * skip..], "{block} {skip}");
    }
    mounted.stop();
}

#[test]
fn random_reads_of_many_threads_are_those_of_the_blob() {
    if !is_fuse_here("random_reads_of_many_threads_are_those_of_the_blob") {
        return;
    }
    let (sandbox, content) = scene();
    // With a cache that does not hold a third of it, things come and go.
    let mounted = Mounted::start(&sandbox, &format!("{MOUNT} --memory 1M"));
    let file = File::open(mounted.path("image.raw")).unwrap();
    thread::scope(|scope| {
        for thread in 0..8 {
            let (file, content) = (&file, &content);
            scope.spawn(move || {
                let numbers = common::random(thread, 200 * 16);
                for number in numbers.chunks_exact(16) {
                    let (at, len) = number.split_at(8);
                    let at = u64::from_le_bytes(at.try_into().unwrap()) as usize % content.len();
                    let len = u64::from_le_bytes(len.try_into().unwrap()) as usize % 300_000;
                    let mut buffer = vec![0xee; len];
                    let wanted = &content[at..content.len().min(at + len)];
                    let mut done = 0;
                    while done < wanted.len() {
                        let some = file.read_at(&mut buffer[done..], (at + done) as u64).unwrap();
                        assert!(some > 0, "{at} {len}");
                        done += some;
                    }
                    assert_eq!(done, wanted.len(), "{at} {len}");
                    assert!(buffer[..done] == *wanted, "{at} {len}");
                    if len.is_multiple_of(7) {
                        rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
                    }
                }
            });
        }
    });
    drop(file);
    mounted.stop();
}

#[test]
fn reads_over_the_end_are_cut_there() {
    if !is_fuse_here("reads_over_the_end_are_cut_there") {
        return;
    }
    let (sandbox, content) = scene();
    let mounted = Mounted::start(&sandbox, MOUNT);
    let file = File::open(mounted.path("image.raw")).unwrap();
    let mut buffer = [0; 10_000];
    let end = content.len() as u64;
    for (before, found) in [(10_000, 10_000), (9_999, 9_999), (4096, 4096), (1, 1), (0, 0)] {
        assert_eq!(file.read_at(&mut buffer, end - before).unwrap(), found);
        assert!(buffer[..found] == content[content.len() - found..]);
    }
    assert_eq!(file.read_at(&mut buffer, end + 1).unwrap(), 0);
    assert_eq!(file.read_at(&mut buffer, i64::MAX as u64 - 20_000).unwrap(), 0);
}

#[test]
fn memory_that_the_file_is_mapped_to_has_its_bytes() {
    if !is_fuse_here("memory_that_the_file_is_mapped_to_has_its_bytes") {
        return;
    }
    let (sandbox, content) = scene();
    let mounted = Mounted::start(&sandbox, MOUNT);
    let file = File::open(mounted.path("image.raw")).unwrap();
    for how in [MapFlags::PRIVATE, MapFlags::SHARED] {
        let len = content.len();
        // SAFETY: The kernel chooses a free place; the mapping ends below, when nobody looks at it any more.
        let place = unsafe { mmap(ptr::null_mut(), len, ProtFlags::READ, how, &file, 0) }.unwrap();
        // SAFETY: So many bytes are mapped there, and the file is one that nobody can change.
        let bytes = unsafe { std::slice::from_raw_parts(place.cast::<u8>(), len) };
        // From the end on, so that nothing is read ahead.
        for (block, wanted) in bytes.chunks(5000).zip(content.chunks(5000)).rev() {
            assert!(block == wanted);
        }
        // SAFETY: As it was mapped.
        unsafe { munmap(place, len) }.unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    }
}

#[test]
fn long_runs_of_zeros_need_no_store() {
    if !is_fuse_here("long_runs_of_zeros_need_no_store") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.sparse("image.raw", 40 << 20, &[(10 << 20, b"one"), (30 << 20, b"another")]);
    sandbox.cairn("make image.raw.caibx image.raw -s store").succeeds();
    let mounted = Mounted::start(&sandbox, MOUNT);
    assert!(fs::read(mounted.path("image.raw")).unwrap() == sandbox.read("image.raw"));
    mounted.stop();
    // Of the last 8 MiB nothing but zeros is asked for.
    fs::remove_dir_all(sandbox.path("store")).unwrap();
    fs::create_dir(sandbox.path("store")).unwrap();
    let mounted = Mounted::start(&sandbox, MOUNT);
    let zeros = crate::read_at(&mounted.path("image.raw"), 33 << 20, 6 << 20).unwrap();
    assert!(zeros.iter().all(|&byte| byte == 0));
    mounted.stop();
}

#[test]
fn blobs_of_no_byte_of_one_and_of_one_chunk_are_mounted() {
    if !is_fuse_here("blobs_of_no_byte_of_one_and_of_one_chunk_are_mounted") {
        return;
    }
    for content in [&b""[..], b"x", &common::random(3, 10_000)] {
        let sandbox = Sandbox::with_store(content);
        let mounted = Mounted::start(&sandbox, "mount-index -s store blob.caibx");
        assert_eq!(mounted.path("blob").metadata().unwrap().len(), content.len() as u64);
        assert!(fs::read(mounted.path("blob")).unwrap() == content);
        mounted.stop();
    }
}

#[test]
fn an_index_may_come_from_standard_input() {
    if !is_fuse_here("an_index_may_come_from_standard_input") {
        return;
    }
    let (sandbox, content) = scene();
    let mut command = sandbox.command("mount-index -s store - mnt");
    command.stdin(File::open(sandbox.path("image.raw.caibx")).unwrap());
    let mounted = Mounted::of(command, &sandbox, "mnt");
    assert!(fs::read(mounted.path("-")).unwrap() == content);
    mounted.stop();
}

#[test]
fn an_index_may_come_from_a_server() {
    if !is_fuse_here("an_index_may_come_from_a_server") {
        return;
    }
    let (sandbox, content) = scene();
    let indexes = Server::start(&sandbox, "index-server -s .");
    let store = Server::start(&sandbox, "chunk-server -s store");
    let words = format!("mount-index -s {} {}/image.raw.caibx", store.url(), indexes.url());
    let mounted = Mounted::start(&sandbox, &words);
    assert!(fs::read(mounted.path("image.raw")).unwrap() == content);
    // Tables of mounts say where it is from.
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    let entry = format!(
        "{}/image.raw.caibx {} fuse.cairn ro,",
        indexes.url(),
        sandbox.path("mnt").display()
    );
    assert!(table.contains(&entry), "{table}");
    mounted.stop();
}

#[test]
fn names_are_without_their_last_suffix() {
    if !is_fuse_here("names_are_without_their_last_suffix") {
        return;
    }
    let sandbox = Sandbox::with_store(b"a few bytes");
    for (index, name) in [
        ("a", "a"),
        (".caibx", ".caibx"),
        ("with.two.dots", "with.two"),
        ("ä ö.caibx", "ä ö"),
        ("ends.with.", "ends.with"),
    ] {
        fs::copy(sandbox.path("blob.caibx"), sandbox.path(index)).unwrap();
        let mut command = sandbox.command("mount-index -s store");
        command.args([index, "mnt"]);
        let mounted = Mounted::of(command, &sandbox, "mnt");
        assert_eq!(fs::read(mounted.path(name)).unwrap(), b"a few bytes", "{index}");
        mounted.stop();
    }
}
