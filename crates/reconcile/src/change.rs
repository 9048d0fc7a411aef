//! One change to one resource.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is to happen to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It does not exist and will be made.
    Create,
    /// It exists and will be changed where it is.
    Update,
    /// It exists, cannot be changed where it is, and will be made anew.
    Replace,
    /// It exists and will be removed.
    Delete,
    /// It exists as wanted.
    Keep,
}

impl ChangeKind {
    /// The mark before a line of a plan, three characters wide.
    pub(crate) fn mark(self) -> &'static str {
        match self {
            Self::Create => "  +",
            Self::Update => "  ~",
            Self::Replace => "-/+",
            Self::Delete => "  -",
            Self::Keep => "  =",
        }
    }

    /// Whether something has to be done.
    pub fn acts(self) -> bool {
        self != Self::Keep
    }
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Replace => "replace",
            Self::Delete => "delete",
            Self::Keep => "keep",
        })
    }
}

/// One field of a resource, as it is and as it will be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// The field's name in AWS's terms, for example `cidr`.
    pub field: String,
    /// What it is now; `None` where there is nothing yet.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub old: Option<String>,
    /// What it will be; `None` where it goes away.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub new: Option<String>,
}

/// What is to happen to one resource, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What is to happen.
    pub kind: ChangeKind,
    /// The kind of resource in words, for example `launch template`.
    pub resource: String,
    /// The resource's name in its stack.
    pub name: String,
    /// AWS's id, once the resource exists.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<String>,
    /// The fields that matter for this change.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub details: Vec<Detail>,
}

impl Change {
    /// A change without details.
    pub fn new(kind: ChangeKind, resource: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            kind,
            resource: resource.into(),
            name: name.into(),
            id: None,
            details: Vec::new(),
        }
    }

    /// A resource that will be made.
    pub fn create(resource: impl Into<String>, name: impl Into<String>) -> Self {
        Self::new(ChangeKind::Create, resource, name)
    }

    /// A resource that will be changed where it is.
    pub fn update(resource: impl Into<String>, name: impl Into<String>) -> Self {
        Self::new(ChangeKind::Update, resource, name)
    }

    /// A resource that will be made anew.
    pub fn replace(resource: impl Into<String>, name: impl Into<String>) -> Self {
        Self::new(ChangeKind::Replace, resource, name)
    }

    /// A resource that will be removed.
    pub fn delete(resource: impl Into<String>, name: impl Into<String>) -> Self {
        Self::new(ChangeKind::Delete, resource, name)
    }

    /// A resource that is as wanted.
    pub fn keep(resource: impl Into<String>, name: impl Into<String>) -> Self {
        Self::new(ChangeKind::Keep, resource, name)
    }

    /// The same with AWS's id.
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// The same with a field that has a value now and will have another.
    pub fn changing(
        mut self,
        field: impl Into<String>,
        old: impl Into<String>,
        new: impl Into<String>,
    ) -> Self {
        let (field, old, new) = (field.into(), Some(old.into()), Some(new.into()));
        self.details.push(Detail { field, old, new });
        self
    }

    /// The same with a field that gets a value.
    pub fn setting(mut self, field: impl Into<String>, new: impl Into<String>) -> Self {
        self.details.push(Detail {
            field: field.into(),
            old: None,
            new: Some(new.into()),
        });
        self
    }
}
