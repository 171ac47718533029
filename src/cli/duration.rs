//! Durations as Go writes them: `500ms`, `1m30s`, `1.5s`, `0`.

use std::time::Duration;

/// The units, longer names before those they begin with, in nanoseconds.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads a duration that may be negative, in nanoseconds.
pub(super) fn parse_signed(text: &str) -> Result<i64, String> {
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) if !rest.starts_with('+') => (-1, rest),
        _ => (1, text),
    };
    let duration = parse(unsigned).map_err(|_| wrong(text))?;
    // None is longer, see there.
    Ok(sign * i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
}

fn wrong(text: &str) -> String {
    format!("invalid duration '{text}' (such as 500ms, 1m30s or 1.5s)")
}

/// Reads a duration that is not negative. No longer one is possible than in Go, about 292 years.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    let wrong = || wrong(text);
    if unsigned == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = unsigned;
    let mut nanoseconds: u64 = 0;
    loop {
        let (part, behind) = part(rest).ok_or_else(wrong)?;
        nanoseconds = nanoseconds
            .checked_add(part)
            .filter(|&sum| i64::try_from(sum).is_ok())
            .ok_or_else(wrong)?;
        rest = behind;
        if rest.is_empty() {
            return Ok(Duration::from_nanos(nanoseconds));
        }
    }
}

/// A number and its unit in nanoseconds, and what stands behind.
fn part(text: &str) -> Option<(u64, &str)> {
    let (whole, rest) = digits(text);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => digits(rest),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (name, unit) = UNITS.into_iter().find(|(name, _)| rest.starts_with(name))?;
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // More digits than these are parts of a nanosecond whatever the unit.
    let fraction = &fraction[..fraction.len().min(15)];
    let scale = 10_u128.pow(fraction.len() as u32);
    let fraction: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let nanoseconds = u128::from(whole) * u128::from(unit) + fraction * u128::from(unit) / scale;
    Some((u64::try_from(nanoseconds).ok()?, &rest[name.len()..]))
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("+0", 0),
            ("0s", 0),
            ("500ms", 500_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5s", 1_500_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("+5s", 5_000_000_000),
            ("3us", 3_000),
            ("3µs", 3_000),
            ("3μs", 3_000),
            ("7ns", 7),
            ("1.9ns", 1),
            ("2h0.5m", 7_230_000_000_000),
            ("0.100000000000000000000h", 360_000_000_000),
            ("9223372036854775807ns", i64::MAX as u64),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanoseconds)), "{text}");
        }
    }

    #[test]
    fn a_sign_is_possible_where_it_means_something() {
        for (text, nanoseconds) in [("-1s", -1_000_000_000), ("+1s", 1_000_000_000), ("-0", 0)] {
            assert_eq!(parse_signed(text), Ok(nanoseconds), "{text}");
        }
        for text in ["-", "--1s", "-+1s", "+-1s", "-1", ""] {
            let message = format!("invalid duration '{text}' (such as 500ms, 1m30s or 1.5s)");
            assert_eq!(parse_signed(text), Err(message));
        }
    }

    #[test]
    fn what_go_refuses_is_refused_and_so_is_what_is_negative() {
        for text in [
            "",
            "+",
            "3",
            "-1s",
            "s",
            ".",
            ".s",
            "1.5",
            "1 s",
            "1s ",
            "1x",
            "1sm",
            "1e3s",
            "--1s",
            "9223372036854775808ns",
            "99999999999999999999s",
            "9000000h",
            "é",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
