//! A file system where the kernel asks: at a mount point.
//!
//! ```text
//! attach      a mount point -> an open device, by the system call or by fusermount3
//! adapter     what the kernel asks -> a file system -> replies
//! opens       files that the kernel reads itself
//! detach      unmounting, and who is in the way
//! ```
//! Only these files know how the kernel is spoken to.

mod adapter;
mod attach;
mod detach;
mod opens;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread;

use fuser::{Config, Notifier, Session, SessionACL};

use self::adapter::Adapter;
use self::attach::Attached;
pub use self::attach::Refused;
pub use self::detach::{Holder, holders, unmount};
use crate::fs::{FileSystem, Ino};

/// How something is mounted.
#[derive(Clone, Debug, Default)]
pub struct MountOptions {
    /// What tables of mounts call it.
    pub source: String,
    /// Whether others than whoever mounts it may use it, as the permissions of its files say.
    pub allow_other: bool,
    /// Options as behind `mount -o`, each by itself.
    pub options: Vec<String>,
    /// Whether the kernel reads files itself that lie on disk in whole. Only root may have that.
    pub passthrough: bool,
}

/// Something that is mounted, until it is unmounted by whomever.
pub struct Mounted {
    held: Held,
    session: Session<Adapter>,
    end: End,
    /// Of the file system: major and minor number.
    device: Option<(u32, u32)>,
}

/// A mount point, which nothing is mounted at any more if this is dropped before it was unmounted: what nobody serves
/// would be in everybody's way.
struct Held {
    point: PathBuf,
    is_mounted: bool,
}

/// What is to be done when the kernel asks nothing more, but somebody may still wait for an answer.
type End = Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>;

/// Tells the kernel that it knows something no more. May outlive the mount, and then does nothing.
#[derive(Clone)]
pub struct Forget(Notifier);

/// What a mount takes from the kernel at once when it reads in order, in KiB.
const READ_AHEAD_KIB: &str = "1024";

impl Mounted {
    /// Mounts a file system at a directory, which answers once [`Mounted::serve`] is called.
    pub fn new(
        fs: Arc<dyn FileSystem>,
        point: &Path,
        options: &MountOptions,
    ) -> Result<Self, Refused> {
        let Attached { path, device, number } = attach::attach(point, options)?;
        let held = Held { point: path, is_mounted: true };
        let mut config = Config::default();
        // The kernel itself sees to it that nobody else comes in, if nobody may.
        config.acl = SessionACL::All;
        config.n_threads = Some(thread::available_parallelism().map_or(2, |n| n.get().max(2)));
        config.clone_fd = true;
        let end = End::default();
        let adapter = Adapter::new(fs, options.passthrough, Arc::clone(&end));
        let session = Session::from_fd(adapter, device, config.acl, config)
            .map_err(|source| Refused::handshake(point, source))?;
        Ok(Self { held, session, end, device: number })
    }

    /// The directory it is mounted at: by the path that leads there from everywhere.
    pub fn point(&self) -> &Path {
        &self.held.point
    }

    /// What lets the kernel know of changes.
    pub fn forget(&self) -> Forget {
        Forget(self.session.notifier())
    }

    /// Answers the kernel until it is unmounted. Then `end` is to see to it that those who wait for stores give up, and
    /// all is over when they have.
    pub fn serve(mut self, end: impl Fn() + Send + Sync + 'static) -> io::Result<()> {
        // It is set here and nowhere else.
        let _ = self.end.set(Box::new(end));
        if let Some((major, minor)) = self.device {
            // As root: fewer and larger requests. Anybody else has those that the system gives.
            let knob = format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb");
            let _ = std::fs::write(knob, READ_AHEAD_KIB);
        }
        let served = match self.session.run() {
            // What the kernel says of an abort comes at times for an unmount as well.
            Err(e)
                if e.kind() == io::ErrorKind::ConnectionAborted
                    && attach::number_of(&self.held.point) != self.device =>
            {
                Ok(())
            }
            done => done,
        };
        self.held.is_mounted = served.is_err();
        served
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.is_mounted {
            let _ = unmount(&self.point, true);
        }
    }
}

impl Forget {
    /// What has this name in a directory may be something else now, or nothing. What the kernel knows of the directory
    /// as a whole is gone as well.
    pub fn name(&self, directory: Ino, name: &[u8]) {
        use std::os::unix::ffi::OsStrExt;
        let directory = fuser::INodeNo(directory.0);
        // That the kernel did not know it is as good.
        let _ = self.0.inval_entry(directory, std::ffi::OsStr::from_bytes(name));
        let _ = self.0.inval_inode(directory, 0, 0);
    }
}
