//! An archive to look into, wherever it is.
//!
//! ```text
//! File     a file on this machine         read here and there
//! Index    an index and a store           chunks of what is looked at, and no others
//! Stream   a pipe                         once, from front to end
//! Tree     a directory                    packed on the way, from front to end; or here and there, as its files are
//! ```

use std::fs::File;
use std::io::{self, BufReader, Read, pipe};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use cairn_formats::catar::{Archive, Found, ReadAt, Span};
use cairn_formats::{Error as FormatError, Index};
use cairn_store::{Blob, ChunkCache, DEFAULT_CACHE, Store};

use crate::archive::pack::{self, Map, PackOptions};
use crate::cat::{CatOptions, cat, widen_pipe};
use crate::flow::{beside, lock};
use crate::monitor::{Aside, Quiet};
use crate::{Error, Monitor, Result, Silent};

/// Bytes read at once where the bytes of files are wanted.
const CONTENT_AHEAD: usize = 256 << 10;

/// Bytes read at once where they are not: a page holds the metadata of several nodes.
const NODES_AHEAD: usize = 4096;

/// Bytes fetched ahead at most, of what is read in order.
const FETCH_AHEAD: u64 = 1 << 20;

/// What a pipe of ours is called in errors.
const OURS: &str = "a pipe of our own";

/// An archive, or another blob.
pub struct Input {
    /// What it is called in errors.
    name: String,
    place: Place,
}

/// Where the bytes of an input are.
enum Place {
    File(File, u64),
    Index(Box<Blob>),
    /// `None` once somebody has begun to read it.
    Stream(Mutex<Option<Box<dyn Read + Send>>>),
    Tree(Tree),
}

/// A directory that is looked at as an archive.
struct Tree {
    root: PathBuf,
    options: PackOptions,
    /// What would lie where, once somebody has asked.
    map: OnceLock<Map>,
}

/// What can be read of an archive in order.
pub trait Forward: Read {
    /// Goes on so many bytes further.
    fn skip(&mut self, len: u64) -> io::Result<()>;
}

impl Input {
    /// A file that can be read from any place.
    pub fn of_file(file: File, name: &Path) -> Result<Self> {
        let len = crate::check::len_of(&file).map_err(Error::io("measure", name))?;
        Ok(Self { name: name.display().to_string(), place: Place::File(file, len) })
    }

    /// The blob of an index, whose chunks are in a store.
    pub fn of_index(index: impl Into<Arc<Index>>, store: Arc<dyn Store>, name: String) -> Self {
        let blob = Blob::new(index.into(), store, Arc::new(ChunkCache::new(DEFAULT_CACHE)));
        Self { name, place: Place::Index(Box::new(blob)) }
    }

    /// What comes through a pipe.
    pub fn of_stream(stream: impl Read + Send + 'static, name: String) -> Self {
        Self { name, place: Place::Stream(Mutex::new(Some(Box::new(stream)))) }
    }

    /// The archive that a directory would be.
    pub fn of_directory(path: &Path, options: PackOptions) -> Self {
        let tree = Tree { root: path.to_owned(), options, map: OnceLock::new() };
        let place = Place::Tree(tree);
        Self { name: path.display().to_string(), place }
    }

    /// What it is called in errors.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its index, if it is one.
    pub fn index(&self) -> Option<&Index> {
        match &self.place {
            Place::Index(blob) => Some(blob.index()),
            _ => None,
        }
    }

    /// The blob of its index, if it is one.
    pub(crate) fn blob(&self) -> Option<&Blob> {
        match &self.place {
            Place::Index(blob) => Some(blob),
            _ => None,
        }
    }

    /// The bytes of all of it: `None` of a pipe and of a directory, of which nobody knows.
    pub fn size(&self) -> Option<u64> {
        match &self.place {
            Place::File(_, len) => Some(*len),
            Place::Index(blob) => Some(blob.size()),
            Place::Stream(_) | Place::Tree(_) => None,
        }
    }

    /// Whether it can only be read from front to end.
    pub fn is_stream(&self) -> bool {
        matches!(self.place, Place::Stream(_))
    }

    /// Whether it is a directory, all of which is read best from front to end.
    pub fn is_directory(&self) -> bool {
        matches!(self.place, Place::Tree(_))
    }

    /// The archive, to be looked at here and there. Refused of a stream. All names of a directory are looked at now,
    /// and those of its files are opened whose bytes are asked for.
    pub fn archive(&self) -> Result<Archive<&dyn ReadAt>> {
        let mut size = self.size().unwrap_or_default();
        let bytes: &dyn ReadAt = match &self.place {
            Place::File(file, _) => file,
            Place::Index(blob) => &**blob,
            Place::Tree(tree) => {
                size = tree.map()?.len();
                tree
            }
            Place::Stream(_) => {
                let why = "comes through a pipe; this needs an archive that is read here and there";
                return Err(Error::file(&self.name, why));
            }
        };
        Archive::new(bytes, size).map_err(|e| self.wrong(e))
    }

    /// The node at a path of an archive; an error if there is none.
    pub fn find(&self, archive: &Archive<&dyn ReadAt>, path: &[u8]) -> Result<Found> {
        let found = archive.find(path).map_err(|e| self.wrong(e))?;
        found.ok_or_else(|| self.absent(path))
    }

    /// That there is nothing at a path.
    pub fn absent(&self, path: &[u8]) -> Error {
        Error::file(&self.name, format!("has no `{}`", String::from_utf8_lossy(path)))
    }

    /// Lets `read` read a range in order, of which it may skip what it does not want. What is skipped is not
    /// fetched.
    pub fn in_parts<T>(
        &self,
        range: Range<u64>,
        read: impl FnOnce(&mut dyn Forward) -> Result<T>,
    ) -> Result<T> {
        match &self.place {
            Place::File(file, _) => read(&mut Span::new(file, range, NODES_AHEAD)),
            Place::Index(blob) => {
                let run = Run { blob, end: range.end, next: Mutex::new((u64::MAX, 0)) };
                read(&mut Span::new(run, range, NODES_AHEAD))
            }
            Place::Tree(tree) => read(&mut Span::new(tree, range, NODES_AHEAD)),
            Place::Stream(_) => self.in_whole(range, 1, &Silent, read),
        }
    }

    /// Lets `read` read all of a range in order; the chunks of an index are fetched by several workers. A
    /// stream is read from where it is, and a directory that was not looked at as an archive whole.
    pub fn in_whole<T>(
        &self,
        range: Range<u64>,
        workers: usize,
        monitor: &dyn Monitor,
        read: impl FnOnce(&mut dyn Forward) -> Result<T>,
    ) -> Result<T> {
        match &self.place {
            Place::File(file, _) => read(&mut Span::new(file, range, CONTENT_AHEAD)),
            Place::Index(blob) => {
                let options = CatOptions { range, workers };
                let (index, store) = (blob.index(), blob.store());
                piped(
                    |output| cat(index, store, output, OURS.as_ref(), &options, &Quiet(monitor)),
                    read,
                )
            }
            Place::Tree(tree) if tree.map.get().is_some() => {
                read(&mut Span::new(tree, range, CONTENT_AHEAD))
            }
            Place::Tree(Tree { root, options, .. }) => {
                let tree = pack::Input::Tree(root);
                let write = |output: &mut File| {
                    let output = pack::Output::Stream(output);
                    // That a file changed meanwhile is for the user to know.
                    pack::pack(tree, output, OURS.as_ref(), options, &Aside(monitor)).map(drop)
                };
                piped(write, read)
            }
            Place::Stream(stream) => {
                let stream = lock(stream).take();
                let stream = stream.ok_or_else(|| Error::file(&self.name, "was read already"))?;
                read(&mut Piped(BufReader::with_capacity(CONTENT_AHEAD, stream)))
            }
        }
    }

    /// The error about this input for one that its bytes led to.
    pub fn wrong(&self, error: FormatError) -> Error {
        match error {
            FormatError::Io(error) => self.unreadable(error),
            source => Error::from(cairn_store::Error::invalid(&*self.name)(source)),
        }
    }

    /// The error about this input for one met while reading it.
    pub fn unreadable(&self, error: io::Error) -> Error {
        match error.downcast::<cairn_store::Error>() {
            Ok(error) => error.into(),
            Err(error) => Error::io("read", &self.name)(error),
        }
    }
}

impl Tree {
    /// What would lie where.
    fn map(&self) -> Result<&Map> {
        if let Some(map) = self.map.get() {
            return Ok(map);
        }
        let map = pack::map_records(&self.root, &self.options, &Silent)?;
        Ok(self.map.get_or_init(|| map))
    }
}

impl ReadAt for Tree {
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let map = self.map().map_err(io::Error::other)?;
        let read = map.read_some(&self.root, at, buffer)?;
        read.ok_or_else(|| io::Error::other("a file in it changed meanwhile"))
    }
}

/// Lets `read` read what `write` writes meanwhile.
fn piped<T>(
    write: impl FnOnce(&mut File) -> Result<()> + Send,
    read: impl FnOnce(&mut dyn Forward) -> Result<T>,
) -> Result<T> {
    let (reader, writer) = pipe().map_err(Error::io("open", OURS))?;
    let mut output = File::from(OwnedFd::from(writer));
    widen_pipe(&output);
    // Each end is closed when its side is done, which ends the other side.
    let (written, done) = beside(
        move || write(&mut output),
        move || read(&mut Piped(BufReader::with_capacity(CONTENT_AHEAD, reader))),
    );
    match written {
        // The reader had enough, and says why.
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => done,
        Err(e) => Err(e),
        Ok(()) => done,
    }
}

/// What cannot be skipped but by reading it.
struct Piped<R>(R);

impl<R: Read> Read for Piped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read> Forward for Piped<R> {
    fn skip(&mut self, len: u64) -> io::Result<()> {
        match io::copy(&mut (&mut self.0).take(len), &mut io::sink())? {
            skipped if skipped == len => Ok(()),
            _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends too early")),
        }
    }
}

impl<R: ReadAt> Forward for Span<R> {
    fn skip(&mut self, len: u64) -> io::Result<()> {
        Span::skip(self, len)
    }
}

/// A blob that is read in order: as long as chunk follows upon chunk, more and more of them are fetched at
/// once, to the end of what is wanted.
struct Run<'a> {
    blob: &'a Blob,
    end: u64,
    /// Where the bytes end that are here, and how many were fetched for them.
    next: Mutex<(u64, u64)>,
}

impl ReadAt for Run<'_> {
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = lock(&self.next);
        let (next, len) = *state;
        let end = at.saturating_add(buffer.len() as u64).min(self.end);
        if end > next || at < next.saturating_sub(len) {
            // A chunk is always fetched whole, so that a gap smaller than one is none.
            let gap = self.blob.index().sizes().avg() as u64;
            let is_run = at <= next.saturating_add(gap) && end > next;
            let more = if is_run { (2 * len).max(gap).min(FETCH_AHEAD) } else { 0 };
            let until = end.saturating_add(more).min(self.end);
            self.blob.fetch_ahead(at..until).map_err(io::Error::other)?;
            *state = (until, until - at);
        }
        drop(state);
        ReadAt::read_at(self.blob, at, buffer)
    }
}
