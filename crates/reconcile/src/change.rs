//! One change to one resource.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What will happen to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It does not exist and will be created.
    Create,
    /// It exists and will be changed in place.
    Update,
    /// It exists, cannot be changed in place, and will be created anew.
    Replace,
    /// It exists and will be removed.
    Delete,
    /// It exists as desired.
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

/// One field of a resource, before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// The field's name in AWS's terms, for example `cidr`.
    pub field: String,
    /// Its present value; `None` if it is not set.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub old: Option<String>,
    /// Its new value; `None` if it is removed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub new: Option<String>,
}

/// What will happen to one resource, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What will happen.
    pub kind: ChangeKind,
    /// The kind of resource in words, for example `launch template`.
    pub resource: String,
    /// The resource's name in its stack.
    pub name: String,
    /// The id in AWS, once the resource exists.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<String>,
    /// The fields that matter for this change.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub details: Vec<Detail>,
}

impl Change {
    /// What is done to what, in one line: `create VPC ci`.
    pub fn title(&self) -> String {
        format!("{} {} {}", self.kind, self.resource, self.name)
    }

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

    /// A resource that will be created.
    pub fn create(resource: impl Into<String>, name: impl Into<String>) -> Self {
        Self::new(ChangeKind::Create, resource, name)
    }

    /// A resource that will be changed in place.
    pub fn update(resource: impl Into<String>, name: impl Into<String>) -> Self {
        Self::new(ChangeKind::Update, resource, name)
    }

    /// A resource that will be created anew.
    pub fn replace(resource: impl Into<String>, name: impl Into<String>) -> Self {
        Self::new(ChangeKind::Replace, resource, name)
    }

    /// A resource that will be removed.
    pub fn delete(resource: impl Into<String>, name: impl Into<String>) -> Self {
        Self::new(ChangeKind::Delete, resource, name)
    }

    /// A resource that is as desired.
    pub fn keep(resource: impl Into<String>, name: impl Into<String>) -> Self {
        Self::new(ChangeKind::Keep, resource, name)
    }

    /// Adds the id in AWS.
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Adds a field whose value changes.
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

    /// Adds a field that gets a value.
    pub fn setting(mut self, field: impl Into<String>, new: impl Into<String>) -> Self {
        self.details.push(Detail {
            field: field.into(),
            old: None,
            new: Some(new.into()),
        });
        self
    }
}
