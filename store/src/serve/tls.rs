//! Certificates: ours, and those of the clients that may connect.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::{Error, Result};

/// What is spoken over TLS, by preference.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The certificates of a server, as PEM files.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    /// Our certificate, and those it hangs on.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The only authorities whose clients may connect; `None` for everybody.
    pub client_ca: Option<PathBuf>,
}

impl TlsOptions {
    /// Reads the files.
    pub(super) fn config(&self) -> Result<ServerConfig> {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|e| unusable(&self.cert, &e))?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(path)? {
                    roots.add(certificate).map_err(|e| unusable(path, &e))?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().map_err(|e| unusable(path, &e))?)
            }
        };
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|e| unusable(&self.key, &e))?;
        let certificates = certificates(&self.cert)?;
        let mut config =
            builder.with_single_cert(certificates, key).map_err(|e| unusable(&self.cert, &e))?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(config)
    }
}

/// The certificates in a file; none is an error.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_file_iter(path).map_err(|e| unusable(path, &e))?;
    let found: Vec<_> =
        found.collect::<std::result::Result<_, _>>().map_err(|e| unusable(path, &e))?;
    if found.is_empty() {
        return Err(unusable(path, &"no certificate in it"));
    }
    Ok(found)
}

fn unusable(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::Unsupported { place: path.display().to_string(), why: why.to_string() }
}
