//! Archives, blobs and directories that verbs look into.

use std::ffi::OsString;
use std::fs::{File, FileType};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn::Error;
use cairn::archive::input::Input;
use cairn::archive::pack::PackOptions;
use cairn_store::Location;

use super::options::Options;
use super::place;
use super::what::{self, What};
use crate::cli::Context;
use crate::cli::looked_into::of_file;
use crate::cli::options::Concurrency;

/// What standard input is as a path, for what is opened by its path.
const STDIN: &str = "/dev/stdin";

/// What a verb looks into, and at what in it.
pub(super) struct Looked {
    pub(super) what: What,
    pub(super) location: Location,
    /// A path in it.
    pub(super) path: Option<PathBuf>,
}

impl Looked {
    /// Reads the arguments of a verb that has these kinds of things.
    pub(super) fn of(
        verb: &str,
        words: &[OsString],
        options: &Options,
        kinds: &[What],
    ) -> anyhow::Result<Self> {
        let said = what::allowed(options.what(), verb, kinds)?;
        anyhow::ensure!(words.len() <= 2, "`{verb}` takes an input and a path in it, and no more");
        let location = match (words.first(), said) {
            (Some(word), _) => place::parse(word)?,
            (None, None | Some(What::Directory)) => Location::Local(".".into()),
            (None, Some(_)) => Location::Stdio,
        };
        let path = words.get(1).map(PathBuf::from);
        let what = match said.or_else(|| What::by_suffix(&location)) {
            Some(what) => what,
            None => by_type(&location, kinds)?,
        };
        anyhow::ensure!(
            kinds.contains(&what),
            "{}: is the index of a blob, and `{verb}` is for trees",
            location.without_secrets()
        );
        anyhow::ensure!(
            path.is_none() || what.is_tree(),
            "{}: is no archive, so that there are no paths in it",
            location.without_secrets()
        );
        Ok(Self { what, location, path })
    }

    /// Opens it. Returns it, and how many workers are of use.
    pub(super) fn open(
        &self,
        options: &Options,
        context: &Context,
    ) -> anyhow::Result<(Input, usize)> {
        if self.what.is_index() {
            let access = options.access(context);
            let index = access.any_index(&self.location)?;
            let store = access.stores(&place::stores(options, &self.location)?)?;
            let workers = Concurrency::default().workers(store.in_flight());
            let name = self.location.without_secrets();
            return Ok((Input::of_index(index, Arc::from(store), name), workers));
        }
        let workers = Concurrency::default().processors();
        let input = match (self.what, &self.location) {
            (What::Directory, _) => {
                let features = options.features(true);
                let options = PackOptions { features, shift: options.shift(), skip: None, workers };
                Input::of_directory(self.directory()?, options)
            }
            (_, Location::Local(path)) => {
                let file = File::open(path).map_err(Error::io("open", path))?;
                let kind = file.metadata().map_err(Error::io("read", path))?.file_type();
                check(kind, path)?;
                of_file(file, kind, path, &context.signals)?
            }
            (_, Location::Stdio) => of_stdin(context)?,
            (_, far) => anyhow::bail!(
                "{}: archives and blobs far away are read through their indexes",
                far.without_secrets()
            ),
        };
        Ok((input, workers))
    }

    /// The path of a directory.
    pub(super) fn directory(&self) -> anyhow::Result<&Path> {
        let path = match &self.location {
            Location::Local(path) => path,
            Location::Stdio => Path::new(STDIN),
            far => anyhow::bail!("{}: a directory is on this machine", far.without_secrets()),
        };
        let metadata = path.metadata().map_err(Error::io("open", path))?;
        anyhow::ensure!(metadata.is_dir(), "{}: is no directory", path.display());
        Ok(path)
    }
}

/// The kind of a thing whose name does not tell it.
fn by_type(location: &Location, kinds: &[What]) -> anyhow::Result<What> {
    let path = match location {
        Location::Local(path) => path,
        Location::Stdio => Path::new(STDIN),
        far => anyhow::bail!("{}: say what it is with --what", far.without_secrets()),
    };
    let kind = path.metadata().map_err(Error::io("open", path))?.file_type();
    if kind.is_dir() {
        return Ok(What::Directory);
    }
    if kinds.contains(&What::Blob) {
        return Ok(What::Blob);
    }
    // What comes in without a name is what most often does.
    anyhow::ensure!(
        *location == Location::Stdio,
        "{}: is neither a directory nor named .catar or .caidx: say what it is with --what",
        path.display()
    );
    Ok(What::Archive)
}

fn of_stdin(context: &Context) -> anyhow::Result<Input> {
    let name = Path::new("standard input");
    let file = io::stdin().as_fd().try_clone_to_owned().map(File::from);
    let file = file.map_err(Error::io("open", name))?;
    let kind = file.metadata().map_err(Error::io("read", name))?.file_type();
    check(kind, name)?;
    of_file(file, kind, name, &context.signals)
}

/// Refuses what nothing can be read of, or what nobody means.
fn check(kind: FileType, path: &Path) -> anyhow::Result<()> {
    anyhow::ensure!(!kind.is_dir(), "{}: is a directory", path.display());
    let is_read = kind.is_file() || kind.is_block_device() || kind.is_fifo() || kind.is_socket();
    anyhow::ensure!(is_read, "{}: is neither a file nor a block device nor a pipe", path.display());
    Ok(())
}
