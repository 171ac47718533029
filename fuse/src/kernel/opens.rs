//! Files that the kernel reads itself, as they lie on disk in whole.
//!
//! As long as any program has a file open in one way, the kernel refuses to open it in the other. So the first to open
//! a file decides for all until the last has closed it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use fuser::{BackingId, FileHandle, FopenFlags, ReplyOpen};

use crate::content::Content;
use crate::fs::Ino;

/// Files that are open.
#[derive(Debug, Default)]
pub(super) struct Opens {
    files: Mutex<HashMap<Ino, Open>>,
}

/// A file that is open, in one way or the other.
#[derive(Debug)]
struct Open {
    times: u64,
    /// As the kernel knows the file on disk, if it reads that itself.
    backing: Option<BackingId>,
}

impl Opens {
    /// Replies to whoever opens a file.
    pub(super) fn open(&self, node: Ino, content: &dyn Content, reply: ReplyOpen) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let open = files.entry(node).or_insert_with(|| {
            // Refused on file systems on top of others, and to all but root: then it is read as others are.
            let backing = content.whole().and_then(|file| reply.open_backing(file).ok());
            Open { times: 0, backing }
        });
        open.times += 1;
        match &open.backing {
            Some(backing) => reply.opened_passthrough(FileHandle(0), FopenFlags::empty(), backing),
            None => reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE),
        }
    }

    /// Takes note that a file was closed.
    pub(super) fn close(&self, node: Ino) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = files.get_mut(&node) {
            open.times -= 1;
            if open.times == 0 {
                files.remove(&node);
            }
        }
    }
}
