//! `casync extract`

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cairn::archive::input::Input;
use cairn::archive::unpack::{Source, UnpackOptions, unpack};
use cairn::archive::walk::simple;
use cairn::cat::{CatOptions, cat, widen_pipe};
use cairn::extract::{ExtractOptions, Seed, extract};
use cairn::{Error, Monitor, Silent};
use cairn_formats::Index;
use cairn_store::{Location, Store};
use rustix::fs::{FallocateFlags, fallocate};

use super::options::Options;
use super::place;
use super::what::{self, What};
use crate::cli::extract::check_output;
use crate::cli::looked_into::{bytes_of, open_archive};
use crate::cli::options::Concurrency;
use crate::cli::outlet::{self, Patient};
use crate::cli::untar::report;
use crate::cli::{Context, failure, tree_seeds};

/// What can be extracted.
const KINDS: [What; 3] = [What::Archive, What::ArchiveIndex, What::BlobIndex];

pub(super) fn run(words: &[OsString], options: &Options, context: &Context) -> anyhow::Result<()> {
    let said = what::allowed(options.what(), "extract", &KINDS)?;
    anyhow::ensure!(
        words.len() <= 3,
        "`extract` takes an input, an output and a path, and no more"
    );
    let input = words.first().map_or(Ok(Location::Stdio), |word| place::parse(word))?;
    let what = said.or_else(|| What::by_suffix(&input)).with_context(|| {
        let name = input.without_secrets();
        format!(
            "{name}: ends neither in .catar nor in .caidx nor in .caibx: say what it is with --what"
        )
    })?;
    let output = words.get(1).map(|word| place::parse_local(word)).transpose()?;
    let job = Extracting { input, options, context };
    if what == What::BlobIndex {
        anyhow::ensure!(words.len() < 3, "a path is only in archives, and not in a blob");
        return match output.unwrap_or(Location::Stdio) {
            Location::Local(path) => job.blob(&path),
            _ => job.blob_to_stdout(),
        };
    }
    let target = match output.unwrap_or_else(|| Location::Local(".".into())) {
        Location::Local(path) => path,
        _ => anyhow::bail!("an archive is extracted into a directory, and not to standard output"),
    };
    job.tree(what, &target, &simple(&bytes_of(words.get(2).map(PathBuf::from).as_ref())))
}

/// What is extracted, and how.
struct Extracting<'a> {
    input: Location,
    options: &'a Options,
    context: &'a Context,
}

impl Extracting<'_> {
    fn blob(&self, output: &Path) -> anyhow::Result<()> {
        check_output(&self.input, output)?;
        let (index, store) = self.open_index()?;
        self.context.signals.catch()?;
        let workers = Concurrency::default().workers(store.in_flight());
        let seeds = self.blob_seeds(&index, output, workers)?;
        let is_apart = !self.options.reflink;
        let options = ExtractOptions { is_apart, workers, ..ExtractOptions::default() };
        let progress = &self.context.progress.without_lines();
        let stats = extract(&index, seeds, store.as_ref(), output, &options, progress)?;
        if !self.options.punch_holes && output.metadata().is_ok_and(|output| output.is_file()) {
            fill(output, index.blob_size())?;
        }
        let chunks = format!("{} chunks from stores, {} from seeds", stats.fetched, stats.seeded);
        self.context.progress.summary(&chunks, stats.bytes);
        Ok(())
    }

    /// The files that chunks of a blob may be in. One that is of no use is done without.
    fn blob_seeds(
        &self,
        index: &Index,
        output: &Path,
        workers: usize,
    ) -> anyhow::Result<Vec<Seed>> {
        let is_seed = self.options.seed_output && output.metadata().is_ok_and(|it| it.is_file());
        let mut seeds = Vec::new();
        for path in is_seed
            .then_some(output)
            .into_iter()
            .chain(self.options.seed.iter().map(PathBuf::as_path))
        {
            let progress = &self.context.progress.without_lines();
            match Seed::of_file(path, index, seeds.len() + 1, workers, progress) {
                Ok(seed) => seeds.push(seed),
                Err(Error::Interrupted) => return Err(Error::Interrupted.into()),
                Err(e) => failure::warn(&format!("a seed is done without: {e}")),
            }
        }
        Ok(seeds)
    }

    fn blob_to_stdout(&self) -> anyhow::Result<()> {
        if !self.options.seed.is_empty() {
            failure::warn("seeds are of no use for standard output");
        }
        let (index, store) = self.open_index()?;
        let (output, name) = outlet::open(Path::new("-"))?;
        widen_pipe(output.file());
        let progress = self.context.progress.without_lines();
        let is_seen = output.file().is_terminal();
        let monitor: &dyn Monitor = if is_seen { &Silent } else { &progress };
        let workers = Concurrency::default().workers(store.in_flight());
        let options = CatOptions { range: 0..index.blob_size(), workers };
        cat(&index, store.as_ref(), &mut Patient(output.file()), name, &options, monitor)?;
        Ok(())
    }

    fn open_index(&self) -> anyhow::Result<(Index, Box<dyn Store>)> {
        let access = self.options.access(self.context);
        let index = access.any_index(&self.input)?;
        let store = access.stores(&place::stores(self.options, &self.input)?)?;
        Ok((index, store))
    }

    /// Restores an archive, or what is at a path in it, into a directory.
    fn tree(&self, what: What, target: &Path, path: &[u8]) -> anyhow::Result<()> {
        anyhow::ensure!(
            target.metadata().map_or(true, |target| target.is_dir()),
            "{}: is no directory, into which archives are extracted",
            target.display()
        );
        if what == What::Archive {
            return self.archive(target, path);
        }
        let access = self.options.access(self.context);
        let index = access.any_index(&self.input)?;
        let stores = place::stores(self.options, &self.input)?;
        let store = access.stores(&stores)?;
        let name = self.input.without_secrets();
        let is_below = if path.is_empty() {
            false
        } else {
            let store = access.stores(&stores)?;
            is_directory(&Input::of_index(index.clone(), store.into(), name.clone()), path)?
        };
        let target = self.place(what, target, path, is_below)?;
        self.context.signals.catch()?;
        let seeds: Vec<PathBuf> =
            self.options.seed.iter().filter(|seed| is_seed(seed)).cloned().collect();
        let has_names = target.read_dir().is_ok_and(|mut names| names.next().is_some());
        let own =
            Some(&*target).filter(|_| self.options.seed_output && path.is_empty() && has_names);
        let workers = Concurrency::default().processors();
        let seeds = tree_seeds::scan(&seeds, own, None, &index, workers, self.context)?;
        let workers = Concurrency::default().workers(store.in_flight());
        let store = tree_seeds::in_front_of(&seeds, store);
        let name = PathBuf::from(name);
        let source = Source::index(&index, store.as_ref(), &name).seeded(&seeds);
        if is_below {
            make_way(&target)?;
        }
        self.restore(&source, &target, path, workers)
    }

    fn archive(&self, target: &Path, path: &[u8]) -> anyhow::Result<()> {
        if !self.options.seed.is_empty() {
            failure::warn("seeds are of no use: an archive has all of its bytes");
        }
        let name = match &self.input {
            Location::Local(path) => path,
            Location::Stdio => Path::new("standard input"),
            far => anyhow::bail!(
                "{}: an archive far away is read through its index, .caidx",
                far.without_secrets()
            ),
        };
        let file = match &self.input {
            Location::Local(path) => File::open(path),
            _ => io::stdin().as_fd().try_clone_to_owned().map(File::from),
        };
        let file = file.map_err(Error::io("open", name))?;
        let workers = Concurrency::default().processors();
        let is_file = file.metadata().map_err(Error::io("read", name))?.is_file();
        if !is_file {
            anyhow::ensure!(
                path.is_empty(),
                "{}: a path takes an archive that is a file",
                name.display()
            );
            let target = self.place(What::Archive, target, path, false)?;
            return self.restore(&Source::stream(file, name), &target, path, workers);
        }
        let opened = match &self.input {
            Location::Local(path) => path,
            _ => Path::new("/dev/stdin"),
        };
        let is_below =
            !path.is_empty() && is_directory(&open_archive(opened, &self.context.signals)?, path)?;
        let target = self.place(What::Archive, target, path, is_below)?;
        let source = Source::file(&file, name)?;
        if is_below {
            make_way(&target)?;
        }
        self.restore(&source, &target, path, workers)
    }

    /// Where the tree goes: a directory in an archive by its name below the target.
    fn place(
        &self,
        what: What,
        target: &Path,
        path: &[u8],
        is_below: bool,
    ) -> anyhow::Result<PathBuf> {
        let mut place = target.to_owned();
        if is_below {
            place.push(place::last_name(path));
        }
        if is_below && is_in_the_way(&place) {
            // A link goes, and nothing of what it leads to.
            self.check_kept(what, by_its_name(&place), "where a directory is made")?;
        } else if self.options.delete && (path.is_empty() || is_below) {
            let why =
                "from where all that the archive does not have is removed: --delete=no keeps it";
            self.check_kept(what, place.canonicalize().ok(), why)?;
        }
        Ok(place)
    }

    /// Refuses to remove what is being read.
    fn check_kept(&self, what: What, removed: Option<PathBuf>, why: &str) -> anyhow::Result<()> {
        let Some(removed) = removed else { return Ok(()) };
        let mut read = vec![self.input.clone()];
        let mut seeds = Vec::new();
        if what != What::Archive {
            let stores = place::named(self.options, &self.input)?;
            read.extend(stores.iter().flat_map(Location::mirrors));
            seeds.extend(self.options.seed.iter().filter(|seed| seed.is_dir()).cloned());
        }
        let read = read.into_iter().filter_map(|place| match place {
            Location::Local(path) => Some(path),
            // Nothing of that name, if it is a pipe or was removed.
            Location::Stdio => fs::read_link("/proc/self/fd/0").ok().filter(|path| path.exists()),
            Location::Remote { .. } => None,
        });
        let read = read.map(|path| (path, false)).chain(seeds.into_iter().map(|path| (path, true)));
        for (path, is_seed) in read {
            let names = [path.canonicalize().ok(), by_its_name(&path)];
            // The target as a seed is looked through as what is there already. A link to one just goes.
            let is_own = |name: &PathBuf| is_seed && *name == removed && !removed.is_symlink();
            let is_removed = |name: &PathBuf| name.starts_with(&removed) && !is_own(name);
            anyhow::ensure!(
                !names.iter().flatten().any(is_removed),
                "{}: is in {}, {why}",
                path.display(),
                removed.display()
            );
        }
        Ok(())
    }

    fn restore(
        &self,
        source: &Source<'_>,
        target: &Path,
        path: &[u8],
        workers: usize,
    ) -> anyhow::Result<()> {
        self.context.signals.catch()?;
        let options = UnpackOptions {
            features: self.options.restored(),
            delete: self.options.delete,
            undo_immutable: self.options.undo_immutable,
            reflink: self.options.reflink,
            hardlink: self.options.hardlink && !self.options.seed.is_empty(),
            is_full: !self.options.punch_holes,
            shift: self.options.shift(),
            path: path.to_vec(),
            workers,
            ..UnpackOptions::default()
        };
        let stats = match unpack(source, target, &options, &self.context.progress) {
            Err(e @ Error::Format(_)) => {
                return Err(e).with_context(|| source.name().display().to_string());
            }
            done => done?,
        };
        report(&stats)
    }
}

/// Whether there is a directory at a path of an archive. That there is nothing is an error.
fn is_directory(input: &Input, path: &[u8]) -> anyhow::Result<bool> {
    let archive = input.archive()?;
    Ok(input.find(&archive, path)?.node.is_directory())
}

/// Whether something else is where a directory is to be.
fn is_in_the_way(place: &Path) -> bool {
    place.symlink_metadata().is_ok_and(|it| !it.is_dir())
}

/// Removes what is where a directory of an archive is to be: a link that is there is never gone through.
fn make_way(place: &Path) -> anyhow::Result<()> {
    if let Some(target) = place.parent() {
        fs::create_dir_all(target).map_err(Error::io("create", target))?;
    }
    if is_in_the_way(place) {
        fs::remove_file(place).map_err(Error::io("replace", place))?;
    }
    Ok(())
}

/// A path on which all links are resolved but for the last, which may be one itself.
fn by_its_name(path: &Path) -> Option<PathBuf> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    Some(parent.unwrap_or(Path::new(".")).canonicalize().ok()?.join(path.file_name()?))
}

/// Whether a directory is there to take chunks from. One that is not is done without.
fn is_seed(path: &Path) -> bool {
    let is_directory = path.is_dir();
    if !is_directory {
        failure::warn(&format!("{}: is no directory, and no seed", path.display()));
    }
    is_directory
}

/// Gives a file blocks where it has holes.
fn fill(path: &Path, len: u64) -> anyhow::Result<()> {
    if len == 0 {
        return Ok(());
    }
    let file = File::options().write(true).open(path).map_err(Error::io("open", path))?;
    let filled = fallocate(&file, FallocateFlags::empty(), 0, len);
    Ok(filled.map_err(|e| Error::io("fill the holes of", path)(e.into()))?)
}
