//! All that is said of a file, said of it again.
//!
//! ```text
//! begin    attributes of chattr that count for what is written, project
//!          (its content)
//! apply    owner -> mode -> access control lists -> attributes with names -> capabilities, label -> time
//!          (its name)
//! end      all attributes of chattr and of FAT, and that a subvolume is read-only
//! ```
//! That order matters: who changes the owner loses set-user-id bits and capabilities, every change but
//! that of the time changes the time, and what may not be changed any more cannot get a name either. What the
//! system refuses is counted by what it is, and everything else goes on.

mod lists;
mod owner;
pub mod refusals;
mod subvolume;
mod target;

use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::OnceLock;

use cairn_formats::catar::{Body, Node};
use cairn_formats::{flags, posix_acl};
use rustix::fs::{Stat, fstat};

use self::refusals::{Refusals, Refused};
use super::attributes::{self, FileSystem};
use super::names::Names;

pub use self::target::Target;

const NANOSECONDS: i64 = 1_000_000_000;

/// Bits that say which files are made, and not what is said of them.
const KINDS: u64 = flags::SYMLINKS | flags::DEVICE_NODES | flags::FIFOS | flags::SOCKETS;

/// Attributes that count only for what is written after they are set.
const EARLY: u64 = flags::FLAG_NOATIME
    | flags::FLAG_COMPR
    | flags::FLAG_NOCOW
    | flags::FLAG_NOCOMP
    | flags::FLAG_PROJINHERIT;

/// Gives files what nodes of an archive say of them.
#[derive(Debug)]
pub struct Apply {
    /// What is wished for, in the bits of a feature word.
    wish: u64,
    /// The feature word of the archive.
    archive: OnceLock<u64>,
    /// What the archive has of what is wished for.
    features: OnceLock<u64>,
    is_everything: OnceLock<bool>,
    /// Whether owners are taken by their numbers, whatever their names.
    numeric_owner: bool,
    names: Names,
    refusals: Refusals,
}

/// What is known of a file before it is given something.
#[derive(Clone, Copy, Debug)]
pub struct Before {
    /// Whether it was made just now, so that it has nothing that it was not given.
    pub is_new: bool,
    /// Whether it may have inherited something from the directory it is in, as [`passes_on`] says.
    pub inherits: bool,
}

impl Apply {
    /// Gives what these bits of a feature word say, as far as the archive has it.
    pub fn new(wish: u64, numeric_owner: bool) -> Self {
        Self {
            wish,
            archive: OnceLock::new(),
            features: OnceLock::new(),
            is_everything: OnceLock::new(),
            numeric_owner,
            names: Names::default(),
            refusals: Refusals::default(),
        }
    }

    /// Learns the feature word of the archive. Without it, nothing is given.
    pub fn learn(&self, archive: u64) {
        self.archive.get_or_init(|| archive);
        let said = |wish| flags::common(archive, wish) & !KINDS;
        self.is_everything.get_or_init(|| said(self.wish) == said(flags::ALL));
        self.features.get_or_init(|| {
            let common = flags::common(archive, self.wish);
            // In a feature word, access control lists imply owners; here it is a wish to have the one and not the other.
            if self.wish & flags::OWNERS == 0 { common & !flags::OWNERS } else { common }
        });
    }

    /// The feature word of the archive, once it is known.
    pub fn archive(&self) -> Option<u64> {
        self.archive.get().copied()
    }

    /// Whether files are given all that the archive says of them.
    pub fn gives_everything(&self) -> bool {
        self.is_everything.get().is_some_and(|&is_everything| is_everything)
    }

    /// Whether files are given modes.
    pub fn gives_modes(&self) -> bool {
        self.has(flags::PERMISSIONS | flags::ACL | flags::READ_ONLY)
    }

    /// What the system refused.
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// The mode a new file should have until it has all it is to have: nobody else may look in before, if it
    /// is known who may.
    pub fn first_mode(&self, node: &Node) -> u32 {
        match (self.has(flags::PERMISSIONS | flags::ACL), node.is_directory()) {
            (true, true) => 0o700,
            (true, false) => 0o600 | node.permissions & 0o100,
            (false, true) => 0o777,
            (false, false) => 0o666,
        }
    }

    /// Gives a file what counts for the writing of its content.
    pub fn begin(
        &self,
        target: Target<'_>,
        node: &Node,
        before: Before,
        path: &dyn Fn() -> PathBuf,
    ) -> io::Result<()> {
        let Target::Open(file) = target else { return Ok(()) };
        let mask = self.features() & EARLY;
        if mask != 0 && (node.attributes & mask != 0 || before.inherits) {
            let written = attributes::write(file, node.attributes, mask);
            self.refusals.note(Refused::Attributes, path, written)?;
        }
        if self.has(flags::QUOTA_PROJID) && (node.projid != 0 || before.may_have()) {
            let set = attributes::set_projid(file, node.projid);
            self.refusals.note(Refused::Project, path, set)?;
        }
        Ok(())
    }

    /// Gives a file, which has its name by now, what comes last.
    pub fn end(
        &self,
        target: Target<'_>,
        node: &Node,
        before: Before,
        path: &dyn Fn() -> PathBuf,
    ) -> io::Result<()> {
        let Target::Open(file) = target else { return Ok(()) };
        let mask = self.features() & (flags::CHATTR | flags::FAT_ATTRIBUTES);
        if mask != 0 && (node.attributes & mask != 0 || before.may_have()) {
            let written = attributes::write(file, node.attributes, mask);
            self.refusals.note(Refused::Attributes, path, written)?;
        }
        self.seal(file, node, path)
    }

    /// Gives a file everything else.
    pub fn apply(
        &self,
        target: Target<'_>,
        node: &Node,
        before: Before,
        path: &dyn Fn() -> PathBuf,
    ) -> io::Result<()> {
        let stat = fstat(target)?;
        let is_link = matches!(node.body, Body::Symlink(_));
        let is_owned = self.give_owner(target, node, &stat, path)?;
        if !is_link {
            self.give_mode(target, node, &stat, is_owned, path)?;
            self.give_acl(target, node, before, path)?;
        }
        self.give_xattrs(target, node, before, path)?;
        self.give_time(target, node, &stat, before, path)
    }

    fn has(&self, bits: u64) -> bool {
        self.features() & bits != 0
    }

    fn features(&self) -> u64 {
        self.features.get().copied().unwrap_or(0)
    }

    fn give_time(
        &self,
        target: Target<'_>,
        node: &Node,
        stat: &Stat,
        before: Before,
        path: &dyn Fn() -> PathBuf,
    ) -> io::Result<()> {
        if !self.has(flags::TIMES) {
            return Ok(());
        }
        let seconds = node.mtime.div_euclid(NANOSECONDS);
        let nanoseconds = node.mtime.rem_euclid(NANOSECONDS);
        let is_so = (stat.st_mtime, stat.st_mtime_nsec as i64) == (seconds, nanoseconds);
        // What is in a directory has changed it since it was looked at.
        if is_so && !before.is_new && !node.is_directory() {
            return Ok(());
        }
        let given = target.set_time(seconds, nanoseconds);
        self.refusals.note(Refused::Time, path, given)?;
        Ok(())
    }
}

impl Before {
    /// Whether it may have what it was not given.
    fn may_have(self) -> bool {
        !self.is_new || self.inherits
    }
}

/// Whether what is made in this directory starts with more than it is given: with access control lists or attributes
/// of chattr that new files inherit, or with those that FAT gives to all.
pub fn passes_on(directory: BorrowedFd<'_>) -> bool {
    Target::Open(directory).get(posix_acl::DEFAULT.as_bytes()).is_some()
        || attributes::inode_flags(directory).ok().flatten().is_some_and(|bits| bits != 0)
        || FileSystem::of(directory).is_ok_and(|kind| kind == FileSystem::Fat)
}

/// Takes from a file what keeps even root from changing it.
pub fn undo_immutable(file: BorrowedFd<'_>) -> io::Result<()> {
    // What cannot be changed at all in a subvolume that is read-only comes first.
    attributes::write(file, 0, flags::SUBVOLUME_RO)?;
    attributes::write(file, 0, flags::FLAG_IMMUTABLE | flags::FLAG_APPEND)
}
