//! A state and a file that the real desync has made.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_formats::Index;
use cairn_fuse::{Content, SparseFile, SparseOptions};
use cairn_store::{LocalOptions, LocalStore, Store};
use rustix::process::{Pid, Signal, kill_process};

use crate::scene::{Random, Scene};

/// Nothing here takes as long, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn what_desync_has_read_is_taken_over() {
    if !can_mount("what_desync_has_read_is_taken_over") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let mut random = Random(41);
    let mut plain = random.bytes(3 << 20);
    plain.extend(vec![0; 2 << 20]);
    plain.extend(random.bytes(3 << 20));
    fs::write(here.join("blob"), &plain).unwrap();
    for name in ["store", "mount", "home"] {
        fs::create_dir(here.join(name)).unwrap();
    }
    assert!(desync(here, "make -s store blob.caibx blob").status().unwrap().success());
    let words = "mount-index -s store --cor-file f --cor-state-save s blob.caibx mount";
    let mut mount = Mount(desync(here, words).spawn().unwrap());
    let read = 500_000..1_500_000;
    wait_until("the mount", || File::open(here.join("mount/blob")).is_ok());
    let mut bytes = vec![0; 1_000_000];
    File::open(here.join("mount/blob")).unwrap().read_exact_at(&mut bytes, read.start).unwrap();
    assert!(bytes == plain[500_000..1_500_000]);
    assert!(mount.end(), "desync saves its state");

    let index = Arc::new(Index::read(File::open(here.join("blob.caibx")).unwrap()).unwrap());
    let store: Arc<dyn Store> =
        Arc::new(LocalStore::open(&here.join("store"), LocalOptions::default()).unwrap());
    let scene = Scene::of(&[]);
    let scene = Scene { index: Arc::clone(&index), plain, ..scene };
    let options = SparseOptions { state: Some(here.join("s")), init: None };
    let open = || {
        let within = scene.within_of(Arc::clone(&store));
        let inner = Arc::clone(&within) as Arc<dyn Content>;
        let sparse = SparseFile::open(&here.join("f"), Arc::clone(&index), inner, &options);
        (sparse.unwrap(), within)
    };
    let (sparse, within) = open();
    assert_eq!(fs::read(here.join("s")).unwrap().len(), index.len().div_ceil(8));
    assert!(*sparse.at_hand(read.clone()).unwrap() == *scene.bytes(&read));
    assert!(within.take().is_empty());
    let there = scene.there(&sparse);
    assert!(there.len() < index.len() / 2, "{} of {} chunks", there.len(), index.len());
    scene.is_right(&sparse);
    drop(sparse);

    // One bit that is not as it should be.
    let at = index.chunk(there[1]).start;
    let file = File::options().write(true).open(here.join("f")).unwrap();
    file.write_at(&[scene.plain[at as usize] ^ 1], at).unwrap();
    let (sparse, _) = open();
    let expected: Vec<usize> =
        there.iter().copied().filter(|&position| position != there[1]).collect();
    assert_eq!(scene.there(&sparse), expected);
    scene.is_right(&sparse);
}

/// Whether desync is here and may mount. If not, says which test is left out.
#[allow(clippy::print_stderr, reason = "a test that was left out must be seen")]
fn can_mount(test: &str) -> bool {
    let desync = Command::new("desync").arg("--help").output().is_ok();
    if !desync {
        eprintln!("NOT RUN: {test} needs desync, which scripts/install-desync installs");
        return false;
    }
    let fuse = File::options().read(true).write(true).open("/dev/fuse").is_ok();
    if !fuse {
        eprintln!("NOT RUN: {test} needs /dev/fuse");
    }
    fuse
}

fn desync(here: &Path, words: &str) -> Command {
    let mut command = Command::new("desync");
    command.args(words.split_whitespace()).current_dir(here).env("HOME", here.join("home"));
    command.stdin(Stdio::null());
    command
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A mount by a child, ended when dropped.
struct Mount(Child);

impl Mount {
    /// Has it unmount. Returns whether it ended well.
    fn end(&mut self) -> bool {
        let began = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.success();
            }
            if began.elapsed() > PATIENCE {
                return false;
            }
            let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if !self.end() {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}
