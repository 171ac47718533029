//! How every command line is read, and what is different for a program called desync.

use std::os::unix::fs::symlink;
use std::process::Command;

use super::common::{Outcome, Sandbox, run};

const VERSION: &str = concat!("cairn ", env!("CARGO_PKG_VERSION"), "\n");

/// Runs the program by another name, through a link.
fn named(sandbox: &Sandbox, name: &str, words: &str) -> Outcome {
    let link = sandbox.path(&format!("bin/{name}"));
    std::fs::create_dir_all(link.parent().unwrap()).unwrap();
    if !link.is_symlink() {
        symlink(env!("CARGO_BIN_EXE_cairn"), &link).unwrap();
    }
    let mut command = Command::new(link);
    command
        .args(words.split_whitespace())
        .current_dir(sandbox.path("."))
        .env("HOME", sandbox.path("."))
        .env_remove("XDG_CONFIG_HOME");
    run(command, None)
}

#[test]
fn without_a_command_the_help_is_printed() {
    let sandbox = Sandbox::new();
    let help = sandbox.cairn("-h").succeeds();
    for words in ["", "--verbose", "--digest sha256"] {
        let done = sandbox.cairn(words).succeeds();
        assert_eq!((done.text(), &done.stderr[..]), (help.text(), ""), "{words}");
    }
    assert!(help.text().contains("Usage: cairn [OPTIONS] [COMMAND]\n"));
}

#[test]
fn the_version_is_a_flag_and_a_command() {
    let sandbox = Sandbox::new();
    for words in ["--version", "-V", "version"] {
        let done = sandbox.cairn(words).succeeds();
        assert_eq!((done.text(), &done.stderr[..]), (VERSION, ""), "{words}");
    }
}

#[test]
fn flags_take_true_and_false() {
    let sandbox = Sandbox::with_store(b"a short blob");
    let prints = |flag| {
        let done = sandbox.cairn(&format!("extract blob.caibx out -s store {flag}")).succeeds();
        !done.stdout.is_empty()
    };
    for flag in ["--print-stats", "--print-stats=true", "--print-stats=1", "-k --print-stats=T"] {
        assert!(prints(flag), "{flag}");
    }
    for flag in
        ["", "--print-stats=false", "-k=false --print-stats=0", "--print-stats --print-stats=F"]
    {
        assert!(!prints(flag), "{flag}");
    }
    let words = "extract blob.caibx out -s store --print-stats=maybe";
    sandbox.cairn(words).misused(&["--print-stats", "maybe"]);
}

#[test]
fn of_a_flag_given_twice_the_last_counts() {
    let sandbox = Sandbox::with_store(b"a short blob");
    let extract = "extract blob.caibx out -s store";
    for words in [
        "--digest sha256 list-chunks blob.caibx --digest sha512-256",
        "make x.caibx blob -s store -m 1:2:3 -m 16:64:256",
        &format!("{extract} -n 5 -n 6 -e 1 -e 2 -b 1s -b 2s --ca-cert x --ca-cert="),
    ] {
        sandbox.cairn(words).succeeds();
    }
    // Stores add up, and arguments are no flags.
    sandbox.cairn(&format!("{extract} -s none")).fails(&["none"]);
    sandbox.cairn("list-chunks blob.caibx blob.caibx").misused(&["unexpected argument"]);
}

#[test]
fn help_shows_flags_without_values() {
    let sandbox = Sandbox::new();
    let help = sandbox.cairn("extract --help").succeeds();
    assert!(help.text().contains("\n  -k, --in-place\n"), "{}", help.text());
    assert!(help.text().contains("\n  -r, --cache-repair[=<BOOL>]\n"), "{}", help.text());
    assert_eq!(help.text().matches("BOOL").count(), 1);
}

#[test]
fn called_desync_wrong_use_ends_with_1() {
    let sandbox = Sandbox::with_store(b"a short blob");
    for (words, message) in [
        ("unmake x", "unrecognized subcommand 'unmake'"),
        ("list-chunks --bogus", "unexpected argument '--bogus' found"),
        ("make", "the following required arguments were not provided: <INDEX> <FILE>"),
        ("list-chunks none", "cannot open index none: No such file or directory (os error 2)"),
        ("--config none config", "reading none: No such file or directory (os error 2)"),
    ] {
        let failed = named(&sandbox, "desync", words);
        let expected = (Some(1), "", format!("Error: {message}\n"));
        assert_eq!((failed.code, failed.text(), failed.stderr.clone()), expected, "{words}");
    }
    named(&sandbox, "other", "unmake x").misused(&["unrecognized subcommand"]);
}

#[test]
fn called_desync_its_file_comes_first() {
    let sandbox = Sandbox::new();
    sandbox.write(".config/cairn/config.json", br#"{"s3-credentials": {"cairn": {}}}"#);
    assert!(named(&sandbox, "desync", "config").succeeds().text().contains("\"cairn\""));
    sandbox.write(".config/desync/config.json", br#"{"s3-credentials": {"desync": {}}}"#);
    assert!(named(&sandbox, "desync", "config").succeeds().text().contains("\"desync\""));
    assert!(named(&sandbox, "cairn", "config").succeeds().text().contains("\"cairn\""));
    let done = named(&sandbox, "desync", "config -w").succeeds();
    assert!(done.text().ends_with("/.config/desync/config.json\n\n"), "{}", done.text());
}

#[test]
fn called_desync_help_says_so() {
    let sandbox = Sandbox::new();
    for words in ["", "-h", "help"] {
        let help = named(&sandbox, "desync", words).succeeds();
        assert!(help.text().contains("Usage: desync [OPTIONS] [COMMAND]\n"), "{words}");
        assert_eq!(help.stderr, "");
    }
}
