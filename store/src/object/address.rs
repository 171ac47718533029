//! What a URL says of a bucket.
//!
//! ```text
//! s3+https://host[:port]/bucket[/prefix][?lookup=auto|dns|path]      s3://bucket[/prefix]
//! gs://bucket[/prefix]
//! az://account/container[/prefix]       az+https://host[:port]/account/container[/prefix]
//! ```
//! A bucket is part of the host (`dns`) or of the path (`path`); by itself the former at Amazon and the
//! latter everywhere else. `az+http` is for emulators, which have the account in the path.

use object_store::path::Path;

use crate::{Error, Result};

/// Where a bucket is, and what of it is ours.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) service: Service,
    pub(super) bucket: String,
    /// Our objects are below it; empty for all of the bucket.
    pub(super) prefix: Path,
}

/// Who keeps a bucket.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// S3, at an endpoint `http(s)://host[:port]` or else at Amazon's.
    S3 {
        endpoint: Option<String>,
        lookup: Lookup,
    },
    Google,
    /// An account at Azure, or at an endpoint.
    Azure {
        account: String,
        endpoint: Option<String>,
    },
}

/// Where the name of the bucket goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    Auto,
    Host,
    Path,
}

impl Address {
    /// Reads a URL, which is shown in messages as `shown`.
    pub(super) fn parse(url: &str, shown: &str) -> Result<Self> {
        let bad = |why: String| Error::Unsupported { place: shown.to_owned(), why };
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let rest = rest.split('#').next().unwrap_or_default();
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = path.split_once('/').unwrap_or((path, ""));
        // Who we are is said elsewhere.
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let (service, bucket, prefix) = match scheme.split_once('+') {
            Some(("s3", transport)) => {
                let endpoint = Some(endpoint(transport, host).ok_or_else(|| bad(no_host()))?);
                let lookup = lookup(query).map_err(bad)?;
                let (bucket, prefix) = first(path);
                (Service::S3 { endpoint, lookup }, bucket, prefix)
            }
            Some(("az", transport)) => {
                let host = endpoint(transport, host).ok_or_else(|| bad(no_host()))?;
                let (account, path) = first(path);
                let endpoint = Some(format!("{host}/{account}"));
                let (bucket, prefix) = first(path);
                (Service::Azure { account: account.to_owned(), endpoint }, bucket, prefix)
            }
            _ if scheme == "s3" => {
                let lookup = lookup(query).map_err(bad)?;
                (Service::S3 { endpoint: None, lookup }, host, path)
            }
            _ if scheme == "az" => {
                let (bucket, prefix) = first(path);
                (Service::Azure { account: host.to_owned(), endpoint: None }, bucket, prefix)
            }
            _ => (Service::Google, host, path),
        };
        if bucket.is_empty() || service.account() == Some("") {
            return Err(bad(format!("expected {} in path of {shown}", service.expected())));
        }
        if bucket.chars().any(|c| c.is_control() || "%\\<>\"^`{}|".contains(c)) {
            return Err(bad("not a possible name of a bucket".to_owned()));
        }
        let prefix = Path::from_url_path(prefix)
            .map_err(|e| bad(format!("not possible as the beginning of names: {e}")))?;
        Ok(Self { service, bucket: bucket.to_owned(), prefix })
    }
}

impl Service {
    fn account(&self) -> Option<&str> {
        match self {
            Service::Azure { account, .. } => Some(account),
            Service::S3 { .. } | Service::Google => None,
        }
    }

    fn expected(&self) -> &'static str {
        match self {
            Service::Azure { .. } => "account and container name",
            Service::S3 { .. } | Service::Google => "bucket name",
        }
    }

    /// What the service calls a bucket.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Service::Azure { .. } => "container",
            Service::S3 { .. } | Service::Google => "bucket",
        }
    }
}

fn no_host() -> String {
    "the URL names no host".to_owned()
}

fn endpoint(transport: &str, host: &str) -> Option<String> {
    (!host.is_empty()).then(|| format!("{transport}://{host}"))
}

/// The first part of a path, and the rest.
fn first(path: &str) -> (&str, &str) {
    path.split_once('/').unwrap_or((path, ""))
}

fn lookup(query: &str) -> std::result::Result<Lookup, String> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("lookup="));
    match value {
        None | Some("" | "auto") => Ok(Lookup::Auto),
        Some("dns") => Ok(Lookup::Host),
        Some("path") => Ok(Lookup::Path),
        Some(other) => Err(format!("unknown S3 bucket lookup type: \"{other}\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Address> {
        Address::parse(url, url)
    }

    fn s3(endpoint: Option<&str>, lookup: Lookup) -> Service {
        Service::S3 { endpoint: endpoint.map(str::to_owned), lookup }
    }

    #[test]
    fn urls_name_service_bucket_and_prefix() {
        let azure = |account: &str, endpoint: Option<&str>| Service::Azure {
            account: account.to_owned(),
            endpoint: endpoint.map(str::to_owned),
        };
        for (url, service, bucket, prefix) in [
            ("s3+http://h:1/b", s3(Some("http://h:1"), Lookup::Auto), "b", ""),
            ("s3+https://h/b/", s3(Some("https://h"), Lookup::Auto), "b", ""),
            (
                "s3+https://k:s@h/b/p/q/?lookup=path",
                s3(Some("https://h"), Lookup::Path),
                "b",
                "p/q",
            ),
            (
                "s3+http://[::1]:9/b?x=y&lookup=dns",
                s3(Some("http://[::1]:9"), Lookup::Host),
                "b",
                "",
            ),
            ("s3+http://h/b/a%20b?lookup=", s3(Some("http://h"), Lookup::Auto), "b", "a b"),
            ("s3://b/p?lookup=auto", s3(None, Lookup::Auto), "b", "p"),
            ("gs://some_bucket.x/p/", Service::Google, "some_bucket.x", "p"),
            ("gs://b", Service::Google, "b", ""),
            ("az://me/c/p", azure("me", None), "c", "p"),
            ("az+http://h:1/me/c/p", azure("me", Some("http://h:1/me")), "c", "p"),
        ] {
            let expected = Address {
                service,
                bucket: bucket.to_owned(),
                prefix: Path::parse(prefix).unwrap(),
            };
            assert_eq!(parse(url).unwrap(), expected, "{url}");
        }
    }

    #[test]
    fn what_names_no_bucket_is_refused() {
        for (url, expected) in [
            ("s3+http://h", "expected bucket name in path of s3+http://h"),
            ("s3+http://h/", "expected bucket name in path of s3+http://h/"),
            ("s3+http://h//p", "expected bucket name in path of s3+http://h//p"),
            ("s3:///p", "expected bucket name in path of s3:///p"),
            ("gs://", "expected bucket name in path of gs://"),
            ("az://me", "expected account and container name in path of az://me"),
            ("az+http://h/me/", "expected account and container name in path of az+http://h/me/"),
            ("s3+http:///b", "the URL names no host"),
            ("s3+http://h/b?lookup=x", "unknown S3 bucket lookup type: \"x\""),
            ("s3+http://h/b%0a/p", "not a possible name of a bucket"),
            ("s3+http://h/b/a//c", "not possible as the beginning of names"),
            ("gs://b/../c", "not possible as the beginning of names"),
        ] {
            let error = parse(url).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{url}: {expected}")), "{error}");
        }
    }
}
