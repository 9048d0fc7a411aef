//! `needs:` and `dependencies:`: the jobs that a job waits for, or takes artifacts from.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::error::CiError;
use super::matrix::{self, Variant};
use super::read::Node;
use super::spec::{JobSpec, Need};

/// Keywords of needs from other pipelines.
const ELSEWHERE: [&str; 3] = ["pipeline", "project", "ref"];

/// Read the needs of a rule, or of a job without `parallel`.
pub(super) fn read(node: &Node<'_>) -> Result<Vec<Need>, CiError> {
    let mut needs = Vec::new();
    collect(node, &mut needs)?;
    Ok(needs)
}

/// Read the needs of one generated job, with its values in the matrix.
pub(super) fn of_variant(
    name: &str,
    node: &Node<'_>,
    variant: Option<&Variant>,
) -> Result<Vec<Need>, CiError> {
    let Some(variant) = variant.filter(|variant| !variant.variables.is_empty()) else {
        return read(node);
    };
    let interpolated = interpolate(node.value, variant).map_err(|unknown| {
        let problem = format!("'{unknown}' does not exist in matrix configuration");
        CiError::at(format!("{name} job:"), problem)
    })?;
    read(&Node::new(&interpolated, &node.place))
}

fn interpolate(value: &Value, variant: &Variant) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => variant.interpolate(text)?.into(),
        Value::Array(members) => members
            .iter()
            .map(|member| interpolate(member, variant))
            .collect::<Result<_, _>>()?,
        Value::Object(mapping) => mapping
            .iter()
            .map(|(key, value)| Ok((key.clone(), interpolate(value, variant)?)))
            .collect::<Result<Map<_, _>, String>>()?
            .into(),
        other => other.clone(),
    })
}

/// References may nest lists within the list.
fn collect(node: &Node<'_>, needs: &mut Vec<Need>) -> Result<(), CiError> {
    let members = match node.value {
        Value::Array(_) => node.list()?,
        Value::Object(_) => vec![node.clone()],
        _ => return Err(node.error("config can only be a Hash or an Array")),
    };
    for member in members {
        if member.value.is_array() {
            collect(&member, needs)?;
        } else {
            let place = format!("{}:need", node.place);
            needs.push(need(&Node::new(member.value, place))?);
        }
    }
    Ok(())
}

fn need(node: &Node<'_>) -> Result<Need, CiError> {
    if let Some(job) = node.value.as_str() {
        return Ok(Need {
            job: job.to_owned(),
            artifacts: true,
            optional: false,
            variants: None,
        });
    }
    if !node.value.is_object() {
        return Err(node.error("has an unsupported type"));
    }
    if let Some(elsewhere) = ELSEWHERE.into_iter().find_map(|key| node.get(key)) {
        return Err(elsewhere.error("is not supported by this server: it knows one pipeline only"));
    }
    let job = node.get("job");
    let job = job.ok_or_else(|| node.error("has an unsupported type"))?;
    node.only_keys(&["job", "artifacts", "optional", "parallel"])?;
    let job = job
        .value
        .as_str()
        .ok_or_else(|| node.error("job should be a string"))?;
    let flag = |key: &str, default: bool| {
        let wrong = || node.error(format!("{key} should be a boolean value"));
        let given = node.optional(key, |value| value.boolean().map_err(|_| wrong()))?;
        Ok(given.unwrap_or(default))
    };
    let variants = node.optional("parallel", |parallel| matrix::of_need(job, parallel))?;
    let names = |variants: Vec<Variant>| variants.into_iter().map(|one| one.name).collect();
    Ok(Need {
        job: job.to_owned(),
        artifacts: flag("artifacts", true)?,
        optional: flag("optional", false)?,
        variants: variants.map(names),
    })
}

/// A job with `needs` can only depend on artifacts of the needed jobs.
pub(super) fn holds(job: &Node<'_>, spec: &JobSpec) -> Result<(), CiError> {
    let Some(needs) = spec.needs.as_ref().filter(|needs| !needs.is_empty()) else {
        return Ok(());
    };
    let names = spec.dependencies.iter().flatten().map(String::as_str);
    let missing: Vec<&str> = names
        .filter(|name| !needs.iter().any(|need| need.job == *name))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.join(", ");
    Err(job.error(format!(
        "dependencies the {missing} should be part of needs"
    )))
}

/// All jobs; in needs, the name of an entry with `parallel` is replaced by the names of all its
/// jobs.
pub(super) fn by_name_of_each(jobs: Vec<(&str, Vec<JobSpec>)>) -> Vec<JobSpec> {
    let several: BTreeMap<&str, Vec<String>> = jobs
        .iter()
        .filter(|(_, specs)| specs.iter().any(|spec| spec.parallel.is_some()))
        .map(|(name, specs)| (*name, specs.iter().map(|spec| spec.name.clone()).collect()))
        .collect();
    let each = |need: Need| -> Vec<Need> {
        let Some(all) = several.get(need.job.as_str()) else {
            return vec![need];
        };
        let names = need.variants.as_ref().unwrap_or(all).iter();
        names
            .map(|name| Need {
                job: name.clone(),
                variants: None,
                ..need.clone()
            })
            .collect()
    };
    let every = |needs: Vec<Need>| needs.into_iter().flat_map(each).collect();
    let mut specs: Vec<JobSpec> = jobs.into_iter().flat_map(|(_, specs)| specs).collect();
    for spec in &mut specs {
        spec.needs = spec.needs.take().map(every);
        for rule in spec.rules.iter_mut().flatten() {
            rule.needs = rule.needs.take().map(every);
        }
        if let Some(dependencies) = &mut spec.dependencies {
            let names = std::mem::take(dependencies).into_iter();
            *dependencies = names
                .flat_map(|name| several.get(name.as_str()).cloned().unwrap_or(vec![name]))
                .collect();
        }
    }
    specs
}
