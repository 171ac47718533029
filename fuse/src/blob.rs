//! A directory with one file in it: a blob.

use std::sync::Arc;

use rustix::io::Errno;

use crate::content::Content;
use crate::fs::{Answer, Attributes, Extent, FileSystem, Ino, Kind, Listed, Space};

/// A file that lies in a directory of its own.
pub struct BlobFile {
    name: Vec<u8>,
    content: Arc<dyn Content>,
    owner: (u32, u32),
    /// When it was mounted, in nanoseconds since 1970.
    mtime: i64,
}

impl BlobFile {
    /// The number of the file.
    pub const FILE: Ino = Ino(2);

    /// A file of this name, which is of this user and group and was made at a time in nanoseconds since 1970.
    pub fn new(name: Vec<u8>, content: Arc<dyn Content>, owner: (u32, u32), mtime: i64) -> Self {
        Self { name, content, owner, mtime }
    }

    fn directory(&self) -> Attributes {
        Attributes {
            ino: Ino::ROOT,
            kind: Kind::Directory,
            permissions: 0o755,
            links: 2,
            size: 0,
            ..self.file()
        }
    }

    fn file(&self) -> Attributes {
        Attributes {
            ino: Self::FILE,
            kind: Kind::File,
            permissions: 0o444,
            links: 1,
            uid: self.owner.0,
            gid: self.owner.1,
            size: self.content.size(),
            mtime: self.mtime,
            device: (0, 0),
        }
    }
}

/// Says that a node is no directory, or that there is none of this number.
fn only_root(node: Ino) -> Answer<()> {
    match node {
        Ino::ROOT => Ok(()),
        BlobFile::FILE => Err(Errno::NOTDIR),
        _ => Err(Errno::STALE),
    }
}

impl FileSystem for BlobFile {
    fn lookup(&self, directory: Ino, name: &[u8]) -> Answer<Option<Attributes>> {
        only_root(directory)?;
        Ok((name == self.name).then(|| self.file()))
    }

    fn attributes(&self, node: Ino) -> Answer<Attributes> {
        match node {
            Ino::ROOT => Ok(self.directory()),
            BlobFile::FILE => Ok(self.file()),
            _ => Err(Errno::STALE),
        }
    }

    fn parent(&self, directory: Ino) -> Answer<Ino> {
        only_root(directory)?;
        Ok(Ino::ROOT)
    }

    fn list(
        &self,
        directory: Ino,
        from: u64,
        each: &mut dyn FnMut(Listed<'_>) -> bool,
    ) -> Answer<()> {
        only_root(directory)?;
        if from == 0 {
            each(Listed { attributes: self.file(), name: &self.name, next: 1 });
        }
        Ok(())
    }

    fn read_link(&self, _node: Ino) -> Answer<Vec<u8>> {
        Err(Errno::INVAL)
    }

    fn extent(&self, node: Ino) -> Answer<Extent> {
        match node {
            BlobFile::FILE => {
                Ok(Extent { content: Arc::clone(&self.content), range: 0..self.content.size() })
            }
            Ino::ROOT => Err(Errno::ISDIR),
            _ => Err(Errno::STALE),
        }
    }

    fn space(&self) -> Space {
        Space { bytes: self.content.size(), nodes: 2 }
    }
}
