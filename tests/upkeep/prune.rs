use std::fs::{self, File};
use std::io::Write;
use std::process::{Child, Stdio};
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::common::halted::wait_for_read;
use super::common::{Outcome, Sandbox, desync_is_here, random, run};
use super::stores::{chunks, place, sorted};

/// A `store` with the chunks of `one.caibx` and `two.caibx`, of which they share some.
fn two_blobs() -> Sandbox {
    let sandbox = Sandbox::new();
    let common = random(1, 1_000_000);
    for (name, seed) in [("one", 2), ("two", 3)] {
        sandbox.write(name, &[&common[..], &random(seed, 1_000_000)].concat());
        sandbox.cairn(&format!("make {name}.caibx {name} -s store")).succeeds();
    }
    sandbox
}

/// A make that has the store open and waits for its input.
pub struct Writer {
    child: Child,
}

impl Writer {
    pub fn start(sandbox: &Sandbox) -> Self {
        let mut command = sandbox.command("make late.caibx - -s store");
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = child.spawn().unwrap();
        let store = File::open(sandbox.path("store")).unwrap();
        let began = SystemTime::now();
        while flock(&store, FlockOperation::NonBlockingLockExclusive) != Err(Errno::WOULDBLOCK) {
            flock(&store, FlockOperation::Unlock).unwrap();
            assert!(began.elapsed().unwrap() < Duration::from_secs(30), "it never came");
            std::thread::sleep(Duration::from_millis(5));
        }
        Self { child }
    }

    pub fn finish(mut self) {
        let mut input = self.child.stdin.take().unwrap();
        input.write_all(&random(9, 300_000)).unwrap();
        drop(input);
        let output = self.child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

fn set_age(sandbox: &Sandbox, name: &str, age: Duration) {
    let file = File::options().write(true).open(sandbox.path(name)).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
}

#[test]
fn what_no_index_refers_to_is_removed() {
    let sandbox = two_blobs();
    let both = sorted([sandbox.ids("one.caibx"), sandbox.ids("two.caibx")].concat());
    let two = sorted(sandbox.ids("two.caibx"));
    assert_eq!(chunks(&sandbox, "store"), both);
    sandbox.cairn("prune -y -s store one.caibx two.caibx").succeeds_silently();
    assert_eq!(chunks(&sandbox, "store"), both);
    sandbox.cairn("prune -s store two.caibx --yes").succeeds_silently();
    assert_eq!(chunks(&sandbox, "store"), two);
    sandbox.cairn("extract two.caibx out -s store").succeeds();
    assert!(sandbox.read("out") == sandbox.read("two"));
    // Directories that are empty now have gone, too.
    assert!(fs::read_dir(sandbox.path("store")).unwrap().count() <= two.len());
}

#[test]
fn what_stays_is_what_desync_leaves() {
    let sandbox = two_blobs();
    sandbox.cairn("cache one.caibx two.caibx -s store -c theirs").succeeds();
    if !desync_is_here("what_stays_is_what_desync_leaves") {
        return;
    }
    let theirs = sandbox.desync("prune -y -s theirs two.caibx");
    theirs.succeeds_silently();
    sandbox.cairn("prune -y -s store two.caibx").succeeds_silently();
    assert_eq!(sandbox.files("store"), sandbox.files("theirs"));
}

fn ask(sandbox: &Sandbox, answers: &str) -> Outcome {
    sandbox.cairn_with_input("prune -s store two.caibx", answers)
}

#[test]
fn only_yes_is_yes() {
    let sandbox = two_blobs();
    let two = sorted(sandbox.ids("two.caibx"));
    let question = format!(
        "Warning: The provided index files reference {} unique chunks. Are you sure\n\
         you want to delete all other chunks from 'store'?\n",
        two.len()
    );
    let before = sandbox.snapshot();
    let long = "y".repeat(100_000);
    for (answers, asked) in
        [("\n", 1), ("n\n", 1), ("N", 1), ("no\n", 1), ("what\nmaybe not\nNo\n", 3), (" \ny\n", 1)]
    {
        let done = ask(&sandbox, answers).succeeds();
        assert_eq!(done.text(), question.clone() + &"[y/N]: ".repeat(asked), "{answers:.20?}");
        assert_eq!(done.stderr, "");
        sandbox.is_as(&before, "an answer that is not yes");
    }
    // Nobody is there to answer, which is no success: whoever runs this unattended must learn of it.
    for (answers, asked) in [("", 1), ("ye\n", 2), (&long, 98 + 1)] {
        let done = ask(&sandbox, answers);
        assert_eq!(done.code, Some(1), "{answers:.20?}");
        assert_eq!(done.text(), question.clone() + &"[y/N]: ".repeat(asked), "{answers:.20?}");
        let expected = "error: nobody answered whether to delete; add --yes to do so unasked\n";
        assert_eq!(done.stderr, expected);
        sandbox.is_as(&before, "no answer");
    }
    for (answers, asked) in [("y\n", 1), ("Y", 1), ("yes\n", 1), ("hm\n YES \n", 2)] {
        let sandbox = two_blobs();
        let done = ask(&sandbox, answers).succeeds();
        assert_eq!(done.text(), question.clone() + &"[y/N]: ".repeat(asked), "{answers:?}");
        assert_eq!(chunks(&sandbox, "store"), two);
    }
}

#[test]
fn the_question_is_desyncs() {
    let sandbox = two_blobs();
    let mut command = std::process::Command::new("desync");
    command.args(["prune", "-s", "store", "two.caibx"]).current_dir(sandbox.path("."));
    if !desync_is_here("the_question_is_desyncs") {
        return;
    }
    let theirs = run(command, Some(b"n\n".to_vec()));
    assert_eq!(ask(&sandbox, "n\n").text(), theirs.text());
}

#[test]
fn an_index_that_cannot_be_read_removes_nothing() {
    let sandbox = two_blobs();
    let whole = sandbox.read("one.caibx");
    sandbox.write("cut.caibx", &whole[..whole.len() - 1]);
    sandbox.write("garbage.caibx", b"garbage");
    sandbox.write("empty.caibx", b"");
    sandbox.cairn("make other.caibx one --digest sha256").succeeds();
    fs::create_dir(sandbox.path("directory")).unwrap();
    sandbox.write("bad.ids", b"zz\n");
    for (bad, why) in [
        ("missing.caibx", "missing.caibx"),
        ("cut.caibx", "cut.caibx: damaged index"),
        ("garbage.caibx", "garbage.caibx: not an index"),
        ("empty.caibx", "empty.caibx: not an index"),
        ("directory", "directory"),
        ("other.caibx", "other.caibx: the index uses sha256"),
        ("http://host/x.caibx", "http://host/x.caibx"),
        ("--ids missing.ids", "cannot open missing.ids"),
        ("--ids bad.ids", "bad.ids: line 1 is not a chunk id"),
        ("--ids directory", "directory"),
    ] {
        sandbox.refuses(&format!("prune -y -s store two.caibx {bad}"), &[why]);
        sandbox.refuses(&format!("prune -y -s store {bad} two.caibx"), &[why]);
    }
    sandbox.refuses("prune -s store -", &["standard input", "--yes"]);
    sandbox.cairn("prune -y -s store").misused(&["INDEX"]);
    sandbox.cairn("prune -y two.caibx").misused(&["--store"]);
}

#[test]
fn an_index_may_come_through_a_pipe() {
    let sandbox = two_blobs();
    let index = sandbox.read("two.caibx");
    sandbox.cairn_with_input("prune -y -s store -", index).succeeds_silently();
    assert_eq!(chunks(&sandbox, "store"), sorted(sandbox.ids("two.caibx")));
}

#[test]
fn places_that_are_no_store_are_refused() {
    let sandbox = two_blobs();
    sandbox.refuses("prune -y -s nowhere one.caibx", &["cannot open store nowhere"]);
    sandbox.refuses("prune -y -s one one.caibx", &["one: the store is not a directory"]);
    sandbox.refuses("prune -y -s http://host/ one.caibx", &["http://host/"]);
    // Where one store is asked for, a comma is a character as any other.
    sandbox.refuses("prune -y -s store,store one.caibx", &["cannot open store store,store"]);
    fs::create_dir(sandbox.path("empty")).unwrap();
    sandbox.cairn("prune -y -s empty one.caibx").succeeds_silently();
}

#[test]
fn a_list_of_ids_is_kept() {
    let sandbox = two_blobs();
    let ids = sandbox.ids("one.caibx");
    sandbox.write("some.ids", format!("\n  {}\r\n\n{}\n", ids[0], ids[1]).as_bytes());
    sandbox.write("more.ids", ids[2].to_uppercase().as_bytes());
    // A list without ids is the work of something that failed.
    sandbox.write("none.ids", b"\n");
    sandbox
        .refuses("prune -y -s store --ids some.ids,none.ids", &["none.ids", "no chunk id in it"]);
    sandbox.refuses("prune -y -s store --ids=", &["neither an index nor a list of ids"]);
    sandbox.cairn("prune -y -s store --ids some.ids,more.ids").succeeds_silently();
    assert_eq!(chunks(&sandbox, "store"), sorted(ids[..3].to_vec()));
}

#[test]
fn a_dry_run_counts_and_removes_nothing() {
    let sandbox = two_blobs();
    let two = sorted(sandbox.ids("two.caibx"));
    let garbage: Vec<String> =
        chunks(&sandbox, "store").into_iter().filter(|id| !two.contains(id)).collect();
    let bytes: usize = garbage.iter().map(|id| sandbox.read(&place("store", id)).len()).sum();
    let before = sandbox.snapshot();
    let done = sandbox.cairn("prune --dry-run -s store two.caibx").succeeds();
    let expected = format!("Would remove {} chunks with {bytes} bytes\n", garbage.len());
    assert_eq!((done.text(), &done.stderr[..]), (&expected[..], ""));
    sandbox.is_as(&before, "a dry run");
}

#[test]
fn young_chunks_stay() {
    let sandbox = two_blobs();
    let two = sandbox.ids("two.caibx");
    let only_one: Vec<String> =
        sandbox.ids("one.caibx").into_iter().filter(|id| !two.contains(id)).collect();
    let hour = Duration::from_secs(3600);
    set_age(&sandbox, &place("store", &only_one[0]), 2 * hour);
    set_age(&sandbox, &place("store", &only_one[1]), hour / 2);
    // A clock that was wrong.
    let file = File::options().write(true).open(sandbox.path(&place("store", &only_one[2])));
    file.unwrap().set_modified(SystemTime::now() + 5 * hour).unwrap();
    let expected: Vec<String> =
        chunks(&sandbox, "store").into_iter().filter(|id| *id != only_one[0]).collect();
    for age in ["7d", "3h", "2h30m"] {
        let before = sandbox.snapshot();
        sandbox.cairn(&format!("prune -y -s store two.caibx --older-than {age}")).succeeds();
        sandbox.is_as(&before, "prune of old chunks");
    }
    sandbox.cairn("prune -y -s store two.caibx --older-than 1h").succeeds_silently();
    assert_eq!(chunks(&sandbox, "store"), expected);
    sandbox.cairn("prune -y -s store two.caibx --older-than never").misused(&["never", "7d"]);
}

#[test]
fn strays_stay_and_old_leftovers_go() {
    let sandbox = two_blobs();
    let id = sandbox.ids("two.caibx").remove(0);
    let directory = format!("store/{}", &id[..4]);
    let foreign = "ab".repeat(32);
    let strays = [
        format!("store/0000/{id}.cacnk"),
        format!("store/{foreign}.cacnk"),
        format!("store/abab/{foreign}"),
        format!("store/abab/{foreign}.cacnk.xchacha20-poly1305-01234567"),
        format!("{directory}/README"),
        "store/index.caibx".to_owned(),
        "store/.tmp-cacnk.5".to_owned(),
        "store/ABCD/.tmp-cacnk.5".to_owned(),
        "store/1234".to_owned(),
    ];
    strays.iter().for_each(|name| sandbox.write(name, b"stray"));
    let (young, old) = (format!("{directory}/.tmp-cacnk.1"), format!("{directory}/.tmp-cacnk.2"));
    sandbox.write(&young, b"half a chunk");
    sandbox.write(&old, b"half a chunk");
    set_age(&sandbox, &old, Duration::from_secs(301));
    strays.iter().for_each(|name| set_age(&sandbox, name, Duration::from_secs(3600)));

    sandbox.cairn("prune -y -s store two.caibx --older-than 1h").succeeds_silently();
    assert!(sandbox.path(&old).exists(), "a longer age counts for leftovers too");
    sandbox.cairn("prune -y -s store two.caibx").succeeds_silently();
    assert!(!sandbox.path(&old).exists() && sandbox.path(&young).exists());
    for stray in &strays {
        assert_eq!(sandbox.read(stray), b"stray", "{stray}");
    }
    let of_two = |id: &String| sandbox.ids("two.caibx").contains(id);
    assert!(sandbox.ids("one.caibx").iter().any(|id| !of_two(id)));
    sandbox.cairn("extract two.caibx out -s store").succeeds();
}

#[test]
fn a_directory_by_the_name_of_a_chunk_is_a_stray() {
    let sandbox = two_blobs();
    let stray = place("store", &"ab".repeat(32));
    fs::create_dir_all(sandbox.path(&stray)).unwrap();
    sandbox.cairn("prune -y -s store two.caibx").succeeds_silently();
    assert!(sandbox.path(&stray).is_dir());
    assert_eq!(chunks(&sandbox, "store"), sorted(sandbox.ids("two.caibx")));
}

#[test]
fn nothing_is_pruned_beside_a_writer() {
    let sandbox = two_blobs();
    let writer = Writer::start(&sandbox);
    let before = sandbox.snapshot();
    let refused = sandbox.cairn("prune -y -s store two.caibx");
    let refused = refused.fails(&["store: another process is writing to the store"]);
    assert!(refused.stderr.ends_with("hint: wait until it is done and run the command again\n"));
    sandbox.is_as(&before, "a refused prune");
    writer.finish();
    sandbox.cairn("prune -y -s store two.caibx late.caibx").succeeds_silently();
    sandbox.cairn("extract late.caibx late -s store").succeeds();
    assert!(sandbox.read("late") == random(9, 300_000));
}

#[test]
fn who_is_asked_can_interrupt() {
    let sandbox = two_blobs();
    let before = sandbox.snapshot();
    let mut command = sandbox.command("prune -s store two.caibx");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    wait_for_read(&child);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(2));
    sandbox.is_as(&before, "an interrupted question");
}
