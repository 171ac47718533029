//! The options of one store, put together from all that has a say.
//!
//! ```text
//! flag  >  environment  >  file  >  default
//! ```
//! One exception is desync's: `DESYNC_ENCRYPTION_KEY` counts only where the store is encrypted and
//! nothing else gives a key.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use cairn_formats::Form;
use cairn_store::{
    Credentials, Durability, FormOptions, Location, RemoteOptions, Retry, Secret, Stop,
    StoreOptions,
};

use super::super::options::form;
use super::file::Entry;
use super::key::{Key, Section, Value};

/// The variable that may hold the key of encrypted stores.
pub(super) const ENCRYPTION_KEY: &str = "DESYNC_ENCRYPTION_KEY";

/// What was said on the command line, by the key it stands for.
pub(crate) type Flags = BTreeMap<Key, Value>;

/// Who said a value.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The flag of this name, without its dashes.
    Flag(&'static str),
    Environment(&'static str),
    File(PathBuf),
    Default,
}

/// The options of one store, each with its origin.
pub(crate) struct Settings {
    /// What the user called the store.
    location: String,
    values: BTreeMap<Key, (Value, Origin)>,
    /// Who we are, where that is said beside the settings.
    credentials: Option<Credentials>,
}

impl Settings {
    /// Puts the settings together; `entry` is what the file says of this store.
    pub(super) fn merge(
        location: &str,
        flags: &Flags,
        encryption_key: Option<&str>,
        entry: Option<(&PathBuf, &Entry)>,
    ) -> Self {
        let value = |key: &Key| -> Option<(Key, (Value, Origin))> {
            if let Some(value) = flags.get(key) {
                let flag = if *key == Key::N { "concurrency" } else { key.name() };
                return Some((*key, (value.clone(), Origin::Flag(flag))));
            }
            if let Some((path, entry)) = entry
                && let Some(value) = entry.get(key)
            {
                return Some((*key, (value.clone(), Origin::File(path.clone()))));
            }
            Some((*key, (key.default()?, Origin::Default)))
        };
        let values = Section::Stores.keys().iter().filter_map(value).collect();
        let mut settings = Self { location: location.to_owned(), values, credentials: None };
        if let Some(key) = encryption_key
            && settings.is(Key::Encryption)
            && settings.text(Key::EncryptionKey).is_none()
        {
            let value = Value::Text(key.to_owned());
            settings
                .values
                .insert(Key::EncryptionKey, (value, Origin::Environment(ENCRYPTION_KEY)));
        }
        settings
    }

    /// The same, with who we are.
    pub(super) fn with_credentials(self, credentials: Option<Credentials>) -> Self {
        Self { credentials, ..self }
    }

    /// All values that are set, in desync's order.
    pub(super) fn values(&self) -> impl Iterator<Item = (Key, &Value, &Origin)> {
        self.values.iter().map(|(key, (value, origin))| (*key, value, origin))
    }

    /// The options to open the store with.
    pub(crate) fn store_options(&self, durability: Durability) -> anyhow::Result<StoreOptions> {
        Ok(StoreOptions {
            form: self.form()?,
            durability,
            skip_verify: self.is(Key::SkipVerify),
            remote: self.remote_options()?,
        })
    }

    /// In which form the store keeps its chunks.
    fn form(&self) -> anyhow::Result<Form> {
        // The default cipher is nobody's wish to encrypt.
        let is_default = |key| matches!(self.values.get(&key), Some((_, Origin::Default)));
        let algorithm = Some(Key::EncryptionAlgorithm).filter(|&key| !is_default(key));
        let wishes = FormOptions {
            uncompressed: self.is(Key::Uncompressed),
            encryption: self.is(Key::Encryption),
            encryption_algorithm: algorithm.and_then(|key| self.text(key)),
            encryption_key: self.text(Key::EncryptionKey),
        };
        form(&wishes).with_context(|| format!("store options for \"{}\"", self.location))
    }

    /// Refuses what an index store cannot have.
    pub(super) fn check_index_store(&self, index: &Location) -> anyhow::Result<()> {
        anyhow::ensure!(
            !self.has_encryption(),
            "store options for \"{}\": encryption is not supported by index stores",
            index.without_secrets()
        );
        Ok(())
    }

    fn remote_options(&self) -> anyhow::Result<RemoteOptions> {
        let client_identity = match (self.path(Key::ClientCert), self.path(Key::ClientKey)) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => {
                anyhow::bail!("--client-key and --client-cert options need to be provided together")
            }
        };
        let defaults = RemoteOptions::default();
        let secret = |key| self.text(key).map(Secret::new);
        Ok(RemoteOptions {
            connections: match self.number(Key::N) {
                0 => defaults.connections,
                n => usize::try_from(n).map_err(|_| {
                    anyhow::anyhow!("store options for \"{}\": n is negative", self.location)
                })?,
            },
            client_identity,
            ca_cert: self.path(Key::CaCert),
            trust_insecure: self.is(Key::TrustInsecure),
            http_auth: secret(Key::HttpAuth),
            http_cookie: secret(Key::HttpCookie),
            timeout: match self.number(Key::Timeout) {
                0 => defaults.timeout,
                nanoseconds => u64::try_from(nanoseconds).ok().map(Duration::from_nanos),
            },
            rate: None,
            stop: Stop::default(),
            credentials: self.credentials.clone(),
            retry: Retry {
                times: self.number(Key::ErrorRetry).clamp(0, u32::MAX.into()) as u32,
                base_interval: Duration::from_nanos(
                    self.number(Key::ErrorRetryBaseInterval).max(0).unsigned_abs(),
                ),
            },
        })
    }

    /// Whether anybody said anything about encryption.
    fn has_encryption(&self) -> bool {
        let keys = [Key::Encryption, Key::EncryptionAlgorithm, Key::EncryptionKey];
        keys.iter()
            .filter_map(|key| self.values.get(key))
            .any(|(value, origin)| *origin != Origin::Default && !value.is_zero())
    }

    fn is(&self, key: Key) -> bool {
        matches!(self.values.get(&key), Some((Value::Bool(true), _)))
    }

    /// 0 is as if nothing were said.
    fn number(&self, key: Key) -> i64 {
        match self.values.get(&key) {
            Some((Value::Number(number), _)) => *number,
            _ => 0,
        }
    }

    /// Empty text is as if nothing were said.
    fn text(&self, key: Key) -> Option<&str> {
        match self.values.get(&key) {
            Some((Value::Text(text), _)) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    fn path(&self, key: Key) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    fn settings(
        flags: &[(Key, Value)],
        variable: Option<&str>,
        entry: &[(Key, Value)],
    ) -> Settings {
        let flags = flags.iter().cloned().collect();
        let entry = entry.iter().cloned().collect();
        Settings::merge("/a", &flags, variable, Some((&PathBuf::from("file"), &entry)))
    }

    fn error(settings: &Settings) -> String {
        settings.store_options(Durability::None).unwrap_err().to_string()
    }

    #[test]
    fn nothing_said_gives_the_defaults_of_the_library() {
        let options = settings(&[], None, &[]).store_options(Durability::None).unwrap();
        assert_eq!(format!("{options:?}"), format!("{:?}", StoreOptions::default()));
    }

    #[test]
    fn a_flag_beats_the_file_and_the_file_the_default() {
        let entry = [
            (Key::ErrorRetry, Value::Number(7)),
            (Key::N, Value::Number(4)),
            (Key::TrustInsecure, Value::Bool(true)),
            (Key::CaCert, text("theirs")),
        ];
        let flags = [(Key::ErrorRetry, Value::Number(0)), (Key::TrustInsecure, Value::Bool(false))];
        let settings = settings(&flags, None, &entry);
        let remote = settings.store_options(Durability::None).unwrap().remote;
        assert_eq!((remote.retry.times, remote.connections, remote.trust_insecure), (0, 4, false));
        assert_eq!(remote.ca_cert, Some("theirs".into()));
        assert_eq!(remote.retry.base_interval, Duration::from_millis(500));
        assert!(settings.values[&Key::ErrorRetry].1 == Origin::Flag("error-retry"));
        assert!(settings.values[&Key::N].1 == Origin::File("file".into()));
        assert!(settings.values[&Key::Timeout].1 == Origin::Default);
    }

    #[test]
    fn times_are_those_of_desync() {
        let remote = |key, number| {
            settings(&[], None, &[(key, Value::Number(number))])
                .store_options(Durability::None)
                .unwrap()
                .remote
        };
        assert_eq!(remote(Key::Timeout, 0).timeout, Some(Duration::from_secs(60)));
        assert_eq!(remote(Key::Timeout, -1).timeout, None);
        assert_eq!(remote(Key::Timeout, 5).timeout, Some(Duration::from_nanos(5)));
        let base = |number| remote(Key::ErrorRetryBaseInterval, number).retry.base_interval;
        assert_eq!((base(0), base(-1)), (Duration::ZERO, Duration::ZERO));
        assert_eq!(remote(Key::ErrorRetry, -1).retry.times, 0);
        assert_eq!(remote(Key::N, 0).connections, 10);
        let negative = settings(&[], None, &[(Key::N, Value::Number(-1))]);
        assert_eq!(error(&negative), "store options for \"/a\": n is negative");
    }

    #[test]
    fn half_an_identity_is_refused() {
        let message = "--client-key and --client-cert options need to be provided together";
        assert_eq!(error(&settings(&[(Key::ClientKey, text("k"))], None, &[])), message);
        let both = [(Key::ClientKey, text("k")), (Key::ClientCert, text("c"))];
        assert_eq!(error(&settings(&[(Key::ClientKey, text(""))], None, &both)), message);
        let remote = settings(&[], None, &both).store_options(Durability::None).unwrap().remote;
        assert_eq!(remote.client_identity, Some(("c".into(), "k".into())));
    }

    #[test]
    fn the_variable_gives_a_key_only_where_encryption_has_none() {
        let origin = |entry: &[(Key, Value)]| {
            let merged = settings(&[], Some("ff"), entry);
            merged.values.get(&Key::EncryptionKey).map(|(_, origin)| origin.clone())
        };
        let on = (Key::Encryption, Value::Bool(true));
        assert!(origin(&[]).is_none());
        assert!(origin(std::slice::from_ref(&on)) == Some(Origin::Environment(ENCRYPTION_KEY)));
        assert!(
            origin(&[on, (Key::EncryptionKey, text("00"))]) == Some(Origin::File("file".into()))
        );
    }

    #[test]
    fn encryption_is_never_left_out_silently() {
        let on = (Key::Encryption, Value::Bool(true));
        for (entry, message) in [
            (vec![on.clone()], "no encryption key configured"),
            (
                vec![(Key::EncryptionKey, text("00"))],
                "encryption-key or encryption-algorithm configured without setting encryption to true",
            ),
            (vec![on, (Key::EncryptionKey, text("00"))], "encryption key must be 32 bytes, got 1"),
        ] {
            let settings = settings(&[], None, &entry);
            let error = format!("{:#}", settings.store_options(Durability::None).unwrap_err());
            assert_eq!(error, format!("store options for \"/a\": {message}"));
            let index: Location = "/a/x.caibx".parse().unwrap();
            assert_eq!(
                settings.check_index_store(&index).unwrap_err().to_string(),
                "store options for \"/a/x.caibx\": encryption is not supported by index stores"
            );
        }
    }
}
