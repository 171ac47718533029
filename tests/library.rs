//! The jobs as a library, over stores in memory: what comes back, what is asked, what goes wrong.

#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use cairn::extract::{ExtractOptions, ExtractStats, Seed, extract};
use cairn::ids::IdSet;
use cairn::make::{Input, MakeOptions, MakeStats, make};
use cairn::upkeep::chop::chop;
use cairn::upkeep::copy::{copy, distinct_chunks};
use cairn::{Error, Monitor, Result, Silent};
use cairn_formats::chunker::CutRule;
use cairn_formats::{ChunkId, ChunkSizes, CodedChunk, Index, WriteCoding};
use cairn_store::testing::{Call, Fault, Faulty, Recorder};
use cairn_store::{MemoryStore, Store, WriteStore};
use proptest::prelude::*;

/// A directory with a blob in it.
struct Sandbox {
    directory: tempfile::TempDir,
}

impl Sandbox {
    fn new(blob: &[u8]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("blob"), blob).unwrap();
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn make(&self, store: &dyn WriteStore, options: &MakeOptions) -> Result<(Index, MakeStats)> {
        make(Input::open(&self.path("blob"))?, Some(store), options, &Silent)
    }

    fn extract(&self, index: &Index, store: &dyn Store, in_place: bool) -> Result<ExtractStats> {
        let options = ExtractOptions { in_place, workers: 3, ..ExtractOptions::default() };
        extract(index, Vec::new(), store, &self.path("output"), &options, &Silent)
    }

    fn output(&self) -> Vec<u8> {
        fs::read(self.path("output")).unwrap()
    }

    fn names(&self) -> HashSet<String> {
        let entries = fs::read_dir(self.directory.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

/// Small chunks, so that small blobs have many.
fn options(workers: usize) -> MakeOptions {
    let sizes = ChunkSizes::new(256, 1024, 4096).unwrap();
    MakeOptions { sizes, workers, ..MakeOptions::default() }
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let byte = || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 56) as u8
    };
    std::iter::repeat_with(byte).take(len).collect()
}

/// Noise, zeros and repetitions, so that every kind of step occurs.
fn mixture() -> Vec<u8> {
    let (a, b) = (noise(40_000, 1), noise(30_000, 2));
    [&a[..], &[0; 50_000], &b, &a, &[0; 9000], &a].concat()
}

fn distinct(index: &Index) -> HashSet<ChunkId> {
    index.chunks().map(|chunk| chunk.id).collect()
}

/// How often each chunk was asked for by one kind of call.
fn count(calls: &[Call], kind: impl Fn(&Call) -> Option<ChunkId>) -> (usize, HashSet<ChunkId>) {
    let ids: Vec<ChunkId> = calls.iter().filter_map(kind).collect();
    (ids.len(), ids.into_iter().collect())
}

#[test]
fn make_asks_and_puts_once_per_distinct_chunk() {
    let sandbox = Sandbox::new(&mixture());
    let store = Recorder::new(MemoryStore::default());
    let (index, stats) = sandbox.make(&store, &options(3)).unwrap();
    let calls = store.take();
    let has = count(&calls, |call| if let Call::Has(id) = call { Some(*id) } else { None });
    let put = count(&calls, |call| if let Call::Put(id) = call { Some(*id) } else { None });
    assert_eq!(has, (distinct(&index).len(), distinct(&index)));
    assert_eq!(put, has);
    assert_eq!(stats.stored, put.0 as u64);
    assert_eq!(calls.last(), Some(&Call::Sync));
    assert!(index.len() > put.0, "the blob repeats itself");
}

#[test]
fn second_make_writes_nothing() {
    let sandbox = Sandbox::new(&mixture());
    let store = Recorder::new(MemoryStore::default());
    let (first, _) = sandbox.make(&store, &options(2)).unwrap();
    store.take();
    let (second, stats) = sandbox.make(&store, &options(2)).unwrap();
    assert_eq!(first, second);
    assert_eq!((stats.stored, stats.stored_bytes), (0, 0));
    assert!(!store.take().iter().any(|call| matches!(call, Call::Put(_) | Call::Get(_))));
}

#[test]
fn extract_gets_each_distinct_chunk_once_and_zeros_never() {
    let sandbox = Sandbox::new(&mixture());
    let store = Recorder::new(MemoryStore::default());
    let (index, _) = sandbox.make(&store, &options(2)).unwrap();
    store.take();
    let stats = sandbox.extract(&index, &store, false).unwrap();
    assert_eq!(sandbox.output(), mixture());
    let gets = count(&store.take(), |call| if let Call::Get(id) = call { Some(*id) } else { None });
    assert_eq!(gets.0, gets.1.len());
    assert_eq!(stats.fetched, gets.0 as u64);
    assert!(stats.zero > 0 && stats.own > 0);
    assert_eq!(stats.chunks, stats.zero + stats.own + stats.fetched);
    // All but the zero chunk.
    assert_eq!(distinct(&index).len(), gets.0 + 1);
}

#[test]
fn what_is_in_place_is_not_fetched() {
    let blob = mixture();
    let sandbox = Sandbox::new(&blob);
    let store = Recorder::new(MemoryStore::default());
    let (index, _) = sandbox.make(&store, &options(2)).unwrap();
    store.take();
    for change in ["nothing", "middle", "longer", "shorter", "empty"] {
        let mut output = blob.clone();
        match change {
            "middle" => output[45_000..46_000].fill(7),
            "longer" => output.extend(noise(5000, 9)),
            "shorter" => output.truncate(100_000),
            "empty" => output.clear(),
            _ => {}
        }
        fs::write(sandbox.path("output"), &output).unwrap();
        let stats = sandbox.extract(&index, &store, true).unwrap();
        assert_eq!(sandbox.output(), blob, "{change}");
        let fetched = store.take().len();
        match change {
            "nothing" | "longer" => assert_eq!(fetched, 0, "{change}"),
            "middle" => assert!(fetched <= 3, "{change}: {fetched}"),
            _ => assert_eq!(stats.fetched, fetched as u64, "{change}"),
        }
    }
}

#[test]
fn a_bad_chunk_leaves_the_old_output_whole() {
    let sandbox = Sandbox::new(&mixture());
    let store = MemoryStore::default();
    let (index, _) = sandbox.make(&store, &options(2)).unwrap();
    fs::write(sandbox.path("output"), "old").unwrap();
    for fault in [Fault::Fail, Fault::Lose, Fault::TurnBit, Fault::CutShort] {
        for good in [0, 1, 7, 40] {
            let faulty = Faulty::after(good, fault, &store);
            let error = sandbox.extract(&index, &faulty, false).unwrap_err().to_string();
            let named = distinct(&index).iter().any(|id| error.contains(&id.to_hex()));
            assert!(named, "{fault:?}: {error}");
            assert_eq!(sandbox.output(), b"old");
            assert_eq!(sandbox.names().len(), 2, "{:?}", sandbox.names());
        }
    }
}

#[test]
fn a_store_that_fails_makes_no_index() {
    let sandbox = Sandbox::new(&mixture());
    for good in [0, 1, 20] {
        let store = Faulty::after(good, Fault::Fail, MemoryStore::default());
        assert!(matches!(sandbox.make(&store, &options(3)), Err(Error::Store(_))));
    }
}

/// A store that takes its time once a put has failed, as others wait for the disk or the net, so that
/// whoever failed has the time to say so.
struct SlowAfterFailure<S> {
    store: S,
    has_failed: std::sync::atomic::AtomicBool,
}

impl<S: Store> Store for SlowAfterFailure<S> {
    fn get(&self, id: &ChunkId) -> cairn_store::Result<Option<CodedChunk>> {
        self.store.get(id)
    }

    fn has(&self, id: &ChunkId) -> cairn_store::Result<bool> {
        self.store.has(id)
    }

    fn name(&self) -> String {
        self.store.name()
    }
}

impl<S: WriteStore> WriteStore for SlowAfterFailure<S> {
    fn put(&self, chunk: &CodedChunk) -> cairn_store::Result<()> {
        let order = std::sync::atomic::Ordering::SeqCst;
        if self.has_failed.load(order) {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        let put = self.store.put(chunk);
        self.has_failed.fetch_or(put.is_err(), order);
        put
    }

    fn coding(&self) -> WriteCoding {
        self.store.coding()
    }

    fn sync(&self) -> cairn_store::Result<()> {
        self.store.sync()
    }
}

#[test]
fn one_failure_stops_all_workers() {
    let sandbox = Sandbox::new(&noise(12 << 20, 3));
    let good = 100;
    for workers in [1, 2, 5] {
        let store = Faulty::once_after(good, Fault::Fail, MemoryStore::default());
        let store = SlowAfterFailure { store, has_failed: false.into() };
        let store = Recorder::new(store);
        assert!(sandbox.make(&store, &options(workers)).is_err());
        let puts = store.take().into_iter().filter(|call| matches!(call, Call::Put(_))).count();
        assert!(puts <= good + 2 * workers, "{puts} puts by {workers} workers");
    }
}

/// Interrupts a job after so many questions whether to go on.
struct Impatient(std::sync::atomic::AtomicUsize);

impl Monitor for Impatient {
    fn is_interrupted(&self) -> bool {
        let one_less = |patience: usize| patience.checked_sub(1);
        let order = std::sync::atomic::Ordering::Relaxed;
        self.0.fetch_update(order, order, one_less).is_err()
    }
}

#[test]
fn an_interrupted_job_ends_as_such() {
    let sandbox = Sandbox::new(&mixture());
    let store = MemoryStore::default();
    let (index, _) = sandbox.make(&store, &options(2)).unwrap();
    fs::write(sandbox.path("output"), "old").unwrap();
    for patience in 0..3 {
        let input = Input::open(&sandbox.path("blob")).unwrap();
        let fresh = MemoryStore::default();
        let made = make(input, Some(&fresh), &options(2), &Impatient(patience.into()));
        assert!(matches!(made, Err(Error::Interrupted)));
        let extracted = extract(
            &index,
            Vec::new(),
            &store,
            &sandbox.path("output"),
            &ExtractOptions::default(),
            &Impatient(patience.into()),
        );
        assert!(matches!(extracted, Err(Error::Interrupted)));
        assert_eq!(sandbox.output(), b"old");
        assert_eq!(sandbox.names().len(), 2);
    }
}

#[test]
fn a_blob_larger_than_its_windows_is_cut_as_in_one_pass() {
    // Windows are 4 MiB: seams in noise, in zeros, and at a hole.
    let mut blob = noise(9 << 20, 5);
    blob[3_000_000..6_000_000].fill(0);
    let sandbox = Sandbox::new(&blob);
    let file = fs::File::options().write(true).open(sandbox.path("blob")).unwrap();
    file.set_len(13 << 20).unwrap();
    std::os::unix::fs::FileExt::write_at(&file, &noise(1 << 20, 6), 12 << 20).unwrap();
    let blob = fs::read(sandbox.path("blob")).unwrap();
    for rule in [CutRule::Buzhash, CutRule::FastCdc] {
        let expected = single_pass(&blob, rule);
        for workers in [1, 2, 7] {
            let options = MakeOptions { rule, workers, ..MakeOptions::default() };
            let (index, _) = sandbox.make(&MemoryStore::default(), &options).unwrap();
            let ends: Vec<u64> = index.chunks().map(|chunk| chunk.end()).collect();
            assert_eq!(ends, expected, "{rule:?}, {workers} workers");
        }
    }
}

fn single_pass(blob: &[u8], rule: CutRule) -> Vec<u64> {
    let cutter = cairn_formats::chunker::Cutter::new(rule, ChunkSizes::default()).unwrap();
    let mut ends = Vec::new();
    let mut start = 0;
    while start < blob.len() {
        start += cutter.cut(&blob[start..], 0).unwrap_or(blob.len() - start);
        ends.push(start as u64);
    }
    ends
}

fn blobs() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        (0_usize..20_000, 0_u64..4).prop_map(|(len, seed)| noise(len, seed)),
        (0_usize..30_000).prop_map(|len| vec![0; len]),
        (1_usize..300, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
    ];
    prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn extract_undoes_make(
        blob in blobs(), old in blobs(), workers in 1_usize..5, in_place: bool,
    ) {
        let sandbox = Sandbox::new(&blob);
        let store = MemoryStore::default();
        let (index, _) = sandbox.make(&store, &options(workers)).unwrap();
        fs::write(sandbox.path("output"), old).unwrap();
        sandbox.extract(&index, &store, in_place).unwrap();
        prop_assert_eq!(sandbox.output(), blob);
        let verified = cairn::check::verify_index(&index, &sandbox.path("output"), workers, &Silent);
        prop_assert!(verified.is_ok());
    }
}

#[test]
fn verifying_names_the_first_bytes_that_differ() {
    let blob = mixture();
    let sandbox = Sandbox::new(&blob);
    let (index, _) = sandbox.make(&MemoryStore::default(), &options(1)).unwrap();
    let verify = |path: &Path| {
        cairn::check::verify_index(&index, path, 1, &Silent).map_err(|e| e.to_string())
    };
    assert_eq!(verify(&sandbox.path("blob")), Ok(()));
    for at in [0, 39_999, 70_000, blob.len() - 1] {
        let mut wrong = blob.clone();
        wrong[at] ^= 1;
        fs::write(sandbox.path("wrong"), wrong).unwrap();
        let error = verify(&sandbox.path("wrong")).unwrap_err();
        let chunk = index.chunks().find(|chunk| chunk.end() > at as u64).unwrap();
        let place = format!("bytes {}..{}", chunk.start, chunk.end());
        assert!(error.contains(&place), "{error}");
    }
}

/// Overwrites a file each time the job says that it has got on.
struct Meddler {
    path: PathBuf,
    from: u64,
    told: std::sync::atomic::AtomicU64,
}

impl Monitor for Meddler {
    fn advance(&self, units: u64) {
        use std::os::unix::fs::FileExt;
        let told = self.told.fetch_add(units, std::sync::atomic::Ordering::Relaxed);
        if told >= self.from {
            let file = fs::File::options().write(true).open(&self.path).unwrap();
            let len = file.metadata().unwrap().len();
            file.write_all_at(b"meddled with", (told * 7919) % len).unwrap();
        }
    }
}

#[test]
fn a_seed_that_changes_while_it_is_read_spoils_nothing() {
    let blob = noise(3 << 20, 21);
    let sandbox = Sandbox::new(&blob);
    let store = MemoryStore::default();
    let (index, _) = sandbox.make(&store, &options(2)).unwrap();
    let chunks = index.len() as u64;
    for (number, from) in [0, chunks / 10, chunks / 2, chunks - 1].into_iter().enumerate() {
        for regenerate in [false, true] {
            fs::write(sandbox.path("seed"), &blob).unwrap();
            let seed = Seed::new(&sandbox.path("seed"), index.clone()).unwrap();
            let options = ExtractOptions { regenerate, workers: 3, ..ExtractOptions::default() };
            let meddler = Meddler { path: sandbox.path("seed"), from, told: Default::default() };
            let output = sandbox.path("output");
            let stats = extract(&index, vec![seed], &store, &output, &options, &meddler).unwrap();
            assert!(sandbox.output() == blob);
            assert_eq!(stats.seeded + stats.fetched, chunks, "{number}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_the_seeds_the_output_is_the_blob(
        parts in prop::collection::vec((0..6_u64, 1..20_000_usize), 1..12),
        seeds in prop::collection::vec(prop::collection::vec((0..8_u64, 1..20_000_usize), 0..12), 0..3),
        before in prop::option::of(prop::collection::vec((0..6_u64, 1..20_000_usize), 0..8)),
        lies: bool, regenerate: bool,
    ) {
        // Parts of few kinds, so that blobs, seeds and old outputs have much in common; 0 is zeros.
        let bytes = |parts: &[(u64, usize)]| -> Vec<u8> {
            let part = |&(kind, len): &(u64, usize)| {
                if kind == 0 { vec![0; 8 * len] } else { noise(len, kind) }
            };
            parts.iter().flat_map(part).collect()
        };
        let blob = bytes(&parts);
        let sandbox = Sandbox::new(&blob);
        let store = MemoryStore::default();
        let (index, _) = sandbox.make(&store, &options(2)).unwrap();
        let seeds = seeds.iter().enumerate().map(|(number, parts)| {
            let path = sandbox.path(&format!("seed {number}"));
            fs::write(&path, bytes(parts)).unwrap();
            if lies {
                Seed::new(&path, index.clone()).unwrap()
            } else {
                Seed::of_file(&path, &index, number, 2, &Silent).unwrap()
            }
        });
        let in_place = before.is_some();
        if let Some(parts) = before {
            fs::write(sandbox.path("output"), bytes(&parts)).unwrap();
        }
        let seeds: Vec<Seed> = seeds.collect();
        let options =
            ExtractOptions { in_place, regenerate, workers: 3, ..ExtractOptions::default() };
        let stats =
            extract(&index, seeds, &store, &sandbox.path("output"), &options, &Silent).unwrap();
        prop_assert!(sandbox.output() == blob);
        let sum = stats.in_place + stats.zero + stats.own + stats.seeded + stats.fetched;
        prop_assert_eq!(sum, stats.chunks);
    }
}

#[test]
fn a_copy_asks_for_every_chunk_once() {
    let sandbox = Sandbox::new(&[noise(200_000, 1), vec![0; 100_000], noise(200_000, 1)].concat());
    let source = Recorder::new(MemoryStore::default());
    let (index, _) = sandbox.make(&source, &options(2)).unwrap();
    let ids: HashSet<ChunkId> = index.chunks().map(|chunk| chunk.id).collect();
    let target = Recorder::new(MemoryStore::default());
    let chunks = distinct_chunks(&[index.clone(), index.clone()], IdSet::default());
    assert_eq!(chunks.len(), ids.len());
    for (round, expected) in [(1, ids.len()), (2, 0)] {
        source.take();
        target.take();
        let stats = copy(&chunks, index.digest(), &source, &target, 3, &Silent).unwrap();
        assert_eq!(stats.copied, expected as u64);
        let gets = source.take();
        assert!(gets.iter().all(|call| matches!(call, Call::Get(_))), "round {round}");
        assert_eq!(gets.len(), expected, "round {round}");
        let calls = target.take();
        let count = |wanted: fn(&Call) -> bool| calls.iter().filter(|call| wanted(call)).count();
        assert_eq!(count(|call| matches!(call, Call::Put(_))), expected);
        assert_eq!(count(|call| matches!(call, Call::Has(_))), ids.len());
        assert_eq!(calls.last(), Some(&Call::Sync));
    }
    for id in ids {
        // As it is, not coded anew.
        assert_eq!(target.store().get(&id).unwrap(), source.store().get(&id).unwrap());
    }
}

#[test]
fn a_chop_stores_what_a_make_stores() {
    let sandbox = Sandbox::new(&noise(300_000, 4));
    let (made, chopped) = (MemoryStore::default(), Recorder::new(MemoryStore::default()));
    let (index, _) = sandbox.make(&made, &options(2)).unwrap();
    let chop = || chop(&index, &sandbox.path("blob"), &chopped, IdSet::default(), 2, &Silent);
    assert_eq!(chop().unwrap().stored, index.len() as u64);
    for chunk in index.chunks() {
        assert_eq!(chopped.store().get(&chunk.id).unwrap(), made.get(&chunk.id).unwrap());
    }
    chopped.take();
    assert_eq!(chop().unwrap().stored, 0);
    assert!(!chopped.take().iter().any(|call| matches!(call, Call::Put(_) | Call::Get(_))));
}
