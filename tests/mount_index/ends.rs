//! How a mount ends: when it is told to, when it is unmounted, when somebody still uses it, and when it is killed.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::common::mounted::{Mounted, Point, is_fuse_here, wait_until};
use crate::common::run;
use crate::common::web::{StandIn, forward};
use crate::{read_at, scene};

const MOUNT: &str = "mount-index -s store image.raw.caibx";

#[test]
fn a_signal_unmounts() {
    if !is_fuse_here("a_signal_unmounts") {
        return;
    }
    let (sandbox, content) = scene();
    for signal in [Signal::INT, Signal::TERM] {
        let mut mounted = Mounted::start(&sandbox, MOUNT);
        assert!(mounted.is_mounted());
        // By another process, so that no command of another test gets the open file.
        let mut read = Command::new("cat");
        read.arg(mounted.path("image.raw"));
        assert!(run(read, None).succeeds().stdout == content);
        mounted.signal(signal);
        assert_eq!(mounted.ends(), Some(0));
        assert!(!mounted.is_mounted());
        assert_eq!(mounted.printed(), "");
        assert_eq!(fs::read_dir(sandbox.path("mnt")).unwrap().count(), 0);
    }
}

#[test]
fn it_ends_when_somebody_unmounts_it() {
    if !is_fuse_here("it_ends_when_somebody_unmounts_it") {
        return;
    }
    let (sandbox, _) = scene();
    for lazily in [false, true] {
        let mut mounted = Mounted::start(&sandbox, MOUNT);
        let file = lazily.then(|| File::open(mounted.path("image.raw")).unwrap());
        let how = if lazily { "-uz" } else { "-u" };
        let done = Command::new("fusermount3").arg(how).arg(sandbox.path("mnt")).status();
        assert!(done.unwrap().success());
        drop(file);
        assert_eq!(mounted.ends(), Some(0));
        assert_eq!(mounted.printed(), "");
    }
}

#[test]
fn while_somebody_uses_it_it_stays_and_says_who() {
    if !is_fuse_here("while_somebody_uses_it_it_stays_and_says_who") {
        return;
    }
    let (sandbox, content) = scene();
    let mut mounted = Mounted::start(&sandbox, MOUNT);
    let file = mounted.path("image.raw");
    // It has the file open until the end of its standard input.
    let (reader, writer) = std::io::pipe().unwrap();
    let mut holder = Command::new("sh")
        .args(["-c", "exec 3<\"$0\"; exec cat"])
        .arg(&file)
        .stdin(reader)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let name = format!("/proc/{}/comm", holder.id());
    wait_until("the holder", || fs::read_to_string(&name).is_ok_and(|name| name == "cat\n"));
    mounted.signal(Signal::TERM);
    let said = mounted.prints("at the next signal");
    let wanted = format!("cat ({}) has {}", holder.id(), file.display());
    assert!(said.contains(&wanted), "{said}");
    let point = mounted.path("");
    let point = point.display().to_string();
    let begin = format!("warning: {} is in use: ", point.trim_end_matches('/'));
    assert!(said.starts_with(&begin), "{said}");
    assert_eq!(said.lines().count(), 1);
    // It goes on as if nothing had been.
    assert!(fs::read(&file).unwrap() == content);
    thread::sleep(Duration::from_millis(500));
    assert!(mounted.is_mounted() && read_at(&file, 1000, 1000).unwrap() == content[1000..2000]);
    drop(writer);
    let _ = holder.wait();
    assert_eq!(mounted.ends(), Some(0));
    assert!(!mounted.is_mounted());
    assert_eq!(mounted.printed(), said);
}

#[test]
fn the_second_signal_does_not_wait() {
    if !is_fuse_here("the_second_signal_does_not_wait") {
        return;
    }
    let (sandbox, content) = scene();
    let mut mounted = Mounted::start(&sandbox, MOUNT);
    let file = File::open(mounted.path("image.raw")).unwrap();
    mounted.signal(Signal::INT);
    mounted.prints("is in use: ");
    assert!(mounted.is_mounted());
    mounted.signal(Signal::INT);
    wait_until("the end of the mount", || !mounted.is_mounted());
    // Who has it open may go on.
    let mut buffer = vec![0; 100_000];
    file.read_exact_at(&mut buffer, 0).unwrap();
    assert!(buffer == content[..100_000]);
    drop(file);
    assert_eq!(mounted.ends(), Some(0));
}

#[test]
fn readers_of_a_killed_mount_are_told_and_none_hangs() {
    if !is_fuse_here("readers_of_a_killed_mount_are_told_and_none_hangs") {
        return;
    }
    let (sandbox, content) = scene();
    // A store that never answers, so that readers wait when it happens.
    let store = StandIn::start(|_| {
        thread::sleep(Duration::from_secs(20));
        Vec::new()
    });
    let words = format!("mount-index -s http://{}/ image.raw.caibx", store.address());
    let mut mounted = Mounted::start(&sandbox, &words);
    let file = mounted.path("image.raw");
    // The kernel knows now what is there, also when nobody is asked any more.
    assert_eq!(fs::read_dir(mounted.path("")).unwrap().count(), 1);
    assert!(fs::metadata(mounted.path("")).unwrap().is_dir());
    thread::scope(|scope| {
        let readers: Vec<_> = (0..4)
            .map(|n| {
                let file = &file;
                scope.spawn(move || read_at(file, n * 300_000, 1000))
            })
            .collect();
        wait_until("a request", || !store.requests().is_empty());
        mounted.signal(Signal::KILL);
        let begun = Instant::now();
        assert_eq!(mounted.ends(), None);
        for reader in readers {
            // The kernel tells those who were waiting of the abort, and all others that nobody is there.
            let refused = reader.join().unwrap().unwrap_err().raw_os_error();
            assert!([Some(ABORTED), Some(NOT_CONNECTED)].contains(&refused), "{refused:?}");
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    });
    assert!(mounted.is_mounted());
    let refused = fs::read(&file).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(NOT_CONNECTED));
    assert!(refused.to_string().starts_with("Transport endpoint is not connected"));
    // Who mounts there again is told what to do, and it helps.
    let done = run(sandbox.command(&format!("{MOUNT} mnt")), None);
    let done = done.fails(&["mnt: what was mounted there ended without being unmounted"]);
    let advice = done.stderr.split('`').nth(1).unwrap();
    assert_eq!(advice, "fusermount3 -u mnt");
    let helped = Command::new("sh").args(["-c", advice]).current_dir(sandbox.path(".")).status();
    assert!(helped.unwrap().success());
    let again = Mounted::start(&sandbox, MOUNT);
    assert!(fs::read(again.path("image.raw")).unwrap() == content);
    again.stop();
}

const ABORTED: i32 = rustix::io::Errno::CONNABORTED.raw_os_error();
const NOT_CONNECTED: i32 = rustix::io::Errno::NOTCONN.raw_os_error();

#[test]
fn a_mount_that_is_read_can_be_unmounted_at_once() {
    if !is_fuse_here("a_mount_that_is_read_can_be_unmounted_at_once") {
        return;
    }
    let (sandbox, _) = scene();
    let server = crate::common::server::Server::start(&sandbox, "chunk-server -s store");
    let address = server.address.to_string();
    let store = StandIn::start(move |request| {
        thread::sleep(Duration::from_millis(20));
        forward(request, &address)
    });
    let words = format!("mount-index -s http://{}/ image.raw.caibx", store.address());
    let mut mounted = Mounted::start(&sandbox, &words);
    let file = mounted.path("image.raw");
    thread::scope(|scope| {
        let reader = scope.spawn(|| fs::read(&file));
        wait_until("some requests", || store.requests().len() > 3);
        mounted.signal(Signal::TERM);
        mounted.signal(Signal::TERM);
        wait_until("the end of the mount", || !mounted.is_mounted());
        // The reader has the file open, and gets all of it.
        assert!(reader.join().unwrap().unwrap() == sandbox.read("image.raw"));
        assert_eq!(mounted.ends(), Some(0));
    });
}

#[test]
fn the_background_begins_when_it_is_mounted() {
    if !is_fuse_here("the_background_begins_when_it_is_mounted") {
        return;
    }
    let (sandbox, content) = scene();
    fs::create_dir(sandbox.path("mnt")).unwrap();
    let point = Point::new(&sandbox, "mnt");
    // Both outputs are closed for it, or this would not return.
    run(sandbox.command(&format!("{MOUNT} mnt --background")), None).succeeds_silently();
    assert!(point.is_mounted());
    assert!(fs::read(sandbox.path("mnt/image.raw")).unwrap() == content);
    point.unmount();
}

#[test]
fn what_keeps_it_from_the_background_is_said_where_it_was_typed() {
    if !is_fuse_here("what_keeps_it_from_the_background_is_said_where_it_was_typed") {
        return;
    }
    let (sandbox, _) = scene();
    fs::create_dir(sandbox.path("mnt")).unwrap();
    sandbox.write("a-file", b"");
    for where_to in ["", " --background"] {
        for (words, why) in [
            ("-s store nowhere.caibx mnt", "nowhere.caibx: No such file"),
            ("-s store image.raw.caibx nowhere", "nowhere: No such file"),
            ("-s store image.raw.caibx a-file", "a-file: is no directory"),
            ("-s nowhere image.raw.caibx mnt", "nowhere"),
            ("image.raw.caibx mnt", "no store provided"),
            ("-s store image.raw mnt", "image.raw"),
            ("--store-file none image.raw.caibx mnt", "failed to read store-file 'none': "),
            (
                "-s store --store-file x image.raw.caibx mnt",
                "--store and --store-file can't be used together",
            ),
            ("-s store image.raw.caibx mnt --cor-file mnt", "regular file only"),
            (
                "-s store image.raw.caibx mnt --cor-file c --cor-state-save no/where",
                "no: No such file",
            ),
            (
                "-s store image.raw.caibx mnt --cor-file c --cor-state-init none",
                "none: No such file",
            ),
            (
                "-s store image.raw.caibx mnt --prefetch --memory 1M",
                "--prefetch needs a place for ",
            ),
        ] {
            let done = sandbox.cairn(&format!("mount-index {words}{where_to}"));
            done.fails(&[why]);
        }
        sandbox
            .cairn(&format!("mount-index -s store image.raw.caibx{where_to}"))
            .misused(&["<POINT>"]);
        for words in ["--cor-state-save x", "--cor-state-init x"] {
            let words = format!("mount-index -s store image.raw.caibx mnt {words}{where_to}");
            sandbox.cairn(&words).misused(&["--cor-file"]);
        }
    }
    assert!(!Point::new(&sandbox, "mnt").is_mounted());
    // It is there, and nobody knows what it is.
    assert_eq!(fs::metadata(sandbox.path("nowhere")).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn wherever_it_was_mounted_it_is_unmounted() {
    if !is_fuse_here("wherever_it_was_mounted_it_is_unmounted") {
        return;
    }
    let (sandbox, content) = scene();
    fs::create_dir_all(sandbox.path("real/a b\\c")).unwrap();
    std::os::unix::fs::symlink("a b\\c", sandbox.path("real/link")).unwrap();
    let real = sandbox.path("real/a b\\c");
    let (index, store) = (sandbox.path("image.raw.caibx"), sandbox.path("store"));
    for (directory, point) in [
        ("real", "link"),
        ("real", "a b\\c/"),
        ("real/a b\\c", "."),
        ("real/a b\\c", "../link/../link/"),
    ] {
        let mut command = sandbox.command("mount-index -s");
        command.args([&store, &index]).arg(point).current_dir(sandbox.path(directory));
        let mut mounted = Mounted::of(command, &sandbox, "real/a b\\c");
        assert!(read_at(&real.join("image.raw"), 0, 100).unwrap() == content[..100], "{point}");
        mounted.signal(Signal::TERM);
        assert_eq!(mounted.ends(), Some(0), "{point}");
        assert_eq!(fs::read_dir(&real).unwrap().count(), 0, "{point}");
    }
}

#[test]
fn a_signal_leaves_nothing_mounted_however_early_it_comes() {
    if !is_fuse_here("a_signal_leaves_nothing_mounted_however_early_it_comes") {
        return;
    }
    let (sandbox, _) = scene();
    fs::create_dir(sandbox.path("mnt")).unwrap();
    let point = Point::new(&sandbox, "mnt");
    for _ in 0..20 {
        let mut child =
            sandbox.command(&format!("{MOUNT} mnt")).stderr(Stdio::null()).spawn().unwrap();
        wait_for_table(&point);
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, Signal::TERM).unwrap();
        wait_until("the end", || child.try_wait().unwrap().is_some());
        assert!(!point.is_mounted());
    }
}

/// Waits until something is mounted, and not a moment longer.
fn wait_for_table(point: &Point) {
    let begun = Instant::now();
    while !point.is_mounted() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it is not mounted");
    }
}
