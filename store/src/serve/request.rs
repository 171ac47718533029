//! What a client asks for: paths, ranges and conditions.

use std::borrow::Cow;
use std::ops::Range;

use hyper::header::{HeaderMap, HeaderValue, IF_NONE_MATCH, IF_RANGE, RANGE};
use hyper::{Method, Uri};

use crate::percent;

/// Where a path leads that has `//`, `/./` or `/../` in it, with the query; `None` for one that has
/// nothing of the kind. It begins with one slash, so that it leads to no other host.
pub(super) fn cleaned(uri: &Uri) -> Option<String> {
    let path = uri.path();
    if is_clean(path) {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let mut clean = format!("/{}", parts.join("/"));
    if path.ends_with('/') && clean.len() > 1 {
        clean.push('/');
    }
    if let Some(query) = uri.query() {
        clean = format!("{clean}?{query}");
    }
    Some(clean)
}

fn is_clean(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else { return false };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    path == "/"
        || (!rest.is_empty() && rest.split('/').all(|part| !matches!(part, "" | "." | "..")))
}

/// The path with `%41` as `A`. `None` for what is no UTF-8 then, or has a `%` that means nothing.
pub(super) fn decoded(path: &str) -> Option<Cow<'_, str>> {
    if !path.contains('%') {
        return Some(Cow::Borrowed(path));
    }
    String::from_utf8(percent::decoded(path)?).ok().map(Cow::Owned)
}

/// How something is asked for.
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    pub(super) headers: &'a HeaderMap,
}

/// How much of something is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    All,
    Part(Range<u64>),
    /// The client has it already.
    Nothing,
    /// A part that there is not.
    Impossible,
}

impl Asked<'_> {
    pub(super) fn is_head(&self) -> bool {
        *self.method == Method::HEAD
    }

    /// How much is wanted of something so long and with this tag. What has no tag is sent whole.
    pub(super) fn wanted(&self, etag: Option<&[u8]>, len: u64) -> Wanted {
        let Some(etag) = etag else { return Wanted::All };
        if self.headers.get_all(IF_NONE_MATCH).iter().any(|tags| lists(tags, etag)) {
            return Wanted::Nothing;
        }
        let is_for_this =
            || self.headers.get(IF_RANGE).is_none_or(|condition| condition.as_bytes() == etag);
        match self.headers.get(RANGE) {
            Some(range) if !self.is_head() && is_for_this() => part(range, len),
            _ => Wanted::All,
        }
    }
}

/// Whether a tag is in a list such as `"a", W/"b"`, or the list is `*`.
fn lists(tags: &HeaderValue, wanted: &[u8]) -> bool {
    let mut tags = tags.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    tags.any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == wanted)
}

/// The part that a header such as `bytes=0-99` asks for. What is not understood, or several parts, is
/// as if nothing were said.
fn part(header: &HeaderValue, len: u64) -> Wanted {
    let range = header.to_str().ok().and_then(|text| text.strip_prefix("bytes="));
    let Some((first, last)) = range.and_then(|range| range.split_once('-')) else {
        return Wanted::All;
    };
    let number = |text: &str| -> Option<u64> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // Of one too large for us all that matters is that it is large.
        is_number.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let range = match (number(first.trim()), number(last.trim())) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(len),
        (Some(first), None) if last.trim().is_empty() => first..len,
        (None, Some(count)) if first.trim().is_empty() => len.saturating_sub(count)..len,
        _ => return Wanted::All,
    };
    if range.start >= range.end { Wanted::Impossible } else { Wanted::Part(range) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_by_go() {
        for (path, clean) in [
            ("//a/b", Some("/a/b")),
            ("/a//b?x=//", Some("/a/b?x=//")),
            ("/./a", Some("/a")),
            ("/a/../../b", Some("/b")),
            ("/a/..", Some("/")),
            ("/a/.//", Some("/a/")),
            ("//", Some("/")),
            ("//host.example/..", Some("/")),
            ("/", None),
            ("/a", None),
            ("/a/b/", None),
            ("/a/..b/.c", None),
            ("/%2e%2e/a", None),
        ] {
            assert_eq!(cleaned(&path.parse().unwrap()).as_deref(), clean, "{path}");
        }
    }

    #[test]
    fn percents_are_decoded_once() {
        for (path, expected) in [
            ("/a", Some("/a")),
            ("/a%2Fb%2e", Some("/a/b.")),
            ("/%252e", Some("/%2e")),
            ("/%C3%A9", Some("/é")),
            ("/%ff", None),
            ("/%zz", None),
            ("/%+1", None),
            ("/%4", None),
            ("/%", None),
        ] {
            assert_eq!(decoded(path).as_deref(), expected, "{path}");
        }
    }

    fn wanted(headers: &[(&'static str, &str)]) -> Wanted {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        Asked { method: &Method::GET, headers: &map }.wanted(Some(b"\"tag\""), 100)
    }

    #[test]
    fn ranges_are_parts() {
        for (range, expected) in [
            ("bytes=0-0", Wanted::Part(0..1)),
            ("bytes=10-", Wanted::Part(10..100)),
            ("bytes=90-1000", Wanted::Part(90..100)),
            ("bytes=90-99999999999999999999999999", Wanted::Part(90..100)),
            ("bytes=-10", Wanted::Part(90..100)),
            ("bytes=-1000", Wanted::Part(0..100)),
            ("bytes=100-", Wanted::Impossible),
            ("bytes=99999999999999999999999999-", Wanted::Impossible),
            ("bytes=-0", Wanted::Impossible),
            ("bytes=5-4", Wanted::All),
            ("bytes=-", Wanted::All),
            ("bytes=0-1,5-6", Wanted::All),
            ("bytes=+1-2", Wanted::All),
            ("lines=0-1", Wanted::All),
        ] {
            assert_eq!(wanted(&[("range", range)]), expected, "{range}");
        }
    }

    #[test]
    fn conditions_come_first() {
        for (headers, expected) in [
            (&[("if-none-match", "\"tag\"")][..], Wanted::Nothing),
            (&[("if-none-match", "\"x\", W/\"tag\""), ("range", "bytes=0-1")], Wanted::Nothing),
            (&[("if-none-match", "*")], Wanted::Nothing),
            (&[("if-none-match", "\"x\"")], Wanted::All),
            (&[("if-range", "\"tag\""), ("range", "bytes=0-1")], Wanted::Part(0..2)),
            (&[("if-range", "\"x\""), ("range", "bytes=0-1")], Wanted::All),
        ] {
            assert_eq!(wanted(headers), expected, "{headers:?}");
        }
    }
}
