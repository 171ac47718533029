//! A file system is asked where it is mounted, beside a tree that may not be written to either.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use cairn_fuse::{MountOptions, Mounted, unmount};
use proptest::collection::vec;
use proptest::prelude::*;

use super::asked::{Asked, Question, agree, questions};
use super::common::mounted::is_fuse_here;
use super::common::random;
use super::common::things::thing;
use super::outer::Outer;
use super::scene::{LITTLE, MUCH, Scene};

/// Who asks many at a time.
const MANY: usize = 6;

/// A scene that is mounted in this process, and its tree once more as a mount that is read-only. To be dropped before it.
struct Scenery {
    mount: PathBuf,
    plain: PathBuf,
    serving: Option<JoinHandle<io::Result<()>>>,
}

impl Scenery {
    fn new(scene: &Scene) -> Self {
        let (mount, plain) = (scene.beside("mount"), scene.beside("read-only"));
        let source = "model".to_owned();
        let options = MountOptions { source, allow_other: true, ..MountOptions::default() };
        let mounted = Mounted::new(Arc::clone(&scene.fs), &mount, &options).unwrap();
        let serving = Some(thread::spawn(|| mounted.serve(|| {})));
        let scenery = Self { mount, plain, serving };
        let bind = ["-o", "bind,ro,nosuid,nodev"];
        let done = Command::new("mount").args(bind).args([&scene.plain(), &scenery.plain]).status();
        assert!(done.unwrap().success());
        scenery
    }

    fn outer(path: &Path) -> Outer {
        Outer::new(path, path.ends_with("mount"))
    }
}

impl Drop for Scenery {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.plain).status();
        let _ = unmount(&self.mount, true);
        let _ = self.serving.take().map(JoinHandle::join);
    }
}

/// Asks with faults and after them, by many and by one.
fn check(scene: &Scene, asked: &[Asked], is_fickle: bool) {
    let scenery = Scenery::new(scene);
    {
        let plain = Scenery::outer(&scenery.plain);
        let mount = Scenery::outer(&scenery.mount);
        if is_fickle {
            scene.store.set_calm(false);
            agree((&plain, &mount), &scene.paths, asked, MANY, true);
            scene.store.set_calm(true);
        }
        agree((&plain, &mount), &scene.paths, asked, 1, false);
        agree((&plain, &mount), &scene.paths, asked, MANY, false);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, max_shrink_iters: 30, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mount_says_what_a_read_only_tree_says(
        things in vec(thing(), 0..30),
        asked in questions(400),
        shape in (0..400_usize, 0..50_usize),
        has_room in any::<bool>(),
    ) {
        if !is_fuse_here("a_mount_says_what_a_read_only_tree_says") {
            return Ok(());
        }
        let scene = Scene::of_things(&things, shape, if has_room { MUCH } else { LITTLE });
        check(&scene, &asked, false);
    }

    #[test]
    fn a_mounted_blob_has_the_bytes_it_was_made_of(
        parts in vec((any::<u64>(), 0..400_000_usize, any::<bool>()), 0..5),
        asked in questions(300),
        is_fickle in any::<bool>(),
    ) {
        if !is_fuse_here("a_mounted_blob_has_the_bytes_it_was_made_of") {
            return Ok(());
        }
        let part = |(seed, len, is_zeros)| if is_zeros { vec![0; len] } else { random(seed, len) };
        let bytes: Vec<u8> = parts.into_iter().flat_map(part).collect();
        let mut scene = Scene::of_blob(&bytes, LITTLE);
        scene.paths.remove(0);
        // Nothing but its bytes is that of the file on disk.
        let is_of_bytes = |asked: &Asked| {
            matches!(asked.question, Question::Read { .. } | Question::Mapped { .. } | Question::NoName(_))
        };
        let asked: Vec<Asked> = asked.into_iter().filter(is_of_bytes).collect();
        check(&scene, &asked, is_fickle);
    }

    #[test]
    fn a_mount_of_a_fickle_store_makes_no_wrong_answers(
        things in vec(thing(), 5..30),
        asked in questions(400),
        shape in (0..400_usize, 0..50_usize),
        has_room in any::<bool>(),
    ) {
        if !is_fuse_here("a_mount_of_a_fickle_store_makes_no_wrong_answers") {
            return Ok(());
        }
        let scene = Scene::of_things(&things, shape, if has_room { MUCH } else { LITTLE });
        check(&scene, &asked, true);
    }
}
