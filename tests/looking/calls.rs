//! What is asked of a store: what the answer needs, and no more.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use cairn::Silent;
use cairn::archive::diff::diff;
use cairn::archive::input::Input;
use cairn::archive::lines::Lines;
use cairn::archive::list::{Form, list};
use cairn::archive::stat::stat;
use cairn::archive::walk::Part;
use cairn::make::{Input as Blob, MakeOptions, make};
use cairn_formats::{ChunkId, ChunkSizes, Index};
use cairn_store::testing::{Call, Recorder};
use cairn_store::{MemoryStore, Store};

use super::common::{Sandbox, random};

type Memory = Arc<Recorder<MemoryStore>>;

/// An archive of many directories with large files in them, as an index of small chunks.
struct Sample {
    sandbox: Sandbox,
    store: Memory,
}

impl Sample {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        for directory in 0..20 {
            for file in 0..5 {
                let content = random(100 * directory + file, 60_000);
                sandbox.write(&format!("tree/d{directory:02}/f{file}"), &content);
            }
        }
        Self { sandbox, store: Arc::new(Recorder::new(MemoryStore::default())) }
    }

    fn index(&self) -> Index {
        self.index_of(ChunkSizes::new(1024, 4096, 16_384).unwrap())
    }

    fn index_of(&self, sizes: ChunkSizes) -> Index {
        self.sandbox.casync("make tree.catar tree").succeeds();
        let options = MakeOptions { sizes, workers: 2, ..MakeOptions::default() };
        let input = Blob::open(&self.sandbox.path("tree.catar")).unwrap();
        let (index, _) = make(input, Some(&*self.store), &options, &Silent).unwrap();
        self.store.take();
        index
    }

    fn input(&self, index: &Index) -> Input {
        Input::of_index(index.clone(), Arc::clone(&self.store) as Arc<dyn Store>, "index".into())
    }

    /// The chunks fetched since the last time, each of them once.
    fn fetched(&self) -> HashSet<ChunkId> {
        let calls = self.store.take();
        let ids: HashSet<ChunkId> = calls
            .iter()
            .map(|call| if let Call::Get(id) = call { *id } else { panic!("{call:?}") })
            .collect();
        assert_eq!(ids.len(), calls.len(), "a chunk was fetched twice");
        ids
    }
}

fn listed(input: &Input, path: &str) -> String {
    let mut output = Vec::new();
    let part = Part { path: path.into(), is_shallow: false };
    list(input, &part, Form::Plain, Lines::new(&mut output, Path::new("memory"))).unwrap();
    String::from_utf8(output).unwrap()
}

#[test]
fn a_list_of_a_subtree_fetches_what_says_what_is_in_it() {
    let sample = Sample::new();
    let index = sample.index();
    assert!(index.len() > 1000);
    let text = listed(&sample.input(&index), "d07");
    assert_eq!(text.lines().count(), 6);
    let fetched = sample.fetched();
    assert!(fetched.len() < 25, "{} of {} chunks", fetched.len(), index.len());
}

#[test]
fn a_list_fetches_no_bytes_of_files() {
    let sample = Sample::new();
    let index = sample.index();
    assert_eq!(listed(&sample.input(&index), "").lines().count(), 121);
    let fetched = sample.fetched();
    // At most some chunks for each file, of which each has more than ten.
    assert!(fetched.len() < index.len() / 2, "{} of {} chunks", fetched.len(), index.len());
}

#[test]
fn what_is_said_of_a_directory_fetches_a_way_to_it() {
    let sample = Sample::new();
    let index = sample.index();
    stat(&sample.input(&index), b"d11", 2, &Silent).unwrap();
    assert!(sample.fetched().len() < 10);
}

#[test]
fn of_two_indexes_only_what_changed_is_fetched() {
    let sample = Sample::new();
    let before = sample.index();
    fs::write(sample.sandbox.path("tree/d13/f2"), b"other").unwrap();
    let after = sample.index();
    let mut paths = Vec::new();
    let (a, b) = (sample.input(&before), sample.input(&after));
    diff(&a, &b, b"", &Silent, &mut |difference| {
        paths.push(String::from_utf8(difference.path).unwrap());
        Ok(())
    })
    .unwrap();
    assert_eq!(paths, ["d13/f2"]);
    let fetched = sample.store.take().len();
    // The names of the root, and what surrounds the change; chunks at the seams come from both.
    assert!(fetched < 180, "{fetched} of {} chunks", before.len() + after.len());
}

#[test]
fn chunks_may_be_large() {
    let sample = Sample::new();
    let index = sample.index_of(ChunkSizes::new(1 << 20, 3 << 20, 12 << 20).unwrap());
    assert_eq!(listed(&sample.input(&index), "").lines().count(), 121);
    sample.fetched();
}
