//! Archives that break off, onto a copy that is complete: what is there stays.

use std::fs;
use std::os::unix::fs::symlink;

use super::common::{Sandbox, random};
use super::written::Written;

/// An archive, as `x.catar` and as `x.caibx` with `store`, and a copy of its tree in `out`.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    let mut written = Written::new();
    written.file("first", b"first");
    written.enter("inner", 0o755);
    written.file("large", &random(1, 3_000_000));
    written.enter("most", 0o755);
    for number in 100..160 {
        written.file(&number.to_string(), &random(number, 100 * number as usize));
    }
    written.leave();
    written.leave();
    written.file("last", &random(2, 1_000_000));
    written.link("link", "last");
    sandbox.write("x.catar", &written.end());
    sandbox.cairn("untar x.catar out").succeeds_silently();
    sandbox.cairn("make -s store x.caibx x.catar").succeeds();
    sandbox
}

/// All names and contents of the copy.
fn copy(sandbox: &Sandbox) -> Vec<(String, Vec<u8>)> {
    let names = sandbox.files("out").into_iter();
    names.map(|name| (name.clone(), sandbox.read(&format!("out/{name}")))).collect()
}

#[test]
fn nothing_is_removed_where_the_archive_breaks_off() {
    let sandbox = sandbox();
    // Of what is not in the archive this cannot be known before its end.
    sandbox.write("out/other", b"other");
    let before = copy(&sandbox);
    assert_eq!(before.len(), 65);
    let archive = sandbox.read("x.catar");
    let len = archive.len();
    for cut in [0, 64, 200, 5000, len / 3, len / 2, len * 3 / 4, len - 300, len - 100, len - 1] {
        sandbox.write("cut.catar", &archive[..cut]);
        sandbox.cairn("untar cut.catar out --delete").fails(&["cut.catar"]);
        assert!(copy(&sandbox) == before, "cut at {cut} of {len} bytes");
        sandbox.cairn_with_input("untar - out --delete", &archive[..cut]).fails(&[]);
        assert!(copy(&sandbox) == before, "a pipe, cut at {cut} of {len} bytes");
    }
    sandbox.cairn("untar x.catar out --delete").succeeds_silently();
    assert_eq!(copy(&sandbox).len(), 64, "what is not in the archive is gone");
}

#[test]
fn nothing_is_removed_where_a_chunk_is_missing() {
    let sandbox = sandbox();
    let before = copy(&sandbox);
    let ids = sandbox.ids("x.caibx");
    for at in [0, ids.len() / 2, ids.len() - 1] {
        let chunk = format!("store/{}/{}.cacnk", &ids[at][..4], ids[at]);
        let bytes = sandbox.read(&chunk);
        fs::remove_file(sandbox.path(&chunk)).unwrap();
        sandbox.cairn("untar -i -s store x.caibx out --delete").fails(&[&ids[at]]);
        assert!(copy(&sandbox) == before, "without chunk {at} of {}", ids.len());
        sandbox.write(&chunk, &bytes);
    }
}

#[test]
fn what_is_not_wanted_of_the_archive_is_not_removed() {
    let sandbox = sandbox();
    symlink("nowhere", sandbox.path("out/other link")).unwrap();
    sandbox.cairn("untar x.catar out --delete --without=symlinks").succeeds_silently();
    let target = |name: &str| fs::read_link(sandbox.path("out").join(name)).ok();
    assert_eq!(target("link").unwrap().to_str(), Some("last"));
    assert_eq!(target("other link"), None, "the archive does not have it");
}
