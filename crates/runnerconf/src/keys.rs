//! A table's keys as data: each with its field. One list is used to read the table, to write it and
//! to list the honoured keys. The list destructures its struct without `..`, so that a field
//! without a key does not compile.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use onspot_notation::{Cpus, Size, duration};
use onspot_settings::PullPolicy;

use crate::error::ConfigError;
use crate::render::Entries;
use crate::section::{Complaint, Section};

/// Keys with their fields, in the order in which they are written.
pub(crate) type Keys<'a> = Vec<(&'static str, Slot<'a>)>;

/// Checks a text: returns it in the form to keep, or why it is invalid.
pub(crate) type Check = fn(&str) -> Result<String, Complaint>;

/// A field, and the form of its key in a file.
pub(crate) enum Slot<'a> {
    /// A string.
    String(&'a mut Option<String>),
    /// A string that is checked.
    Text(&'a mut Option<String>, Check),
    /// A string that once had another key.
    Renamed(&'a mut Option<String>, &'static str),
    /// A path.
    Path(&'a mut Option<PathBuf>),
    /// `512m`.
    Size(&'a mut Option<Size>),
    /// `1.5`.
    Cpus(&'a mut Option<Cpus>),
    /// A list of strings; empty ones are ignored.
    Strings(&'a mut Vec<String>),
    /// A list of strings that may be empty.
    Words(&'a mut Vec<String>),
    /// A list of strings that are checked; empty ones are ignored.
    Texts(&'a mut Vec<String>, Check),
    /// A list of patterns of what is allowed; an empty pattern allows nothing.
    Patterns(&'a mut Vec<String>, Check),
    /// When images are pulled. For `pull_policy` itself GitLab Runner also accepts a single string.
    Policies(&'a mut Vec<PullPolicy>),
    /// A flag that is written if it is on.
    Flag(&'a mut bool),
    /// A flag that is always written, as in the files of 2017.
    ShownFlag(&'a mut bool),
    /// A flag that may be unset.
    Choice(&'a mut Option<bool>),
    /// A number that is written unless it is 0, GitLab Runner's "not set".
    Number(&'a mut dyn Number),
    /// A number that is always written, as in the files of 2017.
    ShownNumber(&'a mut dyn Number),
    /// An upper limit; a negative one means no limit.
    Bound(&'a mut Option<u32>),
    /// Seconds to wait; 0 means the default, -1 not to wait.
    Patience(&'a mut Option<Duration>),
    /// `1h30m`. GitLab Runner takes zero and less for "not set".
    Limit(&'a mut Option<Duration>),
    /// A table of strings.
    Map(&'a mut BTreeMap<String, String>),
    /// A table of lists of strings.
    Lists(&'a mut BTreeMap<String, Vec<String>>),
    /// A table of flags.
    Flags(&'a mut BTreeMap<String, bool>),
}

/// A whole number of any size.
pub(crate) trait Number {
    /// Sets the number; false if it is out of range.
    fn set(&mut self, number: i64) -> bool;
    /// The number, at most TOML's largest one.
    fn get(&self) -> i64;
}

impl<T: Copy + TryFrom<i64> + TryInto<i64>> Number for T {
    fn set(&mut self, number: i64) -> bool {
        T::try_from(number).map(|number| *self = number).is_ok()
    }

    fn get(&self) -> i64 {
        (*self).try_into().unwrap_or(i64::MAX)
    }
}

/// Destructures a whole struct into keys: each field with its key and [`Slot`], then the fields
/// that are filled elsewhere.
macro_rules! keys {
    ($value:expr => $of:ident {
        $($field:ident: $key:literal as $slot:ident $(($check:expr))?,)*
    } and [$($rest:ident),*]) => {{
        let $of { $($field,)* $($rest: _),* } = $value;
        vec![$(($key, $crate::keys::Slot::$slot($field $(, $check)?))),*]
    }};
}

pub(crate) use keys;

impl Slot<'_> {
    fn read(self, key: &'static str, section: &mut Section<'_>) -> Result<(), ConfigError> {
        match self {
            Self::String(value) => *value = section.string(key)?,
            Self::Text(value, check) => *value = section.parsed(key, check)?,
            Self::Renamed(value, before) => {
                let old = section.string(before)?;
                *value = section.string(key)?.or(old);
            }
            Self::Path(value) => *value = section.string(key)?.map(PathBuf::from),
            Self::Size(value) => *value = section.parsed(key, |text| Ok(text.parse()?))?,
            Self::Cpus(value) => *value = section.parsed(key, |text| Ok(text.parse()?))?,
            Self::Strings(value) => *value = section.strings(key)?,
            Self::Words(value) => *value = section.words(key)?,
            Self::Texts(value, check) => *value = section.each_parsed(key, check)?,
            Self::Patterns(value, check) => *value = section.patterns(key, check)?,
            Self::Policies(value) => *value = section.each_parsed(key, policy)?,
            Self::Flag(value) | Self::ShownFlag(value) => {
                *value = section.boolean(key)?.unwrap_or(*value);
            }
            Self::Choice(value) => *value = section.boolean(key)?,
            Self::Number(value) | Self::ShownNumber(value) => {
                let complaint = Complaint::new("is out of range");
                section.whole_into(key, complaint, |number| value.set(number))?;
            }
            Self::Bound(value) => {
                let bound = section.number::<i64>(key)?;
                *value = bound.and_then(|bound| u32::try_from(bound).ok());
            }
            Self::Patience(value) => {
                let complaint = Complaint::new("must be a number of seconds")
                    .with_hint("write -1 not to wait at all");
                section.whole_into(key, complaint, |seconds| {
                    let wait = Duration::from_secs(seconds.try_into().unwrap_or(0));
                    *value = Some(wait).filter(|_| seconds != 0);
                    seconds >= -1
                })?;
            }
            Self::Limit(value) => {
                let limit = section.parsed(key, limit)?;
                *value = limit.filter(|limit| !limit.is_zero());
            }
            Self::Map(value) => *value = section.map(key)?,
            Self::Lists(value) => *value = section.lists(key)?,
            Self::Flags(value) => *value = section.flags(key)?,
        }
        Ok(())
    }

    fn write(self, key: &'static str, entries: &mut Entries) {
        match self {
            Self::String(value) | Self::Text(value, _) | Self::Renamed(value, _) => {
                entries.put_some(key, value.take());
            }
            Self::Path(value) => {
                entries.put_some(key, value.as_ref().map(|path| path.display().to_string()));
            }
            Self::Size(value) => entries.put_some(key, value.as_ref().map(Size::as_str)),
            Self::Cpus(value) => entries.put_some(key, value.as_ref().map(Cpus::as_str)),
            Self::Strings(value)
            | Self::Words(value)
            | Self::Texts(value, _)
            | Self::Patterns(value, _) => entries.put_strings(key, value),
            Self::Policies(value) => match value.as_slice() {
                [alone] if key == "pull_policy" => entries.put(key, alone.as_str()),
                several => {
                    let words = several.iter().map(ToString::to_string);
                    entries.put_strings(key, &words.collect::<Vec<_>>());
                }
            },
            Self::Flag(value) => entries.put_flag(key, *value),
            Self::ShownFlag(value) => entries.put(key, *value),
            Self::Choice(value) => entries.put_some(key, *value),
            Self::Number(value) if value.get() == 0 => {}
            Self::Number(value) | Self::ShownNumber(value) => entries.put(key, value.get()),
            Self::Bound(value) => entries.put_some(key, value.map(i64::from)),
            Self::Patience(value) => {
                let seconds = value.map(|wait| match wait.as_secs() {
                    0 => -1,
                    seconds => i64::try_from(seconds).unwrap_or(i64::MAX),
                });
                entries.put_some(key, seconds);
            }
            Self::Limit(value) => entries.put_some(key, value.map(duration::brief)),
            Self::Map(value) => entries.put_map(key, value),
            Self::Lists(value) => entries.put_map(key, value),
            Self::Flags(value) => entries.put_map(key, value),
        }
    }
}

/// A duration in Go's notation. One below zero is none.
fn limit(text: &str) -> Result<Duration, Complaint> {
    let negative = text.trim().strip_prefix('-');
    let limit = duration::parse(negative.unwrap_or(text))
        .map_err(|error| Complaint::new(error.to_string()).with_hint(error.hint()))?;
    Ok(negative.map_or(limit, |_| Duration::ZERO))
}

fn policy(text: &str) -> Result<PullPolicy, Complaint> {
    PullPolicy::parse(text)
        .ok_or_else(|| Complaint::none_of(text, &PullPolicy::ALL.map(PullPolicy::as_str)))
}

/// Fills the fields from a table.
pub(crate) fn read(keys: Keys<'_>, section: &mut Section<'_>) -> Result<(), ConfigError> {
    let mut keys = keys.into_iter();
    keys.try_for_each(|(key, slot)| slot.read(key, section))
}

/// Writes the fields, taking their values.
pub(crate) fn write(keys: Keys<'_>, entries: &mut Entries) {
    for (key, slot) in keys {
        slot.write(key, entries);
    }
}

/// The keys' present and former names.
pub(crate) fn names(keys: &Keys<'_>) -> Vec<&'static str> {
    let before = |slot: &Slot<'_>| match slot {
        Slot::Renamed(_, before) => Some(*before),
        _ => None,
    };
    let names = keys
        .iter()
        .flat_map(|(key, slot)| [Some(*key), before(slot)]);
    names.flatten().collect()
}
