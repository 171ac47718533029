//! The log: nothing unless it is asked for, one line an event, no secrets.

use super::common::{Outcome, Sandbox, text};

/// A blob in `store`, and again in `damaged` where one chunk is not what it was.
fn damaged() -> (Sandbox, String) {
    let sandbox = Sandbox::with_store(&text(1_000_000));
    sandbox.cairn("make blob.caibx blob -s damaged").succeeds();
    let ids = sandbox.ids("blob.caibx");
    let chunk = |id: &str| format!("damaged/{}/{id}.cacnk", &id[..4]);
    // Another chunk under its name: no store sees that, only who looks at the bytes.
    let other = sandbox.read(&chunk(&ids[1]));
    sandbox.write(&chunk(&ids[0]), &other);
    (sandbox, ids[0].clone())
}

/// The lines without their times.
fn events(done: &Outcome) -> Vec<String> {
    let event = |line: &str| {
        let (time, event) = line.split_once(' ').unwrap();
        assert!(time.len() == 27 && time.ends_with('Z'), "{line}");
        event.trim_start().to_owned()
    };
    done.stderr.lines().map(event).collect()
}

const EXTRACT: &str = "extract blob.caibx out -s damaged -s store -n 1";

#[test]
fn there_is_no_log_unless_asked_for() {
    let (sandbox, _) = damaged();
    sandbox.cairn(&format!("{EXTRACT} -e 2")).succeeds_silently();
    sandbox.cairn(&format!("{EXTRACT} --verbose=false")).succeeds_silently();
}

#[test]
fn everything_is_logged_as_text() {
    let (sandbox, id) = damaged();
    sandbox.write("c.json", br#"{"store-options": {"store": {"http-auth": "hidden"}}}"#);
    let done = sandbox.cairn(&format!("{EXTRACT} -e 2 --verbose --config c.json")).succeeds();
    assert!(done.stdout.is_empty());
    let events = events(&done);
    let expected = [
        "DEBUG cairn::cli::config: configuration read file=\"c.json\"".to_owned(),
        "WARN cairn::cli::access: no store of this run can use the flag flag=\"--error-retry\""
            .to_owned(),
        "DEBUG cairn_store::open: store opened store=\"damaged\" purpose=\"for reading\" form=zstd"
            .to_owned(),
        "DEBUG cairn_store::open: store opened store=\"store\" purpose=\"for reading\" form=zstd"
            .to_owned(),
        format!("WARN cairn_store::fetch: chunk is damaged id={id} at=0 store="),
        format!(
            "WARN cairn_store::combine::router: chunk is taken from another copy id={id} store=\"store\""
        ),
    ];
    assert_eq!(events.len(), expected.len(), "{}", done.stderr);
    for (event, expected) in events.iter().zip(&expected) {
        assert!(event.starts_with(expected), "{event}\n{expected}");
    }
    assert!(!done.stderr.contains("hidden"));
}

#[test]
fn a_format_alone_gives_what_may_need_attention() {
    let (sandbox, id) = damaged();
    let done = sandbox.cairn(&format!("{EXTRACT} --log-format json")).succeeds();
    let lines: Vec<serde_json::Value> =
        done.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let shown =
        |key: &str| -> Vec<&str> { lines.iter().map(|line| line[key].as_str().unwrap()).collect() };
    assert_eq!(shown("level"), ["WARN", "WARN"]);
    assert_eq!(shown("message"), ["chunk is damaged", "chunk is taken from another copy"]);
    assert_eq!(shown("id"), [&id[..], &id[..]]);
    assert_eq!(shown("target"), ["cairn_store::fetch", "cairn_store::combine::router"]);

    let done = sandbox.cairn("make x.caibx blob -s new --verbose --log-format=json").succeeds();
    let line: serde_json::Value = serde_json::from_str(&done.stderr).unwrap();
    assert_eq!((line["level"].as_str(), line["store"].as_str()), (Some("DEBUG"), Some("new")));
    assert_eq!(line["purpose"], "for writing");
}

#[test]
fn a_store_that_fails_is_named() {
    let (sandbox, id) = damaged();
    sandbox.write(&format!("damaged/{}/{id}.cacnk", &id[..4]), b"no chunk at all");
    let done = sandbox.cairn(&format!("{EXTRACT} --log-format text")).succeeds();
    let events = events(&done);
    let expected = "WARN cairn_store::combine::router: store failed, the next is asked \
                    store=\"damaged\" error=\"damaged/";
    assert!(events.len() == 1 && events[0].starts_with(expected), "{}", done.stderr);
}

#[test]
fn names_of_files_break_no_line() {
    let (sandbox, id) = damaged();
    sandbox.write(&format!("damaged/{}/{id}.cacnk", &id[..4]), b"no chunk at all");
    std::fs::rename(sandbox.path("damaged"), sandbox.path("two\nlines\x1b[31m")).unwrap();
    let mut command = sandbox.command("extract blob.caibx out --log-format text -s");
    command.arg("two\nlines\x1b[31m");
    let failed = super::common::run(command, None);
    let lines: Vec<&str> = failed.stderr.lines().collect();
    assert!(lines[0].contains("WARN") && lines[0].contains("error=two?lines?[31m/"), "{lines:?}");
    assert!(lines[1].starts_with("error: two?lines?[31m/"), "{lines:?}");
    assert!(!failed.stderr.contains('\x1b'));
}

#[test]
fn an_unknown_format_is_refused() {
    Sandbox::new().cairn("config --log-format xml").misused(&["xml", "text", "json"]);
}

#[test]
fn a_full_standard_error_stops_nothing() {
    let (sandbox, _) = damaged();
    let command = sandbox.command_after("exec 2>/dev/full", &format!("{EXTRACT} --verbose"));
    super::common::run(command, None).succeeds_silently();
    assert!(sandbox.read("out") == sandbox.read("blob"));
}
