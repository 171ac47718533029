//! Stores whose chunks are missing, damaged, or not what they are called.

use super::common::{Sandbox, random, text};

/// Chunks of equal length, so that one may stand in for another.
const SIZES: &str = "-m 65536B:65536:65536";

/// A sandbox with five chunks in `store`, and an output that was there.
fn sandbox(options: &str) -> Sandbox {
    let sandbox = Sandbox::with_blob(&[random(1, 2 * 65_536), text(3 * 65_536)].concat());
    sandbox.cairn(&format!("make blob.caibx blob -s store {SIZES} {options}")).succeeds();
    sandbox.write("out", b"what was there before");
    sandbox
}

/// The chunk file at a position in the blob, seen from the sandbox, and its id.
fn chunk_file(sandbox: &Sandbox, position: usize, suffix: &str) -> (String, String) {
    let id = sandbox.ids("blob.caibx").swap_remove(position);
    (format!("store/{}/{id}{suffix}", &id[..4]), id)
}

/// Extracts, which must fail because of this chunk.
#[track_caller]
fn is_refused(sandbox: &Sandbox, id: &str, parts: &[&str]) {
    let parts = [parts, &["store", id]].concat();
    sandbox.refuses("extract blob.caibx out -s store", &parts);
    sandbox.refuses("extract blob.caibx new -s store -n 1", &parts);
}

/// A zstd frame without content size that unpacks to so many blocks of 128 KiB of zeros.
fn bomb(blocks: u32) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0x40];
    for block in 1..=blocks {
        // Block_Header: last block, type 1 (one byte repeated), size.
        let header = u32::from(block == blocks) | 1 << 1 | (128 << 10) << 3;
        frame.extend(&header.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}

#[test]
fn a_missing_chunk_is_named_with_its_store() {
    let sandbox = sandbox("");
    let (file, id) = chunk_file(&sandbox, 2, ".cacnk");
    std::fs::remove_file(sandbox.path(&file)).unwrap();
    is_refused(&sandbox, &id, &["missing"]);
}

#[test]
fn an_empty_chunk_file_is_refused() {
    for (options, suffix) in [("", ".cacnk"), ("--uncompressed", "")] {
        let sandbox = sandbox(options);
        let (file, id) = chunk_file(&sandbox, 2, suffix);
        sandbox.write(&file, b"");
        is_refused(&sandbox, &id, &[]);
    }
}

#[test]
fn a_truncated_chunk_file_is_refused_with_its_offset() {
    for (options, suffix) in [("", ".cacnk"), ("--uncompressed", "")] {
        let sandbox = sandbox(options);
        for position in [0, 3] {
            let (file, id) = chunk_file(&sandbox, position, suffix);
            let good = sandbox.read(&file);
            for len in [good.len() - 1, good.len() / 2, 5] {
                sandbox.write(&file, &good[..len]);
                let offset = format!("offset {}", position * 65_536);
                is_refused(&sandbox, &id, &[&offset]);
            }
            sandbox.write(&file, &good);
        }
    }
}

#[test]
fn another_chunk_by_the_name_is_refused_with_its_offset() {
    for (options, suffix) in [("", ".cacnk"), ("--uncompressed", "")] {
        let sandbox = sandbox(options);
        let (file, id) = chunk_file(&sandbox, 1, suffix);
        let (other, other_id) = chunk_file(&sandbox, 4, suffix);
        sandbox.write(&file, &sandbox.read(&other));
        is_refused(&sandbox, &id, &["another id", &other_id, "offset 65536"]);
    }
}

#[test]
fn a_flipped_bit_is_found() {
    for (options, suffix) in [("", ".cacnk"), ("--uncompressed", "")] {
        let sandbox = sandbox(options);
        let (file, id) = chunk_file(&sandbox, 0, suffix);
        let mut bytes = sandbox.read(&file);
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        sandbox.write(&file, &bytes);
        is_refused(&sandbox, &id, &["offset 0"]);
    }
}

#[test]
fn garbage_by_the_name_of_a_chunk_is_refused() {
    let sandbox = sandbox("");
    let (file, id) = chunk_file(&sandbox, 1, ".cacnk");
    let magics: [&[u8]; 5] = [
        b"",
        &[0x28, 0xb5, 0x2f, 0xfd],
        &[0xfd, b'7', b'z', b'X', b'Z', 0],
        &[0x1f, 0x8b],
        &[0x1f, 0x8b, 8, 0],
    ];
    for magic in magics {
        sandbox.write(&file, &[magic, &random(9, 5000)].concat());
        is_refused(&sandbox, &id, &[]);
        sandbox.write(&file, magic);
        is_refused(&sandbox, &id, &[]);
    }
}

#[test]
fn a_chunk_file_beyond_every_limit_is_not_read() {
    for (options, suffix) in [("", ".cacnk"), ("--uncompressed", "")] {
        let sandbox = sandbox(options);
        let (file, id) = chunk_file(&sandbox, 1, suffix);
        sandbox.sparse(&file, 100 << 30, &[]);
        sandbox
            .cairn_with_memory(512 << 10, "extract blob.caibx out -s store")
            .fails(&["store", &id]);
        assert_eq!(sandbox.read("out"), b"what was there before");
        let files = sandbox.files(".");
        assert!(files.iter().all(|name| !name.contains("tmp")), "{files:?}");
    }
}

#[test]
fn a_bomb_is_not_unpacked() {
    let sandbox = sandbox("");
    let (file, id) = chunk_file(&sandbox, 3, ".cacnk");
    // Two of the blocks are more than the index allows, and 8192 of them are 1 GiB.
    for blocks in [2, 8192] {
        sandbox.write(&file, &bomb(blocks));
        sandbox.cairn_with_memory(512 << 10, "extract blob.caibx out -s store").fails(&[
            "store",
            &id,
            "more",
            "offset 196608",
        ]);
        is_refused(&sandbox, &id, &["more"]);
    }
}

#[test]
fn a_directory_by_the_name_of_a_chunk_is_no_chunk() {
    let sandbox = sandbox("");
    let (file, id) = chunk_file(&sandbox, 3, ".cacnk");
    std::fs::remove_file(sandbox.path(&file)).unwrap();
    std::fs::create_dir(sandbox.path(&file)).unwrap();
    is_refused(&sandbox, &id, &["missing"]);
}

#[test]
fn a_lost_chunk_is_found_in_the_next_store() {
    let sandbox = sandbox("");
    sandbox.cairn(&format!("make blob.caibx blob -s second {SIZES}")).succeeds();
    let (file, _) = chunk_file(&sandbox, 1, ".cacnk");
    std::fs::remove_file(sandbox.path(&file)).unwrap();
    for stores in ["-s store -s second", "-s store,second"] {
        sandbox.cairn(&format!("extract blob.caibx out {stores}")).succeeds_silently();
        assert!(sandbox.read("out") == sandbox.read("blob"));
    }
}

#[test]
fn a_damaged_chunk_is_found_whole_in_the_next_store() {
    let sandbox = sandbox("");
    sandbox.cairn(&format!("make blob.caibx blob -s second {SIZES}")).succeeds();
    let (file, _) = chunk_file(&sandbox, 1, ".cacnk");
    let (other, _) = chunk_file(&sandbox, 4, ".cacnk");
    for damage in [vec![], random(4, 100), sandbox.read(&other)] {
        sandbox.write(&file, &damage);
        sandbox.cairn("extract blob.caibx out -s store -s second").succeeds_silently();
        assert!(sandbox.read("out") == sandbox.read("blob"));
    }
}

#[test]
fn a_message_says_nothing_twice() {
    let sandbox = sandbox("");
    let (file, id) = chunk_file(&sandbox, 1, ".cacnk");
    let (other, _) = chunk_file(&sandbox, 4, ".cacnk");
    let good = sandbox.read(&file);
    for damage in [sandbox.read(&other), good[..100].to_vec(), bomb(3)] {
        sandbox.write(&file, &damage);
        let failed = sandbox.cairn("extract blob.caibx out -s store").fails(&[]);
        let count = failed.stderr.matches(&id).count();
        assert_eq!(count, 1, "{}", failed.stderr);
    }
}

#[test]
fn a_chunk_missing_everywhere_names_all_stores() {
    let sandbox = sandbox("");
    std::fs::create_dir(sandbox.path("second")).unwrap();
    let (file, id) = chunk_file(&sandbox, 1, ".cacnk");
    std::fs::remove_file(sandbox.path(&file)).unwrap();
    sandbox
        .refuses("extract blob.caibx out -s store -s second", &[&id, "missing", "store", "second"]);
}

#[test]
fn an_empty_chunk_file_is_replaced_by_the_next_make() {
    let sandbox = sandbox("");
    let (file, _) = chunk_file(&sandbox, 2, ".cacnk");
    let good = sandbox.read(&file);
    sandbox.write(&file, b"");
    sandbox.cairn(&format!("make blob.caibx blob -s store {SIZES}")).succeeds();
    assert!(sandbox.read(&file) == good);
}

#[test]
fn a_damaged_chunk_is_repaired_as_the_hint_says() {
    let sandbox = sandbox("");
    let (file, id) = chunk_file(&sandbox, 2, ".cacnk");
    let good = sandbox.read(&file);
    sandbox.write(&file, &sandbox.read(&chunk_file(&sandbox, 4, ".cacnk").0));
    let failed = sandbox.cairn("extract blob.caibx out -s store").fails(&[&id]);
    assert!(failed.stderr.contains("hint: "), "{}", failed.stderr);
    assert!(failed.stderr.contains("`cairn make --repair`"), "{}", failed.stderr);
    sandbox.cairn(&format!("make blob.caibx blob -s store {SIZES} --repair")).succeeds();
    assert!(sandbox.read(&file) == good);
    sandbox.cairn("extract blob.caibx out -s store").succeeds();
}

#[test]
fn a_damaged_chunk_is_repaired_in_the_other_coding() {
    for (options, suffix, other) in [("", ".cacnk", "--uncompressed"), ("--uncompressed", "", "")] {
        let sandbox = sandbox(options);
        let (file, id) = chunk_file(&sandbox, 2, suffix);
        let stranger = sandbox.read(&chunk_file(&sandbox, 4, suffix).0);
        let truncated = sandbox.read(&file)[..5].to_vec();
        for damage in [stranger, truncated, random(5, 100), vec![]] {
            sandbox.write(&file, &damage);
            is_refused(&sandbox, &id, &[]);
            let repair = format!("make blob.caibx blob -s store {SIZES} {other} --repair");
            sandbox.cairn(&repair).succeeds_silently();
            sandbox.cairn("extract blob.caibx repaired -s store").succeeds_silently();
            assert!(sandbox.read("repaired") == sandbox.read("blob"));
            // Only the damaged one is left, as before.
            let repaired = chunk_file(&sandbox, 2, if suffix.is_empty() { ".cacnk" } else { "" }).0;
            std::fs::remove_file(sandbox.path(&repaired)).unwrap();
            std::fs::remove_file(sandbox.path("repaired")).unwrap();
        }
    }
}
