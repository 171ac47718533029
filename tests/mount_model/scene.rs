//! A tree on disk, and the same in a store.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn::Silent;
use cairn::archive::input::Input;
use cairn::make::{Input as Source, MakeOptions, make as chop};
use cairn::mount::kept_tree::KeptTree;
use cairn_formats::{ChunkSizes, Index};
use cairn_fuse::tree::{Tree, TreeOptions};
use cairn_fuse::{BlobFile, Content, Fetchers, FileSystem, StoredBlob};
use cairn_store::{Blob, ChunkCache, MemoryStore, Store};

use super::common::things::{Thing, make};
use super::common::{Sandbox, random};
use super::fickle::Fickle;

/// Memory for chunks of which none is small: nothing stays for long.
pub const LITTLE: usize = 100 << 10;

/// Memory that has room for all.
pub const MUCH: usize = 64 << 20;

/// A tree on disk, of which `fs` knows what is in an archive of it.
pub struct Scene {
    pub store: Arc<Fickle>,
    pub fs: Arc<dyn FileSystem>,
    /// Of all there is in the tree; that of the tree itself is empty.
    pub paths: Vec<Vec<u8>>,
    sandbox: Sandbox,
}

impl Scene {
    /// A tree of things, with so many names in a directory and so many directories in one another, whose chunks are read
    /// with so much memory.
    pub fn of_things(things: &[Thing], (wide, deep): (usize, usize), memory: usize) -> Self {
        let sandbox = Sandbox::new();
        make(&sandbox.path("plain"), things);
        for n in 0..wide {
            sandbox.write(&format!("plain/wide directory/{n}"), &[]);
        }
        if deep > 0 {
            let names = vec!["deep directory"; deep].join("/");
            sandbox.write(&format!("plain/{names}/file"), &random(1, 10_000));
        }
        sandbox.cairn("tar tree.catar plain").succeeds_silently();
        let (index, store) = chopped(&sandbox.path("tree.catar"));
        let input =
            Input::of_index((*index).clone(), Arc::clone(&store) as Arc<dyn Store>, "".into());
        let kept =
            KeptTree::open(&input, &[1; 32], Some(&sandbox.path("kept")), 2, &Silent).unwrap();
        let content = content(&index, &store, memory);
        let fs = Arc::new(Tree::new(kept.block, content, TreeOptions::default()));
        Self::of(sandbox, store, fs)
    }

    /// A tree of one file `blob` with these bytes.
    pub fn of_blob(bytes: &[u8], memory: usize) -> Self {
        let sandbox = Sandbox::new();
        sandbox.write("plain/blob", bytes);
        let path = sandbox.path("plain/blob");
        let (index, store) = chopped(&path);
        let fs = BlobFile::new(b"blob".to_vec(), content(&index, &store, memory), (0, 0), 1);
        Self::of(sandbox, store, Arc::new(fs))
    }

    fn of(sandbox: Sandbox, store: Arc<Fickle>, fs: Arc<dyn FileSystem>) -> Self {
        let mut paths = vec![Vec::new()];
        walk(&sandbox.path("plain"), b"", &mut paths);
        Self { store, fs, paths, sandbox }
    }

    /// The tree on disk.
    pub fn plain(&self) -> PathBuf {
        self.sandbox.path("plain")
    }

    /// A new directory beside it.
    pub fn beside(&self, name: &str) -> PathBuf {
        let path = self.sandbox.path(name);
        fs::create_dir(&path).unwrap();
        path
    }
}

/// A file in many small chunks.
fn chopped(path: &Path) -> (Arc<Index>, Arc<Fickle>) {
    let store = MemoryStore::default();
    let sizes = ChunkSizes::new(1024, 4096, 16_384).unwrap();
    let options = MakeOptions { sizes, workers: 2, ..MakeOptions::default() };
    let (index, _) = chop(Source::open(path).unwrap(), Some(&store), &options, &Silent).unwrap();
    (Arc::new(index), Arc::new(Fickle::new(store)))
}

fn content(index: &Arc<Index>, store: &Arc<Fickle>, memory: usize) -> Arc<dyn Content> {
    let (index, store) = (Arc::clone(index), Arc::clone(store) as Arc<dyn Store>);
    let blob = Blob::new(index, store, Arc::new(ChunkCache::new(memory)));
    Arc::new(StoredBlob::new(blob, memory as u64, Arc::new(Fetchers::new(2))))
}

fn walk(directory: &Path, path: &[u8], paths: &mut Vec<Vec<u8>>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
        let path = [path, slash, entry.file_name().as_bytes()].concat();
        paths.push(path.clone());
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), &path, paths);
        }
    }
}
