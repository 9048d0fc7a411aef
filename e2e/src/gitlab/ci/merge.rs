//! `extends`: a job takes over what others say, key by key.

use serde_json::{Map, Value};

use super::CiError;

/// GitLab allows this many levels of `extends`.
const MAX_LEVELS: usize = 11;

/// All jobs, hidden ones included, with their `extends` resolved, in the file's order.
pub(super) fn resolve(
    root: &Map<String, Value>,
    is_job: impl Fn(&str) -> bool,
) -> Result<Vec<(String, Value)>, CiError> {
    let mut jobs = Vec::new();
    for (name, value) in root.iter().filter(|(name, _)| is_job(name)) {
        // A hidden entry may be anything that an anchor refers to.
        if name.starts_with('.') && !value.is_object() {
            continue;
        }
        jobs.push((name.clone(), extended(root, name, value, 0)?));
    }
    Ok(jobs)
}

fn extended(
    root: &Map<String, Value>,
    name: &str,
    value: &Value,
    level: usize,
) -> Result<Value, CiError> {
    let place = format!("jobs:{name}");
    let Value::Object(job) = value else {
        return Err(CiError::at(
            format!("{place} config"),
            "should implement the script:, run:, or trigger: keyword",
        ));
    };
    let bases: Vec<&str> = match job.get("extends") {
        None | Some(Value::Null) => return Ok(value.clone()),
        Some(Value::String(base)) => vec![base.as_str()],
        Some(Value::Array(bases)) => bases.iter().filter_map(Value::as_str).collect(),
        Some(_) => {
            return Err(CiError::at(
                format!("{place}:extends config"),
                "should be an array of strings or a string",
            ));
        }
    };
    if level >= MAX_LEVELS {
        return Err(CiError::at(
            format!("{name}:"),
            "circular dependency detected in `extends`",
        ));
    }
    let mut merged = Value::Object(Map::new());
    for base in bases {
        let Some(found) = root.get(base) else {
            return Err(CiError::at(
                format!("{name}:"),
                format!("unknown keys in `extends` ({base})"),
            ));
        };
        merge(&mut merged, &extended(root, base, found, level + 1)?);
    }
    let mut own = job.clone();
    own.shift_remove("extends");
    merge(&mut merged, &Value::Object(own));
    Ok(merged)
}

/// `over` wins; mappings are joined, everything else is replaced.
fn merge(under: &mut Value, over: &Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                merge(under.entry(key).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over.clone(),
    }
}
