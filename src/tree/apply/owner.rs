//! Who owns a file, and what the owner and others may do.

use std::io;
use std::path::PathBuf;

use cairn_formats::catar::Node;
use cairn_formats::flags;
use rustix::fs::Stat;
use rustix::process::geteuid;

use super::refusals::Refused;
use super::{Apply, Target};

/// Set-user-id and set-group-id.
const SET_ID: u32 = 0o6000;

/// Bits that let somebody write.
const WRITE: u32 = 0o222;

/// Whose a file is, in respect of what the archive says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Owned {
    /// It was his before.
    Already,
    /// It was given to him.
    Now,
    /// It is not his.
    ByAnother,
}

impl Apply {
    /// Whether a file of this user may become that of a node: it is his who restores it, or who is to have it.
    pub fn may_keep(&self, node: &Node, uid: u32) -> bool {
        let is_his = || self.uid(&node.user, node.uid).is_ok_and(|(to, _)| to == Some(uid));
        uid == geteuid().as_raw() || self.has(flags::OWNERS) && is_his()
    }

    /// Whether the owner is then the one the archive names, and did not change.
    pub(super) fn give_owner(
        &self,
        target: Target<'_>,
        node: &Node,
        stat: &Stat,
        path: &dyn Fn() -> PathBuf,
    ) -> io::Result<Owned> {
        if !self.has(flags::OWNERS) {
            let is_so = (stat.st_uid, stat.st_gid) == (node.uid, node.gid);
            return Ok(if is_so { Owned::Already } else { Owned::ByAnother });
        }
        let (uid, gid) = self.owner(node, path)?;
        if (Some(stat.st_uid), Some(stat.st_gid)) == (uid, gid) {
            return Ok(Owned::Already);
        }
        let given = match (uid, gid) {
            (Some(_), Some(_)) => target.chown(uid, gid),
            _ => Err(io::Error::other("there is no such user or group")),
        };
        if given.is_err() && gid.is_some() {
            // The group alone may be one's own to give.
            let _ = target.chown(None, gid);
        }
        let is_given = self.refusals.note(Refused::Owner, path, given)?;
        Ok(if is_given { Owned::Now } else { Owned::ByAnother })
    }

    pub(super) fn give_mode(
        &self,
        target: Target<'_>,
        node: &Node,
        stat: &Stat,
        owned: Owned,
        path: &dyn Fn() -> PathBuf,
    ) -> io::Result<()> {
        let had = stat.st_mode & 0o7777;
        let mut wanted = if self.has(flags::PERMISSIONS | flags::ACL) {
            node.permissions
        } else if self.has(flags::READ_ONLY) {
            let may_write = node.permissions & WRITE != 0;
            if !may_write {
                had & !WRITE
            } else if had & WRITE == 0 {
                had | 0o200
            } else {
                had
            }
        } else {
            return Ok(());
        };
        if owned == Owned::ByAnother && !node.is_directory() {
            // What may run as its owner must not run as another.
            wanted &= !SET_ID;
        }
        if wanted == had && owned != Owned::Now {
            return Ok(());
        }
        self.refusals.note(Refused::Mode, path, target.chmod(wanted))?;
        Ok(())
    }

    /// The numbers of owner and group; `None` if their names are unknown here and there is nothing to take in
    /// their place.
    fn owner(
        &self,
        node: &Node,
        path: &dyn Fn() -> PathBuf,
    ) -> io::Result<(Option<u32>, Option<u32>)> {
        let (uid, user_is_known) = self.uid(&node.user, node.uid)?;
        let (gid, group_is_known) = self.gid(&node.group, node.gid)?;
        if let Some(name) = match (user_is_known, group_is_known) {
            (false, _) => Some(&node.user),
            (true, false) => Some(&node.group),
            (true, true) => None,
        } {
            let why = format!("`{}`", String::from_utf8_lossy(name));
            self.refusals.count(Refused::Name, path, &why);
        }
        Ok((uid, gid))
    }

    /// The number of a user, and whether its name is known here.
    pub(super) fn uid(&self, name: &[u8], number: u32) -> io::Result<(Option<u32>, bool)> {
        self.number(name, number, || self.names.uid(name))
    }

    /// The number of a group, and whether its name is known here.
    pub(super) fn gid(&self, name: &[u8], number: u32) -> io::Result<(Option<u32>, bool)> {
        self.number(name, number, || self.names.gid(name))
    }

    fn number(
        &self,
        name: &[u8],
        number: u32,
        look_up: impl Fn() -> io::Result<Option<u32>>,
    ) -> io::Result<(Option<u32>, bool)> {
        // Of root no name is recorded.
        if name.is_empty() || self.numeric_owner || !self.has(flags::USER_NAMES) {
            return Ok((Some(number), true));
        }
        if let Some(found) = look_up()? {
            return Ok((Some(found), true));
        }
        if self.has(flags::UIDS_16BIT | flags::UIDS_32BIT) {
            return Ok((Some(number), false));
        }
        // Where no numbers are recorded, they stand in the place of names that do not exist.
        let number = str::from_utf8(name).ok().and_then(|name| name.parse().ok());
        Ok((number, true))
    }
}
