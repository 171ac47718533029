//! Ages as people type them: `90s`, `1h30m`, `7d`, `2w`.

use std::time::Duration;

/// Numbers with units, one behind the other.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let invalid = || format!("`{text}` is no age such as 90s, 1h30m or 7d");
    let mut seconds = 0_u64;
    let mut rest = text;
    loop {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, behind) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| invalid())?;
        let unit = behind.chars().next().ok_or_else(invalid)?;
        let unit_seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 24 * 3600,
            'w' => 7 * 24 * 3600,
            _ => return Err(invalid()),
        };
        let part = number.checked_mul(unit_seconds).ok_or_else(invalid)?;
        seconds = seconds.checked_add(part).ok_or_else(invalid)?;
        rest = &behind[1..];
        if rest.is_empty() {
            return Ok(Duration::from_secs(seconds));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_sums_of_numbers_with_units() {
        for (text, seconds) in [
            ("0s", 0),
            ("90s", 90),
            ("1h", 3600),
            ("1h30m", 5400),
            ("7d", 604_800),
            ("2w", 1_209_600),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in [
            "",
            "7",
            "d",
            "1x",
            "1h30",
            "-1h",
            "1.5h",
            "1 h",
            "\u{e9}",
            "1\u{e9}",
            "99999999999999999999s",
            "18446744073709551615w",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
