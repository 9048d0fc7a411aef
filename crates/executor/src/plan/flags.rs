//! The feature flags of a job.

use onspot_gitlab::{Variable, Variables};
use onspot_settings::{FEATURE_FLAGS, Runner, Standing, boolean, feature_flag};

/// Gives the feature flags that onspot heeds their final values, as variables that scripts see, as
/// with GitLab Runner. Returns warnings about flags that have no effect.
pub(super) fn settle(variables: &mut Variables, runner: &Runner) -> Vec<String> {
    let mut warnings = unknown(variables);
    for flag in FEATURE_FLAGS {
        let given = variables.get(flag.name);
        let is_given = given.is_some();
        let (value, warning) = flag.resolve(runner, given);
        warnings.extend(warning);
        if let Some(why) = flag.without_effect(value) {
            warnings.push(format!("{}={value} has no effect: {why}", flag.name));
        }
        if is_given || flag.standing == Standing::Heeded {
            variables.set(Variable::public(flag.name, value.to_string()));
        }
    }
    warnings
}

/// Variables that look like a feature flag and are none.
fn unknown(variables: &Variables) -> Vec<String> {
    variables
        .iter()
        .filter(|variable| variable.key.starts_with("FF_"))
        .filter(|variable| {
            boolean(&variable.value).is_some() && feature_flag(&variable.key).is_none()
        })
        .map(|variable| format!("{}: there is no such feature flag", variable.key))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(given: &[(&str, &str)]) -> Variables {
        Variables::resolve(
            given
                .iter()
                .map(|&(key, value)| Variable::public(key, value)),
        )
    }

    #[test]
    fn heeded_flags_get_their_final_values() {
        let mut runner = Runner::without_gitlab("r");
        runner
            .feature_flags
            .insert("FF_NETWORK_PER_BUILD".to_owned(), true);
        let given = [
            ("FF_NETWORK_PER_BUILD", "false"),
            ("FF_SCRIPT_SECTIONS", "T"),
        ];
        let mut variables = variables(&given);
        assert_eq!(settle(&mut variables, &runner), [""; 0]);
        assert_eq!(variables.get("FF_NETWORK_PER_BUILD"), Some("true"));
        assert_eq!(variables.get("FF_SCRIPT_SECTIONS"), Some("true"));
        assert_eq!(variables.get("FF_TIMESTAMPS"), Some("true"));
        assert_eq!(variables.get("FF_USE_FASTZIP"), None);
    }

    #[test]
    fn flags_without_effect_are_warned_of() {
        let mut variables = variables(&[
            ("FF_CONCRETE", "true"),
            ("FF_NEW_IN_GITLAB_RUNNER", "true"),
            ("FF_OF_A_PROJECT", "some text"),
            ("FF_SCRIPT_SECTIONS", "maybe"),
            ("FF_USE_FASTZIP", "false"),
        ]);
        let warnings = settle(&mut variables, &Runner::without_gitlab("r"));
        assert_eq!(
            warnings,
            [
                "FF_NEW_IN_GITLAB_RUNNER: there is no such feature flag",
                "FF_CONCRETE=true has no effect: a shell runs the scripts, not GitLab's step runner",
                "FF_SCRIPT_SECTIONS is ignored: \"maybe\" is neither true nor false",
            ]
        );
        assert_eq!(variables.get("FF_SCRIPT_SECTIONS"), Some("false"));
    }
}
