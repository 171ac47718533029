//! An archive as a tar that everybody reads.
//!
//! ```text
//! archive -(decoder)-> node -> PAX records if the header has no room for it, header, bytes
//! ```
//! ```no_run
//! use std::io::BufReader;
//!
//! use cairn::archive::tar_output::to_tar;
//! use cairn_formats::catar::Decoder;
//!
//! # fn main() -> cairn::Result<()> {
//! # let (archive, out) = (std::io::empty(), &mut std::io::sink());
//! let stats = to_tar(&mut Decoder::new(BufReader::new(archive)), out)?;
//! for path in &stats.left_out {
//!     println!("left out: {}", String::from_utf8_lossy(path));
//! }
//! # Ok(())
//! # }
//! ```
//! The same archive gives the same bytes. The root is `./`, directories end with a slash, and the tar with two blocks
//! of zeros. A tar has no sockets, so they are left out; and no attributes of `chattr` or of FAT, subvolumes or
//! projects.

use std::io::{self, Read, Write};

use cairn_formats::catar::{Body, Decoder, Item, Node};
use cairn_formats::posix_acl;
use cairn_formats::tar::{BLOCK, Header, access_text, default_text, put_record};

use crate::{Error, Result};

/// Names in headers end with a NUL where there may be one.
const LONGEST_USER: usize = 31;
const LONGEST_NAME: usize = 100;

const NANOS: i64 = 1_000_000_000;

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Members of the tar.
    pub members: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// Paths of sockets, which a tar cannot hold.
    pub left_out: Vec<Vec<u8>>,
    /// Nodes with attributes or a project, which a tar cannot hold.
    pub reduced: u64,
}

/// Writes a whole archive to `out` as a tar.
pub fn to_tar<R: Read>(decoder: &mut Decoder<R>, out: &mut dyn Write) -> Result<Stats> {
    let mut stats = Stats::default();
    while let Some(item) = decoder.next()? {
        let Item::Node(mut node) = item else { continue };
        if decoder.depth() == 0 && !node.is_directory() {
            return Err(unnamed());
        }
        if node.body == Body::Socket {
            stats.left_out.push(decoder.path().to_vec());
            continue;
        }
        lists_from_xattrs(&mut node);
        stats.members += 1;
        stats.bytes += node.size();
        stats.reduced += u64::from(node.attributes != 0 || node.projid != 0);
        let mut head = Vec::new();
        put_head(&mut head, &path(decoder.path(), &node), &node);
        out.write_all(&head).map_err(unwritable)?;
        let size = node.size();
        copy_payload(decoder, out, size)?;
        out.write_all(&[0; BLOCK][..padding(size)]).map_err(unwritable)?;
    }
    out.write_all(&[0; 2 * BLOCK]).map_err(unwritable)?;
    out.flush().map_err(unwritable)?;
    Ok(stats)
}

/// Takes access control lists out of the attributes, where desync has them: in a tar they are text.
fn lists_from_xattrs(node: &mut Node) {
    let value = |name: &str| {
        let xattr = node.xattrs.iter().find(|xattr| xattr.name == name.as_bytes())?;
        Some(&xattr.value[..])
    };
    let (access, default) = (value(posix_acl::ACCESS), value(posix_acl::DEFAULT));
    if access.is_none() && default.is_none() {
        return;
    }
    let nameless = |_| Vec::new();
    // What is no list stays what it is.
    if let Ok(lists) = posix_acl::from_xattrs(access, default, &nameless, &nameless) {
        node.acl = lists;
        let lists = [posix_acl::ACCESS, posix_acl::DEFAULT].map(str::as_bytes);
        node.xattrs.retain(|xattr| !lists.contains(&&xattr.name[..]));
    }
}

fn unnamed() -> Error {
    let why = "it is one file without a name, of which there is no tar".to_owned();
    cairn_formats::Error::NotAnArchive { why }.into()
}

fn unwritable(error: io::Error) -> Error {
    Error::io("write", "the tar")(error)
}

/// Bytes up to the end of the block.
fn padding(size: u64) -> usize {
    (size.wrapping_neg() % BLOCK as u64) as usize
}

fn path(path: &[u8], node: &Node) -> Vec<u8> {
    let root = if path.is_empty() { &b"."[..] } else { path };
    let slash: &[u8] = if node.is_directory() { b"/" } else { b"" };
    [root, slash].concat()
}

fn copy_payload<R: Read>(decoder: &mut Decoder<R>, out: &mut dyn Write, size: u64) -> Result<()> {
    let mut buffer = vec![0; size.min(128 << 10) as usize];
    let mut left = size;
    while left > 0 {
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = match decoder.payload().read(&mut buffer[..most]) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(cairn_formats::Error::Io)?,
        };
        out.write_all(&buffer[..read]).map_err(unwritable)?;
        left -= read as u64;
    }
    Ok(())
}

/// Appends all that comes before the bytes of a member.
fn put_head(out: &mut Vec<u8>, path: &[u8], node: &Node) {
    let records = records(path, node);
    if !records.is_empty() {
        let mut header = Header::new(b'x');
        let name = path.strip_suffix(b"/").unwrap_or(path);
        let name = name.rsplit(|&byte| byte == b'/').next().unwrap_or(name);
        header.set_name(&[&b"./PaxHeaders/"[..], name].concat()[..]);
        header.set_owner(0o644, 0, 0).set_size(records.len() as u64).set_mtime(0);
        out.extend_from_slice(header.set_device(0, 0).finish());
        out.extend_from_slice(&records);
        out.resize(out.len() + padding(records.len() as u64), 0);
    }
    let (kind, link, device) = match &node.body {
        Body::Directory => (b'5', &b""[..], (0, 0)),
        Body::File(_) | Body::Socket => (b'0', &b""[..], (0, 0)),
        Body::Symlink(target) => (b'2', &target[..], (0, 0)),
        Body::Character { major, minor } => (b'3', &b""[..], (*major, *minor)),
        Body::Block { major, minor } => (b'4', &b""[..], (*major, *minor)),
        Body::Fifo => (b'6', &b""[..], (0, 0)),
    };
    let mut header = Header::new(kind);
    header.set_name(path).set_link(link).set_owner(node.permissions, node.uid, node.gid);
    header.set_size(node.size()).set_mtime(node.mtime.div_euclid(NANOS));
    header.set_names(&node.user, &node.group).set_device(device.0, device.1);
    out.extend_from_slice(header.finish());
}

/// The records of what the header has no room for.
fn records(path: &[u8], node: &Node) -> Vec<u8> {
    let mut out = Vec::new();
    let mut put = |key: &str, value: &[u8]| put_record(&mut out, key.as_bytes(), value);
    let long = |text: &[u8], most: usize| text.len() > most;
    let link: &[u8] = if let Body::Symlink(target) = &node.body { target } else { b"" };
    let texts = [
        ("path", path, LONGEST_NAME),
        ("linkpath", link, LONGEST_NAME),
        ("uname", &node.user[..], LONGEST_USER),
        ("gname", &node.group[..], LONGEST_USER),
    ];
    // Records are UTF-8 where nothing else is said.
    let is_foreign =
        |&(_, text, most): &(&str, &[u8], usize)| long(text, most) && str::from_utf8(text).is_err();
    if texts.iter().any(is_foreign) {
        put("hdrcharset", b"BINARY");
    }
    for (key, text, _) in texts.into_iter().filter(|&(_, text, most)| long(text, most)) {
        put(key, text);
    }
    let numbers = [
        ("size", node.size(), 11),
        ("uid", u64::from(node.uid), 7),
        ("gid", u64::from(node.gid), 7),
    ];
    for (key, number, _) in numbers.into_iter().filter(|&(_, n, digits)| !Header::fits(n, digits)) {
        put(key, number.to_string().as_bytes());
    }
    let seconds = node.mtime.div_euclid(NANOS);
    let has_room = u64::try_from(seconds).is_ok_and(|seconds| Header::fits(seconds, 11));
    if node.mtime % NANOS != 0 || !has_room {
        put("mtime", time(node.mtime).as_bytes());
    }
    if let Some(text) = access_text(&node.acl, node.permissions) {
        put("SCHILY.acl.access", &text);
    }
    if let Some(text) = default_text(&node.acl) {
        put("SCHILY.acl.default", &text);
    }
    if !node.selinux.is_empty() {
        // GNU tar reads the one, all others the other.
        put("RHT.security.selinux", &node.selinux);
        put_xattr(&mut out, b"security.selinux", &node.selinux);
    }
    if !node.fcaps.is_empty() {
        put_xattr(&mut out, b"security.capability", &node.fcaps);
    }
    for xattr in &node.xattrs {
        put_xattr(&mut out, &xattr.name, &xattr.value);
    }
    out
}

/// Appends an attribute; what would end the key is escaped in its name, as GNU tar does it.
fn put_xattr(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let mut key = b"SCHILY.xattr.".to_vec();
    for &byte in name {
        match byte {
            b'%' => key.extend_from_slice(b"%25"),
            b'=' => key.extend_from_slice(b"%3D"),
            byte => key.push(byte),
        }
    }
    put_record(out, &key, value);
}

/// Seconds with as many digits behind the point as there are nanoseconds.
fn time(nanos: i64) -> String {
    let (sign, nanos) = if nanos < 0 { ("-", nanos.unsigned_abs()) } else { ("", nanos as u64) };
    let grain = NANOS.unsigned_abs();
    let (seconds, rest) = (nanos / grain, nanos % grain);
    if rest == 0 { format!("{sign}{seconds}") } else { format!("{sign}{seconds}.{rest:09}") }
}
