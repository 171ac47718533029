//! Seeds that somebody else has mapped into memory, and writes to without a new time stamp. As root.

#![allow(unsafe_code, reason = "memory that a file is mapped to is known to pointers alone")]

use std::fs::{self, File};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use cairn::extract::{ExtractOptions, Seed, extract};
use cairn::make::{Input, MakeOptions, make};
use cairn::{Monitor, Silent};
use cairn_formats::ChunkSizes;
use cairn_store::MemoryStore;
use rustix::mm::{MapFlags, ProtFlags, mmap};

use super::common::Sandbox;
use super::common::system::{FileSystem, is_root};
use super::{CHUNK, chunks};

/// The chunk that is written to: one whose pages nobody flushes before all is shared.
const CHANGED: usize = 48;

/// A byte of a seed through a mapping, which changes when a job asks so many times whether to go on.
struct Mapped {
    byte: AtomicPtr<u8>,
    asked: AtomicUsize,
    change_at: usize,
}

impl Mapped {
    fn turn(&self) {
        let byte = self.byte.load(Ordering::Relaxed);
        // SAFETY: it lies in a mapping of this process that is never undone, and this is the only
        // access to it from here.
        unsafe { byte.write_volatile(!byte.read_volatile()) };
    }
}

impl Monitor for Mapped {
    fn is_interrupted(&self) -> bool {
        if self.asked.fetch_add(1, Ordering::Relaxed) == self.change_at {
            self.turn();
        }
        false
    }
}

fn map(file: &File, len: usize) -> *mut u8 {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping, at a place of the kernel's choice.
    let place = unsafe { mmap(ptr::null_mut(), len, access, MapFlags::SHARED, file, 0) };
    place.unwrap().cast()
}

#[test]
fn a_write_through_a_mapping_is_not_shared_unseen() {
    if !is_root("a_write_through_a_mapping_is_not_shared_unseen") {
        return;
    }
    let sandbox = Sandbox::new();
    let _mounted = FileSystem::new(&sandbox, "xfs");
    let blob = chunks(1, 64);
    sandbox.write("fs/seed", &blob);
    let (seed, output) = (sandbox.path("fs/seed"), sandbox.path("fs/out"));
    let sizes = ChunkSizes::new(CHUNK, CHUNK, CHUNK).unwrap();
    let options = MakeOptions { sizes, ..MakeOptions::default() };
    let store = MemoryStore::default();
    let (index, _) = make(Input::open(&seed).unwrap(), Some(&store), &options, &Silent).unwrap();
    let file = File::options().read(true).write(true).open(&seed).unwrap();
    let byte = map(&file, blob.len()).wrapping_add(CHANGED * CHUNK);
    let mut shared = 0;
    for change_at in 0..24 {
        let mapped = Mapped { byte: AtomicPtr::new(byte), asked: AtomicUsize::new(0), change_at };
        // Twice: the page is dirty now, and the next write leaves no trace.
        mapped.turn();
        mapped.turn();
        let seeds = vec![Seed::new(&seed, index.clone()).unwrap()];
        let options = ExtractOptions::default();
        let stats = extract(&index, seeds, &store, &output, &options, &mapped).unwrap();
        assert!(fs::read(&output).unwrap() == blob, "changed at {change_at}");
        shared += stats.shared_bytes;
        if fs::read(&seed).unwrap() != blob {
            mapped.turn();
        }
    }
    assert!(shared > 0, "nothing was shared");
}
