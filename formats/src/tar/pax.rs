//! The records in front of a member: `length key=value` and a newline, where the length counts all of it.
//!
//! Values may be any bytes, newlines among them.

/// A time in nanoseconds since 1970.
pub type Time = i64;

const NANOS: i128 = 1_000_000_000;

/// Takes records apart; says what is wrong with them.
pub fn records(mut bytes: &[u8]) -> Result<Vec<(&[u8], &[u8])>, &'static str> {
    let mut records = Vec::new();
    // Some programs pad with zeros.
    while !bytes.is_empty() && bytes[0] != 0 {
        let (record, rest) = split_record(bytes).ok_or("a PAX record whose length does not fit")?;
        let equals = record.iter().position(|&byte| byte == b'=').filter(|&equals| equals > 0);
        let equals = equals.ok_or("a PAX record without a key")?;
        records.push((&record[..equals], &record[equals + 1..]));
        bytes = rest;
    }
    Ok(records)
}

/// Key and value of the first record, and what is behind it.
fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    // A length that takes more digits is longer than anything read at once.
    let space = bytes.iter().take(12).position(|&byte| byte == b' ')?;
    let len: usize = decimal(&bytes[..space])?.try_into().ok()?;
    let (record, rest) = bytes.split_at_checked(len)?;
    Some((record.get(space + 1..)?.strip_suffix(b"\n")?, rest))
}

/// Appends a record.
pub fn put_record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut len = rest;
    // The digits of the length are counted by it.
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    out.extend_from_slice(format!("{len} ").as_bytes());
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Digits and nothing else.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(text).ok()?.parse().ok()
}

/// Seconds with a fraction, `-1.5` among them, floored to nanoseconds. `None` if it is no time, an inner `None` if
/// it is none that we have words for.
pub fn parse_time(text: &[u8]) -> Option<Option<Time>> {
    let (is_negative, text) = match text.strip_prefix(b"-") {
        Some(text) => (true, text),
        None => (false, text),
    };
    let dot = text.iter().position(|&byte| byte == b'.');
    let (whole, fraction) = dot.map_or((text, &b""[..]), |dot| (&text[..dot], &text[dot + 1..]));
    if whole.is_empty() || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
        return None;
    }
    let Some(whole) = decimal(whole) else { return Some(None) };
    let mut nanos = i128::from(whole) * NANOS;
    let mut unit = NANOS;
    for &digit in fraction.iter().take(9) {
        unit /= 10;
        nanos += unit * i128::from(digit - b'0');
    }
    if is_negative {
        let has_more = fraction.iter().skip(9).any(|&digit| digit != b'0');
        nanos = -nanos - i128::from(has_more);
    }
    Some(nanos.try_into().ok())
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_floored() {
        for (text, expected) in [
            ("0", Some(Some(0))),
            ("1350244992.023960108", Some(Some(1_350_244_992_023_960_108))),
            ("1.5", Some(Some(1_500_000_000))),
            ("1.", Some(Some(1_000_000_000))),
            ("1.9999999999", Some(Some(1_999_999_999))),
            ("-1.5", Some(Some(-1_500_000_000))),
            ("-0.0000000001", Some(Some(-1))),
            ("99999999999", Some(None)),
            ("99999999999999999999999", Some(None)),
            ("", None),
            ("-", None),
            (".5", None),
            ("1e3", None),
            ("+1", None),
        ] {
            assert_eq!(parse_time(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn records_that_lie_are_told() {
        for bytes in [
            &b"x"[..],
            b"12 a=b\n",
            b"5 a=b\n",
            b"6 a=b ",
            b"3 a",
            b"0 \n",
            b"7 abcd\n",
            b"6 =ab\n",
            b"99999999999999999999 a=b\n",
            b"-6 a=b\n",
        ] {
            assert!(records(bytes).is_err(), "{bytes:?}");
        }
        assert_eq!(records(b"6 a=b\n\0\0"), Ok(vec![(&b"a"[..], &b"b"[..])]));
    }

    proptest! {
        #[test]
        fn what_is_put_is_read(
            all in vec(("[a-zA-Z.]{1,90}", vec(any::<u8>(), 0..1200)), 0..4),
        ) {
            let mut out = Vec::new();
            for (key, value) in &all {
                put_record(&mut out, key.as_bytes(), value);
            }
            let expected: Vec<(&[u8], &[u8])> =
                all.iter().map(|(key, value)| (key.as_bytes(), &value[..])).collect();
            prop_assert_eq!(records(&out).unwrap(), expected);
        }
    }
}
