//! How stores on other machines are reached. What a backend cannot use it leaves alone.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::stop::Stop;
use crate::combine::Rate;

/// How long a whole request may take unless the user says otherwise. desync's number.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How a store on another machine is reached.
#[derive(Clone, Debug)]
pub struct RemoteOptions {
    /// Connections at a time.
    pub connections: usize,
    /// The certificate and the key we show to the server, as PEM files.
    pub client_identity: Option<(PathBuf, PathBuf)>,
    /// The authorities we trust instead of those of the system, as a PEM file.
    pub ca_cert: Option<PathBuf>,
    /// Whether any certificate of the server will do.
    pub trust_insecure: bool,
    /// The `Authorization` header, word for word.
    pub http_auth: Option<Secret>,
    /// The `Cookie` header, word for word.
    pub http_cookie: Option<Secret>,
    /// How long a whole request may take; `None` for as long as it likes.
    pub timeout: Option<Duration>,
    /// What is done after a failure that may pass.
    pub retry: Retry,
    /// How fast bytes may move; all stores that were given the same share it.
    pub rate: Option<Rate>,
    /// Whether to give up waiting.
    pub stop: Stop,
    /// Who we are where a store wants to know that otherwise than by HTTP's own means.
    pub credentials: Option<Credentials>,
}

/// Who we are, for stores of objects and container registries, as the configuration says it. What
/// the environment says is looked up by the backends.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// A key of S3.
    S3 {
        /// The access key, not secret.
        access_key: String,
        /// The secret key.
        secret_key: Secret,
        /// The region, empty if not said.
        region: String,
    },
    /// A profile in a file of AWS's tools.
    AwsFile {
        /// The file.
        file: PathBuf,
        /// The name of the profile, empty for that of the environment or else the usual.
        profile: String,
        /// The region, empty if not said.
        region: String,
    },
    /// A user of a container registry.
    Oci {
        /// The user's name.
        username: String,
        /// The password or token.
        secret: Secret,
    },
}

impl Default for RemoteOptions {
    fn default() -> Self {
        Self {
            connections: 10,
            client_identity: None,
            ca_cert: None,
            trust_insecure: false,
            http_auth: None,
            http_cookie: None,
            timeout: Some(TIMEOUT),
            retry: Retry::default(),
            rate: None,
            stop: Stop::default(),
            credentials: None,
        }
    }
}

/// How often and when a request is made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How often after the first time.
    pub times: u32,
    /// The wait before attempt n is n times this.
    pub base_interval: Duration,
}

impl Default for Retry {
    /// desync's numbers.
    fn default() -> Self {
        Self { times: 3, base_interval: Duration::from_millis(500) }
    }
}

/// Text that must not be seen: no message, log or `{:?}` shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Text that must not be seen.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one who must send it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_show() {
        let http_auth = Some(Secret::new("Basic abc"));
        let options = RemoteOptions { http_auth, ..RemoteOptions::default() };
        let shown = format!("{options:?} {options:#?}");
        assert!(shown.contains("***") && !shown.contains("abc"), "{shown}");
        assert_eq!(options.http_auth.unwrap().reveal(), "Basic abc");
    }
}
