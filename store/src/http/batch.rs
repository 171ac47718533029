//! Many chunks with one request, from a server that offers it.
//!
//! ```text
//! any answer says Connection: cairn-batch  ->  POST names, a line each  ->  frames in their order
//! ```
//! What goes over the wire stands in [`cairn_formats::batch`].

use std::collections::VecDeque;

use cairn_formats::batch::{CONTENT_TYPE, Frame, Frames, TOKEN};
use futures_util::{StreamExt, stream};
use reqwest::Response;
use reqwest::header::{CONNECTION, CONTENT_TYPE as CONTENT_TYPE_HEADER, HeaderMap};

use super::failure;
use crate::remote::objects::Many;
use crate::{Again, Error, Result};

/// Whether the server next to us answers such requests.
pub(super) fn is_offered(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CONNECTION).into_iter();
    let mut tokens = values.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
    tokens.any(|token| token.trim().eq_ignore_ascii_case(TOKEN))
}

/// Whether an answer has frames in it.
pub(super) fn is_answered(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE_HEADER);
    response.status().is_success() && kind.is_some_and(|kind| kind == CONTENT_TYPE)
}

/// The objects in an answer, in the order of the names, which are given as they are called in
/// messages. One that is longer than `most` bytes ends it.
pub(super) fn objects(response: Response, places: Vec<String>, most: usize) -> Many {
    let reading = Reading {
        body: response.bytes_stream().boxed(),
        frames: Frames::new(most),
        ready: VecDeque::new(),
        places: places.into(),
    };
    let next = |mut reading: Reading| async move {
        let place = reading.places.pop_front()?;
        match reading.next(&place).await {
            Ok(object) => Some((object, reading)),
            Err(e) => {
                reading.places.clear();
                Some((Err(e), reading))
            }
        }
    };
    stream::unfold(reading, next).boxed()
}

/// An answer that is being read.
struct Reading {
    body: stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    frames: Frames,
    ready: VecDeque<Frame>,
    /// Of the objects that are still to come.
    places: VecDeque<String>,
}

impl Reading {
    /// The next object, or an error that ends the answer.
    async fn next(&mut self, place: &str) -> Result<Result<Option<Vec<u8>>>> {
        let broken =
            |why: String, again| Error::Unreachable { place: place.to_owned(), why, again };
        loop {
            match self.ready.pop_front() {
                Some(Frame::Chunk(bytes)) => return Ok(Ok(Some(bytes))),
                Some(Frame::Missing) => return Ok(Ok(None)),
                Some(Frame::Failed) => {
                    let why = "the server could not get it".to_owned();
                    return Ok(Err(broken(why, Again::Yes)));
                }
                None => {}
            }
            let Some(part) = self.body.next().await else {
                return Err(broken("the answer is too short".to_owned(), Again::Yes));
            };
            let part = part.map_err(|e| failure(place, &e))?;
            let mut rest = &part[..];
            let bad = |e: cairn_formats::batch::TooLong| broken(e.to_string(), Again::No);
            while let Some(frame) = self.frames.next(&mut rest).map_err(bad)? {
                self.ready.push_back(frame);
            }
        }
    }
}
