//! Seeds as they are typed, and as they lie in a directory.

use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context as _;
use cairn::extract::Seed;
use cairn_formats::Index;
use cairn_store::Location;
use clap::error::ErrorKind;
use clap::{ArgMatches, Args, Command, FromArgMatches};

use super::Context;
use super::access::Access;
use super::list::{self, List};
use super::options::is_same_file;

/// The suffix that tells the index of a blob.
const INDEX_SUFFIX: &str = ".caibx";

/// Where else chunks may come from.
#[derive(Debug, Args)]
pub(super) struct Seeds {
    /// Take chunks from a file with similar content: FILE.caibx, which stands for FILE and its index,
    /// or INDEX:FILE, or a file or block device without an index, which is read first
    #[arg(long, value_name = "SEED", value_parser = list::parse::<SeedArgument>)]
    seed: Vec<List<SeedArgument>>,

    /// Take chunks from all files in this directory, or below it, that have an index FILE.caibx
    #[arg(long, value_name = "DIR", value_parser = list::parse::<PathBuf>)]
    seed_dir: Vec<List<PathBuf>>,

    /// Share blocks with seeds on the same file system without reading them first. What was not read was
    /// not verified: only for seeds that certainly are what their index says
    #[arg(long)]
    pub(super) trust_seeds: bool,

    #[command(flatten)]
    pub(super) invalid: InvalidSeeds,
}

/// What is done about seeds that do not hold what their index says.
#[derive(Debug, Args)]
struct InvalidSeedFlags {
    /// Do without seeds that do not hold what their index says, and do not warn about them
    #[arg(long)]
    skip_invalid_seeds: bool,

    /// Read seeds that do not hold what their index says, and go on with what is in them
    #[arg(long)]
    regenerate_invalid_seeds: bool,
}

/// These flags, of which not both may be on. That one was given does not matter, as either can be given
/// as off; so clap cannot check it.
#[derive(Debug)]
pub(super) struct InvalidSeeds {
    pub(super) skip: bool,
    pub(super) regenerate: bool,
}

impl FromArgMatches for InvalidSeeds {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let InvalidSeedFlags { skip_invalid_seeds: skip, regenerate_invalid_seeds: regenerate } =
            InvalidSeedFlags::from_arg_matches(matches)?;
        if skip && regenerate {
            let why = "the argument '--skip-invalid-seeds' cannot be used with \
                       '--regenerate-invalid-seeds'\n";
            return Err(clap::Error::raw(ErrorKind::ArgumentConflict, why));
        }
        Ok(Self { skip, regenerate })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for InvalidSeeds {
    fn augment_args(command: Command) -> Command {
        InvalidSeedFlags::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        InvalidSeedFlags::augment_args_for_update(command)
    }
}

/// One seed as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum SeedArgument {
    /// A file, and the index that is said to describe it.
    Indexed { index: Location, file: PathBuf },
    /// A file alone.
    Plain(PathBuf),
}

impl FromStr for SeedArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(file) = text.strip_suffix(INDEX_SUFFIX) {
            return Ok(Self::Indexed { index: text.parse()?, file: file.into() });
        }
        // The names of devices have colons too.
        if Path::new(text).exists() {
            return Ok(Self::Plain(text.into()));
        }
        // desync keeps what stands behind a second colon for later use.
        match text.splitn(3, ':').collect::<Vec<_>>()[..] {
            [index, file, ..] if !index.is_empty() && !file.is_empty() => {
                Ok(Self::Indexed { index: index.parse()?, file: file.into() })
            }
            _ => Err("neither FILE.caibx nor INDEX:FILE nor a file that exists".to_owned()),
        }
    }
}

impl Seeds {
    /// Opens all seeds, those named first, for a blob with this index.
    pub(super) fn open(
        &self,
        index: &Index,
        place: &Location,
        workers: usize,
        context: &Context,
        access: &Access<'_>,
    ) -> anyhow::Result<Vec<Seed>> {
        let mut seeds = Vec::new();
        let progress = context.progress.with_prefix("Attempt 1: ");
        for argument in list::all(&self.seed) {
            seeds.push(match argument {
                SeedArgument::Indexed { index, file } => open_indexed(index, file, access)?,
                SeedArgument::Plain(file) => {
                    Seed::of_file(file, index, seeds.len() + 1, workers, &progress)?
                }
            });
        }
        for directory in list::all(&self.seed_dir) {
            let mut found = Vec::new();
            find_indexes(directory, &mut found)
                .with_context(|| format!("cannot read seed directory {}", directory.display()))?;
            found.sort();
            for (path, file) in found {
                if !is_index(place, &path) {
                    seeds.push(open_indexed(&Location::Local(path), &file, access)?);
                }
            }
        }
        Ok(seeds)
    }
}

fn open_indexed(index: &Location, file: &Path, access: &Access<'_>) -> anyhow::Result<Seed> {
    let index = access.index(index)?;
    Ok(Seed::new(file, index)?)
}

/// Whether a path is that of the index being extracted.
fn is_index(place: &Location, path: &Path) -> bool {
    let Location::Local(place) = place else { return false };
    let both = place.metadata().ok().zip(path.metadata().ok());
    both.is_some_and(|(one, other)| is_same_file(&one, &other))
}

/// Finds all indexes below a directory whose file lies beside them. Links are not followed.
fn find_indexes(directory: &Path, found: &mut Vec<(PathBuf, PathBuf)>) -> std::io::Result<()> {
    for entry in directory.read_dir()? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            find_indexes(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "caibx") {
            let file = path.with_extension("");
            // A pipe would have us wait.
            if is_seed(&path) && is_seed(&file) {
                found.push((path, file));
            }
        }
    }
    Ok(())
}

/// Whether there is something that can be read from any place.
fn is_seed(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() || found.file_type().is_block_device())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_told_by_their_form() {
        let indexed = |index: &str, file: &str| {
            Ok(SeedArgument::Indexed { index: index.parse().unwrap(), file: file.into() })
        };
        assert_eq!("a/b.caibx".parse(), indexed("a/b.caibx", "a/b"));
        assert_eq!("i:f".parse(), indexed("i", "f"));
        assert_eq!("i.caibx:/dev/sda".parse(), indexed("i.caibx", "/dev/sda"));
        assert_eq!("i:f:reserved".parse(), indexed("i", "f"));
        assert_eq!("/dev/null".parse(), Ok(SeedArgument::Plain("/dev/null".into())));
        for bad in ["no such file", ":f", "i:", ":"] {
            assert!(bad.parse::<SeedArgument>().is_err(), "{bad}");
        }
    }
}
