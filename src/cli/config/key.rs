//! The keys of the configuration: names, kinds, secrets, in desync's order.

/// A part of the configuration file: entries by location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Section {
    S3,
    Oci,
    Stores,
}

impl Section {
    pub(crate) const ALL: [Section; 3] = [Section::S3, Section::Oci, Section::Stores];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Section::S3 => "s3-credentials",
            Section::Oci => "oci-credentials",
            Section::Stores => "store-options",
        }
    }

    /// The keys of its entries, in the order in which they are printed.
    pub(crate) fn keys(self) -> &'static [Key] {
        match self {
            Section::S3 => &[
                Key::AccessKey,
                Key::SecretKey,
                Key::AwsCredentialsFile,
                Key::AwsProfile,
                Key::AwsRegion,
            ],
            Section::Oci => &[Key::Username, Key::Secret],
            Section::Stores => &[
                Key::N,
                Key::ClientCert,
                Key::ClientKey,
                Key::CaCert,
                Key::TrustInsecure,
                Key::HttpAuth,
                Key::HttpCookie,
                Key::Timeout,
                Key::ErrorRetry,
                Key::ErrorRetryBaseInterval,
                Key::SkipVerify,
                Key::Uncompressed,
                Key::Encryption,
                Key::EncryptionAlgorithm,
                Key::EncryptionKey,
            ],
        }
    }
}

/// A key of an entry, named as in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(clippy::enum_variant_names, reason = "some are named after keys that lock something")]
pub(crate) enum Key {
    AccessKey,
    SecretKey,
    AwsCredentialsFile,
    AwsProfile,
    AwsRegion,
    Username,
    Secret,
    N,
    ClientCert,
    ClientKey,
    CaCert,
    TrustInsecure,
    HttpAuth,
    HttpCookie,
    Timeout,
    ErrorRetry,
    ErrorRetryBaseInterval,
    SkipVerify,
    Uncompressed,
    Encryption,
    EncryptionAlgorithm,
    EncryptionKey,
}

impl Key {
    /// As it stands in the file. Flags of this name set the same.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Key::AccessKey => "access-key",
            Key::SecretKey => "secret-key",
            Key::AwsCredentialsFile => "aws-credentials-file",
            Key::AwsProfile => "aws-profile",
            Key::AwsRegion => "aws-region",
            Key::Username => "username",
            Key::Secret => "secret",
            Key::N => "n",
            Key::ClientCert => "client-cert",
            Key::ClientKey => "client-key",
            Key::CaCert => "ca-cert",
            Key::TrustInsecure => "trust-insecure",
            Key::HttpAuth => "http-auth",
            Key::HttpCookie => "http-cookie",
            Key::Timeout => "timeout",
            Key::ErrorRetry => "error-retry",
            Key::ErrorRetryBaseInterval => "error-retry-base-interval",
            Key::SkipVerify => "skip-verify",
            Key::Uncompressed => "uncompressed",
            Key::Encryption => "encryption",
            Key::EncryptionAlgorithm => "encryption-algorithm",
            Key::EncryptionKey => "encryption-key",
        }
    }

    pub(crate) fn kind(self) -> Kind {
        match self {
            Key::N | Key::Timeout | Key::ErrorRetry | Key::ErrorRetryBaseInterval => Kind::Number,
            Key::TrustInsecure | Key::SkipVerify | Key::Uncompressed | Key::Encryption => {
                Kind::Bool
            }
            _ => Kind::Text,
        }
    }

    /// Whether only `config` without `--origin` may show the value.
    pub(crate) fn is_secret(self) -> bool {
        matches!(
            self,
            Key::SecretKey | Key::Secret | Key::HttpAuth | Key::HttpCookie | Key::EncryptionKey
        )
    }

    /// What holds if nobody says anything. Times are in nanoseconds.
    pub(crate) fn default(self) -> Option<Value> {
        match self {
            Key::N => Some(Value::Number(10)),
            Key::Timeout => Some(Value::Number(60_000_000_000)),
            Key::ErrorRetry => Some(Value::Number(3)),
            Key::ErrorRetryBaseInterval => Some(Value::Number(500_000_000)),
            Key::EncryptionAlgorithm => Some(Value::Text("xchacha20-poly1305".into())),
            _ if self.kind() == Kind::Bool => Some(Value::Bool(false)),
            _ => None,
        }
    }
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Number,
    Text,
    Bool,
}

/// The value of a key. It has no `Debug`, as it may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Number(i64),
    Text(String),
    Bool(bool),
}

impl Value {
    /// Whether it is Go's zero value, which for desync is the same as no value.
    pub(crate) fn is_zero(&self) -> bool {
        match self {
            Value::Number(number) => *number == 0,
            Value::Text(text) => text.is_empty(),
            Value::Bool(value) => !value,
        }
    }

    /// As JSON, with the characters escaped that Go escapes.
    pub(crate) fn to_json(&self) -> String {
        match self {
            Value::Number(number) => number.to_string(),
            Value::Text(text) => json_text(text),
            Value::Bool(value) => value.to_string(),
        }
    }
}

/// A JSON string as Go writes it: also safe between the tags of a web page.
pub(crate) fn json_text(text: &str) -> String {
    let mut json = serde_json::Value::from(text).to_string();
    for (character, escaped) in [
        ('<', "\\u003c"),
        ('>', "\\u003e"),
        ('&', "\\u0026"),
        ('\u{2028}', "\\u2028"),
        ('\u{2029}', "\\u2029"),
    ] {
        if json.contains(character) {
            json = json.replace(character, escaped);
        }
    }
    json
}
