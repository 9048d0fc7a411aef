//! GitLab Runner's feature flags and what onspot makes of each of them.
//!
//! The list is that of GitLab Runner 19 (`helpers/featureflags/flags.go`). As there, the runner's
//! `[runners.feature_flags]` override a job's variables.

use crate::Runner;

/// What a feature flag changes in onspot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The same as in GitLab Runner.
    Heeded,
    /// Nothing: onspot always behaves as if the flag had its default. The text says why.
    Fixed(&'static str),
    /// Nothing that a job could notice: the flag is about other executors or internals.
    Moot,
}

/// A feature flag of GitLab Runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeatureFlag {
    /// Its name, `FF_…`.
    pub name: &'static str,
    /// Its default value.
    pub default: bool,
    /// What it changes in onspot.
    pub standing: Standing,
}

impl FeatureFlag {
    /// Its value for a job. `given` is the value of the job's variable; if it is no boolean, the
    /// result includes a warning for the job's author.
    pub fn resolve(&self, runner: &Runner, given: Option<&str>) -> (bool, Option<String>) {
        if let Some(&set) = runner.feature_flags.get(self.name) {
            return (set, None);
        }
        match given {
            None | Some("") => (self.default, None),
            Some(text) => match boolean(text) {
                Some(value) => (value, None),
                None => (
                    self.default,
                    Some(format!(
                        "{} is ignored: {text:?} is neither true nor false",
                        self.name
                    )),
                ),
            },
        }
    }

    /// Why this value has no effect; `None` if it has one.
    pub fn without_effect(&self, value: bool) -> Option<&'static str> {
        match self.standing {
            Standing::Fixed(why) if value != self.default => Some(why),
            _ => None,
        }
    }
}

const fn flag(name: &'static str, default: bool, standing: Standing) -> FeatureFlag {
    FeatureFlag {
        name,
        default,
        standing,
    }
}

use Standing::{Fixed, Heeded, Moot};

/// Why flags about steps have no effect.
const SHELL: &str = "a shell runs the scripts, not GitLab's step runner";

/// All feature flags of GitLab Runner 19.
pub const FEATURE_FLAGS: &[FeatureFlag] = &[
    flag("FF_CLEAN_UP_FAILED_CACHE_EXTRACT", false, Moot),
    flag("FF_CONCRETE", false, Fixed(SHELL)),
    flag("FF_DISABLE_AUTOMATIC_TOKEN_ROTATION", false, Moot),
    flag("FF_DISABLE_POWERSHELL_STDIN", false, Moot),
    flag("FF_DISABLE_UMASK_FOR_DOCKER_EXECUTOR", false, Heeded),
    flag("FF_DISABLE_UMASK_FOR_KUBERNETES_EXECUTOR", false, Moot),
    flag("FF_ENABLE_BASH_EXIT_CODE_CHECK", false, Heeded),
    flag("FF_ENABLE_JOB_CLEANUP", false, Moot),
    flag("FF_ENABLE_JOB_INPUTS_INTERPOLATION", true, Moot),
    flag("FF_EXPORT_HIGH_CARDINALITY_METRICS", false, Moot),
    flag("FF_GIT_URLS_WITHOUT_TOKENS", false, Moot),
    flag("FF_HASH_CACHE_KEYS", false, Heeded),
    flag("FF_KUBERNETES_HONOR_ENTRYPOINT", false, Moot),
    flag("FF_LOG_IMAGES_CONFIGURED_FOR_JOB", false, Moot),
    flag(
        "FF_MASK_ALL_DEFAULT_TOKENS",
        true,
        Fixed("all of GitLab's own tokens are masked"),
    ),
    flag("FF_NETWORK_PER_BUILD", false, Heeded),
    flag("FF_POSIXLY_CORRECT_ESCAPES", false, Moot),
    flag("FF_PRINT_POD_EVENTS", false, Moot),
    flag(
        "FF_RESOLVE_FULL_TLS_CHAIN",
        false,
        Fixed("jobs get the authorities of tls-ca-file as they are"),
    ),
    flag("FF_SCRIPT_SECTIONS", false, Heeded),
    flag("FF_SCRIPT_TO_STEP_MIGRATION", false, Fixed(SHELL)),
    flag("FF_SECRET_RESOLVING_FAILS_IF_MISSING", true, Moot),
    flag(
        "FF_SUSPENDABLE_ENVIRONMENTS",
        false,
        Fixed("a job's containers end with the job"),
    ),
    flag("FF_TIMESTAMPS", true, Heeded),
    flag("FF_USE_ADAPTIVE_REQUEST_CONCURRENCY", true, Moot),
    flag("FF_USE_ADVANCED_POD_SPEC_CONFIGURATION", false, Moot),
    flag("FF_USE_DIRECT_DOWNLOAD", true, Heeded),
    flag("FF_USE_DOCKER_AUTOSCALER_DIAL_STDIO", true, Moot),
    flag("FF_USE_DUMB_INIT_WITH_KUBERNETES_EXECUTOR", false, Moot),
    flag("FF_USE_DYNAMIC_TRACE_FORCE_SEND_INTERVAL", false, Moot),
    flag("FF_USE_EXPONENTIAL_BACKOFF_STAGE_RETRY", true, Moot),
    flag("FF_USE_FASTZIP", true, Moot),
    flag("FF_USE_FLEETING_ACQUIRE_HEARTBEATS", false, Moot),
    flag("FF_USE_GITALY_CORRELATION_ID", true, Moot),
    flag("FF_USE_GIT_BUNDLE_URIS", true, Moot),
    flag("FF_USE_GIT_NATIVE_CLONE", false, Heeded),
    flag("FF_USE_GIT_PROACTIVE_AUTH", false, Moot),
    flag("FF_USE_INIT_WITH_DOCKER_EXECUTOR", false, Heeded),
    flag("FF_USE_JOB_ROUTER", false, Moot),
    flag("FF_USE_LEGACY_BASH_EVAL", false, Moot),
    flag("FF_USE_LEGACY_GCS_CACHE_ADAPTER", false, Moot),
    flag("FF_USE_LEGACY_KUBERNETES_EXECUTION_STRATEGY", false, Moot),
    flag("FF_USE_LEGACY_S3_CACHE_ADAPTER", false, Moot),
    flag(
        "FF_USE_NATIVE_CONTAINER_STOP",
        false,
        Fixed("a stopped script's processes are all asked to end, not only the first"),
    ),
    flag("FF_USE_PARALLEL_ARTIFACT_TRANSFER", false, Moot),
    flag("FF_USE_PARALLEL_CACHE_TRANSFER", false, Moot),
    flag("FF_USE_POD_ACTIVE_DEADLINE_SECONDS", true, Moot),
    flag("FF_USE_POWERSHELL_PATH_RESOLVER", false, Moot),
    flag("FF_USE_WINDOWS_JOB_OBJECT", false, Moot),
    flag("FF_USE_WINDOWS_LEGACY_PROCESS_STRATEGY", false, Moot),
    flag("FF_WAIT_FOR_POD_TO_BE_REACHABLE", false, Moot),
];

/// The feature flag of this name.
pub fn feature_flag(name: &str) -> Option<&'static FeatureFlag> {
    FEATURE_FLAGS.iter().find(|flag| flag.name == name)
}

/// Reads a boolean as GitLab Runner does in feature flags (Go's `strconv.ParseBool`).
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_listed_once_and_in_order() {
        assert!(FEATURE_FLAGS.is_sorted_by(|a, b| a.name < b.name));
        assert!(
            FEATURE_FLAGS
                .iter()
                .all(|flag| flag.name.starts_with("FF_"))
        );
    }

    #[test]
    fn the_runner_overrides_the_job_and_the_job_the_default() {
        let mut runner = Runner::without_gitlab("r");
        let flag = feature_flag("FF_TIMESTAMPS").unwrap();
        assert_eq!(flag.resolve(&runner, None), (true, None));
        assert_eq!(flag.resolve(&runner, Some("")), (true, None));
        assert_eq!(flag.resolve(&runner, Some("f")), (false, None));
        let (value, warning) = flag.resolve(&runner, Some("no"));
        assert!(value);
        assert_eq!(
            warning.unwrap(),
            "FF_TIMESTAMPS is ignored: \"no\" is neither true nor false"
        );
        runner
            .feature_flags
            .insert("FF_TIMESTAMPS".to_owned(), false);
        assert_eq!(flag.resolve(&runner, Some("true")), (false, None));
    }

    #[test]
    fn only_an_unusual_value_of_a_fixed_flag_is_without_effect() {
        let fixed = feature_flag("FF_USE_NATIVE_CONTAINER_STOP").unwrap();
        assert_eq!(fixed.without_effect(false), None);
        assert!(fixed.without_effect(true).unwrap().contains("asked to end"));
        let heeded = feature_flag("FF_SCRIPT_SECTIONS").unwrap();
        assert_eq!(heeded.without_effect(true), None);
    }
}
