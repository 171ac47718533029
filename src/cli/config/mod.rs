//! The configuration: a file in desync's form, and what flags and environment say beside it.
//!
//! ```text
//! places     where the file is
//! file       its bytes -> sections of entries
//! key        the keys an entry may have
//! entry      a location -> the entry that is for it      pattern   what keys may hold
//! credentials   who we are, from sections of their own
//! settings   flag > environment > file > default, for one store, each value with its origin
//! print      the configuration as text
//! command    `cairn config`
//! ```

mod command;
mod credentials;
mod entry;
mod file;
mod key;
mod pattern;
mod places;
mod print;
mod settings;

use std::env;
use std::path::{Path, PathBuf};

use cairn_store::Location;

pub(super) use self::command::{Args, run};
use self::file::{Entry, File};
use self::key::Section;
pub(super) use self::key::{Key, Value};
use self::places::Places;
pub(super) use self::settings::{Flags, Origin, Settings};
use super::program::Program;

/// The configuration of a run.
pub(super) struct Config {
    file: File,
    /// Where `file` was read from, and whether a flag said so. No file is no error.
    source: Option<(PathBuf, Origin)>,
    /// Where `config --write` puts it.
    write_to: Option<PathBuf>,
    /// From the environment.
    encryption_key: Option<String>,
    /// Relative locations start here.
    directory: PathBuf,
}

impl Config {
    /// Reads the file that the flag names, or else the first that is there.
    pub(super) fn load(program: Program, flag: Option<&Path>) -> anyhow::Result<Self> {
        let places = Places::from_environment(program);
        let source = match flag {
            Some(path) => Some((path.to_owned(), Origin::Flag("config"))),
            None => places.find()?.map(|path| (path, Origin::Default)),
        };
        let file = match &source {
            Some((path, _)) => {
                let file = File::read(path)?;
                tracing::debug!(file = path.display().to_string(), "configuration read");
                file
            }
            None => File::default(),
        };
        let variable = env::var(settings::ENCRYPTION_KEY).ok();
        Ok(Self {
            file,
            source,
            write_to: flag.map(Path::to_owned).or(places.first()),
            encryption_key: variable.filter(|key| !key.is_empty()),
            directory: env::current_dir().unwrap_or_default(),
        })
    }

    /// The settings of a store of chunks.
    pub(super) fn store(&self, location: &Location, flags: &Flags) -> anyhow::Result<Settings> {
        self.settings(&location.to_string(), location, flags)
    }

    /// The settings of the store that an index is in. What such a store cannot have is an error.
    pub(super) fn index_store(&self, index: &Location, flags: &Flags) -> anyhow::Result<Settings> {
        let location = index.to_string();
        let settings = self.settings(entry::store_of_index(&location), index, flags)?;
        settings.check_index_store(index)?;
        Ok(settings)
    }

    /// The settings of whatever store an entry of the file is for.
    fn entry(&self, location: &str, entry: &Entry, flags: &Flags) -> Settings {
        let path = self.source.as_ref().map(|(path, _)| path);
        let entry = path.map(|path| (path, entry));
        Settings::merge(location, flags, self.encryption_key.as_deref(), entry)
    }

    /// The origin of what stands in the file.
    fn file_origin(&self) -> Origin {
        self.source.as_ref().map_or(Origin::Default, |(path, _)| Origin::File(path.clone()))
    }

    /// The settings by the entry for `wanted`; `location` is what stood on the command line.
    fn settings(
        &self,
        wanted: &str,
        location: &Location,
        flags: &Flags,
    ) -> anyhow::Result<Settings> {
        let typed = location.without_secrets();
        let path = self.source.as_ref().map(|(path, _)| path);
        let entry = entry::of(&self.file, Section::Stores, wanted, &typed, &self.directory)?;
        let credentials = credentials::find(&self.file, wanted, location, &self.directory)?;
        let key = self.encryption_key.as_deref();
        Ok(Settings::merge(&typed, flags, key, path.zip(entry)).with_credentials(credentials))
    }
}
