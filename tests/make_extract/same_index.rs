//! One blob, one index: however many workers, whatever the processor, file or pipe.

use std::process::Command;

use super::common::{Sandbox, joined, random, text};

/// Ten windows, with holes and zeros that begin and end anywhere, and repeated parts.
fn content() -> Vec<u8> {
    let part = random(1, 9_000_000);
    joined(&[
        &part,
        &vec![0; 3_333_333],
        &text(6_000_000),
        &part[1_000_000..],
        &vec![0; 4 << 20],
        &random(2, 8_000_000),
        &vec![7; 2_500_000],
        &[0],
    ])
}

#[test]
fn the_number_of_workers_does_not_matter() {
    let sandbox = Sandbox::with_blob(&content());
    for sizes in ["16:64:256", "2:4:8", "1:1024:4096", "64:64:64"] {
        let make = |workers: &str| {
            let words = format!("make blob.caibx blob -m {sizes} -n {workers}");
            sandbox.cairn(&words).succeeds_silently();
            sandbox.read("blob.caibx")
        };
        let one = make("1");
        assert!(["2", "7", "100"].iter().all(|workers| make(workers) == one), "{sizes}");
        let words = format!("make - - -m {sizes} -n 2");
        let piped = sandbox.cairn_with_input(&words, content()).succeeds();
        assert!(piped.stdout == one, "{sizes} from a pipe");
        sandbox.cairn("verify-index blob.caibx blob").succeeds_silently();
    }
}

#[test]
fn the_number_of_workers_does_not_matter_for_fastcdc() {
    let sandbox = Sandbox::with_blob(&content());
    let make = |workers: &str| {
        let words = format!("make - blob --chunker fastcdc -n {workers}");
        sandbox.cairn(&words).succeeds().stdout
    };
    assert!(make("2") == make("1"));
}

#[test]
fn the_instructions_of_the_processor_do_not_matter() {
    let sandbox = Sandbox::with_blob(&content());
    for options in ["", "--digest sha256 -m 1:4:16", "-m 48B:64B:200B"] {
        let make = |level: &str| {
            let words = format!("make - blob {options}");
            sandbox.cairn_with_env(&words, "CAIRN_SIMD", level).succeeds().stdout
        };
        let portable = make("portable");
        for level in ["avx2", "avx512", ""] {
            assert!(make(level) == portable, "{options} with {level}");
        }
    }
}

#[test]
fn a_sparse_file_has_the_index_of_its_bytes() {
    let data = random(3, 5_000_000);
    let sandbox = Sandbox::new();
    let places = [(0, &data[..10]), (2_000_000, &data[..]), (21_111_111, &data[..77])];
    sandbox.sparse("blob", 30_000_000, &places);
    let bytes = sandbox.read("blob");
    for options in ["", "-m 4:4:4", "--chunker fastcdc", "-n 1 -m 1:512:2048"] {
        let sparse = sandbox.cairn(&format!("make - blob {options}")).succeeds();
        let words = format!("make - - {options}");
        let piped = sandbox.cairn_with_input(&words, &bytes[..]).succeeds();
        assert!(sparse.stdout == piped.stdout, "{options}");
    }
}

#[test]
fn blobs_come_back_with_any_number_of_workers() {
    let sandbox = Sandbox::with_store(&content());
    for workers in ["1", "2", "7"] {
        sandbox.cairn(&format!("extract blob.caibx out -s store -n {workers}")).succeeds_silently();
        assert!(sandbox.read("out") == content(), "{workers} workers");
    }
}

/// A boundary at the last byte before a hole is one case in hundreds.
#[test]
fn blobs_of_many_holes_come_back() {
    const SEAMS: u64 = 200;
    const DATA: u64 = 4 << 10;
    let sandbox = Sandbox::new();
    let parts: Vec<Vec<u8>> = (0..SEAMS)
        .map(|n| random(100 + n, DATA as usize).into_iter().map(|byte| byte.max(1)).collect())
        .collect();
    let place = |n: u64| n * ((1 << 20) + 2 * DATA);
    let data: Vec<(u64, &[u8])> = (0..).map(place).zip(parts.iter().map(Vec::as_slice)).collect();
    sandbox.sparse("blob", place(SEAMS), &data);
    for sizes in ["64B:256B:1024B", "64B:256B:65536B"] {
        sandbox
            .cairn(&format!("make blob.caibx blob -s store --chunker fastcdc -m {sizes}"))
            .succeeds_silently();
        sandbox.cairn("verify-index blob.caibx blob").succeeds_silently();
        sandbox.cairn("extract blob.caibx out -s store").succeeds_silently();
        let same = Command::new("cmp").args(["blob", "out"]).current_dir(sandbox.path("")).status();
        assert!(same.unwrap().success());
    }
}
