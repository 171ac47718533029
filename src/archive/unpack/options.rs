//! How an archive is restored, and what became of it.

use cairn_formats::flags;

use crate::tree::Shift;
use crate::tree::apply::refusals::Refusal;

/// How an archive is restored.
#[derive(Clone, Debug)]
pub struct UnpackOptions {
    /// What is restored of what the archive records, in the bits of a feature word.
    pub features: u64,
    /// Whether what the archive does not have is removed from directories it has.
    pub delete: bool,
    /// Whether what may not be changed is made changeable where it is in the way.
    pub undo_immutable: bool,
    /// Whether new files share their blocks with files of seeds where the file system can.
    pub reflink: bool,
    /// Whether files of seeds that are the same in everything get another name instead of being written again. Only
    /// where all that the archive says of files is restored, and not those of the target.
    pub hardlink: bool,
    /// Whether owners are taken by their numbers, whatever their names.
    pub numeric_owner: bool,
    /// Whether files get no holes where they are zero.
    pub is_full: bool,
    /// How the numbers of owners are changed.
    pub shift: Option<Shift>,
    /// What is restored, as a path in the archive; all if it is empty. What is in a directory comes into the target
    /// itself, anything else by its name.
    pub path: Vec<u8>,
    /// How many threads work, at least 1.
    pub workers: usize,
}

impl Default for UnpackOptions {
    fn default() -> Self {
        Self {
            features: flags::ALL,
            delete: false,
            undo_immutable: false,
            reflink: true,
            hardlink: false,
            numeric_owner: false,
            is_full: false,
            shift: None,
            path: Vec::new(),
            workers: 1,
        }
    }
}

/// What became of an archive.
#[derive(Clone, Debug, Default)]
pub struct UnpackStats {
    /// What the system refused.
    pub refusals: Vec<Refusal>,
    /// Bytes of files whose blocks are shared with files of seeds.
    pub shared_bytes: u64,
    /// Files that are another name of a file of a seed.
    pub linked: u64,
    /// Bytes of these.
    pub linked_bytes: u64,
}
