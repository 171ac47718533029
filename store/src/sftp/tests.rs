//! The backend with OpenSSH's own server at the other end of the pipe, without a network between.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cairn_formats::coding::{DEFAULT_LEVEL, Encoder};
use cairn_formats::{Chunk, ChunkId, ChunkSizes, CodedChunk, Digest, Form, Index};
use futures_util::{FutureExt, StreamExt, stream};
use tempfile::TempDir;

use super::SftpObjects;
use super::address::Address;
use crate::combine::Retrying;
use crate::remote::objects::{Objects, WriteObjects, collect};
use crate::remote::runtime::wait;
use crate::remote::store::RemoteStore;
use crate::remote::{Retry, index};
use crate::{
    Again, Error, PruneStore, RemoteOptions, Stop, Store, StoreOptions, Stored, WriteStore,
};

/// Where Debian's `openssh-sftp-server`, Fedora's `openssh-server` and others have it.
const SERVERS: [&str; 3] = [
    "/usr/lib/openssh/sftp-server",
    "/usr/libexec/openssh/sftp-server",
    "/usr/lib/ssh/sftp-server",
];

/// A directory, and a program in place of ssh that is a server of SFTP.
struct Server {
    directory: TempDir,
    program: PathBuf,
}

impl Server {
    fn new() -> Self {
        Self::running("exec $SERVER")
    }

    /// A shell script that runs `$SERVER` in some way. It may note things in the directory it is in.
    fn running(script: &str) -> Self {
        let server = SERVERS.into_iter().find(|path| Path::new(path).exists());
        let server = server.expect("these tests run sftp-server: install openssh-sftp-server");
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("ssh");
        let place = directory.path().display();
        let script = format!("#!/bin/sh\nSERVER={server}\nexport SERVER\ncd {place}\n{script}\n");
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self { directory, program }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn objects(&self, name: &str, options: &RemoteOptions) -> SftpObjects {
        let url = format!("sftp://host{}", self.path(name).display());
        let program = self.program.clone().into_os_string();
        let mut address = Address::parse(&url, &url).unwrap();
        address.program = program;
        SftpObjects::at(address, &format!("sftp://host/{name}"), options)
    }

    /// A store in a directory that is there.
    fn store(&self, name: &str, options: &StoreOptions) -> RemoteStore<SftpObjects> {
        fs::create_dir(self.path(name)).unwrap();
        let objects = self.objects(name, &options.remote);
        RemoteStore::new(objects, format!("sftp://host/{name}"), options)
    }
}

fn chunk(data: &[u8]) -> CodedChunk {
    let chunk = Chunk::name(Digest::default(), data);
    Encoder::new(DEFAULT_LEVEL).encode(&chunk, cairn_formats::WriteCoding::Zstd)
}

fn options(timeout: Duration) -> StoreOptions {
    let remote = RemoteOptions { timeout: Some(timeout), ..RemoteOptions::default() };
    StoreOptions { remote, ..StoreOptions::default() }
}

/// All files below a directory.
fn files(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let below = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    entries.flat_map(below).collect()
}

/// With a server that cannot rename a file in place of another, and reads only little at once.
#[test]
fn a_poor_server_will_do() {
    let hidden = "$SERVER | perl -e '$| = 1; while (sysread(STDIN, $b, 65536)) \
                  { $b =~ s/posix-rename/posix-rhinos/; print $b }'";
    let server = Server::running(hidden);
    let store = server.store("store", &StoreOptions::default());
    let coded = chunk(&b"twice".repeat(1000));
    let path = server.path("store").join(Form::default().path(&coded.id()));
    store.put(&coded).unwrap();
    fs::write(&path, "damaged").unwrap();
    store.put(&coded).unwrap();
    assert_eq!(store.fetch(&coded.id()).unwrap(), coded);
    assert_eq!(files(&server.path("store")), [path]);
}

#[test]
fn files_of_any_length_come_back() {
    let server = Server::new();
    let objects = server.objects("", &RemoteOptions::default());
    for len in [0, 1, 32_768, 261_120, 261_121, 5_000_000] {
        let bytes: Bytes = (0..len).map(|n: usize| (n / 7) as u8).collect();
        let parts = bytes.chunks(1_000_001).map(|part| Ok(Bytes::copy_from_slice(part)));
        let parts = stream::iter(parts.collect::<Vec<_>>());
        wait(objects.put_parts("a b%25", Box::pin(parts))).unwrap();
        assert_eq!(fs::read(server.path("a b%")).unwrap().len(), len);
        let body = wait(objects.open("a%20b%25")).unwrap().unwrap();
        assert!(wait(collect(body, len, "")).unwrap() == bytes, "{len}");
    }
    let body = wait(objects.open("a%20b%25")).unwrap().unwrap();
    let error = wait(collect(body, 4_999_999, "place")).unwrap_err();
    assert!(error.to_string().starts_with("place: more than"), "{error}");
}

#[test]
fn indexes_are_written_and_read() {
    let server = Server::new();
    let remote = RemoteOptions::default();
    let objects = server.objects("made", &remote);
    let sizes = ChunkSizes::default();
    let mut blob = Index::of_blob(Digest::default(), sizes);
    for count in [0, 600_000_u64] {
        while (blob.len() as u64) < count {
            blob.push(Digest::default().hash(&blob.len().to_le_bytes()), sizes.max());
        }
        index::write(&objects, "blob.caibx", &blob, &remote).unwrap();
        let back = index::read(&objects, "blob.caibx", &remote).unwrap().unwrap();
        assert_eq!((back.len(), back.blob_size()), (blob.len(), blob.blob_size()));
    }
    assert!(index::read(&objects, "other.caibx", &remote).unwrap().is_none());
    assert_eq!(files(&server.path("made")), [server.path("made/blob.caibx")]);
}

#[test]
fn a_part_that_fails_leaves_nothing() {
    let server = Server::new();
    fs::create_dir(server.path("store")).unwrap();
    let objects = server.objects("store", &RemoteOptions::default());
    let why = Error::Unsupported { place: "here".to_owned(), why: "enough".to_owned() };
    let parts = stream::iter([Ok(Bytes::from(vec![1; 100_000])), Err(why)]);
    let error = wait(objects.put_parts("x.caibx", Box::pin(parts))).unwrap_err();
    assert_eq!(error.to_string(), "here: enough");
    // The server does one thing after the other.
    assert!(!wait(objects.has("x.caibx")).unwrap());
    assert!(files(&server.path("store")).is_empty());
}

#[test]
fn a_store_that_is_not_there_is_no_empty_store() {
    let server = Server::new();
    let objects = server.objects("none", &RemoteOptions::default());
    let store = RemoteStore::new(objects, "sftp://host/none".to_owned(), &StoreOptions::default());
    let id = ChunkId::from_bytes([1; 32]);
    let missing = |error: Error| {
        assert_eq!(error.to_string(), "sftp://host/none/: the directory does not exist");
        assert_eq!(error.again(), Again::No);
    };
    missing(store.get(&id).unwrap_err());
    missing(store.has(&id).unwrap_err());
    missing(store.list(&mut |_, _| Ok(())).unwrap_err());
    store.prepare().unwrap();
    assert_eq!(store.get(&id).unwrap(), None);
    store.prepare().unwrap();
    // One level, and no more.
    let error = wait(server.objects("a/b", &RemoteOptions::default()).prepare()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "sftp://host/a/b/: neither the directory nor the one above it exists"
    );
    let error = wait(server.objects("ssh", &RemoteOptions::default()).prepare()).unwrap_err();
    assert_eq!(error.to_string(), "sftp://host/ssh/: the store is not a directory");
}

#[test]
fn what_is_forbidden_is_not_missing() {
    let server = Server::running("exec $SERVER -P stat,open,remove");
    let store = server.store("store", &StoreOptions::default());
    let coded = chunk(b"forbidden");
    let errors = [
        store.has(&coded.id()).unwrap_err(),
        store.get(&coded.id()).unwrap_err(),
        store.put(&coded).unwrap_err(),
        store.remove(&Stored::Chunk(coded.id())).unwrap_err(),
    ];
    let place = format!("sftp://host/store/{}", Form::default().path(&coded.id()));
    for error in errors {
        assert!(matches!(error, Error::Denied { .. }), "{error:?}");
        assert_eq!(error.to_string(), format!("{place}: permission denied"));
    }
    let server = Server::running("exec $SERVER -R");
    assert!(matches!(
        server.store("s", &options(Duration::MAX)).put(&coded),
        Err(Error::Denied { .. })
    ));
}

#[test]
fn what_is_no_chunk_is_not_listed() {
    let server = Server::new();
    let store = server.store("store", &StoreOptions::default());
    let coded = chunk(b"listed");
    store.put(&coded).unwrap();
    let own = Form::default().path(&coded.id());
    let prefix = &own[..4];
    let leftover = format!("{prefix}/.tmp-cacnk.50% \u{e9}");
    fs::create_dir(server.path("store/strays")).unwrap();
    fs::create_dir(server.path(&format!("store/{prefix}/{}.cacnk", "0".repeat(64)))).unwrap();
    for name in [&leftover, "strays/.tmp-cacnk.1", "README", &format!("{prefix}/README")] {
        fs::write(server.path("store").join(name), "1234").unwrap();
    }
    // Not a name in any encoding of text.
    let odd = server.path("store").join(prefix).join(OsStr::from_bytes(b"\xff"));
    fs::write(&odd, "odd").unwrap();
    let mut found = Vec::new();
    let mut note = |one, facts| {
        found.push((one, facts));
        Ok(())
    };
    store.list(&mut note).unwrap();
    found.sort_by_key(|(one, _)| matches!(one, Stored::Leftover(_)));
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0].0, Stored::Chunk(coded.id()));
    assert!(matches!(found[1], (Stored::Leftover(_), Some(_))), "{found:?}");
    for (one, facts) in &found {
        assert_eq!(store.facts(one).unwrap(), *facts);
        store.remove(one).unwrap();
    }
    assert!(!server.path("store").join(leftover).exists());
    assert_eq!(files(&server.path("store")).len(), 4);
    fs::remove_file(odd).unwrap();
}

#[test]
fn an_empty_directory_goes_with_its_last_chunk() {
    let server = Server::new();
    let store = server.store("store", &StoreOptions::default());
    let coded = chunk(b"alone");
    store.put(&coded).unwrap();
    store.remove(&Stored::Chunk(coded.id())).unwrap();
    assert_eq!(fs::read_dir(server.path("store")).unwrap().count(), 0);
    store.put(&coded).unwrap();
    assert!(store.has(&coded.id()).unwrap());
}

#[test]
fn one_ssh_does_for_many_requests_and_a_crowd_gets_more() {
    for (connections, expected) in [(10, 1..=1), (64, 2..=4)] {
        let server = Server::running("echo >>begun; exec $SERVER");
        let mut options = StoreOptions::default();
        options.remote.connections = connections;
        let store = server.store("store", &options);
        assert!(!server.path("begun").exists(), "not before it is needed");
        let ids: Vec<ChunkId> =
            (0..2000_u32).map(|n| Digest::default().hash(&n.to_le_bytes())).collect();
        assert!(store.has_many(&ids).into_iter().all(|here| !here.unwrap()));
        let begun = fs::read_to_string(server.path("begun")).unwrap().lines().count();
        assert!(expected.contains(&begun), "{begun} of {connections}");
    }
}

#[test]
fn an_ssh_that_does_not_connect_is_told_of() {
    for (script, expected, again) in [
        ("exit 255", "ssh has not connected (exit status: 255)", Again::Yes),
        ("exit 7", "ssh has not connected (exit status: 7)", Again::No),
        ("kill -9 $$", "ssh has not connected (signal: 9 (SIGKILL))", Again::Yes),
        (
            "echo 'Welcome to this \u{1b}[1mmachine'; sleep 9",
            "no SFTP server has answered, but \"Welcome to this \\u{1b}[1mmachine\": \
             nothing may print when ssh logs in",
            Again::No,
        ),
        (
            "printf '\\0\\0\\0\\5\\2\\0\\0\\0\\7'",
            "the server speaks version 7 of SFTP, and not 3",
            Again::No,
        ),
    ] {
        let server = Server::running(script);
        let store = server.store("store", &options(Duration::from_secs(20)));
        let error = store.has(&ChunkId::from_bytes([1; 32])).unwrap_err();
        assert!(error.to_string().ends_with(expected), "{error}");
        assert_eq!(error.again(), again, "{script}");
    }
    let server = Server::new();
    fs::remove_file(&server.program).unwrap();
    let error = server.store("s", &StoreOptions::default()).has(&ChunkId::from_bytes([1; 32]));
    let text = error.unwrap_err().to_string();
    assert!(text.contains("cannot run ") && text.contains("No such file"), "{text}");
}

#[test]
fn an_ssh_that_does_not_connect_is_not_started_by_everybody() {
    let server = Server::running("echo >>begun; exit 255");
    let mut options = StoreOptions::default();
    options.remote.connections = 64;
    let store = server.store("store", &options);
    let ids = [ChunkId::from_bytes([1; 32]); 200];
    let answers = store.has_many(&ids);
    assert!(answers.into_iter().all(|answer| answer.is_err()));
    let begun = fs::read_to_string(server.path("begun")).unwrap().lines().count();
    assert!(begun < 10, "{begun}");
}

#[test]
fn a_session_that_breaks_is_replaced() {
    // The first three end after some answers, in the middle of a packet.
    let cut = "exec perl -e '$| = 1; my $n = 30000; my $pid = open(S, \"-|\", $ENV{SERVER}); \
               while ($n > 0 && sysread(S, $b, $n)) { $n -= length $b; print $b } kill 9, $pid'";
    let script =
        &format!("echo >>begun; if [ $(wc -l <begun) -le 3 ]; then {cut}; else exec $SERVER; fi");
    let server = Server::running(script);
    let options = StoreOptions::default();
    let retry = Retry { times: 5, base_interval: Duration::from_millis(20) };
    let store = Retrying::new(server.store("store", &options), retry, Stop::default());
    let chunks: Vec<CodedChunk> = (0..50_u32).map(|n| chunk(&noise(n, 3000))).collect();
    let direct = crate::LocalStore::create(&server.path("store"), crate::LocalOptions::default());
    let direct = direct.unwrap();
    chunks.iter().for_each(|chunk| direct.put(chunk).unwrap());
    let ids: Vec<ChunkId> = chunks.iter().map(CodedChunk::id).collect();
    let mut right = 0;
    store.get_many(&ids, &mut |place, answer| {
        right += usize::from(answer.unwrap().as_ref() == Some(&chunks[place]));
    });
    assert_eq!(right, 50);
    assert!(fs::read_to_string(server.path("begun")).unwrap().lines().count() > 3);
}

#[test]
fn a_server_that_breaks_the_rules_is_left() {
    // A hello, and then: a packet without end, an answer to nothing, a list of names without names.
    let hello = "\\0\\0\\0\\5\\2\\0\\0\\0\\3";
    for (answer, expected) in [
        (
            "\\377\\377\\377\\377",
            "the connection was lost: the server has sent a packet that is too long",
        ),
        (
            "\\0\\0\\0\\11\\145\\0\\0\\11\\0\\0\\0\\0\\0",
            "the server has answered what it was not asked",
        ),
        (
            "\\0\\0\\0\\11\\150\\0\\0\\0\\0\\377\\377\\377\\377",
            "the server has sent what is no answer",
        ),
        ("\\0\\0\\0\\0", "the server has sent what is no answer"),
        (
            "\\0\\0\\0\\11\\146\\0\\0\\0\\0\\0\\0\\0\\0",
            "the server has answered something else than it was asked",
        ),
    ] {
        // The answer comes when it has been asked.
        let server = Server::running(&format!(
            "head -c 9 >/dev/null; printf '{hello}'; head -c 30 >/dev/null; printf '{answer}'; sleep 9"
        ));
        let store = server.store("store", &options(Duration::from_secs(20)));
        let error = store.has(&ChunkId::from_bytes([1; 32])).unwrap_err();
        assert!(error.to_string().ends_with(expected), "{error}");
    }
}

#[test]
fn a_server_that_falls_silent_is_left_for_another() {
    // The first stands still at its first request, but not at its hello.
    let script = "echo >>begun; echo $$ >pid; if [ $(wc -l <begun) -ne 1 ]; then exec $SERVER; fi; \
                  head -c 9 >hello; printf '\\0\\0\\0\\5\\2\\0\\0\\0\\3'; exec sleep 1000";
    let server = Server::running(script);
    let timeout = Duration::from_millis(1500);
    let store = server.store("store", &options(timeout));
    let coded = chunk(b"said at last");
    let began = Instant::now();
    let error = store.put(&coded).unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(20));
    assert!(error.to_string().contains("no answer within 1.5s"), "{error}");
    assert_eq!(error.again(), Again::Yes);
    let silent = fs::read_to_string(server.path("pid")).unwrap();
    store.put(&coded).unwrap();
    assert_eq!(store.fetch(&coded.id()).unwrap(), coded);
    assert_eq!(fs::read_to_string(server.path("begun")).unwrap().lines().count(), 2);
    has_gone(&silent);
    let second = fs::read_to_string(server.path("pid")).unwrap();
    assert_ne!(second, silent);
    drop(store);
    has_gone(&second);
}

/// Waits until there is no process by this number, dead or alive.
fn has_gone(process: &str) {
    let began = Instant::now();
    while Path::new("/proc").join(process.trim()).exists() {
        assert!(began.elapsed() < Duration::from_secs(10), "{process} is still there");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn requests_that_are_given_up_leave_the_session_usable() {
    let server = Server::running("echo >>begun; exec $SERVER");
    let store = server.store("store", &StoreOptions::default());
    let objects = server.objects("store", &RemoteOptions::default());
    let coded = chunk(&noise(1, 200_000));
    store.put(&coded).unwrap();
    let name = Form::default().path(&coded.id());
    wait(async {
        assert!(objects.has(&name).await.unwrap());
        for steps in 0..40 {
            // Some are dropped before they are sent, some before they are answered.
            let endless = stream::repeat_with(|| Ok(Bytes::from_static(&[7; 50_000])));
            let mut put = Box::pin(objects.put_parts("0000/x", Box::pin(endless)).fuse());
            let mut open = Box::pin(objects.open(&name).fuse());
            for _ in 0..steps {
                let _ = futures_util::poll!(&mut put);
                let _ = futures_util::poll!(&mut open);
                tokio::task::yield_now().await;
            }
        }
        let body = objects.open(&name).await.unwrap().unwrap();
        let bytes: Vec<Bytes> = body.map(|part| part.unwrap()).collect().await;
        assert_eq!(bytes.concat().len(), fs::read(server.path("store").join(&name)).unwrap().len());
        assert!(!objects.has("0000/x").await.unwrap());
    });
    assert_eq!(files(&server.path("store")), [server.path("store").join(&name)]);
    // One of each.
    assert_eq!(fs::read_to_string(server.path("begun")).unwrap().lines().count(), 2);
}

fn noise(seed: u32, len: usize) -> Vec<u8> {
    let mut x = u64::from(seed) + 1;
    let next = std::iter::repeat_with(|| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x as u8
    });
    next.take(len).collect()
}
