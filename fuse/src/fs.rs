//! A read-only file system without a kernel: what can be asked, and the answers.
//!
//! ```text
//! lookup, attributes, list, read_link, xattr …    answered at once, from memory
//! extent                                          which bytes a file has; reading them may take a while
//! ```
//! Nothing here changes while it is mounted but what a file system says of its directories by `is_constant`: so
//! whoever asks may keep an answer for good.

use std::ops::Range;
use std::sync::Arc;

use rustix::io::Errno;

use crate::content::Content;

/// An answer, or what the program that asked is told instead.
pub type Answer<T> = Result<T, Errno>;

/// The number of a node: the same for the same node whenever the same thing is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ino(pub u64);

impl Ino {
    /// What is mounted.
    pub const ROOT: Self = Self(1);
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Has names in it.
    Directory,
    /// Has bytes.
    File,
    /// Leads elsewhere.
    Symlink,
    /// A block device.
    Block,
    /// A character device.
    Character,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// What `stat` tells of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Its number.
    pub ino: Ino,
    /// What it is.
    pub kind: Kind,
    /// The lower twelve bits of its mode.
    pub permissions: u16,
    /// How many names it has; of a directory two more than directories in it.
    pub links: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Bytes of a file, or of where a link leads; 0 for all else.
    pub size: u64,
    /// When its content last changed, in nanoseconds since 1970.
    pub mtime: i64,
    /// Driver and device of a device; 0 for all else.
    pub device: (u32, u32),
}

/// Something in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// What it is.
    pub attributes: Attributes,
    /// What it is called there.
    pub name: &'a [u8],
    /// From where the directory goes on behind it.
    pub next: u64,
}

/// How much there is of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// Bytes of all that is mounted.
    pub bytes: u64,
    /// How many nodes there are.
    pub nodes: u64,
}

/// Which bytes a file has.
#[derive(Clone)]
pub struct Extent {
    /// Where they are.
    pub content: Arc<dyn Content>,
    /// Which of them, as many as the file has.
    pub range: Range<u64>,
}

/// A file system that nobody changes from within.
///
/// Methods may be called from many threads at once, and all but `extent`'s content answer without waiting. A number
/// that was never given out is [`Errno::NOENT`] or [`Errno::STALE`], never a panic.
pub trait FileSystem: Send + Sync + 'static {
    /// What has a name in a directory; `None` if nothing has.
    fn lookup(&self, directory: Ino, name: &[u8]) -> Answer<Option<Attributes>>;

    /// What is known of a node.
    fn attributes(&self, node: Ino) -> Answer<Attributes>;

    /// The directory that a directory is in; itself for the root.
    fn parent(&self, directory: Ino) -> Answer<Ino>;

    /// Calls `each` for what is in a directory in the order of the names, from a place on, until it says no. The first
    /// place is 0, the others are as listed. What is constant has no gaps and nothing twice, whenever it goes on.
    fn list(
        &self,
        directory: Ino,
        from: u64,
        each: &mut dyn FnMut(Listed<'_>) -> bool,
    ) -> Answer<()>;

    /// Where a link leads.
    fn read_link(&self, node: Ino) -> Answer<Vec<u8>>;

    /// The value of an extended attribute; `None` if the node has none of that name.
    fn xattr(&self, _node: Ino, _name: &[u8]) -> Answer<Option<Vec<u8>>> {
        Ok(None)
    }

    /// The names of a node's extended attributes, each with a NUL behind it.
    fn xattr_names(&self, _node: Ino) -> Answer<Vec<u8>> {
        Ok(Vec::new())
    }

    /// Whether any node has an extended attribute. If not, nobody need ask again.
    fn has_xattrs(&self) -> bool {
        false
    }

    /// Whether any node has an access control list that says more than its mode.
    fn has_acls(&self) -> bool {
        false
    }

    /// The bytes of a file.
    fn extent(&self, node: Ino) -> Answer<Extent>;

    /// How much there is.
    fn space(&self) -> Space;

    /// Whether what is in a directory stays as it is.
    fn is_constant(&self, _directory: Ino) -> bool {
        true
    }
}
