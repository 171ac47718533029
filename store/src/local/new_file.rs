//! A file that appears whole or not at all.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};

use super::late::fails_late;

/// What stands between the target's name and a number in the name of a temporary file.
const INFIX: &str = ".cairn-tmp-";

/// How much of the target's name goes into that of a temporary file, in bytes: the whole must not be
/// longer than the 255 that file systems allow.
const LONGEST_NAME: usize = 200;

/// A file under construction beside the place it is for. [`NewFile::commit`] renames it there;
/// dropped without that, it is removed and the place stays as it was.
///
/// The temporary file is locked while it is in use. What a killed process left behind is not, and
/// the next file made for the same place removes it.
#[derive(Debug)]
pub struct NewFile {
    target: PathBuf,
    temporary: PathBuf,
    file: File,
    committed: bool,
}

impl NewFile {
    /// Starts a file for the place `target`. A file that is already there passes on its mode and
    /// owner; else the mode is `mode` less the umask.
    pub fn create(target: &Path, mode: u32) -> io::Result<Self> {
        let name = target.file_name().ok_or(ErrorKind::IsADirectory)?;
        let directory = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let replaced = match fs::symlink_metadata(target) {
            Ok(metadata) if metadata.is_dir() => return Err(ErrorKind::IsADirectory.into()),
            Ok(metadata) => Some(metadata).filter(fs::Metadata::is_file),
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        let mut prefix = OsString::from(".");
        prefix.push(OsStr::from_bytes(&name.as_bytes()[..name.len().min(LONGEST_NAME)]));
        prefix.push(INFIX);
        remove_abandoned(directory, &prefix);
        // Never wider than the file it replaces, not even for a moment.
        let old_mode = replaced.as_ref().map_or(0o777, MetadataExt::mode);
        let (file, temporary) = create_locked(directory, &prefix, mode & old_mode)?;
        let new = Self { target: target.to_owned(), temporary, file, committed: false };
        if let Some(metadata) = replaced {
            new.take_over(&metadata);
        }
        Ok(new)
    }

    /// Takes over the owner and mode of a replaced file, as far as the system lets us: only root can
    /// give files away, and some file systems know neither.
    fn take_over(&self, replaced: &fs::Metadata) {
        // The owner first: changing it clears the set-user-id bits.
        let group = fchown(&self.file, None, Some(replaced.gid())).is_ok();
        let owner = fchown(&self.file, Some(replaced.uid()), None).is_ok();
        let mut mode = replaced.mode() & 0o7777;
        if !owner || !group {
            // Never another owner's set-user-id bit.
            mode &= 0o777;
        }
        if !group {
            // What the old group might do is not for the new one.
            mode &= !0o070;
        }
        let _ = rustix::fs::fchmod(&self.file, Mode::from_raw_mode(mode));
    }

    /// The file, to be read and written at any position.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Puts the file in its place, at once and whole. With `flush` its bytes and its name have
    /// reached the disk before this returns.
    pub fn commit(mut self, flush: bool) -> io::Result<()> {
        if flush || fails_late(&self.file) {
            self.file.sync_all()?;
        }
        fs::rename(&self.temporary, &self.target)?;
        self.committed = true;
        if flush && let Some(directory) = self.temporary.parent() {
            File::open(directory)?.sync_all()?;
        }
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.committed {
            // Nobody is left to tell; the next file for this place tries again.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Whether a path stands for an open file of this process, as `/dev/stdout` does. Renaming over such
/// a link would replace it for everybody.
pub fn leads_to_descriptor(path: &Path) -> bool {
    let is_below = |path: &Path| path.starts_with("/proc") || path.starts_with("/dev/fd");
    is_below(path) || fs::read_link(path).is_ok_and(|link| is_below(&link))
}

fn create_locked(directory: &Path, prefix: &OsString, mode: u32) -> io::Result<(File, PathBuf)> {
    let mut number = std::process::id();
    loop {
        let mut name = prefix.clone();
        name.push(number.to_string());
        let path = directory.join(name);
        let mut options = OpenOptions::new();
        match options.read(true).write(true).create_new(true).mode(mode).open(&path) {
            Ok(file) => {
                let lock = flock(&file, FlockOperation::NonBlockingLockExclusive);
                // Between its creation and its lock another process may have taken the file for
                // abandoned. (A file system without locks is no reason to fail.)
                if lock != Err(rustix::io::Errno::WOULDBLOCK) && file.metadata()?.nlink() > 0 {
                    return Ok((file, path));
                }
            }
            Err(e) if e.kind() == ErrorKind::AlreadyExists => number = number.wrapping_add(1),
            Err(e) => return Err(e),
        }
    }
}

/// Removes temporary files of this prefix that nobody holds a lock on. Failing to is no failure:
/// they count for nothing.
fn remove_abandoned(directory: &Path, prefix: &OsString) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let number = name.as_bytes().strip_prefix(prefix.as_bytes());
        if !number.is_some_and(|number| number.iter().all(u8::is_ascii_digit)) {
            continue;
        }
        // In a directory such as /tmp anybody may put anything by that name: a link, or a pipe on
        // which opening would wait.
        let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits() as i32;
        if let Ok(file) = OpenOptions::new().read(true).custom_flags(flags).open(entry.path())
            && let Ok(opened) = file.metadata()
            && opened.is_file()
            && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
            // Since it was opened its owner may have put it in its place, and another have begun.
            && entry.path().symlink_metadata().is_ok_and(|now| now.ino() == opened.ino())
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn nothing_appears_before_the_commit() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("file");
        fs::write(&target, "old").unwrap();
        let new = NewFile::create(&target, 0o666).unwrap();
        new.file().write_all(b"new").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"old");
        new.commit(true).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert_eq!(names(directory.path()), ["file"]);
    }

    #[test]
    fn a_dropped_file_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        drop(NewFile::create(&directory.path().join("file"), 0o666).unwrap());
        assert!(names(directory.path()).is_empty());
    }

    #[test]
    fn the_mode_of_a_replaced_file_stays() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("file");
        fs::write(&target, "old").unwrap();
        fs::set_permissions(&target, fs::Permissions::from_mode(0o640)).unwrap();
        NewFile::create(&target, 0o666).unwrap().commit(false).unwrap();
        assert_eq!(fs::metadata(&target).unwrap().mode() & 0o7777, 0o640);
    }

    #[test]
    fn only_abandoned_files_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("file");
        let in_use = NewFile::create(&target, 0o666).unwrap();
        fs::write(directory.path().join(".file.cairn-tmp-1"), "left by a killed process").unwrap();
        fs::write(directory.path().join(".filed.cairn-tmp-1"), "of another file").unwrap();
        let second = NewFile::create(&target, 0o666).unwrap();
        assert!(in_use.temporary.exists() && second.temporary.exists());
        assert!(!directory.path().join(".file.cairn-tmp-1").exists());
        assert!(directory.path().join(".filed.cairn-tmp-1").exists());
    }

    #[test]
    fn a_directory_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let error = NewFile::create(directory.path(), 0o666).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IsADirectory);
    }
}
