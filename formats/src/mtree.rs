//! Nodes as lines of text, in the form of mtree(5).
//!
//! ```text
//! desync  path type=file mode=0644 uid=0 gid=0 size=5 time=1700000000.000000000 sha512256digest=...
//! casync  path type=file mode=0644 size=5 uid=0 gid=0 uname=root gname=root flags=... time=... sha512256digest=...
//! ```
//! desync's form has a first line of its own, [`HEADER`], and the same keys whatever the archive records; in
//! casync's, only what is recorded is said. In three things the lines are other than theirs: times before
//! 1970 are less than 0, desync's character devices are no block devices and its modes have all twelve bits, and
//! casync's flags stand only where there can be any.

use std::fmt::Write;

use crate::catar::{Body, Node};
use crate::{ChunkId, Digest, flags};

/// The first line of desync's form.
pub const HEADER: &str = "#mtree v1.0";

const NANOS: i64 = 1_000_000_000;

/// Whose lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As `desync mtree` prints them.
    Desync,
    /// As `casync mtree` prints them.
    Casync,
}

/// The line of a node in an archive with this feature word, without a line break; that of a file also
/// without the digest, which [`digest_word`] is to follow.
pub fn line(form: Form, path: &[u8], node: &Node, features: u64) -> String {
    let mut line = if path.is_empty() { ".".to_owned() } else { escaped(path) };
    let mut add = |word: String| {
        line.push(' ');
        line.push_str(&word);
    };
    add(format!("type={}", kind(&node.body)));
    add(format!("mode={:04o}", node.permissions));
    match form {
        Form::Desync => {
            if let Body::Symlink(target) = &node.body {
                add(format!("target={}", escaped(target)));
            }
            add(format!("uid={} gid={}", node.uid, node.gid));
            if let Body::File(size) = node.body {
                add(format!("size={size}"));
            }
            add(format!("time={}", time(node.mtime)));
        }
        Form::Casync => casync_words(node, features, &mut add),
    }
    line
}

/// What ends the line of a file: the digest of its bytes, with a blank before it.
pub fn digest_word(features: u64, digest: &ChunkId) -> String {
    match flags::digest(features) {
        Digest::Sha512_256 => format!(" sha512256digest={digest}"),
        Digest::Sha256 => format!(" sha256digest={digest}"),
    }
}

/// What casync says between the mode and the digest.
fn casync_words(node: &Node, features: u64, add: &mut dyn FnMut(String)) {
    match &node.body {
        Body::File(size) => add(format!("size={size}")),
        Body::Symlink(target) => add(format!("link={}", escaped(target))),
        Body::Block { major, minor } | Body::Character { major, minor } => {
            add(format!("device=linux,{major},{minor}"));
        }
        Body::Directory | Body::Fifo | Body::Socket => {}
    }
    if features & (flags::UIDS_16BIT | flags::UIDS_32BIT) != 0 {
        add(format!("uid={} gid={}", node.uid, node.gid));
    }
    if features & flags::USER_NAMES != 0 {
        for (key, name) in [("uname", user(node)), ("gname", group(node))] {
            if !name.is_empty() {
                add(format!("{key}={}", escaped(name)));
            }
        }
    }
    if matches!(node.body, Body::File(_) | Body::Directory) {
        let attributes = [
            (flags::FLAG_HIDDEN, "hidden"),
            (flags::FLAG_SYSTEM, "system"),
            (flags::FLAG_ARCHIVE, "archive"),
            (flags::FLAG_APPEND, "sappend"),
            (flags::FLAG_IMMUTABLE, "simmutable"),
        ];
        let words: Vec<String> = attributes
            .into_iter()
            .filter(|(bit, _)| features & bit != 0)
            .map(
                |(bit, name)| {
                    if node.attributes & bit == 0 { format!("no{name}") } else { name.to_owned() }
                },
            )
            .collect();
        if !words.is_empty() {
            add(format!("flags={}", words.join(",")));
        }
    }
    if features & flags::TIMES != 0 {
        add(format!("time={}", time(node.mtime)));
    }
}

/// The name of the owner. That of number 0 is not recorded where names are.
pub fn user(node: &Node) -> &[u8] {
    if node.user.is_empty() && node.uid == 0 { b"root" } else { &node.user }
}

/// The name of the group, as [`user`].
pub fn group(node: &Node) -> &[u8] {
    if node.group.is_empty() && node.gid == 0 { b"root" } else { &node.group }
}

/// What mtree(5) calls a kind of node.
pub fn kind(body: &Body) -> &'static str {
    match body {
        Body::Directory => "dir",
        Body::File(_) => "file",
        Body::Symlink(_) => "link",
        Body::Block { .. } => "block",
        Body::Character { .. } => "char",
        Body::Fifo => "fifo",
        Body::Socket => "socket",
    }
}

/// Seconds since 1970 and nine digits of their fraction, which counts onwards also before 1970.
pub fn time(nanos: i64) -> String {
    format!("{}.{:09}", nanos.div_euclid(NANOS), nanos.rem_euclid(NANOS))
}

/// A name in which all that is no printable ASCII stands as a backslash and three octal digits, and so do blanks,
/// backslashes and number signs.
pub fn escaped(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for &byte in name {
        if byte <= b' ' || byte >= 0x7f || byte == b'\\' || byte == b'#' {
            write!(text, "\\{byte:03o}").expect("strings take all");
        } else {
            text.push(byte.into());
        }
    }
    text
}

/// Type and permissions as `ls` prints them, and casync, which does not show a sticky bit where others may not
/// execute.
pub fn permissions(node: &Node) -> String {
    let mut text = String::with_capacity(10);
    text.push(match node.body {
        Body::Directory => 'd',
        Body::File(_) => '-',
        Body::Symlink(_) => 'l',
        Body::Block { .. } => 'b',
        Body::Character { .. } => 'c',
        Body::Fifo => 'p',
        Body::Socket => 's',
    });
    let mode = node.permissions;
    for (shift, special, marks) in [(6, 0o4000, "sS"), (3, 0o2000, "sS"), (0, 0o1000, "tT")] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        let may_run = bits & 1 != 0;
        text.push_str(match (mode & special != 0, may_run) {
            (true, true) => &marks[..1],
            (true, false) => &marks[1..],
            (false, true) => "x",
            (false, false) => "-",
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(body: Body) -> Node {
        Node { permissions: 0o4751, uid: 7, mtime: 1_700_000_000_000_000_012, ..Node::new(body) }
    }

    #[test]
    fn desyncs_lines_are_those_of_desync_but_for_its_slips() {
        let features = 0xb000_0000_1000_1f22;
        let id = Digest::Sha512_256.hash(b"abc");
        for (body, content, expected) in [
            (
                Body::Directory,
                None,
                "type=dir mode=4751 uid=7 gid=0 time=1700000000.000000012".to_owned(),
            ),
            (
                Body::File(3),
                Some(&id),
                format!(
                    "type=file mode=4751 uid=7 gid=0 size=3 time=1700000000.000000012 sha512256digest={id}"
                ),
            ),
            (
                Body::Symlink(b"a b".to_vec()),
                None,
                "type=link mode=4751 target=a\\040b uid=7 gid=0 time=1700000000.000000012"
                    .to_owned(),
            ),
            (
                Body::Character { major: 1, minor: 3 },
                None,
                "type=char mode=4751 uid=7 gid=0 time=1700000000.000000012".to_owned(),
            ),
        ] {
            let digest = content.map(|id| digest_word(features, id)).unwrap_or_default();
            let line = line(Form::Desync, b"p", &node(body), features);
            assert_eq!(line + &digest, format!("p {expected}"));
        }
    }

    #[test]
    fn casync_says_what_is_recorded() {
        let mut file = node(Body::File(3));
        file.attributes = flags::FLAG_IMMUTABLE;
        let digest = Digest::Sha256.hash(b"abc");
        let features = flags::UIDS_32BIT | flags::USER_NAMES | flags::FLAG_IMMUTABLE;
        assert_eq!(
            line(Form::Casync, b"", &file, features) + &digest_word(features, &digest),
            format!(
                ". type=file mode=4751 size=3 uid=7 gid=0 gname=root flags=simmutable sha256digest={digest}"
            )
        );
        assert_eq!(line(Form::Casync, b"x", &file, 0), "x type=file mode=4751 size=3");
    }

    #[test]
    fn names_are_one_word_of_ascii() {
        assert_eq!(escaped(b"a~!/ \\#\n\x7f\xff"), "a~!/\\040\\134\\043\\012\\177\\377");
    }

    #[test]
    fn times_before_1970_are_less_than_0() {
        for (nanos, text) in [
            (0, "0.000000000"),
            (-1, "-1.999999999"),
            (-1_500_000_000, "-2.500000000"),
            (1_000_000_001, "1.000000001"),
        ] {
            assert_eq!(time(nanos), text);
        }
    }

    #[test]
    fn permissions_are_as_ls_prints_them() {
        for (mode, text) in [
            (0o755, "-rwxr-xr-x"),
            (0o7000, "---S--S--T"),
            (0o7111, "---s--s--t"),
            (0o4755, "-rwsr-xr-x"),
            (0o642, "-rw-r---w-"),
        ] {
            let node = Node { permissions: mode, ..Node::new(Body::File(0)) };
            assert_eq!(permissions(&node), text);
        }
    }
}
