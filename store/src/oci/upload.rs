//! A blob's way up.
//!
//! ```text
//! HEAD blobs/<digest> -404-> POST blobs/uploads/ -> 202, Location -> PUT Location + digest -> 201
//! ```
//! What is there is not sent again. That is not for the bytes alone: a registry over plain files writes
//! anew what it is sent again, and for a moment whoever reads finds nothing.

use bytes::Bytes;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use reqwest::{Method, Response, StatusCode, Url};

use super::registry::{Need, Registry};
use crate::http::refusal;
use crate::{Again, Error, Result};

/// Uploads a blob unless it is there, and tells whether it was not; `place` is what it is for, in
/// messages.
pub(super) async fn upload(
    registry: &Registry,
    place: &str,
    digest: &str,
    bytes: Bytes,
) -> Result<bool> {
    let url = registry.repository().url(&format!("blobs/{digest}"));
    let look = registry.request(Method::HEAD, url);
    let response = registry.send(Need::Push, place, look).await?;
    match response.status() {
        StatusCode::OK => return Ok(false),
        StatusCode::NOT_FOUND => {}
        _ => return Err(refusal(place, response).await),
    }
    let url = registry.repository().url("blobs/uploads/");
    let begin = registry.request(Method::POST, url.clone()).header(CONTENT_LENGTH, 0);
    let response = registry.send(Need::Push, place, begin).await?;
    if response.status() != StatusCode::ACCEPTED {
        return Err(refusal(place, response).await);
    }
    let target = target(registry, &url, &response, digest).map_err(|why| {
        let (place, why) = (place.to_owned(), why.to_owned());
        Error::Unreachable { place, why, again: Again::No }
    })?;
    let send = registry
        .request(Method::PUT, target)
        .header(CONTENT_TYPE, "application/octet-stream")
        .body(bytes);
    let response = registry.send(Need::Push, place, send).await?;
    match response.status() {
        StatusCode::CREATED | StatusCode::NO_CONTENT => Ok(true),
        _ => Err(refusal(place, response).await),
    }
}

/// Where the bytes go.
fn target(
    registry: &Registry,
    asked: &Url,
    response: &Response,
    digest: &str,
) -> std::result::Result<Url, &'static str> {
    let location = response.headers().get(LOCATION).ok_or("it does not say where to upload to")?;
    let location = location.to_str().ok().and_then(|location| asked.join(location).ok());
    let mut url = location.ok_or("where to upload to is not a proper URL")?;
    if !registry.repository().is_safe(&url) {
        return Err("it wants chunks to be uploaded in the clear, although it is asked by https");
    }
    url.query_pairs_mut().append_pair("digest", digest);
    Ok(url)
}
