//! The search tree at the end of a directory.
//!
//! Items are sorted by the hash of their names and laid out as a complete binary tree in an array, as a heap
//! is: below place `i` are `2i + 1`, which is smaller, and `2i + 2`, which is greater.
//!
//! ```text
//! header | item, item, ...          | tail
//!          back, size, hash of name   back to the ENTRY of the directory, size of this record, marker
//! ```
//! `back` counts bytes from the start of the header to the start of the FILENAME, `size` from there to the end of
//! the node.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use super::record::{GOODBYE_ITEM_LEN, GOODBYE_TAIL, HEADER_LEN, Kind, begin, put};
use crate::wire::word;

/// The key of casync's hash of names.
const KEY: (u64, u64) = (0x8574_442b_0f1d_84b3, 0x2736_ed30_d1c2_2ec1);

/// The hash by which a name is found: SipHash-2-4 of its bytes.
pub fn hash_name(name: &[u8]) -> u64 {
    let mut hasher = SipHasher24::new_with_keys(KEY.0, KEY.1);
    hasher.write(name);
    hasher.finish()
}

/// A name in a directory, and where it lies in the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Child {
    /// Of its name.
    pub hash: u64,
    /// Where its FILENAME begins, in bytes from the start of the archive.
    pub start: u64,
    /// Where its node ends.
    pub end: u64,
}

/// Appends the GOODBYE of a directory that has these children, in any order. It begins at byte `at` of the
/// archive, the ENTRY of the directory at `entry`.
pub fn encode_goodbye(out: &mut Vec<u8>, children: &mut [Child], entry: u64, at: u64) {
    children.sort_unstable();
    let body_len = (GOODBYE_ITEM_LEN * (children.len() + 1)) as u64;
    begin(out, Kind::Goodbye, body_len);
    let items = out.len();
    out.resize(items + GOODBYE_ITEM_LEN * children.len(), 0);
    let mut sorted = children.iter();
    in_order(children.len(), &mut |place| {
        let child = sorted.next().expect("a place for each child");
        let item = &mut out[items + GOODBYE_ITEM_LEN * place..][..GOODBYE_ITEM_LEN];
        item[..8].copy_from_slice(&(at - child.start).to_le_bytes());
        item[8..16].copy_from_slice(&(child.end - child.start).to_le_bytes());
        item[16..].copy_from_slice(&child.hash.to_le_bytes());
    });
    put(out, at - entry);
    put(out, HEADER_LEN as u64 + body_len);
    put(out, GOODBYE_TAIL);
}

/// Visits the places of a complete tree of `len` items from the smallest to the greatest.
fn in_order(len: usize, visit: &mut impl FnMut(usize)) {
    /// No deeper than a number of places has bits.
    fn below(place: usize, len: usize, visit: &mut impl FnMut(usize)) {
        if place < len {
            below(2 * place + 1, len, visit);
            visit(place);
            below(2 * place + 2, len, visit);
        }
    }
    below(0, len, visit);
}

/// The search tree of a directory, as it stands in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Goodbye {
    /// Where its record begins.
    at: u64,
    /// Where the ENTRY of the directory begins.
    entry: u64,
    /// Items and tail.
    body: Vec<u8>,
}

impl Goodbye {
    /// Takes what follows the header of a GOODBYE that begins at byte `at`; says what is wrong with it.
    pub(super) fn parse(body: Vec<u8>, at: u64) -> Result<Self, String> {
        let Some(items_len) = body.len().checked_sub(GOODBYE_ITEM_LEN) else {
            return Err("a GOODBYE without a tail".to_owned());
        };
        let size = (HEADER_LEN + body.len()) as u64;
        if word(&body, items_len + 16) != GOODBYE_TAIL || word(&body, items_len + 8) != size {
            return Err("a GOODBYE whose tail does not fit".to_owned());
        }
        let back = word(&body, items_len);
        let entry = at.checked_sub(back).ok_or("a GOODBYE that leads before the archive")?;
        Ok(Self { at, entry, body })
    }

    /// Where the ENTRY of the directory begins.
    pub(super) fn entry(&self) -> u64 {
        self.entry
    }

    /// Whether it lists exactly these children, which are sorted.
    pub(super) fn lists(&self, children: &mut [Child]) -> bool {
        let mut expected = Vec::with_capacity(HEADER_LEN + self.body.len());
        encode_goodbye(&mut expected, children, self.entry, self.at);
        expected[HEADER_LEN..] == self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_casync() {
        for (name, hash) in [
            ("", 0xb64a_cab6_ca92_1906),
            ("a", 0x51ba_5a19_e058_c7ad),
            ("a.txt", 0x30db_b40a_1277_8187),
            ("sub", 0xebfe_9356_98c3_deec),
        ] {
            assert_eq!(hash_name(name.as_bytes()), hash, "{name}");
        }
    }

    #[test]
    fn the_order_is_that_of_casync() {
        for (len, expected) in [
            (1, vec![0]),
            (2, vec![1, 0]),
            (3, vec![1, 0, 2]),
            (4, vec![2, 1, 3, 0]),
            (10, vec![6, 3, 8, 1, 5, 7, 9, 0, 2, 4]),
        ] {
            let mut sorted_at = vec![0; len];
            let mut next = 0;
            in_order(len, &mut |place| {
                sorted_at[place] = next;
                next += 1;
            });
            assert_eq!(sorted_at, expected);
        }
    }

    fn table(hashes: &[u64]) -> (Vec<Child>, Goodbye) {
        let child = |(n, &hash): (usize, &u64)| {
            let start = 64 + 100 * n as u64;
            Child { hash, start, end: start + 100 }
        };
        let mut children: Vec<Child> = hashes.iter().enumerate().map(child).collect();
        let at = 64 + 100 * hashes.len() as u64;
        let mut bytes = Vec::new();
        encode_goodbye(&mut bytes, &mut children, 0, at);
        (children, Goodbye::parse(bytes.split_off(HEADER_LEN), at).unwrap())
    }

    #[test]
    fn a_table_that_lies_is_told() {
        let (children, goodbye) = table(&[1, 2, 3]);
        for at in 0..goodbye.body.len() {
            let mut body = goodbye.body.clone();
            body[at] ^= 0x80;
            let lies = Goodbye::parse(body, goodbye.at)
                .is_ok_and(|goodbye| goodbye.entry == 0 && goodbye.lists(&mut children.clone()));
            assert!(!lies, "byte {at}");
        }
        assert!(Goodbye::parse(Vec::new(), 0).is_err());
    }
}
