//! What is known of a tree from the last time it was archived, so that what has not changed is not read again.
//!
//! ```text
//! then   files -> what the system said of them, their records        chunks -> which atoms they are made of
//! now    stat, and the same?  -> those records                       same atoms -> that chunk, unread
//! ```
//! casync calls this its encoder cache. A file is the same while its device, number, size and both times are; of
//! one that was changed so shortly before it was archived that another change might have left the same times,
//! nothing is kept, nor of any in a file system whose times tell little. Whether the store still has a chunk is always
//! asked.
//!
//! ```text
//! atoms      what an archive consists of, without the bytes
//! matching   chunks of an earlier archive found again
//! rows       what is said of a file, and of a chunk
//! saved      the tables on disk
//! ```

mod atoms;
mod matching;
mod rows;
mod saved;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use cairn_formats::chunker::CutRule;
use cairn_formats::{ChunkId, Digest, flags};
use cairn_store::local::NewFile;
use rustix::process::geteuid;

use self::atoms::Atoms;
pub(crate) use self::atoms::{Atom, Mark, marks};
pub(crate) use self::matching::{Matcher, Verdict};
pub(crate) use self::rows::Start;
use self::rows::{File, identity};
pub(crate) use self::saved::Known;
use self::saved::Saved;
use crate::flow::lock;
use crate::kept::{Kept, own_directory};
use crate::make::MakeOptions;
use crate::tree::Shift;
use crate::tree::found::{Stat, now};
use crate::tree::listing::Listing;
use crate::tree::names::Names;
use crate::{Error, Result};

/// Says what all of this is made for.
const PURPOSE: &[u8] = b"cairn encoder cache 1";

/// What is known of one tree, archived in one way, and what is found out about it in this run.
#[derive(Debug)]
pub struct EncoderCache {
    path: PathBuf,
    /// Device and number of the directory it is in.
    place: (u64, u64),
    key: [u8; 32],
    features: u64,
    saved: Option<Saved>,
    /// When this run began, in nanoseconds since 1970.
    began: i64,
    found: Mutex<Found>,
    /// Names of owners, as the recorder knows them at the end.
    names: OnceLock<Vec<u8>>,
}

/// A file or directory that is known from now on.
pub(crate) struct Settled<'f> {
    pub(crate) stat: &'f Stat,
    /// Its records, and where among them those of the node begin.
    pub(crate) records: &'f [u8],
    pub(crate) entry: usize,
    /// The names in a directory.
    pub(crate) names: Option<&'f Listing>,
    /// What its atom is.
    pub(crate) mark: Mark,
}

/// What this run has found out.
#[derive(Debug, Default)]
struct Found {
    /// Those that the chunks to come are made of.
    atoms: Atoms,
    /// The last chunk: where it begins, and what it is.
    last: Option<(u64, ChunkId, u32)>,
    /// Those found again that are still to come.
    again: VecDeque<(u64, Start)>,
    starts: Vec<Start>,
    files: Vec<File>,
    records: Vec<u8>,
    /// Rows of files that were the same, and how many chunks were.
    same_files: Vec<u32>,
    same_chunks: usize,
}

impl EncoderCache {
    /// Reads what the directory has of the tree at `root`, archived with this feature word and cut in this way. A
    /// directory that is not there is made; what is damaged is as if it was not there.
    pub fn open(
        directory: &Path,
        root: &Path,
        features: u64,
        shift: Option<Shift>,
        make: &MakeOptions,
    ) -> Result<Self> {
        let began = now();
        let place = own_directory(directory)?;
        let of_root = root.metadata().map_err(Error::io("read", root))?;
        if place == (of_root.dev(), of_root.ino()) {
            let why = "is the tree itself, and cannot be its cache as well";
            return Err(Error::file(directory, why));
        }
        if make.rule == CutRule::FastCdc {
            let why = "cuts by FastCDC depend on what follows them, so that none are known";
            return Err(Error::file(directory, why));
        }
        let key = key(root, features, shift, make)?;
        let path = directory.join(format!("{}.tree", &ChunkId::from_bytes(key).to_string()[..32]));
        let bytes = Kept::read(&path).map_err(Error::io("read", &path))?;
        let saved = Saved::read(bytes, &key, make.sizes.max());
        let saved = saved.filter(|saved| {
            let names = Names::default();
            names.agree(saved.names()).unwrap_or(false)
        });
        let (found, names) = Default::default();
        Ok(Self { path, place, key, features, saved, began, found, names })
    }

    /// Whether this is the directory all of this is kept in.
    pub(crate) fn is_in(&self, stat: &Stat) -> bool {
        self.place == (stat.dev, stat.ino)
    }

    /// A file or directory that is the same as then.
    pub(crate) fn find(&self, stat: &Stat) -> Option<Known> {
        self.saved.as_ref()?.find(&identity(stat))
    }

    /// The bytes that the records of what is known are in.
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        self.saved.as_ref().map(Saved::bytes)
    }

    /// Whether all that will ever change of a file, from when this was said of it on, will show.
    pub(crate) fn is_settled(&self, stat: &Stat) -> bool {
        stat.is_settled(self.began)
    }

    /// Takes files and directories that are settled.
    pub(crate) fn note<'f>(&self, files: impl Iterator<Item = Settled<'f>>) {
        let mut found = lock(&self.found);
        for Settled { stat, records, entry, names, mark } in files {
            let names = names.map_or_else(Vec::new, Listing::said);
            let at = found.records.len() as u64;
            // What is said of a node is shorter than this, and of more names than this it is not worth the room.
            let (len, entry) = (records.len() as u32, entry as u32);
            let Ok(all) = u32::try_from(names.len()) else { continue };
            found.records.extend_from_slice(records);
            found.records.extend_from_slice(&names);
            let identity = identity(stat);
            found.files.push(File { identity, at, len, entry, names: all, mark });
        }
    }

    /// Takes files that are the same as then, by their rows.
    pub(crate) fn note_same(&self, rows: impl Iterator<Item = u32>) {
        lock(&self.found).same_files.extend(rows);
    }

    /// Whether anything is known from then.
    pub(crate) fn is_warm(&self) -> bool {
        self.saved.is_some()
    }

    /// What finds chunks of then again, if there are any.
    pub(crate) fn matcher(&self) -> Option<Matcher<'_>> {
        self.saved.as_ref().filter(|saved| saved.chunks() > 0).map(Matcher::new)
    }

    /// The next atoms of the archive of now.
    pub(crate) fn laid_out(&self, atoms: impl Iterator<Item = Atom>) {
        let mut found = lock(&self.found);
        atoms.for_each(|atom| found.atoms.push(atom));
    }

    /// The next chunk of it. Its atoms have been laid out.
    pub(crate) fn chunk(&self, id: ChunkId, len: usize) {
        lock(&self.found).chunk(id, len as u32);
    }

    /// Chunks were found again, each at its place.
    pub(crate) fn found_again(&self, starts: impl Iterator<Item = (u64, Start)>) {
        lock(&self.found).again.extend(starts);
    }

    /// Takes what the owners of files are called.
    pub(crate) fn name_owners(&self, names: &Names) {
        let has_names = self.features & flags::USER_NAMES != 0;
        let _ = self.names.set(if has_names { names.said() } else { Vec::new() });
    }

    /// Keeps what was found out, once all of the archive has been cut.
    pub fn save(&self) -> Result<()> {
        let mut found = lock(&self.found);
        found.atoms.finish();
        found.end_last();
        let Found { starts, files, records, same_files, same_chunks, .. } = &mut *found;
        if let Some(saved) = &self.saved {
            // Files may have several names, so that there are more of them here than there.
            let are_files_same = files.is_empty() && same_files.len() >= saved.files();
            let are_chunks_same = *same_chunks == starts.len() && starts.len() == saved.chunks();
            if are_files_same && are_chunks_same {
                return Ok(());
            }
        }
        // Those that were the same are written from where they are.
        let (mut all_records, mut at) = (vec![records.as_slice()], records.len() as u64);
        if let Some(saved) = &self.saved {
            for &row in &*same_files {
                let file = saved.file(row as usize);
                let some = saved.records_of(&file);
                files.push(File { at, ..file });
                all_records.push(some);
                at += some.len() as u64;
            }
        }
        // Owners of what was the same were not looked up again.
        let mut names = self.names.get().cloned().unwrap_or_default();
        names.extend_from_slice(self.saved.as_ref().map_or(&[], Saved::names));
        let names = unique_lines(&names);
        let mut put = || -> io::Result<()> {
            let new = NewFile::create(&self.path, 0o600)?;
            Saved::write(new.file(), &self.key, starts, files, &names, &all_records)?;
            new.commit(false)
        };
        put().map_err(Error::io("write", &self.path))
    }
}

impl Found {
    fn chunk(&mut self, id: ChunkId, len: u32) {
        let at = self.end_last();
        self.atoms.forget(at);
        self.last = Some((at, id, len));
    }

    /// Takes in the last chunk, now that it is known whether it is the last of all. Returns where it ends.
    fn end_last(&mut self) -> u64 {
        let Some((at, id, len)) = self.last.take() else { return 0 };
        let end = at + u64::from(len);
        while self.again.front().is_some_and(|(place, _)| *place < at) {
            self.again.pop_front();
        }
        if let Some((place, start)) = self.again.front()
            && (*place, start.id, start.len) == (at, id, len)
        {
            self.starts.push(*start);
            self.same_chunks += 1;
            return end;
        }
        if let (Some((mark, offset)), Some(print)) = (self.atoms.at(at), self.atoms.print(at, end))
        {
            self.starts.push(Start { mark, offset, print, len, id });
        }
        end
    }
}

fn unique_lines(text: &[u8]) -> Vec<u8> {
    let lines: BTreeSet<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').collect();
    lines.into_iter().flatten().copied().collect()
}

/// What a cache is good for: this tree, in this form, cut in this way.
fn key(root: &Path, features: u64, shift: Option<Shift>, make: &MakeOptions) -> Result<[u8; 32]> {
    let root = root.canonicalize().map_err(Error::io("find", root))?;
    let (rule, sizes, digest) = (make.rule, make.sizes, make.digest);
    // What is seen of files depends on who looks: attributes of root, and numbers of owners.
    let maps = ["uid_map", "gid_map"].map(|map| fs::read(format!("/proc/self/{map}")));
    let maps = maps.map(|map: io::Result<Vec<u8>>| map.unwrap_or_default()).concat();
    let who = geteuid().as_raw();
    let how = format!("{features:x} {shift:?} {rule:?} {sizes:?} {digest:?} {who}");
    let all = [PURPOSE, root.as_os_str().as_bytes(), how.as_bytes(), &maps].join(&0);
    Ok(*Digest::Sha512_256.hash(&all).as_bytes())
}
