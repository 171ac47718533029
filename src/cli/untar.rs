//! `cairn untar`

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use cairn::Monitor;
use cairn::archive::input::{Forward, Input};
use cairn::archive::seed::TreeSeed;
use cairn::archive::tar_output::to_tar;
use cairn::archive::unpack::{Source, UnpackOptions, UnpackStats, unpack};
use cairn::archive::walk::simple;
use cairn_formats::catar::Decoder;
use cairn_formats::{Index, flags};
use cairn_store::{Location, Store};
use clap::{ArgAction, Parser, ValueEnum};

use super::access::Access;
use super::awaited::Awaited;
use super::list::{self, List};
use super::looked_into::{self, bytes_of};
use super::outlet::{self, Patient};
use super::read_cache::ReadCache;
use super::selection::{boolean, feature};
use super::store_flags::StoreFlags;
use super::{Context, failure, tree_seeds};

/// Restore an archive, or a part of it, into a directory
///
/// Files that are in the directory and not in the archive stay. A file that is there already with the same
/// content is kept; any other is replaced when the new one is complete.
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// Archive to read, `-` for standard input; with --index its index
    archive: Location,

    /// Directory to restore it into, made if it is missing; with --output-format=gnu-tar the tar to write, `-` for
    /// standard output
    target: PathBuf,

    /// What to restore, as a path in the archive: what is in that directory, or that one file
    path: Option<PathBuf>,

    /// Read the archive through an index; also if its name ends in .caidx
    #[arg(short, long)]
    index: bool,

    /// Store to read chunks from; several are asked in their order
    #[arg(short, long = "store", value_name = "STORE", value_parser = list::parse::<Location>)]
    store: Vec<List<Location>>,

    #[command(flatten)]
    cache: ReadCache,

    /// Take chunks of an index from this directory where it has them; may be given several times
    #[arg(long, value_name = "DIRECTORY")]
    seed: Vec<PathBuf>,

    /// Take chunks from what is in the target already: as it takes reading all of it, by default only if a store is
    /// far away
    #[arg(long, value_name = "BOOL", value_parser = boolean, action = ArgAction::Set, num_args = 0..=1,
          default_missing_value = "yes", require_equals = true)]
    seed_output: Option<bool>,

    /// Keep in this directory what is known of the target, so that the next update reads and writes no more than what is
    /// different. Files of which the system says what it said then are taken for what they were
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,

    /// Share blocks with files of seeds where the file system can, which is the default
    #[arg(long, value_name = "BOOL", value_parser = boolean, action = ArgAction::Set, num_args = 0..=1,
          default_missing_value = "yes", require_equals = true)]
    reflink: Option<bool>,

    /// Give files of seeds that are the same in everything another name instead of writing them again; whoever changes
    /// one of them changes both. Only where all is restored that the archive says of files
    #[arg(long, value_name = "BOOL", value_parser = boolean, action = ArgAction::Set, num_args = 0..=1,
          default_missing_value = "yes", require_equals = true)]
    hardlink: Option<bool>,

    /// Restore into a directory (`disk`), or write a tar that GNU tar and all others read
    #[arg(long, value_name = "FORMAT", default_value = "disk")]
    output_format: OutputFormat,

    /// Let files belong to whoever runs this
    #[arg(long)]
    no_same_owner: bool,

    /// Give files the permissions that new files have, and no access control lists
    #[arg(long)]
    no_same_permissions: bool,

    /// Give files no extended attributes, no capabilities and no labels
    #[arg(long)]
    no_same_xattrs: bool,

    /// Restore only this of what the archive records; a feature or a set as casync names them, may be given several times
    #[arg(long, value_name = "FEATURE", value_delimiter = ',', value_parser = feature)]
    with: Vec<u64>,

    /// Restore all but this; may be given several times
    #[arg(long, value_name = "FEATURE", value_delimiter = ',', value_parser = feature)]
    without: Vec<u64>,

    /// Remove what the archive does not have from the directories it has
    #[arg(long)]
    delete: bool,

    /// Make changeable what is in the way and may not be changed, as chattr +i and +a forbid it
    #[arg(long)]
    undo_immutable: bool,

    /// Take owners by their numbers, whatever their names
    #[arg(long)]
    numeric_owner: bool,

    #[command(flatten)]
    reach: StoreFlags,
}

/// What an archive becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    Disk,
    GnuTar,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let access = Access::new(context, &args.reach);
    if args.output_format == OutputFormat::GnuTar {
        return args.write_tar(context, &access);
    }
    anyhow::ensure!(
        args.hardlink != Some(true) || !args.seed.is_empty(),
        "--hardlink gives files of seeds another name: name one with --seed"
    );
    if args.is_index() {
        let (index, store) = args.open_index(&access)?;
        context.signals.catch()?;
        let seeds = args.seeds(&index, context)?;
        let workers = args.reach.concurrency.workers(store.in_flight());
        let store = tree_seeds::in_front_of(&seeds, store);
        let name = PathBuf::from(args.archive.without_secrets());
        let source = Source::index(&index, store.as_ref(), &name).seeded(&seeds);
        restore(args, context, &source, workers)?;
        if let Some(cache) = &args.cache_dir {
            let workers = args.reach.concurrency.processors();
            let progress = context.progress.without_lines();
            TreeSeed::scan_changes(&args.target, &index, workers, cache, &progress)?;
        }
        return Ok(());
    }
    for (flag, is_given) in [
        ("--seed", !args.seed.is_empty()),
        ("--seed-output", args.seed_output.is_some()),
        ("--cache-dir", args.cache_dir.is_some()),
    ] {
        anyhow::ensure!(!is_given, "{flag} is for an index: an archive has all of its bytes");
    }
    args.warn_of_no_store(&access);
    let workers = args.reach.concurrency.processors();
    let Location::Local(path) = &args.archive else {
        if args.is_stdin() {
            let name = Path::new("standard input");
            // Past the standard library's buffer, which nobody would look into.
            let file = io::stdin().as_fd().try_clone_to_owned().map(File::from);
            let source = Source::stream(file.map_err(cairn::Error::io("open", name))?, name);
            return restore(args, context, &source, workers);
        }
        let name = args.archive.without_secrets();
        anyhow::bail!("{name}: an archive is a file; of its index say so with --index");
    };
    let file = File::open(path).map_err(cairn::Error::io("open", path))?;
    let metadata = file.metadata().map_err(cairn::Error::io("read", path))?;
    let source = if metadata.is_file() {
        Source::file(&file, path)?
    } else {
        Source::stream(file.try_clone().map_err(cairn::Error::io("open", path))?, path)
    };
    restore(args, context, &source, workers)
}

/// Ends when the user wants it.
struct Watched<'a>(&'a mut dyn Forward, &'a dyn Monitor);

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.1.is_interrupted() {
            return Err(io::Error::other("interrupted"));
        }
        self.0.read(buffer)
    }
}

fn restore(
    args: &Args,
    context: &Context,
    source: &Source<'_>,
    workers: usize,
) -> anyhow::Result<()> {
    context.signals.catch()?;
    let options = UnpackOptions {
        features: args.features(),
        delete: args.delete,
        undo_immutable: args.undo_immutable,
        reflink: args.reflink.unwrap_or(true),
        hardlink: args.hardlink.unwrap_or(false),
        numeric_owner: args.numeric_owner,
        path: args.path(),
        workers,
        ..UnpackOptions::default()
    };
    let done = unpack(source, &args.target, &options, &context.progress);
    let stats = match done {
        Err(e @ cairn::Error::Format(_)) => {
            return Err(e).with_context(|| source.name().display().to_string());
        }
        done => done?,
    };
    report(&stats)?;
    tracing::info!(shared_bytes = stats.shared_bytes, linked = stats.linked, "taken from seeds");
    if let Some(size) = source.size() {
        context.progress.summary("restored", size);
    }
    Ok(())
}

/// Says what files could not be given. To have lost something of them is an error.
pub(super) fn report(stats: &UnpackStats) -> anyhow::Result<()> {
    let mut lost = 0;
    for refusal in &stats.refusals {
        let (count, words) = (refusal.count, refusal.what.words());
        let files = if count == 1 { "file" } else { "files" };
        let (path, why) = (refusal.path.display(), &refusal.why);
        failure::warn(&format!("{count} {files} {words}, such as {path}: {why}"));
        if refusal.what.is_loss() {
            lost += count;
        }
    }
    anyhow::ensure!(lost == 0, "not everything could be restored as it was");
    Ok(())
}

impl Args {
    fn open_index(&self, access: &Access<'_>) -> anyhow::Result<(Index, Box<dyn Store>)> {
        let index = access.index(&self.archive)?;
        let stores = list::all(&self.store).cloned().collect::<Vec<_>>();
        anyhow::ensure!(!stores.is_empty(), "no store is given: name one with -s");
        let store = access.cached(&stores, &self.cache, self.reach.cache_repair())?;
        Ok((index, store))
    }

    /// The directories that may have chunks as well.
    fn seeds(&self, index: &Index, context: &Context) -> anyhow::Result<Vec<TreeSeed>> {
        let is_far = list::all(&self.store).any(|store| matches!(store, Location::Remote { .. }));
        let is_seed = self.seed_output.unwrap_or(is_far || self.cache_dir.is_some())
            && self.target.read_dir().is_ok_and(|mut names| names.next().is_some());
        let target = is_seed.then_some(&*self.target);
        let workers = self.reach.concurrency.processors();
        let cache = self.cache_dir.as_deref();
        tree_seeds::scan(&self.seed, target, cache, index, workers, context)
    }

    /// Writes the archive as a tar.
    fn write_tar(&self, context: &Context, access: &Access<'_>) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.path.is_none()
                && self.with.is_empty()
                && self.without.is_empty()
                && self.seed.is_empty()
                && self.seed_output.is_none()
                && self.reflink.is_none()
                && self.hardlink.is_none()
                && !(self.delete || self.undo_immutable || self.numeric_owner)
                && !(self.no_same_owner || self.no_same_permissions || self.no_same_xattrs),
            "a tar is written of all that an archive holds: what is said of files, seeds and the target is for directories"
        );
        let mut workers = self.reach.concurrency.processors();
        let input = if self.is_index() {
            let (index, store) = self.open_index(access)?;
            workers = self.reach.concurrency.workers(store.in_flight());
            Input::of_index(index, Arc::from(store), self.archive.without_secrets())
        } else {
            self.warn_of_no_store(access);
            match &self.archive {
                Location::Local(path) => looked_into::open_archive(path, &context.signals)?,
                Location::Stdio => {
                    let name = "standard input";
                    let pipe = Awaited::stdin(&context.signals);
                    let pipe = pipe.map_err(cairn::Error::io("open", name))?;
                    Input::of_stream(pipe, name.to_owned())
                }
                far => {
                    let name = far.without_secrets();
                    anyhow::bail!("{name}: an archive is a file; of its index say so with --index")
                }
            }
        };
        let is_stream = outlet::is_stream(&self.target);
        if !is_stream {
            context.signals.catch()?;
        }
        let (output, name) = outlet::open(&self.target)?;
        let progress = context.progress.without_lines();
        let done = {
            let mut out = BufWriter::with_capacity(256 << 10, Patient(output.file()));
            input.in_whole(0..input.size().unwrap_or(u64::MAX), workers, &progress, |archive| {
                let archive = BufReader::with_capacity(256 << 10, Watched(archive, &progress));
                let stats = to_tar(&mut Decoder::new(archive), &mut out)?;
                out.flush().map_err(cairn::Error::io("write", name))?;
                Ok(stats)
            })
        };
        // Whatever an interrupted reader says of it.
        progress.check()?;
        let stats = done.with_context(|| input.name().to_owned())?;
        output.commit(false).map_err(cairn::Error::io("finish", name))?;
        for path in &stats.left_out {
            let path = String::from_utf8_lossy(path);
            failure::warn(&format!("{path}: left out: a tar has no sockets"));
        }
        if stats.reduced > 0 {
            failure::warn(&format!(
                "{} files had attributes or projects, of which a tar knows nothing",
                stats.reduced
            ));
        }
        Ok(())
    }

    /// An archive has all of its bytes itself.
    fn warn_of_no_store(&self, access: &Access<'_>) {
        let (has_store, has_cache) = (!self.store.is_empty(), self.cache.location().is_some());
        access.warn_of_no_store(&[("--store", has_store), ("--cache", has_cache)]);
    }

    fn is_index(&self) -> bool {
        let is_named_so = |path: &Path| path.extension().is_some_and(|end| end == "caidx");
        self.index || matches!(&self.archive, Location::Local(path) if is_named_so(path))
    }

    fn is_stdin(&self) -> bool {
        self.archive == Location::Stdio
    }

    /// What is restored, in the bits of a feature word.
    fn features(&self) -> u64 {
        let or = |words: &[u64]| words.iter().fold(0, |all, bits| all | bits);
        let mut features = match &self.with[..] {
            [] => flags::ALL,
            with if or(with) & flags::ACL != 0 => or(with) | flags::OWNERS,
            with => or(with),
        };
        features &= !or(&self.without);
        for (is_given, bits) in [
            (self.no_same_owner, flags::OWNERS),
            (self.no_same_permissions, flags::PERMISSIONS | flags::READ_ONLY | flags::ACL),
            (self.no_same_xattrs, flags::XATTRS | flags::FCAPS | flags::SELINUX),
        ] {
            if is_given {
                features &= !bits;
            }
        }
        features
    }

    /// The path in the archive, as archives have it.
    fn path(&self) -> Vec<u8> {
        simple(&bytes_of(self.path.as_ref()))
    }
}
