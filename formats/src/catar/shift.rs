//! Ids shifted, as those of containers are.

use std::io;

use super::acl::Acl;
use super::node::Node;

/// What the ids of a tree are shifted up by, as those of containers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shift {
    /// What to subtract from every id when it is recorded, where there must be no lower one, and to add when
    /// it is restored.
    pub shift: u32,
    /// What is recorded counts modulo this; 0 to leave it as it is.
    pub range: u64,
}

impl Shift {
    /// A recorded id shifted up again; `None` if there is no such id.
    pub fn id(&self, id: u32) -> Option<u32> {
        let rest = u32::try_from(self.range).ok().and_then(|range| id.checked_rem(range));
        rest.unwrap_or(id).checked_add(self.shift).filter(|&id| id < u32::MAX)
    }

    /// Shifts the ids that are recorded of a node up again; an error if there is no such id.
    pub fn restore(&self, node: &mut Node) -> io::Result<()> {
        let Acl { users, groups, default, .. } = &mut node.acl;
        let default = default.iter_mut().flat_map(|it| it.users.iter_mut().chain(&mut it.groups));
        let aces = users.iter_mut().chain(groups).chain(default);
        for id in aces.map(|ace| &mut ace.id).chain([&mut node.uid, &mut node.gid]) {
            *id = self.id(*id).ok_or_else(|| {
                io::Error::other(format!("there is no id {} above {id}", self.shift))
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Body;
    use super::*;

    #[test]
    fn ids_are_shifted_up_again() {
        let ids = |shift, range, id| {
            let mut node = Node { uid: id, ..Node::new(Body::Fifo) };
            Shift { shift, range }.restore(&mut node).ok().map(|()| (node.uid, node.gid))
        };
        assert_eq!(ids(70_000, 65_536, 1), Some((70_001, 70_000)));
        assert_eq!(ids(0, 65_536, 70_005), Some((4_469, 0)));
        assert_eq!(ids(100, 10, 70_005), Some((105, 100)));
        assert_eq!(ids(100, 0, 70_005), Some((70_105, 100)));
        assert_eq!(ids(100, 1 << 32, 70_005), Some((70_105, 100)));
        assert_eq!(ids(100, 0, u32::MAX - 100), None);
        assert_eq!(ids(100, 0, u32::MAX - 50), None);
    }
}
