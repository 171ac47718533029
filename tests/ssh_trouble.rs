//! What goes wrong on the way to a store behind ssh, and what is said and done about it.

#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

mod common;

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cairn_formats::ChunkId;
use cairn_formats::protocol::{Frame, services};
use common::stand_in::{CANNED, HERE};
use common::{Outcome, Sandbox, joined, random, run, text};

const CAIRN: &str = env!("CARGO_BIN_EXE_cairn");

const URL: &str = "ssh://there/store";

const SERVES: Frame<'static> = Frame::Hello(services::SERVES_CHUNKS);

fn written(frames: &[Frame<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frames.iter().for_each(|frame| frame.write(&mut bytes).unwrap());
    bytes
}

/// Runs cairn with this script in the place of ssh.
fn by(sandbox: &Sandbox, script: &str, words: &str) -> Outcome {
    let mut command = sandbox.command(words);
    command.env("CASYNC_SSH_PATH", sandbox.script("ssh", script)).env("CASYNC_REMOTE_PATH", CAIRN);
    run(command, None)
}

/// Extracts from a store whose other side says this, and nothing more.
#[track_caller]
fn fails_with(sandbox: &Sandbox, script: &str, answer: &[u8], parts: &[&str]) {
    sandbox.write("answer", answer);
    let words = format!("extract -e 0 -s {URL} blob.caibx out");
    by(sandbox, script, &words).fails(&[&[URL], parts].concat());
    assert!(!sandbox.path("out").exists());
}

fn url(sandbox: &Sandbox) -> String {
    format!("ssh://there{}", sandbox.path("store").display())
}

#[test]
fn what_is_not_the_protocol_is_said_to_be_something_else() {
    let sandbox = Sandbox::with_store(&text(300_000));
    let banner = b"Welcome to there!\nYou have 3 new messages.\n";
    let hint = "does a login script print text?";
    for text in [&banner[..], b"hi\n"] {
        fails_with(&sandbox, CANNED, text, &["not the casync protocol", hint]);
    }
    let behind_a_banner = joined(&[banner, &written(&[SERVES])]);
    fails_with(&sandbox, CANNED, &behind_a_banner, &["not the casync protocol", hint]);
    let type_of_chunk = 0x5213_dd18_0a84_bc8c_u64;
    for (size, kind) in
        [(0, type_of_chunk), (15, type_of_chunk), (1 << 63, type_of_chunk), (24, 7), (u64::MAX, 7)]
    {
        let frame = [size.to_le_bytes(), kind.to_le_bytes()].concat();
        let answer = joined(&[&written(&[SERVES]), &frame]);
        fails_with(&sandbox, CANNED, &answer, &["not the casync protocol"]);
    }
}

#[test]
fn a_server_of_something_else_is_refused() {
    let sandbox = Sandbox::with_store(&text(300_000));
    for (flags, part) in [
        (services::ACCEPTS_CHUNKS, "does not serve chunks"),
        (0, "unknown"),
        (1 << 40 | 1, "unknown"),
        (services::SERVES_CHUNKS | services::PULLS_INDEX, "wants an index"),
    ] {
        fails_with(&sandbox, CANNED, &written(&[Frame::Hello(flags)]), &[part]);
    }
    fails_with(&sandbox, CANNED, &written(&[Frame::Goodbye]), &["GOODBYE out of place"]);
}

#[test]
fn an_abort_is_passed_on() {
    let sandbox = Sandbox::with_store(&text(300_000));
    let abort = |errno| Frame::Abort { errno, reason: "the disk is on fire".into() };
    for frames in [vec![abort(5)], vec![SERVES, abort(5)]] {
        let parts = ["the other side gave up: the disk is on fire (Input/output error"];
        fails_with(&sandbox, CANNED, &written(&frames), &parts);
    }
    sandbox.write("answer", &written(&[abort(0)]));
    let words = format!("extract -e 0 -s {URL} blob.caibx out");
    let failed = by(&sandbox, CANNED, &words).fails(&["gave up: the disk is on fire"]);
    assert!(failed.stderr.lines().next().unwrap().ends_with("fire"), "{}", failed.stderr);
    // Our own server says what it cannot do.
    let words = format!("extract -e 0 -s {} blob.caibx out", url(&sandbox).replace("store", "no"));
    by(&sandbox, HERE, &words).fails(&["gave up: cannot open store", "No such file"]);
}

#[test]
fn how_ssh_ended_is_said() {
    let sandbox = Sandbox::with_store(&text(300_000));
    let answer = written(&[SERVES]);
    let say = "cat \"$sandbox/answer\"\n";
    for (script, part) in [
        ("exit 255".to_owned(), "ssh exited with status 255 before it answered"),
        ("exit 0".to_owned(), "ssh exited with status 0 before it answered"),
        ("kill -9 $$".to_owned(), "ssh was killed by signal 9 before it answered"),
        ("exit 127".to_owned(), "the command there was not found"),
        (format!("{say}exit 3"), "ssh exited with status 3 in the middle of the work"),
        (format!("{say}kill -9 $$"), "ssh was killed by signal 9 in the middle of the work"),
    ] {
        fails_with(&sandbox, &script, &answer, &[part]);
    }
    let words = format!("extract -e 0 -s {URL} blob.caibx out");
    let none = sandbox.cairn_with_env(&words, "CASYNC_SSH_PATH", "/no/such/ssh");
    none.fails(&[URL, "cannot run /no/such/ssh: No such file"]);
}

#[test]
fn an_end_inside_of_a_frame_is_an_end() {
    let sandbox = Sandbox::with_store(&text(300_000));
    let id: ChunkId = sandbox.ids("blob.caibx")[0].parse().unwrap();
    let chunk = Frame::Chunk { compressed: true, id, bytes: vec![7; 1000].into() };
    let answer = written(&[SERVES, chunk]);
    let dies = "cat \"$sandbox/answer\"\nexit 4";
    for len in [7, 24 + 8, 24 + 20, 24 + 60, answer.len() - 1] {
        let part =
            if len < 24 { "before it answered" } else { "status 4 in the middle of the work" };
        fails_with(&sandbox, dies, &answer[..len], &[part]);
    }
}

#[test]
fn silence_ends_after_the_time_that_was_configured() {
    let sandbox = Sandbox::with_store(&text(300_000));
    sandbox.configure("{\"store-options\": {\"ssh://there/store\": {\"timeout\": 300000000}}}");
    for (says, script) in [
        ("", "exec sleep 1000"),
        ("hello", "cat \"$sandbox/answer\"\nexec sleep 1000"),
        ("hello, and listens", "cat \"$sandbox/answer\"\ncat >/dev/null"),
    ] {
        let begun = Instant::now();
        let script = script.replace("1000", "30");
        fails_with(&sandbox, &script, &written(&[SERVES]), &["nothing moved for 300ms"]);
        assert!(begun.elapsed() < Duration::from_secs(15), "{says}: {:?}", begun.elapsed());
    }
}

#[test]
fn nobody_waits_for_a_silent_other_side_after_an_interrupt() {
    let sandbox = Sandbox::with_store(&text(300_000));
    let script = "exec 3<>\"$sandbox/started\"; echo >&3; exec sleep 60";
    let started = sandbox.path("started");
    for words in [
        format!("extract -s {URL} blob.caibx out"),
        format!("make -s {URL} --durability none new.caibx blob"),
    ] {
        let _ = fs::remove_file(&started);
        assert!(Command::new("mkfifo").arg(&started).status().unwrap().success());
        let mut command = Command::new("env");
        command.args(["--default-signal=HUP,INT,TERM", CAIRN]).args(words.split(' '));
        command.current_dir(sandbox.path(".")).env("sandbox", sandbox.path("."));
        command.env("CASYNC_SSH_PATH", sandbox.script("ssh", script));
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        fs::File::open(&started).unwrap().read_exact(&mut [0]).unwrap();
        let began = Instant::now();
        // cairn alone: a terminal would tell ssh, too.
        Command::new("kill").arg("-2").arg(child.id().to_string()).status().unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "error: interrupted\n", "{words}");
        assert_eq!(output.status.code(), Some(130));
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        assert!(!sandbox.path("out").exists() && !sandbox.path("new.caibx").exists());
    }
}

#[test]
fn bytes_of_another_chunk_are_taken_from_another_store() {
    let sandbox = Sandbox::with_store(&joined(&[&random(3, 400_000), &text(200_000)]));
    let ids = sandbox.ids("blob.caibx");
    let file = |id: &str| format!("store/{}/{id}.cacnk", &id[..4]);
    let [first, second] = [&ids[0], &ids[1]].map(|id| sandbox.read(&file(id)));
    let frame = |id: &str, bytes: &[u8]| Frame::Chunk {
        compressed: true,
        id: id.parse().unwrap(),
        bytes: bytes.to_vec().into(),
    };
    let wrong_bytes = [SERVES, frame(&ids[0], &second)];
    let wrong_id = [SERVES, frame(&"ab".repeat(32), &first)];
    let no_coding = [SERVES, frame(&ids[0], b"what is this")];
    for frames in [&wrong_bytes[..], &wrong_id, &no_coding] {
        sandbox.write("answer", &written(frames));
        let one = format!("extract -e 0 -s {URL} blob.caibx out");
        by(&sandbox, CANNED, &one).fails(&[URL]);
        let two = format!("extract -e 0 -s {URL} -s store blob.caibx out");
        let script = CANNED.replace("exec cat", "timeout 1 cat");
        by(&sandbox, &script, &two).succeeds();
        assert!(sandbox.read("out") == sandbox.read("blob"));
        fs::remove_file(sandbox.path("out")).unwrap();
    }
}

/// Serves the store, but the first time is killed after so many bytes. (`head` would hold them back.)
fn killed_after(bytes: usize) -> String {
    let serve = HERE.replace("exec sh", "sh");
    let killed = format!("{{ {serve} }} | {{ dd bs=1 count={bytes} status=none; kill -9 $$; }}");
    format!("if mkdir \"$sandbox/killed\" 2>/dev/null; then\n{killed}\nfi\n{HERE}")
}

#[test]
fn an_ssh_killed_in_the_middle_is_replaced() {
    let sandbox = Sandbox::with_store(&joined(&[&random(4, 3_000_000), &text(1_000_000)]));
    for bytes in [10, 24, 1000, 100_000] {
        let words = format!("extract -n 1 -b 10ms -s {} blob.caibx out", url(&sandbox));
        by(&sandbox, &killed_after(bytes), &words).succeeds_silently();
        assert!(sandbox.read("out") == sandbox.read("blob"), "{bytes} bytes");
        fs::remove_file(sandbox.path("out")).unwrap();
        fs::remove_dir(sandbox.path("killed")).unwrap();
        // Who may not try again says what happened.
        let words = format!("extract -n 1 -e 0 -s {} blob.caibx out", url(&sandbox));
        by(&sandbox, &killed_after(bytes), &words).fails(&["ssh was killed by signal 9"]);
        fs::remove_dir(sandbox.path("killed")).unwrap();
    }
}

#[test]
fn a_write_that_breaks_off_is_done_again() {
    let sandbox = Sandbox::with_store(&joined(&[&random(5, 2_000_000), &text(1_000_000)]));
    let there = url(&sandbox).replace("store", "new");
    // Of what is written the other side says little.
    for bytes in [10, 24, 60, 500, 1500] {
        let words = format!("make -n 1 -b 10ms -s {there} new.caibx blob");
        by(&sandbox, &killed_after(bytes), &words).succeeds_silently();
        assert_eq!(sandbox.files("new"), sandbox.files("store"));
        sandbox.cairn("verify -s new").succeeds();
        fs::remove_dir_all(sandbox.path("new")).unwrap();
        fs::remove_dir(sandbox.path("killed")).unwrap();
        let words = format!("make -n 1 -e 0 -s {there} broken.caibx blob");
        by(&sandbox, &killed_after(bytes), &words).fails(&["ssh was killed by signal 9"]);
        assert!(!sandbox.path("broken.caibx").exists());
        let _ = fs::remove_dir_all(sandbox.path("new"));
        fs::remove_dir(sandbox.path("killed")).unwrap();
    }
}

#[test]
fn a_store_that_cannot_keep_a_chunk_is_an_error_of_the_write() {
    let sandbox = Sandbox::with_store(&random(6, 300_000));
    let there = url(&sandbox).replace("store", "new");
    for remote in ["casync", CAIRN] {
        // Where the directories of chunks should be are links that lead to themselves.
        fs::create_dir(sandbox.path("new")).unwrap();
        for name in sandbox.files("store") {
            let place = sandbox.path("new").join(&name[..4]);
            std::os::unix::fs::symlink(&name[..4], place).unwrap();
        }
        let mut command = sandbox.command(&format!("make -e 0 -s {there} broken.caibx blob"));
        let ssh = sandbox.script("ssh", HERE);
        command.env("CASYNC_SSH_PATH", ssh).env("CASYNC_REMOTE_PATH", remote);
        run(command, None).fails(&[&there]);
        assert!(!sandbox.path("broken.caibx").exists());
        fs::remove_dir_all(sandbox.path("new")).unwrap();
    }
}

#[test]
fn what_cannot_be_done_by_ssh_is_said() {
    let sandbox = Sandbox::with_store(&text(300_000));
    for (words, parts) in [
        (
            "make -s ssh://there/s --durability batch new.caibx blob",
            ["ssh://there/s", "cannot ask for durability"],
        ),
        ("make -s ssh://there/s --repair new.caibx blob", ["ssh://there/s", "--repair"]),
        ("prune -y -s ssh://there/s blob.caibx", ["ssh://there/s", "does not support pruning"]),
        ("extract -s ssh://-x/s blob.caibx out", ["ssh://-x/s", "must not begin with '-'"]),
    ] {
        sandbox.refuses(words, &parts);
    }
    let key = "ab".repeat(32);
    sandbox.configure(&format!(
        "{{\"store-options\": {{\"ssh://there/s\": {{\"encryption\": true, \"encryption-key\": \"{key}\"}}}}}}"
    ));
    let refusal = "encryption is not supported by casync protocol (ssh://) stores";
    sandbox.refuses("extract -s ssh://there/s blob.caibx out", &["ssh://there/s", refusal]);
}

#[test]
fn an_index_behind_ssh_is_whole_or_an_error() {
    let sandbox = Sandbox::with_store(&text(300_000));
    let index = sandbox.read("blob.caibx");
    let serves = Frame::Hello(services::SERVES_INDEX);
    let piece = |bytes: &[u8]| Frame::Index(bytes.to_vec().into());
    let words = "list-chunks -e 0 ssh://there/blob.caibx";
    let whole = [serves.clone(), piece(&index[..50]), piece(&index[50..]), Frame::IndexEof];
    sandbox.write("answer", &written(&whole));
    let listed = by(&sandbox, CANNED, words).succeeds();
    assert_eq!(listed.stdout, sandbox.cairn("list-chunks blob.caibx").succeeds().stdout);
    let cut = piece(&index[..index.len() - 40]);
    let gave_up = Frame::Abort { errno: 5, reason: "the disk is on fire".into() };
    for (frames, part) in [
        (vec![serves.clone(), cut.clone(), Frame::IndexEof], "index"),
        (vec![serves.clone(), piece(&[7; 200]), Frame::IndexEof], "not an index"),
        (vec![serves.clone(), Frame::IndexEof], "index"),
        (vec![serves.clone(), cut.clone(), Frame::Goodbye], "GOODBYE out of place"),
        (vec![serves.clone(), cut, gave_up], "gave up: the disk is on fire"),
        (vec![SERVES], "an index"),
    ] {
        sandbox.write("answer", &written(&frames));
        by(&sandbox, CANNED, words).fails(&["ssh://there/blob.caibx", part]);
    }
}

/// The other side says all that is needed, and then talks on.
#[test]
fn nobody_listens_for_ever_after_the_end() {
    let sandbox = Sandbox::with_store(&text(300_000));
    let serves = Frame::Hello(services::SERVES_INDEX);
    let index = sandbox.read("blob.caibx");
    sandbox.write("answer", &written(&[serves, Frame::Index(index.into()), Frame::IndexEof]));
    let script = "cat \"$sandbox/answer\"\nexec cat /dev/zero";
    let listed = by(&sandbox, script, "list-chunks -e 0 ssh://there/blob.caibx").succeeds();
    assert_eq!(listed.stdout, sandbox.cairn("list-chunks blob.caibx").succeeds().stdout);
}

/// As casync does, which says with its end alone whether an index was written.
#[test]
fn the_end_of_the_other_side_is_waited_for() {
    let sandbox = Sandbox::with_blob(&text(300_000));
    sandbox.write("answer", &written(&[Frame::Hello(services::ACCEPTS_INDEX)]));
    let words = "make -e 0 -s store ssh://there/blob.caibx blob";
    // Longer than a farewell may take.
    let ends = |code: u8| {
        format!(
            "cat \"$sandbox/answer\"\nexec >/dev/null\ncat >>\"$sandbox/heard\"\nsleep 3\nexit {code}"
        )
    };
    by(&sandbox, &ends(0), words).succeeds();
    by(&sandbox, &ends(3), words).fails(&["ssh://there/blob.caibx", "ssh exited with status 3"]);
}

#[test]
fn an_index_is_pushed_with_all_its_bytes() {
    let sandbox = Sandbox::with_blob(&text(300_000));
    let accepts = Frame::Hello(services::ACCEPTS_INDEX);
    let words = "make -e 0 -s store ssh://there/blob.caibx blob";
    sandbox.write("answer", &written(&[accepts.clone(), Frame::Goodbye]));
    by(&sandbox, CANNED, words).succeeds();
    sandbox.cairn("make blob.caibx blob").succeeds();
    let index = sandbox.read("blob.caibx");
    let expected =
        [Frame::Hello(services::PUSHES_INDEX), Frame::Index(index.into()), Frame::IndexEof];
    let expected = joined(&[&written(&expected), &written(&[Frame::Goodbye])]);
    assert!(sandbox.read("heard") == expected);
    let gave_up = Frame::Abort { errno: 28, reason: "full".into() };
    for (frames, part) in [
        (vec![accepts.clone(), gave_up], "gave up: full"),
        (vec![accepts, Frame::IndexEof], "INDEX_EOF out of place"),
        (vec![Frame::Hello(services::SERVES_INDEX)], "an index"),
    ] {
        sandbox.write("answer", &written(&frames));
        by(&sandbox, CANNED, words).fails(&["ssh://there/blob.caibx", part]);
    }
}
