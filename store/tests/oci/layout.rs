//! How chunks lie in a registry: as desync puts them, byte for byte.

use std::io::ErrorKind::NotFound;

use cairn_formats::{ChunkSizes, Digest, Index};
use cairn_store::{Error, Stored, read_index, write_index};

use crate::registry::{Registry, Setup};
use crate::web::{Request, forward};
use crate::{chunk, options, store, tag};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Asks a registry itself, and returns the status and the body.
fn ask(
    registry: &Registry,
    method: &str,
    path: &str,
    content: (&str, &[u8]),
) -> (u16, String, Vec<u8>) {
    let (kind, body) = content;
    let headers = [
        ("host", registry.address()),
        ("accept", MANIFEST),
        ("content-type", kind),
        ("content-length", &body.len().to_string()),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let (method, path) = (method.to_owned(), path.to_owned());
    let request = Request { method, path, headers, body: body.to_vec() };
    let answer = forward(&request, registry.address());
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    (head[9..12].parse().unwrap(), head, answer[end + 4..].to_vec())
}

fn put_blob(registry: &Registry, bytes: &[u8]) -> String {
    let digest = format!("sha256:{}", Digest::Sha256.hash(bytes).to_hex());
    let (status, head, _) = ask(registry, "POST", "/v2/s/blobs/uploads/", ("", b""));
    assert_eq!(status, 202, "{head}");
    let location = head.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap();
    let path = location.split_once(registry.address()).unwrap().1;
    let path = format!("{path}&digest={digest}");
    let (status, head, _) = ask(registry, "PUT", &path, ("application/octet-stream", bytes));
    assert_eq!(status, 201, "{head}");
    digest
}

fn put_manifest(registry: &Registry, tag: &str, json: &str) {
    let path = format!("/v2/s/manifests/{tag}");
    let (status, head, body) = ask(registry, "PUT", &path, (MANIFEST, json.as_bytes()));
    assert_eq!(status, 201, "{head} {}", String::from_utf8_lossy(&body));
}

/// A manifest as desync writes it.
fn manifest(tag: &str, kind: &str, layers: &[(&str, usize)]) -> String {
    let layers: Vec<String> = layers
        .iter()
        .map(|(digest, len)| {
            format!(
                r#"{{"mediaType":"application/octet-stream","digest":"{digest}","size":{len}}}"#
            )
        })
        .collect();
    let layers = layers.join(",");
    let empty = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","artifactType":"application/vnd.{kind}","config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"{empty}","size":2}},"layers":[{layers}],"annotations":{{"org.opencontainers.image.title":"{tag}"}}}}"#
    )
}

/// An index of one chunk.
fn index() -> Index {
    let mut index = Index::of_blob(Digest::default(), ChunkSizes::default());
    index.push(chunk(1).id(), 1234);
    index
}

#[test]
fn indexes_lie_as_desync_puts_them() {
    let registry = Registry::start(Setup::default());
    let location = registry.store("s/a.caibx").parse().unwrap();
    write_index(&location, &index(), (0o644, false), &options().remote).unwrap();
    let (status, _, json) = ask(&registry, "GET", "/v2/s/manifests/a.caibx", ("", b""));
    assert_eq!(status, 200);
    let mut bytes = Vec::new();
    index().write(&mut bytes).unwrap();
    let digest = format!("sha256:{}", Digest::Sha256.hash(&bytes).to_hex());
    let expected = manifest("a.caibx", "desync.index.v1", &[(&digest, bytes.len())]);
    let annotations = r#","vnd.desync.index.blob-size":"1234","vnd.desync.index.chunk-size":"16384:65536:262144","vnd.desync.index.chunks":"1"}}"#;
    let expected = format!("{}{annotations}", expected.strip_suffix("}}").unwrap());
    assert_eq!(String::from_utf8(json).unwrap(), expected);
    let (status, _, stored) = ask(&registry, "GET", &format!("/v2/s/blobs/{digest}"), ("", b""));
    assert_eq!((status, stored), (200, bytes));
    assert_eq!(read_index(&location, &options().remote).unwrap(), index());
}

#[test]
fn indexes_that_others_put_as_desync_does_are_read() {
    let registry = Registry::start(Setup::default());
    let mut bytes = Vec::new();
    index().write(&mut bytes).unwrap();
    let digest = put_blob(&registry, &bytes);
    put_blob(&registry, b"{}");
    put_manifest(&registry, "b", &manifest("b", "desync.index.v1", &[(&digest, bytes.len())]));
    put_manifest(&registry, "c", &manifest("c", "desync.index.v1", &[(&digest, 7)]));
    put_manifest(&registry, "d", &manifest("d", "other", &[(&digest, bytes.len())]));
    let read = |tag: &str| {
        let location = registry.store(&format!("s/{tag}")).parse().unwrap();
        read_index(&location, &options().remote)
    };
    assert_eq!(read("b").unwrap(), index());
    let error = read("c").unwrap_err().to_string();
    assert!(error.contains("not the one that its manifest names"), "{error}");
    assert!(matches!(read("d"), Err(Error::Io { source, .. }) if source.kind() == NotFound));
}

#[test]
fn chunks_lie_as_desync_puts_them() {
    let registry = Registry::start(Setup::default());
    let store = store(&registry.store("s"), &options());
    let chunk = chunk(1);
    store.put(&chunk).unwrap();
    let tag = tag(&chunk.id());
    let (status, head, json) = ask(&registry, "GET", &format!("/v2/s/manifests/{tag}"), ("", b""));
    assert_eq!(status, 200);
    assert!(head.contains(&format!("Content-Type: {MANIFEST}")), "{head}");
    let digest = format!("sha256:{}", Digest::Sha256.hash(chunk.bytes()).to_hex());
    let expected = manifest(&tag, "desync.chunk.v1", &[(&digest, chunk.bytes().len())]);
    assert_eq!(String::from_utf8(json).unwrap(), expected);
    let (status, _, blob) = ask(&registry, "GET", &format!("/v2/s/blobs/{digest}"), ("", b""));
    assert_eq!((status, blob.as_slice()), (200, chunk.bytes()));
}

#[test]
fn what_others_put_as_desync_does_is_read() {
    let registry = Registry::start(Setup::default());
    let store = store(&registry.store("s"), &options());
    let chunk = chunk(1);
    let tag = tag(&chunk.id());
    put_blob(&registry, b"{}");
    let digest = put_blob(&registry, chunk.bytes());
    let layer = (digest.as_str(), chunk.bytes().len());
    put_manifest(&registry, &tag, &manifest(&tag, "desync.chunk.v1", &[layer]));
    assert_eq!(store.fetch(&chunk.id()).unwrap(), chunk);
}

#[test]
fn what_is_no_chunk_is_not_there_and_is_never_removed() {
    let registry = Registry::start(Setup::default());
    let store = store(&registry.store("s"), &options());
    let (other, moved) = (chunk(1), chunk(2));
    put_blob(&registry, b"{}");
    let digest = put_blob(&registry, other.bytes());
    let layer = (digest.as_str(), other.bytes().len());
    // An artifact of another type under the name of a chunk.
    put_manifest(&registry, &tag(&other.id()), &manifest("x", "other.v1", &[layer]));
    // The manifest of one chunk, under the name of another too: both would go at once.
    store.put(&moved).unwrap();
    let path = format!("/v2/s/manifests/{}", tag(&moved.id()));
    let (_, _, json) = ask(&registry, "GET", &path, ("", b""));
    let third = chunk(3);
    put_manifest(&registry, &tag(&third.id()), std::str::from_utf8(&json).unwrap());
    put_manifest(&registry, "latest", std::str::from_utf8(&json).unwrap());

    assert_eq!(store.get(&other.id()).unwrap(), None);
    assert!(!store.has(&other.id()).unwrap());
    for chunk in [&other, &third] {
        assert_eq!(store.facts(&Stored::Chunk(chunk.id())).unwrap(), None);
    }
    store.remove(&Stored::Chunk(other.id())).unwrap();
    let error = store.remove(&Stored::Chunk(third.id())).unwrap_err().to_string();
    assert!(error.contains("belongs to another tag"), "{error}");
    assert_eq!(store.fetch(&moved.id()).unwrap(), moved);
    let path = format!("/v2/s/manifests/{}", tag(&other.id()));
    assert_eq!(ask(&registry, "GET", &path, ("", b"")).0, 200);
    // To put the chunk makes it one.
    store.put(&other).unwrap();
    assert_eq!(store.fetch(&other.id()).unwrap(), other);
}

#[test]
fn manifests_with_two_layers_or_none_are_refused_until_the_chunk_is_put_again() {
    let registry = Registry::start(Setup::default());
    let store = store(&registry.store("s"), &options());
    put_blob(&registry, b"{}");
    let good = chunk(1);
    let digest = put_blob(&registry, good.bytes());
    let layer = (digest.as_str(), good.bytes().len());
    for layers in [&[layer, layer][..], &[]] {
        let tag = tag(&good.id());
        put_manifest(&registry, &tag, &manifest(&tag, "desync.chunk.v1", layers));
        let error = store.get(&good.id()).unwrap_err().to_string();
        let expected = format!("s:{tag}: its manifest has {} layers, not one", layers.len());
        assert!(error.ends_with(&expected), "{error}");
        assert!(!store.has(&good.id()).unwrap());
    }
    store.put(&good).unwrap();
    assert_eq!(store.fetch(&good.id()).unwrap(), good);
}
