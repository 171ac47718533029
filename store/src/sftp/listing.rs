//! Everything in a store on a server, for those who clear it up.
//!
//! ```text
//! names in the directory -(four hex digits)-> names in each, AT_ONCE of them at a time
//! each: open -> some names, AHEAD of what was taken -> end
//! ```
//! Names come from the server, and what is removed is what it has named: one with a slash in it would
//! lead elsewhere, and is passed over.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, UNIX_EPOCH};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::address::encoded;
use super::failure::Failure;
use super::file::OpenFile;
use super::objects::SftpObjects;
use super::wire::{Attributes, Request};
use crate::local::is_prefix;
use crate::remote::objects::{ListObjects, Objects, Page};
use crate::{Error, Facts, Result};

/// How many directories are read at a time.
const AT_ONCE: usize = 64;

/// How many requests for the names of a long directory are under way.
const AHEAD: usize = 8;

/// The names in a directory may have so many bytes, which is 100 000 chunks: a server that never ends
/// must not fill our memory.
const MOST: usize = 8 << 20;

/// What of a listing is still to come.
#[derive(Default)]
pub(crate) struct Cursor {
    /// Directories, once they are known.
    directories: Option<Vec<String>>,
}

impl ListObjects for SftpObjects {
    type Cursor = Cursor;

    async fn list(&self, cursor: &mut Cursor) -> Result<Option<Page>> {
        if cursor.directories.is_none() {
            let names = self.names("", |name, _| is_prefix(OsStr::from_bytes(name))).await?;
            let names = names.ok_or_else(|| self.no_root(Failure::Missing))?;
            cursor.directories = Some(names.iter().map(|(name, _)| encoded(name)).collect());
        }
        let directories = cursor.directories.get_or_insert_default();
        let some = directories.split_off(directories.len().saturating_sub(AT_ONCE));
        if some.is_empty() {
            return Ok(None);
        }
        let mut lists: FuturesUnordered<_> = some.iter().map(|one| self.page(one)).collect();
        let mut page = Page::new();
        while let Some(list) = lists.next().await {
            page.extend(list?);
        }
        Ok(Some(page))
    }

    async fn facts(&self, name: &str) -> Result<Option<Facts>> {
        let Some(attributes) = self.look(name, false).await? else { return Ok(None) };
        let facts = facts(&attributes).ok_or_else(|| {
            let why = "the server does not tell the size and the age of files".to_owned();
            Error::Unsupported { place: self.place(name), why }
        });
        facts.map(Some)
    }

    async fn remove(&self, names: &[String]) -> Vec<Result<()>> {
        let lease = match self.lease().await {
            Ok(lease) => lease,
            Err(failure) => {
                let failed = |name: &String| Err(failure.clone().at(self.place(name)));
                return names.iter().map(failed).collect();
            }
        };
        let removed: Vec<_> = names
            .iter()
            .map(|name| Ok(lease.ask(&Request::Remove { path: &self.path(name)? })))
            .collect();
        let mut outcomes = Vec::with_capacity(names.len());
        for (name, removed) in names.iter().zip(removed) {
            let outcome = match removed {
                Ok(removed) => removed.done().await,
                Err(failure) => Err(failure),
            };
            outcomes.push(match outcome {
                Ok(()) | Err(Failure::Missing) => Ok(()),
                Err(failure) => Err(failure.at(self.place(name))),
            });
        }
        let mut directories: Vec<&str> =
            names.iter().filter_map(|name| Some(name.rsplit_once('/')?.0)).collect();
        directories.sort_unstable();
        directories.dedup();
        let empty: Vec<_> = directories
            .into_iter()
            .filter_map(|name| self.path(name).ok())
            .map(|path| lease.ask(&Request::RemoveDirectory { path: &path }))
            .collect();
        for removed in empty {
            // Refused while anything is in it, which is what we want.
            let _ = removed.done().await;
        }
        outcomes
    }
}

impl SftpObjects {
    /// The files in a directory of chunks.
    async fn page(&self, directory: &str) -> Result<Page> {
        let is_file = |name: &[u8], attributes: &Attributes| {
            !attributes.is_directory() && !name.iter().any(|byte| matches!(byte, b'/' | 0))
        };
        // One that has gone meanwhile has none.
        let files = self.names(directory, is_file).await?.unwrap_or_default();
        let named = |(name, attributes): &(Vec<u8>, Attributes)| {
            (format!("{directory}/{}", encoded(name)), facts(attributes))
        };
        Ok(files.iter().map(named).collect())
    }

    /// The names in a directory that are wanted; `None` if it is not there.
    async fn names(
        &self,
        directory: &str,
        is_wanted: impl Fn(&[u8], &Attributes) -> bool,
    ) -> Result<Option<Vec<(Vec<u8>, Attributes)>>> {
        let place = self.place(directory);
        let listed = async {
            let path = match directory {
                "" => self.root().to_vec(),
                directory => self.path(directory)?,
            };
            let opened = OpenFile::directory(self.lease().await?, &path).await?;
            let (mut all, mut len) = (Vec::new(), 0);
            // The second of a short directory brings its end.
            let mut pending = VecDeque::from([opened.read_directory(), opened.read_directory()]);
            while let Some(next) = pending.pop_front() {
                let Some(names) = next.names().await? else { break };
                let wanted = names.iter().filter(|(name, facts)| is_wanted(name, facts));
                // Copied, as each is a part of a packet that would be kept for it.
                all.extend(wanted.map(|(name, facts)| (name.to_vec(), *facts)));
                len += names.iter().map(|(name, _)| name.len()).sum::<usize>();
                if len > MOST {
                    return Err(Failure::Refused("the list of files does not end".to_owned()));
                }
                for _ in 0..2.min(AHEAD - pending.len()) {
                    pending.push_back(opened.read_directory());
                }
            }
            Ok(all)
        };
        match listed.await {
            Ok(all) => Ok(Some(all)),
            Err(Failure::Missing) => Ok(None),
            Err(failure) => Err(failure.at(place)),
        }
    }
}

fn facts(attributes: &Attributes) -> Option<Facts> {
    let seconds = Duration::from_secs(attributes.modified?.into());
    Some(Facts { modified: UNIX_EPOCH + seconds, len: attributes.size? })
}
