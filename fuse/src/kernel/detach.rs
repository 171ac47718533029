//! Unmounting, and who is in the way.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount as unmount_at};
use rustix::process::geteuid;

/// Processes that are named at most.
const MOST_NAMED: usize = 8;

/// A process that uses what is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// What it is called.
    pub name: String,
    /// What it has open, or is in.
    pub path: PathBuf,
}

/// Unmounts what is at a path; if it is `lazy`, also while somebody uses it, who may then go on until done.
///
/// [`io::ErrorKind::ResourceBusy`] says that somebody uses it.
pub fn unmount(point: &Path, lazy: bool) -> io::Result<()> {
    if geteuid().is_root() {
        let how = if lazy { UnmountFlags::DETACH } else { UnmountFlags::empty() };
        return match unmount_at(point, how | UnmountFlags::NOFOLLOW) {
            // Nothing is mounted there any more.
            Err(Errno::INVAL) => Ok(()),
            done => Ok(done?),
        };
    }
    let program = std::env::var_os("FUSERMOUNT_PATH").unwrap_or_else(|| "fusermount3".into());
    let how = if lazy { "-uz" } else { "-u" };
    let done = Command::new(program).args([how, "--"]).arg(point).stdin(Stdio::null()).output()?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    if said.contains("busy") {
        return Err(Errno::BUSY.into());
    }
    Err(io::Error::other(said.trim().to_owned()))
}

/// Some of the processes that use what is mounted at a path: all that this user may know of.
pub fn holders(point: &Path) -> Vec<Holder> {
    // The kernel knows the root of what is mounted, so that this waits for nobody.
    let Ok(device) = fs::metadata(point).map(|found| found.dev()) else { return Vec::new() };
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let numbers = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let own = std::process::id();
    numbers
        .filter(|pid| *pid != own)
        .filter_map(|pid| holder(pid, device))
        .take(MOST_NAMED)
        .collect()
}

/// A process, if it uses something on a device.
fn holder(pid: u32, device: u64) -> Option<Holder> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let is_on = |link: &Path| fs::metadata(link).is_ok_and(|found| found.dev() == device);
    let ways = ["cwd", "root", "exe"].map(|way| process.join(way)).into_iter();
    let open = fs::read_dir(process.join("fd")).into_iter().flatten();
    let open = open.filter_map(|entry| Some(entry.ok()?.path()));
    let mapped = fs::read_dir(process.join("map_files")).into_iter().flatten();
    let mapped = mapped.filter_map(|entry| Some(entry.ok()?.path()));
    let link = ways.chain(open).chain(mapped).find(|link| is_on(link))?;
    let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
    let path = fs::read_link(link).ok()?;
    Some(Holder { pid, name: name.trim().to_owned(), path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_in_a_directory_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut other = Command::new("sleep");
        let mut other = other.arg("100").current_dir(directory.path()).spawn().expect("sleep");
        let device = fs::metadata(directory.path()).expect("it is there").dev();
        let found = holder(other.id(), device).expect("it is in there");
        assert_eq!(found.pid, other.id());
        let _ = other.kill();
        let _ = other.wait();
    }
}
