//! A job as configured, with everything that GitLab resolves before a runner sees it.

use std::time::Duration;

use serde_json::{Map, Value};

use super::globals::Takes;
use super::policy::Policy;
use super::report::Report;
use super::rules::Rule;
use crate::gitlab::model::Variable;

/// A job as configured.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::gitlab) struct JobSpec {
    pub(in crate::gitlab) name: String,
    pub(in crate::gitlab) stage: String,
    /// `before_script`, then `script`.
    pub(in crate::gitlab) script: Vec<String>,
    pub(in crate::gitlab) after_script: Vec<String>,
    pub(in crate::gitlab) hooks: Vec<(String, Vec<String>)>,
    pub(in crate::gitlab) image: Option<ImageSpec>,
    pub(in crate::gitlab) services: Vec<ImageSpec>,
    /// Global variables, overridden by the job's own.
    pub(in crate::gitlab) variables: Vec<Variable>,
    /// The names of its own ones.
    pub(in crate::gitlab) own_variables: Vec<String>,
    /// Which of the global ones it takes.
    pub(in crate::gitlab) takes_variables: Takes,
    pub(in crate::gitlab) caches: Vec<CacheSpec>,
    pub(in crate::gitlab) artifacts: Option<ArtifactSpec>,
    pub(in crate::gitlab) tags: Vec<String>,
    /// `None`: all jobs of earlier stages.
    pub(in crate::gitlab) needs: Option<Vec<Need>>,
    /// `None`: the artifacts of all jobs it waits for.
    pub(in crate::gitlab) dependencies: Option<Vec<String>>,
    pub(in crate::gitlab) allow_failure: AllowFailure,
    pub(in crate::gitlab) when: When,
    pub(in crate::gitlab) timeout: Duration,
    pub(in crate::gitlab) environment: Option<Environment>,
    pub(in crate::gitlab) retry: Retry,
    pub(in crate::gitlab) interruptible: bool,
    /// Only one job of a group runs at a time. Variables in it are expanded when the pipeline is
    /// made.
    pub(in crate::gitlab) resource_group: Option<String>,
    /// Its number and the count of all, for `parallel`.
    pub(in crate::gitlab) parallel: Option<(u64, u64)>,
    pub(in crate::gitlab) rules: Option<Vec<Rule>>,
    pub(in crate::gitlab) only: Option<Policy>,
    pub(in crate::gitlab) except: Option<Policy>,
}

/// An image for the job or a service.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::gitlab) struct ImageSpec {
    pub(in crate::gitlab) name: String,
    pub(in crate::gitlab) alias: Option<String>,
    pub(in crate::gitlab) entrypoint: Option<Vec<String>>,
    pub(in crate::gitlab) command: Option<Vec<String>>,
    pub(in crate::gitlab) pull_policy: Option<Vec<String>>,
    pub(in crate::gitlab) variables: Vec<Variable>,
    /// `docker:` and `kubernetes:` options, passed on.
    pub(in crate::gitlab) executor_opts: Map<String, Value>,
}

/// One cache.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::gitlab) struct CacheSpec {
    pub(in crate::gitlab) key: CacheKey,
    pub(in crate::gitlab) untracked: Option<bool>,
    pub(in crate::gitlab) paths: Option<Vec<String>>,
    pub(in crate::gitlab) policy: String,
    pub(in crate::gitlab) when: String,
    pub(in crate::gitlab) unprotect: bool,
    pub(in crate::gitlab) fallback_keys: Vec<String>,
}

/// A cache's key.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::gitlab) enum CacheKey {
    /// As it is: the runner expands the variables in it.
    Plain(String),
    /// From the last commits that changed some files.
    Files {
        files: Vec<String>,
        prefix: Option<String>,
    },
}

/// `artifacts:`.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::gitlab) struct ArtifactSpec {
    pub(in crate::gitlab) name: Option<String>,
    pub(in crate::gitlab) untracked: Option<bool>,
    pub(in crate::gitlab) paths: Option<Vec<String>>,
    pub(in crate::gitlab) exclude: Option<Vec<String>>,
    pub(in crate::gitlab) when: Option<String>,
    pub(in crate::gitlab) expire_in: Option<String>,
    /// Kinds of reports and their paths.
    pub(in crate::gitlab) reports: Vec<(Report, Vec<String>)>,
}

/// A job that another one waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::gitlab) struct Need {
    pub(in crate::gitlab) job: String,
    pub(in crate::gitlab) artifacts: bool,
    pub(in crate::gitlab) optional: bool,
    /// Those that are meant of several, by `needs:parallel:matrix`; `None`: all.
    pub(in crate::gitlab) variants: Option<Vec<String>>,
}

/// `allow_failure:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::gitlab) enum AllowFailure {
    Never,
    Always,
    ExitCodes(Vec<i64>),
}

impl JobSpec {
    /// Add variables that only this pipeline has; they win over the global ones of its
    /// configuration, and the job's own win over them.
    pub(in crate::gitlab) fn take_variables(&mut self, more: &[Variable]) {
        for variable in more {
            let key = &variable.key;
            if self.takes_variables.takes(key) && !self.own_variables.contains(key) {
                self.variables.retain(|other| other.key != *key);
                self.variables.push(variable.clone());
            }
        }
    }
}

impl AllowFailure {
    /// Is a failure with this exit code allowed?
    pub(in crate::gitlab) fn covers(&self, exit_code: Option<i64>) -> bool {
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::ExitCodes(codes) => exit_code.is_some_and(|code| codes.contains(&code)),
        }
    }
}

/// `when:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gitlab) enum When {
    OnSuccess,
    OnFailure,
    Always,
    Manual,
    Never,
}

/// `environment:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::gitlab) struct Environment {
    pub(in crate::gitlab) name: String,
    pub(in crate::gitlab) url: Option<String>,
    pub(in crate::gitlab) action: String,
}

/// `retry:`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::gitlab) struct Retry {
    pub(in crate::gitlab) max: u64,
    /// Failure reasons; empty: all.
    pub(in crate::gitlab) when: Vec<String>,
    /// Exit codes; empty: none.
    pub(in crate::gitlab) exit_codes: Vec<i64>,
}
