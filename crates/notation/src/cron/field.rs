//! The fields of a cron expression.

use jiff::civil::{Date, Weekday};

/// The unit that a field counts.
#[derive(Debug)]
pub(super) struct Unit {
    /// With its article where it has one: `an hour`.
    name: &'static str,
    first: u16,
    last: u16,
    /// Names of numbers, from `first_word` on.
    words: &'static [&'static str],
    first_word: u16,
}

impl Unit {
    pub(super) const SECOND: Self = Self::plain("second", 0, 59);
    pub(super) const MINUTE: Self = Self::plain("minute", 0, 59);
    pub(super) const HOUR: Self = Self::plain("hour", 0, 23);
    const DAY: Self = Self::plain("day of the month", 1, 31);
    pub(super) const MONTH: Self = Self {
        words: &[
            "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
        ],
        first_word: 1,
        ..Self::plain("month", 1, 12)
    };
    /// Sunday is 0 and 7.
    const WEEKDAY: Self = Self {
        words: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
        ..Self::plain("weekday", 0, 7)
    };
    pub(super) const YEAR: Self = Self::plain("year", 1970, 2099);

    const fn plain(name: &'static str, first: u16, last: u16) -> Self {
        Self {
            name,
            first,
            last,
            words: &[],
            first_word: 0,
        }
    }

    /// Parses a number of this unit, or its name, short or in full (`monday`).
    fn number(&self, text: &str) -> Result<u16, String> {
        let lower = text.to_ascii_lowercase();
        let full = |word: &str| lower.len() >= 3 && lower.starts_with(word);
        if lower.bytes().all(|b| b.is_ascii_alphabetic())
            && let Some(index) = self.words.iter().position(|word| full(word))
        {
            return Ok(self.first_word + u16::try_from(index).unwrap_or(0));
        }
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits && (self.first..=self.last).contains(&number) => Ok(number),
            _ => Err(self.no(text)),
        }
    }

    fn no(&self, text: &str) -> String {
        let Self {
            name, first, last, ..
        } = self;
        format!("{text:?} is no {name} ({first} to {last})")
    }
}

/// Every `step`th number from `from` to `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    from: u16,
    to: u16,
    step: u16,
}

impl Span {
    fn has(self, number: u16) -> bool {
        (self.from..=self.to).contains(&number) && (number - self.from).is_multiple_of(self.step)
    }

    /// Parses `*`, `5` or `1-5`, each with an optional step: `*/2`.
    fn read(text: &str, unit: &Unit) -> Result<Self, String> {
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => match step.parse() {
                Ok(step) if step > 0 => (range, Some(step)),
                _ => return Err(format!("{step:?} in {text:?} is no step")),
            },
            None => (text, None),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (unit.first, unit.last),
            Some((from, to)) => (unit.number(from)?, unit.number(to)?),
            // `5/10` continues to the last number.
            None if step.is_some() => (unit.number(range)?, unit.last),
            None => (unit.number(range)?, unit.number(range)?),
        };
        // `mon-sun`: Sunday is also the end of the week.
        let to = if to == 0 && from > 0 && unit.last == 7 {
            7
        } else {
            to
        };
        if from > to {
            return Err(format!("{range:?} runs backwards; split it with a comma"));
        }
        Ok(Self {
            from,
            to,
            step: step.unwrap_or(1),
        })
    }
}

/// A list of numbers and ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field(Vec<Span>);

impl Field {
    pub(super) fn read(text: &str, unit: &Unit) -> Result<Self, String> {
        let spans = text.split(',').map(|part| Span::read(part, unit));
        spans.collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn has(&self, number: u16) -> bool {
        self.0.iter().any(|span| span.has(number))
    }
}

/// Days of the month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Days {
    /// `*` or `?`.
    Any,
    Of(Vec<Day>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Day {
    Span(Span),
    /// `L`: the last day of the month.
    Last,
    /// `LW`: the last day of the month from Monday to Friday.
    LastWorkday,
    /// `15W`: the day of the same month from Monday to Friday that is nearest to the 15th.
    NearestWorkday(u16),
}

impl Days {
    pub(super) fn read(text: &str) -> Result<Self, String> {
        if matches!(text, "*" | "?") {
            return Ok(Self::Any);
        }
        let day = |part: &str| match part.to_ascii_uppercase().as_str() {
            "L" => Ok(Day::Last),
            "LW" => Ok(Day::LastWorkday),
            upper => match upper.strip_suffix('W') {
                Some(number) => Unit::DAY.number(number).map(Day::NearestWorkday),
                None => Span::read(part, &Unit::DAY).map(Day::Span),
            },
        };
        text.split(',')
            .map(day)
            .collect::<Result<_, _>>()
            .map(Self::Of)
    }

    pub(super) fn is_any(&self) -> bool {
        *self == Self::Any
    }

    pub(super) fn has(&self, date: Date) -> bool {
        match self {
            Self::Any => true,
            Self::Of(days) => days.iter().any(|day| day.has(date)),
        }
    }
}

impl Day {
    fn has(&self, date: Date) -> bool {
        match self {
            Self::Span(span) => span.has(number(date.day())),
            Self::Last => date == date.last_of_month(),
            Self::LastWorkday => date.day() == nearest_workday(date.last_of_month()),
            Self::NearestWorkday(day) => i8::try_from(*day)
                .ok()
                .and_then(|day| Date::new(date.year(), date.month(), day).ok())
                .is_some_and(|wanted| date.day() == nearest_workday(wanted)),
        }
    }
}

/// The day of the same month from Monday to Friday that is nearest to `date`.
fn nearest_workday(date: Date) -> i8 {
    match date.weekday() {
        Weekday::Saturday if date.day() == 1 => 3,
        Weekday::Saturday => date.day() - 1,
        Weekday::Sunday if date.day() == date.days_in_month() => date.day() - 2,
        Weekday::Sunday => date.day() + 1,
        _ => date.day(),
    }
}

/// Days of the week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Weekdays {
    /// `*` or `?`.
    Any,
    Of(Vec<DayOfWeek>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DayOfWeek {
    Span(Span),
    /// `5L`: the month's last Friday.
    Last(u16),
    /// `5#3`: the month's third Friday.
    Nth(u16, u16),
}

impl Weekdays {
    pub(super) fn read(text: &str) -> Result<Self, String> {
        if matches!(text, "*" | "?") {
            return Ok(Self::Any);
        }
        let day = |part: &str| {
            if let Some((day, nth)) = part.split_once('#') {
                return match nth.parse() {
                    Ok(nth @ 1..=5) => Ok(DayOfWeek::Nth(Unit::WEEKDAY.number(day)? % 7, nth)),
                    _ => Err(format!("{nth:?} in {part:?} is none of a month's weeks")),
                };
            }
            match part.strip_suffix(['l', 'L']).filter(|day| !day.is_empty()) {
                Some(day) => Ok(DayOfWeek::Last(Unit::WEEKDAY.number(day)? % 7)),
                None => Span::read(part, &Unit::WEEKDAY).map(DayOfWeek::Span),
            }
        };
        text.split(',')
            .map(day)
            .collect::<Result<_, _>>()
            .map(Self::Of)
    }

    pub(super) fn is_any(&self) -> bool {
        *self == Self::Any
    }

    pub(super) fn has(&self, date: Date) -> bool {
        match self {
            Self::Any => true,
            Self::Of(days) => days.iter().any(|day| day.has(date)),
        }
    }
}

impl DayOfWeek {
    fn has(&self, date: Date) -> bool {
        let weekday = number(date.weekday().to_sunday_zero_offset());
        match *self {
            Self::Span(span) => span.has(weekday) || (weekday == 0 && span.has(7)),
            Self::Last(day) => weekday == day && date.day() > date.days_in_month() - 7,
            Self::Nth(day, nth) => weekday == day && (number(date.day()) - 1) / 7 + 1 == nth,
        }
    }
}

fn number(value: i8) -> u16 {
    u16::try_from(value).unwrap_or(0)
}
