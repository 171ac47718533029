//! A cache on this machine that stays below a size: what was unused for longest goes first.
//!
//! ```text
//! get   -> chunk file's mtime = now, if it was older than a minute     that is all the bookkeeping
//! put   -> own bytes since the last look; 1/16 of the limit -> look
//! look  -> sizes and mtimes of all files; above the limit? remove the oldest, down to 9/10
//! ```
//! The file times are the only memory, so any number of processes share a cache: each looks at all of
//! it when it has put a sixteenth of the limit, and once when it ends. Meanwhile a cache may exceed
//! its limit by that sixteenth for each process, and by what is put while one of them removes. When
//! the last of them has ended it is below: one that ends while another removes asks him to look again.
//!
//! **Locks.** Users of a cache hold none: a chunk that vanishes is fetched from the source again.
//! Whoever removes holds the directory's lock alone ([`Turn`]): so one removes at a time, and nobody
//! while a writer (`LocalStore::create`) is relying on what is there or a prune is at work. Nobody
//! who puts waits for it.

use std::ffi::OsStr;
use std::fs::{self, DirEntry, Metadata};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use cairn_formats::{ChunkId, CodedChunk, WriteCoding};

use super::chunks::{LocalStore, TEMPORARY_PREFIX, is_absence};
use super::listing::{entries, is_prefix};
use super::turn::{Turn, is_wished, wish};
use crate::{Error, Result, Store, WriteStore};

/// A process looks at the cache when it has put this part of the limit.
const LOOKS_PER_LIMIT: u64 = 16;

/// What was used so recently is what a command that is going on needs, and goes only when the rest
/// is not enough.
const IN_USE: Duration = Duration::from_secs(60);

/// The temporary file of a writer that is still alive is not as old.
const ABANDONED: Duration = Duration::from_secs(3600);

/// Files take room in such blocks, in bytes.
const BLOCK: u64 = 4096;

/// How long one that ends waits for its turn to remove, or for another to have looked. It matters only
/// where nobody grants its wish, as a writer does not.
const PATIENCE: Duration = Duration::from_secs(2);

/// A local store that is kept below a size.
#[derive(Debug)]
pub struct LruStore {
    store: LocalStore,
    /// In bytes.
    limit: u64,
    /// Bytes put since the last look.
    put: AtomicU64,
    /// Held by the thread that looks.
    looking: Mutex<()>,
}

impl LruStore {
    /// Keeps a cache below `limit` bytes.
    ///
    /// Nothing is looked at before something is put, so opening takes no time.
    pub fn new(store: LocalStore, limit: u64) -> Self {
        Self { store, limit, put: AtomicU64::new(0), looking: Mutex::default() }
    }

    /// Removes what is too much, and once more for those that ended meanwhile. `false` if somebody
    /// else is removing, or writing.
    fn look(&self) -> Result<bool> {
        // Others go on putting meanwhile: that counts for the next look.
        let Ok(_looking) = self.looking.try_lock() else { return Ok(false) };
        let Some(mut turn) = Turn::take(&self.store.root)? else { return Ok(false) };
        loop {
            self.put.store(0, Ordering::Relaxed);
            let now = SystemTime::now();
            let content = Content::of(&self.store, now)?;
            content.reduce(&self.store, self.limit, now)?;
            if !turn.end() {
                return Ok(true);
            }
            // Whoever was quicker grants the wish.
            let Some(next) = Turn::take(&self.store.root)? else { return Ok(true) };
            turn = next;
        }
    }

    /// Looks, and tells of a failure: what could not be removed is no reason to fail.
    fn look_or_warn(&self) -> bool {
        self.look().unwrap_or_else(|error| {
            tracing::warn!(cache = self.store.name(), %error, "the cache could not be kept small");
            true
        })
    }
}

impl Store for LruStore {
    fn get(&self, id: &ChunkId) -> Result<Option<CodedChunk>> {
        self.store.get(id)
    }

    fn has(&self, id: &ChunkId) -> Result<bool> {
        self.store.has(id)
    }

    fn another(&self, id: &ChunkId, tried: usize) -> Result<Option<CodedChunk>> {
        self.store.another(id, tried)
    }

    fn name(&self) -> String {
        self.store.name()
    }
}

impl WriteStore for LruStore {
    fn put(&self, chunk: &CodedChunk) -> Result<()> {
        self.store.put(chunk)?;
        let room = room(chunk.bytes().len() as u64);
        if self.put.fetch_add(room, Ordering::Relaxed) + room >= self.limit / LOOKS_PER_LIMIT {
            self.look_or_warn();
        }
        Ok(())
    }

    fn coding(&self) -> WriteCoding {
        self.store.coding()
    }

    fn sync(&self) -> Result<()> {
        self.store.sync()
    }
}

impl Drop for LruStore {
    fn drop(&mut self) {
        if *self.put.get_mut() == 0 || self.look_or_warn() {
            return;
        }
        // Whoever is removing may have looked before our last put, and take long.
        let root = self.store.root.clone();
        let wished = wish(&root).is_ok();
        let began = Instant::now();
        while !self.look_or_warn() {
            let granted = wished && !is_wished(&root);
            if granted || began.elapsed() >= PATIENCE {
                break;
            }
            sleep(Duration::from_millis(10));
        }
    }
}

/// What is in a cache.
struct Content {
    chunks: Vec<Found>,
    /// What stands behind the id in the names of chunk files.
    suffixes: Vec<String>,
    /// All files, in bytes.
    size: u64,
}

/// A chunk file. There may be millions, so no names.
struct Found {
    used: SystemTime,
    room: u32,
    suffix: u16,
    id: ChunkId,
}

impl Content {
    /// Looks at all chunk files, in whatever form. Abandoned temporary files are removed on the way.
    fn of(store: &LocalStore, now: SystemTime) -> Result<Self> {
        let mut content = Self { chunks: Vec::new(), suffixes: Vec::new(), size: 0 };
        for directory in entries(&store.root)? {
            let name = directory.file_name();
            if !is_prefix(&name) || !directory.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            // What another user keeps to himself is not ours to count, and no reason to remove nothing.
            for entry in entries(&directory.path()).unwrap_or_default() {
                // A file that has gone meanwhile is none.
                let Ok(metadata) = entry.metadata() else { continue };
                if metadata.is_file() {
                    content.add(&entry, &metadata, &name, now);
                }
            }
        }
        Ok(content)
    }

    fn add(&mut self, entry: &DirEntry, metadata: &Metadata, directory: &OsStr, now: SystemTime) {
        let name = entry.file_name();
        let (Some(name), Some(directory)) = (name.to_str(), directory.to_str()) else { return };
        let used = metadata.modified().unwrap_or(now);
        let room = room(metadata.len());
        if name.starts_with(TEMPORARY_PREFIX) {
            if age(used, now) < ABANDONED || fs::remove_file(entry.path()).is_err() {
                self.size += room;
            }
        } else if let Some((hex, suffix)) = name.split_at_checked(64)
            && let Ok(id) = hex.parse()
            && hex.starts_with(directory)
            && let Some(suffix) = self.suffix(suffix)
        {
            self.size += room;
            let room = u32::try_from(room).unwrap_or(u32::MAX);
            self.chunks.push(Found { used, room, suffix, id });
        }
    }

    /// The number of a suffix. There are few.
    fn suffix(&mut self, suffix: &str) -> Option<u16> {
        let known = self.suffixes.iter().position(|known| known == suffix);
        let number = known.unwrap_or_else(|| {
            self.suffixes.push(suffix.to_owned());
            self.suffixes.len() - 1
        });
        u16::try_from(number).ok()
    }

    /// Removes the chunks that were unused for longest if all together are above the limit.
    ///
    /// One that cannot be removed, as in a directory of another user, is passed over: younger ones go in
    /// its place. That is an error only if the limit is missed for it.
    fn reduce(mut self, store: &LocalStore, limit: u64, now: SystemTime) -> Result<()> {
        if self.size <= limit {
            return Ok(());
        }
        let before = self.size;
        let mut failure = None;
        self.chunks.sort_unstable_by_key(|found| found.used);
        for found in &self.chunks {
            let goal = if age(found.used, now) < IN_USE { limit } else { limit / 10 * 9 };
            if self.size <= goal {
                break;
            }
            let path = self.path(store, found);
            match fs::remove_file(&path) {
                Err(e) if !is_absence(&e) => {
                    failure = failure.or_else(|| Some(Error::io("remove", &path)(e)));
                    continue;
                }
                _ => self.size -= u64::from(found.room),
            }
            if let Some(directory) = path.parent() {
                // Refused while anything is in it. A writer that finds it gone makes it again.
                let _ = fs::remove_dir(directory);
            }
        }
        let (cache, after) = (store.name(), self.size);
        tracing::debug!(cache, before, after, limit, "chunks unused for longest were removed");
        failure.filter(|_| after > limit).map_or(Ok(()), Err)
    }

    fn path(&self, store: &LocalStore, found: &Found) -> PathBuf {
        let (hex, suffix) = (found.id.to_hex(), &self.suffixes[usize::from(found.suffix)]);
        store.root.join(&hex[..4]).join(format!("{hex}{suffix}"))
    }
}

/// How long ago; nothing for what is in the future, where clocks differ.
fn age(then: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(then).unwrap_or_default()
}

/// What a file of so many bytes takes.
fn room(len: u64) -> u64 {
    len.next_multiple_of(BLOCK)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use cairn_formats::coding::{DEFAULT_LEVEL, Encoder};
    use cairn_formats::{Chunk, Digest, Form};

    use super::*;
    use crate::LocalOptions;

    /// A chunk whose file takes one block.
    fn chunk(n: u32, coding: WriteCoding) -> CodedChunk {
        let chunk = Chunk::name(Digest::default(), n.to_le_bytes().repeat(10));
        Encoder::new(DEFAULT_LEVEL).encode(&chunk, coding)
    }

    fn store(root: &Path) -> LocalStore {
        LocalStore::cache(root, LocalOptions::default()).unwrap()
    }

    fn limited(root: &Path, blocks: u64) -> LruStore {
        LruStore::new(store(root), blocks * BLOCK)
    }

    /// Puts a chunk that was last used so many seconds ago.
    fn put_aged(store: &LocalStore, n: u32, seconds: u64) {
        let chunk = chunk(n, WriteCoding::Zstd);
        store.put(&chunk).unwrap();
        set_age(&store.path(&chunk.id()), seconds);
    }

    fn set_age(path: &Path, seconds: u64) {
        let then = SystemTime::now() - Duration::from_secs(seconds);
        fs::File::open(path).unwrap().set_modified(then).unwrap();
    }

    /// Which of the chunks up to `end` are there.
    fn here(store: &dyn Store, end: u32) -> Vec<u32> {
        (0..end).filter(|&n| store.has(&chunk(n, WriteCoding::Plain).id()).unwrap()).collect()
    }

    #[test]
    fn the_oldest_go_down_to_nine_tenths() {
        let directory = tempfile::tempdir().unwrap();
        let all = store(directory.path());
        (0..101).for_each(|n| put_aged(&all, n, 10_000 - u64::from(n)));
        limited(directory.path(), 101).look().unwrap();
        assert_eq!(here(&all, 101).len(), 101);
        limited(directory.path(), 100).look().unwrap();
        assert!(here(&all, 101).into_iter().eq(11..101));
        // A chunk each had a directory of its own, but for chance.
        assert!(fs::read_dir(directory.path()).unwrap().count() <= 90);
    }

    #[test]
    fn a_hit_makes_young_again() {
        let directory = tempfile::tempdir().unwrap();
        let all = store(directory.path());
        (0..20).for_each(|n| put_aged(&all, n, 10_000 - u64::from(n)));
        let cache = limited(directory.path(), 10);
        for n in [0, 7] {
            cache.get(&chunk(n, WriteCoding::Zstd).id()).unwrap().unwrap();
        }
        cache.look().unwrap();
        assert_eq!(here(&all, 20), [0, 7, 13, 14, 15, 16, 17, 18, 19]);
    }

    #[test]
    fn the_time_of_a_recent_hit_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let all = store(directory.path());
        put_aged(&all, 1, 50);
        put_aged(&all, 2, 70);
        let age = |n: u32| {
            let id = chunk(n, WriteCoding::Zstd).id();
            all.get(&id).unwrap().unwrap();
            let metadata = fs::metadata(all.path(&id)).unwrap();
            metadata.modified().unwrap().elapsed().unwrap().as_secs()
        };
        assert!(age(1) >= 50);
        assert!(age(2) < 50);
    }

    #[test]
    fn what_is_in_use_goes_last_and_only_to_the_limit() {
        let directory = tempfile::tempdir().unwrap();
        let all = store(directory.path());
        (0..5).for_each(|n| put_aged(&all, n, 1000));
        (5..20).for_each(|n| put_aged(&all, n, 30 - u64::from(n)));
        limited(directory.path(), 16).look().unwrap();
        assert!(here(&all, 20).into_iter().eq(5..20));
        limited(directory.path(), 10).look().unwrap();
        assert!(here(&all, 20).into_iter().eq(10..20));
    }

    #[test]
    fn every_form_counts_and_strays_stay() {
        let directory = tempfile::tempdir().unwrap();
        let all = store(directory.path());
        put_aged(&all, 1, 500);
        let form = Form::default().with_compression(false);
        let options = LocalOptions { form, ..LocalOptions::default() };
        let uncompressed = LocalStore::cache(directory.path(), options).unwrap();
        let plain = chunk(2, WriteCoding::Plain);
        uncompressed.put(&plain).unwrap();
        let plain = uncompressed.path(&plain.id());
        set_age(&plain, 400);
        let sealed = format!("{}.cacnk.of-somebody", plain.display());
        fs::write(&sealed, "sealed").unwrap();
        set_age(Path::new(&sealed), 300);
        fs::write(directory.path().join("README"), "not ours").unwrap();
        let stray = plain.with_file_name("stray");
        fs::write(&stray, "not ours").unwrap();
        limited(directory.path(), 2).look().unwrap();
        assert_eq!(here(&all, 3), [] as [u32; 0]);
        assert!(Path::new(&sealed).exists() && stray.exists());
        assert!(directory.path().join("README").exists());
    }

    #[test]
    fn only_abandoned_temporary_files_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        let all = store(directory.path());
        fs::create_dir(directory.path().join("abcd")).unwrap();
        let temporary = |n: u32| directory.path().join(format!("abcd/{TEMPORARY_PREFIX}{n}"));
        for (n, seconds) in [(1, 10), (2, 3500), (3, 3700)] {
            fs::write(temporary(n), vec![0; 4096]).unwrap();
            set_age(&temporary(n), seconds);
        }
        (0..8).for_each(|n| put_aged(&all, n, 1000 - u64::from(n)));
        limited(directory.path(), 9).look().unwrap();
        assert_eq!([1, 2, 3].map(|n| temporary(n).exists()), [true, true, false]);
        // Those in use count.
        assert_eq!(here(&all, 8), [2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn what_cannot_be_removed_is_passed_over() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let all = store(directory.path());
        (0..20).for_each(|n| put_aged(&all, n, 10_000 - u64::from(n)));
        let path = |n: u32| all.path(&chunk(n, WriteCoding::Zstd).id());
        let seal = |n: u32, mode: u32| {
            let permissions = fs::Permissions::from_mode(mode);
            fs::set_permissions(path(n).parent().unwrap(), permissions).unwrap();
        };
        seal(0, 0o555);
        seal(19, 0o000);
        if fs::File::create(path(0).with_extension("try")).is_ok() {
            // Nothing keeps root out.
            return;
        }
        limited(directory.path(), 10).look().unwrap();
        seal(19, 0o755);
        assert!(here(&all, 20).into_iter().eq([0].into_iter().chain(11..20)));
        seal(0, 0o555);
        (1..20).for_each(|n| _ = fs::remove_file(path(n)));
        let why = limited(directory.path(), 0).look().unwrap_err().to_string();
        seal(0, 0o755);
        assert!(why.contains("cannot remove"), "{why}");
    }

    #[test]
    fn putting_keeps_it_small() {
        let directory = tempfile::tempdir().unwrap();
        let cache = limited(directory.path(), 32);
        for n in 0..200 {
            cache.put(&chunk(n, WriteCoding::Zstd)).unwrap();
            assert!(here(&cache, 200).len() <= 34, "{n}");
        }
        drop(cache);
        let left = here(&store(directory.path()), 200);
        assert!(left.len() <= 32 && left.contains(&199), "{left:?}");
    }

    #[test]
    fn nothing_is_removed_while_somebody_writes() {
        let directory = tempfile::tempdir().unwrap();
        let all = store(directory.path());
        (0..20).for_each(|n| put_aged(&all, n, 1000));
        let cache = limited(directory.path(), 10);
        let writer = LocalStore::create(directory.path(), LocalOptions::default()).unwrap();
        assert!(!cache.look().unwrap());
        assert_eq!(here(&all, 20).len(), 20);
        drop(writer);
        assert!(cache.look().unwrap());
        assert_eq!(here(&all, 20).len(), 9);
    }

    #[test]
    fn one_that_ends_while_another_removes_asks_for_a_look() {
        let directory = tempfile::tempdir().unwrap();
        let all = store(directory.path());
        let cache = limited(directory.path(), 10);
        let removing = Turn::take(directory.path()).unwrap().unwrap();
        (0..20).for_each(|n| cache.put(&chunk(n, WriteCoding::Zstd)).unwrap());
        drop(cache);
        assert_eq!(here(&all, 20).len(), 20);
        assert!(removing.end());
    }

    #[test]
    fn one_that_removes_looks_again_for_those_that_ended_meanwhile() {
        for _ in 0..50 {
            let directory = tempfile::tempdir().unwrap();
            let root = directory.path();
            let all = store(root);
            (0..500).for_each(|n| put_aged(&all, n, 1000));
            let first = all.path(&chunk(0, WriteCoding::Zstd).id());
            let removes = limited(root, 10);
            std::thread::scope(|scope| {
                // Puts when the other has looked and is removing.
                scope.spawn(|| {
                    let began = Instant::now();
                    while first.exists() && began.elapsed() < Duration::from_secs(60) {}
                    (500..520).for_each(|n| all.put(&chunk(n, WriteCoding::Zstd)).unwrap());
                    wish(root).unwrap();
                });
                assert!(removes.look().unwrap());
            });
            if !is_wished(root) {
                assert_eq!(here(&all, 520).len(), 10);
                return;
            }
            // The wish came too late: that proves nothing.
        }
        panic!("nobody granted the wish");
    }
}
