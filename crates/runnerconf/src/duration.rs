//! Durations as GitLab Runner's Go code writes them: `20m0s`, `1h30m`, `1.5s`.

use std::time::Duration;

use crate::section::Complaint;

/// Units of Go's `time.ParseDuration`, in nanoseconds, the longer spelling of a prefix first.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("μs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
];

/// Reads a duration, for example `1h30m`; `0` needs no unit.
pub(crate) fn parse(text: &str) -> Result<Duration, Complaint> {
    let wrong = || {
        Complaint::new(format!("is `{text}`, which is no duration"))
            .with_hint("write for example \"20m0s\" or \"1h30m\"")
    };
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut nanoseconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(wrong)?;
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let unit = UNITS
            .iter()
            .find(|(unit, _)| *unit == &rest[..letters])
            .ok_or_else(wrong)?;
        nanoseconds += number * unit.1;
        rest = &rest[letters..];
    }
    if text.is_empty() {
        return Err(wrong());
    }
    Duration::try_from_secs_f64(nanoseconds / 1e9).map_err(|_| wrong())
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
        for text in ["", "5", "m5", "5 m", "1d", "-5s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_come_back() {
        for duration in [
            Duration::ZERO,
            Duration::from_secs(1200),
            Duration::from_millis(1500),
        ] {
            assert_eq!(parse(&format(duration)).unwrap(), duration);
        }
        assert_eq!(format(Duration::from_secs(5400)), "1h30m0s");
    }
}
