//! An index or archive -> what of it is mounted.
//!
//! ```text
//! .catar           a tree: its nodes are read once and kept, its bytes come from the file
//! .caidx, .caibx   an archive in it? a tree; else a file: bytes come from the stores
//! ```
//! What is in a file is told by its first bytes, not by its name; but what is called `.caibx` is a file whatever is in it.

use std::fs::File;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::{env, io};

use cairn::archive::input::Input;
use cairn::mount::kept_tree::KeptTree;
use cairn::tree::{Shift, now};
use cairn::{Error, Monitor};
use cairn_formats::{Digest, Index, catar};
use cairn_fuse::tree::{Tree, TreeOptions};
use cairn_fuse::{BlobFile, Content, Fetchers, FileSystem, Ino, Part, PlainFile, StoredBlob};
use cairn_store::combine::Swap;
use cairn_store::{Blob, ChunkCache, Location, Store, copy_remote};
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, ValueEnum};

use super::flags::{MountFlags, MountStores};
use crate::cli::access::Access;
use crate::cli::options::Concurrency;
use crate::cli::server_flags::not_reloaded;
use crate::cli::{Context, failure, log};

/// How many ids a container has, if nothing else is said.
const RANGE: u64 = 65536;

/// Memory for what is not in the cache, in bytes at most: what is on its way, and what lies between chunks of all
/// lengths that come and go.
const ASIDE: usize = 64 << 20;

/// The bytes at the beginning of an archive that tell what it is.
const BEGINNING: u64 = 16;

/// How trees are shown.
#[derive(Debug, Default, Args)]
pub(in crate::cli) struct TreeFlags {
    /// Add this to the numbers of users and groups
    #[arg(long, value_name = "N")]
    pub(in crate::cli) uid_shift: Option<u32>,

    /// Before that take the numbers modulo this; 4294967296 for not at all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1 << 32))]
    pub(in crate::cli) uid_range: Option<u64>,

    /// Keep here what is known of trees, so that the next mount need not read it; empty for nowhere
    /// [default: cairn/trees in $XDG_CACHE_HOME or ~/.cache]
    #[arg(long, value_name = "DIR", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    cache_dir: Option<PathBuf>,
}

/// What something is shown as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Shape {
    /// A directory with what is in the archive
    Tree,
    /// A file
    File,
}

/// The stores of what is mounted, and what all of it shares.
pub(in crate::cli) struct Mounting {
    /// None if nobody named any, as archives in files need none.
    store: Option<Arc<Swap>>,
    /// Whether chunks may be kept on disk.
    may_cache: bool,
    cache: Arc<ChunkCache>,
    fetchers: Arc<Fetchers>,
    threads: usize,
}

/// What is to be mounted.
pub(in crate::cli) struct Opened {
    /// What it is called where there are others.
    pub(in crate::cli) name: Vec<u8>,
    /// What tells it from others that have had this name.
    pub(in crate::cli) key: [u8; 32],
    pub(in crate::cli) part: Part,
    /// The blob, if it comes from a store.
    pub(in crate::cli) blob: Option<Arc<StoredBlob>>,
}

impl TreeFlags {
    /// The same, with ids shifted.
    pub(in crate::cli) fn shifted(shift: Option<Shift>) -> Self {
        let range = shift.map(|shift| shift.range);
        Self { uid_shift: shift.map(|shift| shift.shift), uid_range: range, cache_dir: None }
    }

    fn options(&self, mount: &MountFlags) -> TreeOptions {
        let is_wanted = self.uid_shift.is_some() || self.uid_range.is_some();
        let shift = is_wanted.then(|| Shift {
            shift: self.uid_shift.unwrap_or(0),
            range: self.uid_range.unwrap_or(RANGE),
        });
        TreeOptions { uid: mount.uid, gid: mount.gid, shift }
    }

    /// Where is kept what is known of trees.
    fn directory(&self) -> Option<PathBuf> {
        if let Some(directory) = &self.cache_dir {
            return Some(directory.clone()).filter(|directory| directory != Path::new(""));
        }
        let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let base = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?;
        Some(base.join("cairn/trees"))
    }
}

impl Mounting {
    /// Opens the stores, if any are named; they can be exchanged for those that a file says later.
    pub(in crate::cli) fn open(
        stores: &MountStores,
        mount: &MountFlags,
        access: &Access<'_>,
    ) -> anyhow::Result<Self> {
        // What is found out before it is mounted is said as well.
        log::warnings();
        let source = stores.choice.is_given().then(|| stores.source(access)).transpose()?;
        let mounting = Self::of(source, &stores.reach.concurrency, mount.memory());
        Ok(Self { may_cache: stores.choice.may_cache(), ..mounting })
    }

    /// With a store, if there is one, and so much memory for chunks, in bytes.
    pub(in crate::cli) fn of(
        source: Option<Box<dyn Store>>,
        concurrency: &Concurrency,
        memory: usize,
    ) -> Self {
        let in_flight = source.as_ref().map_or(0, |store| store.in_flight());
        // Each waits for the answer to one request of many chunks: twice as many as a job that does nothing else.
        let threads = if in_flight > 0 { 2 } else { 1 } * concurrency.workers(in_flight);
        // What is on its way, and what replies are made of, is in memory as well.
        let memory = memory - (memory / 4).min(ASIDE);
        Self {
            store: source.map(|store| Arc::new(Swap::new(store))),
            may_cache: false,
            cache: Arc::new(ChunkCache::new(memory)),
            fetchers: Arc::new(Fetchers::new(threads)),
            threads,
        }
    }

    /// The store of an index.
    fn store(&self, index: &Location) -> anyhow::Result<Arc<dyn Store>> {
        let Some(store) = &self.store else {
            anyhow::bail!(
                "{}: no store provided: its chunks are in one, say in which with -s",
                index.without_secrets()
            );
        };
        Ok(Arc::clone(store) as _)
    }

    /// The blob of an index.
    pub(in crate::cli) fn blob(
        &self,
        index: Arc<Index>,
        location: &Location,
    ) -> anyhow::Result<Arc<StoredBlob>> {
        let blob = Blob::new(index, self.store(location)?, Arc::clone(&self.cache));
        let fetchers = Arc::clone(&self.fetchers);
        Ok(Arc::new(StoredBlob::new(blob, self.cache.limit(), fetchers)))
    }

    /// Reads the store file anew, if there is one. What is wrong with it is said, and changes nothing.
    pub(in crate::cli) fn reload(&self, stores: &MountStores, access: &Access<'_>) {
        let Some(store) = self.store.as_ref().filter(|_| stores.choice.has_file()) else { return };
        match stores.source(access) {
            Ok(new) => store.exchange(new),
            Err(e) => not_reloaded(&e),
        }
    }

    /// Refuses to fetch everything of a blob if there is no place for it.
    pub(in crate::cli) fn check_prefetch(&self, blob: &StoredBlob) -> anyhow::Result<()> {
        anyhow::ensure!(
            blob.fits() || self.may_cache,
            "--prefetch needs a place for {} bytes: a --cache, or more --memory",
            blob.blob().size()
        );
        Ok(())
    }

    /// Fetches all chunks of a blob.
    pub(in crate::cli) fn prefetch(&self, blob: &StoredBlob, stop: &AtomicBool) {
        blob.pass(self.threads, stop);
    }

    /// What an index or archive is mounted as.
    pub(in crate::cli) fn part(
        &self,
        location: &Location,
        shape: Option<Shape>,
        mount: &MountFlags,
        trees: &TreeFlags,
        (access, context): (&Access<'_>, &Context),
    ) -> anyhow::Result<Opened> {
        let name = name_of(location)?.into_bytes();
        let progress = context.progress.without_lines();
        if let Location::Local(path) = location
            && let Some(file) = archive_in(path)?
        {
            let how = (trees.options(mount), trees.directory());
            is_tree(location, shape)?;
            return archive(name, path, file, how, &progress);
        }
        if path_of(location).ends_with(".catar") {
            is_tree(location, shape)?;
            let (file, path) = fetched(location, access, trees)?;
            // The next time it is another file.
            let options = trees.options(mount);
            return archive(name, &path, file, (options, None), &progress);
        }
        let index = Arc::new(access.any_index(location)?);
        let key = *index.fingerprint().as_bytes();
        let blob = self.blob(Arc::clone(&index), location)?;
        let shape = match shape {
            Some(shape) => shape,
            None => shape_of(location, &blob)?,
        };
        let content = Arc::clone(&blob) as Arc<dyn Content>;
        let (fs, entry): (Arc<dyn FileSystem>, _) = match shape {
            Shape::File => {
                let file = BlobFile::new(name.clone(), content, mount.owner(), now());
                (Arc::new(file), BlobFile::FILE)
            }
            Shape::Tree => {
                let store = self.store(location)?;
                let name = location.without_secrets();
                let input = Input::of_index(Arc::clone(&index), store, name);
                let directory = trees.directory();
                let kept =
                    KeptTree::open(&input, &key, directory.as_deref(), self.threads, &progress)?;
                (tree(kept, content, trees.options(mount)), Ino::ROOT)
            }
        };
        Ok(Opened { name, key, part: Part { fs, entry }, blob: Some(blob) })
    }
}

/// Refuses to show an archive as the file that it is.
fn is_tree(location: &Location, shape: Option<Shape>) -> anyhow::Result<()> {
    anyhow::ensure!(shape != Some(Shape::File), "{location}: is a file as it is");
    Ok(())
}

/// What an archive in a file is mounted as. What is known of it is kept in a directory, if there is one.
fn archive(
    name: Vec<u8>,
    path: &Path,
    file: File,
    (options, directory): (TreeOptions, Option<PathBuf>),
    progress: &dyn Monitor,
) -> anyhow::Result<Opened> {
    let found = file.metadata().map_err(Error::io("read", path))?;
    // As long as nobody touches it, it is the same.
    let facts = [found.dev(), found.ino(), found.size()];
    let times = [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()];
    let times = times.map(i64::cast_unsigned);
    let facts: Vec<u8> = facts.iter().chain(&times).flat_map(|fact| fact.to_le_bytes()).collect();
    let key = *Digest::Sha512_256.hash(&facts).as_bytes();
    let again = file.try_clone().map_err(Error::io("open", path))?;
    let input = Input::of_file(again, path)?;
    let size = input.size().unwrap_or(found.len());
    let kept = KeptTree::open(&input, &key, directory.as_deref(), 0, progress)?;
    let content = Arc::new(PlainFile::new(file, size, path));
    let part = Part { fs: tree(kept, content, options), entry: Ino::ROOT };
    Ok(Opened { name, key, part, blob: None })
}

/// A tree of which everything is known.
fn tree(kept: KeptTree, content: Arc<dyn Content>, options: TreeOptions) -> Arc<dyn FileSystem> {
    if let Some(e) = &kept.warning {
        failure::warn(&format!("what is known of the archive is not kept: {e}"));
    }
    Arc::new(Tree::new(kept.block, content, options))
}

/// A file, if it is an archive rather than an index.
fn archive_in(path: &Path) -> anyhow::Result<Option<File>> {
    let kind = path.metadata().map_err(Error::io("open", path))?.file_type();
    if !kind.is_file() && !kind.is_block_device() {
        // A pipe can be opened once, by who reads an index.
        return Ok(None);
    }
    let file = File::open(path).map_err(Error::io("open", path))?;
    let mut beginning = [0; BEGINNING as usize];
    match file.read_exact_at(&mut beginning, 0) {
        Ok(()) => {}
        // Too short for either: who reads an index says what is wrong with it.
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(e) => return Err(Error::io("read", path)(e).into()),
    }
    Ok(catar::begins_with(&beginning).then_some(file))
}

/// An archive far away, fetched into a file that goes away with the mount, and what it is called.
fn fetched(
    location: &Location,
    access: &Access<'_>,
    trees: &TreeFlags,
) -> anyhow::Result<(File, PathBuf)> {
    let place = access.index_place(location)?;
    // Beside what is kept of trees there is room for more than in memory, where other places may be.
    let directory = trees.directory().filter(|directory| directory.is_dir());
    let directory = directory.unwrap_or_else(env::temp_dir);
    let file = tempfile::tempfile_in(&directory).map_err(Error::io("write into", &directory))?;
    copy_remote(location, &file, &place).map_err(Error::from)?;
    Ok((file, PathBuf::from(location.without_secrets())))
}

/// What the blob of an index is best shown as.
fn shape_of(location: &Location, blob: &StoredBlob) -> anyhow::Result<Shape> {
    if path_of(location).ends_with(".caibx") {
        return Ok(Shape::File);
    }
    let beginning = blob.blob().read(0..BEGINNING).map_err(Error::from)?;
    Ok(if catar::begins_with(&beginning) { Shape::Tree } else { Shape::File })
}

/// A location without what is asked of a server.
fn path_of(location: &Location) -> String {
    let text = location.without_secrets();
    text.split(['?', '#']).next().unwrap_or_default().to_owned()
}

/// What is mounted is called: as its index, without the last suffix.
pub(in crate::cli) fn name_of(index: &Location) -> anyhow::Result<String> {
    if *index == Location::Stdio {
        return Ok("-".to_owned());
    }
    let text = path_of(index);
    let last = text.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let name = match last.rfind('.') {
        Some(dot) if dot > 0 => &last[..dot],
        _ => last,
    };
    anyhow::ensure!(!matches!(name, "" | "." | ".."), "`{text}` has no name");
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_desync() {
        for (index, name) in [
            ("a/image.raw.caibx", "image.raw"),
            ("-", "-"),
            ("https://h/x/y.caibx?sig=a/b.c", "y"),
            ("/a/b", "b"),
            ("/a/.hidden", ".hidden"),
        ] {
            assert_eq!(name_of(&index.parse().unwrap()).unwrap(), name, "{index}");
        }
    }
}
