//! cairn and the real casync, on the same files: equal indexes, and each reads the other's stores.

#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use common::{Sandbox, joined, random, text};

/// The default sizes of both, as casync takes them.
const DEFAULT: &str = "16384:65536:262144";

/// Makes `blob` with both and checks that the indexes are equal to the last byte.
#[track_caller]
fn same_index(sandbox: &Sandbox, sizes: &str, digest: &str, what: &str) {
    let ours = format!("make ours.caibx blob -m {} --digest {digest}", bytes(sizes));
    let theirs =
        format!("make --chunk-size={sizes} --digest={digest} --store=theirs theirs.caibx blob");
    sandbox.cairn(&ours).succeeds_silently();
    sandbox.casync(&theirs).succeeds();
    assert!(
        sandbox.read("ours.caibx") == sandbox.read("theirs.caibx"),
        "{what}: another index with sizes {sizes} and {digest}"
    );
}

/// Three plain numbers are KiB for cairn, as for desync; with a suffix they are bytes.
fn bytes(sizes: &str) -> String {
    sizes.replacen(':', "B:", 1)
}

/// Extracts `index` from `store` with cairn and compares with `blob`.
#[track_caller]
fn we_read(sandbox: &Sandbox, index: &str, store: &str) {
    let _ = fs::remove_file(sandbox.path("out"));
    sandbox.cairn(&format!("extract {index} out -s {store}")).succeeds_silently();
    assert!(sandbox.read("out") == sandbox.read("blob"), "{index} from {store}");
}

/// As [`we_read`], with casync.
#[track_caller]
fn casync_reads(sandbox: &Sandbox, index: &str, store: &str) {
    let _ = fs::remove_file(sandbox.path("out"));
    sandbox.casync(&format!("extract --store={store} {index} out")).succeeds();
    assert!(sandbox.read("out") == sandbox.read("blob"), "{index} from {store}");
}

#[test]
fn indexes_of_many_inputs_are_those_of_casync() {
    let zeros = vec![0; 3 << 20];
    let inputs: [(&str, Vec<u8>); 10] = [
        ("an empty file", vec![]),
        ("one byte", vec![7]),
        ("less than the rolling hash", random(1, 47)),
        ("exactly one max chunk", random(2, 262_144)),
        ("exactly one max chunk of zeros", vec![0; 262_144]),
        ("one byte more than a max chunk of zeros", vec![0; 262_145]),
        ("several windows", random(3, 9_000_001)),
        ("text", text(3_000_000)),
        ("zeros within", joined(&[&random(4, 100_000), &zeros, &random(5, 300_000)])),
        ("zeros at both ends", joined(&[&zeros, &random(6, 500_000), &zeros])),
    ];
    for (what, content) in inputs {
        same_index(&Sandbox::with_blob(&content), DEFAULT, "sha512-256", what);
    }
}

#[test]
fn indexes_with_many_sizes_are_those_of_casync() {
    let long = joined(&[&random(10, 200_000), &vec![0; 70_000], &text(100_000)]);
    // casync stores every chunk in a file, so where they are tiny there had better be few.
    let short = joined(&[&random(11, 20_000), &[0; 3000], &text(7000)]);
    for sizes in [
        "1024:4096:16384",
        "4096:4096:4096",
        "1000:1000:1000",
        "100:3000:3001",
        "16:64:256",
        "48:48:49",
        "47:64:100000",
        "65536:131072:524288",
        "1:1048576:16777216",
    ] {
        let avg: usize = sizes.split(':').nth(1).unwrap().parse().unwrap();
        let content = if avg < 1000 { &short } else { &long };
        same_index(&Sandbox::with_blob(content), sizes, "sha512-256", "mixed");
        same_index(&Sandbox::with_blob(&content[..20_000]), sizes, "sha256", "random");
    }
}

#[test]
fn indexes_of_sparse_files_are_those_of_casync() {
    let data = random(20, 5_000_000);
    let places: [&[(u64, &[u8])]; 5] = [
        &[],
        &[(0, &data)],
        &[(0, &data[..1]), (10_000_000, &data[..1_300_001])],
        &[(4096, &data[..100]), (7_340_032, &data), (19_999_999, &data[..1])],
        &[(9_437_184, &data[..1_048_576]), (14_680_064, &data[..65_536])],
    ];
    for (number, data) in places.into_iter().enumerate() {
        let sandbox = Sandbox::new();
        sandbox.sparse("blob", 20_000_000, data);
        let what = format!("sparse file {number}");
        same_index(&sandbox, DEFAULT, "sha512-256", &what);
        same_index(&sandbox, "262144:262144:262144", "sha256", &what);
    }
}

#[test]
fn the_mode_of_an_index_is_that_of_casync() {
    for mode in [0o400, 0o600, 0o644, 0o755, 0o666] {
        let sandbox = Sandbox::with_blob(b"mode");
        fs::set_permissions(sandbox.path("blob"), fs::Permissions::from_mode(mode)).unwrap();
        same_index(&sandbox, DEFAULT, "sha512-256", "mode");
        let mode_of = |name| sandbox.path(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode_of("ours.caibx"), mode_of("theirs.caibx"), "{mode:o}");
    }
}

#[test]
fn casync_reads_our_stores() {
    let sandbox = Sandbox::with_blob(&joined(&[&random(30, 2_000_000), &text(3_000_000)]));
    for (store, options) in [
        ("zstd", ""),
        ("small", "--level 19 -m 1024B:2048:4096"),
        ("plain", "--uncompressed"),
        ("sha256", "--digest sha256 -m 32768B:32768:32768"),
        ("fastcdc", "--chunker fastcdc"),
        ("durable", "--durability each"),
    ] {
        let index = format!("{store}.caibx");
        sandbox.cairn(&format!("make {index} blob -s {store} {options}")).succeeds_silently();
        casync_reads(&sandbox, &index, store);
    }
}

#[test]
fn our_chunks_have_the_names_of_casync() {
    let sandbox = Sandbox::with_blob(&joined(&[&random(31, 3_000_000), &vec![0; 1 << 20]]));
    sandbox.cairn("make ours.caibx blob -s ours").succeeds();
    sandbox.casync("make --store=theirs theirs.caibx blob").succeeds();
    assert_eq!(sandbox.files("ours"), sandbox.files("theirs"));
}

#[test]
fn plain_stores_are_read_by_all() {
    let sandbox = Sandbox::with_blob(&text(1_000_000));
    sandbox.cairn("make blob.caibx blob -s store --uncompressed").succeeds_silently();
    assert!(sandbox.files("store").iter().all(|name| !name.contains('.')));
    we_read(&sandbox, "blob.caibx", "store");
    casync_reads(&sandbox, "blob.caibx", "store");
}

#[test]
fn stores_of_casync_are_read_in_every_compression() {
    let sandbox = Sandbox::with_blob(&joined(&[&text(2_000_000), &random(32, 500_000)]));
    for compression in ["zstd", "xz", "gzip"] {
        let index = format!("{compression}.caibx");
        sandbox
            .casync(&format!("make --compression={compression} --store={compression} {index} blob"))
            .succeeds();
        we_read(&sandbox, &index, compression);
    }
}

#[test]
fn a_store_may_mix_all_codings() {
    let parts = [text(900_000), random(33, 800_000), text(1_700_000), random(34, 600_000)];
    let sandbox = Sandbox::with_blob(&parts.concat());
    // Each make finds some chunks of the ones before it and adds its own in another coding.
    for (upto, compression) in [(1, "xz"), (2, "gzip"), (3, "zstd")] {
        sandbox.write("part", &parts[..upto].concat());
        sandbox
            .casync(&format!("make --compression={compression} --store=store part.caibx part"))
            .succeeds();
    }
    sandbox.cairn("make blob.caibx blob -s store --uncompressed").succeeds_silently();
    let mut magics: Vec<[u8; 2]> = sandbox
        .files("store")
        .iter()
        .filter(|name| name.ends_with(".cacnk"))
        .map(|name| *sandbox.read(&format!("store/{name}")).first_chunk().unwrap())
        .collect();
    magics.sort_unstable();
    magics.dedup();
    assert_eq!(magics, [[0x1f, 0x8b], [0x28, 0xb5], [0xfd, b'7']]);
    we_read(&sandbox, "blob.caibx", "store");
    casync_reads(&sandbox, "blob.caibx", "store");
}

#[test]
fn chunks_that_casync_stored_are_not_stored_again() {
    let sandbox = Sandbox::with_blob(&random(35, 3_000_000));
    sandbox.casync("make --compression=gzip --store=store theirs.caibx blob").succeeds();
    let before = sandbox.snapshot();
    sandbox.cairn("make theirs.caibx blob -s store").succeeds();
    sandbox.is_as(&before, "make into a store of casync");
}

#[test]
fn casync_extracts_an_archive_that_we_chunked() {
    let sandbox = Sandbox::with_blob(&random(38, 600_000));
    sandbox.write("tree/file", &random(39, 300_000));
    sandbox.write("tree/sub/empty", b"");
    sandbox.casync("make tree.catar tree").succeeds();
    sandbox.cairn("make ours.caidx tree.catar -s store").succeeds();
    sandbox.casync("make --store=theirs theirs.caidx tree").succeeds();
    assert!(sandbox.read("ours.caidx") == sandbox.read("theirs.caidx"));
    sandbox.casync("extract --store=store ours.caidx back").succeeds();
    assert!(sandbox.read("back/file") == sandbox.read("tree/file"));
}

/// The variable by which casync is told what compressed chunks end in, with what it has in old
/// stores.
const OLD: (&str, &str) = ("CASYNC_COMPRESSED_CHUNK_SUFFIX", ".xz");

#[test]
fn stores_with_another_suffix_are_read_and_written_as_by_casync() {
    let sandbox = Sandbox::with_blob(&joined(&[&text(1_000_000), &random(40, 500_000)]));
    let (name, value) = OLD;
    for compression in ["xz", "zstd"] {
        let words = format!("make --compression={compression} --store=theirs theirs.caibx blob");
        sandbox.casync_with_env(&words, name, value).succeeds();
        let words = "extract theirs.caibx out -s theirs";
        sandbox.cairn_with_env(words, name, value).succeeds_silently();
        assert!(sandbox.read("out") == sandbox.read("blob"), "{compression}");
        sandbox.cairn("extract theirs.caibx out -s theirs").fails(&["is missing"]);
        fs::remove_dir_all(sandbox.path("theirs")).unwrap();
    }
    let words = "make ours.caibx blob -s ours";
    sandbox.cairn_with_env(words, name, value).succeeds_silently();
    assert!(sandbox.files("ours").iter().all(|name| name.ends_with(value)));
    fs::remove_file(sandbox.path("out")).unwrap();
    let words = "extract --store=ours ours.caibx out";
    sandbox.casync_with_env(words, name, value).succeeds();
    assert!(sandbox.read("out") == sandbox.read("blob"));
}

#[test]
fn chunks_with_another_suffix_are_not_stored_again() {
    let sandbox = Sandbox::with_blob(&random(41, 2_000_000));
    let (name, value) = OLD;
    let words = "make --compression=xz --store=store blob.caibx blob";
    sandbox.casync_with_env(words, name, value).succeeds();
    let before = sandbox.snapshot();
    let words = "make blob.caibx blob -s store";
    sandbox.cairn_with_env(words, name, value).succeeds_silently();
    sandbox.is_as(&before, words);
    // Plain chunks have no suffix with or without the variable.
    let words = "make blob.caibx blob -s plain --uncompressed";
    sandbox.cairn_with_env(words, name, value).succeeds_silently();
    we_read(&sandbox, "blob.caibx", "plain");
}

/// desync reads only the form that a store is configured for, so the other form is not enough.
#[test]
fn both_forms_of_a_chunk_lie_side_by_side() {
    let sandbox = Sandbox::with_blob(&random(35, 1_000_000));
    sandbox.cairn("make blob.caibx blob -s store --uncompressed").succeeds();
    let plain = sandbox.files("store");
    sandbox.cairn("make blob.caibx blob -s store").succeeds();
    let both = sandbox.files("store");
    assert_eq!(both.len(), 2 * plain.len());
    assert!(plain.iter().all(|name| both.contains(&format!("{name}.cacnk"))));
    casync_reads(&sandbox, "blob.caibx", "store");
}

#[test]
fn indexes_of_older_desync_are_read() {
    let sandbox = Sandbox::with_store(&random(36, 500_000));
    // desync left out the flag for honouring exclude files.
    sandbox.patch("blob.caibx", 23, &[0xa0]);
    we_read(&sandbox, "blob.caibx", "store");
    sandbox.cairn("verify-index blob.caibx blob").succeeds_silently();
}

#[test]
fn casync_works_on_from_our_output_as_a_seed() {
    let sandbox = Sandbox::with_store(&random(37, 1_500_000));
    sandbox.cairn("extract blob.caibx seed -s store").succeeds();
    fs::create_dir(sandbox.path("empty")).unwrap();
    let words = "extract --store=empty --seed=seed blob.caibx out";
    sandbox.casync(words).succeeds();
    assert!(sandbox.read("out") == sandbox.read("blob"));
}
