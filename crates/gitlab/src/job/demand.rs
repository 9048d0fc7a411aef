//! Parts of a job that onspot does not support: only their presence is known.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Something that a job may ask for and that onspot does not support.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Demand(Value);

impl Demand {
    /// Whether the job asks for it. GitLab always sends some parts, and some as JSON in a string:
    /// empty values ask for nothing.
    pub fn is_made(&self) -> bool {
        !is_empty(&self.0)
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => {
            text.trim().is_empty()
                || serde_json::from_str(text).is_ok_and(|inner: Value| is_empty(&inner))
        }
        Value::Bool(true) | Value::Number(_) => false,
    }
}

impl From<Value> for Demand {
    fn from(value: Value) -> Self {
        Self(value)
    }
}

impl fmt::Debug for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It may contain the token of a vault.
        f.write_str(if self.is_made() { "[given]" } else { "[none]" })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn empty_values_ask_for_nothing() {
        for empty in [
            json!(null),
            json!([]),
            json!({}),
            json!(""),
            json!(" "),
            json!("[]"),
            json!("null"),
            json!("{}"),
        ] {
            assert!(!Demand::from(empty.clone()).is_made(), "{empty}");
        }
        for given in [
            json!([{ "step": "./x" }]),
            json!("[{\"step\": \"./x\"}]"),
            json!({ "PASSWORD": { "vault": {} } }),
            json!("rubbish"),
            json!(1),
        ] {
            assert!(Demand::from(given.clone()).is_made(), "{given}");
        }
    }

    #[test]
    fn the_token_of_a_vault_is_not_shown() {
        let demand = Demand::from(json!({ "PASSWORD": { "jwt": "secret" } }));
        assert_eq!(format!("{demand:?}"), "[given]");
    }
}
