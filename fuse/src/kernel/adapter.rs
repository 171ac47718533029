//! What the kernel asks, passed on to a file system, and its answers to the kernel.
//!
//! ```text
//! lookup, getattr, readdir …    answered by the thread that was asked
//! read                          at hand? answered at once; else by a thread that may wait
//! ```

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyXattr, Request,
};
use rustix::fs::makedev;

use super::End;
use super::opens::Opens;
use crate::errno::errno;
use crate::fs::{Attributes, Extent, FileSystem, Ino, Kind};
use crate::pool::Pool;
use crate::said::Said;

/// How long the kernel may keep what does not change.
const FOR_GOOD: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long it may keep what does.
const A_MOMENT: Duration = Duration::from_secs(1);

/// Threads that wait for stores, at most: reads that need no store pass them by.
const MOST_WAITING: usize = 128;

/// Requests for bytes that the kernel sends ahead at once.
const BACKGROUND: u16 = 64;

const GENERATION: Generation = Generation(0);

/// The size of a block in what `stat` and `statfs` say, in bytes.
const BLOCK: u32 = 4096;

/// Bytes of the longest name, as of most file systems.
const LONGEST_NAME: u32 = 255;

/// A file system as the kernel asks it.
pub(super) struct Adapter {
    fs: Arc<dyn FileSystem>,
    /// Those who wait for bytes.
    waiting: Pool,
    /// What could not be read, as far as it was said.
    said: Arc<Said>,
    opens: Opens,
    wants_passthrough: bool,
    /// Whether the kernel can read files itself.
    has_passthrough: bool,
    /// Whether nothing ever changes.
    is_constant: bool,
    end: End,
}

impl Adapter {
    pub(super) fn new(fs: Arc<dyn FileSystem>, wants_passthrough: bool, end: End) -> Self {
        Self {
            is_constant: fs.is_constant(Ino::ROOT),
            fs,
            waiting: Pool::new(MOST_WAITING, "cairn-read"),
            said: Arc::default(),
            opens: Opens::default(),
            wants_passthrough,
            has_passthrough: false,
            end,
        }
    }

    /// How long the kernel may keep what it was told of a directory.
    fn keep(&self, directory: Ino) -> Duration {
        if self.fs.is_constant(directory) { FOR_GOOD } else { A_MOMENT }
    }

    /// Lists a directory from an offset of the kernel on: `.` and `..` come first.
    fn list(
        &self,
        directory: Ino,
        from: u64,
        each: &mut dyn FnMut(&Attributes, &[u8], u64) -> bool,
    ) -> Result<(), rustix::io::Errno> {
        if from < 1 && !each(&self.fs.attributes(directory)?, b".", 1) {
            return Ok(());
        }
        if from < 2 && !each(&self.fs.attributes(self.fs.parent(directory)?)?, b"..", 2) {
            return Ok(());
        }
        self.fs.list(directory, from.saturating_sub(2), &mut |listed| {
            each(&listed.attributes, listed.name, listed.next + 2)
        })
    }
}

impl Filesystem for Adapter {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let wanted = [
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
            InitFlags::FUSE_CACHE_SYMLINKS,
            InitFlags::FUSE_NO_OPEN_SUPPORT,
            InitFlags::FUSE_NO_OPENDIR_SUPPORT,
            InitFlags::FUSE_ASYNC_DIO,
        ];
        for flag in wanted {
            // What this kernel does not have it does without.
            let _ = config.add_capabilities(flag);
        }
        if self.fs.has_acls() {
            let _ = config.add_capabilities(InitFlags::FUSE_POSIX_ACL);
        }
        if self.wants_passthrough
            && config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).is_ok()
            && config.set_max_stack_depth(1).is_ok()
        {
            self.has_passthrough = true;
        }
        let _ = config.set_max_background(BACKGROUND);
        Ok(())
    }

    fn destroy(&mut self) {
        if let Some(end) = self.end.get() {
            end();
        }
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let directory = Ino(parent.0);
        if name.len() > LONGEST_NAME as usize {
            return reply.error(Errno::ENAMETOOLONG);
        }
        let keep = self.keep(directory);
        match self.fs.lookup(directory, name.as_bytes()) {
            Ok(Some(found)) => reply.entry(&keep, &told(&found), GENERATION),
            // That there is nothing is kept as well.
            Ok(None) if keep == FOR_GOOD => {
                let nothing = FileAttr { ino: INodeNo(0), ..told(&NOTHING) };
                reply.entry(&keep, &nothing, GENERATION);
            }
            Ok(None) => reply.error(Errno::ENOENT),
            Err(e) => reply.error(number(e)),
        }
    }

    fn getattr(
        &self,
        _request: &Request,
        node: INodeNo,
        _handle: Option<FileHandle>,
        reply: ReplyAttr,
    ) {
        let node = Ino(node.0);
        match self.fs.attributes(node) {
            Ok(found) => reply.attr(&self.keep(node), &told(&found)),
            Err(e) => reply.error(number(e)),
        }
    }

    fn readlink(&self, _request: &Request, node: INodeNo, reply: ReplyData) {
        match self.fs.read_link(Ino(node.0)) {
            Ok(target) => reply.data(&target),
            Err(e) => reply.error(number(e)),
        }
    }

    fn open(&self, _request: &Request, node: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        if !self.has_passthrough {
            // The kernel need not ask again, for any file: it keeps what it has read.
            return reply.error(Errno::ENOSYS);
        }
        let node = Ino(node.0);
        match self.fs.extent(node) {
            Ok(Extent { content, range }) if range == (0..content.size()) => {
                self.opens.open(node, &*content, reply);
            }
            Ok(_) => reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE),
            Err(e) => reply.error(number(e)),
        }
    }

    fn release(
        &self,
        _request: &Request,
        node: INodeNo,
        _handle: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.opens.close(Ino(node.0));
        reply.ok();
    }

    fn read(
        &self,
        _request: &Request,
        node: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let node = Ino(node.0);
        let Extent { content, range } = match self.fs.extent(node) {
            Ok(extent) => extent,
            Err(e) => return reply.error(number(e)),
        };
        let from = range.start.saturating_add(offset).min(range.end);
        let wanted = from..from.saturating_add(u64::from(size)).min(range.end);
        if let Some(bytes) = content.at_hand(wanted.clone()) {
            return reply.data(&bytes);
        }
        let said = Arc::clone(&self.said);
        self.waiting.add(move || match content.read(wanted) {
            Ok(bytes) => reply.data(&bytes),
            Err(e) => {
                // The kernel asks again, for less, and so do programs.
                if said.is_news(&e.to_string()) {
                    tracing::warn!(node = node.0, offset, error = %e, "cannot be read");
                }
                reply.error(number(errno(&e)));
            }
        });
    }

    fn flush(
        &self,
        _request: &Request,
        _node: INodeNo,
        _handle: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        // Nothing is written, and the kernel need not ask again.
        reply.error(Errno::ENOSYS);
    }

    fn opendir(&self, _request: &Request, node: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        if self.is_constant {
            // The kernel keeps what it has read of directories, and need not ask again.
            return reply.error(Errno::ENOSYS);
        }
        let flags = if self.fs.is_constant(Ino(node.0)) {
            FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_CACHE_DIR
        } else {
            FopenFlags::empty()
        };
        reply.opened(FileHandle(0), flags);
    }

    fn readdir(
        &self,
        _request: &Request,
        node: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let mut each = |found: &Attributes, name: &[u8], next| {
            !reply.add(INodeNo(found.ino.0), next, kind(found.kind), OsStr::from_bytes(name))
        };
        match self.list(Ino(node.0), offset, &mut each) {
            Ok(()) => reply.ok(),
            Err(e) => reply.error(number(e)),
        }
    }

    fn readdirplus(
        &self,
        _request: &Request,
        node: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let node = Ino(node.0);
        let keep = self.keep(node);
        let mut each = |found: &Attributes, name: &[u8], next| {
            let name = OsStr::from_bytes(name);
            !reply.add(INodeNo(found.ino.0), next, name, &keep, &told(found), GENERATION)
        };
        match self.list(node, offset, &mut each) {
            Ok(()) => reply.ok(),
            Err(e) => reply.error(number(e)),
        }
    }

    fn statfs(&self, _request: &Request, _node: INodeNo, reply: ReplyStatfs) {
        let space = self.fs.space();
        let blocks = space.bytes.div_ceil(u64::from(BLOCK));
        reply.statfs(blocks, 0, 0, space.nodes, 0, BLOCK, LONGEST_NAME, BLOCK);
    }

    fn getxattr(
        &self,
        _request: &Request,
        node: INodeNo,
        name: &OsStr,
        size: u32,
        reply: ReplyXattr,
    ) {
        if !self.fs.has_xattrs() && self.is_constant {
            return reply.error(Errno::ENOSYS);
        }
        match self.fs.xattr(Ino(node.0), name.as_bytes()) {
            Ok(Some(value)) => sized(&value, size, reply),
            Ok(None) => reply.error(Errno::ENODATA),
            Err(e) => reply.error(number(e)),
        }
    }

    fn listxattr(&self, _request: &Request, node: INodeNo, size: u32, reply: ReplyXattr) {
        match self.fs.xattr_names(Ino(node.0)) {
            Ok(names) => sized(&names, size, reply),
            Err(e) => reply.error(number(e)),
        }
    }
}

/// Replies with a value, or how long it is if that was asked, or that there is no room for it.
fn sized(value: &[u8], size: u32, reply: ReplyXattr) {
    match u32::try_from(value.len()) {
        Ok(len) if size == 0 => reply.size(len),
        Ok(len) if len <= size => reply.data(value),
        _ => reply.error(Errno::ERANGE),
    }
}

const NOTHING: Attributes = Attributes {
    ino: Ino(0),
    kind: Kind::File,
    permissions: 0,
    links: 0,
    uid: 0,
    gid: 0,
    size: 0,
    mtime: 0,
    device: (0, 0),
};

/// Attributes as the kernel is told them. All times are that of the content, as no other is known.
fn told(found: &Attributes) -> FileAttr {
    let since = Duration::from_nanos(found.mtime.unsigned_abs());
    let time: SystemTime = if found.mtime < 0 { UNIX_EPOCH - since } else { UNIX_EPOCH + since };
    // Greater numbers do not fit; they are those of no device.
    let device = u32::try_from(makedev(found.device.0, found.device.1)).unwrap_or(0);
    FileAttr {
        ino: INodeNo(found.ino.0),
        size: found.size,
        blocks: if found.kind == Kind::File { found.size.div_ceil(512) } else { 0 },
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: kind(found.kind),
        perm: found.permissions,
        nlink: found.links,
        uid: found.uid,
        gid: found.gid,
        rdev: device,
        blksize: BLOCK,
        flags: 0,
    }
}

fn kind(kind: Kind) -> FileType {
    match kind {
        Kind::Directory => FileType::Directory,
        Kind::File => FileType::RegularFile,
        Kind::Symlink => FileType::Symlink,
        Kind::Block => FileType::BlockDevice,
        Kind::Character => FileType::CharDevice,
        Kind::Fifo => FileType::NamedPipe,
        Kind::Socket => FileType::Socket,
    }
}

fn number(error: rustix::io::Errno) -> Errno {
    Errno::from_i32(error.raw_os_error())
}
