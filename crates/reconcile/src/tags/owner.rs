//! The tags that a stack's owner wants on all resources, in addition to onspot's own.

use std::collections::BTreeMap;

use super::{MAX_TAGS, MAX_VALUE, NAME, TagError, Tags, check_one};

/// Prefix of the tag keys that list, separated by spaces, the keys of the owner's tags. So tags
/// that are no longer wanted are known to be ours and can be removed. There is more than one such
/// tag if a single value is too short for all.
pub const NOTES: &str = "onspot:tags";
/// The tags that onspot itself may give a resource: stack, role, runner, content and name.
const OURS: usize = 5;
/// Prefix of all of onspot's tag keys.
const PREFIX: &str = "onspot:";

impl Tags {
    /// These tags of a stack's owner, with the [`NOTES`] listing their keys. Empty if there are
    /// none.
    pub fn noted(mut self) -> Self {
        let mut notes: Vec<String> = Vec::new();
        for key in self.0.keys() {
            match notes.last_mut() {
                Some(note) if note.chars().count() + 1 + key.chars().count() <= MAX_VALUE => {
                    note.push(' ');
                    note.push_str(key);
                }
                _ => notes.push(key.clone()),
            }
        }
        let notes = (1..).zip(notes).map(|(number, note)| match number {
            1 => (NOTES.to_owned(), note),
            _ => (format!("{NOTES}.{number}"), note),
        });
        self.extend(notes);
        self
    }

    /// Checks the tags of a stack's owner: for tags that [`Tags::check`] refuses, that any service
    /// used by onspot refuses (IAM and SSM accept no comma in keys and fewer characters in values,
    /// and IAM ignores case), and that would collide with onspot's own.
    ///
    /// # Errors
    /// The first tag that breaks a rule, or a [`TagError`] about two keys or the number of tags.
    pub fn check_of_owner(&self) -> Result<(), TagError> {
        let mut seen: BTreeMap<String, &str> = BTreeMap::new();
        for (key, value) in self.iter() {
            check_one_of_owner(key, value)?;
            if let Some(other) = seen.insert(key.to_lowercase(), key) {
                let (key, other) = (key.to_owned(), other.to_owned());
                return Err(TagError::Twice { key, other });
            }
        }
        // The notes count towards AWS's limit too.
        let count = self.clone().noted().len() + OURS;
        if count > MAX_TAGS {
            let most = (MAX_TAGS + self.len()).saturating_sub(count);
            return Err(TagError::TooManyOfOwner {
                count: self.len(),
                most,
            });
        }
        Ok(())
    }
}

/// The rules for one tag of an owner; see [`Tags::check_of_owner`].
fn check_one_of_owner(key: &str, value: &str) -> Result<(), TagError> {
    check_one(key, value)?;
    let key_owned = || key.to_owned();
    if key == NAME || key.to_ascii_lowercase().starts_with(PREFIX) {
        return Err(TagError::Ours { key: key_owned() });
    }
    if key.contains(',') {
        let (key, character) = (key_owned(), ',');
        return Err(TagError::Character { key, character });
    }
    let allowed = |c: char| c.is_alphanumeric() || " _.:/=+-@".contains(c);
    match value.chars().find(|c| !allowed(*c)) {
        Some(character) => Err(TagError::ValueCharacter {
            key: key_owned(),
            character,
        }),
        None if value.trim() != value => Err(TagError::ValueCharacter {
            key: key_owned(),
            character: ' ',
        }),
        None => Ok(()),
    }
}

/// Whether a tag is one of the [`NOTES`].
pub(super) fn is_note(key: &str) -> bool {
    key.strip_prefix(NOTES)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::STACK;

    #[test]
    fn unwanted_tags_of_an_owner_are_removed_and_those_of_others_stay() {
        let owner = |pairs: &[(&str, &str)]| {
            let tags: Tags = pairs.iter().copied().collect();
            let mut all = tags.noted();
            all.extend([(STACK, "ci")]);
            all
        };
        let before = owner(&[("CostCenter", "ci"), ("Team", "a")]);
        let found = before.clone().with("theirs", "x").with("aws:y", "z");
        assert!(before.drift(&found).is_empty());

        let wanted = owner(&[("CostCenter", "dev")]);
        let drift = wanted.drift(&found);
        assert_eq!(drift.removed_keys().collect::<Vec<_>>(), ["Team"]);
        let after = wanted.clone().with("theirs", "x").with("aws:y", "z");
        assert_eq!(drift.after(), after);
        let change = |old: &str, new: &str| (old.to_owned(), new.to_owned());
        let shown: Vec<_> = drift.details();
        let shown: Vec<_> = shown.into_iter().map(|(_, old, new)| (old, new)).collect();
        assert_eq!(shown, [change("ci", "dev"), change("a", "(none)")]);
        assert!(wanted.drift(&drift.after()).is_empty());

        // Nothing of the owner's is left, and no note about it.
        let none = Tags::of_stack("ci").drift(&drift.after());
        assert_eq!(
            none.after(),
            Tags::of_stack("ci").with("theirs", "x").with("aws:y", "z")
        );
    }

    #[test]
    fn notes_of_many_keys_take_more_than_one_tag() {
        let key = |n: usize| format!("{n:0>60}");
        let many: Tags = (0..9).map(|n| (key(n), "")).collect();
        let noted = many.clone().noted();
        assert_eq!(noted.len(), 9 + 3);
        assert_eq!(noted.check(), Ok(()));
        let drift = Tags::new().drift(&noted);
        assert_eq!(drift.remove(), &noted);
        assert_eq!(Tags::new().noted(), Tags::new());
    }

    #[test]
    fn an_owners_tags_must_suit_every_service() {
        let refused = |key: &str, value: &str| {
            let tags = Tags::new().with(key, value);
            let error = tags.check_of_owner().unwrap_err();
            assert_eq!(error.key(), Some(key), "{error}");
            assert!(error.hint().is_some(), "{error}");
            error.to_string()
        };
        for (key, value, said) in [
            ("cost centre", "x", "has ' '"),
            ("a/b", "x", "has '/'"),
            ("a,b", "x", "has ','"),
            ("aws:x", "x", "reserved by AWS"),
            ("Onspot:stack", "x", "onspot's own"),
            ("Name", "x", "onspot's own"),
            ("..", "x", "reserved"),
            ("a", "1 & 2", "has '&'"),
            ("a", " x", "has ' '"),
            ("", "x", "1 to 128"),
        ] {
            let error = refused(key, value);
            assert!(error.contains(said), "{key:?}: {error}");
        }
        assert!(refused("a", &"v".repeat(257)).contains("longer than 256"));
        let twins: Tags = [("Team", "a"), ("team", "b")].into_iter().collect();
        assert!(matches!(
            twins.check_of_owner(),
            Err(TagError::Twice { .. })
        ));
        let fine = Tags::new()
            .with("CostCenter", "ci / größe 1")
            .with("team:x@y", "");
        assert_eq!(fine.check_of_owner(), Ok(()));
    }

    #[test]
    fn an_owners_tags_leave_room_for_onspots() {
        let tags = |count: usize| -> Tags { (0..count).map(|n| (format!("k{n}"), "v")).collect() };
        assert_eq!(tags(44).check_of_owner(), Ok(()));
        let error = tags(45).check_of_owner().unwrap_err();
        assert_eq!(
            error,
            TagError::TooManyOfOwner {
                count: 45,
                most: 44
            }
        );
    }
}
