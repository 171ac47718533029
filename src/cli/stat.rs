//! `cairn stat`

use std::io::{self, Write};
use std::path::PathBuf;

use cairn::Error;
use cairn::archive::stat::{Stat, stat};
use cairn_formats::catar::Body;
use cairn_formats::flags;
use cairn_formats::mtree::{self, escaped};
use cairn_store::Location;
use chrono::{DateTime, Local};
use clap::Parser;

use super::Context;
use super::access::Access;
use super::looked_into::{Sources, Tell, bytes_of};

/// Print all that is known of one node of an archive
///
/// Times are those of the local zone. A directory is looked at as the archive that `tar` makes of it.
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// Archive, index of one, or directory
    archive: Location,

    /// Which node in it; the root without it
    subpath: Option<PathBuf>,

    #[command(flatten)]
    sources: Sources,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let access = Access::new(context, &args.sources.reach);
    let (input, workers) =
        args.sources.open(&args.archive, &access, Tell::ByContent, context.digest)?;
    let progress = context.progress.without_lines();
    let stat = stat(&input, &bytes_of(args.subpath.as_ref()), workers, &progress)?;
    print(&stat)
}

/// Prints casync's lines.
pub(super) fn print(stat: &Stat) -> anyhow::Result<()> {
    let text: String =
        lines(stat).iter().map(|(name, value)| format!("{name:>8}: {value}\n")).collect();
    io::stdout().write_all(text.as_bytes()).map_err(Error::io("write to", "standard output"))?;
    Ok(())
}

/// casync's lines, in its order.
fn lines(stat: &Stat) -> Vec<(&'static str, String)> {
    let node = &stat.found.node;
    let has = |bits: u64| stat.features & bits != 0;
    let path = if stat.path.is_empty() { b"." } else { &stat.path[..] };
    let mut lines = vec![("File", escaped(path)), ("Mode", mtree::permissions(node))];
    if matches!(node.body, Body::File(_) | Body::Directory) {
        lines.push(("FileAttr", letters(node.attributes, &CHATTR)));
        lines.push(("FATAttr", letters(node.attributes, &FAT)));
    }
    lines.push(("Offset", stat.found.start.to_string()));
    if has(flags::TIMES) {
        lines.push(("Time", local_time(node.mtime)));
    }
    if let Body::File(size) = node.body {
        lines.push(("Size", size.to_string()));
    }
    let has_ids = has(flags::UIDS_16BIT | flags::UIDS_32BIT);
    let owners = [("User", mtree::user(node), node.uid), ("Group", mtree::group(node), node.gid)];
    for (what, name, id) in owners {
        let name =
            Some(name).filter(|name| has(flags::USER_NAMES) && !name.is_empty()).map(escaped);
        match (name, has_ids) {
            (Some(name), true) => lines.push((what, format!("{name} ({id})"))),
            (Some(name), false) => lines.push((what, name)),
            (None, true) => lines.push((what, id.to_string())),
            (None, false) => {}
        }
    }
    if stat.has_project {
        lines.push(("ProjID", node.projid.to_string()));
    }
    match &node.body {
        Body::Symlink(target) => lines.push(("Target", escaped(target))),
        Body::Block { major, minor } | Body::Character { major, minor } => {
            lines.push(("Device", format!("{major}:{minor}")));
        }
        _ => {}
    }
    for xattr in &node.xattrs {
        lines.push(("XAttr", format!("{} → {}", escaped(&xattr.name), escaped(&xattr.value))));
    }
    let digests = [("Digest", stat.content), ("HLDigest", stat.whole)];
    lines.extend(digests.into_iter().filter_map(|(name, id)| Some((name, id?.to_string()))));
    lines
}

/// What lsattr shows, as far as archives record it, but `N` for what is not to be compressed.
const CHATTR: [(u64, char); 10] = [
    (flags::FLAG_SYNC, 'S'),
    (flags::FLAG_DIRSYNC, 'D'),
    (flags::FLAG_IMMUTABLE, 'i'),
    (flags::FLAG_APPEND, 'a'),
    (flags::FLAG_NODUMP, 'd'),
    (flags::FLAG_NOATIME, 'A'),
    (flags::FLAG_COMPR, 'c'),
    (flags::FLAG_NOCOMP, 'N'),
    (flags::FLAG_NOCOW, 'C'),
    (flags::FLAG_PROJINHERIT, 'P'),
];

const FAT: [(u64, char); 3] =
    [(flags::FLAG_HIDDEN, 'h'), (flags::FLAG_SYSTEM, 's'), (flags::FLAG_ARCHIVE, 'a')];

fn letters(attributes: u64, letters: &[(u64, char)]) -> String {
    let letter = |&(bit, letter): &(u64, char)| if attributes & bit == 0 { '-' } else { letter };
    letters.iter().map(letter).collect()
}

fn local_time(nanos: i64) -> String {
    let time: DateTime<Local> = DateTime::from_timestamp_nanos(nanos).into();
    time.format("%Y-%m-%d %H:%M:%S%.9f").to_string()
}
