//! A tree into an archive, or into a store without the archive ever lying anywhere.
//!
//! ```text
//! walk, steps -(feed, encoded)-> stream -> archive in a file or a pipe
//!                                       -> make -> chunks in a store, and their index
//! ```
//! What the stream is made of: `walk` goes through a `tree`, `content` reads what is in its files and `later` does
//! where it is not known, `layout` says what stands where in the archive, `parts` in what parts that is read,
//! `notices` tells what is not in it.

mod content;
mod encoded;
mod feed;
mod later;
mod layout;
mod map;
mod notices;
mod parts;
mod stream;
mod tree;
mod walk;
mod write;

use std::fs::File;
use std::path::Path;

use cairn_formats::{Index, flags};
use cairn_store::WriteStore;

use self::feed::Feed;
pub use self::layout::Counts;
use self::layout::Layout;
pub(crate) use self::map::{FileNumber, Map};
use self::notices::Notices;
use self::stream::Stream;
use self::write::write;
use crate::archive::encoder_cache::EncoderCache;
use crate::archive::step::Step;
use crate::make::source::window;
use crate::make::{MakeOptions, MakeStats, Repeated, chunks_of};
use crate::monitor::Quiet;
use crate::tree::Shift;
use crate::{Monitor, Result};

/// Where the nodes of an archive come from.
pub enum Input<'a> {
    /// A directory and all below it.
    Tree(&'a Path),
    /// A directory of which something is known from an earlier time. This is for chunks; where all bytes are wanted
    /// it is as any other.
    KnownTree(&'a Path, &'a EncoderCache),
    /// Whatever gives steps in the order of archives.
    Steps(Box<dyn Iterator<Item = Result<Step>> + Send + 'a>),
}

/// What is recorded.
#[derive(Clone, Copy, Debug)]
pub struct PackOptions {
    /// The feature word of the archive, normalised.
    pub features: u64,
    /// How ids of users and groups are changed.
    pub shift: Option<Shift>,
    /// Device and number of a file that must not be archived, as it is the archive.
    pub skip: Option<(u64, u64)>,
    /// How many threads work, at least 1.
    pub workers: usize,
}

/// What an archive was made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PackStats {
    /// What is in it.
    pub counts: Counts,
    /// Names that were left out.
    pub left_out: u64,
    /// Files that changed while they were archived.
    pub changed: u64,
}

/// Where an archive goes.
pub enum Output<'a> {
    /// A file, from its beginning. It is cut off behind the archive.
    File(&'a File),
    /// A pipe, or whatever takes bytes only in their order.
    Stream(&'a mut (dyn std::io::Write + Send)),
}

/// Writes an archive to `output`, which is called `name` in errors.
pub fn pack(
    input: Input<'_>,
    output: Output<'_>,
    name: &Path,
    options: &PackOptions,
    monitor: &dyn Monitor,
) -> Result<PackStats> {
    let notices = Notices::new(monitor);
    let feed = Feed::new(input.unknown(), options, &notices);
    let stream = Stream::new(feed, options.features, window(options.workers, 0), &notices);
    write(&stream, output, name, options.workers, monitor)?;
    Ok(stream.stats())
}

/// Cuts an archive, puts the chunks the store does not have yet, and returns the index, which is that of
/// the archive.
pub fn make_archive(
    input: Input<'_>,
    store: Option<&dyn WriteStore>,
    options: &PackOptions,
    make: &MakeOptions,
    monitor: &dyn Monitor,
) -> Result<(Index, MakeStats, PackStats)> {
    debug_assert_eq!(flags::digest(options.features), make.digest, "one digest for all");
    let mut index = Index::of_blob(make.digest, make.sizes).with_flags(options.features);
    let notices = Notices::new(monitor);
    // The digest of all takes all bytes.
    let input = if make.whole { input.unknown() } else { input };
    let feed = Feed::new(input, options, &notices);
    let window = window(make.workers, make.sizes.max());
    let stream = Stream::new(feed, options.features, window, &notices);
    let made = chunks_of(&stream, store, make, monitor, &mut |run| {
        for _ in 0..run.count {
            index.push(run.id, run.len);
            stream.chunk(run.id, run.len);
        }
        Ok(())
    })?;
    stream.name_owners();
    let stats = stream.stats();
    drop(stream);
    Ok((index, made, stats))
}

/// What would lie where in the archive of a tree. Its chunks go to `each` in their order, and nowhere else.
pub(crate) fn map(
    input: Input<'_>,
    options: &PackOptions,
    make: &MakeOptions,
    monitor: &dyn Monitor,
    each: &mut (dyn FnMut(Repeated) + Send),
) -> Result<Map> {
    // What is not in a seed is no matter.
    let quiet = Quiet(monitor);
    let notices = Notices::new(&quiet);
    let feed = Feed::new(input, options, &notices);
    let window = window(make.workers, make.sizes.max());
    let stream = Stream::new(feed, options.features, window, &notices).mapped();
    chunks_of(&stream, None, make, monitor, &mut |run| {
        each(run);
        (0..run.count).for_each(|_| stream.chunk(run.id, run.len));
        Ok(())
    })?;
    stream.name_owners();
    Ok(stream.take_map().unwrap_or_default())
}

/// What would lie where in the archive of the tree at `root`, whose files are not read for that.
pub(crate) fn map_records(
    root: &Path,
    options: &PackOptions,
    monitor: &dyn Monitor,
) -> Result<Map> {
    let notices = Notices::new(monitor);
    let feed = Feed::without_bytes(root, options, &notices);
    let mut layout = Layout::new(options.features, usize::MAX, None).mapped();
    while let Some(batch) = feed.next()? {
        monitor.check()?;
        layout.add(feed.encode(batch)?)?;
        // Where things lie is noted; what they are made of nobody asks for.
        layout.forget_parts();
    }
    Ok(layout.take_map().unwrap_or_default())
}

impl Input<'_> {
    /// The same, with nothing known of it.
    fn unknown(self) -> Self {
        match self {
            Input::KnownTree(root, _) => Input::Tree(root),
            other => other,
        }
    }
}
