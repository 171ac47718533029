//! Where ssh is to go, for all that is reached through it.
//!
//! ```text
//! [user[:password]@]host[:port]  ->  $CASYNC_SSH_PATH [-p port] [flags] -- [user@]host
//! ```
//! User and host may have `%20` and the like. A password is not used: ssh takes none.

use std::env;
use std::ffi::{OsStr, OsString};
use std::process::Command;

use crate::percent;

/// What ssh is to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    /// The host, with a user before it if one is given.
    pub(super) name: String,
    pub(super) port: Option<u16>,
}

impl Destination {
    /// Reads the part of a URL before the path. `place` is the URL without secrets.
    pub(crate) fn parse(authority: &str, place: &str) -> Result<Self, String> {
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        let user = match user.map(|user| user.split_once(':').unwrap_or((user, ""))) {
            Some((user, password)) => {
                if !password.is_empty() {
                    tracing::warn!(store = place, "ssh takes no password from a URL");
                }
                Some(decoded_text(user)?)
            }
            None => None,
        };
        let (host, port) = split_port(host)?;
        let host = decoded_text(host)?;
        let name = match user {
            Some(user) => format!("{user}@{host}"),
            None => host.clone(),
        };
        if host.is_empty() {
            return Err("it names no host".to_owned());
        }
        // ssh would take it for a flag, and there are flags that run commands.
        if name.starts_with('-') || host.starts_with('-') {
            return Err(format!("invalid ssh destination {name:?}: must not begin with '-'"));
        }
        if name.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return Err("the host or user has blanks or control characters".to_owned());
        }
        Ok(Self { name, port })
    }

    /// ssh, as far as where it is to go; what it is to do there follows.
    pub(crate) fn command(&self, program: &OsStr, flags: &[&str]) -> Command {
        let mut command = Command::new(program);
        if let Some(port) = self.port {
            command.args(["-p", &port.to_string()]);
        }
        command.args(flags).args(["--", &self.name]);
        command
    }
}

/// The ssh to start: casync's and desync's variable names it.
pub(crate) fn program() -> OsString {
    variable("CASYNC_SSH_PATH", "ssh")
}

/// A variable of the environment, or the usual value if it is not set or empty.
pub(super) fn variable(name: &str, usual: &str) -> OsString {
    env::var_os(name).filter(|value| !value.is_empty()).unwrap_or(usual.into())
}

/// With each `%41` replaced by its byte.
pub(crate) fn decoded(text: &str) -> Result<Vec<u8>, &'static str> {
    let bytes = percent::decoded(text)
        .ok_or("a `%` without two hex digits behind it; itself it is written `%25`")?;
    if bytes.contains(&0) {
        return Err("a NUL is part of no name");
    }
    Ok(bytes)
}

/// The same, for what must be text.
pub(super) fn decoded_text(text: &str) -> Result<String, &'static str> {
    String::from_utf8(decoded(text)?).map_err(|_| "what its `%` stand for is not UTF-8")
}

/// A host and the port behind it. IPv6 addresses stand in brackets.
fn split_port(host: &str) -> Result<(&str, Option<u16>), &'static str> {
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
