//! What `.caexclude` files leave out of an archive.
//!
//! ```text
//! # a comment
//! *.o             here and in all directories below
//! /build          here only, as is anything with a slash that something follows
//! src/*.tmp       in the directories here that are called src
//! cache/          only directories
//! !important.o    not left out, whatever else matches, in whatever order
//! ```
//! What counts in a directory is what came down from the one above and what its own file says. What came down
//! is every pattern without a place, and what remains of patterns whose first part matched the name. A
//! directory that is left out is not entered, so nothing in it can be brought back.

use std::sync::Arc;

use super::pattern::Pattern;

/// The name of the files that say what is to be left out.
///
/// To casync only a file counts: it passes over a link or a pipe of this name, and fails on a directory.
pub const FILE_NAME: &str = ".caexclude";
/// Lines of this length are refused, as casync does.
const TOO_LONG: usize = 65536;

/// What is left out of one directory. Costs nothing where nothing is.
#[derive(Clone, Debug, Default)]
pub struct Excludes {
    rules: Option<Arc<[Rule]>>,
}

/// A line of a file, or what remains of it in a directory.
#[derive(Clone, Debug)]
struct Rule {
    line: Arc<Line>,
    /// How many parts matched directories above.
    matched: usize,
}

#[derive(Debug)]
struct Line {
    parts: Vec<Pattern>,
    /// Brings back what another leaves out.
    is_negative: bool,
    /// Holds in the directory of the file, and not below.
    is_anchored: bool,
    /// Leaves out nothing but directories.
    is_for_directories: bool,
}

impl Excludes {
    /// What is left out of a directory that holds such a file: what came down to it, and what the file says.
    ///
    /// Fails on a line that says nothing, leads upwards or is too long.
    pub fn with_file(&self, text: &[u8]) -> Result<Self, String> {
        let mut rules = self.rules.as_deref().unwrap_or_default().to_vec();
        // casync ends a line at a NUL, too.
        for (number, line) in text.split(|byte| matches!(byte, b'\n' | 0)).enumerate() {
            let fault = |why: &str| format!("line {}: {why}", number + 1);
            if line.len() >= TOO_LONG {
                return Err(fault("is too long"));
            }
            let line = stripped(line);
            if !line.is_empty() && line[0] != b'#' {
                let line = Arc::new(Line::parse(line).map_err(fault)?);
                rules.push(Rule { line, matched: 0 });
            }
        }
        Ok(Self::of(rules))
    }

    /// Whether a name in this directory is left out.
    pub fn covers(&self, name: &[u8], is_directory: bool) -> bool {
        let Some(rules) = &self.rules else { return false };
        let mut is_covered = false;
        for rule in rules.iter() {
            let is_needed = rule.line.is_negative || !is_covered;
            if is_needed && rule.is_last() && rule.matches(name, is_directory) {
                if rule.line.is_negative {
                    return false;
                }
                is_covered = true;
            }
        }
        is_covered
    }

    /// What comes down to a directory in this one.
    pub fn below(&self, name: &[u8]) -> Self {
        let Some(rules) = &self.rules else { return Self::default() };
        let come_down = rules.iter().filter_map(|rule| {
            if !rule.line.is_anchored {
                return Some(rule.clone());
            }
            (!rule.is_last() && rule.matches(name, true))
                .then(|| Rule { line: rule.line.clone(), matched: rule.matched + 1 })
        });
        Self::of(come_down.collect())
    }

    fn of(rules: Vec<Rule>) -> Self {
        Self { rules: (!rules.is_empty()).then(|| rules.into()) }
    }
}

impl Rule {
    /// Whether the next part is the last one.
    fn is_last(&self) -> bool {
        self.matched + 1 == self.line.parts.len()
    }

    /// Whether the next part matches.
    fn matches(&self, name: &[u8], is_directory: bool) -> bool {
        (is_directory || !self.line.is_for_directories)
            && self.line.parts[self.matched].matches(name)
    }
}

impl Line {
    fn parse(line: &[u8]) -> Result<Self, &'static str> {
        let (is_negative, text) = match line.strip_prefix(b"!") {
            Some(text) => (true, text),
            None => (false, line),
        };
        let parts = text.split(|&byte| byte == b'/').filter(|part| !part.is_empty());
        let parts: Vec<_> = parts.collect();
        if parts.is_empty() {
            return Err("is no pattern");
        }
        if parts.iter().any(|part| matches!(*part, b"." | b"..")) {
            return Err("has a part . or ..");
        }
        Ok(Self {
            parts: parts.into_iter().map(Pattern::new).collect(),
            is_negative,
            is_anchored: text.contains(&b'/'),
            is_for_directories: text.ends_with(b"/"),
        })
    }
}

/// Without what casync takes for white space at both ends.
fn stripped(line: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t' | b'\r');
    let begin = line.iter().position(is_text).unwrap_or(line.len());
    let end = line.iter().rposition(is_text).map_or(begin, |last| last + 1);
    &line[begin..end]
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    const VECTORS: &str = include_str!("../../testdata/casync-vectors.json");

    /// Names in a directory; `None` for what is no directory.
    #[derive(Debug, Default)]
    struct Tree(BTreeMap<String, Option<Tree>>);

    impl Tree {
        fn add(&mut self, path: &str) {
            match path.split_once('/') {
                Some((name, rest)) => {
                    let below = self.0.entry(name.to_owned()).or_default();
                    let below = below.get_or_insert_default();
                    if !rest.is_empty() {
                        below.add(rest);
                    }
                }
                None => {
                    self.0.insert(path.to_owned(), None);
                }
            }
        }
    }

    /// What is kept of a tree, whose `.caexclude` files say this.
    fn kept(tree: &Tree, files: &BTreeMap<String, String>) -> Result<BTreeSet<String>, String> {
        let mut kept = BTreeSet::from([".".to_owned()]);
        keep(tree, "", &Excludes::default(), files, &mut kept)?;
        Ok(kept)
    }

    fn keep(
        tree: &Tree,
        prefix: &str,
        inherited: &Excludes,
        files: &BTreeMap<String, String>,
        kept: &mut BTreeSet<String>,
    ) -> Result<(), String> {
        let excludes = match files.get(&format!("{prefix}{FILE_NAME}")) {
            Some(text) => inherited.with_file(text.as_bytes())?,
            None => inherited.clone(),
        };
        for (name, below) in &tree.0 {
            if excludes.covers(name.as_bytes(), below.is_some()) {
                continue;
            }
            kept.insert(format!("{prefix}{name}"));
            if let Some(below) = below {
                let excludes = excludes.below(name.as_bytes());
                keep(below, &format!("{prefix}{name}/"), &excludes, files, kept)?;
            }
        }
        Ok(())
    }

    #[test]
    fn every_case_of_casync_comes_out_the_same() {
        let vectors: serde_json::Value = serde_json::from_str(VECTORS).unwrap();
        let paths: Vec<String> = serde_json::from_value(vectors["caexclude_tree"].clone()).unwrap();
        let cases = vectors["caexclude"].as_array().unwrap();
        assert_eq!(cases.len(), 19);
        for case in cases {
            let files: BTreeMap<String, String> =
                serde_json::from_value(case["files"].clone()).unwrap();
            let mut tree = Tree::default();
            paths.iter().chain(files.keys()).for_each(|path| tree.add(path));
            let kept = kept(&tree, &files);
            let name = &case["name"];
            if case["fails"].as_bool().unwrap() {
                assert!(kept.is_err(), "{name}: {kept:?}");
            } else {
                let stored = serde_json::from_value(case["stored"].clone()).unwrap();
                assert_eq!(kept.unwrap(), stored, "{name}");
            }
        }
    }

    #[test]
    fn lines_mean_what_they_mean_to_casync() {
        // Answers of casync 2 on this tree.
        let tree = {
            let mut tree = Tree::default();
            for path in ["build/", "s/build/", "a b", "s/t/x", "s/a b", "q", "s/q", "s/u/t/x"] {
                tree.add(path);
            }
            tree
        };
        let gone = |text: &str| {
            let all = kept(&tree, &BTreeMap::new()).unwrap();
            let kept = kept(&tree, &[(FILE_NAME.to_owned(), text.to_owned())].into());
            kept.map(|kept| all.difference(&kept).cloned().collect::<Vec<_>>().join(" "))
        };
        let cases = [
            ("build/", "build"),
            ("q\0build", "build q s/build s/q"),
            ("q\rbuild", ""),
            ("q\r\nbuild\r\n", "build q s/build s/q"),
            ("\x0bq\x0b", ""),
            ("q\n! q", "q s/q"),
            ("q\n!!q", "q s/q"),
            ("//s///t//", "s/t s/t/x"),
            ("q\n!s/q", "q"),
            ("q\n!/q", "s/q"),
            ("s/u/t", "s/u/t s/u/t/x"),
            ("q/x\ns/*/t", "s/u/t s/u/t/x"),
            ("  # q\nbuild # x", ""),
            ("a\\ b", "a b s/a b"),
            ("s\\/q\ns[/]q", ""),
            ("s/\n!s", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(gone(text).unwrap(), expected, "{text:?}");
        }
        for text in ["!", "/", "./q", ".", "!..", "a/../b"] {
            assert!(gone(text).is_err(), "{text:?}");
        }
        assert!(gone(&"a".repeat(65535)).is_ok());
        assert!(gone(&"a".repeat(65536)).unwrap_err().starts_with("line 1"));
    }

    #[test]
    fn nothing_comes_down_of_what_has_its_place() {
        let excludes = Excludes::default().with_file(b"/a\nb/c\n").unwrap();
        assert!(excludes.covers(b"a", false));
        assert!(!excludes.covers(b"c", false));
        assert!(excludes.below(b"x").rules.is_none());
        assert!(excludes.below(b"b").covers(b"c", false));
        assert!(excludes.below(b"b").below(b"c").rules.is_none());
        assert!(Excludes::default().with_file(b"# nothing\n\n").unwrap().rules.is_none());
    }
}
