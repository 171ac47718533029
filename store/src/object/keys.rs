//! Who we are to S3, and in which region.
//!
//! ```text
//! keys      S3_ACCESS_KEY S3_SECRET_KEY S3_SESSION_TOKEN
//!           AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN
//!           the configuration: a key, or a profile in a file of AWS's tools
//!           the usual profile in the usual file, if it has a key
//!           a web identity, or the role of the container, if the environment tells of one
//!           the role of the machine (Amazon's hosts only)
//!           nobody
//! region    S3_REGION, configuration, the host's name, AWS_REGION, AWS_DEFAULT_REGION, the profile
//! ```
//! What comes before the first empty line of desync's order is desync's: the variables and the
//! configuration. An empty variable is none.

use std::path::PathBuf;

use super::profile::Profile;
use crate::{Credentials, Error, RemoteOptions, Result, Secret};

/// The default of AWS's tools for services elsewhere, and of nearly all of these.
pub(super) const USUAL_REGION: &str = "us-east-1";

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NoKeys(pub(super) String);

/// Who asks.
#[derive(Debug)]
pub(super) enum Keys {
    /// This key.
    Fixed { access_key: String, secret_key: Secret, token: Option<Secret> },
    /// Whatever a file says at the time.
    File(Profile),
    /// The service that the environment tells of.
    Environment,
    /// The machine, if it is one of Amazon's.
    Machine,
    /// Nobody.
    Nobody,
}

/// The environment, as it is or as a test wants it.
pub(super) type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The variables of this process that say anything.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Keys {
    /// The first that is there. `is_amazon` tells whether the host is one of Amazon's.
    pub(super) fn find(
        options: &RemoteOptions,
        is_amazon: bool,
        variables: Variables<'_>,
    ) -> Result<Self> {
        if let Some(keys) = from_variables(variables)? {
            return Ok(keys);
        }
        match &options.credentials {
            Some(Credentials::S3 { access_key, secret_key, .. }) => {
                let (access_key, secret_key) = (access_key.clone(), secret_key.clone());
                return Keys::Fixed { access_key, secret_key, token: None }.checked();
            }
            Some(Credentials::AwsFile { file, profile, .. }) => {
                let profile = Profile::new(file.clone(), profile_name(profile, variables));
                // What the configuration asks for must be there.
                profile.read()?;
                return Ok(Keys::File(profile));
            }
            Some(Credentials::Oci { .. }) | None => {}
        }
        if let Some(file) = file("AWS_SHARED_CREDENTIALS_FILE", "credentials", variables) {
            let profile = Profile::new(file, profile_name("", variables));
            if profile.read().is_ok() {
                return Ok(Keys::File(profile));
            }
        }
        let is_told = |names: &[&str]| names.iter().all(|name| variables(name).is_some());
        if is_told(&["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"])
            || is_told(&["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"])
            || is_told(&[
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            ])
        {
            return Ok(Keys::Environment);
        }
        let is_off = variables("AWS_EC2_METADATA_DISABLED")
            .is_some_and(|value| value.eq_ignore_ascii_case("true"));
        Ok(if is_amazon && !is_off { Keys::Machine } else { Keys::Nobody })
    }

    /// The keys, or an error if they cannot be sent.
    fn checked(self) -> Result<Self> {
        if let Keys::Fixed { access_key, token, .. } = &self {
            let token = token.as_ref().map_or("", Secret::reveal);
            let is_fine = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
            if access_key.is_empty() || !is_fine(access_key) || !is_fine(token) {
                let why = "not possible as an access key or session token of S3".to_owned();
                return Err(Error::Unsupported { place: "credentials".to_owned(), why });
            }
        }
        Ok(self)
    }
}

fn from_variables(variables: Variables<'_>) -> Result<Option<Keys>> {
    let names = [
        ("S3_ACCESS_KEY", "S3_SECRET_KEY", "S3_SESSION_TOKEN"),
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    ];
    for (access, secret, token) in names {
        let (there, missing) = match (variables(access), variables(secret)) {
            (Some(access_key), Some(secret_key)) => {
                let token = variables(token).map(Secret::new);
                let secret_key = Secret::new(secret_key);
                return Keys::Fixed { access_key, secret_key, token }.checked().map(Some);
            }
            (None, None) => continue,
            (Some(_), None) => (access, secret),
            (None, Some(_)) => (secret, access),
        };
        let why = format!("{there} is set, but {missing} is not");
        return Err(Error::Unsupported { place: "credentials".to_owned(), why });
    }
    Ok(None)
}

/// The region to sign for, if anybody says one. `of_host` is that in the name of Amazon's host.
pub(super) fn region(
    options: &RemoteOptions,
    of_host: Option<&str>,
    variables: Variables<'_>,
) -> Option<String> {
    let (configured, profile) = match &options.credentials {
        Some(Credentials::S3 { region, .. }) => (region.as_str(), ""),
        Some(Credentials::AwsFile { region, profile, .. }) => (region.as_str(), profile.as_str()),
        Some(Credentials::Oci { .. }) | None => ("", ""),
    };
    let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    variables("S3_REGION")
        .or_else(|| said(configured))
        .or_else(|| said(of_host?))
        .or_else(|| variables("AWS_REGION"))
        .or_else(|| variables("AWS_DEFAULT_REGION"))
        .or_else(|| {
            let file = file("AWS_CONFIG_FILE", "config", variables)?;
            Profile::new(file, profile_name(profile, variables)).region()
        })
}

fn profile_name(configured: &str, variables: Variables<'_>) -> String {
    if !configured.is_empty() {
        return configured.to_owned();
    }
    variables("AWS_PROFILE").unwrap_or_else(|| "default".to_owned())
}

/// A file of AWS's tools: where a variable says, or in its usual place.
fn file(variable: &str, usual: &str, variables: Variables<'_>) -> Option<PathBuf> {
    let usual = || Some(PathBuf::from(variables("HOME")?).join(".aws").join(usual));
    variables(variable).map(PathBuf::from).or_else(usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found with these variables: the access key, or the kind.
    fn found(credentials: Option<Credentials>, is_amazon: bool, set: &[(&str, &str)]) -> String {
        let options = RemoteOptions { credentials, ..RemoteOptions::default() };
        match Keys::find(&options, is_amazon, &variables(set)) {
            Ok(Keys::Fixed { access_key, secret_key, token }) => {
                let token = token.map_or(String::new(), |token| format!("+{}", token.reveal()));
                format!("{access_key}/{}{token}", secret_key.reveal())
            }
            Ok(Keys::File(profile)) => format!("file {}", profile.read().unwrap().access_key),
            Ok(other) => format!("{other:?}"),
            Err(e) => e.to_string(),
        }
    }

    fn variables(set: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        let set: Vec<(String, String)> =
            set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        move |wanted| {
            let value = set.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
            value.filter(|value| !value.is_empty())
        }
    }

    fn configured() -> Option<Credentials> {
        let secret_key = Secret::new("cs");
        Some(Credentials::S3 { access_key: "c".into(), secret_key, region: "cr".into() })
    }

    #[test]
    fn variables_beat_the_configuration_and_that_the_usual_file() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        let file = "[default]\naws_access_key_id=f\naws_secret_access_key: fs\n[other]\n\
                    aws_access_key_id = o\naws_secret_access_key = os\n";
        std::fs::write(home.path().join(".aws/credentials"), file).unwrap();
        let home = home.path().to_str().unwrap();
        let s3 = [("S3_ACCESS_KEY", "a"), ("S3_SECRET_KEY", "s"), ("S3_SESSION_TOKEN", "t")];
        let aws = [("AWS_ACCESS_KEY_ID", "A"), ("AWS_SECRET_ACCESS_KEY", "S"), ("HOME", home)];
        let both = [&s3[..], &aws, &[("AWS_SESSION_TOKEN", "T")]].concat();
        assert_eq!(found(configured(), true, &both), "a/s+t");
        assert_eq!(found(configured(), true, &aws), "A/S");
        let with_token = [&aws[..], &[("AWS_SESSION_TOKEN", "T"), ("S3_ACCESS_KEY", "")]].concat();
        assert_eq!(found(None, true, &with_token), "A/S+T");
        assert_eq!(found(configured(), true, &[("HOME", home)]), "c/cs");
        assert_eq!(found(None, false, &[("HOME", home)]), "file f");
        assert_eq!(found(None, true, &[("HOME", home), ("AWS_PROFILE", "other")]), "file o");
        // A profile that is not there: as if there were no file.
        assert_eq!(found(None, false, &[("HOME", home), ("AWS_PROFILE", "x")]), "Nobody");
        let file = format!("{home}/.aws/credentials");
        let named = Credentials::AwsFile {
            file: file.clone().into(),
            profile: "other".into(),
            region: String::new(),
        };
        assert_eq!(found(Some(named), false, &[]), "file o");
        assert_eq!(found(None, false, &[("AWS_SHARED_CREDENTIALS_FILE", &file)]), "file f");
    }

    #[test]
    fn without_keys_only_amazon_is_told_of_the_machine() {
        assert_eq!(found(None, true, &[]), "Machine");
        assert_eq!(found(None, true, &[("AWS_EC2_METADATA_DISABLED", "TRUE")]), "Nobody");
        assert_eq!(found(None, false, &[("HOME", "/nowhere")]), "Nobody");
        let identity = [("AWS_WEB_IDENTITY_TOKEN_FILE", "/t"), ("AWS_ROLE_ARN", "r")];
        assert_eq!(found(None, false, &identity), "Environment");
        assert_eq!(found(None, false, &identity[..1]), "Nobody");
    }

    #[test]
    fn half_a_key_and_impossible_ones_are_refused_without_being_shown() {
        for (set, expected) in [
            (vec![("S3_ACCESS_KEY", "x")], "S3_ACCESS_KEY is set, but S3_SECRET_KEY is not"),
            (
                vec![("AWS_SECRET_ACCESS_KEY", "hidden")],
                "AWS_SECRET_ACCESS_KEY is set, but AWS_ACCESS_KEY_ID is not",
            ),
            (vec![("S3_ACCESS_KEY", "x\n"), ("S3_SECRET_KEY", "hidden")], "not possible as"),
            (
                vec![
                    ("S3_ACCESS_KEY", "x"),
                    ("S3_SECRET_KEY", "hidden"),
                    ("S3_SESSION_TOKEN", "hidden\r"),
                ],
                "not possible as",
            ),
        ] {
            let text = found(None, false, &set);
            assert!(text.starts_with("credentials: ") && text.contains(expected), "{text}");
            assert!(!text.contains("hidden"), "{text}");
        }
        let set =
            [("S3_ACCESS_KEY", "x"), ("S3_SECRET_KEY", "hidden"), ("S3_SESSION_TOKEN", "hidden")];
        let keys = Keys::find(&RemoteOptions::default(), false, &variables(&set)).unwrap();
        assert!(!format!("{keys:?} {keys:#?}").contains("hidden"));
    }

    #[test]
    fn the_region_is_the_first_that_is_said() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        let file = "[default]\nregion = usual\n[profile other]\nregion=others\n";
        std::fs::write(home.path().join(".aws/config"), file).unwrap();
        let home = ("HOME", home.path().to_str().unwrap());
        let all = [("S3_REGION", "s"), ("AWS_REGION", "a"), ("AWS_DEFAULT_REGION", "d"), home];
        let options = |credentials| RemoteOptions { credentials, ..RemoteOptions::default() };
        let region = |options: &RemoteOptions, of_host, set: &[_]| {
            region(options, of_host, &variables(set)).unwrap_or_default()
        };
        let (with, without) = (options(configured()), options(None));
        assert_eq!(region(&with, Some("h"), &all), "s");
        assert_eq!(region(&with, Some("h"), &all[1..]), "cr");
        assert_eq!(region(&without, Some("h"), &all[1..]), "h");
        assert_eq!(region(&without, None, &all[1..]), "a");
        assert_eq!(region(&without, None, &all[2..]), "d");
        assert_eq!(region(&without, None, &all[3..]), "usual");
        assert_eq!(region(&without, None, &[home, ("AWS_PROFILE", "other")]), "others");
        assert_eq!(region(&without, None, &[]), "");
    }
}
