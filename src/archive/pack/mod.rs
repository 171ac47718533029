//! A tree into an archive, or into a store without the archive ever lying anywhere.
//!
//! ```text
//! walk, steps -(feed)-> stream -> archive in a file or a pipe
//!                              -> make -> chunks in a store, and their index
//! ```
//! What the stream is made of: `walk` goes through a tree, `content` reads what is in its files, `layout` says what
//! stands where in the archive, `notices` tells what is not in it.

mod content;
mod feed;
mod layout;
mod map;
mod notices;
mod stream;
mod walk;
mod write;

use std::fs::File;
use std::path::Path;

use cairn_formats::{Index, flags};
use cairn_store::WriteStore;

use self::feed::{StepFeed, TreeFeed};
pub use self::layout::Counts;
pub(crate) use self::map::{FileNumber, Map};
use self::notices::Notices;
use self::stream::{Feed, Stream};
use self::walk::Tree;
use self::write::write;
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
    struct Write<'o, 'n>(Output<'o>, &'n Path);
    impl Use for Write<'_, '_> {
        type Result = ();
        fn stream<F: Feed>(
            self,
            stream: &Stream<'_, F>,
            options: &PackOptions,
            monitor: &dyn Monitor,
        ) -> Result<()> {
            write(stream, self.0, self.1, options.workers, monitor)
        }
    }
    let window = window(options.workers, 0);
    Ok(with_stream(input, window, options, monitor, Write(output, name))?.1)
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
    struct Make<'a>(Option<&'a dyn WriteStore>, &'a MakeOptions, &'a mut Index);
    impl Use for Make<'_> {
        type Result = MakeStats;
        fn stream<F: Feed>(
            self,
            stream: &Stream<'_, F>,
            _: &PackOptions,
            monitor: &dyn Monitor,
        ) -> Result<MakeStats> {
            chunks_of(stream, self.0, self.1, monitor, &mut |run| {
                (0..run.count).for_each(|_| self.2.push(run.id, run.len));
                Ok(())
            })
        }
    }
    debug_assert_eq!(flags::digest(options.features), make.digest, "one digest for all");
    let mut index = Index::of_blob(make.digest, make.sizes).with_flags(options.features);
    let window = window(make.workers, make.sizes.max());
    let job = Make(store, make, &mut index);
    let (made, stats) = with_stream(input, window, options, monitor, job)?;
    Ok((index, made, stats))
}

/// What would lie where in the archive of the tree at `root`. Its chunks go to `each` in their order, and
/// nowhere else.
pub(crate) fn map(
    root: &Path,
    features: u64,
    make: &MakeOptions,
    monitor: &dyn Monitor,
    each: &mut (dyn FnMut(Repeated) + Send),
) -> Result<Map> {
    // What is not in a seed is no matter.
    let quiet = Quiet(monitor);
    let notices = Notices::new(&quiet);
    let tree = Tree::new(root, features, None, None, &notices);
    let window = window(make.workers, make.sizes.max());
    let stream = Stream::new(TreeFeed::new(tree), features, window, &notices).mapped();
    chunks_of(&stream, None, make, monitor, &mut |run| {
        each(run);
        Ok(())
    })?;
    Ok(stream.take_map().unwrap_or_default())
}

/// What is done with a stream, whatever feeds it.
trait Use {
    type Result;
    fn stream<F: Feed>(
        self,
        stream: &Stream<'_, F>,
        options: &PackOptions,
        monitor: &dyn Monitor,
    ) -> Result<Self::Result>;
}

fn with_stream<U: Use>(
    input: Input<'_>,
    window: usize,
    options: &PackOptions,
    monitor: &dyn Monitor,
    job: U,
) -> Result<(U::Result, PackStats)> {
    let notices = Notices::new(monitor);
    let features = options.features;
    let (result, counts) = match input {
        Input::Tree(root) => {
            let tree = Tree::new(root, features, options.shift, options.skip, &notices);
            let stream = Stream::new(TreeFeed::new(tree), features, window, &notices);
            (job.stream(&stream, options, monitor)?, stream.counts())
        }
        Input::Steps(steps) => {
            let stream = Stream::new(StepFeed::new(steps), features, window, &notices);
            (job.stream(&stream, options, monitor)?, stream.counts())
        }
    };
    let (left_out, changed) = notices.counts();
    Ok((result, PackStats { counts, left_out, changed }))
}
