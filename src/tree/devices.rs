//! What kind of file system each device holds, asked for once.

use std::collections::HashMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{PoisonError, RwLock};

use super::attributes::{self, FileSystem};

/// What is known of each device by its number.
#[derive(Debug, Default)]
pub(super) struct Devices {
    known: RwLock<HashMap<u64, Device>>,
}

#[derive(Clone, Copy, Debug)]
struct Device {
    kind: FileSystem,
    /// Whether no file there has attributes of `chattr`.
    lacks_inode_flags: bool,
}

impl Devices {
    /// The kind of file system on a device, of which a file is open.
    pub(super) fn kind(&self, dev: u64, file: BorrowedFd<'_>) -> io::Result<FileSystem> {
        Ok(self.device(dev, file)?.kind)
    }

    /// The attributes of `chattr` of an open file on a device, as bits of a feature word.
    ///
    /// A file system that has none is not asked again.
    pub(super) fn inode_flags(&self, dev: u64, file: BorrowedFd<'_>) -> io::Result<u64> {
        let device = self.device(dev, file)?;
        if device.lacks_inode_flags {
            return Ok(0);
        }
        let found = attributes::inode_flags(file)?;
        // There another file may well have some: it depends on who keeps it.
        let varies = matches!(device.kind, FileSystem::Fuse | FileSystem::Overlay);
        if found.is_none() && !varies {
            self.insert(dev, Device { lacks_inode_flags: true, ..device });
        }
        Ok(found.unwrap_or(0))
    }

    fn device(&self, dev: u64, file: BorrowedFd<'_>) -> io::Result<Device> {
        // Entries are whole or not there, whoever panicked.
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).get(&dev).copied();
        if let Some(device) = known {
            return Ok(device);
        }
        let device = Device { kind: FileSystem::of(file)?, lacks_inode_flags: false };
        self.insert(dev, device);
        Ok(device)
    }

    fn insert(&self, dev: u64, device: Device) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).insert(dev, device);
    }
}
