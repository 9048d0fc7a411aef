//! `only:` and `except:`, the older way to choose the pipelines of a job.

use super::error::CiError;
use super::expression::{Expression, literal_regex};
use super::read::Node;
use super::tree::{Situation, has_changed};
use crate::expand::{Unknown, in_text};

/// The content of `only` or `except`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Policy {
    /// Names of branches and tags, patterns, and keywords for kinds of pipelines.
    refs: Option<Vec<String>>,
    variables: Option<Vec<Expression>>,
    changes: Option<Vec<String>>,
}

/// Read `only`; by default it is limited to branches and tags.
pub(super) fn only(node: &Node<'_>) -> Result<Policy, CiError> {
    let mut policy = except(node)?;
    let both = || vec!["branches".to_owned(), "tags".to_owned()];
    policy.refs.get_or_insert_with(both);
    Ok(policy)
}

/// Read `except`.
pub(super) fn except(node: &Node<'_>) -> Result<Policy, CiError> {
    if !node.value.is_object() {
        let wrong = "has to be either an array of conditions or a hash";
        let refs = node.string_or_strings().map_err(|_| node.error(wrong))?;
        return Ok(Policy {
            refs: Some(refs),
            variables: None,
            changes: None,
        });
    }
    node.only_keys(&["refs", "kubernetes", "variables", "changes"])?;
    if let Some(kubernetes) = node.get("kubernetes") {
        return Err(kubernetes.error("is not supported by this server: it knows no cluster"));
    }
    let wrong = || node.error("variables invalid expression syntax");
    let expressions = node.optional("variables", |variables| {
        let texts = variables.strings()?;
        let texts = texts.iter();
        texts
            .map(|text| Expression::parse(text).ok_or_else(wrong))
            .collect()
    });
    Ok(Policy {
        refs: node.optional("refs", Node::string_or_strings)?,
        variables: expressions?,
        changes: node.optional("changes", Node::strings)?,
    })
}

impl Policy {
    /// Whether all its clauses hold.
    pub(super) fn all_hold(&self, situation: Situation<'_>) -> bool {
        self.clauses(situation).into_iter().flatten().all(|so| so)
    }

    /// Whether any of its clauses holds.
    pub(super) fn any_holds(&self, situation: Situation<'_>) -> bool {
        self.clauses(situation).into_iter().flatten().any(|so| so)
    }

    fn clauses(&self, situation: Situation<'_>) -> [Option<bool>; 3] {
        let refs = self.refs.as_ref();
        let variables = self.variables.as_ref();
        let changes = self.changes.as_ref();
        [
            refs.map(|refs| refs.iter().any(|one| is_ref(one, situation))),
            variables.map(|all| all.iter().any(|one| one.holds(situation.variables))),
            changes.map(|patterns| {
                let patterns = patterns.iter();
                let patterns: Vec<String> = patterns
                    .map(|text| in_text(text, situation.variables, Unknown::Stay))
                    .collect();
                let changed = situation.tree.changed.as_deref();
                changed.is_none_or(|changed| has_changed(changed, &patterns))
            }),
        ]
    }
}

/// Does this name, pattern or keyword match the pipeline's ref or kind?
fn is_ref(pattern: &str, situation: Situation<'_>) -> bool {
    let variable = |name: &str| situation.variables.get(name).map_or("", String::as_str);
    // `pattern@project` limits it to this project. A regular expression may itself contain an `@`.
    let cut = if pattern.starts_with('/') {
        pattern.rfind("/@").map(|slash| slash + 1)
    } else {
        pattern.find('@')
    };
    let (pattern, project) = cut.map_or((pattern, None), |at| {
        (&pattern[..at], Some(&pattern[at + 1..]))
    });
    if project.is_some_and(|project| project != variable("CI_PROJECT_PATH")) {
        return false;
    }
    let source = variable("CI_PIPELINE_SOURCE");
    match pattern {
        "branches" => !situation.tag,
        "tags" => situation.tag,
        "merge_requests" => source == "merge_request_event",
        _ if pattern == source || pattern.strip_suffix('s') == Some(source) => true,
        _ if pattern == format!("{source}es") => true,
        _ => match literal_regex(pattern) {
            Some(regex) => regex.is_match(situation.git_ref),
            None => pattern == situation.git_ref,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::super::tree::Tree;
    use super::*;

    /// Whether a policy's clauses all hold, and whether any does, for a push to `main`.
    fn judged(policy: &Value) -> (bool, bool) {
        let text = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            let pairs = pairs.iter();
            pairs
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect()
        };
        let variables = text(&[
            ("CI_PIPELINE_SOURCE", "push"),
            ("CI_PROJECT_PATH", "root/app"),
            ("FOLDER", "docs"),
        ]);
        let tree = Tree {
            changed: Some(vec!["docs/a.md".to_owned()]),
            ..Tree::default()
        };
        let situation = Situation {
            variables: &variables,
            tree: &tree,
            git_ref: "main",
            tag: false,
        };
        let policy = except(&Node::new(policy, "jobs:job:only")).expect("a policy");
        (policy.all_hold(situation), policy.any_holds(situation))
    }

    #[test]
    fn names_patterns_and_words_mean_refs() {
        for one in [
            "main",
            "branches",
            "pushes",
            "push",
            "/^ma/",
            "main@root/app",
            "/^ma/@root/app",
            "/^(ma|a@b)/",
        ] {
            assert_eq!(judged(&json!([one])), (true, true), "{one}");
        }
        for one in [
            "other",
            "tags",
            "web",
            "/^x/",
            "main@root/other",
            "merge_requests",
        ] {
            assert_eq!(judged(&json!([one])), (false, false), "{one}");
        }
    }

    #[test]
    fn several_clauses_are_all_needed_or_one_is_enough() {
        let changes = json!({"refs": ["main"], "changes": ["$FOLDER/*"]});
        assert_eq!(judged(&changes), (true, true));
        let variables = json!({"refs": ["main"], "variables": ["$NO", "$FOLDER == \"src\""]});
        assert_eq!(judged(&variables), (false, true));
    }

    #[test]
    fn only_defaults_to_branches_and_tags() {
        let said = json!({"variables": ["$A"]});
        let policy = only(&Node::new(&said, "jobs:job:only")).expect("a policy");
        assert_eq!(policy.refs.expect("refs"), ["branches", "tags"]);
    }

    #[test]
    fn errors_name_the_key() {
        let wrong = |said: Value| {
            let read = except(&Node::new(&said, "jobs:job:except"));
            read.expect_err("no policy").to_string()
        };
        assert_eq!(
            wrong(json!({"when": "always"})),
            "jobs:job:except config contains unknown keys: when"
        );
        assert_eq!(
            wrong(json!([{}])),
            "jobs:job:except has to be either an array of conditions or a hash"
        );
        assert_eq!(
            wrong(json!({"variables": ["A is b"]})),
            "jobs:job:except variables invalid expression syntax"
        );
        assert!(wrong(json!({"kubernetes": "active"})).contains("is not supported"));
    }
}
