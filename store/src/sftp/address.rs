//! From a URL to what ssh is told, and to a directory.
//!
//! ```text
//! sftp://user@host:2222/dir/store  ->  ssh -p 2222 -s -- user@host sftp, /dir/store
//! ```
//! The path is absolute. `%20` and the like stand for a byte in it. All else is as `ssh` has it from
//! its configuration.

use std::ffi::OsString;
use std::process::Command;

use crate::ssh::destination::{Destination, decoded, program};

/// Where a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// The ssh to be used.
    pub(crate) program: OsString,
    destination: Destination,
    /// The directory, without a slash at its end.
    pub(super) directory: Vec<u8>,
}

impl Address {
    /// Reads a URL, which is shown in messages as `place`. The error says what is wrong with it.
    pub(crate) fn parse(url: &str, place: &str) -> Result<Self, String> {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let rest = &rest[..rest.find(['?', '#']).unwrap_or(rest.len())];
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let destination = Destination::parse(authority, place)?;
        let mut directory = decoded(path)?;
        while directory.ends_with(b"/") {
            directory.pop();
        }
        Ok(Self { program: program(), destination, directory })
    }

    /// The command that connects us.
    pub(super) fn command(&self) -> Command {
        let mut command = self.destination.command(&self.program, &["-s"]);
        command.arg("sftp");
        command
    }
}

/// A file's name as text that stands for it in a URL.
pub(super) fn encoded(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for &byte in name {
        if byte.is_ascii_graphic() && byte != b'%' {
            text.push(byte.into());
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> Result<String, String> {
        let address = Address::parse(url, url)?;
        let command = address.command();
        let arguments: Vec<_> = command.get_args().map(|a| a.to_string_lossy()).collect();
        Ok(format!("{} {}", arguments.join(" "), address.directory.escape_ascii()))
    }

    #[test]
    fn urls_become_commands() {
        for (url, expected) in [
            ("sftp://host/a/b", "-s -- host sftp /a/b"),
            ("sftp://u@host:22/a/b//", "-p 22 -s -- u@host sftp /a/b"),
            ("sftp://host", "-s -- host sftp "),
            ("sftp://u%40corp@host/a%20b%25", "-s -- u@corp@host sftp /a b%"),
            ("sftp://u:secret@host/%ff?x", "-s -- u@host sftp /\\xff"),
            ("sftp://[::1]:2222/s", "-p 2222 -s -- ::1 sftp /s"),
            ("sftp://[fe80::1%25eth0]/s", "-s -- fe80::1%eth0 sftp /s"),
        ] {
            assert_eq!(shown(url).as_deref(), Ok(expected), "{url}");
        }
    }

    #[test]
    fn what_ssh_would_take_for_an_option_is_refused() {
        for (url, expected) in [
            (
                "sftp://-oProxyCommand=x/s",
                "invalid ssh destination \"-oProxyCommand=x\": must not begin with '-'",
            ),
            ("sftp://%2doX/s", "invalid ssh destination \"-oX\": must not begin with '-'"),
            ("sftp://-u@host/s", "invalid ssh destination \"-u@host\": must not begin with '-'"),
            ("sftp:///s", "it names no host"),
            ("sftp://host/a%00", "a NUL is part of no name"),
        ] {
            assert_eq!(shown(url).unwrap_err(), expected, "{url}");
        }
    }

    #[test]
    fn names_come_back() {
        for name in [&b"plain.cacnk"[..], b"50%", b"%41", b"a b\xff/"] {
            assert_eq!(decoded(&encoded(name)).unwrap(), name);
        }
        assert_eq!(encoded(b"a%b c"), "a%25b%20c");
    }
}
