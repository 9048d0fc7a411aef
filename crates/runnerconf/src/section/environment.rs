//! Expands `$NAME` and `${NAME}` in a value from the environment.

use super::{Complaint, Variable};

/// The text with its references replaced. A variable that is unset or empty is an error: GitLab
/// Runner would continue with an empty text and fail much later.
pub(crate) fn expand(text: &str, variable: Variable) -> Result<String, Complaint> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('$') {
        expanded.push_str(before);
        if let Some((name, after)) = reference(behind) {
            expanded.push_str(&value(name, variable)?);
            rest = after;
        } else {
            expanded.push('$');
            rest = behind;
        }
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// The variable's name, if the whole text is a single reference.
pub(crate) fn sole_reference(text: &str) -> Option<&str> {
    match reference(text.strip_prefix('$')?)? {
        (name, "") => Some(name),
        _ => None,
    }
}

/// A variable's value; it must be set.
pub(crate) fn value(name: &str, variable: Variable) -> Result<String, Complaint> {
    let value = variable(name).filter(|value| !value.trim().is_empty());
    value.ok_or_else(|| {
        Complaint::new(format!(
            "names the environment variable {name}, which is not set"
        ))
        .with_hint(format!("export {name}=…, or write the value itself"))
    })
}

/// The name after a dollar sign, and the rest of the text.
fn reference(behind: &str) -> Option<(&str, &str)> {
    let is_name = |text: &str| {
        !text.is_empty()
            && !text.starts_with(|c: char| c.is_ascii_digit())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let (name, after) = if let Some(inner) = behind.strip_prefix('{') {
        inner.split_once('}')?
    } else {
        let end = behind
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(behind.len());
        behind.split_at(end)
    };
    is_name(name).then_some((name, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("gitlab.example".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn references_are_replaced_and_other_dollars_are_kept() {
        for (text, expanded) in [
            ("https://$HOST/x", "https://gitlab.example/x"),
            ("https://${HOST}x", "https://gitlab.examplex"),
            ("no reference", "no reference"),
            ("a$", "a$"),
            ("$1 ${} ${a b} ${HOST", "$1 ${} ${a b} ${HOST"),
        ] {
            assert_eq!(expand(text, variable).unwrap(), expanded);
        }
        assert_eq!(sole_reference("${HOST}"), Some("HOST"));
        assert_eq!(sole_reference("$HOST:80"), None);
    }

    #[test]
    fn a_variable_that_is_not_set_is_named() {
        for text in ["$NOT_SET", "${NOT_SET}", "$EMPTY"] {
            let complaint = expand(text, variable).unwrap_err();
            let name = sole_reference(text).unwrap();
            assert_eq!(
                complaint.reason,
                format!("names the environment variable {name}, which is not set")
            );
        }
    }
}
