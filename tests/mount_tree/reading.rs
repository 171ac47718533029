//! What is read of an archive, and what is said of that meanwhile.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use cairn::archive::input::Input;
use cairn::make::{Input as Blob, MakeOptions, make};
use cairn::mount::kept_tree::KeptTree;
use cairn::{Error, Monitor, Silent, Unit};
use cairn_formats::catar::{Decoder, Item};
use cairn_formats::{ChunkId, ChunkSizes, CodedChunk, Index};
use cairn_store::testing::{Call, Recorder};
use cairn_store::{MemoryStore, Store};

use super::WORKERS;
use super::answers::answered;
use super::common::{Sandbox, random};

type Memory = Arc<Recorder<MemoryStore>>;

/// An archive of directories with small files and large ones in turn, as an index of small chunks.
fn sample(sandbox: &Sandbox) -> (Index, Memory) {
    for directory in 0..10 {
        for file in 0..100 {
            sandbox.write(&format!("tree/d{directory:02}/small{file:03}"), b"");
        }
        for file in 0..5 {
            let content = random(100 * directory + file, 60_000);
            sandbox.write(&format!("tree/d{directory:02}/large{file}"), &content);
        }
    }
    sandbox.cairn("tar tree.catar tree").succeeds_silently();
    let store: Memory = Arc::new(Recorder::new(MemoryStore::default()));
    let sizes = ChunkSizes::new(1024, 4096, 16_384).unwrap();
    let options = MakeOptions { sizes, workers: 2, ..MakeOptions::default() };
    let input = Blob::open(&sandbox.path("tree.catar")).unwrap();
    let (index, _) = make(input, Some(&*store), &options, &Silent).unwrap();
    store.take();
    (index, store)
}

fn input(index: &Index, store: &Memory) -> Input {
    Input::of_index(index.clone(), Arc::clone(store) as Arc<dyn Store>, "index".into())
}

/// The ids of the chunks that have anything else in them than bytes of files.
fn wanted(archive: &[u8], index: &Index) -> HashSet<ChunkId> {
    let mut contents = Vec::new();
    let mut decoder = Decoder::new(archive);
    while let Some(item) = decoder.next().unwrap() {
        if let Item::Node(node) = item
            && node.size() > 0
        {
            contents.push(decoder.body_start()..decoder.body_start() + node.size());
        }
    }
    let chunks = (0..index.len()).map(|position| index.chunk(position));
    let is_wanted = |start: u64, end: u64| {
        !contents.iter().any(|content| content.start <= start && end <= content.end)
    };
    chunks.filter(|chunk| is_wanted(chunk.start, chunk.end())).map(|chunk| chunk.id).collect()
}

#[test]
fn chunks_of_nothing_but_bytes_of_files_are_not_fetched() {
    let sandbox = Sandbox::new();
    let (index, store) = sample(&sandbox);
    let wanted = wanted(&sandbox.read("tree.catar"), &index);
    assert!(wanted.len() < index.len() / 3, "{} of {}", wanted.len(), index.len());
    let kept = sandbox.path("kept");
    KeptTree::open(&input(&index, &store), &[1; 32], Some(&kept), WORKERS, &Silent).unwrap();
    let calls = store.take();
    let fetched: HashSet<ChunkId> = calls
        .iter()
        .map(|call| if let Call::Get(id) = call { *id } else { panic!("{call:?}") })
        .collect();
    assert_eq!(fetched.len(), calls.len(), "a chunk was fetched twice");
    let in_vain = fetched.difference(&wanted).count();
    assert_eq!(in_vain, 0, "of {} chunks where {} say all", fetched.len(), wanted.len());
    // The next time none is.
    KeptTree::open(&input(&index, &store), &[1; 32], Some(&kept), WORKERS, &Silent).unwrap();
    assert!(store.take().is_empty());
}

/// A store that answers at once when it is asked several things at a time, and else takes a while.
struct Far {
    store: Memory,
    /// How many are asking, and how many did at most.
    asking: Mutex<(usize, usize)>,
    changed: Condvar,
}

impl Store for Far {
    fn get(&self, id: &ChunkId) -> cairn_store::Result<Option<CodedChunk>> {
        self.store.get(id)
    }

    fn has(&self, id: &ChunkId) -> cairn_store::Result<bool> {
        self.store.has(id)
    }

    fn get_many(
        &self,
        ids: &[ChunkId],
        each: &mut dyn FnMut(usize, cairn_store::Result<Option<CodedChunk>>),
    ) {
        let mut asking = self.asking.lock().unwrap();
        asking.0 += 1;
        asking.1 = asking.1.max(asking.0);
        self.changed.notify_all();
        let is_alone = |asking: &mut (usize, usize)| asking.1 < 2;
        let waited = self.changed.wait_timeout_while(asking, Duration::from_millis(100), is_alone);
        drop(waited.unwrap());
        self.store.get_many(ids, each);
        self.asking.lock().unwrap().0 -= 1;
    }

    fn name(&self) -> String {
        self.store.name()
    }
}

#[test]
fn several_workers_fetch_ahead() {
    let sandbox = Sandbox::new();
    let (index, store) = sample(&sandbox);
    let far = Arc::new(Far { store, asking: Mutex::default(), changed: Condvar::new() });
    let input = |index| Input::of_index(index, Arc::clone(&far) as Arc<dyn Store>, "far".into());
    KeptTree::open(&input(index), &[1; 32], None, WORKERS, &Silent).unwrap();
    let most = far.asking.lock().unwrap().1;
    assert!((2..=WORKERS + 1).contains(&most), "{most} at a time");
}

#[test]
fn nobody_need_fetch_ahead() {
    let sandbox = Sandbox::new();
    let (index, store) = sample(&sandbox);
    let wanted = wanted(&sandbox.read("tree.catar"), &index).len();
    let alone = KeptTree::open(&input(&index, &store), &[1; 32], None, 0, &Silent).unwrap();
    assert_eq!(store.take().len(), wanted);
    let helped = KeptTree::open(&input(&index, &store), &[1; 32], None, WORKERS, &Silent).unwrap();
    assert_eq!(answered(alone.block), answered(helped.block));
}

#[test]
fn a_chunk_that_is_missing_is_an_error() {
    let sandbox = Sandbox::new();
    let (index, _) = sample(&sandbox);
    let empty: Memory = Arc::default();
    let ended = KeptTree::open(&input(&index, &empty), &[1; 32], None, WORKERS, &Silent);
    assert!(matches!(ended, Err(Error::Store(_))), "{ended:?}");
}

/// Adds up what is said.
#[derive(Default)]
struct Listener {
    total: AtomicU64,
    done: AtomicU64,
    has_finished: AtomicBool,
    is_impatient: bool,
}

impl Monitor for Listener {
    fn start(&self, _: &str, _: Unit, total: Option<u64>) {
        self.total.store(total.unwrap_or(0), Ordering::Relaxed);
    }

    fn advance(&self, units: u64) {
        self.done.fetch_add(units, Ordering::Relaxed);
    }

    fn finish(&self) {
        self.has_finished.store(true, Ordering::Relaxed);
    }

    fn is_interrupted(&self) -> bool {
        self.is_impatient && self.done.load(Ordering::Relaxed) > 0
    }
}

#[test]
fn all_bytes_are_told_of() {
    let sandbox = Sandbox::new();
    let (index, store) = sample(&sandbox);
    let listener = Listener::default();
    KeptTree::open(&input(&index, &store), &[1; 32], None, WORKERS, &listener).unwrap();
    let size = index.blob_size();
    assert_eq!((listener.total.into_inner(), listener.done.into_inner()), (size, size));
    assert!(listener.has_finished.into_inner());
}

#[test]
fn it_can_be_interrupted() {
    let sandbox = Sandbox::new();
    let (index, store) = sample(&sandbox);
    let listener = Listener { is_impatient: true, ..Listener::default() };
    let kept = sandbox.path("kept");
    let ended = KeptTree::open(&input(&index, &store), &[1; 32], Some(&kept), WORKERS, &listener);
    assert!(matches!(ended, Err(Error::Interrupted)), "{ended:?}");
    assert!(listener.done.into_inner() < index.blob_size());
    assert!(listener.has_finished.into_inner());
    assert_eq!(std::fs::read_dir(kept).unwrap().count(), 0);
}
