//! An ordered list of changes, as data, as text for people, and as JSON.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Change, ChangeKind, Detail};

/// The widest line that a plan prints, in characters.
const WIDTH: usize = 80;
/// The widest column of resource kinds, in characters.
const MAX_RESOURCE: usize = 24;

/// What will happen, in the order in which it will happen.
///
/// `Display` is for people and at most 80 columns wide; resources that are kept are counted but not
/// listed. The serialised form is complete.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The changes, in order.
    pub changes: Vec<Change>,
}

/// How many changes of each kind a plan has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Resources that will be created.
    pub create: usize,
    /// Resources that will be changed in place.
    pub update: usize,
    /// Resources that will be created anew.
    pub replace: usize,
    /// Resources that will be removed.
    pub delete: usize,
    /// Resources that stay as they are.
    pub keep: usize,
}

impl Plan {
    /// A plan without any change.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing has to be done; resources that are kept do not count.
    pub fn is_empty(&self) -> bool {
        self.acting().next().is_none()
    }

    /// The changes that do something.
    pub fn acting(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| change.kind.acts())
    }

    /// Appends one change.
    pub fn push(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// Appends all changes of another plan, after these.
    pub fn merge(&mut self, other: Self) {
        self.changes.extend(other.changes);
    }

    /// How many changes of each kind there are.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for change in &self.changes {
            match change.kind {
                ChangeKind::Create => summary.create += 1,
                ChangeKind::Update => summary.update += 1,
                ChangeKind::Replace => summary.replace += 1,
                ChangeKind::Delete => summary.delete += 1,
                ChangeKind::Keep => summary.keep += 1,
            }
        }
        summary
    }
}

impl FromIterator<Change> for Plan {
    fn from_iter<I: IntoIterator<Item = Change>>(changes: I) -> Self {
        Self {
            changes: changes.into_iter().collect(),
        }
    }
}

impl Extend<Change> for Plan {
    fn extend<I: IntoIterator<Item = Change>>(&mut self, changes: I) {
        self.changes.extend(changes);
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widest = self
            .acting()
            .map(|change| change.resource.chars().count())
            .max();
        let column = widest.unwrap_or(0).min(MAX_RESOURCE);
        for change in self.acting() {
            let resource = clipped(&change.resource, column);
            let head = format!(
                "{} {:<7}  {resource:<column$}  ",
                change.kind.mark(),
                change.kind
            );
            let room = WIDTH - head.chars().count();
            // Where AWS has no ids, the name is the id and is not repeated.
            let id = change.id.as_ref().filter(|id| **id != change.name);
            let both = id.map(|id| format!("{} ({id})", change.name));
            let fitting = both.filter(|text| text.chars().count() <= room);
            let name = fitting.as_ref().unwrap_or(&change.name);
            writeln!(f, "{head}{}", clipped(name, room))?;
            if let (None, Some(id)) = (&fitting, id) {
                writeln!(f, "{}", clipped(&format!("               id: {id}"), WIDTH))?;
            }
            for detail in &change.details {
                let line = format!("               {detail}");
                writeln!(f, "{}", clipped(&line, WIDTH))?;
            }
        }
        if !self.is_empty() {
            writeln!(f)?;
        }
        writeln!(f, "{}", self.summary())
    }
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = &self.field;
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => write!(f, "{field}: {old} -> {new}"),
            (Some(old), None) => write!(f, "{field}: {old} -> (none)"),
            (None, Some(new)) => write!(f, "{field}: {new}"),
            (None, None) => write!(f, "{field}"),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            create,
            update,
            replace,
            delete,
            keep,
        } = self;
        if create + update + replace + delete == 0 {
            return match keep {
                0 => write!(f, "Nothing to do."),
                1 => write!(f, "Nothing to do: the one resource is as wanted."),
                _ => write!(f, "Nothing to do: {keep} resources are as wanted."),
            };
        }
        write!(
            f,
            "{create} to create, {update} to update, {replace} to replace, "
        )?;
        write!(f, "{delete} to delete, {keep} unchanged.")
    }
}

/// `text` cut to one line of at most `width` characters; `…` marks the cut.
fn clipped(text: &str, width: usize) -> String {
    let line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if line.chars().count() <= width {
        return line;
    }
    let kept: String = line.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn example() -> Plan {
        let mut plan = Plan::new();
        plan.push(Change::keep("vpc", "onspot-ci").with_id("vpc-1"));
        plan.push(Change::create("subnet", "onspot-ci-public-a").setting("cidr", "10.0.0.0/20"));
        plan.push(
            Change::update("launch template", "onspot-ci-manager")
                .with_id("lt-0a1b2c3d4e5f60718")
                .changing("instance type", "t3.micro", "t3.small")
                .changing("user data", "a".repeat(64), "b".repeat(64)),
        );
        plan.push(Change::replace("nat gateway", "onspot-ci-a"));
        plan.push(Change::delete(
            "bucket",
            "onspot-ci-123456789012-eu-central-1-".repeat(3),
        ));
        plan
    }

    #[test]
    fn people_read_it() {
        insta::assert_snapshot!(example().to_string());
    }

    #[test]
    fn programs_read_it() {
        insta::assert_json_snapshot!(example());
    }

    #[test]
    fn kept_resources_are_no_work() {
        let plan: Plan = [Change::keep("vpc", "x"), Change::keep("subnet", "y")]
            .into_iter()
            .collect();
        assert!(plan.is_empty());
        assert_eq!(
            plan.to_string(),
            "Nothing to do: 2 resources are as wanted.\n"
        );
    }

    fn change() -> impl Strategy<Value = Change> {
        let kind = prop_oneof![
            Just(ChangeKind::Create),
            Just(ChangeKind::Update),
            Just(ChangeKind::Replace),
            Just(ChangeKind::Delete),
            Just(ChangeKind::Keep),
        ];
        (
            kind,
            ".{0,60}",
            ".{0,120}",
            ".{0,120}",
            proptest::option::of(".{0,40}"),
        )
            .prop_map(|(kind, resource, name, value, id)| Change {
                id,
                ..Change::new(kind, resource, name).changing("field", value, "new")
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn no_line_is_wider_than_a_terminal(changes in prop::collection::vec(change(), 0..8)) {
            let plan: Plan = changes.into_iter().collect();
            for line in plan.to_string().lines() {
                prop_assert!(line.chars().count() <= WIDTH, "{line:?}");
            }
        }

        #[test]
        fn json_holds_the_whole_plan(changes in prop::collection::vec(change(), 0..8)) {
            let plan: Plan = changes.into_iter().collect();
            let json = serde_json::to_string(&plan).unwrap();
            prop_assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan);
        }
    }
}
