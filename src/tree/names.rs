//! Names of users and groups, as the system looks them up.
//!
//! Each lookup may ask a server far away, so every answer is kept: a tree has few owners and many files.

use std::collections::HashMap;
use std::hash::Hash;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User};

/// A name as the system has it.
pub type Name = Arc<[u8]>;

/// Names and numbers of users and groups, each looked up once.
#[derive(Debug, Default)]
pub struct Names {
    users: Answers<u32, Name>,
    groups: Answers<u32, Name>,
    uids: Answers<Vec<u8>, u32>,
    gids: Answers<Vec<u8>, u32>,
}

impl Names {
    /// The name of a user; `None` if it has none.
    pub fn user(&self, uid: u32) -> io::Result<Option<Name>> {
        self.users
            .get(&uid, || Ok(User::from_uid(Uid::from_raw(uid))?.map(|user| name(&user.name))))
    }

    /// The name of a group; `None` if it has none.
    pub fn group(&self, gid: u32) -> io::Result<Option<Name>> {
        let lookup = || Group::from_gid(Gid::from_raw(gid));
        self.groups.get(&gid, || Ok(lookup()?.map(|group| name(&group.name))))
    }

    /// The number of a user; `None` if there is none of that name.
    pub fn uid(&self, name: &[u8]) -> io::Result<Option<u32>> {
        let Ok(text) = str::from_utf8(name) else { return Ok(None) };
        self.uids.get(name, || Ok(User::from_name(text)?.map(|user| user.uid.as_raw())))
    }

    /// What has been said of users and groups by number, in one piece of text.
    pub(crate) fn said(&self) -> Vec<u8> {
        let all = |kind: u8, answers: &Answers<u32, Name>| {
            let known = answers.known.read().unwrap_or_else(PoisonError::into_inner);
            let line = |(id, name): (&u32, &Option<Name>)| {
                let name = name.as_deref().map_or("-".to_owned(), hex);
                format!("{}{id} {name}\n", kind as char)
            };
            known.iter().map(line).collect::<String>()
        };
        (all(b'u', &self.users) + &all(b'g', &self.groups)).into_bytes()
    }

    /// Whether all of this would be said again.
    pub(crate) fn agree(&self, said: &[u8]) -> io::Result<bool> {
        let Ok(said) = str::from_utf8(said) else { return Ok(false) };
        for line in said.lines() {
            let Some((id, name)) = line.split_once(' ') else { return Ok(false) };
            let number = |id: &str| id.parse().unwrap_or(u32::MAX);
            let now = match id.split_at_checked(1) {
                Some(("u", id)) => self.user(number(id))?,
                Some(("g", id)) => self.group(number(id))?,
                _ => return Ok(false),
            };
            if now.as_deref().map_or("-".to_owned(), hex) != name {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The number of a group; `None` if there is none of that name.
    pub fn gid(&self, name: &[u8]) -> io::Result<Option<u32>> {
        let Ok(text) = str::from_utf8(name) else { return Ok(None) };
        self.gids.get(name, || Ok(Group::from_name(text)?.map(|group| group.gid.as_raw())))
    }
}

/// Whether casync reads an archive with such a name of a user or a group: letters, digits, `_` and `-`, no
/// digit and no `-` at its beginning, at most 255 of them, and not "root".
pub fn is_portable(name: &[u8]) -> bool {
    let Some((first, rest)) = name.split_first() else { return false };
    let begins = first.is_ascii_alphabetic() || *first == b'_';
    let goes_on = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    begins && rest.iter().all(goes_on) && name.len() <= 255 && name != b"root"
}

/// As digits, so that whatever is in a name ends no line.
fn hex(name: &[u8]) -> String {
    name.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn name(name: &str) -> Name {
    name.as_bytes().into()
}

/// Answers by what was asked for.
#[derive(Debug)]
struct Answers<K, V> {
    known: RwLock<HashMap<K, Option<V>>>,
}

impl<K, V> Default for Answers<K, V> {
    fn default() -> Self {
        Self { known: RwLock::default() }
    }
}

impl<K: Eq + Hash, V: Clone> Answers<K, V> {
    fn get<Q>(&self, key: &Q, ask: impl Fn() -> Result<Option<V>, Errno>) -> io::Result<Option<V>>
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        // Answers are whole or not there, whoever panicked.
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = known.get(key) {
            return Ok(answer.clone());
        }
        drop(known);
        let answer = match ask() {
            Ok(answer) => answer,
            // getpwnam(3): "the given name or uid was not found", as some systems say it.
            Err(
                Errno::ENOENT | Errno::ESRCH | Errno::EBADF | Errno::EPERM | Errno::UnknownErrno,
            ) => None,
            Err(errno) => return Err(errno.into()),
        };
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(key.to_owned(), answer.clone());
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn root_has_a_name_and_a_number() {
        let names = Names::default();
        assert_eq!(names.user(0).unwrap().as_deref(), Some(&b"root"[..]));
        assert_eq!(names.group(0).unwrap().as_deref(), Some(&b"root"[..]));
        assert_eq!(names.uid(b"root").unwrap(), Some(0));
        assert_eq!(names.gid(b"root").unwrap(), Some(0));
    }

    #[test]
    fn who_does_not_exist_is_none() {
        let names = Names::default();
        assert_eq!(names.user(4_000_000_123).unwrap(), None);
        assert_eq!(names.group(4_000_000_123).unwrap(), None);
        for name in [&b"no such user, surely"[..], b"", b"\xff\xfe", b"nul\0nul"] {
            assert_eq!(names.uid(name).unwrap(), None, "{name:?}");
            assert_eq!(names.gid(name).unwrap(), None, "{name:?}");
        }
    }

    #[test]
    fn nobody_is_asked_twice() {
        let answers = Answers::<u32, u32>::default();
        let asked = Cell::new(0);
        let ask = |answer| {
            let asked = &asked;
            move || {
                asked.set(asked.get() + 1);
                answer
            }
        };
        assert!(answers.get(&1, ask(Err(Errno::EIO))).is_err());
        for _ in 0..3 {
            assert_eq!(answers.get(&1, ask(Ok(Some(7)))).unwrap(), Some(7));
            assert_eq!(answers.get(&2, ask(Ok(None))).unwrap(), None);
            assert_eq!(answers.get(&3, ask(Err(Errno::ENOENT))).unwrap(), None);
        }
        assert_eq!(asked.get(), 4);
    }

    #[test]
    fn portable_names_are_what_casync_reads() {
        for name in ["a", "_x", "systemd-network", "A9"] {
            assert!(is_portable(name.as_bytes()), "{name}");
        }
        for name in ["", "root", "9a", "-a", "a.b", "a b", "54321", "ä", &"a".repeat(256)] {
            assert!(!is_portable(name.as_bytes()), "{name}");
        }
    }
}
