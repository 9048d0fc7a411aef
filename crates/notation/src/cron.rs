//! Cron expressions, read as periods: an expression holds at every moment that all its fields
//! match.

use std::fmt;
use std::str::FromStr;

use jiff::civil::DateTime;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Malformed;

mod field;

use field::{Days, Field, Unit, Weekdays};

/// A cron expression of five fields (minute, hour, day, month, weekday) or seven (with a second in
/// front and a year at the end).
///
/// Where both day and weekday are restricted, either is enough, as in cron.
#[derive(Debug, Clone, PartialEq)]
pub struct Cron {
    text: String,
    second: Field,
    minute: Field,
    hour: Field,
    day: Days,
    month: Field,
    weekday: Weekdays,
    year: Field,
}

impl Cron {
    /// Parses five fields, as in `[[runners.autoscaler.policy]] periods`; holds for whole minutes.
    ///
    /// # Errors
    /// If the text is not such an expression.
    pub fn five(text: &str) -> Result<Self, Malformed> {
        let hint = "write five fields: minute hour day month weekday, for example \
                    \"* 8-15 * * mon-fri\"";
        match text.split_whitespace().collect::<Vec<_>>()[..] {
            [minute, hour, day, month, weekday] => {
                Self::read(text, ["*", minute, hour, day, month, weekday, "*"])
            }
            ref fields => Err(count(fields.len())),
        }
        .map_err(|flaw| Malformed::new(text, format!("is no period: {flaw}"), hint))
    }

    /// Parses seven fields, as in `[[runners.machine.autoscaling]] Periods`.
    ///
    /// # Errors
    /// If the text is not such an expression.
    pub fn seven(text: &str) -> Result<Self, Malformed> {
        let hint = "write seven fields: second minute hour day month weekday year, for example \
                    \"* * 9-17 * * mon-fri *\"";
        let fields: Vec<&str> = text.split_whitespace().collect();
        <[&str; 7]>::try_from(fields)
            .map_err(|fields| count(fields.len()))
            .and_then(|fields| Self::read(text, fields))
            .map_err(|flaw| Malformed::new(text, format!("is no period: {flaw}"), hint))
    }

    fn read(text: &str, fields: [&str; 7]) -> Result<Self, String> {
        let [second, minute, hour, day, month, weekday, year] = fields;
        Ok(Self {
            text: text.to_owned(),
            second: Field::read(second, &Unit::SECOND)?,
            minute: Field::read(minute, &Unit::MINUTE)?,
            hour: Field::read(hour, &Unit::HOUR)?,
            day: Days::read(day)?,
            month: Field::read(month, &Unit::MONTH)?,
            weekday: Weekdays::read(weekday)?,
            year: Field::read(year, &Unit::YEAR)?,
        })
    }

    /// The expression with seven fields; one with five holds at any second and in any year.
    #[must_use]
    pub fn in_seven_fields(mut self) -> Self {
        if self.text.split_whitespace().count() == 5 {
            self.text = format!("* {} *", self.text.trim());
        }
        self
    }

    /// Whether it holds at this moment in its time zone.
    pub fn holds(&self, at: DateTime) -> bool {
        let number = |value: i8| u16::try_from(value).unwrap_or(0);
        self.second.has(number(at.second()))
            && self.minute.has(number(at.minute()))
            && self.hour.has(number(at.hour()))
            && self.month.has(number(at.month()))
            && self.year.has(u16::try_from(at.year()).unwrap_or(0))
            && self.has_day(at)
    }

    fn has_day(&self, at: DateTime) -> bool {
        match (self.day.is_any(), self.weekday.is_any()) {
            (true, _) => self.weekday.has(at.date()),
            (_, true) => self.day.has(at.date()),
            (false, false) => self.day.has(at.date()) || self.weekday.has(at.date()),
        }
    }

    /// The text as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn count(found: usize) -> String {
    format!("it has {found} fields")
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Parses five fields or seven.
impl FromStr for Cron {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        match text.split_whitespace().count() {
            7 => Self::seven(text),
            _ => Self::five(text),
        }
    }
}

impl Serialize for Cron {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Cron {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
