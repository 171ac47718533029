//! Mounts of cairn that last as long as a test needs them.
//!
//! ```no_run
//! let mounted = Mounted::start(&sandbox, "mount-index -s store blob.caibx");
//! assert_eq!(fs::read(mounted.path("blob")).unwrap(), content);
//! mounted.signal(Signal::TERM);
//! assert_eq!(mounted.ends(), Some(0));
//! ```
//! It is ready when the program says so, as to a service manager. Whatever happens, it is killed and unmounted in the end:
//! it is to be dropped before its sandbox.

use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::Sandbox;
use super::system::is_root;

/// Nothing a test waits for takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(30);

const STEP: Duration = Duration::from_millis(5);

/// Whether root can mount with FUSE here. If not, says which test is left out.
#[allow(clippy::print_stderr, reason = "a test that was left out must be seen")]
pub fn is_fuse_here(test: &str) -> bool {
    let is_here = Path::new("/dev/fuse").exists();
    if !is_here {
        eprintln!("NOT RUN: {test} needs /dev/fuse");
    }
    is_here && is_root(test)
}

/// A program in the foreground, and what it has mounted.
pub struct Mounted {
    child: Child,
    point: Point,
    errors: Errors,
    /// Where it says how it is doing.
    told: UnixDatagram,
}

impl Mounted {
    /// Mounts at `mnt` in the sandbox, which is appended to the words.
    pub fn start(sandbox: &Sandbox, words: &str) -> Self {
        Self::at(sandbox, words, "mnt")
    }

    /// Mounts at a directory in the sandbox, which is made if it is not there.
    pub fn at(sandbox: &Sandbox, words: &str, name: &str) -> Self {
        Self::of(sandbox.command(&format!("{words} {name}")), sandbox, name)
    }

    /// A command that mounts at a directory in the sandbox.
    pub fn of(command: Command, sandbox: &Sandbox, name: &str) -> Self {
        let _ = std::fs::create_dir(sandbox.path(name));
        Self::by_itself(command, sandbox, name)
    }

    /// A command that makes the directory itself, or mounts elsewhere.
    pub fn by_itself(mut command: Command, sandbox: &Sandbox, name: &str) -> Self {
        let point = Point::new(sandbox, name);
        let socket = sandbox.path(&format!("{name}.notify"));
        let _ = std::fs::remove_file(&socket);
        let told = UnixDatagram::bind(&socket).unwrap();
        // The program may run as anybody.
        std::fs::set_permissions(&socket, Permissions::from_mode(0o777)).unwrap();
        command.env("NOTIFY_SOCKET", &socket).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let errors = Errors::of(child.stderr.take().unwrap());
        let mut mounted = Self { child, point, errors, told };
        let begun = Instant::now();
        while mounted.hears(STEP).as_deref() != Some("READY=1") {
            if let Some(status) = mounted.child.try_wait().unwrap() {
                // Its last words may still be on their way.
                thread::sleep(10 * STEP);
                panic!("{command:?} ended with {status}: {}", mounted.errors.so_far());
            }
            assert!(begun.elapsed() < PATIENCE, "{command:?} is not ready");
        }
        mounted
    }

    /// A path in what is mounted; "" is the mount point.
    pub fn path(&self, name: &str) -> PathBuf {
        self.point.path.join(name)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Whether anything is mounted there.
    pub fn is_mounted(&self) -> bool {
        self.point.is_mounted()
    }

    /// Unmounts it as a user would.
    #[track_caller]
    pub fn unmount(&self) {
        self.point.unmount();
    }

    /// What it has printed on standard error so far.
    pub fn printed(&self) -> String {
        self.errors.so_far()
    }

    /// Waits until it has printed this on standard error, and returns all that it has printed.
    #[track_caller]
    pub fn prints(&self, part: &str) -> String {
        self.errors.wait_for(part)
    }

    /// The next thing it tells its service manager; `None` if there is none so soon.
    pub fn hears(&self, patience: Duration) -> Option<String> {
        self.told.set_read_timeout(Some(patience)).unwrap();
        let mut buffer = [0; 1024];
        let len = self.told.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..len].to_vec()).unwrap())
    }

    /// Checks what it tells its service manager next.
    #[track_caller]
    pub fn tells(&self, words: &str) {
        let said = self.hears(PATIENCE).unwrap_or_default();
        assert!(said.starts_with(words), "`{said}` instead of `{words}`");
    }

    /// Has it read its stores and save its states, and waits until it has.
    #[track_caller]
    pub fn reload(&self) {
        self.signal(Signal::HUP);
        self.tells("RELOADING=1");
        self.tells("READY=1");
    }

    /// Waits for its end, and returns its exit code; `None` if a signal ended it.
    #[track_caller]
    pub fn ends(&mut self) -> Option<i32> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end: {}", self.printed());
            thread::sleep(STEP);
        }
    }

    /// Ends it in good order.
    #[track_caller]
    pub fn stop(mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.ends(), Some(0), "{}", self.printed());
        assert!(!self.is_mounted());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory that nothing is mounted at once this is dropped.
pub struct Point {
    path: PathBuf,
}

impl Point {
    /// A directory in the sandbox.
    pub fn new(sandbox: &Sandbox, name: &str) -> Self {
        Self { path: sandbox.path(name) }
    }

    /// Unmounts it as a user would. Commands that other tests start have what is open here for a moment as well.
    #[track_caller]
    pub fn unmount(&self) {
        let mut said = String::new();
        wait_until("the unmount", || {
            let done = Command::new("fusermount3").arg("-u").arg(&self.path).output().unwrap();
            said = String::from_utf8_lossy(&done.stderr).into_owned();
            done.status.success() || !said.contains("busy")
        });
        assert!(!self.is_mounted(), "{said}");
    }

    /// Whether anything is mounted there.
    pub fn is_mounted(&self) -> bool {
        let table = std::fs::read_to_string("/proc/self/mounts").unwrap();
        // Tables of mounts have these as numbers.
        let path = self.path.to_str().unwrap().replace('\\', "\\134").replace(' ', "\\040");
        table.lines().any(|line| line.split(' ').nth(1) == Some(path.as_str()))
    }
}

impl Drop for Point {
    fn drop(&mut self) {
        // What was mounted twice is unmounted twice.
        for _ in 0..4 {
            if !self.is_mounted() {
                return;
            }
            let _ = Command::new("umount").arg("-l").arg(&self.path).stderr(Stdio::null()).status();
        }
    }
}

/// What comes through a pipe, as far as it has.
struct Errors(Arc<(Mutex<String>, Condvar)>);

impl Errors {
    fn of(pipe: impl std::io::Read + Send + 'static) -> Self {
        let shared = Arc::new((Mutex::new(String::new()), Condvar::new()));
        let own = Arc::clone(&shared);
        thread::spawn(move || {
            let (mut pipe, mut line) = (BufReader::new(pipe), String::new());
            while pipe.read_line(&mut line).is_ok_and(|len| len > 0) {
                own.0.lock().unwrap().push_str(&line);
                own.1.notify_all();
                line.clear();
            }
        });
        Self(shared)
    }

    fn so_far(&self) -> String {
        self.0.0.lock().unwrap().clone()
    }

    #[track_caller]
    fn wait_for(&self, part: &str) -> String {
        let (printed, more) = &*self.0;
        let printed = printed.lock().unwrap();
        let (printed, _) =
            more.wait_timeout_while(printed, PATIENCE, |printed| !printed.contains(part)).unwrap();
        assert!(printed.contains(part), "no `{part}` in\n{printed}");
        printed.clone()
    }
}

/// Waits until something is so.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "{what} never came");
        thread::sleep(STEP);
    }
}
