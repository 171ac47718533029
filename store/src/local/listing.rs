//! Everything in a local store, for those who clear it up.
//!
//! Only what belongs to the store counts: chunks under its own suffix in the directory where their
//! ids put them, and the temporary files of writers. A file of another form, a stray, or a chunk in
//! a wrong directory is nobody's to remove.

use std::ffi::OsStr;
use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};

use super::chunks::{LocalStore, TEMPORARY_PREFIX, is_absence};
use crate::{Error, Facts, PruneStore, Result, Stored};

impl PruneStore for LocalStore {
    fn list(&self, each: &mut dyn FnMut(Stored, Option<Facts>) -> Result<()>) -> Result<()> {
        for directory in entries(&self.root)? {
            let name = directory.file_name();
            if !is_prefix(&name) || directory.file_type().is_ok_and(|kind| kind.is_file()) {
                continue;
            }
            // Names alone: what is asked about millions of chunks must cost no call for each.
            for entry in entries(&directory.path())? {
                if let Some(found) = self.found(&name, &entry.file_name()) {
                    each(found, None)?;
                }
            }
        }
        Ok(())
    }

    fn facts(&self, found: &Stored) -> Result<Option<Facts>> {
        let path = self.place(found);
        let facts = fs::symlink_metadata(&path).and_then(|metadata| {
            let facts = Facts { modified: metadata.modified()?, len: metadata.len() };
            // A directory by a chunk's name is a stray.
            Ok(Some(facts).filter(|_| !metadata.is_dir()))
        });
        match facts {
            Err(e) if is_absence(&e) => Ok(None),
            facts => facts.map_err(Error::io("look at", &path)),
        }
    }

    fn remove(&self, found: &Stored) -> Result<()> {
        let path = self.place(found);
        match fs::remove_file(&path) {
            Err(e) if !is_absence(&e) => return Err(Error::io("remove", &path)(e)),
            _ => {}
        }
        if let Some(directory) = path.parent() {
            // Refused while anything is in it, which is what we want. A writer that finds its
            // directory gone makes it again.
            let _ = fs::remove_dir(directory);
        }
        Ok(())
    }
}

impl LocalStore {
    /// What a file in a chunk directory is, by its name.
    fn found(&self, directory: &OsStr, name: &OsStr) -> Option<Stored> {
        let (directory, name) = (directory.to_str()?, name.to_str()?);
        if name.starts_with(TEMPORARY_PREFIX) {
            return Some(Stored::Leftover(Path::new(directory).join(name)));
        }
        let (id, compressed) = self.options.form.parse(name)?;
        let is_own = compressed == self.options.form.is_compressed();
        // A chunk in the directory of another prefix is not found by its id either.
        (is_own && name.starts_with(directory)).then_some(Stored::Chunk(id))
    }

    fn place(&self, found: &Stored) -> PathBuf {
        match found {
            Stored::Chunk(id) => self.path(id),
            Stored::Leftover(path) => self.root.join(path),
        }
    }
}

/// The entries of a directory. One that has gone meanwhile has none.
pub(super) fn entries(path: &Path) -> Result<Vec<DirEntry>> {
    match fs::read_dir(path).and_then(Iterator::collect::<io::Result<_>>) {
        Err(e) if !is_absence(&e) => Err(Error::io("list", path)(e)),
        found => Ok(found.unwrap_or_default()),
    }
}

/// Whether a name is that of a directory of chunks: the first digits of their ids.
pub(crate) fn is_prefix(name: &OsStr) -> bool {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    name.len() == 4 && name.as_encoded_bytes().iter().all(is_digit)
}

#[cfg(test)]
mod tests {
    use cairn_formats::coding::{DEFAULT_LEVEL, Encoder};
    use cairn_formats::{Chunk, CodedChunk, Digest, Form};

    use super::*;
    use crate::{LocalOptions, Store, WriteStore};

    fn put(store: &LocalStore, data: &[u8]) -> CodedChunk {
        let chunk = Chunk::name(Digest::default(), data);
        let coded = Encoder::new(DEFAULT_LEVEL).encode(&chunk, store.coding());
        store.put(&coded).unwrap();
        coded
    }

    fn listed(store: &LocalStore) -> Vec<Stored> {
        let mut found = Vec::new();
        let mut note = |one, _| {
            found.push(one);
            Ok(())
        };
        store.list(&mut note).unwrap();
        found
    }

    #[test]
    fn strays_are_not_listed() {
        let directory = tempfile::tempdir().unwrap();
        let store = LocalStore::create(directory.path(), LocalOptions::default()).unwrap();
        let id = put(&store, b"listed").id();
        fs::create_dir_all(store.root.join("ffff")).unwrap();
        let plain = Form::default().with_compression(false).path(&id);
        for stray in ["ffff/README", "README", &format!("ffff/{id}.cacnk"), &plain] {
            fs::write(store.root.join(stray), "stray").unwrap();
        }
        assert_eq!(listed(&store), [Stored::Chunk(id)]);
    }

    #[test]
    fn leftovers_are_listed_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let store = LocalStore::create(directory.path(), LocalOptions::default()).unwrap();
        fs::create_dir(store.root.join("abcd")).unwrap();
        fs::write(store.root.join("abcd/.tmp-cacnk.17"), "half").unwrap();
        let leftover = Stored::Leftover("abcd/.tmp-cacnk.17".into());
        assert_eq!(listed(&store), std::slice::from_ref(&leftover));
        assert_eq!(store.facts(&leftover).unwrap().unwrap().len, 4);
        store.remove(&leftover).unwrap();
        assert_eq!(store.facts(&leftover).unwrap(), None);
        assert!(listed(&store).is_empty());
    }

    #[test]
    fn an_empty_directory_goes_with_its_last_chunk() {
        let directory = tempfile::tempdir().unwrap();
        let store = LocalStore::create(directory.path(), LocalOptions::default()).unwrap();
        let chunk = put(&store, b"alone");
        store.remove(&Stored::Chunk(chunk.id())).unwrap();
        assert_eq!(fs::read_dir(&store.root).unwrap().count(), 0);
        store.put(&chunk).unwrap();
        assert!(store.has(&chunk.id()).unwrap());
    }
}
