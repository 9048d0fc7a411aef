//! `!reference [job, key, …]`: inserts another part of the configuration.
//!
//! References are resolved after `include` and `extends`, and may lead to other references. A
//! nested list stays nested: only scripts and rules are flattened, when they are read.

use serde_json::{Map, Value};

use super::error::CiError;
use super::yaml;

/// Resolve all references.
pub(super) fn resolve(root: &Map<String, Value>) -> Result<Map<String, Value>, CiError> {
    let mut open = Vec::new();
    root.iter()
        .map(|(key, value)| Ok((key.clone(), follow(root, value, &mut open)?)))
        .collect()
}

/// `open`: the references that led here.
fn follow<'a>(
    root: &'a Map<String, Value>,
    value: &'a Value,
    open: &mut Vec<&'a Value>,
) -> Result<Value, CiError> {
    if let Some(target) = yaml::reference(value) {
        return refer(root, target, open);
    }
    Ok(match value {
        Value::Array(members) => members
            .iter()
            .map(|member| follow(root, member, open))
            .collect::<Result<_, _>>()?,
        Value::Object(mapping) => mapping
            .iter()
            .map(|(key, value)| Ok((key.clone(), follow(root, value, open)?)))
            .collect::<Result<Map<_, _>, CiError>>()?
            .into(),
        scalar => scalar.clone(),
    })
}

fn refer<'a>(
    root: &'a Map<String, Value>,
    target: &'a Value,
    open: &mut Vec<&'a Value>,
) -> Result<Value, CiError> {
    let wrong = |problem: &str| CiError::at(shown(target), problem);
    let path = target
        .as_array()
        .filter(|path| !path.is_empty() && path.iter().all(Value::is_string))
        .ok_or_else(|| wrong("is not valid"))?;
    if open.contains(&target) {
        return Err(wrong("is part of a circular chain"));
    }
    let mut keys = path.iter().filter_map(Value::as_str);
    let found = keys
        .next()
        .and_then(|first| keys.try_fold(root.get(first)?, |value, key| value.get(key)))
        .filter(|value| !value.is_null())
        .ok_or_else(|| wrong("could not be found"))?;
    open.push(target);
    let resolved = follow(root, found, open);
    open.pop();
    resolved
}

/// The reference as in the file.
fn shown(target: &Value) -> String {
    let words: Vec<String> = match target {
        Value::Array(path) => path.iter().map(Value::to_string).collect(),
        other => return format!("{} {other}", yaml::REFERENCE),
    };
    format!("{} [{}]", yaml::REFERENCE, words.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resolved(text: &str) -> Result<Value, String> {
        let root = yaml::mapping(text).expect("YAML");
        let resolved = resolve(&root).map_err(|error| error.to_string())?;
        Ok(Value::Object(resolved))
    }

    #[test]
    fn a_reference_may_lead_to_others() {
        let text = ".a: {script: [one]}\n.b: {script: [!reference [.a, script], two]}\n\
                    .v: {variables: {X: 1}}\n\
                    job: {script: [!reference [.b, script], three], \
                    variables: !reference [.v, variables], tags: [!reference [.v, variables, X]]}";
        assert_eq!(
            resolved(text).unwrap()["job"],
            json!({
                "script": [[["one"], "two"], "three"], "variables": {"X": 1}, "tags": [1],
            })
        );
    }

    #[test]
    fn errors_show_the_reference() {
        let job =
            |reference: &str| resolved(&format!(".a: {{x: [y]}}\njob: {{script: {reference}}}"));
        assert_eq!(
            job("!reference [.a, script]").unwrap_err(),
            "!reference [\".a\", \"script\"] could not be found"
        );
        assert_eq!(
            job("!reference [job, script]").unwrap_err(),
            "!reference [\"job\", \"script\"] is part of a circular chain"
        );
        assert_eq!(
            job("!reference [.a, x, y]").unwrap_err(),
            "!reference [\".a\", \"x\", \"y\"] could not be found"
        );
        assert_eq!(
            job("!reference []").unwrap_err(),
            "!reference [] is not valid"
        );
        assert_eq!(
            job("!reference .a").unwrap_err(),
            "!reference \".a\" is not valid"
        );
        // Using the same one twice is no cycle.
        assert!(job("[!reference [.a, x], !reference [.a, x]]").is_ok());
    }
}
