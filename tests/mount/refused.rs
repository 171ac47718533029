//! Nothing can be changed, and what cannot be read is said to be so.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt, chown, symlink};

use cairn_formats::Index;
use cairn_formats::catar::{Decoder, Item};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, lremovexattr, lsetxattr, mknodat};
use rustix::io::Errno;

use crate::common::mounted::{Mounted, is_fuse_here};
use crate::{MOUNT, errno, forget, mounted, pack, scene};

#[test]
fn whatever_changes_something_is_refused() {
    if !is_fuse_here("whatever_changes_something_is_refused") {
        return;
    }
    let sandbox = scene();
    let mounted = mounted(&sandbox);
    let (file, new, a) = (mounted.path("text"), mounted.path("new"), mounted.path("a"));
    let write = |options: &mut OpenOptions| options.open(&file).map(drop);
    let refused: [(&str, io::Result<()>); 20] = [
        ("create", File::create(&new).map(drop)),
        ("open for writing", write(File::options().write(true))),
        ("open for both", write(File::options().read(true).write(true))),
        ("append", write(File::options().append(true))),
        ("truncate", write(File::options().read(true).custom_flags(0o1000))),
        ("unlink", fs::remove_file(&file)),
        ("unlink what is not there", fs::remove_file(&new)),
        ("mkdir", fs::create_dir(&new)),
        ("rmdir", fs::remove_dir(mounted.path("a/b"))),
        ("rename", fs::rename(&file, &new)),
        ("rename of a directory", fs::rename(&a, &new)),
        ("link", fs::hard_link(&file, &new)),
        ("symlink", symlink("x", &new)),
        ("mknod", mknodat(CWD, &new, FileType::Fifo, Mode::RUSR, 0).map_err(Into::into)),
        ("chmod", fs::set_permissions(&file, fs::Permissions::from_mode(0o777))),
        ("chmod of a directory", fs::set_permissions(&a, fs::Permissions::from_mode(0o777))),
        ("chown", chown(&file, Some(1), None)),
        ("utimens", File::open(&file).and_then(|file| file.set_modified(std::time::UNIX_EPOCH))),
        ("setxattr", lsetxattr(&file, "user.x", b"y", XattrFlags::empty()).map_err(Into::into)),
        ("removexattr", lremovexattr(&file, "user.x").map_err(Into::into)),
    ];
    for (what, done) in refused {
        assert_eq!(errno(done), Errno::ROFS, "{what}");
    }
    // What is there is there, whoever wants to make it.
    assert_eq!(errno(File::create_new(&file)), Errno::EXIST);
    assert_eq!(errno(fs::create_dir(&a)), Errno::EXIST);
    assert_eq!(fs::read(&file).unwrap(), b"hello");
    mounted.stop();
}

#[test]
fn names_that_are_not_there_are_not_there() {
    if !is_fuse_here("names_that_are_not_there_are_not_there") {
        return;
    }
    let sandbox = scene();
    let mounted = mounted(&sandbox);
    let seen = |name: &str| errno(fs::symlink_metadata(mounted.path(name)));
    for _ in 0..2 {
        assert_eq!(seen("nothing"), Errno::NOENT);
        assert_eq!(seen("a/nothing"), Errno::NOENT);
        assert_eq!(seen("nothing/at/all"), Errno::NOENT);
        assert_eq!(seen("text/x"), Errno::NOTDIR);
        assert_eq!(seen(&"n".repeat(255)), Errno::NOENT);
        assert_eq!(seen(&"n".repeat(256)), Errno::NAMETOOLONG);
    }
    mounted.stop();
}

#[test]
fn only_what_needs_a_bad_chunk_is_refused() {
    if !is_fuse_here("only_what_needs_a_bad_chunk_is_refused") {
        return;
    }
    let sandbox = scene();
    pack(&sandbox);
    sandbox.cairn("tar tree.catar tree").succeeds_silently();
    let archive = sandbox.read("tree.catar");
    let mut decoder = Decoder::new(&archive[..]);
    let mut start = None;
    while let Some(item) = decoder.next().unwrap() {
        if matches!(item, Item::Node(_)) && decoder.path() == b"a/large" {
            start = Some(decoder.body_start());
        }
    }
    let start = start.unwrap();
    let index = Index::read(&sandbox.read("tree.caidx")[..]).unwrap();
    let middle = index.position_at(start + 1_500_000);
    let bad = index.chunk(middle);
    let chunk = format!("store/{}/{}.cacnk", &bad.id.to_string()[..4], bad.id);
    let good = sandbox.read(&chunk);
    let large = sandbox.read("tree/a/large");
    let mut turned = good.clone();
    turned[good.len() / 2] ^= 0x10;
    for damaged in [None, Some(turned)] {
        match &damaged {
            Some(bytes) => sandbox.write(&chunk, bytes),
            None => fs::remove_file(sandbox.path(&chunk)).unwrap(),
        }
        let mounted = Mounted::start(&sandbox, MOUNT);
        let file = File::open(mounted.path("a/large")).unwrap();
        let mut refused = 0;
        for at in (0..large.len()).step_by(4096) {
            let page = &large[at..large.len().min(at + 4096)];
            let (from, to) = (start + at as u64, start + (at + page.len()) as u64);
            let needs_it = from < bad.end() && bad.start < to;
            let mut buffer = vec![0; page.len()];
            match file.read_exact_at(&mut buffer, at as u64) {
                Ok(()) => assert!(buffer == page, "{at}"),
                Err(e) => {
                    assert_eq!(Errno::from_io_error(&e), Some(Errno::IO), "{at}");
                    assert!(needs_it, "{at}");
                    refused += 1;
                }
            }
        }
        assert!(refused >= bad.len / 4096, "{refused}");
        assert_eq!(fs::read(mounted.path("a/b/file")).unwrap(), b"some bytes");
        mounted.prints(&bad.id.to_string());
        // Once the chunk is there, everything is.
        sandbox.write(&chunk, &good);
        forget(&mounted.path("a/large"));
        assert!(fs::read(mounted.path("a/large")).unwrap() == large);
        drop(file);
        mounted.stop();
    }
}
