//! What a client sends: read into memory within limits, and no faster than it comes.

use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Body, Incoming};

use super::memory::{Memory, Share};
use super::reply::{self, Reply};
use super::watch::Progress;

/// Memory is taken in pieces of this size, in bytes.
const PIECE: usize = 64 << 10;

/// What is read of a body that nobody wants, in bytes.
const DISCARDED: usize = 256 << 10;

/// A body in memory.
pub(super) struct Upload {
    pub(super) bytes: Vec<u8>,
    /// Counts the bytes: to be kept for as long as they are, which a client that goes away does not
    /// shorten.
    pub(super) share: Share,
}

/// Reads a body of at most `limit` bytes. One that says that it is longer is not read at all.
pub(super) async fn read(
    mut body: Incoming,
    limit: usize,
    memory: &Arc<Memory>,
    progress: &Arc<Progress>,
) -> Result<Upload, Box<Reply>> {
    let too_long = || Box::new(reply::error(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long"));
    let said = body.size_hint().lower();
    if said > limit as u64 {
        return Err(too_long());
    }
    let _receiving = progress.receiving();
    let mut share = memory.share();
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let cut = |_| Box::new(reply::error(StatusCode::BAD_REQUEST, "the body is not complete"));
        let Ok(data) = frame.map_err(cut)?.into_data() else { continue };
        let needed = bytes.len() + data.len();
        if needed > limit {
            return Err(too_long());
        }
        if needed > bytes.capacity() {
            // What the client said is a hint how far to go, but nothing to rely on: half of what is
            // taken is there already.
            let end = if said > 0 { said as usize } else { limit };
            let room = (2 * needed).max(PIECE).min(end.max(needed));
            if !share.grow(room - bytes.capacity()) {
                return Err(Box::new(reply::busy()));
            }
            bytes.reserve_exact(room - bytes.len());
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Upload { bytes, share })
}

/// Reads and forgets what is left of a short body, so that its client, who may not read before it has sent
/// everything, gets to know the reply. A longer one costs it the connection.
pub(super) async fn discard(mut body: Incoming, progress: &Arc<Progress>) {
    if body.size_hint().lower() > DISCARDED as u64 {
        return;
    }
    let _receiving = progress.receiving();
    let mut rest = DISCARDED;
    while let Some(Ok(frame)) = body.frame().await {
        match rest.checked_sub(frame.data_ref().map_or(0, |data| data.len())) {
            Some(less) => rest = less,
            None => return,
        }
    }
}
