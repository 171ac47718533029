//! The life of a mount.
//!
//! ```text
//! mount -> ready: tell whoever waits -> serve until it is unmounted
//!             SIGINT, SIGTERM    unmount; while somebody uses it, say who and try again
//!             once more          unmount whoever uses it
//!             SIGHUP             read the stores anew, save states
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use cairn::Error;
use cairn_fuse::{FileSystem, Forget, MountOptions, Mounted, holders, unmount};
use signal_hook::consts::SIGHUP;

use super::{background, notify};
use crate::cli::signals::Signals;
use crate::cli::{Context, failure, log};

/// How often it is tried again to unmount what somebody uses.
const AGAIN: Duration = Duration::from_millis(200);

/// Mounts a file system, and serves it until it is unmounted. At SIGHUP `reload` is called.
pub(in crate::cli) fn serve(
    fs: Arc<dyn FileSystem>,
    point: &Path,
    options: &MountOptions,
    context: &Context,
    reload: &(dyn Fn() + Sync),
    ready: impl FnOnce(Forget),
) -> anyhow::Result<()> {
    let keeps_log = context.global.verbose || context.global.log_format.is_some();
    log::warnings();
    // Where it is mounted, once it is. As it was typed it may lead elsewhere by then: `.` to what is beneath.
    let place: Mutex<Option<PathBuf>> = Mutex::default();
    let lock = || place.lock().unwrap_or_else(PoisonError::into_inner);
    let is_leaving = Arc::new(AtomicBool::new(false));
    let each = |signal| {
        let place = lock();
        match (signal, place.clone()) {
            (SIGHUP, None) => {}
            (SIGHUP, Some(_)) => {
                drop(place);
                notify::reloading();
                reload();
                notify::ready();
            }
            (_, None) => is_leaving.store(true, Ordering::Relaxed),
            (_, Some(point)) => {
                drop(place);
                leave(&point, &is_leaving);
            }
        }
    };
    // Before it is mounted, or an early signal would end us and leave a mount that nobody serves.
    let served = Signals::heed(each, || -> anyhow::Result<()> {
        let mounted = Mounted::new(fs, point, options)?;
        let point = mounted.point().to_owned();
        let mut place = lock();
        if is_leaving.load(Ordering::Relaxed) {
            // What is not served is unmounted, once: beneath it may be somebody else's.
            return Ok(());
        }
        *place = Some(point.clone());
        drop(place);
        ready(mounted.forget());
        notify::ready();
        background::ready(keeps_log).map_err(Error::io("go", "into the background"))?;
        let signals = context.signals.clone();
        let served = mounted.serve(move || signals.give_up());
        Ok(served.map_err(Error::io("serve", &point))?)
    })?;
    is_leaving.store(true, Ordering::Relaxed);
    notify::stopping();
    served
}

/// Unmounts, at the first call when nobody uses it any more, and at the second whoever does.
fn leave(point: &Path, is_leaving: &Arc<AtomicBool>) {
    let insists = is_leaving.swap(true, Ordering::Relaxed);
    match unmount(point, insists) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::ResourceBusy => {
            failure::warn(&in_use(point));
            let point = point.to_owned();
            // Until it works; when that is elsewhere, this process ends and the thread with it.
            thread::spawn(move || {
                while unmount(&point, false).is_err() {
                    thread::sleep(AGAIN);
                }
            });
        }
        Err(e) => failure::warn(&format!("{}: cannot be unmounted: {e}", point.display())),
    }
}

/// Says who uses a mount.
fn in_use(point: &Path) -> String {
    let name = point.display();
    let by: Vec<String> = holders(point)
        .iter()
        .map(|holder| format!("{} ({}) has {}", holder.name, holder.pid, holder.path.display()))
        .collect();
    let by = if by.is_empty() { "somebody else".to_owned() } else { by.join(", ") };
    format!("{name} is in use: {by}; it is unmounted when that ends, or at once at the next signal")
}
