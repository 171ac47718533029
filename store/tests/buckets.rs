//! Stores in buckets, on a real server: they are stores like all others, their refusals are told apart,
//! and what is large goes in parts and pages.
#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

#[path = "../../tests/common/announced.rs"]
mod announced;
#[path = "../../tests/common/environment.rs"]
mod environment;
#[path = "../../tests/common/rclone.rs"]
mod rclone;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use cairn_formats::coding::{DEFAULT_LEVEL, Encoder};
use cairn_formats::{Chunk, ChunkId, ChunkSizes, CodedChunk, Digest, Form, Index, WriteCoding};
use cairn_store::{
    Again, Credentials, Error, Location, PruneStore, Result, Retry, Secret, StoreOptions, Stored,
    open_prunable, read_index, write_index,
};
use environment::with_environment;
use rclone::Rclone;
use tempfile::TempDir;

const ACCESS: &str = "access-of-the-tests";
const SECRET: &str = "secret-of-the-tests";

/// A server with an empty bucket `bucket`.
struct Server {
    directory: TempDir,
    rclone: Rclone,
}

impl Server {
    fn start() -> Self {
        Self::with(|_| {})
    }

    /// With a bucket that this has put objects into.
    fn with(fill: impl FnOnce(&Path)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let bucket = directory.path().join("bucket");
        fs::create_dir(&bucket).unwrap();
        fill(&bucket);
        let rclone = Rclone::s3(directory.path(), Some((ACCESS, SECRET)));
        Self { directory, rclone }
    }

    fn location(&self, path: &str) -> Location {
        format!("s3+{}/{path}", self.rclone.url()).parse().unwrap()
    }

    fn open(&self, path: &str) -> Box<dyn PruneStore> {
        open_prunable(&self.location(path), &options(SECRET)).unwrap()
    }
}

fn options(secret: &str) -> StoreOptions {
    let mut options = StoreOptions::default();
    options.remote.retry = Retry { times: 0, ..Retry::default() };
    options.remote.credentials = Some(Credentials::S3 {
        access_key: ACCESS.to_owned(),
        secret_key: Secret::new(secret),
        region: String::new(),
    });
    options
}

/// What each of the methods of a store says that asks the server for something.
fn asked(store: &dyn PruneStore) -> Vec<Result<()>> {
    let chunk = chunk(0);
    vec![
        store.get(&chunk.id()).map(|_| ()),
        store.has(&chunk.id()).map(|_| ()),
        store.has_many(&[chunk.id()]).pop().unwrap().map(|_| ()),
        store.put(&chunk),
        store.list(&mut |_, _| Ok(())),
        store.facts(&Stored::Chunk(chunk.id())).map(|_| ()),
        store.remove(&Stored::Chunk(chunk.id())),
    ]
}

#[test]
fn a_wrong_secret_is_denied_and_nothing_is_taken_for_absent() {
    with_environment("a_wrong_secret_is_denied_and_nothing_is_taken_for_absent", &[], || {
        let server = Server::start();
        let store =
            open_prunable(&server.location("bucket/s"), &options("another-secret")).unwrap();
        for (number, outcome) in asked(&*store).into_iter().enumerate() {
            let error = outcome.unwrap_err();
            let text = error.to_string();
            let is_denied = match &error {
                Error::Joined(error) => matches!(**error, Error::Denied { .. }),
                error => matches!(error, Error::Denied { .. }),
            };
            assert!(is_denied, "{number}: {text}");
            assert!(text.contains("403") && !text.contains("another-secret"), "{text}");
        }
        let index = Index::of_blob(Digest::default(), ChunkSizes::default());
        let remote = options("another-secret").remote;
        let place = server.location("bucket/blob.caibx");
        assert!(matches!(
            write_index(&place, &index, (0o644, false), &remote),
            Err(Error::Denied { .. })
        ));
        assert!(matches!(read_index(&place, &remote), Err(Error::Denied { .. })));
    });
}

#[test]
fn a_missing_bucket_is_no_empty_store() {
    with_environment("a_missing_bucket_is_no_empty_store", &[], || {
        let server = Server::start();
        for (number, outcome) in asked(&*server.open("other/s")).into_iter().enumerate() {
            let error = outcome.unwrap_err();
            let text = error.to_string();
            assert!(text.ends_with(": bucket 'other' does not exist"), "{number}: {text}");
            assert_eq!(error.again(), Again::No);
        }
        assert!(!server.open("bucket/s").has(&chunk(0).id()).unwrap());
    });
}

#[test]
fn a_server_that_is_gone_may_come_back() {
    with_environment("a_server_that_is_gone_may_come_back", &[], || {
        let server = Server::start();
        let store = server.open("bucket/s");
        drop(server);
        for outcome in asked(&*store) {
            let error = outcome.unwrap_err();
            assert_eq!(error.again(), Again::Yes, "{error}");
        }
    });
}

#[test]
fn an_index_of_many_parts_comes_back() {
    with_environment("an_index_of_many_parts_comes_back", &[], || {
        let server = Server::start();
        let sizes = ChunkSizes::default();
        let mut blob = Index::of_blob(Digest::default(), sizes);
        let place = server.location("bucket/a%20b/blob%231.caibx");
        let file = server.directory.path().join("bucket/a b/blob#1.caibx");
        let remote = options(SECRET).remote;
        for count in [0, 3, 900_000_u64] {
            while (blob.len() as u64) < count {
                blob.push(Digest::default().hash(&blob.len().to_le_bytes()), sizes.max());
            }
            write_index(&place, &blob, (0o644, false), &remote).unwrap();
            assert_eq!(fs::metadata(&file).unwrap().len(), blob.file_size());
            let back = read_index(&place, &remote).unwrap();
            assert_eq!((back.len(), back.blob_size()), (blob.len(), blob.blob_size()));
        }
        // More than two parts.
        assert!(blob.file_size() > 32 << 20);
        let other = server.location("bucket/other.caibx");
        let error = read_index(&other, &remote).unwrap_err().to_string();
        assert!(error.ends_with("bucket/other.caibx: there is no such index"), "{error}");
    });
}

fn chunk(number: u64) -> CodedChunk {
    let chunk = Chunk::name(Digest::default(), number.to_le_bytes().repeat(9));
    Encoder::new(DEFAULT_LEVEL).encode(&chunk, WriteCoding::Zstd)
}

fn listed(store: &dyn PruneStore) -> BTreeSet<ChunkId> {
    let mut ids = BTreeSet::new();
    let mut each = |found, facts: Option<cairn_store::Facts>| {
        assert!(facts.unwrap().len > 0);
        let Stored::Chunk(id) = found else { panic!("{found:?}") };
        assert!(ids.insert(id));
        Ok(())
    };
    store.list(&mut each).unwrap();
    ids
}

#[test]
fn a_prefix_is_unescaped_once() {
    with_environment("a_prefix_is_unescaped_once", &[], || {
        let server = Server::start();
        let store = server.open("bucket/a%2520b/c%20d/");
        let chunk = chunk(0);
        store.put(&chunk).unwrap();
        let path = Form::default().path(&chunk.id());
        assert!(server.directory.path().join("bucket/a%20b/c d").join(path).is_file());
        assert!(store.has(&chunk.id()).unwrap());
        assert_eq!(listed(&*store), [chunk.id()].into());
        store.remove(&Stored::Chunk(chunk.id())).unwrap();
        assert_eq!(store.get(&chunk.id()).unwrap(), None);
    });
}

#[test]
fn thousands_are_listed_by_pages_and_removed_by_batches() {
    with_environment("thousands_are_listed_by_pages_and_removed_by_batches", &[], || {
        let chunks: Vec<CodedChunk> = (0..2500).map(chunk).collect();
        let server = Server::with(|bucket| {
            for chunk in &chunks {
                let path = bucket.join("s").join(Form::default().path(&chunk.id()));
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, chunk.bytes()).unwrap();
            }
            // What is beside it, or not of it, is not seen.
            fs::create_dir(bucket.join("s2")).unwrap();
            fs::write(bucket.join("s2/0000"), "x").unwrap();
            fs::write(bucket.join("s/index.caibx"), "x").unwrap();
        });
        let store = server.open("bucket/s");
        let ids: Vec<ChunkId> = chunks.iter().map(CodedChunk::id).collect();
        assert_eq!(listed(&*store), ids.iter().copied().collect());
        let gone: Vec<Stored> = ids[..1500].iter().map(|id| Stored::Chunk(*id)).collect();
        let outcomes = store.remove_many(&gone);
        assert_eq!(outcomes.len(), gone.len());
        outcomes.into_iter().for_each(|outcome| outcome.unwrap());
        assert_eq!(listed(&*store), ids[1500..].iter().copied().collect());
        // Asked often enough for the answers to come from a listing.
        for round in 0..3 {
            for (number, ids) in ids.chunks(100).enumerate() {
                let expected = number >= 15 && (round < 2 || number > 15);
                for here in store.has_many(ids) {
                    assert_eq!(here.unwrap(), expected, "round {round}, batch {number}");
                }
            }
            if round == 0 {
                store.put(&chunks[0]).unwrap();
                assert!(store.has_many(&ids[..1]).pop().unwrap().unwrap());
                store.remove(&Stored::Chunk(ids[0])).unwrap();
            } else {
                let gone: Vec<Stored> =
                    ids[1500..1600].iter().map(|id| Stored::Chunk(*id)).collect();
                store.remove_many(&gone).into_iter().for_each(|outcome| outcome.unwrap());
            }
        }
        assert!(server.directory.path().join("bucket/s2/0000").exists());
    });
}
