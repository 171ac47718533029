//! What is known of the file besides its bytes, and that nobody can change it.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, SystemTime};

use rustix::fs::{Dir, RawDir, SeekFrom, StatVfsMountFlags, seek, statvfs};

use crate::common::mounted::{Mounted, is_fuse_here};
use crate::common::run;
use crate::{scene, system};

const MOUNT: &str = "mount-index -s store image.raw.caibx";

#[test]
fn file_and_directory_look_as_the_docs_say() {
    if !is_fuse_here("file_and_directory_look_as_the_docs_say") {
        return;
    }
    let (sandbox, content) = scene();
    let before = SystemTime::now() - Duration::from_millis(20);
    let mounted = Mounted::start(&sandbox, MOUNT);
    let after = SystemTime::now();
    let (file, root) =
        (mounted.path("image.raw").metadata().unwrap(), mounted.path("").metadata().unwrap());
    assert_eq!((file.mode(), root.mode()), (0o100_444, 0o040_755));
    assert_eq!((file.nlink(), file.len()), (1, content.len() as u64));
    assert_eq!(file.blocks(), (content.len() as u64).div_ceil(512));
    assert_eq!((file.uid(), file.gid(), root.uid(), root.gid()), (0, 0, 0, 0));
    assert_eq!((root.ino(), root.nlink()), (1, 2));
    for found in [&file, &root] {
        let time = found.modified().unwrap();
        assert!(before <= time && time <= after, "{before:?} {time:?} {after:?}");
    }
    // The same an hour later, as far as the kernel asks at all.
    assert_eq!(
        mounted.path("image.raw").metadata().unwrap().modified().unwrap(),
        file.modified().unwrap()
    );
    mounted.stop();
}

#[test]
fn owners_are_those_that_are_asked_for() {
    if !is_fuse_here("owners_are_those_that_are_asked_for") {
        return;
    }
    let (sandbox, _) = scene();
    let mounted = Mounted::start(&sandbox, &format!("{MOUNT} --uid 1234 --gid 4294967294"));
    for name in ["", "image.raw"] {
        let found = mounted.path(name).metadata().unwrap();
        assert_eq!((found.uid(), found.gid()), (1234, 4_294_967_294), "{name}");
    }
    mounted.stop();
}

#[test]
fn nothing_can_be_changed() {
    if !is_fuse_here("nothing_can_be_changed") {
        return;
    }
    let (sandbox, content) = scene();
    let mounted = Mounted::start(&sandbox, MOUNT);
    let (file, other) = (mounted.path("image.raw"), mounted.path("other"));
    let refused = [
        File::create(&other).map(drop),
        File::options().write(true).open(&file).map(drop),
        File::options().append(true).open(&file).map(drop),
        File::options().read(true).write(true).truncate(true).open(&file).map(drop),
        fs::create_dir(&other),
        fs::rename(&file, &other),
        fs::hard_link(&file, &other),
        fs::remove_file(&file),
        std::os::unix::fs::symlink("x", &other),
        fs::set_permissions(&file, fs::Permissions::from_mode(0o777)),
        std::os::unix::fs::chown(&file, Some(1), None),
    ];
    for (number, done) in refused.into_iter().enumerate() {
        let kind = done.unwrap_err().kind();
        assert_eq!(kind, std::io::ErrorKind::ReadOnlyFilesystem, "{number}");
    }
    assert!(fs::read(&file).unwrap() == content);
    assert_eq!(fs::metadata(&other).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    mounted.stop();
}

#[test]
fn directories_are_listed_in_small_pieces_and_from_any_place() {
    if !is_fuse_here("directories_are_listed_in_small_pieces_and_from_any_place") {
        return;
    }
    let (sandbox, _) = scene();
    let mounted = Mounted::start(&sandbox, MOUNT);
    let directory = File::open(mounted.path("")).unwrap();
    // Each piece has room for one entry.
    let mut room = Vec::with_capacity(40);
    let mut pieces = RawDir::new(&directory, room.spare_capacity_mut());
    let (mut names, mut places) = (Vec::new(), Vec::new());
    while let Some(entry) = pieces.next() {
        let entry = entry.unwrap();
        names.push((entry.file_name().to_str().unwrap().to_owned(), entry.ino()));
        places.push(entry.next_entry_cookie());
    }
    assert_eq!(names, [(".".to_owned(), 1), ("..".to_owned(), 1), ("image.raw".to_owned(), 2)]);
    // From behind each entry on come those that follow it.
    for (number, &place) in places.iter().enumerate().rev() {
        seek(&directory, SeekFrom::Start(place)).unwrap();
        let mut pieces = RawDir::new(&directory, room.spare_capacity_mut());
        let mut rest = Vec::new();
        while let Some(entry) = pieces.next() {
            rest.push(entry.unwrap().file_name().to_str().unwrap().to_owned());
        }
        let wanted: Vec<_> = names[number + 1..].iter().map(|(name, _)| name.clone()).collect();
        assert_eq!(rest, wanted, "{number}");
    }
    // From the beginning again, as `rewinddir` does.
    let mut again = Dir::read_from(&directory).unwrap();
    for _ in 0..2 {
        assert_eq!(again.by_ref().count(), 3);
        again.rewind();
    }
    drop(again);
    drop(directory);
    mounted.stop();
}

#[test]
fn the_file_system_is_full_and_as_big_as_the_blob() {
    if !is_fuse_here("the_file_system_is_full_and_as_big_as_the_blob") {
        return;
    }
    let (sandbox, content) = scene();
    let mounted = Mounted::start(&sandbox, MOUNT);
    let space = statvfs(mounted.path("")).unwrap();
    assert_eq!(space.f_blocks * space.f_frsize, content.len().next_multiple_of(4096) as u64);
    assert_eq!((space.f_bfree, space.f_bavail, space.f_files, space.f_ffree), (0, 0, 2, 0));
    assert_eq!(space.f_namemax, 255);
    let flags = StatVfsMountFlags::RDONLY | StatVfsMountFlags::NOSUID | StatVfsMountFlags::NODEV;
    assert!(space.f_flag.contains(flags), "{:?}", space.f_flag);
    let printed =
        system("df", &["--output=size,used,avail", "-B1", mounted.path("").to_str().unwrap()]);
    assert!(!printed.stdout.is_empty());
    mounted.stop();
}

#[test]
fn options_are_passed_on_and_those_nobody_knows_are_refused() {
    if !is_fuse_here("options_are_passed_on_and_those_nobody_knows_are_refused") {
        return;
    }
    let (sandbox, content) = scene();
    let mounted = Mounted::start(
        &sandbox,
        &format!("{MOUNT} --allow-other -o noexec,max_read=65536 -o suid"),
    );
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    let line =
        table.lines().find(|line| line.contains(sandbox.path("mnt").to_str().unwrap())).unwrap();
    let options: Vec<&str> = line.split(' ').nth(3).unwrap().split(',').collect();
    for (option, is_there) in [
        ("ro", true),
        ("nodev", true),
        ("noexec", true),
        ("allow_other", true),
        ("default_permissions", true),
        ("max_read=65536", true),
        ("nosuid", false),
    ] {
        assert_eq!(options.contains(&option), is_there, "{option}: {line}");
    }
    assert!(fs::read(mounted.path("image.raw")).unwrap() == content);
    mounted.stop();
    let done = run(sandbox.command(&format!("{MOUNT} mnt -o nonsense")), None);
    done.fails(&["cannot mount at mnt"]);
}
