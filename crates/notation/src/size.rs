//! Sizes of memory and disks in Docker's notation.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Malformed;

/// A size in Docker's notation: `512m`, `1.5g`, `2GiB`, or bytes without a unit. The units are
/// binary, as Docker's for memory. Keeps its text as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Size {
    text: String,
    bytes: u64,
}

impl Size {
    /// The size in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The text as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Size {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let bytes = bytes(text).ok_or_else(|| {
            Malformed::new(text, "is no size", "write for example \"512m\" or \"1.5g\"")
        })?;
        Ok(Self {
            text: text.to_owned(),
            bytes,
        })
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The number times the unit, rounded down to whole bytes.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let end = text
        .find(|c: char| c != '.' && !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor: u64 = match unit.strip_prefix(' ').unwrap_or(unit) {
        "" | "b" => 1,
        "k" | "kb" | "ki" | "kib" => 1 << 10,
        "m" | "mb" | "mi" | "mib" => 1 << 20,
        "g" | "gb" | "gi" | "gib" => 1 << 30,
        "t" | "tb" | "ti" | "tib" => 1 << 40,
        "p" | "pb" | "pi" | "pib" => 1 << 50,
        _ => return None,
    };
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let mut sum = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    if !decimals.bytes().all(|b| b.is_ascii_digit()) || (decimals.is_empty() && end > whole.len()) {
        return None;
    }
    // Nine decimals are exact to the byte for every sensible size.
    let decimals = format!("{:0<9}", decimals.get(..9).unwrap_or(decimals));
    let share = u128::from(decimals.parse::<u64>().ok()?) * u128::from(factor) / 1_000_000_000;
    sum = sum.checked_add(u64::try_from(share).ok()?)?;
    // Docker uses signed numbers.
    i64::try_from(sum).is_ok().then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_sizes_are_read() {
        for (text, bytes) in [
            ("1024", 1024),
            ("512m", 512 << 20),
            ("1.5g", 3 << 29),
            ("1.5 gib", 3 << 29),
            ("0.5G", 1 << 29),
            ("2GB", 2 << 30),
            ("1Gi", 1 << 30),
            ("4 GiB", 4 << 30),
            ("1t", 1 << 40),
            ("100b", 100),
        ] {
            let size: Size = text.parse().unwrap();
            assert_eq!((size.bytes(), size.as_str()), (bytes, text));
        }
    }

    #[test]
    fn malformed_sizes_are_named() {
        for text in [
            "lots", "", "g", "1.g", ".5g", "1..5g", "1.5x", "-1", "1,5g", "1  g", "1.5.0g",
            "9999999t",
        ] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
