//! The nodes of an archive, of which all is known but the bytes of files.
//!
//! ```text
//! archive -> Block -> saved, and opened again            Block + Content + TreeOptions -> Tree, a file system
//! ```
//! A block is built once: after that nobody needs the archive to answer, but for the bytes of files. It is the same
//! whoever looks at it; what options change is changed in the answers.
//!
//! ```text
//! build    archive -> block
//! form     the sections of a block, and how they are saved
//! rows     the row of a node
//! sets     extended attributes, equal ones once
//! ```
//! The number of a node is that of its row and two more; the root, whose row is the last, has the first.

mod build;
mod form;
mod rows;
mod sets;

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use cairn_formats::catar::Shift;
use cairn_formats::posix_acl;
use rustix::io::Errno;

pub use self::build::Skip;
pub use self::form::Block;
use self::rows::{Body, Row};
use self::sets::is_acl;
use crate::content::Content;
use crate::fs::{Answer, Attributes, Extent, FileSystem, Ino, Kind, Listed, Space};

/// What lies between the number of a row and that of its node: 0 is nobody's, and 1 the root's.
const ABOVE: u64 = 2;

/// Who owns what belongs to somebody who has no number here.
const OVERFLOW_ID: u32 = 65_534;

/// What is to be seen instead of what was recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreeOptions {
    /// Who owns everything.
    pub uid: Option<u32>,
    /// The group of everything.
    pub gid: Option<u32>,
    /// What all other ids are shifted up by, those of access control lists as well. What has no number then belongs to
    /// nobody.
    pub shift: Option<Shift>,
}

/// An archive as a file system.
pub struct Tree {
    block: Block,
    content: Arc<dyn Content>,
    options: TreeOptions,
}

impl Tree {
    /// What a block says, of an archive with these bytes.
    pub fn new(block: Block, content: Arc<dyn Content>, options: TreeOptions) -> Self {
        Self { block, content, options }
    }

    /// What is known of the archive.
    pub fn block(&self) -> &Block {
        &self.block
    }

    /// The row of the root.
    fn root(&self) -> u64 {
        self.block.head.rows.saturating_sub(1)
    }

    /// A node and its row.
    fn node(&self, node: Ino) -> Answer<(u64, Row)> {
        let number = match node {
            Ino::ROOT => self.root(),
            Ino(other) => other.checked_sub(ABOVE).ok_or(Errno::STALE)?,
        };
        if number > self.root() || node != self.ino(number) {
            return Err(Errno::STALE);
        }
        Ok((number, self.block.row(number).ok_or(Errno::IO)?))
    }

    fn ino(&self, number: u64) -> Ino {
        if number == self.root() { Ino::ROOT } else { Ino(number + ABOVE) }
    }

    /// The row of a directory, and the rows of what is in it, which stand before.
    fn directory(&self, node: Ino) -> Answer<(u64, Row, Range<u64>)> {
        let (number, row) = self.node(node)?;
        let children = row.children().ok_or(Errno::NOTDIR)?;
        if children.end > number {
            return Err(Errno::IO);
        }
        Ok((number, row, children))
    }

    /// A row of what is in a directory, which says so itself.
    fn child(&self, number: u64, directory: u64) -> Answer<(Row, &[u8])> {
        let row = self.block.row(number).filter(|row| u64::from(row.parent) == directory);
        let row = row.ok_or(Errno::IO)?;
        Ok((row, self.block.text(row.name).ok_or(Errno::IO)?))
    }

    fn attributes_of(&self, number: u64, row: &Row) -> Attributes {
        let mut attributes = Attributes {
            ino: self.ino(number),
            kind: row.kind(),
            permissions: row.mode & 0o7777,
            links: 1,
            uid: self.options.uid.unwrap_or_else(|| self.id(row.uid)),
            gid: self.options.gid.unwrap_or_else(|| self.id(row.gid)),
            size: 0,
            mtime: row.mtime,
            device: (0, 0),
        };
        match row.body {
            Body::Directory { directories, .. } => attributes.links = directories.saturating_add(2),
            Body::File { size, .. } => attributes.size = size,
            Body::Symlink(target) => attributes.size = target.len.into(),
            Body::Block(major, minor) | Body::Character(major, minor) => {
                attributes.device = (major, minor);
            }
            Body::Fifo | Body::Socket => {}
        }
        attributes
    }

    /// What is to be seen of a recorded id.
    fn id(&self, id: u32) -> u32 {
        self.options.shift.map_or(Some(id), |shift| shift.id(id)).unwrap_or(OVERFLOW_ID)
    }
}

impl FileSystem for Tree {
    fn lookup(&self, directory: Ino, name: &[u8]) -> Answer<Option<Attributes>> {
        let (number, _, Range { start: mut low, end: mut high }) = self.directory(directory)?;
        while low < high {
            let middle = low.midpoint(high);
            let (row, there) = self.child(middle, number)?;
            match there.cmp(name) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Ok(Some(self.attributes_of(middle, &row))),
            }
        }
        Ok(None)
    }

    fn attributes(&self, node: Ino) -> Answer<Attributes> {
        let (number, row) = self.node(node)?;
        Ok(self.attributes_of(number, &row))
    }

    fn parent(&self, directory: Ino) -> Answer<Ino> {
        let (number, row, _) = self.directory(directory)?;
        let parent = u64::from(row.parent);
        // What is in a directory stands before it.
        let is_above = parent > number && parent <= self.root();
        if !is_above && number != self.root() {
            return Err(Errno::IO);
        }
        Ok(if number == self.root() { Ino::ROOT } else { self.ino(parent) })
    }

    fn list(
        &self,
        directory: Ino,
        from: u64,
        each: &mut dyn FnMut(Listed<'_>) -> bool,
    ) -> Answer<()> {
        let (number, _, children) = self.directory(directory)?;
        for child in children.start.saturating_add(from)..children.end {
            let (row, name) = self.child(child, number)?;
            if name.is_empty() || name.iter().any(|byte| matches!(byte, 0 | b'/')) {
                return Err(Errno::IO);
            }
            let next = child - children.start + 1;
            if !each(Listed { attributes: self.attributes_of(child, &row), name, next }) {
                break;
            }
        }
        Ok(())
    }

    fn read_link(&self, node: Ino) -> Answer<Vec<u8>> {
        let Body::Symlink(target) = self.node(node)?.1.body else { return Err(Errno::INVAL) };
        self.block.text(target).map(<[u8]>::to_vec).ok_or(Errno::IO)
    }

    fn xattr(&self, node: Ino, name: &[u8]) -> Answer<Option<Vec<u8>>> {
        let (_, row) = self.node(node)?;
        for xattr in self.block.set(&row).ok_or(Errno::IO)? {
            let (there, value) = xattr.map_err(|()| Errno::IO)?;
            if there == name {
                let mut value = value.to_vec();
                if is_acl(name) && self.options.shift.is_some() {
                    posix_acl::map_ids(&mut value, |id| self.id(id));
                }
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    fn xattr_names(&self, node: Ino) -> Answer<Vec<u8>> {
        let (_, row) = self.node(node)?;
        let mut names = Vec::new();
        for xattr in self.block.set(&row).ok_or(Errno::IO)? {
            names.extend_from_slice(xattr.map_err(|()| Errno::IO)?.0);
            names.push(0);
        }
        Ok(names)
    }

    fn has_xattrs(&self) -> bool {
        self.block.head.has_xattrs
    }

    fn has_acls(&self) -> bool {
        self.block.head.has_acls
    }

    fn extent(&self, node: Ino) -> Answer<Extent> {
        let (_, row) = self.node(node)?;
        let Body::File { start, size } = row.body else {
            let is_directory = row.kind() == Kind::Directory;
            return Err(if is_directory { Errno::ISDIR } else { Errno::INVAL });
        };
        let end = start.checked_add(size).filter(|&end| end <= self.block.head.archive);
        let range = start..end.ok_or(Errno::IO)?;
        Ok(Extent { content: Arc::clone(&self.content), range })
    }

    fn space(&self) -> Space {
        Space { bytes: self.block.head.archive, nodes: self.block.head.rows }
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { block, options, .. } = self;
        f.debug_struct("Tree")
            .field("block", block)
            .field("options", options)
            .finish_non_exhaustive()
    }
}
