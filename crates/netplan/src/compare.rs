//! What the comparisons of all resources share. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;

use onspot_reconcile::{Change, Tags};

use crate::plan::{Action, PlannedStep, Resource};
use crate::spec::Desired;
use crate::{Error, Found, Role};

/// The comparison in the making.
pub(crate) struct Diff<'a> {
    pub(crate) desired: &'a Desired,
    /// The ids of what is there.
    pub(crate) ids: BTreeMap<Role, String>,
    /// The tags of what is there, by id.
    pub(crate) tags: &'a BTreeMap<String, Tags>,
    pub(crate) steps: Vec<PlannedStep>,
}

impl Diff<'_> {
    /// The one resource with this role.
    pub(crate) fn one<'b, T>(
        &self,
        all: &'b [Found<T>],
        role: &Role,
    ) -> Result<Option<&'b Found<T>>, Error> {
        let mut with_role = all.iter().filter(|found| found.role.as_ref() == Some(role));
        let (first, second) = (with_role.next(), with_role.next());
        if second.is_none() {
            return Ok(first);
        }
        let claiming = all.iter().filter(|found| found.role.as_ref() == Some(role));
        Err(Error::Ambiguous {
            stack: self.desired.spec.stack.clone(),
            role: role.to_string(),
            ids: claiming.map(|found| found.id.clone()).collect(),
        })
    }

    /// Whether a step so far creates or replaces this part.
    pub(crate) fn makes(&self, role: &Role) -> bool {
        let mut actions = self.steps.iter().flat_map(|step| &step.actions);
        actions.any(|action| matches!(action, Action::Create(made) if made == role))
    }

    /// The change that makes a part.
    pub(crate) fn create(&self, role: &Role) -> Change {
        Change::create(role.resource(), self.name(role))
    }

    pub(crate) fn name(&self, role: &Role) -> String {
        role.name(&self.desired.spec.stack)
    }

    /// Keeps a part as it is, or mends it if there is something to mend.
    pub(crate) fn keep_or_update(&mut self, role: &Role, id: &str, mut fix: Fix) {
        let (resource, name) = (role.resource(), self.name(role));
        self.fix_tags(role, id, &mut fix);
        let mut change = if fix.actions.is_empty() {
            Change::keep(resource, name)
        } else {
            Change::update(resource, name)
        };
        for (field, old, new) in fix.details {
            change = change.changing(field, old, new);
        }
        self.push(change.with_id(id), fix.actions);
    }

    /// Adds to `fix` the tags that differ from those the resource would be created with now.
    fn fix_tags(&self, role: &Role, id: &str, fix: &mut Fix) {
        let Some(found) = self.tags.get(id) else {
            return;
        };
        let drift = self.desired.tags(role).drift(found);
        if drift.is_empty() {
            return;
        }
        let details = drift.details().into_iter();
        fix.details
            .extend(details.map(|(field, old, new)| (Cow::Owned(field), old, new)));
        let id = id.to_owned();
        fix.actions.push(Action::Tag { id, drift });
    }

    pub(crate) fn push(&mut self, change: Change, actions: Vec<Action>) {
        self.steps.push(step(change, actions));
    }

    /// Adds steps that have to wait until no instance uses their resource any more.
    pub(crate) fn push_late(&mut self, steps: impl IntoIterator<Item = PlannedStep>) {
        let late = steps.into_iter();
        self.steps
            .extend(late.map(|step| PlannedStep { late: true, ..step }));
    }
}

/// What is wrong with a resource, and the calls that mend it.
#[derive(Default)]
pub(crate) struct Fix {
    details: Vec<(Cow<'static, str>, String, String)>,
    actions: Vec<Action>,
}

impl Fix {
    pub(crate) fn add(
        &mut self,
        field: &'static str,
        old: &str,
        new: &str,
        actions: impl IntoIterator<Item = Action>,
    ) {
        self.details
            .push((field.into(), old.to_owned(), new.to_owned()));
        self.actions.extend(actions);
    }
}

/// A step that need not wait for instances.
pub(crate) fn step(change: Change, actions: Vec<Action>) -> PlannedStep {
    PlannedStep {
        change,
        actions,
        late: false,
    }
}

/// One deletion for each of `found`.
pub(crate) fn deletions<'a, T: 'a>(
    stack: &str,
    found: impl IntoIterator<Item = &'a Found<T>>,
    kind: &'static str,
    resource: impl Fn(&T) -> Resource,
) -> Vec<PlannedStep> {
    let deletion = |found: &Found<T>| {
        let role = found.role.as_ref();
        let name = role.map_or_else(|| found.id.clone(), |role| role.name(stack));
        let delete = Action::Delete {
            resource: resource(&found.state),
            id: found.id.clone(),
        };
        step(Change::delete(kind, name).with_id(&found.id), vec![delete])
    };
    found.into_iter().map(deletion).collect()
}
