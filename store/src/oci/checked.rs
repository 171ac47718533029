//! A blob against its digest, as it arrives: nothing in an index tells whether it is the right one.

use futures_util::StreamExt;
use sha2::{Digest as _, Sha256};

use super::manifest::Blob;
use crate::remote::objects::Body;
use crate::{Again, Error, Result};

/// The same body, which ends in an error if it is not that of the blob. Other digests than SHA-256 are
/// refused: none of ours has one.
pub(super) fn checked(body: Body, blob: Blob, place: String) -> Result<Body> {
    if !blob.digest.starts_with("sha256:") {
        let why = "its manifest names a blob by a digest other than SHA-256".to_owned();
        return Err(Error::Unreachable { place, why, again: Again::No });
    }
    let state = Some((body, Sha256::new(), 0_u64));
    let checked = futures_util::stream::unfold(state, move |state| {
        let (blob, place) = (blob.clone(), place.clone());
        async move {
            let (mut body, mut hash, len) = state?;
            match body.next().await {
                Some(Ok(part)) => {
                    let len = len + part.len() as u64;
                    if len > blob.len {
                        return Some((Err(other(place)), None));
                    }
                    hash.update(&part);
                    Some((Ok(part), Some((body, hash, len))))
                }
                Some(Err(e)) => Some((Err(e), None)),
                None if len == blob.len && is(&blob.digest, hash) => None,
                None => Some((Err(other(place)), None)),
            }
        }
    });
    // Whoever wants to know that it is at its end may ask twice.
    Ok(Box::pin(checked.fuse()))
}

fn is(digest: &str, hash: Sha256) -> bool {
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    digest.strip_prefix("sha256:") == Some(hex.as_str())
}

/// It may have been damaged on its way.
fn other(place: String) -> Error {
    let why = "the blob is not the one that its manifest names".to_owned();
    Error::Unreachable { place, why, again: Again::Yes }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::remote::objects::collect;
    use crate::remote::runtime::wait;

    fn read(parts: &[&'static [u8]], blob: Blob) -> Result<Vec<u8>> {
        let parts: Vec<Result<Bytes>> =
            parts.iter().map(|part| Ok(Bytes::from_static(part))).collect();
        let body = checked(Box::pin(futures_util::stream::iter(parts)), blob, "p".to_owned())?;
        wait(collect(body, 1000, "p"))
    }

    #[test]
    fn only_the_blob_itself_passes() {
        assert_eq!(read(&[b"some", b" bytes"], Blob::of(b"some bytes")).unwrap(), b"some bytes");
        assert_eq!(read(&[], Blob::of(b"")).unwrap(), b"");
        for parts in [&[b"some".as_slice()][..], &[b"some bytes", b"!"], &[b"same bytes"], &[]] {
            let error = read(parts, Blob::of(b"some bytes")).unwrap_err();
            assert_eq!(error.again(), Again::Yes);
            assert!(error.to_string().contains("not the one that its manifest names"), "{error}");
        }
        let odd = Blob { digest: format!("sha512:{}", "0".repeat(128)), len: 4 };
        assert!(read(&[b"some"], odd).unwrap_err().to_string().contains("other than SHA-256"));
    }
}
