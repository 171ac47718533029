//! What is recorded of files is what casync records of them.
#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

mod common;

use std::ffi::{CStr, CString};
use std::fs::{self, File, Permissions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use cairn::tree::Shift;
use cairn::tree::attributes::{self, FileSystem};
use cairn::tree::record::{Failure, Found, Recorded, Recorder, Why};
use cairn_formats::catar::{
    Ace, Body, Child, DefaultAcl, Xattr, encode_goodbye, encode_name, encode_node, hash_name,
};
use cairn_formats::{Digest, flags};
use rustix::fs::{CWD, Dir, FileType, Mode, XattrFlags, mknodat, setxattr};

use common::system::{self, Mount, is_root};
use common::{Sandbox, vector_tree};

/// What casync does by default: SHA-512/256, `.caexclude`, and leaving out what is not to be dumped.
const DEFAULTS: u64 = flags::SHA512_256 | flags::EXCLUDE_FILE | flags::EXCLUDE_NODUMP;

fn directory(path: &Path) -> OwnedFd {
    File::open(path).unwrap().into()
}

/// Everything under a directory, as an archive.
fn archive(root: &Path, features: u64) -> Vec<u8> {
    let recorder = Recorder::new(features, None);
    let found = recorder.record_root(directory(root)).unwrap();
    let mut out = Vec::new();
    add(&mut out, &recorder, &found, features);
    out
}

fn add(out: &mut Vec<u8>, recorder: &Recorder, found: &Found, features: u64) {
    let entry = out.len() as u64;
    encode_node(out, &found.node, features);
    match found.node.body {
        Body::File(size) => {
            let mut file = File::from(found.file.as_ref().unwrap().try_clone().unwrap());
            assert_eq!(std::io::copy(&mut file, out).unwrap(), size);
        }
        Body::Directory => {
            let directory = found.file.as_ref().unwrap();
            let mut children = Vec::new();
            for (name, kind) in listed(directory) {
                let recorded = recorder.record(directory.as_fd(), &name, kind).unwrap();
                if let Recorded::Found(found) = recorded {
                    let (start, name) = (out.len() as u64, name.to_bytes());
                    encode_name(out, name);
                    add(out, recorder, &found, features);
                    let end = out.len() as u64;
                    children.push(Child { hash: hash_name(name), start, end });
                }
            }
            let at = out.len() as u64;
            encode_goodbye(out, &mut children, entry, at);
        }
        _ => assert!(found.file.is_none()),
    }
}

fn listed(directory: &OwnedFd) -> Vec<(CString, FileType)> {
    let entries = Dir::read_from(directory).unwrap().map(Result::unwrap);
    let mut entries: Vec<_> =
        entries.map(|entry| (entry.file_name().to_owned(), entry.file_type())).collect();
    entries.retain(|(name, _)| name.to_bytes() != b"." && name.to_bytes() != b"..");
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    entries
}

fn record(root: &Path, name: &CStr, features: u64) -> Result<Recorded, Failure> {
    let recorder = Recorder::new(features, None);
    let root = recorder.record_root(directory(root)).unwrap();
    recorder.record(root.file.unwrap().as_fd(), name, FileType::Unknown)
}

fn found(root: &Path, name: &CStr, features: u64) -> Found {
    match record(root, name, features).unwrap() {
        Recorded::Found(found) => *found,
        Recorded::LeftOut(why) => panic!("{name:?}: {why:?}"),
    }
}

fn left_out(root: &Path, name: &CStr, features: u64) -> Why {
    match record(root, name, features).unwrap() {
        Recorded::Found(found) => panic!("{name:?}: {found:?}"),
        Recorded::LeftOut(why) => why,
    }
}

fn compare_with_casync(is_for_root: bool) {
    let vectors = vector_tree::vectors();
    let sandbox = Sandbox::new();
    let root = sandbox.path("tree");
    fs::create_dir(&root).unwrap();
    vector_tree::build(&vectors, &root, is_for_root);
    let cases = vectors["trees"].as_array().unwrap();
    let cases: Vec<_> = cases.iter().filter(|case| case["needs_root"] == is_for_root).collect();
    assert_eq!(cases.len(), if is_for_root { 3 } else { 4 });
    for case in cases {
        let features = case["flags"].as_str().unwrap().trim_start_matches("0x");
        let features = u64::from_str_radix(features, 16).unwrap();
        let archive = archive(&root, features);
        assert_eq!(archive.len() as u64, case["catar_size"], "{}", case["name"]);
        let digest = Digest::Sha256.hash(&archive).to_hex();
        assert_eq!(digest, case["catar_sha256"], "{}", case["name"]);
    }
}

#[test]
fn trees_are_recorded_as_casync_does() {
    compare_with_casync(false);
}

#[test]
fn trees_only_root_can_build_are_recorded_as_casync_does() {
    if is_root("trees_only_root_can_build_are_recorded_as_casync_does") {
        compare_with_casync(true);
    }
}

/// Gives a file or directory attributes and reads them back; false where there is no such thing.
fn keeps(file: &OwnedFd, attributes: u64) -> bool {
    match attributes::write(file.as_fd(), attributes, attributes) {
        Err(error) if attributes::is_unsupported(&error) => return false,
        written => written.unwrap(),
    }
    let kind = FileSystem::of(file.as_fd()).unwrap();
    attributes::read(file.as_fd(), kind, attributes).unwrap() == attributes
}

/// A tree with all that a file system of some kind can keep beside content.
fn build_with_attributes(sandbox: &Sandbox, kind: &str) {
    for (name, bits) in flags::FEATURES {
        if bits & !flags::CHATTR == 0 && bits.is_power_of_two() {
            sandbox.write(&format!("fs/tree/{name}"), b"x");
            let file = directory(&sandbox.path(&format!("fs/tree/{name}")));
            let is_common = bits & (flags::FLAG_APPEND | flags::FLAG_IMMUTABLE | flags::FLAG_SYNC);
            assert!(keeps(&file, bits) || is_common == 0, "{name} on {kind}");
        }
    }
    sandbox.write("fs/tree/daemons", b"y");
    std::os::unix::fs::chown(sandbox.path("fs/tree/daemons"), Some(1), Some(0)).unwrap();
    let file = directory(&sandbox.path("fs/tree/daemons"));
    let is_kept = attributes::set_projid(file.as_fd(), 77).is_ok();
    assert_eq!(is_kept, kind == "xfs");
    let file_system = FileSystem::of(file.as_fd()).unwrap();
    let expected = if is_kept { 77 } else { 0 };
    assert_eq!(attributes::projid(file.as_fd(), file_system).unwrap(), expected);
    if kind == "btrfs" {
        for name in ["subvolume", "unwritable"] {
            let path = sandbox.path(&format!("fs/tree/{name}"));
            let mut made = Command::new("btrfs");
            let made = made.args(["subvolume", "create"]).arg(&path).output();
            assert!(made.expect("btrfs-progs is installed").status.success());
        }
        let unwritable = directory(&sandbox.path("fs/tree/unwritable"));
        assert!(keeps(&unwritable, flags::SUBVOLUME_RO));
    }
}

#[test]
fn what_file_systems_keep_is_recorded_as_casync_does() {
    if !is_root("what_file_systems_keep_is_recorded_as_casync_does") {
        return;
    }
    for kind in ["btrfs", "xfs", "ext4"] {
        let sandbox = Sandbox::new();
        let _mounted = system::FileSystem::new(&sandbox, kind);
        fs::create_dir(sandbox.path("fs/tree")).unwrap();
        build_with_attributes(&sandbox, kind);
        sandbox.casync("make theirs.catar fs/tree").succeeds();
        let ours = archive(&sandbox.path("fs/tree"), flags::normalised(flags::ALL | DEFAULTS));
        assert!(ours == sandbox.read("theirs.catar"), "on {kind}");
    }
}

#[test]
fn all_that_can_be_said_is_said() {
    if !is_root("all_that_can_be_said_is_said") {
        return;
    }
    let sandbox = Sandbox::new();
    let root = sandbox.path("tree");
    fs::create_dir(&root).unwrap();
    vector_tree::build(&vector_tree::vectors(), &root, true);
    let features = flags::normalised(flags::ALL);
    let nameless = |id, permissions| Ace { id, name: Vec::new(), permissions };

    let owned = found(&root, c"owned", features).node;
    assert_eq!((owned.uid, owned.gid, owned.permissions), (54321, 54322, 0o640));
    assert_eq!((owned.mtime, owned.size()), (1_500_000_018_000_000_000, 2));
    assert!(owned.user.is_empty() && owned.group.is_empty(), "no such names");

    let meta = found(&root, c"meta", features).node;
    let xattr = |name: &str, value: &[u8]| Xattr { name: name.into(), value: value.into() };
    let xattrs = [xattr("trusted.t", b""), xattr("user.a", b"\0\xff"), xattr("user.z", b"z")];
    assert_eq!(meta.xattrs, xattrs);
    assert_eq!(meta.fcaps.len(), 20);
    assert!(meta.acl.is_trivial());

    let group = found(&root, c"aclgroup", features).node;
    assert_eq!(group.permissions, 0o660, "the mask is where the group would be");
    assert_eq!(group.acl.users, [nameless(54399, 6), nameless(54400, 4)]);
    assert_eq!(group.acl.groups, [nameless(54500, 2)]);
    assert_eq!((group.acl.group_obj, group.acl.default), (Some(4), None));

    let directory = found(&root, c"acldir", features).node;
    assert_eq!(directory.acl.group_obj, Some(5), "it has a mask, though nobody is named");
    let users = vec![nameless(54400, 5)];
    let (mask, groups) = (Some(7), Vec::new());
    let default = DefaultAcl { user_obj: 7, group_obj: 5, other: 0, mask, users, groups };
    assert_eq!(directory.acl.default, Some(default));

    let body = |name| found(&root, name, features).node.body;
    assert_eq!(body(c"chr"), Body::Character { major: 1, minor: 3 });
    assert_eq!(body(c"blk"), Body::Block { major: 7, minor: 255 });
    assert_eq!(body(c"sock"), Body::Socket);
    assert_eq!(body(c"dangling"), Body::Symlink("/nonexistent/é".into()));
}

#[test]
fn a_pipe_has_its_lists_and_attributes_and_is_not_opened() {
    if !is_root("a_pipe_has_its_lists_and_attributes_and_is_not_opened") {
        return;
    }
    let sandbox = Sandbox::new();
    let pipe = sandbox.path("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
    let mut list = vec![2, 0, 0, 0];
    for (tag, id) in [(1, !0), (2, 70000_u32), (4, !0), (16, !0), (32, !0)] {
        list.extend([tag, 0, 4, 0]);
        list.extend(id.to_le_bytes());
    }
    setxattr(&pipe, "system.posix_acl_access", &list, XattrFlags::empty()).unwrap();
    setxattr(&pipe, "trusted.x", b"y", XattrFlags::empty()).unwrap();
    let found = found(&sandbox.path("."), c"pipe", flags::normalised(flags::ALL));
    assert_eq!(found.node.body, Body::Fifo);
    assert_eq!(found.node.acl.users[0].id, 70000);
    assert_eq!(found.node.xattrs[0].name, b"trusted.x");

    // casync neither records nor sets attributes of pipes, but reads archives that have them.
    let archive = archive(&sandbox.path("."), flags::normalised(flags::ALL | DEFAULTS));
    let elsewhere = Sandbox::new();
    elsewhere.write("ours.catar", &archive);
    elsewhere.casync("extract ours.catar out").succeeds();
    let kind = fs::symlink_metadata(elsewhere.path("out/pipe")).unwrap().file_type();
    assert!(kind.is_fifo());
}

#[test]
fn what_is_not_asked_for_is_left_out() {
    let sandbox = Sandbox::new();
    let root = sandbox.path(".");
    symlink("x", sandbox.path("link")).unwrap();
    mknodat(CWD, sandbox.path("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    mknodat(CWD, sandbox.path("sock"), FileType::Socket, Mode::RUSR, 0).unwrap();
    for (name, feature) in
        [(c"link", flags::SYMLINKS), (c"fifo", flags::FIFOS), (c"sock", flags::SOCKETS)]
    {
        assert_eq!(left_out(&root, name, flags::normalised(flags::ALL & !feature)), Why::Kind);
        found(&root, name, feature);
    }
    assert_eq!(left_out(&root, c"gone", flags::ALL), Why::Vanished);
}

#[test]
fn a_wrong_word_about_the_kind_does_no_harm() {
    let sandbox = Sandbox::new();
    sandbox.write("file", b"four");
    fs::create_dir(sandbox.path("directory")).unwrap();
    symlink("file", sandbox.path("link")).unwrap();
    mknodat(CWD, sandbox.path("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    mknodat(CWD, sandbox.path("sock"), FileType::Socket, Mode::RUSR, 0).unwrap();
    let recorder = Recorder::new(flags::normalised(flags::ALL), None);
    let root = recorder.record_root(directory(&sandbox.path("."))).unwrap().file.unwrap();
    let kinds = [
        FileType::RegularFile,
        FileType::Directory,
        FileType::Symlink,
        FileType::Fifo,
        FileType::Socket,
        FileType::BlockDevice,
        FileType::Unknown,
    ];
    for kind in kinds {
        let body = |name| match recorder.record(root.as_fd(), name, kind).unwrap() {
            Recorded::Found(found) => found.node.body,
            Recorded::LeftOut(why) => panic!("{name:?} as {kind:?}: {why:?}"),
        };
        assert_eq!(body(c"file"), Body::File(4));
        assert_eq!(body(c"directory"), Body::Directory);
        assert_eq!(body(c"link"), Body::Symlink(b"file".to_vec()));
        assert_eq!(body(c"fifo"), Body::Fifo);
        assert_eq!(body(c"sock"), Body::Socket);
    }
}

#[test]
fn files_marked_no_dump_are_left_out_if_that_is_wanted() {
    let sandbox = Sandbox::new();
    sandbox.write("file", b"x");
    let file = File::open(sandbox.path("file")).unwrap();
    match attributes::write(file.as_fd(), flags::FLAG_NODUMP, flags::FLAG_NODUMP) {
        Err(error) if attributes::is_unsupported(&error) => {
            eprintln!(
                "NOT RUN: files_marked_no_dump_are_left_out needs TMPDIR on ext4 or the like"
            );
            return;
        }
        written => written.unwrap(),
    }
    let root = sandbox.path(".");
    // With other attributes asked for, and alone.
    for features in [flags::CHATTR & !flags::FLAG_NODUMP, 0] {
        assert_eq!(left_out(&root, c"file", features | flags::EXCLUDE_NODUMP), Why::NoDump);
        assert_eq!(found(&root, c"file", features).node.attributes, 0);
    }
    let kept = found(&root, c"file", flags::CHATTR).node;
    assert_eq!(kept.attributes, flags::FLAG_NODUMP);
}

#[test]
fn other_mounts_are_left_out_if_that_is_wanted() {
    if !is_root("other_mounts_are_left_out_if_that_is_wanted") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write("file", b"x");
    let _mount = Mount::new(&sandbox, "mount", 64);
    let root = sandbox.path(".");
    assert_eq!(left_out(&root, c"mount", flags::EXCLUDE_SUBMOUNTS), Why::OtherMount);
    found(&root, c"file", flags::EXCLUDE_SUBMOUNTS);
    assert_ne!(found(&root, c"mount", 0).stat.dev, found(&root, c"file", 0).stat.dev);
}

#[test]
fn other_mounts_need_not_be_open_to_us_to_be_left_out() {
    if !is_root("other_mounts_need_not_be_open_to_us_to_be_left_out") {
        return;
    }
    let sandbox = Sandbox::new();
    let _mount = Mount::closed(&sandbox, "closed");
    let root = sandbox.path(".");
    assert_eq!(left_out(&root, c"closed", flags::EXCLUDE_SUBMOUNTS), Why::OtherMount);
    assert!(record(&root, c"closed", 0).is_err());
}

#[test]
fn what_the_kernel_makes_up_has_no_content() {
    let file = found(Path::new("/proc/self"), c"status", 0);
    assert_eq!(file.node.body, Body::File(0));
    assert!(file.stat.is_virtual);
    let directory = found(Path::new("/"), c"proc", flags::normalised(flags::ALL));
    assert!(directory.stat.is_virtual && directory.node.is_directory());
    assert_eq!(FileSystem::of(directory.file.unwrap().as_fd()).unwrap(), FileSystem::Virtual);
}

#[test]
fn permissions_are_as_fine_as_was_asked_for() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("directory")).unwrap();
    sandbox.write("file", b"x");
    let set = |name: &str, mode| {
        fs::set_permissions(sandbox.path(name), Permissions::from_mode(mode)).unwrap();
    };
    let root = sandbox.path(".");
    let recorded = |features| {
        let of = |name| found(&root, name, features).node.permissions;
        (of(c"directory"), of(c"file"))
    };
    set("directory", 0o1750);
    set("file", 0o420);
    assert_eq!(recorded(0), (0o777, 0o666));
    assert_eq!(recorded(flags::PERMISSIONS), (0o1750, 0o420));
    assert_eq!(recorded(flags::READ_ONLY), (0o777, 0o666));
    set("directory", 0o500);
    set("file", 0o440);
    assert_eq!(recorded(0), (0o777, 0o666));
    assert_eq!(recorded(flags::READ_ONLY), (0o555, 0o444));
}

#[test]
fn times_are_cut_to_the_grain_as_casync_does_it() {
    let sandbox = Sandbox::new();
    sandbox.write("file", b"x");
    let recorded = |seconds: i64, nanoseconds: i64, features| {
        let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        let path = sandbox.path("file");
        rustix::fs::utimensat(CWD, &path, &times, rustix::fs::AtFlags::empty()).unwrap();
        found(&sandbox.path("."), c"file", features).node.mtime.cast_unsigned()
    };
    assert_eq!(recorded(7, 123_456_789, 0), 0);
    assert_eq!(recorded(7, 123_456_789, flags::NSEC_TIME), 7_123_456_789);
    assert_eq!(recorded(7, 123_456_789, flags::USEC_TIME), 7_123_456_000);
    assert_eq!(recorded(7, 123_456_789, flags::SEC_TIME), 7_000_000_000);
    assert_eq!(recorded(7, 123_456_789, flags::TWO_SEC_TIME), 6_000_000_000);
    // What casync 2 wrote.
    assert_eq!(recorded(-2, 499_999_999, flags::NSEC_TIME), 18_446_744_072_209_551_615);
    assert_eq!(recorded(-2, 499_999_999, flags::SEC_TIME), 18_446_744_072_000_000_000);
}

#[test]
fn many_may_record_at_once() {
    let sandbox = Sandbox::new();
    let names: Vec<_> = (0..200).map(|n| format!("{n:03}")).collect();
    names.iter().for_each(|name| sandbox.write(name, name.as_bytes()));
    let recorder = Recorder::new(flags::normalised(flags::ALL), None);
    let root = recorder.record_root(directory(&sandbox.path("."))).unwrap().file.unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for name in &names {
                    let name = CString::new(name.as_str()).unwrap();
                    let recorded = recorder.record(root.as_fd(), &name, FileType::RegularFile);
                    assert!(
                        matches!(recorded.unwrap(), Recorded::Found(it) if it.node.size() == 3)
                    );
                }
            });
        }
    });
}

#[test]
fn owners_are_shifted_or_refused() {
    if !is_root("owners_are_shifted_or_refused") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write("file", b"x");
    std::os::unix::fs::chown(sandbox.path("file"), Some(70001), Some(200_000)).unwrap();
    let root = directory(&sandbox.path("."));
    let owners = |features, shift| {
        let shift = Some(Shift { shift, range: 65536 });
        let recorded =
            Recorder::new(features, shift).record(root.as_fd(), c"file", FileType::RegularFile);
        match recorded {
            Ok(Recorded::Found(found)) => Ok((found.node.uid, found.node.gid)),
            Ok(Recorded::LeftOut(why)) => panic!("{why:?}"),
            Err(failure) => Err(failure.at("file").to_string()),
        }
    };
    assert_eq!(owners(flags::UIDS_32BIT, 70000), Ok((1, 130_000 - 65536)));
    assert_eq!(owners(flags::USER_NAMES, 70000), Ok((0, 0)));
    let error = owners(flags::UIDS_32BIT, 100_000).unwrap_err();
    assert!(error.starts_with("cannot record the owner of file: id 70001 is below"), "{error}");
    let error = Recorder::new(flags::UIDS_16BIT, None)
        .record(root.as_fd(), c"file", FileType::RegularFile)
        .unwrap_err();
    assert!(error.to_string().contains("16 bits"), "{error}");
}

#[test]
fn what_may_not_be_read_is_a_failure() {
    let sandbox = Sandbox::new();
    sandbox.write("file", b"x");
    fs::set_permissions(sandbox.path("file"), Permissions::from_mode(0o000)).unwrap();
    if rustix::process::geteuid().is_root() {
        eprintln!("NOT RUN: what_may_not_be_read_is_a_failure needs another user than root");
        return;
    }
    let failure = record(&sandbox.path("."), c"file", 0).unwrap_err();
    assert_eq!(
        failure.at("some/file").to_string().split(": ").next(),
        Some("cannot open some/file")
    );
}
