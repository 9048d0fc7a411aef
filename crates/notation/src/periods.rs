//! Recurring times: cron expressions and their time zone.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::{Cron, Malformed};

/// Recurring times: every moment at which one of the cron expressions holds in the time zone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Periods {
    expressions: Vec<Cron>,
    #[serde(default, with = "jiff::fmt::serde::tz::optional")]
    zone: Option<TimeZone>,
}

impl Periods {
    /// The times of `expressions` in `zone`, by default the host's. Without an expression there are
    /// none.
    pub fn new(expressions: Vec<Cron>, zone: Option<TimeZone>) -> Self {
        Self { expressions, zone }
    }

    /// The expressions and their time zone; `None` for the host's own.
    pub fn into_parts(self) -> (Vec<Cron>, Option<TimeZone>) {
        (self.expressions, self.zone)
    }

    /// Whether this moment is one of them.
    pub fn hold(&self, at: Timestamp) -> bool {
        let zone = self.zone.clone().unwrap_or_else(TimeZone::system);
        let local = zone.to_datetime(at);
        self.expressions.iter().any(|cron| cron.holds(local))
    }

    /// Looks up a time zone such as `Europe/Berlin`; `None` for the host's own, `Local`.
    ///
    /// # Errors
    /// If there is no such zone.
    pub fn zone(name: &str) -> Result<Option<TimeZone>, Malformed> {
        if name.is_empty() || name == "Local" {
            return Ok(None);
        }
        TimeZone::get(name).map(Some).map_err(|_| {
            let hint = "write one of the IANA's names, for example \"Europe/Berlin\" or \"UTC\"";
            Malformed::new(name, "is no time zone", hint)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_period_follows_its_zone_through_the_year() {
        let cron = Cron::seven("* * 10-17 * * * *").unwrap();
        let berlin = Periods::new(vec![cron], Periods::zone("Europe/Berlin").unwrap());
        for (text, holds) in [
            ("2017-01-01T16:30:00Z", true),
            ("2017-07-01T16:30:00Z", false),
            ("2017-01-01T14:30:00Z", true),
            ("2017-07-01T08:00:00Z", true),
            ("2017-01-01T20:30:00Z", false),
        ] {
            assert_eq!(berlin.hold(at(text)), holds, "{text}");
        }
    }

    #[test]
    fn one_of_several_expressions_is_enough_and_without_any_it_never_holds() {
        let crons = ["* 8-9 * * *", "* 20 * * *"].map(|text| Cron::five(text).unwrap());
        let utc = Periods::zone("UTC").unwrap();
        let periods = Periods::new(crons.to_vec(), utc.clone());
        assert!(periods.hold(at("2026-01-01T20:59:59Z")));
        assert!(!periods.hold(at("2026-01-01T21:00:00Z")));
        assert!(!Periods::new(Vec::new(), utc).hold(at("2026-01-01T20:00:00Z")));
    }

    #[test]
    fn an_unknown_zone_is_named() {
        let error = Periods::zone("Europe/Berln").unwrap_err();
        assert_eq!(error.to_string(), "`Europe/Berln` is no time zone");
        assert_eq!(Periods::zone("Local"), Ok(None));
    }

    #[test]
    fn periods_survive_a_round_trip() {
        let cron = Cron::five("* 8-15 * * mon-fri").unwrap();
        let periods = Periods::new(vec![cron], Periods::zone("Europe/Berlin").unwrap());
        let text = serde_json::to_string(&periods).unwrap();
        assert_eq!(serde_json::from_str::<Periods>(&text).unwrap(), periods);
    }
}
