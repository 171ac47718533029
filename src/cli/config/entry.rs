//! Which entry of the configuration a location has.
//!
//! ```text
//! location is a URL   key and location, less one trailing '/', as text against pattern
//! else                key and location as absolute, clean paths
//! ```
//! A URL has a scheme longer than one letter, so `C:\store` is a path. Case matters. desync also
//! lets a location that is no proper URL, such as `/srv/100%`, match nothing; but it cannot open
//! such a place either, and to leave out the options of one that we can open would be wrong.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::file::{Entry, File};
use super::key::Section;
use super::pattern;

/// Several entries are for one location.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Several;

/// The only entry whose key matches. Relative paths start in `directory`.
pub(super) fn find<'a, T>(
    section: &'a BTreeMap<String, T>,
    location: &str,
    directory: &Path,
) -> Result<Option<&'a T>, Several> {
    let mut found = section.iter().filter(|(key, _)| matches(key, location, directory));
    let first = found.next();
    if found.next().is_some() {
        return Err(Several);
    }
    Ok(first.map(|(_, entry)| entry))
}

/// The entry of a section for `wanted`, which was typed as the error says.
pub(super) fn of<'a>(
    file: &'a File,
    section: Section,
    wanted: &str,
    typed: &str,
    directory: &Path,
) -> anyhow::Result<Option<&'a Entry>> {
    let Some(entries) = file.section(section) else { return Ok(None) };
    find(entries, wanted, directory).map_err(|Several| {
        let section = section.name();
        anyhow::anyhow!("multiple {section} entries match the location \"{typed}\"")
    })
}

/// Where the store of an index is: all before its last `/`. For a bare name, and for `-`, that is
/// the current directory.
pub(super) fn store_of_index(location: &str) -> &str {
    match location.rsplit_once('/') {
        Some(("", _)) => "/",
        Some((store, _)) => store,
        None => "",
    }
}

/// Whether an entry with this key is for the location; relative paths start in `directory`.
fn matches(key: &str, location: &str, directory: &Path) -> bool {
    if scheme(location).len() > 1 {
        let plain = |text| str::strip_suffix(text, "/").unwrap_or(text).to_owned();
        return pattern::matches(&plain(key), &plain(location));
    }
    let clean = |path| clean(directory, Path::new(path)).into_os_string().into_string();
    match (clean(key), clean(location)) {
        (Ok(key), Ok(location)) => pattern::matches(&key, &location),
        _ => false,
    }
}

/// What stands before the first `:`, if that can be a scheme.
fn scheme(location: &str) -> &str {
    let is_of_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    match location.split_once(':') {
        Some((scheme, _))
            if scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.chars().all(is_of_scheme) =>
        {
            scheme
        }
        _ => "",
    }
}

/// The absolute path without `.`, `..` and superfluous `/`, made without asking the file system.
fn clean(directory: &Path, path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in directory.join(path).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            other => clean.push(other),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(key: &str, location: &str, expected: bool) {
        assert_eq!(matches(key, location, Path::new("/home/me")), expected, "{key} {location}");
    }

    #[test]
    fn the_examples_of_desync_match() {
        for (key, location) in [
            ("https://host/", "https://host"),
            ("https://host", "https://host/"),
            ("https://*", "https://example.com"),
            ("*://example.com", "https://example.com"),
            ("https://example.com/*/*/", "https://example.com/path/another/"),
            ("/path", "/path/../path"),
            ("/pat?/?", "/path/1"),
            ("*", "path"),
        ] {
            check(key, location, true);
        }
    }

    #[test]
    fn the_counterexamples_of_desync_do_not_match() {
        for (key, location) in [
            ("https://*", "https://example.com/path"),
            ("*", "https://example.com/path"),
            ("https://example.com/path/*", "https://example.com/path"),
            ("/path", "path"),
            ("/path*", "/path/to"),
            ("ssh://host/path", "/path"),
            ("http://host:8080/path", "http://host/path"),
            ("HTTPS://host", "https://host"),
            ("https://host/[a", "https://host/[a"),
            ("/[a", "/[a"),
        ] {
            check(key, location, false);
        }
    }

    /// Tried with desync itself.
    #[test]
    fn odd_locations_match_as_in_desync() {
        for (key, location) in [
            ("http://h/x?a=b", "http://h/x?a=b"),
            ("http://h/x?a=b", "http://h/xya=b"),
            ("http://h[^a]x", "http://h/x"),
            ("a:b", "a:b"),
            ("ab:c", "ab:c"),
            ("./1a:b", "1a:b"),
            ("/home/me", "."),
            (".", "/home/me"),
            ("..", "/home"),
            ("x/", "x"),
            ("/x", "///x"),
            ("/a b", "/a b"),
            ("/a#b", "/a#b"),
            ("file://x", "file://x"),
            ("*://x", "file://x"),
            ("*", "*"),
            ("/?", "/é"),
            ("", ""),
            ("/home/me", ""),
        ] {
            check(key, location, true);
        }
        check("http://h//", "http://h/", false);
        check("https://host", "https://host//", false);
    }

    #[test]
    fn the_store_of_an_index_is_all_before_the_last_slash() {
        for (index, store) in [
            ("/dir/x.caibx", "/dir"),
            ("x.caibx", ""),
            ("-", ""),
            ("/x.caibx", "/"),
            ("https://h/a/x.caibx", "https://h/a"),
        ] {
            assert_eq!(store_of_index(index), store);
        }
    }

    #[test]
    fn two_entries_for_one_location_are_an_error() {
        let section: BTreeMap<String, u8> =
            [("/a".into(), 1), ("/?".into(), 2), ("/b/*".into(), 3)].into();
        let find = |location| find(&section, location, Path::new("/"));
        assert_eq!(find("./a/"), Err(Several));
        assert_eq!(find("/b"), Ok(Some(&2)));
        assert_eq!(find("b/c"), Ok(Some(&3)));
        assert_eq!(find("/b/c/d"), Ok(None));
    }
}
