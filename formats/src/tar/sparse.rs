//! Which parts of a sparse file its bytes are.
//!
//! ```text
//! old    four extents in the header, 21 in each further block before the bytes
//! 0.0    PAX records GNU.sparse.offset and GNU.sparse.numbytes, in turn
//! 0.1    a PAX record GNU.sparse.map: offset,length,offset,length
//! 1.0    lines of digits before the bytes, padded to a block: how many, then offset and length of each
//! ```
//! Whether extents make sense together is for who uses them to see.

use super::header::{BLOCK, Header, number};
use super::pax::decimal;

/// Digits of the longest number there is.
const MOST_DIGITS: usize = 20;

/// A part of a file that is no hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where in the file it begins.
    pub at: u64,
    /// Its bytes.
    pub len: u64,
}

/// The extents in a header of the old form, and whether a block with more follows. `None` if there is
/// something else than numbers.
pub fn header_extents(header: &Header) -> Option<(Vec<Extent>, bool)> {
    Some((extents(&header.bytes()[386..482])?, header.bytes()[482] != 0))
}

/// The extents in a further block of the old form, and whether another follows.
pub fn extension_extents(block: &[u8; BLOCK]) -> Option<(Vec<Extent>, bool)> {
    Some((extents(&block[..504])?, block[504] != 0))
}

fn extents(fields: &[u8]) -> Option<Vec<Extent>> {
    // What is not needed of the room is empty.
    let used = fields.chunks_exact(24).take_while(|field| field[0] != 0);
    let extent = |field: &[u8]| {
        let number = |field| u64::try_from(number(field)?).ok();
        Some(Extent { at: number(&field[..12])?, len: number(&field[12..])? })
    };
    used.map(extent).collect()
}

/// The extents in a list with commas, as 0.1 has them.
pub fn list_extents(list: &[u8]) -> Option<Vec<Extent>> {
    if list.is_empty() {
        return Some(Vec::new());
    }
    let numbers = list.split(|&byte| byte == b',').map(decimal).collect::<Option<Vec<u64>>>()?;
    let (pairs, rest) = numbers.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|&[at, len]| Extent { at, len }).collect())
}

/// Reads the lines of 1.0, block by block.
#[derive(Debug, Default)]
pub struct MapReader {
    /// How many extents there are to be, once that is known.
    count: Option<u64>,
    numbers: Vec<u64>,
    digits: Vec<u8>,
}

impl MapReader {
    /// Takes the next block: whether the map is complete. `None` if it is no map.
    pub fn feed(&mut self, block: &[u8; BLOCK]) -> Option<bool> {
        for &byte in block {
            if byte != b'\n' {
                self.digits.push(byte);
                if self.digits.len() > MOST_DIGITS {
                    return None;
                }
                continue;
            }
            let number = decimal(&self.digits)?;
            self.digits.clear();
            match self.count {
                None => self.count = Some(number),
                Some(_) => self.numbers.push(number),
            }
            if self.is_complete() {
                return Some(true);
            }
        }
        Some(false)
    }

    /// How many numbers have come, which is what it holds in memory; not how many are to come.
    pub fn read(&self) -> usize {
        self.numbers.len()
    }

    fn is_complete(&self) -> bool {
        self.count.is_some_and(|count| Some(self.numbers.len() as u64) == count.checked_mul(2))
    }

    /// The extents read.
    pub fn extents(&self) -> Vec<Extent> {
        self.numbers.as_chunks::<2>().0.iter().map(|&[at, len]| Extent { at, len }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_pairs_of_numbers() {
        let extents = vec![Extent { at: 0, len: 512 }, Extent { at: 4096, len: 1 }];
        assert_eq!(list_extents(b"0,512,4096,1"), Some(extents));
        assert_eq!(list_extents(b""), Some(Vec::new()));
        for list in [&b"0"[..], b"0,1,2", b"0,", b",", b"0,-1", b"0,x", b" 0,1"] {
            assert_eq!(list_extents(list), None, "{list:?}");
        }
    }

    fn fed(text: &str) -> Option<Vec<Extent>> {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        let mut reader = MapReader::default();
        for block in bytes.as_chunks().0 {
            if reader.feed(block)? {
                return Some(reader.extents());
            }
        }
        None
    }

    #[test]
    fn maps_end_where_they_say() {
        assert_eq!(fed("0\n"), Some(Vec::new()));
        assert_eq!(fed("1\n5\n7\n"), Some(vec![Extent { at: 5, len: 7 }]));
        let many: String = (0..400).map(|n| format!("{n}\n")).collect();
        assert_eq!(fed(&format!("200\n{many}")).map(|extents| extents.len()), Some(200));
        for text in
            ["", "x\n", "2\n1\n2\n", "\n", "18446744073709551615\n1\n", "123456789012345678901\n"]
        {
            assert_eq!(fed(text), None, "{text}");
        }
    }
}
