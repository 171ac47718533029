//! Chunks from directories that have them already.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use cairn::Silent;
use cairn::archive::seed::TreeSeed;
use cairn_formats::{Chunk, Index};
use cairn_store::{Location, RemoteOptions, Store, read_index};

use super::common::{Sandbox, random};
use super::picture::set_time;

/// A directory as a seed for an index, which is returned as well.
pub fn seed(sandbox: &Sandbox, directory: &str, index: &str) -> (TreeSeed, Index) {
    let place: Location = sandbox.path(index).to_str().unwrap().parse().unwrap();
    let index = read_index(&place, &RemoteOptions::default()).unwrap();
    let seed = TreeSeed::scan(&sandbox.path(directory), &index, 2, &Silent).unwrap();
    (seed, index)
}

/// Two versions of a tree, `old` and `new`, their indexes, and the old one restored as `out`. The store lacks all
/// chunks of the old version.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    for n in 0..60 {
        sandbox.write(&format!("old/{}/small{n}", n % 5), &random(n, 3000 * n as usize));
    }
    sandbox.write("old/large", &random(99, 5_000_000));
    sandbox.sparse("old/sparse", 3_000_000, &[(2_000_000, b"data")]);
    sandbox.cairn("tar -s store old.caidx old").succeeds_silently();
    sandbox.cairn("untar -s store old.caidx out").succeeds_silently();
    let copied = std::process::Command::new("cp")
        .args(["-a", "old", "new"])
        .current_dir(sandbox.path("."))
        .status();
    assert!(copied.unwrap().success());
    sandbox.patch("new/large", 2_500_000, b"changed");
    sandbox.write("new/3/added", &random(77, 200_000));
    fs::remove_file(sandbox.path("new/2/small7")).unwrap();
    sandbox.cairn("tar -s store new.caidx new").succeeds_silently();
    let ids = sandbox.ids("old.caidx");
    for id in ids {
        let _ = fs::remove_file(sandbox.path("store").join(&id[..4]).join(format!("{id}.cacnk")));
    }
    sandbox
}

fn is_new(sandbox: &Sandbox, directory: &str) {
    sandbox.cairn(&format!("tar {directory}.catar {directory}")).succeeds_silently();
    sandbox.cairn("tar new.catar new").succeeds_silently();
    assert!(sandbox.read(&format!("{directory}.catar")) == sandbox.read("new.catar"));
}

#[test]
fn an_update_takes_from_the_store_only_what_is_new() {
    let sandbox = sandbox();
    sandbox.cairn("untar -s store new.caidx fresh").fails(&["store", "chunk"]);
    sandbox.cairn("untar -s store new.caidx out --delete --seed-output").succeeds_silently();
    is_new(&sandbox, "out");
}

#[test]
fn another_directory_is_a_seed() {
    let sandbox = sandbox();
    sandbox.cairn("untar -s store new.caidx fresh --seed out").succeeds_silently();
    is_new(&sandbox, "fresh");
    sandbox.cairn("untar -s store new.caidx other --seed nowhere").fails(&["nowhere"]);
    sandbox.cairn("untar new.catar other --seed out").fails(&["--seed is for an index"]);
}

#[test]
fn a_seed_gives_the_bytes_of_its_chunks() {
    let sandbox = sandbox();
    let (seed, index) = seed(&sandbox, "out", "old.caidx");
    assert_eq!(seed.common(&index), index.len());
    for chunk in index.chunks() {
        let coded = seed.get(&chunk.id).unwrap().unwrap();
        let plain = coded.into_bytes();
        assert!(Chunk::verify(index.digest(), chunk.id, &plain[..]).is_ok());
    }
}

#[test]
fn what_has_changed_in_a_seed_is_not_handed_out() {
    let sandbox = sandbox();
    let (seed, index) = seed(&sandbox, "out", "old.caidx");
    sandbox.patch("out/large", 1_000_000, b"other");
    fs::remove_file(sandbox.path("out/4/small59")).unwrap();
    std::os::unix::fs::symlink(Path::new("/dev/zero"), sandbox.path("out/4/small59")).unwrap();
    let mut absent = 0;
    for chunk in index.chunks() {
        match seed.get(&chunk.id).unwrap() {
            Some(coded) => {
                let plain = coded.into_bytes();
                assert!(Chunk::verify(index.digest(), chunk.id, &plain[..]).is_ok());
            }
            None => absent += 1,
        }
    }
    assert!(absent > 50 && absent < index.len(), "{absent} of {}", index.len());
}

#[test]
fn what_changed_unseen_in_a_seed_is_not_handed_out() {
    let sandbox = sandbox();
    let (seed, index) = seed(&sandbox, "out", "old.caidx");
    let path = sandbox.path("out/large");
    let before = fs::metadata(&path).unwrap();
    sandbox.patch("out/large", 1_000_000, b"other");
    set_time(&path, before.mtime(), before.mtime_nsec());
    let absent = index.chunks().filter(|chunk| seed.get(&chunk.id).unwrap().is_none()).count();
    assert!((1..=2).contains(&absent), "{absent}");
}
