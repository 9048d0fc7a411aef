//! What jobs inherit: `default`, `variables`, `inherit`.

use serde_json::{Map, Value};

use super::error::CiError;
use super::parts;
use super::read::Node;
use super::spec::Selection;
use crate::variable::Variable;

/// Keywords that a job inherits from `default:`.
const DEFAULTS: [&str; 13] = [
    "before_script",
    "image",
    "services",
    "after_script",
    "cache",
    "interruptible",
    "timeout",
    "retry",
    "tags",
    "artifacts",
    "hooks",
    "id_tokens",
    "identity",
];
/// Those that are also allowed at the top level.
const TOP_LEVEL: [&str; 5] = [
    "before_script",
    "image",
    "services",
    "after_script",
    "cache",
];

/// The defaults and variables for all jobs.
pub(super) struct Globals {
    /// `default:` merged with its keywords at the top level.
    defaults: Map<String, Value>,
    pub(super) variables: Vec<Variable>,
}

impl Globals {
    pub(super) fn read(root: &Map<String, Value>) -> Result<Self, CiError> {
        let mut defaults = Map::new();
        for key in TOP_LEVEL {
            if let Some(value) = root.get(key) {
                defaults.insert(key.to_owned(), value.clone());
            }
        }
        if let Some(value) = root.get("default") {
            let node = Node::new(value, "default");
            node.only_keys(&DEFAULTS)?;
            for (key, value) in node.mapping()? {
                defaults.insert(key.clone(), value.clone());
            }
        }
        let variables = match root.get("variables") {
            Some(value) if !value.is_null() => parts::variables(&Node::new(value, "variables"))?,
            _ => Vec::new(),
        };
        Ok(Self {
            defaults,
            variables,
        })
    }
}

/// `inherit:` of a job.
pub(super) struct Inherit {
    default: Selection,
    pub(super) variables: Selection,
}

impl Inherit {
    pub(super) fn read(job: &Node<'_>) -> Result<Self, CiError> {
        let Some(inherit) = job.get("inherit") else {
            return Ok(Self {
                default: Selection::All,
                variables: Selection::All,
            });
        };
        inherit.only_keys(&["default", "variables"])?;
        let default = inherit.optional("default", |node| selection(node, Some(&DEFAULTS)))?;
        let variables = inherit.optional("variables", |node| selection(node, None))?;
        Ok(Self {
            default: default.unwrap_or(Selection::All),
            variables: variables.unwrap_or(Selection::All),
        })
    }

    /// The job with the inherited defaults that it does not set itself.
    pub(super) fn defaults(&self, job: &Node<'_>, globals: &Globals) -> Result<Value, CiError> {
        let mut joined = job.mapping()?.clone();
        for (key, value) in &globals.defaults {
            let is_set = joined.get(key).is_some_and(|own| !own.is_null());
            if self.default.includes(key) && !is_set {
                joined.insert(key.clone(), value.clone());
            }
        }
        Ok(Value::Object(joined))
    }

    /// The global variables that the job inherits.
    pub(super) fn global_variables(&self, globals: &Globals) -> Vec<Variable> {
        let taken = globals.variables.iter();
        taken
            .filter(|variable| self.variables.includes(&variable.key))
            .cloned()
            .collect()
    }
}

/// Read which defaults or variables a job inherits.
fn selection(node: &Node<'_>, known: Option<&[&str]>) -> Result<Selection, CiError> {
    match node.value {
        Value::Bool(true) => return Ok(Selection::All),
        Value::Bool(false) => return Ok(Selection::Nothing),
        Value::Array(_) => {}
        _ => return Err(node.error("should be a bool or array of strings")),
    }
    let names = node.strings()?;
    let is_unknown = |name: &&str| known.is_some_and(|known| !known.contains(name));
    let unknown: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .filter(is_unknown)
        .collect();
    if !unknown.is_empty() {
        let unknown = unknown.join(", ");
        return Err(node.error(format!("config contains unknown values: {unknown}")));
    }
    Ok(Selection::These(names))
}
