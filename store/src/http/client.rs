//! How servers are talked to: certificates, proxies, timeouts.
//!
//! TLS is rustls with the system's authorities, or those of `ca_cert` alone. Proxies are those of the
//! usual variables (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`).

use std::fs;
use std::path::Path;
use std::time::Duration;

use reqwest::{Certificate, Client, Identity, StatusCode, redirect};

use super::authorities;
use crate::{Error, RemoteOptions, Result};

/// A host that does not answer at all is known to be dead after this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Connections that were not used for so long are closed. desync's number.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// A chain of redirections that is longer is a loop. desync's number.
const REDIRECTS: usize = 10;

/// A client for servers that are reached in this way.
pub(crate) fn client(options: &RemoteOptions) -> Result<Client> {
    build(options, redirect::Policy::limited(REDIRECTS))
}

/// A client that goes nowhere but where it is sent: what it says is for nobody else.
#[cfg(feature = "oci")]
pub(crate) fn direct_client(options: &RemoteOptions) -> Result<Client> {
    build(options, redirect::Policy::none())
}

/// The same for what is sent there. It does not follow where a PUT is to become a GET: that something
/// else can be had elsewhere does not mean that anything has been kept.
pub(super) fn writing_client(options: &RemoteOptions) -> Result<Client> {
    let limited = redirect::Policy::limited(REDIRECTS);
    let policy = redirect::Policy::custom(move |attempt| match attempt.status() {
        StatusCode::SEE_OTHER => attempt.stop(),
        _ => limited.redirect(attempt),
    });
    build(options, policy)
}

fn build(options: &RemoteOptions, redirects: redirect::Policy) -> Result<Client> {
    // The first wins; all of ours are the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut client = Client::builder()
        .user_agent(concat!("cairn/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(options.timeout.map_or(CONNECT_TIMEOUT, |all| all.min(CONNECT_TIMEOUT)))
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(options.connections.max(1))
        .http2_adaptive_window(true)
        .redirect(redirects)
        // A URL may hold a password or be signed: nobody else's to see.
        .referer(false)
        .tls_danger_accept_invalid_certs(options.trust_insecure);
    if let Some(path) = &options.ca_cert {
        let pem = read(path)?;
        let authorities = Certificate::from_pem_bundle(&pem).map_err(|e| bad_file(path, &e))?;
        if authorities.is_empty() {
            return Err(bad_file(path, &"no certificate in it"));
        }
        client = client.tls_certs_only(authorities);
    }
    if options.ca_cert.is_none() && options.client_identity.is_none() && !options.trust_insecure {
        client = client.tls_backend_preconfigured(authorities::config().map_err(|e| bad_tls(&e))?);
    }
    if let Some((certificate, key)) = &options.client_identity {
        let mut pem = read(key)?;
        pem.push(b'\n');
        pem.extend(read(certificate)?);
        let identity = Identity::from_pem(&pem).map_err(|_| not_its_key(certificate, key))?;
        client = client.identity(identity);
    }
    client.build().map_err(|e| {
        let why = super::answer::cause(&e);
        if let Some((certificate, key)) = &options.client_identity
            && why.contains("KeyMismatch")
        {
            return not_its_key(certificate, key);
        }
        bad_tls(&why)
    })
}

fn bad_tls(why: &dyn std::fmt::Display) -> Error {
    Error::Unsupported { place: "TLS".to_owned(), why: why.to_string() }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(Error::io("read", path))
}

fn not_its_key(certificate: &Path, key: &Path) -> Error {
    bad_file(certificate, &format!("no certificate with its key in {}", key.display()))
}

fn bad_file(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::Unsupported { place: path.display().to_string(), why: why.to_string() }
}
