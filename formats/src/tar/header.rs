//! One block of a tar and its fields.
//!
//! ```text
//! name 100 | mode 8 | uid 8 | gid 8 | size 12 | mtime 12 | sum 8 | kind 1 | link 100
//! | magic 8 | user 32 | group 32 | major 8 | minor 8 | prefix 155 (ustar) or what GNU has there
//! ```
//! Numbers are octal digits, or binary where the first byte has its highest bit set.

/// Bytes of a header, and of what everything is padded to.
pub const BLOCK: usize = 512;

/// Where the sum is, which counts as spaces in itself.
const SUM: std::ops::Range<usize> = 148..156;

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file, of whatever age.
    File,
    /// Another name of a member.
    Link,
    /// A symbolic link.
    Symlink,
    /// A character device.
    Character,
    /// A block device.
    Block,
    /// A directory.
    Directory,
    /// A directory with a list of what is in it, of an incremental dump.
    Dump,
    /// A named pipe.
    Fifo,
    /// A sparse file in GNU's old form.
    Sparse,
    /// PAX records for the next member.
    Records,
    /// PAX records for all that follows.
    Global,
    /// The name of the next member.
    LongName,
    /// Where the next member leads.
    LongLink,
    /// A label of the tar.
    Label,
    /// Anything else.
    Other(u8),
}

/// A header, whose sum is right.
#[derive(Clone)]
pub struct Header {
    bytes: [u8; BLOCK],
}

impl Header {
    /// Takes a block; `None` if its sum is not right.
    pub fn parse(bytes: &[u8; BLOCK]) -> Option<Self> {
        let given = number(&bytes[SUM])?;
        // Some very old programs added signed bytes.
        let signed = |byte: u8| i128::from(byte.cast_signed());
        let is_right = given == sum(bytes, i128::from) || given == sum(bytes, signed);
        is_right.then_some(Self { bytes: *bytes })
    }

    /// A header of ustar in which nothing is said yet but what it is.
    pub fn new(kind: u8) -> Self {
        let mut bytes = [0; BLOCK];
        bytes[156] = kind;
        bytes[257..265].copy_from_slice(b"ustar\x0000");
        Self { bytes }
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8; BLOCK] {
        &self.bytes
    }

    /// What the member is.
    pub fn kind(&self) -> Kind {
        match self.bytes[156] {
            0 | b'0' | b'7' => Kind::File,
            b'1' => Kind::Link,
            b'2' => Kind::Symlink,
            b'3' => Kind::Character,
            b'4' => Kind::Block,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            b'D' => Kind::Dump,
            b'S' => Kind::Sparse,
            b'x' | b'X' => Kind::Records,
            b'g' => Kind::Global,
            b'L' => Kind::LongName,
            b'K' => Kind::LongLink,
            b'V' => Kind::Label,
            other => Kind::Other(other),
        }
    }

    /// The name as far as there is room for it.
    pub fn name(&self) -> Vec<u8> {
        let name = text(&self.bytes[..100]);
        let prefix = text(&self.bytes[345..500]);
        if self.is_ustar() && !prefix.is_empty() {
            [prefix, name].join(&b'/')
        } else {
            name.to_vec()
        }
    }

    /// Where a link leads, as far as there is room for it.
    pub fn link(&self) -> &[u8] {
        text(&self.bytes[157..257])
    }

    /// The mode; `None` if it is no number, as with all numbers here.
    pub fn mode(&self) -> Option<i128> {
        number(&self.bytes[100..108])
    }

    /// The number of the owner.
    pub fn uid(&self) -> Option<i128> {
        number(&self.bytes[108..116])
    }

    /// The number of the group.
    pub fn gid(&self) -> Option<i128> {
        number(&self.bytes[116..124])
    }

    /// Bytes that follow, before they are padded.
    pub fn size(&self) -> Option<i128> {
        number(&self.bytes[124..136])
    }

    /// Seconds since 1970.
    pub fn mtime(&self) -> Option<i128> {
        number(&self.bytes[136..148])
    }

    /// The name of the owner.
    pub fn user(&self) -> &[u8] {
        if self.has_magic() { text(&self.bytes[265..297]) } else { &[] }
    }

    /// The name of the group.
    pub fn group(&self) -> &[u8] {
        if self.has_magic() { text(&self.bytes[297..329]) } else { &[] }
    }

    /// The numbers of a device.
    pub fn device(&self) -> Option<(i128, i128)> {
        Some((number(&self.bytes[329..337])?, number(&self.bytes[337..345])?))
    }

    /// Bytes of a sparse file in GNU's old form, holes among them.
    pub fn real_size(&self) -> Option<i128> {
        number(&self.bytes[483..495])
    }

    /// Whether there is anything behind the fields of v7.
    fn has_magic(&self) -> bool {
        &self.bytes[257..262] == b"ustar"
    }

    /// Whether a prefix belongs to the name: GNU has other fields there.
    fn is_ustar(&self) -> bool {
        &self.bytes[257..263] == b"ustar\0"
    }

    /// Sets the name, cut to the room there is.
    pub fn set_name(&mut self, name: &[u8]) -> &mut Self {
        self.put(0, 100, name)
    }

    /// Sets where a link leads, cut to the room there is.
    pub fn set_link(&mut self, link: &[u8]) -> &mut Self {
        self.put(157, 100, link)
    }

    /// Sets the names of owner and group, cut to the room there is.
    pub fn set_names(&mut self, user: &[u8], group: &[u8]) -> &mut Self {
        self.put(265, 31, user).put(297, 31, group)
    }

    /// Sets mode, owner and group, 0 where there is no room for them.
    pub fn set_owner(&mut self, mode: u32, uid: u32, gid: u32) -> &mut Self {
        self.put_octal(100, 7, u64::from(mode));
        self.put_octal(108, 7, u64::from(uid)).put_octal(116, 7, u64::from(gid))
    }

    /// Sets how many bytes follow, 0 if there is no room for it.
    pub fn set_size(&mut self, size: u64) -> &mut Self {
        self.put_octal(124, 11, size)
    }

    /// Sets the time in seconds since 1970, 0 if there is no room for it.
    pub fn set_mtime(&mut self, seconds: i64) -> &mut Self {
        self.put_octal(136, 11, u64::try_from(seconds).unwrap_or(0))
    }

    /// Sets the numbers of a device, 0 where there is no room for them.
    pub fn set_device(&mut self, major: u32, minor: u32) -> &mut Self {
        self.put_octal(329, 7, u64::from(major)).put_octal(337, 7, u64::from(minor))
    }

    /// Sets the sum, which comes last.
    pub fn finish(&mut self) -> &[u8; BLOCK] {
        let sum = sum(&self.bytes, i128::from);
        self.bytes[SUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        &self.bytes
    }

    /// Whether there is room for a number in so many digits.
    pub fn fits(number: u64, digits: u32) -> bool {
        number >> (3 * digits) == 0
    }

    fn put(&mut self, at: usize, room: usize, text: &[u8]) -> &mut Self {
        let len = text.len().min(room);
        self.bytes[at..at + len].copy_from_slice(&text[..len]);
        self
    }

    fn put_octal(&mut self, at: usize, digits: usize, number: u64) -> &mut Self {
        let number = if Self::fits(number, digits as u32) { number } else { 0 };
        self.put(at, digits, format!("{number:0digits$o}").as_bytes())
    }
}

fn sum(bytes: &[u8; BLOCK], of: impl Fn(u8) -> i128) -> i128 {
    let own = i128::from(b' ') * SUM.len() as i128;
    let others = bytes[..SUM.start].iter().chain(&bytes[SUM.end..]);
    own + others.map(|&byte| of(byte)).sum::<i128>()
}

/// A text up to its NUL, or as long as its field.
fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|&byte| byte == 0);
    &field[..end.unwrap_or(field.len())]
}

/// A number in octal digits or, where the highest bit says so, in binary; 0 if there is none.
pub(super) fn number(field: &[u8]) -> Option<i128> {
    match field[0] {
        // 0x80 and seven or eleven bytes; 0xff for what is negative.
        0x80 => Some(field[1..].iter().fold(0, |number, &byte| number << 8 | i128::from(byte))),
        0xff => Some(field[1..].iter().fold(-1, |number, &byte| number << 8 | i128::from(byte))),
        _ => {
            let digits = text(field).trim_ascii();
            if digits.is_empty() {
                return Some(0);
            }
            let digits = digits.iter().map(|&digit| char::from(digit).to_digit(8));
            digits.into_iter().try_fold(0, |number, digit| Some(number << 3 | i128::from(digit?)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_all_their_forms() {
        for (field, expected) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"77777777", Some(0o77_777_777)),
            (b"\x80\0\0\0\0\0\x01\x02", Some(0x102)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", Some(u64::MAX.into())),
            (b"12x\0", None),
            (b"-1\0", None),
            (b"8\0", None),
        ] {
            assert_eq!(number(field), expected, "{field:?}");
        }
    }

    #[test]
    fn what_is_set_is_read() {
        let mut header = Header::new(b'3');
        header.set_name(b"a/name").set_link(&[b'l'; 200]).set_names(b"user", b"group");
        header.set_owner(0o644, 1000, u32::MAX).set_size(8 << 30).set_mtime(-1).set_device(1, 3);
        let read = Header::parse(header.finish()).unwrap();
        assert_eq!(read.name(), b"a/name");
        assert_eq!(read.link(), [b'l'; 100]);
        assert_eq!((read.user(), read.group()), (&b"user"[..], &b"group"[..]));
        assert_eq!((read.mode(), read.uid(), read.gid()), (Some(0o644), Some(1000), Some(0)));
        assert_eq!((read.size(), read.mtime()), (Some(0), Some(0)));
        assert_eq!((read.device(), read.kind()), (Some((1, 3)), Kind::Character));
    }

    #[test]
    fn a_wrong_sum_is_told() {
        let mut header = Header::new(b'0');
        let good = *header.set_name(b"name").finish();
        for at in (0..BLOCK).filter(|at| !SUM.contains(at)) {
            let mut bytes = good;
            bytes[at] ^= 1;
            assert!(Header::parse(&bytes).is_none(), "byte {at}");
        }
    }
}
