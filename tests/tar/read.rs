//! What GNU tar and Python write is read.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use cairn::archive::step::{Content, Piece, Step};
use cairn::archive::tar_input::{Options, Source, steps};
use cairn_formats::catar::{Body, Xattr};
use cairn_formats::flags;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::{DESYNC, FEATURES, Nodes, Tree, nodes, read, recorded, run, steps_of};

/// Says which node differs, and not all of both trees.
pub fn assert_same(actual: &Nodes, expected: &Nodes) {
    for (path, (node, bytes)) in expected {
        let path_text = String::from_utf8_lossy(path);
        let Some((actual_node, actual_bytes)) = actual.get(path) else {
            panic!("`{path_text}` is missing")
        };
        assert_eq!(actual_node, node, "`{path_text}`");
        assert!(actual_bytes == bytes, "the bytes of `{path_text}`");
    }
    let unexpected: Vec<_> = actual.keys().filter(|path| !expected.contains_key(*path)).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
}

const ALL_OF_IT: [&str; 4] = ["--xattrs", "--xattrs-include=*", "--acls", "--selinux"];

#[test]
fn every_dialect_of_gnu_tar_is_what_it_was_made_of() {
    let tree = Tree::new();
    tree.add_plain();
    tree.floor_times();
    // The oldest tars have no names of owners.
    let of_v7 = FEATURES & !flags::USER_NAMES & !flags::ACL | flags::PERMISSIONS;
    let tar = tree.tar("v7.tar", &["--format=v7", "."]);
    assert_same(&read(&tar, of_v7), &recorded(&tree.root(), of_v7));
    tree.add_specials();
    tree.floor_times();
    let tar = tree.tar("ustar.tar", &["--format=ustar", "."]);
    assert_same(&read(&tar, FEATURES), &recorded(&tree.root(), FEATURES));
    tree.add_long();
    tree.floor_times();
    for format in ["--format=oldgnu", "--format=gnu", "--format=pax"] {
        for more in [&[][..], &["--hard-dereference"], &["--numeric-owner"]] {
            // Without names those of the system are not asked for.
            let features = if more.is_empty() { FEATURES } else { FEATURES & !flags::USER_NAMES };
            let tar = tree.tar("more.tar", &[&[format], more, &["."]].concat());
            assert_same(&read(&tar, features), &recorded(&tree.root(), features));
        }
    }
    tree.add_full();
    let tar = tree.tar("full.tar", &[&["--format=pax"], &ALL_OF_IT[..], &["."]].concat());
    for features in [FEATURES, flags::normalised(FEATURES | flags::SEC_TIME) & !flags::NSEC_TIME] {
        assert_same(&read(&tar, features), &recorded(&tree.root(), features));
    }
    let mut desync = read(&tar, DESYNC);
    let mut expected = recorded(&tree.root(), DESYNC);
    for nodes in [&mut desync, &mut expected] {
        nodes.values_mut().for_each(|(node, _)| node.user.clear());
    }
    assert_same(&desync, &expected);
}

#[test]
fn nothing_is_kept_that_the_feature_word_does_not_name() {
    let tree = Tree::new();
    tree.add_plain();
    tree.add_specials();
    tree.add_full();
    let tar = tree.tar("full.tar", &[&["--format=pax"], &ALL_OF_IT[..], &["."]].concat());
    for features in [0, flags::SYMLINKS, flags::XATTRS | flags::USEC_TIME, flags::READ_ONLY] {
        assert_same(&read(&tar, features), &recorded(&tree.root(), features));
    }
    assert!(!read(&tar, 0).contains_key(&b"link"[..]));
    assert!(read(&tar, flags::SYMLINKS).contains_key(&b"link"[..]));
}

#[test]
fn holes_stay_holes_in_every_form() {
    let tree = Tree::new();
    let file = |name: &str, len: u64, data: &[u64]| {
        let file = File::create(tree.path(name)).unwrap();
        file.set_len(len).unwrap();
        for &at in data {
            std::os::unix::fs::FileExt::write_all_at(&file, &[b'x'; 4096], at).unwrap();
        }
    };
    file("hole", 1 << 20, &[]);
    file("ends with data", 1 << 20, &[(1 << 20) - 4096]);
    file("begins with data", 1 << 20, &[0]);
    file("odd", (1 << 20) + 7, &[65536, 262_144]);
    // More than the header has room for, and than one block behind it.
    file("many", 8 << 20, &(0..100).map(|n| n * 65536).collect::<Vec<_>>());
    tree.floor_times();
    let expected = recorded(&tree.root(), FEATURES);
    for form in [
        &["--format=gnu"][..],
        &["--format=oldgnu"],
        &["--format=pax", "--sparse-version=0.0"],
        &["--format=pax", "--sparse-version=0.1"],
        &["--format=pax", "--sparse-version=1.0"],
    ] {
        let tar = tree.tar("sparse.tar", &[form, &["--sparse", "."]].concat());
        assert!(fs::metadata(&tar).unwrap().len() < 2 << 20, "{form:?}");
        let options = Options { features: FEATURES, is_root_added: false };
        let steps = steps_of(&tar, &options).unwrap();
        assert_same(&nodes(&steps), &expected);
        let zeros = |piece: &Piece| matches!(piece, Piece::Zeros(_));
        let holes = steps.iter().filter(|step| {
            let Step::Node(named) = step else { return false };
            matches!(&named.content, Content::Pieces(_, pieces) if pieces.iter().any(zeros))
        });
        assert_eq!(holes.count(), 5, "{form:?}");
    }
}

#[test]
fn members_may_come_in_any_order() {
    let tree = Tree::new();
    tree.add_plain();
    tree.floor_times();
    let expected = recorded(&tree.root(), FEATURES);
    let paths = run(Command::new("find").current_dir(tree.root()).args([".", "-print0"]));
    let mut paths: Vec<&str> = paths.split_terminator('\0').collect();
    paths.reverse();
    for turn in [0, 3, 7] {
        paths.rotate_left(turn);
        let tar = tree.tar("turned.tar", &[&["--no-recursion", "--"], &paths[..]].concat());
        assert_same(&read(&tar, FEATURES), &expected);
    }
}

#[test]
fn the_last_of_a_name_is_the_one() {
    let tree = Tree::new();
    tree.file("a", b"first");
    tree.file("d/f", b"1");
    let tar = tree.tar("again.tar", &["."]);
    let append = |paths: &[&str]| {
        let mut command = Command::new("tar");
        run(command.current_dir(tree.root()).arg("-rf").arg(&tar).args(paths));
    };
    fs::hard_link(tree.path("a"), tree.path("twin")).unwrap();
    append(&["twin", "a"]);
    fs::remove_file(tree.path("a")).unwrap();
    tree.file("a", b"second, and longer");
    append(&["a"]);
    let nodes = read(&tar, FEATURES);
    assert_eq!(nodes[&b"a"[..]].1, b"second, and longer");
    assert_eq!(nodes[&b"d/f"[..]].1, b"1");
    // A link is to what was there when it came.
    assert_eq!(nodes[&b"twin"[..]].1, b"first");
}

#[test]
fn a_directory_that_does_not_come_is_made() {
    let tree = Tree::new();
    tree.file("a/b/f", b"x");
    let nodes = read(&tree.tar("some.tar", &["./a/b/f"]), FEATURES);
    let (made, _) = &nodes[&b""[..]];
    assert_eq!((made.permissions, made.mtime, made.uid), (0o755, 0, 0));
    // The only directory at the top is the root.
    assert_eq!(nodes.keys().map(|path| &path[..]).collect::<Vec<_>>(), [&b""[..], b"b", b"b/f"]);
}

#[test]
fn a_root_is_there_or_is_asked_for() {
    let tree = Tree::new();
    tree.file("d/f", b"x");
    tree.file("e", b"y");
    let one = tree.tar("one.tar", &["d"]);
    let two = tree.tar("two.tar", &["d", "e"]);
    let file = tree.tar("file.tar", &["e"]);
    let none = tree.tar("none.tar", &["-T", "/dev/null"]);
    let options = |is_root_added| Options { features: FEATURES, is_root_added };
    let names = |tar: &Path, is_root_added| {
        let steps = steps_of(tar, &options(is_root_added)).map_err(|e| e.to_string())?;
        Ok(nodes(&steps).into_keys().map(|path| String::from_utf8(path).unwrap()).collect())
    };
    let is = |names: &[&str]| Ok(names.iter().map(|&name| name.to_owned()).collect());
    let refused = |tar: &Path| {
        let refusal: Result<Vec<String>, String> = names(tar, false);
        let refusal = refusal.unwrap_err();
        assert!(refusal.contains("--tar-add-root"), "{refusal}");
    };
    assert_eq!(names(&one, false), is(&["", "f"]));
    assert_eq!(names(&one, true), is(&["", "d", "d/f"]));
    assert_eq!(names(&two, true), is(&["", "d", "d/f", "e"]));
    assert_eq!(names(&file, true), is(&["", "e"]));
    assert_eq!(names(&none, true), is(&[""]));
    refused(&two);
    refused(&file);
    refused(&none);
    let added = nodes(&steps_of(&two, &options(true)).unwrap());
    let (root, _) = &added[&b""[..]];
    assert_eq!((root.permissions, root.mtime), (0o755, 0));
}

#[test]
fn streams_and_compressed_tars_are_unpacked_first() {
    let tree = Tree::new();
    tree.add_plain();
    let tar = tree.tar("plain.tar", &["."]);
    let expected = read(&tar, FEATURES);
    let bytes = fs::read(&tar).unwrap();
    let (first, second) = bytes.split_at(5000);
    let gzip = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let xz = |bytes: &[u8]| liblzma::encode_all(bytes, 1).unwrap();
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    // One stream, and several one after the other.
    let all = [
        ("gz", gzip(&bytes)),
        ("gz", [gzip(first), gzip(second)].concat()),
        ("xz", xz(&bytes)),
        ("xz", [xz(first), xz(second)].concat()),
        ("zst", zstd(&bytes)),
        ("zst", [zstd(first), zstd(second)].concat()),
    ];
    let options = Options { features: FEATURES, is_root_added: false };
    for (ending, packed) in all {
        let path = tree.beside(&format!("packed.tar.{ending}"));
        fs::write(&path, &packed).unwrap();
        assert_same(&read(&path, FEATURES), &expected);
        for len in [packed.len() / 2, packed.len() - 1] {
            let cut = Source::of_stream(&packed[..len], Path::new("cut"));
            assert!(cut.is_err(), "{ending}, {len} of {} bytes", packed.len());
        }
    }
    let source = Source::of_stream(&bytes[..], Path::new("stream")).unwrap();
    let streamed: Vec<Step> = steps(&source, &options).unwrap().map(Result::unwrap).collect();
    assert_same(&nodes(&streamed), &expected);
}

#[test]
fn a_tar_may_begin_within_a_file() {
    let tree = Tree::new();
    tree.add_plain();
    let tar = tree.tar("plain.tar", &["."]);
    let path = tree.beside("behind");
    fs::write(&path, [&b"something else"[..], &fs::read(&tar).unwrap()].concat()).unwrap();
    let mut file = File::open(&path).unwrap();
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(14)).unwrap();
    let source = Source::of_file(file, &path).unwrap();
    let options = Options { features: FEATURES, is_root_added: false };
    let steps: Vec<Step> = steps(&source, &options).unwrap().map(Result::unwrap).collect();
    assert_same(&nodes(&steps), &read(&tar, FEATURES));
}

/// Records of other programs than GNU tar, and for all members.
#[test]
fn what_python_writes_is_read() {
    const SCRIPT: &str = r#"
import io, sys, tarfile
tar = tarfile.open(sys.argv[1], "w", format=tarfile.PAX_FORMAT, pax_headers={"gname": "staff", "comment": "c", "SCHILY.xattr.user.all": "1"})
def add(name, kind, data=b"", linkname="", **headers):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname, info.gid, info.mtime = kind, len(data), linkname, 50, 7
    info.pax_headers = headers
    tar.addfile(info, io.BytesIO(data))
add("./", tarfile.DIRTYPE)
add("/forward", tarfile.LNKTYPE, linkname="./chain")
add("chain", tarfile.LNKTYPE, linkname="/sub//file")
add("./sub/./file", tarfile.REGTYPE, b"data", **{"LIBARCHIVE.xattr.user.a%20b": "dmFsdWU", "gname": "own", "mtime": "-1.25", "SCHILY.xattr.user.all": ""})
add("old/", tarfile.AREGTYPE)
add("cont", tarfile.CONTTYPE, b"contiguous")
tar.close()
"#;
    let tree = Tree::new();
    let path = tree.beside("python.tar");
    run(Command::new("python3").args(["-c", SCRIPT]).arg(&path));
    let nodes = read(&path, FEATURES);
    let (file, bytes) = &nodes[&b"sub/file"[..]];
    assert_eq!(bytes, b"data");
    assert_eq!((&file.group[..], file.gid, file.mtime), (&b"own"[..], 50, -1_250_000_000));
    // An attribute may be empty, so it takes back nothing.
    let xattr = |name: &str, value: &[u8]| Xattr { name: name.into(), value: value.to_vec() };
    assert_eq!(file.xattrs, [xattr("user.a b", b"value"), xattr("user.all", b"")]);
    for link in [&b"forward"[..], b"chain"] {
        assert_eq!(nodes[link], nodes[&b"sub/file"[..]]);
    }
    assert_eq!(nodes[&b"cont"[..]].1, b"contiguous");
    let (old, _) = &nodes[&b"old"[..]];
    assert_eq!((&old.body, &old.group[..], old.xattrs.len()), (&Body::Directory, &b"staff"[..], 1));
    assert_eq!(nodes[&b"sub"[..]].0.xattrs, []);
}
