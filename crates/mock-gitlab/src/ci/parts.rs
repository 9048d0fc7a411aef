//! The structured parts of a job: image, cache, artifacts, retry ….

use serde_json::Value;

use super::error::CiError;
use super::read::Node;
use super::report::Report;
use super::spec::{
    AllowFailure, ArtifactSpec, CacheKey, CacheSpec, Environment, ImageSpec, Retry, When,
};
use crate::variable::Variable;

/// Failure reasons that `retry:when` may name, from the YAML reference.
const RETRY_REASONS: [&str; 17] = [
    "always",
    "unknown_failure",
    "script_failure",
    "api_failure",
    "stuck_or_timeout_failure",
    "runner_system_failure",
    "runner_unsupported",
    "stale_schedule",
    "job_execution_timeout",
    "archived_failure",
    "unmet_prerequisites",
    "scheduler_failure",
    "data_integrity_failure",
    "runner_provisioning_timeout",
    "image_pull_failure",
    "runner_interrupted",
    "runner_external_dependency_failure",
];

pub(super) fn variables(node: &Node<'_>) -> Result<Vec<Variable>, CiError> {
    let mut variables = Vec::new();
    for (key, value) in node.mapping()? {
        let wrong = || node.error("config should be a hash of key value pairs");
        let (value, raw) = match value {
            Value::String(text) => (text.clone(), false),
            Value::Number(number) => (number.to_string(), false),
            Value::Null => (String::new(), false),
            Value::Object(detailed) => {
                let expand = detailed
                    .get("expand")
                    .and_then(Value::as_bool)
                    .unwrap_or(true);
                match detailed.get("value") {
                    Some(Value::String(text)) => (text.clone(), !expand),
                    Some(Value::Number(number)) => (number.to_string(), !expand),
                    None => (String::new(), !expand),
                    Some(_) => return Err(wrong()),
                }
            }
            _ => return Err(wrong()),
        };
        variables.push(Variable {
            raw,
            ..Variable::public(key, value)
        });
    }
    Ok(variables)
}

pub(super) fn image(node: &Node<'_>) -> Result<ImageSpec, CiError> {
    let mut image = ImageSpec {
        name: String::new(),
        alias: None,
        entrypoint: None,
        command: None,
        pull_policy: None,
        variables: Vec::new(),
        executor_opts: serde_json::Map::new(),
    };
    if node.value.is_string() {
        image.name = node.string()?;
        return Ok(image);
    }
    node.only_keys(&[
        "name",
        "alias",
        "entrypoint",
        "command",
        "pull_policy",
        "variables",
        "docker",
        "kubernetes",
        "ports",
    ])?;
    image.name = node
        .get("name")
        .ok_or_else(|| node.error("config should have a name"))?
        .string()?;
    image.alias = node.optional("alias", Node::string)?;
    image.entrypoint = node.optional("entrypoint", Node::string_or_strings)?;
    image.command = node.optional("command", Node::string_or_strings)?;
    image.pull_policy = node.optional("pull_policy", Node::string_or_strings)?;
    if let Some(given) = node.get("variables") {
        image.variables = variables(&given)?;
    }
    for key in ["docker", "kubernetes"] {
        if let Some(options) = node.get(key) {
            image
                .executor_opts
                .insert(key.to_owned(), options.value.clone());
        }
    }
    Ok(image)
}

pub(super) fn services(node: &Node<'_>) -> Result<Vec<ImageSpec>, CiError> {
    node.list()?.iter().map(image).collect()
}

pub(super) fn caches(node: &Node<'_>) -> Result<Vec<CacheSpec>, CiError> {
    if node.value.is_array() {
        let list = node.list()?;
        if list.len() > 4 {
            return Err(node.error("config no more than 4 caches can be created"));
        }
        return list.iter().map(cache).collect();
    }
    if node.mapping()?.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![cache(node)?])
}

fn cache(node: &Node<'_>) -> Result<CacheSpec, CiError> {
    node.only_keys(&[
        "key",
        "untracked",
        "paths",
        "policy",
        "when",
        "unprotect",
        "fallback_keys",
    ])?;
    let key = match node.get("key") {
        None => CacheKey::Plain("default".to_owned()),
        Some(key) if key.value.is_object() => {
            key.only_keys(&["files", "files_commits", "prefix"])?;
            let files = key.get("files").or_else(|| key.get("files_commits"));
            let files = files.ok_or_else(|| key.error("config missing required keys: files"))?;
            CacheKey::Files {
                files: files.strings()?,
                prefix: key.optional("prefix", Node::string)?,
            }
        }
        Some(key) => CacheKey::Plain(key.string()?),
    };
    let word = |name: &str, default: &str| {
        node.get(name)
            .map_or_else(|| Ok(default.to_owned()), |value| value.string())
    };
    Ok(CacheSpec {
        key,
        untracked: node.optional("untracked", Node::boolean)?,
        paths: node.optional("paths", Node::strings)?,
        policy: word("policy", "pull-push")?,
        when: word("when", "on_success")?,
        unprotect: node.optional("unprotect", Node::boolean)?.unwrap_or(false),
        fallback_keys: node
            .optional("fallback_keys", Node::strings)?
            .unwrap_or_default(),
    })
}

pub(super) fn artifacts(node: &Node<'_>) -> Result<ArtifactSpec, CiError> {
    node.only_keys(&[
        "name",
        "untracked",
        "paths",
        "exclude",
        "when",
        "expire_in",
        "expose_as",
        "public",
        "access",
        "reports",
    ])?;
    let reports = node.optional("reports", reports)?.unwrap_or_default();
    Ok(ArtifactSpec {
        name: node.optional("name", Node::string)?,
        untracked: node.optional("untracked", Node::boolean)?,
        paths: node.optional("paths", Node::strings)?,
        exclude: node.optional("exclude", Node::strings)?,
        when: node
            .get("when")
            .map(|value| value.one_of(&["on_success", "on_failure", "always"]))
            .transpose()?,
        expire_in: node.optional("expire_in", Node::string)?,
        reports,
    })
}

/// Kinds of reports and their paths.
fn reports(node: &Node<'_>) -> Result<Vec<(Report, Vec<String>)>, CiError> {
    let mut reports = Vec::new();
    for (name, value) in node.mapping()? {
        let member = Node::new(value, format!("{}:{name}", node.place));
        let (name, paths) = if name == "coverage_report" {
            member.only_keys(&["coverage_format", "path"])?;
            let format = member.required("coverage_format")?;
            let format = format.one_of(&["cobertura", "jacoco"])?;
            (format, vec![member.required("path")?.string()?])
        } else {
            (name.clone(), member.string_or_strings()?)
        };
        let unknown = || node.error(format!("config contains unknown keys: {name}"));
        reports.push((Report::named(&name).ok_or_else(unknown)?, paths));
    }
    Ok(reports)
}

/// `when:` of a job or a rule.
pub(super) fn when(node: &Node<'_>) -> Option<When> {
    Some(match node.value.as_str()? {
        "on_success" | "delayed" => When::OnSuccess,
        "on_failure" => When::OnFailure,
        "always" => When::Always,
        "manual" => When::Manual,
        "never" => When::Never,
        _ => return None,
    })
}

pub(super) fn allow_failure(node: &Node<'_>) -> Result<AllowFailure, CiError> {
    if node.value.is_object() {
        let codes = node
            .get("exit_codes")
            .ok_or_else(|| node.error("config missing required keys: exit_codes"))?;
        return Ok(AllowFailure::ExitCodes(integers(&codes)?));
    }
    Ok(if node.boolean()? {
        AllowFailure::Always
    } else {
        AllowFailure::Never
    })
}

fn integers(node: &Node<'_>) -> Result<Vec<i64>, CiError> {
    if node.value.is_array() {
        node.list()?.iter().map(Node::integer).collect()
    } else {
        Ok(vec![node.integer()?])
    }
}

pub(super) fn retry(node: &Node<'_>) -> Result<Retry, CiError> {
    let max = |value: &Node<'_>| {
        let count = value.integer()?;
        u64::try_from(count)
            .ok()
            .filter(|count| *count <= 2)
            .ok_or_else(|| value.error("must be less than or equal to 2"))
    };
    if !node.value.is_object() {
        return Ok(Retry {
            max: max(node)?,
            ..Retry::default()
        });
    }
    node.only_keys(&["max", "when", "exit_codes"])?;
    let when = node.optional("when", Node::string_or_strings)?;
    let when = when.unwrap_or_default();
    if let Some(unknown) = when
        .iter()
        .find(|reason| !RETRY_REASONS.contains(&reason.as_str()))
    {
        return Err(node.error(format!("when unknown value: {unknown}")));
    }
    let always = when.iter().any(|reason| reason == "always");
    Ok(Retry {
        max: node.get("max").map_or(Ok(0), |value| max(&value))?,
        when: if always { Vec::new() } else { when },
        exit_codes: node
            .get("exit_codes")
            .map_or(Ok(Vec::new()), |codes| integers(&codes))?,
    })
}

pub(super) fn environment(node: &Node<'_>) -> Result<Environment, CiError> {
    if !node.value.is_object() {
        return Ok(Environment {
            name: node.string()?,
            url: None,
            action: "start".to_owned(),
        });
    }
    let text = |key: &str| node.get(key).map(|value| value.string()).transpose();
    Ok(Environment {
        name: text("name")?.ok_or_else(|| node.error("name can't be blank"))?,
        url: text("url")?,
        action: text("action")?.unwrap_or_else(|| "start".to_owned()),
    })
}
