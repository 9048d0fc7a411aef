//! `include:local`: merges other files of the repository into the configuration.
//!
//! A file is merged key by key with the files that it includes. It wins over them; of them, a later
//! one wins over an earlier one. Included files may include others.

use serde_json::{Map, Value};

use super::error::CiError;
use super::read::Node;
use super::rules::{self, Scope};
use super::tree::{Situation, is_yaml};
use super::{merge, yaml};
use crate::expand::{Unknown, in_text};

/// How many files GitLab allows in one configuration.
const MAX_INCLUDES: usize = 150;
/// Kinds of includes that GitLab supports and this server does not.
const ELSEWHERE: [&str; 5] = ["project", "remote", "template", "component", "artifact"];

/// The configuration with all included files and without `include`.
pub(super) fn expand(
    root: Map<String, Value>,
    situation: Situation<'_>,
) -> Result<Map<String, Value>, CiError> {
    let mut included = 0;
    join(root, situation, &mut included)
}

fn join(
    mut root: Map<String, Value>,
    situation: Situation<'_>,
    included: &mut usize,
) -> Result<Map<String, Value>, CiError> {
    let Some(include) = root.shift_remove("include") else {
        return Ok(root);
    };
    let mut whole = Value::Object(Map::new());
    for path in locations(&Node::new(&include, "include"), situation)? {
        if *included == MAX_INCLUDES {
            let problem = format!("{MAX_INCLUDES} nested includes are allowed!");
            return Err(CiError::at("Maximum of", problem));
        }
        *included += 1;
        let inner = join(file(&path, situation)?, situation, included)?;
        merge::merge(&mut whole, &Value::Object(inner));
    }
    merge::merge(&mut whole, &Value::Object(root));
    match whole {
        Value::Object(whole) => Ok(whole),
        _ => Ok(Map::new()),
    }
}

/// The included paths, in order.
fn locations(node: &Node<'_>, situation: Situation<'_>) -> Result<Vec<String>, CiError> {
    let entries = match node.value {
        Value::Null => Vec::new(),
        Value::Array(_) => node.list()?,
        _ => vec![node.clone()],
    };
    let mut paths = Vec::new();
    for entry in entries {
        let Some(location) = location(&entry, situation)? else {
            continue;
        };
        let location = in_text(&location, situation.variables, Unknown::Vanish);
        let location = location.trim_start_matches('/');
        if location.contains('*') {
            let found = situation.tree.included_by(location);
            paths.extend(found.into_iter().map(str::to_owned));
        } else {
            paths.push(location.to_owned());
        }
    }
    Ok(paths)
}

/// The path of one entry; `None` if its rules exclude it.
fn location(entry: &Node<'_>, situation: Situation<'_>) -> Result<Option<String>, CiError> {
    if let Some(text) = entry.value.as_str() {
        if text.contains("://") {
            return Err(elsewhere("remote"));
        }
        return Ok(Some(text.to_owned()));
    }
    let mapping = entry.value.as_object();
    let mapping =
        mapping.ok_or_else(|| CiError::at("Each include", "must be a hash or a string"))?;
    if let Some(other) = ELSEWHERE.into_iter().find(|key| mapping.contains_key(*key)) {
        return Err(elsewhere(other));
    }
    let local = entry.get("local").ok_or_else(|| {
        let shown = entry.value.to_string();
        CiError::at(
            format!("`{shown}`"),
            "does not have a valid subkey for include. Valid subkeys are: `local`, `project`, \
             `remote`, `template`, `component`, `artifact`",
        )
    })?;
    if let Some(inputs) = entry.get("inputs") {
        return Err(inputs.error("are not supported by this server"));
    }
    entry.only_keys(&["local", "rules"])?;
    if let Some(rules) = entry.optional("rules", |node| rules::read(node, Scope::Include))?
        && rules::wanted(&rules, situation, "Failed to parse rule for include:")?.is_none()
    {
        return Ok(None);
    }
    let wrong =
        |shown: &Value| CiError::at(format!("Included file `{shown}`"), "needs to be a string");
    let path = local.value.as_str();
    Ok(Some(path.ok_or_else(|| wrong(local.value))?.to_owned()))
}

fn elsewhere(key: &str) -> CiError {
    CiError::at(
        format!("include:{key}"),
        "is not supported by this server: it includes files of the same repository only",
    )
}

/// The content of an included file.
fn file(path: &str, situation: Situation<'_>) -> Result<Map<String, Value>, CiError> {
    if !is_yaml(path) {
        let place = format!("Included file `{path}`");
        return Err(CiError::at(place, "does not have YAML extension!"));
    }
    let place = format!("Local file `{path}`");
    let Some(text) = situation.tree.yaml.get(path) else {
        return Err(CiError::at(place, "does not exist!"));
    };
    if text.trim().is_empty() {
        return Err(CiError::at(place, "is empty!"));
    }
    yaml::mapping(text).map_err(|error| CiError::at(format!("`{path}`:"), error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::super::tree::Tree;
    use super::*;

    fn expanded(root: &str, files: &[(&str, &str)]) -> Result<Value, String> {
        let tree = Tree {
            paths: files.iter().map(|(path, _)| (*path).to_owned()).collect(),
            yaml: files
                .iter()
                .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
                .collect(),
            ..Tree::default()
        };
        let variables = BTreeMap::from([("WHICH".to_owned(), "a".to_owned())]);
        let situation = Situation {
            variables: &variables,
            tree: &tree,
            git_ref: "main",
            tag: false,
        };
        let root = yaml::mapping(root).expect("YAML");
        let expanded = expand(root, situation).map_err(|error| error.to_string())?;
        Ok(Value::Object(expanded))
    }

    #[test]
    fn a_file_wins_over_what_it_includes_and_a_later_one_over_an_earlier_one() {
        let files = [
            ("a.yml", "job: {script: [a], image: a, variables: {A: 1}}"),
            (
                "ci/b.yml",
                "include: /ci/deep.yml\njob: {image: b, variables: {B: 1}}",
            ),
            (
                "ci/deep.yml",
                "job: {image: deep, variables: {D: 1}}\nmore: {script: m}",
            ),
        ];
        let root = "include: [a.yml, {local: /ci/b.yml}]\njob: {variables: {A: 2}}";
        assert_eq!(
            expanded(root, &files).unwrap(),
            json!({
                "job": {"script": ["a"], "image": "b", "variables": {"A": 2, "D": 1, "B": 1}},
                "more": {"script": "m"},
            })
        );
    }

    #[test]
    fn patterns_variables_and_rules_choose_files() {
        let files = [
            ("ci/a.yml", "a: {script: x}"),
            ("ci/b.yml", "b: {script: x}"),
            ("c.yml", "c: {script: x}"),
        ];
        let keys = |root: &str| {
            let root = expanded(root, &files).unwrap();
            root.as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(keys("include: 'ci/*.yml'"), ["a", "b"]);
        assert_eq!(keys("include: '/ci/$WHICH.yml'"), ["a"]);
        assert_eq!(keys("include: 'no/*.yml'\nd: 1"), ["d"]);
        let rules = "include:\n- {local: c.yml, rules: [{if: '$WHICH == \"a\"', when: never}]}\n\
                     - {local: ci/a.yml, rules: [{exists: [c.yml]}]}\n\
                     - {local: ci/b.yml, rules: [{exists: [d.yml]}]}";
        assert_eq!(keys(rules), ["a"]);
    }

    #[test]
    fn errors_name_the_file() {
        let wrong = |root: &str| {
            let files = [
                ("loop.yml", "include: loop.yml"),
                ("empty.yml", "\n"),
                ("list.yml", "- a"),
            ];
            expanded(root, &files).unwrap_err()
        };
        assert_eq!(
            wrong("include: no.yml"),
            "Local file `no.yml` does not exist!"
        );
        assert_eq!(
            wrong("include: empty.yml"),
            "Local file `empty.yml` is empty!"
        );
        assert_eq!(
            wrong("include: a.txt"),
            "Included file `a.txt` does not have YAML extension!"
        );
        assert_eq!(
            wrong("include: list.yml"),
            "`list.yml`: (<unknown>): Invalid configuration format"
        );
        assert_eq!(
            wrong("include: loop.yml"),
            "Maximum of 150 nested includes are allowed!"
        );
        assert_eq!(
            wrong("include: 7"),
            "Each include must be a hash or a string"
        );
        assert_eq!(
            wrong("include: {project: a/b, file: c.yml}"),
            "include:project is not supported by this server: it includes files of the same \
             repository only"
        );
        assert!(wrong("include: {file: c.yml}").contains("does not have a valid subkey"));
    }
}
