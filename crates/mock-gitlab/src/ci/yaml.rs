//! YAML as GitLab reads it: untyped, with `!reference` kept for later.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::Tagged;

use super::error::CiError;

/// The tag with a meaning in GitLab. A node with it is kept as a mapping with this one key.
pub(super) const REFERENCE: &str = "!reference";

/// The mapping in a text.
pub(super) fn mapping(text: &str) -> Result<Map<String, Value>, CiError> {
    let node: Node = serde_saphyr::from_str_with_options(text, options())
        .map_err(|error| CiError::Syntax(error.to_string()))?;
    match node.0 {
        Value::Object(root) => Ok(root),
        _ => Err(CiError::Syntax("Invalid configuration format".to_owned())),
    }
}

/// The content of a node with the tag `!reference`.
pub(super) fn reference(value: &Value) -> Option<&Value> {
    value
        .as_object()
        .filter(|mapping| mapping.len() == 1)?
        .get(REFERENCE)
}

/// Like Ruby's YAML, which GitLab uses: `y` is not a boolean, and a later key replaces an earlier
/// one.
fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        strict_booleans: true,
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins,
    }
}

/// A value whose tags are evaluated.
struct Node(Value);

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Tagged(Untagged(value), tag) = Tagged::<Untagged>::deserialize(deserializer)?;
        Ok(Self(match tag {
            Some(tag) if tag == REFERENCE => {
                Value::Object(Map::from_iter([(REFERENCE.to_owned(), value)]))
            }
            _ => value,
        }))
    }
}

/// The value below a tag.
struct Untagged(Value);

impl<'de> Deserialize<'de> for Untagged {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any).map(Self)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Node(member)) = members.next_element()? {
            list.push(member);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut mapping = Map::new();
        while let Some((key, Node(value))) = entries.next_entry::<String, Node>()? {
            mapping.insert(key, value);
        }
        Ok(Value::Object(mapping))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Value {
        Value::Object(mapping(text).expect("a mapping"))
    }

    #[test]
    fn values_are_those_of_ruby() {
        assert_eq!(
            read("a: yes\nb: true\nc: 7\nd: 1.50\ne: ~\nf: '8'\n9: [x, -1]\na: no"),
            json!({"a": "no", "b": true, "c": 7, "d": 1.5, "e": null, "f": "8", "9": ["x", -1]})
        );
    }

    #[test]
    fn anchors_are_followed_and_merged() {
        let text = ".a: &a {x: 1, y: [2]}\nb: {<<: *a, x: 3}\nc: *a";
        let expected = json!({
            ".a": {"x": 1, "y": [2]}, "b": {"x": 3, "y": [2]}, "c": {"x": 1, "y": [2]},
        });
        assert_eq!(read(text), expected);
    }

    #[test]
    fn references_are_kept_wherever_they_stand() {
        let text = "a: {script: [one, !reference [.b, script], two]}\n\
                    c: &c !reference [.b, rules]\nd: *c\ne: !other [x]";
        let expected = json!({
            "a": {"script": ["one", {"!reference": [".b", "script"]}, "two"]},
            "c": {"!reference": [".b", "rules"]},
            "d": {"!reference": [".b", "rules"]},
            "e": ["x"],
        });
        assert_eq!(read(text), expected);
    }

    #[test]
    fn only_mappings_are_accepted() {
        for text in ["- a list", "word", ""] {
            let error = mapping(text).expect_err("no mapping").to_string();
            assert!(error.starts_with("(<unknown>): "), "{error}");
        }
    }
}
