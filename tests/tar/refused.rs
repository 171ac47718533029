//! What would lose something, or lies, is told.

use std::fs;
use std::path::PathBuf;

use cairn::archive::tar_input::{Options, Source, steps};
use cairn_formats::catar::Acl;
use cairn_formats::flags;
use cairn_formats::tar::{BLOCK, Header, put_record};
use proptest::prelude::*;

use crate::support::{FEATURES, Tree, list, read, refusal, steps_of};

/// A tar in the making.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    /// Adds a member whose header says it has `size` bytes.
    fn sized(mut self, kind: u8, name: &str, link: &str, size: u64, bytes: &[u8]) -> Self {
        let mut header = Header::new(kind);
        header.set_name(name.as_bytes()).set_link(link.as_bytes()).set_owner(0o644, 0, 0);
        self.0.extend_from_slice(header.set_size(size).set_mtime(0).finish());
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
        self
    }

    fn file(self, name: &str, bytes: &[u8]) -> Self {
        self.sized(b'0', name, "", bytes.len() as u64, bytes)
    }

    fn directory(self, name: &str) -> Self {
        self.sized(b'5', name, "", 0, b"")
    }

    fn link(self, name: &str, to: &str) -> Self {
        self.sized(b'1', name, to, 0, b"")
    }

    fn records(self, records: &[(&str, &[u8])]) -> Self {
        let mut bytes = Vec::new();
        for (key, value) in records {
            put_record(&mut bytes, key.as_bytes(), value);
        }
        self.sized(b'x', "x", "", bytes.len() as u64, &bytes)
    }

    fn global(self, key: &str, value: &[u8]) -> Self {
        let mut bytes = Vec::new();
        put_record(&mut bytes, key.as_bytes(), value);
        self.sized(b'g', "g", "", bytes.len() as u64, &bytes)
    }

    fn bytes(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * BLOCK, 0);
        self.0
    }
}

/// What is wrong with a tar, which is told with its own name.
fn why(bytes: &[u8]) -> String {
    let tree = Tree::new();
    let path: PathBuf = tree.beside("bad.tar");
    fs::write(&path, bytes).unwrap();
    let refusal = refusal(&path);
    let (name, why) = refusal.split_once(": ").unwrap();
    assert_eq!(name, path.to_str().unwrap());
    assert!(!why.contains('\n') && why.len() < 2000, "{why}");
    why.to_owned()
}

fn root() -> Tar {
    Tar::default().directory("./")
}

#[test]
fn a_tar_that_lies_is_told_with_the_member() {
    let long = "n".repeat(256);
    let (nul, endless) = (&b"a\0b"[..], vec![b'n'; 70_000]);
    for (tar, expected) in [
        (root().file("../out", b"x"), "member `../out`: `..` in its path"),
        (root().file("a/../b", b"x"), "`..` in its path"),
        (
            root().link("l", "nowhere"),
            "member `l`: it is a link to `nowhere`, which is not in the tar",
        ),
        (root().link("a", "b").link("b", "a"), "which leads back to itself"),
        (root().link("a", "a"), "which leads back to itself"),
        (root().directory("d").link("l", "d"), "`d`, which is a directory"),
        (root().link("l", "d").directory("d"), "`d`, which is a directory"),
        (root().link("l", "../x"), "`..` in its path"),
        (
            root().file("f", b"x").file("f/g", b"y"),
            "member `f/g`: it is in `f`, which is no directory",
        ),
        (
            root().file("d/f", b"x").file("d", b"y"),
            "would replace a directory with something in it",
        ),
        (root().file("d/f", b"x").file("e", b"y").link("d", "e"), "would replace a directory"),
        (root().file(".", b""), "member `.`: the root is no directory"),
        (root().sized(b'0', "f", "", 1 << 30, b"x"), "member `f`: the tar is cut off in it"),
        (root().sized(b'M', "f", "", 0, b""), "member `f`: it begins in another volume"),
        (root().sized(b'Z', "f", "", 0, b""), "member `f`: its kind `Z` is not known"),
        (root().sized(b'2', "l", "", 0, b""), "member `l`: it leads to a path of 0 bytes"),
        (root().sized(b'L', "x", "", 1 << 20, b""), "longer than anything should be"),
        (root().sized(b'x', "x", "", 1 << 32, b""), "longer than anything should be"),
        (root().sized(b'x', "x", "", 5, b"hello"), "a PAX record whose length does not fit"),
        (root().records(&[("path", b"p")]), "ends where a member is announced"),
        (root().records(&[("path", nul)]).file("f", b""), "a NUL in its path"),
        (root().records(&[("path", long.as_bytes())]).file("f", b""), "a name of 256 bytes"),
        (root().records(&[("path", &endless)]).file("f", b""), "its path has 70000 bytes"),
        (root().records(&[("size", b"-1")]).file("f", b""), "member `f`: its size is -1"),
        (root().records(&[("size", b"x")]).file("f", b""), "its size is no number"),
        (root().records(&[("size", b"18446744073709551615")]).file("f", b""), "cut off in it"),
        (root().records(&[("uid", b"4294967296")]).file("f", b""), "its uid is 4294967296"),
        (root().records(&[("uid", b"65535")]).file("f", b""), "65535 cannot be recorded"),
        (root().records(&[("mtime", b"soon")]).file("f", b""), "its mtime is no time"),
        (root().records(&[("mtime", b"99999999999")]).file("f", b""), "its mtime is further away"),
        (root().records(&[("linkpath", &endless)]).sized(b'2', "l", "", 0, b""), "70000 bytes"),
        (root().records(&[("SCHILY.acl.access", b"u::z")]).file("f", b""), "is no entry of an ACL"),
        (
            root().records(&[("LIBARCHIVE.xattr.a", b"?")]).file("f", b""),
            "member `f`: an attribute",
        ),
        (root().records(&[("SCHILY.xattr.a", &endless)]).file("f", b""), "longer than an archive"),
    ] {
        let why = why(&tar.bytes());
        assert!(why.contains(expected), "{expected}: {why}");
    }
}

#[test]
fn maps_of_holes_that_lie_are_told() {
    let sparse = |records: &[(&str, &[u8])], bytes: &[u8]| {
        why(&root().records(records).file("GNUSparseFile.0/f", bytes).bytes())
    };
    let new: &[(&str, &[u8])] =
        &[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.name", b"f")];
    let sized = [new, &[("GNU.sparse.realsize", b"1000")]].concat();
    let map = |text: &str, data: &[u8]| {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(BLOCK, 0);
        [&bytes[..], data].concat()
    };
    let list = |list: &'static [u8]| {
        [("GNU.sparse.size", &b"1000"[..]), ("GNU.sparse.name", b"f"), ("GNU.sparse.map", list)]
    };
    let other = [("GNU.sparse.major", &b"2"[..]), ("GNU.sparse.minor", b"0")];
    for (why, expected) in [
        (sparse(&sized, &map("1\n0\n5\n", b"data")), "more bytes than it"),
        (sparse(&sized, &map("1\n0\n3\n", b"data")), "fewer bytes than it"),
        (sparse(&sized, &map("1\n997\n4\n", b"data")), "not in order"),
        (sparse(&sized, &map("2\n8\n2\n0\n2\n", b"data")), "not in order"),
        (sparse(&sized, &map("1\n18446744073709551615\n4\n", b"data")), "not in order"),
        (sparse(&sized, &map("99\n0\n", b"data")), "map of holes is wrong"),
        (sparse(&sized, &map("x\n", b"data")), "map of holes is wrong"),
        (sparse(&sized, b""), "map of holes is wrong"),
        (sparse(new, &map("1\n0\n4\n", b"data")), "GNU.sparse.realsize is no number"),
        (sparse(&other, b""), "in a form that is not known"),
        (sparse(&list(b"0,1,2"), b"data"), "map of holes is wrong"),
        (sparse(&list(b"0,1,1,9"), b"data"), "more bytes than it"),
    ] {
        assert!(why.contains(expected) && why.contains("member `"), "{expected}: {why}");
    }
}

#[test]
fn a_tar_cut_anywhere_is_told() {
    let tree = Tree::new();
    tree.add_plain();
    tree.add_full();
    let bytes = fs::read(tree.tar("whole.tar", &["--format=pax", "--xattrs", "."])).unwrap();
    let end = bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    let end = end.next_multiple_of(BLOCK);
    let options = Options { features: FEATURES, is_root_added: false };
    let is_read = |len: usize| {
        let source = Source::of_stream(&bytes[..len], "cut".as_ref()).unwrap();
        steps(&source, &options).is_ok_and(|steps| steps.into_iter().all(|step| step.is_ok()))
    };
    for len in (0..end).step_by(61).chain((0..=end).step_by(BLOCK)) {
        assert!(!is_read(len), "{len} of {end} bytes");
    }
    // One block of zeros is an end.
    assert!(is_read(end + BLOCK) && is_read(bytes.len()));
}

#[test]
fn a_damaged_header_is_told() {
    let good = root().file("a", b"x").file("b", b"y").bytes();
    for at in [0, BLOCK, BLOCK + 100, 3 * BLOCK + 150] {
        let mut bytes = good.clone();
        bytes[at] ^= 0x11;
        let why = why(&bytes);
        let expected = if at == 0 { "not a tar" } else { "the tar is damaged" };
        assert!(why.contains(expected), "byte {at}: {why}");
    }
    let mut bytes = good;
    bytes[BLOCK..2 * BLOCK].fill(0);
    assert!(why(&bytes).contains("lone block of zeros"));
    assert!(why(b"").contains("too short"));
    assert!(why(&[7; 4096]).contains("not a tar"));
    assert!(why(b"BZh91AY&SY").contains("not a tar"));
}

#[test]
fn leading_slashes_are_dropped() {
    let tree = Tree::new();
    let path = tree.beside("absolute.tar");
    let tar = root().file("/etc/file", b"x").link("//etc/link", "/etc/file");
    fs::write(&path, tar.bytes()).unwrap();
    let nodes = read(&path, FEATURES);
    assert_eq!(nodes[&b"etc/file"[..]], nodes[&b"etc/link"[..]]);
}

#[test]
fn very_deep_trees_are_read() {
    let tree = Tree::new();
    let path = tree.beside("deep.tar");
    let deep = "d/".repeat(20_000);
    let tar = root().records(&[("path", deep.as_bytes())]).directory("d");
    fs::write(&path, tar.bytes()).unwrap();
    let options = Options { features: FEATURES, is_root_added: false };
    assert_eq!(steps_of(&path, &options).unwrap().len(), 2 * 20_001);
}

/// Each member has all that is said of all, in an archive as in memory.
#[test]
fn much_that_is_said_of_all_members_is_refused() {
    let global = |key: &str, len| root().global(key, &vec![b'v'; len]).file("f", b"");
    let refused = why(&global("comment", 20_000).bytes());
    assert!(refused.contains("records for all members of 20007 bytes"), "{refused}");
    let mut many = root();
    for n in 0..2000 {
        many = many.global(&format!("SCHILY.xattr.user.{n:04}"), b"v");
    }
    assert!(why(&many.file("f", b"").bytes()).contains("records for all members of"));
    for key in ["path", "linkpath", "GNU.sparse.map"] {
        let refused = why(&global(key, 5).bytes());
        assert!(refused.contains(&format!("a `{key}` for all members")), "{refused}");
    }
    // The same again takes the place of what was said.
    let (tree, mut again) = (Tree::new(), root());
    for n in 0..2000 {
        again = again.global("comment", format!("{n}").repeat(1000).as_bytes());
    }
    let path = tree.beside("again.tar");
    fs::write(&path, again.global("mtime", b"5").file("f", b"").bytes()).unwrap();
    assert_eq!(read(&path, FEATURES)[&b"f"[..]].0.mtime, 5_000_000_000);
}

#[test]
fn lists_that_are_not_recorded_are_not_looked_at() {
    let unknown = b"user::rw-,user:nobody-has-it:r--,group::r--,mask::r--,other::---";
    let entries = [(1, 6, u32::MAX), (2, 4, 65535), (4, 4, u32::MAX), (16, 4, u32::MAX)];
    let list = list(&[&entries[..], &[(32, 0, u32::MAX)]].concat());
    let no_list = [9; 5];
    for (key, value, expected) in [
        ("SCHILY.acl.access", &unknown[..], "is no entry of an ACL"),
        ("SCHILY.xattr.system.posix_acl_access", &list, "65535 cannot be recorded"),
        ("SCHILY.xattr.system.posix_acl_access", &no_list, "member `f`"),
    ] {
        let tree = Tree::new();
        let path = tree.beside("lists.tar");
        fs::write(&path, root().records(&[(key, value)]).file("f", b"").bytes()).unwrap();
        let refused = refusal(&path);
        assert!(refused.contains(expected), "{refused}");
        let (file, _) = &read(&path, FEATURES & !flags::ACL)[&b"f"[..]];
        assert_eq!((&file.acl, &file.xattrs[..]), (&Acl::default(), &[][..]));
    }
}

#[test]
fn directories_that_do_not_come_are_not_made_without_end() {
    let mut tar = root();
    for n in 0..4 {
        let path = format!("{n}/{}f", "d/".repeat(30_000));
        tar = tar.records(&[("path", path.as_bytes())]).file("f", b"");
    }
    let why = why(&tar.bytes());
    assert!(why.contains("too many directories that do not come"), "{why}");
}

#[test]
fn maps_longer_than_anything_are_not_read_into_memory() {
    let size = 40 << 20;
    let records: &[(&str, &[u8])] =
        &[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"1000")];
    let map = [&b"99999999\n"[..], &b"0\n".repeat(size / 2)].concat();
    let why = why(&root().records(records).file("f", &map).bytes());
    assert!(why.contains("map of holes is longer than anything"), "{why}");
}

/// A tar with all that is not simple.
fn intricate() -> Vec<u8> {
    let tree = Tree::new();
    tree.add_plain();
    tree.add_long();
    tree.add_full();
    fs::File::create(tree.path("hole")).unwrap().set_len(1 << 16).unwrap();
    let gnu = fs::read(tree.tar("gnu.tar", &["--format=gnu", "--sparse", "."])).unwrap();
    let pax = ["--format=pax", "--xattrs", "--acls", "--sparse", "."];
    let pax = fs::read(tree.tar("pax.tar", &pax)).unwrap();
    let end = gnu.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    [&gnu[..end.next_multiple_of(BLOCK)], &pax].concat()
}

#[test]
fn damage_never_does_worse_than_being_told() {
    let good = intricate();
    let options = Options { features: FEATURES, is_root_added: true };
    let damage = proptest::collection::vec((any::<usize>(), any::<u8>()), 1..4);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(2000));
    let result = runner.run(&damage, |damage| {
        let mut bytes = good.clone();
        for (at, byte) in damage {
            let at = at % bytes.len();
            let was_header = Header::parse(bytes[at / BLOCK * BLOCK..].first_chunk().unwrap());
            bytes[at] = byte;
            if was_header.is_some() && !(148..156).contains(&(at % BLOCK)) {
                // A sum that fits, or nothing behind it would ever be looked at.
                let block = &mut bytes[at / BLOCK * BLOCK..][..BLOCK];
                block[148..156].fill(b' ');
                let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
                block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
        }
        let source = Source::of_stream(&bytes[..], "damaged".as_ref()).unwrap();
        if let Ok(steps) = steps(&source, &options) {
            steps.take_while(Result::is_ok).for_each(drop);
        }
        Ok(())
    });
    result.unwrap();
}
