//! Records of an archive, looked at without the decoder.

use cairn_formats::catar::{Child, encode_goodbye, hash_name};

const HEADER_LEN: usize = 16;
const ENTRY: u64 = 0x1396_fabc_ea5b_bb51;
const FILENAME: u64 = 0x6dbb_6ebc_b316_1f0b;
const GOODBYE: u64 = 0xdfd3_5c5e_8327_c403;

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// The records as long as their sizes make sense, by kind and with their bytes, and what is behind them.
fn split(bytes: &[u8]) -> (Vec<(u64, &[u8])>, &[u8]) {
    let mut records = Vec::new();
    let mut rest = bytes;
    while rest.len() >= HEADER_LEN {
        let Ok(size) = usize::try_from(word(rest, 0)) else { break };
        if size < HEADER_LEN || size > rest.len() {
            break;
        }
        let (record, behind) = rest.split_at(size);
        records.push((word(record, 8), record));
        rest = behind;
    }
    (records, rest)
}

/// Whether a name stands without a node.
pub fn has_gap(bytes: &[u8]) -> bool {
    let (records, _) = split(bytes);
    records.windows(2).any(|two| two[0].0 == FILENAME && two[1].0 != ENTRY)
}

/// Mends tables in their place, if there is room. Returns the length in bytes from then on.
pub fn mend(data: &mut [u8], size: usize, max_size: usize) -> usize {
    let mended = mended(&data[..size]);
    if mended.len() > max_size {
        return size;
    }
    data[..mended.len()].copy_from_slice(&mended);
    mended.len()
}

/// The same records with tables that fit them, and one for each directory that has none.
fn mended(bytes: &[u8]) -> Vec<u8> {
    let (records, rest) = split(bytes);
    let mut out = Vec::with_capacity(bytes.len());
    let mut open: Vec<(u64, Vec<Child>)> = Vec::new();
    for (kind, record) in records {
        let at = out.len() as u64;
        if matches!(kind, FILENAME | GOODBYE) {
            end_child(&mut open, at);
        }
        match kind {
            GOODBYE => {
                if let Some((entry, mut children)) = open.pop() {
                    encode_goodbye(&mut out, &mut children, entry, at);
                }
                continue;
            }
            FILENAME => {
                let name = &record[HEADER_LEN..];
                let name = name.strip_suffix(&[0]).unwrap_or(name);
                if let Some((_, children)) = open.last_mut() {
                    children.push(Child { hash: hash_name(name), start: at, end: 0 });
                }
            }
            ENTRY if record.len() >= 32 && word(record, 24) & 0o170_000 == 0o040_000 => {
                open.push((at, Vec::new()));
            }
            _ => {}
        }
        out.extend_from_slice(record);
    }
    if rest.is_empty() {
        while let Some((entry, mut children)) = open.pop() {
            let at = out.len() as u64;
            if let Some(child) = children.last_mut().filter(|child| child.end == 0) {
                child.end = at;
            }
            encode_goodbye(&mut out, &mut children, entry, at);
        }
    }
    out.extend_from_slice(rest);
    out
}

/// What was last in the innermost directory ends here.
fn end_child(open: &mut [(u64, Vec<Child>)], at: u64) {
    let Some((_, children)) = open.last_mut() else { return };
    if let Some(child) = children.last_mut().filter(|child| child.end == 0) {
        child.end = at;
    }
}
