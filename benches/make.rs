//! How fast is `make`, and what takes the time? `cargo bench --bench make`
//!
//! A blob in a temporary directory (set TMPDIR to a tmpfs to leave the disk out of it), all
//! processors, stores in memory: the side-by-side script measures whole programs on real files.

mod common;

use std::num::NonZeroUsize;
use std::thread;

use cairn::make::{Input, MakeOptions, make};
use cairn::{Result, Silent};
use cairn_formats::WriteCoding;
use cairn_store::{MemoryStore, WriteStore};
use divan::Bencher;
use divan::counter::BytesCount;

fn main() {
    divan::main();
}

const LEN: usize = 64 << 20;

fn run(bencher: Bencher<'_, '_>, store: impl Fn() -> Option<MemoryStore> + Sync) {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), common::text(LEN)).expect("it is written");
    let workers = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let options = MakeOptions { workers, ..MakeOptions::default() };
    let run = |store: &Option<MemoryStore>| -> Result<usize> {
        let store = store.as_ref().map(|store| store as &dyn WriteStore);
        Ok(make(Input::open(file.path())?, store, &options, &Silent)?.0.len())
    };
    bencher
        .counter(BytesCount::new(LEN))
        .with_inputs(store)
        .bench_local_refs(|store| run(store).expect("it is made"));
}

#[divan::bench(sample_count = 10)]
fn index_alone(bencher: Bencher<'_, '_>) {
    run(bencher, || None);
}

#[divan::bench(sample_count = 10)]
fn empty_plain_store(bencher: Bencher<'_, '_>) {
    run(bencher, || Some(MemoryStore::new(WriteCoding::Plain)));
}

#[divan::bench(sample_count = 5)]
fn empty_zstd_store(bencher: Bencher<'_, '_>) {
    run(bencher, || Some(MemoryStore::new(WriteCoding::Zstd)));
}
