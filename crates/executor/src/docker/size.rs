//! Sizes and shares as `config.toml` writes them.

/// Bytes from Docker's notation: `512m`, `2g`, `1024`.
pub(super) fn bytes(text: &str) -> Option<i64> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_suffix('b').unwrap_or(&text);
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: i64 = match &text[digits.len()..] {
        "" => 1,
        "k" | "ki" => 1 << 10,
        "m" | "mi" => 1 << 20,
        "g" | "gi" => 1 << 30,
        "t" | "ti" => 1 << 40,
        _ => return None,
    };
    digits.trim().parse::<i64>().ok()?.checked_mul(factor)
}

/// Billionths of a processor from a decimal number: `1.5`. Read digit by digit, for a share must
/// not be rounded.
pub(super) fn nano_cpus(text: &str) -> Option<i64> {
    let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    let fraction: i64 = format!("{fraction:0<9}").parse().ok()?;
    whole.checked_mul(1_000_000_000)?.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_notations_are_understood() {
        for (text, expected) in [
            ("1024", Some(1024)),
            ("512m", Some(512 << 20)),
            ("2GB", Some(2 << 30)),
            ("1Gi", Some(1 << 30)),
            ("lots", None),
            ("", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
        for (text, expected) in [
            ("2", Some(2_000_000_000)),
            ("0.5", Some(500_000_000)),
            ("x", None),
            ("1.x", None),
        ] {
            assert_eq!(nano_cpus(text), expected, "{text}");
        }
    }
}
