//! Trees in a directory, what they say of themselves, and programs that make and read tars.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::fs::{self, File, Permissions};
use std::io::{BufReader, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use cairn::archive::kept::kept;
use cairn::archive::step::{Content, Named, Piece, Step};
use cairn::archive::tar_input::{Options, Source, steps};
use cairn::archive::tar_output::{Stats, to_tar};
use cairn::tree::names::Names;
use cairn_formats::catar::{
    Body, Child, Decoder, Node, Xattr, encode_goodbye, encode_name, encode_node, hash_name,
};
use cairn_formats::{flags, posix_acl};
use rustix::fs::{CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

/// What casync records if nothing else is asked for.
pub const FEATURES: u64 = 0xb000_0001_ffef_fe26;
/// What desync records.
pub const DESYNC: u64 = 0xb000_0000_1000_1f22;

/// Nodes and the bytes of files by their paths.
pub type Nodes = BTreeMap<Vec<u8>, (Node, Vec<u8>)>;

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// What a list of an access ACL says: owner, a user, group, a group, mask, others.
pub const LIST: [(u16, u16, u32); 6] = [
    (1, 6, u32::MAX),
    (2, 4, 12345),
    (4, 4, u32::MAX),
    (8, 2, 12346),
    (16, 6, u32::MAX),
    (32, 0, u32::MAX),
];

pub fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, bits, id) in entries {
        bytes.extend_from_slice(&tag.to_le_bytes());
        bytes.extend_from_slice(&bits.to_le_bytes());
        bytes.extend_from_slice(&id.to_le_bytes());
    }
    bytes
}

/// A directory of its own with a tree in it.
pub struct Tree {
    directory: tempfile::TempDir,
}

impl Tree {
    pub fn new() -> Self {
        let tree = Self { directory: tempfile::tempdir().unwrap() };
        fs::create_dir(tree.root()).unwrap();
        tree
    }

    pub fn root(&self) -> PathBuf {
        self.directory.path().join("tree")
    }

    /// A path beside the tree.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.root().join(Path::new(name.as_ref()))
    }

    pub fn file(&self, name: impl AsRef<OsStr>, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub fn xattr(&self, name: &str, attribute: &str, value: &[u8]) {
        rustix::fs::lsetxattr(self.path(name), attribute, value, XattrFlags::empty()).unwrap();
    }

    /// What every dialect can say.
    pub fn add_plain(&self) {
        self.file("empty", b"");
        self.file("b/block", [7; 512]);
        self.file("b/more", [8; 513]);
        self.file("b/c/deep", b"deep\n");
        self.file("b.after", b"between b and b/ in the order of paths");
        self.file("with \\ and \n and \u{e4}", b"x");
        fs::create_dir(self.path("hollow")).unwrap();
        symlink("b/c/deep", self.path("link")).unwrap();
        symlink("nowhere", self.path("b/dangling")).unwrap();
        fs::hard_link(self.path("b/more"), self.path("b/twin")).unwrap();
        fs::hard_link(self.path("b/more"), self.path("a twin")).unwrap();
        for (name, mode) in [("empty", 0o4755), ("b/block", 0o400), ("hollow", 0o1777)] {
            fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
        }
        if is_root() {
            std::os::unix::fs::chown(self.path("b/block"), Some(1), Some(54321)).unwrap();
        }
    }

    /// Pipes, and devices if that is allowed.
    pub fn add_specials(&self) {
        let make = |name: &str, kind, device| {
            rustix::fs::mknodat(CWD, self.path(name), kind, Mode::from(0o640), device).unwrap();
        };
        make("pipe", FileType::Fifo, 0);
        if is_root() {
            make("null", FileType::CharacterDevice, rustix::fs::makedev(1, 3));
            make("disk", FileType::BlockDevice, rustix::fs::makedev(259, 70_000));
        }
    }

    /// What has no room in the fields of a header.
    pub fn add_long(&self) {
        let component = |letter: &str| letter.repeat(120);
        self.file(component("f"), b"1");
        self.file(format!("{}/{}/{}", component("d"), component("e"), "f".repeat(255)), b"2");
        symlink(component("t/"), self.path("long link")).unwrap();
        let name = [&b"\xff\xfe"[..], &[b'n'; 130]].concat();
        self.file(OsStr::from_bytes(&name), b"3");
        fs::hard_link(self.path(component("f")), self.path("twin of long")).unwrap();
        self.file("before 1970", b"4");
        self.set_mtime("before 1970", -1_000_000_001, 0);
        self.file("after 2242", b"5");
        self.set_mtime("after 2242", 8_589_934_600, 0);
        if is_root() {
            self.file("of somebody", b"6");
            std::os::unix::fs::chown(self.path("of somebody"), Some(3_000_000), Some(1 << 31))
                .unwrap();
        }
    }

    /// What only records can say.
    pub fn add_full(&self) {
        self.file("times", b"");
        self.set_mtime("times", 1_700_000_000, 123_456_789);
        self.set_mtime("times", -5, 1);
        self.file("attributes", b"with");
        self.xattr("attributes", "user.binary", b"a\nb=c\0d\xff");
        self.xattr("attributes", "user.empty", b"");
        self.xattr("attributes", "user.a=b%c", b"escaped");
        self.xattr("attributes", posix_acl::ACCESS, &list(&LIST));
        fs::create_dir(self.path("list")).unwrap();
        self.xattr("list", posix_acl::DEFAULT, &list(&LIST));
        if is_root() {
            self.xattr("list", "trusted.t", b"t");
            let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            self.xattr("attributes", "security.capability", &capability);
        }
    }

    pub fn set_mtime(&self, name: &str, seconds: i64, nanos: i64) {
        let time = Timespec { tv_sec: seconds, tv_nsec: nanos as _ };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, self.path(name), &times, rustix::fs::AtFlags::empty()).unwrap();
    }

    /// Gives all that was not given a time one in whole seconds.
    pub fn floor_times(&self) {
        let mut paths = vec![self.root()];
        while let Some(path) = paths.pop() {
            let metadata = fs::symlink_metadata(&path).unwrap();
            if metadata.is_dir() {
                paths.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
            if metadata.mtime_nsec() != 0 && metadata.mtime() > 1_710_000_000 {
                let time = Timespec { tv_sec: metadata.mtime(), tv_nsec: 0 };
                let times = Timestamps { last_access: time, last_modification: time };
                let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
                rustix::fs::utimensat(CWD, &path, &times, flags).unwrap();
            }
        }
    }

    /// Runs GNU tar in the tree, into the file beside it.
    pub fn tar(&self, name: &str, arguments: &[&str]) -> PathBuf {
        let path = self.beside(name);
        let mut command = Command::new("tar");
        command.current_dir(self.root()).env("LC_ALL", "C").arg("-cf").arg(&path).args(arguments);
        run(&mut command);
        path
    }
}

/// Runs a program that has to succeed.
pub fn run(command: &mut Command) -> String {
    let output = command.output();
    let output = output.unwrap_or_else(|e| panic!("{command:?}: {e}; Debian: tar, python3"));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a tree in a directory is to be recorded as, seen with other means than those that are tested.
pub fn recorded(root: &Path, features: u64) -> Nodes {
    let mut nodes = Nodes::new();
    let mut paths = vec![root.to_owned()];
    while let Some(path) = paths.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            paths.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let bytes = if metadata.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        let Some(node) = kept(node_of(&path, &metadata, features), features).unwrap() else {
            continue;
        };
        let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
        nodes.insert(name, (node, bytes));
    }
    nodes
}

fn node_of(path: &Path, metadata: &fs::Metadata, features: u64) -> Node {
    let device = metadata.rdev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let mut node = Node::new(match FileType::from_raw_mode(metadata.mode()) {
        FileType::Directory => Body::Directory,
        FileType::RegularFile => Body::File(metadata.len()),
        FileType::Symlink => {
            Body::Symlink(fs::read_link(path).unwrap().into_os_string().into_vec())
        }
        FileType::Fifo => Body::Fifo,
        FileType::CharacterDevice => Body::Character { major, minor },
        FileType::BlockDevice => Body::Block { major, minor },
        _ => Body::Socket,
    });
    node.permissions = metadata.mode() & 0o7777;
    (node.uid, node.gid) = (metadata.uid(), metadata.gid());
    node.mtime = metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec();
    let names = Names::default();
    node.user = names.user(node.uid).unwrap().map_or(Vec::new(), |name| name.to_vec());
    node.group = names.group(node.gid).unwrap().map_or(Vec::new(), |name| name.to_vec());
    let mut lists = [None, None];
    let mut buffer = vec![0; 65536];
    let len = rustix::fs::llistxattr(path, &mut buffer[..]).unwrap();
    let attributes: Vec<CString> = buffer[..len]
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| CString::new(name).unwrap())
        .collect();
    for name in attributes {
        let len = rustix::fs::lgetxattr(path, &name, &mut buffer[..]).unwrap();
        let value = buffer[..len].to_vec();
        match name.to_str().unwrap() {
            posix_acl::ACCESS => lists[0] = Some(value),
            posix_acl::DEFAULT => lists[1] = Some(value),
            "security.capability" => node.fcaps = value,
            "security.selinux" => node.selinux = value.strip_suffix(b"\0").unwrap().to_vec(),
            name => node.xattrs.push(Xattr { name: name.as_bytes().to_vec(), value }),
        }
    }
    if features & flags::ACL != 0 || features == DESYNC {
        let nameless = |_| Vec::new();
        let [access, default] = &lists;
        node.acl =
            posix_acl::from_xattrs(access.as_deref(), default.as_deref(), &nameless, &nameless)
                .unwrap();
    }
    node
}

/// The steps of a tar in a file, or what is wrong with it.
pub fn steps_of(tar: &Path, options: &Options) -> cairn::Result<Vec<Step>> {
    steps(&Source::open(tar)?, options)?.collect()
}

/// The nodes of a tar in a file.
pub fn read(tar: &Path, features: u64) -> Nodes {
    nodes(&steps_of(tar, &Options { features, is_root_added: false }).unwrap())
}

/// What is wrong with a tar in a file.
pub fn refusal(tar: &Path) -> String {
    let options = Options { features: FEATURES, is_root_added: false };
    steps_of(tar, &options).unwrap_err().to_string()
}

/// The nodes of steps, which must be in order.
pub fn nodes(steps: &[Step]) -> Nodes {
    let mut nodes = Nodes::new();
    let mut open: Vec<(Vec<u8>, Option<Vec<u8>>)> = Vec::new();
    for step in steps {
        let Step::Node(named) = step else {
            open.pop().unwrap();
            continue;
        };
        let Named { name, node, content } = &**named;
        let mut path = name.clone();
        if let Some((parent, last)) = open.last_mut() {
            assert!(last.as_ref() < Some(name), "{name:?} behind {last:?}");
            *last = Some(name.clone());
            if !parent.is_empty() {
                path = [&parent[..], name].join(&b'/');
            }
        } else {
            assert!(nodes.is_empty() && name.is_empty(), "the root comes first and once");
        }
        if node.is_directory() {
            open.push((path.clone(), None));
        }
        assert_eq!(matches!(content, Content::None), !matches!(node.body, Body::File(_)));
        assert!(nodes.insert(path, (node.clone(), bytes(content))).is_none());
    }
    assert!(open.is_empty());
    nodes
}

pub fn bytes(content: &Content) -> Vec<u8> {
    match content {
        Content::None => Vec::new(),
        Content::Bytes(bytes) => bytes.clone(),
        Content::Pieces(file, pieces) => {
            let mut bytes = Vec::new();
            for piece in pieces {
                let end = bytes.len();
                match *piece {
                    Piece::Data { at, len } => {
                        bytes.resize(end + len as usize, 0);
                        file.file.read_exact_at(&mut bytes[end..], at).unwrap();
                    }
                    Piece::Zeros(len) => bytes.resize(end + len as usize, 0),
                }
            }
            bytes
        }
    }
}

/// The archive that steps make.
pub fn packed(steps: &[Step], features: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let mut open: Vec<(u64, Vec<Child>)> = Vec::new();
    for step in steps {
        match step {
            Step::Node(named) => {
                let start = out.len() as u64;
                if !named.name.is_empty() {
                    encode_name(&mut out, &named.name);
                }
                let entry = out.len() as u64;
                encode_node(&mut out, &named.node, features);
                out.extend_from_slice(&bytes(&named.content));
                let (hash, end) = (hash_name(&named.name), out.len() as u64);
                if let Some((_, children)) = open.last_mut() {
                    children.push(Child { hash, start, end });
                }
                if named.node.is_directory() {
                    open.push((entry, Vec::new()));
                }
            }
            Step::Leave => {
                let (entry, mut children) = open.pop().unwrap();
                let at = out.len() as u64;
                encode_goodbye(&mut out, &mut children, entry, at);
                if let Some((_, children)) = open.last_mut() {
                    children.last_mut().unwrap().end = out.len() as u64;
                }
            }
        }
    }
    out
}

/// The tar of an archive, in a file.
pub fn written(archive: &[u8], path: &Path) -> Stats {
    let mut out = File::create(path).unwrap();
    let stats = to_tar(&mut Decoder::new(BufReader::new(archive)), &mut out).unwrap();
    out.flush().unwrap();
    stats
}
