//! Generated input for the benches.

/// Bytes without structure: what compression and deduplication can do nothing with.
pub fn noise(len: usize) -> Vec<u8> {
    let mut x = 1_u64;
    let word = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x.to_le_bytes()
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(word).take(len.div_ceil(8)).flatten().collect();
    bytes.truncate(len);
    bytes
}

/// Bytes that compress to about a third, as programs and source trees do: short words, repeated
/// at all distances, and some noise between them.
#[allow(dead_code, reason = "not every bench compresses")]
pub fn text(len: usize) -> Vec<u8> {
    let words = noise(1 << 16);
    let picks = noise(len);
    let mut bytes = Vec::with_capacity(len + 64);
    for pick in picks.chunks_exact(4) {
        let at = usize::from(u16::from_le_bytes([pick[0], pick[1]])) & 0x0fff;
        let size = 3 + usize::from(pick[2] & 15);
        bytes.extend_from_slice(&words[at * 8..at * 8 + size]);
        bytes.push(pick[3]);
        if bytes.len() >= len {
            break;
        }
    }
    bytes.truncate(len);
    bytes
}
