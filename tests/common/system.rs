//! What only root may set up: small file systems and block devices, removed when dropped.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Sandbox;

/// Whether this is root. If not, says which test is left out.
#[allow(clippy::print_stderr, reason = "a test that was left out must be seen")]
pub fn is_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("NOT RUN: {test} needs root, for mount or losetup");
    }
    root
}

/// Whether the times of files tell all, where the tests make theirs. If not, says which test is left out.
#[allow(clippy::print_stderr, reason = "a test that was left out must be seen")]
pub fn is_known_here(test: &str) -> bool {
    let sandbox = Sandbox::new();
    let kind = rustix::fs::statfs(sandbox.path(".")).unwrap().f_type as u32;
    // ext4, XFS, tmpfs.
    let is_known = [0xef53, 0x5846_5342, 0x0102_1994].contains(&kind);
    if !is_known {
        eprintln!("NOT RUN: {test} needs ext4, XFS or tmpfs");
    }
    is_known
}

fn system(program: &str, arguments: &[&str]) -> String {
    let run = Command::new(program).args(arguments).output();
    let run = run.unwrap_or_else(|e| panic!("{program} does not start ({e}): run scripts/test"));
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{program} {arguments:?}: {said}");
    String::from_utf8(run.stdout).unwrap()
}

/// A file system in memory, mounted in a sandbox. To be dropped before the sandbox.
pub struct Mount {
    path: PathBuf,
}

impl Mount {
    pub fn new(sandbox: &Sandbox, name: &str, kib: u64) -> Self {
        let path = sandbox.path(name);
        std::fs::create_dir(&path).unwrap();
        let size = format!("size={kib}k,mode=755");
        let place = path.to_str().unwrap();
        system("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", place]);
        Self { path }
    }

    /// One of FUSE that belongs to somebody else, so that it is closed to root, and is served by nobody.
    pub fn closed(sandbox: &Sandbox, name: &str) -> Self {
        let path = sandbox.path(name);
        std::fs::create_dir(&path).unwrap();
        let options = "fd=3,rootmode=40000,user_id=65534,group_id=65534";
        let mount = format!("exec 3<>/dev/fuse && exec mount -i -t fuse -o {options} none \"$0\"");
        system("sh", &["-c", &mount, path.to_str().unwrap()]);
        Self { path }
    }

    pub fn make_read_only(&self) {
        let place = self.path.to_str().unwrap();
        system("mount", &["-o", "remount,ro", place]);
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily, so that a failed test leaves nothing mounted either.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

/// A file system of some kind in a file, mounted as `fs` in a sandbox. To be dropped before it.
pub struct FileSystem {
    path: PathBuf,
}

impl FileSystem {
    /// One of 400 MiB: `btrfs`, `xfs` or `ext4`.
    pub fn new(sandbox: &Sandbox, kind: &str) -> Self {
        let (image, path) = (sandbox.path("fs.image"), sandbox.path("fs"));
        let file = std::fs::File::create(&image).unwrap();
        file.set_len(400 << 20).unwrap();
        std::fs::create_dir(&path).unwrap();
        let (image, place) = (image.to_str().unwrap(), path.to_str().unwrap());
        system(&format!("mkfs.{kind}"), &["-q", image]);
        system("mount", &["-o", "loop", image, place]);
        Self { path }
    }
}

impl Drop for FileSystem {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

/// A block device whose bytes are a file.
pub struct Device {
    path: String,
}

impl Device {
    pub fn new(file: &Path) -> Self {
        let printed = system("losetup", &["-f", "--show", file.to_str().unwrap()]);
        let path = printed.trim().to_owned();
        Self { path }
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    /// Brings what was written to it into the file.
    pub fn flush(&self) {
        system("blockdev", &["--flushbufs", &self.path]);
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["-d", &self.path]).status();
    }
}
