//! Files of seeds that are what is to be restored, to the byte and in all that is said of them: they get another name
//! instead of being written again.
//!
//! ```text
//! length, time -> files of seeds -(recorded as in the archive)-> same node? -(compared)-> same bytes? -> link
//! ```
//! The bytes that a file is compared with, in whole, were verified against their ids. What has been written to, or was
//! given anything else, since it was looked at gets no other name; nor does what could change unseen, as its last change
//! was a moment ago. Of what the archive does not say, a twin has what a new file would have: it is nobody else's, and
//! lets nobody do more.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use cairn_formats::catar::Node;
use cairn_formats::{flags, posix_acl};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, fgetxattr, linkat, openat, unlinkat};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};

use crate::archive::seed::TreeSeed;
use crate::tree::beneath::by_descriptor;
use crate::tree::found::{Stat, now};
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
    features: u64,
    linked: AtomicU64,
    linked_bytes: AtomicU64,
}

/// A file of which the archive says the same, but for its bytes, of which nothing is known.
#[derive(Debug)]
pub(super) struct Twin {
    pub(super) file: File,
    /// As its bytes are compared later, a call to write that goes on matters no more than one that comes then.
    seen: Stat,
}

impl Twin {
    pub(super) fn new(file: File) -> io::Result<Self> {
        let seen = Stat::of_ticking(file.as_fd())?;
        Ok(Self { file, seen })
    }
}

impl<'a> Twins<'a> {
    /// For an archive with this feature word. What is in the target, which is being changed, is nobody's twin.
    pub(super) fn new(features: u64, seeds: &'a [TreeSeed], target: &Path) -> Self {
        Self {
            seeds: seeds.iter().map(|seed| (seed, place_in(seed.root(), target))).collect(),
            recorder: Recorder::new(features, None),
            features,
            linked: AtomicU64::new(0),
            linked_bytes: AtomicU64::new(0),
        }
    }

    /// Whether the archive, which has this feature word, is what the index says, and says who may do what.
    pub(super) fn are_told_by(&self, archive: u64) -> bool {
        archive == self.features && archive & (flags::PERMISSIONS | flags::ACL) != 0
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
        let has_exact_times = flags::granularity(self.features) == Some(1);
        let modified = has_exact_times.then_some(node.mtime);
        let paths = self.seeds.iter().flat_map(move |(seed, without)| {
            let files = seed.alike(node.size(), modified, name).take(MOST_ALIKE);
            let paths = files.map(|file| seed.path(file));
            paths.filter(move |path| {
                without.as_ref().is_none_or(|without| !path.starts_with(without))
            })
        });
        let device = Stat::of_open(directory).map(|stat| stat.dev).ok();
        let is_near = move |twin: &Twin| device == Some(twin.seen.dev);
        paths.filter_map(move |path| self.look_at(&path, node)).filter(is_near)
    }

    /// The file at a path, if the archive says the same of it.
    fn look_at(&self, path: &Path, node: &Node) -> Option<Twin> {
        let how = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(CWD, path.parent()?, how, Mode::empty()).ok()?;
        let name = CString::new(path.file_name()?.as_bytes()).ok()?;
        let kind = FileType::RegularFile;
        let began = now();
        match self.recorder.record(directory.as_fd(), &name, kind).ok()? {
            Recorded::Found(found) if found.node == *node => {
                let twin = Twin::new(found.file?.into()).ok()?;
                // What was done to it since would show, so that all that was recorded is of one moment.
                let is_so = twin.seen.is_settled(began) && twin.seen.ctime == found.stat.ctime;
                Some(twin).filter(|twin| is_so && is_as_new(twin, self.features))
            }
            _ => None,
        }
    }

    /// Gives a twin whose bytes are right a name in a directory, by `install` in place of what has it. Whether that was
    /// done: the system may refuse to link it, or the file may have changed meanwhile. An error if `install` failed, of
    /// which nobody knows how far it came.
    pub(super) fn link(
        &self,
        twin: &Twin,
        directory: BorrowedFd<'_>,
        name: &[u8],
        install: &dyn Fn(&[u8]) -> io::Result<()>,
    ) -> io::Result<bool> {
        // Another name of ours changes it as well: it then gets no more.
        if !Stat::of_ticking(twin.file.as_fd()).is_ok_and(|now| now == twin.seen) {
            return Ok(false);
        }
        let temporary = temporary_name(name);
        let place = by_descriptor(&twin.file);
        if linkat(CWD, place, directory, temporary.as_slice(), AtFlags::SYMLINK_FOLLOW).is_err() {
            return Ok(false);
        }
        let installed = install(&temporary);
        // It is still there as well if the name belonged to the same file before.
        let _ = unlinkat(directory, temporary, AtFlags::empty());
        installed?;
        self.linked.fetch_add(1, Ordering::Relaxed);
        self.linked_bytes.fetch_add(twin.seen.size, Ordering::Relaxed);
        Ok(true)
    }
}

/// Whether a file has, of what an archive with this feature word does not say, what one has that is made now.
fn is_as_new(twin: &Twin, features: u64) -> bool {
    let says = |bits| features & bits != 0;
    let has = |name: &str| {
        let read = fgetxattr(&twin.file, name, &mut [0; 0]);
        !matches!(read, Err(Errno::NODATA | Errno::NOTSUP))
    };
    let owner = (twin.seen.uid, twin.seen.gid);
    let is_ours = || owner == (geteuid().as_raw(), getegid().as_raw());
    // Set-id bits would make whose it is count for more.
    (says(flags::OWNERS) || is_ours() && twin.seen.mode & 0o6000 == 0)
        && (says(flags::ACL) || !has(posix_acl::ACCESS))
        && (says(flags::FCAPS) || !has("security.capability"))
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
