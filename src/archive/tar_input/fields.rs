//! What is said of one member: by its header, by records of its own, and by records for all.
//!
//! Records count more than the header, those of the member more than those for all. A record without a value takes
//! back what was said before, but for attributes, which may be empty.

use std::collections::BTreeMap;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use cairn_formats::catar::{Acl, Body, Node, Xattr, is_desync};
use cairn_formats::tar::{Header, parse_access, parse_default, parse_time};
use cairn_formats::{flags, posix_acl};

use crate::tree::names::Names;

/// libarchive writes its base64 without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What the formats have room for, in bytes.
const LONGEST_TARGET: usize = 4095;
const LONGEST_LABEL: usize = 4095;
const LONGEST_XATTR_NAME: usize = 255;
const LONGEST_XATTR: usize = 65536;

const NANOS: i128 = 1_000_000_000;

/// Values by their keys.
pub(super) type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// All that is said of one member.
pub(super) struct Fields<'a> {
    pub(super) header: &'a Header,
    pub(super) own: &'a Records,
    pub(super) global: &'a Records,
    pub(super) features: u64,
}

impl Fields<'_> {
    /// The value of a record.
    pub(super) fn record(&self, key: &str) -> Option<&[u8]> {
        let key = key.as_bytes();
        let value = self.own.get(key).or_else(|| self.global.get(key));
        value.map(Vec::as_slice).filter(|value| !value.is_empty())
    }

    /// The number in a record, or else in the header.
    pub(super) fn number(&self, key: &str, header: Option<i128>) -> Result<u64, String> {
        let number = match self.record(key) {
            Some(text) => str::from_utf8(text).ok().and_then(|text| text.parse().ok()),
            None => header,
        };
        let number = number.ok_or_else(|| format!("its {key} is no number"))?;
        number.try_into().map_err(|_| format!("its {key} is {number}"))
    }

    /// Where a link leads.
    pub(super) fn link(&self, long: Option<&[u8]>) -> Vec<u8> {
        let link = self.record("linkpath").or(long);
        link.unwrap_or(self.header.link()).to_vec()
    }

    /// A symbolic link.
    pub(super) fn symlink(&self, long: Option<&[u8]>) -> Result<Body, String> {
        let target = self.link(long);
        if target.is_empty() || target.contains(&0) || target.len() > LONGEST_TARGET {
            return Err(format!("it leads to a path of {} bytes, or with a NUL", target.len()));
        }
        Ok(Body::Symlink(target))
    }

    /// The numbers of a device.
    pub(super) fn device(&self) -> Result<(u32, u32), String> {
        let device = self.header.device();
        let major = self.number("SCHILY.devmajor", device.map(|device| device.0))?;
        let minor = self.number("SCHILY.devminor", device.map(|device| device.1))?;
        if major >> 12 != 0 || minor >> 20 != 0 {
            return Err(format!("no device has the numbers {major} and {minor}"));
        }
        Ok((major as u32, minor as u32))
    }

    /// The node, with what the feature word asks for.
    pub(super) fn node(&self, body: Body, names: &Names) -> Result<Node, String> {
        let mut node = Node::new(body);
        let mode = self.header.mode().ok_or("its mode is no number")?;
        node.permissions = (mode & 0o7777) as u32;
        if self.features & flags::OWNERS != 0 {
            node.uid = self.id("uid", self.header.uid())?;
            node.gid = self.id("gid", self.header.gid())?;
            node.user = self.record("uname").unwrap_or(self.header.user()).to_vec();
            node.group = self.record("gname").unwrap_or(self.header.group()).to_vec();
        }
        if self.features & flags::TIMES != 0 {
            node.mtime = self.mtime()?;
        }
        let has = |bits: u64| self.features & bits != 0 || is_desync(self.features);
        if has(flags::XATTRS | flags::ACL | flags::SELINUX | flags::FCAPS) {
            self.add_xattrs(&mut node)?;
        }
        if has(flags::ACL) {
            self.add_acl(&mut node, names)?;
        }
        Ok(node)
    }

    fn id(&self, key: &str, header: Option<i128>) -> Result<u32, String> {
        let id = self.number(key, header)?;
        id.try_into().map_err(|_| format!("its {key} is {id}"))
    }

    fn mtime(&self) -> Result<i64, String> {
        let time = match self.record("mtime") {
            Some(text) => parse_time(text).ok_or("its mtime is no time")?,
            None => {
                let seconds = self.header.mtime().ok_or("its mtime is no number")?;
                seconds.checked_mul(NANOS).and_then(|nanos| i64::try_from(nanos).ok())
            }
        };
        time.ok_or_else(|| "its mtime is further away than an archive can say".to_owned())
    }

    fn add_xattrs(&self, node: &mut Node) -> Result<(), String> {
        let mut xattrs = Records::new();
        for (key, value) in self.global.iter().chain(self.own) {
            // What libarchive writes comes in two forms, and sorts first.
            let (name, value) = if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                (unescaped(name, &[b"25", b"3D"]), value.clone())
            } else if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
                let value = BASE64.decode(value);
                (unescaped(name, &[]), value.map_err(|e| format!("an attribute: {e}"))?)
            } else if key == b"RHT.security.selinux" {
                (b"security.selinux".to_vec(), value.clone())
            } else {
                continue;
            };
            let is_name = (1..=LONGEST_XATTR_NAME).contains(&name.len()) && !name.contains(&0);
            if !is_name || value.len() > LONGEST_XATTR {
                return Err(format!(
                    "its attribute `{}` is longer than an archive can hold",
                    String::from_utf8_lossy(&name)
                ));
            }
            xattrs.insert(name, value);
        }
        if let Some(label) = xattrs.remove(&b"security.selinux"[..]) {
            let label = label.strip_suffix(b"\0").unwrap_or(&label);
            if label.len() > LONGEST_LABEL || label.contains(&0) {
                return Err("its label is none".to_owned());
            }
            node.selinux = label.to_vec();
        }
        node.fcaps = xattrs.remove(&b"security.capability"[..]).unwrap_or_default();
        let mut list = |name: &str| xattrs.remove(name.as_bytes());
        let (access, default) = (list(posix_acl::ACCESS), list(posix_acl::DEFAULT));
        // A list that is not recorded may be whatever it is.
        if self.features & flags::ACL != 0 || is_desync(self.features) {
            let nameless = |_| Vec::new();
            node.acl =
                posix_acl::from_xattrs(access.as_deref(), default.as_deref(), &nameless, &nameless)
                    .map_err(|e| e.to_string())?;
        }
        node.xattrs = xattrs.into_iter().map(|(name, value)| Xattr { name, value }).collect();
        Ok(())
    }

    fn add_acl(&self, node: &mut Node, names: &Names) -> Result<(), String> {
        if matches!(node.body, Body::Symlink(_)) {
            node.acl = Acl::default();
            return Ok(());
        }
        let mut unanswered = None;
        let mut id = |is_user: bool, name: &[u8]| {
            let id = if is_user { names.uid(name) } else { names.gid(name) };
            id.unwrap_or_else(|e| {
                let shown = String::from_utf8_lossy(name);
                unanswered = Some(format!("the number of `{shown}` in its ACL: {e}"));
                None
            })
        };
        let mut parsed = Ok(());
        if let Some(text) = self.record("SCHILY.acl.access") {
            parsed = parse_access(text, &mut node.acl, &mut id);
        }
        if let Some(text) = self.record("SCHILY.acl.default").filter(|_| node.is_directory()) {
            parsed = parsed.and_then(|()| parse_default(text, &mut node.acl, &mut id));
        }
        // Whoever could not be asked for is no unknown user.
        unanswered.map_or(parsed, Err)
    }
}

/// A name with some bytes, or all, written as `%` and two digits.
fn unescaped(name: &[u8], which: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&first, behind)) = rest.split_first() {
        let digits = behind
            .get(..2)
            .filter(|digits| first == b'%' && (which.is_empty() || which.contains(digits)));
        let byte = digits.and_then(|digits| {
            let digit = |at: usize| char::from(digits[at]).to_digit(16);
            Some((digit(0)? << 4 | digit(1)?) as u8)
        });
        out.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &behind[2..] } else { behind };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_attributes_are_unescaped_as_their_writers_escape_them() {
        assert_eq!(unescaped(b"user.a%3Db%25c%41", &[b"25", b"3D"]), b"user.a=b%c%41");
        assert_eq!(unescaped(b"user.a%3db%25c%41%", &[]), b"user.a=b%cA%");
        assert_eq!(unescaped(b"%zz%4", &[]), b"%zz%4");
    }
}
