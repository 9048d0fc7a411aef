//! Durations as Go's `time.ParseDuration` reads them: `20m0s`, `1h30m`, `1.5h`.

use std::time::Duration;

use crate::Malformed;

/// Go's units, in nanoseconds. There is no day, and no `M`, which would mean months elsewhere.
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

/// Parses a duration, for example `1h30m`; `0` needs no unit.
///
/// # Errors
/// If the text is not a duration, or is negative.
pub fn parse(text: &str) -> Result<Duration, Malformed> {
    let nanoseconds = match text.strip_prefix('+').unwrap_or(text) {
        "0" => Some(0),
        parts => nanoseconds(parts),
    };
    nanoseconds.map(Duration::from_nanos).ok_or_else(|| {
        Malformed::new(
            text,
            "is no duration",
            "write for example \"20m0s\" or \"1h30m\"",
        )
    })
}

/// The sum of all parts; `None` if one is malformed or the sum is too large.
fn nanoseconds(text: &str) -> Option<u64> {
    let mut sum = 0_u64;
    let mut rest = text;
    while !rest.is_empty() || text.is_empty() {
        let (number, behind) = rest.split_at(rest.find(|c: char| c != '.' && !c.is_ascii_digit())?);
        let end = behind
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && decimals.is_empty() {
            return None;
        }
        if !whole.is_empty() {
            sum = sum.checked_add(whole.parse::<u64>().ok()?.checked_mul(*unit)?)?;
        }
        let mut place = *unit;
        for decimal in decimals.chars() {
            place /= 10;
            sum = sum.checked_add(u64::from(decimal.to_digit(10)?) * place)?;
        }
        rest = behind;
    }
    Some(sum)
}

/// Formats a duration so that [`parse`] returns the same value.
pub fn format(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if duration.subsec_nanos() == 0 {
        match (seconds / 3600, seconds % 3600 / 60, seconds % 60) {
            (0, 0, s) => format!("{s}s"),
            (0, m, s) => format!("{m}m{s}s"),
            (h, m, s) => format!("{h}h{m}m{s}s"),
        }
    } else {
        format!("{}ns", duration.as_nanos())
    }
}

/// Formats a duration for people, without the parts that are zero: `1h30m`, `5m`.
pub fn brief(duration: Duration) -> String {
    let text = format(duration);
    let text = text
        .strip_suffix("m0s")
        .map_or(text.clone(), |rest| format!("{rest}m"));
    match text.strip_suffix("h0m") {
        Some(hours) => format!("{hours}h"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_are_read() {
        for (text, milliseconds) in [
            ("20m0s", 1_200_000),
            ("1h30m", 5_400_000),
            ("1.5h", 5_400_000),
            ("5m", 300_000),
            ("1.5s", 1500),
            (".5s", 500),
            ("1.s", 1000),
            ("1h.5s", 3_600_500),
            ("+2s", 2000),
            ("250ms", 250),
            ("0", 0),
        ] {
            let parsed = parse(text);
            assert_eq!(parsed, Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in [
            "",
            "5",
            "m5",
            "5 m",
            "1h 30m",
            "5M",
            "1d",
            "-5s",
            "1.2.3s",
            ".",
            ".s",
            "9999999999h",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_come_back() {
        for duration in [
            Duration::ZERO,
            Duration::from_mins(20),
            Duration::from_millis(1500),
        ] {
            assert_eq!(parse(&format(duration)), Ok(duration));
        }
        assert_eq!(format(Duration::from_mins(90)), "1h30m0s");
    }

    #[test]
    fn people_need_no_zeros() {
        for (seconds, text) in [
            (0, "0s"),
            (5, "5s"),
            (300, "5m"),
            (3600, "1h"),
            (5400, "1h30m"),
            (3605, "1h0m5s"),
        ] {
            assert_eq!(brief(Duration::from_secs(seconds)), text);
        }
    }
}
