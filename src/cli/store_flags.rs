//! The flags that say how stores are reached: desync's, on every command that has them there.

use std::ops::Deref;

use cairn_formats::chunker::parse_size;
use cairn_store::combine::Rate;
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Args, Command, Error, FromArgMatches, Id};

use super::command_line::parse_bool;
use super::config::{Flags, Key, Value};
use super::duration;
use super::options::Concurrency;

/// How stores are reached. What is given beats the configuration file.
#[derive(Debug, Args)]
pub(super) struct StoreFlags {
    #[command(flatten)]
    pub(super) concurrency: Given<Concurrency>,

    #[command(flatten)]
    remote: Given<RemoteFlags>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Options for stores")]
struct RemoteFlags {
    /// Certificate to show to servers, a PEM file; goes with --client-key
    #[arg(long, value_name = "FILE", default_value = "", hide_default_value = true)]
    client_cert: String,

    /// Key of the certificate to show to servers, a PEM file
    #[arg(long, value_name = "FILE", default_value = "", hide_default_value = true)]
    client_key: String,

    /// Authorities to trust instead of those of the system, a PEM file
    #[arg(long, value_name = "FILE", default_value = "", hide_default_value = true)]
    ca_cert: String,

    /// Take any certificate of a server
    #[arg(short, long)]
    trust_insecure: bool,

    /// Replace damaged chunks in a cache by those of the store
    #[arg(short = 'r', long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", default_value = "true",
          value_parser = parse_bool)]
    cache_repair: bool,

    /// How often to try again what failed on the way to a server; less than 0 is as 0
    #[arg(short, long, value_name = "N", default_value_t = 3, allow_negative_numbers = true)]
    error_retry: i64,

    /// Wait before the first further try, twice it before the second, and so on: 500ms, 1m30s
    #[arg(short = 'b', long, value_name = "DURATION", default_value = "500ms",
          allow_hyphen_values = true, value_parser = duration::parse_signed)]
    error_retry_base_interval: i64,

    /// Move no more bytes of chunks a second than this, from and to all stores far away together:
    /// 500K, 10M
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    limit_rate: Option<Rate>,
}

impl StoreFlags {
    /// Whether damaged chunks of a cache are replaced.
    pub(super) fn cache_repair(&self) -> bool {
        self.remote.cache_repair
    }

    /// Whether that was said on the command line.
    pub(super) fn is_cache_repair_given(&self) -> bool {
        self.remote.is_given("cache_repair")
    }

    /// How fast chunks may move, all stores together.
    pub(super) fn rate(&self) -> Option<Rate> {
        self.remote.limit_rate.clone()
    }

    /// The values that were said, be they as the defaults or not.
    pub(super) fn given(&self) -> Flags {
        let remote = &self.remote;
        let mut flags: Flags = [
            ("client_cert", Key::ClientCert, Value::Text(remote.client_cert.clone())),
            ("client_key", Key::ClientKey, Value::Text(remote.client_key.clone())),
            ("ca_cert", Key::CaCert, Value::Text(remote.ca_cert.clone())),
            ("trust_insecure", Key::TrustInsecure, Value::Bool(remote.trust_insecure)),
            ("error_retry", Key::ErrorRetry, Value::Number(remote.error_retry)),
            (
                "error_retry_base_interval",
                Key::ErrorRetryBaseInterval,
                Value::Number(remote.error_retry_base_interval),
            ),
        ]
        .into_iter()
        .filter(|(id, ..)| remote.is_given(id))
        .map(|(_, key, value)| (key, value))
        .collect();
        if self.concurrency.is_given("workers") {
            let workers = i64::try_from(self.concurrency.number()).unwrap_or(i64::MAX);
            flags.insert(Key::N, Value::Number(workers));
        }
        flags
    }
}

fn parse_rate(text: &str) -> Result<Rate, String> {
    match parse_size(&text.to_ascii_uppercase()) {
        Some(bytes) if bytes > 0 => Ok(Rate::new(bytes)),
        _ => Err("expected bytes a second such as 500K or 10M".to_owned()),
    }
}

/// A group of flags that also knows which of them were typed, so that a default need not look like
/// the user's wish.
#[derive(Debug)]
pub(super) struct Given<T> {
    flags: T,
    given: Vec<Id>,
}

impl<T: Default> Default for Given<T> {
    /// Nothing was typed.
    fn default() -> Self {
        Self { flags: T::default(), given: Vec::new() }
    }
}

impl<T> Given<T> {
    /// Whether this flag, named as its field, was typed.
    pub(super) fn is_given(&self, flag: &str) -> bool {
        self.given.iter().any(|id| id == flag)
    }
}

impl<T> Deref for Given<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.flags
    }
}

impl<T: FromArgMatches> FromArgMatches for Given<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let is_typed =
            |id: &Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
        let given = matches.ids().filter(|id| is_typed(id)).cloned().collect();
        Ok(Self { flags: T::from_arg_matches(matches)?, given })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl<T: Args> Args for Given<T> {
    fn group_id() -> Option<Id> {
        T::group_id()
    }

    fn augment_args(command: Command) -> Command {
        T::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        T::augment_args_for_update(command)
    }
}
