//! Archives of trees are those of casync, whatever way they go.
#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use cairn_formats::catar::{Decoder, Item};
use cairn_formats::tar::{BLOCK, Header, put_record};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sha2::{Digest, Sha256};

use common::starved::interrupted;
use common::system::{Mount, is_root};
use common::{Sandbox, random, vector_tree};

fn hex_sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is in an archive, by path.
fn names(archive: &[u8]) -> Vec<String> {
    let mut decoder = Decoder::new(archive);
    let mut names = Vec::new();
    while let Some(item) = decoder.next().unwrap() {
        if let Item::Node(_) = item {
            let path = String::from_utf8_lossy(decoder.path());
            names.push(if path.is_empty() { ".".to_owned() } else { path.into_owned() });
        }
    }
    names
}

fn words(options: &Value) -> String {
    let words: Vec<&str> =
        options.as_array().unwrap().iter().map(|w| w.as_str().unwrap()).collect();
    words.join(" ")
}

#[test]
fn archives_are_those_of_casync() {
    let vectors = vector_tree::vectors();
    for case in vectors["trees"].as_array().unwrap() {
        let for_root = case["needs_root"].as_bool().unwrap();
        if for_root && !is_root("archives_are_those_of_casync") {
            continue;
        }
        let sandbox = Sandbox::new();
        vector_tree::build(&vectors, &sandbox.path("tree"), for_root);
        let options = words(&case["options"]);
        sandbox.cairn(&format!("tar {options} out.catar tree")).succeeds();
        let archive = sandbox.read("out.catar");
        assert_eq!(hex_sha256(&archive), case["catar_sha256"].as_str().unwrap(), "{case}");
        let piped = sandbox.cairn(&format!("tar {options} - tree -n 1")).succeeds();
        assert_eq!(piped.stdout, archive);
        sandbox.cairn(&format!("tar {options} -s store out.caidx tree")).succeeds();
        let index = hex_sha256(&sandbox.read("out.caidx"));
        assert_eq!(index, case["caidx_sha256"].as_str().unwrap(), "{case}");
        sandbox.cairn("cat -s store out.caidx back").succeeds_silently();
        assert_eq!(sandbox.read("back"), archive);
    }
}

#[test]
fn what_caexclude_files_name_is_left_out() {
    let vectors = vector_tree::vectors();
    for case in vectors["caexclude"].as_array().unwrap() {
        let sandbox = Sandbox::new();
        for path in vectors["caexclude_tree"].as_array().unwrap() {
            match path.as_str().unwrap().strip_suffix('/') {
                Some(directory) => {
                    fs::create_dir_all(sandbox.path("tree").join(directory)).unwrap();
                }
                None => sandbox.write(&format!("tree/{}", path.as_str().unwrap()), b"x"),
            }
        }
        for (path, text) in case["files"].as_object().unwrap() {
            sandbox.write(&format!("tree/{path}"), text.as_str().unwrap().as_bytes());
        }
        let run = sandbox.cairn("tar out.catar tree");
        if case["fails"].as_bool().unwrap() {
            run.fails(&[".caexclude"]);
            assert!(!sandbox.path("out.catar").exists());
            continue;
        }
        run.succeeds_silently();
        let stored: Vec<&str> =
            case["stored"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        let mut found = names(&sandbox.read("out.catar"));
        found.sort();
        assert_eq!(found, stored, "{}", case["name"]);
    }
}

/// A tree with files of all lengths, some in many directories, one with holes.
fn mixed_tree() -> Sandbox {
    let sandbox = Sandbox::new();
    for n in 0..300 {
        sandbox.write(&format!("tree/{}/{}/file{n}", n % 7, n % 3), &random(n, n as usize * 997));
    }
    for (n, len) in [65_535, 65_536, 65_537, 1 << 20, 9_000_001].into_iter().enumerate() {
        sandbox.write(&format!("tree/large{n}"), &random(n as u64, len));
    }
    let data = random(5, 100_000);
    sandbox.sparse(
        "tree/sparse",
        30_000_000,
        &[(0, &data), (5_000_000, &data), (20_000_001, &data)],
    );
    fs::create_dir_all(sandbox.path("tree/empty/er")).unwrap();
    sandbox
}

#[test]
fn neither_workers_nor_outputs_change_an_archive() {
    let sandbox = mixed_tree();
    let casync = Command::new("casync")
        .args(["make", "by_casync.catar", "tree"])
        .current_dir(sandbox.path("."))
        .output()
        .unwrap();
    assert!(casync.status.success(), "{casync:?}");
    let archive = sandbox.read("by_casync.catar");
    for workers in [1, 2, 5] {
        sandbox.cairn(&format!("tar -n {workers} out.catar tree")).succeeds_silently();
        assert!(sandbox.read("out.catar") == archive, "{workers} workers");
        let piped = sandbox.cairn(&format!("tar -n {workers} - tree")).succeeds();
        assert!(piped.stdout == archive, "{workers} workers");
        let index = format!("tar -n {workers} -s store{workers} out.caidx tree");
        sandbox.cairn(&index).succeeds_silently();
        sandbox.cairn(&format!("cat -s store{workers} out.caidx back")).succeeds_silently();
        assert!(sandbox.read("back") == archive, "{workers} workers");
    }
    // Holes stay holes.
    let metadata = fs::metadata(sandbox.path("out.catar")).unwrap();
    assert!(metadata.blocks() * 512 + 20_000_000 < metadata.len(), "{}", metadata.blocks());
}

#[test]
fn deep_trees_are_archived() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("tree")).unwrap();
    // A path longer than the system takes at once, and deeper than directories are kept open.
    let made = Command::new("python3")
        .args(["-c", "import os\nfor n in range(1500):\n os.mkdir('deep'); open('z','w').write(str(n)); os.chdir('deep')"])
        .current_dir(sandbox.path("tree"))
        .status()
        .unwrap();
    assert!(made.success());
    let run = sandbox.cairn("tar out.catar tree").succeeds();
    assert!(run.stderr.contains("deeper than casync reads"), "{run:?}");
    let archive = sandbox.read("out.catar");
    let mut decoder = Decoder::new(&archive[..]);
    let (mut deepest, mut files) = (0, 0);
    while let Some(item) = decoder.next().unwrap() {
        deepest = deepest.max(decoder.depth());
        files += usize::from(matches!(item, Item::Node(node) if node.size() > 0));
    }
    assert_eq!((deepest, files), (1501, 1500));
    let removed = Command::new("rm").arg("-rf").arg(sandbox.path("tree")).status().unwrap();
    assert!(removed.success());
}

#[test]
fn an_archive_is_not_archived_in_itself() {
    let sandbox = Sandbox::new();
    sandbox.write("tree/a", b"a");
    let run = sandbox
        .command("tar - .")
        .current_dir(sandbox.path("tree"))
        .stdin(Stdio::null())
        .stdout(fs::File::create(sandbox.path("tree/out.catar")).unwrap())
        .output()
        .unwrap();
    assert!(run.status.success());
    assert!(String::from_utf8_lossy(&run.stderr).contains("it is the archive"), "{run:?}");
    assert_eq!(names(&sandbox.read("tree/out.catar")), [".", "a"]);
    // A new file takes its name when the archive is complete.
    sandbox.cairn("tar tree/new.catar tree").succeeds();
    let stored = names(&sandbox.read("tree/new.catar"));
    assert!(!stored.iter().any(|name| name.contains("new")), "{stored:?}");
}

#[test]
fn what_cannot_be_read_is_named_and_leaves_no_archive() {
    if !is_root("what_cannot_be_read_is_named_and_leaves_no_archive") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write("tree/secret", b"x");
    let open_to_all = |name: &str, mode: u32| {
        fs::set_permissions(sandbox.path(name), std::os::unix::fs::PermissionsExt::from_mode(mode))
            .unwrap();
    };
    open_to_all("tree/secret", 0);
    open_to_all(".", 0o777);
    let run = Command::new("setpriv")
        .args([
            "--reuid",
            "65534",
            "--clear-groups",
            env!("CARGO_BIN_EXE_cairn"),
            "tar",
            "out.catar",
            "tree",
        ])
        .current_dir(sandbox.path("."))
        .env("HOME", sandbox.path("."))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(1), "{said}");
    assert!(said.contains("tree/secret") && said.contains("denied"), "{said}");
    assert_eq!(sandbox.files("."), ["tree/secret"]);
}

#[test]
fn usage_that_makes_no_sense_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.write("tree/a", b"a");
    sandbox.write("file", b"a");
    for (words, hint) in [
        ("tar out.caidx tree", "-s"),
        ("tar -i out tree", "-s"),
        ("tar -s store out.catar tree", "-i"),
        ("tar out.catar file", "no directory"),
        ("tar out.catar nothing", "nothing"),
    ] {
        sandbox.refuses(words, &[hint]);
    }
    sandbox.cairn("tar --with=nonsense out.catar tree").misused(&["2sec-time"]);
    for flag in ["--chunker=fastcdc", "--level=9", "--uncompressed"] {
        let (name, _) = flag.split_once('=').unwrap_or((flag, ""));
        sandbox.refuses(&format!("tar {flag} out.catar tree"), &[name, "for chunks", "-i"]);
    }
    let (uid, file) = (["--uid-shift=1", "--uid-range=1"], ["--exclude-file=no"]);
    for flag in uid.into_iter().chain(file).chain(["--exclude-nodump", "--exclude-submounts"]) {
        let (name, _) = flag.split_once('=').unwrap_or((flag, ""));
        let words = format!("tar --input-format=tar {flag} out.catar file");
        sandbox.refuses(&words, &[name, "for directories"]);
    }
}

/// desync takes them, and scripts have them.
#[test]
fn flags_without_a_use_that_desync_takes_are_noted() {
    let sandbox = Sandbox::new();
    sandbox.write("tree/a", b"a");
    let mut command = Command::new("tar");
    command.args(["-cf", "tree.tar", "tree"]).current_dir(sandbox.path("."));
    assert!(command.status().unwrap().success());
    for (words, flags) in [
        (
            "tar -m 16:64:256 -e 5 -t out.catar tree",
            &["--chunk-size", "--error-retry", "--trust"][..],
        ),
        ("tar --input-format=tar -x out.catar tree.tar", &["--one-file-system"]),
        ("untar -s store -c cache out.catar out", &["--store", "--cache"]),
        ("untar -s store --output-format=gnu-tar out.catar out.tar", &["--store"]),
        ("mtree -s store -c cache out.catar", &["--store", "--cache"]),
    ] {
        let quiet = sandbox.cairn(words).succeeds();
        assert_eq!(quiet.stderr, "", "{words}");
        let noted = sandbox.cairn(&format!("--verbose {words}")).succeeds();
        for flag in flags {
            let is_noted = noted.stderr.lines().any(|line| line.contains(flag));
            assert!(is_noted, "{words}: no {flag} in {}", noted.stderr);
        }
    }
    assert!(!sandbox.path("cache").exists());
}

/// A file that is written to without end while it is archived.
#[test]
fn a_file_that_grows_is_told_and_the_archive_is_sound() {
    let sandbox = Sandbox::new();
    sandbox.write("tree/log", &random(1, 40_000_000));
    let mut log = fs::OpenOptions::new().append(true).open(sandbox.path("tree/log")).unwrap();
    let mut command = sandbox.command("tar out.catar tree");
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    while child.try_wait().unwrap().is_none() {
        log.write_all(b"one more line\n").unwrap();
    }
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("changed while"), "{said}");
    assert_eq!(names(&sandbox.read("out.catar")), [".", "log"]);
}

/// A file whose last bytes are a hole, which nobody reads, and which is written to all the time.
#[test]
fn a_file_that_changes_before_the_hole_at_its_end_is_told() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("tree")).unwrap();
    sandbox.sparse("tree/disk", 80_000_000, &[(0, &random(1, 40_000_000))]);
    for words in ["tar out.catar tree", "tar -s store out.caidx tree"] {
        let mut command = sandbox.command(words);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        while child.try_wait().unwrap().is_none() {
            sandbox.patch("tree/disk", 5, b"other bytes");
        }
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words}: {said}");
        assert!(said.contains("disk: changed while"), "{words}: {said}");
    }
    assert_eq!(names(&sandbox.read("out.catar")), [".", "disk"]);
}

/// The number stands in the tar, and the hole takes no room there.
#[test]
fn a_sparse_file_longer_than_any_is_an_error_and_no_allocation() {
    let sandbox = Sandbox::new();
    let mut tar = Vec::new();
    let mut add = |kind: u8, name: &str, bytes: &[u8]| {
        let mut header = Header::new(kind);
        header.set_name(name.as_bytes()).set_owner(0o755, 0, 0);
        tar.extend_from_slice(header.set_size(bytes.len() as u64).set_mtime(0).finish());
        tar.extend_from_slice(bytes);
        tar.resize(tar.len().next_multiple_of(BLOCK), 0);
    };
    let mut records = Vec::new();
    for (key, value) in
        [("major", "1"), ("minor", "0"), ("name", "endless"), ("realsize", "9223372036854775807")]
    {
        put_record(&mut records, format!("GNU.sparse.{key}").as_bytes(), value.as_bytes());
    }
    add(b'5', "./", b"");
    add(b'x', "x", &records);
    add(b'0', "sparse", &[&b"0\n"[..], &[0; 510]].concat());
    tar.resize(tar.len() + 2 * BLOCK, 0);
    sandbox.write("tree.tar", &tar);
    for output in ["out.catar", "-s store out.caidx"] {
        let words = format!("tar --input-format=tar {output} tree.tar");
        let failed = sandbox.cairn_with_memory(1 << 20, &words);
        failed.fails(&["endless", "longer than a file can be"]);
        assert!(!sandbox.path("out.catar").exists() && !sandbox.path("out.caidx").exists());
    }
}

#[test]
fn an_interrupted_tar_leaves_neither_archive_nor_index() {
    let sandbox = Sandbox::new();
    for n in 0..20 {
        sandbox.write(&format!("tree/file{n}"), &random(n, 3_000_000));
    }
    for words in ["tar out.catar tree", "tar -s store out.caidx tree"] {
        let mut in_time = 0;
        // How long it takes differs: from the first moment on, until it was interrupted some times.
        for moment in (0..40_u64).cycle().take(400) {
            let child = sandbox.command(words).stderr(Stdio::piped()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(5 * moment));
            kill_process(Pid::from_child(&child), Signal::INT).unwrap();
            let output = child.wait_with_output().unwrap();
            let is_made = sandbox.path("out.catar").exists() || sandbox.path("out.caidx").exists();
            assert_eq!(is_made, output.status.success(), "{output:?}");
            if output.status.code() == Some(130) {
                in_time += 1;
                let is_left =
                    |name: &String| !name.starts_with("tree/") && !name.starts_with("store/");
                let left: Vec<String> = sandbox.files(".").into_iter().filter(is_left).collect();
                assert!(left.is_empty(), "{left:?}");
            }
            if in_time == 3 {
                break;
            }
            let _ = fs::remove_file(sandbox.path("out.catar"));
            let _ = fs::remove_file(sandbox.path("out.caidx"));
            let _ = fs::remove_dir_all(sandbox.path("store"));
        }
        assert_eq!(in_time, 3, "{words}");
    }
}

/// Whoever feeds the pipe has stopped halfway.
#[test]
fn an_interrupt_ends_the_wait_for_a_tar() {
    let sandbox = Sandbox::new();
    for words in
        ["tar --input-format=tar out.catar -", "tar --input-format=tar -s store out.caidx -"]
    {
        let done = interrupted(&mut sandbox.command(words), &random(1, 1_000_000));
        assert_eq!(done.status.code(), Some(130), "{}", String::from_utf8_lossy(&done.stderr));
        assert!(sandbox.files(".").iter().all(|name| !name.contains("out.")));
    }
}

/// With the directory it is mounted on, as casync does it.
#[test]
fn other_mounts_are_left_out_whole() {
    if !is_root("other_mounts_are_left_out_whole") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write("tree/a", b"a");
    let _mount = Mount::new(&sandbox, "tree/mounted", 1024);
    sandbox.write("tree/mounted/file", b"x");
    sandbox.casync("make --exclude-submounts=yes theirs.catar tree").succeeds();
    for flag in ["--exclude-submounts", "-x", "--one-file-system"] {
        let done = sandbox.cairn(&format!("tar {flag} ours.catar tree")).succeeds();
        assert!(done.stderr.contains("mounted: left out: it is in another mount"), "{done:?}");
        assert!(sandbox.read("ours.catar") == sandbox.read("theirs.catar"), "{flag}");
    }
    assert_eq!(names(&sandbox.read("ours.catar")), [".", "a"]);
}

#[test]
fn times_before_1970_are_floored_as_casync_does() {
    let sandbox = Sandbox::new();
    sandbox.write("tree/old", b"x");
    let script = "touch -d @-1.234567891 tree/old && tar --format=pax -cf tree.tar -C tree .";
    let run = Command::new("sh").args(["-c", script]).current_dir(sandbox.path(".")).status();
    assert!(run.unwrap().success());
    for features in ["nsec-time", "sec-time", "2sec-time"] {
        sandbox.casync(&format!("make --with={features} theirs.catar tree")).succeeds();
        sandbox.cairn(&format!("tar --with={features} ours.catar tree")).succeeds_silently();
        let from_tar = format!("tar --input-format=tar --with={features} tar.catar tree.tar");
        sandbox.cairn(&from_tar).succeeds_silently();
        assert!(sandbox.read("ours.catar") == sandbox.read("theirs.catar"), "{features}");
        assert!(sandbox.read("tar.catar") == sandbox.read("theirs.catar"), "{features}");
        sandbox.casync("list tar.catar").succeeds();
    }
}
