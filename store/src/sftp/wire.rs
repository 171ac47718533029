//! The packets of SFTP, version 3.
//!
//! ```text
//! packet     length:u32, kind:u8, id:u32, fields…     length counts what follows it
//! string     length:u32, bytes
//! attrs      flags:u32, then those of size:u64, uid gid:u32, mode:u32, atime mtime:u32, pairs of strings
//! ```
//! Numbers are big-endian. The first packet each way has a version in place of the id.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The version of the protocol that we speak.
pub(super) const VERSION: u32 = 3;

/// No packet is longer than this, in bytes, without its length. OpenSSH's number.
pub(super) const LONGEST: usize = 256 << 10;

/// Renames a file in place of another.
const POSIX_RENAME: &str = "posix-rename@openssh.com";

const INIT: u8 = 1;
const SERVER_VERSION: u8 = 2;
const STATUS: u8 = 101;
const HANDLE: u8 = 102;
const DATA: u8 = 103;
const NAME: u8 = 104;
const ATTRS: u8 = 105;

/// For `Open`: the file is there and is read.
pub(super) const READ: u32 = 0x1;
/// For `Open`: the file is written, and must be new.
pub(super) const WRITE_NEW: u32 = 0x2 | 0x8 | 0x20;

/// What a server can be asked for.
#[derive(Clone, Debug)]
pub(super) enum Request<'a> {
    Open { path: &'a [u8], flags: u32 },
    Close { handle: &'a [u8] },
    Read { handle: &'a [u8], at: u64, len: u32 },
    Write { handle: &'a [u8], at: u64, data: Bytes },
    LinkStat { path: &'a [u8] },
    HandleStat { handle: &'a [u8] },
    OpenDirectory { path: &'a [u8] },
    ReadDirectory { handle: &'a [u8] },
    Remove { path: &'a [u8] },
    MakeDirectory { path: &'a [u8] },
    RemoveDirectory { path: &'a [u8] },
    Stat { path: &'a [u8] },
    Rename { from: &'a [u8], to: &'a [u8] },
    PosixRename { from: &'a [u8], to: &'a [u8] },
}

/// What a server answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Status { code: u32, message: String },
    Handle(Bytes),
    Data(Bytes),
    Names(Vec<(Bytes, Attributes)>),
    Attributes(Attributes),
}

/// The codes of a status that mean something to us.
pub(super) mod code {
    pub(in super::super) const OK: u32 = 0;
    pub(in super::super) const END: u32 = 1;
    pub(in super::super) const NO_SUCH_FILE: u32 = 2;
    pub(in super::super) const PERMISSION_DENIED: u32 = 3;
    pub(in super::super) const FAILURE: u32 = 4;
    pub(in super::super) const UNSUPPORTED: u32 = 8;
}

/// What is known of a file, as far as the server tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) size: Option<u64>,
    pub(super) mode: Option<u32>,
    /// Seconds since 1970.
    pub(super) modified: Option<u32>,
}

impl Attributes {
    pub(super) fn is_directory(&self) -> bool {
        self.mode.is_some_and(|mode| mode & 0o170_000 == 0o040_000)
    }
}

impl Request<'_> {
    /// The packet, in two pieces so that data need not be copied.
    pub(super) fn packet(&self, id: u32) -> (Bytes, Bytes) {
        let mut packet = BytesMut::with_capacity(128);
        packet.put_u32(0);
        packet.put_u8(self.kind());
        packet.put_u32(id);
        let mut data = Bytes::new();
        match self {
            Request::Open { path, flags } => {
                put_string(&mut packet, path);
                packet.put_u32(*flags);
                packet.put_u32(0);
            }
            Request::MakeDirectory { path } => {
                put_string(&mut packet, path);
                packet.put_u32(0);
            }
            Request::Read { handle, at, len } => {
                put_string(&mut packet, handle);
                packet.put_u64(*at);
                packet.put_u32(*len);
            }
            Request::Write { handle, at, data: bytes } => {
                put_string(&mut packet, handle);
                packet.put_u64(*at);
                packet.put_u32(bytes.len() as u32);
                data = bytes.clone();
            }
            Request::Rename { from, to } => {
                put_string(&mut packet, from);
                put_string(&mut packet, to);
            }
            Request::PosixRename { from, to } => {
                put_string(&mut packet, POSIX_RENAME.as_bytes());
                put_string(&mut packet, from);
                put_string(&mut packet, to);
            }
            Request::Close { handle: one }
            | Request::HandleStat { handle: one }
            | Request::ReadDirectory { handle: one }
            | Request::LinkStat { path: one }
            | Request::OpenDirectory { path: one }
            | Request::Remove { path: one }
            | Request::RemoveDirectory { path: one }
            | Request::Stat { path: one } => put_string(&mut packet, one),
        }
        let len = packet.len() - 4 + data.len();
        packet[..4].copy_from_slice(&(len as u32).to_be_bytes());
        (packet.freeze(), data)
    }

    fn kind(&self) -> u8 {
        match self {
            Request::Open { .. } => 3,
            Request::Close { .. } => 4,
            Request::Read { .. } => 5,
            Request::Write { .. } => 6,
            Request::LinkStat { .. } => 7,
            Request::HandleStat { .. } => 8,
            Request::OpenDirectory { .. } => 11,
            Request::ReadDirectory { .. } => 12,
            Request::Remove { .. } => 13,
            Request::MakeDirectory { .. } => 14,
            Request::RemoveDirectory { .. } => 15,
            Request::Stat { .. } => 17,
            Request::Rename { .. } => 18,
            Request::PosixRename { .. } => 200,
        }
    }
}

/// The packet that begins a session.
pub(super) fn hello() -> [u8; 9] {
    let mut packet = [0, 0, 0, 5, INIT, 0, 0, 0, 0];
    packet[5..].copy_from_slice(&VERSION.to_be_bytes());
    packet
}

/// The version of a server, and whether it can rename a file in place of another, from its first
/// packet; `None` if that is something else.
pub(super) fn server_hello(mut packet: Bytes) -> Option<(u32, bool)> {
    if packet.try_get_u8().ok()? != SERVER_VERSION {
        return None;
    }
    let version = packet.try_get_u32().ok()?;
    let mut renames = false;
    while let Some(name) = string(&mut packet) {
        let revision = string(&mut packet)?;
        renames |= name == POSIX_RENAME.as_bytes() && revision == b"1"[..];
    }
    Some((version, renames))
}

/// The id and the content of an answer; `None` if it is none.
pub(super) fn answer(mut packet: Bytes) -> Option<(u32, Answer)> {
    let kind = packet.try_get_u8().ok()?;
    let id = packet.try_get_u32().ok()?;
    let answer = match kind {
        STATUS => {
            let code = packet.try_get_u32().ok()?;
            // Old servers send no message.
            let message = string(&mut packet).unwrap_or_default();
            Answer::Status { code, message: String::from_utf8_lossy(&message).into_owned() }
        }
        HANDLE => Answer::Handle(string(&mut packet)?),
        DATA => Answer::Data(string(&mut packet)?),
        NAME => {
            let count = packet.try_get_u32().ok()?;
            let mut names = Vec::new();
            for _ in 0..count {
                let name = string(&mut packet)?;
                let _for_people = string(&mut packet)?;
                names.push((name, attributes(&mut packet)?));
            }
            Answer::Names(names)
        }
        ATTRS => Answer::Attributes(attributes(&mut packet)?),
        _ => return None,
    };
    Some((id, answer))
}

fn attributes(packet: &mut Bytes) -> Option<Attributes> {
    let flags = packet.try_get_u32().ok()?;
    let mut attributes = Attributes::default();
    if flags & 0x1 != 0 {
        attributes.size = Some(packet.try_get_u64().ok()?);
    }
    if flags & 0x2 != 0 {
        let _owner_and_group = packet.try_get_u64().ok()?;
    }
    if flags & 0x4 != 0 {
        attributes.mode = Some(packet.try_get_u32().ok()?);
    }
    if flags & 0x8 != 0 {
        let _used = packet.try_get_u32().ok()?;
        attributes.modified = Some(packet.try_get_u32().ok()?);
    }
    if flags & 0x8000_0000 != 0 {
        for _ in 0..packet.try_get_u32().ok()? {
            let (_name, _value) = (string(packet)?, string(packet)?);
        }
    }
    Some(attributes)
}

fn put_string(packet: &mut BytesMut, bytes: &[u8]) {
    packet.put_u32(bytes.len() as u32);
    packet.put_slice(bytes);
}

fn string(packet: &mut Bytes) -> Option<Bytes> {
    let len = packet.try_get_u32().ok()? as usize;
    (len <= packet.len()).then(|| packet.split_to(len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(kind: u8, id: u32, fields: &[&[u8]]) -> Bytes {
        let mut packet = BytesMut::new();
        packet.put_u8(kind);
        packet.put_u32(id);
        fields.iter().for_each(|field| packet.put_slice(field));
        packet.freeze()
    }

    #[test]
    fn requests_are_written_as_the_draft_says() {
        let (head, data) = Request::Open { path: b"/a", flags: READ }.packet(7);
        assert_eq!(head[..], *b"\0\0\0\x13\x03\0\0\0\x07\0\0\0\x02/a\0\0\0\x01\0\0\0\0");
        assert!(data.is_empty());
        let data = Bytes::from_static(b"xyz");
        let (head, data) = Request::Write { handle: b"h", at: 9, data }.packet(1);
        let expected = b"\0\0\0\x19\x06\0\0\0\x01\0\0\0\x01h\0\0\0\0\0\0\0\x09\0\0\0\x03";
        assert_eq!((&head[..], &data[..]), (&expected[..], &b"xyz"[..]));
        let (head, _) = Request::PosixRename { from: b"a", to: b"b" }.packet(2);
        assert!(
            head.ends_with(
                b"\xc8\0\0\0\x02\0\0\0\x18posix-rename@openssh.com\0\0\0\x01a\0\0\0\x01b"
            )
        );
        assert_eq!(hello(), *b"\0\0\0\x05\x01\0\0\0\x03");
    }

    #[test]
    fn answers_are_read_as_the_draft_says() {
        let status = |message: &str| Answer::Status { code: 2, message: message.to_owned() };
        let text = packet(STATUS, 5, &[b"\0\0\0\x02\0\0\0\x04gone\0\0\0\x02en"]);
        assert_eq!(answer(text), Some((5, status("gone"))));
        assert_eq!(answer(packet(STATUS, 5, &[b"\0\0\0\x02"])), Some((5, status(""))));
        let attributes =
            b"\x80\0\0\x0f\0\0\0\0\0\0\0\x08\0\0\0\x01\0\0\0\x01\0\0\x41\xed\0\0\0\x01\0\0\0\x02\
                           \0\0\0\x01\0\0\0\x01n\0\0\0\x01v";
        let expected = Attributes { size: Some(8), mode: Some(0o040_755), modified: Some(2) };
        assert!(expected.is_directory());
        let names = packet(
            NAME,
            1,
            &[b"\0\0\0\x02\0\0\0\x01a\0\0\0\x01l", attributes, b"\0\0\0\x01b\0\0\0\0\0\0\0\0"],
        );
        let named = |name: &'static [u8], attributes| (Bytes::from_static(name), attributes);
        let expected = vec![named(b"a", expected), named(b"b", Attributes::default())];
        assert_eq!(answer(names), Some((1, Answer::Names(expected))));
        let hello =
            b"\x02\0\0\0\x03\0\0\0\x01x\0\0\0\x011\0\0\0\x18posix-rename@openssh.com\0\0\0\x011";
        assert_eq!(server_hello(Bytes::from_static(hello)), Some((3, true)));
        assert_eq!(server_hello(Bytes::from_static(&hello[..17])), Some((3, false)));
    }

    #[test]
    fn what_is_no_answer_is_noticed() {
        for wrong in [
            packet(STATUS, 1, &[]),
            packet(77, 1, &[]),
            packet(DATA, 1, &[b"\0\0\0\x05abcd"]),
            packet(HANDLE, 1, &[b"\xff\xff\xff\xff"]),
            // Many names are announced, and none comes.
            packet(NAME, 1, &[b"\xff\xff\xff\xff"]),
            packet(ATTRS, 1, &[b"\x80\0\0\0\xff\xff\xff\xff"]),
            packet(ATTRS, 1, &[b"\0\0\0\x01\0"]),
            Bytes::from_static(b"We"),
            Bytes::new(),
        ] {
            assert_eq!(answer(wrong.clone()), None, "{wrong:?}");
            assert_eq!(server_hello(wrong), None);
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        for _ in 0..20_000 {
            let kind = 100 + next() % 8;
            let rest: Vec<u8> = (0..next() % 40).map(|_| next() % 9).collect();
            let _ = answer(packet(kind, 1, &[&rest]));
        }
    }
}
