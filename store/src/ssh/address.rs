//! Where a store behind ssh is, and the command that starts ssh.
//!
//! ```text
//! ssh://[user@]host[:port]/path
//! $CASYNC_SSH_PATH [-p port] -- [user@]host "$CASYNC_REMOTE_PATH pull - - - '/path'"
//! ```
//! The path begins with its slash. User and path may have `%20` and the like.

use std::ffi::OsString;
use std::process::Command;

use super::destination::{Destination, decoded_text, program, variable};
use crate::{Error, Location, Result};

/// The programs at both ends of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    /// ssh, or what stands in for it.
    pub ssh: OsString,
    /// The command on the other side, as its shell takes it.
    pub remote: OsString,
}

impl Default for Programs {
    /// As the variables say that casync and desync know, too.
    fn default() -> Self {
        Self { ssh: program(), remote: variable("CASYNC_REMOTE_PATH", "casync") }
    }
}

/// A place behind ssh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// As the user named it, without secrets.
    pub(super) place: String,
    destination: Destination,
    path: String,
}

impl Address {
    /// Takes a URL apart.
    pub(super) fn of(location: &Location) -> Result<Self> {
        let place = location.without_secrets();
        parse(&location.to_string(), &place).map_err(|why| Error::Unsupported { place, why })
    }

    /// ssh, with a command for the other side: a verb of casync with the index it is about, if any, and
    /// the store.
    pub(super) fn command(&self, programs: &Programs, verb: &str, index: &str) -> Command {
        self.line(programs, verb, index, &self.path)
    }

    /// The same of an index, which is at this address, and no store.
    pub(super) fn index_command(&self, programs: &Programs, verb: &str) -> Command {
        self.line(programs, verb, &self.path, "-")
    }

    fn line(&self, programs: &Programs, verb: &str, index: &str, store: &str) -> Command {
        let mut line = programs.remote.clone();
        line.push(format!(" {verb} - - {} {}", quoted(index), quoted(store)));
        let mut command = self.destination.command(&programs.ssh, &[]);
        command.arg(line);
        command
    }
}

fn parse(url: &str, place: &str) -> std::result::Result<Address, String> {
    let rest = url.strip_prefix("ssh://").ok_or("not the location of a store behind ssh")?;
    if rest.contains(['?', '#']) {
        return Err("`?` and `#` in the path must be written `%3F` and `%23`".to_owned());
    }
    let (authority, path) = rest.split_at(rest.find('/').ok_or("it names no directory")?);
    let destination = Destination::parse(authority, place)?;
    Ok(Address { place: place.to_owned(), destination, path: decoded_text(path)? })
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    if word == "-" {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str) -> std::result::Result<(String, Option<u16>, String), String> {
        let address = Address::of(&url.parse().unwrap()).map_err(|e| e.to_string())?;
        Ok((address.destination.name, address.destination.port, address.path))
    }

    #[test]
    fn urls_are_taken_apart() {
        for (url, destination, port, path) in [
            ("ssh://h/s", "h", None, "/s"),
            ("ssh://me@h/a/b.castr", "me@h", None, "/a/b.castr"),
            ("ssh://me@h:2222/s", "me@h", Some(2222), "/s"),
            ("ssh://h:/s", "h", None, "/s"),
            ("ssh://[::1]/s", "::1", None, "/s"),
            ("ssh://me@[fe80::1%25eth0]:22/s", "me@fe80::1%eth0", Some(22), "/s"),
            ("ssh://m%65:secret@h/s", "me@h", None, "/s"),
            ("ssh://a@b@h/s", "a@b@h", None, "/s"),
            ("ssh://h/a%20b/%C3%A9'%25", "h", None, "/a b/é'%"),
            ("ssh://h/", "h", None, "/"),
        ] {
            assert_eq!(address(url), Ok((destination.into(), port, path.into())), "{url}");
        }
    }

    #[test]
    fn what_ssh_could_misunderstand_is_refused() {
        for (url, part) in [
            ("ssh://-oProxyCommand=x/s", "must not begin with '-'"),
            ("ssh://-x@h/s", "must not begin with '-'"),
            ("ssh://%2Dx/s", "must not begin with '-'"),
            ("ssh://me@-x/s", "must not begin with '-'"),
            ("ssh://h", "no directory"),
            ("ssh:///s", "no host"),
            ("ssh://me@/s", "no host"),
            ("ssh://h%0A/s", "control characters"),
            ("ssh://h/%00", "NUL"),
            ("ssh://h/%zz", "hex digits"),
            ("ssh://h/%4", "hex digits"),
            ("ssh://h/%ff", "UTF-8"),
            ("ssh://h/s?x=1", "%3F"),
            ("ssh://h:0/s", "port"),
            ("ssh://h:+22/s", "port"),
            ("ssh://h:99999/s", "port"),
            ("ssh://[::1/s", "`]`"),
            ("ssh://[::1]x/s", "`]`"),
        ] {
            let error = address(url).unwrap_err();
            assert!(error.contains(part), "{url}: {error}");
        }
        let error = address("ssh://me:hunter2@h:x/s").unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn the_path_is_one_word_of_the_shell() {
        let address = Address::of(&"ssh://me@h:22/it's%20$HOME".parse().unwrap()).unwrap();
        let programs = Programs { ssh: "ssh".into(), remote: "casync".into() };
        let command = address.command(&programs, "pull", "-");
        let words: Vec<&str> = command.get_args().map(|word| word.to_str().unwrap()).collect();
        assert_eq!(words[..4], ["-p", "22", "--", "me@h"]);
        assert_eq!(words[4], r"casync pull - - - '/it'\''s $HOME'");
        let command = address.index_command(&programs, "push");
        let line = command.get_args().last().unwrap().to_str().unwrap();
        assert_eq!(line, r"casync push - - '/it'\''s $HOME' -");
    }
}
