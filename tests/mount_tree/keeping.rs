//! What is kept from mount to mount, and what is not.

use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use cairn::archive::input::Input;
use cairn::mount::kept_tree::{KeptTree, MOST_KEPT};
use cairn::{Error, Silent};
use cairn_formats::ChunkId;

use super::WORKERS;
use super::answers::answered;
use super::common::Sandbox;

/// With a small archive.
fn archived() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("tree/a/file", b"bytes");
    sandbox.write("tree/b", b"");
    sandbox.cairn("tar tree.catar tree").succeeds_silently();
    sandbox
}

fn input(sandbox: &Sandbox) -> Input {
    let path = sandbox.path("tree.catar");
    Input::of_file(File::open(&path).unwrap(), &path).unwrap()
}

fn opened(sandbox: &Sandbox, key: &[u8; 32]) -> KeptTree {
    KeptTree::open(&input(sandbox), key, Some(&sandbox.path("kept")), WORKERS, &Silent).unwrap()
}

fn name(key: &[u8; 32]) -> String {
    format!("kept/{}", ChunkId::from_bytes(*key))
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn what_is_kept_is_for_nobody_else() {
    let sandbox = archived();
    assert!(opened(&sandbox, &[1; 32]).is_new);
    assert_eq!(mode(&sandbox.path("kept")), 0o700);
    assert_eq!(mode(&sandbox.path(&name(&[1; 32]))), 0o600);
    assert_eq!(fs::read_dir(sandbox.path("kept")).unwrap().count(), 1);
    assert!(!opened(&sandbox, &[1; 32]).is_new);
    assert!(opened(&sandbox, &[2; 32]).is_new);
}

#[test]
fn what_is_damaged_or_foreign_is_read_again() {
    let sandbox = archived();
    let said = answered(opened(&sandbox, &[1; 32]).block);
    opened(&sandbox, &[2; 32]);
    let path = sandbox.path(&name(&[1; 32]));
    let good = fs::read(&path).unwrap();
    let foreign = fs::read(sandbox.path(&name(&[2; 32]))).unwrap();
    sandbox.write("elsewhere", &good);
    let mut damaged = good.clone();
    damaged[60] ^= 1;
    let cases = [good[..good.len() - 1].to_vec(), Vec::new(), foreign, damaged, vec![7; 5000]];
    for bytes in cases {
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let again = opened(&sandbox, &[1; 32]);
        assert!(again.is_new && again.warning.is_none());
        assert_eq!(answered(again.block), said);
        assert_eq!((fs::read(&path).unwrap() == good, mode(&path)), (true, 0o600));
    }
    // A link is not followed, and what it leads to stays.
    fs::remove_file(&path).unwrap();
    symlink(sandbox.path("elsewhere"), &path).unwrap();
    assert!(opened(&sandbox, &[1; 32]).is_new);
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
    assert!(sandbox.path("elsewhere").exists());
}

#[test]
fn those_unused_longest_go() {
    let sandbox = archived();
    sandbox.write("kept/note", b"not ours");
    fs::set_permissions(sandbox.path("kept"), Permissions::from_mode(0o700)).unwrap();
    let key = |n: usize| [n as u8; 32];
    let set_age = |n: usize, hours: u64| {
        let file = File::options().append(true).open(sandbox.path(&name(&key(n)))).unwrap();
        let time = SystemTime::now() - Duration::from_secs(3600 * hours);
        file.set_times(FileTimes::new().set_modified(time)).unwrap();
    };
    for n in 0..MOST_KEPT {
        assert!(opened(&sandbox, &key(n)).is_new);
        set_age(n, 100 + n as u64);
    }
    // The oldest of all but one is used.
    assert!(!opened(&sandbox, &key(MOST_KEPT - 1)).is_new);
    assert!(opened(&sandbox, &key(200)).is_new);
    let is_there = |n: usize| sandbox.path(&name(&key(n))).exists();
    assert!(is_there(200) && is_there(MOST_KEPT - 1) && is_there(0) && is_there(MOST_KEPT - 3));
    assert!(!is_there(MOST_KEPT - 2));
    assert_eq!(fs::read_dir(sandbox.path("kept")).unwrap().count(), MOST_KEPT + 1);
}

#[test]
fn what_cannot_be_kept_is_a_warning() {
    let sandbox = archived();
    let said = answered(opened(&sandbox, &[1; 32]).block);
    let warned = |directory: &str| {
        let directory = sandbox.path(directory);
        let opened =
            KeptTree::open(&input(&sandbox), &[1; 32], Some(&directory), WORKERS, &Silent).unwrap();
        assert!(opened.is_new);
        assert_eq!(answered(opened.block), said);
        opened.warning.unwrap().to_string()
    };
    sandbox.write("file", b"");
    assert!(warned("file").contains("file"));
    assert!(warned("file/below").contains("file/below"));
    fs::set_permissions(sandbox.path("kept"), Permissions::from_mode(0o777)).unwrap();
    assert!(warned("kept").contains("others may write to it"));
    sandbox.write(&format!("in the way/{}/x", ChunkId::from_bytes([1; 32])), b"");
    assert!(warned("in the way").contains("in the way"));
    let opened = KeptTree::open(&input(&sandbox), &[1; 32], None, WORKERS, &Silent).unwrap();
    assert!(opened.is_new && opened.warning.is_none());
}

#[test]
fn what_is_no_archive_is_an_error_and_not_kept() {
    let sandbox = archived();
    for bytes in [&b"something else"[..], &sandbox.read("tree.catar")[..100]] {
        fs::write(sandbox.path("tree.catar"), bytes).unwrap();
        let kept = sandbox.path("kept");
        let error =
            KeptTree::open(&input(&sandbox), &[1; 32], Some(&kept), WORKERS, &Silent).unwrap_err();
        assert!(!matches!(error, Error::Interrupted));
        assert!(error.to_string().contains("tree.catar"), "{error}");
        assert_eq!(fs::read_dir(kept).unwrap().count(), 0);
    }
}
