//! The one worker who reads the entries of an archive: makes its directories, and jobs of the rest.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use cairn_formats::catar::{Body, Decoder, Item, Node};
use cairn_formats::flags;

use super::board::Next;
use super::large::Large;
use super::place::Place;
use super::small::Small;
use super::window::Window;
use super::{Job, Unpack, Worker};
use crate::{Error, Result};

/// Files that make a job together.
const FILES_AT_ONCE: usize = 32;

/// Bytes that make a job together.
const BYTES_AT_ONCE: usize = 256 << 10;

/// Reads all entries.
pub(super) fn read<'a>(unpack: &'a Unpack<'a>, worker: Worker) -> Result<Worker> {
    let hands = RefCell::new(Hands {
        unpack,
        worker,
        at: 0,
        window: None,
        failure: None,
        batch: Vec::new(),
        batch_bytes: 0,
    });
    let mut entries =
        Entries { unpack, hands: &hands, open: Vec::new(), wanted: Wanted::new(unpack) };
    let mut decoder = Decoder::new(Feed(&hands));
    let outcome = entries.read(&mut decoder);
    let Entries { open, .. } = entries;
    drop(decoder);
    let mut hands = hands.into_inner();
    let outcome = match hands.failure.take() {
        Some(failure) => Err(failure),
        None => outcome,
    };
    if !matches!(outcome, Err(Error::Interrupted)) && !unpack.board.is_stopped() {
        // What came before a failure is good.
        hands.flush()?;
        for place in open.iter().rev() {
            place.release(unpack)?;
        }
    }
    outcome.map(|()| hands.worker)
}

struct Entries<'h, 'a> {
    unpack: &'a Unpack<'a>,
    hands: &'h RefCell<Hands<'a>>,
    /// The directories we are in.
    open: Vec<Arc<Place>>,
    wanted: Wanted<'a>,
}

/// What of an archive is wanted: all, or what is at a path.
struct Wanted<'a> {
    path: &'a [u8],
    /// In how many directories the wanted one is, as soon as we are in it.
    inside: Option<usize>,
    is_found: bool,
}

impl<'a> Wanted<'a> {
    fn new(unpack: &'a Unpack<'a>) -> Self {
        Self { path: &unpack.options.path, inside: None, is_found: false }
    }
}

type Archive<'h, 'a> = Decoder<Feed<'h, 'a>>;

impl<'h, 'a> Entries<'h, 'a> {
    fn read(&mut self, decoder: &mut Archive<'h, 'a>) -> Result<()> {
        let mut last = 0;
        loop {
            let start = decoder.position();
            let item = decoder.next()?;
            self.unpack.monitor.check()?;
            self.unpack.monitor.advance(decoder.position() - last);
            last = decoder.position();
            match item {
                Some(Item::Node(node)) => self.node(decoder, start, node)?,
                Some(Item::Leave) => {
                    if self.wanted.inside.is_some_and(|depth| decoder.depth() < depth + 1) {
                        self.wanted.inside = None;
                    }
                    if self.open.len() > self.wanted_depth(decoder) {
                        let place = self.open.pop().expect("it was entered");
                        place.complete();
                        place.release(self.unpack)?;
                    }
                }
                None => break,
            }
            let is_part = !self.wanted.path.is_empty();
            if is_part && self.wanted.is_found && self.wanted.inside.is_none() {
                return Ok(());
            }
        }
        if self.wanted.is_found {
            return Ok(());
        }
        let path = String::from_utf8_lossy(self.wanted.path).into_owned();
        Err(Error::file(self.unpack.source.name(), format!("there is no `{path}` in the archive")))
    }

    /// How many directories should be open at this place in the archive.
    fn wanted_depth(&self, decoder: &Archive<'h, 'a>) -> usize {
        self.wanted.inside.map_or(0, |outside| decoder.depth() - outside)
    }

    /// Takes a node whose records begin at `start`.
    fn node(
        &mut self,
        decoder: &mut Archive<'h, 'a>,
        start: u64,
        mut node: Box<Node>,
    ) -> Result<()> {
        if let Some(shift) = self.unpack.options.shift {
            let path = || PathBuf::from(OsStr::from_bytes(decoder.path()));
            shift.restore(&mut node).map_err(|e| Error::io("restore", path())(e))?;
        }
        if self.wanted.inside.is_none() {
            if decoder.path() != self.wanted.path {
                return self.skip(decoder);
            }
            self.wanted.is_found = true;
            self.unpack.apply.learn(decoder.features().unwrap_or_default());
            if node.is_directory() {
                self.wanted.inside = Some(decoder.depth() - 1);
                self.open.push(Place::root(self.unpack, Some(*node))?);
                return Ok(());
            }
            if decoder.name().is_empty() {
                let why = "it holds one file and no directory, so that there is no name for it";
                return Err(Error::file(self.unpack.source.name(), why));
            }
            let root = Place::root(self.unpack, None)?;
            self.open.push(root);
        }
        let name = decoder.name();
        let place = self.open.last().expect("the root was entered");
        // What is not wanted is in the archive all the same.
        place.list(self.unpack, name);
        if node.is_directory() {
            let inner = place.enter(self.unpack, name, *node)?;
            self.open.push(inner);
            return Ok(());
        }
        if !self.is_wanted(&node.body) || self.is_there(decoder, start, &node, place) {
            return self.skip(decoder);
        }
        let small = Small { place: Arc::clone(place), name: name.into(), node, at: 0 };
        // Where nothing is known of the target nobody asks for it.
        let still = self.unpack.still.as_ref();
        let path = still.map_or_else(Vec::new, |_| decoder.path().to_owned());
        let hands = self.hands;
        decoder.take_payload(|_, len| hands.borrow_mut().give(small, len, &path))
    }

    /// Whether a file is in its place already, the same in everything.
    fn is_there(&self, decoder: &Archive<'h, 'a>, start: u64, node: &Node, place: &Place) -> bool {
        let (Body::File(len @ 1..), Some(still)) = (&node.body, &self.unpack.still) else {
            return false;
        };
        !place.is_blank && still.has(start, decoder.position(), *len, decoder.path())
    }

    fn is_wanted(&self, body: &Body) -> bool {
        let bit = match body {
            Body::File(_) | Body::Directory => return true,
            Body::Symlink(_) => flags::SYMLINKS,
            Body::Block { .. } | Body::Character { .. } => flags::DEVICE_NODES,
            Body::Fifo => flags::FIFOS,
            Body::Socket => flags::SOCKETS,
        };
        self.unpack.options.features & bit != 0
    }

    fn skip(&self, decoder: &mut Archive<'h, 'a>) -> Result<()> {
        let hands = self.hands;
        decoder.take_payload(|_, len| hands.borrow_mut().skip(len))
    }
}

/// What the decoder reads from.
struct Feed<'h, 'a>(&'h RefCell<Hands<'a>>);

impl Read for Feed<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut hands = self.0.borrow_mut();
        if let Some(records) = hands.unpack.still.as_ref().and_then(|still| still.records(hands.at))
        {
            let len = records.len().min(buffer.len());
            buffer[..len].copy_from_slice(&records[..len]);
            hands.at += len as u64;
            return Ok(len);
        }
        match hands.piece(buffer.len() as u64) {
            Ok(Some((window, range))) => {
                let len = range.len();
                buffer[..len].copy_from_slice(&window.bytes()[range]);
                Ok(len)
            }
            Ok(None) => Ok(0),
            Err(e) => {
                hands.failure = Some(e);
                Err(io::ErrorKind::Other.into())
            }
        }
    }
}

/// What the reader of entries has in hand.
struct Hands<'a> {
    unpack: &'a Unpack<'a>,
    worker: Worker,
    /// Where in the archive we are.
    at: u64,
    window: Option<Arc<Window>>,
    /// What came in the place of a window.
    failure: Option<Error>,
    /// Files that are in the window as a whole, with the place of their bytes in it.
    batch: Vec<(Small, Range<usize>)>,
    batch_bytes: usize,
}

impl Hands<'_> {
    /// The next bytes, at most so many; none at the end.
    fn piece(&mut self, most: u64) -> Result<Option<(Arc<Window>, Range<usize>)>> {
        if !self.fill(most)? {
            return Ok(None);
        }
        let window = self.window.as_ref().expect("it was filled");
        let range = window.range();
        let from = (self.at - range.start) as usize;
        let len = most.min(range.end - self.at);
        self.at += len;
        Ok(Some((Arc::clone(window), from..from + len as usize)))
    }

    /// Whether there is a byte where we are, which is then in the window, with others of `most` that are wanted. What
    /// else is to be done is done until it is there.
    fn fill(&mut self, most: u64) -> Result<bool> {
        if self.window.as_ref().is_some_and(|window| window.range().contains(&self.at)) {
            return Ok(true);
        }
        self.flush()?;
        self.window = None;
        loop {
            match self.unpack.board.window(self.at, most) {
                Next::Window(window) => {
                    let window = window?;
                    let has_byte = window.range().contains(&self.at);
                    self.window = Some(Arc::new(window));
                    return Ok(has_byte);
                }
                Next::End => return Ok(false),
                Next::Meanwhile(task) => {
                    if !self.unpack.perform(task, &mut self.worker)? {
                        // Another worker has failed, and tells why.
                        return Err(Error::Interrupted);
                    }
                }
            }
        }
    }

    fn skip(&mut self, len: u64) -> Result<()> {
        // Behind the end, the next to read will notice.
        self.at = self.at.saturating_add(len);
        Ok(())
    }

    /// Makes jobs of a file with so many bytes, which come next, or of something else. The path is to find it in the
    /// target, if anything is known of that.
    fn give(&mut self, mut small: Small, len: u64, path: &[u8]) -> Result<()> {
        let is_known = self.known(len, path, 0) > 0;
        if len > 0 && !is_known {
            self.fill(len)?;
        }
        let at = self.at;
        small.at = at;
        let window = self.window.as_ref().map_or(at..at, |window| window.range());
        small.place.hold();
        if len <= window.end.saturating_sub(at) && !is_known {
            self.at += len;
            let from = (at - window.start.min(at)) as usize;
            let range = from..from + len as usize;
            self.batch_bytes += range.len();
            self.batch.push((small, range));
            if self.batch.len() >= FILES_AT_ONCE || self.batch_bytes >= BYTES_AT_ONCE {
                self.flush()?;
            }
            return Ok(());
        }
        let (place, name) = (Arc::clone(&small.place), small.name.clone());
        let large = Large::begin(self.unpack, small)?;
        let mut done = 0;
        while done < len {
            let known = self.known(len - done, path, done);
            if known > 0 && large.may_be_there() {
                self.add(Job::Known { large: Arc::clone(&large), part: done..done + known })?;
                self.at += known;
                done += known;
                continue;
            }
            let Some((window, range)) = self.piece(len - done)? else {
                return Err(self.cut(&place, &name));
            };
            let piece = range.len() as u64;
            self.add(Job::Piece { large: Arc::clone(&large), at: done, window, range })?;
            done += piece;
        }
        Ok(())
    }

    /// How many of the next bytes, `most` at most, the target is known to have in the file of this path, from `from` on.
    fn known(&self, most: u64, path: &[u8], from: u64) -> u64 {
        let still = self.unpack.still.as_ref();
        still.map_or(0, |still| still.has_part(self.at, most, path, from))
    }

    fn cut(&self, place: &Place, name: &[u8]) -> Error {
        let why = format!("it ends too early, within {}", place.path_of(name).display());
        cairn_formats::Error::BadArchive { at: self.at, why }.into()
    }

    /// Makes a job of the files that were gathered.
    fn flush(&mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let files = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        self.add(Job::Files { files, window: self.window.clone() })
    }

    fn add(&mut self, job: Job) -> Result<()> {
        match self.unpack.board.add(job) {
            Some(own) => self.unpack.run(own, &mut self.worker),
            None => Ok(()),
        }
    }
}
