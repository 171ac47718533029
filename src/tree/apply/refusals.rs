//! What the system refused to give files: counted by what it is, and told once.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Mutex;

use rustix::io::Errno;

use crate::flow::lock;

/// What a file could not be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refused {
    /// Its existence: it is a device.
    Device,
    /// User and group.
    Owner,
    /// Permissions.
    Mode,
    /// Who else may do what.
    Acl,
    /// Attributes with names.
    Xattr,
    /// What it may do when it is run.
    Capabilities,
    /// A label of SELinux.
    Label,
    /// Attributes of `chattr` or FAT.
    Attributes,
    /// A project whose quota counts.
    Project,
    /// When it last changed.
    Time,
    /// That it is a subvolume of btrfs.
    Subvolume,
    /// The user or group of that name, as there is none.
    Name,
}

impl Refused {
    /// What so many files could not be, in words that go on after "N files".
    pub fn words(self) -> &'static str {
        match self {
            Self::Device => "are devices that could not be made",
            Self::Owner => "could not be given their owner",
            Self::Mode => "could not be given their permissions",
            Self::Acl => "could not be given their access control lists",
            Self::Xattr => "could not be given their extended attributes",
            Self::Capabilities => "could not be given their capabilities",
            Self::Label => "could not be given their label",
            Self::Attributes => "could not be given their attributes of chattr or FAT",
            Self::Project => "could not be given their project",
            Self::Time => "could not be given their time",
            Self::Subvolume => "were subvolumes of btrfs and are plain directories now",
            Self::Name => "belong to users or groups that are unknown here: the numbers were taken",
        }
    }

    /// Whether the files are then not what they should be.
    pub fn is_loss(self) -> bool {
        !matches!(self, Self::Name | Self::Subvolume)
    }
}

/// What was refused, how often, and the first file of them.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// What.
    pub what: Refused,
    /// How many files.
    pub count: u64,
    /// One of them.
    pub path: PathBuf,
    /// Why it was refused.
    pub why: String,
}

/// Counts what is refused.
#[derive(Debug, Default)]
pub struct Refusals {
    seen: Mutex<BTreeMap<Refused, Refusal>>,
}

impl Refusals {
    /// Whether it was done. What was refused is counted; what failed as anything may fail is an error.
    pub fn note(
        &self,
        what: Refused,
        path: &dyn Fn() -> PathBuf,
        outcome: io::Result<()>,
    ) -> io::Result<bool> {
        match outcome {
            Ok(()) => Ok(true),
            Err(e) if is_failure(what, &e) => Err(e),
            Err(e) => {
                self.count(what, path, &e.to_string());
                Ok(false)
            }
        }
    }

    /// Counts a refusal.
    pub fn count(&self, what: Refused, path: &dyn Fn() -> PathBuf, why: &str) {
        let mut seen = lock(&self.seen);
        let refusal = seen.entry(what).or_insert_with(|| {
            let path = path();
            tracing::warn!(path = %path.display(), why, "files {}", what.words());
            Refusal { what, count: 0, path, why: why.to_owned() }
        });
        refusal.count += 1;
    }

    /// All of them.
    pub fn list(&self) -> Vec<Refusal> {
        lock(&self.seen).values().cloned().collect()
    }
}

/// Whether an error is about the disk and not about what was to be written.
fn is_failure(what: Refused, error: &io::Error) -> bool {
    match Errno::from_io_error(error) {
        // Of attributes there is only so much room beside a file.
        Some(Errno::NOSPC) => what != Refused::Xattr,
        Some(Errno::IO | Errno::ROFS | Errno::DQUOT | Errno::NOMEM | Errno::STALE) => true,
        _ => false,
    }
}
