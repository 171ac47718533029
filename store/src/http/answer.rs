//! What a server's answer, or its silence, means for the caller.
//!
//! ```text
//! no connection, reset, short body   unreachable, try again
//! certificate refused                unreachable, no use in trying again
//! 401 403 407                        denied
//! 408 429 5xx                        unreachable, try again, when it says so
//! anything else                      unreachable, no use in trying again
//! ```

use std::error::Error as _;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::StreamExt;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};

use crate::remote::objects::Body;
use crate::{Again, Error, Result};

/// What a server says of an error is shown up to this length, in bytes.
const LONGEST_EXPLANATION: usize = 200;

/// A request that was not answered.
pub(crate) fn failure(place: &str, error: &reqwest::Error) -> Error {
    let why = cause(error);
    // The other side was reached, and is or has not what we want.
    let is_final = error.is_builder()
        || error.is_redirect()
        || ["certificate", "HandshakeFailure", "UnknownCA", "no cipher"]
            .iter()
            .any(|text| why.contains(text));
    let again = if is_final { Again::No } else { Again::Yes };
    Error::Unreachable { place: place.to_owned(), why, again }
}

/// What lies at the bottom of an error; those above only say that a request was made, and of what URL.
pub(super) fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let chain = std::iter::successors(error.source(), |&error| error.source());
    let texts: Vec<String> = chain.map(|error| error.to_string()).collect();
    match texts.last() {
        Some(text) if error.is_redirect() => format!("redirected without end: {text}"),
        Some(text) => text.clone(),
        None if error.is_builder() => "not a proper URL".to_owned(),
        None => "the request failed".to_owned(),
    }
}

/// An answer that is neither what was wanted nor that it is missing.
pub(crate) async fn refusal(place: &str, response: Response) -> Error {
    let status = response.status();
    let again = again(status, response.headers());
    let explanation = explanation(response).await;
    let why = format!("{status}{explanation}");
    let place = place.to_owned();
    match status {
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::PROXY_AUTHENTICATION_REQUIRED => Error::Denied { place, why },
        _ => Error::Unreachable { place, why, again },
    }
}

fn again(status: StatusCode, headers: &HeaderMap) -> Again {
    let may_pass = status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED
        || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
    match retry_after(headers) {
        _ if !may_pass => Again::No,
        Some(time) => Again::After(time),
        None if status == StatusCode::TOO_MANY_REQUESTS => Again::After(Duration::ZERO),
        None => Again::Yes,
    }
}

/// The time in a `Retry-After` header, which is in seconds or a date.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

/// The first line of what the server has to say, if it is text for people.
async fn explanation(response: Response) -> String {
    let mut text = Vec::new();
    let mut body = response.bytes_stream();
    while let Some(Ok(some)) = body.next().await {
        text.extend_from_slice(&some[..some.len().min(LONGEST_EXPLANATION - text.len())]);
        if text.len() == LONGEST_EXPLANATION {
            break;
        }
    }
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() || line.starts_with('<') {
        return String::new();
    }
    let printable: String = line.chars().filter(|c| !c.is_control()).collect();
    format!(": {printable}")
}

/// The body of an answer, as it arrives.
pub(crate) fn body(place: String, response: Response) -> Body {
    let part = move |part: reqwest::Result<Bytes>| -> Result<Bytes> {
        part.map_err(|e| failure(&place, &e))
    };
    Box::pin(response.bytes_stream().map(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(retry_after: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, retry_after.parse().unwrap());
        headers
    }

    #[test]
    fn a_server_says_when_to_come_again() {
        let after = |seconds| Again::After(Duration::from_secs(seconds));
        for (status, header, expected) in [
            (429, "7", after(7)),
            (503, " 120 ", after(120)),
            (503, "soon", Again::Yes),
            (503, "-1", Again::Yes),
            (503, "Sun, 06 Nov 1994 08:49:37 GMT", after(0)),
            (404, "7", Again::No),
            (501, "7", Again::No),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(again(status, &headers(header)), expected, "{status} {header}");
        }
        assert_eq!(again(StatusCode::BAD_GATEWAY, &HeaderMap::new()), Again::Yes);
        assert_eq!(again(StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new()), after(0));
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        let time = retry_after(&headers(&date)).unwrap();
        assert!((90..=100).contains(&time.as_secs()), "{time:?}");
    }
}
