//! What the kernel passes on of a mount, as the page on mounts says it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::mem::MaybeUninit;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{
    AtFlags, CWD, FileType, FlockOperation, Mode, RawDir, SeekFrom, StatVfsMountFlags, StatxFlags,
    XattrFlags, fcntl_lock, flock, inotify, ioctl_getflags, lgetxattr, lsetxattr, major, makedev,
    minor, mknodat, seek, statvfs, statx,
};
use rustix::io::Errno;
use rustix::process::Signal;

use crate::common::Sandbox;
use crate::common::mounted::{Mounted, is_fuse_here};
use crate::{MOUNT, errno, mounted, pack, scene};

/// All nodes below a directory, by their paths.
fn nodes(root: &Path) -> BTreeMap<String, fs::Metadata> {
    let mut nodes = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let found = fs::symlink_metadata(&path).unwrap();
            if found.is_dir() {
                open.push(path.clone());
            }
            nodes.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), found);
        }
    }
    nodes
}

#[test]
fn numbers_are_the_same_whenever_it_is_mounted() {
    if !is_fuse_here("numbers_are_the_same_whenever_it_is_mounted") {
        return;
    }
    let sandbox = scene();
    pack(&sandbox);
    let numbers = |words: &str| {
        let mounted = Mounted::start(&sandbox, words);
        let root = fs::metadata(mounted.path("")).unwrap().ino();
        let nodes = nodes(&mounted.path("")).into_iter();
        let numbers: BTreeMap<String, u64> =
            nodes.map(|(name, found)| (name, found.ino())).collect();
        mounted.stop();
        assert_eq!(root, 1);
        numbers
    };
    let first = numbers(&format!("{MOUNT} --cache-dir kept"));
    assert_eq!(numbers(&format!("{MOUNT} --cache-dir kept")), first);
    assert_eq!(numbers(&format!("{MOUNT} --cache-dir=elsewhere")), first);
    let mut all: Vec<u64> = first.into_values().chain([1]).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), nodes(&sandbox.path("tree")).len() + 1);
}

#[test]
fn kinds_modes_and_devices_are_those_of_the_archive() {
    if !is_fuse_here("kinds_modes_and_devices_are_those_of_the_archive") {
        return;
    }
    let sandbox = scene();
    let all = [
        ("fifo", FileType::Fifo, 0, 0o600),
        ("socket", FileType::Socket, 0, 0o755),
        ("null", FileType::CharacterDevice, makedev(1, 3), 0o666),
        ("disk", FileType::BlockDevice, makedev(259, 300), 0o660),
    ];
    for (name, kind, device, mode) in all {
        let path = sandbox.path(&format!("tree/{name}"));
        mknodat(CWD, &path, kind, Mode::RUSR, device).unwrap();
        rustix::fs::chmod(&path, Mode::from_raw_mode(mode)).unwrap();
    }
    symlink("text", sandbox.path("tree/link")).unwrap();
    rustix::fs::chmod(sandbox.path("tree/text"), Mode::from_raw_mode(0o6751)).unwrap();
    rustix::fs::chmod(sandbox.path("tree/a"), Mode::from_raw_mode(0o1755)).unwrap();
    let mounted = mounted(&sandbox);
    let (plain, seen) = (nodes(&sandbox.path("tree")), nodes(&mounted.path("")));
    assert!(plain.keys().eq(seen.keys()));
    for (name, found) in &plain {
        assert_eq!(seen[name].mode(), found.mode(), "{name}");
        let device = |of: &fs::Metadata| (major(of.rdev()), minor(of.rdev()));
        assert_eq!(device(&seen[name]), device(found), "{name}");
    }
    assert!(seen["socket"].file_type().is_socket());
    // A device is one only with `-o dev`.
    assert_eq!(errno(fs::read(mounted.path("null"))), Errno::ACCESS);
    mounted.stop();
    let mounted = Mounted::start(&sandbox, &format!("{MOUNT} -o dev"));
    assert_eq!(fs::read(mounted.path("null")).unwrap(), b"");
    mounted.stop();
}

#[test]
fn sizes_blocks_and_link_counts_are_what_they_are() {
    if !is_fuse_here("sizes_blocks_and_link_counts_are_what_they_are") {
        return;
    }
    let sandbox = scene();
    symlink("a/large", sandbox.path("tree/link")).unwrap();
    fs::hard_link(sandbox.path("tree/text"), sandbox.path("tree/again")).unwrap();
    let mounted = mounted(&sandbox);
    let seen = nodes(&mounted.path(""));
    let numbers = |name: &str| (seen[name].size(), seen[name].blocks(), seen[name].nlink());
    assert_eq!(numbers("a/large"), (3_000_000, 5860, 1));
    assert_eq!((numbers("text"), numbers("empty")), ((5, 1, 1), (0, 0, 1)));
    assert_eq!((numbers("link"), numbers("a"), numbers("a/b")), ((7, 0, 1), (0, 0, 3), (0, 0, 2)));
    assert!(seen.values().all(|found| found.blksize() == 4096));
    assert_eq!(fs::metadata(mounted.path("")).unwrap().nlink(), 3);
    // An archive has every name of a file by itself.
    assert_eq!(numbers("again"), numbers("text"));
    assert!(seen["again"].ino() != seen["text"].ino());
    mounted.stop();
}

#[test]
fn there_is_one_time_and_none_of_birth() {
    if !is_fuse_here("there_is_one_time_and_none_of_birth") {
        return;
    }
    let sandbox = scene();
    let time = UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    File::options()
        .write(true)
        .open(sandbox.path("tree/text"))
        .unwrap()
        .set_modified(time)
        .unwrap();
    let mounted = mounted(&sandbox);
    let path = mounted.path("text");
    for _ in 0..2 {
        let found = fs::metadata(&path).unwrap();
        assert_eq!(found.modified().unwrap(), time);
        assert_eq!(found.accessed().unwrap(), time);
        assert_eq!((found.ctime(), found.ctime_nsec()), (1_000_000_000, 123_456_789));
        // Reading changes nothing.
        fs::read(&path).unwrap();
    }
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let all = statx(CWD, &path, AtFlags::empty(), wanted).unwrap();
    assert_eq!(all.stx_mask & StatxFlags::BTIME.bits(), 0);
    mounted.stop();
}

/// Names and numbers from a place on, in pieces of so many bytes, each with the place behind it.
fn listed(directory: &File, room: usize) -> Vec<(String, u64, u64)> {
    let mut space = vec![MaybeUninit::uninit(); room];
    let mut pieces = RawDir::new(directory, &mut space);
    let mut listed = Vec::new();
    while let Some(entry) = pieces.next() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_str().unwrap().to_owned();
        listed.push((name, entry.ino(), entry.next_entry_cookie()));
    }
    listed
}

#[test]
fn directories_are_in_order_and_go_on_from_any_place() {
    if !is_fuse_here("directories_are_in_order_and_go_on_from_any_place") {
        return;
    }
    let sandbox = scene();
    for n in (0..3000).rev() {
        sandbox.write(&format!("tree/a/wide/{n:04}"), b"");
    }
    let mounted = mounted(&sandbox);
    let number = |name: &str| fs::metadata(mounted.path(name)).unwrap().ino();
    let directory = File::open(mounted.path("a/wide")).unwrap();
    let all = listed(&directory, 300);
    let names = [".", ".."].map(str::to_owned).into_iter();
    assert!(
        all.iter()
            .map(|(name, ..)| name.clone())
            .eq(names.chain((0..3000).map(|n| format!("{n:04}"))))
    );
    assert_eq!((all[0].1, all[1].1), (number("a/wide"), number("a")));
    assert_eq!(all[7].1, number("a/wide/0005"));
    for at in [0, 1, 2, 3, 500, 1234, 2999, 3000, 3001] {
        seek(&directory, SeekFrom::Start(all[at].2)).unwrap();
        assert!(listed(&directory, 4096) == all[at + 1..], "{at}");
    }
    seek(&directory, SeekFrom::Start(0)).unwrap();
    assert!(listed(&directory, 100_000) == all);
    // That of the root is itself: only the kernel knows where it is mounted.
    assert_eq!(listed(&File::open(mounted.path("")).unwrap(), 300)[1].1, 1);
    drop(directory);
    mounted.stop();
}

/// The length of the value of an extended attribute.
fn xattr(path: &Path, name: &str) -> Result<usize, Errno> {
    lgetxattr(path, name, &mut [0; 100][..])
}

#[test]
fn extended_attributes_are_those_of_the_archive() {
    if !is_fuse_here("extended_attributes_are_those_of_the_archive") {
        return;
    }
    let sandbox = scene();
    let without = mounted(&sandbox);
    // The kernel asks once, and then says so itself.
    for _ in 0..2 {
        assert_eq!(xattr(&without.path("text"), "user.color"), Err(Errno::OPNOTSUPP));
    }
    without.stop();
    let large = vec![7; 60];
    for (name, value) in [("user.color", &b"blue"[..]), ("trusted.t", b""), ("user.large", &large)]
    {
        lsetxattr(sandbox.path("tree/text"), name, value, XattrFlags::empty()).unwrap();
    }
    let with = mounted(&sandbox);
    let text = with.path("text");
    assert_eq!(xattr(&text, "user.color"), Ok(4));
    assert_eq!((xattr(&text, "trusted.t"), xattr(&text, "user.large")), (Ok(0), Ok(60)));
    assert_eq!(lgetxattr(&text, "user.large", &mut [0; 10][..]), Err(Errno::RANGE));
    assert_eq!(xattr(&text, "user.none"), Err(Errno::NODATA));
    assert_eq!(xattr(&with.path("empty"), "user.color"), Err(Errno::NODATA));
    with.stop();
}

#[test]
fn the_file_system_is_full_and_as_big_as_its_archive() {
    if !is_fuse_here("the_file_system_is_full_and_as_big_as_its_archive") {
        return;
    }
    let sandbox = scene();
    sandbox.cairn("tar tree.catar tree").succeeds_silently();
    let archive = sandbox.read("tree.catar").len() as u64;
    let mounted = mounted(&sandbox);
    let space = statvfs(mounted.path("a/b")).unwrap();
    assert_eq!((space.f_frsize, space.f_blocks), (4096, archive.div_ceil(4096)));
    let files = nodes(&sandbox.path("tree")).len() as u64 + 1;
    assert_eq!((space.f_files, space.f_ffree, space.f_bfree, space.f_bavail), (files, 0, 0, 0));
    assert_eq!(space.f_namemax, 255);
    let flags = StatVfsMountFlags::RDONLY | StatVfsMountFlags::NOSUID | StatVfsMountFlags::NODEV;
    assert!(space.f_flag.contains(flags), "{:?}", space.f_flag);
    mounted.stop();
}

#[test]
fn holes_are_zeros_like_others() {
    if !is_fuse_here("holes_are_zeros_like_others") {
        return;
    }
    let sandbox = scene();
    sandbox.sparse("tree/holes", 5_000_000, &[(2_000_000, b"data")]);
    let mounted = mounted(&sandbox);
    let file = File::open(mounted.path("holes")).unwrap();
    assert_eq!(seek(&file, SeekFrom::Data(0)), Ok(0));
    assert_eq!(seek(&file, SeekFrom::Hole(0)), Ok(5_000_000));
    assert_eq!(seek(&file, SeekFrom::Data(5_000_000)), Err(Errno::NXIO));
    assert_eq!(file.metadata().unwrap().blocks(), 5_000_000_u64.div_ceil(512));
    assert!(fs::read(mounted.path("holes")).unwrap() == sandbox.read("tree/holes"));
    drop(file);
    mounted.stop();
}

#[test]
fn locks_hold_on_this_machine() {
    if !is_fuse_here("locks_hold_on_this_machine") {
        return;
    }
    let sandbox = scene();
    let mounted = mounted(&sandbox);
    let open = || File::open(mounted.path("text")).unwrap();
    let (one, other) = (open(), open());
    flock(&one, FlockOperation::LockExclusive).unwrap();
    assert_eq!(flock(&other, FlockOperation::NonBlockingLockShared), Err(Errno::AGAIN));
    flock(&one, FlockOperation::Unlock).unwrap();
    flock(&other, FlockOperation::NonBlockingLockExclusive).unwrap();
    fcntl_lock(&one, FlockOperation::NonBlockingLockShared).unwrap();
    // That takes a file that is open for writing.
    assert_eq!(fcntl_lock(&one, FlockOperation::NonBlockingLockExclusive), Err(Errno::BADF));
    drop((one, other));
    mounted.stop();
}

#[test]
fn watches_are_told_what_programs_do() {
    if !is_fuse_here("watches_are_told_what_programs_do") {
        return;
    }
    let sandbox = scene();
    let mounted = mounted(&sandbox);
    let watch =
        inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).unwrap();
    inotify::add_watch(&watch, mounted.path("a/b"), inotify::WatchFlags::ALL_EVENTS).unwrap();
    let mut space = [MaybeUninit::uninit(); 1000];
    let mut events = inotify::Reader::new(&watch, &mut space);
    assert_eq!(events.next().err(), Some(Errno::AGAIN));
    fs::read(mounted.path("a/b/file")).unwrap();
    let event = events.next().unwrap();
    assert!(event.events().contains(inotify::ReadFlags::OPEN));
    assert_eq!(event.file_name().unwrap().to_bytes(), b"file");
    drop(watch);
    mounted.stop();
}

#[test]
fn there_are_no_ioctls() {
    if !is_fuse_here("there_are_no_ioctls") {
        return;
    }
    let sandbox = scene();
    let mounted = mounted(&sandbox);
    let file = File::open(mounted.path("text")).unwrap();
    assert_eq!(ioctl_getflags(&file), Err(Errno::NOTTY));
    drop(file);
    mounted.stop();
}

#[test]
fn after_a_kill_nobody_is_there() {
    if !is_fuse_here("after_a_kill_nobody_is_there") {
        return;
    }
    let sandbox: Sandbox = scene();
    let mut mounted = mounted(&sandbox);
    assert_eq!(fs::read(mounted.path("text")).unwrap(), b"hello");
    mounted.signal(Signal::KILL);
    assert_eq!(mounted.ends(), None);
    for name in ["", "a", "a/large"] {
        assert_eq!(errno(fs::read_dir(mounted.path(name))), Errno::NOTCONN, "{name}");
    }
    assert_eq!(errno(fs::read(mounted.path("a/large"))), Errno::NOTCONN);
    assert!(mounted.is_mounted());
    mounted.unmount();
    assert!(!mounted.is_mounted());
}
