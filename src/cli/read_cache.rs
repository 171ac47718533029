//! The flags of commands that read through a cache.

use cairn_formats::chunker::parse_size;
use cairn_store::{CacheOptions, Location};
use clap::Args;

use super::options::is_same_file;

/// No useful cache is smaller, in bytes; a forgotten unit must not empty one.
const SMALLEST: u64 = 1 << 20;

/// A cache between a command and its stores.
#[derive(Debug, Args)]
pub(super) struct ReadCache {
    /// Cache: asked for chunks before the stores, and keeps those that come from them. Made if it is
    /// missing
    #[arg(short, long, value_name = "STORE")]
    cache: Option<Location>,

    /// Keep the cache below this size, such as 10G, by removing what was unused for longest: whoever
    /// put it there, so name no store
    #[arg(long, value_name = "SIZE", requires = "cache", value_parser = parse_limit)]
    cache_size: Option<u64>,
}

impl ReadCache {
    /// Where the cache is, if there is one.
    pub(super) fn location(&self) -> Option<&Location> {
        self.cache.as_ref()
    }

    /// How the cache is used in front of these stores.
    pub(super) fn options(
        &self,
        stores: &[Location],
        repair: bool,
    ) -> anyhow::Result<CacheOptions> {
        if let (Some(cache), Some(_)) = (&self.cache, self.cache_size) {
            anyhow::ensure!(
                !stores.iter().any(|store| is_same_place(store, cache)),
                "{cache}: a store cannot be a cache with a size: its chunks would be removed"
            );
        }
        Ok(CacheOptions { repair, limit: self.cache_size })
    }
}

fn is_same_place(one: &Location, other: &Location) -> bool {
    let (Location::Local(one), Location::Local(other)) = (one, other) else { return false };
    let both = one.metadata().ok().zip(other.metadata().ok());
    both.is_some_and(|(one, other)| is_same_file(&one, &other))
}

fn parse_limit(text: &str) -> Result<u64, String> {
    match parse_size(&text.to_ascii_uppercase()) {
        Some(size) if size >= SMALLEST => Ok(size),
        Some(size) => Err(format!("{size} bytes are no useful cache; give at least 1M")),
        None => Err("expected a size such as 500M or 10G".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_have_units() {
        for (text, size) in [("1M", 1 << 20), ("10g", 10 << 30), ("1.5G", 3 << 29)] {
            assert_eq!(parse_limit(text), Ok(size));
        }
        for text in ["10", "1023K", "0", "", "x", "-1G", "1GB"] {
            assert!(parse_limit(text).is_err(), "{text}");
        }
    }
}
