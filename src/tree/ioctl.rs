//! Calls about single files that are in no library: attributes of FAT, subvolumes of btrfs, projects of
//! quotas.
#![allow(unsafe_code, reason = "the system calls are in no library")]

use std::os::fd::BorrowedFd;

use rustix::io::{Errno, Result};
use rustix::ioctl::{Getter, Opcode, Setter, ioctl, opcode};

/// `struct fsxattr` of `linux/fs.h`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Fsxattr {
    flags: u32,
    extent_size: u32,
    extents: u32,
    /// The project whose quota counts.
    pub(super) projid: u32,
    cow_extent_size: u32,
    padding: [u8; 8],
}

/// `FAT_IOCTL_GET_ATTRIBUTES` and `FAT_IOCTL_SET_ATTRIBUTES` of `linux/msdos_fs.h`.
const FAT_GET: Opcode = opcode::read::<u32>(b'r', 0x10);
const FAT_SET: Opcode = opcode::write::<u32>(b'r', 0x11);
/// `FS_IOC_FSGETXATTR` and `FS_IOC_FSSETXATTR` of `linux/fs.h`.
const FSXATTR_GET: Opcode = opcode::read::<Fsxattr>(b'X', 31);
const FSXATTR_SET: Opcode = opcode::write::<Fsxattr>(b'X', 32);
/// `BTRFS_IOC_SUBVOL_GETFLAGS` and `BTRFS_IOC_SUBVOL_SETFLAGS` of `linux/btrfs.h`.
const SUBVOLUME_GET: Opcode = opcode::read::<u64>(0x94, 25);
const SUBVOLUME_SET: Opcode = opcode::write::<u64>(0x94, 26);

/// `struct btrfs_ioctl_vol_args` of `linux/btrfs.h`.
#[repr(C)]
struct NamedVolume {
    unused: i64,
    /// Up to the first NUL.
    name: [u8; 4088],
}

/// `BTRFS_IOC_SUBVOL_CREATE` of `linux/btrfs.h`.
const SUBVOLUME_CREATE: Opcode = opcode::write::<NamedVolume>(0x94, 14);

/// The attributes FAT keeps of a file.
pub(super) fn fat_attributes(file: BorrowedFd<'_>) -> Result<u32> {
    // SAFETY: the number belongs to a word, which the kernel fills.
    let call = unsafe { Getter::<FAT_GET, u32>::new() };
    // SAFETY: the call touches no memory but that word.
    unsafe { ioctl(file, call) }
}

/// Sets the attributes FAT keeps of a file.
pub(super) fn set_fat_attributes(file: BorrowedFd<'_>, attributes: u32) -> Result<()> {
    // SAFETY: the number belongs to a word, which the kernel only reads.
    let call = unsafe { Setter::<FAT_SET, u32>::new(attributes) };
    // SAFETY: the call touches no memory but that word.
    unsafe { ioctl(file, call) }
}

/// What is kept of a file beyond its inode flags, its project among it.
pub(super) fn fsxattr(file: BorrowedFd<'_>) -> Result<Fsxattr> {
    // SAFETY: the number belongs to this structure of plain words, which the kernel fills.
    let call = unsafe { Getter::<FSXATTR_GET, Fsxattr>::new() };
    // SAFETY: the call touches no memory but that structure.
    unsafe { ioctl(file, call) }
}

/// Sets what is kept of a file beyond its inode flags.
pub(super) fn set_fsxattr(file: BorrowedFd<'_>, attributes: Fsxattr) -> Result<()> {
    // SAFETY: the number belongs to this structure, which the kernel only reads.
    let call = unsafe { Setter::<FSXATTR_SET, Fsxattr>::new(attributes) };
    // SAFETY: the call touches no memory but that structure.
    unsafe { ioctl(file, call) }
}

/// The flags of a subvolume.
pub(super) fn subvolume_flags(directory: BorrowedFd<'_>) -> Result<u64> {
    // SAFETY: the number belongs to a word of 64 bits, which the kernel fills.
    let call = unsafe { Getter::<SUBVOLUME_GET, u64>::new() };
    // SAFETY: the call touches no memory but that word.
    unsafe { ioctl(directory, call) }
}

/// Sets the flags of a subvolume.
pub(super) fn set_subvolume_flags(directory: BorrowedFd<'_>, flags: u64) -> Result<()> {
    // SAFETY: the number belongs to a word of 64 bits, which the kernel only reads.
    let call = unsafe { Setter::<SUBVOLUME_SET, u64>::new(flags) };
    // SAFETY: the call touches no memory but that word.
    unsafe { ioctl(directory, call) }
}

/// Makes a subvolume in a directory.
pub(super) fn create_subvolume(directory: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    let mut argument = NamedVolume { unused: 0, name: [0; 4088] };
    // A NUL must be behind it.
    let place = argument.name[..4087].get_mut(..name.len()).ok_or(Errno::NAMETOOLONG)?;
    place.copy_from_slice(name);
    // SAFETY: the number belongs to this structure, which the kernel only reads.
    let call = unsafe { Setter::<SUBVOLUME_CREATE, NamedVolume>::new(argument) };
    // SAFETY: the call touches no memory but that structure.
    unsafe { ioctl(directory, call) }
}
