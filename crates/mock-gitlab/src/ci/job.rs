//! One entry of the configuration, with what it inherits, as one or several jobs.

use std::time::Duration;

use serde_json::Value;

use super::error::CiError;
use super::globals::{Globals, Inherit};
use super::matrix::{self, Variant};
use super::read::Node;
use super::spec::{AllowFailure, JobSpec, Selection, When};
use super::{duration, needs, parts, policy, rules};
use crate::variable::Variable;

/// The timeout of a job that names none: the default of a GitLab project.
const DEFAULT_TIMEOUT: Duration = Duration::from_hours(1);
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

/// Read a job: one, or as many as its `parallel` says.
pub(super) fn read(name: &str, value: &Value, globals: &Globals) -> Result<Vec<JobSpec>, CiError> {
    let place = format!("jobs:{name}");
    let own = Node::new(value, &place);
    if !own.value.is_object() {
        return Err(no_script(&own));
    }
    own.only_keys(&KEYWORDS)?;
    refused(&own)?;
    let inherit = Inherit::read(&own)?;
    let with_defaults = inherit.defaults(&own, globals)?;
    let job = Job {
        node: Node::new(&with_defaults, &place),
        inherited: inherit.global_variables(globals),
        takes: inherit.variables,
    };
    let Some(variants) = job
        .node
        .optional("parallel", |node| matrix::read(name, node))?
    else {
        return Ok(vec![job.spec(name, None)?]);
    };
    let variants = variants.iter();
    variants
        .map(|variant| job.spec(name, Some(variant)))
        .collect()
}

/// Refuse keywords that would change what runs, and that this server can't follow.
fn refused(node: &Node<'_>) -> Result<(), CiError> {
    for (key, problem) in [
        (
            "trigger",
            "is not supported by this server: it starts no downstream pipelines",
        ),
        (
            "run",
            "is not supported by this server: its jobs have scripts",
        ),
    ] {
        if let Some(value) = node.get(key) {
            return Err(value.error(problem));
        }
    }
    let ruled_out: Vec<&str> = ["only", "except", "start_in"]
        .into_iter()
        .filter(|key| node.get("rules").is_some() && node.get(key).is_some())
        .collect();
    if !ruled_out.is_empty() {
        let keys = ruled_out.join(", ");
        return Err(node.error(format!("config key may not be used with `rules`: {keys}")));
    }
    Ok(())
}

fn no_script(node: &Node<'_>) -> CiError {
    node.error("config should implement the script:, run:, or trigger: keyword")
}

/// A job with its defaults.
struct Job<'a> {
    node: Node<'a>,
    /// The global variables that it takes.
    inherited: Vec<Variable>,
    /// Which of them it takes.
    takes: Selection,
}

impl Job<'_> {
    /// The job, or one of those that `parallel` makes of it.
    fn spec(&self, name: &str, variant: Option<&Variant>) -> Result<JobSpec, CiError> {
        let node = &self.node;
        let when = when(node)?;
        let own = self.own_variables(variant)?;
        let spec = JobSpec {
            name: variant.map_or(name, |variant| &variant.name).to_owned(),
            stage: stage(node)?,
            script: script(node)?,
            after_script: lines(node, "after_script")?,
            hooks: hooks(node)?,
            image: node.optional("image", parts::image)?,
            services: node
                .optional("services", parts::services)?
                .unwrap_or_default(),
            variables: joined(self.inherited.clone(), &own),
            own_variables: own.into_iter().map(|variable| variable.key).collect(),
            inherited_variables: self.takes.clone(),
            caches: node.optional("cache", parts::caches)?.unwrap_or_default(),
            artifacts: node.optional("artifacts", parts::artifacts)?,
            tags: node.optional("tags", Node::strings)?.unwrap_or_default(),
            needs: node.optional("needs", |needs| needs::of_variant(name, needs, variant))?,
            dependencies: node.optional("dependencies", Node::strings)?,
            allow_failure: allow_failure(node, when)?,
            when,
            timeout: timeout(node)?,
            environment: node.optional("environment", parts::environment)?,
            retry: node.optional("retry", parts::retry)?.unwrap_or_default(),
            interruptible: node
                .optional("interruptible", Node::boolean)?
                .unwrap_or(false),
            resource_group: node.optional("resource_group", |group| {
                let text = group.value.as_str().map(str::to_owned);
                text.ok_or_else(|| node.error("resource group should be a string"))
            })?,
            parallel: variant.map(|variant| (variant.index, variant.total)),
            rules: node.optional("rules", |node| rules::read(node, rules::Scope::Job))?,
            only: node.optional("only", policy::only)?,
            except: node.optional("except", policy::except)?,
        };
        needs::holds(node, &spec)?;
        Ok(spec)
    }

    /// The job's own variables, overridden by those of the matrix.
    fn own_variables(&self, variant: Option<&Variant>) -> Result<Vec<Variable>, CiError> {
        let own = self.node.optional("variables", parts::variables)?;
        let of_matrix: Vec<_> = variant
            .into_iter()
            .flat_map(Variant::as_variables)
            .collect();
        Ok(joined(own.unwrap_or_default(), &of_matrix))
    }
}

/// Variables, overridden by others.
fn joined(under: Vec<Variable>, over: &[Variable]) -> Vec<Variable> {
    let mut all = under;
    all.retain(|variable| !over.iter().any(|other| other.key == variable.key));
    all.extend_from_slice(over);
    all
}

/// `before_script`, then `script`.
fn script(node: &Node<'_>) -> Result<Vec<String>, CiError> {
    let script = node.get("script").ok_or_else(|| no_script(node))?;
    let mut whole = lines(node, "before_script")?;
    whole.extend(script.script()?);
    if whole.is_empty() {
        return Err(script.error("config can't be blank"));
    }
    Ok(whole)
}

fn lines(node: &Node<'_>, key: &str) -> Result<Vec<String>, CiError> {
    Ok(node.optional(key, Node::script)?.unwrap_or_default())
}

fn stage(node: &Node<'_>) -> Result<String, CiError> {
    match node.get("stage").or_else(|| node.get("type")) {
        Some(stage) => stage.string(),
        None => Ok("test".to_owned()),
    }
}

fn when(node: &Node<'_>) -> Result<When, CiError> {
    let Some(value) = node.get("when") else {
        return Ok(When::OnSuccess);
    };
    let words = "on_success, on_failure, always, manual, delayed";
    parts::when(&value)
        .filter(|when| *when != When::Never)
        .ok_or_else(|| node.error(format!("when should be one of: {words}")))
}

/// A manual job without rules does not hold the pipeline up unless it says so.
fn allow_failure(node: &Node<'_>, when: When) -> Result<AllowFailure, CiError> {
    match node.get("allow_failure") {
        Some(value) => parts::allow_failure(&value),
        None if when == When::Manual => Ok(AllowFailure::Always),
        None => Ok(AllowFailure::Never),
    }
}

fn timeout(node: &Node<'_>) -> Result<Duration, CiError> {
    let Some(value) = node.get("timeout") else {
        return Ok(DEFAULT_TIMEOUT);
    };
    duration::parse(&value.string()?).ok_or_else(|| value.error("config should be a duration"))
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
