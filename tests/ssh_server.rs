//! What `cairn pull` and `cairn push` do with clients of all kinds.

#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

mod common;

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cairn_formats::coding::{Decoder, Encoder};
use cairn_formats::protocol::{Frame, services};
use cairn_formats::{Chunk, ChunkId, ChunkSizes, CodedChunk, Coding, Digest, Index, WriteCoding};
use common::stand_in::HERE;
use common::{Outcome, Sandbox, joined, random, run, text};

const PULLS: Frame<'static> = Frame::Hello(services::PULLS_CHUNKS);

const PUSHES: Frame<'static> =
    Frame::Hello(services::PUSHES_CHUNKS | services::PUSHES_INDEX | services::PUSHES_INDEX_CHUNKS);

fn written(frames: &[Frame<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frames.iter().for_each(|frame| frame.write(&mut bytes).unwrap());
    bytes
}

/// The frames a server has sent.
fn heard(outcome: &Outcome) -> Vec<Frame<'static>> {
    let mut bytes = &outcome.stdout[..];
    std::iter::from_fn(|| Frame::read(&mut bytes).unwrap()).collect()
}

fn request(ids: &[ChunkId]) -> Frame<'static> {
    Frame::Request { urgent: false, ids: ids.to_vec().into() }
}

fn ids(sandbox: &Sandbox) -> Vec<ChunkId> {
    sandbox.ids("blob.caibx").iter().map(|id| id.parse().unwrap()).collect()
}

fn file(id: ChunkId) -> String {
    format!("store/{}/{id}.cacnk", &id.to_hex()[..4])
}

/// Serves a client that says this and goes.
fn pull(sandbox: &Sandbox, said: &[u8]) -> Outcome {
    sandbox.cairn_with_input("pull - - - store", said)
}

/// The reason of the ABORT that is the last frame.
#[track_caller]
fn aborted(frames: &[Frame<'_>]) -> String {
    match frames.last() {
        Some(Frame::Abort { reason, .. }) => reason.to_string(),
        other => panic!("no ABORT: {other:?}"),
    }
}

/// Checks that a client that says this is told why it gets nothing more, and that we are, too.
#[track_caller]
fn is_refused(outcome: &Outcome, part: &str) {
    assert_eq!(outcome.code, Some(1), "{part}");
    assert!(outcome.stderr.starts_with("error: client: "), "{}", outcome.stderr);
    assert!(outcome.stderr.contains(part), "no `{part}` in {}", outcome.stderr);
    let reason = aborted(&heard(outcome));
    assert!(reason.contains(part), "no `{part}` in {reason}");
}

#[test]
fn chunks_are_sent_as_zstd_and_absent_ones_are_missing() {
    let sandbox = Sandbox::with_store(&joined(&[&random(1, 300_000), &text(300_000)]));
    let ids = ids(&sandbox);
    let absent = ChunkId::from_bytes([7; 32]);
    // One lies there plain, one as xz of casync.
    let (plain, xz) = (ids[1], ids[2]);
    let bytes = |id: ChunkId| {
        let coded = CodedChunk::from_compressed(id, sandbox.read(&file(id))).unwrap();
        Decoder::new().decode(&coded, 1 << 20).unwrap()
    };
    let unpacked = bytes(plain);
    fs::write(sandbox.path(file(plain).strip_suffix(".cacnk").unwrap()), &unpacked).unwrap();
    fs::remove_file(sandbox.path(&file(plain))).unwrap();
    sandbox.write("raw", &bytes(xz));
    let made = Command::new("xz").args(["--keep", "raw"]).current_dir(sandbox.path(".")).status();
    assert!(made.expect("xz is there: package xz-utils").success());
    fs::rename(sandbox.path("raw.xz"), sandbox.path(&file(xz))).unwrap();

    for end in [vec![], vec![Frame::Goodbye]] {
        let ask = [PULLS, request(&ids), request(&[absent])];
        let said = written(&[&ask[..], &end].concat());
        let served = pull(&sandbox, &said).succeeds();
        assert_eq!(served.stderr, "");
        let frames = heard(&served);
        assert_eq!(frames[0], Frame::Hello(services::SERVES_CHUNKS));
        assert_eq!(frames.last(), Some(&Frame::Missing(absent)));
        assert_eq!(frames.len(), ids.len() + 2);
        for (frame, id) in frames[1..].iter().zip(&ids) {
            let Frame::Chunk { compressed: true, id: sent, bytes } = frame else {
                panic!("{frame:?}");
            };
            assert_eq!(sent, id);
            let coded = CodedChunk::from_compressed(*id, bytes.to_vec()).unwrap();
            assert_eq!(coded.coding(), Coding::Zstd);
            coded.open(Digest::default(), &mut Decoder::new(), 1 << 20).unwrap();
        }
    }
}

#[test]
fn damaged_chunks_are_missing_unless_the_store_is_trusted() {
    let sandbox = Sandbox::with_store(&random(2, 300_000));
    let ids = ids(&sandbox);
    let (damaged, broken) = (ids[0], ids[1]);
    let wrong =
        Encoder::new(3).encode(&Chunk::name(Digest::default(), b"wrong"), WriteCoding::Zstd);
    sandbox.write(&file(damaged), wrong.bytes());
    sandbox.write(&file(broken), b"no coding");
    let said = written(&[PULLS, request(&[damaged, broken, ids[2]])]);
    let served = pull(&sandbox, &said).succeeds();
    let frames = heard(&served);
    assert_eq!(frames[1..3], [Frame::Missing(damaged), Frame::Missing(broken)]);
    assert!(matches!(frames[3], Frame::Chunk { id, .. } if id == ids[2]));
    for id in [damaged, broken] {
        let lines = served.stderr.lines();
        let line = lines.clone().find(|line| line.contains(&id.to_hex())).unwrap();
        assert!(line.starts_with("warning: "), "{line}");
    }
    let place = sandbox.path("store").display().to_string();
    sandbox
        .configure(&format!("{{\"store-options\": {{\"{place}\": {{\"skip-verify\": true}}}}}}"));
    let frames = heard(&pull(&sandbox, &written(&[PULLS, request(&[damaged])])).succeeds());
    let bytes = wrong.bytes().into();
    assert_eq!(frames[1], Frame::Chunk { compressed: true, id: damaged, bytes });
}

#[test]
fn several_stores_are_served_as_one() {
    let sandbox = Sandbox::with_store(&random(3, 300_000));
    let ids = ids(&sandbox);
    fs::create_dir_all(sandbox.path("rest").join(&ids[0].to_hex()[..4])).unwrap();
    let moved = file(ids[0]).replace("store", "rest");
    fs::rename(sandbox.path(&file(ids[0])), sandbox.path(&moved)).unwrap();
    let said = written(&[PULLS, request(&ids)]);
    let served = sandbox.cairn_with_input("pull - - - store rest", said).succeeds();
    let chunks = heard(&served).into_iter().filter(|f| matches!(f, Frame::Chunk { .. })).count();
    assert_eq!(chunks, ids.len());
}

#[test]
fn clients_that_make_no_sense_are_told_so() {
    let sandbox = Sandbox::with_store(&random(4, 300_000));
    let bad_size = |size: u64| {
        let kind = 0x8ab4_27e0_f89d_9210_u64;
        joined(&[&written(&[PULLS]), &size.to_le_bytes(), &kind.to_le_bytes()])
    };
    let id = ids(&sandbox)[0];
    let truncated = written(&[PULLS, request(&[id])]);
    let gave_up = Frame::Abort { errno: 0, reason: "changed my mind".into() };
    for (said, part) in [
        (vec![], "went away without a word"),
        (written(&[Frame::Goodbye]), "GOODBYE out of place"),
        (written(&[Frame::Hello(services::PULLS_INDEX)]), "wants an index"),
        (written(&[Frame::Hello(services::SERVES_CHUNKS)]), "nobody wants anything"),
        (written(&[Frame::Hello(1 << 50)]), "unknown"),
        (written(&[PULLS, PULLS]), "HELLO out of place"),
        (written(&[PULLS, gave_up]), "it gave up: changed my mind"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "not the casync protocol"),
        (bad_size(0), "not the casync protocol"),
        (bad_size(15), "not the casync protocol"),
        (bad_size(1 << 63), "not the casync protocol"),
        (bad_size(16 << 20), "not the casync protocol"),
        (truncated[..truncated.len() - 1].to_vec(), "ended inside of a frame"),
    ] {
        is_refused(&pull(&sandbox, &said), part);
    }
}

#[test]
fn a_store_that_fails_ends_the_session_with_words() {
    let sandbox = Sandbox::with_store(&random(5, 300_000));
    let id = ids(&sandbox)[0];
    // Neither there nor not there.
    fs::remove_file(sandbox.path(&file(id))).unwrap();
    std::os::unix::fs::symlink("loop", sandbox.path(&file(id))).unwrap();
    std::os::unix::fs::symlink("loop", sandbox.path(&file(id)).with_file_name("loop")).unwrap();
    let served = pull(&sandbox, &written(&[PULLS, request(&[id])]));
    assert_eq!(served.code, Some(1));
    assert!(aborted(&heard(&served)).contains("symbolic links"), "{}", served.stderr);
    // One that is not there at all is said before anything else.
    let served = sandbox.cairn_with_input("pull - - - no-store", written(&[PULLS]));
    assert_eq!(served.code, Some(1));
    assert!(aborted(&heard(&served)).contains("no-store"));
}

#[test]
fn the_words_are_those_of_casync() {
    let sandbox = Sandbox::with_store(&random(6, 300_000));
    let index = sandbox.read("blob.caibx");
    let wants = Frame::Hello(services::PULLS_INDEX | services::PULLS_CHUNKS);
    let words = "--log-level=3 --rate-limit-bps=0 pull - - blob.caibx store";
    let served = sandbox.cairn_with_input(words, written(&[wants])).succeeds();
    let mut pieces = Vec::new();
    for frame in heard(&served) {
        if let Frame::Index(bytes) = frame {
            pieces.extend_from_slice(&bytes);
        }
    }
    assert_eq!(pieces, index);
    for words in [
        "pull",
        "pull - - -",
        "pull - x - store",
        "pull x - - store",
        "push - - -",
        "push x - - store",
        "push - x - store",
    ] {
        assert_eq!(sandbox.cairn(words).code, Some(2), "{words}");
    }
    for words in ["pull - - - -", "push - - - -"] {
        let refused = sandbox.cairn(words);
        assert_eq!(refused.code, Some(1));
        assert!(refused.stderr.contains("neither store nor index"), "{}", refused.stderr);
    }
}

#[test]
fn a_limit_of_the_rate_is_kept() {
    let sandbox = Sandbox::with_store(&random(7, 400_000));
    let said = written(&[PULLS, request(&ids(&sandbox))]);
    let begun = Instant::now();
    let served = sandbox.cairn_with_input("--rate-limit-bps=1000000 pull - - - store", said);
    // The last piece is not waited for.
    assert!(served.succeeds().stdout.len() > 400_000);
    assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());
}

#[test]
fn pipes_that_do_not_block_are_waited_for() {
    // casync puts both ends into that mode, so we get them so.
    let sandbox = Sandbox::with_store(&random(8, 3_000_000));
    let script = HERE.replace("complaints", "complaints\" 2>>\"$sandbox/complaints");
    let ssh = sandbox.script("ssh", &script);
    let there = sandbox.path("").display().to_string();
    for words in [
        format!("extract --store=there:{there}store there:{there}blob.caibx out"),
        format!("make --store=there:{there}new there:{there}new.caibx blob"),
    ] {
        let mut command = Command::new("casync");
        command.args(words.split(' ')).current_dir(sandbox.path(".")).env("CASYNC_SSH_PATH", &ssh);
        command.env("CASYNC_REMOTE_PATH", env!("CARGO_BIN_EXE_cairn"));
        let done = run(command, None).succeeds();
        assert_eq!(done.stderr, "");
    }
    assert!(sandbox.read("out") == sandbox.read("blob"));
    assert_eq!(sandbox.files("new"), sandbox.files("store"));
    assert_eq!(sandbox.read("complaints"), b"");
}

/// Chunks, and the index of them.
fn pushed() -> (Vec<CodedChunk>, Vec<u8>) {
    let mut index = Index::of_blob(Digest::default(), ChunkSizes::default());
    let mut encoder = Encoder::new(3);
    let chunks = (0..5_u64).map(|seed| {
        let chunk = Chunk::name(Digest::default(), random(seed, 20_000));
        index.push(chunk.id(), 20_000);
        encoder.encode(&chunk, WriteCoding::Zstd)
    });
    let chunks = chunks.collect();
    let mut bytes = Vec::new();
    index.write(&mut bytes).unwrap();
    (chunks, bytes)
}

fn as_frame(chunk: &CodedChunk) -> Frame<'_> {
    Frame::Chunk { compressed: true, id: chunk.id(), bytes: chunk.bytes().into() }
}

fn push(sandbox: &Sandbox, frames: &[Frame<'_>]) -> Outcome {
    sandbox.cairn_with_input("push - - new.caibx new", written(frames))
}

#[test]
fn what_is_pushed_is_there() {
    let sandbox = Sandbox::new();
    let (chunks, index) = pushed();
    let wanted: Vec<ChunkId> = chunks.iter().map(CodedChunk::id).collect();
    let mut frames = vec![PUSHES];
    frames.extend(index.chunks(33).map(|piece| Frame::Index(piece.into())));
    frames.push(Frame::IndexEof);
    frames.extend(chunks.iter().map(as_frame));
    let taken = push(&sandbox, &frames).succeeds();
    assert_eq!(taken.stderr, "");
    let mut requested = Vec::new();
    for frame in heard(&taken) {
        if let Frame::Request { ids, .. } = frame {
            requested.extend_from_slice(&ids);
        }
    }
    assert_eq!(requested, wanted);
    assert_eq!(heard(&taken).last(), Some(&Frame::Goodbye));
    assert_eq!(sandbox.read("new.caibx"), index);
    sandbox.cairn("extract -s new new.caibx out").succeeds_silently();
    // The second time nothing is wanted.
    let again = push(&sandbox, &[PUSHES, Frame::Index(index.into()), Frame::IndexEof]).succeeds();
    assert_eq!(heard(&again).len(), 2);
    assert_eq!(heard(&again)[1], Frame::Goodbye);
}

#[test]
fn what_other_stores_have_is_not_wanted() {
    let sandbox = Sandbox::new();
    let (chunks, index) = pushed();
    let mut frames = vec![PUSHES, Frame::Index(index.into()), Frame::IndexEof];
    frames.extend(chunks.iter().map(as_frame));
    push(&sandbox, &frames).succeeds();
    let words = "push - - other.caibx other new";
    let taken = sandbox.cairn_with_input(words, written(&frames[..3])).succeeds();
    assert_eq!(heard(&taken).len(), 2);
    assert_eq!(sandbox.read("other.caibx"), sandbox.read("new.caibx"));
}

#[test]
fn no_index_appears_before_everything_is_there() {
    let (chunks, index) = pushed();
    let all = Frame::Index(index.clone().into());
    let first = as_frame(&chunks[0]);
    let missing = Frame::Missing(chunks[1].id());
    let bytes = chunks[1].bytes().into();
    let damaged = Frame::Chunk { compressed: true, id: chunks[2].id(), bytes };
    let bytes = b"plain".to_vec().into();
    let plain = Frame::Chunk { compressed: false, id: chunks[2].id(), bytes };
    let unwanted = as_frame(&chunks[4]);
    let mut no_tail = index.clone();
    no_tail.truncate(index.len() - 40);
    let mut bad_item = index;
    bad_item[66] = 0xff;
    let everything: Vec<Frame<'_>> = chunks.iter().map(as_frame).collect();
    let eof = Frame::IndexEof;
    for (frames, part) in [
        (vec![PUSHES, all.clone(), first.clone()], "went away before everything was here"),
        (vec![PUSHES, all.clone(), eof.clone(), first.clone(), Frame::Goodbye], "GOODBYE out of"),
        (vec![PUSHES, all.clone(), eof.clone(), first.clone(), missing], "of its own index"),
        (vec![PUSHES, all.clone(), first.clone(), damaged], "another id"),
        (vec![PUSHES, all.clone(), first.clone(), plain], "another id"),
        (vec![PUSHES, all.clone(), first.clone(), first.clone()], "CHUNK out of place"),
        (vec![PUSHES, unwanted.clone()], "CHUNK out of place"),
        (vec![PUSHES, Frame::Index(vec![7; 100].into())], "not an index"),
        (
            [vec![PUSHES, Frame::Index(no_tail.into())], everything.clone(), vec![eof.clone()]]
                .concat(),
            "tail is missing",
        ),
        (
            [vec![PUSHES, Frame::Index(bad_item.into())], everything, vec![eof.clone()]].concat(),
            "damaged index",
        ),
        (vec![PUSHES, eof.clone()], "not an index"),
        (vec![PUSHES, all, eof.clone(), eof], "INDEX_EOF out of place"),
        (vec![PULLS], "wants chunks"),
    ] {
        let sandbox = Sandbox::new();
        is_refused(&push(&sandbox, &frames), part);
        let left = sandbox.files(".");
        assert!(left.iter().all(|name| name.starts_with("new/")), "{part}: {left:?}");
        // What came before it went wrong has come.
        let kept = left.iter().filter(|name| name.ends_with(".cacnk")).count();
        assert!(kept > 0 || !part.starts_with("went away"), "{left:?}");
    }
}

#[test]
fn a_killed_server_leaves_no_index() {
    let sandbox = Sandbox::new();
    let (chunks, index) = pushed();
    let mut server = sandbox.command("push - - new.caibx new");
    let mut server = server.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let frames = [PUSHES, Frame::Index(index.into()), as_frame(&chunks[0])];
    server.stdin.as_mut().unwrap().write_all(&written(&frames)).unwrap();
    // Both of its answers, so it has begun with the index.
    let mut output = server.stdout.take().unwrap();
    for _ in 0..2 {
        Frame::read(&mut output).unwrap().unwrap();
    }
    server.kill().unwrap();
    server.wait().unwrap();
    let left = sandbox.files(".");
    assert!(left.iter().all(|name| name.starts_with("new/")), "{left:?}");
}
