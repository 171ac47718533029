//! How requests to all services are made.
//!
//! ```text
//! request -> the client of web servers -> answer: an object -> as it comes
//!                                                 anything else -> whole, if it is not too long
//!                                                 a refusal -> an error that keeps what was said
//! ```
//! So certificates and proxies are those of other stores, nothing is read without bound, and what a
//! server says is known where the error is judged.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt;
use object_store::ClientOptions;
use object_store::client::{
    ClientConfigKey, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest,
    HttpResponse, HttpResponseBody, HttpService, ReqwestConnector,
};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, Method};

use super::answer::Refusal;
use crate::http::client;
use crate::{RemoteOptions, Result};

/// A page of a listing, or the outcome of removing a thousand objects, is not nearly as long, in bytes.
const LONGEST_ANSWER: usize = 16 << 20;

/// What a server says of an error is read up to this length, in bytes.
const LONGEST_REFUSAL: usize = 16 << 10;

/// A request that carries more takes its time: the timeout is for each begun mebibyte.
const TIMED: usize = 1 << 20;

/// As [`client`] does it; `object_store` sets another for services of the machine itself.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Makes the requests of one store.
#[derive(Clone, Debug)]
pub(super) struct Transport {
    client: Client,
    timeout: Option<Duration>,
}

/// Nothing was heard in time.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {0:?}")]
pub(super) struct Late(Duration);

/// More was said than can be meant.
#[derive(Debug, thiserror::Error)]
#[error("the answer is too long")]
struct TooLong;

impl Transport {
    /// To servers that are reached in this way.
    pub(super) fn new(options: &RemoteOptions) -> Result<Self> {
        Ok(Self { client: client(options)?, timeout: options.timeout })
    }

    /// The options that every bucket gets along with the transport.
    pub(super) fn options() -> ClientOptions {
        ClientOptions::new().with_allow_http(true).with_connect_timeout(CONNECT_TIMEOUT)
    }

    async fn answer(
        &self,
        mut request: HttpRequest,
    ) -> std::result::Result<HttpResponse, HttpError> {
        // Of somebody without a token.
        let is_empty = |value: &HeaderValue| value.as_bytes().trim_ascii() == b"Bearer";
        if request.headers().get(AUTHORIZATION).is_some_and(is_empty) {
            request.headers_mut().remove(AUTHORIZATION);
        }
        let is_stream = is_for_object(&request);
        let timeout = self.timeout.map(|timeout| {
            let parts = request.body().content_length().div_ceil(TIMED).max(1);
            timeout.saturating_mul(u32::try_from(parts).unwrap_or(u32::MAX))
        });
        let whole = async {
            let response = self.client.call(request).await?;
            if !response.status().is_success() {
                return Err(refused(response).await);
            }
            if is_stream {
                return Ok(response);
            }
            let (parts, body) = response.into_parts();
            let body = collect(body, LONGEST_ANSWER).await?;
            if body.len() > LONGEST_ANSWER {
                return Err(HttpError::new(HttpErrorKind::Decode, TooLong));
            }
            // Some errors come when a success was already announced.
            if let Some(refusal) = Refusal::in_success(&body) {
                return Err(HttpError::new(HttpErrorKind::Unknown, refusal));
            }
            Ok(HttpResponse::from_parts(parts, body.into()))
        };
        let Some(timeout) = timeout else { return whole.await };
        let late = |_| HttpError::new(HttpErrorKind::Timeout, Late(timeout));
        tokio::time::timeout(timeout, whole).await.map_err(late)?
    }
}

/// Whether the answer is the bytes of an object.
fn is_for_object(request: &HttpRequest) -> bool {
    let query = request.uri().query().unwrap_or_default();
    request.method() == Method::GET && !query.contains("list-type=") && !query.contains("comp=list")
}

async fn refused(response: HttpResponse) -> HttpError {
    let (parts, body) = response.into_parts();
    let body = collect(body, LONGEST_REFUSAL).await.unwrap_or_default();
    let refusal = Refusal::new(parts.status, &parts.headers, &body);
    HttpError::new(HttpErrorKind::Unknown, refusal)
}

/// A body, or its beginning, which is somewhat longer than `most`.
async fn collect(body: HttpResponseBody, most: usize) -> std::result::Result<Vec<u8>, HttpError> {
    let mut all = Vec::new();
    let mut stream = body.bytes_stream();
    while let Some(some) = stream.next().await {
        all.extend_from_slice(&some?);
        if all.len() > most {
            break;
        }
    }
    Ok(all)
}

impl HttpService for Transport {
    fn call<'a, 'b>(
        &'a self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = std::result::Result<HttpResponse, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(self.answer(request))
    }
}

impl HttpConnector for Transport {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        // What this machine says of itself is reached without any of the store's options, and at once
        // or never.
        let ours = Self::options().get_config_value(&ClientConfigKey::ConnectTimeout);
        if options.get_config_value(&ClientConfigKey::ConnectTimeout) != ours {
            return ReqwestConnector::default().connect(options);
        }
        Ok(HttpClient::new(self.clone()))
    }
}
