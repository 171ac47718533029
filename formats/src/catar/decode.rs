//! Records into nodes, in the order of the archive.
//!
//! ```text
//! let mut decoder = Decoder::new(input);
//! while let Some(item) = decoder.next()? {
//!     match item {
//!         Item::Node(node) => … decoder.path(), and of a file decoder.payload()
//!         Item::Leave => … the directory it is in has come to its end
//!     }
//! }
//! ```
//! Nothing is believed: every record has a limit to its length, names have one component, tables must list what was
//! there, and no more memory is taken than what has been read calls for.

use std::io::{self, Read};
use std::mem;

use super::goodbye::{Child, Goodbye, hash_name};
use super::node::Node;
use super::parse::{Parts, text};
use super::record::{GOODBYE_ITEM_LEN, HEADER_LEN, Header, Kind};
use crate::wire::{read_full, word};
use crate::{Error, Result, flags};

/// What comes next in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A node. What is in a directory comes next, until it is left; the bytes of a file are the decoder's
    /// payload until the next item.
    Node(Box<Node>),
    /// The end of the directory whose nodes came before.
    Leave,
}

/// Reads an archive from front to end.
#[derive(Debug)]
pub struct Decoder<R> {
    input: R,
    /// Bytes read so far.
    at: u64,
    /// The feature word, which all entries share.
    features: Option<u64>,
    /// The directories we are in.
    open: Vec<Directory>,
    /// The names of the current node and all it is in, joined by slashes; empty for the root.
    path: Vec<u8>,
    /// Where the last node of `path` starts in it.
    name_at: usize,
    /// Bytes of the current file that are still to be read.
    payload: u64,
    /// A header that was read ahead.
    ahead: Option<Header>,
    /// Whether the root has come to its end.
    is_over: bool,
    /// For bodies of records.
    body: Vec<u8>,
}

/// A directory that has not come to its end.
#[derive(Debug)]
struct Directory {
    /// Where its ENTRY begins.
    entry: u64,
    /// Length of its path.
    path_len: usize,
    children: Vec<Child>,
    /// The last name, to see whether they are in order.
    last_name: Vec<u8>,
    is_sorted: bool,
    /// Whether a name stood without a node, as desync leaves it of what it cannot store.
    has_gap: bool,
}

impl<R: Read> Decoder<R> {
    /// Reads what `input` gives. It should be buffered.
    pub fn new(input: R) -> Self {
        Self {
            input,
            at: 0,
            features: None,
            open: Vec::new(),
            path: Vec::new(),
            name_at: 0,
            payload: 0,
            ahead: None,
            is_over: false,
            body: Vec::new(),
        }
    }

    /// Reads what `input` gives from the ENTRY of one node on, which begins at byte `at` of an archive with this
    /// feature word, to the end of that node: it is the root then.
    pub fn at_node(input: R, at: u64, features: u64) -> Self {
        Self { at, features: Some(features), ..Self::new(input) }
    }

    /// The path of the current node below the root, whose own is empty; of a directory that was left just
    /// now as well.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// The last name in the path.
    pub fn name(&self) -> &[u8] {
        &self.path[self.name_at..]
    }

    /// In how many directories the current node is.
    pub fn depth(&self) -> usize {
        self.open.len()
    }

    /// The feature word of the archive, once its first entry has been read.
    pub fn features(&self) -> Option<u64> {
        self.features
    }

    /// Where in the archive we are, in bytes.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// Where the metadata of the current node has come to its end, if nothing has been read of what follows: the
    /// bytes of a file, or what is in a directory.
    pub fn body_start(&self) -> u64 {
        self.at - self.ahead.map_or(0, |_| HEADER_LEN as u64)
    }

    /// The bytes of the current file. What is not read of them is skipped by the next item.
    pub fn payload(&mut self) -> Payload<'_, R> {
        Payload { decoder: self }
    }

    /// Lets `take` take the rest of the current file, so many bytes, out of the input at once.
    pub fn take_payload<T, E>(
        &mut self,
        take: impl FnOnce(&mut R, u64) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let len = mem::take(&mut self.payload);
        let taken = take(&mut self.input, len)?;
        self.at += len;
        Ok(taken)
    }

    /// The next item; `None` at the end of the archive, behind which there must not be anything.
    #[allow(clippy::should_implement_trait, reason = "an item lends the decoder's payload")]
    pub fn next(&mut self) -> Result<Option<Item>> {
        self.skip_payload()?;
        if self.is_over {
            return self.end();
        }
        if self.open.is_empty() {
            return self.node().map(Some);
        }
        self.end_child();
        let start = self.body_start();
        let header = self.header()?;
        match header.kind {
            Kind::Filename => {
                self.filename(header)?;
                self.node().map(Some)
            }
            Kind::Goodbye => self.goodbye(header, start).map(Some),
            kind => {
                Err(self.bad(format!("{kind:?} where a name or the end of a directory belongs")))
            }
        }
    }

    /// The node that was current has come to its end, unless it is a directory we are in.
    fn end_child(&mut self) {
        let at = self.body_start();
        let Some(directory) = self.open.last_mut() else { return };
        if let Some(child) = directory.children.last_mut().filter(|child| child.end == 0) {
            child.end = at;
        }
        self.path.truncate(directory.path_len);
        self.name_at = self.path.len();
    }

    /// A name in the innermost directory.
    fn filename(&mut self, mut header: Header) -> Result<()> {
        loop {
            let start = self.at - HEADER_LEN as u64;
            self.read_body(header)?;
            let name = text(&self.body).map_err(|why| self.bad(format!("a name {why}")))?;
            check_name(name).map_err(|why| self.bad(why))?;
            let directory = self.open.last_mut().expect("names are in directories");
            if directory.children.is_empty() || directory.last_name.as_slice() < name {
                // In order, as it should be.
            } else if directory.last_name == name {
                let name = String::from_utf8_lossy(name).into_owned();
                return Err(self.bad(format!("`{name}` comes twice in one directory")));
            } else {
                directory.is_sorted = false;
            }
            directory.children.push(Child { hash: hash_name(name), start, end: 0 });
            directory.last_name.clear();
            directory.last_name.extend_from_slice(name);
            self.path.truncate(directory.path_len);
            if !self.path.is_empty() {
                self.path.push(b'/');
            }
            self.name_at = self.path.len();
            self.path.extend_from_slice(name);
            header = self.header()?;
            match header.kind {
                // What desync cannot store it names all the same.
                Kind::Filename | Kind::Goodbye => {
                    let directory = self.open.last_mut().expect("names are in directories");
                    directory.has_gap = true;
                    if let Some(child) = directory.children.last_mut() {
                        child.end = self.at - HEADER_LEN as u64;
                    }
                    if header.kind == Kind::Goodbye {
                        self.ahead = Some(header);
                        return Ok(());
                    }
                }
                _ => {
                    self.ahead = Some(header);
                    return Ok(());
                }
            }
        }
    }

    /// The node whose ENTRY comes next.
    fn node(&mut self) -> Result<Item> {
        let header = self.header()?;
        // In no directory there is none to leave.
        if header.kind == Kind::Goodbye && !self.open.is_empty() {
            let at = self.at - HEADER_LEN as u64;
            self.end_child();
            return self.goodbye(header, at);
        }
        if header.kind != Kind::Entry {
            return Err(self.bad(format!("{:?} where an entry belongs", header.kind)));
        }
        let entry = self.at - HEADER_LEN as u64;
        self.read_body(header)?;
        let features = word(&self.body, 0);
        self.check_features(features)?;
        let mut parts = Parts::of_entry(&self.body, features).map_err(|why| self.bad(why))?;
        // A pipe, a socket and a directory end with what comes after them.
        let next = loop {
            let next = self.header()?;
            if !Parts::is_metadata(next.kind) {
                break next;
            }
            self.read_body(next)?;
            parts.add(next.kind, &self.body).map_err(|why| self.bad(why))?;
        };
        match next.kind {
            Kind::Payload => self.payload = next.body_len(),
            Kind::Symlink | Kind::Device => self.read_body(next)?,
            _ => self.ahead = Some(next),
        }
        parts.set_body(next.kind, next.body_len(), &self.body).map_err(|why| self.bad(why))?;
        let node = parts.finish().map_err(|why| self.bad(why))?;
        if node.is_directory() {
            self.open.push(Directory {
                entry,
                path_len: self.path.len(),
                children: Vec::new(),
                last_name: Vec::new(),
                is_sorted: true,
                has_gap: false,
            });
        } else {
            self.is_over = self.open.is_empty();
        }
        Ok(Item::Node(Box::new(node)))
    }

    fn check_features(&mut self, features: u64) -> Result<()> {
        match self.features {
            Some(first) if first != features => {
                Err(self.bad("an entry with other feature flags than the first".to_owned()))
            }
            Some(_) => Ok(()),
            None => {
                if let Some(why) = flags::fault(features) {
                    return Err(self.bad(why));
                }
                self.features = Some(features);
                Ok(())
            }
        }
    }

    /// The end of the innermost directory.
    fn goodbye(&mut self, header: Header, at: u64) -> Result<Item> {
        let mut directory = self.open.pop().expect("only a directory has an end");
        let items = directory.children.len() as u64 + 1;
        if header.body_len() != items * GOODBYE_ITEM_LEN as u64 {
            return Err(
                self.bad("the table of a directory has more or fewer names than it".to_owned())
            );
        }
        self.read_body(header)?;
        let table = Goodbye::parse(mem::take(&mut self.body), at).map_err(|why| self.bad(why))?;
        let is_true = table.entry() == directory.entry
            && (directory.has_gap || table.lists(&mut directory.children));
        if !is_true {
            return Err(self.bad("the table of a directory is not that of its names".to_owned()));
        }
        if !directory.is_sorted {
            directory.children.sort_unstable();
            if directory.children.windows(2).any(|two| two[0].hash == two[1].hash) {
                return Err(self.bad("a name comes twice in one directory".to_owned()));
            }
        }
        self.path.truncate(directory.path_len);
        self.name_at =
            self.path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        self.is_over = self.open.is_empty();
        Ok(Item::Leave)
    }

    fn end(&mut self) -> Result<Option<Item>> {
        if self.ahead.is_some() || self.input.read(&mut [0])? > 0 {
            return Err(self.bad("something follows the end of the archive".to_owned()));
        }
        Ok(None)
    }

    fn skip_payload(&mut self) -> Result<()> {
        if self.payload > 0 {
            let len = self.payload;
            let skipped = io::copy(&mut (&mut self.input).take(len), &mut io::sink())?;
            self.at += skipped;
            self.payload = 0;
            if skipped < len {
                return Err(self.cut());
            }
        }
        Ok(())
    }

    /// The next header, which may have been read already.
    fn header(&mut self) -> Result<Header> {
        if let Some(header) = self.ahead.take() {
            return Ok(header);
        }
        let mut bytes = [0; HEADER_LEN];
        let read = read_full(&mut self.input, &mut bytes)?;
        let is_start = self.at == 0;
        self.at += read as u64;
        if read < HEADER_LEN {
            return Err(if is_start { not_an_archive("it is too short") } else { self.cut() });
        }
        match Header::parse(&bytes) {
            Ok(header) if is_start && header.kind != Kind::Entry => {
                Err(not_an_archive("it does not begin with an entry"))
            }
            Err(_) if is_start => Err(not_an_archive("it does not begin with an entry")),
            parsed => parsed.map_err(|why| self.bad(why)),
        }
    }

    /// Reads what belongs to a header into `body`.
    fn read_body(&mut self, header: Header) -> Result<()> {
        let len = header.body_len();
        self.body.clear();
        let read = (&mut self.input).take(len).read_to_end(&mut self.body)? as u64;
        self.at += read;
        if read < len { Err(self.cut()) } else { Ok(()) }
    }

    fn bad(&self, why: impl Into<String>) -> Error {
        let path = String::from_utf8_lossy(&self.path);
        let why = why.into();
        let why = if path.is_empty() { why } else { format!("{why} (in or behind `{path}`)") };
        Error::BadArchive { at: self.at, why }
    }

    fn cut(&self) -> Error {
        self.bad("it ends too early")
    }
}

/// Says what is wrong with a name that must be one component of a path.
pub(super) fn check_name(name: &[u8]) -> std::result::Result<(), String> {
    if name == b"." || name == b".." || name.contains(&b'/') {
        return Err(format!("`{}` is not the name of a file", String::from_utf8_lossy(name)));
    }
    Ok(())
}

fn not_an_archive(why: &str) -> Error {
    Error::NotAnArchive { why: why.to_owned() }
}

/// The bytes of a file in an archive, to be read once.
#[derive(Debug)]
pub struct Payload<'a, R> {
    decoder: &'a mut Decoder<R>,
}

impl<R: Read> Read for Payload<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.decoder.payload).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let read = self.decoder.input.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends too early"));
        }
        self.decoder.payload -= read as u64;
        self.decoder.at += read as u64;
        Ok(read)
    }
}
