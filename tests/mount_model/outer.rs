//! A directory is asked as programs do.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;

use memmap2::Mmap;
use rustix::fs::{
    self, AtFlags, FileType, Mode, OFlags, RawDir, SeekFrom, XattrFlags, lgetxattr, llistxattr,
    major, minor,
};
use rustix::io::Errno;
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::asked::{Answer, Question, Said, Seen, Tree};

/// A directory on disk, or a mount point.
pub struct Outer {
    root: OwnedFd,
    path: PathBuf,
    /// Whether places in directories are checked, and questions answered that are for the kernel.
    is_mount: bool,
}

impl Outer {
    /// The tree at a path. Of what is no mount only that is asked which any file system says in the same way.
    pub fn new(path: &Path, is_mount: bool) -> Self {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let root = fs::open(path, flags, Mode::empty()).unwrap();
        Self { root, path: path.to_owned(), is_mount }
    }

    fn open(&self, path: &OsStr, flags: OFlags) -> Result<File, Errno> {
        let flags = flags | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        fs::openat(&self.root, path, flags, Mode::RUSR).map(File::from)
    }

    fn attributes(&self, path: &OsStr, flags: AtFlags) -> Said {
        let found = fs::statat(&self.root, path, flags)?;
        let kind = FileType::from_raw_mode(found.st_mode);
        let is_device = matches!(kind, FileType::BlockDevice | FileType::CharacterDevice);
        let is_sized = matches!(kind, FileType::RegularFile | FileType::Symlink);
        let device = (major(found.st_rdev), minor(found.st_rdev));
        Ok(Answer::Attributes(Seen {
            mode: found.st_mode,
            owner: (found.st_uid, found.st_gid),
            size: is_sized.then_some(found.st_size as u64),
            mtime: found.st_mtime * 1_000_000_000 + found.st_mtime_nsec as i64,
            device: if is_device { device } else { (0, 0) },
        }))
    }

    fn read(&self, path: &OsStr, at: u32, len: usize) -> Said {
        let one = self.open(path, OFlags::RDONLY)?;
        let size = one.metadata().map_err(|e| number(&e))?.len();
        let is_file = one.metadata().is_ok_and(|found| found.is_file());
        let size = if is_file { size } else { 0 };
        let at = u64::from(at) % (size + size / 8 + 2);
        if !is_file {
            return one.read_at(&mut [0; 16], at).map(|_| Answer::Yes).map_err(|e| number(&e));
        }
        // A second one is elsewhere meanwhile.
        let other = self.open(path, OFlags::RDONLY)?;
        let _ = other.read_at(&mut [0; 100], size / 2);
        let mut bytes = vec![0; len];
        let mut filled = 0;
        while filled < len {
            let from = if filled % 2 == 0 { &one } else { &other };
            match from.read_at(&mut bytes[filled..], at + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                // What came before it is right.
                Err(_) if filled > 0 => break,
                Err(e) => return Err(number(&e)),
            }
        }
        bytes.truncate(filled);
        Ok(Answer::Bytes(bytes))
    }

    fn mapped(&self, path: &OsStr, at: u32, len: usize) -> Said {
        let file = self.open(path, OFlags::RDONLY)?;
        let size = file.metadata().map_err(|e| number(&e))?.len() as usize;
        let mapped = map(&file).map_err(|e| number(&e))?;
        let at = at as usize % (size + 1);
        Ok(Answer::Bytes(mapped[at..(at + len).min(size)].to_vec()))
    }

    fn list(&self, path: &OsStr, room: usize, from: usize) -> Said {
        let directory = self.open(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        // Enough for the longest name.
        let mut space = Vec::with_capacity(room + 300);
        let mut listed = Vec::new();
        let mut pieces = RawDir::new(&directory, space.spare_capacity_mut());
        while let Some(entry) = pieces.next() {
            let entry = entry?;
            let kind = entry.file_type().as_raw_mode() >> 12;
            let name = entry.file_name().to_bytes().to_vec();
            listed.push((name, kind, entry.next_entry_cookie()));
        }
        if self.is_mount {
            let from = from % listed.len();
            fs::seek(&directory, SeekFrom::Start(listed[from].2))?;
            let mut pieces = RawDir::new(&directory, space.spare_capacity_mut());
            let mut rest = Vec::new();
            while let Some(entry) = pieces.next() {
                rest.push(entry?.file_name().to_bytes().to_vec());
            }
            assert!(rest.iter().eq(listed[from + 1..].iter().map(|(name, ..)| name)), "seekdir");
            assert_eq!((&listed[0].0[..], &listed[1].0[..]), (&b"."[..], &b".."[..]));
            assert!(listed[2..].is_sorted_by(|a, b| a.0 < b.0), "names are not in order");
        }
        listed.retain(|(name, ..)| name != b"." && name != b"..");
        listed.sort();
        Ok(Answer::Names(listed.into_iter().map(|(name, kind, _)| (name, kind)).collect()))
    }

    fn xattrs(&self, path: &OsStr) -> Said {
        let path = self.path.join(path);
        let mut room = vec![0; 4096];
        let len = llistxattr(&path, &mut room[..])?;
        let mut all = BTreeMap::new();
        for name in room[..len].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
            let mut value = vec![0; 4096];
            let len = lgetxattr(&path, name, &mut value[..])?;
            // The machine may have its own.
            if name.starts_with(b"user.") || name.starts_with(b"trusted.") {
                all.insert(name.to_vec(), value[..len].to_vec());
            }
        }
        Ok(Answer::Xattrs(all))
    }

    /// Asks as somebody else: ids are those of a thread.
    fn may(&self, path: &OsStr, (uid, gid): (u32, u32), access: u8) -> Said {
        let asked = || {
            let (uid, gid) = (fs::Uid::from_raw(uid), fs::Gid::from_raw(gid));
            set_thread_groups(&[])?;
            set_thread_res_gid(gid, gid, gid)?;
            set_thread_res_uid(uid, uid, uid)?;
            // Groups and ids of the thread that asks, and not of the one it was made by.
            let access = fs::Access::from_bits_truncate(access.into());
            fs::accessat(&self.root, path, access, AtFlags::EACCESS)?;
            Ok(Answer::Yes)
        };
        thread::scope(|scope| scope.spawn(asked).join().unwrap())
    }

    fn change(&self, path: &OsStr, how: u8) -> Said {
        let (root, new) = (&self.root, OsStr::new("a new name"));
        let (mode, flags) = (Mode::RUSR, AtFlags::empty());
        let below = Path::new(path).join(new);
        match how {
            0 => self.open(path, OFlags::WRONLY).map(drop),
            1 => self.open(path, OFlags::RDWR | OFlags::APPEND).map(drop),
            2 => self.open(path, OFlags::RDONLY | OFlags::TRUNC).map(drop),
            3 => self.open(below.as_os_str(), OFlags::CREATE | OFlags::WRONLY).map(drop),
            4 => self.open(path, OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY).map(drop),
            5 => fs::unlinkat(root, path, flags),
            6 => fs::unlinkat(root, path, AtFlags::REMOVEDIR),
            7 => fs::mkdirat(root, below, mode),
            8 => fs::mkdirat(root, path, mode),
            9 => fs::renameat(root, path, root, new),
            10 => fs::linkat(root, path, root, new, flags),
            11 => fs::symlinkat("x", root, below),
            12 => fs::chmodat(root, path, mode, flags),
            13 => fs::chownat(root, path, None, None, AtFlags::SYMLINK_NOFOLLOW),
            14 => {
                let path = self.path.join(path);
                fs::lsetxattr(&path, "user.new", b"x", XattrFlags::empty())
            }
            _ => fs::mknodat(root, below, FileType::Fifo, mode, 0),
        }
        .map(|()| Answer::Yes)
    }
}

fn number(e: &io::Error) -> Errno {
    Errno::from_io_error(e).unwrap()
}

/// Maps a whole file.
#[allow(unsafe_code, reason = "a mapped file is the contract of whoever may write to it")]
fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: nobody writes to the trees of these tests once they are there.
    unsafe { Mmap::map(file) }
}

impl Tree for Outer {
    fn ask(&self, path: &[u8], question: &Question) -> Option<Said> {
        let path = OsStr::from_bytes(if path.is_empty() { b"." } else { path });
        let kind = || {
            let found = fs::statat(&self.root, path, AtFlags::SYMLINK_NOFOLLOW).unwrap();
            FileType::from_raw_mode(found.st_mode)
        };
        Some(match question {
            Question::Attributes => self.attributes(path, AtFlags::SYMLINK_NOFOLLOW),
            Question::Behind => {
                let leads = fs::readlinkat(&self.root, path, Vec::new());
                if leads.is_ok_and(|target| target.as_bytes().starts_with(b"/")) {
                    // That is in neither tree.
                    return None;
                }
                self.attributes(path, AtFlags::empty())
            }
            Question::Read { at, len } => self.read(path, *at, *len),
            Question::Mapped { at, len } if kind() == FileType::RegularFile => {
                self.mapped(path, *at, *len)
            }
            Question::Mapped { .. } => return None,
            Question::List { room, from } => self.list(path, *room, *from),
            Question::Link => fs::readlinkat(&self.root, path, Vec::new())
                .map(|target| Answer::Bytes(target.into_bytes())),
            Question::Xattrs => self.xattrs(path),
            Question::NoXattr => {
                let path = self.path.join(path);
                match lgetxattr(&path, "user.none of that name", &mut [0; 10][..]) {
                    // What a mount says in which nothing has any.
                    Err(Errno::OPNOTSUPP) => Err(Errno::NODATA),
                    said => said.map(|_| Answer::Yes),
                }
            }
            Question::NoName(name) => {
                let name: Vec<u8> = name.iter().filter(|&&byte| byte != b'/').copied().collect();
                let below = Path::new(path).join(OsStr::from_bytes(&name));
                match fs::statat(&self.root, below, AtFlags::SYMLINK_NOFOLLOW) {
                    // There is one after all.
                    Ok(_) => return None,
                    Err(e) => Err(e),
                }
            }
            Question::May { uid, gid, access } => self.may(path, (*uid, *gid), *access),
            Question::Change(how) => self.change(path, *how),
        })
    }
}
