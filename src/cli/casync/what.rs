//! What kind of thing is worked on.

use cairn_store::Location;

use super::options::Asked;

/// A kind of thing, as `--what` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Archive,
    ArchiveIndex,
    Blob,
    BlobIndex,
    Directory,
}

/// Which suffix tells which kind.
const SUFFIXES: [(&str, What); 3] =
    [(".catar", What::Archive), (".caidx", What::ArchiveIndex), (".caibx", What::BlobIndex)];

impl What {
    pub(super) const ALL: [Self; 5] =
        [Self::Archive, Self::ArchiveIndex, Self::Blob, Self::BlobIndex, Self::Directory];

    /// As it is typed.
    pub(super) fn name(self) -> &'static str {
        match self {
            What::Archive => "archive",
            What::ArchiveIndex => "archive-index",
            What::Blob => "blob",
            What::BlobIndex => "blob-index",
            What::Directory => "directory",
        }
    }

    /// The kind that the name of a place tells.
    pub(super) fn by_suffix(location: &Location) -> Option<Self> {
        let text = match location {
            Location::Stdio => return None,
            Location::Local(path) => path.file_name()?.to_string_lossy(),
            Location::Remote { url, .. } => {
                let end = url.find(['?', '#', ';']).unwrap_or(url.len());
                url[..end].into()
            }
        };
        SUFFIXES.iter().find(|(suffix, _)| text.ends_with(suffix)).map(|(_, what)| *what)
    }

    /// Whether it is the index of something.
    pub(super) fn is_index(self) -> bool {
        matches!(self, What::ArchiveIndex | What::BlobIndex)
    }

    /// Whether it holds a tree.
    pub(super) fn is_tree(self) -> bool {
        matches!(self, What::Archive | What::ArchiveIndex | What::Directory)
    }
}

/// Reads the value of `--what`.
pub(super) fn parse(word: &str) -> Result<Asked<What>, String> {
    if word == "help" {
        return Ok(Asked::Help);
    }
    let found = What::ALL.into_iter().find(|what| what.name() == word);
    found
        .map(Asked::Value)
        .ok_or_else(|| format!("there are: {}", What::ALL.map(What::name).join(", ")))
}

/// The kind that `--what` says, if it does, which must be one of these.
pub(super) fn allowed(
    said: Option<What>,
    verb: &str,
    kinds: &[What],
) -> anyhow::Result<Option<What>> {
    if let Some(what) = said {
        let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        anyhow::ensure!(
            kinds.contains(&what),
            "--what={} is not for `{verb}`, which has: {}",
            what.name(),
            names.join(", ")
        );
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_tell_kinds() {
        let of = |text: &str| What::by_suffix(&text.parse().unwrap());
        assert_eq!(of("a/b.catar"), Some(What::Archive));
        assert_eq!(of("b.caidx"), Some(What::ArchiveIndex));
        assert_eq!(of("http://h/b.caibx?x=y.catar"), Some(What::BlobIndex));
        assert_eq!(of("ssh://h/b.caibx;x"), Some(What::BlobIndex));
        for text in ["b", "b.catar.gz", "a.catar/b", "-", "catar"] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
