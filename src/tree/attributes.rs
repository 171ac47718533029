//! Attributes of files beside mode, owner and time: those of `chattr`, of FAT and of subvolumes, and
//! projects of quotas.
//!
//! ```text
//! bit of the feature word   where it is kept                   which file systems
//! flag-append … projinherit FS_IOC_GETFLAGS                    whichever answers
//! flag-hidden, -system, …   FAT_IOCTL_GET_ATTRIBUTES           FAT, FUSE
//! subvolume, subvolume-ro   inode 256, BTRFS_IOC_SUBVOL_*      btrfs, directories
//! quota-projid              FS_IOC_FSGETXATTR                  ext4, XFS, FUSE
//! ```
//! All of this is for files and directories alone. What a file system cannot keep reads as not set.

use std::io;
use std::os::fd::BorrowedFd;

use cairn_formats::flags;
use rustix::fs::{IFlags, fstat, fstatfs, ioctl_getflags, ioctl_setflags};
use rustix::io::Errno;

use super::ioctl;

/// Bits of feature words and the inode flags of `linux/fs.h` they stand for.
const INODE_FLAGS: [(u64, u32); 10] = [
    (flags::FLAG_APPEND, 0x20),
    (flags::FLAG_NOATIME, 0x80),
    (flags::FLAG_COMPR, 0x4),
    (flags::FLAG_NOCOW, 0x80_0000),
    (flags::FLAG_NODUMP, 0x40),
    (flags::FLAG_DIRSYNC, 0x1_0000),
    (flags::FLAG_IMMUTABLE, 0x10),
    (flags::FLAG_SYNC, 0x8),
    (flags::FLAG_NOCOMP, 0x400),
    (flags::FLAG_PROJINHERIT, 0x2000_0000),
];

/// Bits of feature words and the attributes of `linux/msdos_fs.h` they stand for.
const FAT_FLAGS: [(u64, u32); 3] =
    [(flags::FLAG_HIDDEN, 0x02), (flags::FLAG_SYSTEM, 0x04), (flags::FLAG_ARCHIVE, 0x20)];

/// The inode of the root of every subvolume.
const SUBVOLUME_INODE: u64 = 256;
/// `BTRFS_SUBVOL_RDONLY`.
const SUBVOLUME_READ_ONLY: u64 = 0x2;

/// What kind of file system a file is in, as far as that says what it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// ext4, and those before it.
    Ext4,
    /// XFS.
    Xfs,
    /// btrfs.
    Btrfs,
    /// FAT of any width.
    Fat,
    /// Whatever a program serves.
    Fuse,
    /// Another one on top of two others, which keep what it keeps.
    Overlay,
    /// Kept on another machine, with a clock of its own.
    Remote,
    /// Another one that keeps files as Linux does: F2FS, tmpfs, ZFS, bcachefs, JFS.
    Local,
    /// Made up by the kernel: what is in it cannot be archived.
    Virtual,
    /// Any other.
    Other,
}

impl FileSystem {
    /// Asks for the kind of file system a file is in.
    pub fn of(file: BorrowedFd<'_>) -> io::Result<Self> {
        // The field has another type on each architecture; no number is wider than this.
        Ok(Self::of_magic(fstatfs(file)?.f_type as u32))
    }

    /// Whether its files are kept on this machine by the kernel: nobody else changes them unseen.
    pub(crate) fn is_local(self) -> bool {
        matches!(self, Self::Ext4 | Self::Xfs | Self::Btrfs | Self::Local)
    }

    /// The kind with this number of `linux/magic.h`.
    fn of_magic(magic: u32) -> Self {
        match magic {
            0xef53 => Self::Ext4,
            0x5846_5342 => Self::Xfs,
            0x9123_683e => Self::Btrfs,
            0x4d44 => Self::Fat,
            0x6573_5546 => Self::Fuse,
            0x794c_7630 => Self::Overlay,
            0xf2f5_2010 // f2fs
            | 0x0102_1994 // tmpfs
            | 0x2fc1_2fc1 // zfs
            | 0xca45_1a4e // bcachefs
            | 0x3153_464a // jfs
            => Self::Local,
            0x6969 // nfs
            | 0x517b // smb
            | 0xff53_4d42 // cifs
            | 0xfe53_4d42 // smb2
            | 0x00c3_6400 // ceph
            | 0x6b41_4653 // afs
            | 0x0102_1997 // 9p
            => Self::Remote,
            0x4249_4e4d // binfmt_misc
            | 0x0027_e0eb // cgroup
            | 0x6367_7270 // cgroup2
            | 0x6265_6570 // configfs
            | 0x6462_6720 // debugfs
            | 0x1cd1 // devpts
            | 0xde5e_81e4 // efivarfs
            | 0x6573_5543 // fusectl
            | 0x9584_58f6 // hugetlbfs
            | 0x1980_0202 // mqueue
            | 0x6e66_7364 // nfsd
            | 0x9fa0 // proc
            | 0x6165_676c // pstore
            | 0x6759_6969 // rpc_pipefs
            | 0x7363_6673 // securityfs
            | 0xf97c_ff8c // selinuxfs
            | 0x4341_5d53 // smackfs
            | 0x6265_6572 // sysfs
            => Self::Virtual,
            _ => Self::Other,
        }
    }

    /// How far apart two changes of a file may be, in nanoseconds, and leave the same times. `None` where times do
    /// not tell of every change.
    pub(crate) fn lag(self) -> Option<i64> {
        match self {
            // FAT keeps no time for a change of attributes, programs say what they like, and what is below an overlay may
            // be exchanged. Images have times that somebody chose, and of others nothing is known.
            Self::Fat | Self::Fuse | Self::Virtual | Self::Overlay | Self::Other => None,
            // Clocks that nobody compares.
            Self::Remote => Some(600_000_000_000),
            // It finds out that a file cannot be compressed when it writes the pages back.
            Self::Btrfs => Some(60_000_000_000),
            // A change has the time at which a call to write begins, which may take a while.
            Self::Ext4 | Self::Xfs | Self::Local => Some(1_000_000_000),
        }
    }

    /// How far apart two changes of a file may begin, in nanoseconds, and leave the same times: as `lag`, but for
    /// those who mind no change that began before. `None` where times do not tell of every change.
    pub(crate) fn tick(self) -> Option<i64> {
        match self {
            Self::Fat | Self::Fuse | Self::Virtual | Self::Overlay | Self::Other | Self::Remote => {
                self.lag()
            }
            // The clock is our own, which is slow to tell the time by a hundredth of a second at most.
            Self::Btrfs | Self::Ext4 | Self::Xfs | Self::Local => Some(50_000_000),
        }
    }

    /// Whether files may have attributes of FAT.
    fn has_fat_attributes(self) -> bool {
        matches!(self, Self::Fat | Self::Fuse)
    }

    /// Whether files may belong to projects.
    fn has_projects(self) -> bool {
        matches!(self, Self::Ext4 | Self::Xfs | Self::Fuse)
    }
}

/// Reads the attributes of a file or directory that `features` asks for, in the bits of a feature word.
pub fn read(file: BorrowedFd<'_>, kind: FileSystem, features: u64) -> io::Result<u64> {
    let mut attributes = 0;
    if features & flags::CHATTR != 0 {
        attributes |= inode_flags(file)?.unwrap_or(0);
    }
    if features & flags::FAT_ATTRIBUTES != 0 && kind.has_fat_attributes() {
        let fat = supported(ioctl::fat_attributes(file))?.unwrap_or(0);
        attributes |= to_features(&FAT_FLAGS, fat);
    }
    if features & (flags::SUBVOLUME | flags::SUBVOLUME_RO) != 0 && kind == FileSystem::Btrfs {
        attributes |= subvolume(file)?;
    }
    Ok(attributes & features)
}

/// The attributes of `chattr`; `None` if the file system keeps none.
pub(super) fn inode_flags(file: BorrowedFd<'_>) -> io::Result<Option<u64>> {
    let inode = supported(ioctl_getflags(file))?;
    Ok(inode.map(|inode| to_features(&INODE_FLAGS, inode.bits())))
}

/// Makes a subvolume in a directory. It has the permissions of any new directory.
pub(super) fn create_subvolume(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    Ok(ioctl::create_subvolume(directory, name)?)
}

/// Whether it is a subvolume, in the bits of a feature word; of what is in no btrfs nothing is.
pub(super) fn subvolume_of(file: BorrowedFd<'_>) -> io::Result<u64> {
    if FileSystem::of(file)? == FileSystem::Btrfs { subvolume(file) } else { Ok(0) }
}

fn subvolume(file: BorrowedFd<'_>) -> io::Result<u64> {
    let stat = fstat(file)?;
    let is_directory = stat.st_mode & 0o170_000 == 0o040_000;
    if !is_directory || stat.st_ino != SUBVOLUME_INODE {
        return Ok(0);
    }
    let read_only = ioctl::subvolume_flags(file)? & SUBVOLUME_READ_ONLY != 0;
    Ok(flags::SUBVOLUME | if read_only { flags::SUBVOLUME_RO } else { 0 })
}

/// Gives a file or directory these attributes, in the bits of a feature word; those outside of `mask` stay as
/// they are.
///
/// What is already so is not written. A file system that keeps no attributes is an error only where one is
/// to be set: [`is_unsupported`] tells it, and that of one it does not know, from a refusal. That a
/// directory is a subvolume cannot be written: it is made as one. What forbids further changes comes last, but
/// the caller should set it when all else is done.
pub fn write(file: BorrowedFd<'_>, attributes: u64, mask: u64) -> io::Result<()> {
    if mask & flags::FAT_ATTRIBUTES != 0 {
        let change = Change::new(&FAT_FLAGS, attributes, mask);
        change.make(ioctl::fat_attributes(file), |new| ioctl::set_fat_attributes(file, new))?;
    }
    if mask & flags::CHATTR != 0 {
        let change = Change::new(&INODE_FLAGS, attributes, mask);
        change.make(ioctl_getflags(file).map(|old| old.bits()), |new| {
            ioctl_setflags(file, IFlags::from_bits_retain(new))
        })?;
    }
    if mask & flags::SUBVOLUME_RO != 0 {
        let is_wanted = attributes & flags::SUBVOLUME_RO != 0;
        let Some(old) = supported_unless(is_wanted, ioctl::subvolume_flags(file))? else {
            return Ok(());
        };
        let wanted = if is_wanted { SUBVOLUME_READ_ONLY } else { 0 };
        let new = old & !SUBVOLUME_READ_ONLY | wanted;
        if new != old {
            ioctl::set_subvolume_flags(file, new)?;
        }
    }
    Ok(())
}

/// The project whose quota counts for a file or directory; 0 if there is none.
pub fn projid(file: BorrowedFd<'_>, kind: FileSystem) -> io::Result<u32> {
    if !kind.has_projects() {
        return Ok(0);
    }
    Ok(supported(ioctl::fsxattr(file))?.map_or(0, |attributes| attributes.projid))
}

/// Whether the file system of a file or directory has projects.
pub fn has_project(file: BorrowedFd<'_>) -> bool {
    ioctl::fsxattr(file).is_ok()
}

/// Lets the quota of a project count for a file or directory.
///
/// Not written if it is so already; 0 is no error where there are no projects.
pub fn set_projid(file: BorrowedFd<'_>, projid: u32) -> io::Result<()> {
    let Some(mut attributes) = supported_unless(projid != 0, ioctl::fsxattr(file))? else {
        return Ok(());
    };
    if attributes.projid != projid {
        attributes.projid = projid;
        ioctl::set_fsxattr(file, attributes)?;
    }
    Ok(())
}

/// Whether the file system does not know such a thing, or not this value of it.
pub fn is_unsupported(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| {
        [Errno::NOTTY, Errno::OPNOTSUPP, Errno::INVAL, Errno::NOSYS].contains(&errno)
    })
}

/// Some bits that are to be changed.
struct Change {
    set: u32,
    clear: u32,
}

impl Change {
    fn new(table: &[(u64, u32)], attributes: u64, mask: u64) -> Self {
        let bits = |of: u64| {
            let named = table.iter().filter(|(feature, _)| of & feature != 0);
            named.fold(0, |bits, (_, bit)| bits | bit)
        };
        Self { set: bits(attributes & mask), clear: bits(!attributes & mask) }
    }

    fn make(
        &self,
        old: Result<u32, Errno>,
        write: impl FnOnce(u32) -> Result<(), Errno>,
    ) -> io::Result<()> {
        if let Some(old) = supported_unless(self.set != 0, old)? {
            let new = old & !self.clear | self.set;
            if new != old {
                write(new)?;
            }
        }
        Ok(())
    }
}

fn to_features(table: &[(u64, u32)], bits: u32) -> u64 {
    let set = table.iter().filter(|(_, bit)| bits & bit != 0);
    set.fold(0, |features, (feature, _)| features | feature)
}

/// `None` for what the file system does not know.
fn supported<T>(answer: Result<T, Errno>) -> io::Result<Option<T>> {
    supported_unless(false, answer)
}

fn supported_unless<T>(is_needed: bool, answer: Result<T, Errno>) -> io::Result<Option<T>> {
    match answer.map_err(io::Error::from) {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if !is_needed && is_unsupported(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    /// Those that any owner may set, and ext4, btrfs and tmpfs know.
    const HARMLESS: u64 = flags::FLAG_NODUMP | flags::FLAG_NOATIME;

    #[test]
    fn bits_are_as_casync_has_them() {
        let all = |table: &[(u64, u32)]| table.iter().fold(0, |all, (feature, _)| all | feature);
        assert_eq!(all(&INODE_FLAGS), flags::CHATTR);
        assert_eq!(all(&FAT_FLAGS), flags::FAT_ATTRIBUTES);
        assert_eq!(to_features(&INODE_FLAGS, 0x2000_0000), flags::FLAG_PROJINHERIT);
        assert_eq!(to_features(&FAT_FLAGS, 0x21), flags::FLAG_ARCHIVE);
    }

    #[test]
    fn what_is_outside_of_the_mask_stays() {
        let mask = flags::FLAG_NODUMP | flags::FLAG_SYNC;
        let change = Change::new(&INODE_FLAGS, flags::FLAG_NODUMP | flags::FLAG_APPEND, mask);
        let mut written = None;
        let keep = |new| {
            written = Some(new);
            Ok(())
        };
        change.make(Ok(0x8_0080 | 0x8), keep).unwrap();
        assert_eq!(written, Some(0x8_0080 | 0x40));
        change.make(Ok(0x8_0080 | 0x40), |_| panic!("it is so already")).unwrap();
    }

    #[test]
    fn nothing_is_lost_where_nothing_can_be_kept() {
        let refused = |wanted| {
            let change = Change::new(&INODE_FLAGS, wanted, flags::CHATTR);
            change.make(Err(Errno::NOTTY), |_| panic!("there is nothing to write"))
        };
        refused(0).unwrap();
        assert!(is_unsupported(&refused(flags::FLAG_SYNC).unwrap_err()));
        assert!(!is_unsupported(&Errno::PERM.into()));
    }

    #[test]
    fn attributes_written_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = File::create(directory.path().join("file")).unwrap();
        let kind = FileSystem::of(file.as_fd()).unwrap();
        match write(file.as_fd(), HARMLESS, HARMLESS) {
            Err(error) if is_unsupported(&error) => {
                eprintln!("NOT RUN: attributes_written_are_read needs TMPDIR on ext4 or the like");
                return;
            }
            written => written.unwrap(),
        }
        assert_eq!(read(file.as_fd(), kind, flags::CHATTR).unwrap(), HARMLESS);
        write(file.as_fd(), 0, flags::FLAG_NODUMP).unwrap();
        assert_eq!(read(file.as_fd(), kind, flags::CHATTR).unwrap(), flags::FLAG_NOATIME);
        assert_eq!(read(file.as_fd(), kind, flags::FLAG_NODUMP).unwrap(), 0);
        write(file.as_fd(), 0, flags::ATTRIBUTES).unwrap();
        assert_eq!(read(file.as_fd(), kind, flags::CHATTR).unwrap(), 0);
    }

    #[test]
    fn file_systems_are_told_apart() {
        let proc = File::open("/proc/self").unwrap();
        assert_eq!(FileSystem::of(proc.as_fd()).unwrap(), FileSystem::Virtual);
        assert_eq!(read(proc.as_fd(), FileSystem::Other, flags::ALL).unwrap(), 0);
        assert_eq!(projid(proc.as_fd(), FileSystem::Ext4).unwrap(), 0);
        set_projid(proc.as_fd(), 0).unwrap();
        assert!(is_unsupported(&set_projid(proc.as_fd(), 7).unwrap_err()));
    }

    #[test]
    fn clocks_of_others_are_given_time() {
        let kinds = [FileSystem::Remote, FileSystem::Other, FileSystem::Fuse];
        assert!(kinds.iter().all(|kind| kind.tick() == kind.lag()));
        let kinds = [FileSystem::Ext4, FileSystem::Xfs, FileSystem::Btrfs, FileSystem::Local];
        assert!(kinds.iter().all(|kind| kind.tick().is_some() && kind.tick() < kind.lag()));
    }
}
