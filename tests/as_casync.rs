//! cairn under the name `casync`, beside the real one: the same words give the same output, the same end and the
//! same files.

#![allow(clippy::unwrap_used, reason = "what must hold is unwrapped")]

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use common::mounted::{Mounted, is_fuse_here};
use common::stand_in::HERE;
use common::{Outcome, Sandbox, joined, random, run, text};

/// Whose casync is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Ours,
    Theirs,
}

/// A tree, blobs, and what casync made of them. Copies of it differ in nothing.
fn base() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("tree/a", b"hi\n");
    sandbox.write("tree/sub/deep/f", &text(5));
    sandbox.write("tree/sub/large", &random(1, 100_000));
    sandbox.write("tree/sub/zero", &[0; 100_000]);
    sandbox.write("tree/left/out", b"x");
    sandbox.write("tree/left/kept", b"y");
    sandbox.write("tree/left/.caexclude", b"out\n");
    sandbox.write("tree/odd name#\\", b"z");
    symlink("a", sandbox.path("tree/link")).unwrap();
    assert!(Command::new("mkfifo").arg(sandbox.path("tree/pipe")).status().unwrap().success());
    fs::set_permissions(sandbox.path("tree/a"), fs::Permissions::from_mode(0o640)).unwrap();
    sandbox.write("other/sub/large", &random(1, 100_000));
    sandbox.write("other/extra", b"extra");
    let blob = joined(&[&random(2, 100_000), &[0; 300_000], &text(100_000)]);
    sandbox.write("blob", &blob);
    sandbox.write("like", &blob[..250_000]);
    sandbox.write("big", &random(3, 200_000));
    for words in [
        "make x.catar tree",
        "make x.caidx tree",
        "make x.caibx blob",
        "make big.caibx big",
        "make --digest=sha256 s.caidx tree",
        "make --digest=sha256 s.catar tree",
    ] {
        sandbox.casync(words).succeeds();
    }
    fs::copy(sandbox.path("x.catar"), sandbox.path("y")).unwrap();
    fs::copy(sandbox.path("x.caibx"), sandbox.path("z")).unwrap();
    fs::remove_file(sandbox.path("big")).unwrap();
    sandbox
}

/// A copy of it in which scripts are run.
struct Place {
    sandbox: Sandbox,
    whose: Whose,
}

impl Place {
    fn new(base: &Sandbox, whose: Whose) -> Self {
        let sandbox = Sandbox::new();
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(base.path(".")).arg(sandbox.path("w"));
        assert!(copy.status().unwrap().success());
        fs::create_dir(sandbox.path("bin")).unwrap();
        symlink(env!("CARGO_BIN_EXE_cairn"), sandbox.path("bin/casync")).unwrap();
        Self { sandbox, whose }
    }

    /// Runs a script of the shell, in which `casync` is one of the two. `$ours` and `$theirs` are both.
    fn run(&self, script: &str) -> Outcome {
        let path = std::env::var("PATH").unwrap();
        let bin = self.sandbox.path("bin").display().to_string();
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(self.sandbox.path("w"));
        for name in ["CASYNC_STORE", "CASYNC_LOG_LEVEL", "CASYNC_VERBOSE", "XDG_CONFIG_HOME"] {
            command.env_remove(name);
        }
        command.env("HOME", self.sandbox.path("home")).env("TZ", "Asia/Kolkata");
        command.env("ours", format!("{bin}/casync")).env("theirs", theirs());
        if self.whose == Whose::Ours {
            command.env("PATH", format!("{bin}:{path}"));
        }
        run(command, None)
    }

    /// All that lies there: kind, mode and owner, with the bytes of files but for those of chunks, which each
    /// program compresses in its own way.
    fn files(&self) -> BTreeMap<String, (u32, u32, u32, Vec<u8>)> {
        let mut files = BTreeMap::new();
        look(&self.sandbox.path("w"), &mut |path| {
            let metadata = path.symlink_metadata().unwrap();
            let is_chunk = path.extension().is_some_and(|end| end == "cacnk");
            let bytes = if metadata.is_symlink() {
                fs::read_link(path).unwrap().into_os_string().into_encoded_bytes()
            } else if metadata.is_file() && !is_chunk {
                fs::read(path).unwrap()
            } else {
                Vec::new()
            };
            let name = path.strip_prefix(self.sandbox.path("w")).unwrap().display().to_string();
            // A chunk counts by its name alone, which says what is in it.
            let mode = if is_chunk { 0 } else { metadata.mode() };
            files.insert(name, (mode, metadata.uid(), metadata.gid(), bytes));
        });
        files
    }
}

/// Where the real casync is.
fn theirs() -> String {
    let path = std::env::var("PATH").unwrap();
    let found = path.split(':').map(|directory| format!("{directory}/casync"));
    let found = found.into_iter().find(|path| Path::new(path).exists());
    found.expect("casync is there: package casync")
}

fn look(directory: &Path, each: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        each(&path);
        if path.symlink_metadata().unwrap().is_dir() {
            look(&path, each);
        }
    }
}

/// Runs the scripts with both programs, each time in fresh copies, and compares everything.
fn same(scripts: &[&str]) {
    let base = base();
    for script in scripts {
        let places = [Whose::Ours, Whose::Theirs].map(|whose| Place::new(&base, whose));
        let [ours, theirs] = places.each_ref().map(|place| place.run(script));
        let said = format!("{script}\nours: {}\ntheirs: {}", ours.stderr, theirs.stderr);
        assert_eq!(ours.code == Some(0), theirs.code == Some(0), "{said}");
        let [one, other] =
            [&ours, &theirs].map(|done| String::from_utf8_lossy(&done.stdout).into_owned());
        assert_eq!(one, other, "{said}");
        if theirs.code != Some(0) {
            assert_eq!(ours.code, Some(1), "{said}");
        }
        let [one, other] = places.each_ref().map(Place::files);
        let names = |files: &BTreeMap<_, _>| files.keys().cloned().collect::<Vec<String>>();
        assert_eq!(names(&one), names(&other), "{said}");
        for (name, found) in &one {
            assert!(*found == other[name], "{name} after {said}");
        }
    }
}

#[test]
fn what_is_made_is_the_same() {
    same(&[
        "casync make n.catar tree && casync list n.catar",
        "casync make n.caidx tree",
        "casync make n.caibx blob",
        "casync make n.caibx < blob",
        "truncate -s 3M n && echo x >> n && truncate -s 5M n && casync make n.caibx n && casync digest n.caibx",
        "cd tree && casync make --store=../s ../n.caidx",
        "casync make --what=archive n tree",
        "casync make --what=archive-index n.foo tree",
        "casync make --what=blob-index n.catar blob",
        "casync make n.caibx ./empty || : > empty && casync make n.caibx ./empty",
        "mkdir d && casync make d/n.caibx blob",
        "casync make --store=st n.caibx blob",
        "CASYNC_STORE=st casync make n.caidx tree",
        "CASYNC_STORE=no casync --store st make n.caidx tree",
        "casync make --chunk-size=2K:4096:16K n.caibx blob",
        "casync make --chunk-size=32000:64000:128000 n.caidx tree",
        "casync make --chunk-size=0.5M n.caibx blob",
        "casync make --chunk-size auto n.caibx blob",
        "casync --digest=sha256 make n.caidx tree && casync digest n.caidx",
        "casync --digest=sha256 make n.caibx blob",
        "casync --digest=default make n.caibx blob",
        "casync --with=unix make n.catar tree",
        "casync --with=2sec-time --with=user-names make n.catar tree",
        "casync --with=best --with=unix --without=all make n.catar tree",
        "casync --with unix make n.caibx blob",
        "casync --without=privileged make n.caidx tree",
        "casync --exclude-nodump=no make n.catar tree",
        "casync --exclude-nodump=no make n.caibx blob",
        "casync --exclude-submounts=yes make n.catar tree",
        "casync --exclude-sub=on make n.catar tree --exclude-f=1",
        "casync make --uid-shift=yes n.catar tree",
        "casync make --uid-shift=no --uid-range=3 n.catar tree",
        "casync make --uid-range=0 n.catar tree",
        "casync make --uid-range=4294967296 n.catar tree",
        "casync make --compression=zstd --rate-limit-bps=10K n.caibx blob",
        "casync -n make n.caibx blob",
        "chmod 600 blob; casync make n.caibx blob",
        "chmod 400 blob; casync make n.caibx blob",
        "chmod 700 tree; casync make n.caidx tree; casync make n.catar tree",
        "umask 077; casync make n.caidx tree; casync make n.catar tree",
    ]);
}

#[test]
fn what_is_extracted_is_the_same() {
    same(&[
        "casync extract x.caibx q",
        "casync extract x.caibx > q",
        "casync extract x.caibx - > q",
        "casync extract --what=blob-index z q",
        "casync extract --what=blob-index - q < x.caibx",
        "casync extract --seed-output=no x.caibx x.catar",
        "casync extract --seed=like x.caibx q",
        "casync extract --seed=nowhere x.caibx q",
        "casync extract --punch-holes=no --reflink=no x.caibx q && du -k q | cut -f1",
        "chmod 600 big.caibx; casync extract --seed-output=no x.caibx big.caibx",
        "casync extract x.catar q && casync digest q",
        "casync extract x.caidx q && casync digest q",
        "casync extract s.caidx q && casync digest q",
        "mkdir q && touch q/old && casync extract x.caidx q && casync digest q",
        "mkdir q && touch q/old && casync extract --delete=no x.caidx q",
        "cp -a other q && casync extract x.caidx q && casync digest q",
        "cp -a other q && casync extract --seed-output=no x.caidx q && casync digest q",
        "casync extract --seed=other x.caidx q && casync digest q",
        "casync extract --seed=nowhere --hardlink=no x.caidx q && casync digest q",
        "sleep 0.1; casync extract --seed=tree --hardlink=yes x.caidx q && stat -c %h q/sub/large",
        "casync extract --hardlink=yes x.caidx q && stat -c %h q/sub/large",
        "casync extract --what=archive y q && casync digest q",
        "casync extract --what=archive - q < x.catar && casync digest q",
        "cat x.catar | casync extract --what=archive - q && casync digest q",
        "mkdir q && cd q && casync extract ../x.catar",
        "casync extract x.caidx q sub && casync digest q/sub",
        "casync extract x.catar q /sub/deep/ && casync digest q/deep",
        "mkdir -p q/sub/old q/more && casync extract x.catar q sub && casync digest q/sub",
        "mkdir q && touch q/old && casync extract x.caidx q sub/deep/f",
        "mkdir q && ln -s ../tree q/sub && casync extract x.caidx q sub && casync digest q/sub",
        "casync extract --with=unix x.caidx q",
        "casync extract --punch-holes=no x.caidx q && du -k q/sub/zero | cut -f1",
        "casync extract --store=default.castr file://$PWD/x.caidx q && casync digest q",
        "casync extract file://localhost$PWD/x.caibx q",
        "mkdir e && casync --store=e --extra-store=default.castr extract x.caibx q",
        "casync --store=e --extra-store=f --extra-store=default.castr extract x.caidx q",
        "mkdir d && mv x.caibx d && CASYNC_STORE=default.castr casync extract d/x.caibx q",
        "casync --undo-immutable=yes -- extract x.caibx ./-",
    ]);
}

#[test]
fn what_is_said_of_archives_is_the_same() {
    let listings =
        ["", "x.catar", "x.caidx", "tree", "x.caidx sub", "x.catar /sub/deep/", "x.caidx link"];
    let mut scripts = Vec::new();
    for words in listings {
        scripts.push(format!("casync list {words}"));
        // Of what is neither file nor directory the real one says flags that are none.
        scripts.push(format!("casync mtree {words} | grep -v 'type=\\(link\\|fifo\\)'"));
    }
    for words in [
        "",
        "x.catar",
        "tree",
        "x.caidx a",
        "x.catar link",
        "x.catar pipe",
        "x.caidx sub/large",
        "s.catar a",
    ] {
        scripts.push(format!("casync stat {words}"));
    }
    for words in [
        "",
        "x.catar",
        "x.caidx",
        "x.caibx",
        "blob",
        "tree",
        "y",
        "s.caidx",
        "s.catar",
        "s.caidx a",
        "x.catar a",
        "x.caidx sub",
        "x.caidx /",
    ] {
        scripts.push(format!("casync digest {words}"));
        scripts.push(format!("casync digest {words} --digest=sha256"));
    }
    scripts.extend(
        [
            "casync list --recursive=no x.catar",
            "casync list x.caidx sub --recursive no",
            "casync list --what=archive y",
            "casync list --what=directory tree",
            "casync list - < x.catar",
            "casync list --what=archive < x.catar",
            "casync list --what=archive-index - sub < x.caidx",
            "casync list --with=unix tree",
            "casync mtree --with=unix tree | grep -v 'type=\\(link\\|fifo\\)'",
            "casync mtree s.caidx --digest=sha256 | grep type=file",
            "casync stat --what=archive - a < x.catar",
            "casync digest - < blob",
            "casync digest - < tree",
            "casync digest --what=blob < blob",
            "casync digest --what=blob x.catar",
            "casync digest --what=blob-index z",
            "casync digest --what=archive-index < x.caidx",
            "casync digest --with=unix tree",
            "casync digest --digest=sha256 --exclude-nodump=no tree",
            "casync list --store=default.castr x.caidx sub",
            "casync --with=help",
            "casync list --without help",
        ]
        .map(str::to_owned),
    );
    same(&scripts.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn garbage_is_collected_the_same() {
    same(&[
        "casync gc -n x.caibx",
        "casync gc --dry-run x.caibx x.caidx",
        "casync gc -n x.caibx x.caidx big.caibx s.caidx",
        "casync gc x.caibx x.caidx",
        "casync gc -v x.caibx | sort",
        "casync -vn gc x.caidx x.caibx | sort",
        "casync gc -v x.caibx x.caidx big.caibx s.caidx",
        "mv default.castr st && casync gc --store=st x.caibx",
        "mv default.castr st && CASYNC_STORE=st casync gc -n z",
        "casync gc x.caibx && casync extract x.caibx q && ! casync extract x.caidx q2; rm -rf q2",
        "casync gc x.caibx nowhere.caibx",
        "casync gc x.caibx x.catar",
        "casync gc -n --store=nowhere x.caibx",
    ]);
}

#[test]
fn what_is_refused_is_the_same() {
    same(&[
        "casync",
        "casync nonsense",
        "casync --nonsense list x.catar",
        "casync list -x",
        "casync --exclude=yes list x.catar",
        "casync make < /dev/null",
        "casync make n",
        "casync make n.catar blob",
        "casync make n.caibx tree",
        "casync make n.caibx ./nowhere",
        "casync make n.caibx /dev/null",
        "casync make nowhere/n.caibx blob",
        "casync make --what=blob n blob",
        "casync make --what=directory n tree",
        "casync make n.caibx blob more",
        "casync make --store=nowhere/s n.caibx blob",
        "casync make --store= n.caibx blob",
        "casync make --uid-shift=4000000000 n.catar tree",
        "casync extract",
        "casync extract blob q",
        "casync extract nowhere.caibx q",
        "casync extract x.caibx q sub",
        "casync extract x.caibx tree",
        "casync extract x.caidx blob",
        "casync extract x.caibx nowhere/q",
        "casync extract --what=blob blob q",
        "casync extract - q < x.catar",
        "casync extract x.catar - > q",
        "casync extract --store=nowhere x.caibx q",
        "mkdir e; casync extract --store=e x.caibx q",
        "casync list x.caibx",
        "casync list blob",
        "casync list nowhere.catar",
        "casync list x.catar nowhere",
        "casync list x.catar sub more",
        "casync list --what=archive blob",
        "casync list --what=directory x.catar",
        "casync list ''",
        "casync mtree x.caibx",
        "casync stat blob",
        "casync digest x.catar link",
        "casync digest x.caibx a",
        "casync digest --what=archive blob",
        "casync digest --what=blob tree",
        "casync gc",
        "casync gc blob",
        "casync gc nowhere.caibx",
        "casync -l nonsense list x.catar",
        "casync -l 9 list x.catar",
        "casync --rate-limit-bps=0 list x.catar",
        "casync --compression=lz4 list x.catar",
        "casync --digest=sha1 list x.catar",
        "casync --what=nonsense list x.catar",
        "casync --with=best,nonsense list x.catar",
        "casync --chunk-size=16K:64K list x.catar",
        "casync --chunk-size=64K:32K:128K list x.catar",
        "casync --delete=maybe list x.catar",
        "casync --delete list x.catar",
        "casync --uid-shift=foo list x.catar",
        "casync --uid-range=5000000000 list x.catar",
        "casync list --store",
        "casync pull - - -",
        "casync mount",
        "casync mkdev",
    ]);
}

#[test]
fn caches_change_nothing_but_what_is_read() {
    same(&[
        "casync make --cache=../cache n.caidx tree && casync make --cache=../cache m.caidx tree",
        "casync make --cache=../cache n.catar tree",
    ]);
    let place = Place::new(&base(), Whose::Ours);
    let again = "sleep 1.2; for n in a b c; do casync make -c $n.caidx tree || exit; done; cmp b.caidx c.caidx";
    assert_eq!(place.run(again).succeeds().text(), "");
    let listed = place.run("casync list c.caidx").succeeds();
    assert!(listed.text().contains("sub/large") && !listed.text().contains(".cacac"));
}

#[test]
fn a_path_in_a_directory_is_looked_at() {
    let place = Place::new(&base(), Whose::Ours);
    let said = place.run("casync stat tree sub/large").succeeds();
    assert!(said.text().starts_with("    File: sub/large\n"), "{}", said.text());
}

#[test]
fn one_line_says_what_is_wrong() {
    let place = Place::new(&base(), Whose::Ours);
    for (script, part) in [
        ("casync", "a verb is missing"),
        ("casync nonsense", "no verb `nonsense`"),
        ("casync --nonsense list", "--nonsense"),
        ("casync mount x.catar m n", "takes an archive or index"),
        ("casync mkdev x.caibx m n", "takes a blob or its index"),
        ("casync udev x", "no verb `udev`"),
        ("casync make n blob", "--what"),
        ("casync make --compression=xz n.caibx blob", "writes zstd"),
        ("casync extract --delete=maybe x.caidx q", "say yes or no"),
        ("casync extract host:x.caidx q", "begins with a slash"),
        ("casync list gopher://h/x.caidx", "gopher"),
        ("mkdir e; casync extract --store=e x.caibx q", "is missing from store e"),
    ] {
        let before = place.files();
        place.run(script).fails(&[part]);
        let after = place.files();
        assert!(before.keys().all(|name| after.contains_key(name)), "{script}");
        assert!(!after.contains_key("q") && !after.contains_key("n"), "{script}");
    }
}

#[test]
fn help_and_version_are_printed() {
    let place = Place::new(&base(), Whose::Ours);
    let help = place.run("casync help").succeeds();
    for script in ["casync --help", "casync -h", "casync list x --help", "$ours help --dry"] {
        assert_eq!(place.run(script).succeeds().stdout, help.stdout, "{script}");
    }
    for part in ["casync [OPTIONS] gc", "casync [OPTIONS] mount", "--mkdir", "-l, --log-level"] {
        assert!(help.text().contains(part), "{part}\n{}", help.text());
    }
    assert!(place.run("casync --version").succeeds().text().starts_with("casync 2 (cairn "));
    let kinds = place.run("casync --what=help").succeeds();
    let kinds: Vec<&str> = kinds.text().lines().skip(1).collect();
    assert_eq!(kinds, ["archive", "archive-index", "blob", "blob-index", "directory"]);
}

#[test]
fn the_name_can_be_a_word() {
    let base = base();
    let words = base.cairn("casync list x.caidx --recursive=no").succeeds();
    let name = Place::new(&base, Whose::Ours).run("casync list --recursive=no x.caidx").succeeds();
    assert_eq!(words.stdout, name.stdout);
    let help = base.cairn("casync --help").succeeds();
    assert!(help.text().contains("--extra-store"));
    let wrong = base.cairn("casync nonsense");
    assert_eq!((wrong.code, wrong.text()), (Some(1), ""));
    base.cairn("--verbose casync list x.caidx").fails(&["first word"]);
}

#[test]
fn each_takes_what_the_other_makes() {
    let base = base();
    for [maker, taker] in [["$ours", "$theirs"], ["$theirs", "$ours"]] {
        let place = Place::new(&base, Whose::Ours);
        let script = format!(
            "set -e
            rm -rf default.castr
            {maker} make n.caidx tree > one; {taker} digest n.caidx > two; cmp one two
            {taker} extract n.caidx q; {maker} digest q > two; cmp one two
            {maker} make n.catar tree > one; {taker} extract n.catar q2; {taker} digest q2 > two
            cmp one two
            {maker} make --chunk-size=4K n.caibx blob > one; {taker} extract n.caibx out; cmp blob out
            {taker} digest n.caibx > two; cmp one two
            {taker} gc n.caibx n.caidx; {maker} extract n.caidx q3; {maker} extract n.caibx out3
            cmp blob out3"
        );
        place.run(&script).succeeds();
    }
}

/// The page says of all this that it is better.
#[test]
fn what_the_real_one_fails_at_works() {
    let base = base();
    for script in [
        // A second time, over a longer file, and through a link.
        "casync extract x.caibx q && casync extract x.caibx q && cmp q blob",
        "cat blob blob > q && casync extract x.caibx q && cmp q blob",
        "casync extract x.caibx | cmp - blob",
        "casync extract --what=blob-index < x.caibx | cmp - blob",
        // The digest is no part of what is written.
        "casync make - blob > n.caibx 2> told && cmp n.caibx x.caibx && test -s told",
        "casync make - tree > n.catar && cmp n.catar x.catar",
        // Pipes.
        "cat blob | casync make n.caibx - && cmp n.caibx x.caibx",
        "cat x.catar | casync list - > one && casync list x.catar | cmp - one",
        "cat blob | casync digest - > one && casync digest blob | cmp - one",
        "casync list tree sub | cmp - l || casync list x.catar sub > l && casync list tree sub | cmp - l",
        "casync list --recursive=no tree > l && casync list --recursive=no x.caidx | cmp - l",
        "casync digest --what=archive - < x.catar",
        "touch default.castr/stray && casync gc x.caibx && casync extract x.caibx q && cmp q blob",
        "casync --digest=sha256 make n.caibx blob > one && casync digest n.caibx | cmp - one",
        "casync mtree s.caidx a | grep -q sha256digest=",
        "! casync mtree x.caidx link | grep -q flags=",
        "casync make --exclude-file=no n.catar tree && casync list n.catar left/out",
    ] {
        Place::new(&base, Whose::Ours).run(script).succeeds();
    }
}

#[test]
fn what_is_read_is_not_removed() {
    let base = base();
    for script in [
        "casync extract x.catar",
        "casync extract x.caidx .",
        "casync extract --what=archive-index < x.caidx",
        "mkdir q && mv default.castr q && casync extract --store=q/default.castr x.caidx q",
        "mkdir q && mkdir q/s && casync extract --extra-store=q/s x.caidx q",
        "mkdir q && cp -a default.castr q/s && casync extract --store=\"default.castr|q/s\" x.caidx q",
        "mkdir q && cp -a default.castr q/s && casync extract --store=\"q/s|default.castr\" x.caidx q",
        "mkdir q && cp -a tree q/t && casync extract --seed=q/t x.caidx q",
        "mkdir q && ln -s ../tree q/t && casync extract --seed=q/t x.caidx q",
        "mkdir q && cp -a default.castr q/s && cp x.caidx y.catar && casync extract --what=archive-index --store=q/s y.catar q",
        "mkdir q && cp x.caidx q && casync extract --what=archive-index --store=default.castr - q < q/x.caidx",
        "mkdir q && cp x.catar q && casync extract --what=archive - q < q/x.catar",
        "mkdir q && ln -s ../x.caidx q && casync extract --store=default.castr q/x.caidx q",
    ] {
        let place = Place::new(&base, Whose::Ours);
        let before = place.files();
        let done = place.run(script).fails(&["--delete=no keeps it"]);
        let kept = |name: &&String| !name.starts_with("default.castr");
        let after = place.files();
        assert!(before.keys().filter(kept).all(|name| after.contains_key(name)), "{}", done.stderr);
    }
    let place = Place::new(&base, Whose::Ours);
    place.run("casync extract --delete=no x.catar && casync list x.catar").succeeds();
    for script in [
        "mkdir q && cp -a tree/. q && casync extract --seed=q x.caidx q && casync digest q",
        "mkdir q && cp x.caidx q && exec 3< q/x.caidx && rm q/x.caidx && \
         casync extract --what=archive-index --store=default.castr - q <&3",
        "mkdir e && cp -a default.castr copy && casync extract --store=\"default.castr|copy\" --extra-store=e x.caidx q",
    ] {
        Place::new(&base, Whose::Ours).run(script).succeeds();
    }
}

#[test]
fn what_is_in_the_way_is_there_until_all_is_known_to_work() {
    let base = base();
    for (script, parts) in [
        ("casync extract --store=nowhere x.caidx q sub", "nowhere"),
        ("casync extract nowhere.caidx q sub", "nowhere.caidx"),
        ("casync extract x.caidx q nowhere", "nowhere"),
        (
            "cp x.caidx q/sub; casync extract --what=archive-index --store=default.castr q/sub q sub",
            "is in",
        ),
        ("cp x.catar q/sub; casync extract --what=archive --delete=no - q sub < q/sub", "is in"),
    ] {
        let place = Place::new(&base, Whose::Ours);
        place.run(&format!("mkdir q && echo kept > q/sub; {script}")).fails(&[parts]);
        assert!(place.sandbox.path("w/q/sub").is_file(), "{script}");
    }
    let place = Place::new(&base, Whose::Ours);
    let script = "mkdir q && ln -s .. q/sub && casync extract x.caidx q sub && casync digest q/sub";
    place.run(script).succeeds();
    assert!(place.sandbox.path("w/x.caidx").is_file());
}

#[test]
fn passwords_are_not_printed() {
    let base = base();
    let place = Place::new(&base, Whose::Ours);
    let there = "HTTPS://me:hunter2@127.0.0.1:1/x";
    for script in [
        format!("casync extract {there}.catar q"),
        format!("casync extract {there}.caidx q"),
        format!("casync extract x.caidx {there}"),
        format!("casync list {there}.catar"),
        format!("casync make {there}.catar tree"),
        format!("casync make n.caibx {there}"),
        format!("casync --store={there} make n.caibx blob"),
        format!("casync --store=\"nowhere|{there}\" extract x.caidx q"),
        format!("casync --store=nowhere --extra-store={there} extract x.caidx q"),
        format!("casync list {}.caidx", there.replace("HTTPS", "GOPHER")),
        format!("casync list {}.caidx", there.replace("HTTPS", "file")),
    ] {
        let done = place.run(&script);
        assert!(done.code != Some(0), "{script}");
        assert!(
            !format!("{}{}", done.text(), done.stderr).contains("hunter2"),
            "{script}: {}",
            done.stderr
        );
        assert!(!done.stderr.contains("ssh"), "{script}: {}", done.stderr);
    }
    let there = there.replace("HTTPS", "https");
    for words in [
        format!("untar {there}.catar q"),
        format!("untar {there}.catar --output-format=gnu-tar q.tar"),
        format!("tar -s {there} n.catar tree"),
    ] {
        let done = base.cairn(&words).fails(&["https://me:***@127.0.0.1:1/x"]);
        assert!(!done.stderr.contains("hunter2"), "{words}: {}", done.stderr);
    }
}

#[test]
fn numbers_of_owners_are_shifted() {
    if !common::system::is_root("numbers_of_owners_are_shifted") {
        return;
    }
    same(&[
        "chown 70005:70001 tree/a && casync make n.catar tree && casync extract --uid-range=10 n.catar q && casync digest q",
        "chown -hR 70005:70001 tree && casync make n.catar tree && casync extract --uid-shift=yes n.catar q && casync digest q",
        "casync extract --uid-shift=100 --uid-range=3 x.caidx q && casync digest q",
        "casync extract --uid-shift=0x10000 x.caidx q && casync digest q",
        "chown 1:1 tree/a && casync make n.catar tree && casync extract --uid-shift=70000 n.catar q && casync digest q",
        "chown 1:1 tree/a && casync make n.catar tree && casync extract --uid-shift=70000 --without=user-names n.catar q && casync digest q",
        "chown -hR 70005:70001 tree && casync make --uid-shift=70000 n.catar tree",
        "chown -hR 70005:70001 tree && casync make --uid-range=10 n.catar tree",
        "casync make --uid-shift=16 n.catar tree",
    ]);
}

/// By its name alone, with either of the two on either side.
#[test]
fn the_other_side_of_ssh_is_called_casync() {
    let base = base();
    for (client, server) in [("$theirs", "$ours"), ("$ours", "$theirs"), ("$ours", "$ours")] {
        let place = Place::new(&base, Whose::Ours);
        let ssh = place
            .sandbox
            .script("ssh", &HERE.replace("complaints", "complaints\" 2>>\"$sandbox/complaints"));
        let script = format!(
            "set -e
            export CASYNC_SSH_PATH='{}' CASYNC_REMOTE_PATH={server}
            {client} make there:$PWD/n.caibx blob > one; {client} digest blob | cmp - one
            {client} make there:$PWD/n.caidx tree
            $theirs extract n.caibx out; cmp out blob
            rm out; {client} extract there:$PWD/n.caibx out; cmp out blob
            {client} extract there:$PWD/n.caidx q; $theirs digest q > one; $theirs digest x.caidx | cmp - one
            {client} list there:$PWD/x.caidx > one; $theirs list x.caidx | cmp - one
            rm out; {client} extract --store=there:$PWD/default.castr x.caibx out; cmp out blob
            cmp n.caidx x.caidx; cmp n.caibx x.caibx",
            ssh.display()
        );
        let done = place.run(&script);
        assert_eq!(done.code, Some(0), "{client} {server}\n{}", done.stderr);
    }
}

#[test]
fn everything_is_logged_if_asked_for() {
    let place = Place::new(&base(), Whose::Ours);
    let plain = place.run("casync list x.caidx").succeeds();
    assert_eq!(plain.stderr, "");
    for script in [
        "casync -v list x.caidx",
        "casync list x.caidx -l debug",
        "casync --log-level=7 list x.caidx",
        "CASYNC_LOG_LEVEL=debug casync list x.caidx",
        "CASYNC_VERBOSE=1 casync list x.caidx",
    ] {
        let done = place.run(script).succeeds();
        assert_eq!(done.stdout, plain.stdout, "{script}");
        assert!(done.stderr.contains("store opened"), "{script}\n{}", done.stderr);
    }
    for script in [
        "CASYNC_VERBOSE=maybe casync list x.caidx",
        "CASYNC_LOG_LEVEL=loud casync list x.caidx",
        "casync -l err list x.caidx",
    ] {
        assert_eq!(place.run(script).succeeds().stderr, "", "{script}");
    }
}

#[test]
fn holes_are_left_out_if_not_wanted() {
    let place = Place::new(&base(), Whose::Ours);
    place
        .run("casync extract x.caidx q && casync extract --punch-holes=no x.caidx full")
        .succeeds();
    let blocks =
        |name: &str| File::open(place.sandbox.path(name)).unwrap().metadata().unwrap().blocks();
    assert!(blocks("w/q/sub/zero") < 8);
    assert!(blocks("w/full/sub/zero") >= 100_000 / 512);
}

/// The words as those of casync, to be run in the background.
fn ours(sandbox: &Sandbox, words: &str) -> Command {
    sandbox.command(&format!("casync {words}"))
}

#[test]
fn a_tree_is_mounted_as_casync_mounts_it() {
    if !is_fuse_here("a_tree_is_mounted_as_casync_mounts_it") {
        return;
    }
    let sandbox = base();
    for (input, shown) in [("x.caidx", "."), ("x.catar", ".")] {
        // It makes the mount point itself.
        let mounted =
            Mounted::by_itself(ours(&sandbox, &format!("mount {input} point")), &sandbox, "point");
        let diff = Command::new("diff")
            .args(["-r", "--no-dereference", "--exclude=out", "--exclude=pipe"])
            .args([&sandbox.path("tree").join(shown), &mounted.path("")])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&diff.stdout), "", "{input}");
        let pipe = fs::symlink_metadata(mounted.path("pipe")).unwrap();
        assert!(std::os::unix::fs::FileTypeExt::is_fifo(&pipe.file_type()));
        mounted.stop();
        fs::remove_dir(sandbox.path("point")).unwrap();
    }
    run(ours(&sandbox, "mount --mkdir=no x.caidx point"), None).fails(&["point"]);
    run(ours(&sandbox, "mount x.caidx"), None).fails(&[]);
    run(ours(&sandbox, "mount tree a b"), None).fails(&["takes"]);
}

#[test]
fn a_blob_becomes_a_device_and_goes_again() {
    if !is_fuse_here("a_blob_becomes_a_device_and_goes_again")
        || !Path::new("/dev/loop-control").exists()
    {
        return;
    }
    let sandbox = base();
    // It ends within a block.
    let content = sandbox.read("blob");
    assert_ne!(content.len() % 512, 0);
    for input in ["x.caibx", "blob"] {
        let mut device =
            Mounted::by_itself(ours(&sandbox, &format!("mkdev {input} node")), &sandbox, "none");
        let target = fs::read_link(sandbox.path("node")).unwrap();
        let read = fs::read(&target).unwrap();
        assert_eq!(read.len(), content.len().next_multiple_of(512), "{input}");
        assert!(read[..content.len()] == content && read[content.len()..].iter().all(|b| *b == 0));
        assert!(fs::write(&target, b"x").is_err(), "nobody writes to it");
        device.signal(rustix::process::Signal::TERM);
        assert_eq!(device.ends(), Some(0), "{}", device.printed());
        assert!(!sandbox.path("node").exists());
        let name = target.file_name().unwrap();
        let backing = Path::new("/sys/block").join(name).join("loop/backing_file");
        let backing = fs::read_to_string(backing).unwrap_or_default();
        assert!(!backing.contains("cairn-"), "it is attached: {backing}");
    }
    run(ours(&sandbox, "mkdev x.caidx node"), None).fails(&["mkdev"]);
}
