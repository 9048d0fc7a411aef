//! The variables by which a job chooses how it is run, read as GitLab Runner reads them: a value
//! that makes no sense counts as unset, and the trace says so.

use onspot_gitlab::Variables;
use onspot_settings::boolean;

/// The range of the variables that say how often something is tried.
const ATTEMPTS: std::ops::RangeInclusive<i64> = 1..=10;

/// The job's choices, and what its author should know about them.
#[derive(Debug)]
pub(super) struct Choices<'a> {
    variables: &'a Variables,
    warnings: Vec<String>,
}

impl<'a> Choices<'a> {
    pub(super) fn new(variables: &'a Variables) -> Self {
        Self {
            variables,
            warnings: Vec::new(),
        }
    }

    pub(super) fn into_warnings(self) -> Vec<String> {
        self.warnings
    }

    pub(super) fn warn(&mut self, text: String) {
        self.warnings.push(text);
    }

    /// A value; an empty one counts as unset.
    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        let value = self.variables.get(key).map(str::trim);
        value.filter(|value| !value.is_empty())
    }

    /// One of several words.
    pub(super) fn one_of<T: Copy>(&mut self, key: &str, words: &[(&str, T)], default: T) -> T {
        let Some(text) = self.text(key) else {
            return default;
        };
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return *value;
        }
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        self.ignored(key, text, &words.join(", "));
        default
    }

    /// True or false.
    pub(super) fn flag(&mut self, key: &str, default: bool) -> bool {
        let Some(text) = self.text(key) else {
            return default;
        };
        boolean(text).unwrap_or_else(|| {
            self.ignored(key, text, "true, false");
            default
        })
    }

    /// A whole number; one below zero counts as zero.
    pub(super) fn number(&mut self, key: &str, default: u32) -> u32 {
        let Some(text) = self.text(key) else {
            return default;
        };
        if let Ok(number) = text.parse::<i64>() {
            return u32::try_from(number.max(0)).unwrap_or(u32::MAX);
        }
        self.ignored(key, text, "a whole number");
        default
    }

    /// How often something is tried.
    pub(super) fn attempts(&mut self, key: &str) -> u32 {
        let wanted = i64::from(self.number(key, 1));
        let within = wanted.clamp(*ATTEMPTS.start(), *ATTEMPTS.end());
        if within != wanted {
            self.warn(format!(
                "{key} is {wanted}; it can be 1 to 10, and {within} is used"
            ));
        }
        u32::try_from(within).unwrap_or(1)
    }

    /// A list of words. Quotes have no meaning, as in GitLab Runner.
    pub(super) fn words(&self, key: &str) -> Vec<String> {
        split(self.text(key).unwrap_or_default())
    }

    /// A list of flags: unset means the default, `none` means none at all.
    pub(super) fn flags(&self, key: &str, default: &str) -> Vec<String> {
        match self.text(key) {
            None => split(default),
            Some("none") => Vec::new(),
            Some(flags) => split(flags),
        }
    }

    fn ignored(&mut self, key: &str, value: &str, possible: &str) {
        self.warn(format!(
            "{key} is {value:?} and is ignored; it can be: {possible}"
        ));
    }
}

fn split(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use onspot_gitlab::Variable;

    fn variables(value: &str) -> Variables {
        Variables::resolve([Variable::public("X", value)])
    }

    #[test]
    fn nonsense_counts_as_unset_and_is_said() {
        let nonsense = variables("maybe");
        let mut choices = Choices::new(&nonsense);
        assert!(choices.flag("X", true) && !choices.flag("X", false));
        assert_eq!(choices.number("X", 7), 7);
        assert_eq!(choices.one_of("X", &[("a", 1), ("b", 2)], 3), 3);
        let warnings = choices.into_warnings();
        assert_eq!(warnings.len(), 4);
        assert_eq!(
            warnings[3],
            "X is \"maybe\" and is ignored; it can be: a, b"
        );
    }

    #[test]
    fn attempts_stay_in_their_range() {
        let cases = [
            ("0", 1, 1),
            ("3", 3, 0),
            ("11", 10, 1),
            ("-2", 1, 1),
            ("", 1, 0),
        ];
        for (text, attempts, warnings) in cases {
            let given = variables(text);
            let mut choices = Choices::new(&given);
            assert_eq!(choices.attempts("X"), attempts, "{text}");
            assert_eq!(choices.into_warnings().len(), warnings, "{text}");
        }
    }

    #[test]
    fn flags_are_words_without_quotes() {
        let given = variables(" -ffdx  -e 'a ");
        let choices = Choices::new(&given);
        assert_eq!(choices.flags("X", "-d"), ["-ffdx", "-e", "'a"]);
        assert_eq!(choices.flags("Y", "-d -e"), ["-d", "-e"]);
        assert!(Choices::new(&variables("none")).flags("X", "-d").is_empty());
    }
}
