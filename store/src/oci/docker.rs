//! What `docker login` has left behind.
//!
//! ```text
//! $DOCKER_CONFIG/config.json, or ~/.docker/config.json:
//!   credHelpers: {host: X}    ->  docker-credential-X get   >
//!   credsStore: X             ->  docker-credential-X get   >
//!   auths: {host: {auth: base64 of user:password, or identitytoken}}
//! ```
//! Nothing that was read appears in a message: not even what is wrong with the JSON, which would quote
//! it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::{env, fs, io};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::login::Login;
use crate::{Error, Result, Secret};

/// How docker calls its own registry in this file.
const DOCKER: (&str, &str) = ("docker.io", "https://index.docker.io/v1/");

/// The name that means that the secret is no password.
const TOKEN_USER: &str = "<token>";

/// The longest answer of a program, in bytes.
const LONGEST_ANSWER: u64 = 1 << 20;

/// Docker's configuration, as far as it says who we are.
pub(super) struct Docker {
    path: PathBuf,
    file: File,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    auths: Option<BTreeMap<String, Entry>>,
    cred_helpers: Option<BTreeMap<String, String>>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

/// What a program answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

impl std::fmt::Debug for Docker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Docker").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Docker {
    /// That of the user, if there is one.
    pub(super) fn of_user() -> Result<Option<Self>> {
        let said = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let directory = said("DOCKER_CONFIG").or_else(|| Some(said("HOME")?.join(".docker")));
        match directory {
            Some(directory) => Self::read(&directory.join("config.json")),
            None => Ok(None),
        }
    }

    fn read(path: &Path) -> Result<Option<Self>> {
        let bytes = match fs::read(path) {
            // A service may have `/dev/null` for a home.
            Err(e)
                if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
            {
                return Ok(None);
            }
            bytes => bytes.map_err(Error::io("read", path))?,
        };
        let file = serde_json::from_slice(&bytes).map_err(|e| Error::Unsupported {
            place: path.display().to_string(),
            why: format!("not as docker writes it, at line {} column {}", e.line(), e.column()),
        })?;
        Ok(Some(Self { path: path.to_owned(), file }))
    }

    /// Who we are to a registry, if anything says so.
    pub(super) async fn login(&self, host: &str) -> Result<Option<Login>> {
        let server = if host == DOCKER.0 { DOCKER.1 } else { host };
        let helpers = self.file.cred_helpers.as_ref();
        let helper = helpers.and_then(|helpers| helpers.get(server).or_else(|| helpers.get(host)));
        let store = self.file.creds_store.as_ref();
        let name = helper.or(store).filter(|name| !name.is_empty());
        if let Some(name) = name
            && let Some(login) = self.ask(name, server).await?
        {
            return Ok(Some(login));
        }
        self.entry(server).map_or(Ok(None), |entry| self.read_entry(entry, server))
    }

    /// Asks a program.
    async fn ask(&self, name: &str, server: &str) -> Result<Option<Login>> {
        let program = format!("docker-credential-{name}");
        let failed = |why: String| Error::Denied {
            place: self.place(server),
            why: format!("{program} {why}"),
        };
        // A path would be looked for in the current directory.
        if name.contains('/') {
            return Err(failed("is not the name of a program".to_owned()));
        }
        let mut child = Command::new(&program)
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| failed(format!("does not start: {e}")))?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that does not want to know says in the end what it has.
            let _ = stdin.write_all(format!("{server}\n").as_bytes()).await;
        }
        let mut answer = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            let read = stdout.take(LONGEST_ANSWER).read_to_end(&mut answer).await;
            read.map_err(|e| failed(format!("does not answer: {e}")))?;
        }
        let status = child.wait().await.map_err(|e| failed(format!("does not end: {e}")))?;
        if !status.success() {
            let text = String::from_utf8_lossy(&answer);
            if text.contains("credentials not found") {
                return Ok(None);
            }
            return Err(failed(format!("failed with {status}")));
        }
        let Ok(Answer { username, secret }) = serde_json::from_slice(&answer) else {
            return Err(failed("does not answer as it should".to_owned()));
        };
        let secret = Secret::new(secret);
        Ok(Some(match username.as_str() {
            TOKEN_USER => Login::Identity(secret),
            _ => Login::User { name: username, secret },
        }))
    }

    /// The entry of a registry, whose key may also be a URL.
    fn entry(&self, server: &str) -> Option<&Entry> {
        let auths = self.file.auths.as_ref()?;
        let same = |(key, _): &(&String, &Entry)| host_of(key) == host_of(server);
        auths.get(server).or_else(|| Some(auths.iter().find(same)?.1))
    }

    fn read_entry(&self, entry: &Entry, server: &str) -> Result<Option<Login>> {
        let bad = |why: &str| Error::Denied { place: self.place(server), why: why.to_owned() };
        if !entry.identitytoken.is_empty() {
            return Ok(Some(Login::Identity(Secret::new(&entry.identitytoken))));
        }
        if !entry.auth.is_empty() {
            let broken = || bad("`auth` is not the base64 of a user and a password");
            let text = String::from_utf8(base64(&entry.auth).ok_or_else(broken)?);
            let text = text.map_err(|_| broken())?;
            let (name, secret) = text.split_once(':').ok_or_else(broken)?;
            // Docker's own padding.
            let secret = Secret::new(secret.trim_end_matches('\0'));
            return Ok(Some(Login::User { name: name.to_owned(), secret }));
        }
        if !entry.username.is_empty() {
            let secret = Secret::new(&entry.password);
            return Ok(Some(Login::User { name: entry.username.clone(), secret }));
        }
        if !entry.registrytoken.is_empty() {
            return Err(bad("a `registrytoken` cannot be used: log in again, or set \
                            DESYNC_OCI_USERNAME and DESYNC_OCI_PASSWORD"));
        }
        // The trace of a login that a program keeps.
        Ok(None)
    }

    fn place(&self, server: &str) -> String {
        format!("{}: {server}", self.path.display())
    }
}

/// The host of a key, which may be a URL.
fn host_of(key: &str) -> &str {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    rest.split('/').next().unwrap_or(rest)
}

/// The bytes of base64, with or without the padding at its end.
fn base64(text: &str) -> Option<Vec<u8>> {
    STANDARD_NO_PAD.decode(text.trim_end_matches('=')).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::runtime::wait;

    fn docker(json: &str) -> Result<Option<Docker>> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        fs::write(&path, json).unwrap();
        Docker::read(&path)
    }

    fn login(json: &str, host: &str) -> Result<Option<Login>> {
        wait(docker(json).unwrap().unwrap().login(host))
    }

    fn user(name: &str, secret: &str) -> Login {
        Login::User { name: name.to_owned(), secret: Secret::new(secret) }
    }

    #[test]
    fn logins_are_found_by_host() {
        let json = r#"{"auths": {
            "plain:5000": {"auth": "bWU6cGFzczp3b3Jk"},
            "https://url/v2/": {"auth": "bWU6"},
            "https://index.docker.io/v1/": {"username": "hub", "password": "p"},
            "azure": {"auth": "MDAwOg==", "identitytoken": "refresh"},
            "elsewhere": {}
        }, "credHelpers": null, "HttpHeaders": {"a": 1}}"#;
        for (host, expected) in [
            ("plain:5000", Some(user("me", "pass:word"))),
            ("plain", None),
            ("url", Some(user("me", ""))),
            ("docker.io", Some(user("hub", "p"))),
            ("azure", Some(Login::Identity(Secret::new("refresh")))),
            ("elsewhere", None),
            ("unknown", None),
        ] {
            assert_eq!(login(json, host).unwrap(), expected, "{host}");
        }
        assert_eq!(login("{}", "h").unwrap(), None);
    }

    #[test]
    fn what_cannot_be_used_is_an_error_without_secrets() {
        for json in ["", "{", "[]", r#"{"auths": "hidden"}"#, r#"{"auths": {"h": {"auth": 7}}}"#] {
            let error = docker(json).unwrap_err();
            assert!(matches!(error, Error::Unsupported { .. }), "{json}");
            let error = error.to_string();
            assert!(error.contains("config.json: not as docker") && !error.contains("hidden"));
        }
        for json in [
            r#"{"auths": {"h": {"auth": "aGlkZGVu"}}}"#,
            r#"{"auths": {"h": {"auth": "hidden!"}}}"#,
            r#"{"auths": {"h": {"registrytoken": "hidden"}}}"#,
            r#"{"credHelpers": {"h": "../../tmp/x"}}"#,
            r#"{"credsStore": "no-such-program-at-all"}"#,
        ] {
            let error = login(json, "h").unwrap_err();
            assert!(matches!(error, Error::Denied { .. }), "{json}");
            assert!(!error.to_string().contains("hidden"), "{error}");
        }
        let missing = Docker::read(Path::new("/nonexistent/config.json")).unwrap();
        assert!(missing.is_none());
    }

    #[test]
    fn base64_is_read() {
        for (text, expected) in [
            ("", Some("")),
            ("YQ==", Some("a")),
            ("YWI=", Some("ab")),
            ("YWJj", Some("abc")),
            ("YWI", Some("ab")),
            ("Y", None),
            ("YR==", None),
            ("YW J", None),
            ("====", Some("")),
        ] {
            assert_eq!(base64(text), expected.map(|text| text.as_bytes().to_vec()), "{text}");
        }
    }
}
