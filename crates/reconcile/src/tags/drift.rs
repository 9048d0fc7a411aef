//! The difference between a resource's tags and the desired ones.

use super::Tags;
use super::owner::is_note;
use crate::Change;

impl Tags {
    /// The changes to a resource with the tags `found` so that it gets these: some are set, and
    /// tags that the owner once wanted according to [`NOTES`](super::NOTES) are removed. Tags set
    /// by others stay.
    pub fn drift(&self, found: &Self) -> TagDrift {
        let set = self
            .iter()
            .filter(|(key, value)| found.get(key) != Some(value));
        let noted = found.iter().filter(|(key, _)| is_note(key));
        let ours = noted.flat_map(|(note, keys)| keys.split(' ').chain([note]));
        // An edited note must not remove tags of AWS or wanted ones.
        let ours = ours.filter(|key| !key.starts_with("aws:") && self.get(key).is_none());
        let remove = ours.filter_map(|key| Some((key, found.get(key)?)));
        TagDrift {
            set: set.collect(),
            remove: remove.collect(),
            before: found.clone(),
        }
    }
}

/// The difference between a resource's tags and the desired ones: see [`Tags::drift`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TagDrift {
    set: Tags,
    remove: Tags,
    before: Tags,
}

impl TagDrift {
    /// Whether the tags are the desired ones.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }

    /// The tags to set: missing ones and those with another value.
    pub fn set(&self) -> &Tags {
        &self.set
    }

    /// The keys to remove.
    pub fn removed_keys(&self) -> impl Iterator<Item = &str> {
        self.remove.iter().map(|(key, _)| key)
    }

    /// The tags to remove.
    pub fn remove(&self) -> &Tags {
        &self.remove
    }

    /// All resulting tags, for services that set all of them at once.
    pub fn after(&self) -> Tags {
        let kept = self.before.iter();
        let kept = kept.filter(|(key, _)| self.remove.get(key).is_none());
        kept.chain(self.set.iter()).collect()
    }

    /// The changes for a plan, as field, old and new value. The notes are only listed if nothing
    /// else changes.
    pub fn details(&self) -> Vec<(String, String, String)> {
        const NONE: &str = "(none)";
        let shown = |(key, _): &(&str, &str)| !is_note(key);
        let set = self.set.iter().filter(shown).map(|(key, new)| {
            let old = self.before.get(key).unwrap_or(NONE);
            (format!("tag {key}"), old.to_owned(), new.to_owned())
        });
        let remove = self
            .remove
            .iter()
            .filter(shown)
            .map(|(key, old)| (format!("tag {key}"), old.to_owned(), NONE.to_owned()));
        let details: Vec<_> = set.chain(remove).collect();
        if details.is_empty() && !self.is_empty() {
            return vec![("tags".into(), "incomplete".into(), "complete".into())];
        }
        details
    }

    /// Adds the [`details`](Self::details) to `change`.
    pub fn shown_in(&self, change: Change) -> Change {
        self.details()
            .into_iter()
            .fold(change, |change, (field, old, new)| {
                change.changing(field, old, new)
            })
    }
}
