//! Blobs and indexes on standard input, standard output and named pipes; what commands print.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::common::{Outcome, Sandbox, joined, random, run, text};

fn content() -> Vec<u8> {
    joined(&[&random(1, 3_000_000), &vec![0; 2_000_000], &text(1_000_000)])
}

/// The lines of `chunk` as numbers and ids.
fn lines(printed: &Outcome) -> Vec<(u64, u64, String)> {
    let parse = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [start, len, id] = fields[..] else { panic!("three fields: {line}") };
        (start.parse().unwrap(), len.parse().unwrap(), id.to_owned())
    };
    printed.text().lines().map(parse).collect()
}

fn fifo(sandbox: &Sandbox, name: &str) {
    let made = Command::new("mkfifo").arg(sandbox.path(name)).status();
    assert!(made.unwrap().success());
}

#[test]
fn a_blob_on_standard_input_has_the_same_index_and_chunks() {
    let sandbox = Sandbox::with_store(&content());
    sandbox.cairn_with_input("make piped.caibx - -s piped", content()).succeeds_silently();
    assert!(sandbox.read("piped.caibx") == sandbox.read("blob.caibx"));
    assert_eq!(sandbox.files("piped"), sandbox.files("store"));
}

#[test]
fn an_empty_standard_input_is_an_empty_blob() {
    let sandbox = Sandbox::with_store(b"");
    sandbox.cairn_with_input("make piped.caibx -", b"").succeeds_silently();
    assert_eq!(sandbox.read("piped.caibx").len(), 104);
    assert!(sandbox.read("piped.caibx") == sandbox.read("blob.caibx"));
}

#[test]
fn a_file_as_standard_input_is_read_from_where_it_stands() {
    let sandbox = Sandbox::with_blob(&content());
    for start in [0, 1_000_000, 6_000_000] {
        let mut file = File::open(sandbox.path("blob")).unwrap();
        file.seek(SeekFrom::Start(start)).unwrap();
        let mut command = sandbox.command("make part.caibx -");
        let done = command.stdin(file).output().unwrap();
        Outcome::new("make from a file".to_owned(), done).succeeds();
        sandbox.write("part", &content()[start as usize..]);
        sandbox.cairn("verify-index part.caibx part").succeeds_silently();
    }
}

#[test]
fn a_whole_file_as_standard_input_is_read_like_the_file() {
    let sandbox = Sandbox::with_store(&content());
    let mut command = sandbox.command("make part.caibx -");
    command.stdin(File::open(sandbox.path("blob")).unwrap());
    let done = command.output().unwrap();
    Outcome::new("make from a file".to_owned(), done).succeeds_silently();
    assert!(sandbox.read("part.caibx") == sandbox.read("blob.caibx"));
}

#[test]
fn a_file_that_does_not_know_its_length_is_read_to_its_end() {
    let sandbox = Sandbox::new();
    let content = fs::read("/proc/version").unwrap();
    sandbox.write("blob", &content);
    sandbox.cairn("make blob.caibx blob").succeeds();
    sandbox.cairn("make proc.caibx /proc/version").succeeds_silently();
    assert!(sandbox.read("proc.caibx") == sandbox.read("blob.caibx"));
}

#[test]
fn a_named_pipe_is_read_to_its_end_however_slowly_it_is_written() {
    let sandbox = Sandbox::with_store(&content());
    fifo(&sandbox, "fifo");
    let path = sandbox.path("fifo");
    let writer = thread::spawn(move || {
        // cairn must not take a pipe that nobody has opened yet for one at its end.
        thread::sleep(Duration::from_millis(150));
        let mut file = File::options().write(true).open(path).unwrap();
        for (number, part) in content().chunks(700_001).enumerate() {
            file.write_all(part).unwrap();
            if number % 3 == 0 {
                thread::sleep(Duration::from_millis(120));
            }
        }
    });
    sandbox.cairn("make piped.caibx fifo -s piped").succeeds_silently();
    writer.join().unwrap();
    assert!(sandbox.read("piped.caibx") == sandbox.read("blob.caibx"));
    assert_eq!(sandbox.files("piped"), sandbox.files("store"));
}

#[test]
fn an_index_goes_to_standard_output() {
    let sandbox = Sandbox::with_store(&content());
    for index in ["-", "/dev/stdout"] {
        let printed = sandbox.cairn(&format!("make {index} blob")).succeeds();
        assert!(printed.stdout == sandbox.read("blob.caibx"), "{index}");
        assert_eq!(printed.stderr, "");
    }
}

#[test]
fn an_index_goes_to_standard_output_that_is_a_file() {
    let sandbox = Sandbox::with_store(&content());
    symlink("/proc/self/fd/1", sandbox.path("link")).unwrap();
    // Ours first: a program that replaces the link should not meet that of the system.
    let links = [sandbox.path("link"), "/dev/stdout".into()];
    for link in links {
        let target = fs::read_link(&link).unwrap();
        let mut command = sandbox.command("make");
        command.arg(&link).arg("blob").stdout(File::create(sandbox.path("printed")).unwrap());
        let done = command.output().unwrap();
        Outcome::new(format!("make to {}", link.display()), done).succeeds_silently();
        assert!(sandbox.read("printed") == sandbox.read("blob.caibx"));
        assert_eq!(fs::read_link(&link).unwrap(), target);
    }
}

#[test]
fn an_index_is_written_through_a_link() {
    let sandbox = Sandbox::with_store(&content());
    sandbox.write("below/v1.caibx", b"what was there before");
    let expected = sandbox.read("blob.caibx");
    for (link, target) in [("current.caibx", "below/v1.caibx"), ("again.caibx", "current.caibx")] {
        sandbox.write("below/v1.caibx", b"what was there before");
        symlink(target, sandbox.path(link)).unwrap();
        sandbox.cairn(&format!("make {link} blob")).succeeds_silently();
        assert_eq!(fs::read_link(sandbox.path(link)).unwrap().to_str(), Some(target));
        assert!(sandbox.path("current.caibx").is_symlink());
        assert!(!sandbox.path("below/v1.caibx").is_symlink());
        assert!(sandbox.read("below/v1.caibx") == expected);
    }
}

#[test]
fn an_index_comes_from_standard_input() {
    let sandbox = Sandbox::with_store(&content());
    let index = sandbox.read("blob.caibx");
    sandbox.cairn_with_input("extract - out -s store", &index[..]).succeeds_silently();
    assert!(sandbox.read("out") == content());
    sandbox.cairn_with_input("verify-index - blob", &index[..]).succeeds_silently();
    let piped = sandbox.cairn_with_input("list-chunks -", &index[..]).succeeds();
    let named = sandbox.cairn("list-chunks blob.caibx").succeeds();
    assert_eq!(piped.stdout, named.stdout);
}

#[test]
fn make_pipes_into_extract() {
    let sandbox = Sandbox::with_blob(&content());
    // Either of the two may be the first to open it.
    fs::create_dir(sandbox.path("store")).unwrap();
    let mut make = sandbox.command("make - blob -s store").stdout(Stdio::piped()).spawn().unwrap();
    let mut extract = sandbox.command("extract - out -s store");
    extract.stdin(make.stdout.take().unwrap());
    let done = extract.output().unwrap();
    Outcome::new("make | extract".to_owned(), done).succeeds_silently();
    assert!(make.wait().unwrap().success());
    assert!(sandbox.read("out") == content());
}

#[test]
fn an_index_may_be_a_named_pipe() {
    let sandbox = Sandbox::with_store(&content());
    fifo(&sandbox, "fifo");
    let path = sandbox.path("fifo");
    let reader = thread::spawn(move || fs::read(path).unwrap());
    sandbox.cairn("make fifo blob").succeeds_silently();
    assert!(reader.join().unwrap() == sandbox.read("blob.caibx"));
}

#[test]
fn list_chunks_prints_the_ids_of_the_index_in_order() {
    let sandbox = Sandbox::with_store(&content());
    let index = sandbox.read("blob.caibx");
    let items = index[64..index.len() - 40].chunks(40);
    let hex = |item: &[u8]| item[8..].iter().map(|byte| format!("{byte:02x}")).collect();
    let ids: Vec<String> = items.map(hex).collect();
    assert_eq!(sandbox.ids("blob.caibx"), ids);
    // The zeros are listed as often as they occur.
    assert!(ids.windows(2).any(|pair| pair[0] == pair[1]));
}

#[test]
fn chunk_prints_what_make_puts_into_the_index() {
    let sandbox = Sandbox::with_store(&content());
    for options in ["", "--digest sha256", "-m 4:8:16", "--chunker fastcdc", "-n 1"] {
        sandbox.cairn(&format!("make some.caibx blob {options}")).succeeds();
        let printed = sandbox.cairn(&format!("chunk blob {options}")).succeeds();
        let mut end = 0;
        let index = sandbox.read("some.caibx");
        for (item, (start, len, _)) in index[64..].chunks(40).zip(lines(&printed)) {
            assert_eq!(start, end, "{options}");
            end += len;
            assert_eq!(item[..8], u64::to_le_bytes(end), "{options}");
        }
        assert_eq!(end, content().len() as u64);
        let printed = lines(&printed).into_iter().map(|(.., id)| id);
        let digest = if options.starts_with("--d") { options } else { "" };
        let listed = sandbox.ids(&format!("some.caibx {digest}"));
        assert!(printed.eq(listed), "{options}");
    }
}

#[test]
fn chunk_starts_where_it_is_told() {
    let sandbox = Sandbox::with_blob(&content());
    sandbox.sparse("sparse", 20_000_000, &[(9_000_000, &content())]);
    for (file, start) in [
        ("blob", 1),
        ("blob", 777_777),
        ("blob", 3_500_000),
        ("sparse", 5_000_000),
        ("sparse", 9_000_001),
        ("sparse", 19_000_000),
    ] {
        let tail = sandbox.read(file)[start..].to_vec();
        let of_tail = sandbox.cairn_with_input("chunk -", tail).succeeds();
        let mut expected = lines(&of_tail);
        for line in &mut expected {
            line.0 += start as u64;
        }
        let printed = sandbox.cairn(&format!("chunk {file} -S {start}")).succeeds();
        assert_eq!(lines(&printed), expected, "{file} from {start}");
    }
}

#[test]
fn chunk_from_beyond_the_end_prints_nothing() {
    let sandbox = Sandbox::with_blob(&content());
    for start in [content().len() as u64, u64::MAX] {
        sandbox.cairn(&format!("chunk blob -S {start}")).succeeds_silently();
    }
    sandbox.write("empty", b"");
    sandbox.cairn("chunk empty").succeeds_silently();
    sandbox.cairn("chunk -S 5 empty").succeeds_silently();
}

#[test]
fn a_reader_that_has_seen_enough_ends_a_command_without_a_word() {
    let sandbox = Sandbox::with_blob(&content());
    for words in ["chunk blob -m 64B:256:1024", "make - blob -m 64B:256:1024"] {
        let mut child =
            sandbox.command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let ended = Outcome::new(words.to_owned(), child.wait_with_output().unwrap());
        assert_eq!((ended.code, &ended.stderr[..]), (Some(1), ""), "{words}");
    }
}

#[test]
fn file_names_need_not_be_text() {
    use std::os::unix::ffi::OsStrExt;
    let sandbox = Sandbox::with_store(&content());
    let name = std::ffi::OsStr::from_bytes(b"n\xffme");
    fs::copy(sandbox.path("blob"), sandbox.path("").join(name)).unwrap();
    let mut command = sandbox.command("verify-index blob.caibx");
    command.arg(name);
    run(command, None).succeeds_silently();
    let mut command = sandbox.command("extract -s store blob.caibx");
    command.arg(name);
    run(command, None).succeeds_silently();
    let mut command = sandbox.command("chunk");
    command.arg(name);
    run(command, None).succeeds();
}
