//! What is remembered from one mount to the next, and what of it is believed.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use cairn_fuse::{Content, SparseOptions};
use cairn_store::Error;

use crate::scene::{Random, Scene};

#[test]
fn what_was_there_is_there_at_the_next_mount() {
    let scene = Scene::new(11);
    scene.half();
    let within = scene.within();
    let sparse = scene.open_with(&within, &scene.with_state()).unwrap();
    let half: Vec<usize> = (0..scene.index.len()).step_by(2).collect();
    assert_eq!(scene.there(&sparse), half);
    assert!(within.take().is_empty() && sparse.wanted().is_empty());
    scene.is_right(&sparse);
    sparse.save(&scene.path("s")).unwrap();
    drop(sparse);
    let sparse = scene.open_with(&within, &scene.with_state()).unwrap();
    assert!(sparse.whole().is_some());
}

#[test]
fn opening_again_does_not_change_the_file() {
    let scene = Scene::new(12);
    scene.half();
    let times = |path| fs::metadata(path).unwrap().modified().unwrap();
    let before = times(scene.path("f"));
    for _ in 0..3 {
        let sparse = scene.open_with(&scene.within(), &scene.with_state()).unwrap();
        assert!(!scene.there(&sparse).is_empty());
    }
    assert_eq!(times(scene.path("f")), before);
}

#[test]
fn without_a_state_nothing_is_believed() {
    let scene = Scene::new(13);
    scene.half();
    let sparse = scene.open(&scene.within());
    assert!(scene.there(&sparse).is_empty());
    drop(sparse);
    fs::remove_file(scene.path("s")).unwrap();
    let sparse = scene.open_with(&scene.within(), &scene.with_state()).unwrap();
    assert!(scene.there(&sparse).is_empty());
}

#[test]
fn a_state_of_another_index_is_refused() {
    let scene = Scene::new(14);
    scene.half();
    let others = [Scene::new(15), Scene::of(&[vec![1; 100], vec![2; 100]]), Scene::of(&[])];
    for other in others {
        fs::copy(scene.path("s"), other.path("s")).unwrap();
        let as_init = SparseOptions { state: None, init: Some(other.path("s")) };
        for options in [other.with_state(), as_init] {
            let error = other.open_with(&other.within(), &options).unwrap_err();
            assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
            let said = error.to_string();
            assert!(said.contains("another index") && said.contains("remove"), "{said}");
        }
    }
}

#[test]
fn a_file_that_changed_is_verified_again() {
    let scene = Scene::new(16);
    scene.half();
    // The fourth chunk, and the last one of half.
    for position in [4, 300] {
        let file = File::options().write(true).open(scene.path("f")).unwrap();
        file.write_at(
            &[scene.plain[scene.span(position).start as usize] ^ 1],
            scene.span(position).start,
        )
        .unwrap();
    }
    let sparse = scene.open_with(&scene.within(), &scene.with_state()).unwrap();
    let there = scene.there(&sparse);
    let expected = (0..scene.index.len()).step_by(2);
    let expected = expected.filter(|&at| at != 4 && at != 300 && !scene.is_zeros(at));
    assert_eq!(there, expected.collect::<Vec<_>>());
    scene.is_right(&sparse);
}

#[test]
fn a_file_whose_time_was_set_back_is_verified_again() {
    let scene = Scene::new(17);
    scene.half();
    let file = File::options().write(true).open(scene.path("f")).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    let at = scene.span(4).start;
    file.write_at(&[scene.plain[at as usize] ^ 1], at).unwrap();
    file.set_modified(modified).unwrap();
    assert_eq!(file.metadata().unwrap().modified().unwrap(), modified);
    let sparse = scene.open_with(&scene.within(), &scene.with_state()).unwrap();
    assert!(!scene.there(&sparse).contains(&4));
    scene.is_right(&sparse);
}

#[test]
fn a_change_at_once_after_saving_is_noticed() {
    let scene = Scene::of(&[vec![1; 5000], vec![2; 5000]]);
    for _ in 0..20 {
        let sparse = scene.open(&scene.within());
        sparse.fill_all(1, &false.into());
        let file = File::options().write(true).open(scene.path("f")).unwrap();
        sparse.save(&scene.path("s")).unwrap();
        file.write_at(b"x", 10).unwrap();
        drop(sparse);
        let sparse = scene.open_with(&scene.within(), &scene.with_state()).unwrap();
        assert_eq!(scene.there(&sparse), [1]);
    }
}

#[test]
fn another_file_of_that_name_is_verified() {
    let scene = Scene::new(18);
    scene.half();
    fs::write(scene.path("f"), vec![0x55; scene.plain.len()]).unwrap();
    let sparse = scene.open_with(&scene.within(), &scene.with_state()).unwrap();
    assert!(scene.there(&sparse).is_empty());
    scene.is_right(&sparse);
    drop(sparse);
    // A copy of what is right.
    fs::copy(scene.path("f"), scene.path("g")).unwrap();
    fs::rename(scene.path("g"), scene.path("f")).unwrap();
    let sparse = scene.open_with(&scene.within(), &scene.with_state()).unwrap();
    let half = (0..scene.index.len()).step_by(2).filter(|&at| !scene.is_zeros(at));
    assert_eq!(scene.there(&sparse), half.collect::<Vec<_>>());
}

#[test]
fn a_file_of_another_length_is_not_believed() {
    let scene = Scene::new(19);
    scene.half();
    let size = scene.plain.len() as u64;
    let cut =
        |len| File::options().write(true).open(scene.path("f")).unwrap().set_len(len).unwrap();
    cut(size + 5);
    let sparse = scene.open_with(&scene.within(), &scene.with_state()).unwrap();
    assert!(scene.there(&sparse).len() > 100, "what is there is verified");
    assert_eq!(fs::metadata(scene.path("f")).unwrap().len(), size);
    drop(sparse);
    cut(size - 1);
    let sparse = scene.open_with(&scene.within(), &scene.with_state()).unwrap();
    assert!(scene.there(&sparse).is_empty());
    assert_eq!(fs::metadata(scene.path("f")).unwrap().len(), size);
    scene.is_right(&sparse);
}

#[test]
fn of_a_bitmap_alone_only_what_is_right_is_believed() {
    let scene = Scene::new(20);
    scene.half();
    let all = vec![0xff; scene.index.len().div_ceil(8)];
    fs::write(scene.path("s"), all).unwrap();
    let sparse = scene.open_with(&scene.within(), &scene.with_state()).unwrap();
    let half = (0..scene.index.len()).step_by(2).filter(|&at| !scene.is_zeros(at));
    assert_eq!(scene.there(&sparse), half.collect::<Vec<_>>());
    scene.is_right(&sparse);
}

#[test]
fn no_damage_to_a_state_marks_what_is_wrong() {
    let scene = Scene::of(&(0..40).map(|n| vec![n + 1; 100]).collect::<Vec<_>>());
    scene.half();
    let good = fs::read(scene.path("s")).unwrap();
    let refuted = |bytes: &[u8], what: &str| {
        fs::write(scene.path("s"), bytes).unwrap();
        let sparse = scene.open_with(&scene.within(), &scene.with_state()).unwrap();
        for position in 0..scene.index.len() {
            let span = scene.span(position);
            if let Some(found) = sparse.at_hand(span.clone()) {
                assert!(*found == *scene.bytes(&span), "{what}: chunk {position}");
            }
        }
        assert!(scene.there(&sparse).is_empty(), "{what}: it is ignored");
    };
    for at in 0..good.len() {
        for bit in [1, 0x10, 0x80] {
            let mut bytes = good.clone();
            bytes[at] ^= bit;
            refuted(&bytes, &format!("bit {bit:#x} of byte {at}"));
        }
        // Five bytes are a bitmap.
        if at != 5 {
            refuted(&good[..at], &format!("cut at {at}"));
        }
    }
    refuted(&[&good[..], b"x"].concat(), "longer");
    refuted(&[0xff; 4], "a bitmap that is too short");
    refuted(&[0xff; 6], "a bitmap that is too long");
}

#[test]
fn random_states_never_mark_what_is_wrong() {
    let scene = Scene::new(21);
    scene.half();
    let good = fs::read(scene.path("s")).unwrap();
    let mut random = Random(21);
    for _ in 0..50 {
        let len = random.below(2 * good.len() as u64) as usize;
        let mut bytes = random.bytes(len);
        let kept = (random.below(good.len() as u64) as usize).min(len);
        bytes[..kept].copy_from_slice(&good[..kept]);
        fs::write(scene.path("s"), bytes).unwrap();
        let sparse = scene.open_with(&scene.within(), &scene.with_state()).unwrap();
        assert!(scene.there(&sparse).is_empty());
    }
}

#[test]
fn what_another_state_has_is_wanted_if_there_is_no_own_one() {
    let scene = Scene::new(22);
    scene.half();
    let half: Vec<usize> = (0..scene.index.len()).step_by(2).collect();
    let options = SparseOptions { state: Some(scene.path("s")), init: Some(scene.path("i")) };
    let missing = scene.open_with(&scene.within(), &options).unwrap_err();
    assert!(
        matches!(missing, Error::Io { .. }) && missing.to_string().contains("/i: "),
        "{missing}"
    );
    fs::rename(scene.path("s"), scene.path("i")).unwrap();

    let within = scene.within();
    let sparse = scene.open_with(&within, &options).unwrap();
    assert!(scene.there(&sparse).is_empty());
    assert_eq!(sparse.wanted(), half);
    sparse.fill(sparse.wanted(), 10, &false.into());
    assert_eq!(scene.there(&sparse), half);
    sparse.save(&scene.path("s")).unwrap();
    drop(sparse);

    // The own one holds: nothing is wanted.
    let sparse = scene.open_with(&within, &options).unwrap();
    assert_eq!(scene.there(&sparse), half);
    assert!(sparse.wanted().is_empty());
    drop(sparse);

    // It does not hold for one chunk; desync's bitmap is as good.
    let at = scene.span(4).start;
    let file = File::options().write(true).open(scene.path("f")).unwrap();
    file.write_at(&[scene.plain[at as usize] ^ 1], at).unwrap();
    let mut bitmap = vec![0; scene.index.len().div_ceil(8)];
    bitmap[0] = 0b1001_0000;
    fs::write(scene.path("i"), bitmap).unwrap();
    let sparse = scene.open_with(&within, &options).unwrap();
    assert_eq!(sparse.wanted(), [4, 7]);
}

#[test]
fn a_state_is_replaced_whole_and_kept_if_it_cannot_be() {
    let scene = Scene::new(23);
    scene.half();
    let before = fs::read(scene.path("s")).unwrap();
    let sparse = scene.open_with(&scene.within(), &scene.with_state()).unwrap();
    assert!(sparse.save(&scene.path("none/s")).is_err());
    assert_eq!(fs::read(scene.path("s")).unwrap(), before);
    sparse.save(&scene.path("s")).unwrap();
    assert_eq!(fs::read(scene.path("s")).unwrap(), before);
    let names = fs::read_dir(scene.directory.path()).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["f", "s"]);
}
