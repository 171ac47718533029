//! Chunks and indexes as files below a URL.
//!
//! ```text
//! https://host/path/?query  +  1234/1234….cacnk  ->  https://host/path/1234/1234….cacnk?query
//! GET 200, 404 -> missing     HEAD 200, 404     PUT 200, 201, 204
//! ```
//! Any web server with the files of a store serves as one to read from; `cairn chunk-server` and
//! `cairn index-server` can be written to. The query of the URL goes with every request, so that signed
//! URLs work; what desync does with it is to drop it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use cairn_formats::batch::MOST;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, COOKIE, HeaderMap, HeaderValue};
use reqwest::{Body as RequestBody, Client, Method, Response, StatusCode, Url};

use super::client::writing_client;
use super::{batch, body, client, failure, refusal};
use crate::remote::objects::{Body, Many, Objects, WriteObjects};
use crate::{Error, RemoteOptions, Result, Secret};

/// A place on a web server.
pub(crate) struct HttpObjects {
    client: Client,
    /// Made when something is first to be written, with these options.
    writer: OnceLock<Client>,
    options: RemoteOptions,
    base: Url,
    /// The place without secrets, with a slash at its end.
    shown: String,
    headers: HeaderMap,
    /// Whether the server offers many chunks with one request.
    batches: AtomicBool,
}

impl HttpObjects {
    /// The place below a URL, which is shown in messages as `shown`.
    pub(crate) fn new(url: &str, shown: &str, options: &RemoteOptions) -> Result<Self> {
        let bad = |why: String| Error::Unsupported { place: shown.to_owned(), why };
        let mut base: Url = url.parse().map_err(|e| bad(format!("not a proper URL: {e}")))?;
        base.set_fragment(None);
        let mut headers = HeaderMap::new();
        let secrets = [(AUTHORIZATION, &options.http_auth), (COOKIE, &options.http_cookie)];
        for (name, secret) in secrets {
            if let Some(secret) = secret {
                let why = || bad(format!("the configured {name} is not possible in a header"));
                headers.insert(name.clone(), secret_header(secret).ok_or_else(why)?);
            }
        }
        let shown = format!("{}/", shown.trim_end_matches('/'));
        let batches = AtomicBool::new(false);
        let (writer, options) = (OnceLock::new(), options.clone());
        Ok(Self { client: client(&options)?, writer, options, base, shown, headers, batches })
    }

    fn url(&self, name: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/{name}", self.base.path().trim_end_matches('/')));
        url
    }

    fn writer(&self) -> Result<&Client> {
        if let Some(writer) = self.writer.get() {
            return Ok(writer);
        }
        let writer = writing_client(&self.options)?;
        Ok(self.writer.get_or_init(|| writer))
    }

    /// Sends what is to be kept.
    async fn send_put(&self, name: &str, body: RequestBody) -> Result<()> {
        let response = self.send(Method::PUT, name, Some(body)).await?;
        match response.status() {
            StatusCode::OK | StatusCode::CREATED | StatusCode::NO_CONTENT => Ok(()),
            _ => Err(refusal(&self.place(name), response).await),
        }
    }

    async fn send(
        &self,
        method: Method,
        name: &str,
        body: Option<RequestBody>,
    ) -> Result<Response> {
        let client = if method == Method::PUT { self.writer()? } else { &self.client };
        let mut request = client.request(method, self.url(name)).headers(self.headers.clone());
        if let Some(body) = body {
            request = request.body(body);
        }
        request.send().await.map_err(|e| failure(&self.place(name), &e))
    }
}

/// A header that is shown nowhere.
fn secret_header(secret: &Secret) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(secret.reveal()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn is_missing(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE)
}

impl Objects for HttpObjects {
    async fn open(&self, name: &str) -> Result<Option<Body>> {
        let response = self.send(Method::GET, name, None).await?;
        match response.status() {
            StatusCode::OK => {
                if batch::is_offered(response.headers()) {
                    self.batches.store(true, Ordering::Relaxed);
                }
                Ok(Some(body(self.place(name), response)))
            }
            status if is_missing(status) => Ok(None),
            _ => Err(refusal(&self.place(name), response).await),
        }
    }

    async fn open_many(&self, names: &[String], most: usize) -> Result<Option<Many>> {
        if !self.batches.load(Ordering::Relaxed) || names.len() > MOST {
            return Ok(None);
        }
        let response = self.send(Method::POST, "", Some(names.join("\n").into())).await?;
        if !batch::is_answered(&response) {
            // Another server answers now, or one in between.
            self.batches.store(false, Ordering::Relaxed);
            return Ok(None);
        }
        let places = names.iter().map(|name| self.place(name)).collect();
        Ok(Some(batch::objects(response, places, most)))
    }

    async fn has(&self, name: &str) -> Result<bool> {
        let response = self.send(Method::HEAD, name, None).await?;
        match response.status() {
            // Nothing that has a name here is empty: somebody failed to write it.
            StatusCode::OK => {
                Ok(response.headers().get(CONTENT_LENGTH).is_none_or(|len| len != "0"))
            }
            status if is_missing(status) => Ok(false),
            _ => Err(refusal(&self.place(name), response).await),
        }
    }

    fn place(&self, name: &str) -> String {
        format!("{}{name}", self.shown)
    }
}

impl WriteObjects for HttpObjects {
    async fn put(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.send_put(name, bytes.into()).await
    }

    async fn put_parts(&self, name: &str, parts: Body) -> Result<()> {
        self.send_put(name, RequestBody::wrap_stream(parts)).await
    }
}
