//! Containers of Azure.

use object_store::azure::{MicrosoftAzure, MicrosoftAzureBuilder};

use super::objects::{no_retries, unusable};
use super::transport::Transport;
use crate::Result;

/// Opens a container with what the environment or the machine say of who we are.
pub(super) fn open(
    shown: &str,
    container: &str,
    (account, endpoint): (&str, Option<&str>),
    transport: &Transport,
) -> Result<MicrosoftAzure> {
    let mut builder = MicrosoftAzureBuilder::from_env()
        .with_account(account)
        .with_container_name(container)
        .with_client_options(Transport::options())
        .with_http_connector(transport.clone())
        .with_retry(no_retries());
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint.to_owned());
    }
    builder.build().map_err(|e| unusable(shown, &e))
}
