//! Members put together to a tree.
//!
//! Nodes lie in one list, names lead to places in it: several names to one place are hard links. A link to what has
//! not come yet has a place of its own until all has come.

use std::collections::BTreeMap;

use cairn_formats::catar::{Body, Node};

use super::members::{Member, What, shown};
use crate::archive::step::Piece;

/// Bytes of the longest name in an archive.
const LONGEST_NAME: usize = 255;

/// Directories that are made because they are used but do not come: so many, and so many more for each member. Two
/// bytes name one, which takes hundreds.
const MOST_MISSING: usize = 65_536;
const MISSING_OF_MEMBER: usize = 32;

/// The permissions of a directory that is used but does not come.
const MISSING: u32 = 0o755;

/// The place of what is at the top.
const TOP: usize = 0;

/// Says what is wrong, with the path of the member.
type Told<T> = Result<T, String>;

/// A tree that more may be added to.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) places: Vec<Place>,
    /// Whether the top has come itself, as `.`.
    has_top: bool,
    /// How many more directories may be made that do not come.
    room: usize,
}

/// A node with all that is in it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) node: Node,
    pub(super) pieces: Vec<Piece>,
    pub(super) children: BTreeMap<Vec<u8>, usize>,
    /// How many names it has.
    pub(super) names: usize,
    link: Option<Box<Link>>,
}

/// Another name of something.
#[derive(Debug)]
struct Link {
    from: Vec<u8>,
    to: Vec<u8>,
    /// The place it leads to, once that is known.
    place: Option<usize>,
}

impl Default for Tree {
    fn default() -> Self {
        Self { places: vec![Place::missing()], has_top: false, room: MOST_MISSING }
    }
}

impl Place {
    fn new(node: Node, pieces: Vec<Piece>) -> Self {
        Self { node, pieces, children: BTreeMap::new(), names: 0, link: None }
    }

    fn missing() -> Self {
        Self::new(Node { permissions: MISSING, ..Node::new(Body::Directory) }, Vec::new())
    }

    fn is_directory(&self) -> bool {
        self.link.is_none() && self.node.is_directory()
    }
}

impl Tree {
    /// Adds a member; what had its name before is replaced.
    pub(super) fn add(&mut self, member: Member) -> Told<()> {
        let Member { path, what } = member;
        self.room += MISSING_OF_MEMBER;
        let told = |why: String| format!("member `{}`: {why}", shown(&path));
        let names = names(&path).map_err(told)?;
        let Some((name, parents)) = names.split_last() else {
            return self.add_top(what).map_err(told);
        };
        let parent = self.directory(parents).map_err(told)?;
        match what {
            What::Node(node, pieces) => self.put(parent, name, Place::new(*node, pieces)),
            What::Link(to) => self.add_link(parent, name, &path, &to),
        }
        .map_err(told)
    }

    fn add_top(&mut self, what: What) -> Told<()> {
        match what {
            What::Node(node, _) if node.is_directory() => {
                self.places[TOP].node = *node;
                self.has_top = true;
                Ok(())
            }
            _ => Err("the root is no directory".to_owned()),
        }
    }

    /// The place of a directory, which is made if it has not come.
    fn directory(&mut self, names: &[&[u8]]) -> Told<usize> {
        let mut place = TOP;
        for name in names {
            place = match self.places[place].children.get(*name) {
                Some(&child) if self.places[child].is_directory() => child,
                Some(_) => {
                    return Err(format!("it is in `{}`, which is no directory", shown(name)));
                }
                None => {
                    let room = self.room.checked_sub(1);
                    self.room = room.ok_or("too many directories that do not come themselves")?;
                    self.push(place, name, Place::missing())
                }
            };
        }
        Ok(place)
    }

    fn push(&mut self, parent: usize, name: &[u8], child: Place) -> usize {
        let place = self.places.len();
        self.places.push(child);
        self.places[parent].children.insert(name.to_vec(), place);
        place
    }

    fn put(&mut self, parent: usize, name: &[u8], new: Place) -> Told<()> {
        if let Some(&old) = self.places[parent].children.get(name) {
            let old = &mut self.places[old];
            if old.is_directory() && new.is_directory() {
                old.node = new.node;
                return Ok(());
            }
            if !old.children.is_empty() {
                return Err("it would replace a directory with something in it".to_owned());
            }
        }
        self.push(parent, name, new);
        Ok(())
    }

    fn add_link(&mut self, parent: usize, name: &[u8], from: &[u8], to: &[u8]) -> Told<()> {
        let own = self.places[parent].children.get(name).copied();
        match self.find(to)? {
            Some(place) if self.places[place].is_directory() => {
                Err(format!("it is a link to `{}`, which is a directory", shown(to)))
            }
            Some(place) if own == Some(place) => Ok(()),
            Some(place) => {
                if own.is_some_and(|own| !self.places[own].children.is_empty()) {
                    return Err("it would replace a directory with something in it".to_owned());
                }
                self.places[parent].children.insert(name.to_vec(), place);
                Ok(())
            }
            None => {
                let mut place = Place::missing();
                let (from, to) = (from.to_vec(), to.to_vec());
                place.link = Some(Box::new(Link { from, to, place: None }));
                self.put(parent, name, place)
            }
        }
    }

    /// The place of a path, if it has come.
    fn find(&self, path: &[u8]) -> Told<Option<usize>> {
        let names =
            names(path).map_err(|why| format!("it is a link to `{}`: {why}", shown(path)))?;
        let mut place = TOP;
        for name in names {
            let Some(&child) = self.places[place].children.get(name) else { return Ok(None) };
            place = child;
        }
        Ok(Some(place))
    }

    /// Takes all links to where they lead; gives the place of the root.
    pub(super) fn finish(&mut self, is_root_added: bool) -> Told<usize> {
        for parent in 0..self.places.len() {
            let is_link = |&(_, &place): &(&Vec<u8>, &usize)| self.places[place].link.is_some();
            let links = self.places[parent].children.iter().filter(is_link);
            let links: Vec<_> = links.map(|(name, &place)| (name.clone(), place)).collect();
            for (name, place) in links {
                let place = self.resolved(place)?;
                self.places[parent].children.insert(name, place);
            }
        }
        for parent in 0..self.places.len() {
            let children = std::mem::take(&mut self.places[parent].children);
            children.values().for_each(|&place| self.places[place].names += 1);
            self.places[parent].children = children;
        }
        let top = &self.places[TOP];
        if self.has_top || is_root_added {
            return Ok(TOP);
        }
        let mut at_top = top.children.iter();
        match (at_top.next(), at_top.next()) {
            (None, _) => Err("the tar is empty: use --tar-add-root for an empty root".to_owned()),
            (Some((_, &only)), None) if self.places[only].is_directory() => Ok(only),
            (Some((name, _)), None) => Err(format!(
                "`{}` is no directory, so it cannot be the root: use --tar-add-root",
                shown(name)
            )),
            (Some((first, _)), Some((second, _))) => Err(format!(
                "there is no root: `{}` and `{}` are both at the top: use --tar-add-root",
                shown(first),
                shown(second)
            )),
        }
    }

    /// Where a place leads if it is a link.
    fn resolved(&mut self, place: usize) -> Told<usize> {
        let mut passed = Vec::new();
        let mut at = place;
        while let Some(link) = &self.places[at].link {
            if let Some(place) = link.place {
                at = place;
                break;
            }
            let told = |why: &str| {
                format!(
                    "member `{}`: it is a link to `{}`, {why}",
                    shown(&link.from),
                    shown(&link.to)
                )
            };
            // What is being followed leads to itself for now.
            if passed.len() > self.places.len() {
                return Err(told("which leads back to itself"));
            }
            passed.push(at);
            at = match self.find(&link.to)? {
                None => return Err(told("which is not in the tar")),
                Some(place) if self.places[place].is_directory() => {
                    return Err(told("which is a directory"));
                }
                Some(place) => place,
            };
        }
        for passed in passed {
            if let Some(link) = &mut self.places[passed].link {
                link.place = Some(at);
            }
        }
        Ok(at)
    }
}

/// The components of a path that lead down from the top.
fn names(path: &[u8]) -> Told<Vec<&[u8]>> {
    let names: Vec<&[u8]> =
        path.split(|&byte| byte == b'/').filter(|name| !matches!(*name, b"" | b".")).collect();
    for &name in &names {
        if name == b".." {
            return Err("`..` in its path".to_owned());
        }
        if name.contains(&0) {
            return Err("a NUL in its path".to_owned());
        }
        if name.len() > LONGEST_NAME {
            return Err(format!("a name of {} bytes", name.len()));
        }
    }
    Ok(names)
}
