//! Manual pages and completions.

use std::fs;

use super::common::Sandbox;

/// All commands, by the table of the help.
fn commands(sandbox: &Sandbox) -> Vec<String> {
    let help = sandbox.cairn("--help").succeeds();
    let table = help.text().split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let names = table.lines().map(|line| line.split_whitespace().next().unwrap().to_owned());
    names.filter(|name| name != "help").collect()
}

#[test]
fn every_command_has_a_page() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("pages")).unwrap();
    sandbox.cairn("manpage pages").succeeds_silently();
    let mut expected: Vec<String> =
        commands(&sandbox).into_iter().map(|name| format!("cairn-{name}.3")).collect();
    expected.push("cairn.3".to_owned());
    expected.sort();
    assert_eq!(sandbox.files("pages"), expected);
    let page = String::from_utf8(sandbox.read("pages/cairn-extract.3")).unwrap();
    assert!(page.contains(".TH cairn-extract 3"), "{page}");
    assert!(page.contains(".SH SYNOPSIS\n\\fBcairn extract\\fR"), "{page}");
    assert!(
        page.contains("in\\-place") && page.contains("error\\-retry") && !page.contains("BOOL]")
    );
}

#[test]
fn the_head_and_foot_of_pages_can_be_chosen() {
    let sandbox = Sandbox::new();
    let words = "manpage . --title T --section 1x --source S --manual M";
    sandbox.cairn(words).succeeds_silently();
    let page = String::from_utf8(sandbox.read("cairn-make.1x")).unwrap();
    assert!(page.contains(".TH T 1x  S M"), "{page}");
}

#[test]
fn pages_are_written_where_they_belong_or_not_at_all() {
    let sandbox = Sandbox::new();
    sandbox.refuses("manpage missing", &["cannot write missing/cairn.3", "No such file"]);
    for section in ["../1", "/1", "", "1 2"] {
        let mut command = sandbox.command("manpage . --section");
        command.arg(section);
        super::common::run(command, None).misused(&["--section"]);
    }
    assert!(sandbox.files(".").is_empty());
}

#[test]
fn every_shell_gets_its_completion() {
    let sandbox = Sandbox::new();
    for (shell, start) in [
        ("bash", "_cairn() {\n"),
        ("zsh", "#compdef cairn\n"),
        ("fish", "# Print an optspec"),
        ("powershell", "\nusing namespace System.Management.Automation\n"),
        ("elvish", "\nuse builtin;\n"),
    ] {
        let done = sandbox.cairn(&format!("completion {shell}")).succeeds();
        assert!(done.text().starts_with(start), "{shell}\n{}", &done.text()[..200]);
        assert!(done.text().contains("list-chunks") && done.stderr.is_empty(), "{shell}");
    }
}

#[test]
fn an_unknown_shell_gets_the_help() {
    let sandbox = Sandbox::new();
    let help = sandbox.cairn("completion --help").succeeds();
    for words in ["completion", "completion tcsh"] {
        let done = sandbox.cairn(words).succeeds();
        assert_eq!((done.text(), &done.stderr[..]), (help.text(), ""), "{words}");
    }
}
