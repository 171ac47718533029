use std::fs;

use cairn_formats::{ChunkId, Digest};
use proptest::prelude::*;

use super::atoms::marks;
use super::matching::Matcher;
use super::*;
use crate::make::MakeOptions;

const KEY: [u8; 32] = [7; 32];

const FEATURES: u64 = flags::USER_NAMES;

/// A byte and how often it comes: an atom whose bytes are known. Zero stands for one without a mark.
type Run = (u8, u64);

fn atom((byte, len): Run) -> Atom {
    let said = [byte, len as u8];
    let mark = if byte == 0 { None } else { marks(&[&said]).next() };
    Atom { len, mark }
}

fn bytes_of(runs: &[Run]) -> Vec<u8> {
    // Bytes that differ from their neighbours, or a chunk could not be told from its shifted self.
    let bytes = |&(byte, len): &Run| (0..len).map(move |n| byte.wrapping_mul(31) ^ n as u8);
    runs.iter().flat_map(bytes).collect()
}

/// What is saved of an archive that was cut at these places.
fn saved(runs: &[Run], cuts: &[u64]) -> Saved {
    let mut found = Found::default();
    runs.iter().for_each(|&run| found.atoms.push(atom(run)));
    let bytes = bytes_of(runs);
    let mut from = 0;
    for &cut in cuts {
        let chunk = &bytes[from as usize..cut as usize];
        found.chunk(Digest::Sha512_256.hash(chunk), chunk.len() as u32);
        from = cut;
    }
    found.atoms.finish();
    found.end_last();
    let Found { starts, files, records, .. } = &mut found;
    let mut bytes = Vec::new();
    Saved::write(&mut bytes, &KEY, starts, files, &[], &[records]).unwrap();
    Saved::read(Kept::Copied(bytes), &KEY, 1 << 20).expect("what was written is read")
}

fn verdicts(saved: &Saved, runs: &[Run]) -> Vec<Verdict> {
    let mut matcher = Matcher::new(saved);
    let mut verdicts = Vec::new();
    for &run in runs {
        matcher.push(atom(run));
        verdicts.extend(std::iter::from_fn(|| matcher.verdict()));
    }
    matcher.finish();
    verdicts.extend(std::iter::from_fn(|| matcher.verdict()));
    verdicts
}

fn runs() -> impl Strategy<Value = Vec<Run>> {
    prop::collection::vec((0_u8..12, 1_u64..40), 1..30)
}

proptest! {
    #[test]
    fn verdicts_cover_everything_and_what_is_known_is_so(
        old in runs(), edits in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..3, 0_u8..12), 0..3),
        cuts in prop::collection::btree_set(1_u64..1000, 1..20),
    ) {
        let total: u64 = old.iter().map(|run| run.1).sum();
        let mut cuts: Vec<u64> = cuts.into_iter().filter(|&cut| cut < total).collect();
        cuts.push(total);
        let saved = saved(&old, &cuts);
        let mut new = old;
        for (at, kind, byte) in &edits {
            if new.is_empty() {
                break;
            }
            let at = at.index(new.len());
            match kind {
                0 => new[at].0 = *byte,
                1 => { new.remove(at); }
                _ => new.insert(at, (*byte, 5)),
            }
        }
        let bytes = bytes_of(&new);
        let mut at = 0;
        for verdict in verdicts(&saved, &new) {
            match verdict {
                Verdict::Read(len) => at += len as usize,
                Verdict::Known(place, Start { id, len, .. }) => {
                    prop_assert_eq!(at as u64, place);
                    prop_assert_eq!(Digest::Sha512_256.hash(&bytes[at..at + len as usize]), id);
                    at += len as usize;
                }
            }
        }
        prop_assert_eq!(at, bytes.len());
    }

    /// No two atoms are the same: where the same bytes come again a chunk ends as it did, and not anywhere.
    #[test]
    fn what_has_not_changed_is_known(
        lens in prop::collection::vec(1_u64..40, 1..30),
        cuts in prop::collection::btree_set(1_u64..1000, 1..20),
    ) {
        let runs: Vec<Run> = (1..).zip(lens).collect();
        let total: u64 = runs.iter().map(|run| run.1).sum();
        let mut cuts: Vec<u64> = cuts.into_iter().filter(|&cut| cut < total).collect();
        cuts.push(total);
        let verdicts = verdicts(&saved(&runs, &cuts), &runs);
        prop_assert_eq!(verdicts.len(), cuts.len());
        let is_known = |verdict: &Verdict| matches!(verdict, Verdict::Known(..));
        prop_assert!(verdicts.iter().all(is_known));
    }
}

#[test]
fn after_a_change_chunks_are_known_again() {
    let old = [(1, 10), (2, 10), (3, 10), (4, 10)];
    let saved = saved(&old, &[8, 24, 33, 40]);
    let new = [(9, 13), (2, 10), (3, 10), (4, 10)];
    let verdicts = verdicts(&saved, &new);
    let lens: Vec<u64> = verdicts
        .iter()
        .map(|verdict| match *verdict {
            Verdict::Read(len) => len,
            Verdict::Known(_, start) => start.len.into(),
        })
        .collect();
    // The chunk that began at 8 covers the changed atom; the next one began at 24, four bytes into the third.
    assert_eq!(lens.last(), Some(&7));
    assert_eq!(lens[lens.len() - 2], 9);
    let read: u64 = lens[..lens.len() - 2].iter().sum();
    assert_eq!(read, 27);
}

#[test]
fn the_last_chunk_is_only_known_at_the_end() {
    let saved = saved(&[(1, 10), (2, 10)], &[12, 20]);
    let known = |runs: &[Run]| {
        let is_known = |verdict: &Verdict| matches!(verdict, Verdict::Known(..));
        verdicts(&saved, runs).iter().filter(|&verdict| is_known(verdict)).count()
    };
    assert_eq!(known(&[(1, 10), (2, 10)]), 2);
    assert_eq!(known(&[(1, 10), (2, 10), (3, 10)]), 1);
}

#[test]
fn what_is_damaged_is_not_there() {
    let mut found = Found::default();
    found.atoms.push(atom((1, 10)));
    found.chunk(ChunkId::from_bytes([1; 32]), 10);
    found.atoms.finish();
    found.end_last();
    let mut files = vec![File {
        identity: [1, 2, 3, 4, 5, 6, 7],
        at: 0,
        len: 4,
        entry: 1,
        names: 2,
        mark: [9; 16],
    }];
    let mut good = Vec::new();
    Saved::write(&mut good, &KEY, &mut found.starts, &mut files, b"names", &[b"12", b"3456"])
        .unwrap();
    let read = Saved::read(Kept::Copied(good.clone()), &KEY, 1 << 20).expect("it is whole");
    let known = read.find(&[1, 2, 3, 4, 5, 6, 7]).expect("it was saved");
    assert_eq!(&read.bytes()[known.records.clone()], b"1234");
    assert_eq!(&read.bytes()[known.entry..known.records.end], b"234");
    assert_eq!(&read.bytes()[known.names.clone()], b"56");
    assert_eq!((known.row, known.mark), (0, [9; 16]));
    assert!(read.find(&[1, 2, 3, 4, 6, 6, 7]).is_none());
    assert_eq!((read.chunks(), read.files(), read.names()), (1, 1, &b"names"[..]));
    assert!(Saved::read(Kept::Copied(good.clone()), &[8; 32], 1 << 20).is_none(), "another key");
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        assert!(Saved::read(Kept::Copied(bad), &KEY, 1 << 20).is_none(), "byte {at}");
        assert!(
            Saved::read(Kept::Copied(good[..at].to_vec()), &KEY, 1 << 20).is_none(),
            "cut at {at}"
        );
    }
}

/// What is written in many pieces is digested as it is read: in one.
#[test]
fn a_large_tree_is_kept() {
    let records: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
    let file = |n: u64| File {
        identity: [n, 2, 3, 4, 5, 6, 7],
        at: 100 * n,
        len: 60,
        entry: 20,
        names: 40,
        mark: [n as u8; 16],
    };
    let mut files: Vec<File> = (0..30_000).rev().map(file).collect();
    let mut bytes = Vec::new();
    Saved::write(&mut bytes, &KEY, &mut [], &mut files, b"", &[&records]).unwrap();
    let read = Saved::read(Kept::Copied(bytes), &KEY, 1 << 20).expect("it is whole");
    assert_eq!(read.files(), 30_000);
    for n in [0, 12_345, 29_999] {
        let known = read.find(&file(n).identity).expect("it was saved");
        let at = file(n).at as usize;
        assert_eq!(&read.bytes()[known.records], &records[at..at + 60]);
        assert_eq!(&read.bytes()[known.names], &records[at + 60..at + 100]);
    }
}

#[test]
fn files_changed_a_moment_ago_are_not_settled() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("cache");
    let cache =
        EncoderCache::open(&directory, root.path(), FEATURES, None, &MakeOptions::default())
            .unwrap();
    let stat = |ctime, lag| Stat {
        dev: 1,
        ino: 1,
        size: 1,
        mtime: 0,
        ctime,
        uid: 0,
        gid: 0,
        mode: 0,
        is_virtual: false,
        lag,
    };
    assert!(cache.is_settled(&stat(cache.began - 1000, Some(999))));
    assert!(!cache.is_settled(&stat(cache.began - 1000, Some(1000))));
    assert!(!cache.is_settled(&stat(cache.began + 1, Some(0))));
    assert!(!cache.is_settled(&stat(0, None)), "times that say nothing");
    cache.save().unwrap();
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
}

/// Owners of what is the same are not looked up, and may get other names all the same.
#[test]
fn names_of_owners_are_kept_as_long_as_their_files_may_be() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("cache");
    let run = |names: &Names, n: u64| {
        let cache =
            EncoderCache::open(&directory, root.path(), FEATURES, None, &MakeOptions::default())
                .unwrap();
        let said = cache.saved.as_ref().map(|saved| saved.names().to_vec());
        let stat = Stat {
            dev: 1,
            ino: n,
            size: 0,
            mtime: 0,
            ctime: 0,
            uid: 0,
            gid: 0,
            mode: 0,
            is_virtual: false,
            lag: Some(0),
        };
        let settled =
            Settled { stat: &stat, records: b"", entry: 0, names: None, mark: [n as u8; 16] };
        cache.note([settled].into_iter());
        cache.name_owners(names);
        cache.save().unwrap();
        String::from_utf8(said.unwrap_or_default()).unwrap()
    };
    let names = Names::default();
    assert_eq!(names.user(1).unwrap().as_deref(), Some(&b"daemon"[..]));
    assert_eq!(run(&names, 1), "");
    assert!(run(&Names::default(), 2).starts_with("u1 "));
    assert!(run(&Names::default(), 3).starts_with("u1 "));
}
