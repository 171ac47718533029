//! Who may do what, and whose things are.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use cairn_formats::catar::{Body, Node};
use rustix::fs::{XattrFlags, lgetxattr, llistxattr, lsetxattr};

use crate::common::Sandbox;
use crate::common::mounted::{Mounted, is_fuse_here};
use crate::written::node_in_root;
use crate::{MOUNT, SOMEBODY, as_user, mounted, pack, ran, scene};

const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";

/// A list of who may do what: tags and permissions, for a user if there is one.
fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        list.extend(tag.to_le_bytes());
        list.extend(permissions.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    list
}

const NO_ID: u32 = u32::MAX;

/// What the owner, one user, the group, all of those, and others may do.
fn acl_for(user: u32, may: u16, others: u16) -> Vec<u8> {
    let (owner, group) = ((1, 6, NO_ID), (4, others, NO_ID));
    acl(&[owner, (2, may, user), group, (16, may | others, NO_ID), (32, others, NO_ID)])
}

fn value(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 1000];
    let len = lgetxattr(path, name, &mut value[..]).ok()?;
    value.truncate(len);
    Some(value)
}

fn may_read(user: u32, path: &Path) -> bool {
    let done = ran(as_user(user, "cat").arg(path));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() || said.contains("Permission denied"), "{said}");
    done.status.success()
}

#[test]
fn permissions_hold_for_everybody() {
    if !is_fuse_here("permissions_hold_for_everybody") {
        return;
    }
    let sandbox = scene();
    fs::set_permissions(sandbox.path("tree/text"), fs::Permissions::from_mode(0o640)).unwrap();
    chown(sandbox.path("tree/text"), Some(0), Some(SOMEBODY)).unwrap();
    fs::set_permissions(sandbox.path("tree/a/b"), fs::Permissions::from_mode(0o700)).unwrap();
    // Users come in without --allow-other, as root has mounted it.
    let mounted = mounted(&sandbox);
    assert!(may_read(SOMEBODY, &mounted.path("empty")));
    assert!(may_read(SOMEBODY, &mounted.path("text")));
    assert!(!may_read(SOMEBODY + 1, &mounted.path("text")));
    assert!(!may_read(SOMEBODY, &mounted.path("a/b/file")));
    assert!(fs::read(mounted.path("a/b/file")).is_ok());
    mounted.stop();
}

#[test]
fn lists_of_who_may_do_what_are_shown_and_hold() {
    if !is_fuse_here("lists_of_who_may_do_what_are_shown_and_hold") {
        return;
    }
    let sandbox = scene();
    let (closed, open) = (acl_for(SOMEBODY, 0, 4), acl_for(SOMEBODY, 4, 0));
    let set = |name: &str, kind: &str, list: &[u8]| {
        lsetxattr(sandbox.path(name), kind, list, XattrFlags::empty()).unwrap();
    };
    set("tree/text", ACCESS, &closed);
    set("tree/empty", ACCESS, &open);
    set("tree/a", DEFAULT, &closed);
    let mounted = mounted(&sandbox);
    for (name, kind) in [("text", ACCESS), ("empty", ACCESS), ("a", DEFAULT), ("a", ACCESS)] {
        let wanted = value(&sandbox.path(&format!("tree/{name}")), kind);
        assert_eq!(value(&mounted.path(name), kind), wanted, "{name} {kind}");
    }
    assert!(value(&mounted.path("a"), DEFAULT).is_some());
    assert!(!may_read(SOMEBODY, &mounted.path("text")));
    assert!(may_read(SOMEBODY + 1, &mounted.path("text")));
    assert!(may_read(SOMEBODY, &mounted.path("empty")));
    assert!(!may_read(SOMEBODY + 1, &mounted.path("empty")));
    mounted.stop();
    // With ids shifted it is somebody else.
    let shifted = Mounted::start(&sandbox, &format!("{MOUNT} --uid-shift 100000"));
    let wanted = acl_for(SOMEBODY + 100_000, 0, 4);
    assert_eq!(value(&shifted.path("text"), ACCESS), Some(wanted));
    assert!(may_read(SOMEBODY, &shifted.path("text")));
    assert!(!may_read(SOMEBODY + 100_000, &shifted.path("text")));
    shifted.stop();
}

/// An archive of one file with a label and capabilities, as if a machine with both had made it.
fn labelled(sandbox: &Sandbox) -> Vec<u8> {
    let capabilities = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0].to_vec();
    let node = Node {
        permissions: 0o755,
        selinux: b"system_u:object_r:bin_t:s0".to_vec(),
        fcaps: capabilities.clone(),
        ..Node::new(Body::File(2))
    };
    sandbox.write("labelled.catar", &node_in_root("file", &node, b"hi"));
    capabilities
}

#[test]
fn capabilities_and_labels_are_shown() {
    if !is_fuse_here("capabilities_and_labels_are_shown") {
        return;
    }
    let sandbox = scene();
    let capabilities = labelled(&sandbox);
    let mounted = Mounted::start(&sandbox, "mount labelled.catar");
    let file = mounted.path("file");
    assert_eq!(value(&file, "security.capability"), Some(capabilities));
    let label = value(&file, "security.selinux").unwrap();
    assert_eq!(label.strip_suffix(b"\0").unwrap_or(&label), b"system_u:object_r:bin_t:s0");
    let mut names = vec![0; 1000];
    let len = llistxattr(&file, &mut names[..]).unwrap();
    for name in ["security.capability", "security.selinux"] {
        let is_listed = names[..len].split(|&byte| byte == 0).any(|one| one == name.as_bytes());
        assert!(is_listed, "{name}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"hi");
    mounted.stop();
}

#[test]
fn owners_are_recorded_shifted_or_given() {
    if !is_fuse_here("owners_are_recorded_shifted_or_given") {
        return;
    }
    let sandbox = scene();
    chown(sandbox.path("tree/text"), Some(1000), Some(70_005)).unwrap();
    pack(&sandbox);
    for (flags, text, empty) in [
        ("", (1000, 70_005), (0, 0)),
        ("--uid-shift 100000", (101_000, 104_469), (100_000, 100_000)),
        ("--uid-shift 100000 --uid-range 4294967296", (101_000, 170_005), (100_000, 100_000)),
        ("--uid-range 100", (0, 5), (0, 0)),
        (
            "--uid-shift 4294967200 --uid-range 4294967296",
            (65_534, 65_534),
            (4_294_967_200, 4_294_967_200),
        ),
        ("--uid 7", (7, 70_005), (7, 0)),
        ("--gid 8 --uid-shift 50", (1050, 8), (50, 8)),
        ("--uid 7 --gid 8", (7, 8), (7, 8)),
    ] {
        let mounted = Mounted::start(&sandbox, &format!("{MOUNT} {flags}"));
        let owner = |name: &str| {
            let found = fs::metadata(mounted.path(name)).unwrap();
            (found.uid(), found.gid())
        };
        assert_eq!((owner("text"), owner("empty"), owner("")), (text, empty, empty), "{flags}");
        mounted.stop();
    }
    sandbox.cairn(&format!("{MOUNT} --uid-range 0 mnt")).misused(&["--uid-range"]);
}
