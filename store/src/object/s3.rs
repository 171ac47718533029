//! Buckets of S3, Amazon's or anybody's.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use object_store::CredentialProvider;
use object_store::aws::{
    AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, AwsCredentialProvider,
};

use super::address::Lookup;
use super::keys::{Keys, NoKeys, USUAL_REGION, region, variable};
use super::objects::{no_retries, unusable};
use super::transport::Transport;
use crate::remote::runtime::wait;
use crate::{Error, RemoteOptions, Result};

/// A bucket, reached in two ways.
pub(super) struct Bucket {
    /// With many objects removed by one request.
    pub(super) usual: AmazonS3,
    /// With a request for each, for servers that do not know the other.
    pub(super) singly: AmazonS3,
}

/// Opens a bucket. Where nobody says what region it is in, Amazon is asked.
pub(super) fn open(
    shown: &str,
    bucket: &str,
    (endpoint, lookup): (Option<&str>, Lookup),
    options: &RemoteOptions,
    transport: &Transport,
) -> Result<Bucket> {
    let told = || variable("AWS_ENDPOINT_URL_S3").or_else(|| variable("AWS_ENDPOINT_URL"));
    let endpoint = endpoint.map(str::to_owned).or_else(told);
    let is_amazon = endpoint.as_deref().is_none_or(|endpoint| is_amazon(host(endpoint)));
    let of_host = endpoint.as_deref().filter(|_| is_amazon).and_then(|at| region_of(host(at)));
    let mut keys = Keys::find(options, is_amazon, &variable)?;
    let region = match region(options, of_host, &variable) {
        Some(region) => region,
        None if is_amazon => ask_region(shown, bucket)?,
        None => USUAL_REGION.to_owned(),
    };
    let builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(&region)
        .with_client_options(Transport::options())
        .with_http_connector(transport.clone())
        .with_retry(no_retries());
    let machine = match keys {
        Keys::Machine => machine(shown, builder.clone()),
        _ => None,
    };
    if matches!(keys, Keys::Machine) && machine.is_none() {
        keys = Keys::Nobody;
    }
    tracing::debug!(store = shown, ?keys, region, "credentials chosen");
    let (endpoint, is_virtual) = placed(bucket, endpoint, is_amazon, &region, lookup);
    let mut builder = match keys {
        Keys::Fixed { access_key, secret_key, token } => {
            let builder =
                builder.with_access_key_id(access_key).with_secret_access_key(secret_key.reveal());
            match token {
                Some(token) => builder.with_token(token.reveal()),
                None => builder,
            }
        }
        Keys::File(profile) => builder.with_credentials(Arc::new(profile)),
        Keys::Environment => {
            let found = from_environment(builder.clone()).build();
            let found = found.map_err(|e| unusable(shown, &e))?.credentials().clone();
            builder.with_credentials(Arc::new(Named(found)))
        }
        Keys::Machine => match machine {
            Some(machine) => builder.with_credentials(machine),
            None => builder.with_skip_signature(true),
        },
        Keys::Nobody => builder.with_skip_signature(true),
    };
    builder = builder.with_endpoint(endpoint).with_virtual_hosted_style_request(is_virtual);
    let build = |builder: AmazonS3Builder| builder.build().map_err(|e| unusable(shown, &e));
    let singly = build(builder.clone().with_disable_bulk_delete(true))?;
    Ok(Bucket { usual: build(builder)?, singly })
}

/// The endpoint to use, and whether it has the bucket in its name.
fn placed(
    bucket: &str,
    endpoint: Option<String>,
    is_amazon: bool,
    region: &str,
    lookup: Lookup,
) -> (String, bool) {
    // A host that names no region answers for those of one only.
    let endpoint = match endpoint {
        Some(endpoint) if host(&endpoint) != "s3.amazonaws.com" => endpoint,
        Some(endpoint) => endpoint.replacen("s3.amazonaws.com", &amazons(region), 1),
        None => format!("https://{}", amazons(region)),
    };
    let endpoint = endpoint.trim_end_matches('/').to_owned();
    let is_virtual = match lookup {
        Lookup::Host => true,
        Lookup::Path => false,
        // No certificate covers names with dots in them.
        Lookup::Auto => is_amazon && !bucket.contains('.'),
    };
    match endpoint.split_once("://") {
        Some((transport, host)) if is_virtual => (format!("{transport}://{bucket}.{host}"), true),
        _ => (endpoint, false),
    }
}

fn amazons(region: &str) -> String {
    let country = if region.starts_with("cn-") { ".cn" } else { "" };
    format!("s3.{region}.amazonaws.com{country}")
}

/// The host of an endpoint, without its port.
fn host(endpoint: &str) -> &str {
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let rest = rest.split('/').next().unwrap_or_default();
    rest.rsplit_once(':').map_or(rest, |(host, _)| host)
}

fn is_amazon(host: &str) -> bool {
    [".amazonaws.com", ".amazonaws.com.cn"].iter().any(|end| host.ends_with(end))
}

/// The region in the name of one of Amazon's hosts: `s3.eu-west-1.amazonaws.com`,
/// `s3-eu-west-1.amazonaws.com`, `s3.dualstack.eu-west-1.amazonaws.com`.
fn region_of(host: &str) -> Option<&str> {
    let is_region = |label: &&str| {
        let parts: Vec<&str> = label.split('-').collect();
        parts.len() >= 3
            && parts[0].len() == 2
            && parts.last().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()))
    };
    host.split('.').map(|label| label.strip_prefix("s3-").unwrap_or(label)).find(is_region)
}

fn ask_region(shown: &str, bucket: &str) -> Result<String> {
    let options = Transport::options();
    wait(object_store::aws::resolve_bucket_region(bucket, &options)).map_err(|e| {
        let why = format!("the region of bucket '{bucket}' is not known, set S3_REGION ({e})");
        Error::Unsupported { place: shown.to_owned(), why }
    })
}

/// With what the environment says of containers and web identities.
fn from_environment(mut builder: AmazonS3Builder) -> AmazonS3Builder {
    let names = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", AmazonS3ConfigKey::WebIdentityTokenFile),
        ("AWS_ROLE_ARN", AmazonS3ConfigKey::RoleArn),
        ("AWS_ROLE_SESSION_NAME", AmazonS3ConfigKey::RoleSessionName),
        ("AWS_ENDPOINT_URL_STS", AmazonS3ConfigKey::StsEndpoint),
        (
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            AmazonS3ConfigKey::ContainerCredentialsRelativeUri,
        ),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", AmazonS3ConfigKey::ContainerCredentialsFullUri),
        (
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            AmazonS3ConfigKey::ContainerAuthorizationTokenFile,
        ),
    ];
    for (name, key) in names {
        if let Some(value) = variable(name) {
            builder = builder.with_config(key, value);
        }
    }
    builder
}

/// The role of this machine, if it has one.
fn machine(shown: &str, builder: AmazonS3Builder) -> Option<AwsCredentialProvider> {
    let provider = builder.build().ok()?.credentials().clone();
    match wait(provider.get_credential()) {
        Ok(_) => Some(Arc::new(Named(provider))),
        Err(_) => {
            tracing::info!(store = shown, "no credentials found: asking without any");
            None
        }
    }
}

/// Keys that are asked for, with errors that say so.
#[derive(Debug)]
struct Named(AwsCredentialProvider);

impl CredentialProvider for Named {
    type Credential = AwsCredential;

    fn get_credential<'a, 'b>(
        &'a self,
    ) -> Pin<Box<dyn Future<Output = object_store::Result<Arc<AwsCredential>>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async {
            self.0.get_credential().await.map_err(|_| {
                let why = "the service that the environment names gives no credentials".to_owned();
                object_store::Error::Generic { store: "S3", source: Box::new(NoKeys(why)) }
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amazons_hosts_are_known_and_name_their_region() {
        for (endpoint, expected) in [
            ("https://s3.amazonaws.com", Some(None)),
            ("https://s3.eu-west-1.amazonaws.com:443", Some(Some("eu-west-1"))),
            ("https://s3-ap-southeast-2.amazonaws.com", Some(Some("ap-southeast-2"))),
            ("https://s3.dualstack.us-gov-west-1.amazonaws.com", Some(Some("us-gov-west-1"))),
            ("https://s3.cn-north-1.amazonaws.com.cn", Some(Some("cn-north-1"))),
            ("http://127.0.0.1:9000", None),
            ("http://[::1]:9000", None),
            ("https://amazonaws.com.example.org", None),
            ("https://minio.eu-west-1.example.org", None),
        ] {
            let host = host(endpoint);
            let found = is_amazon(host).then(|| region_of(host));
            assert_eq!(found, expected, "{endpoint}");
        }
    }

    #[test]
    fn a_bucket_is_in_the_path_but_at_amazon() {
        let placed = |bucket, endpoint: Option<&str>, lookup| {
            let is_amazon = endpoint.is_none_or(|endpoint| is_amazon(host(endpoint)));
            placed(bucket, endpoint.map(str::to_owned), is_amazon, "eu-west-1", lookup)
        };
        let own = Some("http://h:9");
        assert_eq!(placed("b", own, Lookup::Auto), ("http://h:9".to_owned(), false));
        assert_eq!(placed("b", own, Lookup::Host), ("http://b.h:9".to_owned(), true));
        let amazon = "https://s3.eu-west-1.amazonaws.com".to_owned();
        let virtual_host = "https://b.s3.eu-west-1.amazonaws.com".to_owned();
        for endpoint in [None, Some("https://s3.amazonaws.com"), Some(amazon.as_str())] {
            assert_eq!(placed("b", endpoint, Lookup::Auto), (virtual_host.clone(), true));
            assert_eq!(placed("b", endpoint, Lookup::Path), (amazon.clone(), false));
            assert_eq!(placed("b.c", endpoint, Lookup::Auto), (amazon.clone(), false));
        }
    }
}
