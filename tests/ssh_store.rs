//! Stores behind ssh do what stores must do, and their sessions begin and end as they should.

#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

mod common;

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use cairn_formats::coding::Encoder;
use cairn_formats::protocol::{Frame, services};
use cairn_formats::seal::{Cipher, Key};
use cairn_formats::{Chunk, ChunkId, CodedChunk, Digest, WriteCoding};
use cairn_store::ssh::{Programs, SshStore};
use cairn_store::testing::{Pair, conformance};
use cairn_store::{
    Durability, Error, LocalOptions, LocalStore, Location, Store, StoreOptions, WriteStore, open,
    open_writable,
};
use common::stand_in::{CANNED, HERE};
use common::{Sandbox, desync_is_here};

const CAIRN: &str = env!("CARGO_BIN_EXE_cairn");

fn location(path: &Path) -> Location {
    format!("ssh://there{}", path.display()).parse().unwrap()
}

fn programs(sandbox: &Sandbox, script: &str, remote: &str) -> Programs {
    Programs { ssh: sandbox.script("ssh", script).into(), remote: remote.into() }
}

fn options(connections: usize) -> StoreOptions {
    let mut options = StoreOptions::default();
    options.remote.connections = connections;
    options
}

#[test]
fn stores_at_casync_conform() {
    conforms("casync");
}

#[test]
fn stores_at_cairn_conform() {
    conforms(CAIRN);
}

fn conforms(remote: &str) {
    let sandbox = Sandbox::new();
    let programs = programs(&sandbox, HERE, remote);
    let number = Cell::new(0);
    conformance::writable(|| {
        number.set(number.get() + 1);
        let path = sandbox.path(&number.get().to_string());
        let store = SshStore::open_writable(&location(&path), &options(3)).unwrap();
        store.with_programs(programs.clone())
    });
}

#[test]
fn stores_that_are_only_read_conform() {
    let mut servers = vec!["casync", CAIRN];
    let is_here = desync_is_here("stores_that_are_only_read_conform");
    servers.extend(is_here.then_some("desync"));
    for remote in servers {
        let sandbox = Sandbox::new();
        let programs = programs(&sandbox, HERE, remote);
        let number = Cell::new(0);
        conformance::writable(|| {
            number.set(number.get() + 1);
            let path = sandbox.path(&number.get().to_string());
            let writer = LocalStore::create(&path, LocalOptions::default()).unwrap();
            let reader = SshStore::open(&location(&path), &options(2)).unwrap();
            Pair { reader: reader.with_programs(programs.clone()), writer }
        });
    }
}

fn chunk(text: &str) -> CodedChunk {
    let chunk = Chunk::name(Digest::default(), text.as_bytes());
    Encoder::new(3).encode(&chunk, WriteCoding::Zstd)
}

fn as_frame(chunk: &CodedChunk) -> Frame<'_> {
    Frame::Chunk { compressed: true, id: chunk.id(), bytes: chunk.bytes().into() }
}

fn written(frames: &[Frame<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frames.iter().for_each(|frame| frame.write(&mut bytes).unwrap());
    bytes
}

/// A store whose other side says these frames, whatever it hears.
fn canned(sandbox: &Sandbox, script: &str, frames: &[Frame<'_>]) -> SshStore {
    sandbox.write("answer", &written(frames));
    let store = SshStore::open(&location(Path::new("/s")), &options(1)).unwrap();
    store.with_programs(programs(sandbox, script, "casync"))
}

const SERVES: Frame<'static> = Frame::Hello(services::SERVES_CHUNKS);

#[test]
fn each_chunk_is_asked_for_once_and_the_end_is_said() {
    let sandbox = Sandbox::new();
    let chunks = ["one", "two", "three"].map(chunk);
    let [one, two, three] = &chunks;
    // In another order than asked for.
    let missing = Frame::Missing(three.id());
    let store = canned(&sandbox, CANNED, &[SERVES, as_frame(two), missing, as_frame(one)]);
    let ids = [one.id(), two.id(), one.id(), three.id(), two.id()];
    let mut answers = vec![None; ids.len()];
    store.get_many(&ids, &mut |place, answer| {
        assert_eq!(answers[place].replace(answer.unwrap()), None, "answered twice");
    });
    let [one, two, _] = chunks.clone();
    let expected = [Some(one.clone()), Some(two.clone()), Some(one), None, Some(two)];
    assert_eq!(answers, expected.map(Some));
    drop(store);
    let ask = |chunk: &CodedChunk| Frame::Request { urgent: true, ids: vec![chunk.id()].into() };
    let hello = Frame::Hello(services::PULLS_CHUNKS);
    let [one, two, three] = &chunks;
    let said = written(&[hello, ask(one), ask(two), ask(three), Frame::Goodbye]);
    assert_eq!(sandbox.read("heard"), said);
}

#[test]
fn what_nobody_asked_for_ends_the_session() {
    let [one, two] = ["one", "two"].map(chunk);
    for wrong in [
        vec![SERVES, as_frame(&two)],
        vec![SERVES, as_frame(&one), as_frame(&one)],
        vec![SERVES, as_frame(&one), Frame::Missing(one.id())],
        vec![SERVES, Frame::Missing(two.id())],
        vec![SERVES, SERVES],
        vec![SERVES, Frame::Goodbye],
        vec![SERVES, Frame::IndexEof],
        vec![SERVES, Frame::Request { urgent: false, ids: vec![one.id()].into() }],
    ] {
        let sandbox = Sandbox::new();
        let store = canned(&sandbox, CANNED, &wrong);
        let other = chunk("other").id();
        let mut answers = Vec::new();
        store.get_many(&[one.id(), other], &mut |_, answer| answers.push(answer));
        assert_eq!(answers.len(), 2);
        let last = answers.pop().unwrap().unwrap_err();
        assert_eq!(last.again(), cairn_store::Again::Yes, "{last}");
    }
}

#[test]
fn nothing_is_started_before_it_is_needed_and_nothing_stays() {
    let sandbox = Sandbox::new();
    let one = chunk("one");
    let script = format!("echo $$ >>\"$sandbox/started\"\n{CANNED}");
    let store = canned(&sandbox, &script, &[SERVES, as_frame(&one)]);
    assert!(!sandbox.path("started").exists());
    assert_eq!(store.get(&one.id()).unwrap(), Some(one));
    let started = String::from_utf8(sandbox.read("started")).unwrap();
    let process = Path::new("/proc").join(started.trim());
    assert!(process.exists());
    drop(store);
    // Neither running nor waiting for somebody to ask how it ended.
    assert!(!process.exists());
}

#[test]
fn what_was_asked_for_before_takes_another_session() {
    // casync passes over what it has answered already.
    let sandbox = Sandbox::new();
    let one = chunk("one");
    let script = format!("echo x >>\"$sandbox/started\"\n{CANNED}");
    let store = canned(&sandbox, &script, &[SERVES, as_frame(&one)]);
    for times in 1..=3 {
        assert_eq!(store.get(&one.id()).unwrap(), Some(one.clone()));
        assert_eq!(sandbox.read("started"), "x\n".repeat(times).into_bytes());
    }
}

#[test]
fn who_does_not_go_is_made_to() {
    let sandbox = Sandbox::new();
    let one = chunk("one");
    let deaf = "trap '' TERM\ncat \"$sandbox/answer\"\nexec sleep 1000";
    let store = canned(&sandbox, deaf, &[SERVES, as_frame(&one)]);
    assert!(store.get(&one.id()).unwrap().is_some());
    let begun = Instant::now();
    drop(store);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn a_session_that_cannot_be_started_is_started_once_for_all_who_wait() {
    let sandbox = Sandbox::new();
    let script = "echo x >>\"$sandbox/started\"\nsleep 0.3\nexit 255";
    let store = SshStore::open(&location(Path::new("/s")), &options(8)).unwrap();
    let store = store.with_programs(programs(&sandbox, script, "casync"));
    std::thread::scope(|scope| {
        for number in 0..8_u8 {
            let store = &store;
            scope.spawn(move || {
                let error = store.get(&ChunkId::from_bytes([number; 32])).unwrap_err();
                let said = "ssh exited with status 255 before it answered";
                assert!(error.to_string().contains(said), "{error}");
            });
        }
    });
    let started = fs::read_to_string(sandbox.path("started")).unwrap().lines().count();
    // Who came too late to wait may have begun another.
    assert!(started < 8, "{started}");
}

#[test]
fn a_chunk_too_long_for_the_protocol_is_refused() {
    let sandbox = Sandbox::new();
    let store = SshStore::open_writable(&location(&sandbox.path("s")), &options(1)).unwrap();
    let store = store.with_programs(programs(&sandbox, HERE, CAIRN));
    let long = Chunk::name(Digest::default(), common::random(1, 17 << 20));
    let long = Encoder::new(3).encode(&long, WriteCoding::Plain);
    let error = store.put(&long).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    // The store is of use after that.
    store.put(&chunk("short")).unwrap();
    assert_eq!(store.get(&chunk("short").id()).unwrap(), Some(chunk("short")));
}

#[test]
fn bytes_that_are_not_the_chunk_are_not_stored() {
    for remote in ["casync", CAIRN] {
        let sandbox = Sandbox::new();
        let store = SshStore::open_writable(&location(&sandbox.path("s")), &options(1)).unwrap();
        let store = store.with_programs(programs(&sandbox, HERE, remote));
        let id = chunk("right").id();
        let wrong = CodedChunk::new(id, cairn_formats::Coding::Plain, b"wrong".to_vec());
        assert!(matches!(store.put(&wrong), Err(Error::Invalid { .. })));
        assert_eq!(store.get(&id).unwrap(), None);
    }
}

#[test]
fn what_the_protocol_cannot_do_is_refused_at_once() {
    let there: Location = "ssh://there/s".parse().unwrap();
    let mut sealed = options(1);
    let key = Key::new(Cipher::XChaCha20Poly1305, &[7; 32]).unwrap();
    sealed.form = sealed.form.with_key(Some(key));
    let durable = StoreOptions { durability: Durability::Batch, ..options(1) };
    let refused = |outcome: cairn_store::Result<()>| outcome.unwrap_err().to_string();
    let encrypted = "encryption is not supported by casync protocol (ssh://) stores";
    for error in [
        refused(open(&[vec![(there.clone(), sealed.clone())]]).map(drop)),
        refused(open_writable(&[(there.clone(), sealed)]).map(drop)),
    ] {
        assert!(error.contains(encrypted), "{error}");
    }
    assert!(refused(open_writable(&[(there, durable)]).map(drop)).contains("durability"));
    let dash: Location = "ssh://-oProxyCommand=x/s".parse().unwrap();
    assert!(
        refused(open(&[vec![(dash, options(1))]]).map(drop)).contains("must not begin with '-'")
    );
}
