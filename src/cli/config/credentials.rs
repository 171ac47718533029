//! Who we are to a store, as the configuration says it: a section of its own, with keys of its own.
//!
//! ```text
//! s3+https://host:1/bucket/prefix  ->  "https://host:1"   ->  entry of s3-credentials
//! oci+https://host/repository      ->  as it is           ->  entry of oci-credentials
//! ```
//! For S3 the entry with this very key counts; if there is none, the only one whose key is a pattern for it.

use std::path::Path;

use cairn_store::{Credentials, Location, Secret};

use super::entry;
use super::file::{Entry, File};
use super::key::{Key, Section, Value};

/// Where `s3://` leads to.
const AMAZON: &str = "https://s3.amazonaws.com";

/// The credentials for a location, if there are any; `wanted` is the store that it is in.
pub(super) fn find(
    file: &File,
    wanted: &str,
    location: &Location,
    directory: &Path,
) -> anyhow::Result<Option<Credentials>> {
    let typed = location.without_secrets();
    if wanted.starts_with("oci+") {
        let entry = entry::of(file, Section::Oci, wanted, &typed, directory)?;
        return Ok(entry.and_then(oci));
    }
    let Some(endpoint) = endpoint(location) else { return Ok(None) };
    let exact = file.section(Section::S3).and_then(|section| section.get(&endpoint));
    let entry = match exact {
        Some(entry) => Some(entry),
        None => entry::of(file, Section::S3, &endpoint, &typed, directory)?,
    };
    Ok(entry.and_then(s3))
}

/// The server of an S3 store, without what else its URL says.
fn endpoint(location: &Location) -> Option<String> {
    let Location::Remote { scheme, url } = location else { return None };
    if scheme == "s3" {
        return Some(AMAZON.to_owned());
    }
    let rest = url.strip_prefix("s3+")?;
    let (transport, rest) = rest.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    Some(format!("{transport}://{host}"))
}

fn text_of(entry: &Entry) -> impl Fn(Key) -> String {
    move |key| match entry.get(&key) {
        Some(Value::Text(text)) => text.clone(),
        _ => String::new(),
    }
}

fn s3(entry: &Entry) -> Option<Credentials> {
    let text = text_of(entry);
    let region = text(Key::AwsRegion);
    let (access_key, secret_key) = (text(Key::AccessKey), text(Key::SecretKey));
    if !access_key.is_empty() || !secret_key.is_empty() {
        return Some(Credentials::S3 { access_key, secret_key: Secret::new(secret_key), region });
    }
    let file = text(Key::AwsCredentialsFile);
    let profile = text(Key::AwsProfile);
    (!file.is_empty()).then(|| Credentials::AwsFile { file: file.into(), profile, region })
}

/// A login for a container registry. One without a name says nothing.
fn oci(entry: &Entry) -> Option<Credentials> {
    let text = text_of(entry);
    let (username, secret) = (text(Key::Username), Secret::new(text(Key::Secret)));
    (!username.is_empty()).then_some(Credentials::Oci { username, secret })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(location: &str) -> Result<String, String> {
        let text = r#"{"s3-credentials": {
            "http://h:1": {"access-key": "exact", "secret-key": "s", "aws-region": "r"},
            "http://*:1": {"access-key": "glob", "secret-key": "s"},
            "https://*.x": {"aws-credentials-file": "/f", "aws-profile": "p"},
            "https://a.*": {"access-key": "a", "secret-key": "s"},
            "https://s3.amazonaws.com": {"access-key": "amazon", "secret-key": "s"},
            "https://empty": {"aws-region": "r"}}}"#;
        let file = File::parse(text.as_bytes()).unwrap();
        let location: Location = location.parse().unwrap();
        let wanted = location.to_string();
        let found = find(&file, &wanted, &location, Path::new("/")).map_err(|e| e.to_string())?;
        Ok(match found {
            Some(Credentials::S3 { access_key, secret_key, region }) => {
                format!("{access_key} {} {region}", secret_key.reveal())
            }
            Some(Credentials::AwsFile { file, profile, .. }) => {
                format!("{} {profile}", file.display())
            }
            Some(Credentials::Oci { .. }) | None => String::new(),
        })
    }

    #[test]
    fn the_entry_of_the_server_is_found() {
        for (location, expected) in [
            ("s3+http://h:1/b/p?lookup=path", "exact s r"),
            ("s3+http://k@h:1/b/", "exact s r"),
            ("s3+http://i:1/b", "glob s "),
            ("s3+http://i:2/b", ""),
            ("s3+https://h:1/b", ""),
            ("s3+https://b.x/b", "/f p"),
            ("s3+https://a.y/b", "a s "),
            ("s3://b/p", "amazon s "),
            ("s3+https://empty/b", ""),
            ("http://h:1", ""),
            ("/h", ""),
        ] {
            assert_eq!(found(location).as_deref(), Ok(expected), "{location}");
        }
        assert_eq!(
            found("s3+https://a.x/b?secret").unwrap_err(),
            "multiple s3-credentials entries match the location \"s3+https://a.x/b\""
        );
    }
}
