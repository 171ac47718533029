//! The URL of a store, and the URLs of its parts.
//!
//! ```text
//! oci+https://host:5000/team/store
//!   -> https://host:5000/v2/team/store/manifests/<tag>
//!                                     /blobs/<digest>   /blobs/uploads/   /tags/list
//! ```

use reqwest::Url;

use crate::{Error, Result};

/// What docker calls its own registry, and where that is.
const DOCKER: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// A repository in a registry.
pub(super) struct Repository {
    /// The URL that all others begin with, without a slash at its end.
    base: Url,
    /// The host as the user has typed it, with its port.
    host: String,
    name: String,
    /// For messages.
    shown: String,
}

impl Repository {
    /// The repository that `oci+http(s)://host[:port]/name` names; `shown` is that without secrets.
    pub(super) fn new(location: &str, shown: &str) -> Result<Self> {
        let bad = |why: String| Error::Unsupported { place: shown.to_owned(), why };
        let url = location.strip_prefix("oci+").unwrap_or(location);
        let mut base: Url = url.parse().map_err(|e| bad(format!("not a proper URL: {e}")))?;
        if !base.username().is_empty() || base.password().is_some() {
            return Err(bad("the URL of a registry holds no user and no password".to_owned()));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(bad("the URL of a registry has no query".to_owned()));
        }
        let name = base.path().trim_matches('/').to_owned();
        if !is_name(&name) {
            let why = "the host must be followed by the name of a repository: words of lower-case \
                       letters, digits, and single `.`, `_` or `-` between them, with slashes";
            return Err(bad(why.to_owned()));
        }
        let host = match (base.host_str(), base.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
            (None, _) => return Err(bad("there is no host in the URL".to_owned())),
        };
        if host == DOCKER.0 {
            base.set_host(Some(DOCKER.1)).map_err(|e| bad(e.to_string()))?;
        }
        base.set_path(&format!("/v2/{name}"));
        let shown = shown.trim_end_matches('/').to_owned();
        Ok(Self { base, host, name, shown })
    }

    /// The URL of a part, such as `manifests/latest`.
    pub(super) fn url(&self, part: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("/v2/{}/{part}", self.name));
        url
    }

    /// The host as the user has typed it, with its port.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// What a tag is called in messages.
    pub(super) fn place(&self, tag: &str) -> String {
        format!("{}:{tag}", self.shown)
    }

    /// The store itself in messages.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// Whether a URL leads to the registry itself.
    pub(super) fn is_ours(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    /// Whether a URL is one to send something of ours to: not in the clear, unless the registry is
    /// asked in the clear anyway.
    pub(super) fn is_safe(&self, url: &Url) -> bool {
        url.scheme() == "https" || (url.scheme() == "http" && self.base.scheme() == "http")
    }
}

/// Whether the specification allows it as the name of a repository.
fn is_name(name: &str) -> bool {
    let is_separator = |text: &str| {
        matches!(text, "." | "_" | "__") || (!text.is_empty() && text.bytes().all(|b| b == b'-'))
    };
    let is_alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    name.split('/').all(|word| {
        let ends = [word.bytes().next(), word.bytes().last()];
        ends.iter().all(|end| end.is_some_and(is_alphanumeric))
            && word
                .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                .all(|between| between.is_empty() || is_separator(between))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_repository_have_urls() {
        for (location, expected) in [
            ("oci+https://h/a", "https://h/v2/a/tags/list"),
            ("oci+http://h:5000/a/b-c/", "http://h:5000/v2/a/b-c/tags/list"),
            ("oci+https://h:443/a__b/c.d", "https://h/v2/a__b/c.d/tags/list"),
            ("oci+https://docker.io/me/x", "https://registry-1.docker.io/v2/me/x/tags/list"),
        ] {
            let repository = Repository::new(location, location).unwrap();
            assert_eq!(repository.url("tags/list").as_str(), expected);
        }
        let repository = Repository::new("oci+https://docker.io/me/x/", "shown/").unwrap();
        assert_eq!(repository.host(), "docker.io");
        assert_eq!(repository.place("t"), "shown:t");
        let with_port = Repository::new("oci+http://h:5000/x", "").unwrap();
        assert_eq!(with_port.host(), "h:5000");
    }

    #[test]
    fn what_is_no_repository_is_refused() {
        for location in [
            "oci+https://h",
            "oci+https://h/",
            "oci+https://h//",
            "oci+https://h/A",
            "oci+https://h/a//b",
            "oci+https://h/-a",
            "oci+https://h/a..b",
            "oci+https://h/a___b",
            "oci+https://h/a%20b",
            "oci+https://h/a?x",
            "oci+https://h/a#x",
            "oci+https://u:p@h/a",
            "oci+https://u@h/a",
            "oci+https://",
            "oci+https://h:x/a",
        ] {
            let refused = Repository::new(location, "shown");
            assert!(matches!(refused, Err(Error::Unsupported { .. })), "{location}");
        }
    }

    #[test]
    fn only_the_registry_itself_is_ours_and_only_https_is_safe() {
        let secure = Repository::new("oci+https://h/a", "").unwrap();
        let clear = Repository::new("oci+http://h:80/a", "").unwrap();
        for (url, of_secure, of_clear) in [
            ("https://h/x", (true, true), (false, true)),
            ("https://h:443/x", (true, true), (false, true)),
            ("http://h/x", (false, false), (true, true)),
            ("https://h:444/x", (false, true), (false, true)),
            ("https://h.evil/x", (false, true), (false, true)),
            ("ftp://h/x", (false, false), (false, false)),
        ] {
            let url: Url = url.parse().unwrap();
            assert_eq!((secure.is_ours(&url), secure.is_safe(&url)), of_secure, "{url}");
            assert_eq!((clear.is_ours(&url), clear.is_safe(&url)), of_clear, "{url}");
        }
    }
}
