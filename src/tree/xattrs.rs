//! Extended attributes of a file, sorted out by what archives record them as.
//!
//! ```text
//! user.*, trusted.*             attributes
//! system.posix_acl_*            access control lists
//! security.selinux              a label
//! security.capability           capabilities of a program
//! ```
//! All others belong to the machine and are left out. Most files have none: then one call says so.

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use cairn_formats::catar::Xattr;
use cairn_formats::{flags, posix_acl};
use rustix::buffer::spare_capacity;
use rustix::fs::{fgetxattr, flistxattr, getxattr, lgetxattr, listxattr};
use rustix::io::Errno;

const SELINUX: &CStr = c"security.selinux";
const FCAPS: &[u8] = b"security.capability";
/// The kernel has no longer list of names, and no longer value.
const LONGEST: usize = 65536;

/// The extended attributes of a file, as far as they were asked for.
#[derive(Debug, Default)]
pub(super) struct Xattrs {
    /// `user.*` and `trusted.*`, in the order of their names.
    pub(super) plain: Vec<Xattr>,
    /// Who may do what, as the kernel keeps it.
    pub(super) access: Option<Vec<u8>>,
    /// What new files in a directory start with, as the kernel keeps it.
    pub(super) default: Option<Vec<u8>>,
    /// A label of SELinux; empty for none.
    pub(super) selinux: Vec<u8>,
    /// Capabilities; empty for none.
    pub(super) fcaps: Vec<u8>,
}

/// How a file is reached.
#[derive(Clone, Copy)]
pub(super) enum Reach<'a> {
    /// It is open.
    Open(BorrowedFd<'a>),
    /// It is held by `O_PATH`: all but its attributes can be asked of it directly.
    Held(BorrowedFd<'a>),
}

/// Reads the extended attributes that a feature word asks for.
pub(super) fn read(reach: Reach<'_>, features: u64) -> io::Result<Xattrs> {
    let mut xattrs = Xattrs::default();
    let asked = flags::XATTRS | flags::ACL | flags::SELINUX | flags::FCAPS;
    if features & asked == 0 {
        return Ok(xattrs);
    }
    let file = Target::of(reach);
    let mut few = [MaybeUninit::uninit(); 512];
    let mut many = Vec::new();
    let names: &[u8] = match file.list(&mut few) {
        Ok(names) => names,
        Err(Errno::RANGE) => {
            many.resize(LONGEST, MaybeUninit::uninit());
            file.list(&mut many)?
        }
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(xattrs),
        Err(errno) => return Err(errno.into()),
    };
    for name in names.split_inclusive(|&byte| byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        xattrs.add(&file, name, features)?;
    }
    xattrs.plain.sort_unstable();
    Ok(xattrs)
}

/// Reads the label of a symbolic link; empty for none.
pub(super) fn label_of_link(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<Vec<u8>> {
    let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.to_bytes());
    let value = value(|buffer| lgetxattr(&path[..], SELINUX, buffer));
    match value {
        Ok(value) => label(value.unwrap_or_default()),
        // Without /proc nothing can be asked of what cannot be opened.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

impl Xattrs {
    fn add(&mut self, file: &Target<'_>, name: &CStr, features: u64) -> io::Result<()> {
        let has = |bit| features & bit != 0;
        let bytes = name.to_bytes();
        let is_plain = |prefix: &[u8]| bytes.strip_prefix(prefix).is_some_and(|it| !it.is_empty());
        if has(flags::XATTRS) && (is_plain(b"user.") || is_plain(b"trusted.")) {
            if let Some(value) = file.value(name)? {
                self.plain.push(Xattr { name: bytes.to_vec(), value });
            }
        } else if has(flags::ACL) && bytes == posix_acl::ACCESS.as_bytes() {
            self.access = file.value(name)?;
        } else if has(flags::ACL) && bytes == posix_acl::DEFAULT.as_bytes() {
            self.default = file.value(name)?;
        } else if has(flags::SELINUX) && name == SELINUX {
            self.selinux = label(file.value(name)?.unwrap_or_default())?;
        } else if has(flags::FCAPS) && bytes == FCAPS {
            self.fcaps = file.value(name)?.unwrap_or_default();
        }
        Ok(())
    }
}

/// The kernel ends labels in a NUL or does not, as they were set.
fn label(mut value: Vec<u8>) -> io::Result<Vec<u8>> {
    while value.last() == Some(&0) {
        value.pop();
    }
    if value.contains(&0) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a label with a NUL inside"));
    }
    Ok(value)
}

/// What the calls are made on.
enum Target<'a> {
    File(BorrowedFd<'a>),
    Path(String),
}

impl<'a> Target<'a> {
    fn of(reach: Reach<'a>) -> Self {
        match reach {
            Reach::Open(file) => Target::File(file),
            // The link in /proc leads to the very file, and asking opens nothing.
            Reach::Held(file) => Target::Path(format!("/proc/self/fd/{}", file.as_raw_fd())),
        }
    }

    fn list<'b>(&self, buffer: &'b mut [MaybeUninit<u8>]) -> Result<&'b [u8], Errno> {
        let (names, _) = match self {
            Target::File(file) => flistxattr(file, buffer)?,
            Target::Path(path) => listxattr(path.as_str(), buffer)?,
        };
        Ok(names)
    }

    /// The value of an attribute; `None` if it has gone meanwhile.
    fn value(&self, name: &CStr) -> io::Result<Option<Vec<u8>>> {
        value(|buffer| match self {
            Target::File(file) => fgetxattr(file, name, buffer),
            Target::Path(path) => getxattr(path.as_str(), name, buffer),
        })
    }
}

/// Most values are short; for another the longest possible is allowed, as it could grow between two calls.
fn value(
    get: impl Fn(rustix::buffer::SpareCapacity<'_, u8>) -> Result<usize, Errno>,
) -> io::Result<Option<Vec<u8>>> {
    let mut value = Vec::with_capacity(256);
    let mut answer = get(spare_capacity(&mut value));
    if answer == Err(Errno::RANGE) {
        value.reserve_exact(LONGEST);
        answer = get(spare_capacity(&mut value));
    }
    match answer {
        Ok(_) => {
            value.shrink_to_fit();
            Ok(Some(value))
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}
