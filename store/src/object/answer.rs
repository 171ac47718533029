//! What a refusal, or silence, means for the caller.
//!
//! ```text
//! no such object                           missing, which is no error
//! no such bucket                           unreachable, no use in trying again
//! 401 403, expired or unknown keys         denied
//! 429, "slow down"                         unreachable, try again, slower
//! 408 409 5xx, no connection, no answer    unreachable, try again
//! anything else                            unreachable, no use in trying again
//! ```

use std::error::Error as StdError;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::HeaderMap;

use super::keys::NoKeys;
use super::transport::Late;
use crate::http::{failure, retry_after};
use crate::{Again, Error, Result};

/// What a server says of an error is shown up to this length, in characters.
const LONGEST_EXPLANATION: usize = 200;

/// So `object_store` begins when it was not told who we are, neither by Google nor by Azure.
const OF_LOGIN: &str = "Error performing token request";

/// An answer that is no success.
#[derive(Debug, thiserror::Error)]
#[error("{status}")]
pub(super) struct Refusal {
    status: StatusCode,
    /// The service's word for what is wrong, or empty.
    code: String,
    /// The same for people, or empty.
    message: String,
    /// When to come again.
    after: Option<Duration>,
    /// The region that the bucket is in.
    region: Option<String>,
}

impl Refusal {
    /// What an answer says; all services use the same XML.
    pub(super) fn new(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let header = |name| Some(printable(headers.get(name)?.to_str().ok()?));
        let code = element(&text, "Code").or_else(|| header("x-ms-error-code"));
        let region = header("x-amz-bucket-region").or_else(|| element(&text, "Region"));
        Self {
            status,
            code: code.unwrap_or_default(),
            message: element(&text, "Message").or_else(|| plain(&text)).unwrap_or_default(),
            after: retry_after(headers),
            region,
        }
    }

    /// The error in an answer that began as a success.
    pub(super) fn in_success(body: &[u8]) -> Option<Self> {
        let start = &body[..body.len().min(512)];
        let text = String::from_utf8_lossy(start);
        let text = text.trim_start();
        let root = match text.strip_prefix("<?") {
            Some(rest) => rest.split_once("?>")?.1.trim_start(),
            None => text,
        };
        root.starts_with("<Error>")
            .then(|| Self::new(StatusCode::INTERNAL_SERVER_ERROR, &HeaderMap::new(), body))
    }

    fn is_missing(&self) -> bool {
        let codes = ["", "NoSuchKey", "BlobNotFound", "NotFound", "NoSuchObject"];
        matches!(self.status, StatusCode::NOT_FOUND | StatusCode::GONE)
            && codes.contains(&self.code.as_str())
    }

    fn is_denied(&self) -> bool {
        let codes = [
            "AccessDenied",
            "AuthenticationFailed",
            "ExpiredToken",
            "InvalidAccessKeyId",
            "InvalidToken",
            "SignatureDoesNotMatch",
            "TokenRefreshRequired",
        ];
        matches!(
            self.status,
            StatusCode::UNAUTHORIZED
                | StatusCode::FORBIDDEN
                | StatusCode::PROXY_AUTHENTICATION_REQUIRED
        ) || codes.contains(&self.code.as_str())
    }

    fn again(&self) -> Again {
        let is_slow = matches!(self.code.as_str(), "SlowDown" | "ServerBusy" | "TooManyRequests");
        let may_pass = self.status.is_server_error() && self.status != StatusCode::NOT_IMPLEMENTED
            || matches!(self.status, StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT)
            // Amazon says so with 400.
            || self.code == "RequestTimeout";
        match self.after {
            Some(time) if may_pass || is_slow => Again::After(time),
            _ if is_slow => Again::After(Duration::ZERO),
            time if self.status == StatusCode::TOO_MANY_REQUESTS => {
                Again::After(time.unwrap_or_default())
            }
            _ if may_pass => Again::Yes,
            _ => Again::No,
        }
    }

    fn explanation(&self) -> String {
        match (self.code.as_str(), self.message.as_str()) {
            ("", "") => self.status.to_string(),
            ("", message) => format!("{}: {message}", self.status),
            (code, "") => format!("{}: {code}", self.status),
            (code, message) => format!("{}: {code}: {message}", self.status),
        }
    }
}

/// What an error means, of the bucket that messages call `bucket`: `bucket 'x'`.
pub(super) fn judged(place: String, bucket: &str, error: &object_store::Error) -> Error {
    let is_of_login = chain(error).any(|error| error.to_string().starts_with(OF_LOGIN));
    let named = |why: String| match is_of_login {
        true => format!("no credentials could be had ({why})"),
        false => why,
    };
    match judged_cause(place, bucket, error) {
        Error::Denied { place, why } => Error::Denied { place, why: named(why) },
        Error::Unreachable { place, why, again } => {
            Error::Unreachable { place, why: named(why), again }
        }
        other => other,
    }
}

fn judged_cause(place: String, bucket: &str, error: &object_store::Error) -> Error {
    if let Some(refusal) = find::<Refusal>(error) {
        return judged_refusal(place, bucket, refusal);
    }
    if let Some(error) = find::<reqwest::Error>(error) {
        return failure(&place, error);
    }
    if let Some(NoKeys(why)) = find(error) {
        return Error::Denied { place, why: why.clone() };
    }
    if let Some(late) = find::<Late>(error) {
        return Error::Unreachable { place, why: late.to_string(), again: Again::Yes };
    }
    // Outer errors may tell the whole URL, which can hold a signature.
    let text = chain(error).last().map(ToString::to_string).unwrap_or_default();
    // The outcome of one of many that were removed.
    let is_denied = text.contains("(code: AccessDenied)");
    let may_pass = ["(code: InternalError)", "(code: SlowDown)", "(code: ServiceUnavailable)"];
    let again =
        if may_pass.iter().any(|code| text.contains(code)) { Again::Yes } else { Again::No };
    let why = printable(&text);
    match is_denied {
        true => Error::Denied { place, why },
        false => Error::Unreachable { place, why, again },
    }
}

fn judged_refusal(place: String, bucket: &str, refusal: &Refusal) -> Error {
    if matches!(refusal.code.as_str(), "NoSuchBucket" | "ContainerNotFound") {
        let why = format!("{bucket} does not exist");
        return Error::Unreachable { place, why, again: Again::No };
    }
    let is_elsewhere = refusal.status.is_redirection()
        || matches!(refusal.code.as_str(), "AuthorizationHeaderMalformed" | "PermanentRedirect");
    let why = match &refusal.region {
        Some(region) if is_elsewhere => {
            format!("{bucket} is in region {region}: set S3_REGION={region}")
        }
        _ => refusal.explanation(),
    };
    match refusal.is_denied() {
        true => Error::Denied { place, why },
        false => Error::Unreachable { place, why, again: refusal.again() },
    }
}

/// `None` for what is missing.
pub(super) fn found<T>(
    outcome: object_store::Result<T>,
    judge: impl FnOnce(&object_store::Error) -> Error,
) -> Result<Option<T>> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(e) if find::<Refusal>(&e).is_some_and(Refusal::is_missing) => Ok(None),
        Err(e) => Err(judge(&e)),
    }
}

/// Whether the server knows no such kind of request.
pub(super) fn is_unknown(error: &object_store::Error) -> bool {
    let status = find::<Refusal>(error).map(|refusal| refusal.status);
    matches!(
        status,
        Some(
            StatusCode::BAD_REQUEST
                | StatusCode::NOT_FOUND
                | StatusCode::METHOD_NOT_ALLOWED
                | StatusCode::NOT_IMPLEMENTED
        )
    )
}

fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    chain(error).find_map(|error| error.downcast_ref())
}

/// The text of the first element of this name.
fn element(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (inner, _) = rest.split_once(&format!("</{name}>"))?;
    let mut inner = inner.to_owned();
    for (escaped, character) in [
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&#39;", "'"),
        ("&#34;", "\""),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&amp;", "&"),
    ] {
        inner = inner.replace(escaped, character);
    }
    Some(printable(inner.lines().next().unwrap_or_default().trim()))
        .filter(|inner| !inner.is_empty())
}

/// The first line, if it is text for people.
fn plain(text: &str) -> Option<String> {
    let line = text.lines().next()?.trim();
    (!line.is_empty() && !line.starts_with(['<', '{'])).then(|| printable(line))
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST_EXPLANATION).collect()
}

#[cfg(test)]
mod tests {
    use object_store::client::{HttpError, HttpErrorKind};

    use super::*;

    fn refusal(status: u16, body: &str) -> Refusal {
        Refusal::new(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes())
    }

    fn xml(code: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>it&apos;s so\nand so</Message></Error>"
        )
    }

    fn wrapped(refusal: Refusal) -> object_store::Error {
        let source = HttpError::new(HttpErrorKind::Unknown, refusal);
        object_store::Error::Generic { store: "S3", source: Box::new(source) }
    }

    fn verdict(status: u16, code: &str) -> (bool, Option<Again>, String) {
        let body = if code.is_empty() { String::new() } else { xml(code) };
        let outcome: object_store::Result<()> = Err(wrapped(refusal(status, &body)));
        let judge = |error: &object_store::Error| judged("place".to_owned(), "bucket 'b'", error);
        match found(outcome, judge) {
            Ok(there) => (there.is_none(), None, String::new()),
            Err(Error::Denied { why, .. }) => (false, None, why),
            Err(e) => (false, Some(e.again()), e.to_string()),
        }
    }

    #[test]
    fn only_a_missing_object_is_missing() {
        for (status, code) in [(404, ""), (404, "NoSuchKey"), (404, "BlobNotFound"), (410, "")] {
            assert!(verdict(status, code).0, "{status} {code}");
        }
        for (status, code) in
            [(404, "NoSuchBucket"), (403, ""), (403, "NoSuchKey"), (404, "NoSuchUpload"), (500, "")]
        {
            assert!(!verdict(status, code).0, "{status} {code}");
        }
        let (_, again, text) = verdict(404, "NoSuchBucket");
        assert_eq!((again, text.as_str()), (Some(Again::No), "place: bucket 'b' does not exist"));
        assert_eq!(verdict(404, "ContainerNotFound").1, Some(Again::No));
    }

    #[test]
    fn refusals_say_what_to_do() {
        let now = Some(Again::After(Duration::ZERO));
        for (status, code, again) in [
            (503, "SlowDown", now),
            (429, "", now),
            (503, "ServerBusy", now),
            (500, "InternalError", Some(Again::Yes)),
            (503, "", Some(Again::Yes)),
            (400, "RequestTimeout", Some(Again::Yes)),
            (409, "OperationAborted", Some(Again::Yes)),
            (501, "NotImplemented", Some(Again::No)),
            (400, "InvalidArgument", Some(Again::No)),
            (416, "", Some(Again::No)),
            (403, "SignatureDoesNotMatch", None),
            (400, "ExpiredToken", None),
            (401, "", None),
        ] {
            let (missing, found, text) = verdict(status, code);
            assert_eq!((missing, found), (false, again), "{status} {code} {text}");
            assert!(text.contains(&status.to_string()) && text.contains(code), "{text}");
        }
        assert_eq!(
            verdict(403, "SignatureDoesNotMatch").2,
            "403 Forbidden: SignatureDoesNotMatch: it's so"
        );
    }

    #[test]
    fn a_bucket_elsewhere_is_said_to_be_there() {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-bucket-region", "eu-west-1".parse().unwrap());
        let refusal = Refusal::new(StatusCode::MOVED_PERMANENTLY, &headers, b"");
        let error = judged("p".to_owned(), "bucket 'b'", &wrapped(refusal));
        assert_eq!(
            error.to_string(),
            "p: bucket 'b' is in region eu-west-1: set S3_REGION=eu-west-1"
        );
        let body = "<Error><Code>AuthorizationHeaderMalformed</Code><Region>r-1</Region></Error>";
        let error = judged("p".to_owned(), "bucket 'b'", &wrapped(refusal_400(body)));
        assert!(error.to_string().ends_with("set S3_REGION=r-1"), "{error}");
    }

    fn refusal_400(body: &str) -> Refusal {
        refusal(400, body)
    }

    #[test]
    fn who_could_not_log_in_is_told_so() {
        #[derive(Debug, thiserror::Error)]
        #[error("Error performing token request: {0}")]
        struct Login(#[source] std::io::Error);
        let source = Box::new(Login(std::io::Error::other("nobody there")));
        let error = object_store::Error::Generic { store: "GCS", source };
        assert_eq!(
            judged("p".to_owned(), "bucket 'b'", &error).to_string(),
            "p: no credentials could be had (nobody there)"
        );
    }

    #[test]
    fn errors_hide_in_successes() {
        let error = Refusal::in_success(xml("InternalError").as_bytes()).unwrap();
        assert_eq!((error.again(), error.code.as_str()), (Again::Yes, "InternalError"));
        for fine in ["", "<DeleteResult><Error><Key>k</Key></Error></DeleteResult>", "<?xml"] {
            assert!(Refusal::in_success(fine.as_bytes()).is_none(), "{fine}");
        }
    }

    #[test]
    fn what_servers_say_is_cut_short() {
        let long = format!("<Message>{}\u{7}</Message>", "x".repeat(100_000));
        assert_eq!(refusal(400, &long).message.len(), LONGEST_EXPLANATION);
        assert_eq!(refusal(400, "<html><body>no</body>").explanation(), "400 Bad Request");
    }
}
