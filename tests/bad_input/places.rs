//! Inputs, outputs and stores that are not there, not what they should be, or each other.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::common::{Outcome, Sandbox, random, run};

/// A sandbox with a store and an output that was there.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with_store(&random(1, 300_000));
    sandbox.write("out", b"what was there before");
    fs::create_dir(sandbox.path("directory")).unwrap();
    sandbox
}

#[test]
fn a_store_that_is_a_file_is_refused() {
    let sandbox = sandbox();
    for words in ["extract blob.caibx out -s out", "make new.caibx blob -s out"] {
        sandbox.refuses(words, &["out", "not a directory"]);
    }
    let below = "make new.caibx blob -s out/store";
    sandbox.refuses(below, &["out/store", "Not a directory"]);
}

#[test]
fn a_missing_store_is_refused() {
    let sandbox = sandbox();
    for words in [
        "extract blob.caibx out -s absent",
        "extract blob.caibx out -s store -s absent",
        "extract -k blob.caibx out -s absent",
    ] {
        sandbox.refuses(words, &["store", "absent", "No such file"]);
    }
    // `make` makes a store, but not what may be a mount point.
    let words = "make new.caibx blob -s absent/store";
    sandbox.refuses(words, &["absent/store", "No such file"]);
}

#[test]
fn stores_of_kinds_that_are_not_supported_are_refused() {
    let sandbox = sandbox();
    for (url, scheme) in [("ftp://127.0.0.1:1/store", "ftp"), ("ftp://host", "ftp")] {
        let words = format!("extract blob.caibx out -s {url}");
        sandbox.refuses(&words, &[url, scheme, "not supported"]);
        let words = format!("make new.caibx blob -s {url}");
        sandbox.refuses(&words, &[url, scheme, "not supported"]);
    }
    sandbox.refuses("make new.caibx blob -s -", &["-", "not the location of a store"]);
}

#[test]
fn a_web_store_that_cannot_be_reached_is_named() {
    let sandbox = sandbox();
    // Port 1 of this machine: nobody listens there.
    let url = "http://127.0.0.1:1/store";
    sandbox.refuses(&format!("extract blob.caibx out -s {url}"), &[url]);
    sandbox.refuses(&format!("make new.caibx blob -s {url}"), &[url]);
    let index = "http://127.0.0.1:1/blob.caibx";
    sandbox.refuses(&format!("list-chunks {index}"), &[index]);
    sandbox.refuses(&format!("make {index} blob"), &[index]);
}

#[test]
fn a_missing_input_is_refused() {
    let sandbox = sandbox();
    for words in [
        "make new.caibx absent -s store",
        "make new.caibx absent -s new-store",
        "chunk absent",
        "verify-index blob.caibx absent",
    ] {
        sandbox.refuses(words, &["absent", "No such file"]);
    }
}

#[test]
fn a_directory_is_no_blob() {
    let sandbox = sandbox();
    for words in [
        "make new.caibx directory -s store",
        "make new.caibx directory -s new-store",
        "chunk directory",
        "verify-index blob.caibx directory",
    ] {
        sandbox.refuses(words, &["directory", "is a directory"]);
    }
}

#[test]
fn an_output_that_is_a_directory_is_refused() {
    let sandbox = sandbox();
    for words in [
        "extract blob.caibx directory -s store",
        "extract -k blob.caibx directory -s store",
        "extract blob.caibx directory/ -s store",
        "extract blob.caibx . -s store",
        "extract blob.caibx directory/.. -s store",
        "make directory blob -s store",
        "make . blob -s store",
    ] {
        sandbox.refuses(words, &["directory"]);
        assert!(sandbox.path("directory").is_dir());
    }
}

#[test]
fn a_missing_directory_for_the_output_is_refused() {
    let sandbox = sandbox();
    for words in [
        "extract blob.caibx absent/out -s store",
        "extract -k blob.caibx absent/out -s store",
        "extract blob.caibx out/below -s store",
        "make absent/new.caibx blob -s store",
        "make out/new.caibx blob -s store",
    ] {
        sandbox.refuses(words, &["irectory"]);
    }
    assert!(!sandbox.path("absent").exists());
}

#[test]
fn an_index_that_cannot_be_written_is_refused_before_the_work() {
    let sandbox = sandbox();
    sandbox.refuses("make absent/new.caibx blob -s fresh", &["absent/new.caibx"]);
    sandbox.refuses("make directory blob -s fresh", &["directory"]);
}

#[test]
fn an_index_in_place_of_its_input_is_refused() {
    let sandbox = sandbox();
    symlink("blob", sandbox.path("link")).unwrap();
    fs::hard_link(sandbox.path("blob"), sandbox.path("same")).unwrap();
    for index in ["blob", "./blob", "directory/../blob", "link", "same"] {
        let words = format!("make {index} blob -s store");
        sandbox.refuses(&words, &[index, "same file"]);
    }
    sandbox.refuses("make blob link -s store", &["blob", "same file"]);
}

#[test]
fn an_output_in_place_of_its_index_is_refused() {
    let sandbox = sandbox();
    symlink("blob.caibx", sandbox.path("link")).unwrap();
    for output in ["blob.caibx", "./blob.caibx", "directory/../blob.caibx", "link"] {
        for option in ["", "-k"] {
            let words = format!("extract {option} blob.caibx {output} -s store");
            sandbox.refuses(&words, &["blob.caibx", "same file"]);
        }
    }
    let words = "extract link blob.caibx -s store";
    sandbox.refuses(words, &["link", "same file"]);
}

#[test]
fn another_name_of_the_index_is_not_written_in_place() {
    let sandbox = sandbox();
    fs::hard_link(sandbox.path("blob.caibx"), sandbox.path("same")).unwrap();
    sandbox.refuses("extract -k blob.caibx same -s store", &["blob.caibx", "same file"]);
}

#[test]
fn an_output_that_is_no_file_is_refused() {
    let sandbox = sandbox();
    for option in ["", "-k"] {
        for (output, why) in
            [("-", "standard output"), ("/dev/null", "neither a file nor a block device")]
        {
            let words = format!("extract {option} blob.caibx {output} -s store");
            sandbox.refuses(&words, &[output, why]);
        }
    }
}

#[test]
fn an_output_that_leads_to_standard_output_is_refused() {
    let sandbox = sandbox();
    symlink("/proc/self/fd/1", sandbox.path("link")).unwrap();
    for output in ["link", "/proc/self/fd/1", "/dev/fd/1", "/dev/stdout"] {
        for option in ["", "-k"] {
            let words = format!("extract {option} blob.caibx {output} -s store");
            let printed = fs::File::create(sandbox.path("printed")).unwrap();
            let ended = sandbox.command(&words).stdout(printed).output().unwrap();
            Outcome::new(words, ended).fails(&[output, "neither a file nor a block device"]);
            assert_eq!(sandbox.read("printed"), b"");
            assert!(sandbox.path("link").is_symlink() && Path::new("/dev/stdout").is_symlink());
        }
    }
}

#[test]
fn an_output_that_another_process_writes_to_is_refused() {
    let sandbox = sandbox();
    let file = fs::File::open(sandbox.path("out")).unwrap();
    flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
    let words = "extract -k blob.caibx out -s store";
    sandbox.refuses(words, &["out", "another process is writing to it"]);
    drop(file);
    sandbox.cairn(words).succeeds_silently();
    assert!(sandbox.read("out") == sandbox.read("blob"));
}

#[test]
fn control_characters_of_a_path_are_not_printed() {
    let sandbox = sandbox();
    let name = "a\x1b[31m\nb\t\u{9b}2J\x07";
    for words in [
        "make new.caibx",
        "chunk",
        "list-chunks",
        "verify-index blob.caibx",
        "extract -s store blob.caibx absent/",
        "extract blob.caibx out -s",
        "make new.caibx blob -s absent/",
    ] {
        let (words, last) = words.rsplit_once(' ').unwrap_or(("", words));
        let mut command = sandbox.command(words);
        match last {
            "absent/" => command.arg(format!("absent/{name}")),
            last => command.arg(last).arg(name),
        };
        let failed = run(command, None).fails(&["a?[31m?b??2J?"]);
        let raw = |c: char| c.is_control() && c != '\n';
        assert!(!failed.stderr.contains(raw), "{:?}", failed.stderr);
    }
}

#[test]
fn a_pipe_is_not_verified() {
    let sandbox = sandbox();
    let made = std::process::Command::new("mkfifo").arg(sandbox.path("fifo")).status();
    assert!(made.unwrap().success());
    sandbox
        .cairn("verify-index blob.caibx fifo")
        .fails(&["fifo", "neither a file nor a block device"]);
}

#[test]
fn a_full_standard_output_is_named() {
    let sandbox = sandbox();
    for words in [
        "list-chunks blob.caibx",
        "chunk blob",
        "make - blob",
        "extract blob.caibx out -s store --print-stats",
    ] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let ended = sandbox.command(words).stdout(full).output().unwrap();
        Outcome::new(words.to_owned(), ended).fails(&["standard output", "No space left"]);
    }
}

#[test]
fn a_pipe_has_no_middle_to_start_in() {
    let sandbox = sandbox();
    sandbox.cairn_with_input("chunk - -S 100", random(2, 1000)).fails(&["standard input", "pipe"]);
}
