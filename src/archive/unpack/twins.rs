//! Files of seeds that are what is to be restored, to the byte and in all that is said of them: they get another name
//! instead of being written again.
//!
//! ```text
//! length, time -> files of seeds -(recorded as in the archive)-> same node? -(compared)-> same bytes? -> link
//! ```
//! The bytes that a file is compared with, in whole, were verified against their ids. What has been written to, or was
//! given anything else, since it was looked at gets no other name.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use cairn_formats::catar::Node;
use cairn_formats::flags;
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Stat as Status, fstat, linkat, openat, unlinkat,
};

use crate::archive::seed::TreeSeed;
use crate::tree::beneath::by_descriptor;
use crate::tree::named::temporary_name;
use crate::tree::record::{Recorded, Recorder};

/// How many files of one length and time in a seed are looked at.
const MOST_ALIKE: usize = 16;

/// Finds twins in seeds.
#[derive(Debug)]
pub(super) struct Twins<'a> {
    /// With the directory in each, if there is one, of which no file is a twin.
    seeds: Vec<(&'a TreeSeed, Option<PathBuf>)>,
    recorder: Recorder,
    has_exact_times: bool,
    linked: AtomicU64,
    linked_bytes: AtomicU64,
}

/// A file of which the archive says the same, but for its bytes, of which nothing is known.
#[derive(Debug)]
pub(super) struct Twin {
    pub(super) file: File,
    seen: Status,
}

impl Twin {
    pub(super) fn new(file: File) -> io::Result<Self> {
        let seen = fstat(&file)?;
        Ok(Self { file, seen })
    }
}

impl<'a> Twins<'a> {
    /// For an archive with this feature word. What is in the target, which is being changed, is nobody's twin.
    pub(super) fn new(features: u64, seeds: &'a [TreeSeed], target: &Path) -> Self {
        Self {
            seeds: seeds.iter().map(|seed| (seed, place_in(seed.root(), target))).collect(),
            recorder: Recorder::new(features, None),
            has_exact_times: flags::granularity(features) == Some(1),
            linked: AtomicU64::new(0),
            linked_bytes: AtomicU64::new(0),
        }
    }

    /// How many files were linked, and their bytes.
    pub(super) fn linked(&self) -> (u64, u64) {
        (self.linked.load(Ordering::Relaxed), self.linked_bytes.load(Ordering::Relaxed))
    }

    /// Files that may be a node of this name, on the file system of a directory; those of the same name first.
    pub(super) fn of<'n>(
        &'n self,
        node: &'n Node,
        name: &'n [u8],
        directory: BorrowedFd<'_>,
    ) -> impl Iterator<Item = Twin> + use<'n, 'a> {
        let modified = self.has_exact_times.then_some(node.mtime);
        let paths = self.seeds.iter().flat_map(move |(seed, without)| {
            let files = seed.alike(node.size(), modified, name).take(MOST_ALIKE);
            let paths = files.map(|file| seed.path(file));
            paths.filter(move |path| {
                without.as_ref().is_none_or(|without| !path.starts_with(without))
            })
        });
        let device = fstat(directory).map(|stat| stat.st_dev);
        let is_near = move |twin: &Twin| device.is_ok_and(|device| twin.seen.st_dev == device);
        paths.filter_map(move |path| self.look_at(&path, node)).filter(is_near)
    }

    /// The file at a path, if the archive says the same of it.
    fn look_at(&self, path: &Path, node: &Node) -> Option<Twin> {
        let how = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(CWD, path.parent()?, how, Mode::empty()).ok()?;
        let name = CString::new(path.file_name()?.as_bytes()).ok()?;
        let kind = FileType::RegularFile;
        match self.recorder.record(directory.as_fd(), &name, kind).ok()? {
            Recorded::Found(found) if found.node == *node => {
                let twin = Twin::new(found.file?.into()).ok()?;
                // All that was recorded is then of one moment.
                let (seconds, nanoseconds) = (twin.seen.st_ctime, twin.seen.st_ctime_nsec as i64);
                let changed = seconds.wrapping_mul(1_000_000_000).wrapping_add(nanoseconds);
                Some(twin).filter(|_| changed == found.stat.ctime)
            }
            _ => None,
        }
    }

    /// Gives a twin whose bytes are right a name in a directory, by `install` in place of what has it. Whether that was
    /// done: the system may refuse it, or the file may have changed meanwhile.
    pub(super) fn link(
        &self,
        twin: &Twin,
        directory: BorrowedFd<'_>,
        name: &[u8],
        install: &dyn Fn(&[u8]) -> io::Result<()>,
    ) -> bool {
        if !fstat(&twin.file).is_ok_and(|now| is_still(&twin.seen, &now)) {
            return false;
        }
        let temporary = temporary_name(name);
        let place = by_descriptor(&twin.file);
        if linkat(CWD, place, directory, temporary.as_slice(), AtFlags::SYMLINK_FOLLOW).is_err() {
            return false;
        }
        let is_linked = install(&temporary).is_ok();
        // It is still there as well if the name belonged to the same file before.
        let _ = unlinkat(directory, temporary, AtFlags::empty());
        if is_linked {
            self.linked.fetch_add(1, Ordering::Relaxed);
            self.linked_bytes.fetch_add(twin.seen.st_size.unsigned_abs(), Ordering::Relaxed);
        }
        is_linked
    }
}

/// Whether a file is as it was, but for the number of its names, of which we may have made some.
fn is_still(before: &Status, now: &Status) -> bool {
    let told = |stat: &Status| {
        (
            (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_size),
            (stat.st_mtime, stat.st_mtime_nsec),
        )
    };
    let changed = |stat: &Status| (stat.st_ctime, stat.st_ctime_nsec);
    let is_renamed = before.st_nlink != now.st_nlink;
    told(before) == told(now) && (is_renamed || changed(before) == changed(now))
}

/// What of a tree is in the target as well, as a path that begins with the root: all of it, or one directory.
fn place_in(root: &Path, target: &Path) -> Option<PathBuf> {
    // What is not there yet has nothing in it.
    let (real_root, target) = (root.canonicalize().ok()?, target.canonicalize().ok()?);
    if real_root.starts_with(&target) {
        return Some(root.to_owned());
    }
    target.strip_prefix(&real_root).ok().map(|below| root.join(below))
}
