//! Numbers of a table.

use std::ops::RangeInclusive;

use toml::de::DeValue;

use super::value::to_value;
use super::{Complaint, Section};
use crate::error::ConfigError;

impl Section<'_> {
    /// An integer that fits a `T`.
    pub(crate) fn number<T: TryFrom<i64>>(
        &mut self,
        key: &'static str,
    ) -> Result<Option<T>, ConfigError> {
        self.whole(key, i64::MIN..=i64::MAX, Complaint::new("is out of range"))
    }

    /// An integer in a range.
    pub(crate) fn whole<T: TryFrom<i64>>(
        &mut self,
        key: &'static str,
        range: RangeInclusive<i64>,
        otherwise: Complaint,
    ) -> Result<Option<T>, ConfigError> {
        let mut found = None;
        self.whole_into(key, otherwise, |number| {
            found = T::try_from(number).ok();
            range.contains(&number) && found.is_some()
        })?;
        Ok(found)
    }

    /// Passes an integer to `take`, which may refuse it.
    pub(crate) fn whole_into(
        &mut self,
        key: &'static str,
        otherwise: Complaint,
        mut take: impl FnMut(i64) -> bool,
    ) -> Result<(), ConfigError> {
        let Some(value) = self.take(key) else {
            return Ok(());
        };
        let span = value.span();
        let DeValue::Integer(_) = value.get_ref() else {
            return Err(self.wrong_type(key, "a whole number", value.get_ref(), span));
        };
        match to_value(value.into_inner()) {
            toml::Value::Integer(number) if take(number) => Ok(()),
            _ => Err(self.bad_value(key, otherwise, span)),
        }
    }

    /// A non-negative number, with or without decimals.
    pub(crate) fn factor(&mut self, key: &'static str) -> Result<Option<f64>, ConfigError> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        let span = value.span();
        let digits = match value.get_ref() {
            DeValue::Float(float) => float.as_str(),
            DeValue::Integer(integer) => integer.as_str(),
            other => return Err(self.wrong_type(key, "a number", other, span)),
        };
        match digits.replace('_', "").parse::<f64>() {
            Ok(factor) if factor.is_finite() && factor >= 0.0 => Ok(Some(factor)),
            _ => {
                let complaint = Complaint::new("is out of range")
                    .with_hint("write a number that is not negative, for example 0.5");
                Err(self.bad_value(key, complaint, span))
            }
        }
    }
}
