//! Where the nodes in a directory lie, without a look at any of them.
//!
//! Who wants to have the nodes of an archive at hand before they are read asks this first. Nothing but what says so is
//! read, no byte beyond. Of what is forged the answer may be anything, but lies in the directory and is nowhere twice: so
//! who goes on from range to range comes to an end, and asks no more than the archive is long.

use std::io;
use std::ops::Range;

use super::node::Body;
use super::record::{ENTRY_LEN, GOODBYE_ITEM_LEN, GOODBYE_TAIL, HEADER_LEN, Header, Kind};
use super::seek::ReadAt;
use crate::wire::word;

/// Bytes of a table that are read at once.
const AT_ONCE: usize = 1 << 16;

/// Directories with more names are not looked into.
const MOST: u64 = 1 << 20;

/// Where the nodes in a directory begin, with their names, and where they end, in the order of the archive. The directory
/// is what lies in this range: with its name, or without it if it is the root. `None` of what is no directory, or has a
/// great many names.
pub fn spans(input: &dyn ReadAt, range: Range<u64>) -> io::Result<Option<Vec<Range<u64>>>> {
    let Range { mut start, end } = range;
    let mut header = header_at(input, start)?;
    if let Some(Header { kind: Kind::Filename, size }) = header {
        start += size;
        header = header_at(input, start)?;
    }
    let mut mode = [0; 8];
    read_exact(input, start + HEADER_LEN as u64 + 8, &mut mode)?;
    let is_entry = header.is_some_and(|header| header.kind == Kind::Entry);
    let is_directory = word(&mode, 0) & 0o170_000 == u64::from(Body::Directory.type_bits());
    let body = start + ENTRY_LEN as u64;
    let tail_at = end.checked_sub(GOODBYE_ITEM_LEN as u64).filter(|&at| at >= body);
    let (true, true, Some(tail_at)) = (is_entry, is_directory, tail_at) else { return Ok(None) };
    let mut tail = [0; GOODBYE_ITEM_LEN];
    read_exact(input, tail_at, &mut tail)?;
    let at = end.checked_sub(word(&tail, 8)).filter(|&at| at >= body);
    let (GOODBYE_TAIL, Some(at)) = (word(&tail, 16), at) else { return Ok(None) };
    let items = at + HEADER_LEN as u64..tail_at;
    let len = items.end.saturating_sub(items.start) / GOODBYE_ITEM_LEN as u64;
    if len > MOST {
        return Ok(None);
    }
    let (mut spans, mut buffer) = (Vec::new(), Vec::new());
    let mut left = len * GOODBYE_ITEM_LEN as u64;
    while left > 0 {
        let some = left.min((AT_ONCE / GOODBYE_ITEM_LEN * GOODBYE_ITEM_LEN) as u64);
        buffer.resize(some as usize, 0);
        read_exact(input, tail_at - left, &mut buffer)?;
        spans.extend(buffer.chunks_exact(GOODBYE_ITEM_LEN).filter_map(|item| {
            let start = at.checked_sub(word(item, 0)).filter(|&start| start >= body)?;
            let end = start.checked_add(word(item, 8)).filter(|&end| start < end && end <= at)?;
            Some(start..end)
        }));
        left -= some;
    }
    spans.sort_unstable_by_key(|span| span.start);
    let mut last = body;
    spans.retain(|span| {
        let is_behind = span.start >= last;
        last = if is_behind { span.end } else { last };
        is_behind
    });
    Ok(Some(spans))
}

fn header_at(input: &dyn ReadAt, at: u64) -> io::Result<Option<Header>> {
    let mut bytes = [0; HEADER_LEN];
    read_exact(input, at, &mut bytes)?;
    Ok(Header::parse(&bytes).ok())
}

fn read_exact(input: &dyn ReadAt, at: u64, buffer: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read_at(at.saturating_add(filled as u64), &mut buffer[filled..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => filled += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{archive, directory_of, file, tree};
    use super::super::{Decoder, Item};
    use super::*;

    /// An archive, of which it is noted what is read.
    struct Noted<'a>(&'a [u8]);

    impl ReadAt for Noted<'_> {
        fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
            // A piece at a time will do, too.
            let most = buffer.len().min(7);
            self.0.read_at(at, &mut buffer[..most])
        }
    }

    #[test]
    fn nodes_are_where_they_are_said_to_be() {
        let tree = directory_of(vec![
            (b"a", file(b"bytes")),
            (b"b", directory_of(vec![(b"x", file(b"")), (b"y", file(b"long"))])),
            (b"c", directory_of(Vec::new())),
        ]);
        let archive = archive(&tree);
        let all = 0..archive.len() as u64;
        let root = spans(&Noted(&archive), all).unwrap().unwrap();
        assert_eq!(root.len(), 3);
        assert_eq!(spans(&Noted(&archive), root[0].clone()).unwrap(), None);
        let within = spans(&Noted(&archive), root[1].clone()).unwrap().unwrap();
        assert_eq!(within.len(), 2);
        assert!(root[1].start < within[0].start && within[0].end == within[1].start);
        assert_eq!(spans(&Noted(&archive), root[2].clone()).unwrap().unwrap(), []);
    }

    proptest! {
        #[test]
        fn every_name_begins_a_span(tree in tree()) {
            let archive = archive(&tree);
            let mut decoder = Decoder::new(&archive[..]);
            let mut nodes = 0;
            while let Some(item) = decoder.next().unwrap() {
                nodes += usize::from(matches!(item, Item::Node(_)));
            }
            let all = 0..archive.len() as u64;
            let mut open = vec![all];
            let mut met = 0;
            while let Some(range) = open.pop() {
                met += 1;
                open.extend(spans(&&archive[..], range).unwrap().unwrap_or_default());
            }
            prop_assert_eq!(met, nodes);
        }

        #[test]
        fn forged_ones_lie_within(
            tree in tree(),
            damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..9),
        ) {
            let mut archive = archive(&tree);
            for (at, byte) in damage {
                let at = at.index(archive.len());
                archive[at] = byte;
            }
            let len = archive.len() as u64;
            for start in 0..len.min(400) {
                let mut last = start + 1;
                for found in spans(&&archive[..], start..len).ok().flatten().unwrap_or_default() {
                    prop_assert!(last <= found.start && found.start < found.end && found.end < len);
                    last = found.end;
                }
            }
        }
    }
}
