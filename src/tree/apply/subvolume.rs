//! Subvolumes of btrfs: directories that are made as such, and may be closed when all is in them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use cairn_formats::catar::Node;
use cairn_formats::flags;
use rustix::fs::{Mode, fstat, mkdirat};

use super::refusals::Refused;
use super::{Apply, Target};
use crate::tree::{attributes, named};

impl Apply {
    /// Whether a directory is to be a subvolume.
    pub fn wants_subvolume(&self, node: &Node) -> bool {
        self.has(flags::SUBVOLUME) && node.attributes & flags::SUBVOLUME != 0
    }

    /// Makes a directory that is to be what a node says: a subvolume, or a plain one where none can be made.
    pub fn make_directory(
        &self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        node: &Node,
    ) -> io::Result<()> {
        let mode = self.first_mode(node);
        if self.wants_subvolume(node) {
            match attributes::create_subvolume(parent, name) {
                Ok(()) => {
                    let made = named::open_path(parent, name)?;
                    let had = fstat(&made)?.st_mode & 0o7777;
                    // The call knows no mode; in what was made just now there is nothing to see yet.
                    return Target::Path(made.as_fd()).chmod(had & (mode | 0o7000));
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Err(e),
                // It is told when it is complete.
                Err(_) => {}
            }
        }
        Ok(mkdirat(parent, name, Mode::from_raw_mode(mode))?)
    }

    /// Opens a subvolume that is there for what comes into it, if it is known whether it is to be read-only in the
    /// end.
    pub fn unseal(&self, directory: BorrowedFd<'_>, node: &Node) -> io::Result<()> {
        if self.wants_subvolume(node) && self.has(flags::SUBVOLUME_RO) {
            attributes::write(directory, 0, flags::SUBVOLUME_RO)?;
        }
        Ok(())
    }

    /// Makes a subvolume read-only if it is to be. A directory that should be one and is not is counted.
    pub(super) fn seal(
        &self,
        directory: BorrowedFd<'_>,
        node: &Node,
        path: &dyn Fn() -> PathBuf,
    ) -> io::Result<()> {
        if !self.wants_subvolume(node) {
            return Ok(());
        }
        if attributes::subvolume_of(directory)? & flags::SUBVOLUME == 0 {
            self.refusals.count(Refused::Subvolume, path, "only a directory could be made");
            return Ok(());
        }
        let mask = self.features() & flags::SUBVOLUME_RO;
        let sealed = attributes::write(directory, node.attributes, mask);
        self.refusals.note(Refused::Attributes, path, sealed)?;
        Ok(())
    }
}
