//! What is read is right, and is asked for once.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::thread;

use cairn_fuse::Content;

use crate::scene::{LONGEST, Random, Scene};

#[test]
fn random_reads_equal_the_blob() {
    let scene = Scene::new(1);
    let sparse = scene.open(&scene.within());
    assert_eq!(sparse.size(), scene.plain.len() as u64);
    let mut random = Random(7);
    for _ in 0..2000 {
        let range = random.range(sparse.size(), 100_000);
        if let Some(bytes) = sparse.at_hand(range.clone()) {
            assert!(*bytes == *scene.bytes(&range), "{range:?} at hand");
        }
        assert!(*sparse.read(range.clone()).unwrap() == *scene.bytes(&range), "{range:?}");
    }
    scene.is_right(&sparse);
    let end = sparse.size();
    assert_eq!(sparse.read(end - 5..end + 5).unwrap().len(), 5);
    assert!(sparse.read(end + 1..end + 5).unwrap().is_empty());
    assert!(sparse.at_hand(end + 1..end + 5).unwrap().is_empty());
}

#[test]
fn many_threads_read_what_the_blob_has() {
    let scene = Scene::new(2);
    let sparse = scene.open(&scene.within());
    thread::scope(|scope| {
        for seed in 0..6 {
            let (scene, sparse) = (&scene, &sparse);
            scope.spawn(move || {
                let mut random = Random(seed);
                for _ in 0..400 {
                    let range = random.range(sparse.size(), 60_000);
                    if let Some(bytes) = sparse.at_hand(range.clone()) {
                        assert!(*bytes == *scene.bytes(&range), "{range:?} at hand");
                    }
                    assert!(*sparse.read(range.clone()).unwrap() == *scene.bytes(&range));
                }
            });
        }
        scope.spawn(|| sparse.fill_all(2, &false.into()));
    });
    assert_eq!(scene.there(&sparse).len(), scene.index.len());
    assert!(fs::read(scene.path("f")).unwrap() == scene.plain);
}

#[test]
fn second_read_asks_nobody() {
    let scene = Scene::new(3);
    let within = scene.within();
    let sparse = scene.open(&within);
    let range = 20_000..300_001;
    assert!(sparse.at_hand(range.clone()).is_none());
    sparse.read(range.clone()).unwrap();
    assert!(!within.take().is_empty());
    assert!(*sparse.read(range.clone()).unwrap() == *scene.bytes(&range));
    assert!(*sparse.at_hand(range.clone()).unwrap() == *scene.bytes(&range));
    // Whole chunks were fetched: what is around is there as well.
    let positions = scene.index.position_at(range.start)..=scene.index.position_at(range.end);
    let around = scene.span(*positions.start()).start..scene.span(*positions.end()).end;
    assert!(*sparse.read(around.clone()).unwrap() == *scene.bytes(&around));
    assert!(within.take().is_empty());
}

#[test]
fn only_what_is_missing_is_asked_for_and_no_zeros() {
    let scene = Scene::new(4);
    let within = scene.within();
    let sparse = scene.open(&within);
    // 14 to 23 are no zeros.
    sparse.read(scene.span(17)).unwrap();
    assert_eq!(within.take(), [scene.span(17)]);
    sparse.read(scene.span(15).start..scene.span(20).end).unwrap();
    let around =
        [15..17, 18..21].map(|run| scene.span(run.start).start..scene.span(run.end - 1).end);
    assert_eq!(within.take(), around);
    sparse.read(scene.span(12).start..scene.span(13).end).unwrap();
    assert!(within.take().is_empty());
}

#[test]
fn long_reads_ask_for_pieces() {
    let mut random = Random(5);
    let chunks: Vec<Vec<u8>> = (0..700).map(|_| random.bytes(LONGEST)).collect();
    let scene = Scene::of(&chunks);
    let within = scene.within();
    let sparse = scene.open(&within);
    assert!(*sparse.read(0..u64::MAX).unwrap() == *scene.plain);
    let asked = within.take();
    assert!(asked.iter().all(|range| range.end - range.start <= 4 << 20), "{asked:?}");
    assert_eq!(asked.len(), 3);
    scene.is_right(&sparse);
}

#[test]
fn zeros_stay_holes() {
    let mut random = Random(6);
    let mut chunks = vec![vec![0; LONGEST]; 600];
    chunks[300] = random.bytes(LONGEST);
    let scene = Scene::of(&chunks);
    let within = scene.within();
    let sparse = scene.open(&within);
    assert!(*sparse.read(0..u64::MAX).unwrap() == *scene.plain);
    assert!(sparse.whole().is_some());
    assert_eq!(within.take(), [scene.span(300)]);
    let metadata = fs::metadata(scene.path("f")).unwrap();
    assert_eq!(metadata.len(), scene.plain.len() as u64);
    assert!(metadata.blocks() * 512 < 8 * LONGEST as u64, "{} blocks", metadata.blocks());
    assert!(fs::read(scene.path("f")).unwrap() == scene.plain);
}

#[test]
fn what_was_in_the_file_is_not_taken_for_zeros() {
    let scene = Scene::new(7);
    for more in [0, 1000] {
        fs::write(scene.path("f"), vec![0xaa; scene.plain.len() + more]).unwrap();
        let sparse = scene.open(&scene.within());
        assert!(scene.there(&sparse).is_empty());
        scene.is_right(&sparse);
        scene.is_right(&sparse);
        drop(sparse);
        assert!(fs::read(scene.path("f")).unwrap() == scene.plain);
    }
}

#[test]
fn the_whole_file_is_given_out_as_soon_as_all_is_there() {
    let scene = Scene::new(8);
    let sparse = scene.open(&scene.within());
    let mut random = Random(8);
    let mut order: Vec<usize> = (0..scene.index.len()).collect();
    order.sort_by_cached_key(|_| random.next());
    for position in order {
        assert!(sparse.whole().is_none());
        sparse.read(scene.span(position)).unwrap();
    }
    let mut file: &File = sparse.whole().unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    assert!(bytes == scene.plain);
    assert!(std::os::unix::fs::FileExt::write_at(file, b"x", 0).is_err(), "it is for reading");
}

#[test]
fn an_empty_blob_is_whole_at_once() {
    let scene = Scene::of(&[]);
    let sparse = scene.open(&scene.within());
    assert!(sparse.whole().is_some());
    assert!(sparse.read(0..10).unwrap().is_empty());
    sparse.fill_all(10, &false.into());
    sparse.save(&scene.path("s")).unwrap();
    drop(sparse);
    assert!(scene.open_with(&scene.within(), &scene.with_state()).unwrap().whole().is_some());
}

#[test]
fn filling_fetches_what_it_is_told_and_no_more() {
    let scene = Scene::new(9);
    let within = scene.within();
    let sparse = scene.open(&within);
    // Also in disorder, twice, and what there is not.
    sparse.fill(&[20, 5, 6, 20, 7, 1_000_000, 0], 3, &false.into());
    assert_eq!(scene.there(&sparse), [0, 5, 6, 7, 20]);
    let bytes: u64 = within.take().iter().map(|range| range.end - range.start).sum();
    let expected = [5, 6, 7, 20].map(|at| scene.index.chunk(at).len as u64);
    assert_eq!(bytes, expected.iter().sum::<u64>());
    sparse.fill_all(10, &true.into());
    assert_eq!(scene.there(&sparse).len(), 5, "it was told to stop");
    sparse.fill_all(10, &false.into());
    assert!(sparse.whole().is_some());
    within.take();
    sparse.fill_all(10, &false.into());
    assert!(within.take().is_empty());
}
