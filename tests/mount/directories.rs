//! A directory of indexes, as it changes.

use std::fs::{self, File};
use std::mem::MaybeUninit;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::process::Command;

use rustix::fs::inotify;
use rustix::io::Errno;

use crate::common::mounted::{Mounted, is_fuse_here, wait_until};
use crate::common::{Sandbox, random};
use crate::{errno, scene, system};

/// A directory `images` with an index of a tree, one of a blob and an archive.
fn images() -> Sandbox {
    let sandbox = scene();
    fs::create_dir(sandbox.path("images")).unwrap();
    sandbox.cairn("tar -s store images/tree.caidx tree").succeeds_silently();
    sandbox.cairn("make -s store images/disk.img.caibx tree/a/large").succeeds();
    sandbox.cairn("tar images/etc.catar tree/a/b").succeeds_silently();
    sandbox.write("images/notes.txt", b"is no index");
    sandbox
}

fn names(mounted: &Mounted) -> Vec<String> {
    let found = fs::read_dir(mounted.path("")).unwrap();
    let mut names: Vec<String> =
        found.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Has an index of these bytes take the place of another one at once.
fn replace(sandbox: &Sandbox, name: &str, content: &[u8]) {
    sandbox.write("content", content);
    sandbox.cairn("make -s store new.caibx content").succeeds();
    fs::rename(sandbox.path("new.caibx"), sandbox.path(&format!("images/{name}"))).unwrap();
}

#[test]
fn all_indexes_of_a_directory_are_mounted() {
    if !is_fuse_here("all_indexes_of_a_directory_are_mounted") {
        return;
    }
    let sandbox = images();
    sandbox.cairn("make -s store images/etc.caibx tree/text").succeeds();
    let mounted = Mounted::start(&sandbox, "mount -s store images");
    assert_eq!(names(&mounted), ["disk.img", "etc", "etc.catar", "tree"]);
    let diff = |plain: &str, seen: &str| {
        system(Command::new("diff").arg("-r").args([sandbox.path(plain), mounted.path(seen)]));
    };
    diff("tree", "tree");
    diff("tree/a/large", "disk.img");
    // One of the two has the short name, and the other the whole one.
    diff("tree/text", "etc");
    diff("tree/a/b", "etc.catar");
    // No two nodes have the same number, and the root knows how many directories are in it.
    let number = |name: &str| fs::metadata(mounted.path(name)).unwrap().ino();
    assert!(number("tree/text") != number("disk.img") && number("tree") != number("etc.catar"));
    assert_eq!(fs::metadata(mounted.path("")).unwrap().nlink(), 4);
    assert_eq!(number("tree/.."), 1);
    mounted.stop();
}

#[test]
fn indexes_come_and_go() {
    if !is_fuse_here("indexes_come_and_go") {
        return;
    }
    let sandbox = images();
    let mounted = Mounted::start(&sandbox, "mount -s store images");
    assert!(!mounted.path("new").exists());
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    let all = inotify::WatchFlags::ALL_EVENTS;
    inotify::add_watch(&watch, mounted.path(""), all).unwrap();
    let content = random(11, 200_000);
    replace(&sandbox, "new.caibx", &content);
    wait_until("what is new", || mounted.path("new").exists());
    assert!(fs::read(mounted.path("new")).unwrap() == content);
    assert!(names(&mounted).contains(&"new".to_owned()));
    let open = File::open(mounted.path("new")).unwrap();
    fs::remove_file(sandbox.path("images/new.caibx")).unwrap();
    wait_until("the end of what is gone", || !mounted.path("new").exists());
    assert_eq!(errno(fs::read(mounted.path("new"))), Errno::NOENT);
    assert_eq!(names(&mounted), ["disk.img", "etc", "tree"]);
    // Who has it open reads on.
    let mut bytes = vec![0; content.len()];
    open.read_exact_at(&mut bytes, 0).unwrap();
    assert!(bytes == content);
    drop(open);
    // Watches were told what was opened here, but not what came and went.
    let mut space = [MaybeUninit::uninit(); 65_536];
    let mut events = inotify::Reader::new(&watch, &mut space);
    let mut told = inotify::ReadFlags::empty();
    while let Ok(event) = events.next() {
        told |= event.events();
    }
    assert!(told.contains(inotify::ReadFlags::OPEN), "{told:?}");
    use inotify::ReadFlags as Told;
    assert!(!told.intersects(Told::CREATE | Told::DELETE | Told::MOVED_TO), "{told:?}");
    drop(watch);
    mounted.stop();
}

#[test]
fn what_is_replaced_is_new_to_all_but_those_who_have_it_open() {
    if !is_fuse_here("what_is_replaced_is_new_to_all_but_those_who_have_it_open") {
        return;
    }
    let sandbox = images();
    let contents = [random(21, 500_000), random(22, 300_000), random(23, 700_000)];
    replace(&sandbox, "blob.caibx", &contents[0]);
    let mounted = Mounted::start(&sandbox, "mount -s store images");
    let blob = mounted.path("blob");
    let mut open = Vec::new();
    for (number, content) in contents.iter().enumerate() {
        if number > 0 {
            replace(&sandbox, "blob.caibx", content);
        }
        let len = content.len() as u64;
        wait_until("the new content", || fs::metadata(&blob).is_ok_and(|it| it.len() == len));
        assert!(fs::read(&blob).unwrap() == *content, "{number}");
        open.push(File::open(&blob).unwrap());
    }
    for (file, content) in open.iter().zip(&contents) {
        let mut bytes = vec![0; content.len()];
        rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert!(bytes == *content);
        assert_eq!(file.metadata().unwrap().len(), content.len() as u64);
    }
    // Also where a tree becomes another one.
    sandbox.write("tree/text", b"another text");
    sandbox.cairn("tar -s store new.caidx tree").succeeds_silently();
    fs::rename(sandbox.path("new.caidx"), sandbox.path("images/tree.caidx")).unwrap();
    let text = mounted.path("tree/text");
    wait_until("the new tree", || fs::read(&text).is_ok_and(|text| text == b"another text"));
    drop(open);
    mounted.stop();
}

#[test]
fn a_broken_index_disturbs_nobody() {
    if !is_fuse_here("a_broken_index_disturbs_nobody") {
        return;
    }
    let sandbox = images();
    sandbox.write("images/broken.caidx", b"no index at all, but as long as one is");
    sandbox.write("images/cut.catar", &sandbox.read("images/etc.catar")[..100]);
    let mounted = Mounted::start(&sandbox, "mount -s store images");
    let printed = mounted.prints("broken.caidx");
    assert!(printed.contains("not shown: "), "{printed}");
    mounted.prints("cut.catar");
    assert_eq!(names(&mounted), ["disk.img", "etc", "tree"]);
    assert!(fs::read(mounted.path("disk.img")).unwrap() == sandbox.read("tree/a/large"));
    // Once it is mended it is there, and once it is broken it is not.
    let good = sandbox.read("images/etc.catar");
    sandbox.write("cut.catar", &good);
    fs::rename(sandbox.path("cut.catar"), sandbox.path("images/cut.catar")).unwrap();
    wait_until("what was mended", || mounted.path("cut/file").exists());
    sandbox.write("images/disk.img.caibx", b"something else");
    wait_until("the end of what is broken", || !mounted.path("disk.img").exists());
    mounted.prints("disk.img.caibx");
    assert_eq!(names(&mounted), ["cut", "etc", "tree"]);
    mounted.stop();
}

#[test]
fn flags_for_one_index_are_refused_for_directories() {
    let sandbox = images();
    sandbox.cairn("mount -s store --as tree images mnt").fails(&["--as"]);
    sandbox.cairn("mount -s store --prefetch images mnt").fails(&["--prefetch"]);
}
