//! Files that cannot be had, and what becomes of reads when a file cannot be used any more.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cairn_fuse::{Content, SparseOptions};
use cairn_store::Error;
use cairn_store::testing::Fault;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::field::Visit;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::scene::{Random, Scene};

#[test]
fn a_file_in_use_is_refused() {
    let scene = Scene::new(31);
    let sparse = scene.open(&scene.within());
    let error = scene.open_with(&scene.within(), &SparseOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Busy { .. }), "{error:?}");
    assert!(error.to_string().contains("another mount is using this file"), "{error}");
    drop(sparse);
    scene.open(&scene.within());
}

#[test]
fn what_is_no_file_is_refused() {
    let scene = Scene::new(32);
    let refused = |what: &str| {
        let error = scene.open_with(&scene.within(), &SparseOptions::default()).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{what}: {error:?}");
    };
    fs::create_dir(scene.path("f")).unwrap();
    refused("a directory");
    fs::remove_dir(scene.path("f")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, scene.path("f"), 0o600.into()).unwrap();
    refused("a pipe");
    fs::remove_file(scene.path("f")).unwrap();
    std::os::unix::fs::symlink("/dev/null", scene.path("f")).unwrap();
    refused("a device");
}

#[test]
fn a_state_never_takes_the_place_of_the_file() {
    let scene = Scene::new(33);
    let sparse = scene.open(&scene.within());
    assert!(matches!(sparse.save(&scene.path("f")), Err(Error::Unsupported { .. })));
    drop(sparse);
    let options = SparseOptions { state: Some(scene.path("f")), init: None };
    let error = scene.open_with(&scene.within(), &options).unwrap_err();
    assert!(error.to_string().contains("copy-on-read file itself"), "{error}");
}

#[test]
fn a_new_file_cannot_be_run() {
    let scene = Scene::new(34);
    let _sparse = scene.open(&scene.within());
    let mode = fs::metadata(scene.path("f")).unwrap().permissions().mode();
    assert_eq!(mode & !0o644 & 0o7777, 0, "{mode:o}");
    assert_eq!(mode & 0o600, 0o600, "{mode:o}");
}

#[test]
fn a_failed_fetch_is_tried_again_at_the_next_read() {
    let scene = Scene::new(35);
    let sparse = scene.open(&scene.faulty(3, Fault::Fail));
    let range = scene.span(14).start..scene.span(20).end;
    sparse.read(range.clone()).map(|_| ()).unwrap_err();
    assert!(scene.there(&sparse).is_empty());
    assert!(*sparse.read(range.clone()).unwrap() == *scene.bytes(&range));
    scene.is_right(&sparse);
}

#[test]
fn filling_goes_on_when_a_fetch_fails() {
    let scene = Scene::new(36);
    let sparse = scene.open(&scene.faulty(2, Fault::TurnBit));
    let apart: Vec<usize> = (0..scene.index.len()).step_by(3).collect();
    sparse.fill(&apart, 1, &false.into());
    assert_eq!(scene.there(&sparse).len(), apart.len() - 1);
    sparse.fill(&apart, 1, &false.into());
    assert_eq!(scene.there(&sparse), apart);
}

#[test]
fn a_file_that_others_cut_is_filled_again() {
    let scene = Scene::new(37);
    let within = scene.within();
    let sparse = scene.open(&within);
    let file = File::options().write(true).open(scene.path("f")).unwrap();
    let mut random = Random(37);
    for len in [0, 1, scene.plain.len() as u64 / 2, scene.plain.len() as u64 - 1] {
        sparse.fill_all(1, &false.into());
        assert!(sparse.whole().is_some());
        file.set_len(len).unwrap();
        assert!(sparse.whole().is_none());
        // The end first, which makes the file long again if nobody takes notice.
        let end = scene.span(scene.index.len() - 1);
        assert!(*sparse.read(end.clone()).unwrap() == *scene.bytes(&end));
        scene.is_right(&sparse);
        // Where it was cut off, something else may be by now.
        file.set_len(len).unwrap();
        file.write_at(&random.bytes(100_000), len).unwrap();
        let end = scene.plain.len() as u64 - 1..scene.plain.len() as u64;
        assert!(*sparse.read(end.clone()).unwrap() == *scene.bytes(&end));
        scene.is_right(&sparse);
    }
    sparse.fill_all(1, &false.into());
    assert!(fs::read(scene.path("f")).unwrap() == scene.plain);
}

/// Names the directory of the scene to the process in which files cannot grow.
const LIMITED: &str = "CAIRN_TEST_LIMITED";

/// Where files end for it, in bytes.
const LIMIT: u64 = 512 << 10;

#[test]
fn what_cannot_be_written_is_served_all_the_same() {
    let scene = Scene::new(38);
    if let Some(file) = std::env::var_os(LIMITED) {
        return with_limit(&scene, file.as_ref());
    }
    let file = File::create(scene.path("f")).unwrap();
    // Making it longer is what the limit forbids as well.
    file.set_len(scene.plain.len() as u64).unwrap();
    drop(file);
    // The signal that comes with the limit is ignored, by those who are started as well. Units are 512 bytes.
    let script = format!("trap '' XFSZ; ulimit -S -f {}; exec \"$@\"", LIMIT / 512);
    let run = Command::new("sh")
        .args(["-c", &script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "trouble::what_cannot_be_written_is_served_all_the_same", "--nocapture"])
        .env(LIMITED, scene.path("f"))
        .output()
        .unwrap();
    let said = [run.stdout, run.stderr].map(|said| String::from_utf8(said).unwrap()).concat();
    assert!(run.status.success() && said.contains("1 passed"), "{said}");
    assert!(said.contains("limit was met"), "{said}");
}

#[allow(clippy::print_stderr, reason = "the process that started this one looks for it")]
fn with_limit(scene: &Scene, file: &std::path::Path) {
    let hard = getrlimit(Resource::Fsize).maximum;
    assert_eq!(getrlimit(Resource::Fsize).current, Some(LIMIT));
    let within = scene.within();
    let options = SparseOptions::default();
    let inner = Arc::clone(&within) as Arc<dyn Content>;
    let open = cairn_fuse::SparseFile::open(file, Arc::clone(&scene.index), inner, &options);
    let sparse = open.unwrap();
    let warnings = Arc::new(AtomicUsize::new(0));
    let told = || warnings.swap(0, Ordering::Relaxed);
    let _guard = tracing::subscriber::set_default(Warnings(Arc::clone(&warnings)));
    // Each chunk by itself, so that as many as possible are refused.
    let in_file: Vec<usize> = (0..scene.index.len())
        .filter(|&at| scene.is_zeros(at) || scene.span(at).end <= LIMIT)
        .collect();
    for _ in 0..2 {
        for position in 0..scene.index.len() {
            let span = scene.span(position);
            assert!(*sparse.read(span.clone()).unwrap() == *scene.bytes(&span), "chunk {position}");
        }
        assert_eq!(scene.there(&sparse), in_file);
    }
    assert_eq!(told(), 1);
    scene.is_right(&sparse);
    // There is no use in fetching what cannot be kept.
    within.take();
    sparse.fill_all(1, &false.into());
    assert_eq!(within.take().len(), 1);
    assert!(sparse.whole().is_none());
    eprintln!("limit was met");

    setrlimit(Resource::Fsize, Rlimit { current: hard, maximum: hard }).unwrap();
    sparse.read(scene.span(299)).unwrap();
    assert!(sparse.at_hand(scene.span(299)).is_some());
    setrlimit(Resource::Fsize, Rlimit { current: Some(LIMIT), maximum: hard }).unwrap();
    told();
    for position in [295, 296, 297] {
        sparse.read(scene.span(position)).unwrap();
    }
    assert_eq!(told(), 1, "it is said again after a success");
    setrlimit(Resource::Fsize, Rlimit { current: hard, maximum: hard }).unwrap();
    sparse.fill_all(2, &false.into());
    assert!(sparse.whole().is_some());
    assert!(fs::read(file).unwrap() == scene.plain);
}

/// Counts what users are warned of.
struct Warnings(Arc<AtomicUsize>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        let mut about = Message(String::new());
        event.record(&mut about);
        assert!(about.0.contains("without keeping"), "{}", about.0);
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0 += &format!("{field}={value:?} ");
    }
}
