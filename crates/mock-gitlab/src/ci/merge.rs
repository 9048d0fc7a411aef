//! `extends`: an entry inherits from others, key by key.

use serde_json::{Map, Value};

use super::error::CiError;
use super::yaml;

/// How many levels of `extends` GitLab follows.
const MAX_LEVELS: usize = 10;

/// The configuration with the `extends` of its entries resolved.
pub(super) fn resolve(root: &Map<String, Value>) -> Result<Map<String, Value>, CiError> {
    root.iter()
        .map(|(name, value)| Ok((name.clone(), extended(root, name, value, &[])?)))
        .collect()
}

/// `ancestors`: the entries whose `extends` led here.
fn extended(
    root: &Map<String, Value>,
    name: &str,
    value: &Value,
    ancestors: &[&str],
) -> Result<Value, CiError> {
    let Some(bases) = value.get("extends").filter(|extends| !extends.is_null()) else {
        return Ok(value.clone());
    };
    let bases = names(name, bases)?;
    let wrong = |problem: String| Err(CiError::at(format!("{name}:"), problem));
    let unknown: Vec<&str> = those(&bases, |base| !root.contains_key(base));
    if !unknown.is_empty() {
        return wrong(format!(
            "unknown keys in `extends` ({})",
            unknown.join(", ")
        ));
    }
    let invalid: Vec<&str> = those(&bases, |base| !root[base].is_object());
    if !invalid.is_empty() {
        return wrong(format!(
            "invalid base hashes in `extends` ({})",
            invalid.join(", ")
        ));
    }
    if ancestors.len() > MAX_LEVELS {
        return wrong("nesting too deep in `extends`".to_owned());
    }
    if ancestors.contains(&name) {
        return wrong("circular dependency detected in `extends`".to_owned());
    }
    let ancestors = [ancestors, &[name]].concat();
    let mut merged = Value::Object(Map::new());
    for base in bases {
        merge(&mut merged, &extended(root, base, &root[base], &ancestors)?);
    }
    merge(&mut merged, value);
    Ok(merged)
}

fn names<'a>(name: &str, extends: &'a Value) -> Result<Vec<&'a str>, CiError> {
    let names = match extends {
        Value::String(base) => Some(vec![base.as_str()]),
        Value::Array(bases) => bases.iter().map(Value::as_str).collect(),
        _ => None,
    };
    names.ok_or_else(|| {
        CiError::at(
            format!("jobs:{name}:extends"),
            "should be an array of strings or a string",
        )
    })
}

fn those<'a>(names: &[&'a str], are: impl Fn(&str) -> bool) -> Vec<&'a str> {
    names.iter().copied().filter(|name| are(name)).collect()
}

/// Merges mappings; otherwise `over` replaces `under`. `include` works the same way.
pub(super) fn merge(under: &mut Value, over: &Value) {
    let is_reference = yaml::reference(under).is_some() || yaml::reference(over).is_some();
    match (under, over) {
        (Value::Object(under), Value::Object(over)) if !is_reference => {
            for (key, value) in over {
                merge(under.entry(key).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job(text: &str) -> Result<Value, String> {
        let root = yaml::mapping(text).expect("YAML");
        let resolved = resolve(&root).map_err(|error| error.to_string())?;
        Ok(resolved["job"].clone())
    }

    #[test]
    fn several_are_joined_in_order_and_nested_mappings_too() {
        let text = ".a: {variables: {X: 1, Y: 1}, tags: [a, b], cache: {key: a, paths: [p]}}\n\
                    .b: {variables: {Y: 2, Z: 2}, cache: {key: b}, image: {name: i}}\n\
                    job: {extends: [.a, .b], variables: {Z: 3}, tags: [c], image: other}";
        assert_eq!(
            job(text).unwrap(),
            json!({
                "variables": {"X": 1, "Y": 2, "Z": 3}, "tags": ["c"],
                "cache": {"key": "b", "paths": ["p"]}, "image": "other", "extends": [".a", ".b"],
            })
        );
    }

    #[test]
    fn null_replaces_an_inherited_value() {
        let merged = job(".a: {tags: [a], variables: {X: 1}}\njob: {extends: .a, tags: ~}");
        assert_eq!(merged.unwrap()["tags"], Value::Null);
    }

    #[test]
    fn a_reference_is_replaced_as_a_whole() {
        let text = ".r: {variables: {Y: 1}}\n.a: {variables: !reference [.r, variables]}\n\
                    job: {extends: .a, variables: {X: 1}}";
        assert_eq!(job(text).unwrap()["variables"], json!({"X": 1}));
    }

    #[test]
    fn errors_name_the_entry() {
        let wrong = |text: &str| job(text).unwrap_err();
        assert_eq!(
            wrong("job: {extends: [.a, .b]}"),
            "job: unknown keys in `extends` (.a, .b)"
        );
        assert_eq!(
            wrong(".a: [x]\njob: {extends: .a}"),
            "job: invalid base hashes in `extends` (.a)"
        );
        assert_eq!(
            wrong("job: {extends: {a: b}}"),
            "jobs:job:extends should be an array of strings or a string"
        );
        assert_eq!(
            wrong("job: {extends: .a}\n.a: {extends: .b}\n.b: {extends: .a}"),
            ".a: circular dependency detected in `extends`"
        );
        let levels = (0..11).map(|level| format!(".l{level}: {{extends: .l{}}}\n", level + 1));
        let levels: String = levels.collect();
        let deep = format!("job: {{extends: .l0}}\n{levels}.l11: {{x: 1}}");
        assert_eq!(wrong(&deep), ".l10: nesting too deep in `extends`");
    }
}
