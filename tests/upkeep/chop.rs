use std::fs;

use super::common::{Sandbox, desync_is_here, joined, random, text};
use super::stores::{chunks, place, sorted};

/// A blob with an index, of which no chunk is stored.
fn indexed() -> (Sandbox, Vec<String>) {
    let blob = joined(&[&random(1, 1_500_000), &[0; 1_000_000], &text(500_000)]);
    let sandbox = Sandbox::with_blob(&blob);
    sandbox.cairn("make blob.caibx blob").succeeds_silently();
    let ids = sandbox.ids("blob.caibx");
    (sandbox, ids)
}

#[test]
fn the_store_is_that_of_a_make() {
    let (sandbox, _) = indexed();
    sandbox.cairn("make made.caibx blob -s made").succeeds();
    sandbox.cairn("chop blob.caibx blob -s chopped").succeeds_silently();
    assert_eq!(sandbox.files("chopped"), sandbox.files("made"));
    for name in sandbox.files("made") {
        let (chopped, made) = (format!("chopped/{name}"), format!("made/{name}"));
        assert!(sandbox.read(&chopped) == sandbox.read(&made), "{name}");
    }
    let before = sandbox.snapshot();
    sandbox.cairn("chop blob.caibx blob -s chopped -n 1").succeeds_silently();
    sandbox.is_as(&before, "a second chop");
    sandbox.cairn("chop blob.caibx blob -s plain --uncompressed").succeeds_silently();
    sandbox.cairn("extract blob.caibx out -s plain").succeeds();
    assert!(sandbox.read("out") == sandbox.read("blob"));
}

#[test]
fn holes_need_not_be_read() {
    let sandbox = Sandbox::new();
    sandbox.sparse("blob", 50_000_000, &[(20_000_000, &random(1, 700_000))]);
    sandbox.cairn("make blob.caibx blob").succeeds();
    sandbox.cairn("chop blob.caibx blob -s store").succeeds_silently();
    sandbox.cairn("extract blob.caibx out -s store").succeeds();
    assert!(sandbox.read("out") == sandbox.read("blob"));
}

#[test]
fn ignored_chunks_are_neither_read_nor_stored() {
    let (sandbox, ids) = indexed();
    sandbox.write("ids", format!("{}\n{}\n", ids[0], ids[3]).as_bytes());
    // Nobody looks at the first chunk, so nobody minds.
    sandbox.patch("blob", 5, b"changed");
    sandbox.cairn("chop blob.caibx blob -s store --ignore-chunks ids").succeeds_silently();
    let wanted = ids.iter().filter(|id| **id != ids[0] && **id != ids[3]).cloned().collect();
    assert_eq!(chunks(&sandbox, "store"), sorted(wanted));
    sandbox.write("tail", &sandbox.read("blob")[1_500_000..]);
    sandbox.cairn("make tail.caibx tail").succeeds();
    let words = "chop blob.caibx blob -s rest --ignore tail.caibx --ignore-chunks ids";
    sandbox.cairn(words).succeeds_silently();
    let tail = sandbox.ids("tail.caibx");
    let wanted: Vec<String> = ids
        .iter()
        .filter(|id| **id != ids[0] && **id != ids[3] && !tail.contains(id))
        .cloned()
        .collect();
    assert!(wanted.len() + 2 < ids.len());
    assert_eq!(chunks(&sandbox, "rest"), sorted(wanted));
    sandbox.cairn("chop blob.caibx blob -s none --ignore blob.caibx").succeeds_silently();
    assert_eq!(sandbox.files("none"), [""; 0]);
}

#[test]
fn what_is_stored_is_what_desync_stores() {
    let (sandbox, ids) = indexed();
    sandbox.write("ids", ids[1].as_bytes());
    let chop = "chop blob.caibx blob --ignore-chunks ids -s";
    fs::create_dir(sandbox.path("theirs")).unwrap();
    if !desync_is_here("what_is_stored_is_what_desync_stores") {
        return;
    }
    let theirs = sandbox.desync(&format!("{chop} theirs"));
    theirs.succeeds();
    sandbox.cairn(&format!("{chop} ours")).succeeds_silently();
    assert_eq!(sandbox.files("ours"), sandbox.files("theirs"));
}

#[test]
fn a_file_that_is_not_the_blob_is_refused() {
    let (sandbox, ids) = indexed();
    let blob = sandbox.read("blob");
    sandbox.write("short", &blob[..700_000]);
    let chop = sandbox.cairn("chop blob.caibx short -s store");
    chop.fails(&["short: it ends at byte 700000, within its chunk at bytes "]);
    // Longer is fine: the blob may be on a device.
    sandbox.write("long", &joined(&[&blob, b"more"]));
    sandbox.cairn("chop blob.caibx long -s store").succeeds_silently();
    let mut other = blob;
    other[1_200_000] ^= 1;
    sandbox.write("other", &other);
    let chop = sandbox.cairn("chop blob.caibx other -s other.castr");
    let chop = chop.fails(&["other: does not match its index at bytes ", "have another id"]);
    // What it has stored so far is all right.
    sandbox.cairn("verify -s other.castr").succeeds_silently();
    assert!(ids.iter().any(|id| chop.stderr.contains(id.as_str())));
    sandbox.cairn("chop blob.caibx missing -s store").fails(&["cannot open missing"]);
    sandbox.cairn("chop blob.caibx store -s store").fails(&["store: is a directory"]);
    sandbox.cairn("chop blob.caibx /dev/null -s store").fails(&["/dev/null: is neither"]);
    sandbox.cairn("chop missing.caibx blob -s store").fails(&["missing.caibx"]);
    sandbox.cairn("chop blob.caibx blob -s no/where").fails(&["no/where"]);
    sandbox.cairn("chop blob.caibx blob").misused(&["--store"]);
}

#[test]
fn chunks_that_are_there_are_not_written() {
    let (sandbox, ids) = indexed();
    sandbox.cairn("chop blob.caibx blob -s store").succeeds();
    // As with `make`, only a name is looked for.
    sandbox.write(&place("store", &ids[0]), b"damaged");
    fs::remove_file(sandbox.path(&place("store", &ids[1]))).unwrap();
    sandbox.cairn("chop blob.caibx blob -s store").succeeds_silently();
    assert_eq!(sandbox.read(&place("store", &ids[0])), b"damaged");
    assert_eq!(chunks(&sandbox, "store"), sorted(ids));
}

#[test]
fn progress_is_desyncs() {
    let (sandbox, _) = indexed();
    let name = "DESYNC_ENABLE_PARSABLE_PROGRESS";
    let done = sandbox.cairn_with_env("chop blob.caibx blob -s store", name, "1").succeeds();
    assert_eq!((done.text(), &done.stderr[..]), ("", "   0.00%\n 100.00% 0s\n"));
}
