//! Unmounting, and who is in the way.

use std::fs;
use std::io;
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
    let Ok(point) = point.canonicalize() else { return Vec::new() };
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let numbers = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let own = std::process::id();
    numbers
        .filter(|pid| *pid != own)
        .filter_map(|pid| holder(pid, &point))
        .take(MOST_NAMED)
        .collect()
}

/// A process, if it uses something below a path. Nothing is asked of the files themselves: others may be on a file
/// system that does not answer.
fn holder(pid: u32, point: &Path) -> Option<Holder> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let ways = ["cwd", "root", "exe"].map(|way| process.join(way)).into_iter();
    let more = ["fd", "map_files"].into_iter().flat_map(|more| fs::read_dir(process.join(more)));
    let open = more.flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let targets = ways.chain(open).filter_map(|link| fs::read_link(link).ok());
    let path = targets.into_iter().find(|target| target.starts_with(point))?;
    let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
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
        let point = directory.path().canonicalize().expect("it is there");
        let found = holder(other.id(), &point).expect("it is in there");
        assert_eq!(found.pid, other.id());
        let _ = other.kill();
        let _ = other.wait();
    }
}
