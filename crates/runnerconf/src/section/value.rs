//! TOML values without their positions.

use toml::Spanned;
use toml::de::DeValue;

/// The value without its position.
pub(super) fn to_value_of(value: Spanned<DeValue<'_>>) -> toml::Value {
    to_value(value.into_inner())
}

/// The value without its positions.
pub(crate) fn to_value(value: DeValue<'_>) -> toml::Value {
    match value {
        DeValue::String(text) => toml::Value::String(text.into_owned()),
        // The parser has checked the digits but not the range; an integer too large for TOML is
        // kept as a float.
        DeValue::Integer(integer) => {
            let digits = integer.as_str().replace('_', "");
            match i64::from_str_radix(&digits, integer.radix()) {
                Ok(number) => toml::Value::Integer(number),
                Err(_) => toml::Value::Float(digits.parse().unwrap_or(f64::INFINITY)),
            }
        }
        DeValue::Float(float) => {
            let digits = float.as_str().replace('_', "");
            toml::Value::Float(digits.parse().unwrap_or(f64::NAN))
        }
        DeValue::Boolean(boolean) => toml::Value::Boolean(boolean),
        DeValue::Datetime(datetime) => toml::Value::Datetime(datetime),
        DeValue::Array(items) => toml::Value::Array(items.into_iter().map(to_value_of).collect()),
        DeValue::Table(table) => toml::Value::Table(
            table
                .into_iter()
                .map(|(key, value)| (key.into_inner().into_owned(), to_value_of(value)))
                .collect(),
        ),
    }
}
