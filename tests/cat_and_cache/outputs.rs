//! Where `cat` writes to, and how it ends there.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::common::system::{Device, is_root};
use super::common::{Sandbox, random, run};
use super::content;

const SIGINT: i32 = 2;

#[test]
fn a_file_is_replaced_and_keeps_its_mode() {
    let sandbox = Sandbox::with_store(&content());
    sandbox.cairn("cat blob.caibx out -s store").succeeds_silently();
    assert!(sandbox.read("out") == content());
    let path = sandbox.path("out");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
    symlink("out", sandbox.path("link")).unwrap();
    sandbox.cairn("cat blob.caibx link -s store -o 5 -l 7").succeeds_silently();
    assert!(sandbox.read("out") == content()[5..12]);
    assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o604);
    assert!(sandbox.path("link").is_symlink());
    fs::create_dir(sandbox.path("below")).unwrap();
    symlink("below/second", sandbox.path("first")).unwrap();
    symlink("../not-yet", sandbox.path("below/second")).unwrap();
    sandbox.cairn("cat blob.caibx first -s store").succeeds_silently();
    assert!(sandbox.read("not-yet") == content());
    symlink("round", sandbox.path("round")).unwrap();
    sandbox.refuses("cat blob.caibx round -s store", &["round", "symbolic links"]);
}

#[test]
fn a_failure_leaves_the_file_that_was_there() {
    let sandbox = Sandbox::with_store(&content());
    sandbox.write("out", b"what was there before");
    sandbox.refuses("cat blob.caibx out -s nowhere", &["nowhere"]);
    sandbox.refuses("cat nothing.caibx out -s store", &["nothing.caibx"]);
    sandbox.refuses("cat blob.caibx out -s store -o 999999999", &["blob.caibx"]);
    sandbox.refuses("cat blob.caibx no/out -s store", &["no/out"]);
    sandbox.refuses("cat blob.caibx store -s store", &["store", "directory"]);
    sandbox.refuses("cat blob.caibx blob.caibx -s store", &["blob.caibx", "same file"]);
    // Not the first: much has been written by then.
    let missing = sandbox.ids("blob.caibx").swap_remove(25);
    fs::remove_file(sandbox.path(&format!("store/{}/{missing}.cacnk", &missing[..4]))).unwrap();
    sandbox.refuses("cat blob.caibx out -s store", &["store", &missing]);
    sandbox.refuses("cat blob.caibx new -s store", &["store", &missing]);
}

#[test]
fn a_named_pipe_is_written_to() {
    let sandbox = Sandbox::with_store(&content());
    let fifo = sandbox.path("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let reader = std::thread::spawn({
        let fifo = fifo.clone();
        move || {
            let mut bytes = Vec::new();
            File::open(fifo).unwrap().read_to_end(&mut bytes).unwrap();
            bytes
        }
    });
    sandbox.cairn("cat blob.caibx fifo -s store").succeeds_silently();
    assert!(reader.join().unwrap() == content());
    assert!(!fifo.metadata().unwrap().is_file());
}

#[test]
fn a_pipe_that_does_not_block_is_waited_for() {
    let sandbox = Sandbox::with_store(&content());
    let (mut reader, writer) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    let mut command = sandbox.command("cat blob.caibx -s store");
    let mut child = command.stdout(writer).spawn().unwrap();
    // It holds the other end of the pipe.
    drop(command);
    // Longer than it takes to fill the pipe.
    std::thread::sleep(Duration::from_millis(300));
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(bytes == content());
}

#[test]
fn what_a_shell_has_opened_is_appended_to() {
    let sandbox = Sandbox::with_store(&content());
    for output in ["", "-", "/dev/stdout", "/dev/fd/1"] {
        let words = format!("cat blob.caibx -s store {output}");
        let command = sandbox.command_after("exec >out && printf before", &words);
        run(command, None).succeeds_silently();
        let written = sandbox.read("out");
        assert!(written.starts_with(b"before") && written[6..] == content(), "{output}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_matter_for_words() {
    let sandbox = Sandbox::with_store(&content());
    let mut command = sandbox.command("cat blob.caibx -s store");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut start = [0; 1000];
    child.stdout.take().unwrap().read_exact(&mut start).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert!(start == content()[..1000]);
    assert_eq!((ended.status.code(), ended.stderr), (Some(1), Vec::new()));
}

#[test]
fn a_full_output_is_an_error() {
    let sandbox = Sandbox::with_store(&content());
    sandbox.cairn("cat blob.caibx /dev/full -s store").fails(&["/dev/full", "No space left"]);
    let command = sandbox.command_after("exec >/dev/full", "cat blob.caibx -s store");
    run(command, None).fails(&["standard output", "No space left"]);
}

#[test]
fn an_interrupt_ends_it_at_once_though_nobody_reads() {
    let sandbox = Sandbox::with_store(&content());
    let mut command = sandbox.command("cat blob.caibx -s store");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let began = Instant::now();
    Command::new("kill").arg("-INT").arg(child.id().to_string()).status().unwrap();
    let status = child.wait().unwrap();
    // A shell makes 130 of it.
    assert_eq!(status.signal(), Some(SIGINT));
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn an_interrupt_leaves_the_file_that_was_there() {
    let sandbox = Sandbox::new();
    // Long to write, though not to make.
    sandbox.sparse("blob", 2 << 30, &[]);
    sandbox.cairn("make blob.caibx blob -s store").succeeds_silently();
    sandbox.write("out", b"what was there before");
    let mut command = sandbox.command("cat blob.caibx out -s store");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(150));
    Command::new("kill").arg("-INT").arg(child.id().to_string()).status().unwrap();
    let ended = child.wait_with_output().unwrap();
    // Before the handlers stand, the system ends the program in its own way.
    if ended.status.signal() != Some(SIGINT) {
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!((ended.status.code(), &said[..]), (Some(130), "error: interrupted\n"));
    }
    assert_eq!(sandbox.read("out"), b"what was there before");
    let names = sandbox.files(".");
    assert!(!names.iter().any(|name| name.contains("tmp")), "{names:?}");
}

#[test]
fn a_device_is_written_from_its_beginning() {
    if !is_root("a_device_is_written_from_its_beginning") {
        return;
    }
    let sandbox = Sandbox::with_store(&content());
    let before = random(8, 4 << 20);
    sandbox.write("disk", &before);
    let device = Device::new(&sandbox.path("disk"));
    sandbox.cairn(&format!("cat blob.caibx {} -s store", device.path())).succeeds_silently();
    device.flush();
    let (size, disk) = (content().len(), sandbox.read("disk"));
    assert!(disk[..size] == content() && disk[size..] == before[size..]);
}
