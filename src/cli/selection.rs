//! What of a tree is recorded in an archive: casync's options.

use cairn::tree::Shift;
use cairn_formats::{Digest, flags};
use clap::{ArgAction, Args};

use super::store_flags::Given;

/// What is recorded, and what is left out.
#[derive(Debug, Args)]
#[command(next_help_heading = "What is recorded")]
pub(super) struct Selection {
    /// Record this of files; without it, the best of what casync knows. May be given several times, or as
    /// a list; --with=help names all
    #[arg(long, value_name = "FEATURE", value_delimiter = ',', value_parser = feature)]
    pub(super) with: Vec<u64>,

    /// Do not record this of files
    #[arg(long, value_name = "FEATURE", value_delimiter = ',', value_parser = feature)]
    pub(super) without: Vec<u64>,

    /// Leave out files marked with `chattr +d`
    #[arg(long, value_name = "BOOL", default_value = "yes", value_parser = boolean, action = ArgAction::Set, num_args = 0..=1,
          default_missing_value = "yes", require_equals = true)]
    pub(super) exclude_nodump: bool,

    /// Leave out other mounts, with the directories or files they are mounted on
    #[arg(long, value_name = "BOOL", default_value = "no", value_parser = boolean,
          action = ArgAction::Set, num_args = 0..=1, default_missing_value = "yes", require_equals = true)]
    pub(super) exclude_submounts: bool,

    /// The same, as tar says it
    #[arg(short = 'x', long)]
    pub(super) one_file_system: bool,

    /// Leave out what `.caexclude` files in the tree name
    #[arg(long, value_name = "BOOL", default_value = "yes", value_parser = boolean, action = ArgAction::Set, num_args = 0..=1,
          default_missing_value = "yes", require_equals = true)]
    pub(super) exclude_file: bool,

    /// Subtract this from the numbers of users and groups; an error if one is less
    #[arg(long, value_name = "N")]
    pub(super) uid_shift: Option<u32>,

    /// After that take the numbers modulo this; 4294967296 for not at all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1 << 32))]
    pub(super) uid_range: Option<u64>,
}

impl Given<Selection> {
    /// Refuses what says which files of a directory are archived, where a tar is: all of its members are.
    pub(super) fn check_for_tar(&self) -> anyhow::Result<()> {
        for (flag, typed) in [
            ("exclude_nodump", "--exclude-nodump"),
            ("exclude_submounts", "--exclude-submounts"),
            ("exclude_file", "--exclude-file"),
            ("uid_shift", "--uid-shift"),
            ("uid_range", "--uid-range"),
        ] {
            anyhow::ensure!(
                !self.is_given(flag),
                "{typed} is for directories: of a tar all members are archived, as they are"
            );
        }
        // desync takes it of a tar as well.
        if self.one_file_system {
            tracing::warn!(flag = "--one-file-system", "nothing in this run can use the flag");
        }
        Ok(())
    }
}

impl Default for Selection {
    /// As if nothing was said.
    fn default() -> Self {
        Self {
            with: Vec::new(),
            without: Vec::new(),
            exclude_nodump: true,
            exclude_submounts: false,
            one_file_system: false,
            exclude_file: true,
            uid_shift: None,
            uid_range: None,
        }
    }
}

/// How many ids a container has, if nothing else is said.
const RANGE: u64 = 65536;

impl Selection {
    /// The feature word, as casync computes it.
    pub(super) fn features(&self, digest: Digest) -> u64 {
        let union = |sets: &[u64]| sets.iter().fold(0, |all, set| all | set);
        let with = if self.with.is_empty() { flags::ALL } else { union(&self.with) };
        let mut features = with & !union(&self.without);
        for (is_set, bit) in [
            (self.exclude_nodump, flags::EXCLUDE_NODUMP),
            (self.exclude_submounts || self.one_file_system, flags::EXCLUDE_SUBMOUNTS),
            (self.exclude_file, flags::EXCLUDE_FILE),
            (digest == Digest::Sha512_256, flags::SHA512_256),
        ] {
            if is_set {
                features |= bit;
            }
        }
        flags::normalised(features)
    }

    /// How numbers of users and groups are changed, if they are.
    pub(super) fn shift(&self) -> Option<Shift> {
        let is_wanted = self.uid_shift.is_some() || self.uid_range.is_some();
        is_wanted.then(|| Shift {
            shift: self.uid_shift.unwrap_or(0),
            range: self.uid_range.unwrap_or(RANGE),
        })
    }
}

/// The bits of what is typed.
pub(super) fn feature(name: &str) -> Result<u64, String> {
    flags::parse(name).ok_or_else(|| {
        let names = flags::FEATURES.map(|(name, _)| name).join(", ");
        format!("there are: all, {names}")
    })
}

/// casync's ways to say yes and no.
pub(super) fn boolean(word: &str) -> Result<bool, String> {
    match word {
        "1" | "yes" | "y" | "true" | "t" | "on" => Ok(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Ok(false),
        _ => Err("say yes or no".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Words {
        #[command(flatten)]
        selection: Selection,
    }

    #[test]
    fn feature_words_are_those_of_casync() {
        let text = include_str!("../../testdata/casync-vectors.json");
        let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
        for case in vectors["flags"].as_array().unwrap() {
            let options =
                case["options"].as_array().unwrap().iter().map(|word| word.as_str().unwrap());
            // casync takes the digest as an option of its own, we one for all commands.
            let is_sha256 = options.clone().any(|word| word == "--digest=sha256");
            let digest = if is_sha256 { Digest::Sha256 } else { Digest::Sha512_256 };
            let words = options.filter(|word| !word.starts_with("--digest"));
            let words = Words::try_parse_from(std::iter::once("tar").chain(words)).unwrap();
            let expected = case["flags"].as_str().unwrap().strip_prefix("0x").unwrap();
            let expected = u64::from_str_radix(expected, 16).unwrap();
            assert_eq!(words.selection.features(digest), expected, "{case}");
        }
    }
}
