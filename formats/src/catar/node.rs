//! What is recorded of a file, a directory, or whatever else has a name.

use super::acl::Acl;

/// Bits of a mode that tell what a node is.
const TYPE: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
const BLOCK: u32 = 0o060_000;
const CHARACTER: u32 = 0o020_000;
const FIFO: u32 = 0o010_000;
const SOCKET: u32 = 0o140_000;

/// A node of an archive, without its name and without the bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Permissions: the lower twelve bits of the mode.
    pub permissions: u32,
    /// Attributes of Linux and of FAT, and whether it is a subvolume: those bits of a feature word that have a
    /// meaning for one file.
    pub attributes: u64,
    /// The owner; 0 if none is recorded.
    pub uid: u32,
    /// The group; 0 if none is recorded.
    pub gid: u32,
    /// When its content last changed, in nanoseconds since 1970; 0 if this is not recorded.
    pub mtime: i64,
    /// The name of the owner; empty if none is recorded.
    pub user: Vec<u8>,
    /// The name of the group; empty if none is recorded.
    pub group: Vec<u8>,
    /// Extended attributes in the order of their names, but for those that have records of their own.
    pub xattrs: Vec<Xattr>,
    /// Access control lists.
    pub acl: Acl,
    /// A label of SELinux; empty if none is recorded.
    pub selinux: Vec<u8>,
    /// Capabilities of a program, as the kernel keeps them; empty if there are none.
    pub fcaps: Vec<u8>,
    /// The project whose quota counts; 0 for none.
    pub projid: u32,
    /// What it is.
    pub body: Body,
}

/// An extended attribute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Xattr {
    /// Such as `user.comment`.
    pub name: Vec<u8>,
    /// Any bytes.
    pub value: Vec<u8>,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Names and nodes follow.
    Directory,
    /// So many bytes follow.
    File(u64),
    /// Leads there.
    Symlink(Vec<u8>),
    /// A block device.
    Block {
        /// Its driver.
        major: u32,
        /// Which of its devices.
        minor: u32,
    },
    /// A character device.
    Character {
        /// Its driver.
        major: u32,
        /// Which of its devices.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// A socket in the file system.
    Socket,
}

impl Node {
    /// A node of which nothing is recorded but what it is.
    pub fn new(body: Body) -> Self {
        let permissions = match body {
            Body::Directory | Body::Symlink(_) => 0o777,
            _ => 0o666,
        };
        Self {
            permissions,
            attributes: 0,
            uid: 0,
            gid: 0,
            mtime: 0,
            user: Vec::new(),
            group: Vec::new(),
            xattrs: Vec::new(),
            acl: Acl::default(),
            selinux: Vec::new(),
            fcaps: Vec::new(),
            projid: 0,
            body,
        }
    }

    /// Type and permissions in one, as `stat` gives them.
    pub fn mode(&self) -> u32 {
        self.body.type_bits() | self.permissions
    }

    /// Bytes of a file; 0 for all else.
    pub fn size(&self) -> u64 {
        if let Body::File(size) = self.body { size } else { 0 }
    }

    /// Whether names and nodes follow.
    pub fn is_directory(&self) -> bool {
        self.body == Body::Directory
    }
}

impl Body {
    /// The bits of a mode that tell what it is.
    pub fn type_bits(&self) -> u32 {
        match self {
            Body::Directory => DIRECTORY,
            Body::File(_) => FILE,
            Body::Symlink(_) => SYMLINK,
            Body::Block { .. } => BLOCK,
            Body::Character { .. } => CHARACTER,
            Body::Fifo => FIFO,
            Body::Socket => SOCKET,
        }
    }

    /// What a mode says a node is; sizes, targets and numbers are still to come. `None` if it is nothing
    /// known.
    pub(super) fn of_mode(mode: u32) -> Option<Self> {
        Some(match mode & TYPE {
            DIRECTORY => Body::Directory,
            FILE => Body::File(0),
            SYMLINK => Body::Symlink(Vec::new()),
            BLOCK => Body::Block { major: 0, minor: 0 },
            CHARACTER => Body::Character { major: 0, minor: 0 },
            FIFO => Body::Fifo,
            SOCKET => Body::Socket,
            _ => return None,
        })
    }
}
