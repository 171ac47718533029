//! What is different between two archives.
//!
//! ```text
//! a: names, sorted --+
//!                    +-- pairs --> only one? other metadata? other bytes? --> difference
//! b: names, sorted --+                 both directories: their names
//! ```
//! What the same chunks hold is not read: of two indexes only what changed is fetched. Only what both archives
//! record is compared, and times as coarsely as the coarser of them.

mod content;

use std::collections::BTreeMap;

use cairn_formats::catar::{Archive, Found, Node, ReadAt};
use cairn_formats::{Index, flags};

use self::content::Contents;
use super::input::Input;
use super::walk::{below, simple};
use crate::ids::IdSet;
use crate::tree::rules;
use crate::upkeep::add_index;
use crate::{Error, Monitor, Result};

/// A node that is not the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its path.
    pub path: Vec<u8>,
    /// What happened to it.
    pub change: Change,
}

/// What happened to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is only in the second.
    Added(Node),
    /// It is only in the first.
    Removed(Node),
    /// It is in both, but something is different.
    Changed(Vec<Aspect>),
}

/// What can be different of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aspect {
    /// What it is: a file, a directory ...
    Kind,
    /// The bytes of a file.
    Content,
    /// Where a link leads.
    Target,
    /// The numbers of a device.
    Device,
    /// Permissions.
    Mode,
    /// User or group, by number or name.
    Owner,
    /// When it last changed.
    Time,
    /// Extended attributes.
    Xattrs,
    /// Access control lists.
    Acl,
    /// Attributes of Linux or FAT.
    Attributes,
    /// Capabilities of a program.
    Capabilities,
    /// The label of SELinux.
    Label,
    /// The project whose quota counts.
    Project,
}

/// How many differences there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Nodes that are only in the second.
    pub added: u64,
    /// Nodes that are only in the first.
    pub removed: u64,
    /// Nodes that are in both, but not the same.
    pub changed: u64,
}

/// What who has the one blob must fetch for the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// How many chunks.
    pub chunks: u64,
    /// Their plain bytes.
    pub bytes: u64,
}

/// Compares what is at a path of two archives and below, and tells `each` what is different, in the order of the
/// names.
pub fn diff(
    a: &Input,
    b: &Input,
    path: &[u8],
    monitor: &dyn Monitor,
    each: &mut dyn FnMut(Difference) -> Result<()>,
) -> Result<Counts> {
    let (one, other) = (a.archive()?, b.archive()?);
    let root = (a.find(&one, path)?, b.find(&other, path)?);
    let features = flags::common(one.features(), other.features());
    let grain = [one.features(), other.features()].map(|f| flags::granularity(f).unwrap_or(1));
    let comparison = Comparison {
        sides: [Side { input: a, archive: one }, Side { input: b, archive: other }],
        features,
        grain: grain[0].max(grain[1]),
    };
    let mut counts = Counts::default();
    let mut note = |difference: Difference| {
        match difference.change {
            Change::Added(_) => counts.added += 1,
            Change::Removed(_) => counts.removed += 1,
            Change::Changed(_) => counts.changed += 1,
        }
        each(difference)
    };
    comparison.run(simple(path), root, monitor, &mut note)?;
    Ok(counts)
}

/// The chunks of `b` that are not in `a`. Zeros are not fetched, but are counted here as they are.
pub fn update(a: &Index, b: &Index) -> Update {
    let mut known = IdSet::default();
    add_index(&mut known, a);
    let mut update = Update::default();
    for chunk in b.chunks() {
        if known.insert(chunk.id) {
            update.chunks += 1;
            update.bytes += chunk.len as u64;
        }
    }
    update
}

struct Side<'a> {
    input: &'a Input,
    archive: Archive<&'a dyn ReadAt>,
}

struct Comparison<'a> {
    sides: [Side<'a>; 2],
    /// What both record.
    features: u64,
    /// How fine times are, in nanoseconds.
    grain: i64,
}

/// A node as it is on both sides, where it is.
type Both = [Option<Found>; 2];

/// Names of a directory that are still to be compared, the next one last.
struct Open {
    path: Vec<u8>,
    names: Vec<(Vec<u8>, Both)>,
}

impl Comparison<'_> {
    /// Goes down into directories without calling itself: they may be nested as deeply as anybody likes.
    fn run(
        &self,
        path: Vec<u8>,
        root: (Found, Found),
        monitor: &dyn Monitor,
        note: &mut dyn FnMut(Difference) -> Result<()>,
    ) -> Result<()> {
        let mut open = vec![Open { path, names: vec![(Vec::new(), [Some(root.0), Some(root.1)])] }];
        while let Some(directory) = open.last_mut() {
            let Some((name, both)) = directory.names.pop() else {
                open.pop();
                continue;
            };
            monitor.check()?;
            let path = below(&directory.path, &name);
            if let Some(change) = self.compare(&both)? {
                note(Difference { path: path.clone(), change })?;
            }
            if both.iter().flatten().any(|found| found.node.is_directory())
                && !self.is_known(&both)?
            {
                open.push(Open { path, names: self.names(&both)? });
            }
        }
        Ok(())
    }

    /// What has become of a node, unless it is the same.
    fn compare(&self, both: &Both) -> Result<Option<Change>> {
        let [Some(a), Some(b)] = both else {
            let [a, b] = both;
            let added = b.as_ref().map(|found| Change::Added(found.node.clone()));
            let removed = a.as_ref().map(|found| Change::Removed(found.node.clone()));
            return Ok(added.or(removed));
        };
        let mut aspects = self.metadata(&a.node, &b.node);
        let is_file = a.node.body.type_bits() == b.node.body.type_bits() && a.node.size() > 0;
        let differs = a.node.size() != b.node.size()
            || is_file && !self.contents().are_equal(a.body, b.body, a.node.size())?;
        if differs && !aspects.contains(&Aspect::Kind) {
            aspects.insert(0, Aspect::Content);
        }
        Ok((!aspects.is_empty()).then_some(Change::Changed(aspects)))
    }

    /// What is different of the metadata, as far as both record it.
    fn metadata(&self, a: &Node, b: &Node) -> Vec<Aspect> {
        use cairn_formats::catar::Body;
        let mut aspects = Vec::new();
        let mut note = |differs: bool, aspect| {
            if differs {
                aspects.push(aspect);
            }
        };
        let both = |bits: u64| self.features & bits != 0;
        let is_other_kind = a.body.type_bits() != b.body.type_bits();
        note(is_other_kind, Aspect::Kind);
        if !is_other_kind {
            let is_link = matches!(a.body, Body::Symlink(_));
            let is_device = matches!(a.body, Body::Block { .. } | Body::Character { .. });
            note(is_link && a.body != b.body, Aspect::Target);
            note(is_device && a.body != b.body, Aspect::Device);
        }
        let is_writable = |node: &Node| node.permissions & 0o222 != 0;
        let is_other_mode = if both(flags::PERMISSIONS | flags::ACL) {
            a.permissions != b.permissions
        } else {
            both(flags::READ_ONLY) && is_writable(a) != is_writable(b)
        };
        note(is_other_mode && !is_other_kind, Aspect::Mode);
        let has_ids = both(flags::UIDS_16BIT | flags::UIDS_32BIT);
        let is_other_owner = has_ids && (a.uid, a.gid) != (b.uid, b.gid)
            || both(flags::USER_NAMES) && (&a.user, &a.group) != (&b.user, &b.group);
        note(is_other_owner, Aspect::Owner);
        let time = |node: &Node| rules::coarse_time(node.mtime, self.grain);
        note(both(flags::TIMES) && time(a) != time(b), Aspect::Time);
        note(both(flags::XATTRS) && a.xattrs != b.xattrs, Aspect::Xattrs);
        note(both(flags::ACL) && a.acl != b.acl, Aspect::Acl);
        let attributes = |node: &Node| node.attributes & self.features;
        note(attributes(a) != attributes(b), Aspect::Attributes);
        note(both(flags::FCAPS) && a.fcaps != b.fcaps, Aspect::Capabilities);
        note(both(flags::SELINUX) && a.selinux != b.selinux, Aspect::Label);
        note(both(flags::QUOTA_PROJID) && a.projid != b.projid, Aspect::Project);
        aspects
    }

    /// Whether two directories are the same as far as their chunks tell: then nothing in them is looked at.
    fn is_known(&self, both: &Both) -> Result<bool> {
        let [Some(a), Some(b)] = both else { return Ok(false) };
        let len = a.end - a.start;
        Ok(len == b.end - b.start && self.contents().are_known(a.start, b.start, len)?)
    }

    /// The names in directories, the last first; what is no directory has none.
    fn names(&self, both: &Both) -> Result<Vec<(Vec<u8>, Both)>> {
        let mut names: BTreeMap<Vec<u8>, Both> = BTreeMap::new();
        for (place, (side, found)) in self.sides.iter().zip(both).enumerate() {
            let Some(found) = found else { continue };
            let wrong = |e| side.input.wrong(e);
            let mut children = side.archive.children(found).map_err(wrong)?;
            while let Some((name, child)) = children.next().map_err(wrong)? {
                let name_text = String::from_utf8_lossy(&name).into_owned();
                if names.entry(name).or_default()[place].replace(child).is_some() {
                    let why = format!("has `{name_text}` twice in one directory");
                    return Err(Error::file(side.input.name(), why));
                }
            }
        }
        Ok(names.into_iter().rev().collect())
    }

    fn contents(&self) -> Contents<'_> {
        let [a, b] = &self.sides;
        Contents { inputs: [a.input, b.input], bytes: [*a.archive.input(), *b.archive.input()] }
    }
}
