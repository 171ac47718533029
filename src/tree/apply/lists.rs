//! Access control lists, attributes with names, capabilities and labels: what the kernel keeps as extended attributes.

use std::io;
use std::path::PathBuf;

use cairn_formats::catar::{Ace, Body, Node};
use cairn_formats::{flags, posix_acl};

use super::refusals::Refused;
use super::{Apply, Before, Target};

/// The attribute that holds capabilities.
const CAPABILITIES: &str = "security.capability";

/// The attribute that holds a label of SELinux.
const LABEL: &str = "security.selinux";

impl Apply {
    pub(super) fn give_acl(
        &self,
        target: Target<'_>,
        node: &Node,
        before: Before,
        path: &dyn Fn() -> PathBuf,
    ) -> io::Result<()> {
        let is_recorded = self.has(flags::ACL);
        let is_inherited = before.is_new && before.inherits && self.has(flags::PERMISSIONS);
        if node.acl.is_trivial() && !before.may_have() || !is_recorded && !is_inherited {
            return Ok(());
        }
        let known = |found: io::Result<(Option<u32>, bool)>, ace: &Ace| {
            found.ok().and_then(|(number, _)| number).unwrap_or(ace.id)
        };
        let uid = |ace: &Ace| known(self.uid(&ace.name, ace.id), ace);
        let gid = |ace: &Ace| known(self.gid(&ace.name, ace.id), ace);
        let lists = if is_recorded {
            posix_acl::to_xattrs(&node.acl, node.permissions, &uid, &gid)
        } else {
            (None, None)
        };
        let give = |name: &str, list: Option<Vec<u8>>| match list {
            Some(list) => target.set(name.as_bytes(), &list, before.is_new),
            None if before.may_have() => target.unset(name.as_bytes()),
            None => Ok(()),
        };
        let mut given = give(posix_acl::ACCESS, lists.0);
        if node.is_directory() {
            given = given.and(give(posix_acl::DEFAULT, lists.1));
        }
        self.refusals.note(Refused::Acl, path, given)?;
        Ok(())
    }

    pub(super) fn give_xattrs(
        &self,
        target: Target<'_>,
        node: &Node,
        before: Before,
        path: &dyn Fn() -> PathBuf,
    ) -> io::Result<()> {
        if self.has(flags::XATTRS) {
            if !before.is_new {
                let removed = target.remove_others(node);
                self.refusals.note(Refused::Xattr, path, removed)?;
            }
            let mut given = Ok(());
            for xattr in &node.xattrs {
                let one = target.set(&xattr.name, &xattr.value, before.is_new);
                given = given.and(one);
            }
            self.refusals.note(Refused::Xattr, path, given)?;
        }
        if self.has(flags::FCAPS) && matches!(node.body, Body::File(_)) {
            let given = if !node.fcaps.is_empty() {
                target.set(CAPABILITIES.as_bytes(), &node.fcaps, before.is_new)
            } else if before.is_new || has_xattr(node, CAPABILITIES) {
                Ok(())
            } else {
                target.unset(CAPABILITIES.as_bytes())
            };
            self.refusals.note(Refused::Capabilities, path, given)?;
        }
        if self.has(flags::SELINUX) && !node.selinux.is_empty() {
            let given = target.set(LABEL.as_bytes(), &node.selinux, false);
            self.refusals.note(Refused::Label, path, given)?;
        }
        Ok(())
    }
}

fn has_xattr(node: &Node, name: &str) -> bool {
    node.xattrs.iter().any(|xattr| xattr.name == name.as_bytes())
}
