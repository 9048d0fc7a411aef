//! One job of the configuration, with what it inherits.

use serde_json::{Map, Value};

use super::read::Node;
use super::{
    AllowFailure, ArtifactSpec, CacheSpec, CiError, DEFAULT_TIMEOUT, ImageSpec, JobSpec, Retry,
    When, duration, parts, rules,
};
use crate::gitlab::model::Variable;

/// Keywords of a job that GitLab knows.
const KEYWORDS: [&str; 42] = [
    "script",
    "before_script",
    "after_script",
    "stage",
    "type",
    "image",
    "services",
    "variables",
    "cache",
    "artifacts",
    "tags",
    "needs",
    "dependencies",
    "allow_failure",
    "when",
    "timeout",
    "environment",
    "retry",
    "interruptible",
    "parallel",
    "rules",
    "only",
    "except",
    "hooks",
    "coverage",
    "resource_group",
    "release",
    "pages",
    "id_tokens",
    "secrets",
    "inherit",
    "identity",
    "start_in",
    "trigger",
    "dast_configuration",
    "manual_confirmation",
    "publish",
    "run",
    "inputs",
    "description",
    "extends",
    "execution",
];

/// Keywords a job takes from `default:`.
const INHERITED: [&str; 13] = [
    "image",
    "services",
    "before_script",
    "after_script",
    "cache",
    "tags",
    "artifacts",
    "retry",
    "timeout",
    "interruptible",
    "hooks",
    "id_tokens",
    "identity",
];

/// What all jobs share.
pub(super) struct Globals {
    /// `default:` joined with the keywords that may also stand at the top level.
    defaults: Map<String, Value>,
    pub(super) variables: Vec<Variable>,
}

impl Globals {
    pub(super) fn read(root: &Map<String, Value>) -> Result<Self, CiError> {
        let mut defaults = Map::new();
        for key in [
            "image",
            "services",
            "before_script",
            "after_script",
            "cache",
        ] {
            if let Some(value) = root.get(key) {
                defaults.insert(key.to_owned(), value.clone());
            }
        }
        if let Some(value) = root.get("default") {
            let node = Node::new(value, "default");
            node.only_keys(&INHERITED)?;
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

/// Read a job: one, or as many as its `parallel` says.
pub(super) fn read(name: &str, value: &Value, globals: &Globals) -> Result<Vec<JobSpec>, CiError> {
    let place = format!("jobs:{name}");
    let own = Node::new(value, &place);
    own.only_keys(&KEYWORDS)?;
    let with_defaults = inherit(&own, globals)?;
    let node = Node::new(&with_defaults, &place);
    let spec = spec(name, &node, globals)?;
    let Some(count) = parallel(&node)? else {
        return Ok(vec![spec]);
    };
    Ok((1..=count)
        .map(|index| JobSpec {
            name: format!("{name} {index}/{count}"),
            parallel: Some((index, count)),
            ..spec.clone()
        })
        .collect())
}

fn inherit(own: &Node<'_>, globals: &Globals) -> Result<Value, CiError> {
    let wanted = own
        .get("inherit")
        .and_then(|inherit| inherit.get("default"));
    let takes = |key: &str| match wanted.as_ref().map(|node| node.value) {
        None => true,
        Some(Value::Bool(all)) => *all,
        Some(Value::Array(keys)) => keys.iter().any(|wanted| wanted == key),
        Some(_) => false,
    };
    let mut joined = own.mapping()?.clone();
    for (key, value) in &globals.defaults {
        if takes(key) && !joined.contains_key(key) {
            joined.insert(key.clone(), value.clone());
        }
    }
    Ok(Value::Object(joined))
}

fn spec(name: &str, node: &Node<'_>, globals: &Globals) -> Result<JobSpec, CiError> {
    let Some(script) = node.get("script") else {
        return Err(CiError::at(
            format!("{} config", node.place),
            "should implement the script:, run:, or trigger: keyword",
        ));
    };
    let lines = |key: &str| node.get(key).map_or(Ok(Vec::new()), |value| value.script());
    let mut whole = lines("before_script")?;
    whole.extend(script.script()?);
    if whole.is_empty() {
        return Err(CiError::at(
            format!("{}:script", node.place),
            "config can't be blank",
        ));
    }
    let when = when(node)?;
    Ok(JobSpec {
        name: name.to_owned(),
        stage: stage(node)?,
        script: whole,
        after_script: lines("after_script")?,
        hooks: hooks(node)?,
        image: node
            .get("image")
            .map(|value| parts::image(&value))
            .transpose()?,
        services: optional::<Vec<ImageSpec>>(node, "services", parts::services)?
            .unwrap_or_default(),
        variables: variables(node, globals)?,
        caches: optional::<Vec<CacheSpec>>(node, "cache", parts::caches)?.unwrap_or_default(),
        artifacts: optional::<ArtifactSpec>(node, "artifacts", parts::artifacts)?,
        tags: optional(node, "tags", Node::strings)?.unwrap_or_default(),
        needs: optional(node, "needs", parts::needs)?,
        dependencies: optional(node, "dependencies", Node::strings)?,
        allow_failure: allow_failure(node, when)?,
        when,
        timeout: timeout(node)?,
        environment: optional(node, "environment", parts::environment)?,
        retry: optional::<Retry>(node, "retry", parts::retry)?.unwrap_or_default(),
        interruptible: optional(node, "interruptible", Node::boolean)?.unwrap_or(false),
        parallel: None,
        rules: optional(node, "rules", rules::read)?,
        only: refs(node, "only")?,
        except: refs(node, "except")?,
    })
}

fn optional<'a, T>(
    node: &Node<'a>,
    key: &str,
    read: impl Fn(&Node<'a>) -> Result<T, CiError>,
) -> Result<Option<T>, CiError> {
    node.get(key).map(|value| read(&value)).transpose()
}

fn stage(node: &Node<'_>) -> Result<String, CiError> {
    match node.get("stage").or_else(|| node.get("type")) {
        Some(stage) => stage.string(),
        None => Ok("test".to_owned()),
    }
}

fn when(node: &Node<'_>) -> Result<When, CiError> {
    node.get("when")
        .map_or(Ok(When::OnSuccess), |value| word_when(&value))
}

/// `when:` of a job or a rule.
pub(super) fn word_when(node: &Node<'_>) -> Result<When, CiError> {
    Ok(match node.string()?.as_str() {
        "on_success" | "delayed" => When::OnSuccess,
        "on_failure" => When::OnFailure,
        "always" => When::Always,
        "manual" => When::Manual,
        "never" => When::Never,
        _ => {
            return Err(node.error(
                "should be one of: on_success, on_failure, always, manual, delayed, never",
            ));
        }
    })
}

/// A manual job without rules does not hold the pipeline up unless it says so.
fn allow_failure(node: &Node<'_>, when: When) -> Result<AllowFailure, CiError> {
    match node.get("allow_failure") {
        Some(value) => parts::allow_failure(&value),
        None if when == When::Manual => Ok(AllowFailure::Always),
        None => Ok(AllowFailure::Never),
    }
}

fn timeout(node: &Node<'_>) -> Result<std::time::Duration, CiError> {
    let Some(value) = node.get("timeout") else {
        return Ok(DEFAULT_TIMEOUT);
    };
    duration::parse(&value.string()?).ok_or_else(|| value.error("config should be a duration"))
}

fn variables(node: &Node<'_>, globals: &Globals) -> Result<Vec<Variable>, CiError> {
    let wanted = node
        .get("inherit")
        .and_then(|inherit| inherit.get("variables"));
    let takes = |key: &str| match wanted.as_ref().map(|node| node.value) {
        None => true,
        Some(Value::Bool(all)) => *all,
        Some(Value::Array(keys)) => keys.iter().any(|wanted| wanted == key),
        Some(_) => false,
    };
    let own = optional(node, "variables", parts::variables)?.unwrap_or_default();
    let mut all: Vec<Variable> = globals
        .variables
        .iter()
        .filter(|variable| takes(&variable.key) && !own.iter().any(|v| v.key == variable.key))
        .cloned()
        .collect();
    all.extend(own);
    Ok(all)
}

fn hooks(node: &Node<'_>) -> Result<Vec<(String, Vec<String>)>, CiError> {
    let Some(hooks) = node.get("hooks") else {
        return Ok(Vec::new());
    };
    hooks.only_keys(&["pre_get_sources_script"])?;
    let script = hooks.get("pre_get_sources_script");
    let script = script.map(|value| value.script()).transpose()?;
    Ok(script
        .map(|lines| ("pre_get_sources_script".to_owned(), lines))
        .into_iter()
        .collect())
}

fn parallel(node: &Node<'_>) -> Result<Option<u64>, CiError> {
    let Some(value) = node.get("parallel") else {
        return Ok(None);
    };
    if value.value.is_object() {
        return Err(value.error("matrix is not supported by this server"));
    }
    let count = value.integer()?;
    match u64::try_from(count) {
        Ok(count @ 1..=200) => Ok(Some(count)),
        _ => Err(value.error("config should be an integer from 1 to 200")),
    }
}

/// `only` and `except` by refs: a list, or `refs:` beneath.
fn refs(node: &Node<'_>, key: &str) -> Result<Option<Vec<String>>, CiError> {
    let Some(value) = node.get(key) else {
        return Ok(None);
    };
    if value.value.is_object() {
        return value
            .get("refs")
            .map(|refs| refs.string_or_strings())
            .transpose();
    }
    Ok(Some(value.string_or_strings()?))
}
