//! The manifest of a chunk.
//!
//! ```text
//! {schemaVersion, mediaType, artifactType: a chunk of desync, config: {}, layers: [the blob],
//!  annotations: {title: the tag}}
//! ```
//! Field for field, and in the order of, what desync writes: the same chunk gets the same manifest
//! from either. What is read may be anything.

use std::collections::BTreeMap;

use cairn_formats::Digest;
use serde::{Deserialize, Serialize};

/// The media type of a manifest.
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The longest manifest that is read, in bytes; that of a chunk has about 700.
pub(super) const LONGEST_MANIFEST: usize = 64 << 10;

/// The configuration that a manifest must have, which for a chunk says nothing.
pub(super) const CONFIG: &[u8] = b"{}";

const CHUNK: &str = "application/vnd.desync.chunk.v1";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const BYTES: &str = "application/octet-stream";
const TITLE: &str = "org.opencontainers.image.title";

/// The largest blob that a manifest may name. desync's number.
const LARGEST_BLOB: i64 = 1 << 30;

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    #[serde(default)]
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    #[serde(default)]
    artifact_type: String,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: i64,
}

/// The blob of a chunk, as its manifest names it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Blob {
    /// Fit to be a part of a URL.
    pub(super) digest: String,
    pub(super) len: u64,
}

/// What a manifest is.
#[derive(Debug)]
pub(super) enum Read {
    /// Of a chunk.
    Chunk {
        /// Its blob, or what is wrong with it.
        blob: Result<Blob, String>,
        /// Whether it was made for another tag than that under which it was found.
        is_of_another_tag: bool,
    },
    /// Of something else.
    Other,
}

/// What is called by the SHA-256 of its bytes.
pub(super) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", Digest::Sha256.hash(bytes).to_hex())
}

/// The manifest of a chunk with this tag, whose bytes are so many and have this digest.
pub(super) fn write(tag: &str, digest_of_blob: String, len: usize) -> Vec<u8> {
    let descriptor = |media_type: &str, digest, len: usize| Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size: i64::try_from(len).unwrap_or(i64::MAX),
    };
    let manifest = Manifest {
        schema_version: 2,
        media_type: MANIFEST.to_owned(),
        artifact_type: CHUNK.to_owned(),
        config: Some(descriptor(EMPTY, digest(CONFIG), CONFIG.len())),
        layers: vec![descriptor(BYTES, digest_of_blob, len)],
        annotations: Some([(TITLE.to_owned(), tag.to_owned())].into()),
    };
    serde_json::to_vec(&manifest).expect("text and numbers can be written as JSON")
}

/// Reads what stands under a tag. An error if it is no manifest at all.
pub(super) fn read(bytes: &[u8], tag: &str) -> Result<Read, String> {
    let manifest: Manifest =
        serde_json::from_slice(bytes).map_err(|e| format!("not a manifest: {e}"))?;
    if manifest.artifact_type != CHUNK {
        return Ok(Read::Other);
    }
    let title = manifest.annotations.as_ref().and_then(|all| all.get(TITLE));
    let is_of_another_tag = title.is_some_and(|title| title != tag);
    Ok(Read::Chunk { blob: blob(manifest.layers), is_of_another_tag })
}

/// The only layer, if it is a blob that can be asked for.
fn blob(layers: Vec<Descriptor>) -> Result<Blob, String> {
    let [layer] = <[Descriptor; 1]>::try_from(layers)
        .map_err(|layers| format!("its manifest has {} layers, not one", layers.len()))?;
    let Descriptor { digest, size, .. } = layer;
    if !(0..=LARGEST_BLOB).contains(&size) {
        return Err(format!("its manifest names a blob of {size} bytes, which cannot be"));
    }
    if !is_digest(&digest) {
        return Err("its manifest names a blob by what is no digest".to_owned());
    }
    Ok(Blob { digest, len: size.unsigned_abs() })
}

/// Whether it is a digest and nothing else, which then can stand in a URL.
fn is_digest(text: &str) -> bool {
    let is_of_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+._-".contains(&b);
    let is_of_hash = |b: u8| b.is_ascii_alphanumeric() || b"=_-".contains(&b);
    text.len() <= 256
        && text.split_once(':').is_some_and(|(name, hash)| {
            !name.is_empty()
                && name.bytes().all(is_of_name)
                && hash.len() >= 32
                && hash.bytes().all(is_of_hash)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What desync's documentation shows.
    const GOLDEN: &str = concat!(
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","#,
        r#""artifactType":"application/vnd.desync.chunk.v1","#,
        r#""config":{"mediaType":"application/vnd.oci.empty.v1+json","#,
        r#""digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","#,
        r#""size":2},"layers":[{"mediaType":"application/octet-stream","#,
        r#""digest":"sha256:759129e4f837302163925898441ed7a7ce728e9340dc20c1109f7461a878dc39","#,
        r#""size":34806}],"annotations":{"org.opencontainers.image.title":"#,
        r#""cf16af015e294eb73277987c0f08f9c8157cb05425e52f5e8023749ac1279948.cacnk"}}"#
    );
    const TAG: &str = "cf16af015e294eb73277987c0f08f9c8157cb05425e52f5e8023749ac1279948.cacnk";
    const BLOB: &str = "sha256:759129e4f837302163925898441ed7a7ce728e9340dc20c1109f7461a878dc39";

    #[test]
    fn manifests_are_those_of_desync() {
        let written = write(TAG, BLOB.to_owned(), 34806);
        assert_eq!(String::from_utf8(written).unwrap(), GOLDEN);
        let Ok(Read::Chunk { blob, is_of_another_tag }) = read(GOLDEN.as_bytes(), TAG) else {
            panic!("not a chunk");
        };
        assert_eq!(blob, Ok(Blob { digest: BLOB.to_owned(), len: 34806 }));
        assert!(!is_of_another_tag);
        let elsewhere = read(GOLDEN.as_bytes(), "other");
        assert!(matches!(elsewhere, Ok(Read::Chunk { is_of_another_tag: true, .. })));
    }

    #[test]
    fn what_is_no_chunk_is_told_apart_from_what_is_a_bad_one() {
        let changed = |from: &str, to: &str| {
            assert!(GOLDEN.contains(from));
            GOLDEN.replace(from, to)
        };
        for other in [
            changed("desync.chunk", "desync.index"),
            changed("artifactType", "kind"),
            "{}".to_owned(),
            r#"{"manifests": []}"#.to_owned(),
        ] {
            assert!(matches!(read(other.as_bytes(), TAG), Ok(Read::Other)), "{other}");
        }
        for (bad, expected) in [
            (changed("34806", "-1"), "a blob of -1 bytes"),
            (changed("34806", "1073741825"), "a blob of 1073741825 bytes"),
            (changed(BLOB, "../../../x"), "no digest"),
            (changed(BLOB, "sha256:../../../xxxxxxxxxxxxxxxxxxxxxxxxxxxx"), "no digest"),
            (changed(BLOB, "sha256:?"), "no digest"),
            (changed(r#""layers":[{"#, r#""layers":[],"x":[{"#), "0 layers"),
            (changed(r#""layers":["#, &layers_before()), "2 layers"),
        ] {
            let Ok(Read::Chunk { blob: Err(why), .. }) = read(bad.as_bytes(), TAG) else {
                panic!("{bad}");
            };
            assert!(why.contains(expected), "{why}");
        }
        for junk in ["", "<html>", "7", "null", &changed("34806", "1e99"), &"[".repeat(60_000)] {
            assert!(read(junk.as_bytes(), TAG).is_err(), "{junk}");
        }
    }

    fn layers_before() -> String {
        format!(r#""layers":[{{"mediaType":"x","digest":"{BLOB}","size":1}},"#)
    }
}
