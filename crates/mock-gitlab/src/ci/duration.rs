//! Durations in configurations: `1h 30m`, `3 mins 4 sec`, `3600`.

use std::time::Duration;

/// Seconds in a unit, by any of GitLab's names for it.
fn unit(name: &str) -> Option<f64> {
    Some(match name {
        "" | "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3600.0,
        "d" | "day" | "days" => 86_400.0,
        "w" | "wk" | "week" | "weeks" => 604_800.0,
        "mo" | "mos" | "month" | "months" => 2_592_000.0,
        "y" | "yr" | "yrs" | "year" | "years" => 31_536_000.0,
        _ => return None,
    })
}

/// Parse a duration; `None` if it is not one.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let text = text.trim().to_lowercase();
    let mut rest = text.as_str();
    let mut seconds = 0.0;
    let mut any = false;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        rest = rest.strip_prefix("and ").unwrap_or(rest);
        if rest.is_empty() {
            break;
        }
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest
            .find(|c: char| !c.is_alphabetic())
            .unwrap_or(rest.len());
        seconds += number * unit(&rest[..letters])?;
        rest = &rest[letters..];
        any = true;
    }
    (any && seconds > 0.0)
        .then(|| Duration::try_from_secs_f64(seconds).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        let seconds = |text| parse(text).map(|duration| duration.as_secs());
        assert_eq!(seconds("3600"), Some(3600));
        assert_eq!(seconds("1h 30m"), Some(5400));
        assert_eq!(seconds("3 hours and 30 minutes"), Some(12_600));
        assert_eq!(seconds("2h20min"), Some(8400));
        assert_eq!(seconds("1 week"), Some(604_800));
        assert_eq!(seconds("10 bananas"), None);
        assert_eq!(seconds("never"), None);
        assert_eq!(seconds(""), None);
        assert_eq!(seconds("0s"), None);
    }
}
