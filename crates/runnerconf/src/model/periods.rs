//! Periods, which three tables have in common.

use jiff::tz::TimeZone;
use onspot_notation::{Cron, Periods};

use crate::error::ConfigError;
use crate::render::Entries;
use crate::section::Section;

/// A time zone by name; `None` for the host's own.
pub(super) fn zone(
    section: &mut Section<'_>,
    key: &'static str,
) -> Result<Option<TimeZone>, ConfigError> {
    Ok(section
        .parsed(key, |name| Ok(Periods::zone(name)?))?
        .flatten())
}

/// Writes both keys.
pub(super) fn put(
    entries: &mut Entries,
    [periods, timezone]: [&str; 2],
    crons: &[Cron],
    zone: Option<&TimeZone>,
) {
    let texts: Vec<String> = crons.iter().map(ToString::to_string).collect();
    entries.put_strings(periods, &texts);
    let name = zone.and_then(TimeZone::iana_name);
    entries.put_some(timezone, name.map(str::to_owned));
}
