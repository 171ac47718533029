//! Buckets of Google.
//!
//! `STORAGE_EMULATOR_HOST` names a server to use instead, which is asked without credentials.

use std::sync::Arc;

use object_store::StaticCredentialProvider;
use object_store::gcp::{GcpCredential, GoogleCloudStorage, GoogleCloudStorageBuilder};

use super::keys::variable;
use super::objects::{no_retries, unusable};
use super::transport::Transport;
use crate::Result;

/// Opens a bucket with what the environment, Google's tools or the machine say of who we are.
pub(super) fn open(shown: &str, bucket: &str, transport: &Transport) -> Result<GoogleCloudStorage> {
    let mut builder = GoogleCloudStorageBuilder::from_env()
        .with_bucket_name(bucket)
        .with_client_options(Transport::options())
        .with_http_connector(transport.clone())
        .with_retry(no_retries());
    if let Some(host) = variable("STORAGE_EMULATOR_HOST") {
        let url = if host.contains("://") { host } else { format!("http://{host}") };
        // Not all requests heed that nobody signs, so there must be something to sign with, too.
        let nobody = GcpCredential { bearer: String::new() };
        builder = builder
            .with_base_url(url.trim_end_matches('/'))
            .with_skip_signature(true)
            .with_credentials(Arc::new(StaticCredentialProvider::new(nobody)));
    }
    builder.build().map_err(|e| unusable(shown, &e))
}
