//! The bytes of a file that we keep for ourselves, as they lie on disk.
//!
//! To copy them into new memory takes time before anything else can begin: two megabytes of what is known of a tree took a
//! seventh of all that finding out what has changed takes. So they are mapped where that is safe. The file is ours alone, in
//! a directory nobody else may write to, and is only ever replaced by another one as a whole: nobody changes or shortens it.
//! All of it is read when it is opened; who keeps it open for long may meet an error of the disk later, which ends the program.

#![allow(unsafe_code, reason = "a mapped file is the contract of whoever may write to it")]

use std::fs::{DirBuilder, File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::ops::Deref;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use memmap2::{Advice, Mmap};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::tree::attributes::FileSystem;
use crate::tree::found::open_again;
use crate::{Error, Result};

/// Bytes of a file, wherever they are.
#[derive(Debug)]
pub(crate) enum Kept {
    Mapped(Mmap),
    Copied(Vec<u8>),
}

impl Kept {
    /// What is kept in a file; nothing if there is none, or none of ours.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let nothing = Self::Copied(Vec::new());
        let file = match open_again(path) {
            // A link is not followed.
            Err(e)
                if e.kind() == ErrorKind::NotFound
                    || Errno::from_io_error(&e) == Some(Errno::LOOP) =>
            {
                return Ok(nothing);
            }
            opened => opened?,
        };
        let found = file.metadata()?;
        if !found.is_file() || found.uid() != geteuid().as_raw() || found.len() == 0 {
            return Ok(nothing);
        }
        if is_here(&file) && found.mode() & 0o022 == 0 {
            // SAFETY: only we may write to the file, and we write new ones instead: its bytes do not change, and it does
            // not become shorter, which would end the program.
            let mapped = unsafe { Mmap::map(&file) };
            // All of it is read now: an error of the disk is then an error, and not the end of the program.
            if let Ok(mapped) = mapped
                && mapped.advise(Advice::PopulateRead).is_ok()
            {
                return Ok(Self::Mapped(mapped));
            }
        }
        let mut bytes = Vec::with_capacity(usize::try_from(found.len()).unwrap_or(0));
        file.take(found.len()).read_to_end(&mut bytes)?;
        Ok(Self::Copied(bytes))
    }
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Deref for Kept {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(bytes) => bytes,
            Self::Copied(bytes) => bytes,
        }
    }
}

/// Makes a directory for such files, and refuses one in which somebody else may put what he likes. Returns its device and
/// number.
pub(crate) fn own_directory(directory: &Path) -> Result<(u64, u64)> {
    let created = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    created.map_err(Error::io("create", directory))?;
    let found = directory.symlink_metadata().map_err(Error::io("read", directory))?;
    let found = if found.is_symlink() {
        // The link itself has to be ours, too.
        check_owner(directory, &found)?;
        directory.metadata().map_err(Error::io("read", directory))?
    } else {
        found
    };
    check_owner(directory, &found)?;
    if !found.is_dir() || found.mode() & 0o022 != 0 {
        let why = "others may write to it, who could forge what is known of trees: chmod go-w";
        return Err(Error::file(directory, why));
    }
    Ok((found.dev(), found.ino()))
}

fn check_owner(path: &Path, found: &Metadata) -> Result<()> {
    if found.uid() == geteuid().as_raw() {
        return Ok(());
    }
    Err(Error::file(path, "belongs to somebody else, who could forge what is known of trees"))
}

/// Whether a file is on this machine: another one may remove it while it is mapped here.
fn is_here(file: &File) -> bool {
    FileSystem::of(file.as_fd()).is_ok_and(FileSystem::is_local)
}
