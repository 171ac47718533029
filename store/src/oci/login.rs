//! Who we are to a registry.
//!
//! ```text
//! DESYNC_OCI_USERNAME, DESYNC_OCI_PASSWORD  >  the configuration  >  docker's own  >  nobody
//! ```

use std::env;

use super::docker::Docker;
use crate::{Credentials, Error, Result, Secret};

const USERNAME: &str = "DESYNC_OCI_USERNAME";
const PASSWORD: &str = "DESYNC_OCI_PASSWORD";

/// Who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Login {
    Nobody,
    User {
        name: String,
        secret: Secret,
    },
    /// What docker got in place of a password; good only to get tokens.
    Identity(Secret),
}

/// Where it is said who we are.
#[derive(Debug)]
pub(super) struct Logins {
    host: String,
    said: Option<Login>,
    docker: Option<Docker>,
}

impl Logins {
    /// For a registry at `host[:port]`; `configured` is what our configuration says.
    pub(super) fn new(host: &str, configured: Option<&Credentials>) -> Result<Self> {
        let said = from_variables(variable(USERNAME)?, variable(PASSWORD)?)?
            .or_else(|| configured.and_then(from_configuration));
        let docker = if said.is_some() { None } else { Docker::of_user()? };
        Ok(Self { host: host.to_owned(), said, docker })
    }

    /// Who we are now: a program that docker names may say something new each time.
    pub(super) async fn login(&self) -> Result<Login> {
        match (&self.said, &self.docker) {
            (Some(login), _) => Ok(login.clone()),
            (None, Some(docker)) => Ok(docker.login(&self.host).await?.unwrap_or(Login::Nobody)),
            (None, None) => Ok(Login::Nobody),
        }
    }
}

/// What a variable holds, if anything.
fn variable(name: &str) -> Result<Option<String>> {
    match env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => Err(bad_variable(name, "not proper text")),
    }
}

fn from_variables(name: Option<String>, password: Option<String>) -> Result<Option<Login>> {
    match (name, password) {
        (Some(name), password) => {
            let secret = Secret::new(password.unwrap_or_default());
            Ok(Some(Login::User { name, secret }))
        }
        (None, None) => Ok(None),
        (None, Some(_)) => Err(bad_variable(PASSWORD, &format!("set without {USERNAME}"))),
    }
}

fn from_configuration(credentials: &Credentials) -> Option<Login> {
    match credentials {
        Credentials::Oci { username, secret } => {
            Some(Login::User { name: username.clone(), secret: secret.clone() })
        }
        Credentials::S3 { .. } | Credentials::AwsFile { .. } => None,
    }
}

fn bad_variable(name: &str, why: &str) -> Error {
    Error::Unsupported { place: name.to_owned(), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_needs_a_user() {
        let own = |text: &str| Some(text.to_owned());
        let user = |secret| Login::User { name: "u".to_owned(), secret: Secret::new(secret) };
        assert_eq!(from_variables(own("u"), own("p")).unwrap(), Some(user("p")));
        assert_eq!(from_variables(own("u"), None).unwrap(), Some(user("")));
        assert_eq!(from_variables(None, None).unwrap(), None);
        let error = from_variables(None, own("hidden")).unwrap_err().to_string();
        assert_eq!(error, "DESYNC_OCI_PASSWORD: set without DESYNC_OCI_USERNAME");
    }

    #[test]
    fn a_login_does_not_show_its_secret() {
        let secret = Secret::new("hidden");
        let user = Login::User { name: "u".to_owned(), secret: secret.clone() };
        let shown = format!("{user:?} {:?}", Login::Identity(secret));
        assert!(shown.contains("***") && !shown.contains("hidden"), "{shown}");
    }
}
