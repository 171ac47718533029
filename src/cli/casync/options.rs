//! casync's options and their defaults.

use std::env;
use std::path::{Path, PathBuf};

use cairn::tree::Shift;
use cairn_formats::chunker::parse_size;
use cairn_formats::{ChunkSizes, Digest, flags};
use cairn_store::combine::Rate;
use clap::{ArgAction, Args};

use super::given;
use super::what::{self, What};
use crate::cli::Context;
use crate::cli::access::Access;
use crate::cli::selection::{Selection, boolean, feature};

/// The levels of logging, each of which has its place in this list as its number.
const LEVELS: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// What is logged if nothing is said.
const INFO: u8 = 6;

/// How many ids a container has, if nothing else is said.
const RANGE: u64 = 65536;

/// All options. Each is taken with every verb, whether it is of use to it or not, as scripts give them.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Log level: debug, or 7, logs all that is done; emerg, alert, crit, err, warning, notice, info [info, or
    /// CASYNC_LOG_LEVEL]
    #[arg(short, long, value_name = "LEVEL", value_parser = parse_level)]
    log_level: Option<u8>,

    /// Log all that is done [off, or CASYNC_VERBOSE]
    #[arg(short, long)]
    verbose: bool,

    /// gc: only print what would be done
    #[arg(short = 'n', long)]
    pub(super) dry_run: bool,

    /// Store to use: a path, a URL, or HOST:PATH [CASYNC_STORE, or default.castr beside the index, or
    /// ./default.castr]
    #[arg(long, value_name = "STORE")]
    pub(super) store: Option<String>,

    /// Further store to look for chunks in; may be given several times
    #[arg(long, value_name = "STORE")]
    pub(super) extra_store: Vec<String>,

    /// How long chunks are, in bytes: MIN:AVG:MAX or AVG
    #[arg(long, value_name = "SIZES", default_value = "16K:64K:256K", value_parser = parse_sizes)]
    pub(super) chunk_size: ChunkSizes,

    /// Digest that ids are made with: sha512-256 or sha256
    #[arg(long, value_name = "DIGEST", default_value = "sha512-256", value_parser = parse_digest)]
    pub(super) digest: Digest,

    /// Compression of new chunks: zstd
    #[arg(long, value_name = "COMPRESSION", default_value = "zstd", value_parser = parse_compression)]
    pub(super) compression: Compression,

    /// File or directory to take chunks from; may be given several times
    #[arg(long, value_name = "PATH")]
    pub(super) seed: Vec<PathBuf>,

    /// make: keep in this directory what is known of a tree, so that what has not changed is not read again
    #[arg(long, value_name = "DIR")]
    pub(super) cache: Option<PathBuf>,

    /// make: the same, in .cacac in the tree
    #[arg(short, long)]
    pub(super) cache_auto: bool,

    /// The most bytes of chunks a second from and to places far away
    #[arg(long, value_name = "BYTES", value_parser = parse_rate)]
    pub(super) rate_limit_bps: Option<u64>,

    /// Leave out files marked with `chattr +d`
    #[arg(long, value_name = "BOOL", default_value = "yes", value_parser = boolean, action = ArgAction::Set)]
    pub(super) exclude_nodump: bool,

    /// Leave out what other file systems are mounted on, but for the directories
    #[arg(long, value_name = "BOOL", default_value = "no", value_parser = boolean, action = ArgAction::Set)]
    pub(super) exclude_submounts: bool,

    /// Leave out what `.caexclude` files name
    #[arg(long, value_name = "BOOL", default_value = "yes", value_parser = boolean, action = ArgAction::Set)]
    pub(super) exclude_file: bool,

    /// Share blocks with seeds where the file system can
    #[arg(long, value_name = "BOOL", default_value = "yes", value_parser = boolean, action = ArgAction::Set)]
    pub(super) reflink: bool,

    /// Make hard links to files of seeds
    #[arg(long, value_name = "BOOL", default_value = "no", value_parser = boolean, action = ArgAction::Set)]
    pub(super) hardlink: bool,

    /// Make holes in files where they are zero
    #[arg(long, value_name = "BOOL", default_value = "yes", value_parser = boolean, action = ArgAction::Set)]
    pub(super) punch_holes: bool,

    /// Remove from the directories of an archive what it does not have
    #[arg(long, value_name = "BOOL", default_value = "yes", value_parser = boolean, action = ArgAction::Set)]
    pub(super) delete: bool,

    /// Make changeable what is in the way and may not be changed, as `chattr +i` forbids it
    #[arg(long, value_name = "BOOL", default_value = "no", value_parser = boolean, action = ArgAction::Set)]
    pub(super) undo_immutable: bool,

    /// Take chunks from what is at the output already
    #[arg(long, value_name = "BOOL", default_value = "yes", value_parser = boolean, action = ArgAction::Set)]
    pub(super) seed_output: bool,

    /// list: also what is in the directories of a directory
    #[arg(long, value_name = "BOOL", default_value = "yes", value_parser = boolean, action = ArgAction::Set)]
    pub(super) recursive: bool,

    /// mount: make the mount point if it is missing
    #[arg(long, value_name = "BOOL", default_value = "yes", value_parser = boolean, action = ArgAction::Set)]
    pub(super) mkdir: bool,

    /// Shift the numbers of users and groups: subtract this when archiving, add it when extracting; `yes` is 0
    #[arg(long, value_name = "yes|no|N", default_value = "no", value_parser = parse_shift)]
    uid_shift: IdShift,

    /// Take the numbers of users and groups modulo this; 4294967296 for not at all [65536 if they are shifted]
    #[arg(long, value_name = "N", value_parser = parse_range)]
    uid_range: Option<u64>,

    /// What is worked on, whatever its name: archive, archive-index, blob, blob-index, directory; `help` prints them
    #[arg(long, value_name = "WHAT", value_parser = what::parse)]
    what: Option<Asked<What>>,

    /// Record, or restore, this of files: a feature or a set; may be given several times, `help` prints the features
    #[arg(long, value_name = "FEATURE", value_parser = parse_feature)]
    with: Vec<Asked<u64>>,

    /// All but this
    #[arg(long, value_name = "FEATURE", value_parser = parse_feature)]
    without: Vec<Asked<u64>>,
}

/// A value, or the question which there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked<T> {
    Help,
    Value(T),
}

/// How new chunks are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    Zstd,
    /// One of which cairn only reads chunks.
    ReadOnly(&'static str),
}

/// What the numbers of users and groups are shifted by, if they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct IdShift(Option<u32>);

impl Options {
    pub(super) fn asks_for_kinds(&self) -> bool {
        self.what == Some(Asked::Help)
    }

    pub(super) fn asks_for_features(&self) -> bool {
        self.with.iter().chain(&self.without).any(|asked| *asked == Asked::Help)
    }

    /// The kind that was said.
    pub(super) fn what(&self) -> Option<What> {
        self.what.as_ref().and_then(given)
    }

    /// The level of logging as a number. What the environment says wrong counts as nothing, as with casync.
    pub(super) fn log_level(&self) -> u8 {
        let said = || env::var("CASYNC_LOG_LEVEL").ok().and_then(|level| parse_level(&level).ok());
        self.log_level.or_else(said).unwrap_or(INFO)
    }

    pub(super) fn is_verbose(&self) -> bool {
        let said = || env::var("CASYNC_VERBOSE").ok().and_then(|word| boolean(&word).ok());
        self.verbose || said().unwrap_or(false)
    }

    /// Where is kept what is known of the tree at `root`.
    pub(super) fn cache(&self, root: &Path) -> Option<PathBuf> {
        self.cache.clone().or_else(|| self.cache_auto.then(|| root.join(".cacac")))
    }

    /// The way to stores and indexes.
    pub(super) fn access<'a>(&self, context: &'a Context) -> Access<'a> {
        Access::limited(context, self.rate_limit_bps.map(Rate::new))
    }

    /// What of a tree is recorded, and what is left out.
    pub(super) fn selection(&self) -> Selection {
        let bits = |asked: &[Asked<u64>]| asked.iter().filter_map(given).collect();
        Selection {
            with: bits(&self.with),
            without: bits(&self.without),
            exclude_nodump: self.exclude_nodump,
            exclude_submounts: self.exclude_submounts,
            exclude_file: self.exclude_file,
            ..Selection::default()
        }
    }

    /// The feature word of what is recorded. That of blobs has no more than was asked for.
    pub(super) fn features(&self, is_tree: bool) -> u64 {
        let selection = self.selection();
        let with = if is_tree || !selection.with.is_empty() { selection.with } else { vec![0] };
        Selection { with, ..self.selection() }.features(self.digest)
    }

    /// What is restored of what an archive records.
    pub(super) fn restored(&self) -> u64 {
        let or = |words: &[u64]| words.iter().fold(0, |all, bits| all | bits);
        let Selection { with, without, .. } = self.selection();
        let with = match &with[..] {
            [] => flags::ALL,
            with if or(with) & flags::ACL != 0 => or(with) | flags::OWNERS,
            with => or(with),
        };
        with & !or(&without)
    }

    /// How numbers of users and groups are changed, if they are.
    pub(super) fn shift(&self) -> Option<Shift> {
        let is_wanted = self.uid_shift.0.is_some() || self.uid_range.is_some();
        is_wanted.then(|| Shift {
            shift: self.uid_shift.0.unwrap_or(0),
            range: self.uid_range.unwrap_or(RANGE),
        })
    }
}

fn parse_level(word: &str) -> Result<u8, String> {
    let named = LEVELS.iter().position(|level| *level == word).and_then(|n| u8::try_from(n).ok());
    let level = named.or_else(|| word.parse().ok().filter(|&level| level <= 7));
    level.ok_or_else(|| format!("there are: {}, or 0 to 7", LEVELS.join(", ")))
}

/// All numbers are bytes here, also where none has a unit.
fn parse_sizes(text: &str) -> Result<ChunkSizes, String> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b':');
    let (first, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
    let text = if is_plain { format!("{first}B{rest}") } else { text.to_owned() };
    text.parse().map_err(|e: cairn_formats::Error| e.to_string())
}

fn parse_digest(word: &str) -> Result<Digest, String> {
    if word == "default" { Ok(Digest::default()) } else { word.parse() }
}

fn parse_compression(word: &str) -> Result<Compression, String> {
    match word {
        "zstd" | "default" => Ok(Compression::Zstd),
        "xz" => Ok(Compression::ReadOnly("xz")),
        "gzip" => Ok(Compression::ReadOnly("gzip")),
        _ => Err("there is zstd, and xz and gzip are read".to_owned()),
    }
}

fn parse_rate(text: &str) -> Result<u64, String> {
    let bytes = parse_size(text).filter(|&bytes| bytes > 0);
    bytes.ok_or_else(|| "expected bytes a second such as 500K or 10M".to_owned())
}

fn parse_shift(word: &str) -> Result<IdShift, String> {
    if let Ok(is_shifted) = boolean(word)
        && parse_number(word).is_none()
    {
        return Ok(IdShift(is_shifted.then_some(0)));
    }
    let shift = parse_number(word).and_then(|n| u32::try_from(n).ok());
    // These two mean nobody.
    let shift = shift.filter(|&n| n != u32::from(u16::MAX) && n != u32::MAX);
    shift.map(|shift| IdShift(Some(shift))).ok_or_else(|| "say yes, no, or a number".to_owned())
}

fn parse_range(word: &str) -> Result<u64, String> {
    let range = parse_number(word).filter(|&range| range <= 1 << 32);
    range.ok_or_else(|| "expected a number up to 4294967296".to_owned())
}

/// A number as C takes it: `16`, `0x10`, `020`.
fn parse_number(text: &str) -> Option<u64> {
    match text.strip_prefix('0') {
        Some(rest) if rest.starts_with(['x', 'X']) => u64::from_str_radix(&rest[1..], 16).ok(),
        Some(rest) if !rest.is_empty() => u64::from_str_radix(rest, 8).ok(),
        _ => text.parse().ok(),
    }
}

fn parse_feature(word: &str) -> Result<Asked<u64>, String> {
    if word == "help" { Ok(Asked::Help) } else { feature(word).map(Asked::Value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes() {
        let sizes = |text: &str| parse_sizes(text).map(|sizes| sizes.to_string());
        assert_eq!(sizes("16K:64K:256K").unwrap(), "16384:65536:262144");
        assert_eq!(sizes("48:64:128").unwrap(), "48:64:128");
        assert_eq!(sizes("65536").unwrap(), "16384:65536:262144");
        assert_eq!(sizes("auto").unwrap(), "16384:65536:262144");
        for bad in ["", ":", "64K:32K:128K", "16K:64K", "64k", "200M", "1"] {
            assert!(sizes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shifts_are_numbers_or_none() {
        assert_eq!(parse_shift("yes"), Ok(IdShift(Some(0))));
        assert_eq!(parse_shift("no"), Ok(IdShift(None)));
        assert_eq!(parse_shift("1"), Ok(IdShift(Some(1))));
        assert_eq!(parse_shift("0"), Ok(IdShift(Some(0))));
        assert_eq!(parse_shift("0x10"), Ok(IdShift(Some(16))));
        for bad in ["foo", "4294967295", "65535", "-1", "1K"] {
            assert!(parse_shift(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_range("4294967296"), Ok(1 << 32));
        assert!(parse_range("4294967297").is_err());
    }

    #[test]
    fn levels_have_names_and_numbers() {
        assert_eq!(
            [parse_level("err"), parse_level("7"), parse_level("debug")],
            [Ok(3), Ok(7), Ok(7)]
        );
        assert!(parse_level("8").is_err() && parse_level("x").is_err());
    }
}
