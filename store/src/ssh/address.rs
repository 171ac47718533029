//! Where a store behind ssh is, and the command that starts ssh.
//!
//! ```text
//! ssh://[user@]host[:port]/path
//! $CASYNC_SSH_PATH [-p port] -- [user@]host "$CASYNC_REMOTE_PATH pull - - - '/path'"
//! ```
//! The path begins with its slash. User and path may have `%20` and the like.

use std::env;
use std::ffi::OsString;
use std::process::Command;

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
        let variable = |name, usual: &str| {
            env::var_os(name).filter(|value| !value.is_empty()).unwrap_or(usual.into())
        };
        Self {
            ssh: variable("CASYNC_SSH_PATH", "ssh"),
            remote: variable("CASYNC_REMOTE_PATH", "casync"),
        }
    }
}

/// A place behind ssh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// As the user named it, without secrets.
    pub(super) place: String,
    /// What ssh is to connect to.
    destination: String,
    port: Option<u16>,
    path: String,
}

impl Address {
    /// Takes a URL apart.
    pub(super) fn of(location: &Location) -> Result<Self> {
        let place = location.without_secrets();
        parse(&location.to_string(), &place)
            .map_err(|why| Error::Unsupported { place, why: why.to_owned() })
    }

    /// ssh, with a command for the other side: a verb of casync with the index it is about, if any, and
    /// the store.
    pub(super) fn command(&self, programs: &Programs, verb: &str, index: &str) -> Command {
        let mut line = programs.remote.clone();
        line.push(format!(" {verb} - - {} {}", quoted(index), quoted(&self.path)));
        let mut command = Command::new(&programs.ssh);
        if let Some(port) = self.port {
            command.args(["-p", &port.to_string()]);
        }
        command.args(["--", &self.destination]).arg(line);
        command
    }
}

fn parse(url: &str, place: &str) -> std::result::Result<Address, &'static str> {
    let rest = url.strip_prefix("ssh://").ok_or("not the location of a store behind ssh")?;
    if rest.contains(['?', '#']) {
        return Err("`?` and `#` in the path must be written `%3F` and `%23`");
    }
    let (authority, path) = rest.split_at(rest.find('/').ok_or("it names no directory")?);
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    let user = match user.map(|user| user.split_once(':').unwrap_or((user, ""))) {
        Some((user, password)) => {
            if !password.is_empty() {
                tracing::warn!(store = place, "ssh takes no password from a URL");
            }
            Some(decoded(user)?)
        }
        None => None,
    };
    let (host, port) = split_port(host)?;
    let host = decoded(host)?;
    let destination = match user {
        Some(user) => format!("{user}@{host}"),
        None => host.clone(),
    };
    if host.is_empty() {
        return Err("it names no host");
    }
    // ssh would take it for a flag, and there are flags that run commands.
    if destination.starts_with('-') || host.starts_with('-') {
        return Err("invalid ssh destination: must not begin with '-'");
    }
    if destination.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err("the host or user has blanks or control characters");
    }
    Ok(Address { place: place.to_owned(), destination, port, path: decoded(path)? })
}

/// A host and the port behind it. IPv6 addresses stand in brackets.
fn split_port(host: &str) -> std::result::Result<(&str, Option<u16>), &'static str> {
    let (host, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or("an address without its `]`")?;
            match rest.strip_prefix(':') {
                Some(port) => (host, port),
                None if rest.is_empty() => (host, ""),
                None => return Err("something stands between `]` and the path"),
            }
        }
        None => host.split_once(':').unwrap_or((host, "")),
    };
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        _ if port.is_empty() => Ok((host, None)),
        Ok(port) if port > 0 && is_number => Ok((host, Some(port))),
        _ => Err("the port is no number from 1 to 65535"),
    }
}

/// With each `%41` replaced by its byte.
fn decoded(text: &str) -> std::result::Result<String, &'static str> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |at: usize| rest.get(at).and_then(|&digit| char::from(digit).to_digit(16));
        match (digit(0), digit(1)) {
            (Some(high), Some(low)) => bytes.push((high << 4 | low) as u8),
            _ => return Err("a `%` without two hex digits behind it; itself it is written `%25`"),
        }
        rest = &rest[2..];
    }
    match String::from_utf8(bytes) {
        Ok(text) if text.contains('\0') => Err("a NUL is part of no name"),
        Ok(text) => Ok(text),
        Err(_) => Err("what its `%` stand for is not UTF-8"),
    }
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
        Ok((address.destination, address.port, address.path))
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
    }
}
