//! A directory of indexes, as it changes, shown as a directory of what they describe.
//!
//! ```text
//! images.caidx  disk.img.caibx  etc.catar    ->    images/  disk.img  etc/
//! ```
//! What is in two files of one name keeps the suffix. A file that is no index, or whose chunks cannot be had, is said
//! and passed over; it is tried again when it changes, and every few seconds.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cairn::Error;
use cairn::tree::now;
use cairn_fuse::{Forget, Ino, Said, Several};
use cairn_store::Location;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;

use super::{MountFlags, Mounting, Opened, TreeFlags};
use crate::cli::access::Access;
use crate::cli::{Context, failure};

/// Suffixes of what is shown.
const SUFFIXES: [&str; 3] = ["caidx", "caibx", "catar"];

/// How often it is looked whether it is all over.
const AWAKE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// After so many of these what could not be shown is tried again: its chunks may be there by now.
const AGAIN: u32 = 25;

/// How long a writer is given to finish before a file is looked at.
const SETTLED: Duration = Duration::from_millis(20);

/// What tells whether a file is still the same: its place, length and time.
type Facts = (u64, u64, u64, i64, i64);

/// What of a directory is shown.
pub(in crate::cli) struct Shown<'a> {
    directory: &'a Path,
    mounting: &'a Mounting,
    flags: (&'a MountFlags, &'a TreeFlags),
    way: (&'a Access<'a>, &'a Context),
    /// What was found of each file, and the name it has got if it is shown.
    known: BTreeMap<PathBuf, (Facts, Option<Vec<u8>>)>,
    said: Said,
}

impl<'a> Shown<'a> {
    /// Nothing yet.
    pub(in crate::cli) fn new(
        directory: &'a Path,
        mounting: &'a Mounting,
        flags: (&'a MountFlags, &'a TreeFlags),
        way: (&'a Access<'a>, &'a Context),
    ) -> Self {
        Self { directory, mounting, flags, way, known: BTreeMap::new(), said: Said::default() }
    }

    /// Looks at the directory, and shows what is new in it. Returns the names that are something else now.
    pub(in crate::cli) fn look(&mut self, several: &Several) -> anyhow::Result<Vec<Vec<u8>>> {
        let found = self.find()?;
        let mut changed = Vec::new();
        let gone: Vec<PathBuf> =
            self.known.keys().filter(|path| !found.contains_key(*path)).cloned().collect();
        for path in gone {
            if let Some((_, Some(name))) = self.known.remove(&path) {
                several.remove(&name, now());
                changed.push(name);
            }
        }
        for (path, facts) in found {
            let old = self.known.get(&path);
            if old.is_some_and(|(known, _)| *known == facts) {
                continue;
            }
            let old = self.known.remove(&path).and_then(|(_, name)| name);
            let name = self.open(&path).map(|Opened { name, key, part, .. }| {
                let name = old.clone().unwrap_or_else(|| self.free_name(&path, name));
                several.put(&name, &key, part, now());
                name
            });
            if let (None, Some(old)) = (&name, &old) {
                several.remove(old, now());
            }
            changed.extend(old.or_else(|| name.clone()));
            self.known.insert(path, (facts, name));
        }
        Ok(changed)
    }

    /// Goes on looking whenever the directory changes, until it is all over.
    pub(in crate::cli) fn watch(&mut self, several: &Several, forget: &Forget, stop: &AtomicBool) {
        let watched = inotify::init(inotify::CreateFlags::CLOEXEC).and_then(|watch| {
            use inotify::WatchFlags as Of;
            let of = Of::CLOSE_WRITE | Of::MOVED_FROM | Of::MOVED_TO | Of::DELETE | Of::ONLYDIR;
            inotify::add_watch(&watch, self.directory, of).map(|_| watch)
        });
        let watch = match watched {
            Ok(watch) => watch,
            Err(e) => {
                let directory = self.directory.display();
                return failure::warn(&format!("{directory}: cannot be watched: {e}"));
            }
        };
        // What came between the first look and the watch.
        let mut is_due = true;
        let mut rounds = 0;
        while !stop.load(Ordering::Relaxed) {
            if is_due {
                std::thread::sleep(SETTLED);
                match self.look(several) {
                    Ok(changed) => {
                        changed.iter().for_each(|name| forget.name(Ino::ROOT, name));
                    }
                    Err(e) => failure::warn(&failure::one_line(&e)),
                }
            }
            let mut fds = [PollFd::new(&watch, PollFlags::IN)];
            is_due = poll(&mut fds, Some(&AWAKE)).is_ok_and(|ready| ready > 0);
            rounds += 1;
            if rounds % AGAIN == 0 && self.known.values().any(|(_, name)| name.is_none()) {
                self.known.retain(|_, (_, name)| name.is_some());
                is_due = true;
            } else if is_due {
                // What it says is found out by looking.
                let _ = rustix::io::read(&watch, &mut [0; 4096]);
            }
        }
    }

    /// The files that may be shown.
    fn find(&self) -> anyhow::Result<BTreeMap<PathBuf, Facts>> {
        let read = || Error::io("read", self.directory);
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(self.directory).map_err(read())? {
            let path = entry.map_err(read())?.path();
            let suffix = path.extension().and_then(|suffix| suffix.to_str());
            if !suffix.is_some_and(|suffix| SUFFIXES.contains(&suffix)) {
                continue;
            }
            // What is gone by now is not shown.
            let Ok(at) = path.metadata() else { continue };
            if at.is_file() {
                let facts = (at.dev(), at.ino(), at.len(), at.mtime(), at.mtime_nsec());
                found.insert(path, facts);
            }
        }
        Ok(found)
    }

    fn open(&self, path: &Path) -> Option<Opened> {
        let location = Location::Local(path.to_owned());
        let (mount, trees) = self.flags;
        match self.mounting.part(&location, None, mount, trees, self.way) {
            Ok(opened) => Some(opened),
            Err(e) => {
                let line = format!("not shown: {}", failure::one_line(&e));
                if self.said.is_news(&line) {
                    failure::warn(&line);
                }
                None
            }
        }
    }

    /// A name that no other has: the shorter one, if it is free.
    fn free_name(&self, path: &Path, short: Vec<u8>) -> Vec<u8> {
        let is_taken = self.known.values().any(|(_, name)| name.as_ref() == Some(&short));
        match path.file_name() {
            Some(name) if is_taken => name.as_bytes().to_vec(),
            _ => short,
        }
    }
}
