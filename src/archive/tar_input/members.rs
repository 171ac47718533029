//! The members of a tar, in the order in which they come.
//!
//! ```text
//! (records | long name | long link)* header map? bytes  ->  member
//! ```

use cairn_formats::catar::{Body, Node};
use cairn_formats::tar::{
    self, BLOCK, Extent, Header, Kind, MapReader, extension_extents, header_extents, list_extents,
};

use super::blocks::Blocks;
use super::fields::{Fields, Records};
use super::source::Source;
use crate::Result;
use crate::archive::step::Piece;
use crate::tree::names::Names;

/// Bytes of names and records in front of one member, or for all members: several attributes as long as they can
/// be, and the map of a file with very many holes.
const MOST_RECORDS: usize = 16 << 20;

/// Bytes of a path, which systems limit to far less.
const LONGEST_PATH: usize = 64 << 10;

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
    /// Nothing comes any more.
    is_over: bool,
}

/// What is said in front of a member.
#[derive(Default)]
struct Ahead {
    records: Records,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    /// The numbers of GNU.sparse 0.0, whose records repeat.
    extents: Vec<u64>,
    /// Bytes of all that.
    len: usize,
}

/// Errors within a member are told with its path.
type Told<T> = std::result::Result<T, String>;

impl<'a> Members<'a> {
    pub(super) fn new(source: &'a Source, features: u64) -> Self {
        let blocks = Blocks::new(source);
        let (names, global) = (Names::default(), Records::new());
        Self { source, blocks, features, names, global, is_over: false }
    }

    /// The next member; `None` at the end of the tar.
    fn member(&mut self) -> Result<Option<Member>> {
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
    fn header(&mut self) -> Result<Option<Header>> {
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
    fn extra(&mut self, at: u64, size: Option<u64>, most: usize) -> Result<Vec<u8>> {
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
    fn long(&mut self, at: u64, size: Option<u64>, len: &mut usize) -> Result<Vec<u8>> {
        let mut path = self.extra(at, size, LONGEST_PATH + 1)?;
        path.truncate(path.iter().position(|&byte| byte == 0).unwrap_or(path.len()));
        *len += BLOCK;
        Ok(path)
    }

    fn add_global(&mut self, bytes: &[u8]) -> Told<()> {
        for (key, value) in tar::records(bytes)? {
            self.global.insert(key.to_vec(), value.to_vec());
        }
        let len: usize = self.global.iter().map(|(key, value)| key.len() + value.len()).sum();
        if len > MOST_RECORDS {
            return Err("records for all members that are too long".to_owned());
        }
        Ok(())
    }

    /// The member a header stands for.
    fn node(&mut self, header: &Header, ahead: &Ahead) -> Result<Member> {
        let global = std::mem::take(&mut self.global);
        let fields =
            Fields { header, own: &ahead.records, global: &global, features: self.features };
        let path = path(&fields, ahead);
        let what = match path.len() {
            0..=LONGEST_PATH => self.what(header, &fields, ahead, &path)?,
            len => Err(format!("its path has {len} bytes")),
        };
        self.global = global;
        let why = |why| self.source.bad(format!("member `{}`: {why}", shown(&path)));
        Ok(Member { what: what.map_err(why)?, path })
    }

    fn what(
        &mut self,
        header: &Header,
        fields: &Fields<'_>,
        ahead: &Ahead,
        path: &[u8],
    ) -> Result<Told<What>> {
        let mut pieces = Vec::new();
        let body = match header.kind() {
            // As the oldest programs write directories.
            Kind::File if path.ends_with(b"/") => self.passed_over(fields),
            Kind::Dump => self.passed_over(fields),
            Kind::File | Kind::Sparse => match self.file(header, fields, ahead)? {
                Ok((size, of_file)) => {
                    pieces = of_file;
                    Ok(Body::File(size))
                }
                Err(why) => Err(why),
            },
            Kind::Link => return Ok(Ok(What::Link(fields.link(ahead.link.as_deref())))),
            Kind::Symlink => fields.symlink(ahead.link.as_deref()),
            Kind::Character => {
                fields.device().map(|(major, minor)| Body::Character { major, minor })
            }
            Kind::Block => fields.device().map(|(major, minor)| Body::Block { major, minor }),
            Kind::Directory => Ok(Body::Directory),
            Kind::Fifo => Ok(Body::Fifo),
            Kind::Other(b'M') => Err("it begins in another volume".to_owned()),
            Kind::Other(kind) => Err(format!("its kind `{}` is not known", kind.escape_ascii())),
            Kind::Records | Kind::Global | Kind::LongName | Kind::LongLink | Kind::Label => {
                unreachable!("what announces a member is none")
            }
        };
        let node = body.and_then(|body| fields.node(body, &self.names));
        Ok(node.map(|node| What::Node(Box::new(node), pieces)))
    }

    /// A directory behind which there are bytes that are not of it.
    fn passed_over(&mut self, fields: &Fields<'_>) -> Told<Body> {
        let size = fields.number("size", fields.header.size())?;
        if self.blocks.skip(size) { Ok(Body::Directory) } else { Err(cut()) }
    }

    /// How long a file is and where its bytes are.
    fn file(
        &mut self,
        header: &Header,
        fields: &Fields<'_>,
        ahead: &Ahead,
    ) -> Result<Told<(u64, Vec<Piece>)>> {
        let mut stored = match fields.number("size", header.size()) {
            Ok(size) => size,
            Err(why) => return Ok(Err(why)),
        };
        let map = match self.map(header, fields, ahead, &mut stored)? {
            Ok(map) => map,
            Err(why) => return Ok(Err(why)),
        };
        let at = self.blocks.at();
        if !self.blocks.skip(stored) {
            return Ok(Err(cut()));
        }
        Ok(match map {
            Some((size, extents)) => {
                sparse_pieces(&extents, at, stored, size).map(|pieces| (size, pieces))
            }
            None if stored == 0 => Ok((0, Vec::new())),
            None => Ok((stored, vec![Piece::Data { at, len: stored }])),
        })
    }

    /// How long a sparse file is, and which parts of it its bytes are; `None` if it is not sparse. What is
    /// read of its bytes for that is taken from `stored`.
    fn map(
        &mut self,
        header: &Header,
        fields: &Fields<'_>,
        ahead: &Ahead,
        stored: &mut u64,
    ) -> Result<Told<Option<(u64, Vec<Extent>)>>> {
        const WRONG: &str = "its map of holes is wrong";
        let real_size = |key: &str| fields.number(key, None);
        let extents = if header.kind() == Kind::Sparse {
            let real_size = header.real_size().and_then(|size| u64::try_from(size).ok());
            let extents = self.old_map(header)?;
            return Ok(match (real_size, extents) {
                (Some(size), Some(extents)) => Ok(Some((size, extents))),
                _ => Err(WRONG.to_owned()),
            });
        } else if fields.own.contains_key(&b"GNU.sparse.major"[..]) {
            let version = [fields.record("GNU.sparse.major"), fields.record("GNU.sparse.minor")];
            if version != [Some(&b"1"[..]), Some(b"0")] {
                return Ok(Err("its holes are told in a form that is not known".to_owned()));
            }
            self.new_map(stored)?.map(|extents| ("GNU.sparse.realsize", extents))
        } else if let Some(list) = fields.record("GNU.sparse.map") {
            list_extents(list).map(|extents| ("GNU.sparse.size", extents))
        } else if fields.own.contains_key(&b"GNU.sparse.numblocks"[..]) {
            let (pairs, rest) = ahead.extents.as_chunks::<2>();
            let extents = pairs.iter().map(|&[at, len]| Extent { at, len }).collect();
            rest.is_empty().then_some(("GNU.sparse.size", extents))
        } else {
            return Ok(Ok(None));
        };
        let Some((key, extents)) = extents else { return Ok(Err(WRONG.to_owned())) };
        Ok(real_size(key).map(|size| Some((size, extents))))
    }

    /// The map in a header of GNU's old form and in the blocks behind it.
    fn old_map(&mut self, header: &Header) -> Result<Option<Vec<Extent>>> {
        let Some((mut extents, mut has_more)) = header_extents(header) else { return Ok(None) };
        while has_more {
            let Some(block) = self.blocks.next()? else { return Ok(None) };
            let Some((more, is_extended)) = extension_extents(&block) else { return Ok(None) };
            extents.extend(more);
            has_more = is_extended;
        }
        Ok(Some(extents))
    }

    /// The map in front of the bytes of a file.
    fn new_map(&mut self, stored: &mut u64) -> Result<Option<Vec<Extent>>> {
        let mut reader = MapReader::default();
        loop {
            let Some(rest) = stored.checked_sub(BLOCK as u64) else { return Ok(None) };
            let Some(block) = self.blocks.next()? else { return Ok(None) };
            *stored = rest;
            match reader.feed(&block) {
                Some(true) => return Ok(Some(reader.extents())),
                Some(false) => {}
                None => return Ok(None),
            }
        }
    }

    fn bad_at(&self, at: u64, why: impl AsRef<str>) -> crate::Error {
        self.source.bad(format!("{} (at byte {at})", why.as_ref()))
    }
}

impl Iterator for Members<'_> {
    type Item = Result<Member>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let member = self.member().transpose();
        self.is_over = !matches!(member, Some(Ok(_)));
        member
    }
}

impl Ahead {
    fn add(&mut self, bytes: &[u8]) -> Told<()> {
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

fn cut() -> String {
    "the tar is cut off in it, or its size is wrong".to_owned()
}

/// Where the bytes of a sparse file are, whose extents must follow one another and fill what is stored.
fn sparse_pieces(extents: &[Extent], at: u64, stored: u64, size: u64) -> Told<Vec<Piece>> {
    let mut pieces = Vec::new();
    let (mut pos, mut from) = (0_u64, 0_u64);
    for extent in extents {
        let end = extent.at.checked_add(extent.len).filter(|&end| end <= size);
        let (Some(end), Some(hole)) = (end, extent.at.checked_sub(pos)) else {
            return Err("its map of holes is not in order".to_owned());
        };
        if from.checked_add(extent.len).is_none_or(|from| from > stored) {
            return Err("its map of holes has more bytes than it".to_owned());
        }
        if extent.len > 0 {
            pieces.extend((hole > 0).then_some(Piece::Zeros(hole)));
            pieces.push(Piece::Data { at: at + from, len: extent.len });
            (pos, from) = (end, from + extent.len);
        }
    }
    if from != stored {
        return Err("its map of holes has fewer bytes than it".to_owned());
    }
    pieces.extend((size > pos).then_some(Piece::Zeros(size - pos)));
    Ok(pieces)
}

/// A path for a message.
pub(super) fn shown(path: &[u8]) -> String {
    /// Enough to know which one is meant.
    const SHOWN: usize = 400;
    let text = String::from_utf8_lossy(&path[..path.len().min(SHOWN)]);
    let text: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if path.len() > SHOWN { format!("{text}…") } else { text }
}
