//! Readable sizes.

/// A readable size: `1.5 GiB`.
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
    fn sizes_are_shown_in_readable_units() {
        let sizes = [64 << 20, 3 << 29, 4 << 30, (1 << 30) - 1].map(shown);
        assert_eq!(sizes, ["64 MiB", "1.5 GiB", "4 GiB", "1023.9 MiB"]);
    }
}
