//! The members of a tar, in the order in which they come.
//!
//! ```text
//! (records | long name | long link)* header map? bytes  ->  member
//! ```

use std::mem;

use cairn_formats::catar::{Body, Node};
use cairn_formats::tar::{self, BLOCK, Header, Kind};

use super::blocks::Blocks;
use super::fields::{Fields, Records};
use super::holes::Map;
use super::source::Source;
use crate::archive::step::Piece;
use crate::tree::names::Names;

/// Bytes of names and records in front of one member: several attributes as long as they can be, and the map of a
/// file with very many holes.
const MOST_RECORDS: usize = 16 << 20;

/// Bytes of the records for all members. Each member, which may be one block long, is given all that is said there, so
/// that this bounds how much more memory a tar takes than it is long.
const MOST_GLOBAL: usize = 16 << 10;

/// Bytes of a path, which systems limit to far less.
const LONGEST_PATH: usize = 64 << 10;

const CUT: &str = "the tar is cut off in it, or its size is wrong";

/// A member of a tar.
#[derive(Debug)]
pub(super) struct Member {
    /// As it stands in the tar.
    pub(super) path: Vec<u8>,
    pub(super) what: What,
}

/// What a member is.
#[derive(Debug)]
pub(super) enum What {
    /// A node, and where the bytes of a file are.
    Node(Box<Node>, Vec<Piece>),
    /// Another name of what has this path.
    Link(Vec<u8>),
}

/// Reads one member after the other.
pub(super) struct Members<'a> {
    source: &'a Source,
    blocks: Blocks<'a>,
    features: u64,
    names: Names,
    global: Records,
    /// Bytes of keys and values in `global`.
    global_len: usize,
    /// Nothing comes any more.
    is_over: bool,
}

/// What is said in front of a member.
#[derive(Default)]
struct Ahead {
    records: Records,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    /// Offsets and lengths of GNU.sparse 0.0, whose records repeat.
    extents: Vec<u64>,
    /// Bytes of all that.
    len: usize,
}

/// What can go wrong with a member.
pub(super) enum Fault {
    /// The tar itself.
    Source(crate::Error),
    /// What is said of the member, which is told with its path.
    Member(String),
}

impl<'a> Members<'a> {
    pub(super) fn new(source: &'a Source, features: u64) -> Self {
        let blocks = Blocks::new(source);
        let (names, global) = (Names::default(), Records::new());
        Self { source, blocks, features, names, global, global_len: 0, is_over: false }
    }

    /// The next member; `None` at the end of the tar.
    fn member(&mut self) -> crate::Result<Option<Member>> {
        let mut ahead = Ahead::default();
        loop {
            let at = self.blocks.position();
            let Some(header) = self.header()? else {
                if ahead.len > 0 {
                    return Err(self.source.bad("the tar ends where a member is announced"));
                }
                return Ok(None);
            };
            let size = header.size().and_then(|size| u64::try_from(size).ok());
            match header.kind() {
                Kind::Records => ahead
                    .add(&self.extra(at, size, MOST_RECORDS)?)
                    .map_err(|why| self.bad_at(at, why))?,
                Kind::Global => {
                    let bytes = self.extra(at, size, MOST_RECORDS)?;
                    self.add_global(&bytes).map_err(|why| self.bad_at(at, why))?;
                }
                Kind::LongName => ahead.name = Some(self.long(at, size, &mut ahead.len)?),
                Kind::LongLink => ahead.link = Some(self.long(at, size, &mut ahead.len)?),
                Kind::Label => {
                    self.extra(at, size, MOST_RECORDS)?;
                }
                _ => return self.node(&header, &ahead).map(Some),
            }
        }
    }

    /// The next header; `None` at the end.
    fn header(&mut self) -> crate::Result<Option<Header>> {
        let at = self.blocks.position();
        let Some(block) = self.blocks.next()? else {
            let why = if at == 0 {
                "it is not a tar: it is too short".to_owned()
            } else {
                format!(
                    "the tar is cut off at byte {at}: the blocks of zeros at its end are missing"
                )
            };
            return Err(self.source.bad(why));
        };
        if block != [0; BLOCK] {
            let header = Header::parse(&block);
            let why = || {
                let what = if at == 0 { "it is not a tar" } else { "the tar is damaged" };
                self.bad_at(at, format!("{what}: a header whose sum is wrong"))
            };
            return header.ok_or_else(why).map(Some);
        }
        // Behind one block of zeros there is another, or nothing.
        match self.blocks.next()? {
            Some(next) if next != [0; BLOCK] => {
                Err(self.bad_at(at, "the tar is damaged: a lone block of zeros"))
            }
            _ => Ok(None),
        }
    }

    /// What is behind a header that announces a member.
    fn extra(&mut self, at: u64, size: Option<u64>, most: usize) -> crate::Result<Vec<u8>> {
        let len = size.and_then(|size| usize::try_from(size).ok()).filter(|&len| len <= most);
        let Some(len) = len else {
            return Err(
                self.bad_at(at, "what announces a member is longer than anything should be")
            );
        };
        let taken = self.blocks.take(len)?;
        taken.ok_or_else(|| self.bad_at(at, "the tar is cut off in what announces a member"))
    }

    /// A path in blocks of its own, which ends with a NUL.
    fn long(&mut self, at: u64, size: Option<u64>, len: &mut usize) -> crate::Result<Vec<u8>> {
        let mut path = self.extra(at, size, LONGEST_PATH + 1)?;
        path.truncate(path.iter().position(|&byte| byte == 0).unwrap_or(path.len()));
        *len += BLOCK;
        Ok(path)
    }

    fn add_global(&mut self, bytes: &[u8]) -> Result<(), String> {
        for (key, value) in tar::records(bytes)? {
            let is_of_one = matches!(key, b"path" | b"linkpath") || key.starts_with(b"GNU.sparse.");
            if is_of_one && !value.is_empty() {
                let key = String::from_utf8_lossy(key);
                return Err(format!("a `{key}` for all members, which only one can have"));
            }
            let old = self.global.insert(key.to_vec(), value.to_vec());
            self.global_len -= old.map_or(0, |old| key.len() + old.len());
            self.global_len += key.len() + value.len();
        }
        if self.global_len > MOST_GLOBAL {
            return Err(format!(
                "records for all members of {} bytes, where {MOST_GLOBAL} are read",
                self.global_len
            ));
        }
        Ok(())
    }

    /// The member a header stands for.
    fn node(&mut self, header: &Header, ahead: &Ahead) -> crate::Result<Member> {
        let global = mem::take(&mut self.global);
        let fields =
            Fields { header, own: &ahead.records, global: &global, features: self.features };
        let path = path(&fields, ahead);
        let what = self.what(&fields, ahead, &path);
        self.global = global;
        match what {
            Ok(what) => Ok(Member { what, path }),
            Err(Fault::Source(error)) => Err(error),
            Err(Fault::Member(why)) => {
                Err(self.source.bad(format!("member `{}`: {why}", shown(&path))))
            }
        }
    }

    fn what(&mut self, fields: &Fields<'_>, ahead: &Ahead, path: &[u8]) -> Result<What, Fault> {
        if path.len() > LONGEST_PATH {
            return Err(format!("its path has {} bytes", path.len()).into());
        }
        let mut pieces = Vec::new();
        let body = match fields.header.kind() {
            // As the oldest programs write directories.
            Kind::File if path.ends_with(b"/") => self.passed_over(fields)?,
            Kind::Dump => self.passed_over(fields)?,
            Kind::File | Kind::Sparse => {
                let (size, of_file) = self.file(fields, ahead)?;
                pieces = of_file;
                Body::File(size)
            }
            Kind::Link => return Ok(What::Link(fields.link(ahead.link.as_deref()))),
            Kind::Symlink => fields.symlink(ahead.link.as_deref())?,
            Kind::Character => {
                let (major, minor) = fields.device()?;
                Body::Character { major, minor }
            }
            Kind::Block => {
                let (major, minor) = fields.device()?;
                Body::Block { major, minor }
            }
            Kind::Directory => Body::Directory,
            Kind::Fifo => Body::Fifo,
            Kind::Other(b'M') => return Err("it begins in another volume".into()),
            Kind::Other(kind) => {
                return Err(format!("its kind `{}` is not known", kind.escape_ascii()).into());
            }
            Kind::Records | Kind::Global | Kind::LongName | Kind::LongLink | Kind::Label => {
                unreachable!("what announces a member is none")
            }
        };
        Ok(What::Node(Box::new(fields.node(body, &self.names)?), pieces))
    }

    /// A directory behind which there are bytes that are not of it.
    fn passed_over(&mut self, fields: &Fields<'_>) -> Result<Body, Fault> {
        let size = fields.number("size", fields.header.size())?;
        if self.blocks.skip(size) { Ok(Body::Directory) } else { Err(CUT.into()) }
    }

    /// How long a file is and where its bytes are.
    fn file(&mut self, fields: &Fields<'_>, ahead: &Ahead) -> Result<(u64, Vec<Piece>), Fault> {
        let mut stored = fields.number("size", fields.header.size())?;
        let map = Map::read(fields, &ahead.extents, &mut self.blocks, &mut stored)?;
        let at = self.blocks.at();
        if !self.blocks.skip(stored) {
            return Err(CUT.into());
        }
        Ok(match map {
            Some(map) => (map.size(), map.pieces(at, stored)?),
            None if stored == 0 => (0, Vec::new()),
            None => (stored, vec![Piece::Data { at, len: stored }]),
        })
    }

    fn bad_at(&self, at: u64, why: impl AsRef<str>) -> crate::Error {
        self.source.bad(format!("{} (at byte {at})", why.as_ref()))
    }
}

impl Iterator for Members<'_> {
    type Item = crate::Result<Member>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let member = self.member().transpose();
        self.is_over = !matches!(member, Some(Ok(_)));
        member
    }
}

impl From<crate::Error> for Fault {
    fn from(error: crate::Error) -> Self {
        Self::Source(error)
    }
}

impl From<String> for Fault {
    fn from(why: String) -> Self {
        Self::Member(why)
    }
}

impl From<&str> for Fault {
    fn from(why: &str) -> Self {
        Self::Member(why.to_owned())
    }
}

impl Ahead {
    fn add(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.len += BLOCK + bytes.len();
        if self.len > MOST_RECORDS {
            return Err("records in front of a member that are too long".to_owned());
        }
        for (key, value) in tar::records(bytes)? {
            if key == b"GNU.sparse.offset" || key == b"GNU.sparse.numbytes" {
                let is_turn = self.extents.len().is_multiple_of(2) == key.ends_with(b"offset");
                let number = str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                let number = number.filter(|_| is_turn);
                self.extents.push(number.ok_or("a map of holes that is wrong")?);
            } else {
                self.records.insert(key.to_vec(), value.to_vec());
            }
        }
        Ok(())
    }
}

fn path(fields: &Fields<'_>, ahead: &Ahead) -> Vec<u8> {
    let path = fields.record("GNU.sparse.name").or_else(|| fields.record("path"));
    let path = path.or(ahead.name.as_deref());
    path.map_or_else(|| fields.header.name(), <[u8]>::to_vec)
}

/// A path for a message.
pub(super) fn shown(path: &[u8]) -> String {
    /// Enough to know which one is meant.
    const SHOWN: usize = 400;
    let text = String::from_utf8_lossy(&path[..path.len().min(SHOWN)]);
    let text: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if path.len() > SHOWN { format!("{text}…") } else { text }
}
