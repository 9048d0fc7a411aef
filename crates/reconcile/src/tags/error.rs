//! Tags that AWS or onspot would refuse.

use super::{MAX_KEY, MAX_TAGS, MAX_VALUE};

/// A tag that AWS would refuse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// A character that the instance metadata service does not allow in a key.
    #[error("tag key {key:?} has {character:?}, which instance metadata does not allow")]
    Character {
        /// The key.
        key: String,
        /// The first refused character.
        character: char,
    },
    /// An empty key, or one of more than 128 characters.
    #[error("tag key {key:?} must have 1 to {MAX_KEY} characters")]
    KeyLength {
        /// The key.
        key: String,
    },
    /// A value of more than 256 characters.
    #[error("the value of tag {key:?} is longer than {MAX_VALUE} characters")]
    ValueLength {
        /// The key of the value.
        key: String,
    },
    /// A character that some service does not allow in a value, or a space at an end of it.
    #[error("the value of tag {key:?} has {character:?} where AWS does not allow it")]
    ValueCharacter {
        /// The key of the value.
        key: String,
        /// The refused character.
        character: char,
    },
    /// A key that onspot uses itself.
    #[error("tag key {key:?} is onspot's own")]
    Ours {
        /// The key.
        key: String,
    },
    /// Two keys that only differ in case.
    #[error("tags {other:?} and {key:?} are one and the same for IAM")]
    Twice {
        /// The second key.
        key: String,
        /// The first one.
        other: String,
    },
    /// A key reserved by AWS.
    #[error("tag key {key:?} is reserved by AWS")]
    Reserved {
        /// The key.
        key: String,
    },
    /// More tags of an owner than fit next to onspot's own.
    #[error("{count} tags are too many: beside onspot's own AWS has room for {most}")]
    TooManyOfOwner {
        /// How many there are.
        count: usize,
        /// How many there may be.
        most: usize,
    },
    /// More tags than a resource may have.
    #[error("{count} tags are too many: AWS allows {MAX_TAGS} on one resource")]
    TooMany {
        /// How many there are.
        count: usize,
    },
}

impl TagError {
    /// The key of the refused tag, if the error is about one tag.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Character { key, .. }
            | Self::ValueCharacter { key, .. }
            | Self::KeyLength { key }
            | Self::ValueLength { key }
            | Self::Reserved { key }
            | Self::Ours { key }
            | Self::Twice { key, .. } => Some(key),
            Self::TooMany { .. } | Self::TooManyOfOwner { .. } => None,
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::ValueCharacter { .. } => {
                Some("use letters, digits, inner spaces and _ . : / = + - @ in values".into())
            }
            Self::Ours { .. } => Some("choose another key".into()),
            Self::Twice { .. } => Some("remove one of them".into()),
            Self::Character { .. } => Some(
                "use letters, digits and + - = . _ : @ in tag keys, no spaces and no '/'".into(),
            ),
            Self::Reserved { .. } => Some("choose another key".into()),
            Self::KeyLength { .. } | Self::ValueLength { .. } => Some("shorten it".into()),
            Self::TooMany { .. } | Self::TooManyOfOwner { .. } => {
                Some("remove some of the tags".into())
            }
        }
    }
}
