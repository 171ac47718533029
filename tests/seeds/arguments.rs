//! How seeds are named, and what is refused.

use super::{gives, versions};

#[test]
fn a_seed_is_named_in_three_ways() {
    let sandbox = versions();
    gives(&sandbox, "--seed old.caibx", 16, 1);
    gives(&sandbox, "--seed old.caibx:old", 16, 1);
    gives(&sandbox, "--seed old", 16, 1);
    // The third part is reserved by desync.
    gives(&sandbox, "--seed old.caibx:old:options", 16, 1);
}

#[test]
fn an_index_may_have_any_name() {
    let sandbox = versions();
    std::fs::rename(sandbox.path("old.caibx"), sandbox.path("list")).unwrap();
    gives(&sandbox, "--seed list:old", 16, 1);
}

#[test]
fn several_seeds_are_separated_by_commas_or_repeated() {
    let sandbox = versions();
    gives(&sandbox, "--seed old.caibx,new", 24, 2);
    gives(&sandbox, "--seed old --seed new.caibx", 24, 2);
}

#[test]
fn a_directory_of_seeds_is_searched_to_its_bottom() {
    let sandbox = versions();
    sandbox.write("seeds/deep/old", &sandbox.read("old"));
    sandbox.write("seeds/deep/old.caibx", &sandbox.read("old.caibx"));
    sandbox.write("seeds/no-blob.caibx", &sandbox.read("old.caibx"));
    sandbox.write("seeds/no-index", b"");
    gives(&sandbox, "--seed-dir seeds", 16, 1);
    gives(&sandbox, "--seed-dir seeds --seed old.caibx", 16, 2);
}

#[test]
fn the_index_that_is_extracted_is_no_seed() {
    // `new` lies beside `new.caibx` here; it must not be taken for a seed of itself.
    let sandbox = versions();
    gives(&sandbox, "--seed-dir .", 16, 1);
}

#[test]
fn bad_seed_arguments_are_usage_errors() {
    let sandbox = versions();
    let extract =
        |seed: &str| sandbox.cairn(&format!("extract new.caibx out -s store --seed {seed}"));
    for seed in ["nowhere", ":old", "old.caibx:"] {
        extract(seed).misused(&[seed, "--seed"]);
    }
    let both = "--skip-invalid-seeds --regenerate-invalid-seeds";
    extract(&format!("old {both}")).misused(&["--skip-invalid-seeds", "--regenerate-invalid"]);
}

#[test]
fn what_cannot_be_opened_is_refused_before_anything_is_written() {
    let sandbox = versions();
    sandbox.write("bad/bad", b"");
    sandbox.write("bad/bad.caibx", b"no index");
    for (seeds, parts) in [
        ("--seed gone.caibx", &["gone.caibx", "No such file"][..]),
        ("--seed old.caibx:gone", &["gone", "No such file"]),
        ("--seed new:old", &["new", "not an index"]),
        ("--seed old.caibx:.", &["a seed must be a file"]),
        ("--seed /dev/null", &["/dev/null"]),
        ("--seed-dir gone", &["seed directory gone", "No such file"]),
        ("--seed-dir bad", &["bad/bad.caibx", "not an index"]),
    ] {
        sandbox.refuses(&format!("extract new.caibx out -s store {seeds}"), parts);
    }
}

#[test]
fn a_seed_of_another_digest_is_refused() {
    let sandbox = versions();
    sandbox.cairn("--digest sha256 make other.caibx old").succeeds();
    let words = "extract new.caibx out -s store --seed other.caibx:old";
    sandbox.refuses(words, &["other.caibx", "the index uses sha256"]);
}

#[test]
fn what_is_empty_is_nothing_and_what_is_off_is_no_conflict() {
    let sandbox = versions();
    // Scripts pass variables that are not set.
    gives(&sandbox, "--seed= --seed-dir= --store= --seed old", 16, 1);
    gives(&sandbox, "--seed old --skip-invalid-seeds=false --regenerate-invalid-seeds", 16, 1);
    sandbox.refuses("extract new.caibx out --store=", &["store: none given"]);
}

#[test]
fn a_name_with_commas_can_be_quoted() {
    let sandbox = versions();
    std::fs::rename(sandbox.path("store"), sandbox.path("a,b")).unwrap();
    sandbox.cairn("extract new.caibx out -s \"a,b\"").succeeds();
    sandbox.cairn("extract new.caibx out -s a\"b").misused(&["--store", "must stand in quotes"]);
}

#[test]
fn what_is_no_file_beside_an_index_is_passed_over() {
    let sandbox = versions();
    for name in ["directory", "pipe", "old"] {
        sandbox.write(&format!("seeds/{name}.caibx"), &sandbox.read("old.caibx"));
    }
    sandbox.write("seeds/old", &sandbox.read("old"));
    sandbox.write("seeds/index", b"");
    std::fs::create_dir(sandbox.path("seeds/directory")).unwrap();
    for pipe in ["seeds/pipe", "seeds/index.caibx"] {
        let made = std::process::Command::new("mkfifo").arg(sandbox.path(pipe)).status().unwrap();
        assert!(made.success());
    }
    gives(&sandbox, "--seed-dir seeds", 16, 1);
}
