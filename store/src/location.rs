//! What a user types for a place, as a typed address.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Schemes with a meaning of their own. Everything else is a path, as in desync.
const REMOTE_SCHEMES: [&str; 14] = [
    "http",
    "https",
    "ssh",
    "sftp",
    "ftp",
    "s3",
    "s3+http",
    "s3+https",
    "gs",
    "az",
    "az+http",
    "az+https",
    "oci+http",
    "oci+https",
];

/// Where a store or an index is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Location {
    /// `-`: standard input or output.
    Stdio,
    /// A path on this machine.
    Local(PathBuf),
    /// A URL with one of the known schemes.
    Remote {
        /// The part before `://`.
        scheme: String,
        /// The whole URL.
        url: String,
    },
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("the location is empty".to_owned());
        }
        if text == "-" {
            return Ok(Location::Stdio);
        }
        Ok(match text.split_once("://") {
            Some((scheme, _)) if REMOTE_SCHEMES.contains(&scheme) => {
                Location::Remote { scheme: scheme.to_owned(), url: text.to_owned() }
            }
            _ => Location::Local(PathBuf::from(text)),
        })
    }
}

impl Location {
    /// The places that `|` joins, which mirror each other; this one alone if there is no `|`. A
    /// directory that is there by the whole name is one place.
    pub fn mirrors(&self) -> Vec<Location> {
        let text = match self {
            Location::Stdio => return vec![self.clone()],
            Location::Local(path) if path.is_dir() => return vec![self.clone()],
            Location::Local(path) => path.to_string_lossy(),
            Location::Remote { url, .. } => url.as_str().into(),
        };
        let members: Vec<&str> = text.split('|').filter(|member| !member.is_empty()).collect();
        match members[..] {
            [] | [_] => vec![self.clone()],
            _ => members.iter().filter_map(|member| member.parse().ok()).collect(),
        }
    }

    /// The location for a log: a URL without what may let whoever has it in, that is its passwords, its
    /// query, and a user name that stands alone, which may be a token.
    ///
    /// Where a password ends cannot be known for sure, as it may hold any character. Rather too much
    /// is left out than too little: all before the last `@` that is in no query. Of URLs joined by `|`
    /// each is treated alone; what of them is no URL is part of the one before.
    pub fn without_secrets(&self) -> String {
        let text = self.to_string();
        let mut starts: Vec<usize> = text
            .match_indices('|')
            .map(|(bar, _)| bar + 1)
            .filter(|&start| rest_of_remote(&text[start..]).is_some())
            .collect();
        starts.push(text.len() + 1);
        let mut start = 0;
        let members = starts.into_iter().map(|next| {
            let member = &text[start..next - 1];
            start = next;
            without_secrets(member)
        });
        members.collect::<Vec<_>>().join("|")
    }
}

/// What stands behind the scheme of a URL, if it is one with a known scheme.
fn rest_of_remote(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once("://")?;
    REMOTE_SCHEMES.contains(&scheme).then_some(rest)
}

/// A single URL without its secrets.
fn without_secrets(url: &str) -> String {
    let Some(rest) = rest_of_remote(url) else { return url.to_owned() };
    let scheme = &url[..url.len() - rest.len()];
    let authority = &rest[..rest.find('/').unwrap_or(rest.len())];
    // A password with `?` or `#` in it: an `@` behind is taken for the end of the password. So it is
    // where a `:` stands first, be it that of a port.
    let first = rest.find(['/', '?', '#', '@', ':']);
    let is_named = first.is_some_and(|first| rest[first..].starts_with(':'));
    let at = authority.rfind('@').or_else(|| rest.rfind('@').filter(|_| is_named));
    let query = match at {
        Some(at) => rest[at..].find(['?', '#']).map(|query| at + query),
        None => rest.find(['?', '#']),
    };
    let rest = &rest[..query.unwrap_or(rest.len())];
    let Some((secrets, host)) = rest.rsplit_once('@') else { return format!("{scheme}{rest}") };
    // Of sftp and ssh the name alone says who asks, and their passwords are not in the URL.
    let is_shell = matches!(scheme, "ssh://" | "sftp://");
    match secrets.split_once(':') {
        Some((user, _)) if !user.contains(['/', '@']) => format!("{scheme}{user}:***@{host}"),
        None if is_shell && !secrets.contains(['/', '@']) => format!("{scheme}{rest}"),
        _ => format!("{scheme}***@{host}"),
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Stdio => f.write_str("-"),
            Location::Local(path) => path.display().fmt(f),
            Location::Remote { url, .. } => f.write_str(url),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_schemes_are_remote_and_all_else_is_a_path() {
        let local = |text: &str| Location::Local(PathBuf::from(text));
        for (text, expected) in [
            ("-", Location::Stdio),
            ("/a/b.castr", local("/a/b.castr")),
            ("b.castr", local("b.castr")),
            ("file://x", local("file://x")),
            ("HTTP://x", local("HTTP://x")),
            ("C:\\store", local("C:\\store")),
            (
                "s3+https://h/b",
                Location::Remote { scheme: "s3+https".into(), url: "s3+https://h/b".into() },
            ),
        ] {
            assert_eq!(text.parse(), Ok(expected.clone()), "{text}");
            assert_eq!(expected.to_string(), text);
        }
        assert!("".parse::<Location>().is_err());
    }

    #[test]
    fn bars_join_mirrors() {
        let location = |text: &str| text.parse::<Location>().unwrap();
        for (text, expected) in [
            ("/a", vec!["/a"]),
            ("/a|b", vec!["/a", "b"]),
            ("https://h/a?x|/b|s3+http://h/c", vec!["https://h/a?x", "/b", "s3+http://h/c"]),
            ("https://h/a||", vec!["https://h/a|"]),
            ("-", vec!["-"]),
        ] {
            let expected: Vec<Location> = match expected[..] {
                [_] => vec![location(text)],
                _ => expected.into_iter().map(location).collect(),
            };
            assert_eq!(location(text).mirrors(), expected, "{text}");
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a|b");
        std::fs::create_dir(&path).unwrap();
        assert_eq!(Location::Local(path.clone()).mirrors(), [Location::Local(path)]);
    }

    #[test]
    fn a_log_sees_neither_password_nor_query() {
        for (text, expected) in [
            ("/a?b", "/a?b"),
            ("/a?b|/u:p@c", "/a?b|/u:p@c"),
            ("/a?b|https://u:p@h/s", "/a?b|https://u:***@h/s"),
            ("https://h/s/?X-Signature=1", "https://h/s/"),
            ("https://h?x", "https://h"),
            ("https://u:p@h:80/s", "https://u:***@h:80/s"),
            ("https://u:p@q@h/s", "https://u:***@h/s"),
            ("https://me:hun/ter2@h/s", "https://me:***@h/s"),
            ("https://me:hun?ter2@h/s?x@y", "https://me:***@h/s"),
            ("https://me:h/un?ter2@h/s?x", "https://me:***@h/s"),
            ("https://h:80/s?mail", "https://h:80/s"),
            ("https://me:hun#ter2@h/s", "https://me:***@h/s"),
            // Too much rather than too little.
            ("https://u:p@h/s@t", "https://u:***@t"),
            ("https://h/s@t", "https://***@t"),
            ("https://h/s?mail=a@b", "https://h/s"),
            ("https://token@h/s", "https://***@h/s"),
            (
                "https://u:p@a|https://u:q/r@b/s?t|https://c",
                "https://u:***@a|https://u:***@b/s|https://c",
            ),
            ("https://u:p|q@a|ssh://u@b", "https://u:***@a|ssh://u@b"),
            ("https://u:p@a?x|/local", "https://u:***@a"),
            ("sftp://u@h/s", "sftp://u@h/s"),
            ("sftp://u:p@h/s", "sftp://u:***@h/s"),
        ] {
            assert_eq!(text.parse::<Location>().unwrap().without_secrets(), expected);
        }
    }
}
