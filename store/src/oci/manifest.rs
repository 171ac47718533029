//! The manifest of a chunk or of an index.
//!
//! ```text
//! {schemaVersion, mediaType, artifactType: a chunk or an index of desync, config: {},
//!  layers: [the blob], annotations: {title: the tag, and of an index: chunks, blob-size, chunk-size}}
//! ```
//! Field for field, and in the order of, what desync writes: the same chunk gets the same manifest
//! from either. What is read may be anything.

use std::collections::BTreeMap;

use cairn_formats::{Digest, Index};
use serde::{Deserialize, Serialize};

/// The media type of a manifest.
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The longest manifest that is read, in bytes; ours have less than 1000.
pub(super) const LONGEST_MANIFEST: usize = 64 << 10;

/// The configuration that a manifest must have, which for us says nothing.
pub(super) const CONFIG: &[u8] = b"{}";

const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const BYTES: &str = "application/octet-stream";
const TITLE: &str = "org.opencontainers.image.title";

/// The largest chunk that a manifest may name, in bytes. desync's number.
const LARGEST_CHUNK: i64 = 1 << 30;

/// What a manifest can be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Chunk,
    Index,
}

impl Kind {
    fn artifact_type(self) -> &'static str {
        match self {
            Kind::Chunk => "application/vnd.desync.chunk.v1",
            Kind::Index => "application/vnd.desync.index.v1",
        }
    }

    /// The largest blob. An index is read as it comes, however long it is.
    fn largest_blob(self) -> i64 {
        match self {
            Kind::Chunk => LARGEST_CHUNK,
            Kind::Index => i64::MAX,
        }
    }
}

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

/// The blob of a manifest, as that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blob {
    /// Fit to be a part of a URL.
    pub(super) digest: String,
    pub(super) len: u64,
}

impl Blob {
    /// The one of these bytes.
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { digest: digest(bytes), len: bytes.len() as u64 }
    }
}

/// What a manifest is.
#[derive(Debug)]
pub(super) enum Read {
    /// Of what was looked for.
    Found {
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

/// The manifest of a chunk with this tag.
pub(super) fn of_chunk(tag: &str, blob: Blob) -> Vec<u8> {
    write(Kind::Chunk, blob, [(TITLE.to_owned(), tag.to_owned())].into())
}

/// The manifest of an index with this tag, which says what may be asked of the index.
pub(super) fn of_index(tag: &str, blob: Blob, index: &Index) -> Vec<u8> {
    let sizes = index.sizes();
    let annotations = [
        (TITLE, tag.to_owned()),
        ("vnd.desync.index.chunks", index.len().to_string()),
        ("vnd.desync.index.blob-size", index.blob_size().to_string()),
        ("vnd.desync.index.chunk-size", format!("{}:{}:{}", sizes.min(), sizes.avg(), sizes.max())),
    ];
    let annotations = annotations.into_iter().map(|(name, value)| (name.to_owned(), value));
    write(Kind::Index, blob, annotations.collect())
}

fn write(kind: Kind, blob: Blob, annotations: BTreeMap<String, String>) -> Vec<u8> {
    let descriptor = |media_type: &str, Blob { digest, len }: Blob| Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size: i64::try_from(len).unwrap_or(i64::MAX),
    };
    let manifest = Manifest {
        schema_version: 2,
        media_type: MANIFEST.to_owned(),
        artifact_type: kind.artifact_type().to_owned(),
        config: Some(descriptor(EMPTY, Blob::of(CONFIG))),
        layers: vec![descriptor(BYTES, blob)],
        annotations: Some(annotations),
    };
    serde_json::to_vec(&manifest).expect("text and numbers can be written as JSON")
}

/// Reads what stands under a tag where something of a kind is looked for. An error if it is no
/// manifest at all.
pub(super) fn read(bytes: &[u8], kind: Kind, tag: &str) -> Result<Read, String> {
    let manifest: Manifest =
        serde_json::from_slice(bytes).map_err(|e| format!("not a manifest: {e}"))?;
    if manifest.artifact_type != kind.artifact_type() {
        return Ok(Read::Other);
    }
    let title = manifest.annotations.as_ref().and_then(|all| all.get(TITLE));
    let is_of_another_tag = title.is_some_and(|title| title != tag);
    Ok(Read::Found { blob: blob(manifest.layers, kind), is_of_another_tag })
}

/// The only layer, if it is a blob that can be asked for.
fn blob(layers: Vec<Descriptor>, kind: Kind) -> Result<Blob, String> {
    let [layer] = <[Descriptor; 1]>::try_from(layers)
        .map_err(|layers| format!("its manifest has {} layers, not one", layers.len()))?;
    let Descriptor { digest, size, .. } = layer;
    if !(0..=kind.largest_blob()).contains(&size) {
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
    use cairn_formats::{ChunkId, ChunkSizes};

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
        let written = of_chunk(TAG, Blob { digest: BLOB.to_owned(), len: 34806 });
        assert_eq!(String::from_utf8(written).unwrap(), GOLDEN);
        let Ok(Read::Found { blob, is_of_another_tag }) = read(GOLDEN.as_bytes(), Kind::Chunk, TAG)
        else {
            panic!("not a chunk");
        };
        assert_eq!(blob, Ok(Blob { digest: BLOB.to_owned(), len: 34806 }));
        assert!(!is_of_another_tag);
        let elsewhere = read(GOLDEN.as_bytes(), Kind::Chunk, "other");
        assert!(matches!(elsewhere, Ok(Read::Found { is_of_another_tag: true, .. })));
    }

    #[test]
    fn manifests_of_indexes_say_what_is_in_them() {
        let mut index =
            Index::of_blob(Digest::default(), ChunkSizes::new(2048, 8192, 32768).unwrap());
        index.push(ChunkId::from_bytes([1; 32]), 32768);
        index.push(ChunkId::from_bytes([2; 32]), 1000);
        let blob = || Blob { digest: BLOB.to_owned(), len: 1 << 40 };
        let written = of_index("a.caibx", blob(), &index);
        let text = String::from_utf8(written.clone()).unwrap();
        let expected = concat!(
            r#""annotations":{"org.opencontainers.image.title":"a.caibx","#,
            r#""vnd.desync.index.blob-size":"33768","#,
            r#""vnd.desync.index.chunk-size":"2048:8192:32768","vnd.desync.index.chunks":"2"}}"#
        );
        assert!(text.contains(r#""artifactType":"application/vnd.desync.index.v1""#), "{text}");
        assert!(text.ends_with(expected), "{text}");
        let Ok(Read::Found { blob: found, is_of_another_tag: false }) =
            read(&written, Kind::Index, "a.caibx")
        else {
            panic!("{text}");
        };
        assert_eq!(found, Ok(blob()));
        assert!(matches!(read(&written, Kind::Chunk, "a.caibx"), Ok(Read::Other)));
        assert!(matches!(read(GOLDEN.as_bytes(), Kind::Index, TAG), Ok(Read::Other)));
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
            assert!(matches!(read(other.as_bytes(), Kind::Chunk, TAG), Ok(Read::Other)), "{other}");
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
            let Ok(Read::Found { blob: Err(why), .. }) = read(bad.as_bytes(), Kind::Chunk, TAG)
            else {
                panic!("{bad}");
            };
            assert!(why.contains(expected), "{why}");
        }
        for junk in ["", "<html>", "7", "null", &changed("34806", "1e99"), &"[".repeat(60_000)] {
            assert!(read(junk.as_bytes(), Kind::Chunk, TAG).is_err(), "{junk}");
        }
    }

    fn layers_before() -> String {
        format!(r#""layers":[{{"mediaType":"x","digest":"{BLOB}","size":1}},"#)
    }
}
