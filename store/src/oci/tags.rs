//! The list of what is in a repository, page by page.
//!
//! ```text
//! GET tags/list?n=1000 -> {tags: […]}, Link: <…>; rel="next" -> …
//! ```
//! Not all registries heed `n`: some send all tags at once, which are as many as there are chunks.

use std::fmt;

use reqwest::header::{HeaderMap, LINK};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use super::registry::{Need, Registry};
use crate::http::{body, refusal};
use crate::remote::objects::collect;
use crate::{Again, Error, Result};

/// How many tags are asked for at once. desync's number, and the most that some registries give.
const COUNT: &str = "1000";

/// The longest page, in bytes: some three million chunks.
const LONGEST_PAGE: usize = 256 << 20;

/// Hex digits of an id, with which the tag of a chunk begins.
const ID: usize = 64;

/// How far a list has come.
#[derive(Default)]
pub(crate) enum Cursor {
    #[default]
    Start,
    At(Url),
    End,
}

#[derive(Deserialize)]
struct Page {
    tags: Option<Tags>,
}

/// The tags that may be those of chunks.
struct Tags(Vec<String>);

/// The next tags that may be those of chunks, or `None` at the end.
pub(super) async fn next(registry: &Registry, cursor: &mut Cursor) -> Result<Option<Vec<String>>> {
    let url = match std::mem::replace(cursor, Cursor::End) {
        Cursor::Start => {
            let mut url = registry.repository().url("tags/list");
            url.query_pairs_mut().append_pair("n", COUNT);
            url
        }
        Cursor::At(url) => url,
        Cursor::End => return Ok(None),
    };
    let place = registry.repository().shown();
    let request = registry.request(Method::GET, url.clone());
    let response = registry.send(Need::Pull, place, request).await?;
    match response.status() {
        StatusCode::OK => {}
        // Nothing was ever put there.
        StatusCode::NOT_FOUND => return Ok(None),
        _ => return Err(refusal(place, response).await),
    }
    let bad = |why: String| {
        let place = place.to_owned();
        Error::Unreachable { place, why, again: Again::No }
    };
    let next = link(response.headers());
    let bytes = collect(body(place.to_owned(), response), LONGEST_PAGE, place).await?;
    let page: Page =
        serde_json::from_slice(&bytes).map_err(|e| bad(format!("not a list of tags: {e}")))?;
    if let Some(next) = next {
        let next = url.join(&next).map_err(|e| bad(format!("where its list goes on: {e}")))?;
        if !registry.repository().is_ours(&next) || next == url {
            return Err(bad("its list goes on in another place, or never ends".to_owned()));
        }
        *cursor = Cursor::At(next);
    }
    Ok(Some(page.tags.map_or(Vec::new(), |tags| tags.0)))
}

/// The target of the `Link` header for what comes next.
fn link(headers: &HeaderMap) -> Option<String> {
    let texts = headers.get_all(LINK).iter().filter_map(|text| text.to_str().ok());
    // A URL may hold commas, so the links cannot be split at them.
    texts.flat_map(|text| text.split('<').skip(1)).find_map(|link| {
        let (target, parameters) = link.split_once('>')?;
        let is_next = parameters.split([';', ',']).any(|parameter| {
            parameter.split_once('=').is_some_and(|(name, value)| {
                let value = value.trim().trim_matches('"');
                name.trim().eq_ignore_ascii_case("rel") && value.eq_ignore_ascii_case("next")
            })
        });
        is_next.then(|| target.to_owned())
    })
}

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_seq(TagsVisitor)
    }
}

struct TagsVisitor;

impl<'de> Visitor<'de> for TagsVisitor {
    type Value = Tags;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of tags")
    }

    /// Other tags are dropped at once: a list of them is no reason to take more memory.
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Tags, A::Error> {
        let mut tags = Vec::new();
        while let Some(tag) = list.next_element::<String>()? {
            if is_of_chunk(&tag) {
                tags.push(tag);
            }
        }
        Ok(Tags(tags))
    }
}

/// Whether a tag begins as that of a chunk does.
pub(super) fn is_of_chunk(tag: &str) -> bool {
    let is_hex = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    tag.as_bytes().get(..ID).is_some_and(|id| id.iter().all(is_hex))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_where_it_goes_on() {
        for (text, expected) in [
            (r#"</v2/a/tags/list?last=x&n=2>; rel="next""#, Some("/v2/a/tags/list?last=x&n=2")),
            ("<?a,b>;rel=next", Some("?a,b")),
            (r#"<x>; rel="prev", <y>; title="z"; rel="next""#, Some("y")),
            (r#"<x>; rel="prev""#, None),
            ("x; rel=next", None),
            ("<x; rel=next", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, text.parse().unwrap());
            assert_eq!(link(&headers).as_deref(), expected, "{text}");
        }
        assert_eq!(link(&HeaderMap::new()), None);
    }

    #[test]
    fn only_tags_of_chunks_are_kept() {
        let tags = |json: &str| -> Option<Vec<String>> {
            let page: Page = serde_json::from_str(json).ok()?;
            Some(page.tags.map_or(Vec::new(), |tags| tags.0))
        };
        let id = "0123456789abcdef".repeat(4);
        let json = format!(r#"{{"name": "a", "tags": ["latest", "{id}.cacnk", "{id}", "é{id}"]}}"#);
        assert_eq!(tags(&json), Some(vec![format!("{id}.cacnk"), id]));
        assert_eq!(tags(r#"{"name": "a", "tags": null}"#), Some(vec![]));
        assert_eq!(tags(r#"{"name": "a"}"#), Some(vec![]));
        for junk in [r#"{"tags": {}}"#, r#"{"tags": [7]}"#, "[]", "", "<html>"] {
            assert_eq!(tags(junk), None, "{junk}");
        }
    }
}
