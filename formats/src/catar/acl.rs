//! Access control lists, as archives record them.
//!
//! The permissions of the owner and of all others, and of the group where no mask exists, stand in the
//! mode of the node and not here.

/// What one user or group may do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ace {
    /// The number of the user or group.
    pub id: u32,
    /// Its name, empty if there is none.
    pub name: Vec<u8>,
    /// 4 to read, 2 to write, 1 to execute.
    pub permissions: u8,
}

/// The access control lists of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acl {
    /// What further users may do, in the order of their ids.
    pub users: Vec<Ace>,
    /// What further groups may do, in the order of their ids.
    pub groups: Vec<Ace>,
    /// What the owning group may do; only where there is a mask, which then stands in its place in the mode.
    pub group_obj: Option<u8>,
    /// What new files in this directory start with.
    pub default: Option<DefaultAcl>,
}

/// What new files in a directory start with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DefaultAcl {
    /// What the owner may do.
    pub user_obj: u8,
    /// What the owning group may do.
    pub group_obj: u8,
    /// What all others may do.
    pub other: u8,
    /// What further users and groups may do at most.
    pub mask: Option<u8>,
    /// What further users may do, in the order of their ids.
    pub users: Vec<Ace>,
    /// What further groups may do, in the order of their ids.
    pub groups: Vec<Ace>,
}

impl Acl {
    /// Whether it says no more than the mode of the node does.
    pub fn is_trivial(&self) -> bool {
        *self == Self::default()
    }
}
