//! The tags that identify the resources of a stack.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

mod drift;
mod error;
mod owner;

pub use drift::TagDrift;
pub use error::TagError;
pub use owner::NOTES;

/// Tag key that holds the stack's name; every resource carries it.
pub const STACK: &str = "onspot:stack";
/// Tag key that holds the resource's purpose in its stack (`manager`, `worker`, `public-a`, …).
pub const ROLE: &str = "onspot:role";
/// Tag key that holds the name of the `[[runners]]` section that a worker serves.
pub const RUNNER: &str = "onspot:runner";
/// The tag that the AWS console shows as the resource's name.
pub const NAME: &str = "Name";

/// Longest tag key that AWS accepts, in characters.
const MAX_KEY: usize = 128;
/// Longest tag value that AWS accepts, in characters.
const MAX_VALUE: usize = 256;
/// Most tags that AWS accepts on one resource.
const MAX_TAGS: usize = 50;

/// An ordered set of tags.
///
/// Instances show their tags in the instance metadata service (IMDS), which refuses
/// some keys; [`Tags::check`] finds them before any call is made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tags(BTreeMap<String, String>);

impl Tags {
    /// No tags.
    pub fn new() -> Self {
        Self::default()
    }

    /// The one tag that every resource of `stack` has.
    pub fn of_stack(stack: &str) -> Self {
        Self::new().with(STACK, stack)
    }

    /// These tags and one more; an existing key gets the new value.
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.insert(key.into(), value.into());
        self
    }

    /// These tags with the resource's [`ROLE`].
    pub fn with_role(self, role: impl Into<String>) -> Self {
        self.with(ROLE, role)
    }

    /// These tags with the [`RUNNER`] that the resource serves.
    pub fn with_runner(self, runner: impl Into<String>) -> Self {
        self.with(RUNNER, runner)
    }

    /// These tags with the [`NAME`] that the console shows.
    pub fn with_name(self, name: impl Into<String>) -> Self {
        self.with(NAME, name)
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// The name of the stack, if the resource has one.
    pub fn stack(&self) -> Option<&str> {
        self.get(STACK)
    }

    /// The resource's purpose, if tagged.
    pub fn role(&self) -> Option<&str> {
        self.get(ROLE)
    }

    /// The runner that the resource serves, if tagged.
    pub fn runner(&self) -> Option<&str> {
        self.get(RUNNER)
    }

    /// Whether these tags include all of `wanted`, with the same values.
    pub fn contains_all(&self, wanted: &Self) -> bool {
        wanted
            .iter()
            .all(|(key, value)| self.get(key) == Some(value))
    }

    /// All tags, ordered by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// How many tags there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no tag at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks for tags that AWS would refuse on an instance whose metadata shows its tags.
    ///
    /// EC2's guide "Work with instance tags in instance metadata" allows letters, digits and
    /// `+ - = . , _ : @` in keys, and not the keys `.`, `..` and `_index`. The prefix `aws:` is
    /// reserved by AWS.
    ///
    /// # Errors
    /// The first tag that breaks a rule, or [`TagError::TooMany`].
    pub fn check(&self) -> Result<(), TagError> {
        if self.len() > MAX_TAGS {
            return Err(TagError::TooMany { count: self.len() });
        }
        self.iter()
            .try_for_each(|(key, value)| check_one(key, value))
    }
}

/// The rules for one tag; see [`Tags::check`].
fn check_one(key: &str, value: &str) -> Result<(), TagError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "+-=.,_:@".contains(c);
    let key_owned = || key.to_owned();
    if key.is_empty() || key.chars().count() > MAX_KEY {
        return Err(TagError::KeyLength { key: key_owned() });
    }
    if key.to_ascii_lowercase().starts_with("aws:") || matches!(key, "." | ".." | "_index") {
        return Err(TagError::Reserved { key: key_owned() });
    }
    if let Some(character) = key.chars().find(|c| !allowed(*c)) {
        return Err(TagError::Character {
            key: key_owned(),
            character,
        });
    }
    if value.chars().count() > MAX_VALUE {
        return Err(TagError::ValueLength { key: key_owned() });
    }
    Ok(())
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Tags {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
        )
    }
}

impl<K: Into<String>, V: Into<String>> Extend<(K, V)> for Tags {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, pairs: I) {
        self.0.extend(
            pairs
                .into_iter()
                .map(|(key, value)| (key.into(), value.into())),
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_tags_of_a_stack_are_safe_for_imds() {
        let tags = Tags::of_stack("ci")
            .with_role("worker")
            .with_runner("docker.m3")
            .with_name("x");
        assert_eq!(tags.check(), Ok(()));
        assert_eq!(tags.role(), Some("worker"));
        assert!(tags.contains_all(&Tags::of_stack("ci")));
        assert!(!tags.contains_all(&Tags::of_stack("other")));
    }

    #[test]
    fn keys_that_imds_refuses_are_named() {
        for (key, character) in [("cost centre", ' '), ("team/ci", '/'), ("größe", 'ö')] {
            let error = Tags::new().with(key, "x").check().unwrap_err();
            assert_eq!(
                error,
                TagError::Character {
                    key: key.into(),
                    character
                }
            );
        }
        for key in ["aws:x", "AWS:x", ".", "..", "_index"] {
            let error = Tags::new().with(key, "x").check().unwrap_err();
            assert_eq!(error, TagError::Reserved { key: key.into() });
        }
    }

    #[test]
    fn lengths_and_count_are_checked() {
        let long = "v".repeat(257);
        assert!(matches!(
            Tags::new().with("a", long).check(),
            Err(TagError::ValueLength { .. })
        ));
        assert!(matches!(
            Tags::new().with("", "").check(),
            Err(TagError::KeyLength { .. })
        ));
        let many: Tags = (0..51).map(|n| (format!("k{n}"), "")).collect();
        assert_eq!(many.check(), Err(TagError::TooMany { count: 51 }));
    }

    proptest! {
        #[test]
        fn a_checked_key_has_neither_space_nor_slash(key in ".{0,140}") {
            if Tags::new().with(key.clone(), "").check().is_ok() {
                prop_assert!(!key.contains([' ', '/']));
                prop_assert!(!key.is_empty() && key.len() <= MAX_KEY);
            }
        }
    }
}
