//! How fast is `extract`, and how fast is checking? `cargo bench --bench extract`
//!
//! The output is in a temporary directory (set TMPDIR to a tmpfs to leave the disk out of it), the
//! store in memory.

mod common;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread;

use cairn::Silent;
use cairn::check::verify_index;
use cairn::extract::{ExtractOptions, extract};
use cairn::make::{Input, MakeOptions, make};
use cairn_formats::{Index, WriteCoding};
use cairn_store::MemoryStore;
use divan::Bencher;
use divan::counter::BytesCount;

fn main() {
    divan::main();
}

const LEN: usize = 64 << 20;

struct Made {
    directory: tempfile::TempDir,
    store: MemoryStore,
    index: Index,
    workers: usize,
}

impl Made {
    fn new(coding: WriteCoding) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let blob = directory.path().join("blob");
        std::fs::write(&blob, common::text(LEN)).expect("it is written");
        let workers = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let store = MemoryStore::new(coding);
        let options = MakeOptions { workers, ..MakeOptions::default() };
        let input = Input::open(&blob).expect("it is there");
        let (index, _) = make(input, Some(&store), &options, &Silent).expect("it is made");
        Self { directory, store, index, workers }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

#[divan::bench(args = [WriteCoding::Plain, WriteCoding::Zstd], sample_count = 10)]
fn new_file(bencher: Bencher<'_, '_>, coding: WriteCoding) {
    let made = Made::new(coding);
    let options = ExtractOptions { workers: made.workers, ..ExtractOptions::default() };
    bencher.counter(BytesCount::new(LEN)).bench_local(|| {
        extract(&made.index, Vec::new(), &made.store, &made.path("output"), &options, &Silent)
            .expect("it is extracted")
    });
}

#[divan::bench(sample_count = 10)]
fn all_in_place(bencher: Bencher<'_, '_>) {
    let made = Made::new(WriteCoding::Zstd);
    let options =
        ExtractOptions { workers: made.workers, in_place: true, ..ExtractOptions::default() };
    bencher.counter(BytesCount::new(LEN)).bench_local(|| {
        extract(&made.index, Vec::new(), &made.store, &made.path("blob"), &options, &Silent)
            .expect("it is extracted")
    });
}

#[divan::bench(sample_count = 10)]
fn verify(bencher: Bencher<'_, '_>) {
    let made = Made::new(WriteCoding::Zstd);
    bencher.counter(BytesCount::new(LEN)).bench_local(|| {
        verify_index(&made.index, &made.path("blob"), made.workers, &Silent).expect("it matches");
    });
}
