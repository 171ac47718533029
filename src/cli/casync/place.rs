//! What casync takes for a path, a URL, or a place behind ssh; and the store where nobody names one.
//!
//! ```text
//! /path  ./path  name                 a path, also with a colon if it begins so
//! scheme://host/path                  a URL, its scheme in any case; file:///path is a path
//! [user@]host:/path                   ssh://[user@]host/path
//! ```

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cairn_store::Location;

use super::options::Options;
use crate::cli::failure;

/// The store that is beside an index.
const BESIDE: &str = "default.castr";

/// Reads a word that stands for a place.
pub(super) fn parse(word: &OsStr) -> anyhow::Result<Location> {
    anyhow::ensure!(!word.is_empty(), "a path or URL is empty");
    let Some(text) = word.to_str() else { return Ok(Location::Local(word.into())) };
    if text == "-" {
        return Ok(Location::Stdio);
    }
    if text.starts_with(['/', '.']) {
        return Ok(Location::Local(text.into()));
    }
    if let Some((scheme, rest)) = text.split_once("://")
        && is_scheme(scheme)
    {
        return of_url(&scheme.to_ascii_lowercase(), rest);
    }
    match text.split_once(':') {
        Some((host, path)) if is_host(host) && !path.is_empty() => behind_ssh(host, path),
        _ => Ok(Location::Local(text.into())),
    }
}

/// Reads a word that stands for a path on this machine, or for standard input or output.
pub(super) fn parse_local(word: &OsStr) -> anyhow::Result<Location> {
    match parse(word)? {
        far @ Location::Remote { .. } => {
            anyhow::bail!(
                "{}: only what is on this machine can be read here",
                far.without_secrets()
            )
        }
        near => Ok(near),
    }
}

/// All stores that were named, the one first that nobody need have named.
pub(super) fn named(options: &Options, index: &Location) -> anyhow::Result<Vec<Location>> {
    let extra = options.extra_store.iter().map(|extra| parse(extra.as_ref()).context("a store"));
    std::iter::once(store(options, index)).chain(extra).collect()
}

/// The stores to read from. Those on this machine that are not there are done without if others are.
pub(super) fn stores(options: &Options, index: &Location) -> anyhow::Result<Vec<Location>> {
    let mut all = named(options, index)?;
    let is_gone = |store: &Location| matches!(store, Location::Local(path) if !path.is_dir());
    let is_there = |store: &Location| !store.mirrors().iter().all(is_gone);
    if all.iter().any(is_there) {
        for gone in all.iter().filter(|store| !is_there(store)) {
            failure::warn(&format!("{}: there is no such store", gone.without_secrets()));
        }
        all.retain(is_there);
    } else {
        all.truncate(1);
    }
    Ok(all)
}

/// The store to use, by an index that may be beside it.
pub(super) fn store(options: &Options, index: &Location) -> anyhow::Result<Location> {
    let named = options.store.as_ref().map(OsString::from).or_else(|| env::var_os("CASYNC_STORE"));
    match named {
        Some(named) => parse(&named).context("the store"),
        None => Ok(beside(index)),
    }
}

fn beside(index: &Location) -> Location {
    match index {
        Location::Stdio => Location::Local(BESIDE.into()),
        Location::Local(path) => Location::Local(path.with_file_name(BESIDE)),
        Location::Remote { scheme, url } => {
            let path = &url[..url.find(['?', '#', ';']).unwrap_or(url.len())];
            let directory = path.rfind('/').map_or(path, |slash| &path[..=slash]);
            Location::Remote { scheme: scheme.clone(), url: format!("{directory}{BESIDE}") }
        }
    }
}

fn is_scheme(text: &str) -> bool {
    let is_in = |c: char| c.is_ascii_alphanumeric() || "+.-".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(is_in)
}

fn of_url(scheme: &str, rest: &str) -> anyhow::Result<Location> {
    if scheme == "file" {
        let path = rest.strip_prefix("localhost").unwrap_or(rest);
        anyhow::ensure!(
            path.starts_with('/'),
            "file://: a file on another machine is out of reach"
        );
        return Ok(Location::Local(decoded(path)));
    }
    match format!("{scheme}://{rest}").parse::<Location>().map_err(anyhow::Error::msg)? {
        remote @ Location::Remote { .. } => Ok(remote),
        _ => anyhow::bail!("there is no way to places that begin with `{scheme}://`"),
    }
}

/// Whether a word can be `[user@]host`.
fn is_host(text: &str) -> bool {
    let (user, host) = text.split_once('@').map_or((None, text), |(user, host)| (Some(user), host));
    let is_name = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.%-".contains(c))
    };
    is_name(host) && user.is_none_or(is_name)
}

fn behind_ssh(host: &str, path: &str) -> anyhow::Result<Location> {
    anyhow::ensure!(path.starts_with('/'), "{host}:{path}: behind ssh a path begins with a slash");
    let path = path.replace('%', "%25").replace('?', "%3F").replace('#', "%23");
    Ok(Location::Remote { scheme: "ssh".into(), url: format!("ssh://{host}{path}") })
}

/// A path of a URL without `%20` and the like.
fn decoded(path: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, behind @ ..] = rest {
        let code = behind.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    Path::new(&OsString::from_vec(bytes)).to_owned()
}

/// The name of a path's last component, as archives have it.
pub(super) fn last_name(path: &[u8]) -> PathBuf {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    OsStr::from_bytes(name).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Location {
        parse(text.as_ref()).unwrap()
    }

    fn local(path: &str) -> Location {
        Location::Local(path.into())
    }

    #[test]
    fn words_are_places() {
        for (word, expected) in [
            ("a/b", "a/b"),
            ("/a:b", "/a:b"),
            ("./a:b", "./a:b"),
            ("../a:b", "../a:b"),
            ("a/b:c", "a/b:c"),
            ("a:", "a:"),
            (":a", ":a"),
            ("a b:/c", "a b:/c"),
            ("file:///a/b%20c%", "/a/b c%"),
            ("file://localhost/a", "/a"),
        ] {
            assert_eq!(at(word), local(expected), "{word}");
        }
        assert_eq!(at("-"), Location::Stdio);
        assert_eq!(at("h:/a%b"), "ssh://h/a%25b".parse().unwrap());
        assert_eq!(at("me@h.x:/a?b"), "ssh://me@h.x/a%3Fb".parse().unwrap());
        assert_eq!(at("https://h/a"), "https://h/a".parse().unwrap());
        assert_eq!(at("HTTPS://u:p@h/a"), "https://u:p@h/a".parse().unwrap());
        assert_eq!(at("File:///a"), local("/a"));
        for bad in ["", "h:a", "gopher://h/a", "file://h/a"] {
            assert!(parse(bad.as_ref()).is_err(), "{bad}");
        }
        for bad in ["GOPHER://u:secret@h/a", "Foo://u:secret@h/a", "file://u:secret@h/a"] {
            let error = format!("{:#}", parse(bad.as_ref()).unwrap_err());
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_store_is_beside_its_index() {
        for (index, store) in [
            ("x.caibx", "default.castr"),
            ("a/x.caibx", "a/default.castr"),
            ("/x.caibx", "/default.castr"),
            ("-", "default.castr"),
            ("h:/a/x.caibx", "ssh://h/a/default.castr"),
            ("https://h/a/x.caibx?token#f", "https://h/a/default.castr"),
            ("https://h/a/x.caibx;p=/q", "https://h/a/default.castr"),
        ] {
            assert_eq!(beside(&at(index)).to_string(), store, "{index}");
        }
    }
}
