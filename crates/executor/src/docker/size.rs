//! Sizes and shares as `config.toml` writes them.

use onspot_notation::{Cpus, Size};

/// Bytes from Docker's notation: `512m`, `1.5g`, `1024`.
pub(super) fn bytes(text: &str) -> Option<i64> {
    i64::try_from(text.parse::<Size>().ok()?.bytes()).ok()
}

/// Billionths of a processor from a decimal number: `1.5`.
pub(super) fn nano_cpus(text: &str) -> Option<i64> {
    Some(text.parse::<Cpus>().ok()?.billionths())
}

/// A size for people: `1.5 GiB`.
pub(super) fn shown(bytes: u64) -> String {
    let (unit, name) = if bytes >= 1 << 30 {
        (1_u64 << 30, "GiB")
    } else {
        (1 << 20, "MiB")
    };
    let tenths = bytes.saturating_mul(10) / unit;
    match tenths % 10 {
        0 => format!("{} {name}", tenths / 10),
        tenth => format!("{}.{tenth} {name}", tenths / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_shown_as_people_say_them() {
        let sizes = [64 << 20, 3 << 29, 4 << 30, (1 << 30) - 1].map(shown);
        assert_eq!(sizes, ["64 MiB", "1.5 GiB", "4 GiB", "1023.9 MiB"]);
    }

    #[test]
    fn dockers_notations_are_understood() {
        for (text, expected) in [
            ("1024", Some(1024)),
            ("512m", Some(512 << 20)),
            ("2GB", Some(2 << 30)),
            ("1Gi", Some(1 << 30)),
            ("1.5g", Some(3 << 29)),
            ("1.5 gib", Some(3 << 29)),
            ("100b", Some(100)),
            ("lots", None),
            ("-1", None),
            ("1.5.0g", None),
            ("9999999999t", None),
            ("", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
        for (text, expected) in [
            ("2", Some(2_000_000_000)),
            ("0.5", Some(500_000_000)),
            ("x", None),
            ("1.x", None),
            ("-1", None),
        ] {
            assert_eq!(nano_cpus(text), expected, "{text}");
        }
    }
}
