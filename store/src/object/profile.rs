//! The files of AWS's tools: profiles of keys and settings.
//!
//! ```ini
//! [default]
//! aws_access_key_id = …
//! aws_secret_access_key: …
//! aws_session_token = …
//! ```
//! A profile is `[profile name]` in the file of settings. Keys may be replaced while we run, so the file
//! is read again now and then.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::future::Future;
use std::io::Read;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use object_store::CredentialProvider;
use object_store::aws::AwsCredential;

use super::keys::NoKeys;
use crate::{Error, Result, Secret};

/// No such file is nearly as long.
const LONGEST: u64 = 1 << 20;

/// How long a key is used before the file is looked at again. desync's number.
const FRESH: Duration = Duration::from_secs(60);

/// A profile in a file.
pub(super) struct Profile {
    file: PathBuf,
    name: String,
    last: Mutex<Option<(Instant, Arc<AwsCredential>)>>,
}

/// The key of a profile.
pub(super) struct ProfileKey {
    pub(super) access_key: String,
    secret_key: Secret,
    token: Option<Secret>,
}

impl Profile {
    /// A profile, which may not be there.
    pub(super) fn new(file: PathBuf, name: String) -> Self {
        Self { file, name, last: Mutex::new(None) }
    }

    /// The key that it has now.
    pub(super) fn read(&self) -> Result<ProfileKey> {
        let bad = |why: String| Error::Unsupported { place: self.file.display().to_string(), why };
        let text = self.text()?;
        let section = section(&text, &self.name)
            .ok_or_else(|| bad(format!("there is no profile {}", self.name)))?;
        let value = |name: &str| {
            let value = section.get(name).filter(|value| !value.is_empty());
            value.ok_or_else(|| bad(format!("profile {} has no {name}", self.name)))
        };
        let access_key = (*value("aws_access_key_id")?).to_owned();
        let secret_key = Secret::new(*value("aws_secret_access_key")?);
        let token = value("aws_session_token").ok().map(|token| Secret::new(*token));
        let token_text = token.as_ref().map_or("", Secret::reveal);
        if !access_key.bytes().chain(token_text.bytes()).all(|byte| byte.is_ascii_graphic()) {
            return Err(bad(format!("profile {} has a key that is not possible", self.name)));
        }
        Ok(ProfileKey { access_key, secret_key, token })
    }

    /// The region that the profile names, in a file of settings.
    pub(super) fn region(&self) -> Option<String> {
        let text = self.text().ok()?;
        let section = section(&text, &format!("profile {}", self.name))
            .or_else(|| section(&text, &self.name))?;
        section.get("region").filter(|region| !region.is_empty()).map(|&region| region.to_owned())
    }

    fn text(&self) -> Result<String> {
        let mut bytes = Vec::new();
        let read =
            File::open(&self.file).and_then(|file| file.take(LONGEST).read_to_end(&mut bytes));
        read.map_err(Error::io("read", &self.file))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn credential(&self) -> Result<Arc<AwsCredential>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((read, credential)) = &*last
            && read.elapsed() < FRESH
        {
            return Ok(credential.clone());
        }
        let ProfileKey { access_key, secret_key, token } = self.read()?;
        let credential = Arc::new(AwsCredential {
            key_id: access_key,
            secret_key: secret_key.reveal().to_owned(),
            token: token.map(|token| token.reveal().to_owned()),
        });
        *last = Some((Instant::now(), credential.clone()));
        Ok(credential)
    }
}

/// The values of a section.
fn section<'a>(text: &'a str, wanted: &str) -> Option<BTreeMap<String, &'a str>> {
    let mut found = None;
    let mut is_in = false;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = trimmed.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            let words: Vec<&str> = name.0.split_whitespace().collect();
            is_in = words.join(" ") == wanted;
            if is_in && found.is_none() {
                found = Some(BTreeMap::new());
            }
            continue;
        }
        // A line that is indented belongs to a setting with parts of its own.
        if let Some(values) = found.as_mut()
            && is_in
            && !line.starts_with([' ', '\t'])
            && let Some((key, value)) = trimmed.split_once(['=', ':'])
        {
            values.insert(key.trim().to_ascii_lowercase(), value.trim());
        }
    }
    found
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "profile {} in {}", self.name, self.file.display())
    }
}

impl CredentialProvider for Profile {
    type Credential = AwsCredential;

    fn get_credential<'a, 'b>(
        &'a self,
    ) -> Pin<Box<dyn Future<Output = object_store::Result<Arc<AwsCredential>>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        // The file is small and near.
        let credential = self.credential().map_err(|e| object_store::Error::Generic {
            store: "S3",
            source: Box::new(NoKeys(e.to_string())),
        });
        Box::pin(std::future::ready(credential))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(text: &str, name: &str) -> (tempfile::TempDir, Profile) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("credentials");
        std::fs::write(&file, text).unwrap();
        (directory, Profile::new(file, name.to_owned()))
    }

    #[test]
    fn profiles_are_read_as_aws_reads_them() {
        let text = "# first\n; second\naws_access_key_id = nobody's\n[ default ]\r\n\
                    AWS_Access_Key_Id : a\r\naws_secret_access_key=s=/+:x\r\ns3 =\r\n  region = no\r\n\
                    [profile two]\nregion = r\n[two] ; said\naws_access_key_id=b\n\
                    aws_secret_access_key=t\naws_session_token=k\n";
        let (_directory, default) = profile(text, "default");
        let key = default.read().unwrap();
        assert_eq!((key.access_key.as_str(), key.secret_key.reveal()), ("a", "s=/+:x"));
        assert!(key.token.is_none());
        let two = Profile::new(default.file.clone(), "two".to_owned());
        let key = two.read().unwrap();
        assert_eq!(key.access_key, "b");
        assert_eq!(key.token.unwrap().reveal(), "k");
        assert_eq!((two.region().as_deref(), default.region()), (Some("r"), None));
    }

    #[test]
    fn what_is_missing_is_named_and_nothing_is_shown() {
        for (text, expected) in [
            ("", "there is no profile p"),
            ("[q]\naws_access_key_id=a", "there is no profile p"),
            ("[p]\naws_secret_access_key=hidden", "profile p has no aws_access_key_id"),
            ("[p]\naws_access_key_id=a\naws_secret_access_key=", "has no aws_secret_access_key"),
            (
                "[p]\naws_access_key_id=a b\naws_secret_access_key=hidden",
                "has a key that is not possible",
            ),
        ] {
            let (_directory, profile) = profile(text, "p");
            let error = profile.read().map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("hidden"), "{error}");
        }
    }

    #[test]
    fn a_key_is_not_read_for_every_request() {
        let (_directory, profile) =
            profile("[p]\naws_access_key_id=a\naws_secret_access_key=b", "p");
        let first = profile.credential().unwrap();
        std::fs::write(&profile.file, "").unwrap();
        assert!(Arc::ptr_eq(&first, &profile.credential().unwrap()));
        assert!(!format!("{profile:?}").contains("\"b\""));
        *profile.last.lock().unwrap() = None;
        assert!(profile.credential().is_err());
    }
}
