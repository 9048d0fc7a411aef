//! Numbers of processors in the notation of Docker's `--cpus`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Malformed;

/// A number of processors, `2` or `1.5`. Keeps its text as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cpus {
    text: String,
    billionths: i64,
}

impl Cpus {
    /// Billionths of a processor, Docker's unit.
    pub fn billionths(&self) -> i64 {
        self.billionths
    }

    /// The text as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Cpus {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let billionths = billionths(text.trim()).ok_or_else(|| {
            let hint = "write a number, for example \"2\" or \"0.5\"";
            Malformed::new(text, "is no number of processors", hint)
        })?;
        Ok(Self {
            text: text.to_owned(),
            billionths,
        })
    }
}

impl Serialize for Cpus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Cpus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Parsed digit by digit, because the number must not be rounded.
fn billionths(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.len() + fraction.len() == 0
        || fraction.len() > 9
        || !digits(whole)
        || !digits(fraction)
    {
        return None;
    }
    let whole: i64 = format!("0{whole}").parse().ok()?;
    let fraction: i64 = format!("{fraction:0<9}").parse().ok()?;
    whole.checked_mul(1_000_000_000)?.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_to_the_last_digit() {
        for (text, billionths) in [
            ("2", 2_000_000_000),
            ("0.5", 500_000_000),
            (".25", 250_000_000),
            ("1.000000001", 1_000_000_001),
        ] {
            assert_eq!(text.parse::<Cpus>().unwrap().billionths(), billionths);
        }
        for text in ["two", "", ".", "1.x", "-1", "1,5", "1.0000000001"] {
            assert!(text.parse::<Cpus>().is_err(), "{text}");
        }
    }
}
