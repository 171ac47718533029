//! Where the configuration file is.
//!
//! ```text
//! called cairn    $XDG_CONFIG_HOME/cairn/config.json, then $HOME/.config/desync/config.json
//! called desync   the other way round
//! ```
//! `$XDG_CONFIG_HOME` is `$HOME/.config` unless it is an absolute path. Only the first file that is
//! there counts.

use std::env;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::Context;

use crate::cli::program::Program;

/// The places in the order in which they are looked at.
pub(super) struct Places(Vec<PathBuf>);

impl Places {
    pub(super) fn from_environment(program: Program) -> Self {
        Self::new(program, env::var_os("HOME"), env::var_os("XDG_CONFIG_HOME"))
    }

    fn new(program: Program, home: Option<OsString>, config_home: Option<OsString>) -> Self {
        let is_set = |path: &PathBuf| !path.as_os_str().is_empty();
        let below_home = home.map(PathBuf::from).filter(is_set).map(|home| home.join(".config"));
        let config_home = config_home.map(PathBuf::from).filter(|path| path.is_absolute());
        let own = config_home.or_else(|| below_home.clone()).map(|at| at.join("cairn/config.json"));
        let desync = below_home.map(|at| at.join("desync/config.json"));
        let both = match program {
            Program::Cairn | Program::Casync => [own, desync],
            Program::Desync => [desync, own],
        };
        Self(both.into_iter().flatten().collect())
    }

    /// The first place, be the file there or not.
    pub(super) fn first(&self) -> Option<PathBuf> {
        self.0.first().cloned()
    }

    /// The first file that is there. One that cannot be looked at is an error: it may be the one.
    pub(super) fn find(&self) -> anyhow::Result<Option<PathBuf>> {
        for path in &self.0 {
            match path.metadata() {
                Ok(_) => return Ok(Some(path.clone())),
                Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                Err(e) => return Err(e).context(format!("reading {}", path.display())),
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(program: Program, home: Option<&str>, config_home: Option<&str>) -> Vec<String> {
        let places = Places::new(program, home.map(Into::into), config_home.map(Into::into));
        places.0.iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn the_places_depend_on_the_name_of_the_program() {
        let desync = "/h/.config/desync/config.json";
        let own = "/h/.config/cairn/config.json";
        assert_eq!(places(Program::Cairn, Some("/h"), None), [own, desync]);
        assert_eq!(places(Program::Cairn, Some("/h"), Some("")), [own, desync]);
        assert_eq!(places(Program::Cairn, Some("/h"), Some("x")), [own, desync]);
        assert_eq!(places(Program::Desync, Some("/h"), None), [desync, own]);
        let elsewhere = "/x/cairn/config.json";
        assert_eq!(places(Program::Cairn, Some("/h"), Some("/x")), [elsewhere, desync]);
        assert_eq!(places(Program::Cairn, None, Some("/x")), [elsewhere]);
        assert!(places(Program::Desync, None, None).is_empty());
    }
}
