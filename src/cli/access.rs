//! How a command gets at its stores and indexes: configuration and flags make up the options of
//! each, and the library opens them.
//!
//! ```text
//! let access = Access::new(context, &args.reach);
//! let index = access.index(&args.index)?;
//! let store = access.stores(&args.stores.all())?;
//! ```

use cairn::Error;
use cairn_formats::Index;
use cairn_store::combine::Rate;
use cairn_store::{
    CacheOptions, Durability, LocalStore, Location, Place, PruneStore, RemoteOptions, Store,
    StoreOptions, WriteStore, open, open_cached, open_local, open_prunable, open_writable,
    read_index, write_index,
};

use super::Context;
use super::config::{Flags, Key, Settings};
use super::options::WriteOptions;
use super::read_cache::ReadCache;
use super::store_flags::{Given, StoreFlags};

/// The way of one command to its stores and indexes.
pub(super) struct Access<'a> {
    context: &'a Context,
    flags: Flags,
    /// How fast chunks may move, all stores together.
    rate: Option<Rate>,
}

impl<'a> Access<'a> {
    pub(super) fn new(context: &'a Context, flags: &StoreFlags) -> Self {
        Self { context, flags: flags.given(), rate: flags.rate() }
    }

    /// Of a command that has no flags for stores.
    pub(super) fn without_flags(context: &'a Context) -> Self {
        Self { context, flags: Flags::default(), rate: None }
    }

    /// Of a command that has none either, but a limit.
    pub(super) fn limited(context: &'a Context, rate: Option<Rate>) -> Self {
        Self { rate, ..Self::without_flags(context) }
    }

    /// Reads several indexes.
    pub(super) fn indexes(&self, locations: &[Location]) -> anyhow::Result<Vec<Index>> {
        locations.iter().map(|location| self.index(location)).collect()
    }

    /// Reads an index whose ids must be made with the digest the user said.
    pub(super) fn index(&self, location: &Location) -> anyhow::Result<Index> {
        let index = self.any_index(location)?;
        if index.digest() != self.context.digest {
            let uses = index.digest();
            let location = location.without_secrets();
            anyhow::bail!("{location}: the index uses {uses}; say so with --digest {uses}");
        }
        Ok(index)
    }

    /// Reads an index, whatever its ids are made with.
    pub(super) fn any_index(&self, location: &Location) -> anyhow::Result<Index> {
        Ok(read_index(location, &self.index_place(location)?).map_err(Error::from)?)
    }

    /// How the place that an index is in is reached. A place that is not configured for indexes is
    /// refused.
    pub(super) fn index_place(&self, location: &Location) -> anyhow::Result<RemoteOptions> {
        let settings = self.context.config.index_store(location, &self.flags)?;
        Ok(self.options_of(&settings, Durability::None)?.remote)
    }

    /// Writes an index to a place as [`Access::index_place`] returned it. A new file gets these mode
    /// bits, and is flushed if asked for.
    pub(super) fn write_index(
        &self,
        location: &Location,
        index: &Index,
        (mode, flush): (u32, bool),
        place: &RemoteOptions,
    ) -> anyhow::Result<()> {
        Ok(write_index(location, index, (mode, flush), place).map_err(Error::from)?)
    }

    /// Opens the stores for reading, each with its own options. They are asked in their order.
    pub(super) fn stores(&self, locations: &[Location]) -> anyhow::Result<Box<dyn Store>> {
        self.warn_of_useless_flags(locations);
        let mirrored = |location: &Location| -> anyhow::Result<Vec<Place>> {
            location.mirrors().iter().map(|mirror| self.place(mirror)).collect()
        };
        let stores: Vec<Vec<Place>> =
            locations.iter().map(mirrored).collect::<anyhow::Result<_>>()?;
        Ok(open(&stores)?)
    }

    /// A single store to which nothing is written, with its options.
    fn place(&self, location: &Location) -> anyhow::Result<Place> {
        self.place_with(location, &self.flags, Durability::None)
    }

    fn place_with(
        &self,
        location: &Location,
        flags: &Flags,
        durability: Durability,
    ) -> anyhow::Result<Place> {
        let settings = self.context.config.store(location, flags)?;
        Ok((location.clone(), self.options_of(&settings, durability)?))
    }

    /// What is configured, and what all stores of the run share.
    fn options_of(
        &self,
        settings: &Settings,
        durability: Durability,
    ) -> anyhow::Result<StoreOptions> {
        let mut options = settings.store_options(durability)?;
        options.remote.stop = self.context.signals.stop();
        options.remote.rate.clone_from(&self.rate);
        Ok(options)
    }

    /// Opens the stores for reading, with a cache in front of them if there is one.
    pub(super) fn cached(
        &self,
        stores: &[Location],
        cache: &ReadCache,
        repair: bool,
    ) -> anyhow::Result<Box<dyn Store>> {
        let source = self.stores(stores)?;
        let Some(location) = cache.location() else { return Ok(source) };
        self.in_cache(source, location, &cache.options(stores, repair)?)
    }

    /// Puts a cache in front of a store.
    pub(super) fn in_cache(
        &self,
        source: Box<dyn Store>,
        location: &Location,
        cached: &CacheOptions,
    ) -> anyhow::Result<Box<dyn Store>> {
        Ok(open_cached(source, &self.place(location)?, cached)?)
    }

    /// Opens a store for writing.
    pub(super) fn writable(
        &self,
        location: &Location,
        options: &Given<WriteOptions>,
    ) -> anyhow::Result<Box<dyn WriteStore>> {
        self.warn_of_useless_flags(std::slice::from_ref(location));
        let mut flags = self.flags.clone();
        flags.extend(options.given());
        let place = |mirror| self.place_with(mirror, &flags, options.durability());
        let mirrors: Vec<Place> =
            location.mirrors().iter().map(place).collect::<anyhow::Result<_>>()?;
        Ok(open_writable(&mirrors)?)
    }

    /// Opens a store for writing in the form that is configured for it.
    pub(super) fn writable_as_configured(
        &self,
        location: &Location,
    ) -> anyhow::Result<Box<dyn WriteStore>> {
        self.warn_of_useless_flags(std::slice::from_ref(location));
        let mirrors: Vec<Place> = location
            .mirrors()
            .iter()
            .map(|mirror| self.place(mirror))
            .collect::<anyhow::Result<_>>()?;
        Ok(open_writable(&mirrors)?)
    }

    /// Opens a store to remove chunks from it.
    pub(super) fn prunable(&self, location: &Location) -> anyhow::Result<Box<dyn PruneStore>> {
        Ok(open_prunable(location, &self.options(location)?)?)
    }

    /// Opens a store on this machine to look at its files.
    pub(super) fn local(&self, location: &Location) -> anyhow::Result<LocalStore> {
        Ok(open_local(location, &self.options(location)?)?)
    }

    /// The options of a single store to which nothing is written.
    fn options(&self, location: &Location) -> anyhow::Result<StoreOptions> {
        self.warn_of_useless_flags(std::slice::from_ref(location));
        Ok(self.place(location)?.1)
    }

    /// Says in the log that no store takes part in a run where these flags were given, or others for stores.
    pub(super) fn warn_of_no_store(&self, flags: &[(&'static str, bool)]) {
        for (flag, _) in flags.iter().filter(|(_, is_given)| *is_given) {
            tracing::warn!(flag, "nothing in this run can use the flag");
        }
        self.warn_of_useless_flags(&[]);
    }

    /// Says in the log which flags are of no use to any of the stores. Scripts pass them always, so
    /// that is no error.
    fn warn_of_useless_flags(&self, locations: &[Location]) {
        if locations.iter().any(|location| matches!(location, Location::Remote { .. })) {
            return;
        }
        // The number of workers is of use to all.
        for key in self.flags.keys().filter(|&&key| key != Key::N) {
            let flag = format!("--{}", key.name());
            tracing::warn!(flag, "no store of this run can use the flag");
        }
        if self.rate.is_some() {
            tracing::warn!(flag = "--limit-rate", "no store of this run can use the flag");
        }
    }
}
