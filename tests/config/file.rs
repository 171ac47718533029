//! Where the file is, how it is read, how it is written.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::common::{Sandbox, run};

const NOTHING: &str =
    "{\n  \"s3-credentials\": null,\n  \"oci-credentials\": null,\n  \"store-options\": null\n}";

/// The configuration of one store with its timeout.
fn with_timeout(location: &str, timeout: i64) -> String {
    format!(
        "{{
  \"s3-credentials\": null,
  \"oci-credentials\": null,
  \"store-options\": {{
    \"{location}\": {{
      \"timeout\": {timeout},
      \"error-retry\": 3,
      \"error-retry-base-interval\": 500000000,
      \"uncompressed\": false
    }}
  }}
}}"
    )
}

fn prints(sandbox: &Sandbox, words: &str, expected: &str) {
    let done = sandbox.cairn(words).succeeds();
    assert_eq!((done.text(), &done.stderr[..]), (&format!("{expected}\n")[..], ""), "{words}");
}

#[test]
fn without_a_file_nothing_is_configured() {
    prints(&Sandbox::new(), "config", NOTHING);
}

#[test]
fn the_own_file_comes_before_that_of_desync() {
    let sandbox = Sandbox::new();
    let entry = |timeout| format!("{{\"store-options\": {{\"/a\": {{\"timeout\": {timeout}}}}}}}");
    sandbox.write(".config/desync/config.json", entry(1).as_bytes());
    prints(&sandbox, "config", &with_timeout("/a", 1));
    sandbox.write(".config/cairn/config.json", entry(2).as_bytes());
    prints(&sandbox, "config", &with_timeout("/a", 2));
    sandbox.write("here.json", entry(3).as_bytes());
    prints(&sandbox, "config --config here.json", &with_timeout("/a", 3));
    prints(&sandbox, "--config=here.json config", &with_timeout("/a", 3));

    sandbox.write("xdg/cairn/config.json", entry(4).as_bytes());
    let mut command = sandbox.command("config");
    command.env("XDG_CONFIG_HOME", sandbox.path("xdg"));
    let done = run(command, None).succeeds();
    assert_eq!(done.text(), format!("{}\n", with_timeout("/a", 4)));
}

#[test]
fn only_the_first_document_counts_and_unknown_keys_do_not() {
    let sandbox = Sandbox::new();
    let text = br#"{"new": [1], "STORE-Options": {"/a": {"Timeout": 5, "n": null, "x": {}}}} {,"#;
    sandbox.write("c.json", text);
    prints(&sandbox, "config --config c.json", &with_timeout("/a", 5));
}

#[test]
fn a_file_that_cannot_be_read_ends_every_command() {
    let sandbox = Sandbox::with_store(b"a short blob");
    for (name, text, cause) in [
        ("empty", "", "the file is empty"),
        ("comma", "{\"a\": 1,}", "trailing comma at line 1 column 9"),
        (
            "kind",
            "{\"store-options\": {\"/a\": {\"http-auth\": 12345}}}",
            "store-options: /a: http-auth: expected a string, found a number",
        ),
    ] {
        sandbox.write(name, text.as_bytes());
        for words in ["config", "list-chunks blob.caibx", "make new.caibx blob -s store"] {
            let failed = sandbox.cairn(&format!("{words} --config {name}")).fails(&[]);
            assert_eq!(failed.stderr, format!("error: reading {name}: {cause}\n"));
        }
    }
    let failed = sandbox.cairn("config --config none").fails(&[]);
    let cause = "No such file or directory (os error 2)";
    assert_eq!(failed.stderr, format!("error: reading none: {cause}\n"));
    let failed = sandbox.cairn("config --config store").fails(&[]);
    assert_eq!(failed.stderr, "error: reading store: Is a directory (os error 21)\n");
    sandbox.refuses("config --write --config none", &["reading none"]);
    sandbox.refuses("config --write --config comma", &["reading comma"]);
}

#[test]
fn a_default_file_that_is_wrong_is_an_error_too() {
    let sandbox = Sandbox::new();
    sandbox.write(".config/cairn/config.json", b"[]");
    sandbox.cairn("config").fails(&["reading ", "cairn/config.json", "found an array"]);
    sandbox.cairn("version").succeeds();
}

#[test]
fn the_file_is_written_for_its_owner_alone() {
    let sandbox = Sandbox::new();
    sandbox.write(
        ".config/desync/config.json",
        br#"{"store-options": {"/a": {"timeout": 7}}} and more"#,
    );
    let done = sandbox.cairn("config --write").succeeds();
    let path = sandbox.path(".config/cairn/config.json");
    assert_eq!(done.text(), format!("Writing config to {}\n\n", path.display()));
    assert_eq!(done.stderr, "");
    assert_eq!(fs::read_to_string(&path).unwrap(), with_timeout("/a", 7));
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&sandbox.path(".config/cairn")) & !0o755, 0);
    let names = sandbox.files(".config");
    assert_eq!(names, ["cairn/config.json", "desync/config.json"]);
}

#[test]
fn the_file_that_was_named_is_written() {
    let sandbox = Sandbox::new();
    sandbox.write("c.json", br#"{"store-options": {"/a": {"timeout": 7}}}"#);
    std::os::unix::fs::symlink("c.json", sandbox.path("link.json")).unwrap();
    let done = sandbox.cairn("config -w --config link.json").succeeds();
    assert_eq!(done.text(), "Writing config to link.json\n\n");
    assert_eq!(sandbox.read("c.json"), with_timeout("/a", 7).into_bytes());
    assert!(sandbox.path("link.json").is_symlink());
}

#[test]
fn what_is_printed_can_be_read_again() {
    let sandbox = Sandbox::new();
    let text = r#"{
  "s3-credentials": {
    "https://h": {
      "access-key": "a",
      "secret-key": "b",
      "aws-credentials-file": "f",
      "aws-profile": "p",
      "aws-region": "r"
    }
  },
  "oci-credentials": {
    "oci+https://h/*": {
      "username": "u",
      "secret": "\u003cs\u003e"
    }
  },
  "store-options": {}
}"#;
    sandbox.write("c.json", text.as_bytes());
    prints(&sandbox, "config --config c.json", text);
}

#[test]
fn a_pipe_is_read_only_if_it_was_handed_over() {
    let sandbox = Sandbox::with_store(b"a short blob");
    let made = std::process::Command::new("mkfifo").arg(sandbox.path("pipe")).status().unwrap();
    assert!(made.success());
    sandbox.cairn("list-chunks blob.caibx --config pipe").fails(&["reading pipe: it is a pipe"]);
    sandbox.cairn_with_input("list-chunks blob.caibx --config /dev/stdin", "{}").succeeds();
}
