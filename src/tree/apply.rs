//! All that is said of a file, said of it again.
//!
//! ```text
//! begin    attributes of chattr that count for what is written, project
//!          (its content)
//! apply    owner -> mode -> access control lists -> attributes with names -> capabilities, label -> time
//!          (its name)
//! end      all attributes of chattr and of FAT
//! ```
//! That order matters: who changes the owner loses set-user-id bits and capabilities, every change but
//! that of the time changes the time, and what may not be changed any more cannot get a name either. What the
//! system refuses is counted by what it is, and everything else goes on.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::OnceLock;

use cairn_formats::catar::{Ace, Body, Node};
use cairn_formats::flags;
use rustix::fs::{
    AtFlags, CWD, Gid, Mode, Stat, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chmodat,
    chownat, fchmod, fchown, fgetxattr, flistxattr, fremovexattr, fsetxattr, fstat, futimens,
    getxattr, listxattr, removexattr, setxattr, utimensat,
};

use super::acl;
use super::attributes::{self, FileSystem};
use super::beneath::by_descriptor;
use super::names::Names;
use super::refusals::{Refusals, Refused};

/// Set-user-id and set-group-id.
const SET_ID: u32 = 0o6000;

/// Bits that let somebody write.
const WRITE: u32 = 0o222;

const NANOSECONDS: i64 = 1_000_000_000;

/// Attributes that count only for what is written after they are set.
const EARLY: u64 = flags::FLAG_NOATIME
    | flags::FLAG_COMPR
    | flags::FLAG_NOCOW
    | flags::FLAG_NOCOMP
    | flags::FLAG_PROJINHERIT;

/// The attribute that holds capabilities.
const CAPABILITIES: &str = "security.capability";

/// The attribute that holds a label of SELinux.
const LABEL: &str = "security.selinux";

/// The most that the names of attributes may take together.
const LONGEST_LIST: usize = 65536;

/// Gives files what nodes of an archive say of them.
#[derive(Debug)]
pub struct Apply {
    /// What is wished for, in the bits of a feature word.
    wish: u64,
    /// What of that the archive has.
    features: OnceLock<u64>,
    /// Whether owners are taken by their numbers, whatever their names.
    numeric_owner: bool,
    names: Names,
    refusals: Refusals,
}

/// A file that is given something.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// A file or a directory that is open.
    Open(BorrowedFd<'a>),
    /// Something that was opened only by its path, such as a link or a device.
    Path(BorrowedFd<'a>),
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
            features: OnceLock::new(),
            numeric_owner,
            names: Names::default(),
            refusals: Refusals::default(),
        }
    }

    /// Learns the feature word of the archive. Without it, nothing is given.
    pub fn learn(&self, archive: u64) {
        self.features.get_or_init(|| {
            let common = flags::common(archive, self.wish);
            // In a feature word, access control lists imply owners; here it is a wish to have the one and not the other.
            if self.wish & flags::OWNERS == 0 { common & !flags::OWNERS } else { common }
        });
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
        if self.has(flags::SUBVOLUME) && node.attributes & flags::SUBVOLUME != 0 {
            self.refusals.count(Refused::Subvolume, path, "only directories are made");
        }
        Ok(())
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

    /// The numbers of owner and group. Names that are unknown here are counted; `None` if there is nothing to take
    /// in their place.
    fn owner(
        &self,
        node: &Node,
        path: &dyn Fn() -> PathBuf,
    ) -> io::Result<(Option<u32>, Option<u32>)> {
        let uid = self.number(&node.user, node.uid, path, |name| self.names.uid(name))?;
        let gid = self.number(&node.group, node.gid, path, |name| self.names.gid(name))?;
        Ok((uid, gid))
    }

    fn number(
        &self,
        name: &[u8],
        number: u32,
        path: &dyn Fn() -> PathBuf,
        look_up: impl Fn(&[u8]) -> io::Result<Option<u32>>,
    ) -> io::Result<Option<u32>> {
        // Of root no name is recorded.
        if name.is_empty() || self.numeric_owner || !self.has(flags::USER_NAMES) {
            return Ok(Some(number));
        }
        if let Some(found) = look_up(name)? {
            return Ok(Some(found));
        }
        if self.has(flags::UIDS_16BIT | flags::UIDS_32BIT) {
            let why = format!("`{}`", String::from_utf8_lossy(name));
            self.refusals.count(Refused::Name, path, &why);
            return Ok(Some(number));
        }
        // Where no numbers are recorded, they stand in the place of names that do not exist.
        Ok(str::from_utf8(name).ok().and_then(|name| name.parse().ok()))
    }

    /// Whether the owner is then the one the archive names, and did not change.
    fn give_owner(
        &self,
        target: Target<'_>,
        node: &Node,
        stat: &Stat,
        path: &dyn Fn() -> PathBuf,
    ) -> io::Result<Owned> {
        if !self.has(flags::OWNERS) {
            let is_so = (stat.st_uid, stat.st_gid) == (node.uid, node.gid);
            return Ok(if is_so { Owned::Already } else { Owned::ByAnother });
        }
        let (uid, gid) = self.owner(node, path)?;
        if (Some(stat.st_uid), Some(stat.st_gid)) == (uid, gid) {
            return Ok(Owned::Already);
        }
        let given = match (uid, gid) {
            (Some(_), Some(_)) => target.chown(uid, gid),
            _ => Err(io::Error::other("there is no such user or group")),
        };
        if given.is_err() && gid.is_some() {
            // The group alone may be one's own to give.
            let _ = target.chown(None, gid);
        }
        let is_given = self.refusals.note(Refused::Owner, path, given)?;
        Ok(if is_given { Owned::Now } else { Owned::ByAnother })
    }

    fn give_mode(
        &self,
        target: Target<'_>,
        node: &Node,
        stat: &Stat,
        owned: Owned,
        path: &dyn Fn() -> PathBuf,
    ) -> io::Result<()> {
        let had = stat.st_mode & 0o7777;
        let mut wanted = if self.has(flags::PERMISSIONS | flags::ACL) {
            node.permissions
        } else if self.has(flags::READ_ONLY) {
            let may_write = node.permissions & WRITE != 0;
            if !may_write {
                had & !WRITE
            } else if had & WRITE == 0 {
                had | 0o200
            } else {
                had
            }
        } else {
            return Ok(());
        };
        if owned == Owned::ByAnother && !node.is_directory() {
            // What may run as its owner must not run as another.
            wanted &= !SET_ID;
        }
        if wanted == had && owned != Owned::Now {
            return Ok(());
        }
        self.refusals.note(Refused::Mode, path, target.chmod(wanted))?;
        Ok(())
    }

    fn give_acl(
        &self,
        target: Target<'_>,
        node: &Node,
        before: Before,
        path: &dyn Fn() -> PathBuf,
    ) -> io::Result<()> {
        let is_recorded = self.has(flags::ACL);
        let is_inherited = before.is_new && before.inherits && self.has(flags::PERMISSIONS);
        if node.acl.is_trivial() && !before.may_have() || !is_recorded && !is_inherited {
            return Ok(());
        }
        let id = |ace: &Ace, look_up: &dyn Fn(&[u8]) -> io::Result<Option<u32>>| {
            self.number(&ace.name, ace.id, path, look_up).ok().flatten().unwrap_or(ace.id)
        };
        let uid = |ace: &Ace| id(ace, &|name| self.names.uid(name));
        let gid = |ace: &Ace| id(ace, &|name| self.names.gid(name));
        let lists = if is_recorded {
            acl::to_xattrs(&node.acl, node.permissions, &uid, &gid)
        } else {
            (None, None)
        };
        let give = |name: &str, list: Option<Vec<u8>>| match list {
            Some(list) => target.set(name.as_bytes(), &list, before.is_new),
            None if before.may_have() => target.unset(name.as_bytes()),
            None => Ok(()),
        };
        let mut given = give(acl::ACCESS, lists.0);
        if node.is_directory() {
            given = given.and(give(acl::DEFAULT, lists.1));
        }
        self.refusals.note(Refused::Acl, path, given)?;
        Ok(())
    }

    fn give_xattrs(
        &self,
        target: Target<'_>,
        node: &Node,
        before: Before,
        path: &dyn Fn() -> PathBuf,
    ) -> io::Result<()> {
        if self.has(flags::XATTRS) {
            if !before.is_new {
                let removed = target.remove_others(node);
                self.refusals.note(Refused::Xattr, path, removed)?;
            }
            let mut given = Ok(());
            for xattr in &node.xattrs {
                let one = target.set(&xattr.name, &xattr.value, before.is_new);
                given = given.and(one);
            }
            self.refusals.note(Refused::Xattr, path, given)?;
        }
        if self.has(flags::FCAPS) && matches!(node.body, Body::File(_)) {
            let given = if !node.fcaps.is_empty() {
                target.set(CAPABILITIES.as_bytes(), &node.fcaps, before.is_new)
            } else if before.is_new || node.has_xattr(CAPABILITIES) {
                Ok(())
            } else {
                target.unset(CAPABILITIES.as_bytes())
            };
            self.refusals.note(Refused::Capabilities, path, given)?;
        }
        if self.has(flags::SELINUX) && !node.selinux.is_empty() {
            let given = target.set(LABEL.as_bytes(), &node.selinux, false);
            self.refusals.note(Refused::Label, path, given)?;
        }
        Ok(())
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

/// Whose a file is, in respect of what the archive says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owned {
    /// It was his before.
    Already,
    /// It was given to him.
    Now,
    /// It is not his.
    ByAnother,
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
    Target::Open(directory).get(acl::DEFAULT.as_bytes()).is_some()
        || attributes::inode_flags(directory).ok().flatten().is_some_and(|bits| bits != 0)
        || FileSystem::of(directory).is_ok_and(|kind| kind == FileSystem::Fat)
}

/// Takes from a file what keeps even root from changing it.
pub fn undo_immutable(file: BorrowedFd<'_>) -> io::Result<()> {
    attributes::write(file, 0, flags::FLAG_IMMUTABLE | flags::FLAG_APPEND)
}

trait HasXattr {
    fn has_xattr(&self, name: &str) -> bool;
}

impl HasXattr for Node {
    fn has_xattr(&self, name: &str) -> bool {
        self.xattrs.iter().any(|xattr| xattr.name == name.as_bytes())
    }
}

impl AsFd for Target<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Open(fd) | Self::Path(fd) => *fd,
        }
    }
}

impl Target<'_> {
    fn chown(&self, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        Ok(match self {
            Self::Open(fd) => fchown(fd, uid, gid),
            Self::Path(fd) => chownat(fd, "", uid, gid, AtFlags::EMPTY_PATH),
        }?)
    }

    fn chmod(&self, mode: u32) -> io::Result<()> {
        let mode = Mode::from_raw_mode(mode);
        Ok(match self {
            Self::Open(fd) => fchmod(fd, mode),
            Self::Path(fd) => chmodat(CWD, by_descriptor(fd), mode, AtFlags::empty()),
        }?)
    }

    fn set_time(&self, seconds: i64, nanoseconds: i64) -> io::Result<()> {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds },
        };
        Ok(match self {
            Self::Open(fd) => futimens(fd, &times),
            Self::Path(fd) => utimensat(fd, "", &times, AtFlags::EMPTY_PATH),
        }?)
    }

    /// Sets an attribute, if it is not so already.
    fn set(&self, name: &[u8], value: &[u8], is_new: bool) -> io::Result<()> {
        if !is_new && self.get(name).is_some_and(|had| had == value) {
            return Ok(());
        }
        let flags = XattrFlags::empty();
        Ok(match self {
            Self::Open(fd) => fsetxattr(fd, name, value, flags),
            Self::Path(fd) => setxattr(by_descriptor(fd), name, value, flags),
        }?)
    }

    /// An attribute; `None` also if it cannot be read.
    fn get(&self, name: &[u8]) -> Option<Vec<u8>> {
        let read = |value: &mut [u8]| match self {
            Self::Open(fd) => fgetxattr(fd, name, value),
            Self::Path(fd) => getxattr(by_descriptor(fd), name, value),
        };
        // Into nothing, it says how long it is.
        let mut value = vec![0; read(&mut []).ok()?];
        let len = read(&mut value).ok()?;
        value.truncate(len);
        Some(value)
    }

    /// Removes an attribute, if it is there: to be refused what is not needed is no loss.
    fn unset(&self, name: &[u8]) -> io::Result<()> {
        if self.get(name).is_none() {
            return Ok(());
        }
        Ok(match self {
            Self::Open(fd) => fremovexattr(fd, name),
            Self::Path(fd) => removexattr(by_descriptor(fd), name),
        }?)
    }

    /// Removes all attributes that are the user's to give and are not the node's.
    fn remove_others(&self, node: &Node) -> io::Result<()> {
        let mut names = vec![0; LONGEST_LIST];
        let got = match self {
            Self::Open(fd) => flistxattr(fd, &mut names[..]),
            Self::Path(fd) => listxattr(by_descriptor(fd), &mut names[..]),
        };
        let got = match got {
            Err(rustix::io::Errno::NOTSUP) => return Ok(()),
            got => got?,
        };
        for name in names[..got].split(|&byte| byte == 0) {
            let is_given = name.starts_with(b"user.") || name.starts_with(b"trusted.");
            if is_given && !node.xattrs.iter().any(|xattr| xattr.name == name) {
                self.unset(name)?;
            }
        }
        Ok(())
    }
}
