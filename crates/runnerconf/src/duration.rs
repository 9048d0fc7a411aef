//! Durations as GitLab Runner's Go code writes them: `20m0s`, `1h30m`, `1.5s`.

use std::time::Duration;

use crate::section::Complaint;

/// Units of Go's `time.ParseDuration`, in nanoseconds.
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

/// Reads a duration, for example `1h30m`; `0` needs no unit.
pub(crate) fn parse(text: &str) -> Result<Duration, Complaint> {
    let nanoseconds = if text == "0" {
        Some(0)
    } else {
        nanoseconds(text)
    };
    nanoseconds.map(Duration::from_nanos).ok_or_else(|| {
        Complaint::new(format!("is `{text}`, which is no duration"))
            .with_hint("write for example \"20m0s\" or \"1h30m\"")
    })
}

/// The sum of all parts; `None` where one is malformed or the sum is too large.
fn nanoseconds(text: &str) -> Option<u64> {
    let mut sum = 0_u64;
    let mut rest = text;
    while !rest.is_empty() || text.is_empty() {
        let (number, behind) = rest.split_at(rest.find(|c: char| c != '.' && !c.is_ascii_digit())?);
        let end = behind
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
        sum = sum.checked_add(whole.parse::<u64>().ok()?.checked_mul(*unit)?)?;
        let mut place = *unit;
        for decimal in decimals.chars() {
            place /= 10;
            sum = sum.checked_add(u64::from(decimal.to_digit(10)?) * place)?;
        }
        rest = behind;
    }
    Some(sum)
}

/// Writes a duration so that [`parse`] gives the same back.
pub(crate) fn format(duration: Duration) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_are_read() {
        for (text, milliseconds) in [
            ("20m0s", 1_200_000),
            ("1h30m", 5_400_000),
            ("1.5s", 1500),
            ("250ms", 250),
            ("0", 0),
        ] {
            assert_eq!(
                parse(text).unwrap(),
                Duration::from_millis(milliseconds),
                "{text}"
            );
        }
        for text in [
            "",
            "5",
            "m5",
            "5 m",
            "1d",
            "-5s",
            "1.2.3s",
            ".",
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
            assert_eq!(parse(&format(duration)).unwrap(), duration);
        }
        assert_eq!(format(Duration::from_mins(90)), "1h30m0s");
    }
}
