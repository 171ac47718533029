//! What is written is read by GNU tar and Python.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use cairn::archive::step::{Content, Named, Step};
use cairn::archive::tar_input::Options;
use cairn::archive::tar_output::{Stats, to_tar};
use cairn_formats::catar::{Body, Decoder, Node};

use crate::read::assert_same;
use crate::support::{FEATURES, Tree, is_root, packed, read, recorded, run, steps_of, written};

/// A tree with everything, and the archive of it.
fn everything() -> (Tree, Vec<u8>) {
    let tree = Tree::new();
    tree.add_plain();
    tree.add_specials();
    tree.add_long();
    tree.add_full();
    let arguments = ["--format=pax", "--xattrs", "--xattrs-include=*", "--acls", "--selinux", "."];
    let tar = tree.tar("first.tar", &arguments);
    let options = Options { features: FEATURES, is_root_added: false };
    let archive = packed(&steps_of(&tar, &options).unwrap(), FEATURES);
    (tree, archive)
}

#[test]
fn a_tree_that_gnu_tar_extracts_is_the_same() {
    let (tree, archive) = everything();
    let path = tree.beside("written.tar");
    let stats = written(&archive, &path);
    let expected = recorded(&tree.root(), FEATURES);
    assert_eq!((stats.members as usize, stats.left_out.len()), (expected.len(), 0));
    assert_eq!(stats.bytes, expected.values().map(|(node, _)| node.size()).sum::<u64>());
    assert_same(&read(&path, FEATURES), &expected);
    if !is_root() {
        // Only root can give files to others.
        return;
    }
    let target = tree.beside("extracted");
    fs::create_dir(&target).unwrap();
    let mut command = Command::new("tar");
    command.arg("-xpf").arg(&path).arg("-C").arg(&target);
    command.args(["--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls"]);
    run(&mut command);
    assert_same(&recorded(&target, FEATURES), &expected);
}

#[test]
fn gnu_tar_has_nothing_to_say_about_it() {
    let (tree, archive) = everything();
    let path = tree.beside("written.tar");
    written(&archive, &path);
    let output = Command::new("tar").arg("-tvf").arg(&path).output().unwrap();
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // What is not UTF-8 is told in a record that only others know.
    let said: Vec<&str> = said.lines().filter(|line| !line.contains("hdrcharset")).collect();
    assert!(said.is_empty(), "{said:?}");
    let bytes = fs::read(&path).unwrap();
    assert!(bytes.len().is_multiple_of(512) && bytes.ends_with(&[0; 1024]));
    assert!(bytes.starts_with(b"./"));
}

#[test]
fn the_same_archive_is_the_same_tar() {
    let (tree, archive) = everything();
    let paths = [tree.beside("1.tar"), tree.beside("2.tar")];
    for path in &paths {
        written(&archive, path);
    }
    assert!(fs::read(&paths[0]).unwrap() == fs::read(&paths[1]).unwrap());
}

#[test]
fn python_reads_it() {
    const SCRIPT: &str = r#"
import sys, tarfile
tar = tarfile.open(sys.argv[1], errors="surrogateescape")
for member in tar:
    data = tar.extractfile(member).read() if member.isreg() else b""
    print(ascii(member.name), member.type.decode(), oct(member.mode), member.uid, member.gid, len(data), member.mtime, ascii(member.linkname), member.devmajor, member.devminor, sep="|")
"#;
    let (tree, archive) = everything();
    let path = tree.beside("written.tar");
    written(&archive, &path);
    let said = run(Command::new("python3").args(["-c", SCRIPT]).arg(&path));
    let rows: Vec<Vec<&str>> = said.lines().map(|line| line.split('|').collect()).collect();
    let expected = recorded(&tree.root(), FEATURES);
    assert_eq!(rows.len(), expected.len());
    let row = |name: &str| {
        let name = format!("'{name}'");
        rows.iter().find(|row| row[0] == name).unwrap_or_else(|| panic!("{name} in {said}"))[1..]
            .to_vec()
    };
    assert_eq!(row("link")[0], "2");
    assert_eq!(row("link")[6], "'b/c/deep'");
    assert_eq!(row("empty")[..2], ["0", "0o4755"]);
    assert_eq!(row(&"f".repeat(120))[4], "1");
    assert_eq!(row("before 1970")[5].parse::<f64>().unwrap(), -1_000_000_001.0);
    assert_eq!(row("times")[5].parse::<f64>().unwrap(), -4.999_999_999);
    assert_eq!(row("pipe")[0], "6");
    if is_root() {
        assert_eq!(row("null")[7..], ["1", "3"]);
        assert_eq!((row("disk")[0], &row("disk")[7..]), ("4", &["259", "70000"][..]));
        assert_eq!(row("of somebody")[2..4], ["3000000", "2147483648"]);
    }
}

#[test]
fn sockets_are_left_out_and_told() {
    let tree = Tree::new();
    tree.file("d/file", b"x");
    let _listener = UnixListener::bind(tree.path("d/socket")).unwrap();
    let node = |name: &[u8], node, content| {
        Step::Node(Box::new(Named { name: name.to_vec(), node, content }))
    };
    let steps = [
        node(b"", Node::new(Body::Directory), Content::None),
        node(b"d", Node { projid: 7, ..Node::new(Body::Directory) }, Content::None),
        node(b"file", Node::new(Body::File(1)), Content::Bytes(b"x".to_vec())),
        node(b"socket", Node::new(Body::Socket), Content::None),
        Step::Leave,
        Step::Leave,
    ];
    let path = tree.beside("written.tar");
    let stats = written(&packed(&steps, FEATURES), &path);
    let left_out = vec![b"d/socket".to_vec()];
    assert_eq!(stats, Stats { members: 3, bytes: 1, left_out, reduced: 1 });
    assert_eq!(read(&path, FEATURES).len(), 3);
}

#[test]
fn what_is_no_whole_archive_is_told() {
    let (_tree, archive) = everything();
    for len in (0..archive.len()).step_by(97) {
        assert!(to_tar(&mut Decoder::new(&archive[..len]), &mut Vec::new()).is_err(), "{len}");
    }
    let file = Step::Node(Box::new(Named {
        name: Vec::new(),
        node: Node::new(Body::File(0)),
        content: Content::None,
    }));
    let archive = packed(&[file], FEATURES);
    let error = to_tar(&mut Decoder::new(&archive[..]), &mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("one file without a name"), "{error}");
}

#[test]
fn a_full_disk_is_told() {
    let (_tree, archive) = everything();
    let mut full = fs::OpenOptions::new().write(true).open(Path::new("/dev/full")).unwrap();
    let error = to_tar(&mut Decoder::new(&archive[..]), &mut full).unwrap_err();
    assert!(error.to_string().contains("write the tar"), "{error}");
}
