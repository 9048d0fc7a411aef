//! Durations in files: `20m0s` and `1.5h` as in Go, or `10 minutes`.
//!
//! For `#[serde(with = "onspot_settings::duration")]`.

use std::time::Duration;

use jiff::fmt::friendly::SpanParser;
use onspot_notation::{Malformed, duration};
use serde::{Deserialize, Deserializer, Serializer};

/// Means that something never happens.
const NEVER: &str = "never";

/// Reads a duration in Go's notation or in jiff's friendly format, which early versions of
/// `onspot.toml` used.
///
/// # Errors
/// If it is neither.
pub fn parse(text: &str) -> Result<Duration, Malformed> {
    let friendly = SpanParser::new();
    duration::parse(text).or_else(|malformed| {
        friendly
            .parse_unsigned_duration(text)
            .map_err(|_| malformed)
    })
}

/// Writes a duration, without parts that are zero.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&duration::brief(*value))
}

/// Reads a duration.
///
/// # Errors
/// If it is not a duration.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).map_err(|error| malformed(&error))
}

fn malformed<E: serde::de::Error>(malformed: &Malformed) -> E {
    E::custom(format!("{malformed}: {}", malformed.hint()))
}

/// An optional duration.
pub mod optional {
    use super::{Deserializer, Duration, Serializer};

    /// Writes it if present.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// If it is not a duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        super::deserialize(deserializer).map(Some)
    }
}

/// A duration, or `never`.
pub mod or_never {
    use serde::Deserialize as _;

    use super::{Deserializer, Duration, NEVER, Serializer};

    /// Writes it.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::serialize(value, serializer),
            None => serializer.serialize_str(NEVER),
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// If it is neither a duration nor `never`.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            NEVER => Ok(None),
            text => super::parse(text)
                .map(Some)
                .map_err(|error| super::malformed(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_notations_are_read() {
        for (text, seconds) in [
            ("20m0s", 1200),
            ("1.5h", 5400),
            ("40s", 40),
            ("1h 30m", 5400),
            ("10 minutes", 600),
            ("2 hours", 7200),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        let error = parse("ten minutes").unwrap_err();
        assert_eq!(error.to_string(), "`ten minutes` is no duration");
    }
}
