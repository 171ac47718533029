//! What a user types for a place, as a typed address.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Schemes with a meaning of their own. Everything else is a path, as in desync.
const REMOTE_SCHEMES: [&str; 10] =
    ["http", "https", "ssh", "sftp", "ftp", "s3+http", "s3+https", "gs", "oci+http", "oci+https"];

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
    /// The location for a log: a URL without its password and query, either of which may let
    /// whoever has it in.
    pub fn without_secrets(&self) -> String {
        let text = self.to_string();
        let Location::Remote { scheme, .. } = self else { return text };
        let rest = &text[scheme.len() + "://".len()..];
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let authority = match authority.rsplit_once('@') {
            Some((user, host)) => match user.split_once(':') {
                Some((user, _)) => format!("{user}:***@{host}"),
                None => authority.to_owned(),
            },
            None => authority.to_owned(),
        };
        let path = path.split(['?', '#']).next().unwrap_or_default();
        format!("{scheme}://{authority}{path}")
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
    fn a_log_sees_neither_password_nor_query() {
        for (text, expected) in [
            ("/a?b", "/a?b"),
            ("https://h/s/?X-Signature=1", "https://h/s/"),
            ("https://h?x", "https://h"),
            ("https://u:p@h:80/s", "https://u:***@h:80/s"),
            ("https://u:p@q@h/s@t", "https://u:***@h/s@t"),
            ("sftp://u@h/s", "sftp://u@h/s"),
        ] {
            assert_eq!(text.parse::<Location>().unwrap().without_secrets(), expected);
        }
    }
}
