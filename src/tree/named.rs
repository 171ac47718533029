//! What is done by name in an open directory: never through a link, and with nothing but that one name.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, StatxFlags, makedev, openat, renameat,
    renameat_with, statx, unlinkat,
};
use rustix::io::Errno;

use super::apply;
use super::beneath::{DIRECTORY, Identity, identity, open_directory};

/// The longest name of a file, in bytes.
const LONGEST_NAME: usize = 255;

/// The name of a file under construction, beside the one it is to have: nobody else's.
pub fn temporary_name(name: &[u8]) -> Vec<u8> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    // Its keys are random.
    let number = RandomState::new().hash_one(NEXT.fetch_add(1, Ordering::Relaxed));
    let tail = format!("{number:016x}");
    let most = LONGEST_NAME - 2 - tail.len();
    [b".#", &name[..name.len().min(most)], tail.as_bytes()].concat()
}

/// Makes a file that must not be there, to be written and read.
pub fn create(directory: impl AsFd, name: &[u8], mode: u32) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(openat(directory, name, flags, Mode::from_raw_mode(mode))?))
}

/// Opens a file that is there to be read, whatever it is: nothing is waited for.
pub fn open(directory: impl AsFd, name: &[u8]) -> io::Result<File> {
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    Ok(File::from(openat(directory, name, flags, Mode::empty())?))
}

/// Opens something for what is known of it, not for what is in it; also a link itself.
pub fn open_path(directory: impl AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(directory, name, flags, Mode::empty())?)
}

/// How much may go for something new.
#[derive(Clone, Copy, Debug)]
pub struct Leave {
    /// A directory that is not empty, with all that is in it.
    pub full: bool,
    /// What is in such a directory and may not be changed: it is made changeable.
    pub immutable: bool,
}

/// Gives what was made under a temporary name the name it is to have, in place of what has it. A directory that has it
/// is removed, if there is leave with all that is in it. Should that fail, what is left of it has its name again.
pub fn install(
    directory: BorrowedFd<'_>,
    temporary: &[u8],
    name: &[u8],
    leave: Leave,
) -> io::Result<()> {
    match renameat(directory, temporary, directory, name) {
        Err(Errno::ISDIR) => {}
        done => return Ok(done?),
    }
    if !leave.full {
        unlinkat(directory, name, AtFlags::REMOVEDIR)?;
        return Ok(renameat(directory, temporary, directory, name)?);
    }
    // At no moment is neither there.
    match renameat_with(directory, temporary, directory, name, RenameFlags::EXCHANGE) {
        Ok(()) => remove(directory, temporary, leave.immutable).map_err(|e| {
            // Both have their names again, so that it can be tried once more.
            match renameat_with(directory, temporary, directory, name, RenameFlags::EXCHANGE) {
                Ok(()) => e,
                Err(_) => {
                    io::Error::other(format!("what was there is now under another name: {e}"))
                }
            }
        }),
        Err(Errno::INVAL | Errno::NOSYS) => {
            remove(directory, name, leave.immutable)?;
            Ok(renameat(directory, temporary, directory, name)?)
        }
        Err(e) => Err(e.into()),
    }
}

/// Removes what has a name, a directory with all that is in it, also with what may not be changed if `undo_immutable`.
/// Nothing is done if there is nothing.
pub fn remove(directory: BorrowedFd<'_>, name: &[u8], undo_immutable: bool) -> io::Result<()> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => {}
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(e) => return Err(e.into()),
    }
    match unlinkat(directory, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOTEMPTY | Errno::EXIST) => remove_full(directory, name, undo_immutable),
        Err(Errno::NOTDIR) => Err(Errno::PERM.into()),
        done => Ok(done?),
    }
}

/// Removes a directory that is not empty. One directory is open at a time, however deep it goes. What is mounted in it
/// is somebody else's: there it ends.
fn remove_full(directory: BorrowedFd<'_>, name: &[u8], undo_immutable: bool) -> io::Result<()> {
    let mount = mount_of(directory, b"")?;
    let enter = |directory: BorrowedFd<'_>, name: &[u8]| -> io::Result<OwnedFd> {
        // Before it is opened, which may change its mode; and after, as it may be another by then.
        if mount_of(directory, name)? != mount {
            return Err(is_a_mount(name));
        }
        let (entered, _) = open_directory(directory, name)?;
        if mount_of(entered.as_fd(), b"")? != mount {
            return Err(is_a_mount(name));
        }
        if undo_immutable {
            apply::undo_immutable(entered.as_fd())?;
        }
        Ok(entered)
    };
    let mut current = enter(directory, name)?;
    // The directories we are in, below the outermost, and what each is in.
    let mut inside: Vec<(Vec<u8>, Identity)> = Vec::new();
    loop {
        if let Some(below) = empty_of_files(&current, undo_immutable)? {
            let next = enter(current.as_fd(), &below)?;
            inside.push((below, identity(&current)?));
            current = next;
            continue;
        }
        let Some((name, container)) = inside.pop() else { break };
        let above = openat(&current, "..", DIRECTORY, Mode::empty())?;
        if identity(&above)? != container {
            return Err(io::Error::other("a directory was moved while it was removed"));
        }
        unlinkat(&above, name, AtFlags::REMOVEDIR)?;
        current = above;
    }
    Ok(unlinkat(directory, name, AtFlags::REMOVEDIR)?)
}

/// The number of the mount something is in, or of its device where the kernel tells no mounts apart.
fn mount_of(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<u64> {
    let how = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let stat = statx(directory, name, how, StatxFlags::MNT_ID)?;
    let is_told = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::MNT_ID);
    let device = || makedev(stat.stx_dev_major, stat.stx_dev_minor);
    Ok(if is_told { stat.stx_mnt_id } else { device() })
}

fn is_a_mount(name: &[u8]) -> io::Error {
    let name = String::from_utf8_lossy(name);
    io::Error::other(format!("`{name}` in it is a mount: unmount it and try again"))
}

/// Removes what is in a directory, up to the first directory in it, which is returned.
fn empty_of_files(directory: &OwnedFd, undo_immutable: bool) -> io::Result<Option<Vec<u8>>> {
    for name in names(directory)? {
        let (name, kind) = name?;
        match unlinkat(directory, name.as_slice(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR) => return Ok(Some(name)),
            Err(Errno::PERM) if kind == FileType::Directory => return Ok(Some(name)),
            Err(Errno::PERM) if undo_immutable && kind == FileType::RegularFile => {
                apply::undo_immutable(open(directory, &name)?.as_fd())?;
                unlinkat(directory, name, AtFlags::empty())?;
            }
            Err(e) => return Err(e.into()),
        }
    }
    Ok(None)
}

/// All names in a directory, with what they are as far as the directory knows.
pub fn names(
    directory: impl AsFd,
) -> io::Result<impl Iterator<Item = io::Result<(Vec<u8>, FileType)>>> {
    let entries = Dir::read_from(directory)?;
    Ok(entries.filter_map(|entry| match entry {
        Ok(entry) => {
            let name = entry.file_name().to_bytes();
            let is_own = name == b"." || name == b"..";
            (!is_own).then(|| Ok((name.to_vec(), entry.file_type())))
        }
        Err(e) => Some(Err(e.into())),
    }))
}
