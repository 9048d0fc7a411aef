//! `rules:`: whether a job belongs to a pipeline, and with what changes.

use super::auto_cancel::{self, AutoCancel};
use super::error::CiError;
use super::expression::Expression;
use super::read::Node;
use super::spec::{Changes, JobSpec, Rule, When};
use super::tree::{Situation, has_changed};
use super::{needs, parts};
use crate::expand::{Unknown, in_text};
use crate::variable::Variable;

/// GitLab's maximum of patterns per clause.
const MAX_PATTERNS: usize = 50;
/// GitLab allows rules nested in lists up to this depth.
const MAX_NESTING: usize = 10;

/// Where rules are used, which decides which keywords they may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Job,
    Workflow,
    Include,
}

impl Scope {
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Job => &[
                "if",
                "changes",
                "exists",
                "when",
                "start_in",
                "allow_failure",
                "variables",
                "needs",
                "interruptible",
            ],
            Self::Workflow => &[
                "if",
                "changes",
                "exists",
                "when",
                "start_in",
                "allow_failure",
                "variables",
                "needs",
                "auto_cancel",
            ],
            Self::Include => &["if", "changes", "exists", "when"],
        }
    }

    fn whens(self) -> &'static [When] {
        match self {
            Self::Job => &[
                When::OnSuccess,
                When::OnFailure,
                When::Always,
                When::Never,
                When::Manual,
            ],
            Self::Workflow | Self::Include => &[When::Always, When::Never],
        }
    }
}

/// The outcome of the workflow's rules for a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) variables: Vec<Variable>,
    pub(crate) auto_cancel: Option<AutoCancel>,
}

pub(super) fn read(node: &Node<'_>, scope: Scope) -> Result<Vec<Rule>, CiError> {
    let mut rules = Vec::new();
    collect(node, scope, 0, &mut rules)?;
    Ok(rules)
}

/// References may nest lists within the list.
fn collect(
    node: &Node<'_>,
    scope: Scope,
    depth: usize,
    rules: &mut Vec<Rule>,
) -> Result<(), CiError> {
    let wrong = "config should be an array containing hashes and arrays of hashes";
    let members = node.list().map_err(|_| node.error(wrong))?;
    for member in members {
        if member.value.is_array() && depth < MAX_NESTING {
            collect(&member, scope, depth + 1, rules)?;
        } else if member.value.is_object() {
            let place = format!("{}:rule", node.place);
            rules.push(rule(&Node::new(member.value, place), scope)?);
        } else {
            return Err(node.error(wrong));
        }
    }
    Ok(())
}

fn rule(node: &Node<'_>, scope: Scope) -> Result<Rule, CiError> {
    node.only_keys(scope.keys())?;
    if scope == Scope::Include
        && let Some(compared) = node
            .get("changes")
            .and_then(|changes| changes.get("compare_to"))
    {
        return Err(compared.error("is not supported by this server in include:rules"));
    }
    let condition = node.get("if").map(|value| {
        let text = value.value.as_str();
        text.and_then(Expression::parse)
            .ok_or_else(|| node.error("if invalid expression syntax"))
    });
    let interruptible = node.optional("interruptible", |value| {
        value
            .boolean()
            .map_err(|_| node.error("interruptible should be a boolean value"))
    });
    Ok(Rule {
        condition: condition.transpose()?,
        changes: node.optional("changes", changes)?,
        exists: node.optional("exists", exists)?,
        when: when(node, scope)?,
        allow_failure: node.optional("allow_failure", parts::allow_failure)?,
        variables: node
            .optional("variables", parts::variables)?
            .unwrap_or_default(),
        needs: node.optional("needs", needs::read)?,
        interruptible: interruptible?,
        auto_cancel: node.optional("auto_cancel", auto_cancel::read)?,
    })
}

fn when(node: &Node<'_>, scope: Scope) -> Result<Option<When>, CiError> {
    let Some(value) = node.get("when") else {
        return Ok(None);
    };
    parts::when(&value)
        .filter(|word| scope.whens().contains(word))
        .map(Some)
        .ok_or_else(|| node.error(format!("when unknown value: {}", value.shown())))
}

fn changes(node: &Node<'_>) -> Result<Changes, CiError> {
    if !node.value.is_object() {
        let paths = patterns(node)?;
        return Ok(Changes {
            paths,
            compare_to: None,
        });
    }
    node.only_keys(&["paths", "compare_to"])?;
    Ok(Changes {
        paths: patterns(&node.required("paths")?)?,
        compare_to: node.optional("compare_to", Node::string)?,
    })
}

fn exists(node: &Node<'_>) -> Result<Vec<String>, CiError> {
    if node.value.is_string() {
        return Ok(vec![node.string()?]);
    }
    if !node.value.is_object() {
        return patterns(node);
    }
    node.only_keys(&["paths", "project", "ref"])?;
    if let Some(project) = node.get("project") {
        return Err(project.error("is not supported by this server: it looks at one project only"));
    }
    patterns(&node.required("paths")?)
}

fn patterns(node: &Node<'_>) -> Result<Vec<String>, CiError> {
    let patterns = node.strings()?;
    if patterns.len() > MAX_PATTERNS {
        let problem = format!("config has too many entries (maximum {MAX_PATTERNS})");
        return Err(node.error(problem));
    }
    Ok(patterns)
}

/// A job after its rules, or `only` and `except`, are applied; `None` if it does not belong to the
/// pipeline.
pub(crate) fn evaluate(
    spec: &JobSpec,
    situation: Situation<'_>,
) -> Result<Option<JobSpec>, CiError> {
    let mut spec = spec.clone();
    if let Some(rules) = &spec.rules {
        let place = format!("Failed to parse rule for {}:", spec.name);
        let Some(rule) = first(rules, situation, &place)? else {
            return Ok(None);
        };
        let rule = rule.clone();
        spec.when = rule.when.unwrap_or(spec.when);
        spec.allow_failure = rule.allow_failure.unwrap_or(spec.allow_failure);
        spec.needs = rule.needs.or(spec.needs);
        spec.interruptible = rule.interruptible.unwrap_or(spec.interruptible);
        spec.variables
            .retain(|old| !rule.variables.iter().any(|new| new.key == old.key));
        spec.variables.extend(rule.variables);
        return Ok((spec.when != When::Never).then_some(spec));
    }
    let only = spec.only.as_ref();
    let except = spec.except.as_ref();
    let left_out = only.is_some_and(|only| !only.all_hold(situation))
        || except.is_some_and(|except| except.any_holds(situation));
    Ok((!left_out).then_some(spec))
}

/// The first rule of a workflow that holds; `None` if no pipeline is wanted.
pub(crate) fn wanted(
    rules: &[Rule],
    situation: Situation<'_>,
    place: &str,
) -> Result<Option<Wanted>, CiError> {
    let rule = first(rules, situation, place)?;
    let rule = rule.filter(|rule| rule.when != Some(When::Never));
    Ok(rule.map(|rule| Wanted {
        variables: rule.variables.clone(),
        auto_cancel: rule.auto_cancel,
    }))
}

/// The refs that the rules compare with.
pub(crate) fn compared_with<'a>(
    rules: impl IntoIterator<Item = &'a Rule>,
) -> impl Iterator<Item = &'a str> {
    let changes = rules.into_iter().filter_map(|rule| rule.changes.as_ref());
    changes.filter_map(|changes| changes.compare_to.as_deref())
}

/// The first rule all of whose clauses hold.
fn first<'a>(
    rules: &'a [Rule],
    situation: Situation<'_>,
    place: &str,
) -> Result<Option<&'a Rule>, CiError> {
    for rule in rules {
        if holds(rule, situation, place)? {
            return Ok(Some(rule));
        }
    }
    Ok(None)
}

fn holds(rule: &Rule, situation: Situation<'_>, place: &str) -> Result<bool, CiError> {
    let Situation {
        variables, tree, ..
    } = situation;
    let expanded = |patterns: &[String]| -> Vec<String> {
        let all = patterns.iter();
        all.map(|text| in_text(text, variables, Unknown::Stay))
            .collect()
    };
    if rule
        .condition
        .as_ref()
        .is_some_and(|condition| !condition.holds(variables))
    {
        return Ok(false);
    }
    if let Some(changes) = &rule.changes {
        let changed = match &changes.compare_to {
            None => tree.changed.as_deref(),
            Some(name) => {
                let name = in_text(name, variables, Unknown::Stay);
                let since = tree.changed_since.get(&name).and_then(Option::as_deref);
                let wrong = || CiError::at(place, "rules:changes:compare_to is not a valid ref");
                Some(since.ok_or_else(wrong)?)
            }
        };
        // With nothing to compare with, everything counts as changed.
        if changed.is_some_and(|paths| !has_changed(paths, &expanded(&changes.paths))) {
            return Ok(false);
        }
    }
    Ok(rule
        .exists
        .as_ref()
        .is_none_or(|patterns| tree.has_any(&expanded(patterns))))
}
